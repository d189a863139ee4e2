/* facts.c: what checking finds out about each name of a file, for editors: what it stands for, its shape in the file's
 * letters, where it is declared. Recorded while check mode walks the file, of the root file alone; a block's own check
 * counts for more than a call of it, so of two records at one place the one less deep in calls stays. Described at the
 * end, while the dims' letters are still known. */
#include "frontend/elab.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct Record {
	Loc at, def;
	const char *name;
	Val val, result;               /* result: of the call whose callee this is */
	const ConfigVal *config;
	const DimDecl *dim;
	const Item *item;
	const Builtin *builtin;
	const char *text;              /* in place of all these */
	int depth;
} Record;

typedef struct Seen { const Item *item; Layer *layer; } Seen;

struct FactBook {
	Vec(Record) at;
	int *slot, cap;                /* of `at`, by at.at, open addressing; index + 1 */
	Vec(Seen) layers;              /* of each block and model, as its own check made it */
};

FactBook *facts_begin(Elab *e)
{
	FactBook *b = NEW(e->arena, FactBook);
	b->cap = 1024;
	b->slot = NEW_ARRAY(e->arena, int, b->cap);
	return b;
}

static int *slot_of(FactBook *b, uint32_t at)
{
	uint32_t i = at * 2654435761u & (uint32_t)(b->cap - 1);
	while (b->slot[i] && b->at.at[b->slot[i] - 1].at.at != at)
		i = (i + 1) & (uint32_t)(b->cap - 1);
	return &b->slot[i];
}

static void grow(Elab *e, FactBook *b)
{
	b->cap *= 4;
	b->slot = NEW_ARRAY(e->arena, int, b->cap);
	for (int i = 0; i < b->at.len; i++)
		*slot_of(b, b->at.at[i].at.at) = i + 1;
}

/* The record at this place to be filled in; NULL if none is wanted or a better one is there. */
static Record *record(Elab *e, Loc at, const char *name)
{
	FactBook *b = e->facts;
	if (!b || !e->root || at.src != e->root->file->src || at.end <= at.at)
		return NULL;
	if (2 * (b->at.len + 1) > b->cap)
		grow(e, b);
	int *slot = slot_of(b, at.at);
	if (!*slot) {
		vec_push(e->arena, &b->at, ((Record){ .depth = INT32_MAX }));
		*slot = b->at.len;
	}
	Record *r = &b->at.at[*slot - 1];
	bool better = e->depth < r->depth || (e->depth == r->depth && r->val.kind == V_POISON && !r->item && !r->builtin);
	if (!better)
		return NULL;
	*r = (Record){ .at = at, .name = name, .depth = e->depth };
	return r;
}

void fact_value(Elab *e, Loc at, const char *name, Val v, Loc def)
{
	Record *r = record(e, at, name);
	if (!r)
		return;
	r->val = v;
	r->def = def;
}

void fact_config(Elab *e, Loc at, const ConfigVal *c)
{
	Record *r = record(e, at, c->decl->name);
	if (!r)
		return;
	r->config = c;
	r->def = c->decl->loc;
}

void fact_dim(Elab *e, Loc at, const DimDecl *d, Val v)
{
	Record *r = d ? record(e, at, d->name) : NULL;
	if (!r)
		return;
	r->dim = d;
	r->val = v;
	r->def = d->loc;
}

void fact_item(Elab *e, Loc at, const Item *it)
{
	Record *r = record(e, at, it->name);
	if (!r)
		return;
	r->item = it;
	r->def = it->name_loc;
}

void fact_builtin(Elab *e, Loc at, const Builtin *f)
{
	Record *r = record(e, at, f->name);
	if (r)
		r->builtin = f;
}

void fact_text(Elab *e, Loc at, const char *text, Loc def)
{
	Record *r = record(e, at, NULL);
	if (!r)
		return;
	r->text = text;
	r->def = def;
}

void fact_result(Elab *e, Loc callee, Val v)
{
	FactBook *b = e->facts;
	if (!b || !e->root || callee.src != e->root->file->src || v.kind == V_POISON)
		return;
	int *slot = slot_of(b, callee.at);
	Record *r = *slot ? &b->at.at[*slot - 1] : NULL;
	if (r && r->depth == e->depth && r->result.kind == V_POISON)
		r->result = v;
}

void fact_layer(Elab *e, const Item *it, Layer *l)
{
	if (e->facts)
		vec_push(e->arena, &e->facts->layers, ((Seen){ it, l }));
}

/* Text */

