/* incremental.c: from the graph over a whole sequence to the step that takes only its new tokens, and to `encode`, which
 * computes once what does not depend on them. First each value is classified by how it depends on the generated
 * axis T (incremental_dep.c); then caches and offsets are put in (incremental_keys.c), and what is constant goes to
 * encode (incremental_once.c). T becomes the number of new tokens, the new symbol T.all the length after the call.
 *
 * The generated axis is the dimension along which `next` takes the last position and that is the last extent of an input
 * of ids: neither has to have a certain name. */
#include "passes/incremental.h"

/* The most new tokens a call takes: a longer prompt takes several calls. It bounds what a call needs in memory
 * (attention's scores grow with new tokens x context), and is enough for contractions to run at full speed. */
enum { CHUNK = 512 };

/* Finding the axis */

static const Sym *symbol(const Graph *g, const Dim *d)
{
	for (int i = 0; i < g->syms.len; i++)
		if (dim_sym(g->syms.at[i].name) == d)
			return &g->syms.at[i];
	return NULL;
}

/* Is the last position of a dimension d taken anywhere? */
static bool takes_last(const Graph *g, const Dim *d)
{
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op == OP_SLICE && v->in[0]->type.dim[v->a.axis] == d && v->a.start == dim_sub(d, dim_const(1)))
			return true;
	}
	return false;
}

static Value *output_named(const Graph *g, const char *name)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_OUTPUT && strcmp(g->vals.at[i]->a.name, name) == 0)
			return g->vals.at[i];
	return NULL;
}

static Loc place_of(const Value *v)
{
	return v ? v->loc.range : (Loc){ 0 };
}

static void no_axis(const Entry *e, const Value *next, const char *candidates)
{
	diag_error(place_of(next), "E0809", "%s: `next` does not take the last position of a run-time dimension of token ids", e->name);
	if (candidates)
		diag_note((Loc){ 0 }, "run-time dimensions of ids: %s", candidates);
	diag_help("an input such as tokens: id(V)[B,T], and `[:, -1]` behind what is made of it");
}

/* NULL after diag_error. A single input of ids is it in any case: why it can't be generated is found out later. */
static const Value *generated_input(const Graph *g, const Entry *e)
{
	const Value *found = NULL, *only = NULL, *next = output_named(g, "next");
	const char *names = NULL;
	int n = 0;
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (v->op != OP_INPUT || v->type.dt != DT_I32 || !v->type.rank)
			continue;
		const Dim *d = v->type.dim[v->type.rank - 1];
		if (!symbol(g, d))
			continue;
		only = v;
		n++;
		names = names ? internf("%s, %s", names, dim_text(d)) : dim_text(d);
		if (!takes_last(g, d))
			continue;
		if (found) {
			diag_error(place_of(next), "E0809", "%s: `%s` and `%s` could both be what is generated", e->name, found->a.name, v->a.name);
			diag_note((Loc){ 0 }, "the last position of both is taken");
			return NULL;
		}
		found = v;
	}
	if (!found && n == 1)
		return only;
	if (!found)
		no_axis(e, next, names);
	return found;
}

/* Rewriting */

/* What stands for v in the step. */
static Value *step_value(Inc *c, Builder *b, Value *v)
{
	Dep d = c->dep[v->id];
	if (v->op == OP_ATTENTION)
		return step_attention(c, b, v);
	if (v->op == OP_SLICE && is_constant(c->dep[v->in[0]->id]) && !is_constant(d)) {
		Value *table = constant_in_step(c, b, v->in[0], NULL, 0);
		return b_slice(b, table, v->a.axis, dim_add(v->a.start, c->past), v->a.len);
	}
	if (v->op == OP_IOTA && has_dim(v->type.dim[v->a.axis], c->sym))
		return b_binary(b, OP_ADD, b_iota(b, v->a.axis, v->type), b_dim(b, c->past));
	Value *copy = NEW(c->g->arena, Value);
	*copy = *v;
	copy->in = NEW_ARRAY(c->g->arena, Value *, v->nin + 1);
	for (int i = 0; i < v->nin; i++)
		copy->in[i] = is_constant(c->dep[v->in[i]->id]) ? constant_in_step(c, b, v->in[i], v, i) : v->in[i]->repl;
	vec_push(c->g->arena, &c->g->vals, copy);
	return copy;
}

/* Pairs are made where attention wants them; what is computed once is read where the step wants it. */
static bool left_out(const Inc *c, const Value *v)
{
	bool root = op_info[v->op].flags & OPF_ROOT;
	return is_pair(c->dep[v->id]) || (!root && is_constant(c->dep[v->id]) && c->given[v->id]);
}

static void rewrite(Inc *c)
{
	ValueList old = graph_take(c->g);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		Builder b = { .g = c->g, .loc = v->loc, .path = v->path, .grad = v->grad };
		if (!left_out(c, v))
			v->repl = step_value(c, &b, v);
	}
}

