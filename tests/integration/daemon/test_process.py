# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a process of its own: what hostile callers and time cost it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Message, MessageFlag

from .busclient import MANAGER, NAME, PROPERTIES, ROOT, client


async def _process(address: str, tmp_path: Path) -> asyncio.subprocess.Process:
    (tmp_path / "usb4rdmad.toml").write_text("")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "usb4rdmad",
        "--config",
        str(tmp_path / "usb4rdmad.toml"),
        "--state",
        str(tmp_path / "state"),
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=address),
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"started" not in (line := await process.stderr.readline()):
            assert line, "the daemon ended"
    return process


def _memory(pid: int, what: str) -> int:
    """KiB; VmHWM is the most that there ever was."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(x.split()[1]) for x in text.splitlines() if x.startswith(f"{what}:"))


def _hostile(number: int) -> Message:
    """One of many kinds of nonsense."""
    kinds: list[tuple[str, str | None, str, str, list[Any]]] = [
        (f"{ROOT}/links/x{number}", PROPERTIES, "Get", "ss", ["a" * 1000, "b"]),
        (ROOT, f"{NAME}.Manager", "FindLink", "s", ["\u2603" * (number % 3000)]),
        (ROOT, f"{NAME}.Manager", "FindPeer", "s", ["f" * 64]),
        (ROOT, f"{NAME}.Manager", "Pair", "oa{sv}", ["/nowhere", {}]),
        (ROOT, f"{NAME}.Manager", "RegisterAgent", "s", ["x"]),
        (ROOT, None, f"Method{number}", "", []),
        ("/", MANAGER, "GetManagedObjects", "", []),
        (ROOT, PROPERTIES, "GetAll", "s", [f"{NAME}.Nope{number}"]),
        (f"/a{number}/b", "org.freedesktop.DBus.Introspectable", "Introspect", "", []),
        (ROOT, f"{NAME}.Manager", "Describe", "ay", [bytes(5000)]),
    ]
    path, interface, member, signature, body = kinds[number % len(kinds)]
    flags = MessageFlag.NO_REPLY_EXPECTED if number % 7 == 0 else MessageFlag.NONE
    return Message(
        destination=NAME,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=body,
        flags=flags,
    )


PEAK_MAX, GROWTH_MAX = 60 << 10, 1 << 10
"""KiB."""
IDLE_SECONDS, IDLE_CPU_MAX = 1.0, 0.001


def test_a_thousand_hostile_calls_leave_the_daemon_small_and_its_journal_readable(
    private_bus: Callable[[], str], tmp_path: Path
) -> None:
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed")

    async def story() -> None:
        address = private_bus()
        process = await _process(address, tmp_path)
        try:
            async with client(address) as c:

                async def attack() -> None:
                    for number in range(1000):
                        await c.bus.send(_hostile(number))
                        if number % 50 == 49:  # the broker itself bounds what waits
                            assert await c.get(ROOT, "Manager", "State") == "idle"

                await attack()
                before = _memory(process.pid, "VmRSS")
                await attack()
                grown = _memory(process.pid, "VmRSS") - before
                assert grown <= GROWTH_MAX, f"{grown} KiB"
                peak = _memory(process.pid, "VmHWM")
                assert peak <= PEAK_MAX, f"{peak} KiB"
            await _is_idle(process)
        finally:
            process.terminate()
            _, said = await asyncio.wait_for(process.communicate(), 60)
        lines = said.decode().splitlines()
        assert process.returncode == 0
        assert len(lines) <= 3 and not any("Traceback" in line for line in lines), lines

    asyncio.run(story())


async def _is_idle(process: asyncio.subprocess.Process) -> None:
    """For a while nothing happens, and next to no processor time is taken."""

    def used() -> float:
        return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9

    before = used()
    try:
        await asyncio.wait_for(process.wait(), IDLE_SECONDS)
    except TimeoutError:
        pass
    assert used() - before <= IDLE_SECONDS * IDLE_CPU_MAX
