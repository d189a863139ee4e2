/* tokens.h: what the tokenizer's files share. A tokenizer.json is a pipeline, as Hugging Face's library has it: added tokens are cut out,
 * normalizers rewrite what lies between them, pre-tokenizers cut it into words, the model makes ids of a word; post-processors
 * add special tokens, decoders make text of ids. Each kind of stage is a row of a table in the file of its kind. All text inside is
 * valid UTF-8; whoever opens closes; a file that can't be used is SN_DATA after a message that names it. */
#ifndef SN_TOKENS_H
#define SN_TOKENS_H

#include "runtime/sn.h"

enum { SN_MAX_STAGES = 32, SN_MAX_ID = 1 << 24 };
typedef struct SnSpan { const char *at; size_t n; } SnSpan;

/* stage.c: reading stages */
const char *sn_type_of(json_t *);                             /* its "type"; "" */
SnSpan sn_text_of(json_t *);                                  /* at NULL: it is no string */
bool sn_flag_of(json_t *, const char *key, bool otherwise);   /* where it is not there or null */
/* The row of the stage's type in a table of n rows `stride` bytes apart, whose names begin at `name`; -1 after a message with `what`
 * and all of them. */
int sn_stage_find(json_t *, const char *what, const char *const *name, size_t stride, int n, const char *path);
/* The stages of j in their order, Sequences (whose member is `list`) opened up, at most SN_MAX_STAGES. */
int sn_stage_list(json_t *j, const char *list, const char *what, const char *path, json_t *out[], int *n);

/* replace.c: the stage Replace of normalizers and decoders, `what` says whose; with text and content alone also others' */
typedef struct SnReplace { SnSpan text, content; SnPattern *pattern; } SnReplace;   /* the texts are the json's */
int sn_replace_read(SnReplace *, json_t *, const char *what, const char *path);
int sn_replace_run(const SnReplace *, const char *s, size_t n, SnStr *out);   /* appends; SN_DATA: the pattern failed */

/* unicode.c: properties and normalisation forms, of the Unicode version that utf8proc had when the runtime was built */
enum { SN_U_OTHER, SN_U_MN, SN_U_MARK, SN_U_PUNCT, SN_U_NUMBER, SN_U_SPACE, SN_U_CONTROL };   /* MARK: Mc, Me; CONTROL: Cc, Cf, Co */
void sn_uni_load(void);                                       /* before any of these; again: nothing */
int sn_uni_class(uint32_t c);
bool sn_uni_white(uint32_t c);                                /* White_Space */
bool sn_uni_punct(uint32_t c);                                /* P, and ASCII's symbols */
int sn_uni_mark(uint32_t c);                                  /* combining class */
int sn_uni_lower(uint32_t c, uint32_t out[2]);                /* lower case, without context; how many */
void sn_uni_normal(SnStr *out, const char *s, size_t n, bool compat, bool compose);   /* NFD, NFC, NFKD, NFKC (UAX 15) */

/* trie.c: strings with values of 0 and more */
typedef struct SnTrie SnTrie;
SnTrie *sn_trie_open(void);
void sn_trie_close(SnTrie *);
void sn_trie_add(SnTrie *, const char *s, size_t n, int32_t value);   /* the last of a string counts */
int32_t sn_trie_step(const SnTrie *, int32_t node, unsigned char);    /* -1: nothing goes on so; the root is 0 */
int32_t sn_trie_value(const SnTrie *, int32_t node);          /* -1: no string ends here */
int32_t sn_trie_longest(const SnTrie *, int32_t node, const char *s, size_t n, size_t *len);   /* value of the longest that s begins with; -1 */

/* lexicon.c: a model's tokens */
typedef struct SnLexicon { SnSpan *tokens; int32_t size; int32_t *slots; uint32_t mask; } SnLexicon;   /* at NULL: no token has this id */
int sn_lexicon_open(SnLexicon *, json_t *vocab, const char *path);   /* {"token": id, ..} */
void sn_lexicon_start(SnLexicon *, int64_t size);
int sn_lexicon_add(SnLexicon *, int64_t id, SnSpan, const char *path);
void sn_lexicon_close(SnLexicon *);
int32_t sn_lexicon_find(const SnLexicon *, const char *s, size_t n);  /* -1 */
void sn_lexicon_bytes(const SnLexicon *, int32_t byte[256]);          /* ids of <0x00>, <0x01>, ..; -1 */

/* normalize.c, charsmap.c */
typedef struct SnNormalizer SnNormalizer;
SnNormalizer *sn_normalizer_open(json_t *, const char *path); /* NULL after a message */
void sn_normalizer_close(SnNormalizer *);
int sn_normalize(const SnNormalizer *, const char *s, size_t n, SnStr *out);   /* replaces out; SN_DATA: a pattern failed */
bool sn_normalizer_is_empty(const SnNormalizer *);
typedef struct SnCharsmap SnCharsmap;
SnCharsmap *sn_charsmap_open(SnSpan base64, const char *path);
void sn_charsmap_close(SnCharsmap *);
void sn_charsmap_run(const SnCharsmap *, const char *s, size_t n, SnStr *out);

