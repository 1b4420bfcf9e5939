# SPDX-License-Identifier: GPL-2.0-or-later
"""The PCI function of a host interface: configuration space, power management with PME, MSI-X.

QEMU keeps the MSI-X table; what reaches us is the event descriptor of each vector.
"""

from __future__ import annotations

import os
import struct

from .nhi import BAR_SIZE, VECTORS

VENDOR, DEVICE = 0x1234, 0x0B40
CLASS_USB4 = 0x0C0340
CONFIG_SIZE = 256
MSIX_BAR_SIZE = 0x1000
PM_CAP, MSIX_CAP = 0x40, 0x50
PMCSR = PM_CAP + 4
POWER_STATE = 3
NO_SOFT_RESET = 1 << 3
PME_ENABLE = 1 << 8
PME_STATUS = 1 << 15
PME_FROM_D0_AND_D3HOT = 1 << 11 | 1 << 14
# Bits that a driver may write, by offset; the rest reads as initialised.
WRITABLE = {
    0x04: 0x0000_0547,
    0x0C: 0x0000_00FF,
    0x10: 0xFFFF_FFFF & ~(BAR_SIZE - 1),
    0x18: 0xFFFF_FFFF & ~(MSIX_BAR_SIZE - 1),
    0x3C: 0x0000_00FF,
    MSIX_CAP: 0xC000_0000,
}


class PciFunction:
    """Configuration space as bytes, and the event descriptors of the vectors."""

    def __init__(self) -> None:
        self.vectors: list[int] = [-1] * VECTORS
        self.lost_vectors = 0
        self.reset()

    def reset(self) -> None:
        """As after power-on; vectors are the client's and stay."""
        config = bytearray(CONFIG_SIZE)
        struct.pack_into("<HHHH", config, 0x00, VENDOR, DEVICE, 0, 0x0010)
        struct.pack_into("<I", config, 0x08, CLASS_USB4 << 8 | 1)
        struct.pack_into("<HH", config, 0x2C, VENDOR, DEVICE)
        config[0x34] = PM_CAP
        struct.pack_into("<BBHH", config, PM_CAP, 1, MSIX_CAP, 3 | PME_FROM_D0_AND_D3HOT, 0)
        struct.pack_into("<H", config, PMCSR, NO_SOFT_RESET)
        struct.pack_into("<BBH", config, MSIX_CAP, 0x11, 0, VECTORS - 1)
        struct.pack_into("<II", config, MSIX_CAP + 4, 2, 0x800 | 2)
        self.config = config

    def read(self, offset: int, count: int) -> bytes:
        data = bytes(self.config[offset : offset + count])
        return data + bytes(count - len(data))

    def write(self, offset: int, data: bytes) -> None:
        for at, byte in enumerate(data, offset):
            if at < CONFIG_SIZE:
                self._write_byte(at, byte)

    def _write_byte(self, at: int, byte: int) -> None:
        if at == PMCSR:
            self.config[at] = self.config[at] & ~POWER_STATE | byte & POWER_STATE
        elif at == PMCSR + 1:
            kept = self.config[at] & ~(PME_ENABLE >> 8)
            if byte & PME_STATUS >> 8:
                kept &= ~(PME_STATUS >> 8)
            self.config[at] = kept | byte & PME_ENABLE >> 8
        else:
            mask = WRITABLE.get(at & ~3, 0) >> 8 * (at & 3) & 0xFF
            self.config[at] = self.config[at] & ~mask | byte & mask

    @property
    def asleep(self) -> bool:
        return self.config[PMCSR] & POWER_STATE != 0

    def signal_pme(self) -> None:
        """Ask to be woken; shows only when the driver has enabled it.  The kernel polls."""
        if self.config[PMCSR + 1] & PME_ENABLE >> 8:
            self.config[PMCSR + 1] |= PME_STATUS >> 8

    def set_vector(self, vector: int, fd: int) -> None:
        """Take over the event descriptor `fd` of a vector (-1: switch it off)."""
        if self.vectors[vector] >= 0:
            os.close(self.vectors[vector])
        self.vectors[vector] = fd

    def drop_vectors(self) -> None:
        for vector in range(VECTORS):
            self.set_vector(vector, -1)

    def raise_vector(self, vector: int) -> None:
        fd = self.vectors[vector]
        if fd < 0:
            self.lost_vectors += 1
            return
        try:
            os.eventfd_write(fd, 1)
        except BlockingIOError:
            pass  # the counter is full, so the other side has plenty to see already
