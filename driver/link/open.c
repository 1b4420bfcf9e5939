// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opening and closing of the data path of an authorised link. Runs in the link's
 * work only; .remove may meanwhile halt the rail under hw_lock, nothing else.
 *
 *	made	rings, buffers, our HopID           we answer OPEN
 *	up	OPEN answered by the peer: rings started, receive ring filled, path
 *		enabled                             we answer READY
 *	active	READY answered by the peer: rail visible, carrier on, layer above told
 *
 * Both sides do the same; what each learns comes from replies to its own
 * requests. The path is enabled only when both daemons have authorised.
 */
#include <linux/netdevice.h>

#include "../compat.h"
#include "../trace.h"
#include "core.h"
#include "rail.h"

static void open_set_phase(struct u4_link *link, enum u4_phase phase)
{
	spin_lock(&link->lock);
	link->facts.phase = phase;
	spin_unlock(&link->lock);
	trace_u4_phase(link->index, phase);
}

static bool open_allowed(struct u4_link *link)
{
	bool allowed;

	spin_lock(&link->lock);
	allowed = link->authorized && !link->gone && !link->leaving && !link->suspended;
	spin_unlock(&link->lock);
	return allowed;
}

static struct u4_peer *open_hold_peer(struct u4_link *link, int *hopid_min)
{
	struct u4_peer *peer = NULL;

	spin_lock(&link->lock);
	if (link->authorized) {
		peer = link->peer;
		u4_peer_hold(peer);
	}
	*hopid_min = link->facts.hopid_min;
	spin_unlock(&link->lock);
	return peer;
}

static int open_make(struct u4_link *link)
{
	struct u4_peer *peer;
	struct u4_rail *rail;
	int hopid_min, hopid;

	peer = open_hold_peer(link, &hopid_min);
	if (!peer)
		return -EACCES;
	/* Once .remove has let go of the NHI there are no more rings of it. */
	mutex_lock(&link->hw_lock);
	rail = READ_ONCE(link->gone) ? ERR_PTR(-ENODEV) : u4_rail_create(link, peer);
	if (!IS_ERR(rail))
		link->rail = rail;
	mutex_unlock(&link->hw_lock);
	if (IS_ERR(rail)) {
		u4_peer_release(peer);
		if (PTR_ERR(rail) == -ENOSPC && !link->told_no_ring) {
			dev_warn(&link->dev, "host router has no free ring for the data path\n");
			link->told_no_ring = true;
		}
		return PTR_ERR(rail);
	}
	u4_rail_attach(rail);
	hopid = tb_xdomain_alloc_out_hopid(link->xd, hopid_min ? hopid_min : -1);
	if (hopid < 0 && hopid_min)
		hopid = tb_xdomain_alloc_out_hopid(link->xd, -1);

	spin_lock(&link->lock);
	link->facts.rx_tag = rail->rx_tag;
	link->facts.tx_tag = 0;
	link->facts.out_hopid = hopid;
	link->facts.phase = U4_PHASE_MADE;
	spin_unlock(&link->lock);
	link->out_hopid = hopid;
	return hopid < 0 ? hopid : 0;
}

static int open_start(struct u4_link *link, struct u4_rail *rail)
{
	int ret;

	mutex_lock(&link->hw_lock);
	ret = open_allowed(link) ? u4_rail_start(rail) : -EACCES;
	if (!ret) {
		link->tx_hop = rail->tx->hop;
		link->rx_hop = rail->rx->hop;
	}
	mutex_unlock(&link->hw_lock);
	if (ret)
		return ret;

	ret = tb_xdomain_enable_paths(link->xd, link->out_hopid, link->tx_hop, link->in_hopid,
				      link->rx_hop);
	if (ret)
		return ret;
	link->paths_on = true;
	if (!open_allowed(link))
		return -EACCES;

	mutex_lock(&link->hw_lock);
	u4_rail_poll_start(rail);
	mutex_unlock(&link->hw_lock);
	return 0;
}

/* Is the peer ready to open, and what is its end? */
static int open_ask(struct u4_link *link)
{
	struct u4_rail *rail = link->rail;
	struct u4_ctl_path msg = {};
	unsigned int hopid, credits;
	u32 tag;
	int ret;

	msg.tag = cpu_to_le32(rail->rx_tag);
	msg.hopid = cpu_to_le16(link->out_hopid);
	msg.hopid_min = cpu_to_le16(link->hopid_ask);
	msg.ring_size = cpu_to_le16(U4_RING_SIZE);
	msg.credits = cpu_to_le16(U4_CREDIT_WINDOW);
	ret = u4_ctl_path(link, U4_CTL_OPEN, &msg);
	if (ret == -EACCES || ret == -ESTALE || ret == -ETIMEDOUT || ret == -ENODEV)
		return -EAGAIN;
	if (ret)
		return ret;

	hopid = le16_to_cpu(msg.hopid);
	credits = le16_to_cpu(msg.credits);
	tag = le32_to_cpu(msg.tag);
	if (!tag || credits < U4_BURST_MAX || credits > le16_to_cpu(msg.ring_size) ||
	    hopid > link->xd->local_max_hopid)
		return -EPROTO;

	ret = tb_xdomain_alloc_in_hopid(link->xd, hopid);
	if (ret >= 0 && ret != hopid) {
		/* In use on our side (another service): have the peer take a later one. */
		tb_xdomain_release_in_hopid(link->xd, ret);
		link->hopid_ask = ret;
		return -EAGAIN;
	}
	if (ret < 0)
		return ret;
	link->in_hopid = hopid;

	u4_rail_set_peer_end(rail, tag, credits);
	ret = open_start(link, rail);
	if (ret)
		return ret;
	spin_lock(&link->lock);
	link->facts.tx_tag = tag;
	link->facts.phase = U4_PHASE_UP;
	spin_unlock(&link->lock);
	trace_u4_phase(link->index, U4_PHASE_UP);
	link->ready_since = jiffies;
	u4_retry_reset(&link->open);
	return 0;
}

