# SPDX-License-Identifier: GPL-2.0-or-later
"""Each completion status, what is checked first, and queues that are resized while in use."""

from __future__ import annotations

from pathlib import Path

from pyverbs import enums as e
from pyverbs.addr import AH
from pyverbs.mr import MW, MWBindInfo
from pyverbs.pyverbs_error import PyverbsRDMAError
from pyverbs.srq import SrqAttr
from pyverbs.wr import SGE, RecvWR, SendWR
from verbs_pair import ALL, QKEY, SIZE, Device, End, Events, completions, pair, shared, statuses
from verbs_table import FETCH_ADD, HASTY, READ, SEND, WRITE, WRITE_IMM, both, one, remote, row

# ---- success ----


@row("SEND, WRITE, READ and atomics that are right", "success")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(64)
    a.fill(b"x" * 64)
    a.post(SEND, 64)
    seen = [both(a, b), one(a, b, WRITE), one(a, b, READ)]
    seen.append(one(a, b, FETCH_ADD, 8, atomic=True))
    return "success" if set(seen) == {"success; receiver: success", "success"} else str(seen)


@row("a WRITE of no bytes looks at no key", "success")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    return one(a, b, WRITE, 0, remote=(0, 1))


# ---- errors of this side ----


@row("a datagram longer than the port's MTU", "local length")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, e.IBV_QPT_UD)
    wr = SendWR(wr_id=1, num_sge=1, sg=[a.piece(4097)])
    wr.set_wr_ud(AH(dev.pd, attr=dev.address()), b.qp.qp_num, QKEY)
    a.qp.post_send(wr)
    return statuses(a.send_cq, 1)[0]


@row("a READ where none were agreed", "local QP operation")
def _(dev: Device, events: Events) -> str:
    return one(*pair(dev, ours={"max_rd_atomic": 0}), READ)


@row("a READ on an unreliable connection", "local QP operation")
def _(dev: Device, events: Events) -> str:
    return one(*pair(dev, e.IBV_QPT_UC), READ)


