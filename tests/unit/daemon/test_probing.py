# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests over a link, by lists of events: who offers, who answers, what ends them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from usb4rdmad import events as ev
from usb4rdmad import messages, orders
from usb4rdmad.errors import BadState, Busy, InvalidArguments, MessageInvalid, NoSuchPeer
from usb4rdmad.model import (
    Measured,
    Peer,
    Policy,
    ProbeKind,
    ProbePlan,
    Settings,
    State,
    fingerprint,
)
from usb4rdmad.probing import CHECKS_MAX, SELF_TEST
from usb4rdmad.step import TIMERS

from .helpers import OTHER, OTHER_KEY, OWN, PEER, LinkState, Port, Trust, kernel, peer, state
from .test_machine import ACTIVE, DONE, OPEN, SEEN, SURVEY, UP, of, play

GIDS = ((0, "fe80::1", "RoCE v2"), (1, "::ffff:169.254.1.1", "RoCE v1"), (2, "fd00::9", "RoCE v2"))
PORT = ev.PortRead("link0", Port(True, GIDS))
PLAN = ProbePlan(ProbeKind.WRITE, 4096, 10, True)
OPENED = ev.ProbeOpened("link0", 0, b"mine")
OFFER = messages.Offer(7, ProbeKind.READ, 512, 3, b"theirs")


def said(message: messages.Message) -> ev.MessageReceived:
    return ev.MessageReceived("link0", messages.encode(message))


def active(self_test: bool = False) -> State:
    """A link that is active without addresses of ours, so that no plan is needed."""
    settings = Settings(policy=Policy.TOFU, configure=False, self_test=self_test)
    start = replace(state(Policy.TOFU, peer()), settings=settings)
    now, _ = play(start, SEEN, UP, DONE, SURVEY, PORT, ACTIVE)
    assert now.links["link0"].state is LinkState.ACTIVE
    return now


def sent(todo: list[orders.Order]) -> list[messages.Message | None]:
    return [messages.decode(o.body) for o in of(orders.Send, todo)]


def test_asked_for_test_offers_then_runs_then_tells() -> None:
    now, todo = play(active(), ev.AdminProbe("link0", PLAN))
    (opened,) = of(orders.OpenProbe, todo)
    assert (opened.serial, opened.ibdev, opened.gid, opened.plan) == (
        0, OPEN.ibdev, "fd00::9", PLAN,
    )  # fmt: skip
    now, todo = play(now, OPENED)
    assert sent(todo) == [messages.Offer(0, ProbeKind.WRITE, 4096, 10, b"mine")]
    now, todo = play(now, said(messages.Answer(0, b"theirs")))
    assert of(orders.RunProbe, todo) == [orders.RunProbe("link0", 0, b"theirs")]
    found = Measured(bits_per_second=5, operations=10)
    now, todo = play(now, ev.ProbeDone("link0", 0, found))
    assert of(orders.ProbeResult, todo) == [orders.ProbeResult("link0", 0, found)]
    assert of(orders.CloseProbe, todo) and now.links["link0"].probe is None
    assert now.links["link0"].measured is None, "a bandwidth is no latency"


def test_offered_test_is_answered_and_run_by_the_other_end() -> None:
    now, todo = play(active(), said(OFFER))
    (opened,) = of(orders.OpenProbe, todo)
    assert opened.serial == 7 and opened.plan == ProbePlan(ProbeKind.READ, 512, 3, False)
    now, todo = play(now, ev.ProbeOpened("link0", 7, b"mine"))
    assert sent(todo) == [messages.Answer(7, b"mine")]
    assert of(orders.RunProbe, todo) == [orders.RunProbe("link0", 7, b"theirs")]
    now, todo = play(now, ev.ProbeDone("link0", 7, Measured(operations=3)))
    assert not of(orders.ProbeResult, todo) and now.links["link0"].measured is None


def test_the_answering_end_of_a_ping_knows_its_latency_too() -> None:
    ping = messages.Offer(7, ProbeKind.PING, 64, 3, b"theirs")
    found = Measured(latency_ns=900)
    now, _ = play(active(), said(ping), ev.ProbeDone("link0", 7, found))
    assert now.links["link0"].measured == found


