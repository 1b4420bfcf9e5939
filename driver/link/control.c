// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control protocol: builds and checks messages, sends requests, answers
 * those of the peer. It decides nothing and keeps the awaited reply alone: what a
 * received request says is a hint that wakes the state machine (link.c), which
 * then asks for itself. Facts come from replies to our own requests only.
 *
 * The core delivers a message without saying from where, so it is matched by
 * route and tokens (HELLO: route and both UUIDs), a reply by type, request number
 * and length as well.
 *
 * The core could match replies too, but does it by route and protocol UUID alone,
 * with everything that is being sent: a peer that says "reply" at the right moment
 * has it free a message that is still in use (tb_cfg_request() in ctl.c, Linux 7.2).
 * So it is asked for no reply, and no packet with our UUID gets to its matching.
 * What is left are error packets, by which it matches anything; only routers send them.
 */
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uuid.h>

#include "../compat.h"
#include "core.h"
#include "rail.h"

#define CORE_WORDS	7	/* words of a message that are the XDomain core's */

static const u8 ctl_uuid_bytes[2][16] = { U4_CTL_UUID_LOWER, U4_CTL_UUID_HIGHER };
static uuid_t ctl_uuid[2];

/* Callbacks that run now; the core does not wait for them when we unregister. */
static atomic_t ctl_inflight = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(ctl_idle);

/* The control channel carries words in the order of the CPU; ours are little-endian. */
static void ctl_swap(void *msg, size_t len)
{
	u32 *words = msg;

	le32_to_cpu_array(words + CORE_WORDS, len / 4 - CORE_WORDS);
}

/* The protocol UUID of exchanges begun by us, or by the peer. */
static const u8 *ctl_proto(const struct u4_link *link, bool ours)
{
	bool higher = memcmp(link->xd->local_uuid, link->xd->remote_uuid, sizeof(uuid_t)) > 0;

	return ctl_uuid_bytes[ours ? higher : !higher];
}

static void ctl_fill(struct u4_link *link, struct u4_ctl_hdr *hdr, size_t len, u8 type,
		     u32 req_id, u64 to)
{
	hdr->route_hi = upper_32_bits(link->xd->route);
	hdr->route_lo = lower_32_bits(link->xd->route);
	hdr->length_sn = len / 4 - U4_CTL_XD_WORDS;
	memcpy(hdr->proto, ctl_proto(link, !(type & U4_CTL_REPLY)), sizeof(hdr->proto));
	hdr->type = type;
	hdr->req_id = cpu_to_le32(req_id);
	hdr->from = cpu_to_le64(link->token);
	hdr->to = cpu_to_le64(to);
}

static int ctl_status_errno(u8 status)
{
	switch (status) {
	case U4_CTL_OK:
		return 0;
	case U4_CTL_STALE:
		return -ESTALE;
	case U4_CTL_NOT_AUTHORIZED:
		return -EACCES;
	case U4_CTL_NOT_READY:
		return -EAGAIN;
	case U4_CTL_BUSY:
		return -EBUSY;
	default:
		return -EPROTO;
	}
}

/*
 * Hands @msg to the control ring. tb_xdomain_response() would return while the core
 * still looks at @msg; a request without room for a reply returns when it is done with it.
 */
static int ctl_send(struct u4_link *link, void *msg, size_t len, enum tb_cfg_pkg_type type)
{
	int ret = -ENODEV;

	ctl_swap(msg, len);
	mutex_lock(&link->send_lock);
	/* After .remove the host router may go, which the XDomain does not keep. */
	if (!READ_ONCE(link->gone) && !READ_ONCE(link->xd->is_unplugged))
		ret = tb_xdomain_request(link->xd, msg, len, type, NULL, 0,
					 TB_CFG_PKG_XDOMAIN_RESP, U4_REQUEST_TIMEOUT_MS);
	mutex_unlock(&link->send_lock);
	return ret;
}

