// SPDX-License-Identifier: GPL-2.0-only
/* Objects made, changed and destroyed by the write interface, more or less rightly. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "box.h"

#define ALL_ACCESS	0x1f		/* local, remote write, read, atomic, bind */

static const u32 accesses[] = { 0, 1, 3, 7, 15, 0x1f, 0x11, 2, 0x41, 0x101, 0x301, 0x10000f };

bool make_pd(struct box *box, unsigned int fields)
{
	struct ib_uverbs_alloc_pd body = {};
	struct ib_uverbs_alloc_pd_resp resp;

	if (!command(box, IB_USER_VERBS_CMD_ALLOC_PD, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return false;
	thing_new(box, PD, resp.pd_handle);
	return true;
}

bool make_mr(struct box *box, unsigned int fields)
{
	static const u32 sizes[] = { 1, 64, 4095, 4096, 4097, 65536, 1 << 20, 0 };
	u64 start = (uintptr_t)box->arena + rnd(ARENA / 2);
	struct ib_uverbs_reg_mr body = {
		.start = start, .length = honest ? 65536 : sizes[rnd(8)], .hca_va = start,
		.pd_handle = handle_any(box, PD), .access_flags = ALL_ACCESS,
	};
	struct ib_uverbs_reg_mr_resp resp;
	struct thing *mr;

	if (mischief(4)) {
		body.access_flags = accesses[rnd(sizeof(accesses) / 4)];
		body.hca_va = chance(2) ? (u64)absurd() << 32 | (start & 4095) : start & 4095;
	}
	/* The memory of a mapped ring, or none at all. */
	if (mischief(16) && box->num_rings)
		body.start = (uintptr_t)box->rings[rnd(box->num_rings) % MAX_RINGS].base;
	else if (mischief(32))
		body.start = rng_next() & ~4095ull;
	if (!command(box, IB_USER_VERBS_CMD_REG_MR, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return false;
	mr = thing_new(box, MR, resp.mr_handle);
	mr->lkey = resp.lkey;
	mr->rkey = resp.rkey;
	mr->addr = body.hca_va;
	mr->len = body.length;
	return true;
}

static void rereg_mr(struct box *box, unsigned int fields)
{
	struct ib_uverbs_rereg_mr body = {
		.mr_handle = handle_any(box, MR), .flags = rnd(8),
		.start = (uintptr_t)box->arena + 4096 * rnd(64), .length = 4096 * rnd(16),
		.pd_handle = handle_any(box, PD), .access_flags = accesses[rnd(8)],
	};
	struct ib_uverbs_rereg_mr_resp resp;

	body.hca_va = body.start;
	command(box, IB_USER_VERBS_CMD_REREG_MR, &body, sizeof(body), &resp, sizeof(resp), fields);
}

static void make_mw(struct box *box, unsigned int fields)
{
	struct ib_uverbs_alloc_mw body = { .pd_handle = handle_any(box, PD), .mw_type = 1 + rnd(2) };
	struct ib_uverbs_alloc_mw_resp resp;

	if (command(box, IB_USER_VERBS_CMD_ALLOC_MW, &body, sizeof(body), &resp, sizeof(resp),
		    fields))
		thing_new(box, MW, resp.mw_handle)->rkey = resp.rkey;
}

static void make_channel(struct box *box, unsigned int fields)
{
	struct ib_uverbs_create_comp_channel body = {};
	struct ib_uverbs_create_comp_channel_resp resp;
	struct thing *channel = &box->things[CHANNEL][rnd(MAX_THINGS)];

	/* At most as many as there is room for; the one that was there goes. */
	if (channel->used && channel->number > 2)
		close(channel->number);
	channel->used = false;
	if (!command(box, IB_USER_VERBS_CMD_CREATE_COMP_CHANNEL, &body, sizeof(body), &resp,
		     sizeof(resp), fields))
		return;
	channel->used = true;
	channel->handle = resp.fd;
	channel->number = resp.fd;
	COUNT(made[CHANNEL]);
}

bool make_cq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_create_cq body = {
		.cqe = honest ? 1000 : 1 + rnd(60), .comp_channel = -1,
	};
	struct {
		struct ib_uverbs_create_cq_resp core;
		struct rxe_create_cq_resp ring;
	} resp;
	struct thing *cq;

	if (box->things[CHANNEL][0].used && chance(2))
		body.comp_channel = handle_any(box, CHANNEL);
	if (!command(box, IB_USER_VERBS_CMD_CREATE_CQ, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return false;
	cq = thing_new(box, CQ, resp.core.cq_handle);
	cq->ring = ring_map(box, resp.ring.mi.offset, resp.ring.mi.size);
	return true;
}

static void resize_cq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_resize_cq body = { .cq_handle = handle_any(box, CQ), .cqe = rnd(200) };
	struct {
		struct ib_uverbs_resize_cq_resp core;
		struct rxe_resize_cq_resp ring;
	} resp;
	struct thing *cq = thing_any(box, CQ);

	if (cq && !chance(8))
		body.cq_handle = cq->handle;
	if (!command(box, IB_USER_VERBS_CMD_RESIZE_CQ, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return;
	if (cq && cq->handle == body.cq_handle)
		cq->ring = ring_map(box, resp.ring.mi.offset, resp.ring.mi.size);
}

static void notify_cq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_req_notify_cq body = {
		.cq_handle = handle_any(box, CQ), .solicited_only = rnd(3),
	};

	command(box, IB_USER_VERBS_CMD_REQ_NOTIFY_CQ, &body, sizeof(body), NULL, 0, fields);
}

static void poll_cq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_poll_cq body = { .cq_handle = handle_any(box, CQ), .ne = rnd(8) };
	u8 resp[512];

	command(box, IB_USER_VERBS_CMD_POLL_CQ, &body, sizeof(body), resp, sizeof(resp), fields);
}

static void make_srq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_create_srq body = {
		.pd_handle = handle_any(box, PD), .max_wr = 1 + rnd(40), .max_sge = 1 + rnd(6),
		.srq_limit = chance(3) ? rnd(8) : 0,
	};
	struct {
		struct ib_uverbs_create_srq_resp core;
		struct rxe_create_srq_resp ring;
	} resp;
	struct thing *srq;

	if (!command(box, IB_USER_VERBS_CMD_CREATE_SRQ, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return;
	srq = thing_new(box, SRQ, resp.core.srq_handle);
	srq->ring = ring_map(box, resp.ring.mi.offset, resp.ring.mi.size);
}

static void modify_srq(struct box *box, unsigned int fields)
{
	struct mminfo mi = {};
	struct {
		struct ib_uverbs_modify_srq core;
		struct rxe_modify_srq_cmd ring;
	} body = {
		.core = { handle_any(box, SRQ), rnd(4), rnd(80), rnd(16) },
		.ring = { (uintptr_t)&mi },
	};
	struct thing *srq = thing_any(box, SRQ);

	if (srq && !chance(8))
		body.core.srq_handle = srq->handle;
	if (command(box, IB_USER_VERBS_CMD_MODIFY_SRQ, &body, sizeof(body), NULL, 0, fields) &&
	    srq && srq->handle == body.core.srq_handle && mi.size)
		srq->ring = ring_map(box, mi.offset, mi.size);
}

static void query_srq(struct box *box, unsigned int fields)
{
	struct ib_uverbs_query_srq body = { .srq_handle = handle_any(box, SRQ) };
	struct ib_uverbs_query_srq_resp resp;

	command(box, IB_USER_VERBS_CMD_QUERY_SRQ, &body, sizeof(body), &resp, sizeof(resp), fields);
}

bool make_qp(struct box *box, u8 type, unsigned int fields)
{
	bool srq = !honest && chance(3) && thing_any(box, SRQ);
	struct ib_uverbs_create_qp body = {
		.pd_handle = handle_any(box, PD), .send_cq_handle = handle_any(box, CQ),
		.recv_cq_handle = handle_any(box, CQ), .srq_handle = srq ? handle_any(box, SRQ) : 0,
		.max_send_wr = 1 + rnd(30), .max_recv_wr = 1 + rnd(30), .max_send_sge = 1 + rnd(6),
		.max_recv_sge = 1 + rnd(6), .max_inline_data = chance(2) ? rnd(257) : 0,
		.sq_sig_all = rnd(2), .qp_type = type, .is_srq = srq,
	};
	struct {
		struct ib_uverbs_create_qp_resp core;
		struct rxe_create_qp_resp rings;
	} resp;
	struct thing *qp;

	if (!command(box, IB_USER_VERBS_CMD_CREATE_QP, &body, sizeof(body), &resp, sizeof(resp),
		     fields))
		return false;
	qp = thing_new(box, QP, resp.core.qp_handle);
	qp->number = resp.core.qpn;
	qp->type = type;
	if (resp.rings.rq_mi.size)
		qp->recv = ring_map(box, resp.rings.rq_mi.offset, resp.rings.rq_mi.size);
	qp->ring = ring_map(box, resp.rings.sq_mi.offset, resp.rings.sq_mi.size);
	return true;
}

static bool modify_qp(struct box *box, struct ib_uverbs_modify_qp *body, unsigned int fields)
{
	return command(box, IB_USER_VERBS_CMD_MODIFY_QP, body, sizeof(*body), NULL, 0, fields);
}

bool qp_connect(struct box *box, const struct thing *qp, u32 qpn, const u8 *gid, u32 fields)
{
	struct ib_uverbs_modify_qp body = {
		.qp_handle = qp->handle, .qkey = 0x11111111, .dest_qp_num = qpn,
		.qp_access_flags = 15, .port_num = 1, .path_mtu = 5, .max_rd_atomic = 4,
		.max_dest_rd_atomic = 4, .min_rnr_timer = 1, .timeout = 8, .retry_cnt = 2,
		.rnr_retry = 2,
	};
	bool rc = qp->type == IB_UVERBS_QPT_RC, ud = qp->type == IB_UVERBS_QPT_UD;

	memcpy(body.dest.dgid, gid, 16);
	body.dest.is_global = 1;
	body.dest.port_num = 1;
	body.dest.hop_limit = 64;
	body.dest.sgid_index = shared->sgid_index;
	body.qp_state = 1;	/* INIT: key index, port, and Q_Key or access */
	body.attr_mask = 1 | 1 << 4 | 1 << 5 | (ud ? 1 << 6 : 1 << 3);
	if (!modify_qp(box, &body, fields))
		return false;
	body.qp_state = 2;	/* RTR: path, MTU, QPN, PSN, and RC's own */
	body.attr_mask = ud ? 1 : 1 | 1 << 7 | 1 << 8 | 1 << 20 | 1 << 12;
	if (rc)
		body.attr_mask |= 1 << 17 | 1 << 15;
	if (!modify_qp(box, &body, fields))
		return false;
	body.qp_state = 3;	/* RTS */
	body.attr_mask = 1 | 1 << 16;
	if (rc)
		body.attr_mask |= 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13;
	return modify_qp(box, &body, fields);
}

static void change_qp(struct box *box, unsigned int fields)
{
	struct ib_uverbs_modify_qp body = {
		.qp_handle = handle_any(box, QP), .attr_mask = 1, .qp_state = rnd(7),
		.cur_qp_state = rnd(7), .port_num = 1, .path_mtu = 5, .timeout = 8,
		.qp_access_flags = 15, .dest_qp_num = rnd(1 << 24), .max_rd_atomic = rnd(20),
		.max_dest_rd_atomic = rnd(20), .rq_psn = rnd(1 << 24), .sq_psn = rnd(1 << 24),
	};
	u32 bits = rnd(6);

	while (bits--)
		body.attr_mask |= 1u << rnd(22);
	memcpy(body.dest.dgid, chance(2) ? shared->gid : shared->peer_gid, 16);
	body.dest.is_global = !chance(8);
	body.dest.port_num = 1;
	body.dest.sgid_index = chance(4) ? rnd(256) : shared->sgid_index;
	modify_qp(box, &body, fields);
}

static void query_qp(struct box *box, unsigned int fields)
{
	struct ib_uverbs_query_qp body = { .qp_handle = handle_any(box, QP), .attr_mask = ~0u };
	struct ib_uverbs_query_qp_resp resp;

	command(box, IB_USER_VERBS_CMD_QUERY_QP, &body, sizeof(body), &resp, sizeof(resp), fields);
}

void doorbell(struct box *box, const struct thing *qp)
{
	struct ib_uverbs_post_send body = {
		.qp_handle = qp->handle, .wqe_size = sizeof(struct ib_uverbs_send_wr),
	};
	struct ib_uverbs_post_send_resp resp;

	COUNT(doorbells);
	command(box, IB_USER_VERBS_CMD_POST_SEND, &body, sizeof(body), &resp, sizeof(resp),
		mischief(32));
}

/* Work requests in the command itself: for other devices; ours must refuse them. */
static void post_by_command(struct box *box, unsigned int fields)
{
	static const u32 cmds[] = {
		IB_USER_VERBS_CMD_POST_SEND, IB_USER_VERBS_CMD_POST_RECV,
		IB_USER_VERBS_CMD_POST_SRQ_RECV,
	};
	struct {
		struct ib_uverbs_post_send core;
		struct ib_uverbs_send_wr wr[3];
		struct ib_uverbs_sge sge[3];
	} body = {
		.core = { .wr_count = 1 + rnd(3), .sge_count = rnd(4) },
	};
	struct ib_uverbs_post_send_resp resp;
	u32 which = rnd(3), i;

	body.core.qp_handle = handle_any(box, which == 2 ? SRQ : QP);
	body.core.wqe_size = which ? sizeof(struct ib_uverbs_recv_wr) :
				     sizeof(struct ib_uverbs_send_wr);
	for (i = 0; i < 3; i++) {
		body.wr[i].num_sge = chance(2);
		body.wr[i].opcode = rnd(16);
		body.wr[i].wr.ud.ah = handle_any(box, AH);
		body.sge[i] = (struct ib_uverbs_sge){ (uintptr_t)box->arena, 64, 0 };
	}
	command(box, cmds[which], &body, sizeof(body), &resp, sizeof(resp), fields);
}

static void make_ah(struct box *box, unsigned int fields)
{
	struct ib_uverbs_create_ah body = { .pd_handle = handle_any(box, PD) };
	struct {
		struct ib_uverbs_create_ah_resp core;
		struct rxe_create_ah_resp number;
	} resp;

	memcpy(body.attr.grh.dgid, chance(2) ? shared->gid : shared->peer_gid, 16);
	if (chance(8))
		body.attr.grh.dgid[0] = 0xff;
	body.attr.grh.sgid_index = shared->sgid_index;
	body.attr.grh.hop_limit = 64;
	body.attr.is_global = 1;
	body.attr.port_num = 1;
	if (command(box, IB_USER_VERBS_CMD_CREATE_AH, &body, sizeof(body), &resp, sizeof(resp),
		    fields))
		thing_new(box, AH, resp.core.ah_handle)->number = resp.number.ah_num;
}

static void multicast(struct box *box, unsigned int fields)
{
	struct ib_uverbs_attach_mcast body = { .qp_handle = handle_any(box, QP) };

	body.gid[0] = 0xff;
	body.gid[1] = 0x0e;
	body.gid[15] = 1 + rnd(40);
	command(box, chance(3) ? IB_USER_VERBS_CMD_DETACH_MCAST : IB_USER_VERBS_CMD_ATTACH_MCAST,
		&body, sizeof(body), NULL, 0, fields);
}

/* What our device does not have, and what it merely answers. */
static void oddities(struct box *box, unsigned int fields)
{
	u32 words[64] = {}, cmd = rnd(IB_USER_VERBS_EX_CMD_MODIFY_CQ + 4), i;
	u8 resp[512];

	for (i = 2; i < 20; i++)
		words[i] = chance(2) ? handle_any(box, rnd(NUM_KINDS)) : chance(2) ? absurd() : 0;
	/* A second context may not be had by the same descriptor; queues only as tamed. */
	if (cmd == IB_USER_VERBS_CMD_CREATE_CQ || cmd == IB_USER_VERBS_CMD_CREATE_QP ||
	    cmd == IB_USER_VERBS_CMD_CREATE_SRQ || cmd == IB_USER_VERBS_CMD_RESIZE_CQ)
		cmd = IB_USER_VERBS_CMD_QUERY_DEVICE;
	if (chance(2))
		command(box, cmd, words, 4 * rnd(40) + 8, resp, sizeof(resp), fields);
	else
		command_ex(box, cmd, words, 8 * rnd(20), resp, sizeof(resp), fields);
}

static void destroy(struct box *box, unsigned int fields)
{
	static const struct {
		u32	cmd;
		bool	answers;	/* handle behind the place of the answer */
	} ways[] = {
		[PD] = { IB_USER_VERBS_CMD_DEALLOC_PD },
		[MR] = { IB_USER_VERBS_CMD_DEREG_MR },
		[MW] = { IB_USER_VERBS_CMD_DEALLOC_MW },
		[CQ] = { IB_USER_VERBS_CMD_DESTROY_CQ, true },
		[QP] = { IB_USER_VERBS_CMD_DESTROY_QP, true },
		[SRQ] = { IB_USER_VERBS_CMD_DESTROY_SRQ, true },
		[AH] = { IB_USER_VERBS_CMD_DESTROY_AH },
		[XRCD] = { IB_USER_VERBS_CMD_CLOSE_XRCD },
	};
	enum kind kind = (enum kind[]){ PD, MR, MW, CQ, QP, QP, QP, SRQ, AH, XRCD }[rnd(10)];
	struct thing *thing = thing_any(box, kind);
	u32 words[6] = {};
	u8 resp[64];
	bool gone;

	if (!thing)
		return;
	words[ways[kind].answers ? 2 : 0] = thing->handle;
	gone = command(box, ways[kind].cmd, words, ways[kind].answers ? 16 : 8,
		       ways[kind].answers ? resp : NULL, ways[kind].answers ? 16 : 0, fields);
	if (gone)
		thing->used = false;
}

/* Memory that is registered goes, moves, or is another one's. */
static void play_with_memory(struct box *box)
{
	u8 *at = box->arena + 4096 * rnd(ARENA / 4096 - 64);
	size_t len = 4096 * (1 + rnd(32));

	switch (rnd(4)) {
	case 0:
		madvise(at, len, MADV_DONTNEED);
		break;
	case 1:
		mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 2:
		mprotect(at, len, chance(2) ? PROT_READ : PROT_READ | PROT_WRITE);
		break;
	case 3:
		/* In place of a mapped ring, or another mapping of it, or a cut of it. */
		if (box->num_rings) {
			struct ring *ring = &box->rings[rnd(box->num_rings) % MAX_RINGS];

			if (ring->base && chance(4))
				mmap(ring->base, ring->size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		}
		break;
	}
}

static void drain_events(struct box *box)
{
	struct ib_uverbs_async_event_desc event;

	while (read(box->async_fd, &event, sizeof(event)) > 0)
		;
}

void act(struct box *box)
{
	static const u8 types[] = {
		IB_UVERBS_QPT_RC, IB_UVERBS_QPT_RC, IB_UVERBS_QPT_RC, IB_UVERBS_QPT_UC,
		IB_UVERBS_QPT_UD, IB_UVERBS_QPT_UD,
	};
	unsigned int fields = chance(3) ? 1 + rnd(3) : 0;
	u32 what = rnd(100);

	if (what < 4)
		make_pd(box, fields);
	else if (what < 12)
		make_mr(box, fields);
	else if (what < 14)
		rereg_mr(box, fields);
	else if (what < 17)
		make_mw(box, fields);
	else if (what < 18)
		make_channel(box, fields);
	else if (what < 24)
		make_cq(box, fields);
	else if (what < 29)
		resize_cq(box, fields);
	else if (what < 33)
		notify_cq(box, fields);
	else if (what < 34)
		poll_cq(box, fields);
	else if (what < 38)
		make_srq(box, fields);
	else if (what < 43)
		modify_srq(box, fields);
	else if (what < 44)
		query_srq(box, fields);
	else if (what < 54)
		make_qp(box, chance(16) ? rnd(256) : types[rnd(sizeof(types))], fields);
	else if (what < 64)
		change_qp(box, fields);
	else if (what < 66)
		query_qp(box, fields);
	else if (what < 68)
		post_by_command(box, fields);
	else if (what < 73)
		make_ah(box, fields);
	else if (what < 76)
		multicast(box, fields);
	else if (what < 80)
		oddities(box, fields);
	else if (what < 83)
		play_with_memory(box);
	else if (what < 84)
		drain_events(box);
	else
		destroy(box, chance(8) ? fields : 0);
}
