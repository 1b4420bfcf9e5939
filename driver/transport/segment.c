// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parsing, writing and planning of segments. No state, no allocation, no
 * kernel services but byte order: user-space tests compile this file.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#else
#define min(a, b)	((a) < (b) ? (a) : (b))
#endif

#include "segment.h"

#define U4_FLAGS_MSG	(U4_XP_FIRST | U4_XP_LAST | U4_XP_ACKREQ | U4_XP_SOLICITED | \
			 U4_XP_IMM | U4_XP_INV | U4_XP_UC)
#define U4_FLAGS_ONE	(U4_XP_FIRST | U4_XP_LAST | U4_XP_ACKREQ)
#define U4_24BITS	0xffffffu

/* The lengths of inline part and raw frames must add up in exactly one way. */
static bool u4_seg_raw_fits(const struct u4_seg *seg)
{
	u32 raw = seg->seg_len - seg->inline_len;
	u32 rest;

	if (!seg->nraw)
		return !raw && !seg->first_raw;
	if (seg->nraw > U4_RAW_MAX || !seg->first_raw || seg->first_raw > U4_FRAME_SIZE ||
	    raw < seg->first_raw)
		return false;
	rest = raw - seg->first_raw;
	if (seg->nraw == 1)
		return !rest;
	return rest > (seg->nraw - 2) * U4_FRAME_SIZE && rest <= (seg->nraw - 1) * U4_FRAME_SIZE;
}

/* A piece of a message: inside it, and marked first and last where it is. */
static bool u4_seg_piece_fits(const struct u4_seg *seg)
{
	if (seg->msg_len > U4_MSG_MAX || seg->msg_off > seg->msg_len ||
	    seg->seg_len > seg->msg_len - seg->msg_off)
		return false;
	if (!seg->seg_len && seg->msg_len)
		return false;
	if (!!(seg->flags & U4_XP_FIRST) != !seg->msg_off)
		return false;
	return !!(seg->flags & U4_XP_LAST) == (seg->msg_off + seg->seg_len == seg->msg_len);
}

static bool u4_seg_op_fits(const struct u4_seg *seg)
{
	u8 both = U4_XP_IMM | U4_XP_INV;

	switch (seg->op) {
	case U4_OP_SEND:
	case U4_OP_WRITE:
		if (seg->flags & ~U4_FLAGS_MSG)
			return false;
		if ((seg->flags & both) == both)
			return false;
		if ((seg->flags & both) && !(seg->flags & U4_XP_LAST))
			return false;
		if (seg->op == U4_OP_WRITE && (seg->flags & U4_XP_INV))
			return false;
		if (seg->op == U4_OP_WRITE && seg->raddr + seg->msg_len < seg->raddr)
			return false;
		return u4_seg_piece_fits(seg);
	case U4_OP_READ_REQ:
		if (seg->flags & ~(U4_XP_ACKREQ | U4_XP_FIRST | U4_XP_LAST))
			return false;
		if (seg->msg_len > U4_MSG_MAX || seg->raddr + seg->msg_len < seg->raddr)
			return false;
		return !seg->seg_len && (seg->msg_off < seg->msg_len ||
					 (!seg->msg_len && !seg->msg_off));
	case U4_OP_FLUSH:
		return !(seg->flags & ~U4_FLAGS_ONE) && !seg->seg_len && !seg->msg_off &&
		       seg->raddr + seg->msg_len >= seg->raddr;
	case U4_OP_CMP_SWAP:
	case U4_OP_FETCH_ADD:
		return !(seg->flags & ~U4_FLAGS_ONE) && seg->inline_len == 16 && !seg->nraw &&
		       seg->msg_len == 8 && !seg->msg_off;
	case U4_OP_ATOMIC_WRITE:
		return !(seg->flags & ~U4_FLAGS_ONE) && seg->inline_len == 8 && !seg->nraw &&
		       seg->msg_len == 8 && !seg->msg_off;
	case U4_OP_READ_RESP:
		return !(seg->flags & ~(U4_XP_FIRST | U4_XP_LAST)) && u4_seg_piece_fits(seg);
	case U4_OP_ATOMIC_RESP:
		return seg->inline_len == 8 && !seg->nraw;
	case U4_OP_ACK:
	case U4_OP_PROBE:
		return !seg->seg_len;
	case U4_OP_NAK:
		return !seg->seg_len && seg->imm <= U4_NAK_OP;
	case U4_OP_RNR_NAK:
		return !seg->seg_len && seg->imm <= 31;
	case U4_OP_UD:
		return !(seg->flags & ~(U4_XP_FIRST | U4_XP_LAST | U4_XP_SOLICITED | U4_XP_IMM |
					U4_XP_NET_V4)) &&
		       seg->inline_len >= 40 && seg->msg_len <= 40 + U4_FRAME_SIZE &&
		       !seg->msg_off && seg->seg_len == seg->msg_len;
	}
	return false;
}

