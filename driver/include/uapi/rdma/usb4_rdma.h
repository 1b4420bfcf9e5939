/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * usb4rdma: interface between the driver and usb4rdmad.
 *
 * Two kinds of character device belong to the device class "usb4rdma":
 *
 *   /dev/usb4rdma/control   one, while the module is loaded
 *   /dev/usb4rdma/linkN     one per link, below the XDomain's service device
 *
 * Opening one needs CAP_NET_ADMIN, and so does each ioctl. Opening is
 * exclusive (-EBUSY). A link device relays the daemons' pairing messages: one
 * message per write() or read(), 1 to USB4_RDMA_MSG_MAX bytes. A write queues
 * the message (-EAGAIN when USB4_RDMA_MSG_QUEUE are waiting and O_NONBLOCK is
 * set, -EMSGSIZE when too long, -ENOTCONN before the handshake is done). A
 * read takes the oldest received one (-EAGAIN when there is none and
 * O_NONBLOCK is set, -EMSGSIZE when the buffer is too short, the message then
 * stays queued). poll() says EPOLLIN, EPOLLOUT, and EPOLLHUP once the link is
 * gone (read and write then fail with -ENODEV). A new link instance discards
 * what was queued for the old one.
 *
 * sysfs attributes of a link device (all read-only, text, one line):
 *   state       one of the words of enum usb4_rdma_link_state
 *   authorized  0 or 1
 *   instance    decimal counter, new for each completed handshake, 0 before
 *   host_id, local_host_id  32 hex digits, empty before the handshake is done
 *   epoch, local_epoch      decimal, random per load of the peer's (our) module
 *   peer        64 hex digits, the identity named by the last authorisation
 *   peer_uuid, local_uuid   XDomain UUIDs
 *   route       hex route string of the XDomain, 0x...
 *   version, peer_version   "min-max" of the wire protocol versions spoken
 *   speed       bits per second of one lane and direction, 0 when unknown
 *   width       lanes in use, 0 when unknown
 *   mtu         largest netdev MTU that the link can carry
 *   ibdev, netdev           names, empty before the first authorisation
 *
 * Each change of these sends a KOBJ_CHANGE uevent of the link device with the
 * variables USB4RDMA_STATE, USB4RDMA_AUTHORIZED, USB4RDMA_INSTANCE,
 * USB4RDMA_HOST_ID, USB4RDMA_EPOCH, USB4RDMA_PEER, USB4RDMA_PEER_UUID,
 * USB4RDMA_IBDEV and USB4RDMA_NETDEV, in the same spelling.
 */
#ifndef _UAPI_RDMA_USB4_RDMA_H
#define _UAPI_RDMA_USB4_RDMA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define USB4_RDMA_ABI_VERSION	1
#define USB4_RDMA_HOST_ID_LEN	16
#define USB4_RDMA_IDENTITY_LEN	32
#define USB4_RDMA_MSG_MAX	192
#define USB4_RDMA_MSG_QUEUE	8
#define USB4_RDMA_MAX_PEERS	64

/**
 * enum usb4_rdma_link_state - what the sysfs attribute "state" says
 * @USB4_RDMA_LINK_HANDSHAKE: "handshake": asking the peer who it is
 * @USB4_RDMA_LINK_INCOMPATIBLE: "incompatible": no common protocol version
 * @USB4_RDMA_LINK_READY: "ready": the peer is known, no authorisation yet
 * @USB4_RDMA_LINK_AUTHORIZED: "authorized": waiting for the peer's side
 * @USB4_RDMA_LINK_ACTIVE: "active": the data path is open on both sides
 * @USB4_RDMA_LINK_FAILED: "failed": the data path could not be opened; the
 *	kernel tries again by itself with a growing delay
 * @USB4_RDMA_LINK_GONE: "gone": the cable was pulled
 */
enum usb4_rdma_link_state {
	USB4_RDMA_LINK_HANDSHAKE,
	USB4_RDMA_LINK_INCOMPATIBLE,
	USB4_RDMA_LINK_READY,
	USB4_RDMA_LINK_AUTHORIZED,
	USB4_RDMA_LINK_ACTIVE,
	USB4_RDMA_LINK_FAILED,
	USB4_RDMA_LINK_GONE,
};

/**
 * struct usb4_rdma_version - answer to USB4_RDMA_IOC_VERSION (any device)
 * @abi: USB4_RDMA_ABI_VERSION of the driver
 * @wire_min: oldest wire protocol version that the driver speaks
 * @wire_max: newest one
 * @reserved: 0
 */
