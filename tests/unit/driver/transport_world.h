/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two hosts of driver/transport joined by a cable that loses frames, in one
 * process and one thread. Included by each program that plays with them.
 *
 * The rail is a small model of link/: absolute frame numbers, runs that a later
 * header confirms, room for RING frames. Work, timers and time are moved by the
 * program. "Work and its check" posts random requests and checks data and order of
 * their completions.
 */
#ifndef TRANSPORT_WORLD_H
#define TRANSPORT_WORLD_H

#include "../../../driver/transport/internal.h"

#ifndef MEM_SIZE
#define MEM_SIZE	(16u << 20)
#endif
#define MAX_QPS		16
#define DEPTH		64

unsigned long jiffies = 1000;

#define CHECK(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			printf("FAIL %s:%d: ", __func__, __LINE__);	\
			printf(__VA_ARGS__);				\
			puts("");					\
			exit(1);					\
		}							\
	} while (0)

static u64 rng;

static u32 rnd(u32 n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return n ? (rng >> 33) % n : 0;
}

/* ---- timers and work ---- */

static struct timer_list *timers;
static struct work_struct *works;

void shim_timer_init(struct timer_list *timer, void (*fn)(struct timer_list *timer))
{
	timer->fn = fn;
	timer->pending = false;
	timer->known = true;
	timer->next = timers;
	timers = timer;
}

void shim_timer_set(struct timer_list *timer, unsigned long expires)
{
	timer->expires = expires;
	timer->pending = true;
}

void shim_timer_drop(struct timer_list *timer)
{
	struct timer_list **at;

	for (at = &timers; *at; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			return;
		}
	}
}

void shim_hrtimer_fire(struct timer_list *timer)
{
	struct hrtimer *ht = container_of(timer, struct hrtimer, t);

	ht->fn(ht);
}

void shim_queue_work(struct work_struct *work)
{
	if (work->queued)
		return;
	work->queued = true;
	work->next = works;
	works = work;
}

void shim_cancel_work(struct work_struct *work)
{
	struct work_struct **at;

	for (at = &works; *at; at = &(*at)->next) {
		if (*at == work) {
			*at = work->next;
			break;
		}
	}
	work->queued = false;
}

void shim_flush_work(struct work_struct *work)
{
	if (!work->queued)
		return;
	shim_cancel_work(work);
	work->fn(work);
}

static bool run_work(void)
{
	struct work_struct *work = works;

	if (!work)
		return false;
	works = work->next;
	work->queued = false;
	work->fn(work);
	return true;
}

static bool run_timer(void)
{
	struct timer_list *timer, *first = NULL;

	for (timer = timers; timer; timer = timer->next)
		if (timer->pending && (!first || time_before(timer->expires, first->expires)))
			first = timer;
	if (!first)
		return false;
	if (time_before(jiffies, first->expires))
		jiffies = first->expires;
	first->pending = false;
	first->fn(first);
	return true;
}

/* ---- rails ---- */

struct frame {
	struct frame	*next;
	u8		data[4096];
	u32		len;
	u32		seq;
	int		nraw;		/* -1: raw frame; header: how many follow */
	bool		nop;
	struct page	*page;		/* read from here when it leaves, or NULL */
	u32		off;
};

struct u4_rail {
	struct u4_peer	*to;		/* who receives */
	struct u4_rail	*reverse;	/* the receiver's own end: holds its run */
	struct frame	*head, **tail;
	u32		queued;
	u32		seq;
	bool		unconfirmed;
	/* receiving end */
	struct u4_run	run;
	u32		expected;
	u32		raw_left;
	u32		raw_idx;
	bool		in_run, run_ok;
	struct u4_waiter *waiters[256];
	u32		nwaiters;
	bool		gone;
};

static struct u4_rail rails[2], loops[2];
static u32 ring, loss;
static u64 frames_sent, frames_lost;
static struct frame slots[17];		/* one burst at a time is being filled */

struct u4_rail *u4_peer_rail(struct u4_peer *peer, u32 flow)
{
	(void)flow;
	return peer->rails[0];
}

