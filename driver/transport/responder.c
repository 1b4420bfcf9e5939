// SPDX-License-Identifier: GPL-2.0-only
/*
 * The responder: requests in PSN order, where they put their data, and what is
 * answered. All under rq_lock.
 *
 * A segment goes through u4_rsp_rx() (checks, inline payload), u4_rsp_place()
 * per raw frame, and u4_rsp_commit(), which alone moves the expected PSN and
 * completes receives: a segment of which a frame was lost leaves no trace but
 * bytes in memory that its repetition writes again.
 *
 * Answers leave in PSN order: first READ and atomic responses, then the NAK or
 * acknowledgement. While a response is due nothing later is acknowledged. Thus a
 * requester that sees something later knows that a response is lost.
 */
#include <linux/string.h>

#include "internal.h"

#define U4_RSP_MASK	(U4_MAX_RD_ATOMIC - 1)

/* A NAK that ends the connection: the responder's side ends with it. */
static void u4_rsp_refuse(struct u4_qp *qp, enum u4_nak code)
{
	/* An unreliable service drops the message and says nothing. */
	if (!u4_qp_reliable(qp)) {
		qp->in_msg = false;
		if (code == U4_NAK_ACCESS && ++qp->bad_keys >= U4_BAD_KEYS_MAX) {
			u4_qp_event(qp, U4_EV_QP_ACCESS_ERR);
			u4_qp_fail(qp);
		}
		/* Its own receive is at fault. */
		if (code == U4_NAK_OP)
			u4_qp_fail(qp);
		return;
	}
	qp->nak_due = U4_OP_NAK;
	qp->nak_code = code;
	qp->nak_psn = qp->e_psn;
}

/* The refusal is on its way, or could not be sent in time: either way it is over. */
static void u4_rsp_refused(struct u4_qp *qp)
{
	switch (qp->nak_code) {
	case U4_NAK_ACCESS:
		u4_qp_event(qp, U4_EV_QP_ACCESS_ERR);
		break;
	case U4_NAK_INVALID:
		u4_qp_event(qp, U4_EV_QP_REQ_ERR);
		break;
	default:
		break;
	}
	u4_qp_fail(qp);
}

/* ---- answers ---- */

static void u4_rsp_header(const struct u4_qp *qp, u8 op, u32 psn, struct u4_seg *seg)
{
	memset(seg, 0, sizeof(*seg));
	seg->op = op;
	seg->dqpn = qp->attr.dest_qpn;
	seg->sqpn = qp->qpn;
	seg->psn = psn;
}

/* One header frame without payload. 0, -EAGAIN or -ENOLINK. */
static int u4_rsp_send_short(struct u4_qp *qp, struct u4_rail *rail, const struct u4_seg *seg,
			     const void *payload)
{
	struct u4_burst burst;
	int ret;

	ret = u4_burst_get(rail, 0, &burst, &qp->rq_waiter);
	if (ret)
		return ret;
	u4_seg_format(burst.payload, seg);
	if (seg->inline_len)
		memcpy(burst.payload + sizeof(struct u4_xp_hdr), payload, seg->inline_len);
	u4_rail_send(&burst, U4_KIND_XP, sizeof(struct u4_xp_hdr) + seg->inline_len, NULL, false);
	return 0;
}

