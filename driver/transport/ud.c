// SPDX-License-Identifier: GPL-2.0-only
/*
 * Receiving datagrams: Q_Key, a receive that holds header and payload, or silence.
 */
#include <linux/string.h>

#include "internal.h"

bool u4_ud_rx(struct u4_qp *qp, const struct u4_seg *seg)
{
	int ret;

	if (!u4_qp_receives(qp))
		return false;
	if (seg->rkey != qp->attr.qkey) {
		u4_xp_count(qp->dev, U4_CNT_RX_QKEY, 1);
		return false;
	}
	if (!qp->have_rwqe) {
		ret = qp->dev->ops->recv_next(qp, &qp->rwqe);
		if (ret == -EINVAL) {
			struct u4_recv recv = {
				.wr_id = qp->rwqe.wr_id,
				.status = U4_LOC_QP_OP_ERR,
			};

			qp->dev->ops->recv_done(qp, &recv);
			u4_qp_fail(qp);
		}
		if (ret)
			return false;
		qp->have_rwqe = true;
	}
	if (seg->msg_len > qp->rwqe.len)
		return false;
	/* One that is still under way on another rail loses the receive to this one. */
	qp->ud_run++;
	qp->mc_run = 0;
	if (seg->dqpn != U4_QPN_MULTICAST)
		u4_xp_count(qp->dev, U4_CNT_RX_SEGMENTS, 1);
	ret = u4_sge_copy(qp, qp->rwqe.sge, qp->rwqe.num_sge, 0, (void *)seg->payload,
			  seg->inline_len, true, &qp->rq_fault);
	/* For an absent page it is dropped; the page comes for the next one. */
	if (ret && ret != -EINPROGRESS)
		u4_ud_commit(qp, seg, false);
	return !ret;
}

/* @ok false: the receive's memory is not usable; a datagram that is merely lost never gets here. */
void u4_ud_commit(struct u4_qp *qp, const struct u4_seg *seg, bool ok)
{
	struct u4_recv recv = {
		.wr_id = qp->rwqe.wr_id,
		.status = ok ? U4_OK : U4_LOC_PROT_ERR,
		.len = seg->msg_len,
		.imm = seg->imm,
		.src_qpn = seg->sqpn,
		.flags = seg->flags,
		.ud = true,
	};

	if (!qp->have_rwqe)
		return;
	qp->have_rwqe = false;
	qp->dev->ops->recv_done(qp, &recv);
	if (ok)
		u4_xp_count(qp->dev, U4_CNT_RX_BYTES, seg->seg_len - U4_NET_HDR_LEN);
	else
		u4_qp_fail(qp);
}
