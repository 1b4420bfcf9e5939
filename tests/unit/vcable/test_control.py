# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands, the control socket, and the process as the lab starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vcable.fakehost import FakeHost
from vcable.loop import Loop
from vcable.vfio_client import SocketBus
from vcable_bench import TWO_HOSTS, Bench, Pair

CABLE = "a:1-b:1"
TESTS = Path(__file__).resolve().parents[2]


def test_a_cable_is_known_by_either_order_of_its_ends(bench: Bench) -> None:
    assert bench.command(cmd="unplug", cable="b.1:1-a:1")["cable"] == CABLE
    assert bench.command(cmd="plug", cable="b:1-a:1")["cable"] == CABLE


def test_plugging_an_unknown_cable_between_free_ports_makes_it(bench: Bench) -> None:
    bench.host("a")
    bench.host("b")
    assert bench.command(cmd="plug", cable="a:2-b:2")["cable"] == "a:2-b:2"
    bench.linked("a:2-b:2")


def test_a_taken_port_cannot_be_plugged_until_it_is_free(bench: Bench) -> None:
    assert "taken by a:1-b:1" in bench.refused(cmd="plug", cable="a:1-b:2")
    bench.command(cmd="unplug", cable=CABLE)
    bench.command(cmd="plug", cable="a:1-b:2")
    assert "taken by a:1-b:2" in bench.refused(cmd="plug", cable=CABLE)


@pytest.mark.parametrize(
    "cable", [None, 7, "", "a:1", "a:1-", "a:1-b:1-c:1", "a:1-c:1", "a:1-b:3", "a:1-a:1", ["a:1"]]
)
@pytest.mark.parametrize("cmd", ["plug", "unplug", "inject"])
def test_cables_that_cannot_be_are_refused_by_name(bench: Bench, cmd: str, cable: object) -> None:
    assert bench.refused(cmd=cmd, cable=cable).startswith("cable")


def test_unplugging_a_cable_that_does_not_exist_is_refused(bench: Bench) -> None:
    assert "does not exist" in bench.refused(cmd="unplug", cable="a:2-b:2")


def test_plug_and_unplug_twice_are_no_errors(bench: Bench) -> None:
    bench.command(cmd="plug", cable=CABLE)
    bench.command(cmd="unplug", cable=CABLE)
    bench.command(cmd="unplug", cable=CABLE)


@pytest.mark.parametrize("sender", ["c:1", "a:2", "a", 5])
def test_from_must_be_an_end_of_the_cable(bench: Bench, sender: object) -> None:
    error = bench.refused(cmd="inject", cable=CABLE, what="drop", rate=1, **{"from": sender})
    assert error.startswith("from")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b"[]",
        b'"x"',
        b"{}",
        b'{"cmd": 7}',
        b'{"cmd": "explode"}',
        b'{"cmd": ["stat"]}',
        b'{"cmd": "stat", "extra": 1}',
        b'{"cmd": "trace"}',
        b'{"cmd": "trace", "level": "loud"}',
        b'{"cmd": "trace", "level": ["off"]}',
        b"\xff\xfe",
        b"[" * 100000,
        b'{"cmd": "inject", "cable": "a:1-b:1", "what": "drop", "rate": NaN}',
        b'{"cmd": "inject", "cable": "a:1-b:1", "what": "drop", "rate": 1e999}',
    ],
)
def test_garbage_gets_an_error_and_nothing_else(bench: Bench, line: bytes) -> None:
    answer = json.loads(bench.commands.execute_line(line))
    assert answer["ok"] is False
    assert answer["error"]


def test_stat_counts_frames_bytes_and_state(pair: Pair) -> None:
    pair.atx.queue(bytes(100), 1, 2)
    stat: dict[str, Any] = pair.bench.command(cmd="stat")
    assert json.dumps(stat)
    cable = stat["cables"][CABLE]
    assert (cable["state"], cable["up"], cable["width"], cable["speed"]) == ("up", True, 1, 20)
    assert cable["from"]["a:1"]["frames"] == 1
    assert cable["from"]["a:1"]["bytes"] == 100
    assert cable["from"]["a:1"]["frames_by_hop"] == {"8": 1}
    assert stat["routers"]["a"]["rings"]["tx1"]["frames"] == 1
    assert stat["routers"]["b"]["rings"]["rx1"]["bytes"] == 100
    assert stat["routers"]["a"]["dma_faults"] == 0


def test_reset_stat_sets_everything_to_zero(pair: Pair) -> None:
    pair.atx.queue(bytes(100), 1, 2)
    pair.bench.command(cmd="reset_stat")
    stat: dict[str, Any] = pair.bench.command(cmd="stat")
    assert stat["cables"][CABLE]["from"]["a:1"]["frames"] == 0
    for key in ("mmio_writes", "mmio_reads", "interrupts", "dma_faults"):
        assert stat["routers"]["a"][key] == 0
    assert stat["routers"]["a"]["rings"]["tx1"]["frames"] == 0


def test_status_says_who_is_there(pair: Pair) -> None:
    status: dict[str, Any] = pair.bench.command(cmd="status")
    assert status["routers"]["a"]["managed"] is True
    assert status["cables"][CABLE]["state"] == "up"
    assert status["trace"] == "frames"


