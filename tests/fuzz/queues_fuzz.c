// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues that a process maps (driver/verbs: queue.c, send.c, recv.c, cq.c, srq.c, qp.c),
 * on the real transport. The input says what objects there are, what the process writes
 * to its rings, and what it changes between any two reads of the kernel: whatever is
 * read twice is read differently.
 *
 * Rings are exactly as large as they are, so that AddressSanitizer sees each step outside.
 * What gets through to the transport is within the queue pair's limits; a request that
 * nobody disturbs arrives as it was posted; completions come in order and are not lost
 * but when the queue says so.
 */
#include "shim_verbs.h"

#undef CHECK
#define MEM_SIZE	(64u << 10)
#include "../unit/driver/transport_world.h"

/* A process may write at any time. */
static void race(void);
#undef READ_ONCE
#define READ_ONCE(x)	(race(), *(const volatile typeof(x) *)&(x))

#include "../../driver/verbs/queue.c"
#include "../../driver/verbs/send.c"
#include "../../driver/verbs/recv.c"
#include "../../driver/verbs/cq.c"
#include "../../driver/verbs/srq.c"
#include "../../driver/verbs/qp.c"

#define MAX_QPS_HERE	4
#define IOVA		0x100000000ull

struct u4_ucontext *shim_context;
struct workqueue_struct *u4_verbs_wq;

static struct u4_ucontext context;
static struct u4_ibdev *ibdev;
static struct ib_pd pd;
static struct u4_cq cqs[2];
static struct u4_srq srq;
static struct u4_ibqp qp_mem[MAX_QPS_HERE];
static bool cq_there[2], srq_there, qp_there[MAX_QPS_HERE];
static struct script *script;
static u32 races;			/* how many writes may come in between yet */
static u32 mappings, charges;

/* ---- rings as the process sees them ---- */

static struct u4_queue *rings[16];
static u32 num_rings;

static u32 ring_bytes(const struct u4_queue *q)
{
	return PAGE_ALIGN(sizeof(struct rxe_queue_buf) + ((size_t)(q->mask + 1) << q->shift));
}

static void write_somewhere(void)
{
	struct u4_queue *q;
	u32 at, value;
	u8 what;

	if (!num_rings)
		return;
	what = next_byte(script);
	q = rings[what % num_rings];
	if (!q->buf)
		return;
	value = what & 64 ? next_u32(script) : next_byte(script);
	at = next_u16(script);
	switch (what >> 6 & 1 ? 0 : at & 3) {
	case 1:
		q->buf->producer_index = value;
		break;
	case 2:
		q->buf->consumer_index = value;
		break;
	default:
		memcpy((u8 *)q->buf + at % (ring_bytes(q) / 4) * 4, &value, 4);
	}
}

static void race(void)
{
	if (!races || script->at >= script->end)
		return;
	races--;
	if (next_byte(script) & 1)
		write_somewhere();
}

int rdma_user_mmap_entry_insert(struct ib_ucontext *uc, struct rdma_user_mmap_entry *entry,
				size_t len)
{
	(void)uc, (void)len;
	entry->start_pgoff = ++mappings;
	return 0;
}

void rdma_user_mmap_entry_remove(struct rdma_user_mmap_entry *entry)
{
	mappings--;
	u4_mmap_free(entry);
}

int u4_charge(struct u4_charge *charge, size_t bytes)
{
	charge->pages = bytes;
	charges++;
	return 0;
}

void u4_uncharge(struct u4_charge *charge)
{
	if (charge->pages)
		charges--;
	charge->pages = 0;
}

void u4_av_set_len(struct u4_av *av, u32 len)
{
	CHECK(len <= U4_MAX_UD, "datagram of %u bytes", len);
	av->net_hdr[0] = len;
}

