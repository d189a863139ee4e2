/* raise.c: attention that a model writes out becomes the op `attention`, so that generating finds its caches and both
 * reach one kernel:
 *
 *   p.v, with p = softmax(x) and x = q.k through scaling, a soft cap, biases added, and masks (select(m, x, low), or
 *   x + select(m, 0, low), with low at most -1e9)
 *
 * q.k and p.v are contractions with any order of axes, with or without a batch, heads, and grouped heads. A query that
 * sees no key at all gets zeros, where the written form would give it the mean of what it must not see, or no
 * number. */
#include "passes/raise.h"

#include <math.h>

static const double LOW = -1e9;

static bool letter_in(const Spec *s, int side, char c)
{
	return strchr(s->at[side], c) != NULL;
}

/* Scores */

static bool is_low(const Value *v)
{
	double x;
	return const_value(v, &x) && x <= LOW;
}

static bool is_zero(const Value *v)
{
	double x;
	return const_value(v, &x) && x == 0;
}

/* What a select masks; NULL if it is none. kept: which operand stays where the mask allows. */
static Value *mask_of(Builder *b, const Value *v, int *kept)
{
	if (v->op != OP_SELECT || (!is_low(v->in[1]) && !is_low(v->in[2])))
		return NULL;
	*kept = is_low(v->in[2]) ? 1 : 2;
	return *kept == 1 ? v->in[0] : b_unary(b, OP_NOT, v->in[0]);
}

static bool scores(Builder *b, Raised *r, Value *x);

static bool same_space(const Raised *r, const Value *x)
{
	return type_same_dims(&x->type, &r->type);
}

static bool masked(Builder *b, Raised *r, Value *x)
{
	int kept, had = r->masks.len;
	Value *m = mask_of(b, x, &kept);
	if (!m || r->scaled || !same_space(r, x->in[kept]))
		return false;
	vec_push(b->g->arena, &r->masks, m);
	if (scores(b, r, x->in[kept]))
		return true;
	r->masks.len = had;
	return false;
}

/* x + y with x the scores: y masks, or is a bias. */
static bool biased(Builder *b, Raised *r, Value *x, Value *y)
{
	Raised saved = *r;
	int kept;
	Value *m = mask_of(b, y, &kept);
	if (r->scaled || !same_space(r, x))
		return false;
	if (m && is_zero(y->in[kept]))
		vec_push(b->g->arena, &r->masks, m);
	else
		vec_push(b->g->arena, &r->biases, y);
	if (scores(b, r, x))
		return true;
	*r = saved;
	return false;
}

/* x times f; f tanh(..) is a soft cap of f. */
static bool scaled(Builder *b, Raised *r, Value *x, double f)
{
	if (x->op == OP_TANH && !r->scaled && !r->capped && f > 0) {
		r->softcap = f;
		r->capped = r->scaled = true;
		r->scale = f;
		return scores(b, r, x->in[0]);
	}
	r->scaled = true;
	r->scale *= f;
	return scores(b, r, x);
}

/* Does v only reorder the axes of its operand? Result axis i is operand axis perm[i]. A reshape that moves axes of
 * extent 1 does. */
static bool reorders(const Value *v, int8_t *perm)
{
	int rank = v->type.rank, full = 0, unit = 0;
	if (v->op == OP_TRANSPOSE) {
		memcpy(perm, v->a.perm, sizeof v->a.perm);
		return true;
	}
	if (v->op != OP_RESHAPE || v->in[0]->type.rank != rank)
		return false;
	const Type *from = &v->in[0]->type;
	for (int i = 0; i < rank; i++) {
		bool one = dim_is(v->type.dim[i], 1);
		int *at = one ? &unit : &full;
		while (*at < rank && dim_is(from->dim[*at], 1) != one)
			++*at;
		if (*at == rank || from->dim[*at] != v->type.dim[i])
			return false;
		perm[i] = (int8_t)(*at)++;
	}
	return true;
}

