/* sn.h: the runtime's one private header. The runtime is what goes into produced executables beside the compiled
 * kernels: it reads `sn_program` (rt.def), owns the arena and the threads, and does files, data and text.
 *
 * Whoever opens closes. Functions that can fail on the user's account return an exit code (SN_OK or what
 * sn_fail() returned, the message being already on stderr), or NULL after the same. */
#ifndef SN_H
#define SN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE   /* futex, affinity, vasprintf; -std=c11 users of the tests need no more */
#endif
#include "runtime/program.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SN_OK = 0, SN_FAIL = 1, SN_USAGE = 2, SN_DATA = 3, SN_INTERRUPTED = 130 };   /* exit codes */
enum { SN_TRAIN, SN_EVAL, SN_GENERATE, SN_INFER, SN_EXPLAIN };                       /* SnEntry.kind */
enum { SN_F32, SN_I32, SN_BOOL, SN_BF16, SN_F16, SN_I8 };                            /* dtypes; from bf16 on: of what lives between calls alone */
enum { SN_MAX_RANK = 8, SN_MAX_SYMS = 16384, SN_MAX_LIST = 16 };

/* cli.c: everything main() does; argv as main's. Returns the exit code. */
int sn_main(int argc, char **argv);

/* say.c: messages on stderr, memory, strings */
int sn_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* "prog: ..."; returns code */
static inline const char *sn_text(const void *p) { return p; }                      /* rt.def's PTR to a string */
void sn_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));            /* a line of information */
void *sn_alloc(size_t bytes) __attribute__((returns_nonnull));   /* zeroed; never NULL: says so and exits with 1 */
void *sn_realloc(void *, size_t bytes) __attribute__((returns_nonnull));   /* as sn_alloc, new bytes not zeroed */
typedef struct SnStr { char *s; size_t n, cap; } SnStr;       /* growing; s is NUL-terminated once non-empty; free(s) */
void sn_str_add(SnStr *, const char *, size_t n);
void sn_str_printf(SnStr *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *sn_format(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));   /* malloc'ed */
/* The nearest of n names by Damerau-Levenshtein distance within a third of the length; NULL if none is near. */
const char *sn_nearest(const char *name, const char *const *names, int n);
bool sn_glob(const char *pattern, const char *s);             /* * and ? match within and across dots */
const char *sn_bytes_text(char buf[32], double bytes);        /* "474.7 MiB" */

/* checksum.c: 64 bits over bytes, as they come or at once */
typedef struct SnSum { uint64_t lane[4]; size_t n; char rest[32]; } SnSum;
void sn_sum_start(SnSum *);
void sn_sum_add(SnSum *, const void *, size_t n);
uint64_t sn_sum_end(SnSum *);                                 /* the sum of all that was added; nothing can be added after it */
uint64_t sn_sum(const void *, size_t n);

/* file.c: whole files, directories, durable writes */
typedef struct SnFile { const char *at; size_t n; uint64_t id; } SnFile;   /* a mapped file; at is "" when empty; id: of its inode, size and times */
int sn_file_map(SnFile *, const char *path);                  /* SN_DATA when it can't be read */
int sn_file_open(SnFile *, const char *path, int *fd);        /* the same, and the caller closes fd */
void sn_file_unmap(SnFile *);
typedef struct SnLine { const char *s; size_t n; int64_t number; } SnLine;   /* without its end; number from 1 on. Zeroed before the first */
bool sn_line_next(const SnFile *, SnLine *);                  /* false behind the last */
typedef struct SnWriter { int fd; bool bad; int err; uint64_t at; size_t n; char *buf; const char *path; SnSum sum; } SnWriter;
int sn_writer_open(SnWriter *, const char *path);             /* creates or truncates; keeps path; SN_FAIL */
void sn_writer_put(SnWriter *, const void *, size_t n);       /* errors are kept for close; counts into sum */
int sn_writer_close(SnWriter *);                              /* writes, fsyncs, closes; SN_FAIL with the path */
int sn_file_write(const char *path, const char *text, size_t n);      /* writer open, put, close */
int sn_file_replace(const char *path, const char *text, size_t n);    /* atomically: beside, then renamed */
json_t *sn_json_read(const char *path);                       /* NULL after a message with line and column */
/* What json_pack makes of {, [, s, i, I, f, b, n, o and O, without the 10 KB that it brings into an executable. */
json_t *sn_json_pack(const char *fmt, ...);
bool sn_exists(const char *path);
/* What is inside the executable (`sinter build --embed`): paths that begin with SN_INSIDE are files of it, for the functions above that
 * read. Behind the program's own bytes lie the files, each from a multiple of SN_INSIDE_ALIGN on, then a table of SnInside, then SnInsideEnd. */
#define SN_INSIDE "(embedded)"
#define SN_INSIDE_MAGIC "sinter\x1A\1"
enum { SN_INSIDE_ALIGN = 1 << 16 };   /* the largest page that there is on these processors */
typedef struct SnInside { char name[112]; uint64_t at, n; } SnInside;
typedef struct SnInsideEnd { uint64_t files; char magic[8]; } SnInsideEnd;
bool sn_is_dir(const char *path);
int sn_mkdirs(const char *path);
int sn_sync_dir(const char *path);
void sn_remove_tree(const char *path);                        /* a directory and the files in it */

/* threads.c: SPMD. n threads, thread 0 being the caller, run the same job in lockstep. */
typedef struct SnPool SnPool;
typedef void SnJob(void *ctx, int tid, int n);
SnPool *sn_pool_start(int n);                                 /* NULL after a message */
void sn_pool_stop(SnPool *);
void sn_pool_run(SnPool *, SnJob *, void *ctx);               /* returns when all threads have */
void sn_pool_barrier(SnPool *, int tid);                      /* inside a job: what came before is seen after */
int sn_cores(void);                                           /* this process may run on */

/* caches.c: bytes of a data cache as a directory of sysfs tells, a processor's part of it; 0: not known. What kernels
 * are told of it, before the first runs. */
int64_t sn_cache_bytes(const char *dir, int level);
void sn_find_caches(void);

/* profile.c: time, arithmetic and traffic of each launch, counted where --profile asks for it. */
typedef struct SnProfile SnProfile;
typedef struct SnSession SnSession;
typedef struct SnOptions SnOptions;
typedef struct SnExternals SnExternals;
SnProfile *sn_profile_new(const SnEntry *, double began);     /* of its functions; began: sn_clock() when the program did */
void sn_profile_stage(SnProfile *, const char *name);         /* a part of starting is over; NULL: nothing */
void sn_profile_begin(SnProfile *, const SnFunction *);       /* by thread 0: a call begins; a launch and its barrier are done */
void sn_profile_lap(SnProfile *, int64_t launch);
void sn_profile_end(SnProfile *, const int64_t *dims);        /* the call is over; its costs are counted at these dims */
void sn_profile_close(SnProfile *);                           /* prints the tables on stderr; NULL: nothing */