/* A dim with the config's numbers in place of its letters. */
static const Dim *in_numbers(Elab *e, const Dim *d)
{
	for (int i = 0; i < e->root->config.len; i++) {
		const ConfigVal *c = &e->root->config.at[i];
		if (c->num.kind == V_INT && dim_weight(d) < 1000)
			d = dim_subst(d, c->decl->name, c->num.n);
	}
	return d;
}

static void put_shape(Elab *e, Str *s, Type t, bool numbers)
{
	str_puts(s, "[");
	for (int i = 0; i < t.rank; i++)
		str_printf(s, "%s%s", i ? "," : "", numbers ? dim_text(in_numbers(e, t.dim[i])) : show_dim(e, t.dim[i]));
	str_puts(s, "]");
}

static void put_value(Elab *e, Str *s, Val v)
{
	static const char *const kind[V_KINDS] = {
		[V_POISON] = "?", [V_NONE] = "none", [V_FLOAT] = "float", [V_BOOL] = "bool", [V_STRING] = "string",
		[V_MASK] = "mask", [V_CALL] = "rope", [V_LAYER] = "layer",
	};
	if (v.kind == V_TENSOR)
		str_puts(s, val_describe(e, v));
	else if (v.kind == V_INT)
		str_printf(s, "int = %s", show_dim(e, v.n));
	else if (v.kind == V_FLOAT && v.known)
		str_printf(s, "float = %g", v.f);
	else if (v.kind == V_BOOL && v.known)
		str_printf(s, "bool = %s", v.f != 0 ? "true" : "false");
	else if (v.kind != V_LIST)
		str_puts(s, kind[v.kind]);
	for (int i = 0; v.kind == V_LIST && i < v.nitems; i++) {
		str_puts(s, i ? ", " : "(");
		put_value(e, s, v.items[i]);
	}
	if (v.kind == V_LIST)
		str_puts(s, ")");
}

static void put_numbers(Elab *e, Str *s, Val v)
{
	if (v.kind != V_TENSOR || v.t->type.rank == 0)
		return;
	Str letters = {0}, numbers = {0};
	put_shape(e, &letters, v.t->type, false);
	put_shape(e, &numbers, v.t->type, true);
	if (strcmp(letters.at, numbers.at) != 0)
		str_printf(s, "\n\n`%s` as configured", numbers.at);
	str_free(&letters);
	str_free(&numbers);
}

static const Dim *weight_size(const Layer *l, const Weight *w)
{
	bool own = w && w->loc.at == l->loc.at && w->path == l->path;
	return own ? type_elems(w->type) : dim_const(0);
}

static const Dim *layer_size(Elab *e, const Layer *l, int depth)
{
	const Dim *sum = dim_add(weight_size(l, l->weight), weight_size(l, l->bias));
	if (l->kind == LK_REPEAT && l->nkids == 1 && l->kids[0])
		return dim_mul(l->count, layer_size(e, l->kids[0], depth));
	for (int i = 0; l->kind == LK_BLOCK && l->frame && depth < 8 && i < l->frame->vars.len; i++) {
		const Var *v = &l->frame->vars.at[i];
		if (v->declared && v->val.kind == V_LAYER && dim_weight(sum) < 1000)
			sum = dim_add(sum, layer_size(e, v->val.layer, depth + 1));
	}
	return sum;
}

static void put_grouped(Str *s, int64_t n)
{
	char digits[32];
	int len = snprintf(digits, sizeof digits, "%" PRId64, n);
	for (int i = 0; i < len; i++)
		str_printf(s, "%s%c", i && digits[i - 1] != '-' && (len - i) % 3 == 0 ? "," : "", digits[i]);
}

static void put_size(Elab *e, Str *s, const Layer *l)
{
	int64_t n;
	const Dim *d = layer_size(e, l, 0);
	if (dim_is(d, 0))
		return;
	str_puts(s, "\n\nparameters: ");
	if (dim_is_const(in_numbers(e, d), &n))
		put_grouped(s, n);
	else
		str_puts(s, "of a size that the config does not fix");
	if (!dim_is_const(d, NULL) && dim_weight(d) <= 40)
		str_printf(s, " = `%s`", dim_text(d));
}

static void put_weight(Elab *e, Str *s, const Weight *w)
{
	if (!w)
		return;
	str_printf(s, "\n- `%s` ", w->name);
	str_puts(s, "`");
	put_shape(e, s, w->type, false);
	str_puts(s, "`");
}

/* Source text on one line, runs of blanks as one. */
static void put_source(Str *s, Loc l)
{
	bool blank = false;
	for (uint32_t i = l.at; i < l.end && i < l.src->len; i++) {
		char c = l.src->text[i];
		if (c == '#')
			while (i + 1 < l.end && l.src->text[i + 1] != '\n')
				i++;
		else if (c == ' ' || c == '\n' || c == '\t' || c == '\r')
			blank = true;
		else {
			str_puts(s, blank ? " " : "");
			str_put(s, &c, 1);
			blank = false;
		}
	}
}

