# SPDX-License-Identifier: GPL-2.0-or-later
"""manifest.py ROOT: what is in a root, as JSON: by path, the mode, owner, group and SHA-256.

Runs in the root where packages were unpacked. The package managers' own files are left out, and
what a distribution compresses (manuals) or names after its Python is made the same.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import sys
from pathlib import Path

# rpm makes the system's user by itself.
PACKAGE_MANAGERS = re.compile(
    r"((usr/lib/sysimage|var|usr/lib/rpm)(/|$))|etc/(\.pwd\.lock|(group|passwd|shadow|gshadow)-?)$"
)
PYTHON = re.compile(r"^usr/lib/python3[.\d]*/")


def manifest(root: Path) -> dict[str, list[str | int]]:
    """All below `root`."""
    found: dict[str, list[str | int]] = {}
    for folder, folders, names in os.walk(root):
        for name in (*names, *folders):
            path = Path(folder, name)
            inside = str(path.relative_to(root))
            if PACKAGE_MANAGERS.match(inside):
                continue
            status = path.lstat()
            data = b""
            if path.is_symlink():
                data = os.fsencode(path.readlink())
            elif path.is_file():
                data = path.read_bytes()
                if inside.startswith("usr/share/man/") and inside.endswith(".gz"):
                    inside, data = inside.removesuffix(".gz"), gzip.decompress(data)
            found[PYTHON.sub("usr/lib/python3/", inside)] = [
                stat.filemode(status.st_mode),
                status.st_uid,
                status.st_gid,
                hashlib.sha256(data).hexdigest(),
            ]
    return found


if __name__ == "__main__":
    print(json.dumps(manifest(Path(sys.argv[1]))))
