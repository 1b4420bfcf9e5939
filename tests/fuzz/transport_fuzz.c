// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile peer against driver/transport: what libFuzzer makes up is a script of
 * frames and of things that the attacked host does meanwhile (posts, timers, queue
 * pairs that go). The host's memory is as large as its region and not a byte larger,
 * so that AddressSanitizer sees each step outside of it.
 *
 * Random bytes rarely hit a queue pair, a PSN or a key. So each frame says which of
 * its fields are to be put right; the fuzzer decides how honest it is.
 *
 * The host's side and the kernel's stand-ins are those of transport_world.h.
 */
#define MEM_SIZE	(64u << 10)
#include "../unit/driver/transport_world.h"

#define NUM_QPS		5
#define PEER_QPN	77
#define IOVA		0x100000000ull

/* Which fields of a frame are put right. */
enum honest {
	H_DQPN	= 1,
	H_SQPN	= 2,
	H_PSN	= 4,
	H_KEY	= 8,
	H_ADDR	= 16,
	H_LEN	= 32,
	H_OP	= 64,
	H_TYPE	= 128,
};

struct script {
	const u8	*at, *end;
};

static struct u4_qp *qps[NUM_QPS];
static u32 receives;		/* that are posted, on all queue pairs */

static u8 next_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static void next_bytes(struct script *s, void *to, u32 len)
{
	u8 *at = to;

	while (len--)
		*at++ = next_byte(s);
}

/* ---- the host's verbs ---- */

static void fuzz_send_done(struct u4_qp *qp, const struct u4_swqe *wqe, enum u4_status status,
			   u32 len)
{
	(void)qp, (void)len;
	CHECK(status <= U4_RNR_RETRY_EXC_ERR, "status %u", status);
	CHECK(wqe->op <= U4_WR_BIND_MW, "a request that was never posted completes");
}

static int fuzz_recv_next(struct u4_qp *qp, struct u4_rwqe *rwqe)
{
	(void)qp;
	if (!receives)
		return -ENOENT;
	receives--;
	if (receives % 16 == 15)
		return -EINVAL;
	rwqe->wr_id = receives;
	rwqe->num_sge = 2;
	rwqe->sge[0] = (struct u4_sge){ IOVA + receives, 100, host[0].mr.key };
	rwqe->sge[1] = (struct u4_sge){ IOVA + MEM_SIZE - 9000, 9000, host[0].mr.key };
	/* One in eight points beyond the region: the key's check must stop it. */
	if (receives % 8 == 7)
		rwqe->sge[1].addr++;
	rwqe->len = 9100;
	return 0;
}

static void fuzz_recv_done(struct u4_qp *qp, const struct u4_recv *recv)
{
	(void)qp;
	CHECK(recv->status || recv->write || recv->len <= 9100, "%u bytes in a receive of 9100",
	      recv->len);
}

static void fuzz_event(struct u4_qp *qp, enum u4_event event)
{
	(void)qp;
	CHECK(event <= U4_EV_LAST_WQE, "event %u", event);
}

static const struct u4_xp_ops fuzz_ops = {
	.send_done = fuzz_send_done,
	.recv_next = fuzz_recv_next,
	.recv_done = fuzz_recv_done,
	.event = fuzz_event,
};

/* Group ff0e::1; the fuzzer puts it into the network header of a datagram now and then. */
static const u8 group[U4_GID_LEN] = { 0xff, 0x0e, [15] = 1 };

static void make_qp(u32 i)
{
	static const enum u4_qp_type types[NUM_QPS] = {
		U4_QPT_RC, U4_QPT_RC, U4_QPT_UC, U4_QPT_UD, U4_QPT_RC,
	};
	struct u4_qp_init init = {
		.type = types[i], .sq_depth = 16, .max_sge = 4, .max_inline = 64,
		.pd = &host[0],
	};
	struct u4_qp_attr attr = {
		/* The second one grants nothing. */
		.access = i == 1 ? 0 : 15, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7,
		.min_rnr_timer = 12, .max_rd_atomic = 4, .max_dest_rd_atomic = 4,
		.dest_qpn = PEER_QPN, .qkey = 0x11111111, .rq_psn = 0xfffffe, .sq_psn = 0xfffffe,
	};

	qps[i] = u4_qp_create(&host[0].dev, &init);
	CHECK(!IS_ERR(qps[i]), "no queue pair");
	u4_qp_modify(qps[i], &attr, U4_QPS_INIT);
	if (i == 3)
		CHECK(!u4_mc_attach(qps[i], group), "no member of a group");
	if (i == 4)
		return;			/* one that is not ready to receive */
	u4_qp_modify(qps[i], &attr, U4_QPS_RTR);
	u4_qp_modify(qps[i], &attr, U4_QPS_RTS);
}

