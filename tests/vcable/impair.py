# SPDX-License-Identifier: GPL-2.0-or-later
"""Impairments of a cable: which frames they hit, decided by rate or by count, from a seed.

Pure: the same seed and the same frames give the same hits.  What a hit does to a frame is the
direction's business.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

DEFAULT_DELAY_US = 1000.0
MAX_DELAY_US = 60e6


class Kind(enum.StrEnum):
    """What happens to a frame that is hit."""

    DROP = "drop"  # it is lost on the cable
    CRC = "crc"  # delivered with the CRC error flag, data damaged
    FLIP = "flip"  # one bit flipped; flagged as CRC error unless silent
    DELAY = "delay"  # arrives later
    DUPINTR = "dupintr"  # its RX interrupt is raised once more, when there is nothing new
    NOINTR = "nointr"  # delivered and completed, but its RX interrupt is not raised
    NOTXDONE = "notxdone"  # the sender's descriptor completes only with the next one


class ImpairmentError(ValueError):
    """An impairment nobody can mean; the text names the field."""


@dataclass
class Impairment:
    """Hits each frame with probability `rate`, or exactly the frames counted in `nth` (1 is the
    first data frame from now on, over all directions that this impairment covers)."""

    kind: Kind
    rate: float = 0.0
    nth: frozenset[int] = frozenset()
    seed: int = 0
    delay_us: float = 0.0
    silent: bool = False
    reorder: bool = False
    sender: str | None = None
    seen: int = 0
    hits: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    def hit(self) -> bool:
        """Count one frame; True when it is one of ours."""
        self.seen += 1
        yes = self.seen in self.nth if self.nth else self._random.random() < self.rate
        if yes:
            self.hits += 1
        return yes

    @property
    def spent(self) -> bool:
        """No further frame can be hit."""
        return bool(self.nth) and self.seen >= max(self.nth)

    def choose(self, limit: int) -> int:
        """A number in range(limit), from the seed."""
        return self._random.randrange(limit)


def parse(
    what: object,
    rate: object = None,
    nth: object = None,
    seed: object = 0,
    us: object = None,
    silent: object = False,
    reorder: object = False,
    sender: str | None = None,
) -> Impairment:
    """Check fields from the control socket; ImpairmentError says which one is wrong."""
    try:
        kind = Kind(what) if isinstance(what, str) else None
    except ValueError:
        kind = None
    if kind is None:
        raise ImpairmentError(f"what: must be one of {', '.join(Kind)}, not {what!r}")
    if (rate is None) == (nth is None):
        raise ImpairmentError("rate, nth: exactly one of them is needed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ImpairmentError(f"seed: must be a whole number, not {seed!r}")
    for name, flag in (("silent", silent), ("reorder", reorder)):
        if not isinstance(flag, bool):
            raise ImpairmentError(f"{name}: must be true or false, not {flag!r}")
    if silent and kind != Kind.FLIP:
        raise ImpairmentError(f"silent: only for flip, not for {kind}")
    if reorder and kind != Kind.DELAY:
        raise ImpairmentError(f"reorder: only for delay, not for {kind}")
    if us is not None and kind != Kind.DELAY:
        raise ImpairmentError(f"us: only for delay, not for {kind}")
    return Impairment(
        kind=kind,
        rate=_rate(rate) if rate is not None else 0.0,
        nth=_nth(nth) if nth is not None else frozenset(),
        seed=seed,
        delay_us=DEFAULT_DELAY_US if us is None else _delay(us),
        silent=bool(silent),
        reorder=bool(reorder),
        sender=sender,
    )


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ImpairmentError(f"rate: must be a number from 0 to 1, not {value!r}")
    return float(value)


def _delay(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ImpairmentError(f"us: must be a number, not {value!r}")
    if not 0 < value <= MAX_DELAY_US:
        raise ImpairmentError(f"us: must be above 0 and at most {MAX_DELAY_US:.0f}, not {value!r}")
    return float(value)


def _nth(value: object) -> frozenset[int]:
    numbers: Iterable[object] = value if isinstance(value, list) else [value]
    found: set[int] = set()
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ImpairmentError(f"nth: must be whole numbers from 1, not {number!r}")
        found.add(number)
    if not found:
        raise ImpairmentError("nth: the list is empty")
    return frozenset(found)
