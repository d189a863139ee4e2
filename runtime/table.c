/* table.c: rows with named columns. TSV has neither quotes nor escapes (a field is what lies between tabs); CSV is RFC 4180's: fields in
 * double quotes may have commas, line ends and doubled quotes. A file is checked as a whole: UTF-8, as many fields in each row as there are
 * columns; what is wrong is said with its line. Blank lines are passed over. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

static const struct { const char *name, *ending; SnForm form; } forms[] = {
	{"tsv", ".tsv", SN_TSV}, {"csv", ".csv", SN_CSV}, {"jsonl", ".jsonl", SN_JSONL}, {"jsonl", ".ndjson", SN_JSONL}, {"jsonl", ".json", SN_JSONL},
	{"conll", ".conll", SN_CONLL}, {"conll", ".bio", SN_CONLL}, {"txt", ".txt", SN_LINES},
};
enum { NFORMS = sizeof forms / sizeof *forms };

int sn_table_form(const char *path, const char *form, SnForm *out)
{
	const char *dot = strrchr(path, '.');
	*out = SN_LINES;
	for (int i = 0; i < NFORMS; i++)
		if (form ? !strcmp(form, forms[i].name) : dot && !strcmp(dot, forms[i].ending)) {
			*out = forms[i].form;
			return SN_OK;
		}
	if (form)
		return sn_fail(SN_USAGE, "--format wants tsv, csv, jsonl, conll or txt, not \"%s\"", form);
	return !strcmp(path, "-") ? SN_OK : sn_fail(SN_USAGE, "%s: is it tsv, csv, jsonl, conll or txt? Say it with --format", path);
}

int sn_table_column(const SnTable *t, const char *name)
{
	for (int i = 0; i < t->ncolumn; i++)
		if (!strcmp(t->columns[i], name))
			return i;
	return -1;
}

int sn_table_find(const SnTable *t, const char *name, const char *flag, int *column)
{
	*column = sn_table_column(t, name);
	if (*column >= 0)
		return SN_OK;
	SnStr all = {0};
	for (int i = 0; i < t->ncolumn; i++)
		sn_str_printf(&all, "%s%s", i ? ", " : "", t->columns[i]);
	int code = sn_fail(SN_DATA, "%s has no column \"%s\"; it has %s: say which with %s", t->path, name, all.s ? all.s : "none", flag);
	free(all.s);
	return code;
}

/* --- rows as they come */

static SnCell *add_row(SnTable *t, int64_t line)
{
	if (t->nrow == t->room) {
		t->room = t->room ? t->room * 2 : 256;
		t->cells = sn_realloc(t->cells, sizeof *t->cells * (size_t)(t->room * t->ncolumn));
		t->lines = sn_realloc(t->lines, sizeof *t->lines * (size_t)t->room);
	}
	t->lines[t->nrow] = line;
	SnCell *row = t->cells + t->nrow++ * t->ncolumn;
	memset(row, 0, sizeof *row * (size_t)t->ncolumn);
	return row;
}

static void *own(SnTable *t, void *p)
{
	if (t->nowned == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 256;
		t->owned = sn_realloc(t->owned, sizeof *t->owned * (size_t)t->cap);
	}
	return t->owned[t->nowned++] = p;
}

static void add_column(SnTable *t, const char *name)
{
	t->columns = sn_realloc(t->columns, sizeof *t->columns * (size_t)(t->ncolumn + 1));
	t->columns[t->ncolumn++] = name;
}

static int wrong(const SnTable *t, int64_t line, const char *why)
{
	return sn_fail(SN_DATA, "%s:%lld: %s", t->path, (long long)line, why);
}

/* The fields of one row: the first makes the columns unless they are there. */
typedef struct Fields { SnCell *at; int n, cap; int64_t line; } Fields;

static void add_field(Fields *f, char *from, char *to)
{
	if (f->n == f->cap) {
		f->cap = f->cap ? f->cap * 2 : 16;
		f->at = sn_realloc(f->at, sizeof *f->at * (size_t)f->cap);
	}
	f->at[f->n++] = (SnCell){from, (size_t)(to - from)};
}

static int take_names(SnTable *t, const Fields *f)
{
	for (int i = 0; i < f->n; i++) {
		if (!f->at[i].n || sn_table_column(t, f->at[i].s) >= 0)
			return sn_fail(SN_DATA, "%s:%lld: the first row has the columns' names: column %d's is %s", t->path, (long long)f->line, i + 1,
			               f->at[i].n ? "there twice" : "empty");
		add_column(t, f->at[i].s);
	}
	return SN_OK;
}

static void number_columns(SnTable *t, int n)
{
	for (int i = 1; i <= n; i++)
		add_column(t, own(t, sn_format("%d", i)));
}

