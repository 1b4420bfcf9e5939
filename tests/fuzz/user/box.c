// SPDX-License-Identifier: GPL-2.0-only
/* An open device, its objects, and commands as bytes; and where numbers come from. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "box.h"

static __thread u64 state = 1;
bool honest;

void rng_seed(u64 seed)
{
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	rng_next();
}

/* splitmix64 */
u64 rng_next(void)
{
	u64 z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

u32 rnd(u32 n)
{
	return n ? (rng_next() >> 32) % n : 0;
}

u32 absurd(void)
{
	static const u32 odd[] = {
		0, 1, 2, 7, 8, 31, 32, 33, 63, 64, 255, 256, 4095, 4096, 4097, 16384, 65535, 65536,
		(1 << 24) - 1, 1 << 24, (1 << 30) - 1, 1 << 30, (1u << 31) - 1, 1u << 31, -4096u,
		-16u, -2u, -1u,
	};

	return chance(4) ? (u32)rng_next() : odd[rnd(sizeof(odd) / sizeof(odd[0]))];
}

void spoil(void *data, size_t len, unsigned int fields)
{
	u32 value;

	for (; fields-- && len >= 4;) {
		u8 *at = (u8 *)data + 4 * rnd(len / 4);

		memcpy(&value, at, 4);
		value = chance(3) ? value ^ 1u << rnd(32) : chance(4) ? value + rnd(3) - 1 : absurd();
		memcpy(at, &value, 4);
	}
}

struct thing *thing_any(struct box *box, enum kind kind)
{
	unsigned int i, start = rnd(MAX_THINGS);

	for (i = 0; i < MAX_THINGS; i++) {
		struct thing *thing = &box->things[kind][(start + i) % MAX_THINGS];

		if (thing->used)
			return thing;
	}
	return NULL;
}

u32 handle_any(struct box *box, enum kind kind)
{
	struct thing *thing;

	if (mischief(32))
		return chance(2) ? rnd(64) : absurd();
	/* A handle of another context, or of another kind, means nothing here. */
	if (mischief(32) && box->other)
		box = box->other;
	if (mischief(32))
		kind = rnd(NUM_KINDS);
	thing = thing_any(box, kind);
	return thing ? thing->handle : rnd(8);
}

struct thing *thing_new(struct box *box, enum kind kind, u32 handle)
{
	struct thing *thing = &box->things[kind][rnd(MAX_THINGS)];
	unsigned int i;

	for (i = 0; i < MAX_THINGS; i++)
		if (!box->things[kind][i].used)
			thing = &box->things[kind][i];
	memset(thing, 0, sizeof(*thing));
	thing->handle = handle;
	thing->used = true;
	COUNT(made[kind]);
	return thing;
}

struct ring ring_map(struct box *box, u64 offset, u64 size)
{
	struct ring ring = {};
	unsigned int n;
	u32 log2;

	if (mischief(64))
		size = chance(2) ? size + 4096 : absurd();
	if (mischief(64))
		offset = (u64)rnd(64) << 12;
	if (!size)
		return ring;
	ring.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, box->fd, offset);
	if (ring.base == MAP_FAILED) {
		ring.base = NULL;
		return ring;
	}
	log2 = *(volatile u32 *)ring.base;
	ring.mask = *(volatile u32 *)(ring.base + 4);
	/* Of another ring, which was scribbled on. */
	if (log2 < 6 || log2 > 12 || ring.mask > 65535 ||
	    sizeof(struct rxe_queue_buf) + ((size_t)(ring.mask + 1) << log2) > size) {
		log2 = 6;
		ring.mask = 0;
	}
	ring.slot = 1u << log2;
	ring.size = size;
	n = __atomic_fetch_add(&box->num_rings, 1, __ATOMIC_RELAXED);
	if (n < MAX_RINGS)
		box->rings[n] = ring;
	return ring;
}

