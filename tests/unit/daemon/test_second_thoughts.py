# SPDX-License-Identifier: GPL-2.0-or-later
"""What opens again, and what stays shut: keys forgotten, comparisons refused, peers that change
their mind."""

from __future__ import annotations

import pytest

from usb4rdmad import events as ev
from usb4rdmad import messages, orders
from usb4rdmad.model import Reason, State
from usb4rdmad.policy import PINNED_MAX

from .helpers import OTHER_KEY, PEER, LinkState, Policy, Trust, kernel, peer, state
from .test_machine import DONE, SEEN, UP, of, play, where


def said(message: messages.Message) -> ev.MessageReceived:
    return ev.MessageReceived("link0", messages.encode(message))


def test_forgetting_the_old_key_of_a_name_lets_its_new_one_be_paired() -> None:
    old, other = peer(OTHER_KEY, name="mars"), peer(b"\x04" * 32, name="nova")
    s, _ = play(state(Policy.CONFIRM, old, other), SEEN, UP)
    assert where(s) == (LinkState.BLOCKED, Reason.KEY_CHANGED)
    s, _ = play(s, ev.AdminForget(other.identity))
    assert where(s) == (LinkState.BLOCKED, Reason.KEY_CHANGED), "that was somebody else's"
    s, todo = play(s, ev.AdminForget(old.identity))
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.UNKNOWN_PEER)
    assert not of(orders.Authorize, todo)
    s, _ = play(s, ev.AdminPair("link0", 7))
    assert where(s)[0] is LinkState.PAIRING


def test_forgetting_a_name_that_two_keys_had_leaves_the_new_one_out() -> None:
    old, older = peer(OTHER_KEY, name="mars"), peer(b"\x04" * 32, name="mars")
    s, _ = play(state(Policy.CONFIRM, old, older), SEEN, UP, ev.AdminForget(old.identity))
    assert where(s) == (LinkState.BLOCKED, Reason.KEY_CHANGED)
    s, _ = play(s, ev.AdminForget(older.identity))
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.UNKNOWN_PEER)


@pytest.mark.parametrize(
    ("start", "events"),
    [
        (state(Policy.CONFIRM, peer()), [SEEN, UP]),
        (state(Policy.CONFIRM, peer()), [SEEN, UP, DONE]),
        (state(Policy.CONFIRM, peer()), [SEEN, UP, ev.AuthorizeDone("link0", 1, 28, kernel())]),
        (state(Policy.CONFIRM, peer(trust=Trust.BLOCKED)), [SEEN, UP]),
    ],
    ids=["authorizing", "configuring", "failed", "blocked"],
)
def test_a_peer_that_wants_to_pair_where_nobody_can_is_told_so_at_once(
    start: State, events: list[ev.Event]
) -> None:
    before, _ = play(start, *events)
    s, todo = play(before, said(messages.PairRequest()))
    assert [messages.decode(o.body) for o in of(orders.Send, todo)] == [messages.Reject()]
    assert s == before, "it is in or out as it was"
    there, _ = play(state(Policy.CONFIRM), SEEN, UP, ev.AdminPair("link0", 0))
    there, _ = play(there, said(messages.Reject()))
    assert where(there) == (LinkState.WAITING_APPROVAL, Reason.PAIRING_REJECTED)


def test_whoever_forgets_a_peer_can_be_asked_to_compare_by_it() -> None:
    s, _ = play(state(Policy.CONFIRM, peer()), SEEN, UP, DONE, ev.AdminForget(PEER))
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.DEAUTHORIZED)
    s, _ = play(s, said(messages.PairRequest()))
    assert where(s)[0] is LinkState.PAIRING


def test_tofu_trusts_only_so_many_hosts_by_itself() -> None:
    """Whoever has the cable can make keys without end; each costs a file."""
    some = [
        peer(n.to_bytes(32, "big"), Trust.TOFU, f"h{n}") for n in range(1000, 1000 + PINNED_MAX)
    ]
    others = [peer(n.to_bytes(32, "big"), name=f"h{n}") for n in range(2000, 2010)]
    s, todo = play(state(Policy.TOFU, *some, *others), SEEN, UP)
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.UNKNOWN_PEER)
    assert not of(orders.SavePeer, todo) and not of(orders.Authorize, todo)
    s, todo = play(s, ev.AdminAuthorize("link0", 7))
    assert of(orders.Authorize, todo), "a person may let in more"
    s, _ = play(state(Policy.TOFU, *some[1:], *others), SEEN, UP)
    assert where(s)[0] is LinkState.AUTHORIZING and PEER in s.peers
    s, _ = play(state(Policy.TOFU, *some), SEEN, ev.SessionUp("link0", 1, some[0].public_key, "h"))
    assert where(s)[0] is LinkState.AUTHORIZING, "a known one is let in"


def test_two_that_ask_for_a_comparison_at_once_make_one() -> None:
    s, todo = play(
        state(Policy.CONFIRM), SEEN, UP, ev.AdminPair("link0", 0), said(messages.PairRequest())
    )
    assert where(s)[0] is LinkState.PAIRING and len(of(orders.Compare, todo)) == 1
    assert messages.Reject() not in [messages.decode(o.body) for o in of(orders.Send, todo)]


def test_a_peer_that_refused_and_then_admits_is_judged_again() -> None:
    s, _ = play(state(Policy.CONFIRM), SEEN, UP, said(messages.Refused()))
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.PEER_REFUSED)
    s, todo = play(s, said(messages.Admitted()))
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.UNKNOWN_PEER)
    assert not of(orders.Authorize, todo)


def test_nothing_that_the_peer_says_opens_what_an_administrator_has_closed() -> None:
    s, _ = play(state(Policy.CONFIRM, peer()), SEEN, UP, DONE, ev.AdminDeauthorize("link0"))
    s, todo = play(
        s, said(messages.Refused()), said(messages.Admitted()), said(messages.Refused()), UP
    )
    assert where(s) == (LinkState.WAITING_APPROVAL, Reason.DEAUTHORIZED)
    assert not of(orders.Authorize, todo)
