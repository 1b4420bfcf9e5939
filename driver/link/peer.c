// SPDX-License-Identifier: GPL-2.0-only
/*
 * Peers: hosts that were authorised in this boot, with their device, network
 * interface, loop rail and active rails. A peer is made by the first
 * authorisation, lives without a cable, and goes when it is forgotten or the
 * module is unloaded.
 *
 * u4_peer_mutex (outer) keeps making, authorising and forgetting apart; it is
 * held while devices are registered, so the links' works never take it. A peer
 * that goes may have to wait for the users of its devices: that does a work of
 * its own without the mutex, so that it is nobody else's wait.
 * rails_mutex protects the arrays of rails, peers_lock the list of peers and what
 * sysfs reads.
 */
#include <linux/idr.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

#include "../net/net.h"
#include "core.h"
#include "rail.h"

/* How long FORGET waits for what it has begun. */
#define U4_FORGET_MS	2000

DEFINE_MUTEX(u4_peer_mutex);

static DEFINE_MUTEX(rails_mutex);
static DEFINE_SPINLOCK(peers_lock);
static LIST_HEAD(peers);
static LIST_HEAD(going);	/* forgotten, their devices are not gone yet */
static unsigned int npeers;	/* in both */
static struct workqueue_struct *peer_wq;
static DEFINE_IDA(peer_ids);
static struct device *peer_root;
static DECLARE_WAIT_QUEUE_HEAD(peer_idle);

const char u4_peer_counter_names[U4_PEER_COUNTERS][ETH_GSTRING_LEN] = {
	"rx_frames", "rx_frame_bytes", "rx_crc_errors", "rx_overruns", "rx_lost", "rx_stale",
	"rx_bad", "rx_stray", "rx_runs", "rx_runs_broken", "rx_polls", "rx_rescued",
	"tx_frames", "tx_frame_bytes", "tx_headers", "tx_credit_updates", "tx_confirms",
	"tx_probes", "tx_no_credit", "tx_no_slot", "tx_canceled", "tx_nudges",
};

static void peer_release(struct device *dev)
{
	kfree(container_of(dev, struct u4_peer, dev));
}

/* A rail that was made counts as a user until it is freed. */
void u4_peer_hold(struct u4_peer *peer)
{
	atomic_inc(&peer->users);
}

void u4_peer_release(struct u4_peer *peer)
{
	/* Nothing of the peer is touched after the count is dropped. */
	if (atomic_dec_and_test(&peer->users))
		wake_up_all(&peer_idle);
}

static struct u4_peer *peer_find(const struct list_head *list, const u8 *identity)
{
	struct u4_peer *peer;

	list_for_each_entry(peer, list, node)
		if (!memcmp(peer->identity, identity, sizeof(peer->identity)))
			return peer;
	return NULL;
}

/*
 * No link is authorised as the peer and none can be. Waits for its rails, and for as
 * long as the users of its devices take to let go.
 */
static void peer_go(struct work_struct *work)
{
	struct u4_peer *peer = container_of(work, struct u4_peer, go_work);

	wait_event(peer_idle, !atomic_read(&peer->users));
	u4_loop_stop(peer->loop);
	u4_client->peer_remove(peer);
	u4_net_unregister(peer->netdev);
	u4_loop_destroy(peer->loop);
	u4_net_destroy(peer->netdev);
	device_del(&peer->dev);

	mutex_lock(&u4_peer_mutex);
	list_del(&peer->node);
	npeers--;
	ida_free(&peer_ids, peer->index);
	mutex_unlock(&u4_peer_mutex);
	complete_all(&peer->gone);
	put_device(&peer->dev);
}

static struct u4_peer *peer_make(const u8 *identity, const u8 *local)
{
	struct u4_peer *peer;
	int ret;

	peer = kzalloc(sizeof(*peer), GFP_KERNEL);
	if (!peer)
		return ERR_PTR(-ENOMEM);
	ret = ida_alloc_max(&peer_ids, USB4_RDMA_MAX_PEERS - 1, GFP_KERNEL);
	if (ret < 0) {
		kfree(peer);
		return ERR_PTR(ret);
	}
	peer->index = ret;
	memcpy(peer->identity, identity, sizeof(peer->identity));
	memcpy(peer->local, local, sizeof(peer->local));
	INIT_LIST_HEAD(&peer->node);
	INIT_LIST_HEAD(&peer->live);
	INIT_WORK(&peer->go_work, peer_go);
	init_completion(&peer->gone);

