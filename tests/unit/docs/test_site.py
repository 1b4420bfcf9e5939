# SPDX-License-Identifier: GPL-2.0-or-later
"""The web pages: where files of the tree go, how links are rewritten, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_pages import Page
from pages import asks_nobody, site

TOP = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("docs/install.md", "install.md"),
        ("docs/images/site.css", "images/site.css"),
        ("docs/man/usb4rdmad.8", "man/usb4rdmad.8.md"),
        ("driver/README.md", "tree/driver/README.md"),
        ("driver/wire.h", "tree/driver/wire.h.md"),
    ],
)
def test_files_of_the_tree_have_their_place(path: str, source: str) -> None:
    assert site.place(path) == source


def test_links_out_of_docs_lead_to_pages_of_the_site() -> None:
    text = (
        "[a](../driver/README.md#lock-order) [b](install.md) [c](https://x.org) [d](#here)\n"
        "[e](man/usb4rdmad.8) ![f](images/costs.svg) `[g](../driver/wire.h)`\n"
        "```\n[h](../driver/wire.h)\n```\n[i](../driver/wire.h)\n"
    )
    assert site.rewritten(text, "docs/index.md") == (
        "[a](tree/driver/README.md#lock-order) [b](install.md) [c](https://x.org) [d](#here)\n"
        "[e](man/usb4rdmad.8.md) ![f](images/costs.svg) `[g](../driver/wire.h)`\n"
        "```\n[h](../driver/wire.h)\n```\n[i](tree/driver/wire.h.md)\n"
    )
    assert site.outside(text, "docs/index.md") == {
        "driver/README.md",
        "driver/wire.h",
        "docs/man/usb4rdmad.8",
    }


def test_links_of_pages_outside_of_docs_lead_back() -> None:
    text = "[a](../docs/wire-protocol.md) [b](wire.h) [c](../tests/lab/README.md)"
    assert site.rewritten(text, "driver/README.md") == (
        "[a](../../wire-protocol.md) [b](wire.h.md) [c](../tests/lab/README.md)"
    )


def test_the_navigation_names_pages_that_are_there(pages: dict[Path, Page]) -> None:
    """Those that it does not name, the hook puts at its end."""
    text = (TOP / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- .*?([\w./-]+\.md)$", text[text.index("\nnav:") :], re.MULTILINE)
    assert len(named) > 30 and len(named) == len(set(named))
    for source in named:
        path = site.origin(source)
        assert (TOP / path).exists() or (TOP / path.removesuffix(".md")).exists(), source


def test_the_site_asks_for_no_font_and_no_figure_of_its_readers() -> None:
    text = (TOP / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in text and "generator: false" in text
    assert not re.search(r"analytics|https?://", text)
    css = (TOP / "docs/images/site.css").read_text(encoding="utf-8")
    assert "url(" not in css and "@import" not in css


def test_what_is_loaded_from_elsewhere_and_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="one"></h1><a href="b.html">b</a> <a href="#one">1</a> <a href="#two">2</a>'
        '<a href="https://x.org/">x</a> <img src="data:image/png;base64,AA">'
        '<script src="https://x.org/x.js"></script> <link rel="canonical" href="https://me.org/">'
    )
    (tmp_path / "a.css").write_text("body { background: url(//x.org/y.png) }")
    wrong, abroad = asks_nobody.faults(tmp_path)
    assert wrong == [
        "a.html loads https://x.org/x.js",
        "a.html: b.html is not there",
        "a.html: #two names no place in its page",
        "a.css loads //x.org/y.png",
    ]
    assert abroad == {"https://x.org/", "https://x.org/x.js"}
