# SPDX-License-Identifier: GPL-2.0-or-later
"""What the fuzzers have done so far: docs/data/fuzzing.json, and docs/fuzzing.md made from it."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
KEPT = TOP / "docs/data/fuzzing.json"
PAGE = TOP / "docs/fuzzing.md"

INTRODUCTION = """\
<!-- SPDX-License-Identifier: GPL-2.0-or-later -->
<!-- Made from docs/data/fuzzing.json by tests/fuzz/record.py, when a fuzzer's long run ends. -->
# Fuzzing

What reads bytes of a peer or of a process is fuzzed, from the driver's own source files. Each
target is a program of user space with AddressSanitizer and UndefinedBehaviorSanitizer, driven by
libFuzzer (`make fuzz`); each also compares with a model what the driver's code says and does. The
inputs that reach something new are kept in `tests/fuzz/*.zip` and run again, with some thousand
new ones, by `make test`.

| target | driver's files | checked beside crashes |
|---|---|---|
"""
USER = """
## From a process

`make fuzz-user` runs a process without privileges in a host: two contexts, two threads that give
commands (the write interface and the ioctls, each field right or wrong, lengths, handles of other
contexts, memory that goes), one that scribbles on the mapped queues meanwhile, ended by a signal,
by itself, or forked. Its requests go to itself and to the other host. At the same time other
processes exchange data between the hosts and compare it, and one has a region with every right
whose keys the fuzzer knows. Afterwards: that region as it was, the data right, the kernel silent,
every object gone, the module unloaded and loaded again.

On the sanitizer kernel kmemleak found a fault of Linux 7.2 itself with it, seen with seed 20261121
and read in the source: a context that a process asks for by ioctl and does not get, for instance a
second one of the same file, costs a reference to its task, about 11 KiB, for ever (`GET_CONTEXT` in
`uverbs_std_types_device.c` frees the context without `rdma_restrack_put()`). Any process that may
open an RDMA device of any driver can do that; ours cannot prevent it.

Columns that count two things: commands and ioctls (those the kernel took), connections (those with
the other host).

| date | version | kernel | minutes | processes | commands | ioctls | requests | connections \
| completions | seed |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def version() -> str:
    """The driver's version and the commit it stands at."""
    text = (TOP / "packaging/debian/changelog").read_text(encoding="utf-8")
    found = re.search(r"\(([^)-]+)", text)
    words = ["git", "-C", str(TOP), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return " ".join(filter(None, (found.group(1) if found else "", commit)))


def _load() -> dict[str, Any]:
    if not KEPT.exists():
        return {"targets": {}, "user": []}
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return kept


def _save(kept: dict[str, Any]) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def target(name: str, *, executions: int, seconds: float, edges: int, inputs: int) -> None:
    """Add a run of a target; `inputs` are kept in its corpus."""
    kept = _load()
    row = kept["targets"].setdefault(name, {"executions": 0, "seconds": 0})
    row["executions"] += executions
    row["seconds"] += round(seconds)
    row |= {"edges": edges, "inputs": inputs, "version": version()}
    row["date"] = f"{datetime.now(UTC):%Y-%m-%d}"
    _save(kept)


def user(total: dict[str, Any], *, seed: int, seconds: float, kernel: str) -> None:
    """Add a long run of the fuzzer in a host, and make the page anew."""
    kept = _load()
    row = total | {"seed": seed, "minutes": round(seconds / 60, 1), "kernel": kernel}
    row |= {"version": version(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    kept["user"].append(row)
    _save(kept)
    page()


def page() -> None:
    """Make docs/fuzzing.md."""
    from fuzz.targets import TARGETS

    kept = _load()
    text = INTRODUCTION
    for one in TARGETS:
        files = ", ".join(f"`{path}`" for path in one.files)
        text += f"| `{one.name}` | {files} | {one.checks} |\n"
    text += "\nAll runs so far; edges and inputs are those of the last one:\n\n"
    text += "| target | executions | minutes | edges covered | inputs kept | last run | version |\n"
    text += "|---|---|---|---|---|---|---|\n"
    runs = [(one.name, kept["targets"][one.name]) for one in TARGETS if one.name in kept["targets"]]
    for name, row in runs:
        text += f"| `{name}` | {row['executions']:,} | {row['seconds'] / 60:.1f} | {row['edges']} "
        text += f"| {row['inputs']} | {row['date']} | {row['version']} |\n"
    executions = sum(row["executions"] for _, row in runs)
    minutes = sum(row["seconds"] for _, row in runs) / 60
    text += f"| all | {executions:,} | {minutes:.1f} | | | | |\n"
    text += USER
    for row in kept["user"]:
        text += f"| {row['date']} | {row['version']} | {row['kernel']} | {row['minutes']} "
        text += f"| {row['lives']:,} | {row['commands']:,} ({row['accepted']:,}) "
        text += f"| {row['ioctls']:,} ({row['ioctls_accepted']:,}) | {row['wqes']:,} "
        text += f"| {row['connected'] + row['connected_peer']:,} ({row['connected_peer']:,}) "
        text += f"| {row['completions']:,} | {row['seed']} |\n"
    PAGE.write_text(text, encoding="utf-8")
