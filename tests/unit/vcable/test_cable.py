# SPDX-License-Identifier: GPL-2.0-or-later
"""Links: training, plug and unplug, hot plug events, bonding, power and reset."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vcable import confspace as cs
from vcable import nhi as regs
from vcable.fakehost import FakeHost
from vcable.packets import Kind, Space
from vcable.pci import PMCSR, PME_ENABLE
from vcable_bench import TWO_HOSTS, Bench, Pair

MakeBench = Callable[[str], Bench]
CABLE = "a:1-b:1"


def lane(host: FakeHost, adapter: int) -> tuple[int, int, int]:
    """(state, width, speed) of a lane adapter."""
    word = host.read(Space.PORT, adapter, cs.LANE_STATUS, 1)[0]
    return word >> 26 & 0xF, word >> 20 & 0x3F, word >> 16 & 0xF


def bond(host: FakeHost, ask: bool) -> None:
    for adapter in (1, 2):
        word = cs.TARGET_DUAL << cs.TARGET_WIDTH_SHIFT | 0xC
        if ask and adapter == 1:
            word |= cs.LANE_BOND
        host.write(Space.PORT, adapter, cs.LANE_STATUS, [word])


def unbond(host: FakeHost) -> None:
    for adapter in (1, 2):
        word = cs.TARGET_SINGLE << cs.TARGET_WIDTH_SHIFT | 0xC
        host.write(Space.PORT, adapter, cs.LANE_STATUS, [word])


def state(bench: Bench) -> str:
    return str(bench.world.cable(CABLE).state)


def test_a_link_needs_both_hosts(bench: Bench) -> None:
    bench.host("a")
    assert state(bench) == "down"
    bench.host("b")
    assert state(bench) == "training"
    bench.linked()


def test_training_shows_in_the_lane_adapters(pair: Pair) -> None:
    assert lane(pair.a, 1) == (cs.STATE_UP, 1, cs.SPEED_GEN3)
    assert lane(pair.a, 2)[0] == cs.STATE_UP
    assert lane(pair.a, 3)[0] == cs.STATE_UNPLUGGED


def test_both_hosts_are_told_of_a_new_link_once(pair: Pair) -> None:
    assert pair.a.events == [(1, False)]
    assert pair.b.events == [(1, False)]


def test_unplug_and_plug_are_told_in_order(pair: Pair) -> None:
    bench = pair.bench
    bench.command(cmd="unplug", cable=CABLE)
    bench.wait(lambda: len(pair.a.events) == 2 and len(pair.b.events) == 2)
    bench.command(cmd="plug", cable=CABLE)
    bench.wait(lambda: len(pair.a.events) == 3 and len(pair.b.events) == 3)
    assert pair.a.events == [(1, False), (1, True), (1, False)]


def test_frames_after_unplug_are_lost_and_completed(pair: Pair) -> None:
    pair.bench.command(cmd="unplug", cable=CABLE)
    pair.atx.queue(b"x", 1, 2)
    assert pair.atx.completed() == 1
    assert pair.brx.poll() == []
    pair.bench.command(cmd="plug", cable=CABLE)
    pair.bench.linked()
    pair.atx.queue(b"y", 1, 2)
    assert [frame.data for frame in pair.brx.poll()] == [b"y"]


@pytest.fixture
def repeated_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are repeated after a tenth of the usual time."""
    monkeypatch.setattr("vcable.hotplug.REPEAT_TIME", 0.1)


@pytest.mark.usefixtures("repeated_soon")
def test_a_flap_while_an_event_is_unacknowledged_is_told_as_unplug_and_plug(bench: Bench) -> None:
    a, b = bench.host("a"), bench.host("b")
    bench.linked()
    bench.wait(lambda: bool(a.events and b.events))
    a.acknowledge = False
    bench.command(cmd="unplug", cable=CABLE)
    bench.wait(lambda: len(a.events) == 2)
    bench.command(cmd="plug", cable=CABLE)
    bench.linked()
    a.acknowledge = True
    bench.wait(lambda: a.events[-1] == (1, False))
    assert (1, True) in a.events[1:-1]


@pytest.mark.usefixtures("repeated_soon")
def test_events_are_repeated_until_they_are_acknowledged(bench: Bench) -> None:
    a = bench.host("a")
    a.acknowledge = False
    bench.host("b")
    bench.wait(lambda: len(a.events) >= 2, "a repeated event")
    assert set(a.events) == {(1, False)}


