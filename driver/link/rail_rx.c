// SPDX-License-Identifier: GPL-2.0-only
/*
 * The receiving side of a rail: the NAPI poll, the checks on each frame, frame
 * numbers, runs, and losses.
 *
 * Everything here runs in the rail's poll (or after it was disabled), so it needs
 * no lock. Buffers are handed to the upcalls in place and posted again at once.
 *
 * Which frames are missing and when a run is whole is decided in track.h. A frame
 * with an error flag used a number and a descriptor, but nothing in it is believed.
 */
#include <linux/dma-mapping.h>

#include "../compat.h"
#include "../net/net.h"
#include "../trace.h"
#include "core.h"
#include "rail.h"

int u4_rail_rx_post(struct u4_rail *rail, struct u4_rx_buf *buf)
{
	return tb_ring_rx(rail->rx, &buf->frame);
}

/* The ring's interrupt: hardirq, under the ring's and the NHI's locks. */
void u4_rail_start_poll(void *data)
{
	struct u4_rail *rail = data;

	WRITE_ONCE(rail->rx_masked, true);
	napi_schedule(&rail->napi);
}

static void rx_run_ended(struct u4_rail *rail, bool ok)
{
	if (ok)
		rail->rx_stats.runs++;
	else
		rail->rx_stats.runs_bad++;
	if (rail->rx_kind == U4_KIND_NET)
		u4_net_rx_confirm(rail, ok);
	else
		u4_client->rx_confirm(rail->peer, rail, &rail->client_run, ok);
}

/* What the frame just received says of those before it. */
static void rx_heed(struct u4_rail *rail, const struct u4_verdict *verdict)
{
	if (verdict->ended)
		rx_run_ended(rail, verdict->ok);
	if (unlikely(verdict->lost)) {
		trace_u4_rx_lost(rail->peer->index, rail->track.next, verdict->lost);
		rail->rx_stats.lost += verdict->lost;
		u4_client->rx_lost(rail->peer, rail);
	}
}

static void rx_bad(struct u4_rail *rail)
{
	struct u4_verdict verdict = u4_track_bad(&rail->track);

	rx_heed(rail, &verdict);
}

static bool rx_header_valid(const struct u4_link_hdr *hdr)
{
	if (hdr->reserved || hdr->flags & ~U4_LINK_PROBE || hdr->nraw > U4_RAW_MAX)
		return false;
	switch (hdr->kind) {
	case U4_KIND_LINK:
		return !hdr->nraw;
	case U4_KIND_NET:
	case U4_KIND_XP:
		return true;
	default:
		return false;
	}
}

static void rx_header(struct u4_rail *rail, const void *data, unsigned int len)
{
	struct u4_verdict verdict;
	struct u4_link_hdr hdr;
	u32 seq;

	if (len < sizeof(hdr)) {
		rail->rx_stats.bad++;
		rx_bad(rail);
		return;
	}
	memcpy(&hdr, data, sizeof(hdr));
	if (le32_to_cpu(hdr.tag) != rail->rx_tag) {
		rail->rx_stats.stale++;
		return;
	}
	if (!rx_header_valid(&hdr)) {
		rail->rx_stats.bad++;
		rx_bad(rail);
		return;
	}

	seq = le32_to_cpu(hdr.seq);
	verdict = u4_track_header(&rail->track, seq);
	rx_heed(rail, &verdict);
	u4_rail_credits(rail, le32_to_cpu(hdr.limit));
	if (hdr.flags & U4_LINK_PROBE)
		rail->rx_answer = true;
	trace_u4_rx(rail->peer->index, hdr.kind, hdr.nraw, seq, len);

	data += sizeof(hdr);
	len -= sizeof(hdr);
	if (hdr.kind == U4_KIND_NET)
		u4_net_rx_header(rail, data, len, hdr.nraw);
	else if (hdr.kind == U4_KIND_XP)
		u4_client->rx_header(rail->peer, rail, &rail->client_run, data, len, hdr.nraw);
	if (hdr.nraw) {
		rail->rx_kind = hdr.kind;
		u4_track_run(&rail->track, hdr.nraw);
	}
}

