/* names.c: `sinter names FILE [GLOB...]`: every weight as a checkpoint has it, and where the model file declares it. */
#include "driver/driver.h"

static const char *shape_text(Arena *a, Type t)
{
	Str s = {0};
	for (int i = 0; i < t.rank; i++) {
		str_puts(&s, i ? "," : "");
		dim_print(&s, t.dim[i]);
	}
	const char *text = arena_printf(a, "[%s]", s.at ? s.at : "");
	str_free(&s);
	return text;
}

static bool wanted(const Flags *f, const char *name)
{
	for (int i = 1; i < f->rest.len; i++)
		if (glob_match(f->rest.at[i], name))
			return true;
	return f->rest.len == 1;
}

static void put_json(Str *s, const OutlineWeight *w, const char *shape)
{
	const Param *p = w->param;
	str_puts(s, "{\"name\":");
	str_json(s, param_called(p));
	str_printf(s, ",\"shape\":%s,\"dtype\":\"%s\",\"path\":", shape, dtype_name[p->type.dt]);
	str_json(s, w->path);
	str_puts(s, ",\"file\":");
	str_json(s, w->loc.file);
	str_printf(s, ",\"line\":%d,\"column\":%d,\"decay\":%s,\"frozen\":%s}\n", w->loc.line, w->loc.col, p->decay ? "true" : "false",
	           p->frozen ? "true" : "false");
}

static void put_table(Str *s, Arena *a, const Outline *o, const int *at, int n)
{
	int name = 0, shape = 0, path = 0;
	for (int i = 0; i < n; i++) {
		const OutlineWeight *w = &o->weights.at[at[i]];
		name = MAX(name, text_width(param_called(w->param)) + 2);
		shape = MAX(shape, text_width(shape_text(a, w->param->type)) + 2);
		path = MAX(path, text_width(w->path ? w->path : "") + 2);
	}
	for (int i = 0; i < n; i++) {
		const OutlineWeight *w = &o->weights.at[at[i]];
		put_padded(s, param_called(w->param), name);
		put_padded(s, shape_text(a, w->param->type), shape);
		put_padded(s, dtype_name[w->param->type.dt], 5);
		put_padded(s, w->path ? w->path : "", path);
		str_printf(s, "%s:%d\n", w->loc.file ? w->loc.file : "?", w->loc.line);
	}
}

int run_names(Arena *a, const Flags *f)
{
	if (flag(f, "values"))
		return taps_list(a, f);
	FrontendOptions options = options_of(a, f);
	Outline *o = frontend_outline(a, f->rest.at[0], &options);
	if (!o)
		return EXIT_FAIL;
	Vec(int) at = {0};
	for (int i = 0; i < o->weights.len; i++)
		if (wanted(f, param_called(o->weights.at[i].param)))
			vec_push(a, &at, i);
	if (at.len == 0) {
		diag_error((Loc){0}, NULL, f->rest.len > 1 ? "no weight of %s has such a name" : "%s has no weights", f->rest.at[0]);
		if (f->rest.len > 1)
			diag_help("`*` stands for any text: \"*.bias\"");
		return EXIT_FAIL;
	}
	Str s = {0};
	for (int i = 0; flag(f, "json") && i < at.len; i++)
		put_json(&s, &o->weights.at[at.at[i]], shape_text(a, o->weights.at[at.at[i]].param->type));
	if (!flag(f, "json"))
		put_table(&s, a, o, at.at, at.len);
	return put_out(&s) ? EXIT_OK : EXIT_FAIL;
}
