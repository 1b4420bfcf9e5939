#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Register memory regions of growing size on several devices: time, and memory that it takes.

    mr_registration.py --gib 1 2 4 8 --repeats 3 DEVICE...

The memory is anonymous, present before anything is measured, and the same for all devices. One
JSON object a line: {"device", "gib", "pages", "register", "deregister", "held"}; seconds, and KiB
that the kernel had less of while the region was registered. A device that refuses a size has
{"device", "gib", "pages", "error"} instead.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import sys
import time
from pathlib import Path

from raw_verbs import Library, P

GIB = 1 << 30
ACCESS = 0xF
READ_WRITE, PRIVATE_ANONYMOUS = 3, 0x22
HUGE_PAGES, NO_HUGE_PAGES, POPULATE_WRITE = 14, 15, 23


def populated(size: int, huge: bool) -> int:
    """The address of so much memory that is there; in huge pages or in none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = P
    libc.mmap.argtypes = (P, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    libc.madvise.argtypes = (P, ctypes.c_size_t, ctypes.c_int)
    place = libc.mmap(None, size + (1 << 21), READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    start = (place + (1 << 21) - 1) >> 21 << 21
    libc.madvise(start, size, HUGE_PAGES if huge else NO_HUGE_PAGES)
    if libc.madvise(start, size, POPULATE_WRITE):
        raise OSError(ctypes.get_errno(), "the memory is not there")
    return int(start)


def available() -> int:
    """KiB that the kernel could still give away."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    raise LookupError("MemAvailable")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, nargs="+", required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pages", choices=["4k", "2m"], required=True)
    parser.add_argument("devices", nargs="+")
    options = parser.parse_args()
    start = populated(int(max(options.gib) * GIB), options.pages == "2m")
    opened = [(name, Library(name)) for name in options.devices]
    for gib in options.gib:
        for name, lib in opened:
            pd = lib.pd()
            for _ in range(options.repeats):
                before, since = available(), time.monotonic()
                try:
                    mr = lib.mr(pd, start, int(gib * GIB), ACCESS)
                except OSError as error:
                    row = {"device": name, "gib": gib, "pages": options.pages}
                    row["error"] = errno.errorcode.get(error.errno, str(error))
                    print(json.dumps(row), flush=True)
                    break
                made = time.monotonic()
                held = before - available()
                again = time.monotonic()
                lib.do("ibv_dereg_mr", P(mr))
                row = {"device": name, "gib": gib, "pages": options.pages, "held": held}
                row |= {"register": made - since, "deregister": time.monotonic() - again}
                print(json.dumps(row), flush=True)
            lib.do("ibv_dealloc_pd", P(pd))
    return 0


if __name__ == "__main__":
    sys.exit(main())
