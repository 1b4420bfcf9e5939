// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receive work requests, of QPs and of SRQs: one ring for both kinds of owner,
 * written by a process or by post_recv, read by the transport as messages come.
 */
#include "verbs.h"

static_assert(offsetof(struct rxe_recv_wqe, dma.sge) == 40, "receive WQE");

int u4_rq_create(struct u4_rq *rq, u32 max_wr, u32 max_sge, struct ib_udata *udata,
		 struct mminfo *mi)
{
	int err;

	spin_lock_init(&rq->lock);
	err = u4_queue_create(&rq->queue, max_wr,
			      offsetof(struct rxe_recv_wqe, dma.sge) +
			      max_sge * sizeof(struct rxe_sge), udata, mi);
	/* What really fits: the user library posts until the ring is full. */
	rq->max_wr = rq->queue.mask;
	rq->max_sge = max_sge;
	return err;
}

void u4_rq_destroy(struct u4_rq *rq)
{
	u4_queue_destroy(&rq->queue);
}

static int u4_rq_post_one(struct u4_rq *rq, const struct ib_recv_wr *wr)
{
	struct u4_queue *q = &rq->queue;
	u32 prod = u4_queue_producer(q);
	struct rxe_recv_wqe *wqe;
	int i;

	if (wr->num_sge < 0 || wr->num_sge > rq->max_sge)
		return -EINVAL;
	if (((prod - q->index) & q->mask) >= READ_ONCE(rq->max_wr))
		return -ENOMEM;
	wqe = u4_queue_slot(q, prod);
	wqe->wr_id = wr->wr_id;
	wqe->dma.num_sge = wr->num_sge;
	for (i = 0; i < wr->num_sge; i++) {
		wqe->dma.sge[i].addr = wr->sg_list[i].addr;
		wqe->dma.sge[i].length = wr->sg_list[i].length;
		wqe->dma.sge[i].lkey = wr->sg_list[i].lkey;
	}
	smp_store_release(&q->buf->producer_index, (prod + 1) & q->mask);
	return 0;
}

/* Kernel owners only. */
int u4_rq_post(struct u4_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad)
{
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(&rq->lock, flags);
	for (; wr; wr = wr->next) {
		err = u4_rq_post_one(rq, wr);
		if (err) {
			*bad = wr;
			break;
		}
	}
	spin_unlock_irqrestore(&rq->lock, flags);
	return err;
}

int u4_post_recv(struct ib_qp *ib, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad)
{
	struct u4_ibqp *qp = to_u4_ibqp(ib);
	enum ib_qp_state state = u4_qp_ib_state(qp);
	int err;

	if (qp->user || qp->srq || state == IB_QPS_RESET) {
		*bad = wr;
		return -EINVAL;
	}
	err = u4_rq_post(&qp->own_rq, wr, bad);
	/* Not from here: the caller may hold a lock that a completion takes. */
	if (u4_qp_ib_state(qp) == IB_QPS_ERR)
		queue_work(system_bh_wq, &qp->run_work);
	return err;
}

/*
 * Copy one request out of the ring, each field once, then check the copy. Empty
 * SGEs are left out, so that their keys don't matter.
 */
static int u4_rq_parse(const struct u4_rq *rq, const struct rxe_recv_wqe *wqe,
		       struct u4_rwqe *rwqe)
{
	u32 num_sge = READ_ONCE(wqe->dma.num_sge);
	u64 len = 0;
	u32 i;

	rwqe->wr_id = READ_ONCE(wqe->wr_id);
	rwqe->num_sge = 0;
	rwqe->len = 0;
	if (num_sge > rq->max_sge)
		return -EINVAL;
	for (i = 0; i < num_sge; i++) {
		struct u4_sge *sge = &rwqe->sge[rwqe->num_sge];

		sge->len = READ_ONCE(wqe->dma.sge[i].length);
		if (!sge->len)
			continue;
		sge->addr = READ_ONCE(wqe->dma.sge[i].addr);
		sge->lkey = READ_ONCE(wqe->dma.sge[i].lkey);
		len += sge->len;
		rwqe->num_sge++;
	}
	/* More room than any message needs is fine. */
	rwqe->len = min_t(u64, len, U32_MAX);
	return 0;
}

int u4_recv_next(struct u4_qp *xp, struct u4_rwqe *rwqe)
{
	struct u4_ibqp *qp = xp->owner;
	struct u4_rq *rq = qp->rq;
	struct u4_queue *q = &rq->queue;
	struct u4_srq *srq = qp->srq;
	bool limit = false;
	unsigned long flags;
	int err;

	/* What is in an SRQ belongs to the other QPs when this one is flushed. */
	if (srq && READ_ONCE(xp->state) == U4_QPS_ERR)
		return -ENOENT;
	spin_lock_irqsave(&rq->lock, flags);
	if (!u4_queue_count(q)) {
		spin_unlock_irqrestore(&rq->lock, flags);
		return -ENOENT;
	}
	err = u4_rq_parse(rq, u4_queue_slot(q, q->index), rwqe);
	q->index = (q->index + 1) & q->mask;
	smp_store_release(&q->buf->consumer_index, q->index);
	if (srq && srq->limit && u4_queue_count(q) < srq->limit) {
		srq->limit = 0;
		limit = true;
	}
	spin_unlock_irqrestore(&rq->lock, flags);

	if (limit && srq->ib.event_handler) {
		struct ib_event event = {
			.device = srq->ib.device,
			.element.srq = &srq->ib,
			.event = IB_EVENT_SRQ_LIMIT_REACHED,
		};

		srq->ib.event_handler(&event, srq->ib.srq_context);
	}
	return err;
}

void u4_recv_done(struct u4_qp *xp, const struct u4_recv *recv)
{
	struct u4_ibqp *qp = xp->owner;
	struct ib_wc wc = {
		.wr_id = recv->wr_id,
		.status = (enum ib_wc_status)recv->status,
		.opcode = recv->write ? IB_WC_RECV_RDMA_WITH_IMM : IB_WC_RECV,
		.byte_len = recv->len,
		.qp = &qp->ib,
		.src_qp = recv->src_qpn,
		.port_num = U4_PORT,
	};

	if (recv->status) {
		if (qp->user)
			u4_qp_watch_errors(qp->dev);
	} else {
		if (recv->flags & U4_XP_IMM) {
			wc.wc_flags |= IB_WC_WITH_IMM;
			wc.ex.imm_data = (__force __be32)recv->imm;
		} else if (recv->flags & U4_XP_INV) {
			wc.wc_flags |= IB_WC_WITH_INVALIDATE;
			wc.ex.invalidate_rkey = recv->imm;
		}
		if (recv->ud) {
			wc.wc_flags |= IB_WC_GRH | IB_WC_WITH_NETWORK_HDR_TYPE;
			wc.network_hdr_type = recv->flags & U4_XP_NET_V4 ? RDMA_NETWORK_IPV4 :
									   RDMA_NETWORK_IPV6;
		}
	}
	u4_cq_push(qp->rcq, &wc, recv->flags & U4_XP_SOLICITED);
}
