/* frontend_parse.c: the grammar: what trees come out, what is a keyword where, which errors a text has and
 * where, that the printed tree reads back, and that no text takes the parser down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "frontend/ast.h"

#include <stdlib.h>
#include <unistd.h>

static const char *const models[] = {"bert", "clip", "gpt2", "llama", "minilm", "mixtral", "prelude", "sasrec", "t5",
                                     "vit", "whisper"};

/* Parses with stderr caught; *said is what came out, to be freed. */
static File *parse_caught(Arena *a, const char *text, char **said)
{
	FILE *tmp = tmpfile();
	assert_non_null(tmp);
	fflush(stderr);
	int old = dup(2);
	dup2(fileno(tmp), 2);
	diag_reset();
	File *f = parse_text(a, source_text(a, "t", text));
	fflush(stderr);
	dup2(old, 2);
	close(old);
	long len = (fseek(tmp, 0, SEEK_END), ftell(tmp));
	*said = calloc(1, (size_t)len + 1);
	rewind(tmp);
	assert_int_equal(fread(*said, 1, (size_t)len, tmp), len);
	fclose(tmp);
	return f;
}

static File *parse_good(Arena *a, const char *text)
{
	diag_reset();
	File *f = parse_text(a, source_text(a, "t", text));
	assert_int_equal(diag_errors(), 0);
	return f;
}

/* "line:code ..." of the errors in `said`, in order. */
static void codes_of(const char *said, char *out, size_t size)
{
	out[0] = 0;
	for (const char *p = said; (p = strstr(p, ": error[")); p++) {
		const char *line = p;
		while (line > said && line[-1] != '\n')
			line--;
		int number = 0;
		sscanf(line, "t:%d", &number);
		size_t n = strlen(out);
		snprintf(out + n, size - n, "%s%d:%.5s", n ? " " : "", number, p + 8);
	}
}

static void every_model_parses_and_its_print_reads_back(void **state)
{
	for (int i = 0; i < COUNT(models); i++) {
		Arena *a = arena_new();
		Str once = {0}, twice = {0};
		diag_reset();
		File *f = parse_file(a, arena_printf(a, "models/%s.sinter", models[i]));
		assert_non_null(f);
		assert_int_equal(diag_errors(), 0);
		assert_non_null(f->items);
		assert_non_null(f->doc);
		ast_print(&once, f);
		ast_print(&twice, parse_good(a, once.at));
		assert_string_equal(once.at, twice.at);
		str_free(&once);
		str_free(&twice);
		arena_free(a);
	}
}

static void a_file_that_is_not_there_is_null(void **state)
{
	Arena *a = arena_new();
	assert_null(parse_file(a, "models/no_such.sinter"));
	arena_free(a);
}

