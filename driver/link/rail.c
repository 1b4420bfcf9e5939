// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a rail: its rings, buffers and poll, from making to freeing, and what
 * link.h offers on a rail of either kind. Nothing here knows of handshakes,
 * HopIDs or paths; link/open.c does, and calls in this order:
 *
 *	create, attach, set_peer_end, start, [path on], poll_start, open,
 *	shut, drain, [path off], halt, flush_waiters, free
 *
 * u4_rail_halt() also runs from the service's .remove, which may hold the
 * domain's lock: it makes no path call and waits for nothing that does.
 */
#include <linux/dma-mapping.h>
#include <linux/random.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "../compat.h"
#include "core.h"
#include "rail.h"

#define RX_EOF_MASK	(BIT(U4_PDF_EOF_HDR) | 0xff00)

static_assert(U4_PDF_EOF_RAW == 8 && U4_PDF_RAW_MASK == 7);

static int rail_alloc_buffers(struct u4_rail *rail)
{
	unsigned int i;

	for (i = 0; i < U4_RING_SLOTS; i++) {
		struct u4_rx_buf *buf = &rail->rx_bufs[i];

		buf->page = alloc_page(GFP_KERNEL);
		if (!buf->page)
			return -ENOMEM;
		buf->dma = dma_map_page(rail->dma_dev, buf->page, 0, U4_FRAME_SIZE,
					DMA_FROM_DEVICE);
		if (dma_mapping_error(rail->dma_dev, buf->dma)) {
			__free_page(buf->page);
			buf->page = NULL;
			return -ENOMEM;
		}
		buf->frame.buffer_phy = buf->dma;
		INIT_LIST_HEAD(&buf->frame.list);
	}

	for (i = 0; i < U4_RING_SLOTS; i++) {
		struct u4_slot *slot = &rail->slots[i];

		slot->page = alloc_page(GFP_KERNEL);
		if (!slot->page)
			return -ENOMEM;
		slot->dma = dma_map_page(rail->dma_dev, slot->page, 0, U4_FRAME_SIZE,
					 DMA_TO_DEVICE);
		if (dma_mapping_error(rail->dma_dev, slot->dma)) {
			__free_page(slot->page);
			slot->page = NULL;
			return -ENOMEM;
		}
		slot->rail = rail;
		slot->frame.callback = u4_rail_tx_done;
		slot->frame.sof = U4_PDF_SOF;
		INIT_LIST_HEAD(&slot->frame.list);
		rail->free[rail->nfree++] = slot;
	}
	return 0;
}

static void rail_free_buffers(struct u4_rail *rail)
{
	unsigned int i;

	for (i = 0; rail->rx_bufs && i < U4_RING_SLOTS; i++) {
		struct u4_rx_buf *buf = &rail->rx_bufs[i];

		if (!buf->page)
			continue;
		dma_unmap_page(rail->dma_dev, buf->dma, U4_FRAME_SIZE, DMA_FROM_DEVICE);
		__free_page(buf->page);
		buf->page = NULL;
	}
	for (i = 0; rail->slots && i < U4_RING_SLOTS; i++) {
		struct u4_slot *slot = &rail->slots[i];

		if (!slot->page)
			continue;
		dma_unmap_page(rail->dma_dev, slot->dma, U4_FRAME_SIZE, DMA_TO_DEVICE);
		__free_page(slot->page);
		slot->page = NULL;
	}
}

static void rail_free_rings(struct u4_rail *rail)
{
	if (rail->rx)
		tb_ring_free(rail->rx);
	if (rail->tx)
		tb_ring_free(rail->tx);
	rail->rx = NULL;
	rail->tx = NULL;
}

/**
 * u4_rail_create() - rings and buffers of one cable, nothing started yet
 * @link: whose cable
 * @peer: whose frames; held by the caller, released by u4_rail_free()
 *
 * Under hw_lock. Return: the rail, or an error pointer: %-ENOSPC when the host
 * router has no ring left.
 */
struct u4_rail *u4_rail_create(struct u4_link *link, struct u4_peer *peer)
{
	struct tb_xdomain *xd = link->xd;
	struct u4_rail *rail;
	int ret = -ENOMEM;

