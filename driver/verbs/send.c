// SPDX-License-Identifier: GPL-2.0-only
/*
 * Send work requests: from a process's mapped queue (its doorbell says only that
 * there is something) and from the kernel, into the transport's ring. A request
 * of a process is read field by field, once, into kernel memory and checked
 * there; one that is malformed completes with an error in its turn.
 */
#include "verbs.h"

static_assert(offsetof(struct rxe_send_wqe, dma.sge) == 208, "send WQE");
static_assert(U4_LOC_LEN_ERR == (int)IB_WC_LOC_LEN_ERR, "status");
static_assert(U4_LOC_QP_OP_ERR == (int)IB_WC_LOC_QP_OP_ERR, "status");
static_assert(U4_LOC_PROT_ERR == (int)IB_WC_LOC_PROT_ERR, "status");
static_assert(U4_WR_FLUSH_ERR == (int)IB_WC_WR_FLUSH_ERR, "status");
static_assert(U4_MW_BIND_ERR == (int)IB_WC_MW_BIND_ERR, "status");
static_assert(U4_REM_INV_REQ_ERR == (int)IB_WC_REM_INV_REQ_ERR, "status");
static_assert(U4_REM_ACCESS_ERR == (int)IB_WC_REM_ACCESS_ERR, "status");
static_assert(U4_REM_OP_ERR == (int)IB_WC_REM_OP_ERR, "status");
static_assert(U4_RETRY_EXC_ERR == (int)IB_WC_RETRY_EXC_ERR, "status");
static_assert(U4_RNR_RETRY_EXC_ERR == (int)IB_WC_RNR_RETRY_EXC_ERR, "status");

/* What a window may grant; not relative addresses. */
#define U4_BIND_ACCESS	(IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC | \
			 IB_ACCESS_LOCAL_WRITE | IB_ACCESS_MW_BIND)
#define U4_QKEY_OWN	0x80000000u	/* use the QP's own Q_Key */

/* QP types that may use an operation. */
#define T_RC	BIT(U4_QPT_RC)
#define T_UC	BIT(U4_QPT_UC)
#define T_UD	(BIT(U4_QPT_UD) | BIT(U4_QPT_GSI))

/**
 * struct u4_send_op - what an opcode of ib_core means
 * @types: QP types that may use it
 * @op: enum u4_wr_op
 * @flags: enum u4_wr_flags that it implies
 * @kernel: not for processes
 */
struct u4_send_op {
	u8	types;
	u8	op;
	u8	flags;
	bool	kernel;
};

static const struct u4_send_op u4_send_ops[] = {
	[IB_WR_RDMA_WRITE]		= { T_RC | T_UC, U4_WR_WRITE, 0 },
	[IB_WR_RDMA_WRITE_WITH_IMM]	= { T_RC | T_UC, U4_WR_WRITE, U4_WRF_IMM },
	[IB_WR_SEND]			= { T_RC | T_UC | T_UD, U4_WR_SEND, 0 },
	[IB_WR_SEND_WITH_IMM]		= { T_RC | T_UC | T_UD, U4_WR_SEND, U4_WRF_IMM },
	[IB_WR_SEND_WITH_INV]		= { T_RC | T_UC, U4_WR_SEND, U4_WRF_INV },
	[IB_WR_RDMA_READ]		= { T_RC, U4_WR_READ, 0 },
	[IB_WR_ATOMIC_CMP_AND_SWP]	= { T_RC, U4_WR_CMP_SWAP, 0 },
	[IB_WR_ATOMIC_FETCH_AND_ADD]	= { T_RC, U4_WR_FETCH_ADD, 0 },
	[IB_WR_ATOMIC_WRITE]		= { T_RC, U4_WR_ATOMIC_WRITE, 0 },
	[IB_WR_FLUSH]			= { T_RC, U4_WR_FLUSH, 0 },
	[IB_WR_LOCAL_INV]		= { T_RC | T_UC, U4_WR_LOCAL_INV, 0 },
	[IB_WR_BIND_MW]			= { T_RC | T_UC, U4_WR_BIND_MW, 0 },
	[IB_WR_REG_MR]			= { T_RC | T_UC, U4_WR_REG_MR, 0, true },
};

