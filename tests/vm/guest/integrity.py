#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Move messages of random sizes over several RC queue pairs and compare every byte.

Runs in two guests, one with the other's address. Both sides send at once on each queue pair: SEND,
SEND with immediate, WRITE (told by a SEND behind it), WRITE with immediate, READ. What is sent is
a slice of a pool that both make from one seed, so each byte is known; the bytes before and after
its place must stay untouched. At the end digests are compared. The last line is JSON; exit code 1
if anything differed, 3 if a work request failed.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import socket
import sys
import time
from typing import Any

from exchange_data import (
    ACCESS,
    GUARD,
    GUARD_BYTES,
    KINDS,
    LARGEST,
    OPCODES,
    POOL,
    READ,
    SEND,
    SEND_IMM,
    SLOT,
    WINDOW,
    WRITE,
    WRITE_IMM,
    Memory,
    Message,
    Pair,
    place,
    schedule,
)
from pyverbs import enums as e
from pyverbs.addr import GID, AHAttr, GlobalRoute
from pyverbs.cq import CQ, CompChannel
from pyverbs.device import Context
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR

CREDIT_RECEIVES = 64
READ_MARK, NOTICE_MARK = 1 << 32, 1 << 33


class WorkFailed(Exception):
    """A work completion with an error status."""


