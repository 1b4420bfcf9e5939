# SPDX-License-Identifier: GPL-2.0-or-later
"""Work put off to the end of a batch: rings with new descriptors, interrupts to raise.

A batch is what one read of a socket, one timer or one command brought.  Putting work off makes
one pass over a ring out of many doorbells and one interrupt out of many completions.
"""

from __future__ import annotations

from typing import Protocol


class Work(Protocol):
    """Something with pending work: a TX ring, or a queue of frames in flight."""

    def process(self) -> None: ...


class Irq(Protocol):
    """Something with interrupts to raise."""

    def raise_pending(self) -> None: ...


class Batch:
    """Collects work of all hosts; `run()` does it in the order it was first asked for."""

    def __init__(self) -> None:
        self._work: dict[Work, None] = {}
        self._irqs: dict[Irq, None] = {}
        self._running = False

    def add(self, work: Work) -> None:
        self._work[work] = None

    def add_irq(self, irq: Irq) -> None:
        self._irqs[irq] = None

    def run(self) -> None:
        """Do everything that is pending, then raise interrupts.  A nested call does nothing."""
        if self._running:
            return
        self._running = True
        try:
            while self._work:
                work = next(iter(self._work))
                del self._work[work]
                work.process()
            while self._irqs:
                irqs = list(self._irqs)
                self._irqs.clear()
                for irq in irqs:
                    irq.raise_pending()
        finally:
            self._running = False