static const struct u4_send_op *u4_send_op(const struct u4_ibqp *qp, u32 opcode)
{
	const struct u4_send_op *op;

	if (opcode >= ARRAY_SIZE(u4_send_ops))
		return NULL;
	op = &u4_send_ops[opcode];
	if (!(op->types & BIT(qp->xp->type)) || (op->kernel && qp->user))
		return NULL;
	return op;
}

static u8 u4_send_flags(u32 flags)
{
	u8 out = 0;

	if (flags & IB_SEND_SIGNALED)
		out |= U4_WRF_SIGNALED;
	if (flags & IB_SEND_SOLICITED)
		out |= U4_WRF_SOLICITED;
	if (flags & IB_SEND_FENCE)
		out |= U4_WRF_FENCE;
	return out;
}

static bool u4_send_datagram(const struct u4_ibqp *qp)
{
	return qp->xp->type == U4_QPT_UD || qp->xp->type == U4_QPT_GSI;
}

static bool u4_op_takes_inline(u8 op)
{
	return op == U4_WR_SEND || op == U4_WR_WRITE || op == U4_WR_ATOMIC_WRITE;
}

/* Checks that are the same whoever posted it. @len is the true sum of the pieces. */
static u8 u4_send_check_len(const struct u4_ibqp *qp, const struct u4_swqe *wqe, u64 len)
{
	switch (wqe->op) {
	case U4_WR_CMP_SWAP:
	case U4_WR_FETCH_ADD:
	case U4_WR_ATOMIC_WRITE:
		return len == 8 ? U4_OK : U4_LOC_LEN_ERR;
	case U4_WR_LOCAL_INV:
	case U4_WR_REG_MR:
	case U4_WR_BIND_MW:
	case U4_WR_FLUSH:
		return len == 0 ? U4_OK : U4_LOC_QP_OP_ERR;
	}
	if (u4_send_datagram(qp))
		return len <= U4_MAX_UD ? U4_OK : U4_LOC_LEN_ERR;
	return len <= U4_MAX_MSG ? U4_OK : U4_LOC_LEN_ERR;
}

/* ---- processes ---- */

static u8 u4_user_ud(struct u4_ibqp *qp, const struct rxe_send_wqe *user, struct u4_swqe *wqe)
{
	struct u4_ah_entry *entry;
	u8 status = U4_LOC_QP_OP_ERR;

	wqe->ud.qpn = READ_ONCE(user->wr.wr.ud.remote_qpn) & U4_PSN_MASK;
	wqe->rkey = READ_ONCE(user->wr.wr.ud.remote_qkey);
	if (wqe->rkey & U4_QKEY_OWN)
		wqe->rkey = qp->xp->attr.qkey;
	rcu_read_lock();
	entry = xa_load(&qp->dev->ahs, READ_ONCE(user->wr.wr.ud.ah_num));
	if (entry && entry->pd == qp->ib.pd) {
		wqe->ud.av = entry->av;
		status = U4_OK;
	}
	rcu_read_unlock();
	return status;
}

static u8 u4_user_flush(u8 type, u8 level, struct u4_swqe *wqe)
{
	if (!type || type & ~(IB_FLUSH_GLOBAL | IB_FLUSH_PERSISTENT) || level > IB_FLUSH_MR)
		return U4_LOC_QP_OP_ERR;
	wqe->imm = 0;
	if (level == IB_FLUSH_MR)
		wqe->imm |= U4_FLUSH_REGION;
	if (type & IB_FLUSH_PERSISTENT)
		wqe->imm |= U4_FLUSH_PERSISTENT;
	return U4_OK;
}

