/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What driver/verbs/ wants of ib_core and of the kernel's memory management, for queues
 * of a process. Names and numbers are ib_core's, of which the user interface has most.
 */
#ifndef SHIM_VERBS_H
#define SHIM_VERBS_H

#include "fuzz_shim.h"

#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_rxe.h>

/* ---- numbers ---- */

enum ib_wr_opcode {
	IB_WR_RDMA_WRITE = IB_UVERBS_WR_RDMA_WRITE,
	IB_WR_RDMA_WRITE_WITH_IMM = IB_UVERBS_WR_RDMA_WRITE_WITH_IMM,
	IB_WR_SEND = IB_UVERBS_WR_SEND,
	IB_WR_SEND_WITH_IMM = IB_UVERBS_WR_SEND_WITH_IMM,
	IB_WR_RDMA_READ = IB_UVERBS_WR_RDMA_READ,
	IB_WR_ATOMIC_CMP_AND_SWP = IB_UVERBS_WR_ATOMIC_CMP_AND_SWP,
	IB_WR_ATOMIC_FETCH_AND_ADD = IB_UVERBS_WR_ATOMIC_FETCH_AND_ADD,
	IB_WR_LOCAL_INV = IB_UVERBS_WR_LOCAL_INV,
	IB_WR_BIND_MW = IB_UVERBS_WR_BIND_MW,
	IB_WR_SEND_WITH_INV = IB_UVERBS_WR_SEND_WITH_INV,
	IB_WR_FLUSH = IB_UVERBS_WR_FLUSH,
	IB_WR_ATOMIC_WRITE = IB_UVERBS_WR_ATOMIC_WRITE,
	IB_WR_REG_MR = 0x20,
};

enum ib_send_flags {
	IB_SEND_FENCE = 1, IB_SEND_SIGNALED = 2, IB_SEND_SOLICITED = 4, IB_SEND_INLINE = 8,
};

enum ib_wc_status {
	IB_WC_SUCCESS, IB_WC_LOC_LEN_ERR, IB_WC_LOC_QP_OP_ERR, IB_WC_LOC_EEC_OP_ERR,
	IB_WC_LOC_PROT_ERR, IB_WC_WR_FLUSH_ERR, IB_WC_MW_BIND_ERR, IB_WC_BAD_RESP_ERR,
	IB_WC_LOC_ACCESS_ERR, IB_WC_REM_INV_REQ_ERR, IB_WC_REM_ACCESS_ERR, IB_WC_REM_OP_ERR,
	IB_WC_RETRY_EXC_ERR, IB_WC_RNR_RETRY_EXC_ERR,
};

enum ib_wc_opcode {
	IB_WC_SEND, IB_WC_RDMA_WRITE, IB_WC_RDMA_READ, IB_WC_COMP_SWAP, IB_WC_FETCH_ADD,
	IB_WC_BIND_MW, IB_WC_LOCAL_INV, IB_WC_ATOMIC_WRITE = 9, IB_WC_REG_MR, IB_WC_FLUSH = 12,
	IB_WC_RECV = 128, IB_WC_RECV_RDMA_WITH_IMM,
};

enum { IB_WC_GRH = 1, IB_WC_WITH_IMM = 2, IB_WC_WITH_INVALIDATE = 4,
       IB_WC_WITH_NETWORK_HDR_TYPE = 64 };
enum rdma_network_type { RDMA_NETWORK_IB, RDMA_NETWORK_ROCE_V1, RDMA_NETWORK_IPV4,
			 RDMA_NETWORK_IPV6 };
enum { IB_ACCESS_LOCAL_WRITE = 1, IB_ACCESS_REMOTE_WRITE = 2, IB_ACCESS_REMOTE_READ = 4,
       IB_ACCESS_REMOTE_ATOMIC = 8, IB_ACCESS_MW_BIND = 16, IB_ACCESS_ON_DEMAND = 64,
       IB_ACCESS_HUGETLB = 128, IB_ACCESS_FLUSH_GLOBAL = 256 };
