#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Two queue pairs of one process that talk to each other by loopback, for programs in the hosts."""

from __future__ import annotations

import ctypes
import select
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyverbs import enums as e
from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.srq import SRQ, SrqAttr, SrqInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR

ALL = (
    e.IBV_ACCESS_LOCAL_WRITE
    | e.IBV_ACCESS_REMOTE_WRITE
    | e.IBV_ACCESS_REMOTE_READ
    | e.IBV_ACCESS_REMOTE_ATOMIC
    | e.IBV_ACCESS_MW_BIND
)
SIZE = 1 << 16
QKEY = 0x1111
STATUS = {
    e.IBV_WC_SUCCESS: "success",
    e.IBV_WC_LOC_LEN_ERR: "local length",
    e.IBV_WC_LOC_QP_OP_ERR: "local QP operation",
    e.IBV_WC_LOC_PROT_ERR: "local protection",
    e.IBV_WC_WR_FLUSH_ERR: "flushed",
    e.IBV_WC_MW_BIND_ERR: "memory window bind",
    e.IBV_WC_BAD_RESP_ERR: "bad response",
    e.IBV_WC_REM_INV_REQ_ERR: "remote invalid request",
    e.IBV_WC_REM_ACCESS_ERR: "remote access",
    e.IBV_WC_REM_OP_ERR: "remote operational",
    e.IBV_WC_RETRY_EXC_ERR: "retry exceeded",
    e.IBV_WC_RNR_RETRY_EXC_ERR: "RNR retry exceeded",
}


class Late(Exception):
    """Something did not come in time."""


@dataclass(frozen=True)
class Device:
    """An open device and the GID that its queue pairs use."""

    ctx: Context
    pd: PD
    gid: int

    @classmethod
    def open(cls, name: str, gid: int) -> Device:
        """Open by name."""
        ctx = Context(name=name)
        return cls(ctx, PD(ctx), gid)

    def address(self) -> AHAttr:
        """The way to ourselves."""
        route = GlobalRoute(dgid=self.ctx.query_gid(1, self.gid), sgid_index=self.gid)
        return AHAttr(gr=route, is_global=1, port_num=1)


def status_name(status: int) -> str:
    """A completion status in words."""
    return STATUS.get(status, f"status {status}")


def completions(cq: CQ, want: int, seconds: float = 20.0) -> list[Any]:
    """The next `want` completions; Late if they don't come."""
    until = time.monotonic() + seconds
    found: list[Any] = []
    while len(found) < want:
        count, polled = cq.poll(want - len(found))
        if count:
            found += polled
            continue
        if time.monotonic() > until:
            names = [status_name(wc.status) for wc in found]
            raise Late(f"{want} completions wanted, within {seconds} s came {names}")
        select.select([], [], [], 0.002)
    return found


def statuses(cq: CQ, want: int, seconds: float = 20.0) -> list[str]:
    """Their statuses in words."""
    return [status_name(wc.status) for wc in completions(cq, want, seconds)]