static u8 u4_user_op(struct u4_ibqp *qp, const struct rxe_send_wqe *user, struct u4_swqe *wqe)
{
	switch (wqe->op) {
	case U4_WR_SEND:
		return u4_send_datagram(qp) ? u4_user_ud(qp, user, wqe) : U4_OK;
	case U4_WR_WRITE:
	case U4_WR_READ:
	case U4_WR_ATOMIC_WRITE:
		wqe->raddr = READ_ONCE(user->wr.wr.rdma.remote_addr);
		wqe->rkey = READ_ONCE(user->wr.wr.rdma.rkey);
		return U4_OK;
	case U4_WR_CMP_SWAP:
	case U4_WR_FETCH_ADD:
		wqe->raddr = READ_ONCE(user->wr.wr.atomic.remote_addr);
		wqe->rkey = READ_ONCE(user->wr.wr.atomic.rkey);
		wqe->atomic.compare_add = READ_ONCE(user->wr.wr.atomic.compare_add);
		wqe->atomic.swap = READ_ONCE(user->wr.wr.atomic.swap);
		return U4_OK;
	case U4_WR_LOCAL_INV:
		wqe->rkey = wqe->imm;
		return U4_OK;
	case U4_WR_BIND_MW:
		wqe->rkey = READ_ONCE(user->wr.wr.mw.mw_rkey);
		wqe->bind.addr = READ_ONCE(user->wr.wr.mw.addr);
		wqe->bind.length = READ_ONCE(user->wr.wr.mw.length);
		wqe->bind.lkey = READ_ONCE(user->wr.wr.mw.mr_lkey);
		wqe->bind.key = READ_ONCE(user->wr.wr.mw.rkey);
		wqe->bind.access = READ_ONCE(user->wr.wr.mw.access);
		return wqe->bind.access & ~U4_BIND_ACCESS ? U4_MW_BIND_ERR : U4_OK;
	case U4_WR_FLUSH:
		wqe->raddr = READ_ONCE(user->wr.wr.flush.remote_addr);
		wqe->rkey = READ_ONCE(user->wr.wr.flush.rkey);
		wqe->flush_len = READ_ONCE(user->wr.wr.flush.length);
		return u4_user_flush(READ_ONCE(user->wr.wr.flush.type),
				     READ_ONCE(user->wr.wr.flush.level), wqe);
	}
	return U4_LOC_QP_OP_ERR;
}

/* Payload: inline bytes, or pieces of memory whose lengths we add up ourselves. */
static u8 u4_user_payload(struct u4_ibqp *qp, const struct rxe_send_wqe *user,
			  struct u4_swqe *wqe, bool is_inline)
{
	u32 num_sge, i;
	u64 len = 0;

	if (is_inline || wqe->op == U4_WR_ATOMIC_WRITE) {
		len = wqe->op == U4_WR_ATOMIC_WRITE ? 8 : READ_ONCE(user->dma.length);
		if (!u4_op_takes_inline(wqe->op) || len > qp->cap.max_inline_data)
			return U4_LOC_LEN_ERR;
		memcpy(wqe->data, user->dma.inline_data, len);
		wqe->flags |= U4_WRF_INLINE;
	} else {
		num_sge = READ_ONCE(user->dma.num_sge);
		if (num_sge > qp->cap.max_send_sge)
			return U4_LOC_QP_OP_ERR;
		for (i = 0; i < num_sge; i++) {
			struct u4_sge *sge = &wqe->sge[wqe->num_sge];

			sge->len = READ_ONCE(user->dma.sge[i].length);
			if (!sge->len)
				continue;
			sge->addr = READ_ONCE(user->dma.sge[i].addr);
			sge->lkey = READ_ONCE(user->dma.sge[i].lkey);
			len += sge->len;
			wqe->num_sge++;
		}
	}
	wqe->len = len;
	return u4_send_check_len(qp, wqe, len);
}

static u8 u4_user_wqe(struct u4_ibqp *qp, const struct rxe_send_wqe *user, struct u4_swqe *wqe)
{
	u32 opcode = READ_ONCE(user->wr.opcode);
	u32 flags = READ_ONCE(user->wr.send_flags);
	const struct u4_send_op *op = u4_send_op(qp, opcode);
	u8 status;

	wqe->wr_id = READ_ONCE(user->wr.wr_id);
	wqe->imm = READ_ONCE(user->wr.ex.invalidate_rkey);
	wqe->flags = u4_send_flags(flags);
	if (!op || (flags & ~(IB_SEND_FENCE | IB_SEND_SIGNALED | IB_SEND_SOLICITED |
			      IB_SEND_INLINE)))
		return U4_LOC_QP_OP_ERR;
	wqe->op = op->op;
	wqe->flags |= op->flags;
	status = u4_user_op(qp, user, wqe);
	if (!status)
		status = u4_user_payload(qp, user, wqe, flags & IB_SEND_INLINE);
	if (!status && u4_send_datagram(qp))
		u4_av_set_len(&wqe->ud.av, wqe->len);
	return status;
}

/*
 * At most one turn of the ring, since the count is masked. The consumer index that
 * the process sees moves when requests are over, so an honest one never finds the
 * transport's ring full.
 */