	device_initialize(&peer->dev);
	peer->dev.parent = peer_root;
	peer->dev.release = peer_release;
	ret = dev_set_name(&peer->dev, "peer%d", peer->index);
	if (ret)
		goto err_put;
	ret = device_add(&peer->dev);
	if (ret)
		goto err_put;

	ret = -ENOMEM;
	peer->loop = u4_loop_create(peer);
	if (!peer->loop)
		goto err_del;
	peer->netdev = u4_net_create(peer);
	if (!peer->netdev)
		goto err_loop;
	ret = u4_net_register(peer->netdev);
	if (ret)
		goto err_net;
	ret = u4_client->peer_add(peer);
	if (ret)
		goto err_unregister;
	return peer;

err_unregister:
	u4_net_unregister(peer->netdev);
err_net:
	u4_net_destroy(peer->netdev);
err_loop:
	u4_loop_stop(peer->loop);
	u4_loop_destroy(peer->loop);
err_del:
	device_del(&peer->dev);
err_put:
	ida_free(&peer_ids, peer->index);
	put_device(&peer->dev);
	return ERR_PTR(ret);
}

/**
 * u4_peer_get() - the peer with this identity, for one more link
 * @identity: named by the authorisation
 * @local: our own
 * @host_id: the peer's host id on this link
 * @epoch: the peer's epoch on this link
 *
 * Makes it when it is new; ends its connections when its epoch is. %-EBUSY while
 * the devices that it had before it was forgotten go. Under u4_peer_mutex. Undone
 * by u4_peer_unlink().
 */
struct u4_peer *u4_peer_get(const u8 *identity, const u8 *local, const u8 *host_id, u64 epoch)
{
	struct u4_peer *peer = peer_find(&peers, identity);
	bool known = peer;

	if (!peer) {
		if (peer_find(&going, identity))
			return ERR_PTR(-EBUSY);
		if (npeers == USB4_RDMA_MAX_PEERS)
			return ERR_PTR(-ENOSPC);
		peer = peer_make(identity, local);
		if (IS_ERR(peer))
			return peer;
	} else if (peer->epoch != epoch) {
		u4_client->peer_reset(peer);
	}

	spin_lock(&peers_lock);
	if (!known) {
		list_add_tail(&peer->node, &peers);
		npeers++;
	}
	memcpy(peer->host_id, host_id, sizeof(peer->host_id));
	peer->epoch = epoch;
	peer->links++;
	spin_unlock(&peers_lock);
	get_device(&peer->dev);
	return peer;
}

/* A link is no longer authorised as @peer, which stays, unless it was forgotten meanwhile. */
void u4_peer_unlink(struct u4_peer *peer)
{
	spin_lock(&peers_lock);
	peer->links--;
	spin_unlock(&peers_lock);
	put_device(&peer->dev);
}

static int forget_link(struct u4_link *link, void *data)
{
	struct u4_peer *peer = data;
	bool match;

	spin_lock(&link->lock);
	match = link->peer == peer;
	spin_unlock(&link->lock);
	/* Under u4_peer_mutex no link can become this peer's meanwhile. */
	if (match)
		u4_link_void(link);
	return 0;
}

/* Under u4_peer_mutex. */
static void peer_forget(struct u4_peer *peer)
{
	spin_lock(&peers_lock);
	list_move_tail(&peer->node, &going);
	spin_unlock(&peers_lock);
	u4_link_for_each(forget_link, peer);
	queue_work(peer_wq, &peer->go_work);
}

/* USB4_RDMA_IOC_FORGET */
int u4_peer_forget(const u8 *identity)
{
	struct u4_peer *peer;
	long left;

	mutex_lock(&u4_peer_mutex);
	peer = peer_find(&peers, identity);
	if (peer)
		peer_forget(peer);
	else
		peer = peer_find(&going, identity);
	if (peer)
		get_device(&peer->dev);
	mutex_unlock(&u4_peer_mutex);
	if (!peer)
		return -ENOENT;

	left = wait_for_completion_killable_timeout(&peer->gone, msecs_to_jiffies(U4_FORGET_MS));
	put_device(&peer->dev);
	if (left < 0)
		return left;
	return left ? 0 : -EINPROGRESS;
}

