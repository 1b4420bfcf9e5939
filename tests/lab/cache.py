# SPDX-License-Identifier: GPL-2.0-or-later
"""Things that are built once: named by a hash of what goes into them, published by one rename.

Two builders of the same thing wait for each other by a lock file. A build that fails or is
killed leaves nothing behind that a later run would take for a result.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import chroot
from .paths import cache_root
from .progress import say

DIGEST_LENGTH = 12


def digest_of(key: Any) -> str:
    """A short hash of anything JSON can write."""
    text = json.dumps(key, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def digest_of_files(paths: list[Path], relative_to: Path) -> str:
    """A short hash of the names and contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(relative_to)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:DIGEST_LENGTH]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock called `name`; says so when another process makes us wait."""
    folder = cache_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another build of {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry_path(kind: str, name: str, key: Any) -> Path:
    """Where the entry is once it is built."""
    return cache_root() / kind / f"{name}-{digest_of(key)}"


def ensure(kind: str, name: str, key: Any, build: Callable[[Path], None], keep: int = 2) -> Path:
    """The path of the entry; calls `build(path to fill)` first if it is not there.

    `path to fill` does not exist yet and may become a file or a directory. Of one name the
    `keep` entries used last are kept.
    """
    final = entry_path(kind, name, key)
    if not final.exists():
        with locked(f"{kind}-{name}"):
            if not final.exists():
                _build(final, build)
                (final.parent / f".{final.name}.key").write_text(
                    json.dumps(key, sort_keys=True, indent=1, default=str), encoding="utf-8"
                )
                _prune(final, name, keep)
    (final.parent / f".{final.name}.key").touch()
    return final


def _build(final: Path, build: Callable[[Path], None]) -> None:
    workshop = cache_root() / "tmp"
    workshop.mkdir(parents=True, exist_ok=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished = workshop / final.name
    chroot.remove_tree(unfinished)
    try:
        build(unfinished)
        unfinished.rename(final)
    except BaseException:
        chroot.remove_tree(unfinished)
        raise


def _prune(newest: Path, name: str, keep: int) -> None:
    folder = newest.parent
    others = [
        mark
        for mark in folder.glob(f".{name}-*.key")
        if len(mark.name) == len(f".{name}-.key") + DIGEST_LENGTH
        and mark.name != f".{newest.name}.key"
    ]
    others.sort(key=lambda mark: mark.stat().st_mtime, reverse=True)
    for mark in others[keep - 1 :]:
        chroot.remove_tree(folder / mark.name[1 : -len(".key")])
        mark.unlink()


def free_bytes() -> int:
    """Free space where the cache is."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(root).free
