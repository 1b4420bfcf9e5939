# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of the hand-written pages, from docs/bench/counts.json and mr-registration.json. Pure.

No figure of a benchmark stands in a page that is not made here: a page has a part by name
(markers.py), and whoever measures again runs `make docs-data`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench import cases, registration, table
from bench.table import Row

from .tables import table as markdown

OURS, THEIRS = cases.OURS.name, cases.SOFT_ROCE.name
PLACE = cases.PLACES[0].name
STREAMS = ("write", "read", "send")
KIB64, KIB4, MIB1, SMALL = 64 << 10, 4 << 10, 1 << 20, 64


class Counts:
    """The kept run of `make bench-counts`."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.samples, self.about = table.from_json(data)
        self.rows = table.rows(self.samples)

    def row(self, kind: str, size: int, device: str = OURS) -> Row:
        """One case in a small region."""
        return next(
            row
            for row in self.rows
            if (row.device, row.place, row.kind, row.size) == (device, PLACE, kind, size)
        )

    def share(self, kind: str, size: int) -> float:
        """Instructions of both hosts, as a share of Soft-RoCE's."""
        return table.ratio(self.row(kind, size), self.row(kind, size, THEIRS))

    @property
    def when(self) -> str:
        """The conditions, for a sentence."""
        return f"{self.about['date'][:10]}, commit {self.about['commit']}"

    def page(self) -> str:
        """docs/bench/counts.md."""
        return table.page(self.samples, self.about, OURS, THEIRS)


def span(values: Iterable[float]) -> str:
    """ "9% to 11%", or one of them if they are the same."""
    low, high = f"{min(found := list(values)):.0%}", f"{max(found):.0%}"
    return low if low == high else f"{low} to {high}"


def instructions(row: Row) -> str:
    """Sender and receiver: per 4 KiB, or per message below that."""
    return f"{table.short(row.per_block(row.sender))} + {table.short(row.per_block(row.receiver))}"


def prose(text: str) -> str:
    """A paragraph in lines as the hand-written ones."""
    return textwrap.fill(text, 98, break_long_words=False, break_on_hyphens=False)


def headline(counts: Counts) -> str:
    """For the README: what an operation costs, beside Soft-RoCE, in one sentence."""
    bulk = span(counts.share(kind, size) for kind in STREAMS for size in (KIB64, MIB1))
    small = span(counts.share(kind, SMALL) for kind in STREAMS)
    trip = span([counts.share("pingpong", SMALL)])
    return prose(
        f"Transfers of 64 KiB and 1 MiB take {bulk} of the instructions of Soft-RoCE over "
        f"`thunderbolt_net` on the same cable, messages of 64 bytes {small}, a blocking round trip "
        f"{trip} ({counts.when})."
    )


def costs(counts: Counts) -> str:
    """For the page on performance: ours beside Soft-RoCE."""
    rows = []
    for size in (SMALL, KIB4, KIB64, MIB1):
        for kind in STREAMS:
            ours, theirs = counts.row(kind, size), counts.row(kind, size, THEIRS)
            rows.append(
                (
                    f"{kind.upper()} {table.size_name(size)}",
                    "message" if size < table.SMALL else "4 KiB",
                    instructions(ours),
                    instructions(theirs),
                    f"{table.ratio(ours, theirs):.0%}",
                )
            )
    ours, theirs = counts.row("pingpong", SMALL), counts.row("pingpong", SMALL, THEIRS)
    rows.append(
        (
            "round trip of 64 B, blocking",
            "round trip",
            instructions(ours),
            instructions(theirs),
            f"{table.ratio(ours, theirs):.0%}",
        )
    )
    head = ("operation", "instructions per", "usb4rdma, s + r", "Soft-RoCE, s + r", "share")
    return markdown(head, rows, (2, 3, 4))


def wire(counts: Counts) -> str:
    """Copies, frames, bytes and interrupts of 64 KiB operations."""
    rows = []
    for kind in STREAMS:
        for device, name in ((OURS, "usb4rdma"), (THEIRS, "Soft-RoCE")):
            row = counts.row(kind, KIB64, device)
            rows.append(
                (
                    f"{kind.upper()} 64 KiB",
                    name,
                    f"{row.sender_copies:.2f} / {row.receiver_copies:.2f}",
                    f"{row.per_mib(row.frames):.0f}",
                    f"{row.wire:.3f}",
                    f"{row.per_mib(row.interrupts):.0f}",
                )
            )
    head = (
        "operation",
        "device",
        "copies a byte, s / r",
        "frames a MiB",
        "bytes on the wire a byte",
        "interrupts a MiB",
    )
    return markdown(head, rows, (2, 3, 4, 5))


