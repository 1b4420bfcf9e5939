/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of a rail: one TX and one RX ring to a peer, or the loop that leads
 * back to ourselves. For the files rail*.c, loop.c and net/ only; the layers
 * above use link.h.
 *
 * Three groups of fields, three owners: RX belongs to the rail's NAPI poll, TX
 * is under tx_lock, the rest does not change while the rail lives.
 */
#ifndef U4_RAIL_H
#define U4_RAIL_H

#include <linux/hrtimer.h>
#include <linux/thunderbolt.h>
#include <linux/workqueue.h>

#include "link.h"
#include "track.h"

#define U4_RING_SIZE		256	/* entries of each ring */
#define U4_RING_SLOTS		(U4_RING_SIZE - 1)	/* what a ring can hold */
#define U4_CREDIT_RESERVE	16	/* descriptors kept for frames of KIND_LINK */
#define U4_CREDIT_WINDOW	(U4_RING_SLOTS - U4_CREDIT_RESERVE)
#define U4_CREDIT_UPDATE	(U4_RING_SIZE / 4)	/* return credits after so many */
#define U4_LINK_SLOTS		8	/* TX slots kept for frames of KIND_LINK */
#define U4_BURST_MAX		(1 + U4_RAW_MAX)

#define U4_LOOP_SLOTS		128

#define U4_WAKE_ROOM		(3 * U4_BURST_MAX)	/* the most that waiters wait for */

#define U4_RX_MODERATION_NS	0
#define U4_TX_MODERATION_NS	16384	/* the interrupt is unmasked only when it is needed */

#define U4_WATCH_NS		(1 * NSEC_PER_MSEC)
#define U4_WATCH_LINGER		5	/* ticks after the last thing that happened, 1 to 16 ms */
#define U4_WATCH_NUDGE		8	/* ticks without any TX completion: send something, and */
#define U4_WATCH_STUCK		300	/* ticks without any TX completion: reset */
#define U4_PROBE_MIN		2	/* ticks without credits before the first probe */
#define U4_PROBE_MAX		64

struct u4_link;

/**
 * struct u4_rail_ops - what differs between a real rail and the loop
 * @get: u4_rail_get()
 * @put: u4_rail_put()
 * @send: u4_rail_send()
 * @kick: call the waiters if there is room; any context with bottom halves off
 */
struct u4_rail_ops {
	int  (*get)(struct u4_rail *rail, unsigned int nraw, struct u4_burst *burst);
	void (*put)(struct u4_burst *burst);
	void (*send)(struct u4_burst *burst, enum u4_kind kind, unsigned int len,
		     struct u4_ref *ref, bool more);
	void (*kick)(struct u4_rail *rail);
};

/**
 * struct u4_slot - one frame to send
 * @frame: what the ring wants
 * @rail: owner
 * @page: buffer of the slot
 * @dma: the same, mapped
 * @len: payload bytes
 * @ref: whom to tell when the ring has read it
 * @src: loop only: memory that is sent in place, or %NULL
 * @src_offset: where in @src
 * @posted: the ring owns it; under tx_lock
 * @in_place: sent from someone else's memory
 */
struct u4_slot {
	struct ring_frame	frame;
	struct u4_rail		*rail;
	struct page		*page;
	dma_addr_t		dma;
	unsigned int		len;
	struct u4_ref		*ref;
	struct page		*src;
	unsigned int		src_offset;
	bool			posted;
	bool			in_place;
};

/**
 * struct u4_rx_buf - one posted receive buffer
 * @frame: what the ring wants
 * @page: buffer
 * @dma: the same, mapped
 */
struct u4_rx_buf {
	struct ring_frame	frame;
	struct page		*page;
	dma_addr_t		dma;
};

/**
 * struct u4_net_run - the packet that a run of KIND_NET carries
 * @skb: filled so far, %NULL when the packet is dropped
 * @off: bytes filled
 * @len: bytes in all
 */
struct u4_net_run {
	struct sk_buff	*skb;
	unsigned int	off;
	unsigned int	len;
};

