/* nonzero.c: nonzero kernels: where a mask is true, and how often: the indices go to memory, the count to the entry's
 * dims, where the kernels behind find their extent. One thread does it, alone. */
#include "backend/gen.h"

/* The one kernel that writes dims. */
static void dims_are_written(Gen *g)
{
	LLVMRemoveEnumAttributeAtIndex(g->fn, 3, LLVMGetEnumAttributeKindForName("readonly", strlen("readonly")));
}

static LLVMValueRef count_at(Gen *g, const KernelArgs *ka, const char *sym)
{
	for (int i = 0; i < ka->at.len; i++)
		if (ka->at.at[i].sym == sym)
			return gen_at(g, g->dims, LLVMBuildLoad2(g->b, g->i64, gen_at(g, g->args, gen_i64(g, i), 8), ""), 8);
	bug("a nonzero kernel is not told where to count");
}

/* Each index is written where the next would go (if anyone reads it: the count may be all that is wanted); the place moves
 * on if the mask is true. It is never behind the index itself, so that n places are enough. */
void gen_nonzero_kernel(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Value *v = c->anchor, *mask = v->in[0];
	LLVMValueRef n = gen_var(g, g->i64), stride = gen_dim(g, gen_view(g, mask)->stride[0]);

	ka->scratch = 0;
	dims_are_written(g);
	LLVMBuildStore(g->b, gen_i64(g, 0), n);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), gen_dim(g, mask->type.dim[0]), gen_i64(g, 1));
	LLVMValueRef at = LLVMBuildLoad2(g->b, g->i64, n, "");
	if (c->outs.len)
		gen_store(g, DT_I32, LLVMBuildTrunc(g->b, l.iv, g->i32, ""), gen_at(g, gen_base(g, v), at, 4), NULL);
	LLVMValueRef here = gen_at(g, gen_base(g, mask), LLVMBuildNSWMul(g->b, l.iv, stride, ""), 1);
	LLVMValueRef true_ = LLVMBuildZExt(g->b, gen_load(g, DT_BOOL, here, 1, NULL), g->i64, "");
	LLVMBuildStore(g->b, LLVMBuildNSWAdd(g->b, at, true_, ""), n);
	gen_loop_end(g, &l);
	LLVMBuildStore(g->b, LLVMBuildLoad2(g->b, g->i64, n, ""), count_at(g, ka, counted_sym(v)));
}