def test_one_test_at_a_time_and_only_over_active_links() -> None:
    now, _ = play(active(), ev.AdminProbe("link0", PLAN))
    with pytest.raises(Busy):
        play(now, ev.AdminProbe("link0", PLAN))
    _, todo = play(now, said(OFFER))
    assert sent(todo) == [messages.Decline(7)]
    waiting, _ = play(state(Policy.CONFIRM), SEEN, UP)
    with pytest.raises(BadState):
        play(waiting, ev.AdminProbe("link0", PLAN))
    _, todo = play(waiting, said(OFFER))
    assert sent(todo) == [messages.Decline(7)]


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([OPENED, said(messages.Decline(0))], "the other host declined the test"),
        ([ev.ProbeOpened("link0", 0, b"", "no verbs")], "no verbs"),
        ([OPENED, ev.TimerFired("link0", "probe")], "the other host did not answer in time"),
        ([ev.AdminDeauthorize("link0")], "the link was closed"),
        ([ev.KernelGone("link0")], "the link was closed"),
        ([ev.KernelSeen(kernel(instance=2))], "the link was closed"),
        ([OPENED, ev.ProbeDone("link0", 0, Measured("lost"))], "lost"),
    ],
)
def test_whoever_asked_hears_of_every_end(events: list[ev.Event], error: str) -> None:
    now, todo = play(active(), ev.AdminProbe("link0", PLAN), *events)
    (result,) = of(orders.ProbeResult, todo)
    assert result.measured.error == error and of(orders.CloseProbe, todo)
    assert "link0" not in now.links or now.links["link0"].probe is None


@pytest.mark.parametrize(
    "event",
    [
        said(messages.Answer(1, b"x")),
        said(messages.Answer(0, b"x")),
        said(messages.Decline(9)),
        ev.ProbeOpened("link0", 5, b"x"),
        ev.ProbeDone("link0", 5, Measured()),
    ],
)
def test_answers_of_other_tests_or_before_their_time_change_nothing(event: ev.Event) -> None:
    now, _ = play(active(), ev.AdminProbe("link0", PLAN))
    after, todo = play(now, event)
    assert after == now and todo == []
    idle = active()
    assert play(idle, event) == (idle, [])
    assert play(idle, ev.TimerFired("link0", "probe")) == (idle, [])


def test_second_answer_does_not_start_a_second_run() -> None:
    now, _ = play(active(), ev.AdminProbe("link0", PLAN), OPENED, said(messages.Answer(0, b"one")))
    assert play(now, said(messages.Answer(0, b"two"))) == (now, [])


def test_an_end_that_cannot_be_made_for_the_peer_is_declined() -> None:
    now, todo = play(active(), said(OFFER), ev.ProbeOpened("link0", 7, b"", "no"))
    assert sent(todo) == [messages.Decline(7)] and now.links["link0"].probe is None


LARGER_KEY = next(k for n in range(9, 99) if fingerprint(k := bytes([n]) * 32) > OWN)


def own_ping() -> State:
    """A link that came up with the self-test on, to a host with a larger identity."""
    start = replace(
        state(Policy.TOFU, peer(LARGER_KEY)), settings=Settings(Policy.TOFU, configure=False)
    )
    opened = replace(OPEN, peer=fingerprint(LARGER_KEY))
    up = replace(ACTIVE.kernel, peer=fingerprint(LARGER_KEY))
    now, todo = play(
        start,
        SEEN,
        replace(UP, public_key=LARGER_KEY),
        replace(DONE, kernel=opened),
        SURVEY,
        PORT,
        ev.KernelSeen(up),
    )
    (order,) = of(orders.OpenProbe, todo)
    assert order.plan == SELF_TEST
    return now


def test_the_larger_identity_waits_to_be_asked() -> None:
    assert OWN > PEER
    now = active(self_test=True)
    assert now.links["link0"].probe is None


def test_the_smaller_identity_pings_once_a_link_that_comes_up() -> None:
    now = own_ping()
    assert now.links["link0"].probe is not None
    assert now.links["link0"].probe.plan == SELF_TEST
    good = Measured(latency_ns=1200, operations=100)
    now, todo = play(now, OPENED, said(messages.Answer(0, b"x")), ev.ProbeDone("link0", 0, good))
    assert [r.message for r in of(orders.Report, todo)] == ["self-test-passed"]
    assert now.links["link0"].measured == good
    _, todo = play(now, ev.PortRead("link0", Port(True, GIDS)))
    assert not of(orders.OpenProbe, todo), "once is enough"