static void brackets_are_kept_where_precedence_asks(void **state)
{
	static const struct { const char *in, *out; } t[] = {
		{"(a - b) - c", "a - b - c"}, {"a - (b - c)", "a - (b - c)"}, {"a - b*c", "a - b * c"}, {"(a-b)*c", "(a - b) * c"},
		{"-a^2", "-a^2"}, {"(-a)^2", "(-a)^2"}, {"2^-0.5", "2^-0.5"}, {"a^b^c", "a^b^c"}, {"(a^b)^c", "(a^b)^c"},
		{"a^(b^c)", "a^b^c"}, {"- -a", "--a"}, {"-(a + b)", "-(a + b)"}, {"a * -b", "a * -b"}, {"(a / b) % c @ d", "a / b % c @ d"},
		{"not not a", "not not a"}, {"not (a and b)", "not (a and b)"}, {"(not a) and b", "not a and b"},
		{"a or b and c", "a or b and c"}, {"(a or b) and c", "(a or b) and c"}, {"a and (b and c)", "a and (b and c)"},
		{"(a < b) == c", "(a < b) == c"}, {"a & b | c", "a & b | c"}, {"a & (b | c)", "a & (b | c)"}, {"(a == b) & c", "(a == b) & c"},
		{"a + b & c", "a + b & c"}, {"a == b & c", "a == b & c"}, {"(not a) + 1", "(not a) + 1"},
		{"a if b else c if d else e", "a if b else c if d else e"}, {"(a if b else c) if d else e", "(a if b else c) if d else e"},
		{"(a if b else c) + 1", "(a if b else c) + 1"}, {"f(a -> b)", "f(a -> b)"}, {"(a -> b) + 1", "(a -> b) + 1"},
		{"a -> b if c else d", "a -> b if c else d"}, {"[a, b -> c]", "[a, b -> c]"}, {"(a)(b)[c].d", "a(b)[c].d"}, {"(a + b).c", "(a + b).c"},
		{"x[:, -1]", "x[:, -1]"}, {"x[1:, :2, a:b, ...]", "x[1:, :2, a:b, ...]"}, {"f(a, k=3)", "f(a, k = 3)"},
		{"128_256", "128256"}, {"1.0", "1.0"}, {"3e-4", "0.0003"}, {"1e-12", "1e-12"}, {"1e6", "1e+06"}, {"0.1", "0.1"},
		{"9_223_372_036_854_775_807", "9223372036854775807"},
		{"\"a\\n\\t\\\"\\\\\\u{e9}\\u{1F600}\"", "\"a\\n\\t\\\"\\\\é😀\""},
	};
	Arena *a = arena_new();
	for (int i = 0; i < COUNT(t); i++) {
		Str out = {0};
		File *f = parse_good(a, arena_printf(a, "require %s", t[i].in));
		ast_print_expr(&out, f->items->expr);
		assert_string_equal(out.at, t[i].out);
		str_free(&out);
	}
	arena_free(a);
}

static void numbers_are_exact(void **state)
{
	Arena *a = arena_new();
	Expr *e = parse_good(a, "require 9_223_372_036_854_775_807")->items->expr;
	assert_true(e->is_int);
	assert_true(e->integer == INT64_MAX);
	e = parse_good(a, "require 3e-4")->items->expr;
	assert_false(e->is_int);
	assert_true(e->number == 3e-4);
	arena_free(a);
}

static void items_carry_what_was_written(void **state)
{
	Arena *a = arena_new();
	File *f = parse_good(a, "# one\n#\n# two\n\n# not this\n"
	                        "use A, B from \"f.sinter\" with { D = 3; E = 4 }\n"
	                        "config { V: dim = 3 from text_config.size \"help\" }\n"
	                        "dim B, T <= N + 1\n"
	                        "infer go(x: id(V)?[B,T] = none) -> (f32[B], [...]) { return x }\n");
	assert_string_equal(f->doc, "one\n\ntwo");
	Item *use = f->items, *config = use->next, *b = config->next, *t = b->next, *infer = t->next;
	assert_int_equal(use->kind, I_USE);
	assert_string_equal(use->names->next->name, "B");
	assert_string_equal(use->file, "f.sinter");
	assert_string_equal(use->sets->next->name, "E");
	assert_null(use->sets->next->next);
	assert_string_equal(config->config->from, "text_config.size");
	assert_string_equal(config->config->doc, "help");
	assert_null(b->bounds);
	assert_string_equal(t->dims->name, "T");
	assert_int_equal(t->bounds->op, B_ADD);
	assert_string_equal(infer->entry, "infer");
	assert_ptr_equal(infer->name, intern("go"));
	assert_true(infer->params->type->optional);
	assert_int_equal(infer->params->init->kind, E_NONE);
	assert_int_equal(infer->result->tuple->next->shape->kind, E_ELLIPSIS);
	assert_int_equal(loc_line(infer->loc), 9);
	assert_null(infer->next);
	arena_free(a);
}

