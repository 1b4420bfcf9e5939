#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Scribble on the queues that the driver maps into a process, and ring doorbells all the while.

The user library is left out of it: the mapped rings are found in /proc/self/maps and written
directly, and the commands go to the device file as bytes. Each round makes fresh queue pairs that
talk to each other by loopback; a child process of its own does each batch, so that nothing of a
round outlives it. The driver may end queue pairs in error as it likes. What must hold: every byte
outside the two registered regions stays as it was (a guard region that no key gives away is
checked), the kernel says nothing, and an honest program works afterwards; the test looks for both.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import struct
import sys
from pathlib import Path

from pyverbs import enums as e
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr

DATA = 384  # of a ring: where its slots begin
PRODUCER, CONSUMER = 128, 256
SEND_SGES, RECV_SGES = 208, 40
REGION = 1 << 16
GUARD = b"\x5a" * REGION
DEPTH = 15
ACCESS = (
    e.IBV_ACCESS_LOCAL_WRITE
    | e.IBV_ACCESS_REMOTE_WRITE
    | e.IBV_ACCESS_REMOTE_READ
    | e.IBV_ACCESS_REMOTE_ATOMIC
)
POST_SEND = 28
ANSWER = ctypes.create_string_buffer(16)
HANDLES = range(64)
ABSURD = (
    0, 1, 2, 7, 8, 31, 32, 33, 63, 64, 255, 4095, 4096, 65535, 1 << 24, (1 << 30) - 1, 1 << 30,
    (1 << 31) - 1, 1 << 31, (1 << 32) - 16, (1 << 32) - 1,
)  # fmt: skip


class Ring:
    """A mapped ring, written as bytes."""

    def __init__(self, start: int, end: int) -> None:
        self.base = start
        self.size = end - start
        self.slot = 1 << self.read(0)
        self.mask = self.read(4)

    def read(self, offset: int) -> int:
        """A 32-bit field."""
        return int(ctypes.c_uint32.from_address(self.base + offset).value)

    def write(self, offset: int, value: int) -> None:
        """Set a 32-bit field."""
        ctypes.c_uint32.from_address(self.base + offset).value = value & 0xFFFFFFFF

    def put(self, index: int, data: bytes) -> None:
        """Fill a slot."""
        ctypes.memmove(self.base + DATA + (index & self.mask) * self.slot, data, len(data))


def rings() -> list[Ring]:
    """All rings that are mapped now, in the order of their addresses."""
    found = []
    for line in Path("/proc/self/maps").read_text(encoding="ascii").splitlines():
        if "/dev/infiniband/uverbs" in line:
            start, end = re.split("[- ]", line)[:2]
            found.append(Ring(int(start, 16), int(end, 16)))
    return found


def new_rings(before: list[Ring]) -> list[Ring]:
    """Those that came since."""
    known = {ring.base for ring in before}
    return [ring for ring in rings() if ring.base not in known]


