/* taps.c: values that `sinter build --tap` names: whether there are such, and what there is (`sinter names --values`). */
#include "driver/driver.h"

/* The name behind "tap:"; NULL: v is none. */
static const char *tap_of(const Value *v)
{
	return v->op == OP_OUTPUT && strncmp(v->a.name, "tap:", 4) == 0 ? v->a.name + 4 : NULL;
}

static bool is_there(const Module *m, const char *glob)
{
	for (int i = 0; i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++) {
			const Graph *g = m->entries.at[i]->graphs.at[k];
			for (int j = 0; j < g->vals.len; j++)
				if (tap_of(g->vals.at[j]) && glob_match(glob, tap_of(g->vals.at[j])))
					return true;
		}
	return false;
}

static const Module *all_taps(Arena *a, const char *file, const FrontendOptions *options)
{
	FrontendOptions o = *options;
	o.taps = (const char *const[]){"*"};
	o.ntaps = 1;
	return frontend_build(a, file, &o);
}

static void suggest_tap(Arena *a, const char *file, const FrontendOptions *options, const char *glob)
{
	const Module *m = all_taps(a, file, options);
	Vec(const char *) names = {0};
	for (int i = 0; m && i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++) {
			const Graph *g = m->entries.at[i]->graphs.at[k];
			for (int j = 0; j < g->vals.len; j++)
				if (tap_of(g->vals.at[j]))
					vec_push(a, &names, tap_of(g->vals.at[j]));
		}
	const char *near = diag_nearest(glob, names.at, names.len);
	if (near)
		diag_help("did you mean `%s`?", near);
	else
		diag_help("`sinter names --values %s` lists what there is", file);
}

bool taps_found(Arena *a, const Module *m, const char *file, const FrontendOptions *o)
{
	for (int i = 0; i < o->ntaps; i++) {
		if (is_there(m, o->taps[i]))
			continue;
		diag_error((Loc){0}, NULL, "--tap %s: no value of the entries that are compiled has such a name", o->taps[i]);
		suggest_tap(a, file, o, o->taps[i]);
		return false;
	}
	return true;
}

static bool is_wanted(const Flags *f, const char *name)
{
	for (int i = 1; i < f->rest.len; i++)
		if (glob_match(f->rest.at[i], name))
			return true;
	return f->rest.len == 1;
}

static int put_entry(Str *s, const Flags *f, const Entry *e)
{
	const Graph *g = entry_graph(e, "forward");
	int n = 0, width = 0;
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < g->vals.len; i++) {
			const Value *v = g->vals.at[i];
			const char *name = tap_of(v);
			if (!name || !is_wanted(f, name))
				continue;
			if (pass == 0) {
				width = MAX(width, text_width(name) + 2);
				continue;
			}
			if (flag(f, "json")) {
				str_puts(s, "{\"name\":");
				str_json(s, name);
				str_printf(s, ",\"entry\":\"%s\",\"type\":\"%s\",\"file\":", e->name, type_text(v->in[0]->type));
				str_json(s, v->loc.file ? v->loc.file : "");
				str_printf(s, ",\"line\":%d}\n", v->loc.line);
			} else {
				if (n == 0)
					str_printf(s, "%s\n", e->name);
				str_puts(s, "  ");
				put_padded(s, name, width);
				put_padded(s, type_text(v->in[0]->type), 18);
				str_printf(s, "%s:%d\n", v->loc.file ? v->loc.file : "?", v->loc.line);
			}
			n++;
		}
	return n;
}

int taps_list(Arena *a, const Flags *f)
{
	FrontendOptions options = options_of(a, f);
	const Module *m = all_taps(a, f->rest.at[0], &options);
	Str s = {0};
	int n = 0;
	for (int i = 0; m && i < m->entries.len; i++)
		n += put_entry(&s, f, m->entries.at[i]);
	if (!m)
		return EXIT_FAIL;
	if (n == 0) {
		diag_error((Loc){0}, NULL, f->rest.len > 1 ? "no value of %s has such a name" : "%s has no values to tap", f->rest.at[0]);
		return EXIT_FAIL;
	}
	return put_out(&s) ? EXIT_OK : EXIT_FAIL;
}
