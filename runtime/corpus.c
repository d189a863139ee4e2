/* corpus.c: raw texts as documents of sentences, which pre-training reads: each file, or all of a directory, or those that a pattern
 * names, in the order of their names. Blank lines and the ends of files are between documents (Devlin et al. 2018 have the same
 * form). A line of up to PARAGRAPH bytes is a sentence; a longer one is a paragraph, cut where sentences end. Ids are kept
 * once, sentence behind sentence. */
#include "runtime/tokens.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

enum { PARAGRAPH = 256 };

/* --- where sentences end */

static bool one_of(const char *s, size_t n, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strlen(list[i]) == n && !memcmp(list[i], s, n))
			return true;
	return false;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* The period at s[at] ends an initial or an abbreviation that hardly ends a sentence. */
static bool abbreviates(const char *s, size_t at)
{
	static const char *const known[] = {"Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr", "Rev", "Hon", "Gen", "Col", "Capt", "Lt", "Sgt", "Gov", "Sen", "Rep",
		"No", "Vol", "Fig", "Ch", "pp", "cf", "vs"};
	size_t from = at;
	while (from && is_letter(s[from - 1]))
		from--;
	return at - from == 1 || one_of(s + from, at - from, known, sizeof known / sizeof *known);
}

/* Bytes of a full stop, exclamation or question mark at s; 0: there is none. */
static size_t mark(const char *s, size_t n)
{
	static const char *const wide[] = {"\u3002", "\uFF01", "\uFF1F"};
	if (n && strchr(".!?", *s) && *s)
		return 1;
	return n >= 3 && one_of(s, 3, wide, 3) ? 3 : 0;
}

/* Bytes of a quotation mark or bracket that closes. */
static size_t closing(const char *s, size_t n)
{
	static const char *const marks[] = {"\u201D", "\u2019", "\u00BB", "\u300D"};
	if (n && strchr("\"')]", *s) && *s)
		return 1;
	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (n >= strlen(marks[i]) && !memcmp(s, marks[i], strlen(marks[i])))
			return strlen(marks[i]);
	return 0;
}

static size_t blanks(const char *s, size_t n)
{
	size_t i = 0;
	while (i < n && strchr(" \t\r\v\f", s[i]) && s[i])
		i++;
	return i;
}

/* Marks at s[at..to) end a sentence: behind them a blank (or nothing is wanted, of the wide ones) and no small letter. */
static bool ends(const char *s, size_t n, size_t at, size_t to, bool worded)
{
	bool wide = (unsigned char)s[at] >= 0x80;
	size_t gap = blanks(s + to, n - to);
	if (to == n || wide)
		return true;
	if (!gap || !worded || (s[at] == '.' && at + 1 == to && abbreviates(s, at)))
		return false;
	return to + gap == n || s[to + gap] < 'a' || s[to + gap] > 'z';
}

size_t sn_sentence(const char *s, size_t n)
{
	bool worded = false;   /* numbers alone ("3. ") are no sentence */
	for (size_t at = 0; at < n;) {
		size_t to = at, k;
		while ((k = mark(s + to, n - to)))
			to += k;
		if (to == at) {
			worded |= is_letter(s[at++]);
			continue;
		}
		while ((k = closing(s + to, n - to)))
			to += k;
		if (ends(s, n, at, to, worded))
			return to;
		at = to;
	}
	return n;
}

/* --- documents */

typedef struct Reader {
	SnCorpus *c;
	SnEncoder *encoder;
	const char *path;
	int64_t line;
	bool fresh;                   /* the next sentence begins a document */
} Reader;

/* Room for one more behind n, which doubles. */
static void grow(int64_t **at, int64_t n)
{
	if (n & (n - 1))
		return;
	*at = sn_realloc(*at, sizeof **at * (size_t)(n ? 2 * n : 2));
}

static int add_sentence(Reader *r, const char *s, size_t n)
{
	SnCorpus *c = r->c;
	int64_t begins = c->ids.n;
	char *what = sn_format("%s:%lld", r->path, (long long)r->line);
	int code = sn_encoder_add(r->encoder, s, n, what, &c->ids);
	free(what);
	if (code || c->ids.n == begins)
		return code;
	if (r->fresh) {
		grow(&c->document, ++c->ndocument);
		c->document[c->ndocument - 1] = c->nsentence;
	}
	r->fresh = false;
	grow(&c->sentence, ++c->nsentence);
	c->sentence[c->nsentence - 1] = begins;
	c->sentence[c->nsentence] = c->ids.n;
	c->document[c->ndocument] = c->nsentence;
	return SN_OK;
}

static int add_line(Reader *r, const char *s, size_t n)
{
	int code = SN_OK;
	size_t gap = blanks(s, n);
	r->fresh |= gap == n;
	for (size_t at = gap, k; at < n && !code; at += k + blanks(s + at + k, n - at - k)) {
		k = n <= PARAGRAPH ? n - at : sn_sentence(s + at, n - at);
		code = add_sentence(r, s + at, k);
	}
	return code;
}

static int add_file(Reader *r, const char *path)
{
	SnFile f;
	SnLine line = {0};
	int code = sn_file_map(&f, path);
	r->path = path;
	r->fresh = true;
	while (!code && sn_line_next(&f, &line)) {
		r->line = line.number;
		code = add_line(r, line.s, line.n);
	}
	sn_file_unmap(&f);
	return code;
}

/* --- files */

static int no_dots(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_directory(Reader *r, const char *path, int64_t *files)
{
	struct dirent **list;
	int n = scandir(path, &list, no_dots, by_bytes), code = n < 0 ? sn_fail(SN_DATA, "%s: %s", path, strerror(errno)) : SN_OK;
	for (int i = 0; i < n; i++) {
		char *file = sn_format("%s/%s", path, list[i]->d_name);
		if (!code && !sn_is_dir(file)) {
			code = add_file(r, file);
			++*files;
		}
		free(file);
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return code;
}

static int add_pattern(Reader *r, const char *pattern, int64_t *files)
{
	glob_t g;
	int code = SN_OK, found = glob(pattern, 0, NULL, &g);
	if (found)
		return found == GLOB_NOMATCH ? SN_OK : sn_fail(SN_DATA, "%s: %s", pattern, strerror(errno));
	for (size_t i = 0; i < g.gl_pathc && !code; i++)
		if (!sn_is_dir(g.gl_pathv[i])) {
			code = add_file(r, g.gl_pathv[i]);
			++*files;
		}
	globfree(&g);
	return code;
}

int sn_corpus_read(SnCorpus *c, const SnTokenizer *t, const char *path)
{
	Reader r = {.c = c, .encoder = sn_encoder_open(t)};
	int64_t files = 0;
	bool pattern = !sn_exists(path) && strpbrk(path, "*?[");
	int code = sn_is_dir(path) ? add_directory(&r, path, &files) : pattern ? add_pattern(&r, path, &files) : add_file(&r, path);
	if (!code && !files && (pattern || sn_is_dir(path)))
		code = sn_fail(SN_DATA, "%s: there is no file %s", path, pattern ? "of such a name" : "in it");
	sn_encoder_close(r.encoder);
	return code;
}

void sn_corpus_close(SnCorpus *c)
{
	free(c->ids.at);
	free(c->sentence);
	free(c->document);
	*c = (SnCorpus){0};
}
