/* scope.c: the names inside one body. A Frame has a block's parameters, layers and variables, and what its
 * caller bound the run-time dims to. Looking outward: the unit's config and dims, then those of used files. */
#include "frontend/elab.h"

#include <ctype.h>

Frame *frame_new(Elab *e, Unit *u, Item *item)
{
	Frame *f = NEW(e->arena, Frame);
	f->unit = u;
	f->item = item;
	f->nrest = -1;
	return f;
}

Var *frame_var(Frame *f, const char *name)
{
	for (int i = 0; i < f->vars.len; i++)
		if (f->vars.at[i].name == name)
			return &f->vars.at[i];
	return NULL;
}

void frame_set(Elab *e, const char *name, Loc loc, Val val)
{
	Var *v = frame_var(e->frame, name);
	if (v && v->declared) {
		err(e, loc, "E0303", "`%s` is a layer; a variable needs another name", name);
		note(e, v->loc, "declared here");
		return;
	}
	fact_value(e, loc, name, val, v ? v->loc : loc);
	if (v) {
		v->val = val;
		return;
	}
	vec_push(e->arena, &e->frame->vars, ((Var){ .name = name, .val = val, .loc = loc }));
}

const Dim *frame_dim(Frame *f, const char *name)
{
	for (int i = 0; i < f->dims.len; i++)
		if (f->dims.at[i].name == name)
			return f->dims.at[i].dim;
	return NULL;
}

void frame_bind(Elab *e, Frame *f, const char *name, const Dim *d)
{
	vec_push(e->arena, &f->dims, ((DimBinding){ name, d }));
}

/* Set together with a variable that is used: its name had to be there. */
static bool rides_along(const Frame *f, const Var *v)
{
	for (int i = 0; v->unpacked && i < f->vars.len; i++)
		if (f->vars.at[i].unpacked == v->unpacked && f->vars.at[i].used)
			return true;
	return false;
}

/* Whether the file says `.name` somewhere: an entry or another block may use a layer as a field, `M.head(h)`. */
static bool is_field_somewhere(const Frame *f, const char *name)
{
	const Source *src = f->unit->file->src;
	size_t n = strlen(name);
	const char *end = src->text + src->len;
	for (const char *p = src->text; (p = memmem(p, (size_t)(end - p), name, n)); p += n)
		if (p > src->text && p[-1] == '.' && (p + n == end || (!isalnum((unsigned char)p[n]) && p[n] != '_')))
			return true;
	return false;
}

void frame_unused(Elab *e, Frame *f)
{
	for (int i = 0; i < f->vars.len; i++) {
		Var *v = &f->vars.at[i];
		if (v->declared && !v->used && is_field_somewhere(f, v->name))
			continue;
		if (v->declared && !v->used)
			warn(e, v->loc, "W0301", "`%s` is declared but never used", v->name);
		else if (v->param && !v->used)
			warn(e, v->loc, "W0302", "the parameter `%s` is never used", v->name);
		else if (!v->used && !v->param && !rides_along(f, v))
			warn(e, v->loc, "W0303", "the value of `%s` is never used", v->name);
	}
}

/* Choices: a name in oneof(..) of a config value or of a block's static argument stands for itself. */

static bool offers(const TypeExpr *te, const char *name)
{
	if (!te || !te->elem || strcmp(te->elem, "oneof") != 0)
		return false;
	for (const Expr *x = te->elem_args; x; x = x->next)
		if (x->name == name)
			return true;
	return false;
}

static bool is_choice(const Unit *u, const char *name)
{
	for (int i = 0; i < u->config.len; i++)
		if (offers(u->config.at[i].decl->type, name))
			return true;
	for (const Item *it = u->file->items; it; it = it->next)
		for (int k = 0; k < 2; k++)
			for (const ParamDecl *p = k ? it->params : it->statics; p; p = p->next)
				if (offers(p->type, name))
					return true;
	for (int i = 0; i < u->used.len; i++)
		if (is_choice(u->used.at[i], name))
			return true;
	return false;
}

static Val unknown_name(Elab *e, Expr *x)
{
	NameList names = {0};
	Frame *f = e->frame;
	for (int i = 0; i < f->vars.len; i++)
		vec_push(e->arena, &names, f->vars.at[i].name);
	unit_names(e, f->unit, I_CONFIG, &names);
	unit_names(e, f->unit, I_DIM, &names);
	vec_push(e->arena, &names, "causal");
	if (x->name[0] >= 'A' && x->name[0] <= 'Z') {   /* a dim: one error, wherever it is used */
		for (int i = 0; i < e->unknown.len; i++)
			if (e->unknown.at[i] == x->name)
				return (Val){ .kind = V_POISON };
		vec_push(e->arena, &e->unknown, x->name);
	}
	Val v = fail(e, x->loc, "E0301", "nothing here is called `%s`", x->name);
	if (diag_nearest(x->name, names.at, names.len))
		suggest(e, x->name, names.at, names.len);
	else if (x->name[0] >= 'A' && x->name[0] <= 'Z')
		help(e, "`dim %s` declares a dim of run time, `%s: dim = 8` in the config one that is fixed when compiling", x->name, x->name);
	return v;
}

static Val unbound_dim(Elab *e, Expr *x)
{
	if (e->frame->misfit)
		return (Val){ .kind = V_POISON };
	const char *who = e->frame->item && e->frame->item->name ? e->frame->item->name : "this";
	Val v = fail(e, x->loc, "E0304", "`%s` is a run-time dim that no parameter of `%s` has", x->name, who);
	help(e, "a block call binds its dims from the shapes of its arguments");
	return v;
}

Val name_lookup(Elab *e, Expr *x)
{
	Frame *f = e->frame;
	Unit *owner;
	Var *v = frame_var(f, x->name);
	if (v) {
		v->used = true;
		fact_value(e, x->loc, x->name, v->val, v->loc);
		if (v->val.kind == V_LAYER && v->val.layer->kind == LK_PARAM)
			return val_tensor(weight_value(e, v->val.layer->weight));
		return v->val;
	}
	const Dim *d = frame_dim(f, x->name);
	if (d) {
		fact_dim(e, x->loc, unit_dim(f->unit, x->name, NULL), val_int(d));
		return val_int(d);
	}
	ConfigVal *c = unit_config(f->unit, x->name, &owner);
	if (c) {
		fact_config(e, x->loc, c);
		return config_value(e, owner, c);
	}
	if (unit_dim(f->unit, x->name, NULL))
		return unbound_dim(e, x);
	if (strcmp(x->name, "causal") == 0 || strcmp(x->name, "all") == 0)
		return mask_named(e, x->name);
	Layer *m = model_layer(e, x->name);
	if (m)
		return (Val){ .kind = V_LAYER, .layer = m };
	return is_choice(f->unit, x->name) ? val_string(x->name) : unknown_name(e, x);
}
