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

/* A random member may be an output as well: then it is listed twice, by memory and by number. */
static int arg_index(Gen *g, Value *v, bool memory)
{
	for (int i = 0; i < g->ka->at.len; i++)
		if (g->ka->at.at[i].value == v && (g->ka->at.at[i].root != NULL) == memory)
			return i;
	bug("kernel has no argument for its %s", op_info[v->op].text);
}

static LLVMValueRef load_arg(Gen *g, int i)
{
	return LLVMBuildLoad2(g->b, g->i64, gen_at(g, g->args, gen_i64(g, i), 8), "");
}

LLVMValueRef gen_base(Gen *g, Value *v)
{
	int i = arg_index(g, v, true);
	const KernelArg *arg = &g->ka->at.at[i];
	LLVMValueRef p = gen_at(g, g->arena, load_arg(g, i), 1);
	if (dim_is(arg->view.offset, 0))
		return p;
	return gen_at(g, p, gen_dim(g, arg->view.offset), dtype_size[v->type.dt]);
}

const View *gen_view(Gen *g, Value *v)
{
	return &g->ka->at.at[arg_index(g, v, true)].view;
}

LLVMValueRef gen_number(Gen *g, Value *random)
{
	return load_arg(g, arg_index(g, random, false));
}
