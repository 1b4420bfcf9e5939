// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queue pairs: making and destroying them, their events, and looking after those
 * of processes that are in error. Changes of state are in qp_modify.c.
 */
#include <linux/slab.h>

#include "verbs.h"

#define U4_SQ_HEADER	offsetof(struct rxe_send_wqe, dma.sge)
#define U4_FLUSH_PERIOD	msecs_to_jiffies(20)

static int u4_qp_type(enum ib_qp_type type, enum u4_qp_type *out)
{
	switch (type) {
	case IB_QPT_RC:
		*out = U4_QPT_RC;
		return 0;
	case IB_QPT_UC:
		*out = U4_QPT_UC;
		return 0;
	case IB_QPT_UD:
		*out = U4_QPT_UD;
		return 0;
	case IB_QPT_GSI:
		*out = U4_QPT_GSI;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int u4_qp_check_init(const struct ib_qp_init_attr *init, struct ib_udata *udata)
{
	const struct ib_qp_cap *cap = &init->cap;

	if (init->create_flags || init->rwq_ind_tbl)
		return -EOPNOTSUPP;
	if (!init->send_cq || !init->recv_cq)
		return -EINVAL;
	if (init->sq_sig_type != IB_SIGNAL_ALL_WR && init->sq_sig_type != IB_SIGNAL_REQ_WR)
		return -EINVAL;
	if (cap->max_send_wr > U4_MAX_WR || cap->max_send_sge > U4_MAX_SGE ||
	    cap->max_inline_data > U4_MAX_INLINE)
		return -EINVAL;
	if (!init->srq && (cap->max_recv_wr > U4_MAX_WR || cap->max_recv_sge > U4_MAX_SGE))
		return -EINVAL;
	if (init->qp_type == IB_QPT_GSI && (udata || init->port_num != U4_PORT))
		return -EINVAL;
	if (udata && udata->outlen < sizeof(struct rxe_create_qp_resp))
		return -EINVAL;
	return 0;
}

/* SGEs and inline data share the room of a slot; tell what there really is. */
static u32 u4_qp_size_sq(struct ib_qp_cap *cap)
{
	u32 space = max_t(u32, cap->max_send_sge * sizeof(struct rxe_sge), cap->max_inline_data);
	u32 slot = roundup_pow_of_two(U4_SQ_HEADER + max_t(u32, space, sizeof(struct rxe_sge)));

	space = slot - U4_SQ_HEADER;
	cap->max_send_sge = min_t(u32, space / sizeof(struct rxe_sge), U4_MAX_SGE);
	cap->max_inline_data = min_t(u32, space, U4_MAX_INLINE);
	cap->max_send_wr = max_t(u32, cap->max_send_wr, 1);
	return slot;
}

static int u4_qp_make_queues(struct u4_ibqp *qp, u32 slot, struct ib_udata *udata,
			     struct rxe_create_qp_resp *resp)
{
	int err;

	if (udata) {
		err = u4_queue_create(&qp->sq, qp->cap.max_send_wr, slot, udata, &resp->sq_mi);
		if (err)
			return err;
		qp->cap.max_send_wr = qp->sq.mask;
	}
	if (!qp->srq) {
		qp->rq = &qp->own_rq;
		err = u4_rq_create(&qp->own_rq, qp->cap.max_recv_wr, qp->cap.max_recv_sge, udata,
				   &resp->rq_mi);
		if (err && udata)
			u4_queue_destroy(&qp->sq);
		qp->cap.max_recv_wr = qp->own_rq.max_wr;
		return err;
	}
	qp->rq = &qp->srq->rq;
	return 0;
}

static void u4_qp_free_queues(struct u4_ibqp *qp)
{
	if (!qp->srq)
		u4_rq_destroy(&qp->own_rq);
	if (qp->user)
		u4_queue_destroy(&qp->sq);
}

int u4_create_qp(struct ib_qp *ib, struct ib_qp_init_attr *init, struct ib_udata *udata)
{
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct u4_ibqp *qp = to_u4_ibqp(ib);
	struct rxe_create_qp_resp resp = {};
	struct u4_qp_init xp = {};
	u32 slot;
	int err;

	err = u4_qp_type(init->qp_type, &xp.type);
	if (!err)
		err = u4_qp_check_init(init, udata);
	if (err)
		return err;

	qp->dev = dev;
	qp->user = udata;
	qp->sig_all = init->sq_sig_type == IB_SIGNAL_ALL_WR;
	qp->scq = to_u4_cq(init->send_cq);
	qp->rcq = to_u4_cq(init->recv_cq);
	qp->srq = init->srq ? to_u4_srq(init->srq) : NULL;
	if (qp->srq) {
		init->cap.max_recv_wr = 0;
		init->cap.max_recv_sge = 0;
	}
	slot = u4_qp_size_sq(&init->cap);
	qp->cap = init->cap;
	mutex_init(&qp->lock);
	INIT_LIST_HEAD(&qp->node);
	INIT_WORK(&qp->run_work, u4_qp_run_work);

	err = u4_qp_make_queues(qp, slot, udata, &resp);
	if (err)
		return err;
	init->cap = qp->cap;

	xp.qpn = xp.type == U4_QPT_GSI ? U4_QPN_GSI : 0;
	xp.kernel = !udata;
	/* A process sees a ring that is full before ours is. */
	xp.sq_depth = udata ? qp->sq.mask + 1 : qp->cap.max_send_wr;
	xp.max_sge = qp->cap.max_send_sge;
	xp.max_inline = qp->cap.max_inline_data;
	xp.pd = ib->pd;
	xp.owner = qp;
	if (udata) {
		err = u4_charge(&qp->charge, u4_qp_sq_bytes(&xp));
		if (err)
			goto err_queues;
	}
	qp->xp = u4_qp_create(&dev->vdev->xp, &xp);
	if (IS_ERR(qp->xp)) {
		err = PTR_ERR(qp->xp);
		goto err_charge;
	}
	ib->qp_num = qp->xp->qpn;
	if (udata) {
		err = ib_copy_to_udata(udata, &resp, sizeof(resp));
		if (err)
			goto err_xp;
	}
	mutex_lock(&dev->qps_lock);
	list_add_tail(&qp->node, &dev->qps);
	mutex_unlock(&dev->qps_lock);
	return 0;

err_xp:
	u4_qp_destroy(qp->xp);
err_charge:
	u4_uncharge(&qp->charge);
err_queues:
	u4_qp_free_queues(qp);
	return err;
}

int u4_destroy_qp(struct ib_qp *ib, struct ib_udata *udata)
{
	struct u4_ibqp *qp = to_u4_ibqp(ib);

	mutex_lock(&qp->dev->qps_lock);
	list_del(&qp->node);
	mutex_unlock(&qp->dev->qps_lock);
	cancel_work_sync(&qp->run_work);
	u4_qp_destroy(qp->xp);
	u4_uncharge(&qp->charge);
	u4_cq_forget(qp->scq, ib);
	u4_cq_forget(qp->rcq, ib);
	u4_qp_free_queues(qp);
	return 0;
}

void u4_qp_run_work(struct work_struct *work)
{
	struct u4_ibqp *qp = container_of(work, struct u4_ibqp, run_work);

	u4_sq_lock(qp->xp);
	u4_sq_run(qp->xp);
	u4_sq_unlock(qp->xp);
	if (u4_qp_ib_state(qp) == IB_QPS_ERR && !qp->srq)
		u4_qp_flush_recv(qp->xp);
}

/*
 * There is no doorbell for receives: those that a process posts to a QP in error
 * are found by looking from time to time, as long as there is such a QP.
 */
void u4_qp_flush_work(struct work_struct *work)
{
	struct u4_ibdev *dev = container_of(work, struct u4_ibdev, flush_work.work);
	bool again = false;
	struct u4_ibqp *qp;

	mutex_lock(&dev->qps_lock);
	list_for_each_entry(qp, &dev->qps, node) {
		if (!qp->user || u4_qp_ib_state(qp) != IB_QPS_ERR || qp->srq)
			continue;
		u4_qp_flush_recv(qp->xp);
		again = true;
		cond_resched();
	}
	mutex_unlock(&dev->qps_lock);
	if (again)
		u4_qp_watch_errors(dev);
}

void u4_qp_watch_errors(struct u4_ibdev *dev)
{
	queue_delayed_work(u4_verbs_wq, &dev->flush_work, U4_FLUSH_PERIOD);
}

void u4_verbs_event(struct u4_qp *xp, enum u4_event event)
{
	static const u8 events[] = {
		[U4_EV_QP_FATAL]	= IB_EVENT_QP_FATAL,
		[U4_EV_QP_REQ_ERR]	= IB_EVENT_QP_REQ_ERR,
		[U4_EV_QP_ACCESS_ERR]	= IB_EVENT_QP_ACCESS_ERR,
		[U4_EV_COMM_EST]	= IB_EVENT_COMM_EST,
		[U4_EV_SQ_DRAINED]	= IB_EVENT_SQ_DRAINED,
		[U4_EV_LAST_WQE]	= IB_EVENT_QP_LAST_WQE_REACHED,
	};
	struct u4_ibqp *qp = xp->owner;
	struct ib_event ib = {
		.device = qp->ib.device,
		.element.qp = &qp->ib,
		.event = events[event],
	};

	if (event == U4_EV_LAST_WQE && !qp->srq) {
		/* Each way into the error state comes by here, and receives may follow it. */
		if (qp->user)
			u4_qp_watch_errors(qp->dev);
		return;		/* the event tells that an SRQ gives this QP nothing any more */
	}
	if (qp->ib.event_handler)
		qp->ib.event_handler(&ib, qp->ib.qp_context);
}
