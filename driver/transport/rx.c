// SPDX-License-Identifier: GPL-2.0-only
/*
 * From frames to queue pairs: which QP a segment is for, and where the raw frames
 * of the run at hand go.
 *
 * A run outlives the upcall that announced it, so nothing of a QP is held: number
 * and serial are remembered and looked up for each frame. A QP that was destroyed
 * in the meantime is not found, its successor has another serial.
 *
 * Upcalls come with bottom halves off, so that plain spin_lock() does for the locks.
 */
#include <linux/build_bug.h>
#include <linux/rcupdate.h>

#include "internal.h"

enum u4_rx_side { U4_RX_NONE, U4_RX_REQUEST, U4_RX_RESPONSE, U4_RX_DATAGRAM, U4_RX_MULTICAST };

/**
 * struct u4_rx_state - what a rail is receiving; lives in struct u4_run
 * @acks: QPs that owe something to the peer, until the batch ends
 * @held: QPs whose consumer is to be told of an end when a ring has read its memory
 * @serial: of the QP of the run; multicast: what u4_mc_rx() said
 * @qpn: its number
 * @life: of that QP: what was begun before a reset is none of the next connection's
 * @ud_run: datagrams: u4_qp.ud_run when it came; a later one took its receive if it moved
 * @side: who takes the raw frames, U4_RX_NONE: nobody
 * @broken: a raw frame did not have the length announced
 * @error: what u4_rsp_place() said
 * @seg: the segment
 * @gid: multicast: the group
 */
struct u4_rx_state {
	struct u4_qp	*acks;
	struct u4_qp	*held;
	u64		serial;
	u32		qpn;
	u32		life;
	u32		ud_run;
	u8		side;
	bool		broken;
	int		error;
	struct u4_seg	seg;
	u8		gid[U4_GID_LEN];
};

static_assert(sizeof(struct u4_rx_state) <= sizeof(struct u4_run));

static struct u4_rx_state *u4_rx_state(struct u4_run *run)
{
	return (struct u4_rx_state *)run;
}

void u4_rx_defer(struct u4_rail *rail, struct u4_qp *qp)
{
	struct u4_rx_state *st = u4_rx_state(u4_rail_run(rail));

	if (qp->ack_queued || (!qp->ack_due && !qp->nak_due && qp->rsp_head == qp->rsp_tail))
		return;
	qp->ack_queued = true;
	qp->ack_next = st->acks;
	st->acks = qp;
}

/* Under sq_lock. What was answered in this batch may have been read since it began. */
static void u4_rx_hold(struct u4_rx_state *st, struct u4_qp *qp)
{
	if (qp->dead || qp->held_queued || qp->sq_told == qp->sq_una)
		return;
	qp->held_queued = true;
	qp->held_next = st->held;
	st->held = qp;
}

static void u4_rx_tell(struct u4_qp *qp)
{
	struct u4_rail *rail;

	u4_sq_lock(qp);
	rail = qp->tx_rail;
	u4_sq_unlock(qp);
	/* It goes after a grace period at the earliest. */
	if (rail)
		u4_rail_look(rail);
	u4_sq_lock(qp);
	qp->held_queued = false;
	if (!qp->dead)
		u4_req_tell(qp);
	u4_sq_unlock(qp);
}

void u4_xp_rx_batch_end(struct u4_peer *peer, struct u4_rail *rail)
{
	struct u4_rx_state *st = u4_rx_state(u4_rail_run(rail));

	while (st->held) {
		struct u4_qp *qp = st->held;

		st->held = qp->held_next;
		u4_rx_tell(qp);
	}
	while (st->acks) {
		struct u4_qp *qp = st->acks;

		st->acks = qp->ack_next;
		spin_lock_bh(&qp->rq_lock);
		qp->ack_queued = false;
		u4_rsp_run(qp);
		spin_unlock_bh(&qp->rq_lock);
	}
}

static enum u4_rx_side u4_rx_side(const struct u4_qp *qp, u8 op)
{
	if (op == U4_OP_UD)
		return u4_qp_datagram(qp) ? U4_RX_DATAGRAM : U4_RX_NONE;
	if (u4_qp_datagram(qp))
		return U4_RX_NONE;
	switch (op) {
	case U4_OP_READ_RESP:
	case U4_OP_ATOMIC_RESP:
	case U4_OP_ACK:
	case U4_OP_NAK:
	case U4_OP_RNR_NAK:
		return U4_RX_RESPONSE;
	}
	return U4_RX_REQUEST;
}

