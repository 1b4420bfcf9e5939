// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl interface: methods with attributes that they take, filled in, left out,
 * repeated, of another size or kind; and methods, objects and attributes by chance.
 */
#include <string.h>
#include <sys/ioctl.h>

#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/rdma_user_ioctl.h>
#include <rdma/rdma_user_ioctl_cmds.h>

#include "box.h"

#define MAX_ATTRS	12
#define PTR		0x40		/* the rest says how many bytes: inline up to 8 */

struct method {
	u16	object, id;
	struct { u16 id; u8 what; } attrs[8];	/* enum kind + 1, or PTR + bytes */
};

static const struct method methods[] = {
	{ UVERBS_OBJECT_PD, UVERBS_METHOD_PD_DESTROY,
	  { { UVERBS_ATTR_DESTROY_PD_HANDLE, PD + 1 } } },
	{ UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_CREATE,
	  { { UVERBS_ATTR_CREATE_CQ_HANDLE, OTHER + 1 }, { UVERBS_ATTR_CREATE_CQ_CQE, PTR + 4 },
	    { UVERBS_ATTR_CREATE_CQ_USER_HANDLE, PTR + 8 },
	    { UVERBS_ATTR_CREATE_CQ_COMP_VECTOR, PTR + 4 },
	    { UVERBS_ATTR_CREATE_CQ_FLAGS, PTR + 4 }, { UVERBS_ATTR_CREATE_CQ_RESP_CQE, PTR + 4 },
	    { UVERBS_ATTR_UHW_OUT, PTR + 16 } } },
	{ UVERBS_OBJECT_CQ, UVERBS_METHOD_CQ_DESTROY,
	  { { UVERBS_ATTR_DESTROY_CQ_HANDLE, CQ + 1 }, { UVERBS_ATTR_DESTROY_CQ_RESP, PTR + 8 } } },
	{ UVERBS_OBJECT_QP, UVERBS_METHOD_QP_CREATE,
	  { { UVERBS_ATTR_CREATE_QP_HANDLE, OTHER + 1 }, { UVERBS_ATTR_CREATE_QP_PD_HANDLE, PD + 1 },
	    { UVERBS_ATTR_CREATE_QP_SEND_CQ_HANDLE, CQ + 1 },
	    { UVERBS_ATTR_CREATE_QP_RECV_CQ_HANDLE, CQ + 1 },
	    { UVERBS_ATTR_CREATE_QP_TYPE, PTR + 1 }, { UVERBS_ATTR_CREATE_QP_CAP, PTR + 20 },
	    { UVERBS_ATTR_CREATE_QP_USER_HANDLE, PTR + 8 }, { UVERBS_ATTR_UHW_OUT, PTR + 32 } } },
	{ UVERBS_OBJECT_QP, UVERBS_METHOD_QP_DESTROY,
	  { { UVERBS_ATTR_DESTROY_QP_HANDLE, QP + 1 }, { UVERBS_ATTR_DESTROY_QP_RESP, PTR + 4 } } },
	{ UVERBS_OBJECT_SRQ, UVERBS_METHOD_SRQ_DESTROY,
	  { { UVERBS_ATTR_DESTROY_SRQ_HANDLE, SRQ + 1 },
	    { UVERBS_ATTR_DESTROY_SRQ_RESP, PTR + 4 } } },
	{ UVERBS_OBJECT_MR, UVERBS_METHOD_MR_DESTROY,
	  { { UVERBS_ATTR_DESTROY_MR_HANDLE, MR + 1 } } },
	{ UVERBS_OBJECT_MR, UVERBS_METHOD_QUERY_MR,
	  { { UVERBS_ATTR_QUERY_MR_HANDLE, MR + 1 }, { UVERBS_ATTR_QUERY_MR_RESP_LKEY, PTR + 4 },
	    { UVERBS_ATTR_QUERY_MR_RESP_RKEY, PTR + 4 },
	    { UVERBS_ATTR_QUERY_MR_RESP_LENGTH, PTR + 8 },
	    { UVERBS_ATTR_QUERY_MR_RESP_IOVA, PTR + 8 } } },
	{ UVERBS_OBJECT_MR, UVERBS_METHOD_ADVISE_MR,
	  { { UVERBS_ATTR_ADVISE_MR_PD_HANDLE, PD + 1 }, { UVERBS_ATTR_ADVISE_MR_ADVICE, PTR + 4 },
	    { UVERBS_ATTR_ADVISE_MR_FLAGS, PTR + 4 },
	    { UVERBS_ATTR_ADVISE_MR_SGE_LIST, PTR + 32 } } },
	{ UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR,
	  { { UVERBS_ATTR_REG_DMABUF_MR_HANDLE, OTHER + 1 },
	    { UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, PD + 1 },
	    { UVERBS_ATTR_REG_DMABUF_MR_LENGTH, PTR + 8 },
	    { UVERBS_ATTR_REG_DMABUF_MR_FD, CHANNEL + 1 },
	    { UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, PTR + 4 } } },
	{ UVERBS_OBJECT_MW, UVERBS_METHOD_MW_DESTROY,
	  { { UVERBS_ATTR_DESTROY_MW_HANDLE, MW + 1 } } },
	{ UVERBS_OBJECT_AH, UVERBS_METHOD_AH_DESTROY,
	  { { UVERBS_ATTR_DESTROY_AH_HANDLE, AH + 1 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_PORT,
	  { { UVERBS_ATTR_QUERY_PORT_PORT_NUM, PTR + 1 }, { UVERBS_ATTR_QUERY_PORT_RESP, PTR + 40 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_TABLE,
	  { { UVERBS_ATTR_QUERY_GID_TABLE_ENTRY_SIZE, PTR + 8 },
	    { UVERBS_ATTR_QUERY_GID_TABLE_FLAGS, PTR + 4 },
	    { UVERBS_ATTR_QUERY_GID_TABLE_RESP_ENTRIES, PTR + 48 },
	    { UVERBS_ATTR_QUERY_GID_TABLE_RESP_NUM_ENTRIES, PTR + 8 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_QUERY_GID_ENTRY,
	  { { UVERBS_ATTR_QUERY_GID_ENTRY_PORT, PTR + 4 },
	    { UVERBS_ATTR_QUERY_GID_ENTRY_GID_INDEX, PTR + 4 },
	    { UVERBS_ATTR_QUERY_GID_ENTRY_FLAGS, PTR + 4 },
	    { UVERBS_ATTR_QUERY_GID_ENTRY_RESP_ENTRY, PTR + 32 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_GET_CONTEXT,
	  { { UVERBS_ATTR_GET_CONTEXT_NUM_COMP_VECTORS, PTR + 4 },
	    { UVERBS_ATTR_GET_CONTEXT_CORE_SUPPORT, PTR + 8 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_INFO_HANDLES,
	  { { UVERBS_ATTR_INFO_OBJECT_ID, PTR + 2 }, { UVERBS_ATTR_INFO_TOTAL_HANDLES, PTR + 4 },
	    { UVERBS_ATTR_INFO_HANDLES_LIST, PTR + 63 } } },
	{ UVERBS_OBJECT_DEVICE, UVERBS_METHOD_INVOKE_WRITE,
	  { { UVERBS_ATTR_CORE_IN, PTR + 32 }, { UVERBS_ATTR_CORE_OUT, PTR + 32 },
	    { UVERBS_ATTR_WRITE_CMD, PTR + 4 } } },
	{ UVERBS_OBJECT_ASYNC_EVENT, UVERBS_METHOD_ASYNC_EVENT_ALLOC,
	  { { UVERBS_ATTR_ASYNC_EVENT_ALLOC_FD_HANDLE, OTHER + 1 } } },
	{ UVERBS_OBJECT_XRCD, UVERBS_METHOD_XRCD_DESTROY,
	  { { UVERBS_ATTR_DESTROY_XRCD_HANDLE, XRCD + 1 } } },
};

/* Room for what the kernel answers. */
static __thread u64 room[MAX_ATTRS][64];

static void fill(struct box *box, struct ib_uverbs_attr *attr, u16 id, u8 what, u64 *buffer)
{
	attr->attr_id = id;
	attr->flags = chance(8) ? 0 : UVERBS_ATTR_F_MANDATORY;
	if (what < PTR) {
		attr->data = handle_any(box, what - 1);
		return;
	}
	attr->len = what - PTR;
	if (attr->len == 63)
		attr->len = sizeof(room[0]);
	buffer[0] = chance(2) ? rnd(64) : absurd();
	buffer[1] = (uintptr_t)box->arena;
	/* Short ones that go in are in place; those that come out are not. */
	attr->data = attr->len <= 8 && chance(2) ? buffer[0] : (uintptr_t)buffer;
}

void act_ioctl(struct box *box)
{
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attrs[MAX_ATTRS];
	} call = {};
	const struct method *method = &methods[rnd(sizeof(methods) / sizeof(methods[0]))];
	unsigned int i, n = 0;

	call.hdr.driver_id = RDMA_DRIVER_RXE;	/* whose user library we serve */
	call.hdr.object_id = method->object;
	call.hdr.method_id = method->id;
	if (chance(16)) {
		call.hdr.object_id = rnd(24);
		call.hdr.method_id = rnd(12);
	}
	for (i = 0; i < 8 && method->attrs[i].what; i++)
		if (!chance(20))
			fill(box, &call.attrs[n], method->attrs[i].id, method->attrs[i].what,
			     room[n]), n++;
	while (n < MAX_ATTRS && chance(8)) {
		fill(box, &call.attrs[n], chance(4) ? 0x1000 + rnd(3) : rnd(12),
		     chance(2) ? 1 + rnd(NUM_KINDS) : PTR + rnd(63), room[n]);
		n++;
	}
	call.hdr.num_attrs = n;
	call.hdr.length = sizeof(call.hdr) + n * sizeof(call.attrs[0]);
	if (chance(4))
		spoil(call.attrs, n * sizeof(call.attrs[0]), 1 + rnd(2));
	if (chance(32))
		spoil(&call.hdr, sizeof(call.hdr), 1);
	COUNT(ioctls);
	if (!ioctl(box->fd, RDMA_VERBS_IOCTL, &call))
		COUNT(ioctls_accepted);
}