struct device *u4_rail_dma_device(const struct u4_rail *rail)
{
	static struct device nhi;

	(void)rail;
	return &nhi;
}

bool u4_peer_uses(struct u4_peer *peer, const struct device *dma_dev)
{
	(void)dma_dev;
	return peer->rails[0];
}

struct u4_run *u4_rail_run(struct u4_rail *rail)
{
	return &rail->run;
}

int u4_rail_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst)
{
	CHECK(nraw <= U4_RAW_MAX, "burst of %u", nraw);
	if (rail->gone)
		return -ENOLINK;
	if (rail->queued + 1 + nraw > ring)
		return -EAGAIN;
	burst->rail = rail;
	burst->nraw = nraw;
	burst->payload = slots[0].data + sizeof(struct u4_link_hdr);
	memset(slots, 0xee, sizeof(slots));
	return 0;
}

void u4_rail_put(struct u4_burst *burst)
{
	(void)burst;
}

void *u4_burst_buf(struct u4_burst *burst, unsigned int i)
{
	CHECK(i < burst->nraw, "raw %u", i);
	return slots[1 + i].data;
}

void u4_burst_set_len(struct u4_burst *burst, unsigned int i, unsigned int len)
{
	CHECK(i < burst->nraw && len && len <= 4096, "raw %u of %u", i, len);
	slots[1 + i].len = len;
	slots[1 + i].page = NULL;
}

void u4_burst_set_page(struct u4_burst *burst, unsigned int i, struct page *page,
		       unsigned int offset, unsigned int len, dma_addr_t dma)
{
	(void)dma;
	CHECK(offset + len <= PAGE_SIZE, "raw frame crosses a page");
	u4_burst_set_len(burst, i, len);
	slots[1 + i].page = page;
	slots[1 + i].off = offset;
}

static void enqueue(struct u4_rail *rail, const struct frame *from, u32 len, int nraw, bool nop)
{
	struct frame *frame;

	frames_sent++;
	if (rnd(10000) < loss) {
		frames_lost++;
		rail->seq++;
		return;
	}
	frame = malloc(sizeof(*frame));
	if (from)
		memcpy(frame->data, from->data, sizeof(frame->data));
	frame->len = len;
	frame->seq = rail->seq++;
	frame->nraw = nraw;
	frame->nop = nop;
	frame->page = nraw < 0 ? from->page : NULL;
	frame->off = from ? from->off : 0;
	frame->next = NULL;
	*rail->tail = frame;
	rail->tail = &frame->next;
	rail->queued++;
}

void u4_rail_send(struct u4_burst *burst, enum u4_kind kind, unsigned int len, struct u4_ref *ref,
		  bool more)
{
	struct u4_rail *rail = burst->rail;
	u32 i;

	(void)ref;
	CHECK(kind == U4_KIND_XP && len <= 4080, "header frame of %u", len);
	enqueue(rail, &slots[0], len, burst->nraw, false);
	for (i = 0; i < burst->nraw; i++)
		enqueue(rail, &slots[1 + i], slots[1 + i].len, -1, false);
	burst->mark = rail->to == rail->reverse->to ? 0 : rail->seq;
	rail->unconfirmed = burst->nraw;
	if (burst->nraw && !more) {
		enqueue(rail, NULL, 0, 0, true);
		rail->unconfirmed = false;
	}
}

bool u4_rail_has_read(const struct u4_rail *rail, u64 mark)
{
	return !rail->head || rail->head->seq >= mark;
}

void u4_rail_look(struct u4_rail *rail)
{
	(void)rail;
}

bool u4_rail_wait(struct u4_rail *rail, struct u4_waiter *waiter)
{
	if (waiter->rail)
		return false;
	waiter->rail = rail;
	rail->waiters[rail->nwaiters++] = waiter;
	return true;
}

bool u4_rail_unwait(struct u4_waiter *waiter)
{
	struct u4_rail *rail = waiter->rail;
	u32 i;

	if (!rail)
		return false;
	for (i = 0; rail->waiters[i] != waiter; i++)
		;
	rail->waiters[i] = rail->waiters[--rail->nwaiters];
	waiter->rail = NULL;
	return true;
}

