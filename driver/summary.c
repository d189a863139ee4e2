/* summary.c: `sinter summary FILE`: the layers of each model with shapes and parameter counts, equal layers of a repeat
 * folded, and the settings of each entry. --json: one object with the same, every layer for itself. */
#include "driver/driver.h"

#include <inttypes.h>

enum { COLUMNS = 4, WIDEST = 56, PAGE = 110 };   /* columns: the longest declaration shown; of a line of settings */
typedef struct Row { const char *cell[COLUMNS]; } Row;
typedef struct Table { Arena *arena; const Outline *o; Vec(Row) rows; } Table;

static const char *keep(Arena *a, Str *s)
{
	const char *text = arena_strndup(a, s->at ? s->at : "", s->len);
	str_free(s);
	return text;
}

static const char *grouped(Arena *a, int64_t n)
{
	Str s = {0};
	put_grouped(&s, n);
	return keep(a, &s);
}

/* "weight" of "h[0].mlp.c_fc.weight"; "" where the layer is the parameter itself. */
static const char *leaf_of(const OutlineLayer *l, const OutlineWeight *w)
{
	const char *dot = strrchr(w->path, '.'), *leaf = dot ? dot + 1 : w->path;
	return strcmp(leaf, l->name) == 0 ? "" : leaf;
}

static void put_shape(Str *s, Type t)
{
	str_puts(s, "[");
	for (int i = 0; i < t.rank; i++) {
		str_puts(s, i ? "," : "");
		dim_print(s, t.dim[i]);
	}
	str_puts(s, "]");
}

static const char *weights_text(Table *t, const OutlineLayer *l)
{
	Str s = {0};
	for (int i = 0; i < l->weights.len; i++) {
		const OutlineWeight *w = &t->o->weights.at[l->weights.at[i]];
		const char *leaf = leaf_of(l, w);
		str_printf(&s, "%s%s%s", s.len ? "  " : "", leaf, *leaf ? " " : "");
		put_shape(&s, w->param->type);
	}
	for (int i = 0; i < l->shared.len; i++)
		str_printf(&s, "%sis %s", s.len ? "  " : "", t->o->weights.at[l->shared.at[i]].path);
	return keep(t->arena, &s);
}

static bool same_shapes(const Outline *o, const OutlineLayer *a, const OutlineLayer *b)
{
	if (a->weights.len != b->weights.len || a->shared.len != b->shared.len)
		return false;
	for (int i = 0; i < a->weights.len; i++) {
		const Param *p = o->weights.at[a->weights.at[i]].param, *q = o->weights.at[b->weights.at[i]].param;
		if (!type_eq(p->type, q->type) || p->frozen != q->frozen)
			return false;
	}
	for (int i = 0; i < a->shared.len; i++)
		if (a->shared.at[i] != b->shared.at[i])
			return false;
	return true;
}

/* Whether two layers look alike in the table. */
static bool alike(const Outline *o, const OutlineLayer *a, const OutlineLayer *b)
{
	if (strcmp(a->text, b->text) != 0 || a->kids.len != b->kids.len || a->repeat != b->repeat || !same_shapes(o, a, b))
		return false;
	for (int i = 0; i < a->kids.len; i++)
		if (!alike(o, a->kids.at[i], b->kids.at[i]))
			return false;
	return true;
}

/* A declaration cut where it is too long; never inside a character. */
static const char *shortened(Arena *a, const char *text)
{
	if (text_width(text) <= WIDEST)
		return text;
	size_t n = WIDEST - 3;
	while (((unsigned char)text[n] & 0xC0) == 0x80)
		n--;
	return arena_printf(a, "%.*s...", (int)n, text);
}

static void add_row(Table *t, const char *name, const char *text, const char *weights, const char *count)
{
	vec_push(t->arena, &t->rows, ((Row){{name, shortened(t->arena, text), weights, count}}));
}

static void add_layer(Table *, const OutlineLayer *, int depth);

static void add_kids(Table *t, const OutlineLayer *l, int depth)
{
	for (int i = 0; i < l->kids.len; i++)
		add_layer(t, l->kids.at[i], depth);
}

/* Layers [from, to) of a repeat, which are alike; `title` is the repeat's name, or their numbers. */
static void add_run(Table *t, const OutlineLayer *l, int from, int to, const char *title, int depth)
{
	const OutlineLayer *one = l->kids.at[from];
	int64_t total = 0;
	for (int i = from; i < to; i++)
		total += l->kids.at[i]->parameters;
	const char *name = arena_printf(t->arena, "%*s%s", 2 * depth, "", title);
	const char *each = to - from > 1 && one->kids.len ? arena_printf(t->arena, "%s each", grouped(t->arena, one->parameters))
		: one->kids.len ? "" : weights_text(t, one);
	add_row(t, name, arena_printf(t->arena, "%d x %s", to - from, one->text), each, grouped(t->arena, total));
	add_kids(t, one, depth + 1);
}