	rail = kzalloc(sizeof(*rail), GFP_KERNEL);
	if (!rail)
		return ERR_PTR(-ENOMEM);
	rail->ops = &u4_rail_hw_ops;
	rail->peer = peer;
	rail->link = link;
	rail->poll_cpu = -1;
	rail->probe_at = U4_PROBE_MIN;
	rail->wake_room = U4_WAKE_ROOM;
	rail->lane_bps = (u64)xd->link_speed * NSEC_PER_SEC;
	rail->lanes = u4_link_lanes(xd);
	do {
		rail->rx_tag = get_random_u32();
	} while (!rail->rx_tag);
	spin_lock_init(&rail->tx_lock);
	INIT_LIST_HEAD(&rail->waiters);
	INIT_LIST_HEAD(&rail->late);
	INIT_LIST_HEAD(&rail->live);
	hrtimer_setup(&rail->watch, u4_rail_watch, CLOCK_MONOTONIC, HRTIMER_MODE_REL_SOFT);

	rail->rx_bufs = kcalloc(U4_RING_SLOTS, sizeof(*rail->rx_bufs), GFP_KERNEL);
	rail->slots = kcalloc(U4_RING_SLOTS, sizeof(*rail->slots), GFP_KERNEL);
	rail->free = kcalloc(U4_RING_SLOTS, sizeof(*rail->free), GFP_KERNEL);
	if (!rail->rx_bufs || !rail->slots || !rail->free)
		goto err_free;

	ret = -ENOSPC;
	rail->tx = tb_ring_alloc_tx(xd->tb->nhi, -1, U4_RING_SIZE, RING_FLAG_FRAME);
	if (!rail->tx)
		goto err_free;
	/* No argument for it, but the core heeds it in both directions. */
	rail->tx->start_poll = u4_rail_tx_start_poll;
	rail->tx->poll_data = rail;
	rail->rx = tb_ring_alloc_rx(xd->tb->nhi, -1, U4_RING_SIZE, RING_FLAG_FRAME, 0,
				    BIT(U4_PDF_SOF), RX_EOF_MASK, u4_rail_start_poll, rail);
	if (!rail->rx)
		goto err_rings;
	u4_compat_ring_throttling(rail->tx, U4_TX_MODERATION_NS);
	u4_compat_ring_throttling(rail->rx, U4_RX_MODERATION_NS);

	rail->dma_dev = get_device(tb_ring_dma_device(rail->rx));
	ret = rail_alloc_buffers(rail);
	if (ret)
		goto err_buffers;

	return rail;

err_buffers:
	rail_free_buffers(rail);
	put_device(rail->dma_dev);
err_rings:
	rail_free_rings(rail);
err_free:
	kfree(rail->free);
	kfree(rail->slots);
	kfree(rail->rx_bufs);
	kfree(rail);
	return ERR_PTR(ret);
}

/* Gives the rail its poll. Not under hw_lock: before 6.15 only rtnl guards a device's polls. */
void u4_rail_attach(struct u4_rail *rail)
{
	rtnl_lock();
	netif_napi_add(rail->peer->netdev, &rail->napi, u4_rail_poll);
	rtnl_unlock();
}

/* What the peer said in its reply to OPEN. */
void u4_rail_set_peer_end(struct u4_rail *rail, u32 tag, unsigned int credits)
{
	spin_lock_bh(&rail->tx_lock);
	rail->tx_tag = tag;
	rail->tx_window = credits;
	rail->wake_room = min(credits, (unsigned int)U4_WAKE_ROOM);
	rail->tx_limit = rail->tx_seq + credits;
	spin_unlock_bh(&rail->tx_lock);
}

