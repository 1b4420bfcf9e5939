# SPDX-License-Identifier: GPL-2.0-or-later
"""`usb4rdmactl top`: throughput of the links, from two looks at their counters."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .client import Client
from .exits import Exit, Leave
from .output import style
from .render import Style, size, who

HISTORY = 40
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-=+*%#"


@dataclass
class Row:
    """One link over time; rates in bytes a second."""

    link: Mapping[str, Any]
    rx: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    tx: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))


class Rates:
    """Turns looks into rates. Pure: the caller brings the time."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._last: dict[str, tuple[float, int, int]] = {}

    def look(self, found: Mapping[str, Any], now: float) -> None:
        """Take a description of everything, made at `now`."""
        there = {link["Path"] for link in found["links"]}
        for path in self.rows.keys() - there:
            del self.rows[path], self._last[path]
        for link in found["links"]:
            path, counters = link["Path"], link["Statistics"]
            rx, tx = counters["RxBytes"], counters["TxBytes"]
            row = self.rows.setdefault(path, Row(link))
            row.link = link
            before = self._last.get(path)
            if before is not None and now > before[0]:
                # A device that was made anew counts from zero.
                row.rx.append(max(0, rx - before[1]) / (now - before[0]))
                row.tx.append(max(0, tx - before[2]) / (now - before[0]))
            self._last[path] = (now, rx, tx)

    def values(self) -> list[dict[str, Any]]:
        """For programs."""
        return [
            {
                "Name": row.link["Name"],
                "PeerName": row.link["PeerName"],
                "State": row.link["State"],
                "RxBytesPerSecond": round(row.rx[-1]) if row.rx else 0,
                "TxBytesPerSecond": round(row.tx[-1]) if row.tx else 0,
            }
            for row in self.rows.values()
        ]


def sparkline(values: Sequence[float], full: float, style: Style) -> str:
    """One character a value; `full` is the top of the scale."""
    bars = BARS if style.unicode else ASCII_BARS
    if full <= 0:
        return bars[0] * len(values)
    return "".join(bars[min(len(bars) - 1, int(v / full * len(bars)))] for v in values)


def frame(rates: Rates, now: float, style: Style) -> str:
    """The screen."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    lines = [f"{style.bold('usb4rdmactl top')}  {clock}   Ctrl-C ends", ""]
    width = max(8, min(HISTORY, (style.width - 52) // 2))
    lines.append(f"  {'LINK':<6} {'PEER':<12} {'RX/s':>11} {'':<{width}} {'TX/s':>11}")
    for row in rates.rows.values():
        link = row.link
        top = max([*row.rx, *row.tx, 1.0])
        rx, tx = (size(int(x[-1])) if x else "-" for x in (row.rx, row.tx))
        lines.append(
            f"{style.glyph(link['State'])} {link['Name']:<6} {who(link):<12.12} "
            f"{rx:>11} {sparkline(list(row.rx)[-width:], top, style):<{width}} "
            f"{tx:>11} {sparkline(list(row.tx)[-width:], top, style)}".rstrip()
        )
    if not rates.rows:
        lines.append("  no links")
    return "\n".join(lines)


async def top(client: Client, arguments: Namespace) -> None:
    """Look again and again."""
    if not 0.1 <= arguments.interval <= 3600 or (arguments.count or 1) < 1:
        raise Leave(Exit.USAGE, "--interval is 0.1 to 3600 seconds, --count at least 1")
    rates, looks = Rates(), 0
    out = style()
    screen = sys.stdout.isatty() and arguments.json is None
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        rates.look(await client.describe(), loop.time())
        looks += 1
        # The first look knows no rates: scripts that count want those.
        if looks > 1 or screen:
            if arguments.json:
                print(json.dumps({"time": time.time(), "links": rates.values()}), flush=True)
            else:
                print(("\033[H\033[2J" if screen else "") + frame(rates, time.time(), out))
                sys.stdout.flush()
        if arguments.count is not None and looks > arguments.count:
            return
        due += arguments.interval
        timer = asyncio.Event()
        loop.call_at(due, timer.set)
        await timer.wait()
