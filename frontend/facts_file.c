/* facts_file.c: what editors ask of a file as a whole: its declarations as a tree of symbols with their ranges, the
 * names that may be written where, and the facts of names that checking never evaluates: `use`, presets, entries. */
#include "frontend/elab.h"

/* From the item's start over its body: to the brace that closes the first one after `from`. */
static Loc with_body(Loc l)
{
	const char *text = l.src->text;
	int open = 0;
	for (uint32_t i = l.end; i < l.src->len; i++) {
		if (text[i] == '#')
			while (i + 1 < l.src->len && text[i + 1] != '\n')
				i++;
		else if (text[i] == '"')
			for (i++; i < l.src->len && text[i] != '"' && text[i] != '\n'; i++)
				i += text[i] == '\\';
		else if (text[i] == '{')
			open++;
		else if (text[i] == '}' && --open <= 0)
			return (Loc){ l.src, l.at, i + 1 };
	}
	return (Loc){ l.src, l.at, (uint32_t)l.src->len };
}

static Loc whole(const Item *it)
{
	switch (it->kind) {
	case I_CONFIG: case I_PRESET: case I_BLOCK: case I_MODEL: case I_WEIGHTS: case I_ENTRY: return with_body(it->loc);
	case I_FN: return it->expr ? loc_join(it->loc, it->expr->loc) : it->loc;
	default:   return it->loc;
	}
}

/* Symbols */

static void add_symbol(Elab *e, SymbolList *to, FileSymbol s)
{
	if (s.name && s.loc.src)
		vec_push(e->arena, to, s);
}

static void add_statements(Elab *e, SymbolList *to, const Stmt *s)
{
	for (; s; s = s->next) {
		for (const Name *n = s->kind == S_DECLARE ? s->names : NULL; n; n = n->next)
			add_symbol(e, to, (FileSymbol){ .kind = SYM_LAYER, .name = n->name, .loc = s->loc, .name_loc = n->loc });
		if (s->kind == S_IF || s->kind == S_FOR) {
			add_statements(e, to, s->body);
			add_statements(e, to, s->other);
		}
	}
}

static FileSymbol symbol_of(Elab *e, const Item *it)
{
	static const SymbolKind kinds[] = {
		[I_PRESET] = SYM_CONFIG, [I_CONFIG] = SYM_CONFIG, [I_DIM] = SYM_DIM, [I_BLOCK] = SYM_BLOCK, [I_FN] = SYM_FN,
		[I_MODEL] = SYM_MODEL, [I_WEIGHTS] = SYM_CONFIG, [I_ENTRY] = SYM_ENTRY, [I_USE] = SYM_CONFIG, [I_REQUIRE] = SYM_CONFIG,
	};
	FileSymbol s = { .kind = kinds[it->kind], .name = it->name, .loc = whole(it), .name_loc = it->name_loc };
	if (it->kind == I_CONFIG || it->kind == I_WEIGHTS)
		s.name = it->kind == I_CONFIG ? "config" : "weights";
	if (it->kind == I_DIM && it->dims)
		s.name = it->dims->name, s.name_loc = it->dims->loc;
	if (it->kind == I_ENTRY)
		s.name = it->name ? it->name : it->entry;
	if (!s.name_loc.src)
		s.name_loc = (Loc){ it->loc.src, it->loc.at, it->loc.at + (uint32_t)strlen(s.name ? s.name : "") };
	for (const Config *c = it->config; c; c = c->next)
		add_symbol(e, &s.kids, (FileSymbol){ .kind = SYM_VALUE, .name = c->name, .name_loc = c->loc,
			.loc = c->value ? loc_join(c->loc, c->value->loc) : c->loc });
	if (it->kind == I_BLOCK || it->kind == I_MODEL)
		add_statements(e, &s.kids, it->body);
	return s;
}

/* Names that may be written */

static void offer(Elab *e, SymbolKind kind, const char *name, const char *detail, Loc scope)
{
	vec_push(e->arena, &e->facts_out->offers, ((Offer){ kind, name, detail, scope }));
}

void facts_frame(Elab *e, const Frame *f)
{
	if (!e->facts || !f->item || f->item->loc.src != e->root->file->src)
		return;
	Loc scope = whole(f->item);
	int n = e->facts_out->offers.len;
	bool again = n && e->facts_out->offers.at[n - 1].scope.at == scope.at;
	for (int i = 0; !again && i < f->vars.len; i++) {
		const Var *v = &f->vars.at[i];
		fact_value(e, v->loc, v->name, v->val, v->loc);
		offer(e, v->declared ? SYM_LAYER : SYM_VALUE, v->name,
		      v->val.kind == V_POISON ? NULL : v->declared ? "layer" : val_describe(e, v->val), scope);
	}
}

