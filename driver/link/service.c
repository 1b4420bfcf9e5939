// SPDX-License-Identifier: GPL-2.0-only
/*
 * Binding to the Thunderbolt service "usb4rdma" of other hosts: what the module
 * publishes, probe and remove of links, suspend, and the order in which the link
 * core starts and stops.
 *
 * .remove runs under the domain's lock on some kernels when a cable is pulled.
 * It then halts the rail, which needs no path call, and leaves the rest to the
 * link's work. Otherwise it waits a bounded time for the work to be done.
 *
 * When the NHI's driver is unbound, kernels from 7.2 on leave the services bound
 * to a host router that is no longer there. So each service is made a consumer of
 * the NHI: the driver core then calls .remove first.
 */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "../compat.h"
#include "core.h"
#include "rail.h"

u8 u4_host_id[USB4_RDMA_HOST_ID_LEN];
u64 u4_epoch;
const struct u4_client_ops *u4_client;
struct workqueue_struct *u4_wq;

DEFINE_SPINLOCK(u4_links_lock);
LIST_HEAD(u4_links);

static DEFINE_IDA(link_ids);
static struct tb_property_dir *service_dir;

/* 2b7b9f5e-8a39-4c4e-9d11-30f6a1c05e77 */
static const uuid_t service_uuid =
	UUID_INIT(0x2b7b9f5e, 0x8a39, 0x4c4e, 0x9d, 0x11, 0x30, 0xf6, 0xa1, 0xc0, 0x5e, 0x77);

/**
 * u4_link_for_each() - call @fn for each link, without a lock held
 * @fn: called with a reference held; a return value other than 0 ends the walk
 * @data: for @fn
 */
int u4_link_for_each(int (*fn)(struct u4_link *link, void *data), void *data)
{
	struct u4_link *links[U4_MAX_LINKS], *link;
	unsigned int n = 0, i;
	int ret = 0;

	spin_lock(&u4_links_lock);
	list_for_each_entry(link, &u4_links, node) {
		get_device(&link->dev);
		links[n++] = link;
	}
	spin_unlock(&u4_links_lock);
	for (i = 0; i < n; i++) {
		if (!ret)
			ret = fn(links[i], data);
		put_device(&links[i]->dev);
	}
	return ret;
}

static void link_release(struct device *dev)
{
	struct u4_link *link = container_of(dev, struct u4_link, dev);

	ida_free(&link_ids, link->index);
	/* In this order: on some kernels a service uses its XDomain as it is released. */
	tb_service_put(link->svc);
	tb_xdomain_put(link->xd);
	kfree(link);
}

static struct u4_link *link_alloc(struct tb_service *svc)
{
	struct u4_link *link;
	int index;

	link = kzalloc(sizeof(*link), GFP_KERNEL);
	if (!link)
		return ERR_PTR(-ENOMEM);
	index = ida_alloc_max(&link_ids, U4_MAX_LINKS - 1, GFP_KERNEL);
	if (index < 0) {
		kfree(link);
		return ERR_PTR(index);
	}
	link->index = index;
	link->svc = tb_service_get(svc);
	link->xd = tb_xdomain_get(tb_service_parent(svc));
	do {
		link->token = get_random_u64();
	} while (!link->token);
	link->out_hopid = -1;
	link->in_hopid = -1;
	spin_lock_init(&link->lock);
	mutex_init(&link->send_lock);
	mutex_init(&link->hw_lock);
	mutex_init(&link->event_lock);
	init_waitqueue_head(&link->wait);
	init_completion(&link->gone_done);
	INIT_DELAYED_WORK(&link->work, u4_link_work);
	INIT_WORK(&link->answer_work, u4_ctl_answer_work);
	u4_retry_reset(&link->hello);
	u4_retry_reset(&link->open);
	u4_retry_reset(&link->relay);
	u4_retry_reset(&link->pace);

	device_initialize(&link->dev);
	link->dev.release = link_release;
	link->dev.parent = &svc->dev;
	link->dev.class = &u4_class;
	link->dev.groups = u4_link_groups;
	return link;
}

static int U4_SERVICE_PROBE(service_probe, svc)
{
	struct tb_xdomain *xd = tb_service_parent(svc);
	struct u4_link *link;
	int ret;

	/* A service that outlived its host router is offered to us again, see above. */
	if (!xd->remote_uuid || READ_ONCE(xd->is_unplugged))
		return -ENODEV;
	if (!device_link_add(&svc->dev, xd->tb->dev.parent, DL_FLAG_AUTOREMOVE_CONSUMER))
		dev_warn(&svc->dev, "its host interface must not be unbound before it\n");
	link = link_alloc(svc);
	if (IS_ERR(link))
		return PTR_ERR(link);
	tb_service_set_drvdata(svc, link);
	ret = u4_chardev_add(link);
	if (ret) {
		put_device(&link->dev);
		return ret;
	}

	spin_lock(&u4_links_lock);
	list_add_tail(&link->node, &u4_links);
	spin_unlock(&u4_links_lock);
	get_device(&link->dev);		/* for the work, until link_end() */
	u4_link_kick(link);
	return 0;
}

static bool link_closed(struct u4_link *link)
{
	return !READ_ONCE(link->rail);
}

static int link_leave(struct u4_link *link, void *data)
{
	spin_lock(&link->lock);
	link->leaving = true;
	spin_unlock(&link->lock);
	u4_link_kick(link);
	return 0;
}

