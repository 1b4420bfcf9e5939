/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: frames, losses, and states of links. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM usb4_rdma

#if !defined(U4_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define U4_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(u4_frame,
	TP_PROTO(int peer, unsigned int kind, unsigned int nraw, u32 seq, unsigned int len),
	TP_ARGS(peer, kind, nraw, seq, len),
	TP_STRUCT__entry(
		__field(int, peer)
		__field(unsigned int, kind)
		__field(unsigned int, nraw)
		__field(u32, seq)
		__field(unsigned int, len)
	),
	TP_fast_assign(
		__entry->peer = peer;
		__entry->kind = kind;
		__entry->nraw = nraw;
		__entry->seq = seq;
		__entry->len = len;
	),
	TP_printk("peer=%d kind=%u nraw=%u seq=%u len=%u", __entry->peer, __entry->kind,
		  __entry->nraw, __entry->seq, __entry->len)
);

DEFINE_EVENT(u4_frame, u4_tx,
	TP_PROTO(int peer, unsigned int kind, unsigned int nraw, u32 seq, unsigned int len),
	TP_ARGS(peer, kind, nraw, seq, len)
);

DEFINE_EVENT(u4_frame, u4_rx,
	TP_PROTO(int peer, unsigned int kind, unsigned int nraw, u32 seq, unsigned int len),
	TP_ARGS(peer, kind, nraw, seq, len)
);

TRACE_EVENT(u4_rx_lost,
	TP_PROTO(int peer, u32 next, unsigned int frames),
	TP_ARGS(peer, next, frames),
	TP_STRUCT__entry(
		__field(int, peer)
		__field(u32, next)
		__field(unsigned int, frames)
	),
	TP_fast_assign(
		__entry->peer = peer;
		__entry->next = next;
		__entry->frames = frames;
	),
	TP_printk("peer=%d next=%u lost=%u", __entry->peer, __entry->next, __entry->frames)
);

TRACE_EVENT(u4_link,
	TP_PROTO(int link, unsigned int state, u64 instance),
	TP_ARGS(link, state, instance),
	TP_STRUCT__entry(
		__field(int, link)
		__field(unsigned int, state)
		__field(u64, instance)
	),
	TP_fast_assign(
		__entry->link = link;
		__entry->state = state;
		__entry->instance = instance;
	),
	TP_printk("link=%d state=%u instance=%llu", __entry->link, __entry->state,
		  __entry->instance)
);

TRACE_EVENT(u4_phase,
	TP_PROTO(int link, unsigned int phase),
	TP_ARGS(link, phase),
	TP_STRUCT__entry(
		__field(int, link)
		__field(unsigned int, phase)
	),
	TP_fast_assign(
		__entry->link = link;
		__entry->phase = phase;
	),
	TP_printk("link=%d phase=%u", __entry->link, __entry->phase)
);

#endif /* U4_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
