/* syntax.h: what the lexer, the token passes and the grammar share, and nobody else includes.
 *
 * Text becomes an array of tokens (lex.l); brackets are matched over the whole array, so that a missing one
 * is blamed on its opener (brackets.c); lines are cut and soft keywords decided (lines.c); the grammar
 * (parse.y) then reads the array through token_feed, and syntax.c puts its complaints into words. A token
 * that an error has touched is muted: the statement around it is not complained about again. */
#ifndef SYNTAX_H
#define SYNTAX_H

#include "frontend/ast.h"

enum {
	MAX_NEST = 200,         /* open brackets at once */
	MAX_HEIGHT = 1000,      /* of an expression tree: whoever walks it may recurse */
	MAX_SYNTAX_ERRORS = 50, /* in one file; then it is given up */
	MAX_SOURCE = 64 << 20,  /* bytes */
	TOKEN_KINDS = 400,      /* an upper bound of bison's token numbers */
};

typedef struct Token {
	uint32_t at, end;
	uint16_t kind;          /* T_..., see parse.y */
	bool first;             /* on its line */
	bool muted;             /* an error is already reported here */
} Token;
typedef Vec(Token) Tokens;

typedef struct Open { int token, start; bool muted; } Open;   /* a bracket and the first token of the statement in it */

typedef struct Syntax {
	Arena *arena;
	const Source *src;
	File *file;
	Tokens tokens;
	Item *last_item;
	int pos;                /* of the token fed last; -1 */
	int jump;               /* where the feeder goes on after an error; 0: at the next token */
	int depth;
	Open open[MAX_NEST + 2];  /* [0] is the file itself */
	int errors;
	bool stop;              /* too many errors, or one that makes the rest meaningless */
	bool too_deep;          /* already said */
} Syntax;

/* lex.l: fills s->tokens, T_EOF last. Soft keywords come as keywords, `;` as T_SEMI, newlines as `first`. */
void lex_tokens(Syntax *);
/* Values of good tokens: names and strings interned, numbers exact where they are integers below 2^63. */
const char *token_string(Syntax *, Token);
bool token_number(const Source *, Token, double *value, int64_t *integer, bool *is_int);  /* false: out of range */

/* brackets.c: after it brackets match, nest at most MAX_NEST deep, and no brace is inside ( ) or [ ]. */
void brackets_match(Syntax *);

/* lines.c: inserts T_NL (in braces) and T_END (after an item), drops T_SEMI, turns keywords into names
 * where they are none. */
void lines_cut(Syntax *);

/* syntax.c */
bool syntax_failed(Syntax *);            /* counts an error; false once the file is given up, then say nothing */
Loc token_loc(const Syntax *, Token);
const char *kind_text(int kind);         /* "`=`", "a name" */
bool kind_is_word(int kind);             /* a keyword or a name */
bool kind_ends_operand(int kind);
bool kind_starts_operand(int kind);
int keyword_kind(const char *, size_t);  /* T_NAME if it is none */
/* The token at s->pos cannot stand there; `want[kind]` are those that could. Reports, and sets s->jump to where
 * the grammar's `error` productions go on: the closer of the innermost ( or [, or the statement's end or body. */
void syntax_error(Syntax *, const bool want[TOKEN_KINDS]);
/* A word at the start of an item that begins none. Reports; the keyword meant, or T_NAME. */
int syntax_bad_item(Syntax *, Token);

/* parse.y */
int token_feed(Syntax *);                /* moves to the next token; its kind */

#endif
