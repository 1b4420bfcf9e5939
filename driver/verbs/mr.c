// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory regions: pinning a process's pages, fast registration for the kernel,
 * and the kernel's all-memory region. Checks of keys and rights are the
 * transport's.
 */
#include <linux/slab.h>

#include "verbs.h"

#define U4_ACCESS_REMOTE (IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC)

static_assert(U4_ACCESS_LOCAL_WRITE == (int)IB_ACCESS_LOCAL_WRITE, "access");
static_assert(U4_ACCESS_REMOTE_WRITE == (int)IB_ACCESS_REMOTE_WRITE, "access");
static_assert(U4_ACCESS_REMOTE_READ == (int)IB_ACCESS_REMOTE_READ, "access");
static_assert(U4_ACCESS_REMOTE_ATOMIC == (int)IB_ACCESS_REMOTE_ATOMIC, "access");
static_assert(U4_ACCESS_MW_BIND == (int)IB_ACCESS_MW_BIND, "access");
static_assert(U4_ACCESS_FLUSH_GLOBAL == (int)IB_ACCESS_FLUSH_GLOBAL, "access");

struct u4_ibmr *u4_ibmr_alloc(struct ib_pd *pd, enum u4_mr_type type, u32 max_pages)
{
	struct u4_ibdev *dev = to_u4_ibdev(pd->device);
	struct u4_ibmr *mr;
	int err;

	mr = kzalloc(sizeof(*mr), GFP_KERNEL_ACCOUNT);
	if (!mr)
		return ERR_PTR(-ENOMEM);
	mr->xp = u4_mr_create(&dev->vdev->xp, pd, type, max_pages);
	if (IS_ERR(mr->xp)) {
		err = PTR_ERR(mr->xp);
		kfree(mr);
		return ERR_PTR(err);
	}
	mr->xp->owner = mr;
	mr->ib.lkey = mr->xp->key;
	mr->ib.rkey = mr->xp->key;
	return mr;
}

struct ib_mr *u4_get_dma_mr(struct ib_pd *pd, int access)
{
	struct u4_ibmr *mr;

	/* All memory of the kernel is nothing to hand to a peer. */
	if (access & ~IB_ACCESS_LOCAL_WRITE)
		return ERR_PTR(-EOPNOTSUPP);
	mr = u4_ibmr_alloc(pd, U4_MR_DMA, 0);
	if (IS_ERR(mr))
		return ERR_CAST(mr);
	mr->xp->access = access;
	mr->xp->length = U64_MAX;
	u4_mr_publish(mr->xp);
	return &mr->ib;
}

static struct ib_umem *u4_umem_get(struct ib_device *ib, u64 start, u64 length, int access)
{
#ifdef U4_HAVE_UMEM_GET_VA
	return ib_umem_get_va(ib, start, length, access);
#else
	return ib_umem_get(ib, start, length, access);
#endif
}

static struct ib_mr *u4_reg_umem(struct ib_pd *pd, struct ib_umem *umem, u64 virt_addr, int access)
{
	u32 offset = ib_umem_offset(umem);
	u64 npages = DIV_ROUND_UP_ULL(offset + umem->length, PAGE_SIZE);
	struct scatterlist *sg;
	struct u4_ibmr *mr;
	unsigned int s;
	u64 n = 0;

	mr = u4_ibmr_alloc(pd, U4_MR_USER, npages);
	if (IS_ERR(mr))
		return ERR_CAST(mr);
	for_each_sgtable_sg(&umem->sgt_append.sgt, sg, s) {
		unsigned long pfn = page_to_pfn(sg_page(sg));
		unsigned long end = pfn + PFN_UP(sg->offset + sg->length);

		while (pfn < end && n < npages)
			mr->xp->pages[n++] = pfn_to_page(pfn++);
	}
	if (WARN_ON_ONCE(n < npages)) {
		u4_mr_destroy(mr->xp);
		kfree(mr);
		return ERR_PTR(-EFAULT);
	}
	mr->umem = umem;
	mr->xp->npages = npages;
	mr->xp->offset = offset;
	mr->xp->iova = virt_addr;
	mr->xp->length = umem->length;
	mr->xp->access = access & U4_ACCESS_MASK;
	mr->ib.iova = virt_addr;
	mr->ib.length = umem->length;
	u4_mr_publish(mr->xp);
	return &mr->ib;
}

