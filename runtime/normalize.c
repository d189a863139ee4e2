/* normalize.c: normalizers: each a function from a text to a text, run one after another. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

typedef struct Stage Stage;
struct Stage {
	int (*run)(const Stage *, const char *s, size_t n, SnStr *out);
	SnReplace by;                 /* Replace; of Prepend the text */
	SnCharsmap *map;
	bool a, b, c, d;              /* clean, chinese, accents, lower; left, right; compat, compose */
};
struct SnNormalizer { Stage at[SN_MAX_STAGES]; int n; json_t *json; };

static void put(SnStr *out, uint32_t c)
{
	char text[4];
	sn_str_add(out, text, (size_t)sn_utf8_write(text, c));
}

/* --- functions of one character: they append what it becomes */

typedef void Each(const Stage *, uint32_t c, SnStr *out);

static int each(const Stage *g, const char *s, size_t n, SnStr *out, Each *f)
{
	for (size_t at = 0; at < n;) {
		uint32_t c;
		at += (size_t)sn_utf8_read(s + at, n - at, &c);
		f(g, c, out);
	}
	return SN_OK;
}

static void lower_one(const Stage *g, uint32_t c, SnStr *out)
{
	uint32_t low[2];
	int n = sn_uni_lower(c, low);
	for (int i = 0; i < n; i++)
		put(out, low[i]);
}

static void without_marks(const Stage *g, uint32_t c, SnStr *out)
{
	int class = sn_uni_class(c);
	if (class != SN_U_MN && class != SN_U_MARK)
		put(out, c);
}

static void without_nonspacing(const Stage *g, uint32_t c, SnStr *out)
{
	if (sn_uni_class(c) != SN_U_MN)
		put(out, c);
}

static void nmt_one(const Stage *g, uint32_t c, SnStr *out)
{
	if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
		return;
	bool blank = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581
		|| c == 0xFEFF || c == 0xFFFD;
	put(out, blank ? ' ' : c);
}

