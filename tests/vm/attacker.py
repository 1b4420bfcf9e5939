# SPDX-License-Identifier: GPL-2.0-or-later
"""The words of tests with a hostile peer: what it is told to send, what its victim says."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.api import Lab, Process
from scenario import DEVICE, gid_of, program, until

XP_HEADER = struct.Struct("<BBHIIIIIIHHQII")
PEER = "x"
PEER_QPN = 77
OPS = {
    "SEND": 0x01,
    "WRITE": 0x02,
    "READ_REQ": 0x03,
    "CMP_SWAP": 0x04,
    "FETCH_ADD": 0x05,
    "ATOMIC_WRITE": 0x06,
    "FLUSH": 0x07,
    "PROBE": 0x08,
    "READ_RESP": 0x10,
    "ATOMIC_RESP": 0x11,
    "ACK": 0x12,
    "NAK": 0x13,
    "RNR_NAK": 0x14,
    "UD": 0x20,
}
FIRST, LAST, ACKREQ, SOLICITED, IMM, INV, UC, V4 = (1 << n for n in range(8))
ONE = FIRST | LAST | ACKREQ
TOPOLOGY = Path(__file__).resolve().with_name("hostile.toml")


@dataclass
class Segment:
    """The fields of a transport header; `payload` is inline, `raw` the raw frames' lengths."""

    op: int
    flags: int = ONE
    dqpn: int = 0
    sqpn: int = PEER_QPN
    psn: int = 100
    msg_len: int | None = None
    msg_off: int = 0
    seg_len: int | None = None
    inline_len: int | None = None
    first_raw: int | None = None
    reserved: int = 0
    raddr: int = 0
    rkey: int = 0
    imm: int = 0
    payload: bytes = b""
    raw: list[int] = field(default_factory=list)

    def encode(self) -> bytes:
        """Header and inline payload; lengths that were not told are the right ones."""
        total = len(self.payload) + sum(self.raw)
        first = self.raw[0] if self.raw else 0
        return (
            XP_HEADER.pack(
                self.op,
                self.flags,
                first if self.first_raw is None else self.first_raw,
                self.dqpn,
                self.sqpn,
                self.psn,
                total if self.msg_len is None else self.msg_len,
                self.msg_off,
                total if self.seg_len is None else self.seg_len,
                len(self.payload) if self.inline_len is None else self.inline_len,
                self.reserved,
                self.raddr,
                self.rkey,
                self.imm,
            )
            + self.payload
        )


@dataclass(frozen=True)
class Answer:
    """A transport header that the victim sent."""

    op: int
    sqpn: int
    psn: int
    imm: int
    data: bytes


