// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single queue pairs at the edges of their states.
 *
 *   transport_edges NAME		one of edge_NAME()
 */
#include "transport_world.h"

static u32 edge_events[U4_EV_LAST_WQE + 1];
static u32 edge_status[16];

/* A queue pair's one receive: where it is, and what became of it. */
struct edge_recv {
	u32 len;
	u32 posted, done;
	struct u4_recv last;
};

static void edge_send_done(struct u4_qp *qp, const struct u4_swqe *wqe, enum u4_status status,
			   u32 len)
{
	(void)qp, (void)wqe, (void)len;
	edge_status[status]++;
}

static u32 edge_place(const struct u4_qp *qp)
{
	return (qp->qpn % 100) * 65536;
}

static int edge_recv_next(struct u4_qp *qp, struct u4_rwqe *rwqe)
{
	struct edge_recv *recv = qp->owner;

	if (!recv || !recv->posted)
		return -ENOENT;
	recv->posted--;
	rwqe->wr_id = 1;
	rwqe->len = recv->len;
	rwqe->num_sge = 1;
	rwqe->sge[0].addr = 0x100000000ull + edge_place(qp);
	rwqe->sge[0].len = recv->len;
	rwqe->sge[0].lkey = container_of(qp->dev, struct host, dev)->mr.key;
	return 0;
}

static void edge_recv_done(struct u4_qp *qp, const struct u4_recv *done)
{
	struct edge_recv *recv = qp->owner;

	recv->done++;
	recv->last = *done;
}

static void edge_event(struct u4_qp *qp, enum u4_event event)
{
	(void)qp;
	edge_events[event]++;
}

static const struct u4_xp_ops edge_ops = {
	.send_done = edge_send_done,
	.recv_next = edge_recv_next,
	.recv_done = edge_recv_done,
	.event = edge_event,
};

static struct u4_qp *edge_qp_of(u32 side, enum u4_qp_type type, struct edge_recv *recv)
{
	struct u4_qp_init init = {
		.type = type, .sq_depth = 8, .max_inline = 64, .max_sge = 1, .pd = &host[side],
		.owner = recv,
	};
	struct u4_qp_attr attr = {
		.dest_qpn = 77, .qkey = 1, .access = 15, .max_rd_atomic = 4, .max_dest_rd_atomic = 2,
	};
	struct u4_qp *qp = u4_qp_create(&host[side].dev, &init);

	CHECK(!IS_ERR(qp), "no queue pair");
	u4_qp_modify(qp, &attr, U4_QPS_INIT);
	u4_qp_modify(qp, &attr, U4_QPS_RTR);
	u4_qp_modify(qp, &attr, U4_QPS_RTS);
	memset(edge_events, 0, sizeof(edge_events));
	memset(edge_status, 0, sizeof(edge_status));
	return qp;
}

static struct u4_qp *edge_qp(enum u4_qp_type type)
{
	return edge_qp_of(0, type, NULL);
}

static void edge_work(void)
{
	while (run_work())
		;
}

static void edge_post(struct u4_qp *qp)
{
	struct u4_swqe *wqe;

	u4_sq_lock(qp);
	wqe = u4_sq_next(qp);
	wqe->op = U4_WR_SEND;
	wqe->flags = U4_WRF_INLINE;
	wqe->len = 8;
	u4_sq_push(qp);
	u4_sq_run(qp);
	u4_sq_unlock(qp);
	edge_work();
}

/* The cable takes nothing, so what is posted waits. */
static void edge_peer_gone(enum u4_qp_type type)
{
	struct u4_qp *qp = edge_qp(type);

	ring = 0;
	edge_post(qp);
	edge_post(qp);
	u4_sq_lock(qp);
	u4_req_abort(qp, U4_RETRY_EXC_ERR);
	u4_sq_unlock(qp);
	edge_work();
	CHECK(qp->state == U4_QPS_ERR, "type %u: state %u", type, qp->state);
	CHECK(edge_status[U4_RETRY_EXC_ERR] == 1 && edge_status[U4_WR_FLUSH_ERR] == 1,
	      "type %u: completions", type);
	CHECK(edge_events[U4_EV_LAST_WQE] == 1, "type %u: events", type);
	u4_qp_destroy(qp);
}

