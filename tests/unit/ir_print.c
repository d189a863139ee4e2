/* The text form: every op and every attribute reads back to the same text; wrong text is refused with its code. */
#include "tests/said.h"
#include "ir/ir.h"

#include <setjmp.h>
#include <unistd.h>
#include <cmocka.h>

static Graph *read_graph(Arena *a, const char *text) { return graph_parse(a, source_text(a, "test.ir", text), NULL); }

static void round_trip(const char *text) {
	Arena *a = arena_new();
	Graph *g = read_graph(a, text);
	if (!g)
		fail_msg("does not parse:\n%s", text);
	Str s = {0};
	graph_print(&s, g);
	assert_string_equal(s.at, text);
	str_free(&s);
	arena_free(a);
}

static void every_op(void **state) {
	round_trip(
		"graph train.step(B <= 4, T <= 64, S <= 64, rows.1 <= 4) {\n"
		"  %0 = param {name=\"wte\"} : f32[10,8] path=\"h.0\" loc=\"m.sinter\":3:9\n"
		"  %1 = state {name=\"cache \\\"0\\\"\\\\\\x0a\"} : f32[B,64,8]\n"
		"  %2 = input {name=\"tokens\"} : i32[B,T]\n"
		"  %3 = const {value=0.1} : f32[] !k3\n"
		"  %4 = iota {axis=1} : i32[B,T]\n"
		"  %5 = dimval {size=S - T} : i32[]\n"
		"  %6 = random %5 {stream=3} : f32[B,T,8]\n"
		"  %7 = neg %6 : f32[B,T,8] grad\n"
		"  %8 = abs %7 : f32[B,T,8]\n"
		"  %9 = exp %8 {once=1} : f32[B,T,8] !k2147483647 path=\"a\" loc=\"b\":1:2 grad\n"
		"  %10 = log %9 : f32[B,T,8]\n"
		"  %11 = sqrt %8 : f32[B,T,8]\n"
		"  %12 = rsqrt %9 : f32[B,T,8]\n"
		"  %13 = tanh %12 : f32[B,T,8]\n"
		"  %14 = erf %12 : f32[B,T,8]\n"
		"  %15 = sin %12 : f32[B,T,8]\n"
		"  %16 = cos %12 : f32[B,T,8]\n"
		"  %17 = sigmoid %12 : f32[B,T,8]\n"
		"  %18 = stop %17 : f32[B,T,8]\n"
		"  %19 = lt %4, %2 : bool[B,T]\n"
		"  %20 = not %19 : bool[B,T]\n"
		"  %21 = to_f32 %20 : f32[B,T]\n"
		"  %22 = to_i32 %21 : i32[B,T]\n"
		"  %23 = add %22, %5 : i32[B,T]\n"
		"  %24 = sub %18, %17 : f32[B,T,8]\n"
		"  %25 = mul %24, %3 : f32[B,T,8]\n"
		"  %26 = div %25, %3 : f32[B,T,8]\n"
		"  %27 = pow %9, %3 : f32[B,T,8]\n"
		"  %28 = max %27, %26 : f32[B,T,8]\n"
		"  %29 = min %27, %26 : f32[B,T,8]\n"
		"  %30 = eq %4, %2 : bool[B,T]\n"
		"  %31 = ne %4, %2 : bool[B,T]\n"
		"  %32 = le %4, %2 : bool[B,T]\n"
		"  %33 = and %32, %31 : bool[B,T]\n"
		"  %34 = or %33, %30 : bool[B,T]\n"
		"  %35 = select %34, %4, %2 : i32[B,T]\n"
		"  %36 = sum %29 {axes=[0,1]} : f32[1,1,8]\n"
		"  %37 = rmax %29 {axes=[2]} : f32[B,T,1]\n"
		"  %38 = reshape %29 : f32[B*T,2,4]\n"
		"  %39 = transpose %38 {perm=[2,0,1]} : f32[4,B*T,2]\n"
		"  %40 = slice %29 {axis=1, start=T - 1, len=1} : f32[B,1,8]\n"
		"  %41 = expand %40 : f32[B,T,8]\n"
		"  %42 = copy %41 : f32[B,T,8] dest=%43\n"
		"  %43 = concat %42, %29, %40 {axis=1} : f32[B,2*T + 1,8]\n"
		"  %44 = pad %40 {axis=1, lo=0, hi=T - 1} : f32[B,T,8]\n"
		"  %45 = write %1, %44 {axis=1, start=S - T} : f32[B,64,8]\n"
		"  %46 = pack %0 {spec=\"vd,btd->btv\", side=0} : f32[10,8]\n"
		"  %47 = contract %46, %44 {spec=\"vd,btd->btv\"} : f32[B,T,10]\n"
		"  %48 = gather %0, %2 : f32[B,T,8]\n"
		"  %49 = scatter_add %0, %2, %48 : f32[10,8]\n"
		"  store %0, %49\n"
		"  output %47 {name=\"logits\"} path=\"head\"\n"
		"  %50 = softmax %47 {axis=2} : f32[B,T,10]\n"
		"  %51 = reshape %48 : f32[B,T,2,4]\n"
		"  %52 = attention %51, %51, %51, %5 {stream=7, causal=1, window=9, keys=0, mask=0, bias=0, scale=0.5, softcap=2.5, dropout=0.1} : f32[B,T,2,4]\n"
		"  %53 = attention %51, %51, %51 {stream=0, causal=0, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0} : f32[B,T,2,4]\n"
		"  %54 = windows %29 {axis=2, len=3, step=2} : f32[B,T,3,3]\n"
		"  %55 = input {name=\"m\"} : bool[B]\n"
		"  %56 = nonzero %55 : i32[rows.1]\n"
		"  %57 = flash %51, %51, %51 {stream=0, causal=0, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0} : f32[B,T,2,4]\n"
		"  %58 = flash_lse %51, %51, %51 {stream=0, causal=0, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0} : f32[B,2,T]\n"
		"  %59 = slice %51 {axis=3, start=0, len=1} : f32[B,T,2,1]\n"
		"  %60 = flash_grad %51, %51, %51, %57, %58, %59 {stream=0, causal=0, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0, wrt=2} : f32[B,T,2,4]\n"
		"  %61 = to_bf16 %47 : bf16[B,T,10]\n"
		"  %62 = to_i8 %51 : i8[B,T,2,4]\n"
		"  %63 = to_f16 %59 : f16[B,T,2,1]\n"
		"  %64 = dequant %62, %63 : f32[B,T,2,4]\n"
		"}\n");
}

