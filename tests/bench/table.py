# SPDX-License-Identifier: GPL-2.0-or-later
"""From measured cases to the table, the ratios and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

MIB = 1 << 20
BLOCK = 4096
SMALL = 4096  # below this a row is per message, not per 4 KiB


@dataclass(frozen=True)
class Sample:
    """One run of a case, what surrounds it already subtracted.

    `sender` is the active side: for READ it asks and receives. Instructions and copied bytes
    are per host; frames, bytes, interrupts and resends are of both hosts together.
    """

    device: str
    place: str
    kind: str
    size: int
    count: int
    sender: int
    receiver: int
    sender_copied: int
    receiver_copied: int
    frames: int
    wire_bytes: int
    interrupts: int
    resends: int
    lost: int
    seconds: float
    good: bool = True

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What repeats have in common."""
        return (self.device, self.place, self.kind, self.size)


@dataclass(frozen=True)
class Row:
    """The median of a case's repeats, per operation, and how far they lie apart."""

    device: str
    place: str
    kind: str
    size: int
    repeats: int
    sender: float
    receiver: float
    sender_copies: float
    receiver_copies: float
    frames: float
    wire: float
    interrupts: float
    resends: int
    lost: int
    seconds: float
    spread: float
    good: bool

    @property
    def total(self) -> float:
        """Instructions per operation, both hosts."""
        return self.sender + self.receiver

    def per_block(self, value: float) -> float:
        """A figure per operation, as one per 4 KiB; of smaller operations per operation."""
        return value if self.size < SMALL else value * BLOCK / self.size

    def per_mib(self, value: float) -> float:
        """A figure per operation, as one per MiB."""
        return value * MIB / self.size if self.size else value


def rows(samples: Iterable[Sample]) -> list[Row]:
    """One row a case, in the order in which the cases first came."""
    grouped: dict[tuple[str, str, str, int], list[Sample]] = {}
    for sample in samples:
        grouped.setdefault(sample.key, []).append(sample)
    return [_row(group) for group in grouped.values()]


def _row(group: list[Sample]) -> Row:
    first = group[0]

    def per_operation(values: list[float]) -> float:
        return median(values) / first.count

    def per_byte(values: list[int]) -> float:
        return median(values) / (first.count * first.size) if first.size else 0.0

    totals = [one.sender + one.receiver for one in group]
    return Row(
        device=first.device,
        place=first.place,
        kind=first.kind,
        size=first.size,
        repeats=len(group),
        sender=per_operation([one.sender for one in group]),
        receiver=per_operation([one.receiver for one in group]),
        sender_copies=per_byte([one.sender_copied for one in group]),
        receiver_copies=per_byte([one.receiver_copied for one in group]),
        frames=per_operation([one.frames for one in group]),
        wire=per_byte([one.wire_bytes for one in group]),
        interrupts=per_operation([one.interrupts for one in group]),
        resends=sum(one.resends for one in group),
        lost=sum(one.lost for one in group),
        seconds=per_operation([one.seconds for one in group]),
        spread=(max(totals) - min(totals)) / max(1, median(totals)),
        good=all(one.good for one in group),
    )


def ratio(row: Row, other: Row) -> float:
    """Instructions of `row` as a share of `other`'s."""
    return row.total / other.total if other.total > 0 else float("inf")


def find(table: list[Row], device: str, like: Row) -> Row | None:
    """The same case on another device."""
    for row in table:
        if (row.device, row.place, row.kind, row.size) == (
            device,
            like.place,
            like.kind,
            like.size,
        ):
            return row
    return None


