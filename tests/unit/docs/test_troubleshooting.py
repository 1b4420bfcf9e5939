# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/troubleshooting.md has a section for each message of the journal and each finding of the
doctor, and none for what is not there."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest
from markdown_pages import Page

from usb4rdmad.log import MessageId
from usb4rdmad.model import LinkState

TOP = Path(__file__).resolve().parents[3]
CLI = TOP / "usb4rdmad/cli"
PRIORITY = {logging.INFO: "info", 25: "notice", logging.WARNING: "warning", logging.ERROR: "error"}


@pytest.fixture
def page(pages: dict[Path, Page]) -> Page:
    return pages[TOP / "docs/troubleshooting.md"]


def sections(page: Page, chapter: str) -> list[str]:
    """Titles of the sections of a chapter."""
    text = page.section(chapter)
    return [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]


def findings() -> set[str]:
    """Ids of all that the doctor can find wrong or not find out, read from its source."""
    found: set[str] = set()
    for path in (CLI / name for name in ("checks.py", "linkchecks.py", "doctor.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                what = node.args[0]
                if isinstance(what, ast.Constant):
                    found.add(str(what.value))
                elif isinstance(what, ast.JoinedStr):
                    # "link-{state}" of a link that is not active.
                    assert ast.unparse(what) == "f'link-{state}'", ast.unparse(what)
                    found |= {f"link-{s.value}" for s in LinkState if s is not LinkState.ACTIVE}
    return found


def test_every_message_of_the_journal_has_its_section(page: Page) -> None:
    titles = sections(page, "Messages of the journal")
    assert sorted(titles) == sorted(message.name for message in MessageId)
    for message in MessageId:
        head, _, explained = page.section(message.name).partition("\n")
        assert head == f"*{message.text}* · {PRIORITY[message.level]} · `{message.id}`"
        assert len(explained.split()) > 5, message.name


def test_every_finding_of_the_doctor_has_its_section(page: Page) -> None:
    titles = sections(page, "Findings of the doctor")
    assert len(titles) == len(set(titles))
    assert set(titles) == findings()
    for title in titles:
        assert len(page.section(title).split()) > 3, title
