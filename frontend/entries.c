/* entries.c: an entry's settings and its graphs. "<entry>.forward" has the entry's parameters as inputs (and `seed`
 * where a dropout is on) and what the entry promises as outputs: train `loss`, generate `next`, all their metrics.
 * train has a second graph, "<entry>.eval", without dropout. */
#include "frontend/elab.h"

enum { MOST_EXPLAINED = 512 };   /* positions of a text that is explained, where nothing says another bound */

/* Models */

static void model_instantiate(Elab *e, Unit *u, Item *it, const char *name)
{
	ArgVals none = {0};
	e->frame = frame_new(e, u, it);
	e->instance++;
	Layer *l = layer_of_block(e, u, it, name, intern(""), it->name_loc, &none);
	if (l)
		vec_push(e->arena, &e->models, l);
}

void models_instantiate(Elab *e)
{
	e->models.len = 0;
	for (int i = 0; i < e->root->uses.len; i++) {
		Unit *owner;
		Item *it = unit_item(e->root->uses.at[i].unit, I_MODEL, e->root->uses.at[i].of, &owner);
		if (it)
			model_instantiate(e, owner, it, e->root->uses.at[i].name);
	}
	for (Item *it = e->root->file->items; it; it = it->next)
		if (it->kind == I_MODEL)
			model_instantiate(e, e->root, it, it->name);
}

Layer *model_layer(Elab *e, const char *name)
{
	Item *in = e->frame->item;
	if (!in || in->kind != I_ENTRY)
		return NULL;
	for (int i = 0; i < e->models.len; i++)
		if (e->models.at[i]->name == name)
			return e->models.at[i];
	return NULL;
}

/* Run-time dims */

static void bind_names(Elab *e, Expr *x)
{
	for (; x; x = x->next) {
		Frame *f = e->frame;
		bool fresh = x->kind == E_NAME && !frame_var(f, x->name) && !frame_dim(f, x->name);
		if (fresh && unit_dim(f->unit, x->name, NULL) && !unit_config(f->unit, x->name, NULL))
			frame_bind(e, f, x->name, dim_sym(x->name));
		Expr a = x->a ? *x->a : (Expr){0}, b = x->b ? *x->b : (Expr){0};
		a.next = b.next = NULL;
		if (x->a)
			bind_names(e, &a);
		if (x->b)
			bind_names(e, &b);
	}
}

void bind_dims_of(Elab *e, ParamDecl *params)
{
	for (ParamDecl *p = params; p; p = p->next) {
		bind_names(e, p->type->shape);
		bind_names(e, p->type->elem_args);
		for (Expr *x = p->type->shape; x; x = x->next)
			if (x->kind == E_ELLIPSIS && e->frame->nrest < 0) {
				e->frame->rest[0] = dim_sym("..");
				e->frame->nrest = 1;
			}
	}
}

static void add_bounds(Elab *e, Unit *u)
{
	for (int i = 0; i < u->dims.len; i++) {
		DimDecl *d = &u->dims.at[i];
		const Dim *bound = NULL;
		Val v = d->bound ? eval_in(e, frame_new(e, u, NULL), d->bound) : val_none();
		if (v.kind == V_INT)
			bound = v.n;
		else if (v.kind != V_NONE && v.kind != V_POISON)
			err(e, d->bound->loc, "E0401", "a bound must be an integer, got %s", val_describe(e, v));
		vec_push(e->arena, &e->bounds, ((SymBound){ d->name, bound }));
	}
	for (int i = 0; i < u->used.len; i++)
		add_bounds(e, u->used.at[i]);
}

void bounds_symbolic(Elab *e, Unit *u)
{
	e->bounds.len = 0;
	add_bounds(e, u);
}

static Loc setting_loc(Item *it, const char *key)
{
	for (Stmt *s = it->body; s; s = s->next)
		for (Arg *a = s->kind == S_SETTING && strcmp(s->setting, "batch") == 0 ? s->args : NULL; a; a = a->next)
			if (a->name && strcmp(a->name, key) == 0)
				return a->loc;
	return it->loc;
}

