# SPDX-License-Identifier: GPL-2.0-or-later
"""What each method and writable property of org.usb4rdma1 does.

Who may call was decided before. Arguments are checked here as far as their
signature does not say it; the machine says what is possible.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol

from .. import events, orders
from ..effects import Hub
from ..errors import (
    BadState,
    CodeMismatch,
    InvalidArguments,
    NoSuchLink,
    NoSuchPeer,
    TestFailed,
    Usb4RdmaError,
)
from ..model import (
    PROBE_COUNT_MAX,
    PROBE_SIZE_MAX,
    Link,
    Measured,
    Peer,
    Policy,
    ProbeKind,
    ProbePlan,
    State,
)
from . import ROOT, present, wire
from .agents import Agents

TEST_TIMEOUT = 60.0
DEFAULTS = {
    ProbeKind.PING: (64, 1000),
    ProbeKind.WRITE: (65536, 1000),
    ProbeKind.READ: (65536, 1000),
}


class Settings(Protocol):
    """Where the configuration is."""

    def reload(self) -> None:
        """Read it again; raises ConfigInvalid."""

    async def set_policy(self, policy: Policy | None) -> None:
        """Choose the policy at run time."""

    def configuration(self) -> dict[str, Any]:
        """What is in force."""


class Methods:
    """Called by the dispatcher."""

    def __init__(
        self, hub: Hub, settings: Settings, agents: Agents, objects: Callable[[], present.Objects]
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._agents = agents
        self._objects = objects
        self._tests: dict[tuple[str, int], asyncio.Future[Measured]] = {}
        hub.tested = self._tested

    async def perform(
        self, call: wire.Call, name: str, arguments: list[Any], uid: int
    ) -> list[Any]:
        """Carry out "Interface.Member" ("Interface.Property=" to set one)."""
        section, member = name.split(".")
        if section == "Manager":
            return await self._manager(call, member, arguments, uid)
        if section == "Peer":
            await self._peer(call, member, arguments)
            return []
        link = self._link_at(call.path)
        if section == "Link" and member == "Describe":
            return [to_json(present.link_properties(self._hub.state, link))]
        if name == "Link.Test":
            return [await self._test(link, wire.plain(arguments[0]))]
        if name == "Link.RequestedMtu=":
            if link.identity not in self._hub.state.peers:
                raise NoSuchPeer(f"the host at the end of {link.kernel.place} is not known")
            await self._hub.ask(events.AdminMtu(link.identity, arguments[0]))
            return []
        if name == "Pairing.ConfirmCode":
            await self._confirm_code(link, arguments[0], uid)
            return []
        asked: dict[str, events.Event] = {
            "Link.Authorize": events.AdminAuthorize(link.name, uid),
            "Link.Deauthorize": events.AdminDeauthorize(link.name),
            "Link.Reset": events.AdminReset(link.name),
            "Link.Block": events.AdminShun(link.name, uid),
            "Pairing.Confirm": events.AdminConfirm(link.name, uid),
            "Pairing.Reject": events.AdminReject(link.name),
        }
        await self._hub.ask(asked[name])
        return []

    async def _manager(
        self, call: wire.Call, member: str, arguments: list[Any], uid: int
    ) -> list[Any]:
        state = self._hub.state
        match member:
            case "Describe":
                return [to_json(describe(self._objects()))]
            case "Configuration":
                return [to_json(self._settings.configuration())]
            case "FindLink":
                return [present.link_path(find_link(state, arguments[0]))]
            case "FindPeer":
                return [present.peer_path(find_peer(state, arguments[0]).identity)]
            case "Pair":
                link = self._link_at(arguments[0])
                await self._hub.ask(events.AdminPair(link.name, uid))
                now = self._hub.state.links.get(link.name)
                if now is None:
                    raise NoSuchLink(f"{link.kernel.place} is gone")
                if now.pairing is None:
                    raise BadState(f"the pairing of {link.kernel.place} has ended already")
                return [present.pairing_path(now.pairing.id)]
            case "RegisterAgent":
                await self._agents.register(call.sender, arguments[0], uid)
                self._agents.update(self._hub.state)
            case "UnregisterAgent":
                self._agents.unregister(call.sender, arguments[0])
            case "DefaultPolicy=":
                await self._settings.set_policy(_policy(arguments[0]))
            case _:
                self._settings.reload()
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

    async def _confirm_code(self, link: Link, code: str, uid: int) -> None:
        ours = link.pairing.code if link.pairing else ""
        if ours and "".join(code.split()) != "".join(ours.split()):
            await self._hub.ask(events.AdminReject(link.name))
            raise CodeMismatch("that is not the code shown here; the pairing was ended")
        await self._hub.ask(events.AdminConfirm(link.name, uid))

    # Tests

    async def _test(self, link: Link, options: dict[str, Any]) -> dict[str, Any]:
        plan = _plan(options)
        await self._hub.ask(events.AdminProbe(link.name, plan))
        now = self._hub.state.links.get(link.name)
        if now is None or now.probe is None:
            raise TestFailed("the test ended before it began")
        key = (link.name, now.probe.serial)
        future = self._tests[key] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(TEST_TIMEOUT):
                measured = await future
        except TimeoutError:
            raise TestFailed(f"no result within {TEST_TIMEOUT:g} s") from None
        finally:
            del self._tests[key]
        if measured.error:
            raise TestFailed(measured.error)
        found = {
            "kind": wire.variant("s", plan.kind.value),
            "size": wire.variant("u", plan.size),
            "operations": wire.variant("u", measured.operations),
        }
        if plan.kind is ProbeKind.PING:
            found["latency_ns"] = wire.variant("t", measured.latency_ns)
            found["p99_ns"] = wire.variant("t", measured.p99_ns)
        else:
            found["bits_per_second"] = wire.variant("t", measured.bits_per_second)
        return found

    def _tested(self, result: orders.ProbeResult) -> None:
        future = self._tests.get((result.link, result.serial))
        if future is not None and not future.done():
            future.set_result(result.measured)

    def _link_at(self, path: str) -> Link:
        for link in self._hub.state.links.values():
            if present.link_path(link) == path:
                return link
            if link.pairing is not None and present.pairing_path(link.pairing.id) == path:
                return link
        raise NoSuchLink(f"no link {path}")


def _policy(word: str) -> Policy | None:
    if word == "configured":
        return None
    try:
        return Policy(word)
    except ValueError:
        words = ", ".join(p.value for p in Policy)
        raise InvalidArguments(f"a policy is one of {words}, or configured") from None


def _plan(options: dict[str, Any]) -> ProbePlan:
    """The test that the options of Link.Test ask for."""
    unknown = options.keys() - {"kind", "size", "count"}
    if unknown:
        raise InvalidArguments(f"no option {min(unknown)}")
    try:
        kind = ProbeKind(options.get("kind", "ping"))
    except ValueError:
        raise InvalidArguments('kind is "ping", "write" or "read"') from None
    size, count = (
        options.get(key, default)
        for key, default in zip(("size", "count"), DEFAULTS[kind], strict=True)
    )
    for key, value, most in (("size", size, PROBE_SIZE_MAX), ("count", count, PROBE_COUNT_MAX)):
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise InvalidArguments(f"{key} is a number from 1 to {most}")
    return ProbePlan(kind, size, count, True)


def link_named(state: State, name: str) -> Link | None:
    """The link that the kernel calls so."""
    return next((x for x in state.links.values() if x.kernel.place == name), None)


def find_link(state: State, name: str) -> Link:
    """By its own name, or by its peer's.

    A host chooses its name itself: an administrator's label goes before it, and
    a name that several hosts go by, plugged or known, is refused.
    """
    link = link_named(state, name)
    if link is not None:
        return link
    wanted = {p.identity for p in state.peers.values() if name and p.label == name}
    if not wanted:
        wanted = {p.identity for p in state.peers.values() if name and p.name == name}
        wanted |= {x.identity for x in state.links.values() if name and x.peer_name == name}
    if not wanted:
        try:
            wanted = {find_peer(state, name).identity}
        except NoSuchPeer:
            raise NoSuchLink(f"no link or peer {name[:64]!r}") from None
    found = [x for x in state.links.values() if x.identity in wanted]
    if not found:
        raise NoSuchLink(f"no cable to {name[:64]!r} is plugged")
    if len(wanted) > 1:
        places = " or ".join(sorted(x.kernel.place for x in found))
        raise Usb4RdmaError(f"{name[:64]!r} fits several hosts", f"give the link: {places}")
    return found[0]


def find_peer(state: State, name: str) -> Peer:
    """By label, name, or at least eight digits of the fingerprint."""
    for matches in (
        [p for p in state.peers.values() if name and p.label == name],
        [p for p in state.peers.values() if name and p.name == name],
        [p for p in state.peers.values() if len(name) >= 8 and p.identity.hex().startswith(name)],
    ):
        if len(matches) > 1:
            raise Usb4RdmaError(f"{name[:64]!r} fits several peers", "give the fingerprint")
        if matches:
            return matches[0]
    raise NoSuchPeer(f"no peer {name[:64]!r}")


def describe(objects: present.Objects) -> dict[str, Any]:
    """All objects by kind, for Describe(). usb4rdmactl.schema.json is its schema."""
    found: dict[str, Any] = {"manager": {}, "ports": [], "links": [], "peers": [], "pairings": []}
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


def to_json(value: Any) -> str:
    """JSON, bytes as hex."""
    return json.dumps(value, default=lambda raw: bytes(raw).hex(), sort_keys=True)