static int take_fields(SnTable *t, Fields *f, bool bare)
{
	bool first = !t->ncolumn;
	if (first && bare)
		number_columns(t, f->n);
	else if (first)
		return take_names(t, f);
	if (f->n != t->ncolumn)
		return sn_fail(SN_DATA, "%s:%lld: %d fields; there are %d columns", t->path, (long long)f->line, f->n, t->ncolumn);
	memcpy(add_row(t, f->line), f->at, sizeof *f->at * (size_t)f->n);
	return SN_OK;
}

/* --- the forms; s[0..n) is followed by a NUL and may be written to */

/* Where the line ends, without a carriage return; *next: behind its newline. */
static char *line_end(char *s, char *end, char **next)
{
	char *newline = memchr(s, '\n', (size_t)(end - s)), *stop = newline ? newline : end;
	*next = newline ? newline + 1 : end;
	if (stop > s && stop[-1] == '\r')
		stop--;
	*stop = 0;
	return stop;
}

static int read_tsv(SnTable *t, char *s, size_t n, bool bare)
{
	char *end = s + n, *next;
	Fields f = {.line = 1};
	int code = SN_OK;
	for (; s < end && !code; s = next, f.line++) {
		char *stop = line_end(s, end, &next);
		f.n = 0;
		if (stop == s)
			continue;
		for (char *at = s; at <= stop; at++)
			if (at == stop || *at == '\t') {
				*at = 0;
				add_field(&f, s, at);
				s = at + 1;
			}
		code = take_fields(t, &f, bare);
	}
	free(f.at);
	return code;
}

/* One field from s on, in quotes; *to: its end in place, where what is doubled became one. NULL: no closing quote. */
static char *quoted(char *s, char *end, char **to, int64_t *lines)
{
	char *out = s++;
	for (; s < end; s++) {
		if (*s == '"' && s + 1 < end && s[1] == '"')
			s++;
		else if (*s == '"')
			break;
		*lines += *s == '\n';
		*out++ = *s;
	}
	*to = out;
	return s < end ? s + 1 : NULL;
}

/* One field from *s on. *last: it ends its row. */
static int read_field(SnTable *t, Fields *f, char **s, char *end, int64_t *line, bool *last)
{
	char *from = *s, *to, *at;
	if (*from == '"') {
		at = quoted(from, end, &to, line);
		if (!at)
			return wrong(t, f->line, "a quote that is not closed in this row");
		if (at < end && *at == '\r' && at + 1 < end && at[1] == '\n')
			at++;
		if (at < end && *at != ',' && *at != '\n')
			return wrong(t, *line, "text behind a closing quote: a quote in a quoted field is written twice");
	} else {
		for (at = from; at < end && *at != ',' && *at != '\n'; at++)
			if (*at == '"')
				return wrong(t, *line, "a quote in a field that is not quoted: such a field stands in quotes, with its quotes doubled");
		to = at > from && at < end && *at == '\n' && at[-1] == '\r' ? at - 1 : at;
	}
	*last = at >= end || *at == '\n';
	*line += at < end && *at == '\n';
	*s = at < end ? at + 1 : end;
	*to = 0;
	add_field(f, from, to);
	return SN_OK;
}

static int read_csv(SnTable *t, char *s, size_t n, bool bare)
{
	char *end = s + n;
	Fields f = {0};
	int64_t line = 1;
	int code = SN_OK;
	while (s < end && !code) {
		bool last = false;
		f.n = 0;
		f.line = line;
		while (!last && !code) {
			if (s == end) {   /* a comma was the file's last */
				add_field(&f, end, end);
				break;
			}
			code = read_field(t, &f, &s, end, &line, &last);
		}
		if (!code && (f.n > 1 || f.at[0].n))
			code = take_fields(t, &f, bare);
	}
	free(f.at);
	return code;
}

static int read_lines(SnTable *t, char *s, size_t n)
{
	char *end = s + n, *next;
	add_column(t, "text");
	for (int64_t line = 1; s < end; s = next, line++) {
		char *stop = line_end(s, end, &next);
		if (stop > s)
			add_row(t, line)[0] = (SnCell){s, (size_t)(stop - s)};
	}
	return SN_OK;
}

/* Words and their tags are collected until a blank line. */
static void add_sentence(SnTable *t, json_t **tokens, json_t **tags, int64_t line)
{
	json_t *lists[] = {*tokens, *tags};
	if (json_array_size(*tokens)) {
		SnCell *row = add_row(t, line);
		for (int i = 0; i < 2; i++) {
			char *text = own(t, json_dumps(lists[i], JSON_COMPACT));
			row[i] = (SnCell){text, strlen(text)};
		}
	}
	json_decref(*tokens);
	json_decref(*tags);
	*tokens = json_array();
	*tags = json_array();
}