/* The contraction that x is, but for the order of its axes: its letters, the result's in x's order. */
static Value *contraction(Value *x, Spec *s)
{
	int8_t perm[MAX_RANK], next[MAX_RANK];
	char was[MAX_RANK + 1];
	int rank = x->type.rank;
	for (int i = 0; i < rank; i++)
		perm[i] = (int8_t)i;
	for (; reorders(x, next); x = x->in[0])
		for (int i = 0; i < rank; i++)
			perm[i] = next[perm[i]];
	if (x->op != OP_CONTRACT || spec_parse(x->a.spec, s))
		return NULL;
	memcpy(was, s->at[2], sizeof was);
	for (int i = 0; i < rank; i++)
		s->at[2][i] = was[perm[i]];
	return x;
}

/* The softmax that x is, but for the order of its axes, whose letters are put into its own. */
static Value *softmax_of(Value *x, char *letters)
{
	int8_t perm[MAX_RANK];
	char was[MAX_RANK + 1];
	for (; reorders(x, perm); x = x->in[0]) {
		memcpy(was, letters, sizeof was);
		for (int i = 0; i < x->type.rank; i++)
			letters[perm[i]] = was[i];
	}
	return x->op == OP_SOFTMAX ? x : NULL;
}

/* x is q.k: the letters of the scores' axes, and which operand is which. */
static bool products(Raised *r, Value *x)
{
	x = contraction(x, &r->scores);
	if (!x)
		return false;
	char key = r->scores.at[2][r->at.key];
	bool left = letter_in(&r->scores, 0, key), right = letter_in(&r->scores, 1, key);
	if (left == right)
		return false;
	r->qside = left ? 1 : 0;
	r->q = x->in[r->qside];
	r->k = x->in[!r->qside];
	return true;
}

/* Reads r off x, the input of the softmax, from the outside in. */
static bool scores(Builder *b, Raised *r, Value *x)
{
	double f;
	switch (x->op) {
	case OP_CONTRACT: case OP_TRANSPOSE: case OP_RESHAPE: return products(r, x);
	case OP_SELECT: return masked(b, r, x);
	case OP_ADD: return biased(b, r, x->in[0], x->in[1]) || biased(b, r, x->in[1], x->in[0]);
	case OP_DIV: return const_value(x->in[1], &f) && f != 0 && scaled(b, r, x->in[0], 1 / f);
	case OP_MUL:
		if (const_value(x->in[1], &f))
			return scaled(b, r, x->in[0], f);
		return const_value(x->in[0], &f) && scaled(b, r, x->in[1], f);
	default: return false;
	}
}

/* Roles of axes */

static bool add_role(int *role, int *other, int axis)
{
	if (*role < 0)
		*role = axis;
	else if (other && *other < 0)
		*other = axis;
	else
		return false;
	return true;
}

/* Axes that q and k share are batch and heads; q's own are the query and grouped heads. The query is what is as long as
 * the keys are, or else the last. */
static bool find_roles(Raised *r)
{
	Roles *at = &r->at;
	int key = at->key, own[2], n = 0;
	*at = (Roles){ -1, -1, -1, -1, key };
	for (int i = 0; i < r->type.rank; i++) {
		char c = r->scores.at[2][i];
		bool in_q = letter_in(&r->scores, r->qside, c), in_k = letter_in(&r->scores, !r->qside, c);
		if (i == key)
			continue;
		if (in_q && in_k) {
			if (!add_role(&at->batch, &at->group, i))
				return false;
		} else if (!in_q || n == 2) {
			return false;
		} else {
			own[n++] = i;
		}
	}
	if (n == 0)
		return true;
	bool first = n == 2 && r->type.dim[own[0]] == r->type.dim[key] && r->type.dim[own[1]] != r->type.dim[key];
	at->query = own[n == 2 && !first];
	at->repeat = n == 2 ? own[first] : -1;
	return true;
}

/* The one letter of side that is in neither of the others; 0: none or several. */
static char own_letter(const Spec *s, int side, bool in_result)
{
	char found = 0;
	for (int i = 0; i < s->n[side]; i++) {
		char c = s->at[side][i];
		if (letter_in(s, 2, c) != in_result || (in_result && letter_in(s, !side, c)))
			continue;
		if (found)
			return 0;
		found = c;
	}
	return found;
}