static void post_send(struct script *s)
{
	struct u4_qp *qp = qps[next_byte(s) % 4];
	u8 op = next_byte(s) % (U4_WR_FLUSH + 1), flags = next_byte(s);
	u16 at;
	u32 len;
	struct u4_swqe *wqe;

	next_bytes(s, &at, sizeof(at));
	len = op >= U4_WR_CMP_SWAP ? (op == U4_WR_FLUSH ? 0 : 8) : next_byte(s) * 97u;
	if (at + len > MEM_SIZE)
		return;
	if (u4_qp_datagram(qp) || (qp->type == U4_QPT_UC && op > U4_WR_WRITE))
		op = U4_WR_SEND;
	if (u4_qp_datagram(qp))
		len = min(len, 4096u);
	u4_sq_lock(qp);
	wqe = u4_sq_next(qp);
	if (wqe) {
		wqe->op = op;
		wqe->flags = flags & (U4_WRF_SIGNALED | U4_WRF_FENCE | U4_WRF_SOLICITED);
		wqe->len = len;
		wqe->num_sge = 1;
		wqe->sge[0] = (struct u4_sge){ IOVA + at, len, host[0].mr.key };
		wqe->raddr = IOVA;
		wqe->rkey = 5;
		u4_sq_push(qp);
		u4_sq_run(qp);
	}
	u4_sq_unlock(qp);
}

/* ---- the peer's frames ---- */

/* Lengths, places and flags that u4_seg_parse() takes; the rest is the fuzzer's. */
static void shape_right(struct u4_xp_hdr *hdr, const struct u4_qp *qp, u8 spice, u32 *nraw)
{
	u32 inl = le16_to_cpu(hdr->inline_len) % (U4_XP_INLINE_MAX + 1), seg_len;
	u32 msg_len = le32_to_cpu(hdr->msg_len), msg_off = 0;
	bool piece = false;

	switch (hdr->op) {
	case U4_OP_SEND:
	case U4_OP_WRITE:
	case U4_OP_READ_RESP:
		piece = true;
		break;
	case U4_OP_UD:
		inl = 40 + inl % 1000;
		*nraw %= 2;
		hdr->flags &= ~(U4_XP_ACKREQ | U4_XP_INV | U4_XP_UC);
		break;
	case U4_OP_CMP_SWAP:
	case U4_OP_FETCH_ADD:
		inl = 16;
		*nraw = 0;
		break;
	case U4_OP_ATOMIC_WRITE:
	case U4_OP_ATOMIC_RESP:
		inl = 8;
		*nraw = 0;
		break;
	default:
		inl = 0;
		*nraw = 0;
		hdr->flags &= U4_XP_FIRST | U4_XP_LAST | U4_XP_ACKREQ;
		hdr->imm %= 4;
	}
	hdr->inline_len = cpu_to_le16(inl);
	hdr->first_raw = cpu_to_le16(*nraw ? le16_to_cpu(hdr->first_raw) % 4096 + 1 : 0);
	seg_len = inl;
	if (*nraw)
		seg_len += le16_to_cpu(hdr->first_raw);
	if (*nraw > 1)
		seg_len += (*nraw - 2) * 4096 + 1 + spice;
	hdr->seg_len = cpu_to_le32(seg_len);
	if (hdr->op == U4_OP_READ_RESP) {
		/* The READ that is next to be answered, if there is one. */
		const struct u4_swqe *wqe = u4_sq_at(qp, qp->sq_una);

		msg_off = wqe->tx.done;
		msg_len = wqe->len;
	} else if (piece && qp->in_msg) {
		msg_off = qp->msg_off;
		msg_len = qp->msg_len;
	} else if (piece && spice & 8) {
		msg_len = seg_len + msg_len % 100000;
	} else if (hdr->op == U4_OP_READ_REQ) {
		msg_len %= MEM_SIZE;
	} else {
		msg_len = hdr->op == U4_OP_UD ? seg_len : piece ? seg_len : 8;
	}
	if (piece) {
		hdr->flags &= ~(U4_XP_FIRST | U4_XP_LAST);
		if (!msg_off)
			hdr->flags |= U4_XP_FIRST;
		if (msg_off + seg_len == msg_len)
			hdr->flags |= U4_XP_LAST;
		else
			hdr->flags &= ~(U4_XP_IMM | U4_XP_INV);
		if (hdr->op == U4_OP_WRITE)
			hdr->flags &= ~U4_XP_INV;
		if (hdr->op == U4_OP_READ_RESP)
			hdr->flags &= U4_XP_FIRST | U4_XP_LAST;
	} else if (hdr->op != U4_OP_UD) {
		hdr->flags &= U4_XP_FIRST | U4_XP_LAST | U4_XP_ACKREQ;
	}
	hdr->msg_off = cpu_to_le32(msg_off);
	hdr->msg_len = cpu_to_le32(msg_len);
}

