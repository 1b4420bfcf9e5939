// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a queue pair: making, modifying, failing, destroying.
 *
 * A QP is found under RCU by its number. u4_qp_destroy() marks it dead under both
 * locks and takes it out of the table; whoever finds it meanwhile sees the mark when
 * it has the lock. So destroying waits for our own ring, and never for the peer.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "internal.h"

static atomic64_t u4_qp_serial = ATOMIC64_INIT(0);

/* Flushes and events that could not be done under the lock where they arose. */
static void u4_qp_work(struct work_struct *work)
{
	struct u4_qp *qp = container_of(work, struct u4_qp, work);
	unsigned int event;

	spin_lock_bh(&qp->rq_lock);
	if (!qp->dead && u4_qp_state(qp) == U4_QPS_ERR)
		u4_rsp_flush(qp);
	spin_unlock_bh(&qp->rq_lock);

	u4_sq_lock(qp);
	if (!qp->dead && u4_qp_state(qp) == U4_QPS_ERR)
		u4_req_flush(qp);
	u4_sq_unlock(qp);

	for (event = 0; event <= U4_EV_LAST_WQE; event++)
		if (test_and_clear_bit(event, &qp->events))
			qp->dev->ops->event(qp, event);
}

void u4_qp_event(struct u4_qp *qp, enum u4_event event)
{
	set_bit(event, &qp->events);
	queue_work(qp->dev->wq, &qp->work);
}

void u4_qp_fail(struct u4_qp *qp)
{
	if (xchg(&qp->state, U4_QPS_ERR) == U4_QPS_ERR)
		return;
	u4_qp_event(qp, U4_EV_LAST_WQE);
}

struct u4_qp *u4_qp_find(struct u4_xpdev *dev, u32 qpn)
{
	struct u4_qp *qp = rcu_dereference(dev->near_qps[qpn & (U4_NEAR - 1)]);

	return qp && qp->qpn == qpn ? qp : xa_load(&dev->qps, qpn);
}

static u32 u4_qp_sq_depth(const struct u4_qp_init *init)
{
	return roundup_pow_of_two(init->sq_depth);
}

static u32 u4_qp_sq_stride(const struct u4_qp_init *init)
{
	size_t tail = max(init->max_sge * sizeof(struct u4_sge), (size_t)init->max_inline);

	return ALIGN(sizeof(struct u4_swqe) + tail, 64);
}

size_t u4_qp_sq_bytes(const struct u4_qp_init *init)
{
	return array_size(u4_qp_sq_depth(init), u4_qp_sq_stride(init));
}

struct u4_qp *u4_qp_create(struct u4_xpdev *dev, const struct u4_qp_init *init)
{
	struct u4_qp *qp;
	int ret;

	if (!init->sq_depth || init->sq_depth > 32768 || init->max_sge > U4_MAX_SGE ||
	    init->max_inline > U4_MAX_INLINE)
		return ERR_PTR(-EINVAL);
	if (atomic_inc_return(&dev->num_qps) > dev->max_qps) {
		ret = -ENOMEM;
		goto err_count;
	}
	ret = -ENOMEM;
	qp = kzalloc(sizeof(*qp), GFP_KERNEL_ACCOUNT);
	if (!qp)
		goto err_count;

	qp->dev = dev;
	qp->owner = init->owner;
	qp->pd = init->pd;
	qp->type = init->type;
	qp->kernel = init->kernel;
	qp->serial = atomic64_inc_return(&u4_qp_serial);
	INIT_WORK(&qp->work, u4_qp_work);
	u4_req_init(qp);
	u4_rsp_init(qp);
	u4_fault_init(qp);

	qp->sq_mask = u4_qp_sq_depth(init) - 1;
	qp->sq_stride = u4_qp_sq_stride(init);
	qp->sq = kvzalloc(u4_qp_sq_bytes(init), GFP_KERNEL_ACCOUNT);
	if (!qp->sq)
		goto err_qp;

	if (init->qpn) {
		qp->qpn = init->qpn;
		ret = xa_insert(&dev->qps, qp->qpn, qp, GFP_KERNEL_ACCOUNT);
	} else {
		/* Known before anyone can find it: the number is part of what frames carry. */
		ret = xa_alloc_cyclic(&dev->qps, &qp->qpn, NULL,
				      XA_LIMIT(U4_QPN_FIRST, U4_QPN_MULTICAST - 1),
				      &dev->next_qpn, GFP_KERNEL_ACCOUNT);
		if (ret >= 0)
			ret = xa_err(xa_store(&dev->qps, qp->qpn, qp, GFP_KERNEL_ACCOUNT));
	}
	if (ret < 0)
		goto err_sq;
	rcu_assign_pointer(dev->near_qps[qp->qpn & (U4_NEAR - 1)], qp);
	return qp;

err_sq:
	kvfree(qp->sq);
err_qp:
	kfree(qp);
err_count:
	atomic_dec(&dev->num_qps);
	return ERR_PTR(ret);
}

