# SPDX-License-Identifier: GPL-2.0-or-later
"""The host interface (NHI) of one router: registers, interrupts, rings, control packets.

BAR 0 of the PCI function.  Knows nothing of vfio-user (interrupts leave through `on_vector`) and
nothing of what control packets mean (they go to `on_control`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from .dma import DmaMap
from .rings import DataPort, RxRing, TxRing
from .wire import Batch

BAR_SIZE = 0x40000
VECTORS = 16
MIN_RINGS, MAX_RINGS = 2, 16

RX_RINGS = 0x08000
RINGS_END = 0x10000
TX_OPTIONS = 0x19800
RX_OPTIONS = 0x29800
OPTIONS_SPAN = 0x8000
INT_STATUS = 0x37800
INT_CLEAR = 0x37808
INT_MASK = 0x38200
INT_MASK_CLEAR = 0x38208
INT_VECTORS = 0x38C40
INT_VECTORS_END = 0x38C60
CAPS = 0x39640
DMA_MISC = 0x39864
DMA_MISC_NO_AUTO_CLEAR = 1 << 17
RESET = 0x39898
RESET_HRR = 1

CONTROL_QUEUE = 256
MASK32 = 0xFFFFFFFF


class Nhi:
    """Registers and rings.  Index of a ring in status and mask: TX n is n, RX n is count + n,
    RX overflow n is 2 * count + n.

    A status bit stays set until it is cleared.  A vector fires at a completion while the mask bit
    is set, and when the mask bit becomes set while the status bit is: without the latter, a
    completion between the driver's last look and its unmasking would be lost.
    """

    def __init__(
        self, name: str, rings: int, version: int, dma: DmaMap, port: DataPort, batch: Batch
    ) -> None:
        if not MIN_RINGS <= rings <= MAX_RINGS:
            raise ValueError(f"{rings} rings: must be {MIN_RINGS} to {MAX_RINGS}")
        self.name = name
        self.count = rings
        self.version = version
        self.dma = dma
        self.batch = batch
        self.port = port
        self.tx = [TxRing(self, n) for n in range(rings)]
        self.rx = [RxRing(self, n) for n in range(rings)]
        self.on_vector: Callable[[int], None] = lambda vector: None
        self.on_control: Callable[[bytes, int], None] = lambda frame, kind: None
        self.on_control_ready: Callable[[], None] = lambda: None
        self.on_reset: Callable[[], None] = lambda: None
        self.stats: Counter[str] = Counter()
        self.vector_counts = [0] * VECTORS
        self._control: deque[tuple[bytes, int]] = deque()
        self._pending: set[int] = set()
        self._regs: dict[int, int] = {}
        self.status = 0
        self.mask = 0

    # Registers

    def write(self, offset: int, value: int) -> None:
        """A 32-bit write by the driver; unknown registers are plain storage."""
        if offset < RINGS_END:
            rings = self.tx if offset < RX_RINGS else self.rx
            index = (offset & 0x7FFF) >> 4
            if index < self.count:
                rings[index].write(offset & 0xC, value)
        elif TX_OPTIONS <= offset < TX_OPTIONS + OPTIONS_SPAN:
            self._write_options(self.tx, offset - TX_OPTIONS, value)
        elif RX_OPTIONS <= offset < RX_OPTIONS + OPTIONS_SPAN:
            self._write_options(self.rx, offset - RX_OPTIONS, value)
        elif offset in (INT_CLEAR, INT_CLEAR + 4):
            self.status &= ~(value << (offset - INT_CLEAR) * 8)
        elif offset in (INT_MASK, INT_MASK + 4):
            shift = (offset - INT_MASK) * 8
            self._set_mask(self.mask & ~(MASK32 << shift) | value << shift)
        elif offset in (INT_MASK_CLEAR, INT_MASK_CLEAR + 4):
            self._set_mask(self.mask & ~(value << (offset - INT_MASK_CLEAR) * 8))
        elif offset == RESET:
            if value & RESET_HRR and self.version >= 2:
                self.reset()
                self.on_reset()
        else:
            self._regs[offset] = value

    def read(self, offset: int) -> int:
        if offset < RINGS_END:
            rings = self.tx if offset < RX_RINGS else self.rx
            index = (offset & 0x7FFF) >> 4
            return rings[index].read(offset & 0xC) if index < self.count else 0
        if TX_OPTIONS <= offset < TX_OPTIONS + OPTIONS_SPAN:
            return self._read_options(self.tx, offset - TX_OPTIONS)
        if RX_OPTIONS <= offset < RX_OPTIONS + OPTIONS_SPAN:
            return self._read_options(self.rx, offset - RX_OPTIONS)
        if offset in (INT_STATUS, INT_STATUS + 4):
            shift = (offset - INT_STATUS) * 8
            value = self.status >> shift & MASK32
            if not self._regs.get(DMA_MISC, 0) & DMA_MISC_NO_AUTO_CLEAR:
                self.status &= ~(value << shift)
            return value
        if offset in (INT_MASK, INT_MASK + 4):
            return self.mask >> (offset - INT_MASK) * 8 & MASK32
        if offset == CAPS:
            return self.count | (0x40 << 16 if self.version >= 2 else 0)
        if offset == RESET:
            return 0
        return self._regs.get(offset, 0)

    def reset(self) -> None:
        """Everything as after power-on; counters stay."""
        for ring in (*self.tx, *self.rx):
            ring.reset()
        self._control.clear()
        self._pending.clear()
        self._regs.clear()
        self.status = self.mask = 0

    def _write_options(self, rings: list[TxRing] | list[RxRing], offset: int, value: int) -> None:
        index, register = divmod(offset, 32)
        if index < self.count:
            rings[index].write_options(register, value)

    def _read_options(self, rings: list[TxRing] | list[RxRing], offset: int) -> int:
        index, register = divmod(offset, 32)
        return rings[index].read_options(register) if index < self.count else 0

    # Interrupts

    def completed(self, index: int) -> None:
        """Set the status bit `index`; interrupt the driver if the ring's mask bit is set.

        Also when the bit was set before: the driver's clearing write may be on its way to us
        while it has already looked at the ring, and then nothing would tell it of this one.
        """
        bit = 1 << index
        self.status |= bit
        if self.mask & bit:
            self._fire(index)

    def spurious(self, index: int) -> None:
        """The vector of status bit `index` fires once more, whatever mask and status say: it was
        under way when they changed."""
        self._fire(index)

    def overflow(self, ring: int) -> None:
        """A frame found no descriptor.  Status only: no vector belongs to these bits."""
        self.status |= 1 << (2 * self.count + ring)

    def _set_mask(self, mask: int) -> None:
        again = self.status & mask & ~self.mask
        self.mask = mask
        while again:
            low = again & -again
            self._fire(low.bit_length() - 1)
            again ^= low

    def _fire(self, index: int) -> None:
        if index >= 2 * self.count:
            return
        register = self._regs.get(INT_VECTORS + index // 8 * 4, 0)
        self._pending.add(register >> index % 8 * 4 & 0xF)
        self.batch.add_irq(self)

    def raise_pending(self) -> None:
        pending, self._pending = self._pending, set()
        for vector in sorted(pending):
            self.vector_counts[vector] += 1
            self.on_vector(vector)

    # Control packets (ring 0)

    def control_ready(self) -> bool:
        """The driver can take control packets now."""
        return self.rx[0].enabled

    def control_to_host(self, frame: bytes, kind: int) -> bool:
        """Queue a control packet for the driver; False when ring 0 is off or the queue full."""
        if not self.rx[0].enabled:
            self.stats["control_no_ring"] += 1
            return False
        if len(self._control) >= CONTROL_QUEUE:
            self.stats["control_overflow"] += 1
            return False
        self._control.append((frame, kind))
        self.deliver_control()
        return True

    def deliver_control(self) -> None:
        """Move queued control packets into ring 0 while it has descriptors."""
        ring = self.rx[0]
        while self._control and ring.has_room():
            frame, kind = self._control.popleft()
            ring.complete(frame, 0, kind, False, False)

    def drop_control(self) -> None:
        """Ring 0 was switched off: what is queued belongs to a driver that is gone."""
        self._control.clear()
