# SPDX-License-Identifier: GPL-2.0-or-later
"""The vfio-user server against a scripted client, well-behaved and not."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from vcable import nhi as regs
from vcable import vfio_user as vu
from vcable.pci import MSIX_CAP, PM_CAP, PMCSR, PME_ENABLE
from vcable.vfio_client import SocketBus, VfioError
from vcable_bench import Bench

PAGE = 4096


@pytest.fixture
def server(bench: Bench, tmp_path: Path) -> Iterator[vu.Server]:
    made = vu.Server(tmp_path / "a-1.vfio", bench.world.routers["a", 1], bench.loop)
    yield made
    made.close()


@pytest.fixture
def client(bench: Bench, server: vu.Server, tmp_path: Path) -> Iterator[SocketBus]:
    bus = SocketBus(tmp_path / "a-1.vfio", bench.loop)
    yield bus
    bus.close()


@pytest.fixture
def memory() -> Iterator[int]:
    fd = os.memfd_create("memory")
    os.ftruncate(fd, 64 * PAGE)
    yield fd
    os.close(fd)


def test_the_clients_own_version_is_the_answer(client: SocketBus) -> None:
    for version in ((0, 0), (0, 1)):
        answer = client.call(vu.VERSION, struct.pack("<HH", *version) + b"{}\0")
        assert struct.unpack_from("<HH", answer) == version
        assert answer.endswith(b"}\0")


def test_device_regions_and_vectors(client: SocketBus) -> None:
    assert struct.unpack("<4I", client.call(vu.GET_INFO, struct.pack("<4I", 16, 0, 0, 0))) == (
        16,
        3,
        9,
        5,
    )
    sizes = []
    for index in range(9):
        request = vu.REGION_BODY.pack(32, 0, index, 0, 0, 0)
        sizes.append(vu.REGION_BODY.unpack(client.call(vu.GET_REGION_INFO, request))[4])
    assert sizes == [0x40000, 0, 0x1000, 0, 0, 0, 0, 256, 0]
    counts = [
        struct.unpack("<4I", client.call(vu.GET_IRQ_INFO, struct.pack("<4I", 16, 0, n, 0)))[3]
        for n in range(5)
    ]
    assert counts == [0, 0, 16, 0, 0]


def test_the_function_is_a_usb4_host_interface_with_pm_and_msix(client: SocketBus) -> None:
    config = client.config_read(0, 256)
    assert config[9:12] == bytes([0x40, 0x03, 0x0C])
    assert struct.unpack_from("<H", config)[0] != 0x8086
    assert config[0x34] == PM_CAP
    assert config[PM_CAP : PM_CAP + 2] == bytes([1, MSIX_CAP])
    assert config[MSIX_CAP : MSIX_CAP + 2] == bytes([0x11, 0])
    assert struct.unpack_from("<H", config, MSIX_CAP + 2)[0] & 0x7FF == 15


def test_bars_tell_their_size_when_written_with_ones(client: SocketBus) -> None:
    for bar, size in ((0x10, 0x40000), (0x18, 0x1000), (0x14, 0), (0x1C, 0)):
        client.config_write(bar, b"\xff" * 4)
        (value,) = struct.unpack("<I", client.config_read(bar, 4))
        assert value == (0 if size == 0 else 0x100000000 - size)


def test_ids_and_capabilities_cannot_be_written(client: SocketBus) -> None:
    before = client.config_read(0, 4) + client.config_read(PM_CAP, 4)
    client.config_write(0, b"\0" * 4)
    client.config_write(PM_CAP, b"\0" * 4)
    assert client.config_read(0, 4) + client.config_read(PM_CAP, 4) == before


def test_pme_status_is_set_only_when_enabled_and_cleared_by_writing_one(
    client: SocketBus, bench: Bench
) -> None:
    pci = bench.world.routers["a", 1].pci
    pci.signal_pme()
    assert struct.unpack("<H", client.config_read(PMCSR, 2))[0] & 0x8000 == 0
    client.config_write(PMCSR, struct.pack("<H", PME_ENABLE | 3))
    pci.signal_pme()
    assert struct.unpack("<H", client.config_read(PMCSR, 2))[0] == 0x8000 | PME_ENABLE | 3 | 8
    client.config_write(PMCSR, struct.pack("<H", 0x8000 | PME_ENABLE))
    assert struct.unpack("<H", client.config_read(PMCSR, 2))[0] == PME_ENABLE | 8


def test_memory_is_mapped_by_descriptor_and_unmapped(
    client: SocketBus, bench: Bench, memory: int
) -> None:
    dma = bench.world.routers["a", 1].dma
    client.map(memory, 0x10000, 4 * PAGE, PAGE, 3)
    client.map(memory, 0x20000, 4 * PAGE, 8 * PAGE, 1)
    assert dma.write(0x10000, b"x", "t")
    assert not dma.write(0x20000, b"x", "t")
    assert os.pread(memory, 1, PAGE) == b"x"
    client.unmap(0x10000, 4 * PAGE)
    assert not dma.write(0x10000, b"x", "t")
    client.call(vu.DMA_UNMAP, vu.DMA_UNMAP_BODY.pack(24, vu.UNMAP_ALL, 0, 0))
    assert len(dma) == 0


def test_a_mapping_without_descriptor_is_accepted_and_ignored(
    client: SocketBus, bench: Bench
) -> None:
    client.call(vu.DMA_MAP, vu.DMA_MAP_BODY.pack(32, 3, 0, 0xC0000, PAGE))
    assert len(bench.world.routers["a", 1].dma) == 0


def test_a_descriptor_belongs_to_the_last_message_of_its_read(
    client: SocketBus, bench: Bench, memory: int
) -> None:
    client.write32(0x38C00, 1)
    client.write32(0x38C04, 2)
    client.map(memory, 0x10000, PAGE, 0, 3)
    assert bench.world.routers["a", 1].nhi.read(0x38C04) == 2
    assert len(bench.world.routers["a", 1].dma) == 1


def test_overlapping_mappings_are_refused_and_the_session_goes_on(
    client: SocketBus, memory: int
) -> None:
    client.map(memory, 0x10000, 4 * PAGE, 0, 3)
    with pytest.raises(VfioError):
        client.map(memory, 0x11000, PAGE, 0, 3)
    assert client.config_read(0, 2)


def test_posted_writes_get_no_answer_and_arrive_in_order(client: SocketBus) -> None:
    for n in range(1000):
        client.write32(0x38C00, n)
    assert client.read32(0x38C00) == 999


def test_many_writes_in_one_message(client: SocketBus) -> None:
    body = struct.pack("<Q", 2)
    for n, offset in enumerate((0x38C00, 0x38C04)):
        body += vu.ACCESS.pack(offset, 0, 4) + struct.pack("<Q", 70 + n)
    client.call(vu.WRITE_MULTI, body)
    assert (client.read32(0x38C00), client.read32(0x38C04)) == (70, 71)


def test_reads_of_less_than_a_word(client: SocketBus) -> None:
    answer = client.call(vu.REGION_READ, vu.ACCESS.pack(regs.CAPS + 1, 0, 1))
    assert answer[16:] == b"\0"
    answer = client.call(vu.REGION_READ, vu.ACCESS.pack(regs.CAPS, 0, 8))
    assert answer[16:] == struct.pack("<II", 12, 0)


def test_vectors_raise_their_descriptors_until_they_are_off(
    client: SocketBus, bench: Bench
) -> None:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    client.call(vu.SET_IRQS, vu.WORDS5.pack(20, 0x24, vu.MSIX_IRQ, 3, 1), (fd,))
    pci = bench.world.routers["a", 1].pci
    pci.raise_vector(3)
    assert os.eventfd_read(fd) == 1
    client.call(vu.SET_IRQS, vu.WORDS5.pack(20, 0x24, vu.MSIX_IRQ, 3, 1))
    pci.raise_vector(3)
    assert pci.lost_vectors == 1
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fd)
    os.close(fd)


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (vu.REGION_READ, vu.ACCESS.pack(0x40000, 0, 4)),
        (vu.REGION_READ, vu.ACCESS.pack(0x3FFFE, 0, 4)),
        (vu.REGION_READ, vu.ACCESS.pack(1 << 63, 0, 4)),
        (vu.REGION_READ, vu.ACCESS.pack(0, 1, 4)),
        (vu.REGION_READ, vu.ACCESS.pack(0, 7, 1 << 31)),
        (vu.REGION_WRITE, vu.ACCESS.pack(256, 7, 1) + b"x"),
        (vu.SET_IRQS, vu.WORDS5.pack(20, 0x24, 2, 16, 1)),
        (vu.SET_IRQS, vu.WORDS5.pack(20, 0x24, 2, 0xFFFFFFFF, 2)),
        (6, b""),
        (11, b""),
        (99, b""),
    ],
)
def test_what_cannot_be_done_is_refused_and_the_session_goes_on(
    client: SocketBus, command: int, body: bytes
) -> None:
    with pytest.raises(VfioError):
        client.call(command, body)
    assert client.config_read(0, 2)


@pytest.mark.parametrize(
    "raw",
    [
        vu.HEADER.pack(1, vu.GET_INFO, 15, 0, 0),
        vu.HEADER.pack(1, vu.GET_INFO, 0, 0, 0),
        vu.HEADER.pack(1, vu.GET_INFO, 0xFFFFFFFF, 0, 0),
        vu.HEADER.pack(1, vu.REGION_READ, 20, 0, 0) + b"abcd",
        vu.HEADER.pack(1, vu.REGION_READ, 32, 1, 0) + vu.ACCESS.pack(0, 0, 4),
        vu.HEADER.pack(1, vu.REGION_WRITE, 32, 0, 0) + vu.ACCESS.pack(0, 7, 4),
        vu.HEADER.pack(1, vu.WRITE_MULTI, 24, 0, 0) + struct.pack("<Q", 1 << 40),
        vu.HEADER.pack(1, vu.DMA_MAP, 18, 0, 0) + b"ab",
        vu.HEADER.pack(1, vu.VERSION, 16, 0, 0),
        b"\xff" * 64,
    ],
)
def test_a_broken_message_ends_the_session_and_the_next_client_is_served(
    bench: Bench, client: SocketBus, tmp_path: Path, raw: bytes
) -> None:
    client.send_raw(raw)
    assert bench.loop.run_until(client.closed, 2)
    again = SocketBus(tmp_path / "a-1.vfio", bench.loop)
    assert again.config_read(0, 2)
    again.close()


def test_messages_may_come_in_pieces(bench: Bench, client: SocketBus) -> None:
    raw = vu.HEADER.pack(7, vu.REGION_WRITE, 36, vu.NO_REPLY, 0)
    raw += vu.ACCESS.pack(0x38C00, 0, 4) + vu.WORD.pack(42)
    for byte in raw:
        client.send_raw(bytes([byte]))
        bench.loop.run_once(0)
    assert client.read32(0x38C00) == 42


def test_a_second_client_is_turned_away(bench: Bench, client: SocketBus, tmp_path: Path) -> None:
    assert client.config_read(0, 2)
    second = socket.socket(socket.AF_UNIX)
    second.connect(str(tmp_path / "a-1.vfio"))
    bench.loop.run_once(1)
    assert second.recv(1) == b""
    second.close()
    assert client.config_read(0, 2)


def test_a_client_that_dies_is_loss_of_power(bench: Bench, client: SocketBus, memory: int) -> None:
    device = bench.world.routers["a", 1]
    client.attach(memory, 0, 64 * PAGE)
    assert device.router.powered
    client.close()
    assert bench.loop.run_until(lambda: not device.router.powered, 2)
    assert len(device.dma) == 0
    assert all(fd == -1 for fd in device.pci.vectors)