static void statements_carry_what_was_written(void **state)
{
	Arena *a = arena_new();
	File *f = parse_good(a, "block A(n: int)(x: [B]) -> [B] {\n"
	                        "  p, q: repeat n as i of param f32[n] = zeros at \"x.*\"\n"
	                        "  a, b = f(x), x\n  a += 1\n"
	                        "  for i in 0 .. n - 1 { a += i }\n"
	                        "  if a < b { require a, \"t\" }\n  else { a = b; b = a }\n"
	                        "  clip 1.0, by=2 on \"a\", \"b\" every 10\n  return a, b\n}\n");
	Item *block = f->items;
	assert_string_equal(block->statics->name, "n");
	assert_string_equal(block->params->name, "x");
	Stmt *s = block->body;
	assert_string_equal(s->names->next->name, "q");
	assert_string_equal(s->ctor->as, "i");
	assert_true(s->ctor->of->param->has_shape);
	assert_string_equal(s->ctor->of->init->name, "zeros");
	assert_string_equal(s->at, "x.*");
	assert_int_equal(loc_col(s->at_loc), 50);
	s = s->next;
	assert_int_equal(s->kind, S_ASSIGN);
	assert_string_equal(s->exprs->next->name, "x");
	s = s->next;
	assert_int_equal(s->kind, S_ADD);
	s = s->next;
	assert_string_equal(s->names->name, "i");
	assert_int_equal(s->exprs->next->op, B_SUB);
	s = s->next;
	assert_string_equal(s->body->text, "t");
	assert_int_equal(s->other->next->kind, S_ASSIGN);
	s = s->next;
	assert_string_equal(s->setting, "clip");
	assert_string_equal(s->args->next->name, "by");
	assert_string_equal(s->on->next->name, "b");
	assert_int_equal(s->every->integer, 10);
	assert_int_equal(s->next->kind, S_RETURN);
	assert_null(s->next->next);
	arena_free(a);
}

/* Every keyword as a parameter, an argument, a field, a layer, an assigned name and a setting. */
static void keywords_are_names_elsewhere(void **state)
{
	static const char *const word[] = {
		"use", "config", "preset", "dim", "require", "block", "fn", "model", "weights", "train", "eval", "generate", "infer", "explain",
		"return", "for", "in", "if", "else", "repeat", "as", "of", "param", "at", "on", "every", "from", "with", "and", "or", "not",
	};
	Arena *a = arena_new();
	for (int i = 0; i < COUNT(word); i++) {
		const char *w = word[i];
		File *f = parse_good(a, arena_printf(a,
			"dim %s\nblock A(%s: mask, b: mask)(c: mask, %s: mask) -> [] {\n"
			"  %s, k: linear(a -> b, %s=3, c=%s.%s)\n  %s = x.%s\n  %s += 1\n  k, %s = 1, 2\n  return f(x, %s=1)\n}\n"
			"preset %s { %s = 1 }\n", w, w, w, w, w, "x", w, w, w, w, w, w, w, w));
		Stmt *s = f->items->next->body;
		assert_string_equal(f->items->next->statics->name, w);
		assert_string_equal(s->names->name, w);
		assert_string_equal(s->ctor->expr->args->next->name, w);
		assert_string_equal(s->ctor->expr->args->next->next->value->name, w);
		assert_string_equal(s->next->names->name, w);
		assert_string_equal(s->next->next->next->names->next->name, w);
	}
	arena_free(a);
}

/* true, false and none are values; they can only name arguments, parameters and fields. */
static void values_are_names_where_no_value_can_stand(void **state)
{
	Arena *a = arena_new();
	File *f = parse_good(a, "model M(true: mask) -> [] { return f(none=1, false=none).true }");
	Expr *e = f->items->body->exprs;
	assert_string_equal(f->items->params->name, "true");
	assert_int_equal(e->kind, E_FIELD);
	assert_string_equal(e->name, "true");
	assert_string_equal(e->a->args->name, "none");
	assert_int_equal(e->a->args->next->value->kind, E_NONE);
	arena_free(a);
}

