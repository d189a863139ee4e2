/* outline.c: what a model file declares, with numbers and without graphs: the tree of layers, every weight with its
 * path in the file, and the entries' settings. Walks the layers that layers.c has instantiated. A weight belongs to
 * the first layer that has it; others that use it share it. */
#include "frontend/elab.h"

typedef struct Walk { Elab *e; Outline *out; int next; } Walk;   /* next: the weight that most likely follows */

static OutlineLayer *walk(Walk *, Layer *, Ctor *, const char *name, const char *field);

static Where where_of(Loc l)
{
	return (Where){.file = l.src ? l.src->name : NULL, .line = loc_line(l), .col = loc_col(l)};
}

/* The declaration of a field, which may stand inside an `if`. */
static Ctor *ctor_of(Stmt *s, const char *name)
{
	for (; s; s = s->next) {
		for (Name *n = s->kind == S_DECLARE ? s->names : NULL; n; n = n->next)
			if (n->name == name)
				return s->ctor;
		Ctor *c = s->kind == S_IF || s->kind == S_FOR ? ctor_of(s->body, name) : NULL;
		if (!c && s->kind == S_IF)
			c = ctor_of(s->other, name);
		if (c)
			return c;
	}
	return NULL;
}

static int weight_index(Walk *w, const Weight *x)
{
	int n = w->e->weights.len;
	if (x->same)
		x = x->same;
	for (int k = 0; k < n; k++) {
		int i = (w->next + k) % n;
		if (w->e->weights.at[i] == x) {
			w->next = i + 1;
			return i;
		}
	}
	return -1;
}

static void add_weight(Walk *w, OutlineLayer *to, const Weight *x, const char *field, const char *leaf)
{
	Arena *a = w->e->arena;
	int i = x ? weight_index(w, x) : -1;
	if (i < 0)
		return;
	OutlineWeight *o = &w->out->weights.at[i];
	if (o->path) {
		vec_push(a, &to->shared, i);
		return;
	}
	int64_t n = 0;
	o->path = *leaf ? internf("%s.%s", field, leaf) : field;
	o->loc = where_of(x->loc);
	dim_is_const(type_elems(x->type), &n);
	to->parameters += n;
	vec_push(a, &to->weights, i);
}

/* What an adapter adds has a place, but is none of the layer's own parameters. */
static void place_adapter(Walk *w, const Layer *l, const char *field)
{
	static const char *const leaf[] = { "lora_A.weight", "lora_B.weight" };
	for (int k = 0; l->adapter && k < COUNT(leaf); k++) {
		OutlineWeight *o = &w->out->weights.at[weight_index(w, l->lora[k])];
		o->path = internf("%s.%s", field, leaf[k]);
		o->loc = where_of(l->loc);
	}
}

static void add_kid(Walk *w, OutlineLayer *to, OutlineLayer *kid)
{
	to->parameters += kid->parameters;
	vec_push(w->e->arena, &to->kids, kid);
}

static void walk_fields(Walk *w, OutlineLayer *to, Layer *l, const char *field)
{
	for (int i = 0; i < l->frame->vars.len; i++) {
		Var *v = &l->frame->vars.at[i];
		if (!v->declared || v->val.kind != V_LAYER)
			continue;
		const char *path = *field ? internf("%s.%s", field, v->name) : v->name;
		add_kid(w, to, walk(w, v->val.layer, ctor_of(l->block->body, v->name), v->name, path));
	}
}

/* As the file has it, if that is one line. */
static const char *text_of_ctor(const Ctor *c)
{
	Str s = {0};
	const char *own = loc_text(c->loc);
	if (!strpbrk(own, "\n\t"))
		return own;
	ast_print_ctor(&s, c);
	const char *text = intern(s.at);
	str_free(&s);
	return text;
}

static OutlineLayer *walk(Walk *w, Layer *l, Ctor *c, const char *name, const char *field)
{
	OutlineLayer *o = NEW(w->e->arena, OutlineLayer);
	*o = (OutlineLayer){.name = name, .text = c ? text_of_ctor(c) : l->name, .path = l->path, .loc = where_of(l->loc),
	                    .repeat = l->kind == LK_REPEAT};
	for (int i = 0; i < l->nkids; i++)
		add_kid(w, o, walk(w, l->kids[i], c ? c->of : NULL, internf("%d", i), internf("%s[%d]", field, i)));
	if (l->frame)
		walk_fields(w, o, l, field);
	add_weight(w, o, l->weight, field, l->kind == LK_PARAM ? "" : "weight");
	add_weight(w, o, l->bias, field, "bias");
	place_adapter(w, l, field);
	return o;
}

/* Elements of the parameters that this train entry's `freeze` lines, and the weights block's, leave to be trained; of adapters' its own. */
static int64_t trained_by(Elab *e, Item *it)
{
	Module *m = e->mod;
	Entry own = { .kind = ENTRY_TRAIN };
	int64_t total = 0;
	for (Stmt *s = it->body; s; s = s->next)
		if (s->kind == S_SETTING && strcmp(s->setting, "freeze") == 0)
			weights_freeze(e, &own, s);
	adapters_freeze(e, it, &own);
	for (int i = 0; i < m->params.len; i++) {
		int64_t n = 0;
		dim_is_const(type_elems(m->params.at[i].type), &n);
		total += entry_freezes(m, &own, &m->params.at[i]) ? 0 : n;
	}
	return total;
}

static void add_entry(Elab *e, Outline *out, Item *it)
{
	OutlineEntry o = {.loc = where_of(it->loc)};
	o.entry = entry_settings(e, it, &o.dims, &o.left_out);
	if (!o.entry)
		return;
	o.trained = o.entry->kind == ENTRY_TRAIN ? trained_by(e, it) : 0;
	vec_push(e->arena, &out->entries, o);
}

Outline *outline_make(Elab *e)
{
	int before = diag_errors();
	Outline *out = NEW(e->arena, Outline);
	Module *m = e->mod;
	out->mod = m;
	for (int i = 0; i < m->params.len; i++)
		vec_push(e->arena, &out->weights, ((OutlineWeight){.param = &m->params.at[i]}));
	Walk w = {.e = e, .out = out};
	for (int i = 0; i < e->models.len; i++) {
		Layer *l = e->models.at[i];
		OutlineLayer *o = walk(&w, l, NULL, l->name, "");
		out->parameters += o->parameters;
		vec_push(e->arena, &out->models, o);
	}
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_ENTRY)
			add_entry(e, out, it);
	return diag_errors() == before ? out : NULL;
}
