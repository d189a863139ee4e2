/* gguf_put.h: GGUF's keys as bytes. */
#ifndef GGUF_PUT_H
#define GGUF_PUT_H

#include "convert/convert.h"

typedef struct Put { Str s; int64_t count; } Put;       /* count: keys so far */
void put_number(Put *, uint64_t, int bytes);
void put_string(Put *, const char *, size_t n);         /* without a key */
void put_u32(Put *, const char *group, const char *name, int64_t);
void put_f32(Put *, const char *group, const char *name, double);
void put_bool(Put *, const char *group, const char *name, bool);
void put_text(Put *, const char *group, const char *name, const char *);
/* to_vocab.c: the keys of DIR/tokenizer.json, with the ids of config.json, for V rows of embedding. SN_DATA where GGUF can't say it */
int put_tokenizer(Put *, Arena *, const char *dir, json_t *config, int64_t V);

#endif
