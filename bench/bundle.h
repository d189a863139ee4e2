/* bundle.h: for benches of single kernels: generates them into one module, loads it into this process and runs them on
 * threads, launch by launch, timed. Not the compiler's own way to run graphs (backend_run): no plan, memory is placed by
 * the caller. For one file to include. */
#ifndef BENCH_BUNDLE_H
#define BENCH_BUNDLE_H

#include "backend/gen.h"
#include "runtime/program.h"

#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef struct Shot { SnKernel *fn; int64_t *args; int64_t scratch; const char *name; const KernelArgs *ka; } Shot;
enum { PEAK_CHAINS = 12 };                            /* vectors in flight; flops a round: 2 * lanes * PEAK_CHAINS */

typedef struct Bundle {
	Arena *a;
	const Target *t;
	const Sym *syms;
	int nsyms;
	LLVMOrcThreadSafeContextRef tsc;
	LLVMContextRef ctx;
	LLVMModuleRef mod;
	Vec(Shot) launch;
	double seconds;
	bool far;                /* of the kernels added next: what they write is read much later */
} Bundle;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static Bundle *bundle_new(Arena *a, const Target *t, const Sym *syms, int nsyms)
{
	Bundle *k = NEW(a, Bundle);
	*k = (Bundle){ .a = a, .t = t, .syms = syms, .nsyms = nsyms };
	k->tsc = LLVMOrcCreateNewThreadSafeContext();
	k->ctx = LLVMOrcThreadSafeContextGetContext(k->tsc);
	k->mod = LLVMModuleCreateWithNameInContext("kernels", k->ctx);
	return k;
}

static Gen gen_of(Bundle *k)
{
	return (Gen){ .ctx = k->ctx, .mod = k->mod, .t = k->t, .arena_mem = k->a, .syms = k->syms, .nsyms = k->nsyms };
}

/* All bundle_add* return the index of their launch. */
static inline int bundle_add(Bundle *k, const Cluster *c)
{
	static void (*const body[K_COUNT])(Gen *, const Cluster *, KernelArgs *) = {
		[K_CONTRACT] = gen_contract_kernel, [K_PACK] = gen_pack_kernel, [K_ROWS] = gen_rows_kernel,
		[K_COLS] = gen_cols_kernel, [K_FLASH] = gen_flash_kernel,
	};
	Gen g = gen_of(k);
	KernelArgs *ka = kernel_args(k->a, c, NULL);
	ka->far = k->far;
	const char *name = arena_printf(k->a, "kernel_%d", k->launch.len);
	gen_begin(&g, name, ka);
	body[c->kind](&g, c, ka);
	gen_end(&g);
	int64_t *args = NEW_ARRAY(k->a, int64_t, ka->at.len + 1);
	vec_push(k->a, &k->launch, ((Shot){ .args = args, .scratch = ka->scratch, .name = name, .ka = ka }));
	return k->launch.len - 1;
}

