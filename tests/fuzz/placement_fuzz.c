// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory regions, windows and lists of SGEs (driver/transport/mr.c, sge.c) against a
 * model of them: who may touch what, and which byte of which page a number names.
 *
 * All memory there is are a few pages, each an allocation of its own, and a shadow of
 * them that the model writes to. After each access both must be the same.
 */
#include "fuzz_shim.h"

/* ---- the kernel's memory management, as far as mr.c uses it ---- */

#define kmap_local_page(p)	((void *)(p)->bytes)
#define kunmap_local(p)		((void)(p))
#define get_random_u8()		((u8)(random_byte += 37))
#define atomic64_fetch_add(v, p)	((p)->counter += (v), (u64)(p)->counter - (v))
#define atomic64_cmpxchg(p, old, new)	((u64)cmpxchg(&(p)->counter, (s64)(old), (s64)(new)))
#define XA_PRESENT		0
#define DMA_TO_DEVICE		1
#define for_each_sgtable_dma_sg(t, sg, i)	for ((i) = 0, (sg) = &one_sg; !(i); (i)++)
#define sg_dma_address(sg)	((sg)->addr)
#define sg_dma_len(sg)		((sg)->len)
#define sg_alloc_table_from_pages_segment(t, pages, n, off, len, seg, f) \
	(one_sg = (struct scatterlist){ 0x10000, len }, (void)(t), (void)(seg), 0)
#define dma_get_max_seg_size(d)	((void)(d), 65536u)
#define round_down(n, to)	((n) / (to) * (to))
#define sg_free_table(t)	((void)(t))
#define dma_map_sgtable(d, t, dir, a)	((void)(t), 0)
#define dma_unmap_sgtable(d, t, dir, a)	((void)(d))
#define dma_need_sync(d, a)	((void)(d), false)

struct scatterlist { dma_addr_t addr; u64 len; };
static struct scatterlist one_sg;
static u8 random_byte;

static inline void *xa_find(struct xarray *xa, unsigned long *index, unsigned long max, int f)
{
	(void)f;
	for (; *index < ARRAY_SIZE(xa->entry) && *index <= max; (*index)++)
		if (xa->entry[*index])
			return xa->entry[*index];
	return NULL;
}

#include "../../driver/transport/mr.c"
#include "../../driver/transport/sge.c"

#define PAGES		8
#define MAX_REGIONS	12
#define NUM_QPS		3

unsigned long jiffies;
static struct u4_xpdev *dev;
static struct u4_peer peer;
static struct u4_qp *qps[NUM_QPS];
static struct page *pages[PAGES];
static u8 shadow[PAGES][4096];
static int pds[2];
static u32 live, held;

bool u4_mr_enter_paged(struct u4_mr *mr, u64 addr, u32 len)
{
	(void)mr, (void)addr, (void)len;
	CHECK(false, "no region is paged here");
	return false;
}

int u4_fault_start(struct u4_qp *qp, struct u4_fault *fault, struct u4_mr *mr, u64 addr, u64 len)
{
	(void)qp, (void)fault, (void)mr, (void)addr, (void)len;
	CHECK(false, "no region is paged here");
	return -EINVAL;
}

bool u4_peer_uses(struct u4_peer *peer, const struct device *dma_dev)
{
	(void)peer, (void)dma_dev;
	return false;
}

struct device *u4_rail_dma_device(const struct u4_rail *rail) { (void)rail; return NULL; }
void u4_rail_reset(struct u4_rail *rail, const char *why) { (void)rail, (void)why; }

/* ---- the model ---- */

/* What a key names, told in another way than u4_mr does. */
struct region {
	struct u4_mr	*mr;
	bool		window, type2, fast, valid;
	u32		key, access, target;
	int		*pd;
	u64		first, last;		/* of its addresses; @empty when there is none */
	bool		empty;
	u64		bound_to;
	u8		page[4];
	u32		npages, offset;
};

static struct region regions[MAX_REGIONS];

static struct region *by_key(u32 key)
{
	u32 i;

	for (i = 0; i < MAX_REGIONS; i++)
		if (regions[i].mr && regions[i].key == key && regions[i].valid)
			return &regions[i];
	return NULL;
}

