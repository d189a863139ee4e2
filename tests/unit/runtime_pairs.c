/* Pre-training's examples: where sentences end, documents, pairs, masks, and the rows that the feeder makes of them. What is drawn is held
 * to its shares within five deviations, over numbers that never change. */
#include "runtime/sn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

const SnProgram sn_program;
static char dir[] = "/tmp/sn_pairs_XXXXXX";

static char *written(const char *name, const char *text) {
	char *path = sn_format("%s/%s", dir, name);
	assert_int_equal(sn_file_write(path, text, strlen(text)), SN_OK);
	return path;
}

/* --- sentences: "|" is where a cut is expected */

static void sentences(void **state) {
	static const char *const cases[] = {
		"One.| Two!| Three?| Four", "No cut before small letters. like here.", "Mr. Smith met J. Doe of the U.S. Army.| They spoke.", "\"Is it?\"| He said so.",
		"He said so (twice).| Then he left.", "It costs 3.50 in all.| 7 of them.", "3. The third.| 4. The fourth.", "Wait...| What?!| Yes.", "See Fig. 2 and No. 3.| There.",
		"\u4F60\u597D\u3002|\u518D\u89C1\uFF01|\u597D", "\u201CSo.\u201D| Thus.", "a.b.c", "", "...",
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		char text[200], got[200];
		size_t n = 0, at = 0, out = 0;
		for (const char *s = cases[i]; *s; s++)
			if (*s != '|')
				text[n++] = *s;
		while (at < n) {
			size_t k = sn_sentence(text + at, n - at);
			assert_true(k > 0 && at + k <= n);
			memcpy(got + out, text + at, k);
			out += k;
			at += k;
			if (at < n)
				got[out++] = '|';
		}
		got[out] = 0;
		assert_string_equal(got, cases[i]);
	}
}

/* --- documents */

static void expect_corpus(const char *path, const char *want) {
	SnTokenizer *t = sn_tokenizer_open("byte", "", 0);
	SnCorpus c = {0};
	SnStr got = {0};
	sn_str_add(&got, "", 0);
	assert_int_equal(sn_corpus_read(&c, t, path), SN_OK);
	for (int64_t d = 0; d < c.ndocument; d++) {
		sn_str_printf(&got, "<");
		for (int64_t k = c.document[d]; k < c.document[d + 1]; k++) {
			sn_str_printf(&got, k > c.document[d] ? "|" : "");
			assert_int_equal(sn_decode(t, c.ids.at + c.sentence[k], c.sentence[k + 1] - c.sentence[k], false, &got), SN_OK);
		}
		sn_str_printf(&got, ">");
	}
	assert_string_equal(got.s, want);
	if (c.ndocument) {
		assert_int_equal(c.document[c.ndocument], c.nsentence);
		assert_int_equal(c.sentence[c.nsentence], c.ids.n);
	}
	free(got.s);
	sn_corpus_close(&c);
	sn_tokenizer_close(t);
}

static void documents(void **state) {
	char *a = written("a.txt", "\n\n One. Two.\nThree \n \t \nFour"), *b = written("b.txt", "Five\n\n\n\nSix\nSeven\n"), *none = written("c.none", "\n \n");
	expect_corpus(a, "<One. Two.|Three ><Four>");
	expect_corpus(none, "");
	char *pattern = sn_format("%s/*.txt", dir);
	expect_corpus(pattern, "<One. Two.|Three ><Four><Five><Six|Seven>");   /* a file's end ends a document */
	expect_corpus(dir, "<One. Two.|Three ><Four><Five><Six|Seven>");
	/* a line of over 256 bytes is a paragraph */
	SnStr s = {0};
	for (int i = 0; i < 30; i++)
		sn_str_printf(&s, "%sSo it is.", i ? "  " : "");
	char *long_line = written("d.none", s.s);
	SnTokenizer *t = sn_tokenizer_open("byte", "", 0);
	SnCorpus c = {0};
	assert_int_equal(sn_corpus_read(&c, t, long_line), SN_OK);
	assert_true(c.ndocument == 1 && c.nsentence == 30 && c.ids.n == 30 * 9);
	sn_corpus_close(&c);
	char *nothing = sn_format("%s/*.nothing", dir);
	assert_int_equal(sn_corpus_read(&c, t, nothing), SN_DATA);
	assert_int_equal(sn_corpus_read(&c, t, "/nonexistent"), SN_DATA);
	sn_tokenizer_close(t);
	free(s.s);
	for (char **p = (char *[]){a, b, none, pattern, long_line, nothing, NULL}; *p; p++) {
		unlink(*p);
		free(*p);
	}
}

