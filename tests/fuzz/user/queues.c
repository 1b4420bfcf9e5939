// SPDX-License-Identifier: GPL-2.0-only
/* Mapped rings: honest requests, spoiled ones, and anything written anywhere. */
#include <string.h>

#include "box.h"

#define SEND_SGES	offsetof(struct rxe_send_wqe, dma.sge)
#define RECV_SGES	offsetof(struct rxe_recv_wqe, dma.sge)

static volatile u32 *producer(const struct ring *ring)
{
	return (volatile u32 *)(ring->base + offsetof(struct rxe_queue_buf, producer_index));
}

static volatile u32 *consumer(const struct ring *ring)
{
	return (volatile u32 *)(ring->base + offsetof(struct rxe_queue_buf, consumer_index));
}

static void put(const struct ring *ring, const void *wqe, size_t len)
{
	u32 index = *producer(ring);
	u8 *at = ring->base + offsetof(struct rxe_queue_buf, data) +
		 (size_t)(index & ring->mask) * ring->slot;

	memcpy(at, wqe, len < ring->slot ? len : ring->slot);
	__sync_synchronize();
	*producer(ring) = mischief(32) ? absurd() : (index + 1 + (mischief(16) ? rnd(20) : 0)) &
							(chance(2) ? ring->mask : ~0u);
	COUNT(wqes);
}

/* A piece of a region, mostly within it. */
static u32 piece(struct box *box, struct rxe_sge *sge, u32 len)
{
	struct thing *mr = thing_any(box, MR);

	memset(sge, 0, sizeof(*sge));
	if (!mr)
		return 0;
	if (mr->len && !chance(16))
		len = len > mr->len ? mr->len : len;
	sge->addr = mr->addr + (mr->len > len ? rnd(mr->len - len) : 0);
	sge->length = len;
	sge->lkey = mr->lkey;
	if (chance(64))
		sge->addr += absurd();
	if (chance(64)) {	/* another process's */
		sge->addr = shared->canary_addr;
		sge->lkey = shared->canary_lkey;
	}
	return len;
}

static void remote(struct box *box, const struct thing *qp, u64 *addr, u32 *rkey)
{
	struct thing *mr = thing_any(box, MR);

	if (chance(16)) {
		*addr = shared->canary_addr;
		*rkey = shared->canary_rkey;
	} else if (qp->rkey && chance(2)) {	/* the other host's */
		*addr = qp->addr;
		*rkey = qp->rkey;
	} else if (mr) {
		*addr = mr->addr;
		*rkey = mr->rkey;
	}
}

static void send_wqe(struct box *box, const struct thing *qp, u8 *bytes, size_t *len)
{
	static const u32 sizes[] = { 0, 1, 8, 64, 4000, 4096, 4097, 20000 };
	struct rxe_send_wqe *wqe = (void *)bytes;
	u32 n = rnd(4), i, op = rnd(7), total = 0;
	struct thing *mw = thing_any(box, MW), *ah = thing_any(box, AH);
	bool ud = qp->type == IB_UVERBS_QPT_UD;

	if (chance(12))
		op = (u32[]){ 8, 9, 10, 14, 15 }[rnd(5)];
	if (ud)
		op = chance(2) ? 2 : 3;
	wqe->wr.wr_id = rng_next();
	wqe->wr.opcode = op;
	wqe->wr.send_flags = 2 | (chance(4) ? rnd(32) : 0);
	wqe->wr.ex.imm_data = rng_next();
	if (ud) {
		struct thing *to = thing_any(box, QP);

		wqe->wr.wr.ud.remote_qpn = chance(8) ? 0xffffff : to ? to->number : 1;
		wqe->wr.wr.ud.remote_qkey = 0x11111111;
		wqe->wr.wr.ud.ah_num = ah ? ah->number : rnd(100);
	} else if (op == 5 || op == 6) {
		remote(box, qp, (u64 *)&wqe->wr.wr.atomic.remote_addr, &wqe->wr.wr.atomic.rkey);
		wqe->wr.wr.atomic.remote_addr &= ~7ull;
	} else if (op == 8 && mw) {	/* bind */
		struct rxe_sge at;

		piece(box, &at, 4096);
		wqe->wr.wr.mw.addr = at.addr;
		wqe->wr.wr.mw.length = at.length;
		wqe->wr.wr.mw.mr_lkey = at.lkey;
		wqe->wr.wr.mw.mw_rkey = mw->rkey;
		wqe->wr.wr.mw.rkey = mw->rkey + rnd(2);
		wqe->wr.wr.mw.access = rnd(32);
		n = 0;
	} else {
		remote(box, qp, (u64 *)&wqe->wr.wr.rdma.remote_addr, &wqe->wr.wr.rdma.rkey);
	}
	if (op == 5 || op == 6) {
		n = 1;
		piece(box, &wqe->dma.sge[0], 8);
	} else {
		for (i = 0; i < n; i++)
			total += piece(box, &wqe->dma.sge[i], sizes[rnd(ud ? 4 : 8)]);
	}
	if (wqe->wr.send_flags & 8)
		total = rnd(100);
	wqe->dma.length = wqe->dma.resid = total;
	wqe->dma.num_sge = n;
	*len = SEND_SGES + 8 * sizeof(struct rxe_sge);
}