static void edge_device_gone(enum u4_qp_type type)
{
	struct u4_qp *qp = edge_qp(type);

	ring = 0;
	edge_post(qp);
	edge_post(qp);
	u4_xpdev_shutdown(qp->dev);
	edge_work();
	CHECK(qp->state == U4_QPS_ERR, "type %u: state %u", type, qp->state);
	CHECK(edge_status[U4_WR_FLUSH_ERR] == 2, "type %u: %u flushed, %u not answered", type,
	      edge_status[U4_WR_FLUSH_ERR], edge_status[U4_RETRY_EXC_ERR]);
	u4_qp_destroy(qp);
}

static void edge_drained(enum u4_qp_type type)
{
	bool notify;

	for (notify = false; ; notify = true) {
		struct u4_qp *qp = edge_qp(type);
		struct u4_qp_attr attr = qp->attr;

		attr.sqd_notify = notify;
		u4_qp_modify(qp, &attr, U4_QPS_SQD);
		edge_post(qp);
		edge_post(qp);
		CHECK(edge_events[U4_EV_SQ_DRAINED] == notify, "type %u: told %u times", type,
		      edge_events[U4_EV_SQ_DRAINED]);
		CHECK(!rails[0].head, "type %u: sent while drained", type);
		u4_qp_destroy(qp);
		if (notify)
			return;
	}
}

static void edge_killed(enum u4_qp_type type)
{
	struct edge_recv recv = { .len = 64, .posted = 2 };
	struct u4_qp *qp = edge_qp_of(0, type, &recv);

	ring = 0;
	edge_post(qp);
	u4_qp_kill(qp);
	u4_qp_kill(qp);
	edge_work();
	CHECK(qp->state == U4_QPS_ERR, "type %u: state %u", type, qp->state);
	CHECK(edge_events[U4_EV_QP_FATAL] == 1, "type %u: told %u times", type,
	      edge_events[U4_EV_QP_FATAL]);
	CHECK(edge_status[U4_WR_FLUSH_ERR] == 1 && recv.done == 2 &&
	      recv.last.status == U4_WR_FLUSH_ERR, "type %u: not flushed", type);
	u4_qp_destroy(qp);
}

static void each_type(void (*edge)(enum u4_qp_type type))
{
	edge(U4_QPT_RC);
	edge(U4_QPT_UC);
	edge(U4_QPT_UD);
}

/* A header as it comes from the cable or, with @loop, from the device itself. */
static void edge_arrives(u32 side, const struct u4_seg *seg, bool loop)
{
	struct u4_rail *rail = loop ? &loops[side] : &rails[side];
	u32 len = sizeof(struct u4_xp_hdr) + seg->inline_len;
	u8 *copy = malloc(len);

	u4_seg_format((struct u4_xp_hdr *)copy, seg);
	if (seg->inline_len)
		memcpy(copy + sizeof(struct u4_xp_hdr), seg->payload, seg->inline_len);
	u4_xp_rx_header(&host[side].peer, rail, &rail->run, copy, len, seg->nraw);
	free(copy);
}

/* What was begun is ended before the queue counts as drained, also when it is to be sent again. */
static void edge_drained_while_sent_again(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	struct u4_qp_attr attr = qp->attr;
	struct u4_seg ack = {
		.op = U4_OP_ACK, .dqpn = qp->qpn, .sqpn = 77,
	};

	edge_post(qp);
	edge_post(qp);
	ring = 0;
	u4_sq_lock(qp);
	qp->sq_cur = qp->sq_una;
	qp->next_psn = qp->una_psn;
	u4_sq_unlock(qp);
	attr.sqd_notify = true;
	u4_qp_modify(qp, &attr, U4_QPS_SQD);
	edge_post(qp);
	CHECK(!edge_events[U4_EV_SQ_DRAINED], "drained with requests to be sent again");
	ack.psn = (qp->una_psn + 1) & U4_PSN_MASK;
	edge_arrives(0, &ack, false);
	ring = 256;
	edge_work();
	CHECK(edge_status[U4_OK] == 2, "%u requests done", edge_status[U4_OK]);
	CHECK(edge_events[U4_EV_SQ_DRAINED] == 1, "told %u times", edge_events[U4_EV_SQ_DRAINED]);
	CHECK(qp->sq_cur == qp->sqd_limit, "sends on behind what was begun");
	u4_qp_destroy(qp);
}

static struct u4_seg edge_read(const struct u4_qp *qp, u32 psn)
{
	return (struct u4_seg) {
		.op = U4_OP_READ_REQ, .flags = U4_XP_FIRST | U4_XP_LAST, .dqpn = qp->qpn,
		.sqpn = 77, .psn = psn, .msg_len = 64, .raddr = 0x100000000ull,
		.rkey = host[0].mr.key,
	};
}

