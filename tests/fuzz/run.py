#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run libFuzzer on the transport for a while, from the corpus that is kept and with what it found
before; `make fuzz SECONDS=600`.

What it finds anew stays in build/fuzz/; --keep writes the smallest corpus that covers as much
back into tests/fuzz/transport.zip. Needs clang with its libFuzzer (Debian: clang, libclang-rt-dev).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.userspace import SANITIZERS, TOP, build

PROGRAM = TOP / "tests/fuzz/transport_fuzz.c"
KEPT = TOP / "tests/fuzz/transport.zip"
WORK = TOP / "build/fuzz"
LONGEST = 4096


def unpack(corpus: Path) -> None:
    """The kept corpus beside what earlier runs found."""
    corpus.mkdir(parents=True, exist_ok=True)
    if KEPT.exists():
        with zipfile.ZipFile(KEPT) as archive:
            archive.extractall(corpus)


def keep(fuzzer: Path, corpus: Path) -> int:
    """Write the smallest corpus that covers as much; how many inputs it has."""
    merged = WORK / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    subprocess.run([fuzzer, "-merge=1", str(merged), str(corpus)], check=True)
    inputs = sorted(merged.iterdir())
    with zipfile.ZipFile(KEPT, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in inputs:
            # A fixed date, so that the same inputs give the same archive.
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return len(inputs)


def main() -> int:
    """The fuzzer's exit code: 0 when it found nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    clang = shutil.which("clang")
    if clang is None:
        print("fuzz: clang is missing: apt install clang libclang-rt-dev", file=sys.stderr)
        return 3
    WORK.mkdir(parents=True, exist_ok=True)
    flags = ("-O2", "-fsanitize=fuzzer", *SANITIZERS)
    fuzzer = build(PROGRAM, WORK / "transport_fuzz", *flags, compiler=clang)
    corpus = WORK / "transport"
    unpack(corpus)
    words = [f"-max_len={LONGEST}", f"-max_total_time={options.seconds}", "-print_final_stats=1"]
    words += [f"-fork={options.jobs}", f"-artifact_prefix={WORK}/"]
    done = subprocess.run([fuzzer, *words, str(corpus)], check=False)
    if done.returncode == 0 and options.keep:
        print(f"fuzz: {keep(fuzzer, corpus)} inputs kept in {KEPT.relative_to(TOP)}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
