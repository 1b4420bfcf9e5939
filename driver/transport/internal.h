/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Between the files of transport/. verbs/ and link/ do not include this.
 */
#ifndef U4_TRANSPORT_INTERNAL_H
#define U4_TRANSPORT_INTERNAL_H

#include "segment.h"
#include "transport.h"

/* Segments that a requester has sent and not seen acknowledged. */
#define U4_WINDOW		256
/* An acknowledgement is asked for at least this often within a message. */
#define U4_ACK_EVERY		32
/* A sequence NAK counts less than a timeout: so many make one retry. */
#define U4_NAKS_PER_RETRY	8
/*
 * Silence is asked about long before it counts as a timeout: after this part of
 * the timeout, at least U4_PROBE_MIN ticks, then at doubled intervals.
 */
#define U4_PROBE_PART		32
#define U4_PROBE_MIN		2ul
/* What is to be told, or given back, waits so long for a ring that does not go on, in jiffies. */
#define U4_RING_WAIT		(HZ / 2)
/* Wrong keys before an unreliable QP is shut: it gets no NAK, guessing must cost. */
#define U4_BAD_KEYS_MAX		64

static inline s32 u4_psn_cmp(u32 a, u32 b)
{
	return (s32)((a - b) << 8);
}

static inline u32 u4_psn_add(u32 psn, u32 n)
{
	return (psn + n) & U4_PSN_MASK;
}

static inline struct u4_swqe *u4_sq_at(const struct u4_qp *qp, u32 idx)
{
	return qp->sq + (size_t)(idx & qp->sq_mask) * qp->sq_stride;
}

static inline bool u4_qp_reliable(const struct u4_qp *qp)
{
	return qp->type == U4_QPT_RC;
}

/* Who holds one of the locks sees it change to an error under the other. */
static inline u8 u4_qp_state(const struct u4_qp *qp)
{
	return READ_ONCE(qp->state);
}

static inline bool u4_qp_receives(const struct u4_qp *qp)
{
	u8 state = u4_qp_state(qp);

	return state >= U4_QPS_RTR && state != U4_QPS_ERR;
}

static inline bool u4_qp_sends(const struct u4_qp *qp)
{
	u8 state = u4_qp_state(qp);

	return state == U4_QPS_RTS || state == U4_QPS_SQD;
}

static inline bool u4_qp_datagram(const struct u4_qp *qp)
{
	return qp->type == U4_QPT_UD || qp->type == U4_QPT_GSI;
}

/* Under RCU. */
static inline struct u4_rail *u4_qp_rail(const struct u4_qp *qp, bool loopback)
{
	return loopback ? qp->dev->peer->loop : u4_peer_rail(qp->dev->peer, qp->qpn);
}

/*
 * Reserve a burst, or wait for room: -EAGAIN then means that @waiter will be
 * called. Room that came up between the two is not missed.
 */
int u4_burst_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst,
		 struct u4_waiter *waiter);

/* ---- mr.c ---- */
/* Does @mr grant @access to @len bytes at @addr to a QP of @pd? */
bool u4_mr_allows(const struct u4_mr *mr, const void *pd, u32 access, u64 addr, u64 len);
/*
 * Around each use of the memory of a region that @key allows: are the pages there? False:
 * not now, or no longer, and u4_fault_start() is to be called. Only copying may happen in
 * between.
 */
bool u4_mr_enter_paged(struct u4_mr *mr, u64 addr, u32 len);
bool u4_mr_enter_fast(struct u4_mr *mr, u32 key, u64 addr, u32 len);
static inline bool u4_mr_enter(struct u4_mr *mr, u32 key, u64 addr, u32 len)
{
	switch (mr->type) {
	case U4_MR_PAGED:
		return u4_mr_enter_paged(mr, addr, len);
	case U4_MR_FAST:
		return u4_mr_enter_fast(mr, key, addr, len);
	default:
		return true;
	}
}

static inline void u4_mr_leave(struct u4_mr *mr)
{
	if (mr->type == U4_MR_PAGED || mr->type == U4_MR_FAST) {
		__acquire(&mr->page_lock);
		read_unlock(&mr->page_lock);
	}
}

