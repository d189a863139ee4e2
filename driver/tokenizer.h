/* tokenizer.h: what `sinter tokenizer train` consists of (train_tokens.c). */
#ifndef DRIVER_TOKENIZER_H
#define DRIVER_TOKENIZER_H

#include "runtime/tokens.h"

typedef struct Training {
	const char *kind;                     /* "bpe" or "wordpiece" */
	int64_t vocab;                        /* ids wanted, special tokens among them */
	const char *const *special;
	int nspecial;
	const char *const *texts;             /* files of UTF-8 */
	int ntexts;
} Training;
/* *out: a tokenizer.json, the same for the same texts; *size: ids it has. An exit code, after a message if not SN_OK. */
int train_tokens(const Training *, json_t **out, int64_t *size);

#endif
