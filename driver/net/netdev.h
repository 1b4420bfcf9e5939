/* SPDX-License-Identifier: GPL-2.0-only */
/* Private data of the network interface; for the files of net/ only. */
#ifndef U4_NETDEV_H
#define U4_NETDEV_H

#include "../link/link.h"

/**
 * struct u4_netdev - private data of u4rdmaN
 * @ndev: the interface
 * @peer: whose
 * @waiter: for room on a rail, while the queue is stopped
 * @rx_errors: packets dropped for what their header says
 * @rx_length_errors: packets whose frames do not make up their length
 * @rx_missed: packets of which a frame was lost
 */
struct u4_netdev {
	struct net_device	*ndev;
	struct u4_peer		*peer;
	struct u4_waiter	waiter;
	atomic64_t		rx_errors;
	atomic64_t		rx_length_errors;
	atomic64_t		rx_missed;
};

#endif /* U4_NETDEV_H */
