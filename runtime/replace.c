/* replace.c: the stage Replace, a normalizer and a decoder: each match of a text or of a pattern becomes another text. */
#include "runtime/tokens.h"

#include <string.h>

int sn_replace_read(SnReplace *r, json_t *j, const char *what, const char *path)
{
	json_t *pattern = json_object_get(j, "pattern");
	const char *regex = json_string_value(json_object_get(pattern, "Regex"));
	r->text = sn_text_of(json_object_get(pattern, "String"));
	r->content = sn_text_of(json_object_get(j, "content"));
	if ((!r->text.at && !regex) || !r->content.at)
		return sn_fail(SN_DATA, "%s: the %s Replace has no pattern or no content", path, what);
	r->pattern = regex ? sn_pattern_open(regex, path) : NULL;
	return regex && !r->pattern ? SN_DATA : SN_OK;
}

int sn_replace_run(const SnReplace *r, const char *s, size_t n, SnStr *out)
{
	SnMatcher *m = r->pattern ? sn_matcher_open(r->pattern) : NULL;
	size_t done = 0, from, to;
	int found = 1;
	for (size_t at = 0; at <= n; at = to > from ? to : sn_utf8_after(s, n, to)) {
		if (m) {
			found = sn_matcher_next(m, s, n, at, &from, &to);
		} else {
			const char *place = r->text.n ? memmem(s + at, n - at, r->text.at, r->text.n) : NULL;
			found = place != NULL;
			from = place ? (size_t)(place - s) : n;
			to = from + r->text.n;
		}
		if (found <= 0)
			break;
		sn_str_add(out, s + done, from - done);
		sn_str_add(out, r->content.at, r->content.n);
		done = to;
	}
	sn_matcher_close(m);
	sn_str_add(out, s + done, n - done);
	return found < 0 ? sn_fail(SN_DATA, "the tokenizer's pattern failed (PCRE2 error %d)", found) : SN_OK;
}