class End:
    """A queue pair with completion queues and a region of its own."""

    def __init__(
        self,
        dev: Device,
        kind: int = e.IBV_QPT_RC,
        *,
        depth: int = 16,
        sges: int = 4,
        inline: int = 64,
        cqes: int = 64,
        srq: Any = None,
        mr_access: int = ALL,
        size: int = SIZE,
        all_signaled: bool = False,
    ) -> None:
        self.dev, self.kind = dev, kind
        self.send_cq, self.recv_cq = CQ(dev.ctx, cqes), CQ(dev.ctx, cqes)
        self.mr = MR(dev.pd, size, mr_access)
        cap = QPCap(
            max_send_wr=depth, max_recv_wr=depth, max_send_sge=sges, max_recv_sge=sges,
            max_inline_data=inline,
        )  # fmt: skip
        init = QPInitAttr(
            qp_type=kind, scq=self.send_cq, rcq=self.recv_cq, cap=cap, srq=srq,
            sq_sig_all=int(all_signaled),
        )  # fmt: skip
        self.qp = QP(dev.pd, init)

    def connect(self, peer: End, **changes: int) -> None:
        """Up to RTS, connected with `peer`; keywords are attributes of QPAttr."""
        attr = QPAttr(port_num=1)
        if self.kind == e.IBV_QPT_UD:
            attr.qkey = QKEY
            self.qp.to_rts(attr)
            return
        attr.dest_qp_num = peer.qp.qp_num
        attr.qp_access_flags = ALL & ~e.IBV_ACCESS_MW_BIND
        attr.path_mtu = e.IBV_MTU_4096
        attr.timeout, attr.retry_cnt, attr.rnr_retry = 14, 7, 7
        attr.min_rnr_timer = 1
        attr.max_rd_atomic = attr.max_dest_rd_atomic = 4
        attr.ah_attr = self.dev.address()
        for name, value in changes.items():
            setattr(attr, name, value)
        self.qp.to_rts(attr)

    def to(self, state: int, mask: int = 0, **changes: int) -> None:
        """Change the state of the queue pair."""
        attr = QPAttr(qp_state=state)
        for name, value in changes.items():
            setattr(attr, name, value)
        self.qp.modify(attr, e.IBV_QP_STATE | mask)

    @property
    def state(self) -> int:
        """What ibv_query_qp says."""
        attr, _ = self.qp.query(e.IBV_QP_STATE)
        return int(attr.qp_state)

    def piece(self, length: int, offset: int = 0, lkey: int | None = None) -> SGE:
        """Part of the region."""
        return SGE(self.mr.buf + offset, length, self.mr.lkey if lkey is None else lkey)

    def receive(self, length: int, lkey: int | None = None, wr_id: int = 1) -> None:
        """Post a receive."""
        self.qp.post_recv(RecvWR(wr_id=wr_id, num_sge=1, sg=[self.piece(length, lkey=lkey)]))

    def post(
        self,
        opcode: int,
        length: int,
        *,
        remote: tuple[int, int] | None = None,
        lkey: int | None = None,
        flags: int = e.IBV_SEND_SIGNALED,
        wr_id: int = 2,
        atomic: bool = False,
    ) -> None:
        """Post a send request; `remote` is (address, key)."""
        wr = SendWR(
            wr_id=wr_id, opcode=opcode, num_sge=1, sg=[self.piece(length, lkey=lkey)],
            send_flags=flags,
        )  # fmt: skip
        if remote and atomic:
            wr.set_wr_atomic(remote[1], remote[0], 1, 2)
        elif remote:
            wr.set_wr_rdma(remote[1], remote[0])
        self.qp.post_send(wr)

    def scatter(self, pieces: int, size: int) -> None:
        """Post a receive of many pieces of the region, one behind the other."""
        parts = [self.piece(size, number * size) for number in range(pieces)]
        self.qp.post_recv(RecvWR(wr_id=1, num_sge=pieces, sg=parts))

    def gather(self, pieces: int, size: int) -> None:
        """Send such pieces as one message."""
        parts = [self.piece(size, number * size) for number in range(pieces)]
        self.qp.post_send(SendWR(wr_id=2, num_sge=pieces, sg=parts))

    def write_from(self, region: MR, length: int, target: MR) -> None:
        """WRITE from the start of one region to the start of another."""
        piece = SGE(region.buf, length, region.lkey)
        wr = SendWR(wr_id=2, opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[piece])
        wr.set_wr_rdma(target.rkey, target.buf)
        self.qp.post_send(wr)

    def fill(self, data: bytes, offset: int = 0) -> None:
        """Put bytes into the region."""
        ctypes.memmove(self.mr.buf + offset, data, len(data))

    def read(self, length: int, offset: int = 0) -> bytes:
        """Take bytes out of it."""
        return ctypes.string_at(self.mr.buf + offset, length)


def pair(
    dev: Device,
    kind: int = e.IBV_QPT_RC,
    *,
    ours: dict[str, int] | None = None,
    theirs: dict[str, int] | None = None,
    b_options: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[End, End]:
    """Two connected ends; `ours` and `theirs` are attributes that differ from the usual ones."""
    a, b = End(dev, kind, **options), End(dev, kind, **{**options, **(b_options or {})})
    a.connect(b, **(ours or {}))
    b.connect(a, **(theirs or {}))
    return a, b


def shared(dev: Device, receives: int) -> tuple[SRQ, MR]:
    """A shared receive queue with some receives."""
    srq = SRQ(dev.pd, SrqInitAttr(SrqAttr(max_wr=16, max_sge=1)))
    mr = MR(dev.pd, 4096, ALL)
    for number in range(receives):
        srq.post_recv(RecvWR(wr_id=number, num_sge=1, sg=[SGE(mr.buf, 64, mr.lkey)]))
    return srq, mr


def link_of(fd: Path) -> str:
    """What a descriptor of ours is; "" for one that is closed meanwhile."""
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return ""


class Events:
    """The device's asynchronous events."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        mine = Path("/proc/self/fd")
        self.fd = next(int(fd.name) for fd in mine.iterdir() if link_of(fd).endswith("event]"))

    def wait(self, wanted: int, seconds: float = 20.0) -> list[int]:
        """Events up to the first of type `wanted`; Late if it does not come."""
        until = time.monotonic() + seconds
        seen: list[int] = []
        while wanted not in seen:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Late(f"no event {wanted} within {seconds} s; came {seen}")
            event = self.ctx.get_async_event()
            seen.append(int(event.event_type))
            event.ack()
        return seen

    def none(self, seconds: float = 0.3) -> bool:
        """Whether no event comes for a while."""
        return not select.select([self.fd], [], [], seconds)[0]
