/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What transport/ offers to verbs/: queue pairs that send work requests and
 * deliver completions, and memory regions that keys name. The transport knows
 * segments, PSNs and keys; it knows nothing of ib_core, of user ABIs or of
 * Thunderbolt. Verbs reach it by the functions below and hear from it by
 * struct u4_xp_ops.
 *
 * Locks: u4_qp.rq_lock (responder side), then u4_qp.sq_lock (requester side).
 * Both are taken with bottom halves off. Completion upcalls run under one of
 * them and may take the CQ's lock, nothing else of the transport.
 */
#ifndef U4_TRANSPORT_H
#define U4_TRANSPORT_H

#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "../link/link.h"

#define U4_MAX_SGE		32
#define U4_MAX_INLINE		512
#define U4_MAX_MSG		(1u << 30)
#define U4_MAX_RD_ATOMIC	16	/* per QP, each direction; power of two */
#define U4_MAX_DEVICES_MAPPED	4	/* host routers that a region is DMA-mapped for */
#define U4_NEAR			256	/* QPs and regions found without a search; power of two */
#define U4_NET_HDR_LEN		40	/* network header in front of UD payload */
#define U4_GID_LEN		16
#define U4_MAX_OWN_GIDS		128
#define U4_MC_GROUPS		4096	/* of a device */
#define U4_MC_MEMBERS		16384	/* of all groups of a device */
#define U4_MC_PER_GROUP		64
#define U4_MC_PER_QP		256
#define U4_MC_BUCKETS		1024
#define U4_QPN_GSI		1
#define U4_QPN_MULTICAST	0xffffff
#define U4_QPN_FIRST		16
#define U4_PSN_MASK		0xffffff

/* Same numbers as enum ib_wc_status (IBTA order); verbs assert it. */
enum u4_status {
	U4_OK			= 0,
	U4_LOC_LEN_ERR		= 1,
	U4_LOC_QP_OP_ERR	= 2,
	U4_LOC_PROT_ERR		= 4,
	U4_WR_FLUSH_ERR		= 5,
	U4_MW_BIND_ERR		= 6,
	U4_REM_INV_REQ_ERR	= 9,
	U4_REM_ACCESS_ERR	= 10,
	U4_REM_OP_ERR		= 11,
	U4_RETRY_EXC_ERR	= 12,
	U4_RNR_RETRY_EXC_ERR	= 13,
};

/* Same numbers as enum ib_uverbs_access_flags. */
enum u4_access {
	U4_ACCESS_LOCAL_WRITE	= 1,
	U4_ACCESS_REMOTE_WRITE	= 2,
	U4_ACCESS_REMOTE_READ	= 4,
	U4_ACCESS_REMOTE_ATOMIC	= 8,
	U4_ACCESS_MW_BIND	= 16,
	U4_ACCESS_FLUSH_GLOBAL	= 256,
};

/* Work request opcodes; verbs translate from theirs. */
enum u4_wr_op {
	U4_WR_SEND,
	U4_WR_WRITE,
	U4_WR_READ,
	U4_WR_CMP_SWAP,
	U4_WR_FETCH_ADD,
	U4_WR_ATOMIC_WRITE,
	U4_WR_FLUSH,
	U4_WR_LOCAL_INV,
	U4_WR_REG_MR,
	U4_WR_BIND_MW,
};

enum u4_wr_flags {
	U4_WRF_SIGNALED		= 1,
	U4_WRF_SOLICITED	= 2,
	U4_WRF_FENCE		= 4,
	U4_WRF_INLINE		= 8,	/* u4_swqe.data holds the payload */
	U4_WRF_IMM		= 16,
	U4_WRF_INV		= 32,	/* u4_swqe.imm is the rkey to invalidate */
};

/**
 * struct u4_sge - a piece of local memory
 * @addr: address in the region (or kernel address with key 0)
 * @len: bytes
 * @lkey: its key; 0 is the kernel's all-memory key, for kernel QPs only
 */
struct u4_sge {
	u64	addr;
	u32	len;
	u32	lkey;
};

/**
 * struct u4_av - address of a UD message
 * @net_hdr: 40 bytes that the receiver gets as GRH (IPv4: in the last 20)
 * @loopback: the destination is a QP of this device
 * @ipv4: @net_hdr holds an IPv4 header
 * @multicast: the destination is a group
 */