/* Copy inside a region that allows it; @to_mr says which way. */
void u4_mr_copy(struct u4_mr *mr, u64 addr, void *buf, u32 len, bool to_mr);
/* Page and DMA address behind @addr; 0 when the region is not mapped for @dma_dev. */
bool u4_mr_place(struct u4_mr *mr, u64 addr, struct device *dma_dev, struct page **page,
		 u32 *offset, dma_addr_t *dma);
/* 64-bit atomic on @addr, aligned; returns the original value. */
u64 u4_mr_atomic(struct u4_mr *mr, u64 addr, bool swap, u64 operand, u64 compare);
void u4_mr_store64(struct u4_mr *mr, u64 addr, const void *value);
/* Under RCU: the region behind a local key, held, if a request of @qp may use it; else NULL. */
struct u4_mr *u4_mr_get_local(struct u4_qp *qp, u32 lkey, u32 access, u64 addr, u64 len);
/**
 * struct u4_remote - what a remote key grants, for as long as it is used
 * @mr: the region, held
 * @window: held, and locked so that nobody binds or invalidates it meanwhile; %NULL if the
 *	key is the region's own. What is sent through a window is copied, since a frame in
 *	a ring would outlast the lock
 */
struct u4_remote {
	struct u4_mr	*mr;
	struct u4_mr	*window;
};

/*
 * Under RCU, bottom halves off: does @rkey grant @access to @len bytes at @raddr to the peer of
 * @qp? When it does, @remote is filled in and u4_mr_put_remote() follows.
 */
bool u4_mr_get_remote(struct u4_qp *qp, u32 rkey, u32 access, u64 raddr, u64 len,
		      struct u4_remote *remote);
void u4_mr_put_remote(struct u4_remote *remote);
/* The key is no longer good; 0, or -EINVAL when @qp may not do that. */
int u4_mr_invalidate(struct u4_qp *qp, u32 key);
int u4_mr_bind(struct u4_qp *qp, const struct u4_swqe *wqe);
int u4_mr_fast_register(const struct u4_swqe *wqe);
void u4_mr_map_all(struct u4_xpdev *dev);
void u4_mr_unmap_all(struct u4_xpdev *dev, struct device *dma_dev);

/* ---- paging.c ---- */
/* The result of placing bytes where a page is absent; other than any NAK code plus 1. */
#define U4_ABSENT		0xff
/*
 * Fetch the pages at @addr, @len bytes ahead at most. -EINPROGRESS: what needed them is
 * tried again when they are there. -EACCES: there is no such memory. Under the lock of
 * the side that @fault is of.
 */
int u4_fault_start(struct u4_qp *qp, struct u4_fault *fault, struct u4_mr *mr, u64 addr, u64 len);
void u4_fault_init(struct u4_qp *qp);
void u4_fault_stop(struct u4_qp *qp);		/* process; no lock held, @qp is dead */

/* ---- sge.c: local memory of work requests ---- */

/**
 * u4_sge_copy() - copy between a buffer and a list of SGEs
 * @qp: whose protection domain counts
 * @sge: the list
 * @num_sge: its length
 * @off: where to start in the list's bytes
 * @buf: buffer
 * @len: bytes; the list holds at least @off + @len
 * @to_sge: write into the memory (needs local write)
 * @fault: of the side that needs the memory, whose lock is held
 *
 * Return: 0; %-EACCES when a key does not allow it; %-EINPROGRESS when a page is absent
 * and being fetched. Part may be copied in any case.
 */
int u4_sge_copy(struct u4_qp *qp, const struct u4_sge *sge, u32 num_sge, u32 off, void *buf,
		u32 len, bool to_sge, struct u4_fault *fault);
/* Address and contiguous rest at byte @off of the list; false past its end. */
bool u4_sge_find(const struct u4_sge *sge, u32 num_sge, u32 off, struct u4_sge *rest);

/* ---- emit.c: a region's bytes as the payload of a burst ---- */

/**
 * u4_emit_region() - let the raw frames of a burst be read from a region
 * @burst: with plan->nraw raw frames reserved
 * @seg: the segment, for the raw frames' lengths
 * @mr: the region, held and checked by the caller; NULL is kernel memory
 * @addr: address of the first raw byte
 * @copy: copy even if the region is mapped
 *
 * Return: what to give to u4_rail_send() as @ref.
 */
struct u4_ref *u4_emit_region(struct u4_burst *burst, const struct u4_seg *seg,
			      struct u4_mr *mr, u64 addr, bool copy);

