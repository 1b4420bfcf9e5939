// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory regions: what a key names, who may touch it, and its DMA addresses.
 *
 * A lookup takes a use count and never a lock. u4_mr_destroy() takes the key
 * away first and then waits for the users, frames in flight among them. Pages
 * are kept in an array, so that the cost of an access does not depend on where
 * in the region it lies.
 */
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/random.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "internal.h"

/* Frames in flight come back in microseconds; after this the rail is reset. */
#define U4_MR_BUSY_TIMEOUT	(5 * HZ)

/* Pages mapped in one go: between two the device may ask to stop. */
#define U4_MR_MAP_PAGES		8192u

/**
 * struct u4_mr_map - DMA addresses of a region for one device
 * @next: in the list of those that u4_mr_unmap_all() is about to free
 * @dev: the device
 * @parts: of the region, U4_MR_MAP_PAGES each: what was mapped, for unmapping
 * @num_parts: that are mapped
 * @addr: per page of the region
 */
struct u4_mr_map {
	struct u4_mr_map *next;
	struct device	*dev;
	struct sg_table	*parts;
	u32		num_parts;
	dma_addr_t	addr[];
};

/* A window's lock is taken before that of the region it lies in. */
static struct lock_class_key u4_window_lock;

static bool u4_mr_is_window(const struct u4_mr *mr)
{
	return mr->type == U4_MR_MW1 || mr->type == U4_MR_MW2;
}

static void u4_mr_release(struct u4_ref *ref)
{
	complete(&container_of(ref, struct u4_mr, ref)->gone);
}

struct u4_mr *u4_mr_create(struct u4_xpdev *dev, void *pd, enum u4_mr_type type, u32 max_pages)
{
	struct u4_mr *mr;
	int ret;

	if (atomic_inc_return(&dev->num_mrs) > dev->max_mrs) {
		ret = -ENOMEM;
		goto err_count;
	}
	ret = -ENOMEM;
	mr = kzalloc(sizeof(*mr), GFP_KERNEL_ACCOUNT);
	if (!mr)
		goto err_count;
	if (max_pages) {
		mr->pages = kvcalloc(max_pages, sizeof(*mr->pages), GFP_KERNEL_ACCOUNT);
		if (!mr->pages)
			goto err_mr;
	}

	atomic_set(&mr->ref.frames, 1);
	mr->ref.release = u4_mr_release;
	init_completion(&mr->gone);
	mr->dev = dev;
	mr->pd = pd;
	mr->type = type;
	mr->max_pages = max_pages;
	mr->state = type == U4_MR_USER || type == U4_MR_PAGED || type == U4_MR_DMA ?
		    U4_MR_INVALID : U4_MR_FREE;
	rwlock_init(&mr->page_lock);
	if (u4_mr_is_window(mr))
		lockdep_set_class(&mr->page_lock, &u4_window_lock);

	/* An index that nobody can find yet; cyclic, so that a late frame meets no new owner. */
	ret = xa_alloc_cyclic(&dev->mrs, &mr->index, NULL, XA_LIMIT(1, U4_PSN_MASK),
			      &dev->next_mr, GFP_KERNEL_ACCOUNT);
	if (ret < 0)
		goto err_pages;
	mr->key = mr->index << 8 | get_random_u8();
	return mr;

err_pages:
	kvfree(mr->pages);
err_mr:
	kfree(mr);
err_count:
	atomic_dec(&dev->num_mrs);
	return ERR_PTR(ret);
}

/*
 * ---- DMA mapping ----
 *
 * Mapping a large region takes long, so no lock is held meanwhile. Who maps is counted
 * in u4_xpdev.mappers for as long as it does. A device that goes away takes its place in
 * u4_xpdev.mapped first and then waits for those, who look at it between parts.
 */

static void u4_mr_map_free(struct u4_mr_map *map)
{
	while (map->num_parts--) {
		dma_unmap_sgtable(map->dev, &map->parts[map->num_parts], DMA_TO_DEVICE, 0);
		sg_free_table(&map->parts[map->num_parts]);
	}
	kvfree(map->parts);
	kvfree(map);
}

static struct device *u4_mr_map_begin(struct u4_xpdev *dev, unsigned int slot)
{
	struct device *dma_dev;