/* Is each byte of [addr, addr + len) one of the region's? */
static bool covers(const struct region *r, u64 addr, u64 len)
{
	if (r->empty)
		return !len && addr == r->first;
	if (!len)
		return addr >= r->first && addr - r->first <= r->last - r->first + 1;
	return addr >= r->first && addr <= r->last && len - 1 <= r->last - addr;
}

static bool may(const struct region *r, const struct u4_qp *qp, u32 access, u64 addr, u64 len)
{
	return r->pd == qp->pd && !(access & ~r->access) && covers(r, addr, len);
}

/* The region whose memory a remote access reaches, or NULL. */
static struct region *may_remote(const struct u4_qp *qp, u32 key, u32 access, u64 addr, u64 len)
{
	struct region *r = by_key(key), *in;
	u32 needed = U4_ACCESS_MW_BIND;

	if (!r || !may(r, qp, access, addr, len))
		return NULL;
	if (!r->window)
		return r;
	if (r->type2 && r->bound_to != qp->serial)
		return NULL;
	if (access & (U4_ACCESS_REMOTE_WRITE | U4_ACCESS_REMOTE_ATOMIC))
		needed |= U4_ACCESS_LOCAL_WRITE;
	in = by_key(r->target);
	return in && !in->window && may(in, qp, needed, addr, len) ? in : NULL;
}

static u8 *shadow_at(const struct region *r, u64 addr)
{
	u64 off = addr - r->first + r->offset;

	CHECK(off / 4096 < r->npages, "the model leaves its region");
	return &shadow[r->page[off / 4096]][off % 4096];
}

static void same_memory(void)
{
	u32 i;

	for (i = 0; i < PAGES; i++)
		CHECK(!memcmp(pages[i]->bytes, shadow[i], 4096), "page %u is not what it should be",
		      i);
}

/* ---- what happens ---- */

static void fill(struct script *s, struct region *r, struct u4_mr *mr)
{
	u32 i;

	r->npages = 1 + next_byte(s) % 4;
	r->offset = next_u16(s) % 4096;
	for (i = 0; i < r->npages; i++) {
		r->page[i] = next_byte(s) % PAGES;
		mr->pages[i] = pages[r->page[i]];
	}
	mr->npages = r->npages;
	mr->offset = r->offset;
	mr->length = r->npages * 4096 - r->offset - next_u16(s) % (4096 - r->offset);
	mr->iova = next_byte(s) & 1 ? next_u64(s) : 4096ull * next_byte(s);
	/* Registration refuses what leaves the address space. */
	if (mr->iova + mr->length < mr->iova)
		mr->iova = -mr->length;
}

static void create(struct script *s)
{
	u8 what = next_byte(s);
	enum u4_mr_type type = (enum u4_mr_type[]){
		U4_MR_USER, U4_MR_USER, U4_MR_FAST, U4_MR_MW1, U4_MR_MW2 }[what % 5];
	struct region *r = NULL;
	struct u4_mr *mr;
	u32 i;

	for (i = 0; i < MAX_REGIONS && !r; i++)
		if (!regions[i].mr)
			r = &regions[i];
	if (!r)
		return;
	mr = u4_mr_create(dev, &pds[what >= 224], type, type == U4_MR_USER || type == U4_MR_FAST ? 4 : 0);
	CHECK(!IS_ERR(mr), "no region");
	*r = (struct region){ .mr = mr, .pd = &pds[what >= 224], .key = mr->key, .empty = true };
	r->window = type == U4_MR_MW1 || type == U4_MR_MW2;
	r->type2 = type == U4_MR_MW2;
	r->fast = type == U4_MR_FAST;
	if (!r->window) {
		fill(s, r, mr);
		if (type == U4_MR_USER) {
			r->access = mr->access = what & 32 ? 31 : next_byte(s) & 31;
			r->valid = true;
			r->first = mr->iova;
			r->last = mr->iova + mr->length - 1;
			r->empty = !mr->length;
		}
	}
	u4_mr_publish(mr);
	live++;
}

