# SPDX-License-Identifier: GPL-2.0-or-later
"""vfio-user, server side: one listening socket, at most one client (QEMU) at a time.

Messages are parsed out of large reads.  What a message means for the device is the `Device`'s
business.  A client that breaks the protocol is disconnected.
"""

from __future__ import annotations

import array
import errno
import json
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .loop import Loop

log = logging.getLogger("vcable.vfio")

HEADER = struct.Struct("<HHIII")
ACCESS = struct.Struct("<QII")
DMA_MAP_BODY = struct.Struct("<IIQQQ")
DMA_UNMAP_BODY = struct.Struct("<IIQQ")
WORDS4 = struct.Struct("<IIII")
WORDS5 = struct.Struct("<IIIII")
REGION_BODY = struct.Struct("<IIIIQQ")
WORD = struct.Struct("<I")

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, GET_REGION_INFO = 1, 2, 3, 4, 5
GET_IRQ_INFO, SET_IRQS, REGION_READ, REGION_WRITE, RESET, WRITE_MULTI = 7, 8, 9, 10, 13, 15
TYPE_REPLY, NO_REPLY, IS_ERROR = 0x1, 0x10, 0x20
MESSAGE_MAX = 1 << 20
READ_SIZE = 1 << 16
FDS_MAX = 16
UNMAP_ALL = 2

BAR0, MSIX_BAR, CONFIG = 0, 2, 7
REGIONS, IRQS, MSIX_IRQ = 9, 5, 2
DEVICE_RESET_PCI = 3
REGION_RW = 3
IRQ_EVENTFD = 1


class Device(Protocol):
    """What is behind the socket."""

    region_sizes: dict[int, int]
    vectors: int

    def connected(self) -> None: ...
    def disconnected(self) -> None: ...
    def write32(self, offset: int, value: int) -> None:
        """BAR 0."""

    def region_read(self, region: int, offset: int, count: int) -> bytes: ...
    def region_write(self, region: int, offset: int, data: bytes) -> None: ...
    def dma_map(self, address: int, size: int, fd: int, offset: int, access: int) -> None:
        """OSError or DmaError when impossible; `fd` stays the caller's."""

    def dma_unmap(self, address: int, size: int, everything: bool) -> None: ...
    def set_vector(self, vector: int, fd: int) -> None:
        """Takes `fd` over; -1 switches the vector off."""

    def reset(self) -> None: ...
    def batch_done(self) -> None:
        """All that one read brought has been handed over."""


class ProtocolError(Exception):
    """The client sent something that cannot be understood."""


