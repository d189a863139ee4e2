/* support_all.c: arenas, arrays, interned strings, buffers, nearest names, files, processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/support.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void arena_zeroes_and_aligns(void **state)
{
	Arena *a = arena_new();
	for (size_t n = 1; n < 300000; n = n * 3 + 1) {
		unsigned char *p = arena_alloc(a, n);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_free(a);
}

static void vec_keeps_what_was_pushed(void **state)
{
	Arena *a = arena_new();
	Vec(int) v = {0}, w = {0};
	for (int i = 0; i < 10000; i++) {
		vec_push(a, &v, i);
		if (i % 7 == 0)
			vec_push(a, &w, -i);
	}
	for (int i = 0; i < v.len; i++)
		assert_int_equal(v.at[i], i);
	for (int i = 0; i < w.len; i++)
		assert_int_equal(w.at[i], -7 * i);
	arena_free(a);
}

static void grown_memory_is_zero_behind_the_old(void **state)
{
	Arena *a = arena_new();
	char *p = arena_alloc(a, 3);
	memcpy(p, "abc", 3);
	p = arena_grow(a, p, 3, 100000);
	assert_memory_equal(p, "abc", 3);
	for (int i = 3; i < 100000; i++)
		assert_int_equal(p[i], 0);
	arena_free(a);
}

static void equal_strings_intern_to_one_pointer(void **state)
{
	char text[32];
	const char *first[2000];
	for (int i = 0; i < 2000; i++) {
		snprintf(text, sizeof text, "name%d", i);
		first[i] = intern(text);
	}
	for (int i = 0; i < 2000; i++) {
		assert_ptr_equal(internf("name%d", i), first[i]);
		assert_ptr_not_equal(first[i], first[(i + 1) % 2000]);
	}
	assert_ptr_equal(intern_n("name12345", 6), first[12]);
	assert_string_equal(intern_n("", 0), "");
}

static void buffers_grow(void **state)
{
	Str s = {0};
	for (int i = 0; i < 1000; i++)
		str_printf(&s, "%03d,", i);
	assert_int_equal(s.len, 4000);
	assert_memory_equal(s.at + 3996, "999,", 5);
	str_free(&s);
}

static void nearest_suggests_only_what_is_near(void **state)
{
	static const char *const names[] = {"layernorm", "linear", "rmsnorm", "token_type_embeddings", "D"};
	assert_string_equal(diag_nearest("layernrom", names, 5), "layernorm");
	assert_string_equal(diag_nearest("Linear", names, 5), "linear");
	assert_string_equal(diag_nearest("d", names, 5), "D");
	assert_string_equal(diag_nearest("token_type_embedding", names, 5), "token_type_embeddings");
	assert_null(diag_nearest("conv", names, 5));
	assert_null(diag_nearest("K", names, 5));
}

static void places_count_characters(void **state)
{
	Arena *a = arena_new();
	Source *s = source_text(a, "f", "ab\n\xc3\xa9\xc3\xa9x\n");
	assert_int_equal(loc_line((Loc){s, 7, 8}), 2);
	assert_int_equal(loc_col((Loc){s, 7, 8}), 3);
	assert_int_equal(loc_line((Loc){0}), 0);
	Loc j = loc_join((Loc){s, 3, 4}, (Loc){s, 0, 1});
	assert_int_equal(j.at, 0);
	assert_int_equal(j.end, 4);
	arena_free(a);
}

static void files_are_written_whole_or_not_at_all(void **state)
{
	Arena *a = arena_new();
	char dir[] = "/tmp/sinter-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	const char *path = arena_printf(a, "%s/x", dir);
	assert_true(file_write_atomic(path, "one", 3));
	assert_true(file_write_atomic(path, "two!", 4));
	Source *s = source_read(a, path);
	assert_string_equal(s->text, "two!");
	assert_int_equal(s->len, 4);
	assert_false(file_write_atomic(arena_printf(a, "%s/no/such", dir), "x", 1));
	assert_int_equal(errno, ENOENT);
	assert_null(source_read(a, dir));
	assert_int_equal(errno, EISDIR);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);   /* nothing was left beside it */
	arena_free(a);
}

static void processes_report_output_and_code(void **state)
{
	Str out = {0};
	const char *const argv[] = {"sh", "-c", "echo to-out; echo to-err >&2; exit 7", NULL};
	assert_int_equal(run_process(argv, &out), 7);
	assert_non_null(strstr(out.at, "to-out"));
	assert_non_null(strstr(out.at, "to-err"));
	const char *const none[] = {"/no/such/program", NULL};
	assert_int_equal(run_process(none, NULL), -1);
	str_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arena_zeroes_and_aligns), cmocka_unit_test(vec_keeps_what_was_pushed),
		cmocka_unit_test(grown_memory_is_zero_behind_the_old), cmocka_unit_test(equal_strings_intern_to_one_pointer),
		cmocka_unit_test(buffers_grow), cmocka_unit_test(nearest_suggests_only_what_is_near),
		cmocka_unit_test(places_count_characters), cmocka_unit_test(files_are_written_whole_or_not_at_all),
		cmocka_unit_test(processes_report_output_and_code),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
