// SPDX-License-Identifier: GPL-2.0-only
/*
 * The network interface u4rdmaN of a peer: sending, statistics, ethtool. It is
 * of Ethernet type without ARP, and not point-to-point: a program that resolves
 * an address finds a hardware address, any one, since the receiver puts its own
 * in. Its carrier says that a rail is active; that is the link core's business.
 *
 * A packet leaves as one header frame, or as a run when it is larger.
 */
#include <crypto/sha2.h>
#include <linux/etherdevice.h>
#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>

#include "../link/core.h"
#include "../link/rail.h"
#include "net.h"
#include "netdev.h"

static netdev_tx_t net_start_xmit(struct sk_buff *skb, struct net_device *ndev)
{
	struct u4_netdev *net = netdev_priv(ndev);
	unsigned int len = skb->len, inline_len, nraw, i, off;
	struct u4_net_hdr *hdr;
	struct u4_burst burst;
	struct u4_rail *rail;
	int ret;

	if (unlikely(len < ETH_HLEN || len > U4_NET_INLINE_MAX + U4_SEG_MAX))
		goto drop;
	inline_len = min_t(unsigned int, len, U4_NET_INLINE_MAX);
	nraw = DIV_ROUND_UP(len - inline_len, U4_FRAME_SIZE);

	rcu_read_lock();
	rail = u4_peer_rail(net->peer, skb_get_hash(skb));
	if (!rail)
		goto drop_unlock;
	ret = u4_rail_get(rail, nraw, &burst);
	if (ret == -EAGAIN) {
		netif_stop_queue(ndev);
		u4_rail_wait(rail, &net->waiter);
		rcu_read_unlock();
		return NETDEV_TX_BUSY;
	}
	if (ret)
		goto drop_unlock;

	hdr = burst.payload;
	memset(hdr, 0, sizeof(*hdr));
	hdr->len = cpu_to_le32(len);
	hdr->inline_len = cpu_to_le16(inline_len);
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		hdr->flags = U4_NET_CSUM_PARTIAL;
		hdr->csum_start = cpu_to_le16(skb_checksum_start_offset(skb));
		hdr->csum_offset = cpu_to_le16(skb->csum_offset);
	}
	skb_copy_bits(skb, 0, hdr + 1, inline_len);
	off = inline_len;
	for (i = 0; i < nraw; i++) {
		unsigned int n = min(len - off, U4_FRAME_SIZE);

		skb_copy_bits(skb, off, u4_burst_buf(&burst, i), n);
		u4_burst_set_len(&burst, i, n);
		off += n;
	}
	u4_rail_send(&burst, U4_KIND_NET, sizeof(*hdr) + inline_len, NULL, netdev_xmit_more());
	rcu_read_unlock();

	dev_sw_netstats_tx_add(ndev, 1, len);
	consume_skb(skb);
	return NETDEV_TX_OK;

drop_unlock:
	rcu_read_unlock();
drop:
	dev_core_stats_tx_dropped_inc(ndev);
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

static void net_waiter(struct u4_waiter *waiter)
{
	struct u4_netdev *net = container_of(waiter, struct u4_netdev, waiter);

	netif_wake_queue(net->ndev);
}

static int net_open(struct net_device *ndev)
{
	netif_start_queue(ndev);
	return 0;
}

static int net_stop(struct net_device *ndev)
{
	struct u4_netdev *net = netdev_priv(ndev);

	netif_stop_queue(ndev);
	u4_rail_unwait(&net->waiter);
	return 0;
}

static void net_get_stats64(struct net_device *ndev, struct rtnl_link_stats64 *stats)
{
	struct u4_netdev *net = netdev_priv(ndev);

	dev_fetch_sw_netstats(stats, ndev->tstats);
	stats->rx_errors = atomic64_read(&net->rx_errors);
	stats->rx_length_errors = atomic64_read(&net->rx_length_errors);
	stats->rx_missed_errors = atomic64_read(&net->rx_missed);
}

static const struct net_device_ops net_ops = {
	.ndo_open		= net_open,
	.ndo_stop		= net_stop,
	.ndo_start_xmit		= net_start_xmit,
	.ndo_get_stats64	= net_get_stats64,
	.ndo_set_mac_address	= eth_mac_addr,
	.ndo_validate_addr	= eth_validate_addr,
};

static int net_get_link_ksettings(struct net_device *ndev, struct ethtool_link_ksettings *cmd)
{
	struct u4_netdev *net = netdev_priv(ndev);
	struct u4_port_speed speed;

	ethtool_link_ksettings_zero_link_mode(cmd, supported);
	ethtool_link_ksettings_zero_link_mode(cmd, advertising);
	u4_peer_speed(net->peer, &speed);
	cmd->base.speed = speed.rails ? (u32)div_u64(speed.total_bps, 1000000) : SPEED_UNKNOWN;
	cmd->base.duplex = speed.rails ? DUPLEX_FULL : DUPLEX_UNKNOWN;
	cmd->base.autoneg = AUTONEG_DISABLE;
	cmd->base.port = PORT_OTHER;
	cmd->lanes = speed.lanes;
	return 0;
}

