// SPDX-License-Identifier: GPL-2.0-only
/*
 * Raw frames of a burst from memory: in place where the region is mapped for the
 * rail, copied where it is not. The cut is the same in both cases.
 */
#include <linux/mm.h>
#include <linux/string.h>

#include "internal.h"

struct u4_ref *u4_emit_region(struct u4_burst *burst, const struct u4_seg *seg,
			      struct u4_mr *mr, u64 addr, bool copy)
{
	struct device *dma_dev = u4_rail_dma_device(burst->rail);
	struct u4_ref *ref = NULL;
	struct page *page;
	unsigned int i;
	dma_addr_t dma;
	u32 offset;

	for (i = 0; i < burst->nraw; i++) {
		u32 len = u4_seg_raw_len(seg, i);

		if (mr && !copy && u4_mr_place(mr, addr, dma_dev, &page, &offset, &dma) &&
		    offset + len <= PAGE_SIZE) {
			u4_burst_set_page(burst, i, page, offset, len, dma);
			ref = &mr->ref;
		} else {
			void *buf = u4_burst_buf(burst, i);

			if (mr)
				u4_mr_copy(mr, addr, buf, len, false);
			else
				memcpy(buf, (void *)(uintptr_t)addr, len);
			u4_burst_set_len(burst, i, len);
		}
		addr += len;
	}
	return ref;
}

int u4_burst_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst,
		 struct u4_waiter *waiter)
{
	int ret = u4_rail_get(rail, nraw, burst);

	if (ret != -EAGAIN || !u4_rail_wait(rail, waiter))
		return ret;
	/* Room may have come before the waiter was queued, and nobody would tell. */
	ret = u4_rail_get(rail, nraw, burst);
	if (!ret)
		u4_rail_unwait(waiter);
	return ret;
}