static int read_conll(SnTable *t, char *s, size_t n)
{
	static const char blanks[] = " \t";
	char *end = s + n, *next;
	json_t *tokens = json_array(), *tags = json_array();
	int64_t first = 1, line = 1;
	int code = SN_OK;
	add_column(t, "tokens");
	add_column(t, "tags");
	for (; s < end && !code; s = next, line++) {
		char *stop = line_end(s, end, &next);
		while (stop > s && strchr(blanks, stop[-1]))
			*--stop = 0;
		if (stop == s || !strncmp(s, "-DOCSTART-", 10)) {
			add_sentence(t, &tokens, &tags, first);
			first = line + 1;
			continue;
		}
		size_t word = strcspn(s, blanks);
		char *tag = stop;
		while (tag > s + word && !strchr(blanks, tag[-1]))
			tag--;
		if (tag == s + word)
			code = wrong(t, line, "a word and its tag are wanted, with a blank or a tab between them");
		json_array_append_new(tokens, json_stringn(s, word));
		json_array_append_new(tags, json_string(tag));
	}
	if (!code)
		add_sentence(t, &tokens, &tags, first);
	json_decref(tokens);
	json_decref(tags);
	return code;
}

static int take_object(SnTable *t, json_t *j, int64_t line)
{
	SnCell *row = add_row(t, line);
	for (int i = 0; i < t->ncolumn; i++) {
		json_t *v = json_object_get(j, t->columns[i]);
		if (!v || json_is_null(v))
			continue;
		char *text = own(t, json_is_string(v) ? sn_format("%s", json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)));
		row[i] = (SnCell){text, strlen(text)};
	}
	return SN_OK;
}

static int read_jsonl(SnTable *t, char *s, size_t n, const char *const *fields, int nfield)
{
	char *end = s + n, *next;
	int code = SN_OK;
	for (int i = 0; i < nfield; i++)
		if (sn_table_column(t, fields[i]) < 0)
			add_column(t, fields[i]);
	for (int64_t line = 1; s < end && !code; s = next, line++) {
		char *stop = line_end(s, end, &next);
		json_error_t err;
		if (strspn(s, " \t") >= (size_t)(stop - s))
			continue;
		json_t *j = json_loadb(s, (size_t)(stop - s), 0, &err);
		if (!j)
			code = sn_fail(SN_DATA, "%s:%lld: not valid JSON: %s", t->path, (long long)line, err.text);
		else if (!json_is_object(j))
			code = wrong(t, line, "a row is an object, {\"name\": value, ..}");
		else
			code = take_object(t, j, line);
		json_decref(j);
	}
	return code;
}

/* --- files */

static int load(SnTable *t, size_t *n)
{
	SnFile f;
	if (!strcmp(t->path, "-")) {
		t->path = "standard input";
		t->bytes = sn_read_stdin(n);
		return t->bytes ? SN_OK : SN_DATA;
	}
	int code = sn_file_map(&f, t->path);
	if (code)
		return code;
	t->bytes = sn_alloc(f.n + 1);
	memcpy(t->bytes, f.at, f.n);
	*n = f.n;
	sn_file_unmap(&f);
	return SN_OK;
}

static int check_text(const SnTable *t, size_t n)
{
	size_t valid = sn_utf8_valid(t->bytes, n);
	const char *zero = memchr(t->bytes, 0, n);
	size_t bad = zero && (size_t)(zero - t->bytes) < valid ? (size_t)(zero - t->bytes) : valid;
	int64_t line = 1;
	if (bad == n)
		return SN_OK;
	for (size_t i = 0; i < bad; i++)
		line += t->bytes[i] == '\n';
	return wrong(t, line, zero && bad == (size_t)(zero - t->bytes) ? "a zero byte: this is no text" : "not valid UTF-8");
}

int sn_table_open(SnTable *t, const char *path, SnForm form, bool bare, const char *const *fields, int nfield)
{
	static const char mark[] = "\xEF\xBB\xBF";
	*t = (SnTable){.path = path};
	size_t n = 0, skip;
	int code = load(t, &n);
	if (!code)
		code = check_text(t, n);
	if (code)
		return code;
	skip = n >= 3 && !memcmp(t->bytes, mark, 3) ? 3 : 0;
	char *s = t->bytes + skip;
	n -= skip;
	code = form == SN_TSV ? read_tsv(t, s, n, bare) : form == SN_CSV ? read_csv(t, s, n, bare) : form == SN_CONLL ? read_conll(t, s, n)
	     : form == SN_LINES ? read_lines(t, s, n) : read_jsonl(t, s, n, fields, nfield);
	if (!code && !t->nrow)
		code = sn_fail(SN_DATA, "%s: no rows in it", t->path);
	return code;
}

void sn_table_close(SnTable *t)
{
	for (int64_t i = 0; i < t->nowned; i++)
		free(t->owned[i]);
	free(t->owned);
	free(t->columns);
	free(t->cells);
	free(t->lines);
	free(t->bytes);
	*t = (SnTable){0};
}
