# SPDX-License-Identifier: GPL-2.0-or-later
"""Noise, the channel above it, and the comparison of codes: two ends and a hostile wire."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from usb4rdmad.errors import HandshakeInvalid
from usb4rdmad.pairing import noise
from usb4rdmad.pairing.compare import Comparison
from usb4rdmad.pairing.session import (
    BODY_MAX,
    FRAME_MAX,
    PROOF,
    RATE_MAX,
    End,
    Invalid,
    Mismatch,
    Notice,
    Session,
    Stalled,
    Up,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "pairing-protocol.md"
KEY_A, KEY_B = bytes(range(32)), bytes(range(32, 64))
A, B = End(b"a" * 16, 11, "uuid-a"), End(b"b" * 16, 22, "uuid-b")


def ends(local: End = A, remote: End = B) -> tuple[Session, Session]:
    return Session(KEY_A, "nova", local, remote), Session(KEY_B, "mars", remote, local)


def exchange(
    a: Session, b: Session, from_a: list[bytes], from_b: list[bytes], now: float = 0.0
) -> tuple[list[Notice], list[Notice]]:
    """Carry frames until there are none."""
    told_a: list[Notice] = []
    told_b: list[Notice] = []
    for _ in range(20):
        next_a, next_b = [], []
        for frame in from_a:
            out = b.receive(frame, now)
            next_b += out.frames
            told_b += out.notices
        for frame in from_b:
            out = a.receive(frame, now)
            next_a += out.frames
            told_a += out.notices
        from_a, from_b = next_a, next_b
        if not from_a and not from_b:
            break
    return told_a, told_b


def connected() -> tuple[Session, Session]:
    a, b = ends()
    exchange(a, b, a.start(0).frames, b.start(0).frames)
    return a, b


# The channel


def test_both_ends_come_up_and_know_each_others_key_and_name() -> None:
    a, b = ends()
    told_a, told_b = exchange(a, b, a.start(0).frames, b.start(0).frames)
    assert Up(noise.public_key(KEY_B), "mars") in told_a
    assert Up(noise.public_key(KEY_A), "nova") in told_b
    assert a.handshake_hash == b.handshake_hash != b""
    assert a.deadline is None and b.deadline is None


def test_every_frame_fits_the_relay() -> None:
    a, b = ends()
    long = Session(KEY_B, "m" * 200, B, A)
    first = a.start(0).frames[0]
    (two,) = long.receive(first, 0).frames
    (three,) = a.receive(two, 0).frames
    assert max(len(first), len(two), len(three)) <= FRAME_MAX
    long.receive(three, 0)
    frame = a.send(bytes(BODY_MAX))
    assert frame is not None and len(frame) == FRAME_MAX
    with pytest.raises(ValueError, match="at most"):
        a.send(bytes(BODY_MAX + 1))


def test_messages_arrive_once_and_in_order() -> None:
    a, b = connected()
    one, two, three = a.send(b"1"), a.send(b"2"), a.send(b"3")
    assert one and two and three
    assert b.receive(one, 0).notices == [b"1"]
    assert b.receive(one, 0).notices == [], "replayed"
    assert b.receive(three, 0).notices == [b"3"], "a lost one does not stop the rest"
    assert b.receive(two, 0).notices == [], "too late"


def test_nothing_is_sent_before_the_channel_stands() -> None:
    a, _ = ends()
    assert a.send(b"x") is None and a.handshake_hash == b""


@pytest.mark.parametrize(
    "other",
    [
        End(b"a" * 16, 12, "uuid-a"),
        End(b"0" * 16, 11, "uuid-a"),
        End(b"a" * 16, 11, "uuid-c"),
        End(b"a" * 16, 11, "uuid-a", "1-2"),
    ],
)
def test_a_handshake_of_another_host_epoch_link_or_version_does_not_complete(other: End) -> None:
    a = Session(KEY_A, "nova", other, B)
    b = Session(KEY_B, "mars", B, A)
    told_a, told_b = exchange(a, b, a.start(0).frames, b.start(0).frames)
    assert not any(isinstance(n, Up) for n in told_a + told_b)
    assert Invalid() in told_a + told_b


def test_a_recorded_handshake_cannot_be_replayed() -> None:
    a, b = ends()
    frames_a = a.start(0).frames
    (two,) = b.receive(frames_a[0], 0).frames
    (three,) = a.receive(two, 0).frames
    b.receive(three, 0)
    fresh = Session(KEY_B, "mars", B, A)
    fresh.receive(frames_a[0], 0)
    assert fresh.receive(three, 0).notices == [Invalid()]


def test_a_restarted_daemon_gets_its_channel_back_whichever_side_it_is() -> None:
    for restart_initiator in (True, False):
        a, b = connected()
        if restart_initiator:
            a = Session(KEY_A, "nova", A, B)
            told = exchange(a, b, a.start(50).frames, [], 50)
        else:
            b = Session(KEY_B, "mars", B, A)
            told = exchange(a, b, [], b.start(50).frames, 50)
        assert all(any(isinstance(n, Up) for n in side) for side in told)
        frame = a.send(b"again")
        assert frame is not None and b.receive(frame, 51).notices == [b"again"]


def test_a_late_start_gets_the_third_message_again_and_disturbs_nothing() -> None:
    a, b = ends()
    (one,) = a.start(0).frames
    b.start(0)
    (two,) = b.receive(one, 0.1).frames
    (late,) = b.tick(0.3).frames  # the third message takes its time, or is lost
    out = a.receive(two, 0.4)
    (three,) = out.frames
    assert any(isinstance(n, Up) for n in out.notices)
    before = a.handshake_hash
    again = a.receive(late, 0.5)
    assert (again.frames, again.notices) == ([three], [])
    assert any(isinstance(n, Up) for n in b.receive(three, 0.6).notices)
    assert b.receive(three, 0.7).notices == []
    assert a.handshake_hash == b.handshake_hash == before
    frame = a.send(b"hello")
    assert frame is not None and b.receive(frame, 0.8).notices == [b"hello"]


def test_unauthenticated_frames_do_not_tear_a_channel_down() -> None:
    a, b = connected()
    for kind in (1, 2, 3, 4, 16, 99):
        for target in (a, b):
            target.receive(bytes([kind]) + os.urandom(60), 50)
    frame = a.send(b"still here")
    assert frame is not None and b.receive(frame, 51).notices == [b"still here"]


def test_a_silent_peer_is_told_of_once_and_asked_ever_more_rarely() -> None:
    a, _ = ends()
    sent, told, now = len(a.start(0).frames), Counter[Notice](), 0.0
    gaps = []
    while now < 600:
        assert a.deadline is not None
        gaps.append(a.deadline - now)
        now = a.deadline
        out = a.tick(now)
        sent += len(out.frames)
        told.update(out.notices)
    assert told == {Stalled(): 1}
    assert sent < 40 and gaps[-1] == 30


def test_a_flood_of_first_messages_is_answered_only_so_often() -> None:
    _, b = ends()
    answers = 0
    for _ in range(500):
        attacker = Session(os.urandom(32), "x", A, B)
        answers += len(b.receive(attacker.start(0).frames[0], 1.0).frames)
    assert answers <= RATE_MAX


@pytest.mark.parametrize("name", ["", "..\n", "a b", "x" * 64, "\u00e9"])
def test_a_name_that_is_no_host_name_counts_as_none(name: str) -> None:
    a, b = Session(KEY_A, "nova", A, B), Session(KEY_B, "mars", B, A)
    b._payload = b"\x01" + name.encode()
    told_a, _ = exchange(a, b, a.start(0).frames, [])
    assert [n.name for n in told_a if isinstance(n, Up)] == [""]


@how(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=250)), max_size=20), st.booleans())
def test_no_frame_whatsoever_raises(frames: list[tuple[bool, bytes]], up: bool) -> None:
    a, b = connected() if up else ends()
    for to_a, frame in frames:
        out = (a if to_a else b).receive(frame, 0)
        assert not any(isinstance(n, Up | bytes) for n in out.notices)


# The comparison


def test_both_sides_show_the_same_six_digits() -> None:
    one, two = Comparison(True, b"h" * 32), Comparison(False, b"h" * 32)
    assert one.start() is None
    commit = two.start()
    assert commit is not None
    nonce = one.receive(commit)
    assert nonce is not None
    reveal = two.receive(nonce)
    assert reveal is not None and one.receive(reveal) is None
    assert one.code == two.code
    assert len(one.code) == 7 and one.code.replace(" ", "").isdigit()


def test_code_of_fixed_nonces_is_the_documented_one() -> None:
    one = Comparison(True, bytes(32), lambda n: b"\x0a" * n)
    two = Comparison(False, bytes(32), lambda n: b"\x0b" * n)
    one.receive(two.receive(one.receive(two.start() or b"") or b"") or b"")
    assert f"`{one.code}`" in DOCUMENT.read_text(encoding="utf-8")


def test_a_nonce_other_than_the_committed_one_is_noticed() -> None:
    one, two = Comparison(True, b"h" * 32), Comparison(False, b"h" * 32)
    commit = two.start()
    assert commit is not None
    one.receive(commit)
    with pytest.raises(HandshakeInvalid, match="commitment"):
        one.receive(bytes([0x12]) + os.urandom(32))
    assert one.code == ""


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("order", [[0x12], [0x10, 0x10], [0x11, 0x11], [0x10, 0x11], [0x12, 0x10]])
def test_messages_out_of_order_end_the_comparison(initiator: bool, order: list[int]) -> None:
    side = Comparison(initiator, b"h" * 32)
    side.start()
    with pytest.raises(HandshakeInvalid):
        for kind in order:
            side.receive(bytes([kind]) + bytes(32))


# The cluster secret

SECRET, OTHER_SECRET = b"s" * 32, b"t" * 32


def cluster(one: bytes | None, other: bytes | None) -> tuple[list[Notice], list[Notice]]:
    a = Session(KEY_A, "nova", A, B, psk=one)
    b = Session(KEY_B, "mars", B, A, psk=other)
    return exchange(a, b, a.start(0).frames, b.start(0).frames)


def test_hosts_with_the_same_secret_prove_it_to_each_other() -> None:
    told_a, told_b = cluster(SECRET, SECRET)
    assert Up(noise.public_key(KEY_B), "mars", cluster=True) in told_a
    assert Up(noise.public_key(KEY_A), "nova", cluster=True) in told_b
    assert PROOF not in told_a + told_b


def test_hosts_with_different_secrets_prove_nothing() -> None:
    told_a, told_b = cluster(SECRET, OTHER_SECRET)
    assert not any(isinstance(n, Up) for n in told_a + told_b)
    assert Invalid() in told_b


@pytest.mark.parametrize(("one", "other"), [(SECRET, None), (None, SECRET)])
def test_a_secret_on_one_side_only_is_noticed_by_both_and_never_dropped(
    one: bytes | None, other: bytes | None
) -> None:
    told_a, told_b = cluster(one, other)
    assert not any(isinstance(n, Up) for n in told_a + told_b)
    assert Mismatch() in told_a and Mismatch() in told_b


def test_a_responder_without_the_secret_is_not_taken_for_one_that_has_it() -> None:
    """It can answer the first message, since only the third needs the secret."""
    a = Session(KEY_A, "nova", A, B, psk=SECRET)
    evil = Session(KEY_B, "mars", B, A, psk=OTHER_SECRET)
    (two,) = evil.receive(a.start(0).frames[0], 0).frames
    out = a.receive(two, 0)
    assert out.notices == [] and len(out.frames) == 1
    assert a.send(b"x") is None and a.deadline is not None
