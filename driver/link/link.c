// SPDX-License-Identifier: GPL-2.0-only
/*
 * The state machine of a link. It runs in the link's own work, which alone sends
 * requests and opens or closes the data path; everyone else (the daemon's
 * ioctls, the peer's requests, the rail, .remove) leaves a word under the lock
 * and kicks it. link_decide() says what to do next, link_do() does it.
 *
 *	handshake --HELLO answered--> ready, or incompatible
 *	ready --authorize--> authorized --OPEN, READY answered--> active
 *	authorized, active --error--> failed --delay--> authorized
 *	any --deauthorize--> ready; any --peer is another one--> handshake
 *	any --.remove--> gone
 */
#include "../compat.h"
#include "../trace.h"
#include "core.h"
#include "rail.h"

const char *const u4_state_names[] = {
	[USB4_RDMA_LINK_HANDSHAKE]	= "handshake",
	[USB4_RDMA_LINK_INCOMPATIBLE]	= "incompatible",
	[USB4_RDMA_LINK_READY]		= "ready",
	[USB4_RDMA_LINK_AUTHORIZED]	= "authorized",
	[USB4_RDMA_LINK_ACTIVE]		= "active",
	[USB4_RDMA_LINK_FAILED]		= "failed",
	[USB4_RDMA_LINK_GONE]		= "gone",
};

/* What the work does next. */
enum link_action {
	LINK_WAIT,	/* until the delay is over or someone kicks */
	LINK_END,	/* for ever */
	LINK_HELLO,	/* ask the peer who it is */
	LINK_RELAY,	/* give the peer's daemon a message */
	LINK_OPEN,	/* a step towards the data path */
	LINK_CLOSE,	/* close the data path and tell the peer */
	LINK_CLOSED,	/* close it, the peer has done so */
	LINK_RESET,	/* close it, something broke, and try again later */
};

void u4_retry_reset(struct u4_retry *retry)
{
	retry->due = jiffies;
	retry->delay_ms = U4_RETRY_MIN_MS;
}

static void retry_later(struct u4_retry *retry, unsigned int max_ms)
{
	retry->due = jiffies + msecs_to_jiffies(retry->delay_ms);
	retry->delay_ms = min(retry->delay_ms * 2, max_ms);
}

static bool retry_due(const struct u4_retry *retry, unsigned long *next)
{
	if (time_after_eq(jiffies, retry->due))
		return true;
	if (time_before(retry->due, *next))
		*next = retry->due;
	return false;
}

/* Wakes the state machine. Any context in which the link cannot vanish. */
void u4_link_kick(struct u4_link *link)
{
	/* Softirq callers (a rail's watchdog) must not take link->lock; see link_end(). */
	rcu_read_lock();
	if (!READ_ONCE(link->done))
		mod_delayed_work(u4_wq, &link->work, 0);
	rcu_read_unlock();
}

unsigned int u4_link_lanes(const struct tb_xdomain *xd)
{
	switch (READ_ONCE(xd->link_width)) {
	case TB_LINK_WIDTH_DUAL:
		return 2;
	case TB_LINK_WIDTH_ASYM_TX:
		return 3;
	default:
		return 1;
	}
}

/* Something that sysfs shows has changed. */
void u4_link_changed(struct u4_link *link)
{
	trace_u4_link(link->index, READ_ONCE(link->state), READ_ONCE(link->instance));
	mutex_lock(&link->event_lock);
	if (!READ_ONCE(link->gone))
		u4_link_uevent(link);
	mutex_unlock(&link->event_lock);
	wake_up_all(&link->wait);
}

static bool state_behind_gate(enum usb4_rdma_link_state state)
{
	return state == USB4_RDMA_LINK_AUTHORIZED || state == USB4_RDMA_LINK_ACTIVE ||
	       state == USB4_RDMA_LINK_FAILED;
}

static void link_set_state(struct u4_link *link, enum usb4_rdma_link_state state)
{
	bool changed;

	spin_lock(&link->lock);
	changed = link->state != state && link->state != USB4_RDMA_LINK_GONE &&
		  (link->authorized || !state_behind_gate(state));
	if (changed)
		link->state = state;
	spin_unlock(&link->lock);
	if (changed)
		u4_link_changed(link);
}

