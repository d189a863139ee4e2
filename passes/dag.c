/* dag.c: order constraints between values, contracted as kernels are formed.
 *
 * The order of representatives is kept topological, as in Pearce & Kelly 2006 (a dynamic topological sort), for
 * contraction instead of edge insertion: joining a (earlier) and b (later) is possible if no successor of a
 * between them reaches b; a's successors in between then move behind the joined node. So a join looks at the nodes
 * between the two alone, and kernels are local: nodes too far apart are never joined. */
#include "passes/fuse.h"

/* Places in the order beyond which nodes are not joined. */
enum { REACH = 3000 };

typedef struct Edge { int from, to; } Edge;
typedef Vec(Edge) Edges;

/* Who first writes the memory that v shows. */
static Value *writer(Value *v)
{
	for (v = view_base(v); v->op == OP_SCATTER_ADD; v = view_base(v->in[0]))
		;
	return v;
}

static void add_edge(Dag *d, Edges *e, const Value *from, const Value *to)
{
	if (from->id > to->id)
		bug("%s: %s at %d must come before %s at %d", d->g->name, op_info[from->op].text, from->id,
		    op_info[to->op].text, to->id);
	if (from != to)
		vec_push(d->g->arena, e, ((Edge){ from->id, to->id }));
}

/* Who reads which version of a state: those of version v are by[first[v] .. first[v + 1]), in the graph's order. */
typedef struct Reads { int *first, *by; } Reads;

/* Who reads this version of a state (a source or a write) before `writer` overwrites it. */
static void readers_before(Dag *d, Edges *e, const Reads *r, const Value *version, const Value *writer)
{
	for (int i = r->first[version->id]; i < r->first[version->id + 1]; i++)
		if (r->by[i] != writer->id)
			add_edge(d, e, d->g->vals.at[r->by[i]], writer);
}

static bool is_version(const Value *v)
{
	return v->op == OP_STATE || v->op == OP_PARAM || v->op == OP_WRITE;
}

/* {reader, version} for those states that this graph overwrites (marked). */
static void list_reads(Dag *d, Edges *reads)
{
	for (int i = 0; i < d->n; i++) {
		Value *v = d->g->vals.at[i];
		if (op_info[v->op].flags & OPF_VIEW)
			continue;
		for (int k = v->op == OP_STORE || v->op == OP_WRITE; k < v->nin; k++) {
			const Value *s = view_base(v->in[k]);
			if (is_version(s) && s->mark)
				vec_push(d->g->arena, reads, ((Edge){ i, s->id }));
		}
	}
}

/* Edges by one of their ends, x: the others at [first[x] .. first[x + 1]), in the order of the list. */
static void index_pairs(Arena *a, int n, const Edges *e, bool by_to, int **first, int **other)
{
	int *f = *first = NEW_ARRAY(a, int, n + 2), *o = *other = NEW_ARRAY(a, int, e->len + 1);
	for (int i = 0; i < e->len; i++)
		f[(by_to ? e->at[i].to : e->at[i].from) + 2]++;
	for (int i = 2; i < n + 2; i++)
		f[i] += f[i - 1];
	for (int i = 0; i < e->len; i++) {
		const Edge *x = &e->at[i];
		o[f[(by_to ? x->to : x->from) + 1]++] = by_to ? x->from : x->to;
	}
}

static void overwriting_edges(Dag *d, Edges *e)
{
	Edges list = {0};
	Reads reads;
	Graph *g = d->g;
	for (int i = 0; i < d->n; i++)
		g->vals.at[i]->mark = NULL;
	for (int i = 0; i < d->n; i++)
		if (g->vals.at[i]->op == OP_STORE || g->vals.at[i]->op == OP_WRITE)
			g->vals.at[i]->in[0]->mark = g;
	list_reads(d, &list);
	index_pairs(d->g->arena, d->n, &list, true, &reads.first, &reads.by);
	for (int i = 0; i < d->n; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_WRITE) {
			readers_before(d, e, &reads, v->in[0], v->in[1]);
			if (!(op_info[v->in[0]->op].flags & OPF_SOURCE))
				add_edge(d, e, v->in[0], v->in[1]);
		}
		if (v->op == OP_STORE && store_target(v->in[1]) != v->in[0])
			readers_before(d, e, &reads, v->in[0], writer(v->in[1]));
	}
}

typedef struct Shaped { Dag *d; Edges *e; const Value *v; } Shaped;

static void after_count(void *ctx, Value *nonzero)
{
	const Shaped *s = ctx;
	add_edge(s->d, s->e, nonzero, s->v);
}

