// SPDX-License-Identifier: GPL-2.0-only
/*
 * One header of a data frame, as bytes: transport segment, network packet or link
 * header; and how a message is cut into segments. Small and quick, so that each field
 * meets many values.
 */
#include "shim_link.h"

#include "../../driver/net/net_frame.h"
#include "../../driver/transport/segment.c"
#include "promises.h"

#define LONGEST	(sizeof(struct u4_xp_hdr) + U4_XP_INLINE_MAX + 1)

static void segment(struct script *s)
{
	u32 shape = next_byte(s), nraw = shape % (U4_RAW_MAX + 2), len, room;
	struct u4_xp_hdr hdr;
	struct u4_seg seg;
	u8 *frame;

	next_bytes(s, &hdr, sizeof(hdr));
	/* As long as it says, one byte more or less, or whatever. */
	len = sizeof(hdr) + le16_to_cpu(hdr.inline_len) % (U4_XP_INLINE_MAX + 2);
	if (shape & 128)
		len = shape & 64 ? len - 1 : next_u16(s) % LONGEST;
	/* Random bytes rarely say the lengths that fit. */
	if (shape & 32) {
		hdr.reserved = 0;
		hdr.dqpn &= cpu_to_le32(0xffffff);
		hdr.sqpn &= cpu_to_le32(0xffffff);
		hdr.psn &= cpu_to_le32(0xffffff);
		room = nraw ? le16_to_cpu(hdr.first_raw) + (nraw - 1) * U4_FRAME_SIZE : 0;
		hdr.seg_len = cpu_to_le32(le16_to_cpu(hdr.inline_len) + room);
		if (!(shape & 64))
			hdr.msg_len = cpu_to_le32(le32_to_cpu(hdr.msg_off) +
						  le32_to_cpu(hdr.seg_len));
	}
	/* Exactly as long as said, so that a read beyond it is caught. */
	frame = malloc(len ? len : 1);
	memcpy(frame, &hdr, min(len, (u32)sizeof(hdr)));
	memset(&seg, 0, sizeof(seg));
	if (!u4_seg_parse(&seg, frame, len, nraw))
		check_segment(&seg, frame, len, nraw);
	free(frame);
}

static void packet(struct script *s)
{
	u32 nraw = next_byte(s) % (U4_RAW_MAX + 2), room = next_u16(s) % U4_FRAME_SIZE, i, sum;
	struct u4_net_frame frame;
	struct u4_net_hdr hdr;

	next_bytes(s, &hdr, sizeof(hdr));
	if (!u4_net_parse(&hdr, room, nraw, &frame))
		return;
	CHECK(frame.inline_len == room, "inline part of %u, room for %u", frame.inline_len, room);
	CHECK(frame.len <= U4_NET_LEN_MAX && frame.len >= U4_NET_LEN_MIN, "packet of %u", frame.len);
	for (i = 0, sum = room; i < nraw; i++) {
		u32 n = u4_net_raw_len(&frame, i);

		CHECK(n && n <= U4_FRAME_SIZE, "raw frame of %u", n);
		sum += n;
	}
	CHECK(sum == frame.len && !u4_net_raw_len(&frame, nraw), "frames make up %u of %u", sum,
	      frame.len);
	CHECK(!frame.csum || (frame.csum_start >= 34 &&
			      frame.csum_start + frame.csum_offset + 2 <= frame.len), "checksum");
	CHECK(frame.csum == !!(hdr.flags & U4_NET_CSUM_PARTIAL), "checksum flag");
}

/* Whatever pieces its memory comes in, a message is cut into segments that tile it. */
static void cut(struct script *s)
{
	static u8 frame[LONGEST];
	u32 msg_len = next_u32(s) % (1 << 20), off = 0, avail, i;
	u64 addr = next_u64(s) >> 1;
	struct u4_plan plan;

	while (off < msg_len && s->at < s->end) {
		struct u4_seg seg = { .op = U4_OP_WRITE, .msg_len = msg_len, .msg_off = off }, back;

		/* The rest of an SGE: contiguous in address. */
		avail = 1 + next_u32(s) % 200000;
		avail = min(avail, msg_len - off);
		while (avail) {
			u4_plan_next(&plan, addr, avail, msg_len - off);
			CHECK(plan.seg_len && plan.seg_len <= msg_len - off, "segment of %u bytes",
			      plan.seg_len);
			/* Raw frames are read from memory in place. */
			CHECK(!plan.nraw || plan.seg_len <= avail, "raw frames beyond the SGE");
			seg.msg_off = off;
			seg.seg_len = plan.seg_len;
			seg.inline_len = plan.inline_len;
			seg.first_raw = plan.first_raw;
			seg.nraw = plan.nraw;
			seg.flags = (off ? 0 : U4_XP_FIRST) |
				    (off + plan.seg_len == msg_len ? U4_XP_LAST : 0);
			u4_seg_format((struct u4_xp_hdr *)frame, &seg);
			memset(&back, 0, sizeof(back));
			CHECK(!u4_seg_parse(&back, frame, sizeof(struct u4_xp_hdr) + plan.inline_len,
					    plan.nraw), "what is planned does not parse");
			for (i = 0; i < plan.nraw; i++) {
				u64 at = addr + u4_seg_raw_off(&back, i) - off;

				CHECK(at / 4096 == (at + u4_seg_raw_len(&back, i) - 1) / 4096,
				      "a raw frame leaves its page");
			}
			off += plan.seg_len;
			addr += plan.seg_len;
			avail = plan.seg_len < avail ? avail - plan.seg_len : 0;
		}
		addr = next_u64(s) >> 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };

	switch (next_byte(&s) & 3) {
	case 0:
	case 1:
		segment(&s);
		break;
	case 2:
		packet(&s);
		break;
	case 3:
		cut(&s);
		break;
	}
	return 0;
}