static void lines_and_semicolons_mean_the_same(void **state)
{
	Arena *a = arena_new();
	Str one = {0}, two = {0}, crlf = {0};
	ast_print(&one, parse_good(a, "block A(x: [B]) -> [B] { a = f(x,\n 1); ; b = a +\n 1; return b }; dim B"));
	ast_print(&two, parse_good(a, "block A(x: [B]) -> [B]\n{\n\n a = f(x, 1) # c\n b = a + 1\n return b\n}\n\ndim B\n"));
	ast_print(&crlf, parse_good(a, "\xEF\xBB\xBF" "block A(x: [B]) -> [B] {\r\n a = f(x, 1)\r\n b = a + 1\r\n return b\r\n}\r\ndim B\r\n"));
	assert_string_equal(one.at, two.at);
	assert_string_equal(one.at, crlf.at);
	str_free(&one);
	str_free(&two);
	str_free(&crlf);
	arena_free(a);
}

static void each_mistake_is_one_error_at_its_place(void **state)
{
#define IN_BLOCK(body) "block A(x: [B]) -> [B] {\n" body "\n}\ndim B\n"
	static const struct { const char *text, *codes; } t[] = {
		{"", ""}, {"# only a comment", ""}, {"dim B", ""},
		{"dim B\n\x01", "2:E0101"}, {"# \xC0\xAF", "1:E0101"}, {"# \xED\xA0\x80", "1:E0101"}, {"# \xE2\x82", "1:E0101"},
		{IN_BLOCK(" a = $ + 1\n b = 1 2"), "2:E0102 3:E0206"},
		{IN_BLOCK(" a = f(\"x, 1)\n b = 2"), "2:E0103"},
		{IN_BLOCK(" a = 12ab\n b = 1__0\n c = 99999999999999999999"), "2:E0104 3:E0104 4:E0105"},
		{IN_BLOCK(" stop \"\\q\", \"\\u{110000}\", \"\\u{0}\""), "2:E0106 2:E0106 2:E0106"},
		{IN_BLOCK(" a = b && !c || d ** 2\n e = 'x' // why"), "2:E0110 2:E0110 2:E0110 2:E0110 3:E0110 3:E0110"},
		{IN_BLOCK(" a = f(b, g(c)\n d = h(e)\n i ="), "2:E0107 5:E0202"},
		{IN_BLOCK(" a = f(b))\n c = [d)\n e = f([b)]"), "2:E0108 3:E0107 4:E0107"},
		{IN_BLOCK(" a = f(b; c)\n d = f({b: 1}, c)\n e = f(b{(c))"), "2:E0107 3:E0107 4:E0107"},
		{"block A(x: [B]) -> [B] {\n a = 1\nblock C(x: [B]) -> [B] {\n a = \n}", "1:E0107 5:E0202"},
		{"block A(x: [B] -> [B] {\n a = 1\n b =\n}", "1:E0107 4:E0202"},
		{"block A(x: [B]) -> [B]\n a = 1\n}\ndim B", "1:E0107"},
		{IN_BLOCK(" a = 1\n }\n b = 2"), "3:E0108"},
		{"blok A(x: [B]) -> [B] { a = }\ndef f(x: [B]) -> [B] = x", "1:E0203 2:E0203 1:E0202"},
		{"a = 1\nb = 2\ndim B\nc = 3", "1:E0203 4:E0203"},
		{"config { }\nweights { }\npreset a { }", "1:E0205 2:E0205 3:E0205"},
		{IN_BLOCK(" a =\n b = 1\n return\n + 1"), "2:E0202 5:E0202"},
		{IN_BLOCK(" a =\n b = 1 2\n c: \n d = f(,)"), "2:E0202 3:E0206 4:E0202 5:E0202"},
		{IN_BLOCK(" a = b\n + c"), "3:E0207"},
		{IN_BLOCK(" require a < b < c\n if a = b { c = 1 }"), "2:E0208 3:E0201"},
		{IN_BLOCK(" a = f(b c, d e)\n g = [1 2][3 4]"), "2:E0206 3:E0206 3:E0206"},
		{IN_BLOCK(" for i in 0 { a = 1 1 }\n if { b = 2 2 }"), "2:E0206 2:E0206 3:E0202 3:E0206"},
		{"config {\n a: int 3\n b: int = 3\n c int = 3\n}", "2:E0201 4:E0201"},
	};
	for (int i = 0; i < COUNT(t); i++) {
		Arena *a = arena_new();
		char *said, codes[500];
		assert_non_null(parse_caught(a, t[i].text, &said));
		codes_of(said, codes, sizeof codes);
		if (strcmp(codes, t[i].codes))
			print_error("%s\n%s", t[i].text, said);
		assert_string_equal(codes, t[i].codes);
		free(said);
		arena_free(a);
	}
}