/* session.c: one entry made ready to run: threads, arena, dims. */
struct SnSession {
	const SnEntry *entry;
	SnPool *pool;
	char *arena;                  /* 2 MiB-aligned: arena_bytes, then scratch_bytes a thread */
	char *mapping;
	size_t mapped, used;          /* bytes mapped; bytes the plan asks for */
	int64_t dims[SN_MAX_SYMS];    /* values of entry->syms, at their bounds when opened; counted ones are set by calls */
	SnProfile *profile;           /* NULL: nobody asked */
	SnExternals *externals;       /* external.c's; NULL: nothing to know yet */
	uint64_t weights;             /* which checkpoint's; 0: none's */
	const char *adapter;          /* the directory of one to be loaded with the weights; NULL: what the checkpoint has itself */
	char *base;                   /* the file that the weights came from, or is to be taken for an adapter's; owned; NULL */
	uint64_t base_sum;            /* its checksum, where an adapter is trained */
	bool begins;                  /* a training: the file that is loaded may lack whole layers that are `fresh` */
	uint32_t seed;                /* of these */
	bool altered;                 /* some weights are not the file's: an adapter was added to them */
	bool *alone, all_alone;       /* by launch of the call at hand: thread 0 runs it alone; all of them */
	int64_t *costs, nalone, room; /* of the call at hand; room in `alone`, in costs */
};
int sn_session_open(SnSession *, const SnEntry *, int threads);
/* What launches take at these dims: ncost pairs of flops and bytes, and room for nproduct numbers behind them. */
void sn_costs(const SnFunction *, const int64_t *dims, int64_t *out);
int sn_session_start(SnSession *, const SnEntry *, const SnOptions *);   /* the same with the threads they ask for, and a profile */
void sn_session_close(SnSession *);
/* Runs all launches of f on all threads with s->dims. Allocates nothing. */
void sn_call(SnSession *s, const SnFunction *f);
int64_t *sn_dim(SnSession *, const char *sym);                /* NULL if the entry has no such symbol */
int64_t sn_bound(const SnEntry *, const char *sym);           /* 0 if there is none */
const SnFunction *sn_function(const SnEntry *, const char *name);             /* NULL */
const SnSlot *sn_slot(const SnFunction *, const char *name, bool output);     /* NULL */
void sn_slot_shape(const SnSession *, const SnFunction *, const SnSlot *, int64_t shape[SN_MAX_RANK]);  /* at s->dims */
int64_t sn_tensor_elems(const SnTensor *);
void sn_set_f32(SnSession *, const SnFunction *, const char *input, float);   /* a scalar input; absent: nothing */
void sn_set_i32(SnSession *, const SnFunction *, const char *input, int32_t);
void sn_set_bool(SnSession *, const SnFunction *, const char *input, bool);
float sn_get_f32(const SnSession *, const SnFunction *, const char *output);  /* NaN if there is none */

/* external.c: parameters outside of the arena (SnTensor.external), and the function that reads most of them */
float *sn_param(const SnSession *, const SnTensor *);         /* where to write one; an external one: behind sn_external_room */
void sn_external_room(SnSession *);                           /* never fails: says so and exits with 1 */
void sn_external_at(SnSession *, const SnTensor *, const void *at);   /* it is read there, until the session closes or another is said */
bool sn_is_elsewhere(const SnSession *, const SnTensor *);    /* by the above */
float *sn_external_own(SnSession *, const SnTensor *);        /* where the parameter lies in memory that can be written to, with its values */
void sn_external_keep(SnSession *, SnFile *);                 /* takes over the mapping that it is in */
/* The weights are where they are to be: places are told to all launches, and what depends on weights alone is computed, or taken from
 * the cache that the options (NULL: none) name. Once, unless all external ones are elsewhere. SN_USAGE, SN_DATA */
int sn_prepare(SnSession *, const SnOptions *);
const SnLaunch *sn_launches(const SnSession *, const SnFunction *);
void sn_externals_close(SnSession *);

/* packed.c: what prepare leaves, kept in a file */
int sn_packed_take(SnSession *, const char *path, bool *there);   /* into the arena, if it is that of this program and these weights */
void sn_packed_keep(SnSession *, const char *path);           /* says what happened: whoever calls goes on in any case */

/* random.c: Philox2x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). */
typedef struct SnPair { uint32_t a, b; } SnPair;
SnPair sn_philox(uint32_t c0, uint32_t c1, uint32_t key);
uint32_t sn_hash32(const void *, size_t n, uint32_t seed);    /* FNV-1a and a final mix */
uint64_t sn_hash64(const void *, size_t n, uint64_t seed);
double sn_uniform(uint32_t c0, uint32_t c1, uint32_t key);    /* [0,1), 53 bits */
int64_t sn_below(int64_t n, uint32_t c0, uint32_t c1, uint32_t key);  /* 0..n-1 */
/* out[i] for elements first..first+n of the stream `key`: the same wherever the range is cut. first is even. */
void sn_normals(float *out, int64_t first, int64_t n, uint32_t key, float mean, float deviation);
void sn_init_params(SnSession *, uint32_t seed);              /* every parameter from its own stream, in parallel */
void sn_init_tensor(const SnTensor *, float *out, uint32_t seed);   /* the same for one */

/* text.c: UTF-8 */
/* Reads one code point of s[0..n); returns its length, 0 if the bytes are not valid UTF-8 (RFC 3629). */
int sn_utf8_read(const char *s, size_t n, uint32_t *code);
int sn_utf8_write(char out[4], uint32_t code);
size_t sn_utf8_valid(const char *s, size_t n);                /* bytes before the first invalid one; n if valid */
void sn_utf8_mend(SnStr *out, const char *s, size_t n);       /* appends s, with U+FFFD for each part that is not UTF-8 (Unicode 15, sec. 3.9) */
size_t sn_utf8_after(const char *s, size_t n, size_t at);     /* where the character behind at's begins; n + 1 behind the end */
size_t sn_utf8_whole(const char *s, size_t n);                /* n less an unfinished character at the end */

/* tokenizer.c: text <-> ids */
typedef struct SnTokenizer SnTokenizer;
typedef struct SnIds { int32_t *at; int64_t n, cap; } SnIds;
void sn_ids_add(SnIds *, int32_t);
/* spec: "byte", "char" (vocabulary = code points of text, sorted), a tokenizer.json, a merges.txt beside its vocab.json,
 * or a directory with either. NULL after a message (SN_DATA). */
