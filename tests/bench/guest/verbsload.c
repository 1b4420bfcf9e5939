// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Load for counting: RC, one queue pair, completion events, never a busy poll, so
 * that what is executed is work and not waiting.
 *
 *	verbsload DEVICE MR_BYTES OFFSET			the passive side
 *	verbsload DEVICE MR_BYTES OFFSET ADDRESS		the active side
 *
 * OFFSET is where in its memory region each side has its buffers. The active side
 * reads cases from standard input, a line each:
 *
 *	write|read|send|pingpong SIZE COUNT DEPTH	(DEPTH 16 to 128 requests under way)
 *	empty 0 0 0		what surrounds a case and nothing else
 *
 * For each it warms up, prints {"warm": true}, reads a line (any), carries the case out
 * and prints a line of JSON when both sides are at rest again; the passive side prints
 * one too. Both say to the plugin (plugin/counts.c) where the case begins and ends.
 * Every 16th request is signaled. Data are checked once before each write, read and
 * send case.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#define PORT		18600
#define RECEIVES	512
#define SENDS		128
#define SIGNAL_EVERY	16
#define MSG_MAX		(1u << 20)
#define COUNTERS_MAX	64

/* Kinds of control messages, in the immediate data; data messages have none. */
enum { CTL_WARM = 1, CTL_BEGIN, CTL_END, CTL_FILL, CTL_CHECK, CTL_ANSWER };
#define CTL_ECHO	0x100	/* answer each data message from here on */

struct counter {
	char			name[64];
	unsigned long long	value;
};

/* What the sides tell each other over TCP. */
struct hello {
	union ibv_gid	gid;
	uint32_t	qpn;
	uint32_t	rkey;
	uint64_t	addr;
};

static struct ibv_context *context;
static struct ibv_comp_channel *channel;
static struct ibv_cq *cq;
static struct ibv_qp *qp;
static struct ibv_mr *mr;
static uint8_t *buffer;		/* of MSG_MAX bytes, at OFFSET of the region */
static struct hello peer;
static unsigned int unsignaled;	/* since the last signaled request */
static unsigned int in_flight;	/* requests that no completion has confirmed */
static unsigned int echo_size;	/* passive side: 0, or answer each message */
static unsigned int got_data;	/* messages received */
static unsigned int got_ctl;	/* control message received, 0: none */
static struct counter counters[COUNTERS_MAX];
static unsigned int num_counters;

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(1);
}

static inline void mark_begin(void)
{
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x00, 0x4d, 0x34, 0x55" ::: "memory");
}

static inline void mark_end(void)
{
	__asm__ volatile(".byte 0x0f, 0x1f, 0x80, 0x01, 0x4d, 0x34, 0x55" ::: "memory");
}

/* ---- the device's own counters ---- */

static void read_counters(struct counter *to, unsigned int *n)
{
	char folder[256], path[600];
	struct dirent *entry;
	DIR *dir;

	*n = 0;
	snprintf(folder, sizeof(folder), "/sys/class/infiniband/%s/ports/1/hw_counters",
		 ibv_get_device_name(context->device));
	dir = opendir(folder);
	if (!dir)
		return;
	while (*n < COUNTERS_MAX && (entry = readdir(dir))) {
		struct counter *counter = &to[*n];
		FILE *file;

		if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "lifespan"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;
		snprintf(counter->name, sizeof(counter->name), "%.63s", entry->d_name);
		if (fscanf(file, "%llu", &counter->value) == 1)
			(*n)++;
		fclose(file);
	}
	closedir(dir);
}

/* What changed since read_counters(), as a JSON object. */
static void print_counters(void)
{
	static struct counter now[COUNTERS_MAX];
	const char *comma = "";
	unsigned int i, k, n;

	read_counters(now, &n);
	printf("{");
	for (i = 0; i < n; i++)
		for (k = 0; k < num_counters; k++)
			if (!strcmp(now[i].name, counters[k].name) &&
			    now[i].value != counters[k].value) {
				printf("%s\"%s\": %llu", comma, now[i].name,
				       now[i].value - counters[k].value);
				comma = ", ";
			}
	printf("}");
}

/* ---- queues ---- */

static void post_receive(void)
{
	struct ibv_sge sge = { (uintptr_t)buffer, MSG_MAX, mr->lkey };
	struct ibv_recv_wr wr = { .wr_id = 1, .sg_list = &sge, .num_sge = 1 }, *bad;

	if (ibv_post_recv(qp, &wr, &bad))
		die("post receive");
}