/* What `dim T <= N` says; 0: nothing. */
static int64_t bound_declared(Elab *e, const char *name)
{
	int64_t n = 0;
	Unit *owner;
	DimDecl *d = unit_dim(e->root, name, &owner);
	Val v = d && d->bound ? eval_in(e, frame_new(e, owner, NULL), d->bound) : val_none();
	if (v.kind == V_INT)
		dim_is_const(v.n, &n);
	return n;
}

/* --set train.T=64 or T=64, else the entry's `batch .., T=64`, else what `dim T <= N` says; 0: none of them. */
static int64_t bound_of(Elab *e, Item *it, const Entry *entry, const char *name, bool *wrong)
{
	double set;
	int64_t declared = bound_declared(e, name);
	DimDecl *d = unit_dim(e->root, name, NULL);
	bool own = setting_asked(e, entry, name), asked = own || (d && d->set);
	int64_t n = !own && d && d->set ? d->set : setting_number(entry, name, &set) ? (int64_t)set : declared;
	if (!declared || n <= declared)
		return n;
	if (!asked) {   /* the file's own default, and a preset or --set that made the bound smaller */
		warn(e, setting_loc(it, name), "W0604", "%s=%lld is above the bound of `%s`; %lld is taken", name, (long long)n,
		     name, (long long)declared);
		return declared;
	}
	err(e, (Loc){0}, "E0604", "--set %s=%lld is above the bound of `%s`, which is %lld", name, (long long)n, name,
	    (long long)declared);
	note(e, d->loc, "declared here");
	*wrong = true;
	return n;
}

/* Generating goes on from one sequence, or from as many as a beam search follows. */
static int64_t batch_of(const Entry *entry)
{
	double n = 1;
	if (!setting_number(entry, "micro", &n) && !setting_number(entry, "batch", &n) && entry->kind == ENTRY_GENERATE)
		setting_number(entry, "sample.beam", &n);
	return n < 1 ? 1 : (int64_t)n;
}

static Stmt *batch_stmt(Item *it)
{
	Stmt *s = it->body;
	while (s && (s->kind != S_SETTING || strcmp(s->setting, "batch") != 0))
		s = s->next;
	return s;
}

/* A step is whole calls of `rows` sequences, or one of fewer; the executable's --batch has the same rule. */
static bool batch_fits(Elab *e, Item *it, const Entry *entry, int64_t rows)
{
	double batch;
	Stmt *s = batch_stmt(it);
	if (!setting_number(entry, "batch", &batch) || batch <= (double)rows || (int64_t)batch % rows == 0)
		return true;
	int64_t below = (int64_t)batch / rows * rows;
	if (setting_asked(e, entry, "batch") || !s) {
		err(e, (Loc){0}, "E0625", "--set %s.batch=%lld is not a multiple of the micro-batch, which is %lld", entry->name,
		    (long long)batch, (long long)rows);
		if (s)
			note(e, s->loc, "the entry's batch");
	} else {
		Arg *a = s->args;
		while (a && a->name)
			a = a->next;
		err(e, a ? a->value->loc : s->loc, "E0625", "the batch %lld is not a multiple of the micro-batch, which is %lld",
		    (long long)batch, (long long)rows);
	}
	help(e, "%lld or %lld is one, or give another `micro`", (long long)below, (long long)(below + rows));
	return false;
}

/* Where nothing bounds a dim: one sequence is generated at a time, a batch is 8 elsewhere, any other dim 512; what is trained
 * must say so. 0: no bound. */
