/* data.c: `data source(..), step(..), ..` as flat keys. A source's arguments become data.<name>, a step's data.<step>.<name>;
 * data.kind is the source, data.steps the steps' names in order, data.feeder what of the runtime makes examples of them (rt.def's
 * RT_FEEDERS). What the executables of this version cannot read or do is recorded all the same, with a warning: such an entry is fed
 * with --inputs. */
#include "frontend/elab.h"

typedef struct DataCall {
	const char *name;
	bool source;
	const char *by;           /* what of the runtime does it: a feeder, "" its own ways; NULL: nothing in this version */
	const char *args;         /* names in order, those before "|" positional too */
} DataCall;

static const DataCall calls[] = {
	{ "text", true, "", "file | valid tokenizer field max" },
	{ "inputs", true, "", "inputs |" },
	{ "chat", true, "chat", "file | valid tokenizer field max" },
	{ "table", true, "table", "file | valid tokenizer text pair label format max" },
	{ "words", true, "words", "file | valid tokenizer text tokens label format max" },
	{ "answers", true, "answers", "file | valid tokenizer id question context answers format stride max" },
	{ "texts", true, "texts", "| tokenizer text pair format max show" },
	{ "pairs", true, "table", "file | valid tokenizer text pair format max" },
	{ "captions", true, NULL, "file | valid tokenizer max" },
	{ "interactions", true, NULL, "file | valid user item time rating" },
	{ "images", true, NULL, "file | valid" },
	{ "image", true, NULL, "|" },
	{ "speech", true, NULL, "file | valid tokenizer rate" },
	{ "audio", true, NULL, "| rate" },
	{ "pack", false, "", "length |" },
	{ "labels_on", false, "", "role |" },
	{ "sentence_pairs", false, "pretrain", "length |" },
	{ "mask_tokens", false, "pretrain", "share |" },
	{ "leave_one_out", false, NULL, "length | split" },
	{ "shift", false, NULL, "|" },
	{ "random_crop", false, NULL, "size |" },
	{ "resize", false, NULL, "size |" },
	{ "flip", false, NULL, "|" },
	{ "normalize", false, NULL, "name | mean std" },
	{ "log_mel", false, NULL, "bins | fft hop seconds" },
};

static const DataCall *call_named(const char *name)
{
	for (int i = 0; i < COUNT(calls); i++)
		if (strcmp(calls[i].name, name) == 0)
			return &calls[i];
	return NULL;
}

/* The names in c->args; returns how many of them are positional. */
static int split_args(Elab *e, const DataCall *c, NameList *names)
{
	int positional = 0;
	for (const char *p = c->args; *p;) {
		size_t n = strcspn(p, " ");
		if (*p == '|')
			positional = names->len;
		else
			vec_push(e->arena, names, intern_n(p, n));
		p += n + strspn(p + n, " ");
	}
	return positional;
}

static const char *key_of(const DataCall *c, const char *arg)
{
	return c->source ? internf("data.%s", arg) : internf("data.%s.%s", c->name, arg);
}

static void put_any(Elab *e, Entry *entry, const char *key, Expr *x)
{
	double n;
	Val v = eval(e, x);
	if (v.kind == V_STRING)
		setting_put_string(e, entry, key, v.s);
	else if (val_number(v, &n))
		setting_put(e, entry, key, n);
	else if (v.kind != V_POISON && !val_is_number(v))
		err(e, x->loc, "E0620", "a number or a string is wanted here, got %s", val_describe(e, v));
}

static void take_args(Elab *e, Entry *entry, const DataCall *c, Arg *args)
{
	NameList names = {0};
	int positional = split_args(e, c, &names), at = 0;
	for (Arg *a = args; a; a = a->next) {
		int i = 0;
		while (a->name && i < names.len && names.at[i] != a->name)
			i++;
		if (!a->name)
			i = at < positional ? at++ : names.len;
		if (i < names.len) {
			put_any(e, entry, key_of(c, names.at[i]), a->value);
		} else if (a->name) {
			err(e, a->loc, "E0430", "`%s` has no argument `%s`", c->name, a->name);
			suggest_among(e, a->name, names.at, names.len);
		} else {
			err(e, a->value->loc, "E0431", "`%s` takes no such argument", c->name);
		}
	}
}

static void add_step(Elab *e, Entry *entry, const char *name)
{
	const Setting *s = entry_setting(entry, "data.steps");
	setting_put_string(e, entry, "data.steps", s ? internf("%s,%s", s->str, name) : name);
}

static void unknown_call(Elab *e, Expr *x, const char *name)
{
	const char *names[COUNT(calls)];
	for (int i = 0; i < COUNT(calls); i++)
		names[i] = calls[i].name;
	err(e, x->loc, "E0621", "`data` has nothing called `%s`", name);
	suggest(e, name, names, COUNT(names));
}

/* Said once an entry, of the first call that is not done. */
static void warn_fed(Elab *e, const Entry *entry, Expr *x, const char *name)
{
	warn(e, x->loc, "W0505", "executables of this version have no `%s`: `%s` is fed with --inputs FILE", name, entry->name);
}

void data_flatten(Elab *e, Entry *entry, Stmt *s)
{
	bool fed = false;
	for (Arg *a = s->args; a; a = a->next) {
		Expr *x = a->value, *n = x->kind == E_CALL ? x->a : x;
		if (n->kind != E_NAME || a->name) {
			err(e, x->loc, "E0621", "`data` wants calls, such as text(\"train.txt\")");
			continue;
		}
		bool asked = entry->kind == ENTRY_INFER && strcmp(n->name, "text") == 0;   /* there are no windows of a text to infer from */
		const DataCall *c = call_named(asked ? "texts" : n->name);
		if (!c) {
			unknown_call(e, x, n->name);
			continue;
		}
		if (c->source)
			setting_put_string(e, entry, "data.kind", c->name);
		else
			add_step(e, entry, c->name);
		if (c->by && *c->by)
			setting_put_string(e, entry, "data.feeder", c->by);
		take_args(e, entry, c, x->kind == E_CALL ? x->args : NULL);
		if (!c->by && !fed)
			warn_fed(e, entry, x, c->name);
		fed |= !c->by;
	}
	if (fed)
		setting_put(e, entry, "data.fed", 1);
}

/* Tokens and a label for each: what conversations make rows of, whatever the entry says of its data. */
void data_feeder(Elab *e, Entry *entry)
{
	int tokens = 0, labels = 0, others = 0;
	const Setting *kind = entry_setting(entry, "data.kind");
	bool judged = entry->kind == ENTRY_TRAIN || entry->kind == ENTRY_EVAL, plain = !kind || strcmp(kind->str, "text") == 0 || strcmp(kind->str, "inputs") == 0;
	for (int i = 0; i < e->frame->vars.len; i++) {
		const Var *v = &e->frame->vars.at[i];
		bool row = v->param && v->val.kind == V_TENSOR && v->val.t->type.dt == DT_I32 && v->val.t->type.rank == 2;
		tokens += row && !v->val.optional;
		labels += row && v->val.optional;
		others += v->param && !row;
	}
	if (judged && plain && tokens == 1 && labels == 1 && !others && !entry_setting(entry, "data.feeder"))
		setting_put_string(e, entry, "data.feeder", "chat");
}
