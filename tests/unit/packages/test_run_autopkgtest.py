# SPDX-License-Identifier: GPL-2.0-or-later
"""packaging/run_autopkgtest.py fails unless each test ended as it must."""

from __future__ import annotations

import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(TOP / "packaging"), str(TOP / "tests")]

from run_autopkgtest import EXPECTED, complaints, outcomes  # noqa: E402

GOOD = """\
installed-files      PASS (superficial)
daemon-on-bus        SKIP Test requires machine-level isolation but testbed does not provide that
dkms-autopkgtest     PASS (superficial)
"""


def test_a_run_without_fault_has_no_complaints() -> None:
    assert complaints(outcomes(GOOD)) == []


def test_what_failed_was_skipped_or_is_missing_is_a_complaint() -> None:
    failed = GOOD.replace("files      PASS", "files      FAIL")
    assert complaints(outcomes(failed)) == ["installed-files: FAIL, not PASS"]
    skipped = GOOD.replace("autopkgtest     PASS", "autopkgtest     SKIP")
    assert complaints(outcomes(skipped)) == ["dkms-autopkgtest: SKIP, not PASS"]
    assert len(complaints(outcomes(""))) == len(EXPECTED)
    more = complaints(outcomes(GOOD + "another  PASS\n"))
    assert more == ["another: PASS, not expected at all"]


def test_each_test_of_the_package_is_expected() -> None:
    control = (TOP / "packaging/debian/tests/control").read_text(encoding="utf-8")
    ours = {name for line in re.findall(r"^Tests: (.*)$", control, re.M) for name in line.split()}
    assert {*ours, "dkms-autopkgtest"} == set(EXPECTED)
