/* calls.c: what `f(args)` means: a layer's call, a model's in an entry, a fn inlined, a built-in function.
 * Each call of a block binds its run-time dims afresh from the shapes of its arguments. */
#include "frontend/elab.h"

enum { MAX_CALL_DEPTH = 200 };

static const Val poison = { .kind = V_POISON };

void eval_args(Elab *e, Arg *args, ArgVals *out)
{
	for (Arg *a = args; a; a = a->next)
		vec_push(e->arena, out, ((ArgVal){ a->name, eval(e, a->value), a->value->loc }));
}

/* Binding */

static ParamDecl *param_at(ParamDecl *p, int i)
{
	while (p && i-- > 0)
		p = p->next;
	return p;
}

static int index_of(ParamDecl *p, const char *name)
{
	for (int i = 0; p; p = p->next, i++)
		if (p->name == name)
			return i;
	return -1;
}

static int count_params(ParamDecl *p)
{
	int n = 0;
	for (; p; p = p->next)
		n++;
	return n;
}

static void unknown_argument(Elab *e, ParamDecl *params, const ArgVal *a, const char *callee)
{
	NameList names = {0};
	for (ParamDecl *p = params; p; p = p->next)
		vec_push(e->arena, &names, p->name);
	err(e, a->loc, "E0430", "`%s` has no argument `%s`", callee, a->name);
	suggest(e, a->name, names.at, names.len);
}

/* Which argument goes to which parameter; false after errors. */
static bool assign_args(Elab *e, ParamDecl *params, const ArgVals *args, const ArgVal **slot, Loc loc, const char *callee)
{
	int n = count_params(params), next = 0;
	bool ok = true;
	for (int i = 0; i < args->len; i++) {
		const ArgVal *a = &args->at[i];
		int at = a->name ? index_of(params, a->name) : next++;
		if (a->name && at < 0) {
			unknown_argument(e, params, a, callee);
			ok = false;
		} else if (at >= n) {
			err(e, a->loc, "E0431", "`%s` takes %d argument%s, got %d", callee, n, n == 1 ? "" : "s", args->len);
			return false;
		} else if (slot[at]) {
			err(e, a->loc, "E0439", "`%s` is given twice", param_at(params, at)->name);
			ok = false;
		} else {
			slot[at] = a;
		}
	}
	return ok;
}

static bool bind_one(Elab *e, Frame *callee, ParamDecl *p, const ArgVal *a, Loc loc, const char *name)
{
	Val v;
	if (a) {
		v = a->val;
	} else if (p->init) {
		v = eval_in(e, callee, p->init);
	} else {
		err(e, loc, "E0440", "`%s` is called without its argument `%s`", name, p->name);
		note(e, p->loc, "the argument is `%s: %s`", p->name, loc_text(p->type->loc));
		return false;
	}
	if (!match_param(e, callee, p, &v, a ? a->loc : loc, name))
		return false;
	vec_push(e->arena, &callee->vars, ((Var){ .name = p->name, .val = v, .loc = p->loc, .param = true }));
	return true;
}

/* Two arguments of which each is what the other's parameter wants, as labels before logits. */
static bool exchanged(Elab *e, ParamDecl *p, const ArgVal **slot, Loc loc, const char *callee)
{
	for (; p && p->next; p = p->next, slot++) {
		const ArgVal *a = slot[0], *b = slot[1];
		DType first = type_expr_dt(p->type), second = type_expr_dt(p->next->type);
		bool tensors = a && b && !a->name && !b->name && a->val.kind == V_TENSOR && b->val.kind == V_TENSOR;
		if (!tensors || first == second || a->val.t->type.dt != second || b->val.t->type.dt != first)
			continue;
		err(e, loc, "E0420", "`%s` wants %s, then %s, got %s and %s", callee, p->name, p->next->name, val_describe(e, a->val),
		    val_describe(e, b->val));
		help(e, "exchange the two arguments");
		return true;
	}
	return false;
}

bool bind_params(Elab *e, Frame *callee, ParamDecl *params, const ArgVals *args, Loc loc, const char *name)
{
	int n = count_params(params);
	const ArgVal **slot = NEW_ARRAY(e->arena, const ArgVal *, n + 1);
	if (!assign_args(e, params, args, slot, loc, name) || exchanged(e, params, slot, loc, name))
		return false;
	for (int i = 0; i < n; i++)
		callee->misfit |= !bind_one(e, callee, param_at(params, i), slot[i], loc, name);
	return !callee->misfit;
}

/* Blocks */

static Frame *call_frame(Elab *e, Layer *l)
{
	Frame *f = frame_new(e, l->unit, l->block);
	for (int i = 0; i < l->frame->vars.len; i++)
		vec_push(e->arena, &f->vars, l->frame->vars.at[i]);
	return f;
}

