// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control protocol (driver/link/control.c): two links that talk to each other, and a
 * peer that says anything to one of them.
 *
 * Whatever arrives as a request, of a link's state only the hints, the HopID asked for
 * and the queue to the daemon change. Nobody hears a tag before the gate is open. What
 * one end builds the other takes; a reply is believed only when it names our request.
 */
#include "shim_link.h"

#include "../../driver/link/control.c"

static struct u4_link links[2];
static struct tb_xdomain xdomains[2];
static uuid_t uuids[2] = { { { 1, 2, 3 } }, { { 9, 8, 7 } } };
static struct work_struct *queued[2];

u8 u4_host_id[USB4_RDMA_HOST_ID_LEN] = { 0x42 };
u64 u4_epoch = 0x1234567890abcdefull;
struct workqueue_struct *u4_wq;
spinlock_t u4_links_lock;
LIST_HEAD(u4_links);
static u32 kicks;

void u4_link_kick(struct u4_link *link)
{
	(void)link;
	kicks++;
}

void shim_queue_work(struct work_struct *work)
{
	u32 i = container_of(work, struct u4_link, answer_work) == &links[1];

	queued[i] = work;
	work->queued = true;
}

/* ---- the channel between them ---- */

static struct script *script;
static bool answering;			/* a request of ours is under way: let the peer answer it */
static u8 answer[U4_CTL_PACKET_MAX];
static size_t answer_len;
static u8 past[U4_CTL_PACKET_MAX];	/* the reply to an earlier request */
static size_t past_len;
static u32 answers;

static void run_answers(u32 i)
{
	struct work_struct *work = queued[i];

	if (!work)
		return;
	queued[i] = NULL;
	work->queued = false;
	work->fn(work);
}

/* The channel says on which route a message came: that of the receiver's side. */
static void reroute(void *msg, const struct tb_xdomain *to)
{
	struct u4_ctl_hdr *hdr = msg;

	hdr->route_hi = upper_32_bits(to->route);
	hdr->route_lo = lower_32_bits(to->route);
}

static void send_reply(const struct u4_link *link, const void *response, size_t size)
{
	const struct u4_ctl_hdr *hdr = response;

	CHECK(size >= sizeof(*hdr) && size <= U4_CTL_PACKET_MAX && size % 4 == 0, "reply of %zu",
	      size);
	CHECK(hdr->length_sn == size / 4 - U4_CTL_XD_WORDS, "length of a reply");
	CHECK(hdr->type & U4_CTL_REPLY && le64_to_cpu(hdr->from) == link->token, "reply's header");
	if (size == sizeof(struct u4_ctl_path)) {
		const struct u4_ctl_path *path = response;
		bool open = hdr->type == (U4_CTL_OPEN | U4_CTL_REPLY) && hdr->status == U4_CTL_OK;

		/* Our end of the data path is for whom we authorised, and nobody else. */
		CHECK(!open || (link->authorized && link->facts.phase != U4_PHASE_NONE &&
				link->peer_token && hdr->to == cpu_to_le64(link->peer_token)),
		      "OPEN is answered to a stranger");
		CHECK(open || (!path->tag && !path->hopid && !path->credits && !path->peer_tag),
		      "a refusal tells of our rail");
		CHECK(open ? le32_to_cpu(path->tag) == link->facts.rx_tag : true, "tag");
	}
	memcpy(answer, response, size);
	answer_len = size;
	answers++;
}

/* What comes as a reply to what was just sent, from a peer that says anything. */
static void any_reply(const struct u4_ctl_hdr *sent, u8 fate)
{
	struct u4_ctl_hdr *hdr = (void *)answer;
	u8 n;

	next_bytes(script, answer, 80);
	/* The header as it ought to be, so that checks behind it are met. */
	if (fate & 64) {
		hdr->route_hi = sent->route_hi;
		hdr->route_lo = sent->route_lo;
		memcpy(hdr->proto, sent->proto, sizeof(hdr->proto));
		hdr->type = sent->type | U4_CTL_REPLY;
		hdr->req_id = sent->req_id;
		hdr->to = sent->from;
		if (fate & 32)
			hdr->from = sent->to;
		if (sent->type == U4_CTL_HELLO && fate & 4) {
			const struct u4_ctl_hello *asked = (const void *)sent;
			struct u4_ctl_hello *hello = (void *)answer;

			memcpy(hello->src_uuid, asked->dst_uuid, sizeof(hello->src_uuid));
			memcpy(hello->dst_uuid, asked->src_uuid, sizeof(hello->dst_uuid));
		}
	}
	answer_len = fate & 16 ? 4 * (next_byte(script) & 63) : ctl_len(hdr->type);
	for (n = fate & 3; n--;)
		answer[next_byte(script) % sizeof(answer)] ^= 1 << (next_byte(script) & 7);
}

