// SPDX-License-Identifier: GPL-2.0-only
/*
 * Character devices of the daemon: /dev/usb4rdma/control and one per link. The
 * rules are in include/uapi/rdma/usb4_rdma.h. An open link device keeps its
 * struct u4_link, so it survives the cable; it only answers -ENODEV then.
 */
#include <linux/capability.h>
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "core.h"

#define CONTROL_MINOR	U4_MAX_LINKS

static dev_t chardev_base;
static struct cdev control_cdev;
static struct device *control_dev;
static unsigned long control_busy;

static char *class_devnode(const struct device *dev, umode_t *mode)
{
	return kasprintf(GFP_KERNEL, "usb4rdma/%s", dev_name(dev));
}

const struct class u4_class = {
	.name = "usb4rdma",
	.devnode = class_devnode,
};

static int ioctl_version(unsigned long arg)
{
	struct usb4_rdma_version version = {
		.abi = USB4_RDMA_ABI_VERSION,
		.wire_min = U4_WIRE_VERSION_MIN,
		.wire_max = U4_WIRE_VERSION_MAX,
	};

	return copy_to_user((void __user *)arg, &version, sizeof(version)) ? -EFAULT : 0;
}

/* Link devices */

static int link_open(struct inode *inode, struct file *file)
{
	struct u4_link *link = container_of(inode->i_cdev, struct u4_link, cdev);

	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (READ_ONCE(link->gone))
		return -ENODEV;
	if (test_and_set_bit(0, &link->busy))
		return -EBUSY;
	get_device(&link->dev);
	file->private_data = link;
	return stream_open(inode, file);
}

static int link_release(struct inode *inode, struct file *file)
{
	struct u4_link *link = file->private_data;

	clear_bit(0, &link->busy);
	put_device(&link->dev);
	return 0;
}

static ssize_t link_take(struct u4_link *link, struct u4_msg *msg, size_t count)
{
	struct u4_msg *first;
	ssize_t ret = -EAGAIN;

	spin_lock(&link->lock);
	first = u4_msgq_first(&link->to_daemon);
	if (link->gone) {
		ret = -ENODEV;
	} else if (first && first->len > count) {
		ret = -EMSGSIZE;
	} else if (first) {
		*msg = *first;
		link->to_daemon.tail++;
		ret = msg->len;
	}
	spin_unlock(&link->lock);
	return ret;
}

static bool link_readable(struct u4_link *link)
{
	return READ_ONCE(link->gone) || u4_msgq_len(&link->to_daemon);
}

static ssize_t link_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	struct u4_link *link = file->private_data;
	struct u4_msg msg;
	ssize_t ret;

	while ((ret = link_take(link, &msg, count)) == -EAGAIN) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(link->wait, link_readable(link)))
			return -ERESTARTSYS;
	}
	if (ret > 0 && copy_to_user(buf, msg.data, ret))
		return -EFAULT;
	return ret;
}

static int link_give(struct u4_link *link, const void *data, size_t count)
{
	int ret = 0;

	spin_lock(&link->lock);
	if (link->gone)
		ret = -ENODEV;
	else if (!link->version || link->state == USB4_RDMA_LINK_HANDSHAKE)
		ret = -ENOTCONN;
	else if (!u4_msgq_put(&link->to_peer, data, count))
		ret = -EAGAIN;
	spin_unlock(&link->lock);
	if (!ret)
		u4_link_kick(link);
	return ret;
}

static bool link_writable(struct u4_link *link)
{
	return READ_ONCE(link->gone) || u4_msgq_len(&link->to_peer) < USB4_RDMA_MSG_QUEUE;
}

static ssize_t link_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	struct u4_link *link = file->private_data;
	u8 data[USB4_RDMA_MSG_MAX];
	int ret;

	if (!count || count > sizeof(data))
		return -EMSGSIZE;
	if (copy_from_user(data, buf, count))
		return -EFAULT;
	while ((ret = link_give(link, data, count)) == -EAGAIN) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(link->wait, link_writable(link)))
			return -ERESTARTSYS;
	}
	return ret ? ret : count;
}

static __poll_t link_poll(struct file *file, poll_table *wait)
{
	struct u4_link *link = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &link->wait, wait);
	spin_lock(&link->lock);
	if (link->gone)
		mask = EPOLLHUP | EPOLLERR;
	else if (u4_msgq_len(&link->to_daemon))
		mask = EPOLLIN | EPOLLRDNORM;
	if (!link->gone && link->version && u4_msgq_len(&link->to_peer) < USB4_RDMA_MSG_QUEUE)
		mask |= EPOLLOUT | EPOLLWRNORM;
	spin_unlock(&link->lock);
	return mask;
}

