// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A QEMU TCG plugin that counts what a host executes: one counter per block of
 * kernel code, one for all of user space, and the bytes that string instructions
 * (rep movs) store, since such an instruction counts as one however much it copies.
 *
 * A program in the host marks the begin and the end of what is to be counted by a
 * no-op that means nothing to a processor:
 *
 *	0f 1f 80 NN 4d 34 55	nopl 0x55344dNN(%rax), NN 0 begin, 1 end
 *
 * -plugin file=counts.so,socket=PATH: whoever connects to PATH gets the counters
 * as text and end of file:
 *
 *	marks BEGINS ENDS
 *	now KERNEL USER KERNEL_COPIED USER_COPIED
 *	between KERNEL USER KERNEL_COPIED USER_COPIED	(the last begin, the last end)
 *	unnamed KERNEL					(blocks that found no counter)
 *	ADDRESS COUNT					(per block with a count, begin to end)
 *
 * QEMU's plugin interface, version 7. Debian ships no header for it, so what is used of
 * it is declared here.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* ---- what QEMU offers ---- */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard	*score;
	size_t				offset;
} qemu_plugin_u64;

enum { INLINE_ADD_U64 = 0 };
enum { CB_NO_REGS = 0 };
enum { MEM_W = 2 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
					   void (*cb)(struct qemu_plugin_tb *tb, void *data),
					   void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t idx);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *dest, size_t len);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op,
						       qemu_plugin_u64 entry, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn, int op,
							 qemu_plugin_u64 entry, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int vcpu, void *data), int flags,
					    void *data);
void qemu_plugin_register_vcpu_mem_inline_per_vcpu(struct qemu_plugin_insn *insn, int rw, int op,
						   qemu_plugin_u64 entry, uint64_t imm);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int vcpu);
int qemu_plugin_num_vcpus(void);

/* ---- counters ---- */

enum { USER, KERNEL_COPIED, USER_COPIED, UNNAMED, FIRST_BLOCK, COUNTERS = 1 << 17 };
enum { HASH = 1 << 18 };

struct counters {
	uint64_t n[COUNTERS];
};

static struct qemu_plugin_scoreboard *score;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t address[COUNTERS];	/* of the blocks, under lock */
static uint32_t by_hash[HASH];		/* counter of an address, 0: none; under lock */
static uint32_t used = FIRST_BLOCK;	/* under lock */
static struct counters mark[2];		/* under lock */
static uint64_t marks[2];		/* under lock */

static qemu_plugin_u64 counter(uint32_t index)
{
	return (qemu_plugin_u64){ score, index * sizeof(uint64_t) };
}

static bool is_kernel(uint64_t vaddr)
{
	return vaddr >> 63;
}

/* The counter of the block of kernel code at @vaddr. */
static uint32_t block(uint64_t vaddr)
{
	uint32_t at = (vaddr * 0x9e3779b97f4a7c15u) >> 40 & (HASH - 1);
	uint32_t index;

	pthread_mutex_lock(&lock);
	while ((index = by_hash[at]) && address[index] != vaddr)
		at = (at + 1) & (HASH - 1);
	if (!index && used < COUNTERS) {
		index = used++;
		address[index] = vaddr;
		by_hash[at] = index;
	}
	pthread_mutex_unlock(&lock);
	return index ? index : UNNAMED;
}

static void sum(struct counters *total)
{
	int vcpus = qemu_plugin_num_vcpus();

	memset(total, 0, sizeof(*total));
	for (int vcpu = 0; vcpu < vcpus; vcpu++) {
		const struct counters *one = qemu_plugin_scoreboard_find(score, vcpu);

		for (uint32_t i = 0; i < used; i++)
			total->n[i] += one->n[i];
	}
}

static void on_mark(unsigned int vcpu, void *data)
{
	uintptr_t which = (uintptr_t)data;

	(void)vcpu;
	pthread_mutex_lock(&lock);
	sum(&mark[which]);
	marks[which]++;
	pthread_mutex_unlock(&lock);
}

/* ---- translation ---- */