/* Register-only multiply-adds; args[0]: rounds. */
static inline int bundle_add_peak(Bundle *k)
{
	Gen g = gen_of(k);
	KernelArgs *ka = NEW(k->a, KernelArgs);
	const char *name = arena_printf(k->a, "kernel_%d", k->launch.len);
	LLVMValueRef x[PEAK_CHAINS], from[PEAK_CHAINS];
	gen_begin(&g, name, ka);
	LLVMValueRef rounds = LLVMBuildLoad2(g.b, g.i64, g.args, "");
	LLVMValueRef scale = gen_load(&g, DT_F32, g.scratch, g.t->lanes, NULL);
	LLVMBasicBlockRef before = LLVMGetInsertBlock(g.b);
	for (int i = 0; i < PEAK_CHAINS; i++)
		from[i] = gen_load(&g, DT_F32, gen_at(&g, g.scratch, gen_i64(&g, 64 * i), 1), g.t->lanes, NULL);
	Loop l = gen_loop_begin(&g, gen_i64(&g, 0), rounds, gen_i64(&g, 1));
	LLVMBasicBlockRef body = LLVMGetInsertBlock(g.b);
	LLVMPositionBuilderBefore(g.b, LLVMGetNextInstruction(l.iv));
	for (int i = 0; i < PEAK_CHAINS; i++) {
		x[i] = LLVMBuildPhi(g.b, g.vf, "");
		LLVMAddIncoming(x[i], &from[i], &before, 1);
	}
	LLVMPositionBuilderAtEnd(g.b, body);
	for (int i = 0; i < PEAK_CHAINS; i++) {
		LLVMValueRef next, in[3] = { scale, x[i], scale };
		next = g.t->fma ? gen_call(&g, "llvm.fma", g.vf, in, 3)
				: LLVMBuildFAdd(g.b, scale, LLVMBuildFMul(g.b, scale, x[i], ""), "");
		LLVMAddIncoming(x[i], &next, &body, 1);
	}
	gen_loop_end(&g, &l);
	for (int i = 0; i < PEAK_CHAINS; i++)
		gen_store(&g, DT_F32, x[i], gen_at(&g, g.scratch, gen_i64(&g, 64 * i), 1), NULL);
	gen_end(&g);
	int64_t *args = NEW_ARRAY(k->a, int64_t, 1);
	vec_push(k->a, &k->launch, ((Shot){ .args = args, .scratch = 64 * PEAK_CHAINS, .name = name, .ka = ka }));
	return k->launch.len - 1;
}

/* Products narrower than f32, as this machine multiplies them: by a tile instruction or by a vector's. */
typedef struct Narrow { const char *tile, *vector; bool floats; int depth; } Narrow;   /* depth: products a lane sums */
static const Narrow narrow_bf16 = { "llvm.x86.tdpbf16ps", "llvm.x86.avx512bf16.dpbf16ps.512", true, 2 };
static const Narrow narrow_int8 = { "llvm.x86.tdpbusd", "llvm.x86.avx512.vpdpbusd.512", false, 4 };

/* Multiply-adds of a round of bundle_add_peak_narrow, twice. */
static inline double narrow_flops(const Target *t, const Narrow *n, bool tiles)
{
	return 2.0 * PEAK_CHAINS * n->depth * (tiles ? 16 * 16 * 16 : t->lanes);
}

/* Narrow products in registers; args[0]: rounds of PEAK_CHAINS tiles or vectors. */
static inline int bundle_add_peak_narrow(Bundle *k, const Narrow *n, bool tiles)
{
	Gen g = gen_of(k);
	KernelArgs *ka = NEW(k->a, KernelArgs);
	const char *name = arena_printf(k->a, "kernel_%d", k->launch.len);
	LLVMValueRef x[PEAK_CHAINS];
	gen_begin(&g, name, ka);
	LLVMTypeRef sums = n->floats ? g.vf : LLVMVectorType(g.i32, (unsigned)g.t->lanes);
	LLVMValueRef rounds = LLVMBuildLoad2(g.b, g.i64, g.args, "");
	LLVMValueRef scale = gen_load(&g, DT_I32, g.scratch, g.t->lanes, NULL);
	if (n->floats)
		scale = LLVMBuildBitCast(g.b, scale, LLVMVectorType(LLVMBFloatTypeInContext(g.ctx), 2 * (unsigned)g.t->lanes), "");
	if (tiles)
		gen_tiles_begin(&g);
	for (int i = 0; i < PEAK_CHAINS; i++)
		LLVMBuildStore(g.b, LLVMConstNull(sums), x[i] = gen_var(&g, sums));
	Loop l = gen_loop_begin(&g, gen_i64(&g, 0), rounds, gen_i64(&g, 1));
	for (int i = 0; i < PEAK_CHAINS; i++) {
		LLVMValueRef tile[3];
		for (int j = 0; j < 3; j++)
			tile[j] = LLVMConstInt(g.i8, (unsigned)(j ? 2 + 2 * j + i % 2 : i % 4), 0);
		if (tiles) {
			gen_call_plain(&g, n->tile, tile, 3);
			continue;
		}
		LLVMValueRef in[3] = { LLVMBuildLoad2(g.b, sums, x[i], ""), scale, scale };
		LLVMBuildStore(g.b, gen_call_plain(&g, n->vector, in, 3), x[i]);
	}
	gen_loop_end(&g, &l);
	if (tiles)
		gen_tiles_end(&g);
	for (int i = 0; i < PEAK_CHAINS; i++)
		gen_store(&g, n->floats ? DT_F32 : DT_I32, LLVMBuildLoad2(g.b, sums, x[i], ""), gen_at(&g, g.scratch, gen_i64(&g, 64 * i), 1), NULL);
	gen_end(&g);
	int64_t *args = NEW_ARRAY(k->a, int64_t, 1);
	vec_push(k->a, &k->launch, ((Shot){ .args = args, .scratch = 64 * PEAK_CHAINS, .name = name, .ka = ka }));
	return k->launch.len - 1;
}

