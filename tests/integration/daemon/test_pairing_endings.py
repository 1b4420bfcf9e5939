# SPDX-License-Identifier: GPL-2.0-or-later
"""What each way of pairing ends in, on both hosts: docs/pairing.md without hardware."""

from __future__ import annotations

import asyncio

import pytest

from usb4rdmad import events
from usb4rdmad.errors import BadState, RateLimited
from usb4rdmad.model import LinkState, Port, Trust

from .fakes import Cable, FakeHost, Hosts, hub, strangers

WAITING = LinkState.WAITING_APPROVAL


async def begin(a: FakeHost, b: FakeHost) -> str:
    """The person at a begins to pair; the code that both show."""
    await hub(a).ask(events.AdminPair("link0", 1000))
    codes: list[str] = []
    async with asyncio.timeout(60):
        while len(codes) < 2 or "" in codes:
            for host in (a, b):
                await hub(host).flush()
            pairings = [hub(host).state.links["link0"].pairing for host in (a, b)]
            codes = [pairing.code if pairing else "" for pairing in pairings]
    assert codes[0] == codes[1]
    return codes[0]


async def ended(reason: str, *hosts: FakeHost) -> None:
    """Nothing is open, nobody is trusted, on any of them."""
    for host in hosts:
        await host.until(WAITING, reason=reason)
        assert hub(host).state.links["link0"].pairing is None
        assert not hub(host).state.peers
        assert ("authorize", "link0") not in host.driver.calls


