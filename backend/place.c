/* place.c: from values to bytes: the plan's slots looked up, for whoever fills launches. Params, states and inputs
 * are one buffer in all functions of an entry, so they are found by name. */
#include "backend/gen.h"

static bool persistent(const Value *v) { return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT; }

static const Slot *slot_of(const Plan *p, const Value *root)
{
	for (int i = 0; i < p->slots.len; i++)
		if (p->slots.at[i].value == root)
			return &p->slots.at[i];
	for (int i = 0; i < p->slots.len && persistent(root); i++) {
		const Value *v = p->slots.at[i].value;
		if (persistent(v) && v->op == root->op && v->a.name == root->a.name)
			return &p->slots.at[i];
	}
	return NULL;
}

int64_t plan_offset(const Plan *p, const Value *root)
{
	const Slot *s = slot_of(p, root);

	if (!s)
		bug("%s %s has no place in the plan", op_info[root->op].text, root->a.name ? root->a.name : "");
	return s->offset;
}

int64_t plan_argument(const Plan *p, const KernelArg *arg)
{
	if (!arg->root)
		return arg->number;
	if (!slot_of(p, arg->root) && (arg->root->op == OP_CONST || arg->root->op == OP_DIMVAL))
		return 0;          /* made in place, never read */
	return plan_offset(p, arg->root) + arg->bytes;
}