/* The cable takes no answer, so the READs pile up. */
static void edge_too_many_reads(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	u32 psn;

	ring = 0;
	for (psn = 0; psn < 3; psn++) {
		struct u4_seg seg = edge_read(qp, psn);

		edge_arrives(0, &seg, false);
		CHECK(qp->e_psn == min(psn + 1, 2u), "READ %u was taken", psn);
	}
	CHECK(qp->nak_due == U4_OP_NAK && qp->nak_code == U4_NAK_INVALID && qp->nak_psn == 2,
	      "no NAK: %u, code %u", qp->nak_due, qp->nak_code);
	ring = 256;
	u4_xp_rx_batch_end(&host[0].peer, &rails[0]);
	edge_work();
	CHECK(qp->state == U4_QPS_ERR, "state %u", qp->state);
	CHECK(edge_events[U4_EV_QP_REQ_ERR] == 1, "events");
	CHECK(rails[0].queued == 3, "two answers and a NAK: %u frames", rails[0].queued);
	u4_qp_destroy(qp);
}

/* Both READs are answered, then asked for again; the answers come after all, then a third. */
static void edge_late_original(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	static const u32 psns[] = { 0, 1, 0, 1, 2 };
	u32 i;

	ring = 256;
	for (i = 0; i < ARRAY_SIZE(psns); i++) {
		struct u4_seg seg = edge_read(qp, psns[i]);

		edge_arrives(0, &seg, false);
		if (i < 2)
			u4_xp_rx_batch_end(&host[0].peer, &rails[0]);
		else
			ring = 0;
	}
	CHECK(qp->e_psn == 3 && !qp->nak_due, "the third was refused");
	CHECK(qp->rsp_tail - qp->rsp_head == 2 && qp->rsp[qp->rsp_head % 16].psn == 1,
	      "the oldest repetition stays");
	u4_qp_destroy(qp);
}

/* ---- datagrams ---- */

static const u8 edge_group[U4_GID_LEN] = { 0xff, 0x0e, [15] = 9 };

static struct u4_av edge_av(const u8 *to, bool ipv4)
{
	struct u4_av av = { .multicast = true, .ipv4 = ipv4 };

	if (ipv4)
		memcpy(av.net_hdr + 36, to + 12, 4);
	else
		memcpy(av.net_hdr + 24, to, U4_GID_LEN);
	return av;
}

static void edge_post_ud(struct u4_qp *qp, const struct u4_av *av, u32 len)
{
	struct u4_swqe *wqe;
	u32 i;

	for (i = 0; i < len; i++)
		host_bytes(0)[1 + i] = i * 7;
	u4_sq_lock(qp);
	wqe = u4_sq_next(qp);
	wqe->op = U4_WR_SEND;
	wqe->len = len;
	wqe->rkey = 1;
	wqe->ud.qpn = U4_QPN_MULTICAST;
	wqe->ud.av = *av;
	wqe->num_sge = 1;
	wqe->sge[0] = (struct u4_sge){ 0x100000001ull, len, host[0].mr.key };
	u4_sq_push(qp);
	u4_sq_run(qp);
	u4_sq_unlock(qp);
}

static void edge_deliver_all(void)
{
	u32 side;

	for (side = 0; side < 2; side++) {
		while (loops[side].head)
			deliver(&loops[side]);
		while (rails[side].head)
			deliver(&rails[side]);
	}
	edge_work();
}

static void edge_got(const struct u4_qp *qp, u32 side, u32 times, u32 len)
{
	const struct edge_recv *recv = qp->owner;

	CHECK(recv->done == times, "QP %u of host %u got %u datagrams, not %u", qp->qpn, side,
	      recv->done, times);
	if (!times)
		return;
	CHECK(recv->last.status == U4_OK && recv->last.ud && recv->last.len == len + 40,
	      "QP %u: status %u, %u bytes", qp->qpn, recv->last.status, recv->last.len);
	CHECK(!memcmp(host_bytes(side) + edge_place(qp) + 40, host_bytes(0) + 1, len),
	      "QP %u: data differs", qp->qpn);
}