/* The way to multiply bf16 instead of the target's: "tiles", "dot", "convert"; false if there is no such way, or it is not the target's. */
static inline bool bundle_way(Target *t, const char *name)
{
	static const char *const ways[] = { [BF16_CONVERT] = "convert", [BF16_DOT] = "dot", [BF16_TILES] = "tiles" };
	for (int i = 0; i <= (int)t->bf16; i++)
		if (!strcmp(name, ways[i])) {
			t->bf16 = i;
			return true;
		}
	return false;
}

/* As contractions of bf16 multiply on this target, where that is not as f32. */
static inline int bundle_add_peak_bf16(Bundle *k)
{
	return bundle_add_peak_narrow(k, &narrow_bf16, k->t->bf16 == BF16_TILES);
}

/* The register tile on operands in first-level cache; args[0]: rounds. */
static inline int bundle_add_tile(Bundle *k, int64_t depth)
{
	Gen g = gen_of(k);
	KernelArgs *ka = NEW(k->a, KernelArgs);
	const char *name = arena_printf(k->a, "kernel_%d", k->launch.len);
	int mr = k->t->mr, nr = k->t->nr;
	gen_begin(&g, name, ka);
	LLVMValueRef fn = gen_full_tile_function(&g, (TileKind){ 0 }), zero = gen_i64(&g, 0);
	LLVMValueRef rounds = LLVMBuildLoad2(g.b, g.i64, g.args, "");
	LLVMValueRef b = gen_at(&g, g.scratch, gen_i64(&g, mr * nr), 4), a = gen_at(&g, b, gen_i64(&g, depth * nr), 4);
	Loop l = gen_loop_begin(&g, zero, rounds, gen_i64(&g, 1));
	gen_helper_call(&g, fn, (LLVMValueRef[]){ a, gen_i64(&g, mr), b, gen_i64(&g, depth), g.scratch, zero, a, zero },
		TILE_PARAMS);
	gen_loop_end(&g, &l);
	gen_end(&g);
	int64_t *args = NEW_ARRAY(k->a, int64_t, 1), bytes = (depth * (mr + nr) + mr * nr) * 4;
	vec_push(k->a, &k->launch, ((Shot){ .args = args, .scratch = bytes, .name = name, .ka = ka }));
	return k->launch.len - 1;
}

