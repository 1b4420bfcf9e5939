# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that can happen, as data. Time is an event too (TimerFired)."""

from __future__ import annotations

from dataclasses import dataclass

from .model import (
    Hardware,
    Identity,
    Interface,
    KernelLink,
    Measured,
    Network,
    Peer,
    Policy,
    Port,
    ProbePlan,
    Settings,
)


@dataclass(frozen=True, slots=True)
class KernelSeen:
    """The driver has a link, or something about it changed."""

    kernel: KernelLink


@dataclass(frozen=True, slots=True)
class KernelGone:
    """The link device is gone."""

    link: str


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The peer's daemon proved that it holds the key."""

    link: str
    instance: int
    public_key: bytes
    name: str
    cluster: bool = False


@dataclass(frozen=True, slots=True)
class SessionStalled:
    """The peer's daemon does not answer; the session keeps trying."""

    link: str
    instance: int


@dataclass(frozen=True, slots=True)
class SessionInvalid:
    """The peer's daemon sent what no honest one sends; the session keeps trying."""

    link: str
    instance: int


@dataclass(frozen=True, slots=True)
class SessionMismatch:
    """One side has a cluster secret and the other has none; the session keeps trying."""

    link: str
    instance: int


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """An authenticated message of the peer's daemon."""

    link: str
    body: bytes


@dataclass(frozen=True, slots=True)
class AuthorizeDone:
    """The driver answered an authorisation; error is an errno, 0 for success."""

    link: str
    instance: int
    error: int
    kernel: KernelLink | None


@dataclass(frozen=True, slots=True)
class NetworkSurveyed:
    """What the host's networks look like, the link's own interface apart."""

    link: str
    used: frozenset[Network]
    interface: Interface


@dataclass(frozen=True, slots=True)
class Configured:
    """The interface was set up, or not (error says why)."""

    link: str
    error: str


@dataclass(frozen=True, slots=True)
class PortRead:
    """The RDMA port was read."""

    link: str
    port: Port


@dataclass(frozen=True, slots=True)
class ProbeOpened:
    """Our end of a test is there (endpoint is what the other one needs), or not (error)."""

    link: str
    serial: int
    endpoint: bytes
    error: str = ""


@dataclass(frozen=True, slots=True)
class ProbeDone:
    """A test has ended, one way or the other."""

    link: str
    serial: int
    measured: Measured


@dataclass(frozen=True, slots=True)
class HardwareSeen:
    """The PC's USB4 ports were read."""

    hardware: Hardware


@dataclass(frozen=True, slots=True)
class CodeReady:
    """Both nonces are known; the humans may compare."""

    link: str
    code: str


@dataclass(frozen=True, slots=True)
class ComparisonFailed:
    """The peer broke its commitment or the order of messages."""

    link: str


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that an order started."""

    link: str
    purpose: str


@dataclass(frozen=True, slots=True)
class AdminAuthorize:
    """An administrator lets this link's peer in, and remembers its key."""

    link: str
    uid: int = 0


@dataclass(frozen=True, slots=True)
class AdminDeauthorize:
    """An administrator closes this link; it stays closed until authorised again."""

    link: str


@dataclass(frozen=True, slots=True)
class AdminReset:
    """An administrator starts this link anew."""

    link: str


@dataclass(frozen=True, slots=True)
class AdminPair:
    """An administrator begins a comparison of codes."""

    link: str
    uid: int = 0


@dataclass(frozen=True, slots=True)
class AdminConfirm:
    """An administrator says that the codes are the same."""

    link: str
    uid: int = 0


@dataclass(frozen=True, slots=True)
class AdminReject:
    """An administrator says that the codes differ, or gives up."""

    link: str


@dataclass(frozen=True, slots=True)
class AdminForget:
    """An administrator removes a peer's key and its device."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class AdminBlock:
    """An administrator shuts a peer out for good."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class AdminLabel:
    """An administrator names a peer."""

    identity: Identity
    label: str


@dataclass(frozen=True, slots=True)
class AdminShun:
    """An administrator shuts out the host at the end of this link, known or not."""

    link: str
    uid: int = 0


@dataclass(frozen=True, slots=True)
class AdminProbe:
    """An administrator wants a test over this link."""

    link: str
    plan: ProbePlan


@dataclass(frozen=True, slots=True)
class AdminMtu:
    """An administrator wants this MTU for a peer's links; 0 for the configuration's."""

    identity: Identity
    mtu: int


@dataclass(frozen=True, slots=True)
class AdminPolicy:
    """An administrator sets the policy at run time; None goes back to the configuration's."""

    policy: Policy | None
    settings: Settings
    """What then is in force."""


@dataclass(frozen=True, slots=True)
class KeysPlaced:
    """The directory of pre-placed keys was read."""

    peers: tuple[Peer, ...]


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The configuration was read again."""

    settings: Settings


Event = (
    KernelSeen
    | KernelGone
    | SessionUp
    | SessionStalled
    | SessionInvalid
    | SessionMismatch
    | MessageReceived
    | AuthorizeDone
    | NetworkSurveyed
    | Configured
    | PortRead
    | ProbeOpened
    | ProbeDone
    | HardwareSeen
    | CodeReady
    | ComparisonFailed
    | TimerFired
    | AdminAuthorize
    | AdminDeauthorize
    | AdminReset
    | AdminPair
    | AdminConfirm
    | AdminReject
    | AdminForget
    | AdminBlock
    | AdminLabel
    | AdminShun
    | AdminProbe
    | AdminMtu
    | AdminPolicy
    | KeysPlaced
    | SettingsChanged
)