static void send_request(u32 other, const void *request, size_t size)
{
	u8 fate = next_byte(script), msg[U4_CTL_PACKET_MAX], *exact;

	CHECK(size <= sizeof(msg), "request of %zu bytes", size);
	answer_len = 0;
	if (answering) {
		memcpy(msg, request, size);
		reroute(msg, &xdomains[other]);
		CHECK(ctl_callback(msg, size, NULL) == 1, "a packet with our UUID is not taken");
		run_answers(other);
		if (!answer_len) {
			const struct u4_ctl_hdr *hdr = (void *)msg;

			CHECK(xdomains[other].is_unplugged || links[other].gone ||
			      (hdr->type != U4_CTL_HELLO &&
			       le64_to_cpu(hdr->to) != links[other].token),
			      "an honest request is not answered");
			return;
		}
		reroute(answer, &xdomains[!other]);
	} else {
		any_reply(request, fate);
	}
	if (fate == 0xff)
		return;
	if (((struct u4_ctl_hdr *)past)->req_id != ((const struct u4_ctl_hdr *)request)->req_id)
		ctl_callback(past, past_len, NULL);
	memcpy(past, answer, sizeof(past));
	past_len = answer_len;
	exact = malloc(answer_len ? answer_len : 1);
	memcpy(exact, answer, answer_len);
	CHECK(ctl_callback(exact, answer_len, NULL) == 1, "a packet with our UUID is not taken");
	/* Another one that fits as well; the first one counts. */
	if (fate & 128 && answer_len > sizeof(struct u4_ctl_hdr))
		exact[answer_len - 1] ^= 1;
	ctl_callback(exact, answer_len, NULL);
	free(exact);
}

int tb_xdomain_request(struct tb_xdomain *xd, const void *request, size_t size,
		       enum tb_cfg_pkg_type type, void *response, size_t response_size,
		       enum tb_cfg_pkg_type response_type, unsigned int timeout_msec)
{
	u32 i = xd == &xdomains[1];

	(void)response_type, (void)timeout_msec;
	CHECK(!links[i].lock.held, "a message is sent under a lock");
	CHECK(!response && !response_size, "the core is asked to match a reply");
	if (type == TB_CFG_PKG_XDOMAIN_RESP)
		send_reply(&links[i], request, size);
	else
		send_request(!i, request, size);
	return 0;
}

/* ---- what may change ---- */

struct facts {
	u64	token, peer_token, epoch, instance;
	bool	authorized, gone, leaving;
	u32	rx_tag, tx_tag, phase, version, to_peer, relay_seq;
	int	out_hopid;
	u8	host_id[16];
};

static struct facts facts_of(const struct u4_link *link)
{
	struct facts f;

	memset(&f, 0, sizeof(f));
	f.token = link->token;
	f.peer_token = link->peer_token;
	f.epoch = link->epoch;
	f.instance = link->instance;
	f.authorized = link->authorized;
	f.gone = link->gone;
	f.leaving = link->leaving;
	f.rx_tag = link->facts.rx_tag;
	f.tx_tag = link->facts.tx_tag;
	f.phase = link->facts.phase;
	f.version = link->version;
	f.to_peer = u4_msgq_len(&link->to_peer);
	f.relay_seq = link->relay_seq;
	f.out_hopid = link->facts.out_hopid;
	memcpy(f.host_id, link->host_id, 16);
	return f;
}

static void check_unmoved(const struct u4_link *link, const struct facts *before)
{
	struct facts now = facts_of(link);

	CHECK(!memcmp(&now, before, sizeof(now)), "what a peer said became a fact");
	CHECK(u4_msgq_len(&link->to_daemon) <= USB4_RDMA_MSG_QUEUE, "queue to the daemon");
	CHECK(link->packet_head - link->packet_tail <= U4_CTL_QUEUE, "queue of requests");
}