/* Which ops does the text above have? One without a line here fails. */
static void no_op_forgotten(void **state) {
	FILE *f = fopen(TEST_DIR "/unit/ir_print.c", "r");
	assert_non_null(f);
	static char text[1 << 16];
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = 0;
	for (int i = 0; i < OP_COUNT; i++)
		if (!strstr(text, internf("= %s ", op_info[i].text)) && !strstr(text, internf("\"  %s ", op_info[i].text)))
			fail_msg("%s has no line in the round trip", op_info[i].text);
}

static void numbers(void **state) {
	static const char *const value[] = {
		"0", "-0", "1", "0.1", "1e-30", "1.5e+300", "inf", "-inf", "nan", "0.30000000000000004", "5e-324", "-1e-20",
		"0.3333333333333333", "123456789",
	};
	for (int i = 0; i < COUNT(value); i++)
		round_trip(internf("graph g {\n  %%0 = const {value=%s} : f32[]\n}\n", value[i]));
	round_trip("graph \"a b\" {\n}\n");
	round_trip("graph g(T <= 1) {\n  %0 = input {name=\"x\"} : bool[2*T - 1,(T + 1)/2]\n}\n");
}

/* Types may be left out, lines may be commented, blank or renumbered, several graphs may follow each other. */
static void leniency(void **state) {
	Arena *a = arena_new();
	const Source *src = source_text(a, "test.ir",
		"# two graphs\n\ngraph a(T <= 4) { # one\n\n%7 = input {name=\"x\"}:f32[T]  # x\n %3 = neg %7\noutput %3 {name=\"y\"}\n}\n"
		"graph b {}\n\n");
	const char *end = NULL;
	Graph *g = graph_parse(a, src, &end), *h = graph_parse(a, src, &end);
	assert_non_null(g);
	assert_non_null(h);
	assert_string_equal(h->name, "b");
	assert_null(graph_parse(a, src, &end));
	Str s = {0};
	graph_print(&s, g);
	assert_string_equal(s.at, "graph a(T <= 4) {\n  %0 = input {name=\"x\"} : f32[T]\n  %1 = neg %0 : f32[T]\n"
	                          "  output %1 {name=\"y\"}\n}\n");
	str_free(&s);
	arena_free(a);
}

