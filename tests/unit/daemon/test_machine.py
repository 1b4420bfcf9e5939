# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine, by lists of events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from usb4rdmad import events as ev
from usb4rdmad import messages, orders
from usb4rdmad.errors import AlreadyPaired, BadState, NoSuchLink, NoSuchPeer, Usb4RdmaError
from usb4rdmad.machine import step
from usb4rdmad.model import Reason, Settings, State, Subnets

from .helpers import (
    OTHER_KEY,
    OWN_KEY,
    PEER,
    PEER_KEY,
    Interface,
    KernelState,
    LinkState,
    Policy,
    Port,
    Trust,
    kernel,
    peer,
    state,
)

NOW = 1_000_000_000


def play(start: State, *events: ev.Event) -> tuple[State, list[orders.Order]]:
    """All events; the state after, and the orders of all."""
    given_orders: list[orders.Order] = []
    for event in events:
        start, more = step(start, event, NOW)
        given_orders += more
    return start, given_orders


def of(kind: type, todo: list[orders.Order]) -> list[Any]:
    return [o for o in todo if isinstance(o, kind)]


SEEN = ev.KernelSeen(kernel())
UP = ev.SessionUp("link0", 1, PEER_KEY, "mars")
OPEN = kernel(
    KernelState.AUTHORIZED, authorized=True, peer=PEER, ibdev="usb4rdma0", netdev="u4rdma0"
)
DONE = ev.AuthorizeDone("link0", 1, 0, OPEN)
ACTIVE = ev.KernelSeen(replace(OPEN, state=KernelState.ACTIVE))
SURVEY = ev.NetworkSurveyed("link0", frozenset(), Interface(1500))


def where(s: State) -> tuple[LinkState, Reason]:
    return s.links["link0"].state, s.links["link0"].reason


def agreed(start: State) -> State:
    """From configuring to active, whichever side proposes."""
    s, todo = play(start, SURVEY)
    sent = [messages.decode(o.body) for o in of(orders.Send, todo)]
    if any(isinstance(m, messages.Propose) for m in sent):
        (offer,) = [m for m in sent if isinstance(m, messages.Propose)]
        body = messages.encode(messages.Accept(offer.seq, offer.mtu))
        s, todo = play(s, ev.MessageReceived("link0", body))
    else:
        from usb4rdmad.addressing import candidate

        offer = messages.Propose(1, 4192, candidate(s.settings, s.identity, PEER, 0))
        s, todo = play(s, ev.MessageReceived("link0", messages.encode(offer)), SURVEY)
    assert len(of(orders.Configure, todo)) == 1
    plan = s.links["link0"].setup.plan
    assert plan is not None
    gids = tuple(
        (i, str(a.ip) if a.ip.version == 6 else f"::ffff:{a.ip}", "RoCE v2")
        for i, a in enumerate(plan.local)
    )
    s, _ = play(s, ev.Configured("link0", ""), ACTIVE, ev.PortRead("link0", Port(True, gids)))
    return s


def test_ready_link_starts_a_session_and_opens_nothing() -> None:
    s, todo = play(state(), SEEN)
    assert where(s) == (LinkState.HANDSHAKING, Reason.NONE)
    assert of(orders.StartSession, todo) and not of(orders.Authorize, todo)


def test_tofu_pins_an_unknown_key_and_authorises() -> None:
    s, todo = play(state(Policy.TOFU), SEEN, UP)
    assert where(s)[0] is LinkState.AUTHORIZING
    assert [o.peer for o in of(orders.Authorize, todo)] == [PEER]
    assert s.peers[PEER].trust is Trust.TOFU and of(orders.SavePeer, todo)


def test_confirm_leaves_an_unknown_key_waiting() -> None:
    s, todo = play(state(Policy.CONFIRM), SEEN, UP)
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.UNKNOWN_PEER)
    assert not of(orders.Authorize, todo) and not s.peers


