# SPDX-License-Identifier: GPL-2.0-or-later
"""Each asynchronous event."""

from __future__ import annotations

import json

from pyverbs import enums as e
from pyverbs.cq import CQ
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.srq import SrqAttr
from verbs_pair import Device, End, Events, pair, shared, statuses
from verbs_table import SEND, WRITE, both, one, remote, row

EVENT = {
    e.IBV_EVENT_QP_FATAL: "QP fatal",
    e.IBV_EVENT_QP_REQ_ERR: "QP request error",
    e.IBV_EVENT_QP_ACCESS_ERR: "QP access error",
    e.IBV_EVENT_COMM_EST: "communication established",
    e.IBV_EVENT_SQ_DRAINED: "SQ drained",
    e.IBV_EVENT_QP_LAST_WQE_REACHED: "last WQE reached",
    e.IBV_EVENT_SRQ_LIMIT_REACHED: "SRQ limit reached",
    e.IBV_EVENT_CQ_ERR: "CQ error",
    e.IBV_EVENT_PORT_ERR: "port error",
    e.IBV_EVENT_PORT_ACTIVE: "port active",
    e.IBV_EVENT_GID_CHANGE: "GID change",
}


def events_of(found: list[int], *wanted: int) -> str:
    """Those events of `wanted` that came, in words."""
    return ", ".join(EVENT[event] for event in wanted if event in found)


@row("event: access refused to the peer", "QP access error")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    one(a, b, WRITE, remote=remote(b, key=1 << 8))
    return events_of(events.wait(e.IBV_EVENT_QP_ACCESS_ERR), e.IBV_EVENT_QP_ACCESS_ERR)


@row("event: request of the peer that makes no sense", "QP request error")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(8)
    a.post(SEND, 64)
    return events_of(events.wait(e.IBV_EVENT_QP_REQ_ERR), e.IBV_EVENT_QP_REQ_ERR)


@row("event: first message before RTS", "communication established")
def _(dev: Device, events: Events) -> str:
    a, b = End(dev), End(dev)
    a.connect(b)
    attr = QPAttr(port_num=1)
    attr.dest_qp_num, attr.path_mtu, attr.min_rnr_timer = a.qp.qp_num, e.IBV_MTU_4096, 1
    attr.max_dest_rd_atomic, attr.ah_attr = 1, dev.address()
    b.qp.to_rtr(attr)
    b.receive(64)
    a.post(SEND, 64)
    both(a, b)
    return events_of(events.wait(e.IBV_EVENT_COMM_EST), e.IBV_EVENT_COMM_EST)


@row("event: send queue drained, if asked for", "nothing; SQ drained")
def _(dev: Device, events: Events) -> str:
    said = []
    for asked in (0, 1):
        a, _b = pair(dev)
        a.to(e.IBV_QPS_SQD, e.IBV_QP_EN_SQD_ASYNC_NOTIFY, en_sqd_async_notify=asked)
        if asked:
            seen = events.wait(e.IBV_EVENT_SQ_DRAINED)
            said.append(events_of(seen, e.IBV_EVENT_SQ_DRAINED))
        else:
            said.append("nothing" if events.none() else "an event")
    return "; ".join(said)


@row("event: a queue pair of a shared receive queue ends", "last WQE reached")
def _(dev: Device, events: Events) -> str:
    srq, _mr = shared(dev, 2)
    a, _b = pair(dev, srq=srq)
    a.to(e.IBV_QPS_ERR)
    seen = events.wait(e.IBV_EVENT_QP_LAST_WQE_REACHED)
    return events_of(seen, e.IBV_EVENT_QP_LAST_WQE_REACHED)


@row("event: few receives are left", "nothing; SRQ limit reached")
def _(dev: Device, events: Events) -> str:
    srq, _mr = shared(dev, 4)
    a, b = pair(dev, b_options={"srq": srq})
    srq.modify(SrqAttr(srq_limit=3), e.IBV_SRQ_LIMIT)
    said = []
    for number in range(2):
        a.post(SEND, 64)
        both(a, b)
        if number == 0:
            said.append("nothing" if events.none() else "an event")
    seen = events.wait(e.IBV_EVENT_SRQ_LIMIT_REACHED)
    return "; ".join([*said, events_of(seen, e.IBV_EVENT_SRQ_LIMIT_REACHED)])


@row("event: more completions than the CQ holds", "QP fatal, CQ error; state error; flushed")
def _(dev: Device, events: Events) -> str:
    """The receives complete into another CQ, where they are flushed."""
    small, recv_cq = CQ(dev.ctx, 1), CQ(dev.ctx, 16)
    cap = QPCap(max_send_wr=16, max_recv_wr=4, max_send_sge=1, max_recv_sge=1)
    a, b = End(dev), End(dev)
    a.send_cq, a.recv_cq = small, recv_cq
    a.qp = QP(dev.pd, QPInitAttr(qp_type=e.IBV_QPT_RC, scq=small, rcq=recv_cq, cap=cap))
    b.connect(a)
    a.connect(b)
    a.receive(64)
    for _number in range(8):
        a.post(WRITE, 64, remote=remote(b))
    seen = events.wait(e.IBV_EVENT_QP_FATAL)
    flushed = statuses(recv_cq, 1)[0]
    state = "error" if a.state == e.IBV_QPS_ERR else str(a.state)
    return f"{events_of(seen, e.IBV_EVENT_QP_FATAL, e.IBV_EVENT_CQ_ERR)}; state {state}; {flushed}"


# ---- events of the port, which the caller makes happen ----


def port_event(events: Events, event: int) -> str:
    """Ask the caller for an event of the port and wait for it."""
    print(json.dumps({"ready": EVENT[event]}), flush=True)
    return events_of(events.wait(event, 120), event)


@row("event: another address", "GID change")
def _(dev: Device, events: Events) -> str:
    return port_event(events, e.IBV_EVENT_GID_CHANGE)


@row("event: cable pulled", "port error")
def _(dev: Device, events: Events) -> str:
    return port_event(events, e.IBV_EVENT_PORT_ERR)


@row("event: cable plugged in", "port active")
def _(dev: Device, events: Events) -> str:
    return port_event(events, e.IBV_EVENT_PORT_ACTIVE)
