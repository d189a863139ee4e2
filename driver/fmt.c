/* fmt.c: `sinter fmt FILE...`: rewrites model files in their one layout (frontend/fmt.c); --check only says which are
 * not in it. A file is replaced whole or not at all. */
#include "driver/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static Source *read_stdin(Arena *a)
{
	Str s = {0};
	char part[65536];
	ssize_t n;
	while ((n = read(STDIN_FILENO, part, sizeof part)) > 0)
		str_put(&s, part, (size_t)n);
	Source *src = n == 0 ? source_bytes(a, "standard input", s.at ? s.at : "", s.len) : NULL;
	str_free(&s);
	return src;
}

/* The first line that formatting changes. */
static Loc first_change(const Source *src, const Str *to)
{
	uint32_t i = 0, end;
	while (i < src->len && i < to->len && src->text[i] == to->at[i])
		i++;
	while (i > 0 && src->text[i - 1] != '\n')
		i--;
	for (end = i; end < src->len && src->text[end] != '\n';)
		end++;
	return (Loc){src, i, end};
}

static bool write_back(const char *path, const Str *s)
{
	if (file_write_atomic(path, s->at, s->len))
		return true;
	diag_error((Loc){0}, NULL, "can't write %s: %s", path, strerror(errno));
	return false;
}

static bool format(Arena *a, const char *path, const Flags *f)
{
	bool piped = strcmp(path, "-") == 0;
	const Source *src = piped ? read_stdin(a) : source_read(a, path);
	Str s = {0};
	if (!src) {
		diag_error((Loc){0}, NULL, "can't read %s: %s", path, strerror(errno));
		return false;
	}
	if (!frontend_format(a, src, &s))
		return false;
	str_puts(&s, "");
	bool same = s.len == src->len && memcmp(s.at, src->text, s.len) == 0, ok = true;
	if (flag(f, "check")) {
		ok = same;
		if (!same)
			diag_error(first_change(src, &s), NULL, "%s is not formatted", src->name);
	} else if (piped || flag(f, "stdout")) {
		ok = str_write(&s, stdout);
	} else if (!same) {
		ok = write_back(path, &s);
	}
	str_free(&s);
	return ok;
}

int run_fmt(Arena *a, const Flags *f)
{
	bool ok = true;
	if (flag(f, "check") && flag(f, "stdout")) {
		diag_error((Loc){0}, NULL, "--check writes nothing: --stdout does not go with it");
		return EXIT_USAGE;
	}
	for (int i = 0; i < f->rest.len; i++)
		ok &= format(a, f->rest.at[i], f);
	return ok ? EXIT_OK : EXIT_FAIL;
}