@pytest.mark.parametrize("policy", list(Policy))
def test_a_known_key_is_admitted_under_every_policy(policy: Policy) -> None:
    s, todo = play(state(policy, peer()), SEEN, UP)
    assert where(s)[0] is LinkState.AUTHORIZING and of(orders.Authorize, todo)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_blocked_key_is_refused_under_every_policy(policy: Policy) -> None:
    s, todo = play(state(policy, peer(trust=Trust.BLOCKED)), SEEN, UP)
    assert where(s) == (LinkState.BLOCKED, Reason.PEER_BLOCKED)
    assert not of(orders.Authorize, todo)


def test_cluster_admits_who_proved_the_secret_and_nobody_else() -> None:
    s, todo = play(state(Policy.CLUSTER), SEEN, UP)
    assert where(s) == (LinkState.BLOCKED, Reason.CLUSTER_SECRET)
    assert not of(orders.Authorize, todo)
    s, todo = play(state(Policy.CLUSTER), SEEN, replace(UP, cluster=True))
    assert of(orders.Authorize, todo) and s.peers[PEER].trust is Trust.CLUSTER


def test_a_change_to_cluster_authenticates_who_waits_anew() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP)
    s, todo = play(s, ev.SettingsChanged(Settings(policy=Policy.CLUSTER)))
    assert where(s)[0] is LinkState.HANDSHAKING and of(orders.StartSession, todo)
    s, todo = play(s, UP)
    assert where(s)[0] is LinkState.BLOCKED and not of(orders.Authorize, todo)


def test_a_secret_on_one_side_only_is_the_reason_shown() -> None:
    s, _ = play(state(Policy.CLUSTER), SEEN, ev.SessionMismatch("link0", 1))
    assert where(s) == (LinkState.HANDSHAKING, Reason.CLUSTER_SECRET)
    s, _ = play(s, ev.SessionStalled("link0", 1))
    assert where(s)[1] is Reason.CLUSTER_SECRET


@pytest.mark.parametrize("policy", list(Policy))
def test_our_own_key_is_refused(policy: Policy) -> None:
    s, _ = play(state(policy), SEEN, ev.SessionUp("link0", 1, OWN_KEY, "x"))
    assert where(s) == (LinkState.BLOCKED, Reason.SELF)


def test_a_session_of_an_old_instance_counts_for_nothing() -> None:
    s, todo = play(state(), SEEN, ev.KernelSeen(kernel(instance=2)), UP)
    assert where(s)[0] is LinkState.HANDSHAKING and not of(orders.Authorize, todo)


def test_link_becomes_active_when_all_its_parts_are_there() -> None:
    s, _ = play(state(), SEEN, UP, DONE)
    assert where(s) == (LinkState.CONFIGURING, Reason.WAITING_PEER)
    s = agreed(s)
    assert where(s) == (LinkState.ACTIVE, Reason.NONE)


def test_active_link_without_a_gid_is_not_active() -> None:
    s = agreed(play(state(), SEEN, UP, DONE)[0])
    s, todo = play(s, ev.PortRead("link0", Port(True, ())))
    assert where(s) == (LinkState.DEGRADED, Reason.WAITING_PORT)
    assert of(orders.StartTimer, todo)


def test_kernel_back_to_handshake_closes_the_link() -> None:
    s = agreed(play(state(), SEEN, UP, DONE)[0])
    s, todo = play(s, ev.KernelSeen(kernel(KernelState.HANDSHAKE)))
    assert where(s) == (LinkState.DISCOVERED, Reason.KERNEL_HANDSHAKE)
    assert of(orders.EndSession, todo)


def test_open_link_at_start_is_adopted_and_not_touched() -> None:
    known = replace(peer(), subnets=_subnets())
    s, todo = play(state(Policy.CONFIRM, known), ACTIVE)
    plan_local = _plan(s).local
    s, more = play(s, ev.NetworkSurveyed("link0", frozenset(), Interface(4192, plan_local)))
    gids = tuple((0, _gid(a.ip), "RoCE v2") for a in plan_local)
    s, more2 = play(s, ev.PortRead("link0", Port(True, gids)))
    assert where(s)[0] is LinkState.ACTIVE
    for kind in (orders.Authorize, orders.Deauthorize, orders.Configure):
        assert not of(kind, todo + more + more2)


