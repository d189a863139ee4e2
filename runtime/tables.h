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

#endif