static void post(enum ibv_wr_opcode opcode, unsigned int size, unsigned int imm)
{
	struct ibv_sge sge = { (uintptr_t)buffer, size, mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = opcode,
		.sg_list = &sge,
		.num_sge = 1,
		.imm_data = htonl(imm),
		.wr.rdma = { peer.addr, peer.rkey },
	};
	struct ibv_send_wr *bad;

	unsignaled++;
	in_flight++;
	if (unsignaled == SIGNAL_EVERY) {
		wr.send_flags = IBV_SEND_SIGNALED;
		wr.wr_id = unsignaled;
		unsignaled = 0;
	}
	if (ibv_post_send(qp, &wr, &bad))
		die("post send");
}

/* The same, with a completion that confirms all before it. */
static void post_last(enum ibv_wr_opcode opcode, unsigned int size, unsigned int imm)
{
	struct ibv_sge sge = { (uintptr_t)buffer, size, mr->lkey };
	struct ibv_send_wr wr = {
		.opcode = opcode,
		.sg_list = &sge,
		.num_sge = 1,
		.imm_data = htonl(imm),
		.send_flags = IBV_SEND_SIGNALED,
		.wr_id = unsignaled + 1,
		.wr.rdma = { peer.addr, peer.rkey },
	};
	struct ibv_send_wr *bad;

	unsignaled = 0;
	in_flight++;
	if (ibv_post_send(qp, &wr, &bad))
		die("post send");
}

static void on_completion(const struct ibv_wc *wc)
{
	if (wc->status != IBV_WC_SUCCESS)
		die("completion %s", ibv_wc_status_str(wc->status));
	if (wc->opcode != IBV_WC_RECV) {
		in_flight -= wc->wr_id;
		return;
	}
	post_receive();
	if (wc->wc_flags & IBV_WC_WITH_IMM) {
		got_ctl = ntohl(wc->imm_data);
		return;
	}
	got_data++;
	if (echo_size)
		post(IBV_WR_SEND, echo_size, 0);
}

static bool poll_once(void)
{
	struct ibv_wc wc[16];
	int n = ibv_poll_cq(cq, 16, wc);

	if (n < 0)
		die("poll");
	for (int i = 0; i < n; i++)
		on_completion(&wc[i]);
	return n;
}

/* Sleeps until a completion has come. */
static void wait_completion(void)
{
	struct ibv_cq *which;
	void *arg;

	while (!poll_once()) {
		if (ibv_req_notify_cq(cq, 0))
			die("notify");
		if (poll_once())
			return;
		if (ibv_get_cq_event(channel, &which, &arg))
			die("event");
		ibv_ack_cq_events(cq, 1);
	}
}

static void drain(void)
{
	while (in_flight)
		wait_completion();
}

/* ---- cases ---- */

/* Tell the passive side and wait until it has done it. */
static unsigned int ask(unsigned int imm)
{
	got_ctl = 0;
	post_last(IBV_WR_SEND_WITH_IMM, 0, imm);
	while (in_flight || !got_ctl)
		wait_completion();
	return got_ctl;
}

static void stream(enum ibv_wr_opcode opcode, unsigned int size, unsigned int count,
		   unsigned int depth)
{
	while (count--) {
		while (in_flight >= depth)
			wait_completion();
		if (count)
			post(opcode, size, 0);
		else
			post_last(opcode, size, 0);
	}
	drain();
}

static void pingpong(unsigned int size, unsigned int count)
{
	unsigned int end = got_data + count;

	while (got_data != end) {
		unsigned int want = got_data + 1;

		post(IBV_WR_SEND, size, 0);
		while (got_data != want)
			wait_completion();
	}
	post_last(IBV_WR_SEND, 0, 0);
	while (in_flight || got_data != end + 1)
		wait_completion();
}

static uint8_t pattern(unsigned int i)
{
	return (i * 31 + 7) ^ (i >> 8);
}

static void fill(unsigned int size, bool zero)
{
	for (unsigned int i = 0; i < size; i++)
		buffer[i] = zero ? 0 : pattern(i);
}

static bool filled(unsigned int size)
{
	for (unsigned int i = 0; i < size; i++)
		if (buffer[i] != pattern(i))
			return false;
	return true;
}