/* Reads the arena's first bytes, on each thread its share as one stretch; args: bytes, passes. */
static inline int bundle_add_reader(Bundle *k)
{
	enum { SUMS = 8 };
	Gen g = gen_of(k);
	KernelArgs *ka = NEW(k->a, KernelArgs);
	const char *name = arena_printf(k->a, "kernel_%d", k->launch.len);
	gen_begin(&g, name, ka);
	LLVMValueRef zero = gen_i64(&g, 0), one = gen_i64(&g, 1), step = gen_i64(&g, SUMS * g.t->lanes * 4), sum[SUMS], lo, hi;
	for (int i = 0; i < SUMS; i++)
		LLVMBuildStore(g.b, LLVMConstNull(g.vf), sum[i] = gen_var(&g, g.vf));
	gen_share(&g, gen_bin(&g, LLVMUDiv, LLVMBuildLoad2(g.b, g.i64, g.args, ""), step), &lo, &hi);
	Loop pass = gen_loop_begin(&g, zero, LLVMBuildLoad2(g.b, g.i64, gen_at(&g, g.args, one, 8), ""), one);
	Loop l = gen_loop_begin(&g, lo, hi, one);
	LLVMValueRef from = gen_at(&g, g.arena, LLVMBuildNSWMul(g.b, l.iv, step, ""), 1);
	for (int i = 0; i < SUMS; i++) {
		LLVMValueRef x = gen_load(&g, DT_F32, gen_at(&g, from, gen_i64(&g, i * g.t->lanes), 4), g.t->lanes, NULL);
		LLVMBuildStore(g.b, LLVMBuildFAdd(g.b, LLVMBuildLoad2(g.b, g.vf, sum[i], ""), x, ""), sum[i]);
	}
	gen_loop_end(&g, &l);
	gen_loop_end(&g, &pass);
	for (int i = 0; i < SUMS; i++)
		gen_store(&g, DT_F32, LLVMBuildLoad2(g.b, g.vf, sum[i], ""), gen_at(&g, g.scratch, gen_i64(&g, i * g.t->lanes), 4), NULL);
	gen_end(&g);
	vec_push(k->a, &k->launch, ((Shot){ .args = NEW_ARRAY(k->a, int64_t, 2), .scratch = SUMS * g.t->lanes * 4, .name = name, .ka = ka }));
	return k->launch.len - 1;
}

static void check(LLVMErrorRef e)
{
	if (e)
		bug("%s", LLVMGetErrorMessage(e));
}

/* Compiles. asm_path NULL: no listing. */
static Shot *bundle_finish(Bundle *k, const char *asm_path)
{
	double start = now();
	Machine m = machine_new(k->t);
	LLVMOrcLLJITRef jit;
	machine_optimise(m, k->mod);
	if (asm_path) {
		LLVMMemoryBufferRef text = machine_emit(m, LLVMCloneModule(k->mod), true);
		file_write_atomic(asm_path, LLVMGetBufferStart(text), LLVMGetBufferSize(text));
	}
	LLVMMemoryBufferRef object = machine_emit(m, k->mod, false);
	k->seconds = now() - start;
	machine_free(m);
	check(LLVMOrcCreateLLJIT(&jit, NULL));
	check(LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), object));
	for (int i = 0; i < k->launch.len; i++) {
		LLVMOrcExecutorAddress at;
		check(LLVMOrcLLJITLookup(jit, &at, k->launch.at[i].name));
		k->launch.at[i].fn = (SnKernel *)(uintptr_t)at;
	}
	return k->launch.at;
}

/* place(ctx, root) gives the byte offset of root's memory in the arena; fills args of the launches from..end. */
static inline void bundle_place_some(Bundle *k, int from, int end, int64_t (*place)(void *, Value *), void *ctx)
{
	for (int i = from; i < end; i++)
		for (int j = 0; j < k->launch.at[i].ka->at.len; j++) {
			const KernelArg *arg = &k->launch.at[i].ka->at.at[j];
			k->launch.at[i].args[j] = arg->root ? place(ctx, arg->root) + arg->bytes : arg->number;
		}
}

static inline void bundle_place(Bundle *k, int64_t (*place)(void *, Value *), void *ctx)
{
	bundle_place_some(k, 0, k->launch.len, place, ctx);
}