/* --- pairs */

enum { DOCUMENTS = 40, ROOM = 29, PASSES = 40 };

/* Document d has 1..12 sentences of 1..20 tokens; each id says its document and sentence. */
static void made_corpus(SnCorpus *c, int64_t least) {
	*c = (SnCorpus){.sentence = sn_alloc(8 * 1000), .document = sn_alloc(8 * 100)};
	for (int64_t d = 0; d < DOCUMENTS; d++) {
		c->document[c->ndocument++] = c->nsentence;
		for (int64_t k = least + sn_below(12, (uint32_t)d, 0, 1); k > 0; k--) {
			c->sentence[c->nsentence] = c->ids.n;
			for (int64_t i = 1 + sn_below(20, (uint32_t)d, (uint32_t)k, 2); i > 0; i--)
				sn_ids_add(&c->ids, (int32_t)(d * 1000 + c->nsentence - c->document[d]));
			c->nsentence++;
		}
	}
	c->document[c->ndocument] = c->nsentence;
	c->sentence[c->nsentence] = c->ids.n;
}

static void expect_within(double got, double share, double n) {
	double deviation = sqrt(share * (1 - share) / n);
	if (fabs(got / n - share) > 5 * deviation)
		fail_msg("%g of %g is %g, not %g within 5 deviations of %g", got, n, got / n, share, deviation);
}

typedef struct Tally { double n, other, full, cut; } Tally;

/* One example: within its documents, in order, within the row. */
static void look(const SnCorpus *c, const SnPairs *p, SnPairDrawn x, Tally *t, bool *seen) {
	const int32_t *a = c->ids.at + x.a.at, *b = c->ids.at + x.b.at;
	assert_true(x.a.n >= 1 && x.b.n >= 1 && x.a.n + x.b.n <= p->room);
	assert_int_equal(a[0] / 1000, a[x.a.n - 1] / 1000);
	assert_int_equal(b[0] / 1000, b[x.b.n - 1] / 1000);
	assert_int_equal(x.other, a[0] / 1000 != b[0] / 1000);
	int32_t last = a[x.a.n - 1];
	if (!x.other)   /* A's last sentence and B's first are neighbours, but for what truncation took */
		assert_true(b[0] > last && (b[0] == last + 1 || x.a.n + x.b.n == p->room));
	for (int64_t i = 0; i < x.a.n || i < x.b.n; i++) {
		if (i < x.a.n)
			seen[x.a.at + i] = true;
		if (i < x.b.n && !x.other)
			seen[x.b.at + i] = true;
	}
	t->n++;
	t->other += x.other;
	t->full += x.a.n + x.b.n == p->room;
}

static void pairs(void **state) {
	SnCorpus c;
	SnPairs p;
	Tally t = {0};
	made_corpus(&c, 2);
	bool *seen = sn_alloc((size_t)c.ids.n);
	sn_pairs_plan(&p, &c, 0, DOCUMENTS, ROOM, false, 7);
	assert_int_equal(p.alone, 0);
	for (int64_t pass = 0; pass < PASSES; pass++)
		for (int64_t i = 0; i < p.n; i++) {
			SnDraws d = sn_draws(11, pass * p.n + i), again = d;
			SnPairDrawn x = sn_pairs_draw(&p, i, &d), y = sn_pairs_draw(&p, i, &again);
			assert_true(x.a.at == y.a.at && x.a.n == y.a.n && x.b.at == y.b.at && x.b.n == y.b.n && x.other == y.other);
			look(&c, &p, x, &t, seen);
		}
	expect_within(t.other, 0.5, t.n);
	assert_true(t.full > 0.5 * t.n && t.full < 0.95 * t.n);   /* but for short ones and documents' ends */
	int64_t unseen = 0;
	for (int64_t i = 0; i < c.ids.n; i++)
		unseen += !seen[i];
	assert_true(unseen * 50 < c.ids.n);   /* long sentences are cut at one end or the other */
	SnDraws one = sn_draws(11, 0), two = sn_draws(11, 1ll << 32);
	assert_true(one.stream == two.stream && one.key != two.key);
	sn_pairs_close(&p);
	free(seen);
	free(c.ids.at);
	free(c.sentence);
	free(c.document);
}

