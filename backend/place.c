/* place.c: from values to bytes: the plan's slots looked up, for whoever fills launches. Params, states and inputs
 * are one buffer in all functions of an entry, so they are found by name. */
#include "backend/gen.h"

static bool persistent(const Value *v) { return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT; }

static int kind(const Value *source) { return source->op == OP_PARAM ? 0 : source->op == OP_STATE ? 1 : 2; }

void plan_add(Arena *a, Plan *p, Slot s)
{
	for (int i = 0; i < COUNT(p->named) && !p->named[i]; i++)
		p->named[i] = vmap_new(a);
	if (!p->of)
		p->of = vmap_new(a);
	vmap_put(p->of, s.value, p->slots.len);
	if (persistent(s.value) && plan_named(p, s.value) < 0)
		vmap_put(p->named[kind(s.value)], s.value->a.name, p->slots.len);
	vec_push(a, &p->slots, s);
}

int plan_named(const Plan *p, const Value *source)
{
	const ValueMap *m = p->named[kind(source)];
	return m ? vmap_get(m, source->a.name) : -1;
}

static const Slot *slot_of(const Plan *p, const Value *root)
{
	int i = p->of ? vmap_get(p->of, root) : -1;
	if (i < 0 && persistent(root))
		i = plan_named(p, root);
	return i < 0 ? NULL : &p->slots.at[i];
}

int64_t plan_offset(const Plan *p, const Value *root)
{
	const Slot *s = slot_of(p, root);

	if (!s)
		bug("%s %s has no place in the plan", op_info[root->op].text, root->a.name ? root->a.name : "");
	return s->offset;
}

bool plan_external(const Plan *p, const Value *root)
{
	const Slot *s = root ? slot_of(p, root) : NULL;
	return s && s->external;
}

/* Of an external one's memory only the bytes into it are known. */
int64_t plan_argument(const Plan *p, const KernelArg *arg)
{
	if (!arg->root)
		return arg->number;
	if (!slot_of(p, arg->root) && (arg->root->op == OP_CONST || arg->root->op == OP_DIMVAL))
		return 0;          /* made in place, never read */
	if (plan_external(p, arg->root))
		return arg->bytes;
	return plan_offset(p, arg->root) + arg->bytes;
}