struct u4_av {
	u8	net_hdr[U4_NET_HDR_LEN];
	bool	loopback;
	bool	ipv4;
	bool	multicast;
};

/**
 * struct u4_swqe - a send work request, in the QP's kernel-owned ring
 *
 * Verbs fill the first part (after checking it); the part behind @tx is the
 * transport's.
 *
 * @wr_id: consumer's
 * @raddr: remote address
 * @rkey: remote key; UD: Q_Key
 * @imm: immediate data (bytes as the consumer gave them) or key to invalidate
 * @len: payload bytes: sum of the SGEs, or of the inline data
 * @op: enum u4_wr_op
 * @flags: enum u4_wr_flags
 * @num_sge: entries in @sge, 0 with U4_WRF_INLINE
 * @status: not U4_OK: verbs found it malformed; it completes so, in its turn. When it is
 *	over: what it completed with
 * @atomic: operands
 * @ud: destination
 * @mr: REG_MR: region, its new key and access; LOCAL_INV uses @rkey
 * @bind: BIND_MW: @rkey is the window's key of now, @bind.key the new one,
 *	@bind.lkey the region's; a length of 0 unbinds
 * @flush_len: FLUSH: bytes of remote memory; @len is 0
 * @tx: progress of the transport
 * @sge: local memory
 * @data: inline data
 */
struct u4_swqe {
	u64	wr_id;
	u64	raddr;
	u32	rkey;
	u32	imm;
	u32	len;
	u8	op;
	u8	flags;
	u8	num_sge;
	u8	status;
	union {
		struct {
			u64	compare_add;
			u64	swap;
		} atomic;
		struct {
			u32	qpn;
			struct u4_av av;
		} ud;
		struct {
			struct u4_mr *mr;
			u64	addr;
			u64	length;
			u32	key;
			u32	access;
		} mr;
		struct {
			u64	addr;
			u64	length;
			u32	lkey;
			u32	key;
			u32	access;
		} bind;
		u32	flush_len;
	};
	struct {
		u32	first_psn;
		u32	done;		/* READ, atomics: bytes received; when over: bytes to tell */
		u8	sent;		/* first segment went out at least once */
		u8	resent;		/* READ asked for again, no progress since */
		u32	rail;		/* u4_qp.tx_rail_nr of ... */
		u64	mark;		/* ... the last frames sent in place, or 0 */
	} tx;
	union {
		DECLARE_FLEX_ARRAY(struct u4_sge, sge);
		DECLARE_FLEX_ARRAY(u8, data);
	};
};

/**
 * struct u4_rwqe - a receive work request
 */
struct u4_rwqe {
	u64		wr_id;
	u32		len;		/* sum of the SGEs */
	u32		num_sge;
	struct u4_sge	sge[U4_MAX_SGE];
};

/**
 * struct u4_recv - what a receive completed with
 * @wr_id: consumer's
 * @status: enum u4_status
 * @len: bytes received; UD: the 40 bytes of network header included
 * @imm: valid with U4_XP_IMM or U4_XP_INV in @flags
 * @src_qpn: sender's QP
 * @flags: U4_XP_* of the last segment (IMM, INV, SOLICITED, NET_V4)
 * @write: completes an RDMA WRITE with immediate data
 * @ud: UD message, network header in front
 */
struct u4_recv {
	u64	wr_id;
	u32	status;
	u32	len;
	u32	imm;
	u32	src_qpn;
	u8	flags;
	bool	write;
	bool	ud;
};

enum u4_qp_type { U4_QPT_RC, U4_QPT_UC, U4_QPT_UD, U4_QPT_GSI };

/* Same order as the IBTA states; verbs translate. */
enum u4_qp_state { U4_QPS_RESET, U4_QPS_INIT, U4_QPS_RTR, U4_QPS_RTS, U4_QPS_SQD, U4_QPS_SQE,
		   U4_QPS_ERR };

enum u4_event {
	U4_EV_QP_FATAL,		/* local error */
	U4_EV_QP_REQ_ERR,	/* invalid request received */
	U4_EV_QP_ACCESS_ERR,	/* remote access violation received */
	U4_EV_COMM_EST,		/* first message in RTR */
	U4_EV_SQ_DRAINED,
	U4_EV_LAST_WQE,
};

