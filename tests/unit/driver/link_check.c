// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drives the pure parts of driver/link in user space. Commands by argument:
 *
 *   layout              prints "struct.field offset size" of each wire structure
 *   clean               nothing is lost
 *   short               a peer that sends fewer raw frames than it announced
 *   net HEX NRAW        prints the fields of a packet's header frame, or "bad"
 *   netfuzz SEED COUNT  random headers: what passes must add up
 *   lossy SEED ROUNDS   a sender's frames through a ring that loses and damages
 *                       some: what track.h calls whole must be whole
 */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../driver/link/control.h"
#include "../../../driver/link/track.h"

#include <asm/byteorder.h>
#include "../../../driver/net/net_frame.h"

#define SHOW(type, field) \
	printf("%s.%s %zu %zu\n", #type, #field, offsetof(struct type, field), \
	       sizeof(((struct type *)0)->field))

static void layout(void)
{
	SHOW(u4_link_hdr, kind);
	SHOW(u4_link_hdr, flags);
	SHOW(u4_link_hdr, nraw);
	SHOW(u4_link_hdr, reserved);
	SHOW(u4_link_hdr, tag);
	SHOW(u4_link_hdr, seq);
	SHOW(u4_link_hdr, limit);
	SHOW(u4_net_hdr, len);
	SHOW(u4_net_hdr, inline_len);
	SHOW(u4_net_hdr, csum_start);
	SHOW(u4_net_hdr, csum_offset);
	SHOW(u4_net_hdr, flags);
	SHOW(u4_net_hdr, reserved);
	SHOW(u4_net_hdr, reserved2);
	SHOW(u4_ctl_hdr, route_hi);
	SHOW(u4_ctl_hdr, route_lo);
	SHOW(u4_ctl_hdr, length_sn);
	SHOW(u4_ctl_hdr, proto);
	SHOW(u4_ctl_hdr, type);
	SHOW(u4_ctl_hdr, status);
	SHOW(u4_ctl_hdr, version);
	SHOW(u4_ctl_hdr, req_id);
	SHOW(u4_ctl_hdr, from);
	SHOW(u4_ctl_hdr, to);
	SHOW(u4_ctl_hello, src_uuid);
	SHOW(u4_ctl_hello, dst_uuid);
	SHOW(u4_ctl_hello, host_id);
	SHOW(u4_ctl_hello, epoch);
	SHOW(u4_ctl_hello, version_min);
	SHOW(u4_ctl_hello, version_max);
	SHOW(u4_ctl_hello, reserved);
	SHOW(u4_ctl_relay, seq);
	SHOW(u4_ctl_relay, len);
	SHOW(u4_ctl_relay, reserved);
	SHOW(u4_ctl_relay, data);
	SHOW(u4_ctl_path, tag);
	SHOW(u4_ctl_path, peer_tag);
	SHOW(u4_ctl_path, hopid);
	SHOW(u4_ctl_path, hopid_min);
	SHOW(u4_ctl_path, ring_size);
	SHOW(u4_ctl_path, credits);
	SHOW(u4_ctl_path, flags);
	SHOW(u4_ctl_path, reserved);
}

static unsigned long long rng;

static unsigned int next_random(unsigned int below)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (rng >> 33) % below;
}

static void fail(const char *why)
{
	printf("FAIL: %s\n", why);
	exit(1);
}

/* One frame as the sender means it. */
struct frame {
	_Bool		header;
	__u32		seq;		/* headers carry it, raw frames its low bits */
	unsigned int	nraw;		/* headers */
	unsigned int	run;		/* which run a header starts, a raw frame is of */
	unsigned int	idx;		/* raw frames: place in it */
};

/* The receiver: which raw frames of the run under way were put in its place. */
struct receiver {
	struct u4_track	track;
	unsigned int	run;
	unsigned int	nraw;
	_Bool		mixed;		/* a frame of another run was put there */
	unsigned int	seen;
	unsigned long	whole, broken, lost, wrong_place;
};

