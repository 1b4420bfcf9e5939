# SPDX-License-Identifier: GPL-2.0-or-later
"""The DMA view of one host: which bus addresses the guest has mapped, and where they are.

Every access is checked.  What is not mapped (or mapped read-only and written) is a fault: the
access fails, the fault is counted under the name of the ring that made it, nothing is raised.
"""

from __future__ import annotations

import bisect
import logging
import mmap
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("vcable.dma")

PAGE = 4096
READ, WRITE = 1, 2
FAULTS_LOGGED = 20


@dataclass(frozen=True)
class Mapping:
    """`size` bytes at bus address `address` are `memory[offset:]`; `access` is READ | WRITE."""

    address: int
    size: int
    memory: memoryview
    offset: int
    access: int


class DmaError(Exception):
    """A mapping request that makes no sense (overlap, beyond the file, unknown range)."""


class DmaMap:
    """Bus address to guest memory.  Guest memory files are mmapped once each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults: Counter[str] = Counter()
        self.fault_count = 0
        self.on_fault: Callable[[str], None] | None = None
        self._starts: list[int] = []
        self._maps: dict[int, Mapping] = {}
        self._files: dict[tuple[int, int], memoryview] = {}
        self._pages: dict[int, tuple[memoryview, int, int]] = {}

    def __len__(self) -> int:
        return len(self._maps)

    def map_fd(self, address: int, size: int, fd: int, offset: int, access: int) -> None:
        """Map `size` bytes of the file behind `fd`; the descriptor may be closed afterwards."""
        stat = os.fstat(fd)
        key = (stat.st_dev, stat.st_ino)
        memory = self._files.get(key)
        if memory is None:
            if stat.st_size == 0:
                raise DmaError("an empty file cannot be mapped")
            memory = memoryview(mmap.mmap(fd, stat.st_size))
            self._files[key] = memory
        if size <= 0 or offset + size > len(memory):
            raise DmaError(f"{size:#x} bytes at {offset:#x} are beyond the file's end")
        index = bisect.bisect_right(self._starts, address)
        if index and self._end(index - 1) > address:
            raise DmaError(f"{address:#x} is mapped already")
        if index < len(self._starts) and self._starts[index] < address + size:
            raise DmaError(f"{address:#x}+{size:#x} overlaps a mapping")
        self._starts.insert(index, address)
        self._maps[address] = Mapping(address, size, memory, offset, access)

    def unmap(self, address: int, size: int) -> int:
        """Remove the mappings inside the range; returns how many there were."""
        first = bisect.bisect_left(self._starts, address)
        last = bisect.bisect_left(self._starts, address + size)
        # Only the last one of the range can reach beyond it.
        if last > first and self._end(last - 1) > address + size:
            last -= 1
        gone = self._starts[first:last]
        del self._starts[first:last]
        for start in gone:
            self._forget(self._maps.pop(start))
        return len(gone)

    def unmap_all(self) -> None:
        self._starts.clear()
        self._maps.clear()
        self._pages.clear()

    def close(self) -> None:
        """Drop everything, guest memory included: the guest is gone."""
        self.unmap_all()
        self._files.clear()

    def locate(self, address: int, size: int, write: bool) -> tuple[memoryview, int] | None:
        """(memory, offset) when the range lies in one piece of memory; None otherwise.

        None is no fault yet: the range may consist of several pieces.
        """
        page, inside = divmod(address, PAGE)
        hit = self._pages.get(page)
        if hit is None:
            hit = self._lookup(page)
            if hit is None:
                return self._locate_odd(address, size, write)
        if write and not hit[2] & WRITE:
            return None
        if inside + size <= PAGE:
            return hit[0], hit[1] + inside
        return self._locate_odd(address, size, write)

    def read(self, address: int, size: int, who: str) -> memoryview | None:
        """The bytes at `address` as a view of guest memory (or a copy); None after a fault."""
        hit = self.locate(address, size, False)
        if hit is not None:
            return hit[0][hit[1] : hit[1] + size]
        pieces = self._pieces(address, size, False)
        if pieces is None:
            self._fault(who, "read", address, size)
            return None
        return memoryview(b"".join(bytes(memory[at : at + n]) for memory, at, n in pieces))

    def write(self, address: int, data: memoryview | bytes, who: str) -> bool:
        """Write all of `data`, or nothing and count a fault."""
        size = len(data)
        hit = self.locate(address, size, True)
        if hit is not None:
            hit[0][hit[1] : hit[1] + size] = data
            return True
        pieces = self._pieces(address, size, True)
        if pieces is None:
            self._fault(who, "write", address, size)
            return False
        done = 0
        for memory, at, n in pieces:
            memory[at : at + n] = data[done : done + n]
            done += n
        return True

    # Inside

    def _end(self, index: int) -> int:
        return self._end_of(self._starts[index])

    def _end_of(self, start: int) -> int:
        return start + self._maps[start].size

    def _forget(self, mapping: Mapping) -> None:
        pages = range(mapping.address // PAGE, (mapping.address + mapping.size - 1) // PAGE + 1)
        if len(pages) > len(self._pages):
            self._pages.clear()
        else:
            for page in pages:
                self._pages.pop(page, None)

    def _find(self, address: int) -> Mapping | None:
        index = bisect.bisect_right(self._starts, address)
        if not index:
            return None
        mapping = self._maps[self._starts[index - 1]]
        return mapping if address < mapping.address + mapping.size else None

    def _lookup(self, page: int) -> tuple[memoryview, int, int] | None:
        """Fill the page cache; only pages which one mapping covers whole are cached."""
        address = page * PAGE
        mapping = self._find(address)
        if mapping is None or address + PAGE > mapping.address + mapping.size:
            return None
        at = mapping.offset + address - mapping.address
        hit = (mapping.memory, at, mapping.access)
        self._pages[page] = hit
        return hit

    def _locate_odd(self, address: int, size: int, write: bool) -> tuple[memoryview, int] | None:
        pieces = self._pieces(address, size, write)
        return (pieces[0][0], pieces[0][1]) if pieces and len(pieces) == 1 else None

    def _pieces(
        self, address: int, size: int, write: bool
    ) -> list[tuple[memoryview, int, int]] | None:
        pieces: list[tuple[memoryview, int, int]] = []
        while size > 0:
            mapping = self._find(address)
            if mapping is None or (write and not mapping.access & WRITE):
                return None
            at = mapping.offset + address - mapping.address
            n = min(size, mapping.address + mapping.size - address)
            if pieces and pieces[-1][0] is mapping.memory and sum(pieces[-1][1:]) == at:
                pieces[-1] = (mapping.memory, pieces[-1][1], pieces[-1][2] + n)
            else:
                pieces.append((mapping.memory, at, n))
            address += n
            size -= n
        return pieces

    def _fault(self, who: str, what: str, address: int, size: int) -> None:
        self.faults[who] += 1
        self.fault_count += 1
        text = f"DMA fault: {self.name} {who} {what} address={address:#x} size={size}"
        if self.fault_count <= FAULTS_LOGGED:
            log.warning("%s", text)
        if self.on_fault is not None:
            self.on_fault(text)