void u4_send_take_user(struct u4_ibqp *qp)
{
	struct u4_queue *q = &qp->sq;
	u32 n = u4_queue_count(q);
	struct u4_swqe *wqe;

	while (n-- && (wqe = u4_sq_next(qp->xp))) {
		wqe->status = u4_user_wqe(qp, u4_queue_slot(q, q->index), wqe);
		q->index = (q->index + 1) & q->mask;
		u4_sq_push(qp->xp);
	}
}

static int u4_post_user(struct u4_ibqp *qp)
{
	u4_sq_lock(qp->xp);
	if (qp->xp->state < U4_QPS_RTS) {
		u4_sq_unlock(qp->xp);
		return -EINVAL;
	}
	u4_send_take_user(qp);
	u4_sq_run(qp->xp);
	u4_sq_unlock(qp->xp);
	return 0;
}

/* ---- the kernel ---- */

static int u4_kernel_op(struct u4_ibqp *qp, const struct ib_send_wr *wr, struct u4_swqe *wqe)
{
	switch (wqe->op) {
	case U4_WR_SEND:
		if (!u4_send_datagram(qp))
			return 0;
		if (!ud_wr(wr)->ah)
			return -EINVAL;
		wqe->ud.qpn = ud_wr(wr)->remote_qpn & U4_PSN_MASK;
		wqe->rkey = ud_wr(wr)->remote_qkey;
		if (wqe->rkey & U4_QKEY_OWN)
			wqe->rkey = qp->xp->attr.qkey;
		wqe->ud.av = to_u4_ah(ud_wr(wr)->ah)->av;
		return 0;
	case U4_WR_WRITE:
	case U4_WR_READ:
	case U4_WR_ATOMIC_WRITE:
		wqe->raddr = rdma_wr(wr)->remote_addr;
		wqe->rkey = rdma_wr(wr)->rkey;
		return 0;
	case U4_WR_CMP_SWAP:
	case U4_WR_FETCH_ADD:
		wqe->raddr = atomic_wr(wr)->remote_addr;
		wqe->rkey = atomic_wr(wr)->rkey;
		wqe->atomic.compare_add = atomic_wr(wr)->compare_add;
		wqe->atomic.swap = atomic_wr(wr)->swap;
		return 0;
	case U4_WR_LOCAL_INV:
		wqe->rkey = wr->ex.invalidate_rkey;
		return 0;
	case U4_WR_REG_MR:
		wqe->mr.mr = to_u4_ibmr(reg_wr(wr)->mr)->xp;
		wqe->mr.addr = reg_wr(wr)->mr->iova;
		wqe->mr.length = reg_wr(wr)->mr->length;
		wqe->mr.key = reg_wr(wr)->key;
		wqe->mr.access = reg_wr(wr)->access;
		return 0;
	}
	return -EINVAL;
}

static int u4_kernel_payload(struct u4_ibqp *qp, const struct ib_send_wr *wr, struct u4_swqe *wqe)
{
	bool is_inline = wr->send_flags & IB_SEND_INLINE;
	u64 len = 0;
	int i;

	if (wqe->op == U4_WR_LOCAL_INV || wqe->op == U4_WR_REG_MR)
		return 0;
	if (wr->num_sge < 0 || wr->num_sge > qp->cap.max_send_sge)
		return -EINVAL;
	for (i = 0; i < wr->num_sge; i++) {
		const struct ib_sge *from = &wr->sg_list[i];
		struct u4_sge *sge;

		if (!from->length)
			continue;
		if (is_inline) {
			if (len + from->length > qp->cap.max_inline_data)
				return -EINVAL;
			memcpy(wqe->data + len, (void *)(uintptr_t)from->addr, from->length);
		} else {
			sge = &wqe->sge[wqe->num_sge++];
			sge->addr = from->addr;
			sge->len = from->length;
			sge->lkey = from->lkey;
		}
		len += from->length;
	}
	if (is_inline) {
		if (!u4_op_takes_inline(wqe->op))
			return -EINVAL;
		wqe->flags |= U4_WRF_INLINE;
	}
	wqe->len = len;
	return u4_send_check_len(qp, wqe, len) ? -EINVAL : 0;
}

