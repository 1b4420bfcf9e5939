/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Control messages of usb4rdma: what two hosts say to each other over the
 * XDomain control channel before, beside and after the data path. Layouts and
 * constants only; user space compiles this as well. docs/wire-protocol.md has
 * the rules.
 *
 * Each message is a request or the reply to one. The first 28 bytes are the
 * XDomain core's: route and length words in the order that the control channel
 * delivers them, and our protocol UUID. All that follows is little-endian.
 * A packet holds at most 252 bytes. Reserved fields are sent as zero and must
 * be zero.
 *
 * Tokens: each side draws a random 64-bit token for each of its links and
 * learns the peer's from the reply to its own HELLO. Every other message names
 * both, so that a message meant for another link, another host router of this
 * machine or another life of the peer is told apart.
 */
#ifndef U4_CONTROL_H
#define U4_CONTROL_H

#include <linux/types.h>
#include "../wire.h"

/*
 * Two protocol UUIDs: 6c2f6a0e-51d6-4ef3-9be0-4c7f12a4a8d1 for exchanges (request
 * and reply) begun by the host whose XDomain UUID is the lower one, byte by byte,
 * ...a8d2 for those of the other. A reply then fits no other exchange even where it
 * is matched by route and UUID alone, as the core would do it.
 */
#define U4_CTL_UUID_LOWER { 0x6c, 0x2f, 0x6a, 0x0e, 0x51, 0xd6, 0x4e, 0xf3, \
			    0x9b, 0xe0, 0x4c, 0x7f, 0x12, 0xa4, 0xa8, 0xd1 }
#define U4_CTL_UUID_HIGHER { 0x6c, 0x2f, 0x6a, 0x0e, 0x51, 0xd6, 0x4e, 0xf3, \
			     0x9b, 0xe0, 0x4c, 0x7f, 0x12, 0xa4, 0xa8, 0xd2 }

#define U4_CTL_PACKET_MAX	252
#define U4_CTL_RELAY_MAX	192
#define U4_CTL_XD_WORDS		3	/* route and length words, not counted in the length */

/**
 * enum u4_ctl_type - what a control message asks
 * @U4_CTL_HELLO: who are you? The one message without the receiver's token
 * @U4_CTL_RELAY: take this message for your daemon
 * @U4_CTL_OPEN: have you authorised me, and what is your end of the data path?
 * @U4_CTL_READY: is your end open (ring filled, path enabled)?
 * @U4_CTL_CLOSE: my end of the data path is closed
 */
enum u4_ctl_type {
	U4_CTL_HELLO	= 1,
	U4_CTL_RELAY	= 2,
	U4_CTL_OPEN	= 3,
	U4_CTL_READY	= 4,
	U4_CTL_CLOSE	= 5,
};

#define U4_CTL_REPLY	0x80	/* or'ed to the type of a reply */

/**
 * enum u4_ctl_status - answer to a request
 * @U4_CTL_OK: done; the other fields of the reply are valid
 * @U4_CTL_STALE: tokens or tags are not those of now: say HELLO again
 * @U4_CTL_NOT_AUTHORIZED: our daemon has not authorised this link
 * @U4_CTL_NOT_READY: not yet, ask again
 * @U4_CTL_BUSY: the queue to our daemon is full, ask again
 * @U4_CTL_INVALID: the request makes no sense
 */
enum u4_ctl_status {
	U4_CTL_OK		= 0,
	U4_CTL_STALE		= 1,
	U4_CTL_NOT_AUTHORIZED	= 2,
	U4_CTL_NOT_READY	= 3,
	U4_CTL_BUSY		= 4,
	U4_CTL_INVALID		= 5,
};

/**
 * struct u4_ctl_hdr - first 52 bytes of each message
 * @route_hi: route, as the control channel has it
 * @route_lo: route
 * @length_sn: words after this one
 * @proto: U4_CTL_UUID_LOWER or U4_CTL_UUID_HIGHER, by who began the exchange
 * @type: enum u4_ctl_type, U4_CTL_REPLY
 * @status: enum u4_ctl_status in a reply, else 0
 * @version: protocol version of the message, 0 in HELLO
 * @req_id: number of the request, the same in its reply
 * @from: the sender's token of this link
 * @to: the receiver's token, 0 in a HELLO request
 */
struct u4_ctl_hdr {
	__u32	route_hi;
	__u32	route_lo;
	__u32	length_sn;
	__u8	proto[16];
	__u8	type;
	__u8	status;
	__le16	version;
	__le32	req_id;
	__le64	from;
	__le64	to;
} __packed;

/**
 * struct u4_ctl_hello - HELLO and its reply
 * @hdr: header
 * @src_uuid: XDomain UUID of the sender's host router
 * @dst_uuid: XDomain UUID of the receiver's
 * @host_id: random, the same for all links of the sender
 * @epoch: random, new each time the sender's module is loaded, never 0
 * @version_min: oldest protocol version spoken
 * @version_max: newest one
 * @reserved: 0
 */
struct u4_ctl_hello {
	struct u4_ctl_hdr hdr;
	__u8	src_uuid[16];
	__u8	dst_uuid[16];
	__u8	host_id[16];
	__le64	epoch;
	__le16	version_min;
	__le16	version_max;
	__le32	reserved;
} __packed;

/**
 * struct u4_ctl_relay - a message from daemon to daemon; the reply is the header alone
 * @hdr: header
 * @seq: number of the message on this link instance, from 1; a repeated one
 *	is acknowledged and dropped
 * @len: bytes of @data, 1 to U4_CTL_RELAY_MAX
 * @reserved: 0
 * @data: padded with zeroes
 */
struct u4_ctl_relay {
	struct u4_ctl_hdr hdr;
	__le32	seq;
	__le16	len;
	__le16	reserved;
	__u8	data[U4_CTL_RELAY_MAX];
} __packed;

/**
 * struct u4_ctl_path - OPEN, READY, CLOSE and their replies
 * @hdr: header
 * @tag: tag of the sender's rail: the receiver stamps it on its data frames; 0
 *	when the sender has no rail
 * @peer_tag: READY and CLOSE: the receiver's tag as the sender knows it, else 0
 * @hopid: HopID on which the sender of this message transmits
 * @hopid_min: OPEN request: take a HopID from here on, since a smaller one is in
 *	use at the sender; else 0
 * @ring_size: entries of the sender's receive ring
 * @credits: data frames that may be sent before the first credits are returned
 * @flags: U4_CTL_PATH_*
 * @reserved: 0
 */
struct u4_ctl_path {
	struct u4_ctl_hdr hdr;
	__le32	tag;
	__le32	peer_tag;
	__le16	hopid;
	__le16	hopid_min;
	__le16	ring_size;
	__le16	credits;
	__le32	flags;
	__le32	reserved;
} __packed;

#define U4_CTL_PATH_BYE	0x01	/* CLOSE: the module goes away */

static_assert(sizeof(struct u4_ctl_hdr) == 52, "control header");
static_assert(sizeof(struct u4_ctl_hello) == 116, "hello");
static_assert(sizeof(struct u4_ctl_relay) == U4_CTL_PACKET_MAX, "relay");
static_assert(sizeof(struct u4_ctl_path) == 76, "path");

#endif /* U4_CONTROL_H */
