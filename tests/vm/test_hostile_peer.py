# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that has been let in and then lies, frame by frame.

The peer is a script on the virtual cable: it completes discovery and handshake honestly. Each
table below has one row per lie, with what the attacked host must do. Whatever a row says, memory
that the peer was not given stays as it was, and an honest segment is served afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import scenario
from attacker import (
    ACKREQ,
    FIRST,
    IMM,
    INV,
    LAST,
    ONE,
    OPS,
    PEER_QPN,
    TOPOLOGY,
    UC,
    Attacker,
    Segment,
    atomic,
    datagram,
    read,
    settled,
    wait_answer,
    write,
)
from lab.api import Lab

pytestmark = pytest.mark.timeout(900)
RTS, ERR = 3, 6
FLUSHED = 5
SEQUENCE, INVALID, ACCESS = 0, 1, 2
WINDOW = 239
Make = Callable[[Attacker], Segment]


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    """One host, and a peer without a machine."""
    return {"install": "driver", "topology": str(TOPOLOGY)}


@pytest.fixture
def attacker(lab: Lab) -> Iterator[Attacker]:
    """A hostile peer with an active link, and its victim; afterwards an honest write is served."""
    attacker = Attacker(lab)
    attacker.start()
    yield attacker
    attacker.ask("reset")
    attacker.answers()
    attacker.send(write(attacker))
    wait_answer(attacker, "ACK")
    report = attacker.ask()
    attacker.stop()
    assert report["canaries"] and report["foreign"] and report["readonly"]


MALFORMED: dict[str, Make] = {
    "operation 0": lambda a: write(a, op=0),
    "operation between those that exist": lambda a: write(a, op=0x15),
    "operation 255": lambda a: write(a, op=0xFF),
    "reserved field": lambda a: write(a, reserved=1),
    "destination above 24 bits": lambda a: write(a, dqpn=1 << 24 | a.qpn("rc")),
    "source above 24 bits": lambda a: write(a, sqpn=1 << 24 | PEER_QPN),
    "PSN above 24 bits": lambda a: write(a, psn=1 << 24 | 100),
    "more inline bytes than there are": lambda a: write(a, inline_len=65, seg_len=65, msg_len=65),
    "more inline bytes than a frame": lambda a: write(a, inline_len=65535),
    "fewer inline bytes than there are": lambda a: write(a, inline_len=63),
    "segment longer than its frames": lambda a: write(a, seg_len=65, msg_len=65),
    "segment shorter than its frames": lambda a: write(a, seg_len=63, msg_len=63),
    "segment of 4 GiB": lambda a: write(a, seg_len=0xFFFFFFFF, msg_len=0xFFFFFFFF),
    "first raw frame without one": lambda a: write(a, first_raw=1),
    "message of more than 1 GiB": lambda a: write(a, msg_len=(1 << 30) + 1, flags=FIRST),
    "segment beyond its message": lambda a: write(a, msg_len=63),
    "offset beyond the message": lambda a: write(a, msg_off=65, flags=LAST),
    "offset that wraps": lambda a: write(a, msg_off=0xFFFFFFC0, flags=LAST),
    "first mark missing": lambda a: write(a, flags=LAST),
    "last mark missing": lambda a: write(a, flags=FIRST),
    "last mark too early": lambda a: write(a, msg_len=65),
    "immediate data and invalidation": lambda a: write(a, op=OPS["SEND"], flags=ONE | IMM | INV),
    "immediate data before the end": lambda a: write(a, msg_len=65, flags=FIRST | IMM),
    "WRITE with invalidation": lambda a: write(a, flags=ONE | INV),
    "address that wraps": lambda a: write(a, raddr=0xFFFFFFFFFFFFFFFF),
    "READ with payload": lambda a: read(a, seg_len=64, inline_len=64),
    "READ from behind its end": lambda a: read(a, msg_off=4096),
    "READ of more than 1 GiB": lambda a: replace(read(a), msg_len=(1 << 30) + 1),
    "READ that wraps": lambda a: read(a, raddr=0xFFFFFFFFFFFFFFFF),
    "atomic with one operand": lambda a: atomic(a, payload=bytes(8)),
    "atomic on 16 bytes": lambda a: atomic(a, msg_len=16),
    "atomic write of 7 bytes": lambda a: write(a, op=OPS["ATOMIC_WRITE"], payload=bytes(7)),
    "NAK code 4": lambda a: write(a, op=OPS["NAK"], imm=4, payload=b"", flags=0),
    "RNR code 32": lambda a: write(a, op=OPS["RNR_NAK"], imm=32, payload=b"", flags=0),
    "ACK with payload": lambda a: write(a, op=OPS["ACK"], flags=0),
    "datagram without network header": lambda a: datagram(a, payload=bytes(39)),
    "datagram longer than the MTU": lambda a: datagram(a, raw=[4096, 1]),
    "datagram that acknowledges": lambda a: datagram(a, flags=ONE),
}

