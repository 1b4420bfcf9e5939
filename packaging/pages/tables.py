# SPDX-License-Identifier: GPL-2.0-or-later
"""Markdown that Python-Markdown and GitHub read alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table; columns of `right` stand at the right, as numbers do."""
    numbers = set(right)
    rule = "|".join("---:" if column in numbers else "---" for column in range(len(head)))
    lines = [f"| {' | '.join(head)} |", f"|{rule}|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text for a cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Text in code style, in a cell or out of one; empty for nothing."""
    return f"`{' '.join(text.split()).replace('|', chr(92) + '|')}`" if text else ""