static void add_repeat(Table *t, const OutlineLayer *l, int depth)
{
	int n = l->kids.len, end = 0;
	while (end < n && alike(t->o, l->kids.at[0], l->kids.at[end]))
		end++;
	if (n && end == n) {
		add_run(t, l, 0, n, l->name, depth);
		return;
	}
	add_row(t, arena_printf(t->arena, "%*s%s", 2 * depth, "", l->name), l->text, "", grouped(t->arena, l->parameters));
	for (int from = 0; from < n; from = end) {
		for (end = from + 1; end < n && alike(t->o, l->kids.at[from], l->kids.at[end]);)
			end++;
		const char *which = end - from > 1 ? arena_printf(t->arena, "[%d..%d]", from, end - 1) : arena_printf(t->arena, "[%d]", from);
		add_run(t, l, from, end, which, depth + 1);
	}
}

static void add_layer(Table *t, const OutlineLayer *l, int depth)
{
	if (l->repeat) {
		add_repeat(t, l, depth);
		return;
	}
	const char *name = arena_printf(t->arena, "%*s%s", 2 * depth, "", l->name);
	add_row(t, name, l->text, weights_text(t, l), grouped(t->arena, l->parameters));
	add_kids(t, l, depth + 1);
}

static void put_table(Str *s, const Table *t)
{
	int width[COLUMNS] = {0};
	for (int i = 0; i < t->rows.len; i++)
		for (int k = 0; k < COLUMNS; k++)
			width[k] = MAX(width[k], text_width(t->rows.at[i].cell[k]));
	for (int i = 0; i < t->rows.len; i++) {
		const Row *r = &t->rows.at[i];
		for (int k = 0; k < COLUMNS - 1; k++)
			put_padded(s, r->cell[k], width[k] + 2);
		str_printf(s, "%*s\n", width[COLUMNS - 1], r->cell[COLUMNS - 1]);
	}
}

static void put_model(Str *s, Arena *a, const Outline *o, const OutlineLayer *m)
{
	Table t = {.arena = a, .o = o};
	str_printf(s, "%s (%s)\n\n", m->name, o->mod->file);
	add_row(&t, "layer", "declared as", "weights as stored", "parameters");
	add_kids(&t, m, 0);
	add_row(&t, "", "", "total", grouped(a, m->parameters));
	put_table(s, &t);
	str_puts(s, "\n");
}

/* key=value, on a new line where this one is full. */
static void put_setting(Str *s, const Setting *x, int *column)
{
	Str one = {0};
	str_printf(&one, " %s=", x->key);
	if (x->is_num)
		str_printf(&one, "%.10g", x->num);
	else
		str_json(&one, x->str ? x->str : "none");
	if (*column + text_width(one.at) > PAGE) {
		str_puts(s, "\n ");
		*column = 1;
	}
	*column += text_width(one.at);
	str_puts(s, one.at);
	str_free(&one);
}

static const char *const kind_name[ENTRY_COUNT] = {
	[ENTRY_TRAIN] = "train", [ENTRY_EVAL] = "eval", [ENTRY_GENERATE] = "generate", [ENTRY_INFER] = "infer", [ENTRY_EXPLAIN] = "explain",
};

static void put_entry(Str *s, const Outline *o, const OutlineEntry *e)
{
	const char *kind = kind_name[e->entry->kind];
	str_printf(s, "%s%s%s:", kind, strcmp(kind, e->entry->name) ? " " : "", strcmp(kind, e->entry->name) ? e->entry->name : "");
	for (int i = 0; i < e->dims.len; i++)
		if (e->dims.at[i].bound)
			str_printf(s, "%s %s <= %" PRId64, i ? "," : "", e->dims.at[i].name, e->dims.at[i].bound);
		else
			str_printf(s, "%s %s (no bound)", i ? "," : "", e->dims.at[i].name);
	if (e->entry->kind == ENTRY_TRAIN) {
		str_puts(s, "; trains ");
		if (e->trained == o->parameters)
			str_puts(s, "all parameters");
		else {
			put_grouped(s, e->trained);
			str_puts(s, " parameters");
		}
	}
	str_puts(s, "\n");
	int column = 1;
	str_puts(s, e->entry->settings.len ? " " : "");
	for (int i = 0; i < e->entry->settings.len; i++)
		put_setting(s, &e->entry->settings.at[i], &column);
	str_puts(s, e->entry->settings.len ? "\n" : "");
	if (e->left_out)
		str_printf(s, "  not compiled by this version: %s\n", e->left_out);
}

/* The model's own weights, and those that adapters add to it. */
typedef struct Totals { int tensors, added_tensors; int64_t trainable, added; } Totals;

