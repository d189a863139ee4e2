/* settings.c: an entry's settings as the flat keys of docs/ir.md. Each setting's clauses are data: which calls it
 * takes, which of their arguments become which keys. */
#include "frontend/elab.h"

#include <math.h>
#include <stdlib.h>

typedef enum ArgType { AT_NUMBER, AT_STRING } ArgType;
typedef struct KeyOf { const char *arg, *key; ArgType type; } KeyOf;   /* arg "0": the first positional one */
typedef struct Clause { const char *setting, *call, *kind_key, *kind; KeyOf keys[8]; } Clause;

/* Calls inside settings. `kind_key` gets `kind` when the call is there. */
static const Clause clauses[] = {
	{ "optimizer", "adamw", "optimizer.kind", "adamw", { { "lr", "optimizer.lr", AT_NUMBER },
		{ "eps", "optimizer.eps", AT_NUMBER }, { "weight_decay", "optimizer.weight_decay", AT_NUMBER } } },
	{ "optimizer", "adam", "optimizer.kind", "adam", { { "lr", "optimizer.lr", AT_NUMBER },
		{ "eps", "optimizer.eps", AT_NUMBER }, { "weight_decay", "optimizer.weight_decay", AT_NUMBER } } },
	{ "schedule", "warmup", NULL, NULL, { { "0", "schedule.warmup", AT_NUMBER } } },
	{ "schedule", "constant", "schedule.kind", "constant", { { "steps", "schedule.steps", AT_NUMBER },
		{ "epochs", "schedule.epochs", AT_NUMBER } } },
	{ "schedule", "cosine_to", "schedule.kind", "cosine", { { "0", "schedule.final", AT_NUMBER },
		{ "steps", "schedule.steps", AT_NUMBER }, { "epochs", "schedule.epochs", AT_NUMBER } } },
	{ "schedule", "linear_to", "schedule.kind", "linear", { { "0", "schedule.final", AT_NUMBER },
		{ "steps", "schedule.steps", AT_NUMBER }, { "epochs", "schedule.epochs", AT_NUMBER } } },
	{ "sample", "temperature", NULL, NULL, { { "0", "sample.temperature", AT_NUMBER } } },
	{ "sample", "top_k", NULL, NULL, { { "0", "sample.top_k", AT_NUMBER } } },
	{ "sample", "top_p", NULL, NULL, { { "0", "sample.top_p", AT_NUMBER } } },
	{ "sample", "min_p", NULL, NULL, { { "0", "sample.min_p", AT_NUMBER } } },
	{ "sample", "beam", NULL, NULL, { { "0", "sample.beam", AT_NUMBER } } },
	{ "sample", "greedy", NULL, NULL, { { 0 } } },
};

typedef enum Range { R_ANY, R_NOT_NEGATIVE, R_ABOVE_ZERO, R_SHARE, R_BELOW_ONE, R_COUNT } Range;
static const char *const range_text[] = {
	[R_NOT_NEGATIVE] = "a number of 0 or more", [R_ABOVE_ZERO] = "a number above 0", [R_SHARE] = "a number from 0 to 1",
	[R_BELOW_ONE] = "a number from 0 to below 1", [R_COUNT] = "a whole number of 0 or more",
};

