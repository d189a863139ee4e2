/* Each stage that a tokenizer.json can have, alone: what Hugging Face's library makes of the same (its tests and sources). Pieces are shown
 * with | between them. */
#include "runtime/tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define SP "\xE2\x96\x81"
#define BAD "\xEF\xBF\xBD"

typedef struct Case { const char *json, *in, *out; } Case;

static json_t *parsed(const char *text) {
	json_error_t err;
	json_t *j = json_loads(text, JSON_DECODE_ANY, &err);
	if (!j)
		fail_msg("%s in %s", err.text, text);
	return j;
}

static void normalizers(void **state) {
	static const Case cases[] = {
		{"{\"type\":\"NFC\"}", "e\u0301 \uFB01", "\u00E9 \uFB01"}, {"{\"type\":\"NFD\"}", "\u00E9\uAC01", "e\u0301\u1100\u1161\u11A8"},
		{"{\"type\":\"NFKC\"}", "\uFF21\uFB01\u2460", "Afi1"}, {"{\"type\":\"NFKD\"}", "\u00E9\uFB01", "e\u0301fi"},
		{"{\"type\":\"Lowercase\"}", "\u00C9\u03A3A\u0130", "\u00E9\u03C3ai\u0307"}, {"{\"type\":\"StripAccents\"}", "e\u0301\u0903a", "ea"},
		{"{\"type\":\"BertNormalizer\"}", "H\u00E9\tl\001\u4E2Do\uFFFD\xC2\x85", "he l \u4E2D o"},
		{"{\"type\":\"BertNormalizer\",\"lowercase\":false}", "H\u00E9", "H\u00E9"},
		{"{\"type\":\"BertNormalizer\",\"lowercase\":false,\"strip_accents\":true}", "H\u00E9", "He"},
		{"{\"type\":\"BertNormalizer\",\"strip_accents\":false}", "H\u00C9", "h\u00E9"},
		{"{\"type\":\"BertNormalizer\",\"clean_text\":false,\"handle_chinese_chars\":false}", "a\t\u4E2D", "a\t\u4E2D"},
		{"{\"type\":\"Nmt\"}", "a\010\tb\u200Bc\u2028d", "a b c d"}, {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "ab", "_ab"},
		{"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", ""},
		{"{\"type\":\"Replace\",\"pattern\":{\"String\":\"aa\"},\"content\":\"b\"}", "aaaxa", "baxa"},
		{"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"}", "a \u00A0\n b", "a b"},
		{"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"-\"}", "axb", "-a--b-"},
		{"{\"type\":\"Strip\"}", " \u3000a b\n ", "a b"}, {"{\"type\":\"Strip\",\"strip_left\":false}", " a ", " a"},
		{"{\"type\":\"Strip\",\"strip_right\":false}", " a ", "a "},
		{"{\"type\":\"ByteLevel\"}", "a \u00E9", "a\u0120\u00C3\u00A9"},
		{"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"StripAccents\"}]},{\"type\":\"Lowercase\"}]}",
		 "\u00C9", "e"},
		{"null", "A", "A"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *j = parsed(cases[i].json);
		SnNormalizer *z = sn_normalizer_open(j, "test");
		SnStr out = {0};
		assert_non_null(z);
		if (sn_normalizer_is_empty(z))
			sn_str_add(&out, cases[i].in, strlen(cases[i].in));
		else
			assert_int_equal(sn_normalize(z, cases[i].in, strlen(cases[i].in), &out), SN_OK);
		if (strcmp(out.s, cases[i].out))
			fail_msg("%s of \"%s\" is \"%s\"", cases[i].json, cases[i].in, out.s);
		free(out.s);
		sn_normalizer_close(z);
		json_decref(j);
	}
}

static int collect(void *ctx, SnPiece p) {
	SnStr *out = ctx;
	sn_str_add(out, "|", out->n != 0);
	sn_str_add(out, p.s, p.n);
	return SN_OK;
}

#define SPLIT(pattern, behavior, invert) "{\"type\":\"Split\",\"pattern\":{" pattern "},\"behavior\":\"" behavior "\",\"invert\":" invert "}"

static void pre_tokenizers(void **state) {
	static const Case cases[] = {
		{"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "Hi I'm\n\n x", "\u0120Hi|\u0120I|'m|\u010A\u010A|\u0120x"},
		{"{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "a  b1 \u00E9?", "a|\u0120|\u0120b|1|\u0120\u00C3\u00A9|?"},
		{"{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}", "a b", "a\u0120b"},
		{"{\"type\":\"Whitespace\"}", "Hey man! a_b-\u00E9\u0301 \u180E", "Hey|man|!|a_b|-|\u00E9\u0301|\u180E"},
		{"{\"type\":\"WhitespaceSplit\"}", " a\u3000b! \u200Bc\xC2\x85" "d", "a|b!|\u200Bc|d"},
		{"{\"type\":\"BertPreTokenizer\"}", "Hey!! a$b\u2014c\u20AC", "Hey|!|!|a|$|b|\u2014|c\u20AC"}, {"{\"type\":\"Punctuation\"}", "a,b?? c", "a|,|b|?|?| c"},
		{"{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "a,b?? c", "a|,|b|??| c"}, {"{\"type\":\"Digits\"}", "a12 3\u0664\u2167b", "a|12| |3\u0664\u2167|b"},
		{"{\"type\":\"Digits\",\"individual_digits\":true}", "a12b", "a|1|2|b"}, {"{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"-\"}", "a-b--c", "a|b|c"},
		{"{\"type\":\"FixedLength\",\"length\":2}", "a\u00E9b", "a\u00E9|b"},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}", "Hey  friend", SP "Hey|" SP "|" SP "friend"},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}", " Hey", SP "Hey"},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"never\"}", "a b ", "a|" SP "b|" SP},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"add_prefix_space\":false}", "a b", "a|" SP "b"},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"split\":false}", "a b", SP "a" SP "b"},
		{"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"first\"}]}",
		 "a b", SP "a|b"},
		{SPLIT("\"String\":\"-\"", "Removed", "false"), "a--b-c", "a|b|c"}, {SPLIT("\"String\":\"-\"", "Isolated", "false"), "a--b", "a|-|-|b"},
		{SPLIT("\"String\":\"-\"", "Contiguous", "false"), "a--b", "a|--|b"}, {SPLIT("\"String\":\"-\"", "MergedWithPrevious", "false"), "a--b-c", "a-|-|b-|c"},
		{SPLIT("\"String\":\"-\"", "MergedWithNext", "false"), "a--b-", "a|-|-b|-"}, {SPLIT("\"Regex\":\"\\\\w+\"", "Removed", "true"), "a1 b-c", "a1|b|c"},
		{SPLIT("\"Regex\":\"\\\\w+\"", "Isolated", "true"), "a1 b", "a1| |b"}, {SPLIT("\"Regex\":\"x*\"", "Isolated", "false"), "axb", "a|x|b"},
		{SPLIT("\"String\":\"aa\"", "MergedWithPrevious", "true"), "aab", "aab"}, {SPLIT("\"String\":\".\"", "Removed", "false"), "a.b", "a|b"},
		{"null", "a b", "a b"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *j = parsed(cases[i].json);
		SnSplitter *z = sn_splitter_open(j, "test");
		assert_non_null(z);
		SnSplitting *x = sn_splitting_open(z);
		SnStr out = {0};
		assert_int_equal(sn_split(x, (SnPiece){cases[i].in, strlen(cases[i].in), true}, collect, &out), SN_OK);
		if (strcmp(out.s, cases[i].out))
			fail_msg("%s of \"%s\" is \"%s\"", cases[i].json, cases[i].in, out.s);
		free(out.s);
		sn_splitting_close(x);
		sn_splitter_close(z);
		json_decref(j);
	}
}

