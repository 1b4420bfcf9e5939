// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory regions that are paged on demand: nothing is pinned at registration. Pages
 * are fetched when the transport needs them and leave when the process's memory
 * changes (unmapped, swapped out, copied on write after a fork).
 *
 * Order of locks: u4_ibmr.fetch, mmap_lock of the process, umem_mutex of the region,
 * u4_mr.page_lock. u4_mr.pages is written under both of the latter.
 *
 * A fetch has ib_core fill the list of the region's page frames, which it does without
 * umem_mutex, and ib_core's look at the notifier's sequence speaks for one fetch only: of
 * two at once, one may put back what the other has seen leave. So one runs at a time, and
 * the notifier, which waits for no fetch, reads our own list and not that one. The region
 * is the notifier's @private until u4_odp_end(), after which no page comes any more.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "../compat.h"
#include "verbs.h"

#ifdef U4_HAVE_ODP

#include <linux/hmm.h>
#include <rdma/ib_umem_odp.h>

/* Fetched in one go: between two, a signal may end it. */
#define U4_ODP_STEP	(1u << 20)

/* Bytes of tables for a page of a region, ib_core's and the transport's. */
#define U4_ODP_TABLES	(sizeof(unsigned long) + sizeof(struct page *))

/* Under umem_mutex. What was written by the device has to be seen as such by the mm. */
static void u4_odp_drop(struct ib_umem_odp *odp, unsigned long start, unsigned long end)
{
	u32 i = (start - ib_umem_start(odp)) >> PAGE_SHIFT;
	u32 last = i + DIV_ROUND_UP(end - start, PAGE_SIZE);
	struct u4_mr *xp = odp->private;
	struct page *page;

	if (!xp)
		return;
	/* Not by pfn_list: it is filled without a lock, and may name what was never ours. */
	for (; i < last; i++) {
		page = xp->pages[i];
		if (!page)
			continue;
		write_lock_bh(&xp->page_lock);
		xp->pages[i] = NULL;
		write_unlock_bh(&xp->page_lock);
		if (odp->umem.writable)
			set_page_dirty(compound_head(page));
	}
	ib_umem_odp_unmap_dma_pages(odp, start, end);
}

static bool u4_odp_invalidate(struct mmu_interval_notifier *mni,
			      const struct mmu_notifier_range *range, unsigned long seq)
{
	struct ib_umem_odp *odp = container_of(mni, struct ib_umem_odp, notifier);

	if (!mmu_notifier_range_blockable(range))
		return false;
	mutex_lock(&odp->umem_mutex);
	mmu_interval_set_seq(mni, seq);
	u4_odp_drop(odp, max_t(unsigned long, range->start, ib_umem_start(odp)),
		    min_t(unsigned long, range->end, ib_umem_end(odp)));
	mutex_unlock(&odp->umem_mutex);
	return true;
}

static const struct mmu_interval_notifier_ops u4_odp_notifier = {
	.invalidate = u4_odp_invalidate,
};

/*
 * Have the pages of [va, va + len) come; with @fault false only those that the process
 * has at hand.
 */
static int u4_odp_fetch_range(struct u4_ibmr *mr, unsigned long va, size_t len, bool fault)
{
	struct ib_umem_odp *odp = to_ib_umem_odp(mr->umem);
	u64 needed = odp->umem.writable ? HMM_PFN_WRITE : 0;
	unsigned long wanted = HMM_PFN_VALID | needed, pfn;
	struct u4_mr *xp;
	u32 i, end;
	int ret;

	ret = mutex_lock_killable(&mr->fetch);
	if (ret)
		return ret;
	/* Cleared under both mutexes, so this one is enough to read it. */
	xp = odp->private;
	ret = xp ? ib_umem_odp_map_dma_and_lock(odp, va, len, needed, fault) : -EFAULT;
	if (ret < 0)
		goto unlock;
	ret = 0;
	i = (va - ib_umem_start(odp)) >> PAGE_SHIFT;
	end = (va + len - 1 - ib_umem_start(odp)) >> PAGE_SHIFT;
	write_lock_bh(&xp->page_lock);
	for (; i <= end; i++) {
		pfn = READ_ONCE(odp->map.pfn_list[i]);
		if ((pfn & wanted) == wanted)
			xp->pages[i] = hmm_pfn_to_page(pfn);
	}
	write_unlock_bh(&xp->page_lock);
	mutex_unlock(&odp->umem_mutex);
unlock:
	mutex_unlock(&mr->fetch);
	return ret;
}

/* @addr lies in the region; what of @len lies beyond it is left out. */
static int u4_odp_fetch(struct u4_mr *xp, u64 addr, u64 len, bool fault)
{
	struct u4_ibmr *mr = xp->owner;
	u64 off = addr - xp->iova;
	int ret = 0;
	u64 n;

	for (len = min(len, xp->length - off); len && !ret; len -= n, off += n) {
		if (fatal_signal_pending(current))
			return -EINTR;
		n = min_t(u64, len, U4_ODP_STEP);
		ret = u4_odp_fetch_range(mr, mr->umem->address + off, n, fault);
	}
	return ret;
}

