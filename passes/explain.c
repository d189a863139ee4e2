/* explain.c: the functions of an explain entry, all made of its one forward graph:
 *
 *   run         what the entry returns, "attention:<path>" f32[B,H,T,S] of each attention, "residual:<path>" behind each layer of the repeat
 *               that comes last
 *   attribute<i>  of the i-th result: score f32[B] and its gradient f32[B,T] to `alpha` f32[B,T], where the tokens' embeddings x are
 *               replaced by base + alpha (x - base), base the embeddings of the ids `baseline` (zeros where an id is out of range). So one call
 *               is a point of the path of integrated gradients (Sundararajan et al. 2017), its output already contracted with x - base; with
 *               zeros as base, alpha 1 gives gradient times input.
 *   lens        what the entry returns, of a residual stream that is given (the logit lens, nostalgebraist 2020); of scores of each position
 *               those at `position` alone, [B,1,V]
 *
 * Results are scores [B,C] of classes or [B,T,V] of each position. Which of them is meant is said by `target` i32[B], `position` i32[B];
 * `normalise` f32[] is 1 for the logarithm of a softmax's share, 0 for the score as it is. */
#include "passes/passes.h"

static bool starts(const Value *v, const char *prefix)
{
	return v->op == OP_OUTPUT && strncmp(v->a.name, prefix, strlen(prefix)) == 0;
}

static bool is_score(const Value *v)
{
	return v->op == OP_OUTPUT && !strchr(v->a.name, ':');
}

int explain_scores(const Graph *g)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += is_score(g->vals.at[i]);
	return n;
}

/* Drops the outputs that keep() does not want. */
static void drop_outputs(Graph *g, bool (*keep)(void *ctx, const Value *), void *ctx)
{
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		old.at[i]->repl = old.at[i];
		if (old.at[i]->op != OP_OUTPUT || keep(ctx, old.at[i]))
			graph_keep(g, old.at[i]);
	}
}

/* Tokens */

/* The rows of a table that is a parameter, by an input of ids. */
static Value *looked_up_by(Value *v)
{
	if (v->op != OP_GATHER || view_base(v->in[0])->op != OP_PARAM || v->type.rank != v->in[1]->type.rank + 1)
		return NULL;
	return v->in[1]->op == OP_INPUT ? v->in[1] : NULL;
}

/* The first input whose ids are looked up in a parameter; NULL: there is none. */
static Value *tokens_of(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *in = g->vals.at[i];
		for (int k = 0; in->op == OP_INPUT && in->type.rank == 2 && k < g->vals.len; k++)
			if (looked_up_by(g->vals.at[k]) == in)
				return in;
	}
	return NULL;
}

static bool fits(const Value *score, const Value *tokens)
{
	Type s = score->in[0]->type, t = tokens->type;
	bool batch = s.dt == DT_F32 && (s.rank == 2 || s.rank == 3) && s.dim[0] == t.dim[0];
	return batch && (s.rank == 2 || s.dim[1] == t.dim[1]);
}

static bool all_causal(const Graph *g)
{
	bool some = false;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op == OP_ATTENTION && !v->a.causal)
			return false;
		some |= v->op == OP_ATTENTION;
	}
	return some;
}

bool explain_check(Module *m, Entry *e, const Graph *forward)
{
	Value *tokens = tokens_of(forward);
	if (!tokens) {
		diag_error((Loc){ 0 }, "E1014", "%s: no input of ids [B,T] is looked up in an embedding: there are no tokens to explain by", e->name);
		return false;
	}
	for (int i = 0; i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		if (!is_score(v) || fits(v, tokens))
			continue;
		diag_error(v->loc.range, "E1014", "%s: what is explained are scores of classes [B,C] or of each position [B,T,V]; `%s` is %s", e->name,
		           v->a.name, type_text(v->in[0]->type));
		return false;
	}
	entry_set(m, e, "explain.tokens", tokens->a.name);
	return true;
}

/* Residual streams */

/* The path of what is repeated: "residual:h" of "residual:h.3". */
static size_t repeat_length(const Value *v)
{
	const char *dot = strrchr(v->a.name, '.');
	return dot ? (size_t)(dot - v->a.name) : strlen(v->a.name);
}

static bool of_same_repeat(const Value *a, const Value *b)
{
	size_t n = repeat_length(a);
	return repeat_length(b) == n && memcmp(a->a.name, b->a.name, n) == 0;
}

/* The one that comes last; NULL: there is none. */
static Value *last_residual(const Graph *g)
{
	for (int i = g->vals.len - 1; i >= 0; i--)
		if (starts(g->vals.at[i], "residual:"))
			return g->vals.at[i];
	return NULL;
}

static bool runs(void *last, const Value *v)
{
	return !starts(v, "residual:") || of_same_repeat(last, v);
}

static void add_weights(Graph *g, Value *v)
{
	Builder b = { .g = g, .loc = v->loc, .path = v->path };
	b_output(&b, internf("attention:%s", v->path ? v->path : "attention"), attention_weights(&b, v));
}

/* What attends twice at one path: #2 and so on, as taps are called. */
static void number_equals(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		const char *name = v->op == OP_OUTPUT ? v->a.name : NULL;
		int n = 1;
		for (int k = i + 1; k < g->vals.len && starts(v, "attention:"); k++)
			if (g->vals.at[k]->op == OP_OUTPUT && strcmp(g->vals.at[k]->a.name, name) == 0)
				g->vals.at[k]->a.name = internf("%s#%d", name, ++n);
	}
}