/* Bytes that each store of a repeated string move writes, 0 for other instructions. */
static unsigned int copies(const uint8_t *code, size_t len)
{
	bool rep = false;
	bool wide = false;
	bool narrow = false;

	for (size_t i = 0; i < len; i++) {
		if (code[i] == 0xf3)
			rep = true;
		else if (code[i] == 0x66)
			narrow = true;
		else if ((code[i] & 0xf0) == 0x40)
			wide = code[i] & 8;
		else if (rep && code[i] == 0xa4)
			return 1;
		else if (rep && code[i] == 0xa5)
			return wide ? 8 : narrow ? 2 : 4;
		else
			break;
	}
	return 0;
}

static int mark_number(const uint8_t *code, size_t len)
{
	static const uint8_t head[] = { 0x0f, 0x1f, 0x80 };
	static const uint8_t tail[] = { 0x4d, 0x34, 0x55 };

	if (len != 7 || memcmp(code, head, 3) || memcmp(code + 4, tail, 3) || code[3] > 1)
		return -1;
	return code[3];
}

static void translate(struct qemu_plugin_tb *tb, void *data)
{
	uint64_t vaddr = qemu_plugin_tb_vaddr(tb);
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool kernel = is_kernel(vaddr);
	uint32_t index = kernel ? block(vaddr) : USER;
	bool repeats = false;

	(void)data;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t code[16];
		size_t len = qemu_plugin_insn_data(insn, code, sizeof(code));
		unsigned int bytes = copies(code, len);
		int number = kernel ? -1 : mark_number(code, len);

		if (number >= 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, CB_NO_REGS,
							       (void *)(uintptr_t)number);
		if (bytes) {
			repeats = true;
			qemu_plugin_register_vcpu_mem_inline_per_vcpu(insn, MEM_W, INLINE_ADD_U64,
				counter(kernel ? KERNEL_COPIED : USER_COPIED), bytes);
		}
	}
	if (!repeats) {
		qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, INLINE_ADD_U64,
								  counter(index), n);
		return;
	}
	/* A block with such an instruction may be left and entered again at it. */
	for (size_t i = 0; i < n; i++)
		qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(qemu_plugin_tb_get_insn(tb, i),
			INLINE_ADD_U64, counter(index), 1);
}

/* ---- the socket ---- */

static uint64_t kernel_total(const struct counters *c)
{
	uint64_t total = c->n[UNNAMED];

	for (uint32_t i = FIRST_BLOCK; i < used; i++)
		total += c->n[i];
	return total;
}

static void answer(FILE *out)
{
	static struct counters now;

	pthread_mutex_lock(&lock);
	sum(&now);
	fprintf(out, "marks %" PRIu64 " %" PRIu64 "\n", marks[0], marks[1]);
	fprintf(out, "now %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", kernel_total(&now),
		now.n[USER], now.n[KERNEL_COPIED], now.n[USER_COPIED]);
	for (uint32_t i = 0; i < used; i++)
		now.n[i] = mark[1].n[i] - mark[0].n[i];
	fprintf(out, "between %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		kernel_total(&now), now.n[USER], now.n[KERNEL_COPIED], now.n[USER_COPIED]);
	fprintf(out, "unnamed %" PRIu64 "\n", now.n[UNNAMED]);
	for (uint32_t i = FIRST_BLOCK; i < used; i++)
		if (now.n[i])
			fprintf(out, "%" PRIx64 " %" PRIu64 "\n", address[i], now.n[i]);
	pthread_mutex_unlock(&lock);
}

static void *serve(void *data)
{
	int server = (intptr_t)data;
	int client;

	while ((client = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		FILE *out = fdopen(client, "w");

		if (!out) {
			close(client);
			continue;
		}
		answer(out);
		fclose(out);
	}
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (server < 0 || strlen(path) >= sizeof(name.sun_path))
		return -1;
	strcpy(name.sun_path, path);
	unlink(path);
	if (bind(server, (struct sockaddr *)&name, sizeof(name)) || listen(server, 4))
		return -1;
	return server;
}

EXPORT int qemu_plugin_version = 7;

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	pthread_t thread;
	sigset_t all, old;
	int server = -1;
	int error;

	(void)info;
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "socket=", 7))
			server = listen_at(argv[i] + 7);
	if (server < 0) {
		fprintf(stderr, "counts: no usable socket=PATH\n");
		return -1;
	}
	score = qemu_plugin_scoreboard_new(sizeof(struct counters));
	/* QEMU's signals are its own threads' business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, NULL, serve, (void *)(intptr_t)server);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate, NULL);
	return 0;
}
