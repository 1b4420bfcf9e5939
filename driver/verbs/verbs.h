/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Objects that ib_core sees, one file each. This header is internal to verbs/;
 * what main.c needs of it is at the end.
 *
 * Locks, outermost first: u4_vdev.lock, u4_ibqp.lock, u4_ibdev.qps_lock, resize_lock
 * of a CQ or an SRQ (all mutexes); then the transport's rq_lock and sq_lock; then u4_rq.lock; then
 * u4_cq.lock. The last two are leaves, taken with interrupts off, since ULPs
 * post and poll from any context.
 */
#ifndef U4_VERBS_H
#define U4_VERBS_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_user_rxe.h>
#include <rdma/uverbs_ioctl.h>

#include "../compat.h"
#include "../transport/transport.h"

#define U4_PORT			1
#define U4_ABI_VERSION		2	/* of the user queues, see rdma_user_rxe.h */
#define U4_FW_VERSION		"0.1.0"
#define U4_FW_VERSION_WORD	(1ull << 16)	/* the same as 32.16.16 bits */
#define U4_VENDOR_ID		0x027534	/* locally administered */
#define U4_VENDOR_PART_ID	1

#define U4_MAX_QPS		16384
#define U4_MAX_CQS		32768
#define U4_MAX_MRS		131072
#define U4_MAX_PDS		16384
#define U4_MAX_SRQS		16384
#define U4_MAX_AHS		32768
#define U4_MAX_WR		16384
#define U4_MAX_CQE		((1u << 20) - 1)
#define U4_MAX_MR_SIZE		(1ull << 38)
#define U4_MAX_FAST_PAGES	512
#define U4_MAX_UD		4096	/* payload bytes, the port's MTU */
#define U4_GID_TABLE		128

/**
 * struct u4_vdev - verbs side of a peer, as long-lived as the peer
 * @peer: the peer; its client pointer leads to @xp
 * @xp: transport
 * @lock: protects @ibdev and @removing; process context
 * @ibdev: the RDMA device, with a reference; %NULL between a foreign
 *	unregistration (rmmod of rdma_rxe takes all devices of its id) and @revive
 * @removing: no new device
 * @revive: makes the device again
 * @downs: how often the port's last rail went
 */
struct u4_vdev {
	struct u4_peer		*peer;
	struct u4_xpdev		xp;
	struct mutex		lock;
	struct u4_ibdev		*ibdev;
	bool			removing;
	struct delayed_work	revive;
	atomic_t		downs;
};

/**
 * struct u4_ibdev - an RDMA device
 * @ib: ib_core's part
 * @vdev: the peer's verbs side
 * @registered: ib_register_device() was called and has not failed
 * @num_pds: objects in use, as are the following
 * @ahs: ah_num to struct u4_ah_entry; read under RCU
 * @next_ah: where the cyclic search goes on
 * @qps_lock: protects @qps
 * @qps: all QPs
 * @flush_work: flushes receives that processes post to QPs in error: their receive
 *	queues have no doorbell
 */
struct u4_ibdev {
	struct ib_device	ib;
	struct u4_vdev		*vdev;
	bool			registered;
	atomic_t		num_pds;
	atomic_t		num_cqs;
	atomic_t		num_srqs;
	atomic_t		num_ahs;
	struct xarray		ahs;
	u32			next_ah;
	struct mutex		qps_lock;
	struct list_head	qps;
	struct delayed_work	flush_work;
};

struct u4_pd {
	struct ib_pd	ib;
};

struct u4_ucontext {
	struct ib_ucontext	ib;
};

/**
 * struct u4_charge - memory counted against what a process may lock
 * @mm: the process, with a reference; %NULL when nothing is counted
 * @pages: how much
 */
struct u4_charge {
	struct mm_struct	*mm;
	unsigned long		pages;
};

int u4_charge(struct u4_charge *charge, size_t bytes);
void u4_uncharge(struct u4_charge *charge);

/**
 * struct u4_mmap - memory of a queue that a process may map
 * @rdma: ib_core's part
 * @mem: the memory; mapped pages hold references of their own
 * @charge: for @mem
 */
