/* chunk.c: a result too large to be kept is made, used and forgotten a chunk of rows at a time. So the logits of a language
 * model, [rows, V], never exist: a chunk's loss, its gradient and what that adds to the gradients of the weights and of the
 * layer below follow its logits at once, and nothing is computed twice.
 *
 *   logits = x W    loss_r = f(logits_r)    dx = g(logits) W'    dW = x' g(logits)
 *   for each chunk c of rows:  l = x_c W,  loss_c = f(l),  d = g(l),  dx_c = d W',  dW += x_c' d
 *
 * The loop stands unrolled in the graph, so that every pass behind this one and the plan see ordinary values; kernels equal but
 * for the chunk are one function. A chunk's rows are slices; what is left of them is written in place into the whole. How many rows
 * a chunk has of those there are at run time is counted by a nonzero: chunks behind the last row are empty, as experts
 * without tokens are. Which values take part is chunk_region.c's.
 *
 * Needs: nothing; meant for graphs with all gradients in, simplified (simplify would take the chunks apart). Breaks: nothing. Reassociates: sums
 * over all rows become sums of chunks' sums, in the chunks' order; what belongs to one row keeps its bits. */
#include "passes/chunk.h"

typedef struct Chunks {
	Region r;
	Builder b;
	ValueList old;
	int64_t size;          /* rows of a chunk */
	Value **joined;        /* by id: an outside value with its rows as one axis, behind axes of 1 */
	Value **now;           /* by id: of the chunk at hand */
	Value **so_far;        /* by id: all chunks' rows, or their sum */
	Value **tail;          /* by id of a sum: what it is added to by condition, see tail_of() */
	const Dim *at, *len;   /* of the chunk at hand */
} Chunks;

/* t, with the rows from axis `first` on, as [.., 1, .., n, ..]. */
static Type with_rows(const Chunks *c, Type t, int first, const Dim *n)
{
	for (int i = 0; i < c->r.nr; i++)
		t.dim[first + i] = i < c->r.nr - 1 ? dim_const(1) : n;
	return t;
}

static Value *reshaped(Chunks *c, Value *v, Type t)
{
	return type_eq(t, v->type) ? v : b_reshape(&c->b, v, t);
}

/* The chunk's rows of a value outside that has them all, from axis `first` on. */
static Value *rows_of(Chunks *c, Value *v, int first)
{
	Value **now = &c->now[v->id], **joined = &c->joined[v->id];
	if (!*joined)
		*joined = reshaped(c, v->repl, with_rows(c, v->type, first, c->r.rows));
	if (!*now)
		*now = b_slice(&c->b, *joined, first + c->r.nr - 1, c->at, c->len);
	return *now;
}

/* One value a row, of an operand that has some of the rows' axes. */
static Value *narrow_rows(Chunks *c, Value *v)
{
	Type t = c->r.wide;
	t.dt = v->type.dt;
	t.dim[c->r.nr] = dim_const(1);
	if (!c->joined[v->id]) {
		Value *all = type_eq(t, v->type) ? v->repl : b_expand(&c->b, v->repl, t);
		c->joined[v->id] = reshaped(c, all, with_rows(c, t, 0, c->r.rows));
	}
	if (!c->now[v->id])
		c->now[v->id] = b_slice(&c->b, c->joined[v->id], c->r.nr - 1, c->at, c->len);
	return c->now[v->id];
}

static Value *make(Chunks *c, Value *v);

/* The chunk's part of an operand of an elementwise op, a reduction or a view inside. */
static Value *part_of(Chunks *c, Value *o)
{
	if (c->r.part[o->id] == INSIDE)
		return c->now[o->id];
	if (!chunk_varies(&c->r, o))
		return o->repl;
	if (!chunk_again(&c->r, o))
		return narrow_rows(c, o);
	if (!c->now[o->id])
		c->now[o->id] = make(c, o);
	return c->now[o->id];
}

static Value *operand_of_contract(Chunks *c, const Value *v, int side)
{
	Spec s;
	Value *o = v->in[side];
	if (c->r.part[o->id] == INSIDE)
		return c->now[o->id];
	spec_parse(v->a.spec, &s);
	int first = chunk_letters(&c->r, v, &s, side);
	return first < 0 ? o->repl : rows_of(c, o, first);
}

