/* threads.c: a fixed set of threads that run one job in lockstep. Thread 0 is the caller; the others wait for jobs at
 * the same barrier that separates the launches inside them. Waiting is a short spin, then a futex, and the spin
 * adapts: where threads outnumber cores it shrinks to nothing, so that a waiting thread gives its core away.
 * All sharing goes through C11 atomics; job, ctx and stop are published by the barrier. */
#include "runtime/sn.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Looks at the phase before sleeping; one takes 10 to 50 ns. The middle one is about the time a futex takes to wake. */
enum { SPIN_CROWDED = 16, SPIN_MIN = 512, SPIN_MAX = 4096, STACK_BYTES = 1 << 20 };

typedef struct Waiter {
	_Alignas(64) SnPool *pool;
	pthread_t thread;
	int tid, spin;                /* spin: how many looks before sleeping; grows when it pays, shrinks when not */
} Waiter;

struct SnPool {
	_Alignas(64) _Atomic uint32_t arrived;
	_Alignas(64) _Atomic uint32_t phase;      /* counts barriers passed; the futex */
	_Alignas(64) _Atomic uint32_t asleep;
	SnJob *job;
	void *ctx;
	int n, spin_min, spin_max;
	bool stop;
	Waiter *waiters;              /* n */
};

static void futex_wait(_Atomic uint32_t *at, uint32_t seen)
{
	syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *at)
{
	syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void await_phase(SnPool *p, Waiter *w, uint32_t seen)
{
	for (int i = 0; i < w->spin; i++) {
		if (atomic_load_explicit(&p->phase, memory_order_acquire) != seen) {
			if (w->spin < p->spin_max)
				w->spin *= 2;
			return;
		}
		relax();
	}
	if (w->spin > p->spin_min)
		w->spin /= 2;
	/* Sequentially consistent with the opener's store to phase and load of asleep: one of the two sees the other. */
	atomic_fetch_add(&p->asleep, 1);
	while (atomic_load(&p->phase) == seen)
		futex_wait(&p->phase, seen);
	atomic_fetch_sub(&p->asleep, 1);
}

void sn_pool_barrier(SnPool *p, int tid)
{
	if (p->n == 1)
		return;
	uint32_t seen = atomic_load_explicit(&p->phase, memory_order_relaxed);
	if (atomic_fetch_add(&p->arrived, 1) + 1 < (uint32_t)p->n) {
		await_phase(p, &p->waiters[tid], seen);
		return;
	}
	atomic_store_explicit(&p->arrived, 0, memory_order_relaxed);
	atomic_store(&p->phase, seen + 1);
	if (atomic_load(&p->asleep))
		futex_wake_all(&p->phase);
}

static void *worker(void *arg)
{
	Waiter *w = arg;
	SnPool *p = w->pool;
	for (;;) {
		sn_pool_barrier(p, w->tid);
		if (p->stop)
			return NULL;
		p->job(p->ctx, w->tid, p->n);
		sn_pool_barrier(p, w->tid);
	}
}

void sn_pool_run(SnPool *p, SnJob *job, void *ctx)
{
	p->job = job;
	p->ctx = ctx;
	sn_pool_barrier(p, 0);
	job(ctx, 0, p->n);
	sn_pool_barrier(p, 0);
}

int sn_cores(void)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
		return CPU_COUNT(&set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);   /* more than 1024 processors: the set above is too small */
	return n > 0 ? (int)n : 1;
}

/* Signals are the main thread's: workers are born with all of them blocked. */
static int spawn(SnPool *p, int tid)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	int err = pthread_create(&p->waiters[tid].thread, &attr, worker, &p->waiters[tid]);
	pthread_attr_destroy(&attr);
	return err;
}

SnPool *sn_pool_start(int n)
{
	SnPool *p = NULL;
	Waiter *waiters = NULL;
	if (posix_memalign((void **)&p, 64, sizeof *p) || posix_memalign((void **)&waiters, 64, sizeof *waiters * (size_t)n)) {
		free(p);
		sn_fail(SN_FAIL, "out of memory");
		return NULL;
	}
	memset(p, 0, sizeof *p);
	memset(waiters, 0, sizeof *waiters * (size_t)n);
	p->n = n;
	p->waiters = waiters;
	bool crowded = n > sn_cores();
	p->spin_min = crowded ? SPIN_CROWDED : SPIN_MIN;
	p->spin_max = crowded ? SPIN_CROWDED : SPIN_MAX;
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = 0, made = 1;
	for (int i = 0; i < n; i++)
		waiters[i] = (Waiter){.pool = p, .tid = i, .spin = p->spin_max};
	while (made < n && !(err = spawn(p, made)))
		made++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		return p;
	sn_fail(SN_FAIL, "can't start thread %d of %d: %s (try fewer with -t)", made + 1, n, strerror(err));
	exit(SN_FAIL);   /* threads already started wait for ever at the barrier: only exit ends them */
}

void sn_pool_stop(SnPool *p)
{
	if (!p)
		return;
	p->stop = true;
	sn_pool_barrier(p, 0);
	for (int i = 1; i < p->n; i++)
		pthread_join(p->waiters[i].thread, NULL);
	free(p->waiters);
	free(p);
}