def test_a_confirmation_on_one_side_opens_nothing_before_the_timeout(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            await begin(a, b)
            await hub(a).ask(events.AdminConfirm("link0", 1000))
            await a.until(LinkState.PAIRING, reason="waiting-confirmation")
            await b.until(LinkState.PAIRING, reason="compare-code")
            # The first whose time is up; time is an event.
            await hub(a).ask(events.TimerFired("link0", "pairing"))
            await ended("pairing-timeout", a, b)
            with pytest.raises(BadState):
                await hub(b).ask(events.AdminConfirm("link0", 1000))

    asyncio.run(story())


def test_a_cable_pulled_in_mid_pairing_leaves_nothing(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, cable):
            await begin(a, b)
            await hub(a).ask(events.AdminConfirm("link0", 1000))
            cable.unplug()
            for host in (a, b):
                await hub(host).flush()
                assert not hub(host).state.links
            cable.plug()
            await ended("unknown-peer", a, b)

    asyncio.run(story())


@pytest.mark.parametrize("confirmed", ["nobody", "the one that stays", "the one that goes"])
def test_a_daemon_restarted_in_mid_pairing_ends_it_on_both(hosts: Hosts, confirmed: str) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon():
            async with b.daemon():
                Cable(a, b).plug()
                for host in (a, b):
                    await host.until(WAITING)
                await begin(a, b)
                if confirmed == "the one that stays":
                    await hub(a).ask(events.AdminConfirm("link0", 1000))
                elif confirmed == "the one that goes":
                    await hub(b).ask(events.AdminConfirm("link0", 1000))
                    await hub(a).flush()
            async with b.daemon():
                await ended("unknown-peer", a, b)
                await begin(a, b)
                for host in (a, b):
                    await hub(host).ask(events.AdminConfirm("link0", 1000))
                for host in (a, b):
                    await host.until(LinkState.ACTIVE)
                    (peer,) = hub(host).state.peers.values()
                    assert peer.trust is Trust.CONFIRMED

    asyncio.run(story())


def test_a_pairing_that_failed_three_times_waits_for_the_cable(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, cable):
            for _ in range(3):
                await begin(a, b)
                await hub(b).ask(events.AdminReject("link0"))
                await ended("pairing-rejected", a, b)
            for host in (a, b):
                with pytest.raises(RateLimited):
                    await hub(host).ask(events.AdminPair("link0", 1000))
            cable.unplug()
            cable.plug()
            await ended("unknown-peer", a, b)
            await begin(a, b)

    asyncio.run(story())


def test_forgotten_on_one_side_a_peer_is_a_stranger_there_only(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, cable):
            await begin(a, b)
            for host in (a, b):
                await hub(host).ask(events.AdminConfirm("link0", 1000))
            for host in (a, b):
                await host.until(LinkState.ACTIVE)
            await hub(a).ask(events.AdminForget(next(iter(hub(a).state.peers))))
            await a.until(WAITING, reason="deauthorized")
            await b.until(LinkState.DEGRADED, reason="waiting-peer")
            assert hub(a).state.links["link0"].port == Port(), "a closed link shows GIDs"
            cable.unplug()
            cable.plug()
            await a.until(WAITING, reason="unknown-peer")
            await b.until(LinkState.CONFIGURING, reason="waiting-peer")
            assert not a.driver.links["link0"].authorized
            await hub(a).ask(events.AdminPair("link0", 1000))
            await a.until(WAITING, reason="pairing-rejected")
            await b.until(LinkState.CONFIGURING, reason="waiting-peer")
            assert not hub(a).state.peers
            await hub(a).ask(events.AdminAuthorize("link0", 1000))
            for host in (a, b):
                await host.until(LinkState.ACTIVE)

    asyncio.run(story())


@pytest.mark.parametrize("policy", ["confirm", "off"])
def test_somebody_with_the_uuids_and_names_of_a_known_host_and_another_key_is_blocked(
    hosts: Hosts, policy: str
) -> None:
    """Everything that goes over the cable in the clear can be copied: XDomain UUID, host id,
    epoch, host name. The key cannot."""

    async def story() -> None:
        async with strangers(hosts) as (a, b, cable):
            await begin(a, b)
            for host in (a, b):
                await hub(host).ask(events.AdminConfirm("link0", 1000))
            for host in (a, b):
                await host.until(LinkState.ACTIVE)
            cable.unplug()
            known = dict(hub(a).state.peers)
            calls = list(a.driver.calls)
            a.policy = policy
            a.write_config()
            assert a.app is not None
            a.app.reload()
            impostor = hosts("imp", policy="tofu")
            impostor.name, impostor.host_id, impostor.epoch = b.name, b.host_id, b.epoch
            async with impostor.daemon():
                other = Cable(a, impostor)
                other.uuids = cable.uuids
                other.plug()
                await a.until(LinkState.BLOCKED, reason="key-changed")
                assert a.driver.calls == calls
                assert hub(a).state.peers.keys() == known.keys()
                if policy == "confirm":
                    # As if it were b with a new key: that is how it gets in again.
                    await hub(a).ask(events.AdminForget(next(iter(known))))
                    await a.until(WAITING, reason="unknown-peer")
                    assert a.driver.calls == calls
                    other.unplug()
                    return
                other.unplug()
            # The genuine one is still welcome.
            cable.plug()
            await a.until(LinkState.ACTIVE)

    asyncio.run(story())


def test_a_recorded_handshake_is_refused_by_a_host_that_has_rebooted(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of a genuine peer, played again into the same kernels' next meeting."""
    monkeypatch.setattr("usb4rdmad.pairing.session.STALLED_AFTER", 0.3)

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        recorded: list[bytes] = []

        def record(frame: bytes) -> bytes:
            recorded.append(frame)
            return frame

        b.driver.tamper = record
        cable = Cable(a, b)
        async with a.daemon():
            async with b.daemon():
                cable.plug()
                await a.until(LinkState.ACTIVE)
            cable.unplug()
            before = list(a.driver.calls)
            # b is gone; somebody has its ids and what it once said.
            cable.plug()
            await a.until(LinkState.HANDSHAKING)
            for frame in recorded:
                a.driver.arrive("link0", frame)
                await hub(a).flush()
            await a.until(LinkState.HANDSHAKING, reason="peer-silent")
            assert not hub(a).state.links["link0"].secured
            assert a.driver.calls == before

    asyncio.run(story())
