/* parse.c: reads what print.c writes. Recursive descent over the text, driven by ATTRS and op_info.
 *
 * A bad line is reported and skipped; its value is remembered as broken, so that lines which use it stay
 * silent. Nothing in the text can make it abort: types are asked of op_type(), not built on trust. */
#include "ir/ir.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>

enum { MAX_ERRORS = 20, MAX_TEXT = 1 << 28, MAX_OPERANDS = 1 << 16, MAX_SYMS = 1000 };

typedef struct Forward { Value *v; int64_t number; Loc loc; } Forward;

typedef struct Parser {
	Arena *arena;
	const Source *src;
	const char *p, *end;
	Graph *g;
	int errors;
	int64_t numbers;          /* numbers in use are below this; a graph of n bytes has fewer than n values */
	Value **value;            /* by number */
	Vec(Forward) forward;     /* dest names values further down */
} Parser;

static Value broken;   /* stands for values whose line was wrong */

static Loc here(Parser *p, const char *from)
{
	uint32_t at = (uint32_t)(from - p->src->text), end = (uint32_t)(p->p - p->src->text);
	return (Loc){p->src, at, MAX(end, at + 1)};
}

static bool failed(Parser *p)
{
	p->errors++;
	return false;
}

#define FAIL(p, from, code, ...) (diag_error(here(p, from), code, __VA_ARGS__), failed(p))

/* Tokens */

static void skip_blank(Parser *p, bool lines)
{
	while (p->p < p->end) {
		if (*p->p == '#')
			while (p->p < p->end && *p->p != '\n')
				p->p++;
		else if (*p->p == ' ' || *p->p == '\t' || *p->p == '\r' || (lines && *p->p == '\n'))
			p->p++;
		else
			return;
	}
}

static bool eat(Parser *p, const char *token)
{
	skip_blank(p, false);
	size_t n = strlen(token);
	if ((size_t)(p->end - p->p) < n || memcmp(p->p, token, n))
		return false;
	p->p += n;
	return true;
}

static bool expect(Parser *p, const char *token)
{
	if (eat(p, token))
		return true;
	return FAIL(p, p->p, "E0901", "expected `%s`", token);
}

static bool word_char(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.'; }

/* A word, interned; NULL if there is none. */
static const char *word(Parser *p)
{
	skip_blank(p, false);
	const char *from = p->p;
	while (p->p < p->end && word_char(*p->p))
		p->p++;
	return p->p > from ? intern_n(from, (size_t)(p->p - from)) : NULL;
}

static bool integer(Parser *p, int64_t lo, int64_t hi, int64_t *out)
{
	skip_blank(p, false);
	const char *from = p->p;
	char *stop;
	errno = 0;
	long long v = strtoll(from, &stop, 10);
	if (stop == from)
		return FAIL(p, from, "E0901", "expected a whole number");
	p->p = stop;
	if (errno || v < lo || v > hi)
		return FAIL(p, from, "E0901", "number is out of range");
	*out = v;
	return true;
}

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *d = c ? strchr(digits, c) : NULL;
	return d ? (int)(d - digits) : -1;
}

static bool string(Parser *p, const char **out)
{
	const char *from = p->p;
	if (!expect(p, "\""))
		return false;
	Str s = {0};
	str_puts(&s, "");
	bool ok = true;
	while (ok && p->p < p->end && *p->p != '"' && *p->p != '\n') {
		if (*p->p != '\\') {
			str_put(&s, p->p++, 1);
			continue;
		}
		const char *c = p->p + 1;
		if (p->end - c >= 1 && (*c == '"' || *c == '\\')) {
			str_put(&s, c, 1);
			p->p += 2;
		} else if (p->end - c >= 3 && *c == 'x' && hex(c[1]) >= 0 && hex(c[2]) >= 0) {
			char byte = (char)(hex(c[1]) * 16 + hex(c[2]));
			ok = byte != 0;
			str_put(&s, &byte, 1);
			p->p += 4;
		} else {
			ok = false;
		}
	}
	if (!ok || p->p == p->end || *p->p != '"') {
		str_free(&s);
		return FAIL(p, from, "E0901", ok ? "string is not closed" : "unknown escape in string");
	}
	p->p++;
	*out = intern_n(s.at, s.len);
	str_free(&s);
	return true;
}

