# SPDX-License-Identifier: GPL-2.0-or-later
"""One end of a test: an RC queue pair, ping-pong, RDMA writes or reads.

The answering end does the same whatever is measured: it sends each message back
until one says that it is the last. So the other end can warm up the connection
before it measures, and both know when it is over.

Runs in a process that may be killed at any point. The completion queue is polled
while answers are quick and waited for when they are not, so an idle end costs
nothing. Only here pyverbs is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from pyverbs import enums as e
from pyverbs.addr import GID, AHAttr, GlobalRoute
from pyverbs.cq import CQ, CompChannel
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.pyverbs_error import PyverbsError
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR

from ..model import Measured, ProbeKind, ProbePlan
from .endpoint import Endpoint

DEPTH = 16
RECEIVES = 4
WARM_UPS = 2
LAST, MORE = 1, 0
SPIN_NS = 5_000_000
RUN_NS = 3_000_000_000
"""No operation is posted after so long; what was done until then counts."""
GOODBYE_NS = 600_000_000
RETRY_TIMEOUT = 17
"""4.096 us * 2^17, half a second: patient with a starved host, and seven times that
is still within the test's deadline."""
_SAID = {
    5: "the queue pair went down",
    8: "the other end was not where it said it was",
    10: "the other end refused access to its memory",
    11: "the other end could not carry out an operation",
    12: "no acknowledgement came from the other end",
    13: "the other end had no receive posted",
}


class TestFailed(Exception):
    """A sentence on what went wrong."""


class Memory:
    """A registered region."""

    def __init__(self, pd: PD, size: int, access: int = 0) -> None:
        self.mr = MR(pd, size, e.IBV_ACCESS_LOCAL_WRITE | access)
        self.address = int(self.mr.buf)
        self.view = memoryview((ctypes.c_ubyte * size).from_address(self.address)).cast("B")

    def part(self, start: int, size: int) -> SGE:
        """A piece of it for a work request."""
        return SGE(self.address + start, size, self.mr.lkey)


