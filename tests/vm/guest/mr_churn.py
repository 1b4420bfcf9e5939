#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Register and deregister a large region again and again, from several threads, until told to end.

    mr_churn.py --device DEVICE --mib SIZE --threads N

Ends when a line comes on standard input; then prints {"registered": N, "slowest": SECONDS}.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import sys
import threading
import time

from raw_verbs import Library, P

ACCESS = 0xF


class Churn(threading.Thread):
    """One thread; all of them register the same memory."""

    def __init__(self, lib: Library, place: int, size: int, stop: threading.Event) -> None:
        super().__init__()
        self.lib, self.place, self.size, self.stop = lib, place, size, stop
        self.registered = 0
        self.slowest = 0.0
        self.error = ""

    def run(self) -> None:
        """Until told to stop, or until something fails."""
        try:
            pd = self.lib.pd()
            while not self.stop.is_set():
                since = time.monotonic()
                self.lib.do("ibv_dereg_mr", P(self.lib.mr(pd, self.place, self.size, ACCESS)))
                self.slowest = max(self.slowest, time.monotonic() - since)
                self.registered += 1
        except OSError as error:
            self.error = str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--mib", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    size = options.mib << 20
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    lib, stop = Library(options.device), threading.Event()
    churns = [Churn(lib, place, size, stop) for _ in range(options.threads)]
    for churn in churns:
        churn.start()
    print("registering", flush=True)
    sys.stdin.readline()
    stop.set()
    for churn in churns:
        churn.join()
    errors = [churn.error for churn in churns if churn.error]
    if errors:
        print(errors, file=sys.stderr)
        return 1
    total = sum(churn.registered for churn in churns)
    slowest = round(max(churn.slowest for churn in churns), 2)
    print(json.dumps({"registered": total, "slowest": slowest}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
