/* verify.c: the rules every graph obeys between passes. All violations are reported (up to a limit), each with
 * the graph, the value as printed, and the line of the model file it comes from. */
#include "ir/ir.h"

#include <stdlib.h>

enum { MAX_ERRORS = 20 };

typedef struct Check {
	const Graph *g;
	ValueMap *at;              /* position in g->vals */
	Counted *counted;
	int errors;
} Check;

static const char *label(Check *c, const Value *v)
{
	const char *where = v->loc.file ? internf(" (%s:%d)", v->loc.file, v->loc.line) : "";
	int n = 0, at = vmap_get(c->at, v);
	for (int i = 0; i < at; i++)
		n += c->g->vals.at[i]->type.dt != DT_NONE;
	const char *name = v->op < OP_COUNT ? op_info[v->op].text : "?";
	if (v->type.dt == DT_NONE)
		return internf("%s: %s%s%s", c->g->name, name, v->a.name ? internf(" \"%s\"", v->a.name) : "", where);
	return internf("%s: %%%d = %s%s", c->g->name, n, name, where);
}

#define WRONG(c, v, code, ...) ((c)->errors++, diag_error((Loc){0}, code, "%s: %s", label(c, v), internf(__VA_ARGS__)))

static void check_syms(Check *c, const Value *v, const Dim *d)
{
	const DimFactor *f;
	int n;
	for (int i = 0; d && i < dim_terms(d); i++) {
		dim_term(d, i, &f, &n);
		for (int j = 0; j < n; j++) {
			bool known = !f[j].sym;
			for (int k = 0; f[j].sym && k < c->g->syms.len; k++)
				known |= c->g->syms.at[k].name == f[j].sym;
			if (!known)
				WRONG(c, v, "E0917", "dimension %s is not one of the graph's", f[j].sym);
			if (!f[j].sym) {
				check_syms(c, v, f[j].num);
				check_syms(c, v, f[j].den);
			}
		}
	}
}

static void syms_STR(Check *c, const Value *v, const char *const *x) {}
static void syms_F64(Check *c, const Value *v, const double *x) {}
static void syms_INT(Check *c, const Value *v, const int *x) {}
static void syms_MASK(Check *c, const Value *v, const uint32_t *x) {}
static void syms_QUANT(Check *c, const Value *v, const Quant *x) {}
static void syms_PERM(Check *c, const Value *v, const int8_t (*x)[MAX_RANK]) {}
static void syms_DIM(Check *c, const Value *v, const Dim *const *x) { check_syms(c, v, *x); }

static void check_dims(Check *c, const Value *v)
{
	for (int i = 0; i < v->type.rank; i++)
		check_syms(c, v, v->type.dim[i]);
#define X(field, kind) syms_##kind(c, v, &v->a.field);
	ATTRS(X)
#undef X
}

/* True if operands may be looked at. */
static bool check_operands(Check *c, const Value *v, int at)
{
	for (int i = 0; i < v->nin; i++) {
		int from = v->in[i] ? vmap_get(c->at, v->in[i]) : -1;
		if (from >= 0 && from < at)
			continue;
		if (from < 0)
			WRONG(c, v, "E0910", "operand %d is not in the graph", i);
		else
			WRONG(c, v, "E0910", "operand %d comes after its user", i);
		return false;
	}
	return true;
}

static bool missing_STR(const char *const *x) { return !*x; }
static bool missing_DIM(const Dim *const *x) { return !*x; }
static bool missing_F64(const double *x) { return false; }
static bool missing_INT(const int *x) { return false; }
static bool missing_MASK(const uint32_t *x) { return false; }
static bool missing_QUANT(const Quant *x) { return false; }
static bool missing_PERM(const int8_t (*x)[MAX_RANK]) { return false; }

