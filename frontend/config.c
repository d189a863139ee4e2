/* config.c: the config's values. In build mode: its default, then config.json (by the `from` keys), then the
 * preset, then --set, each overriding the one before. In check mode: a dim or int is a symbol of its own (it is
 * nominal), a dim computed from others without a `from` key is its polynomial, the rest is unknown. */
#include "frontend/elab.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

/* config.json */

static Expr *literal(Elab *e, ExprKind kind, Loc loc)
{
	Expr *x = NEW(e->arena, Expr);
	x->kind = kind;
	x->loc = loc;
	return x;
}

static Expr *number_literal(Elab *e, double f, bool is_int, int64_t n, Loc loc)
{
	Expr *x = literal(e, E_NUMBER, loc);
	x->number = f;
	x->is_int = is_int;
	x->integer = n;
	return x;
}

static void add_json_arg(Elab *e, Expr *call, json_t *obj, const char *key, const char *name)
{
	json_t *v = json_object_get(obj, key);
	if (!json_is_number(v))
		return;
	Arg *a = NEW(e->arena, Arg), **end = &call->args;
	while (*end)
		end = &(*end)->next;
	bool is_int = json_is_integer(v);
	*a = (Arg){ .name = intern(name), .loc = call->loc,
		.value = number_literal(e, json_number_value(v), is_int, is_int ? json_integer_value(v) : 0, call->loc) };
	*end = a;
}

/* rope_scaling: {"rope_type": "llama3", "factor": 32, ..} as the call llama3(factor=32, ..). */
static Expr *rope_from_json(Elab *e, json_t *obj, Loc loc)
{
	static const char *const keys[][2] = {
		{ "factor", "factor" }, { "low_freq_factor", "low" }, { "high_freq_factor", "high" },
		{ "original_max_position_embeddings", "original" }, { "beta_fast", "fast" }, { "beta_slow", "slow" }, { "attention_factor", "attention" },
	};
	const char *type = json_string_value(json_object_get(obj, "rope_type"));
	if (!type)
		type = json_string_value(json_object_get(obj, "type"));
	if (!type || strcmp(type, "default") == 0)
		return literal(e, E_NONE, loc);
	Expr *call = literal(e, E_CALL, loc);
	call->a = literal(e, E_NAME, loc);
	call->a->name = intern(type);
	int n = strcmp(type, "linear") == 0 ? 1 : COUNT(keys);
	for (int i = 0; i < n; i++)
		add_json_arg(e, call, obj, keys[i][0], keys[i][1]);
	return call;
}

static Expr *expr_from_json(Elab *e, json_t *v, Loc loc)
{
	Expr *s;
	switch (json_typeof(v)) {
	case JSON_INTEGER:
		return number_literal(e, (double)json_integer_value(v), true, json_integer_value(v), loc);
	case JSON_REAL:
		return number_literal(e, json_real_value(v), false, 0, loc);
	case JSON_TRUE:
		return literal(e, E_TRUE, loc);
	case JSON_FALSE:
		return literal(e, E_FALSE, loc);
	case JSON_STRING:
		s = literal(e, E_STRING, loc);
		s->name = intern(json_string_value(v));
		return s;
	case JSON_OBJECT:
		return rope_from_json(e, v, loc);
	default:
		return NULL;
	}
}

static json_t *json_path(json_t *root, const char *path)
{
	char key[256];
	while (root && *path) {
		size_t n = strcspn(path, ".");
		if (n >= sizeof key)
			return NULL;
		memcpy(key, path, n);
		key[n] = 0;
		root = json_object_get(root, key);
		path += n + (path[n] == '.');
	}
	return root;
}

/* By their names; two where there are none, as Hugging Face's library has it. */
static json_t *count_labels(json_t *root, json_t *names)
{
	json_object_set_new(root, "num_labels", json_integer(names ? (json_int_t)json_object_size(names) : 2));
	return json_object_get(root, "num_labels");
}

/* Newer files have the rotary base beside its scaling: rope_parameters: {"rope_theta": 10000, "rope_type": ..}. */
static json_t *json_value(json_t *root, const char *path)
{
	json_t *v = json_path(root, path), *rope = json_object_get(root, "rope_parameters"), *labels = json_object_get(root, "id2label");
	if (!v && strcmp(path, "num_labels") == 0)
		return count_labels(root, labels);
	if (v || !rope)
		return v;
	return strcmp(path, "rope_scaling") == 0 ? rope : strcmp(path, "rope_theta") == 0 ? json_object_get(rope, path) : NULL;
}

