# SPDX-License-Identifier: GPL-2.0-or-later
"""Markdown pages as tests see them: headings, anchors, links, commands. Pure but for read()."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

FOLDERS = ("docs", "driver", "packaging", "tests")
_FENCE = re.compile(r"^(?P<mark>```+|~~~+).*?^(?P=mark)[ \t]*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^|(?<=\n\n))(?:(?: {4}|\t).*\n?|\n(?= {4}))+")
_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_ATTRIBUTE = re.compile(r"""<(?:img|a|source)\b[^>]*?\b(?:src|href|srcset)=["']([^"']+)["']""")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One page."""

    path: Path
    text: str

    @cached_property
    def prose(self) -> str:
        """Without code blocks and code in lines; lines stay in number."""
        text = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), self.text)
        text = _INDENTED.sub(lambda match: "\n" * match[0].count("\n"), text)
        return _SPAN.sub(lambda match: "`" + "\n" * match[0].count("\n") + "`", text)

    @cached_property
    def code(self) -> list[str]:
        """Lines of code blocks, and what stands in code style in a line of text."""
        blocks = [match[0] for match in _FENCE.finditer(self.text)]
        text = _FENCE.sub("", self.text)
        blocks += [match[0] for match in _INDENTED.finditer(text)]
        spans = [" ".join(match[2].split()) for match in _SPAN.finditer(_INDENTED.sub("", text))]
        return [line.strip() for block in blocks for line in block.splitlines()] + spans

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures."""
        without_code = _INDENTED.sub("", _FENCE.sub("", self.text))
        without_code = _SPAN.sub("`code`", without_code)
        return _LINK.findall(without_code) + _ATTRIBUTE.findall(without_code)

    @cached_property
    def headings(self) -> list[str]:
        """Texts of the headings, in order."""
        return [match[2] for match in _HEADING.finditer(_FENCE.sub("", self.text))]

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name after the "#": as GitHub and the site make it of a heading."""
        found: set[str] = set()
        for heading in self.headings:
            plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            anchor = re.sub(r"[^\w\- ]", "", plain.replace("`", "").lower()).strip()
            anchor = anchor.replace(" ", "-")
            number = 1
            while (unique := anchor if number == 1 else f"{anchor}-{number - 1}") in found:
                number += 1
            found.add(unique)
        return found

    def section(self, title: str) -> str:
        """What stands under a heading, until the next of its level or above."""
        headings = list(_HEADING.finditer(self.text))
        for number, match in enumerate(headings):
            if match[2] == title:
                later = (h.start() for h in headings[number + 1 :] if len(h[1]) <= len(match[1]))
                return self.text[match.end() : next(later, len(self.text))].strip()
        raise KeyError(title)


def read(top: Path) -> dict[Path, Page]:
    """Every page that is documentation, by its path."""
    paths = [*top.glob("*.md"), *(p for name in FOLDERS for p in (top / name).rglob("*.md"))]
    return {path: Page(path, path.read_text(encoding="utf-8")) for path in sorted(paths)}
