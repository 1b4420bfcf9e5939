# SPDX-License-Identifier: GPL-2.0-or-later
"""Agents on the bus: who is asked about codes, and what their answers do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dbus_next import Message, MessageType

from usb4rdmad.bus.agents import AGENTS_MAX
from usb4rdmad.model import LinkState

from .busclient import LINK, NAME, ROOT, BusClient, BusError, client
from .fakes import Cable, FakeHost, Hosts

MANAGER = f"{NAME}.Manager"


class Agent:
    """Exports the object; answers as `answer` says, or not at all."""

    def __init__(self, bus: BusClient, answer: str | None) -> None:
        self.bus = bus
        self.answer = answer
        self.calls: list[tuple[str, list[Any]]] = []
        self.called = asyncio.Event()
        bus.bus.add_message_handler(self._handle)

    def _handle(self, message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL or message.path != "/agent":
            return False
        self.calls.append((message.member, message.body))
        self.called.set()
        if self.answer is None or message.member != "RequestConfirmation":
            return True
        if self.answer:
            return Message.new_error(message, f"{NAME}.Error.{self.answer}", "no")
        return Message.new_method_return(message)

    async def register(self) -> None:
        await self.bus.call(ROOT, MANAGER, "RegisterAgent", "oa{sv}", "/agent", {})

    async def until(self, member: str) -> list[Any]:
        async with asyncio.timeout(60):
            while True:
                for name, body in self.calls:
                    if name == member:
                        return body
                self.called.clear()
                await self.called.wait()


async def waiting(a: FakeHost, b: FakeHost) -> Cable:
    cable = Cable(a, b)
    cable.plug()
    await a.until(LinkState.WAITING_APPROVAL)
    await b.until(LinkState.WAITING_APPROVAL)
    return cable


def pair_of(hosts: Hosts) -> tuple[FakeHost, FakeHost]:
    return hosts("nova", policy="confirm"), hosts("mars", policy="confirm")


def test_agents_of_both_hosts_are_asked_about_the_same_code(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as ca, client(b.bus or "") as cb:
            one, two = Agent(ca, ""), Agent(cb, "")
            await one.register()
            await two.register()
            await waiting(a, b)
            await ca.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            pairing, code, details = await one.until("RequestConfirmation")
            assert pairing.startswith(f"{ROOT}/pairings/") and len(code) == 7
            assert (await two.until("RequestConfirmation"))[1] == code
            assert details["peer_name"].value == "mars" and details["name"].value == "0-1"
            assert details["link"].value == LINK

    asyncio.run(story())


def test_an_agent_that_comes_late_is_asked_about_the_code_on_show(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon() as ha, b.daemon(), client(a.bus or "") as c:
            await waiting(a, b)
            await c.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
            agent = Agent(c, "Rejected")
            await agent.register()
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            assert not ha.state.peers

    asyncio.run(story())


def test_the_latest_agent_is_asked_first_and_the_next_when_it_fails(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c1, client(a.bus or "") as c2:
            first, second = Agent(c1, "Rejected"), Agent(c2, "Broken")
            await first.register()
            await second.register()
            await waiting(a, b)
            await c1.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
            await second.until("RequestConfirmation")
            await first.until("RequestConfirmation")
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")

    asyncio.run(story())


def test_a_question_that_is_moot_is_cancelled(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            agent = Agent(c, None)
            await agent.register()
            cable = await waiting(a, b)
            (pairing,) = await c.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
            await agent.until("RequestConfirmation")
            cable.unplug()
            assert await agent.until("Cancel") == [pairing]

    asyncio.run(story())


def test_an_agent_that_leaves_the_bus_ends_the_pairing_it_was_asked_about(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as other:
            async with client(a.bus or "") as c:
                agent = Agent(c, None)
                await agent.register()
                await waiting(a, b)
                await other.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
                await agent.until("RequestConfirmation")
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            assert a.app is not None and not a.app.service._agents._agents

    asyncio.run(story())


def test_a_forged_farewell_of_an_agent_is_ignored(hosts: Hosts) -> None:
    """Anybody can send a signal to one receiver; only the bus itself is believed."""

    async def story() -> None:
        a, b = pair_of(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c, client(a.bus or "") as evil:
            agent = Agent(c, None)
            await agent.register()
            await waiting(a, b)
            await c.call(ROOT, MANAGER, "Pair", "oa{sv}", LINK, {})
            await agent.until("RequestConfirmation")
            own = c.bus.unique_name
            forged = Message(
                destination=NAME,
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="NameOwnerChanged",
                message_type=MessageType.SIGNAL,
                signature="sss",
                body=[own, own, ""],
            )
            await evil.bus.send(forged)
            assert await evil.get(ROOT, "Manager", "State") == "pairing"
            assert a.app is not None and len(a.app.service._agents._agents) == 1

    asyncio.run(story())


def test_registrations_are_bounded_and_one_a_client(hosts: Hosts) -> None:
    async def story() -> None:
        from contextlib import AsyncExitStack

        a = hosts("nova")
        async with a.daemon(), AsyncExitStack() as stack:
            everybody = [
                await stack.enter_async_context(client(a.bus or "")) for _ in range(AGENTS_MAX + 1)
            ]
            for c in everybody[:-1]:
                await Agent(c, None).register()
            with pytest.raises(BusError, match="Busy"):
                await Agent(everybody[-1], None).register()
            with pytest.raises(BusError, match="AlreadyRegistered"):
                await Agent(everybody[0], None).register()
            with pytest.raises(BusError, match="NoSuchAgent"):
                await everybody[0].call(ROOT, MANAGER, "UnregisterAgent", "o", "/other")
            await everybody[0].call(ROOT, MANAGER, "UnregisterAgent", "o", "/agent")
            await Agent(everybody[-1], None).register()

    asyncio.run(story())


def test_agents_are_released_when_the_daemon_stops(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with client(a.bus or "") as c:
            async with a.daemon():
                agent = Agent(c, None)
                await agent.register()
            await agent.until("Release")

    asyncio.run(story())
