/* whole.c, entities.c, squad.c: metrics of a whole set against numbers that numpy, or the official evaluation's own functions, gave once; and what is
 * left where a class is absent, or a side never varies. */
#include "runtime/tables.h"
#include "runtime/tokens.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))
enum { ROOM = 64 };
static int64_t extent[2];
static float arena[ROOM];

static SnSlot slot = {.output = true, .dtype = SN_F32};

static void shapes(const int64_t *dims, int64_t *out) {
	(void)dims;
	out[0] = extent[0];
	if (slot.rank > 1)
		out[1] = extent[1];
}

static const SnFunction f = {.slots = &slot, .nslot = 1, .shapes = (const void *)shapes, .wholes = &sn_wholes};
static const SnSession session = {.arena = (char *)arena};

static void begin(SnMeans *m, const char *name, int rank) {
	slot.name = name;
	slot.rank = rank;
	sn_means_open(m, &f, NULL);
	assert_int_equal(m->n, 1);
	assert_string_equal(m->name[0], "x");
	assert_true(isnan(sn_means_at(m, 0)));   /* of nothing */
}

static void expect_close(double got, double want) {
	if (isnan(want) ? !isnan(got) : !(fabs(got - want) < 1e-6))
		fail_msg("%.9g, wanted %.9g", got, want);
}

static void expect_end(SnMeans *m, double want) {
	double got = sn_means_find(m, "x");
	sn_means_close(m);
	expect_close(got, want);
}

/* --- labels: two calls, the first of 3 */

static void labels(const char *name, int C, const int *truth, const int *told, int n, double want) {
	SnMeans m;
	begin(&m, name, 2);
	extent[0] = 3, extent[1] = C;
	for (int at = 0, to = 3; at < n; at = to, to = n) {
		memset(arena, 0, sizeof arena);
		for (int i = at; i < to; i++) {
			arena[told[i]] += truth[i] == told[i];
			arena[C + told[i]]++;
			arena[2 * C + truth[i]]++;
		}
		sn_means_add(&m, &session, to - at);
	}
	expect_end(&m, want);
}

static void all_labels(int C, const int *truth, const int *told, int n, double f1, double macro, double matthews) {
	labels("whole:f1:x", C, truth, told, n, f1);
	labels("whole:macro_f1:x", C, truth, told, n, macro);
	labels("whole:matthews:x", C, truth, told, n, matthews);
}

static void of_labels(void **state) {
	static const int y[] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 0, 1, 1, 2, 2, 2, 0, 0, 3, 1, 0}, p[] = {0, 1, 2, 2, 0, 2, 2, 3, 1, 0, 1, 1, 0, 2, 1, 0, 3, 3, 1, 0};
	static const int two[] = {0, 1, 1, 0, 1, 1, 0, 1, 1, 1}, said[] = {0, 1, 0, 0, 1, 1, 1, 1, 1, 0};
	all_labels(4, y, p, COUNT(y), 0.690792541, 0.690792541, 0.593860114);
	all_labels(2, two, said, COUNT(two), 0.769230769, 0.670329670, 0.356348323);
}

/* A label that is neither told nor true counts as 0 in the mean (scikit-learn's zero_division=0 with all labels named); Matthews' correlation is 0
 * where one side has one label alone. */
static void few_labels(void **state) {
	static const int y[] = {0, 1, 0, 1, 1, 0}, p[] = {0, 1, 1, 1, 0, 0}, three[] = {0, 1, 2, 0}, one[] = {1, 1, 1, 1}, some[] = {0, 1, 1, 1};
	all_labels(3, y, p, COUNT(y), 0.444444444, 0.444444444, 0.333333333);
	all_labels(3, three, one, COUNT(one), 0.133333333, 0.133333333, 0);
	all_labels(2, one, some, COUNT(one), 0.857142857, 0.428571429, 0);
	all_labels(2, one, one, COUNT(one), 1, 0.5, 0);
}

/* --- numbers: calls of 3, as their moments, or as they are */