NOBODY: dict[str, Make] = {
    "a queue pair that does not exist": lambda a: write(a, dqpn=0xABCDEF),
    "queue pair 0": lambda a: write(a, dqpn=0),
    "a connection's request for the GSI queue pair": lambda a: write(a, dqpn=1),
    "the right queue pair from a wrong one": lambda a: write(a, sqpn=PEER_QPN + 1),
    "a reliable request for an unreliable connection": lambda a: write(a, dqpn=a.qpn("uc")),
    "an unreliable request for a reliable connection": lambda a: write(a, flags=ONE | UC),
    "a request for a datagram queue pair": lambda a: write(a, dqpn=a.qpn("ud")),
    "a datagram for a connection": lambda a: datagram(a, dqpn=a.qpn("rc")),
}

# What NAK answers, to which the connection ends.
REFUSED: dict[str, tuple[Make, int]] = {
    "a key never given out": (lambda a: write(a, rkey=0x12345600), ACCESS),
    "key 0": (lambda a: write(a, rkey=0), ACCESS),
    "the right index, a wrong 8-bit part": (lambda a: write(a, rkey=a.facts["rkey"] ^ 1), ACCESS),
    "a region of another protection domain": (
        lambda a: write(a, rkey=a.facts["foreign"]["rkey"], raddr=a.facts["foreign"]["address"]),
        ACCESS,
    ),
    "a region that may only be read": (
        lambda a: write(a, rkey=a.facts["readonly"]["rkey"], raddr=a.facts["readonly"]["address"]),
        ACCESS,
    ),
    "one byte before the region": (lambda a: write(a, raddr=a.facts["address"] - 1), ACCESS),
    "one byte behind the region": (
        lambda a: write(a, raddr=a.facts["address"] + a.facts["size"] - 63),
        ACCESS,
    ),
    "a message whose end is behind the region": (
        lambda a: write(a, msg_len=a.facts["size"] + 1, flags=FIRST | ACKREQ),
        ACCESS,
    ),
    "a run behind the region": (
        lambda a: write(a, raddr=a.facts["address"] + a.facts["size"] - 8192, raw=[4096, 4096]),
        ACCESS,
    ),
    "a READ from before the region": (lambda a: read(a, raddr=a.facts["address"] - 1), ACCESS),
    "a READ behind the region": (
        lambda a: read(a, raddr=a.facts["address"] + a.facts["size"] - 4095),
        ACCESS,
    ),
    "an atomic behind the region": (
        lambda a: atomic(a, raddr=a.facts["address"] + a.facts["size"]),
        ACCESS,
    ),
    "an atomic on an odd address": (
        lambda a: atomic(a, raddr=a.facts["address"] + 4),
        INVALID,
    ),
    "an atomic on a region without that right": (
        lambda a: atomic(a, rkey=a.facts["readonly"]["rkey"], raddr=a.facts["readonly"]["address"]),
        ACCESS,
    ),
    "a SEND longer than the receive": (
        lambda a: write(a, op=OPS["SEND"], payload=bytes(1), raw=[4096]),
        INVALID,
    ),
    "a middle segment without a first": (
        lambda a: write(a, msg_off=64, msg_len=192, flags=ACKREQ),
        INVALID,
    ),
    "an invalidation of a key that is not its": (
        lambda a: write(a, op=OPS["SEND"], flags=ONE | INV, imm=a.facts["foreign"]["rkey"]),
        ACCESS,
    ),
    "a FLUSH without that right": (
        lambda a: write(a, op=OPS["FLUSH"], payload=b"", msg_len=64),
        INVALID,
    ),
}

# Answers to what was never asked.
UNASKED: dict[str, Make] = {
    "ACK": lambda a: write(a, op=OPS["ACK"], payload=b"", flags=0),
    "ACK of the far future": lambda a: write(a, op=OPS["ACK"], psn=0x800000, payload=b"", flags=0),
    "NAK": lambda a: write(a, op=OPS["NAK"], imm=ACCESS, payload=b"", flags=0),
    "RNR NAK": lambda a: write(a, op=OPS["RNR_NAK"], imm=1, payload=b"", flags=0),
    "READ response": lambda a: write(a, op=OPS["READ_RESP"], flags=FIRST | LAST),
    "READ response in a run": lambda a: write(
        a, op=OPS["READ_RESP"], flags=FIRST | LAST, payload=b"", raw=[4096, 4096]
    ),
    "atomic response": lambda a: write(a, op=OPS["ATOMIC_RESP"], payload=bytes(8), flags=0),
}