static void put_layer(Elab *e, Str *s, const Record *r, const Layer *l)
{
	str_puts(s, "```sinter\n");
	if (l->decl.src)
		put_source(s, l->decl);
	else
		str_puts(s, l->name ? l->name : "layer");
	str_puts(s, "\n```");
	if (l->weight || l->bias)
		str_puts(s, "\n");
	put_weight(e, s, l->weight);
	put_weight(e, s, l->bias);
	put_size(e, s, l);
}

static void put_item(Elab *e, Str *s, const Item *it)
{
	str_puts(s, "```sinter\n");
	put_source(s, it->loc);
	str_puts(s, "\n```");
	for (int i = 0; i < e->facts->layers.len; i++)
		if (e->facts->layers.at[i].item == it) {
			put_size(e, s, e->facts->layers.at[i].layer);
			return;
		}
}

static void put_config(Elab *e, Str *s, const ConfigVal *c)
{
	double n;
	str_puts(s, "```sinter\n");
	put_source(s, c->decl->value ? loc_join(c->decl->loc, c->decl->value->loc) : c->decl->loc);
	str_puts(s, "\n```");
	if (c->decl->doc)
		str_printf(s, "\n\n%s", c->decl->doc);
	if (c->decl->from)
		str_printf(s, "\n\nfrom `%s` of a config.json", c->decl->from);
	if (c->computed && val_number(c->num, &n))
		str_printf(s, "\n\n`%s` = %g", c->decl->name, n);
}

static void put_dim(Elab *e, Str *s, const DimDecl *d)
{
	int64_t n;
	str_printf(s, "```sinter\ndim %s", d->name);
	if (d->bound) {
		str_puts(s, " <= ");
		put_source(s, d->bound->loc);
	}
	str_puts(s, "\n```\n\nrun-time dim");
	Val v = d->bound ? eval_in(e, frame_new(e, e->root, NULL), d->bound) : val_none();
	if (v.kind == V_INT && dim_is_const(in_numbers(e, v.n), &n))
		str_printf(s, ", at most %" PRId64, n);
}

static void put_builtin(Str *s, const Builtin *f)
{
	str_printf(s, "```sinter\n%s(", f->name);
	for (const char *p = f->params; p && *p;) {
		size_t n = strcspn(p, ",");
		bool optional = n && p[n - 1] == '?';
		size_t quote = *p == '\'' || *p == '*' ? 1 : 0;
		str_printf(s, "%s%.*s%s", p == f->params ? "" : ", ", (int)(n - quote - optional), p + quote, optional ? "=" : "");
		if (n == 1 && quote)
			str_puts(s, "..");
		p += n;
		p += strspn(p, ", ");
	}
	str_puts(s, ")\n```\n\nbuilt in");
}

static const char *describe(Elab *e, const Record *r)
{
	Str s = {0};
	if (r->text)
		str_puts(&s, r->text);
	else if (r->item)
		put_item(e, &s, r->item);
	else if (r->config)
		put_config(e, &s, r->config);
	else if (r->dim)
		put_dim(e, &s, r->dim);
	else if (r->builtin)
		put_builtin(&s, r->builtin);
	else if (r->val.kind == V_LAYER)
		put_layer(e, &s, r, r->val.layer);
	else if (r->val.kind != V_POISON) {
		str_printf(&s, "```sinter\n%s: ", r->name);
		put_value(e, &s, r->val);
		str_puts(&s, "\n```");
		put_numbers(e, &s, r->val);
	}
	if (r->result.kind != V_POISON) {
		str_puts(&s, "\n\ngives `");
		put_value(e, &s, r->result);
		str_puts(&s, "`");
		put_numbers(e, &s, r->result);
	}
	const char *text = s.at ? arena_strndup(e->arena, s.at, s.len) : NULL;
	str_free(&s);
	return text;
}

static int by_place(const void *a, const void *b)
{
	const Fact *x = a, *y = b;
	return (x->loc.at > y->loc.at) - (x->loc.at < y->loc.at);
}

Facts *facts_end(Elab *e)
{
	FactBook *b = e->facts;
	int n = b->at.len;
	for (int i = 0; i < n; i++) {
		Record r = b->at.at[i];   /* a copy: describing evaluates, which may record */
		Fact f = { .loc = r.at, .def = r.def, .text = describe(e, &r) };
		vec_push(e->arena, &e->facts_out->facts, f);
	}
	if (n)
		qsort(e->facts_out->facts.at, (size_t)n, sizeof *e->facts_out->facts.at, by_place);
	return e->facts_out;
}
