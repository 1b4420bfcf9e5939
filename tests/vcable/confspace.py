# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration spaces of a host router and its adapters: contents and register rules.

Only storage and what a single space can decide by itself.  What a write means for links, paths
and events is the router's business: it looks at what was written.
"""

from __future__ import annotations

from dataclasses import dataclass

VENDOR, DEVICE = 0x1234, 0x0B40

# Router space
ROUTER_CAPABILITY = 0x40
ROUTER_SIZE = 0x60
CS_VALID = 3
CS_SLEEP = 5
CS_STATUS = 6
CS_UID = 7
CS_DATA = 9
CS_METADATA = 25
CS_OPERATION = 26
VALID = 1 << 31
OPERATION_PENDING = 1 << 31
OPERATION_UNSUPPORTED = 1 << 30
ROUTER_READY = 1 << 24 | 1 << 25
TMU_UNIDIRECTIONAL = 1 << 30

# Adapter space, words from the start or from the capability
ADAPTER_BUFFERS = 4
ADAPTER_LOCK = 1 << 31
ADAPTER_HOPS = 5
HOTPLUG_DISABLED = 1 << 31
TYPE_LANE, TYPE_NHI = 1, 2
LANE_CAP, USB4_CAP, TMU_CAP = 0x10, 0x20, 0x40
ADAPTER_SIZE = 0x50
LANE_STATUS = LANE_CAP + 1
SIDEBAND = USB4_CAP + 1
SIDEBAND_PENDING = 1 << 31
SIDEBAND_NO_RESPONSE = 1 << 25
PORT_CONTROL = USB4_CAP + 19
PORT_RESET = 1

LANE_DISABLE = 1 << 14
LANE_BOND = 1 << 15
TARGET_WIDTH_SHIFT = 4
TARGET_SINGLE, TARGET_DUAL = 1, 3
LANE_WIDTH_MASK = 0x3F << 20
LANE_WRITABLE = 0xFFFF
STATE_DISABLED, STATE_TRAINING, STATE_UP, STATE_UNPLUGGED = 0, 1, 2, 7
SPEED_GEN2, SPEED_GEN3, SPEED_GEN4 = 8, 4, 2

LANE_MAX_HOP = 31
CONTROL_CREDITS = 2
TOTAL_BUFFERS = 120

HOP_ENABLE = 1 << 31


@dataclass
class Adapter:
    """One adapter: its register words and its path entries (two words for each HopID)."""

    number: int
    type: int
    words: list[int]
    hops: list[list[int]]
    lane: int = -1

    @property
    def hotplug_enabled(self) -> bool:
        return not self.words[ADAPTER_HOPS] & HOTPLUG_DISABLED

    @property
    def disabled(self) -> bool:
        return bool(self.words[LANE_STATUS] & LANE_DISABLE)

    @property
    def target_width(self) -> int:
        return self.words[LANE_STATUS] >> TARGET_WIDTH_SHIFT & 3

    def set_lane(self, state: int, width: int, speed: int, lanes: int) -> None:
        """What the lane's current state, width (1 or 2) and speed read as.

        The supported width follows `lanes` of the link: a stock kernel whose own port could do
        two lanes goes on asking a single-lane peer to bond, and never gets to its properties.
        """
        if self.disabled and state != STATE_UNPLUGGED:
            state = STATE_DISABLED
        kept = self.words[LANE_STATUS] & LANE_WRITABLE
        self.words[LANE_CAP] &= ~LANE_WIDTH_MASK
        self.words[LANE_CAP] |= (3 if lanes == 2 else 1) << 20
        self.words[LANE_STATUS] = kept | state << 26 | width << 20 | speed << 16

    def path(self, hop: int) -> tuple[int, int] | None:
        """(adapter the path leaves by, HopID there) when entry `hop` is enabled."""
        if not 0 < hop < len(self.hops):
            return None
        word = self.hops[hop][0]
        return (word >> 11 & 0x3F, word & 0x7FF) if word & HOP_ENABLE else None


def make_router(version: int, max_adapter: int, uid: int) -> list[int]:
    """The router's own space; the NHI adapter, the highest one, is its upstream adapter."""
    words = [0] * ROUTER_SIZE
    words[0] = VENDOR | DEVICE << 16
    words[1] = ROUTER_CAPABILITY | max_adapter << 8 | max_adapter << 14
    words[4] = (0x40 if version >= 2 else 0x20) << 24
    words[CS_STATUS] = ROUTER_READY
    words[CS_UID] = uid & 0xFFFFFFFF
    words[CS_UID + 1] = uid >> 32
    words[ROUTER_CAPABILITY] = 3 << 8 | TMU_UNIDIRECTIONAL
    return words


