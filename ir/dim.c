/* dim.c: tensor extents in normal form.
 *
 * A Dim is a sum of terms, a term an integer times a product of factors (Mono), a factor a symbol or a
 * division atom. Terms and factors are sorted (graded lexicographic order, so that long division works)
 * and everything is interned: equal Dims are the same pointer. Division atoms are floor(num/den), or exact
 * quotients, which multiplication by their divisor cancels. Symbols stand for integers >= 1.
 * The tables live as long as the process, like interned strings. Coefficients saturate. */
#include "ir/ir.h"

enum {
	MAX_TERMS = 128,    /* beyond: a polynomial is kept as one opaque atom, (..)/1 */
	MAX_FACTORS = 32,
	MAX_POWER = 1024,   /* powers saturate too */
	MAX_WEIGHT = 1 << 24,
	SMALL = 64,         /* constants below have a table of their own */
};

typedef struct Mono Mono;
struct Mono {
	Mono *next;
	uint64_t hash;
	int degree, n;
	DimFactor f[];
};

typedef struct Term { int64_t coef; const Mono *m; } Term;

struct Dim {
	Dim *next;
	uint64_t hash;
	const char *text;   /* made when first asked for */
	int weight;         /* see dim_weight() */
	int n;
	Term t[];
};

/* Being built: sorted, no zero coefficients. Large: only t[0..n) is ever written. */
typedef struct Poly { int n; Term t[MAX_TERMS]; } Poly;

/* Interning */

static struct {
	Arena *arena;
	Mono **mono;
	Dim **dim;
	const Mono *one;               /* the empty product */
	const Dim *small[SMALL];       /* constants, made when first asked for */
	int ndim, nmono, cap_mono, cap_dim;
} pool;

static Arena *pool_arena(void)
{
	if (!pool.arena) {
		pool.arena = arena_new();
		pool.cap_mono = pool.cap_dim = 1024;
		pool.mono = NEW_ARRAY(pool.arena, Mono *, pool.cap_mono);
		pool.dim = NEW_ARRAY(pool.arena, Dim *, pool.cap_dim);
	}
	return pool.arena;
}

void dims_forget(void)
{
	if (pool.arena)
		arena_free(pool.arena);
	memset(&pool, 0, sizeof pool);
}

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

static void grow_dims(void)
{
	int cap = pool.cap_dim * 4;
	Dim **to = NEW_ARRAY(pool.arena, Dim *, cap);
	for (int i = 0; i < pool.cap_dim; i++)
		for (Dim *d = pool.dim[i], *next; d; d = next) {
			next = d->next;
			Dim **slot = &to[d->hash & (uint64_t)(cap - 1)];
			d->next = *slot;
			*slot = d;
		}
	pool.dim = to;
	pool.cap_dim = cap;
}

static int weight_of(const Poly *p)
{
	int64_t sum = 1;
	for (int i = 0; i < p->n; i++)
		for (int k = 0; k < p->t[i].m->n; k++) {
			const DimFactor *f = &p->t[i].m->f[k];
			sum += 1 + (f->sym ? 0 : (int64_t)f->num->weight + f->den->weight);
		}
	return (int)MIN(sum + p->n, (int64_t)MAX_WEIGHT);
}

static const Dim *intern_poly(const Poly *p)
{
	pool_arena();
	uint64_t h = 7;
	for (int i = 0; i < p->n; i++)
		h = mix(mix(h, (uint64_t)p->t[i].coef), p->t[i].m->hash);
	size_t bytes = sizeof(Term) * (size_t)p->n;
	for (Dim *d = pool.dim[h & (uint64_t)(pool.cap_dim - 1)]; d; d = d->next)
		if (d->hash == h && d->n == p->n && !memcmp(d->t, p->t, bytes))
			return d;
	if (pool.ndim > pool.cap_dim * 2)
		grow_dims();
	Dim *d = arena_alloc(pool.arena, sizeof(Dim) + bytes);
	d->hash = h;
	d->n = p->n;
	d->weight = weight_of(p);
	memcpy(d->t, p->t, bytes);
	Dim **slot = &pool.dim[h & (uint64_t)(pool.cap_dim - 1)];
	d->next = *slot;
	*slot = d;
	pool.ndim++;
	return d;
}

