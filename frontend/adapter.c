/* adapter.c: `adapter lora(rank=, alpha=, dropout=) on "globs"` of a train entry (Hu et al. 2021, sec. 4.1): linear layers whose
 * names the globs match get two further matrices, lora_A [rank,in] and lora_B [out,rank], named as PEFT names them. In that
 * entry the layer adds alpha/rank B A dropout(x); other train entries are without them; what only runs the model adds
 * alpha/rank B A to the weight, which depends on parameters alone and is computed once. Files need not have them: A is random, B zero.
 * `sinter build --adapter "lora(..) on .."` says the same for all train entries in place of the file, and that nothing else is trained; `none`
 * that there are no adapters, and that train entries freeze nothing. */
#include "frontend/elab.h"

#include <math.h>
#include <stdlib.h>

struct Adapter {
	Item *entry;                    /* NULL: of all train entries, by --adapter */
	Expr *on;                       /* globs */
	int64_t rank;
	double alpha, dropout;
	bool used;                      /* by a layer */
};

static bool number_arg(Elab *e, Arg *a, double least, double *out)
{
	Val v = eval(e, a->value);
	if (v.kind == V_POISON)
		return false;
	if (!val_is_number(v)) {
		err(e, a->value->loc, "E0620", "a number is wanted here, got %s", val_describe(e, v));
		return false;
	}
	if (!val_number(v, out) || *out >= least)
		return true;
	err(e, a->value->loc, "E0622", "`%s` must be at least %g, got %g", a->name, least, *out);
	return false;
}

/* --set finetune.adapter.rank=4 */
static void override(Elab *e, const Item *entry, const char *name, double *out)
{
	const char *want = internf("%s.adapter.%s=", entry->name ? entry->name : entry->entry, name);
	for (int i = 0; e->options && i < e->options->nsets; i++)
		if (strncmp(e->options->sets[i], want, strlen(want)) == 0)
			*out = strtod(e->options->sets[i] + strlen(want), NULL);
}

static bool read_lora(Elab *e, Adapter *l, Arg *args)
{
	static const char *const names[] = { "rank", "alpha", "dropout" };
	double rank = 8, alpha = 0;
	double *at[] = { &rank, &alpha, &l->dropout };
	bool ok = true, known;
	for (Arg *a = args; a; a = a->next) {
		known = false;
		for (int i = 0; a->name && i < COUNT(names); i++)
			if (strcmp(names[i], a->name) == 0) {
				known = true;
				ok &= number_arg(e, a, i == 0 ? 1 : 0, at[i]);
			}
		if (known)
			continue;
		err(e, a->loc, "E0430", "`lora` has no argument `%s`", a->name ? a->name : "without a name");
		suggest_among(e, a->name ? a->name : "", names, COUNT(names));
		ok = false;
	}
	for (int i = 0; l->entry && i < COUNT(names); i++)
		override(e, l->entry, names[i], at[i]);
	l->rank = (int64_t)rank;
	l->alpha = alpha > 0 ? alpha : rank;
	if (ok && !(rank == floor(rank) && rank >= 1 && rank <= 4096 && l->dropout >= 0 && l->dropout < 1)) {
		err(e, args ? args->loc : (Loc){0}, "E0622", "`rank` is a whole number up to 4096, `dropout` is below 1");
		ok = false;
	}
	return ok;
}

static void read_adapter(Elab *e, Item *entry, Stmt *s)
{
	Expr *x = s->args && !s->args->next ? s->args->value : NULL;
	Expr *name = x && x->kind == E_CALL ? x->a : x;
	Adapter *l = NEW(e->arena, Adapter);
	l->entry = entry;
	l->on = s->on;
	if (!name || name->kind != E_NAME || strcmp(name->name, "lora") != 0 || !s->on) {
		err(e, s->loc, "E0621", "`adapter` wants lora(..) on linear layers: adapter lora(rank=8) on \"*.q_proj\"");
		return;
	}
	for (Expr *g = s->on; g; g = g->next)
		if (g->kind != E_STRING) {
			err(e, g->loc, "E0611", "a selector is a string such as \"*.q_proj\"");
			return;
		}
	if (read_lora(e, l, x->kind == E_CALL ? x->args : NULL))
		vec_push(e->arena, &e->adapters, l);
}

static void collect(Elab *e, Item *entry, Stmt *body)
{
	e->frame = frame_new(e, e->root, entry);
	for (Stmt *s = body; s; s = s->next)
		if (s->kind == S_SETTING && strcmp(s->setting, "adapter") == 0)
			read_adapter(e, entry, s);
}

/* What --adapter says, in the words of a file. */
static void collect_flag(Elab *e)
{
	const char *text = internf("weights { adapter %s }\n", e->options->adapter);
	Source *src = NEW(e->arena, Source);
	*src = (Source){ .name = "--adapter", .text = text, .len = strlen(text) };
	File *f = parse_text(e->arena, src);
	if (f && f->items && f->items->kind == I_WEIGHTS)
		collect(e, NULL, f->items->body);
}

void adapters_collect(Elab *e, Item *entry)
{
	if (!e->options || !e->options->adapter)
		collect(e, entry, entry->body);
	else if (!e->adapters.len && !adapters_refused(e))
		collect_flag(e);
}