/* The next segment of a READ response. */
static int u4_rsp_send_read(struct u4_qp *qp, struct u4_rail *rail, struct u4_rsp *rsp)
{
	u32 left = rsp->len - rsp->off;
	struct u4_remote remote = {};
	struct u4_ref *ref = NULL;
	struct u4_mr *mr;
	struct u4_burst burst;
	struct u4_plan plan;
	bool last, more;
	struct u4_seg seg;
	int ret;

	if (rsp->len && !u4_mr_get_remote(qp, rsp->rkey, U4_ACCESS_REMOTE_READ, rsp->raddr,
					  rsp->len, &remote))
		return -EACCES;
	mr = remote.mr;
	u4_plan_next(&plan, rsp->raddr + rsp->off, left, left);
	ret = u4_burst_get(rail, plan.nraw, &burst, &qp->rq_waiter);
	if (ret)
		goto out;
	if (mr && !u4_mr_enter(mr, rsp->rkey, rsp->raddr + rsp->off, plan.seg_len)) {
		u4_rail_put(&burst);
		ret = u4_fault_start(qp, &qp->rq_fault, mr, rsp->raddr + rsp->off, left);
		goto out;
	}

	last = plan.seg_len == left;
	u4_rsp_header(qp, U4_OP_READ_RESP, rsp->psn, &seg);
	seg.flags = (rsp->off ? 0 : U4_XP_FIRST) | (last ? U4_XP_LAST : 0);
	seg.nraw = plan.nraw;
	seg.first_raw = plan.first_raw;
	seg.inline_len = plan.inline_len;
	seg.seg_len = plan.seg_len;
	seg.msg_len = rsp->len;
	seg.msg_off = rsp->off;
	u4_seg_format(burst.payload, &seg);
	if (seg.inline_len)
		u4_mr_copy(mr, rsp->raddr + rsp->off, burst.payload + sizeof(struct u4_xp_hdr),
			   seg.inline_len, false);
	if (seg.nraw)
		ref = u4_emit_region(&burst, &seg, mr, rsp->raddr + rsp->off + seg.inline_len,
				     remote.window);
	if (mr)
		u4_mr_leave(mr);
	more = !last || qp->rsp_tail - qp->rsp_head > 1 || qp->ack_due || qp->nak_due;
	u4_rail_send(&burst, U4_KIND_XP, sizeof(struct u4_xp_hdr) + seg.inline_len, ref, more);
	u4_xp_count(qp->dev, U4_CNT_TX_SEGMENTS, 1);
	u4_xp_count(qp->dev, U4_CNT_TX_BYTES, seg.seg_len);
	rsp->off += seg.seg_len;
out:
	if (mr)
		u4_mr_put_remote(&remote);
	return ret;
}

static int u4_rsp_send_atomic(struct u4_qp *qp, struct u4_rail *rail, struct u4_rsp *rsp)
{
	__le64 value = cpu_to_le64(rsp->result);
	struct u4_seg seg;
	int ret;

	u4_rsp_header(qp, U4_OP_ATOMIC_RESP, rsp->psn, &seg);
	seg.msg_len = sizeof(value);
	seg.seg_len = sizeof(value);
	seg.inline_len = sizeof(value);
	ret = u4_rsp_send_short(qp, rail, &seg, &value);
	if (!ret) {
		u4_xp_count(qp->dev, U4_CNT_TX_SEGMENTS, 1);
		u4_xp_count(qp->dev, U4_CNT_TX_BYTES, sizeof(value));
	}
	return ret;
}

static int u4_rsp_send_nak(struct u4_qp *qp, struct u4_rail *rail)
{
	struct u4_seg seg;
	int ret;

	u4_rsp_header(qp, qp->nak_due, qp->nak_psn, &seg);
	seg.imm = qp->nak_code;
	ret = u4_rsp_send_short(qp, rail, &seg, NULL);
	if (ret == -EAGAIN)
		return ret;
	if (!ret)
		u4_xp_count(qp->dev, qp->nak_due == U4_OP_RNR_NAK ? U4_CNT_TX_RNR :
							U4_CNT_TX_NAK_SEQ, 1);
	if (qp->nak_due == U4_OP_NAK && qp->nak_code != U4_NAK_SEQ)
		u4_rsp_refused(qp);
	qp->nak_due = 0;
	return ret;
}

