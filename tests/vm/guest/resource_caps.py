#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program can have the kernel keep for it, and where that ends.

    resource_caps.py --device DEVICE

Each row is a process of its own, under one limit: RLIMIT_MEMLOCK (as a user without any right), a
memory cgroup, or the rdma cgroup. It takes what it can get. One JSON object a line: "what", the
"cap", how much was "reached", "beyond": the name of the error that one more gave, or of the
signal that ended the process.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import itertools
import json
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raw_verbs import LOCAL_WRITE, Cap, Library, P

CGROUPS = Path("/sys/fs/cgroup")
NOBODY = 65534
PAGE = 4096
MEMLOCK = 1 << 20
MEMORY = 24 << 20
ON_DEMAND = 1 << 6
MAP_NORESERVE = 0x4000  # of Linux; not in every Python's mmap
HANDLES, OBJECTS = 2, 12
DEPTH = 64
UNTOUCHED = 4 << 30
Row = dict[str, Any]


def pinned() -> int:
    """Bytes that this process has pinned, by the kernel's count."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmPin:"):
            return int(line.split()[1]) << 10
    return 0


def until_refused(make: Callable[[], int], most: int = 100_000) -> tuple[list[int], str]:
    """What was made, and the name of the error that ended it ("" for none)."""
    made: list[int] = []
    while len(made) < most:
        try:
            made.append(make())
        except OSError as error:
            return made, errno.errorcode.get(error.errno or 0, str(error))
    return made, ""


def memory(size: int) -> int:
    """The address of fresh memory."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    area = mmap.mmap(-1, size, flags=flags)
    area_kept.append(area)
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


area_kept: list[mmap.mmap] = []


# ---- RLIMIT_MEMLOCK ----


def take_all(lib: Library, make: Callable[[], int], unmake: str) -> Row:
    """Until refused; then one is given back and one more is had; then all are given back."""
    before = pinned()
    made, beyond = until_refused(make)
    reached = pinned()
    again = "nothing was made"
    if made:
        lib.do(unmake, P(made.pop()))
        made.append(make())
        again = until_refused(make, 1)[1]
    for one in made:
        lib.do(unmake, P(one))
    return {
        "cap": MEMLOCK, "reached": reached, "beyond": beyond, "again": again,
        "number": len(made), "left": pinned() - before,
    }  # fmt: skip


def locked_regions(device: str) -> Row:
    """Memory regions."""
    lib = Library(device)
    pd, place = lib.pd(), memory(1 << 16)
    return take_all(lib, lambda: lib.mr(pd, place, 1 << 16), "ibv_dereg_mr")


def locked_qps(device: str) -> Row:
    """The queues of queue pairs, and the kernel's copy of what is to be sent."""
    lib = Library(device)
    pd, cq = lib.pd(), lib.cq(1)
    return take_all(lib, lambda: lib.qp(pd, cq, Cap(DEPTH, DEPTH, 1, 1, 0)), "ibv_destroy_qp")


def locked_cqs(device: str) -> Row:
    """Completion queues."""
    lib = Library(device)
    return take_all(lib, lambda: lib.cq(1000), "ibv_destroy_cq")


def locked_srqs(device: str) -> Row:
    """Shared receive queues."""
    lib = Library(device)
    pd = lib.pd()
    return take_all(lib, lambda: lib.srq(pd, 500, 1), "ibv_destroy_srq")


def locked_tables(device: str) -> Row:
    """Regions that are paged on demand: nothing is pinned, but there are tables."""
    lib = Library(device)
    pd, place = lib.pd(), memory(UNTOUCHED)
    access = LOCAL_WRITE | ON_DEMAND
    small = 1 << 26
    row = take_all(lib, lambda: lib.mr(pd, place, small, access), "ibv_dereg_mr")
    row["whole"] = until_refused(lambda: lib.mr(pd, place, UNTOUCHED, access), 1)[1]
    return row


# ---- cgroups ----


