/* pattern.c: a tokenizer's pattern, by PCRE2 with Unicode properties, interpreted. The JIT compiler is a third of PCRE2's
 * code and would be linked for its hooks alone; they are answered here, weakly: a PCRE2 whose hooks have other names
 * brings its JIT along, and all works as well, in a larger executable. */
#include "runtime/sn.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct SnPattern { pcre2_code *code; };
struct SnMatcher { const pcre2_code *code; pcre2_match_data *data; pcre2_match_context *context; };

/* Called only for patterns that were compiled by the JIT, and none is. */
#define HOOK(result, name, ...) result name(__VA_ARGS__); __attribute__((weak)) result name(__VA_ARGS__) { abort(); }
HOOK(void, _pcre2_jit_free_8, void *code, void *memory)
HOOK(size_t, _pcre2_jit_get_size_8, void *code)
HOOK(int, _pcre2_jit_check_exec_8, void *code, uint32_t options)
HOOK(int, pcre2_jit_match_8, const pcre2_code_8 *code, PCRE2_SPTR8 s, PCRE2_SIZE n, PCRE2_SIZE at, uint32_t options, pcre2_match_data_8 *data,
     pcre2_match_context_8 *context)
const char *_pcre2_jit_get_target_8(void);
__attribute__((weak)) const char *_pcre2_jit_get_target_8(void)
{
	return "none";
}

/* Nothing but this file refers to PCRE2, for the linker to have seen the hooks before it looks for them. */
void sn_pattern_version(char out[64])
{
	pcre2_config(PCRE2_CONFIG_VERSION, out);
}

/* Patterns are written for Oniguruma, whose classes are Unicode's: \s has no U+180E, \w has marks and all punctuation that connects, \h is a
 * hexadecimal digit. */
static char *translated(const char *pattern)
{
	static const struct { char escape; const char *alone, *inside; } classes[] = {
		{'s', "\\p{White_Space}", "\\p{White_Space}"}, {'S', "\\P{White_Space}", "\\P{White_Space}"},
		{'w', "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"}, {'W', "[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", NULL},
		{'h', "[0-9a-fA-F]", "0-9a-fA-F"}, {'H', "[^0-9a-fA-F]", NULL},
	};
	SnStr out = {0};
	int depth = 0;                        /* in brackets */
	sn_str_add(&out, "", 0);
	for (const char *p = pattern; *p; p++) {
		const char *by = NULL;
		for (size_t i = 0; *p == '\\' && i < sizeof classes / sizeof *classes; i++)
			if (p[1] == classes[i].escape)
				by = depth ? classes[i].inside : classes[i].alone;
		size_t n = *p == '\\' && p[1] ? 2 : 1;
		if (n == 1 && *p == '[' && (!depth || p[1] == ':'))
			depth++;
		else if (n == 1 && *p == ']' && depth)
			depth--;
		sn_str_add(&out, by ? by : p, by ? strlen(by) : n);
		p += n - 1;
	}
	return out.s;
}

SnPattern *sn_pattern_open(const char *pattern, const char *path)
{
	int err;
	PCRE2_SIZE at;
	char *text = translated(pattern);
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &err, &at, NULL);
	free(text);
	if (!code) {
		char text[128];
		pcre2_get_error_message(err, (PCRE2_UCHAR *)text, sizeof text);
		sn_fail(SN_DATA, "%s: the pre-tokenizer's pattern at %zu: %s", path, (size_t)at, text);
		return NULL;
	}
	SnPattern *p = sn_alloc(sizeof *p);
	p->code = code;
	return p;
}

void sn_pattern_close(SnPattern *p)
{
	if (p)
		pcre2_code_free(p->code);
	free(p);
}

SnMatcher *sn_matcher_open(const SnPattern *p)
{
	SnMatcher *m = sn_alloc(sizeof *m);
	*m = (SnMatcher){p->code, pcre2_match_data_create(16, NULL), pcre2_match_context_create(NULL)};
	if (!m->data || !m->context)
		exit(sn_fail(SN_FAIL, "out of memory"));
	pcre2_set_heap_limit(m->context, 1 << 19);       /* KiB */
	return m;
}

void sn_matcher_close(SnMatcher *m)
{
	if (!m)
		return;
	pcre2_match_data_free(m->data);
	pcre2_match_context_free(m->context);
	free(m);
}

int sn_matcher_next(SnMatcher *m, const char *s, size_t n, size_t at, size_t *from, size_t *to)
{
	size_t most = 10000000 + 64 * n;      /* steps back: enough for megabytes of blanks, and for no pattern that tries all ways */
	pcre2_set_match_limit(m->context, most < UINT32_MAX ? (uint32_t)most : UINT32_MAX);
	int found = pcre2_match(m->code, (PCRE2_SPTR)s, n, at, PCRE2_NO_UTF_CHECK, m->data, m->context);
	if (found == PCRE2_ERROR_NOMATCH)
		return 0;
	if (found < 0)
		return found;
	const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
	*from = ends[0];
	*to = ends[1];
	return 1;
}
