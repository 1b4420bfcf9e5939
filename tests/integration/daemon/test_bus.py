# SPDX-License-Identifier: GPL-2.0-or-later
"""org.usb4rdma1 as its clients see it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from usb4rdmad.bus.interfaces import INTERFACES
from usb4rdmad.bus.introspection import file_xml
from usb4rdmad.cli import generate
from usb4rdmad.model import KernelState, LinkState

from .busclient import LINK, NAME, PROPERTIES, ROOT, BusClient, BusError, Variant, client
from .fakes import Cable, Hosts, pair


def test_tree_holds_links_and_peers_with_their_properties(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = pair(hosts)
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
        a, b, cable = pair(hosts)
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
        a, b, cable = pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await c.listen()
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await c.until_signal("InterfacesAdded", ROOT)
            await asyncio.wait_for(_event(c, "link-active"), 60)

    asyncio.run(story())


async def _event(c: BusClient, name: str) -> None:
    while not any(s[2] == "LinkEvent" and s[3][1] == name for s in c.signals):
        c.heard.clear()
        await c.heard.wait()


def test_incompatible_peer_is_visible_as_state_and_reason(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug(KernelState.INCOMPATIBLE)
            await a.until(LinkState.INCOMPATIBLE)
            assert await c.get(LINK, "Link", "State") == "incompatible"
            assert await c.get(LINK, "Link", "StateReason") == "protocol-version"
            assert await c.get(LINK, "Link", "PeerProtocolVersions") == "7-9"

    asyncio.run(story())


def test_peer_interface_of_the_bus_still_works(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            assert await c.call(ROOT, "org.freedesktop.DBus.Peer", "Ping") == []

    asyncio.run(story())


def test_introspection_equals_the_installed_files(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = pair(hosts)
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


def test_peer_can_be_labelled_and_forgotten(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = pair(hosts)
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
