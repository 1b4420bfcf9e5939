# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon knows, as immutable data.

No I/O, no clock, no imports of adapters. The words of the enums are the same in
code, on D-Bus, in usb4rdmactl and in the documentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Identity = bytes
"""32 bytes: SHA-256 of a host's public key. What the kernel calls an identity."""

IDENTITY_LEN = 32
HOST_ID_LEN = 16

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def fingerprint(public_key: bytes) -> Identity:
    """The identity that belongs to a public key."""
    return hashlib.sha256(b"usb4rdma identity 1\0" + public_key).digest()


class KernelState(StrEnum):
    """The driver's words for a link, as in its sysfs attribute "state"."""

    HANDSHAKE = "handshake"
    INCOMPATIBLE = "incompatible"
    READY = "ready"
    AUTHORIZED = "authorized"
    ACTIVE = "active"
    FAILED = "failed"
    GONE = "gone"


class LinkState(StrEnum):
    """The daemon's words for a link."""

    DISCOVERED = "discovered"
    INCOMPATIBLE = "incompatible"
    HANDSHAKING = "handshaking"
    WAITING_APPROVAL = "waiting-approval"
    PAIRING = "pairing"
    AUTHORIZING = "authorizing"
    CONFIGURING = "configuring"
    ACTIVE = "active"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    FAILED = "failed"


AUTHORIZED_STATES = frozenset(
    {LinkState.AUTHORIZING, LinkState.CONFIGURING, LinkState.ACTIVE, LinkState.DEGRADED}
)
"""The kernel's gate is open for a link only while it is in one of these."""


class Reason(StrEnum):
    """Why a link is in its state; stable identifiers, empty when all is well."""

    NONE = ""
    KERNEL_HANDSHAKE = "kernel-handshake"
    PROTOCOL_VERSION = "protocol-version"
    PEER_SILENT = "peer-silent"
    PEER_INVALID = "peer-invalid"
    CLUSTER_SECRET = "cluster-secret"
    UNKNOWN_PEER = "unknown-peer"
    POLICY_OFF = "policy-off"
    PEER_BLOCKED = "peer-blocked"
    KEY_CHANGED = "key-changed"
    SELF = "own-key"
    DEAUTHORIZED = "deauthorized"
    PEER_REFUSED = "peer-refused"
    COMPARE_CODE = "compare-code"
    WAITING_CONFIRMATION = "waiting-confirmation"
    PAIRING_REJECTED = "pairing-rejected"
    PAIRING_TIMEOUT = "pairing-timeout"
    PAIRING_MISMATCH = "pairing-mismatch"
    WAITING_PEER = "waiting-peer"
    WAITING_ADDRESSES = "waiting-addresses"
    WAITING_PORT = "waiting-port"
    AUTHORIZE_FAILED = "authorize-failed"
    CONFIGURE_FAILED = "configure-failed"
    DATA_PATH = "data-path"


class Policy(StrEnum):
    """What happens with a host whose key is not known."""

    CONFIRM = "confirm"
    TOFU = "tofu"
    CLUSTER = "cluster"
    OFF = "off"


