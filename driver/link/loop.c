// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loop rail: the way back to ourselves, for QPs of one device that talk to
 * each other. It has the interface of a real rail, a bounded number of slots,
 * and delivers from a work item in softirq context, so that the sender's locks
 * are not held in the upcalls. It loses nothing, needs no credits, and carries
 * KIND_XP only.
 */
#include <linux/highmem.h>
#include <linux/slab.h>

#include "core.h"
#include "rail.h"

/**
 * struct u4_loop_burst - one burst on its way
 * @slot: header and raw frames
 * @nraw: raw frames
 * @len: payload bytes of the header frame
 * @ref: whom to tell
 */
struct u4_loop_burst {
	struct u4_slot	*slot[U4_BURST_MAX];
	unsigned int	nraw;
	unsigned int	len;
	struct u4_ref	*ref;
};

/**
 * struct u4_loop - what a loop rail has beyond struct u4_rail
 * @rail: it
 * @work: delivers, one instance at a time
 * @queue: bursts sent; under tx_lock
 * @head: next free place in @queue
 * @tail: next burst to deliver
 */
struct u4_loop {
	struct u4_rail		*rail;
	struct work_struct	work;
	struct u4_loop_burst	queue[U4_LOOP_SLOTS];
	unsigned int		head;
	unsigned int		tail;
};

static int loop_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst)
{
	unsigned int need = 1 + nraw, i;
	int ret = 0;

	if (nraw > U4_RAW_MAX)
		return -EINVAL;
	spin_lock(&rail->tx_lock);
	if (!rail->tx_open) {
		ret = -ENOLINK;
	} else if (rail->nfree < need) {
		rail->tx_stats.no_slot++;
		ret = -EAGAIN;
	} else {
		for (i = 0; i < need; i++) {
			burst->slot[i] = rail->free[--rail->nfree];
			burst->slot[i]->src = NULL;
		}
		rail->reserved += need;
	}
	spin_unlock(&rail->tx_lock);
	if (ret)
		return ret;
	burst->rail = rail;
	burst->nraw = nraw;
	burst->payload = page_address(burst->slot[0]->page) + sizeof(struct u4_link_hdr);
	return 0;
}

static void loop_kick(struct u4_rail *rail)
{
	queue_work(system_bh_wq, &rail->loop->work);
}

static void loop_put(struct u4_burst *burst)
{
	struct u4_rail *rail = burst->rail;
	unsigned int i;
	bool kick;

	spin_lock(&rail->tx_lock);
	for (i = 0; i <= burst->nraw; i++)
		rail->free[rail->nfree++] = burst->slot[i];
	rail->reserved -= 1 + burst->nraw;
	kick = !list_empty(&rail->waiters);
	spin_unlock(&rail->tx_lock);
	/* Nothing need be under way whose delivery would call who waits. */
	if (kick)
		loop_kick(rail);
}

static void loop_send(struct u4_burst *burst, enum u4_kind kind, unsigned int len,
		      struct u4_ref *ref, bool more)
{
	struct u4_rail *rail = burst->rail;
	struct u4_loop *loop = rail->loop;
	struct u4_loop_burst *entry;

	if (ref)
		atomic_inc(&ref->frames);
	burst->mark = 0;
	spin_lock(&rail->tx_lock);
	entry = &loop->queue[loop->head++ % U4_LOOP_SLOTS];
	memcpy(entry->slot, burst->slot, (1 + burst->nraw) * sizeof(entry->slot[0]));
	entry->nraw = burst->nraw;
	entry->len = len;
	entry->ref = ref;
	rail->reserved -= 1 + burst->nraw;
	rail->tx_stats.frames += 1 + burst->nraw;
	rail->tx_stats.headers++;
	spin_unlock(&rail->tx_lock);
	queue_work(system_bh_wq, &loop->work);
}

static const struct u4_rail_ops loop_ops = {
	.get	= loop_get,
	.put	= loop_put,
	.send	= loop_send,
	.kick	= loop_kick,
};

