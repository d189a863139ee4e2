/* dimtext.c: dims as text, "2*A - 1", "(R + 1)/2", and back. Works on the public face of dim.c alone. */
#include "ir/ir.h"

#include <ctype.h>

enum { MAX_PARSE_DEPTH = 100, MAX_PARSE_DEGREE = 1000, MAX_PARSE_TERMS = 64, MAX_PARSE_WEIGHT = 2000 };   /* what nobody means: refused when read */

static bool needs_parens(const Dim *d)
{
	const DimFactor *f;
	int n;
	if (dim_terms(d) != 1)
		return dim_terms(d) > 1;
	int64_t coef = dim_term(d, 0, &f, &n);
	return coef < 0 || n > 1 || (n == 1 && (coef != 1 || !f->sym));
}

static void print_wrapped(Str *s, const Dim *d)
{
	bool parens = needs_parens(d);
	str_puts(s, parens ? "(" : "");
	str_puts(s, dim_text(d));
	str_puts(s, parens ? ")" : "");
}

/* Division binds as tightly as * and from the left, so a quotient stands bare only as the first factor. */
static void print_factor(Str *s, const DimFactor *f, bool bare)
{
	if (f->sym) {
		str_puts(s, f->sym);
	} else {
		str_puts(s, bare ? "" : "(");
		print_wrapped(s, f->num);
		str_puts(s, "/");
		print_wrapped(s, f->den);
		str_puts(s, bare ? "" : ")");
	}
	if (f->power > 1)
		str_printf(s, "^%d", f->power);
}

static void print_term(Str *s, int64_t coef, const DimFactor *f, int n, bool first)
{
	bool number = n == 0 || (coef != 1 && coef != -1);
	str_puts(s, coef < 0 ? (first ? "-" : " - ") : (first ? "" : " + "));
	if (number)
		str_printf(s, "%lld", (long long)(coef < 0 ? -coef : coef));
	for (int i = 0; i < n; i++) {
		if (i || number)
			str_puts(s, "*");
		print_factor(s, &f[i], i == 0 && !number && f[i].power == 1 && (coef > 0 || !first));
	}
}

void dim_print(Str *s, const Dim *d)
{
	bool first = true;
	for (int negative = 0; negative < 2; negative++)
		for (int i = 0; i < dim_terms(d); i++) {
			const DimFactor *f;
			int n;
			int64_t coef = dim_term(d, i, &f, &n);
			if ((coef < 0) != negative)
				continue;
			print_term(s, coef, f, n, first);
			first = false;
		}
	str_puts(s, first ? "0" : "");
}

/* sum = term {(+|-) term}; term = [-] power {(*|/) power}; power = atom [^ n]; atom = n | name | ( sum ) */
typedef struct Reader { const char *p; int depth; } Reader;
static const Dim *read_sum(Reader *);

static void skip_space(Reader *r)
{
	while (*r->p == ' ')
		r->p++;
}

static bool eat(Reader *r, char c)
{
	skip_space(r);
	if (*r->p != c)
		return false;
	r->p++;
	return true;
}

static bool read_int(Reader *r, int64_t *v)
{
	*v = 0;
	const char *start = r->p;
	for (; isdigit((unsigned char)*r->p); r->p++)
		if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, *r->p - '0', v))
			return false;
	return r->p > start;
}

static bool name_char(const char *p)
{
	if (*p == '.')
		return isalnum((unsigned char)p[1]);
	return isalnum((unsigned char)*p) || *p == '_' || *p == '$' || *p == '#' || *p == '@';
}

static const Dim *read_atom(Reader *r)
{
	int64_t v;
	skip_space(r);
	if (isdigit((unsigned char)*r->p))
		return read_int(r, &v) ? dim_const(v) : NULL;
	if (eat(r, '(')) {
		const Dim *d = read_sum(r);
		return d && eat(r, ')') ? d : NULL;
	}
	const char *start = r->p;
	if (!isalpha((unsigned char)*r->p) && *r->p != '_')
		return NULL;
	while (name_char(r->p))
		r->p++;
	return dim_sym(intern_n(start, (size_t)(r->p - start)));
}

/* The first term has the highest degree. */
static bool too_high(const Dim *d)
{
	const DimFactor *f;
	int n, degree = 0;
	if (!dim_terms(d))
		return false;
	dim_term(d, 0, &f, &n);
	for (int i = 0; i < n; i++)
		degree += f[i].power;
	return degree > MAX_PARSE_DEGREE;
}

static const Dim *read_power(Reader *r)
{
	const Dim *d = read_atom(r);
	if (!d || !eat(r, '^'))
		return d;
	int64_t n;
	skip_space(r);
	if (!read_int(r, &n) || n < 1 || n > 64)
		return NULL;
	const Dim *out = d;
	while (--n > 0 && dim_terms(out) * dim_terms(d) <= MAX_PARSE_TERMS && !too_high(out))
		out = dim_mul(out, d);
	return n > 0 || too_high(out) ? NULL : out;
}

static const Dim *read_term(Reader *r)
{
	bool negative = eat(r, '-');
	const Dim *d = read_power(r);
	while (d) {
		bool times = eat(r, '*');
		if (!times && !eat(r, '/'))
			break;
		const Dim *e = read_power(r);
		if (!e || (!times && dim_is(e, 0)) || dim_terms(d) * dim_terms(e) > MAX_PARSE_TERMS)
			return NULL;
		d = times ? dim_mul(d, e) : dim_div(d, e);
		if (too_high(d) || dim_weight(d) > MAX_PARSE_WEIGHT)
			return NULL;
	}
	return d && negative ? dim_sub(dim_const(0), d) : d;
}

static const Dim *read_sum(Reader *r)
{
	if (++r->depth > MAX_PARSE_DEPTH)
		return NULL;
	const Dim *d = read_term(r);
	while (d) {
		bool plus = eat(r, '+');
		if (!plus && !eat(r, '-'))
			break;
		const Dim *e = read_term(r);
		if (!e)
			return NULL;
		d = plus ? dim_add(d, e) : dim_sub(d, e);
		if (dim_weight(d) > MAX_PARSE_WEIGHT)
			return NULL;
	}
	r->depth--;
	return d;
}

const Dim *dim_parse(const char **p)
{
	Reader r = {.p = *p};
	const Dim *d = read_sum(&r);
	if (d)
		*p = r.p;
	return d;
}