static size_t ctl_len(u8 type)
{
	switch (type) {
	case U4_CTL_HELLO:
	case U4_CTL_HELLO | U4_CTL_REPLY:
		return sizeof(struct u4_ctl_hello);
	case U4_CTL_RELAY:
		return sizeof(struct u4_ctl_relay);
	case U4_CTL_RELAY | U4_CTL_REPLY:
		return sizeof(struct u4_ctl_hdr);
	case U4_CTL_OPEN:
	case U4_CTL_OPEN | U4_CTL_REPLY:
	case U4_CTL_READY:
	case U4_CTL_READY | U4_CTL_REPLY:
	case U4_CTL_CLOSE:
	case U4_CTL_CLOSE | U4_CTL_REPLY:
		return sizeof(struct u4_ctl_path);
	default:
		return 0;
	}
}

/*
 * Sends @msg of @len bytes and waits for its reply; @reply has room for
 * ctl_len(@type | U4_CTL_REPLY) bytes. Only from the link's work, so that one request
 * is outstanding.
 */
static int ctl_request(struct u4_link *link, void *msg, size_t len, u8 type, void *reply,
		       unsigned int timeout_ms)
{
	const struct u4_ctl_hdr *rhdr = reply;
	struct u4_ctl_hdr *hdr = msg;
	u64 peer_token;
	u32 req_id;
	int ret;

	spin_lock(&link->lock);
	peer_token = link->peer_token;
	req_id = ++link->req_id;
	link->awaited = type | U4_CTL_REPLY;
	WRITE_ONCE(link->reply.len, 0);
	spin_unlock(&link->lock);

	ctl_fill(link, hdr, len, type, req_id, type == U4_CTL_HELLO ? 0 : peer_token);
	hdr->version = type == U4_CTL_HELLO ? 0 : cpu_to_le16(link->version);
	ret = ctl_send(link, msg, len, TB_CFG_PKG_XDOMAIN_REQ);
	if (!ret)
		wait_event_timeout(link->wait,
				   READ_ONCE(link->reply.len) || READ_ONCE(link->gone),
				   msecs_to_jiffies(timeout_ms));

	spin_lock(&link->lock);
	link->awaited = 0;
	if (link->reply.len) {
		/* Whatever was said of the sending. */
		memcpy(reply, link->reply.buf, link->reply.len);
		ret = 0;
	} else if (!ret) {
		ret = link->gone ? -ENODEV : -ETIMEDOUT;
	}
	spin_unlock(&link->lock);
	return ret ?: ctl_status_errno(rhdr->status);
}

static void ctl_fill_hello(struct u4_link *link, struct u4_ctl_hello *msg)
{
	memcpy(msg->src_uuid, link->xd->local_uuid, sizeof(msg->src_uuid));
	memcpy(msg->dst_uuid, link->xd->remote_uuid, sizeof(msg->dst_uuid));
	memcpy(msg->host_id, u4_host_id, sizeof(msg->host_id));
	msg->epoch = cpu_to_le64(u4_epoch);
	msg->version_min = cpu_to_le16(U4_WIRE_VERSION_MIN);
	msg->version_max = cpu_to_le16(U4_WIRE_VERSION_MAX);
}

/* Asks the peer who it is. On success @reply is checked and in host order of bytes. */
int u4_ctl_hello(struct u4_link *link, struct u4_ctl_hello *reply)
{
	struct u4_ctl_hello msg = {};
	unsigned int timeout;
	int ret;

	ctl_fill_hello(link, &msg);
	/* The peer may not have got so far: the first ones are not waited for long. */
	timeout = clamp(link->hello.delay_ms * 16, 300u, U4_REQUEST_TIMEOUT_MS);
	ret = ctl_request(link, &msg, sizeof(msg), U4_CTL_HELLO, reply, timeout);
	if (ret)
		return ret;
	if (memcmp(reply->src_uuid, link->xd->remote_uuid, sizeof(reply->src_uuid)) ||
	    memcmp(reply->dst_uuid, link->xd->local_uuid, sizeof(reply->dst_uuid)))
		return -EBADMSG;
	if (!reply->hdr.from || !reply->epoch || !memchr_inv(reply->host_id, 0, 16) ||
	    le16_to_cpu(reply->version_min) > le16_to_cpu(reply->version_max))
		return -EPROTO;
	return 0;
}

