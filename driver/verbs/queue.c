// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings that the kernel shares with a process: allocation, mapping, indices.
 * The layout is that of the Soft-RoCE user ABI (struct rxe_queue_buf). A process
 * may write anything into a mapped ring at any time, so size, mask and the
 * kernel's own index live in struct u4_queue, and what is read from the ring is
 * copied once before it is checked. This file knows nothing of the entries.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "verbs.h"

static_assert(offsetof(struct rxe_queue_buf, producer_index) == 128, "producer index");
static_assert(offsetof(struct rxe_queue_buf, consumer_index) == 256, "consumer index");
static_assert(offsetof(struct rxe_queue_buf, data) == 384, "ring data");

#define U4_MIN_SLOT	64

/*
 * Zeroed, page by page, mappable into a process and accounted to its memory
 * cgroup. vmalloc_user() would not be accounted.
 */
static void *u4_alloc_user(size_t bytes)
{
	unsigned int n = bytes >> PAGE_SHIFT;
	struct page **pages;
	unsigned int i;
	void *mem;

	pages = kvmalloc_array(n, sizeof(*pages), GFP_KERNEL_ACCOUNT);
	if (!pages)
		return NULL;
	for (i = 0; i < n; i++) {
		pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!pages[i])
			goto err_free;
	}
	mem = vmap(pages, n, VM_MAP | VM_MAP_PUT_PAGES | VM_USERMAP, PAGE_KERNEL);
	if (mem)
		return mem;	/* vfree() gives pages and array back */

err_free:
	while (i--)
		__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}

/**
 * u4_queue_create() - allocate a ring
 * @q: filled in
 * @entries: that must fit at once
 * @elem: bytes of one
 * @udata: of the process that shall map it, %NULL for a ring of the kernel
 * @mi: filled in for the process; unused without @udata
 *
 * Return: 0 or an error.
 */
int u4_queue_create(struct u4_queue *q, u32 entries, u32 elem, struct ib_udata *udata,
		    struct mminfo *mi)
{
	u32 slots = roundup_pow_of_two(entries + 1);
	size_t bytes;
	int err;

	memset(q, 0, sizeof(*q));
	q->mask = slots - 1;
	q->shift = ilog2(roundup_pow_of_two(max_t(u32, elem, U4_MIN_SLOT)));
	bytes = PAGE_ALIGN(sizeof(struct rxe_queue_buf) + ((size_t)slots << q->shift));

	if (!udata) {
		q->buf = vzalloc(bytes);
		if (!q->buf)
			return -ENOMEM;
	} else {
		struct u4_ucontext *uc = rdma_udata_to_drv_context(udata, struct u4_ucontext, ib);

		q->map = kzalloc(sizeof(*q->map), GFP_KERNEL_ACCOUNT);
		if (!q->map)
			return -ENOMEM;
		err = u4_charge(&q->map->charge, bytes);
		if (err)
			goto err_free;
		q->map->mem = u4_alloc_user(bytes);
		q->buf = q->map->mem;
		if (!q->buf) {
			err = -ENOMEM;
			goto err_free;
		}
		err = rdma_user_mmap_entry_insert(&uc->ib, &q->map->rdma, bytes);
		if (err)
			goto err_free;
		mi->offset = rdma_user_mmap_get_offset(&q->map->rdma);
		mi->size = bytes;
		mi->pad = 0;
	}
	q->buf->log2_elem_size = q->shift;
	q->buf->index_mask = q->mask;
	return 0;

err_free:
	vfree(q->map->mem);
	u4_uncharge(&q->map->charge);
	kfree(q->map);
	memset(q, 0, sizeof(*q));
	return err;
}

void u4_queue_destroy(struct u4_queue *q)
{
	if (q->map)
		rdma_user_mmap_entry_remove(&q->map->rdma);
	else
		vfree(q->buf);
	memset(q, 0, sizeof(*q));
}

u32 u4_queue_copy(struct u4_queue *to, u32 at, const struct u4_queue *from, u32 first, u32 last)
{
	size_t slot = 1ul << min(to->shift, from->shift);

	while (first != last && at < to->mask) {
		memcpy(u4_queue_slot(to, at), u4_queue_slot(from, first), slot);
		first = (first + 1) & from->mask;
		at++;
	}
	return at;
}

/* What is copied with the lock held, and how often the rest may have grown beyond that. */
#define U4_REPLACE_LOCKED	64
#define U4_REPLACE_ROUNDS	16
#define U4_REPLACE_CHUNK	4096u

int u4_queue_replace(struct u4_queue *old, struct u4_queue *new, spinlock_t *lock, u32 limit,
		     bool kernel_produces)
{
	u32 start, first, last, cons, at = 0, rounds = 0;
	struct u4_queue from;	/* but for the index, nothing of it changes */
	unsigned long flags;
	int err = 0;

	spin_lock_irqsave(lock, flags);
	from = *old;
	start = kernel_produces ? u4_queue_consumer(old) : old->index;
	first = start;
	for (;;) {
		last = kernel_produces ? old->index : u4_queue_producer(old);
		cons = kernel_produces ? u4_queue_consumer(old) : old->index;
		if (((last - cons) & from.mask) > limit) {
			err = -ENOBUFS;
			break;
		}
		if (((last - first) & from.mask) <= U4_REPLACE_LOCKED)
			break;
		if (rounds++ == U4_REPLACE_ROUNDS) {
			err = -EAGAIN;
			break;
		}
		spin_unlock_irqrestore(lock, flags);
		while (first != last && at < new->mask) {
			u32 n = min3((last - first) & from.mask, new->mask - at, U4_REPLACE_CHUNK);

			at = u4_queue_copy(new, at, &from, first, (first + n) & from.mask);
			first = (first + n) & from.mask;
			cond_resched();
		}
		spin_lock_irqsave(lock, flags);
		if (first != last) {
			err = -ENOBUFS;
			break;
		}
	}
	if (!err && ((last - first) & from.mask) > new->mask - at)
		err = -ENOBUFS;
	if (!err) {
		at = u4_queue_copy(new, at, &from, first, last);
		/* What was taken meanwhile is not there again; at most all of it. */
		cons = min((cons - start) & from.mask, at);
		new->index = kernel_produces ? at : cons;
		smp_store_release(&new->buf->consumer_index, cons);
		smp_store_release(&new->buf->producer_index, at);
		swap(*old, *new);
	}
	spin_unlock_irqrestore(lock, flags);
	return err;
}

void u4_mmap_free(struct rdma_user_mmap_entry *entry)
{
	struct u4_mmap *map = container_of(entry, struct u4_mmap, rdma);

	vfree(map->mem);
	u4_uncharge(&map->charge);
	kfree(map);
}

int u4_mmap(struct ib_ucontext *ib, struct vm_area_struct *vma)
{
	struct rdma_user_mmap_entry *entry = rdma_user_mmap_entry_get(ib, vma);
	int err;

	if (!entry)
		return -EINVAL;
	err = remap_vmalloc_range(vma, container_of(entry, struct u4_mmap, rdma)->mem, 0);
	rdma_user_mmap_entry_put(entry);
	return err;
}