struct u4_qp;
struct u4_mr;

/**
 * struct u4_xp_ops - upcalls to verbs
 * @send_done: a send work request is over, in posting order, and nothing reads its
 *	memory any more; called for unsignaled ones too. Under sq_lock, bottom halves off. With status U4_OK
 *	a completion is due only when U4_WRF_SIGNALED is set (or the QP signals all)
 * @recv_next: take the next receive work request; 0, -ENOENT when there is none
 *	(the peer is told to wait), -EINVAL when it is malformed (u4_rwqe.wr_id is
 *	valid then). Under rq_lock
 * @recv_done: a receive is over. Under rq_lock
 * @event: asynchronous event; no lock of the transport is held
 */
struct u4_xp_ops {
	void (*send_done)(struct u4_qp *qp, const struct u4_swqe *wqe, enum u4_status status,
			  u32 len);
	int  (*recv_next)(struct u4_qp *qp, struct u4_rwqe *rwqe);
	void (*recv_done)(struct u4_qp *qp, const struct u4_recv *recv);
	void (*event)(struct u4_qp *qp, enum u4_event event);
};

/* Counters of a device; for rdma statistic. Names in u4_xp_counter_names[]. */
enum u4_counter {
	U4_CNT_TX_SEGMENTS,
	U4_CNT_TX_BYTES,
	U4_CNT_RX_SEGMENTS,
	U4_CNT_RX_BYTES,
	U4_CNT_TX_ACKS,
	U4_CNT_RX_ACKS,
	U4_CNT_TX_NAK_SEQ,
	U4_CNT_RX_NAK_SEQ,
	U4_CNT_TX_RNR,
	U4_CNT_RX_RNR,
	U4_CNT_RETRIES,			/* go-backs for whatever reason */
	U4_CNT_TIMEOUTS,
	U4_CNT_PROBES,
	U4_CNT_PAGE_FAULTS,
	U4_CNT_RETRY_EXCEEDED,
	U4_CNT_RX_DUPLICATES,
	U4_CNT_RX_OUT_OF_ORDER,
	U4_CNT_RX_MALFORMED,
	U4_CNT_RX_NO_QP,
	U4_CNT_RX_BAD_KEY,
	U4_CNT_RX_QKEY,
	U4_CNT_RUNS_LOST,
	U4_CNT_RX_LOSS,
	U4_CNT_RX_OWN_SOURCE,
	U4_CNT_TX_MULTICAST,
	U4_CNT_RX_MULTICAST,
	U4_CNT_RX_PROBES,
	U4_CNT_TX_HELD,
	U4_NUM_COUNTERS
};

extern const char * const u4_xp_counter_names[U4_NUM_COUNTERS];

/**
 * struct u4_xpdev - the transport of one peer
 * @peer: the peer
 * @ops: upcalls
 * @qps: QPN to struct u4_qp; read under RCU
 * @mrs: key index (key >> 8) to struct u4_mr; read under RCU
 * @near_qps: of the QPs whose numbers end alike the newest, to be found at once; RCU
 * @near_mrs: of the regions whose indexes end alike the last one used; RCU
 * @next_qpn: where the cyclic search goes on
 * @next_mr: where the cyclic search goes on
 * @num_qps: QPs that exist
 * @num_mrs: regions that exist
 * @max_qps: limit of @num_qps
 * @max_mrs: limit of @num_mrs
 * @counters: per CPU
 * @wq: for @rail_work and the QPs' work
 * @fault_wq: for works that wait for a process's pages, which may take as long as its
 *	file systems do: nobody flushes it
 * @rail_work: maps regions and restarts QPs after a rail came up
 * @map_lock: regions that come and go against rails that do; taken before nothing but
 *	@mapped_lock. Not held while a region is mapped
 * @mapped_lock: changes of @mapped, and all of @mappers; process context, a leaf
 * @mapped: devices that regions are mapped for; changed under @map_lock as well
 * @mappers: how many map a region for that device
 * @mappers_gone: woken when one of them is 0
 * @mc_lock: changes of @mc_groups and @own_gids; process context, a leaf
 * @mc_groups: multicast groups by hash; read under RCU
 * @mc_seed: of that hash
 * @mc_num: groups that exist, under @mc_lock
 * @mc_members: QPs in them, under @mc_lock
 * @own_gids: addresses of the port; read under RCU
 * @num_own_gids: entries ever used
 */
