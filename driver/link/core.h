/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the link core: links, and what its files share. A link is one cable
 * as the Thunderbolt service device shows it; it comes and goes with the cable.
 *
 * Who does what: link.c is the state machine and the only place that sends
 * requests, in the link's own work; control.c speaks the control protocol;
 * open.c opens and closes the data path; service.c binds to the service;
 * chardev.c and sysfs.c are the daemon's interface; peer.c keeps the peers.
 */
#ifndef U4_CORE_H
#define U4_CORE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/thunderbolt.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "control.h"
#include "link.h"

#define U4_MAX_LINKS	64
#define U4_CTL_QUEUE	8	/* received requests that wait for an answer */

#define U4_REQUEST_TIMEOUT_MS	1000u
#define U4_RETRY_MIN_MS		20
#define U4_RETRY_MAX_MS		3000
#define U4_PACE_MAX_MS		5000
#define U4_LASTING_MS		1000	/* so long active is no brief life */
#define U4_READY_TIMEOUT_MS	8000	/* peer said OPEN, but never READY */
#define U4_DRAIN_MS		100

/**
 * enum u4_phase - how far the data path of an authorised link is
 * @U4_PHASE_NONE: no rail
 * @U4_PHASE_MADE: rings and HopID are there: OPEN is answered with them
 * @U4_PHASE_UP: ring filled, path enabled: READY is answered with yes
 * @U4_PHASE_ACTIVE: the peer said the same; the rail is in use
 */
enum u4_phase {
	U4_PHASE_NONE,
	U4_PHASE_MADE,
	U4_PHASE_UP,
	U4_PHASE_ACTIVE,
};

/**
 * struct u4_msg - a message between the daemons
 * @len: bytes of @data
 * @data: the message
 */
struct u4_msg {
	unsigned int	len;
	u8		data[USB4_RDMA_MSG_MAX];
};

/**
 * struct u4_msgq - bounded FIFO of messages, under the link's lock
 * @head: next to put
 * @tail: next to get
 * @msg: slots
 */
struct u4_msgq {
	unsigned int	head, tail;
	struct u4_msg	msg[USB4_RDMA_MSG_QUEUE];
};

/**
 * struct u4_packet - a received control message
 * @len: bytes
 * @buf: as it came
 */
struct u4_packet {
	unsigned int	len;
	u32		buf[U4_CTL_PACKET_MAX / 4];
};

/**
 * struct u4_retry - when to try again
 * @due: jiffies
 * @delay_ms: the delay after the next failure
 */
struct u4_retry {
	unsigned long	due;
	unsigned int	delay_ms;
};

/**
 * struct u4_facts - our end of the data path, as OPEN and READY are answered
 * @phase: how far we are
 * @rx_tag: our rail's tag, 0 without a rail
 * @tx_tag: the peer's, 0 while unknown
 * @out_hopid: where we transmit
 * @hopid_min: the peer asked for a HopID from here on
 */
struct u4_facts {
	enum u4_phase	phase;
	u32		rx_tag;
	u32		tx_tag;
	int		out_hopid;
	int		hopid_min;
};

