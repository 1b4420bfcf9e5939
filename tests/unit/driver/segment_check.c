// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drives driver/transport/segment.c in user space. Commands by argument:
 *
 *   plan               every cut of a message parses again and adds up
 *   parse HEX NRAW     prints the fields of a segment, or "bad"
 *   mutate SEED COUNT  random headers: what parses must be consistent
 */
#include <stdio.h>
#include <stdlib.h>

#include "../../../driver/transport/segment.c"

static unsigned long long rng;

static u32 next_random(void)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return rng >> 33;
}

static void fail(const char *why)
{
	printf("FAIL: %s\n", why);
	exit(1);
}

/* What u4_seg_parse() promises of every segment that it lets through. */
static void check_promises(const struct u4_seg *seg)
{
	unsigned long long sum = seg->inline_len;
	unsigned int i;

	for (i = 0; i < seg->nraw; i++) {
		u32 len = u4_seg_raw_len(seg, i);

		if (!len || len > U4_FRAME_SIZE)
			fail("length of a raw frame");
		if (u4_seg_raw_off(seg, i) != seg->msg_off + sum)
			fail("place of a raw frame");
		sum += len;
	}
	if (u4_seg_raw_len(seg, seg->nraw))
		fail("a raw frame behind the last");
	if (sum != seg->seg_len)
		fail("frames do not add up to the segment");
	if (seg->inline_len > U4_XP_INLINE_MAX)
		fail("inline part too long");
	switch (seg->op) {
	case U4_OP_SEND:
	case U4_OP_WRITE:
	case U4_OP_READ_RESP:
		if ((unsigned long long)seg->msg_off + seg->seg_len > seg->msg_len)
			fail("segment leaves its message");
		if (seg->msg_len > U4_MSG_MAX)
			fail("message too long");
		break;
	case U4_OP_READ_REQ:
		if (seg->seg_len || seg->msg_len > U4_MSG_MAX)
			fail("READ request");
		break;
	}
	if (seg->op == U4_OP_WRITE && seg->raddr + seg->msg_len < seg->raddr)
		fail("message leaves the address space");
}

static void plan_all(void)
{
	u8 frame[U4_FRAME_SIZE];
	unsigned int i;
	u32 len, off;
	u64 addr;

	for (addr = 0; addr < 8192; addr += 61) {
		for (len = 1; len < 200000; len += 1733) {
			for (off = 0; off < len;) {
				struct u4_seg seg = { .op = U4_OP_WRITE, .msg_len = len,
						      .msg_off = off };
				struct u4_seg back;
				struct u4_plan plan;
				u64 at;

				u4_plan_next(&plan, addr + off, len - off, len - off);
				seg.seg_len = plan.seg_len;
				seg.inline_len = plan.inline_len;
				seg.first_raw = plan.first_raw;
				seg.nraw = plan.nraw;
				seg.flags = (off ? 0 : U4_XP_FIRST) |
					    (off + plan.seg_len == len ? U4_XP_LAST : 0);
				memset(frame, 0, sizeof(frame));
				u4_seg_format((struct u4_xp_hdr *)frame, &seg);
				if (u4_seg_parse(&back, frame,
						 sizeof(struct u4_xp_hdr) + plan.inline_len,
						 plan.nraw))
					fail("a planned segment does not parse");
				check_promises(&back);
				for (i = 0; i < back.nraw; i++) {
					at = addr + u4_seg_raw_off(&back, i);
					if (at / 4096 != (at + u4_seg_raw_len(&back, i) - 1) / 4096)
						fail("a raw frame crosses a page");
				}
				off += plan.seg_len;
			}
		}
	}
}

static void mutate(unsigned long long seed, unsigned long count)
{
	unsigned long parsed = 0;
	u8 *frame;

	rng = seed;
	while (count--) {
		u32 inline_len = next_random() % 3 ? next_random() % 64 :
						     next_random() % (U4_XP_INLINE_MAX + 8);
		u32 nraw = next_random() % 3 ? 0 : next_random() % (U4_RAW_MAX + 3);
		u32 raw = nraw ? (nraw - 1) * 4096 + 1 + next_random() % 4096 : 0;
		struct u4_seg seg = {
			.op = next_random() % 0x22,
			.flags = next_random() % 4 ? 3 : next_random(),
			.first_raw = nraw ? (nraw == 1 ? raw : 4096) : 0,
			.inline_len = inline_len,
			.dqpn = next_random() & 0xffffff,
			.sqpn = next_random() & 0xffffff,
			.psn = next_random() & 0xffffff,
			.msg_len = inline_len + raw,
			.seg_len = inline_len + raw,
			.raddr = next_random(),
		};
		struct u4_xp_hdr hdr;
		struct u4_seg back;
		u32 len = sizeof(hdr) + inline_len;

		u4_seg_format(&hdr, &seg);
		/* One or two fields go astray. */
		while (next_random() & 1)
			((u8 *)&hdr)[next_random() % sizeof(hdr)] = next_random();
		/* Exactly as long as said, so that a read beyond it is caught. */
		frame = malloc(len);
		memcpy(frame, &hdr, sizeof(hdr));
		memset(frame + sizeof(hdr), 0, inline_len);
		if (!u4_seg_parse(&back, frame, len, nraw)) {
			check_promises(&back);
			parsed++;
		}
		u4_seg_parse(&back, frame, next_random() % len, nraw);
		free(frame);
	}
	printf("parsed %lu\n", parsed);
}

static void parse(const char *hex, unsigned int nraw)
{
	u8 frame[U4_FRAME_SIZE];
	struct u4_seg seg;
	unsigned int len;

	for (len = 0; hex[2 * len] && hex[2 * len + 1] && len < sizeof(frame); len++)
		sscanf(hex + 2 * len, "%2hhx", &frame[len]);
	if (u4_seg_parse(&seg, frame, len, nraw)) {
		puts("bad");
		return;
	}
	check_promises(&seg);
	printf("op=%u flags=%u dqpn=%u sqpn=%u psn=%u msg_len=%u msg_off=%u seg_len=%u "
	       "inline_len=%u first_raw=%u raddr=%llu rkey=%u imm=%u\n",
	       seg.op, seg.flags, seg.dqpn, seg.sqpn, seg.psn, seg.msg_len, seg.msg_off,
	       seg.seg_len, seg.inline_len, seg.first_raw, (unsigned long long)seg.raddr,
	       seg.rkey, seg.imm);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "plan")) {
		plan_all();
	} else if (argc == 4 && !strcmp(argv[1], "parse")) {
		parse(argv[2], atoi(argv[3]));
	} else if (argc == 4 && !strcmp(argv[1], "mutate")) {
		mutate(strtoull(argv[2], NULL, 0), strtoul(argv[3], NULL, 0));
	} else {
		return 2;
	}
	puts("done");
	return 0;
}