/* Multiply-adds in registers, of f32 or as the target multiplies bf16. */
typedef struct Peak { Shot *launch; double flops; } Peak;           /* of a thread */

static inline Peak peak_of(Arena *a, const Target *t, bool bf16)
{
	Bundle *k = bundle_new(a, t, NULL, 0);
	bool special = bf16 && t->bf16 != BF16_CONVERT, tiles = special && t->bf16 == BF16_TILES;
	if (special)
		bundle_add_peak_bf16(k);
	else
		bundle_add_peak(k);
	Peak p = { .launch = bundle_finish(k, NULL) };
	int64_t rounds = tiles ? 40000 : 400000;
	p.launch->args[0] = rounds;
	p.flops = 2 * (tiles ? 16 * 16 * 32 : t->lanes * (special ? 2 : 1)) * PEAK_CHAINS * (double)rounds;
	return p;
}

/* Bytes of finite numbers, neither small nor large. */
static inline void fill(char *at, int64_t bytes, bool bf16)
{
	uint16_t *half = (uint16_t *)at;
	float *f = (float *)at;
	for (int64_t i = 0; i < bytes / 2 && bf16; i++)
		half[i] = (uint16_t)(0x3d00 + i * 2654435761u % 256 + (i & 1) * 0x8000);
	for (int64_t i = 0; i < bytes / 4 && !bf16; i++)
		f[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
}

static inline double bundle_compile_seconds(const Bundle *k)
{
	return k->seconds;
}

/* Threads meet spinning, as the runtime's do: a sleeping barrier costs as much as a small contraction. */
typedef struct Meeting { _Atomic int arrived, round; } Meeting;

static void meet(Meeting *m, int threads)
{
	int round = m->round;
	if (++m->arrived == threads) {
		m->arrived = 0;
		m->round++;
		return;
	}
	for (int spins = 0; m->round == round; spins++)
		if (spins > 20000)
			sched_yield();
}

typedef struct Team {
	Shot *const *launch;
	int n, threads, reps;
	char *arena;
	const int64_t *dims;
	bool cpu;
	Meeting meeting;
} Team;
typedef struct Member { Team *team; int tid; char *scratch; double *took; } Member;   /* took[reps] */

static double clock_of(const Team *t)
{
	struct timespec s;
	clock_gettime(t->cpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &s);
	return (double)s.tv_sec + (double)s.tv_nsec * 1e-9;
}

static void *member(void *p)
{
	Member *m = p;
	Team *t = m->team;
	cpu_set_t own;
	CPU_ZERO(&own);
	CPU_SET(m->tid % (int)sysconf(_SC_NPROCESSORS_ONLN), &own);
	pthread_setaffinity_np(pthread_self(), sizeof own, &own);   /* where it is not allowed, the scheduler decides */
	for (int r = 0; r < t->reps; r++) {
		meet(&t->meeting, t->threads);
		double start = clock_of(t), work = 0;
		for (int i = 0; i < t->n; i++) {
			double before = t->cpu ? clock_of(t) : 0;
			t->launch[i]->fn(t->launch[i]->args, t->arena, t->dims, m->tid, t->threads, m->scratch);
			work += t->cpu ? clock_of(t) - before : 0;
			meet(&t->meeting, t->threads);
		}
		m->took[r] = t->cpu ? work : clock_of(t) - start;
	}
	return NULL;
}

enum { MAX_THREADS = 16, GUARD = 4096 };

/* A thread's scratch, kept from run to run: fresh pages would cost more than a small contraction. */
static char *scratch_of(int thread, int64_t bytes)
{
	static char *at[MAX_THREADS];
	static int64_t room[MAX_THREADS];
	if (bytes > room[thread]) {
		free(at[thread]);
		room[thread] = (bytes + 4095) / 4096 * 4096;
		at[thread] = aligned_alloc(4096, (size_t)room[thread]);
		if (!at[thread])
			fatal("no memory for threads");
		memset(at[thread], 0, (size_t)room[thread]);
	}
	return at[thread];
}

/* Runs n launches one after another on `threads` threads, `reps` times; seconds of the fastest time through all: by the
 * wall clock, or (cpu) the processor time of the busiest thread without its waiting, for machines that do other things. */
static double bundle_run(Shot *const *launch, int n, char *arena, const int64_t *dims, int threads, int reps, bool cpu)
{
	Team t = { .launch = launch, .n = n, .threads = threads, .reps = reps, .arena = arena, .dims = dims, .cpu = cpu };
	Member m[MAX_THREADS];
	pthread_t id[MAX_THREADS];
	int64_t scratch = 64;
	for (int i = 0; i < n; i++)
		scratch = MAX(scratch, launch[i]->scratch);
	for (int i = 0; i < threads; i++) {
		m[i] = (Member){ &t, i, scratch_of(i, scratch + GUARD), calloc((size_t)reps, sizeof(double)) };
		if (!m[i].took)
			fatal("no memory for threads");
		memset(m[i].scratch + scratch, 0x5a, GUARD);
		if (pthread_create(&id[i], NULL, member, &m[i]))
			fatal("no thread");
	}
	double best = 1e30;
	for (int i = 0; i < threads; i++)
		pthread_join(id[i], NULL);
	for (int r = 0; r < reps; r++) {
		double slowest = 0;
		for (int i = 0; i < threads; i++)
			slowest = MAX(slowest, m[i].took[r]);
		best = MIN(best, slowest);
	}
	for (int i = 0; i < threads; i++) {
		for (int j = 0; j < GUARD; j++)
			if (m[i].scratch[scratch + j] != 0x5a)
				bug("%s or one behind it writes behind its scratch", launch[0]->name);
		free(m[i].took);
	}
	return best;
}

/* Reading alone, for what memory gives; args: bytes, where they begin in the arena, streams (1, 4), lines fetched ahead. Each thread reads its
 * share as so many stretches at once: what a processor follows best differs. */
static inline __attribute__((always_inline)) void read_streams(const int64_t *args, const char *from, int64_t lines, int64_t streams, char *scratch)
{
	typedef float Line __attribute__((vector_size(64)));
	enum { STEP = 4 };
	int64_t each = lines / streams / STEP * STEP;
	const Line *at = (const Line *)from;
	Line sum[STEP] = { 0 };
	for (int64_t i = 0; i < each; i += STEP)
		for (int64_t s = 0; s < streams; s++)
			for (int64_t j = 0; j < STEP; j++) {
				__builtin_prefetch(&at[s * each + i + j + args[3]]);
				sum[j] += at[s * each + i + j];
			}
	*(volatile float *)scratch = (sum[0] + sum[1] + sum[2] + sum[3])[0];
}

static inline void bundle_reader(const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t nth, char *scratch)
{
	int64_t lines = args[0] / 64 / nth;
	if (args[2] == 1)
		read_streams(args, arena + args[1] + 64 * lines * tid, lines, 1, scratch);
	else
		read_streams(args, arena + args[1] + 64 * lines * tid, lines, 4, scratch);
}

/* GB/s of reading `bytes` of the arena from `first` on, far more than caches hold: the best of some ways. */
static inline double bundle_reads(char *arena, int64_t bytes, int64_t first, int threads)
{
	static const int64_t ahead[] = { 16, 64, 128, 256 };
	int64_t args[4] = { bytes, first }, dim = 0;
	Shot s = { .fn = bundle_reader, .args = args, .scratch = 64 }, *one = &s;
	double best = 1e30;
	for (int i = 0; i < 2 * COUNT(ahead); i++) {
		args[2] = i % 2 ? 4 : 1;
		args[3] = ahead[i / 2];
		double took = bundle_run(&one, 1, arena, &dim, threads, 1, false);
		best = MIN(best, took);
	}
	return (double)bytes * 1e-9 / best;
}

#endif
