// SPDX-License-Identifier: GPL-2.0-only
/*
 * The requester: turns send work requests into segments, and acknowledgements
 * and responses into completions.
 *
 * Four marks walk the send queue in order: sq_told (oldest request whose end the
 * consumer does not know), sq_una (oldest not over), sq_cur (next to send), sq_prod
 * (next to post). Every segment takes one PSN.
 * Going back means: sq_cur returns to the oldest segment that is not
 * acknowledged; since messages are always cut at the same places, PSNs stay the
 * same. All of this runs under sq_lock.
 *
 * The retry timer runs while work is outstanding, without being moved for each
 * acknowledgement: it looks at the time of the last progress when it fires. Long
 * before the timeout it asks the responder what arrived, because a loss at the end
 * of a stream shows in nothing that follows.
 *
 * A peer may acknowledge, or refuse, what our ring has yet to read from the
 * consumer's memory: its answer need not wait for the data. So the consumer is told
 * of an end, and has its memory again, only when the ring has read the last frame
 * that is sent from there. An honest peer's answer comes after that, as a rule.
 */
#include <linux/jiffies.h>
#include <linux/string.h>

#include "../compat.h"
#include "internal.h"

/* IBTA table of RNR NAK timer codes, in microseconds. */
static const u32 u4_rnr_usec[32] = {
	655360, 10, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920,
	2560, 3840, 5120, 7680, 10240, 15360, 20480, 30720, 40960, 61440, 81920, 122880,
	163840, 245760, 327680, 491520,
};

static bool u4_wr_local(const struct u4_swqe *wqe)
{
	return wqe->op == U4_WR_LOCAL_INV || wqe->op == U4_WR_REG_MR || wqe->op == U4_WR_BIND_MW;
}

/* Answered by a response and not by an acknowledgement. */
static bool u4_wr_answered(const struct u4_swqe *wqe)
{
	return wqe->op == U4_WR_READ || wqe->op == U4_WR_CMP_SWAP || wqe->op == U4_WR_FETCH_ADD;
}

static u32 u4_wr_answer_len(const struct u4_swqe *wqe)
{
	return wqe->op == U4_WR_READ ? wqe->len : 8;
}

static u8 u4_wr_wire_op(const struct u4_swqe *wqe)
{
	static const u8 op[] = {
		[U4_WR_SEND]		= U4_OP_SEND,
		[U4_WR_WRITE]		= U4_OP_WRITE,
		[U4_WR_READ]		= U4_OP_READ_REQ,
		[U4_WR_CMP_SWAP]	= U4_OP_CMP_SWAP,
		[U4_WR_FETCH_ADD]	= U4_OP_FETCH_ADD,
		[U4_WR_ATOMIC_WRITE]	= U4_OP_ATOMIC_WRITE,
		[U4_WR_FLUSH]		= U4_OP_FLUSH,
	};

	return wqe->op < ARRAY_SIZE(op) ? op[wqe->op] : 0;
}

static unsigned long u4_req_timeout(const struct u4_qp *qp)
{
	/* 4.096 us << timeout; at least two ticks, so that one is never cut to nothing. */
	u64 nsec = 4096ull << qp->attr.timeout;

	return max(nsecs_to_jiffies(nsec), 2ul);
}

static unsigned long u4_req_probe_first(const struct u4_qp *qp)
{
	unsigned long part = qp->attr.timeout ? u4_req_timeout(qp) / U4_PROBE_PART : 0;

	return max(part, U4_PROBE_MIN);
}

static void u4_req_arm(struct u4_qp *qp)
{
	if (u4_qp_reliable(qp) && !timer_pending(&qp->retry_timer)) {
		qp->progress = jiffies;
		qp->probe_after = u4_req_probe_first(qp);
		mod_timer(&qp->retry_timer, jiffies + qp->probe_after);
	}
}

/* Frames of @wqe that read memory in place are still in the ring. */
static bool u4_req_in_ring(const struct u4_qp *qp, const struct u4_swqe *wqe)
{
	return wqe->tx.mark && wqe->tx.rail == qp->tx_rail_nr && qp->tx_rail &&
	       !u4_rail_has_read(qp->tx_rail, wqe->tx.mark);
}

/* Tell the consumer what is over, as far as it may have its memory again. */
void u4_req_tell(struct u4_qp *qp)
{
	while (qp->sq_told != qp->sq_una) {
		struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_told);

		if (u4_req_in_ring(qp, wqe)) {
			/* Unless something else comes by here before that. */
			timer_reduce(&qp->retry_timer, jiffies + 1);
			return;
		}
		qp->dev->ops->send_done(qp, wqe, wqe->status, wqe->tx.done);
		qp->sq_told++;
	}
	if (u4_qp_state(qp) == U4_QPS_SQD && qp->sq_told == qp->sqd_limit && !qp->sqd_told) {
		qp->sqd_told = true;
		u4_qp_event(qp, U4_EV_SQ_DRAINED);
	}
}

