# SPDX-License-Identifier: GPL-2.0-or-later
"""Two daemons and a fake cable: what two hosts come to, without hardware."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from random import Random

import pytest

from usb4rdmad import events
from usb4rdmad.errors import ConfigInvalid, DriverError, RateLimited
from usb4rdmad.model import KernelState, LinkState, Trust

from .fakes import Cable, FakeHost, turn

Hosts = Callable[..., FakeHost]


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
            async with asyncio.timeout(5):
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


def test_confirm_policy_opens_nothing_before_both_humans_said_so(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon() as hb:
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
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
    async with asyncio.timeout(5):
        while not (link(a).pairing.code and link(b).pairing.code):
            await a.hub.flush()
            await b.hub.flush()


def test_reject_on_one_side_ends_the_pairing_on_both(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon() as hb:
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
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
                async with asyncio.timeout(5):
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


def test_host_with_a_known_name_and_another_key_is_blocked(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha:
            async with b.daemon():
                cable = Cable(a, b)
                cable.plug()
                await a.until(LinkState.WAITING_APPROVAL)
                await ha.ask(events.AdminAuthorize("link0", 0))
                await a.until(LinkState.CONFIGURING)
                cable.unplug()
            impostor = hosts("imp")
            impostor.name, impostor.host_id, impostor.epoch = "mars", b.host_id, b.epoch
            async with impostor.daemon():
                Cable(a, impostor).plug()
                await a.until(LinkState.BLOCKED, reason="key-changed")
                assert not a.driver.links["link0"].authorized

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
            async with asyncio.timeout(10):
                while "peer-invalid" not in states:
                    for hub in (ha, hb):
                        await hub.flush()
                        states |= {x.reason.value for x in hub.state.links.values()}
                    await asyncio.sleep(0)
            assert not a.driver.calls and not b.driver.calls

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
            async with asyncio.timeout(5):
                while {x.interfaces["u4rdma0"].mtu for x in (a, b)} != {9000}:
                    await turn(a, b)

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


def test_link_fails_and_is_tried_again_when_the_driver_refuses(hosts: Hosts) -> None:
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
                await asyncio.wait_for(a.stopped.wait(), 5)
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
