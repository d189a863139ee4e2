/* layers.c: declared layers: linear, embedding, norms, parameters, blocks and repeats, with the names of their
 * tensors in the checkpoint. A field's name is a piece of the path; `at` replaces it: `*` stands for the field's
 * name, `{}` for the tensor's. */
#include "frontend/elab.h"

enum { MAX_BLOCK_DEPTH = 64 };

static Layer *make(Elab *e, Ctor *c, Layer proto);

static const char *join_path(const char *a, const char *b)
{
	if (!a || !*a)
		return b;
	return *b ? internf("%s.%s", a, b) : a;
}

/* Every `from` in text replaced. */
static const char *replace(const char *text, const char *from, const char *by)
{
	Str s = {0};
	size_t n = strlen(from);
	for (const char *p = text; *p;) {
		if (strncmp(p, from, n) == 0) {
			str_puts(&s, by);
			p += n;
		} else {
			str_put(&s, p++, 1);
		}
	}
	const char *out = intern(s.at ? s.at : "");
	str_free(&s);
	return out;
}

/* Weights */

Weight *weight_new(Elab *e, Layer *l, const char *leaf, WeightRole role, int rank, const Dim *const *dims)
{
	Weight *w = NEW(e->arena, Weight);
	if (l->tensor)
		w->name = replace(l->tensor, "{}", leaf);
	else
		w->name = *leaf ? join_path(l->path, leaf) : l->path;
	w->path = l->path;
	w->type = type_make(DT_F32, rank, dims);
	w->role = role;
	w->in_out = l->in_out;
	w->model = e->instance;
	w->loc = l->loc;
	return w;
}

Value *weight_value(Elab *e, Weight *w)
{
	if (w->same)
		w = w->same;
	if (w->g == e->b.g)
		return w->val;
	const char *saved = e->b.path;
	e->b.path = *w->path ? w->path : NULL;
	w->val = b_source(&e->b, OP_PARAM, w->name, w->type);
	w->g = e->b.g;
	e->b.path = saved;
	return w->val;
}

/* Arguments of a layer's declaration */

Expr *layer_named(LayerArgs *a, const char *name)
{
	for (Arg *g = a->args; g; g = g->next)
		if (g->name && strcmp(g->name, name) == 0)
			return g->value;
	return NULL;
}

Expr *layer_positional(LayerArgs *a, int i)
{
	for (Arg *g = a->args; g; g = g->next)
		if (!g->name && i-- == 0)
			return g->value;
	return NULL;
}

void layer_allow(LayerArgs *a, int max, const char *const *names, int n)
{
	int count = 0;
	for (Arg *g = a->args; g; g = g->next) {
		bool known = !g->name;
		for (int i = 0; g->name && i < n; i++)
			known |= strcmp(names[i], g->name) == 0;
		count += !g->name;
		if (known)
			continue;
		err(a->e, g->loc, "E0430", "`%s` has no argument `%s`", a->layer, g->name);
		suggest_among(a->e, g->name, names, n);
		a->ok = false;
	}
	if (count > max) {
		err(a->e, a->loc, "E0431", "`%s` takes %d argument%s, got %d", a->layer, max, max == 1 ? "" : "s", count);
		a->ok = false;
	}
}

static bool bool_arg(LayerArgs *a, const char *name, bool otherwise)
{
	Expr *x = layer_named(a, name);
	if (!x)
		return otherwise;
	Val v = eval(a->e, x);
	if (v.kind == V_BOOL)
		return v.known ? v.f != 0 : otherwise;
	if (v.kind != V_POISON)
		err(a->e, x->loc, "E0432", "`%s` is true or false, got %s", name, val_describe(a->e, v));
	a->ok = false;
	return otherwise;
}

static Val eps_arg(LayerArgs *a, double otherwise)
{
	Expr *x = layer_named(a, "eps");
	x = x ? x : layer_positional(a, 1);
	if (!x)
		return val_float(otherwise);
	Val v = eval(a->e, x);
	if (!val_is_number(v)) {
		if (v.kind != V_POISON)
			err(a->e, x->loc, "E0432", "`eps` is a number, got %s", val_describe(a->e, v));
		a->ok = false;
	}
	return v;
}

/* D or [H,K] */
static int group(LayerArgs *a, Expr *x, const Dim **dims)
{
	int n = 0;
	if (x->kind == E_LIST) {
		a->ok &= dims_of_exprs(a->e, x->kids, dims, &n);
		return n;
	}
	a->ok &= eval_extent(a->e, x, &dims[0]);
	return 1;
}

