# SPDX-License-Identifier: GPL-2.0-or-later
"""The man in the middle of the scenarios: what he passes on, and what he makes of the rest."""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from vcable.loop import Loop
from vcable.packets import Kind
from vm.interposer import HEADER, HELLO, HELLO_BODY, OK, PROTOCOL, RELAY, RELAY_BODY, REPLY
from vm.interposer import Interposer as Plain

from usb4rdmad.model import fingerprint
from usb4rdmad.pairing import noise
from usb4rdmad.pairing.compare import Comparison
from usb4rdmad.pairing.session import End, Session, Up

PAIR = b"\x18"


class Batch:
    def run(self) -> None: ...


@dataclass
class Host:
    """A kernel that relays one message at a time, and a daemon above it."""

    uuid: bytes
    token: int
    key: bytes = field(default_factory=noise.generate)
    peer: Any = None
    seen: int = 0
    sequence: int = 1
    out: deque[bytes] = field(default_factory=deque)
    messages: list[bytes] = field(default_factory=list)
    up: Up | None = None
    code: str = ""

    @property
    def host_id(self) -> bytes:
        return self.uuid[::-1]

    def hello(self, other: Host) -> bytes:
        head = HEADER.pack(30, PROTOCOL + b"\xd1", HELLO, 0, 0, 1, self.token, 0)
        return head + HELLO_BODY.pack(self.uuid, other.uuid, self.host_id, 7, 1, 1, 0)

    def relay(self, other: Host) -> bytes:
        head = HEADER.pack(60, PROTOCOL + b"\xd1", RELAY, 0, 1, 5, self.token, other.token)
        return head + RELAY_BODY.pack(self.sequence, len(self.out[0]), 0, self.out[0])


class Interposer(Plain):
    """Joined to hosts that are objects."""

    def __init__(self, hosts: dict[int, Host]) -> None:
        super().__init__("m", Loop(), Batch())
        self.hosts = hosts
        self.passed: list[int] = []

    def send_control(self, port: int, words: list[int], kind: int = Kind.XDOMAIN_REQUEST) -> bool:
        data = struct.pack(f"<{len(words)}I", *words)
        _, _, what, status, _, number, sender, receiver = HEADER.unpack_from(data)
        host, other = self.hosts[port], self.hosts[3 - port]
        if what == HELLO:
            self.passed.append(port)
            return True
        assert (sender, receiver) == (other.token, host.token), "not who he says he is"
        if what == RELAY | REPLY:
            assert status == OK
            host.out.popleft()
            host.sequence += 1
            return True
        sequence, size, _, content = RELAY_BODY.unpack_from(data, HEADER.size)
        assert sequence in (host.seen, host.seen + 1)
        if sequence > host.seen:
            host.seen = sequence
            host.messages.append(content[:size])
        reply = HEADER.pack(10, data[4:20], RELAY | REPLY, OK, 1, number, host.token, other.token)
        self.loop.call_later(0, lambda: self.give(port, reply, Kind.XDOMAIN_RESPONSE))
        return True

    def give(self, port: int, data: bytes, kind: int = Kind.XDOMAIN_REQUEST) -> None:
        self.on_control(port, kind, list(struct.unpack(f"<{len(data) // 4}I", data)))


@pytest.fixture
def middle() -> Interposer:
    """Two hosts that have met through him."""
    a, b = Host(b"A" * 16, 11), Host(b"B" * 16, 22)
    middle = Interposer({1: a, 2: b})
    middle.give(1, a.hello(b))
    middle.give(2, b.hello(a))
    for host, other in ((a, b), (b, a)):
        host.peer = Session(
            host.key,
            "ab"[host is b],
            End(host.host_id, 7, host.uuid.hex()),
            End(other.host_id, 7, other.uuid.hex()),
        )
        host.out.extend(host.peer.start(0.0).frames)
    return middle


def talk(middle: Interposer, comparisons: dict[int, Comparison]) -> None:
    """Until nobody has anything more to say."""
    quiet = 0
    while quiet < 3:
        quiet += 1
        middle.loop.run_once(0)
        for port, host in middle.hosts.items():
            if host.out:
                quiet = 0
                middle.give(port, host.relay(middle.hosts[3 - port]))
            while host.messages:
                quiet = 0
                hear(middle, port, host.peer.receive(host.messages.pop(0), 1.0), comparisons)


def hear(middle: Interposer, port: int, output: Any, comparisons: dict[int, Comparison]) -> None:
    host = middle.hosts[port]
    host.out.extend(output.frames)
    for notice in output.notices:
        if isinstance(notice, Up):
            host.up = notice
        elif notice == PAIR:
            begin(middle, port, comparisons)
        elif isinstance(notice, bytes):
            answer = comparisons[port].receive(notice)
            if answer is not None:
                host.out.append(host.peer.send(answer))


def begin(middle: Interposer, port: int, comparisons: dict[int, Comparison]) -> None:
    host = middle.hosts[port]
    assert host.up is not None
    ours = fingerprint(noise.public_key(host.key))
    comparisons[port] = Comparison(ours < fingerprint(host.up.public_key), host.peer.handshake_hash)
    first = comparisons[port].start()
    if first is not None:
        host.out.append(host.peer.send(first))


def test_what_kernels_say_passes_unchanged(middle: Interposer) -> None:
    assert middle.passed == [2, 1]


def test_both_daemons_meet_him_under_the_others_name(middle: Interposer) -> None:
    talk(middle, {})
    a, b = middle.hosts[1], middle.hosts[2]
    assert a.up is not None and b.up is not None
    assert (a.up.name, b.up.name) == ("b", "a")
    genuine = {noise.public_key(a.key), noise.public_key(b.key)}
    assert not {a.up.public_key, b.up.public_key} & genuine


def test_he_runs_a_comparison_with_each_and_the_codes_differ(middle: Interposer) -> None:
    talk(middle, {})
    comparisons: dict[int, Comparison] = {}
    a = middle.hosts[1]
    a.out.append(a.peer.send(PAIR))
    begin(middle, 1, comparisons)
    talk(middle, comparisons)
    codes = {comparisons[port].code for port in (1, 2)}
    assert len(codes) == 2 and "" not in codes


def test_what_people_say_is_passed_on(middle: Interposer) -> None:
    talk(middle, {})
    a, b = middle.hosts[1], middle.hosts[2]
    heard: list[bytes] = []

    class Ear:
        def receive(self, message: bytes) -> None:
            heard.append(message)

    a.out.append(a.peer.send(b"\x1a"))
    talk(middle, {2: Ear()})  # type: ignore[dict-item]
    assert heard == [b"\x1a"]
    assert b.up is not None
