# SPDX-License-Identifier: GPL-2.0-or-later
"""Line charts as SVG: sizes to the right on a logarithmic scale, values up from zero. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 56, 48
COLOURS = ("#1f6feb", "#d1582b", "#2a9d5c")
TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line: (bytes, value), bytes above zero and growing."""

    name: str
    points: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Curve:
    """One chart."""

    title: str
    unit: str
    series: tuple[Series, ...]


def bytes_label(count: int) -> str:
    """512, 4K, 1M."""
    for shift, letter in ((20, "M"), (10, "K")):
        if count >= 1 << shift and count % (1 << shift) == 0:
            return f"{count >> shift}{letter}"
    return str(count)


def ceiling(value: float) -> float:
    """A round number that is not below: 1, 2, 2.5, 5 or 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value * (1 - 1e-9))


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{_escape(text)}</text>\n'


def draw(title: str, curves: Sequence[Curve]) -> str:
    """The charts side by side, under one title."""
    width = WIDTH * len(curves)
    out = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>\n'
    )
    out += _text(width / 2, 20, title, style=' font-size="15"')
    for number, curve in enumerate(curves):
        out += f'<g transform="translate({number * WIDTH} 0)">\n{_chart(curve)}</g>\n'
    return out + "</svg>\n"


def _chart(curve: Curve) -> str:
    sizes = sorted({size for series in curve.series for size, _ in series.points})
    top = ceiling(max((v for series in curve.series for _, v in series.points), default=0))
    low, high = math.log2(sizes[0]), math.log2(sizes[-1])
    span = max(high - low, 1e-9)

    def x(size: int) -> float:
        return LEFT + (math.log2(size) - low) / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    out = _text(LEFT, TOP - 14, f"{curve.title}, {curve.unit}", "start", ' font-weight="bold"')
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        out += (
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="#dddddd"/>\n'
        )
        out += _text(LEFT - 6, y(value) + 4, f"{value:g}", "end")
    for size in sizes:
        out += _text(x(size), HEIGHT - BOTTOM + 16, bytes_label(size))
    out += _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "bytes an operation")
    for number, series in enumerate(curve.series):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in series.points)
        out += f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>\n'
        for size, value in series.points:
            out += (
                f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}">'
                f"<title>{size} bytes: {value:.4g} {_escape(curve.unit)}</title></circle>\n"
            )
        name = f' fill="{colour}"'
        out += _text(WIDTH - RIGHT - 80 * number, TOP - 14, series.name, "end", name)
    return out