static void put_right(struct u4_xp_hdr *hdr, u8 honest, u8 spice, u32 *nraw)
{
	static const u8 ops[] = {
		U4_OP_SEND, U4_OP_WRITE, U4_OP_READ_REQ, U4_OP_CMP_SWAP, U4_OP_FETCH_ADD,
		U4_OP_ATOMIC_WRITE, U4_OP_FLUSH, U4_OP_PROBE, U4_OP_READ_RESP, U4_OP_ATOMIC_RESP,
		U4_OP_ACK, U4_OP_NAK, U4_OP_RNR_NAK, U4_OP_UD,
	};
	struct u4_qp *qp = qps[spice % NUM_QPS];

	if (honest & H_OP)
		hdr->op = ops[hdr->op % sizeof(ops)];
	if (honest & H_OP && hdr->op == U4_OP_UD)
		qp = qps[3];
	if (honest & H_TYPE) {
		hdr->flags &= ~U4_XP_UC;
		if (qp->type == U4_QPT_UC)
			hdr->flags |= U4_XP_UC;
		hdr->reserved = 0;
	}
	if (honest & H_DQPN)
		hdr->dqpn = cpu_to_le32(qp->qpn);
	if (honest & H_SQPN)
		hdr->sqpn = cpu_to_le32(PEER_QPN);
	if (honest & H_PSN) {
		bool response = hdr->op >= U4_OP_READ_RESP && hdr->op <= U4_OP_RNR_NAK;
		u32 psn = response ? qp->una_psn : qp->e_psn;

		hdr->psn = cpu_to_le32(u4_psn_add(psn, spice & 16 ? (spice >> 5) & 3 : 0));
	}
	if (honest & H_KEY)
		hdr->rkey = cpu_to_le32(qp->type == U4_QPT_UD ? 0x11111111 : host[0].mr.key);
	if (honest & H_LEN)
		shape_right(hdr, qp, spice, nraw);
	if (honest & H_ADDR) {
		u32 room = MEM_SIZE + 16 - min(le32_to_cpu(hdr->msg_len), MEM_SIZE);

		hdr->raddr = cpu_to_le64(IOVA + le64_to_cpu(hdr->raddr) % room);
		if (hdr->op != U4_OP_SEND && hdr->op != U4_OP_WRITE && spice & 8)
			hdr->raddr &= cpu_to_le64(~7ull);
	}
}

