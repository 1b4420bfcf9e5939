/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Segments as values: parsing one from a header frame, and planning how the
 * next piece of a message is cut into one. Pure functions; they compile in
 * user space, where the tests and the fuzzer drive them.
 */
#ifndef U4_SEGMENT_H
#define U4_SEGMENT_H

#include "../wire.h"

#ifndef __KERNEL__
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <endian.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
#define le16_to_cpu(x)	le16toh(x)
#define le32_to_cpu(x)	le32toh(x)
#define le64_to_cpu(x)	le64toh(x)
#define cpu_to_le16(x)	htole16(x)
#define cpu_to_le32(x)	htole32(x)
#define cpu_to_le64(x)	htole64(x)
#endif

#define U4_MSG_MAX	(1u << 30)

/**
 * struct u4_seg - a checked segment in host byte order
 *
 * Fields as in struct u4_xp_hdr. @payload points at the inline payload.
 */
struct u4_seg {
	u8		op;
	u8		flags;
	u8		nraw;
	u16		first_raw;
	u16		inline_len;
	u32		dqpn;
	u32		sqpn;
	u32		psn;
	u32		msg_len;
	u32		msg_off;
	u32		seg_len;
	u32		rkey;
	u32		imm;
	u64		raddr;
	const u8	*payload;
};

/**
 * struct u4_plan - how the next piece of a message is cut
 * @seg_len: bytes of the segment
 * @inline_len: bytes of it in the header frame
 * @first_raw: bytes of the first raw frame
 * @nraw: raw frames
 */
struct u4_plan {
	u32	seg_len;
	u32	inline_len;
	u32	first_raw;
	u32	nraw;
};

/**
 * u4_seg_parse() - check a header frame's transport part
 * @seg: filled in
 * @data: what follows struct u4_link_hdr
 * @len: bytes at @data
 * @nraw: raw frames announced by the link header
 *
 * After success each sum and product of the segment's lengths is known to
 * hold: @inline_len bytes at @payload, raw frames that add up to @seg_len, a
 * segment inside its message, a message inside the address space.
 *
 * Return: 0 or %-EBADMSG.
 */
int u4_seg_parse(struct u4_seg *seg, const void *data, unsigned int len, unsigned int nraw);

/* Write the header; the inverse of u4_seg_parse() but for the payload. */
void u4_seg_format(struct u4_xp_hdr *hdr, const struct u4_seg *seg);

/* Length of raw frame @idx of a parsed segment; 0 when it has no such frame. */
u32 u4_seg_raw_len(const struct u4_seg *seg, unsigned int idx);
/* Place of raw frame @idx in the message. */
u32 u4_seg_raw_off(const struct u4_seg *seg, unsigned int idx);

/**
 * u4_plan_next() - cut the next segment
 * @plan: filled in
 * @addr: address of the next byte
 * @avail: bytes that are contiguous in address from there (rest of the SGE)
 * @left: bytes left in the message, at least @avail
 *
 * The result depends on the arguments alone, so that a retransmission cuts at
 * the same places. Memory of a page or more travels in raw frames that each
 * stay within one page; the bytes before the first page boundary travel in the
 * header frame.
 */
void u4_plan_next(struct u4_plan *plan, u64 addr, u32 avail, u32 left);

#endif /* U4_SEGMENT_H */