void u4_rsp_run(struct u4_qp *qp)
{
	struct u4_rail *rail;
	struct u4_seg seg;
	int ret = 0;

	if (qp->dead || !u4_qp_receives(qp) || u4_qp_datagram(qp))
		return;
	rcu_read_lock();
	rail = u4_qp_rail(qp, qp->attr.loopback);
	if (!rail)
		goto unlock;
	while (qp->rsp_head != qp->rsp_tail) {
		struct u4_rsp *rsp = &qp->rsp[qp->rsp_head & U4_RSP_MASK];

		if (rsp->op == U4_OP_READ_REQ)
			ret = u4_rsp_send_read(qp, rail, rsp);
		else
			ret = u4_rsp_send_atomic(qp, rail, rsp);
		if (ret == -EACCES) {
			/* The region went away while its response was under way. */
			u4_rsp_refuse(qp, U4_NAK_ACCESS);
			qp->nak_psn = rsp->psn;
			qp->rsp_head = qp->rsp_tail;
			break;
		}
		if (ret)
			goto unlock;
		if (rsp->op != U4_OP_READ_REQ || rsp->off == rsp->len)
			qp->rsp_head++;
	}
	if (qp->nak_due) {
		u4_rsp_send_nak(qp, rail);
		qp->ack_due = false;
	} else if (qp->ack_due) {
		u4_rsp_header(qp, U4_OP_ACK, u4_psn_add(qp->e_psn, U4_PSN_MASK), &seg);
		ret = u4_rsp_send_short(qp, rail, &seg, NULL);
		if (!ret) {
			qp->ack_due = false;
			u4_xp_count(qp->dev, U4_CNT_TX_ACKS, 1);
		}
	}
unlock:
	rcu_read_unlock();
}

/* ---- requests ---- */

/* A receive for the message at hand: 0, -ENOENT, or -EINVAL after a refusal. */
static int u4_rsp_need_recv(struct u4_qp *qp)
{
	struct u4_recv recv = {};
	int ret;

	if (qp->have_rwqe)
		return 0;
	ret = qp->dev->ops->recv_next(qp, &qp->rwqe);
	if (!ret) {
		qp->have_rwqe = true;
		return 0;
	}
	if (ret == -ENOENT)
		return ret;
	recv.wr_id = qp->rwqe.wr_id;
	recv.status = U4_LOC_QP_OP_ERR;
	qp->dev->ops->recv_done(qp, &recv);
	u4_rsp_refuse(qp, U4_NAK_OP);
	return -EINVAL;
}

static void u4_rsp_recv_error(struct u4_qp *qp, enum u4_status status)
{
	struct u4_recv recv = { .wr_id = qp->rwqe.wr_id, .status = status };

	if (!qp->have_rwqe)
		return;
	qp->have_rwqe = false;
	qp->dev->ops->recv_done(qp, &recv);
}

static void u4_rsp_not_ready(struct u4_qp *qp)
{
	if (!u4_qp_reliable(qp)) {
		qp->in_msg = false;
		return;
	}
	/* What is under way behind this one needs no NAK of its own. */
	qp->nak_sent = true;
	qp->gap_psn = qp->e_psn;
	qp->nak_due = U4_OP_RNR_NAK;
	qp->nak_code = qp->attr.min_rnr_timer;
	qp->nak_psn = qp->e_psn;
}

void u4_rsp_ask_again(struct u4_qp *qp)
{
	if (!u4_qp_receives(qp) || qp->nak_due ||
	    !u4_qp_reliable(qp))
		return;
	qp->nak_sent = true;
	qp->nak_due = U4_OP_NAK;
	qp->nak_code = U4_NAK_SEQ;
	qp->nak_psn = qp->e_psn;
}

/* What is expected came and could not be placed; it is asked for when its page is there. */
static void u4_rsp_hold(struct u4_qp *qp)
{
	if (!u4_qp_reliable(qp)) {
		qp->in_msg = false;
		qp->e_psn = u4_psn_add(qp->e_psn, 1);
		return;
	}
	qp->nak_sent = true;
	qp->gap_psn = qp->e_psn;
	if (qp->rq_fault.busy)
		qp->rq_fault.again = true;
	else
		u4_rsp_ask_again(qp);
}

