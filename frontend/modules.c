/* modules.c: units, that is files with what they declare, and `use A from "f" with {..}`.
 * A used file's config and run-time dims are visible to the user's file where it has none of that name. */
#include "frontend/elab.h"

#include <errno.h>
#include <stdlib.h>

static void add_config(Elab *e, Unit *u, Config *first)
{
	for (Config *c = first; c; c = c->next) {
		for (int i = 0; i < u->config.len; i++)
			if (u->config.at[i].decl->name == c->name) {
				err(e, c->loc, "E0302", "`%s` is already in the config", c->name);
				note(e, u->config.at[i].decl->loc, "declared here first");
			}
		ConfigVal v = { .decl = c, .expr = c->value, .where = u, .loc = c->loc };
		vec_push(e->arena, &u->config, v);
	}
}

static void add_dims(Elab *e, Unit *u, Item *it)
{
	Expr *bound = it->bounds;
	for (Name *n = it->dims; n; n = n->next) {
		for (int i = 0; i < u->config.len; i++)
			if (u->config.at[i].decl->name == n->name)
				err(e, n->loc, "E0302", "`%s` is a config value already", n->name);
		for (int i = 0; i < u->dims.len; i++)
			if (u->dims.at[i].name == n->name)
				err(e, n->loc, "E0302", "`dim %s` is declared twice", n->name);
		vec_push(e->arena, &u->dims, ((DimDecl){ n->name, n->loc, bound, 0 }));
	}
}

static const char *beside(Elab *e, const char *path, const char *file)
{
	const char *slash = strrchr(path, '/');
	while (file[0] == '.' && file[1] == '/')
		file += 2;
	if (file[0] == '/' || !slash)
		return file;
	return arena_printf(e->arena, "%.*s/%s", (int)(slash - path), path, file);
}

/* `with { D = 384 }`: evaluated in the file that says it. */
static void apply_with(Elab *e, Unit *user, Unit *used, Set *sets)
{
	for (Set *s = sets; s; s = s->next) {
		ConfigVal *c = unit_config(used, s->name, NULL);
		if (!c) {
			NameList names = {0};
			unit_names(e, used, I_CONFIG, &names);
			err(e, s->loc, "E0701", "%s has no config value `%s`", used->name, s->name);
			suggest(e, s->name, names.at, names.len);
			continue;
		}
		c->expr = s->value;
		c->where = user;
		c->loc = s->loc;
	}
}

/* The unit that an item of u called `name` is in; NULL. */
static Unit *owner_of(Unit *u, const char *name)
{
	Unit *owner = NULL;
	static const ItemKind kinds[] = { I_BLOCK, I_FN, I_MODEL };
	for (int i = 0; i < COUNT(kinds); i++)
		if (unit_item(u, kinds[i], name, &owner))
			return owner;
	return NULL;
}

static void use_name(Elab *e, Unit *u, Unit *used, Name *n)
{
	const char *name = n->as ? n->as : n->name;
	Unit *owner = owner_of(used, n->name);
	if (!owner) {
		NameList names = {0};
		unit_names(e, used, I_BLOCK, &names);
		unit_names(e, used, I_FN, &names);
		err(e, n->loc, "E0702", "%s has no block, fn or model `%s`", used->name, n->name);
		suggest(e, n->name, names.at, names.len);
		return;
	}
	for (int i = 0; i < u->uses.len; i++)
		if (u->uses.at[i].name == name) {
			err(e, n->loc, "E0302", "`%s` is used twice", name);
			note(e, u->uses.at[i].loc, "used here first");
			help(e, "`use %s as Other from ..` gives it another name", n->name);
			return;
		}
	vec_push(e->arena, &u->uses, ((Use){ name, n->name, owner, n->loc }));
}

/* The file as u uses it already, with its defaults; NULL. */
static Unit *used_before(Unit *u, const char *path)
{
	for (int i = 0; i < u->used.len; i++)
		if (!u->used.at[i]->item->sets && strcmp(u->used.at[i]->path, path) == 0)
			return u->used.at[i];
	return NULL;
}

/* Dims of one file that is there twice are not the same dims. */
static const char *tag_of(const Unit *u, const Unit *used)
{
	int before = 0;
	for (int i = 0; i < u->used.len; i++)
		before += strcmp(u->used.at[i]->name, used->name) == 0;
	return before ? internf("%s#%d", used->name, before + 1) : used->name;
}

static void add_use(Elab *e, Unit *u, Item *it)
{
	const char *path = beside(e, u->path, it->file);
	Unit *used = it->sets ? NULL : used_before(u, path);
	if (!used) {
		if (!(used = unit_load(e, path, it->file_loc)))
			return;
		used->item = it;
		used->tag = tag_of(u, used);
		apply_with(e, u, used, it->sets);
		vec_push(e->arena, &u->used, used);
	}
	for (Name *n = it->names; n; n = n->next)
		use_name(e, u, used, n);
}

static bool is_named(ItemKind k)
{
	return k == I_BLOCK || k == I_FN || k == I_MODEL || k == I_PRESET;
}

