# SPDX-License-Identifier: GPL-2.0-or-later
"""The D-Bus API as tables. Pure.

These tables are the one source: the dispatcher, the XML on the bus, the XML files
that are installed and the schema of usb4rdmactl's JSON all come from them.
Members are only ever added; a changed meaning needs a new interface number.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import NAME

PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
PEER = "org.freedesktop.DBus.Peer"

MANAGER = f"{NAME}.Manager"
LINK = f"{NAME}.Link"
STATISTICS = f"{NAME}.LinkStatistics"
PEER_OBJECT = f"{NAME}.Peer"
PAIRING = f"{NAME}.Pairing"
PORT = f"{NAME}.Port"
AGENT = f"{NAME}.Agent"

Args = tuple[tuple[str, str], ...]
"""(name, signature) of each argument."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property; emits is true, false, const or invalidates."""

    name: str
    signature: str
    doc: str
    emits: str = "true"
    action: str = ""
    """polkit action to write it; empty for a property that is only read."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method; action is the polkit action that it needs, empty for none."""

    name: str
    doc: str
    takes: Args = ()
    gives: Args = ()
    action: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal."""

    name: str
    doc: str
    args: Args = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface."""

    name: str
    doc: str
    properties: tuple[Property, ...] = ()
    methods: tuple[Method, ...] = ()
    signals: tuple[Signal, ...] = ()

    def property(self, name: str) -> Property | None:
        """The property of that name."""
        return next((p for p in self.properties if p.name == name), None)

    def method(self, name: str) -> Method | None:
        """The method of that name."""
        return next((m for m in self.methods if m.name == name), None)


_OPTIONS = ("options", "a{sv}")

