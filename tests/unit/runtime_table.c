/* table.c: what rows and columns a text has in each form, against cells written by hand; what is refused, and at which line. */
#include "runtime/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/sn_table_XXXXXX";

static int open_text(SnTable *t, const char *text, size_t n, SnForm form, bool bare) {
	static const char *const fields[] = {"a", "b"};
	char *path = sn_format("%s/t", dir);
	static SnStr kept;
	assert_int_equal(sn_file_write(path, text, n), SN_OK);
	kept.n = 0;
	sn_str_add(&kept, path, strlen(path));
	free(path);
	return sn_table_open(t, kept.s, form, bare, fields, 2);
}

/* want: cells with | between fields and / between rows; ~: none. */
static void expect(const char *text, SnForm form, bool bare, const char *columns, const char *want) {
	SnTable t;
	SnStr got = {0}, names = {0};
	assert_int_equal(open_text(&t, text, strlen(text), form, bare), SN_OK);
	for (int i = 0; i < t.ncolumn; i++)
		sn_str_printf(&names, "%s%s", i ? "|" : "", t.columns[i]);
	for (int64_t r = 0; r < t.nrow; r++)
		for (int i = 0; i < t.ncolumn; i++) {
			SnCell c = sn_table_cell(&t, r, i);
			sn_str_printf(&got, "%s%s", i ? "|" : r ? "/" : "", c.s ? c.s : "~");
			assert_true(!c.s || strlen(c.s) == c.n);
		}
	assert_string_equal(names.s, columns);
	assert_string_equal(got.s, want);
	free(got.s);
	free(names.s);
	sn_table_close(&t);
}

static void refuse(const char *text, SnForm form) {
	SnTable t;
	assert_int_equal(open_text(&t, text, strlen(text), form, false), SN_DATA);
	sn_table_close(&t);
}

static void test_tsv(void **state) {
	expect("text\tlabel\nhello \"x\"\t1\n\nb, c\t\n", SN_TSV, false, "text|label", "hello \"x\"|1/b, c|");
	expect("\xEF\xBB\xBFx\ty\r\n1\t2\r\n3\t4", SN_TSV, false, "x|y", "1|2/3|4");
	expect("p\tq\nr\ts\n", SN_TSV, true, "1|2", "p|q/r|s");
	refuse("x\ty\n1\t2\t3\n", SN_TSV);
	refuse("x\tx\n1\t2\n", SN_TSV);
	refuse("x\t\n1\t2\n", SN_TSV);
	refuse("x\ty\n", SN_TSV);
	refuse("", SN_TSV);
	refuse("x\ty\n1\t\xFF\n", SN_TSV);
}

static void test_csv(void **state) {
	expect("a,b\n1,2\n\"x, \"\"y\"\"\",\"two\nlines\"\n", SN_CSV, false, "a|b", "1|2/x, \"y\"|two\nlines");
	expect("a,b\r\n\"\",z\r\n\r\nq,", SN_CSV, false, "a|b", "|z/q|");
	expect("\"a\",\"b\"\r\n\"1\",\"2\"\r\n", SN_CSV, false, "a|b", "1|2");
	expect("a\n\"\"\nx\n", SN_CSV, false, "a", "x");
	expect("1,2\n", SN_CSV, true, "1|2", "1|2");
	refuse("a,b\n\"x,2\n", SN_CSV);
	refuse("a,b\n\"x\"y,2\n", SN_CSV);
	refuse("a,b\nx\"y,2\n", SN_CSV);
	refuse("a,b\n1\n", SN_CSV);
}

static void test_jsonl(void **state) {
	expect("{\"a\": \"x\", \"b\": 1, \"c\": 0}\n\n{\"b\": [\"p\", \"q\"]}\n", SN_JSONL, false, "a|b", "x|1/~|[\"p\",\"q\"]");
	expect("{\"a\": null, \"b\": 0.1}", SN_JSONL, false, "a|b", "~|0.1");
	refuse("[1]\n", SN_JSONL);
	refuse("{\"a\": 1}\n{\"a\": \n", SN_JSONL);
}

static void test_words(void **state) {
	expect("-DOCSTART- -X- O O\n\nEU NNP I-NP B-ORG\nrejects VBZ I-VP O\n\n\nPeter\tB-PER \n", SN_CONLL, false, "tokens|tags",
	       "[\"EU\",\"rejects\"]|[\"B-ORG\",\"O\"]/[\"Peter\"]|[\"B-PER\"]");
	refuse("word\n", SN_CONLL);
	expect("one\r\n\ntwo words\n", SN_LINES, false, "text", "one/two words");
}

/* The line of a wrong row counts the line ends in quotes before it. */
static void test_lines(void **state) {
	SnTable t;
	const char *text = "a,b\n\"1\n\n2\",x\n3,4\n";
	assert_int_equal(open_text(&t, text, strlen(text), SN_CSV, false), SN_OK);
	assert_int_equal(t.lines[0], 2);
	assert_int_equal(t.lines[1], 5);
	sn_table_close(&t);
	assert_int_equal(open_text(&t, "a\0b", 3, SN_LINES, false), SN_DATA);
	sn_table_close(&t);
}

static void test_forms(void **state) {
	SnForm f;
	assert_int_equal(sn_table_form("x/y.tsv", NULL, &f), SN_OK);
	assert_int_equal(f, SN_TSV);
	assert_int_equal(sn_table_form("x.tsv", "csv", &f), SN_OK);
	assert_int_equal(f, SN_CSV);
	assert_int_equal(sn_table_form("-", NULL, &f), SN_OK);
	assert_int_equal(f, SN_LINES);
	assert_int_equal(sn_table_form("x.dat", NULL, &f), SN_USAGE);
	assert_int_equal(sn_table_form("x.tsv", "xml", &f), SN_USAGE);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tsv), cmocka_unit_test(test_csv), cmocka_unit_test(test_jsonl), cmocka_unit_test(test_words), cmocka_unit_test(test_lines),
		cmocka_unit_test(test_forms),
	};
	if (!mkdtemp(dir))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	sn_remove_tree(dir);
	return failed;
}
