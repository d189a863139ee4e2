/* tables.h: texts as data: what the files share that read tables, make examples of their rows, and print predictions. None of it is in a
 * program whose entries ask for no such data. A table owns its cells; whoever opens closes. */
#ifndef SN_TABLES_H
#define SN_TABLES_H

#include "runtime/sn.h"

/* table.c: TSV, CSV, JSON lines, columns of words (CoNLL), or a text a line */
typedef enum SnForm { SN_TSV, SN_CSV, SN_JSONL, SN_CONLL, SN_LINES } SnForm;
typedef struct SnCell { const char *s; size_t n; } SnCell;    /* UTF-8, NUL-terminated; s NULL: the row has no such field */
typedef struct SnTable {
	const char *path;             /* the caller's, for messages */
	const char **columns;
	int ncolumn;
	SnCell *cells;                /* (nrow, ncolumn) */
	int64_t *lines;               /* (nrow) where each begins */
	int64_t nrow, room;
	char *bytes;                  /* what cells point into, of TSV, CSV, words and lines */
	void **owned;                 /* of JSON lines: cells' texts */
	int64_t nowned, cap;
} SnTable;
/* Which form a file has: by `form` ("tsv", "csv", "jsonl", "conll", "txt"; NULL: by the ending of its name). SN_USAGE */
int sn_table_form(const char *path, const char *form, SnForm *out);
/* path "-": standard input. A first row with names of TSV and CSV, unless `bare`: columns are then 1, 2, .. Of JSON lines the columns are
 * `fields` (n of them), where a value that is no text is its JSON; CoNLL has "tokens" and "tags" (first and last word of a line) as JSON
 * lists, lines have "text". SN_DATA with the line. */
int sn_table_open(SnTable *, const char *path, SnForm, bool bare, const char *const *fields, int n);
void sn_table_close(SnTable *);
int sn_table_column(const SnTable *, const char *name);       /* -1 */
/* The same, or SN_DATA with the columns that there are. */
int sn_table_find(const SnTable *, const char *name, const char *flag, int *column);
static inline SnCell sn_table_cell(const SnTable *t, int64_t row, int column) { return t->cells[row * t->ncolumn + column]; }

/* Flags that several feeders have. SN_F_TABLES: what training, evaluation and inference are told of the data alike. */
enum { SN_F_TABLES = SN_F_KEPT | SN_F_EVAL | SN_F_INFER };
#define SN_DATA_FLAG(help) {"data", 'd', SN_T_PATH, "data.file", SN_F_INFER, "FILE", help}
#define SN_TOKENIZER_FLAG {"tokenizer", 0, SN_T_TOKENIZER, "data.tokenizer", SN_F_INFER, "NAME", "byte, a tokenizer.json, a merges.txt, or their directory"}
#define SN_FORMAT_FLAG(kinds, help) {"format", 0, SN_T_STR, "data.format", kinds, "FORM", help}
#define SN_SCORE_FLAG(help) {"score", 0, SN_T_SWITCH, "score", SN_F_INFER, NULL, help}

