/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels from 6.12 on, and nothing else. What a kernel
 * has is found by probe.sh at build time.
 */
#ifndef U4_COMPAT_H
#define U4_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/thunderbolt.h>

#ifndef TB_MAX_FRAME_SIZE
#define TB_MAX_FRAME_SIZE	4096
#endif

/* Before tb_ring_throttling() every ring had a fixed moderation of 128 us. */
#ifdef U4_HAVE_RING_THROTTLING
#define u4_compat_ring_throttling(ring, ns)	tb_ring_throttling(ring, ns)
#else
#define u4_compat_ring_throttling(ring, ns)	((void)(ring), (void)(ns))
#endif

#ifndef U4_HAVE_HRTIMER_SETUP
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* Declares the probe function of a service driver with the right arguments. */
#ifdef U4_HAVE_SERVICE_PROBE_ID
#define U4_SERVICE_PROBE(name, svc) \
	name(struct tb_service *svc, const struct tb_service_id *id)
#else
#define U4_SERVICE_PROBE(name, svc)	name(struct tb_service *svc)
#endif

/* Paging on demand; before 6.16 its pages were kept in another way. */
#if defined(U4_HAVE_UMEM_ODP_MAP) && defined(CONFIG_INFINIBAND_ON_DEMAND_PAGING)
#define U4_HAVE_ODP	1
#endif

#endif /* U4_COMPAT_H */
