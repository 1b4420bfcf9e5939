# SPDX-License-Identifier: GPL-2.0-or-later
"""What dbus_next 0.2.3 does wrong, one test a defect: the daemon must not show it.

Bursts to a frozen broker, hot-plug seen from the root object, phantom children and
annotations are in test_bus.py and test_bus_strain.py, where the objects are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Message
from dbus_next.aio import MessageBus

from usb4rdmad.bus.connection import Connection
from usb4rdmad.errors import BusLost
from usb4rdmad.log import log
from usb4rdmad.model import LinkState

from .busclient import LINK, MANAGER, NAME, PROPERTIES, ROOT, BusError, client
from .fakes import Cable, Hosts


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def journal() -> Iterator[Lines]:
    """What the daemon writes, and what anybody writes to the root logger."""
    handler = Lines()
    yield handler
    log.removeHandler(handler)
    logging.getLogger().removeHandler(handler)


def test_calls_after_a_disconnect_fail_at_once(private_bus: Callable[[], str]) -> None:
    """The library's call() would wait for ever."""

    async def story() -> None:
        connection = Connection(private_bus())
        await connection.open(lambda call: False)
        connection._bus._sock.shutdown(2)
        with pytest.raises(BusLost):
            async with asyncio.timeout(60):
                await connection.lost()
        with pytest.raises(BusLost):
            async with asyncio.timeout(60):
                await connection.call(NAME, ROOT, MANAGER, "GetManagedObjects")
        assert connection.send(Message.new_signal(ROOT, NAME, "X")) is False
        connection.close()

    asyncio.run(story())


def test_a_call_that_nobody_answers_ends_at_its_deadline(private_bus: Callable[[], str]) -> None:
    async def story() -> None:
        address = private_bus()
        silent = await MessageBus(bus_address=address).connect()
        silent.add_message_handler(lambda message: True)
        connection = Connection(address)
        await connection.open(lambda call: False)
        with pytest.raises(BusLost):
            await connection.call(silent.unique_name, "/", "x.y", "Z", patience=0.05)
        connection.close()
        silent.disconnect()

    asyncio.run(story())


def test_refusals_leave_nothing_in_the_journal(hosts: Hosts, journal: Lines) -> None:
    """The library logs a traceback for each error that is answered."""

    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            log.addHandler(journal)
            logging.getLogger().addHandler(journal)
            for number in range(200):
                with pytest.raises(BusError):
                    await c.call(ROOT, f"{NAME}.Manager", "FindLink", "s", f"x{number}")
                with pytest.raises(BusError):
                    await c.call("/nowhere", "a.b", "C")
            assert journal.lines == []

    asyncio.run(story())


def test_counters_that_cannot_be_read_spoil_no_other_property(hosts: Hosts) -> None:
    """In the library one getter that raises fails GetManagedObjects for all."""

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")

        def broken(ibdev: str, netdev: str) -> dict[str, int]:
            raise OSError("the device is just going away")

        a.counters = broken  # type: ignore[method-assign]
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            objects = await c.objects()
            assert objects[LINK][f"{NAME}.Link"]["State"].value == "active"
            assert objects[LINK][f"{NAME}.LinkStatistics"]["RxBytes"].value == 0

    asyncio.run(story())