/* Of a part of the documents nothing comes from the others; documents of one sentence are followed by others alone. */
static void parts(void **state) {
	SnCorpus c;
	SnPairs p;
	made_corpus(&c, 1);
	sn_pairs_plan(&p, &c, 30, 32, ROOM, false, 3);
	for (int64_t i = 0; i < 2000; i++) {
		SnDraws d = sn_draws(5, i);
		SnPairDrawn x = sn_pairs_draw(&p, i % p.n, &d);
		int32_t a = c.ids.at[x.a.at] / 1000, b = c.ids.at[x.b.at] / 1000;
		assert_true(a >= 30 && a < 32 && b >= 30 && b < 32);
	}
	sn_pairs_close(&p);
	sn_pairs_plan(&p, &c, 0, DOCUMENTS, ROOM, false, 3);
	int64_t alone = 0;
	for (int64_t d = 0; d < DOCUMENTS; d++)
		alone += c.document[d + 1] - c.document[d] == 1;
	assert_true(alone > 0 && p.alone == alone);
	sn_pairs_close(&p);
	sn_pairs_plan(&p, &c, 0, DOCUMENTS, ROOM, true, 3);   /* no B: chunks follow one another, all of them are there once */
	int64_t at = 0;
	for (int64_t i = 0; i < p.n; i++) {
		SnDraws d = sn_draws(5, i);
		SnPairDrawn x = sn_pairs_draw(&p, i, &d);
		assert_true(!x.other && !x.b.n && x.a.n <= ROOM && x.a.at >= at);
		at = x.a.at;
	}
	assert_true(c.ids.n - at <= 3 * ROOM);
	sn_pairs_close(&p);
	free(c.ids.at);
	free(c.sentence);
	free(c.document);
}

/* A sentence of a million tokens costs as little as any. */
static void giants(void **state) {
	int64_t sentence[] = {0, 1000000, 1000003, 1000006}, document[] = {0, 1, 3};
	SnCorpus c = {.sentence = sentence, .nsentence = 3, .document = document, .ndocument = 2};
	SnPairs p;
	sn_pairs_plan(&p, &c, 0, 2, ROOM, false, 1);
	double front = 0;
	for (int64_t i = 0; i < 100; i++) {
		SnDraws d = sn_draws(1, i);
		SnPairDrawn x = sn_pairs_draw(&p, 0, &d);
		assert_true(x.other && x.a.n + x.b.n == ROOM);
		front += (double)x.a.at;
	}
	assert_float_equal(front / 100, 5e5, 1000);   /* coins: as many at the front as at the back */
	sn_pairs_close(&p);
}

/* --- masks */

static void masks(void **state) {
	enum { WORDS = 1000, T = 128, ROWS = 4000, WANT = 19 };
	int32_t words[WORDS], tokens[T], labels[T], places[T];
	for (int i = 0; i < WORDS; i++)
		words[i] = i + 5;
	SnMasking m = {.mask = 4, .words = words, .nword = WORDS};
	double chosen = 0, hidden = 0, kept = 0, random = 0, at[T] = {0};
	for (int64_t row = 0; row < ROWS; row++) {
		int64_t n = 0;
		for (int i = 0; i < T; i++) {
			tokens[i] = i % 16 ? 5 + i : 2;   /* every sixteenth is special */
			labels[i] = -100;
			if (i % 16)
				places[n++] = i;
		}
		SnDraws d = sn_draws(9, row);
		sn_mask(&m, tokens, labels, places, n, WANT, &d);
		for (int i = 0; i < T; i++) {
			assert_true(labels[i] == -100 || (labels[i] == 5 + i && i % 16));
			assert_true(labels[i] != -100 || tokens[i] == (i % 16 ? 5 + i : 2));
			chosen += labels[i] != -100;
			at[i] += labels[i] != -100;
			hidden += tokens[i] == 4;
			kept += labels[i] != -100 && tokens[i] == labels[i];
			random += labels[i] != -100 && tokens[i] != labels[i] && tokens[i] != 4;
		}
	}
	assert_true(chosen == WANT * ROWS);
	expect_within(hidden, 0.8, chosen);
	expect_within(kept, 0.1 + 0.1 / WORDS, chosen);
	expect_within(random, 0.1 - 0.1 / WORDS, chosen);
	for (int i = 0; i < T; i++)
		if (i % 16)
			expect_within(at[i], (double)WANT / (T - T / 16), ROWS);
	SnDraws d = sn_draws(1, 1);
	places[0] = 3;
	sn_mask(&m, tokens, labels, places, 1, 0, &d);   /* one at least */
	sn_mask(&m, tokens, labels, places, 0, 5, &d);   /* nothing that may be masked */
}

/* --- rows */