/* Gives the peer's daemon a message; 0 when the peer has taken it. */
int u4_ctl_relay(struct u4_link *link, const struct u4_msg *msg, u32 seq)
{
	struct u4_ctl_relay req = {};
	struct u4_ctl_hdr reply;

	req.seq = cpu_to_le32(seq);
	req.len = cpu_to_le16(msg->len);
	memcpy(req.data, msg->data, msg->len);
	return ctl_request(link, &req, sizeof(req), U4_CTL_RELAY, &reply, U4_REQUEST_TIMEOUT_MS);
}

/* OPEN, READY or CLOSE; @msg is filled by the caller and becomes the reply. */
int u4_ctl_path(struct u4_link *link, enum u4_ctl_type type, struct u4_ctl_path *msg)
{
	struct u4_ctl_path reply = {};
	int ret;

	ret = ctl_request(link, msg, sizeof(*msg), type, &reply,
			  type == U4_CTL_CLOSE ? U4_REQUEST_TIMEOUT_MS / 2
					       : U4_REQUEST_TIMEOUT_MS);
	*msg = reply;
	return ret;
}

/* What follows answers the peer's requests. All of it runs in answer_work. */

static u8 answer_relay(struct u4_link *link, const struct u4_ctl_relay *msg)
{
	unsigned int len = le16_to_cpu(msg->len);
	u32 seq = le32_to_cpu(msg->seq);
	u8 status = U4_CTL_OK;

	if (!len || len > USB4_RDMA_MSG_MAX || msg->reserved)
		return U4_CTL_INVALID;
	spin_lock(&link->lock);
	if (seq == link->relay_seen) {
		/* Sent again, since our answer was lost. */
	} else if (seq != link->relay_seen + 1) {
		status = U4_CTL_INVALID;
	} else if (!u4_msgq_put(&link->to_daemon, msg->data, len)) {
		status = U4_CTL_BUSY;
	} else {
		link->relay_seen = seq;
	}
	spin_unlock(&link->lock);
	wake_up_interruptible(&link->wait);
	return status;
}

static u8 answer_open(struct u4_link *link, const struct u4_ctl_path *msg,
		      struct u4_ctl_path *reply)
{
	unsigned int hopid_min = le16_to_cpu(msg->hopid_min);
	u32 tag = le32_to_cpu(msg->tag);
	u8 status = U4_CTL_OK;

	spin_lock(&link->lock);
	link->hinted = true;
	if (link->facts.phase >= U4_PHASE_UP && tag && tag != link->facts.tx_tag)
		link->peer_closed = true;	/* its rail is another one now */
	if (hopid_min > link->facts.out_hopid) {
		link->facts.hopid_min = hopid_min;
		if (link->facts.phase == U4_PHASE_MADE)
			link->peer_closed = true;
	}
	if (!link->authorized)
		status = U4_CTL_NOT_AUTHORIZED;
	else if (link->facts.phase == U4_PHASE_NONE || link->peer_closed)
		status = U4_CTL_NOT_READY;
	if (status == U4_CTL_OK) {
		reply->tag = cpu_to_le32(link->facts.rx_tag);
		reply->hopid = cpu_to_le16(link->facts.out_hopid);
		reply->ring_size = cpu_to_le16(U4_RING_SIZE);
		reply->credits = cpu_to_le16(U4_CREDIT_WINDOW);
	}
	spin_unlock(&link->lock);
	return status;
}

static u8 answer_ready(struct u4_link *link, const struct u4_ctl_path *msg)
{
	u8 status = U4_CTL_OK;

	spin_lock(&link->lock);
	link->hinted = true;
	if (!link->authorized)
		status = U4_CTL_NOT_AUTHORIZED;
	else if (link->facts.phase < U4_PHASE_UP || link->peer_closed)
		status = U4_CTL_NOT_READY;
	else if (le32_to_cpu(msg->tag) != link->facts.tx_tag ||
		 le32_to_cpu(msg->peer_tag) != link->facts.rx_tag)
		status = U4_CTL_STALE;
	spin_unlock(&link->lock);
	return status;
}

