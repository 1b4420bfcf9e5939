# SPDX-License-Identifier: GPL-2.0-or-later
"""`usb4rdmactl report`: what a bug report needs, without names and keys."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import socket
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from . import doctor
from .exits import Exit, Leave
from .system import System

JOURNAL_LINES = "400"
_PROGRAMS = (
    ("uname", "-a"),
    ("dkms", "status"),
    ("rdma", "link"),
    ("rdma", "statistic"),
    ("ip", "-details", "link", "show", "type", "ether"),
    ("journalctl", "-u", "usb4rdmad", "-n", JOURNAL_LINES, "--no-pager", "-o", "short-iso"),
    ("journalctl", "-k", "-n", JOURNAL_LINES, "--no-pager", "--grep", "usb4|thunderbolt|rdma"),
)
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_LONG_HEX = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b", re.IGNORECASE)
_MAC = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE)
_HOME = re.compile(r"/home/[^/\s]+")
_IN_JOURNAL = re.compile(r"\(([A-Za-z0-9._-]{2,63})\)|\bname=([A-Za-z0-9._-]{2,63})")
_PARAMETER = re.compile(r"(thunderbolt|.*iommu|lockdown|module|usb4|pci|rdma|ib_)")
_CODE = re.compile(r"\b\d{3} \d{3}\b")


class Redactor:
    """Replaces what tells who somebody is; one thing has one alias all through."""

    def __init__(self, names: Iterable[str]) -> None:
        aliases = {n: f"host-{i + 1}" for i, n in enumerate(dict.fromkeys(names)) if len(n) > 1}
        self._aliases = {n.lower(): alias for n, alias in aliases.items()}
        longest = sorted(map(re.escape, self._aliases), key=len, reverse=True)
        # A name may stand against anything but a letter or digit: mars.local, mars:
        self._names = (
            re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(longest)})(?![A-Za-z0-9])", re.IGNORECASE)
            if longest
            else None
        )
        self._uuids: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = _UUID.sub(self._uuid, text)
        text = _LONG_HEX.sub(r"\1...", text)
        text = _MAC.sub("xx:xx:xx:xx:xx:xx", text)
        text = _HOME.sub("/home/user", text)
        text = _CODE.sub("ddd ddd", text)
        if self._names is not None:
            text = self._names.sub(lambda m: self._aliases[m[0].lower()], text)
        return text

    def _uuid(self, match: re.Match[str]) -> str:
        return self._uuids.setdefault(match[0].lower(), f"uuid-{len(self._uuids) + 1}")


def names(found: Mapping[str, Any] | None) -> list[str]:
    """Every name of a host that may occur."""
    own = socket.gethostname()
    gathered = [own, own.split(".")[0]]
    for link in (found or {}).get("links", ()):
        gathered += [link["PeerName"], link["RemoteName"]]
    for peer in (found or {}).get("peers", ()):
        gathered += [peer["Name"], peer["Label"]]
    return [name for name in gathered if name]


def said(text: str) -> list[str]:
    """Names of peers in the daemon's lines of the journal, for when it does not run."""
    lines = (line for line in text.splitlines() if "usb4rdmad[" in line)
    return [a or b for line in lines for a, b in _IN_JOURNAL.findall(line)]


def command_line(text: str) -> str:
    """What of the kernel's command line may matter here."""
    return " ".join(word for word in text.split() if _PARAMETER.match(word))


def compose(system: System, found: dict[str, Any] | None, unreachable: str) -> str:
    """The whole report, not redacted yet."""
    parts = [
        ("usb4rdma report", f"usb4rdma {__version__}, Python {platform.python_version()}"),
        ("os-release", system.text("/etc/os-release")),
        ("kernel command line, in part", command_line(system.text("/proc/cmdline"))),
        ("doctor", json.dumps(doctor.values(doctor.examine(system, found, unreachable)), indent=1)),
        ("status", json.dumps(found, indent=1, sort_keys=True) if found else unreachable),
        ("usb4rdmad.toml", system.text("/etc/usb4rdma/usb4rdmad.toml")),
    ]
    for path in system.glob("/sys/class/usb4rdma/link*"):
        lines = []
        for file in sorted(path.iterdir()):
            if file.is_file():
                with contextlib.suppress(OSError):
                    lines.append(f"{file.name} = {file.read_text('utf-8', 'replace').strip()}")
        parts.append((str(path), "\n".join(lines)))
    for command in _PROGRAMS:
        done = system.run(*command)
        parts.append((" ".join(command), done[1].strip() if done else "(cannot be run)"))
    return "".join(f"==== {title}\n{text}\n\n" for title, text in parts)


async def report(arguments: Namespace) -> Exit:
    """Gather, redact, write."""
    found, unreachable = await doctor.look()
    text = compose(System(), found, unreachable)
    text = Redactor([*names(found), *said(text)])(text)
    if arguments.output == "-":
        print(text, end="")
        return Exit.OK
    path = Path(arguments.output)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise Leave(Exit.FAILED, f"{path}: {error.strerror}") from None
    print(f"{path} written; look through it before you publish it")
    return Exit.OK