static void find_rings(void)
{
	u32 i;

	num_rings = 0;
	for (i = 0; i < 2; i++)
		if (cq_there[i])
			rings[num_rings++] = &cqs[i].queue;
	if (srq_there)
		rings[num_rings++] = &srq.rq.queue;
	for (i = 0; i < MAX_QPS_HERE; i++) {
		if (!qp_there[i])
			continue;
		rings[num_rings++] = &qp_mem[i].sq;
		if (!qp_mem[i].srq)
			rings[num_rings++] = &qp_mem[i].own_rq.queue;
	}
}

/* ---- objects ---- */

static void nothing_happens(struct ib_event *event, void *context)
{
	(void)event, (void)context;
}

static void make_cq(u32 i, u32 cqe)
{
	struct rxe_create_cq_resp resp;
	struct uverbs_attr_bundle attrs = { { .out = &resp, .outlen = sizeof(resp) } };
	struct ib_cq_init_attr attr = { .cqe = cqe };

	memset(&cqs[i], 0, sizeof(cqs[i]));
	cqs[i].ib.device = &ibdev->ib;
	cqs[i].ib.event_handler = nothing_happens;
	cq_there[i] = !u4_create_cq(&cqs[i].ib, &attr, &attrs);
	CHECK(cq_there[i] == (cqe && cqe <= U4_MAX_CQE), "a CQ of %u", cqe);
}

static void make_srq(u32 wr, u32 sge)
{
	struct rxe_create_srq_resp resp;
	struct ib_udata udata = { .out = &resp, .outlen = sizeof(resp) };
	struct ib_srq_init_attr init = { { wr, sge, wr / 2 }, IB_SRQT_BASIC };

	memset(&srq, 0, sizeof(srq));
	srq.ib.device = &ibdev->ib;
	srq.ib.event_handler = nothing_happens;
	srq_there = !u4_create_srq(&srq.ib, &init, &udata);
}

static void make_qp(struct script *s, u32 i)
{
	u8 what = next_byte(s);
	struct rxe_create_qp_resp resp;
	struct ib_udata udata = { .out = &resp, .outlen = sizeof(resp) };
	struct ib_qp_init_attr init = {
		.send_cq = &cqs[what & 1].ib, .recv_cq = &cqs[what >> 1 & 1].ib,
		.srq = what & 4 && srq_there ? &srq.ib : NULL,
		.cap = { 1 + (next_byte(s) & 15), 1 + (next_byte(s) & 15), next_byte(s) % 34,
			 next_byte(s) % 34, next_u16(s) % 600 },
		.sq_sig_type = what >> 3 & 1,
		.qp_type = (enum ib_qp_type[]){ IB_QPT_RC, IB_QPT_RC, IB_QPT_UC,
						IB_QPT_UD }[what >> 4 & 3],
	};
	struct u4_qp_attr attr = {
		.access = 15, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 4,
		.max_dest_rd_atomic = 4, .dest_qpn = 77, .qkey = 0x11111111,
	};
	struct u4_ibqp *qp = &qp_mem[i];

	memset(qp, 0, sizeof(*qp));
	qp->ib.device = &ibdev->ib;
	qp->ib.pd = &pd;
	qp->ib.event_handler = nothing_happens;
	if (u4_create_qp(&qp->ib, &init, &udata))
		return;
	qp_there[i] = true;
	CHECK(init.cap.max_send_sge <= U4_MAX_SGE && init.cap.max_inline_data <= U4_MAX_INLINE,
	      "limits");
	u4_qp_modify(qp->xp, &attr, U4_QPS_INIT);
	u4_qp_modify(qp->xp, &attr, U4_QPS_RTR);
	u4_qp_modify(qp->xp, &attr, U4_QPS_RTS);
}

/* ---- what the process posts ---- */

/* A request as rdma-core writes it; what the driver must make of it. */
static void honest_send(struct script *s, struct u4_ibqp *qp, struct rxe_send_wqe *wqe,
			struct u4_swqe *want, struct u4_sge *sges, u32 *inline_len)
{
	static const u32 types_rc[] = { 0, 1, 2, 3, 4, 5, 6, 9, 15 };
	bool ud = qp->xp->type == U4_QPT_UD, rc = qp->xp->type == U4_QPT_RC;
	u8 what = next_byte(s);
	u32 op = ud ? 2 + (what & 1) : types_rc[what % (rc ? 9 : 4)], n, i;

