/* weights.c: the module's parameters and the `weights` block. An initialiser without selectors is for linears and
 * embeddings alone; biases start at zero, norms at one. Later lines win. Decay is for tensors of two axes or more. */
#include "frontend/elab.h"

#include <math.h>

bool glob_match(const char *glob, const char *name)
{
	while (*glob && *glob != '*') {
		if (*glob++ != *name++)
			return false;
	}
	if (!*glob)
		return !*name;
	for (glob++;; name++) {
		if (glob_match(glob, name))
			return true;
		if (!*name)
			return false;
	}
}

/* Initialisers */

typedef enum Fan { FAN_NONE, FAN_XAVIER, FAN_KAIMING } Fan;
typedef struct Init { InitKind kind; double a, b; Fan fan; } Init;

typedef struct InitForm { const char *name; InitKind kind; int args; Fan fan; double a; } InitForm;
static const InitForm forms[] = {
	{ "zeros", INIT_ZEROS, 0, FAN_NONE, 0 }, { "ones", INIT_CONSTANT, 0, FAN_NONE, 1 },
	{ "constant", INIT_CONSTANT, 1, FAN_NONE, 0 }, { "normal", INIT_NORMAL, 1, FAN_NONE, 0 },
	{ "trunc_normal", INIT_TRUNC_NORMAL, 1, FAN_NONE, 0 }, { "uniform", INIT_UNIFORM, 2, FAN_NONE, 0 },
	{ "xavier_normal", INIT_NORMAL, 0, FAN_XAVIER, 0 }, { "xavier_uniform", INIT_UNIFORM, 0, FAN_XAVIER, 0 },
	{ "kaiming_normal", INIT_NORMAL, 0, FAN_KAIMING, 0 }, { "kaiming_uniform", INIT_UNIFORM, 0, FAN_KAIMING, 0 },
	{ "sinusoids", INIT_SINUSOIDS, 2, FAN_NONE, 0 },
};

static const InitForm *form_named(Elab *e, Expr *x)
{
	Expr *n = x->kind == E_CALL ? x->a : x;
	const char *names[COUNT(forms)];
	for (int i = 0; i < COUNT(forms); i++) {
		names[i] = forms[i].name;
		if (n->kind == E_NAME && strcmp(n->name, forms[i].name) == 0)
			return &forms[i];
	}
	err(e, x->loc, "E0610", "an initialiser is wanted, such as normal(0.02) or zeros");
	if (n->kind == E_NAME)
		suggest(e, n->name, names, COUNT(names));
	return NULL;
}

static int init_args(Elab *e, Expr *x, double *v, int max)
{
	int n = 0;
	for (Arg *a = x->kind == E_CALL ? x->args : NULL; a; a = a->next) {
		Val val = eval(e, a->value);
		if (val.kind == V_POISON)
			return -1;
		if (!val_is_number(val) || a->name) {
			err(e, a->value->loc, "E0610", "an initialiser takes numbers, got %s", val_describe(e, val));
			return -1;
		}
		if (n < max)
			val_number(val, &v[n]);
		n++;
	}
	return n;
}

static bool read_init(Elab *e, Expr *x, Init *out)
{
	double v[2] = { 0, 0 };
	const InitForm *f = form_named(e, x);
	int n = f ? init_args(e, x, v, 2) : -1;
	if (n < 0)
		return false;
	if (n != f->args) {
		err(e, x->loc, "E0610", "`%s` takes %d number%s, got %d", f->name, f->args, f->args == 1 ? "" : "s", n);
		return false;
	}
	*out = (Init){ .kind = f->kind, .fan = f->fan, .a = f->a };
	if (f->kind == INIT_CONSTANT && n == 1)
		out->a = v[0];
	else if (f->kind == INIT_NORMAL || f->kind == INIT_TRUNC_NORMAL)
		out->b = v[0];
	else if (f->kind == INIT_UNIFORM || f->kind == INIT_SINUSOIDS)
		out->a = v[0], out->b = v[1];
	return true;
}

/* Of a kernel [out,in,field..] each weight counts field times. Variance 2/(in+out): Glorot & Bengio 2010; 2/in: He et al. 2015. A uniform on [-a,a) has variance a^2/3. */
static void apply_fan(Param *p, const Weight *w, Init in)
{
	int64_t rows = 1, cols = 1;
	if (w->type.rank >= 2) {
		dim_is_const(w->type.dim[0], &rows);
		dim_is_const(w->type.dim[1], &cols);
	}
	for (int i = 2; i < w->type.rank; i++) {   /* a convolution's kernel */
		int64_t n = 1;
		dim_is_const(w->type.dim[i], &n);
		rows *= n;
		cols *= n;
	}
	double fan_in = (double)(w->in_out ? rows : cols), both = (double)rows + (double)cols;
	double dev = in.fan == FAN_XAVIER ? sqrt(2 / both) : sqrt(2 / fan_in);
	if (in.kind == INIT_NORMAL)
		p->a = 0, p->b = dev;
	else
		p->a = -dev * sqrt(3), p->b = dev * sqrt(3);
}

