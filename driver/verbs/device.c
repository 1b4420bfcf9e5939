// SPDX-License-Identifier: GPL-2.0-only
/*
 * The RDMA device of a peer: what it is, what it can do, and its operations.
 */
#include <crypto/sha2.h>
#include <linux/module.h>
#include <linux/unaligned.h>

#include "../compat.h"
#include "verbs.h"

/*
 * The same two hosts get the same GUID each time; each side has its own. Marked
 * as locally administered.
 */
static __be64 u4_guid(const struct u4_peer *peer)
{
	u8 both[2 * USB4_RDMA_IDENTITY_LEN];
	u8 digest[SHA256_DIGEST_SIZE];
	__be64 guid;

	memcpy(both, peer->local, USB4_RDMA_IDENTITY_LEN);
	memcpy(both + USB4_RDMA_IDENTITY_LEN, peer->identity, USB4_RDMA_IDENTITY_LEN);
	sha256(both, sizeof(both), digest);
	digest[0] = (digest[0] | 2) & ~1;
	memcpy(&guid, digest, sizeof(guid));
	return guid;
}

static int u4_query_device(struct ib_device *ib, struct ib_device_attr *attr,
			   struct ib_udata *udata)
{
	if (udata && (udata->inlen || udata->outlen))
		return -EINVAL;

	attr->fw_ver = U4_FW_VERSION_WORD;
	attr->sys_image_guid = ib->node_guid;
	attr->vendor_id = U4_VENDOR_ID;
	attr->vendor_part_id = U4_VENDOR_PART_ID;
	attr->hw_ver = U4_WIRE_VERSION_MAX;
	attr->max_mr_size = U4_MAX_MR_SIZE;
	attr->page_size_cap = PAGE_SIZE;
	attr->device_cap_flags = IB_DEVICE_PORT_ACTIVE_EVENT | IB_DEVICE_SYS_IMAGE_GUID |
				 IB_DEVICE_RC_RNR_NAK_GEN | IB_DEVICE_SRQ_RESIZE |
				 IB_DEVICE_UD_AV_PORT_ENFORCE | IB_DEVICE_MEM_MGT_EXTENSIONS |
				 IB_DEVICE_MEM_WINDOW | IB_DEVICE_MEM_WINDOW_TYPE_2B |
				 IB_DEVICE_ATOMIC_WRITE | IB_DEVICE_FLUSH_GLOBAL;
	attr->kernel_cap_flags = IBK_LOCAL_DMA_LKEY;
	attr->max_qp = U4_MAX_QPS;
	attr->max_qp_wr = U4_MAX_WR;
	attr->max_send_sge = U4_MAX_SGE;
	attr->max_recv_sge = U4_MAX_SGE;
	attr->max_sge_rd = U4_MAX_SGE;
	attr->max_cq = U4_MAX_CQS;
	attr->max_cqe = U4_MAX_CQE;
	attr->max_mr = U4_MAX_MRS;
	attr->max_mw = U4_MAX_MRS;
	attr->max_pd = U4_MAX_PDS;
	attr->max_qp_rd_atom = U4_MAX_RD_ATOMIC;
	attr->max_qp_init_rd_atom = U4_MAX_RD_ATOMIC;
	attr->max_res_rd_atom = U4_MAX_RD_ATOMIC * U4_MAX_QPS;
	attr->atomic_cap = IB_ATOMIC_HCA;
	attr->max_ah = U4_MAX_AHS;
	attr->max_srq = U4_MAX_SRQS;
	attr->max_srq_wr = U4_MAX_WR;
	attr->max_srq_sge = U4_MAX_SGE;
	attr->max_fast_reg_page_list_len = U4_MAX_FAST_PAGES;
	attr->max_mcast_grp = U4_MC_GROUPS;
	attr->max_mcast_qp_attach = U4_MC_PER_GROUP;
	attr->max_total_mcast_qp_attach = U4_MC_MEMBERS;
	attr->max_pkeys = 1;
	attr->local_ca_ack_delay = 15;
	u4_odp_caps(attr);
	return 0;
}

static void u4_fw_str(struct ib_device *ib, char *str)
{
	strscpy(str, U4_FW_VERSION, IB_FW_VERSION_NAME_MAX);
}

static int u4_modify_device(struct ib_device *ib, int mask, struct ib_device_modify *attr)
{
	if (mask & ~IB_DEVICE_MODIFY_NODE_DESC)
		return -EOPNOTSUPP;
	if (mask & IB_DEVICE_MODIFY_NODE_DESC)
		memcpy(ib->node_desc, attr->node_desc, sizeof(ib->node_desc));
	return 0;
}

/* Last call for a device; what ib_core knew of it is gone. May come without our doing. */
static void u4_dealloc_driver(struct ib_device *ib)
{
	struct u4_ibdev *dev = to_u4_ibdev(ib);

	cancel_delayed_work_sync(&dev->flush_work);
	u4_vdev_lost(dev->vdev, dev);
	xa_destroy(&dev->ahs);
	mutex_destroy(&dev->qps_lock);
}