/* n times `unit` after `head`, then n times `close`, then `tail`: its first error's code, and how many there are. */
static int errors_of_repeated(const char *head, const char *unit, int n, const char *close, const char *tail, char code[6])
{
	Arena *a = arena_new();
	Str text = {0};
	char *said;
	str_puts(&text, head);
	for (int i = 0; i < n; i++)
		str_puts(&text, unit);
	for (int i = 0; i < n; i++)
		str_puts(&text, close);
	str_puts(&text, tail);
	parse_caught(a, text.at, &said);
	const char *at = strstr(said, "error[");
	snprintf(code, 6, "%.5s", at ? at + 6 : "");
	int errors = diag_errors();
	free(said);
	str_free(&text);
	arena_free(a);
	return errors;
}

static void depth_and_number_of_errors_are_limited(void **state)
{
	char code[6];
	assert_int_equal(errors_of_repeated("require ", "f(", 200, ")", "", code), 0);
	assert_int_equal(errors_of_repeated("require ", "(", 201, ")", "", code), 1);
	assert_string_equal(code, "E0109");
	assert_int_equal(errors_of_repeated("require ", "1+", 999, "", "1", code), 0);
	assert_int_equal(errors_of_repeated("require ", "1+", 1000, "", "1", code), 1);
	assert_string_equal(code, "E0204");
	assert_int_equal(errors_of_repeated("require ", "- ", 100000, "", "1", code), 1);
	assert_string_equal(code, "E0109");
	assert_int_equal(errors_of_repeated("", "(", 2000000, "", "", code), 1);
	assert_string_equal(code, "E0109");
	assert_int_equal(errors_of_repeated("", ")", 2000000, "", "", code), 51);
	assert_int_equal(errors_of_repeated("", "$", 2000000, "", "", code), 51);
	assert_int_equal(errors_of_repeated("block A(x: m) -> m {\n", " a = \n", 300, "", "}", code), 51);
	assert_string_equal(code, "E0202");
}

/* Cut anywhere, and with any byte replaced, a model is read to its end: errors or not, but always a tree. */
static void damaged_text_is_survived(void **state)
{
	static const char damage[] = "(){}[],:;=\"'#\n.x\xFF";
	Arena *files = arena_new();
	Source *src = source_read(files, "models/sasrec.sinter");
	assert_non_null(src);
	unsigned seed = 1;
	for (int i = 0; i < 3000; i++) {
		Arena *a = arena_new();
		char *said, *text = arena_strndup(a, src->text, src->len);
		seed = seed * 1664525 + 1013904223;
		size_t at = (seed >> 8) % src->len;
		text[at] = i % 3 ? damage[i % (COUNT(damage) - 1)] : 0;
		Str out = {0};
		File *f = parse_caught(a, text, &said);
		assert_non_null(f);
		if (diag_errors() > 8)
			print_error("%s", said);
		assert_true(diag_errors() <= 8);
		ast_print(&out, f);
		free(said);
		str_free(&out);
		arena_free(a);
	}
	arena_free(files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_model_parses_and_its_print_reads_back),
		cmocka_unit_test(a_file_that_is_not_there_is_null),
		cmocka_unit_test(brackets_are_kept_where_precedence_asks),
		cmocka_unit_test(numbers_are_exact),
		cmocka_unit_test(items_carry_what_was_written),
		cmocka_unit_test(statements_carry_what_was_written),
		cmocka_unit_test(keywords_are_names_elsewhere),
		cmocka_unit_test(values_are_names_where_no_value_can_stand),
		cmocka_unit_test(lines_and_semicolons_mean_the_same),
		cmocka_unit_test(each_mistake_is_one_error_at_its_place),
		cmocka_unit_test(depth_and_number_of_errors_are_limited),
		cmocka_unit_test(damaged_text_is_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