	*inline_len = 0;
	wqe->wr.wr_id = want->wr_id = next_u64(s);
	wqe->wr.opcode = op;
	wqe->wr.send_flags = next_byte(s) & 7;
	wqe->wr.ex.imm_data = want->imm = next_u32(s);
	want->num_sge = 0;
	want->len = 0;
	want->raddr = IOVA + next_u16(s);
	want->rkey = next_u32(s);
	if (op == 5 || op == 6) {
		wqe->wr.wr.atomic.remote_addr = want->raddr;
		wqe->wr.wr.atomic.rkey = want->rkey;
		wqe->wr.wr.atomic.compare_add = want->atomic.compare_add = next_u64(s);
		wqe->wr.wr.atomic.swap = want->atomic.swap = next_u64(s);
	} else if (!ud) {
		wqe->wr.wr.rdma.remote_addr = want->raddr;
		wqe->wr.wr.rdma.rkey = want->rkey;
	}
	if (op == 15) {
		*inline_len = 8;
		next_bytes(s, wqe->dma.inline_data, 8);
		want->len = 8;
		return;
	}
	if (what & 128 && op < 4 && qp->cap.max_inline_data) {
		wqe->wr.send_flags |= IB_SEND_INLINE;
		*inline_len = want->len = wqe->dma.length =
			next_u16(s) % (qp->cap.max_inline_data + 1);
		memset(wqe->dma.inline_data, what, *inline_len);
		return;
	}
	n = qp->cap.max_send_sge ? next_byte(s) % (qp->cap.max_send_sge + 1) : 0;
	if (op == 5 || op == 6)
		n = min(n, 1u);
	wqe->dma.num_sge = n;
	for (i = 0; i < n; i++) {
		struct rxe_sge *sge = &wqe->dma.sge[i];

		sge->addr = IOVA + next_u16(s);
		sge->length = op == 5 || op == 6 ? 8 : next_byte(s) & 127;
		sge->lkey = host[0].mr.key;
		if (!sge->length)
			continue;
		sges[want->num_sge].addr = sge->addr;
		sges[want->num_sge].len = sge->length;
		sges[want->num_sge++].lkey = sge->lkey;
		want->len += sge->length;
	}
	wqe->dma.length = want->len;
}

static bool op_allowed(const struct u4_qp *xp, u8 op)
{
	if (xp->type == U4_QPT_UD)
		return op == U4_WR_SEND;
	if (xp->type == U4_QPT_UC)
		return op == U4_WR_SEND || op == U4_WR_WRITE || op == U4_WR_LOCAL_INV ||
		       op == U4_WR_BIND_MW;
	return op <= U4_WR_BIND_MW && op != U4_WR_REG_MR;
}

static void check_taken(const struct u4_ibqp *qp, const struct u4_swqe *wqe)
{
	u64 sum = 0;
	u32 i;

	/* What is wrong may hold anything, but a status. */
	CHECK(wqe->status <= U4_RNR_RETRY_EXC_ERR, "status %u", wqe->status);
	if (wqe->status)
		return;
	CHECK(op_allowed(qp->xp, wqe->op), "operation %u on a queue pair of type %u", wqe->op,
	      qp->xp->type);
	CHECK(wqe->len <= U4_MAX_MSG, "%u bytes", wqe->len);
	if (wqe->flags & U4_WRF_INLINE) {
		CHECK(!wqe->num_sge && wqe->len <= qp->cap.max_inline_data, "%u bytes inline",
		      wqe->len);
		return;
	}
	CHECK(wqe->num_sge <= qp->cap.max_send_sge, "%u pieces", wqe->num_sge);
	for (i = 0; i < wqe->num_sge; i++) {
		CHECK(wqe->sge[i].len, "an empty piece");
		sum += wqe->sge[i].len;
	}
	CHECK(sum == wqe->len, "pieces make up %llu of %u bytes", (unsigned long long)sum, wqe->len);
}