/* in: tokens with | between them */
static void decoders(void **state) {
	static const Case cases[] = {
		{"{\"type\":\"ByteLevel\"}", "a\u0120|\u00C3|\u00A9|\u00C3|\u4E2D", "a \u00E9" BAD "\u4E2D"},
		{"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}", "##a|##b|c|.|do|n't|##d", "##ab c. don'td"},
		{"{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":false}", "a|.", "a ."},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}", SP "a|" SP "b" SP, "a b "},
		{"{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"never\"}", SP "a|" SP "b", " a b"},
		{"{\"type\":\"ByteFallback\"}", "a|<0xC3>|<0xA9>|<0xFF>|b|<0x41>|<0xZZ>", "a" BAD BAD BAD "bA<0xZZ>"}, {"{\"type\":\"Fuse\"}", "a|b", "ab"},
		{"{\"type\":\"Strip\",\"content\":\"H\",\"start\":1,\"stop\":0}", "HHa|Hb", "Hab"}, {"{\"type\":\"Strip\",\"content\":\"y\",\"start\":0,\"stop\":1}", "ayy|y", "ay"},
		{"{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}", "a_|_b", "a  b"},
		{"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]\"},\"content\":\"#\"}", "a1|2", "a##"},
		{"{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a|b</w>|c</w>", "ab c"},
		{"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
		 "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}", SP "a|" SP "b|<0x21>", "a b!"},
		{"null", "a|b", "a b"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *j = parsed(cases[i].json);
		SnDecoder *d = sn_decoder_open(j, "test");
		assert_non_null(d);
		SnStrings list = {0};
		for (const char *at = cases[i].in;; at++) {
			size_t n = strcspn(at, "|");
			sn_strings_add(&list, at, n);
			at += n;
			if (!*at)
				break;
		}
		SnStr out = {0};
		assert_int_equal(sn_decoder_run(d, &list, false, true, &out), SN_OK);
		if (strcmp(out.s, cases[i].out))
			fail_msg("%s of \"%s\" is \"%s\"", cases[i].json, cases[i].in, out.s);
		free(out.s);
		sn_strings_close(&list);
		sn_decoder_close(d);
		json_decref(j);
	}
}