@row("a SEND with a key of nobody", "local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    return one(a, b, SEND, lkey=a.mr.lkey ^ 0xFF)


@row("a READ into memory without local write", "local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, mr_access=e.IBV_ACCESS_REMOTE_READ, b_options={"mr_access": ALL})
    return one(a, b, READ)


@row("a SEND from the region of another protection domain", "local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    other = End(Device.open(dev.ctx.name, dev.gid))
    return one(a, b, SEND, lkey=other.mr.lkey)


def bound_window(a: End, access: int = e.IBV_ACCESS_REMOTE_WRITE) -> tuple[MW, int, str]:
    """A window of type 2 on the region of `a`: itself, its key, how binding it ended."""
    window = MW(a.dev.pd, e.IBV_MW_TYPE_2)
    wr = SendWR(wr_id=3, opcode=e.IBV_WR_BIND_MW)
    wr.set_bind_wr(window, MWBindInfo(a.mr, a.mr.buf, 4096, access))
    a.qp.post_send(wr)
    return window, wr.rkey, statuses(a.send_cq, 1)[0]


@row("a window's key as a local key", "bind: success, SEND: local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(64)
    _window, key, bound = bound_window(a)
    return f"bind: {bound}, SEND: {one(a, b, SEND, lkey=key)}"


@row(
    "a window's key as the local key of a receive", "remote operational; receiver: local protection"
)
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    _window, key, _bound = bound_window(b)
    b.receive(64, lkey=key)
    a.post(SEND, 64)
    return both(a, b)


@row("binding a window to a region that does not allow it", "memory window bind")
def _(dev: Device, events: Events) -> str:
    a, _b = pair(dev, mr_access=ALL & ~e.IBV_ACCESS_MW_BIND)
    return bound_window(a)[2]


@row("what is posted and what waits when a queue pair is set to error", "flushed, flushed; flushed")
def _(dev: Device, events: Events) -> str:
    a, _b = pair(dev)
    a.receive(64)
    a.receive(64)
    a.to(e.IBV_QPS_ERR)
    a.post(SEND, 64)
    return f"{', '.join(statuses(a.recv_cq, 2))}; {statuses(a.send_cq, 1)[0]}"


@row("the requests behind one that fails", "local protection, flushed, flushed; state error")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    a.post(WRITE, 64, remote=remote(b), lkey=1 << 8)
    a.post(WRITE, 64, remote=remote(b))
    a.post(WRITE, 64, remote=remote(b), flags=0)
    got = ", ".join(statuses(a.send_cq, 3))
    return f"{got}; state {'error' if a.state == e.IBV_QPS_ERR else a.state}"


@row("a datagram with a wrong key ends sending only, until it is taken up again",
     "local protection, flushed; SQE; success")  # fmt: skip
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, e.IBV_QPT_UD)
    handle = AH(dev.pd, attr=dev.address())
    for lkey in (1 << 8, a.mr.lkey):
        wr = SendWR(wr_id=1, num_sge=1, sg=[a.piece(64, lkey=lkey)])
        wr.set_wr_ud(handle, b.qp.qp_num, QKEY)
        a.qp.post_send(wr)
    got = ", ".join(statuses(a.send_cq, 2))
    state = "SQE" if a.state == e.IBV_QPS_SQE else str(a.state)
    a.to(e.IBV_QPS_RTS, e.IBV_QP_CUR_STATE, cur_qp_state=e.IBV_QPS_SQE)
    a.qp.post_send(wr)
    return f"{got}; {state}; {statuses(a.send_cq, 1)[0]}"


# ---- what the other side refuses ----


@row("a SEND longer than the receive", "remote invalid request; receiver: local length")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(63)
    a.post(SEND, 64)
    return both(a, b)


@row("a WRITE to a queue pair that allows none", "remote invalid request")
def _(dev: Device, events: Events) -> str:
    return one(*pair(dev, theirs={"qp_access_flags": e.IBV_ACCESS_REMOTE_READ}), WRITE)


@row("more READs at once than the other side agreed to", "remote invalid request")
def _(dev: Device, events: Events) -> str:
    """The answers are long, so that the requests pile up behind the first."""
    a, b = pair(dev, ours={"max_rd_atomic": 16}, theirs={"max_dest_rd_atomic": 1}, size=16 << 20)
    for _number in range(8):
        a.post(READ, 16 << 20, remote=remote(b))
    got = statuses(a.send_cq, 8, seconds=60)
    refused = [status for status in got if status not in ("success", "flushed")]
    return ", ".join(refused)


@row("a WRITE with a key of nobody", "remote access")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    return one(a, b, WRITE, remote=remote(b, key=b.mr.rkey ^ 0xFF))


@row("a READ beyond the region", "remote access")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    return one(a, b, READ, remote=remote(b, SIZE - 63))


@row("a WRITE to a region that only allows READ", "remote access")
def _(dev: Device, events: Events) -> str:
    access = e.IBV_ACCESS_REMOTE_READ
    return one(*pair(dev, b_options={"mr_access": access}), WRITE)


@row("an atomic on a region that allows none", "remote access")
def _(dev: Device, events: Events) -> str:
    access = ALL & ~e.IBV_ACCESS_REMOTE_ATOMIC
    return one(*pair(dev, b_options={"mr_access": access}), FETCH_ADD, 8, atomic=True)


@row("a WRITE through a window that was bound elsewhere", "remote access")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    c, _d = pair(dev)
    _window, key, _bound = bound_window(c)
    return one(a, b, WRITE, remote=(c.mr.buf, key))


@row("a SEND into a receive whose key is wrong", "remote operational; receiver: local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(64, lkey=1 << 8)
    a.post(SEND, 64)
    return both(a, b)


@row("a peer that is not there", "retry exceeded")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, ours=HASTY)
    b.qp.close()
    return one(a, a, WRITE)


@row("a receiver that is never ready", "RNR retry exceeded")
def _(dev: Device, events: Events) -> str:
    return one(*pair(dev, ours=HASTY), SEND)


def rnr_naks(dev: Device) -> int:
    """RNR NAKs that the device has received."""
    path = f"/sys/class/infiniband/{dev.ctx.name}/ports/1/hw_counters/rx_rnr_naks"
    return int(Path(path).read_text(encoding="ascii"))


@row("a receiver that is ready at last, with an RNR retry count of 7", "success after 30 RNR NAKs")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, ours={"rnr_retry": 7}, theirs={"min_rnr_timer": 12})
    before = rnr_naks(dev)
    a.post(SEND, 64)
    while rnr_naks(dev) < before + 30:
        if a.send_cq.poll(1)[0]:
            return "it gave up"
    b.receive(64)
    got = both(a, b)
    return "success after 30 RNR NAKs" if got == "success; receiver: success" else got


# ---- what is checked first ----


@row("a wrong local key and a receiver that is not ready", "local protection")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, ours=HASTY)
    return one(a, b, SEND, lkey=1 << 8)


@row("an operation that is not allowed, without a receive, a wrong key", "remote invalid request")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, ours=HASTY, theirs={"qp_access_flags": 0})
    return one(a, b, WRITE_IMM, remote=remote(b, key=1 << 8))