/* What a rail that is gone had to read it has read, or given up. */
void u4_req_rail_gone(struct u4_qp *qp, const struct u4_rail *rail)
{
	if (qp->tx_rail != rail)
		return;
	qp->tx_rail = NULL;
	qp->tx_rail_nr++;
	if (!qp->dead)
		u4_req_tell(qp);
}

bool u4_req_ring_reads(const struct u4_qp *qp)
{
	return qp->tx_rail && !u4_rail_has_read(qp->tx_rail, qp->tx_mark);
}

/* One mark tells of one ring: until that has read all, another one is given copies. */
static bool u4_req_other_reads(const struct u4_qp *qp, const struct u4_rail *rail)
{
	return qp->tx_rail != rail && u4_req_ring_reads(qp);
}

static void u4_req_reads(struct u4_qp *qp, struct u4_swqe *wqe, struct u4_rail *rail, u64 mark)
{
	if (qp->tx_rail != rail) {
		qp->tx_rail = rail;
		qp->tx_rail_nr++;
	}
	qp->tx_mark = mark;
	wqe->tx.rail = qp->tx_rail_nr;
	wqe->tx.mark = mark;
}

/* The oldest request is over. */
static void u4_req_complete(struct u4_qp *qp, enum u4_status status, u32 len)
{
	struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_una);
	bool sent = qp->sq_una != qp->sq_cur;

	if (sent && u4_wr_answered(wqe) && qp->rd_out)
		qp->rd_out--;
	wqe->status = status;
	wqe->tx.done = len;
	qp->sq_una++;
	qp->una_off = 0;
	if (!sent) {
		qp->sq_cur = qp->sq_una;
		qp->cur_off = 0;
	}
	u4_req_tell(qp);
}

void u4_req_flush(struct u4_qp *qp)
{
	while (qp->sq_una != qp->sq_prod)
		u4_req_complete(qp, U4_WR_FLUSH_ERR, 0);
	qp->sq_cur = qp->sq_una;
	qp->cur_off = 0;
	qp->rd_out = 0;
	qp->rnr_wait = false;
}

/* The oldest request ends in error, and the queue pair with it. */
static void u4_req_fail(struct u4_qp *qp, enum u4_status status)
{
	if (qp->sq_una != qp->sq_prod)
		u4_req_complete(qp, status, 0);
	if (u4_qp_reliable(qp)) {
		u4_qp_fail(qp);
	} else {
		u8 was = u4_qp_state(qp);

		/*
		 * Without connection only the send queue ends (IBTA 10.3.1.7); unless the
		 * responder, under its own lock, ends the whole at this moment.
		 */
		if (was != U4_QPS_ERR)
			cmpxchg(&qp->state, was, U4_QPS_SQE);
	}
	u4_req_flush(qp);
}

void u4_req_abort(struct u4_qp *qp, enum u4_status status)
{
	/* Of any type: it must not be found receiving from the next peer. */
	u4_qp_fail(qp);
	if (qp->sq_una != qp->sq_prod)
		u4_req_complete(qp, status, 0);
	u4_req_flush(qp);
}

static void u4_req_go_back(struct u4_qp *qp)
{
	u4_xp_count(qp->dev, U4_CNT_RETRIES, 1);
	qp->sq_cur = qp->sq_una;
	qp->cur_off = qp->una_off;
	qp->next_psn = qp->una_psn;
	qp->rd_out = 0;
}

void u4_req_restart(struct u4_qp *qp)
{
	if (!u4_qp_sends(qp))
		return;
	if (qp->sq_una != qp->sq_cur || qp->una_off != qp->cur_off)
		u4_req_go_back(qp);
	u4_sq_run(qp);
}

/* ---- sending ---- */

/* What the next segment of @wqe at message offset @off looks like. */
static void u4_req_plan(const struct u4_swqe *wqe, u32 off, struct u4_plan *plan)
{
	struct u4_sge rest;

	memset(plan, 0, sizeof(*plan));
	switch (wqe->op) {
	case U4_WR_READ:
		return;
	case U4_WR_CMP_SWAP:
	case U4_WR_FETCH_ADD:
		plan->inline_len = plan->seg_len = 16;
		return;
	}
	if (wqe->flags & U4_WRF_INLINE)
		plan->inline_len = plan->seg_len = wqe->len;
	else if (off < wqe->len && u4_sge_find(wqe->sge, wqe->num_sge, off, &rest))
		u4_plan_next(plan, rest.addr, min(rest.len, wqe->len - off), wqe->len - off);
}

/* Nothing is behind sq_cur that would ask for its acknowledgement in time. */
static bool u4_req_awaits(const struct u4_qp *qp)
{
	return qp->sq_cur + 1 == qp->sq_prod ||
	       u4_sq_at(qp, qp->sq_cur + 1)->op == U4_WR_LOCAL_INV;
}

