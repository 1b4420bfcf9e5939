// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sending side of a rail: slots, credits, numbers, runs, frames of KIND_LINK,
 * and the watchdog that finds what was not signalled.
 *
 * Everything happens under tx_lock, so a run leaves in one piece and numbers
 * follow the ring's order. What is reaped is released after the lock is dropped,
 * and never from within a call of the layers above, which hold locks of their
 * own: what the ring refuses waits in rail->late.
 *
 * Completions: the ring's interrupt is led to the poll and stays masked until
 * someone waits for a completion: for a slot, or to confirm a run. Otherwise what
 * was sent is reaped when the poll runs for what was received, or by the watchdog.
 *
 * Credits: the peer says which frame number must not be reached. It keeps
 * U4_CREDIT_RESERVE descriptors back, for frames of KIND_LINK, which may thus
 * pass the limit a little. A probe is sent without regard to credits: it costs
 * at most itself.
 */
#include <linux/dma-mapping.h>
#include <linux/log2.h>

#include "../compat.h"
#include "../trace.h"
#include "core.h"
#include "rail.h"

/* References whose frames are over: counted under the lock, dropped after it. */
#define TX_DONE_MAX	16

struct tx_done {
	unsigned int	n;
	struct u4_ref	*ref[TX_DONE_MAX];
	unsigned int	frames[TX_DONE_MAX];
};

static void tx_done_add(struct tx_done *done, struct u4_ref *ref)
{
	if (!ref)
		return;
	if (!done->n || done->ref[done->n - 1] != ref) {
		done->ref[done->n] = ref;
		done->frames[done->n++] = 0;
	}
	done->frames[done->n - 1]++;
}

static bool tx_done_full(const struct tx_done *done)
{
	return done->n == TX_DONE_MAX;
}

/* Bottom halves are off, no lock is held. */
static void tx_done_release(struct tx_done *done)
{
	unsigned int i;

	for (i = 0; i < done->n; i++)
		if (atomic_sub_and_test(done->frames[i], &done->ref[i]->frames))
			done->ref[i]->release(done->ref[i]);
	done->n = 0;
}

/* Frames that may still be sent, not counting those reserved. */
static s32 tx_credits(const struct u4_rail *rail)
{
	return (s32)(READ_ONCE(rail->tx_limit) - rail->tx_seq - rail->reserved);
}

/* Under tx_lock. */
bool u4_rail_room(const struct u4_rail *rail, unsigned int need)
{
	if (!rail->tx_open)
		return false;
	if (!rail->link)
		return rail->nfree >= need;
	return rail->nfree >= need + U4_LINK_SLOTS && tx_credits(rail) >= (s32)need;
}

/*
 * Those who wait come first, or large bursts would starve behind small ones. The
 * poll itself passes: what it sends (acknowledgements, responses) is bounded by
 * what it received, and what the waiters send when called is their turn.
 */
static bool tx_must_queue(const struct u4_rail *rail)
{
	return !list_empty(&rail->waiters) && READ_ONCE(rail->poll_cpu) != smp_processor_id();
}

static int rail_hw_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst)
{
	unsigned int need = 1 + nraw, i;
	int ret = -EAGAIN;

	if (nraw > U4_RAW_MAX)
		return -EINVAL;

	spin_lock(&rail->tx_lock);
	if (!rail->tx_open) {
		ret = -ENOLINK;
		goto unlock;
	}
	if (tx_credits(rail) < (s32)need) {
		rail->tx_stats.no_credit++;
		goto unlock;
	}
	if (rail->nfree < need + U4_LINK_SLOTS) {
		rail->tx_stats.no_slot++;
		goto unlock;
	}
	if (tx_must_queue(rail))
		goto unlock;

	for (i = 0; i < need; i++) {
		struct u4_slot *slot = rail->free[--rail->nfree];

		slot->ref = NULL;
		slot->in_place = false;
		slot->src = NULL;
		slot->frame.buffer_phy = slot->dma;
		burst->slot[i] = slot;
	}
	rail->reserved += need;
	burst->rail = rail;
	burst->nraw = nraw;
	burst->payload = page_address(burst->slot[0]->page) + sizeof(struct u4_link_hdr);
	ret = 0;
unlock:
	spin_unlock(&rail->tx_lock);
	return ret;
}

