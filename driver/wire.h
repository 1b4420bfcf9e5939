/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The data frames of usb4rdma as they travel in the ring of a rail. This file
 * holds layouts and constants only; it compiles in user space as well, where
 * the tests check it. docs/wire-protocol.md has the rules behind the fields.
 *
 * All multi-byte fields are little-endian. Reserved fields are sent as zero
 * and must be zero. A frame is told apart by its EOF PDF:
 *
 *   SOF 1, EOF 2       header frame: struct u4_hdr, inline payload
 *   SOF 1, EOF 8..15   raw frame: payload only; EOF = 8 + (frame number & 7)
 *
 * The XDomain control messages (handshake, relay) are in link/control.h.
 */
#ifndef U4_WIRE_H
#define U4_WIRE_H

#include <linux/types.h>

#ifndef __KERNEL__
#include <assert.h>
#define __packed	__attribute__((packed))
#endif

/* Protocol versions spoken: the highest in common is used. */
#define U4_WIRE_VERSION_MIN	1
#define U4_WIRE_VERSION_MAX	1

#define U4_FRAME_SIZE		4096u
#define U4_PDF_SOF		1
#define U4_PDF_EOF_HDR		2
#define U4_PDF_EOF_RAW		8	/* to 15 */
#define U4_PDF_RAW_MASK		7

/* Raw frames in one run; with them a segment carries at most U4_SEG_MAX bytes. */
#define U4_RAW_MAX		16
#define U4_SEG_MAX		(U4_RAW_MAX * U4_FRAME_SIZE)

/**
 * enum u4_kind - who a header frame is for
 * @U4_KIND_LINK: the rail itself (struct u4_link_hdr only): credits, probes and
 *	confirmation of the run before it
 * @U4_KIND_NET: network interface; struct u4_net_hdr follows
 * @U4_KIND_XP: transport; struct u4_xp_hdr follows
 */
enum u4_kind {
	U4_KIND_LINK	= 1,
	U4_KIND_NET	= 2,
	U4_KIND_XP	= 3,
};

/* link flags */
#define U4_LINK_PROBE		0x01	/* answer with a frame at once */

/**
 * struct u4_link_hdr - first 16 bytes of every header frame
 * @kind: enum u4_kind
 * @flags: U4_LINK_*
 * @nraw: raw frames that follow at once, 0 to U4_RAW_MAX
 * @reserved: 0
 * @tag: the receiver's tag of this rail instance, else the frame is stale
 * @seq: number of this frame; counts every frame of the rail, raw ones too,
 *	from 0, modulo 2^32
 * @limit: credits: the frame number that the peer must not reach
 */
struct u4_link_hdr {
	__u8	kind;
	__u8	flags;
	__u8	nraw;
	__u8	reserved;
	__le32	tag;
	__le32	seq;
	__le32	limit;
} __packed;

/**
 * struct u4_net_hdr - an Ethernet frame of the network interface
 * @len: its bytes, inline and raw together, Ethernet header included
 * @inline_len: bytes of it in this frame, the rest is in the raw frames
 * @csum_start: offset where checksumming starts (from the Ethernet header)
 * @csum_offset: offset of the checksum from there
 * @flags: U4_NET_*
 * @reserved: 0
 */
struct u4_net_hdr {
	__le32	len;
	__le16	inline_len;
	__le16	csum_start;
	__le16	csum_offset;
	__u8	flags;
	__u8	reserved;
	__le32	reserved2;
} __packed;

#define U4_NET_CSUM_PARTIAL	0x01	/* checksum not computed: the link's CRC covers it */

/**
 * enum u4_op - what a transport segment is
 *
 * Requests take one PSN of the sender's each; ACK, NAK, RNR_NAK and the
 * responses carry a PSN of the request's direction.
 */