def _gid(ip: Any) -> str:
    return str(ip) if ip.version == 6 else f"::ffff:{ip}"


def _subnets() -> Subnets:
    from usb4rdmad.addressing import candidate
    from usb4rdmad.model import fingerprint

    return candidate(Settings(), fingerprint(OWN_KEY), PEER, 0)


def _plan(s: State) -> Any:
    from usb4rdmad.addressing import plan

    return plan(_subnets(), s.identity, PEER, 4192)


def test_open_link_of_an_unknown_peer_is_closed_at_start() -> None:
    s, todo = play(state(Policy.CONFIRM), ACTIVE)
    assert where(s)[0] is LinkState.HANDSHAKING
    assert of(orders.Deauthorize, todo)


def test_adopted_link_whose_peer_proves_another_key_is_closed() -> None:
    s, todo = play(
        state(Policy.CONFIRM, peer()), ACTIVE, ev.SessionUp("link0", 1, OTHER_KEY, "evil")
    )
    assert where(s) == (LinkState.BLOCKED, Reason.KEY_CHANGED)
    assert of(orders.Deauthorize, todo)


def test_stale_authorisation_waits_for_the_new_instance() -> None:
    s, todo = play(state(), SEEN, UP, ev.AuthorizeDone("link0", 1, 116, None))
    assert where(s)[0] is LinkState.HANDSHAKING


def test_refused_authorisation_is_tried_again_with_growing_delay() -> None:
    s, _ = play(state(), SEEN, UP)
    delays = []
    for _ in range(8):
        s, todo = play(s, ev.AuthorizeDone("link0", 1, 28, kernel()))
        assert where(s) == (LinkState.FAILED, Reason.AUTHORIZE_FAILED)
        delays += [o.seconds for o in of(orders.StartTimer, todo) if o.purpose == "retry"]
        s, todo = play(s, ev.TimerFired("link0", "retry"))
        assert of(orders.Authorize, todo)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]


def test_messages_before_the_key_is_proved_are_ignored() -> None:
    s, todo = play(state(Policy.CONFIRM), SEEN)
    for message in (messages.Confirm(), messages.Admitted(), messages.PairRequest()):
        s, more = play(s, ev.MessageReceived("link0", messages.encode(message)))
        todo += more
    assert where(s)[0] is LinkState.HANDSHAKING and not of(orders.Authorize, todo)


def test_a_peers_confirmation_alone_opens_nothing() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP)
    for message in (messages.Confirm(), messages.Admitted()):
        s, todo = play(s, ev.MessageReceived("link0", messages.encode(message)))
        assert not of(orders.Authorize, todo)
    s, _ = play(s, ev.AdminPair("link0", 7), ev.CodeReady("link0", "123 456"))
    s, todo = play(s, ev.MessageReceived("link0", messages.encode(messages.Confirm())))
    assert where(s)[0] is LinkState.PAIRING and not of(orders.Authorize, todo)
    s, todo = play(s, ev.AdminConfirm("link0", 7))
    assert where(s)[0] is LinkState.AUTHORIZING and s.peers[PEER].paired_by == 7


