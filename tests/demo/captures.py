#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Make docs/captures/: what usb4rdmactl shows on a terminal, taken in two hosts of a lab.

`make captures` runs it. Each command runs on a pseudo-terminal in a host; what it shows is kept
as text (.txt) and as a picture (.svg).
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/vm"), str(TOP / "packaging")]

import build_debs  # noqa: E402
import daemons  # noqa: E402
import scenario  # noqa: E402
from lab.api import Host, Lab, Process  # noqa: E402
from terminal_svg import last_screen, lines_of, plain, svg  # noqa: E402

FOLDER = TOP / "docs/captures"
NAME = "captures"
WIDTH, HEIGHT = 100, 30
PROMPT = "\x1b[1m{host}$\x1b[0m {command}\n"
LOOKS = 12


def on_terminal(host: Host, command: str) -> Process:
    """Start a command on a terminal of its own."""
    inside = f"stty cols {WIDTH} rows {HEIGHT}; exec {command}"
    words = ["env", "TERM=xterm-256color", "script", "-qefc", inside, "/dev/null"]
    return host.start(shlex.join(words))


def keep(name: str, title: str, *parts: tuple[Host, str, str]) -> None:
    """Write a capture of commands and what they showed."""
    text = "\n".join(
        PROMPT.format(host=host.name, command=command) + output.replace("\r\n", "\n")
        for host, command, output in parts
    )
    lines = lines_of(text)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.txt").write_text(plain(lines) + "\n", encoding="utf-8")
    (FOLDER / f"{name}.svg").write_text(svg(lines, title), encoding="utf-8")
    print(f"── {name}\n{plain(lines)}\n", flush=True)


def shown(host: Host, command: str) -> str:
    """What a command shows until it ends."""
    with on_terminal(host, command) as process:
        process.wait(180)
        return process.out


def take_pairing(lab: Lab) -> None:
    """Two strangers: the code on both, and both say yes."""
    a, b = lab["a"], lab["b"]
    for host in (a, b):
        daemons.configure(host, '[pairing]\npolicy = "confirm"\n')
    daemons.strangers(lab)
    with on_terminal(a, "usb4rdmactl pair b") as here:
        found: dict[str, str] = {}

        def code_there() -> bool:
            for pairing in daemons.describe(b)["pairings"]:
                found.update(code=pairing["Code"], path=pairing["Path"])
            return bool(re.fullmatch(r"\d{3} \d{3}", found.get("code", "")))

        scenario.until("the code on b", 60, code_there)
        here.wait_for(found["code"], 60)
        there = shown(b, "usb4rdmactl status")
        confirm = f"usb4rdmactl confirm a {found['code'].replace(' ', '')}"
        confirmed = shown(b, confirm)
        here.write("y\n")
        here.wait(180)
        pairing_shown = here.out
    daemons.until_links(lab, "active")
    keep(
        "pair",
        "usb4rdmactl pair: both hosts show the same code",
        (a, "usb4rdmactl pair b", pairing_shown),
        (b, "usb4rdmactl", there),
        (b, confirm, confirmed),
    )


def take_traffic(lab: Lab) -> None:
    """The overview and `top`, while something is sent."""
    a, b = lab["a"], lab["b"]
    with scenario.perftest(lab, "ib_write_bw", f"-s 65536 -D {10 * LOOKS}") as (client, _):
        start = scenario.data_frames(lab)
        scenario.until("traffic", 60, lambda: scenario.data_frames(lab) > start + 500)
        keep("status", "usb4rdmactl status", (a, "usb4rdmactl", shown(a, "usb4rdmactl")))
        screen = last_screen(shown(b, f"usb4rdmactl top --count {LOOKS}"))
        keep("top", "usb4rdmactl top", (b, "usb4rdmactl top", screen))
        client.kill()


def main() -> int:
    """Take all; 0 if all were taken."""
    build_debs.build(TOP / "dist")
    with Lab.up(name=NAME, **daemons.OPTIONS) as lab:
        daemons.until_links(lab, "active", seconds=120)
        a = lab["a"]
        take_pairing(lab)
        keep(
            "doctor",
            "usb4rdmactl doctor",
            (a, "usb4rdmactl doctor", shown(a, "usb4rdmactl doctor")),
        )
        take_traffic(lab)
    return 0


if __name__ == "__main__":
    sys.exit(main())
