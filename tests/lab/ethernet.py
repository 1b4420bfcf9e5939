# SPDX-License-Identifier: GPL-2.0-or-later
"""The Ethernet of --net: a hub for QEMU's "stream" network back ends.

On the stream each frame follows its length as a 32-bit big-endian number.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

FRAME_MAX = 69 * 1024
BACKLOG = 4 << 20


class Hub:
    """Gives each frame to all others; drops it for those who do not keep up."""

    def __init__(self) -> None:
        self._ports: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen for hosts."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, path, limit=BACKLOG)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ports.add(writer)
        try:
            while True:
                header = await reader.readexactly(4)
                length = int.from_bytes(header, "big")
                if length > FRAME_MAX:
                    return
                frame = header + await reader.readexactly(length)
                for port in self._ports:
                    if port is not writer and port.transport.get_write_buffer_size() < BACKLOG:
                        port.write(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._ports.discard(writer)
            writer.close()

    def end(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