struct u4_mmap {
	struct rdma_user_mmap_entry	rdma;
	void				*mem;
	struct u4_charge		charge;
};

/**
 * struct u4_queue - ring in the layout of struct rxe_queue_buf
 * @buf: the ring. When @map is set a process writes to it at any time: nothing
 *	in it is trusted, each field is read once
 * @map: how a process maps it; %NULL for a ring of the kernel
 * @mask: slots - 1
 * @shift: log2 of the slot size
 * @index: the kernel's own index (masked): producer of a CQ, else consumer
 */
struct u4_queue {
	struct rxe_queue_buf	*buf;
	struct u4_mmap		*map;
	u32			mask;
	u32			shift;
	u32			index;
};

/**
 * struct u4_cq - completion queue
 * @ib: ib_core's part
 * @resize_lock: one resize at a time
 * @lock: protects all below
 * @queue: completions for a process
 * @wcs: completions for the kernel
 * @mask: slots of @wcs - 1
 * @prod: next to fill, free-running
 * @cons: next to poll, free-running
 * @notify: enum ib_cq_notify_flags that was armed, 0 when not
 * @user: belongs to a process
 * @overflowed: completions were lost; the owner was told
 * @comp_work: calls a handler that may post or poll itself
 * @lost_work: ends the QPs whose completions may have been lost
 */
struct u4_cq {
	struct ib_cq		ib;
	struct mutex		resize_lock;
	spinlock_t		lock;
	struct u4_queue		queue;
	struct ib_wc		*wcs;
	u32			mask;
	u32			prod;
	u32			cons;
	u8			notify;
	bool			user;
	bool			overflowed;
	struct work_struct	comp_work;
	struct work_struct	lost_work;
};

/**
 * struct u4_rq - receive work requests of a QP or an SRQ
 * @lock: protects all below
 * @queue: ring of struct rxe_recv_wqe
 * @max_wr: that fit
 * @max_sge: of each
 */
struct u4_rq {
	spinlock_t	lock;
	struct u4_queue	queue;
	u32		max_wr;
	u32		max_sge;
};

/**
 * struct u4_srq - shared receive queue
 * @ib: ib_core's part
 * @rq: the requests
 * @resize_lock: one resize at a time
 * @limit: event is due when fewer requests are left; 0 when not armed. Under rq.lock
 * @num: number for the user library
 * @user: belongs to a process
 */
struct u4_srq {
	struct ib_srq	ib;
	struct u4_rq	rq;
	struct mutex	resize_lock;
	u32		limit;
	u32		num;
	bool		user;
};

/**
 * struct u4_ibqp - queue pair
 * @ib: ib_core's part
 * @dev: device
 * @xp: the transport's part
 * @scq: completions of sends
 * @rcq: completions of receives
 * @rq: where receives come from: @own_rq or an SRQ's
 * @own_rq: without an SRQ
 * @srq: or %NULL
 * @sq: a process's send queue: index is the next to copy. Under xp->sq_lock
 * @sq_done: consumer index that the process sees: all before are over. Same lock
 * @user: belongs to a process
 * @charge: for the transport's copy of a process's send queue
 * @sig_all: each send completes visibly
 * @cap: sizes
 * @lock: one modify at a time; protects @attr
 * @attr: what was set last
 * @node: in u4_ibdev.qps
 * @run_work: runs what was posted with interrupts off
 */
struct u4_ibqp {
	struct ib_qp		ib;
	struct u4_ibdev		*dev;
	struct u4_qp		*xp;
	struct u4_cq		*scq;
	struct u4_cq		*rcq;
	struct u4_rq		*rq;
	struct u4_rq		own_rq;
	struct u4_srq		*srq;
	struct u4_queue		sq;
	u32			sq_done;
	struct u4_charge	charge;
	bool			user;
	bool			sig_all;
	struct ib_qp_cap	cap;
	struct mutex		lock;
	struct ib_qp_attr	attr;
	struct list_head	node;
	struct work_struct	run_work;
};

/**
 * struct u4_ibmr - memory region
 * @ib: ib_core's part
 * @xp: the transport's part
 * @umem: pinned memory of a process
 * @charge: for the tables of memory that is paged on demand, of which nothing is pinned
 * @fetch: paged on demand: held while pages are made to come, see odp.c
 */