static int u4_kernel_wqe(struct u4_ibqp *qp, const struct ib_send_wr *wr, struct u4_swqe *wqe)
{
	const struct u4_send_op *op = u4_send_op(qp, wr->opcode);
	int err;

	wqe->wr_id = wr->wr_id;
	wqe->flags = u4_send_flags(wr->send_flags);
	/* To be flushed whatever it is; draining counts on that. */
	if (qp->xp->state == U4_QPS_ERR)
		return 0;
	if (!op)
		return -EINVAL;
	wqe->op = op->op;
	wqe->flags |= op->flags;
	wqe->imm = wr->ex.invalidate_rkey;
	err = u4_kernel_op(qp, wr, wqe);
	if (err)
		return err;
	err = u4_kernel_payload(qp, wr, wqe);
	if (!err && u4_send_datagram(qp))
		u4_av_set_len(&wqe->ud.av, wqe->len);
	return err;
}

static int u4_post_kernel(struct u4_ibqp *qp, const struct ib_send_wr *wr,
			  const struct ib_send_wr **bad)
{
	/*
	 * ULPs (ib_mad is one) post with interrupts off. Bottom halves can't come
	 * in between then, but sending would turn them on again: that waits.
	 */
	bool irqs_off = irqs_disabled();
	struct u4_swqe *wqe;
	int err = 0;

	if (irqs_off)
		spin_lock(&qp->xp->sq_lock);
	else
		u4_sq_lock(qp->xp);
	if (qp->xp->state < U4_QPS_RTS) {
		*bad = wr;
		err = -EINVAL;
		goto unlock;
	}
	for (; wr; wr = wr->next) {
		wqe = u4_sq_next(qp->xp);
		err = wqe ? u4_kernel_wqe(qp, wr, wqe) : -ENOMEM;
		if (err) {
			*bad = wr;
			break;
		}
		u4_sq_push(qp->xp);
	}
	if (!irqs_off)
		u4_sq_run(qp->xp);
unlock:
	if (irqs_off) {
		spin_unlock(&qp->xp->sq_lock);
		queue_work(system_bh_wq, &qp->run_work);
	} else {
		u4_sq_unlock(qp->xp);
	}
	return err;
}

int u4_post_send(struct ib_qp *ib, const struct ib_send_wr *wr, const struct ib_send_wr **bad)
{
	struct u4_ibqp *qp = to_u4_ibqp(ib);

	if (!qp->user)
		return u4_post_kernel(qp, wr, bad);
	if (wr) {	/* a process's requests come by its mapped queue only */
		*bad = wr;
		return -EINVAL;
	}
	return u4_post_user(qp);
}

/* ---- completions ---- */

static const u8 u4_wc_opcode[] = {
	[U4_WR_SEND]		= IB_WC_SEND,
	[U4_WR_WRITE]		= IB_WC_RDMA_WRITE,
	[U4_WR_READ]		= IB_WC_RDMA_READ,
	[U4_WR_CMP_SWAP]	= IB_WC_COMP_SWAP,
	[U4_WR_FETCH_ADD]	= IB_WC_FETCH_ADD,
	[U4_WR_ATOMIC_WRITE]	= IB_WC_ATOMIC_WRITE,
	[U4_WR_FLUSH]		= IB_WC_FLUSH,
	[U4_WR_LOCAL_INV]	= IB_WC_LOCAL_INV,
	[U4_WR_REG_MR]		= IB_WC_REG_MR,
	[U4_WR_BIND_MW]		= IB_WC_BIND_MW,
};

void u4_send_done(struct u4_qp *xp, const struct u4_swqe *wqe, enum u4_status status, u32 len)
{
	struct u4_ibqp *qp = xp->owner;
	struct ib_wc wc;

	if (qp->user) {
		/* Before the completion: who sees that may post at once. */
		qp->sq_done = (qp->sq_done + 1) & qp->sq.mask;
		smp_store_release(&qp->sq.buf->consumer_index, qp->sq_done);
		if (status)
			u4_qp_watch_errors(qp->dev);
	}
	if (!status && !qp->sig_all && !(wqe->flags & U4_WRF_SIGNALED))
		return;
	wc = (struct ib_wc) {
		.wr_id = wqe->wr_id,
		.status = (enum ib_wc_status)status,
		.opcode = u4_wc_opcode[wqe->op],
		.byte_len = len,
		.qp = &qp->ib,
		.port_num = U4_PORT,
	};
	u4_cq_push(qp->scq, &wc, false);
}
