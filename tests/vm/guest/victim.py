#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A program whose peer is hostile: queue pairs, a region amid canaries, and a look at both.

usage: victim.py --device NAME --gid INDEX --peer-gid GID --peer-qpn QPN

Prints one JSON line with queue pairs, key and address; then, for each line of standard input,
one JSON line: completions since the last time, states of the queue pairs, what has changed in
memory. "reset" makes all as it was at the beginning, "bare" too but without receives, "read" posts
a READ of 4096 bytes, "send" a SEND, "receive" a receive on the RC queue pair.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Any

from pyverbs import enums as e
from pyverbs.addr import GID, AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, RecvWR, SendWR

SIZE = 65536
REGION = 16384
CANARY = 0xC5
ACCESS = (
    e.IBV_ACCESS_LOCAL_WRITE
    | e.IBV_ACCESS_REMOTE_WRITE
    | e.IBV_ACCESS_REMOTE_READ
    | e.IBV_ACCESS_REMOTE_ATOMIC
)
QKEY = 0x11111111
KINDS = {"rc": e.IBV_QPT_RC, "closed": e.IBV_QPT_RC, "uc": e.IBV_QPT_UC, "ud": e.IBV_QPT_UD}


class Victim:
    """Four queue pairs: RC, RC without any remote right, UC, UD; two regions, one unexported."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.context = Context(name=options.device)
        self.pd, self.other_pd = PD(self.context), PD(self.context)
        # Canaries before and behind the region, inside the same registration of pages.
        self.whole = MR(self.pd, SIZE, e.IBV_ACCESS_LOCAL_WRITE)
        self.whole.write(bytes([CANARY]) * SIZE, SIZE)
        self.base = self.whole.buf + SIZE // 4
        self.region = MR(self.pd, REGION, ACCESS, address=self.base)
        self.foreign = MR(self.other_pd, REGION, ACCESS)
        self.foreign.write(bytes([CANARY]) * REGION, REGION)
        self.readonly = MR(self.pd, REGION, e.IBV_ACCESS_REMOTE_READ)
        self.readonly.write(bytes([CANARY]) * REGION, REGION)
        self.cq = CQ(self.context, 1024)
        self.qps = {name: self.make(name) for name in KINDS}
        for name in self.qps:
            self.ready(name)

    def make(self, name: str) -> QP:
        cap = QPCap(max_send_wr=64, max_recv_wr=64, max_send_sge=1, max_recv_sge=1)
        init = QPInitAttr(qp_type=KINDS[name], scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=1)
        return QP(self.pd, init)

    def ready(self, name: str, receives: int = 8) -> None:
        """From reset to ready to send, with receives."""
        self.qps[name].to_rts(self.attr(name))
        self.post(name, receives)

    def attr(self, name: str) -> QPAttr:
        attr = QPAttr(port_num=1)
        attr.qkey = QKEY
        attr.sq_psn = attr.rq_psn = 100
        attr.dest_qp_num = self.options.peer_qpn
        attr.path_mtu = e.IBV_MTU_4096
        attr.qp_access_flags = ACCESS if name in ("rc", "uc") else e.IBV_ACCESS_LOCAL_WRITE
        attr.max_dest_rd_atomic = attr.max_rd_atomic = 4
        attr.min_rnr_timer, attr.timeout, attr.retry_cnt, attr.rnr_retry = 1, 14, 1, 1
        route = GlobalRoute(dgid=GID(self.options.peer_gid), sgid_index=self.options.gid)
        attr.ah_attr = AHAttr(gr=route, is_global=1, port_num=1)
        return attr

    def post(self, name: str, count: int) -> None:
        """Receives of 4096 bytes in the second quarter of the region."""
        for index in range(count):
            sge = SGE(self.base + REGION // 2, 4096, self.region.lkey)
            self.qps[name].post_recv(RecvWR(wr_id=index, num_sge=1, sg=[sge]))

    def send(self, opcode: int) -> None:
        wr = SendWR(
            wr_id=99,
            num_sge=1,
            sg=[SGE(self.base, 4096, self.region.lkey)],
            opcode=opcode,
            send_flags=e.IBV_SEND_SIGNALED,
        )
        wr.set_wr_rdma(1, 0x1000)
        self.qps["rc"].post_send(wr)

    def facts(self) -> dict[str, Any]:
        return {
            "qpn": {name: qp.qp_num for name, qp in self.qps.items()},
            "address": self.base,
            "size": REGION,
            "rkey": self.region.rkey,
            "foreign": {"rkey": self.foreign.rkey, "address": self.foreign.buf},
            "readonly": {"rkey": self.readonly.rkey, "address": self.readonly.buf},
        }

    def report(self) -> dict[str, Any]:
        done = []
        while True:
            count, found = self.cq.poll(64)
            if not count:
                break
            done += [[wc.qp_num, wc.opcode, wc.status, wc.byte_len] for wc in found]
        states = {name: qp.query(e.IBV_QP_STATE)[0].qp_state for name, qp in self.qps.items()}
        memory = self.whole.read(SIZE, 0)
        quarter = SIZE // 4
        outside = memory[:quarter] + memory[quarter + REGION :]
        untouched = bytes([CANARY]) * len(outside)
        return {
            "completions": done,
            "states": states,
            "canaries": outside == untouched,
            "foreign": self.foreign.read(REGION, 0) == bytes([CANARY]) * REGION,
            "readonly": self.readonly.read(REGION, 0) == bytes([CANARY]) * REGION,
            "region": hashlib.sha256(memory[quarter : quarter + REGION]).hexdigest(),
            "changed": sum(byte != CANARY for byte in memory[quarter : quarter + REGION]),
        }

    def again(self, receives: int = 8) -> None:
        """All queue pairs as at the beginning, the region too."""
        for name, qp in self.qps.items():
            qp.modify(QPAttr(qp_state=e.IBV_QPS_RESET), e.IBV_QP_STATE)
            self.ready(name, receives)
        self.whole.write(bytes([CANARY]) * SIZE, SIZE)


def main() -> None:
    """Answer until told to quit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--peer-gid", required=True)
    parser.add_argument("--peer-qpn", type=int, default=77)
    victim = Victim(parser.parse_args())
    print(json.dumps(victim.facts()), flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word == "reset":
            victim.again()
        elif word == "bare":
            victim.again(receives=0)
        elif word == "receive":
            victim.post("rc", 1)
        elif word == "read":
            victim.send(e.IBV_WR_RDMA_READ)
        elif word == "send":
            victim.send(e.IBV_WR_SEND)
        print(json.dumps(victim.report()), flush=True)


main()
