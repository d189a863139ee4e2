/* ast_print.c: a syntax tree as source text, in one canonical form: two spaces a level, one dim an item, brackets
 * only where precedence asks for them. What was unreadable prints as <error>. */
#include "frontend/ast.h"

#include <math.h>
#include <stdlib.h>

/* How tightly a construct binds; an operand that binds less is put in parentheses. */
enum { P_ARROW, P_TERNARY, P_OR, P_AND, P_NOT, P_COMPARE, P_MASK_OR, P_MASK_AND, P_SUM, P_PRODUCT, P_NEG, P_POWER, P_POST };
static const unsigned char op_level[B_COUNT] = {
	[B_OR] = P_OR, [B_AND] = P_AND, [B_NOT] = P_NOT, [B_MASK_OR] = P_MASK_OR, [B_MASK_AND] = P_MASK_AND,
	[B_EQ] = P_COMPARE, [B_NE] = P_COMPARE, [B_LT] = P_COMPARE, [B_GT] = P_COMPARE, [B_LE] = P_COMPARE, [B_GE] = P_COMPARE,
	[B_ADD] = P_SUM, [B_SUB] = P_SUM, [B_MUL] = P_PRODUCT, [B_DIV] = P_PRODUCT, [B_MOD] = P_PRODUCT,
	[B_MATMUL] = P_PRODUCT, [B_NEG] = P_NEG, [B_POW] = P_POWER,
};

static void put_expr(Str *, const Expr *, int level);
static void put_stmts(Str *, const Stmt *, int depth);

static void put_string(Str *out, const char *text)
{
	str_puts(out, "\"");
	static const char from[] = "\n\t\r\"\\", to[] = "ntr\"\\";
	for (const char *p = text; *p; p++) {
		const char *hit = strchr(from, *p);
		if (hit)
			str_printf(out, "\\%c", to[hit - from]);
		else if ((unsigned char)*p < 32 || *p == 127)
			str_printf(out, "\\u{%x}", *p);
		else
			str_put(out, p, 1);
	}
	str_puts(out, "\"");
}