static void set_init(Param *p, const Weight *w, Init in)
{
	p->init = in.kind;
	p->a = in.a;
	p->b = in.b;
	if (in.fan != FAN_NONE)
		apply_fan(p, w, in);
}

/* Parameters */

static Init by_role(WeightRole role)
{
	static const Init defaults[] = {
		[WR_MATRIX] = { INIT_NORMAL, 0, 0.02, FAN_NONE }, [WR_TABLE] = { INIT_NORMAL, 0, 0.02, FAN_NONE },
		[WR_BIAS] = { INIT_ZEROS, 0, 0, FAN_NONE }, [WR_SCALE] = { INIT_CONSTANT, 1, 0, FAN_NONE },
		[WR_PARAM] = { INIT_ZEROS, 0, 0, FAN_NONE }, [WR_ADAPTER] = { INIT_ZEROS, 0, 0, FAN_NONE },
	};
	return defaults[role];
}

/* The table of an initialiser that has a shape is the tensor's. */
static bool shape_fits(Elab *e, const Weight *w, Init in, Expr *x)
{
	int64_t n[2] = { 0, 0 };
	if (in.kind != INIT_SINUSOIDS || e->symbolic)
		return true;
	for (int i = 0; i < 2 && w->type.rank == 2; i++)
		dim_is_const(w->type.dim[i], &n[i]);
	if (n[0] != (int64_t)in.a || n[1] != (int64_t)in.b)
		err(e, x->loc, "E0610", "`sinusoids` of [%g,%g] do not fill `%s`, which is %s", in.a, in.b, w->name, show_type(e, w->type));
	else if (n[1] % 2 || n[1] < 4)
		err(e, x->loc, "E0450", "the width of `sinusoids` is even and at least 4, got %lld", (long long)n[1]);
	else
		return true;
	return false;
}

static Init own_init(Elab *e, const Weight *w, Expr *x)
{
	Init in = by_role(w->role);
	if (x && read_init(e, x, &in))
		shape_fits(e, w, in, x);
	return in;
}