static void rx_raw(struct u4_rail *rail, const void *data, unsigned int len, unsigned int eof)
{
	struct u4_verdict verdict = u4_track_raw(&rail->track, eof);

	rx_heed(rail, &verdict);
	if (verdict.place < 0)
		rail->rx_stats.stray++;
	else if (rail->rx_kind == U4_KIND_NET)
		u4_net_rx_raw(rail, data, len);
	else
		u4_client->rx_raw(rail->peer, rail, &rail->client_run, verdict.place, data, len);
}

static void rx_frame(struct u4_rail *rail, struct u4_rx_buf *buf)
{
	unsigned int len = buf->frame.size ? buf->frame.size : U4_FRAME_SIZE;
	unsigned int flags = buf->frame.flags, eof = buf->frame.eof;

	rail->rx_stats.frames++;
	rail->rx_stats.bytes += len;
	if (unlikely(flags & (RING_DESC_CRC_ERROR | RING_DESC_BUFFER_OVERRUN))) {
		if (flags & RING_DESC_CRC_ERROR)
			rail->rx_stats.crc++;
		else
			rail->rx_stats.overrun++;
		rx_bad(rail);
		return;
	}

	dma_sync_single_for_cpu(rail->dma_dev, buf->dma, len, DMA_FROM_DEVICE);
	if (eof == U4_PDF_EOF_HDR) {
		rx_header(rail, page_address(buf->page), len);
	} else if (eof >= U4_PDF_EOF_RAW) {
		rx_raw(rail, page_address(buf->page), len, eof);
	} else {
		rail->rx_stats.bad++;
		rx_bad(rail);
	}
	dma_sync_single_for_device(rail->dma_dev, buf->dma, len, DMA_FROM_DEVICE);
}

static int rx_take(struct u4_rail *rail, int budget)
{
	struct ring_frame *frame;
	int work = 0;

	while (work < budget && (frame = tb_ring_poll(rail->rx))) {
		struct u4_rx_buf *buf = container_of(frame, struct u4_rx_buf, frame);

		rx_frame(rail, buf);
		u4_rail_rx_post(rail, buf);
		work++;
	}
	return work;
}

/*
 * The order at the end matters. The interrupt is unmasked while the poll still
 * owns the rail, then the ring is looked at once more: a frame that came while
 * the interrupt was masked may have left its status bit set, and some host
 * interfaces fire only on its edge. An interrupt in between masks itself again
 * and marks the poll as missed, so that it is repeated.
 */
int u4_rail_poll(struct napi_struct *napi, int budget)
{
	struct u4_rail *rail = container_of(napi, struct u4_rail, napi);
	bool watch_hit = READ_ONCE(rail->watch_hit) && !READ_ONCE(rail->rx_masked);
	int work = 0;

	WRITE_ONCE(rail->poll_cpu, smp_processor_id());
	WRITE_ONCE(rail->watch_hit, false);
	WRITE_ONCE(rail->rx_stats.polls, rail->rx_stats.polls + 1);
	u4_rail_tx_reap(rail);

	if (budget) {
		work = rx_take(rail, budget);
		if (watch_hit)
			rail->rx_stats.rescued += work;
		if (work < budget && READ_ONCE(rail->rx_masked)) {
			WRITE_ONCE(rail->rx_masked, false);
			tb_ring_poll_complete(rail->rx);
			work += rx_take(rail, budget - work);
		}
		if (work) {
			u4_client->rx_batch_end(rail->peer, rail);
			/* Under the lock: it may be about to stop for want of frames. */
			spin_lock(&rail->tx_lock);
			u4_rail_watch_arm(rail);
			spin_unlock(&rail->tx_lock);
		}
		u4_rail_update(rail);
	}
	u4_rail_wake(rail);
	if (work < budget)
		u4_rail_tx_rearm(rail);

	WRITE_ONCE(rail->poll_cpu, -1);
	if (work < budget)
		napi_complete_done(napi, work);
	return work;
}

/* The poll is disabled: end what was under way. */
void u4_rail_rx_abort(struct u4_rail *rail)
{
	local_bh_disable();
	if (u4_track_break(&rail->track))
		rx_run_ended(rail, false);
	local_bh_enable();
}
