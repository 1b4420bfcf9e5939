// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of the kernel's RDMA user interface as our driver offers it, run without any
 * privilege:
 *
 *   user_fuzz attack DEVICE SEED SECONDS JOBS GID SGID_INDEX [PEER_GID PEER_IP]
 *   user_fuzz peer DEVICE GID SGID_INDEX
 *
 * Attack: lives, each a process with two contexts, two threads that give commands and
 * one that scribbles on the mapped rings. A life ends by itself, by a signal in the
 * middle of things, or having cleaned up. What each thread does follows from the seed;
 * how threads interleave does not. The last line, JSON, tells what happened. Exit code:
 * 0 when no life hangs and the canary's memory is as it was.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "box.h"

#define NOBODY		65534
#define MEMLOCK		(64u << 20)
#define LIFE_SECONDS	20		/* then it is killed */
#define HANG_SECONDS	180		/* after which a killed one must have gone */
#define MAX_JOBS	8

struct shared *shared;
static struct box boxes[2];
static u64 life_seed;
static unsigned int steps;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void *commander(void *arg)
{
	unsigned int number = (uintptr_t)arg, i;

	rng_seed(life_seed * 4 + number);
	for (i = 0; i < steps; i++) {
		struct box *box = &boxes[chance(8)];
		u32 what = rnd(16);

		if (what < 7)
			act(box);
		else if (what < 8)
			act_ioctl(box);
		else if (what < 10)
			connect_some(box);
		else if (what < 14)
			post_some(box);
		else
			reap(box);
	}
	return NULL;
}

static void __attribute__((noreturn)) *scribbler(void *arg)
{
	(void)arg;
	rng_seed(life_seed * 4 + 3);
	for (;;) {
		struct timespec pause = { .tv_nsec = rnd(2000000) };

		scribble(&boxes[chance(8)]);
		nanosleep(&pause, NULL);
	}
}

static void live(const char *path)
{
	struct rlimit memlock = { MEMLOCK, MEMLOCK };
	pthread_t threads[3];
	unsigned int i, fork_at;

	rng_seed(life_seed);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_MEMLOCK, &memlock);
	alarm(LIFE_SECONDS);
	if (!box_open(&boxes[0], path, &boxes[1]) || !box_open(&boxes[1], path, &boxes[0]))
		_exit(3);
	for (i = 0; i < 2; i++) {
		make_pd(&boxes[i], 0);
		make_mr(&boxes[i], 0);
		make_cq(&boxes[i], 0);
		make_qp(&boxes[i], IB_UVERBS_QPT_RC, 0);
		make_qp(&boxes[i], IB_UVERBS_QPT_RC, 0);
	}
	steps = 50 + rnd(chance(4) ? 2000 : 400);
	fork_at = rnd(8);
	pthread_create(&threads[2], NULL, scribbler, NULL);
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, commander, (void *)(uintptr_t)(1 + i));
	/* A child has the descriptors and the mappings as well, and outlives us or not. */
	if (!fork_at && !fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(LIFE_SECONDS);
		commander((void *)0);
		_exit(0);
	}
	if (chance(4)) {
		struct timespec pause = { .tv_nsec = rnd(900000000) };

		nanosleep(&pause, NULL);
		kill(getpid(), SIGKILL);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	if (chance(3)) {	/* the descriptor first, the mappings and threads later */
		close(boxes[0].fd);
		close(boxes[1].fd);
	}
	_exit(0);
}

/* Ends a life that takes too long; false when it cannot be ended. */
static bool end(pid_t pid)
{
	double until = now() + HANG_SECONDS;
	struct timespec tick = { .tv_nsec = 20000000 };

	kill(pid, SIGKILL);
	while (now() < until) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		nanosleep(&tick, NULL);
	}
	return false;
}

static void become_nobody(void)
{
	if (geteuid())
		return;
	if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)) {
		perror("setuid");
		exit(2);
	}
	/* Readable to its own kind only: a fork of ours may be looked at. */
	prctl(PR_SET_DUMPABLE, 0);
}

static bool parse_gid(const char *hex, u8 *gid)
{
	unsigned int i;

	for (i = 0; i < 16; i++, hex += 2)
		if (sscanf(hex, "%2hhx", &gid[i]) != 1)
			return false;
	return true;
}

