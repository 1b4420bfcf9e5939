// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frames as they come from the ring, through driver/link/rail_rx.c to the network
 * interface (net_rx.c) and to a layer above that parses segments (segment.c).
 *
 * The input says what a sender sends and what becomes of it on the way: lost, damaged
 * with a flag, changed by a hostile sender. Whatever comes, the upcalls keep their
 * order, and what a parser lets through adds up and is the same when written again. As
 * long as nobody lied, a run or a packet that is said to be whole is the one that was
 * sent: every raw frame carries its own number.
 */
#include "shim_link.h"

/* The page is where the frame was put, see arrive(). */
#undef page_address
#define page_address(p)		((void *)above.from)
static struct {
	bool	open;			/* a run: header told, confirm not yet */
	u32	nraw, got;
	u32	first;			/* content of its first raw frame: its number */
	bool	straight;		/* each raw frame carries the number behind the last */
	const u8 *from;			/* the frame that is being handled */
	u32	len;
} above;

#include "../../driver/link/rail_rx.c"
#include "../../driver/net/net_rx.c"
#include "../../driver/transport/segment.c"
#include "promises.h"

#define TAG		0x600df00d
#define MAX_FRAMES	64

static struct u4_rail rail;
static struct u4_peer peer;
static struct u4_netdev net;
static struct net_device ndev = { .priv = &net };
static struct page buffer;
static struct u4_rx_buf buf = { .page = &buffer };
static unsigned int skbs;		/* that exist */
static bool lied;			/* a frame was changed without a flag */

/* ---- what was sent, and what the layer above was told ---- */

struct sent_run {
	u32	first;			/* number of its first raw frame */
	u32	nraw, kind, room;	/* room: bytes behind the headers in the header frame */
	u32	packet_len;
};

static struct sent_run runs[MAX_FRAMES];
static u32 nruns;

/* Every raw frame begins with its number, four times. */
static u32 number_in(const void *data, unsigned int len)
{
	u32 n = 0;

	memcpy(&n, data, min(len, 4u));
	return n;
}

static void check_within(const void *data, unsigned int len)
{
	CHECK((const u8 *)data >= above.from && (const u8 *)data + len <= above.from + above.len,
	      "an upcall points outside of the frame");
}

static void told_header(struct u4_peer *to, struct u4_rail *from, struct u4_run *run,
			const void *data, unsigned int len, unsigned int nraw)
{
	struct u4_seg seg;

	CHECK(to == &peer && from == &rail && run == &rail.client_run, "whose frame");
	CHECK(!above.open, "a header while a run is open");
	check_within(data, len);
	CHECK(nraw <= U4_RAW_MAX, "%u raw frames", nraw);
	memset(&seg, 0, sizeof(seg));
	if (!u4_seg_parse(&seg, data, len, nraw)) {
		check_segment(&seg, data, len, nraw);
		CHECK(u4_seg_parse(&seg, data, len - 1, nraw), "one byte less parses as well");
	}
	if (nraw) {
		above.open = true;
		above.nraw = nraw;
		above.got = 0;
		above.straight = true;
	}
}

static void told_raw(struct u4_peer *to, struct u4_rail *from, struct u4_run *run,
		     unsigned int idx, const void *data, unsigned int len)
{
	(void)to, (void)from, (void)run;
	check_within(data, len);
	CHECK(len && len <= U4_FRAME_SIZE, "raw frame of %u bytes", len);
	CHECK(above.open, "a raw frame without a run");
	CHECK(idx == above.got && idx < above.nraw, "raw frame %u, expected %u of %u", idx,
	      above.got, above.nraw);
	if (!idx)
		above.first = number_in(data, len);
	else if (number_in(data, len) != above.first + idx)
		above.straight = false;
	above.got++;
}

static void told_confirm(struct u4_peer *to, struct u4_rail *from, struct u4_run *run, bool ok)
{
	u32 i;

	(void)to, (void)from, (void)run;
	CHECK(above.open, "a run ends that was not open");
	above.open = false;
	if (!ok)
		return;
	CHECK(above.got == above.nraw, "a run of %u frames is whole with %u", above.nraw,
	      above.got);
	if (lied)
		return;
	CHECK(above.straight, "a whole run has frames out of order");
	for (i = 0; i < nruns; i++)
		if (runs[i].first == above.first && runs[i].nraw == above.nraw &&
		    runs[i].kind == U4_KIND_XP)
			return;
	CHECK(false, "a run is whole that nobody sent");
}

static void told_lost(struct u4_peer *to, struct u4_rail *from)
{
	(void)to, (void)from;
	CHECK(!above.open, "frames were lost and the run is still open");
}