enum { ROW = 16, MOST = 4, AT_TOKENS = 0, AT_SEGMENT = 256, AT_REAL = 512, AT_MASKED = 576, AT_FOLLOWS = 832, AT_BYTES = 1024 };
static const SnAxis row_axes[] = {{0, 1, 0, "B"}, {1, 1, 0, "T"}};
/* segments before tokens: ids of fewer rows are segments */
static const SnSlot slots[] = {{"segment", 0, SN_I32, 2, AT_SEGMENT, row_axes, 2, 0}, {"tokens", 0, SN_I32, 2, AT_TOKENS, row_axes, 40, 0},
	{"real", 0, SN_BOOL, 2, AT_REAL, row_axes, 0, 0}, {"masked", 0, SN_I32, 2, AT_MASKED, row_axes, 40, 1}, {"follows", 0, SN_I32, 1, AT_FOLLOWS, row_axes, 2, 0},
	{"seed", 0, SN_I32, 0, 1000, NULL, 0, 0}};
static const SnFunction functions[] = {{"step", NULL, 0, slots, COUNT(slots), NULL, NULL, NULL, 0, NULL, 0, NULL, NULL, 0}};
static const SnSym syms[] = {{"B", MOST}, {"T", ROW}};
static const SnSetting settings[] = {{"data.kind", "text", 0, 0, ""}, {"data.steps", "sentence_pairs,mask_tokens", 0, 0, ""}, {"data.mask_tokens.share", NULL, 1, 0.25, ""}};
static const SnEntry entry = {SN_TRAIN, "train", "", settings, COUNT(settings), functions, 1, NULL, 0, syms, 2, AT_BYTES, 0, 0, 0, 0, &sn_feeder_pretrain, NULL, NULL};
static const SnProgram program = {.name = "own", .entries = &entry, .nentry = 1};

static const char letters[] = "{\"added_tokens\":[{\"id\":0,\"content\":\"[PAD]\",\"special\":true},{\"id\":1,\"content\":\"[UNK]\",\"special\":true},"
	"{\"id\":2,\"content\":\"[CLS]\",\"special\":true},{\"id\":3,\"content\":\"[SEP]\",\"special\":true},{\"id\":4,\"content\":\"[MASK]\",\"special\":true}],"
	"\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},%s\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,"
	"\"[MASK]\":4,\"a\":5,\"b\":6,\"c\":7,\"d\":8,\"e\":9,\"f\":10,\"g\":11,\"h\":12}}}";
static const char around[] = "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},";

static int open_rows(SnInputs *in, SnData *data, const char *text, const char *post, SnUse use, double seed) {
	char json[2000];
	snprintf(json, sizeof json, letters, post);
	char *path = written("text", text), *tokenizer = written("tokenizer.json", json);
	SnOptions o = {.program = &program, .entry = &entry, .saved = json_object()};
	json_object_set_new(o.saved, "data.tokenizer", json_string(tokenizer));
	json_object_set_new(o.saved, "data.file", json_string(path));
	json_object_set_new(o.saved, "seed", json_real(seed));
	SnAsked a = {.o = &o, .entry = &entry, .f = functions, .use = use, .path = path, .T = ROW, .data = data};
	int code = sn_feeder_pretrain.open(in, &a);
	json_decref(o.saved);
	free(path);
	free(tokenizer);
	return code;
}

/* [CLS] A [SEP] B [SEP] and padding, whatever was masked. */
static void expect_row(const char *arena, int64_t row) {
	const int32_t *tokens = (const int32_t *)(arena + AT_TOKENS) + row * ROW, *segment = (const int32_t *)(arena + AT_SEGMENT) + row * ROW;
	const int32_t *masked = (const int32_t *)(arena + AT_MASKED) + row * ROW, follows = ((const int32_t *)(arena + AT_FOLLOWS))[row];
	const char *real = arena + AT_REAL + row * ROW;
	int n = 0, seps = 0, labels = 0;
	int32_t whole[ROW];
	while (n < ROW && real[n])
		n++;
	for (int i = 0; i < ROW; i++) {
		labels += masked[i] >= 0;
		whole[i] = masked[i] >= 0 ? masked[i] : tokens[i];
		assert_true(real[i] == (i < n));
		assert_true(masked[i] == -100 || masked[i] > 4);   /* no special token, no [UNK] */
		assert_true(i < n ? whole[i] != 0 : !tokens[i] && !segment[i]);
		assert_int_equal(segment[i], i < n && seps > 0 && seps < 3);
		seps += whole[i] == 3;
	}
	assert_true(whole[0] == 2 && seps == 2 && whole[n - 1] == 3 && (follows == 0 || follows == 1));
	assert_int_equal(labels, (int)floor(n * 0.25 + 0.5));
}

static const char text[] = "a b c\nd e f g\na z b c d e f g h a b c d\nh\n\nb b b\nc c\nd d d d d d\n\nf g h\ng h a b c d e\n\nh g f\ne d\n\na a\nb b c\n";

