// SPDX-License-Identifier: GPL-2.0-only
/*
 * Those who do nothing wrong. The canary has a region with every right, which nobody
 * may reach: its keys are known, but its protection domain is its own. The peer on the
 * other host connects a queue pair with whoever asks it by a datagram.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "box.h"

#define PORT		7713
#define PATTERN		0xa7
#define REGION		65536
#define PEER_QPS	8

struct question {
	u32	qpn, type;
	u8	gid[16];
};

struct answer {
	u32	qpn, rkey;
	u64	addr;
};

/* Around its region as well: all of the arena. */
static size_t damage(const struct box *box, const struct thing *open)
{
	const u8 *from = open ? (u8 *)(uintptr_t)open->addr : NULL;
	size_t i, bad = 0;

	for (i = 0; i < ARENA; i++)
		if (box->arena[i] != PATTERN &&
		    (!from || box->arena + i < from || box->arena + i >= from + open->len))
			bad++;
	return bad;
}

static bool set_up(struct box *box, const char *path)
{
	honest = true;
	if (!box_open(box, path, NULL))
		return false;
	memset(box->arena, PATTERN, ARENA);
	return make_pd(box, 0) && make_mr(box, 0) && make_cq(box, 0);
}

/* Watches until @wish is closed; the exit code says whether all is as it was. */
int canary(const char *path, int wish)
{
	static struct box box;
	struct thing *mr;
	char byte;

	if (!set_up(&box, path) || !make_qp(&box, IB_UVERBS_QPT_RC, 0) ||
	    !qp_connect(&box, thing_any(&box, QP), thing_any(&box, QP)->number, shared->gid, 0)) {
		perror("canary");
		return 2;
	}
	mr = thing_any(&box, MR);
	shared->canary_pd = thing_any(&box, PD)->handle;
	shared->canary_lkey = mr->lkey;
	shared->canary_rkey = mr->rkey;
	__atomic_store_n(&shared->canary_addr, mr->addr, __ATOMIC_SEQ_CST);
	while (read(wish, &byte, 1) > 0)
		;
	return damage(&box, NULL) ? 1 : 0;
}

static void serve(struct box *box, int sock, const struct thing *mr)
{
	struct question question;
	struct answer answer = {};
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	struct thing *qp;
	static u32 turn;
	u32 words[4] = {}, resp[4], i;

	if (recvfrom(sock, &question, sizeof(question), 0, (void *)&from, &size) !=
	    sizeof(question))
		return;
	/* The oldest makes room. */
	qp = &box->things[QP][turn++ % PEER_QPS];
	if (qp->used) {
		words[2] = qp->handle;
		command(box, IB_USER_VERBS_CMD_DESTROY_QP, words, sizeof(words), resp,
			sizeof(resp), 0);
		qp->used = false;
	}
	/* thing_new() takes the last free place; only PEER_QPS are ever in use. */
	for (i = PEER_QPS; i < MAX_THINGS; i++)
		box->things[QP][i].used = true;
	if (make_qp(box, question.type == IB_UVERBS_QPT_UC ? IB_UVERBS_QPT_UC : IB_UVERBS_QPT_RC,
		    0)) {
		for (qp = NULL, i = 0; i < PEER_QPS; i++)
			if (box->things[QP][i].used &&
			    (!qp || box->things[QP][i].number > qp->number))
				qp = &box->things[QP][i];
		if (qp_connect(box, qp, question.qpn & 0xffffff, question.gid, 0)) {
			for (i = 0; i < qp->recv.mask; i++)
				post_one_recv(&qp->recv, mr);
			answer.qpn = qp->number;
			answer.rkey = mr->rkey;
			answer.addr = mr->addr;
		}
	}
	reap(box);
	sendto(sock, &answer, sizeof(answer), 0, (void *)&from, size);
}

/* Until standard input ends; prints how many bytes outside of its region changed. */
int peer(const char *path)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval tick = { .tv_usec = 200000 };
	static struct box box;
	struct thing *mr;
	fd_set in;
	char byte;

	if (sock < 0 || bind(sock, (void *)&any, sizeof(any)) || !set_up(&box, path)) {
		perror("peer");
		return 2;
	}
	mr = thing_any(&box, MR);
	puts("ready");
	fflush(stdout);
	for (;;) {
		FD_ZERO(&in);
		FD_SET(0, &in);
		FD_SET(sock, &in);
		tick.tv_usec = 200000;
		if (select(sock + 1, &in, NULL, NULL, &tick) < 0)
			continue;
		if (FD_ISSET(0, &in) && read(0, &byte, 1) <= 0)
			break;
		if (FD_ISSET(sock, &in))
			serve(&box, sock, mr);
		else
			reap(&box);
	}
	printf("{\"damage\": %zu}\n", damage(&box, mr));
	return damage(&box, mr) ? 1 : 0;
}

bool peer_ask(u32 qpn, u8 type, u32 *peer_qpn, u64 *addr, u32 *rkey)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = shared->peer_ip,
	};
	struct timeval patience = { .tv_usec = 500000 };
	struct question question = { .qpn = qpn, .type = type };
	struct answer answer = {};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool got;

	if (sock < 0)
		return false;
	memcpy(question.gid, shared->gid, 16);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	got = !connect(sock, (void *)&to, sizeof(to)) &&
	      send(sock, &question, sizeof(question), 0) == sizeof(question) &&
	      recv(sock, &answer, sizeof(answer), 0) == sizeof(answer) && answer.qpn;
	close(sock);
	*peer_qpn = answer.qpn;
	*addr = answer.addr;
	*rkey = answer.rkey;
	return got;
}