/*
 * One request into a quiet ring, then the doorbell. An honest one arrives as it is; of one
 * that has a field spoiled nothing gets through that is beyond the limits.
 */
static void post_one(struct script *s, struct u4_ibqp *qp, bool spoiled)
{
	u8 bytes[208 + U4_MAX_INLINE + 16] = {};
	struct rxe_send_wqe *wqe = (void *)bytes;
	struct u4_sge sges[U4_MAX_SGE];
	struct u4_swqe want = {};
	const struct u4_swqe *got;
	u32 inline_len, status = U4_OK, slot = 1u << qp->sq.shift;
	u32 quiet = races;

	if (u4_sq_next(qp->xp) == NULL || qp->xp->state != U4_QPS_RTS)
		return;
	races = 0;
	honest_send(s, qp, wqe, &want, sges, &inline_len);
	CHECK(slot <= sizeof(bytes) || inline_len <= U4_MAX_INLINE, "slot of %u bytes", slot);
	if (spoiled) {
		u32 value = next_byte(s), at = value & 1 ? next_byte(s) % 52 : 0;

		if (at)
			memcpy(bytes + 4 * at, &value, 4);
		else
			wqe->dma.num_sge = value;
	}
	memcpy(u4_queue_slot(&qp->sq, qp->sq.index), bytes, min(slot, (u32)sizeof(bytes)));
	qp->sq.buf->producer_index = (qp->sq.index + 1) & qp->sq.mask;
	if (qp->xp->type == U4_QPT_UD)
		status = U4_LOC_QP_OP_ERR;	/* there is no address handle */
	else if ((wqe->wr.opcode == 5 || wqe->wr.opcode == 6) && want.len != 8)
		status = U4_LOC_LEN_ERR;
	else if (wqe->wr.opcode == 15 && qp->cap.max_inline_data < 8)
		status = U4_LOC_LEN_ERR;
	u4_sq_lock(qp->xp);
	u4_send_take_user(qp);
	got = u4_sq_at(qp->xp, qp->xp->sq_prod - 1);
	if (spoiled) {
		check_taken(qp, got);
		goto run;
	}
	CHECK(got->wr_id == want.wr_id, "another request");
	CHECK(got->status == status, "an honest request has status %u, not %u (op %u)", got->status,
	      status, wqe->wr.opcode);
	if (!status) {
		check_taken(qp, got);
		CHECK(got->len == want.len && got->num_sge == want.num_sge, "length");
		CHECK(!memcmp(got->sge, sges, want.num_sge * sizeof(sges[0])), "pieces");
		CHECK(!inline_len || !memcmp(got->data, wqe->dma.inline_data, inline_len), "inline");
		CHECK(wqe->wr.opcode == 2 || wqe->wr.opcode == 3 || wqe->wr.opcode == 9 ||
		      (got->raddr == want.raddr && got->rkey == want.rkey), "remote address");
		CHECK(got->op != U4_WR_CMP_SWAP || got->atomic.swap == want.atomic.swap, "operand");
	}
run:
	u4_sq_run(qp->xp);
	u4_sq_unlock(qp->xp);
	races = quiet;
}

static void ring_doorbell(struct u4_ibqp *qp)
{
	u32 from, i;

	if (qp->xp->state < U4_QPS_RTS)
		return;
	u4_sq_lock(qp->xp);
	from = qp->xp->sq_prod;
	u4_send_take_user(qp);
	CHECK(qp->xp->sq_prod - from <= qp->sq.mask, "more than a turn of the ring");
	for (i = from; i != qp->xp->sq_prod; i++)
		check_taken(qp, u4_sq_at(qp->xp, i));
	u4_sq_run(qp->xp);
	u4_sq_unlock(qp->xp);
}