static void u4_req_header(const struct u4_qp *qp, const struct u4_swqe *wqe,
			  const struct u4_plan *plan, struct u4_seg *seg)
{
	u32 off = qp->cur_off;
	bool answered = u4_wr_answered(wqe);
	bool last = answered || off + plan->seg_len >= wqe->len;

	memset(seg, 0, sizeof(*seg));
	seg->op = u4_wr_wire_op(wqe);
	seg->nraw = plan->nraw;
	seg->first_raw = plan->first_raw;
	seg->inline_len = plan->inline_len;
	seg->seg_len = plan->seg_len;
	seg->dqpn = qp->attr.dest_qpn;
	seg->sqpn = qp->qpn;
	seg->psn = qp->next_psn;
	seg->raddr = wqe->raddr;
	seg->rkey = wqe->rkey;
	seg->msg_len = answered ? u4_wr_answer_len(wqe) : wqe->len;
	if (wqe->op == U4_WR_FLUSH) {
		seg->msg_len = wqe->flush_len;
		seg->imm = wqe->imm;
	}
	seg->msg_off = wqe->op == U4_WR_READ ? wqe->tx.done : off;
	if (!seg->msg_off)
		seg->flags |= U4_XP_FIRST;
	if (qp->type == U4_QPT_UC)
		seg->flags |= U4_XP_UC;
	if (!last) {
		if (qp->type != U4_QPT_UC && !(qp->next_psn & (U4_ACK_EVERY - 1)))
			seg->flags |= U4_XP_ACKREQ;
		return;
	}
	seg->flags |= U4_XP_LAST;
	if (wqe->flags & U4_WRF_SOLICITED && wqe->op < U4_WR_READ)
		seg->flags |= U4_XP_SOLICITED;
	if (wqe->flags & (U4_WRF_IMM | U4_WRF_INV)) {
		seg->flags |= wqe->flags & U4_WRF_IMM ? U4_XP_IMM : U4_XP_INV;
		seg->imm = wqe->imm;
	}
	/*
	 * Unsignaled requests with others behind them are acknowledged by those;
	 * yet often enough that the window never closes on silence.
	 */
	if (qp->type != U4_QPT_UC && !answered &&
	    (wqe->flags & U4_WRF_SIGNALED || u4_req_awaits(qp) ||
	     !(qp->next_psn & (U4_ACK_EVERY - 1))))
		seg->flags |= U4_XP_ACKREQ;
}

/* The inline part, and for atomics the operands. */
static int u4_req_payload(struct u4_qp *qp, struct u4_swqe *wqe, u8 *to, u32 len)
{
	__le64 operand[2];

	switch (wqe->op) {
	case U4_WR_CMP_SWAP:
		operand[0] = cpu_to_le64(wqe->atomic.compare_add);
		operand[1] = cpu_to_le64(wqe->atomic.swap);
		memcpy(to, operand, sizeof(operand));
		return 0;
	case U4_WR_FETCH_ADD:
		operand[0] = cpu_to_le64(wqe->atomic.compare_add);
		operand[1] = 0;
		memcpy(to, operand, sizeof(operand));
		return 0;
	}
	if (wqe->flags & U4_WRF_INLINE) {
		memcpy(to, wqe->data, len);
		return 0;
	}
	return u4_sge_copy(qp, wqe->sge, wqe->num_sge, qp->cur_off, to, len, false,
			   &qp->sq_fault);
}

/* Will another segment with data follow this one at once, as far as we can tell? */
static bool u4_req_more(struct u4_qp *qp, bool last)
{
	u32 out = (qp->next_psn - qp->una_psn) & U4_PSN_MASK;
	const struct u4_swqe *next;

	if (out + 1 >= U4_WINDOW)
		return false;
	if (!last)
		return true;
	if (qp->sq_cur + 1 == qp->sq_prod || u4_qp_state(qp) != U4_QPS_RTS)
		return false;
	next = u4_sq_at(qp, qp->sq_cur + 1);
	return next->op < U4_WR_READ && !next->status && !(next->flags & U4_WRF_FENCE);
}

/*
 * Send one segment of sq_cur. 0; -EAGAIN: the waiter will call; -EINPROGRESS: sq_fault
 * will; -ENOLINK: no rail; -EACCES: the local memory is not ours.
 */
