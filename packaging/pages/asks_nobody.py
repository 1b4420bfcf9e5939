#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Look through built web pages: nothing is loaded from another site, every file that is named is
there. Links to other sites, which nobody follows here, are listed."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself; a link (a, href) it does not.
LOADS = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("source", "src"),
    ("source", "srcset"),
    ("iframe", "src"),
    ("object", "data"),
    ("video", "src"),
}
NOT_LOADED = {"canonical", "next", "prev", "edit"}


class References(HTMLParser):
    """What a page loads, and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that name something."""
        values = dict(attrs)
        if identity := values.get("id"):
            self.ids.add(identity)
        for name, value in attrs:
            if not value:
                continue
            if (tag, name) in LOADS and values.get("rel") not in NOT_LOADED:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.linked.append(value)


def read(path: Path) -> References:
    """A page's references."""
    found = References()
    found.feed(path.read_text(encoding="utf-8"))
    return found


def faults(site: Path) -> tuple[list[str], set[str]]:
    """What is wrong, and the links to other sites."""
    pages = {path.resolve(): read(path) for path in sorted(site.rglob("*.html"))}
    wrong: list[str] = []
    abroad: set[str] = set()
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        wrong += [
            f"{name} loads {value}"
            for value in page.loaded
            if urlsplit(value).netloc or urlsplit(value).scheme not in ("", "data")
        ]
        for value in (*page.loaded, *page.linked):
            parts = urlsplit(value)
            if parts.scheme or parts.netloc:
                abroad |= {value} if parts.netloc else set()
                continue
            target = path
            if parts.path:
                base = site.resolve() if parts.path.startswith("/") else path.parent
                target = (base / unquote(parts.path).lstrip("/")).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                wrong.append(f"{name}: {value} is not there")
            elif parts.fragment and target in pages and name.name != "404.html":
                if unquote(parts.fragment) not in pages[target].ids:
                    wrong.append(f"{name}: {value} names no place in its page")
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        for value in re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import", text):
            wrong.append(f"{path.relative_to(site)} loads {value}")
    return wrong, abroad


def main() -> int:
    """Print both; fail if anything is wrong."""
    wrong, abroad = faults(Path(sys.argv[1]))
    for line in wrong:
        print(line, file=sys.stderr)
    for link in sorted(abroad):
        print(f"another site, not looked at: {link}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