static void keep_used(Frame *from, Frame *to)
{
	for (int i = 0; i < to->vars.len; i++)
		to->vars.at[i].used |= from->vars.at[i].used;
}

static Val call_block(Elab *e, Layer *l, const ArgVals *args, Loc loc)
{
	Frame *f = call_frame(e, l);
	if (e->depth > MAX_CALL_DEPTH)
		return fail(e, loc, "E0310", "calls are nested too deeply");
	if (!bind_params(e, f, l->block->params, args, loc, l->name))
		return poison;
	e->depth++;
	Val v = run_block(e, f);
	e->depth--;
	keep_used(f, l->frame);
	return v;
}

static bool one_argument(Elab *e, Layer *l, const ArgVals *args, Loc loc)
{
	if (args->len == 1 && !args->at[0].name)
		return true;
	err(e, loc, "E0431", "`%s` takes 1 argument, got %d", l->name, args->len);
	return false;
}

/* x through all layers; other arguments go to each. */
static Val call_repeat(Elab *e, Layer *l, const ArgVals *args, Loc loc)
{
	ArgVals mine = {0};
	for (int i = 0; i < args->len; i++)
		vec_push(e->arena, &mine, args->at[i]);
	if (mine.len == 0)
		return fail(e, loc, "E0440", "`%s` is called without an argument", l->name);
	Type before = mine.at[0].val.kind == V_TENSOR ? mine.at[0].val.t->type : type_scalar(DT_NONE);
	for (int i = 0; i < l->nkids; i++) {
		Val v = call_with(e, l->kids[i], &mine, loc);
		if (v.kind == V_POISON)
			return v;
		if (v.kind != V_TENSOR || !type_eq(v.t->type, before))
			return fail(e, loc, "E0426", "`%s` repeats a layer that makes %s of %s", l->name, val_describe(e, v),
			            show_type(e, before));
		tap_residual(e, l->kids[i], v);
		mine.at[0].val = v;
	}
	return mine.at[0].val;
}

Val call_with(Elab *e, Layer *l, const ArgVals *args, Loc loc)
{
	const char *path = e->b.path;
	Val v = poison;
	e->b.path = *l->path ? l->path : NULL;
	place(e, loc);
	if (l->kind == LK_BLOCK)
		v = call_block(e, l, args, loc);
	else if (l->kind == LK_REPEAT)
		v = call_repeat(e, l, args, loc);
	else if (l->kind == LK_PARAM)
		err(e, loc, "E0441", "`%s` is a parameter, which is not called", l->name);
	else if (one_argument(e, l, args, loc))
		v = apply_layer(e, l, args->at[0].val, args->at[0].loc);
	tap_layer(e, l, v);
	e->b.path = path;
	return v;
}

Val call_layer(Elab *e, Layer *l, Expr *call)
{
	ArgVals args = {0};
	eval_args(e, call->args, &args);
	for (int i = 0; i < args.len; i++)
		if (args.at[i].val.kind == V_POISON)
			return poison;
	l->used = true;
	return call_with(e, l, &args, call->loc);
}

/* Functions */

/* The prelude's functions are the compiler's: what goes wrong in them is said at the user's line. */
static void enter_prelude(Elab *e, const Unit *u, Loc call)
{
	if (u != e->prelude || e->in_prelude)
		return;
	e->in_prelude = true;
	e->user = call;
}

static Val inline_fn(Elab *e, Unit *u, Item *fn, const ArgVals *args, Loc loc)
{
	Frame *f = frame_new(e, u, fn), *saved = e->frame;
	if (item_open(e, fn))
		return fail(e, loc, "E0310", "`%s` calls itself", fn->name);
	if (e->depth > MAX_CALL_DEPTH)
		return fail(e, loc, "E0310", "calls are nested too deeply");
	if (!bind_params(e, f, fn->params, args, loc, fn->name))
		return poison;
	enter_prelude(e, u, loc);
	e->depth++;
	e->frame = f;
	vec_push(e->arena, &e->open, fn);
	Val v = eval(e, fn->expr);
	e->open.len--;
	if (v.kind != V_POISON && !match_result(e, fn->result, v, fn->expr->loc, internf("`%s`", fn->name)))
		v = poison;
	e->frame = saved;
	e->depth--;
	return v;
}

static Val call_fn(Elab *e, Unit *u, Item *fn, const ArgVals *args, Loc loc)
{
	bool was = e->in_prelude;
	Loc user = e->user;
	for (int i = 0; i < args->len; i++)
		if (args->at[i].val.kind == V_POISON)
			return poison;
	place(e, loc);
	Val v = inline_fn(e, u, fn, args, loc);
	e->in_prelude = was;
	e->user = user;
	return v;
}

