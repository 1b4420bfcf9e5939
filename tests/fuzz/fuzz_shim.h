/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More of the kernel than kernel_shim.h has, for the fuzzers that compile single files
 * of the driver: what a file needs to be parsed, and what it calls in one thread. Each
 * fuzzer includes this, then driver files; its own stubs stand between.
 */
#ifndef FUZZ_SHIM_H
#define FUZZ_SHIM_H

#include <netinet/in.h>

#include "../unit/driver/kernel_shim.h"

#define CHECK(cond, ...)						\
	do {								\
		if (!(cond)) {						\
			fprintf(stderr, "FAIL %s:%d: ", __func__, __LINE__); \
			fprintf(stderr, __VA_ARGS__);			\
			fputc('\n', stderr);				\
			abort();					\
		}							\
	} while (0)

typedef u16 __be16;
typedef u32 __be32;
typedef u64 __be64;
typedef int8_t s8;
typedef s32 __s32;
typedef int64_t __s64;

#define __force
#define __iomem
#define __user
#define __maybe_unused		__attribute__((unused))
#define likely(x)		(x)
#define unlikely(x)		(x)
#define U32_MAX			0xffffffffu
#define BIT_ULL(n)		(1ull << (n))
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))
#define PAGE_ALIGN(n)		(((n) + 4095ul) & ~4095ul)
#define struct_size(p, m, n)	(sizeof(*(p)) + (size_t)(n) * sizeof((p)->m[0]))
#define clamp(v, lo, hi)	min(max(v, lo), hi)
#define min3(a, b, c)		min(min(a, b), c)
#define max_t(t, a, b)		max((t)(a), (t)(b))
#define swap(a, b)		do { typeof(a) t_ = (a); (a) = (b); (b) = t_; } while (0)
#define upper_32_bits(n)	((u32)((u64)(n) >> 32))
#define lower_32_bits(n)	((u32)(n))
#ifndef __cpu_to_le16
#define __cpu_to_le16(x)	htole16(x)
#define __cpu_to_le32(x)	htole32(x)
#define __cpu_to_le64(x)	htole64(x)
#define __le16_to_cpu(x)	le16toh(x)
#define __le32_to_cpu(x)	le32toh(x)
#define __le64_to_cpu(x)	le64toh(x)
#endif
#define ERR_CAST(p)		((void *)(p))
#define PTR_ERR(p)		((long)(intptr_t)(p))
#define EXPORT_SYMBOL_GPL(x)

#define GFP_ATOMIC		0
#define __GFP_ZERO		0
#define __GFP_NOWARN		0
#define PAGE_ALLOC_COSTLY_ORDER	3
#define vzalloc(n)		calloc(1, n)
#define vfree(p)		free(p)
#define kvcalloc(n, s, f)	calloc(n, s)
#define kvmalloc_array(n, s, f)	calloc(n, s)

#undef smp_load_acquire
#define smp_load_acquire(p)	READ_ONCE(*(p))
#define smp_store_release(p, v)	WRITE_ONCE(*(p), v)
#undef cmpxchg
#define cmpxchg(p, old, new)						\
({									\
	typeof(*(p)) was_ = *(p);					\
	if (was_ == (old))						\
		*(p) = (new);						\
	was_;								\
})
#define rcu_access_pointer(p)	(p)
#define synchronize_rcu()	((void)0)
#define synchronize_rcu_tasks()	((void)0)
#define spin_lock_irqsave(l, f)	do { (void)(f); spin_lock(l); } while (0)
#define spin_unlock_irqrestore(l, f)	do { (void)(f); spin_unlock(l); } while (0)
#define rwlock_init(l)		spin_lock_init(l)
#define local_bh_disable()	((void)0)
#define local_bh_enable()	((void)0)
#define cond_resched()		((void)0)
#define irqs_disabled()		false
#define smp_processor_id()	0
#define atomic_inc(a)		((void)++(a)->counter)
#define atomic_read(a)		((a)->counter)
#define ATOMIC_INIT(n)		{ n }
#define atomic64_inc(a)		((void)++(a)->counter)

#define init_completion(c)	((c)->done = 0)
#define complete(c)		((c)->done = 1)
#define complete_all(c)		((c)->done = 1)
#define wait_for_completion_timeout(c, t)	((c)->done)
#define DECLARE_WAIT_QUEUE_HEAD(w)	wait_queue_head_t w
#define wake_up(w)		((void)(w))
#define wake_up_all(w)		((void)(w))
#define wake_up_interruptible(w)	((void)(w))
#define wait_event(w, cond)	assert(cond)

#undef queue_work
#define queue_work(wq, w)	(!(w)->queued && (shim_queue_work(w), true))
struct delayed_work { struct work_struct work; };

#define LIST_HEAD_INIT(name)	{ &(name), &(name) }
#define LIST_HEAD(name)		struct list_head name = LIST_HEAD_INIT(name)
static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

static inline void list_del(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
}

#define list_for_each_entry(pos, head, member)				\
	for (pos = container_of((head)->next, typeof(*pos), member);	\
	     &pos->member != (head);					\
	     pos = container_of(pos->member.next, typeof(*pos), member))

static inline const void *memchr_inv(const void *start, int c, size_t bytes)
{
	const u8 *at = start;

	for (; bytes--; at++)
		if (*at != (u8)c)
			return at;
	return NULL;
}

/* ---- the fuzzer's input ---- */

struct script {
	const u8	*at, *end;
};

static inline u8 next_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static inline void next_bytes(struct script *s, void *to, size_t len)
{
	u8 *at = to;

	while (len--)
		*at++ = next_byte(s);
}

static inline u16 next_u16(struct script *s)
{
	u16 v;

	next_bytes(s, &v, sizeof(v));
	return v;
}

static inline u32 next_u32(struct script *s)
{
	u32 v;

	next_bytes(s, &v, sizeof(v));
	return v;
}

static inline u64 next_u64(struct script *s)
{
	u64 v;

	next_bytes(s, &v, sizeof(v));
	return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif /* FUZZ_SHIM_H */