static const struct { const char *key, *doc; Range range; } docs[] = {
	{ "data.file", "training text", R_ANY }, { "data.valid", "validation text", R_ANY },
	{ "data.tokenizer", "tokenizer.json", R_ANY },
	{ "optimizer.lr", "learning rate", R_NOT_NEGATIVE }, { "optimizer.beta1", "decay of the first moment", R_BELOW_ONE },
	{ "optimizer.beta2", "decay of the second moment", R_BELOW_ONE },
	{ "optimizer.eps", "added to the denominator", R_ABOVE_ZERO },
	{ "optimizer.weight_decay", "decoupled weight decay", R_NOT_NEGATIVE },
	{ "schedule.warmup", "steps of linear warm-up", R_COUNT },
	{ "schedule.final", "learning rate at the end", R_NOT_NEGATIVE }, { "schedule.steps", "steps in all", R_COUNT },
	{ "schedule.epochs", "passes over the data in all", R_ABOVE_ZERO },
	{ "ema", "decay of the parameters' running mean; 0: none", R_BELOW_ONE },
	{ "stop.patience", "validations without a better result before training ends", R_COUNT },
	{ "stop.best", "the metric that is to grow; without: the loss is to fall", R_ANY },
	{ "sample.beam", "width of the beam search", R_COUNT },
	{ "clip", "largest gradient norm; 0: none", R_NOT_NEGATIVE }, { "batch", "sequences a step", R_ANY },
	{ "micro", "sequences a pass", R_ANY }, { "T", "tokens a sequence", R_ANY },
	{ "validate.every", "steps between validations", R_COUNT }, { "save.every", "steps between checkpoints", R_COUNT },
	{ "sample.temperature", "0: always the likeliest", R_NOT_NEGATIVE }, { "sample.top_k", "only the k likeliest", R_COUNT },
	{ "sample.top_p", "only the likeliest of this mass", R_SHARE },
	{ "sample.min_p", "only those this likely beside the likeliest", R_SHARE }, { "limit", "tokens at most", R_COUNT },
	{ "draft", "tokens that a smaller model proposes at a time: they go through this one together", R_COUNT },
	{ "chunk", "tokens of a prompt that go through the model at a time", R_COUNT },
	{ "prompt", "text before the user's", R_ANY },
	{ "precision", "what contractions read: f32, or bf16 (docs/language.md)", R_ANY },
	{ "cache", "how keys and values of earlier tokens are kept: f32, bf16 or f16 in half the memory, q8_0 in a good quarter", R_ANY },
	{ "quantize", "how weights are kept: blocks of q8_0 or q4_0 (docs/language.md)", R_ANY },
};

static bool in_range(Range r, double x)
{
	switch (r) {
	case R_ANY: return true;
	case R_NOT_NEGATIVE: return x >= 0 && isfinite(x);
	case R_ABOVE_ZERO: return x > 0 && isfinite(x);
	case R_SHARE: return x >= 0 && x <= 1;
	case R_BELOW_ONE: return x >= 0 && x < 1;
	case R_COUNT: return x >= 0 && x <= 0x1p53 && x == floor(x);
	}
	return false;
}

/* What the setting wants if x is not that, else NULL. The executable's flags have the same ranges (runtime/flags.c). */
static const char *out_of_range(const char *key, double x)
{
	for (int i = 0; i < COUNT(docs); i++)
		if (strcmp(docs[i].key, key) == 0)
			return in_range(docs[i].range, x) ? NULL : range_text[docs[i].range];
	return NULL;
}

/* Keys */

static Setting *slot(Elab *e, Entry *entry, const char *key)
{
	for (int i = 0; i < entry->settings.len; i++)
		if (strcmp(entry->settings.at[i].key, key) == 0)
			return &entry->settings.at[i];
	vec_push(e->arena, &entry->settings, (Setting){ .key = intern(key) });
	Setting *s = &entry->settings.at[entry->settings.len - 1];
	for (int i = 0; i < COUNT(docs); i++)
		if (strcmp(docs[i].key, key) == 0)
			s->doc = docs[i].doc;
	return s;
}

static void put_number(Elab *e, Entry *entry, const char *key, double x)
{
	Setting *s = slot(e, entry, key);
	s->is_num = true;
	s->num = x;
	s->str = NULL;
}

void setting_put_string(Elab *e, Entry *entry, const char *key, const char *text)
{
	Setting *s = slot(e, entry, key);
	s->is_num = false;
	s->str = text;
}

static void put(Elab *e, Entry *entry, const char *key, ArgType type, Expr *x)
{
	double n;
	Val v = eval(e, x);
	if (v.kind == V_POISON)
		return;
	if (type == AT_STRING ? v.kind != V_STRING : !val_is_number(v)) {
		err(e, x->loc, "E0620", "%s is wanted here, got %s", type == AT_STRING ? "a string" : "a number", val_describe(e, v));
		return;
	}
	if (type == AT_STRING)
		setting_put_string(e, entry, key, v.s);
	else if (val_number(v, &n)) {
		const char *wanted = out_of_range(key, n);
		if (wanted)
			err(e, x->loc, "E0622", "`%s` must be %s, got %g", key, wanted, n);
		put_number(e, entry, key, n);
	}
}

