# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests over a link, between two daemons with fake verbs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from usb4rdmad.model import LinkState, Measured

from .busclient import LINK, NAME, BusClient, BusError, Variant, client
from .fakes import Cable, FakeHost, FakeProber, Hosts, turn


def prober(host: FakeHost) -> FakeProber:
    assert host.prober is not None
    return host.prober


async def up(hosts: Hosts, **options: object) -> tuple[FakeHost, FakeHost, Cable]:
    a, b = hosts("nova", **options), hosts("mars", **options)
    return a, b, Cable(a, b)


async def active(a: FakeHost, b: FakeHost, cable: Cable) -> None:
    cable.plug()
    await a.until(LinkState.ACTIVE)
    await b.until(LinkState.ACTIVE)


async def self_tests(a: FakeHost, b: FakeHost, wanted: str) -> None:
    async with asyncio.timeout(60):
        while wanted not in [x.app.service._objects()[LINK][f"{NAME}.Link"]["SelfTest"]  # type: ignore[union-attr]
                             for x in (a, b)]:  # fmt: skip
            await turn(a, b)


async def measure(c: BusClient, **options: str | int) -> dict[str, object]:
    given = {k: Variant("s" if isinstance(v, str) else "u", v) for k, v in options.items()}
    (found,) = await c.call(LINK, f"{NAME}.Link", "Test", "a{sv}", given)
    return {k: v.value for k, v in found.items()}


def test_a_link_that_comes_up_is_pinged_once_and_both_ends_know_the_others(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            await self_tests(a, b, "passed")
            await turn(a, b)
            (one,), (two,) = prober(a).probes, prober(b).probes
            assert {one.plan.initiator, two.plan.initiator} == {True, False}
            assert one.remote.startswith(b"usb4rdma0 ") and two.remote.startswith(b"usb4rdma0 ")
            assert b"169.254" in one.remote, "the GID of the first agreed address"
            assert not one.open and not two.open
            assert await c.get(LINK, "Link", "LatencyNanoseconds") == 2500

    asyncio.run(story())


def test_administrators_measure_what_they_ask_for(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts, extra="[network]\nself_test = false\n")
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            assert await c.get(LINK, "Link", "SelfTest") == "" and not prober(a).probes
            assert await measure(c) == {
                "kind": "ping", "size": 64, "operations": 100, "latency_ns": 2500, "p99_ns": 4000,
            }  # fmt: skip
            found = await measure(c, kind="write", size=4096, count=50)
            assert found["bits_per_second"] == 10**10 and found["size"] == 4096
            plan = prober(b).probes[-1].plan
            assert (plan.kind.value, plan.size, plan.count, plan.initiator) == (
                "write", 4096, 50, False,
            )  # fmt: skip

    asyncio.run(story())


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "flood"},
        {"size": 0},
        {"size": 2**30},
        {"count": 10**9},
        {"size": "big"},
        {"colour": "red"},
    ],
)
def test_odd_options_are_refused(hosts: Hosts, options: dict[str, str | int]) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts)
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            with pytest.raises(BusError, match="InvalidArgs"):
                await measure(c, **options)

    asyncio.run(story())


def test_a_failed_measurement_is_told_to_who_asked(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts, extra="[network]\nself_test = false\n")
        prober(a).finds = Measured("no answer over RDMA")
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            with pytest.raises(BusError, match=r"TestFailed: no answer over RDMA"):
                await measure(c)
            prober(b).refuses = "no verbs here"
            with pytest.raises(BusError, match="the other host declined"):
                await measure(c)
            b.prober = None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("missing", "extra", "said"),
    [
        ("verbs", "", "install python3-pyverbs"),
        ("addresses", "configure = false\n", "the port has no RoCE v2 GID"),
    ],
)
def test_who_asks_for_a_test_that_cannot_be_is_told_why(
    hosts: Hosts, missing: str, extra: str, said: str
) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts, extra="[network]\nself_test = false\n" + extra)
        if missing == "verbs":
            a.prober = None
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            for _ in range(2):
                with pytest.raises(BusError, match=f"TestFailed: .*{said}"):
                    await measure(c)

    asyncio.run(story())


def test_one_test_a_link_and_a_cable_pulled_ends_it(hosts: Hosts) -> None:
    async def story() -> None:
        a, b, cable = await up(hosts, extra="[network]\nself_test = false\n")
        prober(a).hangs = prober(b).hangs = True
        async with a.daemon(), b.daemon(), client(a.bus or "") as c:
            await active(a, b, cable)
            running = asyncio.create_task(measure(c))
            async with asyncio.timeout(60):
                while not (prober(a).probes and prober(a).probes[0].remote):
                    await turn(a, b)
            with pytest.raises(BusError, match="Busy"):
                await measure(c)
            cable.unplug()
            with pytest.raises(BusError, match="TestFailed: the link was closed"):
                await running
            await turn(a, b)
            assert not prober(a).probes[0].open and not prober(b).probes[0].open

    asyncio.run(story())


def test_a_self_test_that_cannot_be_is_unavailable_and_one_that_fails_is_reported(
    hosts: Hosts, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usb4rdmad.probing.RETRY", 0.01)

    async def story(spoil: Callable[[FakeHost], None], wanted: str) -> None:
        a, b, cable = await up(hosts)
        for host in (a, b):
            spoil(host)
        async with a.daemon(), b.daemon():
            await active(a, b, cable)
            await self_tests(a, b, wanted)

    def without(host: FakeHost) -> None:
        host.prober = None

    def broken(host: FakeHost) -> None:
        prober(host).finds = Measured("no completion")

    asyncio.run(story(without, "unavailable"))
    asyncio.run(story(broken, "failed"))
