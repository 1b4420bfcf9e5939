# SPDX-License-Identifier: GPL-2.0-or-later
"""`usb4rdmactl doctor`: all checks, in the order in which troubles cause each other."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from .checks import CHECKS, Finding, Level
from .client import Client
from .exits import Exit, Leave
from .linkchecks import links
from .output import show, style
from .render import Style
from .system import System

_GLYPHS = {
    Level.OK: ("✔", "+", "32"),
    Level.UNKNOWN: ("?", "?", "0"),
    Level.WARNING: ("▲", "!", "33"),
    Level.TROUBLE: ("✖", "x", "31"),
}


def examine(system: System, found: dict[str, Any] | None, unreachable: str) -> list[Finding]:
    """Every finding; `found` is Describe(), or None with the reason why not."""
    findings = [finding for check in CHECKS for finding in check(system)]
    if found is not None:
        findings += links(system, found)
    elif not any(f.id.startswith("daemon-") for f in findings):
        hint = "systemctl restart usb4rdmad; is dbus.service running?"
        findings.append(Finding("daemon-unreachable", Level.TROUBLE, unreachable, hint))
    return findings


def render(findings: Sequence[Finding], look: Style) -> str:
    """For people."""
    lines: list[str] = []
    for finding in findings:
        fancy, plain, colour = _GLYPHS[finding.level]
        sign = fancy if look.unicode else plain
        sign = f"\033[{colour}m{sign}\033[0m" if look.colour else sign
        lines.append(f"{sign} {finding.text}")
        if finding.cure:
            lines.append(f"    cure: {finding.cure}")
    bad = [f for f in findings if f.level in (Level.WARNING, Level.TROUBLE)]
    lines += ["", f"{len(bad)} found that can be cured" if bad else "nothing is wrong"]
    return "\n".join(lines)


def values(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """For programs."""
    return [{"id": f.id, "level": f.level.value, "text": f.text, "cure": f.cure} for f in findings]


async def look() -> tuple[dict[str, Any] | None, str]:
    """What the daemon says, or why it does not."""
    client = Client()
    try:
        await client.open()
        return await client.describe(), ""
    except Leave as leave:
        return None, leave.message
    finally:
        client.close()


async def doctor(arguments: Namespace) -> Exit:
    """Examine this PC; FAILED when there is trouble."""
    found, unreachable = await look()
    findings = examine(System(), found, unreachable)
    show({"findings": values(findings)}, arguments, lambda: render(findings, style()))
    return Exit.FAILED if any(f.level is Level.TROUBLE for f in findings) else Exit.OK