void setting_put(Elab *e, Entry *entry, const char *key, double x)
{
	put_number(e, entry, key, x);
}

bool setting_asked(Elab *e, const Entry *entry, const char *key)
{
	const char *want = internf("%s.%s=", entry->name, key);
	for (int i = 0; e->options && i < e->options->nsets; i++)
		if (strncmp(e->options->sets[i], want, strlen(want)) == 0)
			return true;
	return false;
}

bool setting_number(const Entry *entry, const char *key, double *out)
{
	const Setting *s = entry_setting(entry, key);
	if (!s || !s->is_num)
		return false;
	*out = s->num;
	return true;
}

/* Clauses */

static const KeyOf *key_of(const Clause *c, const char *name)
{
	for (int i = 0; i < COUNT(c->keys) && c->keys[i].arg; i++)
		if (strcmp(c->keys[i].arg, name) == 0)
			return &c->keys[i];
	return NULL;
}

static void bad_argument(Elab *e, const Clause *c, Arg *a)
{
	const char *names[COUNT(c->keys) + 1];
	int n = 0;
	if (strcmp(c->setting, "optimizer") == 0)
		names[n++] = "betas";
	for (int i = 0; i < COUNT(c->keys) && c->keys[i].arg; i++)
		if (c->keys[i].arg[0] != '0')
			names[n++] = c->keys[i].arg;
	if (!a->name) {
		err(e, a->value->loc, "E0431", "`%s` takes no such argument", c->call);
		return;
	}
	err(e, a->loc, "E0430", "`%s` has no argument `%s`", c->call, a->name);
	suggest_among(e, a->name, names, n);
}

static void put_betas(Elab *e, Entry *entry, Arg *a)
{
	Expr *b1 = a->value->kind == E_LIST ? a->value->kids : NULL, *b2 = b1 ? b1->next : NULL;
	if (!b2 || b2->next) {
		err(e, a->value->loc, "E0620", "`betas` are two numbers: [0.9, 0.95]");
		return;
	}
	put(e, entry, "optimizer.beta1", AT_NUMBER, b1);
	put(e, entry, "optimizer.beta2", AT_NUMBER, b2);
}

static void take_clause(Elab *e, Entry *entry, const Clause *c, Arg *args)
{
	int at = 0;
	if (c->kind_key)
		setting_put_string(e, entry, c->kind_key, c->kind);
	if (strcmp(c->call, "greedy") == 0)
		put_number(e, entry, "sample.temperature", 0);
	if (strcmp(c->call, "adam") == 0)
		put_number(e, entry, "optimizer.weight_decay", 0);
	for (Arg *a = args; a; a = a->next) {
		const KeyOf *k = a->name ? key_of(c, a->name) : at++ == 0 ? key_of(c, "0") : NULL;
		if (a->name && strcmp(a->name, "betas") == 0 && strcmp(c->setting, "optimizer") == 0)
			put_betas(e, entry, a);
		else if (k)
			put(e, entry, k->key, k->type, a->value);
		else
			bad_argument(e, c, a);
	}
}

static void unknown_clause(Elab *e, Stmt *s, Expr *x, const char *name)
{
	const char *names[COUNT(clauses)];
	int n = 0;
	for (int i = 0; i < COUNT(clauses); i++)
		if (strcmp(clauses[i].setting, s->setting) == 0)
			names[n++] = clauses[i].call;
	err(e, x->loc, "E0621", "`%s` has nothing called `%s`", s->setting, name);
	suggest_among(e, name, names, n);
}

