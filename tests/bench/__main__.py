# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench-counts`: our device and Soft-RoCE over thunderbolt_net on one virtual cable."""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import kernels
from lab.api import Lab
from lab.errors import LabError
from lab.host import Host
from lab.paths import REPOSITORY
from lab.progress import say

from . import build, cases, counts, measure, table
from .cases import Case, Device, Place

OUT = REPOSITORY / "docs/bench"
TOP = 45


def arguments(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--kernel", choices=kernels.LABELS, default=kernels.DEFAULT)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of counts.json, counts.md")
    parser.add_argument("--device", choices=[one.name for one in cases.DEVICES], action="append")
    parser.add_argument("--case", action="append", default=[], metavar="KIND:SIZE")
    parser.add_argument("--place", choices=[one.name for one in cases.PLACES], action="append")
    parser.add_argument("--lab", metavar="LAB", help="a running one, started with the plugin")
    parser.add_argument(
        "--profile", action="store_true", help="print the functions instead of writing a table"
    )
    return parser.parse_args(words)


def chosen(words: list[str]) -> list[Case]:
    """The cases named KIND:SIZE; all without names."""
    everything = [*cases.STREAMS, cases.PINGPONG]
    if not words:
        return everything
    return [case for case in everything if f"{case.kind}:{case.size}" in words]


def about(lab: Lab, repeats: int) -> dict[str, object]:
    """The conditions."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short=12", "HEAD"),
        "uncommitted": bool(git("status", "--porcelain", "driver")),
        "kernel": lab.plan.kernel_version,
        "hosts": "2, 1 vCPU each, TCG, mitigations=off nokaslr",
        "repeats": repeats,
    }


def print_profile(host: Host, blocks: dict[int, int], operations: int, title: str) -> None:
    """Functions by instructions per operation."""
    totals = counts.by_symbol(blocks, host.run("cat /proc/kallsyms", timeout=120).check().out)
    print(f"--- {title}: {sum(totals.values()) / operations:.0f} in the kernel")
    for name, count in sorted(totals.items(), key=lambda item: -item[1])[:TOP]:
        print(f"{count / operations:10.1f}  {name}")


def run(lab: Lab, args: argparse.Namespace) -> tuple[list[table.Sample], int]:
    """All samples that were asked for; how many were discarded."""
    load = build.programs() / "verbsload"
    samples = []
    discarded = 0
    devices: list[Device] = [
        one for one in cases.DEVICES if not args.device or one.name in args.device
    ]
    places: list[Place] = [one for one in cases.PLACES if not args.place or one.name in args.place]
    for device in devices:
        measure.set_up(lab, device, load)
        for place in places:
            with measure.bench(lab, device, place) as bench:
                say(f"{device.name}, {place.name}: idle {bench.idle[0]:.0f} {bench.idle[1]:.0f}/s")
                for case in chosen(args.case):
                    if case.kind == "pingpong" and place is not cases.PLACES[0]:
                        continue
                    for _ in range(args.repeats):
                        sample, raw = bench.sample(case)
                        samples.append(sample)
                    if args.profile:
                        for name, side in (("a", raw.active), ("b", raw.passive)):
                            title = f"{device.name} {case.kind} {case.size} host {name}"
                            print_profile(lab[name], side.blocks, case.count, title)
                    row = table.rows(samples)[-1]
                    say(
                        f"{case.kind} {table.size_name(case.size)}: "
                        f"{table.short(row.per_block(row.sender))} + "
                        f"{table.short(row.per_block(row.receiver))}, frames {row.frames:.2f}, "
                        f"interrupts {row.interrupts:.2f}, resends {row.resends}"
                    )
                discarded += bench.discarded
    return samples, discarded


@contextmanager
def hosts(args: argparse.Namespace) -> Iterator[Lab]:
    """The lab that was named, else one of our own."""
    if args.lab:
        yield Lab(args.lab)
        return
    plugin = str(build.programs() / "counts.so")
    with Lab.up(name="bench", kernel=args.kernel, install="driver", mem=1024, plugin=plugin) as lab:
        yield lab


def main(words: list[str]) -> int:
    """Measure, print, write."""
    args = arguments(words)
    with hosts(args) as lab:
        samples, discarded = run(lab, args)
        conditions = {**about(lab, args.repeats), "discarded": discarded}
        alarms = lab.alarms()
    result = table.rows(samples)
    text = table.markdown(result, cases.SOFT_ROCE.name)
    missed = table.verdict(result, cases.OURS.name, cases.SOFT_ROCE.name)
    print(text)
    print("\n".join(missed) or "All aims are reached.")
    for line in alarms:
        print(f"a kernel complained: {line}")
    if not args.profile and not args.device and not args.case:
        args.out.mkdir(parents=True, exist_ok=True)
        data = json.dumps(table.to_json(samples, conditions), indent=1)
        (args.out / "counts.json").write_text(data + "\n", encoding="utf-8")
        page = table.page(samples, conditions, cases.OURS.name, cases.SOFT_ROCE.name)
        (args.out / "counts.md").write_text(page, encoding="utf-8")
    return 1 if missed or alarms else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        say(str(error))
        sys.exit(error.exit_code)