/* A config file of another kind of model lacks most keys: said rather than passed over. What is 0 by default may be left out. */
static void missing_key(Elab *e, ConfigVal *c)
{
	const char *t = c->decl->type->elem ? c->decl->type->elem : "";
	bool number = strcmp(t, "dim") == 0 || strcmp(t, "int") == 0 || strcmp(t, "float") == 0;
	if (number && c->decl->from && c->expr && c->expr->kind == E_NUMBER && c->expr->number != 0)
		warn(e, c->decl->from_loc, "W0701", "the config file has no `%s`; `%s` keeps its default", c->decl->from, c->decl->name);
}

static void apply_json(Elab *e, Unit *u, json_t *root)
{
	for (int i = 0; i < u->config.len; i++) {
		ConfigVal *c = &u->config.at[i];
		json_t *v = c->decl->from ? json_value(root, c->decl->from) : NULL;
		if (!v) {
			missing_key(e, c);
			continue;
		}
		bool rope = strcmp(c->decl->type->elem ? c->decl->type->elem : "", "rope") == 0;
		Expr *x = json_is_null(v) && rope ? literal(e, E_NONE, c->decl->from_loc) : expr_from_json(e, v, c->decl->from_loc);
		if (x) {
			c->expr = x;
			c->where = u;
			c->loc = c->decl->from_loc;
		} else if (!json_is_null(v)) {
			err(e, c->decl->from_loc, "E0708", "`%s` in the config file is neither a number, a string nor a truth value",
			    c->decl->from);
		}
	}
	for (int i = 0; i < u->used.len; i++)
		apply_json(e, u->used.at[i], root);
}

static void load_json(Elab *e, const char *path)
{
	struct stat st;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		err(e, (Loc){0}, "E0709", "%s is a directory; --config wants a file, such as %s/config.json", path, path);
		return;
	}
	json_error_t at;
	json_t *root = json_load_file(path, 0, &at);
	if (!root) {
		err(e, (Loc){0}, "E0709", "%s%s: %s", path, at.line > 0 ? internf(":%d", at.line) : "", at.text);
		return;
	}
	if (json_is_object(root))
		apply_json(e, e->root, root);
	else
		err(e, (Loc){0}, "E0709", "%s: an object is wanted, such as {\"n_embd\": 768}", path);
	json_decref(root);
}

/* Presets and --set */

static void unknown_config(Elab *e, Loc loc, const char *name)
{
	NameList names = {0};
	unit_names(e, e->root, I_CONFIG, &names);
	unit_names(e, e->root, I_DIM, &names);
	err(e, loc, "E0701", "the config has no `%s`", name);
	if (setting_called(name))
		help(e, "a setting of an entry is set by its key, `--set train.%s=..`; many are flags of the program that is built, too",
		     setting_called(name));
	else
		suggest(e, name, names.at, names.len);
}

/* A dim computed from others is an abbreviation that nothing can set, unless it has a `from` key. */
static bool is_abbreviation(const ConfigVal *c)
{
	const TypeExpr *t = c->decl->type;
	return t->elem && strcmp(t->elem, "dim") == 0 && !c->decl->from && c->decl->value && !is_literal(c->decl->value);
}

static void apply_set(Elab *e, Set *s)
{
	ConfigVal *c = unit_config(e->root, s->name, NULL);
	if (!c) {
		unknown_config(e, s->loc, s->name);
		return;
	}
	if (is_abbreviation(c)) {
		err(e, s->loc, "E0706", "`%s` is computed from other dims and cannot be set", s->name);
		note(e, c->decl->loc, "give it a `from` key to make it a dim of its own");
		return;
	}
	c->expr = s->value;
	c->where = e->root;
	c->loc = s->loc;
}

static void apply_preset(Elab *e, const char *name)
{
	Item *p = unit_item(e->root, I_PRESET, intern(name), NULL);
	if (!p) {
		NameList names = {0};
		unit_names(e, e->root, I_PRESET, &names);
		err(e, (Loc){0}, "E0710", "%s has no preset `%s`", e->root->name, name);
		suggest(e, name, names.at, names.len);
		return;
	}
	for (Set *s = p->sets; s; s = s->next)
		apply_set(e, s);
}

/* Presets nobody chose are still looked at: their names must exist. */
static void check_presets(Elab *e)
{
	for (Item *it = e->root->file->items; it; it = it->next)
		for (Set *s = it->kind == I_PRESET ? it->sets : NULL; s; s = s->next)
			if (!unit_config(e->root, s->name, NULL))
				unknown_config(e, s->loc, s->name);
}

