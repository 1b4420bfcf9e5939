# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses that fit each other and nothing else; the messages that carry them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from usb4rdmad import addressing, messages
from usb4rdmad.errors import MessageInvalid
from usb4rdmad.model import Settings, Subnets

IDS = st.binary(min_size=32, max_size=32)


@how(max_examples=300, deadline=None)
@given(IDS, IDS, st.integers(0, addressing.ATTEMPTS - 1))
def test_both_ends_draw_the_same_candidates_and_a_peer_may_propose_them(
    one: bytes, other: bytes, attempt: int
) -> None:
    found = addressing.candidate(Settings(), one, other, attempt)
    assert found == addressing.candidate(Settings(), other, one, attempt)
    assert addressing.acceptable(found)
    body = messages.encode(messages.Propose(attempt, 4192, found))
    assert messages.decode(body) == messages.Propose(attempt, 4192, found)
    if one != other:
        mine = addressing.plan(found, one, other, 4192)
        theirs = addressing.plan(found, other, one, 4192)
        assert [a.ip for a in mine.local] == list(theirs.remote)
        assert [a.ip for a in theirs.local] == list(mine.remote)
        assert not {a.ip for a in mine.local} & {a.ip for a in theirs.local}


@pytest.mark.parametrize(
    ("used", "clash"),
    [
        ("0.0.0.0/0", False),
        ("169.254.0.0/16", False),
        ("10.0.0.0/8", False),
        ("169.254.7.0/24", True),
        ("169.254.7.4/31", True),
        ("169.254.7.5/32", True),
        ("169.254.7.6/32", False),
        ("fd00::/8", False),
    ],
)
def test_what_clashes_with_a_subnet(used: str, clash: bool) -> None:
    subnet = IPv4Network("169.254.7.4/31")
    assert addressing.clashes(subnet, [ip_network(used)]) is clash


@pytest.mark.parametrize(
    ("pool", "usable"),
    [
        ("169.254.0.0/16", True),
        ("10.0.0.0/8", True),
        ("172.20.0.0/16", True),
        ("192.168.7.0/28", True),
        ("100.64.0.0/10", True),
        ("169.254.168.0/23", True),
        ("169.254.169.0/24", False),
        ("169.254.169.240/28", False),
        ("169.254.255.0/28", False),
        ("0.0.0.0/8", False),
        ("192.0.2.0/24", False),
        ("198.18.0.0/15", False),
        ("240.0.0.0/4", False),
        ("127.0.0.0/8", False),
        ("8.8.0.0/16", False),
        ("172.0.0.0/8", False),
    ],
)
def test_a_pool_is_usable_if_a_peer_accepts_all_that_is_drawn_from_it(
    pool: str, usable: bool
) -> None:
    network = IPv4Network(pool)
    assert addressing.usable_pool(network) is usable
    settings = replace(Settings(), ipv4_pool=network)
    drawn = (
        addressing.candidate(settings, bytes(32), bytes([n]) * 32, attempt)
        for n in range(1, 5)
        for attempt in range(addressing.ATTEMPTS)
    )
    assert all(addressing.acceptable(one) for one in drawn) is usable


def test_reserved_and_metadata_addresses_are_never_drawn() -> None:
    small = replace(Settings(), ipv4_pool=IPv4Network("169.254.169.0/24"))
    other = replace(Settings(), ipv4_pool=IPv4Network("169.254.168.0/23"))
    for n in range(256):
        found = addressing.candidate(other, bytes(32), bytes([n]) * 32, 0).ipv4
        assert found is not None and not found.subnet_of(IPv4Network("169.254.169.0/24"))
    assert not addressing.acceptable(addressing.candidate(small, bytes(32), b"x" * 32, 0))


@pytest.mark.parametrize(
    "subnets",
    [
        Subnets(IPv4Network("8.8.8.8/31"), None),
        Subnets(IPv4Network("127.0.0.0/31"), None),
        Subnets(IPv4Network("224.0.0.0/31"), None),
        Subnets(IPv4Network("169.254.169.254/31"), None),
        Subnets(IPv4Network("10.0.0.0/30"), None),
        Subnets(None, IPv6Network("2001:db8::/64")),
        Subnets(None, IPv6Network("fe80::/64")),
        Subnets(None, IPv6Network("::/64")),
        Subnets(None, IPv6Network("fd00::/48")),
    ],
)
def test_a_peer_cannot_make_us_take_addresses_outside_the_private_ranges(subnets: Subnets) -> None:
    assert not addressing.acceptable(subnets)


GOOD = messages.encode(
    messages.Propose(7, 4192, Subnets(IPv4Network("10.1.2.4/31"), IPv6Network("fd00:1::/64")))
)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (slice(3, 7), (1279).to_bytes(4, "big")),
        (slice(3, 7), (65521).to_bytes(4, "big")),
        (slice(3, 7), b"\xff" * 4),
        (slice(7, 8), b"\x04"),
        (slice(7, 8), b"\xff"),
        (slice(8, 12), bytes([10, 1, 2, 5])),
        (slice(8, 12), bytes([8, 8, 8, 8])),
        (slice(8, 12), bytes(4)),
        (slice(12, 28), b"\x20\x01" + bytes(14)),
        (slice(12, 28), b"\xfd" + bytes(14) + b"\x01"),
    ],
)
def test_each_field_of_a_proposal_is_checked(at: slice, value: bytes) -> None:
    body = bytearray(GOOD)
    body[at] = value
    with pytest.raises(MessageInvalid):
        messages.decode(bytes(body))


@pytest.mark.parametrize("size", range(1, len(GOOD)))
def test_a_cut_proposal_is_refused(size: int) -> None:
    with pytest.raises(MessageInvalid):
        messages.decode(GOOD[:size])


@how(max_examples=500, deadline=None)
@given(st.binary(max_size=167))
def test_decode_raises_nothing_but_message_invalid(body: bytes) -> None:
    try:
        found = messages.decode(body)
    except MessageInvalid:
        return
    if found is not None:
        assert messages.decode(messages.encode(found)) == found


def test_documented_message_kinds_are_the_real_ones() -> None:
    assert messages.decode(b"\x04") == messages.Renew()
    assert messages.decode(b"\x19") == messages.Confirm()
    assert messages.decode(b"\x77anything") is None
