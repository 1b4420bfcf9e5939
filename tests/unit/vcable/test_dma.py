# SPDX-License-Identifier: GPL-2.0-or-later
"""The DMA map: translation, faults, and mappings that come and go."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from vcable.dma import READ, WRITE, DmaError, DmaMap

PAGE = 4096


@pytest.fixture
def memory() -> Iterator[int]:
    fd = os.memfd_create("memory")
    os.ftruncate(fd, 16 * PAGE)
    yield fd
    os.close(fd)


@pytest.fixture
def dma() -> DmaMap:
    return DmaMap("a")


def test_what_is_written_is_in_the_file(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0x10000, 2 * PAGE, memory, PAGE, READ | WRITE)
    assert dma.write(0x10010, b"hello", "rx1")
    assert os.pread(memory, 5, PAGE + 0x10) == b"hello"


def test_an_access_may_cross_pages_of_one_mapping(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, 4 * PAGE, memory, 0, READ | WRITE)
    data = bytes(range(256)) * 16
    assert dma.write(PAGE - 100, data, "rx1")
    view = dma.read(PAGE - 100, len(data), "tx1")
    assert view is not None and bytes(view) == data


def test_an_access_may_cross_mappings_that_are_apart_in_the_file(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, PAGE, memory, 8 * PAGE, READ | WRITE)
    dma.map_fd(PAGE, PAGE, memory, 2 * PAGE, READ | WRITE)
    assert dma.write(PAGE - 3, b"abcdef", "rx1")
    assert os.pread(memory, 3, 9 * PAGE - 3) == b"abc"
    assert os.pread(memory, 3, 2 * PAGE) == b"def"
    view = dma.read(PAGE - 3, 6, "tx1")
    assert view is not None and bytes(view) == b"abcdef"


@pytest.mark.parametrize(
    ("address", "size"), [(0, 1), (PAGE - 1, 2), (2 * PAGE - 1, 2), (1 << 60, 64), (3 * PAGE, 1)]
)
def test_an_address_without_mapping_is_a_counted_fault(
    dma: DmaMap, memory: int, address: int, size: int
) -> None:
    dma.map_fd(PAGE, PAGE, memory, 0, READ | WRITE)
    assert dma.read(address, size, "tx3") is None
    assert not dma.write(address, bytes(size), "rx2")
    assert dma.faults == {"tx3": 1, "rx2": 1}
    assert dma.fault_count == 2


def test_a_partly_mapped_write_writes_nothing(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, PAGE, memory, 0, READ | WRITE)
    assert not dma.write(PAGE - 2, b"xxxx", "rx1")
    assert os.pread(memory, 2, PAGE - 2) == b"\0\0"


def test_writing_a_read_only_mapping_is_a_fault_and_reading_is_not(
    dma: DmaMap, memory: int
) -> None:
    dma.map_fd(0, PAGE, memory, 0, READ)
    assert dma.read(8, 8, "tx1") is not None
    assert not dma.write(8, b"x", "rx1")
    assert dma.faults == {"rx1": 1}


def test_unmapping_takes_effect_for_cached_pages(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, 4 * PAGE, memory, 0, READ | WRITE)
    assert dma.write(PAGE, b"x", "rx1")
    assert dma.unmap(0, 4 * PAGE) == 1
    assert not dma.write(PAGE, b"x", "rx1")


def test_a_page_can_be_mapped_anew_elsewhere(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, PAGE, memory, 0, READ | WRITE)
    assert dma.write(0, b"1", "rx1")
    dma.unmap(0, PAGE)
    dma.map_fd(0, PAGE, memory, PAGE, READ | WRITE)
    assert dma.write(0, b"2", "rx1")
    assert os.pread(memory, 1, 0) == b"1"
    assert os.pread(memory, 1, PAGE) == b"2"


def test_unmapping_removes_only_what_lies_inside(dma: DmaMap, memory: int) -> None:
    for n in range(4):
        dma.map_fd(n * PAGE, PAGE, memory, n * PAGE, READ | WRITE)
    assert dma.unmap(PAGE, 2 * PAGE) == 2
    assert dma.write(0, b"x", "rx1") and dma.write(3 * PAGE, b"x", "rx1")
    assert not dma.write(PAGE, b"x", "rx1")


@pytest.mark.parametrize(
    ("address", "size", "offset"),
    [(0, 17 * PAGE, 0), (0, PAGE, 16 * PAGE), (PAGE, PAGE, 0), (0, 2 * PAGE, 0), (0, 0, 0)],
)
def test_senseless_mappings_are_refused(
    dma: DmaMap, memory: int, address: int, size: int, offset: int
) -> None:
    dma.map_fd(PAGE, PAGE, memory, 0, READ | WRITE)
    with pytest.raises(DmaError):
        dma.map_fd(address, size, memory, offset, READ | WRITE)


def test_a_mapping_that_reaches_beyond_the_unmapped_range_stays(dma: DmaMap, memory: int) -> None:
    dma.map_fd(0, PAGE, memory, 0, READ | WRITE)
    dma.map_fd(PAGE, 4 * PAGE, memory, 0, READ | WRITE)
    assert dma.unmap(0, 2 * PAGE) == 1
    assert dma.unmap(2 * PAGE, PAGE) == 0
    assert not dma.write(0, b"x", "rx1")
    assert dma.write(PAGE, b"x", "rx1")
