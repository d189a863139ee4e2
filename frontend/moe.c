/* moe.c: moe(x, gate, experts, top=, scores=): a sparse mixture of experts (Shazeer et al. 2017; Fedus et al. 2022).
 *
 * x (..,D) and gate (..,E) are seen as rows: N tokens. Each token goes to the `top` experts with the greatest gate, of equal
 * ones to those of lower number. An expert, any block (rows,D) -> (rows,F), is called with the rows routed to it alone,
 * however many they are (a counted symbol: perhaps none); its rows are scaled by their scores and added up where they
 * came from, experts in order. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

/* Below all gates; finite, so that no kernel meets inf - inf. */
static const double LOWEST = -1e30;

typedef enum Scores { SOFTMAX_OF_TOP, TOP_OF_SOFTMAX, TOP_OF_SIGMOID, SIGMOID_OF_TOP, SCORES_COUNT } Scores;
static const char *const scores_name[SCORES_COUNT] = {
	[SOFTMAX_OF_TOP] = "softmax_of_top", [TOP_OF_SOFTMAX] = "top_of_softmax", [TOP_OF_SIGMOID] = "top_of_sigmoid",
	[SIGMOID_OF_TOP] = "sigmoid_of_top",
};

typedef struct Moe {
	Call *c;
	Elab *e;
	Builder *b;
	Layer *experts;
	const Dim *N, *D, *E;
	int64_t top;
	Scores scores;
} Moe;

/* Arguments */

static const Dim *rows_of(Type t)
{
	const Dim *n = dim_const(1);
	for (int i = 0; i < t.rank - 1; i++)
		n = dim_mul(n, t.dim[i]);
	return n;
}

static bool gate_fits(Moe *m, Value *x, Value *gate)
{
	Type want = x->type;
	if (want.rank < 2 || gate->type.rank != want.rank) {
		err(m->e, arg_loc(m->c, 1), "E0458", "`moe` of %s wants a gate with as many axes, got %s", show_type(m->e, want),
		    show_type(m->e, gate->type));
		return false;
	}
	want.dim[want.rank - 1] = m->experts->count;
	if (type_eq(want, gate->type))
		return true;
	err(m->e, arg_loc(m->c, 1), "E0458", "`moe` wants a gate %s, one number for each of %s experts, got %s", show_type(m->e, want),
	    show_dim(m->e, m->experts->count), show_type(m->e, gate->type));
	note(m->e, m->experts->loc, "the experts are declared here");
	return false;
}

static bool experts_arg(Moe *m)
{
	Val v = m->c->arg[2];
	if (v.kind == V_LAYER && v.layer->kind == LK_REPEAT) {
		m->experts = v.layer;
		return true;
	}
	err(m->e, arg_loc(m->c, 2), "E0458", "`moe` wants experts declared as `experts: repeat E of Expert`, got %s",
	    val_describe(m->e, v));
	return false;
}

static bool top_arg(Moe *m)
{
	int64_t experts;
	Val v = m->c->arg[3];
	m->top = 2;
	if (v.kind == V_NONE || (v.kind == V_INT && !dim_is_const(v.n, &m->top)))
		return true;
	if (v.kind == V_INT && m->top >= 1 && (!dim_is_const(m->experts->count, &experts) || m->top <= experts))
		return true;
	err(m->e, arg_loc(m->c, 3), "E0458", "`top` is how many experts a token goes to, 1 to %s, got %s",
	    show_dim(m->e, m->experts->count), val_describe(m->e, v));
	return false;
}

/* A name as it stands; anything else is a value that holds one. */
static bool scores_arg(Moe *m)
{
	Expr *x = m->c->expr[4];
	const char *name = x && x->kind == E_NAME ? x->name : NULL;
	m->scores = SOFTMAX_OF_TOP;
	if (!x)
		return true;
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; name && i < SCORES_COUNT; i++)
			if (strcmp(name, scores_name[i]) == 0) {
				m->scores = (Scores)i;
				return true;
			}
		if (turn || (name && !frame_var(m->e->frame, name) && !unit_config(m->e->frame->unit, name, NULL)))
			break;
		Val v = eval(m->e, x);
		if (v.kind == V_POISON || (v.kind == V_STRING && !v.known))
			return v.kind != V_POISON;
		name = v.kind == V_STRING ? v.s : NULL;
	}
	err(m->e, x->loc, "E0458", "`scores` is one of %s, %s, %s and %s", scores_name[0], scores_name[1], scores_name[2], scores_name[3]);
	suggest(m->e, name ? name : "", scores_name, SCORES_COUNT);
	return false;
}

/* Routing */

static Value *f32(Moe *m, double x)
{
	return b_const(m->b, DT_F32, x);
}

static Type shape(DType dt, int rank, const Dim *a, const Dim *b, const Dim *c)
{
	return type_make(dt, rank, (const Dim *[]){ a, b, c });
}

/* bool (N,E): an expert is chosen if fewer than `top` others come before it. */
static Value *choose(Moe *m, Value *gate)
{
	Builder *b = m->b;
	const Dim *one = dim_const(1);
	Value *own = b_reshape(b, gate, shape(DT_F32, 3, m->N, m->E, one)), *other = b_reshape(b, gate, shape(DT_F32, 3, m->N, one, m->E));
	Value *i = b_iota(b, 0, shape(DT_I32, 2, m->E, one, NULL)), *j = b_iota(b, 1, shape(DT_I32, 2, one, m->E, NULL));
	Value *tie = b_binary(b, OP_AND, b_binary(b, OP_EQ, own, other), b_binary(b, OP_LT, j, i));
	Value *before = b_binary(b, OP_OR, b_binary(b, OP_LT, own, other), tie);
	Value *rank = b_reduce(b, OP_SUM, b_convert(b, before, DT_F32), 4);
	return b_reshape(b, b_binary(b, OP_LT, rank, f32(m, (double)m->top)), shape(DT_BOOL, 2, m->N, m->E, NULL));
}

