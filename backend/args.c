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

bool in_panels(const Value *v)
{
	return v->op == OP_PACK || (v->op == OP_STATE && v->a.spec);
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

KernelArgs *kernel_args(Arena *a, const Cluster *c)
{
	KernelArgs *ka = NEW(a, KernelArgs);
	for (int i = 0; i < c->ins.len; i++)
		add_memory(a, ka, c->ins.at[i]);
	for (int i = 0; i < c->outs.len; i++)
		add_memory(a, ka, c->outs.at[i]);
	for (int i = 0; i < c->vals.len; i++) {
		Value *v = c->vals.at[i];
		if (v->op == OP_RANDOM)
			vec_push(a, &ka->at, ((KernelArg){ .value = v, .number = v->a.stream }));
	}
	return ka;
}
