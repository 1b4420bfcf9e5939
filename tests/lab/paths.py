# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab keeps things: the repository, the cache, and a lab's run directory.

A path of a Unix socket may have 107 characters, so run directories are short.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from .errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]
GUEST_FILES = Path(__file__).resolve().parent / "guest"

SOCKET_PATH_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def cache_root() -> Path:
    """The directory of all that is built once: $USB4RDMA_CACHE or ~/.cache/usb4rdma."""
    configured = os.environ.get("USB4RDMA_CACHE")
    return Path(configured) if configured else Path.home() / ".cache" / "usb4rdma"


def labs_root() -> Path:
    """The directory that holds one run directory per lab of this user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and len(base) < 40 and os.access(base, os.W_OK):
        return Path(base) / "usb4rdma-lab"
    return Path(tempfile.gettempdir()) / f"usb4rdma-lab-{os.getuid()}"


def check_name(name: str) -> str:
    """`name`, if it may name a lab; else UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a lab",
            "use up to 32 letters, digits, dots, dashes or underscores",
        )
    return name


def run_dir(name: str) -> Path:
    """The run directory of lab `name`; it need not exist."""
    path = labs_root() / check_name(name)
    longest = path / "control" / "host-0.vfio"
    if len(str(longest)) > SOCKET_PATH_MAX:
        raise UsageError(
            f"the run directory {path} is too long for Unix sockets",
            "set XDG_RUNTIME_DIR or TMPDIR to a shorter path, or take a shorter --name",
        )
    return path