SnTokenizer *sn_tokenizer_open(const char *spec, const char *text, size_t n);
void sn_tokenizer_close(SnTokenizer *);
const char *sn_tokenizer_kind(const SnTokenizer *);           /* "byte", "char", "bpe", "wordpiece", "unigram", "wordlevel" */
bool sn_tokenizer_is_builtin(const char *spec);               /* "byte" or "char": never a file of that name */
int32_t sn_tokenizer_size(const SnTokenizer *);               /* largest id + 1 */
/* Appends the ids of text, without what a post-processor adds; SN_DATA with the place (in `what`) where the text can't be encoded. */
int sn_encode(const SnTokenizer *, const char *text, size_t n, const char *what, SnIds *out);
/* The same for many texts, with working memory that is made once. */
typedef struct SnEncoder SnEncoder;
SnEncoder *sn_encoder_open(const SnTokenizer *);              /* the tokenizer stays open as long */
void sn_encoder_close(SnEncoder *);                           /* NULL: nothing */
int sn_encoder_add(SnEncoder *, const char *text, size_t n, const char *what, SnIds *out);
/* offsets.c: a text's ids, and the bytes of it that each is from, whole characters */
typedef struct SnPlaces { SnIds ids, from, to; } SnPlaces;
typedef struct SnOffsets SnOffsets;
SnOffsets *sn_offsets_open(const SnTokenizer *);              /* the tokenizer stays open as long */
void sn_offsets_close(SnOffsets *);                           /* NULL: nothing */
int sn_offsets_add(SnOffsets *, const char *text, size_t n, const char *what, SnPlaces *out, bool *lost);   /* lost: this tokenizer's stages don't tell */
void sn_places_close(SnPlaces *);
/* For each id that sn_post_process puts out of na and nb (-1: no second text) ids: k of the first text, SN_SECOND + k, or -1 */
enum { SN_SECOND = 1 << 24 };
void sn_places(const SnTokenizer *, int64_t na, int64_t nb, SnIds *out);
bool sn_is_special(const SnTokenizer *, int32_t id);          /* an added token that is no text */
/* A text's ids, or two texts' (b not NULL), with what the post-processor adds, appended to ids; their type ids to types. */
void sn_post_process(const SnTokenizer *, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types);
/* Appends the text of ids: of all a text's; special tokens where not skipped. SN_DATA */
int sn_decode(const SnTokenizer *, const int32_t *ids, int64_t n, bool skip_special, SnStr *out);
/* Appends what one id adds to a text that goes on: bytes, maybe of an unfinished character. first: it is a text's first. "" for unknown ids. */
void sn_decode_piece(const SnTokenizer *, int32_t id, bool first, SnStr *out);
void sn_token_text(const SnTokenizer *, int32_t id, SnStr *out);   /* appends the token as the file has it */
int32_t sn_special(const SnTokenizer *, const char *text);    /* id of a whole token with this text; -1 */
int32_t sn_bos(const SnTokenizer *);                          /* what its post-processor puts before a text; -1 */
int32_t sn_eos(const SnTokenizer *);                          /* and behind one; -1 */
int sn_tokenizer_save(const SnTokenizer *, const char *path); /* as a tokenizer.json that open reads; SN_FAIL */
/* bpe_files.c: GPT-2's vocab.json and merges.txt as a tokenizer.json; NULL after a message */
json_t *sn_bpe_compose(const char *vocab, const char *merges);

/* vocab.c: a vocabulary of a GGUF file or of llama2.c as a tokenizer.json. Strings are UTF-8 and NUL-terminated. */
typedef struct SnVocab {
	const char *kind;             /* tokenizer.ggml.model: "llama" (SentencePiece's BPE), "gpt2", "bert" */
	const char *pre;              /* tokenizer.ggml.pre; NULL: GPT-2's */
	int64_t n, nmerges;
	const char *const *tokens, *const *merges;   /* (n); (nmerges) "a b", of gpt2 */
	const float *scores;          /* (n); NULL: none; of llama they decide which merge comes first */
	const int32_t *types;         /* (n) GGUF's; NULL: all are normal but bos, eos and unk */
	int32_t bos, eos, unk, sep, cls;   /* -1: none */
	bool add_bos, add_eos, add_space_prefix;   /* where the file says nothing: of llama true, false, true; of others all false */
} SnVocab;
/* The caller's to decref; NULL after a message that names path (SN_DATA). */
json_t *sn_vocab_json(const SnVocab *, const char *path);

typedef struct SnMerges SnMerges;
SnMerges *sn_merges_open(int64_t n);                          /* room for n rules */
void sn_merges_close(SnMerges *);
void sn_merges_add(SnMerges *, int32_t left, int32_t right, int32_t rank, int32_t merged);   /* the first of a pair counts */
typedef struct SnWord { void *symbols, *heap; int64_t cap; } SnWord;   /* working memory, kept between words; free both */
/* Merges ids[0..n) in place, lowest rank first, leftmost of equals; returns how many are left. O(n log n). */
int64_t sn_merges_apply(const SnMerges *, SnWord *, int32_t *ids, int64_t n);

/* pattern.c: PCRE2's regular expressions with Unicode properties, on valid UTF-8 */
typedef struct SnPattern SnPattern;
void sn_pattern_version(char out[64]);                        /* PCRE2's own */
typedef struct SnMatcher SnMatcher;                           /* one thread's working memory for a pattern */
SnPattern *sn_pattern_open(const char *pattern, const char *path);   /* NULL after a message (SN_DATA) that names path */
void sn_pattern_close(SnPattern *);
SnMatcher *sn_matcher_open(const SnPattern *);
void sn_matcher_close(SnMatcher *);
/* The next match in s[0..n) from `at` on: 1 and its place, 0 if there is none, PCRE2's negative error otherwise. */
int sn_matcher_next(SnMatcher *, const char *s, size_t n, size_t at, size_t *from, size_t *to);

/* flags.c: one table of flags drives parsing, help and what a checkpoint remembers of a run. */
typedef struct SnValue { const char *str; double num; bool given; } SnValue;
enum { SN_MAX_FLAGS = 112, SN_MAX_TEXTS = 2 };
struct SnOptions {
	const SnProgram *program;
	const SnEntry *entry;         /* NULL for info */
	SnValue flag[SN_MAX_FLAGS];
	const char *stop[SN_MAX_LIST];
	int nstop;
	const char *text[SN_MAX_TEXTS];   /* arguments that are no flags */
	int ntext;
	json_t *saved;                /* a resumed run's options: below flags, above the entry's settings; owned */
	double began;                 /* the clock when the program did */
	bool help;
};
typedef struct SnCommand { const char *name; int kind; const SnEntry *entry; } SnCommand;  /* kind: SN_TRAIN.. or SN_INFO */
enum { SN_INFO = 5, SN_INIT = 6 };
typedef enum SnFlagType {
	SN_T_STR, SN_T_PATH, SN_T_TOKENIZER, SN_T_LIST, SN_T_NUM, SN_T_REAL, SN_T_ABOVE, SN_T_SHARE, SN_T_DECAY, SN_T_COUNT, SN_T_LIKELIEST, SN_T_POSITIVE,
	SN_T_SEED, SN_T_SWITCH
} SnFlagType;
enum { SN_F_TRAIN = 1 << SN_TRAIN, SN_F_EVAL = 1 << SN_EVAL, SN_F_GENERATE = 1 << SN_GENERATE, SN_F_INFER = 1 << SN_INFER, SN_F_EXPLAIN = 1 << SN_EXPLAIN,
	SN_F_INFO = 1 << SN_INFO, SN_F_INIT = 1 << SN_INIT, SN_F_SAVED = 256 };
