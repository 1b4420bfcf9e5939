# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the bill of materials: an SPDX 2.3 document of the files that packages are made of.

Licences and holders are those of each file's own SPDX line, or else of REUSE.toml.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import versions

TOP = Path(__file__).resolve().parents[1]
# Written in two parts, so that this file has one licence.
_LINE = re.compile(
    "SPDX-License" + r"-Identifier:\s*([A-Za-z0-9.+() -]+?)\s*(?:\*/|-->|'|\"|\\n|$)"
)
_HEAD_LINES = 12


def licences_by_path() -> list[tuple[list[str], str]]:
    """The path patterns of REUSE.toml with their licence, in its order."""
    data = tomllib.loads((TOP / "REUSE.toml").read_text(encoding="utf-8"))
    found = []
    for table in data["annotations"]:
        paths = table["path"] if isinstance(table["path"], list) else [table["path"]]
        found.append((paths, str(table["SPDX-License-Identifier"])))
    return found


def _matches(name: str, pattern: str) -> bool:
    """REUSE's globs: ** crosses folders, * does not."""
    parts = re.split(r"(\*\*|\*)", pattern)
    words = {"**": ".*", "*": "[^/]*"}
    return re.fullmatch("".join(words.get(p, re.escape(p)) for p in parts), name) is not None


def licence_of(name: str, table: list[tuple[list[str], str]]) -> str | None:
    """The SPDX expression for a file; None if nothing says one."""
    if fnmatch.fnmatch(name, "LICENSES/*"):
        return Path(name).stem
    try:
        head = (TOP / name).read_text(encoding="utf-8").split("\n", _HEAD_LINES)[:_HEAD_LINES]
    except UnicodeDecodeError:
        head = []
    for line in head:
        if match := _LINE.search(line):
            return match[1].strip()
    found = [licence for paths, licence in table if any(_matches(name, p) for p in paths)]
    return found[-1] if found else None


def document(names: Iterable[str], epoch: str) -> dict[str, Any]:
    """The whole document about these files of the tree; the same for the same files."""
    table = licences_by_path()
    version = versions.current()
    files = []
    for number, name in enumerate(sorted(names)):
        content = (TOP / name).read_bytes()
        files.append(
            {
                "SPDXID": f"SPDXRef-File-{number}",
                "fileName": f"./{name}",
                "checksums": [
                    {"algorithm": "SHA1", "checksumValue": hashlib.sha1(content).hexdigest()},
                    {"algorithm": "SHA256", "checksumValue": hashlib.sha256(content).hexdigest()},
                ],
                "licenseConcluded": "NOASSERTION",
                "licenseInfoInFiles": [licence_of(name, table) or "NOASSERTION"],
                "copyrightText": "2026 usb4rdma developers",
            }
        )
    hashes = sorted(str(one["checksums"][0]["checksumValue"]) for one in files)  # type: ignore[index]
    code = hashlib.sha1("".join(hashes).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"usb4rdma-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/usb4rdma-{version}-{code}",
        "creationInfo": {
            "created": datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: usb4rdma packaging/sbom.py"],
        },
        "packages": [
            {
                "SPDXID": "SPDXRef-Package",
                "name": "usb4rdma",
                "versionInfo": version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": True,
                "packageVerificationCode": {"packageVerificationCodeValue": code},
                "licenseConcluded": "GPL-2.0-or-later AND GPL-2.0-only",
                "licenseDeclared": "GPL-2.0-or-later AND GPL-2.0-only",
                "copyrightText": "2026 usb4rdma developers",
            }
        ],
        "files": files,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relatedSpdxElement": "SPDXRef-Package",
                "relationshipType": "DESCRIBES",
            },
            *(
                {
                    "spdxElementId": "SPDXRef-Package",
                    "relatedSpdxElement": one["SPDXID"],
                    "relationshipType": "CONTAINS",
                }
                for one in files
            ),
        ],
    }


def write(target: Path, names: Iterable[str], epoch: str) -> None:
    """Write the document."""
    target.write_text(json.dumps(document(names, epoch), indent=1) + "\n", encoding="utf-8")