struct u4_xpdev {
	struct u4_peer		*peer;
	const struct u4_xp_ops	*ops;
	struct xarray		qps;
	struct xarray		mrs;
	struct u4_qp __rcu	*near_qps[U4_NEAR];
	struct u4_mr __rcu	*near_mrs[U4_NEAR];
	u32			next_qpn;
	u32			next_mr;
	atomic_t		num_qps;
	atomic_t		num_mrs;
	u32			max_qps;
	u32			max_mrs;
	u64 __percpu		*counters;
	struct workqueue_struct	*wq;
	struct workqueue_struct	*fault_wq;
	struct work_struct	rail_work;
	struct mutex		map_lock;
	spinlock_t		mapped_lock;
	struct device		*mapped[U4_MAX_DEVICES_MAPPED];
	u32			mappers[U4_MAX_DEVICES_MAPPED];
	wait_queue_head_t	mappers_gone;
	struct mutex		mc_lock;
	struct u4_mc_group __rcu *mc_groups[U4_MC_BUCKETS];
	u32			mc_seed;
	u32			mc_num;
	u32			mc_members;
	struct u4_own_gid __rcu	*own_gids[U4_MAX_OWN_GIDS];
	u32			num_own_gids;
};

static inline void u4_xp_count(struct u4_xpdev *dev, enum u4_counter counter, u64 n)
{
	this_cpu_add(dev->counters[counter], n);
}

u64 u4_xp_counter(struct u4_xpdev *dev, enum u4_counter counter);

/* peer->client must point to the struct u4_xpdev of the peer while rails exist. */
int u4_xpdev_init(struct u4_xpdev *dev, struct u4_peer *peer, const struct u4_xp_ops *ops,
		  u32 max_qps, u32 max_mrs);
/* All QPs and regions are gone by then. */
void u4_xpdev_cleanup(struct u4_xpdev *dev);
/* The peer's epoch changed: every QP that is connected with it ends (not loopback). */
void u4_xpdev_peer_reset(struct u4_xpdev *dev);
/* Every QP ends in error and is flushed: the device goes away. */
void u4_xpdev_shutdown(struct u4_xpdev *dev);

/* Upcalls of the link core, to be put into struct u4_client_ops by verbs. */
void u4_xp_rail_up(struct u4_peer *peer, struct u4_rail *rail);
void u4_xp_rail_down(struct u4_peer *peer, struct u4_rail *rail);
void u4_xp_rx_header(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		     const void *data, unsigned int len, unsigned int nraw);
void u4_xp_rx_raw(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		  unsigned int idx, const void *data, unsigned int len);
void u4_xp_rx_confirm(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run, bool ok);
void u4_xp_rx_lost(struct u4_peer *peer, struct u4_rail *rail);
void u4_xp_rx_batch_end(struct u4_peer *peer, struct u4_rail *rail);

/* ---- memory regions: transport/mr.c ---- */

enum u4_mr_type {
	U4_MR_USER,	/* pages of a process, fixed at registration */
	U4_MR_PAGED,	/* of a process, fetched when they are needed, see paging.c */
	U4_MR_FAST,	/* kernel fast registration: pages set by u4_mr_set_page() */
	U4_MR_DMA,	/* all kernel memory; local access only */
	U4_MR_MW1,	/* memory window of type 1: any QP of the protection domain */
	U4_MR_MW2,	/* memory window of type 2B: the QP that bound it */
};

enum u4_mr_state { U4_MR_INVALID, U4_MR_FREE, U4_MR_VALID };

