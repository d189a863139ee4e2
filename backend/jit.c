/* jit.c: one graph compiled into this process and run, for tests and benches: the same kernels, plan and object code as
 * a program gets, loaded with LLVM's ORC JIT instead of linked. Threads meet at a barrier after each launch. Graphs for
 * another processor go to emulate.c. */
#include "backend/job.h"
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <stdlib.h>

typedef struct Worker { Job *job; int tid; pthread_t thread; char *scratch; } Worker;

static void check(LLVMErrorRef error)
{
	if (error)
		bug("LLVM JIT: %s", LLVMGetErrorMessage(error));
}

static void *work(void *arg)
{
	Worker *w = arg;
	Job *j = w->job;

	for (int i = 0; i < j->nsteps; i++) {
		Step *s = &j->steps[i];
		if (!s->single)
			s->fn(s->args, j->arena, j->dims, w->tid, j->threads, w->scratch);
		else if (w->tid == 0)
			s->fn(s->args, j->arena, j->dims, 0, 1, w->scratch);
		pthread_barrier_wait(&j->barrier);
	}
	return NULL;
}

static void *aligned(int64_t bytes)
{
	size_t n = ((size_t)bytes + 4095) / 4096 * 4096 + 4096;
	void *p = aligned_alloc(4096, n);

	if (!p)
		fatal("no memory: %lld bytes", (long long)bytes);
	memset(p, 0xa5, n);      /* what is read before it is written shows */
	return p;
}

static void run(Job *j)
{
	Worker *w = calloc((size_t)j->threads, sizeof *w);

	if (!w || pthread_barrier_init(&j->barrier, NULL, (unsigned)j->threads))
		fatal("no memory for threads");
	for (int i = 0; i < j->threads; i++) {
		w[i] = (Worker){ .job = j, .tid = i, .scratch = aligned(j->scratch) };
		if (i && pthread_create(&w[i].thread, NULL, work, &w[i]))
			fatal("cannot start a thread");
	}
	work(&w[0]);
	for (int i = 0; i < j->threads; i++) {
		if (i)
			pthread_join(w[i].thread, NULL);
		free(w[i].scratch);
	}
	pthread_barrier_destroy(&j->barrier);
	free(w);
}

static LLVMOrcLLJITRef load(Kernels *k)
{
	Machine m = machine_new(k->t);
	LLVMOrcLLJITRef jit;

	machine_optimise(m, k->unit.mod);
	check(LLVMOrcCreateLLJIT(&jit, NULL));
	check(LLVMOrcLLJITAddObjectFile(jit, LLVMOrcLLJITGetMainJITDylib(jit), machine_emit(m, k->unit.mod, false)));
	machine_free(m);
	return jit;
}

static int64_t extent(Env *env, const Dim *d)
{
	int64_t n;

	if (!dim_eval(d, env_look, env, &n))
		bug("no value for extent %s", dim_text(d));
	return n;
}

static int64_t elems(Env *env, const Type *t, int64_t *shape)
{
	int64_t n = 1;

	for (int i = 0; i < t->rank; i++)
		n *= shape[i] = extent(env, t->dim[i]);
	return n;
}

/* Where in memory the element of index idx[] lies, in elements from the value's first. */
typedef struct Places { const Value *v; int64_t shape[MAX_RANK], step[MAX_RANK]; int nr; } Places;

static bool is_packed(const Value *v) { return v->op == OP_STATE && v->a.spec && v->a.side == 1; }

/* The linear index and extent of a group of operand 1's letters. */
static int64_t linear(const Places *p, const Axes *x, const char *group, const int64_t *idx, int64_t *extent)
{
	int64_t at = 0;

	*extent = 1;
	for (; *group; group++) {
		int axis = (int)(strchr(x->in[1], *group) - x->in[1]);
		at = at * p->shape[axis] + idx[axis];
		*extent *= p->shape[axis];
	}
	return at;
}