static int u4_req_send(struct u4_qp *qp, struct u4_swqe *wqe, struct u4_rail *rail)
{
	struct u4_ref *ref = NULL;
	struct u4_mr *mr = NULL;
	struct u4_burst burst;
	struct u4_plan plan;
	struct u4_sge rest;
	struct u4_seg seg;
	bool last;
	u8 *data;
	int ret;

	u4_req_plan(wqe, qp->cur_off, &plan);
	ret = u4_burst_get(rail, plan.nraw, &burst, &qp->sq_waiter);
	if (ret)
		return ret;
	u4_req_header(qp, wqe, &plan, &seg);
	u4_seg_format(burst.payload, &seg);
	data = burst.payload + sizeof(struct u4_xp_hdr);
	ret = u4_req_payload(qp, wqe, data, plan.inline_len);
	if (ret)
		goto err_burst;

	if (plan.nraw) {
		ret = -EACCES;
		u4_sge_find(wqe->sge, wqe->num_sge, qp->cur_off + plan.inline_len, &rest);
		if (rest.lkey) {
			mr = u4_mr_get_local(qp, rest.lkey, 0, rest.addr,
					     plan.seg_len - plan.inline_len);
			if (!mr)
				goto err_burst;
			if (!u4_mr_enter(mr, rest.lkey, rest.addr,
					 plan.seg_len - plan.inline_len)) {
				ret = u4_fault_start(qp, &qp->sq_fault, mr, rest.addr, rest.len);
				u4_mr_put(mr);
				goto err_burst;
			}
		} else if (!qp->kernel) {
			goto err_burst;
		}
		/* Without acknowledgements the memory is the consumer's again at once. */
		ref = u4_emit_region(&burst, &seg, mr, rest.addr,
				     !u4_qp_reliable(qp) || u4_req_other_reads(qp, rail));
		if (mr)
			u4_mr_leave(mr);
	}

	last = seg.flags & U4_XP_LAST;
	u4_rail_send(&burst, U4_KIND_XP, sizeof(struct u4_xp_hdr) + plan.inline_len, ref,
		     u4_req_more(qp, last));
	if (ref && burst.mark)
		u4_req_reads(qp, wqe, rail, burst.mark);
	if (mr)
		u4_mr_put(mr);
	u4_xp_count(qp->dev, U4_CNT_TX_SEGMENTS, 1);
	u4_xp_count(qp->dev, U4_CNT_TX_BYTES, plan.seg_len);

	if (!qp->cur_off || u4_wr_answered(wqe))
		wqe->tx.first_psn = qp->next_psn;
	wqe->tx.sent = 1;
	qp->next_psn = u4_psn_add(qp->next_psn, 1);
	if (u4_psn_cmp(qp->next_psn, qp->max_psn) > 0)
		qp->max_psn = qp->next_psn;
	qp->cur_off += plan.seg_len;
	if (last) {
		if (u4_wr_answered(wqe))
			qp->rd_out++;
		qp->sq_cur++;
		qp->cur_off = 0;
	}
	return 0;

err_burst:
	u4_rail_put(&burst);
	return ret;
}

/* One datagram: never split, never kept. */
static int u4_req_send_ud(struct u4_qp *qp, struct u4_swqe *wqe, struct u4_rail *rail)
{
	u32 total = U4_NET_HDR_LEN + wqe->len;
	u32 head = min_t(u32, total, U4_XP_INLINE_MAX);
	struct u4_burst burst;
	struct u4_seg seg = {
		.op = U4_OP_UD,
		.flags = U4_XP_FIRST | U4_XP_LAST,
		.nraw = total > head,
		.first_raw = total - head,
		.inline_len = head,
		.dqpn = wqe->ud.qpn,
		.sqpn = qp->qpn,
		.psn = qp->next_psn,
		.msg_len = total,
		.seg_len = total,
		.rkey = wqe->rkey,
	};
	int ret;
	u8 *data;

	if (!rail)
		return 0;		/* lost, as datagrams may be */
	ret = u4_burst_get(rail, seg.nraw, &burst, &qp->sq_waiter);
	if (ret)
		return ret == -EAGAIN ? ret : 0;

	if (wqe->flags & U4_WRF_SOLICITED)
		seg.flags |= U4_XP_SOLICITED;
	if (wqe->flags & U4_WRF_IMM) {
		seg.flags |= U4_XP_IMM;
		seg.imm = wqe->imm;
	}
	if (wqe->ud.av.ipv4)
		seg.flags |= U4_XP_NET_V4;
	u4_seg_format(burst.payload, &seg);
	data = burst.payload + sizeof(struct u4_xp_hdr);
	memcpy(data, wqe->ud.av.net_hdr, U4_NET_HDR_LEN);
	data += U4_NET_HDR_LEN;
	if (wqe->flags & U4_WRF_INLINE)
		memcpy(data, wqe->data, wqe->len);
	else
		ret = u4_sge_copy(qp, wqe->sge, wqe->num_sge, 0, data, head - U4_NET_HDR_LEN, false,
				  &qp->sq_fault);
	if (!ret && seg.nraw) {
		ret = u4_sge_copy(qp, wqe->sge, wqe->num_sge, head - U4_NET_HDR_LEN,
				  u4_burst_buf(&burst, 0), total - head, false,
				  &qp->sq_fault);
		u4_burst_set_len(&burst, 0, total - head);
	}
	if (ret) {
		u4_rail_put(&burst);
		return ret;
	}
	qp->next_psn = u4_psn_add(qp->next_psn, 1);
	u4_rail_send(&burst, U4_KIND_XP, sizeof(struct u4_xp_hdr) + head, NULL, false);
	u4_xp_count(qp->dev, U4_CNT_TX_SEGMENTS, 1);
	u4_xp_count(qp->dev, U4_CNT_TX_BYTES, wqe->len);
	return 0;
}