class Attacker:
    """The scripted peer `x`, and the program on host `a` that it attacks."""

    def __init__(self, lab: Lab, peer: str = PEER) -> None:
        self.lab = lab
        self.peer = peer
        self.victim: Process | None = None
        self.facts: dict[str, Any] = {}
        self.lines = 0

    def do(self, what: str, **fields: Any) -> dict[str, Any]:
        """A command to the peer; see tests/hostile/peer.py."""
        return self.lab.cable("peer", host=self.peer, do=what, **fields)

    def set(self, **fields: Any) -> None:
        """Change what the peer is: its epoch, what it answers."""
        self.do("set", fields=fields)

    def start(self, device: str = DEVICE) -> None:
        """Start the victim, connected with this peer's device."""
        host = self.lab["a"]
        peer_gid = "0000:0000:0000:0000:0000:ffff:0a2a:0002"
        words = f"--device {device} --gid {gid_of(host, device=device)} --peer-gid {peer_gid}"
        words += f" --peer-qpn {PEER_QPN}"
        self.victim = host.start(f"python3 {program(host, 'victim.py')} {words}")
        self.lines = 0
        self.facts = self._line()

    def stop(self) -> None:
        """End the victim."""
        if self.victim is not None:
            self.victim.kill()

    def _line(self) -> dict[str, Any]:
        victim = self.victim
        assert victim is not None

        def there() -> bool:
            if not victim.running:
                raise AssertionError(f"the victim ended: {victim.out}{victim.err}")
            return len(victim.out.splitlines()) > self.lines

        until("the victim answers", 60, there)
        self.lines += 1
        answer: dict[str, Any] = json.loads(victim.out.splitlines()[self.lines - 1])
        return answer

    def ask(self, word: str = "report") -> dict[str, Any]:
        """Tell the victim a word; what it reports."""
        assert self.victim is not None
        self.victim.write(word + "\n")
        return self._line()

    def counters(self, device: str = DEVICE) -> dict[str, int]:
        """The device's hardware counters on the victim's host."""
        path = f"/sys/class/infiniband/{device}/ports/1/hw_counters"
        shown = self.lab["a"].run(f"cd {path} && grep . *", check=True).out
        pairs = (line.rsplit(":", 1) for line in shown.splitlines())
        return {name: int(value) for name, value in pairs if value.strip().isdigit()}

    def heard(self, before: dict[str, Any]) -> None:
        """Until the host has sent two frames more than in this state, were it only probes."""
        seen = before["frames_seen"]
        until("the host sends", 30, lambda: self.do("state")["frames_seen"] >= seen + 2)

    def send(self, segment: Segment, **fields: Any) -> None:
        """One segment with its raw frames, and a header behind it that confirms the run."""
        header = fields.pop("link", {})
        nraw = len(segment.raw)
        self.do(
            "run",
            payload=segment.encode().hex(),
            raw=segment.raw,
            fields={"nraw": nraw, **header},
            confirm=bool(nraw),
            **fields,
        )

    def answers(self) -> list[Answer]:
        """What the victim's host has sent on the transport since the last question."""
        found = []
        for text in self.do("received")["frames"]:
            data = bytes.fromhex(text)
            if data[0] != 3 or len(data) < 16 + XP_HEADER.size:
                continue
            fields = XP_HEADER.unpack_from(data, 16)
            found.append(Answer(fields[0], fields[4], fields[5], fields[13], data))
        return found

    def qpn(self, name: str) -> int:
        """The number of one of the victim's queue pairs."""
        return int(self.facts["qpn"][name])


def write(attacker: Attacker, **fields: Any) -> Segment:
    """An honest WRITE of 64 bytes, but for what `fields` say."""
    honest = Segment(
        OPS["WRITE"],
        dqpn=attacker.qpn("rc"),
        raddr=attacker.facts["address"],
        rkey=attacker.facts["rkey"],
        payload=bytes(64),
    )
    return replace(honest, **fields)


def read(attacker: Attacker, **fields: Any) -> Segment:
    """An honest READ of 4096 bytes, but for what `fields` say."""
    return write(attacker, op=OPS["READ_REQ"], payload=b"", msg_len=4096, **fields)


def atomic(attacker: Attacker, **fields: Any) -> Segment:
    """An honest fetch-and-add, but for what `fields` say."""
    changed = {"payload": bytes(16), "msg_len": 8, **fields}
    return write(attacker, op=OPS["FETCH_ADD"], **changed)


def datagram(attacker: Attacker, **fields: Any) -> Segment:
    """An honest datagram of 100 bytes, but for what `fields` say."""
    network = bytearray(40)
    network[20] = 0x45
    network[32:36], network[36:40] = bytes([10, 42, 0, 2]), bytes([10, 42, 0, 1])
    changed = {
        "op": OPS["UD"],
        "flags": FIRST | LAST | V4,
        "dqpn": attacker.qpn("ud"),
        "rkey": 0x11111111,
        "raddr": 0,
        "payload": bytes(network) + bytes(100),
        **fields,
    }
    return write(attacker, **changed)


def wait_answer(attacker: Attacker, op: str, imm: int | None = None) -> Answer:
    """The first answer of this kind; what else the host says is let go."""
    found: list[Answer] = []

    def came() -> bool:
        found.extend(
            answer
            for answer in attacker.answers()
            if answer.op == OPS[op] and (imm is None or answer.imm == imm)
        )
        return bool(found)

    until(f"an answer {op} {'' if imm is None else imm}", 30, came)
    return found[0]


def settled(attacker: Attacker) -> None:
    """Until all that was sent before has been looked at: a probe is answered behind it."""
    attacker.answers()
    attacker.send(write(attacker, op=OPS["PROBE"], psn=99, payload=b"", flags=0))
    wait_answer(attacker, "ACK")
