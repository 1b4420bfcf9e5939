// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local memory of work requests: lists of SGEs, each with its own key. Every
 * access looks the key up anew, so a region that was deregistered in between is
 * noticed and never touched.
 */
#include <linux/string.h>

#include "internal.h"

bool u4_sge_find(const struct u4_sge *sge, u32 num_sge, u32 off, struct u4_sge *rest)
{
	u32 i;

	for (i = 0; i < num_sge; i++) {
		if (off < sge[i].len) {
			rest->addr = sge[i].addr + off;
			rest->len = sge[i].len - off;
			rest->lkey = sge[i].lkey;
			return true;
		}
		off -= sge[i].len;
	}
	return false;
}

static int u4_sge_copy_one(struct u4_qp *qp, const struct u4_sge *sge, void *buf, u32 len,
			   bool to_sge, struct u4_fault *fault)
{
	u32 access = to_sge ? U4_ACCESS_LOCAL_WRITE : 0;
	struct u4_mr *mr;
	int ret = 0;

	if (!sge->lkey) {
		void *mem = (void *)(uintptr_t)sge->addr;

		if (!qp->kernel)
			return -EACCES;
		if (to_sge)
			memcpy(mem, buf, len);
		else
			memcpy(buf, mem, len);
		return 0;
	}
	mr = u4_mr_get_local(qp, sge->lkey, access, sge->addr, len);
	if (!mr)
		return -EACCES;
	if (u4_mr_enter(mr, sge->lkey, sge->addr, len)) {
		u4_mr_copy(mr, sge->addr, buf, len, to_sge);
		u4_mr_leave(mr);
	} else {
		ret = u4_fault_start(qp, fault, mr, sge->addr, sge->len);
	}
	u4_mr_put(mr);
	return ret;
}

int u4_sge_copy(struct u4_qp *qp, const struct u4_sge *sge, u32 num_sge, u32 off, void *buf,
		u32 len, bool to_sge, struct u4_fault *fault)
{
	struct u4_sge rest;
	int ret;
	u32 n;

	while (len) {
		if (!u4_sge_find(sge, num_sge, off, &rest))
			return -EACCES;
		n = min(len, rest.len);
		ret = u4_sge_copy_one(qp, &rest, buf, n, to_sge, fault);
		if (ret)
			return ret;
		buf += n;
		off += n;
		len -= n;
	}
	return 0;
}
