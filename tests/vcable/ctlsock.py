# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: lines in, lines out, any number of clients.

A client that sends an endless line or does not read its answers is cut off; none can hurt the
others.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path

from .loop import Loop

log = logging.getLogger("vcable.control")

LINE_MAX = 65536
SEND_TIMEOUT = 2.0


class ControlSocket:
    """Serves `execute_line` on a unix stream socket."""

    def __init__(self, path: Path, execute_line: Callable[[bytes], bytes], loop: Loop) -> None:
        self._path, self._execute, self._loop = path, execute_line, loop
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._listener.setblocking(False)
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        loop.add(self._listener.fileno(), self._accept)

    def close(self) -> None:
        for fd in list(self._clients):
            self._drop(fd)
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(SEND_TIMEOUT)
        fd = client.fileno()
        self._clients[fd] = (client, bytearray())
        self._loop.add(fd, lambda: self._readable(fd))

    def _readable(self, fd: int) -> None:
        client, buffer = self._clients[fd]
        try:
            data = client.recv(65536, socket.MSG_DONTWAIT)
            if not data:
                self._drop(fd)
                return
            buffer += data
            while b"\n" in buffer:
                line, _, rest = bytes(buffer).partition(b"\n")
                buffer[:] = rest
                if line.strip():
                    client.sendall(self._execute(line) + b"\n")
            if len(buffer) > LINE_MAX:
                client.sendall(b'{"ok": false, "error": "line too long"}\n')
                self._drop(fd)
        except BlockingIOError:
            return
        except OSError as error:
            log.info("a control client was dropped: %s", error)
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        client, _ = self._clients.pop(fd)
        self._loop.remove(fd)
        client.close()
