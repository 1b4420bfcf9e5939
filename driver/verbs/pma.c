// SPDX-License-Identifier: GPL-2.0-only
/*
 * The port's counters as a performance manager's agent tells them: that is how ib_core
 * fills /sys/class/infiniband/.../ports/1/counters. Local questions only; what comes
 * from the peer is for nobody.
 *
 * Data counts the payload of RDMA in units of four octets, packets count segments and
 * acknowledgements, loopback included. Errors are those of the cable's frames.
 */
#include <rdma/ib_mad.h>
#include <rdma/ib_pma.h>

#include "verbs.h"

/* Like the hardware whose registers these were, they stop at their end. */
#define U4_SATURATE(type, value)	((type)min_t(u64, value, (type)~0))

/**
 * struct u4_port_totals - what the port has seen
 * @tx_octets: payload sent
 * @rx_octets: payload received
 * @tx_packets: segments and acknowledgements sent
 * @rx_packets: received
 * @tx_multicast: of these to groups
 * @rx_multicast: from groups
 */
struct u4_port_totals {
	u64	tx_octets;
	u64	rx_octets;
	u64	tx_packets;
	u64	rx_packets;
	u64	tx_multicast;
	u64	rx_multicast;
};

static u64 u4_sum(struct u4_xpdev *xp, const u8 *counters, unsigned int n)
{
	u64 sum = 0;

	while (n--)
		sum += u4_xp_counter(xp, counters[n]);
	return sum;
}

static void u4_port_totals(struct u4_xpdev *xp, struct u4_port_totals *totals)
{
	static const u8 tx[] = { U4_CNT_TX_SEGMENTS, U4_CNT_TX_ACKS, U4_CNT_TX_NAK_SEQ,
				 U4_CNT_TX_RNR, U4_CNT_PROBES };
	static const u8 rx[] = { U4_CNT_RX_SEGMENTS, U4_CNT_RX_ACKS, U4_CNT_RX_NAK_SEQ,
				 U4_CNT_RX_RNR, U4_CNT_RX_PROBES };

	totals->tx_octets = u4_xp_counter(xp, U4_CNT_TX_BYTES);
	totals->rx_octets = u4_xp_counter(xp, U4_CNT_RX_BYTES);
	totals->tx_packets = u4_sum(xp, tx, ARRAY_SIZE(tx));
	totals->rx_packets = u4_sum(xp, rx, ARRAY_SIZE(rx));
	totals->tx_multicast = u4_xp_counter(xp, U4_CNT_TX_MULTICAST);
	totals->rx_multicast = u4_xp_counter(xp, U4_CNT_RX_MULTICAST);
}

static u64 u4_frame_errors(const u64 *values, const char *name)
{
	unsigned int i;

	for (i = 0; i < U4_PEER_COUNTERS; i++)
		if (!strcmp(u4_peer_counter_names[i], name))
			return values[i];
	return 0;
}

static void u4_pma_counters(struct u4_vdev *vdev, struct ib_pma_portcounters *out)
{
	u64 values[U4_PEER_COUNTERS], crc;
	struct u4_port_totals totals;

	u4_port_totals(&vdev->xp, &totals);
	u4_peer_counters(vdev->peer, values);
	crc = u4_frame_errors(values, "rx_crc_errors");
	out->symbol_error_counter = cpu_to_be16(U4_SATURATE(u16, crc));
	out->link_downed_counter = U4_SATURATE(u8, (u32)atomic_read(&vdev->downs));
	out->port_rcv_errors = cpu_to_be16(U4_SATURATE(u16, crc +
				u4_frame_errors(values, "rx_overruns") +
				u4_frame_errors(values, "rx_bad")));
	out->port_xmit_discards = cpu_to_be16(U4_SATURATE(u16,
				u4_frame_errors(values, "tx_canceled")));
	out->port_xmit_data = cpu_to_be32(U4_SATURATE(u32, totals.tx_octets / 4));
	out->port_rcv_data = cpu_to_be32(U4_SATURATE(u32, totals.rx_octets / 4));
	out->port_xmit_packets = cpu_to_be32(U4_SATURATE(u32, totals.tx_packets));
	out->port_rcv_packets = cpu_to_be32(U4_SATURATE(u32, totals.rx_packets));
	out->port_xmit_wait = cpu_to_be32(U4_SATURATE(u32,
				u4_frame_errors(values, "tx_no_credit")));
}

static void u4_pma_counters_ext(struct u4_vdev *vdev, struct ib_pma_portcounters_ext *out)
{
	struct u4_port_totals totals;

	u4_port_totals(&vdev->xp, &totals);
	out->port_xmit_data = cpu_to_be64(totals.tx_octets / 4);
	out->port_rcv_data = cpu_to_be64(totals.rx_octets / 4);
	out->port_xmit_packets = cpu_to_be64(totals.tx_packets);
	out->port_rcv_packets = cpu_to_be64(totals.rx_packets);
	out->port_unicast_xmit_packets = cpu_to_be64(totals.tx_packets - totals.tx_multicast);
	out->port_unicast_rcv_packets = cpu_to_be64(totals.rx_packets - totals.rx_multicast);
	out->port_multicast_xmit_packets = cpu_to_be64(totals.tx_multicast);
	out->port_multicast_rcv_packets = cpu_to_be64(totals.rx_multicast);
}

int u4_process_mad(struct ib_device *ib, int flags, u32 port, const struct ib_wc *in_wc,
		   const struct ib_grh *in_grh, const struct ib_mad *in, struct ib_mad *out,
		   size_t *out_size, u16 *out_pkey_index)
{
	struct u4_vdev *vdev = to_u4_ibdev(ib)->vdev;
	struct ib_pma_mad *pma = (struct ib_pma_mad *)out;
	struct ib_class_port_info *info = (void *)pma->data;

	static_assert(sizeof(struct ib_pma_mad) == sizeof(struct ib_mad));
	if (in_wc || port != U4_PORT || in->mad_hdr.mgmt_class != IB_MGMT_CLASS_PERF_MGMT ||
	    in->mad_hdr.method != IB_MGMT_METHOD_GET)
		return IB_MAD_RESULT_FAILURE;

	memset(out, 0, sizeof(*out));
	out->mad_hdr = in->mad_hdr;
	out->mad_hdr.method = IB_MGMT_METHOD_GET_RESP;
	switch (in->mad_hdr.attr_id) {
	case IB_PMA_CLASS_PORT_INFO:
		info->base_version = IB_MGMT_BASE_VERSION;
		info->class_version = 1;
		info->capability_mask = IB_PMA_CLASS_CAP_EXT_WIDTH;
		break;
	case IB_PMA_PORT_COUNTERS:
		u4_pma_counters(vdev, (void *)pma->data);
		break;
	case IB_PMA_PORT_COUNTERS_EXT:
		u4_pma_counters_ext(vdev, (void *)pma->data);
		break;
	default:
		return IB_MAD_RESULT_FAILURE;
	}
	return IB_MAD_RESULT_SUCCESS | IB_MAD_RESULT_REPLY;
}