int u4_seg_parse(struct u4_seg *seg, const void *data, unsigned int len, unsigned int nraw)
{
	struct u4_xp_hdr hdr;

	if (len < sizeof(hdr) || len > sizeof(hdr) + U4_XP_INLINE_MAX || nraw > U4_RAW_MAX)
		return -EBADMSG;
	memcpy(&hdr, data, sizeof(hdr));

	seg->op = hdr.op;
	seg->flags = hdr.flags;
	seg->nraw = nraw;
	seg->first_raw = le16_to_cpu(hdr.first_raw);
	seg->inline_len = le16_to_cpu(hdr.inline_len);
	seg->dqpn = le32_to_cpu(hdr.dqpn);
	seg->sqpn = le32_to_cpu(hdr.sqpn);
	seg->psn = le32_to_cpu(hdr.psn);
	seg->msg_len = le32_to_cpu(hdr.msg_len);
	seg->msg_off = le32_to_cpu(hdr.msg_off);
	seg->seg_len = le32_to_cpu(hdr.seg_len);
	seg->rkey = le32_to_cpu(hdr.rkey);
	seg->imm = le32_to_cpu(hdr.imm);
	seg->raddr = le64_to_cpu(hdr.raddr);
	seg->payload = (const u8 *)data + sizeof(hdr);

	if (hdr.reserved)
		return -EBADMSG;
	if (seg->dqpn > U4_24BITS || seg->sqpn > U4_24BITS || seg->psn > U4_24BITS)
		return -EBADMSG;
	if (seg->inline_len != len - sizeof(hdr) || seg->seg_len < seg->inline_len)
		return -EBADMSG;
	if (seg->seg_len > U4_SEG_MAX + U4_XP_INLINE_MAX || !u4_seg_raw_fits(seg))
		return -EBADMSG;
	if (!u4_seg_op_fits(seg))
		return -EBADMSG;
	return 0;
}

void u4_seg_format(struct u4_xp_hdr *hdr, const struct u4_seg *seg)
{
	hdr->op = seg->op;
	hdr->flags = seg->flags;
	hdr->first_raw = cpu_to_le16(seg->first_raw);
	hdr->dqpn = cpu_to_le32(seg->dqpn);
	hdr->sqpn = cpu_to_le32(seg->sqpn);
	hdr->psn = cpu_to_le32(seg->psn);
	hdr->msg_len = cpu_to_le32(seg->msg_len);
	hdr->msg_off = cpu_to_le32(seg->msg_off);
	hdr->seg_len = cpu_to_le32(seg->seg_len);
	hdr->inline_len = cpu_to_le16(seg->inline_len);
	hdr->reserved = 0;
	hdr->raddr = cpu_to_le64(seg->raddr);
	hdr->rkey = cpu_to_le32(seg->rkey);
	hdr->imm = cpu_to_le32(seg->imm);
}

u32 u4_seg_raw_len(const struct u4_seg *seg, unsigned int idx)
{
	u32 before;

	if (idx >= seg->nraw)
		return 0;
	if (!idx)
		return seg->first_raw;
	before = seg->inline_len + seg->first_raw + (idx - 1) * U4_FRAME_SIZE;
	return min(seg->seg_len - before, U4_FRAME_SIZE);
}

u32 u4_seg_raw_off(const struct u4_seg *seg, unsigned int idx)
{
	u32 off = seg->msg_off + seg->inline_len;

	return idx ? off + seg->first_raw + (idx - 1) * U4_FRAME_SIZE : off;
}

void u4_plan_next(struct u4_plan *plan, u64 addr, u32 avail, u32 left)
{
	u32 head = -addr & (U4_FRAME_SIZE - 1);
	u32 room, raw;

	memset(plan, 0, sizeof(*plan));
	if (left <= U4_XP_INLINE_MAX || avail < U4_FRAME_SIZE) {
		plan->inline_len = min(left, (u32)U4_XP_INLINE_MAX);
		plan->seg_len = plan->inline_len;
		return;
	}

	if (head <= U4_XP_INLINE_MAX) {
		plan->inline_len = head;
		room = U4_SEG_MAX;
		raw = min(avail - head, room);
		plan->first_raw = min(raw, U4_FRAME_SIZE);
	} else {
		room = (U4_RAW_MAX - 1) * U4_FRAME_SIZE + head;
		raw = min(avail, room);
		plan->first_raw = head;
	}
	plan->nraw = 1 + (raw - plan->first_raw + U4_FRAME_SIZE - 1) / U4_FRAME_SIZE;
	plan->seg_len = plan->inline_len + raw;
}
