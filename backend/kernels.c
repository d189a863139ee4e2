/* kernels.c: from the clusters of a graph to functions and launches. Clusters equal in structure share a function:
 * the key is the cluster written out with everything code depends on (shapes, strides, attributes, who reads whom),
 * and without what a launch passes (buffers, streams) or nobody computes with (names, paths, places in the file). */
#include "backend/gen.h"
#include <llvm-c/Core.h>

/* Counted symbols by their order among the cluster's, which is all that its code knows of them. */
static const Dim *anonymous(const KernelArgs *ka, const Dim *d)
{
	int n = 0;

	for (int i = 0; d && i < ka->at.len; i++)
		if (ka->at.at[i].sym)
			d = dim_subst(d, ka->at.at[i].sym, dim_sym(internf("?%d", n++)));
	return d;
}

static void key_dim(Str *s, const KernelArgs *ka, const Dim *d)
{
	str_puts(s, dim_text(anonymous(ka, d)));
}

static void key_type(Str *s, const KernelArgs *ka, Type t)
{
	for (int i = 0; i < t.rank; i++)
		t.dim[i] = anonymous(ka, t.dim[i]);
	type_print(s, t);
}

static void key_attrs(Str *s, const KernelArgs *ka, const Value *v)
{
	const Attrs *a = &v->a;
	uint32_t has = op_info[v->op].attrs & ~(A_name | A_stream | A_once);

#define STR(f) str_printf(s, "%s", a->f ? a->f : "")
#define INT(f) str_printf(s, "%d", a->f)
#define F64(f) str_printf(s, "%a", a->f)
#define MASK(f) str_printf(s, "%x", a->f)
#define DIM(f) if (a->f) key_dim(s, ka, a->f)
#define QUANT(f) str_puts(s, quant_name[a->f])
#define PERM(f) for (int i = 0; i < v->type.rank; i++) str_printf(s, "%d,", a->f[i])
#define X(field, kind) if (has & A_##field) { str_puts(s, " " #field "="); kind(field); }
	ATTRS(X)
#undef X
#undef STR
#undef INT
#undef F64
#undef MASK
#undef DIM
#undef PERM
#undef QUANT
}

typedef struct Syms { const Sym *at; int n; const Counted *counted; } Syms;

static int place_in(const ValueList *l, const Value *v)
{
	for (int i = 0; i < l->len; i++)
		if (l->at[i] == v)
			return i;
	return -1;
}

static void key_member(Str *s, const Cluster *c, const KernelArgs *ka, const Value *v)
{
	str_puts(s, op_info[v->op].text);
	str_puts(s, " ");
	key_type(s, ka, v->type);
	key_attrs(s, ka, v);
	for (int i = 0; i < v->nin; i++) {
		int member = place_in(&c->vals, v->in[i]);
		if (member >= 0)
			str_printf(s, " %%%d", member);
		else
			str_printf(s, " @%d", place_in(&c->ins, v->in[i]));
	}
	str_puts(s, "\n");
}

/* A constant read through views is made in place: its number is part of the code. */
static void key_constant(Str *s, const KernelArgs *ka, const Value *v)
{
	while (op_info[v->op].flags & OPF_VIEW)
		v = v->in[0];
	if (v->op == OP_CONST || v->op == OP_DIMVAL) {
		str_printf(s, " %s", op_info[v->op].text);
		key_attrs(s, ka, v);
	}
}

static void key_arg(Str *s, const KernelArgs *ka, const KernelArg *arg)
{
	if (!arg->root)
		return;
	key_type(s, ka, arg->value->type);
	if (in_panels(arg->value))
		str_puts(s, quant_name[arg->value->a.format]);
	str_puts(s, " +");
	key_dim(s, ka, arg->view.offset);
	for (int i = 0; i < arg->value->type.rank; i++) {
		str_puts(s, " *");
		key_dim(s, ka, arg->view.stride[i]);
	}
	key_constant(s, ka, arg->value);
	str_puts(s, "\n");
}

