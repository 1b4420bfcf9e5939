# SPDX-License-Identifier: GPL-2.0-or-later
"""One router of a virtual machine: PCI function, host interface, router and DMA map in one.

This is the vfio-user `Device`; the layers below know nothing of each other's neighbours.
"""

from __future__ import annotations

import struct
from collections import Counter

from .dma import DmaError, DmaMap
from .loop import Loop
from .nhi import BAR_SIZE, VECTORS, Nhi
from .pci import CONFIG_SIZE, MSIX_BAR_SIZE, PciFunction
from .router import Router
from .trace import Trace
from .vfio_user import BAR0, CONFIG, MSIX_BAR
from .wire import Batch

WORD = struct.Struct("<I")


class HostRouter:
    """See `vfio_user.Device`."""

    def __init__(
        self,
        name: str,
        version: int,
        ports: int,
        lanes: int,
        rings: int,
        uid: int,
        loop: Loop,
        batch: Batch,
        trace: Trace,
    ) -> None:
        self.region_sizes = {BAR0: BAR_SIZE, MSIX_BAR: MSIX_BAR_SIZE, CONFIG: CONFIG_SIZE}
        self.vectors = VECTORS
        self.name = name
        self.batch = batch
        self.trace = trace
        self.pci = PciFunction()
        self.dma = DmaMap(name)
        self.dma.on_fault = trace.line
        self.router = Router(name, version, ports, lanes, rings, uid, loop, trace)
        self.nhi = Nhi(name, rings, version, self.dma, self.router, batch)
        self.nhi.on_vector = self.pci.raise_vector
        self.router.attach(self.nhi)
        self.router.on_wake = self.pci.signal_pme
        self.mmio = Counter({"reads": 0, "writes": 0})

    def connected(self) -> None:
        self.trace.line(f"{self.name} HOST connected")
        self.router.set_power(True)
        self.batch.run()

    def disconnected(self) -> None:
        """The VM has ended: loss of power."""
        self.trace.line(f"{self.name} HOST gone")
        self.router.set_power(False)
        self._reset_function()
        self.router.reset()
        self.pci.drop_vectors()
        self.dma.close()
        self.batch.run()

    def reset(self) -> None:
        """At the VM's start and at each reboot of the guest."""
        self.trace.line(f"{self.name} HOST reset")
        self._reset_function()
        self.router.reset()

    def _reset_function(self) -> None:
        self.pci.reset()
        self.nhi.reset()

    def write32(self, offset: int, value: int) -> None:
        self.mmio["writes"] += 1
        self.nhi.write(offset, value)

    def region_read(self, region: int, offset: int, count: int) -> bytes:
        if region == CONFIG:
            return self.pci.read(offset, count)
        if region != BAR0:
            return bytes(count)  # the MSI-X pending bits: never any
        self.mmio["reads"] += 1
        first = offset & ~3
        words = [self.nhi.read(at) for at in range(first, offset + count, 4)]
        return struct.pack(f"<{len(words)}I", *words)[offset - first :][:count]

    def region_write(self, region: int, offset: int, data: bytes) -> None:
        if region == CONFIG:
            was_asleep = self.pci.asleep
            self.pci.write(offset, data)
            if was_asleep != self.pci.asleep:
                self.trace.line(f"{self.name} HOST {'D3hot' if self.pci.asleep else 'D0'}")
            # An event may wait for PME to be enabled.
            self.router.events.check()
        elif region == BAR0 and offset % 4 == 0:
            for at in range(0, len(data) // 4 * 4, 4):
                self.write32(offset + at, WORD.unpack_from(data, at)[0])

    def dma_map(self, address: int, size: int, fd: int, offset: int, access: int) -> None:
        try:
            self.dma.map_fd(address, size, fd, offset, access)
        except DmaError as error:
            raise ValueError(str(error)) from error

    def dma_unmap(self, address: int, size: int, everything: bool) -> None:
        if everything:
            self.dma.unmap_all()
        else:
            self.dma.unmap(address, size)

    def set_vector(self, vector: int, fd: int) -> None:
        self.pci.set_vector(vector, fd)

    def batch_done(self) -> None:
        self.batch.run()