/* p.v sums over the keys alone, and v has the axes of k. */
static bool mixes(const Raised *r)
{
	const char *p = r->mix.at[r->pside];
	int vside = !r->pside;
	for (int i = 0; i < r->type.rank; i++) {
		bool shared = i == r->at.batch || i == r->at.group, key = i == r->at.key;
		if (letter_in(&r->mix, 2, p[i]) == key || letter_in(&r->mix, vside, p[i]) != (shared || key))
			return false;
	}
	return own_letter(&r->scores, r->qside, false) && own_letter(&r->mix, vside, true);
}

/* Building */

static const Dim *extent(const Raised *r, int axis)
{
	return axis < 0 ? dim_const(1) : r->type.dim[axis];
}

/* x's axes in the order of `letters` ('\0': left out), then in the shape given. */
static Value *arranged(Builder *b, Value *x, const char *own, const char *letters, int n, const Dim *const *shape, int rank)
{
	int8_t perm[MAX_RANK] = { 0 };
	int k = 0;
	for (int i = 0; i < n; i++)
		if (letters[i])
			perm[k++] = (int8_t)(strchr(own, letters[i]) - own);
	return b_reshape(b, b_transpose(b, x, perm), type_make(x->type.dt, rank, shape));
}

static char letter(const char *letters, int axis)
{
	return axis < 0 ? '\0' : letters[axis];
}

static Value *queries(Builder *b, const Raised *r, const Dim *H, const Dim *K)
{
	const char *l = r->scores.at[2];
	char order[] = { letter(l, r->at.batch), letter(l, r->at.query), letter(l, r->at.group), letter(l, r->at.repeat),
		own_letter(&r->scores, r->qside, false) };
	return arranged(b, r->q, r->scores.at[r->qside], order, 5,
		(const Dim *[]){ extent(r, r->at.batch), extent(r, r->at.query), H, K }, 4);
}

static Value *keys(Builder *b, const Raised *r, const Dim *G, const Dim *K)
{
	const char *l = r->scores.at[2];
	char order[] = { letter(l, r->at.batch), l[r->at.key], letter(l, r->at.group), own_letter(&r->scores, r->qside, false) };
	return arranged(b, r->k, r->scores.at[!r->qside], order, 4,
		(const Dim *[]){ extent(r, r->at.batch), extent(r, r->at.key), G, K }, 4);
}

static Value *values(Builder *b, const Raised *r, const Dim *G, const Dim *W)
{
	const char *l = r->mix.at[r->pside];
	char order[] = { letter(l, r->at.batch), l[r->at.key], letter(l, r->at.group), own_letter(&r->mix, !r->pside, true) };
	return arranged(b, r->v, r->mix.at[!r->pside], order, 4,
		(const Dim *[]){ extent(r, r->at.batch), extent(r, r->at.key), G, W }, 4);
}

/* A mask or bias that broadcasts to the scores as one that does to [B,H,T,S]. */
static Value *over_scores(Builder *b, const Raised *r, Value *x)
{
	int rank = r->type.rank, roles[] = { r->at.batch, r->at.group, r->at.repeat, r->at.query, r->at.key }, n = 0;
	Type t = { .dt = x->type.dt, .rank = rank }, to = { .dt = x->type.dt, .rank = 4 };
	const Dim *one = dim_const(1), *group = one, *repeat = one;
	int8_t perm[MAX_RANK] = { 0 };
	for (int i = 0; i < rank; i++) {
		int own = i - (rank - x->type.rank);
		t.dim[i] = own < 0 ? one : x->type.dim[own];
	}
	if (r->at.group >= 0 && r->at.repeat >= 0 && dim_is(t.dim[r->at.group], 1) != dim_is(t.dim[r->at.repeat], 1)) {
		x = b_reshape(b, x, t);
		t.dim[r->at.group] = extent(r, r->at.group);
		t.dim[r->at.repeat] = extent(r, r->at.repeat);
		x = b_expand(b, x, t);
	}
	for (int i = 0; i < COUNT(roles); i++)
		if (roles[i] >= 0)
			perm[n++] = (int8_t)roles[i];
	if (r->at.group >= 0)
		group = t.dim[r->at.group];
	if (r->at.repeat >= 0)
		repeat = t.dim[r->at.repeat];
	to.dim[0] = r->at.batch < 0 ? one : t.dim[r->at.batch];
	to.dim[1] = dim_mul(group, repeat);
	to.dim[2] = r->at.query < 0 ? one : t.dim[r->at.query];
	to.dim[3] = t.dim[r->at.key];
	return b_reshape(b, b_transpose(b, b_reshape(b, x, t), perm), to);
}