static void offer_items(Elab *e, const Unit *u, const char *only)
{
	static const struct { ItemKind item; SymbolKind symbol; } kinds[] = {
		{ I_BLOCK, SYM_BLOCK }, { I_FN, SYM_FN }, { I_MODEL, SYM_MODEL },
	};
	for (const Item *it = u->file->items; it; it = it->next)
		for (int i = 0; i < COUNT(kinds); i++)
			if (it->kind == kinds[i].item && it->name && (!only || it->name == only))
				offer(e, kinds[i].symbol, it->name, loc_text(it->loc), (Loc){0});
}

static void offer_config(Elab *e, const Unit *u)
{
	for (int i = 0; i < u->config.len; i++)
		offer(e, SYM_VALUE, u->config.at[i].decl->name, u->config.at[i].decl->doc, (Loc){0});
	for (int i = 0; i < u->dims.len; i++)
		offer(e, SYM_DIM, u->dims.at[i].name, "run-time dim", (Loc){0});
	for (int i = 0; i < u->used.len; i++)
		offer_config(e, u->used.at[i]);
}

static void offer_known(Elab *e)
{
	NameList names = {0};
	builtin_names(e, &names);
	for (int i = 0; i < names.len; i++)
		offer(e, SYM_FN, names.at[i], "built in", (Loc){0});
	names.len = 0;
	unit_names(e, e->prelude, I_FN, &names);
	for (int i = 0; i < names.len; i++)
		offer(e, SYM_FN, names.at[i], "prelude", (Loc){0});
	names.len = 0;
	layer_kinds(e, &names);
	for (int i = 0; i < names.len; i++)
		offer(e, SYM_BLOCK, names.at[i], "layer", (Loc){0});
	offer(e, SYM_VALUE, "causal", "mask", (Loc){0});
	offer(e, SYM_VALUE, "all", "mask", (Loc){0});
}

/* Facts that no evaluation leaves */

static void set_facts(Elab *e, Unit *u, const Set *s)
{
	for (; s; s = s->next) {
		ConfigVal *c = unit_config(u, s->name, NULL);
		if (c)
			fact_config(e, s->loc, c);
	}
}

static void use_facts(Elab *e, const Item *it, Unit *used)
{
	Loc start = { used->file->src, 0, 0 };
	fact_text(e, it->file_loc, arena_printf(e->arena, "`%s`", used->path), start);
	for (const Name *n = it->names; n; n = n->next)
		for (int k = I_BLOCK; k <= I_MODEL; k++) {
			const Item *found = unit_item(used, (ItemKind)k, n->name, NULL);
			if (found)
				fact_item(e, n->loc, found);
		}
	set_facts(e, used, it->sets);
}

static void item_facts(Elab *e, const Item *it)
{
	if (it->name && (it->kind == I_BLOCK || it->kind == I_FN || it->kind == I_MODEL))
		fact_item(e, it->name_loc, it);
	if (it->kind == I_PRESET)
		set_facts(e, e->root, it->sets);
	for (const Name *n = it->kind == I_DIM ? it->dims : NULL; n; n = n->next)
		fact_dim(e, n->loc, unit_dim(e->root, n->name, NULL), val_none());
	for (int i = 0; it->kind == I_USE && i < e->root->used.len; i++)
		if (e->root->used.at[i]->item == it)
			use_facts(e, it, e->root->used.at[i]);
}

void facts_of_file(Elab *e)
{
	Facts *out = e->facts_out;
	out->root = e->root->file->src;
	for (int i = 0; i < e->root->config.len; i++)
		fact_config(e, e->root->config.at[i].decl->loc, &e->root->config.at[i]);
	for (const Item *it = e->root->file->items; it; it = it->next) {
		item_facts(e, it);
		add_symbol(e, &out->symbols, symbol_of(e, it));
		if (it->kind == I_USE)
			vec_push(e->arena, &out->uses, ((FactUse){ it->file_loc, it->file }));
	}
	offer_config(e, e->root);
	offer_items(e, e->root, NULL);
	for (int i = 0; i < e->root->uses.len; i++)
		offer_items(e, e->root->uses.at[i].unit, e->root->uses.at[i].of);
	offer_items(e, e->prelude, NULL);
	offer_known(e);
}
