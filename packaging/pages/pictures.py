# SPDX-License-Identifier: GPL-2.0-or-later
"""The pictures in docs/images/: how it is put together, and what operations cost. Pure.

SVG with the system's fonts, on a panel of its own, so that it can be read on a bright and on a
dark page, whichever of the two the page says it is.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from bench import table

from .figures import KIB4, KIB64, MIB1, SMALL, STREAMS, THEIRS, Counts

_STYLE = """\
<style>
  text { font: 15px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2933 }
  .small { font-size: 12.5px; fill: #52606d }
  .title { font-weight: 600 }
  .end { text-anchor: end } .middle { text-anchor: middle }
  .panel { fill: #f7f9fb; stroke: #d5dbe1 }
  .host { fill: #ffffff; stroke: #9aa5b1 }
  .theirs { fill: #e4e7eb; stroke: #9aa5b1 }
  .ours { fill: #cfe3fa; stroke: #2f6fb3 }
  .line { stroke: #52606d; stroke-width: 1.5; fill: none }
  .cable { stroke: #2f6fb3; stroke-width: 7; fill: none; stroke-linecap: round }
  .barours { fill: #2f6fb3 } .bartheirs { fill: #b6bfc9 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6ebf0 } .small { fill: #aab4bf }
    .panel { fill: #1c2229; stroke: #3a444f } .host { fill: #252d36; stroke: #5d6976 }
    .theirs { fill: #37414c; stroke: #5d6976 } .ours { fill: #1d4a7a; stroke: #6aa8ea }
    .line { stroke: #aab4bf } .cable { stroke: #6aa8ea }
    .barours { fill: #6aa8ea } .bartheirs { fill: #5d6976 }
  }
</style>
"""


def _open(width: int, height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n{_STYLE}"
        f'<rect class="panel" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>\n'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:g}" y="{y:g}">{escape(text)}</text>\n'


def _box(x: int, y: int, width: int, height: int, kind: str, *lines: str) -> str:
    """A box with lines of text in its middle; the first is its title."""
    out = f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>\n'
    step = 19
    top = y + height / 2 - step * (len(lines) - 1) / 2 + 5
    for number, line in enumerate(lines):
        weight = "title middle" if number == 0 else "small middle"
        out += _text(x + width / 2, top + number * step, line, weight)
    return out


def _line(*points: tuple[int, int], kind: str = "line") -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}"/>\n'


def _host(x: int, name: str) -> str:
    out = f'<rect class="host" x="{x}" y="20" width="420" height="390" rx="10"/>\n'
    out += _text(x + 20, 46, name, "title")
    out += _box(x + 20, 62, 230, 62, "theirs", "verbs programs", "stock libibverbs + librxe")
    out += _box(x + 262, 62, 138, 62, "ours", "usb4rdmactl", "or busctl")
    out += _line((x + 135, 124), (x + 135, 152)) + _text(x + 143, 143, "mapped queues", "small")
    out += _line((x + 331, 124), (x + 331, 152)) + _text(x + 339, 143, "D-Bus", "small")
    out += _box(x + 20, 152, 230, 50, "ours", "driver/verbs", "device usb4rdma0, queue pairs")
    out += _box(x + 20, 208, 230, 50, "ours", "driver/transport", "reliable protocol, memory keys")
    out += _box(x + 20, 264, 230, 50, "ours", "driver/link", "handshake, gate, rings, u4rdma0")
    says = ("who may connect", "pairing", "addresses")
    out += _box(x + 262, 152, 138, 162, "ours", "usb4rdmad", *says)
    out += _line((x + 250, 289), (x + 262, 289))
    out += _line((x + 135, 314), (x + 135, 334))
    return out + _box(x + 20, 334, 380, 58, "theirs", "thunderbolt.ko", "of the stock kernel")


def architecture() -> str:
    """Two PCs and a cable: what is ours (blue) and what is there already (grey)."""
    title = "Two PCs joined by a USB4 cable, and the parts of usb4rdma in each"
    out = _open(920, 470, title)
    out += _host(20, "host a") + _host(480, "host b")
    out += _line((210, 392), (210, 438), (710, 438), (710, 392), kind="cable")
    out += _text(460, 426, "USB4 or Thunderbolt cable", "title middle")
    out += _text(460, 460, "blue: usb4rdma; grey: what is there already", "small middle")
    return out + "</svg>\n"


def _row(counts: Counts, kind: str, size: int, y: int) -> str:
    """Two bars: instructions of both hosts a byte; Soft-RoCE's is the full length."""
    left, full, height = 180, 470, 13
    ours, theirs = counts.row(kind, size), counts.row(kind, size, THEIRS)
    share = table.ratio(ours, theirs)
    name = "round trip 64 B" if kind == "pingpong" else f"{kind.upper()} {table.size_name(size)}"
    out = _text(left - 12, y + 17, name, "end")
    for number, (row, part, colour) in enumerate(
        ((ours, share, "barours"), (theirs, 1.0, "bartheirs"))
    ):
        top = y + number * (height + 1)
        out += (
            f'<rect class="{colour}" x="{left}" y="{top}" width="{full * part:.1f}" '
            f'height="{height}" rx="2"/>\n'
        )
        value = table.short(row.per_block(row.total))
        out += _text(left + full * part + 8, top + 11, value, "small")
    return out + _text(left + full + 140, y + 17, f"{share:.0%}", "title end")


def costs(counts: Counts) -> str:
    """Instructions of both hosts beside those of Soft-RoCE."""
    cases = [(kind, size) for size in (MIB1, KIB64, KIB4, SMALL) for kind in STREAMS]
    cases.append(("pingpong", SMALL))
    height = 92 + 36 * len(cases) + 34
    out = _open(820, height, "Instructions of both hosts for an operation, beside Soft-RoCE")
    out += _text(24, 34, "Instructions of both hosts, beside Soft-RoCE on the same cable", "title")
    out += _text(
        24, 56, "per 4 KiB; below 4 KiB per message. Shorter is better; right: our share.", "small"
    )
    for number, (kind, size) in enumerate(cases):
        out += _row(counts, kind, size, 76 + 36 * number)
    below = height - 22
    out += f'<rect class="barours" x="180" y="{below - 11}" width="13" height="13" rx="2"/>\n'
    out += _text(200, below, "usb4rdma", "small")
    out += f'<rect class="bartheirs" x="280" y="{below - 11}" width="13" height="13" rx="2"/>\n'
    out += _text(300, below, "Soft-RoCE over thunderbolt_net", "small")
    out += _text(796, below, counts.when, "small end")
    return out + "</svg>\n"
