# SPDX-License-Identifier: GPL-2.0-or-later
"""The segment parser and planner of the driver, compiled for user space with sanitizers.

The vectors are those of docs/wire-protocol.md: a change of the layout fails here.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SOURCE = Path(__file__).with_name("segment_check.c")
HEADER = struct.Struct("<BBHIIIIIIHHQII")
FIELDS = (
    "op", "flags", "first_raw", "dqpn", "sqpn", "psn", "msg_len", "msg_off", "seg_len",
    "inline_len", "reserved", "raddr", "rkey", "imm",
)  # fmt: skip
SEND, WRITE, READ_REQ, CMP_SWAP, ATOMIC_WRITE = 1, 2, 3, 4, 6
READ_RESP, ACK, NAK, UD = 0x10, 0x12, 0x13, 0x20
FIRST, LAST, IMM, INV = 1, 2, 0x10, 0x20


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("segment") / "segment_check"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-o", str(binary), str(SOURCE)],
        check=True,
    )  # fmt: skip
    return binary


def run(checker: Path, *args: str) -> str:
    done = subprocess.run([checker, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
    return done.stdout


def header(**values: int) -> bytes:
    base = dict.fromkeys(FIELDS, 0) | {
        "op": WRITE, "flags": FIRST | LAST, "dqpn": 17, "sqpn": 18, "psn": 5,
        "msg_len": 8, "seg_len": 8, "inline_len": 8, "raddr": 0x1000, "rkey": 0x123,
    }  # fmt: skip
    return HEADER.pack(*((base | values)[f] for f in FIELDS))


def parse(checker: Path, head: bytes, inline: int, nraw: int = 0) -> dict[str, int] | None:
    out = run(checker, "parse", (head + bytes(inline)).hex(), str(nraw))
    if out.startswith("bad"):
        return None
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", out)}


def test_every_cut_of_a_message_parses_and_stays_within_pages(checker: Path) -> None:
    run(checker, "plan")


def test_random_headers_never_break_a_promise_of_the_parser(checker: Path) -> None:
    out = run(checker, "mutate", "1", "300000")
    parsed = int(re.findall(r"parsed (\d+)", out)[0])
    assert parsed > 1000  # else the test looked at refusals only


def test_vectors_of_the_documentation_parse_to_what_it_says(checker: Path) -> None:
    text = (TOP / "docs" / "wire-protocol.md").read_text()
    vectors = re.findall(r"<!-- vector: (.*?) -->\s*```\n(.*?)```", text, re.S)
    assert len(vectors) >= 5
    for says, dump in vectors:
        wanted = {k: int(v, 0) for k, v in re.findall(r"(\w+)=(\w+)", says)}
        nraw = wanted.pop("nraw", 0)
        frame = bytes.fromhex("".join(dump.split()))
        assert len(frame) >= 16 + HEADER.size, says
        got = parse(checker, frame[16 : 16 + HEADER.size], len(frame) - 16 - HEADER.size, nraw)
        assert got is not None, says
        assert wanted.items() <= got.items(), says


def test_a_plain_write_parses(checker: Path) -> None:
    got = parse(checker, header(), 8)
    assert got is not None
    assert (got["op"], got["raddr"], got["rkey"], got["psn"]) == (WRITE, 0x1000, 0x123, 5)


@pytest.mark.parametrize(
    ("name", "values", "inline", "nraw"),
    [
        ("unknown opcode", {"op": 0}, 8, 0),
        ("opcode beyond the last", {"op": 0x21}, 8, 0),
        ("unknown flag", {"flags": 0x83}, 8, 0),
        ("destination QP over 24 bits", {"dqpn": 1 << 24}, 8, 0),
        ("source QP over 24 bits", {"sqpn": 0xFFFFFFFF}, 8, 0),
        ("PSN over 24 bits", {"psn": 1 << 24}, 8, 0),
        ("reserved field set", {"reserved": 1}, 8, 0),
        ("inline length longer than the frame",
         {"inline_len": 9, "seg_len": 9, "msg_len": 9}, 8, 0),
        ("inline length shorter than the frame",
         {"inline_len": 7, "seg_len": 7, "msg_len": 7}, 8, 0),
        ("segment shorter than its inline part", {"seg_len": 7}, 8, 0),
        ("bytes without raw frames", {"seg_len": 9, "msg_len": 9}, 8, 0),
        ("raw frames without bytes", {"first_raw": 1}, 8, 1),
        ("first raw frame of no bytes", {"seg_len": 16, "msg_len": 16}, 8, 1),
        ("first raw frame over a frame",
         {"seg_len": 5008, "msg_len": 5008, "first_raw": 5000}, 8, 1),
        ("too few raw frames", {"seg_len": 8 + 8192, "msg_len": 8 + 8192, "first_raw": 4096}, 8, 1),
        ("too many raw frames",
         {"seg_len": 8 + 4096, "msg_len": 8 + 4096, "first_raw": 4096}, 8, 2),
        ("more raw frames than a run holds", {"seg_len": 8 + 17 * 4096, "msg_len": 8 + 17 * 4096,
                                              "first_raw": 4096}, 8, 17),
        ("segment beyond its message", {"msg_len": 7}, 8, 0),
        ("offset beyond the message", {"msg_off": 9, "flags": LAST}, 8, 0),
        ("offset that wraps", {"msg_off": 0xFFFFFFF8, "msg_len": 0xFFFFFFFF, "flags": 0}, 8, 0),
        ("message over 1 GiB", {"msg_len": (1 << 30) + 1, "flags": FIRST}, 8, 0),
        ("empty segment of a message with bytes",
         {"seg_len": 0, "inline_len": 0, "flags": FIRST}, 0, 0),
        ("first flag in the middle", {"msg_off": 8, "msg_len": 16}, 8, 0),
        ("no first flag at the start", {"flags": LAST}, 8, 0),
        ("last flag before the end", {"msg_len": 16}, 8, 0),
        ("no last flag at the end", {"flags": FIRST}, 8, 0),
        ("address space wraps", {"raddr": (1 << 64) - 4}, 8, 0),
        ("immediate data before the last segment", {"flags": FIRST | IMM, "msg_len": 16}, 8, 0),
        ("WRITE that invalidates", {"flags": FIRST | LAST | INV}, 8, 0),
        ("SEND with both immediate and invalidate", {"op": SEND, "flags": 0x33}, 8, 0),
        ("atomic write that invalidates", {"op": ATOMIC_WRITE, "flags": FIRST | LAST | INV}, 8, 0),
        ("READ request with payload", {"op": READ_REQ}, 8, 0),
        ("READ request that starts behind its end",
         {"op": READ_REQ, "msg_off": 8, "seg_len": 0, "inline_len": 0}, 0, 0),
        ("READ request that wraps",
         {"op": READ_REQ, "raddr": (1 << 64) - 4, "seg_len": 0, "inline_len": 0}, 0, 0),
        ("atomic without its operands", {"op": CMP_SWAP}, 8, 0),
        ("ACK with payload", {"op": ACK}, 8, 0),
        ("NAK of unknown code", {"op": NAK, "imm": 4, "seg_len": 0, "inline_len": 0}, 0, 0),
        ("datagram without a network header", {"op": UD}, 8, 0),
        ("datagram over its MTU",
         {"op": UD, "inline_len": 41, "first_raw": 4096, "seg_len": 4137, "msg_len": 4137}, 41, 1),
    ],
)  # fmt: skip
def test_a_header_out_of_range_is_refused(
    checker: Path, name: str, values: dict[str, int], inline: int, nraw: int
) -> None:
    assert parse(checker, header(**values), inline, nraw) is None, name


def test_a_frame_shorter_than_its_header_is_refused(checker: Path) -> None:
    assert run(checker, "parse", header().hex()[:-2], "0").startswith("bad")
