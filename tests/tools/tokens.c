/* tokens.c: usage: tokens TOKENIZER FILE: for each line of FILE, a text as a JSON string, the ids with special tokens and what they decode
 * to, as a JSON object a line. Without FILE's texts (FILE "-n TEXT-FILE"): how fast one text is encoded. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

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

static int speed(const SnTokenizer *t, const char *path)
{
	SnFile f;
	if (sn_file_map(&f, path))
		return SN_DATA;
	double best = 1e9;
	int64_t n = 0;
	for (int i = 0; i < 5; i++) {
		SnIds ids = {0};
		double start = sn_clock();
		if (sn_encode(t, f.at, f.n, path, &ids))
			return SN_DATA;
		double took = sn_clock() - start;
		best = took < best ? took : best;
		n = ids.n;
		free(ids.at);
	}
	printf("%s: %.1f MB/s, %lld tokens\n", sn_tokenizer_kind(t), (double)f.n / best / 1e6, (long long)n);
	sn_file_unmap(&f);
	return SN_OK;
}

int main(int argc, char **argv)
{
	SnTokenizer *t = argc > 2 ? sn_tokenizer_open(argv[1], "", 0) : NULL;
	if (!t)
		return sn_fail(SN_USAGE, "usage: tokens TOKENIZER FILE, or tokens TOKENIZER -n TEXT");
	if (!strcmp(argv[2], "-n") && argc > 3)
		return speed(t, argv[3]);
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
