# SPDX-License-Identifier: GPL-2.0-or-later
"""TX and RX rings: descriptors in guest memory, doorbells, completions.

Ring 0 carries control packets, the others data frames.  TX data frames go to the `DataPort`,
which says where they end; RX rings are where they end (`Sink`).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .nhi import Nhi
    from .wire import Work

DESCRIPTOR = struct.Struct("<QII")
WORD = struct.Struct("<I")
DESCRIPTOR_SIZE = 16

ENABLE = 1 << 31
RAW = 1 << 30
E2E = 1 << 28

# Bits of the descriptor's second word: length 0-11, eof 12-15, sof 16-19, flags 20-31.
CRC_ERROR = 1 << 20
COMPLETED = 1 << 21
POSTED = 1 << 22
INTERRUPT = 1 << 23
FRAME_MAX = 4096


class Sink(Protocol):
    """Where frames of one HopID end: an RX ring, or a scripted peer."""

    name: str
    e2e: bool
    waiters: dict[Work, None]

    def has_room(self) -> bool: ...

    def receive(
        self, data: memoryview | bytes, sof: int, eof: int, crc_error: bool, quiet: bool
    ) -> str:
        """Take a frame; "ok" or the reason why it was lost.  `quiet`: raise no interrupt."""

    def interrupt(self) -> None:
        """Raise an interrupt for which there is no reason."""


class Outlet(Protocol):
    """What a TX ring sends into: one direction of a cable, at one HopID."""

    def ready(self, waiter: Work, e2e: bool) -> bool:
        """False when the frame has to wait; `waiter` is then processed again later."""

    def send(self, ring: TxRing, data: memoryview | bytes, sof: int, eof: int) -> bool:
        """Take a frame (lost or not); False: its completion is to be held back."""


class DataPort(Protocol):
    """The router behind the NHI, as the rings see it."""

    def outlet(self, ring: int) -> Outlet | None:
        """Where frames of TX ring `ring` go now; None when no path is enabled."""


class Ring:
    """What TX and RX rings share: registers, counters, descriptor addresses."""

    kind = ""

    def __init__(self, nhi: Nhi, number: int) -> None:
        self.nhi = nhi
        self.number = number
        self.name = f"{self.kind}{number}"
        self.frames = self.bytes = self.dropped = 0
        self.reset()

    def reset(self) -> None:
        self.base = self.size = self.options = self.option4 = 0
        self.enabled = self.e2e = False
        self.producer = self.consumer = 0

    def _base(self, register: int, value: int) -> None:
        if register == 0:
            self.base = self.base & ~0xFFFFFFFF | value
        elif register == 4:
            self.base = self.base & 0xFFFFFFFF | value << 32

    def read(self, register: int) -> int:
        """Index register: low half consumer, high half producer."""
        return (
            self.base & 0xFFFFFFFF,
            self.base >> 32,
            self.producer << 16 | self.consumer,
            self.size,
        )[register // 4]

    def read_options(self, register: int) -> int:
        return {0: self.options, 4: self.option4}.get(register, 0)

    def _descriptor(self, index: int) -> tuple[memoryview, int] | None:
        """Where descriptor `index` is; None after a counted fault."""
        dma = self.nhi.dma
        address = self.base + index * DESCRIPTOR_SIZE
        hit = dma.locate(address, DESCRIPTOR_SIZE, True)
        if hit is None:
            # Counts the fault; a descriptor in two pieces cannot be (they are aligned).
            dma.write(address, bytes(DESCRIPTOR_SIZE), f"{self.name}.desc")
        return hit


class TxRing(Ring):
    """Driver to router.  `consumer` is ours, `producer` the driver's."""

    kind = "tx"

    def reset(self) -> None:
        super().reset()
        self._outlet: Outlet | None = None
        self._held: list[int] = []

    def write(self, register: int, value: int) -> None:
        if register == 8:
            self.producer = value >> 16
            if self.enabled:
                self.nhi.batch.add(self)
        elif register == 12:
            self.size = value & 0xFFFF
        else:
            self._base(register, value)

    def write_options(self, register: int, value: int) -> None:
        if register == 4:
            self.option4 = value
        if register != 0:
            return
        if self.enabled and not value & ENABLE:
            # The doorbell before this write may be in the same batch: it counts.
            self.process()
            self.enabled = False
            self.producer = self.consumer = 0
            self._held.clear()
        self.options = value
        self.enabled = bool(value & ENABLE)
        self.e2e = bool(value & E2E)
        self._outlet = None

    def forget_path(self) -> None:
        """Paths or links have changed: look the way up again, and try again if we waited."""
        self._outlet = None
        if self.enabled and self.producer != self.consumer:
            self.nhi.batch.add(self)

    def process(self) -> None:
        """Send all posted frames, or as many as there is room for at the far end."""
        nhi, size = self.nhi, self.size
        if not self.enabled or not size:
            return
        if self.producer >= size:
            nhi.stats["bad_doorbell"] += 1
            return
        done = False
        while self.consumer != self.producer:
            place = self._descriptor(self.consumer)
            if place is None:
                break
            memory, at = place
            address, word, _time = DESCRIPTOR.unpack_from(memory, at)
            length = word & 0xFFF or FRAME_MAX
            if self.number == 0:
                data = nhi.dma.read(address, length, self.name)
                if data is not None:
                    self._count(length)
                    nhi.on_control(bytes(data), word >> 12 & 0xF)
                held = False
            else:
                outlet = self._outlet
                if outlet is None:
                    outlet = self._outlet = nhi.port.outlet(self.number)
                if outlet is not None and not outlet.ready(self, self.e2e):
                    break
                data = nhi.dma.read(address, length, self.name)
                if data is None or outlet is None:
                    self.dropped += 1
                    held = False
                else:
                    self._count(length)
                    held = not outlet.send(self, data, word >> 16 & 0xF, word >> 12 & 0xF)
            index = self.consumer
            self.consumer = (index + 1) % size
            if held:
                self._held.append(index)
                continue
            if self._held:
                self._complete_held()
            WORD.pack_into(memory, at + 8, word | COMPLETED)
            done = done or bool(word & INTERRUPT)
        if done:
            nhi.completed(self.number)

    def _count(self, length: int) -> None:
        self.frames += 1
        self.bytes += length

    def _complete_held(self) -> None:
        for index in self._held:
            place = self._descriptor(index)
            if place is not None:
                memory, at = place
                (word,) = WORD.unpack_from(memory, at + 8)
                WORD.pack_into(memory, at + 8, word | COMPLETED)
        self._held.clear()


