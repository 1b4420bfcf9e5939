# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of interfaces.py as introspection XML, on the bus and as files. Pure."""

from __future__ import annotations

from .interfaces import INTERFACES, Interface

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