/**
 * struct u4_mr - memory that a key names
 * @ref: users; frames in flight that read it, accesses under way
 * @gone: completed when @ref is given up after u4_mr_destroy()
 * @dev: transport
 * @pd: protection domain, compared as a pointer only
 * @index: of the key, @key >> 8
 * @key: lkey and rkey
 * @access: enum u4_access
 * @type: enum u4_mr_type
 * @state: enum u4_mr_state; changed by WRs
 * @iova: address of the first byte
 * @length: bytes
 * @offset: of the first byte in the first page
 * @npages: entries in @pages
 * @max_pages: room in @pages
 * @pages: the memory, an array so that any offset is found at once
 * @page_lock: U4_MR_PAGED: an entry of @pages changes under it as writer (bottom halves
 *	off) and is used under it as reader (in softirq or with bottom halves off);
 *	U4_MR_FAST: so is @state when it becomes free; windows: so are all fields that a
 *	binding sets. A leaf, but that a window's comes before a region's.
 * @fault: U4_MR_PAGED: have the pages of [addr, addr + len) come, as far as that lies in
 *	the region; process context. 0, or an error when there is no such memory.
 * @map: DMA addresses of @pages per device; RCU, under u4_xpdev.map_lock
 * @target: window: key of the region that it lies in, looked up at each access
 * @bound_to: window of type 2: serial of the QP that bound it
 * @owner: verbs' object
 */
struct u4_mr {
	struct u4_ref		ref;
	struct completion	gone;
	struct u4_xpdev		*dev;
	void			*pd;
	u32			index;
	u32			key;
	u32			access;
	u8			type;
	u8			state;
	u64			iova;
	u64			length;
	u32			offset;
	u32			npages;
	u32			max_pages;
	struct page		**pages;
	rwlock_t		page_lock;
	int			(*fault)(struct u4_mr *mr, u64 addr, u64 len);
	struct u4_mr_map __rcu	*map[U4_MAX_DEVICES_MAPPED];
	u32			target;
	u64			bound_to;
	void			*owner;
	struct rcu_head		rcu;
};

/**
 * u4_mr_create() - a region with a new random-start cyclic key, not yet visible
 * @dev: transport
 * @pd: protection domain
 * @type: enum u4_mr_type
 * @max_pages: room for pages, 0 for DMA and MW
 *
 * The caller fills @iova, @length, @offset, @access, @pages, @npages and makes it
 * usable with u4_mr_publish(). Process context.
 *
 * Return: the region or an ERR_PTR(): %-ENOMEM.
 */
struct u4_mr *u4_mr_create(struct u4_xpdev *dev, void *pd, enum u4_mr_type type, u32 max_pages);
/* The region behind a key, held; NULL when there is none. Any context. */
struct u4_mr *u4_mr_get(struct u4_xpdev *dev, u32 key);
static inline void u4_mr_put(struct u4_mr *mr)
{
	u4_ref_put(&mr->ref);
}

/* Map it for the rails that are up (best effort) and make it visible to lookups. */
void u4_mr_publish(struct u4_mr *mr);
/*
 * Take the key away, wait until nobody uses the memory (bounded: rails whose
 * frames don't come back are reset; but for a region paged on demand it takes as long
 * as a page of it that is being fetched), unmap and free. The pages may be given back
 * after it returns. Works on a region that was never published. Windows into it
 * grant nothing from then on.
 */
void u4_mr_destroy(struct u4_mr *mr);

/* ---- queue pairs: qp.c, requester.c, responder.c ---- */

/**
 * struct u4_qp_init - what does not change in a QP's life
 * @type: enum u4_qp_type
 * @qpn: U4_QPN_GSI or 0: a new one
 * @kernel: owned by a kernel ULP: may use key 0
 * @sq_depth: send work requests outstanding, 1 to 32768; rounded up to a power of two
 * @max_sge: SGEs of a send work request, up to U4_MAX_SGE
 * @max_inline: inline bytes of one, up to U4_MAX_INLINE
 * @pd: protection domain
 * @owner: verbs' object, u4_qp.owner
 */
struct u4_qp_init {
	enum u4_qp_type	type;
	u32		qpn;
	bool		kernel;
	u32		sq_depth;
	u32		max_sge;
	u32		max_inline;
	void		*pd;
	void		*owner;
};

/* Memory that u4_qp_create() takes for the send queue. */
size_t u4_qp_sq_bytes(const struct u4_qp_init *init);

/**
 * struct u4_qp_attr - what modify sets before or with a change of state
 * @loopback: the destination GID is one of our own
 * @dest_qpn: RC, UC
 * @sq_psn: first PSN sent
 * @rq_psn: first PSN expected
 * @qkey: UD
 * @access: remote rights, enum u4_access
 * @timeout: local ack timeout, 4.096 us << @timeout, 0 is for ever; 0 to 31
 * @retry_cnt: 0 to 7
 * @rnr_retry: 0 to 7, 7 is for ever
 * @min_rnr_timer: IBTA code 0 to 31, told to the peer
 * @max_rd_atomic: READs and atomics outstanding as requester, up to U4_MAX_RD_ATOMIC
 * @max_dest_rd_atomic: as responder
 * @sqd_notify: tell when the send queue is drained; with a change to SQD
 */