enum ib_qp_type { IB_QPT_SMI, IB_QPT_GSI, IB_QPT_RC, IB_QPT_UC, IB_QPT_UD };
enum ib_sig_type { IB_SIGNAL_ALL_WR, IB_SIGNAL_REQ_WR };
enum ib_qp_state { IB_QPS_RESET, IB_QPS_INIT, IB_QPS_RTR, IB_QPS_RTS, IB_QPS_SQD, IB_QPS_SQE,
		   IB_QPS_ERR };
enum ib_cq_notify_flags { IB_CQ_SOLICITED = 1, IB_CQ_NEXT_COMP = 2, IB_CQ_SOLICITED_MASK = 3,
			  IB_CQ_REPORT_MISSED_EVENTS = 4 };
enum ib_poll_context { IB_POLL_DIRECT };
enum ib_srq_type { IB_SRQT_BASIC };
enum ib_srq_attr_mask { IB_SRQ_MAX_WR = 1, IB_SRQ_LIMIT = 2 };
enum ib_event_type {
	IB_EVENT_CQ_ERR, IB_EVENT_QP_FATAL, IB_EVENT_QP_REQ_ERR, IB_EVENT_QP_ACCESS_ERR,
	IB_EVENT_COMM_EST, IB_EVENT_SQ_DRAINED, IB_EVENT_PATH_MIG, IB_EVENT_SRQ_ERR = 14,
	IB_EVENT_SRQ_LIMIT_REACHED, IB_EVENT_QP_LAST_WQE_REACHED,
};
enum ib_mr_type { IB_MR_TYPE_MEM_REG };
enum rdma_link_layer { IB_LINK_LAYER_ETHERNET = 2 };

/* ---- objects ---- */

struct ib_device { int unused; };
struct ib_ucontext { int unused; };
struct ib_umem;
struct ib_device_attr;
struct ib_mad;
struct ib_grh;
struct ib_port_attr;
struct ib_port_immutable;
struct ib_gid_attr;
struct ib_dmah;
struct rdma_hw_stats;
struct rdma_ah_init_attr;
struct scatterlist;
struct vm_area_struct;
struct mm_struct;
struct rdma_ah_attr { int unused; };
union ib_gid { u8 raw[16]; };
struct ib_pd { struct ib_device *device; };
struct ib_udata { const void *in; void *out; size_t inlen, outlen; };
struct uverbs_attr_bundle { struct ib_udata driver_udata; };
struct rdma_user_mmap_entry { unsigned long start_pgoff; };
struct ib_cq_init_attr { u32 cqe, flags; };
struct ib_qp;

struct ib_event {
	struct ib_device *device;
	union {
		struct ib_cq *cq;
		struct ib_qp *qp;
		struct ib_srq *srq;
	} element;
	enum ib_event_type event;
};

struct ib_cq {
	struct ib_device *device;
	void (*comp_handler)(struct ib_cq *cq, void *context);
	void (*event_handler)(struct ib_event *event, void *context);
	void *cq_context;
	int cqe;
	enum ib_poll_context poll_ctx;
};

struct ib_srq {
	struct ib_device *device;
	void (*event_handler)(struct ib_event *event, void *context);
	void *srq_context;
};

struct ib_srq_attr { u32 max_wr, max_sge, srq_limit; };
struct ib_srq_init_attr { struct ib_srq_attr attr; enum ib_srq_type srq_type; };

struct ib_qp_cap {
	u32 max_send_wr, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data;
};

struct ib_qp_attr { enum ib_qp_state qp_state; };
struct ib_qp_init_attr {
	struct ib_cq *send_cq, *recv_cq;
	struct ib_srq *srq;
	struct ib_qp_cap cap;
	enum ib_sig_type sq_sig_type;
	enum ib_qp_type qp_type;
	u32 create_flags;
	void *rwq_ind_tbl;
	u32 port_num;
};

struct ib_qp {
	struct ib_device *device;
	struct ib_pd *pd;
	void (*event_handler)(struct ib_event *event, void *context);
	void *qp_context;
	u32 qp_num;
};

struct ib_mr { u64 iova, length; };
struct ib_mw { int unused; };
struct ib_ah { int unused; };

