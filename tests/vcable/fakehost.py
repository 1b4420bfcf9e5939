# SPDX-License-Identifier: GPL-2.0-or-later
"""A host without QEMU: owns guest memory, writes descriptors, plays driver and connection manager.

For tests of the layers.  It reaches the emulator through a `Bus`: straight into a `HostRouter`
(`DirectBus`) or over the vfio-user socket (`vfio_client.SocketBus`).
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from . import confspace as cs
from . import nhi as regs
from .hostrouter import HostRouter
from .loop import Loop
from .packets import REPLY, Address, Error, Kind, Space, pack, unpack
from .rings import COMPLETED, CRC_ERROR, DESCRIPTOR, E2E, ENABLE, INTERRUPT, POSTED

PAGE = 4096
MEMORY_BASE = 0x100000
MEMORY_SIZE = 16 << 20
WAIT = 5.0


class Bus(Protocol):
    """How a driver reaches its device."""

    def attach(self, memory_fd: int, address: int, size: int) -> None:
        """Make guest memory known at `address`."""

    def unmap(self, address: int, size: int) -> None: ...
    def map(self, memory_fd: int, address: int, size: int, offset: int, access: int) -> None: ...
    def write32(self, offset: int, value: int) -> None: ...
    def read32(self, offset: int) -> int: ...
    def irqs(self) -> list[int]:
        """Vectors raised since the last call, each as often as it was raised."""


class DirectBus:
    """Calls the device's methods; each write is a batch of its own unless `batching`."""

    def __init__(self, device: HostRouter) -> None:
        self.device = device
        self.batching = False
        self._irqs: list[int] = []
        device.nhi.on_vector = self._irqs.append

    def attach(self, memory_fd: int, address: int, size: int) -> None:
        self.device.connected()
        self.map(memory_fd, address, size, 0, 3)

    def map(self, memory_fd: int, address: int, size: int, offset: int, access: int) -> None:
        self.device.dma_map(address, size, memory_fd, offset, access)

    def unmap(self, address: int, size: int) -> None:
        self.device.dma_unmap(address, size, False)

    def write32(self, offset: int, value: int) -> None:
        self.device.write32(offset, value)
        if not self.batching:
            self.device.batch_done()

    def read32(self, offset: int) -> int:
        return int.from_bytes(self.device.region_read(0, offset, 4), "little")

    def irqs(self) -> list[int]:
        found = list(self._irqs)
        self._irqs.clear()
        return found


@dataclass(frozen=True)
class Frame:
    """A received frame."""

    data: bytes
    sof: int
    eof: int
    crc_error: bool = False


