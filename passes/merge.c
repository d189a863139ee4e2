/* merge.c: contractions of one value with several parameters, as queries, keys and values or a gate and what it gates, become one, over the parameters'
 * columns one after another, of which the results are slices. Biases that are added to all of them are added to the one.
 *
 * For functions called often with the same parameters: the concatenation is packed ahead (hoist takes it out of the call). It spares reading and packing
 * the left operand again, launches, and the loose end of each (few columns leave threads and register tiles idle).
 * Needs: nothing, but runs behind what changes the operands of contractions. Breaks: nothing. Numeric class: exact (each result is the same sum).
 * What stays apart: parameters that are kept in blocks, and results that are multiplied by one another, whose product is the epilogue of one of them. */
#include "passes/passes.h"

enum { MOST_PARTS = 8 };

typedef struct Group {
	Value *of[MOST_PARTS], *bias[MOST_PARTS];   /* contractions; the addition of a bias to each, or NULL */
	int n, axis;                                /* members; of the right operand: its columns' */
} Group;

typedef struct Merge {
	Graph *g;
	Value **user;            /* by id: one that reads the value */
	Group **group;           /* by id of its contractions */
	int groups;
	Builder b;
} Merge;

/* The right operand's axis of columns, which are the result's last, if that is how the contraction reads a whole parameter; -1. */
static int columns_of(const Value *v)
{
	Spec s;
	if (v->op != OP_CONTRACT || v->in[1]->op != OP_PARAM || v->in[1]->type.rank != 2 || weight_format(v->in[1]) || spec_parse(v->a.spec, &s))
		return -1;
	char last = s.at[2][s.n[2] - 1];
	const char *at = strchr(s.at[1], last), *other = strchr(s.at[0], s.at[1][at == s.at[1]]);
	if (!at || strchr(s.at[0], last) || !other || strchr(s.at[2], *other))
		return -1;
	return (int)(at - s.at[1]);
}

static bool alike(const Value *a, const Value *b)
{
	int axis = columns_of(a);
	return axis == columns_of(b) && a->in[0] == b->in[0] && strcmp(a->a.spec, b->a.spec) == 0 && a->in[1] != b->in[1];
}

/* The addition of a bias that alone reads v; NULL. */
static Value *bias_of(const Merge *m, const Value *v)
{
	Value *u = m->user[v->id];
	if (v->uses != 1 || u->op != OP_ADD || u->in[0] != v || u->in[1]->op != OP_PARAM || u->in[1]->type.rank != 1)
		return NULL;
	return type_same_dims(&u->type, &v->type) && u->in[1]->type.dim[0] == v->type.dim[v->type.rank - 1] ? u : NULL;
}

/* The first product that v goes into through elementwise ops of one reader each; NULL. */
static const Value *product_of(const Merge *m, const Value *v)
{
	while (m->user[v->id] && op_info[m->user[v->id]->op].flags & OPF_ELEMENTWISE) {
		v = m->user[v->id];
		if (v->op == OP_MUL && v->in[0]->op != OP_CONST && v->in[1]->op != OP_CONST)
			return v;
	}
	return NULL;
}

static bool gated(const Merge *m, const Value *a, const Value *b)
{
	const Value *p = product_of(m, a);
	return p && p == product_of(m, b);
}

static void find_group(Merge *m, int first)
{
	Value *v = m->g->vals.at[first];
	Group *all = NEW(m->g->arena, Group);
	if (m->group[first] || columns_of(v) < 0)
		return;
	all->axis = columns_of(v);
	for (int i = first; i < m->g->vals.len && all->n < MOST_PARTS; i++) {
		Value *u = m->g->vals.at[i];
		if (i == first || (!m->group[i] && columns_of(u) >= 0 && alike(v, u) && !gated(m, v, u)))
			all->of[all->n++] = u;
	}
	int biases = 0;
	for (int i = 0; i < all->n; i++)
		biases += (all->bias[i] = bias_of(m, all->of[i])) != NULL;
	if (biases != all->n)
		memset(all->bias, 0, sizeof all->bias);
	m->groups += all->n > 1;
	for (int i = 0; i < all->n && all->n > 1; i++)
		m->group[all->of[i]->id] = all;
}

static Merge find_groups(Graph *g)
{
	graph_number(g);
	Merge m = { .g = g, .user = NEW_ARRAY(g->arena, Value *, g->vals.len), .group = NEW_ARRAY(g->arena, Group *, g->vals.len) };
	for (int i = 0; i < g->vals.len; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			m.user[g->vals.at[i]->in[k]->id] = g->vals.at[i];
	for (int i = 0; i < g->vals.len; i++)
		find_group(&m, i);
	return m;
}

/* The one contraction, and what stands for the members: slices of it. */
static void build_group(Merge *m, Group *all)
{
	Value *weights[MOST_PARTS], *biases[MOST_PARTS], *first = all->of[0];
	for (int i = 0; i < all->n; i++) {
		weights[i] = all->of[i]->in[1]->repl;
		biases[i] = all->bias[i] ? all->bias[i]->in[1]->repl : NULL;
	}
	m->b.loc = first->loc;
	m->b.path = first->path;
	Value *y = b_contract(&m->b, first->in[0]->repl, b_concat(&m->b, weights, all->n, all->axis), first->a.spec);
	if (all->bias[0])
		y = b_binary(&m->b, OP_ADD, y, b_concat(&m->b, biases, all->n, 0));
	int last = y->type.rank - 1;
	const Dim *at = dim_const(0);
	for (int i = 0; i < all->n; i++) {
		Value *member = all->bias[i] ? all->bias[i] : all->of[i];
		const Dim *len = member->type.dim[last];
		m->b.loc = member->loc;
		m->b.path = member->path;
		member->repl = b_slice(&m->b, y, last, at, len);
		at = dim_add(at, len);
	}
}

/* Parameters go to the front: the first contraction of a group reads those of all. */
void merge(Graph *g)
{
	Merge m = find_groups(g);
	if (!m.groups)
		return;
	ValueList old = graph_take(g);
	bool *replaced = NEW_ARRAY(g->arena, bool, old.len);
	m.b = (Builder){ .g = g };
	for (int i = 0; i < old.len; i++)
		if (old.at[i]->op == OP_PARAM)
			graph_keep(g, old.at[i]);
	for (int i = 0; i < old.len; i++) {
		Value *v = old.at[i];
		Group *all = m.group[i];
		if (v->op == OP_PARAM || replaced[i])
			continue;
		if (!all) {
			graph_keep(g, v);
			continue;
		}
		if (all->of[0] == v)
			build_group(&m, all);
		for (int k = 0; k < all->n; k++)
			if (all->bias[k])
				replaced[all->bias[k]->id] = true;
	}
	graph_number(g);
}
