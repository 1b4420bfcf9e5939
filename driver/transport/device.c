// SPDX-License-Identifier: GPL-2.0-only
/*
 * The transport of one peer as a whole: its tables, its counters, and what
 * happens to all QPs when a rail comes or goes.
 */
#include <linux/delay.h>
#include <linux/percpu.h>
#include <linux/random.h>

#include "internal.h"

const char * const u4_xp_counter_names[U4_NUM_COUNTERS] = {
	[U4_CNT_TX_SEGMENTS]	= "tx_segments",
	[U4_CNT_TX_BYTES]	= "tx_bytes",
	[U4_CNT_RX_SEGMENTS]	= "rx_segments",
	[U4_CNT_RX_BYTES]	= "rx_bytes",
	[U4_CNT_TX_ACKS]	= "tx_acks",
	[U4_CNT_RX_ACKS]	= "rx_acks",
	[U4_CNT_TX_NAK_SEQ]	= "tx_naks",
	[U4_CNT_RX_NAK_SEQ]	= "rx_naks_sequence",
	[U4_CNT_TX_RNR]		= "tx_rnr_naks",
	[U4_CNT_RX_RNR]		= "rx_rnr_naks",
	[U4_CNT_RETRIES]	= "retries",
	[U4_CNT_TIMEOUTS]	= "timeouts",
	[U4_CNT_PROBES]		= "probes",
	[U4_CNT_PAGE_FAULTS]	= "page_faults",
	[U4_CNT_RETRY_EXCEEDED]	= "retry_exceeded",
	[U4_CNT_RX_DUPLICATES]	= "rx_duplicates",
	[U4_CNT_RX_OUT_OF_ORDER] = "rx_out_of_order",
	[U4_CNT_RX_MALFORMED]	= "rx_malformed",
	[U4_CNT_RX_NO_QP]	= "rx_no_qp",
	[U4_CNT_RX_BAD_KEY]	= "rx_bad_key",
	[U4_CNT_RX_QKEY]	= "rx_bad_qkey",
	[U4_CNT_RUNS_LOST]	= "runs_lost",
	[U4_CNT_RX_LOSS]	= "rx_losses",
	[U4_CNT_RX_OWN_SOURCE]	= "rx_own_source",
	[U4_CNT_TX_MULTICAST]	= "tx_multicast",
	[U4_CNT_RX_MULTICAST]	= "rx_multicast",
	[U4_CNT_RX_PROBES]	= "rx_probes",
	[U4_CNT_TX_HELD]	= "tx_held",
};

u64 u4_xp_counter(struct u4_xpdev *dev, enum u4_counter counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(dev->counters, (unsigned int)cpu)[counter]);
	return sum;
}

static void u4_xpdev_rail_work(struct work_struct *work)
{
	struct u4_xpdev *dev = container_of(work, struct u4_xpdev, rail_work);
	unsigned long index;
	struct u4_qp *qp;

	u4_mr_map_all(dev);

	/* What was lost with the cable is sent again now, not when a timer says so. */
	rcu_read_lock();
	xa_for_each(&dev->qps, index, qp) {
		spin_lock_bh(&qp->rq_lock);
		if (!qp->dead)
			u4_rsp_run(qp);
		spin_unlock_bh(&qp->rq_lock);
		u4_sq_lock(qp);
		if (!qp->dead && !u4_qp_datagram(qp) && !qp->attr.loopback)
			u4_req_restart(qp);
		u4_sq_unlock(qp);
	}
	rcu_read_unlock();
}

int u4_xpdev_init(struct u4_xpdev *dev, struct u4_peer *peer, const struct u4_xp_ops *ops,
		  u32 max_qps, u32 max_mrs)
{
	dev->peer = peer;
	dev->ops = ops;
	dev->max_qps = max_qps;
	dev->max_mrs = max_mrs;
	xa_init_flags(&dev->qps, XA_FLAGS_ALLOC);
	xa_init_flags(&dev->mrs, XA_FLAGS_ALLOC1);
	memset(dev->near_qps, 0, sizeof(dev->near_qps));
	memset(dev->near_mrs, 0, sizeof(dev->near_mrs));
	/* Cyclic from a random start: a late frame does not meet a new owner. */
	dev->next_qpn = U4_QPN_FIRST + get_random_u32_below(U4_QPN_MULTICAST - U4_QPN_FIRST);
	dev->next_mr = 1 + get_random_u32_below(U4_PSN_MASK - 1);
	atomic_set(&dev->num_qps, 0);
	atomic_set(&dev->num_mrs, 0);
	memset(dev->mapped, 0, sizeof(dev->mapped));
	mutex_init(&dev->map_lock);
	spin_lock_init(&dev->mapped_lock);
	init_waitqueue_head(&dev->mappers_gone);
	mutex_init(&dev->mc_lock);
	dev->mc_seed = get_random_u32();
	INIT_WORK(&dev->rail_work, u4_xpdev_rail_work);

	dev->counters = __alloc_percpu(U4_NUM_COUNTERS * sizeof(u64), sizeof(u64));
	if (!dev->counters)
		return -ENOMEM;
	dev->wq = alloc_workqueue("u4_xp%d", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, peer->index);
	if (!dev->wq)
		goto err_counters;
	dev->fault_wq = alloc_workqueue("u4_pages%d", WQ_UNBOUND, 0, peer->index);
	if (!dev->fault_wq)
		goto err_wq;
	return 0;

err_wq:
	destroy_workqueue(dev->wq);
err_counters:
	free_percpu(dev->counters);
	return -ENOMEM;
}

