# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted peer in place of a machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vcable.packets import REPLY, Kind
from vcable.scripted import Peer
from vcable.trace import Level, Trace
from vcable_bench import Bench

TOPOLOGY = """
[[host]]
name = "a"
[[host]]
name = "x"
kind = "script"
peer = "test_scripted_peer:Echo"
[[cable]]
ends = ["a:1", "x:1"]
"""

MakeBench = Callable[[str], Bench]


class Echo(Peer):
    """Answers each control packet with itself and each frame with its inverse."""

    def on_control(self, port: int, kind: int, words: list[int]) -> None:
        self.send_control(port, words, Kind.XDOMAIN_RESPONSE)

    def on_frame(
        self, port: int, hop: int, data: bytes, sof: int, eof: int, crc_error: bool
    ) -> None:
        self.send_frame(port, hop, bytes(byte ^ 0xFF for byte in data), sof, eof)


@pytest.fixture
def bench(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    import sys
    import types

    module = types.ModuleType("test_scripted_peer")
    module.Echo = Echo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "test_scripted_peer", module)
    return make_bench(TOPOLOGY)


def test_a_peer_speaks_control_packets(bench: Bench) -> None:
    a = bench.host("a")
    bench.linked("a:1-x:1")
    a.send_control(Kind.XDOMAIN_REQUEST, [0, 1, 5, 1, 2, 3, 4, 9])
    bench.wait(lambda: bool(a.xdomain))
    assert a.xdomain[0] == (Kind.XDOMAIN_RESPONSE, [REPLY, 1, 5, 1, 2, 3, 4, 9])


def test_a_peer_speaks_frames(bench: Bench) -> None:
    a = bench.host("a")
    bench.linked("a:1-x:1")
    tx, rx = a.data_rings(1)
    a.enable_path(1, 8, 1, 1)
    tx.queue(bytes([1, 2, 3]), 1, 2)
    bench.wait(lambda: rx.tail != rx.head)
    assert [frame.data for frame in rx.poll()] == [bytes([254, 253, 252])]
    assert bench.world.stat()["peers"]["x"] == {"frames_in": 1, "frames_out": 1}


@pytest.mark.parametrize("size", [0, 4097])
def test_a_peer_cannot_send_what_is_no_frame(bench: Bench, size: int) -> None:
    bench.host("a")
    bench.linked("a:1-x:1")
    with pytest.raises(ValueError, match="frame"):
        bench.world.peers["x"].send_frame(1, 8, bytes(size), 1, 2)


def test_a_peer_without_cable_cannot_send(bench: Bench) -> None:
    peer = bench.world.peers["x"]
    assert not peer.send_frame(2, 8, b"x", 1, 2)
    assert not peer.send_control(2, [1, 2, 3])


def test_the_trace_rotates_at_its_limit(tmp_path) -> None:  # type: ignore[no-untyped-def]
    trace = Trace(tmp_path / "t", Level.CONTROL, limit=1000)
    for n in range(100):
        trace.line(f"line {n} " + "x" * 50)
    trace.close()
    assert {path.name for path in tmp_path.iterdir()} == {"t", "t.1"}
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 1200
    assert "line 99" in (tmp_path / "t").read_text()