struct ib_wc {
	u64 wr_id;
	enum ib_wc_status status;
	enum ib_wc_opcode opcode;
	u32 vendor_err, byte_len;
	struct ib_qp *qp;
	union {
		__be32 imm_data;
		u32 invalidate_rkey;
	} ex;
	u32 src_qp;
	int wc_flags;
	u32 port_num;
	u8 network_hdr_type;
};

struct ib_sge { u64 addr; u32 length, lkey; };
struct ib_recv_wr { struct ib_recv_wr *next; u64 wr_id; struct ib_sge *sg_list; int num_sge; };
struct ib_send_wr {
	struct ib_send_wr *next;
	u64 wr_id;
	struct ib_sge *sg_list;
	int num_sge;
	enum ib_wr_opcode opcode;
	int send_flags;
	union {
		__be32 imm_data;
		u32 invalidate_rkey;
	} ex;
};

/* Requests of the kernel: compiled, never posted here. */
struct ib_ud_wr { struct ib_send_wr wr; struct ib_ah *ah; u32 remote_qpn, remote_qkey; };
struct ib_rdma_wr { struct ib_send_wr wr; u64 remote_addr; u32 rkey; };
struct ib_atomic_wr { struct ib_send_wr wr; u64 remote_addr, compare_add, swap; u32 rkey; };
struct ib_reg_wr { struct ib_send_wr wr; struct ib_mr *mr; u32 key; int access; };
#define ud_wr(w)	container_of(w, struct ib_ud_wr, wr)
#define rdma_wr(w)	container_of(w, struct ib_rdma_wr, wr)
#define atomic_wr(w)	container_of(w, struct ib_atomic_wr, wr)
#define reg_wr(w)	container_of(w, struct ib_reg_wr, wr)

/* ---- services ---- */

struct u4_ucontext;
#define rdma_udata_to_drv_context(udata, type, member)	((type *)shim_context)
extern struct u4_ucontext *shim_context;
static inline int ib_copy_to_udata(struct ib_udata *udata, const void *from, size_t len)
{
	memcpy(udata->out, from, min(len, udata->outlen));
	return 0;
}

static inline int ib_copy_from_udata(void *to, struct ib_udata *udata, size_t len)
{
	memcpy(to, udata->in, min(len, udata->inlen));
	return 0;
}

#define u64_to_user_ptr(n)		((void *)(uintptr_t)(n))
#define copy_to_user(to, from, n)	(memcpy(to, from, n), 0)

int rdma_user_mmap_entry_insert(struct ib_ucontext *uc, struct rdma_user_mmap_entry *entry,
				size_t len);
void rdma_user_mmap_entry_remove(struct rdma_user_mmap_entry *entry);
#define rdma_user_mmap_get_offset(e)	((u64)(e)->start_pgoff << PAGE_SHIFT)
#define rdma_user_mmap_entry_get(uc, vma)	((struct rdma_user_mmap_entry *)NULL)
#define rdma_user_mmap_entry_put(e)	((void)(e))
#define remap_vmalloc_range(vma, mem, off)	((void)(mem), 0)

/* A ring's memory is one piece, exactly as large as its pages. */
#define alloc_page(f)			((struct page *)calloc(1, sizeof(struct page)))
#define __free_page(p)			free(p)
#define VM_MAP				0
#define VM_MAP_PUT_PAGES		0
#define VM_USERMAP			0
#define PAGE_KERNEL			0
static inline void *vmap(struct page **pages, unsigned int n, int flags, int prot)
{
	void *mem = aligned_alloc(4096, (size_t)n * 4096);
	unsigned int i;

	(void)flags, (void)prot;
	memset(mem, 0, (size_t)n * 4096);
	for (i = 0; i < n; i++)
		free(pages[i]);
	free(pages);
	return mem;
}

static inline int ilog2(u64 n)
{
	return 63 - __builtin_clzll(n);
}

#define system_bh_wq			((struct workqueue_struct *)2)
#define msecs_to_jiffies(n)		((n) / 4)
#define queue_delayed_work(wq, w, d)	((void)(w))
#define mod_delayed_work(wq, w, d)	((void)(w))
#define delayed_work_pending(w)		false

#endif /* SHIM_VERBS_H */