/* What a nonzero's count shapes comes after it. */
static void counting_edges(Dag *d, Edges *e)
{
	Counted *c = counted_of(d->g->arena, d->g);
	for (int i = 0; c && i < d->n; i++)
		counted_uses(c, d->g->vals.at[i], after_count, &(Shaped){ d, e, d->g->vals.at[i] });
}

Dag *dag_new(Graph *g)
{
	Arena *a = g->arena;
	Dag *d = NEW(a, Dag);
	Edges e = {0};
	graph_number(g);
	*d = (Dag){ .g = g, .n = g->vals.len };
	for (int i = 0; i < d->n; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			add_edge(d, &e, g->vals.at[i]->in[k], g->vals.at[i]);
	overwriting_edges(d, &e);
	counting_edges(d, &e);
	index_pairs(a, d->n, &e, false, &d->first, &d->to);
	d->rep = NEW_ARRAY(a, int, d->n);
	d->next = NEW_ARRAY(a, int, d->n);
	d->pos = NEW_ARRAY(a, int, d->n);
	d->at = NEW_ARRAY(a, int, d->n);
	d->seen = NEW_ARRAY(a, int, d->n);
	d->found = NEW_ARRAY(a, int, d->n);
	for (int i = 0; i < d->n; i++)
		d->rep[i] = d->next[i] = d->pos[i] = d->at[i] = i;
	return d;
}

int dag_rep(Dag *d, int i)
{
	while (d->rep[i] != i)
		i = d->rep[i] = d->rep[d->rep[i]];
	return i;
}

/* Marks the successors, at places before `end`, of the nodes joined with rep. True if one that is not rep's own
 * neighbour in the set (`inside`, a stamp) leads back into the set. */
static bool spread(Dag *d, int rep, int end, int inside, bool outside)
{
	int node = rep;
	do {
		for (int i = d->first[node]; i < d->first[node + 1]; i++) {
			int r = dag_rep(d, d->to[i]);
			if (d->seen[r] == inside && outside)
				return true;
			if (d->seen[r] == inside || d->seen[r] == d->stamp || d->pos[r] > end)
				continue;
			d->seen[r] = d->stamp;
			d->found[d->nfound++] = r;
		}
		node = d->next[node];
	} while (node != rep);
	return false;
}

/* Collects what is reached from the set without it, up to its last place, in d->found. */
static bool returns(Dag *d, const int *nodes, int n)
{
	d->nfound = 0;
	int inside = ++d->stamp, lo = d->n, hi = -1;
	d->stamp++;
	for (int i = 0; i < n; i++) {
		int r = dag_rep(d, nodes[i]);
		d->seen[r] = inside;
		lo = MIN(lo, d->pos[r]);
		hi = MAX(hi, d->pos[r]);
	}
	if (hi - lo > REACH)
		return true;
	for (int i = 0; i < n; i++)
		spread(d, dag_rep(d, nodes[i]), hi, inside, false);
	for (int i = 0; i < d->nfound; i++)
		if (spread(d, d->found[i], hi, inside, true))
			return true;
	return false;
}

bool dag_cyclic(Dag *d, const int *nodes, int n)
{
	return returns(d, nodes, n);
}

/* The joined node takes hi's place; what was reached (marked with the stamp) between lo and hi moves behind it. */
static void reorder(Dag *d, int lo, int hi, int rep)
{
	int w = lo, moved = 0;
	int *behind = d->found;   /* read no more: `seen` tells */
	for (int i = lo; i <= hi; i++) {
		int r = d->at[i];
		if (r < 0 || i == lo || i == hi)
			continue;
		if (d->seen[r] == d->stamp)
			behind[moved++] = r;
		else
			d->at[w++] = r;
	}
	d->at[w++] = rep;
	for (int i = 0; i < moved; i++)
		d->at[w++] = behind[i];
	for (int i = w; i <= hi; i++)
		d->at[i] = -1;
	for (int i = lo; i < w; i++)
		d->pos[d->at[i]] = i;
}

bool dag_join(Dag *d, int a, int b)
{
	a = dag_rep(d, a);
	b = dag_rep(d, b);
	if (a == b)
		return true;
	if (d->pos[a] > d->pos[b]) {
		int t = a;
		a = b;
		b = t;
	}
	if (returns(d, (int[]){ a, b }, 2))
		return false;
	int lo = d->pos[a], hi = d->pos[b], keep = MIN(a, b);
	d->rep[MAX(a, b)] = keep;
	int t = d->next[a];
	d->next[a] = d->next[b];
	d->next[b] = t;
	reorder(d, lo, hi, keep);
	return true;
}