/* optimizer, schedule, sample: lists of calls */
static void take_calls(Elab *e, Entry *entry, Stmt *s)
{
	for (Arg *a = s->args; a; a = a->next) {
		Expr *x = a->value, *n = x->kind == E_CALL ? x->a : x;
		if (n->kind != E_NAME || a->name) {
			err(e, x->loc, "E0621", "`%s` wants calls, such as %s", s->setting,
			    strcmp(s->setting, "sample") == 0 ? "temperature(0.8)" : "warmup(100) or adamw(lr=1e-3)");
			continue;
		}
		int i = 0;
		while (i < COUNT(clauses) && (strcmp(clauses[i].setting, s->setting) != 0 || strcmp(clauses[i].call, n->name) != 0))
			i++;
		if (i < COUNT(clauses))
			take_clause(e, entry, &clauses[i], x->kind == E_CALL ? x->args : NULL);
		else
			unknown_clause(e, s, x, n->name);
	}
}

static void take_number(Elab *e, Entry *entry, Stmt *s)
{
	if (!s->args || s->args->next || s->args->name)
		err(e, s->loc, "E0620", "`%s` wants one number", s->setting);
	else
		put(e, entry, s->setting, AT_NUMBER, s->args->value);
}

static void take_string(Elab *e, Entry *entry, Stmt *s)
{
	if (!s->args || s->args->next || s->args->name)
		err(e, s->loc, "E0620", "`%s` wants one string", s->setting);
	else
		put(e, entry, s->setting, AT_STRING, s->args->value);
}

static void take_every(Elab *e, Entry *entry, Stmt *s)
{
	if (!s->every)
		err(e, s->loc, "E0620", "`%s` wants `every`: %s every 1_000", s->setting, s->setting);
	else
		put(e, entry, internf("%s.every", s->setting), AT_NUMBER, s->every);
}

static void positive_int(Elab *e, Entry *entry, const char *key, Expr *x)
{
	double n;
	put(e, entry, key, AT_NUMBER, x);
	if (setting_number(entry, key, &n) && (n < 1 || n != (double)(int64_t)n))
		err(e, x->loc, "E0622", "`%s` must be a whole number of at least 1, got %g", key, n);
}

/* generate: stop "text", ..; train: stop patience=10, best="metric" */
static void take_stop(Elab *e, Entry *entry, Stmt *s)
{
	static const char *const names[] = { "patience", "best" };
	int n = 0;
	for (Arg *a = s->args; a; a = a->next) {
		if (!a->name)
			put(e, entry, internf("stop.%d", n++), AT_STRING, a->value);
		else if (strcmp(a->name, "patience") == 0)
			positive_int(e, entry, "stop.patience", a->value);
		else if (strcmp(a->name, "best") == 0)
			put(e, entry, "stop.best", AT_STRING, a->value);
		else {
			err(e, a->loc, "E0430", "`stop` has no argument `%s`", a->name);
			suggest_among(e, a->name, names, COUNT(names));
		}
	}
}

/* batch 480, micro=12, T=1024: named ones are bounds of run-time dims */
static void take_batch(Elab *e, Entry *entry, Stmt *s)
{
	NameList names = {0};
	unit_names(e, e->root, I_DIM, &names);
	vec_push(e->arena, &names, "micro");
	for (Arg *a = s->args; a; a = a->next) {
		bool dim = a->name && unit_dim(e->root, a->name, NULL);
		if (!a->name)
			positive_int(e, entry, "batch", a->value);
		else if (dim || strcmp(a->name, "micro") == 0)
			positive_int(e, entry, a->name, a->value);
		else {
			err(e, a->loc, "E0430", "`batch` has no argument `%s`", a->name);
			suggest(e, a->name, names.at, names.len);
		}
	}
}

static void take_precision(Elab *e, Entry *entry, Stmt *s)
{
	Expr *x = s->args ? s->args->value : NULL;
	const char *name = x && x->kind == E_NAME ? x->name : "";
	if (strcmp(name, "bf16") == 0 && entry->kind == ENTRY_EXPLAIN)
		err(e, s->loc, "E0620", "explain entries compute in f32: a gradient through rounded values is not that of the score");
	else if (strcmp(name, "bf16") == 0)
		setting_put_string(e, entry, "precision", name);
	else if (strcmp(name, "f16") == 0)
		warn(e, s->loc, "W0501", "this version computes in f32 and bf16 only; `%s` runs in f32", entry->name);
	else if (strcmp(name, "f32") != 0)
		err(e, s->loc, "E0620", "`precision` is f32, bf16 or f16");
}

