#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that is paged on demand: the device sees what the process sees, whatever happens to it.

Two connected queue pairs of one process, by loopback. One memory region is ordinary, the other
is registered on demand; its pages are taken away, replaced, shared with a child, unmapped, and
each time the device's reads and writes are compared with what the process finds. The last line is
JSON: {"supported": bool, "done": [cases]}; a case that fails ends the program with exit code 1.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import mmap
import os
import random
import sys
import threading
import time

from pyverbs import enums as e
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR

MIB = 1 << 20
SIZE = 4 * MIB
PAGE = mmap.PAGESIZE
DEADLINE = 120.0
RIGHTS = (
    e.IBV_ACCESS_LOCAL_WRITE
    | e.IBV_ACCESS_REMOTE_WRITE
    | e.IBV_ACCESS_REMOTE_READ
    | e.IBV_ACCESS_REMOTE_ATOMIC
)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MAP_FIXED = 0x10
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def mapped(address: int | None, size: int) -> int:
    """New anonymous memory, at `address` in place of what is there, if that is given."""
    flags = ANONYMOUS | (MAP_FIXED if address else 0)
    got: int | None = libc.mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if got in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), "mmap")
    assert got is not None
    return got


def forget(address: int, size: int) -> None:
    """Give the pages back; the next look finds zeros."""
    if libc.madvise(address, size, mmap.MADV_DONTNEED):
        raise OSError(ctypes.get_errno(), "madvise")


class Bench:
    """Both regions and a fresh pair of connected queue pairs."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.context = Context(name=options.device)
        self.pd = PD(self.context)
        self.cq = CQ(self.context, 256, None, None, 0)
        self.random = random.Random(options.seed)
        self.paged = mapped(None, SIZE)
        self.plain = mapped(None, SIZE)
        self.paged_mr = MR(self.pd, SIZE, RIGHTS | e.IBV_ACCESS_ON_DEMAND, self.paged)
        self.plain_mr = MR(self.pd, SIZE, RIGHTS, self.plain)
        self.connect()

    def connect(self) -> None:
        """Two queue pairs, each the other's peer; a request that failed has ended the old ones."""
        cap = QPCap(max_send_wr=64, max_recv_wr=64, max_send_sge=1, max_recv_sge=1)
        init = QPInitAttr(qp_type=e.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=1)
        self.active, self.passive = QP(self.pd, init), QP(self.pd, init)
        gid = self.context.query_gid(1, self.options.gid)
        for one, other in ((self.active, self.passive), (self.passive, self.active)):
            route = GlobalRoute(dgid=gid, sgid_index=self.options.gid)
            attr = QPAttr(port_num=1)
            attr.dest_qp_num, attr.path_mtu = other.qp_num, e.IBV_MTU_1024
            attr.qp_access_flags = RIGHTS
            attr.max_rd_atomic = attr.max_dest_rd_atomic = 4
            attr.min_rnr_timer, attr.timeout, attr.retry_cnt, attr.rnr_retry = 12, 20, 7, 7
            attr.ah_attr = AHAttr(port_num=1, is_global=1, gr=route)
            one.to_rts(attr)

    def fill(self, address: int, size: int) -> bytes:
        """Random bytes in memory, and what they are."""
        data = self.random.randbytes(size)
        ctypes.memmove(address, data, size)
        return data

    def post(self, op: int, local: tuple[int, int], remote: tuple[int, int], size: int) -> None:
        """A request of the active side; local and remote are address and key."""
        wr = SendWR(opcode=op, num_sge=1, sg=[SGE(local[0], size, local[1])])
        wr.set_wr_rdma(remote[1], remote[0])
        self.active.post_send(wr)

    def status(self, count: int = 1) -> set[int]:
        """The statuses of the next `count` completions."""
        statuses: list[int] = []
        ends = time.monotonic() + DEADLINE
        while len(statuses) < count:
            found, completions = self.cq.poll(count - len(statuses))
            statuses += [completion.status for completion in completions[:found]]
            if time.monotonic() > ends:
                raise SystemExit(f"no completion within {DEADLINE:.0f} s")
        return set(statuses)

    def move(self, op: int, local: tuple[int, int], remote: tuple[int, int], size: int) -> None:
        """A request that has to succeed."""
        self.post(op, local, remote, size)
        got = self.status()
        if got != {e.IBV_WC_SUCCESS}:
            raise SystemExit(f"completion status {got} instead of success")

    def at_paged(self, offset: int = 0) -> tuple[int, int]:
        return self.paged + offset, self.paged_mr.rkey

    def at_plain(self, offset: int = 0) -> tuple[int, int]:
        return self.plain + offset, self.plain_mr.rkey

    def write(self, offset: int, size: int) -> bytes:
        """The device writes random bytes into paged memory; what they are."""
        data = self.fill(self.plain, size)
        self.move(e.IBV_WR_RDMA_WRITE, self.at_plain(), self.at_paged(offset), size)
        return data

    def read(self, offset: int, size: int) -> bytes:
        """What the device finds in paged memory."""
        self.fill(self.plain, size)
        self.move(e.IBV_WR_RDMA_READ, self.at_plain(), self.at_paged(offset), size)
        return ctypes.string_at(self.plain, size)

    def expect(self, what: str, offset: int, data: bytes) -> None:
        """What the process finds in paged memory."""
        if ctypes.string_at(self.paged + offset, len(data)) != data:
            raise SystemExit(f"{what}: the process does not find what was written")