struct u4_ibmr {
	struct ib_mr		ib;
	struct u4_mr		*xp;
	struct ib_umem		*umem;
	struct u4_charge	charge;
	struct mutex		fetch;
};

/* Rights the transport knows. */
#define U4_ACCESS_MASK	(IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | \
			 IB_ACCESS_REMOTE_ATOMIC | IB_ACCESS_MW_BIND | IB_ACCESS_FLUSH_GLOBAL)

struct u4_ibmr *u4_ibmr_alloc(struct ib_pd *pd, enum u4_mr_type type, u32 max_pages);

#ifdef U4_HAVE_ODP
/* Rights that a region may have besides when it is paged on demand. */
#define U4_ODP_ACCESS	(IB_ACCESS_ON_DEMAND | IB_ACCESS_HUGETLB)
struct ib_mr *u4_odp_reg(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access);
/* No page comes any more and none is there; before the region is destroyed. */
void u4_odp_end(struct u4_ibmr *mr);
void u4_odp_caps(struct ib_device_attr *attr);
int u4_advise_mr(struct ib_pd *pd, enum ib_uverbs_advise_mr_advice advice, u32 flags,
		 struct ib_sge *sg_list, u32 num_sge, struct uverbs_attr_bundle *attrs);
#else
#define U4_ODP_ACCESS	0
static inline struct ib_mr *u4_odp_reg(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr,
				       int access)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static inline void u4_odp_end(struct u4_ibmr *mr)
{
}

static inline void u4_odp_caps(struct ib_device_attr *attr)
{
}
#endif

/**
 * struct u4_mw - memory window
 * @ib: for ib_core
 * @xp: the transport's
 */
struct u4_mw {
	struct ib_mw	ib;
	struct u4_mr	*xp;
};

static inline struct u4_mw *to_u4_mw(struct ib_mw *ib)
{
	return container_of(ib, struct u4_mw, ib);
}

int u4_alloc_mw(struct ib_mw *ib, struct ib_udata *udata);
int u4_dealloc_mw(struct ib_mw *ib);

/**
 * struct u4_ah_entry - address that a process names by number
 * @av: for the transport
 * @pd: must be that of the QP
 */
struct u4_ah_entry {
	struct u4_av	av;
	struct ib_pd	*pd;
	struct rcu_head	rcu;
};

/**
 * struct u4_ah - address handle
 * @ib: ib_core's part
 * @av: for the transport
 * @attr: what was asked for, without references
 * @num: of a process's handle, else 0
 */
struct u4_ah {
	struct ib_ah		ib;
	struct u4_av		av;
	struct rdma_ah_attr	attr;
	u32			num;
};

#define U4_TO(type, name, ibtype)						\
static inline struct type *name(struct ibtype *ib)				\
{										\
	return container_of(ib, struct type, ib);				\
}
U4_TO(u4_ibdev, to_u4_ibdev, ib_device)
U4_TO(u4_pd, to_u4_pd, ib_pd)
U4_TO(u4_ucontext, to_u4_ucontext, ib_ucontext)
U4_TO(u4_cq, to_u4_cq, ib_cq)
U4_TO(u4_srq, to_u4_srq, ib_srq)
U4_TO(u4_ibqp, to_u4_ibqp, ib_qp)
U4_TO(u4_ibmr, to_u4_ibmr, ib_mr)
U4_TO(u4_ah, to_u4_ah, ib_ah)
#undef U4_TO

/* Take one of at most @max; false when all are taken. */
static inline bool u4_take(atomic_t *used, int max)
{
	if (atomic_inc_return(used) <= max)
		return true;
	atomic_dec(used);
	return false;
}

/* queue.c */
int u4_queue_create(struct u4_queue *q, u32 entries, u32 elem, struct ib_udata *udata,
		    struct mminfo *mi);
void u4_queue_destroy(struct u4_queue *q);
/*
 * Copy the slots from @first to before @last of @from to slot @at and on of @to, as long
 * as there is room. Returns the slot behind the last one written.
 */