/* Bounds of counted symbols come with the cluster's own; the others' places in dims are part of the code. */
static void key_symbols(Str *s, const KernelArgs *ka, const Syms *all)
{
	for (int i = 0; i < all->n; i++)
		if (!counted_by(all->counted, all->at[i].name))
			str_printf(s, " %d:%s<=%lld", i, all->at[i].name, (long long)all->at[i].bound);
	for (int i = 0; i < ka->at.len; i++)
		if (ka->at.at[i].sym)
			str_printf(s, " ?<=%lld", (long long)all->at[ka->at.at[i].number].bound);
	str_puts(s, "\n");
}

/* A function's panels that are so few bytes stay in the second- or third-level caches of one or two threads from call to call. */
enum { NEAR_BYTES = 8 << 20 };

/* The panels that the contraction reads; NULL: it reads none. */
static const Value *panels_of(const Cluster *c)
{
	for (int i = 0; i < c->ins.len && c->kind == K_CONTRACT; i++)
		if (in_panels(c->ins.at[i]))
			return c->ins.at[i];
	return NULL;
}

static bool panels_are_near(const Graph *g, const ClusterList *l)
{
	int64_t n, total = 0;

	for (int i = 0; i < l->len && total <= NEAR_BYTES; i++) {
		const Value *v = panels_of(l->at[i]);
		if (v && !graph_bound(g, type_elems(v->type), &n))
			return false;
		total += v ? n * dtype_size[v->type.dt] : 0;
	}
	return total <= NEAR_BYTES;
}

static const char *cluster_key(const Cluster *c, const KernelArgs *ka, const Syms *all)
{
	const char *key;
	Str s = { 0 };

	str_printf(&s, "%s%s ", kernel_kind_name[c->kind], ka->near ? " near" : "");
	key_type(&s, ka, c->space);
	key_symbols(&s, ka, all);
	for (int i = 0; i < ka->at.len; i++)
		key_arg(&s, ka, &ka->at.at[i]);
	for (int i = 0; i < c->vals.len; i++)
		key_member(&s, c, ka, c->vals.at[i]);
	for (int i = 0; i < c->outs.len; i++)
		str_printf(&s, "out %d\n", place_in(&c->vals, c->outs.at[i]));
	key = intern(s.at);
	str_free(&s);
	return key;
}

static void (*const generators[K_COUNT])(Gen *, const Cluster *, KernelArgs *) = {
	[K_ROWS] = gen_rows_kernel, [K_COLS] = gen_cols_kernel, [K_SCATTER] = gen_scatter_kernel,
	[K_FLASH] = gen_flash_kernel,
	[K_CONTRACT] = gen_contract_kernel, [K_PACK] = gen_pack_kernel, [K_NONZERO] = gen_nonzero_kernel,
};

/* The member that says most about a cluster: its anchor, else a reduction, else its last output. */
static const Value *main_member(const Cluster *c)
{
	if (c->anchor)
		return c->anchor;
	for (int i = 0; i < c->vals.len; i++)
		if (op_info[c->vals.at[i]->op].flags & OPF_REDUCE)
			return c->vals.at[i];
	return c->outs.len ? c->outs.at[c->outs.len - 1] : c->vals.at[c->vals.len - 1];
}

/* What the program's data call it by. */
static LLVMValueRef finished(Kernels *k, const char *name, LLVMValueRef fn)
{
	LLVMTypeRef ptr = LLVMPointerTypeInContext(k->unit.ctx, 0), i64 = LLVMInt64TypeInContext(k->unit.ctx);
	LLVMTypeRef params[] = { ptr, ptr, ptr, i64, i64, ptr };

	if (!k->units)
		return fn;
	units_added(k->units, fn);
	return unit_declare(&k->unit, name, LLVMFunctionType(LLVMVoidTypeInContext(k->unit.ctx), params, COUNT(params), 0));
}