/* A symbol whose bound is 1 is 1: so a batch of one needs no loop and no padding of caches. */
static void settle_symbols(Graph *g, const char *but)
{
	Counted *counted = counted_of(g->arena, g);
	for (int i = 0; i < g->syms.len; i++) {
		const char *sym = g->syms.at[i].name;
		if (g->syms.at[i].bound != 1 || sym == but || counted_by(counted, sym))
			continue;
		for (int k = 0; k < g->vals.len; k++) {
			Value *v = g->vals.at[k];
			const Dim **at[] = { &v->a.start, &v->a.len, &v->a.lo, &v->a.hi, &v->a.size };
			for (int j = 0; j < COUNT(at); j++)
				*at[j] = *at[j] ? dim_subst(*at[j], sym, dim_const(1)) : NULL;
			for (int j = 0; j < v->type.rank; j++)
				v->type.dim[j] = dim_subst(v->type.dim[j], sym, dim_const(1));
		}
	}
}

/* Rows are counted among new tokens alone. */
static void lower_counts(Graph *g)
{
	int64_t n;
	for (int i = 0; i < g->vals.len; i++)
		if (is_counting(g->vals.at[i]) && graph_bound(g, g->vals.at[i]->in[0]->type.dim[0], &n))
			graph_sym(g, counted_sym(g->vals.at[i]), n);
}

static DType cache_dtype(const Entry *e)
{
	static const struct { const char *name; DType dt; } kinds[] = { { "bf16", DT_BF16 }, { "f16", DT_F16 }, { "q8_0", DT_I8 } };
	const Setting *cache = entry_setting(e, "cache");
	for (int i = 0; cache && cache->str && i < COUNT(kinds); i++)
		if (strcmp(cache->str, kinds[i].name) == 0)
			return kinds[i].dt;
	return DT_F32;
}

static Inc begin(Graph *g, const Entry *e, const Value *input)
{
	const Sym *time = symbol(g, input->type.dim[input->type.rank - 1]), *batch;
	const Setting *chunk = entry_setting(e, "chunk");
	int64_t most = chunk && chunk->is_num && chunk->num >= 1 ? (int64_t)chunk->num : CHUNK;
	Inc c = { .g = g, .sym = time->name, .longest = time->bound, .chunk = MIN(time->bound, most), .forward = g->vals.len };
	c.kept = cache_dtype(e);
	settle_symbols(g, time->name);
	batch = input->type.rank > 1 ? symbol(g, input->type.dim[0]) : NULL;
	c.batch = batch ? batch->name : NULL;
	c.all_sym = internf("%s.all", c.sym);
	c.T = dim_sym(c.sym);
	c.all = dim_sym(c.all_sym);
	c.past = dim_sub(c.all, c.T);
	graph_number(g);
	c.dep = NEW_ARRAY(g->arena, Dep, g->vals.len);
	c.given = NEW_ARRAY(g->arena, bool, g->vals.len);
	c.positional = NEW_ARRAY(g->arena, bool, g->vals.len);
	c.span = NEW_ARRAY(g->arena, int64_t, g->vals.len);
	return c;
}

bool incremental_every(Graph *g, const Entry *e)
{
	const Value *input = generated_input(g, e);
	Value *next = output_named(g, "next");
	if (!input)
		return false;
	const Dim *T = input->type.dim[input->type.rank - 1];
	Value *x = next ? next->in[0] : NULL;
	while (x && x->op == OP_RESHAPE)
		x = x->in[0];
	if (!x || x->op != OP_SLICE || x->a.start != dim_sub(T, dim_const(1)) || x->in[0]->type.rank != 3 || x->in[0]->type.dim[1] != T) {
		diag_error(place_of(next), "E0810", "%s: `draft` wants a `next` that is logits of all positions, of which the last is taken behind everything else", e->name);
		diag_help("next M(tokens)[:, -1], where M gives [B,T,V]");
		return false;
	}
	next->in[0] = x->in[0];
	next->a.name = intern("logits");
	return true;
}

void incremental_most(Graph *g, int64_t most)
{
	for (int i = 0; i < g->syms.len; i++) {
		const char *dot = strrchr(g->syms.at[i].name, '.');
		if (dot && strcmp(dot, ".all") == 0)
			graph_sym(g, intern_n(g->syms.at[i].name, (size_t)(dot - g->syms.at[i].name)), most);
	}
}

bool incremental(Graph *g, Module *m, Entry *e)
{
	const Value *input = generated_input(g, e);
	if (!input)
		return false;
	Inc c = begin(g, e, input);
	if (!classify(&c))
		return false;
	once_begin(&c, internf("%s.encode", e->name));
	graph_sym(g, c.all_sym, c.longest);
	graph_sym(g, c.sym, c.chunk);
	find_spans(&c);
	rewrite(&c);
	lower_counts(g);
	Graph *encode = once_end(&c);
	if (encode)
		vec_push(m->arena, &e->graphs, encode);
	return true;
}
