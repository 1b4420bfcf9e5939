# SPDX-License-Identifier: GPL-2.0-or-later
"""Impairments: which frames are hit, and what happens to them."""

from __future__ import annotations

import pytest
from vcable.impair import ImpairmentError, Kind, parse
from vcable_bench import Bench, Pair

CABLE = "a:1-b:1"


def send(pair: Pair, count: int, start: int = 0) -> None:
    for n in range(start, start + count):
        pair.atx.queue(bytes([n]) * 10, 1, 2)
        pair.atx.completed()


def got(pair: Pair) -> list[int]:
    return [frame.data[0] for frame in pair.brx.poll()]


def test_the_same_seed_hits_the_same_frames() -> None:
    def hits(seed: int) -> list[int]:
        impairment = parse("drop", rate=0.3, seed=seed)
        return [n for n in range(200) if impairment.hit()]

    assert hits(7) == hits(7)
    assert hits(7) != hits(8)
    assert 30 < len(hits(7)) < 90


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (1.0, 50)])
def test_rate_zero_hits_nothing_and_rate_one_everything(rate: float, count: int) -> None:
    impairment = parse("drop", rate=rate)
    assert sum(impairment.hit() for _ in range(50)) == count


def test_nth_counts_from_now_and_hits_once(pair: Pair) -> None:
    send(pair, 3)
    pair.bench.command(cmd="inject", cable=CABLE, what="drop", nth=2)
    send(pair, 4, 3)
    assert got(pair) == [0, 1, 2, 3, 5, 6]


def test_nth_takes_a_list(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="drop", nth=[1, 4])
    send(pair, 5)
    assert got(pair) == [1, 2, 4]
    hit = pair.bench.world.stat()["cables"][CABLE]["from"]["a:1"]
    assert hit["injected"] == {"drop": 2}
    assert hit["impairments"] == [{"what": "drop", "seen": 5, "hits": 2, "spent": True}]


def test_from_limits_an_impairment_to_one_sender(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="drop", rate=1, **{"from": "b.1:1"})
    send(pair, 2)
    pair.btx.queue(b"x", 1, 2)
    assert got(pair) == [0, 1]
    assert pair.arx.poll() == []


def test_inject_off_ends_all_impairments(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="drop", rate=1)
    send(pair, 1)
    pair.bench.command(cmd="inject_off")
    send(pair, 1, 1)
    assert got(pair) == [1]


@pytest.mark.parametrize("what", ["crc", "flip"])
def test_crc_and_flip_damage_one_bit_and_set_the_flag(pair: Pair, what: str) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what=what, nth=1)
    pair.atx.queue(bytes(100), 1, 2)
    (frame,) = pair.brx.poll()
    assert frame.crc_error
    assert sum(byte.bit_count() for byte in frame.data) == 1


def test_a_silent_flip_has_no_flag(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="flip", nth=1, silent=True)
    pair.atx.queue(bytes(100), 1, 2)
    (frame,) = pair.brx.poll()
    assert not frame.crc_error
    assert sum(byte.bit_count() for byte in frame.data) == 1


def test_the_senders_memory_is_never_damaged(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="flip", rate=1)
    pair.atx.queue(bytes(100), 1, 2)
    address, _ = pair.atx.descriptor(0)
    assert pair.a.memory.read(address, 100) == bytes(100)


def test_nointr_completes_the_frame_without_interrupt_and_without_status(pair: Pair) -> None:
    pair.brx.clear()
    pair.bench.command(cmd="inject", cable=CABLE, what="nointr", nth=1)
    send(pair, 1)
    assert pair.b.bus.irqs() == []
    pair.brx.mask()
    pair.brx.unmask()
    assert pair.b.bus.irqs() == []
    assert got(pair) == [0]
    send(pair, 1, 1)
    assert pair.b.bus.irqs() == [pair.vector]


def test_dupintr_interrupts_once_more_though_nothing_came_and_the_ring_is_masked(
    pair: Pair,
) -> None:
    pair.brx.clear()
    pair.bench.command(cmd="inject", cable=CABLE, what="dupintr", nth=1)
    send(pair, 1)
    assert pair.b.bus.irqs() == [pair.vector]
    assert got(pair) == [0]
    pair.brx.mask()
    again: list[int] = []

    def came() -> bool:
        again.extend(pair.b.bus.irqs())
        return bool(again)

    pair.bench.wait(came, "the interrupt's duplicate")
    assert again == [pair.vector]
    assert got(pair) == []


def test_notxdone_completes_with_the_next_frame_only(pair: Pair) -> None:
    pair.a.bus.irqs()
    pair.bench.command(cmd="inject", cable=CABLE, what="notxdone", nth=1)
    pair.atx.queue(b"1", 1, 2)
    assert pair.atx.completed() == 0
    assert pair.a.bus.irqs() == []
    assert len(pair.brx.poll()) == 1
    pair.atx.queue(b"2", 1, 2)
    assert pair.atx.completed() == 2
    assert pair.a.bus.irqs() == [pair.a.vector_of[pair.atx.index]]