/**
 * struct u4_link - one cable
 * @dev: class device; its reference count is the link's
 * @cdev: /dev/usb4rdma/linkN
 * @svc: service, referenced
 * @xd: XDomain, referenced; outlives .remove
 * @index: N of linkN
 * @node: in u4_links, under u4_links_lock
 * @token: ours for this link
 * @busy: the character device is open
 * @wait: readers, writers, who waits for the gate to close or for a reply
 *
 * @lock: protects what follows; a leaf, process context only
 * @state: enum usb4_rdma_link_state
 * @gone: the service was removed
 * @leaving: the module is about to go: say BYE and close
 * @suspended: the system sleeps
 * @authorized: the gate
 * @rehello: someone says the peer is another one: ask it
 * @peer_closed: the peer closed its end
 * @hinted: the peer asked for something: retry without delay
 * @instance: counts completed handshakes
 * @peer_token: the peer's token, 0 before the handshake
 * @host_id: the peer's
 * @epoch: the peer's
 * @peer_version_min: the peer's
 * @peer_version_max: the peer's
 * @version: in use, 0 when there is none in common
 * @peer: authorised as, referenced; %NULL while not authorised
 * @identity: named by the last authorisation
 * @named: @identity is valid
 * @facts: our end of the data path
 * @to_peer: messages to the peer's daemon
 * @to_daemon: messages for our daemon
 * @relay_seq: of the message at the head of @to_peer
 * @relay_seen: of the last message taken from the peer
 * @packets: received requests, FIFO
 * @packet_head: next to put
 * @packet_tail: next to answer
 * @req_id: of the last request that @work sent
 * @awaited: type of the reply for which @work waits, 0 when it does not
 * @reply: that reply; @reply.len is 0 until it has come
 *
 * @event_lock: sending an uevent, against the device going; a leaf
 * @send_lock: sending a control message; once it was free after @gone, none is sent
 * @hw_lock: making, starting and halting the rail, with the upcalls rail_up() and
 *	rail_down(); never held across path calls, requests, or rtnl
 * @rail: under @hw_lock
 *
 * @work: the state machine; the fields below are its own, but for @rail_up, which
 *	is under @hw_lock
 * @answer_work: answers received requests
 * @done: @work will not run again
 * @gone_done: completed with @done
 * @out_hopid: allocated, or -1
 * @in_hopid: allocated, or -1
 * @tx_hop: ring of the transmit path, while @paths_on
 * @rx_hop: ring of the receive path
 * @paths_on: paths are enabled
 * @rail_up: the layer above was told
 * @hello: back-off of HELLO
 * @open: back-off of OPEN and READY
 * @relay: back-off of RELAY
 * @pace: back-off of opening again what was soon closed, or failed
 * @ready_since: jiffies, when phase UP was reached
 * @active_since: jiffies, when phase ACTIVE was reached
 * @hopid_ask: HopID from which the peer should choose
 * @told_no_ring: the lack of rings was logged
 */
struct u4_link {
	struct device		dev;
	struct cdev		cdev;
	struct tb_service	*svc;
	struct tb_xdomain	*xd;
	int			index;
	struct list_head	node;
	u64			token;
	unsigned long		busy;
	wait_queue_head_t	wait;

	spinlock_t		lock;
	enum usb4_rdma_link_state state;
	bool			gone;
	bool			leaving;
	bool			suspended;
	bool			authorized;
	bool			rehello;
	bool			peer_closed;
	bool			hinted;
	u64			instance;
	u64			peer_token;
	u8			host_id[USB4_RDMA_HOST_ID_LEN];
	u64			epoch;
	u16			peer_version_min;
	u16			peer_version_max;
	u16			version;
	struct u4_peer		*peer;
	u8			identity[USB4_RDMA_IDENTITY_LEN];
	bool			named;
	struct u4_facts		facts;
	struct u4_msgq		to_peer;
	struct u4_msgq		to_daemon;
	u32			relay_seq;
	u32			relay_seen;
	struct u4_packet	packets[U4_CTL_QUEUE];
	unsigned int		packet_head;
	unsigned int		packet_tail;
	u32			req_id;
	u8			awaited;
	struct u4_packet	reply;

	struct mutex		send_lock;
	struct mutex		hw_lock;
	struct mutex		event_lock;
	struct u4_rail		*rail;

	struct delayed_work	work;
	struct work_struct	answer_work;
	bool			done;
	struct completion	gone_done;
	int			out_hopid;
	int			in_hopid;
	int			tx_hop;
	int			rx_hop;
	bool			paths_on;
	bool			rail_up;
	struct u4_retry		hello;
	struct u4_retry		open;
	struct u4_retry		relay;
	struct u4_retry		pace;
	unsigned long		ready_since;
	unsigned long		active_since;
	int			hopid_ask;
	bool			told_no_ring;
};

/* Who we are, drawn at module load. */
extern u8 u4_host_id[USB4_RDMA_HOST_ID_LEN];
extern u64 u4_epoch;

