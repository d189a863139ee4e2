/* incremental_once.c: what depends on inputs but not on the generated axis is computed once, in the function `encode`:
 * an encoder's output, the keys and values of cross attention, masks of the source. encode begins as a copy of the whole
 * graph; each value that the step needs is stored there into a state of its own, from which the step reads it:
 *
 *   once.<n>   its first axis is the batch
 *   same.<n>   it has no batch: the same for all sequences
 *
 * A state has the value's run-time extents, which don't change between encode and the steps. It lies as its reader wants
 * it, so that no step copies or packs it. */
#include "passes/incremental.h"

void once_begin(Inc *c, const char *name)
{
	c->encode = graph_copy(c->g, name);
	c->twin = NEW_ARRAY(c->g->arena, Value *, c->g->vals.len);
	for (int i = 0; i < c->g->vals.len; i++)
		c->twin[i] = c->g->vals.at[i]->repl;
}

static bool has_batch(const Inc *c, Type t)
{
	for (int i = 0; i < t.rank; i++)
		if (c->batch && has_dim(t.dim[i], c->batch))
			return true;
	return false;
}

Value *once(Inc *c, Builder *b, Value *v, const int8_t *order)
{
	if (!c->given[v->id])
		return v->repl;
	const char *how = "once";
	int8_t back[MAX_RANK] = { 0 };
	for (int i = 0; i < v->type.rank; i++) {
		back[order[i]] = (int8_t)i;
		how = internf("%s %d", how, order[i]);
	}
	Value *r = made(c, v, how);
	if (r)
		return r;
	Builder e = { .g = c->encode, .loc = v->loc, .path = v->path };
	Value *x = b_transpose(&e, c->twin[v->id], order);
	const char *name = internf("%s.%d", has_batch(c, v->type) ? "once" : "same", c->onces++);
	b_store(&e, b_source(&e, OP_STATE, name, x->type), x);
	return remember(c, v, how, b_transpose(b, b_source(b, OP_STATE, name, x->type), back));
}

/* The order [batch, summed, own] of a contraction's operand: dense along its own letters. Others: the batch first. */
static void wanted_order(const Inc *c, const Value *v, const Value *user, int operand, int8_t *order)
{
	Spec s;
	bool contract = user && user->op == OP_CONTRACT && !spec_parse(user->a.spec, &s);
	int n = 0;
	for (int pass = 0; pass < 4; pass++)
		for (int i = 0; i < v->type.rank; i++) {
			int rank = 1;
			if (c->batch && has_dim(v->type.dim[i], c->batch))
				rank = 0;
			else if (contract && !strchr(s.at[2], s.at[operand][i]))
				rank = 2;
			else if (contract && !strchr(s.at[!operand], s.at[operand][i]))
				rank = 3;
			if (rank == pass)
				order[n++] = (int8_t)i;
		}
}

Value *constant_in_step(Inc *c, Builder *b, Value *v, const Value *user, int operand)
{
	if (!c->given[v->id])
		return v->repl;
	if (v->op == OP_EXPAND)
		return b_expand(b, constant_in_step(c, b, v->in[0], NULL, 0), v->type);
	int8_t order[MAX_RANK];
	wanted_order(c, v, user, operand, order);
	return once(c, b, v, order);
}

/* The copy without the step's outputs and the inputs that run along T: nothing that is left reads them. */
static bool belongs(const Inc *c, const Value *v, int at)
{
	if (at >= c->forward)
		return true;
	return v->op == OP_INPUT ? is_constant(c->dep[at]) : v->op != OP_OUTPUT && v->op != OP_STORE;
}

Graph *once_end(Inc *c)
{
	Graph *e = c->encode;
	if (!c->onces)
		return NULL;
	ValueList old = graph_take(e);
	for (int i = 0; i < old.len; i++) {
		if (old.at[i]->op == OP_INPUT && !belongs(c, old.at[i], i))
			old.at[i]->op = OP_STATE;   /* no longer a root: dce drops it with all that reads it */
		else if (!belongs(c, old.at[i], i))
			continue;
		vec_push(e->arena, &e->vals, old.at[i]);
	}
	dce(e);
	return e;
}