static void rail_hw_put(struct u4_burst *burst)
{
	struct u4_rail *rail = burst->rail;
	unsigned int i;

	spin_lock(&rail->tx_lock);
	for (i = 0; i <= burst->nraw; i++)
		rail->free[rail->nfree++] = burst->slot[i];
	rail->reserved -= 1 + burst->nraw;
	spin_unlock(&rail->tx_lock);
}

/* Under tx_lock: the ring is done with @slot, or refused it. */
static void tx_slot_done(struct u4_rail *rail, struct u4_slot *slot, struct tx_done *done)
{
	slot->posted = false;
	rail->posted--;
	WRITE_ONCE(rail->completed, rail->completed + 1);
	tx_done_add(done, slot->ref);
	slot->ref = NULL;
	rail->free[rail->nfree++] = slot;
}

/* Under tx_lock. Numbers the frame and gives it to the ring. */
static void tx_post(struct u4_rail *rail, struct u4_slot *slot, unsigned int size,
		    unsigned int eof)
{
	slot->frame.size = size == U4_FRAME_SIZE ? 0 : size;
	slot->frame.eof = eof;
	slot->frame.flags = 0;
	slot->posted = true;
	rail->posted++;
	rail->tx_seq++;
	rail->tx_stats.frames++;
	rail->tx_stats.bytes += size;
	if (unlikely(rail->closing || tb_ring_tx(rail->tx, &slot->frame))) {
		rail->tx_stats.canceled++;
		list_add_tail(&slot->frame.list, &rail->late);
	}
}

/* Under tx_lock. */
static void tx_post_header(struct u4_rail *rail, struct u4_slot *slot, enum u4_kind kind,
			   unsigned int flags, unsigned int nraw, unsigned int len)
{
	struct u4_link_hdr *hdr = page_address(slot->page);
	u32 next = READ_ONCE(rail->track.next);

	hdr->kind = kind;
	hdr->flags = flags;
	hdr->nraw = nraw;
	hdr->reserved = 0;
	hdr->tag = cpu_to_le32(rail->tx_tag);
	hdr->seq = cpu_to_le32(rail->tx_seq);
	hdr->limit = cpu_to_le32(next + U4_CREDIT_WINDOW);
	rail->advertised = next;
	rail->unconfirmed = false;
	rail->tx_stats.headers++;
	trace_u4_tx(rail->peer->index, kind, nraw, rail->tx_seq, len);
	len += sizeof(*hdr);
	dma_sync_single_for_device(rail->dma_dev, slot->dma, len, DMA_TO_DEVICE);
	tx_post(rail, slot, len, U4_PDF_EOF_HDR);
}

/* Under tx_lock. Sends a frame of KIND_LINK; false without a slot or credits. */
static bool tx_link_frame(struct u4_rail *rail, unsigned int flags, bool urgent)
{
	struct u4_slot *slot;

	if (!rail->nfree || rail->closing)
		return false;
	if (!urgent && (s32)(READ_ONCE(rail->tx_limit) + U4_CREDIT_RESERVE - 1 -
			     rail->tx_seq - rail->reserved) <= 0)
		return false;
	slot = rail->free[--rail->nfree];
	slot->ref = NULL;
	slot->in_place = false;
	slot->frame.buffer_phy = slot->dma;
	tx_post_header(rail, slot, U4_KIND_LINK, flags, 0, 0);
	return true;
}

static void rail_hw_send(struct u4_burst *burst, enum u4_kind kind, unsigned int len,
			 struct u4_ref *ref, bool more)
{
	struct u4_rail *rail = burst->rail;
	unsigned int nraw = burst->nraw, in_place = 0, i;
	bool idle;