extern const struct u4_client_ops *u4_client;
extern struct workqueue_struct *u4_wq;
extern const struct class u4_class;

/* link.c: state machine, and entry points that only leave it word */
extern const char *const u4_state_names[];
void u4_link_kick(struct u4_link *link);
void u4_link_work(struct work_struct *work);
void u4_link_changed(struct u4_link *link);
int u4_link_authorize(struct u4_link *link, const struct usb4_rdma_authorize *cmd);
int u4_link_deauthorize(struct u4_link *link);
void u4_link_void(struct u4_link *link);
unsigned int u4_link_lanes(const struct tb_xdomain *xd);
void u4_retry_reset(struct u4_retry *retry);

/* service.c: the set of links */
extern spinlock_t u4_links_lock;
extern struct list_head u4_links;
int u4_link_for_each(int (*fn)(struct u4_link *link, void *data), void *data);

/* open.c: steps of the data path; only from the link's work */
int u4_open_step(struct u4_link *link);
void u4_open_halt(struct u4_link *link, struct u4_rail *rail);
void u4_open_close(struct u4_link *link, u32 flags, bool tell);

/* control.c */
int u4_ctl_init(void);
void u4_ctl_exit(void);
void u4_ctl_answer_work(struct work_struct *work);
int u4_ctl_hello(struct u4_link *link, struct u4_ctl_hello *reply);
int u4_ctl_relay(struct u4_link *link, const struct u4_msg *msg, u32 seq);
int u4_ctl_path(struct u4_link *link, enum u4_ctl_type type, struct u4_ctl_path *msg);

/* msgq: under the link's lock */
static inline unsigned int u4_msgq_len(const struct u4_msgq *q)
{
	return READ_ONCE(q->head) - READ_ONCE(q->tail);
}

static inline bool u4_msgq_put(struct u4_msgq *q, const void *data, unsigned int len)
{
	struct u4_msg *msg = &q->msg[q->head % USB4_RDMA_MSG_QUEUE];

	if (u4_msgq_len(q) == USB4_RDMA_MSG_QUEUE)
		return false;
	memcpy(msg->data, data, len);
	msg->len = len;
	q->head++;
	return true;
}

static inline struct u4_msg *u4_msgq_first(struct u4_msgq *q)
{
	return u4_msgq_len(q) ? &q->msg[q->tail % USB4_RDMA_MSG_QUEUE] : NULL;
}

/* chardev.c */
int u4_chardev_init(void);
void u4_chardev_exit(void);
int u4_chardev_add(struct u4_link *link);
void u4_chardev_del(struct u4_link *link);

/* sysfs.c */
extern const struct attribute_group *u4_link_groups[];
void u4_link_uevent(struct u4_link *link);

/* peer.c */
extern struct mutex u4_peer_mutex;
int u4_peer_init(void);
void u4_peer_exit(void);
struct u4_peer *u4_peer_get(const u8 *identity, const u8 *local, const u8 *host_id, u64 epoch);
void u4_peer_unlink(struct u4_peer *peer);
void u4_peer_hold(struct u4_peer *peer);
void u4_peer_release(struct u4_peer *peer);
int u4_peer_forget(const u8 *identity);
int u4_peer_describe(unsigned int index, struct usb4_rdma_peer *desc);
void u4_peer_names(const u8 *identity, char *ibdev, size_t ibdev_len, char *netdev,
		   size_t netdev_len);
int u4_peer_add_rail(struct u4_peer *peer, struct u4_rail *rail);
void u4_peer_del_rail(struct u4_peer *peer, struct u4_rail *rail);
/* Its rings are stopped: no frame of it is still to be sent. */
void u4_peer_halted(struct u4_peer *peer, struct u4_rail *rail);
void u4_rail_counters(const struct u4_rail *rail, u64 *values);

/* debugfs.c */
void u4_debugfs_init(void);
void u4_debugfs_exit(void);

#endif /* U4_CORE_H */
