/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What link/ offers to the layers above it: peers, rails, and the frames that
 * travel on a rail. Nothing above this header knows of Thunderbolt; nothing
 * below it knows of queue pairs. The layers above register one struct
 * u4_client_ops; that is the only way back.
 *
 * Contexts: "process" may sleep; "softirq" runs with bottom halves off, in the
 * rail's NAPI poll (or the loop rail's work). Rails are RCU objects: a rail
 * found with u4_peer_rail() may be used until rcu_read_unlock(); a softirq
 * section counts as one.
 */
#ifndef U4_LINK_H
#define U4_LINK_H

#include <linux/device.h>
#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>
#include <linux/types.h>
#include <rdma/usb4_rdma.h>

#include "../wire.h"

#define U4_MAX_RAILS	8	/* cables of one peer */
#define U4_PEER_COUNTERS 22	/* of a rail, see u4_peer_counter_names[] */

struct u4_rail;
struct u4_slot;

/**
 * struct u4_peer - a host that was authorised in this boot
 * @dev: parent of the RDMA device and the network interface
 * @index: N of usb4rdmaN and u4rdmaN
 * @identity: named by the authorisation
 * @local: our own identity, as the first authorisation gave it
 * @rails: active rails; RCU, written under the link core's lock
 * @loop: the rail that leads back to ourselves, there as long as the peer
 * @netdev: network interface, set by the link core before peer_add()
 * @client: for the layer above: set by peer_add(), its own since
 *
 * The fields below @client are the link core's own: @nrails is the length of
 * @rails, written under the core's lock; @users counts rails that were made;
 * @past holds the counters of rails that are no more; @live has the rails that
 * were visible once and are not halted yet; @go_work takes the devices away once
 * the peer is forgotten, after which @gone is completed.
 */
struct u4_peer {
	struct device		dev;
	int			index;
	u8			identity[USB4_RDMA_IDENTITY_LEN];
	u8			local[USB4_RDMA_IDENTITY_LEN];
	struct u4_rail __rcu	*rails[U4_MAX_RAILS];
	struct u4_rail		*loop;
	struct net_device	*netdev;
	void			*client;

	u8			host_id[USB4_RDMA_HOST_ID_LEN];
	u64			epoch;
	unsigned int		links;
	unsigned int		nrails;
	atomic_t		users;
	u64			past[U4_PEER_COUNTERS];
	struct list_head	node;
	struct list_head	live;
	struct work_struct	go_work;
	struct completion	gone;
	char			ibdev[64];
};

/**
 * struct u4_run - placement state of the run that a rail receives
 *
 * Private to the layer above; one per rail, zeroed when the rail is made. The
 * link core guarantees that the upcalls of one rail never run at once.
 */
struct u4_run {
	u64	priv[16];
};

/**
 * struct u4_client_ops - upcalls of the link core
 * @peer_add: process. A peer was authorised for the first time: make its device
 *	(peer->netdev exists and is registered). An error refuses the authorisation
 * @peer_remove: process. No rails are left. Undo peer_add(); may wait for
 *	grace periods but never for programs, other than for a page of theirs that is
 *	being fetched
 * @peer_reset: process. The peer's epoch changed: connections with it are lost
 * @rail_up: process. @rail has become visible to u4_peer_rail(). May sleep
 * @rail_down: process. @rail is no longer visible and no upcall runs or will
 *	run for it; its rings are stopped, all u4_ref of it are released. Waiters
 *	have been called
 * @rx_header: softirq. A header frame of kind XP: @data points behind struct
 *	u4_link_hdr, @len bytes; @nraw raw frames follow. @data is only valid
 *	during the call. When @nraw is not 0 the layer above sets up rail's run and
 *	is told by rx_raw() and then, always, by one rx_confirm()
 * @rx_raw: softirq. Raw frame number @idx (from 0) of the run, @len bytes
 * @rx_confirm: softirq (or process at teardown, with @ok false). The run is over:
 *	@ok says that none of its frames was lost. The confirmation of a run comes
 *	before the header that confirmed it
 * @rx_lost: softirq. Frames of this rail were lost (after rx_confirm(false) if a
 *	run was under way)
 * @rx_batch_end: softirq. A batch of upcalls is over: send acknowledgements
 */
