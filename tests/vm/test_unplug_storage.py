# SPDX-License-Identifier: GPL-2.0-or-later
"""The unplug matrix with NVMe over Fabrics and NFS in use: part of `make unplug`.

Host a serves, b uses. What survives goes on and verifies; what cannot ends with an error, every
command returns, and when the storage is put away the hosts hold what they held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import scenario
from holdings import OTHERS_GO, SLAB_TRACES, Ledger, held, settle
from lab.api import Lab
from report import record, report
from test_storage import STEADILY, storage
from unplug_events import (
    kill_daemon,
    pull,
    push,
    rebind,
    reload,
    start_daemon,
    suspend_one,
    unload_soft_roce,
)

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]
# Beyond all retries, and beyond what a target waits for a sign of life.
PULLED = 12.0
RUNTIME = 15
FILES = {"nvme": "/dev/nvme0n1", "nfs3": "/mnt/nfs3/three", "nfs4": "/mnt/nfs4/four"}
# NFS asks a dead server for ever; a forced umount ends what is asked, not what comes after.
PUT_AWAY = """
pkill -9 fio
for _ in $(seq 60); do
    umount -f /mnt/nfs3 /mnt/nfs4 2>/dev/null
    pgrep -x fio >/dev/null || break
    sleep 1
done
umount -l /mnt/nfs3 /mnt/nfs4 2>/dev/null
umount /run/rpc_pipefs
! pgrep -x fio
"""
NO_STORAGE = "modprobe -r nvme-rdma rpcrdma nfsv3 nfsv4 nfs"
# From the end of an event until all work has ended: the kernel's users try again every 2 to 10 s.
BOUND = 150


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    kernel = os.environ.get("USB4RDMA_KERNEL", "7.2")
    options = {"install": "driver", "net": True, "extra": ("storage",)}
    return options | {"kernel": kernel, "append": SLAB_TRACES}


def pull_for_long(lab: Lab) -> None:
    pull(lab)
    scenario.pause(PULLED)
    push(lab)


def restart_daemon(lab: Lab) -> None:
    kill_daemon(lab)
    start_daemon(lab)


@dataclass(frozen=True)
class Row:
    """An event on the using host, and which work it may end with an error."""

    name: str
    act: Callable[[Lab], None]
    ends: tuple[str, ...] = ()


ROWS = (
    Row("cable pulled for 12 s", pull_for_long),
    # A device that is removed takes its NVMe controllers along; NFS finds the next one.
    Row("rmmod usb4_rdma", reload, ("nvme",)),
    Row("rmmod rdma_rxe", unload_soft_roce, ("nvme",)),
    Row("cable pulled, thunderbolt unbound and bound", rebind),
    Row("daemon killed", restart_daemon),
    Row("suspended and resumed", suspend_one),
)


def wait_traffic(lab: Lab, frames: int = 300) -> None:
    """Until data flows over the cable."""
    start = scenario.data_frames(lab)
    scenario.until("traffic", 90, lambda: scenario.data_frames(lab) > start + frames)


def use_once(lab: Lab) -> None:
    """Put all storage to use and away."""
    for what in ("nvme", "nfs"):
        with storage(lab, what, scenario.rdma_address(lab["a"])):
            pass


def play(lab: Lab, row: Row) -> tuple[dict[str, Any], list[str]]:
    """The event while fio writes and verifies on all three: (how each ended, what was wrong)."""
    b, wrong, ends = lab["b"], [], {}
    with ExitStack() as stack:
        for what in ("nvme", "nfs"):
            stack.enter_context(storage(lab, what, scenario.rdma_address(lab["a"])))
        work = {
            name: stack.enter_context(
                b.start(f"{STEADILY} --runtime={RUNTIME} --name={name} --filename={path}")
            )
            for name, path in FILES.items()
        }
        wait_traffic(lab)
        row.act(lab)
        acted = time.monotonic()
        lab.wait_links()
        for name, process in work.items():
            result = process.wait(BOUND)
            took = round(time.monotonic() - acted, 1)
            ends[name] = {"end": "goes on" if result.rc == 0 else "error", "after": took}
            if (result.rc != 0) != (name in row.ends):
                wrong.append(f"{row.name}, {name}: exit code {result.rc}\n{result.out}{result.err}")
    return ends, wrong


def told(row: Row, ends: dict[str, Any]) -> str:
    """In words."""
    parts = [f"{name} {how['end']}, over {how['after']:.0f} s later" for name, how in ends.items()]
    return f"{row.name}: {'; '.join(parts)}"


def test_storage_in_use_goes_on_or_ends(lab: Lab) -> None:
    lines: list[str] = []
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    # Modules that stay loaded take memory the first time, and more for each device that comes;
    # ib_core's pool of CQs is a device's.
    use_once(lab)
    reload(lab)
    use_once(lab)
    ledger = Ledger.open(lab, but=OTHERS_GO)
    for row in ROWS:
        ends, faults = play(lab, row)
        lines.append(told(row, ends))
        rows.append({"event": row.name, "work": ends})
        wrong += faults
        report("unplug-storage.txt", lines)
        ledger.settle()
    assert not wrong, "\n".join(wrong)
    record("storage", lab, {"rows": rows})


def test_a_server_that_died_holds_nobody(lab: Lab) -> None:
    """Its storage is put away on the other host, and each command for that returns."""
    a, b = lab["a"], lab["b"]
    address = scenario.rdma_address(a)
    before = held(b)
    for what in ("nvme", "nfs"):
        a.run(f"sh {scenario.program(a, 'storage_target.sh')} {what} up {address}", check=True)
        path = scenario.program(b, "storage_initiator.sh")
        b.run(f"sh {path} {what} up {address}", check=True, timeout=90)
    with ExitStack() as stack:
        for name, file in FILES.items():
            words = f"{STEADILY} --runtime=600 --name={name} --filename={file}"
            stack.enter_context(b.start(words))
        wait_traffic(lab)
        a.kill()
        started = time.monotonic()
        scenario.wait_port(b, "DOWN", 30)
        b.run("nvme disconnect -n lab", timeout=90, check=True)
        b.run(PUT_AWAY, timeout=90, check=True)
        b.run("rmmod usb4_rdma", timeout=60, check=True)
        took = time.monotonic() - started
    report("unplug-server.txt", [f"server killed: all is put away within {took:.0f} s"])
    b.run("modprobe usb4_rdma", timeout=30, check=True)
    a.power_on()
    lab.wait_links()
    scenario.run_rping(lab, count=3).check()
    # What was asked of the dead server over NFS ends by NFS's own time; it tries to connect till
    # then, by whatever device there is, and its modules hold something for each device.
    scenario.until("NFS has ended", BOUND, lambda: b.run(NO_STORAGE, timeout=90).rc == 0)
    settle(b, before, but=OTHERS_GO)
    record("server", lab, {"seconds": round(took)})
