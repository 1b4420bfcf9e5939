// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that the kernel keeps for a process, counted against its RLIMIT_MEMLOCK
 * beside the pages that it pins, as NICs count the queues that they read. A
 * memory cgroup counts it too (GFP_KERNEL_ACCOUNT), but not everybody is in one
 * that has a limit, and without any a program could take all memory in queues.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "verbs.h"

/**
 * u4_charge() - count memory for the current process
 * @charge: filled in
 * @bytes: of memory, in whole pages
 *
 * Return: 0, or %-ENOMEM when that is more than the process may lock. Undone by
 * u4_uncharge(), also when this failed.
 */
int u4_charge(struct u4_charge *charge, size_t bytes)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long pages = PFN_UP(bytes);
	struct mm_struct *mm = current->mm;

	charge->mm = NULL;
	charge->pages = 0;
	if (!mm || !pages)
		return 0;
	if (atomic64_add_return(pages, &mm->pinned_vm) > limit && !capable(CAP_IPC_LOCK)) {
		atomic64_sub(pages, &mm->pinned_vm);
		return -ENOMEM;
	}
	/* Whoever ends it: a child, or nobody any more when the device is taken away. */
	mmgrab(mm);
	charge->mm = mm;
	charge->pages = pages;
	return 0;
}

void u4_uncharge(struct u4_charge *charge)
{
	if (!charge->mm)
		return;
	atomic64_sub(charge->pages, &charge->mm->pinned_vm);
	mmdrop(charge->mm);
	charge->mm = NULL;
}