void u4_xpdev_cleanup(struct u4_xpdev *dev)
{
	u32 i;

	cancel_work_sync(&dev->rail_work);
	destroy_workqueue(dev->fault_wq);
	destroy_workqueue(dev->wq);
	for (i = 0; i < U4_MAX_OWN_GIDS; i++)
		u4_own_gid_del(dev, i);
	mutex_destroy(&dev->mc_lock);
	free_percpu(dev->counters);
	xa_destroy(&dev->qps);
	xa_destroy(&dev->mrs);
	mutex_destroy(&dev->map_lock);
}

/*
 * End every QP that @remote_only (connected with the peer) or all of them. Not that
 * of the MADs: it is connected with nobody, and its owner sees an end as a failure.
 * Without the peer the oldest request was not answered, without the device it is flushed.
 */
static void u4_xpdev_end(struct u4_xpdev *dev, bool remote_only)
{
	enum u4_status status = remote_only ? U4_RETRY_EXC_ERR : U4_WR_FLUSH_ERR;
	unsigned long index;
	struct u4_qp *qp;

	rcu_read_lock();
	xa_for_each(&dev->qps, index, qp) {
		u4_sq_lock(qp);
		if (!qp->dead && qp->type != U4_QPT_GSI && u4_qp_state(qp) >= U4_QPS_RTR &&
		    (!remote_only || (!u4_qp_datagram(qp) && !qp->attr.loopback)))
			u4_req_abort(qp, status);
		u4_sq_unlock(qp);
	}
	rcu_read_unlock();
	flush_workqueue(dev->wq);
}

void u4_xpdev_peer_reset(struct u4_xpdev *dev)
{
	u4_xpdev_end(dev, true);
}

static bool u4_xpdev_all_told(struct u4_xpdev *dev)
{
	unsigned long index;
	bool told = true;
	struct u4_qp *qp;

	rcu_read_lock();
	xa_for_each(&dev->qps, index, qp) {
		u4_sq_lock(qp);
		told &= qp->dead || qp->sq_told == qp->sq_una;
		u4_sq_unlock(qp);
	}
	rcu_read_unlock();
	return told;
}

void u4_xpdev_shutdown(struct u4_xpdev *dev)
{
	unsigned long end = jiffies + U4_RING_WAIT;

	u4_xpdev_end(dev, false);
	/* What the rings are still reading is told when they are through. */
	while (!u4_xpdev_all_told(dev) && time_before(jiffies, end))
		usleep_range(500, 1000);
}

void u4_xp_rail_up(struct u4_peer *peer, struct u4_rail *rail)
{
	struct u4_xpdev *dev = peer->client;

	if (dev)
		queue_work(dev->wq, &dev->rail_work);
}

/* It is about to be freed, and has read or given up all that it was given. */
static void u4_xpdev_rail_gone(struct u4_xpdev *dev, const struct u4_rail *rail)
{
	unsigned long index;
	struct u4_qp *qp;

	rcu_read_lock();
	xa_for_each(&dev->qps, index, qp) {
		u4_sq_lock(qp);
		u4_req_rail_gone(qp, rail);
		u4_sq_unlock(qp);
	}
	rcu_read_unlock();
}

void u4_xp_rail_down(struct u4_peer *peer, struct u4_rail *rail)
{
	struct u4_xpdev *dev = peer->client;
	struct device *dma_dev = u4_rail_dma_device(rail);

	if (!dev)
		return;
	u4_xpdev_rail_gone(dev, rail);
	if (dma_dev)
		u4_mr_unmap_all(dev, dma_dev);
	/* What waits has other rails to go by, and for UC no timer that would notice. */
	rcu_read_lock();
	if (u4_peer_rail(peer, 0))
		queue_work(dev->wq, &dev->rail_work);
	rcu_read_unlock();
}