enum { SN_F_RUN = SN_F_TRAIN | SN_F_EVAL | SN_F_GENERATE | SN_F_INFER, SN_F_ALL = SN_F_RUN | SN_F_EXPLAIN | SN_F_INFO | SN_F_INIT,
	SN_F_TEXT = SN_F_TRAIN | SN_F_EVAL | SN_F_GENERATE, SN_F_PACKED = SN_F_EVAL | SN_F_GENERATE | SN_F_INFER | SN_F_EXPLAIN, SN_F_KEPT = SN_F_TRAIN | SN_F_SAVED };
typedef struct SnFlag {
	const char *name;
	char brief;                   /* one-letter form; 0: none */
	SnFlagType type;
	const char *key;              /* the setting it overrides */
	unsigned kinds;               /* subcommands that have it; SN_F_SAVED: a resumed run takes it over */
	const char *arg, *help;
} SnFlag;
/* What a command takes beside the table's flags: more of them, and arguments that are none, at most so many. */
typedef struct SnExtras { const SnFlag *flags; int nflags, texts; } SnExtras;
/* What runs an entry that the runtime's own kinds do not: an object of its own, `sn_runner_<name>`, listed in rt.def; the records of entries
 * that need it point to it, so that other programs do not have it linked. */
typedef struct SnRunner {
	const char *help;             /* a line about the command */
	int (*run)(const SnOptions *);
	SnExtras extras;
} SnRunner;
extern const SnRunner sn_runner_explain;
int sn_flags_parse(SnOptions *, const SnCommand *, int argc, char **argv);
void sn_flags_help(FILE *, const SnOptions *, const SnCommand *);
/* An option by its setting's key: flag, else resumed run, else entry's setting, else `otherwise`. */
double sn_num(const SnOptions *, const char *key, double otherwise);
const char *sn_str(const SnOptions *, const char *key, const char *otherwise);
bool sn_given(const SnOptions *, const char *key);            /* by a flag */
bool sn_overridden(const SnOptions *, const char *key);       /* by a flag, or by one the resumed run was given */
json_t *sn_options_save(const SnOptions *);                   /* what a resumed run needs: new object */
/* What a run was told of its data by flags of its feeder, and T, where the command `kind` (SN_F_..) has them, too: taken over where no flag says
 * otherwise, and said. */
void sn_options_take(SnOptions *, const json_t *run, unsigned kind);
const SnSetting *sn_setting(const SnSetting *, int64_t n, const char *key);
void sn_print_setting(FILE *, const SnSetting *);   /* cli.c: key, value and what it is, a line */
int64_t sn_vocabulary(const SnProgram *);                     /* the model's V; 0 if unknown */

/* safetensors.c: https://github.com/huggingface/safetensors, format section */
enum { SN_ST_F32, SN_ST_F16, SN_ST_BF16, SN_ST_F64, SN_ST_I64, SN_ST_I32, SN_ST_I16, SN_ST_I8, SN_ST_U64, SN_ST_U32, SN_ST_U16, SN_ST_U8,
	SN_ST_BOOL, SN_ST_F8_E4M3, SN_ST_F8_E5M2 };
typedef struct SnStTensor {
	const char *name, *dtype;     /* dtype as written */
	int kind, rank;
	int64_t shape[SN_MAX_RANK], elems;
	const char *at;               /* little-endian elements */
	size_t bytes;
} SnStTensor;
typedef struct SnShard { SnFile file; json_t *header; size_t header_bytes; } SnShard;   /* with the 8 bytes before it */
typedef struct SnSafetensors { SnShard *shards; int nshard; SnStTensor *tensors; int n; const char *path; } SnSafetensors;
/* A .safetensors file, or the .index.json of one cut into several. Checks all of it; keeps path. SN_DATA. */
int sn_st_open(SnSafetensors *, const char *path);
void sn_st_close(SnSafetensors *);
const SnStTensor *sn_st_find(const SnSafetensors *, const char *name);
bool sn_st_is_weight(const SnStTensor *);                     /* floating point, or whole numbers of 8 or 16 bits */
void sn_st_read(const SnStTensor *, float *out);              /* elems floats of a weight */
void sn_st_floats(const SnStTensor *, int64_t first, int64_t n, float *out);  /* n elements of any dtype but BOOL */
bool sn_st_is_integer(const SnStTensor *);
/* Element i of an integer or bool tensor; a U64 beyond int64_t is INT64_MAX. */
int64_t sn_st_integer(const SnStTensor *, int64_t i);
/* Writes tensors of the entry of `kind` whose names start with prefix ("" for all). *sum: the file's checksum. */
int sn_st_write(const char *path, const SnSession *, int kind, const char *const *prefixes, int nprefix, uint64_t *sum);   /* no adapters' */

/* Tensors of one's own as a file, written beside and renamed. dtype: SN_F32, SN_I32 or SN_BOOL. SN_FAIL */
typedef struct SnStPart { const char *name; int dtype, rank; const int64_t *shape; const void *at; } SnStPart;
int sn_st_write_parts(const char *path, const SnStPart *, int n);
int sn_st_dtype(const SnStTensor *);                          /* for a part whose bytes are as the tensor's */
int sn_st_put(const char *path, const SnStPart *, int n, uint64_t *sum);   /* the same into the file itself; *sum: its checksum */

/* inputs.c: named tensors of a safetensors file as the inputs of a function. The axis B counts examples: it may be longer in
 * the file than its bound, who runs the function takes as many at a time as fit. All else is checked when opened. */
enum { SN_MAX_INPUTS = 32 };
typedef struct SnFeed {
	const SnSlot *slot;
	const SnStTensor *tensor;
	int axis;                     /* the one that counts examples; -1: the same for all of them */
	int64_t width;                /* its extent for one example */
} SnFeed;
typedef struct SnInputs SnInputs;
typedef struct SnWholes SnWholes;
struct SnInputs {
	SnSafetensors file;
	SnFeed feed[SN_MAX_INPUTS];
	int n;
	int batch;                    /* index of the symbol B in the entry; -1: no input has it, and there is one example */
	int64_t examples;
	int64_t trained;              /* the first of them, to train on, where that is not a share of them; 0: it is */
	uint64_t hash;                /* of a feeder's data */
	int64_t dims[SN_MAX_SYMS];    /* the file's values of the entry's symbols; 0: it has none; of B: examples */
	/* Of a feeder's; NULL each: what the file has is copied, an example weighs 1 */
	void (*fill)(const SnInputs *, SnSession *, const int64_t *pick, int64_t n, int64_t drawn);
	double (*weight)(const SnInputs *, int64_t first, int64_t n);   /* of examples in a mean; in `unit` */
	/* Puts order[0..n), a pass's examples, in the order they are trained on: its first whole batch begins at `offset` */
	void (*arrange)(const SnInputs *, int64_t *order, int64_t n, int64_t batch, int64_t offset, uint32_t key);
	void (*close)(SnInputs *);   /* frees own */
	const SnWholes *judge;        /* metrics of what calls tell, "told:<metric>:<name>", by the examples' own texts; NULL: there are none */
	void *own;
	const char *unit;             /* what weighs, "examples" or "tokens" */
};
/* Opens path for function f of entry e: every input but the compiler's own scalars and the names of `except` (NULL-
 * terminated; NULL: none) is in the file with its dtype and shape, within the bounds, ids within their tables. Lists all
 * that does not fit on stderr. SN_DATA. Keeps path. */
