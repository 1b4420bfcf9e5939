# SPDX-License-Identifier: GPL-2.0-or-later
"""Random input to each parser: nothing may raise, hang, or stop the emulator from working."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from vcable import nhi as regs
from vcable import vfio_user as vu
from vcable.packets import Address, Kind, Space, describe, pack
from vcable.topology import TopologyError, parse
from vcable.vfio_client import SocketBus
from vcable_bench import TWO_HOSTS, Bench, Pair

SEEDS = range(6)


def random_word(rng: random.Random) -> int:
    return rng.choice((0, 1, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32), rng.getrandbits(8)))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_registers(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    blocks = (0, regs.RX_RINGS, regs.TX_OPTIONS, regs.RX_OPTIONS, regs.INT_STATUS, regs.INT_MASK)
    nhi = pair.bench.world.routers["a", 1].nhi
    for _ in range(3000):
        offset = rng.choice(blocks) + 4 * rng.randrange(64)
        if rng.random() < 0.1:
            offset = 4 * rng.randrange(regs.BAR_SIZE // 4)
        if rng.random() < 0.2:
            assert 0 <= pair.a.bus.read32(offset) <= 0xFFFFFFFF
        else:
            pair.a.bus.write32(offset, random_word(rng))
    assert nhi.status >> 64 == 0 and nhi.mask >> 64 == 0
    assert pair.b.read(Space.SWITCH, 0, 0, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_descriptors(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        for ring in (pair.atx, pair.brx):
            address = rng.choice((rng.getrandbits(64), pair.a.memory.base + rng.getrandbits(20)))
            ring.write_descriptor(rng.randrange(ring.size), address, rng.getrandbits(32))
        pair.a.bus.write32(16 + 8, rng.randrange(pair.atx.size) << 16)
        pair.b.bus.write32(regs.RX_RINGS + 16 + 8, rng.randrange(pair.brx.size))
    stat = pair.bench.world.stat()["routers"]
    assert stat["a"]["dma_faults"] > 0
    assert stat["a"]["rings"]["tx1"]["frames"] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_control_packets(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        words = [random_word(rng) for _ in range(rng.randrange(2, 63))]
        if rng.random() < 0.7 and len(words) > 2:
            words[0], words[1] = 0, rng.choice((0, 0, 0, 1, 3, 9))
            address = Address(
                rng.randrange(0x70), len(words) - 3, rng.randrange(8), rng.randrange(4), 0
            )
            words[2] = address.encode()
        kind = rng.randrange(16)
        assert describe(kind, words)
        pair.a.send_control(kind, words)
        pair.a.pump()
        pair.b.pump()
    assert pair.b.read(Space.SWITCH, 0, 0, 1)
    assert pair.a.request(Kind.READ, [0, 0, Address(0, 1, 0, Space.SWITCH, 0).encode()])[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_bytes_as_control_frames(pair: Pair, seed: int) -> None:
    rng = random.Random(seed)
    router = pair.bench.world.routers["a", 1].router
    good = pack([0, 0, Address(0, 1, 0, Space.SWITCH, 0).encode()])
    for _ in range(300):
        frame = bytearray(good if rng.random() < 0.5 else rng.randbytes(rng.randrange(300)))
        if frame:
            frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        router.control(bytes(frame), rng.randrange(16))
    assert pair.bench.world.stat()["routers"]["a"]["control"]["control_bad"] == 300


@pytest.mark.parametrize("seed", SEEDS)
def test_random_vfio_messages(
    bench: Bench, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(seed)
    server = vu.Server(tmp_path / "a-1.vfio", bench.world.routers["a", 1], bench.loop)
    for _ in range(60):
        client = SocketBus(tmp_path / "a-1.vfio", bench.loop)
        for _ in range(rng.randrange(1, 6)):
            body = rng.randbytes(rng.choice((0, 4, 16, 20, 24, 32, rng.randrange(100))))
            if rng.random() < 0.7 and len(body) >= 16:
                body = vu.ACCESS.pack(rng.randrange(0x40000), rng.choice((0, 2, 7)), 4) + body[16:]
            size = 16 + len(body) if rng.random() < 0.9 else rng.getrandbits(16)
            flags = rng.choice((0, 0, vu.NO_REPLY, 1, rng.getrandbits(8)))
            try:
                client.send_raw(vu.HEADER.pack(1, rng.randrange(17), size, flags, 0) + body)
            except OSError:
                break
            bench.loop.run_once(0)
        client.close()
        bench.loop.run_until(lambda: not bench.world.routers["a", 1].router.powered, 1)
    client = SocketBus(tmp_path / "a-1.vfio", bench.loop)
    assert client.config_read(0, 2)
    client.close()
    server.close()
    assert "a handler failed" not in caplog.text


@pytest.mark.parametrize("seed", SEEDS)
def test_random_commands(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    values: tuple[object, ...] = (
        None,
        0,
        1,
        -1,
        0.5,
        "",
        "a:1-b:1",
        "drop",
        "delay",
        [],
        [1, 2],
        {},
        True,
        "control",
    )
    names = ("cable", "what", "rate", "nth", "seed", "from", "us", "silent", "reorder", "level")
    commands = ("plug", "unplug", "inject", "inject_off", "stat", "trace", "status", "x", None)
    for _ in range(500):
        request: dict[str, object] = {"cmd": rng.choice(commands)}
        for _ in range(rng.randrange(5)):
            request[rng.choice(names)] = rng.choice(values)
        line = bytearray(json.dumps(request).encode())
        if rng.random() < 0.3:
            line[rng.randrange(len(line))] = rng.randrange(256)
        answer = json.loads(bench.commands.execute_line(bytes(line)))
        assert answer["ok"] or answer["error"]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_topologies(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(500):
        text = list(TWO_HOSTS)
        for _ in range(rng.randrange(1, 4)):
            text[rng.randrange(len(text))] = rng.choice('[]"=.:1ab\n_x ')
        try:
            topology = parse("".join(text))
        except TopologyError as error:
            assert str(error)
        else:
            assert topology.hosts