def check_group(attacker: Attacker, rows: dict[str, Make], counter: str) -> None:
    """Each row adds one to the counter, and nothing else happens."""
    before = attacker.counters()[counter]
    for make in rows.values():
        attacker.send(make(attacker))
    settled(attacker)
    wrong = attacker.counters()[counter] - before - len(rows)
    report = attacker.ask()
    culprits = []
    if wrong or report["changed"] or report["completions"]:
        for name, make in rows.items():
            attacker.ask("reset")
            before = attacker.counters()[counter]
            attacker.send(make(attacker))
            settled(attacker)
            single = attacker.ask()
            counted = attacker.counters()[counter] - before
            if counted != 1 or single["changed"] or single["completions"]:
                culprits.append(f"{name}: counted {counted}, {single}")
    assert not wrong, culprits
    assert not report["changed"] and not report["completions"], culprits
    assert set(report["states"].values()) == {RTS}, report


def test_malformed_headers_are_dropped_and_counted(attacker: Attacker) -> None:
    check_group(attacker, MALFORMED, "rx_malformed")


def test_segments_for_nobody_are_dropped_and_counted(attacker: Attacker) -> None:
    check_group(attacker, NOBODY, "rx_no_qp")


def test_answers_that_nobody_asked_for_change_nothing(attacker: Attacker) -> None:
    for make in UNASKED.values():
        attacker.send(make(attacker))
    settled(attacker)
    report = attacker.ask()
    assert not report["changed"] and not report["completions"], report
    assert set(report["states"].values()) == {RTS}, report


def test_what_a_key_does_not_allow_ends_the_connection_and_touches_nothing(
    attacker: Attacker,
) -> None:
    wrong = []
    for name, (make, code) in REFUSED.items():
        attacker.ask("reset")
        attacker.answers()
        attacker.send(make(attacker))
        try:
            wait_answer(attacker, "NAK", code)
        except scenario.ScenarioError:
            wrong.append(f"{name}: no NAK {code}")
        report = attacker.ask()
        if report["states"]["rc"] != ERR:
            wrong.append(f"{name}: state {report['states']['rc']}")
        # What a SEND carries was put into its receive before it was refused.
        given = 64 if "invalidation" in name else 0
        if report["changed"] > given or not (report["canaries"] and report["foreign"]):
            wrong.append(f"{name}: memory was touched: {report}")
    assert not wrong, "\n".join(wrong)


def test_what_is_posted_after_the_peer_ended_an_idle_connection_is_flushed(
    attacker: Attacker,
) -> None:
    """Nothing was posted when it ended, so no completion has told the program."""
    attacker.ask("bare")
    attacker.send(write(attacker, rkey=0))
    wait_answer(attacker, "NAK")
    report = attacker.ask()
    assert report["states"]["rc"] == ERR and not report["completions"]
    done = attacker.ask("receive")["completions"]

    def flushed() -> bool:
        done.extend(attacker.ask()["completions"])
        return bool(done)

    scenario.until("the receive is flushed", 30, flushed)
    assert [status for _, _, status, _ in done] == [FLUSHED]


def test_a_connection_that_grants_nothing_refuses_everything(attacker: Attacker) -> None:
    for make in (write, read, atomic):
        attacker.ask("reset")
        attacker.answers()
        attacker.send(make(attacker, dqpn=attacker.qpn("closed")))
        wait_answer(attacker, "NAK")
        report = attacker.ask()
        assert report["states"]["closed"] == ERR and not report["changed"], report


def test_runs_that_are_not_as_announced_are_never_completed(attacker: Attacker) -> None:
    rc, address = attacker.qpn("rc"), attacker.facts["address"]
    segment = write(attacker, dqpn=rc, raddr=address, payload=b"", raw=[4096, 4096, 100])
    shapes = {
        "one frame too few": [4096, 4096],
        "the last frame shorter": [4096, 4096, 99],
        "the last frame longer": [4096, 4096, 101],
        "the first frame shorter": [4000, 4096, 196],
        "one frame more": [4096, 4096, 100, 4096],
    }
    for name, raw in shapes.items():
        attacker.ask("reset")
        attacker.answers()
        attacker.do(
            "run", payload=segment.encode().hex(), raw=raw, fields={"nraw": 3}, confirm=True
        )
        attacker.send(write(attacker, psn=101, raddr=address))
        if name == "one frame more":
            # The run itself is whole; the stray frame belongs to nothing.
            wait_answer(attacker, "ACK")
        else:
            answer = wait_answer(attacker, "NAK", SEQUENCE)
            assert answer.psn == 100, name
        report = attacker.ask()
        assert report["states"]["rc"] == RTS, (name, report)
        assert report["canaries"] and report["foreign"], name


