/* val.c: the values of the abstract interpreter, how they are shown to the user, and how errors are said.
 * Shapes are shown in the file's letters: a dim that equals a computed config dim (K = D/H) has that name. */
#include "frontend/elab.h"

#include <stdlib.h>

Val val_none(void) { return (Val){ .kind = V_NONE }; }
Val val_int(const Dim *n) { return (Val){ .kind = V_INT, .n = n }; }
Val val_literal(int64_t n)
{
	Val v = val_int(dim_const(n));
	v.literal = true;
	return v;
}

Val val_float(double f) { return (Val){ .kind = V_FLOAT, .f = f, .known = true }; }
Val val_unknown(ValKind k) { return (Val){ .kind = k }; }
Val val_bool(bool b) { return (Val){ .kind = V_BOOL, .f = b, .known = true }; }
Val val_string(const char *s) { return (Val){ .kind = V_STRING, .s = s, .known = true }; }

Val val_tensor(Value *t)
{
	return t ? (Val){ .kind = V_TENSOR, .t = t } : (Val){ .kind = V_POISON };
}

Val val_list(Elab *e, const Val *items, int n)
{
	Val v = { .kind = V_LIST, .known = true, .items = NEW_ARRAY(e->arena, Val, n), .nitems = n };
	if (n)
		memcpy(v.items, items, sizeof *items * (size_t)n);
	return v;
}

bool val_is_number(Val v)
{
	return v.kind == V_INT || v.kind == V_FLOAT;
}

bool val_number(Val v, double *out)
{
	int64_t n;
	if (v.kind == V_FLOAT && v.known)
		return *out = v.f, true;
	if (v.kind == V_INT && dim_is_const(v.n, &n))
		return *out = (double)n, true;
	return false;
}

Value *val_value(Elab *e, Val v)
{
	double f = 1;
	if (v.kind == V_TENSOR)
		return v.t;
	if (val_number(v, &f))
		return b_const(&e->b, DT_F32, f);
	if (v.kind == V_INT && !e->symbolic)
		return b_convert(&e->b, b_dim(&e->b, v.n), DT_F32);
	if (v.kind == V_BOOL)
		return b_const(&e->b, DT_BOOL, v.f);
	return val_is_number(v) ? b_const(&e->b, DT_F32, 1) : NULL;
}

/* Showing */

static const char *abbreviation(Unit *u, const Dim *d)
{
	for (int i = 0; i < u->config.len; i++) {
		ConfigVal *c = &u->config.at[i];
		if (c->computed && c->sym.kind == V_INT && c->sym.n == d && !dim_is_const(d, NULL))
			return c->decl->name;
	}
	for (int i = 0; i < u->used.len; i++) {
		const char *s = abbreviation(u->used.at[i], d);
		if (s)
			return s;
	}
	return NULL;
}

const char *show_dim(Elab *e, const Dim *d)
{
	const char *s = e->symbolic && e->root ? abbreviation(e->root, d) : NULL;
	return s ? s : dim_text(d);
}

const char *show_dims(Elab *e, const Dim *const *dims, int n)
{
	Str s = {0};
	str_puts(&s, "[");
	for (int i = 0; i < n; i++)
		str_printf(&s, "%s%s", i ? "," : "", show_dim(e, dims[i]));
	str_puts(&s, "]");
	const char *text = intern(s.at);
	str_free(&s);
	return text;
}

const char *show_type(Elab *e, Type t)
{
	const char *dims = show_dims(e, t.dim, t.rank);
	return t.dt == DT_F32 ? dims : internf("%s%s", dtype_name[t.dt], dims);
}

static const char *describe_tensor(Elab *e, Val v)
{
	if (v.rows)
		return internf("id(%s)%s%s", show_dim(e, v.rows), v.optional ? "?" : "",
		               show_dims(e, v.t->type.dim, v.t->type.rank));
	return show_type(e, v.t->type);
}