static bool factor_eq(const DimFactor *a, const DimFactor *b)
{
	return a->sym == b->sym && a->num == b->num && a->den == b->den && a->exact == b->exact;
}

static void grow_monos(void)
{
	int cap = pool.cap_mono * 4;
	Mono **to = NEW_ARRAY(pool.arena, Mono *, cap);
	for (int i = 0; i < pool.cap_mono; i++)
		for (Mono *m = pool.mono[i], *next; m; m = next) {
			next = m->next;
			Mono **slot = &to[m->hash & (uint64_t)(cap - 1)];
			m->next = *slot;
			*slot = m;
		}
	pool.mono = to;
	pool.cap_mono = cap;
}

static const Mono *intern_mono(const DimFactor *f, int n)
{
	pool_arena();
	uint64_t h = 3;
	int degree = 0;
	for (int i = 0; i < n; i++) {
		uint64_t id = f[i].sym ? (uint64_t)(uintptr_t)f[i].sym
		                       : mix(f[i].num->hash, f[i].den->hash + f[i].exact);
		h = mix(mix(h, id), (uint64_t)f[i].power);
		degree += f[i].power;
	}
	if (pool.nmono > pool.cap_mono * 2)
		grow_monos();
	Mono **slot = &pool.mono[h & (uint64_t)(pool.cap_mono - 1)];
	for (Mono *m = *slot; m; m = m->next) {
		bool same = m->hash == h && m->n == n;
		for (int i = 0; same && i < n; i++)
			same = factor_eq(&m->f[i], &f[i]) && m->f[i].power == f[i].power;
		if (same)
			return m;
	}
	Mono *m = arena_alloc(pool.arena, sizeof(Mono) + sizeof(DimFactor) * (size_t)n);
	m->hash = h;
	m->degree = degree;
	m->n = n;
	for (int i = 0; i < n; i++)
		m->f[i] = f[i];
	m->next = *slot;
	*slot = m;
	pool.nmono++;
	return m;
}

/* Order: by structure, not by address, so that it is the same in every run. */

static int mono_cmp(const Mono *, const Mono *);

static int dim_cmp(const Dim *a, const Dim *b)
{
	if (a == b)
		return 0;
	for (int i = 0; i < a->n && i < b->n; i++) {
		int c = mono_cmp(a->t[i].m, b->t[i].m);
		if (c)
			return c;
		if (a->t[i].coef != b->t[i].coef)
			return a->t[i].coef < b->t[i].coef ? -1 : 1;
	}
	return a->n - b->n;
}

static int factor_cmp(const DimFactor *a, const DimFactor *b)
{
	if (factor_eq(a, b))
		return 0;
	if (a->sym && b->sym)
		return strcmp(a->sym, b->sym);
	if (a->sym || b->sym)
		return a->sym ? -1 : 1;
	int c = dim_cmp(a->num, b->num);
	if (!c)
		c = dim_cmp(a->den, b->den);
	return c ? c : a->exact - b->exact;
}

/* Graded lexicographic: higher degree first, then the higher power of the first symbol in order. */
static int mono_cmp(const Mono *a, const Mono *b)
{
	if (a == b)
		return 0;
	if (a->degree != b->degree)
		return b->degree - a->degree;
	for (int i = 0; i < a->n && i < b->n; i++) {
		int c = factor_cmp(&a->f[i], &b->f[i]);
		if (c)
			return c;
		if (a->f[i].power != b->f[i].power)
			return b->f[i].power - a->f[i].power;
	}
	return b->n - a->n;
}

/* Saturating integers */

static int64_t sat_add(int64_t a, int64_t b)
{
	int64_t r;
	if (!__builtin_add_overflow(a, b, &r) && r != INT64_MIN)
		return r;
	return a < 0 ? -INT64_MAX : INT64_MAX;
}