/* Under the lock: closes the gate; the work closes the data path. */
static struct u4_peer *link_ungate(struct u4_link *link)
{
	struct u4_peer *peer = link->peer;

	link->authorized = false;
	link->peer = NULL;
	if (state_behind_gate(link->state))
		link->state = USB4_RDMA_LINK_READY;
	return peer;
}

/* The authorisation is void, if there is one. */
void u4_link_void(struct u4_link *link)
{
	struct u4_peer *peer;

	spin_lock(&link->lock);
	peer = link_ungate(link);
	spin_unlock(&link->lock);
	if (peer) {
		u4_peer_unlink(peer);
		u4_link_changed(link);
		u4_link_kick(link);
	}
}

static int link_check(struct u4_link *link, const struct usb4_rdma_authorize *cmd)
{
	if (link->gone)
		return -ENODEV;
	if (link->state == USB4_RDMA_LINK_HANDSHAKE ||
	    link->state == USB4_RDMA_LINK_INCOMPATIBLE || !link->instance ||
	    cmd->instance != link->instance || cmd->epoch != link->epoch ||
	    memcmp(cmd->host_id, link->host_id, sizeof(link->host_id)))
		return -ESTALE;
	if (link->authorized)
		return memcmp(link->identity, cmd->peer, sizeof(cmd->peer)) ? -EBUSY : -EALREADY;
	return 0;
}

/* USB4_RDMA_IOC_AUTHORIZE. The peer's device is there when this returns 0. */
int u4_link_authorize(struct u4_link *link, const struct usb4_rdma_authorize *cmd)
{
	struct u4_peer *peer;
	int ret;

	if (cmd->flags || cmd->reserved || !memchr_inv(cmd->peer, 0, sizeof(cmd->peer)) ||
	    !memchr_inv(cmd->local, 0, sizeof(cmd->local)))
		return -EINVAL;

	mutex_lock(&u4_peer_mutex);
	spin_lock(&link->lock);
	ret = link_check(link, cmd);
	spin_unlock(&link->lock);
	if (ret)
		goto unlock;

	peer = u4_peer_get(cmd->peer, cmd->local, cmd->host_id, cmd->epoch);
	if (IS_ERR(peer)) {
		ret = PTR_ERR(peer);
		goto unlock;
	}

	spin_lock(&link->lock);
	ret = link_check(link, cmd);
	if (!ret) {
		link->authorized = true;
		link->peer = peer;
		memcpy(link->identity, cmd->peer, sizeof(link->identity));
		link->named = true;
		link->state = USB4_RDMA_LINK_AUTHORIZED;
		link->hinted = true;
	}
	spin_unlock(&link->lock);
	if (ret) {
		u4_peer_unlink(peer);
		goto unlock;
	}
	u4_link_changed(link);
	u4_link_kick(link);
unlock:
	mutex_unlock(&u4_peer_mutex);
	return ret;
}

static bool link_is_closed(struct u4_link *link)
{
	return READ_ONCE(link->facts.phase) == U4_PHASE_NONE && !READ_ONCE(link->rail);
}

/* USB4_RDMA_IOC_DEAUTHORIZE. The data path is closed when this returns 0. */
int u4_link_deauthorize(struct u4_link *link)
{
	u4_link_void(link);
	if (!wait_event_timeout(link->wait, link_is_closed(link), 5 * HZ))
		return -ETIMEDOUT;
	return 0;
}

static enum link_action link_decide(struct u4_link *link, unsigned long *next)
{
	enum link_action action = LINK_WAIT;
	bool open;

	*next = jiffies + HZ * 3600;
	spin_lock(&link->lock);
	open = link->rail;
	if (link->hinted) {
		link->hinted = false;
		link->open.due = jiffies;
	}