/* The shortest form that reads back as the same number and the same kind of number. */
static void put_number(Str *out, const Expr *e)
{
	char text[40];
	if (e->is_int) {
		str_printf(out, "%lld", (long long)e->integer);
		return;
	}
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, e->number);
		if (strtod(text, NULL) == e->number)
			break;
	}
	str_printf(out, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

static void put_exprs(Str *out, const Expr *list)
{
	for (const Expr *e = list; e; e = e->next) {
		str_puts(out, e == list ? "" : ", ");
		put_expr(out, e, P_ARROW);
	}
}

static void put_args(Str *out, const Arg *list)
{
	for (const Arg *a = list; a; a = a->next) {
		str_puts(out, a == list ? "" : ", ");
		if (a->name)
			str_printf(out, "%s = ", a->name);
		put_expr(out, a->value, P_ARROW);
	}
}

static int level_of(const Expr *e)
{
	switch (e->kind) {
	case E_UNARY: case E_BINARY: return op_level[e->op];
	case E_TERNARY: return P_TERNARY;
	case E_ARROW: return P_ARROW;
	default: return P_POST;
	}
}

static void put_binary(Str *out, const Expr *e)
{
	int level = op_level[e->op], right = level + 1;
	if (e->op == B_POW)
		right = P_NEG;
	put_expr(out, e->a, level == P_COMPARE || level == P_POWER ? level + 1 : level);
	str_printf(out, e->op == B_POW ? "%s" : " %s ", binop_text[e->op]);
	put_expr(out, e->b, right);
}

static void put_slice(Str *out, const Expr *e)
{
	if (e->a)
		put_expr(out, e->a, P_ARROW);
	str_puts(out, ":");
	if (e->b)
		put_expr(out, e->b, P_ARROW);
}

static void put_operands(Str *out, const Expr *e)
{
	switch (e->kind) {
	case E_LIST:
		str_puts(out, "[");
		put_exprs(out, e->kids);
		str_puts(out, "]");
		break;
	case E_CALL:
		put_expr(out, e->a, P_POST);
		str_puts(out, "(");
		put_args(out, e->args);
		str_puts(out, ")");
		break;
	case E_INDEX:
		put_expr(out, e->a, P_POST);
		str_puts(out, "[");
		put_exprs(out, e->kids);
		str_puts(out, "]");
		break;
	case E_TERNARY:
		put_expr(out, e->a, P_OR);
		str_puts(out, " if ");
		put_expr(out, e->b, P_OR);
		str_puts(out, " else ");
		put_expr(out, e->c, P_TERNARY);
		break;
	case E_ARROW:
		put_expr(out, e->a, P_TERNARY);
		str_puts(out, " -> ");
		put_expr(out, e->b, P_TERNARY);
		break;
	default:
		bug("ast_print: expression kind %d", e->kind);
	}
}

static void put_expr(Str *out, const Expr *e, int level)
{
	bool parens = level_of(e) < level;
	str_puts(out, parens ? "(" : "");
	switch (e->kind) {
	case E_NAME: str_puts(out, e->name); break;
	case E_NUMBER: put_number(out, e); break;
	case E_STRING: put_string(out, e->name); break;
	case E_TRUE: str_puts(out, "true"); break;
	case E_FALSE: str_puts(out, "false"); break;
	case E_NONE: str_puts(out, "none"); break;
	case E_ELLIPSIS: str_puts(out, "..."); break;
	case E_ERROR: str_puts(out, "<error>"); break;
	case E_SLICE: put_slice(out, e); break;
	case E_BINARY: put_binary(out, e); break;
	case E_FIELD:
		put_expr(out, e->a, P_POST);
		str_printf(out, ".%s", e->name);
		break;
	case E_UNARY:
		str_puts(out, e->op == B_NOT ? "not " : "-");
		put_expr(out, e->a, op_level[e->op]);
		break;
	default:
		put_operands(out, e);
	}
	str_puts(out, parens ? ")" : "");
}

static void put_type(Str *out, const TypeExpr *t)
{
	if (!t->elem && !t->has_shape) {
		str_puts(out, "(");
		for (const TypeExpr *m = t->tuple; m; m = m->next) {
			str_puts(out, m == t->tuple ? "" : ", ");
			put_type(out, m);
		}
		str_puts(out, ")");
		return;
	}
	str_puts(out, t->elem ? t->elem : "");
	if (t->elem_args) {
		str_puts(out, "(");
		put_exprs(out, t->elem_args);
		str_puts(out, t->optional ? ")?" : ")");
	}
	if (t->has_shape) {
		str_puts(out, "[");
		put_exprs(out, t->shape);
		str_puts(out, "]");
	}
}

static void put_names(Str *out, const Name *names)
{
	for (const Name *n = names; n; n = n->next)
		str_printf(out, "%s%s%s%s", n == names ? "" : ", ", n->name, n->as ? " as " : "", n->as ? n->as : "");
}

static void put_params(Str *out, const ParamDecl *params)
{
	str_puts(out, "(");
	for (const ParamDecl *p = params; p; p = p->next) {
		str_printf(out, "%s%s: ", p == params ? "" : ", ", p->name);
		put_type(out, p->type);
		if (p->init) {
			str_puts(out, " = ");
			put_expr(out, p->init, P_ARROW);
		}
	}
	str_puts(out, ")");
}

static void put_ctor(Str *out, const Ctor *c)
{
	for (; c->repeat; c = c->of) {
		str_puts(out, "repeat ");
		put_expr(out, c->repeat, P_ARROW);
		if (c->as)
			str_printf(out, " as %s", c->as);
		str_puts(out, " of ");
	}
	if (c->expr) {
		put_expr(out, c->expr, P_ARROW);
		return;
	}
	str_puts(out, "param ");
	put_type(out, c->param);
	if (c->init) {
		str_puts(out, " = ");
		put_expr(out, c->init, P_ARROW);
	}
}

static void put_body(Str *out, const Stmt *body, int depth)
{
	str_puts(out, "{\n");
	put_stmts(out, body, depth + 1);
	str_printf(out, "%*s}", 2 * depth, "");
}

static void put_require(Str *out, const Expr *cond, const char *text)
{
	str_puts(out, "require ");
	put_expr(out, cond, P_ARROW);
	if (text) {
		str_puts(out, ", ");
		put_string(out, text);
	}
}

static void put_setting(Str *out, const Stmt *s)
{
	str_printf(out, "%s%s", s->setting, s->args ? " " : "");
	put_args(out, s->args);
	if (s->on) {
		str_puts(out, " on ");
		put_exprs(out, s->on);
	}
	if (s->every) {
		str_puts(out, " every ");
		put_expr(out, s->every, P_ARROW);
	}
}

/* for and if */
static void put_compound(Str *out, const Stmt *s, int depth)
{
	if (s->kind == S_FOR) {
		str_printf(out, "for %s in ", s->names->name);
		put_expr(out, s->exprs, P_ARROW);
		str_puts(out, " .. ");
		put_expr(out, s->exprs->next, P_ARROW);
	} else {
		str_puts(out, "if ");
		put_expr(out, s->exprs, P_ARROW);
	}
	str_puts(out, " ");
	put_body(out, s->body, depth);
	if (s->other) {
		str_puts(out, " else ");
		put_body(out, s->other, depth);
	}
}

static void put_stmt(Str *out, const Stmt *s, int depth)
{
	put_names(out, s->kind == S_FOR ? NULL : s->names);
	switch (s->kind) {
	case S_DECLARE:
		str_puts(out, ": ");
		put_ctor(out, s->ctor);
		if (s->at) {
			str_puts(out, " at ");
			put_string(out, s->at);
		}
		break;
	case S_ASSIGN: case S_ADD: case S_RETURN:
		str_puts(out, s->kind == S_ASSIGN ? " = " : s->kind == S_ADD ? " += " : "return ");
		put_exprs(out, s->exprs);
		break;
	case S_FOR: case S_IF: put_compound(out, s, depth); break;
	case S_REQUIRE: put_require(out, s->exprs, s->text); break;
	case S_SETTING: put_setting(out, s); break;
	case S_ERROR: str_puts(out, "<error>"); break;
	}
}

static void put_stmts(Str *out, const Stmt *s, int depth)
{
	for (; s; s = s->next) {
		str_printf(out, "%*s", 2 * depth, "");
		put_stmt(out, s, depth);
		str_puts(out, "\n");
	}
}

static void put_sets(Str *out, const Set *sets)
{
	str_puts(out, "{\n");
	for (; sets; sets = sets->next) {
		str_printf(out, "  %s = ", sets->name);
		put_expr(out, sets->value, P_ARROW);
		str_puts(out, "\n");
	}
	str_puts(out, "}");
}

static void put_config(Str *out, const Config *c)
{
	str_puts(out, "config {\n");
	for (; c; c = c->next) {
		str_printf(out, "  %s: ", c->name);
		put_type(out, c->type);
		str_puts(out, " = ");
		put_expr(out, c->value, P_ARROW);
		if (c->from)
			str_printf(out, " from %s", c->from);
		if (c->doc) {
			str_puts(out, " ");
			put_string(out, c->doc);
		}
		str_puts(out, "\n");
	}
	str_puts(out, "}");
}

static void put_use(Str *out, const Item *i)
{
	str_puts(out, "use ");
	put_names(out, i->names);
	str_puts(out, " from ");
	put_string(out, i->file);
	if (i->sets) {
		str_puts(out, " with ");
		put_sets(out, i->sets);
	}
}

/* block, model, fn, weights and the entries */
static void put_block(Str *out, const Item *i)
{
	static const char *const word[] = {[I_BLOCK] = "block", [I_MODEL] = "model", [I_FN] = "fn", [I_WEIGHTS] = "weights"};
	str_puts(out, i->kind == I_ENTRY ? i->entry : word[i->kind]);
	if (i->name)
		str_printf(out, " %s", i->name);
	if (i->statics)
		put_params(out, i->statics);
	if (i->kind != I_WEIGHTS)
		put_params(out, i->params);
	if (i->result) {
		str_puts(out, " -> ");
		put_type(out, i->result);
	}
	str_puts(out, i->kind == I_FN ? " = " : " ");
	if (i->kind == I_FN)
		put_expr(out, i->expr, P_ARROW);
	else
		put_body(out, i->body, 0);
}

static void put_item(Str *out, const Item *i)
{
	switch (i->kind) {
	case I_USE: put_use(out, i); break;
	case I_CONFIG: put_config(out, i->config); break;
	case I_PRESET:
		str_printf(out, "preset %s ", i->name);
		put_sets(out, i->sets);
		break;
	case I_DIM:
		str_printf(out, "dim %s", i->dims->name);
		if (i->bounds) {
			str_puts(out, " <= ");
			put_expr(out, i->bounds, P_ARROW);
		}
		break;
	case I_REQUIRE: put_require(out, i->expr, i->text); break;
	case I_BLOCK: case I_FN: case I_MODEL: case I_WEIGHTS: case I_ENTRY: put_block(out, i); break;
	}
	str_puts(out, "\n");
}

static void put_doc(Str *out, const char *doc)
{
	while (doc) {
		size_t len = strcspn(doc, "\n");
		str_printf(out, "#%s%.*s\n", len ? " " : "", (int)len, doc);
		doc = doc[len] ? doc + len + 1 : NULL;
	}
}

void ast_print(Str *out, const File *f)
{
	put_doc(out, f->doc);
	for (const Item *i = f->items; i; i = i->next) {
		if (out->len)
			str_puts(out, "\n");
		put_item(out, i);
	}
}

void ast_print_ctor(Str *out, const Ctor *c)
{
	put_ctor(out, c);
}

void ast_print_expr(Str *out, const Expr *e)
{
	put_expr(out, e, P_ARROW);
}