struct u4_qp_attr {
	bool	loopback;
	bool	sqd_notify;
	u32	dest_qpn;
	u32	sq_psn;
	u32	rq_psn;
	u32	qkey;
	u32	access;
	u8	timeout;
	u8	retry_cnt;
	u8	rnr_retry;
	u8	min_rnr_timer;
	u8	max_rd_atomic;
	u8	max_dest_rd_atomic;
};

/**
 * struct u4_rsp - a READ or atomic that the responder answers
 * @raddr: of the first byte of the message
 * @result: original value of an atomic
 * @psn: request's
 * @rkey: key
 * @len: bytes of the message
 * @off: next byte to send
 * @op: enum u4_op
 * @again: asked for again: the requester may have the answer by now
 */
struct u4_rsp {
	u64	raddr;
	u64	result;
	u32	psn;
	u32	rkey;
	u32	len;
	u32	off;
	u8	op;
	bool	again;
};

/**
 * struct u4_fault - fetching pages for one side of a queue pair
 * @work: does it
 * @key: of the region
 * @addr: first byte needed
 * @len: bytes
 * @busy: @work is queued or runs, and alone uses @key, @addr and @len
 * @failed: there was no such memory
 * @again: what came meanwhile was dropped, and is to be asked for again
 */
struct u4_fault {
	struct work_struct	work;
	u32			key;
	u64			addr;
	u64			len;
	bool			busy;
	bool			failed;
	bool			again;
};

/**
 * struct u4_qp - transport side of a queue pair
 *
 * Allocated by u4_qp_create(), freed after a grace period by u4_qp_destroy().
 * Fields are the transport's; verbs read @owner, @qpn, @type, @state, @attr.
 */
struct u4_qp {
	struct u4_xpdev		*dev;
	void			*owner;
	void			*pd;
	u32			qpn;
	u8			type;
	bool			kernel;
	bool			dead;		/* both locks; no upcalls any more */
	u8			state;		/* enum u4_qp_state, both locks; to an error under one */
	struct u4_qp_attr	attr;		/* both locks */
	u64			serial;		/* unlike the QPN never used again */
	u32			life;		/* both locks; counts resets */

	/* requester, under sq_lock */
	spinlock_t		sq_lock ____cacheline_aligned_in_smp;
	void			*sq;		/* ring of struct u4_swqe, @sq_stride apart */
	u32			sq_stride;
	u32			sq_mask;
	u32			sq_prod;	/* free-running: next to post */
	u32			sq_cur;		/* next to send */
	u32			sq_una;		/* oldest not over */
	u32			sq_told;	/* oldest whose end the consumer was not told */
	struct u4_rail		*tx_rail;	/* that read memory in place last, or NULL */
	u64			tx_mark;	/* of the last such frames */
	u32			tx_rail_nr;	/* changes with @tx_rail */
	struct u4_qp		*held_next;	/* chain of a rail's batch, see rx.c */
	bool			held_queued;	/* @held_next is in use */
	u32			cur_off;	/* next byte of sq_cur's message */
	u32			una_off;	/* first byte of sq_una's not acknowledged */
	u32			una_psn;	/* PSN of that segment */
	u32			next_psn;	/* PSN of the next segment sent */
	u32			max_psn;	/* highest ever sent, plus one */
	u32			sqd_limit;	/* SQD: where sending stops */
	bool			sqd_told;	/* SQD: that it is drained */
	u32			rd_out;		/* READs and atomics outstanding */
	unsigned long		progress;	/* jiffies of the last acknowledgement */
	unsigned long		probe_after;	/* jiffies without progress until a probe */
	u8			naks;
	u8			retries;
	u8			rnr_retries;
	bool			rnr_wait;	/* until rnr_timer */
	struct timer_list	retry_timer;
	struct hrtimer		rnr_timer;
	struct u4_waiter	sq_waiter;
	struct u4_fault		sq_fault;