def test_quit_ends_the_process_by_its_callback(bench: Bench) -> None:
    bench.command(cmd="quit")
    assert bench.quits == 1


def test_trace_levels(pair: Pair) -> None:
    for level, frames, control in (("off", 0, 0), ("control", 0, 1), ("frames", 1, 1)):
        pair.bench.command(cmd="trace", level=level)
        before = len(pair.bench.traced(" FRAME ")), len(pair.bench.traced(" CTL "))
        pair.atx.queue(bytes(200), 1, 2)
        pair.a.read(2, 0, 0, 1)
        assert len(pair.bench.traced(" FRAME ")) - before[0] == frames
        assert bool(len(pair.bench.traced(" CTL ")) - before[1]) == bool(control)
    pair.bench.command(cmd="trace", level="bytes")
    pair.atx.queue(bytes(200), 1, 2)
    line = pair.bench.traced(" FRAME ")[-1]
    assert "from=a:1 ring=tx1>rx1 hop=8 sof=1 eof=2 len=200 ok" in line
    assert line.split()[-1] == "00" * 200
    assert pair.bench.traced(" FRAME ")[-2].split()[-1] == "00" * 64


class Process:
    """The emulator as a process of its own."""

    def __init__(self, folder: Path, topology: str, *options: str) -> None:
        self.run_dir = folder / "run"
        file = folder / "topology.toml"
        file.write_text(topology)
        self.child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vcable",
                "--topology",
                str(file),
                "--run-dir",
                str(self.run_dir),
                *options,
            ],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.loop = Loop()

    def wait_ready(self) -> None:
        def listening() -> bool:
            self.loop.call_later(0.01, lambda: None)
            return (self.run_dir / "ready").exists() or self.child.poll() is not None

        assert self.loop.run_until(listening, 20)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.run_dir / "control.sock"))
        return client

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()
        self.loop.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, TWO_HOSTS)
    made.wait_ready()
    yield made
    made.close()


def test_the_process_listens_answers_and_ends_on_sigterm(process: Process) -> None:
    names = {path.name for path in process.run_dir.iterdir()}
    assert names == {"ready", "a-1.vfio", "b-1.vfio", "control.sock", "cable.trace"}
    with process.connect() as client, client.makefile("rwb") as stream:
        stream.write(b'{"cmd": "status"}\n{"cmd": "nonsense"}\n')
        stream.flush()
        assert json.loads(stream.readline())["ok"] is True
        assert json.loads(stream.readline())["ok"] is False
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(10) == 0
    assert {path.name for path in process.run_dir.iterdir()} == {"cable.trace"}


def test_quit_is_answered_before_the_process_ends(process: Process) -> None:
    with process.connect() as client, client.makefile("rwb") as stream:
        stream.write(b'{"cmd": "quit"}\n')
        stream.flush()
        assert json.loads(stream.readline()) == {"ok": True}
    assert process.child.wait(10) == 0


def test_clients_that_misbehave_do_not_hurt_others(process: Process) -> None:
    with process.connect() as flooder:
        try:
            flooder.sendall(b"x" * 500000)
            assert b"line too long" in flooder.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            pass
    half = process.connect()
    half.sendall(b'{"cmd":')
    with process.connect() as client, client.makefile("rwb") as stream:
        stream.write(b'{"cmd": "stat"}\n')
        stream.flush()
        assert json.loads(stream.readline())["ok"] is True
    half.close()


@pytest.mark.parametrize(("text", "named"), [("[[host]]\n", "host[1].name"), ("x", "not TOML")])
def test_a_garbled_topology_ends_with_2_and_one_line(tmp_path: Path, text: str, named: str) -> None:
    process = Process(tmp_path, text)
    _out, err = process.child.communicate(timeout=20)
    assert process.child.returncode == 2
    assert len(err.splitlines()) == 1
    assert named in err
    process.loop.close()


def test_two_scripted_machines_meet_over_their_sockets(process: Process) -> None:
    loop = process.loop
    buses = [SocketBus(process.run_dir / f"{name}-1.vfio", loop) for name in "ab"]
    a, b = hosts = [FakeHost(bus, loop) for bus in buses]
    for host in hosts:
        host.start()
    a.wait(lambda: bool(a.events), "plug event of a")
    b.wait(lambda: bool(b.events), "plug event of b")
    tx, _ = a.data_rings(1)
    _, rx = b.data_rings(1)
    a.enable_path(1, 8, 1, 1)
    b.enable_path(1, 8, 1, 1)
    buses[1].irqs()
    for n in range(40):
        tx.queue(bytes([n]) * 1000, 1, 2)
    found: list[int] = []
    vectors: set[int] = set()

    def all_there() -> bool:
        found.extend(frame.data[0] for frame in rx.poll())
        vectors.update(buses[1].irqs())
        return len(found) == 40 and b.vector_of[rx.index] in vectors

    b.wait(all_there, "40 frames and the interrupt that follows them")
    assert found == list(range(40))
    buses[0].close()
    b.wait(lambda: b.events[-1] == (1, True), "unplug event of b")
    buses[1].close()
    for host in hosts:
        host.close()