/* Is the peer's end up too? Then frames may be sent. */
static int open_confirm(struct u4_link *link)
{
	struct u4_rail *rail = link->rail;
	struct u4_ctl_path msg = {};
	int ret;

	msg.tag = cpu_to_le32(rail->rx_tag);
	msg.peer_tag = cpu_to_le32(rail->tx_tag);
	ret = u4_ctl_path(link, U4_CTL_READY, &msg);
	if (ret) {
		if (ret == -ESTALE)
			return ret;
		if (time_after(jiffies, link->ready_since + msecs_to_jiffies(U4_READY_TIMEOUT_MS)))
			return -ETIMEDOUT;
		return -EAGAIN;
	}
	if (!open_allowed(link))
		return -EACCES;
	mutex_lock(&link->hw_lock);
	ret = rail->halted ? -ENODEV : 0;
	if (!ret) {
		u4_rail_open(rail);
		ret = u4_peer_add_rail(rail->peer, rail);
	}
	if (!ret) {
		/* It looks for the rail where it is visible: to map memory, to send again. */
		u4_client->rail_up(rail->peer, rail);
		link->rail_up = true;
	}
	mutex_unlock(&link->hw_lock);
	if (ret)
		return ret;
	link->active_since = jiffies;
	open_set_phase(link, U4_PHASE_ACTIVE);
	return 0;
}

/**
 * u4_open_step() - one step towards an active data path
 * @link: an authorised link
 *
 * Return: 0 when a step was made, %-EAGAIN when the peer is not there yet, any
 * other error when what was opened must be closed.
 */
int u4_open_step(struct u4_link *link)
{
	switch (link->facts.phase) {
	case U4_PHASE_NONE:
		return open_make(link);
	case U4_PHASE_MADE:
		return open_ask(link);
	case U4_PHASE_UP:
		return open_confirm(link);
	case U4_PHASE_ACTIVE:
		return 0;
	}
	return -EINVAL;
}

static void close_tell(struct u4_link *link, struct u4_rail *rail, u32 flags)
{
	struct u4_ctl_path msg = {};

	msg.tag = cpu_to_le32(rail->rx_tag);
	msg.peer_tag = cpu_to_le32(rail->tx_tag);
	msg.flags = cpu_to_le32(flags);
	u4_ctl_path(link, U4_CTL_CLOSE, &msg);
}

/**
 * u4_open_halt() - stop a rail and give back all that is mapped for its NHI
 * @link: the link
 * @rail: its rail
 *
 * Under hw_lock. Harmless when it was done before. Also called from .remove under
 * the domain's lock: it makes no path call and waits for none.
 */
void u4_open_halt(struct u4_link *link, struct u4_rail *rail)
{
	u4_peer_del_rail(rail->peer, rail);
	u4_rail_halt(rail);
	u4_peer_halted(rail->peer, rail);
	u4_rail_flush_waiters(rail);
	if (link->rail_up)
		u4_client->rail_down(rail->peer, rail);
	link->rail_up = false;
}

/**
 * u4_open_close() - close the data path, whatever its phase
 * @link: the link
 * @flags: for the CLOSE message
 * @tell: the peer does not know it yet
 *
 * The order is the one in which nothing is lost that can be kept: no new work,
 * ring drained, peer told, paths off, poll off, rings stopped, memory freed.
 */
void u4_open_close(struct u4_link *link, u32 flags, bool tell)
{
	bool plugged = !READ_ONCE(link->gone) && !READ_ONCE(link->xd->is_unplugged);
	struct u4_rail *rail = link->rail;
	enum u4_phase phase;

	spin_lock(&link->lock);
	phase = link->facts.phase;
	link->facts.phase = U4_PHASE_NONE;
	link->facts.rx_tag = 0;
	link->facts.tx_tag = 0;
	link->peer_closed = false;
	spin_unlock(&link->lock);

	if (rail) {
		if (phase == U4_PHASE_ACTIVE)
			u4_peer_del_rail(rail->peer, rail);
		u4_rail_shut(rail);
		if (plugged && phase == U4_PHASE_ACTIVE)
			u4_rail_drain(rail, U4_DRAIN_MS);
		if (plugged && tell)
			close_tell(link, rail, flags);
		if (link->paths_on && !READ_ONCE(link->xd->is_unplugged))
			tb_xdomain_disable_paths(link->xd, link->out_hopid, link->tx_hop,
						 link->in_hopid, link->rx_hop);
		link->paths_on = false;
		mutex_lock(&link->hw_lock);
		u4_open_halt(link, rail);
		/* Who waits for this, to put the NHI to sleep, may go on now. */
		WRITE_ONCE(link->rail, NULL);
		mutex_unlock(&link->hw_lock);
		u4_rail_free(rail);
	}
	if (link->out_hopid >= 0)
		tb_xdomain_release_out_hopid(link->xd, link->out_hopid);
	if (link->in_hopid >= 0)
		tb_xdomain_release_in_hopid(link->xd, link->in_hopid);
	link->out_hopid = -1;
	link->in_hopid = -1;
	wake_up_all(&link->wait);
}
