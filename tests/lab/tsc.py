# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast this machine's time stamp counter runs, which is also what emulated hosts read.

A host measures it at boot against an emulated timer. One that is starved just then is wrong by
a factor, and its clock runs fast or slow for as long as it lives; so it is told instead.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import threading
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
_READ = bytes.fromhex("0f3148c1e2204809d0c3")
_SECONDS = 0.05
_TRIES = 50


@functools.cache
def kilohertz() -> int:
    """Ticks a millisecond; 0 where that cannot be measured."""
    if platform.machine() != "x86_64":
        return 0
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    code.write(_READ)
    entry = ctypes.addressof(ctypes.c_char.from_buffer(code))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(entry)

    def sample() -> tuple[int, int]:
        """Time and ticks of one moment: of many readings that which took least."""
        best = (1 << 62, 0, 0)
        for _ in range(_TRIES):
            before = time.monotonic_ns()
            ticks = read()
            after = time.monotonic_ns()
            best = min(best, (after - before, (before + after) // 2, ticks))
        return best[1], best[2]

    first = sample()
    threading.Event().wait(_SECONDS)
    second = sample()
    return round((second[1] - first[1]) * 1_000_000 / (second[0] - first[0]))
