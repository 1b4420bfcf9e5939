/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An open RDMA device as the fuzzer sees it: a file descriptor, what was made through
 * it, and the rings that were mapped. No library is in between: commands go to the
 * device as bytes, so that each byte may be wrong.
 *
 * Several threads use one box on purpose without a lock: that a handle is gone when
 * it is used is part of the game.
 */
#ifndef U4_FUZZ_BOX_H
#define U4_FUZZ_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_rxe.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum kind { PD, MR, MW, CHANNEL, CQ, QP, SRQ, AH, XRCD, OTHER, NUM_KINDS };

#define MAX_THINGS	12
#define MAX_RINGS	96
#define ARENA		(8u << 20)

/* A mapped ring; slot and mask as the kernel gave them. */
struct ring {
	u8	*base;
	size_t	size;
	u32	slot, mask;
};

/* Something made; what is not of its kind is 0. */
struct thing {
	bool		used;
	u8		type;			/* QP: enum ib_uverbs_qp_type */
	u32		handle;
	u32		number;			/* QPN, ah_num, file descriptor */
	u32		lkey, rkey;
	u64		addr, len;
	struct ring	ring, recv;		/* CQ, SRQ: ring; QP: send queue and receives */
};

struct box {
	int		fd, async_fd;
	struct thing	things[NUM_KINDS][MAX_THINGS];
	struct ring	rings[MAX_RINGS];	/* all that were ever mapped; never unmapped */
	unsigned int	num_rings;
	u8		*arena;			/* memory to register, ARENA bytes */
	struct box	*other;			/* a second context of the same process */
};

/* What all processes know and count together. */
struct shared {
	u64	commands, accepted, ioctls, ioctls_accepted, wqes, doorbells, scribbles;
	u64	completions, good_completions;
	u64	made[NUM_KINDS];
	u64	connected, connected_peer;
	/* The canary's region: every right, but in another protection domain. */
	u64	canary_addr;
	u32	canary_lkey, canary_rkey, canary_pd;
	/* Where the other host may be reached. */
	u8	gid[16], peer_gid[16];
	u32	sgid_index;
	u32	peer_ip;			/* network order; 0: no peer */
};

extern struct shared *shared;
#define COUNT(field)	__atomic_fetch_add(&shared->field, 1, __ATOMIC_RELAXED)

/* rng.c: one stream a thread */
void rng_seed(u64 seed);
u64 rng_next(void);
u32 rnd(u32 n);
static inline bool chance(u32 n) { return !rnd(n); }
/* The canary and the peer do everything right. */
extern bool honest;
static inline bool mischief(u32 n) { return !honest && chance(n); }
/* A number that honest programs rarely use. */
u32 absurd(void);
/* Set some 32-bit fields to such numbers. */
void spoil(void *data, size_t len, unsigned int fields);

/* box.c */
bool box_open(struct box *box, const char *path, struct box *other);
/* One of this kind, mostly; NULL when none was made. */
struct thing *thing_any(struct box *box, enum kind kind);
u32 handle_any(struct box *box, enum kind kind);
struct thing *thing_new(struct box *box, enum kind kind, u32 handle);
/* Map a ring at what the kernel said. */
struct ring ring_map(struct box *box, u64 offset, u64 size);
/*
 * Send a command of the write interface. The first 8 bytes of a body are the place of the
 * answer, unless @resp is NULL. @fields of it are spoiled, or its lengths are. Returns
 * whether the kernel took it.
 */
bool command(struct box *box, u32 cmd, void *body, size_t len, void *resp, size_t resp_len,
	     unsigned int fields);
bool command_ex(struct box *box, u32 cmd, void *body, size_t len, void *resp, size_t resp_len,
		unsigned int fields);

/* objects.c: objects made, used and destroyed, more or less rightly */
void act(struct box *box);
bool make_pd(struct box *box, unsigned int fields);
bool make_mr(struct box *box, unsigned int fields);
bool make_cq(struct box *box, unsigned int fields);
bool make_qp(struct box *box, u8 type, unsigned int fields);
/* To RTS, and ready to talk to @qpn at @gid. */
bool qp_connect(struct box *box, const struct thing *qp, u32 qpn, const u8 *gid, u32 fields);
void doorbell(struct box *box, const struct thing *qp);

/* ioctls.c: the newer interface */
void act_ioctl(struct box *box);

/* queues.c: what is written to mapped rings */
void post_some(struct box *box);
void post_one_recv(const struct ring *ring, const struct thing *mr);
void reap(struct box *box);
void scribble(struct box *box);
void connect_some(struct box *box);

/* peers.c */
int canary(const char *path, int wish);
int peer(const char *path);
/* Ask the peer for a queue pair that is connected with @qpn. */
bool peer_ask(u32 qpn, u8 type, u32 *peer_qpn, u64 *addr, u32 *rkey);

#endif /* U4_FUZZ_BOX_H */
