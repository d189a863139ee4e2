/* taps.c: intermediate values as further outputs of an entry's graph. A tap is "tap:<name>", where the name is a layer's path in the checkpoint
 * (its result), or that path, a dot and a variable of the model file; of a model's own variables the model's name, of an entry's the
 * bare name. What is assigned or called again has #2, #3, .. behind its name. The passes and the backend see outputs like others: without
 * taps there is nothing of them in a graph.
 *
 * An explain entry has what each layer of a repeat hands on as "residual:<path>", for the logit lens (passes/explain.c). */
#include "frontend/elab.h"

void taps_begin(Elab *e, const Entry *entry)
{
	e->tapping = e->options && e->options->ntaps && !e->symbolic;
	e->stepping = entry->kind == ENTRY_GENERATE;
	e->explaining = entry->kind == ENTRY_EXPLAIN && !e->symbolic;
	e->tapped.len = 0;
}

static bool is_asked_for(const Elab *e, const char *name)
{
	for (int i = 0; i < e->options->ntaps; i++)
		if (glob_match(e->options->taps[i], name))
			return true;
	return false;
}

/* The name, or name#2 where the graph has it already. */
static const char *fresh(Elab *e, const char *name)
{
	int before = 0;
	for (int i = 0; i < e->tapped.len; i++)
		before += e->tapped.at[i] == name;
	vec_push(e->arena, &e->tapped, name);
	return before ? internf("%s#%d", name, before + 1) : name;
}

static bool is_callers(void *ctx, const char *sym, int64_t *value)
{
	*value = 1;
	return !strchr(sym, '.');
}

/* Its extents are known before the call: not the rows that a moe has picked. */
static bool has_extents(const Type *t)
{
	int64_t n;
	for (int i = 0; i < t->rank; i++)
		if (!dim_eval(t->dim[i], is_callers, NULL, &n))
			return false;
	return true;
}

/* Something for each position against every other, as scores and masks: a step that sees new tokens alone does not make it. */
static bool has_pairs(const Type *t)
{
	for (int i = 0; i < t->rank; i++)
		for (int k = 0; k < i; k++)
			if (t->dim[i] == t->dim[k] && !dim_is_const(t->dim[i], NULL))
				return true;
	return false;
}

static void tap(Elab *e, const char *name, Val v)
{
	if (v.kind != V_TENSOR || e->in_prelude || !has_extents(&v.t->type) || (e->stepping && has_pairs(&v.t->type)))
		return;
	name = fresh(e, intern(name));
	if (is_asked_for(e, name))
		b_output(&e->b, internf("tap:%s", name), v.t);
}

void tap_variable(Elab *e, const char *name, Val v)
{
	const Item *it = e->frame->item;
	if (!e->tapping || !it)
		return;
	const char *owner = e->b.path ? e->b.path : it->kind == I_ENTRY ? NULL : it->name;
	tap(e, owner ? internf("%s.%s", owner, name) : name, v);
}

void tap_layer(Elab *e, const Layer *l, Val v)
{
	if (e->tapping && l->kind != LK_PARAM)
		tap(e, *l->path ? l->path : l->name, v);
}

void tap_residual(Elab *e, const Layer *kid, Val v)
{
	if (e->explaining && v.kind == V_TENSOR && v.t->type.dt == DT_F32)
		b_output(&e->b, internf("residual:%s", kid->path), v.t);
}
