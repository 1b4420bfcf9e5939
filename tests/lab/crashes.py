# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts whose QEMU this machine has ended: no finding about what ran in them.

Noted beside the lab's lock, where it outlives the lab.
"""

from __future__ import annotations

import signal
from pathlib import Path

from .paths import check_name, labs_root

# A page of memory, or of a file that QEMU maps, could not be had. No guest and no cable leads
# there; a QEMU that trips over those ends by SIGSEGV or SIGABRT.
BY_THE_MACHINE = signal.SIGBUS


def is_one(code: int) -> bool:
    """Whether a process with this exit code (negative: the signal) was ended by the machine."""
    return code == -BY_THE_MACHINE


def note(lab: str, host: str) -> None:
    """Write down that the QEMU of a host ended so."""
    with _path(lab).open("a", encoding="utf-8") as handle:
        handle.write(f"QEMU of host {host} ended by {BY_THE_MACHINE.name}\n")


def take(lab: str) -> list[str]:
    """What was noted of a lab since the last call, a sentence each."""
    try:
        text = _path(lab).read_text(encoding="utf-8")
    except OSError:
        return []
    _path(lab).unlink()
    return text.splitlines()


def _path(lab: str) -> Path:
    return labs_root() / f".{check_name(lab)}.crashes"
