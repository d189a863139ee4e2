/* einsum.c: sums of products: `@` and einsum over any number of tensors. An einsum goes left to right: what an operand alone
 * has and nobody else names is summed at once, then the operands are contracted in turn. */
#include "frontend/elab.h"

static const Val poison = { .kind = V_POISON };

const char *contract_last(int rank, bool in_out)
{
	char a[MAX_RANK + 1] = {0};
	for (int i = 0; i < rank - 1; i++)
		a[i] = (char)('a' + i);
	return internf(in_out ? "%sk,kn->%sn" : "%sk,nk->%sn", a, a);
}

static Val contract(Elab *e, Loc loc, Value *a, Value *b, const char *spec, const char *what)
{
	Type t;
	Value *in[2] = { a, b };
	Attrs at = { .spec = spec };
	if (op_type(OP_CONTRACT, in, 2, &at, &t)) {
		Val v = fail(e, loc, "E0405", "`%s` cannot contract %s with %s", what, show_type(e, a->type), show_type(e, b->type));
		return v;
	}
	return val_tensor(b_contract(&e->b, a, b, spec));
}

/* Of products with a vector on one side or both: its axis is summed and leaves nothing. */
static const char *vector_spec(int n, int m, const char *batch)
{
	if (n == 1 && m == 1)
		return "k,k->";
	return n == 1 ? internf("k,%skn->%sn", batch, batch) : internf("%smk,k->%sm", batch, batch);
}

Val matmul(Elab *e, Loc loc, Val a, Val b)
{
	bool ok = a.kind == V_TENSOR && b.kind == V_TENSOR && a.t->type.dt == DT_F32 && b.t->type.dt == DT_F32;
	if (!ok)
		return fail(e, loc, "E0407", "`@` wants two float tensors, got %s and %s", val_describe(e, a), val_describe(e, b));
	int n = a.t->type.rank, m = b.t->type.rank;
	if (n < 1 || m < 1 || (n > 1 && m > 2 && m != n))
		return fail(e, loc, "E0405", "`@` cannot contract %s with %s", val_describe(e, a), val_describe(e, b));
	char batch[MAX_RANK + 1] = {0}, right[MAX_RANK + 1] = {0};
	for (int i = 0; i < MAX(n, m) - 2; i++)
		batch[i] = (char)('a' + i);
	if (n == 1 || m == 1)
		return contract(e, loc, a.t, b.t, vector_spec(n, m, batch), "@");
	if (m > 2)
		strcpy(right, batch);
	return contract(e, loc, a.t, b.t, internf("%smk,%skn->%smn", batch, right, batch), "@");
}

typedef struct Letters { const char *label[32]; int n; } Letters;

/* [B,T,H,K] as "abcd"; the same label has the same letter. */
static bool spell(Elab *e, Expr *list, Letters *l, char *out)
{
	int n = 0;
	if (!list || list->kind != E_LIST) {
		err(e, list ? list->loc : (Loc){0}, "E0448", "`einsum` is told shapes: einsum([M,K], [K,N] -> [M,N], a, b)");
		return false;
	}
	for (Expr *x = list->kids; x; x = x->next) {
		const char *label = label_of(x);
		int i = 0;
		while (i < l->n && l->label[i] != label)
			i++;
		if (n == MAX_RANK || i == COUNT(l->label)) {
			err(e, x->loc, "E0411", "a tensor has at most %d axes", MAX_RANK);
			return false;
		}
		if (i == l->n)
			l->label[l->n++] = label;
		out[n++] = (char)(i < 26 ? 'a' + i : 'A' + i - 26);
	}
	out[n] = 0;
	return true;
}

/* A name that is no dim here only tells axes apart: S in [B,S,H,K] of a tensor [B,T,H,K]. */
bool is_free_label(Elab *e, Expr *x)
{
	Frame *f = e->frame;
	return x->kind == E_NAME && !frame_var(f, x->name) && !frame_dim(f, x->name) && !unit_config(f->unit, x->name, NULL);
}

/* What einsum is told of an operand, against the operand. */
static bool told_right(Elab *e, Expr *list, Val x)
{
	int i = 0;
	for (Expr *k = list->kids; k; k = k->next, i++) {
		const Dim *d;
		if (i < x.t->type.rank && is_free_label(e, k))
			continue;
		if (i < x.t->type.rank && !eval_int(e, k, "an extent", &d))
			return false;
		if (i < x.t->type.rank && d == x.t->type.dim[i])
			continue;
		err(e, list->loc, "E0405", "`einsum` is told %s, got %s", loc_text(list->loc), val_describe(e, x));
		return false;
	}
	if (i == x.t->type.rank)
		return true;
	err(e, list->loc, "E0405", "`einsum` is told %s, got %s", loc_text(list->loc), val_describe(e, x));
	return false;
}

/* An operand, with a letter for each axis. */
typedef struct Term { Value *v; char at[MAX_RANK + 1]; } Term;

static Term without(Elab *e, Term t, uint32_t axes)
{
	Term out = {0};
	Type type = { .dt = t.v->type.dt };
	for (int i = 0, n = 0; t.at[i]; i++)
		if (!(axes >> i & 1)) {
			out.at[n++] = t.at[i];
			type.dim[type.rank++] = t.v->type.dim[i];
		}
	out.v = b_reshape(&e->b, t.v, type);
	return out;
}