/* Sender and another member on host 0, two members and a stranger on host 1. */
static void edge_group_of(bool ipv4, u32 len)
{
	static const u8 group4[U4_GID_LEN] = { [10] = 0xff, 0xff, 239, 1, 2, 3 };
	const u8 *group = ipv4 ? group4 : edge_group;
	struct u4_av av = edge_av(group, ipv4);
	struct edge_recv recv[6] = {};
	struct u4_qp *qp[6];
	u32 i;

	ring = 256;
	for (i = 0; i < 6; i++) {
		recv[i] = (struct edge_recv){ .len = 5000, .posted = 3 };
		qp[i] = edge_qp_of(i > 1, U4_QPT_UD, &recv[i]);
		if (i != 4)
			CHECK(!u4_mc_attach(qp[i], group), "attach");
	}
	qp[5]->attr.qkey = 2;
	edge_post_ud(qp[0], &av, len);
	CHECK(edge_status[U4_OK] == 1, "%u completions", edge_status[U4_OK]);
	edge_deliver_all();
	edge_got(qp[0], 0, 0, 0);
	edge_got(qp[1], 0, 1, len);
	edge_got(qp[2], 1, 1, len);
	edge_got(qp[3], 1, 1, len);
	edge_got(qp[4], 1, 0, 0);
	edge_got(qp[5], 1, 0, 0);
	CHECK(recv[2].last.src_qpn == qp[0]->qpn, "source");
	CHECK(!!(recv[2].last.flags & U4_XP_NET_V4) == ipv4, "kind of network header");

	/* One goes with its queue pair, one is detached; the third has a receive too small. */
	u4_qp_destroy(qp[1]);
	CHECK(!u4_mc_detach(qp[2], group) && u4_mc_detach(qp[2], group) == -EINVAL, "detach");
	recv[3].len = 40;
	edge_post_ud(qp[0], &av, len);
	CHECK(!loops[0].head, "nobody else is on this host");
	edge_deliver_all();
	edge_got(qp[2], 1, 1, len);
	edge_got(qp[3], 1, 1, len);
	for (i = 0; i < 6; i++)
		if (i != 1)
			u4_qp_destroy(qp[i]);
	CHECK(!host[0].dev.mc_num && !host[1].dev.mc_num && !host[0].dev.mc_members &&
	      !host[1].dev.mc_members, "groups are left");
}

static void edge_multicast(void)
{
	edge_group_of(false, 100);
	edge_group_of(true, 1);
	/* To a group that nobody is in. */
	{
		struct u4_qp *qp = edge_qp(U4_QPT_UD);
		struct u4_av av = edge_av(edge_group, false);

		edge_post_ud(qp, &av, 10);
		edge_deliver_all();
		CHECK(edge_status[U4_OK] == 1, "completion");
		CHECK(host[1].dev.counters[U4_CNT_RX_NO_QP], "not counted");
		u4_qp_destroy(qp);
	}
}

static void edge_post_region(struct u4_qp *qp, u32 len)
{
	struct u4_swqe *wqe;

	u4_sq_lock(qp);
	wqe = u4_sq_next(qp);
	CHECK(wqe, "the send queue is full");
	wqe->op = U4_WR_SEND;
	wqe->len = len;
	wqe->num_sge = 1;
	wqe->sge[0] = (struct u4_sge){ 0x100000000ull, len, host[0].mr.key };
	u4_sq_push(qp);
	u4_sq_run(qp);
	u4_sq_unlock(qp);
}

/* The peer answers before our ring has read what it says it got, or says it refuses. */
static void edge_answer_ahead(enum u4_op op, enum u4_status status)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	struct u4_seg answer = {
		.op = op, .dqpn = qp->qpn, .sqpn = 77, .imm = op == U4_OP_NAK ? U4_NAK_ACCESS : 0,
	};
	u32 i, flushed = op == U4_OP_NAK ? 7 : 0;

	ring = 256;
	for (i = 0; i < 8; i++)
		edge_post_region(qp, 10000);
	answer.psn = (qp->una_psn + (op == U4_OP_ACK ? 7 : 0)) & U4_PSN_MASK;
	edge_arrives(0, &answer, false);
	edge_work();
	for (i = 0; i < ARRAY_SIZE(edge_status); i++)
		CHECK(!edge_status[i], "told of %u that its memory is free", edge_status[i]);
	CHECK(!u4_sq_next(qp), "a request is replaced that the consumer was not told of");
	CHECK(run_timer(), "nobody looks again");
	CHECK(qp->dev->counters[U4_CNT_TX_HELD], "not counted");
	CHECK(!edge_status[status], "told though the ring has read nothing");

	while (rails[0].head->seq < 4)
		deliver(&rails[0]);
	CHECK(run_timer() && edge_status[status] == 1, "told of %u", edge_status[status]);
	edge_deliver_all();
	CHECK(run_timer(), "nobody looks again");
	CHECK(edge_status[status] == 8 - flushed && edge_status[U4_WR_FLUSH_ERR] == flushed,
	      "%u told, %u flushed", edge_status[status], edge_status[U4_WR_FLUSH_ERR]);
	u4_qp_destroy(qp);
}

