# SPDX-License-Identifier: GPL-2.0-or-later
"""org.usb4rdma1 as its clients see it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dbus_next import MessageFlag

from usb4rdmad.bus import wire
from usb4rdmad.bus.interfaces import INTERFACES
from usb4rdmad.bus.introspection import file_xml
from usb4rdmad.cli import generate
from usb4rdmad.model import KernelState, LinkState

from .busclient import NAME, PROPERTIES, ROOT, BusClient, BusError, Variant, client
from .fakes import Cable, FakeHost

Hosts = Callable[..., FakeHost]
LINK = f"{ROOT}/links/l00_0000000000000001"


async def active_pair(hosts: Hosts) -> tuple[FakeHost, FakeHost, Cable]:
    a, b = hosts("nova"), hosts("mars")
    return a, b, Cable(a, b)


def test_tree_holds_links_and_peers_with_their_properties(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            objects = await c.objects()
            assert set(objects[LINK]) == {f"{NAME}.Link", f"{NAME}.LinkStatistics"}
            (peer,) = (p for p in objects if "/peers/" in p)
            assert objects[LINK][f"{NAME}.Link"]["Peer"].value == peer
            assert await c.get(LINK, "Link", "State") == "active"
            assert await c.get(LINK, "Link", "RdmaDevice") == "usb4rdma0"
            gids = await c.get(LINK, "Link", "Gids")
            addresses = await c.get(LINK, "Link", "Addresses")
            assert len(gids) == len(addresses) == 2
            assert await c.get(LINK, "Link", "Mtu") == 4192
            assert await c.get(LINK, "Link", "Speed") == 40_000_000_000
            assert await c.get(LINK, "LinkStatistics", "RxBytes") == 11
            assert await c.get(LINK, "LinkStatistics", "Counters") == {"rx_crc": 3}
            assert await c.get(ROOT, "Manager", "State") == "active"
            (text,) = await c.call(ROOT, f"{NAME}.Manager", "Describe")
            described = json.loads(text)
            assert described["links"][0]["State"] == "active"
            assert described["manager"]["DefaultPolicy"] == "tofu"
            (text,) = await c.call(LINK, f"{NAME}.Link", "Describe")
            assert json.loads(text)["Name"] == "0-1"

    asyncio.run(story())


def test_hotplug_is_told_from_the_root_object(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await c.listen()
            cable.plug()
            await a.until(LinkState.ACTIVE)
            path, interface, _, body = await c.until_signal("InterfacesAdded")
            assert (path, interface) == (ROOT, "org.freedesktop.DBus.ObjectManager")
            assert body[0] == LINK and set(body[1]) == {f"{NAME}.Link", f"{NAME}.LinkStatistics"}
            changed = await c.until_signal("PropertiesChanged", LINK)
            assert changed[3][0] == f"{NAME}.Link"
            cable.unplug()
            path, _, _, body = await c.until_signal("InterfacesRemoved")
            assert path == ROOT and body[0] == LINK

    asyncio.run(story())


def test_link_events_tell_what_happens(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await c.listen()
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await c.until_signal("InterfacesAdded", ROOT)
            await asyncio.wait_for(_event(c, "link-active"), 5)

    asyncio.run(story())


async def _event(c: BusClient, name: str) -> None:
    while not any(s[2] == "LinkEvent" and s[3][1] == name for s in c.signals):
        c.heard.clear()
        await c.heard.wait()


def test_incompatible_peer_is_visible_as_state_and_reason(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug(KernelState.INCOMPATIBLE)
            await a.until(LinkState.INCOMPATIBLE)
            assert await c.get(LINK, "Link", "State") == "incompatible"
            assert await c.get(LINK, "Link", "StateReason") == "protocol-version"
            assert await c.get(LINK, "Link", "PeerProtocolVersions") == "7-9"

    asyncio.run(story())


HOSTILE = [
    (f"{ROOT}/links/l99", f"{NAME}.Link", "Reset", "", (), "UnknownObject"),
    ("/", f"{NAME}.Manager", "Describe", "", (), "UnknownObject"),
    (f"{ROOT}/links", f"{NAME}.Link", "Reset", "", (), "UnknownObject"),
    (ROOT, f"{NAME}.Link", "Reset", "", (), "UnknownInterface"),
    (ROOT, f"{NAME}.Manager", "Nonsense", "", (), "UnknownMethod"),
    (ROOT, None, "Nonsense", "", (), "UnknownMethod"),
    (ROOT, f"{NAME}.Manager", "Describe", "s", ("x",), "InvalidArgs"),
    (ROOT, f"{NAME}.Manager", "Pair", "o", ("/x",), "InvalidArgs"),
    (ROOT, f"{NAME}.Manager", "FindLink", "s", ("",), "NoSuchLink"),
    (ROOT, f"{NAME}.Manager", "FindLink", "s", ("x" * 100_000,), "NoSuchLink"),
    (ROOT, f"{NAME}.Manager", "FindPeer", "s", ("\x01\ufffd",), "NoSuchPeer"),
    (ROOT, PROPERTIES, "Get", "ss", (f"{NAME}.Manager", "Nope"), "UnknownProperty"),
    (ROOT, PROPERTIES, "Get", "ss", ("x", "State"), "UnknownInterface"),
    (ROOT, PROPERTIES, "Get", "s", ("x",), "InvalidArgs"),
    (ROOT, PROPERTIES, "GetAll", "s", ("nope",), "UnknownInterface"),
    (ROOT, PROPERTIES, "GetAll", "u", (7,), "InvalidArgs"),
    (
        ROOT,
        PROPERTIES,
        "Set",
        "ssv",
        (f"{NAME}.Manager", "State", Variant("s", "x")),
        "PropertyReadOnly",
    ),
    (ROOT, PROPERTIES, "Explode", "", (), "UnknownMethod"),
    (ROOT, "org.freedesktop.DBus.ObjectManager", "Nope", "", (), "UnknownMethod"),
    (LINK, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", "", (), "UnknownInterface"),
    ("/org", "org.freedesktop.DBus.Properties", "GetAll", "s", ("x",), "UnknownObject"),
    ("/nowhere", "org.freedesktop.DBus.Introspectable", "Introspect", "", (), "UnknownObject"),
]


def test_hostile_calls_get_a_named_error_and_no_traceback(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            for path, interface, member, signature, body, wanted in HOSTILE:
                with pytest.raises(BusError) as caught:
                    await c.call(path, interface, member, signature, *body)
                assert caught.value.name.rsplit(".", 1)[1] == wanted, (path, member)
                assert "Traceback" not in caught.value.text and ".py" not in caught.value.text
            assert await c.get(ROOT, "Manager", "State") == "active"

    asyncio.run(story())


def test_a_call_without_reply_gets_none_and_a_thousand_do_no_harm(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            from dbus_next import Message

            for number in range(1000):
                c.bus.send(
                    Message(
                        destination=NAME,
                        path=f"{ROOT}/links/x{number}",
                        interface=PROPERTIES,
                        member="Get",
                        signature="ss",
                        body=["a", "b"],
                        flags=MessageFlag.NO_REPLY_EXPECTED,
                    )
                )
            assert await c.get(ROOT, "Manager", "State") == "idle"

    asyncio.run(story())


def test_peer_interface_of_the_bus_still_works(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            assert await c.call(ROOT, "org.freedesktop.DBus.Peer", "Ping") == []

    asyncio.run(story())


def test_introspection_equals_the_installed_files(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            seen: dict[str, str] = {}
            for path in [ROOT, *await c.objects()]:
                (xml,) = await c.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
                for node in ElementTree.fromstring(xml).iter("interface"):
                    if node.get("name", "").startswith(NAME):
                        seen[node.get("name", "")] = _normal(node)
            for name in ("Pairing", "Port", "Agent"):
                shown = _normal(_interface(file_xml(INTERFACES[f"{NAME}.{name}"])))
                seen.setdefault(f"{NAME}.{name}", shown)
            installed = {
                Path(name).stem: _normal(_interface(text))
                for name, text in generate.files().items()
                if name.endswith(".xml")
            }
            assert seen == installed

    asyncio.run(story())


def _interface(xml: str) -> ElementTree.Element:
    node = ElementTree.fromstring(xml).find("interface")
    assert node is not None
    return node


def _normal(node: ElementTree.Element) -> str:
    return ElementTree.canonicalize(ElementTree.tostring(node, "unicode"), strip_text=True)


def test_introspected_tree_has_no_phantom_children(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            Cable(a, b, "link0", 0x1).plug()
            Cable(a, b, "link1", 0x10).plug()
            await a.until(LinkState.ACTIVE)
            (xml,) = await c.call(
                f"{ROOT}/links", "org.freedesktop.DBus.Introspectable", "Introspect"
            )
            names = {n.get("name") for n in ElementTree.fromstring(xml).iter("node")} - {None}
            assert names == {"l00_0000000000000001", "l00_0000000000000010"}
            (xml,) = await c.call(LINK, "org.freedesktop.DBus.Introspectable", "Introspect")
            assert not [n for n in ElementTree.fromstring(xml).iter("node") if n.get("name")]

    asyncio.run(story())


def test_a_burst_of_changes_is_gathered_into_few_signals(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await c.listen()
            for number in range(500):
                a.driver.change("link0", speed=1_000_000 + number)
            await a.hub.flush()  # type: ignore[union-attr]
            async with asyncio.timeout(5):
                while not any(
                    s[2] == "PropertiesChanged"
                    and s[3][1].get("Speed", Variant("t", 0)).value == 2 * 1_000_499
                    for s in c.signals
                ):
                    c.heard.clear()
                    await c.heard.wait()
            speeds = [s for s in c.signals if s[2] == "PropertiesChanged" and "Speed" in s[3][1]]
            assert len(speeds) <= 20

    asyncio.run(story())


def test_a_frozen_bus_costs_no_message(hosts: Hosts, buses: list[subprocess.Popen[str]]) -> None:
    """The library's own writer closes the connection when the socket is full."""

    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            await c.listen()
            assert a.app is not None
            buses[-1].send_signal(signal.SIGSTOP)
            for number in range(5000):
                body = [ROOT, str(number), {}]
                a.app.service._send(
                    wire.signal(ROOT, f"{NAME}.Manager", "LinkEvent", "osa{sv}", body)
                )
            await a.hub.flush()  # type: ignore[union-attr]
            buses[-1].send_signal(signal.SIGCONT)
            async with asyncio.timeout(20):
                while len(c.signals) < 5000:
                    c.heard.clear()
                    await c.heard.wait()
            assert [s[3][1] for s in c.signals] == [str(n) for n in range(5000)]
            assert await c.get(ROOT, "Manager", "State") == "idle"

    asyncio.run(story())