	spin_lock(&dev->mapped_lock);
	dma_dev = dev->mapped[slot];
	if (dma_dev)
		dev->mappers[slot]++;
	spin_unlock(&dev->mapped_lock);
	return dma_dev;
}

static void u4_mr_map_end(struct u4_xpdev *dev, unsigned int slot)
{
	spin_lock(&dev->mapped_lock);
	if (!--dev->mappers[slot])
		wake_up_all(&dev->mappers_gone);
	spin_unlock(&dev->mapped_lock);
}

static bool u4_mr_map_idle(struct u4_xpdev *dev, unsigned int slot)
{
	bool idle;

	spin_lock(&dev->mapped_lock);
	idle = !dev->mappers[slot];
	spin_unlock(&dev->mapped_lock);
	return idle;
}

static bool u4_mr_map_part(struct u4_mr *mr, struct u4_mr_map *map)
{
	u32 first = map->num_parts * U4_MR_MAP_PAGES;
	u32 n = min(mr->npages - first, U4_MR_MAP_PAGES);
	u32 segment = round_down(dma_get_max_seg_size(map->dev), PAGE_SIZE);
	struct sg_table *sgt = &map->parts[map->num_parts];
	struct scatterlist *sg;
	unsigned int s;
	u32 i = 0;

	if (sg_alloc_table_from_pages_segment(sgt, mr->pages + first, n, 0,
					      (unsigned long)n << PAGE_SHIFT,
					      max_t(u32, segment, PAGE_SIZE),
					      GFP_KERNEL_ACCOUNT))
		return false;
	if (dma_map_sgtable(map->dev, sgt, DMA_TO_DEVICE, 0)) {
		sg_free_table(sgt);
		return false;
	}
	map->num_parts++;
	for_each_sgtable_dma_sg(sgt, sg, s) {
		dma_addr_t addr = sg_dma_address(sg);
		dma_addr_t end = addr + sg_dma_len(sg);

		for (; addr < end && i < n; addr += PAGE_SIZE) {
			/* A bounce buffer would send what the page held when it was mapped. */
			if (dma_need_sync(map->dev, addr))
				return false;
			map->addr[first + i++] = addr;
		}
	}
	return i == n;
}

/* Best effort: a region without a mapping is copied when it is sent. */
static void u4_mr_map_slot(struct u4_mr *mr, unsigned int slot)
{
	u32 parts = DIV_ROUND_UP(mr->npages, U4_MR_MAP_PAGES);
	struct u4_xpdev *dev = mr->dev;
	struct u4_mr_map *map = NULL;
	struct device *dma_dev;

	if (mr->type != U4_MR_USER || !mr->npages || rcu_access_pointer(mr->map[slot]))
		return;
	dma_dev = u4_mr_map_begin(dev, slot);
	if (!dma_dev)
		return;
	map = kvzalloc(struct_size(map, addr, mr->npages), GFP_KERNEL_ACCOUNT);
	if (!map)
		goto out;
	map->dev = dma_dev;
	map->parts = kvcalloc(parts, sizeof(*map->parts), GFP_KERNEL_ACCOUNT);
	if (!map->parts)
		goto err_map;
	while (map->num_parts < parts) {
		/* Neither for a device nor for a region that is going away. */
		if (READ_ONCE(dev->mapped[slot]) != dma_dev ||
		    READ_ONCE(mr->state) != U4_MR_VALID || !u4_mr_map_part(mr, map))
			goto err_map;
		cond_resched();
	}
	/* Registration and a new rail may have come to it both. */
	if (cmpxchg(&mr->map[slot], NULL, RCU_INITIALIZER(map)))
		goto err_map;
out:
	u4_mr_map_end(dev, slot);
	return;

err_map:
	u4_mr_map_free(map);
	u4_mr_map_end(dev, slot);
}

