# SPDX-License-Identifier: GPL-2.0-or-later
"""A process without privileges gives random commands and scribbles on its mapped queues.

USB4RDMA_FUZZ_MINUTES makes it long (`make fuzz-user`), USB4RDMA_FUZZ_SEED makes another one of it;
the long form's figures go to docs/fuzzing.md.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import scenario
from fuzz import record, user_program
from lab.api import Host, Lab
from scenario import DEVICE

MINUTES = float(os.environ.get("USB4RDMA_FUZZ_MINUTES") or 0)
SEED = int(os.environ.get("USB4RDMA_FUZZ_SEED") or 1)
SHORT = 12.0
SLICE = 60.0
JOBS = 2
WORDS = "/run/usb4rdma-tests/user_fuzz"
LEAKS = "/sys/kernel/debug/kmemleak"
# What the machine may have less of after a long run, beside what its other programs do.
MEMORY_MARGIN_KIB = 65536

pytestmark = pytest.mark.timeout(1500 + 120 * MINUTES)


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return user_program.build(tmp_path_factory.mktemp("user-fuzz") / "user_fuzz")


def verbs_device(host: Host) -> str:
    """The device file of the RDMA device."""
    found = host.run(f"ls /sys/class/infiniband/{DEVICE}/device/infiniband_verbs 2>/dev/null || "
                     f"grep -l {DEVICE} /sys/class/infiniband_verbs/*/ibdev | cut -d/ -f5",
                     check=True)  # fmt: skip
    return f"/dev/infiniband/{found.out.split()[0]}"


def address_words(host: Host) -> tuple[str, int]:
    """The GID as the fuzzer wants it, and its index."""
    index = scenario.gid_of(host)
    return scenario.gids(host)[index].replace(":", ""), index


def objects(host: Host) -> str:
    """How many objects of each kind there are."""
    return host.run(f"rdma resource show {DEVICE}", check=True).out.strip()


def leaks(host: Host) -> str:
    """What a kernel that looks for leaks has found in our module; "" without such a kernel."""
    shown = host.run(f"test -e {LEAKS} || exit 0; echo scan > {LEAKS}; echo scan > {LEAKS}; "
                     f"cat {LEAKS}", timeout=900)  # fmt: skip
    reports = shown.out.split("unreferenced object")
    return "\n".join(report for report in reports if "usb4_rdma" in report)


def memory_left(host: Host) -> int:
    """KiB that programs could still have."""
    shown = host.run("sync; echo 3 > /proc/sys/vm/drop_caches; grep MemAvailable /proc/meminfo")
    return int(shown.check().out.split()[1])


def attack(lab: Lab, seed: int, seconds: float) -> dict[str, Any]:
    """The fuzzer on a, beside honest traffic between a and b; what it says it did."""
    a, b = lab["a"], lab["b"]
    (gid, index), (peer_gid, peer_index) = address_words(a), address_words(b)
    peer_words = f"{WORDS} peer {verbs_device(b)} {peer_gid} {peer_index}"
    words = f"{WORDS} attack {verbs_device(a)} {seed} {seconds:.0f} {JOBS} {gid} {index}"
    words += f" {peer_gid} {b.net_address}"
    # A kernel that checks everything is slow, and the machine may be busy.
    limit = seconds + 500
    with b.start(f"sleep {limit:.0f} | {peer_words}", timeout=limit + 60) as peer:
        peer.wait_for("ready", 60)
        with scenario.integrity(lab, "--qps 2 --count 60", seconds=limit) as ends:
            done = a.run(words, timeout=limit, check=True)
            scenario.check_integrity(*ends, limit)
        # Its memory is looked at when its input ends.
        b.run(f"pkill -x -f 'sleep {limit:.0f}'")
        assert scenario.last_json(peer.wait(60))["damage"] == 0
    return scenario.last_json(done)


def test_random_commands_and_scribbles_harm_nobody_else(lab: Lab, fuzzer: Path) -> None:
    a = lab["a"]
    for name in ("a", "b"):
        lab[name].run("mkdir -p /run/usb4rdma-tests; chmod 755 /run/usb4rdma-tests", check=True)
        lab[name].put(fuzzer, WORDS)
        lab[name].run(f"chmod 755 {WORDS}", check=True)
    before, memory, alarms = objects(a), memory_left(a), len(lab.alarms())
    total: dict[str, Any] = {}
    started, seed = time.monotonic(), SEED
    while not total or time.monotonic() - started < 60 * MINUTES:
        seen = attack(lab, seed, SLICE if MINUTES else SHORT)
        assert MINUTES == 0 or not lab.alarms()[alarms:], "\n".join(lab.alarms())
        scenario.until("its objects are gone", 180, lambda: objects(a) == before)
        for key, value in seen.items():
            total[key] = total.get(key, 0) + value
        seed += 1
    seconds = time.monotonic() - started
    print(total)
    # Else it looked at refusals only.
    assert total["lives"] >= 2
    for what in ("pd", "mr", "cq", "qp", "srq", "ah", "connected", "good_completions", "scribbles"):
        assert total[what] > 0, what
    assert 0.2 < total["accepted"] / total["commands"] < 0.9
    assert total["canary"] == total["hung"] == 0
    assert not leaks(a)
    scenario.run_rping(lab, count=3).check()
    a.run("rmmod usb4_rdma", timeout=60, check=True)
    assert not leaks(a)
    assert memory_left(a) > memory - MEMORY_MARGIN_KIB
    a.run("modprobe usb4_rdma", timeout=60, check=True)
    lab.wait_links()
    scenario.run_rping(lab, count=3).check()
    if MINUTES:
        record.user(total, seed=SEED, seconds=seconds, kernel=lab.plan.kernel_version)
