# SPDX-License-Identifier: GPL-2.0-or-later
"""Captures of terminals: what is left of the output as text and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from demo.terminal_svg import Look, last_screen, lines_of, plain, svg

GREEN = "\x1b[32m●\x1b[0m 0-1   \x1b[1mnova\x1b[0m\r\n"


def test_looks_are_kept_apart_from_text() -> None:
    lines = lines_of(GREEN)
    assert plain(lines) == "● 0-1   nova"
    assert lines[0] == [("●", Look(32)), (" 0-1   ", Look()), ("nova", Look(bold=True))]


def test_a_look_goes_on_over_the_end_of_a_line() -> None:
    (first, second) = lines_of("\x1b[31mone\ntwo")
    assert first == [("one", Look(31))] and second == [("two", Look(31))]


def test_only_the_last_screen_is_left_and_other_sequences_vanish() -> None:
    output = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2Jold\r\n\x1b[H\x1b[2Jnew  \r\n\x1b[?25h\x1b[?1049l"
    assert plain(lines_of(last_screen(output))) == "new"


def test_the_picture_is_valid_and_says_all() -> None:
    root = ElementTree.fromstring(svg(lines_of(GREEN + "a < b & c\n"), 'a "title"'))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["●", " 0-1   ", "nova", "a < b & c"]
    assert float(root.attrib["width"]) > 100


def test_spaces_stay_in_every_renderer() -> None:
    picture = svg(lines_of("a   b\n"), "spaces")
    assert 'xml:space="preserve"' in picture and "white-space: pre" in picture
