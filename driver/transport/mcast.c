// SPDX-License-Identifier: GPL-2.0-only
/*
 * Multicast groups, and the port's own addresses: what the network header of a
 * datagram says about who it is from and who it is for.
 *
 * A datagram to a group travels once over the cable, and once over the loop rail
 * when the sender's own device has other members (IBTA 10.5.2: a member on the
 * sending channel adapter gets its copy, the sending queue pair does not). The
 * receiving device gives one copy to each member. Groups are read under RCU and
 * changed in process context, under u4_xpdev.mc_lock.
 *
 * Of a datagram's two frames only the first names the group. Members that took the
 * first remember its run, which is how the second finds them.
 */
#include <linux/atomic.h>
#include <linux/jhash.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "internal.h"

/**
 * struct u4_mc_member - a queue pair in a group
 * @next: of the group; RCU
 * @qp: leaves all groups before it is freed
 * @refs: times it was attached
 * @rcu: to free it
 */
struct u4_mc_member {
	struct u4_mc_member __rcu	*next;
	struct u4_qp			*qp;
	u32				refs;
	struct rcu_head			rcu;
};

/**
 * struct u4_mc_group - a multicast address with members
 * @next: in its bucket; RCU
 * @members: queue pairs; RCU
 * @num: of them
 * @gid: the address
 * @rcu: to free it
 */
struct u4_mc_group {
	struct u4_mc_group __rcu	*next;
	struct u4_mc_member __rcu	*members;
	u32				num;
	u8				gid[U4_GID_LEN];
	struct rcu_head			rcu;
};

/**
 * struct u4_own_gid - an address of the port
 * @gid: it
 * @rcu: to free it
 */
struct u4_own_gid {
	u8		gid[U4_GID_LEN];
	struct rcu_head	rcu;
};

static atomic64_t u4_mc_runs = ATOMIC64_INIT(0);

/* ---- addresses ---- */

/* The address at @at of an IPv6 header, or at @at4 of an IPv4 header at the end. */
static void u4_net_gid(const u8 *net_hdr, bool ipv4, u32 at, u32 at4, u8 *gid)
{
	if (!ipv4) {
		memcpy(gid, net_hdr + at, U4_GID_LEN);
		return;
	}
	memset(gid, 0, 10);
	memset(gid + 10, 0xff, 2);
	memcpy(gid + 12, net_hdr + U4_NET_HDR_LEN - 20 + at4, 4);
}

void u4_net_dgid(const u8 *net_hdr, bool ipv4, u8 *gid)
{
	u4_net_gid(net_hdr, ipv4, 24, 16, gid);
}

int u4_own_gid_add(struct u4_xpdev *dev, u32 index, const u8 *gid)
{
	struct u4_own_gid *own;

	if (index >= U4_MAX_OWN_GIDS)
		return -EINVAL;
	own = kzalloc(sizeof(*own), GFP_KERNEL);
	if (!own)
		return -ENOMEM;
	memcpy(own->gid, gid, sizeof(own->gid));
	u4_own_gid_del(dev, index);
	mutex_lock(&dev->mc_lock);
	rcu_assign_pointer(dev->own_gids[index], own);
	if (index >= dev->num_own_gids)
		WRITE_ONCE(dev->num_own_gids, index + 1);
	mutex_unlock(&dev->mc_lock);
	return 0;
}

void u4_own_gid_del(struct u4_xpdev *dev, u32 index)
{
	struct u4_own_gid *own;

	if (index >= U4_MAX_OWN_GIDS)
		return;
	mutex_lock(&dev->mc_lock);
	own = rcu_dereference_protected(dev->own_gids[index], lockdep_is_held(&dev->mc_lock));
	RCU_INIT_POINTER(dev->own_gids[index], NULL);
	mutex_unlock(&dev->mc_lock);
	if (own)
		kfree_rcu(own, rcu);
}

bool u4_own_source(struct u4_xpdev *dev, const struct u4_seg *seg)
{
	u32 i, n = READ_ONCE(dev->num_own_gids);
	struct u4_own_gid *own;
	u8 gid[U4_GID_LEN];

	u4_net_gid(seg->payload, seg->flags & U4_XP_NET_V4, 8, 12, gid);
	for (i = 0; i < n; i++) {
		own = rcu_dereference(dev->own_gids[i]);
		if (own && !memcmp(own->gid, gid, sizeof(gid)))
			return true;
	}
	return false;
}

/* ---- groups ---- */