static void heed(struct receiver *rx, const struct u4_verdict *verdict)
{
	rx->lost += verdict->lost;
	if (!verdict->ended)
		return;
	if (!verdict->ok) {
		rx->broken++;
		return;
	}
	rx->whole++;
	if (rx->mixed || rx->seen != (1u << rx->nraw) - 1)
		fail("a run was called whole that is not");
}

static void receive(struct receiver *rx, const struct frame *frame, _Bool damaged)
{
	struct u4_verdict verdict;

	if (damaged) {
		verdict = u4_track_bad(&rx->track);
		heed(rx, &verdict);
		return;
	}
	if (frame->header) {
		verdict = u4_track_header(&rx->track, frame->seq);
		heed(rx, &verdict);
		if (frame->nraw) {
			u4_track_run(&rx->track, frame->nraw);
			rx->run = frame->run;
			rx->nraw = frame->nraw;
			rx->seen = 0;
			rx->mixed = 0;
		}
		if (rx->track.next != frame->seq + 1)
			fail("a header did not put the number right");
		return;
	}
	verdict = u4_track_raw(&rx->track, U4_PDF_EOF_RAW + (frame->seq & U4_PDF_RAW_MASK));
	heed(rx, &verdict);
	if (verdict.place < 0)
		return;
	if ((unsigned int)verdict.place >= rx->nraw)
		fail("a frame was put behind the end of its run");
	if (frame->run != rx->run || frame->idx != (unsigned int)verdict.place) {
		rx->mixed = 1;
		rx->wrong_place++;
	} else {
		rx->seen |= 1u << verdict.place;
	}
}

static void lossy(unsigned int rounds)
{
	struct receiver rx = { .run = ~0u };
	unsigned int round, burst = 0, run = 0;
	unsigned long sent = 0, dropped = 0, runs = 0;
	__u32 seq = 0xffffff00;		/* wraps early */

	rx.track.next = seq;
	for (round = 0; round < rounds; round++) {
		unsigned int nraw = next_random(3) ? next_random(U4_RAW_MAX + 1) : 0, i;

		runs += nraw != 0;
		run++;
		for (i = 0; i <= nraw; i++) {
			struct frame frame = {
				.header = !i, .seq = seq++, .nraw = nraw, .run = run,
				.idx = i - 1,
			};

			sent++;
			if (!burst && !next_random(40))
				burst = 1 + next_random(24);	/* long ones hide from three bits */
			if (burst && next_random(4)) {
				burst--;
				dropped++;
				if (next_random(5))
					continue;
				receive(&rx, &frame, 1);
				continue;
			}
			receive(&rx, &frame, 0);
		}
	}
	printf("sent %lu dropped %lu runs %lu whole %lu broken %lu lost %lu wrong_place %lu\n", sent,
	       dropped, runs, rx.whole, rx.broken, rx.lost, rx.wrong_place);
}

static void clean(void)
{
	struct receiver rx = { .run = ~0u };
	__u32 seq = 0;
	unsigned int run;

	for (run = 1; run <= 1000; run++) {
		unsigned int nraw = run % (U4_RAW_MAX + 1), i;

		for (i = 0; i <= nraw; i++) {
			struct frame frame = {
				.header = !i, .seq = seq++, .nraw = nraw, .run = run,
				.idx = i - 1,
			};

			receive(&rx, &frame, 0);
		}
	}
	printf("whole %lu broken %lu lost %lu\n", rx.whole, rx.broken, rx.lost);
}

/* The numbers fit, yet the run is not what its header said. */
static void cut_short(void)
{
	struct u4_track track = { .next = 0 };
	struct u4_verdict verdict;

	u4_track_header(&track, 0);
	u4_track_run(&track, 4);
	u4_track_raw(&track, U4_PDF_EOF_RAW + 1);
	u4_track_raw(&track, U4_PDF_EOF_RAW + 2);
	verdict = u4_track_header(&track, 3);
	if (!verdict.ended || verdict.ok || verdict.lost)
		fail("a run that was cut short");
	u4_track_run(&track, 1);
	u4_track_raw(&track, U4_PDF_EOF_RAW + 4);
	if (u4_track_raw(&track, U4_PDF_EOF_RAW + 5).place != -1)
		fail("a raw frame more than announced");
}