/* A letter twice: only the diagonal counts, whose other elements become 0 and whose second axis is summed. */
static Term diagonal(Elab *e, Term t)
{
	Builder *b = &e->b;
	for (int i = 0; t.at[i]; i++) {
		char *again = strchr(t.at + i + 1, t.at[i]);
		if (!again)
			continue;
		int k = (int)(again - t.at);
		Type row = t.v->type, col;
		for (int j = 0; j < row.rank; j++)
			row.dim[j] = dim_const(1);
		row.dt = DT_I32;
		col = row;
		row.dim[i] = t.v->type.dim[i];
		col.dim[k] = t.v->type.dim[k];
		Value *same = b_binary(b, OP_EQ, b_iota(b, i, row), b_iota(b, k, col));
		t.v = b_reduce(b, OP_SUM, b_select(b, same, t.v, b_const(b, DT_F32, 0)), 1u << k);
		t = without(e, t, 1u << k);
		i = -1;
	}
	return t;
}

/* Letters that nobody else names are summed. */
static Term summed(Elab *e, Term t, const char *others)
{
	uint32_t axes = 0;
	for (int i = 0; t.at[i]; i++)
		if (!strchr(others, t.at[i]))
			axes |= 1u << i;
	if (!axes)
		return t;
	t.v = b_reduce(&e->b, OP_SUM, t.v, axes);
	return without(e, t, axes);
}

static Value *in_order(Elab *e, Term t, const char *out)
{
	int8_t perm[MAX_RANK] = {0};
	bool moves = false;
	for (int i = 0; out[i]; i++) {
		perm[i] = (int8_t)(strchr(t.at, out[i]) - t.at);
		moves |= perm[i] != i;
	}
	return moves ? b_transpose(&e->b, t.v, perm) : t.v;
}

/* All letters of the result and of terms from i on. */
static const char *letters_from(const Term *t, int i, int n, const char *out)
{
	const char *all = out;
	for (; i < n; i++)
		all = internf("%s%s", all, t[i].at);
	return all;
}

/* a and b as one, with the letters that are still wanted; NULL value after an error. */
static Term multiplied(Elab *e, Loc loc, Term a, Term b, const char *wanted)
{
	Term r = {0};
	int n = 0;
	for (int side = 0; side < 2; side++)
		for (const char *p = side ? b.at : a.at; *p; p++) {
			if (!strchr(wanted, *p) || strchr(r.at, *p))
				continue;
			if (n == MAX_RANK)
				return fail(e, loc, "E0411", "a tensor has at most %d axes", MAX_RANK), (Term){0};
			r.at[n++] = *p;
		}
	Val v = contract(e, loc, a.v, b.v, internf("%s,%s->%s", a.at, b.at, r.at), "einsum");
	r.v = v.kind == V_TENSOR ? v.t : NULL;
	return r;
}

static Val einsum(Elab *e, Loc loc, Term *t, int n, const char *out)
{
	for (const char *p = out; *p; p++)
		if (!strchr(letters_from(t, 0, n, ""), *p) || strchr(p + 1, *p))
			return fail(e, loc, "E0448", "each axis of einsum's result is once in it and in an operand");
	Term a = diagonal(e, t[0]);
	a = summed(e, a, letters_from(t, 1, n, out));
	for (int i = 1; i < n; i++) {
		Term b = diagonal(e, t[i]);
		b = summed(e, b, internf("%s%s", a.at, letters_from(t, i + 1, n, out)));
		a = multiplied(e, loc, a, b, i == n - 1 ? out : letters_from(t, i + 1, n, out));
		if (!a.v)
			return poison;
		a = summed(e, a, letters_from(t, i + 1, n, out));
	}
	return val_tensor(in_order(e, a, out));
}

enum { MAX_TERMS = 8 };

/* einsum([B,T,D], [D,F] -> [B,T,F], a, b): n shapes, the last with the result's, then n tensors. */
Val fn_einsum(Call *c)
{
	Elab *e = c->e;
	Expr *shape[MAX_TERMS];
	Term t[MAX_TERMS];
	Letters l = {0};
	char out[MAX_RANK + 1];
	int n = 0;
	Arg *a = c->raw;
	for (; a && n < MAX_TERMS && a->value->kind == E_LIST; a = a->next)
		shape[n++] = a->value;
	if (!a || n == MAX_TERMS || a->value->kind != E_ARROW)
		return fail(e, c->loc, "E0448", "`einsum` is told shapes, then tensors: einsum([M,K], [K,N] -> [M,N], a, b)");
	Expr *result = a->value->b;
	shape[n++] = a->value->a;
	a = a->next;
	for (int i = 0; i < n; i++, a = a->next) {
		if (!a)
			return fail(e, c->loc, "E0448", "`einsum` is told %d shapes and given %d tensors", n, i);
		Val v = spell(e, shape[i], &l, t[i].at) ? eval(e, a->value) : poison;
		if (v.kind == V_POISON)
			return v;
		if (v.kind != V_TENSOR || v.t->type.dt != DT_F32)
			return fail(e, a->value->loc, "E0443", "`einsum` wants float tensors, got %s", val_describe(e, v));
		if (!told_right(e, shape[i], v))
			return poison;
		t[i].v = v.t;
	}
	if (a)
		return fail(e, a->value->loc, "E0448", "`einsum` is told %d shapes and given more tensors", n);
	if (!spell(e, result, &l, out))
		return poison;
	place(e, c->loc);
	return einsum(e, c->loc, t, n, out);
}