def test_delay_holds_frames_back_in_order(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="delay", nth=[1, 3], us=20000)
    send(pair, 5)
    assert pair.atx.completed() == 0  # all were completed at once while sending
    assert got(pair) == []
    assert pair.bench.world.stat()["cables"][CABLE]["from"]["a:1"]["in_flight"] == 5
    found: list[int] = []

    def all_there() -> bool:
        found.extend(got(pair))
        return len(found) == 5

    pair.bench.wait(all_there)
    assert found == [0, 1, 2, 3, 4]
    assert pair.b.bus.irqs()


def test_reorder_lets_later_frames_overtake(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="delay", nth=1, us=5000, reorder=True)
    send(pair, 3)
    found = got(pair)
    assert found == [1, 2]

    def all_there() -> bool:
        found.extend(got(pair))
        return len(found) == 3

    pair.bench.wait(all_there)
    assert found == [1, 2, 0]


@pytest.mark.parametrize("reorder", [False, True])
def test_unplug_loses_what_is_in_flight(pair: Pair, reorder: bool) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="delay", rate=1, us=5000, reorder=reorder)
    send(pair, 3)
    pair.bench.command(cmd="unplug", cable=CABLE)

    def lost() -> bool:
        stat = pair.bench.world.stat()["cables"][CABLE]["from"]["a:1"]
        return bool(stat["lost_by_reason"].get("lost_in_flight") == 3)

    pair.bench.wait(lost)
    assert got(pair) == []


def test_delayed_frames_wait_for_descriptors_under_end_to_end_control(bench: Bench) -> None:
    pair = Pair(bench, e2e=True, size=8)
    bench.command(cmd="inject", cable=CABLE, what="delay", rate=1, us=1000)
    found: list[int] = []
    for n in range(7):
        pair.atx.queue(bytes([n]), 1, 2)
    pair.atx.completed()
    for n in range(7, 12):
        pair.atx.queue(bytes([n]), 1, 2)

    def all_there() -> bool:
        found.extend(frame.data[0] for frame in pair.brx.poll())
        return len(found) == 12

    bench.wait(all_there)
    assert found == list(range(12))


def test_ring_zero_is_never_impaired(pair: Pair) -> None:
    pair.bench.command(cmd="inject", cable=CABLE, what="drop", rate=1)
    from vcable.packets import Space

    assert pair.a.read(Space.SWITCH, 0, 0, 1)
    pair.a.send_control(6, [0, 1, 1, 2, 3, 4, 5, 6])
    pair.bench.wait(lambda: bool(pair.b.xdomain))


def test_impairments_show_in_the_trace(pair: Pair) -> None:
    for what in ("drop", "crc", "nointr", "dupintr"):
        pair.bench.command(cmd="inject", cable=CABLE, what=what, nth=1)
        send(pair, 1)
        pair.bench.command(cmd="inject_off")
    fates = [line.split("len=10 ")[1].split()[0] for line in pair.bench.traced("FRAME")]
    assert fates == ["drop", "ok,crc", "ok,nointr", "ok,dupintr"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"what": "explode", "rate": 1}, "what"),
        ({"what": 7, "rate": 1}, "what"),
        ({"what": None, "rate": 1}, "what"),
        ({"what": "drop"}, "rate"),
        ({"what": "drop", "rate": 0.5, "nth": 1}, "rate"),
        ({"what": "drop", "rate": -0.1}, "rate"),
        ({"what": "drop", "rate": 1.1}, "rate"),
        ({"what": "drop", "rate": "x"}, "rate"),
        ({"what": "drop", "rate": True}, "rate"),
        ({"what": "drop", "nth": 0}, "nth"),
        ({"what": "drop", "nth": []}, "nth"),
        ({"what": "drop", "nth": [1, "x"]}, "nth"),
        ({"what": "drop", "nth": 1.5}, "nth"),
        ({"what": "drop", "rate": 1, "seed": "x"}, "seed"),
        ({"what": "drop", "rate": 1, "us": 5}, "us"),
        ({"what": "delay", "rate": 1, "us": "x"}, "us"),
        ({"what": "delay", "rate": 1, "us": 0}, "us"),
        ({"what": "delay", "rate": 1, "us": 1e9}, "us"),
        ({"what": "drop", "rate": 1, "silent": True}, "silent"),
        ({"what": "flip", "rate": 1, "silent": "yes"}, "silent"),
        ({"what": "drop", "rate": 1, "reorder": True}, "reorder"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ImpairmentError, match=f"^{named}"):
        parse(**fields)  # type: ignore[arg-type]


def test_every_kind_can_be_asked_for() -> None:
    for kind in Kind:
        assert parse(str(kind), rate=0.5, us=1 if kind == Kind.DELAY else None).kind is kind
