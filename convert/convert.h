/* convert.h: checkpoints of other programs: GGUF and llama2.c's files in, GGUF out. What is read becomes a Model: Hugging Face's
 * names, shapes and configuration over tensors that stay in the file's mapping until they are written.
 *
 * Files come from anywhere: every count, length, offset and shape is checked before it is used, and memory grows with what the
 * file holds, not with what it says. Memory is the arena's. What can fail returns an exit code, the message being on stderr. */
#ifndef CONVERT_H
#define CONVERT_H

#include "runtime/sn.h"
#include "support/support.h"

enum { MAX_AXES = 4 };

/* quants.c: what elements are stored as. Blocks are ggml's (ggml-common.h, ggml-quants.c, dequantize_row_*). */
typedef enum Elem {
	EL_F32, EL_F16, EL_BF16, EL_F64, EL_Q4_0, EL_Q4_1, EL_Q5_0, EL_Q5_1, EL_Q8_0, EL_Q4_K, EL_Q5_K, EL_Q6_K, EL_COUNT
} Elem;
typedef struct ElemInfo {
	const char *name;             /* as ggml has it; in small letters --dtype's */
	const char *safetensors;      /* NULL: a safetensors file has no such elements */
	uint32_t gguf;                /* its number there */
	uint32_t file_type;           /* general.file_type of a file mostly of it */
	int block, bytes;             /* elements and bytes of a block */
	void (*read)(const char *at, int64_t blocks, float *out);
	void (*write)(const float *x, int64_t blocks, char *out);   /* NULL: only read */
} ElemInfo;
extern const ElemInfo elem_info[EL_COUNT];
int elem_named(const char *name);                       /* of any case; -1 */
int elem_of_gguf(uint32_t type);                        /* -1 */
const char *elem_gguf_name(uint32_t type);              /* also of types that are not read; NULL if there is none */

/* order.c: a tensor in one order of its rows and elements, stored in another */
typedef enum Order {
	ORDER_SAME,
	ORDER_HALVES,                 /* rows of each head: rotary pairs half a head apart; stored as neighbours */
	ORDER_PAIRS,                  /* the reverse: neighbours here, half a head apart in store */
	ORDER_TRANSPOSED,             /* two axes, stored the other way */
} Order;
typedef struct Weight {
	const char *name;
	Elem elem;
	int rank;
	int64_t shape[MAX_AXES];      /* row-major, as it is to be written */
	Order order;
	int64_t heads;                /* of ORDER_HALVES and ORDER_PAIRS */
	const char *at;               /* as stored */
} Weight;
int64_t weight_elems(const Weight *);
/* Calls put() with all elements in turn, some at a time: floats, stored as `to`. SN_DATA where a number is beyond what `to` holds. */
int weight_write(const Weight *, Elem to, const char *path, SnWriter *);
int64_t weight_bytes(const Weight *, Elem as);

/* family.c: what models of one architecture are called and consist of, here and there */
typedef struct Sizes {
	int64_t V, N, D, F, H, G, K, L, S;   /* V words, N positions, D width, F feed-forward, H heads, G of keys and values, K a head's width, L layers, S segments */
	double eps, theta;
	bool tied, bias, biased_output;   /* no output matrix of its own; q, k, v have biases; o has one */
} Sizes;
typedef struct Row {
	const char *gguf, *name;      /* %d: layer; name: as in the safetensors file */
	const char *shape;            /* letters of Sizes, row-major as in the safetensors file; Q: H K, P: G K, C: 3 D */
	Order order;                  /* of the safetensors file over GGUF */
	char when;                    /* 0: always; 'o': not tied; 'b': bias; 'p': biased output */
} Row;
typedef struct Family {
	const char *gguf;             /* general.architecture */
	const char *model_type, *class_name;
	const char *prefix;           /* of names in some safetensors files */
	const Row *rows;
	int nrows;
	bool gpt, bert;               /* its keys are GPT-2's; BERT's, which is only imported */
} Family;
extern const Family families[];
extern const int family_count;
const Family *family_named(const char *gguf, const char *model_type);   /* by either; the other NULL. NULL if there is none */
char *family_list(Arena *, bool exported);              /* "llama, gpt2, .." */
bool row_applies(const Row *, const Sizes *);
/* The row's shape at these sizes into shape[]; returns its rank. */
int row_shape(const Row *, const Sizes *, int64_t shape[MAX_AXES]);
json_t *config_of(const Family *, const Sizes *);       /* config.json without ids of tokens */
/* Sizes that a config.json says. SN_DATA with the file's name */
int config_sizes(Sizes *, const Family *, json_t *config, const char *path);
int sizes_check(const Sizes *, const char *path);       /* SN_DATA: a size that is none */

