# SPDX-License-Identifier: GPL-2.0-or-later
"""The packet trace: one line an event, for people and for tests, in a file of bounded size."""

from __future__ import annotations

import enum
import time
from pathlib import Path
from typing import TextIO

MAX_BYTES = 64 << 20
FRAME_HEAD = 64


class Level(enum.IntEnum):
    """What is written; each level includes those before it."""

    OFF = 0
    CONTROL = 1
    FRAMES = 2
    BYTES = 3


class Trace:
    """Writes lines stamped with seconds since the start.

    At `MAX_BYTES` the file becomes `<name>.1` (an older one is dropped) and a new one begins,
    so the disk never holds more than twice that.
    """

    def __init__(self, path: Path | None, level: Level = Level.CONTROL, limit: int = MAX_BYTES):
        self.level = Level.OFF if path is None else level
        self.lines = 0
        self._path = path
        self._limit = limit
        self._start = time.monotonic()
        self._file: TextIO | None = None
        self._size = 0
        if path is not None:
            self._open()

    def line(self, text: str) -> None:
        """Write one line at any level but OFF: link events, faults, commands."""
        if self._file is None or self.level == Level.OFF:
            return
        stamped = f"{time.monotonic() - self._start:12.6f} {text}\n"
        self._file.write(stamped)
        self.lines += 1
        self._size += len(stamped)
        if self._size > self._limit:
            self._rotate()

    def control(self, where: str, text: str) -> None:
        """One control packet: `where` is like `a.1 > ` (to the router) or `a.1 <`."""
        if self.level >= Level.CONTROL:
            self.line(f"{where} CTL {text}")

    def frame(
        self,
        cable: str,
        sender: str,
        rings: str,
        hop: int,
        sof: int,
        eof: int,
        data: memoryview | bytes,
        fate: str,
    ) -> None:
        """One data frame on a cable; call only at level FRAMES or above."""
        shown = data if self.level >= Level.BYTES else data[:FRAME_HEAD]
        self.line(
            f"{cable} FRAME from={sender} ring={rings} hop={hop} sof={sof} eof={eof}"
            f" len={len(data)} {fate} {bytes(shown).hex()}"
        )

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        assert self._path is not None
        # Line buffered: a test reads the file while we run, and a crash must not lose the end.
        self._file = self._path.open("w", buffering=1, encoding="ascii")
        self._size = 0

    def _rotate(self) -> None:
        assert self._path is not None
        self.close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._open()
