# SPDX-License-Identifier: GPL-2.0-or-later
"""Which header packages the matrix takes, when it complains, and the page that it makes."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "packaging"))

import dkms_matrix  # noqa: E402
import kernels as kernels_page  # noqa: E402
from dkms_matrix import Offer, Row, chosen, parse_madison, wrong  # noqa: E402

MADISON = """\
linux-headers-6.12.94+deb13-amd64 | 6.12.94-1 | http://mirror/debian trixie/main amd64 Packages
linux-headers-6.12.107+deb13-rt-amd64 | 6.12.107-1 | http://mirror/debian trixie/main amd64 Packages
linux-headers-6.12.107+deb13-rt-amd64 | 6.12.107-1 | http://mirror/s trixie-security/main amd64 Packages
linux-headers-7.2.12+deb13-cloud-amd64 | 7.2.12-1~bpo13+1 | http://mirror/debian trixie-backports/main amd64 Packages
linux-headers-7.3-amd64 | 7.3~rc7-1~exp1 | http://mirror/debian experimental/main amd64 Packages
linux-headers-6.1.0-47-amd64 | 6.1.170-3 | http://mirror/debian bookworm/main amd64 Packages
linux-headers-6.1.0-9-amd64 | 6.1.27-1 | http://mirror/debian bookworm/main amd64 Packages
linux-headers-6.1.0-47-cloud-amd64 | 6.1.170-3 | http://mirror/debian bookworm/main amd64 Packages
linux-headers-6.12.94+deb13-common | 6.12.94-1 | http://mirror/debian trixie/main amd64 Packages
     linux | 6.12.94-1 | http://mirror/debian trixie/main Sources
"""  # noqa: E501

ROW = Row(
    release="trixie",
    suite="trixie",
    package="linux-headers-6.12.94+deb13-amd64",
    version="6.12.94-1",
    kernel="6.12.94+deb13-amd64",
    outcome="built",
)


def row(**changes: str) -> Row:
    return dataclasses.replace(ROW, **changes)


def test_offers_are_header_packages_of_flavours_each_once() -> None:
    offers = parse_madison(MADISON)
    assert len(offers) == 7
    assert offers[1] == Offer("linux-headers-6.12.107+deb13-rt-amd64", "6.12.107-1", "trixie")
    assert offers[2].series == (7, 2)
    assert offers[3].kernel == "7.3-amd64"


def test_all_supported_kernels_and_one_that_is_too_old_are_tried() -> None:
    names = [offer.kernel for offer in chosen(parse_madison(MADISON))]
    assert names == [
        "6.1.0-47-amd64",
        "7.3-amd64",
        "6.12.94+deb13-amd64",
        "7.2.12+deb13-cloud-amd64",
        "6.12.107+deb13-rt-amd64",
    ]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"outcome": "excluded", "missing": "CONFIG_USB4"}, ""),
        ({"outcome": "excluded"}, "has all"),
        ({"missing": "CONFIG_USB4"}, "built without CONFIG_USB4"),
        ({"outcome": "failed"}, "failed"),
        ({"outcome": "uninstallable"}, "uninstallable"),
        ({"package": "linux-headers-6.1.0-47-amd64", "outcome": "excluded"}, ""),
        ({"package": "linux-headers-6.1.0-47-amd64"}, "too old"),
        ({"package": "linux-headers-6.1.0-47-amd64", "outcome": "failed"}, "too old"),
        ({"package": "linux-headers-7.4-amd64", "outcome": "failed"}, ""),
    ],
)
def test_what_is_wrong_with_a_row(changes: dict[str, str], complaint: str) -> None:
    told = wrong(row(**changes))
    assert complaint in told if complaint else told == ""


def test_dkms_own_message_is_found_in_its_output() -> None:
    output = (
        "Creating symlink\nError! The dkms.conf for module usb4rdma includes a BUILD_EXCLUSIVE "
        "directive which\ndoes not match this kernel/arch/config.\nThis indicates that it should "
        "not be built.\n"
    )
    assert dkms_matrix.refusal(output).endswith("not match this kernel/arch/config.")
    assert dkms_matrix.refusal("make: *** [Makefile] Error 2") == ""


@pytest.mark.parametrize(
    ("kernel", "suits"),
    [
        ("6.1.0-47-amd64", False),
        ("6.2.0", False),
        ("6.11.10-amd64", False),
        ("5.10.0", False),
        ("6.12.94+deb13-amd64", True),
        ("6.19.1", True),
        ("6.20.0", True),
        ("7.0.0-rc1", True),
        ("7.3-amd64", True),
        ("10.1.0", True),
    ],
)
def test_the_pattern_for_old_dkms_says_the_same_as_the_oldest_kernel(
    kernel: str, suits: bool
) -> None:
    found = subprocess.run(
        ["bash", "-c", f". {TOP}/dkms.conf; [[ $1 =~ $BUILD_EXCLUSIVE_KERNEL ]]", "-", kernel],
        check=False,
    )
    assert (found.returncode == 0) is suits
    match = re.match(r"(\d+)\.(\d+)", kernel)
    assert match
    assert ((int(match[1]), int(match[2])) >= dkms_matrix.supported_from()) is suits


def test_the_page_has_a_line_for_each_row_and_counts_them() -> None:
    refused = row(
        outcome="excluded",
        missing="CONFIG_USB4",
        kernel="6.12.94+deb13-cloud-amd64",
        note="BUILD_EXCLUSIVE",
    )
    text = kernels_page.page(
        {
            "date": "2026-11-21",
            "version": "0.1.0",
            "processors": 2,
            "offered": {"trixie": 3, "sid": 0, "forky": 0, "bookworm": 0},
            "rows": [dataclasses.asdict(ROW), dataclasses.asdict(refused)],
        }
    )
    assert "1 packages built, 1 refused, 0\nfailed" in text
    assert "| 6.12.94+deb13-amd64 | 6.12.94-1 | trixie |" in text
    assert "excluded: no CONFIG_USB4" in text
    assert "**Not all were tried**: trixie 2 of 3;" in text


def test_the_page_knows_when_all_were_tried() -> None:
    kept = {"rows": [dataclasses.asdict(ROW)], "offered": dict.fromkeys(kernels_page.RELEASES, 0)}
    kept["offered"]["trixie"] = 1
    assert kernels_page.complete(kept) == "That is all of them."
    del kept["offered"]["sid"]
    assert "sid not yet" in kernels_page.complete(kept)


def test_both_know_the_same_releases() -> None:
    assert {release.name for release in dkms_matrix.RELEASES} == set(kernels_page.RELEASES)


def test_an_older_result_does_not_replace_what_is_kept(tmp_path: Path) -> None:
    result = tmp_path / "dkms-matrix.json"
    result.write_text('{"date": "2026-11-20", "rows": [1]}')
    kept = {"date": "2026-11-21", "rows": [2]}
    assert kernels_page.gather(kept, tmp_path) is kept
    result.write_text('{"date": "2026-11-21", "rows": [1]}')
    assert kernels_page.gather(kept, tmp_path)["rows"] == [1]
    result.write_text('{"date": "2026-11-22", "rows": []}')
    assert kernels_page.gather(kept, tmp_path) is kept