/* Keyed, so that nobody chooses addresses that end up in one bucket. */
static struct u4_mc_group __rcu **u4_mc_bucket(struct u4_xpdev *dev, const u8 *gid)
{
	return &dev->mc_groups[jhash(gid, U4_GID_LEN, dev->mc_seed) % U4_MC_BUCKETS];
}

/* Under RCU. */
static struct u4_mc_group *u4_mc_find(struct u4_xpdev *dev, const u8 *gid)
{
	struct u4_mc_group *group = rcu_dereference(*u4_mc_bucket(dev, gid));

	while (group && memcmp(group->gid, gid, sizeof(group->gid)))
		group = rcu_dereference(group->next);
	return group;
}

#define u4_mc_locked(dev, p)	rcu_dereference_protected(p, lockdep_is_held(&(dev)->mc_lock))

/* Where the pointer to the group stands, or to the end of its bucket. */
static struct u4_mc_group __rcu **u4_mc_group_at(struct u4_xpdev *dev, const u8 *gid)
{
	struct u4_mc_group __rcu **at = u4_mc_bucket(dev, gid);
	struct u4_mc_group *group;

	while ((group = u4_mc_locked(dev, *at)) && memcmp(group->gid, gid, sizeof(group->gid)))
		at = &group->next;
	return at;
}

static struct u4_mc_member __rcu **u4_mc_member_at(struct u4_xpdev *dev, struct u4_mc_group *group,
						   const struct u4_qp *qp)
{
	struct u4_mc_member __rcu **at = &group->members;
	struct u4_mc_member *member;

	while ((member = u4_mc_locked(dev, *at)) && member->qp != qp)
		at = &member->next;
	return at;
}

int u4_mc_attach(struct u4_qp *qp, const u8 *gid)
{
	struct u4_mc_group __rcu **group_at;
	struct u4_xpdev *dev = qp->dev;
	struct u4_mc_member *member;
	struct u4_mc_group *group;
	int ret = -ENOMEM;

	mutex_lock(&dev->mc_lock);
	group_at = u4_mc_group_at(dev, gid);
	group = u4_mc_locked(dev, *group_at);
	if (group) {
		member = u4_mc_locked(dev, *u4_mc_member_at(dev, group, qp));
		if (member) {
			member->refs++;
			ret = 0;
			goto unlock;
		}
	}
	if (qp->mc_num >= U4_MC_PER_QP || dev->mc_members >= U4_MC_MEMBERS ||
	    (group && group->num >= U4_MC_PER_GROUP) || (!group && dev->mc_num >= U4_MC_GROUPS))
		goto unlock;

	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		goto unlock;
	if (!group) {
		group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
		if (!group) {
			kfree(member);
			goto unlock;
		}
		memcpy(group->gid, gid, sizeof(group->gid));
		rcu_assign_pointer(*group_at, group);
		dev->mc_num++;
	}
	member->qp = qp;
	member->refs = 1;
	RCU_INIT_POINTER(member->next, u4_mc_locked(dev, group->members));
	rcu_assign_pointer(group->members, member);
	group->num++;
	dev->mc_members++;
	qp->mc_num++;
	ret = 0;
unlock:
	mutex_unlock(&dev->mc_lock);
	return ret;
}

/* Take a member out, and the group with its last one. Under mc_lock. */
static void u4_mc_drop(struct u4_xpdev *dev, struct u4_mc_group __rcu **group_at,
		       struct u4_mc_member __rcu **at)
{
	struct u4_mc_group *group = u4_mc_locked(dev, *group_at);
	struct u4_mc_member *member = u4_mc_locked(dev, *at);

	rcu_assign_pointer(*at, u4_mc_locked(dev, member->next));
	member->qp->mc_num--;
	dev->mc_members--;
	kfree_rcu(member, rcu);
	if (--group->num)
		return;
	rcu_assign_pointer(*group_at, u4_mc_locked(dev, group->next));
	dev->mc_num--;
	kfree_rcu(group, rcu);
}

int u4_mc_detach(struct u4_qp *qp, const u8 *gid)
{
	struct u4_mc_group __rcu **group_at;
	struct u4_mc_member __rcu **at;
	struct u4_xpdev *dev = qp->dev;
	struct u4_mc_member *member;
	struct u4_mc_group *group;
	int ret = -EINVAL;

	mutex_lock(&dev->mc_lock);
	group_at = u4_mc_group_at(dev, gid);
	group = u4_mc_locked(dev, *group_at);
	if (!group)
		goto unlock;
	at = u4_mc_member_at(dev, group, qp);
	member = u4_mc_locked(dev, *at);
	if (!member)
		goto unlock;
	if (!--member->refs)
		u4_mc_drop(dev, group_at, at);
	ret = 0;
unlock:
	mutex_unlock(&dev->mc_lock);
	return ret;
}