static void end_run(struct u4_rail *in, struct u4_rail *own, bool ok)
{
	if (!in->in_run)
		return;
	in->in_run = false;
	u4_xp_rx_confirm(in->to, own, &own->run, ok && in->run_ok && !in->raw_left);
}

/* One frame arrives at the far end. */
static void deliver(struct u4_rail *in)
{
	struct u4_rail *own = in->reverse;
	struct frame *frame = in->head;
	bool gap;

	in->head = frame->next;
	if (!in->head)
		in->tail = &in->head;
	in->queued--;
	gap = frame->seq != in->expected;
	in->expected = frame->seq + 1;
	if (frame->nraw >= 0) {
		end_run(in, own, !gap);
		if (gap)
			u4_xp_rx_lost(in->to, own);
		if (!frame->nop) {
			/* Exactly as long as said, so that a read beyond it is caught. */
			u8 *copy = malloc(frame->len);

			memcpy(copy, frame->data + sizeof(struct u4_link_hdr), frame->len);
			u4_xp_rx_header(in->to, own, &own->run, copy, frame->len, frame->nraw);
			free(copy);
			in->in_run = frame->nraw;
			in->run_ok = true;
			in->raw_left = frame->nraw;
			in->raw_idx = 0;
		}
	} else if (in->in_run && in->run_ok && !gap && in->raw_left) {
		if (frame->page)
			memcpy(frame->data, frame->page->bytes + frame->off, frame->len);
		u4_xp_rx_raw(in->to, own, &own->run, in->raw_idx++, frame->data, frame->len);
		in->raw_left--;
	} else {
		in->run_ok = false;
	}
	free(frame);
	if (!rnd(4) || !in->head)
		u4_xp_rx_batch_end(in->to, own);
}

static void wake(struct u4_rail *rail)
{
	struct u4_waiter *now[256];
	u32 i, n = rail->nwaiters;

	if (rail->queued > ring / 2)
		return;
	memcpy(now, rail->waiters, n * sizeof(now[0]));
	rail->nwaiters = 0;
	for (i = 0; i < n; i++)
		now[i]->rail = NULL;
	for (i = 0; i < n; i++)
		now[i]->fn(now[i]);
}

/* ---- memory: flat, one region per host ---- */

struct host {
	struct u4_xpdev	dev;
	struct u4_peer	peer;
	struct u4_mr	mr;
	struct page	*mem;
};

static struct host host[2];
static bool paged;
static u64 pages_fetched;
/* The peer may ask for what it must not have; then its keys and bounds are wrong now and then. */
static bool hostile;

struct u4_mr *u4_mr_get(struct u4_xpdev *dev, u32 key)
{
	struct host *h = container_of(dev, struct host, dev);

	if (key != h->mr.key)
		return NULL;
	h->mr.ref.frames.counter++;
	return &h->mr;
}

bool u4_mr_allows(const struct u4_mr *mr, const void *pd, u32 access, u64 addr, u64 len)
{
	return mr->pd == pd && (mr->access & access) == access && addr >= mr->iova &&
	       len <= mr->length && addr - mr->iova <= mr->length - len;
}

/* Memory that is paged on demand is used only while it is there, and under its lock. */
static void touch(const struct u4_mr *mr, u64 addr, u32 len)
{
	u64 page;

	if (mr->type != U4_MR_PAGED)
		return;
	CHECK(mr->page_lock.held, "pages used without their lock");
	for (page = (addr - mr->iova) / PAGE_SIZE; page * PAGE_SIZE < addr - mr->iova + len; page++)
		CHECK(mr->pages[page], "an absent page is used");
}

bool u4_mr_enter_fast(struct u4_mr *mr, u32 key, u64 addr, u32 len)
{
	(void)mr, (void)key, (void)addr, (void)len;
	CHECK(false, "no region is registered by a request here");
	return false;
}