int sn_inputs_open(SnInputs *, const SnEntry *e, const SnFunction *f, const char *path, const char *const *except);
int sn_inputs_match(SnInputs *, const SnEntry *, const SnFunction *);   /* the same where in->file is made already; closes it where it does not fit */
void sn_inputs_close(SnInputs *);
/* Copies n examples (their numbers; NULL: 0..n-1) into the inputs' places and sets the symbols the file has: B to n. drawn: how many were taken
 * before them in all of a training run, of which an example made anew each time is a function; SN_FIXED: as always, to be judged by. */
enum { SN_FIXED = -1 };
void sn_inputs_fill(const SnInputs *, SnSession *, const int64_t *examples, int64_t n, int64_t drawn);
double sn_inputs_weight(const SnInputs *, int64_t first, int64_t n);
bool sn_slot_is_fed(const SnSlot *);                          /* an input that is no scalar of the compiler's own */
void sn_slot_text(SnStr *, const SnSlot *);                   /* "tokens i32[B,T + 1]" */

/* rename.c */
char *sn_renamed(const SnProgram *, const char *name);        /* by the program's `rename`s, malloc'ed; NULL: as it is */

/* weights.c: a checkpoint's tensors into the parameters */
/* path: a file as sn_st_open takes it, or a directory with model.safetensors or model.safetensors.index.json. */
int sn_weights_load(SnSession *, const SnProgram *, const char *path);   /* SN_DATA */
int sn_weights_check(const SnEntry *, const SnProgram *, const char *path);   /* the same without reading any: only says how they match */
/* Names of the entry's parameters that the file has no tensor for, appended to names; nothing else is judged. SN_DATA where it can't be read. */
int sn_weights_lack(const SnEntry *, const SnProgram *, const char *path, SnStr *names);
char *sn_weights_file(const char *dir);                       /* the one of the two that is there; malloc'ed or NULL */
int sn_states_load(SnSession *, const char *path);            /* m.*, v.*: exact names and shapes; SN_DATA */

/* adapter.c: LoRA adapters in PEFT's form */
typedef struct SnLora {
	char *layer;                  /* without base_model.model. */
	const SnStTensor *A, *B;      /* [r,in], [out,r] */
	double scale;
} SnLora;
typedef struct SnAdapter { SnSafetensors file; json_t *config; char *path; bool in_out; SnLora *at; int n; } SnAdapter;   /* in_out: weights are stored [in,out] */
bool sn_adapter_is(const char *dir);                          /* there is an adapter in it */
int sn_adapter_open(SnAdapter *, const char *dir);            /* checks all of it; SN_DATA */
void sn_adapter_close(SnAdapter *);
/* lora.c. Is a weight of this shape the layer's? *in_out: what is believed where both ways fit; then which it is. */
bool sn_lora_fits(const SnLora *, int rank, const int64_t *shape, bool *in_out);
void sn_lora_add(const SnLora *, float *w, bool in_out, SnPool *);   /* scale B A, summed in double, rounded once; pool NULL: by this thread */
int sn_adapter_load(SnSession *, const SnProgram *, const char *dir);   /* behind sn_weights_load; SN_DATA */
bool sn_adapter_trains(const SnEntry *);                      /* it is a train entry that has one of its own */
int sn_adapter_save(const SnSession *, const SnProgram *, const char *dir, bool texts, uint64_t *sum);   /* texts: of a causal language model */

/* checkpoint.c: a run directory. See docs/runtime.md for the layout. */
typedef struct SnState {
	int64_t step;                 /* optimiser steps done */
	int64_t best_step;
	double best_loss;             /* the deciding metric's best value; infinity before the first validation */
	int64_t stale;                /* validations since then */
	int64_t examples;             /* of a file of inputs, trained on so far */
	double seconds;               /* of training so far */
	uint64_t data_hash;
	json_t *options;              /* owned */
	const char *from;             /* the directory that the run's first weights came from; NULL */
} SnState;
/* What lies beside a model's weights and says how it is used (configuration, tokenizer, chat template), where it is there and not yet in `to`. */
int sn_checkpoint_copy(const char *from, const char *to);     /* SN_DATA, SN_FAIL */
int sn_checkpoint_save(const SnSession *, const SnProgram *, const SnTokenizer *, const SnState *, const char *dir, bool best);
/* Where a checkpoint's files are: dir itself, or what dir/last (or dir/best, where `best` is wanted and there) names.
 * malloc'ed; NULL after a message. */
char *sn_checkpoint_find(const char *dir, bool best);
int sn_checkpoint_config(const SnProgram *, const char *dir); /* writes config.json */
bool sn_checkpoint_is_run(const char *dir);
/* The file that the adapter in dir belongs to: what its state.json says, else its adapter_config.json; malloc'ed. *sum: its checksum, 0 where
 * that is not known. NULL after a message. */
char *sn_checkpoint_base(const char *dir, uint64_t *sum);
int sn_state_read(SnState *, const char *checkpoint);         /* SN_DATA; also where its checksum does not fit */
/* A checkpoint's file, as mapped, against the checksum in the state.json beside it. Without a state.json it is no
 * checkpoint's file: SN_OK. A state.json that does not name the file is SN_OK unless `required`. */
int sn_checkpoint_verify(const char *path, const SnFile *, bool required);   /* SN_DATA */

/* data.c */
typedef struct SnData {
	SnTokenizer *tokenizer;
	SnIds train, valid;
	uint64_t hash;
	json_t *said;                 /* options that the data decided, kept with the run's; NULL: none */
} SnData;
/* Reads and tokenises what the options name; checks ids against the vocabulary. `checkpoint` may bring the
 * tokenizer. eval: everything goes to `valid`. */
int sn_data_open(SnData *, const SnOptions *, const char *checkpoint, bool eval);
/* The tokenizer of weights: what the flag says, what the checkpoint brings, what the model file names; NULL after a message, which ends with hint. */
SnTokenizer *sn_data_weights_tokenizer(const SnOptions *, const char *checkpoint, const char *hint);
int sn_data_tokenizer(SnData *, const SnOptions *, const char *checkpoint, const char *path);   /* the tokenizer alone; path: the text it is for */
int sn_data_check(const SnOptions *, const SnTokenizer *, const SnIds *, const char *path);      /* are the ids within the vocabulary? SN_DATA */
bool sn_is_json_lines(const char *path);
/* The file to validate on, or NULL: what the model file says goes with the data that it names. */
const char *sn_data_valid(const SnOptions *);
void sn_data_close(SnData *);
/* rows windows of `len` ids at random places: a function of (seed, micro) alone. */
void sn_data_batch(const SnIds *, int32_t *out, int64_t rows, int64_t len, uint32_t seed, int64_t micro);