static void frame(struct script *s)
{
	struct u4_rail *own = &rails[0];
	struct u4_peer *peer = &host[0].peer;
	u8 honest = next_byte(s), spice = next_byte(s), shape = next_byte(s);
	u32 nraw = shape % (U4_RAW_MAX + 1), len, i;
	struct u4_xp_hdr hdr;
	u8 *data;

	next_bytes(s, &hdr, sizeof(hdr));
	put_right(&hdr, honest, spice, &nraw);
	len = sizeof(hdr) + le16_to_cpu(hdr.inline_len);
	if (len > U4_FRAME_SIZE - sizeof(struct u4_link_hdr) || (!(honest & H_LEN) && spice & 64))
		len = next_byte(s) * 17u;
	len = min(len, (u32)(U4_FRAME_SIZE - sizeof(struct u4_link_hdr)));
	data = malloc(len ? len : 1);
	memset(data, spice, len);
	memcpy(data, &hdr, min(len, (u32)sizeof(hdr)));
	if (hdr.op == U4_OP_UD && honest & H_ADDR && len >= sizeof(hdr) + U4_NET_HDR_LEN) {
		memcpy(data + sizeof(hdr) + 24, group, U4_GID_LEN);
		if (spice & 8)
			((struct u4_xp_hdr *)data)->dqpn = cpu_to_le32(U4_QPN_MULTICAST);
	}
	u4_xp_rx_header(peer, own, &own->run, data, len, nraw);
	free(data);
	if (nraw) {
		struct u4_seg seg = {
			.nraw = nraw, .first_raw = le16_to_cpu(hdr.first_raw),
			.seg_len = le32_to_cpu(hdr.seg_len),
			.inline_len = le16_to_cpu(hdr.inline_len),
		};
		u32 sent = shape & 64 ? next_byte(s) % (nraw + 1) : nraw;

		for (i = 0; i < sent; i++) {
			len = honest & H_LEN ? u4_seg_raw_len(&seg, i) : next_byte(s) * 16u + 1;
			len = min(max(len, 1u), U4_FRAME_SIZE);
			data = malloc(len);
			memset(data, spice + i, len);
			u4_xp_rx_raw(peer, own, &own->run, i, data, len);
			free(data);
		}
		u4_xp_rx_confirm(peer, own, &own->run, sent == nraw && !(shape & 128));
	}
	if (spice & 128)
		u4_xp_rx_batch_end(peer, own);
}

static void drain(void)
{
	struct frame *gone;

	while ((gone = rails[0].head)) {
		rails[0].head = gone->next;
		free(gone);
	}
	rails[0].tail = &rails[0].head;
	rails[0].queued = 0;
	wake(&rails[0]);
}

static void begin(void)
{
	u32 i;

	memset(host, 0, sizeof(host));
	memset(rails, 0, sizeof(rails));
	timers = NULL;
	works = NULL;
	jiffies = 1000;
	rng = 1;
	ring = 64;
	receives = 24;
	hostile = true;
	setup(0);
	host[0].dev.ops = &fuzz_ops;
	for (i = 0; i < NUM_QPS; i++)
		make_qp(i);
}

static void end(void)
{
	u32 i;

	u4_xp_rx_batch_end(&host[0].peer, &rails[0]);
	while (run_work())
		;
	for (i = 0; i < NUM_QPS; i++)
		u4_qp_destroy(qps[i]);
	while (run_work())
		;
	drain();
	CHECK(!rails[0].nwaiters, "a queue pair that is gone still waits for room");
	CHECK(host[0].mr.ref.frames.counter == 1, "a use count of the region leaked");
	u4_xpdev_cleanup(&host[0].dev);
	u4_xpdev_cleanup(&host[1].dev);
	free(host[0].mem);
	free(host[1].mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };

	begin();
	while (s.at < s.end) {
		u8 what = next_byte(&s);

		switch (what % 16) {
		case 0:
			post_send(&s);
			break;
		case 1:
			run_timer();
			break;
		case 2:
			while (run_work())
				;
			break;
		case 3:
			drain();
			break;
		case 4:
			u4_xp_rx_lost(&host[0].peer, &rails[0]);
			break;
		case 5:
			u4_xp_rx_batch_end(&host[0].peer, &rails[0]);
			break;
		case 6:
			receives = min(receives + 8, 24u);
			break;
		case 7:
			if (what & 128) {
				u32 i = what >> 4 & 3;

				/* No batch is open while a queue pair goes in process context:
				 * the chain of what is owed must not name it any more. */
				u4_xp_rx_batch_end(&host[0].peer, &rails[0]);
				u4_qp_destroy(qps[i]);
				make_qp(i);
			}
			break;
		default:
			frame(&s);
		}
	}
	end();
	return 0;
}