static int fetch(struct u4_mr *mr, u64 addr, u64 len)
{
	struct host *h = container_of(mr, struct host, mr);
	u64 page, end = min(addr + len, mr->iova + mr->length) - mr->iova;

	CHECK(addr >= mr->iova && addr - mr->iova < mr->length, "fault outside the region");
	pages_fetched++;
	for (page = (addr - mr->iova) / PAGE_SIZE; page * PAGE_SIZE < end; page++)
		mr->pages[page] = &h->mem[page];
	return 0;
}

void u4_mr_copy(struct u4_mr *mr, u64 addr, void *buf, u32 len, bool to_mr)
{
	struct host *h = container_of(mr, struct host, mr);
	u8 *at = (u8 *)h->mem + (addr - mr->iova);

	touch(mr, addr, len);
	if (to_mr)
		memcpy(at, buf, len);
	else
		memcpy(buf, at, len);
}

bool u4_mr_place(struct u4_mr *mr, u64 addr, struct device *dma_dev, struct page **page,
		 u32 *offset, dma_addr_t *dma)
{
	struct host *h = container_of(mr, struct host, mr);

	(void)dma_dev;
	if (mr->type == U4_MR_PAGED)
		return false;
	*page = &h->mem[(addr - mr->iova) / PAGE_SIZE];
	*offset = (addr - mr->iova) % PAGE_SIZE;
	*dma = 0;
	return true;
}

u64 u4_mr_atomic(struct u4_mr *mr, u64 addr, bool swap, u64 operand, u64 compare)
{
	struct host *h = container_of(mr, struct host, mr);
	u64 *word = (u64 *)((u8 *)h->mem + (addr - mr->iova)), old = *word;

	touch(mr, addr, 8);
	*word = swap ? (old == compare ? operand : old) : old + operand;
	return old;
}

void u4_mr_map_all(struct u4_xpdev *dev)
{
	(void)dev;
}

void u4_mr_unmap_all(struct u4_xpdev *dev, struct device *dma_dev)
{
	(void)dev, (void)dma_dev;
}

void u4_mr_store64(struct u4_mr *mr, u64 addr, const void *value)
{
	u4_mr_copy(mr, addr, (void *)value, 8, true);
}

static struct u4_mr *granted(struct u4_mr *mr, struct u4_qp *qp, u32 access, u64 addr, u64 len)
{
	if (!mr || u4_mr_allows(mr, qp->pd, access, addr, len))
		return mr;
	u4_mr_put(mr);
	return NULL;
}

bool u4_mr_get_remote(struct u4_qp *qp, u32 rkey, u32 access, u64 raddr, u64 len,
		      struct u4_remote *remote)
{
	struct u4_mr *mr = u4_mr_get(qp->dev, rkey);

	if (hostile)
		mr = granted(mr, qp, access, raddr, len);
	else
		CHECK(mr && u4_mr_allows(mr, qp->pd, access, raddr, len),
		      "remote access outside the region");
	*remote = (struct u4_remote){ .mr = mr };
	return mr;
}

void u4_mr_put_remote(struct u4_remote *remote)
{
	u4_mr_put(remote->mr);
}

struct u4_mr *u4_mr_get_local(struct u4_qp *qp, u32 lkey, u32 access, u64 addr, u64 len)
{
	struct u4_mr *mr = u4_mr_get(qp->dev, lkey);

	if (hostile)
		return granted(mr, qp, access, addr, len);
	CHECK(mr && u4_mr_allows(mr, qp->pd, access, addr, len), "local access outside the region");
	return mr;
}

static void mr_release(struct u4_ref *ref)
{
	(void)ref;
	CHECK(false, "use count of a region that is still there fell to 0");
}

/* ---- work and its check ---- */

struct job {
	u64	id;
	u8	op;
	u32	len, local, remote;	/* offsets in the memories */
	u32	imm;
	u64	before;			/* atomics: value expected to come back */
	bool	signaled;
};

