// SPDX-License-Identifier: GPL-2.0-only
/*
 * Start and end of the module. The topmost layer is started, and starts what is
 * below it: verbs/ calls u4_link_init() with its upcalls.
 */
#include <linux/module.h>

#include "link/link.h"
#ifndef U4_LINK_ONLY
#include "verbs/verbs.h"
#endif

#ifdef U4_LINK_ONLY
/*
 * A build with U4_LINK_ONLY=1 has links and network interfaces only, for tests
 * of this layer: nobody is above it.
 */
static int stub_peer_add(struct u4_peer *peer)
{
	return 0;
}

static void stub_peer(struct u4_peer *peer)
{
}

static void stub_rail(struct u4_peer *peer, struct u4_rail *rail)
{
}

static void stub_header(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
			const void *data, unsigned int len, unsigned int nraw)
{
}

static void stub_raw(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run,
		     unsigned int idx, const void *data, unsigned int len)
{
}

static void stub_confirm(struct u4_peer *peer, struct u4_rail *rail, struct u4_run *run, bool ok)
{
}

static const struct u4_client_ops stub_ops = {
	.peer_add	= stub_peer_add,
	.peer_remove	= stub_peer,
	.peer_reset	= stub_peer,
	.rail_up	= stub_rail,
	.rail_down	= stub_rail,
	.rx_header	= stub_header,
	.rx_raw		= stub_raw,
	.rx_confirm	= stub_confirm,
	.rx_lost	= stub_rail,
	.rx_batch_end	= stub_rail,
};

static int u4_verbs_init(void)
{
	return u4_link_init(&stub_ops);
}

static void u4_verbs_exit(void)
{
	u4_link_exit();
}
#endif

static int __init u4_init(void)
{
	return u4_verbs_init();
}
module_init(u4_init);

static void __exit u4_exit(void)
{
	u4_verbs_exit();
}
module_exit(u4_exit);

MODULE_DESCRIPTION("RDMA over USB4 and Thunderbolt cables");
MODULE_AUTHOR("The usb4rdma project");
MODULE_LICENSE("GPL");