def test_most_calls_read_no_counters(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        read: list[str] = []
        honest = a.counters

        def counting(ibdev: str, netdev: str) -> dict[str, int]:
            read.append(ibdev)
            return honest(ibdev, netdev)

        a.counters = counting  # type: ignore[method-assign]
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            read.clear()
            for _ in range(50):
                await c.get(LINK, "Link", "State")
                await c.call(ROOT, PROPERTIES, "GetAll", "s", f"{NAME}.Manager")
            assert read == []
            await c.get(LINK, "LinkStatistics", "RxBytes")
            assert read == ["usb4rdma0"]

    asyncio.run(story())


def test_file_descriptors_sent_to_the_daemon_do_not_stay_open(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon():
            before = len(list(Path("/proc/self/fd").iterdir()))
            bus = await MessageBus(bus_address=a.bus, negotiate_unix_fd=True).connect()
            sent = os.open(os.devnull, os.O_RDONLY)
            try:
                for _ in range(20):
                    message = Message(
                        destination=NAME,
                        path=ROOT,
                        interface=f"{NAME}.Manager",
                        member="FindLink",
                        signature="h",
                        body=[0],
                        unix_fds=[sent],
                    )
                    answer = await asyncio.wait_for(bus.call(message), 60)
                    assert answer is not None and answer.error_name
            finally:
                os.close(sent)
            bus.disconnect()
            async with client(a.bus or "") as c:
                assert await c.get(ROOT, "Manager", "State") == "idle"
            assert len(list(Path("/proc/self/fd").iterdir())) < before + 10, "20 were sent"

    asyncio.run(story())


def test_properties_have_annotations_and_arguments_have_names(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon(), client(a.bus or "") as c:
            (xml,) = await c.call(ROOT, "org.freedesktop.DBus.Introspectable", "Introspect")
            assert 'name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"' in xml
            assert '<arg name="json" type="s" direction="out"/>' in xml
            assert '<arg name="details" type="a{sv}"/>' in xml
            assert "org.gtk.GDBus.DocString" in xml

    asyncio.run(story())


AS_NOBODY = """
import os, sys
os.setgid(65534); os.setuid(65534)
from gi.repository import Gio, GLib
bus = Gio.DBusConnection.new_for_address_sync(
    sys.argv[1], Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
    | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)
def call(path, interface, member, body=None):
    try:
        return bus.call_sync("org.usb4rdma1", path, interface, member, body, None,
                             Gio.DBusCallFlags.NONE, 60000, None).unpack()
    except GLib.Error as error:
        return Gio.DBusError.get_remote_error(error)
root, manager = "/org/usb4rdma1", "org.usb4rdma1.Manager"
props = "org.freedesktop.DBus.Properties"
link = "/org/usb4rdma1/links/l00_0000000000000001"
print(call(root, props, "Get", GLib.Variant("(ss)", (manager, "State"))))
print(call(root, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") != None)
for path, interface, member, body in (
    (root, manager, "Reload", None),
    (root, manager, "Pair", GLib.Variant("(oa{sv})", (link, {}))),
    (root, manager, "RegisterAgent", GLib.Variant("(oa{sv})", ("/a", {}))),
    (root, props, "Set", GLib.Variant("(ssv)", (manager, "DefaultPolicy",
                                                GLib.Variant("s", "tofu")))),
    (link, "org.usb4rdma1.Link", "Authorize", GLib.Variant("(a{sv})", ({},))),
    (link, "org.usb4rdma1.Link", "Deauthorize", None),
    (link, "org.usb4rdma1.Link", "Reset", None),
    (link, "org.usb4rdma1.Link", "Block", None),
    (link, "org.usb4rdma1.Link", "Test", GLib.Variant("(a{sv})", ({},))),
    (link, props, "Set", GLib.Variant("(ssv)", ("org.usb4rdma1.Link", "RequestedMtu",
                                                GLib.Variant("u", 9000)))),
):
    print(member, call(path, interface, member, body))
"""


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ((False, False), "org.freedesktop.DBus.Error.AccessDenied"),
        ((False, True), "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"),
        (None, "org.freedesktop.DBus.Error.AccessDenied"),
    ],
)
def test_an_unprivileged_user_reads_all_and_changes_nothing(
    hosts: Hosts, tmp_path: Path, says: tuple[bool, bool] | None, error: str
) -> None:
    python = "/usr/bin/python3"
    probe = [python, "-c", "from gi.repository import Gio"]
    if not Path(python).exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("python3-gi is not installed")
    if os.getuid() != 0:
        pytest.skip("becoming another user needs root")

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_mode & 0o5 != 5:
                path.chmod(path.stat().st_mode | 0o055)
        asked: list[str] = []
        async with a.daemon() as ha, b.daemon(), _polkit(a.bus or "", says, asked):
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            process = await asyncio.create_subprocess_exec(
                python, "-c", AS_NOBODY, a.bus or "", stdout=subprocess.PIPE
            )
            async with asyncio.timeout(60):
                out, _ = await process.communicate()
            lines = out.decode().splitlines()
            assert lines[:2] == ["('active',)", "True"]
            assert len(lines) == 12
            assert {line.split(" ", 1)[1] for line in lines[2:]} == {error}, lines
            assert ha.state.settings.policy.value == "tofu"
            assert a.driver.links["link0"].authorized
            if says is not None:
                assert set(asked) == {
                    f"{NAME}.{x}" for x in ("manage", "pair", "authorize", "test")
                }

    asyncio.run(story())


class _polkit:
    """A polkit on the bus that says one thing, or none at all."""

    def __init__(self, address: str, says: tuple[bool, bool] | None, asked: list[str]) -> None:
        self.address = address
        self.says = says
        self.asked = asked
        self.bus: MessageBus | None = None

    async def __aenter__(self) -> None:
        if self.says is None:
            return
        self.bus = await MessageBus(bus_address=self.address).connect()
        self.bus.add_message_handler(self._answer)
        await self.bus.request_name("org.freedesktop.PolicyKit1")

    def _answer(self, message: Message) -> Message | bool:
        if message.member != "CheckAuthorization" or self.says is None:
            return False
        self.asked.append(message.body[1])
        return Message.new_method_return(message, "(bba{ss})", [[*self.says, {}]])

    async def __aexit__(self, *about: Any) -> None:
        if self.bus is not None:
            self.bus.disconnect()
