# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the version stands in the tree, and how a copy of the tree gets another one."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
# Each file, and what stands before and after the version in it.
PLACES: dict[str, tuple[str, str]] = {
    "packaging/debian/changelog": (r"\Ausb4rdma \(", r"\)"),
    "dkms.conf": (r'^PACKAGE_VERSION="', r'"$'),
    "usb4rdmad/__init__.py": (r'^__version__ = "', r'"$'),
    "driver/verbs/verbs.h": (r'^#define U4_FW_VERSION\s+"', r'"$'),
    "docs/man/usb4rdmad.8": (r'^\.TH .* "usb4rdma ', r'"'),
    "docs/man/usb4rdmad.toml.5": (r'^\.TH .* "usb4rdma ', r'"'),
    "packaging/common/org.usb4rdma.usb4rdma.metainfo.xml": (r'<release version="', r'"'),
    "packaging/rpm/usb4rdma.spec": (r"^Version:\s+", r"$"),
    "packaging/arch/PKGBUILD": (r"^pkgver=", r"$"),
    "CHANGELOG.md": (r"^## ", r" \("),
}
_VERSION = r"(\d+\.\d+\.\d+)"


def _find(name: str, text: str) -> re.Match[str]:
    before, after = PLACES[name]
    match = re.search(before + _VERSION + after, text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"{name}: no version found")
    return match


def everywhere(top: Path = TOP) -> dict[str, str]:
    """The version that each place gives."""
    return {name: _find(name, (top / name).read_text(encoding="utf-8"))[1] for name in PLACES}


def current(top: Path = TOP) -> str:
    """The version of the packages."""
    name = "packaging/debian/changelog"
    return _find(name, (top / name).read_text(encoding="utf-8"))[1]


def rewrite(tree: Path, version: str) -> None:
    """Give a source package (where debian/ stands at the top) another version."""
    for name in PLACES:
        path = tree / name.replace("packaging/debian/", "debian/")
        if path.exists():
            text = path.read_text(encoding="utf-8")
            match = _find(name, text)
            path.write_text(text[: match.start(1)] + version + text[match.end(1) :], "utf-8")
