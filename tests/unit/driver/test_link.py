# SPDX-License-Identifier: GPL-2.0-or-later
"""The pure parts of the driver's link layer, compiled for user space with sanitizers.

Layouts are compared with the tables of docs/wire-protocol.md.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SOURCE = Path(__file__).with_name("link_check.c")


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("link") / "link_check"
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


def counts(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", text)}


def documented(struct: str) -> dict[str, tuple[int, int]]:
    """Field -> (offset, size) from the table under the comment `<!-- layout: struct -->`."""
    text = (TOP / "docs" / "wire-protocol.md").read_text(encoding="utf-8")
    table = text.split(f"<!-- layout: {struct} -->", 1)[1].split("\n\n", 2)[1]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", table, re.M)
    return {name: (int(offset), int(size)) for offset, size, name in rows}


@pytest.mark.parametrize(
    "struct",
    ["u4_link_hdr", "u4_net_hdr", "u4_ctl_hdr", "u4_ctl_hello", "u4_ctl_relay", "u4_ctl_path"],
)
def test_layouts_are_those_of_the_documentation(checker: Path, struct: str) -> None:
    rows = re.findall(rf"^{struct}\.(\w+) (\d+) (\d+)$", run(checker, "layout"), re.M)
    real = {name: (int(offset), int(size)) for name, offset, size in rows}
    assert documented(struct) == real


def test_without_losses_every_run_is_whole(checker: Path) -> None:
    got = counts(run(checker, "clean"))
    # Every 17th burst has no raw frames; the last run is not confirmed by a header yet.
    assert got == {"whole": 1000 - 1000 // 17 - 1, "broken": 0, "lost": 0}


def test_a_run_with_fewer_or_more_frames_than_announced_is_not_whole(checker: Path) -> None:
    run(checker, "short")


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_run_with_a_lost_frame_is_never_called_whole(checker: Path, seed: str) -> None:
    got = counts(run(checker, "lossy", seed, "200000"))
    # Else the test looked at nothing: losses that hide from the rolling number must occur.
    assert got["dropped"] > 1000
    assert got["whole"] > 1000
    assert got["broken"] > 1000
    assert got["wrong_place"] > 0


NET = struct.Struct("<IHHHBBI")
NET_FIELDS = (
    "len",
    "inline_len",
    "csum_start",
    "csum_offset",
    "flags",
    "reserved",
    "reserved2",
)


def packet(
    checker: Path, inline: int, nraw: int, cut: int | None = None, **values: int
) -> str | None:
    """What the parser says of a header frame with `inline` bytes behind the header."""
    fields = dict.fromkeys(NET_FIELDS, 0) | {"len": inline, "inline_len": inline} | values
    frame = NET.pack(*(fields[name] for name in NET_FIELDS)) + bytes(inline)
    first = run(checker, "net", frame[:cut].hex(), str(nraw)).splitlines()[0]
    return None if first == "bad" else first


def test_a_packet_in_one_frame_parses(checker: Path) -> None:
    assert packet(checker, 98, 0) == "len 98 inline 98 csum 0 start 0 offset 0"


def test_a_packet_in_a_run_parses(checker: Path) -> None:
    assert packet(checker, 4064, 16, len=65534) is not None


def test_an_open_checksum_parses(checker: Path) -> None:
    said = packet(checker, 98, 0, flags=1, csum_start=34, csum_offset=16)
    assert said == "len 98 inline 98 csum 1 start 34 offset 16"


@pytest.mark.parametrize(
    ("name", "inline", "nraw", "values"),
    [
        ("shorter than an Ethernet header", 13, 0, {}),
        ("longer than the largest packet", 4064, 16, {"len": 65539}),
        ("length that wraps", 98, 0, {"len": 0xFFFFFFFF}),
        ("inline length over the frame", 98, 0, {"inline_len": 99, "len": 99}),
        ("inline length under the frame", 98, 0, {"inline_len": 97, "len": 97}),
        ("inline length over the packet", 98, 0, {"len": 97}),
        ("too few raw frames", 98, 1, {"len": 98 + 4097}),
        ("too many raw frames", 98, 2, {"len": 98 + 4096}),
        ("raw frames without bytes", 98, 1, {}),
        ("bytes without raw frames", 98, 0, {"len": 99}),
        ("unknown flag", 98, 0, {"flags": 2}),
        ("reserved byte", 98, 0, {"reserved": 1}),
        ("reserved word", 98, 0, {"reserved2": 1}),
        ("checksum behind the packet", 98, 0, {"flags": 1, "csum_start": 90, "csum_offset": 7}),
        ("checksum within the headers", 98, 0, {"flags": 1, "csum_start": 33}),
        ("checksum of the Ethernet header", 98, 0, {"flags": 1}),
        ("checksum far behind", 98, 0, {"flags": 1, "csum_start": 0xFFFF, "csum_offset": 0xFFFF}),
        ("checksum place without the flag", 98, 0, {"csum_start": 34}),
    ],
)
def test_a_packet_that_does_not_add_up_is_refused(
    checker: Path, name: str, inline: int, nraw: int, values: dict[str, int]
) -> None:
    assert packet(checker, inline, nraw, **values) is None, name


def test_a_frame_without_a_whole_header_is_refused(checker: Path) -> None:
    assert packet(checker, 98, 0, cut=15) is None


def test_random_packet_headers_never_break_a_promise_of_the_parser(checker: Path) -> None:
    assert counts(run(checker, "netfuzz", "1", "300000"))["passed"] > 1000