class Run:
    """The whole exchange of one side."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.differences: list[str] = []
        self.bytes = 0
        self.done = 0
        self.context = Context(name=arguments.device)
        self.port = self.context.query_port(1)
        self.pd = PD(self.context)
        self.channel = CompChannel(self.context)
        self.cq = CQ(self.context, arguments.qps * 8 * WINDOW + 512, None, self.channel, 0)
        self.pool = Memory(self.pd, POOL)
        self.pool.view[:] = random.Random(arguments.seed).randbytes(POOL)
        mine, theirs = ("client", "server") if arguments.server else ("server", "client")
        self.control = self._queue_pair(CREDIT_RECEIVES, CREDIT_RECEIVES)
        self.nothing = Memory(self.pd, 64)  # pyverbs wants a place, even for no bytes
        self.pairs = [self._pair(number, mine, theirs) for number in range(arguments.qps)]
        self.by_number = {pair.qp.qp_num: pair for pair in self.pairs}

    def _queue_pair(self, sends: int, receives: int) -> QP:
        cap = QPCap(max_send_wr=sends, max_recv_wr=receives, max_send_sge=1, max_recv_sge=1)
        init = QPInitAttr(qp_type=e.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=1)
        attributes = QPAttr(port_num=1)
        attributes.qp_access_flags = ACCESS
        return QP(self.pd, init, attributes)

    def _pair(self, number: int, mine: str, theirs: str) -> Pair:
        wanted = self.arguments
        pair = Pair(
            self._queue_pair(4 * WINDOW, WINDOW),
            Memory(self.pd, WINDOW * SLOT),
            Memory(self.pd, WINDOW * SLOT),
            *(schedule(f"{wanted.seed}/{number}/{side}", wanted) for side in (mine, theirs)),
        )
        pair.incoming = [message for message in pair.incoming if message.kind != READ]
        for position in range(min(WINDOW, len(pair.incoming))):
            self._post_receive(pair, position)
        return pair

    # --- connecting ---

    def connect(self) -> None:
        """Exchange addresses over TCP and bring the queue pairs up."""
        peer = self._socket()
        self.stream = peer.makefile("rw")
        gid = self.context.query_gid(1, self.arguments.gid)
        ours = {
            "gid": gid.gid,
            "mtu": int(self.port.active_mtu),
            "pool": self.pool.key(),
            "control": self.control.qp_num,
            "pairs": [{"qpn": p.qp.qp_num, "slots": p.slots.key()} for p in self.pairs],
        }
        theirs = self.swap(ours)
        mtu = min(ours["mtu"], theirs["mtu"])
        self.remote_pool = theirs["pool"]
        self._to_rts(self.control, theirs["control"], theirs["gid"], mtu)
        for _ in range(CREDIT_RECEIVES):
            self._post_credit_receive()
        for pair, remote in zip(self.pairs, theirs["pairs"], strict=True):
            pair.remote = remote
            self._to_rts(pair.qp, remote["qpn"], theirs["gid"], mtu)
        self.swap("ready")

    def _socket(self) -> socket.socket:
        if self.arguments.server:
            deadline = time.monotonic() + 60
            while True:
                try:
                    return socket.create_connection(
                        (self.arguments.server, self.arguments.tcp), timeout=self.arguments.timeout
                    )
                except ConnectionRefusedError:
                    if time.monotonic() > deadline:
                        raise
        listener = socket.create_server(("", self.arguments.tcp))
        print("listening", flush=True)
        connection, _ = listener.accept()
        connection.settimeout(self.arguments.timeout)
        return connection

    def swap(self, ours: Any) -> Any:
        """Send a JSON line, take the peer's."""
        self.stream.write(json.dumps(ours) + "\n")
        self.stream.flush()
        line = self.stream.readline()
        if not line:
            raise WorkFailed("the peer has gone")
        return json.loads(line)

    def _to_rts(self, qp: QP, number: int, gid: str, mtu: int) -> None:
        attributes = QPAttr(port_num=1)
        attributes.qp_access_flags = ACCESS
        attributes.dest_qp_num = number
        attributes.path_mtu = mtu
        attributes.rq_psn = attributes.sq_psn = 0x123456
        attributes.max_rd_atomic = attributes.max_dest_rd_atomic = WINDOW
        attributes.min_rnr_timer = 12
        attributes.timeout = self.arguments.qp_timeout
        attributes.retry_cnt = attributes.rnr_retry = 7
        route = GlobalRoute(dgid=GID(gid), sgid_index=self.arguments.gid)
        attributes.ah_attr = AHAttr(gr=route, is_global=1, port_num=1)
        qp.to_rts(attributes)

    # --- sending ---

    def _post_receive(self, pair: Pair, number: int) -> None:
        start, size = place(number), pair.incoming[number].size
        pair.slots.view[start - GUARD : start] = GUARD_BYTES
        pair.slots.view[start + size : start + size + GUARD] = GUARD_BYTES
        sge = SGE(pair.slots.address + start, LARGEST, pair.slots.mr.lkey)
        pair.qp.post_recv(RecvWR(wr_id=number, sg=[sge], num_sge=1))

    def _post_credit_receive(self) -> None:
        sge = SGE(self.nothing.address, 0, self.nothing.mr.lkey)
        self.control.post_recv(RecvWR(sg=[sge], num_sge=1))

    def _advance(self, pair: Pair) -> None:
        """Post what the window and the send queue have room for."""
        while pair.next < len(pair.outgoing) and pair.in_queue <= 4 * WINDOW - 2:
            message = pair.outgoing[pair.next]
            if message.kind == READ:
                if len(pair.reading) - pair.read_done >= WINDOW:
                    return
                self._post_read(pair, message)
            else:
                if pair.told - pair.credited >= WINDOW:
                    return
                self._post_message(pair, message)
            pair.next += 1

    def _post_read(self, pair: Pair, message: Message) -> None:
        number = len(pair.reading)
        start = place(number)
        pair.reads.view[start - GUARD : start] = GUARD_BYTES
        pair.reads.view[start + message.size : start + message.size + GUARD] = GUARD_BYTES
        sge = SGE(pair.reads.address + start, message.size, pair.reads.mr.lkey)
        address, key = self.remote_pool
        request = self._request(READ, READ_MARK | number, sge)
        request.set_wr_rdma(key, address + message.offset)
        pair.qp.post_send(request)
        pair.reading.append(message)
        pair.in_queue += 1

    def _post_message(self, pair: Pair, message: Message) -> None:
        sge = SGE(self.pool.address + message.offset, message.size, self.pool.mr.lkey)
        request = self._request(message.kind, pair.told, sge)
        if message.kind in (SEND_IMM, WRITE_IMM):
            request.imm_data = socket.htonl(pair.told)
        if message.kind in (WRITE, WRITE_IMM):
            address, key = pair.remote["slots"]
            request.set_wr_rdma(key, address + place(pair.told))
        pair.qp.post_send(request)
        pair.in_queue += 1
        if message.kind == WRITE:
            notice = self._request(SEND_IMM, NOTICE_MARK | pair.told, None)
            notice.imm_data = socket.htonl(pair.told)
            pair.qp.post_send(notice)
            pair.in_queue += 1
        pair.sent_digest.update(self.pool.view[message.offset : message.offset + message.size])
        pair.told += 1

    def _request(self, kind: str, identity: int, sge: SGE | None) -> SendWR:
        return SendWR(
            wr_id=identity,
            opcode=OPCODES[kind],
            num_sge=1,
            sg=[sge or SGE(self.nothing.address, 0, self.nothing.mr.lkey)],
            send_flags=e.IBV_SEND_SIGNALED,
        )

    # --- receiving ---

    def _compare(self, pair: Pair, what: str, memory: Memory, start: int, message: Message) -> None:
        size = message.size
        got = memory.view[start : start + size]
        if got != self.pool.view[message.offset : message.offset + size]:
            expected = self.pool.view[message.offset : message.offset + size]
            first = next(i for i in range(size) if got[i] != expected[i])
            self._differs(pair, f"{what} {message}: byte {first} differs")
        if (
            memory.view[start - GUARD : start] != GUARD_BYTES
            or memory.view[start + size : start + size + GUARD] != GUARD_BYTES
        ):
            self._differs(pair, f"{what} {message}: bytes outside the message were touched")
        self.bytes += size
        self.done += 1

    def _differs(self, pair: Pair, text: str) -> None:
        self.differences.append(text)
        if len(self.differences) <= 10:
            print(f"QP {pair.qp.qp_num}: {text}", file=sys.stderr, flush=True)

    def _took(self, pair: Pair, completion: Any) -> None:
        number = pair.arrived
        message = pair.incoming[number]
        if completion.wr_id != number:
            self._differs(pair, f"receive {completion.wr_id} completed in place of {number}")
        with_imm = bool(completion.wc_flags & e.IBV_WC_WITH_IMM)
        if with_imm != (message.kind != SEND):
            self._differs(pair, f"message {number} {message}: immediate flag is {with_imm}")
        elif with_imm and socket.ntohl(completion.imm_data) != number:
            self._differs(pair, f"message {number}: immediate {socket.ntohl(completion.imm_data)}")
        length = message.size if message.kind != WRITE else 0
        if completion.byte_len != length and message.kind != WRITE_IMM:
            self._differs(pair, f"message {number} {message}: length {completion.byte_len}")
        start = place(number)
        self._compare(pair, f"message {number}", pair.slots, start, message)
        pair.got_digest.update(pair.slots.view[start : start + message.size])
        pair.arrived += 1
        pair.owed += 1
        if number + WINDOW < len(pair.incoming):
            self._post_receive(pair, number + WINDOW)
        if pair.owed >= WINDOW // 2 or pair.arrived == len(pair.incoming):
            credit = self._request(SEND_IMM, 0, None)
            credit.imm_data = socket.htonl(self.pairs.index(pair) << 16 | pair.owed)
            self.control.post_send(credit)
            pair.owed = 0

    def _completed(self, pair: Pair, completion: Any) -> None:
        pair.in_queue -= 1
        if completion.wr_id & READ_MARK:
            message = pair.reading[pair.read_done]
            self._compare(pair, "READ", pair.reads, place(pair.read_done), message)
            pair.read_done += 1

    def _handle(self, completion: Any) -> None:
        if completion.status != e.IBV_WC_SUCCESS:
            raise WorkFailed(f"status {completion.status} wr_id {completion.wr_id:#x}")
        received = bool(completion.opcode & e.IBV_WC_RECV)
        if completion.qp_num == self.control.qp_num:
            if received:
                self._post_credit_receive()
                value = socket.ntohl(completion.imm_data)
                self.pairs[value >> 16].credited += value & 0xFFFF
            return
        pair = self.by_number[completion.qp_num]
        if received:
            self._took(pair, completion)
        else:
            self._completed(pair, completion)

    def finished(self) -> bool:
        """Whether all own messages were checked by the peer and all of the peer's by us."""
        return all(
            pair.next == len(pair.outgoing)
            and pair.in_queue == 0
            and pair.credited == pair.told
            and pair.arrived == len(pair.incoming)
            for pair in self.pairs
        )

    def exchange(self) -> None:
        """Run until all messages of both sides were checked."""
        total = sum(
            len(pair.incoming) + sum(m.kind == READ for m in pair.outgoing) for pair in self.pairs
        )
        reported = 0
        self.cq.req_notify()
        while not self.finished():
            for pair in self.pairs:
                self._advance(pair)
            count, completions = self.cq.poll(32)
            for completion in completions or []:
                self._handle(completion)
            if self.done * 10 // total > reported:
                reported = self.done * 10 // total
                print(f"{self.done} of {total} messages checked", file=sys.stderr)
            if count == 0 and not self.finished():
                self.channel.get_cq_event(self.cq)
                self.cq.ack_events(1)
                self.cq.req_notify()

    def verdict(self) -> dict[str, Any]:
        """Compare digests with the peer; what the last line says."""
        ours = {
            "sent": [pair.sent_digest.hexdigest() for pair in self.pairs],
            "got": [pair.got_digest.hexdigest() for pair in self.pairs],
        }
        theirs = self.swap(ours)
        same = ours["sent"] == theirs["got"] and ours["got"] == theirs["sent"]
        return {
            "messages": self.done,
            "bytes": self.bytes,
            "qps": len(self.pairs),
            "differences": len(self.differences),
            "digests_equal": same,
        }


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", help="address of the side that listens")
    parser.add_argument("--device", default="usb4rdma0")
    parser.add_argument("--gid", type=int, default=0)
    parser.add_argument("--qps", type=int, default=8)
    parser.add_argument("--count", type=int, default=640, help="messages per queue pair and side")
    parser.add_argument("--large", type=float, default=0.04, help="share of sizes up to 1 MiB")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", default="usb4rdma")
    parser.add_argument("--tcp", type=int, default=18600)
    parser.add_argument("--qp-timeout", type=int, default=20)
    parser.add_argument("--timeout", type=int, default=600, help="give up after so many seconds")
    return parser


def main() -> int:
    """Entry point."""
    arguments = parser().parse_args()
    faulthandler.dump_traceback_later(arguments.timeout, exit=True)
    started = time.monotonic()
    run = Run(arguments)
    try:
        run.connect()
        run.exchange()
        result = run.verdict()
    except WorkFailed as failure:
        print(json.dumps({"error": str(failure), "messages": run.done}), flush=True)
        return 3
    result["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(result), flush=True)
    return 0 if result["differences"] == 0 and result["digests_equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
