# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machine wants done, as data; effects.py does it."""

from __future__ import annotations

from dataclasses import dataclass

from .model import (
    Identity,
    KernelLink,
    LocalAddress,
    Measured,
    Peer,
    Policy,
    ProbePlan,
    Reason,
)


@dataclass(frozen=True, slots=True)
class StartSession:
    """Begin to authenticate the peer's daemon over the relay of this instance."""

    kernel: KernelLink


@dataclass(frozen=True, slots=True)
class EndSession:
    """Wipe the session of a link."""

    link: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send an authenticated message to the peer's daemon."""

    link: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Compare:
    """Begin the exchange that ends in a code to compare (both ends order it)."""

    link: str
    initiator: bool


@dataclass(frozen=True, slots=True)
class CompareInput:
    """Hand a message of that exchange to it."""

    link: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Authorize:
    """Open the kernel's gate for this very instance, as this peer."""

    kernel: KernelLink
    peer: Identity


@dataclass(frozen=True, slots=True)
class Deauthorize:
    """Close the kernel's gate of a link."""

    link: str


@dataclass(frozen=True, slots=True)
class ForgetPeer:
    """Remove the peer's RDMA device from the kernel and its record from the store."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class SavePeer:
    """Write a peer's record."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Survey:
    """Read the host's networks and what the link's interface has."""

    link: str
    netdev: str


@dataclass(frozen=True, slots=True)
class Configure:
    """Bring the interface up with this MTU and these addresses."""

    link: str
    netdev: str
    mtu: int
    addresses: tuple[LocalAddress, ...]


@dataclass(frozen=True, slots=True)
class ReadPort:
    """Read the RDMA port's state and GIDs."""

    link: str
    ibdev: str


@dataclass(frozen=True, slots=True)
class OpenProbe:
    """Make our end of a test; ProbeOpened tells of it."""

    link: str
    serial: int
    ibdev: str
    gid: str
    plan: ProbePlan


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Both ends are there: connect and measure; ProbeDone tells what came out."""

    link: str
    serial: int
    remote: bytes


@dataclass(frozen=True, slots=True)
class CloseProbe:
    """Remove our end of a test, whatever it does."""

    link: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Tell who asked for a test."""

    link: str
    serial: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """Remember the policy that an administrator chose at run time; None forgets it."""

    policy: Policy | None


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Send TimerFired after so many seconds; replaces one of the same purpose."""

    link: str
    purpose: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StopTimer:
    """Forget a timer."""

    link: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the journal and LinkEvent listeners what an administrator may want to know."""

    message: str
    link: str = ""
    reason: Reason = Reason.NONE
    identity: Identity = b""
    details: tuple[tuple[str, str], ...] = ()


Order = (
    StartSession
    | EndSession
    | Send
    | Compare
    | CompareInput
    | Authorize
    | Deauthorize
    | ForgetPeer
    | SavePeer
    | Survey
    | Configure
    | ReadPort
    | OpenProbe
    | RunProbe
    | CloseProbe
    | ProbeResult
    | SavePolicy
    | StartTimer
    | StopTimer
    | Report
)