def same(what: str, got: bytes, expected: bytes) -> None:
    """Equal, or the program ends."""
    if got != expected:
        raise SystemExit(f"{what}: the device does not find what the process wrote")


def first_touch(bench: Bench) -> None:
    """The device is the first to touch the pages."""
    what = "first touch"
    bench.expect(what, 3, bench.write(3, MIB))
    same(what, bench.read(2 * MIB + 5, 100_000), bytes(100_000))


def pages_given_back(bench: Bench) -> None:
    """After madvise(MADV_DONTNEED) the device sees zeros, and then what is written anew."""
    what = "pages given back"
    bench.fill(bench.paged, MIB)
    bench.read(0, MIB)
    forget(bench.paged + PAGE, MIB - 2 * PAGE)
    same(what, bench.read(PAGE, MIB - 2 * PAGE), bytes(MIB - 2 * PAGE))
    bench.expect(what, 7, bench.write(7, MIB))


def memory_replaced(bench: Bench) -> None:
    """Another mapping at the same address is what the device reads and writes."""
    what = "memory replaced"
    bench.write(0, MIB)
    mapped(bench.paged, MIB)
    same(what, bench.read(0, MIB), bytes(MIB))
    data = bench.fill(bench.paged, MIB)
    same(what, bench.read(0, MIB), data)


def child_keeps_its_copy(bench: Bench) -> None:
    """After a fork the device writes to the parent's memory, and the child's stays as it was."""
    what = "child keeps its copy"
    before = bench.write(0, MIB)
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.read(to_child[0], 1)
        os.write(to_parent[1], hashlib.sha256(ctypes.string_at(bench.paged, MIB)).digest())
        os._exit(0)
    after = bench.write(0, MIB)
    os.write(to_child[1], b"g")
    digest = os.read(to_parent[0], 32)
    os.waitpid(child, 0)
    bench.expect(what, 0, after)
    if digest != hashlib.sha256(before).digest():
        raise SystemExit(f"{what}: the child's memory changed")