static int u4_odp_fault(struct u4_mr *xp, u64 addr, u64 len)
{
	return u4_odp_fetch(xp, addr, len, true);
}

/* The range was checked as for any region. */
struct ib_mr *u4_odp_reg(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access)
{
	struct u4_charge charge;
	struct ib_umem_odp *odp;
	struct u4_ibmr *mr;
	int err;

	/* That the pages are huge would be a promise, and we have no use for it. */
	access &= ~IB_ACCESS_HUGETLB;
	/* First of all: memory that nobody has touched costs its owner nothing, tables do. */
	err = u4_charge(&charge, U4_ODP_TABLES * (PFN_UP(start + length) - PFN_DOWN(start)));
	if (err)
		return ERR_PTR(err);
	odp = ib_umem_odp_get(pd->device, start, length, access, &u4_odp_notifier);
	if (IS_ERR(odp)) {
		u4_uncharge(&charge);
		return ERR_CAST(odp);
	}
	mr = u4_ibmr_alloc(pd, U4_MR_PAGED,
			   (ib_umem_end(odp) - ib_umem_start(odp)) >> PAGE_SHIFT);
	if (IS_ERR(mr)) {
		ib_umem_odp_release(odp);
		u4_uncharge(&charge);
		return ERR_CAST(mr);
	}
	mutex_init(&mr->fetch);
	mr->charge = charge;
	mr->umem = &odp->umem;
	mr->xp->npages = mr->xp->max_pages;
	mr->xp->offset = start & ~PAGE_MASK;
	mr->xp->iova = virt_addr;
	mr->xp->length = length;
	mr->xp->access = access & U4_ACCESS_MASK;
	mr->xp->fault = u4_odp_fault;
	mr->ib.iova = virt_addr;
	mr->ib.length = length;
	mutex_lock(&odp->umem_mutex);
	odp->private = mr->xp;
	mutex_unlock(&odp->umem_mutex);
	u4_mr_publish(mr->xp);
	return &mr->ib;
}

void u4_odp_end(struct u4_ibmr *mr)
{
	struct ib_umem_odp *odp = to_ib_umem_odp(mr->umem);

	/* ib_core warns of a page that is dropped between its coming and its being used. */
	mutex_lock(&mr->fetch);
	mutex_lock(&odp->umem_mutex);
	u4_odp_drop(odp, ib_umem_start(odp), ib_umem_end(odp));
	odp->private = NULL;
	mutex_unlock(&odp->umem_mutex);
	mutex_unlock(&mr->fetch);
}

static int u4_odp_advise(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice,
			 const struct ib_sge *sge, bool sync)
{
	struct u4_mr *xp = u4_mr_get(&to_u4_ibdev(pd->device)->vdev->xp, sge->lkey);
	struct u4_ibmr *mr;
	int ret = -EINVAL;

	if (!xp)
		return -EINVAL;
	mr = xp->owner;
	if (xp->type != U4_MR_PAGED || xp->pd != pd || sge->addr < xp->iova ||
	    sge->length > xp->length || sge->addr - xp->iova > xp->length - sge->length)
		goto put;
	ret = -EPERM;
	if (advice == IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE && !mr->umem->writable)
		goto put;
	ret = u4_odp_fetch(xp, sge->addr, sge->length,
			   advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT);
	/* What was only asked for, and not waited for, may fail. */
	if (!sync)
		ret = 0;
put:
	u4_mr_put(xp);
	return ret;
}

int u4_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice, u32 flags,
		 struct ib_sge *sg_list, u32 num_sge, struct uverbs_attr_bundle *attrs)
{
	int ret = 0;
	u32 i;

	if (advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_WRITE &&
	    advice != IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT)
		return -EOPNOTSUPP;
	for (i = 0; i < num_sge && !ret; i++)
		ret = u4_odp_advise(pd, advice, &sg_list[i],
				    flags & IB_UVERBS_ADVISE_MR_FLAG_FLUSH);
	return ret;
}

void u4_odp_caps(struct ib_device_attr *attr)
{
	attr->kernel_cap_flags |= IBK_ON_DEMAND_PAGING;
	attr->odp_caps.general_caps = IB_ODP_SUPPORT;
	/* Without retries what meets an absent page on arrival is lost: not advertised. */
	attr->odp_caps.per_transport_caps.ud_odp_caps = IB_ODP_SUPPORT_SEND;
	attr->odp_caps.per_transport_caps.uc_odp_caps = IB_ODP_SUPPORT_SEND;
	attr->odp_caps.per_transport_caps.rc_odp_caps =
		IB_ODP_SUPPORT_SEND | IB_ODP_SUPPORT_RECV | IB_ODP_SUPPORT_WRITE |
		IB_ODP_SUPPORT_READ | IB_ODP_SUPPORT_ATOMIC | IB_ODP_SUPPORT_SRQ_RECV |
		IB_ODP_SUPPORT_FLUSH | IB_ODP_SUPPORT_ATOMIC_WRITE;
}

#endif /* U4_HAVE_ODP */