static int64_t sat_mul(int64_t a, int64_t b)
{
	int64_t r;
	if (!__builtin_mul_overflow(a, b, &r) && r != INT64_MIN)
		return r;
	return (a < 0) != (b < 0) ? -INT64_MAX : INT64_MAX;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	int64_t q = a / b;
	return q - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t gcd(int64_t a, int64_t b)
{
	while (b) {
		int64_t r = a % b;
		a = b;
		b = r;
	}
	return a < 0 ? -a : a;
}

/* Building blocks */

static const Dim *from_term(int64_t coef, const Mono *m)
{
	Poly p;
	p.n = coef != 0;
	p.t[0] = (Term){coef, m};
	return intern_poly(&p);
}

static const Mono *mono_one(void)
{
	if (!pool.one)
		pool.one = intern_mono(NULL, 0);
	return pool.one;
}

static const Dim *from_atom(const Dim *num, const Dim *den, bool exact)
{
	DimFactor f = {.num = num, .den = den, .power = 1, .exact = exact};
	return from_term(1, intern_mono(&f, 1));
}

static const Dim *opaque(const Dim *d) { return d->n > 1 ? from_atom(d, dim_const(1), false) : d; }

static const Mono *mono_mul(const Mono *a, const Mono *b)
{
	if (a->n + b->n > MAX_FACTORS) {
		DimFactor f = {.num = from_term(1, a), .den = dim_const(1), .power = 1}, g = f;
		g.num = from_term(1, b);
		return mono_mul(intern_mono(&f, 1), intern_mono(&g, 1));
	}
	DimFactor f[MAX_FACTORS];
	int n = 0, i = 0, j = 0;
	while (i < a->n || j < b->n) {
		int c = i == a->n ? 1 : j == b->n ? -1 : factor_cmp(&a->f[i], &b->f[j]);
		f[n] = c <= 0 ? a->f[i++] : b->f[j++];
		if (c == 0) {
			f[n].power = MIN(f[n].power + b->f[j].power, MAX_POWER);
			j++;
		}
		n++;
	}
	return intern_mono(f, n);
}

/* a / b where every factor of b is in a with at least its power; else NULL. */
static const Mono *mono_div(const Mono *a, const Mono *b)
{
	DimFactor f[MAX_FACTORS];
	int n = 0, j = 0;
	for (int i = 0; i < a->n; i++) {
		f[n] = a->f[i];
		if (j < b->n && factor_eq(&a->f[i], &b->f[j]))
			f[n].power -= b->f[j++].power;
		if (f[n].power < 0)
			return NULL;
		n += f[n].power > 0;
	}
	return j == b->n ? intern_mono(f, n) : NULL;
}

static const Mono *mono_gcd(const Mono *a, const Mono *b)
{
	DimFactor f[MAX_FACTORS];
	int n = 0;
	for (int i = 0; i < a->n; i++)
		for (int j = 0; j < b->n; j++)
			if (factor_eq(&a->f[i], &b->f[j])) {
				f[n] = a->f[i];
				f[n++].power = MIN(a->f[i].power, b->f[j].power);
			}
	return intern_mono(f, n);
}

const Dim *dim_const(int64_t v)
{
	if (v < 0 || v >= SMALL)
		return from_term(v == INT64_MIN ? -INT64_MAX : v, mono_one());
	if (!pool.small[v])
		pool.small[v] = from_term(v, mono_one());
	return pool.small[v];
}

const Dim *dim_sym(const char *name)
{
	DimFactor f = {.sym = intern(name), .power = 1};
	return from_term(1, intern_mono(&f, 1));
}

/* a + scale * b */
static const Dim *add_scaled(const Dim *a, const Dim *b, int64_t scale)
{
	if (a->n + b->n > MAX_TERMS) {
		a = opaque(a);
		b = opaque(b);
	}
	Poly p;
	int i = 0, j = 0;
	p.n = 0;
	while (i < a->n || j < b->n) {
		int c = i == a->n ? 1 : j == b->n ? -1 : mono_cmp(a->t[i].m, b->t[j].m);
		Term t = c <= 0 ? a->t[i++] : (Term){0, b->t[j].m};
		if (c >= 0)
			t.coef = sat_add(t.coef, sat_mul(scale, b->t[j++].coef));
		if (t.coef)
			p.t[p.n++] = t;
	}
	return intern_poly(&p);
}

/* The first term with an exact quotient num/c by a constant, and a coefficient outside [0, c); -1: none. */
static int unsettled(const Dim *d, int *factor, int64_t *c)
{
	for (int i = 0; i < d->n; i++)
		for (int k = 0; k < d->t[i].m->n; k++) {
			const DimFactor *f = &d->t[i].m->f[k];
			if (!f->exact || !dim_is_const(f->den, c))
				continue;
			*factor = k;
			if (d->t[i].coef < 0 || d->t[i].coef >= *c)
				return i;
		}
	return -1;
}

/* c of an exact quotient num/c are num: K/2 + K/2 = K, K - K/2 = K/2. */
static const Dim *settle(const Dim *d)
{
	int64_t c;
	int k;
	for (int i; (i = unsettled(d, &k, &c)) >= 0;) {
		DimFactor one = d->t[i].m->f[k];
		one.power = 1;
		const Mono *rest = mono_div(d->t[i].m, intern_mono(&one, 1));
		int64_t times = floor_div(d->t[i].coef, c);
		const Dim *num = dim_mul(from_term(1, rest), one.num), *part = from_term(c, d->t[i].m);
		d = add_scaled(add_scaled(d, part, -times), num, times);
	}
	return d;
}

/* Most extents are numbers, or added to 0: these need no search for what cancels. */
static const Dim *add(const Dim *a, const Dim *b, int64_t scale)
{
	int64_t x, y;
	if (b->n == 0)
		return a;
	if (dim_is_const(a, &x) && dim_is_const(b, &y))
		return dim_const(sat_add(x, sat_mul(scale, y)));
	return settle(add_scaled(a, b, scale));
}

const Dim *dim_add(const Dim *a, const Dim *b) { return add(a, b, 1); }
const Dim *dim_sub(const Dim *a, const Dim *b) { return add(a, b, -1); }

/* A product of two terms. An exact quotient in it whose divisor is among its other factors cancels:
 * (D/H)*H*B = D*B. */
static const Dim *term_product(int64_t coef, const Mono *m)
{
	for (int i = 0; i < m->n; i++) {
		const DimFactor *f = &m->f[i];
		if (!f->exact || f->den->n != 1)
			continue;
		const Term *den = &f->den->t[0];
		DimFactor one = *f;
		one.power = 1;
		const Mono *rest = mono_div(m, intern_mono(&one, 1));
		rest = rest ? mono_div(rest, den->m) : NULL;
		if (rest && coef % den->coef == 0)
			return dim_mul(term_product(coef / den->coef, rest), f->num);
	}
	return from_term(coef, m);
}

/* The product cancels an exact quotient by a divisor of several terms too. */
static const Dim *cancel_whole(const Dim *a, const Dim *b)
{
	if (a->n != 1 || a->t[0].m->n != 1 || a->t[0].m->f[0].power != 1)
		return NULL;
	const DimFactor *f = &a->t[0].m->f[0];
	if (!f->exact || f->den != b)
		return NULL;
	return dim_mul(dim_const(a->t[0].coef), f->num);
}

const Dim *dim_mul(const Dim *a, const Dim *b)
{
	int64_t x, y;
	if (a->n == 0 || dim_is(b, 1))
		return a;
	if (b->n == 0 || dim_is(a, 1))
		return b;
	if (dim_is_const(a, &x) && dim_is_const(b, &y))
		return dim_const(sat_mul(x, y));
	const Dim *whole = cancel_whole(a, b);
	if (!whole)
		whole = cancel_whole(b, a);
	if (whole)
		return whole;
	if (a->n * b->n > MAX_TERMS) {
		const Dim **wide = a->n > b->n ? &a : &b;
		*wide = opaque(*wide);
	}
	const Dim *sum = dim_const(0);
	for (int i = 0; i < a->n; i++)
		for (int j = 0; j < b->n; j++)
			sum = dim_add(sum, term_product(sat_mul(a->t[i].coef, b->t[j].coef),
			                                mono_mul(a->t[i].m, b->t[j].m)));
	return sum;
}

/* Division */

/* Long division by the leading term: a = q*b + rest, for as long as leading terms divide. */
static const Dim *divide_exactly(const Dim *a, const Dim *b)
{
	const Dim *q = dim_const(0);
	while (a->n) {
		const Mono *m = mono_div(a->t[0].m, b->t[0].m);
		if (!m || a->t[0].coef % b->t[0].coef || q->n > MAX_TERMS / 4)
			return NULL;
		const Dim *part = from_term(a->t[0].coef / b->t[0].coef, m);
		const Dim *rest = dim_sub(a, dim_mul(part, b));
		if (rest->n && mono_cmp(rest->t[0].m, a->t[0].m) <= 0)
			return NULL;
		q = dim_add(q, part);
		a = rest;
	}
	return q;
}

/* Divides every term of d by the monomial, which divides them all. */
static const Dim *strip(const Dim *d, int64_t coef, const Mono *m)
{
	Poly p;
	p.n = d->n;
	for (int i = 0; i < d->n; i++)
		p.t[i] = (Term){d->t[i].coef / coef, mono_div(d->t[i].m, m)};
	return intern_poly(&p);
}

/* Cancels what all terms of both have in common. */
static void cancel_common(const Dim **a, const Dim **b)
{
	int64_t c = 0;
	const Mono *m = (*b)->t[0].m;
	for (int side = 0; side < 2; side++) {
		const Dim *d = side ? *a : *b;
		for (int i = 0; i < d->n; i++) {
			c = gcd(c, d->t[i].coef);
			m = mono_gcd(m, d->t[i].m);
		}
	}
	if (c != 1 || m->n) {
		*a = strip(*a, c, m);
		*b = strip(*b, c, m);
	}
}

/* Splits a = q*b + r by the single term b, each coefficient of r that b's letters divide in [0, |b|). */
static const Dim *split(const Dim *a, const Dim *b, const Dim **r)
{
	const Dim *q = dim_const(0);
	for (int i = 0; i < a->n; i++) {
		const Mono *m = mono_div(a->t[i].m, b->t[0].m);
		if (m)
			q = dim_add(q, from_term(floor_div(a->t[i].coef, b->t[0].coef), m));
	}
	*r = dim_sub(a, dim_mul(q, b));
	return q;
}

/* floor((g*x + c)/(g*d)) = floor((x + floor(c/g))/d): the constant's excess over the common divisor of
 * the others and d does not count. */
static void drop_excess(const Dim **a, const Dim **b)
{
	int64_t g = (*b)->t[0].coef;
	const Term *last = &(*a)->t[(*a)->n - 1];
	if (last->m->n)
		return;
	for (int i = 0; i + 1 < (*a)->n; i++)
		g = gcd(g, (*a)->t[i].coef);
	int64_t excess = last->coef - sat_mul(floor_div(last->coef, g), g);
	*a = dim_sub(*a, dim_const(excess));
}

static const Dim *divide(const Dim *, const Dim *, bool exact);

/* floor(floor(x/m)/n) = floor(x/(m*n)) */
static const Dim *join_floors(const Dim *a, const Dim *b)
{
	if (a->n != 1 || a->t[0].coef != 1 || a->t[0].m->n != 1 || a->t[0].m->f[0].power != 1)
		return NULL;
	const DimFactor *f = &a->t[0].m->f[0];
	if (f->sym || f->exact || !dim_is_const(f->den, NULL))
		return NULL;
	return divide(f->num, dim_mul(f->den, b), false);
}

/* By an exact quotient: I / (I/P) = I*P / I = P. NULL unless it comes out even. */
static const Dim *divide_by_quotient(const Dim *a, const Dim *b)
{
	const Mono *m = b->t[0].m;
	for (int i = 0; b->n == 1 && i < m->n; i++) {
		if (!m->f[i].exact)
			continue;
		DimFactor one = m->f[i];
		one.power = 1;
		const Dim *rest = from_term(b->t[0].coef, mono_div(m, intern_mono(&one, 1)));
		const Dim *num = dim_mul(a, one.den), *den = dim_mul(one.num, rest), *q = divide_exactly(num, den);
		if (!q)
			q = divide_by_quotient(num, den);
		if (q)
			return q;
	}
	return NULL;
}

static const Dim *divide(const Dim *a, const Dim *b, bool exact)
{
	if (b->n == 0)
		bug("division of a dim by zero");
	if (a->n == 0 || dim_is(b, 1))
		return a;
	const Dim *q = divide_exactly(a, b);
	if (!q)
		q = divide_by_quotient(a, b);
	if (q)
		return q;
	if (b->t[0].coef < 0) {
		a = dim_sub(dim_const(0), a);
		b = dim_sub(dim_const(0), b);
	}
	cancel_common(&a, &b);
	q = dim_const(0);
	int64_t c;
	if (b->n == 1) {
		q = split(a, b, &a);
		if (a->n)
			cancel_common(&a, &b);
	}
	if (dim_is_const(b, &c)) {
		if (dim_is_const(a, NULL))
			return q;   /* 0 <= a < c after the split */
		if (!exact) {
			drop_excess(&a, &b);
			cancel_common(&a, &b);
			const Dim *joined = dim_is(b, 1) ? NULL : join_floors(a, b);
			if (joined)
				return dim_add(q, joined);
		}
	}
	return dim_is(b, 1) ? dim_add(q, a) : dim_add(q, from_atom(a, b, exact));
}

const Dim *dim_div(const Dim *a, const Dim *b) { return divide(a, b, false); }
const Dim *dim_div_exact(const Dim *a, const Dim *b) { return divide(a, b, true); }

/* Questions */

bool dim_is_const(const Dim *d, int64_t *value)
{
	if (d->n > 1 || (d->n == 1 && d->t[0].m->n))
		return false;
	if (value)
		*value = d->n ? d->t[0].coef : 0;
	return true;
}

bool dim_is(const Dim *d, int64_t value)
{
	int64_t v;
	return dim_is_const(d, &v) && v == value;
}

int dim_weight(const Dim *d) { return d->weight; }

int dim_terms(const Dim *d) { return d->n; }

int64_t dim_term(const Dim *d, int i, const DimFactor **factors, int *nfactors)
{
	*factors = d->t[i].m->f;
	*nfactors = d->t[i].m->n;
	return d->t[i].coef;
}

static const Dim *factor_subst(const DimFactor *f, const char *sym, const Dim *with)
{
	if (f->sym)
		return f->sym == sym ? with : dim_sym(f->sym);
	return divide(dim_subst(f->num, sym, with), dim_subst(f->den, sym, with), f->exact);
}

static bool mentions(const Dim *d, const char *sym)
{
	for (int i = 0; i < d->n; i++)
		for (int j = 0; j < d->t[i].m->n; j++) {
			const DimFactor *f = &d->t[i].m->f[j];
			if (f->sym ? f->sym == sym : mentions(f->num, sym) || mentions(f->den, sym))
				return true;
		}
	return false;
}

const Dim *dim_subst(const Dim *d, const char *sym, const Dim *with)
{
	sym = intern(sym);
	if (!mentions(d, sym))
		return d;
	const Dim *sum = dim_const(0);
	for (int i = 0; i < d->n; i++) {
		const Dim *t = dim_const(d->t[i].coef);
		for (int j = 0; j < d->t[i].m->n; j++) {
			const DimFactor *f = &d->t[i].m->f[j];
			const Dim *x = factor_subst(f, sym, with);
			for (int p = 0; p < f->power; p++)
				t = dim_mul(t, x);
		}
		sum = dim_add(sum, t);
	}
	return sum;
}

static bool factor_eval(const DimFactor *f, DimLookup *look, void *ctx, int64_t *value)
{
	if (f->sym)
		return look(ctx, f->sym, value);
	int64_t num, den;
	if (!dim_eval(f->num, look, ctx, &num) || !dim_eval(f->den, look, ctx, &den) || den == 0)
		return false;
	*value = floor_div(num, den);
	return true;
}

bool dim_eval(const Dim *d, DimLookup *look, void *ctx, int64_t *value)
{
	int64_t sum = 0;
	for (int i = 0; i < d->n; i++) {
		int64_t t = d->t[i].coef, x;
		for (int j = 0; j < d->t[i].m->n; j++) {
			const DimFactor *f = &d->t[i].m->f[j];
			if (!factor_eval(f, look, ctx, &x))
				return false;
			for (int p = 0; p < f->power && t; p++)
				t = sat_mul(t, x);
		}
		sum = sat_add(sum, t);
	}
	*value = sum;
	return true;
}

const char *dim_text(const Dim *d)
{
	if (!d->text) {
		Str s = {0};
		dim_print(&s, d);
		((Dim *)d)->text = intern(s.at);
		str_free(&s);
	}
	return d->text;
}
