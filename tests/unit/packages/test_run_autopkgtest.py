# SPDX-License-Identifier: GPL-2.0-or-later
"""packaging/run_autopkgtest.py fails unless each test ended as it must."""

from __future__ import annotations

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "packaging"), str(TOP / "tests")]

from run_autopkgtest import EXPECTED, complaints, kernels, outcomes  # noqa: E402

GOOD = """\
installed-files      PASS (superficial)
daemon-on-bus        SKIP Test requires machine-level isolation but testbed does not provide that
dkms-autopkgtest     PASS (superficial)
"""
BUILT = """\
I: Summary:
I: PASS usb4rdma/0.1.0 6.12.107+deb13-amd64
I: SKIP usb4rdma/0.1.0 6.12.107+deb13-cloud-amd64
"""


def wrong(summary: str, built: str = BUILT) -> list[str]:
    return complaints(outcomes(summary), kernels(built))


def test_a_run_without_fault_has_no_complaints() -> None:
    assert wrong(GOOD) == []


def test_what_failed_was_skipped_or_is_missing_is_a_complaint() -> None:
    failed = GOOD.replace("files      PASS", "files      FAIL")
    assert wrong(failed) == ["installed-files: FAIL, not PASS"]
    skipped = GOOD.replace("autopkgtest     PASS", "autopkgtest     SKIP")
    assert wrong(skipped) == ["dkms-autopkgtest: SKIP, not PASS"]
    assert len(wrong("")) == len(EXPECTED)
    assert wrong(GOOD + "another  PASS\n") == ["another: PASS, not expected at all"]


def test_a_run_that_built_no_module_is_a_complaint() -> None:
    assert wrong(GOOD, BUILT.replace("PASS", "SKIP")) == ["the module was built for no kernel"]
    assert wrong(GOOD, "") == ["the module was built for no kernel"]


def test_each_test_of_the_package_is_expected() -> None:
    control = (TOP / "packaging/debian/tests/control").read_text(encoding="utf-8")
    ours = {name for line in re.findall(r"^Tests: (.*)$", control, re.M) for name in line.split()}
    assert {*ours, "dkms-autopkgtest"} == set(EXPECTED)