/* A message arrives: the next receive is taken, and completes. */
static void take_receive(struct script *s, struct u4_ibqp *qp)
{
	struct u4_recv recv = { .len = next_byte(s), .imm = 5, .src_qpn = 7 };
	struct u4_rwqe *rwqe = malloc(sizeof(*rwqe));
	u64 sum = 0;
	u32 i;
	int err;

	memset(rwqe, 0xee, sizeof(*rwqe));
	err = u4_recv_next(qp->xp, rwqe);
	if (!err) {
		CHECK(rwqe->num_sge <= qp->rq->max_sge && rwqe->num_sge <= U4_MAX_SGE, "%u pieces",
		      rwqe->num_sge);
		for (i = 0; i < rwqe->num_sge; i++) {
			CHECK(rwqe->sge[i].len, "an empty piece");
			sum += rwqe->sge[i].len;
		}
		CHECK(rwqe->len == min(sum, (u64)U32_MAX), "pieces make up another length");
	}
	CHECK(!err || err == -ENOENT || err == -EINVAL, "a receive gives %d", err);
	if (err != -ENOENT) {
		recv.wr_id = rwqe->wr_id;
		recv.status = err ? U4_LOC_QP_OP_ERR : U4_OK;
		recv.flags = next_byte(s);
		u4_recv_done(qp->xp, &recv);
	}
	free(rwqe);
}

/* One completion into a quiet ring comes out as it went in, or the queue has overflowed. */
static void complete_one(struct script *s, struct u4_cq *cq, struct ib_qp *ib)
{
	struct ib_wc wc = { .wr_id = next_u64(s), .status = next_byte(s) % 14, .byte_len = 9,
			    .qp = ib, .port_num = 1 };
	u32 index = cq->queue.index, quiet = races;
	const struct ib_uverbs_wc *slot;
	bool full;

	races = 0;
	full = ((index + 1) & cq->queue.mask) == u4_queue_consumer(&cq->queue);
	u4_cq_push(cq, &wc, next_byte(s) & 1);
	slot = u4_queue_slot(&cq->queue, index);
	if (full) {
		CHECK(cq->overflowed && cq->queue.index == index, "a full queue took one more");
	} else {
		CHECK(slot->wr_id == wc.wr_id && slot->status == wc.status &&
		      slot->qp_num == ib->qp_num, "a completion is another one");
		CHECK(cq->queue.index == ((index + 1) & cq->queue.mask) &&
		      cq->queue.buf->producer_index == cq->queue.index, "producer index");
	}
	races = quiet;
}

static void resize(struct script *s)
{
	u8 what = next_byte(s);
	u32 to = 1 + next_byte(s), index;
	int err;

	if (what & 1) {
		struct rxe_resize_cq_resp resp = {};
		struct ib_udata udata = { .out = &resp, .outlen = sizeof(resp) };
		struct u4_cq *cq = &cqs[what >> 1 & 1];

		index = cq->queue.mask;
		err = u4_resize_cq(&cq->ib, to, &udata);
		CHECK(err || (u32)cq->ib.cqe >= to, "a smaller CQ than asked for");
		CHECK(!err || cq->queue.mask == index, "a failed resize changed the queue");
		CHECK(cq->queue.index <= cq->queue.mask, "index beyond the ring");
	} else if (srq_there) {
		struct mminfo mi = {};
		struct rxe_modify_srq_cmd cmd = { (uintptr_t)&mi };
		struct ib_udata udata = { .in = &cmd, .inlen = sizeof(cmd) };
		struct ib_srq_attr attr = { .max_wr = to, .srq_limit = what >> 2 };

		err = u4_modify_srq(&srq.ib, &attr, IB_SRQ_MAX_WR | (what & 2), &udata);
		CHECK(err || srq.rq.max_wr >= to, "a smaller SRQ than asked for");
		CHECK(srq.rq.queue.index <= srq.rq.queue.mask, "index beyond the ring");
		CHECK(srq.rq.max_wr <= srq.rq.queue.mask, "more requests than room");
	}
	find_rings();
}