static void net_promises(const struct u4_net_frame *frame, unsigned int room, unsigned int nraw)
{
	unsigned int sum = frame->inline_len, i;

	if (frame->inline_len > room || frame->inline_len > U4_NET_INLINE_MAX)
		fail("reads behind the header frame");
	for (i = 0; i < nraw; i++) {
		unsigned int len = u4_net_raw_len(frame, i);

		if (!len || len > U4_FRAME_SIZE)
			fail("length of a raw frame");
		sum += len;
	}
	if (sum != frame->len || u4_net_raw_len(frame, nraw))
		fail("frames do not make up the packet");
	if (frame->len > 65538)
		fail("longer than a packet can be");
	if (frame->csum && frame->csum_start + frame->csum_offset + 2 > frame->len)
		fail("checksum behind the packet");
	if (frame->csum && frame->csum_start < 14 + 20)
		fail("checksum within the headers");
}

static void net(const char *hex, unsigned int nraw)
{
	unsigned char bytes[U4_FRAME_SIZE];
	struct u4_net_frame frame;
	struct u4_net_hdr hdr;
	size_t len = 0;

	for (; hex[0] && hex[1] && len < sizeof(bytes); hex += 2)
		sscanf(hex, "%2hhx", &bytes[len++]);
	if (len < sizeof(hdr)) {
		printf("bad\n");
		return;
	}
	memcpy(&hdr, bytes, sizeof(hdr));
	if (!u4_net_parse(&hdr, len - sizeof(hdr), nraw, &frame)) {
		printf("bad\n");
		return;
	}
	net_promises(&frame, len - sizeof(hdr), nraw);
	printf("len %u inline %u csum %d start %u offset %u\n", frame.len, frame.inline_len,
	       frame.csum, frame.csum_start, frame.csum_offset);
}

static void net_fuzz(unsigned int count)
{
	unsigned long passed = 0;

	while (count--) {
		unsigned int nraw = next_random(U4_RAW_MAX + 1);
		unsigned int room = next_random(U4_NET_INLINE_MAX + 1);
		struct u4_net_frame frame;
		struct u4_net_hdr hdr = {
			.len = __cpu_to_le32(room + nraw * U4_FRAME_SIZE - next_random(6000)),
			.inline_len = __cpu_to_le16(room - !next_random(8)),
			.csum_start = __cpu_to_le16(next_random(3) ? 0 : next_random(65536)),
			.csum_offset = __cpu_to_le16(next_random(3) ? 0 : next_random(65536)),
			.flags = next_random(8) ? next_random(2) : next_random(256),
			.reserved = !next_random(8),
		};

		if (!u4_net_parse(&hdr, room, nraw, &frame))
			continue;
		passed++;
		net_promises(&frame, room, nraw);
	}
	printf("passed %lu\n", passed);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "layout")) {
		layout();
	} else if (argc == 2 && !strcmp(argv[1], "clean")) {
		clean();
	} else if (argc == 2 && !strcmp(argv[1], "short")) {
		cut_short();
	} else if (argc == 4 && !strcmp(argv[1], "net")) {
		net(argv[2], strtoul(argv[3], NULL, 0));
	} else if (argc == 4 && !strcmp(argv[1], "netfuzz")) {
		rng = strtoull(argv[2], NULL, 0);
		net_fuzz(strtoul(argv[3], NULL, 0));
	} else if (argc == 4 && !strcmp(argv[1], "lossy")) {
		rng = strtoull(argv[2], NULL, 0);
		lossy(strtoul(argv[3], NULL, 0));
	} else {
		return 2;
	}
	printf("done\n");
	return 0;
}