/* Give every device that carries an active rail its place. */
static void u4_mr_find_devices(struct u4_xpdev *dev)
{
	struct device *found[U4_MAX_RAILS];
	unsigned int i, slot, n = 0;
	struct u4_rail *rail;

	/*
	 * The rails are looked at under map_lock: one that is still visible now calls
	 * u4_mr_unmap_all() later, and waits for the lock there.
	 */
	mutex_lock(&dev->map_lock);
	rcu_read_lock();
	for (i = 0; i < U4_MAX_RAILS; i++) {
		rail = rcu_dereference(dev->peer->rails[i]);
		if (rail)
			found[n++] = u4_rail_dma_device(rail);
	}
	rcu_read_unlock();

	for (i = 0; i < n; i++) {
		for (slot = 0; slot < U4_MAX_DEVICES_MAPPED; slot++)
			if (dev->mapped[slot] == found[i])
				break;
		if (slot < U4_MAX_DEVICES_MAPPED)
			continue;
		for (slot = 0; slot < U4_MAX_DEVICES_MAPPED; slot++)
			if (!dev->mapped[slot])
				break;
		if (slot == U4_MAX_DEVICES_MAPPED)
			break;
		spin_lock(&dev->mapped_lock);
		dev->mapped[slot] = found[i];
		spin_unlock(&dev->mapped_lock);
	}
	mutex_unlock(&dev->map_lock);
}

/* Map every region for every device that carries an active rail. */
void u4_mr_map_all(struct u4_xpdev *dev)
{
	unsigned long index = 0;
	unsigned int slot;
	struct u4_mr *mr;

	u4_mr_find_devices(dev);
	for (;; index++) {
		rcu_read_lock();
		mr = xa_find(&dev->mrs, &index, ULONG_MAX, XA_PRESENT);
		if (mr && !atomic_inc_not_zero(&mr->ref.frames)) {
			rcu_read_unlock();
			continue;
		}
		rcu_read_unlock();
		if (!mr)
			return;
		for (slot = 0; slot < U4_MAX_DEVICES_MAPPED; slot++)
			u4_mr_map_slot(mr, slot);
		u4_mr_put(mr);
	}
}

/*
 * A rail of @dma_dev went down: unmap, unless another one still uses the device, visible or
 * not: a ring that is not halted may yet send what is mapped.
 */
void u4_mr_unmap_all(struct u4_xpdev *dev, struct device *dma_dev)
{
	struct u4_mr_map *map, *gone = NULL;
	unsigned long index;
	struct u4_mr *mr;
	unsigned int i;

	mutex_lock(&dev->map_lock);
	if (u4_peer_uses(dev->peer, dma_dev))
		goto unlock;
	for (i = 0; i < U4_MAX_DEVICES_MAPPED; i++)
		if (dev->mapped[i] == dma_dev)
			break;
	if (i == U4_MAX_DEVICES_MAPPED)
		goto unlock;
	spin_lock(&dev->mapped_lock);
	dev->mapped[i] = NULL;
	spin_unlock(&dev->mapped_lock);
	wait_event(dev->mappers_gone, u4_mr_map_idle(dev, i));
	xa_for_each(&dev->mrs, index, mr) {
		map = rcu_dereference_protected(mr->map[i], lockdep_is_held(&dev->map_lock));
		if (!map)
			continue;
		RCU_INIT_POINTER(mr->map[i], NULL);
		map->next = gone;
		gone = map;
	}
	/*
	 * Who sends on a rail of another device looks at these too. What was found for this
	 * device went to rails that are halted now.
	 */
	synchronize_rcu();
	while ((map = gone)) {
		gone = map->next;
		u4_mr_map_free(map);
	}
unlock:
	mutex_unlock(&dev->map_lock);
}

void u4_mr_publish(struct u4_mr *mr)
{
	struct u4_xpdev *dev = mr->dev;
	unsigned int slot;

	if (mr->type == U4_MR_USER || mr->type == U4_MR_PAGED || mr->type == U4_MR_DMA)
		mr->state = U4_MR_VALID;
	/* Visible first, so that a device that goes away finds what is mapped for it. */
	mutex_lock(&dev->map_lock);
	/* The entry is reserved, so this allocates nothing. */
	xa_store(&dev->mrs, mr->index, mr, GFP_KERNEL);
	mutex_unlock(&dev->map_lock);
	for (slot = 0; slot < U4_MAX_DEVICES_MAPPED; slot++)
		u4_mr_map_slot(mr, slot);
}

