# SPDX-License-Identifier: GPL-2.0-or-later
"""What the core needs from the outside, as Protocols; tests put doubles behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from .model import (
    Hardware,
    Identity,
    Interface,
    KernelLink,
    LocalAddress,
    Measured,
    Network,
    Peer,
    Policy,
    Port,
    ProbePlan,
)


class Driver(Protocol):
    """The kernel module, through sysfs and its character devices.

    No call blocks. Those that command the kernel raise DriverError.
    """

    def version(self) -> str:
        """What the driver says of itself; empty while it is not loaded."""

    def names(self) -> list[str]:
        """The link devices that are there."""

    def read(self, name: str) -> KernelLink | None:
        """A link as it is now; None when it is gone."""

    def attach(
        self, name: str, message: Callable[[bytes], None], hangup: Callable[[], None]
    ) -> None:
        """Open the link's device and hand over each message that is relayed."""

    def detach(self, name: str) -> None:
        """Close the link's device; the gate stays as it is."""

    def send(self, name: str, frame: bytes) -> bool:
        """Relay a message; False when it could not be taken now."""

    def authorize(self, kernel: KernelLink, peer: Identity, local: Identity) -> None:
        """Open the gate for this instance."""

    def deauthorize(self, name: str) -> None:
        """Close the gate."""

    def forget(self, peer: Identity) -> None:
        """Remove a peer's device; no error when it has none."""


class Networks(Protocol):
    """The host's interfaces and routes. Raises NetworkError."""

    def used(self, exclude: str) -> frozenset[Network]:
        """Addresses (as host networks) and routes of all interfaces but this one."""

    def interface(self, netdev: str) -> Interface:
        """MTU and addresses of an interface."""

    def configure(self, netdev: str, mtu: int, addresses: Iterable[LocalAddress]) -> None:
        """Bring it up with this MTU and, of ours, just these addresses."""


class Rdma(Protocol):
    """RDMA devices, read only."""

    def port(self, ibdev: str) -> Port:
        """Port 1 of a device; an empty Port when it is not there."""

    def counters(self, ibdev: str, netdev: str) -> dict[str, int]:
        """Statistics, under the names of the D-Bus properties."""


class Probe(Protocol):
    """Our end of one test over a link."""

    def run(self, remote: bytes, done: Callable[[Measured], None]) -> None:
        """Connect to the other end's endpoint (untrusted) and carry the plan out.

        `done` is called once, on the loop, within a deadline of the probe's own.
        """

    def close(self) -> None:
        """End it, whatever it does; `done` is not called after this."""


class Prober(Protocol):
    """Tests through verbs, outside this process. No call blocks."""

    def open(
        self, ibdev: str, gid: str, plan: ProbePlan, opened: Callable[[bytes | str], None]
    ) -> Probe:
        """Make our end on a device, bound to one of its RoCE v2 GIDs.

        `opened` is called once, on the loop: with the endpoint, 1 to ENDPOINT_MAX
        bytes that the other end needs, or with a sentence on why there is none.
        """


class Machine(Protocol):
    """This PC, read only."""

    def hardware(self) -> Hardware:
        """Its USB4 ports and what guards them."""


class PeerStore(Protocol):
    """What outlives the daemon."""

    def save(self, peer: Peer) -> None:
        """Write one record, durably."""

    def delete(self, identity: Identity) -> None:
        """Remove one record."""

    def save_policy(self, policy: Policy | None) -> None:
        """Remember the policy set at run time; None forgets it."""