/* One operation whose data are compared; size in units of 64 bytes in the control message. */
static bool verify(const char *kind, enum ibv_wr_opcode opcode, unsigned int size)
{
	unsigned int units = (size + 63) / 64;
	bool read = opcode == IBV_WR_RDMA_READ;

	fill(size, read);
	ask(CTL_FILL | (read ? 0 : 0x80) | units << 12);
	stream(opcode, size, 1, 1);
	if (read ? !filled(size) : ask(CTL_CHECK | units << 12) != (CTL_ANSWER | 0x80)) {
		fprintf(stderr, "%s of %u: the data are wrong\n", kind, size);
		return false;
	}
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void run_case(const char *kind, unsigned int size, unsigned int count, unsigned int depth)
{
	enum ibv_wr_opcode opcode = IBV_WR_SEND;
	bool echo = !strcmp(kind, "pingpong");
	unsigned int warm = count < 64 ? count : 64;
	unsigned int units = (size + 63) / 64;
	double begin, end;
	bool good = true;
	char go[8];

	if (!strcmp(kind, "write"))
		opcode = IBV_WR_RDMA_WRITE;
	else if (!strcmp(kind, "read"))
		opcode = IBV_WR_RDMA_READ;
	if (count && !echo)
		good = verify(kind, opcode, size);
	ask(CTL_WARM | (echo ? CTL_ECHO : 0) | units << 12);
	if (echo)
		pingpong(size, warm);
	else if (count)
		stream(opcode, size, warm, depth);
	printf("{\"warm\": true}\n");
	fflush(stdout);
	if (scanf("%7s", go) != 1)
		exit(0);
	read_counters(counters, &num_counters);
	ask(CTL_BEGIN | (echo ? CTL_ECHO : 0) | units << 12);
	begin = now();
	mark_begin();
	if (echo)
		pingpong(size, count);
	else if (count)
		stream(opcode, size, count, depth);
	mark_end();
	end = now();
	ask(CTL_END);
	printf("{\"kind\": \"%s\", \"size\": %u, \"count\": %u, \"seconds\": %.6f, \"good\": %s, "
	       "\"counters\": ", kind, size, count, end - begin, good ? "true" : "false");
	print_counters();
	printf("}\n");
	fflush(stdout);
}

static void active(void)
{
	unsigned int size, count, depth;
	char kind[16];

	printf("{\"ready\": true}\n");
	fflush(stdout);
	while (scanf("%15s %u %u %u", kind, &size, &count, &depth) == 4) {
		if (size > MSG_MAX || (count && (depth < SIGNAL_EVERY || depth > SENDS))) {
			errno = ERANGE;
			die("case %s %u %u %u", kind, size, count, depth);
		}
		run_case(kind, size, count, depth);
	}
	post_last(IBV_WR_SEND_WITH_IMM, 0, 0xff);
	drain();
}

static void passive(void)
{
	unsigned int answer, ctl, size;

	for (;;) {
		while (!got_ctl)
			wait_completion();
		/* The next may come while this is being answered. */
		ctl = got_ctl;
		got_ctl = 0;
		size = (ctl >> 12) * 64;
		answer = CTL_ANSWER;
		/* The answers of the last messages have their say before this. */
		echo_size = 0;
		switch (ctl & 0x7f) {
		case CTL_WARM:
			echo_size = ctl & CTL_ECHO ? size : 0;
			break;
		case CTL_BEGIN:
			read_counters(counters, &num_counters);
			echo_size = ctl & CTL_ECHO ? size : 0;
			mark_begin();
			break;
		case CTL_END:
			mark_end();
			printf("{\"counters\": ");
			print_counters();
			printf("}\n");
			fflush(stdout);
			break;
		case CTL_FILL:
			fill(size, ctl & 0x80);
			break;
		case CTL_CHECK:
			answer |= filled(size) ? 0x80 : 0;
			break;
		default:
			return;
		}
		/* Not waited for: echoes that nothing confirms may be under way by then. */
		post_last(IBV_WR_SEND_WITH_IMM, 0, answer);
	}
}

/* ---- connecting ---- */

static struct ibv_context *open_device(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_context *found = NULL;

	for (int i = 0; list && list[i]; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			found = ibv_open_device(list[i]);
	if (!found)
		die("device %s", name);
	return found;
}

/* The RoCE v2 GID of an IPv4 address. */
static int find_gid(union ibv_gid *gid)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };
	struct ibv_gid_entry entries[64];
	ssize_t n = ibv_query_gid_table(context, entries, 64, 0);

	for (ssize_t i = 0; i < n; i++)
		if (entries[i].gid_type == IBV_GID_TYPE_ROCE_V2 &&
		    !memcmp(entries[i].gid.raw, prefix, sizeof(prefix))) {
			*gid = entries[i].gid;
			return entries[i].gid_index;
		}
	errno = ENOENT;
	die("no IPv4 GID");
}