void layer_widths(LayerArgs *a, Layer *l)
{
	Expr *x = layer_positional(a, 0);
	if (!x || x->kind != E_ARROW) {
		err(a->e, x ? x->loc : a->loc, "E0433", "`%s` is declared with its widths: %s(D -> F)", a->layer, a->layer);
		a->ok = false;
		return;
	}
	l->nin = group(a, x->a, l->in);
	l->nout = group(a, x->b, l->out);
}

static const Dim *product(const Dim *const *dims, int n)
{
	const Dim *p = dim_const(1);
	for (int i = 0; i < n; i++)
		p = dim_mul(p, dims[i]);
	return p;
}

/* Linear */

typedef enum Stored { OUT_IN, IN_OUT, OUT_IN_1, STORED_COUNT } Stored;

static Stored stored_arg(LayerArgs *a)
{
	static const char *const names[STORED_COUNT] = { [OUT_IN] = "out_in", [IN_OUT] = "in_out", [OUT_IN_1] = "out_in_1" };
	Expr *x = layer_named(a, "stored");
	if (!x)
		return OUT_IN;
	const char *name = x->kind == E_NAME || x->kind == E_STRING ? x->name : "?";
	for (int i = 0; i < STORED_COUNT; i++)
		if (strcmp(names[i], name) == 0)
			return (Stored)i;
	err(a->e, x->loc, "E0434", "`stored` is out_in, in_out or out_in_1");
	suggest(a->e, name, names, STORED_COUNT);
	a->ok = false;
	return OUT_IN;
}

/* weight = embed.weight, or none, or a choice of both; NULL: a weight of its own. */
static Weight *tied_arg(LayerArgs *a, Expr *x)
{
	if (x->kind == E_NONE)
		return NULL;
	if (x->kind == E_TERNARY) {
		Val c = eval(a->e, x->b);
		if (c.kind == V_BOOL && c.known)
			return tied_arg(a, c.f != 0 ? x->a : x->c);
		if (c.kind == V_BOOL) {
			Weight *w = tied_arg(a, x->a);
			return w ? w : tied_arg(a, x->c);
		}
	}
	Val base = x->kind == E_FIELD ? eval(a->e, x->a) : eval(a->e, x);
	if (base.kind == V_LAYER && x->kind == E_FIELD && strcmp(x->name, "weight") == 0 && base.layer->weight)
		return base.layer->weight;
	if (base.kind == V_LAYER && x->kind != E_FIELD && base.layer->weight)
		return base.layer->weight;
	if (base.kind != V_POISON)
		err(a->e, x->loc, "E0435", "`weight` wants another layer's weight: embed.weight");
	a->ok = false;
	return NULL;
}

void layer_weight(LayerArgs *a, Layer *l, Type t, WeightRole role)
{
	l->weight = weight_new(a->e, l, "weight", role, t.rank, t.dim);
	param_register(a->e, l->weight, NULL);
}

static void linear_weight(LayerArgs *a, Layer *l)
{
	const Dim *in = product(l->in, l->nin), *out = product(l->out, l->nout), *one = dim_const(1);
	Stored stored = stored_arg(a);
	Type t = stored == IN_OUT ? type_make(DT_F32, 2, (const Dim *[]){ in, out })
		: type_make(DT_F32, stored == OUT_IN_1 ? 3 : 2, (const Dim *[]){ out, in, one });
	Expr *tie = layer_named(a, "weight");
	l->in_out = stored == IN_OUT;
	l->weight = tie ? tied_arg(a, tie) : NULL;
	if (!l->weight && a->ok)
		layer_weight(a, l, t, WR_MATRIX);
	else if (l->weight && !type_eq(l->weight->type, t)) {
		err(a->e, tie->loc, "E0436", "`%s` needs a weight %s, this one is %s", l->name, show_type(a->e, t),
		    show_type(a->e, l->weight->type));
		a->ok = false;
	}
}

void layer_bias(LayerArgs *a, Layer *l, const Dim *width)
{
	if (!bool_arg(a, "bias", true) || !a->ok)
		return;
	l->bias = weight_new(a->e, l, "bias", WR_BIAS, 1, &width);
	param_register(a->e, l->bias, NULL);
}

static void make_linear(LayerArgs *a, Layer *l)
{
	static const char *const names[] = { "bias", "stored", "weight" };
	l->kind = LK_LINEAR;
	layer_allow(a, 1, names, COUNT(names));
	layer_widths(a, l);
	if (!a->ok)
		return;
	linear_weight(a, l);
	if (a->ok)
		adapter_add(a->e, l, product(l->in, l->nin), product(l->out, l->nout));
	layer_bias(a, l, product(l->out, l->nout));
}