	/* responder, under rq_lock */
	spinlock_t		rq_lock ____cacheline_aligned_in_smp;
	u32			e_psn;		/* expected */
	u32			gap_psn;	/* last PSN seen beyond a gap */
	bool			ack_due;
	bool			ack_queued;	/* @ack_next is in use */
	bool			nak_sent;	/* for e_psn */
	u8			nak_due;	/* U4_OP_NAK or U4_OP_RNR_NAK to send, or 0 */
	u8			nak_code;
	u32			nak_psn;
	bool			in_msg;		/* within a multi-segment message */
	bool			have_rwqe;
	u8			msg_op;
	u32			msg_len;
	u32			msg_off;	/* next byte expected */
	u32			bad_keys;
	u32			ud_run;		/* counts datagrams taken */
	u64			mc_run;		/* of a multicast that is incomplete, or 0 */
	u32			mc_num;		/* groups that it is in; dev->mc_lock */
	bool			established;	/* COMM_EST was told */
	struct u4_rwqe		rwqe;
	struct u4_rsp		rsp[U4_MAX_RD_ATOMIC];	/* in PSN order */
	u32			rsp_head;
	u32			rsp_tail;
	struct u4_rsp		done[U4_MAX_RD_ATOMIC];	/* atomics, to answer again */
	u32			done_next;
	struct u4_waiter	rq_waiter;
	struct u4_fault		rq_fault;
	struct u4_qp		*ack_next;	/* chain of a rail's batch, see rx.c */

	unsigned long		events;		/* bits of enum u4_event, atomic */
	struct work_struct	work;		/* flushes and tells, without locks */

	struct rcu_head		rcu;
};

struct u4_qp *u4_qp_create(struct u4_xpdev *dev, const struct u4_qp_init *init);
/* No upcall runs once it has returned. Process context, does not wait for the peer. */
void u4_qp_destroy(struct u4_qp *qp);

/**
 * u4_qp_modify() - set attributes and state
 * @qp: queue pair
 * @attr: replaces all attributes
 * @state: new state; verbs have checked that the transition is legal
 *
 * RTR starts the responder at @attr->rq_psn, RTS the requester at @attr->sq_psn.
 * RESET forgets all work without completions; ERR flushes it.
 */
void u4_qp_modify(struct u4_qp *qp, const struct u4_qp_attr *attr, enum u4_qp_state state);

/*
 * End it in error with U4_EV_QP_FATAL, if it is in a state that can: completions of it
 * were lost. Everything is flushed when it returns. Process context.
 */
void u4_qp_kill(struct u4_qp *qp);

/*
 * Membership in the group of a multicast GID; for UD. Attaching twice needs detaching
 * twice. Process context. -ENOMEM: a limit (U4_MC_*) is reached; -EINVAL: no member.
 * u4_qp_destroy() leaves all groups.
 */
int u4_mc_attach(struct u4_qp *qp, const u8 *gid);
int u4_mc_detach(struct u4_qp *qp, const u8 *gid);

/* The port has address @gid at @index, or has it no more. Process context. */
int u4_own_gid_add(struct u4_xpdev *dev, u32 index, const u8 *gid);
void u4_own_gid_del(struct u4_xpdev *dev, u32 index);

/* Flush receives that were posted after the QP went to ERR; any context. */
void u4_qp_flush_recv(struct u4_qp *qp);

/*
 * Posting: lock, fill slots, push, run, unlock.
 *
 *	u4_sq_lock(qp);
 *	while (more && (wqe = u4_sq_next(qp))) {
 *		fill *wqe (zeroed but for sge[] and data[]);
 *		u4_sq_push(qp);
 *	}
 *	u4_sq_run(qp);
 *	u4_sq_unlock(qp);
 *
 * In ERR what is pushed is flushed by u4_sq_run(); before RTS (and in SQD) it waits.
 */
static inline void u4_sq_lock(struct u4_qp *qp) { spin_lock_bh(&qp->sq_lock); }
static inline void u4_sq_unlock(struct u4_qp *qp) { spin_unlock_bh(&qp->sq_lock); }
struct u4_swqe *u4_sq_next(struct u4_qp *qp);
void u4_sq_push(struct u4_qp *qp);
void u4_sq_run(struct u4_qp *qp);

#endif /* U4_TRANSPORT_H */