/* --- models, added tokens and post-processors: whole tokenizers; in as text, out as ids */

#define BPE(options, vocab, merges) "{\"model\":{\"type\":\"BPE\"," options "\"vocab\":{" vocab "},\"merges\":[" merges "]}}"
#define WITH(added, rest) "{\"added_tokens\":[" added "]," rest \
	"\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0,\"a\":1,\"b\":2,\" \":3,\"ab\":4,\" a\":5,\"a \":6,\"x\":7}}}"
#define UNIGRAM(options, vocab) "{\"model\":{\"type\":\"Unigram\"," options "\"vocab\":[" vocab "]}}"
#define WORDPIECE(options) \
	"{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"WordPiece\"," options \
	"\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"ab\":1,\"##c\":2,\"##cd\":3,\"abx\":4,\"\u00E9\":5}}}"

static void models(void **state) {
	static const Case cases[] = {
		{BPE("", "\"a\":0,\"b\":1,\"ab\":2", "\"a b\""), "abab", "2 2"},
		{BPE("\"unk_token\":\"b\",", "\"a\":0,\"b\":1", ""), "axya", "0 1 1 0"}, {BPE("\"unk_token\":\"b\",\"fuse_unk\":true,", "\"a\":0,\"b\":1", ""), "axyab", "0 1 0 1"},
		{BPE("\"unk_token\":\"b\",\"byte_fallback\":true,", "\"a\":0,\"b\":1,\"<0xC3>\":2,\"<0xA9>\":3", ""), "a\u00E9\u00E8", "0 2 3 1"},
		{BPE("\"end_of_word_suffix\":\"</w>\",", "\"a\":0,\"b</w>\":1,\"ab</w>\":2,\"aab</w>\":3", "\"a b</w>\",\"a ab</w>\""), "aab", "3"},
		{BPE("\"continuing_subword_prefix\":\"##\",", "\"a\":0,\"##b\":1,\"##c\":2,\"ab\":3,\"abc\":4", "[\"a\",\"##b\"],[\"ab\",\"##c\"]"), "abc", "4"},
		{BPE("\"ignore_merges\":true,", "\"a\":0,\"b\":1,\"ab\":2", ""), "ab", "2"}, {BPE("", "\"a\":0,\"b\":1,\"ab\":2", ""), "ab", "0 1"},
		/* two ways to "abc": as rules of their own the second comes behind "c d", as one before */
		{BPE("", "\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"bc\":4,\"ab\":5,\"cd\":6,\"abc\":7", "\"a bc\",\"a b\",\"c d\",\"ab c\""), "abcd", "5 6"},
		{BPE("\"merges_by_result\":true,", "\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"bc\":4,\"ab\":5,\"cd\":6,\"abc\":7", "\"a bc\",\"a b\",\"c d\",\"ab c\""), "abcd", "7 3"},
		/* longer than what is kept as one word: cut where no rule can reach across */
		{BPE("", "\"a\":0,\"b\":1,\"ab\":2,\" \":3", "\"a b\""), "ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab",
		 "2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2 3 2"},
		{UNIGRAM("\"unk_id\":0,", "[\"<u>\",0],[\"a\",-1],[\"b\",-1],[\"ab\",-1.5],[\"abc\",-9],[\"c\",-3]"), "abcxyab", "3 5 0 3"},
		{UNIGRAM("\"unk_id\":0,", "[\"<u>\",0],[\"ab\",-1],[\"bc\",-1],[\"a\",-2],[\"c\",-2]"), "abc", "3 2"},
		{UNIGRAM("\"unk_id\":0,\"byte_fallback\":true,", "[\"<u>\",0],[\"a\",-1],[\"<0xC3>\",0],[\"<0xA9>\",0]"), "a\u00E9a\u00E8", "1 2 3 1 0"},
		{WORDPIECE(""), "abcd abc abx abcx \u00E9 \u00E9cc", "1 3 1 2 4 0 5 5 2 2"}, {WORDPIECE("\"max_input_chars_per_word\":3,"), "abc abcd \u00E9cc", "1 2 0 5 2 2"},
		{WITH("", "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},"), "a b c", "1 2 0"},
		{WITH("{\"id\":9,\"content\":\"<x>\",\"special\":true}", ""), "a<x>b<x>", "1 9 2 9"},
		{WITH("{\"id\":9,\"content\":\"<x>\",\"special\":true,\"lstrip\":true}", ""), "a <x> a", "1 9 5"},
		{WITH("{\"id\":9,\"content\":\"<x>\",\"special\":true,\"rstrip\":true}", ""), "a <x>\u3000a", "6 9 1"},
		{WITH("{\"id\":9,\"content\":\"x\",\"special\":true,\"single_word\":true}", ""), "x", "9"},
		{WITH("{\"id\":9,\"content\":\"x\",\"special\":true,\"single_word\":true}", ""), "x a", "9 5"},
		{WITH("{\"id\":9,\"content\":\"b\",\"special\":true,\"single_word\":true}", ""), "ab", "4"},
		{WITH("{\"id\":9,\"content\":\"aB\"},{\"id\":8,\"content\":\"a\",\"special\":true}", "\"normalizer\":{\"type\":\"Lowercase\"},"), "B", "2"},
		{WITH("{\"id\":9,\"content\":\"aB\"}", "\"normalizer\":{\"type\":\"Lowercase\"},"), "bAbx", "2 9 7"},
		{WITH("{\"id\":9,\"content\":\"aB\",\"normalized\":false}", "\"normalizer\":{\"type\":\"Lowercase\"},"), "AbaBx", "4 9 7"},
		{WITH("{\"id\":8,\"content\":\"<x\",\"special\":true},{\"id\":9,\"content\":\"<x>\",\"special\":true}", ""), "<x><x", "9 8"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *j = parsed(cases[i].json);
		SnPipeline *p = sn_pipeline_open(j, "test");
		if (!p)
			fail_msg("refused: %s", cases[i].json);
		SnIds ids = {0};
		SnStr out = {0};
		sn_str_add(&out, "", 0);
		assert_int_equal(sn_pipeline_encode(p, cases[i].in, strlen(cases[i].in), "test", &ids), SN_OK);
		for (int64_t k = 0; k < ids.n; k++)
			sn_str_printf(&out, "%s%d", k ? " " : "", ids.at[k]);
		if (strcmp(out.s, cases[i].out))
			fail_msg("%s of \"%s\" is \"%s\", wanted \"%s\"", cases[i].json, cases[i].in, out.s, cases[i].out);
		free(out.s);
		free(ids.at);
		sn_pipeline_close(p);
		json_decref(j);
	}
}

/* in: of A = 1 2, or of A = 1 2 and B = 3; out: ids, and after / type ids */
static void post_processors(void **state) {
	static const char roberta[] = "{\"type\":\"RobertaProcessing\",\"sep\":[\"s\",8],\"cls\":[\"c\",9]}", bert[] = "{\"type\":\"BertProcessing\",\"sep\":[\"s\",8],\"cls\":[\"c\",9]}";
	static const char template[] = "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\","
		"\"single\":[{\"SpecialToken\":{\"id\":\"c\",\"type_id\":2}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
		"\"pair\":[{\"Sequence\":{\"id\":\"B\",\"type_id\":1}},{\"SpecialToken\":{\"id\":\"c\",\"type_id\":1}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],"
		"\"special_tokens\":{\"c\":{\"id\":\"c\",\"ids\":[9,7],\"tokens\":[\"c\",\"d\"]}}}]}";
	static const Case cases[] = {
		{bert, "one", "9 1 2 8 / 0 0 0 0"}, {bert, "two", "9 1 2 8 3 8 / 0 0 0 0 1 1"}, {roberta, "one", "9 1 2 8 / 0 0 0 0"},
		{roberta, "two", "9 1 2 8 8 3 8 / 0 0 0 0 0 0 0"},
		{template, "one", "9 7 1 2 / 2 2 0 0"}, {template, "two", "3 9 7 1 2 / 1 1 1 0 0"}, {"null", "one", "1 2 / 0 0"}, {"null", "two", "1 2 3 / 0 0 1"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *j = parsed(cases[i].json);
		SnPost *p = sn_post_open(j, "test");
		assert_non_null(p);
		SnIds a = {(int32_t[]){1, 2}, 2, 2}, b = {(int32_t[]){3}, 1, 1}, ids = {0}, types = {0};
		SnStr out = {0};
		sn_post_run(p, &a, strcmp(cases[i].in, "two") ? NULL : &b, &ids, &types);
		for (int64_t k = 0; k < ids.n; k++)
			sn_str_printf(&out, "%d ", ids.at[k]);
		sn_str_printf(&out, "/");
		for (int64_t k = 0; k < types.n; k++)
			sn_str_printf(&out, " %d", types.at[k]);
		assert_string_equal(out.s, cases[i].out);
		free(out.s);
		free(ids.at);
		free(types.at);
		sn_post_close(p);
		json_decref(j);
	}
}

/* A megabyte of one word, of marks on one letter, of blanks, of unknown characters: nothing is quadratic. */
static void long_ones(void **state) {
	enum { N = 1 << 20 };
	static const char *const jsons[] = {
		BPE("\"unk_token\":\"u\",\"fuse_unk\":true,", "\"a\":0,\"u\":1,\"aa\":2,\"aaaa\":3", "\"a a\",\"aa aa\""), UNIGRAM("\"unk_id\":0,",
		 "[\"<u>\",0],[\"a\",-1],[\"aaaaaaaa\",-1.5]"),
		"{\"normalizer\":{\"type\":\"NFC\"},"
		 "\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":1000000000,\"unk_token\":\"a\",\"vocab\":{\"a\":0,\"##a\":1,\"##aaaaaaaa\":2}}}",
		"{\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"Metaspace\"},\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"a\",\"vocab\":{\"a\":0}}}",
	};
	static const char *const parts[] = {"a", "\u0301", " ", "\u0301\u0327", "\u1112"};
	for (size_t i = 0; i < sizeof jsons / sizeof *jsons; i++) {
		json_t *j = parsed(jsons[i]);
		SnPipeline *p = sn_pipeline_open(j, "test");
		assert_non_null(p);
		for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
			SnStr text = {0};
			while (text.n < N)
				sn_str_add(&text, parts[k], strlen(parts[k]));
			SnIds ids = {0};
			assert_int_equal(sn_pipeline_encode(p, text.s, text.n, "test", &ids), SN_OK);
			free(ids.at);
			free(text.s);
		}
		sn_pipeline_close(p);
		json_decref(j);
	}
}

/* T5's precompiled map, cut short or its trie bent: it is refused, or nothing outside is read and what comes is UTF-8. */
static void bent_map(void **state) {
	char *path = NULL;
	const char *root = getenv("SINTER_TEST_DATA");
	path = sn_format("%s/tokenizers/t5-small.tokenizer.json", root ? root : "../shared/data");
	if (!sn_exists(path)) {
		printf("skipped: %s is absent\n", path);
		free(path);
		skip();
	}
	json_t *j = sn_json_read(path);
	SnSpan map = sn_text_of(json_object_get(json_object_get(j, "normalizer"), "precompiled_charsmap"));
	assert_non_null(map.at);
	char *copy = sn_alloc(map.n + 1);
	uint32_t seed = 7;
	for (int round = 0; round < 60; round++) {
		memcpy(copy, map.at, map.n);
		for (int i = 0; i < 2000 && round; i++) {
			seed = seed * 1664525u + 1013904223u;
			copy[8 + (seed >> 8) % (map.n / 2)] = "AQgw/+9z"[seed >> 29];
		}
		SnCharsmap *m = sn_charsmap_open((SnSpan){copy, round % 12 == 2 ? map.n - (size_t)round * 1000 : map.n}, "test");
		if (!m)
			continue;
		SnStr out = {0};
		for (uint32_t c = 1; c < 0x3400; c++) {
			char text[4];
			sn_charsmap_run(m, text, (size_t)sn_utf8_write(text, c), &out);
		}
		assert_int_equal(sn_utf8_valid(out.s, out.n), out.n);
		free(out.s);
		sn_charsmap_close(m);
	}
	free(copy);
	free(path);
	json_decref(j);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normalizers), cmocka_unit_test(pre_tokenizers), cmocka_unit_test(decoders), cmocka_unit_test(models), cmocka_unit_test(post_processors),
		cmocka_unit_test(long_ones), cmocka_unit_test(bent_map),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
