# SPDX-License-Identifier: GPL-2.0-or-later
"""Two daemons and a fake cable: whom a host lets in, without hardware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from usb4rdmad import events
from usb4rdmad.errors import ConfigInvalid, RateLimited
from usb4rdmad.model import KernelState, LinkState, Trust

from .fakes import Cable, FakeHost, Hosts, hub, strangers


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def link(host: FakeHost, name: str = "link0"):  # type: ignore[no-untyped-def]
    assert host.hub is not None
    return host.hub.state.links[name]


def test_confirm_policy_opens_nothing_before_both_humans_said_so(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            ha, hb = hub(a), hub(b)
            await ha.ask(events.AdminPair("link0", 1000))
            await a.until(LinkState.PAIRING)
            await b.until(LinkState.PAIRING)
            await wait_codes(a, b)
            assert link(a).pairing.code == link(b).pairing.code != ""
            await ha.ask(events.AdminConfirm("link0", 1000))
            await hb.flush()
            assert not a.driver.calls and not b.driver.calls
            await hb.ask(events.AdminConfirm("link0", 1001))
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            assert {p.trust for p in ha.state.peers.values()} == {Trust.CONFIRMED}
            assert {p.paired_by for p in hb.state.peers.values()} == {1001}

    run(story)


async def wait_codes(a: FakeHost, b: FakeHost) -> None:
    async with asyncio.timeout(60):
        while not (link(a).pairing.code and link(b).pairing.code):
            await a.hub.flush()
            await b.hub.flush()


def test_reject_on_one_side_ends_the_pairing_on_both(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            ha, hb = hub(a), hub(b)
            for _ in range(3):
                await ha.ask(events.AdminPair("link0", 0))
                await b.until(LinkState.PAIRING)
                await wait_codes(a, b)
                await hb.ask(events.AdminReject("link0"))
                await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            with pytest.raises(RateLimited):
                await ha.ask(events.AdminPair("link0", 0))
            assert not a.driver.calls and not b.driver.calls

    run(story)


def test_paired_hosts_need_no_one_after_both_daemons_restart_and_kernels_reload(
    hosts: Hosts,
) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
        cable.unplug()
        for host in (a, b):
            host.policy = "off"
            host.write_config()
            host.epoch += 1
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)

    run(story)


def test_policy_off_admits_nobody_and_says_so(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="off"), hosts("mars", policy="confirm")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.BLOCKED, reason="policy-off")
            await b.until(LinkState.WAITING_APPROVAL, reason="peer-refused")
            assert not a.driver.calls and not b.driver.calls

    run(story)


def test_other_protocol_version_is_incompatible(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug(KernelState.INCOMPATIBLE)
            await a.until(LinkState.INCOMPATIBLE, reason="protocol-version")
            assert not a.driver.calls

    run(story)


def test_an_interposer_makes_the_codes_differ(hosts: Hosts) -> None:
    """Two channels, one to each host, have two hashes: the codes do not match."""

    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        left, right = hosts("mars2", policy="confirm"), hosts("nova2", policy="confirm")
        left.name, right.name = "mars", "nova"
        async with a.daemon() as ha, b.daemon() as hb, left.daemon(), right.daemon():
            Cable(a, left).plug()
            Cable(right, b).plug()
            for host in (a, b, left, right):
                await host.until(LinkState.WAITING_APPROVAL)
            await ha.ask(events.AdminPair("link0", 0))
            await hb.ask(events.AdminPair("link0", 0))
            await wait_codes(a, left)
            await wait_codes(b, right)
            assert link(a).pairing.code != link(b).pairing.code

    run(story)


def test_tampered_handshake_opens_nothing(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        for host in (a, b):
            host.driver.tamper = lambda f: f[:-1] + bytes([f[-1] ^ 1]) if len(f) > 40 else f
        async with a.daemon() as ha, b.daemon() as hb:
            Cable(a, b).plug()
            states = set()
            async with asyncio.timeout(60):
                while "peer-invalid" not in states:
                    for hub in (ha, hb):
                        await hub.flush()
                        states |= {x.reason.value for x in hub.state.links.values()}
                    await asyncio.sleep(0)
            assert not a.driver.calls and not b.driver.calls

    run(story)


def test_deauthorize_holds_until_replug(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon() as ha, b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            await ha.ask(events.AdminDeauthorize("link0"))
            await a.until(LinkState.WAITING_APPROVAL, reason="deauthorized")
            await b.until(LinkState.DEGRADED, reason="waiting-peer")
            assert not a.driver.links["link0"].authorized
            cable.unplug()
            cable.plug()
            await a.until(LinkState.ACTIVE)

    run(story)


def test_forgotten_peer_loses_its_device_and_its_link(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            (identity,) = ha.state.peers
            await ha.ask(events.AdminForget(identity))
            assert not ha.state.peers and not a.driver.devices
            assert not a.driver.links["link0"].authorized
            assert not list((a.state / "lib" / "peers").iterdir())

    run(story)


def test_cluster_members_need_nobody_and_strangers_get_nowhere(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="cluster"), hosts("mars", policy="cluster")
        c = hosts("eve", policy="confirm")
        (tmp_path / "usb4rdma.cluster").write_text("a secret of the rack\n")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        async with a.daemon() as ha, b.daemon(), c.daemon():
            Cable(a, b).plug()
            Cable(a, c, "link1", 3).plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            assert {p.trust for p in ha.state.peers.values()} == {Trust.CLUSTER}
            await a.until(LinkState.HANDSHAKING, "link1", "cluster-secret")
            await c.until(LinkState.HANDSHAKING, "link1", "cluster-secret")

    run(story)


def test_cluster_policy_without_a_secret_does_not_start(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova", policy="cluster")
        with pytest.raises(ConfigInvalid, match="without a secret"):
            async with a.daemon():
                pass

    run(story)