void explain_run(Graph *g, Module *m, Entry *e)
{
	entry_set(m, e, "explain.causal", all_causal(g) ? "yes" : "no");
	drop_outputs(g, runs, last_residual(g));
	int n = g->vals.len;
	for (int i = 0; i < n; i++)
		if (g->vals.at[i]->op == OP_ATTENTION)
			add_weights(g, g->vals.at[i]);
	number_equals(g);
}

static bool is_it(void *it, const Value *v)
{
	return v == it;
}

/* Scores of each position become those at `position`. */
static void lens_rows(Graph *g)
{
	ValueList outs = { 0 };
	Value *position = NULL;
	for (int i = 0; i < g->vals.len; i++)
		if (is_score(g->vals.at[i]))
			vec_push(g->arena, &outs, g->vals.at[i]);
	drop_outputs(g, is_it, NULL);
	for (int i = 0; i < outs.len; i++) {
		Value *x = outs.at[i]->in[0];
		Builder b = { .g = g, .loc = outs.at[i]->loc, .path = x->path };
		if (x->type.rank == 3 && !position)
			position = b_source(&b, OP_INPUT, "position", type_make(DT_I32, 1, &x->type.dim[0]));
		b_output(&b, outs.at[i]->a.name, x->type.rank == 3 ? explain_row(g, x, position) : x);
	}
}

bool explain_lens(Graph *g)
{
	Value *last = last_residual(g), *stream = last ? last->in[0] : NULL;
	if (!last)
		return false;
	Builder b = { .g = g, .loc = last->loc, .path = stream->path };
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		graph_keep(g, old.at[i]);
		if (old.at[i] == stream)
			old.at[i]->repl = b_source(&b, OP_INPUT, "residual", stream->type);
	}
	lens_rows(g);
	return true;
}

/* Attribution */

static Value *as_column(Builder *b, Value *x, int rank)
{
	Type t = x->type;
	while (t.rank < rank)
		t.dim[t.rank++] = dim_const(1);
	return b_reshape(b, x, t);
}

/* base + alpha (x - base) */
static Value *on_the_way(Builder *b, Value *x, Value *alpha, Value *baseline)
{
	Value *base = b_gather(b, x->in[0], baseline);
	Value *part = b_binary(b, OP_MUL, as_column(b, alpha, x->type.rank), b_binary(b, OP_SUB, x, base));
	return b_binary(b, OP_ADD, base, part);
}

static void replace_embeddings(Graph *g)
{
	Value *tokens = tokens_of(g), *alpha = NULL, *baseline = NULL;
	Type t = tokens->type;
	t.dt = DT_F32;
	ValueList old = graph_take(g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		Builder b = { .g = g, .loc = v->loc, .path = v->path };
		graph_keep(g, v);
		if (v == tokens) {
			alpha = b_source(&b, OP_INPUT, "alpha", t);
			baseline = b_source(&b, OP_INPUT, "baseline", tokens->type);
		} else if (looked_up_by(v) == tokens)
			v->repl = on_the_way(&b, v, alpha, baseline);
	}
}

/* The elements along `axis` at `at` i32[B], by a sum over all but one zeros: extent 1 there. */
static Value *picked(Builder *b, Value *x, int axis, Value *at)
{
	Type along = { .dt = DT_I32, .rank = x->type.rank };
	for (int i = 0; i < along.rank; i++)
		along.dim[i] = i == axis ? x->type.dim[i] : dim_const(1);
	Value *here = b_binary(b, OP_EQ, b_iota(b, axis, along), as_column(b, at, along.rank));
	return b_reduce(b, OP_SUM, b_select(b, here, x, b_const(b, DT_F32, 0)), 1u << axis);
}

/* log sum e^x over the last axis */
static Value *log_sum(Builder *b, Value *x)
{
	uint32_t last = 1u << (x->type.rank - 1);
	Value *top = b_unary(b, OP_STOP, b_reduce(b, OP_RMAX, x, last));
	Value *sum = b_reduce(b, OP_SUM, b_unary(b, OP_EXP, b_binary(b, OP_SUB, x, top)), last);
	return b_binary(b, OP_ADD, top, b_unary(b, OP_LOG, sum));
}

static Value *find_score(const Graph *g, int which)
{
	for (int i = 0; i < g->vals.len; i++)
		if (is_score(g->vals.at[i]) && which-- == 0)
			return g->vals.at[i];
	bug("%s: no such score", g->name);
}

void explain_attribute(Graph *g, int which)
{
	Value *output = find_score(g, which), *x;
	drop_outputs(g, is_it, output);
	replace_embeddings(g);
	x = output->in[0];
	Builder b = { .g = g, .loc = output->loc, .path = x->path };
	Type ids = { .dt = DT_I32, .rank = 1, .dim = { x->type.dim[0] } };
	if (x->type.rank == 3)
		x = explain_row(g, x, b_source(&b, OP_INPUT, "position", ids));
	Value *one = picked(&b, x, x->type.rank - 1, b_source(&b, OP_INPUT, "target", ids));
	Value *much = b_source(&b, OP_INPUT, "normalise", type_scalar(DT_F32));
	one = b_binary(&b, OP_SUB, one, b_binary(&b, OP_MUL, much, log_sum(&b, x)));
	one = b_reshape(&b, one, type_make(DT_F32, 1, ids.dim));
	drop_outputs(g, is_it, NULL);
	b_output(&b, "score", one);
	b_output(&b, "loss", b_reshape(&b, b_reduce(&b, OP_SUM, one, 1), type_scalar(DT_F32)));
}