def test_no_event_before_the_driver_allows_hot_plug_on_the_port(bench: Bench) -> None:
    a = bench.host("a", start=False)
    a.start_control()
    bench.host("b")
    a.write(Space.SWITCH, 0, cs.CS_VALID, [cs.VALID])
    bench.linked()
    assert a.events == []
    word = a.read(Space.PORT, 1, cs.ADAPTER_HOPS, 1)[0]
    a.write(Space.PORT, 1, cs.ADAPTER_HOPS, [word & ~cs.HOTPLUG_DISABLED])
    bench.wait(lambda: a.events == [(1, False)])


def test_a_port_reset_takes_the_link_down_and_up_again(pair: Pair) -> None:
    pair.b.write(Space.PORT, 1, cs.PORT_CONTROL, [cs.PORT_RESET])
    assert state(pair.bench) == "down"
    pair.b.write(Space.PORT, 1, cs.PORT_CONTROL, [0])
    pair.bench.linked()
    pair.bench.wait(lambda: pair.a.events[-2:] == [(1, True), (1, False)])


def test_a_host_that_dies_is_an_unplug_for_the_other(pair: Pair) -> None:
    pair.bench.world.routers["b", 1].disconnected()
    pair.bench.hosts.remove(pair.b)
    pair.bench.wait(lambda: pair.a.events[-1] == (1, True))
    assert state(pair.bench) == "down"
    pair.atx.queue(b"x", 1, 2)
    assert pair.atx.completed() == 1


def test_a_function_reset_forgets_everything_and_trains_anew(pair: Pair) -> None:
    device = pair.bench.world.routers["b", 1]
    pair.bench.hosts.remove(pair.b)
    device.reset()
    assert not device.router.valid
    assert not any(ring.enabled for ring in (*device.nhi.tx, *device.nhi.rx))
    pair.bench.wait(lambda: pair.a.events[-2:] == [(1, True), (1, False)])


def test_a_version_2_router_resets_by_its_register(make_bench: MakeBench) -> None:
    bench = make_bench(TWO_HOSTS.replace('name = "b"', 'name = "b"\n[[host.router]]\nversion = 2'))
    a, b = bench.host("a"), bench.host("b")
    bench.linked()
    b.bus.write32(regs.RESET, regs.RESET_HRR)
    assert state(bench) == "training"
    assert b.bus.read32(regs.RESET) == 0
    assert not bench.world.routers["b", 1].router.valid
    bench.wait(lambda: (1, True) in a.events)


def test_a_version_1_router_has_no_reset_register(pair: Pair) -> None:
    pair.b.bus.write32(regs.RESET, regs.RESET_HRR)
    assert state(pair.bench) == "up"


@pytest.mark.parametrize("asker", ["a", "b"])
def test_lanes_bond_when_all_four_want_to_and_one_side_asks(pair: Pair, asker: str) -> None:
    asking, other = (pair.a, pair.b) if asker == "a" else (pair.b, pair.a)
    bond(asking, True)
    assert lane(pair.a, 1)[1] == 1
    bond(other, False)
    for host in (pair.a, pair.b):
        for adapter in (1, 2):
            assert lane(host, adapter)[1] == 2
    assert pair.bench.world.cable(CABLE).width == 2


def test_without_being_asked_lanes_do_not_bond(pair: Pair) -> None:
    bond(pair.a, False)
    bond(pair.b, False)
    assert lane(pair.a, 1)[1] == 1


def test_one_side_can_end_bonding(pair: Pair) -> None:
    bond(pair.a, True)
    bond(pair.b, False)
    unbond(pair.b)
    assert lane(pair.a, 1)[1] == 1
    assert lane(pair.b, 1)[1] == 1


def test_a_disabled_second_lane_cannot_bond_and_reads_disabled(pair: Pair) -> None:
    pair.b.write(Space.PORT, 2, cs.LANE_STATUS, [cs.LANE_DISABLE | 3 << 4])
    assert lane(pair.b, 2)[0] == cs.STATE_DISABLED
    bond(pair.a, True)
    pair.b.write(Space.PORT, 1, cs.LANE_STATUS, [3 << 4])
    assert lane(pair.a, 1)[1] == 1
    pair.b.write(Space.PORT, 2, cs.LANE_STATUS, [3 << 4])
    assert lane(pair.a, 1)[1] == 2


