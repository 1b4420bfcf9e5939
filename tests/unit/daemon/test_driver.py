# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's sysfs, devices and ioctls, on a tree of files and a socket pair."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import struct
from pathlib import Path

import pytest

from usb4rdmad import driver as module
from usb4rdmad.driver import SysfsDriver
from usb4rdmad.errors import DriverError
from usb4rdmad.model import KernelLink, KernelState
from usb4rdmad.rdma import SysfsRdma

HEADER = Path(__file__).parents[3] / "driver" / "include" / "uapi" / "rdma" / "usb4_rdma.h"
SERVICE = "devices/pci0/domain1/1-0/1-3/1-3.0/usb4rdma/link0"

ATTRIBUTES = {
    "state": "ready",
    "authorized": "0",
    "instance": "4",
    "host_id": "ab" * 16,
    "local_host_id": "cd" * 16,
    "epoch": "18446744073709551615",
    "local_epoch": "2",
    "peer": "ef" * 32,
    "peer_uuid": "11111111-2222-3333-4444-555555555555",
    "local_uuid": "66666666-2222-3333-4444-555555555555",
    "route": "0x3",
    "version": "1-1",
    "peer_version": "1-2",
    "speed": "20000000000",
    "width": "2",
    "mtu": "65520",
    "ibdev": "usb4rdma0",
    "netdev": "u4rdma0",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    link = tmp_path / SERVICE
    link.mkdir(parents=True)
    for name, value in ATTRIBUTES.items():
        (link / name).write_text(value + "\n")
    xdomain = link.parents[2]
    (xdomain / "device_name").write_text("mars\n")
    (xdomain / "vendor_name").write_text("Linux\n")
    folder = tmp_path / "class" / "usb4rdma"
    folder.mkdir(parents=True)
    (folder / "link0").symlink_to(link)
    (folder / "control").mkdir()
    return tmp_path


def test_a_link_is_read_whole(tree: Path) -> None:
    driver = SysfsDriver(tree)
    assert driver.names() == ["link0"]
    link = driver.read("link0")
    assert link == KernelLink(
        "link0",
        KernelState.READY,
        instance=4,
        host_id=b"\xab" * 16,
        local_host_id=b"\xcd" * 16,
        epoch=2**64 - 1,
        local_epoch=2,
        peer=b"\xef" * 32,
        peer_uuid=ATTRIBUTES["peer_uuid"],
        local_uuid=ATTRIBUTES["local_uuid"],
        route=3,
        domain=1,
        version="1-1",
        peer_version="1-2",
        speed=20_000_000_000,
        width=2,
        mtu=65520,
        ibdev="usb4rdma0",
        netdev="u4rdma0",
        remote_name="mars",
        remote_vendor="Linux",
    )
    assert link.place == "1-3"


@pytest.mark.parametrize("value", ["", "nonsense", "READY", "gone", "\xff"])
def test_a_link_of_no_known_state_counts_as_absent(tree: Path, value: str) -> None:
    (tree / SERVICE / "state").write_text(value, encoding="latin-1")
    assert SysfsDriver(tree).read("link0") is None


@pytest.mark.parametrize(
    ("name", "value", "field", "wanted"),
    [
        ("host_id", "ab" * 15, "host_id", b""),
        ("host_id", "AB" * 16, "host_id", b""),
        ("host_id", "", "host_id", b""),
        ("peer", "zz" * 32, "peer", b""),
        ("instance", "-1", "instance", 0),
        ("instance", str(2**64), "instance", 0),
        ("instance", "x", "instance", 0),
        ("epoch", "", "epoch", 0),
        ("speed", "fast", "speed", 0),
        ("width", "-2", "width", 0),
        ("peer_version", "\x1b[31m7\x00-9", "peer_version", "[31m7-9"),
        ("authorized", "yes", "authorized", False),
        ("route", "0xzz", "route", 3),
    ],
)
def test_an_attribute_that_does_not_parse_counts_as_absent(
    tree: Path, name: str, value: str, field: str, wanted: object
) -> None:
    (tree / SERVICE / name).write_text(value + "\n")
    assert getattr(SysfsDriver(tree).read("link0"), field) == wanted


def test_names_of_the_remote_host_are_kept_printable_and_short(tree: Path) -> None:
    (tree / SERVICE).parents[2].joinpath("device_name").write_bytes(b"\x1b]0;evil\x07" + b"x" * 999)
    link = SysfsDriver(tree).read("link0")
    assert link is not None
    assert link.remote_name.isprintable() and len(link.remote_name) <= 256


def test_missing_attributes_are_no_error(tree: Path) -> None:
    for path in (tree / SERVICE).iterdir():
        if path.name != "state":
            path.unlink()
    link = SysfsDriver(tree).read("link0")
    assert link is not None and link.instance == 0


def test_no_module_means_no_links_and_no_version(tmp_path: Path) -> None:
    driver = SysfsDriver(tmp_path)
    assert driver.names() == [] and driver.version() == "" and driver.read("link0") is None


def test_ioctl_numbers_and_layouts_are_those_of_the_header() -> None:
    text = HEADER.read_text()
    sizes = {"version": 16, "authorize": 16 + 8 + 8 + 32 + 32 + 4 + 4, "forget": 32}
    numbers = {
        name: int(number, 16)
        for name, number in re.findall(r"#define USB4_RDMA_IOC_(\w+)\s+_IO\w*\(\w+, (0x\w+)", text)
    }
    assert numbers == {
        "VERSION": 0,
        "LINK_ID": 0x10,
        "AUTHORIZE": 0x11,
        "DEAUTHORIZE": 0x12,
        "PEER": 0x20,
        "FORGET": 0x21,
    }
    magic = int(re.findall(r"IOC_MAGIC\s+(0x\w+)", text)[0], 16)
    for name, direction in (("VERSION", 2), ("AUTHORIZE", 1), ("FORGET", 1), ("DEAUTHORIZE", 0)):
        size = sizes.get(name.lower(), 0)
        wanted = direction << 30 | size << 16 | magic << 8 | numbers[name]
        assert getattr(module, f"IOC_{name}") == wanted


class Device:
    """A character device: the driver's end of a socket pair, opened by path."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.setblocking(False)
        self.commands: list[tuple[int, bytes]] = []
        self.error = 0
        monkeypatch.setattr(os, "open", lambda path, flags: os.dup(self.near.fileno()))
        self.driver = SysfsDriver(tmp_path, tmp_path / "dev", self.ioctl)

    def ioctl(self, fd: int, request: int, argument: bytearray) -> int:
        self.commands.append((request, bytes(argument)))
        if self.error:
            raise OSError(self.error, "no")
        return 0


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tmp_path, monkeypatch)


def test_messages_go_both_ways_one_a_datagram(device: Device) -> None:
    async def story() -> None:
        came: list[bytes] = []
        got = asyncio.Event()

        def message(frame: bytes) -> None:
            came.append(frame)
            if len(came) == 2:
                got.set()

        device.driver.attach("link0", message, lambda: None)
        device.far.send(b"one")
        device.far.send(b"x" * 192)
        await asyncio.wait_for(got.wait(), 5)
        assert came == [b"one", b"x" * 192]
        assert device.driver.send("link0", b"back")
        assert device.far.recv(500) == b"back"
        device.driver.detach("link0")
        assert not device.driver.send("link0", b"late")

    asyncio.run(story())


def test_a_pulled_cable_is_a_hangup_and_only_once(device: Device) -> None:
    async def story() -> None:
        hung = asyncio.Event()
        calls = []
        device.driver.attach(
            "link0",
            lambda frame: None,
            lambda: (calls.append(1), hung.set()),  # type: ignore[arg-type]
        )
        device.far.close()
        await asyncio.wait_for(hung.wait(), 5)
        await asyncio.sleep(0)
        assert calls == [1]

    asyncio.run(story())


def test_authorize_names_instance_and_both_identities(device: Device) -> None:
    async def story() -> None:
        device.driver.attach("link0", lambda frame: None, lambda: None)
        kernel = KernelLink("link0", KernelState.READY, instance=4, host_id=b"h" * 16, epoch=9)
        device.driver.authorize(kernel, b"p" * 32, b"l" * 32)
        ((request, argument),) = device.commands
        assert request == module.IOC_AUTHORIZE
        assert argument == b"h" * 16 + struct.pack("=QQ", 9, 4) + b"p" * 32 + b"l" * 32 + bytes(8)
        device.driver.deauthorize("link0")
        assert device.commands[1] == (module.IOC_DEAUTHORIZE, b"")

    asyncio.run(story())


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EBUSY, errno.EPERM, errno.ENOSPC])
def test_what_the_driver_refuses_comes_with_its_errno(device: Device, number: int) -> None:
    async def story() -> None:
        device.driver.attach("link0", lambda frame: None, lambda: None)
        device.error = number
        with pytest.raises(DriverError) as caught:
            device.driver.deauthorize("link0")
        assert caught.value.errno == number

    asyncio.run(story())


def test_forgetting_an_unknown_peer_or_one_that_is_in_use_is_no_error(device: Device) -> None:
    for number in (errno.ENOENT, errno.EINPROGRESS):
        device.error = number
        device.driver.forget(b"p" * 32)
    device.error = errno.EIO
    with pytest.raises(DriverError):
        device.driver.forget(b"p" * 32)


def test_gids_and_counters_are_read(tmp_path: Path) -> None:
    port = tmp_path / "class" / "infiniband" / "usb4rdma0" / "ports" / "1"
    for name, value in {
        "state": "4: ACTIVE\n",
        "gids/0": "0000:0000:0000:0000:0000:ffff:a9fe:0102\n",
        "gids/1": "0000:0000:0000:0000:0000:0000:0000:0000\n",
        "gids/10": "garbage\n",
        "gids/2": "fd00:0000:0000:0000:0000:0000:0000:0001\n",
        "gid_attrs/types/0": "RoCE v2\n",
        "gid_attrs/types/2": "RoCE v2\n",
        "hw_counters/rx_crc": "5\n",
        "hw_counters/lifespan": "10\n",
    }.items():
        path = port / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    statistics = tmp_path / "class" / "net" / "u4rdma0" / "statistics"
    statistics.mkdir(parents=True)
    (statistics / "rx_bytes").write_text("77\n")
    rdma = SysfsRdma(tmp_path)
    found = rdma.port("usb4rdma0")
    assert found.active and [g[0] for g in found.gids] == [0, 2]
    assert found.gids[0][1] == "0000:0000:0000:0000:0000:ffff:a9fe:0102"
    from ipaddress import ip_address

    assert found.has(ip_address("169.254.1.2")) and found.has(ip_address("fd00::1"))
    assert not found.has(ip_address("169.254.1.3"))
    counters = rdma.counters("usb4rdma0", "u4rdma0")
    assert counters["RxBytes"] == 77 and counters["rx_crc"] == 5 and "lifespan" not in counters
    assert not rdma.port("nothing").active