static bool is_cache(const char *name)
{
	static const char *const kinds[] = { "f32", "bf16", "f16", "q8_0" };
	for (int i = 0; i < COUNT(kinds); i++)
		if (strcmp(name, kinds[i]) == 0)
			return true;
	return false;
}

static void take_cache(Elab *e, Entry *entry, Stmt *s)
{
	Expr *x = s->args ? s->args->value : NULL;
	const char *name = x && x->kind == E_NAME ? x->name : "";
	if (!is_cache(name))
		err(e, s->loc, "E0620", "`cache` is f32, bf16, f16 or q8_0");
	else if (entry->kind != ENTRY_GENERATE)
		err(e, s->loc, "E0620", "`cache` is for generate entries: others keep no keys and values");
	else
		setting_put_string(e, entry, "cache", name);
}

static void take_quantize(Elab *e, Entry *entry, Stmt *s)
{
	Expr *x = s->args ? s->args->value : NULL;
	const char *name = x && x->kind == E_NAME ? x->name : "";
	if (quant_find(name) == QUANT_COUNT || quant_find(name) == QUANT_NONE)
		err(e, s->loc, "E0620", "`quantize` is %s or %s", quant_name[QUANT_Q8_0], quant_name[QUANT_Q4_0]);
	else if (entry->kind == ENTRY_TRAIN || entry->kind == ENTRY_EXPLAIN)
		err(e, s->loc, "E0620", "`quantize` is for generate, eval and infer entries: what has gradients keeps its weights in f32");
	else
		setting_put_string(e, entry, "quantize", name);
}

/* check.c reads it off the item. */
static void take_compile(Elab *e, Entry *entry, Stmt *s)
{
	Expr *x = s->args ? s->args->value : NULL;
	if (!x || s->args->next || x->kind != E_NAME || strcmp(x->name, "on_request") != 0)
		err(e, s->loc, "E0620", "`compile on_request` is all that there is to say of this kind");
	else
		setting_put_string(e, entry, "compile", x->name);
}

static const struct { const char *name; void (*take)(Elab *, Entry *, Stmt *); } settings[] = {
	{ "loss", NULL }, { "metric", NULL }, { "next", NULL },
	{ "data", data_flatten }, { "optimizer", take_calls }, { "schedule", take_calls },
	{ "sample", take_calls }, { "clip", take_number }, { "limit", take_number }, { "chunk", take_number }, { "draft", take_number },
	{ "prompt", take_string }, { "validate", take_every }, { "save", take_every },
	{ "stop", take_stop }, { "batch", take_batch }, { "precision", take_precision },
	{ "freeze", weights_freeze }, { "ema", take_number }, { "adapter", NULL },
	{ "quantize", take_quantize }, { "cache", take_cache }, { "compile", take_compile },
};

void setting_flatten(Elab *e, Entry *entry, Stmt *s)
{
	const char *names[COUNT(settings)];
	for (int i = 0; i < COUNT(settings); i++) {
		names[i] = settings[i].name;
		if (strcmp(settings[i].name, s->setting) != 0)
			continue;
		if (settings[i].take)
			settings[i].take(e, entry, s);
		return;
	}
	err(e, s->loc, "E0623", "an entry has no setting `%s`", s->setting);
	suggest(e, s->setting, names, COUNT(names));
}

const char *setting_called(const char *name)
{
	for (int i = 0; i < COUNT(docs); i++) {
		const char *last = strrchr(docs[i].key, '.');
		if (strcmp(docs[i].key, name) == 0 || (last && strcmp(last + 1, name) == 0))
			return docs[i].key;
	}
	return NULL;
}

/* --set train.micro=4 */