/* Under a lock of it. A connection with ourselves takes no frame from the wire, and v.v. */
static bool u4_rx_takes(const struct u4_qp *qp, bool loop)
{
	return !qp->dead && qp->attr.loopback == loop;
}

static bool u4_rx_request(struct u4_qp *qp, struct u4_rail *rail, struct u4_rx_state *st,
			  const struct u4_seg *seg, bool loop)
{
	bool taken;

	spin_lock(&qp->rq_lock);
	st->life = qp->life;
	taken = u4_rx_takes(qp, loop) && u4_rsp_rx(qp, seg);
	if (taken && !seg->nraw)
		u4_rsp_commit(qp, seg, true, 0);
	if (!qp->dead)
		u4_rx_defer(rail, qp);
	spin_unlock(&qp->rq_lock);
	return taken;
}

static bool u4_rx_response(struct u4_qp *qp, struct u4_rx_state *st, const struct u4_seg *seg,
			   bool loop)
{
	bool taken = false;

	spin_lock(&qp->sq_lock);
	st->life = qp->life;
	if (u4_rx_takes(qp, loop) && seg->sqpn == qp->attr.dest_qpn)
		taken = u4_req_rx(qp, seg, seg->nraw);
	u4_rx_hold(st, qp);
	spin_unlock(&qp->sq_lock);
	return taken;
}

static bool u4_rx_datagram(struct u4_qp *qp, struct u4_rx_state *st, const struct u4_seg *seg)
{
	bool taken;

	spin_lock_bh(&qp->rq_lock);
	st->life = qp->life;
	taken = !qp->dead && u4_ud_rx(qp, seg);
	st->ud_run = qp->ud_run;
	if (taken && !seg->nraw)
		u4_ud_commit(qp, seg, true);
	spin_unlock_bh(&qp->rq_lock);
	return taken;
}

static void u4_rx_multicast(struct u4_xpdev *dev, struct u4_rx_state *st,
			    const struct u4_seg *seg, bool loop)
{
	st->serial = u4_mc_rx(dev, seg, loop, st->gid);
	if (!st->serial)
		return;
	st->side = U4_RX_MULTICAST;
	st->broken = false;
	st->seg = *seg;
	st->seg.payload = NULL;
}

void u4_xp_rx_header(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		     const void *data, unsigned int len, unsigned int nraw)
{
	struct u4_rx_state *st = u4_rx_state(run);
	struct u4_xpdev *dev = peer->client;
	bool loop = rail == peer->loop;
	struct u4_seg seg;
	struct u4_qp *qp;
	u8 side;

	st->side = U4_RX_NONE;
	if (!dev)
		return;
	if (u4_seg_parse(&seg, data, len, nraw)) {
		u4_xp_count(dev, U4_CNT_RX_MALFORMED, 1);
		return;
	}
	rcu_read_lock();
	if (seg.op == U4_OP_UD) {
		if (!loop && u4_own_source(dev, &seg)) {
			u4_xp_count(dev, U4_CNT_RX_OWN_SOURCE, 1);
			goto unlock;
		}
		if (seg.dqpn == U4_QPN_MULTICAST) {
			u4_rx_multicast(dev, st, &seg, loop);
			goto unlock;
		}
	}
	qp = u4_qp_find(dev, seg.dqpn);
	side = qp ? u4_rx_side(qp, seg.op) : U4_RX_NONE;
	/* Looked at again under the lock; here it is counted. */
	if (side == U4_RX_NONE ||
	    (side != U4_RX_DATAGRAM && READ_ONCE(qp->attr.loopback) != loop)) {
		u4_xp_count(dev, U4_CNT_RX_NO_QP, 1);
		goto unlock;
	}
	switch (side) {
	case U4_RX_REQUEST:
		if (!u4_rx_request(qp, rail, st, &seg, loop))
			goto unlock;
		break;
	case U4_RX_RESPONSE:
		if (!u4_rx_response(qp, st, &seg, loop))
			goto unlock;
		break;
	case U4_RX_DATAGRAM:
		if (!u4_rx_datagram(qp, st, &seg))
			goto unlock;
		break;
	}
	if (nraw) {
		st->side = side;
		st->qpn = seg.dqpn;
		st->serial = qp->serial;
		st->broken = false;
		st->error = 0;
		st->seg = seg;
		st->seg.payload = NULL;
	}
unlock:
	rcu_read_unlock();
}

