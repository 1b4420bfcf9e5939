# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's service on the bus: what each method does, and what is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .. import events
from ..effects import Hub
from ..errors import NoSuchLink, NoSuchPeer, Usb4RdmaError
from ..model import Link, Peer, State
from ..orders import Report
from . import NAME, ROOT, polkit, present, wire
from .connection import Connection
from .dispatch import Dispatcher
from .interfaces import MANAGER
from .publish import Emission, Publisher

LINK_EVENT_KEYS = ("reason", "peer", "peer_name")


class BusService:
    """org.usb4rdma1. start() returns once the name is ours."""

    def __init__(self, hub: Hub, public_key: bytes, reload: Callable[[], None]) -> None:
        self._hub = hub
        self._public_key = public_key
        self._reload = reload
        self._connection: Connection | None = None
        self._publisher = Publisher(self._emit)
        self._dispatcher = Dispatcher(self._objects, self._send, self._allow, self._perform)

    async def start(self, address: str | None) -> None:
        """Connect, answer calls, take the name."""
        self._connection = Connection(address)
        await self._connection.open(self._dispatcher.handle)
        self._publisher.reset(self._silent_objects(self._hub.state))
        await self._connection.own(NAME)

    async def run(self) -> None:
        """Raises BusLost when the bus goes away."""
        assert self._connection is not None
        await self._connection.lost()

    async def stop(self) -> None:
        """Leave the bus."""
        self._dispatcher.close()
        if self._connection is not None:
            self._connection.close()

    # Out

    def publish(self, state: State) -> None:
        """The state has changed."""
        if self._connection is not None:
            self._publisher.update(self._silent_objects(state))

    def link_event(self, report: Report) -> None:
        """Tell monitors what happened on a link."""
        link = self._link_named(report.link)
        details = dict(report.details) | {
            "reason": report.reason.value,
            "peer": report.identity.hex(),
            "link": report.link,
        }
        body = [
            present.link_path(link) if link else "/",
            report.message,
            {k: wire.variant("s", v) for k, v in details.items() if v},
        ]
        self._emit(Emission(ROOT, MANAGER, "LinkEvent", "osa{sv}", body))

    def _emit(self, e: Emission) -> None:
        self._send(wire.signal(e.path, e.interface, e.member, e.signature, e.body))

    def _send(self, message: Any) -> None:
        if self._connection is not None:
            self._connection.send(message)

    def _silent_objects(self, state: State) -> present.Objects:
        return present.objects(state, self._public_key, self._hub.driver.version())

    def _objects(self) -> present.Objects:
        return present.objects(
            self._hub.state, self._public_key, self._hub.driver.version(), self._counters
        )

    def _counters(self, link: Link) -> Mapping[str, int]:
        if not link.kernel.ibdev:
            return {}
        return self._hub.rdma.counters(link.kernel.ibdev, link.kernel.netdev)

    # In

    async def _allow(self, call: wire.Call, action: str) -> int:
        assert self._connection is not None
        return await polkit.check(self._connection, call.sender, action, call.interactive)

    async def _perform(
        self, call: wire.Call, name: str, arguments: list[Any], uid: int
    ) -> list[Any]:
        section, member = name.split(".")
        if section == "Manager":
            return await self._manager(member, arguments, uid)
        if section == "Peer":
            await self._peer(call, member, arguments)
            return []
        link = self._link_at(call.path)
        if section == "Link" and member == "Describe":
            return [_json(present.link_properties(self._hub.state, link))]
        asked: dict[str, events.Event] = {
            "Link.Authorize": events.AdminAuthorize(link.name, uid),
            "Link.Deauthorize": events.AdminDeauthorize(link.name),
            "Link.Reset": events.AdminReset(link.name),
            "Pairing.Confirm": events.AdminConfirm(link.name, uid),
            "Pairing.Reject": events.AdminReject(link.name),
        }
        await self._hub.ask(asked[name])
        return []

    async def _manager(self, member: str, arguments: list[Any], uid: int) -> list[Any]:
        state = self._hub.state
        if member == "Describe":
            return [_json(describe(self._objects()))]
        if member == "FindLink":
            return [present.link_path(self._find_link(arguments[0]))]
        if member == "FindPeer":
            return [present.peer_path(find_peer(state, arguments[0]).identity)]
        if member == "Pair":
            link = self._link_at(arguments[0])
            await self._hub.ask(events.AdminPair(link.name, uid))
            now = self._hub.state.links.get(link.name)
            if now is None or now.pairing is None:
                raise NoSuchLink(f"{link.kernel.place} is gone")
            return [present.pairing_path(now.pairing)]
        self._reload()
        return []

    async def _peer(self, call: wire.Call, member: str, arguments: list[Any]) -> None:
        paths = {present.peer_path(i): i for i in self._hub.state.peers}
        identity = paths.get(call.path)
        if identity is None:
            raise NoSuchPeer("the peer is gone")
        if member == "Label=":
            await self._hub.ask(events.AdminLabel(identity, arguments[0]))
        elif member == "Block":
            await self._hub.ask(events.AdminBlock(identity))
        else:
            await self._hub.ask(events.AdminForget(identity))

    def _link_at(self, path: str) -> Link:
        for link in self._hub.state.links.values():
            if present.link_path(link) == path:
                return link
            if link.pairing is not None and present.pairing_path(link.pairing) == path:
                return link
        raise NoSuchLink(f"no link {path}")

    def _link_named(self, name: str) -> Link | None:
        links = self._hub.state.links.values()
        return next((x for x in links if x.kernel.place == name), None)

    def _find_link(self, name: str) -> Link:
        link = self._link_named(name)
        if link is not None:
            return link
        state = self._hub.state
        found = [x for x in state.links.values() if name and name == x.peer_name]
        if not found:
            try:
                identity = find_peer(state, name).identity
            except NoSuchPeer:
                raise NoSuchLink(f"no link or peer {name!r}") from None
            found = [x for x in state.links.values() if x.identity == identity]
        if not found:
            raise NoSuchLink(f"no cable to {name!r} is plugged")
        return found[0]


def find_peer(state: State, name: str) -> Peer:
    """By label, name, or at least eight digits of the fingerprint."""
    for matches in (
        [p for p in state.peers.values() if name and p.label == name],
        [p for p in state.peers.values() if name and p.name == name],
        [p for p in state.peers.values() if len(name) >= 8 and p.identity.hex().startswith(name)],
    ):
        if len(matches) > 1:
            raise Usb4RdmaError(f"{name!r} fits several peers", "give the fingerprint")
        if matches:
            return matches[0]
    raise NoSuchPeer(f"no peer {name!r}")


def describe(objects: present.Objects) -> dict[str, Any]:
    """All objects by kind, for Describe(). docs/daemon.md has the schema."""
    found: dict[str, Any] = {"manager": {}, "links": [], "peers": [], "pairings": []}
    for path, interfaces in sorted(objects.items()):
        merged: dict[str, Any] = {}
        for name, values in interfaces.items():
            short = name.rsplit(".", 1)[1]
            merged |= {"Statistics": dict(values)} if short == "LinkStatistics" else dict(values)
        if path == ROOT:
            found["manager"] = merged
        else:
            found[path.split("/")[3]].append({"Path": path} | merged)
    return found


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda raw: bytes(raw).hex(), sort_keys=True)