def test_a_failing_ping_is_tried_three_times_and_then_reported() -> None:
    now = own_ping()
    for attempt in range(CHECKS_MAX):
        serial = now.links["link0"].probe.serial  # type: ignore[union-attr]
        now, todo = play(now, ev.ProbeDone("link0", serial, Measured("lost")))
        reports = [r.message for r in of(orders.Report, todo)]
        if attempt < CHECKS_MAX - 1:
            assert reports == [] and of(orders.StartTimer, todo)[0].purpose == "check"
            now, todo = play(now, ev.TimerFired("link0", "check"))
            assert of(orders.OpenProbe, todo)
        else:
            assert reports == ["self-test-failed"]
    assert now.links["link0"].measured == Measured("lost")


def test_no_verbs_here_ends_the_self_tests_of_this_instance() -> None:
    now = own_ping()
    now, todo = play(now, ev.ProbeOpened("link0", 0, b"", "not installed"))
    assert not of(orders.Report, todo) and now.links["link0"].checks == CHECKS_MAX
    _, todo = play(now, ev.TimerFired("link0", "check"))
    assert not of(orders.OpenProbe, todo)


@pytest.mark.parametrize(
    "body",
    [
        messages.encode(OFFER)[:12],
        messages.encode(OFFER) + bytes(96),
        messages.encode(replace(OFFER, size=0)),
        messages.encode(replace(OFFER, size=2**21)),
        messages.encode(replace(OFFER, count=10**6)),
        b"\x30\0\x01\x09" + bytes(7) + b"\x01" + b"x",
        b"\x31\0\x01",
        b"\x32\0\x01\0",
    ],
)
def test_odd_test_messages_are_refused(body: bytes) -> None:
    with pytest.raises(MessageInvalid):
        messages.decode(body)


# Wishes of administrators that have no test elsewhere


def test_mtu_of_a_peer_is_bounded_kept_and_agreed_again() -> None:
    now = active()
    now, todo = play(now, ev.AdminMtu(PEER, 9000))
    assert now.peers[PEER].mtu == 9000 and messages.Renew() in sent(todo)
    for wrong in (1279, 65521):
        with pytest.raises(InvalidArguments):
            play(now, ev.AdminMtu(PEER, wrong))
    with pytest.raises(NoSuchPeer):
        play(now, ev.AdminMtu(OTHER, 9000))


def test_placed_keys_come_and_go_and_never_lift_a_block() -> None:
    placed = Peer(OTHER, OTHER_KEY, Trust.PLACED, "venus")
    start = state(Policy.OFF, peer(trust=Trust.BLOCKED))
    blocked = Peer(PEER, peer().public_key, Trust.PLACED, "mars")
    mine = Peer(OWN, b"\x01" * 32, Trust.PLACED, "self")
    now, _ = play(start, ev.KeysPlaced((placed, blocked, mine)))
    assert now.peers[OTHER].trust is Trust.PLACED and OWN not in now.peers
    assert now.peers[PEER].trust is Trust.BLOCKED
    now, todo = play(now, ev.KeysPlaced(()))
    assert OTHER not in now.peers and of(orders.ForgetPeer, todo)
    assert PEER in now.peers


def test_a_link_that_waits_is_let_in_when_its_key_is_placed() -> None:
    now, _ = play(state(Policy.CONFIRM), SEEN, UP)
    placed = Peer(PEER, peer().public_key, Trust.PLACED, "mars")
    now, todo = play(now, ev.KeysPlaced((placed,)))
    assert of(orders.Authorize, todo) and now.links["link0"].state is LinkState.AUTHORIZING


def test_a_stranger_at_a_link_is_blocked_but_not_before_it_proved_a_key() -> None:
    now, _ = play(state(Policy.CONFIRM), SEEN)
    with pytest.raises(BadState):
        play(now, ev.AdminShun("link0"))
    now, todo = play(now, UP, ev.AdminShun("link0", 5))
    assert now.peers[PEER].trust is Trust.BLOCKED and now.peers[PEER].paired_by == 5
    assert now.links["link0"].state is LinkState.BLOCKED and messages.Refused() in sent(todo)


def test_policy_of_the_run_time_is_saved_and_applied() -> None:
    now, _ = play(state(Policy.CONFIRM), SEEN, UP)
    now, todo = play(now, ev.AdminPolicy(Policy.TOFU, Settings(policy=Policy.TOFU)))
    assert of(orders.SavePolicy, todo) == [orders.SavePolicy(Policy.TOFU)]
    assert now.links["link0"].state is LinkState.AUTHORIZING


def test_every_timer_of_a_link_is_stopped_when_it_goes() -> None:
    _, todo = play(active(), ev.KernelGone("link0"))
    assert {o.purpose for o in of(orders.StopTimer, todo)} == set(TIMERS)
