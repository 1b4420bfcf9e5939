# SPDX-License-Identifier: GPL-2.0-or-later
"""Every file has a licence whose text is in LICENSES, as reuse.software asks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import sbom

TOP = Path(__file__).resolve().parents[3]


def tracked() -> list[str]:
    """All files of the tree that git knows or would add."""
    words = ["git", "-C", str(TOP), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout.decode()
    return sorted(name for name in listed.split("\0") if name and (TOP / name).is_file())


def words(expression: str) -> set[str]:
    """The licences and exceptions that an SPDX expression names."""
    return set(re.split(r"\s+(?:AND|OR|WITH)\s+", expression.strip("() ")))


def test_every_licence_that_a_file_names_is_there() -> None:
    table = sbom.licences_by_path()
    texts = {path.stem for path in (TOP / "LICENSES").iterdir()}
    wrong = {}
    for name in tracked():
        licence = sbom.licence_of(name, table)
        if licence is None or not words(licence) <= texts:
            wrong[name] = licence
    assert not wrong


def test_every_licence_text_is_used() -> None:
    table = sbom.licences_by_path()
    used: set[str] = set()
    for name in tracked():
        if not name.startswith("LICENSES/"):
            used |= words(sbom.licence_of(name, table) or "")
    assert {path.stem for path in (TOP / "LICENSES").iterdir()} == used


def test_code_says_its_licence_itself() -> None:
    silent = [
        name
        for name in tracked()
        if Path(name).suffix in {".c", ".h", ".py", ".sh", ".service", ".rules"}
        and sbom.licence_of(name, []) is None
    ]
    assert not silent


def test_what_the_kernel_runs_is_gpl_2_only() -> None:
    table = sbom.licences_by_path()
    for name in tracked():
        if name.startswith("driver/") and Path(name).suffix in {".c", ".h"}:
            assert (sbom.licence_of(name, table) or "").startswith("GPL-2.0-only"), name


@pytest.mark.parametrize(
    "pattern, name, fits",
    [
        ("**", "a/b/c", True),
        ("driver/**", "driver/link/x.c", True),
        ("driver/**", "docs/driver/x", False),
        ("docs/*.md", "docs/a.md", True),
        ("docs/*.md", "docs/bench/a.md", False),
    ],
)
def test_patterns_of_reuse_toml(pattern: str, name: str, fits: bool) -> None:
    assert sbom._matches(name, pattern) is fits


def test_the_bill_of_materials_is_the_same_twice() -> None:
    names = ["README.md", "dkms.conf"]
    first = sbom.document(names, "1700000000")
    assert first == sbom.document(reversed(names), "1700000000")
    assert first["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert [one["fileName"] for one in first["files"]] == ["./README.md", "./dkms.conf"]
    assert first["files"][1]["licenseInfoInFiles"] == ["GPL-2.0-only"]