static bool check_attrs(Check *c, const Value *v)
{
	int before = c->errors;
#define X(field, kind) \
	if (op_info[v->op].attrs & A_##field && missing_##kind(&v->a.field)) \
		WRONG(c, v, "E0913", "attribute `" #field "` is missing");
	ATTRS(X)
#undef X
	return c->errors == before;
}

static void check_type(Check *c, const Value *v)
{
	Type t = v->type;
	const char *e = op_type(v->op, v->in, v->nin, &v->a, &t);
	if (e)
		WRONG(c, v, "E0911", "%s", e);
	else if (!type_eq(t, v->type))
		WRONG(c, v, "E0912", "has type %s, its operands make %s", type_text(v->type), type_text(t));
}

/* A value's place is further down and names it among the operands it places: any of a concat, a write's second. */
static void check_dest(Check *c, const Value *v, int at)
{
	Value *d = v->dest;
	if (!d)
		return;
	if (vmap_get(c->at, d) <= at) {
		WRONG(c, v, "E0916", "its dest is not a later value of the graph");
		return;
	}
	int times = 0;
	for (int i = 0; i < d->nin; i++)
		times += d->in[i] == v && (d->op == OP_CONCAT || (d->op == OP_WRITE && i == 1));
	if (times != 1)
		WRONG(c, v, "E0916", "its dest, a %s, does not place it exactly once", op_info[d->op].text);
	if (op_info[v->op].lower == LOWER_NONE && v->op != OP_CONCAT)
		WRONG(c, v, "E0916", "%s has no memory of its own to place", op_info[v->op].text);
}

typedef struct Mention { Check *c; const Value *v; } Mention;

static void check_mention(void *ctx, Value *nonzero)
{
	const Mention *m = ctx;
	if (vmap_get(m->c->at, nonzero) > vmap_get(m->c->at, m->v))
		WRONG(m->c, m->v, "E0919", "dimension %s is counted further down", counted_sym(nonzero));
	if (m->v->op == OP_PARAM || m->v->op == OP_STATE || m->v->op == OP_INPUT)
		WRONG(m->c, m->v, "E0919", "a source's shape must be known before the graph runs, %s is counted by it", counted_sym(nonzero));
}

/* A counted symbol is one nonzero's, and known where it is used. */
static void check_counted(Check *c, const Value *v)
{
	if (!c->counted)
		return;
	if (is_counting(v) && counted_by(c->counted, counted_sym(v)) != v)
		WRONG(c, v, "E0919", "another nonzero counts %s", counted_sym(v));
	counted_uses(c->counted, v, check_mention, &(Mention){c, v});
}

static void check_value(Check *c, int at)
{
	const Value *v = c->g->vals.at[at];
	if (v->op >= OP_COUNT) {
		WRONG(c, v, "E0911", "is no op");
		return;
	}
	if (!check_operands(c, v, at))
		return;
	if (check_attrs(c, v))
		check_type(c, v);
	check_dims(c, v);
	check_counted(c, v);
	check_dest(c, v, at);
	if (v->kernel && op_info[v->op].lower == LOWER_NONE)
		WRONG(c, v, "E0918", "needs no code and is in kernel %d", v->kernel);
}

/* Names: outputs once; sources of one name are one kind and type; a target is stored to once. Sorted, so that
 * equals are neighbours. */
typedef struct Name { enum { NAME_NONE, NAME_OUTPUT, NAME_SOURCE, NAME_TARGET } group; const char *name; const Value *v; int at; } Name;

static Name name_of(const Value *v, int at)
{
	if (v->op == OP_STORE && v->nin && v->in[0])
		return (Name){v->in[0]->a.name ? NAME_TARGET : NAME_NONE, v->in[0]->a.name, v, at};
	if (!v->a.name || !(op_info[v->op].attrs & A_name))
		return (Name){NAME_NONE, NULL, v, at};
	return (Name){op_info[v->op].flags & OPF_SOURCE ? NAME_SOURCE : NAME_OUTPUT, v->a.name, v, at};
}

static int name_cmp(const void *x, const void *y)
{
	const Name *a = x, *b = y;
	if (a->group != b->group)
		return a->group < b->group ? -1 : 1;
	int c = strcmp(a->name, b->name);
	return c ? c : a->at - b->at;
}

static void check_neighbours(Check *c, const Name *a, const Name *b)
{
	if (a->group != b->group || strcmp(a->name, b->name))
		return;
	if (b->group == NAME_OUTPUT)
		WRONG(c, b->v, "E0914", "an output of that name is above");
	else if (b->group == NAME_TARGET)
		WRONG(c, b->v, "E0915", "\"%s\" is stored to twice", b->name);
	else if (a->v->op != b->v->op || !type_eq(a->v->type, b->v->type))
		WRONG(c, b->v, "E0914", "\"%s\" is another source above", b->name);
}

static void check_names(Check *c, Arena *scratch)
{
	Name *names = NEW_ARRAY(scratch, Name, c->g->vals.len + 1);
	int n = 0;
	for (int i = 0; i < c->g->vals.len; i++) {
		Name x = name_of(c->g->vals.at[i], i);
		if (x.group != NAME_NONE)
			names[n++] = x;
	}
	qsort(names, (size_t)n, sizeof *names, name_cmp);
	for (int i = 1; i < n && c->errors < MAX_ERRORS; i++)
		check_neighbours(c, &names[i - 1], &names[i]);
}

static void check_kernels(Check *c, Arena *scratch)
{
	Graph copy = *c->g;
	int a, b;
	copy.arena = scratch;
	if (!clusters_cycle(&copy, &a, &b))
		return;
	c->errors++;
	diag_error((Loc){0}, "E0918", "%s: kernels %d and %d need each other", c->g->name, a, b);
}

bool graph_verify(const Graph *g)
{
	Arena *scratch = arena_new();
	Check c = {.g = g, .at = vmap_new(scratch)};
	for (int i = 0; i < g->vals.len; i++) {
		if (vmap_get(c.at, g->vals.at[i]) >= 0)
			WRONG(&c, g->vals.at[i], "E0910", "is in the graph twice");
		vmap_put(c.at, g->vals.at[i], i);
	}
	for (int i = 0; i < g->vals.len; i++)
		if (is_counting(g->vals.at[i]) && (g->vals.at[i]->type.rank != 1 || !counted_sym(g->vals.at[i])))
			WRONG(&c, g->vals.at[i], "E0912", "has type %s, must be i32 of one extent, a symbol", type_text(g->vals.at[i]->type));
	c.counted = c.errors ? NULL : counted_of(scratch, g);
	for (int i = 0; i < g->vals.len && c.errors < MAX_ERRORS; i++)
		check_value(&c, i);
	if (!c.errors)
		check_names(&c, scratch);
	if (!c.errors)
		check_kernels(&c, scratch);
	arena_free(scratch);
	return c.errors == 0;
}
