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

static void add_use(Elab *e, Unit *u, Item *it)
{
	Unit *used = unit_load(e, beside(e, u->path, it->file), it->file_loc);
	if (!used)
		return;
	apply_with(e, u, used, it->sets);
	vec_push(e->arena, &u->used, used);
	for (Name *n = it->names; n; n = n->next) {
		Unit *owner;
		bool found = unit_item(used, I_BLOCK, n->name, &owner) || unit_item(used, I_FN, n->name, &owner)
			|| unit_item(used, I_MODEL, n->name, &owner);
		if (!found) {
			NameList names = {0};
			unit_names(e, used, I_BLOCK, &names);
			unit_names(e, used, I_FN, &names);
			err(e, n->loc, "E0702", "%s has no block, fn or model `%s`", used->name, n->name);
			suggest(e, n->name, names.at, names.len);
			continue;
		}
		vec_push(e->arena, &u->uses, ((Use){ n->name, owner }));
	}
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
			if (b->kind == I_ENTRY && (a->name ? a->name : a->entry) == (b->name ? b->name : b->entry))
				err(e, a->loc, "E0302", "there are two entries `%s`", a->name ? a->name : a->entry);
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

enum { MAX_USE_DEPTH = 16 };

Unit *unit_load(Elab *e, const char *path, Loc at)
{
	if (e->depth >= MAX_USE_DEPTH) {
		err(e, at, "E0703", "files use one another in a circle");
		return NULL;
	}
	File *f = parse_file(e->arena, path);
	if (!f) {
		err(e, at, "E0704", "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	e->depth++;
	Unit *u = unit_of(e, path, f);
	e->depth--;
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
			Item *it = unit_item(u->uses.at[i].unit, kind, name, owner);
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
