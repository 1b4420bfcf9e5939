#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reach each limit that the device says it has, and go one beyond.

    limits.py --device DEVICE --gid INDEX --part 1|2

The two parts can run in two hosts at the same time. One JSON object a line: {"what", "limit",
"reached", "beyond", "seconds"}: how many there were, and the name of the error number that one
more gave ("" when it was taken, which is wrong). Objects that the system had before count for the
device, so fewer than the limit can be reached.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import mmap
import sys
import time
from collections.abc import Callable

from pyverbs import enums as e
from pyverbs.mr import MR
from pyverbs.pyverbs_error import PyverbsRDMAError
from raw_verbs import RAW_PACKET, UD, XRC_SEND, Cap, Library, P
from verbs_pair import ALL, Device, pair, statuses

ONE = (1, 1, 1, 1, 0)
MESSAGE = 1 << 30
CHUNK = 1 << 21
PAGE = 4096


def error_name(error: Exception) -> str:
    """EINVAL, ENOMEM, ..."""
    number = getattr(error, "errno", None) or getattr(error, "error_code", 0)
    return errno.errorcode.get(number, str(error))


def tell(what: str, limit: int, reached: int, beyond: str, since: float) -> None:
    """One line of the output."""
    seconds = round(time.monotonic() - since, 1)
    line = {"what": what, "limit": limit, "reached": reached, "beyond": beyond, "seconds": seconds}
    print(json.dumps(line), flush=True)


def many(lib: Library, what: str, limit: int, make: Callable[[], int], unmake: str) -> None:
    """Objects until one is refused, but not many more than the limit."""
    since = time.monotonic()
    made: list[int] = []
    beyond = ""
    while len(made) <= limit:
        try:
            made.append(make())
        except OSError as error:
            beyond = error_name(error)
            break
    reached = len(made)
    destroy = lib.function(unmake, ctypes.c_int)
    for one in reversed(made):
        if destroy(P(one)):
            beyond = f"{unmake} failed"
    tell(what, limit, reached, beyond, since)


def edge(what: str, limit: int, make: Callable[[int], object]) -> None:
    """Something of the largest size, and of one more."""
    since = time.monotonic()
    beyond, reached = "", 0
    try:
        make(limit)
        reached = limit
        make(limit + 1)
    except (OSError, PyverbsRDMAError) as error:
        beyond = error_name(error)
    tell(what, limit, reached, beyond, since)


def regions(lib: Library, dev: Device) -> None:
    """How many regions, completion queues and addresses there may be."""
    attr = dev.ctx.query_device()
    pd, dgid = lib.pd(), lib.gid(dev.gid)
    memory = mmap.mmap(-1, PAGE)
    place = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    many(lib, "MRs", attr.max_mr, lambda: lib.mr(pd, place, PAGE), "ibv_dereg_mr")
    many(lib, "CQs", attr.max_cq, lambda: lib.cq(1), "ibv_destroy_cq")
    many(lib, "AHs", attr.max_ah, lambda: lib.ah(pd, dgid, dev.gid), "ibv_destroy_ah")


def queues(lib: Library, dev: Device) -> None:
    """How many queue pairs there may be, and how large queues."""
    attr = dev.ctx.query_device()
    pd, cq = lib.pd(), lib.cq(1)
    many(lib, "PDs", attr.max_pd, lib.pd, "ibv_dealloc_pd")
    many(lib, "QPs", attr.max_qp, lambda: lib.qp(pd, cq, Cap(*ONE)), "ibv_destroy_qp")
    many(lib, "SRQs", attr.max_srq, lambda: lib.srq(pd, 1, 1), "ibv_destroy_srq")
    groups(lib, pd, cq, attr.max_mcast_qp_attach)

    wr, sge, inline = attr.max_qp_wr, attr.max_sge, 512
    edge("WRs of a send queue", wr, lambda n: lib.qp(pd, cq, Cap(n, 1, 1, 1, 0)))
    edge("WRs of a receive queue", wr, lambda n: lib.qp(pd, cq, Cap(1, n, 1, 1, 0)))
    edge("WRs of an SRQ", attr.max_srq_wr, lambda n: lib.srq(pd, n, 1))
    edge("SGEs of a send", sge, lambda n: lib.qp(pd, cq, Cap(1, 1, n, 1, 0)))
    edge("SGEs of a receive", sge, lambda n: lib.qp(pd, cq, Cap(1, 1, 1, n, 0)))
    edge("SGEs of an SRQ's receive", attr.max_srq_sge, lambda n: lib.srq(pd, 1, n))
    edge("inline bytes", inline, lambda n: lib.qp(pd, cq, Cap(1, 1, 1, 1, n)))
    edge("CQEs", attr.max_cqe, lib.cq)