static int64_t bound_otherwise(const Entry *entry, const char *name)
{
	double n;
	bool given = setting_number(entry, "micro", &n) || setting_number(entry, "batch", &n), eval = entry->kind == ENTRY_EVAL || entry->kind == ENTRY_INFER;
	if (strcmp(name, "B") == 0)
		return given || !eval ? batch_of(entry) : 8;
	return entry->kind == ENTRY_TRAIN ? 0 : 512;
}

/* All maps of attention are kept at once: their memory goes with the square of the bound, and people read short texts. */
static int64_t bound_explained(Elab *e, const Entry *entry, const char *name, int64_t n)
{
	double set;
	DimDecl *d = unit_dim(e->root, name, NULL);
	bool said = setting_number(entry, name, &set) || (d && d->set);
	return entry->kind == ENTRY_EXPLAIN && !said ? MIN(n, MOST_EXPLAINED) : n;
}

static bool bound_dims(Elab *e, Item *it, Entry *entry)
{
	bool wrong = false;
	e->bounds.len = 0;
	for (int i = 0; i < e->frame->dims.len; i++) {
		const char *name = e->frame->dims.at[i].name;
		int64_t n = bound_of(e, it, entry, name, &wrong);
		if (n == 0)
			n = bound_otherwise(entry, name);
		n = bound_explained(e, entry, name, n);
		if (n > 0 && strcmp(name, "B") == 0 && !batch_fits(e, it, entry, n))
			return false;
		if (n == 0) {
			err(e, it->loc, "E0605", "`%s` has no bound here: memory is planned at the bounds of run-time dims", name);
			help(e, "`dim %s <= 512`, `batch 8, %s=512` in the entry, or --set %s=512", name, name, name);
			return false;
		}
		if (entry_setting(entry, name))
			setting_put(e, entry, name, (double)n);
		if (entry->kind == ENTRY_EXPLAIN && bound_declared(e, name))   /* for whom it is too small: what the model itself allows */
			setting_put(e, entry, internf("most.%s", name), (double)bound_declared(e, name));
		graph_sym(e->b.g, name, n);
		vec_push(e->arena, &e->bounds, ((SymBound){ name, dim_const(n) }));
	}
	return !wrong;
}

/* Outputs */

static Value *as_scalar(Elab *e, Val v, Loc loc, const char *what)
{
	if (v.kind == V_POISON)
		return NULL;
	if (val_is_number(v))
		return val_value(e, v);
	if (v.kind == V_TENSOR && v.t->type.dt == DT_F32 && dim_is(type_elems(v.t->type), 1))
		return v.t->type.rank ? scalar_of(e, v.t) : v.t;
	err(e, loc, "E0606", "`%s` must be one number, got %s", what, val_describe(e, v));
	return NULL;
}

static void run_loss(Elab *e, Stmt *s)
{
	if (!s->args || s->args->next || s->args->name) {
		err(e, s->loc, "E0607", "`loss` wants one expression");
		return;
	}
	Value *v = as_scalar(e, eval(e, s->args->value), s->args->value->loc, "loss");
	place(e, s->loc);
	if (frame_var(e->frame, intern("loss")))
		err(e, s->loc, "E0607", "`loss` is given twice");
	frame_set(e, intern("loss"), s->loc, v ? val_tensor(v) : (Val){ .kind = V_POISON });
	frame_var(e->frame, intern("loss"))->used = true;
	if (v)
		b_output(&e->b, intern("loss"), v);
}

static void run_metric(Elab *e, Stmt *s)
{
	for (Arg *a = s->args; a; a = a->next) {
		if (!a->name) {
			err(e, a->value->loc, "E0607", "a metric has a name: metric acc = accuracy(..)");
			continue;
		}
		if (is_whole_metric(a->value)) {
			whole_metric(e, a->name, a->value);
			continue;
		}
		Value *v = as_scalar(e, eval(e, a->value), a->value->loc, a->name);
		place(e, s->loc);
		if (v)
			b_output(&e->b, a->name, v);
	}
}