static u8 answer_close(struct u4_link *link, const struct u4_ctl_path *msg)
{
	spin_lock(&link->lock);
	if (link->facts.phase >= U4_PHASE_UP && le32_to_cpu(msg->tag) == link->facts.tx_tag)
		link->peer_closed = true;
	spin_unlock(&link->lock);
	return U4_CTL_OK;
}

/* Is the sender the one that our own HELLO has met? If not, have it asked. */
static bool ctl_known(struct u4_link *link, u64 from)
{
	bool known;

	spin_lock(&link->lock);
	known = link->peer_token && link->peer_token == from;
	if (!known)
		link->rehello = true;
	spin_unlock(&link->lock);
	return known;
}

static void ctl_answer(struct u4_link *link, const struct u4_packet *packet)
{
	union {
		struct u4_ctl_hdr hdr;
		struct u4_ctl_hello hello;
		struct u4_ctl_path path;
	} reply = {};
	const struct u4_ctl_hdr *hdr = (const void *)packet->buf;
	size_t len = ctl_len(hdr->type | U4_CTL_REPLY);
	bool known = ctl_known(link, le64_to_cpu(hdr->from));
	u8 status = U4_CTL_OK;

	if (hdr->type == U4_CTL_HELLO) {
		ctl_fill_hello(link, &reply.hello);
	} else if (hdr->type == U4_CTL_RELAY) {
		status = known ? answer_relay(link, (const void *)hdr) : U4_CTL_NOT_READY;
	} else if (!known) {
		status = U4_CTL_NOT_READY;
	} else if (hdr->type == U4_CTL_OPEN) {
		status = answer_open(link, (const void *)hdr, &reply.path);
	} else if (hdr->type == U4_CTL_READY) {
		status = answer_ready(link, (const void *)hdr);
	} else {
		status = answer_close(link, (const void *)hdr);
	}

	ctl_fill(link, &reply.hdr, len, hdr->type | U4_CTL_REPLY, le32_to_cpu(hdr->req_id),
		 le64_to_cpu(hdr->from));
	reply.hdr.status = status;
	reply.hdr.version = hdr->version;
	/* A reply that does not get out is asked for again. */
	ctl_send(link, &reply, len, TB_CFG_PKG_XDOMAIN_RESP);
	if (!known || hdr->type != U4_CTL_RELAY)
		u4_link_kick(link);
}

void u4_ctl_answer_work(struct work_struct *work)
{
	struct u4_link *link = container_of(work, struct u4_link, answer_work);

	for (;;) {
		struct u4_packet packet;
		bool found;

		spin_lock(&link->lock);
		found = !link->gone && link->packet_tail != link->packet_head;
		if (found)
			packet = link->packets[link->packet_tail++ % U4_CTL_QUEUE];
		spin_unlock(&link->lock);
		if (!found)
			break;
		if (!READ_ONCE(link->xd->is_unplugged))
			ctl_answer(link, &packet);
	}
	put_device(&link->dev);
}

static bool ctl_for_link(const struct u4_link *link, const struct u4_ctl_hdr *hdr, u64 route)
{
	if (link->xd->route != route ||
	    memcmp(hdr->proto, ctl_proto(link, hdr->type & U4_CTL_REPLY), sizeof(hdr->proto)))
		return false;
	if (hdr->type == U4_CTL_HELLO) {
		const struct u4_ctl_hello *msg = (const void *)hdr;

		return !memcmp(msg->src_uuid, link->xd->remote_uuid, sizeof(msg->src_uuid)) &&
		       !memcmp(msg->dst_uuid, link->xd->local_uuid, sizeof(msg->dst_uuid));
	}
	return le64_to_cpu(hdr->to) == link->token;
}

static struct u4_link *ctl_find_link(const struct u4_ctl_hdr *hdr)
{
	u64 route = ((u64)hdr->route_hi << 32 | hdr->route_lo) & ~BIT_ULL(63);
	struct u4_link *link;

