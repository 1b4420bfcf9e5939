// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of the RDMA devices: the link core says which peers and rails there are;
 * here peers become devices and rails become port states. A device may also be
 * unregistered behind our back (rmmod of rdma_rxe takes all devices with its
 * driver id); then it is made again.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "verbs.h"

/* ib_unregister_driver() walks the list of devices: let it come to its end first. */
#define U4_REVIVE_DELAY	msecs_to_jiffies(300)

struct workqueue_struct *u4_verbs_wq;

static const struct u4_xp_ops u4_xp_upcalls = {
	.send_done	= u4_send_done,
	.recv_next	= u4_recv_next,
	.recv_done	= u4_recv_done,
	.event		= u4_verbs_event,
};

static struct u4_vdev *u4_vdev_of(struct u4_peer *peer)
{
	return container_of(peer->client, struct u4_vdev, xp);
}

/* Make and register the device; only one context at a time does. */
static int u4_vdev_make(struct u4_vdev *vdev)
{
	struct u4_ibdev *dev = u4_ibdev_alloc(vdev);
	int err;

	if (!dev)
		return -ENOMEM;
	mutex_lock(&vdev->lock);
	vdev->ibdev = dev;
	get_device(&dev->ib.dev);	/* vdev->ibdev's, see u4_vdev_lost() */
	mutex_unlock(&vdev->lock);

	/* Once it is registered, somebody may unregister it. */
	get_device(&dev->ib.dev);
	err = u4_ibdev_register(dev);
	if (!err)
		u4_peer_set_ibdev(vdev->peer, dev_name(&dev->ib.dev));
	put_device(&dev->ib.dev);
	if (err)
		ib_dealloc_device(&dev->ib);
	return err;
}

/* From dealloc_driver, whoever unregistered it. */
void u4_vdev_lost(struct u4_vdev *vdev, struct u4_ibdev *dev)
{
	bool revive = false;

	mutex_lock(&vdev->lock);
	if (vdev->ibdev == dev) {
		vdev->ibdev = NULL;
		revive = dev->registered && !vdev->removing;
		put_device(&dev->ib.dev);
	}
	/* Under the lock: who takes the device away for good cancels it after that. */
	if (revive)
		queue_delayed_work(u4_verbs_wq, &vdev->revive, U4_REVIVE_DELAY);
	mutex_unlock(&vdev->lock);
}

static void u4_vdev_revive(struct work_struct *work)
{
	struct u4_vdev *vdev = container_of(work, struct u4_vdev, revive.work);
	int err;

	err = u4_vdev_make(vdev);
	if (!err)
		return;
	dev_warn(&vdev->peer->dev, "making the RDMA device again failed: %d\n", err);
	if (!READ_ONCE(vdev->removing))
		queue_delayed_work(u4_verbs_wq, &vdev->revive, HZ);
}

static int u4_peer_add(struct u4_peer *peer)
{
	struct u4_vdev *vdev;
	int err;

	vdev = kzalloc(sizeof(*vdev), GFP_KERNEL);
	if (!vdev)
		return -ENOMEM;
	vdev->peer = peer;
	mutex_init(&vdev->lock);
	INIT_DELAYED_WORK(&vdev->revive, u4_vdev_revive);
	err = u4_xpdev_init(&vdev->xp, peer, &u4_xp_upcalls, U4_MAX_QPS, U4_MAX_MRS);
	if (err)
		goto err_free;
	peer->client = &vdev->xp;
	err = u4_vdev_make(vdev);
	if (err)
		goto err_xp;
	return 0;

err_xp:
	peer->client = NULL;
	u4_xpdev_cleanup(&vdev->xp);
err_free:
	mutex_destroy(&vdev->lock);
	kfree(vdev);
	return err;
}

/* Unregister the device, for good; idempotent. */
static void u4_vdev_leave(struct u4_vdev *vdev)
{
	struct u4_ibdev *dev;

	mutex_lock(&vdev->lock);
	vdev->removing = true;
	mutex_unlock(&vdev->lock);
	cancel_delayed_work_sync(&vdev->revive);

	mutex_lock(&vdev->lock);
	dev = vdev->ibdev;
	if (dev)
		get_device(&dev->ib.dev);
	mutex_unlock(&vdev->lock);
	if (dev) {
		ib_unregister_device(&dev->ib);
		put_device(&dev->ib.dev);
	}
}

