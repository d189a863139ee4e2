/* flags.c: reads `--name value`, `--name=value`, `-x value` by a table, with suggestions for wrong names. */
#include "driver/driver.h"

static const FlagInfo *find(const FlagInfo *table, int n, const char *name, size_t len, bool is_short)
{
	for (int i = 0; i < n; i++) {
		const char *t = is_short ? table[i].alias : table[i].name;
		if (t && strlen(t) == len && strncmp(t, name, len) == 0)
			return &table[i];
	}
	return NULL;
}

static bool unknown(const FlagInfo *table, int n, const char *arg)
{
	const char *names[64];
	int k = 0;
	for (int i = 0; i < n && k < COUNT(names); i++)
		names[k++] = table[i].name;
	diag_error((Loc){0}, NULL, "unknown flag %s", arg);
	const char *near = diag_nearest(arg + strspn(arg, "-"), names, k);
	if (near)
		diag_help("did you mean --%s?", near);
	return false;
}

/* One flag at argv[*i]; moves *i past a value that stands apart. */
static bool read_one(Arena *a, const FlagInfo *table, int n, int argc, char **argv, int *i, Flags *out)
{
	const char *arg = argv[*i], *eq = strchr(arg, '=');
	bool is_short = arg[1] != '-';
	const char *name = arg + (is_short ? 1 : 2);
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const FlagInfo *f = find(table, n, name, len, is_short);
	if (!f)
		return unknown(table, n, arg);
	const char *value = eq ? eq + 1 : NULL;
	if (!f->value && value) {
		diag_error((Loc){0}, NULL, "--%s takes no value", f->name);
		return false;
	}
	if (f->value && !value) {
		if (*i + 1 >= argc) {
			diag_error((Loc){0}, NULL, "--%s wants %s", f->name, f->value);
			return false;
		}
		value = argv[++*i];
	}
	vec_push(a, &out->names, f->name);
	vec_push(a, &out->values, value);
	return true;
}

bool flags_read(Arena *a, const FlagInfo *table, int n, int argc, char **argv, Flags *out)
{
	bool ok = true;
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			for (i++; i < argc; i++)
				vec_push(a, &out->rest, argv[i]);
		} else if (argv[i][0] == '-' && argv[i][1]) {
			ok &= read_one(a, table, n, argc, argv, &i, out);
		} else {
			vec_push(a, &out->rest, argv[i]);
		}
	}
	return ok;
}

const char *flag(const Flags *f, const char *name)
{
	for (int i = f->names.len - 1; i >= 0; i--)
		if (strcmp(f->names.at[i], name) == 0)
			return f->values.at[i] ? f->values.at[i] : "";
	return NULL;
}

int flag_all(Arena *a, const Flags *f, const char *name, const char *const **values)
{
	Vec(const char *) all = {0};
	for (int i = 0; i < f->names.len; i++)
		if (strcmp(f->names.at[i], name) == 0)
			vec_push(a, &all, f->values.at[i]);
	*values = all.at;
	return all.len;
}

void flags_help(Str *s, const FlagInfo *table, int n)
{
	for (int i = 0; i < n; i++) {
		Str left = {0};
		str_printf(&left, "  %s%s%s--%s%s%s", table[i].alias ? "-" : "", table[i].alias ? table[i].alias : "    ",
		           table[i].alias ? ", " : "", table[i].name, table[i].value ? " " : "",
		           table[i].value ? table[i].value : "");
		str_printf(s, "%-32s %s\n", left.at, table[i].doc);
		str_free(&left);
	}
}
