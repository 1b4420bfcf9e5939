# SPDX-License-Identifier: GPL-2.0-or-later
"""What of docs/ is made is what would be made now; nothing else decides what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_pages import Page
from pages import build, figures, markers, pictures, reference

from usb4rdmad.bus.interfaces import INTERFACES
from usb4rdmad.cli.table import COMMANDS

COUNTS = build.DOCS / "bench/counts.json"


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(COUNTS.read_text(encoding="utf-8"))
    return found


def test_all_that_is_made_is_up_to_date() -> None:
    changed = [str(path.relative_to(build.TOP)) for path in build.changed()]
    assert not changed, "make docs-data"


def test_a_part_is_made_anew_and_the_rest_stays() -> None:
    page = "a\n<!-- made: x -->\nold\n<!-- end: x -->\nb\n"
    once = markers.fill(page, {"x": "new"})
    assert once == "a\n<!-- made: x -->\n\nnew\n\n<!-- end: x -->\nb\n"
    assert markers.fill(once, {"x": "new"}) == once


@pytest.mark.parametrize(
    "page",
    [
        "<!-- made: x -->\nold\n",
        "<!-- made: x -->\nold\n<!-- end: y -->\n",
        "old\n<!-- end: x -->\n",
    ],
)
def test_a_part_without_its_end_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="not closed"):
        markers.fill(page, {"x": "new"})


def test_a_part_that_nobody_makes_is_refused() -> None:
    with pytest.raises(KeyError):
        markers.fill("<!-- made: z -->\n<!-- end: z -->\n", {"x": "new"})


def test_every_part_that_is_made_stands_in_a_page(pages: dict[Path, Page]) -> None:
    used = {name for page in pages.values() for name in markers.names(page.text)}
    assert used == set(build.parts())


def test_figures_follow_the_measurement(data: dict[str, Any]) -> None:
    before = figures.Counts(data)
    for sample in data["samples"]:
        if sample["device"] == figures.OURS:
            sample["sender"] *= 2
            sample["receiver"] *= 2
    after = figures.Counts(data)
    assert after.share("write", 65536) == pytest.approx(2 * before.share("write", 65536))
    for make in (figures.headline, figures.costs, figures.sizes, figures.budget, pictures.costs):
        assert make(after) != make(before), make


def test_pictures_are_well_formed_and_ask_nobody_for_anything() -> None:
    for path in (build.DOCS / "images").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"(?:href|src)=|url\(|@import", text)


def test_the_references_have_every_verb_member_and_setting(pages: dict[Path, Page]) -> None:
    tool = pages[build.DOCS / "reference/usb4rdmactl.md"]
    for command in COMMANDS:
        section = tool.section(command.name)
        assert f"usb4rdmactl {command.name}" in section
        for option in command.options:
            assert f"`{option.flag}" in section, (command.name, option.flag)
    bus = pages[build.DOCS / "reference/dbus.md"]
    for interface in INTERFACES.values():
        section = bus.section(interface.name)
        for prop in interface.properties:
            assert f"| `{prop.name}` | `{prop.signature}` |" in section
        for member in (*interface.methods, *interface.signals):
            assert f"`{member.name}(" in section


def test_words_of_the_manual_become_markdown() -> None:
    manual = (
        '.TP\n.BR some " = x"\nWhat\n.B one\ndoes\n.RB ( usb4rdmactl " pair)."\n'
        "In\n.IR /etc/x ,\nor \\(dqq\\(dq a\\-b.\n.SH END\n"
    )
    assert reference._explained(manual) == {
        "some": 'What `one` does (`usb4rdmactl pair`). In `/etc/x`, or "q" a-b.'
    }
    with pytest.raises(ValueError, match="no words for"):
        reference._explained('.TP\n.BR some " = x"\n.XX what\n.SH END\n')
