#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The product on a machine without USB4: two virtual hosts, a virtual cable, RDMA between them.

Builds the packages, boots two Debian hosts joined by one cable with the packages installed, and
shows what a user of the product would look at. Says what it does all the way, and leaves a
summary in build/demo/. With --keep the hosts stay for `tests/lab/lab run|shell|unplug ...`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests"), str(TOP / "tests/vm"), str(TOP / "packaging")]

import build_debs  # noqa: E402
import scenario  # noqa: E402
from lab.api import Host, Lab  # noqa: E402
from lab.errors import LabError  # noqa: E402

NAME = "demo"
OUTPUT = TOP / "build/demo"
LINK_PATIENCE = 120.0


@dataclass
class Step:
    """One line of the summary."""

    title: str
    result: str = ""
    seconds: float = 0.0
    good: bool = False

    @property
    def verdict(self) -> str:
        """One word."""
        return "ok" if self.good else "FAIL"


@dataclass
class Report:
    """All steps so far."""

    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """A step with a heading, whose failure is reported and ends the demo."""
        print(f"\n── {title} ".ljust(78, "─"), flush=True)
        step = Step(title)
        self.steps.append(step)
        started = time.monotonic()
        try:
            yield step
            step.good = True
        except Exception as error:
            step.result = str(error).splitlines()[0]
            raise
        finally:
            step.seconds = time.monotonic() - started

    def text(self) -> str:
        """The table for people."""
        lines = [
            f"{step.verdict:<4} {step.title:<48} {step.seconds:6.1f} s  {step.result}"
            for step in self.steps
        ]
        return "\n".join(lines)


def show(host: Host, command: str, timeout: float = 120.0) -> str:
    """Run a command in a host and show it as a session at its prompt."""
    print(f"{host.name}# {command}", flush=True)
    result = host.run(command, timeout=timeout, sink=lambda _fd, data: echo(data))
    return result.check().out


def echo(data: bytes) -> None:
    """Pass a host's output on at once."""
    sys.stdout.write(data.decode(errors="replace"))
    sys.stdout.flush()


def look_around(report: Report, lab: Lab) -> None:
    """What a user looks at first."""
    a, b = lab["a"], lab["b"]
    with report.step("the daemon is active on both hosts") as step:
        for host in (a, b):
            assert show(host, "systemctl is-active usb4rdmad").strip() == "active"
        step.result = "usb4rdmad is active"
    with report.step("the link becomes active") as step:
        for host in (a, b):
            show(host, f"usb4rdmactl status --wait active --timeout {LINK_PATIENCE:.0f}", 180)
        step.result = f"{scenario.rdma_address(a)} and {scenario.rdma_address(b)}"
    with report.step("D-Bus: org.usb4rdma1") as step:
        tree = show(a, "busctl --system --no-pager tree org.usb4rdma1")
        step.result = f"{tree.count('/org/usb4rdma1/')} objects"
    with report.step("ibv_devinfo") as step:
        for host in (a, b):
            shown = show(
                host,
                f"ibv_devinfo -v -d {scenario.DEVICE} | grep -E 'hca_id|state|link_layer|mtu|GID'",
            )
            assert "PORT_ACTIVE" in shown
            assert re.search(r"link_layer:\s+Ethernet", shown)
        step.result = "PORT_ACTIVE, Ethernet, GIDs: " + ", ".join(
            sorted(scenario.gids(a).values())[-1:]
        )


def perftest(report: Report, lab: Lab, command: str, extra: str) -> None:
    """One perftest program between the hosts."""
    with report.step(f"{command} {extra}") as step:
        print(f"a# {command} {extra} &   b# {command} {extra} {scenario.rdma_address(lab['a'])}")
        outcome = scenario.run_perftest(lab, command, extra, seconds=300).check()
        rows = [line for line in outcome.client.out.splitlines() if re.match(r"\s+\d+\s+\d+", line)]
        print(outcome.client.out)
        moved = sum(int(size) * int(count) for size, count in (row.split()[:2] for row in rows))
        step.result = f"{len(rows)} sizes"
        if moved > 1 << 20 and outcome.client.seconds:
            rate = moved / outcome.client.seconds / (1 << 20)
            step.result += f", {moved >> 20} MiB, {rate:.0f} MiB/s of wall time, start included"