class Verbs:
    """One end. make -> endpoint -> connect -> run; each raises TestFailed or PyverbsError."""

    def __init__(self, ibdev: str, gid: str, plan: ProbePlan) -> None:
        self.plan = plan
        self.message = plan.size if plan.kind is ProbeKind.PING else 1
        self._gid = IPv6Address(gid)
        self._index = gid_index(ibdev, self._gid)
        self._psn = secrets.randbits(24)
        self._context = Context(name=ibdev)
        self._mtu = int(self._context.query_port(1).active_mtu)
        self._pd = PD(self._context)
        self._channel = CompChannel(self._context)
        self._cq = CQ(self._context, DEPTH + 2 * RECEIVES + 8, None, self._channel, 0)
        access = 0
        if not plan.initiator and plan.kind is ProbeKind.WRITE:
            access = e.IBV_ACCESS_REMOTE_WRITE
        elif not plan.initiator and plan.kind is ProbeKind.READ:
            access = e.IBV_ACCESS_REMOTE_READ
        self._bulk = None if plan.kind is ProbeKind.PING else Memory(self._pd, plan.size, access)
        self._slots = Memory(self._pd, (RECEIVES + 1) * self.message)
        capacity = QPCap(
            max_send_wr=DEPTH + 2, max_recv_wr=RECEIVES, max_send_sge=1, max_recv_sge=1
        )
        init = QPInitAttr(
            qp_type=e.IBV_QPT_RC, scq=self._cq, rcq=self._cq, cap=capacity, sq_sig_all=1
        )
        self._access = access
        attributes = QPAttr(port_num=1)
        attributes.qp_access_flags = access
        self._qp = QP(self._pd, init, attributes)
        self._received: list[int] = []
        self._sent = 0
        for slot in range(RECEIVES):
            self._receive(slot)

    @property
    def endpoint(self) -> Endpoint:
        """What the other end needs."""
        if self._bulk is None or self.plan.initiator:
            return Endpoint(self._qp.qp_num, self._psn, self._gid, self._mtu)
        return Endpoint(
            self._qp.qp_num,
            self._psn,
            self._gid,
            self._mtu,
            self._bulk.address,
            self._bulk.mr.rkey,
            self.plan.size,
        )

    def connect(self, remote: Endpoint) -> None:
        """Bring the queue pair up towards the other end."""
        if remote.gid == self._gid:
            raise TestFailed("the other end says it is us")
        attributes = QPAttr(port_num=1)
        attributes.qp_access_flags = self._access
        attributes.dest_qp_num = remote.qpn
        attributes.path_mtu = min(self._mtu, remote.mtu)
        attributes.rq_psn, attributes.sq_psn = remote.psn, self._psn
        attributes.max_rd_atomic = attributes.max_dest_rd_atomic = 1
        attributes.min_rnr_timer = 12
        attributes.timeout = RETRY_TIMEOUT
        attributes.retry_cnt = attributes.rnr_retry = 7
        route = GlobalRoute(dgid=GID(remote.gid.packed.hex(":", 2)), sgid_index=self._index)
        attributes.ah_attr = AHAttr(gr=route, is_global=1, port_num=1)
        self._qp.to_rts(attributes)
        self._remote = remote

    def run(self) -> Measured:
        """Measure, or answer until told that it is over."""
        if not self.plan.initiator:
            return self._answer()
        for _ in range(WARM_UPS):
            self._round_trip()
        measured = self._ping() if self.plan.kind is ProbeKind.PING else self._stream()
        self._say_goodbye()
        return measured

    def _say_goodbye(self) -> None:
        """Tell the other end that it may go. It need not stay to acknowledge that."""
        self._send(LAST)
        with contextlib.suppress(TestFailed):
            self._until(lambda: self._sent, self._goal, GOODBYE_NS)

    def _answer(self) -> Measured:
        answered = 0
        while True:
            slot = self._next_message()
            last = self._slots.view[slot * self.message] == LAST
            self._receive(slot)
            if last:
                return Measured(operations=answered)
            self._send(MORE)
            self._until_sent()
            answered += 1

    def _ping(self) -> Measured:
        times: list[int] = []
        end = time.perf_counter_ns() + RUN_NS
        while len(times) < self.plan.count and time.perf_counter_ns() < end:
            started = time.perf_counter_ns()
            self._round_trip()
            times.append((time.perf_counter_ns() - started) // 2)
        times.sort()
        return Measured(
            latency_ns=times[len(times) // 2],
            p99_ns=times[min(len(times) - 1, len(times) * 99 // 100)],
            operations=len(times),
        )

    def _stream(self) -> Measured:
        assert self._bulk is not None
        if self._remote.length < self.plan.size:
            raise TestFailed(f"the other end gave {self._remote.length} bytes of memory")
        opcode = e.IBV_WR_RDMA_WRITE if self.plan.kind is ProbeKind.WRITE else e.IBV_WR_RDMA_READ
        piece = self._bulk.part(0, self.plan.size)
        posted = first = self._sent
        waiting = 0
        started = time.perf_counter_ns()
        while posted - first < self.plan.count and time.perf_counter_ns() - started < RUN_NS:
            request = SendWR(opcode=opcode, num_sge=1, sg=[piece], send_flags=e.IBV_SEND_SIGNALED)
            request.set_wr_rdma(self._remote.rkey, self._remote.address)
            self._qp.post_send(request)
            posted += 1
            waiting += 1
            if waiting == DEPTH:
                waiting -= self._until(lambda: self._sent, self._sent + 1)
        self._until(lambda: self._sent, posted)
        seconds = (time.perf_counter_ns() - started) / 1e9
        done = posted - first
        return Measured(bits_per_second=int(done * self.plan.size * 8 / seconds), operations=done)

    # Messages

    def _receive(self, slot: int) -> None:
        piece = self._slots.part(slot * self.message, self.message)
        self._qp.post_recv(RecvWR(wr_id=slot, sg=[piece], num_sge=1))

    def _send(self, word: int) -> None:
        start = RECEIVES * self.message
        self._slots.view[start] = word
        self._goal = self._sent + 1
        piece = self._slots.part(start, self.message)
        self._qp.post_send(
            SendWR(opcode=e.IBV_WR_SEND, num_sge=1, sg=[piece], send_flags=e.IBV_SEND_SIGNALED)
        )

    def _round_trip(self) -> None:
        self._send(MORE)
        self._receive(self._next_message())
        self._until_sent()

    def _next_message(self) -> int:
        self._until(lambda: len(self._received), 1)
        return self._received.pop(0)

    def _until_sent(self) -> None:
        self._until(lambda: self._sent, self._goal)

    # Completions

    def _until(self, what: Callable[[], int], goal: int, limit_ns: int = 0) -> int:
        """Take completions until `what()` has reached the goal; how much it has grown.

        With a limit it gives up after so many nanoseconds, and does not sleep before.
        """
        before = what()
        started = quiet_since = time.monotonic_ns()
        for busy in self._polls():
            if what() >= goal:
                break
            now = time.monotonic_ns()
            if limit_ns:
                if now - started > limit_ns:
                    break
            elif busy:
                quiet_since = now
            elif now - quiet_since > SPIN_NS:
                self._sleep()
                quiet_since = time.monotonic_ns()
            os.sched_yield()
        return what() - before

    def _polls(self) -> Iterator[bool]:
        """Handle what there is, again and again; whether there was something."""
        yield True
        while True:
            count, completions = self._cq.poll(DEPTH)
            for completion in completions or []:
                self._handle(completion)
            yield count > 0

    def _sleep(self) -> None:
        """Until the queue has something new. One more look, since it may have come before."""
        self._cq.req_notify()
        count, completions = self._cq.poll(DEPTH)
        for completion in completions or []:
            self._handle(completion)
        if count == 0:
            self._channel.get_cq_event(self._cq)
            self._cq.ack_events(1)

    def _handle(self, completion: Any) -> None:
        if completion.status != e.IBV_WC_SUCCESS:
            said = _SAID.get(completion.status, "a work request failed")
            raise TestFailed(f"{said} (completion status {completion.status})")
        if completion.opcode == e.IBV_WC_RECV:
            self._received.append(int(completion.wr_id))
        else:
            self._sent += 1


def gid_index(ibdev: str, gid: IPv6Address, sysfs: Path = Path("/sys")) -> int:
    """Where the port's table has this GID for RoCE v2; TestFailed if it has it not."""
    port = sysfs / "class" / "infiniband" / ibdev / "ports" / "1"
    try:
        names = sorted(int(path.name) for path in (port / "gid_attrs" / "types").iterdir())
    except OSError:
        raise TestFailed(f"there is no RDMA device {ibdev}") from None
    for index in names:
        try:
            kind = (port / "gid_attrs" / "types" / str(index)).read_text().strip()
            found = IPv6Address((port / "gids" / str(index)).read_text().strip())
        except (OSError, ValueError):
            continue  # an empty place of the table
        if kind == "RoCE v2" and found == gid:
            return index
    raise TestFailed(f"{ibdev} has no RoCE v2 GID {gid}")


__all__ = ["PyverbsError", "TestFailed", "Verbs", "gid_index"]
