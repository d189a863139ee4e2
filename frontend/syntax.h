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
	MAX_SOURCE = 4 << 20,   /* bytes */
	MAX_MEMBERS = 10000,    /* of all lists of a file: statements, arguments, config values; lists are searched one by one */
	TOKEN_KINDS = 400,      /* an upper bound of bison's token numbers */
};

typedef struct Token {
	uint32_t at, end;
	uint16_t kind;          /* T_..., see parse.y */
	bool first;             /* on its line */
	bool muted;             /* an error is already reported here */
} Token;
typedef Vec(Token) Tokens;

typedef struct Open {
	int token;              /* the bracket; -1: the file itself */
	int base;               /* in `open`: the innermost brace around, where statements stand */
	int start; bool muted;  /* bases: the first token of their current statement; an error in it was reported */
} Open;

typedef struct Syntax {
	Arena *arena;
	const Source *src;
	File *file;
	Tokens tokens;
	Item *last_item;
	int pos;                /* of the token fed last; -1 */
	int jump;               /* where the feeder goes on after an error; 0: at the next token */
	int failed_at;          /* of the last error; 1 more than the token's index */
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
int token_feed(Syntax *);                /* moves to the next token; its kind */
bool syntax_failed(Syntax *);            /* counts an error; false once the file is given up, then say nothing */
Loc token_loc(const Syntax *, Token);
const char *kind_text(int kind);         /* "`=`", "a name" */
bool kind_is_word(int kind);             /* a keyword or a name */
bool kind_ends_operand(int kind);
bool kind_starts_operand(int kind);
int keyword_kind(const char *, size_t);  /* T_NAME if it is none */
const char *keyword_text(int kind);      /* NULL if it is none */
/* The token at s->pos cannot stand there; `want[kind]` are those that could. Reports, and sets s->jump to where
 * the grammar's `error` productions go on: the closer of the innermost ( or [, or the statement's end or body. */
void syntax_error(Syntax *, const bool want[TOKEN_KINDS]);
/* A word at the start of an item that begins none. Reports; the keyword meant, or T_NAME (not reported if `astray`). */
int syntax_bad_item(Syntax *, Token, int next, bool astray);


/* Rings: a list under construction is held by its last member, whose `next` is the first. NULL is empty. */
#define ring_one(node) ({ __auto_type one_ = (node); if (one_) one_->next = one_; one_; })
#define ring_add(last, ring) ({ __auto_type l_ = (last); __auto_type r_ = (ring); \
	if (l_ && r_) { __auto_type f_ = l_->next; l_->next = r_->next; r_->next = f_; } r_ ? r_ : l_; })
#define ring_open(last) ({ __auto_type l_ = (last); __auto_type f_ = l_ ? l_->next : l_; if (l_) l_->next = NULL; f_; })

/* ast.c: builders. Lists come opened. An expression taller than MAX_HEIGHT is reported and becomes E_ERROR. */
Expr *build_expr(Syntax *, ExprKind, Loc);
Expr *build_op(Syntax *, ExprKind, Loc, Expr *a, Expr *b, Expr *c);
Expr *build_unary(Syntax *, Loc, BinOp, Expr *a);
Expr *build_binary(Syntax *, Loc, BinOp, Expr *a, Expr *b);
Expr *build_call(Syntax *, Loc, Expr *base, Arg *args);
Expr *build_index(Syntax *, Loc, Expr *base, Expr *kids);
Expr *build_list(Syntax *, Loc, Expr *kids);
Arg *build_arg(Syntax *, Loc, const char *name, Expr *value);
TypeExpr *build_type(Syntax *, Loc, const char *elem, Expr *elem_args, bool optional, bool has_shape, Expr *shape);
TypeExpr *build_tuple(Syntax *, Loc, TypeExpr *members);
ParamDecl *build_param(Syntax *, Loc, const char *name, TypeExpr *, Expr *init);
Name *build_name(Syntax *, Loc, const char *name);
Ctor *build_ctor(Syntax *, Loc, Expr *);
Ctor *build_repeat(Syntax *, Loc, Expr *count, const char *as, Ctor *of);
Ctor *build_weight(Syntax *, Loc, TypeExpr *, Expr *init);
Stmt *build_stmt(Syntax *, StmtKind, Loc, Name *names, Expr *exprs);
Stmt *build_declare(Syntax *, Loc, Name *names, Ctor *, const char *at, Loc at_loc);
Stmt *build_for(Syntax *, Loc, Name *var, Expr *lo, Expr *hi, Stmt *body);
Stmt *build_if(Syntax *, Loc, Expr *cond, Stmt *body, Stmt *other);
Stmt *build_setting(Syntax *, Loc, const char *name, Arg *args, Expr *on, Expr *every);
Config *build_config(Syntax *, Loc, const char *name, TypeExpr *, Expr *value, Name *path, Loc from_loc, const char *doc);
Set *build_set(Syntax *, Loc, const char *name, Expr *value);
Item *build_item(Syntax *, ItemKind, Loc);
Item *build_named(Syntax *, ItemKind, Loc, const char *name, Loc name_loc);
Item *build_use(Syntax *, Loc, Name *names, const char *file, Loc file_loc, Set *sets);
Item *build_dim(Syntax *, Loc, Name *name, Expr *bound);
Item *build_block(Syntax *, ItemKind, Loc, const char *name, Loc name_loc, ParamDecl *statics, ParamDecl *params,
                  TypeExpr *result, Stmt *body);
void build_items(Syntax *, Item *);   /* appends them to the file; NULL: one that could not be read */

#endif