class RxRing(Ring):
    """Router to driver.  `producer` is ours, `consumer` the driver's: its first descriptor that
    is not posted."""

    kind = "rx"

    def __init__(self, nhi: Nhi, number: int) -> None:
        self.waiters: dict[Work, None] = {}
        self.crc_errors = 0
        super().__init__(nhi, number)

    def reset(self) -> None:
        super().reset()
        self.frame_size = 0
        self._wake()

    def write(self, register: int, value: int) -> None:
        if register == 8:
            self.consumer = value & 0xFFFF
            if self.number == 0:
                self.nhi.deliver_control()
            elif self.waiters:
                self._wake()
        elif register == 12:
            self.size = value & 0xFFFF
            self.frame_size = value >> 16 & 0xFFF
        else:
            self._base(register, value)

    def write_options(self, register: int, value: int) -> None:
        if register == 4:
            self.option4 = value
        if register != 0:
            return
        was, self.enabled = self.enabled, bool(value & ENABLE)
        self.options = value
        self.e2e = bool(value & E2E)
        if was == self.enabled:
            return
        if not self.enabled:
            self.producer = self.consumer = 0
        if self.number == 0:
            if self.enabled:
                self.nhi.on_control_ready()
            else:
                self.nhi.drop_control()
        self._wake()

    def has_room(self) -> bool:
        return self.enabled and self.producer != self.consumer and self.consumer < self.size

    def receive(
        self, data: memoryview | bytes, sof: int, eof: int, crc_error: bool, quiet: bool
    ) -> str:
        """Take a data frame; see `Sink`."""
        if not self.enabled:
            self.dropped += 1
            return "ring-off"
        if self.option4 and not self.options & RAW:
            if not (self.option4 >> 16 >> sof & 1 and self.option4 >> eof & 1):
                self.dropped += 1
                self.nhi.stats["pdf_not_in_mask"] += 1
                return "pdf-not-in-mask"
        if not self.has_room():
            self.dropped += 1
            self.nhi.overflow(self.number)
            return "no-descriptor"
        return self.complete(data, sof, eof, crc_error, quiet)

    def complete(
        self, data: memoryview | bytes, sof: int, eof: int, crc_error: bool, quiet: bool
    ) -> str:
        """Fill the next descriptor; there must be room.

        When the buffer is not mapped, the descriptor is completed with the CRC error flag, so
        that the driver does not take what the buffer held before for a frame.
        """
        place = self._descriptor(self.producer)
        if place is None:
            self.dropped += 1
            return "fault"
        memory, at = place
        address, old, _time = DESCRIPTOR.unpack_from(memory, at)
        length = len(data)
        written = self.nhi.dma.write(address, data, self.name)
        word = (length & 0xFFF) | eof << 12 | sof << 16 | COMPLETED | old & INTERRUPT
        if crc_error or not written:
            word |= CRC_ERROR
            self.crc_errors += 1
        WORD.pack_into(memory, at + 8, word)
        self.producer = (self.producer + 1) % self.size
        if written:
            self.frames += 1
            self.bytes += length
        else:
            self.dropped += 1
        if old & INTERRUPT and not quiet:
            self.nhi.completed(self.nhi.count + self.number)
        return "ok" if written else "fault"

    def interrupt(self) -> None:
        """See `Sink`."""
        if self.enabled:
            self.nhi.spurious(self.nhi.count + self.number)

    def _wake(self) -> None:
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            self.nhi.batch.add(waiter)
