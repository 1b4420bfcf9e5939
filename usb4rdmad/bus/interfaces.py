# SPDX-License-Identifier: GPL-2.0-or-later
"""The D-Bus API as tables, and its introspection XML. Pure.

These tables are the one source: the dispatcher, the XML on the bus and the XML
files that are installed all come from them. Members are only ever added; a
changed meaning needs a new interface number.
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
                Property("DriverState", "s", '"loaded" or "missing".'),
                Property(
                    "DefaultPolicy",
                    "s",
                    'For unknown hosts: "confirm", "tofu", "cluster" or "off".',
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
                    'The link of that name ("0-1"), peer name or label.',
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
                Method("Reload", "Read the configuration again.", action="manage"),
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
                Property("Trust", "s", '"confirmed", "manual", "tofu", "cluster" or "blocked".'),
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
                Method("Reject", "They do not, or not now.", action="pair"),
            ),
        ),
    )
}

_STANDARD = """\
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
"""

_PROPERTIES = """\
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed" type="a{sv}"/>
      <arg name="invalidated" type="as"/>
    </signal>
  </interface>
"""

_OBJECT_MANAGER = """\
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"""

DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


def _escape(text: str) -> str:
    # xml.sax.saxutils would do it, and import an HTTP client.
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(plain, entity)
    return text


def _annotation(name: str, value: str, indent: str) -> str:
    return f'{indent}<annotation name="{name}" value="{_escape(value)}"/>\n'


def _doc(text: str, indent: str) -> str:
    return _annotation("org.gtk.GDBus.DocString", text, indent)


def interface_xml(interface: Interface) -> str:
    """One interface as introspection XML, with documentation and annotations."""
    out = f'  <interface name="{interface.name}">\n' + _doc(interface.doc, "    ")
    for method in interface.methods:
        out += f'    <method name="{method.name}">\n' + _doc(method.doc, "      ")
        for direction, args in (("in", method.takes), ("out", method.gives)):
            for name, signature in args:
                out += f'      <arg name="{name}" type="{signature}" direction="{direction}"/>\n'
        out += "    </method>\n"
    for signal in interface.signals:
        out += f'    <signal name="{signal.name}">\n' + _doc(signal.doc, "      ")
        for name, signature in signal.args:
            out += f'      <arg name="{name}" type="{signature}"/>\n'
        out += "    </signal>\n"
    for prop in interface.properties:
        access = "readwrite" if prop.action else "read"
        out += f'    <property name="{prop.name}" type="{prop.signature}" access="{access}">\n'
        out += _doc(prop.doc, "      ")
        if prop.emits != "true":
            out += _annotation(
                "org.freedesktop.DBus.Property.EmitsChangedSignal", prop.emits, "      "
            )
        out += "    </property>\n"
    return out + "  </interface>\n"


def node_xml(interfaces: list[str], children: list[str], manager: bool) -> str:
    """What Introspect answers for an object."""
    out = DOCTYPE + "<node>\n" + _STANDARD
    if manager:
        out += _OBJECT_MANAGER
    if interfaces:
        out += _PROPERTIES
    out += "".join(interface_xml(INTERFACES[name]) for name in sorted(interfaces))
    out += "".join(f'  <node name="{_escape(child)}"/>\n' for child in sorted(children))
    return out + "</node>\n"


def file_xml(interface: Interface) -> str:
    """The file that is installed for an interface."""
    return (
        "<!-- SPDX-License-Identifier: GPL-2.0-or-later -->\n"
        + DOCTYPE
        + "<node>\n"
        + interface_xml(interface)
        + "</node>\n"
    )


if __name__ == "__main__":
    import sys
    from pathlib import Path

    for entry in INTERFACES.values():
        (Path(sys.argv[1]) / f"{entry.name}.xml").write_text(file_xml(entry), encoding="utf-8")
