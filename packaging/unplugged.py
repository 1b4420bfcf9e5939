# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of docs/unplug.md, from what `make unplug` and `make soak` recorded.

Their tests leave build/results/unplug/*.json (tests/vm/report.py); gather() keeps those of the
lab's usual kernel in docs/data/unplug.json, `make docs-data` makes the tables of what is kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pages.kept import load, newest
from pages.tables import table

TOP = Path(__file__).resolve().parents[1]
KEPT = TOP / "docs/data/unplug.json"
NAMES = ("matrix", "storage", "server", "load-cycles", "plug-cycles", "soak")
KERNEL, SANITIZERS = "7.2.", "-debug"
RELIABLE = ("SEND", "WRITE", "READ", "atomic")
WORK = {"nvme": "NVMe-oF", "nfs3": "NFS 3", "nfs4": "NFS 4.2"}


def gather(kept: dict[str, Any], results: Path) -> dict[str, Any]:
    """What is kept, with what was recorded since in its place."""
    found = {}
    for path in sorted((results / "unplug").glob("*.json")):
        result = load(path)
        name = path.stem.removesuffix(f"-{result['kernel']}")
        usual = result["kernel"].startswith(KERNEL) and SANITIZERS not in result["kernel"]
        if name in NAMES and usual:
            found[name] = result
    return newest(kept, found, "day")


def made_with(result: dict[str, Any]) -> str:
    """With what, and when."""
    return f"Driver {result['driver']}, Linux {result['kernel']}, {result['day']}."


def how(flows: list[dict[str, Any]]) -> str:
    """How such flows ended, and the last of them when."""
    ends = list(dict.fromkeys(flow["end"] for flow in flows))
    last = max((flow["after"] for flow in flows if flow["after"] is not None), default=None)
    return " or ".join(ends) + ("" if last is None else f", {last:.1f} s")


def matrix(result: dict[str, Any]) -> str:
    """A line for each event and host."""
    body = []
    for row in result["rows"]:
        first = row["event"]
        for host, facts in sorted(row["hosts"].items()):
            flows = facts["flows"]
            reliable = how([flows[kind] for kind in RELIABLE])
            others = how([flows["datagram"]]), how([flows["net"]])
            body.append((first, host, reliable, *others, ", ".join(facts["heard"])))
            first = ""
    head = ("event", "host", ", ".join(RELIABLE), "datagrams", "TCP", "programs hear")
    return f"{table(head, body)}\n\n{made_with(result)}"


def storage(result: dict[str, Any]) -> str:
    """A line for each event."""
    body = [
        (
            row["event"],
            *(f"{row['work'][k]['end']}, {row['work'][k]['after']:.0f} s" for k in WORK),
        )
        for row in result["rows"]
    ]
    return f"{table(('event on b', *WORK.values()), body)}\n\n{made_with(result)}"


def server(result: dict[str, Any]) -> str:
    """One sentence."""
    return (
        "A server that is killed holds nobody: its storage is put away on the other host and the "
        f"module unloaded within {result['seconds']} s, most of which NFS and NVMe wait for the "
        f"server. {made_with(result)}"
    )


def trend(memory: dict[str, int]) -> str:
    """Of the memory for programs, from the first third of the samples to the last."""
    return ", ".join(f"{host} {kib:+,} KiB" for host, kib in sorted(memory.items()))


def cycles(kept: dict[str, Any]) -> str:
    """A line for each kind of cycle."""
    body = []
    for name in ("load-cycles", "plug-cycles"):
        if name in kept:
            result = kept[name]
            flows = [f for side in result.get("hosts", {}).values() for f in side["flows"].values()]
            through = (
                f"{sum(flow['operations'] for flow in flows):,} operations" if flows else "none"
            )
            body.append(
                (
                    f"{result['number']} {name.replace('-', ' ')}",
                    f"{result['seconds']:,} s",
                    through,
                    trend(result["memory"]),
                    made_with(result),
                )
            )
    head = ("what", "took", "traffic that went on", "memory for programs", "")
    return table(head, body) if body else "Not recorded yet."


def counted(numbers: dict[str, int]) -> str:
    """What there was, and how often."""
    return "; ".join(f"{name}: {n:,}" for name, n in sorted(numbers.items()))


def soak(result: dict[str, Any]) -> str:
    """What was done, and what was found."""
    before, after = result["latency_us"]
    body = [
        ("time", f"{result['minutes']:g} minutes, seed {result['seed']}"),
        ("chapters", f"{result['chapters']:,}"),
        ("done", counted(result["done"])),
        ("compared", counted(result["operations"])),
        ("memory for programs", trend(result["memory"])),
        ("latency of 64 bytes (emulated)", f"{before:,} us before, {after:,} us after"),
    ]
    return f"{table(('what', 'seen'), body)}\n\n{made_with(result)}"


def parts(kept: dict[str, Any]) -> dict[str, str]:
    """The parts of docs/unplug.md, by name."""
    makers = {"matrix": matrix, "storage": storage, "server": server, "soak": soak}
    made = {
        f"unplug-{name}": make(kept[name]) if name in kept else "Not recorded yet."
        for name, make in makers.items()
    }
    return made | {"unplug-cycles": cycles(kept)}