static void run_next(Elab *e, Stmt *s)
{
	if (!s->args || s->args->next || s->args->name) {
		err(e, s->loc, "E0607", "`next` wants one expression");
		return;
	}
	Val v = eval(e, s->args->value);
	place(e, s->loc);
	frame_set(e, intern("next"), s->loc, v);
	frame_var(e->frame, intern("next"))->used = true;
	if (v.kind == V_POISON)
		return;
	if (v.kind != V_TENSOR || v.t->type.dt != DT_F32 || v.t->type.rank != 2) {
		err(e, s->args->value->loc, "E0608", "`next` wants logits [B,V], got %s", val_describe(e, v));
		if (v.kind == V_TENSOR && v.t->type.rank == 3)
			help(e, "`[:, -1]` picks the last position");
		return;
	}
	b_output(&e->b, intern("next"), v.t);
}

/* The i-th of n results: called as the variable that is returned, if it is one, else `result`, or `result.0`, `result.1`, .. */
static const char *result_name(Elab *e, Expr *x, int i, int n)
{
	bool one_each = false;
	int count = 0;
	for (Expr *k = x; k; k = k->next)
		count++;
	one_each = count == n;
	for (int k = 0; one_each && k < i; k++)
		x = x->next;
	Var *v = one_each && x->kind == E_NAME ? frame_var(e->frame, x->name) : NULL;
	if (v && !v->param && !module_param(e->mod, v->name))
		return v->name;
	return n == 1 ? intern("result") : internf("result.%d", i);
}

static void output_result(Elab *e, Frame *f, Expr *exprs)
{
	Val v = f->result, *items = v.kind == V_LIST ? v.items : &v;
	int n = v.kind == V_LIST ? v.nitems : 1;
	for (int i = 0; i < n; i++)
		if (items[i].kind == V_TENSOR)
			b_output(&e->b, result_name(e, exprs, i, n), items[i].t);
}

static void run_values(Elab *e, Item *it)
{
	for (Stmt *s = it->body; s; s = s->next) {
		if (s->kind != S_SETTING) {
			bool before = e->frame->returned;
			run_statement(e, s);
			if (e->frame->returned && !before)
				output_result(e, e->frame, s->kind == S_RETURN ? s->exprs : NULL);
		} else if (strcmp(s->setting, "loss") == 0)
			run_loss(e, s);
		else if (strcmp(s->setting, "metric") == 0)
			run_metric(e, s);
		else if (strcmp(s->setting, "next") == 0)
			run_next(e, s);
	}
}

static bool promises_kept(Elab *e, Item *it, EntryKind kind)
{
	if (kind == ENTRY_TRAIN && !frame_var(e->frame, intern("loss")))
		err(e, it->loc, "E0609", "a train entry needs a `loss`");
	else if (kind == ENTRY_GENERATE && !frame_var(e->frame, intern("next")))
		err(e, it->loc, "E0609", "a generate entry needs `next`: the logits of the next token");
	else if (kind == ENTRY_INFER && !e->frame->returned)
		err(e, it->loc, "E0609", "an infer entry returns something");
	else if (kind == ENTRY_EXPLAIN && !e->frame->returned)
		err(e, it->loc, "E0609", "an explain entry returns the scores that are to be explained");
	else
		return true;
	return false;
}

/* Graphs */

/* Inputs share their names with the graph's parameters and with what the compiler adds (docs/ir.md). */
static void check_param_name(Elab *e, Item *it, ParamDecl *p)
{
	bool generates = strcmp(it->entry, "generate") == 0;
	bool own = strcmp(p->name, "seed") == 0 || strcmp(p->name, "accumulate") == 0
		|| strcmp(p->name, generates ? "next" : "loss") == 0;
	if (own)
		err(e, p->loc, "E0616", "`%s` is a name of the compiler's own; the parameter needs another", p->name);
	else if (module_param(e->mod, p->name))
		err(e, p->loc, "E0616", "`%s` is already the name of a tensor; the parameter needs another", p->name);
}

