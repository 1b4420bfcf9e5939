# SPDX-License-Identifier: GPL-2.0-or-later
"""What hosts may call themselves, and administrators them. Pure.

One rule each for what comes over the cable, from the bus, and out of files.
"""

from __future__ import annotations

import re

NAME_PATTERN = r"^[A-Za-z0-9._-]{0,63}$"
"""A host name, or none."""
LABEL_MAX = 64

_NAME = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """May a host be called so? Empty means that it gave no name."""
    return _NAME.fullmatch(text) is not None


def is_label(text: str) -> bool:
    """May an administrator call a host so?"""
    return len(text) <= LABEL_MAX and text.isprintable()
