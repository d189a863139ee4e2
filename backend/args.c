/* args.c: what a launch hands to its kernel: offsets of operands and outputs in the arena, streams of random
 * members. The list comes from the cluster alone, never from the code generated for it, so that clusters equal but
 * for their buffers share one function and differ in args[] only. Symbolic parts of a view's offset (a cache's
 * S - T) are computed by the kernel from dims[]. */
#include "backend/gen.h"

/* The term of d without symbols. */
static int64_t constant_part(const Dim *d)
{
	int64_t sum = 0;
	for (int i = 0; i < dim_terms(d); i++) {
		const DimFactor *f;
		int nf;
		int64_t coef = dim_term(d, i, &f, &nf);
		sum += nf ? 0 : coef;
	}
	return sum;
}

static void add_memory(Arena *a, KernelArgs *ka, Value *v)
{
	KernelArg arg = { .value = v };
	if (!view_of(v, &arg.view))
		bug("kernel operand %s is no strided view", op_info[v->op].text);
	int64_t fixed = constant_part(arg.view.offset);
	arg.root = arg.view.root;
	arg.bytes = fixed * dtype_size[v->type.dt];
	arg.view.offset = dim_sub(arg.view.offset, dim_const(fixed));
	for (int i = 0; in_panels(v) && i < v->type.rank; i++)
		arg.view.stride[i] = dim_const(-1);
	vec_push(a, &ka->at, arg);
}

typedef struct Symbols { Arena *a; KernelArgs *ka; } Symbols;

static void add_symbol(void *ctx, Value *nonzero)
{
	const Symbols *s = ctx;
	const char *sym = counted_sym(nonzero);
	for (int i = 0; i < s->ka->at.len; i++)
		if (s->ka->at.at[i].sym == sym)
			return;
	vec_push(s->a, &s->ka->at, ((KernelArg){ .sym = sym }));
}

/* In the order in which shapes and views mention them, so that clusters equal but for their symbols agree. */
static void add_symbols(Arena *a, KernelArgs *ka, const Cluster *c, const Counted *counted)
{
	Symbols s = { a, ka };
	int n = ka->at.len;
	for (int i = 0; i < n; i++) {
		KernelArg *arg = &ka->at.at[i];
		if (!arg->root)
			continue;
		View view = arg->view;
		int rank = arg->value->type.rank;
		counted_uses(counted, arg->value, add_symbol, &s);
		counted_in_dim(counted, view.offset, add_symbol, &s);
		for (int k = 0; k < rank; k++)
			counted_in_dim(counted, view.stride[k], add_symbol, &s);
	}
	for (int i = 0; i < c->vals.len; i++) {
		counted_uses(counted, c->vals.at[i], add_symbol, &s);
		if (is_counting(c->vals.at[i]))
			add_symbol(&s, c->vals.at[i]);
	}
}

KernelArgs *kernel_args(Arena *a, const Cluster *c, const Counted *counted)
{
	KernelArgs *ka = NEW(a, KernelArgs);
	for (int i = 0; i < c->ins.len; i++)
		add_memory(a, ka, c->ins.at[i]);
	for (int i = 0; i < c->outs.len; i++)
		add_memory(a, ka, c->outs.at[i]);
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		if (v->op == OP_RANDOM || (v == c->anchor && c->kind == K_FLASH && v->a.dropout > 0))
			vec_push(a, &ka->at, ((KernelArg){ .value = v, .number = v->a.stream }));
	}
	if (counted)
		add_symbols(a, ka, c, counted);
	return ka;
}
