#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run libFuzzer on the targets (targets.py), each from the corpus that is kept and with what it
found before; `make fuzz TARGET=frame SECONDS=600`.

What is found anew stays in build/fuzz/NAME/; --keep writes the smallest corpus that covers as much
back into tests/fuzz/NAME.zip. --record adds the run to docs/fuzzing.md. Needs clang with its
libFuzzer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import record
from fuzz.targets import BY_NAME, TARGETS, Target
from fuzz.userspace import LIBFUZZER, TOP

WORK = TOP / "build/fuzz"


def smallest(fuzzer: Path, target: Target, corpus: Path) -> Path:
    """A folder with the smallest corpus that covers as much."""
    merged = WORK / f"{target.name}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    words = [str(fuzzer), "-merge=1", f"-max_len={target.longest}", str(merged), str(corpus)]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return merged


def edges(fuzzer: Path, corpus: Path) -> int:
    """Edges of the program that the corpus reaches."""
    words = [str(fuzzer), "-runs=0", str(corpus)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return max((int(n) for n in re.findall(r"cov: (\d+)", done.stderr)), default=0)


def executions(log: str) -> int:
    """How often libFuzzer says that it called the target; the jobs of -fork write this way."""
    forked = [int(n) for n in re.findall(r"^#(\d+): cov:", log, re.M)]
    single = [int(n) for n in re.findall(r"stat::number_of_executed_units: (\d+)", log)]
    return max(forked, default=0) + sum(single)


def fuzz(target: Target, seconds: int, jobs: int, *, keep: bool, note: bool) -> int:
    """One target for a while; its exit code."""
    fuzzer = target.compile(WORK / f"{target.name}_fuzz", "-O2", *LIBFUZZER, compiler="clang")
    corpus = WORK / target.name
    target.unpack(corpus)
    words = [str(fuzzer), f"-max_len={target.longest}", f"-max_total_time={seconds}"]
    words += [
        "-print_final_stats=1",
        f"-artifact_prefix={WORK}/{target.name}-",
        "-use_value_profile=1",
    ]
    words += [f"-fork={jobs}"] if jobs > 1 else []
    log, started = "", time.monotonic()
    process = subprocess.Popen([*words, str(corpus)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            log += line
            if not line.startswith("#") or "pulse" in line:
                print(line, end="", flush=True)
    code, took = process.wait(), time.monotonic() - started
    count = executions(log)
    print(f"fuzz: {target.name}: {count} executions in {took:.0f} s, exit code {code}")
    if code == 0 and (keep or note):
        merged = smallest(fuzzer, target, corpus)
        inputs = target.keep(merged) if keep else len(list(merged.iterdir()))
        covered = edges(fuzzer, merged)
        print(f"fuzz: {target.name}: {inputs} inputs cover {covered} edges")
        if note:
            record.target(target.name, executions=count, seconds=took, edges=covered, inputs=inputs)
    return code


def main() -> int:
    """0 when nothing was found; else the exit code of the first fuzzer that found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--target", choices=sorted(BY_NAME), action="append")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if shutil.which("clang") is None:
        print("fuzz: clang is missing: make bootstrap installs it", file=sys.stderr)
        return 3
    WORK.mkdir(parents=True, exist_ok=True)
    codes = [
        fuzz(target, options.seconds, options.jobs, keep=options.keep, note=options.record)
        for target in TARGETS
        if not options.target or target.name in options.target
    ]
    if options.record:
        record.page()
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
