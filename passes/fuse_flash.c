/* fuse_flash.c: kernels of attention: flash with its flash_lse, and the gradients to q, k and v, which need the same
 * probabilities. Each kernel's members read the same operands, so that joining them makes no cycles but by what they
 * overwrite. */
#include "passes/fuse.h"

static bool fits(Fusion *f, const Value *v, const Value *with)
{
	int members[MAX_MEMBERS + 1], n = members_of(f, dag_rep(f->d, with->id), members);
	for (int i = 0; i < n; i++)
		if (!flash_together(v, f->g->vals.at[members[i]]))
			return false;
	return true;
}

/* Any operand that no other kernel of attention has serves to find the others: the first reader of it. */
static void join_readers(Fusion *f, const Value *v)
{
	const Value *q = v->in[0];
	for (int i = f->first_user[q->id]; i < f->first_user[q->id + 1]; i++) {
		const Value *u = f->g->vals.at[f->users[i]];
		if (u->id >= v->id || op_info[u->op].lower != LOWER_FLASH || !fits(f, v, u))
			continue;
		join(f, u->id, v->id);
		return;
	}
}

void fuse_flash(Fusion *f)
{
	for (int i = 0; i < f->g->vals.len; i++)
		if (op_info[f->g->vals.at[i]->op].lower == LOWER_FLASH)
			join_readers(f, f->g->vals.at[i]);
}