void u4_mr_destroy(struct u4_mr *mr)
{
	struct u4_xpdev *dev = mr->dev;
	struct u4_mr_map *map;
	struct u4_rail *rail;
	unsigned int i;

	/* Not found any more, but still there for a device that goes away meanwhile. */
	WRITE_ONCE(mr->state, U4_MR_INVALID);
	u4_mr_put(mr);
	while (!wait_for_completion_timeout(&mr->gone, U4_MR_BUSY_TIMEOUT)) {
		/* No frame reads such a region: a page takes its time. */
		if (mr->type == U4_MR_PAGED)
			continue;
		rcu_read_lock();
		for (i = 0; i < U4_MAX_RAILS; i++) {
			rail = rcu_dereference(dev->peer->rails[i]);
			if (rail)
				u4_rail_reset(rail, "frames in flight did not come back");
		}
		rcu_read_unlock();
	}

	/* Who puts a region there holds it, so nobody does any more. */
	cmpxchg(&dev->near_mrs[mr->index & (U4_NEAR - 1)], RCU_INITIALIZER(mr), NULL);
	mutex_lock(&dev->map_lock);
	xa_erase(&dev->mrs, mr->index);
	for (i = 0; i < U4_MAX_DEVICES_MAPPED; i++) {
		map = rcu_dereference_protected(mr->map[i], lockdep_is_held(&dev->map_lock));
		if (map)
			u4_mr_map_free(map);
	}
	mutex_unlock(&dev->map_lock);
	kvfree(mr->pages);
	atomic_dec(&dev->num_mrs);
	kfree_rcu(mr, rcu);
}

/* ---- lookups and accesses; any context, under RCU or with a use count ---- */

/* Under RCU. */
static struct u4_mr *u4_mr_find(struct u4_xpdev *dev, u32 key)
{
	u32 index = key >> 8;
	struct u4_mr __rcu **near = &dev->near_mrs[index & (U4_NEAR - 1)];
	struct u4_mr *mr = rcu_dereference(*near);
	bool found = mr && mr->index == index;

	if (!found)
		mr = xa_load(&dev->mrs, index);
	if (!mr || READ_ONCE(mr->key) != key || READ_ONCE(mr->state) != U4_MR_VALID ||
	    !atomic_inc_not_zero(&mr->ref.frames))
		return NULL;
	if (!found)
		rcu_assign_pointer(*near, mr);
	return mr;
}

struct u4_mr *u4_mr_get(struct u4_xpdev *dev, u32 key)
{
	struct u4_mr *mr;

	rcu_read_lock();
	mr = u4_mr_find(dev, key);
	rcu_read_unlock();
	return mr;
}

bool u4_mr_allows(const struct u4_mr *mr, const void *pd, u32 access, u64 addr, u64 len)
{
	if (mr->pd != pd || (mr->access & access) != access)
		return false;
	if (mr->type == U4_MR_DMA)
		return !(access & ~U4_ACCESS_LOCAL_WRITE);
	return addr >= mr->iova && len <= mr->length && addr - mr->iova <= mr->length - len;
}

/* Since it was found it may have been invalidated, and registered for other memory. */
bool u4_mr_enter_fast(struct u4_mr *mr, u32 key, u64 addr, u32 len)
{
	read_lock(&mr->page_lock);
	if (smp_load_acquire(&mr->state) != U4_MR_VALID || mr->key != key || addr < mr->iova ||
	    len > mr->length || addr - mr->iova > mr->length - len) {
		read_unlock(&mr->page_lock);
		return false;
	}
	/* For sparse, which cannot follow a lock that is held or not: see u4_mr_leave(). */
	__release(&mr->page_lock);
	return true;
}

void u4_mr_copy(struct u4_mr *mr, u64 addr, void *buf, u32 len, bool to_mr)
{
	u64 off;

	if (mr->type == U4_MR_DMA) {
		void *mem = (void *)(uintptr_t)addr;

		if (to_mr)
			memcpy(mem, buf, len);
		else
			memcpy(buf, mem, len);
		return;
	}

	off = addr - mr->iova + mr->offset;
	while (len) {
		u32 in_page = off & ~PAGE_MASK;
		u32 n = min_t(u32, len, PAGE_SIZE - in_page);
		void *mem = kmap_local_page(mr->pages[off >> PAGE_SHIFT]);

		if (to_mr)
			memcpy(mem + in_page, buf, n);
		else
			memcpy(buf, mem + in_page, n);
		kunmap_local(mem);
		off += n;
		buf += n;
		len -= n;
	}
}