/* ---- qp.c ---- */
struct u4_qp *u4_qp_find(struct u4_xpdev *dev, u32 qpn);	/* under RCU */
/* Both need sq_lock or rq_lock; the flushes and the event follow in u4_qp.work. */
void u4_qp_fail(struct u4_qp *qp);
void u4_qp_event(struct u4_qp *qp, enum u4_event event);

/* ---- requester.c ---- */
void u4_req_init(struct u4_qp *qp);
void u4_req_stop(struct u4_qp *qp);		/* process; no lock held */
void u4_req_reset(struct u4_qp *qp, u32 psn);	/* sq_lock */
void u4_req_flush(struct u4_qp *qp);		/* sq_lock */
void u4_req_restart(struct u4_qp *qp);		/* sq_lock: send again from the oldest */
void u4_req_tell(struct u4_qp *qp);		/* sq_lock: of what is over, as far as may be */
bool u4_req_ring_reads(const struct u4_qp *qp);	/* sq_lock: memory that was sent in place */
void u4_req_rail_gone(struct u4_qp *qp, const struct u4_rail *rail);	/* sq_lock */
/* sq_lock: the queue pair ends; @status is that of the oldest request, the others are flushed. */
void u4_req_abort(struct u4_qp *qp, enum u4_status status);
bool u4_req_rx(struct u4_qp *qp, const struct u4_seg *seg, bool defer);
/* READ responses; under sq_lock, and so is u4_req_rx(). False: not awaited (any more). */
bool u4_req_place(struct u4_qp *qp, const struct u4_seg *seg, u32 off, const void *data, u32 len);
void u4_req_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok);

/* ---- responder.c ---- */
void u4_rsp_init(struct u4_qp *qp);
void u4_rsp_reset(struct u4_qp *qp);		/* rq_lock */
void u4_rsp_flush(struct u4_qp *qp);		/* rq_lock */
void u4_rsp_run(struct u4_qp *qp);		/* rq_lock: send what is due */
void u4_rsp_ask_again(struct u4_qp *qp);	/* rq_lock: for what is expected next */
/*
 * A request's header frame, under rq_lock. True: it is the one expected, and its
 * raw frames (if any) are to be placed; then u4_rsp_commit() follows.
 */
bool u4_rsp_rx(struct u4_qp *qp, const struct u4_seg *seg);
/* 0, or the enum u4_nak code plus 1 that the commit will answer with, or U4_ABSENT. */
int u4_rsp_place(struct u4_qp *qp, const struct u4_seg *seg, u32 off, const void *data, u32 len);
/* All of the request arrived (@ok) or not; @error is what u4_rsp_place() said. */
void u4_rsp_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok, int error);

/* ---- ud.c; both and the placing in between under rq_lock ---- */
bool u4_ud_rx(struct u4_qp *qp, const struct u4_seg *seg);
void u4_ud_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok);

/* ---- mcast.c; all under RCU ---- */
/* Destination of a datagram as a GID. */
void u4_net_dgid(const u8 *net_hdr, bool ipv4, u8 *gid);
/* Does a datagram claim to come from one of the port's own addresses? */
bool u4_own_source(struct u4_xpdev *dev, const struct u4_seg *seg);
/* Process context: @qp goes away. */
void u4_mc_leave(struct u4_qp *qp);
/* Does the group have members on this device beside @qp? */
bool u4_mc_others(struct u4_qp *qp, const u8 *gid);
/*
 * A multicast datagram's header frame: each member's inline part, and all of it when
 * there is no more. @gid is filled in. Returns what to give to the two below when its
 * raw frames come, else 0.
 */
u64 u4_mc_rx(struct u4_xpdev *dev, const struct u4_seg *seg, bool loop, u8 *gid);
void u4_mc_place(struct u4_xpdev *dev, const u8 *gid, u64 run, const struct u4_seg *seg, u32 off,
		 const void *data, u32 len);
void u4_mc_commit(struct u4_xpdev *dev, const u8 *gid, u64 run, const struct u4_seg *seg);

/* ---- rx.c ---- */
/* The QP owes something: u4_rsp_run() will be called when the batch ends. rq_lock */
void u4_rx_defer(struct u4_rail *rail, struct u4_qp *qp);

#endif /* U4_TRANSPORT_INTERNAL_H */