static void net_get_drvinfo(struct net_device *ndev, struct ethtool_drvinfo *info)
{
	struct u4_netdev *net = netdev_priv(ndev);

	strscpy(info->driver, KBUILD_MODNAME, sizeof(info->driver));
	strscpy(info->bus_info, dev_name(&net->peer->dev), sizeof(info->bus_info));
}

static int net_get_sset_count(struct net_device *ndev, int sset)
{
	return sset == ETH_SS_STATS ? U4_PEER_COUNTERS : -EOPNOTSUPP;
}

static void net_get_strings(struct net_device *ndev, u32 sset, u8 *data)
{
	unsigned int i;

	if (sset != ETH_SS_STATS)
		return;
	for (i = 0; i < U4_PEER_COUNTERS; i++)
		ethtool_puts(&data, u4_peer_counter_names[i]);
}

static void net_get_ethtool_stats(struct net_device *ndev, struct ethtool_stats *stats, u64 *data)
{
	struct u4_netdev *net = netdev_priv(ndev);

	u4_peer_counters(net->peer, data);
}

static const struct ethtool_ops net_ethtool_ops = {
	.get_link		= ethtool_op_get_link,
	.get_link_ksettings	= net_get_link_ksettings,
	.get_drvinfo		= net_get_drvinfo,
	.get_sset_count		= net_get_sset_count,
	.get_strings		= net_get_strings,
	.get_ethtool_stats	= net_get_ethtool_stats,
};

static void net_setup(struct net_device *ndev)
{
	ether_setup(ndev);
	ndev->netdev_ops = &net_ops;
	ndev->ethtool_ops = &net_ethtool_ops;
	ndev->flags |= IFF_NOARP;
	ndev->priv_flags &= ~IFF_TX_SKB_SHARING;
	/* Sending takes locks of softirqs; netpoll would call it with interrupts off. */
	ndev->priv_flags |= IFF_LIVE_ADDR_CHANGE | IFF_DISABLE_NETPOLL;
	ndev->mtu = U4_NET_MTU_DEFAULT;
	ndev->min_mtu = ETH_MIN_MTU;
	ndev->max_mtu = U4_NET_MTU_MAX;
	ndev->features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM | NETIF_F_HIGHDMA;
	ndev->hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_RXCSUM;
	ndev->vlan_features = ndev->features;
	ndev->pcpu_stat_type = NETDEV_PCPU_STAT_TSTATS;
}

/* The same pair of identities gives the same address, in each boot. */
static void net_set_address(struct net_device *ndev, const struct u4_peer *peer)
{
	u8 pair[2 * USB4_RDMA_IDENTITY_LEN], digest[SHA256_DIGEST_SIZE], mac[ETH_ALEN];

	memcpy(pair, peer->local, USB4_RDMA_IDENTITY_LEN);
	memcpy(pair + USB4_RDMA_IDENTITY_LEN, peer->identity, USB4_RDMA_IDENTITY_LEN);
	sha256(pair, sizeof(pair), digest);
	memcpy(mac, digest, ETH_ALEN);
	mac[0] = (mac[0] & 0xfc) | 0x02;	/* local, unicast */
	eth_hw_addr_set(ndev, mac);
}

struct net_device *u4_net_create(struct u4_peer *peer)
{
	struct net_device *ndev;
	struct u4_netdev *net;
	char name[IFNAMSIZ];

	snprintf(name, sizeof(name), "u4rdma%d", peer->index);
	ndev = alloc_netdev(sizeof(*net), name, NET_NAME_ENUM, net_setup);
	if (!ndev)
		return NULL;
	net = netdev_priv(ndev);
	net->ndev = ndev;
	net->peer = peer;
	INIT_LIST_HEAD(&net->waiter.node);
	net->waiter.fn = net_waiter;
	net_set_address(ndev, peer);
	SET_NETDEV_DEV(ndev, &peer->dev);
	return ndev;
}

int u4_net_register(struct net_device *ndev)
{
	int ret;

	rtnl_lock();
	netif_carrier_off(ndev);
	ret = register_netdevice(ndev);
	rtnl_unlock();
	return ret;
}

void u4_net_unregister(struct net_device *ndev)
{
	unregister_netdev(ndev);
}

void u4_net_destroy(struct net_device *ndev)
{
	free_netdev(ndev);
}