	spin_lock(&u4_links_lock);
	list_for_each_entry(link, &u4_links, node) {
		if (ctl_for_link(link, hdr, route)) {
			get_device(&link->dev);
			spin_unlock(&u4_links_lock);
			return link;
		}
	}
	spin_unlock(&u4_links_lock);
	return NULL;
}

/* The link's work waits for one reply at most, and believes the first that fits. */
static void ctl_take_reply(struct u4_link *link, const struct u4_packet *packet)
{
	const struct u4_ctl_hdr *hdr = (const void *)packet->buf;
	bool taken;

	spin_lock(&link->lock);
	taken = hdr->type == link->awaited && le32_to_cpu(hdr->req_id) == link->req_id &&
		(link->awaited == (U4_CTL_HELLO | U4_CTL_REPLY) ||
		 le64_to_cpu(hdr->from) == link->peer_token) && !link->reply.len;
	if (taken) {
		memcpy(link->reply.buf, packet->buf, packet->len);
		WRITE_ONCE(link->reply.len, packet->len);
	}
	spin_unlock(&link->lock);
	if (taken)
		wake_up_all(&link->wait);
	put_device(&link->dev);
}

static void ctl_take_request(struct u4_link *link, const struct u4_packet *packet)
{
	bool queued = false;

	spin_lock(&link->lock);
	if (!link->gone && link->packet_head - link->packet_tail < U4_CTL_QUEUE) {
		link->packets[link->packet_head++ % U4_CTL_QUEUE] = *packet;
		queued = true;
	}
	spin_unlock(&link->lock);
	if (!queued || !queue_work(u4_wq, &link->answer_work))
		put_device(&link->dev);
}

/* In the control ring's work: copy, check, leave it with the link. */
static void ctl_receive(const void *buf, size_t size)
{
	struct u4_packet packet;
	struct u4_ctl_hdr *hdr = (void *)packet.buf;
	struct u4_link *link;
	bool reply;

	if (size < sizeof(*hdr) || size > sizeof(packet.buf) || size % 4)
		return;
	memcpy(packet.buf, buf, size);
	packet.len = size;
	ctl_swap(packet.buf, size);
	reply = hdr->type & U4_CTL_REPLY;
	if (size != ctl_len(hdr->type) || (!reply && hdr->status))
		return;

	link = ctl_find_link(hdr);
	if (!link)
		return;
	if (reply)
		ctl_take_reply(link, &packet);
	else
		ctl_take_request(link, &packet);
}

/* Returns that the message was handled, whatever it is: the core shall not match it. */
static int ctl_callback(const void *buf, size_t size, void *data)
{
	atomic_inc(&ctl_inflight);
	ctl_receive(buf, size);
	if (atomic_dec_and_test(&ctl_inflight))
		wake_up(&ctl_idle);
	return 1;
}

static struct tb_protocol_handler ctl_handler[2] = {
	{ .uuid = &ctl_uuid[0], .callback = ctl_callback },
	{ .uuid = &ctl_uuid[1], .callback = ctl_callback },
};

int u4_ctl_init(void)
{
	int ret;

	import_uuid(&ctl_uuid[0], ctl_uuid_bytes[0]);
	import_uuid(&ctl_uuid[1], ctl_uuid_bytes[1]);
	ret = tb_register_protocol_handler(&ctl_handler[0]);
	if (ret)
		return ret;
	ret = tb_register_protocol_handler(&ctl_handler[1]);
	if (ret)
		tb_unregister_protocol_handler(&ctl_handler[0]);
	return ret;
}

/*
 * The core may be between finding our handler and calling it, or in its last
 * instructions; neither sleeps, which is what the RCU flavour of tasks waits for.
 */
void u4_ctl_exit(void)
{
	tb_unregister_protocol_handler(&ctl_handler[0]);
	tb_unregister_protocol_handler(&ctl_handler[1]);
	synchronize_rcu_tasks();
	wait_event(ctl_idle, !atomic_read(&ctl_inflight));
	synchronize_rcu_tasks();
}