static void loop_deliver(struct u4_rail *rail, const struct u4_loop_burst *burst)
{
	const struct u4_slot *slot = burst->slot[0];
	unsigned int i;

	u4_client->rx_header(rail->peer, rail, &rail->client_run,
			     page_address(slot->page) + sizeof(struct u4_link_hdr), burst->len,
			     burst->nraw);
	for (i = 0; i < burst->nraw; i++) {
		slot = burst->slot[1 + i];
		if (slot->src) {
			void *map = kmap_local_page(slot->src);

			u4_client->rx_raw(rail->peer, rail, &rail->client_run, i,
					  map + slot->src_offset, slot->len);
			kunmap_local(map);
		} else {
			u4_client->rx_raw(rail->peer, rail, &rail->client_run, i,
					  page_address(slot->page), slot->len);
		}
	}
	if (burst->nraw)
		u4_client->rx_confirm(rail->peer, rail, &rail->client_run, true);
	rail->rx_stats.frames += 1 + burst->nraw;
}

static bool loop_next(struct u4_loop *loop, struct u4_loop_burst *burst)
{
	struct u4_rail *rail = loop->rail;
	bool found;

	spin_lock(&rail->tx_lock);
	found = loop->tail != loop->head;
	if (found)
		*burst = loop->queue[loop->tail++ % U4_LOOP_SLOTS];
	spin_unlock(&rail->tx_lock);
	return found;
}

static void loop_work(struct work_struct *work)
{
	struct u4_loop *loop = container_of(work, struct u4_loop, work);
	struct u4_rail *rail = loop->rail;
	struct u4_loop_burst burst;
	unsigned int count = 0, i;

	while (count < U4_LOOP_SLOTS && loop_next(loop, &burst)) {
		loop_deliver(rail, &burst);
		spin_lock(&rail->tx_lock);
		for (i = 0; i <= burst.nraw; i++)
			rail->free[rail->nfree++] = burst.slot[i];
		spin_unlock(&rail->tx_lock);
		if (burst.ref)
			u4_ref_put(burst.ref);
		count++;
	}
	if (count)
		u4_client->rx_batch_end(rail->peer, rail);
	u4_rail_wake(rail);
	if (count == U4_LOOP_SLOTS)
		queue_work(system_bh_wq, &loop->work);
}

static void loop_free(struct u4_rail *rail)
{
	unsigned int i;

	for (i = 0; rail->slots && i < U4_LOOP_SLOTS; i++)
		if (rail->slots[i].page)
			__free_page(rail->slots[i].page);
	kfree(rail->slots);
	kfree(rail->free);
	kvfree(rail->loop);
	kfree(rail);
}

struct u4_rail *u4_loop_create(struct u4_peer *peer)
{
	struct u4_rail *rail;
	unsigned int i;

	rail = kzalloc(sizeof(*rail), GFP_KERNEL);
	if (!rail)
		return NULL;
	rail->ops = &loop_ops;
	rail->peer = peer;
	rail->poll_cpu = -1;
	spin_lock_init(&rail->tx_lock);
	INIT_LIST_HEAD(&rail->waiters);
	rail->wake_room = U4_WAKE_ROOM;
	rail->loop = kvzalloc(sizeof(*rail->loop), GFP_KERNEL);
	rail->slots = kcalloc(U4_LOOP_SLOTS, sizeof(*rail->slots), GFP_KERNEL);
	rail->free = kcalloc(U4_LOOP_SLOTS, sizeof(*rail->free), GFP_KERNEL);
	if (!rail->loop || !rail->slots || !rail->free)
		goto err;
	rail->loop->rail = rail;
	INIT_WORK(&rail->loop->work, loop_work);
	for (i = 0; i < U4_LOOP_SLOTS; i++) {
		struct u4_slot *slot = &rail->slots[i];

		slot->rail = rail;
		slot->page = alloc_page(GFP_KERNEL);
		if (!slot->page)
			goto err;
		rail->free[rail->nfree++] = slot;
	}
	rail->tx_open = true;
	return rail;
err:
	loop_free(rail);
	return NULL;
}

/* Delivers what was sent and calls the waiters; no upcall after this. Process context. */
void u4_loop_stop(struct u4_rail *rail)
{
	u4_rail_shut(rail);
	do {
		queue_work(system_bh_wq, &rail->loop->work);
		flush_work(&rail->loop->work);
	} while (READ_ONCE(rail->loop->head) != READ_ONCE(rail->loop->tail));
	u4_rail_flush_waiters(rail);
	cancel_work_sync(&rail->loop->work);
}

/* A stopped loop, which nobody can find any more. */
void u4_loop_destroy(struct u4_rail *rail)
{
	synchronize_net();
	loop_free(rail);
}
