# SPDX-License-Identifier: GPL-2.0-or-later
"""Links within the documentation lead somewhere; what the pages name is there."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_pages import Page

from usb4rdmad.cli.table import COMMANDS, DEFAULT

TOP = Path(__file__).resolve().parents[3]
EXTERNAL = re.compile(r"^[a-z][a-z0-9+.-]*:")
# Terms that have another spelling among us.
SPELLINGS = {
    r"\bqueue-pairs?\b": "queue pair, or QP",
    r"\bQueue Pairs?\b": "queue pair, or QP",
    r"\bX-[Dd]omain\b|\bXdomain\b|\bxDomain\b": "XDomain",
    r"\bUSB-4\b|\bUSB 4\b(?!\.)|\bUsb4\b": "USB4",
    r"\bThunderBolt\b": "Thunderbolt",
    r"\bSoft-Roce\b|\bSoftRoCE\b|\bSoft RoCE\b": "Soft-RoCE",
    r"\bRocE\b|\bROCE\b": "RoCE",
    r"\bNVME\b|\bNvme\b": "NVMe",
    r"\bauthoriz(?:ed|ation)\b": "authorised, authorisation in prose",
    r"\bdata-path\b": "data path",
    r"\bwork-request": "work request",
    r"\bGbps\b|\bGbit/s\b": "Gb/s",
}
MACHINE = re.compile(r"(?<![\w.])/(?:work|farm|root|tmp/h)/")


def dead(pages: dict[Path, Page], page: Page) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in page.links:
        if EXTERNAL.match(link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        if not path.exists() or (anchor and path in pages and anchor not in pages[path].anchors):
            found.append(link)
    return found


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    text = "# One `two`\n[a](a.md#one-two) [b](b.md) [c](#three) `[d](d.md)`\n\n    [e](e.md)\n"
    path.write_text(text)
    page = Page(path, text)
    assert dead({path: page}, page) == ["b.md", "#three"]


def test_links_lead_to_pages_and_headings_that_are_there(pages: dict[Path, Page]) -> None:
    assert len(pages) > 20
    wrong = {
        str(p.relative_to(TOP)): bad for p, page in pages.items() if (bad := dead(pages, page))
    }
    assert not wrong


def test_tests_that_pages_name_are_there(pages: dict[Path, Page]) -> None:
    there = {path.name for path in (TOP / "tests").rglob("test_*.py")}
    stems = {name.removesuffix(".py") for name in there}
    for path, page in pages.items():
        named = set(re.findall(r"\b(test_[a-z0-9_]+\.py)\b", page.text))
        assert named <= there, (path, named - there)
        for pattern in re.findall(r"\b(test_[a-z0-9_]+)\*", page.text):
            assert any(stem.startswith(pattern) for stem in stems), (path, pattern)


def test_make_targets_that_pages_name_are_there(pages: dict[Path, Page]) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for path, page in pages.items():
        for code in page.code:
            named = re.match(r"make ((?:[a-z][a-z-]* ?)+)", code)
            if named and path.name != "wire-protocol.md":
                assert set(named[1].split()) <= targets, (path, code)


def test_commands_of_usb4rdmactl_that_pages_show_are_in_its_table(pages: dict[Path, Page]) -> None:
    verbs = {command.name: command for command in (*COMMANDS, DEFAULT)}
    shown = 0
    for path, page in pages.items():
        for code in page.code:
            for match in re.finditer(r"\busb4rdmactl((?: +[^\s|;&#`)]+)*)", code):
                words = [word.rstrip(".,:…") for word in match[1].split()]
                verb = words[0] if words and not words[0].startswith("-") else ""
                if verb == "OPTIONS" or verb.startswith("["):
                    continue
                if not re.fullmatch(r"[a-z-]*", verb) or (verb and verb not in verbs):
                    # A sentence in code style may go on in words; a command may not.
                    assert not code.startswith("usb4rdmactl "), (path, code)
                    continue
                shown += 1
                known = {o.flag for o in verbs[verb].options} | {"--help", "--version"}
                given = {re.split(r"[=\[]", word)[0] for word in words if word.startswith("--")}
                assert given <= known, (path, code)
    assert shown > 50


def test_no_page_has_a_path_of_somebodys_machine(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert not (found := MACHINE.search(page.text)), (path, found)


def test_terms_are_spelt_in_one_way(pages: dict[Path, Page]) -> None:
    wrong = [
        f"{path.relative_to(TOP)}: {match[0]!r}: {wanted}"
        for path, page in pages.items()
        for pattern, wanted in SPELLINGS.items()
        for match in re.finditer(pattern, page.prose)
    ]
    assert not wrong


def test_every_page_begins_with_its_licence_and_one_title(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.is_relative_to(TOP / "docs"):
            titles = re.findall(r"^# .+", page.prose, re.MULTILINE)
            assert len(titles) == 1, (path, titles)
