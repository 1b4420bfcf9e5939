/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of the kernel as driver/transport needs to run in one thread of user
 * space: locks that check for recursion, timers on a clock that the test moves,
 * work that runs when the test says so. Every <linux/...> header of the transport
 * is replaced by this one.
 */
#ifndef KERNEL_SHIM_H
#define KERNEL_SHIM_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8, __u8;
typedef uint16_t u16, __u16, __le16;
typedef uint32_t u32, __u32, __le32;
typedef uint64_t u64, __u64, __le64;
typedef int32_t s32;
typedef int64_t s64;
typedef u64 dma_addr_t;
typedef s64 ktime_t;
typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { int held; } spinlock_t;
struct device { int unused; };
struct net_device;
struct page { char bytes[4096]; };
struct rcu_head { int unused; };
struct completion { int done; };
struct mutex { int held; };
typedef struct { int unused; } wait_queue_head_t;
struct list_head { struct list_head *next, *prev; };
struct sg_table { int unused; };

#define __packed		__attribute__((packed))
#define __aligned_u64		u64 __attribute__((aligned(8)))
#define ____cacheline_aligned_in_smp
#define __rcu
#define __percpu
#define PAGE_SIZE		4096u
#define PAGE_SHIFT		12
#define PAGE_MASK		(~4095ull)
#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define DECLARE_FLEX_ARRAY(type, name)	struct { struct {} __empty_##name; type name[]; }
#define container_of(ptr, type, member)	((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min_t(t, a, b)		min((t)(a), (t)(b))
#define READ_ONCE(x)		(x)
#define WRITE_ONCE(x, v)	((x) = (v))
#define BIT(n)			(1ul << (n))
#define ALIGN(x, a)		(((x) + (a) - 1) / (a) * (a))
#define HZ			250
#define ETH_GSTRING_LEN		32
#define NSEC_PER_USEC		1000ull
#define cpu_to_le16(x)		htole16(x)
#define cpu_to_le32(x)		htole32(x)
#define cpu_to_le64(x)		htole64(x)
#define le16_to_cpu(x)		le16toh(x)
#define le32_to_cpu(x)		le32toh(x)
#define le64_to_cpu(x)		le64toh(x)

#define ERR_PTR(e)		((void *)(intptr_t)(e))
#define IS_ERR(p)		((uintptr_t)(p) >= (uintptr_t)-4095)
#define kzalloc(n, f)		calloc(1, n)
#define kvzalloc(n, f)		calloc(1, n)
#define array_size(a, b)	((size_t)(a) * (b))
#define kfree(p)		free(p)
#define kvfree(p)		free(p)
#define kfree_rcu(p, m)		free(p)

static inline u32 roundup_pow_of_two(u32 n)
{
	u32 p = 1;

	while (p < n)
		p <<= 1;
	return p;
}

/* Taking a lock that is held is the one deadlock that a single thread shows. */
#define spin_lock_init(l)	((l)->held = 0)
#define spin_lock(l)		do { assert(!(l)->held); (l)->held = 1; } while (0)
#define spin_unlock(l)		do { assert((l)->held); (l)->held = 0; } while (0)
#define spin_lock_bh(l)		spin_lock(l)
typedef spinlock_t rwlock_t;
#define read_lock(l)		spin_lock(l)
#define read_unlock(l)		spin_unlock(l)
#define write_lock(l)		spin_lock(l)
#define write_unlock(l)		spin_unlock(l)
#define __acquire(l)		((void)0)
#define __release(l)		((void)0)
#define spin_unlock_bh(l)	spin_unlock(l)
#define rcu_read_lock()		((void)0)
#define rcu_read_unlock()	((void)0)
#define rcu_dereference(p)	(p)
#define RCU_INITIALIZER(p)	(p)
#define xchg(p, new)	({ __typeof__(*(p)) was_ = *(p); *(p) = (new); was_; })
#define smp_load_acquire(p)	(*(p))
#define cmpxchg(p, old, new)	((void)(*(p) == (old) && (*(p) = (new), 1)))
#define rcu_dereference_protected(p, c)	(p)
#define rcu_assign_pointer(p, v)	((p) = (v))
#define RCU_INIT_POINTER(p, v)	((p) = (v))
#define lockdep_is_held(l)	1
struct lock_class_key { int unused; };
#define lockdep_set_class(l, k)	((void)(k))
#define mutex_lock(m)		do { assert(!(m)->held); (m)->held = 1; } while (0)
#define mutex_unlock(m)		do { assert((m)->held); (m)->held = 0; } while (0)

#define ATOMIC64_INIT(n)	{ n }
#define atomic_set(a, v)	((a)->counter = (v))
#define atomic_inc_return(a)	(++(a)->counter)
#define atomic_dec(a)		((void)--(a)->counter)
#define atomic_dec_and_test(a)	(--(a)->counter == 0)
#define atomic_inc_not_zero(a)	((a)->counter ? ++(a)->counter : 0)
#define atomic64_inc_return(a)	(++(a)->counter)
#define set_bit(n, p)		(*(p) |= BIT(n))
static inline bool test_and_clear_bit(unsigned int n, unsigned long *p)
{
	bool was = *p & BIT(n);

	*p &= ~BIT(n);
	return was;
}

