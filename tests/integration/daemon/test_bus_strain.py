# SPDX-License-Identifier: GPL-2.0-or-later
"""org.usb4rdma1 under strain: nonsense, bursts, a bus that stands still or goes away."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dbus_next import MessageFlag

from usb4rdmad.bus import wire
from usb4rdmad.model import LinkState

from .busclient import LINK, NAME, PROPERTIES, ROOT, BusError, Variant, client
from .fakes import FakeHost, Hosts, pair

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
        a, b, cable = pair(hosts)
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


def test_a_burst_of_changes_is_gathered_into_few_signals(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = pair(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await c.listen()
            for number in range(500):
                a.driver.change("link0", speed=1_000_000 + number)
            await a.hub.flush()  # type: ignore[union-attr]
            async with asyncio.timeout(60):
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
            async with asyncio.timeout(60):
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
                async with asyncio.timeout(60):
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
