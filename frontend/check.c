/* check.c: check mode over a whole file, and the two public functions. Each block is checked on its own once, with
 * its declared parameter types; then fns, models, the weights block and the entries. */
#include "frontend/elab.h"

static void fresh_module(Elab *e)
{
	e->mod = module_new(e->arena);
	e->weights.len = 0;
	e->b = (Builder){ .g = graph_new(e->mod->arena, "check") };
}

static void param_placeholders(Elab *e, ParamDecl *params)
{
	for (ParamDecl *p = params; p; p = p->next) {
		Val v = placeholder(e, p->type, p->name, p->loc);
		vec_push(e->arena, &e->frame->vars, ((Var){ .name = p->name, .val = v, .loc = p->loc, .param = true }));
	}
}

static void check_duplicates(Elab *e, ParamDecl *params)
{
	for (ParamDecl *p = params; p; p = p->next)
		for (ParamDecl *q = params; q != p; q = q->next)
			if (q->name == p->name)
				err(e, p->loc, "E0302", "`%s` is declared twice", p->name);
}

static ArgVals static_placeholders(Elab *e, Item *it)
{
	ArgVals args = {0};
	for (ParamDecl *p = it->statics; p; p = p->next)
		vec_push(e->arena, &args, ((ArgVal){ NULL, placeholder(e, p->type, p->name, p->loc), p->loc }));
	return args;
}

/* Blocks and models. A block that returns without a fault is also searched for what it never uses. */
static void check_block(Elab *e, Item *it)
{
	int before = diag_errors();
	fresh_module(e);
	e->frame = frame_new(e, e->root, it);
	check_duplicates(e, it->params);
	check_duplicates(e, it->statics);
	ArgVals statics = static_placeholders(e, it);
	Layer *l = layer_of_block(e, e->root, it, it->name, intern(""), it->name_loc, &statics);
	if (!l)
		return;
	Frame *f = l->frame;
	e->frame = f;
	fact_layer(e, it, l);
	bind_dims_of(e, it->params);
	param_placeholders(e, it->params);
	run_block(e, f);
	facts_frame(e, f);
	if (diag_errors() == before)
		frame_unused(e, f);
}

static void check_fn(Elab *e, Item *it)
{
	fresh_module(e);
	Frame *f = e->frame = frame_new(e, e->root, it);
	check_duplicates(e, it->params);
	bind_dims_of(e, it->params);
	param_placeholders(e, it->params);
	Val v = eval(e, it->expr);
	e->frame = f;
	facts_frame(e, f);
	if (v.kind != V_POISON)
		match_result(e, it->result, v, it->expr->loc, internf("`%s`", it->name));
}

static bool is_among(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Its `compile on_request`; NULL: it says nothing of the kind. */
static Stmt *on_request(Item *it)
{
	Stmt *s = it->body;
	while (s && (s->kind != S_SETTING || strcmp(s->setting, "compile") != 0))
		s = s->next;
	return s;
}

/* What is compiled only on request is checked in any case. */
static bool wanted(Elab *e, Item *it)
{
	const FrontendOptions *o = e->options;
	const char *name = entry_called(it);
	if (!o || is_among(o->with, o->nwith, name))
		return true;
	return o->nentries ? is_among(o->entries, o->nentries, name) : e->symbolic || !on_request(it);
}

static void check_wanted(Elab *e)
{
	NameList names = {0};
	const FrontendOptions *o = e->options;
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_ENTRY)
			vec_push(e->arena, &names, entry_called(it));
	for (int i = 0; o && i < o->nentries + o->nwith; i++) {
		const char *name = i < o->nentries ? o->entries[i] : o->with[i - o->nentries];
		if (is_among(names.at, names.len, name))
			continue;
		err(e, (Loc){0}, "E0603", "%s has no entry `%s`", e->root->name, name);
		suggest(e, name, names.at, names.len);
	}
}

/* "train.micro": the part before the dot must be an entry. */
static void check_entry_sets(Elab *e)
{
	NameList names = {0};
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_ENTRY)
			vec_push(e->arena, &names, entry_called(it));
	for (int i = 0; e->options && i < e->options->nsets; i++) {
		const char *text = e->options->sets[i];
		size_t n = strcspn(text, ".=");
		bool found = text[n] != '.' || strcspn(text, ".") > strcspn(text, "=");
		const char *name = intern_n(text, n);
		for (int k = 0; k < names.len; k++)
			found |= names.at[k] == name;
		if (found)
			continue;
		err(e, (Loc){0}, "E0603", "--set %s: there is no entry `%s`", text, name);
		suggest(e, name, names.at, names.len);
	}
}