enum u4_op {
	U4_OP_SEND		= 0x01,	/* RC, UC; UD: U4_OP_UD */
	U4_OP_WRITE		= 0x02,
	U4_OP_READ_REQ		= 0x03,
	U4_OP_CMP_SWAP		= 0x04,	/* inline: __le64 compare, __le64 swap */
	U4_OP_FETCH_ADD		= 0x05,	/* inline: __le64 add, __le64 0 */
	U4_OP_ATOMIC_WRITE	= 0x06,	/* inline: 8 bytes */
	U4_OP_FLUSH		= 0x07,
	U4_OP_PROBE		= 0x08,	/* takes no PSN: did @psn arrive? */
	U4_OP_READ_RESP		= 0x10,
	U4_OP_ATOMIC_RESP	= 0x11,	/* inline: __le64 original value */
	U4_OP_ACK		= 0x12,
	U4_OP_NAK		= 0x13,	/* imm: enum u4_nak */
	U4_OP_RNR_NAK		= 0x14,	/* imm: RNR timer code, 0..31 */
	U4_OP_UD		= 0x20,	/* inline: 40 bytes network header first */
};

/* segment flags */
#define U4_XP_FIRST		0x01	/* first segment of its message */
#define U4_XP_LAST		0x02	/* last segment of its message */
#define U4_XP_ACKREQ		0x04	/* acknowledge */
#define U4_XP_SOLICITED		0x08
#define U4_XP_IMM		0x10	/* @imm holds immediate data */
#define U4_XP_INV		0x20	/* @imm holds the rkey to invalidate */
#define U4_XP_UC		0x40	/* unreliable: never acknowledged */
#define U4_XP_NET_V4		0x80	/* UD: the network header is IPv4 */

/* FLUSH, in @imm */
#define U4_FLUSH_REGION		0x01	/* the whole region, not a range */
#define U4_FLUSH_PERSISTENT	0x02	/* to memory that keeps its contents without power */

/**
 * enum u4_nak - why a request was refused
 * @U4_NAK_SEQ: PSN gap: send again from @psn
 * @U4_NAK_INVALID: invalid request
 * @U4_NAK_ACCESS: remote access error
 * @U4_NAK_OP: remote operational error
 */
enum u4_nak {
	U4_NAK_SEQ	= 0,
	U4_NAK_INVALID	= 1,
	U4_NAK_ACCESS	= 2,
	U4_NAK_OP	= 3,
};

/**
 * struct u4_xp_hdr - a transport segment, after struct u4_link_hdr
 * @op: enum u4_op
 * @flags: U4_XP_*
 * @first_raw: bytes in the first raw frame (1 to 4096), 0 without raw frames.
 *	The raw frames between first and last hold 4096 bytes, the last one what
 *	is left of @seg_len.
 * @dqpn: destination QP, 24 bits
 * @sqpn: source QP, 24 bits
 * @psn: 24 bits. Requests: their own; READ_RESP, ATOMIC_RESP: the request's;
 *	ACK: the last PSN received in order; NAK, RNR_NAK: the PSN expected, which
 *	also acknowledges all before it
 * @msg_len: bytes of the whole message; READ_REQ: bytes wanted in all
 * @msg_off: place of this segment in the message; READ_REQ: first byte wanted
 * @seg_len: payload bytes of this segment, inline and raw together
 * @inline_len: payload bytes in this frame
 * @reserved: 0
 * @raddr: remote address of the message's first byte (WRITE, READ_REQ, atomics)
 * @rkey: remote key; UD: Q_Key
 * @imm: immediate data (as the verbs carry it, big-endian, byte for byte), key to
 *	invalidate, NAK or RNR code
 */
struct u4_xp_hdr {
	__u8	op;
	__u8	flags;
	__le16	first_raw;
	__le32	dqpn;
	__le32	sqpn;
	__le32	psn;
	__le32	msg_len;
	__le32	msg_off;
	__le32	seg_len;
	__le16	inline_len;
	__le16	reserved;
	__le64	raddr;
	__le32	rkey;
	__le32	imm;
} __packed;

static_assert(sizeof(struct u4_link_hdr) == 16, "link header");
static_assert(sizeof(struct u4_net_hdr) == 16, "net header");
static_assert(sizeof(struct u4_xp_hdr) == 48, "transport header");

/* Payload room of a header frame. */
#define U4_XP_INLINE_MAX  (U4_FRAME_SIZE - sizeof(struct u4_link_hdr) - sizeof(struct u4_xp_hdr))
#define U4_NET_INLINE_MAX (U4_FRAME_SIZE - sizeof(struct u4_link_hdr) - sizeof(struct u4_net_hdr))

#endif /* U4_WIRE_H */
