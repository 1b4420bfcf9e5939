# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as the service manager sees it: readiness, reload, stop, bad starts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from usb4rdmad.errors import ConfigInvalid

from .fakes import Hosts

TOP = Path(__file__).parents[3]


class Manager:
    """A notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(30)
        self.said: list[str] = []

    def until(self, line: str) -> None:
        while not any(line in text.splitlines() for text in self.said):
            self.said.append(self.socket.recv(4096).decode())


@pytest.fixture
def daemon(
    tmp_path: Path, private_bus: Callable[[], str]
) -> Callable[..., tuple[subprocess.Popen[str], Manager]]:
    """Starts the real program, with a state directory and a bus of the test's own."""

    def start(config: str = "") -> tuple[subprocess.Popen[str], Manager]:
        manager = Manager(tmp_path / "notify")
        path = tmp_path / "usb4rdmad.toml"
        path.write_text(config)
        environment = {
            k: v for k, v in os.environ.items() if k not in ("JOURNAL_STREAM", "WATCHDOG_PID")
        } | {
            "PYTHONPATH": str(TOP),
            "NOTIFY_SOCKET": str(manager.path),
            "WATCHDOG_USEC": "400000",
            "DBUS_SYSTEM_BUS_ADDRESS": private_bus(),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "usb4rdmad", "--config", str(path), "--state", str(tmp_path)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        return process, manager

    return start


def test_ready_reload_watchdog_and_stop_are_told(
    daemon: Callable[..., tuple[subprocess.Popen[str], Manager]], tmp_path: Path
) -> None:
    process, manager = daemon()
    try:
        manager.until("READY=1")
        manager.until("WATCHDOG=1")
        assert any(t.startswith("STATUS=0 links") for t in manager.said)
        (tmp_path / "usb4rdmad.toml").write_text("[network]\nmtu = 3\n")
        manager.said.clear()
        process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        assert process.poll() is None, "a bad configuration does not end a running daemon"
        process.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "mtu = 3: expected 1280 to 65520; the old configuration stays" in " ".join(
            err.replace("(usb4rdmad.toml(5) lists all settings)", "").split()
        ).replace(" ;", ";")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("config", "spoil", "code", "said"),
    [
        ("[x]\n", {}, 78, "[x]: no such setting"),
        ("", {"version": "99"}, 1, "later version"),
        ("", {"identity.key": "rubbish"}, 1, "does not hold a key"),
    ],
)
def test_a_bad_start_ends_with_a_sentence_and_a_code(
    daemon: Callable[..., tuple[subprocess.Popen[str], Manager]],
    tmp_path: Path,
    config: str,
    spoil: dict[str, str],
    code: int,
    said: str,
) -> None:
    for name, text in spoil.items():
        (tmp_path / name).write_text(text)
    process, _ = daemon(config)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert said in err and "Traceback" not in err


def test_reload_of_a_bad_configuration_keeps_the_old_one(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        async with a.daemon() as hub:
            before = hub.state.settings
            a.policy = "nonsense"
            a.write_config()
            assert a.app is not None
            with pytest.raises(ConfigInvalid):
                a.app.reload()
            await hub.flush()
            assert hub.state.settings == before

    asyncio.run(story())


def test_an_event_queue_that_stands_still_ends_the_daemon_without_a_sign_of_life(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog proves that events are taken, not only that a timer runs."""
    monkeypatch.setattr("usb4rdmad.app.WATCHDOG_PATIENCE", 0.05)
    monkeypatch.setattr("usb4rdmad.notify.Notifier.watchdog_seconds", staticmethod(lambda: 0.02))
    alive: list[bool] = []
    enough = asyncio.Event()

    def sign(self: object) -> None:
        alive.append(True)
        if len(alive) == 3:
            enough.set()

    monkeypatch.setattr("usb4rdmad.notify.Notifier.alive", sign)

    async def story() -> None:
        a = hosts("nova")
        with pytest.raises(ExceptionGroup) as caught:
            async with a.daemon() as hub:
                assert a.app is not None
                await asyncio.wait_for(enough.wait(), 60)
                stuck: asyncio.Queue[Any] = asyncio.Queue()
                monkeypatch.setattr(hub, "_queue", stuck)
                seen = len(alive)
                await asyncio.wait_for(a.stopped.wait(), 60)
                assert len(alive) <= seen + 1
        assert caught.value.subgroup(TimeoutError)

    asyncio.run(story())
