// SPDX-License-Identifier: GPL-2.0-only
/*
 * Completion queues: a mapped ring for a process, an array of struct ib_wc for
 * the kernel. The kernel owns the producer index; a process's consumer index can
 * only make its own queue overflow.
 */
#include <linux/slab.h>

#include "verbs.h"

static_assert(sizeof(struct ib_uverbs_wc) == 48, "user completion");

static void u4_cq_comp_work(struct work_struct *work)
{
	struct u4_cq *cq = container_of(work, struct u4_cq, comp_work);

	cq->ib.comp_handler(&cq->ib, cq->ib.cq_context);
}

/*
 * Completions come under a QP's lock. The handlers of uverbs and of ib_core's
 * CQ API only queue something; others may post or poll and run on their own.
 */
static void u4_cq_notify(struct u4_cq *cq)
{
	if (!cq->ib.comp_handler)
		return;
	if (cq->user || cq->ib.poll_ctx != IB_POLL_DIRECT)
		cq->ib.comp_handler(&cq->ib, cq->ib.cq_context);
	else
		queue_work(system_bh_wq, &cq->comp_work);
}

/*
 * A completion found no room. Its queue pair does not know what became of its work, and
 * the others of this CQ may be next: all of them end (IBTA 11.6.3.1). Ending them may
 * lose more, but then they have ended.
 */
static void u4_cq_lost_work(struct work_struct *work)
{
	struct u4_cq *cq = container_of(work, struct u4_cq, lost_work);
	struct u4_ibdev *dev = to_u4_ibdev(cq->ib.device);
	struct u4_ibqp *qp;

	mutex_lock(&dev->qps_lock);
	list_for_each_entry(qp, &dev->qps, node)
		if (qp->scq == cq || qp->rcq == cq)
			u4_qp_kill(qp->xp);
	mutex_unlock(&dev->qps_lock);
}

/*
 * A link of ours has no service levels. NICs for RoCE say here which IP header stands in
 * the receive buffer (1: IPv6, 2: IPv4), and UCX finds the GID in it by that.
 */
static u8 u4_wc_l3_type(const struct ib_wc *wc)
{
	if (!(wc->wc_flags & IB_WC_WITH_NETWORK_HDR_TYPE))
		return 0;
	return wc->network_hdr_type == RDMA_NETWORK_IPV4 ? 2 : 1;
}

/* IBV_WC_WITH_INV of libibverbs, which has another bit for it than the kernel. */
#define U4_USER_WC_WITH_INV	BIT(3)

static bool u4_cq_put_user(struct u4_cq *cq, const struct ib_wc *wc)
{
	struct u4_queue *q = &cq->queue;
	u32 next = (q->index + 1) & q->mask;
	struct ib_uverbs_wc *slot;

	if (next == u4_queue_consumer(q))
		return false;
	slot = u4_queue_slot(q, q->index);
	slot->wr_id = wc->wr_id;
	slot->status = wc->status;
	slot->opcode = wc->opcode;
	slot->vendor_err = wc->vendor_err;
	slot->byte_len = wc->byte_len;
	slot->ex.imm_data = wc->ex.imm_data;
	slot->qp_num = wc->qp->qp_num;
	slot->src_qp = wc->src_qp;
	slot->wc_flags = wc->wc_flags & (IB_WC_GRH | IB_WC_WITH_IMM);
	if (wc->wc_flags & IB_WC_WITH_INVALIDATE)
		slot->wc_flags |= U4_USER_WC_WITH_INV;
	slot->pkey_index = 0;
	slot->slid = 0;
	slot->sl = u4_wc_l3_type(wc);
	slot->dlid_path_bits = 0;
	slot->port_num = wc->port_num;
	slot->reserved = 0;
	q->index = next;
	smp_store_release(&q->buf->producer_index, next);
	return true;
}

static bool u4_cq_put_kernel(struct u4_cq *cq, const struct ib_wc *wc)
{
	if (cq->prod - cq->cons > cq->mask)
		return false;
	cq->wcs[cq->prod & cq->mask] = *wc;
	cq->prod++;
	return true;
}

void u4_cq_push(struct u4_cq *cq, const struct ib_wc *wc, bool solicited)
{
	bool overflow = false;
	bool notify = false;
	bool lost = false;
	unsigned long flags;

	spin_lock_irqsave(&cq->lock, flags);
	if (cq->user ? u4_cq_put_user(cq, wc) : u4_cq_put_kernel(cq, wc)) {
		/* An error completion always counts as solicited. */
		if (cq->notify == IB_CQ_NEXT_COMP ||
		    (cq->notify == IB_CQ_SOLICITED && (solicited || wc->status))) {
			cq->notify = 0;
			notify = true;
		}
	} else {
		lost = true;
		overflow = !cq->overflowed;
		cq->overflowed = true;
	}
	spin_unlock_irqrestore(&cq->lock, flags);

	if (notify)
		u4_cq_notify(cq);
	if (lost)
		queue_work(u4_verbs_wq, &cq->lost_work);
	if (overflow && cq->ib.event_handler) {
		struct ib_event event = {
			.device = cq->ib.device,
			.element.cq = &cq->ib,
			.event = IB_EVENT_CQ_ERR,
		};

		cq->ib.event_handler(&event, cq->ib.cq_context);
	}
}

void u4_cq_forget(struct u4_cq *cq, const struct ib_qp *qp)
{
	unsigned long flags;
	u32 from, to;

	if (cq->user)	/* has its own copy, which names the QP by number */
		return;
	spin_lock_irqsave(&cq->lock, flags);
	for (from = to = cq->cons; from != cq->prod; from++)
		if (cq->wcs[from & cq->mask].qp != qp)
			cq->wcs[to++ & cq->mask] = cq->wcs[from & cq->mask];
	cq->prod = to;
	spin_unlock_irqrestore(&cq->lock, flags);
}