/* May the peer do this to [raddr, raddr + len)? @remote is to be put when it may. */
static bool u4_rsp_region(struct u4_qp *qp, u32 rkey, u32 access, u64 raddr, u64 len,
			  struct u4_remote *remote)
{
	if (u4_mr_get_remote(qp, rkey, access, raddr, len, remote))
		return true;
	u4_xp_count(qp->dev, U4_CNT_RX_BAD_KEY, 1);
	return false;
}

/* The same for a request that uses the memory later, and asks again then. */
static bool u4_rsp_granted(struct u4_qp *qp, const struct u4_seg *seg, u32 access)
{
	struct u4_remote remote;

	if (!u4_rsp_region(qp, seg->rkey, access, seg->raddr, seg->msg_len, &remote))
		return false;
	u4_mr_put_remote(&remote);
	return true;
}

/*
 * One more place in the response queue. A requester keeps within the number agreed.
 * So when the queue is full and its oldest entry is a repetition, a late original
 * overtook that one and nobody waits for it any more; otherwise the requester asks for
 * more than was agreed (IBTA 9.7.5.1.3: invalid request).
 */
static struct u4_rsp *u4_rsp_push(struct u4_qp *qp, const struct u4_seg *seg)
{
	struct u4_rsp *rsp;

	if (qp->rsp_tail - qp->rsp_head >= qp->attr.max_dest_rd_atomic) {
		if (!qp->attr.max_dest_rd_atomic || !qp->rsp[qp->rsp_head & U4_RSP_MASK].again) {
			u4_rsp_refuse(qp, U4_NAK_INVALID);
			return NULL;
		}
		qp->rsp_head++;
	}
	rsp = &qp->rsp[qp->rsp_tail++ & U4_RSP_MASK];
	*rsp = (struct u4_rsp) {
		.raddr = seg->raddr,
		.psn = seg->psn,
		.rkey = seg->rkey,
		.len = seg->msg_len,
		.off = seg->msg_off,
		.op = seg->op,
		.again = u4_psn_cmp(seg->psn, qp->e_psn) < 0,
	};
	return rsp;
}

static bool u4_rsp_rx_read(struct u4_qp *qp, const struct u4_seg *seg)
{
	if (!(qp->attr.access & U4_ACCESS_REMOTE_READ)) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	if (seg->msg_len && !u4_rsp_granted(qp, seg, U4_ACCESS_REMOTE_READ)) {
		u4_rsp_refuse(qp, U4_NAK_ACCESS);
		return false;
	}
	return u4_rsp_push(qp, seg);
}

/* The 8 bytes of an atomic: held and entered; false after what is to be done otherwise. */
static bool u4_rsp_word(struct u4_qp *qp, const struct u4_seg *seg, u32 access,
			struct u4_remote *remote)
{
	int ret;

	if (!u4_rsp_region(qp, seg->rkey, access, seg->raddr, 8, remote)) {
		u4_rsp_refuse(qp, U4_NAK_ACCESS);
		return false;
	}
	if (u4_mr_enter(remote->mr, seg->rkey, seg->raddr, 8))
		return true;
	ret = u4_fault_start(qp, &qp->rq_fault, remote->mr, seg->raddr, 8);
	u4_mr_put_remote(remote);
	if (ret == -EINPROGRESS)
		u4_rsp_hold(qp);
	else
		u4_rsp_refuse(qp, U4_NAK_ACCESS);
	return false;
}

static void u4_rsp_word_done(struct u4_remote *remote)
{
	u4_mr_leave(remote->mr);
	u4_mr_put_remote(remote);
}

