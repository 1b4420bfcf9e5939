// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory windows of both types. A window is a key whose meaning a BIND_MW request
 * sets; binding and every check are the transport's (u4_mr_bind()).
 */
#include "verbs.h"

int u4_alloc_mw(struct ib_mw *ib, struct ib_udata *udata)
{
	struct u4_mw *mw = to_u4_mw(ib);
	struct u4_mr *xp;

	xp = u4_mr_create(&to_u4_ibdev(ib->device)->vdev->xp, ib->pd,
			  ib->type == IB_MW_TYPE_1 ? U4_MR_MW1 : U4_MR_MW2, 0);
	if (IS_ERR(xp))
		return PTR_ERR(xp);
	mw->xp = xp;
	ib->rkey = xp->key;
	u4_mr_publish(xp);
	return 0;
}

int u4_dealloc_mw(struct ib_mw *ib)
{
	u4_mr_destroy(to_u4_mw(ib)->xp);
	return 0;
}