/* Attributes, a reader for each kind */

static bool get_STR(Parser *p, const char **x) { return string(p, x); }

static bool get_F64(Parser *p, double *x)
{
	skip_blank(p, false);
	const char *from = p->p;
	char *stop;
	*x = strtod(from, &stop);
	if (stop == from || stop > p->end)
		return FAIL(p, from, "E0901", "expected a number");
	p->p = stop;
	return true;
}

static bool get_INT(Parser *p, int *x)
{
	int64_t v;
	if (!integer(p, INT_MIN, INT_MAX, &v))
		return false;
	*x = (int)v;
	return true;
}

static bool get_DIM(Parser *p, const Dim **x)
{
	skip_blank(p, false);
	const char *from = p->p, *at = p->p;
	*x = dim_parse(&at);
	if (!*x || at > p->end)
		return FAIL(p, from, "E0908", "expected an extent, as in `2*T - 1`");
	p->p = at;
	return true;
}

/* [a,b,..], each in [0, limit) */
static bool int_list(Parser *p, int max, int64_t limit, int64_t *out, int *n)
{
	*n = 0;
	if (!expect(p, "["))
		return false;
	if (eat(p, "]"))
		return true;
	do {
		if (*n == max)
			return FAIL(p, p->p, "E0901", "more than %d numbers", max);
		if (!integer(p, 0, limit - 1, &out[*n]))
			return false;
		++*n;
	} while (eat(p, ","));
	return expect(p, "]");
}

static bool get_MASK(Parser *p, uint32_t *x)
{
	int64_t at[32];
	int n;
	if (!int_list(p, 32, 32, at, &n))
		return false;
	*x = 0;
	for (int i = 0; i < n; i++)
		*x |= 1u << at[i];
	return true;
}

static bool get_PERM(Parser *p, int8_t (*x)[MAX_RANK])
{
	int64_t at[MAX_RANK];
	int n;
	if (!int_list(p, MAX_RANK, MAX_RANK, at, &n))
		return false;
	for (int i = 0; i < n; i++)
		(*x)[i] = (int8_t)at[i];
	return true;
}

static bool get_QUANT(Parser *p, Quant *x)
{
	skip_blank(p, false);
	const char *from = p->p, *name = word(p);
	*x = name ? quant_find(name) : QUANT_COUNT;
	return *x != QUANT_COUNT || FAIL(p, from, "E0903", "expected a format: %s or %s", quant_name[QUANT_Q8_0], quant_name[QUANT_Q4_0]);
}

static const char *const attr_names[AI_COUNT] = {
#define X(field, kind) [AI_##field] = #field,
	ATTRS(X)
#undef X
};

/* Its row's, and what passes add: any value may be kept apart (`once`), and a state may hold panels in the order of a pack. */
static uint32_t may_have(Op op)
{
	return op_info[op].attrs | A_once | (op == OP_STATE ? A_spec | A_side : 0);
}

/* No attribute of the op is called so: says which are. */
static bool no_attribute(Parser *p, Op op, const char *from, const char *name)
{
	const char *names[AI_COUNT];
	int n = 0;
	Str list = {0};
	for (int i = 0; i < AI_COUNT; i++)
		if (op_info[op].attrs >> i & 1) {
			str_printf(&list, "%s`%s`", n ? ", " : "", attr_names[i]);
			names[n++] = attr_names[i];
		}
	FAIL(p, from, "E0903", "%s has no attribute `%s`", op_info[op].text, name);
	const char *near = diag_nearest(name, names, n);
	if (near)
		diag_help("did you mean `%s`?", near);
	else if (n)
		diag_help("it has %s", list.at);
	else
		diag_help("it has none");
	str_free(&list);
	return false;
}

