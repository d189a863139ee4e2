/* ast.c: builders of syntax tree nodes, called by the grammar's actions. They allocate from the module's arena and
 * keep each expression's height, so that no tree is too tall for the recursions over it. */
#include "frontend/syntax.h"

const char *const binop_text[B_COUNT] = {
	[B_ADD] = "+", [B_SUB] = "-", [B_MUL] = "*", [B_DIV] = "/", [B_MOD] = "%", [B_MATMUL] = "@", [B_POW] = "^",
	[B_EQ] = "==", [B_NE] = "!=", [B_LT] = "<", [B_GT] = ">", [B_LE] = "<=", [B_GE] = ">=", [B_AND] = "and", [B_OR] = "or",
	[B_MASK_AND] = "&", [B_MASK_OR] = "|", [B_NEG] = "-", [B_NOT] = "not",
};

Expr *build_expr(Syntax *s, ExprKind kind, Loc loc)
{
	Expr *e = NEW(s->arena, Expr);
	e->kind = kind;
	e->loc = loc;
	e->height = 1;
	return e;
}

/* e, whose tallest operand has the given height. */
static Expr *over(Syntax *s, Expr *e, int height)
{
	e->height = height + 1;
	if (e->height <= MAX_HEIGHT)
		return e;
	if (!s->too_deep && syntax_failed(s)) {
		diag_error(e->loc, "E0204", "this expression has more than %d operations inside each other", MAX_HEIGHT);
		diag_help("give parts of it names of their own");
	}
	s->too_deep = true;
	return build_expr(s, E_ERROR, e->loc);
}

static int height_of(const Expr *e)
{
	return e ? e->height : 0;
}

static int tallest(const Expr *list)
{
	int height = 0;
	for (; list; list = list->next)
		height = MAX(height, list->height);
	return height;
}

Expr *build_op(Syntax *s, ExprKind kind, Loc loc, Expr *a, Expr *b, Expr *c)
{
	Expr *e = build_expr(s, kind, loc);
	e->a = a;
	e->b = b;
	e->c = c;
	return over(s, e, MAX(height_of(a), MAX(height_of(b), height_of(c))));
}

Expr *build_unary(Syntax *s, Loc loc, BinOp op, Expr *a)
{
	Expr *e = build_op(s, E_UNARY, loc, a, NULL, NULL);
	e->op = op;
	return e;
}

Expr *build_binary(Syntax *s, Loc loc, BinOp op, Expr *a, Expr *b)
{
	Expr *e = build_op(s, E_BINARY, loc, a, b, NULL);
	e->op = op;
	return e;
}

Expr *build_call(Syntax *s, Loc loc, Expr *base, Arg *args)
{
	int height = base->height;
	for (Arg *a = args; a; a = a->next)
		height = MAX(height, a->value->height);
	Expr *e = build_expr(s, E_CALL, loc);
	e->a = base;
	e->args = args;
	return over(s, e, height);
}

Expr *build_index(Syntax *s, Loc loc, Expr *base, Expr *kids)
{
	Expr *e = build_expr(s, E_INDEX, loc);
	e->a = base;
	e->kids = kids;
	return over(s, e, MAX(base->height, tallest(kids)));
}

Expr *build_list(Syntax *s, Loc loc, Expr *kids)
{
	Expr *e = build_expr(s, E_LIST, loc);
	e->kids = kids;
	return over(s, e, tallest(kids));
}

Arg *build_arg(Syntax *s, Loc loc, const char *name, Expr *value)
{
	Arg *a = NEW(s->arena, Arg);
	*a = (Arg){.name = name, .loc = loc, .value = value};
	return a;
}

TypeExpr *build_type(Syntax *s, Loc loc, const char *elem, Expr *elem_args, bool optional, bool has_shape, Expr *shape)
{
	TypeExpr *t = NEW(s->arena, TypeExpr);
	*t = (TypeExpr){.loc = loc, .elem = elem, .elem_args = elem_args, .optional = optional, .has_shape = has_shape,
	                .shape = shape};
	return t;
}

TypeExpr *build_tuple(Syntax *s, Loc loc, TypeExpr *members)
{
	TypeExpr *t = NEW(s->arena, TypeExpr);
	*t = (TypeExpr){.loc = loc, .tuple = members};
	return t;
}

ParamDecl *build_param(Syntax *s, Loc loc, const char *name, TypeExpr *type, Expr *init)
{
	ParamDecl *p = NEW(s->arena, ParamDecl);
	*p = (ParamDecl){.name = name, .loc = loc, .type = type, .init = init};
	return p;
}