class Server:
    """Listens at `path` and serves one client after the other."""

    def __init__(self, path: Path, device: Device, loop: Loop) -> None:
        self._device, self._loop = device, loop
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._listener.setblocking(False)
        self._session: Session | None = None
        loop.add(self._listener.fileno(), self._accept)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._loop.remove(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._session is not None:
            log.warning("%s: a second client is refused", self._path.name)
            client.close()
            return
        log.info("%s: client connected", self._path.name)
        self._session = Session(client, self._device, self._loop, self._gone)
        self._device.connected()

    def _gone(self, why: str) -> None:
        log.info("%s: client gone%s", self._path.name, f": {why}" if why else "")
        self._session = None
        self._device.disconnected()


class Session:
    """One connected client."""

    def __init__(
        self, client: socket.socket, device: Device, loop: Loop, gone: Callable[[str], None]
    ) -> None:
        self._socket, self._device, self._loop, self._gone = client, device, loop, gone
        self._rest = b""
        self._fds: list[int] = []
        self._replies: list[bytes] = []
        self._ancillary = socket.CMSG_SPACE(FDS_MAX * 4)
        self._handlers: dict[int, Callable[[memoryview, list[int]], bytes]] = {
            VERSION: self._version,
            DMA_MAP: self._dma_map,
            DMA_UNMAP: self._dma_unmap,
            GET_INFO: self._get_info,
            GET_REGION_INFO: self._get_region_info,
            GET_IRQ_INFO: self._get_irq_info,
            SET_IRQS: self._set_irqs,
            REGION_READ: self._region_read,
            REGION_WRITE: self._region_write,
            WRITE_MULTI: self._write_multi,
            RESET: self._reset,
        }
        loop.add(client.fileno(), self._readable)

    def close(self, why: str = "") -> None:
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._close_fds(self._fds)
        self._gone(why)

    def _readable(self) -> None:
        try:
            data, ancillary, _flags, _ = self._socket.recvmsg(
                READ_SIZE, self._ancillary, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError as error:
            self.close(str(error))
            return
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(raw[: len(raw) // 4 * 4])
                self._fds.extend(fds)
        if not data:
            self.close()
            return
        try:
            self._parse(self._rest + data if self._rest else data)
            self._device.batch_done()
            if self._replies:
                replies, self._replies = self._replies, []
                self._socket.sendall(b"".join(replies))
        except (ProtocolError, OSError) as error:
            self.close(str(error))

    def _parse(self, data: bytes) -> None:
        """Handle all whole messages in `data`.

        A read ends after the message that carries descriptors, so descriptors at hand belong to
        the last message that begins in what was read.
        """
        at, end = 0, len(data)
        unpack, access, word = HEADER.unpack_from, ACCESS.unpack_from, WORD.unpack_from
        write32 = self._device.write32
        while end - at >= 16:
            ident, command, size, flags, _error = unpack(data, at)
            if not 16 <= size <= MESSAGE_MAX:
                raise ProtocolError(f"message of {size} bytes")
            if size > end - at:
                break
            if command == REGION_WRITE and flags & NO_REPLY and size == 36:
                offset, region, count = access(data, at + 16)
                if region == BAR0 and count == 4:
                    write32(offset, word(data, at + 32)[0])
                    at += size
                    continue
            body = memoryview(data)[at + 16 : at + size]
            at += size
            fds: list[int] = []
            if self._fds and (end - at < 16):
                fds, self._fds = self._fds, []
            self._message(ident, command, flags, body, fds)
        self._rest = data[at:]

    def _message(
        self, ident: int, command: int, flags: int, body: memoryview, fds: list[int]
    ) -> None:
        try:
            if flags & 0xF:
                raise ProtocolError(f"message type {flags & 0xF}")
            handler = self._handlers.get(command)
            if handler is None:
                self._refuse(ident, command, flags, errno.ENOTSUP)
                return
            try:
                answer = handler(body, fds)
            except struct.error as error:
                raise ProtocolError(f"command {command}: {error}") from error
            except (OSError, ValueError) as error:
                log.warning("command %d refused: %s", command, error)
                self._refuse(ident, command, flags, getattr(error, "errno", 0) or errno.EINVAL)
                return
            if not flags & NO_REPLY:
                head = HEADER.pack(ident, command, 16 + len(answer), TYPE_REPLY, 0)
                self._replies.append(head + answer)
        finally:
            self._close_fds(fds)

    def _refuse(self, ident: int, command: int, flags: int, code: int) -> None:
        if not flags & NO_REPLY:
            self._replies.append(HEADER.pack(ident, command, 16, TYPE_REPLY | IS_ERROR, code))

    @staticmethod
    def _close_fds(fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        fds.clear()

    # Commands: each takes the body and the descriptors and returns the body of the answer.

    def _version(self, body: memoryview, _fds: list[int]) -> bytes:
        """The client refuses any version but its own."""
        major, minor = struct.unpack_from("<HH", body)
        capabilities = {
            "capabilities": {"max_msg_fds": FDS_MAX, "max_data_xfer_size": MESSAGE_MAX // 2}
        }
        text = json.dumps(capabilities).encode() + b"\0"
        return struct.pack("<HH", major, minor) + text

    def _dma_map(self, body: memoryview, fds: list[int]) -> bytes:
        _size, flags, offset, address, length = DMA_MAP_BODY.unpack_from(body)
        if fds:
            self._device.dma_map(address, length, fds[0], offset, flags & 3)
        return b""

    def _dma_unmap(self, body: memoryview, _fds: list[int]) -> bytes:
        _size, flags, address, length = DMA_UNMAP_BODY.unpack_from(body)
        self._device.dma_unmap(address, length, bool(flags & UNMAP_ALL))
        return bytes(body[: DMA_UNMAP_BODY.size])

    def _get_info(self, _body: memoryview, _fds: list[int]) -> bytes:
        return WORDS4.pack(16, DEVICE_RESET_PCI, REGIONS, IRQS)

    def _get_region_info(self, body: memoryview, _fds: list[int]) -> bytes:
        index = REGION_BODY.unpack_from(body)[2]
        size = self._device.region_sizes.get(index, 0)
        return REGION_BODY.pack(REGION_BODY.size, REGION_RW if size else 0, index, 0, size, 0)

    def _get_irq_info(self, body: memoryview, _fds: list[int]) -> bytes:
        index = WORDS4.unpack_from(body)[2]
        count = self._device.vectors if index == MSIX_IRQ else 0
        return WORDS4.pack(16, IRQ_EVENTFD if count else 0, index, count)

    def _set_irqs(self, body: memoryview, fds: list[int]) -> bytes:
        _size, _flags, index, start, count = WORDS5.unpack_from(body)
        if index != MSIX_IRQ:
            return b""
        if start + count > self._device.vectors:
            raise ValueError(f"vectors {start}+{count}")
        if count == 0:
            start, count = 0, self._device.vectors
        for n in range(count):
            fd = fds.pop(0) if fds else -1
            self._device.set_vector(start + n, fd)
        return b""

    def _region(self, body: memoryview) -> tuple[int, int, int]:
        offset, region, count = ACCESS.unpack_from(body)
        if offset + count > self._device.region_sizes.get(region, 0):
            raise ValueError(f"region {region} has no {count} bytes at {offset:#x}")
        return offset, region, count

    def _region_read(self, body: memoryview, _fds: list[int]) -> bytes:
        offset, region, count = self._region(body)
        return bytes(body[:16]) + self._device.region_read(region, offset, count)

    def _region_write(self, body: memoryview, _fds: list[int]) -> bytes:
        offset, region, count = self._region(body)
        if len(body) < 16 + count:
            raise ProtocolError("write without its data")
        self._device.region_write(region, offset, bytes(body[16 : 16 + count]))
        return bytes(body[:16])

    def _write_multi(self, body: memoryview, _fds: list[int]) -> bytes:
        (count,) = struct.unpack_from("<Q", body)
        if len(body) < 8 + 24 * count:
            raise ProtocolError("fewer writes than announced")
        for n in range(count):
            entry = body[8 + 24 * n : 32 + 24 * n]
            offset, region, size = self._region(entry)
            self._device.region_write(region, offset, bytes(entry[16 : 16 + min(size, 8)]))
        return bytes(body[:8])

    def _reset(self, _body: memoryview, _fds: list[int]) -> bytes:
        self._device.reset()
        return b""
