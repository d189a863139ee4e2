/* tokens.c: what tests/tokenizers asks of a tokenizer.
 *     tokens TOKENIZER FILE     for each line of FILE, a text as a JSON string: the ids with special tokens and what they decode to,
 *                               as a JSON object a line
 *     tokens TOKENIZER -n FILE  how fast a text is encoded, in processor time of one thread
 *     tokens byte -u /          ranges of code points that PCRE2 has as unassigned
 *     tokens TOKENIZER -w FILE  writes it as a tokenizer.json; TOKENIZER may be a GGUF file */
#include "tests/gguf_vocab.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int one_line(const SnTokenizer *t, json_t *text)
{
	SnIds plain = {0}, ids = {0}, types = {0};
	SnStr back = {0};
	int code = sn_encode(t, json_string_value(text), json_string_length(text), "a line", &plain);
	sn_post_process(t, &plain, NULL, &ids, &types);
	if (!code)
		code = sn_decode(t, ids.at, ids.n, false, &back);
	json_t *list = json_array();
	for (int64_t i = 0; i < ids.n; i++)
		json_array_append_new(list, json_integer(ids.at[i]));
	json_t *all = json_pack("{s:o, s:o}", "ids", list, "text", json_stringn(back.s ? back.s : "", back.n));
	char *out = json_dumps(all, JSON_COMPACT);
	puts(out ? out : "null");
	free(out);
	json_decref(all);
	free(plain.at);
	free(ids.at);
	free(types.at);
	free(back.s);
	return code;
}

static double spent(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int speed(const SnTokenizer *t, const char *path)
{
	SnFile f;
	if (sn_file_map(&f, path))
		return SN_DATA;
	double best = 1e9;
	int64_t n = 0;
	for (int i = 0; i < 5; i++) {
		SnIds ids = {0};
		double start = spent();
		if (sn_encode(t, f.at, f.n, path, &ids))
			return SN_DATA;
		double took = spent() - start;
		best = took < best ? took : best;
		n = ids.n;
		free(ids.at);
	}
	printf("%s: %.1f MB/s, %lld tokens\n", sn_tokenizer_kind(t), (double)f.n / best / 1e6, (long long)n);
	sn_file_unmap(&f);
	return SN_OK;
}

static int write_gguf(const char *gguf, const char *path)
{
	json_t *json = gguf_vocab(gguf);
	int code = json && !json_dump_file(json, path, JSON_COMPACT) ? SN_OK : sn_fail(SN_FAIL, "%s: not written", path);
	json_decref(json);
	return code;
}

static int unassigned(void)
{
	SnPattern *p = sn_pattern_open("\\p{Cn}", "-u");
	SnMatcher *m = p ? sn_matcher_open(p) : NULL;
	uint32_t from = 1;
	for (uint32_t c = 1; m && c <= 0x110000; c++) {
		char text[4];
		size_t a, b;
		bool surrogate = c >= 0xD800 && c < 0xE000, is = c < 0x110000 && !surrogate && sn_matcher_next(m, text, (size_t)sn_utf8_write(text, c), 0, &a, &b) == 1;
		if (!is && from < c)
			printf("%X %X\n", (unsigned)from, (unsigned)c - 1);
		from = is ? from : c + 1;
	}
	sn_matcher_close(m);
	sn_pattern_close(p);
	return SN_OK;
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[2], "-w") && strstr(argv[1], ".gguf"))
		return write_gguf(argv[1], argv[3]);
	SnTokenizer *t = argc > 2 ? sn_tokenizer_open(argv[1], "", 0) : NULL;
	if (!t)
		return sn_fail(SN_USAGE, "usage: tokens TOKENIZER [-n | -w] FILE");
	if (!strcmp(argv[2], "-n") && argc > 3)
		return speed(t, argv[3]);
	if (!strcmp(argv[2], "-u"))
		return unassigned();
	if (!strcmp(argv[2], "-w") && argc > 3)
		return sn_tokenizer_save(t, argv[3]);
	FILE *in = fopen(argv[2], "r");
	char *line = NULL;
	size_t cap = 0;
	int code = in ? SN_OK : sn_fail(SN_DATA, "%s can't be read", argv[2]);
	while (!code && getline(&line, &cap, in) > 0) {
		json_t *text = json_loads(line, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		code = json_is_string(text) ? one_line(t, text) : sn_fail(SN_DATA, "%s: a line is no JSON string", argv[2]);
		json_decref(text);
	}
	free(line);
	if (in)
		fclose(in);
	sn_tokenizer_close(t);
	return code;
}