/* To a group: first to its other members on this device, then to the peer. */
static int u4_req_send_datagram(struct u4_qp *qp, struct u4_swqe *wqe)
{
	u8 gid[U4_GID_LEN];
	int ret;

	if (wqe->ud.av.multicast && wqe->ud.qpn == U4_QPN_MULTICAST && !wqe->tx.done) {
		u4_net_dgid(wqe->ud.av.net_hdr, wqe->ud.av.ipv4, gid);
		if (u4_mc_others(qp, gid)) {
			ret = u4_req_send_ud(qp, wqe, u4_qp_rail(qp, true));
			if (ret)
				return ret;
			u4_xp_count(qp->dev, U4_CNT_TX_MULTICAST, 1);
			wqe->tx.done = 1;	/* not again when the cable has no room now */
		}
	}
	ret = u4_req_send_ud(qp, wqe, u4_qp_rail(qp, wqe->ud.av.loopback));
	if (!ret && wqe->ud.qpn == U4_QPN_MULTICAST)
		u4_xp_count(qp->dev, U4_CNT_TX_MULTICAST, 1);
	return ret;
}

static bool u4_req_may_send(const struct u4_qp *qp)
{
	u8 state = u4_qp_state(qp);

	if (state == U4_QPS_RTS)
		return qp->sq_cur != qp->sq_prod;
	return state == U4_QPS_SQD && (s32)(qp->sqd_limit - qp->sq_cur) > 0;
}

static void u4_req_run_ud(struct u4_qp *qp)
{
	while (u4_req_may_send(qp)) {
		struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_cur);
		int ret;

		if (wqe->status) {
			u4_req_fail(qp, wqe->status);
			return;
		}
		ret = u4_req_send_datagram(qp, wqe);
		if (ret == -EAGAIN || ret == -EINPROGRESS)
			return;
		if (ret) {
			u4_req_fail(qp, U4_LOC_PROT_ERR);
			return;
		}
		qp->sq_cur++;
		u4_req_complete(qp, U4_OK, wqe->len);
	}
}

/* Local requests take no PSN; they are done when they are reached. */
static int u4_req_local(struct u4_qp *qp, struct u4_swqe *wqe)
{
	switch (wqe->op) {
	case U4_WR_LOCAL_INV:
		return u4_mr_invalidate(qp, wqe->rkey);
	case U4_WR_REG_MR:
		return u4_mr_fast_register(wqe);
	case U4_WR_BIND_MW:
		return u4_mr_bind(qp, wqe);
	}
	return -EOPNOTSUPP;
}

/* Requests at the head that need nothing from the peer any more. */
static void u4_req_retire(struct u4_qp *qp)
{
	while (qp->sq_una != qp->sq_prod) {
		struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_una);

		if (!u4_wr_local(wqe) || !wqe->tx.sent)
			return;
		u4_req_complete(qp, U4_OK, 0);
	}
}

static void u4_req_run_connected(struct u4_qp *qp)
{
	struct u4_rail *rail = u4_qp_rail(qp, qp->attr.loopback);

	while (u4_req_may_send(qp) && !qp->rnr_wait) {
		struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_cur);
		int ret;

		if (wqe->status)
			break;
		if (((qp->next_psn - qp->una_psn) & U4_PSN_MASK) >= U4_WINDOW)
			break;
		if (wqe->flags & U4_WRF_FENCE && qp->rd_out)
			break;
		if (u4_wr_local(wqe)) {
			/* What is not acknowledged may have to be read again with this key. */
			if (wqe->op == U4_WR_LOCAL_INV && qp->sq_una != qp->sq_cur)
				break;
			/* Going back passes it a second time, and then it is done already. */
			if (!wqe->tx.sent && u4_req_local(qp, wqe)) {
				wqe->status = wqe->op == U4_WR_BIND_MW ? U4_MW_BIND_ERR :
									 U4_LOC_QP_OP_ERR;
				break;
			}
			wqe->tx.sent = 1;
			qp->sq_cur++;
			u4_req_retire(qp);
			continue;
		}
		if (u4_wr_answered(wqe) && qp->rd_out >= qp->attr.max_rd_atomic) {
			if (!qp->attr.max_rd_atomic)
				wqe->status = U4_LOC_QP_OP_ERR;
			break;
		}
		ret = rail ? u4_req_send(qp, wqe, rail) : -ENOLINK;
		if (ret == -EACCES) {
			wqe->status = U4_LOC_PROT_ERR;
			break;
		}
		if (ret)
			break;
		/* Nobody acknowledges an unreliable message: it is over when it is sent. */
		if (qp->type == U4_QPT_UC) {
			qp->una_psn = qp->next_psn;
			if (!qp->cur_off)
				u4_req_complete(qp, U4_OK, wqe->len);
		}
	}

	/* A faulty request ends when all before it has; part of it may have been sent. */
	if (qp->sq_una == qp->sq_cur && qp->una_off == qp->cur_off && qp->sq_cur != qp->sq_prod &&
	    u4_sq_at(qp, qp->sq_cur)->status) {
		u4_req_fail(qp, u4_sq_at(qp, qp->sq_cur)->status);
		return;
	}
	if (qp->sq_una != qp->sq_prod && u4_qp_state(qp) == U4_QPS_RTS)
		u4_req_arm(qp);
}