/**
 * struct u4_rx_stats - written by the NAPI poll alone
 * @frames: data frames that arrived
 * @bytes: their bytes
 * @crc: frames with the CRC flag
 * @overrun: frames with the overrun flag
 * @lost: frames that the count says were lost
 * @stale: frames with another instance's tag
 * @bad: frames that break a rule
 * @stray: raw frames without a run
 * @runs: runs confirmed
 * @runs_bad: runs with a loss
 * @polls: NAPI polls
 * @rescued: frames found by the watchdog, not by an interrupt
 */
struct u4_rx_stats {
	u64 frames, bytes, crc, overrun, lost, stale, bad, stray, runs, runs_bad, polls, rescued;
};

/**
 * struct u4_tx_stats - written under tx_lock
 * @frames: data frames sent
 * @bytes: their bytes
 * @headers: header frames among them
 * @updates: frames of KIND_LINK for credits
 * @confirms: frames of KIND_LINK for a run
 * @probes: frames of KIND_LINK that ask
 * @no_credit: u4_rail_get() refused for want of credits
 * @no_slot: u4_rail_get() refused for want of ring space
 * @canceled: frames that the ring gave back unsent
 * @nudges: frames of KIND_LINK that were sent to get a lost completion back
 */
struct u4_tx_stats {
	u64 frames, bytes, headers, updates, confirms, probes, no_credit, no_slot, canceled,
	    nudges;
};

/**
 * struct u4_rail - one cable to a peer, or the loop to ourselves
 * @ops: real rail or loop
 * @peer: whose
 * @link: the link that made it, %NULL for the loop
 * @dma_dev: frames are mapped for it, %NULL for the loop
 * @lane_bps: bits per second of one lane and direction
 * @lanes: lanes
 * @client_run: of the layer above
 *
 * @rx: receive ring
 * @rx_bufs: its buffers
 * @napi: the poll, on the peer's network interface
 * @rx_tag: what the peer stamps on its frames; drawn when the rail is made
 * @track: frame numbers and the run under way; its next is read when sending
 * @rx_kind: whose run it is: U4_KIND_NET or U4_KIND_XP
 * @rx_net: packet under way
 * @rx_answer: a probe came in this poll
 * @rx_masked: the ring's interrupt is masked: set by start_poll, cleared by the poll
 * @poll_cpu: CPU that runs the poll, or -1: what is sent from there passes the waiters
 * @rx_stats: counters
 *
 * @tx_lock: protects what follows; taken with bottom halves off, inside any lock
 *	of the layers above; tb_ring_tx() and tb_ring_poll() are called under it
 * @tx: send ring
 * @slots: its frames
 * @free: stack of slots that are neither reserved nor posted
 * @nfree: its height
 * @reserved: frames reserved and not sent yet
 * @posted: frames that the ring owns
 * @tx_seq: number of the next frame
 * @tx_limit: number that must not be reached; written by the poll
 * @tx_tag: what the peer wants stamped
 * @tx_window: credits at the start
 * @wake_room: waiters are called when there is room for so many frames
 * @advertised: track.next as the last header frame told it
 * @tx_open: bursts may be reserved
 * @unconfirmed: the last frame sent was a raw one
 * @tx_masked: the ring's interrupt is masked: set by start_poll, cleared by the poll
 * @late: frames that the ring refused, to be reaped like the others
 * @waiters: FIFO of struct u4_waiter
 * @completed: frames that the ring gave back, ever
 * @tx_stats: counters
 *
 * @watch: finds what was not signalled; runs while frames are out
 * @watch_on: it is armed; under tx_lock
 * @watch_hit: its tick asked for this poll
 * @closing: it must not be armed any more
 * @activity: counts what happened, for the linger
 * @watch_seen: @activity at the last tick
 * @watch_idle: ticks since then without anything out
 * @watch_polls: polls counted at the last tick
 * @watch_completed: @completed at the last tick
 * @watch_stuck: ticks without a completion while frames are out
 * @blocked: ticks without credits
 * @probe_at: value of @blocked at which the next probe is sent
 *
 * @retired: its counters were added to the peer's; under the rails' mutex
 * @halted: rings stopped, or about to be; under the link's hw_lock, set under @tx_lock too
 * @started: rings started; under the link's hw_lock
 * @polling: NAPI enabled; under the link's hw_lock
 * @loop: loop only: what it has beyond this
 * @reset_why: why u4_rail_reset() was called
 */