static int tcp(const char *address)
{
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int sock = socket(AF_INET, SOCK_STREAM, 0), one = 1, server;

	if (address) {
		if (inet_pton(AF_INET, address, &name.sin_addr) != 1 ||
		    connect(sock, (struct sockaddr *)&name, sizeof(name)))
			die("connect %s", address);
		return sock;
	}
	server = sock;
	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(server, (struct sockaddr *)&name, sizeof(name)) || listen(server, 1))
		die("listen");
	printf("{\"listening\": true}\n");
	fflush(stdout);
	sock = accept(server, NULL, NULL);
	close(server);
	return sock;
}

static void swap(int sock, const void *mine, void *theirs, size_t len)
{
	if (write(sock, mine, len) != (ssize_t)len ||
	    recv(sock, theirs, len, MSG_WAITALL) != (ssize_t)len)
		die("hello");
}

static void modify(struct ibv_qp_attr *attr, int mask)
{
	int error = ibv_modify_qp(qp, attr, mask);

	if (error) {
		errno = error;
		die("modify to %d", attr->qp_state);
	}
}

static void connect_qp(int sock)
{
	struct ibv_port_attr port;
	struct ibv_device_attr device;
	struct hello mine = { .qpn = qp->qp_num, .rkey = mr->rkey, .addr = (uintptr_t)buffer };
	int gid_index = find_gid(&mine.gid);
	char go = 1;

	if (ibv_query_port(context, 1, &port) || ibv_query_device(context, &device))
		die("query");
	modify(&(struct ibv_qp_attr){ .qp_state = IBV_QPS_INIT, .port_num = 1,
				      .qp_access_flags = IBV_ACCESS_REMOTE_WRITE |
							 IBV_ACCESS_REMOTE_READ },
	       IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
	for (int i = 0; i < RECEIVES; i++)
		post_receive();
	swap(sock, &mine, &peer, sizeof(mine));
	modify(&(struct ibv_qp_attr){ .qp_state = IBV_QPS_RTR, .path_mtu = port.active_mtu,
				      .dest_qp_num = peer.qpn, .rq_psn = 0,
				      .max_dest_rd_atomic = 16, .min_rnr_timer = 12,
				      .ah_attr = { .is_global = 1, .port_num = 1,
						   .grh = { .dgid = peer.gid, .hop_limit = 64,
							    .sgid_index = gid_index } } },
	       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
	       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
	/* 1 s. Soft-RoCE loses parts of long READs by itself and waits that long for each. */
	modify(&(struct ibv_qp_attr){ .qp_state = IBV_QPS_RTS, .timeout = 18, .retry_cnt = 7,
				      .rnr_retry = 7, .max_rd_atomic = 16 },
	       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
	       IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
	swap(sock, &go, &go, 1);
	fprintf(stderr, "path MTU %d\n", 128 << port.active_mtu);
}

int main(int argc, char **argv)
{
	struct ibv_qp_init_attr init = { .qp_type = IBV_QPT_RC };
	size_t bytes, offset;
	struct ibv_pd *pd;
	uint8_t *memory;
	int sock;

	if (argc < 4) {
		fprintf(stderr, "verbsload DEVICE MR_BYTES OFFSET [ADDRESS]\n");
		return 2;
	}
	bytes = strtoull(argv[2], NULL, 0);
	offset = strtoull(argv[3], NULL, 0);
	if (offset + MSG_MAX > bytes) {
		errno = ERANGE;
		die("offset");
	}
	context = open_device(argv[1]);
	pd = ibv_alloc_pd(context);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("memory");
	buffer = memory + offset;
	mr = ibv_reg_mr(pd, memory, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
					   IBV_ACCESS_REMOTE_READ);
	channel = ibv_create_comp_channel(context);
	cq = channel ? ibv_create_cq(context, 2048, NULL, channel, 0) : NULL;
	init.send_cq = cq;
	init.recv_cq = cq;
	init.cap.max_send_wr = SENDS;
	init.cap.max_recv_wr = RECEIVES;
	init.cap.max_send_sge = 1;
	init.cap.max_recv_sge = 1;
	qp = mr && cq ? ibv_create_qp(pd, &init) : NULL;
	if (!qp)
		die("queues");
	sock = tcp(argc > 4 ? argv[4] : NULL);
	connect_qp(sock);
	if (argc > 4)
		active();
	else
		passive();
	close(sock);
	return 0;
}
