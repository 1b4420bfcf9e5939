// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random work on several queue pairs between two hosts, over a cable that loses
 * frames: data and order of completions are checked.
 *
 *   transport_sim SEED QPS REQUESTS LOSS(per 10000) RING [PAGED]
 */
#include "transport_world.h"

int main(int argc, char **argv)
{
	u32 qps, i, wanted;
	u64 steps = 0;

	if (argc != 6 && argc != 7)
		return 2;
	paged = argc == 7;
	rng = strtoull(argv[1], NULL, 0);
	qps = atoi(argv[2]);
	wanted = atoi(argv[3]);
	loss = atoi(argv[4]);
	ring = atoi(argv[5]);
	setup(qps);
	for (i = 0; i < qps; i++)
		ends[i].wanted = wanted;

	for (;;) {
		bool busy = false, done = true;
		u32 side;

		CHECK(++steps < 50000000, "no end in sight");
		for (i = 0; i < qps; i++) {
			if (rnd(4) == 0)
				busy |= post(&ends[i]);
			done &= ends[i].completed == wanted && ends[i].shead == ends[i].stail;
		}
		for (side = 0; side < 2; side++) {
			if (rails[side].head && rnd(4)) {
				deliver(&rails[side]);
				busy = true;
			}
			busy |= rails[side].head != NULL;
			wake(&rails[side]);
			/* The process changes its memory: some pages go, at any time. */
			if (paged && !rnd(2000))
				memset(host[side].mr.pages + rnd(MEM_SIZE / PAGE_SIZE / 2), 0,
				       MEM_SIZE / PAGE_SIZE / 2 * sizeof(struct page *));
		}
		busy |= run_work();
		if (done)
			break;
		for (i = 0; i < qps; i++)
			busy |= ends[i].posted < wanted &&
				(ends[i].head == ends[i].tail || !rnd(64));
		/* The doorbell for what was only pushed so far. */
		for (i = 0; !busy && i < qps; i++) {
			u32 before = ends[i].completed;

			u4_sq_lock(ends[i].qp[0]);
			u4_sq_run(ends[i].qp[0]);
			u4_sq_unlock(ends[i].qp[0]);
			busy |= rails[0].head != NULL || ends[i].completed != before;
		}
		if (!busy)
			CHECK(run_timer(), "everything stands still");
	}
	for (i = 0; i < qps; i++) {
		u4_qp_destroy(ends[i].qp[0]);
		u4_qp_destroy(ends[i].qp[1]);
	}
	CHECK(host[0].mr.ref.frames.counter == 1 && host[1].mr.ref.frames.counter == 1,
	      "a use count leaked");
	free(host[0].mr.pages);
	free(host[1].mr.pages);
	printf("fetched=%llu ", (unsigned long long)pages_fetched);
	printf("frames=%llu lost=%llu retries=%llu timeouts=%llu probes=%llu rnr=%llu jiffies=%lu\n",
	       (unsigned long long)frames_sent, (unsigned long long)frames_lost,
	       (unsigned long long)host[0].dev.counters[U4_CNT_RETRIES],
	       (unsigned long long)host[0].dev.counters[U4_CNT_TIMEOUTS],
	       (unsigned long long)host[0].dev.counters[U4_CNT_PROBES],
	       (unsigned long long)host[0].dev.counters[U4_CNT_RX_RNR], jiffies - 1000);
	return 0;
}