def verdict(table: list[Row], ours: str, theirs: str) -> list[str]:
    """What misses the aims: half of the other device's instructions in each row, no growth with
    the region's size, no resend, right data. Empty: nothing."""
    wrong = []
    for row in table:
        if row.device != ours:
            continue
        name = f"{row.kind} {size_name(row.size)}, {row.place}"
        other = find(table, theirs, row)
        if other is None:
            wrong.append(f"{name}: not measured on {theirs}")
        elif ratio(row, other) > 0.5:
            wrong.append(f"{name}: {ratio(row, other):.0%} of {theirs}'s instructions")
        if row.resends and not row.lost:
            wrong.append(f"{name}: {row.resends} resends without loss")
        if not row.good:
            wrong.append(f"{name}: wrong data")
        if row.place != "small":
            near = [
                one
                for one in table
                if (one.device, one.place, one.kind, one.size)
                == (ours, "small", row.kind, row.size)
            ]
            allowed = 1.15 + sum(one.spread for one in near) + row.spread
            if near and row.total > near[0].total * allowed:
                wrong.append(
                    f"{name}: {row.total / near[0].total:.2f} times of what a small region costs"
                )
    return wrong


def size_name(size: int) -> str:
    """64 B, 4 KiB, 1 MiB."""
    if size >= MIB:
        return f"{size // MIB} MiB"
    return f"{size // 1024} KiB" if size >= 1024 else f"{size} B"


def short(value: float) -> str:
    """A count for people: 873, 1.52k, 23.4k."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.1f}k"
    if abs(value) >= 1e3:
        return f"{value / 1e3:.2f}k"
    return f"{value:.0f}"


_HEAD = (
    "| device | operation | size | region | instructions s + r | copies/byte s / r | frames | "
    "wire/payload | interrupts | resends | spread | of Soft-RoCE |"
)


def markdown(table: list[Row], theirs: str) -> str:
    """The table: per 4 KiB and per MiB for 4 KiB and more, per message below and for pingpong."""
    lines = []
    bulk = [row for row in table if row.size >= SMALL and row.kind != "pingpong"]
    small = [row for row in table if row.size < SMALL and row.kind != "pingpong"]
    trips = [row for row in table if row.kind == "pingpong"]
    parts = (
        ("Per 4 KiB (instructions), per MiB (frames, interrupts)", bulk),
        ("Per message", small),
        ("Per round trip, blocking", trips),
    )
    for title, part in parts:
        if not part:
            continue
        lines += [f"### {title}", "", _HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
        for row in part:
            lines.append(_line(row, find(table, theirs, row), row in bulk))
        lines.append("")
    return "\n".join(lines)


def _line(row: Row, other: Row | None, bulk: bool) -> str:
    scale = row.per_mib if bulk else float
    share = f"{ratio(row, other):.0%}" if other is not None and other is not row else ""
    copies = f"{row.sender_copies:.2f} / {row.receiver_copies:.2f}" if bulk else ""
    cells = [
        row.device,
        row.kind,
        size_name(row.size),
        row.place,
        f"{short(row.per_block(row.sender))} + {short(row.per_block(row.receiver))}",
        copies,
        f"{scale(row.frames):.{0 if bulk else 2}f}",
        f"{row.wire:.3f}",
        f"{scale(row.interrupts):.{0 if bulk else 2}f}",
        str(row.resends),
        f"{row.spread:.0%}",
        share,
    ]
    return "| " + " | ".join(cells) + " |"


def to_json(samples: list[Sample], about: dict[str, Any]) -> dict[str, Any]:
    """What is kept: all samples, and under which conditions they were taken."""
    return {"about": about, "samples": [asdict(one) for one in samples]}


def from_json(data: dict[str, Any]) -> tuple[list[Sample], dict[str, Any]]:
    """The reverse of to_json()."""
    return [Sample(**one) for one in data["samples"]], data["about"]


def page(samples: list[Sample], about: dict[str, Any], ours: str, theirs: str) -> str:
    """docs/bench/counts.md: conditions, table, and what misses the aims."""
    result = rows(samples)
    lines = [
        "<!-- Made by `make docs-data` from counts.json; README.md says how to read it. -->",
        "# Instructions, frames and interrupts",
        "",
        *[f"- {key}: {value}" for key, value in about.items()],
        "",
        markdown(result, theirs),
        *[f"Missed: {line}" for line in verdict(result, ours, theirs)],
    ]
    return "\n".join(lines).rstrip() + "\n"