/* rope.c: llama 3's stretched rotary frequencies: as a table of factors in GGUF, as five numbers in config.json */
/* rope_scaling of a table of K/2 factors; NULL where it is none of those */
json_t *rope_of_factors(const float *factors, int64_t n, const Sizes *);
/* The table, n = K/2, of a config's rope_scaling; false where it has none */
bool rope_factors(json_t *scaling, const Sizes *, float *factors);

typedef struct Model {
	Arena *arena;
	const char *path;
	const Family *family;
	Sizes sizes;
	json_t *config;               /* owned */
	json_t *tokenizer;            /* owned; NULL: none */
	json_t *chat;                 /* owned: tokenizer_config.json; NULL: there is no chat template */
	Vec(Weight) tensors;          /* model_save writes them by name */
	SnFile file;                  /* mapping under the tensors */
} Model;
void model_close(Model *);
/* save.c: DIR with model.safetensors, config.json, tokenizer.json and tokenizer_config.json: made beside it and renamed. An older one that holds nothing
 * but these is replaced. SN_FAIL, SN_DATA */
int model_save(Model *, Elem, const char *dir);

/* gguf.c: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian */
enum { GG_U8, GG_I8, GG_U16, GG_I16, GG_U32, GG_I32, GG_F32, GG_BOOL, GG_STRING, GG_ARRAY, GG_U64, GG_I64, GG_F64, GG_TYPES };
typedef struct GgufKey {
	const char *name;
	uint32_t type, of;            /* GG_..; of: an array's elements */
	uint64_t n;                   /* an array's elements, a string's bytes */
	const char *at;               /* the value's bytes; all have been checked to lie in the file */
} GgufKey;
typedef struct GgufTensor { const char *name; uint32_t type; Elem elem; int rank; int64_t shape[MAX_AXES]; uint64_t offset, bytes, place; bool used; } GgufTensor;
typedef struct Gguf {
	Arena *arena;
	const char *path;
	SnFile file;
	uint32_t version;
	uint64_t alignment, data;     /* data: where tensors begin */
	Vec(GgufKey) keys;            /* by name */
	Vec(GgufTensor) tensors;      /* by name */
} Gguf;
int gguf_open(Gguf *, Arena *, const char *path);       /* maps and checks all of it but the elements */
void gguf_close(Gguf *);
const GgufKey *gguf_key(const Gguf *, const char *name);
GgufTensor *gguf_tensor(const Gguf *, const char *name);
bool gguf_int(const GgufKey *, int64_t *);              /* false: NULL, or no whole number below 2^63 */
bool gguf_float(const GgufKey *, double *);
bool gguf_bool(const GgufKey *, bool *);
const char *gguf_string(const Gguf *, const GgufKey *);  /* in the arena; NULL where it is none */
/* Element strings of an array in turn: *at from key->at on. */
const char *gguf_next_string(const char **at, uint64_t *n);

/* from_gguf.c, from_llama2c.c */
int model_from_gguf(Model *, Arena *, const char *path);
int model_from_llama2c(Model *, Arena *, const char *path, const char *tokenizer);   /* tokenizer: NULL for none */

/* to_vocab.c: keys as bytes, and the tokenizer as keys */
typedef struct Put { Str s; int64_t count; } Put;       /* count: keys so far */
void put_number(Put *, uint64_t, int bytes);
void put_string(Put *, const char *, size_t n);         /* without a key */
void put_u32(Put *, const char *group, const char *name, int64_t);
void put_f32(Put *, const char *group, const char *name, double);
void put_bool(Put *, const char *group, const char *name, bool);
void put_text(Put *, const char *group, const char *name, const char *);
/* The keys of DIR/tokenizer.json, with the ids of config.json, for V rows of embedding. SN_DATA where GGUF can't say it */
int put_tokenizer(Put *, Arena *, const char *dir, json_t *config, int64_t V);

/* to_gguf.c: a directory as model_save writes it, or the Hub's, to GGUF. elem: EL_COUNT for what each tensor is now */
int model_to_gguf(Arena *, const char *dir, Elem, const char *path);

#endif