static void told_batch_end(struct u4_peer *to, struct u4_rail *from)
{
	(void)to, (void)from;
}

static const struct u4_client_ops ops = {
	.rx_header = told_header,
	.rx_raw = told_raw,
	.rx_confirm = told_confirm,
	.rx_lost = told_lost,
	.rx_batch_end = told_batch_end,
};

const struct u4_client_ops *u4_client = &ops;

/* ---- the sending side of the rail: credits are looked at elsewhere ---- */

void u4_rail_tx_reap(struct u4_rail *r) { (void)r; }
void u4_rail_tx_rearm(struct u4_rail *r) { (void)r; }
void u4_rail_credits(struct u4_rail *r, u32 limit) { (void)r, (void)limit; }
void u4_rail_update(struct u4_rail *r) { (void)r; }
void u4_rail_wake(struct u4_rail *r) { (void)r; }
void u4_rail_watch_arm(struct u4_rail *r) { (void)r; }
struct ring_frame *tb_ring_poll(struct tb_ring *ring) { (void)ring; return NULL; }
void tb_ring_poll_complete(struct tb_ring *ring) { (void)ring; }
int tb_ring_rx(struct tb_ring *ring, struct ring_frame *frame) { (void)ring, (void)frame; return 0; }

/* ---- packets ---- */

/*
 * What goes into a packet of one frame is copied without asking us, so its memory is
 * exactly as large as it is. Larger ones are filled by skb_store_bits() alone.
 */
static struct sk_buff *new_skb(unsigned int room)
{
	struct sk_buff *skb = calloc(1, sizeof(*skb));
	static u8 large[2][1 << 17];

	skb->room = room;
	CHECK(room <= sizeof(large[0]), "packet of %u bytes", room);
	skb->data = room > U4_FRAME_SIZE ? large[skbs & 1] : malloc(room);
	skbs++;
	return skb;
}

struct sk_buff *napi_alloc_skb(struct napi_struct *napi, unsigned int len)
{
	(void)napi;
	return new_skb(len);
}

struct sk_buff *alloc_skb_with_frags(unsigned long header, unsigned long data, int order, int *err,
				     int flags)
{
	(void)order, (void)err, (void)flags;
	return new_skb(header + data);
}

void *skb_put(struct sk_buff *skb, unsigned int len)
{
	void *at = skb->data + skb->len;

	CHECK(!skb->data_len && skb->len + len <= skb->room, "skb_put() beyond the room");
	skb->len += len;
	return at;
}

int skb_store_bits(struct sk_buff *skb, int offset, const void *from, int len)
{
	CHECK(skb->len <= skb->room, "a packet larger than its memory");
	CHECK(offset >= 0 && len >= 0 && (u32)offset + len <= skb->len,
	      "%d bytes at %d of a packet of %u", len, offset, skb->len);
	check_within(from, len);
	memcpy(skb->data + offset, from, len);
	return 0;
}

bool skb_partial_csum_set(struct sk_buff *skb, u16 start, u16 off)
{
	u32 head = skb->len - skb->data_len;

	skb->partial = true;
	return start < 0xffff && (u32)start + off + 2 <= head;
}

void napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb)
{
	u32 i, r, off;

	CHECK(napi == &rail.napi, "whose packet");
	CHECK(skb->len >= U4_NET_LEN_MIN && skb->len <= U4_NET_LEN_MAX, "packet of %u", skb->len);
	CHECK(skb->len <= skb->room, "a packet larger than its memory");
	if (!lied && skb->len > 4096) {
		/* Where its first raw frame stands: at some sent run's room. */
		for (r = 0; r < nruns; r++) {
			if (runs[r].kind != U4_KIND_NET || runs[r].packet_len != skb->len)
				continue;
			for (i = 0, off = runs[r].room; i < runs[r].nraw; i++, off += 4096) {
				u32 left = skb->len - off;

				if (number_in(skb->data + off, left) !=
				    (left < 4 ? (runs[r].first + i) & ((1ull << 8 * left) - 1) :
						runs[r].first + i))
					break;
			}
			if (i == runs[r].nraw)
				goto known;
		}
		CHECK(false, "a packet of %u bytes that nobody sent", skb->len);
	}
known:
	kfree_skb(skb);
}

void kfree_skb(struct sk_buff *skb)
{
	skbs--;
	if (skb->room <= U4_FRAME_SIZE)
		free(skb->data);
	free(skb);
}

/* ---- the sender ---- */

static u32 next_number;

