/* fmt.h: what the formatter's two files share; private to them. A file is rows of pieces: a piece is a token as it will
 * be written, a row a line of the output. Rows are made from tokens (fmt_rows.c), then laid out in columns (fmt.c). */
#ifndef FMT_H
#define FMT_H

#include "frontend/syntax.h"

/* Columns: pieces that stand under each other in neighbouring rows. */
typedef enum Cell {
	CELL_NONE,
	CELL_CTOR,              /* name: HERE */
	CELL_AT,                /* at ".." */
	CELL_TYPE,              /* config: name: HERE */
	CELL_VALUE,             /* config: = .. */
	CELL_FROM, CELL_DOC,    /* config */
	CELL_ARGS,              /* a setting's arguments */
	CELL_BRACE,             /* of a preset on one line */
	CELL_SET,               /* its settings: CELL_SET, CELL_SET + 1, .. */
	CELL_LAST_SET = CELL_SET + 15,
	CELL_COUNT
} Cell;

typedef struct Piece {
	uint32_t at, end;       /* in the source */
	uint16_t kind;
	uint8_t gap;            /* blanks before it; of a cell: the least number */
	uint8_t cell;
	bool semi;              /* `;` stands before it: it begins another statement of the row */
	int column;             /* where its cell begins; -1: wherever the gap puts it */
} Piece;

typedef enum Group { GROUP_NONE, GROUP_CONFIG, GROUP_BODY, GROUP_PRESET } Group;

typedef struct Row {
	int first, n;                   /* pieces; n 0: a comment alone */
	uint32_t comment, comment_end;  /* in the source; comment_end 0: none */
	bool blank;                     /* an empty line before it */
	bool continues;                 /* the statement of the row before */
	int depth;                      /* open braces */
	int opener;                     /* continues: the innermost open ( or [, a piece; -1: an operator ends the row before */
	int home;                       /* continues: the row of the opener, or else the statement's first */
	Group group;
	bool several;                   /* statements: it shares columns only as a preset */
	int indent;
} Row;

typedef struct Layout {
	Arena *arena;
	const Source *src;
	Vec(Piece) pieces;
	Vec(Row) rows;
	int known, known_column;        /* a piece whose column was asked for last */
} Layout;

void layout_rows(Syntax *, Layout *);   /* s: after lines_cut */

#endif