/* The QP of the run, if it is still the same. Under RCU. */
static struct u4_qp *u4_rx_run_qp(struct u4_xpdev *dev, const struct u4_rx_state *st)
{
	struct u4_qp *qp;

	if (!dev || st->side == U4_RX_NONE)
		return NULL;
	qp = u4_qp_find(dev, st->qpn);
	return qp && qp->serial == st->serial ? qp : NULL;
}

void u4_xp_rx_raw(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		  unsigned int idx, const void *data, unsigned int len)
{
	struct u4_rx_state *st = u4_rx_state(run);
	struct u4_seg *seg = &st->seg;
	struct u4_qp *qp;
	u32 off;

	if (st->side == U4_RX_NONE)
		return;
	if (len != u4_seg_raw_len(seg, idx)) {
		st->broken = true;
		return;
	}
	off = u4_seg_raw_off(seg, idx);

	rcu_read_lock();
	if (st->side == U4_RX_MULTICAST && peer->client) {
		u4_mc_place(peer->client, st->gid, st->serial, seg, off, data, len);
		goto unlock;
	}
	qp = u4_rx_run_qp(peer->client, st);
	if (!qp) {
		st->side = U4_RX_NONE;
		goto unlock;
	}
	if (st->side == U4_RX_RESPONSE) {
		spin_lock(&qp->sq_lock);
		if (qp->dead || qp->life != st->life ||
		    !u4_req_place(qp, seg, off, data, len))
			st->side = U4_RX_NONE;
		spin_unlock(&qp->sq_lock);
		goto unlock;
	}
	spin_lock(&qp->rq_lock);
	if (qp->dead || qp->life != st->life || !u4_qp_receives(qp) ||
	    (st->side == U4_RX_REQUEST && qp->e_psn != seg->psn) ||
	    (st->side == U4_RX_DATAGRAM && qp->ud_run != st->ud_run) ||
	    (seg->op != U4_OP_WRITE && !qp->have_rwqe))
		st->side = U4_RX_NONE;
	else if (!st->error)
		st->error = u4_rsp_place(qp, seg, off, data, len);
	spin_unlock(&qp->rq_lock);
unlock:
	rcu_read_unlock();
}

void u4_xp_rx_confirm(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run, bool ok)
{
	struct u4_rx_state *st = u4_rx_state(run);
	struct u4_qp *qp;

	rcu_read_lock();
	if (st->side == U4_RX_MULTICAST && peer->client) {
		if (ok && !st->broken)
			u4_mc_commit(peer->client, st->gid, st->serial, &st->seg);
		goto out;
	}
	qp = u4_rx_run_qp(peer->client, st);
	if (!qp)
		goto out;
	if (st->broken)
		u4_xp_count(qp->dev, U4_CNT_RX_MALFORMED, 1);
	ok = ok && !st->broken;
	if (st->side == U4_RX_RESPONSE) {
		u4_sq_lock(qp);
		if (!qp->dead && qp->life == st->life)
			u4_req_commit(qp, &st->seg, ok);
		u4_rx_hold(st, qp);
		u4_sq_unlock(qp);
		goto out;
	}
	spin_lock_bh(&qp->rq_lock);
	if (qp->dead || qp->life != st->life) {
		/* Not of this connection. */
	} else if (st->side == U4_RX_REQUEST) {
		u4_rsp_commit(qp, &st->seg, ok, st->error);
		u4_rx_defer(rail, qp);
	} else if (ok && qp->ud_run == st->ud_run && st->error != U4_ABSENT) {
		u4_ud_commit(qp, &st->seg, !st->error);
	}
	spin_unlock_bh(&qp->rq_lock);
out:
	st->side = U4_RX_NONE;
	/* A rail that goes down has no batch whose end would send this. */
	if (!ok)
		u4_xp_rx_batch_end(peer, rail);
	rcu_read_unlock();
}

void u4_xp_rx_lost(struct u4_peer *peer, struct u4_rail *rail)
{
	struct u4_xpdev *dev = peer->client;

	if (dev)
		u4_xp_count(dev, U4_CNT_RX_LOSS, 1);
}