static void drop_frames(void)
{
	struct frame *gone;

	while ((gone = rails[0].head)) {
		rails[0].head = gone->next;
		free(gone);
	}
	rails[0].tail = &rails[0].head;
	rails[0].queued = 0;
	wake(&rails[0]);
}

static const struct u4_xp_ops real_ops = {
	.send_done = u4_send_done,
	.recv_next = u4_recv_next,
	.recv_done = u4_recv_done,
	.event = u4_verbs_event,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };
	u32 i;

	shim_context = &context;
	script = &s;
	races = 0;
	num_rings = 0;
	memset(host, 0, sizeof(host));
	memset(rails, 0, sizeof(rails));
	timers = NULL;
	works = NULL;
	jiffies = 1000;
	rng = 1;
	ring = 64;
	hostile = true;
	setup(0);
	host[0].dev.ops = &real_ops;
	host[0].mr.pd = &pd;
	ibdev = calloc(1, sizeof(*ibdev));
	/* The transport lies in u4_vdev, where verbs look for it. */
	ibdev->vdev = container_of(&host[0].dev, struct u4_vdev, xp);
	INIT_LIST_HEAD(&ibdev->qps);
	pd.device = &ibdev->ib;
	make_cq(0, 1 + next_byte(&s) % 40);
	make_cq(1, 1 + next_byte(&s) % 40);
	make_srq(1 + next_byte(&s) % 20, 1 + next_byte(&s) % 32);
	for (i = 0; i < 2; i++)
		make_qp(&s, i);
	find_rings();

	while (s.at < s.end) {
		u8 what = next_byte(&s);
		struct u4_ibqp *qp = &qp_mem[what >> 4 & 3];
		bool there = qp_there[what >> 4 & 3];

		switch (what & 15) {
		case 0:
			races = next_byte(&s);
			break;
		case 1:
		case 2:
		case 3:
			write_somewhere();
			break;
		case 4:
		case 5:
			if (there)
				post_one(&s, qp, what & 128);
			break;
		case 6:
		case 7:
			if (there)
				ring_doorbell(qp);
			break;
		case 8:
		case 9:
			if (there)
				take_receive(&s, qp);
			break;
		case 10:
			if (there)
				complete_one(&s, &cqs[what >> 7], &qp->ib);
			break;
		case 11:
			resize(&s);
			break;
		case 12:
			drop_frames();
			run_timer();
			break;
		case 13:
			while (run_work())
				;
			break;
		case 14:
			if (there && what & 128) {
				u4_destroy_qp(&qp->ib, NULL);
				qp_there[what >> 4 & 3] = false;
			} else if (!there) {
				make_qp(&s, what >> 4 & 3);
			}
			find_rings();
			break;
		case 15:
			u4_req_notify_cq(&cqs[what >> 7].ib, what >> 4 & 7);
			break;
		}
	}
	races = 0;
	while (run_work())
		;
	for (i = 0; i < MAX_QPS_HERE; i++) {
		if (qp_there[i])
			u4_destroy_qp(&qp_mem[i].ib, NULL);
		qp_there[i] = false;
	}
	while (run_work())
		;
	drop_frames();
	u4_destroy_srq(&srq.ib, NULL);
	for (i = 0; i < 2; i++)
		u4_destroy_cq(&cqs[i].ib, NULL);
	cq_there[0] = cq_there[1] = srq_there = false;
	CHECK(!mappings, "%u rings are left", mappings);
	CHECK(!charges, "%u charges are left", charges);
	CHECK(!ibdev->num_cqs.counter && !ibdev->num_srqs.counter, "objects are left");
	CHECK(host[0].mr.ref.frames.counter == 1, "a use count of the region leaked");
	u4_xpdev_cleanup(&host[0].dev);
	u4_xpdev_cleanup(&host[1].dev);
	free(host[0].mem);
	free(host[1].mem);
	free(ibdev);
	return 0;
}