	if (link->gone) {
		action = open ? LINK_CLOSED : LINK_END;
	} else if (link->leaving || link->suspended) {
		if (open)
			action = LINK_CLOSE;
	} else if ((link->rehello || link->state == USB4_RDMA_LINK_HANDSHAKE) &&
		   retry_due(&link->hello, next)) {
		action = LINK_HELLO;
	} else if (open && (!link->authorized || link->rail->peer != link->peer)) {
		action = LINK_CLOSE;
	} else if (open && link->peer_closed) {
		action = LINK_CLOSED;
	} else if (link->rail && READ_ONCE(link->rail->reset_why)) {
		action = LINK_RESET;
	} else if (u4_msgq_len(&link->to_peer) && link->version &&
		   retry_due(&link->relay, next)) {
		action = LINK_RELAY;
	} else if (link->state == USB4_RDMA_LINK_AUTHORIZED ||
		   link->state == USB4_RDMA_LINK_FAILED) {
		/* The first step is paced, whatever the peer asks for. */
		if ((link->facts.phase != U4_PHASE_NONE || retry_due(&link->pace, next)) &&
		    retry_due(&link->open, next))
			action = LINK_OPEN;
	}
	spin_unlock(&link->lock);
	return action;
}

static u16 link_common_version(const struct u4_ctl_hello *hello)
{
	u16 newest = min_t(u16, U4_WIRE_VERSION_MAX, le16_to_cpu(hello->version_max));
	u16 oldest = max_t(u16, U4_WIRE_VERSION_MIN, le16_to_cpu(hello->version_min));

	return newest >= oldest ? newest : 0;
}

/* A path that has lasted makes up for those that did not. */
static void link_judge(struct u4_link *link)
{
	if (link->facts.phase == U4_PHASE_ACTIVE &&
	    time_after(jiffies, link->active_since + msecs_to_jiffies(U4_LASTING_MS)))
		u4_retry_reset(&link->pace);
}

/*
 * What was opened is about to be closed, by the peer or for an error: the next one waits,
 * longer each time until one has lasted. So a peer that has us open and close without end
 * costs little.
 */
static void link_pace(struct u4_link *link)
{
	link_judge(link);
	retry_later(&link->pace, U4_PACE_MAX_MS);
}

static void link_do_hello(struct u4_link *link)
{
	struct u4_peer *peer = NULL;
	struct u4_ctl_hello hello;
	bool same;
	int ret;

	ret = u4_ctl_hello(link, &hello);
	if (ret) {
		retry_later(&link->hello, U4_RETRY_MAX_MS);
		return;
	}
	/* A hint is followed by one question at most in this time. */
	link->hello.due = jiffies + msecs_to_jiffies(100);
	link->hello.delay_ms = U4_RETRY_MIN_MS;

	spin_lock(&link->lock);
	link->rehello = false;
	same = link->peer_token == le64_to_cpu(hello.hdr.from) &&
	       link->epoch == le64_to_cpu(hello.epoch) &&
	       !memcmp(link->host_id, hello.host_id, sizeof(link->host_id));
	if (!same) {
		/* Another life of the peer: what the old one was allowed, this one is not. */
		peer = link_ungate(link);
		if (!link->gone)
			link->state = USB4_RDMA_LINK_HANDSHAKE;
	}
	spin_unlock(&link->lock);
	if (same)
		return;

	if (peer)
		u4_peer_unlink(peer);
	if (link->rail)
		link_pace(link);
	u4_open_close(link, 0, false);

	spin_lock(&link->lock);
	link->peer_token = le64_to_cpu(hello.hdr.from);
	link->epoch = le64_to_cpu(hello.epoch);
	memcpy(link->host_id, hello.host_id, sizeof(link->host_id));
	link->peer_version_min = le16_to_cpu(hello.version_min);
	link->peer_version_max = le16_to_cpu(hello.version_max);
	link->version = link_common_version(&hello);
	link->instance++;
	link->to_peer.tail = link->to_peer.head;
	link->to_daemon.tail = link->to_daemon.head;
	link->relay_seq = 1;
	link->relay_seen = 0;
	link->facts.hopid_min = 0;
	if (!link->gone)
		link->state = link->version ? USB4_RDMA_LINK_READY : USB4_RDMA_LINK_INCOMPATIBLE;
	spin_unlock(&link->lock);
	link->hopid_ask = 0;
	u4_retry_reset(&link->relay);
	u4_link_changed(link);
}