def test_confirmation_before_a_code_is_shown_is_refused() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP, ev.AdminPair("link0", 0))
    with pytest.raises(BadState):
        step(s, ev.AdminConfirm("link0", 0), NOW)
    s, _ = play(s, ev.MessageReceived("link0", messages.encode(messages.Confirm())))
    s, todo = play(s, ev.CodeReady("link0", "1"), ev.AdminConfirm("link0", 0))
    assert not of(orders.Authorize, todo), "a confirmation sent before the code does not count"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ev.TimerFired("link0", "pairing"), Reason.PAIRING_TIMEOUT),
        (ev.ComparisonFailed("link0"), Reason.PAIRING_MISMATCH),
        (ev.AdminReject("link0"), Reason.PAIRING_REJECTED),
        (ev.MessageReceived("link0", bytes([messages.REJECT, 0])), Reason.PAIRING_REJECTED),
        (ev.MessageReceived("link0", bytes([messages.REJECT, 1])), Reason.PAIRING_TIMEOUT),
        (ev.MessageReceived("link0", bytes([messages.REJECT, 2])), Reason.PAIRING_REJECTED),
    ],
)
def test_pairing_that_fails_says_why_on_both_hosts(event: ev.Event, reason: Reason) -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP, ev.AdminPair("link0", 0))
    s, todo = play(s, event)
    assert where(s) == (LinkState.WAITING_APPROVAL, reason)
    if not isinstance(event, ev.MessageReceived):
        (told,) = of(orders.Send, todo)
        there, _ = play(state(Policy.CONFIRM), SEEN, UP, ev.AdminPair("link0", 0))
        there, _ = play(there, ev.MessageReceived("link0", told.body))
        late = reason is Reason.PAIRING_TIMEOUT
        assert where(there)[1] is (reason if late else Reason.PAIRING_REJECTED)


def test_three_pairings_an_instance_and_no_more() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP)
    for _ in range(3):
        s, _ = play(s, ev.AdminPair("link0", 0), ev.AdminReject("link0"))
    with pytest.raises(Usb4RdmaError, match="3 pairings"):
        step(s, ev.AdminPair("link0", 0), NOW)
    s, todo = play(s, ev.MessageReceived("link0", messages.encode(messages.PairRequest())))
    assert where(s)[0] is LinkState.WAITING_APPROVAL
    s, _ = play(s, ev.KernelSeen(kernel(instance=2)), replace(UP, instance=2))
    s, _ = play(s, ev.AdminPair("link0", 0))
    assert where(s)[0] is LinkState.PAIRING


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (ev.AdminAuthorize("link9"), NoSuchLink),
        (ev.AdminPair("link9"), NoSuchLink),
        (ev.AdminForget(b"x" * 32), NoSuchPeer),
        (ev.AdminBlock(b"x" * 32), NoSuchPeer),
        (ev.AdminReject("link0"), BadState),
        (ev.AdminAuthorize("link0"), BadState),
        (ev.AdminPair("link0"), BadState),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    event: ev.Event, error: type[Exception]
) -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN)
    with pytest.raises(error):
        step(s, event, NOW)


def test_pairing_an_open_link_is_refused() -> None:
    s, _ = play(state(), SEEN, UP)
    with pytest.raises(AlreadyPaired):
        step(s, ev.AdminPair("link0"), NOW)


def test_block_closes_every_link_of_the_peer() -> None:
    s = agreed(play(state(), SEEN, UP, DONE)[0])
    s, todo = play(s, ev.AdminBlock(PEER))
    assert where(s) == (LinkState.BLOCKED, Reason.PEER_BLOCKED)
    assert of(orders.Deauthorize, todo) and s.peers[PEER].trust is Trust.BLOCKED


def test_stricter_policy_leaves_open_links_open_and_looser_admits_who_waits() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP)
    s, todo = play(s, ev.SettingsChanged(Settings(policy=Policy.TOFU)))
    assert where(s)[0] is LinkState.AUTHORIZING
    s, todo = play(s, DONE, ev.SettingsChanged(Settings(policy=Policy.OFF)))
    assert where(s)[0] is LinkState.CONFIGURING and not of(orders.Deauthorize, todo)


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x02\x00", b"\x10", b"\xff" * 160, b"\x04x"])
def test_nonsense_from_an_authenticated_peer_changes_nothing(body: bytes) -> None:
    s = agreed(play(state(), SEEN, UP, DONE)[0])
    after, _ = play(s, ev.MessageReceived("link0", body))
    assert after == s
