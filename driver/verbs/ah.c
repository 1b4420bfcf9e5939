// SPDX-License-Identifier: GPL-2.0-only
/*
 * Address handles. All frames go to the one peer, so an address only says what
 * network header the receiver finds in front of the payload, and whether the
 * destination is the device itself.
 */
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/slab.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <rdma/ib_addr.h>

#include "verbs.h"

#define U4_UDP_OVERHEAD	(8 + 12 + 8 + 4)	/* UDP, BTH, DETH, ICRC of the real RoCE v2 */

bool u4_gid_is_ours(struct ib_device *ib, const union ib_gid *gid)
{
	const struct ib_gid_attr *attr;

	attr = rdma_find_gid_by_port(ib, gid, IB_GID_TYPE_ROCE_UDP_ENCAP, U4_PORT, NULL);
	if (IS_ERR(attr))
		return false;
	rdma_put_gid_attr(attr);
	return true;
}

static void u4_av_ipv4(struct u4_av *av, const union ib_gid *sgid,
		       const struct ib_global_route *grh)
{
	struct iphdr *ip = (struct iphdr *)(av->net_hdr + U4_NET_HDR_LEN - sizeof(*ip));

	av->ipv4 = true;
	ip->version = 4;
	ip->ihl = 5;
	ip->tos = grh->traffic_class;
	ip->ttl = grh->hop_limit;
	ip->protocol = IPPROTO_UDP;
	ip->frag_off = htons(IP_DF);
	memcpy(&ip->saddr, sgid->raw + 12, 4);
	memcpy(&ip->daddr, grh->dgid.raw + 12, 4);
}

static void u4_av_ipv6(struct u4_av *av, const union ib_gid *sgid,
		       const struct ib_global_route *grh)
{
	struct ipv6hdr *ip = (struct ipv6hdr *)av->net_hdr;

	ip6_flow_hdr(ip, grh->traffic_class, htonl(grh->flow_label & 0xfffff));
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = grh->hop_limit;
	memcpy(&ip->saddr, sgid->raw, 16);
	memcpy(&ip->daddr, grh->dgid.raw, 16);
}

void u4_av_set_len(struct u4_av *av, u32 len)
{
	if (av->ipv4) {
		struct iphdr *ip = (struct iphdr *)(av->net_hdr + U4_NET_HDR_LEN - sizeof(*ip));

		ip->tot_len = htons(sizeof(*ip) + U4_UDP_OVERHEAD + len);
		ip_send_check(ip);
	} else {
		((struct ipv6hdr *)av->net_hdr)->payload_len = htons(U4_UDP_OVERHEAD + len);
	}
}

int u4_create_ah(struct ib_ah *ib, struct rdma_ah_init_attr *init, struct ib_udata *udata)
{
	const struct ib_global_route *grh = rdma_ah_read_grh(init->ah_attr);
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct u4_ah *ah = to_u4_ah(ib);
	struct rxe_create_ah_resp resp = {};
	struct u4_ah_entry *entry;
	int err;

	if (!(rdma_ah_get_ah_flags(init->ah_attr) & IB_AH_GRH) || !grh->sgid_attr)
		return -EINVAL;
	if (udata && udata->outlen < sizeof(resp))	/* older than rdma-core 39 */
		return -EOPNOTSUPP;
	/* Not the kernel's: they are few, and nobody could connect without them. */
	if (udata && !u4_take(&dev->num_ahs, U4_MAX_AHS))
		return -ENOMEM;

	ah->attr = *init->ah_attr;
	ah->attr.grh.sgid_attr = NULL;
	ah->av.multicast = rdma_is_multicast_addr((struct in6_addr *)grh->dgid.raw);
	ah->av.loopback = u4_gid_is_ours(ib->device, &grh->dgid);
	/* An IPv4 header holds IPv4 addresses only; any two addresses fit into the other. */
	if (rdma_gid_attr_network_type(grh->sgid_attr) == RDMA_NETWORK_IPV4 &&
	    ipv6_addr_v4mapped((struct in6_addr *)grh->dgid.raw))
		u4_av_ipv4(&ah->av, &grh->sgid_attr->gid, grh);
	else
		u4_av_ipv6(&ah->av, &grh->sgid_attr->gid, grh);
	if (!udata)
		return 0;

	entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	err = -ENOMEM;
	if (!entry)
		goto err_count;
	entry->av = ah->av;
	entry->pd = ib->pd;
	err = xa_alloc_cyclic(&dev->ahs, &ah->num, entry, XA_LIMIT(1, U32_MAX >> 1),
			      &dev->next_ah, GFP_KERNEL_ACCOUNT);
	if (err < 0)
		goto err_entry;
	resp.ah_num = ah->num;
	err = ib_copy_to_udata(udata, &resp, sizeof(resp));
	if (err)
		goto err_num;
	return 0;

err_num:
	xa_erase(&dev->ahs, ah->num);
err_entry:
	kfree_rcu(entry, rcu);
err_count:
	atomic_dec(&dev->num_ahs);
	return err;
}

int u4_query_ah(struct ib_ah *ib, struct rdma_ah_attr *attr)
{
	*attr = to_u4_ah(ib)->attr;
	return 0;
}

int u4_destroy_ah(struct ib_ah *ib, u32 flags)
{
	struct u4_ibdev *dev = to_u4_ibdev(ib->device);
	struct u4_ah *ah = to_u4_ah(ib);
	struct u4_ah_entry *entry;

	if (ah->num) {
		entry = xa_erase(&dev->ahs, ah->num);
		if (entry)
			kfree_rcu(entry, rcu);
		atomic_dec(&dev->num_ahs);
	}
	return 0;
}