def cgroup(name: str, **files: str) -> Path:
    """A new cgroup with these files written ("_" for "."); the process that calls moves in."""
    folder = CGROUPS / name
    folder.mkdir()
    for key, value in files.items():
        (folder / key.replace("_", ".", 1)).write_text(value, encoding="ascii")
    (folder / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    return folder


def number(folder: Path, name: str) -> int:
    """A cgroup's file that holds one number."""
    return int((folder / name).read_text(encoding="ascii"))


def counted(device: str) -> Row:
    """What a memory cgroup counts for queues, against what they are."""
    folder = cgroup("u4-counted")
    lib = Library(device)
    pd, cq = lib.pd(), lib.cq(1)
    row: Row = {"cap": 0, "beyond": ""}
    tries: dict[str, Callable[[], int]] = {
        "CQ": lambda: lib.cq(1 << 16),
        "QP": lambda: lib.qp(pd, cq, Cap(8192, 8192, 1, 1, 0)),
        "SRQ": lambda: lib.srq(pd, 1 << 13, 32),
    }
    for what, make in tries.items():
        before, locked = number(folder, "memory.current"), pinned()
        make()
        row[what] = [number(folder, "memory.current") - before, pinned() - locked]
    row["reached"] = number(folder, "memory.current")
    return row


def capped(device: str) -> Row:
    """Queue pairs, completion queues and shared receive queues until a memory cgroup is full."""
    cgroup("u4-capped", memory_max=str(MEMORY))
    lib = Library(device)
    pd, cq = lib.pd(), lib.cq(1)
    kinds: list[Callable[[], int]] = [
        lambda: lib.qp(pd, cq, Cap(1024, 1024, 1, 1, 0)),
        lambda: lib.cq(1 << 12),
        lambda: lib.srq(pd, 1 << 12, 1),
    ]
    turn = itertools.cycle(kinds)
    made, beyond = until_refused(lambda: next(turn)(), 10_000)
    return {"cap": MEMORY, "reached": len(made), "beyond": beyond}


def rdma_handles(device: str) -> Row:
    """Contexts."""
    cgroup("u4-handles", rdma_max=f"{device} hca_handle={HANDLES}")
    lib = Library(device)
    made, beyond = until_refused(lib.open_again, HANDLES + 5)
    return {"cap": HANDLES, "reached": 1 + len(made), "beyond": beyond}


def rdma_objects(device: str) -> Row:
    """Objects of any kind."""
    folder = cgroup("u4-objects", rdma_max=f"{device} hca_object={OBJECTS}")
    lib = Library(device)
    pd, cq = lib.pd(), lib.cq(1)
    kinds: list[Callable[[], int]] = [
        lib.pd, lambda: lib.cq(1), lambda: lib.qp(pd, cq, Cap(1, 1, 1, 1, 0)),
        lambda: lib.srq(pd, 1, 1), lambda: lib.mr(pd, memory(PAGE), PAGE),
    ]  # fmt: skip
    refused = set()
    for make in kinds:
        until_refused(make, 2)
    for make in kinds:
        refused.add(until_refused(make)[1])
    now = (folder / "rdma.current").read_text(encoding="ascii")
    reached = int(now.split("hca_object=")[1].split()[0])
    return {"cap": OBJECTS, "reached": reached, "beyond": " ".join(sorted(refused))}


# ---- rows ----


LOCKED = (locked_regions, locked_qps, locked_cqs, locked_srqs, locked_tables)
IN_CGROUPS = (counted, capped, rdma_handles, rdma_objects)


def drop_rights() -> None:
    """A user without capabilities, who may lock MEMLOCK bytes."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (MEMLOCK, MEMLOCK))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def alone(what: Callable[[str], Row], device: str) -> Row:
    """A row in a process of its own; the name of the signal if one ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            if what in LOCKED:
                drop_rights()
            row = what(device)
        except Exception as error:  # whatever it is belongs into the row
            row = {"cap": 0, "reached": 0, "beyond": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(row).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    row = json.loads(text) if text else {"cap": 0, "reached": 0, "beyond": ""}
    if os.WIFSIGNALED(status):
        row["beyond"] = signal.Signals(os.WTERMSIG(status)).name
    return row


def after_capped() -> Row:
    """What the memory cgroup says of those that were in it."""
    folder = CGROUPS / "u4-capped"
    events = (folder / "memory.events").read_text(encoding="ascii").split()
    return {
        "cap": MEMORY,
        "peak": number(folder, "memory.peak"),
        "left": number(folder, "memory.current"),
        "killed": int(events[events.index("oom_kill") + 1]),
        "met": int(events[events.index("max") + 1]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", required=True)
    options = parser.parse_args()
    # By which what a refused context costs the kernel is told from other leaks (scenario.py).
    Path("/proc/self/comm").write_text("resource_caps", encoding="ascii")
    (CGROUPS / "cgroup.subtree_control").write_text("+memory +rdma", encoding="ascii")
    # One that has nothing to do with it, and must not notice.
    lib = Library(options.device)
    pd, cq = lib.pd(), lib.cq(1)
    lib.qp(pd, cq, Cap(DEPTH, DEPTH, 1, 1, 0))
    for what in (*LOCKED, *IN_CGROUPS):
        row = {"what": what.__name__, **alone(what, options.device)}
        if what is capped:
            row |= after_capped()
        print(json.dumps(row), flush=True)
    lib.qp(pd, cq, Cap(DEPTH, DEPTH, 1, 1, 0))
    for folder in CGROUPS.glob("u4-*"):
        folder.rmdir()
    print(json.dumps({"what": "bystander", "cap": 0, "reached": 2, "beyond": ""}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