/* Those of the entries that are compiled. */
static void adapters_of(Elab *e)
{
	e->adapters.len = 0;
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_ENTRY && wanted(e, it) && strcmp(it->entry, "train") == 0)
			adapters_collect(e, it);
}

static bool check_file(Elab *e)
{
	int before = diag_errors();
	e->symbolic = true;
	fresh_module(e);
	bounds_symbolic(e, e->root);
	for (Item *it = e->root->file->items; it; it = it->next) {
		if (it->kind == I_BLOCK || it->kind == I_MODEL)
			check_block(e, it);
		if (it->kind == I_FN)
			check_fn(e, it);
	}
	fresh_module(e);
	adapters_of(e);
	models_instantiate(e);
	weights_apply(e, e->root);
	check_wanted(e);
	check_entry_sets(e);
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_ENTRY && wanted(e, it)) {
			bounds_symbolic(e, e->root);
			entry_elaborate(e, it);
		}
	e->symbolic = false;
	return diag_errors() == before;
}

/* Building */

static const char *module_name(Unit *u)
{
	for (Item *it = u->file->items; it; it = it->next)
		if (it->kind == I_MODEL)
			return it->name;
	return u->name;
}

/* With numbers: config, models and their parameters, no entries. */
static Module *declare_module(Elab *e)
{
	fresh_module(e);
	Module *m = e->mod;
	m->name = module_name(e->root);
	m->file = e->root->path;
	m->doc = e->root->file->doc;
	e->bounds.len = 0;
	config_record(e);
	models_instantiate(e);
	weights_apply(e, e->root);
	return m;
}

static Module *build_module(Elab *e)
{
	int before = diag_errors();
	adapters_of(e);
	Module *m = declare_module(e);
	for (Item *it = e->root->file->items; it; it = it->next) {
		Entry *entry = it->kind == I_ENTRY && wanted(e, it) ? entry_elaborate(e, it) : NULL;
		if (entry)
			vec_push(e->arena, &m->entries, entry);
	}
	return diag_errors() == before ? m : NULL;
}

static Elab *elab_new(Arena *arena, const FrontendOptions *options)
{
	Elab *e = NEW(arena, Elab);
	e->arena = arena;
	e->options = options;
	e->b.g = graph_new(arena, "config");
	e->prelude = unit_prelude(e);
	return e;
}

static Elab *begin(Arena *arena, const char *path, const FrontendOptions *options)
{
	int before = diag_errors();
	Elab *e = elab_new(arena, options);
	e->root = unit_load(e, intern(path), (Loc){0});
	if (!e->prelude || !e->root || diag_errors() != before)
		return NULL;
	bool ok = config_load(e, options);
	config_require(e, e->root);
	return ok && diag_errors() == before && check_file(e) ? e : NULL;
}

/* What the numbers of the config decide: counts of layers, names of tensors, bounds. Builds no graphs. */
static Outline *check_numbers(Elab *e)
{
	int before = diag_errors();
	declare_module(e);
	return diag_errors() == before ? outline_make(e) : NULL;
}

bool frontend_check(Arena *arena, const char *path, const FrontendOptions *options)
{
	Elab *e = begin(arena, path, options);
	return e && check_numbers(e);
}

Module *frontend_build(Arena *arena, const char *path, const FrontendOptions *options)
{
	Elab *e = begin(arena, path, options);
	return e ? build_module(e) : NULL;
}

Outline *frontend_outline(Arena *arena, const char *path, const FrontendOptions *options)
{
	Elab *e = begin(arena, path, options);
	return e ? check_numbers(e) : NULL;
}

/* After errors of syntax or of the config the rest is still looked at, silently: what it would say follows from them. */
Facts *frontend_facts(Arena *arena, const char *path, const FrontendOptions *options)
{
	int before = diag_errors();
	Elab *e = elab_new(arena, options);
	e->facts = facts_begin(e);
	e->facts_out = NEW(arena, Facts);
	e->root = unit_load(e, intern(path), (Loc){0});
	if (!e->root)
		return NULL;
	e->silent = diag_errors() != before;
	config_load(e, options);
	config_require(e, e->root);
	e->silent = diag_errors() != before;
	bool ok = check_file(e) && !e->silent;
	e->silent = e->symbolic = true;
	facts_of_file(e);
	Facts *facts = facts_end(e);
	e->facts = NULL;
	e->silent = e->symbolic = false;
	if (ok)
		check_numbers(e);
	return facts;
}