static bool attribute(Parser *p, Op op, Attrs *a, uint32_t *seen)
{
	skip_blank(p, false);
	const char *from = p->p, *name = word(p);
	int i = 0;
	while (i < AI_COUNT && name && strcmp(attr_names[i], name))
		i++;
	if (i == AI_COUNT || !name || !(may_have(op) >> i & 1))
		return no_attribute(p, op, from, name ? name : "");
	if (*seen >> i & 1)
		return FAIL(p, from, "E0903", "`%s` is given twice", name);
	*seen |= 1u << i;
	if (!expect(p, "="))
		return false;
	switch (i) {
#define X(field, kind) case AI_##field: return get_##kind(p, &a->field);
	ATTRS(X)
#undef X
	}
	return false;
}

/* Numbers left out are 0; text and dims must be there. */
enum { NEEDED_STR = 1, NEEDED_DIM = 1, NEEDED_F64 = 0, NEEDED_INT = 0, NEEDED_MASK = 0, NEEDED_PERM = 0, NEEDED_QUANT = 0 };

static bool attributes(Parser *p, Op op, Attrs *a)
{
	const char *from = p->p;
	uint32_t seen = 0;
	if (eat(p, "{") && !eat(p, "}")) {
		do {
			if (!attribute(p, op, a, &seen))
				return false;
		} while (eat(p, ","));
		if (!expect(p, "}"))
			return false;
	}
	uint32_t missing = op_info[op].attrs & ~seen;
#define X(field, kind) \
	if (NEEDED_##kind && (missing & A_##field)) \
		return FAIL(p, from, "E0903", "%s needs the attribute `" #field "`", op_info[op].text);
	ATTRS(X)
#undef X
	return true;
}

/* Types and values */

static bool read_type(Parser *p, Type *t)
{
	skip_blank(p, false);
	const char *from = p->p, *name = word(p);
	*t = type_scalar(DT_NONE);
	for (int i = 0; i < DT_NONE; i++)
		if (name && !strcmp(dtype_name[i], name))
			t->dt = (DType)i;
	if (t->dt == DT_NONE)
		return FAIL(p, from, "E0908", "expected a type, as in f32[B,T,768]");
	if (!expect(p, "["))
		return false;
	if (eat(p, "]"))
		return true;
	do {
		if (t->rank == MAX_RANK)
			return FAIL(p, from, "E0908", "a tensor has at most %d axes", MAX_RANK);
		if (!get_DIM(p, &t->dim[t->rank]))
			return false;
		t->rank++;
	} while (eat(p, ","));
	return expect(p, "]");
}

/* %n */
static bool number(Parser *p, int64_t *n)
{
	return expect(p, "%") && integer(p, 0, p->numbers - 1, n);
}

/* False also for a broken value, without a word. */
static bool operand(Parser *p, Value **out)
{
	skip_blank(p, false);
	const char *from = p->p;
	int64_t n;
	if (!number(p, &n))
		return false;
	*out = p->value[n];
	if (!*out)
		return FAIL(p, from, "E0904", "%%%lld is not defined above", (long long)n);
	return *out != &broken;
}

/* Placement, origin and kernel, in any order, to the end of the line. */
static bool trailer(Parser *p, Value *v)
{
	for (;;) {
		skip_blank(p, false);
		const char *from = p->p;
		int64_t n;
		if (p->p == p->end || *p->p == '\n' || *p->p == '}')
			return true;
		if (eat(p, "!k")) {
			if (!integer(p, 1, INT_MAX, &n))
				return false;
			v->kernel = (int)n;
		} else if (eat(p, "dest=")) {
			if (!number(p, &n))
				return false;
			vec_push(p->arena, &p->forward, ((Forward){v, n, here(p, from)}));
		} else if (eat(p, "path=")) {
			if (!string(p, &v->path))
				return false;
		} else if (eat(p, "loc=")) {
			int64_t line, col;
			if (!string(p, &v->loc.file) || !expect(p, ":") || !integer(p, 0, INT_MAX, &line) ||
			    !expect(p, ":") || !integer(p, 0, INT_MAX, &col))
				return false;
			v->loc.line = (int)line;
			v->loc.col = (int)col;
		} else if (eat(p, "grad")) {
			v->grad = true;
		} else {
			return FAIL(p, from, "E0901", "expected `!k`, `dest`, `path`, `loc`, `grad` or the end of the line");
		}
	}
}

typedef Vec(Value *) Operands;

static bool operands(Parser *p, Operands *in)
{
	skip_blank(p, false);
	if (p->p == p->end || *p->p != '%')
		return true;
	do {
		Value *v;
		if (in->len == MAX_OPERANDS)
			return FAIL(p, p->p, "E0909", "too many operands");
		if (!operand(p, &v))
			return false;
		vec_push(p->arena, in, v);
	} while (eat(p, ","));
	return true;
}

static Op op_name(Parser *p)
{
	skip_blank(p, false);
	const char *from = p->p, *name = word(p);
	Op op = name ? op_find(name) : OP_COUNT;
	if (op != OP_COUNT)
		return op;
	FAIL(p, from, "E0902", name ? "unknown op `%s`" : "expected an op", name);
	const char *names[OP_COUNT];
	for (int i = 0; i < OP_COUNT; i++)
		names[i] = op_info[i].text;
	const char *near = name ? diag_nearest(name, names, OP_COUNT) : NULL;
	if (near)
		diag_help("did you mean `%s`?", near);
	return OP_COUNT;
}

/* Everything of a line behind `%n =`. NULL if it is wrong. */
static Value *value(Parser *p, bool named)
{
	skip_blank(p, false);
	const char *from = p->p;
	Op op = op_name(p);
	Operands in = {0};
	Attrs a = {0};
	Type type, given;
	if (op == OP_COUNT || !operands(p, &in) || !attributes(p, op, &a))
		return NULL;
	bool stated = eat(p, ":");
	if (stated && !read_type(p, &given))
		return NULL;
	if (!stated && op_type_given(op)) {
		FAIL(p, from, "E0907", "the type of %s must be stated", op_info[op].text);
		return NULL;
	}
	type = stated ? given : type_scalar(DT_NONE);
	const char *e = op_type(op, in.at, in.len, &a, &type);
	if (e) {
		FAIL(p, from, "E0906", "%s: %s", op_info[op].text, e);
		return NULL;
	}
	if (stated && !type_eq(type, given)) {
		FAIL(p, from, "E0907", "%s makes %s, not %s", op_info[op].text, type_text(type), type_text(given));
		return NULL;
	}
	if (named != (type.dt != DT_NONE)) {
		FAIL(p, from, "E0901", named ? "%s has no result to name" : "the result of %s needs a name: `%%0 = ..`",
		     op_info[op].text);
		return NULL;
	}
	Value *v = NEW(p->arena, Value);
	*v = (Value){.op = op, .type = type, .a = a, .nin = in.len, .in = in.at};
	return trailer(p, v) ? v : NULL;
}

static void line(Parser *p)
{
	const char *from = p->p;
	int64_t n = -1;
	bool named = *p->p == '%';
	if (named && !number(p, &n))
		return;
	if (named && p->value[n]) {
		FAIL(p, from, "E0905", "%%%lld is defined twice", (long long)n);
		return;
	}
	Value *v = named && !expect(p, "=") ? NULL : value(p, named);
	if (named)
		p->value[n] = v ? v : &broken;
	if (v)
		vec_push(p->arena, &p->g->vals, v);
}

static void next_line(Parser *p)
{
	while (p->p < p->end && *p->p != '\n')
		p->p++;
}

static void resolve_dests(Parser *p)
{
	for (int i = 0; i < p->forward.len; i++) {
		Forward *f = &p->forward.at[i];
		f->v->dest = p->value[f->number];
		if (f->v->dest)
			continue;
		p->errors++;
		diag_error(f->loc, "E0904", "%%%lld is not defined", (long long)f->number);
	}
}

/* graph name(B <= 4, T <= 64) { */
static bool header(Parser *p)
{
	skip_blank(p, false);
	const char *from = p->p, *name = NULL;
	if (!expect(p, "graph"))
		return false;
	skip_blank(p, false);
	if (p->p < p->end && *p->p == '"') {
		if (!string(p, &name))
			return false;
	} else if (!(name = word(p))) {
		return FAIL(p, from, "E0901", "expected the graph's name");
	}
	p->g = graph_new(p->arena, name);
	if (eat(p, "(") && !eat(p, ")")) {
		do {
			skip_blank(p, false);
			from = p->p;
			const Dim *d;
			int64_t bound;
			const DimFactor *f;
			int n;
			if (!get_DIM(p, &d))
				return false;
			if (dim_terms(d) != 1 || dim_term(d, 0, &f, &n) != 1 || n != 1 || !f->sym || f->power != 1)
				return FAIL(p, from, "E0901", "expected a symbol");
			if (!expect(p, "<=") || !integer(p, 1, INT64_MAX, &bound))
				return false;
			graph_sym(p->g, f->sym, bound);
			if (p->g->syms.len > MAX_SYMS)
				return FAIL(p, from, "E0909", "more than %d symbols", MAX_SYMS);
		} while (eat(p, ","));
		if (!expect(p, ")"))
			return false;
	}
	return expect(p, "{");
}

static bool body(Parser *p)
{
	const char *open = p->p - 1;
	for (;;) {
		skip_blank(p, true);
		if (p->p == p->end)
			return FAIL(p, open, "E0901", "this `{` is not closed");
		if (eat(p, "}"))
			break;
		if (p->errors >= MAX_ERRORS)
			return FAIL(p, p->p, "E0909", "too many errors");
		int before = p->errors;
		const char *from = p->p;
		line(p);
		if (p->errors > before || p->p == from)
			next_line(p);
		skip_blank(p, false);
		if (p->p < p->end && *p->p != '\n' && *p->p != '}')
			next_line(p);   /* behind a silent failure */
	}
	resolve_dests(p);
	return p->errors == 0;
}

/* Bytes of the graph that begins here, to the line that closes it or begins another: what its table of numbers costs. */
static int64_t graph_text(const Parser *p)
{
	for (const char *q = p->p; (q = memchr(q, '\n', (size_t)(p->end - q)));) {
		q++;
		q += strspn(q, " \t\r");
		if (q < p->end && (*q == '}' || strncmp(q, "graph", 5) == 0))
			return q - p->p + 1;
	}
	return p->end - p->p + 1;
}

Graph *graph_parse(Arena *arena, const Source *src, const char **end)
{
	Parser p = {.arena = arena, .src = src, .p = src->text, .end = src->text + src->len};
	if (end && *end >= p.p && *end <= p.end)
		p.p = *end;
	if (src->len > MAX_TEXT) {
		FAIL(&p, p.p, "E0909", "text is too large");
		return NULL;
	}
	skip_blank(&p, true);
	Graph *g = NULL;
	if (p.p < p.end) {
		p.numbers = graph_text(&p);
		Arena *scratch = arena_new();
		p.value = NEW_ARRAY(scratch, Value *, p.numbers);
		g = header(&p) && body(&p) ? p.g : NULL;
		arena_free(scratch);
	}
	skip_blank(&p, true);
	if (end)
		*end = p.p;
	return g;
}
