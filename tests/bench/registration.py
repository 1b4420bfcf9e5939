# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench-mr`: registering large memory regions, on our device and on Soft-RoCE in one host.

Writes mr-registration.json (what was measured) and mr-registration.md (a table).
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

from lab.api import Lab
from lab.host import Host
from lab.paths import REPOSITORY

OUT = REPOSITORY / "docs/bench"
GUEST = Path(__file__).parent / "guest"
VERBS = REPOSITORY / "tests/vm/guest/raw_verbs.py"
INSIDE = "/run/usb4rdma-bench"
OURS, THEIRS = "usb4rdma0", "rxe0"
# What a host needs beside the memory that is registered.
BESIDE = 2048
SIZES = (1, 2, 4, 8)
Row = dict[str, Any]


def prepare(host: Host) -> None:
    """The program, and a Soft-RoCE device on the Ethernet."""
    host.run(f"mkdir -p {INSIDE}", check=True)
    for path in (GUEST / "mr_registration.py", VERBS):
        host.put(path, f"{INSIDE}/{path.name}")
    host.run(f"modprobe rdma_rxe && rdma link add {THEIRS} type rxe netdev eth0", check=True)


def measure(host: Host, sizes: list[int], pages: str, repeats: int) -> list[Row]:
    """All rows of one kind of pages."""
    words = " ".join(map(str, sizes))
    command = f"python3 {INSIDE}/mr_registration.py --gib {words} --pages {pages}"
    done = host.run(f"{command} --repeats {repeats} {OURS} {THEIRS}", timeout=1800, check=True)
    return [json.loads(line) for line in done.out.splitlines()]


def cell(rows: list[Row], field: str, scale: float) -> str:
    """The least of what was measured several times (what else the machine did only adds), per
    GiB; or why there is nothing."""
    refused = [str(row["error"]) for row in rows if "error" in row]
    if refused:
        return refused[0]
    return f"{min(float(row[field]) * scale / row['gib'] for row in rows):.0f}"


def table(rows: list[Row]) -> str:
    """The least of each, per GiB, beside each other."""
    lines = [
        "| GiB | pages | register, ms/GiB | Soft-RoCE | deregister, ms/GiB | Soft-RoCE "
        "| held, KiB/GiB | Soft-RoCE |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for pages in dict.fromkeys(row["pages"] for row in rows):
        for gib in dict.fromkeys(row["gib"] for row in rows):
            cells = [f"{gib:g}", pages]
            for field, scale in (("register", 1000), ("deregister", 1000), ("held", 1)):
                for device in (OURS, THEIRS):
                    chosen = [
                        row
                        for row in rows
                        if (row["pages"], row["gib"], row["device"]) == (pages, gib, device)
                    ]
                    cells.append(cell(chosen, field, scale))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(raw: dict[str, Any]) -> str:
    """docs/bench/mr-registration.md, from what was measured."""
    return (
        "<!-- Made by `make docs-data` from mr-registration.json. -->\n"
        "# Registration of large memory regions\n\n"
        f"`make bench-mr`, {raw['date']}: kernel {raw['kernel']} in a virtual machine"
        f" ({raw['accel']}), the least of {raw['repeats']}, on a machine with {raw['cores']} cores"
        f" and a load of {raw['load']}. The memory is present before it is registered. *Held* is"
        " what the kernel has less of while the region exists: the array of its pages, and the DMA"
        " addresses for each host router that a cable to the peer is plugged into. *ENOMEM*:"
        " refused; Soft-RoCE keeps its list of pages in one piece of contiguous memory, of which"
        " the kernel gives 4 MiB at most.\n\n"
        f"{table(raw['rows'])}\n"
    )


def main(words: list[str]) -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="bench.registration", description=__doc__)
    parser.add_argument("--gib", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(words)
    with Lab.up(
        name="bench-mr", install="driver", net=True, mem=max(options.gib) * 1024 + BESIDE
    ) as lab:
        host = lab["a"]
        prepare(host)
        rows = [
            row
            for pages in ("4k", "2m")
            for row in measure(host, options.gib, pages, options.repeats)
        ]
        kernel, accel = lab.plan.kernel_version, lab.plan.accel
    options.out.mkdir(parents=True, exist_ok=True)
    raw = {
        "date": str(datetime.date.today()),
        "kernel": kernel,
        "accel": str(accel),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0]),
        "repeats": options.repeats,
        "rows": rows,
    }
    (options.out / "mr-registration.json").write_text(
        json.dumps(raw, indent=1) + "\n", encoding="utf-8"
    )
    text = page(raw)
    (options.out / "mr-registration.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
