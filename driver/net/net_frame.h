/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a header of KIND_NET may say. Pure, so that user space tests it.
 */
#ifndef U4_NET_FRAME_H
#define U4_NET_FRAME_H

#include "../wire.h"

#define U4_NET_MTU_MAX		65520
#define U4_NET_LEN_MIN		14		/* Ethernet header */
#define U4_NET_CSUM_MIN		(14 + 20)	/* behind the shortest network header */
#define U4_NET_LEN_MAX		(U4_NET_MTU_MAX + 14 + 4)	/* and a VLAN tag */

/**
 * struct u4_net_frame - a checked header
 * @len: bytes of the packet
 * @inline_len: of these behind the header
 * @csum: checksum is to be computed: from @csum_start, put @csum_offset behind it
 * @csum_start: offset in the packet
 * @csum_offset: offset from @csum_start
 */
struct u4_net_frame {
	unsigned int	len;
	unsigned int	inline_len;
	_Bool		csum;
	unsigned int	csum_start;
	unsigned int	csum_offset;
};

/* Bytes of raw frame number @i of a packet, 0 behind the last. */
static inline unsigned int u4_net_raw_len(const struct u4_net_frame *frame, unsigned int i)
{
	unsigned int off = frame->inline_len + i * U4_FRAME_SIZE;

	if (off >= frame->len)
		return 0;
	return frame->len - off < U4_FRAME_SIZE ? frame->len - off : U4_FRAME_SIZE;
}

/**
 * u4_net_parse() - check a header
 * @hdr: as it came
 * @room: bytes behind it in the header frame
 * @nraw: raw frames announced by the link header
 * @frame: filled in
 *
 * Return: true when the frames make up a packet.
 */
static inline _Bool u4_net_parse(const struct u4_net_hdr *hdr, unsigned int room,
				 unsigned int nraw, struct u4_net_frame *frame)
{
	if (hdr->flags & ~U4_NET_CSUM_PARTIAL || hdr->reserved || hdr->reserved2)
		return 0;
	frame->len = __le32_to_cpu(hdr->len);
	frame->inline_len = __le16_to_cpu(hdr->inline_len);
	frame->csum = hdr->flags & U4_NET_CSUM_PARTIAL;
	frame->csum_start = __le16_to_cpu(hdr->csum_start);
	frame->csum_offset = __le16_to_cpu(hdr->csum_offset);
	if (frame->len < U4_NET_LEN_MIN || frame->len > U4_NET_LEN_MAX)
		return 0;
	if (frame->inline_len < U4_NET_LEN_MIN || frame->inline_len != room ||
	    frame->inline_len > frame->len)
		return 0;
	/* Who forwards the packet sums from there on, counted from the network header. */
	if (frame->csum && (frame->csum_start < U4_NET_CSUM_MIN ||
			    frame->csum_start + frame->csum_offset + 2 > frame->len))
		return 0;
	if (!frame->csum && (frame->csum_start || frame->csum_offset))
		return 0;
	return (frame->len - frame->inline_len + U4_FRAME_SIZE - 1) / U4_FRAME_SIZE == nraw;
}

#endif /* U4_NET_FRAME_H */
