# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted vfio-user client: does to the socket what QEMU does, for tests without QEMU.

Runs in the emulator's process and thread: while it waits for an answer it runs the loop.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from . import vfio_user as vu
from .loop import Loop
from .nhi import VECTORS

WAIT = 5.0


class VfioError(OSError):
    """The server refused a command."""


class SocketBus:
    """See `fakehost.Bus`.  Connects, negotiates, and sets up all vectors in `attach`."""

    def __init__(self, path: Path, loop: Loop) -> None:
        self._loop = loop
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._socket.setblocking(False)
        self._ident = 0
        self._eventfds: list[int] = []

    def close(self) -> None:
        self._socket.close()
        for fd in self._eventfds:
            os.close(fd)
        self._eventfds.clear()

    # Messages

    def send(self, command: int, body: bytes, fds: tuple[int, ...] = (), flags: int = 0) -> int:
        self._ident = self._ident + 1 & 0xFFFF
        message = vu.HEADER.pack(self._ident, command, 16 + len(body), flags, 0) + body
        ancillary = []
        if fds:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        self._when_ready(lambda: self._socket.sendmsg([message], ancillary))
        return self._ident

    def send_raw(self, data: bytes) -> None:
        self._when_ready(lambda: self._socket.send(data))

    def call(self, command: int, body: bytes, fds: tuple[int, ...] = ()) -> bytes:
        """Send and wait for the answer's body; VfioError when refused."""
        ident = self.send(command, body, fds)
        head = self._receive(16)
        got, _command, size, flags, code = vu.HEADER.unpack(head)
        rest = self._receive(size - 16)
        if got != ident or flags & 0xF != vu.TYPE_REPLY:
            raise VfioError(0, f"answer {got} to {ident}, flags {flags:#x}")
        if flags & vu.IS_ERROR:
            raise VfioError(code, f"command {command} refused")
        return rest

    def closed(self) -> bool:
        """The server has hung up."""
        self._loop.run_once(0)
        try:
            return self._socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _when_ready(self, send: Callable[[], int]) -> None:
        """Short messages go whole or not at all; let the server read while there is no room."""

        def done() -> bool:
            try:
                send()
            except BlockingIOError:
                # The server may be another process, which does not wake our loop.
                self._loop.call_later(0.001, lambda: None)
                return False
            return True

        if not self._loop.run_until(done, WAIT):
            raise TimeoutError("the server does not read")

    def _receive(self, count: int) -> bytes:
        data = bytearray()

        def more() -> bool:
            try:
                piece = self._socket.recv(count - len(data), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            if not piece:
                raise VfioError(0, "the server hung up")
            data.extend(piece)
            return len(data) == count

        self._loop.add(self._socket.fileno(), lambda: None)
        try:
            if count and not self._loop.run_until(more, WAIT):
                raise TimeoutError("no answer")
        finally:
            self._loop.remove(self._socket.fileno())
        return bytes(data)

    # Bus

    def attach(self, memory_fd: int, address: int, size: int) -> None:
        self.call(vu.VERSION, struct.pack("<HH", 0, 0) + b'{"capabilities":{}}\0')
        self.call(vu.RESET, b"")
        for vector in range(VECTORS):
            fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._eventfds.append(fd)
            self.call(vu.SET_IRQS, vu.WORDS5.pack(20, 0x24, vu.MSIX_IRQ, vector, 1), (fd,))
        self.map(memory_fd, address, size, 0, 3)

    def map(self, memory_fd: int, address: int, size: int, offset: int, access: int) -> None:
        body = vu.DMA_MAP_BODY.pack(vu.DMA_MAP_BODY.size, access, offset, address, size)
        self.call(vu.DMA_MAP, body, (memory_fd,))

    def unmap(self, address: int, size: int) -> None:
        self.call(vu.DMA_UNMAP, vu.DMA_UNMAP_BODY.pack(24, 0, address, size))

    def write32(self, offset: int, value: int) -> None:
        """Posted, as QEMU posts BAR writes."""
        body = vu.ACCESS.pack(offset, vu.BAR0, 4) + vu.WORD.pack(value)
        self.send(vu.REGION_WRITE, body, flags=vu.NO_REPLY)

    def read32(self, offset: int) -> int:
        answer = self.call(vu.REGION_READ, vu.ACCESS.pack(offset, vu.BAR0, 4))
        return int.from_bytes(answer[16:20], "little")

    def config_read(self, offset: int, count: int) -> bytes:
        return self.call(vu.REGION_READ, vu.ACCESS.pack(offset, vu.CONFIG, count))[16:]

    def config_write(self, offset: int, data: bytes) -> None:
        self.call(vu.REGION_WRITE, vu.ACCESS.pack(offset, vu.CONFIG, len(data)) + data)

    def irqs(self) -> list[int]:
        found = []
        for vector, fd in enumerate(self._eventfds):
            try:
                found += [vector] * os.eventfd_read(fd)
            except BlockingIOError:
                continue
        return found