struct end {				/* requester on host 0, responder on host 1 */
	struct u4_qp	*qp[2];
	struct job	jobs[DEPTH];	/* posted, not completed; ring */
	u32		head, tail;
	u32		posted, completed, wanted;
	struct { u64 id; u32 off, len; } recv[DEPTH];
	u32		rhead, rtail;
	u32		rexpect;	/* jobs whose receive completed, in order */
	struct job	sends[DEPTH];	/* that will consume receives, in order */
	u32		shead, stail;
	u64		atomic;
	u64		local;		/* last local request that was carried out */
	u32		base, span;	/* its part of both memories */
	u32		at;
};

static struct end ends[MAX_QPS];
static u8 *host_bytes(int i) { return (u8 *)host[i].mem; }

static struct end *end_of(struct u4_qp *qp)
{
	return qp->owner;
}

static void local_once(struct end *e, u64 id)
{
	CHECK(id > e->local, "local request %llu is carried out again", (unsigned long long)id);
	e->local = id;
}

int u4_mr_invalidate(struct u4_qp *qp, u32 key)
{
	struct end *e = end_of(qp);

	if (hostile)
		return key == host[0].mr.key ? 0 : -EINVAL;
	CHECK(u4_sq_at(qp, qp->sq_una)->wr_id == key,
	      "a key goes while requests before are not over");
	local_once(e, key);
	return 0;
}

int u4_mr_bind(struct u4_qp *qp, const struct u4_swqe *wqe)
{
	local_once(end_of(qp), wqe->wr_id);
	return 0;
}

int u4_mr_fast_register(const struct u4_swqe *wqe)
{
	(void)wqe;
	return -EINVAL;
}

static void verify(const struct job *job)
{
	CHECK(!memcmp(host_bytes(0) + job->local, host_bytes(1) + job->remote, job->len),
	      "data of request %llu (op %u, %u bytes) differs", (unsigned long long)job->id,
	      job->op, job->len);
}

static void sim_send_done(struct u4_qp *qp, const struct u4_swqe *wqe, enum u4_status status,
			  u32 len)
{
	struct end *e = end_of(qp);
	struct job *job = &e->jobs[e->head % DEPTH];

	CHECK(qp == e->qp[0] && e->head != e->tail, "completion without request");
	CHECK(wqe->wr_id == job->id, "completion of %llu, expected %llu",
	      (unsigned long long)wqe->wr_id, (unsigned long long)job->id);
	CHECK(status == U4_OK, "request %llu ended with status %u",
	      (unsigned long long)job->id, status);
	if (job->op == U4_WR_READ || job->op == U4_WR_WRITE)
		verify(job);
	if (job->op == U4_WR_FETCH_ADD) {
		u64 got;

		memcpy(&got, host_bytes(0) + job->local, 8);
		CHECK(got == job->before, "fetch-and-add gave %llu, expected %llu",
		      (unsigned long long)got, (unsigned long long)job->before);
	}
	if (job->op == U4_WR_READ)
		CHECK(len == job->len, "READ of %u gave %u", job->len, len);
	e->head++;
	e->completed++;
}

static int sim_recv_next(struct u4_qp *qp, struct u4_rwqe *rwqe)
{
	struct end *e = end_of(qp);
	u32 i;

	/* Now and then as if the receive had been posted too late. */
	if (qp != e->qp[1] || e->rhead == e->rtail || !rnd(16))
		return -ENOENT;
	i = e->rhead++ % DEPTH;
	rwqe->wr_id = e->recv[i].id;
	rwqe->len = e->recv[i].len;
	/* In two pieces, one of them odd. */
	rwqe->num_sge = 2;
	rwqe->sge[0].addr = 0x100000000ull + e->recv[i].off;
	rwqe->sge[0].len = e->recv[i].len / 3;
	rwqe->sge[1].addr = rwqe->sge[0].addr + rwqe->sge[0].len;
	rwqe->sge[1].len = e->recv[i].len - rwqe->sge[0].len;
	rwqe->sge[0].lkey = rwqe->sge[1].lkey = host[1].mr.key;
	return 0;
}