def test_bonding_ends_with_the_link(pair: Pair) -> None:
    bond(pair.a, True)
    bond(pair.b, False)
    pair.bench.command(cmd="unplug", cable=CABLE)
    pair.bench.command(cmd="plug", cable=CABLE)
    pair.bench.linked()
    assert lane(pair.a, 1)[1] == 1


def test_a_single_lane_port_makes_a_single_lane_link(make_bench: MakeBench) -> None:
    bench = make_bench(TWO_HOSTS.replace('name = "b"', 'name = "b"\n[[host.router]]\nlanes = 1'))
    a, b = bench.host("a"), bench.host("b")
    bench.linked()
    for host in (a, b):
        assert lane(host, 2)[0] == cs.STATE_UNPLUGGED
        assert host.read(Space.PORT, 1, cs.LANE_CAP, 1)[0] >> 20 & 0x3F == 1
    bond(a, True)
    bond(b, False)
    assert lane(a, 1)[1] == 1
    bench.command(cmd="unplug", cable=CABLE)
    assert a.read(Space.PORT, 1, cs.LANE_CAP, 1)[0] >> 20 & 0x3F == 3


@pytest.mark.parametrize(("versions", "speed", "width"), [("22", 2, 2), ("12", 4, 1), ("11", 4, 1)])
def test_two_version_2_routers_link_at_gen_4_bonded(
    make_bench: MakeBench, versions: str, speed: int, width: int
) -> None:
    text = "".join(
        f'[[host]]\nname = "{name}"\n[[host.router]]\nversion = {version}\n'
        for name, version in zip("ab", versions, strict=True)
    )
    bench = make_bench(text + '[[cable]]\nends = ["a:1", "b:1"]\n')
    a = bench.host("a")
    bench.host("b")
    bench.linked()
    assert lane(a, 1) == (cs.STATE_UP, width, speed)


def test_a_plug_while_the_host_sleeps_wakes_it_by_pme_and_is_told_later(bench: Bench) -> None:
    bench.command(cmd="unplug", cable=CABLE)
    a, b = bench.host("a"), bench.host("b")
    pci = bench.world.routers["a", 1].pci
    a.stop()
    pci.write(PMCSR, (PME_ENABLE | 3).to_bytes(2, "little"))
    assert pci.asleep
    bench.command(cmd="plug", cable=CABLE)
    bench.linked()
    assert pci.config[PMCSR + 1] & 0x80
    bench.wait(lambda: bool(b.events))
    pci.write(PMCSR, (0x8000).to_bytes(2, "little"))
    assert not pci.config[PMCSR + 1] & 0x80
    a.start_control()
    bench.wait(lambda: a.events == [(1, False)])


def test_two_cables_between_two_hosts_carry_frames_apart(make_bench: MakeBench) -> None:
    bench = make_bench(TWO_HOSTS + '[[cable]]\nends = ["a:2", "b:2"]\n')
    a, b = bench.host("a"), bench.host("b")
    bench.linked()
    bench.linked("a:2-b:2")
    rings = {}
    for host in (a, b):
        for number, adapter in ((1, 1), (2, 3)):
            rings[host, number] = host.data_rings(number)
            host.enable_path(adapter, 8, number, number)
    rings[a, 1][0].queue(b"one", 1, 2)
    rings[a, 2][0].queue(b"two", 1, 2)
    assert [frame.data for frame in rings[b, 1][1].poll()] == [b"one"]
    assert [frame.data for frame in rings[b, 2][1].poll()] == [b"two"]


def test_three_hosts_in_a_chain(make_bench: MakeBench) -> None:
    bench = make_bench(TWO_HOSTS + '[[host]]\nname = "c"\n[[cable]]\nends = ["b:2", "c:1"]\n')
    a, b, c = (bench.host(name) for name in "abc")
    bench.linked()
    bench.linked("b:2-c:1")
    c.send_control(Kind.XDOMAIN_REQUEST, [0, 1, 1, 2, 3, 4, 5, 6])
    bench.wait(lambda: bool(b.xdomain))
    assert b.xdomain[0][1][1] == 3
    assert not a.xdomain


def test_links_are_in_the_trace(pair: Pair) -> None:
    pair.bench.command(cmd="unplug", cable=CABLE)
    lines = [line.split("LINK ")[1].split()[0] for line in pair.bench.traced("LINK")]
    assert lines[-3:] == ["training", "up", "unplugged"]