static void report(u64 seed, u64 lives, u64 killed, u64 crashed, u64 stillborn, u64 hung,
		   int canary_status)
{
	static const char *const names[] = {
		"pd", "mr", "mw", "channel", "cq", "qp", "srq", "ah", "xrcd", "other",
	};
	unsigned int i;

	printf("{\"seed\": %llu, \"lives\": %llu, \"timed_out\": %llu, \"crashed\": %llu, ",
	       (unsigned long long)seed, (unsigned long long)lives, (unsigned long long)killed,
	       (unsigned long long)crashed);
	printf("\"stillborn\": %llu, \"hung\": %llu, \"canary\": %d",
	       (unsigned long long)stillborn, (unsigned long long)hung, canary_status);
#define SHOW(field) printf(", \"" #field "\": %llu", (unsigned long long)shared->field)
	SHOW(commands); SHOW(accepted); SHOW(ioctls); SHOW(ioctls_accepted); SHOW(wqes);
	SHOW(doorbells); SHOW(scribbles); SHOW(completions); SHOW(good_completions);
	SHOW(connected); SHOW(connected_peer);
	for (i = 0; i < NUM_KINDS; i++)
		printf(", \"%s\": %llu", names[i], (unsigned long long)shared->made[i]);
	puts("}");
}

static int attack(const char *path, u64 seed, double seconds, unsigned int jobs)
{
	u64 lives = 0, killed = 0, crashed = 0, stillborn = 0, hung = 0;
	struct { pid_t pid; double until; } job[MAX_JOBS] = {};
	double until = now() + seconds;
	struct timespec tick = { .tv_nsec = 10000000 };
	int wish[2], status, canary_status = -1;
	pid_t bird, pid;
	unsigned int i;

	if (pipe(wish))
		return 2;
	bird = fork();
	if (!bird) {
		close(wish[1]);
		_exit(canary(path, wish[0]));
	}
	close(wish[0]);
	while (!__atomic_load_n(&shared->canary_addr, __ATOMIC_SEQ_CST)) {
		if (waitpid(bird, &status, WNOHANG) == bird)
			return 2;
		nanosleep(&tick, NULL);
	}
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	while (now() < until || job[0].pid || job[jobs - 1].pid) {
		for (i = 0; i < jobs; i++) {
			if (!job[i].pid && now() < until) {
				life_seed = seed * 1000003 + lives++;
				job[i].until = now() + LIFE_SECONDS + 5;
				job[i].pid = fork();
				if (!job[i].pid) {
					close(wish[1]);
					live(path);
				}
			}
			if (!job[i].pid)
				continue;
			pid = waitpid(job[i].pid, &status, WNOHANG);
			if (pid == job[i].pid) {
				job[i].pid = 0;
				killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
				crashed += WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV ||
								   WTERMSIG(status) == SIGBUS);
				stillborn += WIFEXITED(status) && WEXITSTATUS(status) == 3;
			} else if (now() > job[i].until) {
				killed++;
				if (!end(job[i].pid)) {
					fprintf(stderr, "process %d does not go\n", job[i].pid);
					hung++;
					until = 0;
				}
				job[i].pid = 0;
			}
		}
		for (i = 0, pid = 0; i < jobs; i++)
			pid |= job[i].pid;
		if (now() >= until && !pid)
			break;
		nanosleep(&tick, NULL);
	}
	close(wish[1]);
	if (waitpid(bird, &status, 0) == bird && WIFEXITED(status))
		canary_status = WEXITSTATUS(status);
	report(seed, lives, killed, crashed, stillborn, hung, canary_status);
	return hung || canary_status ? 1 : 0;
}

int main(int argc, char **argv)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	become_nobody();
	if (argc == 5 && !strcmp(argv[1], "peer") && parse_gid(argv[3], shared->gid)) {
		shared->sgid_index = atoi(argv[4]);
		return peer(argv[2]);
	}
	if (argc < 8 || strcmp(argv[1], "attack") || !parse_gid(argv[6], shared->gid))
		return 2;
	shared->sgid_index = atoi(argv[7]);
	if (argc == 10 && parse_gid(argv[8], shared->peer_gid))
		shared->peer_ip = inet_addr(argv[9]);
	return attack(argv[2], strtoull(argv[3], NULL, 0), atof(argv[4]),
		      1 + (atoi(argv[5]) - 1) % MAX_JOBS);
}
