# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's sysfs attributes, character devices and ioctls.

include/uapi/rdma/usb4_rdma.h is the contract. Everything is read at once into
frozen data. Attributes come from the kernel, but some of them started at the
peer: each is parsed strictly, and one that does not parse counts as absent.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

from .errors import DriverError
from .log import log
from .model import HOST_ID_LEN, IDENTITY_LEN, Identity, KernelLink, KernelState

MSG_MAX = 192
ABI_VERSION = 1

_HOST = f"{HOST_ID_LEN}s"
_PEER = f"{IDENTITY_LEN}s"
_VERSION = struct.Struct("=IIII")
_AUTHORIZE = struct.Struct(f"={_HOST}QQ{_PEER}{_PEER}II")
_FORGET = struct.Struct(f"={_PEER}")

_WRITE, _READ = 1, 2


def _ioc(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | 0xB4 << 8 | number


IOC_VERSION = _ioc(_READ, 0x00, _VERSION.size)
IOC_AUTHORIZE = _ioc(_WRITE, 0x11, _AUTHORIZE.size)
IOC_DEAUTHORIZE = _ioc(0, 0x12, 0)
IOC_FORGET = _ioc(_WRITE, 0x21, _FORGET.size)

_SERVICE = re.compile(r"([0-9a-f]+)-([0-9a-f]+)\.\d+")
_PRINTABLE = re.compile(r"[^\x20-\x7e]")

Ioctl = Callable[[int, int, bytearray], int]


def _real_ioctl(fd: int, request: int, argument: bytearray) -> int:
    return int(fcntl.ioctl(fd, request, argument, True))


class SysfsDriver:
    """The real driver. `sysfs`, `dev` and `ioctl` are the seam for tests."""

    def __init__(
        self,
        sysfs: Path = Path("/sys"),
        dev: Path = Path("/dev/usb4rdma"),
        ioctl: Ioctl = _real_ioctl,
    ) -> None:
        self._class = sysfs / "class" / "usb4rdma"
        self._module = sysfs / "module" / "usb4_rdma"
        self._dev = dev
        self._ioctl = ioctl
        self._fds: dict[str, int] = {}

    def version(self) -> str:
        """The module's version ("loaded" if it has none); empty while it is not loaded."""
        if not self._module.exists() and not self._class.exists():
            return ""
        return _text(self._module / "version") or "loaded"

    def names(self) -> list[str]:
        """The link devices that are there."""
        try:
            found = sorted(p.name for p in self._class.iterdir())
        except OSError:
            return []
        return [name for name in found if re.fullmatch(r"link\d+", name)]

    def read(self, name: str) -> KernelLink | None:
        """A link as it is now; None when it is gone or not readable."""
        path = self._class / name
        try:
            state = KernelState(_text(path / "state"))
        except ValueError:
            return None
        if state is KernelState.GONE:
            return None
        route = _number(path / "route", 16)
        domain, xdomain = 0, None
        for parent in path.resolve().parents:
            match = _SERVICE.fullmatch(parent.name)
            if match:
                domain, route = int(match[1], 16), route or int(match[2], 16)
                xdomain = parent.parent
                break
        return KernelLink(
            name=name,
            state=state,
            authorized=_text(path / "authorized") == "1",
            instance=_number(path / "instance"),
            host_id=_hex(path / "host_id", HOST_ID_LEN),
            local_host_id=_hex(path / "local_host_id", HOST_ID_LEN),
            epoch=_number(path / "epoch"),
            local_epoch=_number(path / "local_epoch"),
            peer=_hex(path / "peer", IDENTITY_LEN),
            peer_uuid=_text(path / "peer_uuid"),
            local_uuid=_text(path / "local_uuid"),
            route=route,
            domain=domain,
            version=_text(path / "version"),
            peer_version=_text(path / "peer_version"),
            speed=_number(path / "speed"),
            width=_number(path / "width"),
            mtu=_number(path / "mtu"),
            ibdev=_text(path / "ibdev"),
            netdev=_text(path / "netdev"),
            remote_name=_text(xdomain / "device_name") if xdomain else "",
            remote_vendor=_text(xdomain / "vendor_name") if xdomain else "",
        )

    def attach(
        self, name: str, message: Callable[[bytes], None], hangup: Callable[[], None]
    ) -> None:
        """Open the link's device; its messages go to `message` on the running loop."""
        if name in self._fds:
            return
        try:
            fd = os.open(self._dev / name, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(f"opening {name}", error) from None
        self._fds[name] = fd
        asyncio.get_running_loop().add_reader(fd, self._readable, name, message, hangup)

    def _readable(
        self, name: str, message: Callable[[bytes], None], hangup: Callable[[], None]
    ) -> None:
        for _ in range(16):
            fd = self._fds.get(name)
            if fd is None:
                return
            try:
                frame = os.read(fd, MSG_MAX)
            except BlockingIOError:
                return
            except OSError:
                frame = b""
            if not frame:
                self.detach(name)
                hangup()
                return
            message(frame)

    def detach(self, name: str) -> None:
        """Close the link's device."""
        fd = self._fds.pop(name, None)
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def send(self, name: str, frame: bytes) -> bool:
        """Relay a message; False when the queue is full or the handshake not done."""
        fd = self._fds.get(name)
        if fd is None:
            return False
        try:
            os.write(fd, frame)
        except OSError as error:
            log.debug("%s: message not taken: %s", name, error)
            return False
        return True

    def authorize(self, kernel: KernelLink, peer: Identity, local: Identity) -> None:
        """Open the gate for this very instance."""
        argument = _AUTHORIZE.pack(kernel.host_id, kernel.epoch, kernel.instance, peer, local, 0, 0)
        self._command(kernel.name, IOC_AUTHORIZE, argument, "authorising")

    def deauthorize(self, name: str) -> None:
        """Close the gate."""
        self._command(name, IOC_DEAUTHORIZE, b"", "deauthorising")

    def forget(self, peer: Identity) -> None:
        """Remove a peer's device through the control device.

        The kernel goes on alone where users of the device keep it for longer.
        """
        try:
            fd = os.open(self._dev / "control", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise self._error("opening the control device", error) from None
        try:
            self._ioctl(fd, IOC_FORGET, bytearray(_FORGET.pack(peer)))
        except OSError as error:
            if error.errno == errno.EINPROGRESS:
                log.info("the device of the forgotten peer goes once its users have let go of it")
            elif error.errno != errno.ENOENT:
                raise self._error("forgetting a peer", error) from None
        finally:
            os.close(fd)

    def _command(self, name: str, request: int, argument: bytes, what: str) -> None:
        fd = self._fds.get(name)
        if fd is None:
            raise DriverError(f"{what} {name}: its device is not open", errno.ENODEV)
        try:
            self._ioctl(fd, request, bytearray(argument))
        except OSError as error:
            raise self._error(f"{what} {name}", error) from None

    def _error(self, what: str, error: OSError) -> DriverError:
        number = error.errno or errno.EIO
        hint = {
            errno.EACCES: "the udev rule gives /dev/usb4rdma to the user usb4rdma",
            errno.EPERM: "usb4rdmad lacks CAP_NET_ADMIN, or was started before the module",
            errno.EBUSY: "another program has the device open",
        }.get(number, "")
        return DriverError(f"{what}: {os.strerror(number)}", number, hint)


def _text(path: Path) -> str:
    """One line of an attribute, printable characters only; empty when absent."""
    try:
        raw = path.read_bytes()[:256]
    except OSError:
        return ""
    return _PRINTABLE.sub("", raw.decode("ascii", "replace").split("\n")[0].strip())


def _number(path: Path, base: int = 10) -> int:
    try:
        value = int(_text(path) or "0", base)
    except ValueError:
        return 0
    return value if 0 <= value < 2**64 else 0


def _hex(path: Path, size: int) -> bytes:
    text = _text(path)
    if not re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", text):
        return b""
    return bytes.fromhex(text)