class GuestMemory:
    """A memfd with a bump allocator; addresses are what descriptors carry."""

    def __init__(self, size: int = MEMORY_SIZE, base: int = MEMORY_BASE) -> None:
        self.fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        self.base, self.size = base, size
        self._next = 0

    def alloc(self, size: int, align: int = PAGE) -> int:
        self._next = -(-self._next // align) * align
        address = self.base + self._next
        self._next += size
        if self._next > self.size:
            raise MemoryError("guest memory is used up")
        return address

    def read(self, address: int, size: int) -> bytes:
        at = address - self.base
        return self.map[at : at + size]

    def write(self, address: int, data: bytes) -> None:
        at = address - self.base
        self.map[at : at + len(data)] = data

    def close(self) -> None:
        self.map.close()
        os.close(self.fd)


class FakeRing:
    """What both kinds of rings share: descriptors, start and stop."""

    def __init__(self, host: FakeHost, tx: bool, number: int, size: int) -> None:
        self.host, self.tx, self.number, self.size = host, tx, number, size
        self.index = number if tx else host.rings + number
        self.descriptors = host.memory.alloc(16 * size)
        self.buffers = [host.memory.alloc(PAGE) for _ in range(size)]
        self.head = self.tail = 0

    @property
    def _base(self) -> int:
        return (0 if self.tx else regs.RX_RINGS) + 16 * self.number

    @property
    def _options(self) -> int:
        return (regs.TX_OPTIONS if self.tx else regs.RX_OPTIONS) + 32 * self.number

    def start(self, e2e: bool = False, masks: int = 0xFFFF_FFFF) -> None:
        """Registers in the order the kernel writes them, then the interrupt."""
        bus = self.host.bus
        bus.write32(self._base, self.descriptors & 0xFFFFFFFF)
        bus.write32(self._base + 4, self.descriptors >> 32)
        bus.write32(self._base + 12, self.size)
        bus.write32(self._options + 4, 0 if self.tx else masks)
        bus.write32(self._options, ENABLE)
        if e2e:
            bus.write32(self._options, ENABLE | E2E)
        self.host.route_interrupt(self.index)
        self.unmask()

    def stop(self) -> None:
        bus = self.host.bus
        self.mask()
        bus.write32(self._options, 0)
        for register in (0, 4, 8, 12):
            bus.write32(self._base + register, 0)
        self.head = self.tail = 0

    def mask(self) -> None:
        self.host.bus.write32(regs.INT_MASK_CLEAR, 1 << self.index)

    def unmask(self) -> None:
        old = self.host.bus.read32(regs.INT_MASK)
        self.host.bus.write32(regs.INT_MASK, old | 1 << self.index)

    def clear(self) -> None:
        self.host.bus.write32(regs.INT_CLEAR, 1 << self.index)

    def descriptor(self, index: int) -> tuple[int, int]:
        address, word, _ = DESCRIPTOR.unpack(
            self.host.memory.read(self.descriptors + 16 * index, 16)
        )
        return address, word

    def write_descriptor(self, index: int, address: int, word: int) -> None:
        self.host.memory.write(self.descriptors + 16 * index, DESCRIPTOR.pack(address, word, 0))

    def space(self) -> int:
        return (self.tail - self.head - 1) % self.size


class FakeTxRing(FakeRing):
    """Sends; `completed()` takes back descriptors in order."""

    def queue(self, data: bytes, sof: int, eof: int, doorbell: bool = True) -> None:
        if not self.space():
            raise BufferError("TX ring full")
        self.host.memory.write(self.buffers[self.head], data)
        word = len(data) & 0xFFF | eof << 12 | sof << 16 | POSTED | INTERRUPT
        self.write_descriptor(self.head, self.buffers[self.head], word)
        self.head = (self.head + 1) % self.size
        if doorbell:
            self.ring()

    def ring(self) -> None:
        self.host.bus.write32(self._base + 8, self.head << 16)

    def completed(self) -> int:
        """How many further descriptors are complete, in order."""
        count = 0
        while self.tail != self.head and self.descriptor(self.tail)[1] & COMPLETED:
            self.tail = (self.tail + 1) % self.size
            count += 1
        return count


class FakeRxRing(FakeRing):
    """Receives; keeps all descriptors posted unless told not to."""

    def post(self, count: int | None = None) -> None:
        for _ in range(self.space() if count is None else count):
            self.write_descriptor(self.head, self.buffers[self.head], POSTED | INTERRUPT)
            self.head = (self.head + 1) % self.size
            self.host.bus.write32(self._base + 8, self.head)

    def poll(self, repost: bool = True) -> list[Frame]:
        """Frames that have arrived since the last call."""
        found = []
        while self.tail != self.head:
            address, word = self.descriptor(self.tail)
            if not word & COMPLETED:
                break
            data = self.host.memory.read(address, word & 0xFFF or 4096)
            found.append(Frame(data, word >> 16 & 15, word >> 12 & 15, bool(word & CRC_ERROR)))
            self.tail = (self.tail + 1) % self.size
        if repost and found:
            self.post(len(found))
        return found


class FakeHost:
    """Driver and connection manager of one router."""

    def __init__(self, bus: Bus, loop: Loop, rings: int = 12) -> None:
        self.bus, self.loop, self.rings = bus, loop, rings
        self.memory = GuestMemory()
        bus.attach(self.memory.fd, self.memory.base, self.memory.size)
        self.control_tx = FakeTxRing(self, True, 0, 64)
        self.control_rx = FakeRxRing(self, False, 0, 64)
        self.events: list[tuple[int, bool]] = []
        self.xdomain: deque[tuple[int, list[int]]] = deque()
        self.acknowledge = True
        self._answers: deque[tuple[int, list[int]]] = deque()
        self._vectors = 0
        self.vector_of: dict[int, int] = {}
        bus.write32(regs.DMA_MISC, regs.DMA_MISC_NO_AUTO_CLEAR)

    def close(self) -> None:
        self.memory.close()

    # Life of a driver

    def start(self, reset_ports: bool = True) -> None:
        """Ring 0, router taken over, hot plug events on, ports reset as a v1 kernel does."""
        self.start_control()
        header = self.read(Space.SWITCH, 0, 0, 5)
        self.upstream = header[1] >> 8 & 0x3F
        self.write(Space.SWITCH, 0, cs.CS_VALID, [cs.VALID])
        for port in range(1, self.upstream, 2):
            value = self.read(Space.PORT, port, cs.ADAPTER_HOPS, 1)[0]
            self.write(Space.PORT, port, cs.ADAPTER_HOPS, [value & ~cs.HOTPLUG_DISABLED])
            if reset_ports:
                self.write(Space.PORT, port, cs.PORT_CONTROL, [cs.PORT_RESET])
                self.write(Space.PORT, port, cs.PORT_CONTROL, [0])

    def start_control(self) -> None:
        """Ring 0 only."""
        self.control_tx.start()
        self.control_rx.start()
        self.control_rx.post()

    def stop(self) -> None:
        self.control_tx.stop()
        self.control_rx.stop()

    def route_interrupt(self, index: int) -> None:
        """Give a ring a vector of its own."""
        if index not in self.vector_of:
            self.vector_of[index] = self._vectors
            self._vectors += 1
        register = regs.INT_VECTORS + index // 8 * 4
        old = self.bus.read32(register)
        shift = index % 8 * 4
        self.bus.write32(register, old & ~(0xF << shift) | self.vector_of[index] << shift)

    # Control packets

    def pump(self) -> None:
        """Take what ring 0 has received: answers, events (acknowledged), XDomain packets."""
        self.control_rx.clear()
        for frame in self.control_rx.poll():
            words, kind = unpack(frame.data), frame.eof
            if kind == Kind.EVENT:
                port = words[2] & 0x3F
                self.events.append((port, bool(words[2] & REPLY)))
                if self.acknowledge:
                    ack = [0, 0, Error.ACK_PLUG_EVENT | port << 8]
                    self.control_tx.queue(pack(ack), Kind.ERROR, Kind.ERROR)
            elif kind in (Kind.XDOMAIN_REQUEST, Kind.XDOMAIN_RESPONSE):
                self.xdomain.append((kind, words))
            else:
                self._answers.append((kind, words))
        self.control_tx.completed()

    def send_control(self, kind: int, words: list[int]) -> None:
        self.control_tx.queue(pack(words), kind, kind)

    def request(self, kind: int, words: list[int]) -> tuple[int, list[int]]:
        """Send and wait for the answer: its type and words."""
        self.pump()
        self._answers.clear()
        self.send_control(kind, words)
        self.wait(lambda: bool(self._answers), "an answer")
        return self._answers.popleft()

    def read(self, space: int, port: int, offset: int, length: int) -> list[int]:
        address = Address(offset, length, port, space, 0)
        kind, words = self.request(Kind.READ, [0, 0, address.encode()])
        if kind != Kind.READ:
            raise OSError(f"read failed: {words}")
        return words[3:]

    def write(self, space: int, port: int, offset: int, values: list[int]) -> None:
        address = Address(offset, len(values), port, space, 0)
        kind, words = self.request(Kind.WRITE, [0, 0, address.encode(), *values])
        if kind != Kind.WRITE:
            raise OSError(f"write failed: {words}")

    # Data

    def enable_path(self, adapter: int, hop: int, tx_ring: int, rx_ring: int) -> None:
        """Both directions through the lane adapter `adapter` with link HopID `hop`."""
        self.write(Space.HOPS, adapter, 2 * hop, [cs.HOP_ENABLE | self.upstream << 11 | rx_ring, 0])
        self.write(Space.HOPS, self.upstream, 2 * tx_ring, [cs.HOP_ENABLE | adapter << 11 | hop, 0])

    def disable_path(self, adapter: int, hop: int, tx_ring: int) -> None:
        self.write(Space.HOPS, adapter, 2 * hop, [0, 0])
        self.write(Space.HOPS, self.upstream, 2 * tx_ring, [0, 0])

    def data_rings(
        self, number: int, size: int = 64, e2e: bool = False, masks: int = 0xFFFF_FFFF
    ) -> tuple[FakeTxRing, FakeRxRing]:
        """A started TX and RX ring with all RX descriptors posted."""
        tx = FakeTxRing(self, True, number, size)
        rx = FakeRxRing(self, False, number, size)
        tx.start(e2e)
        rx.start(e2e, masks)
        rx.post()
        return tx, rx

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Run the emulator's loop until the condition holds; TimeoutError otherwise."""

        def check() -> bool:
            # The emulator may be another process, whose doings do not wake our loop.
            self.loop.call_later(0.005, lambda: None)
            self.pump()
            return condition()

        if not self.loop.run_until(check, WAIT):
            raise TimeoutError(what)