/* What parsing prints on stderr. */
static char *errors_of(const char *text) {
	static char said[1 << 15];
	Arena *a = arena_new();
	Said caught = said_begin();
	Graph *g = read_graph(a, text);
	said_end(caught, said, sizeof said);
	if (g)
		fail_msg("this was read:\n%s", text);
	arena_free(a);
	diag_reset();
	return said;
}

static int count(const char *text, const char *what) {
	int n = 0;
	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void wrong_lines(void **state) {
	static const char *const row[][2] = {
		{"%0 = blub", "E0902"},
		{"%0 = neg %1", "E0904"},
		{"%0 = const {value=1} : f32[]\n%0 = const {value=1} : f32[]", "E0905"},
		{"%0 = const {valve=1} : f32[]", "E0903"},
		{"%0 = const {value=1, value=2} : f32[]", "E0903"},
		{"%0 = param : f32[]", "E0903"},
		{"%0 = const {value=x} : f32[]", "E0901"},
		{"%0 = const {value=1}", "E0907"},
		{"%0 = const {value=1} : f64[]", "E0908"},
		{"%0 = const {value=1} : f32[-1]", "E0906"},
		{"%0 = const {value=1} : f32[1,1,1,1,1,1,1,1,1]", "E0908"},
		{"%0 = const {value=1} : f32[2/]", "E0908"},
		{"%0 = const {value=1} : f32[2]\n%1 = neg %0 : f32[3]", "E0907"},
		{"%0 = const {value=1} : i32[2]\n%1 = neg %0", "E0906"},
		{"%0 = const {value=1} : f32[] dest=%5", "E0904"},
		{"%0 = const {value=1} : f32[] dest=%99999", "E0901"},
		{"%0 = const {value=1} : f32[] hello", "E0901"},
		{"%0 = input {name=\"a} : f32[]", "E0901"},
		{"%0 = input {name=\"\\q\"} : f32[]", "E0901"},
		{"const {value=1} : f32[]", "E0901"},
		{"%0 = const {value=1} : f32[]\n%1 = output %0 {name=\"x\"}", "E0901"},
		{"%99999999999999999999 = neg %0", "E0901"},
		{"%0 = const {value=1} : f32[]\n%1 = transpose %0 {perm=[0,1]}\n%2 = sum %0 {axes=[31]}", "E0906"},
		{"%0 = const {value=1} : f32[]\n%1 = store %0, %0", "E0906"},
	};
	for (int i = 0; i < COUNT(row); i++) {
		char *said = errors_of(internf("graph g {\n%s\n}\n", row[i][0]));
		if (!strstr(said, row[i][1]))
			fail_msg("%s\nsays: %s\nnot %s", row[i][0], said, row[i][1]);
	}
	static const char *const whole[] = {"graph", "graph g", "graph g {", "graph g(T) {}", "graph g(T <= 0) {}", "%0", "graph g(2*T <= 4) {}", "{}}"};
	for (int i = 0; i < COUNT(whole); i++)
		assert_non_null(strstr(errors_of(whole[i]), "E0901"));
}

/* One wrong line is one error: what uses its value stays silent, what does not is still checked. */
static void recovery(void **state) {
	char *said = errors_of("graph g {\n%0 = blub\n%1 = neg %0\n%2 = add %1, %0\n%3 = const {value=1} : i32[]\n%4 = neg %3\n}\n");
	assert_int_equal(count(said, "E09"), 2);
	assert_non_null(strstr(errors_of("graph g {\n%0 = softmx %1\n}\n"), "softmax"));
	Str s = {0};
	str_puts(&s, "graph g {\n");
	for (int i = 0; i < 1000; i++)
		str_puts(&s, "%0 = blub\n");
	str_puts(&s, "}\n");
	assert_true(count(errors_of(s.at), "E09") < 30);
	str_free(&s);
}

/* Text with bytes changed, cut or repeated never crashes; what is read prints and reads back. */
static void mutations(void **state) {
	static const char text[] =
		"graph f(B <= 4, T <= 64) {\n  %0 = param {name=\"w\"} : f32[(T + 1)/2,2*T - 1]\n"
		"  %1 = transpose %0 {perm=[1,0]} : f32[2*T - 1,(T + 1)/2] !k3 dest=%2 path=\"p\" loc=\"f\":1:2 grad\n"
		"  %2 = concat %1, %1 {axis=0} : f32[4*T - 2,(T + 1)/2]\n  %3 = sum %2 {axes=[0,1]} : f32[1,1]\n"
		"  %4 = contract %0, %1 {spec=\"ab,bc->ac\"}\n  output %3 {name=\"y\"}\n}\n";
	static const char bytes[] = "%{}[]()=,:\"\\0123456789-+*/^ \nabT_.#!k\x01\xff";
	uint32_t seed = 1;
#define NEXT ((seed = seed * 1664525u + 1013904223u) >> 8)
	int saved = dup(2), read_back = 0;
	assert_non_null(freopen("/dev/null", "w", stderr));
	for (int i = 0; i < 20000; i++) {
		char t[2 * sizeof text];
		size_t n = sizeof text - 1;
		memcpy(t, text, n);
		for (unsigned k = NEXT % 4; k > 0; k--) {
			size_t at = NEXT % n, len = NEXT % 8;
			if (at + len > n || n + len >= sizeof t)
				continue;
			switch (NEXT % 3) {
			case 0: t[at] = bytes[NEXT % (sizeof bytes - 1)]; break;
			case 1: memmove(t + at, t + at + len, n - at - len); n -= len; break;
			case 2: memmove(t + at + len, t + at, n - at); n += len; break;
			}
		}
		t[n] = 0;
		Arena *a = arena_new();
		Graph *g = read_graph(a, t);
		if (g) {
			Str s = {0}, again = {0};
			graph_print(&s, g);
			g = read_graph(a, s.at);
			assert_non_null(g);
			graph_print(&again, g);
			assert_string_equal(s.at, again.at);
			graph_verify(g);
			str_free(&s);
			str_free(&again);
			read_back++;
		}
		arena_free(a);
	}
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	diag_reset();
	assert_true(read_back > 1000);
}

/* Deep and large text is refused or read, not crashed on. */
static void deep(void **state) {
	Str s = {0};
	str_puts(&s, "graph g(T <= 4) {\n%0 = const {value=1} : f32[");
	for (int i = 0; i < 100000; i++)
		str_puts(&s, "(");
	str_puts(&s, "T]\n}\n");
	assert_non_null(strstr(errors_of(s.at), "E0908"));
	str_free(&s);
	assert_non_null(strstr(errors_of("graph g {\n%0 = const {value=1} : f32[(a+b)^64*(c+d)^64]\n}\n"), "E0908"));
	Arena *a = arena_new();
	str_puts(&s, "graph g {\n%0 = const {value=1} : f32[]\n");
	for (int i = 1; i < 50000; i++)
		str_printf(&s, "%%%d = neg %%%d\n", i, i - 1);
	str_puts(&s, "}\n");
	Graph *g = read_graph(a, s.at);
	assert_non_null(g);
	assert_int_equal(g->vals.len, 50000);
	assert_true(graph_verify(g));
	str_free(&s);
	arena_free(a);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_op), cmocka_unit_test(no_op_forgotten), cmocka_unit_test(numbers),
		cmocka_unit_test(leniency), cmocka_unit_test(wrong_lines), cmocka_unit_test(recovery),
		cmocka_unit_test(mutations), cmocka_unit_test(deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