static bool u4_rsp_rx_atomic(struct u4_qp *qp, const struct u4_seg *seg)
{
	struct u4_remote remote;
	struct u4_rsp *rsp;
	__le64 operand[2];

	if (!(qp->attr.access & U4_ACCESS_REMOTE_ATOMIC) || seg->raddr & 7) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	if (!u4_rsp_word(qp, seg, U4_ACCESS_REMOTE_ATOMIC, &remote))
		return false;
	rsp = u4_rsp_push(qp, seg);
	if (rsp) {
		memcpy(operand, seg->payload, sizeof(operand));
		if (seg->op == U4_OP_CMP_SWAP)
			rsp->result = u4_mr_atomic(remote.mr, seg->raddr, true,
						   le64_to_cpu(operand[1]),
						   le64_to_cpu(operand[0]));
		else
			rsp->result = u4_mr_atomic(remote.mr, seg->raddr, false,
						   le64_to_cpu(operand[0]), 0);
		qp->done[qp->done_next++ & U4_RSP_MASK] = *rsp;
	}
	u4_rsp_word_done(&remote);
	return rsp;
}

static bool u4_rsp_rx_atomic_write(struct u4_qp *qp, const struct u4_seg *seg)
{
	struct u4_remote remote;

	if (!(qp->attr.access & U4_ACCESS_REMOTE_WRITE) || seg->raddr & 7) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	if (!u4_rsp_word(qp, seg, U4_ACCESS_REMOTE_WRITE, &remote))
		return false;
	u4_mr_store64(remote.mr, seg->raddr, seg->payload);
	u4_rsp_word_done(&remote);
	return true;
}

/*
 * Everything before it is in memory and seen by every CPU already: requests are
 * carried out in order, by a CPU. So only the right to ask is to be checked.
 */
static bool u4_rsp_rx_flush(struct u4_qp *qp, const struct u4_seg *seg)
{
	bool granted = false;
	struct u4_mr *mr;

	if (!(qp->attr.access & U4_ACCESS_FLUSH_GLOBAL)) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	/* No memory here is persistent, and no region gives that right. */
	if (!(seg->imm & (U4_FLUSH_PERSISTENT | U4_FLUSH_REGION))) {
		granted = u4_rsp_granted(qp, seg, U4_ACCESS_FLUSH_GLOBAL);
	} else if (!(seg->imm & U4_FLUSH_PERSISTENT)) {
		mr = u4_mr_get(qp->dev, seg->rkey);
		if (mr) {
			granted = mr->pd == qp->pd && mr->access & U4_ACCESS_FLUSH_GLOBAL;
			u4_mr_put(mr);
		}
	}
	if (!granted)
		u4_rsp_refuse(qp, U4_NAK_ACCESS);
	return granted;
}

