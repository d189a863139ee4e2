/* stmt.c: statements. A body runs twice: its declarations when its block is instantiated, the rest at each
 * call. `if` and `for` are decided when compiling; check mode runs both branches, and a loop's body once. */
#include "frontend/elab.h"

enum { MAX_ROUNDS = 10000 };   /* of a loop */

static void assign_one(Elab *e, Name *n, Val v)
{
	if (v.kind == V_LAYER) {
		err(e, n->loc, "E0307", "a layer is not a value; it is called: `%s(x)`", v.layer->name);
		v.kind = V_POISON;
	}
	frame_set(e, n->name, n->loc, v);
	tap_variable(e, n->name, v);
}

static int count_names(Name *n)
{
	int k = 0;
	for (; n; n = n->next)
		k++;
	return k;
}

static void assign_list(Elab *e, Stmt *s, Val v)
{
	int n = count_names(s->names), i = 0;
	if (v.kind == V_LIST && !v.known && v.nitems != n)
		v.kind = V_POISON;
	if (v.kind != V_POISON && (v.kind != V_LIST || v.nitems != n)) {
		err(e, s->loc, "E0422", "%d names, but the right side is %s", n, val_describe(e, v));
		v.kind = V_POISON;
	}
	for (Name *m = s->names; m; m = m->next, i++) {
		assign_one(e, m, v.kind == V_POISON ? v : v.items[i]);
		Var *var = frame_var(e->frame, m->name);
		if (var)
			var->unpacked = s;
	}
}

static Val eval_exprs(Elab *e, Expr *x)
{
	if (!x->next)
		return eval(e, x);
	Vec(Val) items = {0};
	for (; x; x = x->next)
		vec_push(e->arena, &items, eval(e, x));
	return val_list(e, items.at, items.len);
}

static void assign(Elab *e, Stmt *s)
{
	Val v = eval_exprs(e, s->exprs);
	if (s->names->next)
		assign_list(e, s, v);
	else
		assign_one(e, s->names, v);
}

static void add_assign(Elab *e, Stmt *s)
{
	Expr name = { .kind = E_NAME, .loc = s->names->loc, .name = s->names->name };
	Val old = name_lookup(e, &name);
	Val v = eval_binary(e, s->loc, B_ADD, old, eval(e, s->exprs));
	bool same = v.kind != V_TENSOR || old.kind != V_TENSOR || type_eq(v.t->type, old.t->type);
	if (!same)
		err(e, s->loc, "E0423", "`+=` would make %s of %s", show_type(e, v.t->type), show_type(e, old.t->type));
	Var *var = frame_var(e->frame, s->names->name);
	bool used = var && var->used;
	assign_one(e, s->names, v);
	if (var)
		var->used = used;
}

static void run_list(Elab *e, Stmt *s)
{
	for (; s && !e->frame->returned; s = s->next)
		run_statement(e, s);
}

static void run_if(Elab *e, Stmt *s)
{
	Val c = eval(e, s->exprs);
	if (c.kind == V_POISON)
		return;
	if (c.kind != V_BOOL) {
		err(e, s->exprs->loc, "E0409", "a condition is true or false, got %s", val_describe(e, c));
		return;
	}
	bool then = !c.known || c.f != 0, other = !c.known || c.f == 0;
	if (then)
		run_list(e, s->body);
	bool first = e->frame->returned;
	if (then && other)
		e->frame->returned = false;
	if (other)
		run_list(e, s->other);
	if (then && other)
		e->frame->returned &= first;
}

static void loop_once(Elab *e, Stmt *s, const Dim *i)
{
	frame_set(e, s->names->name, s->names->loc, val_int(i));
	frame_var(e->frame, s->names->name)->used = true;
	run_list(e, s->body);
}