def test_sequence_numbers_of_the_future_and_the_past(attacker: Attacker) -> None:
    attacker.send(write(attacker, psn=105))
    assert wait_answer(attacker, "NAK", SEQUENCE).psn == 100
    attacker.send(write(attacker))
    wait_answer(attacker, "ACK")
    changed = attacker.ask()["changed"]
    # A repetition is acknowledged again and not carried out again, whatever it carries now.
    attacker.send(write(attacker, raddr=attacker.facts["address"] + 8192))
    wait_answer(attacker, "ACK")
    assert attacker.ask()["changed"] == changed


def test_a_flood_of_reads_is_bounded_by_what_was_agreed(attacker: Attacker) -> None:
    for psn in range(100, 140):
        attacker.send(read(attacker, psn=psn))
    scenario.until(
        "the flood is over",
        60,
        lambda: attacker.do("state")["frames_seen"] > 0 and not attacker.answers(),
    )
    report = attacker.ask()
    assert not report["changed"]
    assert report["canaries"]


def test_credits_out_of_range_are_not_believed(attacker: Attacker) -> None:
    # From here on the peer gives no credits back, and asks for more than there are.
    limit = attacker.do("state")["honest_limit"]
    attacker.set(credit=limit)
    psn = 100

    def exhausted() -> bool:
        nonlocal psn
        before = attacker.do("state")
        attacker.send(replace(read(attacker, psn=psn), msg_len=attacker.facts["size"]))
        psn += 1
        attacker.heard(before)
        return bool(attacker.do("state")["data_number"] == before["data_number"])

    scenario.until("the host is out of credits", 60, exhausted)
    reached = attacker.do("state")["data_number"]
    assert limit - 32 < reached < limit, (reached, limit)
    # Probes have numbers too, so what a ring could hold is a little more each time.
    beyond = attacker.do("state")["honest_limit"] + WINDOW
    for lie in (0, limit - 100, beyond, limit + 10**6, limit + 2**31 - 1, limit + 2**31, 2**32 - 1):
        attacker.set(credit=lie & 0xFFFFFFFF)
        before = attacker.do("state")
        attacker.do("run", kind=1)
        # It still asks for credits, and was answered with the lie.
        attacker.heard(before)
        assert attacker.do("state")["data_number"] == reached, lie
    attacker.set(credit=None)
    scenario.until("the host goes on", 30, lambda: attacker.do("state")["data_number"] > reached)
    report = attacker.ask()
    assert report["states"]["rc"] == RTS and not report["changed"], report


def test_guessing_keys_of_an_unreliable_connection_shuts_it(attacker: Attacker) -> None:
    qpn, address = attacker.qpn("uc"), attacker.facts["address"]
    for guess in range(70):
        attacker.send(
            write(attacker, dqpn=qpn, flags=FIRST | LAST | UC, psn=100 + guess, rkey=guess << 8)
        )
    settled(attacker)
    report = attacker.ask()
    assert report["states"]["uc"] == ERR, report
    attacker.send(write(attacker, dqpn=qpn, flags=FIRST | LAST | UC, psn=170, raddr=address))
    settled(attacker)
    assert not attacker.ask()["changed"]


def test_datagrams_with_a_wrong_key_or_our_own_address_are_dropped(attacker: Attacker) -> None:
    before = attacker.counters()
    own = bytearray(datagram(attacker).payload)
    own[32:36] = bytes([10, 42, 0, 1])
    attacker.send(datagram(attacker, rkey=0x22222222))
    attacker.send(datagram(attacker, payload=bytes(own)))
    settled(attacker)
    after = attacker.counters()
    assert after["rx_bad_qkey"] == before["rx_bad_qkey"] + 1
    assert after["rx_own_source"] == before["rx_own_source"] + 1
    assert not attacker.ask()["completions"]
    attacker.send(datagram(attacker))
    scenario.until("the honest one arrives", 20, lambda: bool(attacker.ask()["completions"]))


def test_frames_that_are_not_of_the_protocol_are_counted(attacker: Attacker) -> None:
    honest = write(attacker).encode()
    for fields in (
        {"tag": 0xDEAD},
        {"reserved": 1},
        {"flags": 0xFE},
        {"nraw": 17},
        {"limit": 0xFFFFFFFF},
    ):
        attacker.do("run", payload=honest.hex(), fields=fields)
    for kind in (0, 4, 255):
        attacker.do("run", kind=kind, payload=honest.hex())
    for size, sof, eof in ((1, 1, 2), (15, 1, 2), (17, 1, 2), (4096, 1, 2), (4096, 1, 9)):
        attacker.do("frame", data="ff" * size, sof=sof, eof=eof)
    for hop in (0, 9, 31):
        attacker.do("frame", data="ff" * 64, sof=1, eof=2, hop=hop)
    settled(attacker)
    report = attacker.ask()
    assert report["canaries"] and set(report["states"].values()) == {RTS}, report