/* A SEND needs a receive that holds it before its first byte is placed. */
static bool u4_rsp_rx_send(struct u4_qp *qp, const struct u4_seg *seg)
{
	int ret = u4_rsp_need_recv(qp);

	if (ret == -ENOENT)
		u4_rsp_not_ready(qp);
	if (ret)
		return false;
	if (seg->msg_len > qp->rwqe.len) {
		u4_rsp_recv_error(qp, U4_LOC_LEN_ERR);
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	return true;
}

static bool u4_rsp_rx_write(struct u4_qp *qp, const struct u4_seg *seg)
{
	int ret;

	/* In the order of IBTA 9.7.4: is it allowed at all, a receive, the key. */
	if (!(qp->attr.access & U4_ACCESS_REMOTE_WRITE)) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	if (seg->flags & U4_XP_IMM) {
		ret = u4_rsp_need_recv(qp);
		if (ret == -ENOENT)
			u4_rsp_not_ready(qp);
		if (ret)
			return false;
	}
	/* What is all in this frame is checked when it is placed, which is next. */
	if (seg->msg_len == seg->inline_len)
		return true;
	if (!u4_rsp_granted(qp, seg, U4_ACCESS_REMOTE_WRITE)) {
		u4_rsp_refuse(qp, U4_NAK_ACCESS);
		return false;
	}
	return true;
}

int u4_rsp_place(struct u4_qp *qp, const struct u4_seg *seg, u32 off, const void *data, u32 len)
{
	struct u4_remote remote;
	int ret = 0;

	if (!len)
		return 0;
	if (seg->op == U4_OP_WRITE) {
		if (!u4_rsp_region(qp, seg->rkey, U4_ACCESS_REMOTE_WRITE, seg->raddr + off, len,
				   &remote))
			return U4_NAK_ACCESS + 1;
		if (u4_mr_enter(remote.mr, seg->rkey, seg->raddr + off, len)) {
			u4_mr_copy(remote.mr, seg->raddr + off, (void *)data, len, true);
			u4_mr_leave(remote.mr);
		} else {
			ret = u4_fault_start(qp, &qp->rq_fault, remote.mr, seg->raddr + off,
					     seg->msg_len - off);
		}
		u4_mr_put_remote(&remote);
		if (ret)
			return ret == -EINPROGRESS ? U4_ABSENT : U4_NAK_ACCESS + 1;
		return 0;
	}
	ret = u4_sge_copy(qp, qp->rwqe.sge, qp->rwqe.num_sge, off, (void *)data, len, true,
			  &qp->rq_fault);
	if (ret)
		return ret == -EINPROGRESS ? U4_ABSENT : U4_NAK_OP + 1;
	return 0;
}

/* The segment continues the message that the one before it left open. */
static bool u4_rsp_in_sequence(const struct u4_qp *qp, const struct u4_seg *seg)
{
	if (!qp->in_msg)
		return !seg->msg_off;
	return seg->op == qp->msg_op && seg->msg_len == qp->msg_len && seg->msg_off == qp->msg_off;
}

/* A request seen before: acknowledge again, or answer again. */
static void u4_rsp_duplicate(struct u4_qp *qp, const struct u4_seg *seg)
{
	u32 i;

	u4_xp_count(qp->dev, U4_CNT_RX_DUPLICATES, 1);
	switch (seg->op) {
	case U4_OP_READ_REQ:
		/* What was due after it is asked for again as well. */
		for (i = qp->rsp_head; i != qp->rsp_tail; i++)
			if (u4_psn_cmp(qp->rsp[i & U4_RSP_MASK].psn, seg->psn) >= 0)
				break;
		qp->rsp_tail = i;
		u4_rsp_rx_read(qp, seg);
		break;
	case U4_OP_CMP_SWAP:
	case U4_OP_FETCH_ADD:
		for (i = qp->rsp_head; i != qp->rsp_tail; i++)
			if (u4_psn_cmp(qp->rsp[i & U4_RSP_MASK].psn, seg->psn) >= 0)
				break;
		qp->rsp_tail = i;
		for (i = 0; i < U4_MAX_RD_ATOMIC; i++) {
			struct u4_rsp *done = &qp->done[i];

			if (done->op == seg->op && done->psn == seg->psn) {
				struct u4_rsp *rsp = u4_rsp_push(qp, seg);

				if (rsp)
					rsp->result = done->result;
				break;
			}
		}
		break;
	}
	qp->ack_due = true;
	/* Refused just now; a NAK for what is expected keeps its number. */
	if (qp->nak_due == U4_OP_NAK && qp->nak_code != U4_NAK_SEQ)
		qp->nak_psn = seg->psn;
}

static void u4_rsp_gap(struct u4_qp *qp, const struct u4_seg *seg)
{
	/* Going on from an earlier PSN means that the peer went back: it may be told again. */
	bool again = u4_psn_cmp(seg->psn, qp->gap_psn) <= 0;

	u4_xp_count(qp->dev, U4_CNT_RX_OUT_OF_ORDER, 1);
	qp->gap_psn = seg->psn;
	if (qp->nak_sent && !again)
		return;
	qp->nak_sent = true;
	qp->nak_due = U4_OP_NAK;
	qp->nak_code = U4_NAK_SEQ;
	qp->nak_psn = qp->e_psn;
}

/* The requester hears nothing: tell it again what was told, or could not be told. */
static void u4_rsp_rx_probe(struct u4_qp *qp, s32 diff)
{
	if (!u4_qp_reliable(qp))
		return;
	if (diff < 0) {
		qp->ack_due = true;
	} else if (!qp->nak_due) {
		qp->nak_sent = true;
		qp->nak_due = U4_OP_NAK;
		qp->nak_code = U4_NAK_SEQ;
		qp->nak_psn = qp->e_psn;
	}
}

bool u4_rsp_rx(struct u4_qp *qp, const struct u4_seg *seg)
{
	s32 diff = u4_psn_cmp(seg->psn, qp->e_psn);
	int error;
	bool ok;

	if (!u4_qp_receives(qp) ||
	    (qp->nak_due == U4_OP_NAK && qp->nak_code != U4_NAK_SEQ))
		return false;
	if (seg->sqpn != qp->attr.dest_qpn ||
	    !!(seg->flags & U4_XP_UC) != (qp->type == U4_QPT_UC)) {
		u4_xp_count(qp->dev, U4_CNT_RX_NO_QP, 1);
		return false;
	}
	if (seg->op == U4_OP_PROBE) {
		u4_xp_count(qp->dev, U4_CNT_RX_PROBES, 1);
		u4_rsp_rx_probe(qp, diff);
		return false;
	}
	u4_xp_count(qp->dev, U4_CNT_RX_SEGMENTS, 1);

	if (qp->type == U4_QPT_UC) {
		/* A message with a hole is dropped; the next one starts afresh. */
		if (diff) {
			qp->in_msg = false;
			qp->e_psn = seg->psn;
		}
		if (!seg->msg_off)
			qp->in_msg = false;
		if (!qp->in_msg && seg->msg_off) {
			qp->e_psn = u4_psn_add(seg->psn, 1);
			return false;
		}
	} else if (diff < 0) {
		u4_rsp_duplicate(qp, seg);
		return false;
	} else if (diff > 0) {
		u4_rsp_gap(qp, seg);
		return false;
	}

	if (!u4_rsp_in_sequence(qp, seg)) {
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		return false;
	}
	if (u4_qp_state(qp) == U4_QPS_RTR && !qp->established) {
		qp->established = true;
		u4_qp_event(qp, U4_EV_COMM_EST);
	}

	switch (seg->op) {
	case U4_OP_SEND:
		ok = u4_rsp_rx_send(qp, seg);
		break;
	case U4_OP_WRITE:
		ok = u4_rsp_rx_write(qp, seg);
		break;
	case U4_OP_READ_REQ:
		ok = qp->type == U4_QPT_RC && u4_rsp_rx_read(qp, seg);
		break;
	case U4_OP_CMP_SWAP:
	case U4_OP_FETCH_ADD:
		ok = qp->type == U4_QPT_RC && u4_rsp_rx_atomic(qp, seg);
		break;
	case U4_OP_ATOMIC_WRITE:
		ok = qp->type == U4_QPT_RC && u4_rsp_rx_atomic_write(qp, seg);
		break;
	case U4_OP_FLUSH:
		ok = qp->type == U4_QPT_RC && u4_rsp_rx_flush(qp, seg);
		break;
	default:
		u4_rsp_refuse(qp, U4_NAK_INVALID);
		ok = false;
		break;
	}
	if (!ok)
		return false;
	if (seg->op != U4_OP_SEND && seg->op != U4_OP_WRITE)
		return true;
	error = u4_rsp_place(qp, seg, seg->msg_off, seg->payload, seg->inline_len);
	if (error) {
		u4_rsp_commit(qp, seg, true, error);
		return false;
	}
	return true;
}

/* The last segment of a SEND or of a WRITE with immediate data completes a receive. */
static void u4_rsp_complete(struct u4_qp *qp, const struct u4_seg *seg)
{
	struct u4_recv recv = {
		.wr_id = qp->rwqe.wr_id,
		.status = U4_OK,
		.len = seg->msg_len,
		.imm = seg->imm,
		.src_qpn = seg->sqpn,
		.flags = seg->flags,
		.write = seg->op == U4_OP_WRITE,
	};

	/* The receive may have been flushed since, by a reset to the same PSN. */
	if ((seg->op == U4_OP_WRITE && !(seg->flags & U4_XP_IMM)) || !qp->have_rwqe)
		return;
	qp->have_rwqe = false;
	qp->dev->ops->recv_done(qp, &recv);
}

void u4_rsp_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok, int error)
{
	if (!u4_qp_receives(qp) || seg->psn != qp->e_psn)
		return;
	if (!ok) {
		u4_xp_count(qp->dev, U4_CNT_RUNS_LOST, 1);
		if (u4_qp_reliable(qp)) {
			qp->nak_sent = false;
			u4_rsp_gap(qp, seg);
		} else {
			qp->in_msg = false;
			qp->e_psn = u4_psn_add(qp->e_psn, 1);
		}
		return;
	}
	if (error == U4_ABSENT) {
		u4_rsp_hold(qp);
		return;
	}
	if (!error && seg->flags & U4_XP_INV &&
	    u4_mr_invalidate(qp, seg->imm))
		error = U4_NAK_ACCESS + 1;
	if (error) {
		if (error == U4_NAK_OP + 1)
			u4_rsp_recv_error(qp, U4_LOC_PROT_ERR);
		u4_rsp_refuse(qp, error - 1);
		return;
	}

	u4_xp_count(qp->dev, U4_CNT_RX_BYTES, seg->seg_len);
	qp->e_psn = u4_psn_add(qp->e_psn, 1);
	qp->gap_psn = qp->e_psn;
	qp->nak_sent = false;
	if (qp->nak_due)
		qp->nak_due = 0;
	if (seg->flags & U4_XP_ACKREQ)
		qp->ack_due = true;
	if (seg->op != U4_OP_SEND && seg->op != U4_OP_WRITE) {
		if (seg->op == U4_OP_ATOMIC_WRITE || seg->op == U4_OP_FLUSH)
			qp->ack_due = true;
		return;
	}
	qp->msg_op = seg->op;
	qp->msg_len = seg->msg_len;
	qp->msg_off = seg->msg_off + seg->seg_len;
	qp->in_msg = !(seg->flags & U4_XP_LAST);
	if (!qp->in_msg)
		u4_rsp_complete(qp, seg);
}

