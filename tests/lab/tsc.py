# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast this machine's time stamp counter runs: an emulated host sees the same one.

A host that calibrates it itself, against timers that are emulated while the machine is busy,
may be wrong by a factor, and then its clock is too.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time
from collections.abc import Callable

MEASURE_NS = 60_000_000
TRIES = 40
# rdtsc; shl $32,%rdx; or %rdx,%rax; ret
_READ = bytes.fromhex("0f3148c1e2204809d0c3")


def khz() -> int:
    """Its frequency in kHz; 0 where there is none that can be read."""
    if platform.machine() != "x86_64":
        return 0
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return 0
    page.write(_READ)
    code = (ctypes.c_char * mmap.PAGESIZE).from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    return measure(read, time.monotonic_ns)


def measure(counter: Callable[[], int], clock: Callable[[], int]) -> int:
    """Ticks of `counter` per 1e6 of `clock` (nanoseconds, so: kHz), over MEASURE_NS."""
    first_time, first = _pair(counter, clock)
    while clock() - first_time < MEASURE_NS:
        pass
    last_time, last = _pair(counter, clock)
    return round((last - first) * 1_000_000 / (last_time - first_time))


def _pair(counter: Callable[[], int], clock: Callable[[], int]) -> tuple[int, int]:
    """Both at once: of several tries the one that was least interrupted."""
    best = None
    for _ in range(TRIES):
        before = clock()
        ticks = counter()
        after = clock()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, ticks)
    assert best is not None
    return best[1], best[2]
