# SPDX-License-Identifier: GPL-2.0-or-later
"""This PC as the doctor sees it: files below a root, programs, limits. Reads only.

Tests give another root, and answers for the programs.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

PROGRAM_TIMEOUT = 10.0

Run = Callable[[tuple[str, ...]], tuple[int, str] | None]
"""Exit code and output of a program; None when it cannot be run."""


def run_program(command: tuple[str, ...]) -> tuple[int, str] | None:
    """Really run it."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROGRAM_TIMEOUT,
            check=False,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.returncode, done.stdout.decode("utf-8", "replace")


class System:
    """Everything that the checks look at."""

    def __init__(
        self,
        root: Path = Path("/"),
        run: Run = run_program,
        kernel: str = platform.release(),
        uid: int | None = None,
        memlock: int | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._root = root
        self._run = run
        self.kernel = kernel
        self.uid = os.geteuid() if uid is None else uid
        soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] if memlock is None else memlock
        self.memlock = float("inf") if soft == resource.RLIM_INFINITY else soft
        self.environment = environment

    def path(self, path: str) -> Path:
        """Where an absolute path of the PC is."""
        return self._root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Is it there, as far as we may see?"""
        try:
            return self.path(path).exists()
        except OSError:
            return False

    def text(self, path: str) -> str:
        """The first 64 KiB of a file; empty when it cannot be read."""
        return self.raw(path).decode("utf-8", "replace").strip()

    def raw(self, path: str) -> bytes:
        """The same as bytes."""
        try:
            with self.path(path).open("rb") as file:
                return file.read(65536)
        except OSError:
            return b""

    def glob(self, pattern: str) -> list[Path]:
        """What fits an absolute pattern."""
        try:
            return sorted(self._root.glob(pattern.lstrip("/")))
        except OSError:
            return []

    def run(self, *command: str) -> tuple[int, str] | None:
        """Exit code and output of a program."""
        return self._run(command)

    def output(self, *command: str) -> str:
        """What a program says; empty when it fails."""
        done = self._run(command)
        return done[1].strip() if done is not None and done[0] == 0 else ""
