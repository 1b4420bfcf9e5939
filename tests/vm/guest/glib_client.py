#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody with GLib's D-Bus library: reads all that usb4rdmad shows, then tries to change it.

What there is to read and to change is taken from the introspection, so that nothing that is added
later can be left out. Prints one JSON object: how many objects were read, some properties of the
link, and the error names of what was tried, by "Interface.Member".
"""

from __future__ import annotations

import json
import sys

from gi.repository import Gio, GLib

SERVICE, ROOT = "org.usb4rdma1", "/org/usb4rdma1"
PROPERTIES = "org.freedesktop.DBus.Properties"
# What only tells, or only says something about the caller itself.
READS = {"Describe", "FindLink", "FindPeer", "Configuration", "UnregisterAgent"}
DUMMIES = {
    "o": GLib.Variant("o", "/org/usb4rdma1/links/l00_0000000000000001"),
    "s": GLib.Variant("s", "confirm"),
    "u": GLib.Variant("u", 4096),
    "a{sv}": GLib.Variant("a{sv}", {}),
}


def error_of(call: object) -> str:
    """The D-Bus error that a call ends in; "none" if it succeeds."""
    try:
        call()  # type: ignore[operator]
    except GLib.Error as error:
        return Gio.dbus_error_get_remote_error(error) or f"local: {error.message}"
    return "none"


class Client:
    """One connection."""

    def __init__(self) -> None:
        self.bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
        self.objects = Gio.DBusObjectManagerClient.new_sync(
            self.bus, Gio.DBusObjectManagerClientFlags.NONE, SERVICE, ROOT, None, None, None
        )

    def call(
        self, path: str, interface: str, member: str, body: list[GLib.Variant], ask: bool = False
    ) -> GLib.Variant:
        """A method; with `ask` a password may be asked for."""
        flags = Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION if ask else Gio.DBusCallFlags.NONE
        return self.bus.call_sync(
            SERVICE,
            path,
            interface,
            member,
            GLib.Variant.new_tuple(*body),
            None,
            flags,
            30_000,
            None,
        )

    def introspect(self, path: str) -> list[Gio.DBusInterfaceInfo]:
        """Our interfaces of an object, as it describes them itself."""
        answer = self.call(path, "org.freedesktop.DBus.Introspectable", "Introspect", [])
        node = Gio.DBusNodeInfo.new_for_xml(answer.unpack()[0])
        return [one for one in node.interfaces if one.name.startswith(f"{SERVICE}.")]

    def paths(self) -> list[str]:
        """The root and all objects."""
        return [ROOT, *sorted(one.get_object_path() for one in self.objects.get_objects())]

    def read_all(self) -> int:
        """Every property of every object and every telling method of the root; how many."""
        count = 0
        for path in self.paths():
            for interface in self.introspect(path):
                name = GLib.Variant("s", interface.name)
                shown = self.call(path, PROPERTIES, "GetAll", [name]).unpack()[0]
                assert set(shown) == {one.name for one in interface.properties}, interface.name
                count += len(shown)
        for member in ("Describe", "Configuration"):
            assert self.call(ROOT, f"{SERVICE}.Manager", member, []).unpack()[0]
        return count

    def try_all(self, ask: bool) -> dict[str, str]:
        """Call every changing method and set every property that can be set."""
        tried: dict[str, str] = {}
        for path in self.paths():
            for interface in self.introspect(path):
                short = interface.name.removeprefix(f"{SERVICE}.")
                for method in interface.methods:
                    if method.name in READS:
                        continue
                    body = [DUMMIES[one.signature] for one in method.in_args]
                    tried[f"{short}.{method.name}"] = error_of(
                        lambda p=path, i=interface.name, m=method.name, b=body: self.call(
                            p, i, m, b, ask
                        )
                    )
                for one in interface.properties:
                    if one.flags & Gio.DBusPropertyInfoFlags.WRITABLE:
                        body = [
                            GLib.Variant("s", interface.name),
                            GLib.Variant("s", one.name),
                            GLib.Variant("v", DUMMIES[one.signature]),
                        ]
                        tried[f"{short}.{one.name}="] = error_of(
                            lambda p=path, b=body: self.call(p, PROPERTIES, "Set", b, ask)
                        )
        return tried


def main() -> int:
    client = Client()
    links = [p for p in client.paths() if "/links/" in p]
    link = client.objects.get_object(links[0]).get_interface(f"{SERVICE}.Link")
    print(
        json.dumps(
            {
                "properties": client.read_all(),
                "state": link.get_cached_property("State").unpack(),
                "gids": link.get_cached_property("Gids").unpack(),
                "refused": client.try_all(ask=False),
                "asked": client.try_all(ask=True) if "--ask" in sys.argv else {},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