const char *val_describe(Elab *e, Val v)
{
	static const char *const what[V_KINDS] = {
		[V_POISON] = "an error", [V_NONE] = "none", [V_INT] = "an integer", [V_FLOAT] = "a float",
		[V_BOOL] = "true or false", [V_STRING] = "a string", [V_MASK] = "a mask", [V_LIST] = "a list",
		[V_LAYER] = "a layer", [V_CALL] = "a setting",
	};
	if (v.kind == V_TENSOR)
		return describe_tensor(e, v);
	if (v.kind == V_LAYER)
		return internf("the layer `%s`", v.layer->name);
	if (v.kind == V_INT)
		return internf("the integer %s", show_dim(e, v.n));
	if (v.kind == V_LIST)
		return internf("a list of %d", v.nitems);
	if (v.kind == V_CALL && v.s)
		return internf("`%s`", v.s);
	return what[v.kind];
}

/* Errors */

Loc at_user(Elab *e, Loc l)
{
	return e->in_prelude ? e->user : l;
}

enum { MAX_REPORTED = 200 };

static bool repeated(Elab *e, Loc l, const char *code)
{
	for (int i = 0; i < e->reported.len; i++) {
		Reported *r = &e->reported.at[i];
		if (l.src && r->loc.src == l.src && r->loc.at == l.at && strcmp(r->code, code) == 0)
			return true;
	}
	vec_push(e->arena, &e->reported, ((Reported){ l, code }));
	if (e->reported.len == MAX_REPORTED && !e->spent) {
		diag_error((Loc){0}, "E0209", "%s has more than %d errors and warnings; the rest of it is not checked",
		           e->root ? e->root->name : "this file", MAX_REPORTED);
		e->spent = true;
	}
	return e->reported.len >= MAX_REPORTED;
}

static const char *format(const char *fmt, va_list ap)
{
	char text[1024];
	vsnprintf(text, sizeof text, fmt, ap);
	return intern(text);
}

static void say(Elab *e, Loc l, const char *code, const char *text)
{
	l = at_user(e, l);
	e->muted = e->silent || repeated(e, l, code);
	if (!e->muted)
		diag_error(l, code, "%s", text);
}

void err(Elab *e, Loc l, const char *code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(e, l, code, format(fmt, ap));
	va_end(ap);
}

Val fail(Elab *e, Loc l, const char *code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(e, l, code, format(fmt, ap));
	va_end(ap);
	return (Val){ .kind = V_POISON };
}

void note(Elab *e, Loc l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	bool own = e->prelude && l.src == e->prelude->file->src;   /* where no user can look: said without its place */
	if (!e->muted)
		diag_note(own ? (Loc){0} : l, "%s", format(fmt, ap));
	va_end(ap);
}

void help(Elab *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!e->muted)
		diag_help("%s", format(fmt, ap));
	va_end(ap);
}

void warn(Elab *e, Loc l, const char *code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *text = format(fmt, ap);
	va_end(ap);
	l = at_user(e, l);
	e->muted = e->silent || repeated(e, l, code);
	if (!e->muted)
		diag_warning(l, code, "%s", text);
}

enum { MAX_CANDIDATES = 1000 };   /* names compared with a wrong one */

void suggest(Elab *e, const char *name, const char *const *names, int n)
{
	const char *near = diag_nearest(name, names, MIN(n, MAX_CANDIDATES));
	if (near)
		help(e, "did you mean `%s`?", near);
}

void suggest_among(Elab *e, const char *name, const char *const *names, int n)
{
	Str s = {0};
	if (diag_nearest(name, names, n)) {
		suggest(e, name, names, n);
		return;
	}
	for (int i = 0; i < n; i++)
		str_printf(&s, "%s`%s`", i == 0 ? "" : i == n - 1 ? " and " : ", ", names[i]);
	if (n)
		help(e, "there %s %s", n == 1 ? "is" : "are", s.at);
	str_free(&s);
}

Val unsupported(Elab *e, Loc l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	const char *what = format(fmt, ap);
	va_end(ap);
	if (!e->unsupported_quiet) {
		say(e, l, "E0501", internf("%s is not supported by this version", what));
	} else if (!e->unsupported) {
		e->unsupported = what;
		e->unsupported_at = at_user(e, l);
	}
	return (Val){ .kind = V_POISON };
}
