/* explain.c: `sinter explain [CODE...]`: the pages of docs/errors, inside the binary. Each section "## CODE: title" is one
 * code's: text, then fenced examples "```sinter wrong" and "```sinter right", perhaps with ": COMMAND LINE" behind. */
#include "driver/driver.h"

#include <ctype.h>

__asm__(
	".section .rodata\n"
	"explain_text: .incbin \"" SINTER_PAGES "\"\n"
	".byte 0\n"
	".text\n");
extern const char explain_text[];

typedef struct Page { const char *code, *title, *text, *end; } Page;   /* text to end: what follows the heading */
typedef Vec(Page) Pages;

static const char *line_end(const char *p)
{
	return p + strcspn(p, "\n");
}

static const char *next_line(const char *p)
{
	p = line_end(p);
	return *p ? p + 1 : p;
}

/* "## E0301: a name": a page begins. */
static bool is_heading(const char *p)
{
	return strncmp(p, "## ", 3) == 0 && isupper((unsigned char)p[3]) && isdigit((unsigned char)p[4]);
}

static Pages read_pages(Arena *a)
{
	Pages pages = {0};
	bool fenced = false;
	Page *open = NULL;
	for (const char *p = explain_text; *p; p = next_line(p)) {
		fenced ^= strncmp(p, "```", 3) == 0;
		if (fenced || *p != '#')
			continue;
		if (open)
			open->end = p;
		open = NULL;
		if (!is_heading(p))
			continue;
		size_t code = strcspn(p + 3, ": \n");
		const char *title = p + 3 + code;
		title += strspn(title, ": ");
		Page page = {arena_strndup(a, p + 3, code), arena_strndup(a, title, (size_t)(line_end(title) - title)), next_line(p), NULL};
		page.end = page.text + strlen(page.text);
		vec_push(a, &pages, page);
		open = &pages.at[pages.len - 1];
	}
	return pages;
}

/* Text between p and end without the empty lines around it. */
static const char *trimmed(Arena *a, const char *p, const char *end)
{
	while (p < end && *p == '\n')
		p++;
	while (end > p && end[-1] == '\n')
		end--;
	return arena_strndup(a, p, (size_t)(end - p));
}

typedef struct Example { const char *kind, *command, *text; } Example;   /* kind: "wrong", "right"; command: NULL */
typedef struct Parts { const char *text; Vec(Example) examples; } Parts;

/* "```sinter wrong: sinter build ..": what kind of example follows. */
static Example example_head(Arena *a, const char *fence, const char *end)
{
	Example x = {.kind = ""};
	const char *word = fence + strcspn(fence, " \n");
	word += *word == ' ';
	size_t n = strcspn(word, ": \n");
	if (word < end)
		x.kind = arena_strndup(a, word, n);
	const char *colon = memchr(word, ':', (size_t)(line_end(word) - word));
	if (colon)
		x.command = arena_strndup(a, colon + 1 + strspn(colon + 1, " "), (size_t)(line_end(colon) - colon) - 1 - strspn(colon + 1, " "));
	return x;
}

/* "build %s --set D" as a command to type. */
static void put_command(Str *s, const char *command)
{
	str_puts(s, ", with `sinter ");
	for (const char *p = command; *p; p++) {
		if (strncmp(p, "%s", 2) == 0)
			str_puts(s, "FILE"), p++;
		else
			str_put(s, p, 1);
	}
	str_puts(s, "`");
}

static Parts parts_of(Arena *a, const Page *page)
{
	Parts parts = {0};
	const char *from = page->text;
	Str text = {0};
	for (const char *p = page->text; p < page->end; p = next_line(p)) {
		if (strncmp(p, "```", 3) != 0)
			continue;
		str_put(&text, from, (size_t)(p - from));
		Example x = example_head(a, p, page->end);
		const char *body = next_line(p);
		for (p = body; p < page->end && strncmp(p, "```", 3) != 0;)
			p = next_line(p);
		x.text = trimmed(a, body, p);
		vec_push(a, &parts.examples, x);
		from = next_line(p);
	}
	if (from < page->end)
		str_put(&text, from, (size_t)(page->end - from));
	str_puts(&text, "");
	parts.text = trimmed(a, text.at, text.at + text.len);
	str_free(&text);
	return parts;
}

static void put_text(Str *s, Arena *a, const Page *page)
{
	Parts parts = parts_of(a, page);
	str_printf(s, "%s: %s\n\n%s\n", page->code, page->title, parts.text);
	for (int i = 0; i < parts.examples.len; i++) {
		Example x = parts.examples.at[i];
		str_printf(s, "\n%c%s", toupper((unsigned char)*x.kind), *x.kind ? x.kind + 1 : "");
		if (x.command)
			put_command(s, x.command);
		str_puts(s, ":\n\n");
		for (const char *p = x.text; *p; p = next_line(p))
			str_printf(s, "    %.*s\n", (int)(line_end(p) - p), p);
	}
}

static void put_json(Str *s, Arena *a, const Page *page)
{
	Parts parts = parts_of(a, page);
	str_printf(s, "{\"code\":\"%s\",\"title\":", page->code);
	str_json(s, page->title);
	str_puts(s, ",\"text\":");
	str_json(s, parts.text);
	str_puts(s, ",\"examples\":[");
	for (int i = 0; i < parts.examples.len; i++) {
		Example x = parts.examples.at[i];
		str_puts(s, i ? ",{\"kind\":" : "{\"kind\":");
		str_json(s, x.kind);
		str_puts(s, ",\"command\":");
		str_json(s, x.command);
		str_puts(s, ",\"text\":");
		str_json(s, x.text);
		str_puts(s, "}");
	}
	str_puts(s, "]}\n");
}

static const Page *find(Arena *a, const Pages *pages, const char *code)
{
	Vec(const char *) codes = {0};
	for (int i = 0; i < pages->len; i++) {
		if (strcasecmp(pages->at[i].code, code) == 0)
			return &pages->at[i];
		vec_push(a, &codes, pages->at[i].code);
	}
	diag_error((Loc){0}, NULL, "there is no diagnostic %s", code);
	const char *near = diag_nearest(code, codes.at, codes.len);
	if (near)
		diag_help("did you mean %s?", near);
	diag_help("`sinter explain` lists all codes");
	return NULL;
}

static void put_list(Str *s, const Pages *pages, bool json)
{
	for (int i = 0; i < pages->len; i++) {
		if (json) {
			str_printf(s, "{\"code\":\"%s\",\"title\":", pages->at[i].code);
			str_json(s, pages->at[i].title);
			str_puts(s, "}\n");
		} else {
			str_printf(s, "%s  %s\n", pages->at[i].code, pages->at[i].title);
		}
	}
}

int run_explain(Arena *a, const Flags *f)
{
	Pages pages = read_pages(a);
	bool json = flag(f, "json") != NULL, ok = true;
	Str s = {0};
	if (f->rest.len == 0)
		put_list(&s, &pages, json);
	for (int i = 0; i < f->rest.len; i++) {
		const Page *page = find(a, &pages, f->rest.at[i]);
		ok &= page != NULL;
		if (page && s.len && !json)
			str_puts(&s, "\n");
		if (page)
			(json ? put_json : put_text)(&s, a, page);
	}
	return put_out(&s) && ok ? EXIT_OK : EXIT_FAIL;
}
