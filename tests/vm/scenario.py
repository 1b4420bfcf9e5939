# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that scenarios are told in: run perftest and friends between hosts, wait for states."""

from __future__ import annotations

import ast
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab.api import Host, Lab, Process, Result
from lab.patience import patient

GUEST_PROGRAMS = Path(__file__).resolve().parent / "guest"
INSIDE = "/run/usb4rdma-tests"
DEVICE = "usb4rdma0"
NETDEV = "u4rdma0"
CABLE = ("a:1", "b:1")
PERFTEST_PORT = 18515
# Exponent of the queue pairs' timeout: 4.096 us * 2^22 = 17 s. Emulated hosts pause for longer
# than a real one's timeout would allow.
PATIENT = 22
ASK_EVERY = 0.1


class ScenarioError(AssertionError):
    """The hosts did not do what the scenario says."""


def until(what: str, seconds: float, check: Callable[[], bool]) -> float:
    """Ask until `check` says yes; how long that took. ScenarioError when time is up."""
    started, seconds = time.monotonic(), patient(seconds)
    while not check():
        if time.monotonic() - started > seconds:
            raise ScenarioError(f"not within {seconds:.0f} s: {what}")
        pause(ASK_EVERY)
    return time.monotonic() - started


def pause(seconds: float) -> None:
    """Let time pass because the scenario says so, or between two questions; never to wait for
    something that can be asked for."""
    threading.Event().wait(seconds)


def modules(program: Path) -> set[Path]:
    """The files of tests/vm/guest/ that this Python file there imports, and what those import."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(program.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    direct = {path for name in names if (path := GUEST_PROGRAMS / f"{name}.py").exists()}
    return direct.union(*map(modules, direct))


def program(host: Host, name: str) -> str:
    """The path in the host of a program of tests/vm/guest/, copied there with what it imports."""
    source, path = GUEST_PROGRAMS / name, f"{INSIDE}/{name}"
    if host.run(f"mkdir -p {INSIDE}; test -e {path}").rc != 0:
        for module in modules(source) if source.suffix == ".py" else ():
            host.put(module, f"{INSIDE}/{module.name}")
        host.put(source, path)
    return path


def port_state(host: Host, device: str = DEVICE) -> str:
    """The RDMA port's state as sysfs says it, like "4: ACTIVE"; "" without the device."""
    return host.run(f"cat /sys/class/infiniband/{device}/ports/1/state 2>/dev/null").out.strip()


def wait_port(host: Host, state: str, seconds: float = 60.0) -> float:
    """Until the RDMA port is ACTIVE, DOWN, ... or, for "", the device is gone."""

    def reached() -> bool:
        now = port_state(host)
        return now.endswith(state) if state else not now

    return until(f"port of {host.name} {state or 'gone'}", seconds, reached)


def gids(host: Host, device: str = DEVICE) -> dict[int, str]:
    """The non-zero GIDs by index, in full length."""
    found = host.run(f"grep -H . /sys/class/infiniband/{device}/ports/1/gids/* 2>/dev/null").out
    table = {}
    for line in found.splitlines():
        path, gid = line.split(":", 1)
        if gid.strip("0:"):
            table[int(path.rsplit("/", 1)[1])] = gid
    return table


def gid_of(host: Host, address: str = "", device: str = DEVICE) -> int:
    """The index of the GID of an IPv4 address (default: the one of the first IPv4 GID)."""
    tail = ""
    if address:
        octets = [int(octet) for octet in address.split(".")]
        tail = "{:02x}{:02x}:{:02x}{:02x}".format(*octets)
    for index, gid in sorted(gids(host, device).items()):
        if ":ffff:" in gid and gid.endswith(tail):
            return index
    raise ScenarioError(f"host {host.name} has no IPv4 GID {address}: {gids(host, device)}")


