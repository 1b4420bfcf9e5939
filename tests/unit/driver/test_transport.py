# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's transport between two hosts in one process, over a cable that loses frames.

The kernel's services are replaced by kernel_shim.h; the rail is a small model in
transport_sim.c. Data, order and status of every request are checked there.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
SOURCES = ("segment", "requester", "responder", "ud", "rx", "qp", "sge", "emit", "mcast", "device")
# Where the headers are included that the shim replaces; errno.h is the same everywhere.
INCLUDERS = ("transport", "link/link.h", "compat.h", "wire.h", "include/uapi/rdma")


def kernel_headers() -> set[str]:
    """Names of all <linux/...> headers that the transport and its interfaces include."""
    names: set[str] = set()
    for place in INCLUDERS:
        path = TOP / "driver" / place
        for file in sorted(path.rglob("*.[ch]")) if path.is_dir() else [path]:
            names.update(re.findall(r"#include <linux/(\w+)\.h>", file.read_text()))
    return names - {"errno"}


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("transport")
    (where / "linux").mkdir()
    for name in kernel_headers():
        (where / "linux" / f"{name}.h").write_text('#include "kernel_shim.h"\n')
    binary = where / "transport_sim"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Werror",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-D__KERNEL__",
         "-DU4_HAVE_HRTIMER_SETUP", "-DU4_HAVE_RING_THROTTLING",
         f"-I{where}", f"-I{HERE}", f"-I{TOP}/driver/include/uapi",
         "-o", str(binary), str(HERE / "transport_sim.c"),
         *(str(TOP / "driver" / "transport" / f"{name}.c") for name in SOURCES)],
        check=True,
    )  # fmt: skip
    return binary


def run(simulator: Path, *args: int) -> dict[str, int]:
    done = subprocess.run([simulator, *map(str, args)], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", done.stdout)}


@pytest.mark.parametrize("ring", [20, 256], ids=lambda n: f"ring{n}")
@pytest.mark.parametrize("qps", [1, 8], ids=lambda n: f"qps{n}")
def test_nothing_is_sent_again_when_nothing_is_lost(simulator: Path, qps: int, ring: int) -> None:
    got = run(simulator, 7, qps, 400, 0, ring)
    # Going back happens for receivers that were not ready, and for no other reason.
    assert got["retries"] == got["rnr"]
    assert got["timeouts"] == 0


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("loss", [10, 100, 300], ids=lambda n: f"loss{n}")
def test_every_request_completes_in_order_with_its_data_over_a_lossy_cable(
    simulator: Path, loss: int, seed: int
) -> None:
    got = run(simulator, seed, 8, 200, loss, 256 if seed % 2 else 20)
    assert got["lost"] > 0
    # Losses behind which nothing follows are asked about; what is left is lost questions.
    assert got["timeouts"] * 50 < got["lost"] + 50


# Each is a function edge_NAME() in transport_sim.c.
EDGES = {
    "peer_gone": "every type of queue pair ends with its peer",
    "drained": "a drained send queue sends nothing, and says so once if that was asked for",
    "killed": "a queue pair whose completions were lost ends with a fatal event",
    "too_many_reads": "more READs than agreed are an invalid request",
    "late_original": "a repeated READ makes room for a new one",
    "multicast": "a datagram to a group reaches each member once, and not its sender",
    "multicast_split": "a datagram of two frames reaches each member that still waits for it",
    "multicast_limits": "groups, members and groups of a queue pair are bounded, and nothing leaks",
    "own_source": "a datagram from the cable in our own name is dropped",
    "rail_gone": "an unreliable connection goes on over another rail",
}


@pytest.mark.parametrize("edge", EDGES, ids=lambda name: name.replace("_", "-"))
def test_single_queue_pairs(simulator: Path, edge: str) -> None:
    """EDGES says what is shown."""
    done = subprocess.run([simulator, edge], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, EDGES[edge] + done.stdout[-2000:] + done.stderr[-4000:]
