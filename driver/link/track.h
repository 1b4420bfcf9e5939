/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Frame numbers and runs on the receiving side: which frame is missing, where a
 * raw frame belongs, when a run is whole. Pure decisions without side effects, so
 * that user space tests them over a lossy ring; rail_rx.c acts on them.
 *
 * next is the number that the next frame should have. A header carries its own
 * number, a raw frame its three low bits in the EOF PDF. A mismatch means that
 * frames were lost, and breaks the run under way. A loss that the three bits do
 * not show (eight frames, or a multiple) shows at the next header; until then no
 * run is whole.
 */
#ifndef U4_TRACK_H
#define U4_TRACK_H

#include <linux/types.h>

#include "../wire.h"

#ifndef WRITE_ONCE
#define WRITE_ONCE(x, value)	((x) = (value))
#endif

/**
 * struct u4_track - state of the receiving side
 * @next: number of the next frame; others read it (credits)
 * @active: a run is under way: its header came and it was not ended
 * @nraw: raw frames it announced
 * @got: raw frames received
 */
struct u4_track {
	__u32		next;
	_Bool		active;
	unsigned int	nraw;
	unsigned int	got;
};

/**
 * struct u4_verdict - what a frame says about those before it
 * @lost: frames missing before it
 * @ended: a run that was under way is over
 * @ok: it is whole; only a header can say so
 * @place: raw frames: index in the run, -1 when the frame belongs to none
 */
struct u4_verdict {
	__u32		lost;
	_Bool		ended;
	_Bool		ok;
	int		place;
};

/* A frame that was lost or damaged: whatever was under way is broken. */
static inline _Bool u4_track_break(struct u4_track *track)
{
	_Bool was = track->active;

	WRITE_ONCE(track->active, 0);
	return was;
}

/* A frame with an error flag, or one that breaks a rule: it used a number. */
static inline struct u4_verdict u4_track_bad(struct u4_track *track)
{
	struct u4_verdict verdict = { .lost = 1, .place = -1 };

	verdict.ended = u4_track_break(track);
	WRITE_ONCE(track->next, track->next + 1);
	return verdict;
}

/* A valid header with number @seq. It ends the run before it, one way or the other. */
static inline struct u4_verdict u4_track_header(struct u4_track *track, __u32 seq)
{
	struct u4_verdict verdict = { .place = -1 };
	__u32 gap = seq - track->next;

	verdict.ok = track->active && !gap && track->got == track->nraw;
	verdict.ended = u4_track_break(track);
	/* A number that went back cannot be a loss; what was counted wrong is put right. */
	verdict.lost = (__s32)gap > 0 ? gap : gap ? 1 : 0;
	WRITE_ONCE(track->next, seq + 1);
	return verdict;
}

/* The header announced @nraw raw frames, more than none. */
static inline void u4_track_run(struct u4_track *track, unsigned int nraw)
{
	track->nraw = nraw;
	track->got = 0;
	WRITE_ONCE(track->active, 1);
}

/* A raw frame with this EOF PDF. */
static inline struct u4_verdict u4_track_raw(struct u4_track *track, unsigned int eof)
{
	struct u4_verdict verdict = { .place = -1 };

	verdict.lost = (eof - track->next) & U4_PDF_RAW_MASK;
	if (verdict.lost)
		verdict.ended = u4_track_break(track);
	WRITE_ONCE(track->next, track->next + verdict.lost + 1);
	if (track->active && track->got < track->nraw)
		verdict.place = track->got++;
	return verdict;
}

#endif /* U4_TRACK_H */