static bool is_ideograph(uint32_t c)
{
	return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F)
		|| (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* The BertNormalizer's first half: controls go, blanks are spaces, ideographs stand apart. */
static void bert_one(const Stage *g, uint32_t c, SnStr *out)
{
	if (g->a && (c == '\t' || c == '\n' || c == '\r' || (sn_uni_white(c) && sn_uni_class(c) != SN_U_CONTROL)))
		c = ' ';
	else if (g->a && (!c || c == 0xFFFD || sn_uni_class(c) == SN_U_CONTROL))
		return;
	bool apart = g->b && is_ideograph(c);
	if (apart)
		sn_str_add(out, " ", 1);
	put(out, c);
	if (apart)
		sn_str_add(out, " ", 1);
}

/* --- stages */

static int form(const Stage *g, const char *s, size_t n, SnStr *out)
{
	sn_uni_normal(out, s, n, g->a, g->b);
	return SN_OK;
}

static int lowercase(const Stage *g, const char *s, size_t n, SnStr *out)
{
	return each(g, s, n, out, lower_one);
}

static int strip_accents(const Stage *g, const char *s, size_t n, SnStr *out)
{
	return each(g, s, n, out, without_marks);
}

static int nmt(const Stage *g, const char *s, size_t n, SnStr *out)
{
	return each(g, s, n, out, nmt_one);
}

/* ASCII, which nothing but cleaning and lower case touches, in one go. */
static size_t bert_ascii(const Stage *g, const char *s, size_t n, SnStr *out)
{
	size_t k = 0;
	char buf[256];
	for (size_t at = 0;; at++) {
		if (k == sizeof buf || at == n || (unsigned char)s[at] >= 0x80) {
			sn_str_add(out, buf, k);
			k = 0;
			if (at == n || (unsigned char)s[at] >= 0x80)
				return at;
		}
		char c = s[at];
		bool blank = c == '\t' || c == '\n' || c == '\r';
		if (g->a && !blank && ((unsigned char)c < ' ' || c == 0x7F))
			continue;
		c = g->a && blank ? ' ' : c;
		buf[k++] = g->d && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
}

static int bert_rest(const Stage *g, const char *s, size_t n, SnStr *out)
{
	SnStr one = {0}, two = {0};
	each(g, s, n, &one, bert_one);
	if (g->c) {
		sn_uni_normal(&two, one.s ? one.s : "", one.n, false, false);
		one.n = 0;
		each(g, two.s ? two.s : "", two.n, &one, without_nonspacing);
	}
	if (g->d)
		each(g, one.s ? one.s : "", one.n, out, lower_one);
	else
		sn_str_add(out, one.s ? one.s : "", one.n);
	free(one.s);
	free(two.s);
	return SN_OK;
}

/* Accents decompose within a run of what is not ASCII and its neighbour before, which they may stand on. */
static int bert(const Stage *g, const char *s, size_t n, SnStr *out)
{
	for (size_t at = 0; at < n;) {
		at += bert_ascii(g, s + at, n - at, out);
		size_t from = at;
		while (at < n && (unsigned char)s[at] >= 0x80)
			at++;
		if (at > from)
			bert_rest(g, s + from, at - from, out);
	}
	return SN_OK;
}

static int prepend(const Stage *g, const char *s, size_t n, SnStr *out)
{
	if (n)
		sn_str_add(out, g->by.text.at, g->by.text.n);
	sn_str_add(out, s, n);
	return SN_OK;
}

static int replace(const Stage *g, const char *s, size_t n, SnStr *out)
{
	return sn_replace_run(&g->by, s, n, out);
}

static int strip(const Stage *g, const char *s, size_t n, SnStr *out)
{
	size_t from = 0, to = n;
	uint32_t c;
	for (int k; g->a && from < to && (k = sn_utf8_read(s + from, to - from, &c), sn_uni_white(c)); from += (size_t)k)
		;
	while (g->b && to > from) {
		size_t at = to - 1;
		while (at > from && (s[at] & 0xC0) == 0x80)
			at--;
		sn_utf8_read(s + at, to - at, &c);
		if (!sn_uni_white(c))
			break;
		to = at;
	}
	sn_str_add(out, s + from, to - from);
	return SN_OK;
}

static int precompiled(const Stage *g, const char *s, size_t n, SnStr *out)
{
	sn_charsmap_run(g->map, s, n, out);
	return SN_OK;
}

static int byte_level(const Stage *g, const char *s, size_t n, SnStr *out)
{
	for (size_t i = 0; i < n; i++)
		put(out, sn_byte_code((unsigned char)s[i]));
	return SN_OK;
}

/* --- reading */

static int read_bert(Stage *g, json_t *j, const char *path)
{
	g->a = sn_flag_of(j, "clean_text", true);
	g->b = sn_flag_of(j, "handle_chinese_chars", true);
	g->d = sn_flag_of(j, "lowercase", true);
	g->c = sn_flag_of(j, "strip_accents", g->d);
	return SN_OK;
}

static int read_prepend(Stage *g, json_t *j, const char *path)
{
	g->by.text = sn_text_of(json_object_get(j, "prepend"));
	return g->by.text.at ? SN_OK : sn_fail(SN_DATA, "%s: the normalizer Prepend has no text \"prepend\"", path);
}

static int read_replace(Stage *g, json_t *j, const char *path)
{
	return sn_replace_read(&g->by, j, "normalizer", path);
}

static int read_strip(Stage *g, json_t *j, const char *path)
{
	g->a = sn_flag_of(j, "strip_left", true);
	g->b = sn_flag_of(j, "strip_right", true);
	return SN_OK;
}

static int read_precompiled(Stage *g, json_t *j, const char *path)
{
	g->map = sn_charsmap_open(sn_text_of(json_object_get(j, "precompiled_charsmap")), path);
	return g->map ? SN_OK : SN_DATA;
}

static int read_form(Stage *g, json_t *j, const char *path)
{
	const char *type = sn_type_of(j);
	g->a = strstr(type, "K") != NULL;
	g->b = strstr(type, "C") != NULL;
	return SN_OK;
}

static const struct {
	const char *name;
	int (*read)(Stage *, json_t *, const char *path);         /* NULL: no options */
	int (*run)(const Stage *, const char *s, size_t n, SnStr *out);
} kinds[] = {
	{"NFC", read_form, form}, {"NFD", read_form, form}, {"NFKC", read_form, form}, {"NFKD", read_form, form}, {"Lowercase", NULL, lowercase},
	{"StripAccents", NULL, strip_accents}, {"BertNormalizer", read_bert, bert}, {"Nmt", NULL, nmt}, {"Prepend", read_prepend, prepend},
	{"Replace", read_replace, replace}, {"Strip", read_strip, strip}, {"Precompiled", read_precompiled, precompiled}, {"ByteLevel", NULL, byte_level},
};

SnNormalizer *sn_normalizer_open(json_t *json, const char *path)
{
	json_t *stages[SN_MAX_STAGES];
	SnNormalizer *z = sn_alloc(sizeof *z);
	z->json = json_incref(json);
	int n, code = sn_stage_list(json, "normalizers", "normalizer", path, stages, &n);
	for (int i = 0; i < n && !code; i++) {
		int kind = sn_stage_find(stages[i], "normalizer", &kinds[0].name, sizeof *kinds, sizeof kinds / sizeof *kinds, path);
		if (kind < 0) {
			code = SN_DATA;
			break;
		}
		Stage *g = &z->at[z->n++];
		g->run = kinds[kind].run;
		code = kinds[kind].read ? kinds[kind].read(g, stages[i], path) : SN_OK;
		sn_uni_load();
	}
	if (!code)
		return z;
	sn_normalizer_close(z);
	return NULL;
}

void sn_normalizer_close(SnNormalizer *z)
{
	if (!z)
		return;
	for (int i = 0; i < z->n; i++) {
		sn_pattern_close(z->at[i].by.pattern);
		sn_charsmap_close(z->at[i].map);
	}
	json_decref(z->json);
	free(z);
}

bool sn_normalizer_is_empty(const SnNormalizer *z)
{
	return !z->n;
}

int sn_normalize(const SnNormalizer *z, const char *s, size_t n, SnStr *out)
{
	SnStr spare = {0};
	int code = SN_OK;
	for (int i = 0; i < z->n && !code; i++) {
		SnStr next = spare;
		next.n = 0;
		sn_str_add(&next, "", 0);
		code = z->at[i].run(&z->at[i], i ? out->s : s, i ? out->n : n, &next);
		spare = *out;
		*out = next;
	}
	free(spare.s);
	return code;
}
