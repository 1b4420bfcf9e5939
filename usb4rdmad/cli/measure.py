# SPDX-License-Identifier: GPL-2.0-or-later
"""`usb4rdmactl test`: one measurement, or many that are drawn."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from .client import Client
from .exits import Exit, Leave
from .output import show
from .plot import Curve, Series, draw

PING_SIZES = (8, 64, 512, 4096, 16384, 65536)
WRITE_SIZES = (512, 4096, 16384, 65536, 262144, 1048576)
PING_COUNT = 200
WRITE_BYTES = 64 << 20
WRITE_COUNT_MAX = 2000


def rate(bits_per_second: float) -> str:
    """Bit/s for people."""
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if bits_per_second < 1000 or unit == "Gbit/s":
            return f"{bits_per_second:.3g} {unit}"
        bits_per_second /= 1000
    raise AssertionError


def _sentence(found: dict[str, Any]) -> str:
    head = f"{found['kind']} of {found['size']} bytes, {found['operations']} operations: "
    if found["kind"] == "ping":
        return head + (
            f"{found['latency_ns'] / 1000:.1f} us one way (median), "
            f"{found['p99_ns'] / 1000:.1f} us (99 %)"
        )
    return head + rate(found["bits_per_second"])


async def test(client: Client, arguments: Namespace) -> None:
    """Measure over a link."""
    path = await client.link(arguments.name)
    if arguments.plot:
        await _plot(client, path, arguments)
        return
    for name in ("size", "count"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < 2**32:
            raise Leave(Exit.USAGE, f"--{name} is a number from 1")
    found = await client.test(path, kind=arguments.kind, size=arguments.size, count=arguments.count)
    show(found, arguments, lambda: _sentence(found))


async def _plot(client: Client, path: str, arguments: Namespace) -> None:
    if arguments.size or arguments.count:
        raise Leave(Exit.USAGE, "--plot chooses sizes and counts by itself")
    target = Path(arguments.plot)
    found: list[dict[str, Any]] = []
    plans = [("ping", size, PING_COUNT) for size in PING_SIZES]
    plans += [
        ("write", size, max(8, min(WRITE_COUNT_MAX, WRITE_BYTES // size))) for size in WRITE_SIZES
    ]
    for kind, size, count in plans:
        found.append(await client.test(path, kind=kind, size=size, count=count))
        print(_sentence(found[-1]), file=sys.stderr, flush=True)
    pings, writes = found[: len(PING_SIZES)], found[len(PING_SIZES) :]
    latency = Curve(
        "Latency, one way",
        "microseconds",
        (
            Series("median", [(f["size"], f["latency_ns"] / 1000) for f in pings]),
            Series("99 %", [(f["size"], f["p99_ns"] / 1000) for f in pings]),
        ),
    )
    speeds = [(f["size"], f["bits_per_second"] / 1e9) for f in writes]
    bandwidth = Curve("RDMA write", "Gbit/s", (Series("write", speeds),))
    try:
        target.write_text(draw(f"usb4rdma {arguments.name}", (latency, bandwidth)), "utf-8")
    except OSError as error:
        raise Leave(Exit.FAILED, f"{target}: {error.strerror}") from None
    show({"plot": str(target), "results": found}, arguments, lambda: f"{target} written")
