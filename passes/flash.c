/* flash.c: attention into flash, which keeps no matrix of scores, where that is cheaper than the expansion. Needs
 * attention as the frontend or raise_attention made it; breaks nothing. Numeric class: REASSOCIATES (a row's sums run
 * block by block, under a maximum that grows).
 *
 * Each is followed by its flash_lse, so that autodiff's is merged with one that stands where a kernel can compute both; dce drops
 * it where there is no gradient.
 *
 * Left as they are, for expand: heads the kernel has no tiles for (flash_unfit), extents too small to pay, masks and
 * biases that would have to be written out whole, and biases that are trained, to which flash has no gradient. */
#include "passes/passes.h"

/* Scores of a head at the bounds from which on flash is faster forward and backward, as bench/attention.c has it for heads of 64 and
 * 128 on AVX-512: forward alone from half as many positions. */
enum { LEAST_SCORES = 96 * 96 };

static int64_t most(const Graph *g, const Dim *d)
{
	int64_t n;
	return graph_bound(g, d, &n) ? n : 0;
}

/* What fusion would compute beside each score, written to memory for all of them. */
static bool too_large(const Graph *g, const Value *v, const Value *extra)
{
	Type q = v->in[0]->type;
	int64_t rows = most(g, type_elems(q)) / MAX(1, most(g, q.dim[3]));
	return extra && most(g, type_elems(extra->type)) > rows / 4 * most(g, v->in[1]->type.dim[1]);
}

/* Keys and values of a cache in bf16, f16 or blocks are read as they lie. */
static Value *as_kept(Value *x)
{
	bool narrow = (x->op == OP_DEQUANT && flash_blocks(x->in[0], x->in[1])) || (x->op == OP_TO_F32 && (x->in[0]->type.dt == DT_BF16 || x->in[0]->type.dt == DT_F16));
	return narrow ? x->in[0] : x;
}

static bool is_block(Value *x) { return x->op == OP_DEQUANT && as_kept(x) != x; }

/* k and v as they are kept; the scales of blocks behind the other operands. */
static void take_kept(Graph *g, Value *v)
{
	Value **in = NEW_ARRAY(g->arena, Value *, v->nin + 2);
	bool blocks = is_block(v->in[1]) && is_block(v->in[2]), apart = is_block(v->in[1]) != is_block(v->in[2]);
	memcpy(in, v->in, (size_t)v->nin * sizeof *in);
	for (int k = 1; k <= 2 && !apart; k++) {
		in[k] = as_kept(v->in[k]);
		in[v->nin + k - 1] = blocks ? v->in[k]->in[1] : NULL;
	}
	v->in = in;
	v->nin += blocks ? 2 : 0;
}

static bool pays(const Graph *g, const Value *v)
{
	if (as_kept(v->in[1]) != v->in[1])
		return true;
	return most(g, v->in[0]->type.dim[1]) * most(g, v->in[1]->type.dim[1]) >= LEAST_SCORES;
}

/* By id: does it depend on a parameter? */
static bool *trained(Graph *g)
{
	graph_number(g);
	bool *yes = NEW_ARRAY(g->arena, bool, g->vals.len);
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		yes[i] = v->op == OP_PARAM;
		for (int k = 0; k < v->nin; k++)
			yes[i] |= yes[v->in[k]->id];
	}
	return yes;
}

static bool becomes_flash(const Graph *g, const Value *v, const bool *trained)
{
	if (v->op != OP_ATTENTION || flash_unfit(v) || !pays(g, v))
		return false;
	FlashExtras x = flash_extras(v);
	return !too_large(g, v, x.mask) && !too_large(g, v, x.bias) && !(x.bias && trained[x.bias->id]);
}

void flash(Graph *g)
{
	const bool *yes = trained(g);
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		bool now = becomes_flash(g, v, yes);
		v->op = now ? OP_FLASH : v->op;
		if (now)
			take_kept(g, v);
		graph_keep(g, v);
		Builder b = { .g = g, .loc = v->loc, .path = v->path, .grad = v->grad };
		if (now)
			build(&b, OP_FLASH_LSE, v->in, v->nin, &v->a, NULL);
	}
}
