/* rename.c: the model file's `rename "from" -> "to"`: names of a file's tensors as the model knows them. `from` stands for whole
 * pieces between dots, anywhere in a name; a * in it stands for any text, which the next * in `to` repeats. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STARS = 8 };
typedef struct Found { const char *at[MAX_STARS]; size_t n[MAX_STARS]; int stars; const char *end; } Found;

/* from at s, up to a dot or the end of s. */
static bool match(const char *from, const char *s, Found *f)
{
	for (; *from && *from != '*'; from++, s++)
		if (*from != *s)
			return false;
	if (!*from) {
		f->end = s;
		return !*s || *s == '.';
	}
	int star = f->stars;
	if (star == MAX_STARS)
		return false;
	for (size_t n = 1; n <= strlen(s); n++) {
		f->at[star] = s;
		f->n[star] = n;
		f->stars = star + 1;
		if (match(from + 1, s + n, f))
			return true;
	}
	f->stars = star;
	return false;
}

static void put(SnStr *out, const char *to, const Found *f)
{
	int star = 0;
	for (; *to; to++) {
		if (*to != '*' || star >= f->stars) {
			sn_str_add(out, to, 1);
			continue;
		}
		sn_str_add(out, f->at[star], f->n[star]);
		star++;
	}
}

/* Appends name with every place of `from` replaced; false if there is none. */
static bool replace(SnStr *out, const char *name, const char *from, const char *to)
{
	bool any = false;
	for (const char *s = name; *s;) {
		Found f = {0};
		bool begins = s == name || s[-1] == '.';
		if (begins && match(from, s, &f)) {
			put(out, to, &f);
			s = f.end;
			any = true;
		} else {
			sn_str_add(out, s++, 1);
		}
	}
	return any;
}

char *sn_renamed(const SnProgram *p, const char *name)
{
	const SnRename *r = p->renames;
	char *now = NULL;
	for (int64_t i = 0; i < p->nrename; i++) {
		SnStr out = {0};
		if (replace(&out, now ? now : name, r[i].from, r[i].to)) {
			free(now);
			now = out.s;
		} else {
			free(out.s);
		}
	}
	return now;
}