void u4_sq_run(struct u4_qp *qp)
{
	if (qp->dead)
		return;
	switch (u4_qp_state(qp)) {
	case U4_QPS_ERR:
	case U4_QPS_SQE:
		u4_req_flush(qp);
		return;
	case U4_QPS_RTS:
	case U4_QPS_SQD:
		break;
	default:
		return;
	}
	rcu_read_lock();
	if (u4_qp_datagram(qp))
		u4_req_run_ud(qp);
	else
		u4_req_run_connected(qp);
	rcu_read_unlock();
	u4_req_tell(qp);
}

struct u4_swqe *u4_sq_next(struct u4_qp *qp)
{
	struct u4_swqe *wqe;

	if (qp->sq_prod - qp->sq_told > qp->sq_mask)
		return NULL;
	wqe = u4_sq_at(qp, qp->sq_prod);
	memset(wqe, 0, offsetof(struct u4_swqe, sge));
	return wqe;
}

void u4_sq_push(struct u4_qp *qp)
{
	qp->sq_prod++;
}

/* ---- receiving ---- */

static void u4_req_progress(struct u4_qp *qp)
{
	qp->progress = jiffies;
	qp->probe_after = u4_req_probe_first(qp);
	qp->retries = 0;
	qp->naks = 0;
	qp->rnr_retries = 0;
}

/* Everything up to @psn arrived at the peer. */
static void u4_req_ack(struct u4_qp *qp, u32 psn)
{
	bool moved = false;

	for (;;) {
		struct u4_swqe *wqe;
		struct u4_plan plan;

		u4_req_retire(qp);
		if (qp->sq_una == qp->sq_prod || u4_psn_cmp(qp->una_psn, psn) > 0)
			break;
		wqe = u4_sq_at(qp, qp->sq_una);
		if (!wqe->tx.sent)
			break;
		if (u4_wr_answered(wqe)) {
			/*
			 * The peer answers in order: something later was confirmed, so
			 * the rest of this response is lost. Ask once for it.
			 */
			if (!wqe->tx.resent) {
				wqe->tx.resent = 1;
				u4_req_go_back(qp);
			}
			break;
		}
		u4_req_plan(wqe, qp->una_off, &plan);
		qp->una_off += plan.seg_len;
		qp->una_psn = u4_psn_add(qp->una_psn, 1);
		moved = true;
		if (qp->una_off >= wqe->len)
			u4_req_complete(qp, U4_OK, wqe->len);
		/* After going back, an old acknowledgement may overtake what is sent anew. */
		if (u4_psn_cmp(qp->next_psn, qp->una_psn) < 0) {
			qp->next_psn = qp->una_psn;
			qp->sq_cur = qp->sq_una;
			qp->cur_off = qp->una_off;
		}
	}
	if (moved)
		u4_req_progress(qp);
}

/* Send again, unless that was done @limit times without progress. */
static void u4_req_retry(struct u4_qp *qp, u8 *count, unsigned int limit)
{
	if ((*count)++ >= limit) {
		u4_xp_count(qp->dev, U4_CNT_RETRY_EXCEEDED, 1);
		u4_req_fail(qp, U4_RETRY_EXC_ERR);
		return;
	}
	u4_req_go_back(qp);
}

static void u4_req_nak(struct u4_qp *qp, const struct u4_seg *seg)
{
	static const u8 status[] = {
		[U4_NAK_INVALID]	= U4_REM_INV_REQ_ERR,
		[U4_NAK_ACCESS]		= U4_REM_ACCESS_ERR,
		[U4_NAK_OP]		= U4_REM_OP_ERR,
	};

	if (qp->sq_una == qp->sq_prod || seg->psn != qp->una_psn)
		return;
	if (seg->imm != U4_NAK_SEQ) {
		u4_req_fail(qp, status[seg->imm]);
		return;
	}
	u4_xp_count(qp->dev, U4_CNT_RX_NAK_SEQ, 1);
	if (qp->rnr_wait)
		return;
	/* The peer is alive and says what it lacks: no reason to give up early. */
	qp->progress = jiffies;
	u4_req_retry(qp, &qp->naks, qp->attr.retry_cnt * U4_NAKS_PER_RETRY);
}

static void u4_req_rnr(struct u4_qp *qp, const struct u4_seg *seg)
{
	if (qp->sq_una == qp->sq_prod || seg->psn != qp->una_psn || qp->rnr_wait)
		return;
	u4_xp_count(qp->dev, U4_CNT_RX_RNR, 1);
	if (qp->attr.rnr_retry != 7 && qp->rnr_retries++ >= qp->attr.rnr_retry) {
		u4_req_fail(qp, U4_RNR_RETRY_EXC_ERR);
		return;
	}
	u4_req_go_back(qp);
	qp->progress = jiffies;
	qp->rnr_wait = true;
	hrtimer_start(&qp->rnr_timer, ns_to_ktime((u64)u4_rnr_usec[seg->imm] * NSEC_PER_USEC),
		      HRTIMER_MODE_REL_SOFT);
}

/* The request that @seg answers, when it is its turn and this is the part awaited. */
static struct u4_swqe *u4_req_awaited(struct u4_qp *qp, const struct u4_seg *seg)
{
	struct u4_swqe *wqe;

