/* session.c: one entry made ready to run. The arena is a single mapping made and touched once: persistent tensors,
 * buffers, and behind them each thread's scratch. Calls allocate nothing. */
#include "runtime/sn.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of a launch at the call's dims: up to here, some 2 us, one thread does it alone: half of that is what two barriers cost. */
enum { SMALL_FLOPS = 1 << 18, SMALL_BYTES = 1 << 18 };
#define HUGE_BYTES ((size_t)2 << 20)

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static size_t scratch_stride(const SnEntry *e)
{
	return round_up((size_t)e->scratch_bytes, 4096);
}

/* First touch by the thread that will probably use it: kernels cut buffers in this proportion too. */
static void touch(void *ctx, int tid, int n)
{
	SnSession *s = ctx;
	size_t pages = (s->used + HUGE_BYTES - 1) / HUGE_BYTES;
	size_t from = pages * (size_t)tid / (size_t)n * HUGE_BYTES, to = pages * ((size_t)tid + 1) / (size_t)n * HUGE_BYTES;
	for (size_t at = from; at < to; at += 4096)
		*(volatile char *)(s->arena + at) = 0;
}

static int map_arena(SnSession *s, int threads)
{
	const SnEntry *e = s->entry;
	s->used = round_up((size_t)e->arena_bytes, 4096) + scratch_stride(e) * (size_t)threads;
	size_t size = round_up(s->used ? s->used : 1, HUGE_BYTES);
	s->mapped = size + HUGE_BYTES;
	s->mapping = mmap(NULL, s->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->mapping == MAP_FAILED) {
		char text[32];
		s->mapping = NULL;
		return sn_fail(SN_FAIL, "%s needs %s of memory (%zu bytes): %s", sn_text(e->name), sn_bytes_text(text, (double)s->used), s->used, strerror(errno));
	}
	s->arena = (char *)round_up((size_t)s->mapping, HUGE_BYTES);
	madvise(s->arena, size, MADV_HUGEPAGE);   /* advice only: a kernel without it runs as well, slower */
	return SN_OK;
}

int sn_session_open(SnSession *s, const SnEntry *e, int threads)
{
	*s = (SnSession){.entry = e};
	if (e->nsym > SN_MAX_SYMS)
		return sn_fail(SN_FAIL, "%s has %lld dimensions; the runtime knows %d", sn_text(e->name), (long long)e->nsym, SN_MAX_SYMS);
	const SnSym *syms = e->syms;
	for (int i = 0; i < e->nsym; i++)
		s->dims[i] = syms[i].bound;
	sn_find_caches();
	int code = map_arena(s, threads);
	if (code)
		return code;
	s->pool = sn_pool_start(threads);
	if (!s->pool) {
		sn_session_close(s);
		return SN_FAIL;
	}
	if (!sn_function(e, "prepare"))   /* where there is one, it and the steps write all that they read: pages come as they are needed */
		sn_pool_run(s->pool, touch, s);
	return SN_OK;
}

int sn_session_start(SnSession *s, const SnEntry *e, const SnOptions *o)
{
	SnProfile *p = sn_given(o, "profile") ? sn_profile_new(e, o->began) : NULL;
	sn_profile_stage(p, "open");
	int code = sn_session_open(s, e, (int)sn_num(o, "threads", sn_cores()));
	s->profile = p;
	sn_profile_stage(p, "memory");
	return code;
}

void sn_session_close(SnSession *s)
{
	sn_profile_close(s->profile);
	sn_pool_stop(s->pool);
	sn_externals_close(s);
	free(s->alone);
	free(s->costs);
	free(s->base);
	if (s->mapping)
		munmap(s->mapping, s->mapped);
	*s = (SnSession){0};
}

typedef struct Call { SnSession *s; const SnLaunch *launches; int64_t n; } Call;

/* A term is a number times a product: the number from bit 16 on, below it which product, in bit 0 whether it is a cost's last. */
void sn_costs(const SnFunction *f, const int64_t *dims, int64_t *out)
{
	const int64_t *term = f->costs;
	int64_t *products = out + 2 * f->ncost;
	if (f->ncost)
		((void (*)(const int64_t *, int64_t *))f->products)(dims, products);
	for (int64_t i = 0; i < 2 * f->ncost; i++) {
		int64_t sum = 0;
		do
			sum += (*term >> 16) * products[*term >> 1 & 0x7fff];
		while (!(*term++ & 1));
		out[i] = sum;
	}
}