static int link_left(struct u4_link *link, void *data)
{
	wait_event_timeout(link->wait, link_closed(link), 3 * HZ);
	return 0;
}

static void service_remove(struct tb_service *svc)
{
	struct u4_link *link = tb_service_get_drvdata(svc);
	bool unplugged = READ_ONCE(link->xd->is_unplugged);

	if (!unplugged) {
		/* The peer should know, and this is the last moment to tell it. */
		link_leave(link, NULL);
		link_left(link, NULL);
	}

	mutex_lock(&link->event_lock);
	spin_lock(&link->lock);
	WRITE_ONCE(link->gone, true);
	link->state = USB4_RDMA_LINK_GONE;
	spin_unlock(&link->lock);
	mutex_unlock(&link->event_lock);
	/* While FORGET still finds this link: it must not keep a peer that is forgotten. */
	u4_link_void(link);
	spin_lock(&u4_links_lock);
	list_del(&link->node);
	spin_unlock(&u4_links_lock);
	wake_up_all(&link->wait);
	/* No message is on its way to the host router when it goes. */
	mutex_lock(&link->send_lock);
	mutex_unlock(&link->send_lock);
	u4_chardev_del(link);

	if (unplugged) {
		/* The NHI may be next to go: let go of it here. */
		mutex_lock(&link->hw_lock);
		if (link->rail)
			u4_open_halt(link, link->rail);
		mutex_unlock(&link->hw_lock);
	}
	u4_link_kick(link);
	if (!unplugged)
		wait_for_completion_timeout(&link->gone_done, 3 * HZ);
	put_device(&link->dev);
}

static int __maybe_unused service_suspend(struct device *dev)
{
	struct u4_link *link = tb_service_get_drvdata(tb_to_service(dev));

	spin_lock(&link->lock);
	link->suspended = true;
	spin_unlock(&link->lock);
	u4_link_kick(link);
	wait_event_timeout(link->wait, link_closed(link), 3 * HZ);
	return 0;
}

static int __maybe_unused service_resume(struct device *dev)
{
	struct u4_link *link = tb_service_get_drvdata(tb_to_service(dev));

	spin_lock(&link->lock);
	link->suspended = false;
	link->rehello = true;
	spin_unlock(&link->lock);
	u4_link_kick(link);
	return 0;
}

static SIMPLE_DEV_PM_OPS(service_pm_ops, service_suspend, service_resume);

static const struct tb_service_id service_ids[] = {
	{ TB_SERVICE("usb4rdma", 1) },
	{ },
};
MODULE_DEVICE_TABLE(tbsvc, service_ids);

static struct tb_service_driver service_driver = {
	.driver = {
		.owner = THIS_MODULE,
		.name = "usb4_rdma",
		.pm = &service_pm_ops,
	},
	.probe = service_probe,
	.remove = service_remove,
	.id_table = service_ids,
};

static int service_publish(void)
{
	int ret;

	service_dir = tb_property_create_dir(&service_uuid);
	if (!service_dir)
		return -ENOMEM;
	tb_property_add_immediate(service_dir, "prtcid", 1);
	tb_property_add_immediate(service_dir, "prtcvers", U4_WIRE_VERSION_MAX);
	tb_property_add_immediate(service_dir, "prtcrevs", 0);
	tb_property_add_immediate(service_dir, "prtcstns", 0);
	ret = tb_register_property_dir("usb4rdma", service_dir);
	if (ret)
		tb_property_free_dir(service_dir);
	return ret;
}

static void service_unpublish(void)
{
	tb_unregister_property_dir("usb4rdma", service_dir);
	tb_property_free_dir(service_dir);
}

int u4_link_init(const struct u4_client_ops *ops)
{
	int ret;

	u4_client = ops;
	get_random_bytes(u4_host_id, sizeof(u4_host_id));
	do {
		u4_epoch = get_random_u64();
	} while (!u4_epoch);

	u4_wq = alloc_workqueue("usb4rdma", WQ_UNBOUND, 0);
	if (!u4_wq)
		return -ENOMEM;
	ret = u4_peer_init();
	if (ret)
		goto err_wq;
	ret = u4_chardev_init();
	if (ret)
		goto err_peer;
	ret = u4_ctl_init();
	if (ret)
		goto err_chardev;
	ret = tb_register_service_driver(&service_driver);
	if (ret)
		goto err_ctl;
	ret = service_publish();
	if (ret)
		goto err_driver;
	u4_debugfs_init();
	return 0;

err_driver:
	tb_unregister_service_driver(&service_driver);
	flush_workqueue(u4_wq);
err_ctl:
	u4_ctl_exit();
err_chardev:
	u4_chardev_exit();
err_peer:
	u4_peer_exit();
err_wq:
	destroy_workqueue(u4_wq);
	return ret;
}

/*
 * The character devices are closed, or the module could not go. BYE is said
 * on all links at once, since .remove would wait for each in turn.
 */
void u4_link_exit(void)
{
	u4_debugfs_exit();
	u4_link_for_each(link_leave, NULL);
	u4_link_for_each(link_left, NULL);
	service_unpublish();
	tb_unregister_service_driver(&service_driver);
	/* Works of links that were pulled may still be closing them, or be in a request. */
	flush_workqueue(u4_wq);
	u4_ctl_exit();
	/* What the handlers queued last drops its reference to the link and no more. */
	flush_workqueue(u4_wq);
	u4_peer_exit();
	destroy_workqueue(u4_wq);
	u4_chardev_exit();
	ida_destroy(&link_ids);
}