Val call_prelude(Elab *e, const char *name, Loc loc, const Val *args, int n)
{
	ArgVals list = {0};
	Item *fn = unit_item(e->prelude, I_FN, intern(name), NULL);
	if (!fn)
		bug("the prelude has no `%s`", name);
	for (int i = 0; i < n; i++)
		vec_push(e->arena, &list, ((ArgVal){ NULL, args[i], loc }));
	return call_fn(e, e->prelude, fn, &list, loc);
}

/* llama3(factor=32, ..) and its like: values of a `rope` config. */
static bool is_rope_kind(const char *name)
{
	static const char *const kinds[] = { "linear", "llama3", "yarn", "dynamic", "longrope" };
	for (int i = 0; i < COUNT(kinds); i++)
		if (strcmp(kinds[i], name) == 0)
			return true;
	return false;
}

static Val rope_kind(Elab *e, Expr *x)
{
	ArgVals args = {0};
	eval_args(e, x->args, &args);
	Val v = { .kind = V_CALL, .known = true, .s = x->a->name, .nitems = args.len };
	v.items = NEW_ARRAY(e->arena, Val, args.len + 1);
	v.names = NEW_ARRAY(e->arena, const char *, args.len + 1);
	for (int i = 0; i < args.len; i++) {
		v.items[i] = args.at[i].val;
		v.names[i] = args.at[i].name;
		if (v.items[i].kind == V_POISON)
			return poison;
	}
	return v;
}

static Val unknown_function(Elab *e, Expr *x)
{
	NameList names = {0};
	const char *name = x->a->name;
	for (int i = 0; i < e->frame->vars.len; i++)
		if (e->frame->vars.at[i].declared)
			vec_push(e->arena, &names, e->frame->vars.at[i].name);
	unit_names(e, e->frame->unit, I_FN, &names);
	unit_names(e, e->frame->unit, I_MODEL, &names);
	unit_names(e, e->prelude, I_FN, &names);
	builtin_names(e, &names);
	Val v = fail(e, x->a->loc, "E0312", "there is no layer or function `%s`", name);
	if (unit_item(e->frame->unit, I_MODEL, name, NULL))
		help(e, "`%s` is a model: entries call models; a block has layers and other blocks", name);
	else if (unit_item(e->frame->unit, I_BLOCK, name, NULL))
		help(e, "`%s` is a block: declare a layer of it first, `layer: %s`", name, name);
	else if (strcmp(name, "linear") == 0 || strcmp(name, "embedding") == 0 || strcmp(name, "rmsnorm") == 0 ||
	         strcmp(name, "layernorm") == 0 || strcmp(name, "conv1d") == 0 || strcmp(name, "conv2d") == 0)
		help(e, "`%s` is a kind of layer: declare one first, `layer: %s(..)`", name, name);
	else
		suggest(e, name, names.at, names.len);
	for (Arg *a = x->args; a; a = a->next)
		if (a->value->kind != E_ARROW)   /* what a misspelt rearrange may take */
			eval(e, a->value);
	return v;
}

static Val call_named(Elab *e, Expr *x)
{
	const char *name = x->a->name;
	Unit *owner;
	const Builtin *b;
	Layer *model = model_layer(e, name);
	if (model) {
		fact_item(e, x->a->loc, model->block);
		return call_layer(e, model, x);
	}
	if (e->frame->item && e->frame->item->kind == I_ENTRY && unit_item(e->frame->unit, I_MODEL, name, NULL))
		return poison;   /* a model whose errors are reported already */
	Item *fn = unit_item(e->frame->unit, I_FN, name, &owner);
	if (!fn && (fn = unit_item(e->prelude, I_FN, name, NULL)))
		owner = e->prelude;
	if (fn) {
		ArgVals args = {0};
		fact_item(e, x->a->loc, fn);
		eval_args(e, x->args, &args);
		return call_fn(e, owner, fn, &args, x->loc);
	}
	if ((b = builtin_find(name))) {
		fact_builtin(e, x->a->loc, b);
		return builtin_call(e, b, x);
	}
	if (is_rope_kind(name) && !e->frame->item)
		return rope_kind(e, x);
	return unknown_function(e, x);
}

static Val call_of(Elab *e, Expr *x)
{
	if (x->a->kind == E_NAME && !frame_var(e->frame, x->a->name))
		return call_named(e, x);
	Val callee = eval(e, x->a);
	if (callee.kind == V_LAYER)
		return call_layer(e, callee.layer, x);
	if (callee.kind == V_POISON) {
		for (Arg *a = x->args; a; a = a->next)
			eval(e, a->value);
		return poison;
	}
	return fail(e, x->a->loc, "E0442", "%s cannot be called", val_describe(e, callee));
}

Val eval_call(Elab *e, Expr *x)
{
	Val v = call_of(e, x);
	fact_result(e, x->a->loc, v);
	return v;
}
