# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl against a daemon on a private bus: pairing, policy, who may in."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest

from usb4rdmad.model import LinkState

from .ctl import ctl, ended, read_json, start, until_line
from .fakes import Cable, Hosts, hub, strangers, turn


def test_a_wait_for_a_link_that_policy_refuses_ends_at_once(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="off"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.BLOCKED)
            code, _, err = await ctl(a, "status", "--wait", "--timeout", "60")
            assert code == 7 and "policy-off" in err

    asyncio.run(story())


def test_two_people_pair_two_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            code, out, err = await ctl(a, "pair", "0-1")
            assert code == 0, err
            shown = out.splitlines()[0].removeprefix("code: ")
            code, out, _ = await ctl(b)
            assert f"code {shown}" in out
            assert (await ctl(b, "confirm", "0-1"))[0] == 0
            code, _, err = await ctl(a, "confirm", "0-1", "--wait", "--timeout", "60")
            assert code == 0, err
            assert (await ctl(a, "label", "mars", "the rack"))[0] == 0
            assert "the rack" in (await ctl(a, "list"))[1]
            assert (await ctl(a, "pair", "0-1"))[0] == 1, "paired already"
            assert (await ctl(a, "deauthorize", "mars"))[0] == 0
            await a.until(LinkState.WAITING_APPROVAL)
            assert (await ctl(a, "authorize", "mars", "--wait"))[0] == 0
            assert (await ctl(a, "block", "the rack"))[0] == 0
            await a.until(LinkState.BLOCKED)
            assert (await ctl(a, "forget", "the rack"))[0] == 0
            assert (await ctl(a, "reload"))[0] == 0

    asyncio.run(story())


def test_a_wrong_code_ends_the_pairing_on_both_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            ha = hub(a)
            code = (await read_json(a, "pair", "0-1"))["Code"]
            wrong = f"{(int(code.replace(' ', '')) + 1) % 10**6:06d}"
            status, _, err = await ctl(a, "confirm", "0-1", wrong)
            assert status == 7 and "not the code" in err
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            assert not ha.state.peers

    asyncio.run(story())


def test_agents_in_two_terminals_pair_two_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            ha = hub(a)
            there = await start(b, "pair", stdin=subprocess.PIPE)
            await until_line(there, "waiting for codes")
            here = await start(a, "pair", "0-1", "--agent", stdin=subprocess.PIPE)
            mine = await until_line(here, "[y/n]")
            theirs = await until_line(there, "[y/n]")
            code = mine.split("code: ")[1][:7]
            assert f"code: {code}" in theirs and "mars" in mine and "nova" in theirs
            assert here.stdin is not None and there.stdin is not None
            here.stdin.write(b"what?\ny\n")
            there.stdin.write(b"yes\n")
            out = await until_line(here, "0-1 is active")
            assert "y or n?" in out
            async with asyncio.timeout(60):
                assert await ended(here) == 0
            assert [p.paired_by for p in ha.state.peers.values()] == [os.getuid()]
            there.terminate()
            await ended(there)

    asyncio.run(story())


@pytest.mark.parametrize(("how", "code"), [("no", 7), ("leave", -9), ("interrupt", 130)])
def test_an_agent_that_says_no_or_leaves_ends_the_pairing(
    hosts: Hosts, how: str, code: int
) -> None:
    async def story() -> None:
        async with strangers(hosts) as (a, b, _):
            ha = hub(a)
            here = await start(a, "pair", "0-1", "--agent", stdin=subprocess.PIPE)
            await until_line(here, "[y/n]")
            assert here.stdin is not None
            if how == "no":
                here.stdin.write(b"n\n")
            elif how == "interrupt":
                here.send_signal(signal.SIGINT)
            else:
                here.kill()
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            async with asyncio.timeout(60):
                assert await ended(here) == code
            assert not ha.state.peers

    asyncio.run(story())