static void edge_acknowledged_ahead(void)
{
	edge_answer_ahead(U4_OP_ACK, U4_OK);
}

static void edge_refused_ahead(void)
{
	edge_answer_ahead(U4_OP_NAK, U4_REM_ACCESS_ERR);
}

/* Whoever resets or destroys a queue pair has its memory again; a ring that stands is not awaited. */
static void edge_ring_awaited(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	struct u4_qp_attr attr = qp->attr;
	unsigned long before;

	ring = 256;
	edge_post_region(qp, 10000);
	before = jiffies;
	u4_qp_modify(qp, &attr, U4_QPS_RESET);
	CHECK(jiffies - before >= U4_RING_WAIT, "reset after %lu ticks", jiffies - before);
	before = jiffies;
	edge_deliver_all();
	u4_qp_modify(qp, &attr, U4_QPS_RESET);
	u4_qp_destroy(qp);
	CHECK(jiffies == before, "waited for a ring that is through");
}

/* The ring is gone, and with it what it had yet to read. */
static void edge_ring_gone(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_RC);
	struct u4_seg ack = { .op = U4_OP_ACK, .dqpn = qp->qpn, .sqpn = 77 };

	ring = 256;
	edge_post_region(qp, 10000);
	ack.psn = qp->una_psn;
	edge_arrives(0, &ack, false);
	CHECK(!edge_status[U4_OK], "told though the ring has read nothing");
	u4_xp_rail_down(&host[0].peer, &rails[0]);
	CHECK(edge_status[U4_OK] == 1 && !qp->tx_rail, "not told");
	edge_work();
	u4_qp_destroy(qp);
}

static void edge_multicast_split(void)
{
	struct edge_recv recv[3] = {};
	struct u4_av av = edge_av(edge_group, false);
	struct u4_qp *from = edge_qp(U4_QPT_UD), *qp[3];
	u32 i;

	edge_group_of(false, 4096);
	edge_group_of(true, 4000);

	/* Between the two frames: one is destroyed, one loses its receive to another datagram. */
	ring = 256;
	for (i = 0; i < 3; i++) {
		recv[i] = (struct edge_recv){ .len = 5000, .posted = 1 };
		qp[i] = edge_qp_of(1, U4_QPT_UD, &recv[i]);
		u4_mc_attach(qp[i], edge_group);
	}
	edge_post_ud(from, &av, 4096);
	deliver(&rails[0]);
	u4_qp_destroy(qp[0]);
	{
		u8 data[48] = {};
		struct u4_seg seg = {
			.op = U4_OP_UD, .flags = U4_XP_FIRST | U4_XP_LAST, .dqpn = qp[1]->qpn,
			.sqpn = 5, .rkey = 1, .msg_len = 48, .seg_len = 48, .inline_len = 48,
			.payload = data,
		};

		edge_arrives(1, &seg, true);
	}
	edge_deliver_all();
	CHECK(recv[1].done == 1 && recv[1].last.len == 48, "%u datagrams, the last of %u bytes",
	      recv[1].done, recv[1].last.len);
	edge_got(qp[2], 1, 1, 4096);
	u4_qp_destroy(qp[1]);
	u4_qp_destroy(qp[2]);
	u4_qp_destroy(from);
}

