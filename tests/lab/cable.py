# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that emulates the cables, and its control socket: one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from .errors import BootError, LabError
from .machine import append_to, tail
from .paths import REPOSITORY
from .procs import ProcessId, identify

READY_SECONDS = 20.0
ANSWER_SECONDS = 20.0


class Cable:
    """All cables of a lab, served by one process."""

    def __init__(self, topology: str, run_dir: Path) -> None:
        self._topology, self._run_dir = topology, run_dir
        self._process: asyncio.subprocess.Process | None = None

    @property
    def process(self) -> ProcessId | None:
        """The process, while it runs."""
        return identify(self._process.pid) if self._process else None

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self._run_dir / "cable.log"

    async def start(self) -> None:
        """Start the process and wait until it listens; BootError if it does not."""
        topology = self._run_dir / "topology.toml"
        topology.write_text(self._topology, encoding="utf-8")
        ready = self._run_dir / "ready"
        ready.unlink(missing_ok=True)
        words = [sys.executable, "-m", "vcable", "--topology", str(topology)]
        with append_to(self.log) as log:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                "--run-dir",
                str(self._run_dir),
                env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_SECONDS
        while not ready.exists():
            if await self._ended_within(0.05) or loop.time() > deadline:
                raise BootError(f"the virtual cable did not start:\n{tail(self.log)}")

    async def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request to the cables; the answer without "ok". LabError if it says no."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(
                    self._run_dir / "control.sock", limit=1 << 24
                )
                try:
                    writer.write(json.dumps(request).encode() + b"\n")
                    line = await reader.readline()
                finally:
                    writer.close()
            answer: dict[str, Any] = json.loads(line)
        except (OSError, ValueError, TimeoutError) as error:
            raise LabError(
                f"the virtual cable does not answer: {error}\n{tail(self.log)}"
            ) from error
        if not answer.pop("ok", False):
            raise LabError(f"the cable says: {answer.get('error', 'no')}")
        return answer

    async def end(self) -> None:
        """End the process."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        if not await self._ended_within(5.0):
            self._process.kill()
            await self._process.wait()