/* The chunk's part of v: the same op on the chunk's operands. */
static Value *make(Chunks *c, Value *v)
{
	Value *in[3];
	Type t = with_rows(c, v->type, c->r.first[v->id], c->len);
	c->b.loc = v->loc;
	c->b.path = v->path;
	c->b.grad = v->grad;
	for (int i = 0; i < v->nin; i++)
		in[i] = v->op == OP_CONTRACT ? operand_of_contract(c, v, i) : part_of(c, v->in[i]);
	return build(&c->b, v->op, in, v->nin, &v->a, op_type_given(v->op) ? &t : NULL);
}

/* What is left of a chunk */

/* Does anything after the region read v? */
static bool read_after(const Chunks *c, const Value *v)
{
	for (int i = v->id + 1; i < c->old.len; i++)
		for (int k = 0; k < c->old.at[i]->nin; k++)
			if (c->old.at[i]->in[k] == v && c->r.part[i] == AFTER)
				return true;
	return false;
}

/* Memory for all chunks' rows of v: before the first chunk, so that they can be computed in their places. */
static Value *blank(Chunks *c, const Value *v)
{
	Type t = with_rows(c, v->type, c->r.first[v->id], c->r.rows);
	Value *zeros = build(&c->b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &t);
	return b_unary(&c->b, OP_COPY, zeros);
}

static void collect(Chunks *c, const Value *v)
{
	Value **all = &c->so_far[v->id];
	*all = b_write(&c->b, *all, c->now[v->id], c->r.first[v->id] + c->r.nr - 1, c->at);
}

static Value *user(const Chunks *c, const Value *v, Op op)
{
	for (int i = v->id + 1; i < c->old.len; i++)
		for (int k = 0; k < c->old.at[i]->nin; k++)
			if (c->old.at[i]->op == op && c->old.at[i]->in[k] == v)
				return c->old.at[i];
	return NULL;
}

/* What an addition of v adds to it. */
static Value *addend(const Value *add, const Value *v) { return add->in[add->in[0] == v]; }

/* select(p, v + y, v), if that is all that becomes of the sum v: this call's gradient, added to the earlier ones' where it is to be. The
 * chunks' sums can then be added to those from the first on, in their memory. NULL: it is otherwise. */
static Value *tail_of(const Chunks *c, const Value *v)
{
	const Value *add = user(c, v, OP_ADD);
	Value *select = user(c, v, OP_SELECT);
	if (v->uses != 2 || !add || !select || add->uses != 1 || select->in[1] != add || select->in[2] != v)
		return NULL;
	bool ready = c->r.part[select->in[0]->id] == OUTSIDE && c->r.part[addend(add, v)->id] == OUTSIDE;
	return ready ? select : NULL;
}

static void add_up(Chunks *c, const Value *v)
{
	Value **sum = &c->so_far[v->id], *now = c->now[v->id], *tail = c->tail[v->id];
	if (*sum)
		now = b_binary(&c->b, OP_ADD, *sum, now);
	else if (tail)
		now = b_select(&c->b, tail->in[0]->repl, b_binary(&c->b, OP_ADD, now, addend(tail->in[1], v)->repl), now);
	*sum = now;
}

/* The loop */

/* For each chunk, how many of its rows there are: its part of a mask of all places for rows. */
static Value *rows_mask(Chunks *c, int64_t chunks)
{
	Type places = type_make(DT_I32, 1, (const Dim *[]){ dim_const(chunks * c->size) });
	return b_binary(&c->b, OP_LT, b_iota(&c->b, 0, places), b_dim(&c->b, c->r.rows));
}

static void count_rows(Chunks *c, Value *mask, int64_t chunk)
{
	Builder *b = &c->b;
	c->at = dim_const(chunk * c->size);
	Value *here = b_slice(b, mask, 0, c->at, dim_const(c->size));
	c->len = b_nonzero(b, here, internf("rows.%d", b->g->syms.len))->type.dim[0];
}

static void make_chunk(Chunks *c)
{
	memset(c->now, 0, sizeof *c->now * (size_t)c->old.len);
	for (int i = 0; i < c->old.len; i++) {
		Value *v = c->old.at[i];
		if (c->r.part[i] != INSIDE && c->r.part[i] != SUMMED)
			continue;
		c->now[i] = make(c, v);
		if (c->r.part[i] == SUMMED)
			add_up(c, v);
		else if (c->so_far[i])
			collect(c, v);
	}
}

static void keep(Chunks *c, Part part)
{
	for (int i = 0; i < c->old.len; i++)
		if (c->r.part[i] == part && !c->old.at[i]->repl)
			graph_keep(c->r.g, c->old.at[i]);
}

