# SPDX-License-Identifier: GPL-2.0-or-later
"""After the machine has slept: what changed meanwhile is found without an event."""

from __future__ import annotations

import asyncio

import pytest
from dbus_next import Message
from dbus_next.aio import MessageBus

from usb4rdmad.model import LinkState

from .fakes import Hosts, hub, pair

LOGIN = "org.freedesktop.login1"


async def logind_says(bus: MessageBus, about_to_sleep: bool, to: str | None = None) -> None:
    """logind's signal; to all who listen, or to one alone as anybody can."""
    message = Message.new_signal(
        "/org/freedesktop/login1",
        f"{LOGIN}.Manager",
        "PrepareForSleep",
        "b",
        [about_to_sleep],
    )
    message.destination = to
    await bus.send(message)


def test_links_are_read_again_when_the_machine_wakes_up(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usb4rdmad.effects.RESCAN_PAUSE", 0.01)

    async def story() -> None:
        a, b, cable = pair(hosts)
        async with a.daemon(), b.daemon():
            logind = await MessageBus(bus_address=a.bus).connect()
            await logind.request_name(LOGIN)
            cable.plug()
            await a.until(LinkState.ACTIVE)
            del a.driver.links["link0"]  # the cable was pulled, and the uevent is lost
            await logind_says(logind, True)
            await logind_says(logind, False)
            async with asyncio.timeout(60):
                while hub(a).state.links:
                    await hub(a).flush()
                    await asyncio.sleep(0)
            logind.disconnect()

    asyncio.run(story())


def test_a_flood_of_such_signals_from_anybody_costs_one_scan(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon():
            scans: list[int] = []
            scanned = asyncio.Event()

            def scan() -> None:
                scans.append(1)
                scanned.set()

            monkeypatch.setattr(hub(a), "scan", scan)
            stranger = await MessageBus(bus_address=a.bus).connect()
            for _ in range(200):
                await logind_says(stranger, False, to="org.usb4rdma1")
            await asyncio.wait_for(scanned.wait(), 60)
            assert len(scans) <= 3
            stranger.disconnect()

    asyncio.run(story())