static Value *bias_sum(Builder *b, const Raised *r)
{
	Value *sum = NULL;
	for (int i = 0; i < r->biases.len; i++) {
		Value *x = over_scores(b, r, r->biases.at[i]);
		sum = sum ? b_binary(b, OP_ADD, sum, x) : x;
	}
	return sum;
}

/* The result [B,T,H,W] with the axes that p.v has, in its order. */
static Value *as_written(Builder *b, const Raised *r, Value *x, const Value *was)
{
	int roles[] = { r->at.batch, r->at.query, r->at.group, r->at.repeat }, n = 0;
	char own[MAX_RANK + 1] = { 0 };
	const Dim *dims[MAX_RANK];
	int8_t perm[MAX_RANK] = { 0 };
	for (int i = 0; i < COUNT(roles); i++)
		if (roles[i] >= 0) {
			dims[n] = extent(r, roles[i]);
			own[n++] = r->mix.at[r->pside][roles[i]];
		}
	dims[n] = x->type.dim[3];
	own[n++] = own_letter(&r->mix, !r->pside, true);
	for (int i = 0; i < was->type.rank; i++)
		perm[i] = (int8_t)(strchr(own, r->mix.at[2][i]) - own);
	return b_transpose(b, b_reshape(b, x, type_make(DT_F32, n, dims)), perm);
}

static Value *raised(Builder *b, Raised *r, const Value *was)
{
	const Dim *G = extent(r, r->at.group), *H = dim_mul(G, extent(r, r->at.repeat)), *K, *W;
	char width = own_letter(&r->scores, r->qside, false), out = own_letter(&r->mix, !r->pside, true);
	K = r->q->type.dim[strchr(r->scores.at[r->qside], width) - r->scores.at[r->qside]];
	W = r->v->type.dim[strchr(r->mix.at[!r->pside], out) - r->mix.at[!r->pside]];
	Value *in[5] = { queries(b, r, H, K), keys(b, r, G, K), values(b, r, G, W) };
	int n = 3;
	raise_positions(b, r);
	Attrs a = { .causal = r->causal, .window = r->window, .scale = r->scale, .softcap = r->softcap };
	if (r->masks.len) {
		in[n++] = over_scores(b, r, r->masks.at[0]);
		a.mask = 1;
	}
	if (r->biases.len) {
		in[n++] = bias_sum(b, r);
		a.bias = 1;
	}
	Type t;
	return op_type(OP_ATTENTION, in, n, &a, &t) ? NULL : as_written(b, r, build(b, OP_ATTENTION, in, n, &a, NULL), was);
}

/* A softmax between two layers: it has weights where attention has keys or values, and no sequence to save. */
static bool is_weight(Value *v)
{
	return view_base(v)->op == OP_PARAM;
}

/* What stands for v; NULL: it is no attention. */
static Value *match(Builder *b, Value *v)
{
	if (v->op != OP_CONTRACT || v->kernel)
		return NULL;
	for (int side = 0; side < 2; side++) {
		Raised r = { .v = v->in[!side], .pside = side, .scale = 1 };
		if (spec_parse(v->a.spec, &r.mix))
			return NULL;
		Value *p = softmax_of(v->in[side], r.mix.at[side]);
		if (!p)
			continue;
		r.type = p->type;
		r.at.key = p->a.axis;
		if (scores(b, &r, p->in[0]) && find_roles(&r) && mixes(&r) && !is_weight(r.k) && !is_weight(r.v))
			return raised(b, &r, v);
	}
	return NULL;
}

void raise_attention(Graph *g)
{
	graph_rewrite(g, match);
	dce(g);
}