def test_a_pairing_that_the_other_daemons_restart_cuts_short_ends_the_program(
    hosts: Hosts,
) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon():
            async with b.daemon():
                Cable(a, b).plug()
                for host in (a, b):
                    await host.until(LinkState.WAITING_APPROVAL)
                here = await start(a, "pair", "0-1", "--agent", stdin=subprocess.PIPE)
                await until_line(here, "[y/n]")
            async with b.daemon():
                await a.until(LinkState.WAITING_APPROVAL, reason="unknown-peer")
                async with asyncio.timeout(60):
                    await ended(here)
                assert here.returncode == 7

    asyncio.run(story())


def test_a_label_is_enough_to_wait_for_a_link(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            assert (await ctl(a, "label", "mars", "the rack"))[0] == 0
            assert (await ctl(a, "deauthorize", "the rack"))[0] == 0
            await a.until(LinkState.WAITING_APPROVAL)
            code, _, err = await ctl(a, "authorize", "the rack", "--wait", "--timeout", "30")
            assert code == 0, err

    asyncio.run(story())


def test_mtu_and_policy_are_set_kept_and_taken_back(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars", extra="[network]\nmtu = 60000\n")
        a.extra = "[network]\nmtu = 60000\n"
        a.write_config()
        cable = Cable(a, b)
        async with b.daemon():
            async with a.daemon():
                cable.plug()
                await a.until(LinkState.ACTIVE)
                await b.until(LinkState.ACTIVE)
                assert (await ctl(a, "mtu", "mars", "9000"))[0] == 0
                async with asyncio.timeout(60):
                    while {x.interfaces["u4rdma0"].mtu for x in (a, b)} != {9000}:
                        await turn(a, b)
                assert (await read_json(a, "mtu", "0-1"))["RequestedMtu"] == 9000
                assert (await ctl(a, "mtu", "mars", "70000"))[0] == 1
                assert (await ctl(a, "mtu", "mars", "big"))[0] == 2
                assert (await ctl(a, "policy", "off"))[0] == 0
                assert (await ctl(a, "policy", "cluster"))[0] == 1, "there is no secret"
            async with a.daemon() as ha:
                assert (await read_json(a, "policy")) == {"policy": "off", "set_at_run_time": True}
                assert [p.mtu for p in ha.state.peers.values()] == [9000]
                assert (await ctl(a, "policy", "configured"))[0] == 0
                assert (await read_json(a, "policy"))["policy"] == "tofu"
                assert (await ctl(a, "mtu", "mars", "default"))[0] == 0

    asyncio.run(story())


def test_a_stranger_can_be_blocked_where_it_is_plugged(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            assert (await ctl(a, "block", "0-1"))[0] == 0
            await a.until(LinkState.BLOCKED, reason="peer-blocked")
            assert [p.trust.value for p in ha.state.peers.values()] == ["blocked"]
            assert (await ctl(a, "pair", "0-1"))[0] == 1
            assert (await ctl(a, "forget", "mars"))[0] == 0

    asyncio.run(story())


def test_identity_is_a_file_that_lets_a_host_in(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="off"), hosts("mars", policy="tofu")
        folder = a.state / "authorized_peers.d"
        async with b.daemon(), a.daemon() as ha:
            _, text, _ = await ctl(b, "identity")
            cable = Cable(a, b)
            cable.plug()
            await a.until(LinkState.BLOCKED, reason="policy-off")
            folder.mkdir()
            (folder / "mars.toml").write_text(text)
            (folder / "bad.toml").write_text("public_key = 7\n")
            assert (await ctl(a, "reload"))[0] == 0
            await a.until(LinkState.ACTIVE)
            assert [p.trust.value for p in ha.state.peers.values()] == ["placed"]
            (folder / "mars.toml").unlink()
            assert (await ctl(a, "reload"))[0] == 0
            await a.until(LinkState.WAITING_APPROVAL)
            assert not a.driver.links["link0"].authorized and not ha.state.peers

    asyncio.run(story())
