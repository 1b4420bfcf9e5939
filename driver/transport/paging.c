// SPDX-License-Identifier: GPL-2.0-only
/*
 * Regions whose pages come and go (U4_MR_PAGED): access only while all pages that
 * it needs are there, and fetching those that are not.
 *
 * Frames are handled in softirq, where nobody can wait for a page. So what meets
 * an absent page is put off: a work of the queue pair has the page fetched, and
 * then the requester goes on where it was, or the responder asks for the request
 * again. One fetch for each side of a queue pair is enough, since a side does one
 * thing after the other. Nothing of a paged region is ever sent in place: frames
 * carry copies, so that a page can go at any time.
 */
#include <linux/mm.h>

#include "internal.h"

/* At most so much is fetched ahead of what is needed now. */
#define U4_FAULT_AHEAD	(1u << 20)

bool u4_mr_enter_paged(struct u4_mr *mr, u64 addr, u32 len)
{
	u64 off = addr - mr->iova + mr->offset;
	u64 page = off >> PAGE_SHIFT;

	read_lock(&mr->page_lock);
	for (; len && page <= (off + len - 1) >> PAGE_SHIFT; page++) {
		if (!mr->pages[page]) {
			read_unlock(&mr->page_lock);
			return false;
		}
	}
	/* For sparse, which cannot follow a lock that is held or not: see u4_mr_leave(). */
	__release(&mr->page_lock);
	return true;
}

/* Once it is busy, all but @again belongs to the work. */
int u4_fault_start(struct u4_qp *qp, struct u4_fault *fault, struct u4_mr *mr, u64 addr, u64 len)
{
	if (mr->type != U4_MR_PAGED)
		return -EACCES;
	if (fault->failed && fault->key == mr->key && addr - fault->addr < fault->len) {
		fault->failed = false;
		return -EACCES;
	}
	if (!fault->busy) {
		u4_xp_count(qp->dev, U4_CNT_PAGE_FAULTS, 1);
		fault->failed = false;
		fault->key = mr->key;
		fault->addr = addr;
		fault->len = min_t(u64, len, U4_FAULT_AHEAD);
		fault->busy = true;
		queue_work(qp->dev->fault_wq, &fault->work);
	}
	return -EINPROGRESS;
}

/* Nobody else touches @fault while it is busy. True: it makes sense to try again. */
static bool u4_fault_fetch(struct u4_qp *qp, const struct u4_fault *fault)
{
	struct u4_mr *mr = u4_mr_get(qp->dev, fault->key);
	int ret;

	/* The next access finds out that the key is gone. */
	if (!mr)
		return true;
	ret = mr->type == U4_MR_PAGED ? mr->fault(mr, fault->addr, fault->len) : 0;
	u4_mr_put(mr);
	return !ret;
}

static void u4_fault_sq_work(struct work_struct *work)
{
	struct u4_qp *qp = container_of(work, struct u4_qp, sq_fault.work);
	bool ok = u4_fault_fetch(qp, &qp->sq_fault);
	bool again;

	u4_sq_lock(qp);
	again = qp->sq_fault.again;
	qp->sq_fault.again = false;
	qp->sq_fault.busy = false;
	qp->sq_fault.failed = !ok;
	if (!qp->dead) {
		/* A response was dropped: its request is sent once more. */
		if (again)
			u4_req_restart(qp);
		else
			u4_sq_run(qp);
	}
	u4_sq_unlock(qp);
}

static void u4_fault_rq_work(struct work_struct *work)
{
	struct u4_qp *qp = container_of(work, struct u4_qp, rq_fault.work);
	bool ok = u4_fault_fetch(qp, &qp->rq_fault);
	bool again;

	spin_lock_bh(&qp->rq_lock);
	again = qp->rq_fault.again;
	qp->rq_fault.again = false;
	qp->rq_fault.busy = false;
	qp->rq_fault.failed = !ok;
	if (!qp->dead) {
		if (again)
			u4_rsp_ask_again(qp);
		u4_rsp_run(qp);
	}
	spin_unlock_bh(&qp->rq_lock);
}

void u4_fault_init(struct u4_qp *qp)
{
	INIT_WORK(&qp->sq_fault.work, u4_fault_sq_work);
	INIT_WORK(&qp->rq_fault.work, u4_fault_rq_work);
}

void u4_fault_stop(struct u4_qp *qp)
{
	cancel_work_sync(&qp->sq_fault.work);
	cancel_work_sync(&qp->rq_fault.work);
}
