/* print.c: the textual form of a graph, one value a line:
 *
 *   graph train.step(B <= 4, T <= 64) {
 *     %5 = contract %3, %4 {spec="td,dn->tn"} : f32[T,768] !k3 dest=%9 path="h.0.mlp" loc="gpt2.sinter":27:3 grad
 *     output %5 {name="y"}
 *   }
 *
 * Driven by ATTRS and op_info alone: no code knows a single op. parse.c reads it back exactly. */
#include "ir/ir.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

static void print_str(Str *s, const char *text)
{
	str_puts(s, "\"");
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			str_printf(s, "\\%c", *p);
		else if (*p < 32 || *p == 127)
			str_printf(s, "\\x%02x", *p);
		else
			str_put(s, (const char *)p, 1);
	}
	str_puts(s, "\"");
}

/* The shortest decimal that reads back as the same double. */
static void print_f64(Str *s, double x)
{
	char text[40];
	if (isnan(x)) {
		str_puts(s, "nan");
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, x);
		if (strtod(text, NULL) == x)
			break;
	}
	str_puts(s, text);
}

/* One attribute kind: does it differ from absent, and its text. `rank` is the length of a perm. */
static bool set_STR(const char *const *x, int rank) { return *x != NULL; }
static bool set_F64(const double *x, int rank) { return *x != 0; }
static bool set_INT(const int *x, int rank) { return *x != 0; }
static bool set_MASK(const uint32_t *x, int rank) { return *x != 0; }
static bool set_DIM(const Dim *const *x, int rank) { return *x != NULL; }
static bool set_QUANT(const Quant *x, int rank) { return *x != QUANT_NONE; }
static bool set_PERM(const int8_t (*x)[MAX_RANK], int rank)
{
	for (int i = 0; i < rank; i++)
		if ((*x)[i])
			return true;
	return false;
}

static void put_STR(Str *s, const char *const *x, int rank) { print_str(s, *x ? *x : ""); }
static void put_F64(Str *s, const double *x, int rank) { print_f64(s, *x); }
static void put_INT(Str *s, const int *x, int rank) { str_printf(s, "%d", *x); }
static void put_DIM(Str *s, const Dim *const *x, int rank) { dim_print(s, *x); }
static void put_MASK(Str *s, const uint32_t *x, int rank)
{
	const char *sep = "[";
	for (int i = 0; i < 32; i++)
		if (*x >> i & 1) {
			str_printf(s, "%s%d", sep, i);
			sep = ",";
		}
	str_puts(s, *x ? "]" : "[]");
}
static void put_QUANT(Str *s, const Quant *x, int rank) { str_puts(s, quant_name[*x]); }
static void put_PERM(Str *s, const int8_t (*x)[MAX_RANK], int rank)
{
	for (int i = 0; i < rank; i++)
		str_printf(s, "%s%d", i ? "," : "[", (*x)[i]);
	str_puts(s, rank ? "]" : "[]");
}

/* Attributes of the op's row always (text and dims only where set), others only when set. */
enum { ALWAYS_STR = 0, ALWAYS_DIM = 0, ALWAYS_F64 = 1, ALWAYS_INT = 1, ALWAYS_MASK = 1, ALWAYS_PERM = 1, ALWAYS_QUANT = 0 };

static void print_attrs(Str *s, const Value *v)
{
	const char *sep = " {";
	uint32_t mine = op_info[v->op].attrs;
#define X(field, kind) \
	if ((ALWAYS_##kind && (mine & A_##field)) || set_##kind(&v->a.field, v->type.rank)) { \
		str_printf(s, "%s" #field "=", sep); \
		put_##kind(s, &v->a.field, v->type.rank); \
		sep = ", "; \
	}
	ATTRS(X)
#undef X
	str_puts(s, *sep == ',' ? "}" : "");
}

static void print_ref(Str *s, const ValueMap *numbers, const Value *v)
{
	int n = vmap_get(numbers, v);
	if (n >= 0)
		str_printf(s, "%%%d", n);
	else
		str_puts(s, "%?");   /* not in the graph: verify says so */
}

static void print_value(Str *s, const ValueMap *numbers, const Value *v)
{
	str_puts(s, "  ");
	if (v->type.dt != DT_NONE) {
		print_ref(s, numbers, v);
		str_puts(s, " = ");
	}
	str_puts(s, op_info[v->op].text);
	for (int i = 0; i < v->nin; i++) {
		str_puts(s, i ? ", " : " ");
		print_ref(s, numbers, v->in[i]);
	}
	print_attrs(s, v);
	if (v->type.dt != DT_NONE) {
		str_puts(s, " : ");
		type_print(s, v->type);
	}
	if (v->kernel)
		str_printf(s, " !k%d", v->kernel);
	if (v->dest) {
		str_puts(s, " dest=");
		print_ref(s, numbers, v->dest);
	}
	if (v->path) {
		str_puts(s, " path=");
		print_str(s, v->path);
	}
	if (v->loc.file) {
		str_puts(s, " loc=");
		print_str(s, v->loc.file);
		str_printf(s, ":%d:%d", v->loc.line, v->loc.col);
	}
	str_puts(s, v->grad ? " grad\n" : "\n");
}

static bool plain_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.')
			return false;
	return *name && !isdigit((unsigned char)*name);
}

void graph_print(Str *s, const Graph *g)
{
	Arena *scratch = arena_new();
	ValueMap *numbers = vmap_new(scratch);
	int next = 0;
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->type.dt != DT_NONE)
			vmap_put(numbers, g->vals.at[i], next++);
	str_puts(s, "graph ");
	if (plain_name(g->name))
		str_puts(s, g->name);
	else
		print_str(s, g->name);
	for (int i = 0; i < g->syms.len; i++)
		str_printf(s, "%s%s <= %lld", i ? ", " : "(", g->syms.at[i].name, (long long)g->syms.at[i].bound);
	str_puts(s, g->syms.len ? ") {\n" : " {\n");
	for (int i = 0; i < g->vals.len; i++)
		print_value(s, numbers, g->vals.at[i]);
	str_puts(s, "}\n");
	arena_free(scratch);
}
