/* precision.c: contractions of operands rounded to bf16, summed in f32 (Micikevicius et al. 2018, "Mixed Precision Training", sec. 3,
 * with bf16's exponent, that of f32, in place of loss scaling: Kalamkar et al. 2019).
 *
 * Each operand is rounded once where it is computed, below the views through which it is read, so that all contractions share
 * one copy in half the memory, and an f32 that nothing else reads is never stored. Parameters, gradients, reductions, norms,
 * softmax, losses and the optimiser stay in f32.
 *
 * Numeric class: changes precision. With |a' - a| <= u |a|, u = 2^-8, of each operand, a sum of K products is off by at most
 * (2u + u^2 + K 2^-24) sum |a||b| + K 2^-125 (the last for targets whose dot instructions take denormals as zero).
 * Needs: nothing; runs where operands are final. What stays in f32: contractions of caches (they would be rounded at each call),
 * of windows (convolutions), and those without rows, columns or sums, which become products. */
#include "passes/passes.h"

static bool is_memory(const Value *v)
{
	return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT || v->op == OP_WRITE;
}

/* Is x rounded below this view? A part of memory that stays alone is rounded, not all of it. */
static bool rounded_below(const Value *x)
{
	switch (x->op) {
	case OP_RESHAPE: case OP_TRANSPOSE: case OP_EXPAND: return true;
	case OP_SLICE: return !is_memory(view_base(x->in[0]));
	default: return false;
	}
}

/* x in bf16; in the mark of what was rounded: the same in bf16. */
static Value *rounded(Builder *b, Value *x)
{
	if (rounded_below(x)) {
		Value *y = rounded(b, x->in[0]);
		Type t = x->type;
		t.dt = DT_BF16;
		return build(b, x->op, &y, 1, &x->a, op_type_given(x->op) ? &t : NULL);
	}
	if (!x->mark)
		x->mark = b_convert(b, x, DT_BF16);
	return x->mark;
}

static bool rounds_well(const Value *x)
{
	for (; op_info[x->op].flags & OPF_VIEW; x = x->in[0])
		if (x->op == OP_WINDOWS)
			return false;
	return x->type.dt == DT_F32 && x->op != OP_STATE && x->op != OP_WRITE;
}

/* Has the spec letters that are in operand `side` and the result alone? */
static bool has_own(const Spec *s, int side)
{
	for (const char *c = s->at[side]; *c; c++)
		if (!strchr(s->at[!side], *c) && strchr(s->at[2], *c))
			return true;
	return false;
}

static bool sums(const Spec *s)
{
	for (const char *c = s->at[0]; *c; c++)
		if (!strchr(s->at[2], *c))
			return true;
	return false;
}

/* The operand that layout makes operand 1: that with the innermost of the result's letters that are not in both. */
static int right_side(const Spec *s)
{
	for (int i = s->n[2] - 1; i >= 0; i--)
		for (int side = 0; side < 2; side++)
			if (!strchr(s->at[side], s->at[2][i]))
				return !side;
	return 1;
}

/* Blocks of a parameter are made of what it is, not of what bf16 leaves of it. */
static Value *beside_blocks(Builder *b, Value *v, const Spec *s)
{
	int right = right_side(s);
	if (!weight_format(v->in[right]))
		return NULL;
	Value *left = rounded(b, v->in[!right]);
	return b_contract(b, left, v->in[right], internf("%s,%s->%s", s->at[!right], s->at[right], s->at[2]));
}

static Value *mix(Builder *b, Value *v)
{
	Spec s;
	if (v->op != OP_CONTRACT || spec_parse(v->a.spec, &s) || !has_own(&s, 0) || !has_own(&s, 1) || !sums(&s))
		return NULL;
	if (!rounds_well(v->in[0]) || !rounds_well(v->in[1]))
		return NULL;
	Value *blocks = beside_blocks(b, v, &s);
	if (blocks)
		return blocks;
	Value *left = rounded(b, v->in[0]);
	return b_contract(b, left, rounded(b, v->in[1]), v->a.spec);
}

void precision(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = NULL;
	graph_rewrite(g, mix);
}
