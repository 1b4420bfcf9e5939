/* SPDX-License-Identifier: GPL-2.0-only */
/* What driver/link/ and driver/net/ want of the kernel: Thunderbolt, packets, tracing. */
#ifndef SHIM_LINK_H
#define SHIM_LINK_H

#include "fuzz_shim.h"

/* ---- thunderbolt ---- */

typedef struct { u8 b[16]; } uuid_t;
#define import_uuid(to, from)	memcpy(to, from, 16)

struct tb_xdomain {
	uuid_t	*local_uuid, *remote_uuid;
	u64	route;
	bool	is_unplugged;
};

struct tb_ring;
struct tb_service;
struct cdev { int unused; };
struct class;
struct attribute_group;

struct ring_frame {
	dma_addr_t		buffer_phy;
	struct list_head	list;
	u32			size:12;
	u32			flags:12;
	u32			eof:4;
	u32			sof:4;
};

struct ring_frame *tb_ring_poll(struct tb_ring *ring);
void tb_ring_poll_complete(struct tb_ring *ring);
int tb_ring_rx(struct tb_ring *ring, struct ring_frame *frame);

#define TB_MAX_FRAME_SIZE		4096
#define RING_DESC_CRC_ERROR		0x1
#define RING_DESC_BUFFER_OVERRUN	0x04
#define tb_ring_throttling(ring, ns)	((void)0)

enum tb_cfg_pkg_type { TB_CFG_PKG_XDOMAIN_REQ = 14, TB_CFG_PKG_XDOMAIN_RESP = 15 };
struct tb_protocol_handler {
	const uuid_t	*uuid;
	int		(*callback)(const void *buf, size_t size, void *data);
	void		*data;
};

int tb_xdomain_request(struct tb_xdomain *xd, const void *request, size_t request_size,
		       enum tb_cfg_pkg_type request_type, void *response, size_t response_size,
		       enum tb_cfg_pkg_type response_type, unsigned int timeout_msec);
#define tb_register_protocol_handler(h)		((void)(h), 0)
#define tb_unregister_protocol_handler(h)	((void)(h))
#define le32_to_cpu_array(words, n)		((void)(words), (void)(n))

/* ---- NAPI and packets ---- */

struct napi_struct { int unused; };
#define napi_schedule(n)		((void)(n))
#define napi_complete_done(n, w)	((void)(n), (void)(w))

/* A packet is flat: what the kernel keeps in pages is checked for its bounds alike. */
struct sk_buff {
	u8		*data;
	unsigned int	len, data_len, room;
	u16		protocol;
	bool		partial;
};

struct ethhdr {
	u8	h_dest[6], h_source[6];
	__be16	h_proto;
};

struct net_device {
	u8	dev_addr[6];
	bool	running;
	void	*priv;
};

#define NET_IP_ALIGN			0
#define netdev_priv(n)			((n)->priv)
#define netif_running(n)		((n)->running)
#define dev_sw_netstats_rx_add(n, l)	((void)(n))
#define dev_core_stats_rx_dropped_inc(n)	((void)(n))
#define is_multicast_ether_addr(a)	((a)[0] & 1)
#define ether_addr_copy(to, from)	memcpy(to, from, 6)
static inline u16 eth_type_trans(struct sk_buff *skb, struct net_device *ndev)
{
	(void)ndev;
	CHECK(skb->len >= 14, "no Ethernet header");
	return 0;
}

#define dma_sync_single_for_cpu(d, a, l, w)	((void)(l))
#define dma_sync_single_for_device(d, a, l, w)	((void)(l))
#define page_address(p)			((void *)(p)->bytes)

struct sk_buff *napi_alloc_skb(struct napi_struct *napi, unsigned int len);
struct sk_buff *alloc_skb_with_frags(unsigned long header, unsigned long data, int order, int *err,
				     int flags);
void *skb_put(struct sk_buff *skb, unsigned int len);
#define skb_reserve(skb, n)		((void)(skb))
int skb_store_bits(struct sk_buff *skb, int offset, const void *from, int len);
bool skb_partial_csum_set(struct sk_buff *skb, u16 start, u16 off);
void napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb);
void kfree_skb(struct sk_buff *skb);

/* ---- tracepoints do nothing ---- */

#define TP_PROTO(...)				__VA_ARGS__
#define DECLARE_EVENT_CLASS(...)
#define TRACE_EVENT(name, proto, args, ...)	static inline void trace_##name(proto) { }
#define DEFINE_EVENT(class, name, proto, args)	static inline void trace_##name(proto) { }

/* All that can happen has happened when a wait begins. */
#define wait_event_timeout(w, cond, t)	((void)(w), check_wait(t), (cond))
static inline void check_wait(unsigned int ms)
{
	CHECK(ms >= 300 && ms <= 1000, "waits %u ms", ms);
}
#define msecs_to_jiffies(ms)		(ms)

/* ---- device model ---- */

#define get_device(d)		((void)(d))
#define put_device(d)		((void)(d))

#endif /* SHIM_LINK_H */
