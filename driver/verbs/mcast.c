// SPDX-License-Identifier: GPL-2.0-only
/*
 * Multicast: which groups a queue pair is in. ib_core has checked that it is a
 * datagram queue pair and the address one of a group; the rest is the transport's.
 */
#include "verbs.h"

int u4_attach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	return u4_mc_attach(to_u4_ibqp(ib)->xp, gid->raw);
}

int u4_detach_mcast(struct ib_qp *ib, union ib_gid *gid, u16 lid)
{
	return u4_mc_detach(to_u4_ibqp(ib)->xp, gid->raw);
}