def groups(lib: Library, pd: int, cq: int, per_group: int) -> None:
    """Queue pairs in a multicast group, and a group's queue pair that goes with them."""
    since = time.monotonic()
    gid = bytes([0xFF, 0x0E, *range(14)])
    reached, beyond = 0, ""
    members = [lib.qp(pd, cq, Cap(*ONE), UD) for _ in range(per_group + 1)]
    try:
        for qp in members:
            lib.attach(qp, gid)
            reached += 1
    except OSError as error:
        beyond = error_name(error)
    for qp in members[:reached]:
        lib.detach(qp, gid)
    for qp in members:
        lib.do("ibv_destroy_qp", P(qp))
    tell("QPs of a multicast group", per_group, reached, beyond, since)


def unsupported(lib: Library, dev: Device) -> None:
    """What the device does not have is answered so that programs do without."""
    pd, cq = lib.pd(), lib.cq(1)
    trials: dict[str, Callable[[], object]] = {
        "XRC queue pair": lambda: lib.qp(pd, cq, Cap(*ONE), XRC_SEND),
        "raw packet queue pair": lambda: lib.qp(pd, cq, Cap(*ONE), RAW_PACKET),
        "queue pair of type 99": lambda: lib.qp(pd, cq, Cap(*ONE), 99),
        "zero-based region": lambda: MR(dev.pd, PAGE, ALL | e.IBV_ACCESS_ZERO_BASED),
    }
    for what, trial in trials.items():
        since = time.monotonic()
        answer = ""
        try:
            trial()
        except (OSError, PyverbsRDMAError) as error:
            answer = error_name(error)
        tell(what, 0, 0, answer, since)


def posted(dev: Device) -> None:
    """As many requests in a queue as were asked for, and a refusal when it is full."""
    limit = dev.ctx.query_device().max_qp_wr
    since = time.monotonic()
    a, b = pair(dev, depth=limit, cqes=64, sges=1)
    got = a.qp.query(e.IBV_QP_CAP)[1].cap.max_recv_wr
    done, beyond = 0, ""
    try:
        for _ in range(got + 1):
            a.receive(64)
            done += 1
    except PyverbsRDMAError as error:
        beyond = error_name(error)
    del b
    tell("receives posted", limit, min(done, limit), beyond, since)


def pieces(dev: Device) -> None:
    """A message of 32 pieces into 32 pieces; inline data of 512 bytes."""
    since = time.monotonic()
    limit = dev.ctx.query_device().max_sge
    a, b = pair(dev, sges=limit, inline=512)
    data = bytes(range(256)) * limit
    a.fill(data)
    b.scatter(limit, 256)
    a.gather(limit, 256)
    ended = [*statuses(a.send_cq, 1), *statuses(b.recv_cq, 1)]
    right = ended == ["success"] * 2 and b.read(len(data)) == data
    tell("SGEs in one message", limit, limit if right else 0, "", since)

    since = time.monotonic()
    b.receive(512)
    a.post(e.IBV_WR_SEND, 512, flags=e.IBV_SEND_SIGNALED | e.IBV_SEND_INLINE)
    a.fill(bytes(512))
    ended = [*statuses(a.send_cq, 1), *statuses(b.recv_cq, 1)]
    right = ended == ["success"] * 2 and b.read(512) == data[:512]
    tell("inline bytes in one message", 512, 512 if right else 0, "", since)


def large_message(dev: Device) -> None:
    """One message of 1 GiB, and one of a byte more, in memory that repeats every 2 MiB."""
    since = time.monotonic()
    place = repeated(MESSAGE + CHUNK)
    region = MR(dev.pd, MESSAGE + CHUNK, ALL, address=place)
    a, _b = pair(dev, ours={"timeout": 22})
    ended = []
    for length in (MESSAGE, MESSAGE + 1):
        a.write_from(region, length, region)
        ended.append(statuses(a.send_cq, 1, 240)[0])
    tell("bytes of a message", MESSAGE, MESSAGE if ended[0] == "success" else 0, ended[1], since)


def repeated(length: int) -> int:
    """An address of so much memory, all of it the same pages."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = P
    libc.mmap.argtypes = (P, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    fd = libc.memfd_create(b"repeated", 0)
    libc.ftruncate(fd, ctypes.c_long(CHUNK))
    reserve, shared_fixed, read_write = 0x4022, 0x11, 3
    base = libc.mmap(None, length + CHUNK, 0, reserve, -1, 0)
    start = (base + CHUNK - 1) // CHUNK * CHUNK
    for offset in range(0, length, CHUNK):
        if libc.mmap(start + offset, CHUNK, read_write, shared_fixed, fd, 0) != start + offset:
            raise OSError(ctypes.get_errno(), "mmap")
    return int(start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--part", type=int, choices=[1, 2], required=True)
    options = parser.parse_args()
    lib = Library(options.device)
    dev = Device.open(options.device, options.gid)
    if options.part == 1:
        regions(lib, dev)
    else:
        pieces(dev)
        posted(dev)
        unsupported(lib, dev)
        large_message(dev)
        queues(lib, dev)
    return 0


if __name__ == "__main__":
    sys.exit(main())