static void moments(const float *a, const float *b, int n) {
	float mean[2] = {0, 0};
	memset(arena, 0, sizeof arena);
	for (int i = 0; i < n; i++)
		mean[0] += a[i] / (float)n, mean[1] += b[i] / (float)n;
	arena[0] = (float)n, arena[1] = mean[0], arena[2] = mean[1];
	for (int i = 0; i < n; i++) {
		arena[3] += (a[i] - mean[0]) * (a[i] - mean[0]);
		arena[4] += (b[i] - mean[1]) * (b[i] - mean[1]);
		arena[5] += (a[i] - mean[0]) * (b[i] - mean[1]);
	}
}

static void numbers(const char *name, const float *a, const float *b, int n, double want) {
	SnMeans m;
	bool ranks = strstr(name, "spearman");
	begin(&m, name, ranks ? 2 : 1);
	for (int at = 0, k; at < n; at += k) {
		k = n - at < 3 ? n - at : 3;
		extent[0] = ranks ? 2 : 6, extent[1] = k;
		moments(a + at, b + at, k);
		if (ranks) {
			memcpy(arena, a + at, sizeof *a * (size_t)k);
			memcpy(arena + k, b + at, sizeof *b * (size_t)k);
		}
		sn_means_add(&m, &session, k);
	}
	expect_end(&m, want);
}

static void of_numbers(void **state) {
	static const float a[] = {0.5f, 1.5f, -2, 3.25f, 0.5f, 7, 1.5f, -1, 2, 2}, b[] = {1, 2, -1.5f, 2, 1.25f, 9, 0, -3, 2, 2.5f};
	float far[COUNT(a)], falls[COUNT(a)];
	for (int i = 0; i < COUNT(a); i++)
		far[i] = a[i] + 100, falls[i] = -expf(a[i]);
	numbers("whole:pearson:x", a, b, COUNT(a), 0.936034793);
	numbers("whole:pearson:x", far, b, COUNT(a), 0.936034793);
	numbers("whole:spearman:x", a, b, COUNT(a), 0.879261180);
	numbers("whole:spearman:x", far, b, COUNT(a), 0.879261180);
	numbers("whole:spearman:x", a, falls, COUNT(a), -1);
}

/* No correlation with what does not vary, nor with what is no number. */
static void constant(void **state) {
	static const float a[] = {0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f}, b[] = {1, 2, 3, 4, 5, 6, 7}, c[] = {1, 2, NAN, 4, 5, 6, 7};
	static const char *const names[] = {"whole:pearson:x", "whole:spearman:x"};
	for (int i = 0; i < COUNT(names); i++) {
		numbers(names[i], a, b, COUNT(a), NAN);
		numbers(names[i], b, a, COUNT(a), NAN);
		numbers(names[i], b, c, COUNT(a), NAN);
		numbers(names[i], b, b, 1, NAN);
		numbers(names[i], b, b, 2, 1);
	}
}

/* --- entities: tags as letters, b B-X, i I-X, c B-Y, j I-Y, o O, - none (cut off) */

static void put_tags(const char *letters, const char **tags) {
	for (int i = 0; letters[i]; i++)
		tags[i] = letters[i] == 'b' ? "B-X" : letters[i] == 'i' ? "I-X" : letters[i] == 'c' ? "B-Y" : letters[i] == 'j' ? "I-Y" : letters[i] == 'o' ? "O" : NULL;
}

static void expect_entities(const char *truth, const char *told, int64_t true_, int64_t said, int64_t both) {
	const char *a[16], *b[16];
	SnEntities e = {0};
	put_tags(truth, a);
	put_tags(told, b);
	sn_entities_add(&e, a, b, (int64_t)strlen(truth));
	if (e.true_ != true_ || e.told != said || e.both != both)
		fail_msg("%s %s: %d %d %d", truth, told, (int)e.true_, (int)e.told, (int)e.both);
}

