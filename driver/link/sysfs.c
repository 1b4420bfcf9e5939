// SPDX-License-Identifier: GPL-2.0-only
/*
 * sysfs attributes and uevents of a link device, as the uapi header lists them.
 * Reading only; commands are ioctls.
 */
#include <linux/sysfs.h>

#include "../net/net.h"
#include "core.h"

#define to_link(d)	container_of(d, struct u4_link, dev)

/**
 * struct link_view - one consistent look at a link
 * @state: its state
 * @authorized: gate
 * @instance: counter
 * @epoch: the peer's
 * @version_min: the peer's
 * @version_max: the peer's
 * @host_id: the peer's, in hex, empty before the handshake
 * @peer: identity in hex, empty before the first authorisation
 * @ibdev: name or empty
 * @netdev: name or empty
 */
struct link_view {
	enum usb4_rdma_link_state state;
	bool	authorized;
	u64	instance;
	u64	epoch;
	u16	version_min;
	u16	version_max;
	char	host_id[2 * USB4_RDMA_HOST_ID_LEN + 1];
	char	peer[2 * USB4_RDMA_IDENTITY_LEN + 1];
	char	ibdev[64];
	char	netdev[IFNAMSIZ];
};

static void link_look(struct u4_link *link, struct link_view *view)
{
	u8 identity[USB4_RDMA_IDENTITY_LEN];
	bool named;

	memset(view, 0, sizeof(*view));
	spin_lock(&link->lock);
	view->state = link->state;
	view->authorized = link->authorized;
	view->instance = link->instance;
	view->epoch = link->epoch;
	view->version_min = link->peer_version_min;
	view->version_max = link->peer_version_max;
	if (link->instance)
		snprintf(view->host_id, sizeof(view->host_id), "%*phN", USB4_RDMA_HOST_ID_LEN,
			 link->host_id);
	named = link->named;
	memcpy(identity, link->identity, sizeof(identity));
	spin_unlock(&link->lock);
	if (!named)
		return;
	snprintf(view->peer, sizeof(view->peer), "%*phN", USB4_RDMA_IDENTITY_LEN, identity);
	u4_peer_names(identity, view->ibdev, sizeof(view->ibdev), view->netdev,
		      sizeof(view->netdev));
}

#define LINK_ATTR(_name, _format, ...)						\
static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *buf)						\
{										\
	struct u4_link *link __maybe_unused = to_link(dev);			\
	struct link_view view __maybe_unused;					\
										\
	link_look(link, &view);							\
	return sysfs_emit(buf, _format "\n", __VA_ARGS__);			\
}										\
static DEVICE_ATTR_RO(_name)

LINK_ATTR(state, "%s", u4_state_names[view.state]);
LINK_ATTR(authorized, "%d", view.authorized);
LINK_ATTR(instance, "%llu", view.instance);
LINK_ATTR(host_id, "%s", view.host_id);
LINK_ATTR(local_host_id, "%*phN", USB4_RDMA_HOST_ID_LEN, u4_host_id);
LINK_ATTR(epoch, "%llu", view.epoch);
LINK_ATTR(local_epoch, "%llu", u4_epoch);
LINK_ATTR(peer, "%s", view.peer);
LINK_ATTR(peer_uuid, "%pUb", link->xd->remote_uuid);
LINK_ATTR(local_uuid, "%pUb", link->xd->local_uuid);
LINK_ATTR(route, "0x%llx", link->xd->route);
LINK_ATTR(version, "%u-%u", U4_WIRE_VERSION_MIN, U4_WIRE_VERSION_MAX);
LINK_ATTR(peer_version, "%u-%u", view.version_min, view.version_max);
LINK_ATTR(speed, "%llu", READ_ONCE(link->xd->link_speed) * 1000000000ULL);
LINK_ATTR(width, "%u", READ_ONCE(link->xd->link_speed) ? u4_link_lanes(link->xd) : 0);
LINK_ATTR(mtu, "%u", U4_NET_MTU_MAX);
LINK_ATTR(ibdev, "%s", view.ibdev);
LINK_ATTR(netdev, "%s", view.netdev);

static struct attribute *link_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_authorized.attr,
	&dev_attr_instance.attr,
	&dev_attr_host_id.attr,
	&dev_attr_local_host_id.attr,
	&dev_attr_epoch.attr,
	&dev_attr_local_epoch.attr,
	&dev_attr_peer.attr,
	&dev_attr_peer_uuid.attr,
	&dev_attr_local_uuid.attr,
	&dev_attr_route.attr,
	&dev_attr_version.attr,
	&dev_attr_peer_version.attr,
	&dev_attr_speed.attr,
	&dev_attr_width.attr,
	&dev_attr_mtu.attr,
	&dev_attr_ibdev.attr,
	&dev_attr_netdev.attr,
	NULL,
};

static const struct attribute_group link_group = {
	.attrs = link_attrs,
};

const struct attribute_group *u4_link_groups[] = {
	&link_group,
	NULL,
};

/* Process context. A link that is being removed sends none. */
void u4_link_uevent(struct u4_link *link)
{
	char state[48], authorized[32], instance[48], host_id[64], epoch[48], peer[96];
	char uuid[80], ibdev[96], netdev[48];
	char *env[] = {
		state, authorized, instance, host_id, epoch, peer, uuid, ibdev, netdev, NULL
	};
	struct link_view view;

	link_look(link, &view);
	snprintf(state, sizeof(state), "USB4RDMA_STATE=%s", u4_state_names[view.state]);
	snprintf(authorized, sizeof(authorized), "USB4RDMA_AUTHORIZED=%d", view.authorized);
	snprintf(instance, sizeof(instance), "USB4RDMA_INSTANCE=%llu", view.instance);
	snprintf(host_id, sizeof(host_id), "USB4RDMA_HOST_ID=%s", view.host_id);
	snprintf(epoch, sizeof(epoch), "USB4RDMA_EPOCH=%llu", view.epoch);
	snprintf(peer, sizeof(peer), "USB4RDMA_PEER=%s", view.peer);
	snprintf(uuid, sizeof(uuid), "USB4RDMA_PEER_UUID=%pUb", link->xd->remote_uuid);
	snprintf(ibdev, sizeof(ibdev), "USB4RDMA_IBDEV=%s", view.ibdev);
	snprintf(netdev, sizeof(netdev), "USB4RDMA_NETDEV=%s", view.netdev);
	kobject_uevent_env(&link->dev.kobj, KOBJ_CHANGE, env);
}
