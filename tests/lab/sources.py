# SPDX-License-Identifier: GPL-2.0-or-later
"""Which Debian mirror and which apt settings the roots use: those of this machine.

No mirror is named here but Debian's own default, for a machine whose apt names none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .errors import MissingTool

DEFAULT_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Settings of this machine's apt that a root needs as well to reach the same mirror.
_CARRIED = re.compile(
    r"^(Acquire::(https?|ftp)::(Proxy|Timeout)\b\S*|Acquire::(https?|ftp)::Proxy::\S+"
    r"|Acquire::(Check-Valid-Until|Check-Date|Retries))\s+\"(.+)\";$"
)


def parse_mirror(index_targets: str) -> str:
    """The Debian mirror in the output of `apt-get indextargets` (fields joined by |)."""
    for line in index_targets.splitlines():
        fields = line.split("|")
        if len(fields) == 3 and fields[1] == "Debian" and fields[2] == "Debian" and fields[0]:
            return fields[0].rstrip("/")
    return DEFAULT_MIRROR


def parse_settings(config_dump: str) -> list[str]:
    """The lines of `apt-config dump` that the roots need as well."""
    return [line for line in config_dump.splitlines() if _CARRIED.match(line)]


def _output(*words: str) -> str:
    if shutil.which(words[0]) is None:
        return ""
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


def mirror() -> str:
    """The mirror this machine's apt uses for Debian."""
    return parse_mirror(
        _output(
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI)|$(ORIGIN)|$(LABEL)",
            "Created-By: Packages",
        )
    )


def settings() -> list[str]:
    """apt.conf lines to carry over into a root, plus those that keep it small."""
    return [
        *parse_settings(_output("apt-config", "dump")),
        'APT::Install-Recommends "false";',
        'Acquire::Languages "none";',
        'Acquire::Retries "3";',
        'Dpkg::Use-Pty "false";',
    ]


def keyring() -> Path:
    """The keyring with Debian's archive keys; MissingTool if there is none."""
    if not KEYRING.exists():
        raise MissingTool(
            "the keys of Debian's archive are missing", "apt-get install debian-archive-keyring"
        )
    return KEYRING


def source_lines(suites: list[str]) -> list[str]:
    """One deb line per suite."""
    return [f"deb [signed-by={KEYRING}] {mirror()} {suite} main" for suite in suites]