def make_lane(number: int, lane: int, lanes: int, version: int) -> Adapter:
    """Lane adapter; `lane` 0 or 1 of its port, `lanes` how many the port can use."""
    words = [0] * ADAPTER_SIZE
    words[0] = VENDOR | DEVICE << 16
    words[1] = LANE_CAP
    words[2] = TYPE_LANE
    words[3] = number << 20
    words[ADAPTER_BUFFERS] = TOTAL_BUFFERS << 20
    words[ADAPTER_HOPS] = LANE_MAX_HOP | LANE_MAX_HOP << 11 | HOTPLUG_DISABLED
    speeds = SPEED_GEN2 | SPEED_GEN3 | (SPEED_GEN4 if version >= 2 else 0)
    after = TMU_CAP if lane else USB4_CAP
    words[LANE_CAP] = after | 1 << 8 | speeds << 16
    words[LANE_STATUS] = 0xC | TARGET_SINGLE << TARGET_WIDTH_SHIFT
    if lane == 0:
        words[USB4_CAP] = TMU_CAP | 6 << 8
    words[TMU_CAP] = 3 << 8
    hops = [[0, 0] for _ in range(LANE_MAX_HOP + 1)]
    hops[0][0] = CONTROL_CREDITS << 17
    adapter = Adapter(number, TYPE_LANE, words, hops, lane)
    adapter.set_lane(STATE_UNPLUGGED, 1, SPEED_GEN3, lanes)
    return adapter


def make_nhi(number: int, rings: int) -> Adapter:
    words = [0] * ADAPTER_SIZE
    words[0] = VENDOR | DEVICE << 16
    words[2] = TYPE_NHI
    words[3] = number << 20
    words[ADAPTER_BUFFERS] = TOTAL_BUFFERS << 20
    words[ADAPTER_HOPS] = (rings - 1) | (rings - 1) << 11
    return Adapter(number, TYPE_NHI, words, [[0, 0] for _ in range(rings)])


BUFFER_ALLOCATION = 0x33
_BUFFERS_SHARED = ((2, 1), (3, 18), (5, 14))


def run_operation(words: list[int], opcode: int, ports: int) -> None:
    """A router operation, done at once: result words and the status in CS_OPERATION."""
    if opcode != BUFFER_ALLOCATION:
        words[CS_OPERATION] = opcode | OPERATION_UNSUPPORTED
        return
    entries = _BUFFERS_SHARED if ports > 1 else _BUFFERS_SHARED[-1:]
    for n, (index, value) in enumerate(entries):
        words[CS_DATA + n] = index | value << 16
    words[CS_METADATA] = len(entries)
    words[CS_OPERATION] = opcode


def write_router(words: list[int], offset: int, values: list[int], ports: int) -> None:
    """Apply a write to the router space, read-only fields kept."""
    for n, value in enumerate(values, offset):
        if n in (0, 1, CS_STATUS, CS_UID, CS_UID + 1):
            continue
        if n == 4:
            value = words[4] & 0xFF000000 | value & 0xFFFFFF
        words[n] = value
        if n == CS_SLEEP:
            words[CS_STATUS] = words[CS_STATUS] & ~1 | value & 1
        elif n == CS_OPERATION and value & OPERATION_PENDING:
            run_operation(words, value & 0xFFFF, ports)


def write_adapter(adapter: Adapter, offset: int, values: list[int]) -> None:
    """Apply a write to an adapter's space; sideband requests find nobody and fail at once."""
    words = adapter.words
    for n, value in enumerate(values, offset):
        if n in (0, 1, 2, 3, LANE_CAP, TMU_CAP):
            continue
        if n == LANE_STATUS and adapter.type == TYPE_LANE:
            value = words[n] & ~LANE_WRITABLE | value & LANE_WRITABLE
        elif n == ADAPTER_HOPS:
            value = words[n] & ~HOTPLUG_DISABLED | value & HOTPLUG_DISABLED
        elif n == SIDEBAND and adapter.lane == 0 and value & SIDEBAND_PENDING:
            value = value & ~SIDEBAND_PENDING | SIDEBAND_NO_RESPONSE
        words[n] = value
