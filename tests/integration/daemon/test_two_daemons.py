# SPDX-License-Identifier: GPL-2.0-or-later
"""Two daemons and a fake cable: how a link comes up and lives, without hardware."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from random import Random

import pytest

from usb4rdmad.errors import DriverError
from usb4rdmad.model import KernelState, LinkState, Trust

from .fakes import Cable, FakeHost, Hosts, turn


def run(story: Callable[[], object]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def link(host: FakeHost, name: str = "link0"):  # type: ignore[no-untyped-def]
    assert host.hub is not None
    return host.hub.state.links[name]


def test_tofu_hosts_become_active_with_addresses_that_match(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars", extra="[network]\nmtu = 9000\n")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            mine, theirs = link(a).setup.plan, link(b).setup.plan
            assert [x.ip for x in mine.local] == list(theirs.remote)
            assert [x.ip for x in theirs.local] == list(mine.remote)
            assert mine.mtu == theirs.mtu == 4192
            assert a.interfaces["u4rdma0"].addresses == mine.local
            for address in mine.local:
                network = ip_interface(str(address)).network
                assert all(r in network for r in mine.remote if r.version == address.ip.version)
            assert link(a).peer_name == "mars"
            assert [p.trust for p in a.hub.state.peers.values()] == [Trust.TOFU]

    run(story)


@pytest.mark.parametrize("side", [0, 1])
def test_clashing_networks_of_either_host_are_avoided(hosts: Hosts, side: int) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            first = link(a).setup.plan.subnets
            cable.unplug()
            (a, b)[side].used |= {ip_network(str(first.ipv4)), ip_network("10.0.0.0/8")}
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            async with asyncio.timeout(60):
                while any(first.ipv4 == link(x).setup.plan.subnets.ipv4 for x in (a, b)):
                    await turn(a, b)
            assert link(a).setup.plan.subnets == link(b).setup.plan.subnets
            assert {x.ip for x in a.interfaces["u4rdma0"].addresses} == {
                x.ip for x in link(a).setup.plan.local
            }

    run(story)


def test_addresses_stay_the_same_over_a_replug(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            before = link(a).setup.plan
            cable.unplug()
            await a.hub.flush()
            assert not a.hub.state.links
            cable.plug()
            await a.until(LinkState.ACTIVE)
            assert link(a).setup.plan == before
            assert a.interfaces.keys() == {"u4rdma0"}

    run(story)


def test_restart_of_one_daemon_leaves_an_active_link_alone(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with b.daemon() as hb:
            async with a.daemon():
                Cable(a, b).plug()
                await a.until(LinkState.ACTIVE)
                await b.until(LinkState.ACTIVE)
            calls, configured = list(a.driver.calls), list(a.configured)
            async with a.daemon() as ha:
                await a.until(LinkState.ACTIVE)
                async with asyncio.timeout(60):
                    while not ha.state.links["link0"].secured:
                        await ha.flush()
                        await asyncio.sleep(0)
                await ha.flush()
                await hb.flush()
                assert a.driver.calls == calls
                assert a.configured == configured
                assert a.driver.links["link0"].state is KernelState.ACTIVE
                assert link(b).state is LinkState.ACTIVE

    run(story)


def test_lost_messages_cost_time_only(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usb4rdmad.agreement.RESEND", 0.1)

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        dice = Random(4)
        for host in (a, b):
            host.driver.tamper = lambda frame: None if dice.random() < 0.3 else frame
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)

    run(story)


def test_new_kernel_instance_is_authorised_anew(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            cable.rehandshake()
            await a.until(LinkState.HANDSHAKING)
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            assert a.driver.links["link0"].instance == 2

    run(story)


def test_changed_mtu_wish_is_agreed_again(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars", extra="[network]\nmtu = 60000\n")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            a.extra = "[network]\nmtu = 9000\n"
            a.write_config()
            assert a.app is not None
            a.app.reload()
            async with asyncio.timeout(60):
                while {x.interfaces["u4rdma0"].mtu for x in (a, b)} != {9000}:
                    await turn(a, b)

    run(story)


def test_link_fails_and_is_tried_again_when_the_driver_refuses(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usb4rdmad.machine.RETRY_FIRST", 0.1)

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        a.driver.refuse_authorize = 28
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.FAILED, reason="authorize-failed")
            a.driver.refuse_authorize = 0
            await a.until(LinkState.ACTIVE)

    run(story)


def test_two_cables_to_one_peer_share_its_device_and_addresses(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        one, two = Cable(a, b, "link0", 1), Cable(a, b, "link1", 3)
        async with a.daemon(), b.daemon():
            one.plug()
            two.plug()
            for host in (a, b):
                for name in ("link0", "link1"):
                    await host.until(LinkState.ACTIVE, name)
                assert link(host).setup.plan == link(host, "link1").setup.plan
                assert host.interfaces.keys() == {"u4rdma0"}
            one.unplug()
            await a.hub.flush()
            assert link(a, "link1").state is LinkState.ACTIVE

    run(story)


def test_a_busy_device_is_opened_later(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usb4rdmad.effects.ATTACH_RETRY", 0.1)
    monkeypatch.setattr("usb4rdmad.pairing.session.STALLED_AFTER", 0.3)

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        a.driver.refuse_open = errno.EBUSY
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.HANDSHAKING, reason="peer-silent")
            a.driver.refuse_open = 0
            await a.until(LinkState.ACTIVE)

    run(story)


def test_a_device_that_the_sandbox_forbids_ends_the_daemon(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        a.driver.refuse_open = errno.EPERM
        with pytest.raises(ExceptionGroup) as caught:
            async with a.daemon():
                Cable(a, b).plug()
                await asyncio.wait_for(a.stopped.wait(), 60)
        assert caught.value.subgroup(DriverError)

    run(story)


def test_cable_that_was_plugged_before_the_daemon_is_found(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        Cable(a, b).plug()
        async with a.daemon(), b.daemon():
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)

    run(story)


def test_fifty_replugs_in_a_row_end_active(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        cable = Cable(a, b)
        async with a.daemon(), b.daemon():
            for _ in range(50):
                cable.plug()
                await turn(a, b)
                cable.unplug()
            cable.plug()
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            assert len(a.driver.readers) == 1

    run(story)


def test_a_fault_of_our_own_in_one_event_does_not_end_the_daemon(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon() as hub, b.daemon():
            hub.post(object())  # type: ignore[arg-type]
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)

    run(story)