static const struct ib_device_ops u4_ops = {
	.owner			= THIS_MODULE,
	.driver_id		= RDMA_DRIVER_RXE,	/* whose user library drives us */
	.uverbs_abi_ver		= U4_ABI_VERSION,

	.add_gid		= u4_add_gid,
#ifdef U4_HAVE_ODP
	.advise_mr		= u4_advise_mr,
#endif
	.alloc_hw_port_stats	= u4_alloc_hw_port_stats,
	.alloc_mr		= u4_alloc_mr,
	.alloc_mw		= u4_alloc_mw,
	.alloc_pd		= u4_alloc_pd,
	.alloc_ucontext		= u4_alloc_ucontext,
	.attach_mcast		= u4_attach_mcast,
	.create_ah		= u4_create_ah,
	.create_cq		= u4_create_cq,
	.create_qp		= u4_create_qp,
	.create_srq		= u4_create_srq,
	.create_user_ah		= u4_create_ah,
	.dealloc_driver		= u4_dealloc_driver,
	.dealloc_mw		= u4_dealloc_mw,
	.dealloc_pd		= u4_dealloc_pd,
	.dealloc_ucontext	= u4_dealloc_ucontext,
	.del_gid		= u4_del_gid,
	.dereg_mr		= u4_dereg_mr,
	.destroy_ah		= u4_destroy_ah,
	.destroy_cq		= u4_destroy_cq,
	.destroy_qp		= u4_destroy_qp,
	.destroy_srq		= u4_destroy_srq,
	.detach_mcast		= u4_detach_mcast,
	.disassociate_ucontext	= u4_disassociate_ucontext,
	.get_dev_fw_str		= u4_fw_str,
	.get_dma_mr		= u4_get_dma_mr,
	.get_hw_stats		= u4_get_hw_stats,
	.get_link_layer		= u4_link_layer,
	.get_netdev		= u4_get_netdev,
	.get_port_immutable	= u4_port_immutable,
	.map_mr_sg		= u4_map_mr_sg,
	.mmap			= u4_mmap,
	.mmap_free		= u4_mmap_free,
	.modify_device		= u4_modify_device,
	.modify_qp		= u4_modify_qp,
	.modify_srq		= u4_modify_srq,
	.poll_cq		= u4_poll_cq,
	.post_recv		= u4_post_recv,
	.post_send		= u4_post_send,
	.post_srq_recv		= u4_post_srq_recv,
	.process_mad		= u4_process_mad,
	.query_ah		= u4_query_ah,
	.query_device		= u4_query_device,
	.query_pkey		= u4_query_pkey,
	.query_port		= u4_query_port,
	.query_qp		= u4_query_qp,
	.query_srq		= u4_query_srq,
	.reg_user_mr		= u4_reg_user_mr,
	.req_notify_cq		= u4_req_notify_cq,
#ifdef U4_HAVE_RESIZE_USER_CQ
	.resize_user_cq		= u4_resize_cq,
#else
	.resize_cq		= u4_resize_cq,
#endif

	INIT_RDMA_OBJ_SIZE(ib_ah, u4_ah, ib),
	INIT_RDMA_OBJ_SIZE(ib_cq, u4_cq, ib),
	INIT_RDMA_OBJ_SIZE(ib_mw, u4_mw, ib),
	INIT_RDMA_OBJ_SIZE(ib_pd, u4_pd, ib),
	INIT_RDMA_OBJ_SIZE(ib_qp, u4_ibqp, ib),
	INIT_RDMA_OBJ_SIZE(ib_srq, u4_srq, ib),
	INIT_RDMA_OBJ_SIZE(ib_ucontext, u4_ucontext, ib),
};

/**
 * u4_ibdev_alloc() - a device for a peer, not yet registered
 * @vdev: verbs side of the peer
 *
 * Return: the device or %NULL.
 */
struct u4_ibdev *u4_ibdev_alloc(struct u4_vdev *vdev)
{
	struct u4_peer *peer = vdev->peer;
	struct u4_ibdev *dev;
	struct ib_device *ib;

	dev = ib_alloc_device(u4_ibdev, ib);
	if (!dev)
		return NULL;
	ib = &dev->ib;
	dev->vdev = vdev;
	xa_init_flags(&dev->ahs, XA_FLAGS_ALLOC1);
	mutex_init(&dev->qps_lock);
	INIT_LIST_HEAD(&dev->qps);
	INIT_DELAYED_WORK(&dev->flush_work, u4_qp_flush_work);

	ib->node_type = RDMA_NODE_IB_CA;
	ib->phys_port_cnt = 1;
	ib->num_comp_vectors = num_possible_cpus();
	ib->dev.parent = &peer->dev;
	ib->local_dma_lkey = 0;
	ib->node_guid = u4_guid(peer);
	snprintf(ib->node_desc, sizeof(ib->node_desc), "usb4rdma to %*phN", 8, peer->identity);
	ib->uverbs_cmd_mask |= BIT_ULL(IB_USER_VERBS_CMD_POST_SEND) |
			       BIT_ULL(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ);
	ib_set_device_ops(ib, &u4_ops);
	/* usb4rdmaN is the name that everything else shows: no renaming by udev. */
	ib_mark_name_assigned_by_user(ib);
	return dev;
}

/* Return: 0 or an error, and then the device is as it was before. */
int u4_ibdev_register(struct u4_ibdev *dev)
{
	char name[IB_DEVICE_NAME_MAX];
	int err;

	snprintf(name, sizeof(name), "usb4rdma%d", dev->vdev->peer->index);
	dev->registered = true;
	err = ib_register_device(&dev->ib, name, NULL);
	if (err)
		dev->registered = false;
	return err;
}