bool u4_mr_place(struct u4_mr *mr, u64 addr, struct device *dma_dev, struct page **page,
		 u32 *offset, dma_addr_t *dma)
{
	struct u4_mr_map *map;
	unsigned int i;
	u64 off;

	if (mr->type != U4_MR_USER)
		return false;
	off = addr - mr->iova + mr->offset;
	*page = mr->pages[off >> PAGE_SHIFT];
	*offset = off & ~PAGE_MASK;
	*dma = 0;
	if (!dma_dev)
		return true;
	for (i = 0; i < U4_MAX_DEVICES_MAPPED; i++) {
		map = rcu_dereference(mr->map[i]);
		if (map && map->dev == dma_dev) {
			*dma = map->addr[off >> PAGE_SHIFT] + *offset;
			return true;
		}
	}
	return false;
}

u64 u4_mr_atomic(struct u4_mr *mr, u64 addr, bool swap, u64 operand, u64 compare)
{
	u64 off = addr - mr->iova + mr->offset;
	void *mem = kmap_local_page(mr->pages[off >> PAGE_SHIFT]);
	atomic64_t *word = mem + (off & ~PAGE_MASK);
	u64 old;

	if (swap)
		old = atomic64_cmpxchg(word, compare, operand);
	else
		old = atomic64_fetch_add(operand, word);
	kunmap_local(mem);
	return old;
}

void u4_mr_store64(struct u4_mr *mr, u64 addr, const void *value)
{
	u64 off = addr - mr->iova + mr->offset;
	void *mem = kmap_local_page(mr->pages[off >> PAGE_SHIFT]);
	u64 v;

	memcpy(&v, value, sizeof(v));
	/* Seen whole by the consumer, and after what was written before. */
	smp_store_release((u64 *)(mem + (off & ~PAGE_MASK)), v);
	kunmap_local(mem);
}

struct u4_mr *u4_mr_get_local(struct u4_qp *qp, u32 lkey, u32 access, u64 addr, u64 len)
{
	struct u4_mr *mr = u4_mr_find(qp->dev, lkey);

	if (!mr)
		return NULL;
	/* A window is for the peer and has no pages; all kernel memory is for kernel QPs. */
	if (!u4_mr_is_window(mr) && (mr->type != U4_MR_DMA || qp->kernel) &&
	    u4_mr_allows(mr, qp->pd, access, addr, len))
		return mr;
	u4_mr_put(mr);
	return NULL;
}

/* The region behind a window, as the window is bound now; both locked and held, or NULL. */
static struct u4_mr *u4_mr_enter_window(struct u4_qp *qp, struct u4_mr *mw, u32 rkey, u32 access,
					u64 raddr, u64 len)
{
	u32 needed = U4_ACCESS_MW_BIND;
	struct u4_mr *region;

	read_lock(&mw->page_lock);
	/* Since it was found it may have been invalidated, or bound to something else. */
	if (READ_ONCE(mw->state) != U4_MR_VALID || mw->key != rkey ||
	    !u4_mr_allows(mw, qp->pd, access, raddr, len) ||
	    (mw->type == U4_MR_MW2 && mw->bound_to != qp->serial))
		goto refuse;
	/* What the window grants goes no further than the region does, as it is now. */
	if (access & (U4_ACCESS_REMOTE_WRITE | U4_ACCESS_REMOTE_ATOMIC))
		needed |= U4_ACCESS_LOCAL_WRITE;
	region = u4_mr_find(qp->dev, mw->target);
	if (!region)
		goto refuse;
	if (!u4_mr_is_window(region) && u4_mr_allows(region, qp->pd, needed, raddr, len)) {
		/* For sparse, which cannot follow a lock that is held or not. */
		__release(&mw->page_lock);
		return region;
	}
	u4_mr_put(region);
refuse:
	read_unlock(&mw->page_lock);
	return NULL;
}

bool u4_mr_get_remote(struct u4_qp *qp, u32 rkey, u32 access, u64 raddr, u64 len,
		      struct u4_remote *remote)
{
	struct u4_mr *mr = u4_mr_find(qp->dev, rkey);

	if (!mr)
		return false;
	remote->window = NULL;
	if (!u4_mr_is_window(mr)) {
		remote->mr = mr;
		if (u4_mr_allows(mr, qp->pd, access, raddr, len))
			return true;
	} else {
		remote->window = mr;
		remote->mr = u4_mr_enter_window(qp, mr, rkey, access, raddr, len);
		if (remote->mr)
			return true;
	}
	u4_mr_put(mr);
	return false;
}

