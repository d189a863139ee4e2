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
/* A tokenizer.json, or NULL after a message. The same texts give the same file. *size: ids it has. */
json_t *train_tokens(const Training *, int64_t *size);

#endif
