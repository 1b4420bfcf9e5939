// SPDX-License-Identifier: GPL-2.0-only
/*
 * The transport's counters, as `rdma statistic` and sysfs hw_counters show them.
 */
#include "verbs.h"

static struct rdma_stat_desc u4_stat_descs[U4_NUM_COUNTERS];

struct rdma_hw_stats *u4_alloc_hw_port_stats(struct ib_device *ib, u32 port)
{
	unsigned int i;

	for (i = 0; i < U4_NUM_COUNTERS; i++)
		u4_stat_descs[i].name = u4_xp_counter_names[i];
	return rdma_alloc_hw_stats_struct(u4_stat_descs, U4_NUM_COUNTERS,
					  RDMA_HW_STATS_DEFAULT_LIFESPAN);
}

int u4_get_hw_stats(struct ib_device *ib, struct rdma_hw_stats *stats, u32 port, int index)
{
	struct u4_xpdev *xp = &to_u4_ibdev(ib)->vdev->xp;
	unsigned int i;

	if (port != U4_PORT)
		return -EINVAL;
	for (i = 0; i < U4_NUM_COUNTERS; i++)
		stats->value[i] = u4_xp_counter(xp, i);
	return U4_NUM_COUNTERS;
}