/* USB4_RDMA_IOC_PEER */
int u4_peer_describe(unsigned int index, struct usb4_rdma_peer *desc)
{
	struct u4_peer *peer;
	int ret = -ENOENT;

	memset(desc, 0, sizeof(*desc));
	desc->index = index;
	mutex_lock(&u4_peer_mutex);
	spin_lock(&peers_lock);
	list_for_each_entry(peer, &peers, node) {
		if (index--)
			continue;
		desc->links = peer->links;
		memcpy(desc->peer, peer->identity, sizeof(desc->peer));
		memcpy(desc->host_id, peer->host_id, sizeof(desc->host_id));
		desc->epoch = peer->epoch;
		strscpy(desc->ibdev, peer->ibdev, sizeof(desc->ibdev));
		strscpy(desc->netdev, peer->netdev->name, sizeof(desc->netdev));
		ret = 0;
		break;
	}
	spin_unlock(&peers_lock);
	mutex_unlock(&u4_peer_mutex);
	return ret;
}

/* Names of the devices of the peer with this identity, empty without one. */
void u4_peer_names(const u8 *identity, char *ibdev, size_t ibdev_len, char *netdev,
		   size_t netdev_len)
{
	struct u4_peer *peer;

	ibdev[0] = '\0';
	netdev[0] = '\0';
	spin_lock(&peers_lock);
	peer = peer_find(&peers, identity);
	if (peer) {
		strscpy(ibdev, peer->ibdev, ibdev_len);
		strscpy(netdev, peer->netdev->name, netdev_len);
	}
	spin_unlock(&peers_lock);
}

void u4_peer_set_ibdev(struct u4_peer *peer, const char *name)
{
	spin_lock(&peers_lock);
	strscpy(peer->ibdev, name ? name : "", sizeof(peer->ibdev));
	spin_unlock(&peers_lock);
}

/* The rail may be found from here on; the first one brings the carrier. */
int u4_peer_add_rail(struct u4_peer *peer, struct u4_rail *rail)
{
	int ret = 0;

	mutex_lock(&rails_mutex);
	if (peer->nrails == U4_MAX_RAILS) {
		ret = -ENOSPC;
	} else {
		rcu_assign_pointer(peer->rails[peer->nrails], rail);
		smp_store_release(&peer->nrails, peer->nrails + 1);
		list_add(&rail->live, &peer->live);
		netif_carrier_on(peer->netdev);
	}
	mutex_unlock(&rails_mutex);
	return ret;
}

/* Not found any more after a grace period, which u4_rail_shut() waits for. */
void u4_peer_del_rail(struct u4_peer *peer, struct u4_rail *rail)
{
	unsigned int i, last;

	mutex_lock(&rails_mutex);
	for (i = 0; i < peer->nrails; i++) {
		if (rcu_access_pointer(peer->rails[i]) != rail)
			continue;
		last = peer->nrails - 1;
		rcu_assign_pointer(peer->rails[i], rcu_access_pointer(peer->rails[last]));
		WRITE_ONCE(peer->nrails, last);
		RCU_INIT_POINTER(peer->rails[last], NULL);
		if (!last)
			netif_carrier_off(peer->netdev);
		break;
	}
	mutex_unlock(&rails_mutex);
}

/*
 * The rings of @rail are stopped: it has no frame any more that is still to be sent. Its
 * counters stay with the peer. Harmless when it was done before.
 */
void u4_peer_halted(struct u4_peer *peer, struct u4_rail *rail)
{
	u64 values[U4_PEER_COUNTERS];
	unsigned int i;

	mutex_lock(&rails_mutex);
	list_del_init(&rail->live);
	if (!rail->retired) {
		rail->retired = true;
		u4_rail_counters(rail, values);
		for (i = 0; i < U4_PEER_COUNTERS; i++)
			peer->past[i] += values[i];
	}
	mutex_unlock(&rails_mutex);
}