static void entry_params(Elab *e, Item *it)
{
	for (ParamDecl *p = it->params; p; p = p->next) {
		Val v = placeholder(e, p->type, p->name, p->loc);
		check_param_name(e, it, p);
		bool tensor = v.kind == V_TENSOR || v.kind == V_POISON;
		if (!tensor)
			err(e, p->type->loc, "E0419", "an entry's parameters are tensors");
		vec_push(e->arena, &e->frame->vars, ((Var){ .name = p->name, .val = tensor ? v : (Val){ .kind = V_POISON },
		         .loc = p->loc, .param = true }));
	}
}

/* What the runtime checks of ids that a file brings. */
static void note_inputs(Elab *e, Entry *entry)
{
	entry->inputs.len = 0;
	for (int i = 0; i < e->frame->vars.len && !e->symbolic; i++) {
		const Var *v = &e->frame->vars.at[i];
		int64_t rows = 0;
		if (v->val.rows)
			dim_is_const(v->val.rows, &rows);
		vec_push(e->arena, &entry->inputs, ((EntryInput){ v->name, rows, v->val.optional }));
	}
}

/* A checkpoint has one tensor of a name: an entry reads one. */
static void find_other_heads(Elab *e, Item *it)
{
	const Graph *g = e->b.g;
	for (int i = 0; i < g->vals.len; i++) {
		const Param *p = g->vals.at[i]->op == OP_PARAM ? module_param(e->mod, g->vals.at[i]->a.name) : NULL;
		for (int k = 0; k < g->vals.len && p && p->file; k++) {
			const Param *q = g->vals.at[k]->op == OP_PARAM ? module_param(e->mod, g->vals.at[k]->a.name) : NULL;
			if (!q || q == p || param_called(q) != p->file)
				continue;
			err(e, it->loc, "E0602", "`%s` reads two tensors that would be called `%s`", entry_called(it), p->file);
			help(e, "they are of two models; `at \"..\"` gives a layer another name in the checkpoint");
			return;
		}
	}
}

static bool entry_graph_of(Elab *e, Item *it, Entry *entry, const char *suffix, bool dropout)
{
	int before = diag_errors();
	e->frame = frame_new(e, e->root, it);
	e->b = (Builder){ .g = graph_new(e->mod->arena, internf("%s.%s", entry->name, suffix)) };
	e->training = dropout;
	e->entry = it;
	e->seed = NULL;
	e->streams = 0;
	taps_begin(e, entry);
	bind_dims_of(e, it->params);
	if (!e->symbolic && !bound_dims(e, it, entry))
		return false;
	place(e, it->loc);
	entry_params(e, it);
	note_inputs(e, entry);
	data_feeder(e, entry);
	run_values(e, it);
	find_other_heads(e, it);
	facts_frame(e, e->frame);
	e->training = false;
	if (!e->unsupported && !promises_kept(e, it, entry->kind))
		return false;
	if (e->symbolic && !e->unsupported && diag_errors() == before)
		frame_unused(e, e->frame);
	vec_push(e->arena, &entry->graphs, e->b.g);
	return diag_errors() == before;
}

/* What explains a model is often called like the infer entry beside it. */
const char *entry_called(const Item *it)
{
	return !it->name ? it->entry : strcmp(it->entry, "explain") == 0 ? internf("explain_%s", it->name) : it->name;
}

static bool entry_kind(Elab *e, Item *it, EntryKind *kind)
{
	static const char *const names[ENTRY_COUNT] = {
		[ENTRY_TRAIN] = "train", [ENTRY_EVAL] = "eval", [ENTRY_GENERATE] = "generate", [ENTRY_INFER] = "infer", [ENTRY_EXPLAIN] = "explain",
	};
	for (int i = 0; i < ENTRY_COUNT; i++)
		if (strcmp(it->entry, names[i]) == 0)
			return *kind = (EntryKind)i, true;
	err(e, it->loc, "E0603", "there is no kind of entry `%s`", it->entry);
	return false;
}