static int ioctl_link_id(struct u4_link *link, unsigned long arg)
{
	struct usb4_rdma_link_id id = {};

	spin_lock(&link->lock);
	memcpy(id.host_id, link->host_id, sizeof(id.host_id));
	memcpy(id.local_host_id, u4_host_id, sizeof(id.local_host_id));
	id.epoch = link->epoch;
	id.local_epoch = u4_epoch;
	id.instance = link->instance;
	id.state = link->state;
	id.authorized = link->authorized;
	spin_unlock(&link->lock);
	return copy_to_user((void __user *)arg, &id, sizeof(id)) ? -EFAULT : 0;
}

static long link_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct u4_link *link = file->private_data;
	struct usb4_rdma_authorize authorize;

	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (cmd == USB4_RDMA_IOC_VERSION)
		return ioctl_version(arg);
	if (READ_ONCE(link->gone))
		return -ENODEV;
	switch (cmd) {
	case USB4_RDMA_IOC_LINK_ID:
		return ioctl_link_id(link, arg);
	case USB4_RDMA_IOC_AUTHORIZE:
		if (copy_from_user(&authorize, (void __user *)arg, sizeof(authorize)))
			return -EFAULT;
		return u4_link_authorize(link, &authorize);
	case USB4_RDMA_IOC_DEAUTHORIZE:
		return u4_link_deauthorize(link);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations link_fops = {
	.owner		= THIS_MODULE,
	.open		= link_open,
	.release	= link_release,
	.read		= link_read,
	.write		= link_write,
	.poll		= link_poll,
	.unlocked_ioctl	= link_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

/* Adds the class device and its node. The link's device is initialized. */
int u4_chardev_add(struct u4_link *link)
{
	int ret;

	link->dev.devt = MKDEV(MAJOR(chardev_base), link->index);
	ret = dev_set_name(&link->dev, "link%d", link->index);
	if (ret)
		return ret;
	cdev_init(&link->cdev, &link_fops);
	link->cdev.owner = THIS_MODULE;
	return cdev_device_add(&link->cdev, &link->dev);
}

void u4_chardev_del(struct u4_link *link)
{
	cdev_device_del(&link->cdev, &link->dev);
}

/* The control device */

static int control_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (test_and_set_bit(0, &control_busy))
		return -EBUSY;
	return nonseekable_open(inode, file);
}

static int control_release(struct inode *inode, struct file *file)
{
	clear_bit(0, &control_busy);
	return 0;
}

static int ioctl_peer(unsigned long arg)
{
	struct usb4_rdma_peer desc;
	int ret;

	if (copy_from_user(&desc, (void __user *)arg, sizeof(desc)))
		return -EFAULT;
	ret = u4_peer_describe(desc.index, &desc);
	if (ret)
		return ret;
	return copy_to_user((void __user *)arg, &desc, sizeof(desc)) ? -EFAULT : 0;
}

static int ioctl_forget(unsigned long arg)
{
	struct usb4_rdma_forget forget;

	if (copy_from_user(&forget, (void __user *)arg, sizeof(forget)))
		return -EFAULT;
	return u4_peer_forget(forget.peer);
}

static long control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	switch (cmd) {
	case USB4_RDMA_IOC_VERSION:
		return ioctl_version(arg);
	case USB4_RDMA_IOC_PEER:
		return ioctl_peer(arg);
	case USB4_RDMA_IOC_FORGET:
		return ioctl_forget(arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations control_fops = {
	.owner		= THIS_MODULE,
	.open		= control_open,
	.release	= control_release,
	.unlocked_ioctl	= control_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

int u4_chardev_init(void)
{
	dev_t devt;
	int ret;

	ret = alloc_chrdev_region(&chardev_base, 0, U4_MAX_LINKS + 1, "usb4rdma");
	if (ret)
		return ret;
	ret = class_register(&u4_class);
	if (ret)
		goto err_region;
	devt = MKDEV(MAJOR(chardev_base), CONTROL_MINOR);
	cdev_init(&control_cdev, &control_fops);
	control_cdev.owner = THIS_MODULE;
	ret = cdev_add(&control_cdev, devt, 1);
	if (ret)
		goto err_class;
	control_dev = device_create(&u4_class, NULL, devt, NULL, "control");
	if (IS_ERR(control_dev)) {
		ret = PTR_ERR(control_dev);
		goto err_cdev;
	}
	return 0;

err_cdev:
	cdev_del(&control_cdev);
err_class:
	class_unregister(&u4_class);
err_region:
	unregister_chrdev_region(chardev_base, U4_MAX_LINKS + 1);
	return ret;
}

void u4_chardev_exit(void)
{
	device_unregister(control_dev);
	cdev_del(&control_cdev);
	class_unregister(&u4_class);
	unregister_chrdev_region(chardev_base, U4_MAX_LINKS + 1);
}