	if (qp->sq_una == qp->sq_prod || seg->psn != qp->una_psn)
		return NULL;
	wqe = u4_sq_at(qp, qp->sq_una);
	if (!u4_wr_answered(wqe) || !wqe->tx.sent || seg->msg_len != u4_wr_answer_len(wqe) ||
	    (seg->op == U4_OP_READ_RESP) != (wqe->op == U4_WR_READ))
		return NULL;
	if (seg->msg_off > wqe->tx.done && !wqe->tx.resent) {
		/* A part of the response is lost. */
		wqe->tx.resent = 1;
		u4_req_go_back(qp);
		return NULL;
	}
	return seg->msg_off == wqe->tx.done ? wqe : NULL;
}

/* True when the bytes went to the request's memory, or when the request ended. */
bool u4_req_place(struct u4_qp *qp, const struct u4_seg *seg, u32 off, const void *data, u32 len)
{
	struct u4_swqe *wqe = u4_req_awaited(qp, seg);
	int ret;

	if (!wqe)
		return false;
	ret = u4_sge_copy(qp, wqe->sge, wqe->num_sge, off, (void *)data, len, true,
			  &qp->sq_fault);
	if (ret == -EINPROGRESS) {
		/* Asked for again when the page is there; until then the rest is not wanted. */
		wqe->tx.resent = 1;
		qp->sq_fault.again = true;
		return false;
	}
	if (ret) {
		u4_req_fail(qp, U4_LOC_PROT_ERR);
		return false;
	}
	return true;
}

void u4_req_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok)
{
	struct u4_swqe *wqe = u4_req_awaited(qp, seg);

	if (!wqe)
		return;
	if (!ok) {
		u4_xp_count(qp->dev, U4_CNT_RUNS_LOST, 1);
		if (!wqe->tx.resent) {
			wqe->tx.resent = 1;
			u4_req_go_back(qp);
		}
		u4_sq_run(qp);
		return;
	}
	wqe->tx.done += seg->seg_len;
	wqe->tx.resent = 0;
	u4_xp_count(qp->dev, U4_CNT_RX_SEGMENTS, 1);
	u4_xp_count(qp->dev, U4_CNT_RX_BYTES, seg->seg_len);
	u4_req_progress(qp);
	if (wqe->tx.done >= seg->msg_len) {
		qp->una_psn = u4_psn_add(qp->una_psn, 1);
		if (u4_psn_cmp(qp->next_psn, qp->una_psn) < 0)
			qp->next_psn = qp->una_psn;
		u4_req_complete(qp, U4_OK, wqe->tx.done);
		u4_req_retire(qp);
	}
	u4_sq_run(qp);
}

static bool u4_req_in_window(const struct u4_qp *qp, u32 psn)
{
	return u4_psn_cmp(psn, u4_psn_add(qp->una_psn, U4_PSN_MASK)) >= 0 &&
	       u4_psn_cmp(psn, qp->max_psn) <= 0;
}

/*
 * An acknowledgement or response. With @defer its raw frames are still to come:
 * the inline part is placed now, and u4_req_commit() follows. False: they are not
 * wanted, not even if the response should be awaited by the time they come.
 */
bool u4_req_rx(struct u4_qp *qp, const struct u4_seg *seg, bool defer)
{
	if (!u4_qp_sends(qp))
		return false;
	if (!u4_req_in_window(qp, seg->psn))
		return false;
	switch (seg->op) {
	case U4_OP_ACK:
		u4_xp_count(qp->dev, U4_CNT_RX_ACKS, 1);
		if (u4_psn_cmp(seg->psn, qp->max_psn) >= 0)
			return false;
		u4_req_ack(qp, seg->psn);
		break;
	case U4_OP_NAK:
	case U4_OP_RNR_NAK:
		u4_req_ack(qp, u4_psn_add(seg->psn, U4_PSN_MASK));
		if (seg->op == U4_OP_NAK)
			u4_req_nak(qp, seg);
		else
			u4_req_rnr(qp, seg);
		break;
	case U4_OP_READ_RESP:
		u4_req_ack(qp, u4_psn_add(seg->psn, U4_PSN_MASK));
		if (seg->inline_len || !seg->msg_len)
			if (!u4_req_place(qp, seg, seg->msg_off, seg->payload, seg->inline_len))
				break;
		if (!defer)
			u4_req_commit(qp, seg, true);
		return true;
	case U4_OP_ATOMIC_RESP: {
		__le64 wire;
		u64 value;

		u4_req_ack(qp, u4_psn_add(seg->psn, U4_PSN_MASK));
		memcpy(&wire, seg->payload, sizeof(wire));
		value = le64_to_cpu(wire);
		if (!u4_req_place(qp, seg, 0, &value, sizeof(value)))
			break;
		u4_req_commit(qp, seg, true);
		return true;
	}
	}
	u4_sq_run(qp);
	return false;
}

/* ---- timers and life ---- */

