// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one port: RoCE v2, its state and speed from the cables, its GIDs from the
 * addresses of the network interface (kept by ib_core).
 */
#include <linux/netdevice.h>
#include <rdma/ib_mad.h>

#include "verbs.h"

static_assert(U4_GID_TABLE <= U4_MAX_OWN_GIDS, "addresses");

/* What ib_core can say about a speed; the closest that promises no more is told. */
static const struct { u16 speed; u16 gbps10; } u4_speeds[] = {
	{ IB_SPEED_SDR, 25 }, { IB_SPEED_DDR, 50 }, { IB_SPEED_QDR, 100 },
	{ IB_SPEED_FDR, 140 }, { IB_SPEED_EDR, 250 }, { IB_SPEED_HDR, 500 },
};

static const struct { u8 width; u8 lanes; } u4_widths[] = {
	{ IB_WIDTH_4X, 4 }, { IB_WIDTH_1X, 1 }, { IB_WIDTH_2X, 2 },
	{ IB_WIDTH_8X, 8 }, { IB_WIDTH_12X, 12 },
};

static void u4_port_speed(struct u4_peer *peer, struct ib_port_attr *attr)
{
	struct u4_port_speed link;
	unsigned int s, w;
	u64 best = 0;

	attr->active_speed = IB_SPEED_SDR;
	attr->active_width = IB_WIDTH_1X;
	u4_peer_speed(peer, &link);
	for (w = 0; w < ARRAY_SIZE(u4_widths); w++) {
		for (s = 0; s < ARRAY_SIZE(u4_speeds); s++) {
			u64 bps = u4_widths[w].lanes * u4_speeds[s].gbps10 * 100000000ull;

			if (bps <= best || bps > link.total_bps)
				continue;
			best = bps;
			attr->active_speed = u4_speeds[s].speed;
			attr->active_width = u4_widths[w].width;
		}
	}
}

static bool u4_port_up(struct u4_peer *peer)
{
	bool up;

	rcu_read_lock();
	up = u4_peer_rail(peer, 0);
	rcu_read_unlock();
	return up;
}

int u4_query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	struct u4_peer *peer = to_u4_ibdev(ib)->vdev->peer;
	bool up;

	if (port != U4_PORT)
		return -EINVAL;
	up = u4_port_up(peer);
	attr->state = up ? IB_PORT_ACTIVE : IB_PORT_DOWN;
	attr->phys_state = up ? IB_PORT_PHYS_STATE_LINK_UP : IB_PORT_PHYS_STATE_POLLING;
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = IB_MTU_4096;
	attr->gid_tbl_len = U4_GID_TABLE;
	attr->ip_gids = true;
	attr->port_cap_flags = IB_PORT_CM_SUP;
	attr->max_msg_sz = U4_MAX_MSG;
	attr->pkey_tbl_len = 1;
	attr->max_vl_num = 1;
	u4_port_speed(peer, attr);
	return 0;
}

int u4_query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey)
{
	if (port != U4_PORT || index)
		return -EINVAL;
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

int u4_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable)
{
	if (port != U4_PORT)
		return -EINVAL;
	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->pkey_tbl_len = 1;
	immutable->gid_tbl_len = U4_GID_TABLE;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

enum rdma_link_layer u4_link_layer(struct ib_device *ib, u32 port)
{
	return IB_LINK_LAYER_ETHERNET;
}

/* The transport knows its own addresses, so that nobody else sends datagrams from them. */
int u4_add_gid(const struct ib_gid_attr *attr, void **context)
{
	return u4_own_gid_add(&to_u4_ibdev(attr->device)->vdev->xp, attr->index, attr->gid.raw);
}

int u4_del_gid(const struct ib_gid_attr *attr, void **context)
{
	u4_own_gid_del(&to_u4_ibdev(attr->device)->vdev->xp, attr->index);
	return 0;
}

/*
 * Never ib_device_set_netdev(): it would put the device where rdma_rxe looks up
 * network interfaces and takes what it finds with its driver id for its own.
 */
struct net_device *u4_get_netdev(struct ib_device *ib, u32 port)
{
	struct net_device *netdev = to_u4_ibdev(ib)->vdev->peer->netdev;

	if (port != U4_PORT || !netdev || netdev->reg_state != NETREG_REGISTERED)
		return NULL;
	dev_hold(netdev);
	return netdev;
}
