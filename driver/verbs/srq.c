// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared receive queues: making, resizing and the limit event. The requests
 * themselves are in recv.c.
 */
#include "verbs.h"

int u4_create_srq(struct ib_srq *ib, struct ib_srq_init_attr *init, struct ib_udata *udata)
{
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct rxe_create_srq_resp resp = {};
	struct ib_srq_attr *attr = &init->attr;
	struct u4_srq *srq = to_u4_srq(ib);
	int err;

	if (init->srq_type != IB_SRQT_BASIC)
		return -EOPNOTSUPP;
	if (!attr->max_wr || attr->max_wr > U4_MAX_WR || !attr->max_sge ||
	    attr->max_sge > U4_MAX_SGE || attr->srq_limit > attr->max_wr)
		return -EINVAL;
	if (udata && udata->outlen < sizeof(resp))
		return -EINVAL;
	if (!u4_take(&dev->num_srqs, U4_MAX_SRQS))
		return -ENOMEM;

	srq->user = udata;
	srq->limit = attr->srq_limit;
	mutex_init(&srq->resize_lock);
	err = u4_rq_create(&srq->rq, attr->max_wr, attr->max_sge, udata, &resp.mi);
	if (err)
		goto err_count;
	attr->max_wr = srq->rq.max_wr;
	if (udata) {
		srq->num = srq->rq.queue.map->rdma.start_pgoff;
		resp.srq_num = srq->num;
		err = ib_copy_to_udata(udata, &resp, sizeof(resp));
		if (err)
			goto err_rq;
	}
	return 0;

err_rq:
	u4_rq_destroy(&srq->rq);
err_count:
	atomic_dec(&dev->num_srqs);
	return err;
}

static int u4_srq_resize(struct u4_srq *srq, u32 max_wr, struct ib_udata *udata)
{
	struct rxe_modify_srq_cmd cmd = {};
	struct u4_rq new = {};
	struct mminfo mi = {};
	u32 before;
	int err;

	if (udata) {
		if (udata->inlen < sizeof(cmd))
			return -EINVAL;
		err = ib_copy_from_udata(&cmd, udata, sizeof(cmd));
		if (err)
			return err;
	}
	err = u4_rq_create(&new, max_wr, srq->rq.max_sge, udata, &mi);
	if (err)
		return err;
	if (udata && copy_to_user(u64_to_user_ptr(cmd.mmap_info_addr), &mi, sizeof(mi))) {
		err = -EFAULT;
		goto out;
	}

	mutex_lock(&srq->resize_lock);
	/* What is posted meanwhile must fit in either ring. */
	before = srq->rq.max_wr;
	WRITE_ONCE(srq->rq.max_wr, min(before, new.max_wr));
	err = u4_queue_replace(&srq->rq.queue, &new.queue, &srq->rq.lock, max_wr, false);
	WRITE_ONCE(srq->rq.max_wr, err ? before : new.max_wr);
	mutex_unlock(&srq->resize_lock);
	if (err == -ENOBUFS)
		err = -EINVAL;
out:
	/* The old ring now, unless it stays. */
	u4_rq_destroy(&new);
	return err;
}

int u4_modify_srq(struct ib_srq *ib, struct ib_srq_attr *attr, enum ib_srq_attr_mask mask,
		  struct ib_udata *udata)
{
	struct u4_srq *srq = to_u4_srq(ib);
	u32 max_wr = mask & IB_SRQ_MAX_WR ? attr->max_wr : READ_ONCE(srq->rq.max_wr);
	unsigned long flags;
	int err;

	if (mask & ~(IB_SRQ_MAX_WR | IB_SRQ_LIMIT))
		return -EINVAL;
	if ((mask & IB_SRQ_MAX_WR) && (!max_wr || max_wr > U4_MAX_WR))
		return -EINVAL;
	if ((mask & IB_SRQ_LIMIT) && attr->srq_limit > max_wr)
		return -EINVAL;
	if (mask & IB_SRQ_MAX_WR) {
		if (!(mask & IB_SRQ_LIMIT) && max_wr < READ_ONCE(srq->limit))
			return -EINVAL;
		err = u4_srq_resize(srq, max_wr, udata);
		if (err)
			return err;
	}
	if (mask & IB_SRQ_LIMIT) {
		spin_lock_irqsave(&srq->rq.lock, flags);
		srq->limit = attr->srq_limit;
		spin_unlock_irqrestore(&srq->rq.lock, flags);
	}
	return 0;
}

int u4_query_srq(struct ib_srq *ib, struct ib_srq_attr *attr)
{
	struct u4_srq *srq = to_u4_srq(ib);

	attr->max_wr = READ_ONCE(srq->rq.max_wr);
	attr->max_sge = srq->rq.max_sge;
	attr->srq_limit = READ_ONCE(srq->limit);
	return 0;
}

int u4_destroy_srq(struct ib_srq *ib, struct ib_udata *udata)
{
	struct u4_srq *srq = to_u4_srq(ib);

	u4_rq_destroy(&srq->rq);
	mutex_destroy(&srq->resize_lock);
	atomic_dec(&to_u4_ibdev(ib->device)->num_srqs);
	return 0;
}

int u4_post_srq_recv(struct ib_srq *ib, const struct ib_recv_wr *wr,
		     const struct ib_recv_wr **bad)
{
	struct u4_srq *srq = to_u4_srq(ib);

	if (srq->user) {
		*bad = wr;
		return -EINVAL;
	}
	return u4_rq_post(&srq->rq, wr, bad);
}
