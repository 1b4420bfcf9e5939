# SPDX-License-Identifier: GPL-2.0-or-later
"""Agreement on addresses and MTU, from the side that proposes and the side that answers."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, ip_network
from typing import Any

import pytest

from usb4rdmad import addressing, messages, orders
from usb4rdmad import events as ev
from usb4rdmad.model import Reason, Settings, State, Subnets, fingerprint

from .helpers import Interface, LinkState, Policy, Trust, peer, state
from .test_machine import ACTIVE, DONE, SEEN, play, where

KEYS = [bytes([n]) * 32 for n in range(2, 256)]
OWN = state().identity
LARGER = next(k for k in KEYS if fingerprint(k) > OWN)
SMALLER = next(k for k in KEYS if fingerprint(k) < OWN)


def opened(key: bytes, **settings: Any) -> State:
    """A link to a known peer, open and not yet agreed."""
    start = replace(
        state(Policy.CONFIRM, peer(key, Trust.CONFIRMED)), settings=Settings(**settings)
    )
    s, _ = play(start, SEEN, ev.SessionUp("link0", 1, key, "mars"))
    kernel = replace(DONE.kernel, peer=fingerprint(key))  # type: ignore[type-var]
    s, todo = play(s, replace(DONE, kernel=kernel))
    assert [o.netdev for o in todo if isinstance(o, orders.Survey)] == ["u4rdma0"]
    return s


def survey(*used: str, interface: Interface | None = None) -> ev.NetworkSurveyed:
    return ev.NetworkSurveyed(
        "link0", frozenset(map(ip_network, used)), interface or Interface(1500)
    )


def got(message: messages.Message) -> ev.MessageReceived:
    return ev.MessageReceived("link0", messages.encode(message))


def sent(todo: list[orders.Order]) -> list[messages.Message | None]:
    return [messages.decode(o.body) for o in todo if isinstance(o, orders.Send)]


def configures(todo: list[orders.Order]) -> list[orders.Configure]:
    return [o for o in todo if isinstance(o, orders.Configure)]


def drawn(key: bytes, attempt: int = 0) -> Subnets:
    return addressing.candidate(Settings(), OWN, fingerprint(key), attempt)


def test_smaller_identity_proposes_and_takes_the_answered_mtu() -> None:
    s, todo = play(opened(LARGER, mtu=9000), survey())
    assert sent(todo) == [messages.Propose(1, 9000, drawn(LARGER))]
    s, todo = play(s, got(messages.Accept(1, 5000)))
    (configure,) = configures(todo)
    assert configure.mtu == 5000 and len(configure.addresses) == 2
    assert s.peers[fingerprint(LARGER)].subnets == drawn(LARGER)


def test_larger_identity_asks_to_be_proposed_to_and_answers() -> None:
    s, todo = play(opened(SMALLER, mtu=3000), survey())
    assert sent(todo) == [messages.Renew()]
    s, todo = play(s, got(messages.Propose(9, 4192, drawn(SMALLER))), survey())
    assert sent(todo) == [messages.Accept(9, 3000)]
    assert configures(todo)[0].mtu == 3000


def test_larger_identity_never_proposes_and_smaller_never_answers() -> None:
    _, todo = play(opened(LARGER), got(messages.Propose(1, 4192, drawn(LARGER))))
    assert not todo
    s, _ = play(opened(SMALLER), survey())
    _, todo = play(s, got(messages.Accept(0, 4192)), got(messages.Clash(0)))
    assert not todo


@pytest.mark.parametrize("number", [0, 2, 65535])
def test_an_answer_to_another_proposal_is_ignored(number: int) -> None:
    s, _ = play(opened(LARGER), survey())
    after, todo = play(s, got(messages.Accept(number, 4192)), got(messages.Clash(number)))
    assert not todo and after == s


def test_a_clash_here_draws_the_next_candidate() -> None:
    _, todo = play(opened(LARGER), survey(str(drawn(LARGER).ipv4)))
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose) and offer.subnets == drawn(LARGER, 1)


def test_a_clash_there_draws_the_next_candidate() -> None:
    s, _ = play(opened(LARGER), survey())
    s, todo = play(s, got(messages.Clash(1)), survey())
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose)
    assert (offer.seq, offer.subnets) == (2, drawn(LARGER, 1))


def test_a_clash_of_kept_networks_forgets_them() -> None:
    s, _ = play(opened(LARGER), survey())
    s, _ = play(s, got(messages.Accept(1, 4192)))
    link = s.links["link0"]
    kept = Subnets(IPv4Network("169.254.77.2/31"), drawn(LARGER).ipv6)
    peers = {k: replace(p, subnets=kept) for k, p in s.peers.items()}
    s = replace(s, links={"link0": replace(link, setup=type(link.setup)(seq=5))}, peers=peers)
    s, todo = play(s, survey())
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose) and offer.subnets == kept
    s, todo = play(s, got(messages.Clash(6)), survey())
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose) and offer.subnets == drawn(LARGER)


def test_without_room_in_the_pool_ipv6_alone_is_proposed() -> None:
    _, todo = play(opened(LARGER, ipv4_pool=IPv4Network("10.1.0.0/24")), survey("10.1.0.0/24"))
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose)
    assert offer.subnets.ipv4 is None and offer.subnets.ipv6 is not None


def test_a_clash_at_the_answering_side_is_said() -> None:
    s, todo = play(
        opened(SMALLER),
        got(messages.Propose(3, 4192, drawn(SMALLER))),
        survey(str(drawn(SMALLER).ipv4)),
    )
    assert messages.Clash(3) in sent(todo) and not configures(todo)


def test_a_lost_message_is_sent_again_by_the_timer() -> None:
    s, first = play(opened(LARGER), survey())
    assert any(isinstance(o, orders.StartTimer) and o.purpose == "agree" for o in first)
    s, todo = play(s, ev.TimerFired("link0", "agree"), survey())
    assert sent(todo) == [messages.Propose(1, 4192, drawn(LARGER))]


def test_a_proposal_said_again_keeps_its_number_so_that_either_answer_counts() -> None:
    """On a slow host the answer to the first comes after the second was sent."""
    s, _ = play(opened(LARGER), survey())
    s, todo = play(s, got(messages.Renew()), survey())
    assert sent(todo) == [messages.Propose(1, 4192, drawn(LARGER))]
    s, todo = play(s, got(messages.Accept(1, 4192)))
    assert len(configures(todo)) == 1
    _, todo = play(s, got(messages.Accept(1, 4192)))
    assert not todo
    _, todo = play(s, got(messages.Renew()), survey())
    assert sent(todo) == [messages.Propose(2, 4192, drawn(LARGER))]


def test_what_was_proposed_before_the_gate_opened_is_answered_when_it_does() -> None:
    start = replace(state(Policy.CONFIRM, peer(SMALLER, Trust.CONFIRMED)), settings=Settings())
    s, _ = play(start, SEEN, ev.SessionUp("link0", 1, SMALLER, "mars"))
    s, todo = play(s, got(messages.Propose(4, 4192, drawn(SMALLER))))
    assert not todo
    kernel = replace(DONE.kernel, peer=fingerprint(SMALLER))  # type: ignore[type-var]
    s, _ = play(s, replace(DONE, kernel=kernel))
    s, todo = play(s, survey())
    assert sent(todo) == [messages.Accept(4, 4192)] and configures(todo)


def test_a_proposal_of_an_earlier_session_is_not_answered() -> None:
    s, _ = play(opened(SMALLER), ev.SessionUp("link0", 1, SMALLER, "mars"))
    s, _ = play(s, got(messages.Propose(4, 4192, drawn(SMALLER))))
    s, _ = play(s, ev.SessionUp("link0", 1, SMALLER, "mars"))
    _, todo = play(s, survey())
    assert sent(todo) == [messages.Renew()]


@pytest.mark.parametrize("key", [SMALLER, LARGER])
def test_uevents_begin_no_second_agreement(key: bytes) -> None:
    s = opened(key)
    seen = ev.KernelSeen(replace(ACTIVE.kernel, peer=fingerprint(key)))
    s, todo = play(s, seen, seen)
    assert not any(isinstance(o, orders.Survey) for o in todo), "one is on its way"
    s, _ = play(s, survey())
    _, todo = play(s, seen, seen)
    assert not any(isinstance(o, orders.Survey) for o in todo)


def test_an_interface_that_refuses_is_tried_again() -> None:
    s, _ = play(opened(LARGER), survey())
    s, _ = play(s, got(messages.Accept(1, 4192)))
    s, todo = play(s, ev.Configured("link0", "no such device"))
    assert where(s) == (LinkState.CONFIGURING, Reason.CONFIGURE_FAILED)
    s, todo = play(s, ev.TimerFired("link0", "agree"))
    assert len(configures(todo)) == 1


def test_without_configure_the_interface_is_left_to_the_administrator() -> None:
    s, todo = play(opened(LARGER, configure=False), survey())
    assert not sent(todo) and not configures(todo)
    kernel = replace(ACTIVE.kernel, peer=fingerprint(LARGER))
    from .helpers import Port

    s, _ = play(s, ev.KernelSeen(kernel), ev.PortRead("link0", Port(True)))
    assert where(s)[0] is LinkState.ACTIVE


def test_the_links_own_limit_bounds_the_mtu() -> None:
    s = opened(LARGER, mtu=65520)
    link = s.links["link0"]
    s = replace(s, links={"link0": replace(link, kernel=replace(link.kernel, mtu=2000))})
    _, todo = play(s, survey())
    (offer,) = sent(todo)
    assert isinstance(offer, messages.Propose) and offer.mtu == 2000


def test_agreeing_on_the_same_again_touches_nothing() -> None:
    s, _ = play(opened(LARGER), survey())
    s, _ = play(s, got(messages.Accept(1, 4192)), ev.Configured("link0", ""))
    s, todo = play(s, got(messages.Renew()), survey(), got(messages.Accept(2, 4192)))
    assert not configures(todo)


def test_a_port_without_gids_is_looked_at_more_rarely_after_a_while() -> None:
    from usb4rdmad.machine import step

    s, _ = play(opened(LARGER), survey())
    kernel = replace(ACTIVE.kernel, peer=fingerprint(LARGER))
    s, _ = play(s, got(messages.Accept(1, 4192)), ev.Configured("link0", ""))
    s, _ = play(s, ev.KernelSeen(kernel))
    since = s.links["link0"].since
    from .helpers import Port

    delays = []
    for later in (0, 20_000_000):
        _, todo = step(s, ev.PortRead("link0", Port(True)), since + later)
        delays += [o.seconds for o in todo if isinstance(o, orders.StartTimer)]
    assert delays == [0.1, 5.0]


def test_a_family_that_is_switched_off_here_gets_no_address_whatever_the_peer_proposes() -> None:
    s, todo = play(
        opened(SMALLER, ipv6=False), got(messages.Propose(3, 4192, drawn(SMALLER))), survey()
    )
    assert messages.Accept(3, 4192) in sent(todo)
    assert [a.ip.version for a in configures(todo)[0].addresses] == [4]