#ifdef U4_HAVE_REG_USER_MR_DMAH
struct ib_mr *u4_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access,
			     struct ib_dmah *dmah, struct ib_udata *udata)
#else
struct ib_mr *u4_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access,
			     struct ib_udata *udata)
#endif
{
	int known = U4_ACCESS_MASK | IB_ACCESS_OPTIONAL;
	struct ib_umem *umem;
	struct ib_mr *mr;

#ifdef U4_HAVE_REG_USER_MR_DMAH
	if (dmah)
		return ERR_PTR(-EOPNOTSUPP);
#endif
	if (access & IB_ACCESS_ON_DEMAND)
		known |= U4_ODP_ACCESS;
	if (access & ~known)
		return ERR_PTR(-EOPNOTSUPP);
	if (!length || length > U4_MAX_MR_SIZE || virt_addr + length < virt_addr)
		return ERR_PTR(-EINVAL);
	/* An aligned address is aligned memory, so that an atomic never leaves its page. */
	if ((start ^ virt_addr) & 7)
		return ERR_PTR(-EINVAL);
	if (access & IB_ACCESS_ON_DEMAND)
		return u4_odp_reg(pd, start, length, virt_addr, access);
	umem = u4_umem_get(pd->device, start, length, access);
	if (IS_ERR(umem))
		return ERR_CAST(umem);
	mr = u4_reg_umem(pd, umem, virt_addr, access);
	if (IS_ERR(mr))
		ib_umem_release(umem);
	return mr;
}

struct ib_mr *u4_alloc_mr(struct ib_pd *pd, enum ib_mr_type type, u32 max_num_sg)
{
	struct u4_ibmr *mr;

	if (type != IB_MR_TYPE_MEM_REG)
		return ERR_PTR(-EOPNOTSUPP);
	if (!max_num_sg || max_num_sg > U4_MAX_FAST_PAGES)
		return ERR_PTR(-EINVAL);
	mr = u4_ibmr_alloc(pd, U4_MR_FAST, max_num_sg);
	if (IS_ERR(mr))
		return ERR_CAST(mr);
	mr->xp->state = U4_MR_FREE;
	u4_mr_publish(mr->xp);
	return &mr->ib;
}

static int u4_set_page(struct ib_mr *ib, u64 addr)
{
	struct u4_ibmr *mr = to_u4_ibmr(ib);
	struct u4_mr *xp = mr->xp;
	u64 end = addr + ib->page_size;

	/* Virtual DMA: the address is the kernel's own. */
	for (; addr < end; addr += PAGE_SIZE) {
		if (xp->npages == xp->max_pages)
			return -ENOMEM;
		xp->pages[xp->npages++] = virt_to_page((void *)(uintptr_t)addr);
	}
	return 0;
}

int u4_map_mr_sg(struct ib_mr *ib, struct scatterlist *sg, int nents, unsigned int *offset)
{
	struct u4_ibmr *mr = to_u4_ibmr(ib);
	struct u4_mr *xp = mr->xp;
	int n;

	if (xp->type != U4_MR_FAST || ib->page_size < PAGE_SIZE)
		return -EINVAL;
	xp->npages = 0;
	n = ib_sg_to_pages(ib, sg, nents, offset, u4_set_page);
	xp->offset = ib->iova & (ib->page_size - 1);
	xp->iova = ib->iova;
	xp->length = ib->length;
	return n;
}

int u4_dereg_mr(struct ib_mr *ib, struct ib_udata *udata)
{
	struct u4_ibmr *mr = to_u4_ibmr(ib);

	if (mr->xp->type == U4_MR_PAGED)
		u4_odp_end(mr);
	u4_mr_destroy(mr->xp);
	if (mr->umem && mr->umem->is_odp)
		mutex_destroy(&mr->fetch);
	ib_umem_release(mr->umem);
	u4_uncharge(&mr->charge);
	kfree(mr);
	return 0;
}
