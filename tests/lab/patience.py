# SPDX-License-Identifier: GPL-2.0-or-later
"""How much longer than usual things may take: USB4RDMA_PATIENCE, a factor, for slow machines and
for the sanitizer kernel. Deadlines are there to end what hangs, not to measure."""

from __future__ import annotations

import os

VARIABLE = "USB4RDMA_PATIENCE"
# What a host needs on the sanitizer kernel beside a stock one, with some room.
DEBUG_KERNEL = 6.0


def factor() -> float:
    """The factor that the environment asks for; 1 if it does not."""
    return max(1.0, float(os.environ.get(VARIABLE) or 1))


def patient(seconds: float) -> float:
    """The deadline to use where `seconds` do on a usual machine."""
    return seconds * factor()