static void make_embedding(LayerArgs *a, Layer *l)
{
	static const char *const names[] = { "pad" };
	l->kind = LK_EMBEDDING;
	layer_allow(a, 1, names, COUNT(names));
	layer_widths(a, l);
	if (a->ok && (l->nin != 1 || l->nout != 1)) {
		err(a->e, a->loc, "E0433", "`embedding` maps one id to one vector: embedding(V -> D)");
		a->ok = false;
	}
	Expr *pad = layer_named(a, "pad");
	l->pad = pad ? eval(a->e, pad) : val_none();
	if (pad && l->pad.kind != V_INT && l->pad.kind != V_NONE) {
		err(a->e, pad->loc, "E0432", "`pad` is an id");
		a->ok = false;
	}
	if (a->ok)
		layer_weight(a, l, type_make(DT_F32, 2, (const Dim *[]){ l->in[0], l->out[0] }), WR_TABLE);
}

static void make_norm(LayerArgs *a, Layer *l)
{
	static const char *const layer_names[] = { "eps", "bias" }, *const rms_names[] = { "eps", "plus_one" };
	bool rms = l->kind == LK_RMSNORM;
	Expr *width = layer_positional(a, 0);
	layer_allow(a, 2, rms ? rms_names : layer_names, 2);
	if (!width) {
		err(a->e, a->loc, "E0433", "`%s` is declared with its width: %s(D)", a->layer, a->layer);
		a->ok = false;
		return;
	}
	a->ok &= eval_extent(a->e, width, &l->in[0]);
	l->nin = 1;
	l->eps = eps_arg(a, rms ? 1e-6 : 1e-5);
	l->plus_one = rms && bool_arg(a, "plus_one", false);
	if (!a->ok)
		return;
	layer_weight(a, l, type_make(DT_F32, 1, l->in), WR_SCALE);
	if (!rms)
		layer_bias(a, l, l->in[0]);
}

static void make_layernorm(LayerArgs *a, Layer *l)
{
	l->kind = LK_LAYERNORM;
	make_norm(a, l);
}

static void make_rmsnorm(LayerArgs *a, Layer *l)
{
	l->kind = LK_RMSNORM;
	make_norm(a, l);
}

static void make_unsupported(LayerArgs *a, Layer *l)
{
	unsupported(a->e, a->loc, "the layer `%s`", a->layer);
	a->ok = false;
}

static const struct { const char *name; void (*make)(LayerArgs *, Layer *); } makers[] = {
	{ "linear", make_linear }, { "embedding", make_embedding }, { "layernorm", make_layernorm },
	{ "rmsnorm", make_rmsnorm }, { "conv1d", make_conv1d }, { "conv2d", make_conv2d },
	{ "moe", make_unsupported }, { "batchnorm", make_unsupported }, { "groupnorm", make_unsupported },
};

void layer_kinds(Elab *e, NameList *out)
{
	for (int i = 0; i < COUNT(makers); i++)
		vec_push(e->arena, out, makers[i].name);
}

/* Blocks, repeats, parameters */

static Layer *unknown_layer(Elab *e, Expr *x, const char *name)
{
	NameList names = {0};
	unit_names(e, e->frame->unit, I_BLOCK, &names);
	for (int i = 0; i < COUNT(makers); i++)
		vec_push(e->arena, &names, makers[i].name);
	err(e, x->loc, "E0308", "there is no layer or block `%s`", name);
	suggest(e, name, names.at, names.len);
	return NULL;
}

Layer *layer_of_block(Elab *e, Unit *u, Item *block, const char *name, const char *path, Loc loc, const ArgVals *statics)
{
	if (item_open(e, block) || e->depth > MAX_BLOCK_DEPTH) {
		err(e, loc, "E0309", item_open(e, block) ? "`%s` contains itself" : "`%s` is inside too many other blocks", block->name);
		return NULL;
	}
	Layer *l = NEW(e->arena, Layer);
	*l = (Layer){ .kind = LK_BLOCK, .name = name, .path = path, .loc = loc, .unit = u, .block = block };
	l->frame = frame_new(e, u, block);
	if (!bind_params(e, l->frame, block->statics, statics, loc, block->name))
		return NULL;
	Frame *saved = e->frame;
	e->frame = l->frame;
	e->depth++;
	vec_push(e->arena, &e->open, block);
	run_body(e, block->body, path, true);
	e->open.len--;
	e->depth--;
	e->frame = saved;
	return l;
}