INTERFACES: dict[str, Interface] = {
    i.name: i
    for i in (
        Interface(
            MANAGER,
            "The daemon. Reading is free; what changes something asks polkit.",
            (
                Property("Version", "s", "Version of the daemon.", "const"),
                Property("ApiVersion", "u", "Revision of this API; grows by additions.", "const"),
                Property("Fingerprint", "s", "SHA-256 of this host's key, hex.", "const"),
                Property("PublicKey", "ay", "This host's X25519 public key.", "const"),
                Property("State", "s", 'Best state of any link; "idle" without one.'),
                Property("DriverVersion", "s", "Version of the kernel module; may be empty."),
                Property(
                    "DriverState",
                    "s",
                    '"loaded", "missing", or "locked-down": missing on a kernel that refuses '
                    "unsigned modules.",
                ),
                Property("IommuProtected", "b", "The IOMMU guards every Thunderbolt domain."),
                Property(
                    "DefaultPolicy",
                    "s",
                    'For unknown hosts: "confirm", "tofu", "cluster" or "off". Set to '
                    '"configured" it is again what the configuration says.',
                    action="manage",
                ),
            ),
            (
                Method(
                    "Pair",
                    "Begin a comparison of codes with the host at the end of a link.",
                    (("link", "o"), _OPTIONS),
                    (("pairing", "o"),),
                    "pair",
                ),
                Method(
                    "FindLink",
                    'The link of that name ("0-1"), or to the one host of that label or name.',
                    (("name", "s"),),
                    (("link", "o"),),
                ),
                Method(
                    "FindPeer",
                    "The peer with that label, name or start of a fingerprint.",
                    (("name", "s"),),
                    (("peer", "o"),),
                ),
                Method("Describe", "Everything, as JSON.", (), (("json", "s"),)),
                Method("Configuration", "What is in force, as JSON.", (), (("json", "s"),)),
                Method("Reload", "Read the configuration again.", action="manage"),
                Method(
                    "RegisterAgent",
                    "Have the caller's Agent object asked about codes; the latest is asked first. "
                    "It is dropped when its caller leaves the bus.",
                    (("agent", "o"), _OPTIONS),
                    action="pair",
                ),
                Method("UnregisterAgent", "Ask it no more.", (("agent", "o"),)),
            ),
            (
                Signal(
                    "LinkEvent",
                    "Something happened on a link; for monitors.",
                    (("link", "o"), ("event", "s"), ("details", "a{sv}")),
                ),
            ),
        ),
        Interface(
            LINK,
            "One cable to one host. The object lives as long as the cable is plugged.",
            (
                Property("Name", "s", "Domain and route as the kernel writes them: 0-1.", "const"),
                Property("State", "s", "Where the link is; see usb4rdmad(8)."),
                Property("StateReason", "s", "Why; a stable word, empty when all is well."),
                Property("Peer", "o", 'The peer object; "/" while its key is not known.'),
                Property("PeerName", "s", "Host name that the peer proved its key with."),
                Property("PeerFingerprint", "s", "SHA-256 of the peer's key, hex; may be empty."),
                Property("RemoteName", "s", "Device name in the XDomain; never trusted."),
                Property("RemoteVendor", "s", "Vendor name in the XDomain; never trusted."),
                Property("RemoteUuid", "s", "UUID of the peer's host router; never trusted."),
                Property("Speed", "t", "Bit/s, all lanes of one direction; 0 when unknown."),
                Property("Lanes", "u", "Lanes in use; 0 when unknown."),
                Property("RdmaDevice", "s", "Name of the RDMA device; empty before the first use."),
                Property("RdmaPort", "u", "Port of it."),
                Property("NetworkInterface", "s", "Name of the network interface."),
                Property("Gids", "a(us)", "Index and GID of the port's GID table."),
                Property("Addresses", "as", "Our addresses on the interface, with prefix length."),
                Property("PeerAddresses", "as", "The peer's addresses there."),
                Property("Mtu", "u", "Agreed MTU; 0 before."),
                Property(
                    "RequestedMtu",
                    "u",
                    "MTU that this host wants with the peer; 0 for the configuration's.",
                    action="manage",
                ),
                Property("Port", "o", 'The USB4 port that the cable is in; "/" if not known.'),
                Property(
                    "SelfTest",
                    "s",
                    'RDMA ping at link-up: "running", "passed", "failed", "unavailable", or empty.',
                ),
                Property(
                    "LatencyNanoseconds", "t", "Median of one way in the last ping; 0 before."
                ),
                Property("KernelState", "s", "The driver's word for the link."),
                Property("ProtocolVersions", "s", "Wire protocol versions of our driver."),
                Property("PeerProtocolVersions", "s", "Those of the peer's driver."),
                Property("Since", "t", "Wall clock of the last change of State, microseconds."),
            ),
            (
                Method(
                    "Authorize",
                    "Let this link's peer in without comparing codes; its key is remembered.",
                    (_OPTIONS,),
                    action="authorize",
                ),
                Method(
                    "Deauthorize",
                    "Close the link until it is authorised or plugged again.",
                    action="authorize",
                ),
                Method("Reset", "Authenticate the peer anew.", action="manage"),
                Method("Block", "Shut out the host at its end, known or not.", action="manage"),
                Method(
                    "Test",
                    'Measure over the link. Options: kind "ping" (default), "write" or "read"; '
                    "size in bytes (u), count of operations (u). Gives operations (u), and "
                    "latency_ns and p99_ns (t) or bits_per_second (t).",
                    (_OPTIONS,),
                    (("result", "a{sv}"),),
                    "test",
                ),
                Method("Describe", "This link, as JSON.", (), (("json", "s"),)),
            ),
        ),
        Interface(
            STATISTICS,
            "Counters of a link's device, read when asked for; they send no signals.",
            (
                Property("RxBytes", "t", "Bytes received, RDMA and IP.", "false"),
                Property("TxBytes", "t", "Bytes sent, RDMA and IP.", "false"),
                Property("RxPackets", "t", "IP packets received.", "false"),
                Property("TxPackets", "t", "IP packets sent.", "false"),
                Property("Counters", "a{st}", "The RDMA port's hardware counters.", "false"),
            ),
        ),
        Interface(
            PEER_OBJECT,
            "A host whose key is known.",
            (
                Property("Fingerprint", "s", "SHA-256 of its key, hex.", "const"),
                Property("PublicKey", "ay", "Its X25519 public key.", "const"),
                Property("Name", "s", "Host name that it gave last."),
                Property("Label", "s", "Name given by an administrator.", action="manage"),
                Property(
                    "Trust",
                    "s",
                    '"confirmed", "manual", "tofu", "cluster", "placed" or "blocked".',
                ),
                Property("Online", "b", "It proved its key on a link that is plugged."),
                Property("Links", "ao", "Its links."),
                Property("FirstSeen", "t", "Microseconds, wall clock."),
                Property("LastSeen", "t", "Microseconds, wall clock."),
                Property("PairedBy", "u", "User id of who let it in."),
            ),
            (
                Method("Forget", "Remove its key and its device; links close.", action="manage"),
                Method("Block", "Shut it out for good; links close.", action="manage"),
            ),
        ),
        Interface(
            PORT,
            "A USB4 port of this PC. Hosts older than USB4 have none here.",
            (
                Property("Name", "s", "The kernel's name: usb4_port1.", "const"),
                Property("Domain", "u", "Number of the Thunderbolt domain.", "const"),
                Property("SysfsPath", "s", "Where it is in sysfs.", "const"),
                Property("Mode", "s", 'How it was trained: "usb4", "tbt" or "none".'),
                Property("Link", "o", 'The link whose cable is in it; "/" without one.'),
            ),
        ),
        Interface(
            PAIRING,
            "A comparison of codes under way.",
            (
                Property("Link", "o", "On this link.", "const"),
                Property("State", "s", '"starting", "compare" or "waiting-peer".'),
                Property("Code", "s", 'Six digits such as "482 913"; empty at first.'),
                Property("Initiator", "b", "This host's side of the protocol.", "const"),
                Property("ExpiresAt", "t", "Microseconds, wall clock.", "const"),
            ),
            (
                Method("Confirm", "Both hosts show the same code.", action="pair"),
                Method(
                    "ConfirmCode",
                    "The other host shows this code. Another one than ours ends the pairing with "
                    "the error CodeMismatch.",
                    (("code", "s"),),
                    action="pair",
                ),
                Method("Reject", "They do not, or not now.", action="pair"),
            ),
        ),
        Interface(
            AGENT,
            "What a client exports to be asked about codes; see Manager.RegisterAgent.",
            (),
            (
                Method(
                    "RequestConfirmation",
                    "Show the code; return if the other host shows the same. The error "
                    "org.usb4rdma1.Error.Rejected ends the pairing, any other leaves it to others. "
                    "An agent that leaves the bus before it answers ends the pairing, too.",
                    (("pairing", "o"), ("code", "s"), ("details", "a{sv}")),
                ),
                Method("Cancel", "No answer is needed any more.", (("pairing", "o"),)),
                Method("Release", "The daemon asks no more: it stops."),
            ),
        ),
    )
}

SERVED = tuple(i for i in INTERFACES.values() if i.name != AGENT)
"""Those that the daemon has objects with."""