def rdma_address(host: Host) -> str:
    """The IPv4 address on the cable's network interface."""
    shown = json.loads(host.run(f"ip -j -4 address show dev {NETDEV}", check=True).out)
    for interface in shown:
        for entry in interface.get("addr_info", []):
            return str(entry["local"])
    raise ScenarioError(f"host {host.name} has no IPv4 address on {NETDEV}")


def wait_listening(host: Host, server: Process, port: int, seconds: float = 60.0) -> None:
    """Until something listens on a TCP port; ScenarioError if the server ends before."""

    def listens() -> bool:
        if not server.running:
            raise ScenarioError(f"{server.command} ended early:\n{server.out}{server.err}")
        return bool(host.run(f"ss -Hltn 'sport = :{port}'").out.strip())

    until(f"{server.command} listens", seconds, listens)


def wait_cm_listening(host: Host, server: Process, seconds: float = 60.0) -> None:
    """Until a program listens on the RDMA connection manager."""

    def listens() -> bool:
        if not server.running:
            raise ScenarioError(f"{server.command} ended early:\n{server.out}{server.err}")
        return "LISTEN" in host.run("rdma resource show cm_id").out

    until(f"{server.command} listens", seconds, listens)


@dataclass(frozen=True)
class Outcome:
    """How a client and its server ended."""

    client: Result
    server: Result

    def check(self) -> Outcome:
        """This, if both succeeded."""
        self.client.check()
        self.server.check()
        return self


def perftest_words(command: str, host: Host, extra: str, timeout_exponent: int) -> str:
    """A perftest command line for one side."""
    return f"{command} -d {DEVICE} -x {gid_of(host)} -F -u {timeout_exponent} {extra}"


def control_address(lab: Lab, host: Host) -> str:
    """Where programs meet: the Ethernet if the lab has one, else over the cable."""
    return host.net_address if lab.plan.options.net else rdma_address(host)


@contextmanager
def perftest(
    lab: Lab,
    command: str,
    extra: str = "",
    *,
    timeout_exponent: int = PATIENT,
    seconds: float = 180.0,
) -> Iterator[tuple[Process, Process]]:
    """A running perftest: (client on b, server on a)."""
    a, b = lab["a"], lab["b"]
    with a.start(perftest_words(command, a, extra, timeout_exponent), timeout=seconds) as server:
        wait_listening(a, server, PERFTEST_PORT)
        words = f"{perftest_words(command, b, extra, timeout_exponent)} {control_address(lab, a)}"
        with b.start(words, timeout=seconds) as client:
            yield client, server


def run_perftest(lab: Lab, command: str, extra: str = "", *, seconds: float = 180.0) -> Outcome:
    """perftest from b to a, to its end."""
    with perftest(lab, command, extra, seconds=seconds) as (client, server):
        return Outcome(client.wait(seconds), server.wait(30.0))


def run_rping(lab: Lab, count: int = 10, seconds: float = 60.0) -> Outcome:
    """rping over the cable's addresses, with data verification."""
    a, b = lab["a"], lab["b"]
    address = rdma_address(a)
    with a.start(f"rping -s -a {address} -v -V -C {count}", timeout=seconds) as server:
        wait_cm_listening(a, server)
        client = b.run(f"rping -c -a {address} -v -V -C {count}", timeout=seconds)
        return Outcome(client, server.wait(seconds))


@contextmanager
def integrity(
    lab: Lab, extra: str = "", *, qp_timeout: int = PATIENT, seconds: float = 600.0
) -> Iterator[tuple[Process, Process]]:
    """The data integrity program on both hosts: (client on b, server on a)."""
    a, b = lab["a"], lab["b"]
    common = f"--device {DEVICE} --qp-timeout {qp_timeout} --timeout {patient(seconds):.0f} {extra}"
    words = f"python3 {program(a, 'integrity.py')} {common} --gid {gid_of(a)}"
    with a.start(words, timeout=seconds + 30) as server:
        server.wait_for("listening", 60.0)
        words = f"python3 {program(b, 'integrity.py')} {common} --gid {gid_of(b)}"
        words += f" {control_address(lab, a)}"
        with b.start(words, timeout=seconds + 30) as client:
            yield client, server