static Totals totals(const Outline *o)
{
	Totals t = {0};
	for (int i = 0; i < o->weights.len; i++) {
		const Param *p = o->weights.at[i].param;
		int64_t n = 0;
		dim_is_const(type_elems(p->type), &n);
		t.tensors += !p->adapter;
		t.added_tensors += p->adapter;
		t.trainable += p->adapter || p->frozen ? 0 : n;
		t.added += p->adapter ? n : 0;
	}
	return t;
}

static void put_text(Str *s, Arena *a, const Outline *o)
{
	for (int i = 0; i < o->models.len; i++)
		put_model(s, a, o, o->models.at[i]);
	Totals t = totals(o);
	put_grouped(s, o->parameters);
	str_printf(s, " parameters in %d tensors, ", t.tensors);
	put_grouped(s, t.trainable);
	str_puts(s, " trainable; ");
	put_grouped(s, 4 * o->parameters);
	str_puts(s, " bytes in f32\n");
	if (t.added_tensors) {
		str_puts(s, "adapters add ");
		put_grouped(s, t.added);
		str_printf(s, " parameters in %d tensors\n", t.added_tensors);
	}
	for (int i = 0; i < o->entries.len; i++)
		put_entry(s, o, &o->entries.at[i]);
}

/* JSON */

static void json_key(Str *s, const char *key, const char *value)
{
	str_printf(s, ",\"%s\":", key);
	str_json(s, value);
}

static void json_names(Str *s, const Outline *o, const char *key, const int *at, int n)
{
	str_printf(s, ",\"%s\":[", key);
	for (int i = 0; i < n; i++) {
		str_puts(s, i ? "," : "");
		str_json(s, param_called(o->weights.at[at[i]].param));
	}
	str_puts(s, "]");
}

static void json_layer(Str *s, const Outline *o, const OutlineLayer *l)
{
	str_puts(s, "{\"name\":");
	str_json(s, l->name);
	json_key(s, "declared", l->text);
	json_key(s, "path", l->path);
	str_printf(s, ",\"line\":%d,\"parameters\":%" PRId64 ",\"repeat\":%s", l->loc.line, l->parameters, l->repeat ? "true" : "false");
	json_names(s, o, "weights", l->weights.at, l->weights.len);
	json_names(s, o, "shared", l->shared.at, l->shared.len);
	str_puts(s, ",\"layers\":[");
	for (int i = 0; i < l->kids.len; i++) {
		str_puts(s, i ? "," : "");
		json_layer(s, o, l->kids.at[i]);
	}
	str_puts(s, "]}");
}

static void json_entry(Str *s, const OutlineEntry *e)
{
	str_puts(s, "{\"name\":");
	str_json(s, e->entry->name);
	json_key(s, "kind", kind_name[e->entry->kind]);
	str_printf(s, ",\"line\":%d,\"trained\":%" PRId64, e->loc.line, e->trained);
	json_key(s, "not_compiled", e->left_out);
	str_puts(s, ",\"bounds\":{");
	for (int i = 0; i < e->dims.len; i++) {
		str_puts(s, i ? "," : "");
		str_json(s, e->dims.at[i].name);
		if (e->dims.at[i].bound)
			str_printf(s, ":%" PRId64, e->dims.at[i].bound);
		else
			str_puts(s, ":null");
	}
	str_puts(s, "},\"settings\":{");
	for (int i = 0; i < e->entry->settings.len; i++) {
		const Setting *x = &e->entry->settings.at[i];
		str_puts(s, i ? "," : "");
		str_json(s, x->key);
		str_puts(s, ":");
		if (x->is_num)
			str_printf(s, "%.17g", x->num);
		else
			str_json(s, x->str);
	}
	str_puts(s, "}}");
}

static void put_json(Str *s, const Outline *o)
{
	str_puts(s, "{\"file\":");
	str_json(s, o->mod->file);
	Totals t = totals(o);
	str_printf(s, ",\"parameters\":%" PRId64 ",\"trainable\":%" PRId64 ",\"tensors\":%d,\"adapters\":%" PRId64 ",\"models\":[", o->parameters,
	           t.trainable, t.tensors, t.added);
	for (int i = 0; i < o->models.len; i++) {
		str_puts(s, i ? "," : "");
		json_layer(s, o, o->models.at[i]);
	}
	str_puts(s, "],\"entries\":[");
	for (int i = 0; i < o->entries.len; i++) {
		str_puts(s, i ? "," : "");
		json_entry(s, &o->entries.at[i]);
	}
	str_puts(s, "]}\n");
}

int run_summary(Arena *a, const Flags *f)
{
	FrontendOptions options = options_of(a, f);
	Outline *o = frontend_outline(a, f->rest.at[0], &options);
	if (!o)
		return EXIT_FAIL;
	if (o->models.len == 0) {
		diag_error((Loc){0}, NULL, "%s has no model", o->mod->file);
		return EXIT_FAIL;
	}
	Str s = {0};
	if (flag(f, "json"))
		put_json(&s, o);
	else
		put_text(&s, a, o);
	return put_out(&s) ? EXIT_OK : EXIT_FAIL;
}