/* A request to link 0, from a stranger or from one who knows some of what it takes. */
static void request(struct script *s)
{
	u8 honest = next_byte(s), type = next_byte(s), cut = next_byte(s);
	struct u4_link *link = &links[0];
	struct u4_ctl_relay msg = {};	/* the longest; the others overlay it */
	struct u4_ctl_hello *hello = (void *)&msg;
	struct u4_ctl_path *path = (void *)&msg;
	u32 seen = link->relay_seen, queue = u4_msgq_len(&link->to_daemon), n;
	bool known, want, alone = link->packet_head == link->packet_tail;
	struct facts before = facts_of(link);
	size_t size;
	u8 *exact;
	int ret;

	next_bytes(s, &msg, 84);
	if (honest & 1)
		reroute(&msg, link->xd);
	if (honest & 2)
		memcpy(msg.hdr.proto, ctl_proto(link, false), sizeof(msg.hdr.proto));
	if (honest & 4)
		msg.hdr.to = cpu_to_le64(link->token);
	if (honest & 8)
		msg.hdr.from = cpu_to_le64(link->peer_token);
	if (honest & 16) {
		msg.hdr.type = 1 + type % 5;
		msg.hdr.status = 0;
	}
	if (honest & 32 && msg.hdr.type == U4_CTL_HELLO) {
		memcpy(hello->src_uuid, link->xd->remote_uuid, 16);
		memcpy(hello->dst_uuid, link->xd->local_uuid, 16);
	}
	if (honest & 32 && msg.hdr.type == U4_CTL_RELAY) {
		msg.seq = cpu_to_le32(seen + (type & 32 ? 0 : 1));
		msg.len = cpu_to_le16(type % (U4_CTL_RELAY_MAX + 8));
		msg.reserved = 0;
		memset(msg.data, type, sizeof(msg.data));
	}
	if (honest & 32 && msg.hdr.type == U4_CTL_READY) {
		path->tag = cpu_to_le32(link->facts.tx_tag);
		path->peer_tag = cpu_to_le32(link->facts.rx_tag);
	}
	size = ctl_len(msg.hdr.type);
	if (!size || cut & 128)
		size = cut * 2;
	known = link->peer_token && le64_to_cpu(msg.hdr.from) == link->peer_token;
	want = alone && !link->gone && known && !link->xd->is_unplugged &&
	       size == sizeof(msg) && msg.hdr.type == U4_CTL_RELAY && !msg.hdr.status &&
	       (honest & 7) == 7 && le16_to_cpu(msg.len) <= U4_CTL_RELAY_MAX && msg.len &&
	       !msg.reserved && le32_to_cpu(msg.seq) == seen + 1 && queue < USB4_RDMA_MSG_QUEUE;

	exact = malloc(size ? size : 1);
	memcpy(exact, &msg, min(size, sizeof(msg)));
	if (size > sizeof(msg))
		memset(exact + sizeof(msg), cut, size - sizeof(msg));
	answers = 0;
	ret = ctl_callback(exact, size, NULL);
	free(exact);
	CHECK(ret == 1, "a packet with our UUID is not taken");
	check_unmoved(link, &before);
	if (!(cut & 1) && !want)
		return;				/* answered later, with others */
	run_answers(0);
	check_unmoved(link, &before);
	n = u4_msgq_len(&link->to_daemon);
	CHECK(want || !alone || n == queue, "a message for the daemon comes from nowhere");
	if (want) {
		const struct u4_msg *last =
			&link->to_daemon.msg[(link->to_daemon.head - 1) % USB4_RDMA_MSG_QUEUE];

		CHECK(answers == 1 && n == queue + 1, "a message for the daemon is lost");
		CHECK(last->len == le16_to_cpu(msg.len) && !memcmp(last->data, msg.data, last->len),
		      "a message for the daemon is another one");
		CHECK(link->relay_seen == seen + 1, "number of the message");
	}
}

