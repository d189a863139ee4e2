/* layout_place.c: who computes into whose memory. The operands of a concat and the second operand of a write are placed
 * (Value.dest); scatter_add adds in its first operand's memory; a stored value is computed in the state's.
 *
 * A copy goes between where the value is not a kernel's result of its own, or is used elsewhere too, or where
 * the state's old value would be read after it was overwritten. Two orders are left to fuse and schedule
 * (order.c): readers of a state's old value run before the kernel that overwrites it. */
#include "passes/layout.h"

/* What exists nowhere in memory unless copied. */
static bool immaterial(const Value *v)
{
	return v->op == OP_CONST || v->op == OP_IOTA || v->op == OP_DIMVAL || v->op == OP_RANDOM;
}

static Value *copy_of(Builder *b, Value *v)
{
	return b_unary(b, OP_COPY, v);
}

/* Can a kernel compute v straight into a place given from outside? */
static bool placeable(const Value *v)
{
	Lower l = op_info[v->op].lower;
	return !v->dest && !immaterial(v) && v->op != OP_PACK && v->op != OP_SCATTER_ADD &&
	       (l == LOWER_ELEM || l == LOWER_REDUCE || l == LOWER_CONTRACT || l == LOWER_GATHER ||
	        l == LOWER_FLASH);
}

/* Where a contraction's result is walked with one stride along its m's and n's, rows of attention's are dense. */
static bool walks(Value *v)
{
	View w;
	Spec s;
	const Dim *e, *stride;
	if (!view_of(v, &w))
		return false;
	if (op_info[v->op].lower == LOWER_FLASH)
		return flash_writes(v);
	if (v->op != OP_CONTRACT)
		return true;
	spec_parse(v->a.spec, &s);
	for (int side = 0; side < 2; side++) {
		int axes[MAX_RANK], n = 0;
		for (int i = 0; i < s.n[2]; i++)
			if (!strchr(s.at[!side], s.at[2][i]))
				axes[n++] = i;
		if (!view_group(v, &w, axes, n, &e, &stride))
			return false;
	}
	return true;
}

/* The operands of a concat, each in a place of its own: results used here alone as they are, copies of the others. */
static Value *place_concat(Builder *b, Value *v)
{
	Value **in = NEW_ARRAY(b->g->arena, Value *, v->nin);
	for (int i = 0; i < v->nin; i++)
		in[i] = placeable(v->in[i]) && v->in[i]->uses == 1 ? v->in[i] : copy_of(b, v->in[i]);
	Value *c = b_concat(b, in, v->nin, v->a.axis);
	for (int i = 0; i < v->nin; i++)
		in[i]->dest = c;
	bool good = true;
	for (int i = 0; i < v->nin; i++)
		good &= walks(in[i]);
	if (good)
		return c;
	for (int i = 0; i < v->nin; i++) {
		if (in[i]->op != OP_CONTRACT && op_info[in[i]->op].lower != LOWER_FLASH)
			continue;
		in[i]->dest = NULL;
		in[i] = copy_of(b, in[i]);
	}
	Value *again = b_concat(b, in, v->nin, v->a.axis);
	for (int i = 0; i < v->nin; i++)
		in[i]->dest = again;
	return again;
}

/* What is known of a value of the old graph, in its `mark`. */
typedef struct Note {
	int last_reader;   /* last position at which it is read, through views; a store's and write's target does not count */
	Value *stored;     /* of a write: the state it is stored to, through other writes */
	bool taken;        /* computed in a state's memory already */
} Note;

static Note *note(const Value *v)
{
	return v->mark;
}

static void note_stored(const Value *store)
{
	Value *w = store->in[1];
	while (w->op == OP_WRITE)
		w = w->in[0];
	if (w != store->in[0])
		return;
	for (w = store->in[1]; w->op == OP_WRITE; w = w->in[0])
		note(w)->stored = store->in[0];
}

static void take_notes(Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Note *n = NEW(g->arena, Note);
		n->last_reader = -1;
		g->vals.at[i]->mark = n;
	}
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_STORE)
			note_stored(v);
		if (op_info[v->op].flags & OPF_VIEW)
			continue;
		for (int k = v->op == OP_STORE || v->op == OP_WRITE; k < v->nin; k++)
			note(view_base(v->in[k]))->last_reader = i;
	}
}

static bool is_state(const Value *v)
{
	return v->op == OP_STATE || v->op == OP_PARAM;
}

static Value *write_into(Builder *b, const Value *v, Value *to, Value *x)
{
	Value *w = b_write(b, to, x, v->a.axis, v->a.start);
	x->dest = w;
	return w;
}

/* Memory that the one user goes on with: a kernel's result or what was added to it. */
static bool own_memory(const Value *v)
{
	return (placeable(v) || v->op == OP_SCATTER_ADD) && v->uses == 1;
}

/* A write goes on in the memory of the state that is stored from it, or in its operand's own, or else in a copy. (Values of
 * one shape could become one kernel, which would write the memory twice in an order of its own.) */