/* texts.c: texts, or pairs of them, as rows of ids for a function's inputs, each call at its longest row */
typedef struct SnWindow SnWindow;                             /* questions.c */
typedef struct SnText { int64_t at[2]; int32_t n[2], masks; int64_t row; } SnText;   /* of each sequence: where in the ids, how many; masks in it; the row it is of */
typedef struct SnTexts {
	const SnSlot *ids[2], *types, *real[2];   /* one sequence, with its segments; or two, each by itself */
	const SnSlot *label, *value, *tags;       /* i32[B], f32[B], i32[B,T]; NULL: none */
	const SnSlot *last;           /* a second i32[B]: label and last are then where an answer begins and ends */
	const SnSlot *masks;          /* i32[B,M]: where masks are, for an entry that shows them; NULL: none */
	int B, T, M;                  /* symbols */
	const SnSym *syms;
	int32_t mask;                 /* the token that stands for a word that is looked for; -1 */
	int64_t most;                 /* ids of a sequence */
	const SnTokenizer *tokenizer;
	SnEncoder *encoder;
	int32_t pad;
	int special[2];               /* ids that the post-processor adds to one text, to a pair */
	SnIds pool, kinds;            /* all ids, and the segment of each */
	SnText *at;
	int64_t n, cap, cut;          /* cut: how many were longer than `most` */
	int32_t *labels;              /* (n), of label; (pool.n), of tags */
	float *values;                /* (n), of value */
	int32_t *lasts;               /* (n), of last */
	void *truth;                  /* of a feeder that judges what is told */
	void (*forget)(void *truth);
	const SnWindow *windows;      /* (n) the rows' questions, which are not divided between training and validation; NULL: each row is by itself */
} SnTexts;
/* Which input is what: ids are the first i32[B,T], other ids of the same table a second text, i32[B,T] of another table segments, bool[B,T] what
 * is real of either text, i32[B,T] that may be ignored tags, i32[B] a label, f32[B] a number; where masks are shown, i32[B,M] of another
 * axis their places. SN_USAGE where that doesn't fit. T: the longest row. */
int sn_texts_open(SnTexts *, const SnAsked *);
void sn_texts_close(SnTexts *);
/* Adds a text, or a pair (b.s not NULL), cut to what fits: of a pair the longer one first. what: for messages. */
int sn_texts_add(SnTexts *, SnCell a, SnCell b, const char *what);
void sn_texts_put(SnTexts *, SnIds *a, SnIds *b);             /* the same of ids that fit; b NULL: one text */
int64_t sn_texts_length(const SnTexts *, int64_t i);          /* the longer of its sequences */
void sn_texts_fill(const SnTexts *, SnSession *, const int64_t *pick, int64_t n);
/* Orders by length: 0..n-1, the longest first, of equals the first first. malloc'ed */
int64_t *sn_texts_sorted(const SnTexts *, int64_t first, int64_t n);
void sn_texts_order(SnTexts *, int64_t first);                /* examples from there on get new numbers, by length */
void sn_texts_bucket(const SnTexts *, int64_t *order, int64_t n, int64_t batch, int64_t offset, uint32_t key);

/* labels.c: names of labels, as a checkpoint's config.json has them (id2label) */
typedef struct SnNames { char **at; int n; } SnNames;
json_t *sn_config_read(const char *checkpoint);               /* a new object, empty where there is none; NULL after a message */
int sn_names_read(SnNames *, const char *checkpoint);         /* none where there is no such file, or nothing in it; SN_DATA */
void sn_names_add(SnNames *, const char *s, size_t n);
int sn_names_find(const SnNames *, const char *s, size_t n);  /* -1 */
void sn_names_sort(SnNames *);                                /* numbers by value, names by their bytes */
bool sn_names_are_numbers(const SnNames *, int below);        /* each is a number from 0 to below - 1 */
void sn_names_close(SnNames *);
/* What becomes of a run's config.json: {"id2label": {..}, "label2id": {..}} */
json_t *sn_names_json(const SnNames *);
int sn_names_from(SnNames *, json_t *config);                 /* SN_DATA */

/* feed_table.c */
extern const SnFeeder sn_feeder_table, sn_feeder_texts;
/* Opens examples that `read` makes of a->path; the table is closed behind it. */
typedef int SnReadRows(SnTexts *, const SnAsked *, SnTable *);
int sn_examples_open(SnInputs *, const SnAsked *, SnReadRows *read);
/* Of each cell of the column its label's number, malloc'ed, below `most`; which names there are is decided, and kept, as the use asks; names, the caller's to close. SN_DATA */
int sn_labels_read(int32_t **out, SnNames *names, const SnAsked *, const SnTable *, int column, int most);
void sn_data_remember(SnData *, json_t *config);               /* takes over what becomes of the run's config.json */
typedef struct SnColumns { int text, pair, label; } SnColumns; /* -1: none */
int sn_rows_open(SnTable *, SnColumns *, const SnOptions *, const char *path, bool labelled);