static void set_dim(Elab *e, DimDecl *d, Set *s)
{
	int64_t n;
	e->frame = frame_new(e, e->root, NULL);
	if (!eval_const_int(e, s->value, "a bound", &n))
		return;
	if (n < 1)
		err(e, s->loc, "E0711", "the bound of `%s` must be at least 1", d->name);
	d->set = n;
}

/* "D=256" through the parser; "train.micro=4" is an entry's and left to settings.c. */
static void apply_option(Elab *e, const char *text)
{
	size_t n = strcspn(text, "=");
	if (!text[n] || n == 0) {
		err(e, (Loc){0}, "E0712", "--set %s: expected NAME=VALUE", text);
		return;
	}
	if (memchr(text, '.', n))
		return;
	const char *src = arena_printf(e->arena, "preset set { %s }\n", text);
	File *f = parse_text(e->arena, source_text(e->arena, "--set", src));
	Set *s = f && f->items ? f->items->sets : NULL;
	if (!s)
		return;
	DimDecl *d = unit_config(e->root, s->name, NULL) ? NULL : unit_dim(e->root, s->name, NULL);
	if (d)
		set_dim(e, d, s);
	else
		apply_set(e, s);
}

/* Values */

static Val wrong_type(Elab *e, ConfigVal *c, const char *want, Val got)
{
	return fail(e, c->loc, "E0713", "`%s` is %s, got %s", c->decl->name, want, val_describe(e, got));
}

static Val as_dim(Elab *e, ConfigVal *c, Val v)
{
	int64_t n;
	if (v.kind != V_INT)
		return wrong_type(e, c, "a dim", v);
	if (dim_is_const(v.n, &n) && (n < 1 || n > INT32_MAX))
		return fail(e, c->loc, "E0711", "the dim `%s` must be at least 1 and below 2^31, got %lld", c->decl->name, (long long)n);
	return v;
}

static Val as_float(Elab *e, ConfigVal *c, Val v)
{
	double f;
	if (!val_is_number(v))
		return wrong_type(e, c, "a float", v);
	return val_number(v, &f) ? val_float(f) : val_unknown(V_FLOAT);
}

static Val as_oneof(Elab *e, ConfigVal *c, Val v)
{
	NameList names = {0};
	if (v.kind != V_STRING)
		return wrong_type(e, c, "one of a few names", v);
	for (Expr *x = c->decl->type->elem_args; x; x = x->next) {
		if (x->name == v.s)
			return v;
		if (x->name)
			vec_push(e->arena, &names, x->name);
	}
	Val bad = fail(e, c->loc, "E0714", "`%s` cannot be \"%s\"", c->decl->name, v.s);
	suggest(e, v.s, names.at, names.len);
	return bad;
}

static Val as_declared(Elab *e, ConfigVal *c, Val v)
{
	const char *t = c->decl->type->elem ? c->decl->type->elem : "";
	if (v.kind == V_POISON)
		return v;
	if (strcmp(t, "dim") == 0)
		return as_dim(e, c, v);
	if (strcmp(t, "int") == 0)
		return v.kind == V_INT ? v : wrong_type(e, c, "an integer", v);
	if (strcmp(t, "float") == 0)
		return as_float(e, c, v);
	if (strcmp(t, "bool") == 0)
		return v.kind == V_BOOL ? v : wrong_type(e, c, "true or false", v);
	if (strcmp(t, "rope") == 0)
		return v.kind == V_NONE || v.kind == V_CALL ? v : wrong_type(e, c, "none, linear(f) or llama3(..)", v);
	if (strcmp(t, "oneof") == 0)
		return as_oneof(e, c, v);
	return fail(e, c->decl->type->loc, "E0715", "a config value is dim, int, float, bool, rope or oneof(..)");
}

static bool names_choice(const ConfigVal *c, const Expr *x)
{
	return x->kind == E_NAME && c->decl->type->elem && strcmp(c->decl->type->elem, "oneof") == 0;
}

static Val eval_default(Elab *e, ConfigVal *c)
{
	if (names_choice(c, c->expr))
		return val_string(c->expr->name);
	return eval_in(e, frame_new(e, c->where, NULL), c->expr);
}

static Val circular(Elab *e, ConfigVal *c)
{
	return fail(e, c->loc, "E0716", "the value of `%s` depends on itself", c->decl->name);
}

