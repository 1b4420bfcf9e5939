// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of the network interface, as they arrive. All of this runs in the poll
 * of one rail, whose rx_net holds the packet that a run carries; the packet goes
 * up when the run is confirmed, so a lost frame never reaches the stack.
 */
#include <linux/etherdevice.h>
#include <linux/skbuff.h>

#include "../link/rail.h"
#include "net.h"
#include "netdev.h"

#define NET_LINEAR	256	/* bytes of a large packet that are not in page fragments */

static struct sk_buff *net_alloc(struct u4_rail *rail, unsigned int len)
{
	struct sk_buff *skb;
	int err;

	if (len <= U4_FRAME_SIZE)
		return napi_alloc_skb(&rail->napi, len);
	skb = alloc_skb_with_frags(NET_LINEAR + NET_IP_ALIGN, len - NET_LINEAR,
				   PAGE_ALLOC_COSTLY_ORDER, &err, GFP_ATOMIC | __GFP_NOWARN);
	if (!skb)
		return NULL;
	skb_reserve(skb, NET_IP_ALIGN);
	skb_put(skb, NET_LINEAR);
	skb->data_len = len - NET_LINEAR;
	skb->len += len - NET_LINEAR;
	return skb;
}

static void net_deliver(struct u4_rail *rail, struct sk_buff *skb)
{
	struct net_device *ndev = rail->peer->netdev;
	struct ethhdr *eth = (struct ethhdr *)skb->data;

	/* Without ARP the sender knows no address of ours; whatever came is for us. */
	if (!is_multicast_ether_addr(eth->h_dest))
		ether_addr_copy(eth->h_dest, ndev->dev_addr);
	dev_sw_netstats_rx_add(ndev, skb->len);
	skb->protocol = eth_type_trans(skb, ndev);
	napi_gro_receive(&rail->napi, skb);
}

void u4_net_rx_header(struct u4_rail *rail, const void *data, unsigned int len,
		      unsigned int nraw)
{
	struct net_device *ndev = rail->peer->netdev;
	struct u4_netdev *net = netdev_priv(ndev);
	struct u4_net_frame frame;
	struct u4_net_hdr hdr;
	struct sk_buff *skb;

	rail->rx_net.skb = NULL;
	if (len < sizeof(hdr))
		goto error;
	memcpy(&hdr, data, sizeof(hdr));
	if (!u4_net_parse(&hdr, len - sizeof(hdr), nraw, &frame))
		goto error;
	if (!netif_running(ndev))
		return;

	skb = net_alloc(rail, frame.len);
	if (!skb) {
		dev_core_stats_rx_dropped_inc(ndev);
		return;
	}
	data += sizeof(hdr);
	if (frame.len <= U4_FRAME_SIZE) {
		skb_put(skb, frame.len);
		memcpy(skb->data, data, frame.inline_len);
	} else {
		skb_store_bits(skb, 0, data, frame.inline_len);
	}
	if (frame.csum && !skb_partial_csum_set(skb, frame.csum_start, frame.csum_offset)) {
		kfree_skb(skb);
		goto error;
	}
	if (!nraw) {
		net_deliver(rail, skb);
		return;
	}
	rail->rx_net.skb = skb;
	rail->rx_net.off = frame.inline_len;
	rail->rx_net.len = frame.len;
	return;
error:
	atomic64_inc(&net->rx_errors);
}

void u4_net_rx_raw(struct u4_rail *rail, const void *data, unsigned int len)
{
	struct u4_netdev *net = netdev_priv(rail->peer->netdev);
	struct u4_net_run *run = &rail->rx_net;

	if (!run->skb)
		return;
	if (len != min(run->len - run->off, U4_FRAME_SIZE)) {
		atomic64_inc(&net->rx_length_errors);
		kfree_skb(run->skb);
		run->skb = NULL;
		return;
	}
	skb_store_bits(run->skb, run->off, data, len);
	run->off += len;
}

void u4_net_rx_confirm(struct u4_rail *rail, bool ok)
{
	struct u4_net_run *run = &rail->rx_net;
	struct net_device *ndev = rail->peer->netdev;
	struct u4_netdev *net = netdev_priv(ndev);
	struct sk_buff *skb = run->skb;

	run->skb = NULL;
	if (!skb)
		return;
	if (ok && run->off == run->len && netif_running(ndev)) {
		net_deliver(rail, skb);
		return;
	}
	atomic64_inc(&net->rx_missed);
	kfree_skb(skb);
}