struct u4_rail {
	const struct u4_rail_ops *ops;
	struct u4_peer		*peer;
	struct u4_link		*link;
	struct device		*dma_dev;
	u64			lane_bps;
	unsigned int		lanes;
	struct list_head	live;
	struct u4_run		client_run;

	struct tb_ring		*rx;
	struct u4_rx_buf	*rx_bufs;
	struct napi_struct	napi;
	u32			rx_tag;
	struct u4_track		track;
	u8			rx_kind;
	struct u4_net_run	rx_net;
	bool			rx_answer;
	bool			rx_masked;
	int			poll_cpu;
	struct u4_rx_stats	rx_stats;

	spinlock_t		tx_lock ____cacheline_aligned_in_smp;
	struct tb_ring		*tx;
	struct u4_slot		*slots;
	struct u4_slot		**free;
	unsigned int		nfree;
	unsigned int		reserved;
	unsigned int		posted;
	u32			tx_seq;
	u32			tx_limit;
	u32			tx_tag;
	u32			tx_window;
	unsigned int		wake_room;
	u32			advertised;
	bool			tx_open;
	bool			unconfirmed;
	bool			tx_masked;
	struct list_head	late;
	struct list_head	waiters;
	u64			completed;
	struct u4_tx_stats	tx_stats;

	struct hrtimer		watch;
	bool			watch_on;
	bool			watch_hit;
	bool			closing;
	u32			activity;
	u32			watch_seen;
	unsigned int		watch_idle;
	u64			watch_polls;
	u64			watch_completed;
	unsigned int		watch_stuck;
	unsigned int		blocked;
	unsigned int		probe_at;

	bool			retired;
	bool			halted;
	bool			started;
	bool			polling;
	struct u4_loop		*loop;
	const char		*reset_why;
};

/* rail.c: life of a real rail; process context, under the link's hw_lock where said */
struct u4_rail *u4_rail_create(struct u4_link *link, struct u4_peer *peer);
void u4_rail_attach(struct u4_rail *rail);
void u4_rail_set_peer_end(struct u4_rail *rail, u32 tag, unsigned int credits);
int u4_rail_start(struct u4_rail *rail);	/* hw_lock */
void u4_rail_poll_start(struct u4_rail *rail);	/* hw_lock */
void u4_rail_open(struct u4_rail *rail);
void u4_rail_shut(struct u4_rail *rail);
bool u4_rail_drain(struct u4_rail *rail, unsigned int timeout_ms);
void u4_rail_halt(struct u4_rail *rail);	/* hw_lock */
void u4_rail_flush_waiters(struct u4_rail *rail);
void u4_rail_free(struct u4_rail *rail);

/* rail_rx.c */
int u4_rail_poll(struct napi_struct *napi, int budget);
void u4_rail_start_poll(void *data);
int u4_rail_rx_post(struct u4_rail *rail, struct u4_rx_buf *buf);
void u4_rail_rx_abort(struct u4_rail *rail);

/* rail_tx.c */
extern const struct u4_rail_ops u4_rail_hw_ops;
void u4_rail_tx_done(struct tb_ring *ring, struct ring_frame *frame, bool canceled);
void u4_rail_tx_reap(struct u4_rail *rail);
void u4_rail_tx_start_poll(void *data);
void u4_rail_tx_rearm(struct u4_rail *rail);
void u4_rail_tx_abandon(struct u4_rail *rail);
void u4_rail_credits(struct u4_rail *rail, u32 limit);
void u4_rail_update(struct u4_rail *rail);
void u4_rail_wake(struct u4_rail *rail);
bool u4_rail_room(const struct u4_rail *rail, unsigned int need);
enum hrtimer_restart u4_rail_watch(struct hrtimer *timer);
void u4_rail_watch_arm(struct u4_rail *rail);

/* loop.c */
struct u4_rail *u4_loop_create(struct u4_peer *peer);
void u4_loop_stop(struct u4_rail *rail);
void u4_loop_destroy(struct u4_rail *rail);

/* The layer above, set once by u4_link_init(). */
extern const struct u4_client_ops *u4_client;

#endif /* U4_RAIL_H */
