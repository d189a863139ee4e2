/* flash.c: what kernels of attention without a matrix of scores can do, asked by passes (shall this attention be one?)
 * and by the backend (is this kernel lowerable?). The ops are flash, which is attention under another name,
 * flash_lse, which one kernel gives along with it, and flash_grad, of which one kernel gives all three. */
#include "ir/ir.h"

/* Rows of the result and of queries stay in registers and first-level cache up to here. */
enum { WIDEST_HEAD = 512 };

enum { WIDEST_VECTOR = 16 };   /* lanes */

FlashExtras flash_extras(const Value *v)
{
	int next = 3;
	FlashExtras x = {0};
	x.keys = v->a.keys ? v->in[next++] : NULL;
	x.mask = v->a.mask ? v->in[next++] : NULL;
	x.bias = v->a.bias ? v->in[next++] : NULL;
	x.seed = v->a.dropout > 0 ? v->in[next++] : NULL;
	for (int i = 0; i < 2 && v->in[1]->type.dt == DT_I8; i++)
		x.scales[i] = v->in[next++];
	return x;
}

static const char *bad_head(const Dim *d)
{
	int64_t n;
	if (!dim_is_const(d, &n))
		return "has heads of an extent that is not known when compiling";
	return n >= 1 && n <= WIDEST_HEAD ? NULL : "has heads too wide for its kernel";
}

bool flash_blocks(const Value *q, const Value *scale)
{
	int64_t n;
	int last = q->type.rank - 1;
	const Dim *block = dim_div_exact(q->type.dim[last], scale->type.dim[last]);
	return dim_is_const(block, &n) && (n % WIDEST_VECTOR == 0 || block == q->type.dim[last]);
}

const char *flash_unfit(const Value *v)
{
	Type q = v->in[0]->type, k = v->in[1]->type;
	const char *e = bad_head(q.dim[3]);
	if (!e)
		e = bad_head(v->in[2]->type.dim[3]);
	if (!e && !dim_is_const(dim_div_exact(q.dim[2], k.dim[2]), NULL))
		e = "has groups of an extent that is not known when compiling";
	for (int i = 1; i <= 2 && !e && v->in[i]->type.dt == DT_I8; i++)
		e = flash_blocks(v->in[i], flash_extras(v).scales[i - 1]) ? NULL : "has blocks that its kernel's vectors don't fit in";
	return e;
}

/* Masks and biases may also be one element along the last axis; scales are read one by one, or by positions. */
bool flash_dense(const Value *v, int i)
{
	View w;
	Value *x = v->in[i];
	int last = x->type.rank - 1;
	bool scale = v->in[1]->type.dt == DT_I8 && i >= v->nin - 2, row = i == 0 || (i >= 3 && last >= 1 && !scale);
	if (!view_of(x, &w))
		return false;
	return !row || dim_is(w.stride[last], 1) || dim_is(x->type.dim[last], 1);
}

bool flash_writes(Value *v)
{
	View w;
	int last = v->type.rank - 1;
	return view_of(v, &w) && (v->op == OP_FLASH_LSE || dim_is(w.stride[last], 1) || dim_is(v->type.dim[last], 1));
}

static bool same_attrs(const Attrs *a, const Attrs *b)
{
	return a->causal == b->causal && a->window == b->window && a->scale == b->scale && a->softcap == b->softcap &&
	       a->dropout == b->dropout && a->stream == b->stream && a->keys == b->keys && a->mask == b->mask && a->bias == b->bias;
}

bool flash_together(const Value *a, const Value *b)
{
	bool grads = a->op == OP_FLASH_GRAD && b->op == OP_FLASH_GRAD && a->a.wrt != b->a.wrt;
	bool forward = (a->op == OP_FLASH && b->op == OP_FLASH_LSE) || (a->op == OP_FLASH_LSE && b->op == OP_FLASH);
	if (!(grads || forward) || a->nin != b->nin || !same_attrs(&a->a, &b->a))
		return false;
	for (int i = 0; i < a->nin; i++)
		if (a->in[i] != b->in[i])
			return false;
	return true;
}

const char *flash_illegal(const Cluster *c)
{
	const Value *first = c->anchor;
	for (int i = 0; i < c->vals.len; i++)
		for (int k = 0; k < i; k++)
			if (!flash_together(c->vals.at[i], c->vals.at[k]))
				return "a kernel of attention has a member of another";
	const char *e = flash_unfit(first);
	if (e)
		return internf("%s %s", op_info[first->op].text, e);
	for (int i = 0; i < first->nin; i++)
		if (!flash_dense(first, i))
			return internf("%s has an operand %d whose rows have gaps", op_info[first->op].text, i);
	for (int i = 0; i < c->outs.len; i++)
		if (!flash_writes(c->outs.at[i]))
			return internf("%s is placed where its rows have gaps", op_info[c->outs.at[i]->op].text);
	return NULL;
}