static void destroy(struct region *r)
{
	if (!r->mr)
		return;
	u4_mr_destroy(r->mr);
	memset(r, 0, sizeof(*r));
	live--;
}

/* One that is there, mostly; @window or not, if there is such a one. */
static struct region *some(struct script *s, int window)
{
	u8 which = next_byte(s);
	u32 i;

	for (i = 0; i < MAX_REGIONS && which < 240; i++) {
		struct region *r = &regions[(which + i) % MAX_REGIONS];

		if (r->mr && (window < 0 || r->window == window))
			return r;
	}
	return &regions[which % MAX_REGIONS];
}

/* Mostly an address near the region, a length that just fits or just does not. */
static u64 near_address(struct script *s, const struct region *r, u32 *len)
{
	u8 how = next_byte(s);
	u64 room;

	*len = next_u16(s) % (how & 64 ? 16400 : 64);
	if (!(how & 15))
		return next_u64(s);
	if (!r->mr || r->empty)
		return r->first;
	room = r->last - r->first + 1;
	if ((how & 15) == 1)
		return r->last + 1 - *len + (s8)next_byte(s) % 3;
	if ((how & 15) == 2)
		return r->first - next_byte(s) % 3;
	if (how & 16)
		*len = *len % room + 1;
	return r->first + next_u16(s) % (room > *len ? room - *len + 1 : room);
}

static void remote(struct script *s)
{
	static const u32 accesses[] = {
		U4_ACCESS_REMOTE_READ, U4_ACCESS_REMOTE_WRITE, U4_ACCESS_REMOTE_ATOMIC,
		U4_ACCESS_REMOTE_READ | U4_ACCESS_REMOTE_WRITE,
	};
	struct u4_qp *qp = qps[next_byte(s) % NUM_QPS];
	struct region *r = some(s, -1), *reached;
	u8 how = next_byte(s);
	u32 access = accesses[how & 3], len, key = r->key, i;
	u64 addr = near_address(s, r, &len), operand, old, was;
	static u8 data[20000];
	struct u4_remote remote;
	struct u4_mr *mr;

	if (how & 128)
		key ^= 1u << (next_byte(s) & 31);
	if (access == U4_ACCESS_REMOTE_ATOMIC) {
		/* The responder has checked that it is aligned. */
		addr &= ~7ull;
		len = 8;
	}
	mr = u4_mr_get_remote(qp, key, access, addr, len, &remote) ? remote.mr : NULL;
	reached = may_remote(qp, key, access, addr, len);
	CHECK(!!mr == !!reached, "access %u of %u bytes at %#llx is %s, not %s", access, len,
	      (unsigned long long)addr, mr ? "granted" : "refused", reached ? "granted" : "refused");
	if (!mr)
		return;
	CHECK(mr == reached->mr, "another region is reached");
	if (access == U4_ACCESS_REMOTE_ATOMIC) {
		/* Atomics and stores act on aligned words within a page. */
		if ((addr - mr->iova + mr->offset) % 8)
			goto out;
		operand = next_u64(s);
		was = 0;
		memcpy(&was, shadow_at(reached, addr), 8);
		if (how & 16) {
			u4_mr_store64(mr, addr, &operand);
			was = operand;
		} else {
			u64 compare = how & 8 ? was : operand + 1;

			old = u4_mr_atomic(mr, addr, how & 4, operand, compare);
			CHECK(old == was, "an atomic says another value");
			was = how & 4 ? (was == compare ? operand : was) : was + operand;
		}
		memcpy(shadow_at(reached, addr), &was, 8);
	} else if (access & U4_ACCESS_REMOTE_WRITE) {
		memset(data, how, len);
		for (i = 0; i < len; i++)
			*shadow_at(reached, addr + i) = data[i] = how + i;
		u4_mr_copy(mr, addr, data, len, true);
	} else {
		u4_mr_copy(mr, addr, data, len, false);
		for (i = 0; i < len; i++)
			CHECK(data[i] == *shadow_at(reached, addr + i), "byte %u read", i);
	}
	/* What is sent in place: page and offset name the same byte. */
	if (len) {
		struct page *page;
		dma_addr_t dma;
		u32 offset;

		/* One that its owner may invalidate at any time is never sent in place. */
		CHECK(u4_mr_place(mr, addr, NULL, &page, &offset, &dma) == !reached->fast,
		      "no place, or one in a fast region");
		if (reached->fast)
			goto out;
		CHECK((u8 *)page->bytes + offset == (u8 *)pages[(shadow_at(reached, addr) -
		      shadow[0]) / 4096]->bytes + (shadow_at(reached, addr) - shadow[0]) % 4096,
		      "another place");
		CHECK(!u4_mr_place(mr, addr, (struct device *)&peer, &page, &offset, &dma),
		      "a region that is mapped for no device has an address there");
	}
out:
	u4_mr_put_remote(&remote);
}