/* Thread 0 runs it alone, whatever its size here; or it is so small here that the others would cost more than they bring. */
static void find_alone(SnSession *s, const SnFunction *f)
{
	const SnLaunch *l = f->launches;
	if (f->nlaunch > s->nalone) {
		s->nalone = f->nlaunch;
		s->alone = sn_realloc(s->alone, (size_t)s->nalone);
	}
	if (2 * f->ncost + f->nproduct > s->room) {
		s->room = 2 * f->ncost + f->nproduct;
		s->costs = sn_realloc(s->costs, sizeof *s->costs * (size_t)s->room);
	}
	sn_costs(f, s->dims, s->costs);
	s->all_alone = true;
	for (int64_t i = 0; i < f->nlaunch; i++) {
		s->alone[i] = l[i].threads == 1 || (f->ncost && s->costs[2 * l[i].cost] <= SMALL_FLOPS && s->costs[2 * l[i].cost + 1] <= SMALL_BYTES);
		s->all_alone &= s->alone[i];
	}
}

/* Neighbours that thread 0 runs alone need no barrier between them; the job's end is the last barrier. */
static void walk(void *ctx, int tid, int n)
{
	const Call *c = ctx;
	SnSession *s = c->s;
	const SnLaunch *launch = c->launches;
	char *scratch = s->arena + round_up((size_t)s->entry->arena_bytes, 4096) + scratch_stride(s->entry) * (size_t)tid;
	int64_t count = c->n;
	for (int64_t i = 0; i < count; i++) {
		SnKernel *kernel = (SnKernel *)launch[i].fn;
		bool alone = s->alone[i];
		if (!alone)
			kernel(launch[i].args, s->arena, s->dims, tid, n, scratch);
		else if (tid == 0)
			kernel(launch[i].args, s->arena, s->dims, 0, 1, scratch);
		if (i + 1 < count && !(alone && s->alone[i + 1]))
			sn_pool_barrier(s->pool, tid);
		if (s->profile && tid == 0 && i + 1 < count)
			sn_profile_lap(s->profile, i);
	}
}

void sn_call(SnSession *s, const SnFunction *f)
{
	Call c = {s, sn_launches(s, f), f->nlaunch};
	find_alone(s, f);
	if (s->profile)
		sn_profile_begin(s->profile, f);
	if (s->all_alone)
		walk(&c, 0, 1);
	else
		sn_pool_run(s->pool, walk, &c);
	if (s->profile)
		sn_profile_end(s->profile, s->dims);
}

int64_t *sn_dim(SnSession *s, const char *sym)
{
	const SnSym *syms = s->entry->syms;
	for (int i = 0; i < s->entry->nsym; i++)
		if (!strcmp(syms[i].name, sym))
			return &s->dims[i];
	return NULL;
}

int64_t sn_bound(const SnEntry *e, const char *sym)
{
	const SnSym *syms = e->syms;
	for (int i = 0; i < e->nsym; i++)
		if (!strcmp(syms[i].name, sym))
			return syms[i].bound;
	return 0;
}

const SnFunction *sn_function(const SnEntry *e, const char *name)
{
	const SnFunction *f = e->functions;
	for (int i = 0; i < e->nfunction; i++)
		if (!strcmp(f[i].name, name))
			return &f[i];
	return NULL;
}

const SnSlot *sn_slot(const SnFunction *f, const char *name, bool output)
{
	const SnSlot *s = f->slots;
	for (int i = 0; i < f->nslot; i++)
		if (!!s[i].output == output && !strcmp(s[i].name, name))
			return &s[i];
	return NULL;
}

void sn_slot_shape(const SnSession *s, const SnFunction *f, const SnSlot *slot, int64_t shape[SN_MAX_RANK])
{
	const SnSlot *slots = f->slots;
	int64_t total = 0, before = 0;
	for (int i = 0; i < f->nslot; i++) {
		if (&slots[i] == slot)
			before = total;
		total += slots[i].rank;
	}
	int64_t *all = sn_alloc(sizeof *all * (size_t)total);
	((void (*)(const int64_t *, int64_t *))f->shapes)(s->dims, all);
	for (int i = 0; i < slot->rank && i < SN_MAX_RANK; i++)
		shape[i] = all[before + i];
	free(all);
}

int64_t sn_tensor_elems(const SnTensor *t)
{
	const int64_t *dims = t->dims;
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		n *= dims[i];
	return n;
}

static void set(SnSession *s, const SnFunction *f, const char *name, const void *value, size_t n)
{
	const SnSlot *slot = sn_slot(f, name, false);
	if (slot)
		memcpy(s->arena + slot->offset, value, n);
}

void sn_set_f32(SnSession *s, const SnFunction *f, const char *name, float v)
{
	set(s, f, name, &v, sizeof v);
}

void sn_set_i32(SnSession *s, const SnFunction *f, const char *name, int32_t v)
{
	set(s, f, name, &v, sizeof v);
}

void sn_set_bool(SnSession *s, const SnFunction *f, const char *name, bool v)
{
	unsigned char byte = v;
	set(s, f, name, &byte, 1);
}

float sn_get_f32(const SnSession *s, const SnFunction *f, const char *name)
{
	const SnSlot *slot = sn_slot(f, name, true);
	float v = NAN;
	if (slot)
		memcpy(&v, s->arena + slot->offset, sizeof v);
	return v;
}