	for (i = 1; i <= nraw; i++) {
		struct u4_slot *slot = burst->slot[i];

		if (!slot->in_place) {
			dma_sync_single_for_device(rail->dma_dev, slot->dma, slot->len,
						   DMA_TO_DEVICE);
		} else if (ref) {
			slot->ref = ref;
			in_place++;
		}
	}
	if (in_place)
		atomic_add(in_place, &ref->frames);

	spin_lock(&rail->tx_lock);
	idle = !rail->posted;
	rail->reserved -= 1 + nraw;
	tx_post_header(rail, burst->slot[0], kind, 0, nraw, len);
	for (i = 1; i <= nraw; i++)
		tx_post(rail, burst->slot[i], burst->slot[i]->len,
			U4_PDF_EOF_RAW + (rail->tx_seq & U4_PDF_RAW_MASK));
	burst->mark = rail->completed + rail->posted;
	if (nraw) {
		rail->unconfirmed = true;
		/*
		 * A lone message is confirmed at once. In a stream the next header
		 * does it, or the poll once the ring has run dry: for that it needs
		 * the interrupt, which it unmasks if it is masked.
		 */
		if (idle && !more && tx_link_frame(rail, 0, false)) {
			rail->tx_stats.confirms++;
		} else if (!more) {
			smp_mb();	/* after what was posted; start_poll has its own */
			if (READ_ONCE(rail->tx_masked))
				napi_schedule(&rail->napi);
		}
	}
	rail->activity++;
	u4_rail_watch_arm(rail);
	spin_unlock(&rail->tx_lock);
}

/* The ring takes frames in the order in which they were posted. */
bool u4_rail_has_read(const struct u4_rail *rail, u64 mark)
{
	return READ_ONCE(rail->completed) >= mark;
}

static void rail_hw_kick(struct u4_rail *rail)
{
	local_bh_disable();
	napi_schedule(&rail->napi);
	local_bh_enable();
}

const struct u4_rail_ops u4_rail_hw_ops = {
	.get	= rail_hw_get,
	.put	= rail_hw_put,
	.send	= rail_hw_send,
	.kick	= rail_hw_kick,
};

/* Under tx_lock: nothing is under way and the last frame was a raw one. */
static void tx_confirm_if_idle(struct u4_rail *rail)
{
	if (!rail->posted && !rail->reserved && rail->unconfirmed && tx_link_frame(rail, 0, false))
		rail->tx_stats.confirms++;
}

/* Under tx_lock: the next frame that is over, if any. */
static struct u4_slot *tx_next_done(struct u4_rail *rail)
{
	struct ring_frame *frame;
	struct u4_slot *slot;

	/* Frames that a ring refuses would overtake those in it: all end when it has stopped. */
	if (rail->halted)
		return NULL;
	slot = list_first_entry_or_null(&rail->late, struct u4_slot, frame.list);
	if (slot) {
		list_del_init(&slot->frame.list);
		return slot;
	}
	frame = rail->posted ? tb_ring_poll(rail->tx) : NULL;
	return frame ? container_of(frame, struct u4_slot, frame) : NULL;
}

/* Takes what the ring has sent. Any context, not under a lock of the layers above. */
void u4_rail_tx_reap(struct u4_rail *rail)
{
	struct tx_done done = { .n = 0 };
	struct u4_slot *slot;

	if (!READ_ONCE(rail->posted))
		return;
	local_bh_disable();
	do {
		spin_lock(&rail->tx_lock);
		while (!tx_done_full(&done) && (slot = tx_next_done(rail)))
			tx_slot_done(rail, slot, &done);
		tx_confirm_if_idle(rail);
		spin_unlock(&rail->tx_lock);
		slot = tx_done_full(&done) ? ERR_PTR(-EAGAIN) : NULL;
		tx_done_release(&done);
	} while (slot);
	local_bh_enable();
}

void u4_rail_look(struct u4_rail *rail)
{
	u4_rail_tx_reap(rail);
}

/* The ring's interrupt: hardirq, under the ring's and the NHI's locks. */
void u4_rail_tx_start_poll(void *data)
{
	struct u4_rail *rail = data;

	WRITE_ONCE(rail->tx_masked, true);
	napi_schedule(&rail->napi);
}

