// SPDX-License-Identifier: GPL-2.0-only
/*
 * For people and tests, below /sys/kernel/debug/usb4_rdma: summary shows links and
 * peers; writing N to reset closes the data path of linkN as an error would.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string_choices.h>

#include "../compat.h"
#include "core.h"
#include "rail.h"

static struct dentry *debugfs_root;

static const char *const phase_names[] = {
	[U4_PHASE_NONE]		= "none",
	[U4_PHASE_MADE]		= "made",
	[U4_PHASE_UP]		= "up",
	[U4_PHASE_ACTIVE]	= "active",
};

static void summary_rail(struct seq_file *file, struct u4_rail *rail)
{
	seq_printf(file, "  rail: rx next %u tag %08x, tx seq %u limit %u tag %08x\n",
		   READ_ONCE(rail->track.next), rail->rx_tag, READ_ONCE(rail->tx_seq),
		   READ_ONCE(rail->tx_limit), rail->tx_tag);
	seq_printf(file, "  rail: free %u reserved %u posted %u, waiters %s, watch %s\n",
		   READ_ONCE(rail->nfree), READ_ONCE(rail->reserved), READ_ONCE(rail->posted),
		   str_yes_no(!list_empty(&rail->waiters)),
		   str_on_off(READ_ONCE(rail->watch_on)));
	if (rail->rx && rail->tx)
		seq_printf(file, "  rail: rings rx %d tx %d\n", rail->rx->hop, rail->tx->hop);
}

static int summary_link(struct u4_link *link, void *data)
{
	struct seq_file *file = data;

	seq_printf(file, "%s: %s, authorized %d, instance %llu, phase %s, route 0x%llx\n",
		   dev_name(&link->dev), u4_state_names[READ_ONCE(link->state)],
		   READ_ONCE(link->authorized), READ_ONCE(link->instance),
		   phase_names[READ_ONCE(link->facts.phase)], link->xd->route);
	seq_printf(file, "  hops: out %d in %d, paths %s, %u Gb/s x %u\n",
		   READ_ONCE(link->out_hopid), READ_ONCE(link->in_hopid),
		   str_on_off(READ_ONCE(link->paths_on)), READ_ONCE(link->xd->link_speed),
		   u4_link_lanes(link->xd));
	mutex_lock(&link->hw_lock);
	if (link->rail)
		summary_rail(file, link->rail);
	mutex_unlock(&link->hw_lock);
	return 0;
}

static void summary_peer(struct u4_peer *peer, void *data)
{
	struct seq_file *file = data;
	u64 values[U4_PEER_COUNTERS];
	unsigned int i;

	seq_printf(file, "%s: %s %s, links %u, rails %u, users %d\n", dev_name(&peer->dev),
		   peer->ibdev, peer->netdev->name, READ_ONCE(peer->links), READ_ONCE(peer->nrails),
		   atomic_read(&peer->users));
	u4_peer_counters(peer, values);
	for (i = 0; i < U4_PEER_COUNTERS; i++)
		seq_printf(file, "  %s: %llu\n", u4_peer_counter_names[i], values[i]);
}

static int summary_show(struct seq_file *file, void *data)
{
	u4_link_for_each(summary_link, file);
	u4_peer_for_each(summary_peer, file);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(summary);

static int reset_link(struct u4_link *link, void *data)
{
	if (link->index != *(int *)data)
		return 0;
	mutex_lock(&link->hw_lock);
	if (link->rail)
		u4_rail_reset(link->rail, "asked for in debugfs");
	mutex_unlock(&link->hw_lock);
	return 1;
}

static ssize_t reset_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	int index, ret;

	ret = kstrtoint_from_user(buf, count, 10, &index);
	if (ret)
		return ret;
	return u4_link_for_each(reset_link, &index) ? count : -ENODEV;
}

static const struct file_operations reset_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= reset_write,
	.llseek	= noop_llseek,
};

void u4_debugfs_init(void)
{
	debugfs_root = debugfs_create_dir(KBUILD_MODNAME, NULL);
	debugfs_create_file("summary", 0400, debugfs_root, NULL, &summary_fops);
	debugfs_create_file("reset", 0200, debugfs_root, NULL, &reset_fops);
}

void u4_debugfs_exit(void)
{
	debugfs_remove_recursive(debugfs_root);
}