/* split.c: pre-tokenizers. first: the piece begins where the text does. */
typedef struct SnPiece { const char *s; size_t n; bool first; } SnPiece;
typedef int SnSink(void *ctx, SnPiece);
typedef struct SnSplitter SnSplitter;
typedef struct SnSplitting SnSplitting;                       /* a thread's working memory */
SnSplitter *sn_splitter_open(json_t *, const char *path);
void sn_splitter_close(SnSplitter *);
SnSplitting *sn_splitting_open(const SnSplitter *);
void sn_splitting_close(SnSplitting *);
int sn_split(SnSplitting *, SnPiece, SnSink *, void *ctx);    /* words to the sink, in order; its code where not SN_OK */
uint32_t sn_byte_code(unsigned char);                         /* GPT-2's character for a byte */
size_t sn_bytes_of(const char *s, size_t n, char *out);       /* GPT-2's alphabet back to bytes; other text as it is; at most n */

/* model.c, bpe.c, wordpiece.c, unigram.c */
typedef struct SnModel SnModel;
typedef struct SnScratch { SnWord merge; void *nodes; size_t nnodes; uint32_t bad; bool is_bad; } SnScratch;   /* bad: a character without id */
typedef struct SnModelKind {
	int (*open)(SnModel *, json_t *, const char *path);
	void (*word)(const SnModel *, SnScratch *, const char *s, size_t n, SnIds *out);
	size_t (*part)(const SnModel *, const char *s, size_t n);   /* how much of a long word is a word by itself; NULL: all */
	void (*close)(SnModel *);
} SnModelKind;
struct SnModel {
	const SnModelKind *kind;
	SnLexicon lex;
	int32_t unk;                  /* -1 */
	void *own;                    /* the kind's */
};
extern const SnModelKind sn_bpe, sn_wordpiece, sn_unigram, sn_wordlevel;
SnModel *sn_model_open(json_t *, const char *path);
void sn_model_close(SnModel *);
const char *sn_model_name(const SnModel *);                   /* "bpe", .. */
void sn_scratch_close(SnScratch *);
void sn_model_unk(SnModel *, json_t *);                       /* for models: unk by "unk_token" */
void sn_model_lacks(SnScratch *, const char *s, size_t n);    /* and that there is no id for s's first character, and no unk */

/* added.c: added tokens, cut out before (raw) or behind the normalizers */
typedef struct SnAdded { int32_t id; SnSpan text; bool single_word, lstrip, rstrip, normalized, special; } SnAdded;
typedef struct SnAddedTokens { SnAdded *at; int n; SnTrie *tries[2]; bool starts[2][256]; SnPattern *word; } SnAddedTokens;   /* of raw text, of normalized */
int sn_added_open(SnAddedTokens *, json_t *, const SnNormalizer *, const char *path);
void sn_added_close(SnAddedTokens *);
/* Text (added NULL) and tokens in order; first: as SnPiece's, of s. */
typedef int SnAddedSink(void *ctx, SnPiece, const SnAdded *);
int sn_added_cut(const SnAddedTokens *, bool raw, SnPiece, SnAddedSink *, void *ctx);

/* post.c: post-processors, as templates */
typedef struct SnPost SnPost;
SnPost *sn_post_open(json_t *, const char *path);
void sn_post_close(SnPost *);
void sn_post_run(const SnPost *, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types);   /* b NULL: one text */
int32_t sn_post_edge(const SnPost *, bool last);              /* before (behind) one text; -1 */

/* decode.c: decoders */
typedef struct SnDecoder SnDecoder;
SnDecoder *sn_decoder_open(json_t *, const char *path);
void sn_decoder_close(SnDecoder *);
typedef struct SnStrings { SnStr text; size_t *end; int64_t n, cap; } SnStrings;
void sn_strings_add(SnStrings *, const char *, size_t n);
void sn_strings_close(SnStrings *);
/* All of a text's tokens; piece: some of them alone, whose neighbours aren't known: bytes that form no character stay. first: nothing
 * is before them. Appends to out. */
int sn_decoder_run(const SnDecoder *, SnStrings *, bool piece, bool first, SnStr *out);

/* pipeline.c: a tokenizer.json */
typedef struct SnPipeline SnPipeline;
typedef struct SnStages { const SnNormalizer *normalizer; const SnSplitter *splitter; const SnModel *model; const SnAddedTokens *added; } SnStages;
SnStages sn_pipeline_stages(const SnPipeline *);
const char *sn_tokenizer_stages(const SnTokenizer *, SnStages *, size_t *n);   /* its file's text; NULL: it is of bytes or characters */
SnPipeline *sn_pipeline_open(json_t *, const char *path);
void sn_pipeline_close(SnPipeline *);
int32_t sn_pipeline_size(const SnPipeline *);
const char *sn_pipeline_kind(const SnPipeline *);
int sn_pipeline_encode(const SnPipeline *, const char *s, size_t n, const char *what, SnIds *out);   /* the three that follow, in one */
typedef struct SnRun SnRun;                                   /* working memory, and words that were encoded already */
SnRun *sn_pipeline_start(const SnPipeline *);
int sn_pipeline_run(SnRun *, const char *s, size_t n, const char *what, SnIds *out);
void sn_pipeline_end(SnRun *);                                /* NULL: nothing */
void sn_pipeline_post(const SnPipeline *, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types);
SnSpan sn_pipeline_token(const SnPipeline *, int32_t id);     /* its text in the file; at NULL: no such id */
void sn_pipeline_piece(const SnPipeline *, int32_t id, bool first, SnStr *out);
int sn_pipeline_decode(const SnPipeline *, const int32_t *ids, int64_t n, bool skip_special, SnStr *out);
bool sn_pipeline_is_special(const SnPipeline *, int32_t id);
int32_t sn_pipeline_added(const SnPipeline *, const char *text);   /* -1 */
int32_t sn_pipeline_edge(const SnPipeline *, bool last);

#endif