static bool tx_wants_interrupt(const struct u4_rail *rail)
{
	if (!READ_ONCE(rail->posted))
		return false;
	if (READ_ONCE(rail->unconfirmed))
		return true;
	return !list_empty(&rail->waiters) &&
	       READ_ONCE(rail->nfree) < rail->wake_room + U4_LINK_SLOTS;
}

/*
 * End of a poll, which still owns the rail: unmask if someone waits for a
 * completion, then look once more for what came while it was masked.
 */
void u4_rail_tx_rearm(struct u4_rail *rail)
{
	if (!READ_ONCE(rail->tx_masked) || !tx_wants_interrupt(rail))
		return;
	WRITE_ONCE(rail->tx_masked, false);
	tb_ring_poll_complete(rail->tx);
	u4_rail_tx_reap(rail);
	u4_rail_wake(rail);
}

/* Called by the ring's own work (process context) when the ring is stopped. */
void u4_rail_tx_done(struct tb_ring *ring, struct ring_frame *frame, bool canceled)
{
	struct u4_slot *slot = container_of(frame, struct u4_slot, frame);
	struct u4_rail *rail = slot->rail;
	struct tx_done done = { .n = 0 };
	bool kick;

	local_bh_disable();
	spin_lock(&rail->tx_lock);
	if (canceled)
		rail->tx_stats.canceled++;
	tx_slot_done(rail, slot, &done);
	tx_confirm_if_idle(rail);
	kick = !canceled && !list_empty(&rail->waiters) && u4_rail_room(rail, rail->wake_room);
	spin_unlock(&rail->tx_lock);

	tx_done_release(&done);
	if (kick)
		napi_schedule(&rail->napi);
	local_bh_enable();
}

/* The rings are stopped: what the NHI did not give back (it was pulled) is over too. */
void u4_rail_tx_abandon(struct u4_rail *rail)
{
	struct tx_done done = { .n = 0 };
	unsigned int i;

	local_bh_disable();
	for (i = 0; i < U4_RING_SLOTS; i++) {
		struct u4_slot *slot = &rail->slots[i];

		spin_lock(&rail->tx_lock);
		if (slot->posted) {
			list_del_init(&slot->frame.list);
			rail->tx_stats.canceled++;
			tx_slot_done(rail, slot, &done);
		}
		spin_unlock(&rail->tx_lock);
		tx_done_release(&done);
	}
	local_bh_enable();
}

/* The poll found a header with credits. They only ever grow, within reason. */
void u4_rail_credits(struct u4_rail *rail, u32 limit)
{
	u32 old = rail->tx_limit;

	if ((s32)(limit - old) <= 0)
		return;
	/* More than the peer's ring can hold beyond what we sent: not believed. */
	if ((s32)(limit - READ_ONCE(rail->tx_seq)) > (s32)rail->tx_window)
		return;
	WRITE_ONCE(rail->tx_limit, limit);
}

/*
 * End of a poll: return credits when much was received and nothing sent, or
 * when the peer asked.
 */
void u4_rail_update(struct u4_rail *rail)
{
	u32 due;

	due = READ_ONCE(rail->track.next) - READ_ONCE(rail->advertised);
	if (!rail->rx_answer && (s32)due < U4_CREDIT_UPDATE)
		return;

	spin_lock(&rail->tx_lock);
	due = rail->track.next - rail->advertised;
	if (rail->rx_answer || (s32)due >= U4_CREDIT_UPDATE) {
		if (tx_link_frame(rail, 0, rail->rx_answer))
			rail->tx_stats.updates++;
	}
	rail->rx_answer = false;
	u4_rail_watch_arm(rail);
	spin_unlock(&rail->tx_lock);
}

/*
 * End of a poll: whoever waits is called, once there is room for some bursts, and
 * while there is for one.
 */