int u4_poll_cq(struct ib_cq *ib, int num, struct ib_wc *wc)
{
	struct u4_cq *cq = to_u4_cq(ib);
	unsigned long flags;
	int n = 0;

	if (cq->user)	/* polls its mapped ring */
		return -EINVAL;
	spin_lock_irqsave(&cq->lock, flags);
	while (n < num && cq->cons != cq->prod)
		wc[n++] = cq->wcs[cq->cons++ & cq->mask];
	spin_unlock_irqrestore(&cq->lock, flags);
	return n;
}

static bool u4_cq_empty(const struct u4_cq *cq)
{
	if (cq->user)
		return u4_queue_consumer(&cq->queue) == cq->queue.index;
	return cq->cons == cq->prod;
}

int u4_req_notify_cq(struct ib_cq *ib, enum ib_cq_notify_flags flags)
{
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct u4_cq *cq = to_u4_cq(ib);
	u8 wanted = flags & IB_CQ_SOLICITED_MASK;
	unsigned long irq;
	int missed;

	spin_lock_irqsave(&cq->lock, irq);
	if (cq->notify != IB_CQ_NEXT_COMP)
		cq->notify = wanted;
	missed = (flags & IB_CQ_REPORT_MISSED_EVENTS) && !u4_cq_empty(cq);
	spin_unlock_irqrestore(&cq->lock, irq);

	/* Receives that were posted to a QP in error are seen when we look. */
	if (cq->user && delayed_work_pending(&dev->flush_work))
		mod_delayed_work(u4_verbs_wq, &dev->flush_work, 0);
	return missed;
}

int u4_create_cq(struct ib_cq *ib, const struct ib_cq_init_attr *attr,
		 struct uverbs_attr_bundle *attrs)
{
	struct ib_udata *udata = attrs ? &attrs->driver_udata : NULL;
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct rxe_create_cq_resp resp = {};
	struct u4_cq *cq = to_u4_cq(ib);
	int err;

	if (attr->flags)
		return -EOPNOTSUPP;
	if (!attr->cqe || attr->cqe > U4_MAX_CQE)
		return -EINVAL;
	if (udata && udata->outlen < sizeof(resp))
		return -EINVAL;
	if (!u4_take(&dev->num_cqs, U4_MAX_CQS))
		return -ENOMEM;

	spin_lock_init(&cq->lock);
	mutex_init(&cq->resize_lock);
	INIT_WORK(&cq->comp_work, u4_cq_comp_work);
	INIT_WORK(&cq->lost_work, u4_cq_lost_work);
	cq->user = udata;
	if (udata) {
		err = u4_queue_create(&cq->queue, attr->cqe, sizeof(struct ib_uverbs_wc), udata,
				      &resp.mi);
		if (err)
			goto err_count;
		err = ib_copy_to_udata(udata, &resp, sizeof(resp));
		if (err)
			goto err_queue;
		ib->cqe = cq->queue.mask;
	} else {
		cq->mask = roundup_pow_of_two(attr->cqe) - 1;
		cq->wcs = kvcalloc(cq->mask + 1, sizeof(*cq->wcs), GFP_KERNEL);
		err = -ENOMEM;
		if (!cq->wcs)
			goto err_count;
		ib->cqe = cq->mask + 1;
	}
	return 0;

err_queue:
	u4_queue_destroy(&cq->queue);
err_count:
	atomic_dec(&dev->num_cqs);
	return err;
}

#ifdef U4_HAVE_RESIZE_USER_CQ
int u4_resize_cq(struct ib_cq *ib, unsigned int cqe, struct ib_udata *udata)
#else
int u4_resize_cq(struct ib_cq *ib, int cqe, struct ib_udata *udata)
#endif
{
	struct rxe_resize_cq_resp resp = {};
	struct u4_cq *cq = to_u4_cq(ib);
	struct u4_queue new;
	int err;

	if (!cq->user || !udata)
		return -EOPNOTSUPP;
	if (cqe < 1 || cqe > U4_MAX_CQE || udata->outlen < sizeof(resp))
		return -EINVAL;
	err = u4_queue_create(&new, cqe, sizeof(struct ib_uverbs_wc), udata, &resp.mi);
	if (err)
		return err;
	err = ib_copy_to_udata(udata, &resp, sizeof(resp));
	if (err)
		goto err_queue;

	mutex_lock(&cq->resize_lock);
	err = u4_queue_replace(&cq->queue, &new, &cq->lock, cqe, true);
	if (!err)
		ib->cqe = cq->queue.mask;
	mutex_unlock(&cq->resize_lock);
	if (err == -ENOBUFS)
		err = -EINVAL;
err_queue:
	/* The old ring now, unless it stays. */
	u4_queue_destroy(&new);
	return err;
}

/* ib_core destroys a CQ after all QPs that complete into it. */
int u4_destroy_cq(struct ib_cq *ib, struct ib_udata *udata)
{
	struct u4_cq *cq = to_u4_cq(ib);

	cancel_work_sync(&cq->comp_work);
	cancel_work_sync(&cq->lost_work);
	if (cq->user)
		u4_queue_destroy(&cq->queue);
	else
		kvfree(cq->wcs);
	mutex_destroy(&cq->resize_lock);
	atomic_dec(&to_u4_ibdev(ib->device)->num_cqs);
	return 0;
}
