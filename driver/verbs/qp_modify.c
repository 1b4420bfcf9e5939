// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queue pair attributes and states, by the rules of the InfiniBand specification
 * (ib_core's table of transitions and what each needs).
 */
#include "verbs.h"

static_assert(U4_QPS_RESET == (int)IB_QPS_RESET, "state");
static_assert(U4_QPS_INIT == (int)IB_QPS_INIT, "state");
static_assert(U4_QPS_RTR == (int)IB_QPS_RTR, "state");
static_assert(U4_QPS_RTS == (int)IB_QPS_RTS, "state");
static_assert(U4_QPS_SQD == (int)IB_QPS_SQD, "state");
static_assert(U4_QPS_SQE == (int)IB_QPS_SQE, "state");
static_assert(U4_QPS_ERR == (int)IB_QPS_ERR, "state");

#define U4_QP_ACCESS	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | \
			 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_MW_BIND | IB_ACCESS_FLUSH_GLOBAL)
/* Rights of a QP that no region has, and what only says how a region's memory is kept. */
#define U4_QP_NO_ACCESS	(IB_ACCESS_FLUSH_PERSISTENT | IB_ACCESS_OPTIONAL | IB_ACCESS_ON_DEMAND | \
			 IB_ACCESS_HUGETLB)

/* Values, whatever the state. */
static int u4_qp_check_attr(const struct ib_qp_attr *attr, int mask)
{
	if (mask & ~IB_QP_ATTR_STANDARD_BITS)
		return -EOPNOTSUPP;
	if (mask & IB_QP_ALT_PATH)
		return -EOPNOTSUPP;
	if ((mask & IB_QP_PATH_MIG_STATE) && attr->path_mig_state != IB_MIG_MIGRATED)
		return -EOPNOTSUPP;
	if ((mask & IB_QP_CAP))
		return -EOPNOTSUPP;
	if ((mask & IB_QP_PORT) && attr->port_num != U4_PORT)
		return -EINVAL;
	if ((mask & IB_QP_PKEY_INDEX) && attr->pkey_index)
		return -EINVAL;
	if ((mask & IB_QP_ACCESS_FLAGS) &&
	    (attr->qp_access_flags & ~(U4_QP_ACCESS | U4_QP_NO_ACCESS)))
		return -EOPNOTSUPP;
	if ((mask & IB_QP_PATH_MTU) &&
	    (attr->path_mtu < IB_MTU_256 || attr->path_mtu > IB_MTU_4096))
		return -EINVAL;
	if ((mask & IB_QP_AV) && (!(rdma_ah_get_ah_flags(&attr->ah_attr) & IB_AH_GRH) ||
				  rdma_ah_get_port_num(&attr->ah_attr) != U4_PORT))
		return -EINVAL;
	if ((mask & IB_QP_MAX_QP_RD_ATOMIC) && attr->max_rd_atomic > U4_MAX_RD_ATOMIC)
		return -EINVAL;
	if ((mask & IB_QP_MAX_DEST_RD_ATOMIC) && attr->max_dest_rd_atomic > U4_MAX_RD_ATOMIC)
		return -EINVAL;
	if (((mask & IB_QP_TIMEOUT) && attr->timeout > 31) ||
	    ((mask & IB_QP_RETRY_CNT) && attr->retry_cnt > 7) ||
	    ((mask & IB_QP_RNR_RETRY) && attr->rnr_retry > 7) ||
	    ((mask & IB_QP_MIN_RNR_TIMER) && attr->min_rnr_timer > 31))
		return -EINVAL;
	return 0;
}

/* Fold what @mask names into what is set. */
static void u4_qp_merge(struct ib_qp_attr *to, const struct ib_qp_attr *from, int mask)
{
	if (mask & IB_QP_ACCESS_FLAGS)
		to->qp_access_flags = from->qp_access_flags;
	if (mask & IB_QP_PKEY_INDEX)
		to->pkey_index = from->pkey_index;
	if (mask & IB_QP_PORT)
		to->port_num = from->port_num;
	if (mask & IB_QP_QKEY)
		to->qkey = from->qkey;
	if (mask & IB_QP_AV) {
		to->ah_attr = from->ah_attr;
		to->ah_attr.grh.sgid_attr = NULL;	/* the core keeps the reference */
	}
	if (mask & IB_QP_PATH_MTU)
		to->path_mtu = from->path_mtu;
	if (mask & IB_QP_TIMEOUT)
		to->timeout = from->timeout;
	if (mask & IB_QP_RETRY_CNT)
		to->retry_cnt = from->retry_cnt;
	if (mask & IB_QP_RNR_RETRY)
		to->rnr_retry = from->rnr_retry;
	if (mask & IB_QP_RQ_PSN)
		to->rq_psn = from->rq_psn & U4_PSN_MASK;
	if (mask & IB_QP_MAX_QP_RD_ATOMIC)
		to->max_rd_atomic = from->max_rd_atomic;
	if (mask & IB_QP_MIN_RNR_TIMER)
		to->min_rnr_timer = from->min_rnr_timer;
	if (mask & IB_QP_SQ_PSN)
		to->sq_psn = from->sq_psn & U4_PSN_MASK;
	if (mask & IB_QP_MAX_DEST_RD_ATOMIC)
		to->max_dest_rd_atomic = from->max_dest_rd_atomic;
	if (mask & IB_QP_PATH_MIG_STATE)
		to->path_mig_state = from->path_mig_state;
	if (mask & IB_QP_DEST_QPN)
		to->dest_qp_num = from->dest_qp_num & U4_PSN_MASK;
	if (mask & IB_QP_EN_SQD_ASYNC_NOTIFY)
		to->en_sqd_async_notify = from->en_sqd_async_notify;
}