/* metrics.c: a function's f32[] outputs, the loss first, averaged over calls; of the metrics of a whole set the sums (whole.c), or what examples'
 * feeder keeps of what calls told (SnInputs.judge) */
enum { SN_MAX_METRICS = 32 };
typedef struct SnMeans {
	const SnFunction *f;
	const SnInputs *in;           /* where the examples are from; NULL: a text, or none that are judged */
	const int64_t *pick;          /* (npick) the call's examples */
	int64_t npick;
	const SnSlot *slot[SN_MAX_METRICS];
	const char *name[SN_MAX_METRICS];
	int n;
	double sum[SN_MAX_METRICS], weight;
	double *total[SN_MAX_METRICS];   /* (ntotal) of a metric of a whole set, its own; NULL before anything was added */
	int64_t ntotal[SN_MAX_METRICS];
} SnMeans;
struct SnWholes { void (*add)(SnMeans *, int i, const SnSession *); double (*at)(const SnMeans *, int i); };
extern const SnWholes sn_wholes;                              /* whole.c, linked where a function points to it */
void *sn_means_total(SnMeans *, int i, int64_t n);            /* room for n, zeroed where there was none */
const char *sn_means_kind(const SnMeans *, int i);            /* "<metric>:<name>" of one of a whole set */
static inline bool sn_means_is(const char *kind, const char *metric) { size_t n = strlen(metric); return !strncmp(kind, metric, n) && kind[n] == ':'; }
void sn_means_open(SnMeans *, const SnFunction *, const SnInputs *);   /* nothing added yet; to be closed once something was */
void sn_means_close(SnMeans *);
void sn_means_add(SnMeans *, const SnSession *, double weight);   /* the last call's */
double sn_means_at(const SnMeans *, int i);                   /* NaN before anything was added */
double sn_means_find(const SnMeans *, const char *name);      /* NaN if there is none */
bool sn_metric_grows(const char *name);                       /* better the higher: all but losses, errors, perplexities */
/* "loss 1.2345  acc 0.5000"; "\"loss\":1.2345,\"acc\":0.5" (null where not finite). without: one left out, or NULL */
void sn_means_text(SnStr *, const SnMeans *, const char *without, int digits);
void sn_means_json(SnStr *, const SnMeans *, const char *without);
void sn_json_number(SnStr *, double);                         /* null where not finite */
void sn_json_string(SnStr *, const char *);

/* taps.c: outputs "tap:<name>". An entry that has some points to sn_taps_write, so that other programs do not have it linked. */
enum { SN_TAP = 4 };                                          /* what stands before the name */
static inline bool sn_is_tap(const SnSlot *s) { return s->output && !memcmp(s->name, "tap:", SN_TAP); }
typedef int SnTapsWrite(const SnOptions *, const SnSession *, const SnFunction *);
SnTapsWrite sn_taps_write;                                    /* as the last call left them, those that --tap wants, to --taps; SN_USAGE, SN_FAIL */
bool sn_taps_asked(const SnOptions *);                        /* flags.c: by either flag; the entry has some */

/* Feeders make examples of --data where it is neither a text of which windows are taken nor a file of inputs. Each is an object of its own,
 * `sn_feeder_<name>`, listed in rt.def; an entry's record points to the one that its data asks for, so that a program has no others linked. */
typedef enum SnUse { SN_USE_TRAIN, SN_USE_VALID, SN_USE_EVAL, SN_USE_INFER } SnUse;
typedef struct SnAsked {
	const SnOptions *o;
	const SnEntry *entry;
	const SnFunction *f;          /* whose inputs are to be filled */
	SnUse use;
	const char *path;             /* the data; NULL: none was named */
	const char *checkpoint;       /* it may bring the tokenizer; NULL */
	int64_t T;                    /* the longest row */
	SnData *data;                 /* the tokenizer is opened where there is none yet */
} SnAsked;
typedef struct SnFeeder {
	const char *wants;            /* for messages: "conversations" */
	int (*open)(SnInputs *, const SnAsked *);   /* SN_USAGE, SN_DATA */
	SnExtras extras;
	int (*infer)(const SnOptions *);   /* runs an infer entry in its own way, where there is no --inputs; NULL */
} SnFeeder;
extern const SnFeeder sn_feeder_pretrain;                     /* pretrain.c: raw texts as masked words and pairs of sentences */
extern const SnFeeder sn_feeder_chat;                         /* dialog.c: conversations, prompts and completions, texts as rows of tokens and labels */

/* corpus.c: raw texts as documents of sentences */
typedef struct SnCorpus {
	SnIds ids;                    /* of all sentences, one behind the other */
	int64_t *sentence, nsentence; /* (nsentence + 1) where each begins in ids, and the end */
	int64_t *document, ndocument; /* (ndocument + 1) each one's first sentence, and the end */
} SnCorpus;
int sn_corpus_read(SnCorpus *, const SnTokenizer *, const char *path);   /* adds those of a file, of a directory's, or of a pattern's; SN_DATA */
void sn_corpus_close(SnCorpus *);
size_t sn_sentence(const char *s, size_t n);                  /* bytes of a paragraph's first sentence; n > 0 */

/* pairs.c: the examples that BERT is pre-trained on */
typedef struct SnDraws { uint32_t at, stream, key; } SnDraws; /* random numbers of one example */
SnDraws sn_draws(uint32_t key, int64_t number);
typedef struct SnPairs {
	const SnCorpus *corpus;
	int64_t from, to;             /* its documents */
	int64_t room;                 /* tokens of A and B together */
	bool single;                  /* there is no B */
	int64_t *first, n;            /* of each example, the chunk's first sentence */
	int64_t alone;                /* those of documents of one sentence, which nothing follows */
} SnPairs;
/* from..to: two documents at least, unless single; room: two tokens at least */
void sn_pairs_plan(SnPairs *, const SnCorpus *, int64_t from, int64_t to, int64_t room, bool single, uint32_t key);
void sn_pairs_close(SnPairs *);
typedef struct SnStretch { int64_t at, n; } SnStretch;        /* of the corpus' ids */
typedef struct SnPairDrawn { SnStretch a, b; bool other; } SnPairDrawn;   /* other: B is of another document */
SnPairDrawn sn_pairs_draw(const SnPairs *, int64_t example, SnDraws *);
typedef struct SnMasking { int32_t mask, *words; int64_t nword; bool *special; } SnMasking;   /* [MASK]; the ids that are no special tokens; of each id, is it one? */
/* Of nplace places (which it shuffles) in a row `want`, but one at least: labels become the tokens there, and those [MASK] (80%), any word
 * (10%), or stay. */
void sn_mask(const SnMasking *, int32_t *tokens, int32_t *labels, int32_t *places, int64_t nplace, int64_t want, SnDraws *);