/* words.c: sentences as words, and words as rows of ids */
extern const SnFeeder sn_feeder_words;                        /* feed_words.c */
typedef struct SnWords {
	SnTable table;                /* what the words are of, where they were read from a file */
	json_t **lists;               /* (n) */
	const char **texts;           /* (n) a sentence that was given as a text; NULL: as a list */
	int64_t *lines, *first;       /* (n); (n + 1): of all words */
	SnCell *words, *tags;         /* of all; a tag's s NULL: there is none */
	int64_t *at;                  /* of words of texts: where in it each begins, in bytes */
	int64_t n, nword, cap, capword, tagged;   /* tagged: sentences with tags */
} SnWords;
/* labelled: a column of tags is wanted; where it is not it is read if it is there. SN_USAGE, SN_DATA */
int sn_words_read(SnWords *, const SnOptions *, const char *path, bool labelled);
int sn_words_split(SnWords *, const char *text, int64_t line);  /* at blanks and punctuation, as BERT's pre-tokenizer does; SN_DATA */
void sn_words_close(SnWords *);
char *sn_words_place(const SnWords *, int64_t i);             /* "data.conll:3", malloc'ed */
/* All sentences as rows, in order. pieces: for each id of the pool the number of the word that it is the first piece of, in all words; -1. */
int sn_words_encode(const SnWords *, SnTexts *, SnIds *pieces);   /* SN_DATA */
int sn_tag_main(const SnOptions *);                           /* tag.c */

/* entities.c: how many are true, told, both */
typedef struct SnEntities { int64_t true_, told, both; } SnEntities;
void sn_entities_add(SnEntities *, const char *const *truth, const char *const *told, int64_t n);   /* of one sentence's tags; NULL: none */
double sn_entities_precision(const SnEntities *);             /* 0 where none is told, but some are true */
double sn_entities_recall(const SnEntities *);
double sn_entities_f1(const SnEntities *);                    /* NaN, as the others, where there is no entity at all */

/* questions.c: questions on contexts; and both as rows, of long contexts several */
typedef struct SnGold { const char *text; int64_t from, to; } SnGold;   /* an answer, and its bytes in the context */
typedef struct SnQuestion {
	SnCell id, question, context;
	json_t *answers;
	SnGold *gold;
	int ngold;
	bool none;                    /* it is known that the context has no answer */
	int64_t line;
} SnQuestion;
typedef struct SnQuestions {
	const char *path;             /* NULL: of the command line */
	SnTable table;                /* what texts are of: this, */
	json_t *root;                 /* or this */
	SnQuestion *at;
	int64_t n, cap, without;      /* without: how many are known to have no answer */
} SnQuestions;
int sn_questions_read(SnQuestions *, const SnOptions *, const char *path, bool labelled);   /* SN_USAGE, SN_DATA */
void sn_questions_add(SnQuestions *, const char *question, const char *context);   /* keeps both */
void sn_questions_close(SnQuestions *);
char *sn_question_place(const SnQuestions *, int64_t i);      /* malloc'ed */
struct SnWindow { int64_t question, first, n, base; };   /* its context's tokens: which of `from`; how many; where in the row */
typedef struct SnWindows { SnWindow *at; int64_t n, cap, nquestion, cut; SnIds from, to; } SnWindows;   /* from, to: bytes of all contexts' tokens */
int sn_windows_open(SnWindows *, const SnOptions *, SnTexts *, const SnQuestions *);   /* a row for each; SN_USAGE, SN_DATA */
void sn_windows_close(SnWindows *);

/* squad.c: what scores tell of questions in windows, and what that is worth */
typedef struct SnReading {
	SnQuestions q;
	SnWindows w;
	int64_t most;                 /* tokens of an answer */
	bool nullable;                /* that there is no answer may be told, where its score is above the best answer's by more than the threshold */
	double threshold;
} SnReading;
typedef struct SnFound { bool seen; double best, sum, none; int32_t from, to; } SnFound;   /* seen: a window was; best, sum: the best span's score, and e^(score -
                                                                                            * best) of all; none: of no answer; from, to: bytes of the context */