static void u4_qp_to_xp(struct u4_ibqp *qp, struct u4_qp_attr *xp, bool new_path)
{
	const struct ib_qp_attr *attr = &qp->attr;

	*xp = qp->xp->attr;
	if (new_path)
		xp->loopback = u4_gid_is_ours(qp->ib.device, &attr->ah_attr.grh.dgid);
	xp->dest_qpn = attr->dest_qp_num;
	xp->sq_psn = attr->sq_psn;
	xp->rq_psn = attr->rq_psn;
	xp->qkey = attr->qkey;
	xp->access = attr->qp_access_flags & U4_QP_ACCESS;
	xp->timeout = attr->timeout;
	xp->retry_cnt = attr->retry_cnt;
	xp->rnr_retry = attr->rnr_retry;
	xp->min_rnr_timer = attr->min_rnr_timer;
	xp->max_rd_atomic = attr->max_rd_atomic;
	xp->max_dest_rd_atomic = attr->max_dest_rd_atomic;
}

/* After RESET nothing of what was posted counts. */
static void u4_qp_forget_posted(struct u4_ibqp *qp)
{
	struct u4_queue *q;
	unsigned long flags;

	if (qp->user) {
		u4_sq_lock(qp->xp);
		q = &qp->sq;
		q->index = u4_queue_producer(q);
		qp->sq_done = q->index;
		smp_store_release(&q->buf->consumer_index, q->index);
		u4_sq_unlock(qp->xp);
	}
	if (!qp->srq) {
		spin_lock_irqsave(&qp->own_rq.lock, flags);
		q = &qp->own_rq.queue;
		q->index = u4_queue_producer(q);
		smp_store_release(&q->buf->consumer_index, q->index);
		spin_unlock_irqrestore(&qp->own_rq.lock, flags);
	}
}

int u4_modify_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask, struct ib_udata *udata)
{
	struct u4_ibqp *qp = to_u4_ibqp(ib);
	enum ib_qp_state cur, next;
	struct u4_qp_attr xp;
	int err;

	err = u4_qp_check_attr(attr, mask);
	if (err)
		return err;

	mutex_lock(&qp->lock);
	cur = u4_qp_ib_state(qp);
	next = mask & IB_QP_STATE ? attr->qp_state : cur;
	err = -EINVAL;
	if ((mask & IB_QP_CUR_STATE) && attr->cur_qp_state != cur)
		goto unlock;
	if (!ib_modify_qp_is_ok(cur, next, ib->qp_type, mask))
		goto unlock;

	if (next == IB_QPS_RESET)
		memset(&qp->attr, 0, sizeof(qp->attr));
	else
		u4_qp_merge(&qp->attr, attr, mask);
	u4_qp_to_xp(qp, &xp, mask & IB_QP_AV);
	xp.sqd_notify = (mask & IB_QP_EN_SQD_ASYNC_NOTIFY) && attr->en_sqd_async_notify;
	u4_qp_modify(qp->xp, &xp, (enum u4_qp_state)next);
	if (next == IB_QPS_RESET)
		u4_qp_forget_posted(qp);
	if (next == IB_QPS_ERR && qp->user)
		u4_qp_watch_errors(qp->dev);
	err = 0;
unlock:
	mutex_unlock(&qp->lock);
	return err;
}

int u4_query_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
		struct ib_qp_init_attr *init)
{
	struct u4_ibqp *qp = to_u4_ibqp(ib);

	mutex_lock(&qp->lock);
	*attr = qp->attr;
	attr->qp_state = u4_qp_ib_state(qp);
	attr->cur_qp_state = attr->qp_state;
	attr->sq_draining = attr->qp_state == IB_QPS_SQD &&
			    READ_ONCE(qp->xp->sq_told) != READ_ONCE(qp->xp->sqd_limit);
	attr->cap = qp->cap;
	mutex_unlock(&qp->lock);

	init->event_handler = ib->event_handler;
	init->qp_context = ib->qp_context;
	init->send_cq = ib->send_cq;
	init->recv_cq = ib->recv_cq;
	init->srq = ib->srq;
	init->cap = qp->cap;
	init->sq_sig_type = qp->sig_all ? IB_SIGNAL_ALL_WR : IB_SIGNAL_REQ_WR;
	init->qp_type = ib->qp_type;
	return 0;
}