def own_side(bench: Bench) -> None:
    """Paged memory as the source and the target of one's own requests, and of receives."""
    what = "own side"
    data = bench.fill(bench.paged, MIB)
    bench.move(e.IBV_WR_RDMA_WRITE, bench.at_paged(), bench.at_plain(MIB), MIB)
    same(what, ctypes.string_at(bench.plain + MIB, MIB), data)
    forget(bench.paged, MIB)
    data = bench.fill(bench.plain + MIB, MIB)
    bench.move(e.IBV_WR_RDMA_READ, bench.at_paged(), bench.at_plain(MIB), MIB)
    bench.expect(what, 0, data)
    forget(bench.paged, MIB)
    bench.passive.post_recv(RecvWR(num_sge=1, sg=[SGE(bench.paged, MIB, bench.paged_mr.lkey)]))
    sge = SGE(bench.plain + MIB, MIB, bench.plain_mr.lkey)
    bench.active.post_send(SendWR(opcode=e.IBV_WR_SEND, num_sge=1, sg=[sge]))
    if bench.status(2) != {e.IBV_WC_SUCCESS}:
        raise SystemExit(f"{what}: a SEND into paged memory failed")
    bench.expect(what, 0, data)
    forget(bench.paged, PAGE)
    sge = SGE(bench.plain, 8, bench.plain_mr.lkey)
    wr = SendWR(opcode=e.IBV_WR_ATOMIC_FETCH_AND_ADD, num_sge=1, sg=[sge])
    wr.set_wr_atomic(bench.paged_mr.rkey, bench.paged + 64, 5, 0)
    bench.active.post_send(wr)
    if bench.status() != {e.IBV_WC_SUCCESS}:
        raise SystemExit(f"{what}: an atomic on paged memory failed")
    bench.expect(what, 64, (5).to_bytes(8, "little"))


def pages_vanish_meanwhile(bench: Bench) -> None:
    """Pages given back all the time: every request succeeds, and what is not touched is right."""
    what = "pages vanish meanwhile"
    stop = threading.Event()
    rng = random.Random(bench.options.seed + 1)

    def take() -> None:
        while not stop.is_set():
            forget(bench.paged + 2 * MIB + rng.randrange(256) * PAGE, rng.randint(1, 64) * PAGE)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        for turn in range(bench.options.turns):
            size = bench.random.randint(1, MIB)
            bench.write(2 * MIB, size)
            bench.read(2 * MIB, size)
            offset = turn % 16 * PAGE
            bench.expect(what, offset, bench.write(offset, size))
    finally:
        stop.set()
        thread.join()


def unmapped(bench: Bench) -> None:
    """Memory that is no more ends the request as a wrong key would, at either side."""
    bench.write(0, MIB)
    if libc.munmap(bench.paged + PAGE, PAGE):
        raise OSError(ctypes.get_errno(), "munmap")
    for local, remote, expected in (
        (bench.at_plain(), bench.at_paged(), e.IBV_WC_REM_ACCESS_ERR),
        (bench.at_paged(), bench.at_plain(), e.IBV_WC_LOC_PROT_ERR),
    ):
        bench.post(e.IBV_WR_RDMA_WRITE, local, remote, 4 * PAGE)
        got = bench.status()
        if got != {expected}:
            raise SystemExit(f"unmapped: completion status {got} instead of {expected}")
        bench.connect()
    mapped(bench.paged + PAGE, PAGE)
    bench.expect("mapped again", 0, bench.write(0, MIB))


CASES = (
    first_touch,
    pages_given_back,
    memory_replaced,
    child_keeps_its_copy,
    own_side,
    pages_vanish_meanwhile,
    unmapped,
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    with Context(name=options.device) as context:
        supported = bool(context.query_device_ex().odp_caps.general_caps)
    done = []
    if supported:
        bench = Bench(options)
        for case in CASES:
            case(bench)
            done.append(case.__name__)
            print(case.__name__, file=sys.stderr, flush=True)
    print(json.dumps({"supported": supported, "done": done}), flush=True)
    # The regions are this process's memory; nothing is left to be tidied.
    os._exit(0)


if __name__ == "__main__":
    main()