/* Names of inputs and outputs that the compiler adds to an entry's functions (docs/ir.md). */
static bool name_reserved(const char *name)
{
	static const char *const names[] = {
		"seed", "accumulate", "lr", "beta1", "beta2", "eps", "decay", "clip", "scale", "c1", "c2", "loss", "next", "grad_norm",
	};
	for (int i = 0; i < COUNT(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Where the weight of this name is, or would be. */
static Weight **weight_slot(Elab *e, const char *name)
{
	uint64_t i = (uint64_t)(uintptr_t)name * 0x9e3779b97f4a7c15u >> 32;
	while (e->by_name[i & (uint64_t)(e->names_cap - 1)] && e->by_name[i & (uint64_t)(e->names_cap - 1)]->name != name)
		i++;
	return &e->by_name[i & (uint64_t)(e->names_cap - 1)];
}

/* For one more; check.c begins anew by emptying `weights`. */
static void weight_room(Elab *e)
{
	bool full = 2 * (e->weights.len + 1) > e->names_cap;
	if (!full && e->weights.len > 0)
		return;
	if (full) {
		e->names_cap = MAX(64, 4 * e->names_cap);
		e->by_name = NEW_ARRAY(e->arena, Weight *, e->names_cap);
	}
	memset(e->by_name, 0, sizeof *e->by_name * (size_t)e->names_cap);
	for (int i = 0; i < e->weights.len; i++)
		*weight_slot(e, e->weights.at[i]->name) = e->weights.at[i];
}

/* Models of one file that call a tensor alike have it together, as their checkpoints do. */
static bool is_shared(const Weight *one, const Weight *other, Expr *init)
{
	return one->model != other->model && one->role == other->role && type_eq(one->type, other->type) && one->own_init == (init != NULL);
}

/* Where they have it in other extents, as heads of several tasks, checkpoints are of one of these tasks: the tensor is another. */
static bool is_other_head(const Weight *one, const Weight *other)
{
	return one->model != other->model && one->role == other->role && one->type.rank == other->type.rank && !type_eq(one->type, other->type);
}

/* The weight that is called w's name and is of w's extents, or where it would be, with w's name in the module then. */
static Weight **other_head(Elab *e, Weight *w, Expr *init)
{
	const char *file = w->name;
	for (int i = 0; i < e->weights.len; i++) {
		Weight *x = e->weights.at[i];
		if (param_called(&e->mod->params.at[i]) == file && is_shared(x, w, init))
			return weight_slot(e, x->name);
	}
	w->name = internf("%s.model%d", file, w->model);
	return weight_slot(e, w->name);
}

void param_register(Elab *e, Weight *w, Expr *init)
{
	if (name_reserved(w->name)) {
		err(e, w->loc, "E0615", "a tensor cannot be called `%s`: the compiler's own inputs have that name", w->name);
		help(e, "`at \"..\"` gives it another name in the checkpoint");
		return;
	}
	weight_room(e);
	const char *called = w->name;
	Weight **slot = weight_slot(e, w->name);
	if (*slot && is_other_head(*slot, w))
		slot = other_head(e, w, init);
	if (*slot && is_shared(*slot, w, init)) {
		w->same = *slot;
		return;
	}
	if (*slot) {
		err(e, w->loc, "E0602", "two tensors would be called `%s`", called);
		note(e, (*slot)->loc, "this is the other one");
		help(e, "`at \"..\"` gives a layer another name in the checkpoint");
		return;
	}
	*slot = w;
	Param p = { .name = w->name, .file = w->name == called ? NULL : called, .type = w->type, .decay = w->type.rank >= 2 };
	set_init(&p, w, own_init(e, w, init));
	w->own_init = init != NULL;
	vec_push(e->arena, &e->weights, w);
	vec_push(e->arena, &e->mod->params, p);
}

/* Selectors */

typedef Vec(const char *) Globs;

static bool globs_of(Elab *e, Expr *list, Globs *out)
{
	for (Expr *x = list; x; x = x->next) {
		if (x->kind != E_STRING) {
			err(e, x->loc, "E0611", "a selector is a string such as \"*.bias\"");
			return false;
		}
		vec_push(e->arena, out, x->name);
	}
	return true;
}

static bool selected(const Globs *g, const char *name)
{
	for (int i = 0; i < g->len; i++)
		if (glob_match(g->at[i], name))
			return true;
	return false;
}

/* The glob with the fixed pieces before its first `*`, and those after its last, taken from a tensor's name: what may have
 * been meant. NULL if the name has too few pieces, or is not matched even so. */
static const char *glob_like(const char *glob, const char *name)
{
	const char *star = strchr(glob, '*'), *last = strrchr(glob, '*'), *from = name, *to = name + strlen(name);
	if (!star)
		return name;
	const char *tail = strchr(last, '.');
	for (const char *g = glob; (g = memchr(g, '.', (size_t)(star - g))) && from; g++)
		if ((from = strchr(from, '.')))
			from++;
	for (const char *g = tail; g && from; g = strchr(g + 1, '.'))
		do
			to = to > from ? to - 1 : NULL;
		while (to && *to != '.');
	const char *piece = star;   /* the beginning of the piece with the first star */
	while (piece > glob && piece[-1] != '.')
		piece--;
	if (!from || !to || to < from)
		return NULL;
	const char *like = internf("%.*s%.*s%s", (int)(from - name), name, (int)((tail ? tail : glob + strlen(glob)) - piece), piece,
	                           tail ? to : "");
	return glob_match(like, name) ? like : NULL;
}

static void suggest_glob(Elab *e, const char *glob)
{
	NameList likely = {0};
	for (int i = 0; i < e->mod->params.len; i++) {
		const char *like = glob_like(glob, param_called(&e->mod->params.at[i]));
		bool fresh = like && (likely.len == 0 || likely.at[likely.len - 1] != like);
		if (fresh)
			vec_push(e->arena, &likely, like);
	}
	if (diag_nearest(glob, likely.at, likely.len))
		suggest(e, glob, likely.at, likely.len);
	else
		help(e, "`sinter names` lists them");
}

/* Check mode knows one layer of each repeat only, and leaves this to when there are numbers. Of a file whose models are used, some may not be. */
static void warn_unmatched(Elab *e, Expr *list)
{
	for (Expr *x = list; x && !e->symbolic && e->frame->unit == e->root; x = x->next) {
		bool any = false;
		for (int i = 0; i < e->mod->params.len; i++)
			any |= glob_match(x->name, param_called(&e->mod->params.at[i]));
		if (any)
			continue;
		warn(e, x->loc, "W0601", "no tensor is called \"%s\"", x->name);
		suggest_glob(e, x->name);
	}
}

/* The block's lines */

static void apply_init(Elab *e, Stmt *s)
{
	Init in;
	Globs globs = {0};
	if (!s->args || s->args->next) {
		err(e, s->loc, "E0610", "`init` wants one initialiser: init normal(0.02)");
		return;
	}
	if (!read_init(e, s->args->value, &in) || !globs_of(e, s->on, &globs))
		return;
	warn_unmatched(e, s->on);
	for (int i = 0; i < e->mod->params.len; i++) {
		Weight *w = e->weights.at[i];
		bool general = (w->role == WR_MATRIX || w->role == WR_TABLE) && !w->own_init;
		bool wanted = s->on ? selected(&globs, param_called(&e->mod->params.at[i])) : general;
		if (wanted && shape_fits(e, w, in, s->args->value))
			set_init(&e->mod->params.at[i], w, in);
	}
}

static void apply_prefix(Elab *e, Stmt *s)
{
	if (!s->args || s->args->next || s->args->value->kind != E_STRING)
		err(e, s->loc, "E0612", "`prefix` wants a string: prefix \"transformer.\"");
	else
		e->mod->prefix = s->args->value->name;
}

static void apply_ignore(Elab *e, Stmt *s)
{
	Globs globs = {0};
	if (!s->on)
		err(e, s->loc, "E0611", "`ignore` wants selectors: ignore on \"*.masked_bias\"");
	else if (globs_of(e, s->on, &globs))
		for (int i = 0; i < globs.len; i++)
			vec_push(e->arena, &e->mod->ignore, globs.at[i]);
}

static void apply_rename(Elab *e, Stmt *s)
{
	Expr *x = s->args ? s->args->value : NULL;
	if (!x || x->kind != E_ARROW || x->a->kind != E_STRING || x->b->kind != E_STRING)
		err(e, s->loc, "E0613", "`rename` wants two names: rename \"gamma\" -> \"weight\"");
	else
		vec_push(e->arena, &e->mod->renames, ((Rename){ x->a->name, x->b->name }));
}

static void apply_no_decay(Elab *e, Stmt *s)
{
	Globs globs = {0};
	if (!globs_of(e, s->on, &globs))
		return;
	warn_unmatched(e, s->on);
	for (int i = 0; i < e->mod->params.len; i++)
		if (!s->on || selected(&globs, param_called(&e->mod->params.at[i])))
			e->mod->params.at[i].decay = false;
}

void weights_freeze(Elab *e, Entry *entry, Stmt *s)
{
	Globs globs = {0};
	if (!s->on) {
		err(e, s->loc, "E0611", "`freeze` wants selectors: freeze on \"wte.*\"");
		return;
	}
	if (!globs_of(e, s->on, &globs))
		return;
	warn_unmatched(e, s->on);
	for (int i = 0; i < e->mod->params.len && !(entry && adapters_refused(e)); i++) {
		if (e->weights.at[i]->role == WR_ADAPTER || !selected(&globs, param_called(&e->mod->params.at[i])))
			continue;   /* what an adapter adds is what is trained */
		if (entry)
			vec_push(e->arena, &entry->frozen, i);
		else
			e->mod->params.at[i].frozen = true;
	}
}

static void apply_freeze(Elab *e, Stmt *s)
{
	weights_freeze(e, NULL, s);
}

static void apply_fresh(Elab *e, Stmt *s)
{
	Globs globs = {0};
	if (!s->on) {
		err(e, s->loc, "E0611", "`fresh` wants selectors: fresh on \"classifier.*\"");
		return;
	}
	if (!globs_of(e, s->on, &globs))
		return;
	warn_unmatched(e, s->on);
	for (int i = 0; i < e->mod->params.len; i++)
		e->mod->params.at[i].fresh |= selected(&globs, param_called(&e->mod->params.at[i]));
}

static const struct { const char *name; void (*apply)(Elab *, Stmt *); } lines[] = {
	{ "init", apply_init }, { "prefix", apply_prefix }, { "ignore", apply_ignore }, { "rename", apply_rename },
	{ "no_decay", apply_no_decay }, { "freeze", apply_freeze },
	{ "fresh", apply_fresh },
};

static void apply_line(Elab *e, Stmt *s)
{
	const char *names[COUNT(lines)];
	for (int i = 0; i < COUNT(lines); i++) {
		names[i] = lines[i].name;
		if (s->kind == S_SETTING && strcmp(s->setting, lines[i].name) == 0) {
			lines[i].apply(e, s);
			return;
		}
	}
	if (s->kind == S_ERROR)
		return;
	err(e, s->loc, "E0614", "a weights block has init, prefix, ignore, rename, no_decay, freeze and fresh");
	if (s->kind == S_SETTING)
		suggest(e, s->setting, names, COUNT(names));
}

/* What a used model says of its own weights comes first: the file that uses it may say otherwise. */
void weights_apply(Elab *e, Unit *u)
{
	for (int i = 0; i < u->uses.len; i++) {
		Unit *owner;
		if (unit_item(u->uses.at[i].unit, I_MODEL, u->uses.at[i].of, &owner))
			weights_apply(e, owner);
	}
	e->frame = frame_new(e, u, NULL);
	for (Item *it = u->file->items; it; it = it->next)
		for (Stmt *s = it->kind == I_WEIGHTS ? it->body : NULL; s; s = s->next)
			apply_line(e, s);
}