/* What comes after reads the whole, in the shape it had. */
static void stand_in(Chunks *c)
{
	for (int i = 0; i < c->old.len; i++) {
		Value *v = c->old.at[i], *all = c->so_far[i];
		if (all)
			v->repl = c->r.part[i] == SUMMED ? all : reshaped(c, all, v->type);
		if (c->tail[i])
			c->tail[i]->repl = all;
	}
}

static void chunk_rows(Region r, int64_t chunks, int64_t size)
{
	Graph *g = r.g;
	int n = g->vals.len;
	Chunks c = { .r = r, .size = size, .b = { .g = g, .loc = r.seed->loc, .path = r.seed->path } };
	c.joined = NEW_ARRAY(g->arena, Value *, n);
	c.now = NEW_ARRAY(g->arena, Value *, n);
	c.so_far = NEW_ARRAY(g->arena, Value *, n);
	c.tail = NEW_ARRAY(g->arena, Value *, n);
	c.old = graph_take(g);
	for (int i = 0; i < n; i++) {
		c.tail[i] = r.part[i] == SUMMED ? tail_of(&c, c.old.at[i]) : NULL;
		c.old.at[i]->repl = NULL;
	}
	keep(&c, OUTSIDE);
	for (int i = 0; i < n; i++)
		if (r.part[i] == INSIDE && read_after(&c, c.old.at[i]))
			c.so_far[i] = blank(&c, c.old.at[i]);
	Value *mask = rows_mask(&c, chunks);
	for (int64_t i = 0; i < chunks; i++) {
		count_rows(&c, mask, i);
		make_chunk(&c);
	}
	stand_in(&c);
	keep(&c, AFTER);
}

/* Sizes */

/* A chunk adds to the gradients of the weights in memory, 8 bytes and for its products 4 more an element, so that each row of it does half
 * a multiplication and addition a byte: 512 rows are well above what memory delivers. As many chunks as unrolling bears. */
enum { CHUNK_ROWS = 512, MOST_CHUNKS = 64, GRAIN = 16 };
/* What is smaller, in bytes, is no trouble. */
#define LARGE (64.0 * 1024 * 1024)

const ChunkSizes chunk_sizes = { .rows = CHUNK_ROWS, .chunks = MOST_CHUNKS, .bytes = LARGE };

typedef struct TypeList { Type *at; int len, cap; } TypeList;

static bool has_type(const TypeList *l, const Type *t)
{
	for (int i = 0; i < l->len; i++)
		if (type_same_dims(&l->at[i], t))
			return true;
	return false;
}

static int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

/* The types of what is reduced along its last axis alone, each once. */
static TypeList reduced_types(Graph *g)
{
	TypeList l = { 0 };
	for (int i = 0; i < g->vals.len; i++) {
		const Value *v = g->vals.at[i];
		if (op_info[v->op].flags & OPF_REDUCE && v->a.axes == 1u << (v->in[0]->type.rank - 1) && !has_type(&l, &v->in[0]->type))
			vec_push(g->arena, &l, v->in[0]->type);
	}
	return l;
}

static bool chunk_value(Graph *g, const Value *v, const TypeList *reduced, const ChunkSizes *s)
{
	Region r;
	int64_t elements, rows;
	if (v->op != OP_CONTRACT || v->type.rank < 2 || !has_type(reduced, &v->type))
		return false;
	if (!graph_bound(g, type_elems(v->type), &elements))
		return false;
	if ((double)elements * dtype_size[v->type.dt] < s->bytes || !chunk_region(g, v, &r))
		return false;
	if (!graph_bound(g, r.rows, &rows) || rows <= s->rows)
		return false;
	int64_t size = up(rows, MIN(up(rows, s->rows), s->chunks));
	size = s->rows < GRAIN ? size : up(size, GRAIN) * GRAIN;
	chunk_rows(r, up(rows, size), size);
	return true;
}

void chunk_to(Graph *g, const ChunkSizes *s)
{
	graph_number(g);
	TypeList reduced = reduced_types(g);
	for (int i = 0; i < g->vals.len; i++) {
		if (!chunk_value(g, g->vals.at[i], &reduced, s))
			continue;
		dce(g);
		graph_number(g);
		i = -1;
	}
}

void chunk(Graph *g)
{
	chunk_to(g, &chunk_sizes);
}