static void find_doubles(Elab *e, File *f)
{
	for (Item *a = f->items; a; a = a->next)
		for (Item *b = f->items; is_named(a->kind) && b != a; b = b->next)
			if (is_named(b->kind) && b->name == a->name && (a->kind == I_PRESET) == (b->kind == I_PRESET)) {
				err(e, a->name_loc, "E0302", "`%s` is declared twice", a->name);
				note(e, b->name_loc, "declared here first");
			}
}

static void find_double_entries(Elab *e, File *f)
{
	for (Item *a = f->items; a; a = a->next)
		for (Item *b = f->items; a->kind == I_ENTRY && b != a; b = b->next)
			if (b->kind == I_ENTRY && entry_called(a) == entry_called(b))
				err(e, a->loc, "E0302", "there are two entries `%s`", entry_called(a));
}

static Unit *unit_of(Elab *e, const char *path, File *f)
{
	Unit *u = NEW(e->arena, Unit);
	const char *slash = strrchr(path, '/');
	u->path = path;
	u->name = slash ? slash + 1 : path;
	u->file = f;
	for (Item *it = f->items; it; it = it->next)
		if (it->kind == I_CONFIG)
			add_config(e, u, it->config);
	for (Item *it = f->items; it; it = it->next) {
		if (it->kind == I_DIM)
			add_dims(e, u, it);
		if (it->kind == I_USE)
			add_use(e, u, it);
	}
	find_doubles(e, f);
	find_double_entries(e, f);
	return u;
}

enum { MAX_USE_DEPTH = 16, MAX_UNITS = 200 };

/* A file that is being read already, or endlessly many: "a/../a/../a.sinter" is known by its depth. */
static bool may_load(Elab *e, const char *path, Loc at)
{
	bool circle = e->loading.len >= MAX_USE_DEPTH;
	for (int i = 0; i < e->loading.len; i++)
		circle |= strcmp(e->loading.at[i], path) == 0;
	if (circle) {
		err(e, at, "E0703", "files use one another in a circle");
		return false;
	}
	if (e->units++ < MAX_UNITS)
		return true;
	if (e->units == MAX_UNITS + 1)
		err(e, at, "E0703", "more than %d files are used, counting each as often as it is used", MAX_UNITS);
	return false;
}

Unit *unit_load(Elab *e, const char *path, Loc at)
{
	if (!may_load(e, path, at))
		return NULL;
	const FrontendOptions *o = e->options;
	Source *src = o && o->read ? o->read(o->read_ctx, e->arena, path) : source_read(e->arena, path);
	File *f = src ? parse_text(e->arena, src) : NULL;
	if (!f) {
		err(e, at, "E0704", "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	vec_push(e->arena, &e->loading, path);
	Unit *u = unit_of(e, path, f);
	e->loading.len--;
	return u;
}

Unit *unit_of_text(Elab *e, const Source *src)
{
	File *f = parse_text(e->arena, src);
	return f ? unit_of(e, src->name, f) : NULL;
}

Item *unit_item(Unit *u, ItemKind kind, const char *name, Unit **owner)
{
	for (Item *it = u->file->items; it; it = it->next)
		if (it->kind == kind && it->name == name) {
			if (owner)
				*owner = u;
			return it;
		}
	for (int i = 0; i < u->uses.len; i++)
		if (u->uses.at[i].name == name && u->uses.at[i].unit != u) {
			Item *it = unit_item(u->uses.at[i].unit, kind, u->uses.at[i].of, owner);
			if (it)
				return it;
		}
	return NULL;
}

ConfigVal *unit_config(Unit *u, const char *name, Unit **owner)
{
	for (int i = 0; i < u->config.len; i++)
		if (u->config.at[i].decl->name == name) {
			if (owner)
				*owner = u;
			return &u->config.at[i];
		}
	for (int i = 0; i < u->used.len; i++) {
		ConfigVal *c = unit_config(u->used.at[i], name, owner);
		if (c)
			return c;
	}
	return NULL;
}

DimDecl *unit_dim(Unit *u, const char *name, Unit **owner)
{
	for (int i = 0; i < u->dims.len; i++)
		if (u->dims.at[i].name == name) {
			if (owner)
				*owner = u;
			return &u->dims.at[i];
		}
	for (int i = 0; i < u->used.len; i++) {
		DimDecl *d = unit_dim(u->used.at[i], name, owner);
		if (d)
			return d;
	}
	return NULL;
}

void unit_names(Elab *e, Unit *u, ItemKind kind, NameList *out)
{
	if (kind == I_CONFIG)
		for (int i = 0; i < u->config.len; i++)
			vec_push(e->arena, out, u->config.at[i].decl->name);
	if (kind == I_DIM)
		for (int i = 0; i < u->dims.len; i++)
			vec_push(e->arena, out, u->dims.at[i].name);
	for (Item *it = u->file->items; it && kind != I_CONFIG && kind != I_DIM; it = it->next)
		if (it->kind == kind && it->name)
			vec_push(e->arena, out, it->name);
	for (int i = 0; i < u->used.len && kind != I_PRESET; i++)
		unit_names(e, u->used.at[i], kind, out);
}