static Layer *make_called(Elab *e, Expr *x, Layer proto)
{
	Expr *callee = x->kind == E_CALL ? x->a : x;
	if (callee->kind != E_NAME) {
		if (callee->kind != E_ERROR)
			err(e, x->loc, "E0308", "a layer is declared by its name: linear(D -> F)");
		return NULL;
	}
	Unit *owner;
	Item *block = unit_item(e->frame->unit, I_BLOCK, callee->name, &owner);
	if (block && proto.tensor) {
		err(e, x->loc, "E0311", "`{}` in `at` stands for a tensor's name; `%s` is a block", block->name);
		return NULL;
	}
	if (block) {
		ArgVals statics = {0};
		fact_item(e, callee->loc, block);
		eval_args(e, x->kind == E_CALL ? x->args : NULL, &statics);
		return layer_of_block(e, owner, block, proto.name, proto.path, x->loc, &statics);
	}
	for (int i = 0; i < COUNT(makers); i++) {
		if (strcmp(makers[i].name, callee->name) != 0)
			continue;
		fact_text(e, callee->loc, internf("```sinter\n%s(..)\n```\n\na kind of layer", callee->name), (Loc){0});
		LayerArgs a = { e, makers[i].name, x->kind == E_CALL ? x->args : NULL, x->loc, true };
		Layer *l = NEW(e->arena, Layer);
		*l = proto;
		makers[i].make(&a, l);
		return a.ok ? l : NULL;
	}
	return unknown_layer(e, callee, callee->name);
}

static Layer *make_param(Elab *e, Ctor *c, Layer proto)
{
	Type t;
	Layer *l = NEW(e->arena, Layer);
	*l = proto;
	l->kind = LK_PARAM;
	if (!type_of_expr(e, c->param, &t, NULL))
		return NULL;
	if (t.dt != DT_F32) {
		err(e, c->param->loc, "E0437", "a parameter is f32");
		return NULL;
	}
	l->weight = weight_new(e, l, "", WR_PARAM, t.rank, t.dim);
	param_register(e, l->weight, c->init);
	return l;
}

static Layer *make_one_of_repeat(Elab *e, Ctor *c, const Layer *proto, const Dim *i)
{
	Layer one = *proto;
	one.path = join_path(proto->path, e->symbolic ? "0" : dim_text(i));
	int before = e->frame->vars.len;
	if (c->as)
		vec_push(e->arena, &e->frame->vars, ((Var){ .name = c->as, .val = val_int(i), .loc = c->loc, .used = true }));
	Layer *l = make(e, c->of, one);
	e->frame->vars.len = before;
	return l;
}

static Layer *make_repeat(Elab *e, Ctor *c, Layer proto)
{
	int64_t n = 1;
	Layer *l = NEW(e->arena, Layer);
	*l = proto;
	l->kind = LK_REPEAT;
	if (!eval_int(e, c->repeat, "a repeat's count", &l->count))
		return NULL;
	if (!compile_time(e, c->repeat->loc, l->count, "a repeat's count"))
		return NULL;
	dim_is_const(l->count, &n);
	if (n < 0 || n > 10000) {
		err(e, c->repeat->loc, "E0438", "a repeat of %lld layers", (long long)n);
		return NULL;
	}
	n = e->symbolic ? 1 : n;
	l->kids = NEW_ARRAY(e->arena, Layer *, n);
	l->nkids = (int)n;
	for (int i = 0; i < n; i++) {
		const Dim *at = e->symbolic ? dim_sym(c->as ? c->as : "i") : dim_const(i);
		if (!(l->kids[i] = make_one_of_repeat(e, c, &proto, at)))
			return NULL;
	}
	return l;
}

static Layer *make(Elab *e, Ctor *c, Layer proto)
{
	if (!work_left(e, c->loc, 20))
		return NULL;
	if (c->repeat)
		return make_repeat(e, c, proto);
	if (c->param)
		return make_param(e, c, proto);
	return make_called(e, c->expr, proto);
}

static Layer proto_of(Stmt *s, Name *n, const char *path)
{
	Layer p = { .name = n->name, .loc = n->loc, .decl = s->loc };
	const char *piece = s->at ? replace(s->at, "*", n->name) : n->name;
	if (strstr(piece, "{}")) {
		p.tensor = join_path(path, piece);
		p.path = path ? path : "";
	} else {
		p.path = intern(join_path(path, piece));
	}
	return p;
}

void declare(Elab *e, Stmt *s, const char *path)
{
	for (Name *n = s->names; n; n = n->next) {
		Var *old = frame_var(e->frame, n->name);
		if (old) {
			err(e, n->loc, "E0302", "`%s` is declared twice", n->name);
			note(e, old->loc, "declared here first");
			continue;
		}
		Layer *l = make(e, s->ctor, proto_of(s, n, path));
		Val v = { .kind = l ? V_LAYER : V_POISON, .layer = l };
		if (l && !l->decl.src)
			l->decl = s->loc;
		fact_value(e, n->loc, n->name, v, n->loc);
		vec_push(e->arena, &e->frame->vars,
		         ((Var){ .name = n->name, .val = v, .loc = n->loc, .declared = true, .used = !l }));
	}
}
