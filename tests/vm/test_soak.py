# SPDX-License-Identifier: GPL-2.0-or-later
"""The soak: all kinds of traffic for a long time, with random faults and random events.

`make soak MINUTES=60 SEED=... KERNEL=7.2`. A chapter is one round of traffic: some faults of the
cable and some replugs, each of which all flows must survive, or one event of the unplug matrix, or
an exchange whose digests are compared. After each the hosts hold what they held at first. At the
end memory and latency are what they were, and kmemleak, where the kernel has it, knows of nothing.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from typing import Any

import pytest
import scenario
from holdings import OTHERS_COME, SLAB_TRACES, Ledger, Memory
from lab.api import Host, Lab
from lab.progress import say
from report import record, report
from traffic import ALL_GO_ON, KINDS, Traffic, judge, traffic
from unplug import play
from unplug_events import A_MINUTE, EVENTS, pull_and_push, reload

MINUTES = float(os.environ.get("USB4RDMA_SOAK_MINUTES", "60"))
SEED = os.environ.get("USB4RDMA_SEED") or str(random.SystemRandom().randrange(1 << 32))
KERNEL = os.environ.get("USB4RDMA_KERNEL", "7.2")
pytestmark = [pytest.mark.timeout(MINUTES * 60 + 3600), pytest.mark.long]
FAULTS = ("drop", "crc", "flip", "nointr", "notxdone", "delay")
# A host that boots anew tells nothing about leaks, and one that was suspended has lost the lab's
# shared folder: such events are not for the soak.
WITH_BOTH = [e for e in EVENTS if e.b is not None and "suspended" not in e.name]
NET_SECONDS = 600
# Emulated hosts on a busy machine; a queue that grows or a lost interrupt costs far more.
LATENCY_FACTOR = 4.0
KMEMLEAK = "/sys/kernel/debug/kmemleak"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return {"install": "driver", "net": True, "kernel": KERNEL, "append": SLAB_TRACES}


def latency(lab: Lab) -> float:
    """Microseconds of one way: the best of three medians, since others use this machine too."""
    medians = []
    for _ in range(3):
        out = scenario.run_perftest(lab, "ib_send_lat", "-s 64 -n 300").check().client.out
        found = re.search(r"^\s*64\s+300\s+(\S.*)$", out, re.M)
        assert found, out
        medians.append(float(found[1].split()[2]))
    return min(medians)


def leaks(host: Host) -> str:
    """What kmemleak knows of our module."""
    if host.run(f"test -w {KMEMLEAK}").rc != 0:
        return ""
    # An object counts as leaked when two scans have found no pointer to it.
    host.run(f"echo scan >{KMEMLEAK}; echo scan >{KMEMLEAK}", timeout=300, check=True)
    reports = host.run(f"cat {KMEMLEAK}", timeout=120).out.split("unreferenced object")
    return "".join(text for text in reports if "usb4_rdma" in text)


class Soak:
    """What was done so far."""

    def __init__(self, lab: Lab, both: Traffic) -> None:
        self.lab, self.both = lab, both
        self.dice = random.Random(SEED)
        self.done: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()
        self.wrong: list[str] = []

    def chapter(self) -> None:
        """One, chosen by chance."""
        choice = self.dice.random()
        if choice < 0.6:
            self.impaired()
        elif choice < 0.9:
            event = self.dice.choice(WITH_BOTH)
            say(f"soak: {event.name}")
            self.wrong += play(self.lab, self.both, event)[1]
            self.done[event.name] += 1
        else:
            self.exchange()

    def impair(self) -> str:
        """Some faults at once, rare or frequent."""
        names = self.dice.sample(FAULTS, self.dice.choice((1, 1, 2, 3)))
        rate = 1 / self.dice.choice((50, 200, 1000))
        for name in names:
            more = {"us": self.dice.randrange(100, 3000)} if name == "delay" else {}
            seed = self.dice.randrange(1 << 16)
            self.lab.inject("a:1-b:1", name, rate=rate, seed=seed, **more)
        return f"{'+'.join(names)} one in {1 / rate:.0f}"

    def impaired(self) -> None:
        """A round that goes on through faults and replugs."""
        self.both.begin(A_MINUTE, NET_SECONDS)
        for _ in range(self.dice.randrange(2, 5)):
            if self.dice.random() < 0.3:
                say("soak: replug")
                self.lab.inject_off()
                pull_and_push(self.lab)
                self.lab.wait_links()
                self.done["replug"] += 1
            else:
                say(f"soak: {self.impair()}")
                self.done["faults"] += 1
            for _ in range(self.dice.randrange(1, 6)):
                self.both.go_on(KINDS, 300)
            self.lab.inject_off()
        results = self.both.ask("stop", "result")
        for name, got in results.items():
            self.wrong += judge(name, ALL_GO_ON, got)
            for kind, flow in got["flows"].items():
                self.operations[kind] += flow["operations"]
        self.both.ask("close", "closed")

    def exchange(self) -> None:
        """integrity.py, whose digests are compared, over a cable with faults."""
        say(f"soak: exchange, {self.impair()}")
        words = f"--qps 2 --count 60 --large 0.05 --seed {self.dice.randrange(1 << 16)}"
        with scenario.integrity(self.lab, words, qp_timeout=18, seconds=400) as ends:
            scenario.check_integrity(*ends, 420)
        self.lab.inject_off()
        self.done["exchange"] += 1


def test_soak(lab: Lab) -> None:
    say(f"soak: {MINUTES:g} minutes, SEED={SEED}, kernel {lab.plan.kernel_version}")
    first = latency(lab)
    end = time.monotonic() + 60 * MINUTES
    reload(lab)
    with traffic(lab) as both:
        soak = Soak(lab, both)
        soak.impaired()
        ledger, memory = Ledger.open(lab, but=OTHERS_COME), Memory(lab)
        chapters = 1
        while time.monotonic() < end and not soak.wrong:
            soak.chapter()
            chapters += 1
            ledger.settle()
            memory.sample()
    last = latency(lab)
    leaked = {name: leaks(host) for name, host in lab.hosts.items()}
    report(
        "soak.txt",
        [
            f"{MINUTES:g} minutes, seed {SEED}, kernel {lab.plan.kernel_version}, "
            f"{time.strftime('%Y-%m-%d', time.gmtime())}: {chapters} chapters",
            f"  done: {', '.join(f'{n} {name}' for name, n in sorted(soak.done.items()))}",
            f"  compared: {', '.join(f'{n} {kind}' for kind, n in soak.operations.items())}",
            f"  {memory.told()}",
            f"  latency of 64 bytes: {first:.0f} us before, {last:.0f} us after",
            f"  kmemleak: {leaked if any(leaked.values()) else 'nothing, or not in this kernel'}",
            *soak.wrong,
        ],
    )
    assert not soak.wrong, "\n".join(soak.wrong)
    assert not any(leaked.values()), leaked
    memory.check()
    assert last <= LATENCY_FACTOR * first
    result = {"minutes": MINUTES, "seed": SEED, "chapters": chapters, "done": soak.done}
    result |= {"operations": soak.operations, "latency_us": [round(first), round(last)]}
    record("soak", lab, result | {"memory": {name: -lost for name, lost in memory.lost().items()}})
