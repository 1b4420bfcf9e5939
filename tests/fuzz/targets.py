# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: a small C program for each target, compiled with the driver's own files."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import userspace

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Target:
    """One fuzzer. `build` compiles the program with these files of driver/."""

    name: str
    files: tuple[str, ...]
    checks: str
    longest: int
    build: Callable[..., Path]

    @property
    def program(self) -> Path:
        """Its own source file."""
        return HERE / f"{self.name}_fuzz.c"

    @property
    def kept(self) -> Path:
        """The inputs that are kept."""
        return HERE / f"{self.name}.zip"

    def compile(self, binary: Path, *flags: str, compiler: str = "gcc") -> Path:
        """The fuzzer as a program."""
        return self.build(self.program, binary, *flags, compiler=compiler)

    def unpack(self, folder: Path) -> int:
        """Put the kept inputs into a folder; how many there are."""
        folder.mkdir(parents=True, exist_ok=True)
        if not self.kept.exists():
            return 0
        with zipfile.ZipFile(self.kept) as archive:
            archive.extractall(folder)
            return len(archive.namelist())

    def keep(self, folder: Path) -> int:
        """Keep these inputs; how many there are."""
        inputs = sorted(folder.iterdir())
        with zipfile.ZipFile(self.kept, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in inputs:
                # A fixed date, so that the same inputs give the same archive.
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
        return len(inputs)


TARGETS = (
    Target(
        "header",
        ("transport/segment.c", "net/net_frame.h"),
        "what is let through adds up and, written again, is what came; the pieces that a message "
        "is cut into tile it, parse, and stay in their pages",
        128,
        userspace.build_alone,
    ),
    Target(
        "frame",
        ("link/rail_rx.c", "link/track.h", "net/net_rx.c", "transport/segment.c"),
        "frame numbers, runs and losses are those of a model; what a parser lets through, written "
        "again, is what came; packets are put together as they were cut",
        512,
        userspace.build_alone,
    ),
    Target(
        "placement",
        ("transport/mr.c", "transport/sge.c", "transport/segment.c"),
        "keys, rights, windows and bounds are those of a model; after each access all memory is "
        "byte for byte the model's; planned frames tile a message and stay in their pages",
        2048,
        userspace.build_alone,
    ),
    Target(
        "control",
        ("link/control.c",),
        "what a peer says changes nothing but hints and the queue to the daemon; tags are told to "
        "whom was authorised only; what one end builds the other takes",
        2048,
        userspace.build_alone,
    ),
    Target(
        "queues",
        (
            "verbs/send.c",
            "verbs/recv.c",
            "verbs/queue.c",
            "verbs/cq.c",
            "verbs/srq.c",
            "verbs/qp.c",
        ),
        "the queues change between any two reads; what gets through is within the limits, and an "
        "honest request arrives as it was posted",
        2048,
        userspace.build_verbs,
    ),
    Target(
        "transport",
        ("transport/",),
        "accesses within the region, use counts, statuses, waiters and timers",
        4096,
        userspace.build,
    ),
)
BY_NAME = {target.name: target for target in TARGETS}