/* One frame arrives, exactly as long as it is. */
static void arrive(const void *data, u32 len, u32 flags, u32 eof)
{
	u8 *exact = (u8 *)buffer.bytes + sizeof(buffer.bytes) - len;

	/* At the end of its page: a read beyond it is beyond the page as well. */
	memmove(exact, data, len);
	above.from = exact;
	above.len = len;
	buf.frame.size = len;	/* 12 bits: 4096 is 0 */
	buf.frame.flags = flags;
	buf.frame.eof = eof;
	rx_frame(&rail, &buf);
}

/* What may become of a frame: 0 to 7 nothing, else lost, damaged, changed. */
static void travel(struct script *s, u8 *data, u32 len, u32 eof, u8 fate)
{
	switch (fate & 15) {
	case 8:
	case 9:
		return;				/* lost */
	case 10:
		/* The damage is flagged; nothing of it may be believed. */
		memset(data, 0xff, min(len, 64u));
		arrive(data, len, RING_DESC_CRC_ERROR, next_byte(s) & 15);
		return;
	case 11:
		arrive(data, len, RING_DESC_BUFFER_OVERRUN, eof);
		return;
	case 12:
		/* From the peer's former life: it counts for nothing. */
		if (eof == U4_PDF_EOF_HDR && len >= sizeof(struct u4_link_hdr)) {
			((struct u4_link_hdr *)data)->tag ^= cpu_to_le32(1);
			arrive(data, len, 0, eof);
			((struct u4_link_hdr *)data)->tag ^= cpu_to_le32(1);
		}
		break;
	case 13:
		lied = true;
		data[next_byte(s) % len] ^= 1 << (fate >> 5);
		break;
	case 14:
		lied = true;
		eof = next_byte(s) & 15;
		break;
	case 15:
		lied = true;
		len = 1 + next_u16(s) % 4096;
		break;
	}
	arrive(data, len, 0, eof);
}

/* The lengths of a segment with these raw frames, right unless @wrong. */
static u32 build_segment(struct script *s, u8 *at, u32 nraw, u32 wrong)
{
	static const u8 opcodes[] = {
		U4_OP_SEND, U4_OP_WRITE, U4_OP_READ_RESP, U4_OP_READ_REQ, U4_OP_CMP_SWAP,
		U4_OP_FETCH_ADD, U4_OP_ATOMIC_WRITE, U4_OP_FLUSH, U4_OP_PROBE, U4_OP_ATOMIC_RESP,
		U4_OP_ACK, U4_OP_NAK, U4_OP_RNR_NAK, U4_OP_UD,
	};
	struct u4_seg seg = {
		.op = opcodes[next_byte(s) % sizeof(opcodes)], .nraw = nraw,
		.dqpn = next_u16(s), .sqpn = next_u16(s), .psn = next_u16(s),
		.rkey = next_u16(s), .raddr = next_u64(s), .imm = next_byte(s) & 3,
		.flags = next_byte(s),
	};
	u32 extra = next_u16(s);

	switch (seg.op) {
	case U4_OP_SEND:
	case U4_OP_WRITE:
	case U4_OP_READ_RESP:
	case U4_OP_UD:
		seg.inline_len = seg.op == U4_OP_UD ? 40 + extra % 800 : extra % 256;
		seg.first_raw = nraw ? 1 + extra % 4096 : 0;
		seg.seg_len = seg.inline_len + seg.first_raw;
		if (nraw > 1)
			seg.seg_len += (nraw - 2) * 4096 + 1 + extra / 16;
		seg.msg_off = seg.op != U4_OP_UD && seg.flags & 1 ? 0 : seg.op == U4_OP_UD ? 0 :
									extra;
		seg.msg_len = seg.msg_off + seg.seg_len + (seg.flags & 2 ? 0 : extra);
		seg.flags &= seg.op == U4_OP_UD ? 0x9b : seg.op == U4_OP_READ_RESP ? 0 : 0x5c;
		if (seg.op != U4_OP_UD) {
			seg.flags |= seg.msg_off ? 0 : U4_XP_FIRST;
			if (seg.msg_off + seg.seg_len == seg.msg_len)
				seg.flags |= U4_XP_LAST;
			else
				seg.flags &= ~U4_XP_IMM;
		}
		break;
	case U4_OP_CMP_SWAP:
	case U4_OP_FETCH_ADD:
		seg.inline_len = 16;
		break;
	case U4_OP_ATOMIC_WRITE:
	case U4_OP_ATOMIC_RESP:
		seg.inline_len = 8;
		break;
	}
	if (seg.op < U4_OP_READ_RESP && seg.op > U4_OP_WRITE) {
		seg.seg_len = seg.inline_len;
		seg.msg_len = 8;
		seg.flags &= 7;
	}
	if (seg.op == U4_OP_ATOMIC_RESP)
		seg.seg_len = 8;
	if (wrong & 1)
		seg.msg_len = next_u32(s);
	if (wrong & 2)
		seg.seg_len += (s8)next_byte(s);
	if (wrong & 4)
		seg.first_raw = next_u16(s);
	u4_seg_format((struct u4_xp_hdr *)at, &seg);
	return sizeof(struct u4_xp_hdr) + seg.inline_len;
}