void u4_rsp_flush(struct u4_qp *qp)
{
	/* More of a process is seen to in the next round, see u4_qp_flush_work(). */
	u32 budget = qp->kernel ? 1u << 16 : 1u << 12;
	int ret;

	qp->rsp_head = qp->rsp_tail;
	qp->in_msg = false;
	u4_rsp_recv_error(qp, U4_WR_FLUSH_ERR);
	/* A process may go on posting while we flush: it does not keep us here. */
	while (budget--) {
		ret = qp->dev->ops->recv_next(qp, &qp->rwqe);
		if (ret == -ENOENT)
			break;
		qp->have_rwqe = true;
		u4_rsp_recv_error(qp, U4_WR_FLUSH_ERR);
	}
}

void u4_rsp_reset(struct u4_qp *qp)
{
	qp->e_psn = qp->attr.rq_psn;
	qp->gap_psn = qp->e_psn;
	qp->ack_due = false;
	qp->nak_sent = false;
	qp->nak_due = 0;
	qp->in_msg = false;
	qp->have_rwqe = false;
	qp->established = false;
	qp->bad_keys = 0;
	qp->rsp_head = 0;
	qp->rsp_tail = 0;
	qp->rq_fault.again = false;
	qp->rq_fault.failed = false;
	qp->done_next = 0;
	memset(qp->done, 0, sizeof(qp->done));
}

static void u4_rsp_room(struct u4_waiter *waiter)
{
	struct u4_qp *qp = container_of(waiter, struct u4_qp, rq_waiter);

	spin_lock(&qp->rq_lock);
	u4_rsp_run(qp);
	spin_unlock(&qp->rq_lock);
}

void u4_rsp_init(struct u4_qp *qp)
{
	spin_lock_init(&qp->rq_lock);
	INIT_LIST_HEAD(&qp->rq_waiter.node);
	qp->rq_waiter.fn = u4_rsp_room;
}
