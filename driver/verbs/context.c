// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts of processes and protection domains: nothing but names and limits.
 */
#include "verbs.h"

int u4_alloc_ucontext(struct ib_ucontext *ib, struct ib_udata *udata)
{
	return 0;
}

void u4_dealloc_ucontext(struct ib_ucontext *ib)
{
}

/*
 * Its presence lets ib_core take the device away from running processes. Their
 * mapped queues stay: the pages are theirs, we just stop writing.
 */
void u4_disassociate_ucontext(struct ib_ucontext *ib)
{
}

int u4_alloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	/* The kernel's own are few, and no process may keep it from having them. */
	if (ib->uobject && !u4_take(&to_u4_ibdev(ib->device)->num_pds, U4_MAX_PDS))
		return -ENOMEM;
	return 0;
}

int u4_dealloc_pd(struct ib_pd *ib, struct ib_udata *udata)
{
	if (ib->uobject)
		atomic_dec(&to_u4_ibdev(ib->device)->num_pds);
	return 0;
}