void u4_mc_leave(struct u4_qp *qp)
{
	struct u4_mc_group __rcu **group_at;
	struct u4_mc_member __rcu **at;
	struct u4_xpdev *dev = qp->dev;
	struct u4_mc_group *group;
	u32 i;

	/* Nobody attaches a queue pair that is being destroyed. */
	if (!qp->mc_num)
		return;
	mutex_lock(&dev->mc_lock);
	for (i = 0; qp->mc_num && i < U4_MC_BUCKETS; i++) {
		group_at = &dev->mc_groups[i];
		while ((group = u4_mc_locked(dev, *group_at))) {
			at = u4_mc_member_at(dev, group, qp);
			if (u4_mc_locked(dev, *at))
				u4_mc_drop(dev, group_at, at);
			if (u4_mc_locked(dev, *group_at) == group)
				group_at = &group->next;
		}
	}
	mutex_unlock(&dev->mc_lock);
}

bool u4_mc_others(struct u4_qp *qp, const u8 *gid)
{
	struct u4_mc_group *group = u4_mc_find(qp->dev, gid);
	struct u4_mc_member *member;

	if (!group)
		return false;
	member = rcu_dereference(group->members);
	while (member && member->qp == qp)
		member = rcu_dereference(member->next);
	return member;
}

/* ---- receiving; each function under RCU, in the poll of one rail ---- */

u64 u4_mc_rx(struct u4_xpdev *dev, const struct u4_seg *seg, bool loop, u8 *gid)
{
	struct u4_mc_member *member;
	struct u4_mc_group *group;
	u64 run = 0;

	u4_net_dgid(seg->payload, seg->flags & U4_XP_NET_V4, gid);
	group = u4_mc_find(dev, gid);
	if (!group) {
		u4_xp_count(dev, U4_CNT_RX_NO_QP, 1);
		return 0;
	}
	/* It came once, however many copies are made of it. */
	u4_xp_count(dev, U4_CNT_RX_SEGMENTS, 1);
	u4_xp_count(dev, U4_CNT_RX_MULTICAST, 1);
	if (seg->nraw)
		run = atomic64_inc_return(&u4_mc_runs);
	for (member = rcu_dereference(group->members); member;
	     member = rcu_dereference(member->next)) {
		struct u4_qp *qp = member->qp;

		if (loop && qp->qpn == seg->sqpn)
			continue;
		spin_lock_bh(&qp->rq_lock);
		if (!qp->dead && u4_ud_rx(qp, seg)) {
			qp->mc_run = run;
			if (!run)
				u4_ud_commit(qp, seg, true);
		}
		spin_unlock_bh(&qp->rq_lock);
	}
	return run;
}

/* The members that still wait for the rest of this run. */
static bool u4_mc_waits(const struct u4_qp *qp, u64 run)
{
	return !qp->dead && qp->mc_run == run && qp->have_rwqe && u4_qp_receives(qp);
}

void u4_mc_place(struct u4_xpdev *dev, const u8 *gid, u64 run, const struct u4_seg *seg, u32 off,
		 const void *data, u32 len)
{
	struct u4_mc_group *group = u4_mc_find(dev, gid);
	struct u4_mc_member *member;
	int error;

	for (member = group ? rcu_dereference(group->members) : NULL; member;
	     member = rcu_dereference(member->next)) {
		struct u4_qp *qp = member->qp;

		spin_lock_bh(&qp->rq_lock);
		error = u4_mc_waits(qp, run) ? u4_rsp_place(qp, seg, off, data, len) : 0;
		if (error) {
			qp->mc_run = 0;
			if (error != U4_ABSENT)
				u4_ud_commit(qp, seg, false);
		}
		spin_unlock_bh(&qp->rq_lock);
	}
}

void u4_mc_commit(struct u4_xpdev *dev, const u8 *gid, u64 run, const struct u4_seg *seg)
{
	struct u4_mc_group *group = u4_mc_find(dev, gid);
	struct u4_mc_member *member;

	for (member = group ? rcu_dereference(group->members) : NULL; member;
	     member = rcu_dereference(member->next)) {
		struct u4_qp *qp = member->qp;

		spin_lock_bh(&qp->rq_lock);
		if (u4_mc_waits(qp, run)) {
			qp->mc_run = 0;
			u4_ud_commit(qp, seg, true);
		}
		spin_unlock_bh(&qp->rq_lock);
	}
}
