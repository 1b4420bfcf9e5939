# SPDX-License-Identifier: GPL-2.0-or-later
"""org.usb4rdma1 by the tools that people have: busctl, gdbus, GLib."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from usb4rdmad.model import LinkState

from .busclient import LINK, NAME, ROOT
from .fakes import Hosts, pair

# Tools that people have


def test_busctl_and_gdbus_read_the_tree(hosts: Hosts) -> None:
    busctl, gdbus = shutil.which("busctl"), shutil.which("gdbus")
    if busctl is None or gdbus is None:
        pytest.skip("busctl or gdbus is not installed")

    async def story() -> None:
        a, b, cable = pair(hosts)
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
    async with asyncio.timeout(60):
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
GLib.timeout_add_seconds(60, loop.quit)
loop.run()
"""


def test_glib_object_manager_sees_links_come_and_go(hosts: Hosts) -> None:
    python = "/usr/bin/python3"
    probe = [python, "-c", "from gi.repository import Gio"]
    if not Path(python).exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("python3-gi is not installed")

    async def story() -> None:
        a, b, cable = pair(hosts)
        async with a.daemon(), b.daemon():
            process = await asyncio.create_subprocess_exec(
                python, "-c", GLIB, a.bus or "", stdout=subprocess.PIPE
            )
            assert process.stdout is not None
            async with asyncio.timeout(60):
                assert (await process.stdout.readline()).decode().split() == ["before", "0"]
                cable.plug()
                line = (await process.stdout.readline()).decode().split()
                assert line == ["added", LINK, "'0-1'"]
                await a.until(LinkState.ACTIVE)
                cable.unplug()
                assert (await process.stdout.readline()).decode().split() == ["removed", LINK]
                await process.wait()

    asyncio.run(story())