u32 u4_queue_copy(struct u4_queue *to, u32 at, const struct u4_queue *from, u32 first, u32 last);
/*
 * Move what is in the ring *@old to the fresh ring @new, which takes its place. Most is
 * copied with @lock dropped, so the other side may go on meanwhile. @kernel_produces:
 * completions; else requests. Process context; the caller excludes other resizes.
 * -ENOBUFS: too much for @limit slots. -EAGAIN: the other side does not stop.
 */
int u4_queue_replace(struct u4_queue *old, struct u4_queue *new, spinlock_t *lock, u32 limit,
		     bool kernel_produces);
int u4_mmap(struct ib_ucontext *ib, struct vm_area_struct *vma);
void u4_mmap_free(struct rdma_user_mmap_entry *entry);

static inline void *u4_queue_slot(const struct u4_queue *q, u32 index)
{
	return q->buf->data + ((size_t)(index & q->mask) << q->shift);
}

/* The other side's index; all it wrote before is visible. */
static inline u32 u4_queue_producer(const struct u4_queue *q)
{
	return smp_load_acquire(&q->buf->producer_index) & q->mask;
}

static inline u32 u4_queue_consumer(const struct u4_queue *q)
{
	return smp_load_acquire(&q->buf->consumer_index) & q->mask;
}

static inline u32 u4_queue_count(const struct u4_queue *q)
{
	return (u4_queue_producer(q) - q->index) & q->mask;
}

/* context.c */
int u4_alloc_ucontext(struct ib_ucontext *ib, struct ib_udata *udata);
void u4_dealloc_ucontext(struct ib_ucontext *ib);
void u4_disassociate_ucontext(struct ib_ucontext *ib);
int u4_alloc_pd(struct ib_pd *ib, struct ib_udata *udata);
int u4_dealloc_pd(struct ib_pd *ib, struct ib_udata *udata);

/* cq.c */
int u4_create_cq(struct ib_cq *ib, const struct ib_cq_init_attr *attr,
		 struct uverbs_attr_bundle *attrs);
int u4_destroy_cq(struct ib_cq *ib, struct ib_udata *udata);
#ifdef U4_HAVE_RESIZE_USER_CQ
int u4_resize_cq(struct ib_cq *ib, unsigned int cqe, struct ib_udata *udata);
#else
int u4_resize_cq(struct ib_cq *ib, int cqe, struct ib_udata *udata);
#endif
int u4_poll_cq(struct ib_cq *ib, int num, struct ib_wc *wc);
int u4_req_notify_cq(struct ib_cq *ib, enum ib_cq_notify_flags flags);
/* Add a completion; any context with bottom halves off. */
void u4_cq_push(struct u4_cq *cq, const struct ib_wc *wc, bool solicited);
/* Drop the completions of a QP that goes away: they point to it and to its owner's memory. */
void u4_cq_forget(struct u4_cq *cq, const struct ib_qp *qp);

/* mr.c */
struct ib_mr *u4_get_dma_mr(struct ib_pd *pd, int access);
#ifdef U4_HAVE_REG_USER_MR_DMAH
struct ib_mr *u4_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access,
			     struct ib_dmah *dmah, struct ib_udata *udata);
#else
struct ib_mr *u4_reg_user_mr(struct ib_pd *pd, u64 start, u64 length, u64 virt_addr, int access,
			     struct ib_udata *udata);
#endif
struct ib_mr *u4_alloc_mr(struct ib_pd *pd, enum ib_mr_type type, u32 max_num_sg);
int u4_map_mr_sg(struct ib_mr *ib, struct scatterlist *sg, int nents, unsigned int *offset);
int u4_dereg_mr(struct ib_mr *ib, struct ib_udata *udata);

/* ah.c */
int u4_create_ah(struct ib_ah *ib, struct rdma_ah_init_attr *init, struct ib_udata *udata);
int u4_query_ah(struct ib_ah *ib, struct rdma_ah_attr *attr);
int u4_destroy_ah(struct ib_ah *ib, u32 flags);
/* Is this one of the port's own addresses? */
bool u4_gid_is_ours(struct ib_device *ib, const union ib_gid *gid);
/* Put the payload's length into the network header. */
void u4_av_set_len(struct u4_av *av, u32 len);