/* In panel order (docs/ir.md, pack): batch, panel of nr columns, row k, column. */
static int64_t packed_place(const Places *p, const int64_t *idx)
{
	Axes x = axes_of(p->v->a.spec, NULL, &p->v->type);
	int64_t nk, nn, nb, k = linear(p, &x, x.k, idx, &nk), n = linear(p, &x, x.n, idx, &nn);
	int64_t panels = (nn + p->nr - 1) / p->nr, first = linear(p, &x, x.batch, idx, &nb) * panels + n / p->nr;

	if (p->v->type.dt == DT_BF16)
		return (first * ((nk + 1) / 2) + k / 2) * 2 * p->nr + n % p->nr * 2 + k % 2;
	return (first * nk + k) * p->nr + n % p->nr;
}

static int64_t place(const Places *p, int64_t i)
{
	int64_t idx[MAX_RANK], at = 0;

	for (int a = p->v->type.rank - 1; a >= 0; a--) {
		idx[a] = i % p->shape[a];
		i /= p->shape[a];
		at += idx[a] * p->step[a];
	}
	return is_packed(p->v) ? packed_place(p, idx) : at;
}

static void put_bf16(uint16_t *to, double x)
{
	float f = (float)round_bf16(x);
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	*to = (uint16_t)(bits >> 16);
}

static double get_bf16(const uint16_t *from)
{
	uint32_t bits = (uint32_t)*from << 16;
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

static void put(char *base, DType dt, int64_t at, double x)
{
	if (dt == DT_F32)
		((float *)base)[at] = (float)x;
	else if (dt == DT_BF16)
		put_bf16((uint16_t *)base + at, x);
	else if (dt == DT_F16)
		((uint16_t *)base)[at] = half_bits((float)x);
	else if (dt == DT_I32)
		((int32_t *)base)[at] = (int32_t)x;
	else if (dt == DT_I8)
		base[at] = (char)(int)x;
	else
		base[at] = x != 0;
}

static double get(const char *base, DType dt, int64_t at)
{
	if (dt == DT_BF16)
		return get_bf16((const uint16_t *)base + at);
	if (dt == DT_F16)
		return half_value(((const uint16_t *)base)[at]);
	if (dt == DT_I8)
		return ((const int8_t *)base)[at];
	return dt == DT_F32 ? ((const float *)base)[at] : dt == DT_I32 ? ((const int32_t *)base)[at] : base[at];
}

/* Elements of v, by its view, to or from a dense array of doubles. */
static void copy_elems(Job *j, Env *env, const Plan *plan, Value *v, double *dense, bool in)
{
	DType dt = v->type.dt;
	Places p = { .v = v, .nr = tile_columns(&j->t, dt) };
	int64_t n = elems(env, &v->type, p.shape);
	View view;

	if (!view_of(v, &view))
		bug("%s has no place in memory", op_info[v->op].text);
	if (is_packed(v) && v->a.format)
		bug("%s is kept in blocks, which tests do not look into", v->a.name);
	for (int a = 0; a < v->type.rank; a++)
		p.step[a] = extent(env, view.stride[a]);
	char *base = j->arena + plan_offset(plan, view.root) + extent(env, view.offset) * dtype_size[dt];
	for (int64_t i = 0; i < n; i++) {
		int64_t at = place(&p, i);
		if (in)
			put(base, dt, at, dense[i]);
		else
			dense[i] = get(base, dt, at);
	}
}

static bool sources_in(Job *j, Graph *g, Env *env, const Plan *plan)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op != OP_PARAM && v->op != OP_STATE && v->op != OP_INPUT)
			continue;
		Tensor *t = env_get(env, v->a.name);
		int64_t shape[MAX_RANK];
		if (!t || t->n != elems(env, &v->type, shape)) {
			diag_error((Loc){ 0 }, NULL, "`%s` is %s", v->a.name, t ? "of another size" : "not given");
			return false;
		}
		copy_elems(j, env, plan, v, t->at, true);
	}
	return true;
}

static void result_out(Job *j, Env *env, const Plan *plan, const char *name, Value *v)
{
	int64_t shape[MAX_RANK], n = elems(env, &v->type, shape);
	double *dense = calloc((size_t)n + 1, sizeof *dense);
	Tensor *t;

	if (!dense)
		fatal("no memory for `%s`", name);
	copy_elems(j, env, plan, v, dense, false);
	t = env_set(env, name, v->type.rank, shape, dense);
	t->type.dt = v->type.dt;
	free(dense);
}