def last_json(result: Result) -> dict[str, Any]:
    """The JSON object in the last line of the output."""
    lines = result.out.strip().splitlines()
    if not lines:
        raise ScenarioError(f"no output of {result.command}; exit code {result.rc}:\n{result.err}")
    parsed: dict[str, Any] = json.loads(lines[-1])
    return parsed


def check_integrity(client: Process, server: Process, seconds: float = 600.0) -> dict[str, Any]:
    """Wait for both sides; the client's summary. ScenarioError unless no byte differed."""
    ends = [process.wait(seconds) for process in (client, server)]
    for end in ends:
        if end.rc != 0:
            raise ScenarioError(f"exit code {end.rc}:\n{end.out}\n{end.err}")
    summaries = [last_json(end) for end in ends]
    for summary in summaries:
        if summary["differences"] or not summary["digests_equal"]:
            raise ScenarioError(f"data differs: {summary}")
    total = dict(summaries[0])
    total["messages"] = sum(summary["messages"] for summary in summaries)
    total["bytes"] = sum(summary["bytes"] for summary in summaries)
    return total


def made_with(lab: Lab) -> dict[str, str]:
    """What a result of this lab's hosts was made with, and on which day."""
    version = lab["a"].run("cat /sys/module/usb4_rdma/version", check=True).out.strip()
    day = datetime.now(UTC).date().isoformat()
    return {"driver": version, "kernel": lab.plan.kernel_version, "day": day}


KMEMLEAK = "/sys/kernel/debug/kmemleak"
# Programs that ask for contexts that they cannot have, by the name of their process.
REFUSED_CONTEXTS = ("user_fuzz", "resource_caps")
# Who allocates a task, its credentials' groups and its statistics.
OF_A_TASK = ("copy_process", "groups_alloc", "taskstats_exit")


def scan_memory_at_the_end_only(lab: Lab) -> None:
    """Stop kmemleak's own scans: each takes minutes of an emulated processor, and a busy host is
    then said to stall."""
    for host in lab.hosts.values():
        host.run(f"test ! -e {KMEMLEAK} || echo scan=off >{KMEMLEAK}", check=True)


def of_lost_task(leak: str) -> bool:
    """Is it a task that REFUSED_CONTEXTS lost, or what is freed with one?

    A context asked for by ioctl that cannot be had costs ib_uverbs a reference to the task
    (GET_CONTEXT in uverbs_std_types_device.c frees it without rdma_restrack_put(), in 7.2).
    """
    return (
        "usb4_rdma" not in leak
        and any(f'comm "{name}"' in leak for name in REFUSED_CONTEXTS)
        and any(name in leak for name in OF_A_TASK)
    )


def memory_leaks(lab: Lab) -> str:
    """What kmemleak holds for lost on the hosts that have it; "" if nothing.

    It takes two scans, since a value that just moved between registers and memory is seen by
    the second one.
    """
    scans = f"echo scan >{KMEMLEAK}; echo scan >{KMEMLEAK}; cat {KMEMLEAK}"
    found = {
        host.name: host.run(f"test ! -e {KMEMLEAK} || {{ {scans}; }}", timeout=120).out
        for host in lab.hosts.values()
    }
    ours = {
        name: [leak for leak in text.split("unreferenced object")[1:] if not of_lost_task(leak)]
        for name, text in found.items()
    }
    return "\n".join(f"host {name}:\n{''.join(told)}" for name, told in ours.items() if told)


def dma_faults(lab: Lab) -> dict[str, int]:
    """DMA faults that the cable has counted, by router; empty when there was none."""
    routers = lab.stat()["routers"]
    return {name: router["dma_faults"] for name, router in routers.items() if router["dma_faults"]}


def data_frames(lab: Lab) -> int:
    """Frames that services have given to their rings, on all hosts."""
    routers = lab.stat()["routers"]
    return sum(int(router["data"]["tx_frames"]) for router in routers.values())