def test_losing_the_bus_ends_the_daemon(hosts: Hosts, private_bus: Callable[[], str]) -> None:
    async def story() -> None:
        from usb4rdmad.errors import BusLost

        a = hosts("nova")
        with pytest.raises(ExceptionGroup) as caught:
            async with a.daemon():
                assert a.app is not None
                connection = a.app.service._connection
                assert connection is not None
                connection._bus._sock.shutdown(2)
                async with asyncio.timeout(5):
                    await a.stopped.wait()
        assert caught.value.subgroup(BusLost)

    asyncio.run(story())


def test_second_daemon_on_the_same_bus_is_refused(hosts: Hosts, tmp_path: Path) -> None:
    async def story() -> None:
        a = hosts("nova")
        other = FakeHost("twin", tmp_path / "twin", bus=a.bus)
        async with a.daemon():
            with pytest.raises(ExceptionGroup) as caught:
                async with other.daemon():
                    pass
            assert "another owner" in str(caught.value.exceptions[0])

    asyncio.run(story())


def test_peer_can_be_labelled_and_forgotten(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            (peer,) = (p for p in await c.objects() if "/peers/" in p)
            label = [f"{NAME}.Peer", "Label", Variant("s", "the rack")]
            await c.call(peer, PROPERTIES, "Set", "ssv", *label)
            assert await c.get(peer, "Peer", "Label") == "the rack"
            (found,) = await c.call(ROOT, f"{NAME}.Manager", "FindPeer", "s", "the rack")
            assert found == peer
            bad = [f"{NAME}.Peer", "Label", Variant("u", 7)]
            with pytest.raises(BusError, match="InvalidArgs"):
                await c.call(peer, PROPERTIES, "Set", "ssv", *bad)
            await c.call(peer, f"{NAME}.Peer", "Forget")
            assert peer not in await c.objects()

    asyncio.run(story())


# Tools that people have


def test_busctl_and_gdbus_read_the_tree(hosts: Hosts) -> None:
    busctl, gdbus = shutil.which("busctl"), shutil.which("gdbus")
    if busctl is None or gdbus is None:
        pytest.skip("busctl or gdbus is not installed")

    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            address = (a.bus or "").split(",")[0]
            tree = await tool(busctl, f"--address={address}", "tree", NAME)
            assert LINK in tree and f"{LINK}/" not in tree
            shown = await tool(busctl, f"--address={address}", "introspect", NAME, LINK)
            assert "org.usb4rdma1.Link" in shown and "const" in shown
            value = await tool(
                busctl,
                f"--address={address}",
                "get-property",
                NAME,
                LINK,
                f"{NAME}.Link",
                "State",
            )
            assert value.strip() == 's "active"'
            said = await tool(
                gdbus,
                "call",
                f"--address={address}",
                f"--dest={NAME}",
                f"--object-path={ROOT}",
                f"--method={NAME}.Manager.FindLink",
                "0-1",
            )
            assert LINK in said

    asyncio.run(story())


async def tool(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


GLIB = """
import sys
from gi.repository import Gio, GLib
connection = Gio.DBusConnection.new_for_address_sync(
    sys.argv[1],
    Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
    | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
manager = Gio.DBusObjectManagerClient.new_sync(
    connection, Gio.DBusObjectManagerClientFlags.NONE,
    "org.usb4rdma1", "/org/usb4rdma1", None, None, None)
print("before", len(manager.get_objects()), flush=True)
loop = GLib.MainLoop()
def added(_, found):
    if "/links/" in found.get_object_path():
        link = found.get_interface("org.usb4rdma1.Link")
        print("added", found.get_object_path(), link.get_cached_property("Name"), flush=True)
def removed(_, found):
    if "/links/" in found.get_object_path():
        print("removed", found.get_object_path(), flush=True)
        loop.quit()
manager.connect("object-added", added)
manager.connect("object-removed", removed)
GLib.timeout_add_seconds(20, loop.quit)
loop.run()
"""


def test_glib_object_manager_sees_links_come_and_go(hosts: Hosts) -> None:
    python = "/usr/bin/python3"
    probe = [python, "-c", "from gi.repository import Gio"]
    if not Path(python).exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("python3-gi is not installed")

    async def story() -> None:
        a, b, cable = await active_pair(hosts)
        async with a.daemon(), b.daemon():
            process = await asyncio.create_subprocess_exec(
                python, "-c", GLIB, a.bus or "", stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            async with asyncio.timeout(30):
                assert (await process.stdout.readline()).decode().split() == ["before", "0"]
                cable.plug()
                line = (await process.stdout.readline()).decode().split()
                assert line == ["added", LINK, "'0-1'"]
                await a.until(LinkState.ACTIVE)
                cable.unplug()
                assert (await process.stdout.readline()).decode().split() == ["removed", LINK]
                await process.wait()

    asyncio.run(story())