def post_send(fd: int, handle: int) -> bool:
    """Ring the doorbell of a send queue, as the user library does. Whether that was taken."""
    body = struct.pack("=QIIII", ctypes.addressof(ANSWER), handle, 0, 0, 128)
    try:
        os.write(fd, struct.pack("=IHH", POST_SEND, (8 + len(body)) // 4, 1) + body)
    except OSError:
        return False
    return True


class Victim:
    """Two queue pairs connected with each other, and the rings of all their queues."""

    def __init__(self, ctx: Context, gid: int, kind: int) -> None:
        before = rings()
        self.ctx = ctx
        self.pd = PD(ctx)
        self.cq = CQ(ctx, DEPTH)
        self.source, self.target = MR(self.pd, REGION, ACCESS), MR(self.pd, REGION, ACCESS)
        self.guard = MR(self.pd, REGION, e.IBV_ACCESS_LOCAL_WRITE)
        self.guard.write(GUARD.decode("ascii"), REGION)
        self.cq_ring = new_rings(before)
        self.qps: list[QP] = []
        self.qp_rings: list[list[Ring]] = []
        for _ in range(2):
            before = rings()
            cap = QPCap(max_send_wr=DEPTH, max_recv_wr=DEPTH, max_send_sge=4, max_recv_sge=4)
            init = QPInitAttr(qp_type=kind, scq=self.cq, rcq=self.cq, cap=cap)
            self.qps.append(QP(self.pd, init))
            self.qp_rings.append(sorted(new_rings(before), key=lambda ring: ring.slot))
        for qp, other in zip(self.qps, reversed(self.qps), strict=True):
            attr = QPAttr(port_num=1)
            attr.dest_qp_num = other.qp_num
            attr.qp_access_flags = ACCESS
            attr.path_mtu, attr.timeout, attr.retry_cnt, attr.rnr_retry = 5, 8, 1, 1
            attr.max_rd_atomic = attr.max_dest_rd_atomic = 4
            route = GlobalRoute(dgid=ctx.query_gid(1, gid), sgid_index=gid)
            attr.ah_attr = AHAttr(gr=route, is_global=1, port_num=1)
            qp.to_rts(attr)
        self.handles = [handle for handle in HANDLES if post_send(ctx.cmd_fd, handle)]

    def send_wqe(self, rng: random.Random) -> bytearray:
        """A request that is right in every field."""
        opcode = rng.choice((0, 1, 2, 3, 4, 5, 6))
        size = 8 if opcode in (5, 6) else rng.choice((0, 1, 64, 4096, 5000, REGION))
        wqe = bytearray(SEND_SGES + 4 * 16)
        struct.pack_into("=QIIII", wqe, 0, rng.getrandbits(64), 0, opcode, 2, rng.getrandbits(32))
        if opcode in (5, 6):
            struct.pack_into("=QQQI", wqe, 24, self.target.buf, 1, 2, self.target.rkey)
        else:
            struct.pack_into("=QI", wqe, 24, self.target.buf, self.target.rkey)
        struct.pack_into("=IIIIII", wqe, SEND_SGES - 24, size, size, 0, 1, 0, 0)
        struct.pack_into("=QII", wqe, SEND_SGES, self.source.buf, size, self.source.lkey)
        return wqe

    def recv_wqe(self, rng: random.Random) -> bytearray:
        """The same for a receive."""
        wqe = bytearray(RECV_SGES + 4 * 16)
        struct.pack_into("=QII", wqe, 0, rng.getrandbits(64), 0, 0)
        struct.pack_into("=IIII", wqe, RECV_SGES - 24, REGION, REGION, 0, 1)
        struct.pack_into("=QII", wqe, RECV_SGES, self.target.buf, REGION, self.target.lkey)
        return wqe

    def doorbell(self, number: int) -> None:
        """Ask the kernel to look at a send queue."""
        post_send(self.ctx.cmd_fd, self.handles[number])

    def close(self) -> None:
        """Give everything back."""
        for thing in (*self.qps, self.cq, self.source, self.target, self.guard, self.pd):
            thing.close()

    def intact(self) -> bool:
        """Nobody wrote to the region whose keys were given to nobody."""
        return bool(self.guard.read(REGION, 0) == GUARD)


def spoil(rng: random.Random, wqe: bytearray, fields: int) -> None:
    """Set some of its 32-bit fields to what an honest program would not write."""
    for _ in range(fields):
        offset = 4 * rng.randrange(len(wqe) // 4)
        value = rng.choice((rng.choice(ABSURD), rng.getrandbits(32)))
        struct.pack_into("=I", wqe, offset, value)


def post(rng: random.Random, ring: Ring, wqe: bytearray) -> None:
    """Put a request where the kernel will look, and move the producer index, rightly or not."""
    index = ring.read(PRODUCER)
    ring.put(index, bytes(wqe[: ring.slot]))
    ahead = 1 if rng.random() < 0.9 else rng.choice(ABSURD)
    ring.write(PRODUCER, index + ahead if rng.random() < 0.97 else rng.choice(ABSURD))


def scribble(rng: random.Random, ring: Ring) -> None:
    """Write anything anywhere in the ring, its header included."""
    for _ in range(rng.choice((1, 4, 64))):
        limit = DATA if rng.random() < 0.5 else ring.size
        value = rng.choice((rng.choice(ABSURD), rng.getrandbits(32)))
        ring.write(4 * rng.randrange(limit // 4), value)


def attack(ctx: Context, gid: int, rng: random.Random, steps: int) -> bool:
    """One pair of queue pairs, to its end. Whether the guard region is as it was."""
    victim = Victim(ctx, gid, rng.choice((e.IBV_QPT_RC, e.IBV_QPT_UC)))
    if len(victim.handles) != 2:
        raise RuntimeError(f"doorbells found: {victim.handles}")
    everything = [*victim.cq_ring, *victim.qp_rings[0], *victim.qp_rings[1]]
    for _ in range(steps):
        number = rng.randrange(2)
        receive, send = victim.qp_rings[number]
        choice = rng.random()
        if choice < 0.45:
            wqe = victim.send_wqe(rng)
            spoil(rng, wqe, rng.choice((0, 0, 1, 1, 2, 8)))
            post(rng, send, wqe)
        elif choice < 0.75:
            wqe = victim.recv_wqe(rng)
            spoil(rng, wqe, rng.choice((0, 0, 1, 2, 8)))
            post(rng, receive, wqe)
        elif choice < 0.80:
            scribble(rng, rng.choice(everything))
        elif choice < 0.90:
            ring = victim.cq_ring[0]
            ring.write(CONSUMER, ring.read(PRODUCER))
        victim.doorbell(number)
        if rng.random() < 0.1:
            victim.cq.req_notify()
    intact = victim.intact()
    victim.close()
    return intact


def child(options: argparse.Namespace, seed: int) -> int:
    """A batch of attacks in this process; the exit code."""
    rng = random.Random(seed)
    ctx = Context(name=options.device)
    good = all([attack(ctx, options.gid, rng, options.steps) for _ in range(options.pairs)])
    return 0 if good else 1


def main() -> int:
    """Run the batches; the last line says what happened, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="usb4rdma0")
    parser.add_argument("--gid", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    results = []
    for batch in range(options.batches):
        pid = os.fork()
        if pid == 0:
            try:
                status = child(options, options.seed * 1000 + batch)
            except BaseException as problem:
                print(f"batch {batch}: {problem!r}", flush=True)
                status = 2
            os._exit(status)  # closes the device: the kernel takes everything away
        results.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    print(json.dumps({"batches": results}))
    return 0 if not any(results) else 1


if __name__ == "__main__":
    sys.exit(main())
