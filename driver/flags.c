/* flags.c: the table of subcommands and flags, and how arguments are read by it: `--name value`, `--name=value`,
 * `-x value`, `-xvalue`; `--` ends the flags, `-` alone is an operand. Wrong names and values get a suggestion. */
#include "driver/driver.h"

#define NOTHING {KIND_NOTHING, NULL}
#define TEXT {KIND_TEXT, NULL}
#define ANY_FILE {KIND_ANY_FILE, NULL}
#define MODEL {KIND_MODEL, NULL}
#define GRAPH {KIND_GRAPH, NULL}
#define CODE {KIND_CODE, NULL}
#define COMMAND_NAME {KIND_COMMAND_NAME, NULL}
#define CHOICE(list) {KIND_CHOICE, list}

const FlagInfo flag_info[] = {
#define FLAG(name, letter, value, kind, commands, doc) {name, letter, value, kind, commands, doc},
#include "driver/flags.def"
};
const int flag_count = COUNT(flag_info);

const Command command_info[CMD_COUNT] = {
#define COMMAND(id, operands, kind, least, most, doc, more) [CMD_##id] = {#id, operands, kind, least, most, doc, more, run_##id},
#include "driver/flags.def"
};

int text_split(Arena *a, const char *text, const char *separators, const char *const **parts)
{
	Vec(const char *) v = {0};
	for (const char *p = text; p;) {
		size_t n = strcspn(p, separators);
		vec_push(a, &v, arena_strndup(a, p, n));
		p = p[n] ? p + n + 1 : NULL;
	}
	*parts = v.at;
	return v.len;
}

static const FlagInfo *find_long(CommandId c, const char *name, size_t len)
{
	for (int i = 0; i < flag_count; i++)
		if ((flag_info[i].commands >> c & 1) && strlen(flag_info[i].name) == len && strncmp(flag_info[i].name, name, len) == 0)
			return &flag_info[i];
	return NULL;
}

static const FlagInfo *find_letter(CommandId c, char letter)
{
	for (int i = 0; i < flag_count; i++)
		if ((flag_info[i].commands >> c & 1) && flag_info[i].letter == letter)
			return &flag_info[i];
	return NULL;
}

static const FlagInfo *unknown(CommandId c, const char *arg, size_t len)
{
	const char *names[64];
	int n = 0;
	for (int i = 0; i < flag_count && n < COUNT(names); i++)
		if (flag_info[i].commands >> c & 1)
			names[n++] = flag_info[i].name;
	const char *bare = intern_n(arg, len), *near = diag_nearest(bare + strspn(bare, "-"), names, n);
	diag_error((Loc){0}, NULL, "`sinter %s` has no flag %s", command_info[c].name, bare);
	if (near)
		diag_help("did you mean --%s?", near);
	else
		diag_help("`sinter %s --help` lists its flags", command_info[c].name);
	return NULL;
}

/* The value must be among the choices; `what` is "--emit=" or "" for an operand. */
static bool choice_ok(Arena *a, Wanted w, const char *what, const char *value)
{
	const char *const *choices;
	if (w.kind != KIND_CHOICE)
		return true;
	int n = text_split(a, w.choices, " ", &choices);
	for (int i = 0; i < n; i++)
		if (strcmp(choices[i], value) == 0)
			return true;
	const char *near = diag_nearest(value, choices, n);
	diag_error((Loc){0}, NULL, "%s%s is none of: %s", what, *value ? value : "\"\"", w.choices);
	if (near)
		diag_help("did you mean %s%s?", what, near);
	return false;
}

/* The flag at argv[*i] with its value, which may stand apart: then *i moves on. */
static bool read_one(Arena *a, int argc, char **argv, int *i, Flags *out)
{
	const char *arg = argv[*i], *eq = strchr(arg, '='), *value;
	bool is_long = arg[1] == '-';
	size_t len = is_long && eq ? (size_t)(eq - arg) : strlen(arg);
	const FlagInfo *f = is_long ? find_long(out->command, arg + 2, len - 2) : find_letter(out->command, arg[1]);
	if (!f || (!is_long && !f->value && arg[2]))
		return unknown(out->command, arg, len);
	if (is_long)
		value = eq ? eq + 1 : NULL;
	else
		value = arg[2] ? arg + 2 + (arg[2] == '=') : NULL;
	if (!f->value && value) {
		diag_error((Loc){0}, NULL, "--%s takes no value", f->name);
		return false;
	}
	if (f->value && !value) {
		if (*i + 1 >= argc) {
			diag_error((Loc){0}, NULL, "--%s wants a value: %s", f->name, f->value);
			return false;
		}
		value = argv[++*i];
	}
	vec_push(a, &out->given, f);
	vec_push(a, &out->values, value);
	return !value || choice_ok(a, f->wanted, arena_printf(a, "--%s=", f->name), value);
}

static bool operands_ok(Arena *a, const Flags *f)
{
	const Command *c = &command_info[f->command];
	if (f->rest.len < c->least || (c->most >= 0 && f->rest.len > c->most)) {
		diag_error((Loc){0}, NULL, "`sinter %s` %s %s, got %d operand%s", c->name, c->most ? "wants" : "takes no operand",
		           c->operands, f->rest.len, f->rest.len == 1 ? "" : "s");
		bool choice = c->wanted.kind == KIND_CHOICE;
		diag_help("usage: sinter %s %s%s%s", c->name, c->operands, choice ? "; one of: " : "", choice ? c->wanted.choices : "");
		return false;
	}
	bool ok = true;
	for (int i = 0; i < f->rest.len; i++)
		ok &= choice_ok(a, c->wanted, "", f->rest.at[i]);
	return ok;
}

bool flags_read(Arena *a, CommandId c, int argc, char **argv, Flags *out)
{
	bool ok = true;
	out->command = c;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			for (i++; i < argc; i++)
				vec_push(a, &out->rest, argv[i]);
		} else if (argv[i][0] == '-' && argv[i][1]) {
			ok &= read_one(a, argc, argv, &i, out);
		} else {
			vec_push(a, &out->rest, argv[i]);
		}
	}
	return ok && operands_ok(a, out);
}

const char *flag(const Flags *f, const char *name)
{
	if (!find_long(f->command, name, strlen(name)))
		bug("`sinter %s` asks for --%s, which flags.def does not give it", command_info[f->command].name, name);
	for (int i = f->given.len - 1; i >= 0; i--)
		if (strcmp(f->given.at[i]->name, name) == 0)
			return f->values.at[i] ? f->values.at[i] : "";
	return NULL;
}

int flag_all(Arena *a, const Flags *f, const char *name, const char *const **values)
{
	Vec(const char *) all = {0};
	for (int i = 0; i < f->given.len; i++)
		if (strcmp(f->given.at[i]->name, name) == 0)
			vec_push(a, &all, f->values.at[i]);
	*values = all.at;
	return all.len;
}