static void rows(void **state) {
	SnSession s;
	SnInputs in;
	SnData data = {0};
	char first[AT_BYTES], second[AT_BYTES];
	for (int bare = 0; bare < 2; bare++) {   /* without a post-processor: the same */
		assert_int_equal(open_rows(&in, &data, text, bare ? "" : around, SN_USE_TRAIN, 1), SN_OK);
		assert_int_equal(sn_session_open(&s, &entry, 1), SN_OK);
		assert_true(in.trained > MOST && in.examples > in.trained && in.hash);
		for (int64_t drawn = 0; drawn < 400; drawn += MOST) {
			sn_inputs_fill(&in, &s, (int64_t[]){drawn % in.trained, 1, 2, in.examples - 1}, MOST, drawn);
			assert_true(s.dims[0] == MOST && s.dims[1] == ROW);
			for (int64_t r = 0; r < MOST; r++)
				expect_row(s.arena, r);
		}
		memcpy(second, s.arena, AT_BYTES);
		sn_inputs_fill(&in, &s, (int64_t[]){0, 1, 2, 3}, MOST, 1 << 20);
		memcpy(first, s.arena, AT_BYTES);
		sn_inputs_fill(&in, &s, (int64_t[]){1}, 1, (1 << 20) + 1);   /* a row is the same wherever a call begins */
		assert_memory_equal(s.arena + AT_TOKENS, first + AT_TOKENS + 4 * ROW, 4 * ROW);
		sn_inputs_fill(&in, &s, (int64_t[]){1}, 1, 1 << 21);   /* and another in the next pass */
		assert_memory_not_equal(s.arena + AT_MASKED, first + AT_MASKED + 4 * ROW, 4 * ROW);
		sn_inputs_fill(&in, &s, (int64_t[]){in.trained, in.examples - 1}, 2, SN_FIXED);
		memcpy(first, s.arena, AT_BYTES);
		sn_session_close(&s);
		sn_inputs_close(&in);
		sn_data_close(&data);
		/* what is judged by is the same with any seed */
		assert_int_equal(open_rows(&in, &data, text, bare ? "" : around, SN_USE_TRAIN, 99), SN_OK);
		assert_int_equal(sn_session_open(&s, &entry, 1), SN_OK);
		sn_inputs_fill(&in, &s, (int64_t[]){in.trained, in.examples - 1}, 2, SN_FIXED);
		assert_memory_equal(s.arena + AT_TOKENS, first + AT_TOKENS, 4 * 2 * ROW);
		assert_memory_equal(s.arena + AT_MASKED, first + AT_MASKED, 4 * 2 * ROW);
		sn_session_close(&s);
		sn_inputs_close(&in);
		sn_data_close(&data);
		/* nor does it matter whether it is a part of the text or a text to evaluate on */
		assert_int_equal(open_rows(&in, &data, strstr(text, "h g f"), bare ? "" : around, SN_USE_EVAL, 5), SN_OK);
		assert_int_equal(sn_session_open(&s, &entry, 1), SN_OK);
		sn_inputs_fill(&in, &s, (int64_t[]){0, in.examples - 1}, 2, SN_FIXED);
		assert_memory_equal(s.arena + AT_TOKENS, first + AT_TOKENS, 4 * 2 * ROW);
		sn_session_close(&s);
		sn_inputs_close(&in);
		sn_data_close(&data);
	}
}

static void refused(void **state) {
	SnInputs in;
	SnData data = {0};
	assert_int_equal(open_rows(&in, &data, "a b\nc d\n", around, SN_USE_TRAIN, 1), SN_DATA);
	assert_int_equal(open_rows(&in, &data, "a b\nc d\n\na\n\nb\n", around, SN_USE_TRAIN, 1), SN_DATA);
	assert_int_equal(open_rows(&in, &data, "a b\nc d\n", around, SN_USE_EVAL, 1), SN_DATA);
	assert_int_equal(open_rows(&in, &data, "\n\n", around, SN_USE_TRAIN, 1), SN_DATA);
	assert_int_equal(open_rows(&in, &data, "a b\nc d\n\na\n", around, SN_USE_EVAL, 1), SN_OK);
	sn_inputs_close(&in);
	sn_data_close(&data);
}

static int setup(void **state) {
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
	sn_remove_tree(dir);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentences), cmocka_unit_test(documents), cmocka_unit_test(pairs), cmocka_unit_test(parts), cmocka_unit_test(giants),
		cmocka_unit_test(masks), cmocka_unit_test(rows), cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