struct u4_client_ops {
	int  (*peer_add)(struct u4_peer *peer);
	void (*peer_remove)(struct u4_peer *peer);
	void (*peer_reset)(struct u4_peer *peer);
	void (*rail_up)(struct u4_peer *peer, struct u4_rail *rail);
	void (*rail_down)(struct u4_peer *peer, struct u4_rail *rail);
	void (*rx_header)(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
			  const void *data, unsigned int len, unsigned int nraw);
	void (*rx_raw)(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		       unsigned int idx, const void *data, unsigned int len);
	void (*rx_confirm)(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
			   bool ok);
	void (*rx_lost)(struct u4_peer *peer, struct u4_rail *rail);
	void (*rx_batch_end)(struct u4_peer *peer, struct u4_rail *rail);
};

/* Module life: the link core is started once, with the ops of the layer above. */
int u4_link_init(const struct u4_client_ops *ops);
void u4_link_exit(void);

/* Call @fn for each peer, under the mutex that keeps peers; may sleep. */
void u4_peer_for_each(void (*fn)(struct u4_peer *peer, void *data), void *data);

/* The peer's device is registered (or gone): shown in sysfs and uevents. */
void u4_peer_set_ibdev(struct u4_peer *peer, const char *name);

/**
 * struct u4_port_speed - what the cables of a peer can carry
 * @rails: active rails
 * @lane_bps: bits per second of one lane of the fastest rail
 * @lanes: lanes of all rails together
 * @total_bps: bits per second of all rails together
 */
struct u4_port_speed {
	unsigned int	rails;
	u64		lane_bps;
	unsigned int	lanes;
	u64		total_bps;
};

void u4_peer_speed(struct u4_peer *peer, struct u4_port_speed *speed);

/* Counters of all rails that a peer has and had, summed up. Process context. */
extern const char u4_peer_counter_names[U4_PEER_COUNTERS][ETH_GSTRING_LEN];
void u4_peer_counters(struct u4_peer *peer, u64 *values);

/**
 * u4_peer_rail() - pick the rail that carries a flow
 * @peer: the peer
 * @flow: equal values pick the same rail while the set of rails stays the same
 *
 * Return: an active rail, %NULL when the peer has none. Under rcu_read_lock().
 */
struct u4_rail *u4_peer_rail(struct u4_peer *peer, u32 flow);

/* The device that frames of this rail are mapped for; NULL for the loop rail. */
struct device *u4_rail_dma_device(const struct u4_rail *rail);
/*
 * May a rail of this peer, visible or about to be halted, still have frames for @dma_dev
 * in its ring? False from that rail's rail_down() on. Process context.
 */
bool u4_peer_uses(struct u4_peer *peer, const struct device *dma_dev);
/* Reset of a rail whose frames do not come back in time; any context. */
void u4_rail_reset(struct u4_rail *rail, const char *why);

/**
 * struct u4_ref - counts the raw frames that read someone's memory in place
 * @frames: users. Its owner starts it at 1 and may take more; u4_rail_send() adds
 *	the raw frames of the burst, and each is taken off (u4_ref_put()) when the
 *	ring has read it or given it up. One u4_ref serves many bursts at once
 * @release: called when @frames falls to 0; softirq or process
 */
struct u4_ref {
	atomic_t	frames;
	void		(*release)(struct u4_ref *ref);
};

static inline void u4_ref_put(struct u4_ref *ref)
{
	if (atomic_dec_and_test(&ref->frames))
		ref->release(ref);
}