static void results_out(Job *j, Graph *g, Env *env, const Plan *plan)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_OUTPUT)
			result_out(j, env, plan, v->a.name, v->in[0]);
		if (v->op == OP_STORE)
			result_out(j, env, plan, store_target(v->in[0])->a.name, store_target(v->in[0]));
	}
}

/* A module of this graph alone, for the plan. */
static Entry *alone(Graph *g, Module **m)
{
	Entry *e = NEW(g->arena, Entry);

	*m = module_new(g->arena);
	(*m)->name = g->name;
	e->kind = ENTRY_INFER;
	e->name = "jit";
	vec_push(g->arena, &e->graphs, g);
	vec_push(g->arena, &(*m)->entries, e);
	return e;
}

static void make_steps(Job *j, Arena *a, LLVMOrcLLJITRef jit, const LaunchList *l, const Plan *plan)
{
	j->steps = NEW_ARRAY(a, Step, l->len + 1);
	j->nsteps = l->len;
	for (int i = 0; i < l->len; i++) {
		const KernelArgs *ka = l->at[i].ka;
		LLVMOrcExecutorAddress fn = 0;
		if (jit)
			check(LLVMOrcLLJITLookup(jit, &fn, l->at[i].kernel->name));
		j->steps[i] = (Step){ .fn = (SnKernel *)(uintptr_t)fn, .name = l->at[i].kernel->name, .nargs = ka->at.len,
			.single = l->at[i].single };
		j->steps[i].args = NEW_ARRAY(a, int64_t, ka->at.len + 1);
		for (int k = 0; k < ka->at.len; k++)
			j->steps[i].args[k] = plan_argument(plan, &ka->at.at[k]);
		j->scratch = MAX(j->scratch, l->at[i].kernel->scratch);
	}
}

struct Compiled { Graph *g; Counted *counted; Plan *plan; Kernels *kernels; LLVMOrcLLJITRef jit; Emulated *emulated; Job job; };

Compiled *backend_load(Graph *g, const Target *t)
{
	Compiled *c = NEW(g->arena, Compiled);
	Module *m;
	Entry *e = alone(g, &m);
	Plan *plan = plan_entry(m, e, t);
	LaunchList launches;

	if (!plan)
		return NULL;
	*c = (Compiled){ .g = g, .counted = counted_of(g->arena, g), .plan = plan, .kernels = kernels_new(g->arena, t, g->name, NULL) };
	launches = kernels_of(c->kernels, g, g->syms.at, g->syms.len);
	if (target_is_foreign(t))
		c->emulated = emulate_load(c->kernels);
	else
		c->jit = load(c->kernels);
	if (!c->jit && !c->emulated)
		return NULL;
	c->job.t = *t;
	make_steps(&c->job, g->arena, c->jit, &launches, c->plan);
	return c;
}

bool backend_call(Compiled *c, Env *env, int threads)
{
	Job j = c->job;
	bool ok;

	j.threads = threads;
	j.arena_bytes = c->plan->persistent + c->plan->arena;
	j.arena = aligned(j.arena_bytes);
	j.ndims = c->g->syms.len;
	j.dims = NEW_ARRAY(c->g->arena, int64_t, c->g->syms.len + 1);
	for (int i = 0; i < c->g->syms.len; i++)
		j.dims[i] = counted_by(c->counted, c->g->syms.at[i].name) ? -1 : extent(env, dim_sym(c->g->syms.at[i].name));
	ok = sources_in(&j, c->g, env, c->plan);
	if (ok) {
		if (c->emulated)
			emulate_run(c->emulated, &j);
		else
			run(&j);
		for (int i = 0; i < c->g->syms.len; i++)
			if (counted_by(c->counted, c->g->syms.at[i].name))
				env_dim(env, c->g->syms.at[i].name, j.dims[i]);
		results_out(&j, c->g, env, c->plan);
	}
	free(j.arena);
	return ok;
}

void backend_unload(Compiled *c)
{
	if (c->emulated)
		emulate_unload(c->emulated);
	else
		check(LLVMOrcDisposeLLJIT(c->jit));
	kernels_free(c->kernels);
}

bool backend_run(Graph *g, Env *env, const Target *t, int threads)
{
	Compiled *c = backend_load(g, t);
	bool ok = c && backend_call(c, env, threads);

	if (!c)
		return false;
	backend_unload(c);
	return ok;
}
