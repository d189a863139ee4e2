/* unicode.c: run when the runtime is built, prints what runtime/unicode.c knows of Unicode, from utf8proc's tables. Numbers are written
 * seven bits a byte, the lowest first, 0x80 where more follow. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { CODES = 0x110000, HANGUL = 0xAC00, HANGUL_END = 0xAC00 + 11172 };
typedef struct Form { utf8proc_int32_t at[32]; int n; } Form;

static int column;

static void put_byte(int b)
{
	column += printf("%d,", b);
	if (column > 140)
		column = printf("\n") - 1;
}

static void put(unsigned v)
{
	for (; v >= 0x80; v >>= 7)
		put_byte((int)(v & 0x7F) | 0x80);
	put_byte((int)v);
}

/* Twice the number, or one less than twice that of the negative. */
static unsigned folded(int d)
{
	return d < 0 ? (unsigned)(-d) * 2 - 1 : (unsigned)d * 2;
}

/* Entries of some numbers. The first is written twice as large, and 1 more where a number follows it that says how many more times the
 * entry comes. */
typedef struct Entry { unsigned at[40]; int n; } Entry;
static Entry kept;
static unsigned again;

static void flush(void)
{
	for (int i = 0; i < kept.n; i++) {
		put(i ? kept.at[i] : kept.at[0] * 2 + (again > 0));
		if (!i && again)
			put(again);
	}
	kept.n = 0;
	again = 0;
}

static void put_entry(const Entry *e)
{
	bool same = e->n == kept.n;
	for (int i = 0; same && i < e->n; i++)
		same = e->at[i] == kept.at[i];
	if (same) {
		again++;
		return;
	}
	flush();
	kept = *e;
}

static void begin(const char *name)
{
	printf("static const unsigned char %s[] = {\n", name);
	column = 0;
}

static void end(void)
{
	printf("\n};\n");
}

/* The classes that tokenizers ask for; runtime/tokens.h has their names in this order. */
static int class_of(int c)
{
	switch (utf8proc_category(c)) {
	case UTF8PROC_CATEGORY_MN: return 1;
	case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: return 2;
	case UTF8PROC_CATEGORY_PC: case UTF8PROC_CATEGORY_PD: case UTF8PROC_CATEGORY_PS: case UTF8PROC_CATEGORY_PE:
	case UTF8PROC_CATEGORY_PI: case UTF8PROC_CATEGORY_PF: case UTF8PROC_CATEGORY_PO: return 3;
	case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO: return 4;
	case UTF8PROC_CATEGORY_ZS: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: return 5;
	case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CO: case UTF8PROC_CATEGORY_CS: return 6;
	default: return 0;
	}
}

static int mark_of(int c)
{
	return utf8proc_get_property(c)->combining_class;
}

static bool is_hangul(int c)
{
	return c >= HANGUL && c < HANGUL_END;
}

/* Runs: their length * base + value. */
static void put_runs(const char *name, int (*value)(int), unsigned base)
{
	begin(name);
	for (int c = 0, next; c < CODES; c = next) {
		for (next = c + 1; next < CODES && value(next) == value(c); next++)
			;
		put((unsigned)(next - c) * base + (unsigned)value(c));
	}
	end();
}

static Form decomposed(int c, bool compat)
{
	Form f;
	int last = 0;
	f.n = (int)utf8proc_decompose_char(c, f.at, 32, UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0), &last);
	if (f.n < 0 || f.n > 31)
		exit(fprintf(stderr, "U+%04X decomposes to %d\n", (unsigned)c, f.n));
	return f;
}

static bool same(const Form *f, const Form *g)
{
	bool equal = f->n == g->n;
	for (int i = 0; equal && i < f->n; i++)
		equal = f->at[i] == g->at[i];
	return equal;
}

/* What n code points compose to, if to one; else -1. */
static int composed(const Form *f, int n)
{
	Form g = *f;
	utf8proc_ssize_t k = utf8proc_normalize_utf32(g.at, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
	return k == 1 ? g.at[0] : -1;
}

/* (length * 4 + kind) * 2, and 1 more where it is not the next code point's: then the distance follows; code points less those in the same
 * place of the entries before. Kind 0: canonical, for good; 1: canonical, two that compose again (the first may decompose further); 2:
 * compatible, where there is no canonical one. */
static void put_forms(void)
{
	int before = 0, last[32] = {0}, parts = 1;
	begin("uni_forms");
	for (int c = 0; c < CODES; c++) {
		Form f = decomposed(c, false), g = decomposed(c, true);
		bool canonical = f.n != 1 || f.at[0] != c;
		if (is_hangul(c) || (!canonical && same(&f, &g)))
			continue;
		int kind = !canonical ? 2 : composed(&f, f.n) == c ? 1 : 0;
		if (kind == 2)
			f = g;
		if (kind == 1)
			f = (Form){{composed(&f, f.n - 1), f.at[f.n - 1]}, 2};
		Entry e = {{(unsigned)(f.n * 4 + kind) * 2 + (c != before + 1), (unsigned)(c - before)}, 1 + (c != before + 1)};
		for (int i = 0; i < f.n; i++) {
			e.at[e.n++] = folded(f.at[i] - last[i]);
			last[i] = f.at[i];
		}
		put_entry(&e);
		parts += 1 + f.n;
		before = c;
	}
	flush();
	end();
	printf("enum { UNI_PARTS = %d };   /* lengths and code points of all of these */\n", parts);
}

/* Distance from the entry before, then lower case less upper case. */
static void put_lower(void)
{
	int before = 0;
	begin("uni_lower");
	for (int c = 0; c < CODES; c++) {
		int d = utf8proc_tolower(c) - c;
		if (!d)
			continue;
		put_entry(&(Entry){{(unsigned)(c - before), folded(d)}, 2});
		before = c;
	}
	flush();
	end();
}

int main(void)
{
	printf("/* of utf8proc %s, Unicode %s */\n", utf8proc_version(), utf8proc_unicode_version());
	put_runs("uni_classes", class_of, 8);
	put_runs("uni_marks", mark_of, 256);
	put_forms();
	put_lower();
	return 0;
}