static void link_do_relay(struct u4_link *link)
{
	struct u4_msg *first, msg;
	u64 instance;
	u32 seq;
	int ret;

	spin_lock(&link->lock);
	first = u4_msgq_first(&link->to_peer);
	if (first)
		msg = *first;
	seq = link->relay_seq;
	instance = link->instance;
	spin_unlock(&link->lock);
	if (!first)
		return;

	ret = u4_ctl_relay(link, &msg, seq);
	if (ret && ret != -EPROTO) {
		retry_later(&link->relay, 500);
		return;
	}
	/* Taken, or refused for good. */
	spin_lock(&link->lock);
	if (link->instance == instance && u4_msgq_len(&link->to_peer)) {
		link->to_peer.tail++;
		link->relay_seq++;
	}
	spin_unlock(&link->lock);
	u4_retry_reset(&link->relay);
	wake_up_all(&link->wait);
}

static void link_fail(struct u4_link *link, const char *why, int error)
{
	dev_warn_ratelimited(&link->dev, "data path closed: %s (%d)\n", why, error);
	link_pace(link);
	u4_open_close(link, 0, true);
	u4_retry_reset(&link->open);
	link_set_state(link, USB4_RDMA_LINK_FAILED);
}

static void link_do_open(struct u4_link *link)
{
	int ret = u4_open_step(link);

	if (ret == -EAGAIN) {
		retry_later(&link->open, link->facts.phase == U4_PHASE_UP ? 100
									  : U4_RETRY_MAX_MS);
		return;
	}
	if (ret == -EACCES || ret == -ESTALE) {
		/* The gate closed meanwhile, or the peer's end is another one: start anew. */
		link_pace(link);
		u4_open_close(link, 0, true);
		u4_retry_reset(&link->open);
		return;
	}
	if (ret) {
		link_fail(link, "it could not be opened", ret);
		return;
	}
	if (link->facts.phase == U4_PHASE_ACTIVE)
		link_set_state(link, USB4_RDMA_LINK_ACTIVE);
}

/* Closed without an error: back to where the gate says. */
static void link_closed(struct u4_link *link, u32 flags, bool tell)
{
	u4_open_close(link, flags, tell);
	u4_retry_reset(&link->open);
	link_set_state(link, USB4_RDMA_LINK_AUTHORIZED);
}

static void link_do(struct u4_link *link, enum link_action action)
{
	switch (action) {
	case LINK_HELLO:
		link_do_hello(link);
		break;
	case LINK_RELAY:
		link_do_relay(link);
		break;
	case LINK_OPEN:
		link_set_state(link, USB4_RDMA_LINK_AUTHORIZED);
		link_do_open(link);
		break;
	case LINK_CLOSE:
		link_judge(link);
		link_closed(link, link->leaving ? U4_CTL_PATH_BYE : 0, true);
		break;
	case LINK_CLOSED:
		link_pace(link);
		link_closed(link, 0, false);
		break;
	case LINK_RESET:
		link_fail(link, link->rail->reset_why, 0);
		break;
	case LINK_WAIT:
	case LINK_END:
		break;
	}
}

/* The service is gone and nothing is open: the work's reference goes too. */
static void link_end(struct u4_link *link)
{
	u4_link_void(link);
	WRITE_ONCE(link->done, true);
	/* A kick that saw done unset has queued us before the grace period ends. */
	synchronize_rcu();
	cancel_delayed_work(&link->work);
	complete_all(&link->gone_done);
	wake_up_all(&link->wait);
	put_device(&link->dev);
}

void u4_link_work(struct work_struct *work)
{
	struct u4_link *link = container_of(to_delayed_work(work), struct u4_link, work);
	enum link_action action;
	unsigned long next;

	if (link->done)
		return;
	while ((action = link_decide(link, &next)) != LINK_WAIT) {
		if (action == LINK_END) {
			link_end(link);
			return;
		}
		link_do(link, action);
	}
	wake_up_all(&link->wait);
	/* A kick since link_decide() has queued the work already, and stays first. */
	queue_delayed_work(u4_wq, &link->work, time_after(next, jiffies) ? next - jiffies : 0);
}