static void edge_multicast_limits(void)
{
	struct u4_qp *qp[U4_MC_PER_GROUP + 1];
	u8 gid[U4_GID_LEN] = { 0xff };
	u32 i;

	for (i = 0; i <= U4_MC_PER_GROUP; i++) {
		qp[i] = edge_qp(U4_QPT_UD);
		CHECK(u4_mc_attach(qp[i], gid) == (i < U4_MC_PER_GROUP ? 0 : -ENOMEM),
		      "member %u", i);
	}
	for (i = 1; i <= U4_MC_PER_QP; i++) {
		gid[15] = i;
		gid[3] = i >> 8;
		CHECK(u4_mc_attach(qp[0], gid) == (i < U4_MC_PER_QP ? 0 : -ENOMEM), "group %u", i);
	}
	CHECK(u4_mc_attach(qp[0], edge_group) == -ENOMEM, "one group too many");
	/* Twice in, so out with the second time only. */
	gid[15] = 1;
	gid[3] = 0;
	CHECK(!u4_mc_attach(qp[0], gid) && !u4_mc_detach(qp[0], gid) && !u4_mc_detach(qp[0], gid) &&
	      u4_mc_detach(qp[0], gid) == -EINVAL, "attached twice");
	for (i = 0; i <= U4_MC_PER_GROUP; i++)
		u4_qp_destroy(qp[i]);
	CHECK(!host[0].dev.mc_num && !host[0].dev.mc_members, "%u groups, %u members are left",
	      host[0].dev.mc_num, host[0].dev.mc_members);
}

static void edge_own_source(void)
{
	static const u8 ours[U4_GID_LEN] = { 0xfe, 0x80, [15] = 7 };
	static const u8 ours4[U4_GID_LEN] = { [10] = 0xff, 0xff, 10, 0, 0, 7 };
	struct edge_recv recv = { .len = 100, .posted = 10 };
	struct u4_qp *qp = edge_qp_of(0, U4_QPT_UD, &recv);
	u8 data[48] = {};
	struct u4_seg seg = {
		.op = U4_OP_UD, .flags = U4_XP_FIRST | U4_XP_LAST, .dqpn = qp->qpn, .sqpn = 5,
		.rkey = 1, .msg_len = 48, .seg_len = 48, .inline_len = 48, .payload = data,
	};

	CHECK(!u4_own_gid_add(&host[0].dev, 0, ours) && !u4_own_gid_add(&host[0].dev, 3, ours4),
	      "add");
	memcpy(data + 8, ours, U4_GID_LEN);
	edge_arrives(0, &seg, false);
	CHECK(recv.done == 0, "taken, in our IPv6 name");
	edge_arrives(0, &seg, true);
	CHECK(recv.done == 1, "not taken from ourselves");
	data[8] = 0xfd;
	edge_arrives(0, &seg, false);
	CHECK(recv.done == 2, "not taken from the peer");

	memset(data, 0, sizeof(data));
	memcpy(data + 32, ours4 + 12, 4);
	seg.flags |= U4_XP_NET_V4;
	edge_arrives(0, &seg, false);
	CHECK(recv.done == 2, "taken, in our IPv4 name");
	u4_own_gid_del(&host[0].dev, 3);
	edge_arrives(0, &seg, false);
	CHECK(recv.done == 3, "not taken, in a name that was ours");
	CHECK(host[0].dev.counters[U4_CNT_RX_OWN_SOURCE] == 2, "counted");
	u4_own_gid_del(&host[0].dev, 0);
	u4_qp_destroy(qp);
}

static void edge_rail_gone(void)
{
	struct u4_qp *qp = edge_qp(U4_QPT_UC);
	static struct u4_rail other;

	other = rails[0];
	other.tail = &other.head;
	ring = 256;
	rails[0].gone = true;
	edge_post(qp);
	CHECK(!edge_status[U4_OK], "sent over a rail that is gone");
	host[0].peer.rails[0] = &other;
	u4_xp_rail_down(&host[0].peer, &rails[0]);
	edge_work();
	CHECK(edge_status[U4_OK] == 1 && other.queued == 1, "it waits for ever");
	u4_qp_destroy(qp);
}

int main(int argc, char **argv)
{
	const char *name = argc == 2 ? argv[1] : "";

	setup(0);
	host[0].dev.ops = &edge_ops;
	host[1].dev.ops = &edge_ops;
	ring = 256;
#define EDGE(n)		do { if (!strcmp(name, #n)) { edge_##n(); return 0; } } while (0)
#define EACH_TYPE(n)	do { if (!strcmp(name, #n)) { each_type(edge_##n); return 0; } } while (0)
	EACH_TYPE(peer_gone);
	EACH_TYPE(device_gone);
	EACH_TYPE(drained);
	EDGE(drained_while_sent_again);
	EACH_TYPE(killed);
	EDGE(too_many_reads);
	EDGE(late_original);
	EDGE(multicast);
	EDGE(multicast_split);
	EDGE(multicast_limits);
	EDGE(own_source);
	EDGE(acknowledged_ahead);
	EDGE(refused_ahead);
	EDGE(ring_awaited);
	EDGE(ring_gone);
	EDGE(rail_gone);
	return 2;
}