static void sim_recv_done(struct u4_qp *qp, const struct u4_recv *recv)
{
	struct end *e = end_of(qp);
	struct job *job = &e->sends[e->shead % DEPTH];

	CHECK(recv->status == U4_OK, "receive ended with status %u", recv->status);
	CHECK(e->shead != e->stail, "receive without a send");
	CHECK(recv->len == job->len, "receive of %u bytes, sent %u", recv->len, job->len);
	CHECK(recv->flags & U4_XP_IMM && recv->imm == job->imm, "immediate data differs");
	CHECK(recv->write == (job->op == U4_WR_WRITE), "kind of the receive");
	if (job->op == U4_WR_SEND)
		CHECK(recv->wr_id == job->id, "receive %llu for send %llu",
		      (unsigned long long)recv->wr_id, (unsigned long long)job->id);
	verify(job);
	e->shead++;
}

static void sim_event(struct u4_qp *qp, enum u4_event event)
{
	(void)qp;
	CHECK(event == U4_EV_COMM_EST, "event %u", event);
}

static const struct u4_xp_ops sim_ops = {
	.send_done = sim_send_done,
	.recv_next = sim_recv_next,
	.recv_done = sim_recv_done,
	.event = sim_event,
};

/* Fresh memory on both sides for each request, until the part is used up; then anew. */
static u32 take(struct end *e, u32 len)
{
	u32 at;

	if (e->at + len + 5000 > e->span)
		return 0;
	e->at += rnd(3) ? rnd(64) : (4096 - (e->base + e->at) % 4096) % 4096;
	at = e->base + e->at;
	e->at += len;
	return at;
}

static bool post(struct end *e)
{
	static const u32 sizes[] = { 0, 1, 64, 4000, 4032, 4033, 4096, 8192, 65536, 200000 };
	static u64 id;
	struct job *job = &e->jobs[e->tail % DEPTH];
	struct u4_qp *qp = e->qp[0];
	struct u4_swqe *wqe;
	bool recv = false;
	u32 i;

	if (e->tail - e->head >= DEPTH || e->stail - e->shead >= DEPTH || e->posted == e->wanted)
		return false;
	memset(job, 0, sizeof(*job));
	job->id = ++id;
	job->len = rnd(2) ? sizes[rnd(ARRAY_SIZE(sizes))] : rnd(70000);
	job->op = (u8[]){ U4_WR_SEND, U4_WR_WRITE, U4_WR_READ, U4_WR_WRITE, U4_WR_FETCH_ADD,
			  U4_WR_BIND_MW, U4_WR_LOCAL_INV }[rnd(7)];
	if (job->op == U4_WR_FETCH_ADD)
		job->len = 8;
	if (job->op == U4_WR_BIND_MW || job->op == U4_WR_LOCAL_INV)
		job->len = 0;
	job->local = take(e, job->len);
	if (!job->local) {
		/* Only when nothing is outstanding may memory be used again. */
		if (e->head != e->tail || e->shead != e->stail)
			return false;
		e->at = 0;
		job->local = take(e, job->len);
	}
	job->remote = job->local;
	if (job->op != U4_WR_FETCH_ADD)
		for (i = 0; i < job->len; i++) {
			host_bytes(job->op == U4_WR_READ)[job->local + i] = rnd(256);
			host_bytes(job->op != U4_WR_READ)[job->local + i] = 0xaa;
		}
	job->imm = rnd(1 << 30);

	u4_sq_lock(qp);
	wqe = u4_sq_next(qp);
	CHECK(wqe, "send queue full");
	wqe->wr_id = job->id;
	wqe->op = job->op;
	wqe->raddr = 0x100000000ull + job->remote;
	wqe->rkey = job->op == U4_WR_LOCAL_INV ? job->id : host[1].mr.key;
	wqe->len = job->len;
	wqe->imm = job->imm;
	if (rnd(2))
		wqe->flags |= U4_WRF_SIGNALED;
	if (!rnd(8))
		wqe->flags |= U4_WRF_FENCE;
	if (job->op == U4_WR_SEND || (job->op == U4_WR_WRITE && rnd(2))) {
		wqe->flags |= U4_WRF_IMM;
		recv = true;
	}
	if (job->op == U4_WR_FETCH_ADD) {
		wqe->raddr = 0x100000000ull + e->base + e->span;
		wqe->atomic.compare_add = job->imm;
		job->before = e->atomic;
		e->atomic += job->imm;
	}
	if (job->op == U4_WR_WRITE && job->len <= 512 && rnd(2)) {
		wqe->flags |= U4_WRF_INLINE;
		memcpy(wqe->data, host_bytes(0) + job->local, job->len);
	} else if (job->op < U4_WR_LOCAL_INV) {
		u32 cut = rnd(3) ? 0 : rnd(job->len);

		wqe->num_sge = 2;
		wqe->sge[0] = (struct u4_sge){ 0x100000000ull + job->local, cut, host[0].mr.key };
		wqe->sge[1] = (struct u4_sge){ 0x100000000ull + job->local + cut, job->len - cut,
					       host[0].mr.key };
	}
	e->tail++;
	e->posted++;
	if (recv) {
		e->sends[e->stail++ % DEPTH] = *job;
		i = e->rtail++ % DEPTH;
		e->recv[i].id = job->id;
		e->recv[i].off = job->remote;
		e->recv[i].len = job->len + (job->op == U4_WR_WRITE ? 0 : rnd(2));
	}
	u4_sq_push(qp);
	if (rnd(2) || e->posted == e->wanted)
		u4_sq_run(qp);
	u4_sq_unlock(qp);
	return true;
}