/* Gather or scatter over a list of pieces, any of which may be wrong. */
static void list(struct script *s)
{
	struct u4_qp *qp = qps[next_byte(s) % 2 * 2];
	u8 how = next_byte(s);
	u32 n = how % 5, i, off = next_u16(s) % 4096, len = next_u16(s) % 8192, done, at;
	static u8 data[8192], want[8192];
	struct u4_sge sge[4] = {};
	bool to = how & 128;
	int ret, expected = 0;

	for (i = 0; i < n && i < 4; i++) {
		struct region *r = some(s, 0);

		sge[i].addr = near_address(s, r, &sge[i].len);
		sge[i].lkey = r->key ^ (next_byte(s) == 255);
		if (!sge[i].lkey)
			sge[i].lkey = 5;
	}
	n = min(n, 4u);
	for (i = 0; i < len; i++)
		data[i] = want[i] = how ^ i;

	/* The model goes piece by piece, as the keys are looked up. */
	for (done = 0, at = off; done < len && !expected;) {
		u32 skip = at, piece;
		struct region *r;

		for (i = 0; i < n && skip >= sge[i].len; i++)
			skip -= sge[i].len;
		if (i == n) {
			expected = -EACCES;
			break;
		}
		piece = min(len - done, sge[i].len - skip);
		r = by_key(sge[i].lkey);
		if (!r || r->window ||
		    !may(r, qp, to ? U4_ACCESS_LOCAL_WRITE : 0, sge[i].addr + skip, piece)) {
			expected = -EACCES;
			break;
		}
		for (; piece; piece--, done++, at++, skip++) {
			u8 *byte = shadow_at(r, sge[i].addr + skip);

			if (to)
				*byte = data[done];
			else
				want[done] = *byte;
		}
	}
	ret = u4_sge_copy(qp, sge, n, off, data, len, to, NULL);
	CHECK(ret == expected, "a list of %u pieces gives %d, not %d", n, ret, expected);
	CHECK(!memcmp(data, want, len), "gathered bytes are others");
}

static void bind_window(struct script *s)
{
	u8 how = next_byte(s);
	struct u4_qp *qp = qps[next_byte(s) % NUM_QPS];
	struct region *w = some(s, 1), *r = some(s, 0), *now;
	struct u4_swqe wqe = { .op = U4_WR_BIND_MW };
	u32 len, needed = U4_ACCESS_MW_BIND;
	bool good;
	int ret;

	wqe.bind.addr = near_address(s, r, &len);
	wqe.bind.length = how & 64 ? 0 : len;
	wqe.bind.lkey = r->key;
	wqe.bind.access = how & 32 ? 15 : next_byte(s) & 31;
	wqe.rkey = w->key;
	wqe.bind.key = how & 15 ? (w->key & ~0xffu) | next_byte(s) : next_u32(s);
	good = w->mr && w->window && w->pd == qp->pd && wqe.bind.key >> 8 == w->key >> 8;
	if (good && w->type2 && (w->valid || !wqe.bind.length))
		good = false;
	if (good && wqe.bind.length) {
		now = by_key(wqe.bind.lkey);
		good = now && !now->window && may(now, qp, needed, wqe.bind.addr, wqe.bind.length);
		if (good && wqe.bind.access & (U4_ACCESS_REMOTE_WRITE | U4_ACCESS_REMOTE_ATOMIC))
			good = now->access & U4_ACCESS_LOCAL_WRITE;
	}
	ret = u4_mr_bind(qp, &wqe);
	CHECK(!ret == good, "a bind gives %d, not %s", ret, good ? "success" : "an error");
	if (ret)
		return;
	w->key = wqe.bind.key;
	w->valid = wqe.bind.length;
	w->access = wqe.bind.access;
	w->target = wqe.bind.lkey;
	w->bound_to = qp->serial;
	w->first = wqe.bind.addr;
	w->last = wqe.bind.addr + wqe.bind.length - 1;
	w->empty = !wqe.bind.length;
}