/**
 * struct u4_burst - a header frame and its raw frames, reserved on a rail
 * @rail: where
 * @payload: room behind struct u4_link_hdr in the header frame, filled by the
 *	caller; U4_FRAME_SIZE - sizeof(struct u4_link_hdr) bytes
 * @nraw: raw frames reserved
 * @mark: set by u4_rail_send(), for u4_rail_has_read(); 0 on the loop rail
 * @slot: the link core's own
 */
struct u4_burst {
	struct u4_rail	*rail;
	void		*payload;
	unsigned int	nraw;
	u64		mark;
	struct u4_slot	*slot[1 + U4_RAW_MAX];
};

/**
 * u4_rail_get() - reserve a burst
 * @rail: where; under RCU
 * @nraw: raw frames, 0 to U4_RAW_MAX
 * @burst: filled in
 *
 * Any context with bottom halves off. Each reserved burst is either sent or
 * put back, before the RCU section ends.
 *
 * Return: 0; %-EAGAIN without ring space or credits (see u4_rail_wait());
 * %-ENOLINK when the rail is going down.
 */
int u4_rail_get(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst);
void u4_rail_put(struct u4_burst *burst);

/* Buffer of raw frame @i, U4_FRAME_SIZE bytes, to copy into; then set its length. */
void *u4_burst_buf(struct u4_burst *burst, unsigned int i);
void u4_burst_set_len(struct u4_burst *burst, unsigned int i, unsigned int len);

/**
 * u4_burst_set_page() - let raw frame @i be read from memory in place
 * @burst: the burst
 * @i: which raw frame
 * @page: for the loop rail, which copies
 * @offset: in the page; @offset + @len must not pass the page's end
 * @len: 1 to U4_FRAME_SIZE
 * @dma: the same memory as mapped for u4_rail_dma_device(); unused by the loop rail
 */
void u4_burst_set_page(struct u4_burst *burst, unsigned int i, struct page *page,
		       unsigned int offset, unsigned int len, dma_addr_t dma);

/**
 * u4_rail_send() - send a reserved burst
 * @burst: header frame and raw frames, all filled
 * @kind: enum u4_kind
 * @len: bytes of @burst->payload
 * @ref: when not %NULL, counts the raw frames that u4_burst_set_page() gave
 * @more: the caller will send again at once, so no confirmation is needed yet
 *
 * Frames of one caller leave in the order of the calls. After the last burst
 * with raw frames (@more false) the link core sees to it that a header frame
 * follows which confirms the run.
 */
void u4_rail_send(struct u4_burst *burst, enum u4_kind kind, unsigned int len,
		  struct u4_ref *ref, bool more);

/*
 * Has the ring of @rail read, or given up, all frames of the burst whose sending set @mark? It
 * is known as late as the poll finds it out. Any context, until the rail's rail_down().
 */
bool u4_rail_has_read(const struct u4_rail *rail, u64 mark);
/* Find it out now. Under RCU, bottom halves off, no lock of the layers above held. */
void u4_rail_look(struct u4_rail *rail);

/**
 * struct u4_waiter - wants to be called when a rail has room again
 * @node: the link core's own; init with INIT_LIST_HEAD()
 * @rail: where it waits, the link core's own
 * @fn: softirq; called once per u4_rail_wait(), also when the rail goes down
 */
struct u4_waiter {
	struct list_head	node;
	struct u4_rail		*rail;
	void			(*fn)(struct u4_waiter *waiter);
};

/*
 * Queue a waiter (FIFO); false when it is queued already. @nraw of the failed
 * u4_rail_get() is not needed: the waiter tries again when called.
 */
bool u4_rail_wait(struct u4_rail *rail, struct u4_waiter *waiter);
/* Take it off; false when it was not queued (its @fn ran or may run now). */
bool u4_rail_unwait(struct u4_waiter *waiter);

/* The run that @rail receives; only for the upcalls. */
struct u4_run *u4_rail_run(struct u4_rail *rail);

#endif /* U4_LINK_H */
