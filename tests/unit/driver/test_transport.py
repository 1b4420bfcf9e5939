# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's transport between two hosts in one process, over a cable that loses frames.

The kernel's services are replaced by kernel_shim.h; the rail is a small model in
transport_world.h. Data, order and status of every request are checked there.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fuzz.userspace import SANITIZERS, build

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("transport") / "transport_sim"
    return build(HERE / "transport_sim.c", binary, "-O1", "-Werror", *SANITIZERS)


@pytest.fixture(scope="session")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("transport") / "transport_edges"
    return build(HERE / "transport_edges.c", binary, "-O1", "-Werror", *SANITIZERS)


QPS, RINGS = [1, 8], [20, 256]
LOSSES, LOSSY_SEEDS = [10, 100, 300], range(1, 5)
PAGED_LOSSES, PAGED_SEEDS = [0, 100], range(1, 4)


def steady(qps: int, ring: int) -> tuple[int, ...]:
    return 7, qps, 400, 0, ring


def lossy(loss: int, seed: int) -> tuple[int, ...]:
    return seed, 8, 200, loss, 256 if seed % 2 else 20


def paged(seed: int, loss: int) -> tuple[int, ...]:
    return seed, 8, 200, loss, 256, 1


Run = Callable[..., dict[str, int]]


@pytest.fixture(scope="session")
def run(simulator: Path) -> Iterator[Run]:
    """Gives what a run of the simulator came to; all are begun at once, on all processors."""
    wanted = [
        *itertools.starmap(steady, itertools.product(QPS, RINGS)),
        *itertools.starmap(lossy, itertools.product(LOSSES, LOSSY_SEEDS)),
        *itertools.starmap(paged, itertools.product(PAGED_SEEDS, PAGED_LOSSES)),
    ]
    pool = ThreadPoolExecutor(os.cpu_count())
    runs = {args: pool.submit(play, simulator, *args) for args in wanted}
    yield lambda *args: runs[args].result()
    pool.shutdown(cancel_futures=True)


def play(simulator: Path, *args: int) -> dict[str, int]:
    done = subprocess.run([simulator, *map(str, args)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", done.stdout)}


@pytest.mark.parametrize("ring", RINGS, ids=lambda n: f"ring{n}")
@pytest.mark.parametrize("qps", QPS, ids=lambda n: f"qps{n}")
def test_nothing_is_sent_again_when_nothing_is_lost(run: Run, qps: int, ring: int) -> None:
    got = run(*steady(qps, ring))
    # Going back happens for receivers that were not ready, and for no other reason.
    assert got["retries"] == got["rnr"]
    assert got["timeouts"] == 0


@pytest.mark.parametrize("seed", LOSSY_SEEDS)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda n: f"loss{n}")
def test_every_request_completes_in_order_with_its_data_over_a_lossy_cable(
    run: Run, loss: int, seed: int
) -> None:
    got = run(*lossy(loss, seed))
    assert got["lost"] > 0
    # Losses behind which nothing follows are asked about; what is left is lost questions.
    assert got["timeouts"] * 50 < got["lost"] + 50


# Each is a function edge_NAME() in transport_edges.c.
EDGES = {
    "peer_gone": "every type of queue pair ends with its peer",
    "device_gone": "all requests are flushed when the device goes",
    "drained": "a drained send queue sends nothing, and says so once if that was asked for",
    "drained_while_sent_again": "what was begun is ended before the send queue counts as drained",
    "killed": "a queue pair whose completions were lost ends with a fatal event",
    "too_many_reads": "more READs than agreed are an invalid request",
    "late_original": "a repeated READ makes room for a new one",
    "multicast": "a datagram to a group reaches each member once, and not its sender",
    "multicast_split": "a datagram of two frames reaches each member that still waits for it",
    "multicast_limits": "groups, members and groups of a queue pair are bounded, and nothing leaks",
    "own_source": "a datagram from the cable in our own name is dropped",
    "acknowledged_ahead": "no memory is given back that our ring has yet to read, acknowledged",
    "refused_ahead": "no memory is given back that our ring has yet to read, refused",
    "ring_awaited": "a reset waits, but not for ever, for the ring that reads memory",
    "ring_gone": "memory is given back when the ring that was to read it is gone",
    "rail_gone": "an unreliable connection goes on over another rail",
}


@pytest.mark.parametrize("edge", EDGES, ids=lambda name: name.replace("_", "-"))
def test_single_queue_pairs(edges: Path, edge: str) -> None:
    """EDGES says what is shown."""
    done = subprocess.run([edges, edge], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, EDGES[edge] + done.stdout[-2000:] + done.stderr[-4000:]


@pytest.mark.parametrize("loss", PAGED_LOSSES, ids=lambda n: f"loss{n}")
@pytest.mark.parametrize("seed", PAGED_SEEDS)
def test_every_request_completes_with_its_data_while_pages_come_and_go(
    run: Run, seed: int, loss: int
) -> None:
    got = run(*paged(seed, loss))
    assert got["fetched"] > 100