def traffic(report: Report, lab: Lab) -> None:
    """Stock RDMA programs between the hosts."""
    with report.step("rping") as step:
        outcome = scenario.run_rping(lab, count=10).check()
        print(outcome.client.out)
        step.result = "10 round trips, data verified"
    for command, extra in (
        ("ib_write_bw", "-a -n 20"),
        ("ib_read_bw", "-s 65536 -n 200"),
        ("ib_send_bw", "-s 65536 -n 200"),
        ("ib_write_lat", "-s 64 -n 200"),
    ):
        perftest(report, lab, command, extra)
    with report.step("random messages, every byte compared") as step:
        with scenario.integrity(lab, "--qps 8 --count 100", seconds=200) as (client, server):
            total = scenario.check_integrity(client, server, 220)
        step.result = f"{total['messages']} messages, {total['bytes'] >> 20} MiB, no difference"


def replug(report: Report, lab: Lab) -> None:
    """The cable out and in again."""
    a = lab["a"]
    with report.step("the cable is pulled and pushed back") as step:
        lab.unplug(*scenario.CABLE)
        scenario.wait_port(a, "DOWN", 30)
        show(a, "usb4rdmactl status")
        lab.plug(*scenario.CABLE)
        plugged = time.monotonic()
        show(a, "usb4rdmactl status --wait active --timeout 60")
        step.result = f"port DOWN, then active {time.monotonic() - plugged:.1f} s after the plug"
    with report.step("health") as step:
        alarms, faults = lab.alarms(), scenario.dma_faults(lab)
        print("\n".join(alarms) or "no kernel warning on either host")
        assert not alarms, f"kernel warnings: {len(alarms)}"
        assert not faults, f"DMA faults: {faults}"
        step.result = "no kernel warning, no DMA fault"


def run(report: Report) -> Lab:
    """Everything, in order; the lab is up afterwards."""
    with report.step("Debian packages") as step:
        build_debs.build(TOP / "dist")
        step.result = ", ".join(sorted(p.name.split("_")[0] for p in (TOP / "dist").glob("*.deb")))
    with report.step("two hosts, one cable, packages installed with apt") as step:
        lab = Lab.up(name=NAME, hosts=2, install="all", init="systemd", wait_links=False)
        step.result = f"Debian 13, Linux {lab.plan.kernel_version}, {lab.plan.accel}"
    parts: tuple[Callable[[Report, Lab], None], ...] = (look_around, traffic, replug)
    for part in parts:
        part(report, lab)
    return lab


def finish(report: Report, lab: Lab | None, *, keep: bool) -> None:
    """Summary, logs, and the hosts ended or left."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    failed = not all(step.good for step in report.steps)
    if lab is not None and failed:
        lab.save_logs(OUTPUT / "logs")
        print(f"\nlogs: {(OUTPUT / 'logs').relative_to(TOP)}/")
    text = report.text()
    (OUTPUT / "summary.txt").write_text(text + "\n", encoding="utf-8")
    print("\n── summary ".ljust(78, "─") + f"\n{text}")
    print("(An emulated processor: times say nothing about hardware.)")
    if lab is None:
        return
    if keep:
        print("\nThe hosts are up. For example:")
        for verb, rest in (("run", " a -- usb4rdmactl status"), ("shell", " a"), ("down", "")):
            print(f"  tests/lab/lab {verb} --name {NAME}{rest}")
    else:
        lab.down()


def main() -> int:
    """Entry point of `make demo`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    arguments = parser.parse_args()
    report = Report()
    lab: Lab | None = None
    code = 0
    started = time.monotonic()
    try:
        lab = run(report)
    except (LabError, AssertionError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        code = 1
    finally:
        if lab is None:
            try:
                lab = Lab(NAME)
            except LabError:
                lab = None
        finish(report, lab, keep=arguments.keep)
    print(f"{'done' if code == 0 else 'failed'} after {(time.monotonic() - started) / 60:.1f} min")
    return code


if __name__ == "__main__":
    sys.exit(main())