void u4_mr_put_remote(struct u4_remote *remote)
{
	u4_mr_put(remote->mr);
	if (!remote->window)
		return;
	__acquire(&remote->window->page_lock);
	read_unlock(&remote->window->page_lock);
	u4_mr_put(remote->window);
}

int u4_mr_invalidate(struct u4_qp *qp, u32 key)
{
	struct u4_mr *mr = u4_mr_get(qp->dev, key);
	int ret = -EINVAL;

	if (!mr)
		return ret;
	if (mr->pd == qp->pd && (mr->type == U4_MR_FAST || mr->type == U4_MR_MW2)) {
		/* Its owner may free the memory then: wait for who copies. Bottom halves are off. */
		write_lock(&mr->page_lock);
		if (READ_ONCE(mr->state) == U4_MR_VALID && mr->key == key &&
		    (mr->type == U4_MR_FAST || mr->bound_to == qp->serial)) {
			WRITE_ONCE(mr->state, U4_MR_FREE);
			ret = 0;
		}
		write_unlock(&mr->page_lock);
	}
	u4_mr_put(mr);
	return ret;
}

/* Bind a window (IBTA 10.6.7.2). Bottom halves are off. */
int u4_mr_bind(struct u4_qp *qp, const struct u4_swqe *wqe)
{
	u32 access = wqe->bind.access;
	struct u4_mr *region = NULL;
	struct u4_mr *mw;
	int ret = -EINVAL;

	rcu_read_lock();
	mw = xa_load(&qp->dev->mrs, wqe->rkey >> 8);
	if (!mw || !u4_mr_is_window(mw) || mw->pd != qp->pd || wqe->bind.key >> 8 != mw->index) {
		rcu_read_unlock();
		return ret;
	}
	/* Who uses what it granted so far comes to an end first. */
	write_lock(&mw->page_lock);
	if (READ_ONCE(mw->state) == U4_MR_INVALID || mw->key != wqe->rkey)
		goto out;
	/* One of type 2 is bound once, and by its new key only. */
	if (mw->type == U4_MR_MW2 && (mw->state != U4_MR_FREE || !wqe->bind.length))
		goto out;
	if (wqe->bind.length) {
		region = u4_mr_get(qp->dev, wqe->bind.lkey);
		if (!region || u4_mr_is_window(region) ||
		    !u4_mr_allows(region, qp->pd, U4_ACCESS_MW_BIND, wqe->bind.addr,
				  wqe->bind.length))
			goto out;
		if (access & (U4_ACCESS_REMOTE_WRITE | U4_ACCESS_REMOTE_ATOMIC) &&
		    !(region->access & U4_ACCESS_LOCAL_WRITE))
			goto out;
	}
	mw->iova = wqe->bind.addr;
	mw->length = wqe->bind.length;
	mw->access = access;
	mw->target = wqe->bind.lkey;
	mw->bound_to = qp->serial;
	WRITE_ONCE(mw->key, wqe->bind.key);
	WRITE_ONCE(mw->state, wqe->bind.length ? U4_MR_VALID : U4_MR_FREE);
	ret = 0;
out:
	write_unlock(&mw->page_lock);
	if (region)
		u4_mr_put(region);
	rcu_read_unlock();
	return ret;
}

int u4_mr_fast_register(const struct u4_swqe *wqe)
{
	struct u4_mr *mr = wqe->mr.mr;

	if (mr->type != U4_MR_FAST || mr->state != U4_MR_FREE || wqe->mr.key >> 8 != mr->index ||
	    mr->offset + mr->length > (u64)mr->npages << PAGE_SHIFT)
		return -EINVAL;
	/*
	 * Not the address of the mapping: a ULP may name its region anew (RPC-over-RDMA does).
	 * But what is aligned for an atomic must be so in memory.
	 */
	if ((wqe->mr.addr ^ mr->offset) & 7)
		return -EINVAL;
	/* As for any region: none goes on behind the end of the address space. */
	if (mr->length && wqe->mr.addr + (mr->length - 1) < wqe->mr.addr)
		return -EINVAL;
	mr->iova = wqe->mr.addr;
	mr->access = wqe->mr.access;
	WRITE_ONCE(mr->key, wqe->mr.key);
	smp_store_release(&mr->state, U4_MR_VALID);
	return 0;
}