/*
 * The memory of requests that were forgotten is the consumer's again: wait for the ring that
 * reads it, but not for one that stands still, which is reset before long.
 */
static void u4_qp_wait_ring(struct u4_qp *qp)
{
	unsigned long end = jiffies + U4_RING_WAIT;
	bool reads;

	for (;;) {
		u4_sq_lock(qp);
		reads = u4_req_ring_reads(qp);
		u4_sq_unlock(qp);
		if (!reads || time_after(jiffies, end))
			return;
		usleep_range(100, 200);
	}
}

void u4_qp_destroy(struct u4_qp *qp)
{
	struct u4_xpdev *dev = qp->dev;

	/* Still in the table, so that a rail that goes is forgotten here, too. */
	spin_lock_bh(&qp->rq_lock);
	spin_lock(&qp->sq_lock);
	qp->dead = true;
	WRITE_ONCE(qp->state, U4_QPS_RESET);
	spin_unlock(&qp->sq_lock);
	spin_unlock_bh(&qp->rq_lock);
	u4_qp_wait_ring(qp);
	u4_sq_lock(qp);
	qp->tx_rail = NULL;
	u4_sq_unlock(qp);

	xa_erase(&dev->qps, qp->qpn);
	cmpxchg(&dev->near_qps[qp->qpn & (U4_NEAR - 1)], RCU_INITIALIZER(qp), NULL);
	u4_mc_leave(qp);
	u4_req_stop(qp);
	u4_fault_stop(qp);
	u4_rail_unwait(&qp->rq_waiter);
	cancel_work_sync(&qp->work);
	kvfree(qp->sq);
	kfree_rcu(qp, rcu);
	atomic_dec(&dev->num_qps);
}

void u4_qp_modify(struct u4_qp *qp, const struct u4_qp_attr *attr, enum u4_qp_state state)
{
	enum u4_qp_state old;

	spin_lock_bh(&qp->rq_lock);
	spin_lock(&qp->sq_lock);
	old = qp->state;
	/* It failed since verbs looked: only RESET leads out of that. */
	if (old == U4_QPS_ERR && state != U4_QPS_RESET)
		state = U4_QPS_ERR;
	qp->attr = *attr;
	switch (state) {
	case U4_QPS_RESET:
		qp->life++;
		u4_req_reset(qp, 0);
		u4_rsp_reset(qp);
		break;
	case U4_QPS_RTR:
		if (old != U4_QPS_RTR)
			u4_rsp_reset(qp);
		break;
	case U4_QPS_RTS:
		if (old == U4_QPS_RTR) {
			/* What was posted early keeps its place; only the numbers start here. */
			qp->una_psn = attr->sq_psn;
			qp->next_psn = attr->sq_psn;
			qp->max_psn = attr->sq_psn;
		}
		break;
	case U4_QPS_SQD:
		if (old == U4_QPS_SQD)
			break;
		qp->sqd_told = !attr->sqd_notify;
		/* What was begun is ended, also what is on its way to be sent again. */
		qp->sqd_limit = qp->sq_cur;
		while (qp->sqd_limit != qp->sq_prod && u4_sq_at(qp, qp->sqd_limit)->tx.sent)
			qp->sqd_limit++;
		break;
	default:
		break;
	}
	WRITE_ONCE(qp->state, state);
	if (state == U4_QPS_ERR) {
		u4_req_flush(qp);
		spin_unlock(&qp->sq_lock);
		u4_rsp_flush(qp);
		spin_unlock_bh(&qp->rq_lock);
		if (old != U4_QPS_ERR)
			u4_qp_event(qp, U4_EV_LAST_WQE);
		return;
	}
	u4_sq_run(qp);
	spin_unlock(&qp->sq_lock);
	spin_unlock_bh(&qp->rq_lock);
	if (state == U4_QPS_RESET)
		u4_qp_wait_ring(qp);
}

void u4_qp_kill(struct u4_qp *qp)
{
	spin_lock_bh(&qp->rq_lock);
	spin_lock(&qp->sq_lock);
	if (!qp->dead && qp->state != U4_QPS_RESET && qp->state != U4_QPS_ERR) {
		u4_qp_fail(qp);
		u4_qp_event(qp, U4_EV_QP_FATAL);
	}
	spin_unlock(&qp->sq_lock);
	spin_unlock_bh(&qp->rq_lock);
	flush_work(&qp->work);
}

void u4_qp_flush_recv(struct u4_qp *qp)
{
	spin_lock_bh(&qp->rq_lock);
	if (!qp->dead && u4_qp_state(qp) == U4_QPS_ERR)
		u4_rsp_flush(qp);
	spin_unlock_bh(&qp->rq_lock);
}