static Val number_of(Elab *e, ConfigVal *c)
{
	if (c->state == 1)
		return circular(e, c);
	if (c->state == 2)
		return c->num;
	bool symbolic = e->symbolic;
	c->state = 1;
	e->symbolic = false;
	c->num = c->expr ? as_declared(e, c, eval_default(e, c)) : (Val){ .kind = V_POISON };   /* none after a syntax error */
	e->symbolic = symbolic;
	c->state = 2;
	return c->num;
}

static const char *symbol_name(Elab *e, Unit *u, ConfigVal *c)
{
	bool own = unit_config(e->root, c->decl->name, NULL) == c;
	return own ? c->decl->name : internf("%s.%s", u->tag ? u->tag : u->name, c->decl->name);
}

static Val make_symbol(Elab *e, Unit *u, ConfigVal *c)
{
	const char *t = c->decl->type->elem ? c->decl->type->elem : "";
	if (c->num.kind == V_POISON)
		return c->num;
	if (is_abbreviation(c) || (c->where != u && c->expr && !is_literal(c->expr) && c->num.kind == V_INT)) {
		c->computed = true;
		return eval_default(e, c);
	}
	if (strcmp(t, "dim") == 0 || strcmp(t, "int") == 0)
		return val_int(dim_sym(symbol_name(e, u, c)));
	if (strcmp(t, "float") == 0)
		return val_unknown(V_FLOAT);
	if (strcmp(t, "bool") == 0)
		return val_unknown(V_BOOL);
	return val_unknown(strcmp(t, "rope") == 0 ? V_CALL : V_STRING);
}

Val config_value(Elab *e, Unit *u, ConfigVal *c)
{
	Val num = number_of(e, c);
	num.literal = false;
	if (!e->symbolic)
		return num;
	if (c->sym_state == 1)
		return circular(e, c);
	if (c->sym_state == 0) {
		c->sym_state = 1;
		c->sym = make_symbol(e, u, c);
		c->sym_state = 2;
	}
	Val sym = c->sym;
	sym.literal = false;
	return sym;
}

static void evaluate_all(Elab *e, Unit *u)
{
	for (int i = 0; i < u->config.len; i++)
		number_of(e, &u->config.at[i]);
	for (int i = 0; i < u->used.len; i++)
		evaluate_all(e, u->used.at[i]);
}

bool config_load(Elab *e, const FrontendOptions *o)
{
	int before = diag_errors();
	check_presets(e);
	if (o && o->config_json)
		load_json(e, o->config_json);
	if (o && o->preset)
		apply_preset(e, o->preset);
	for (int i = 0; o && i < o->nsets; i++)
		apply_option(e, o->sets[i]);
	evaluate_all(e, e->root);
	return diag_errors() == before;
}

/* Requirements and the record */

static void note_values(Elab *e, Expr *x)
{
	if (!x)
		return;
	if (x->kind == E_NAME) {
		double f;
		if (val_number(eval(e, x), &f))
			note(e, x->loc, "%s = %g", x->name, f);
		return;
	}
	note_values(e, x->a);
	note_values(e, x->b);
}

void require_check(Elab *e, Expr *cond, const char *text)
{
	Val v = eval(e, cond);
	if (v.kind == V_POISON)
		return;
	if (v.kind != V_BOOL) {
		err(e, cond->loc, "E0718", "`require` wants a condition, got %s", val_describe(e, v));
		return;
	}
	if (!v.known || v.f != 0)
		return;
	err(e, cond->loc, "E0707", "required: %s", text ? text : "this condition does not hold");
	note_values(e, cond);
}

void config_require(Elab *e, Unit *u)
{
	e->frame = frame_new(e, u, NULL);
	for (Item *it = u->file->items; it; it = it->next)
		if (it->kind == I_REQUIRE)
			require_check(e, it->expr, it->text);
	for (int i = 0; i < u->used.len; i++)
		config_require(e, u->used.at[i]);
}

static void record_unit(Elab *e, Unit *u)
{
	for (int i = 0; i < u->config.len; i++) {
		ConfigVal *c = &u->config.at[i];
		Setting s = { .key = c->decl->name, .doc = c->decl->doc };
		s.is_num = val_number(c->num, &s.num);
		if (c->num.kind == V_BOOL)
			s.str = c->num.f != 0 ? "true" : "false";
		else if (c->num.kind == V_STRING || c->num.kind == V_CALL)
			s.str = c->num.s;
		else if (c->num.kind == V_NONE)
			s.str = "none";
		vec_push(e->arena, &e->mod->config, s);
	}
	for (int i = 0; i < u->used.len; i++)
		record_unit(e, u->used.at[i]);
}

void config_record(Elab *e)
{
	record_unit(e, e->root);
}