def sizes(counts: Counts) -> str:
    """For the page on tuning: what the size of an operation does."""
    rows = []
    for kind in STREAMS:
        cells = [
            table.short(row.per_block(row.total) if size >= KIB4 else row.total * KIB4 / size)
            for size in (SMALL, KIB4, KIB64, MIB1)
            for row in [counts.row(kind, size)]
        ]
        rows.append((kind.upper(), *cells))
    return markdown(("operation", "64 B", "4 KiB", "64 KiB", "1 MiB"), rows, (1, 2, 3, 4))


def budget(counts: Counts) -> str:
    """For docs/bench/README.md: the budget beside what is measured."""
    write, read, send = (counts.row(kind, KIB64) for kind in STREAMS)
    small, trip = counts.row("write", SMALL), counts.row("pingpong", SMALL)
    low, high = sorted((trip.sender, trip.receiver))
    rows = (
        (
            "64 KiB WRITE, per 4 KiB, sender + receiver",
            "1.5k + 1.5k",
            instructions(write),
        ),
        ("the same for READ and SEND", "", f"{instructions(read)}, {instructions(send)}"),
        (
            "copies per byte",
            "0 / 1",
            f"{write.sender_copies:.2f} / {write.receiver_copies:.2f}",
        ),
        ("frames per MiB", "276", f"{write.per_mib(write.frames):.0f}"),
        ("bytes on the wire per byte of payload", "1.01", f"{write.wire:.3f}"),
        ("WRITE of 64 bytes, sender + receiver", "4k + 3k", instructions(small)),
        ("frames per message of 64 bytes", "1.1", f"{small.frames:.2f}"),
        (
            "blocking round trip of 64 bytes, a side",
            "38k, 4 interrupts",
            f"{table.short(low)} and {table.short(high)}, {trip.interrupts:.1f} interrupts",
        ),
    )
    return markdown(("", "budget", "measured"), rows)


def registration_part(raw: dict[str, Any]) -> str:
    """For the page on tuning: registering with small and with huge pages."""
    rows = []
    for gib in dict.fromkeys(row["gib"] for row in raw["rows"]):
        cells = []
        for pages in ("4k", "2m"):
            chosen = [
                row
                for row in raw["rows"]
                if (row["pages"], row["gib"], row["device"]) == (pages, gib, OURS)
            ]
            cells.append(registration.cell(chosen, "register", 1000))
        rows.append((f"{gib:g} GiB", *cells))
    head = ("region", "4 KiB pages, ms/GiB", "2 MiB pages, ms/GiB")
    return markdown(head, rows, (1, 2))


def registration_when(raw: dict[str, Any]) -> str:
    """The conditions of the table before."""
    return prose(
        f"The least of {raw['repeats']} on {raw['date']}, {raw['kernel']}, an emulated processor "
        f"on a machine with a load of {raw['load']}: compare the columns, not with other machines. "
        "All of it: [registration of large regions](bench/mr-registration.md)."
    )


def when(counts: Counts) -> str:
    """The conditions of the counts."""
    about = counts.about
    return prose(
        f"Measured {about['date']}, commit {about['commit']}, kernel {about['kernel']}, the median "
        f"of {about['repeats']} runs. Hosts: {about['hosts']}."
    )


def parts(bench: Path) -> dict[str, str]:
    """Every part that this module makes, by name; `bench` is docs/bench."""
    counts = Counts(json.loads((bench / "counts.json").read_text(encoding="utf-8")))
    raw = json.loads((bench / "mr-registration.json").read_text(encoding="utf-8"))
    made: dict[str, Callable[[Counts], str]] = {
        "headline": headline,
        "costs": costs,
        "wire": wire,
        "sizes": sizes,
        "budget": budget,
        "counted": when,
    }
    return {name: make(counts) for name, make in made.items()} | {
        "registration": f"{registration_part(raw)}\n\n{registration_when(raw)}"
    }
