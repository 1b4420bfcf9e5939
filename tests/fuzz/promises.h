/* SPDX-License-Identifier: GPL-2.0-only */
/* What u4_seg_parse() promises of a header that it lets through. */
#ifndef PROMISES_H
#define PROMISES_H

#include "../../driver/transport/segment.h"

static void check_segment(const struct u4_seg *seg, const void *data, unsigned int len,
			  unsigned int nraw)
{
	u64 sum = seg->inline_len;
	struct u4_xp_hdr hdr;
	struct u4_seg again;
	unsigned int i;

	memset(&again, 0, sizeof(again));	/* padding is compared as well */
	u4_seg_format(&hdr, seg);
	CHECK(!memcmp(&hdr, data, sizeof(hdr)), "a parsed header written again is another one");
	CHECK(!u4_seg_parse(&again, data, len, nraw) && !memcmp(seg, &again, sizeof(again)),
	      "parsed twice, a header is another one");
	CHECK(sizeof(hdr) + seg->inline_len == len, "inline part");
	CHECK(seg->payload == (const u8 *)data + sizeof(hdr), "payload");
	CHECK(seg->nraw == nraw, "raw frames");
	for (i = 0; i < nraw; i++) {
		u32 n = u4_seg_raw_len(seg, i);

		CHECK(n && n <= U4_FRAME_SIZE, "raw frame %u of %u bytes", i, n);
		CHECK(u4_seg_raw_off(seg, i) == seg->msg_off + sum, "place of raw frame %u", i);
		sum += n;
	}
	CHECK(!u4_seg_raw_len(seg, nraw), "a raw frame behind the last");
	CHECK(sum == seg->seg_len, "frames make up %llu of %u bytes", (unsigned long long)sum,
	      seg->seg_len);
	CHECK(seg->dqpn < 1 << 24 && seg->sqpn < 1 << 24 && seg->psn < 1 << 24, "24 bits");
	if (seg->op == U4_OP_SEND || seg->op == U4_OP_WRITE || seg->op == U4_OP_READ_RESP) {
		CHECK((u64)seg->msg_off + seg->seg_len <= seg->msg_len, "beyond its message");
		CHECK(seg->msg_len <= U4_MSG_MAX, "message of %u bytes", seg->msg_len);
	}
	if (seg->op == U4_OP_WRITE || seg->op == U4_OP_READ_REQ)
		CHECK(seg->raddr + seg->msg_len >= seg->raddr, "beyond the address space");
}

#endif /* PROMISES_H */