static Kernel *generate(Kernels *k, const Cluster *c, KernelArgs *ka, const char *key, const Sym *syms, int nsyms)
{
	Kernel *kernel = NEW(k->arena, Kernel);
	Unit *u = k->units ? units_open(k->units) : &k->unit;
	Gen g = { .ctx = u->ctx, .mod = u->mod, .t = k->t, .arena_mem = k->arena, .syms = syms, .nsyms = nsyms };

	kernel->key = key;
	kernel->name = internf("sn_k%d_%s_%s", k->all.len, kernel_kind_name[c->kind], op_info[main_member(c)->op].text);
	gen_begin(&g, kernel->name, ka);
	debug_function(u, &g, kernel->name, main_member(c));
	generators[c->kind](&g, c, ka);
	gen_end(&g);
	k->tiles |= gen_uses_tiles(u->mod);
	kernel->fn = finished(k, kernel->name, g.fn);
	kernel->scratch = ka->scratch;
	vec_push(k->arena, &k->all, kernel);
	return kernel;
}

static Kernel *find(const Kernels *k, const char *key)
{
	for (int i = 0; i < k->all.len; i++)
		if (k->all.at[i]->key == key)
			return k->all.at[i];
	return NULL;
}

/* Waking the other threads costs as much as a few thousand elements. */
static bool is_small(const Graph *g, const Cluster *c)
{
	int64_t n, total = 0;

	for (int i = 0; i < c->ins.len; i++) {
		if (!graph_bound(g, type_elems(c->ins.at[i]->type), &n))
			return false;
		total += n;
	}
	return graph_bound(g, type_elems(c->space), &n) && n <= 4096 && total <= 16384;
}

static const char *launch_name(const Cluster *c)
{
	const Value *v = main_member(c);
	return internf("%s%s%s%s", v->path ? v->path : "", v->path ? ":" : "", op_info[v->op].text, v->grad ? "'" : "");
}

static void number_symbols(KernelArgs *ka, const Syms *all)
{
	for (int i = 0; i < ka->at.len; i++)
		for (int k = 0; ka->at.at[i].sym && k < all->n; k++)
			if (all->at[k].name == ka->at.at[i].sym)
				ka->at.at[i].number = k;
}

LaunchList kernels_of(Kernels *k, Graph *g, const Sym *syms, int nsyms)
{
	Arena *scratch = arena_new();
	ClusterList clusters = clusters_in(scratch, g);
	LaunchList launches = { 0 };
	Syms all = { syms, nsyms, counted_of(scratch, g) };
	const bool *far = far_outputs(scratch, &clusters), near = panels_are_near(g, &clusters);

	for (int i = 0; i < clusters.len; i++) {
		const Cluster *c = clusters.at[i];
		const char *illegal = cluster_illegal(c);
		if (illegal)
			bug("%s: kernel %d: %s", g->name, c->id, illegal);
		KernelArgs *ka = kernel_args(k->arena, c, all.counted);
		number_symbols(ka, &all);
		ka->far = far[i];          /* no part of the key: kernels alike do as the first, which of gradients is the one to wait longest */
		ka->near = near && panels_of(c);
		const char *key = cluster_key(c, ka, &all);
		Launch l = { .ka = ka, .name = launch_name(c), .single = c->kind == K_NONZERO || is_small(g, c),
			.flops = cluster_flops(c), .bytes = cluster_bytes(c) };
		l.kernel = find(k, key);
		if (!l.kernel)
			l.kernel = generate(k, c, ka, key, syms, nsyms);
		vec_push(k->arena, &launches, l);
	}
	arena_free(scratch);
	return launches;
}

Kernels *kernels_new(Arena *a, const Target *t, const char *name, const char *debug_file)
{
	Kernels *k = NEW(a, Kernels);

	*k = (Kernels){ .arena = a, .t = t, .name = name, .debug_file = debug_file };
	unit_begin(&k->unit, name, debug_file);
	return k;
}

void kernels_apart(Kernels *k, int threads)
{
	k->units = units_new(k->arena, k->t, k->name, k->debug_file, threads);
}

void kernels_free(Kernels *k)
{
	if (k->units)
		units_free(k->units);
	unit_free(&k->unit);
}