@row("no receive, and a wrong key", "RNR retry exceeded")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, ours=HASTY)
    return one(a, b, WRITE_IMM, remote=remote(b, key=1 << 8))


@row("a receive, and a wrong key", "remote access; receiver: flushed")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    b.receive(64)
    a.post(WRITE_IMM, 64, remote=remote(b, key=1 << 8))
    return both(a, b)


@row("requests before the one that fails are done", "success, success, remote access, flushed")
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev)
    for number in range(4):
        a.post(WRITE, 4096, remote=remote(b, key=1 << 8 if number == 2 else None))
    return ", ".join(statuses(a.send_cq, 4))


# ---- resizing, while there is something in the queue ----


def post_when_room(end: End, *args: int, **options: object) -> None:
    """Post a request as soon as the send queue takes it."""
    while True:
        try:
            end.post(*args, **options)  # type: ignore[arg-type]
        except PyverbsRDMAError:
            continue
        return


@row("a CQ is made larger, smaller than what it holds, smaller, while completions come",
     "1200 in order; refused; 100 in order")  # fmt: skip
def _(dev: Device, events: Events) -> str:
    a, b = pair(dev, cqes=2000)
    for number in range(1200):
        post_when_room(a, WRITE, 0, remote=remote(b), wr_id=number)
    refused = "taken"
    try:
        a.send_cq.resize(500)
    except PyverbsRDMAError:
        refused = "refused"
    a.send_cq.resize(5000)
    ids = [wc.wr_id for wc in completions(a.send_cq, 1200)]
    first = "in order" if ids == list(range(1200)) else "out of order"
    a.send_cq.resize(200)
    for number in range(100):
        post_when_room(a, WRITE, 0, remote=remote(b), wr_id=number)
    rest = [wc.wr_id for wc in completions(a.send_cq, 100)]
    second = "in order" if rest == list(range(100)) else "out of order"
    return f"{len(ids)} {first}; {refused}; {len(rest)} {second}"


@row("a shared receive queue is made larger and smaller with receives in it", "0 to 11 in order")
def _(dev: Device, events: Events) -> str:
    srq, mr = shared(dev, 4)
    a, b = pair(dev, b_options={"srq": srq})
    seen = []
    for round_, size in enumerate((200, 12, 40)):
        srq.modify(SrqAttr(max_wr=size), e.IBV_SRQ_MAX_WR)
        for number in range(4):
            wr_id = 4 * (round_ + 1) + number
            srq.post_recv(RecvWR(wr_id=wr_id, num_sge=1, sg=[SGE(mr.buf, 64, mr.lkey)]))
        for _number in range(4):
            a.post(SEND, 64)
            seen += [wc.wr_id for wc in completions(b.recv_cq, 1)]
    return "0 to 11 in order" if seen == list(range(12)) else str(seen)
