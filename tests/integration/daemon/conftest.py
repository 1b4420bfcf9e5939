# SPDX-License-Identifier: GPL-2.0-or-later
"""A private message bus, and hosts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .fakes import FakeHost

BUS_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug of a test; that the store syncs is tested in test_store.py."""
    monkeypatch.setattr("usb4rdmad.store.os.fsync", lambda fd: None)


@pytest.fixture
def buses() -> list[subprocess.Popen[str]]:
    """The message buses that run, oldest first."""
    return []


@pytest.fixture
def private_bus(tmp_path: Path, buses: list[subprocess.Popen[str]]) -> Iterator[Callable[[], str]]:
    """Starts message buses of our own; each call gives the address of a new one."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed")
    running = buses

    def start() -> str:
        number = len(running)
        config = tmp_path / f"bus{number}.conf"
        config.write_text(BUS_CONFIG.format(path=tmp_path / f"bus{number}.sock"))
        process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.fixture
def hosts(tmp_path: Path, private_bus: Callable[[], str]) -> Callable[..., FakeHost]:
    """Makes hosts, each with a bus of its own."""

    def make(name: str, **options: object) -> FakeHost:
        return FakeHost(name, tmp_path / name, bus=private_bus(), **options)  # type: ignore[arg-type]

    return make
