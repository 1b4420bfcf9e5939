# SPDX-License-Identifier: GPL-2.0-or-later
"""What a terminal shows, as text and as an SVG; knows the escape sequences of usb4rdmactl."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

COLUMN, ROW, MARGIN = 8.4, 18, 12
BACKGROUND, FOREGROUND = "#1d1f21", "#d8d8d8"
COLOURS = {
    30: "#555753",
    31: "#ef5b5b",
    32: "#7ec96a",
    33: "#e3c04a",
    34: "#6aa3e8",
    35: "#c191cf",
    36: "#4fc4c4",
    37: "#eeeeec",
}
_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b\][^\x07]*\x07|\x1b[=>78]")
_CLEARS = re.compile(r"\x1b\[(?:[0-9;]*)J|\x1b\[\?1049[hl]")


@dataclass(frozen=True)
class Look:
    """How a piece of text looks."""

    colour: int = 0
    bold: bool = False
    dim: bool = False

    def after(self, codes: str) -> Look:
        """This, changed by an SGR sequence."""
        look = self
        for word in codes.split(";"):
            code = int(word or 0)
            if code == 0:
                look = Look()
            elif code == 1:
                look = Look(look.colour, True, look.dim)
            elif code == 2:
                look = Look(look.colour, look.bold, True)
            elif code == 22:
                look = Look(look.colour)
            elif 30 <= code <= 37 or code == 39:
                look = Look(0 if code == 39 else code, look.bold, look.dim)
        return look


Line = list[tuple[str, Look]]


def last_screen(output: str) -> str:
    """What is left to see after the last time that the screen was cleared and filled."""
    frames = [frame for frame in _CLEARS.split(output) if _SEQUENCE.sub("", frame).strip()]
    return frames[-1] if frames else ""


def lines_of(output: str) -> list[Line]:
    """The lines with their looks; spaces at the end and empty lines around are dropped."""
    look, lines = Look(), [[]]  # type: tuple[Look, list[Line]]
    at = 0
    text = output.replace("\r\n", "\n").replace("\r", "")
    for match in [*_SEQUENCE.finditer(text), None]:
        end = len(text) if match is None else match.start()
        for number, piece in enumerate(text[at:end].split("\n")):
            if number:
                lines.append([])
            if piece:
                lines[-1].append((piece, look))
        if match is not None:
            at = match.end()
            if match[2] == "m":
                look = look.after(match[1])
    while lines and not plain([lines[-1]]).strip():
        lines.pop()
    while lines and not plain([lines[0]]).strip():
        lines.pop(0)
    return lines


def plain(lines: list[Line]) -> str:
    """Without looks."""
    return "\n".join("".join(piece for piece, _ in line).rstrip() for line in lines)


def svg(lines: list[Line], title: str) -> str:
    """A picture of the lines."""
    columns = max([len(line) for line in plain(lines).split("\n")] + [40])
    width, height = columns * COLUMN + 2 * MARGIN, len(lines) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="{escape(title)}">',
        # Spaces stay: by this for browsers, by xml:space for renderers of SVG 1.1.
        "<style>text { white-space: pre }</style>",
        f'<rect width="100%" height="100%" rx="6" fill="{BACKGROUND}"/>',
        f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14" '
        f'fill="{FOREGROUND}" xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        column = 0
        y = MARGIN + ROW * (number + 1) - 5
        for piece, look in line:
            if piece.strip():
                x = MARGIN + column * COLUMN
                # A length of its own keeps columns in line whatever font there is.
                style = f' textLength="{len(piece) * COLUMN:.1f}"'
                style += f' fill="{COLOURS[look.colour]}"' if look.colour else ""
                style += ' font-weight="bold"' if look.bold else ""
                style += ' opacity="0.6"' if look.dim else ""
                parts.append(f'<text x="{x:.1f}" y="{y}"{style}>{escape(piece)}</text>')
            column += len(piece)
    return "\n".join([*parts, "</g>", "</svg>", ""])