static void run_for(Elab *e, Stmt *s)
{
	const Dim *lo, *hi;
	int64_t a, b;
	if (!eval_int(e, s->exprs, "a loop's start", &lo) || !eval_int(e, s->exprs->next, "a loop's end", &hi))
		return;
	bool known = compile_time(e, s->exprs->loc, lo, "a loop's start");
	if (!compile_time(e, s->exprs->next->loc, hi, "a loop's end") || !known)
		return;
	if (dim_is_const(dim_sub(hi, lo), &b) && b > MAX_ROUNDS) {
		err(e, loc_join(s->exprs->loc, s->exprs->next->loc), "E0438", "a loop of %lld rounds, which are all unrolled", (long long)b);
		return;
	}
	if (e->symbolic) {
		loop_once(e, s, dim_sym(s->names->name));
		return;
	}
	dim_is_const(lo, &a);
	dim_is_const(hi, &b);
	for (int64_t i = a; i < b; i++)
		loop_once(e, s, dim_const(i));
}

static void run_return(Elab *e, Stmt *s)
{
	Frame *f = e->frame;
	Val v = eval_exprs(e, s->exprs);
	TypeExpr *want = f->item ? f->item->result : NULL;
	const char *what = f->item && f->item->name ? internf("`%s`", f->item->name) : "this entry";
	if (v.kind == V_LAYER)
		v = fail(e, s->loc, "E0307", "a layer is not a value; it is called: `%s(x)`", v.layer->name);
	if (want && v.kind != V_POISON && !match_result(e, want, v, s->exprs->loc, what))
		v.kind = V_POISON;
	f->result = v;
	f->returned = true;
}

/* A call that stands alone reads as a setting, too. */
static void misplaced_setting(Elab *e, Stmt *s)
{
	Var *v = frame_var(e->frame, s->setting);
	err(e, s->loc, "E0601", "`%s` is a setting; settings belong in an entry", s->setting);
	if (v && v->val.kind == V_LAYER)
		help(e, "for the layer's value write `return %s(..)` or `x = %s(..)`", s->setting, s->setting);
}

void run_statement(Elab *e, Stmt *s)
{
	switch (s->kind) {
	case S_ASSIGN:  assign(e, s); break;
	case S_ADD:     add_assign(e, s); break;
	case S_RETURN:  run_return(e, s); break;
	case S_FOR:     run_for(e, s); break;
	case S_IF:      run_if(e, s); break;
	case S_REQUIRE: require_check(e, s->exprs, s->text); break;
	case S_SETTING: misplaced_setting(e, s); break;
	case S_DECLARE:
	case S_ERROR:   break;
	}
}

static void declare_all(Elab *e, Stmt *body, const char *path)
{
	for (Stmt *s = body; s; s = s->next) {
		if (s->kind == S_DECLARE)
			declare(e, s, path);
		if (s->kind != S_IF)
			continue;
		Val c = eval(e, s->exprs);
		if (c.kind == V_BOOL && (!c.known || c.f != 0))
			declare_all(e, s->body, path);
		if (c.kind == V_BOOL && (!c.known || c.f == 0))
			declare_all(e, s->other, path);
	}
}

static bool declares(Stmt *body)
{
	for (Stmt *s = body; s; s = s->next)
		if (s->kind == S_DECLARE || (s->kind == S_IF && (declares(s->body) || declares(s->other))))
			return true;
	return false;
}

/* Conditions around declarations are static; conditions of other ifs may use values that don't exist yet. */
static void run_declarations(Elab *e, Stmt *body, const char *path)
{
	for (Stmt *s = body; s; s = s->next) {
		Stmt alone = *s;
		alone.next = NULL;
		if (s->kind == S_DECLARE || (s->kind == S_IF && (declares(s->body) || declares(s->other))))
			declare_all(e, &alone, path);
	}
}

void run_body(Elab *e, Stmt *s, const char *path, bool declarations)
{
	if (declarations) {
		run_declarations(e, s, path);
		return;
	}
	bool said = false;
	for (; s; s = s->next) {
		if (e->frame->returned && s->kind != S_DECLARE && !said) {
			warn(e, s->loc, "W0304", "nothing after `return` is reached");
			said = true;
		}
		if (!e->frame->returned)
			run_statement(e, s);
	}
}

Val run_block(Elab *e, Frame *f)
{
	Frame *saved = e->frame;
	e->frame = f;
	run_body(e, f->item->body, NULL, false);
	e->frame = saved;
	if (!f->returned)
		return fail(e, f->item->name_loc, "E0424", "`%s` returns nothing", f->item->name);
	return f->result;
}
