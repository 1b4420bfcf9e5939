/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network interface u4rdmaN of a peer: what the link core calls. Frames of
 * KIND_NET come and go here.
 */
#ifndef U4_NET_H
#define U4_NET_H

#include "../link/link.h"
#include "net_frame.h"

#define U4_NET_MTU_DEFAULT	4192	/* carries rdma_cm's path MTU of 4096 */

/* Process context. @peer has index, identities and device already. */
struct net_device *u4_net_create(struct u4_peer *peer);
int u4_net_register(struct net_device *ndev);
void u4_net_unregister(struct net_device *ndev);
void u4_net_destroy(struct net_device *ndev);

/* Softirq, in the rail's poll. What is not valid is dropped and counted. */
void u4_net_rx_header(struct u4_rail *rail, const void *data, unsigned int len,
		      unsigned int nraw);
void u4_net_rx_raw(struct u4_rail *rail, const void *data, unsigned int len);
void u4_net_rx_confirm(struct u4_rail *rail, bool ok);

#endif /* U4_NET_H */