typedef struct SnMarks { int64_t n[2]; double exact[2], f1[2]; } SnMarks;   /* sums over n questions that have an answer, and over those that have none */
/* Behind the questions: by flags, by what the weights have learnt (their config.json has "no_answer": true), and by the data. SN_DATA */
int sn_reading_settle(SnReading *, const SnOptions *, const char *checkpoint);
void sn_reading_remember(const SnReading *, SnData *);        /* so that the run's config.json has it */
void sn_reading_close(SnReading *);
void sn_reading_look(const SnReading *, int64_t row, const float *first, const float *last, SnFound *);   /* scores of a row; found (q.n), zeroed at first */
bool sn_reading_is_none(const SnReading *, const SnFound *);
SnCell sn_reading_told(const SnReading *, const SnFound *, int64_t question);   /* a part of its context, not NUL-terminated; "": none */
SnMarks sn_reading_judge(const SnReading *, const SnFound *); /* of questions that were seen and whose answers are known */
void sn_squad_marks(const SnQuestion *, SnCell told, bool second, double *exact, double *f1);   /* second: as 2.0 has them; behind sn_uni_load */
extern const SnFeeder sn_feeder_answers;                      /* feed_answers.c */
int sn_reader_main(const SnOptions *);                        /* reader.c */

static inline int64_t sn_characters(const char *s, int64_t n)   /* of UTF-8 */
{
	int64_t count = 0;
	for (int64_t i = 0; i < n; i++)
		count += (s[i] & 0xC0) != 0x80;
	return count;
}

/* predict.c: an infer entry on texts: results a row each, in the order of the rows */
int sn_predict_main(const SnOptions *);
typedef struct SnOut {
	const SnSlot *slot;
	bool along, masks;            /* [B,T,..], [B,M,..]: a row has as many as it has tokens, or masks */
	int64_t inner;                /* numbers of one row, or of one token */
	void **rows;                  /* (n) of the examples */
} SnOut;
typedef struct SnPredict SnPredict;
struct SnPredict {
	const SnOptions *o;
	const SnFunction *run;
	SnSession s;
	SnData data;
	SnTable table;
	SnCell (*texts)[2];           /* (n) */
	int64_t *lines;               /* (n); NULL: from the command line */
	int64_t n, tokens, padded;    /* examples; ids of all; what was computed */
	SnTexts x;
	SnNames names;
	SnOut out[SN_MAX_METRICS];
	int nout;
	double seconds;
	const char *checkpoint, *source;   /* NULL: random; the file that texts are of, NULL: the command line */
	void *own;                    /* of the way */
	bool filed;                   /* lines go to -o FILE: they wait here until all are there */
	SnStr said;
};
typedef struct SnPredictWay {
	const char *printed;          /* "tags": what is JSON lines alone; NULL: results may be written as tensors */
	const char *apart;            /* why two inputs of texts, each by itself, don't do; NULL: they do */
	int (*take)(SnPredict *);     /* texts as n rows of x */
	int (*show)(SnPredict *);     /* what came out */
	bool (*fits)(const SnPredict *);   /* the results are of the kinds that are wanted, */
	const char *wants;            /* these */
	const char *unit;             /* what a row is, for messages: "sentences" */
} SnPredictWay;
int sn_predict(SnPredict *, const SnPredictWay *);            /* all of it, from o and own; closes it but for own */
void sn_predict_put(SnPredict *, const SnStr *line);          /* to standard output, or to -o FILE.jsonl */
void sn_predict_score(const SnPredict *, const char *score);  /* to standard output where --score asks for it, else to standard error */
int64_t sn_out_length(const SnPredict *, const SnOut *, int64_t i);   /* of example i: how many tokens or masks, 1 */
char *sn_predict_place(const SnPredict *, int64_t i);         /* "texts.txt:3", malloc'ed */

/* show.c: one example's results as JSON, by what the entry's data says is shown */
typedef int SnShow(const SnPredict *, int64_t i, SnStr *out);   /* appends members, each with a comma before it; SN_DATA */
int sn_show_find(const SnPredict *, SnShow **);               /* SN_USAGE where the results are not of its kind */

#endif