bool u4_peer_uses(struct u4_peer *peer, const struct device *dma_dev)
{
	struct u4_rail *rail;
	bool uses = false;

	mutex_lock(&rails_mutex);
	list_for_each_entry(rail, &peer->live, live)
		uses |= rail->dma_dev == dma_dev;
	mutex_unlock(&rails_mutex);
	return uses;
}

struct u4_rail *u4_peer_rail(struct u4_peer *peer, u32 flow)
{
	unsigned int n = smp_load_acquire(&peer->nrails);
	struct u4_rail *rail;

	if (!n)
		return NULL;
	rail = rcu_dereference_check(peer->rails[n == 1 ? 0 : flow % n],
				     rcu_read_lock_any_held());
	/* Another rail was just removed and this one moved down. */
	if (unlikely(!rail))
		rail = rcu_dereference_check(peer->rails[0], rcu_read_lock_any_held());
	return rail;
}

static struct u4_rail *peer_rail_locked(struct u4_peer *peer, unsigned int i)
{
	return rcu_dereference_protected(peer->rails[i], lockdep_is_held(&rails_mutex));
}

void u4_peer_speed(struct u4_peer *peer, struct u4_port_speed *speed)
{
	unsigned int i;

	memset(speed, 0, sizeof(*speed));
	mutex_lock(&rails_mutex);
	for (i = 0; i < peer->nrails; i++) {
		const struct u4_rail *rail = peer_rail_locked(peer, i);

		speed->rails++;
		speed->lanes += rail->lanes;
		speed->lane_bps = max(speed->lane_bps, rail->lane_bps);
		speed->total_bps += rail->lane_bps * rail->lanes;
	}
	mutex_unlock(&rails_mutex);
}

/* In the order of u4_peer_counter_names[]. They go on counting meanwhile. */
void u4_rail_counters(const struct u4_rail *rail, u64 *values)
{
	const struct u4_rx_stats *rx = &rail->rx_stats;
	const struct u4_tx_stats *tx = &rail->tx_stats;
	const u64 *const all[] = {
		&rx->frames, &rx->bytes, &rx->crc, &rx->overrun, &rx->lost, &rx->stale, &rx->bad,
		&rx->stray, &rx->runs, &rx->runs_bad, &rx->polls, &rx->rescued,
		&tx->frames, &tx->bytes, &tx->headers, &tx->updates, &tx->confirms, &tx->probes,
		&tx->no_credit, &tx->no_slot, &tx->canceled, &tx->nudges,
	};
	unsigned int i;

	static_assert(ARRAY_SIZE(all) == U4_PEER_COUNTERS);
	for (i = 0; i < ARRAY_SIZE(all); i++)
		values[i] = READ_ONCE(*all[i]);
}

void u4_peer_counters(struct u4_peer *peer, u64 *values)
{
	u64 one[U4_PEER_COUNTERS];
	struct u4_rail *rail;
	unsigned int k;

	mutex_lock(&rails_mutex);
	memcpy(values, peer->past, sizeof(peer->past));
	list_for_each_entry(rail, &peer->live, live) {
		u4_rail_counters(rail, one);
		for (k = 0; k < U4_PEER_COUNTERS; k++)
			values[k] += one[k];
	}
	mutex_unlock(&rails_mutex);
}

void u4_peer_for_each(void (*fn)(struct u4_peer *peer, void *data), void *data)
{
	struct u4_peer *peer;

	mutex_lock(&u4_peer_mutex);
	list_for_each_entry(peer, &peers, node)
		fn(peer, data);
	mutex_unlock(&u4_peer_mutex);
}

int u4_peer_init(void)
{
	peer_wq = alloc_workqueue("usb4rdma_peer", WQ_UNBOUND, 0);
	if (!peer_wq)
		return -ENOMEM;
	peer_root = root_device_register("usb4rdma");
	if (IS_ERR(peer_root)) {
		destroy_workqueue(peer_wq);
		return PTR_ERR(peer_root);
	}
	return 0;
}

/* All links are gone. */
void u4_peer_exit(void)
{
	struct u4_peer *peer, *next;

	mutex_lock(&u4_peer_mutex);
	list_for_each_entry_safe(peer, next, &peers, node)
		peer_forget(peer);
	mutex_unlock(&u4_peer_mutex);
	destroy_workqueue(peer_wq);
	root_device_unregister(peer_root);
	ida_destroy(&peer_ids);
}
