# SPDX-License-Identifier: GPL-2.0-or-later
"""Parts of hand-written pages that are made: between two comments that name them. Pure.

<!-- made: NAME -->
...
<!-- end: NAME -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_PART = re.compile(r"(<!-- made: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def names(page: str) -> list[str]:
    """The parts that a page has, in order."""
    return [match[2] for match in _PART.finditer(page)]


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with each of its parts made anew; KeyError for one that nobody makes, ValueError
    for a comment without its other."""
    if len(names(page)) != page.count("<!-- made: ") or len(names(page)) != page.count(
        "<!-- end: "
    ):
        raise ValueError("a part is not closed, or its end names another")
    return _PART.sub(lambda match: f"{match[1]}\n{parts[match[2]].strip()}\n\n{match[3]}", page)