static void flatten(Elab *e, Item *it, Entry *entry)
{
	e->frame = frame_new(e, e->root, it);
	bind_dims_of(e, it->params);
	for (Stmt *s = it->body; s; s = s->next)
		if (s->kind == S_SETTING)
			setting_flatten(e, entry, s);
	adapters_settings(e, it, entry);
	if (e->symbolic)
		batch_fits(e, it, entry, MAX(batch_of(entry), 1));
	else
		setting_override(e, entry);
}

static bool left_out(Elab *e, Item *it, const char *name)
{
	if (!e->unsupported)
		return false;
	if (e->symbolic)
		warn(e, e->unsupported_at, "W0502", "`%s` is left out: %s is not supported by this version", name, e->unsupported);
	return true;
}

/* Steps of one sequence are rarely meant. */
static void batch_wanted(Elab *e, Item *it, const Entry *entry)
{
	double n;
	const char *name = intern("B");
	DimDecl *d = unit_dim(e->root, name, NULL);
	bool given = setting_number(entry, "batch", &n) || setting_number(entry, "micro", &n) || setting_asked(e, entry, "batch")
		|| setting_asked(e, entry, "micro") || setting_asked(e, entry, "B");
	if (given || !frame_dim(e->frame, name) || (d && (d->bound || d->set)))
		return;
	warn(e, it->loc, "W0605", "`%s` says no `batch`: it is trained one sequence a step", entry->name);
	help(e, "`batch 32`, or `batch 32, micro=8` where memory is short; `batch 1` if that is meant");
}

Entry *entry_elaborate(Elab *e, Item *it)
{
	Entry *entry = NEW(e->arena, Entry);
	entry->name = entry_called(it);
	if (!entry_kind(e, it, &entry->kind))
		return NULL;
	e->unsupported_quiet = !e->options || e->options->nentries == 0;
	e->unsupported = NULL;
	int before = diag_errors();
	flatten(e, it, entry);
	if (!e->symbolic && diag_errors() > before)
		return NULL;
	bool train = entry->kind == ENTRY_TRAIN;
	if (train)
		adapters_freeze(e, it, entry);
	bool ok = !left_out(e, it, entry->name) && entry_graph_of(e, it, entry, "forward", train);
	if (ok && train && !e->symbolic)
		ok = entry_graph_of(e, it, entry, "eval", false);
	if (ok && left_out(e, it, entry->name))
		ok = false;
	if (ok && train && e->symbolic && diag_errors() == before)
		batch_wanted(e, it, entry);
	e->unsupported_quiet = false;
	e->unsupported = NULL;
	return ok ? entry : NULL;
}

/* As bound_dims() decides, but a dim without a bound is no error: 0. */
static int64_t bound_given(Elab *e, Item *it, const Entry *entry, const char *name, bool *wrong)
{
	int64_t n = bound_of(e, it, entry, name, wrong);
	return bound_explained(e, entry, name, n ? n : bound_otherwise(entry, name));
}

Entry *entry_settings(Elab *e, Item *it, SymList *dims, const char **left_out)
{
	Entry *entry = NEW(e->arena, Entry);
	bool wrong = false;
	int before = diag_errors();
	entry->name = entry_called(it);
	if (!entry_kind(e, it, &entry->kind))
		return NULL;
	e->unsupported_quiet = true;
	e->unsupported = NULL;
	flatten(e, it, entry);
	*left_out = e->unsupported;
	e->unsupported_quiet = false;
	e->unsupported = NULL;
	for (int i = 0; i < e->frame->dims.len; i++) {
		const char *name = e->frame->dims.at[i].name;
		vec_push(e->arena, dims, ((Sym){ name, bound_given(e, it, entry, name, &wrong) }));
	}
	return wrong || diag_errors() > before ? NULL : entry;
}
