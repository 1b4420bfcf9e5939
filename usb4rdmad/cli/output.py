# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the verbs write to: text for people, JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from .render import Style


def style() -> Style:
    """What standard output can show; NO_COLOR and dumb terminals are honoured."""
    tty = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return Style(
        tty and "NO_COLOR" not in os.environ,
        encoding.startswith("utf"),
        shutil.get_terminal_size().columns,
    )


def show(value: Any, arguments: Namespace, text: Callable[[], str]) -> None:
    """`value` as JSON if that was asked for, else the text."""
    if arguments.json == "short":
        print(json.dumps(value, sort_keys=True, separators=(",", ":")), flush=True)
    elif arguments.json:
        print(json.dumps(value, sort_keys=True, indent=2), flush=True)
    else:
        print(text(), flush=True)