void u4_rail_wake(struct u4_rail *rail)
{
	unsigned int calls = 0;

	if (list_empty(&rail->waiters))
		return;

	spin_lock(&rail->tx_lock);
	if (!u4_rail_room(rail, rail->wake_room)) {
		spin_unlock(&rail->tx_lock);
		return;
	}
	while (!list_empty(&rail->waiters) && u4_rail_room(rail, U4_BURST_MAX)) {
		struct u4_waiter *waiter;

		if (++calls > 64) {
			rail->ops->kick(rail);
			break;
		}
		waiter = list_first_entry(&rail->waiters, struct u4_waiter, node);
		list_del_init(&waiter->node);
		smp_store_release(&waiter->rail, NULL);
		spin_unlock(&rail->tx_lock);
		waiter->fn(waiter);
		spin_lock(&rail->tx_lock);
	}
	spin_unlock(&rail->tx_lock);
}

/* Under tx_lock. */
void u4_rail_watch_arm(struct u4_rail *rail)
{
	if (rail->watch_on || rail->closing || !rail->link)
		return;
	rail->watch_on = true;
	rail->watch_idle = 0;
	hrtimer_start(&rail->watch, ns_to_ktime(U4_WATCH_NS), HRTIMER_MODE_REL_SOFT);
}

/* Under tx_lock: someone waits for credits that do not come: ask for them. */
static void watch_credits(struct u4_rail *rail)
{
	if (list_empty(&rail->waiters) || tx_credits(rail) >= (s32)rail->wake_room) {
		rail->blocked = 0;
		rail->probe_at = U4_PROBE_MIN;
		return;
	}
	if (++rail->blocked < rail->probe_at)
		return;
	if (tx_link_frame(rail, U4_LINK_PROBE, true))
		rail->tx_stats.probes++;
	rail->blocked = 0;
	rail->probe_at = min(rail->probe_at * 2, (unsigned int)U4_PROBE_MAX);
}

/*
 * Under tx_lock: frames are out and none comes back. Some host interfaces forget
 * a completion and give it with the next one, so give them one. Returns true when
 * that did not help either.
 */
static bool watch_stuck(struct u4_rail *rail)
{
	if (!rail->posted || rail->completed != rail->watch_completed) {
		rail->watch_stuck = 0;
		return false;
	}
	rail->watch_stuck++;
	if (rail->watch_stuck >= U4_WATCH_NUDGE && is_power_of_2(rail->watch_stuck) &&
	    tx_link_frame(rail, 0, true))
		rail->tx_stats.nudges++;
	return rail->watch_stuck == U4_WATCH_STUCK;
}

/*
 * Every millisecond while something is out, then at growing intervals: have the
 * poll look at both rings, unless it ran by itself since the last tick.
 */
enum hrtimer_restart u4_rail_watch(struct hrtimer *timer)
{
	struct u4_rail *rail = container_of(timer, struct u4_rail, watch);
	bool again, stuck, look;
	u32 activity;
	u64 polls;

	spin_lock(&rail->tx_lock);
	if (rail->closing) {
		rail->watch_on = false;
		spin_unlock(&rail->tx_lock);
		return HRTIMER_NORESTART;
	}

	stuck = watch_stuck(rail);
	rail->watch_completed = rail->completed;
	watch_credits(rail);

	polls = READ_ONCE(rail->rx_stats.polls);
	look = polls == rail->watch_polls;
	rail->watch_polls = polls;

	activity = rail->activity + (u32)READ_ONCE(rail->rx_stats.frames);
	if (activity != rail->watch_seen || rail->posted || !list_empty(&rail->waiters) ||
	    READ_ONCE(rail->track.active))
		rail->watch_idle = 0;
	else
		rail->watch_idle++;
	rail->watch_seen = activity;
	again = rail->watch_idle < U4_WATCH_LINGER;
	rail->watch_on = again;
	spin_unlock(&rail->tx_lock);

	if (stuck)
		u4_rail_reset(rail, "no send completion");
	if (look) {
		WRITE_ONCE(rail->watch_hit, true);
		napi_schedule(&rail->napi);
	}
	if (!again)
		return HRTIMER_NORESTART;
	hrtimer_forward_now(timer, ns_to_ktime(U4_WATCH_NS << rail->watch_idle));
	return HRTIMER_RESTART;
}
