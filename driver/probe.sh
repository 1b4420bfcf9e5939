#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Prints a -D flag for each thing that this kernel's headers have.
# usage: probe.sh INCLUDE_DIRECTORY
#
# A probe is: name of the macro, header, basic regular expression. Everything
# that a newer or older kernel lacks is decided here and used in compat.h.

inc=$1

probe() {
	if grep -q "$3" "$inc/$2" 2>/dev/null; then
		printf ' -D%s=1' "$1"
	fi
}

# struct tb_service_driver.probe takes the matching id as a second argument
probe U4_HAVE_SERVICE_PROBE_ID linux/thunderbolt.h \
	'int (\*probe)(struct tb_service \*svc, const struct tb_service_id \*id)'
probe U4_HAVE_RING_THROTTLING linux/thunderbolt.h 'int tb_ring_throttling('
probe U4_HAVE_HRTIMER_SETUP linux/hrtimer.h 'void hrtimer_setup('
# ib_device_ops.reg_user_mr takes a struct ib_dmah
probe U4_HAVE_REG_USER_MR_DMAH rdma/ib_verbs.h 'struct ib_dmah \*dmah,'
# ib_device_ops.resize_user_cq(unsigned) in place of resize_cq(int)
probe U4_HAVE_RESIZE_USER_CQ rdma/ib_verbs.h 'int (\*resize_user_cq)('
# ib_umem_get_va() in place of ib_umem_get()
probe U4_HAVE_UMEM_GET_VA rdma/ib_umem.h 'ib_umem_get_va('
# struct ib_umem_odp has its pages in a struct hmm_dma_map
probe U4_HAVE_UMEM_ODP_MAP rdma/ib_umem_odp.h 'struct hmm_dma_map map;'