/* mcast.c */
int u4_attach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid);
int u4_detach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid);

/* srq.c */
int u4_create_srq(struct ib_srq *ib, struct ib_srq_init_attr *init, struct ib_udata *udata);
int u4_modify_srq(struct ib_srq *ib, struct ib_srq_attr *attr, enum ib_srq_attr_mask mask,
		  struct ib_udata *udata);
int u4_query_srq(struct ib_srq *ib, struct ib_srq_attr *attr);
int u4_destroy_srq(struct ib_srq *ib, struct ib_udata *udata);
int u4_post_srq_recv(struct ib_srq *ib, const struct ib_recv_wr *wr,
		     const struct ib_recv_wr **bad);

/* recv.c */
int u4_rq_create(struct u4_rq *rq, u32 max_wr, u32 max_sge, struct ib_udata *udata,
		 struct mminfo *mi);
void u4_rq_destroy(struct u4_rq *rq);
int u4_rq_post(struct u4_rq *rq, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad);
int u4_post_recv(struct ib_qp *ib, const struct ib_recv_wr *wr, const struct ib_recv_wr **bad);
int u4_recv_next(struct u4_qp *xp, struct u4_rwqe *rwqe);
void u4_recv_done(struct u4_qp *xp, const struct u4_recv *recv);

/* send.c */
int u4_post_send(struct ib_qp *ib, const struct ib_send_wr *wr, const struct ib_send_wr **bad);
void u4_send_done(struct u4_qp *xp, const struct u4_swqe *wqe, enum u4_status status, u32 len);
/* Take what a process has posted; under xp->sq_lock. */
void u4_send_take_user(struct u4_ibqp *qp);

/* qp.c, qp_modify.c */
int u4_create_qp(struct ib_qp *ib, struct ib_qp_init_attr *init, struct ib_udata *udata);
int u4_destroy_qp(struct ib_qp *ib, struct ib_udata *udata);
int u4_query_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask,
		struct ib_qp_init_attr *init);
int u4_modify_qp(struct ib_qp *ib, struct ib_qp_attr *attr, int mask, struct ib_udata *udata);
void u4_verbs_event(struct u4_qp *xp, enum u4_event event);
void u4_qp_run_work(struct work_struct *work);
/* A QP of a process went to error: look after its receive queue from now on. */
void u4_qp_watch_errors(struct u4_ibdev *dev);
void u4_qp_flush_work(struct work_struct *work);

static inline enum ib_qp_state u4_qp_ib_state(const struct u4_ibqp *qp)
{
	return (enum ib_qp_state)READ_ONCE(qp->xp->state);
}

/* counters.c */
struct rdma_hw_stats *u4_alloc_hw_port_stats(struct ib_device *ib, u32 port);
int u4_get_hw_stats(struct ib_device *ib, struct rdma_hw_stats *stats, u32 port, int index);

/* pma.c */
int u4_process_mad(struct ib_device *ib, int flags, u32 port, const struct ib_wc *in_wc,
		   const struct ib_grh *in_grh, const struct ib_mad *in, struct ib_mad *out,
		   size_t *out_size, u16 *out_pkey_index);

/* port.c */
int u4_add_gid(const struct ib_gid_attr *attr, void **context);
int u4_del_gid(const struct ib_gid_attr *attr, void **context);
int u4_query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr);
int u4_query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey);
int u4_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable);
enum rdma_link_layer u4_link_layer(struct ib_device *ib, u32 port);
struct net_device *u4_get_netdev(struct ib_device *ib, u32 port);

/* device.c */
struct u4_ibdev *u4_ibdev_alloc(struct u4_vdev *vdev);
int u4_ibdev_register(struct u4_ibdev *dev);

/* client.c */
extern struct workqueue_struct *u4_verbs_wq;
void u4_vdev_lost(struct u4_vdev *vdev, struct u4_ibdev *dev);
/* The same, for main.c: starts and ends the link core as well. */
int u4_verbs_init(void);
void u4_verbs_exit(void);

#endif /* U4_VERBS_H */