class Trust(StrEnum):
    """How a peer's key came to be trusted."""

    CONFIRMED = "confirmed"
    MANUAL = "manual"
    TOFU = "tofu"
    CLUSTER = "cluster"
    PLACED = "placed"
    """Its key is in authorized_peers.d."""
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class KernelLink:
    """One link device as the driver shows it, read at one moment."""

    name: str
    state: KernelState
    authorized: bool = False
    instance: int = 0
    host_id: bytes = b""
    local_host_id: bytes = b""
    epoch: int = 0
    local_epoch: int = 0
    peer: Identity = b""
    peer_uuid: str = ""
    local_uuid: str = ""
    route: int = 0
    domain: int = 0
    version: str = ""
    peer_version: str = ""
    speed: int = 0
    width: int = 0
    mtu: int = 0
    ibdev: str = ""
    netdev: str = ""
    remote_name: str = ""
    remote_vendor: str = ""

    @property
    def place(self) -> str:
        """The XDomain's name as the kernel writes it: domain-route, e.g. 0-1."""
        return f"{self.domain:x}-{self.route:x}"

    @property
    def ready(self) -> bool:
        """The handshake is done: messages can be relayed."""
        return self.instance != 0 and self.state in (
            KernelState.READY,
            KernelState.AUTHORIZED,
            KernelState.ACTIVE,
            KernelState.FAILED,
        )


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of ours with its prefix length."""

    ip: Address
    prefix: int

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class Subnets:
    """The two networks that one pair of hosts shares; None for a family not used."""

    ipv4: IPv4Network | None = None
    ipv6: IPv6Network | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What both daemons agreed on for a link."""

    subnets: Subnets
    local: tuple[LocalAddress, ...]
    remote: tuple[Address, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class Interface:
    """What the host's network interface of a link has now."""

    mtu: int = 0
    addresses: tuple[LocalAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """RDMA port as sysfs shows it."""

    active: bool = False
    gids: tuple[tuple[int, str, str], ...] = ()
    """(index, GID, type) of each non-zero entry."""

    def has(self, ip: Address) -> bool:
        """Is there a RoCE v2 GID for this address?"""
        wanted = ip if isinstance(ip, IPv6Address) else IPv6Address(f"::ffff:{ip}")
        return any(kind == "RoCE v2" and IPv6Address(gid) == wanted for _, gid, kind in self.gids)


@dataclass(frozen=True, slots=True)
class Setup:
    """How far the agreement on addresses and MTU has come."""

    attempt: int = 0
    seq: int = 0
    surveying: bool = False
    """The host's networks are being read."""
    called: bool = False
    """The peer was asked to propose."""
    offer: tuple[int, Subnets] | None = None
    """Ours, waiting for an answer: MTU, networks."""
    asked: tuple[int, int, Subnets] | None = None
    """The peer's, waiting for ours: number, MTU, networks."""
    plan: Plan | None = None
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Pairing:
    """A comparison of codes under way."""

    id: int
    initiator: bool
    code: str = ""
    confirmed_here: bool = False
    confirmed_there: bool = False
    by: int = 0
    expires: int = 0


class ProbeKind(StrEnum):
    """What a test over a link measures."""

    PING = "ping"
    """Latency: sends that the other end answers with sends."""
    WRITE = "write"
    """Bandwidth: RDMA writes into the other end's memory."""
    READ = "read"
    """Bandwidth: RDMA reads from it."""


PROBE_SIZE_MAX = 1 << 20
PROBE_COUNT_MAX = 100_000
ENDPOINT_MAX = 96


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """One measurement, as one end carries it out."""

    kind: ProbeKind
    size: int
    """Bytes an operation, 1..PROBE_SIZE_MAX."""
    count: int
    """Operations, 1..PROBE_COUNT_MAX."""
    initiator: bool
    """This end posts the operations and measures."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a test found."""

    error: str = ""
    """A sentence; empty when it went well."""
    latency_ns: int = 0
    """ping: median of half a round trip."""
    p99_ns: int = 0
    bits_per_second: int = 0
    """write, read."""
    operations: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """A test under way on a link."""

    serial: int
    plan: ProbePlan
    remote: bytes = b""
    """The other end's endpoint, once known."""
    opened: bool = False
    """Our end is there."""
    by_admin: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A host whose key we have decided about."""

    identity: Identity
    public_key: bytes
    trust: Trust
    name: str = ""
    label: str = ""
    first_seen: int = 0
    last_seen: int = 0
    paired_by: int = 0
    subnets: Subnets = Subnets()
    mtu: int = 0
    """The MTU that is wanted for its links; 0 for the configuration's."""


@dataclass(frozen=True, slots=True)
class Link:
    """One cable to one host, as the daemon sees it."""

    name: str
    kernel: KernelLink
    state: LinkState = LinkState.DISCOVERED
    reason: Reason = Reason.NONE
    since: int = 0
    """Wall clock in microseconds at the last change of state."""
    identity: Identity = b""
    public_key: bytes = b""
    peer_name: str = ""
    secured: bool = False
    """The peer has proved its key in this instance."""
    cluster: bool = False
    """And that it holds the cluster secret."""
    setup: Setup = Setup()
    port: Port = Port()
    pairing: Pairing | None = None
    failures: int = 0
    probe: Probe | None = None
    probes: int = 0
    """Tests begun here on this link; numbers them."""
    checks: int = 0
    """Self-tests tried in this instance."""
    measured: Measured | None = None
    """What the last ping of this instance found."""

    @property
    def authorized(self) -> bool:
        """May the kernel's gate be open?"""
        return self.state in AUTHORIZED_STATES


@dataclass(frozen=True, slots=True)
class Settings:
    """What the administrator set."""

    policy: Policy = Policy.CONFIRM
    mtu: int = 4192
    ipv4_pool: IPv4Network | None = IPv4Network("169.254.0.0/16")
    ipv6: bool = True
    configure: bool = True
    self_test: bool = True
    """Ping over each link that comes up."""
    pairing_timeout: int = 120
    """Seconds that people have to compare."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A USB4 port of a host router of this PC."""

    domain: int
    number: int
    name: str
    """The kernel's: usb4_port1."""
    path: str
    """In sysfs."""
    mode: str = ""
    """The kernel's word for how it was trained: usb4, tbt, none."""

    def carries(self, kernel: KernelLink) -> bool:
        """Does the cable of this link start here? A route's low byte is its first port."""
        return kernel.domain == self.domain and kernel.route & 0xFF == self.number


@dataclass(frozen=True, slots=True)
class Hardware:
    """What this PC has, apart from links."""

    ports: tuple[HostPort, ...] = ()
    iommu: bool = False
    """The firmware says that the IOMMU guards every domain (DMA protection)."""
    locked_down: bool = False
    """The kernel refuses unsigned modules (Secure Boot)."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything; replaced as a whole at each step."""

    identity: Identity
    settings: Settings = Settings()
    links: Mapping[str, Link] = field(default_factory=dict)
    peers: Mapping[Identity, Peer] = field(default_factory=dict)
    hardware: Hardware = Hardware()