void post_one_recv(const struct ring *ring, const struct thing *mr)
{
	u8 bytes[RECV_SGES + sizeof(struct rxe_sge)] = {};
	struct rxe_recv_wqe *wqe = (void *)bytes;

	wqe->dma.num_sge = 1;
	wqe->dma.length = mr->len;
	wqe->dma.sge[0] = (struct rxe_sge){ mr->addr, mr->len, mr->lkey };
	put(ring, bytes, sizeof(bytes));
}

static void recv_wqe(struct box *box, const struct ring *ring)
{
	u8 bytes[RECV_SGES + 8 * sizeof(struct rxe_sge)] = {};
	struct rxe_recv_wqe *wqe = (void *)bytes;
	u32 n = 1 + rnd(3), i;

	wqe->wr_id = rng_next();
	for (i = 0; i < n; i++)
		wqe->dma.length += piece(box, &wqe->dma.sge[i], chance(2) ? 5000 : 20000);
	wqe->dma.num_sge = n;
	if (chance(6))
		spoil(bytes, sizeof(bytes), 1 + rnd(3));
	put(ring, bytes, sizeof(bytes));
}

void post_some(struct box *box)
{
	u8 bytes[SEND_SGES + 8 * sizeof(struct rxe_sge)];
	struct thing *qp = thing_any(box, QP), *srq = thing_any(box, SRQ);
	u32 n = 1 + rnd(6);
	size_t len;

	if (!qp)
		return;
	while (n--) {
		if (qp->recv.base && qp->recv.mask)
			recv_wqe(box, &qp->recv);
		if (srq && srq->ring.mask && chance(2))
			recv_wqe(box, &srq->ring);
		if (!qp->ring.base || !qp->ring.mask)
			continue;
		memset(bytes, 0, sizeof(bytes));
		send_wqe(box, qp, bytes, &len);
		if (chance(4))
			spoil(bytes, len, 1 + rnd(4));
		put(&qp->ring, bytes, len);
	}
	doorbell(box, qp);
}

void reap(struct box *box)
{
	struct thing *cq = thing_any(box, CQ);
	u32 from, to, n = 0;

	if (!cq || !cq->ring.base || !cq->ring.mask)
		return;
	from = *consumer(&cq->ring) & cq->ring.mask;
	to = *producer(&cq->ring) & cq->ring.mask;
	while (from != to && n++ < 64) {
		const volatile struct ib_uverbs_wc *wc =
			(void *)(cq->ring.base + offsetof(struct rxe_queue_buf, data) +
				 (size_t)from * cq->ring.slot);

		COUNT(completions);
		if (!wc->status)
			COUNT(good_completions);
		from = (from + 1) & cq->ring.mask;
	}
	*consumer(&cq->ring) = from;
}

/* Runs in a thread of its own as well, while the kernel reads. */
void scribble(struct box *box)
{
	u32 rings = box->num_rings < MAX_RINGS ? box->num_rings : MAX_RINGS;
	struct ring ring;
	u32 n, limit;

	if (!rings)
		return;
	ring = box->rings[rnd(rings)];
	if (!ring.base || ring.size < 4096)
		return;
	COUNT(scribbles);
	for (n = (u32[]){ 1, 1, 2, 16 }[rnd(4)]; n--;) {
		/* Both indices, the header, a slot that is in use, anything. */
		volatile u32 *word = (volatile u32 *)ring.base;

		switch (rnd(4)) {
		case 0:
			word = chance(2) ? producer(&ring) : consumer(&ring);
			break;
		case 1:
			word += rnd(96);
			break;
		case 2:
			limit = ring.slot * 4 / 4;
			word += 96 + rnd(limit < ring.size / 4 - 96 ? limit : 1);
			break;
		default:
			word += rnd(ring.size / 4);
		}
		*word = chance(3) ? *word ^ 1u << rnd(32) : absurd();
	}
}

void connect_some(struct box *box)
{
	struct thing *one = thing_any(box, QP), *two = thing_any(box, QP);
	u32 fields = chance(12), qpn, rkey;
	u64 addr;

	if (!one || !two)
		return;
	if (one->type != IB_UVERBS_QPT_UD && shared->peer_ip && chance(3)) {
		if (peer_ask(one->number, one->type, &qpn, &addr, &rkey) &&
		    qp_connect(box, one, qpn, shared->peer_gid, fields)) {
			one->addr = addr;
			one->rkey = rkey;
			COUNT(connected_peer);
		}
		return;
	}
	if (qp_connect(box, one, two->number, shared->gid, fields) &&
	    (one == two || qp_connect(box, two, one->number, shared->gid, fields)))
		COUNT(connected);
}