Name *build_name(Syntax *s, Loc loc, const char *name)
{
	Name *n = NEW(s->arena, Name);
	*n = (Name){.name = name, .loc = loc};
	return n;
}

Ctor *build_ctor(Syntax *s, Loc loc, Expr *expr)
{
	Ctor *c = NEW(s->arena, Ctor);
	*c = (Ctor){.loc = loc, .expr = expr};
	return c;
}

Ctor *build_repeat(Syntax *s, Loc loc, Expr *count, const char *as, Ctor *of)
{
	Ctor *c = NEW(s->arena, Ctor);
	*c = (Ctor){.loc = loc, .repeat = count, .as = as, .of = of};
	return c;
}

Ctor *build_weight(Syntax *s, Loc loc, TypeExpr *type, Expr *init)
{
	Ctor *c = NEW(s->arena, Ctor);
	*c = (Ctor){.loc = loc, .param = type, .init = init};
	return c;
}

Stmt *build_stmt(Syntax *s, StmtKind kind, Loc loc, Name *names, Expr *exprs)
{
	Stmt *t = NEW(s->arena, Stmt);
	*t = (Stmt){.kind = kind, .loc = loc, .names = names, .exprs = exprs};
	return t;
}

Stmt *build_declare(Syntax *s, Loc loc, Name *names, Ctor *ctor, const char *at, Loc at_loc)
{
	Stmt *t = build_stmt(s, S_DECLARE, loc, names, NULL);
	t->ctor = ctor;
	t->at = at;
	t->at_loc = at_loc;
	return t;
}

Stmt *build_for(Syntax *s, Loc loc, Name *var, Expr *lo, Expr *hi, Stmt *body)
{
	Stmt *t = build_stmt(s, S_FOR, loc, var, lo);
	lo->next = hi;
	t->body = body;
	return t;
}

Stmt *build_if(Syntax *s, Loc loc, Expr *cond, Stmt *body, Stmt *other)
{
	Stmt *t = build_stmt(s, S_IF, loc, NULL, cond);
	t->body = body;
	t->other = other;
	return t;
}

Stmt *build_setting(Syntax *s, Loc loc, const char *name, Arg *args, Expr *on, Expr *every)
{
	Stmt *t = build_stmt(s, S_SETTING, loc, NULL, NULL);
	t->setting = name;
	t->args = args;
	t->on = on;
	t->every = every;
	return t;
}

Config *build_config(Syntax *s, Loc loc, const char *name, TypeExpr *type, Expr *value, Name *path, Loc from_loc,
                     const char *doc)
{
	Config *c = NEW(s->arena, Config);
	Str from = {0};
	for (Name *n = path; n; n = n->next)
		str_printf(&from, "%s%s", n == path ? "" : ".", n->name);
	*c = (Config){.name = name, .loc = loc, .type = type, .value = value, .from = path ? intern(from.at) : NULL,
	              .from_loc = from_loc, .doc = doc};
	str_free(&from);
	return c;
}

Set *build_set(Syntax *s, Loc loc, const char *name, Expr *value)
{
	Set *t = NEW(s->arena, Set);
	*t = (Set){.name = name, .loc = loc, .value = value};
	return t;
}

Item *build_item(Syntax *s, ItemKind kind, Loc loc)
{
	Item *i = NEW(s->arena, Item);
	*i = (Item){.kind = kind, .loc = loc};
	return i;
}

Item *build_named(Syntax *s, ItemKind kind, Loc loc, const char *name, Loc name_loc)
{
	Item *i = build_item(s, kind, loc);
	i->name = name;
	i->name_loc = name ? name_loc : loc;
	return i;
}

Item *build_use(Syntax *s, Loc loc, Name *names, const char *file, Loc file_loc, Set *sets)
{
	Item *i = build_item(s, I_USE, loc);
	i->names = names;
	i->file = file;
	i->file_loc = file_loc;
	i->sets = sets;
	return i;
}

Item *build_dim(Syntax *s, Loc loc, Name *name, Expr *bound)
{
	Item *i = build_item(s, I_DIM, loc);
	i->dims = name;
	i->bounds = bound;
	return i;
}

Item *build_block(Syntax *s, ItemKind kind, Loc loc, const char *name, Loc name_loc, ParamDecl *statics,
                  ParamDecl *params, TypeExpr *result, Stmt *body)
{
	Item *i = build_named(s, kind, loc, name, name_loc);
	i->statics = statics;
	i->params = params;
	i->result = result;
	i->body = body;
	return i;
}

void build_items(Syntax *s, Item *items)
{
	if (!items)
		return;
	if (s->last_item)
		s->last_item->next = items;
	else
		s->file->items = items;
	while (items->next)
		items = items->next;
	s->last_item = items;
}