/* Under sq_lock and RCU. What does not go out now is asked again at the next tick. */
static void u4_req_probe(struct u4_qp *qp, struct u4_rail *rail)
{
	struct u4_burst burst;
	struct u4_seg seg = {
		.op = U4_OP_PROBE,
		.dqpn = qp->attr.dest_qpn,
		.sqpn = qp->qpn,
		.psn = u4_psn_add(qp->max_psn, U4_PSN_MASK),
	};

	if (u4_rail_get(rail, 0, &burst))
		return;
	u4_seg_format(burst.payload, &seg);
	u4_rail_send(&burst, U4_KIND_XP, sizeof(struct u4_xp_hdr), NULL, false);
	u4_xp_count(qp->dev, U4_CNT_PROBES, 1);
}

/* Nothing was heard for a while: ask, and after the whole timeout send again. */
static void u4_req_silence(struct u4_qp *qp)
{
	struct u4_rail *rail = u4_qp_rail(qp, qp->attr.loopback);
	bool outstanding = qp->sq_una != qp->sq_cur || qp->una_off != qp->cur_off;
	unsigned long silent = jiffies - qp->progress;
	bool timeout = qp->attr.timeout && silent >= u4_req_timeout(qp);
	struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_una);

	if (!timeout) {
		if (silent >= qp->probe_after) {
			qp->probe_after *= 2;
			wqe->tx.resent = 0;
			if (rail && outstanding)
				u4_req_probe(qp, rail);
		}
		return;
	}
	qp->progress = jiffies;
	qp->probe_after = u4_req_probe_first(qp);
	/* A QP that only waits for its turn on a living rail is not unanswered. */
	if (rail && !outstanding)
		return;
	u4_xp_count(qp->dev, U4_CNT_TIMEOUTS, 1);
	wqe->tx.resent = 0;
	u4_req_retry(qp, &qp->retries, qp->attr.retry_cnt);
}

static void u4_req_retry_timer(struct timer_list *timer)
{
	struct u4_qp *qp = container_of(timer, struct u4_qp, retry_timer);
	unsigned long next;

	spin_lock(&qp->sq_lock);
	if (!qp->dead && qp->sq_told != qp->sq_una) {
		u4_xp_count(qp->dev, U4_CNT_TX_HELD, 1);
		u4_req_tell(qp);
		/* Nobody was silent while nothing was asked. */
		if (qp->sq_una == qp->sq_prod) {
			qp->progress = jiffies;
			qp->probe_after = u4_req_probe_first(qp);
		}
	}
	if (qp->dead || qp->sq_una == qp->sq_prod || !u4_qp_sends(qp))
		goto unlock;
	rcu_read_lock();
	if (!qp->rnr_wait)
		u4_req_silence(qp);
	rcu_read_unlock();
	if (qp->dead || qp->sq_una == qp->sq_prod)
		goto unlock;

	next = qp->probe_after;
	if (qp->attr.timeout)
		next = min(next, u4_req_timeout(qp));
	next += qp->progress;
	if (time_before(next, jiffies + U4_PROBE_MIN))
		next = jiffies + U4_PROBE_MIN;
	if (qp->sq_told != qp->sq_una)
		next = jiffies + 1;
	/* Before anything is sent, which would start the clock anew if it did not run. */
	mod_timer(&qp->retry_timer, next);
	u4_sq_run(qp);
unlock:
	spin_unlock(&qp->sq_lock);
}

static enum hrtimer_restart u4_req_rnr_timer(struct hrtimer *timer)
{
	struct u4_qp *qp = container_of(timer, struct u4_qp, rnr_timer);

	spin_lock(&qp->sq_lock);
	qp->rnr_wait = false;
	u4_sq_run(qp);
	spin_unlock(&qp->sq_lock);
	return HRTIMER_NORESTART;
}

static void u4_req_room(struct u4_waiter *waiter)
{
	struct u4_qp *qp = container_of(waiter, struct u4_qp, sq_waiter);

	spin_lock(&qp->sq_lock);
	u4_sq_run(qp);
	spin_unlock(&qp->sq_lock);
}

void u4_req_init(struct u4_qp *qp)
{
	spin_lock_init(&qp->sq_lock);
	timer_setup(&qp->retry_timer, u4_req_retry_timer, 0);
	hrtimer_setup(&qp->rnr_timer, u4_req_rnr_timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);
	INIT_LIST_HEAD(&qp->sq_waiter.node);
	qp->sq_waiter.fn = u4_req_room;
}

void u4_req_stop(struct u4_qp *qp)
{
	timer_shutdown_sync(&qp->retry_timer);
	hrtimer_cancel(&qp->rnr_timer);
	u4_rail_unwait(&qp->sq_waiter);
}

/* Forget all work; start at @psn. */
void u4_req_reset(struct u4_qp *qp, u32 psn)
{
	qp->sq_told = qp->sq_prod;
	qp->sq_una = qp->sq_prod;
	qp->sq_cur = qp->sq_prod;
	qp->una_off = 0;
	qp->cur_off = 0;
	qp->una_psn = psn;
	qp->next_psn = psn;
	qp->max_psn = psn;
	qp->rd_out = 0;
	qp->retries = 0;
	qp->naks = 0;
	qp->rnr_retries = 0;
	qp->rnr_wait = false;
	qp->sq_fault.again = false;
	qp->sq_fault.failed = false;
}
