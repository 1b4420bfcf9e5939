# SPDX-License-Identifier: GPL-2.0-or-later
"""What the plugin (plugin/counts.c) says about one host."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Counts:
    """Instructions and copied bytes; of the kernel also per block, by its address."""

    begins: int
    ends: int
    now: int
    kernel: int
    user: int
    kernel_copied: int
    user_copied: int
    unnamed: int
    blocks: dict[int, int] = field(default_factory=dict, repr=False)

    @property
    def instructions(self) -> int:
        """Kernel and user space together, between the marks."""
        return self.kernel + self.user


def parse(text: str) -> Counts:
    """The plugin's answer; ValueError if it is cut off or something else."""
    lines = [line.split() for line in text.splitlines()]
    if [words[0] for words in lines[:4]] != ["marks", "now", "between", "unnamed"]:
        raise ValueError(f"not an answer of the plugin: {text[:80]!r}")
    marks, now, between, unnamed = ([int(word) for word in words[1:]] for words in lines[:4])
    return Counts(
        begins=marks[0],
        ends=marks[1],
        now=now[0] + now[1],
        kernel=between[0],
        user=between[1],
        kernel_copied=between[2],
        user_copied=between[3],
        unnamed=unnamed[0],
        blocks={int(words[0], 16): int(words[1]) for words in lines[4:]},
    )


def read(path: Path) -> Counts:
    """Ask the plugin that listens at `path`."""
    parts = []
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        while part := client.recv(1 << 20):
            parts.append(part)
    return parse(b"".join(parts).decode("ascii"))


def by_symbol(blocks: dict[int, int], kallsyms: str) -> dict[str, int]:
    """Instructions per function, from the blocks and the text of /proc/kallsyms."""
    symbols = []
    for line in kallsyms.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] in "tTwW":
            module = words[3] if len(words) > 3 else ""
            symbols.append((int(words[0], 16), f"{words[2]} {module}".strip()))
    symbols.sort()
    totals: dict[str, int] = {}
    index = -1
    for address, count in sorted(blocks.items()):
        while index + 1 < len(symbols) and symbols[index + 1][0] <= address:
            index += 1
        name = symbols[index][1] if index >= 0 else "?"
        totals[name] = totals.get(name, 0) + count
    return totals