/* eval.c: how an entry is fed: what the options say, within the compiled bounds */
typedef enum SnFed { SN_FED_TEXT, SN_FED_INPUTS, SN_FED_FEEDER } SnFed;   /* ids of a text; a file of inputs; by the entry's feeder */
typedef struct SnBatch { int64_t rows, context, accumulate; } SnBatch;   /* sequences a call, T (of a text), calls a step */
int sn_batch_read(SnBatch *, const SnOptions *, SnFed); /* SN_USAGE where the options don't fit the bounds */
/* Where -m's weights are, malloc'ed, or NULL for --random. SN_USAGE without one of the two or with both; SN_DATA. */
int sn_model_find(const SnOptions *, char **checkpoint);

/* The means over ids, weighted by tokens predicted, in windows of context T that follow one another; all of them, or the first `batches`
 * batches. */
void sn_evaluate_text(SnSession *, const SnFunction *, const SnIds *, int64_t rows, int64_t context, int64_t batches, SnMeans *);
/* The same over n examples from `first` on, `rows` a call, weighted as the inputs say. */
void sn_evaluate_inputs(SnSession *, const SnFunction *, const SnInputs *, int64_t first, int64_t n, int64_t rows, int64_t batches, SnMeans *);
int sn_eval_main(SnOptions *);
/* Weights from the checkpoint, with the adapter that the options name, or random where it is NULL. */
int sn_model_load(SnSession *, const SnOptions *, const char *checkpoint);
const SnSlot *sn_tokens_slot(const SnFunction *);             /* the i32[B,n] input; NULL after a message */

/* source.c: where training's examples come from */
typedef struct SnSource {
	SnFed fed;
	bool inputs;                  /* there are examples: not a text */
	SnData data;                  /* of a file of inputs: nothing */
	const SnSlot *tokens;
	int64_t context, len;         /* T; tokens of a sequence with the one predicted */
	SnInputs in;                  /* of examples: the first ntrain examples are trained on, the others validate */
	int64_t ntrain, epoch;
	int64_t *order, *pick;        /* this pass's order; the examples of one call */
	int64_t rows, pass, step;     /* a call's sequences or examples; those of one pass over the data; examples of a step */
	const char *unit;             /* "tok", "examples" */
	int64_t units;                /* of them in one call */
	uint32_t seed;
	uint64_t hash;
} SnSource;
/* How function f is fed. SN_USAGE where it can't be. */
int sn_source_kind(const SnOptions *, const SnFunction *f, SnFed *);
/* Examples of a file of inputs or of the entry's feeder, for the use and the function that `asked` says; its path and data file follow from them. */
int sn_source_examples(SnInputs *, SnAsked, SnFed);
bool sn_takes_text(const SnOptions *, const SnFunction *);     /* --data can feed it */
int sn_source_open(SnSource *, SnSession *, const SnOptions *, const SnFunction *, const char *checkpoint, const SnBatch *);
void sn_source_close(SnSource *);
/* One call's inputs and symbols. micro: calls before it, example: examples before it, in all of the run. */
void sn_source_fill(SnSource *, SnSession *, int64_t micro, int64_t example);

/* validate.c: what training is judged by */
typedef struct SnValidation {
	const SnFunction *eval;
	SnSession *trained, own;      /* own: of an eval entry that runs beside the training, where `apart` */
	bool apart;
	SnSource *src;
	SnInputs file;                /* of --valid-inputs */
	const SnInputs *in;
	int64_t first, n, rows, batches;
	SnBatch batch;
	const char *best;             /* the output that decides which weights are best */
	bool grows;
} SnValidation;
int sn_validation_open(SnValidation *, SnSession *, const SnOptions *, SnSource *, const SnBatch *, const char *checkpoint);
void sn_validation_close(SnValidation *);
bool sn_validation_possible(const SnValidation *);            /* there is something to validate on */
bool sn_validation_run(SnValidation *, SnMeans *);            /* false if not */

/* progress.c: bar, metrics.jsonl, loss.svg */
typedef struct SnPoint { int64_t step; float loss; } SnPoint;
typedef struct SnCurve { SnPoint *at; int64_t n, cap; } SnCurve;
typedef struct SnProgress {
	bool bar, quiet;
	int metrics;                  /* fd; -1: none */
	const char *dir;
	int64_t total, every;         /* steps; a plain line every so many */
	double started, drawn, base;  /* clock; seconds of earlier sessions */
	double rate;                  /* seconds a step, smoothed */
	double value;                 /* last validation loss; NaN: none yet */
	const char *unit;             /* "tok" or "examples" */
	SnStr text;                   /* of the line being made */
	SnCurve train, valid;
} SnProgress;
typedef struct SnStep { int64_t step, units, all; double loss, lr, grad_norm, seconds, flops; const SnMeans *means; } SnStep;   /* all: units so far */
double sn_clock(void);                                        /* seconds, monotonic */
int sn_progress_open(SnProgress *, const char *dir, int64_t step, int64_t total, const char *unit, bool quiet);
void sn_progress_step(SnProgress *, const SnStep *);
void sn_progress_valid(SnProgress *, int64_t step, const SnMeans *, bool best);
void sn_progress_clear(SnProgress *);                         /* takes the bar off the line before a message */
int sn_progress_draw(SnProgress *, const char *title);        /* loss.svg */
void sn_progress_close(SnProgress *);

/* svg.c: a chart of the curves, as text */
void sn_svg_chart(SnStr *, const char *title, const SnCurve *train, const SnCurve *valid);

/* describe.c */
void sn_inputs_help(FILE *, const SnEntry *);                 /* an entry's inputs, shapes, ids and bounds */
int sn_info_json(FILE *, const SnProgram *, const SnEntry *full, int threads, bool tensors);   /* full: whose parameters count */

/* train.c, generate.c, infer.c, info.c, init.c */
int sn_train_main(SnOptions *);
int sn_grads_main(const SnOptions *);                         /* train --grads-out */
int sn_example_main(const SnOptions *);                       /* --example-inputs */
int sn_infer_main(const SnOptions *);
void sn_json_lists(SnStr *, int dtype, const void *at, const int64_t *shape, int rank);   /* nested as the axes are; of rank 0 one number */
int sn_init_main(const SnOptions *);
int sn_generate_main(const SnOptions *);
int sn_info_main(const SnOptions *);
void sn_version(FILE *, const SnProgram *);
/* Learning rate of step s (0-based): linear warmup to `peak`, then by `kind` to `last` at step `steps`. */
typedef struct SnSchedule { const char *kind; double peak, last; int64_t warmup, steps; } SnSchedule;
double sn_learning_rate(const SnSchedule *, int64_t step);

/* stepper.c: a generate entry's functions. `encode`, where there is one, is called once, then `step` with the new tokens of
 * `rows` sequences at a time; what it keeps of earlier ones lies in states. Which input is generated, and along which
 * dimension, is read off the program: the symbol <T>.all is the length after a call, and every other symbol <T>.<name> the
 * lesser of that and its bound. */