/* The largest queues that are allowed are made rarely: the host's memory is small. */
static void tame(u32 cmd, void *body)
{
	static __thread unsigned int large = 2;
	u32 *at[4] = {};
	unsigned int i, n = 0;

	if (cmd == IB_USER_VERBS_CMD_CREATE_CQ)
		at[n++] = &((struct ib_uverbs_create_cq *)body)->cqe;
	if (cmd == IB_USER_VERBS_CMD_RESIZE_CQ)
		at[n++] = &((struct ib_uverbs_resize_cq *)body)->cqe;
	if (cmd == IB_USER_VERBS_CMD_CREATE_SRQ)
		at[n++] = &((struct ib_uverbs_create_srq *)body)->max_wr;
	if (cmd == IB_USER_VERBS_CMD_MODIFY_SRQ)
		at[n++] = &((struct ib_uverbs_modify_srq *)body)->max_wr;
	if (cmd == IB_USER_VERBS_CMD_CREATE_QP) {
		at[n++] = &((struct ib_uverbs_create_qp *)body)->max_send_wr;
		at[n++] = &((struct ib_uverbs_create_qp *)body)->max_recv_wr;
	}
	for (i = 0; i < n; i++) {
		if (*at[i] <= 1024 || *at[i] > 1u << 20)
			continue;
		if (large)
			large--;
		else
			*at[i] = rnd(64);
	}
}

static bool submit(struct box *box, u8 *bytes, size_t len)
{
	COUNT(commands);
	if (mischief(64))
		len = chance(2) ? rnd(len + 1) : len + rnd(64);
	if (write(box->fd, bytes, len) < 0)
		return false;
	COUNT(accepted);
	return true;
}

bool command(struct box *box, u32 cmd, void *body, size_t len, void *resp, size_t resp_len,
	     unsigned int fields)
{
	struct ib_uverbs_cmd_hdr hdr = {
		.command = cmd, .in_words = (sizeof(hdr) + len) / 4, .out_words = resp_len / 4,
	};
	u8 bytes[1024] = {};

	if (sizeof(hdr) + len > sizeof(bytes))
		return false;
	if (resp) {
		u64 place = (uintptr_t)resp;

		memset(resp, 0, resp_len);
		memcpy(body, &place, sizeof(place));
	}
	spoil(body, len, fields);
	tame(cmd, body);
	if (fields && chance(8))
		spoil(&hdr, sizeof(hdr), 1);
	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), body, len);
	return submit(box, bytes, sizeof(hdr) + len);
}

bool command_ex(struct box *box, u32 cmd, void *body, size_t len, void *resp, size_t resp_len,
		unsigned int fields)
{
	struct ib_uverbs_ex_cmd_hdr ex = {
		.response = (uintptr_t)resp, .provider_out_words = 0,
	};
	struct ib_uverbs_cmd_hdr hdr = {
		.command = cmd | IB_USER_VERBS_CMD_FLAG_EXTENDED, .in_words = len / 8,
		.out_words = resp_len / 8,
	};
	u8 bytes[1024] = {};

	if (sizeof(hdr) + sizeof(ex) + len > sizeof(bytes))
		return false;
	if (resp)
		memset(resp, 0, resp_len);
	spoil(body, len, fields);
	if (fields && chance(4))
		spoil(&ex, sizeof(ex), 1);
	if (fields && chance(8))
		spoil(&hdr, sizeof(hdr), 1);
	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), &ex, sizeof(ex));
	memcpy(bytes + sizeof(hdr) + sizeof(ex), body, len);
	return submit(box, bytes, sizeof(hdr) + sizeof(ex) + len);
}

bool box_open(struct box *box, const char *path, struct box *other)
{
	struct { struct ib_uverbs_get_context cmd; } body = {};
	struct ib_uverbs_get_context_resp resp;

	memset(box, 0, sizeof(*box));
	box->other = other;
	box->fd = open(path, O_RDWR | O_CLOEXEC);
	if (box->fd < 0)
		return false;
	box->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (box->arena == MAP_FAILED)
		return false;
	if (!command(box, IB_USER_VERBS_CMD_GET_CONTEXT, &body, sizeof(body), &resp, sizeof(resp),
		     0))
		return false;
	box->async_fd = resp.async_fd;
	fcntl(box->async_fd, F_SETFL, O_NONBLOCK);
	return true;
}