#define for_each_possible_cpu(c)	for ((c) = 0; (c) < 1; (c)++)
#define per_cpu_ptr(p, c)	(p)
#define __alloc_percpu(n, a)	calloc(1, n)
#define free_percpu(p)		free(p)
#define get_random_u32_below(n)	((n) / 2)
#define get_random_u32()	0x5eedu
static inline u32 jhash(const void *key, u32 len, u32 seed)
{
	const u8 *at = key;

	while (len--)
		seed = seed * 33 + *at++;
	return seed;
}
#define this_cpu_add(lvalue, n)	((lvalue) += (n))

#define INIT_LIST_HEAD(h)	((h)->next = (h)->prev = (h))

/* ---- a table that stands in for the xarray ---- */

struct xarray { void *entry[1 << 12]; };
#define XA_LIMIT(lo, hi)	(lo), (hi)

static inline void *xa_load(struct xarray *xa, unsigned long i)
{
	return i < ARRAY_SIZE(xa->entry) ? xa->entry[i] : NULL;
}

#define xa_erase(xa, i)		((void)((xa)->entry[i] = NULL))
#define xa_store(xa, i, p, f)	((xa)->entry[i] = (p), (void *)0)
#define xa_err(p)		((void)(p), 0)
#define xa_insert(xa, i, p, f)	((xa)->entry[i] ? -EBUSY : ((xa)->entry[i] = (p), 0))

static inline int shim_alloc(struct xarray *xa, u32 *id, u32 lo, u32 hi, u32 *next)
{
	(void)hi;
	for (*id = max(lo, *next); xa->entry[*id]; (*id)++)
		;
	*next = *id + 1;
	return 0;
}
#define xa_for_each(xa, i, e)						\
	for ((i) = 0; (i) < ARRAY_SIZE((xa)->entry); (i)++)		\
		if (!((e) = (xa)->entry[i])) { } else
#define xa_init_flags(xa, f)	memset(xa, 0, sizeof(*(xa)))
#define xa_destroy(xa)		((void)(xa))
#define xa_alloc_cyclic(xa, id, p, limit, next, f)	shim_alloc(xa, id, limit, next)

/* ---- time, timers, work: see transport_world.h ---- */

extern unsigned long jiffies;
#define time_before(a, b)	((long)((a) - (b)) < 0)
#define time_after(a, b)	time_before(b, a)
#define nsecs_to_jiffies(n)	((unsigned long)((n) / (1000000000ull / HZ)))

struct timer_list {
	struct timer_list *next;
	void (*fn)(struct timer_list *timer);
	unsigned long expires;
	bool pending, known;
};

enum hrtimer_restart { HRTIMER_NORESTART };
enum hrtimer_mode { HRTIMER_MODE_REL_SOFT };
#define CLOCK_MONOTONIC		1
struct hrtimer {
	struct timer_list t;
	enum hrtimer_restart (*fn)(struct hrtimer *timer);
};
void shim_timer_init(struct timer_list *timer, void (*fn)(struct timer_list *timer));
void shim_timer_set(struct timer_list *timer, unsigned long expires);
void shim_timer_drop(struct timer_list *timer);
void shim_hrtimer_fire(struct timer_list *timer);
#define timer_setup(t, f, flags)	shim_timer_init(t, f)
#define timer_pending(t)		((t)->pending)
#define mod_timer(t, e)			shim_timer_set(t, e)
#define timer_reduce(t, e)						\
	((void)((!(t)->pending || time_before(e, (t)->expires)) && (shim_timer_set(t, e), 1)))
#define usleep_range(least, most)	((void)jiffies++)
#define timer_shutdown_sync(t)		shim_timer_drop(t)
#define hrtimer_setup(ht, f, c, m) \
	(shim_timer_init(&(ht)->t, shim_hrtimer_fire), (void)((ht)->fn = (f)))
#define ns_to_ktime(n)			((ktime_t)(n))
#define hrtimer_start(ht, ns, mode)	shim_timer_set(&(ht)->t, jiffies + 1 + (ns) / 4000000)
#define hrtimer_cancel(ht)		shim_timer_drop(&(ht)->t)

struct work_struct {
	struct work_struct *next;
	void (*fn)(struct work_struct *work);
	bool queued;
};
struct workqueue_struct;
void shim_queue_work(struct work_struct *work);
void shim_cancel_work(struct work_struct *work);
void shim_flush_work(struct work_struct *work);
#define alloc_workqueue(...)	((struct workqueue_struct *)1)
#define destroy_workqueue(wq)	((void)(wq))
#define flush_workqueue(wq)	((void)(wq))
#define init_waitqueue_head(w)	((void)(w))
#define mutex_init(m)		((m)->held = 0)
#define mutex_destroy(m)	assert(!(m)->held)
#define INIT_WORK(w, f)		((w)->fn = (f), (w)->queued = false)
#define queue_work(wq, w)	shim_queue_work(w)
#define cancel_work_sync(w)	shim_cancel_work(w)
/* Runs it at once if it is queued. */
#define flush_work(w)		shim_flush_work(w)

#endif /* KERNEL_SHIM_H */
