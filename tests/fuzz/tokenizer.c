/* tokenizer.c: libFuzzer target of tokenizer.json: what opens encodes and decodes. An input is the json and, behind a line "%%", a text,
 * mended where it is not UTF-8. What is decoded is UTF-8; ids are tokens of the vocabulary. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Messages are made but not shown: findings are on the original. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	stderr = fopen("/dev/null", "w");
	return 0;
}

static void try(const SnPipeline *p, const char *s, size_t n)
{
	SnIds ids = {0};
	SnStr text = {0};
	if (!sn_pipeline_encode(p, s, n, "text", &ids)) {
		for (int64_t i = 0; i < ids.n; i++) {
			if (ids.at[i] < 0 || ids.at[i] >= sn_pipeline_size(p))
				abort();
			if (i < 100)
				sn_pipeline_piece(p, ids.at[i], !i, &text);
		}
		text.n = 0;
		if (!sn_pipeline_decode(p, ids.at, ids.n, false, &text) && sn_utf8_valid(text.s ? text.s : "", text.n) != text.n)
			abort();
	}
	free(ids.at);
	free(text.s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *cut = memmem(at, size, "\n%%\n", 4);
	size_t n = cut ? (size_t)(cut - at) : size;
	json_t *json = json_loadb(at, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	SnPipeline *p = json ? sn_pipeline_open(json, "fuzz") : NULL;
	SnStr text = {0};
	sn_utf8_mend(&text, cut ? cut + 4 : at, cut ? size - n - 4 : size);
	if (p)
		try(p, text.s ? text.s : "", text.n);
	free(text.s);
	sn_pipeline_close(p);
	json_decref(json);
	return 0;
}