bool adapters_refused(const Elab *e)
{
	return e->options && e->options->adapter && strcmp(e->options->adapter, "none") == 0;
}

/* Layers */

static Adapter *adapter_of(Elab *e, const char *path)
{
	for (int i = 0; i < e->adapters.len; i++)
		for (Expr *g = e->adapters.at[i]->on; g; g = g->next)
			if (glob_match(g->name, path))
				return e->adapters.at[i];
	return NULL;
}

static Weight *matrix(Elab *e, Layer *l, const char *leaf, const Dim *rows, const Dim *cols)
{
	Layer own = { .name = l->name, .path = l->path, .loc = l->loc };
	Weight *w = weight_new(e, &own, leaf, WR_ADAPTER, 2, (const Dim *[]){ rows, cols });
	param_register(e, w, NULL);
	return w;
}

void adapter_add(Elab *e, Layer *l, const Dim *in, const Dim *out)
{
	l->adapter = adapter_of(e, l->path);
	if (!l->adapter)
		return;
	const Dim *rank = dim_const(l->adapter->rank);
	l->adapter->used = true;
	int64_t n = 1;
	l->lora[0] = matrix(e, l, "lora_A.weight", rank, in);
	l->lora[1] = matrix(e, l, "lora_B.weight", out, rank);
	dim_is_const(in, &n);
	for (int i = 0; i < e->mod->params.len; i++) {
		Param *p = &e->mod->params.at[i];
		if (p->name == l->lora[0]->name)
			p->init = INIT_UNIFORM, p->a = -1 / sqrt((double)n), p->b = 1 / sqrt((double)n);
		if (p->name == l->lora[1]->name)
			p->a = l->in_out, p->b = l->adapter->alpha / (double)l->adapter->rank;   /* zeros need no numbers: rt.def says what these are */
		p->adapter |= p->name == l->lora[0]->name || p->name == l->lora[1]->name;
	}
}

static bool trains(const Item *entry)
{
	return entry && strcmp(entry->entry, "train") == 0;
}

static bool is_of(const Adapter *a, const Item *entry)
{
	return a->entry ? a->entry == entry : trains(entry);
}

void adapters_freeze(Elab *e, Item *it, Entry *entry)
{
	bool alone = e->options && e->options->adapter && !adapters_refused(e);
	for (int i = 0; i < e->adapters.len && !e->symbolic; i++) {
		Adapter *a = e->adapters.at[i];
		if (a->used || !is_of(a, it))
			continue;
		if (alone)
			err(e, a->on->loc, "E0611", "no linear layer is called so");
		else
			warn(e, a->on->loc, "W0601", "no linear layer is called so");
		a->used = true;
	}
	for (int i = 0; i < e->weights.len; i++) {
		Weight *w = e->weights.at[i];
		if (w->role == WR_ADAPTER ? !adapter_is_of(e, w, it) : alone)
			vec_push(e->arena, &entry->frozen, i);
	}
}

bool adapter_is_of(Elab *e, const Weight *w, const Item *entry)
{
	Adapter *a = adapter_of(e, w->path);
	return a && is_of(a, entry);
}

/* What the executable writes beside an adapter: of an entry's first one. */
void adapters_settings(Elab *e, const Item *it, Entry *entry)
{
	for (int i = 0; i < e->adapters.len; i++) {
		const Adapter *a = e->adapters.at[i];
		if (!is_of(a, it))
			continue;
		setting_put(e, entry, "adapter.rank", (double)a->rank);
		setting_put(e, entry, "adapter.alpha", a->alpha);
		setting_put(e, entry, "adapter.dropout", a->dropout);
		return;
	}
}

/* The weight as stored, with what the adapter adds. */
Value *adapter_merge(Elab *e, Layer *l, Value *w)
{
	Builder *b = &e->b;
	if (!l->adapter || !e->entry || trains(e->entry))
		return w;
	double scale = l->adapter->alpha / (double)l->adapter->rank;
	Value *A = weight_value(e, l->lora[0]), *B = weight_value(e, l->lora[1]);
	Value *more = l->in_out ? b_contract(b, A, B, "ri,or->io") : b_contract(b, B, A, "or,ri->oi");
	return b_binary(b, OP_ADD, w, b_binary(b, OP_MUL, more, b_const(b, DT_F32, scale)));
}

/* y with what the adapter of the entry that is trained adds for x (..,in). */
Value *adapter_apply(Elab *e, Layer *l, Value *x, Value *y)
{
	Builder *b = &e->b;
	if (!l->adapter || !is_of(l->adapter, e->entry))
		return y;
	double p = e->training ? l->adapter->dropout : 0, scale = l->adapter->alpha / (double)l->adapter->rank;
	x = p > 0 ? drop_out(e, x, p) : x;
	const char *spec = contract_last(x->type.rank, false);
	Value *low = b_contract(b, x, weight_value(e, l->lora[0]), spec);
	Value *add = b_contract(b, low, weight_value(e, l->lora[1]), spec);
	return b_binary(b, OP_ADD, y, b_binary(b, OP_MUL, add, b_const(b, DT_F32, scale)));
}