static void ask(struct script *s, u8 what)
{
	struct u4_link *link = &links[0], *peer = &links[1];
	u64 token = link->peer_token;
	int ret;

	if (what & 8 && !link->gone && !peer->gone) {
		/* The peer answers, and both know each other. */
		answering = true;
		run_answers(1);
	}
	if (what & 1) {
		struct u4_ctl_hello reply;

		ret = u4_ctl_hello(link, &reply);
		if (answering && !ret) {
			CHECK(le64_to_cpu(reply.hdr.from) == peer->token, "token in HELLO");
			CHECK(!memcmp(reply.host_id, u4_host_id, 16) &&
			      le64_to_cpu(reply.epoch) == u4_epoch, "facts in HELLO");
			CHECK(le16_to_cpu(reply.version_min) == U4_WIRE_VERSION_MIN, "version");
			link->peer_token = peer->token;
			peer->peer_token = link->token;
		}
		if (!ret)
			CHECK(!memcmp(&reply, answer, sizeof(reply)), "not the first reply");
		if (!ret)
			CHECK(reply.hdr.from && reply.epoch &&
			      !memcmp(reply.src_uuid, link->xd->remote_uuid, 16) &&
			      !memcmp(reply.dst_uuid, link->xd->local_uuid, 16) &&
			      reply.version_min <= reply.version_max,
			      "HELLO of another host is believed");
	} else if (what & 2) {
		struct u4_msg msg = { .len = 1 + next_byte(s) % USB4_RDMA_MSG_MAX };
		u32 queue = u4_msgq_len(&peer->to_daemon), seen = peer->relay_seen;
		bool known = answering && token == peer->token &&
			     peer->peer_token == link->token && !link->xd->is_unplugged &&
			     !peer->xd->is_unplugged;

		memset(msg.data, what, sizeof(msg.data));
		ret = u4_ctl_relay(link, &msg, seen + 1);
		if (known && !ret)
			CHECK(u4_msgq_len(&peer->to_daemon) == queue + 1 &&
			      peer->relay_seen == seen + 1, "a relayed message");
		if (known && queue == USB4_RDMA_MSG_QUEUE)
			CHECK(ret == -EBUSY || ret == -ETIMEDOUT, "a full queue says %d", ret);
	} else {
		struct u4_ctl_path msg = {
			.tag = cpu_to_le32(link->facts.rx_tag),
			.peer_tag = cpu_to_le32(link->facts.tx_tag),
		};
		enum u4_ctl_type type = U4_CTL_OPEN + (what >> 4) % 3;

		ret = u4_ctl_path(link, type, &msg);
		if (!ret)
			CHECK(!memcmp(&msg, answer, sizeof(msg)), "not the first reply");
		if (answering && !ret && type == U4_CTL_OPEN)
			CHECK(peer->authorized && le32_to_cpu(msg.tag) == peer->facts.rx_tag,
			      "OPEN");
		if (answering && !ret && type == U4_CTL_READY)
			CHECK(peer->authorized && peer->facts.phase >= U4_PHASE_UP, "READY");
	}
	if (!answering && !ret) {
		const struct u4_ctl_hdr *hdr = (void *)answer;

		CHECK(hdr->type == U4_CTL_HELLO + U4_CTL_REPLY ||
		      (hdr->type & U4_CTL_REPLY && hdr->from == cpu_to_le64(link->peer_token)),
		      "a stranger's reply is believed");
		CHECK(hdr->type & U4_CTL_REPLY && hdr->to == cpu_to_le64(link->token) &&
		      le32_to_cpu(hdr->req_id) == link->req_id && !hdr->status,
		      "a reply to something else is believed");
	}
	answering = false;
}

/* What the host's own side does meanwhile. */
static void change(struct script *s, u8 what)
{
	struct u4_link *link = &links[(what >> 4) & 1];

	switch (what & 15) {
	case 0:
		link->authorized = !link->authorized;
		break;
	case 1:
		link->facts.phase = next_byte(s) % 4;
		break;
	case 2:
		link->facts.rx_tag = next_byte(s) + 1;
		link->facts.tx_tag = next_byte(s);
		link->facts.out_hopid = 8 + (next_byte(s) & 7);
		break;
	case 3:
		link->peer_token = next_byte(s) & 1 ? 0 : links[link == &links[0]].token;
		break;
	case 4:
		link->to_daemon.tail = link->to_daemon.head;
		break;
	case 5:
		link->peer_closed = link->hinted = link->rehello = false;
		break;
	case 6:
		link->gone = true;
		break;
	case 7:
		link->xd->is_unplugged = true;
		break;
	case 8:
		run_answers(link == &links[1]);
		break;
	case 9:
		link->token++;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };
	u32 i;

	script = &s;
	memset(links, 0, sizeof(links));
	memset(queued, 0, sizeof(queued));
	memset(answer, 0, sizeof(answer));
	past_len = 0;
	INIT_LIST_HEAD(&u4_links);
	u4_ctl_init();
	for (i = 0; i < 2; i++) {
		struct u4_link *link = &links[i];

		xdomains[i] = (struct tb_xdomain){ &uuids[i], &uuids[!i], 0x100000001ull + i };
		link->xd = &xdomains[i];
		link->token = 0x1111111111111111ull * (i + 1);
		link->version = 1;
		link->facts.out_hopid = 8;
		INIT_WORK(&link->answer_work, u4_ctl_answer_work);
		list_add_tail(&link->node, &u4_links);
	}
	while (s.at < s.end) {
		u8 what = next_byte(&s);

		switch (what & 7) {
		case 0:
			change(&s, next_byte(&s));
			break;
		case 1:
			ask(&s, what >> 3);
			break;
		default:
			request(&s);
		}
	}
	return 0;
}