struct usb4_rdma_version {
	__u32 abi;
	__u32 wire_min;
	__u32 wire_max;
	__u32 reserved;
};

/**
 * struct usb4_rdma_link_id - names one link instance, and says its state
 * @host_id: the peer's host id
 * @local_host_id: ours
 * @epoch: the peer's epoch
 * @local_epoch: ours
 * @instance: counter of completed handshakes, never 0 once there was one
 * @state: enum usb4_rdma_link_state
 * @authorized: 1 when authorised
 */
struct usb4_rdma_link_id {
	__u8 host_id[USB4_RDMA_HOST_ID_LEN];
	__u8 local_host_id[USB4_RDMA_HOST_ID_LEN];
	__aligned_u64 epoch;
	__aligned_u64 local_epoch;
	__aligned_u64 instance;
	__u32 state;
	__u32 authorized;
};

/**
 * struct usb4_rdma_authorize - open the gate for one link instance
 * @host_id: must equal the instance's peer host id, else -ESTALE
 * @epoch: must equal the instance's peer epoch, else -ESTALE
 * @instance: must be the current one, else -ESTALE
 * @peer: identity of the peer (fingerprint of its public key); links with the
 *	same identity share one RDMA device. All zero is refused (-EINVAL)
 * @local: our own identity, from which MAC and GUIDs are derived together
 *	with @peer. All zero is refused (-EINVAL)
 * @flags: 0, anything else is refused (-EINVAL)
 * @reserved: 0
 *
 * -EALREADY when this instance is authorised as the same peer, -EBUSY when it
 * is as another one (deauthorise first), or while a device that the peer had
 * before it was forgotten goes, -ENOSPC with USB4_RDMA_MAX_PEERS peers.
 */
struct usb4_rdma_authorize {
	__u8 host_id[USB4_RDMA_HOST_ID_LEN];
	__aligned_u64 epoch;
	__aligned_u64 instance;
	__u8 peer[USB4_RDMA_IDENTITY_LEN];
	__u8 local[USB4_RDMA_IDENTITY_LEN];
	__u32 flags;
	__u32 reserved;
};

/**
 * struct usb4_rdma_peer - a peer that has a device, for USB4_RDMA_IOC_PEER
 * @index: in: which one, from 0; -ENOENT past the last
 * @links: number of links authorised as this peer
 * @peer: its identity
 * @host_id: its host id at the last authorisation
 * @epoch: its epoch at the last authorisation
 * @ibdev: name of the RDMA device, NUL-terminated
 * @netdev: name of the network interface, NUL-terminated
 */
struct usb4_rdma_peer {
	__u32 index;
	__u32 links;
	__u8 peer[USB4_RDMA_IDENTITY_LEN];
	__u8 host_id[USB4_RDMA_HOST_ID_LEN];
	__aligned_u64 epoch;
	char ibdev[64];
	char netdev[16];
};

/**
 * struct usb4_rdma_forget - remove a peer's device, for USB4_RDMA_IOC_FORGET
 * @peer: its identity; -ENOENT when unknown. Its links are deauthorised first
 *
 * The device is gone when this returns 0. -EINPROGRESS: its users had not let go of
 * it after two seconds; it goes when they have.
 */
struct usb4_rdma_forget {
	__u8 peer[USB4_RDMA_IDENTITY_LEN];
};

#define USB4_RDMA_IOC_MAGIC	0xb4

/* Any device. */
#define USB4_RDMA_IOC_VERSION	_IOR(USB4_RDMA_IOC_MAGIC, 0x00, struct usb4_rdma_version)
/* A link device. DEAUTHORIZE closes the gate; the device stays, port DOWN. */
#define USB4_RDMA_IOC_LINK_ID	_IOR(USB4_RDMA_IOC_MAGIC, 0x10, struct usb4_rdma_link_id)
#define USB4_RDMA_IOC_AUTHORIZE	_IOW(USB4_RDMA_IOC_MAGIC, 0x11, struct usb4_rdma_authorize)
#define USB4_RDMA_IOC_DEAUTHORIZE _IO(USB4_RDMA_IOC_MAGIC, 0x12)
/* The control device. */
#define USB4_RDMA_IOC_PEER	_IOWR(USB4_RDMA_IOC_MAGIC, 0x20, struct usb4_rdma_peer)
#define USB4_RDMA_IOC_FORGET	_IOW(USB4_RDMA_IOC_MAGIC, 0x21, struct usb4_rdma_forget)

#endif /* _UAPI_RDMA_USB4_RDMA_H */