static Value *place_write(Builder *b, Value *v)
{
	Value *to = v->in[0], *x = v->in[1];
	bool goes_on = to->op == OP_WRITE && to->uses == 1 && !note(to)->stored;
	bool own = (goes_on || own_memory(to)) && !type_same_dims(&to->type, &x->type);
	bool in_place = own || (note(v)->stored && note(to)->last_reader <= v->id);
	int ready = own ? to->id : note(to)->last_reader;
	bool early = !in_place || ready >= x->id;   /* the memory is not ready for x when x is computed */
	if (!in_place)
		to = copy_of(b, to);
	if (placeable(x) && x->uses == 1 && !early) {
		Value *w = write_into(b, v, to, x);
		if (walks(x))
			return w;
		x->dest = NULL;
	}
	return write_into(b, v, to, copy_of(b, x));
}

/* Does v show all elements of the memory behind it, in their order? */
static bool shows_all(Value *v)
{
	View w;
	return view_of(v, &w) && view_contiguous(&w, v->type) && dim_is(w.offset, 0) &&
	       type_elems(v->type) == type_elems(w.root->type);
}

/* Does v read the target other than element by element where it writes? */
static bool reads_elsewhere(const Value *v, const Value *target)
{
	for (int i = 0; i < v->nin; i++) {
		View w;
		if (!view_of(v->in[i], &w) || w.root != target)
			continue;
		if (!(op_info[v->op].flags & OPF_ELEMENTWISE) || !shows_all(v->in[i]) ||
		    type_elems(v->type) != type_elems(target->type))
			return true;
	}
	return false;
}

/* The value that would be computed in the target's memory: v itself, what it shows under another shape, or where a
 * scatter_add adds. */
static Value *computed_there(Value *v)
{
	View w;
	if (!shows_all(v) || !view_of(v, &w))
		return v;
	v = w.root;
	while (v->op == OP_SCATTER_ADD)
		v = v->in[0];
	return v;
}

static Value *place_store(Builder *b, Value *v)
{
	if (v->op != OP_STORE || store_target(v->in[1]) == v->in[0])
		return NULL;
	Value *target = v->in[0], *x = computed_there(v->in[1]);
	if (placeable(x) && !note(x)->taken && note(target)->last_reader <= x->id && !reads_elsewhere(x, target)) {
		note(x)->taken = true;
		return NULL;
	}
	return b_store(b, target, copy_of(b, v->in[1]));
}

/* An output lies in memory that stays, at a place known ahead: not a state's, which a store may change. */
static bool lasts(Value *v)
{
	View w;
	return view_of(v, &w) && view_contiguous(&w, v->type) && dim_is_const(w.offset, NULL) && !is_state(w.root);
}

/* The operands of v that must be in memory: all of views, and those that kernels address by themselves. */
static bool in_memory(const Value *v, int i)
{
	if (op_info[v->op].flags & OPF_VIEW)
		return true;
	switch (v->op) {
	case OP_PAD: case OP_PACK: case OP_GATHER: case OP_CONTRACT: case OP_OUTPUT: case OP_RANDOM: case OP_NONZERO: return true;
	case OP_FLASH: case OP_FLASH_LSE: case OP_FLASH_GRAD: return true;
	case OP_SCATTER_ADD: return i > 0;
	default: return false;
	}
}

static Value *place(Builder *b, Value *v)
{
	for (int i = 0; i < v->nin; i++)
		if (in_memory(v, i) && immaterial(v->in[i]))
			v->in[i] = copy_of(b, v->in[i]);
	switch (v->op) {
	case OP_CONCAT: return place_concat(b, v);
	case OP_WRITE: return place_write(b, v);
	case OP_SCATTER_ADD:
		return own_memory(v->in[0]) ? NULL : b_scatter_add(b, copy_of(b, v->in[0]), v->in[1], v->in[2]);
	case OP_OUTPUT:
		return lasts(v->in[0]) ? NULL : b_output(b, v->a.name, copy_of(b, v->in[0]));
	case OP_STORE:   /* another state's old value: taken out before any state changes */
		if (store_target(v->in[1]) == v->in[0] || !is_state(store_target(v->in[1])))
			return NULL;
		return b_store(b, v->in[0], copy_of(b, v->in[1]));
	default: return NULL;
	}
}

/* Stores happen at the end of the call, whatever their place in the list: there copies for them come behind all readers
 * of the old value. */
static void stores_last(Graph *g)
{
	ValueList old = graph_take(g);
	for (int last = 0; last < 2; last++)
		for (int i = 0; i < old.len; i++)
			if ((old.at[i]->op == OP_STORE) == last)
				vec_push(g->arena, &g->vals, old.at[i]);
}

/* Stores are placed last: by then every other value is where it stays. */
void layout_place(Graph *g)
{
	stores_last(g);
	take_notes(g);
	graph_number(g);
	graph_rewrite(g, place);
	stores_last(g);
	take_notes(g);
	graph_number(g);
	graph_rewrite(g, place_store);
}
