// SPDX-License-Identifier: GPL-2.0-only
/*
 * Start and end of the module. The topmost layer is started, and starts what is
 * below it: verbs/ calls u4_link_init() with its upcalls.
 */
#include <linux/module.h>

#include "verbs/verbs.h"

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
MODULE_VERSION(U4_FW_VERSION);
