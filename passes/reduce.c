/* reduce.c: reductions in steps that kernels can do. A rows kernel reduces the last axis (axes of extent 1 do not
 * count); a cols kernel a run of neighbouring axes with something left inside, or everything when that is little.
 * Any other set of axes is done one such step after the other, innermost first, so that the first step, which
 * reads everything, is the one that fuses with what computes the operand. */
#include "passes/layout.h"

/* Elements up to which everything is reduced by one kernel in one thread. */
enum { SMALL = 1 << 14 };

static uint32_t units(const Type *t)
{
	uint32_t m = 0;
	for (int i = 0; i < t->rank; i++)
		if (dim_is(t->dim[i], 1))
			m |= 1u << i;
	return m;
}

/* The highest bit, alone. */
static uint32_t last_of(uint32_t m)
{
	return m ? 1u << (31 - __builtin_clz(m)) : 0;
}

/* The innermost run of neighbours in `axes`; axes of extent 1 between them belong to it. */
static uint32_t innermost_run(uint32_t axes, uint32_t unit)
{
	uint32_t run = last_of(axes), gap = 0;
	for (uint32_t bit = run >> 1; bit && (axes | unit) & bit; bit >>= 1) {
		gap |= bit;
		if (axes & bit)
			run |= gap;
	}
	return run;
}

static uint32_t next_step(Graph *g, const Type *t, uint32_t axes)
{
	uint32_t unit = units(t), all = (1u << t->rank) - 1, last = last_of(all & ~unit);
	int64_t n;
	if (!(axes & last))
		return innermost_run(axes, unit);
	bool small = graph_bound(g, type_elems(*t), &n) && n <= SMALL;
	return axes != last && axes == (all & ~unit) && small ? all : last;
}

/* Shown with stride 0 along its innermost axis: a cols kernel's vectors need something that varies there. */
static bool stretched(Value *x)
{
	View w;
	int i = x->type.rank - 1;
	while (i > 0 && dim_is(x->type.dim[i], 1))
		i--;
	return op_info[x->op].flags & OPF_VIEW && i >= 0 && view_of(x, &w) && !dim_is(x->type.dim[i], 1) && dim_is(w.stride[i], 0);
}

Value *legal_reduce(Builder *b, Op op, Value *x, uint32_t axes)
{
	if (axes & ~units(&x->type) && stretched(x))
		x = b_unary(b, OP_COPY, x);
	for (;;) {
		uint32_t rest = axes & ~units(&x->type);
		if (!rest)
			return x;
		x = b_reduce(b, op, x, next_step(b->g, &x->type, rest));
		axes = rest;
	}
}