static u32 build_packet(struct script *s, u8 *at, u32 nraw, struct sent_run *run)
{
	u32 room = 14 + next_u16(s) % 1500, last = 1 + next_u16(s) % 4096;
	struct u4_net_hdr hdr = {
		.len = cpu_to_le32(room + (nraw ? (nraw - 1) * 4096 + last : 0)),
		.inline_len = cpu_to_le16(room),
	};

	run->room = room;
	run->packet_len = le32_to_cpu(hdr.len);
	if (next_byte(s) & 1) {
		hdr.flags = U4_NET_CSUM_PARTIAL;
		hdr.csum_start = cpu_to_le16(next_byte(s));
		hdr.csum_offset = cpu_to_le16(next_byte(s) & 31);
	}
	memcpy(at, &hdr, sizeof(hdr));
	return sizeof(hdr) + room;
}

static void burst(struct script *s)
{
	static u8 data[4096 + 64];
	u8 what = next_byte(s), fate = next_byte(s);
	u32 nraw = what & 32 ? (what & 31) % (U4_RAW_MAX + 1) : 0, i, len, wrong = what >> 6;
	struct sent_run *run = &runs[nruns];
	struct u4_link_hdr hdr = {
		.kind = what & 16 ? U4_KIND_XP : what & 8 ? U4_KIND_NET : U4_KIND_LINK,
		.tag = cpu_to_le32(TAG), .seq = cpu_to_le32(next_number),
		.limit = cpu_to_le32(next_number + 64),
	};

	if (nruns == MAX_FRAMES)
		return;
	if (hdr.kind == U4_KIND_LINK)
		nraw = 0;
	hdr.nraw = nraw;
	*run = (struct sent_run){ .first = next_number + 1, .nraw = nraw, .kind = hdr.kind };
	nruns++;
	memset(data, what, 1700);
	memcpy(data, &hdr, sizeof(hdr));
	len = sizeof(hdr);
	if (hdr.kind == U4_KIND_XP)
		len += build_segment(s, data + sizeof(hdr), nraw, wrong == 3 ? next_byte(s) : 0);
	else if (hdr.kind == U4_KIND_NET)
		len += build_packet(s, data + sizeof(hdr), nraw, run);
	next_number++;
	travel(s, data, len, U4_PDF_EOF_HDR, fate);
	for (i = 0; i < nraw; i++, next_number++) {
		memcpy(data, &next_number, 4);
		len = 4096;
		if (i == nraw - 1 && hdr.kind == U4_KIND_NET)
			len = run->packet_len - run->room - i * 4096;
		if (i == 0 && hdr.kind == U4_KIND_XP)
			len = 4 + (what & 15) * 250;
		travel(s, data, len, U4_PDF_EOF_RAW + (next_number & 7),
		       fate & 16 ? next_byte(s) : 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };

	memset(&rail, 0, sizeof(rail));
	memset(&above, 0, sizeof(above));
	nruns = 0;
	lied = false;
	rail.peer = &peer;
	rail.rx_tag = TAG;
	rail.poll_cpu = -1;
	peer.netdev = &ndev;
	ndev.running = true;
	/* Numbers run around; three bits of them do so often. */
	next_number = rail.track.next = next_byte(&s) & 1 ? -20u : 0;
	while (s.at < s.end) {
		u8 what = next_byte(&s);

		if (what == 0xf0) {
			ndev.running = !ndev.running;
		} else if (what == 0xf1) {
			/* Not a header at all. */
			static u8 any[64];
			u32 len = 1 + next_byte(&s) % sizeof(any);

			lied = true;
			next_bytes(&s, any, len);
			arrive(any, len, 0, next_byte(&s) & 15);
		} else if (what == 0xf2) {
			/* Many frames in a row are lost: the low bits may fit again. */
			next_number += next_byte(&s) & 31;
		} else {
			s.at--;
			burst(&s);
		}
	}
	u4_rail_rx_abort(&rail);
	CHECK(!above.open, "a run is open at the end");
	CHECK(!skbs, "%u packets are left", skbs);
	return 0;
}