static void of_entities(void **state) {
	expect_entities("obiio", "obiio", 1, 1, 1);
	expect_entities("obiio", "obioo", 1, 1, 0);   /* too short */
	expect_entities("obiio", "oiiio", 1, 1, 1);   /* an I begins one */
	expect_entities("obiio", "ocjjo", 1, 1, 0);   /* another type */
	expect_entities("bbb", "bib", 3, 2, 1);
	expect_entities("bijo", "bioo", 2, 1, 1);     /* another type's I begins another */
	expect_entities("bibi", "bi-i", 2, 2, 1);
	expect_entities("ooo", "ooo", 0, 0, 0);
	SnEntities none = {0}, some = {4, 5, 3}, missed = {2, 0, 0};
	expect_close(sn_entities_f1(&none), NAN);
	expect_close(sn_entities_f1(&missed), 0);
	expect_close(sn_entities_precision(&missed), 0);
	expect_close(sn_entities_precision(&some), 0.6);
	expect_close(sn_entities_recall(&some), 0.75);
	expect_close(sn_entities_f1(&some), 2 * 0.6 * 0.75 / (0.6 + 0.75));
}

/* --- answers */

static void expect_marks(const char *gold, const char *told, bool second, double exact, double f1) {
	SnGold g[] = {{gold, 0, 0}, {"Zz", 0, 0}};
	SnQuestion q = {.gold = g, .ngold = gold ? 2 : 0};
	double got[2];
	sn_squad_marks(&q, (SnCell){told, strlen(told)}, second, &got[0], &got[1]);
	if (got[0] != exact || fabs(got[1] - f1) > 1e-9)
		fail_msg("%s %s: %g %g", gold ? gold : "none", told, got[0], got[1]);
}

static void of_answers(void **state) {
	sn_uni_load();
	expect_marks("the Apollo program", "Apollo Program!", false, 1, 1);
	expect_marks("a 1990\u2013the end", "1990\u2013 end", false, 1, 1);
	expect_marks("in the U.S. Army", "us army in", false, 0, 1);
	expect_marks("one two two", "two two two", false, 0, 0.666666667);
	expect_marks("\u00c9mile \u00a0Zola", "\u00e9mile zola", false, 1, 1);
	expect_marks("anthem", "an them", false, 0, 0);
	expect_marks("cat's", "cats", false, 1, 1);
	expect_marks("a\u0301 b", "\u0301 b", false, 1, 1);
	expect_marks("The", "a", false, 1, 1);
	expect_marks("The", "", true, 0, 0);          /* 2.0 counts no answer of articles alone beside others */
	expect_marks(NULL, "", true, 1, 1);
	expect_marks(NULL, "the", true, 1, 1);
	expect_marks(NULL, "Bob", true, 0, 0);
}

/* Two windows of one question: tokens at bytes 0-1, 2-3, 4-5 and 4-5, 6-7 behind two others each. */
static void no_answer(void **state) {
	SnQuestion q = {.context = {"a b c d", 7}, .none = true};
	SnWindow at[] = {{0, 0, 3, 2}, {0, 3, 2, 2}};
	int32_t from[] = {0, 2, 4, 4, 6}, to[] = {1, 3, 5, 5, 7};
	SnReading r = {.q = {.at = &q, .n = 1, .without = 1}, .w = {.at = at, .n = 2, .from = {from, 5, 5}, .to = {to, 5, 5}}, .most = 2};
	static const float first[2][5] = {{2, 9, 0, 1, 0}, {3, 9, 0, 1, 0}}, last[2][5] = {{1, 9, 0, 0, 5}, {4, 9, 0, 1, 0}};
	SnFound found = {0};
	sn_reading_look(&r, 0, first[0], last[0], &found);
	sn_reading_look(&r, 1, first[1], last[1], &found);
	assert_true(found.best == 6 && found.none == 3);   /* b c: 1 + 5; the less of 2 + 1 and 3 + 4 */
	assert_int_equal(found.from, 2);
	assert_int_equal(found.to, 5);
	SnMarks m = sn_reading_judge(&r, &found);
	assert_true(m.n[0] == 0 && m.n[1] == 1 && m.exact[1] == 0);
	r.nullable = true;
	assert_false(sn_reading_is_none(&r, &found));
	r.threshold = -3.5;
	assert_true(sn_reading_is_none(&r, &found));
	m = sn_reading_judge(&r, &found);
	assert_true(m.exact[1] == 1 && m.f1[1] == 1);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_labels), cmocka_unit_test(few_labels), cmocka_unit_test(of_numbers), cmocka_unit_test(constant),
		cmocka_unit_test(of_entities), cmocka_unit_test(of_answers), cmocka_unit_test(no_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
