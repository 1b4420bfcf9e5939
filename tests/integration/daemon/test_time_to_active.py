# SPDX-License-Identifier: GPL-2.0-or-later
"""What two hosts that know each other wait for before their link is active: never for a clock.

How long that takes is another matter on each machine; how many messages and waits it costs is
not. tests/vm/test_systemd_hosts_pairing.py has the time.
"""

from __future__ import annotations

import asyncio

import pytest

from usb4rdmad.channels import Channels
from usb4rdmad.effects import Hub
from usb4rdmad.model import LinkState

from .fakes import Cable, FakeHost, Hosts

FRAMES_MAX = 12
"""START, the handshake's three, Admitted of both, Renew, Propose, Accept, and what crosses."""


@pytest.fixture(autouse=True)
def no_clock_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timer of any host does anything: what needs one never comes about."""
    monkeypatch.setattr(Hub, "_fire", lambda *_: None)
    monkeypatch.setattr(Channels, "_tick", lambda *_: None)


def counted(*hosts: FakeHost) -> list[bytes]:
    """All frames that go over the relay from now on."""
    frames: list[bytes] = []
    for host in hosts:

        def note(frame: bytes) -> bytes:
            frames.append(frame)
            return frame

        host.driver.tamper = note
    return frames


@pytest.mark.parametrize("first", ["cable", "a", "b"])
def test_known_hosts_are_active_after_a_dozen_messages_and_no_wait(
    hosts: Hosts, first: str
) -> None:
    """The cable is there before both daemons, or one of them has waited for the other."""

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
        cable.unplug()
        for host in (a, b):  # as after a reboot
            host.epoch += 1
            host.policy = "off"
            host.write_config()
            host.interfaces.clear()
            host.driver.devices.clear()
            host.prober = None  # what follows when the link is active does not count
        cable.plug()
        early, late = (b, a) if first == "b" else (a, b)
        if first == "cable":
            frames = counted(a, b)
            async with a.daemon(), b.daemon():
                await a.until(LinkState.ACTIVE)
                await b.until(LinkState.ACTIVE)
        else:
            async with early.daemon():
                await early.until(LinkState.HANDSHAKING)
                frames = counted(a, b)
                async with late.daemon():
                    await a.until(LinkState.ACTIVE)
                    await b.until(LinkState.ACTIVE)
        assert len(frames) <= FRAMES_MAX, [frame[0] for frame in frames]

    asyncio.run(story())