static bool key_known(Elab *e, const Entry *entry, const char *key)
{
	NameList names = {0};
	for (int i = 0; i < COUNT(docs); i++)
		vec_push(e->arena, &names, docs[i].key);
	unit_names(e, e->root, I_DIM, &names);
	for (int i = 0; i < entry->settings.len; i++)
		vec_push(e->arena, &names, entry->settings.at[i].key);
	for (int i = 0; i < names.len; i++)
		if (strcmp(names.at[i], key) == 0)
			return true;
	err(e, (Loc){0}, "E0624", "--set: `%s` has no setting `%s`", entry->name, key);
	for (int i = 0; i < names.len; i++) {
		const char *last = strrchr(names.at[i], '.');
		if (strncmp(names.at[i], key, strlen(key)) == 0 || (last && strncmp(last + 1, key, strlen(key)) == 0)) {   /* the beginning of it or of its last piece */
			help(e, "did you mean `%s`?", names.at[i]);
			return false;
		}
	}
	suggest(e, key, names.at, names.len);
	return false;
}

static bool wants_string(const Entry *entry, const char *key)
{
	const Setting *s = entry_setting(entry, key);
	if (s || strcmp(key, "stop.patience") == 0)
		return s && !s->is_num;
	return strncmp(key, "data.", 5) == 0 || strncmp(key, "stop.", 5) == 0 || strcmp(key, "prompt") == 0 || strcmp(key, "precision") == 0
		|| strcmp(key, "quantize") == 0 || strcmp(key, "cache") == 0 || strstr(key, ".kind");
}

static void override(Elab *e, Entry *entry, const char *key, const char *text)
{
	char *end;
	double n = strtod(text, &end), count;
	bool whole = unit_dim(e->root, key, NULL) || strcmp(key, "micro") == 0 || strcmp(key, "batch") == 0;
	bool rounds = strcmp(text, "bf16") == 0 && entry->kind != ENTRY_EXPLAIN;
	if (strcmp(key, "precision") == 0 && strcmp(text, "f32") != 0 && !rounds) {
		err(e, (Loc){0}, "E0620", "--set %s.precision: f32%s is wanted, got \"%s\"", entry->name, entry->kind == ENTRY_EXPLAIN ? "" : " or bf16", text);
		return;
	}
	if (strcmp(key, "quantize") == 0 && (quant_find(text) == QUANT_COUNT || quant_find(text) == QUANT_NONE || entry->kind == ENTRY_TRAIN || entry->kind == ENTRY_EXPLAIN)) {
		err(e, (Loc){0}, "E0620", "--set %s.quantize: q8_0 or q4_0 is wanted, of a generate, eval or infer entry, got \"%s\"", entry->name, text);
		return;
	}
	if (strcmp(key, "cache") == 0 && (!is_cache(text) || entry->kind != ENTRY_GENERATE)) {
		err(e, (Loc){0}, "E0620", "--set %s.cache: f32, bf16, f16 or q8_0 is wanted, of a generate entry, got \"%s\"", entry->name, text);
		return;
	}
	if (wants_string(entry, key)) {
		setting_put_string(e, entry, key, intern(text));
		return;
	}
	if (end == text || *end) {
		err(e, (Loc){0}, "E0620", "--set %s.%s: a number is wanted, got \"%s\"", entry->name, key, text);
		return;
	}
	const char *wanted = out_of_range(key, n);
	put_number(e, entry, key, n);
	if (wanted)
		err(e, (Loc){0}, "E0622", "--set %s.%s: %s is wanted, got %s", entry->name, key, wanted, text);
	if (whole && setting_number(entry, key, &count) && (count < 1 || count != (double)(int64_t)count))
		err(e, (Loc){0}, "E0622", "--set %s.%s: a whole number of at least 1 is wanted, got %s", entry->name, key, text);
}

void setting_override(Elab *e, Entry *entry)
{
	size_t len = strlen(entry->name);
	for (int i = 0; e->options && i < e->options->nsets; i++) {
		const char *text = e->options->sets[i], *eq = strchr(text, '=');
		if (!eq || strncmp(text, entry->name, len) != 0 || text[len] != '.')
			continue;
		const char *key = intern_n(text + len + 1, (size_t)(eq - text) - len - 1);
		if (key_known(e, entry, key))
			override(e, entry, key, eq + 1);
	}
}