typedef struct SnStepper {
	SnSession *s;
	const SnFunction *step, *encode, *verify;   /* encode, verify: NULL if there is none */
	const SnSlot *tokens, *next;
	const SnSlot *proposed, *logits;   /* verify's */
	int64_t drafts;               /* tokens that verify takes beside one that is known; 0: there is none */
	int time, batch;              /* symbols of the new tokens and of the sequences, in the entry; batch -1: one sequence */
	int64_t chunk, room;          /* bounds of the new tokens and of all */
	int64_t width;                /* bound of rows */
	int64_t rows, cached, V;      /* sequences; tokens of each that are in the caches; logits a row */
	char *spare;                  /* for reordering, made when first needed */
	void *taps;                   /* taps_steps.c's; NULL: none are asked for */
} SnStepper;
/* taps_steps.c: what a generate entry with outputs "tap:<name>" points to. open: SN_USAGE; take: what the last call left; write: SN_FAIL */
typedef struct SnStepTaps { int (*open)(const SnOptions *, SnStepper *); void (*take)(SnStepper *); int (*write)(const SnStepper *); void (*close)(SnStepper *); } SnStepTaps;
extern const SnStepTaps sn_taps_steps;
int sn_stepper_open(SnStepper *, SnSession *);                /* SN_FAIL */
void sn_stepper_close(SnStepper *);
/* Feeds encode, if there is one, with --inputs or --source, and calls it. tokenizer: for --source; may be NULL without. */
int sn_stepper_encode(SnStepper *, const SnOptions *, const SnTokenizer *);   /* SN_USAGE, SN_DATA */
const float *sn_stepper_feed(SnStepper *, const int32_t *ids, int64_t n);     /* ids (rows, n), n <= chunk; returns next (rows, V) */
/* Of one row: logits (n, V) behind each of n <= drafts + 1 tokens; cached may be set back behind it, to go on from an earlier place. */
const float *sn_stepper_verify(SnStepper *, const int32_t *ids, int64_t n);
const float *sn_stepper_prefill(SnStepper *, const int32_t *ids, int64_t n);  /* of one row, in as many calls as it takes */
/* From now on `rows` sequences, the i-th going on from what was sequence from[i]. False where that is not possible: a state
 * does not tell its sequences apart. */
bool sn_stepper_branch(SnStepper *, const int32_t *from, int64_t rows);

/* From now on `rows` sequences of which nothing is known yet. */
void sn_stepper_restart(SnStepper *, int64_t rows);

/* answer.c: one sequence that is generated */
typedef struct SnStops { const char *text[SN_MAX_LIST]; int32_t id[SN_MAX_LIST]; int n; } SnStops;   /* id -1: a text, not a token; else text may be NULL */
typedef enum SnFinish { SN_GOING, SN_STOPPED, SN_LIMIT, SN_FULL } SnFinish;
typedef struct SnAnswer {
	SnIds ids;                    /* the first `prompt` of them were given, the others drawn */
	int64_t prompt;
	bool begins;                  /* what is drawn first begins a text: no text was given */
	SnStr text;                   /* of those drawn, without what stopped it */
	size_t sure;                  /* its first bytes, which begin no stop text */
	SnFinish finish;
	json_t *logprobs;             /* NULL: none asked for */
} SnAnswer;
enum { SN_MAX_LOGPROBS = 64 };
void sn_answer_close(SnAnswer *);
bool sn_stops_at(const SnStops *, int32_t id);                /* is it one of the tokens? */
const char *sn_stops_in(const SnStops *, const char *text, size_t n);   /* where the first of the texts begins; NULL */
void sn_answer_ask(SnAnswer *, const int32_t *ids, int64_t n);   /* more that is given, and what follows is to be drawn */
int64_t sn_answer_drawn(const SnAnswer *);
void sn_answer_add(SnAnswer *, const SnTokenizer *, const SnStops *, int32_t id);   /* drawn; tokenizer NULL: ids alone */
void sn_answer_end(SnAnswer *, SnFinish why);
void sn_answer_logprob(SnAnswer *, const SnTokenizer *, const float *logits, int64_t V, int32_t id, int64_t most);   /* of id, and of the likeliest */
void sn_emit(const char *s, size_t n);                        /* to stdout; bytes that are no UTF-8 as U+FFFD */
json_t *sn_answer_json(const SnAnswer *, const char *prompt, bool texts, bool ids);   /* a new object; docs/runtime.md */

/* prompts.c */
typedef struct SnPrompts { char **at; int64_t n, cap; } SnPrompts;
int sn_prompts_read(SnPrompts *, const char *path);           /* a file's, or standard input's for "-"; SN_DATA */
void sn_prompts_close(SnPrompts *);
char *sn_read_stdin(size_t *n);                               /* all of it, NUL-terminated; malloc'ed; NULL after a message */

/* chat.c: conversations as text, by the family of the checkpoint's chat template */
typedef struct SnChat SnChat;
int sn_chat_find(const SnOptions *, const char *checkpoint, const SnChat **);   /* SN_USAGE, SN_DATA */
const char *sn_chat_stop(const SnChat *);                     /* the text that ends an answer */
/* Adds what stands between the last answer (or nothing: `first`) and the next one. system: NULL or empty: none */
void sn_chat_ask(SnStr *, const SnChat *, const char *system, const char *user, bool first);
const char *sn_chat_name(const SnChat *);
bool sn_chat_ends(const SnChat *);                            /* an answer ends with the stop */
/* A whole conversation as text. cuts (room for n): where each of the assistant's turns begins and where it ends, with what ends it. What follows
 * the last of them is left out. NULL, or what is wrong with the order. */
typedef struct SnTurn { const char *role, *text; } SnTurn;
const char *sn_chat_render(SnStr *, const SnChat *, const SnTurn *, int n, size_t *cuts, int *ncuts);

/* sample.c */
typedef struct SnSampler {
	double temperature, top_p, min_p;
	double repetition, presence, frequency;   /* sn_penalised; 1 (or 0), 0, 0: none */
	int top_k;
	uint32_t seed;
	float *probs, *adjusted;
	uint64_t *order;              /* V ids by descending probability, as far as asked for */
	int32_t *end, *counts;        /* by bucket, by id */
} SnSampler;
void sn_sampler_open(SnSampler *, int64_t V);                 /* allocates; the settings are the caller's */
void sn_sampler_close(SnSampler *);
/* Draws from logits (V): greedy at temperature 0; else softmax(logits / temperature), then the top_k most likely (0:
 * all), of them the fewest whose share reaches top_p, without those under min_p times the likeliest. */
int32_t sn_sample(SnSampler *, const float *logits, int64_t V, int64_t position);
/* The logits with what has been said made less likely: of every id of ids[0..n) a positive one divided by `repetition` and a negative one
 * multiplied (Keskar et al. 2019, sec. 4.1); of those from `prompt` on, which were drawn, less `presence`, and less `frequency` for each time. */
const float *sn_penalised(SnSampler *, const float *logits, int64_t V, const int32_t *ids, int64_t n, int64_t prompt);
int32_t sn_likeliest(const float *logits, int64_t V);         /* of equals the lowest id */
double sn_log_sum(const float *logits, int64_t V);            /* log of the sum of e^logit; NaN if some logit is none */

#endif