static void fast_register(struct script *s)
{
	struct region *r = some(s, -1);
	struct u4_swqe wqe = { .op = U4_WR_REG_MR };
	bool good;
	int ret;

	if (!r->mr)
		return;
	/* A kernel client maps its pages while the region is not in use. */
	if (r->fast && !r->valid)
		fill(s, r, r->mr);
	wqe.mr.mr = r->mr;
	wqe.mr.addr = r->mr->iova;
	wqe.mr.length = r->mr->length;
	wqe.mr.access = next_byte(s) & 15;
	wqe.mr.key = next_byte(s) & 1 ? (r->key & ~0xffu) | next_byte(s) : next_u32(s);
	/* Mostly a name of the same alignment, as clients give. */
	if (wqe.mr.key & 7)
		wqe.mr.addr = (wqe.mr.addr & ~7ull) | (r->mr->offset & 7);
	good = r->fast && !r->valid && wqe.mr.key >> 8 == r->key >> 8 &&
	       !((wqe.mr.addr ^ r->mr->offset) & 7) &&
	       wqe.mr.addr <= 0 - (u64)r->mr->length;
	ret = u4_mr_fast_register(&wqe);
	CHECK(!ret == good, "a fast registration gives %d", ret);
	if (ret)
		return;
	r->key = wqe.mr.key;
	r->valid = true;
	r->access = wqe.mr.access;
	r->first = wqe.mr.addr;
	r->last = wqe.mr.addr + r->mr->length - 1;
	r->empty = !r->mr->length;
}

static void invalidate(struct script *s)
{
	struct u4_qp *qp = qps[next_byte(s) % NUM_QPS];
	struct region *r = some(s, -1);
	bool good = r->mr && r->valid && r->pd == qp->pd &&
		    (r->fast || (r->type2 && r->bound_to == qp->serial));
	int ret = u4_mr_invalidate(qp, r->key);

	CHECK(!ret == good, "an invalidation gives %d", ret);
	if (!ret)
		r->valid = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };
	u32 i;

	if (!dev) {
		dev = calloc(1, sizeof(*dev));
		for (i = 0; i < PAGES; i++)
			pages[i] = malloc(sizeof(struct page));
		for (i = 0; i < NUM_QPS; i++) {
			qps[i] = calloc(1, sizeof(struct u4_qp));
			qps[i]->dev = dev;
			qps[i]->pd = &pds[i == 2];
			qps[i]->serial = i + 1;
		}
		dev->peer = &peer;
		dev->max_mrs = 1000;
	}
	dev->next_mr = 1;
	random_byte = 0;
	for (i = 0; i < PAGES; i++) {
		memset(pages[i]->bytes, i, 4096);
		memset(shadow[i], i, 4096);
	}
	while (s.at < s.end) {
		u8 what = next_byte(&s);

		switch (what & 15) {
		case 0:
		case 1:
		case 2:
			create(&s);
			break;
		case 3:
			if (what & 128)
				destroy(some(&s, -1));
			break;
		case 4:
		case 5:
			bind_window(&s);
			break;
		case 6:
			fast_register(&s);
			break;
		case 7:
			invalidate(&s);
			break;
		case 8:
		case 9:
		case 10:
		case 11:
			list(&s);
			same_memory();
			break;
		default:
			remote(&s);
			same_memory();
		}
	}
	for (i = 0; i < MAX_REGIONS; i++) {
		if (regions[i].mr)
			CHECK(regions[i].mr->ref.frames.counter == 1, "a use count leaked");
		destroy(&regions[i]);
	}
	CHECK(!live && !dev->num_mrs.counter && !held, "regions are left");
	return 0;
}