/* Starts both rings and fills the receive ring. Under hw_lock. */
int u4_rail_start(struct u4_rail *rail)
{
	unsigned int i;
	int ret;

	if (rail->halted || rail->started)
		return -ENODEV;
	tb_ring_start(rail->tx);
	tb_ring_start(rail->rx);
	rail->started = true;
	for (i = 0; i < U4_RING_SLOTS; i++) {
		ret = u4_rail_rx_post(rail, &rail->rx_bufs[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* Upcalls may come from here on. Under hw_lock. */
void u4_rail_poll_start(struct u4_rail *rail)
{
	if (rail->halted || rail->polling)
		return;
	napi_enable(&rail->napi);
	rail->polling = true;
	/* An interrupt before this was masked and forgotten: look now. */
	local_bh_disable();
	napi_schedule(&rail->napi);
	local_bh_enable();
}

/* Bursts may be reserved from here on. */
void u4_rail_open(struct u4_rail *rail)
{
	spin_lock_bh(&rail->tx_lock);
	if (!rail->closing)
		rail->tx_open = true;
	spin_unlock_bh(&rail->tx_lock);
}

/* No burst is reserved any more when this returns. May sleep. */
void u4_rail_shut(struct u4_rail *rail)
{
	spin_lock_bh(&rail->tx_lock);
	rail->tx_open = false;
	spin_unlock_bh(&rail->tx_lock);
	synchronize_net();
}

/**
 * u4_rail_drain() - let the ring send what it has
 * @rail: a rail that was shut
 * @timeout_ms: how long at most
 *
 * Return: true when nothing is left in the ring.
 */
bool u4_rail_drain(struct u4_rail *rail, unsigned int timeout_ms)
{
	unsigned long end = jiffies + msecs_to_jiffies(timeout_ms);

	for (;;) {
		u4_rail_tx_reap(rail);
		if (!READ_ONCE(rail->posted))
			return true;
		if (time_after(jiffies, end))
			return false;
		usleep_range(500, 1000);
	}
}

/*
 * The ring's interrupt reads start_poll twice, with register accesses in between, under
 * the ring's lock. Who has it afterwards knows that no interrupt goes on with the old one.
 */
static void rail_set_start_poll(struct tb_ring *ring, void (*start_poll)(void *))
{
	spin_lock_irq(&ring->lock);
	ring->start_poll = start_poll;
	spin_unlock_irq(&ring->lock);
}

/*
 * tb_ring_stop() warns when the interrupt is masked, and each interrupt of a ring
 * with start_poll masks it. So it is unmasked and start_poll taken away; from then
 * on an interrupt only queues the ring's own work, which tb_ring_stop() flushes.
 */
static void rail_unmask_for_good(struct tb_ring *ring, bool *masked)
{
	void (*start_poll)(void *) = ring->start_poll;
	unsigned int tries = 64;

	/* Bounded, so that a ring whose interrupt never rests costs a warning and no hang. */
	do {
		rail_set_start_poll(ring, start_poll);
		WRITE_ONCE(*masked, false);
		tb_ring_poll_complete(ring);
		rail_set_start_poll(ring, NULL);
	} while (READ_ONCE(*masked) && --tries);
}

/**
 * u4_rail_halt() - stop the rings and give back all that belongs to the NHI
 * @rail: the rail
 *
 * Under hw_lock, which keeps it apart from u4_rail_start() and makes a second
 * call harmless. Ends the run under way and releases each u4_ref.
 */
void u4_rail_halt(struct u4_rail *rail)
{
	if (rail->halted)
		return;

	spin_lock_bh(&rail->tx_lock);
	rail->halted = true;
	rail->tx_open = false;
	rail->closing = true;
	spin_unlock_bh(&rail->tx_lock);
	synchronize_net();
	hrtimer_cancel(&rail->watch);

	if (rail->polling) {
		napi_disable(&rail->napi);
		rail->polling = false;
		u4_rail_rx_abort(rail);
	}
	if (rail->started) {
		rail_unmask_for_good(rail->rx, &rail->rx_masked);
		rail_unmask_for_good(rail->tx, &rail->tx_masked);
		tb_ring_stop(rail->rx);
		tb_ring_stop(rail->tx);
	}
	u4_rail_tx_abandon(rail);
	rail_free_buffers(rail);
	rail_free_rings(rail);
}

/* Calls every waiter once; none can come after u4_rail_shut() or halt(). */
void u4_rail_flush_waiters(struct u4_rail *rail)
{
	struct u4_waiter *waiter;

	do {
		/* Off the list and still under RCU: its owner frees it after a grace period. */
		rcu_read_lock();
		spin_lock_bh(&rail->tx_lock);
		waiter = list_first_entry_or_null(&rail->waiters, struct u4_waiter, node);
		if (waiter) {
			list_del_init(&waiter->node);
			smp_store_release(&waiter->rail, NULL);
		}
		spin_unlock_bh(&rail->tx_lock);
		if (waiter) {
			local_bh_disable();
			waiter->fn(waiter);
			local_bh_enable();
		}
		rcu_read_unlock();
	} while (waiter);
}

/* The rail is halted, no longer visible, and the layer above has let go of it. */
void u4_rail_free(struct u4_rail *rail)
{
	struct u4_peer *peer = rail->peer;

	WARN_ON(!rail->halted);
	rtnl_lock();
	netif_napi_del(&rail->napi);
	rtnl_unlock();
	synchronize_net();
	put_device(rail->dma_dev);
	kfree(rail->free);
	kfree(rail->slots);
	kfree(rail->rx_bufs);
	kfree(rail);
	u4_peer_release(peer);
}

/* What follows serves both kinds of rail. */

int u4_rail_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst)
{
	return rail->ops->get(rail, nraw, burst);
}

void u4_rail_put(struct u4_burst *burst)
{
	burst->rail->ops->put(burst);
}

void u4_rail_send(struct u4_burst *burst, enum u4_kind kind, unsigned int len,
		  struct u4_ref *ref, bool more)
{
	burst->rail->ops->send(burst, kind, len, ref, more);
}

void *u4_burst_buf(struct u4_burst *burst, unsigned int i)
{
	return page_address(burst->slot[1 + i]->page);
}

void u4_burst_set_len(struct u4_burst *burst, unsigned int i, unsigned int len)
{
	struct u4_slot *slot = burst->slot[1 + i];

	slot->len = len;
	slot->in_place = false;
	slot->src = NULL;
	slot->frame.buffer_phy = slot->dma;
}

void u4_burst_set_page(struct u4_burst *burst, unsigned int i, struct page *page,
		       unsigned int offset, unsigned int len, dma_addr_t dma)
{
	struct u4_slot *slot = burst->slot[1 + i];

	slot->len = len;
	slot->in_place = true;
	slot->src = page;
	slot->src_offset = offset;
	slot->frame.buffer_phy = dma;
}

/*
 * The test for room is repeated here under the lock: what came between the
 * failed u4_rail_get() and this has called nobody.
 */
bool u4_rail_wait(struct u4_rail *rail, struct u4_waiter *waiter)
{
	bool kick;

	spin_lock_bh(&rail->tx_lock);
	/* Another rail that has just let go of it did so under its own lock. */
	if (smp_load_acquire(&waiter->rail)) {
		spin_unlock_bh(&rail->tx_lock);
		return false;
	}
	waiter->rail = rail;
	list_add_tail(&waiter->node, &rail->waiters);
	/* Out of slots may just mean that nobody has reaped them yet. */
	kick = u4_rail_room(rail, rail->wake_room) ||
	       rail->nfree < rail->wake_room + U4_LINK_SLOTS;
	u4_rail_watch_arm(rail);
	spin_unlock_bh(&rail->tx_lock);
	if (kick)
		rail->ops->kick(rail);
	return true;
}

bool u4_rail_unwait(struct u4_waiter *waiter)
{
	struct u4_rail *rail;
	bool queued = false;

	rcu_read_lock();
	rail = READ_ONCE(waiter->rail);
	if (rail) {
		spin_lock_bh(&rail->tx_lock);
		if (waiter->rail == rail) {
			list_del_init(&waiter->node);
			smp_store_release(&waiter->rail, NULL);
			queued = true;
		}
		spin_unlock_bh(&rail->tx_lock);
	}
	rcu_read_unlock();
	return queued;
}

struct device *u4_rail_dma_device(const struct u4_rail *rail)
{
	return rail->dma_dev;
}

struct u4_run *u4_rail_run(struct u4_rail *rail)
{
	return &rail->client_run;
}

void u4_rail_reset(struct u4_rail *rail, const char *why)
{
	if (!rail->link)
		return;
	WRITE_ONCE(rail->reset_why, why);
	u4_link_kick(rail->link);
}
