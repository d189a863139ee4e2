/* ast.h: the syntax tree, as LANGUAGE's grammar has it. Nodes live in the module's arena; names are interned;
 * every node has its place. Lists are linked by `next` in source order. */
#ifndef AST_H
#define AST_H

#include "support/support.h"

typedef enum ExprKind {
	E_NAME, E_NUMBER, E_STRING, E_TRUE, E_FALSE, E_NONE,
	E_LIST,      /* [a, b]: kids */
	E_CALL,      /* base(args) */
	E_INDEX,     /* base[subs]: kids, each an expr, E_SLICE or E_ELLIPSIS */
	E_FIELD,     /* base.name */
	E_SLICE,     /* lo:hi, inside E_INDEX only; a, b may be NULL */
	E_ELLIPSIS,
	E_UNARY,     /* op a: B_NEG or B_NOT */
	E_BINARY,    /* a op b */
	E_TERNARY,   /* a if b else c */
	E_ARROW,     /* a -> b */
	E_ERROR,     /* stands where the parser recovered */
} ExprKind;

typedef enum BinOp {
	B_ADD, B_SUB, B_MUL, B_DIV, B_MOD, B_MATMUL, B_POW, B_EQ, B_NE, B_LT, B_GT, B_LE, B_GE,
	B_AND, B_OR, B_MASK_AND, B_MASK_OR, B_NEG, B_NOT, B_COUNT
} BinOp;
extern const char *const binop_text[B_COUNT];

typedef struct Expr Expr;
typedef struct Arg { struct Arg *next; const char *name; Loc loc; Expr *value; } Arg;  /* name NULL: positional */
struct Expr {
	ExprKind kind;
	int height;             /* of the tree; the parser allows 1000, so recursion over it is safe */
	Loc loc;
	Expr *next;             /* in a list */
	const char *name;       /* NAME, FIELD; STRING: its text, unescaped */
	double number; bool is_int; int64_t integer;   /* NUMBER */
	BinOp op;               /* UNARY, BINARY */
	Expr *a, *b, *c;        /* operands; CALL, INDEX, FIELD: a is the base */
	Arg *args;              /* CALL */
	Expr *kids;             /* LIST, INDEX */
};

typedef struct TypeExpr {
	struct TypeExpr *next;  /* in a tuple */
	Loc loc;
	const char *elem;       /* "f32", "id", "oneof", "mask", "dim", ...; NULL: only a shape was given */
	Expr *elem_args;        /* id(V), oneof(a, b) */
	bool optional;          /* id(V)? */
	bool has_shape;
	Expr *shape;            /* dims; E_ELLIPSIS for ... */
	struct TypeExpr *tuple; /* (A, B): members; all else is empty */
} TypeExpr;

typedef struct ParamDecl { struct ParamDecl *next; const char *name; Loc loc; TypeExpr *type; Expr *init; } ParamDecl;
typedef struct Name { struct Name *next; const char *name; Loc loc; const char *as; } Name;   /* as: in USE; NULL */

typedef enum StmtKind {
	S_DECLARE,   /* names: ctor at "..." */
	S_ASSIGN,    /* names = exprs */
	S_ADD,       /* name += expr */
	S_RETURN,    /* exprs */
	S_FOR,       /* for name in lo..hi body */
	S_IF,        /* if cond body else other */
	S_REQUIRE,   /* require expr, "text" */
	S_SETTING,   /* name args on selectors every n */
	S_ERROR,
} StmtKind;

typedef struct Ctor {
	Loc loc;
	Expr *expr;                                       /* linear(D -> F), Block, Layer(D, H), ... */
	Expr *repeat; const char *as; struct Ctor *of;    /* repeat n [as i] of ctor */
	TypeExpr *param; Expr *init;                      /* param [V] = zeros */
} Ctor;

typedef struct Stmt Stmt;
struct Stmt {
	StmtKind kind;
	Loc loc;
	Stmt *next;
	Name *names;               /* DECLARE, ASSIGN, ADD (one), FOR (one) */
	Ctor *ctor; const char *at; Loc at_loc;
	Expr *exprs;               /* ASSIGN, RETURN, ADD; FOR: lo then hi; IF, REQUIRE: the condition */
	const char *text;          /* REQUIRE */
	Stmt *body, *other;        /* FOR, IF */
	const char *setting; Arg *args; Expr *on; Expr *every;   /* SETTING; `metric` and `next` are settings too */
};

typedef struct Config { struct Config *next; const char *name; Loc loc; TypeExpr *type; Expr *value;
	const char *from; Loc from_loc; const char *doc; } Config;   /* from: "text_config.vocab_size" */
typedef struct Set { struct Set *next; const char *name; Loc loc; Expr *value; } Set;

typedef enum ItemKind { I_USE, I_CONFIG, I_PRESET, I_DIM, I_REQUIRE, I_BLOCK, I_FN, I_MODEL, I_WEIGHTS, I_ENTRY } ItemKind;
typedef struct Item Item;
struct Item {
	ItemKind kind;
	Loc loc;
	Item *next;
	const char *name; Loc name_loc;   /* BLOCK, FN, MODEL, PRESET; ENTRY: its own name or NULL */
	const char *entry;                /* ENTRY: "train" "eval" "generate" "explain" "infer" */
	Name *names; const char *file; Loc file_loc; Set *sets;   /* USE; PRESET: sets */
	Config *config;
	Name *dims; Expr *bounds;         /* DIM: one decl an item; bounds NULL or the bound */
	Expr *expr; const char *text;     /* REQUIRE; FN: body */
	ParamDecl *statics, *params; TypeExpr *result;   /* BLOCK, MODEL, FN, ENTRY */
	Stmt *body;                       /* BLOCK, MODEL, WEIGHTS, ENTRY */
};

typedef struct File { const Source *src; const char *doc; Item *items; } File;   /* doc: leading comment */

/* parse.y: NULL only if the file can't be read; syntax errors are reported and recovered from. */
File *parse_file(Arena *, const char *path);
File *parse_text(Arena *, const Source *);

/* ast_print.c: the file as source text in one canonical form, comments dropped but for the leading one. Reads back
 * to a tree that prints the same. */
void ast_print(Str *, const File *);
void ast_print_expr(Str *, const Expr *);
void ast_print_ctor(Str *, const Ctor *);

#endif