static void setup(u32 qps)
{
	struct u4_qp_attr attr = {
		.access = 15, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7, .min_rnr_timer = 12,
		.max_rd_atomic = 4, .max_dest_rd_atomic = 4,
	};
	u32 i, side;

	for (side = 0; side < 2; side++) {
		struct host *h = &host[side];

		h->mem = aligned_alloc(4096, MEM_SIZE);
		memset(h->mem, 0, MEM_SIZE);
		h->mr.ref.frames.counter = 1;
		h->mr.ref.release = mr_release;
		h->mr.key = 0x1000 + side;
		h->mr.access = 15;
		h->mr.pd = h;
		h->mr.iova = 0x100000000ull;
		h->mr.length = MEM_SIZE;
		if (paged) {
			h->mr.type = U4_MR_PAGED;
			h->mr.fault = fetch;
			h->mr.pages = calloc(MEM_SIZE / PAGE_SIZE, sizeof(*h->mr.pages));
		}
		CHECK(!u4_xpdev_init(&h->dev, &h->peer, &sim_ops, 500, 100), "no device");
		h->dev.next_qpn = 16 + side * 1000;
		h->peer.client = &h->dev;
		h->peer.rails[0] = &rails[side];
		rails[side].to = &host[!side].peer;
		rails[side].reverse = &rails[!side];
		rails[side].tail = &rails[side].head;
		h->peer.loop = &loops[side];
		loops[side].to = &h->peer;
		loops[side].reverse = &loops[side];
		loops[side].tail = &loops[side].head;
	}
	for (i = 0; i < qps; i++) {
		struct u4_qp_init init = {
			.type = U4_QPT_RC, .sq_depth = DEPTH, .max_sge = 4, .max_inline = 512,
			.owner = &ends[i],
		};
		struct end *e = &ends[i];

		e->span = MEM_SIZE / MAX_QPS - 8192;
		e->base = 4096 + i * (MEM_SIZE / MAX_QPS);
		e->at = 1;
		for (side = 0; side < 2; side++) {
			init.pd = &host[side];
			e->qp[side] = u4_qp_create(&host[side].dev, &init);
			CHECK(!IS_ERR(e->qp[side]), "no queue pair");
		}
		for (side = 0; side < 2; side++) {
			struct u4_qp_attr a = attr;

			a.dest_qpn = e->qp[!side]->qpn;
			a.rq_psn = 0xfffff0 + i;
			a.sq_psn = 0xfffff0 + i;
			u4_qp_modify(e->qp[side], &a, U4_QPS_INIT);
			u4_qp_modify(e->qp[side], &a, U4_QPS_RTR);
			u4_qp_modify(e->qp[side], &a, U4_QPS_RTS);
		}
	}
}

#endif /* TRANSPORT_WORLD_H */