static void u4_peer_leave(struct u4_peer *peer, void *data)
{
	u4_vdev_leave(u4_vdev_of(peer));
}

static void u4_peer_remove(struct u4_peer *peer)
{
	struct u4_vdev *vdev = u4_vdev_of(peer);

	u4_vdev_leave(vdev);
	u4_peer_set_ibdev(peer, "");
	peer->client = NULL;
	u4_xpdev_cleanup(&vdev->xp);
	mutex_destroy(&vdev->lock);
	kfree(vdev);
}

static void u4_peer_reset(struct u4_peer *peer)
{
	u4_xpdev_peer_reset(&u4_vdev_of(peer)->xp);
}

/* The port's state follows the rails; programs hear of changes. */
static void u4_port_event(struct u4_vdev *vdev, enum ib_event_type type)
{
	mutex_lock(&vdev->lock);
	/* Not while it is being unregistered. */
	if (vdev->ibdev && ib_device_try_get(&vdev->ibdev->ib)) {
		struct ib_event event = {
			.device = &vdev->ibdev->ib,
			.element.port_num = U4_PORT,
			.event = type,
		};

		ib_dispatch_event(&event);
		ib_device_put(&vdev->ibdev->ib);
	}
	mutex_unlock(&vdev->lock);
}

/*
 * We are a client of our own devices too, the last one to register and so the first
 * to hear that one goes: while the programs still have their queues, they get their
 * flushed completions there, whoever unregisters the device. After that a program
 * that polls its mapped queue would see nothing any more.
 */
static int u4_client_add(struct ib_device *ib)
{
	return ib->ops.owner == THIS_MODULE ? 0 : -EOPNOTSUPP;
}

static void u4_client_remove(struct ib_device *ib, void *data)
{
	u4_xpdev_shutdown(&to_u4_ibdev(ib)->vdev->xp);
}

static struct ib_client u4_ib_client = {
	.name	= "usb4_rdma",
	.add	= u4_client_add,
	.remove	= u4_client_remove,
};

static unsigned int u4_rails(struct u4_peer *peer)
{
	struct u4_port_speed speed;

	u4_peer_speed(peer, &speed);
	return speed.rails;
}

static void u4_rail_up(struct u4_peer *peer, struct u4_rail *rail)
{
	u4_xp_rail_up(peer, rail);
	if (u4_rails(peer) == 1)
		u4_port_event(u4_vdev_of(peer), IB_EVENT_PORT_ACTIVE);
}

static void u4_rail_down(struct u4_peer *peer, struct u4_rail *rail)
{
	u4_xp_rail_down(peer, rail);
	if (!u4_rails(peer)) {
		atomic_inc(&u4_vdev_of(peer)->downs);
		u4_port_event(u4_vdev_of(peer), IB_EVENT_PORT_ERR);
	}
}

static const struct u4_client_ops u4_verbs_client = {
	.peer_add	= u4_peer_add,
	.peer_remove	= u4_peer_remove,
	.peer_reset	= u4_peer_reset,
	.rail_up	= u4_rail_up,
	.rail_down	= u4_rail_down,
	.rx_header	= u4_xp_rx_header,
	.rx_raw		= u4_xp_rx_raw,
	.rx_confirm	= u4_xp_rx_confirm,
	.rx_lost	= u4_xp_rx_lost,
	.rx_batch_end	= u4_xp_rx_batch_end,
};

int u4_verbs_init(void)
{
	int err;

	u4_verbs_wq = alloc_workqueue("usb4_rdma_verbs", WQ_UNBOUND, 0);
	if (!u4_verbs_wq)
		return -ENOMEM;
	err = ib_register_client(&u4_ib_client);
	if (err)
		goto err_wq;
	err = u4_link_init(&u4_verbs_client);
	if (err)
		goto err_client;
	return 0;

err_client:
	ib_unregister_client(&u4_ib_client);
err_wq:
	destroy_workqueue(u4_verbs_wq);
	return err;
}

void u4_verbs_exit(void)
{
	/*
	 * The kernel's users take leave of their peers, which needs a link: an NVMe host
	 * waits a minute for an answer that cannot come.
	 */
	u4_peer_for_each(u4_peer_leave, NULL);
	u4_link_exit();
	ib_unregister_client(&u4_ib_client);
	destroy_workqueue(u4_verbs_wq);
}

/* Registered as a client before us, see u4_client_remove(). */
MODULE_SOFTDEP("pre: ib_uverbs");