static Value *softmax(Moe *m, Value *x)
{
	return build(m->b, OP_SOFTMAX, &x, 1, &(Attrs){ .axis = 1 }, NULL);
}

/* f32 (N,E); only what is chosen is ever read */
static Value *score(Moe *m, Value *gate, Value *chosen)
{
	Builder *b = m->b;
	if (m->scores == TOP_OF_SOFTMAX)
		return softmax(m, gate);
	if (m->scores == SOFTMAX_OF_TOP)
		return softmax(m, b_select(b, chosen, gate, f32(m, LOWEST)));
	Value *s = b_unary(b, OP_SIGMOID, gate);
	if (m->scores == TOP_OF_SIGMOID)
		return s;
	return b_binary(b, OP_DIV, s, b_reduce(b, OP_SUM, b_select(b, chosen, s, f32(m, 0)), 2));
}

/* Column i of (N,E), as (N) or (N,1). */
static Value *column(Moe *m, Value *x, int i, int rank)
{
	Value *s = b_slice(m->b, x, 1, dim_const(i), dim_const(1));
	return b_reshape(m->b, s, shape(x->type.dt, rank, m->N, dim_const(1), NULL));
}

/* Rows through an expert; NULL after an error. */
static Value *call_expert(Moe *m, Layer *l, Value *rows)
{
	ArgVals args = {0};
	Loc loc = arg_loc(m->c, 2);
	vec_push(m->e->arena, &args, ((ArgVal){ NULL, val_tensor(rows), arg_loc(m->c, 0) }));
	l->used = true;
	Val y = call_with(m->e, l, &args, loc);
	place(m->e, m->c->loc);
	if (y.kind == V_POISON)
		return NULL;
	if (y.kind == V_TENSOR && y.t->type.dt == DT_F32 && y.t->type.rank == 2 && y.t->type.dim[0] == rows->type.dim[0])
		return y.t;
	err(m->e, loc, "E0458", "an expert makes a row of each row it is given, `%s` makes %s of %s", m->experts->name,
	    val_describe(m->e, y), show_type(m->e, rows->type));
	return NULL;
}

/* sum, with what expert i makes of its tokens added. NULL after an error. */
static Value *add_expert(Moe *m, int i, Value *sum, Value *x, Value *chosen, Value *scores)
{
	Builder *b = m->b;
	Value *at = b_nonzero(b, column(m, chosen, i, 1), internf("rows.%d", b->g->syms.len));
	Value *y = call_expert(m, m->experts->kids[i], b_gather(b, x, at));
	if (!y)
		return NULL;
	y = b_binary(b, OP_MUL, y, b_gather(b, column(m, scores, i, 2), at));
	if (!sum)
		sum = build(b, OP_CONST, NULL, 0, &(Attrs){ .value = 0 }, &(Type){ DT_F32, 2, { m->N, y->type.dim[1] } });
	if (sum->type.dim[1] == y->type.dim[1])
		return b_scatter_add(b, sum, at, y);
	err(m->e, arg_loc(m->c, 2), "E0458", "experts make rows of %s and of %s", show_dim(m->e, sum->type.dim[1]),
	    show_dim(m->e, y->type.dim[1]));
	return NULL;
}

static Val result(Moe *m, Value *rows, Type t)
{
	t.dim[t.rank - 1] = rows->type.dim[1];
	return val_tensor(b_reshape(m->b, rows, t));
}

/* Check mode has one expert for all and some rows: shapes are all there is to see. */
static Val check_expert(Moe *m, Type t)
{
	const Dim *some = dim_sym(intern("@rows"));
	Value *rows = b_source(m->b, OP_INPUT, "rows", shape(DT_F32, 2, some, m->D, NULL));
	Value *y = m->experts->nkids ? call_expert(m, m->experts->kids[0], rows) : rows;
	if (!y)
		return poison;
	t.dim[t.rank - 1] = y->type.dim[1];
	return val_tensor(b_source(m->b, OP_INPUT, "moe", t));
}

Val fn_moe(Call *c)
{
	Moe m = { .c = c, .e = c->e, .b = &c->e->b };
	Value *x = want_float(c, 0), *gate = x ? want_float(c, 1) : NULL, *sum = NULL;
	if (!gate || !experts_arg(&m) || !gate_fits(&m, x, gate) || !top_arg(&m) || !scores_arg(&m))
		return poison;
	m.experts->used = true;
	m.N = rows_of(x->type);
	m.D = x->type.dim[x->type.rank - 1];
	m.E = m.experts->count;
	if (c->e->symbolic)
		return check_expert(&m, x->type);
	gate = b_reshape(m.b, gate, shape(DT_F32, 2, m.N, m.E, NULL));
	Value *rows = b_reshape(m.b, x, shape(DT_F32, 2, m.N, m.D, NULL)), *chosen = choose(&m, gate), *scores = score(&m, gate, chosen);
	for (int i = 0; i < m.experts->nkids; i++)
		if (!(sum = add_expert(&m, i, sum, rows, chosen, scores)))
			return poison;
	return result(&m, sum, x->type);
}
