# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: kinds, sizes, places in memory, devices."""

from __future__ import annotations

from dataclasses import dataclass

MSG_MAX = 1 << 20


@dataclass(frozen=True)
class Case:
    """A line for verbsload."""

    kind: str
    size: int
    count: int
    depth: int = 64

    @property
    def line(self) -> str:
        """As it reads it."""
        return f"{self.kind} {self.size} {self.count} {self.depth}\n"


@dataclass(frozen=True)
class Place:
    """A memory region and where in it the buffers are."""

    name: str
    region: int
    offset: int


@dataclass(frozen=True)
class Device:
    """An RDMA device, and what makes it and its network in host number `index` (from 1)."""

    name: str
    network: str
    setup: str = ""

    def address(self, index: int) -> str:
        """The host's address on the device's network."""
        return f"{self.network}.{index}"


EMPTY = Case("empty", 0, 0, 0)
# Enough operations that a wake-up more or less does not matter.
COUNTS = {64: 2000, 4 << 10: 1000, 64 << 10: 200, 1 << 20: 32}
STREAMS = tuple(
    Case(kind, size, count) for kind in ("write", "read", "send") for size, count in COUNTS.items()
)
PINGPONG = Case("pingpong", 64, 500)

PLACES = (
    Place("small", MSG_MAX, 0),
    Place("256 MiB, end", 256 << 20, (256 << 20) - MSG_MAX),
)

OURS = Device("usb4rdma0", "10.42.0")
# The largest MTU of thunderbolt_net, so that Soft-RoCE's path MTU is 4096, its best.
SOFT_ROCE = Device(
    "rxe0",
    "10.43.0",
    r"""
set -e
modprobe thunderbolt_net
modprobe rdma_rxe
for try in $(seq 150); do
    [ "$(cat /sys/class/net/thunderbolt0/carrier 2>/dev/null)" = 1 ] && break
    ip link set thunderbolt0 mtu 65520 up 2>/dev/null || true
    sleep 0.2
done
ip address add ADDRESS/24 dev thunderbolt0
rdma link add rxe0 type rxe netdev thunderbolt0
""",
)
DEVICES = (OURS, SOFT_ROCE)
# Operations sent again: what the sender says, and what the receiver says of the same.
SENT_AGAIN = ("retries", "completer_retry_err")
SEEN_AGAIN = ("rx_duplicates", "duplicate_request")


def resends(active: dict[str, int], passive: dict[str, int]) -> int:
    """Repeated requests, from what changed in both sides' device counters."""

    def total(names: tuple[str, ...]) -> int:
        return sum(side.get(name, 0) for side in (active, passive) for name in names)

    return max(total(SENT_AGAIN), total(SEEN_AGAIN))
