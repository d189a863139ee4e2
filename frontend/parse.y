/* parse.y: the grammar of docs/language.md, LALR(1) without conflicts. Actions only call builders (ast.c).
 * Lists are built as rings held by their last member and opened by `ring_open` when complete.
 * `error` stands wherever syntax_error can bring the feeder back in step: as the content of brackets, as a
 * statement, as an item up to its body. */
%define api.pure full
%define api.token.prefix {T_}
%define api.location.type {Loc}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {Syntax *s}

%code requires {
#include "frontend/syntax.h"
}

%code {
#define YYMAXDEPTH 5000
/* Ready to report again. Where the feeder has jumped, the token in error is behind us. */
#define RECOVER do { if (s->stop) YYABORT; if (s->jump) yyclearin; yyerrok; } while (0)
#define YYLLOC_DEFAULT(now, rhs, n) \
	((now) = (n) ? (Loc){s->src, YYRHSLOC(rhs, 1).at, YYRHSLOC(rhs, n).end} : \
	         (Loc){s->src, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})
static int yylex(YYSTYPE *, Loc *, Syntax *);
static void yyerror(Loc *, Syntax *, const char *);
}

%union {
	const char *name;
	struct { double value; int64_t integer; bool is_int; } number;
	int op;
	Expr *expr;
	Arg *arg;
	TypeExpr *type;
	ParamDecl *param;
	Name *names;
	Stmt *stmt;
	Ctor *ctor;
	Config *config;
	Set *set;
	Item *item;
}

%token EOF 0
%token BAD NL END
%token <name> NAME STRING
%token <number> NUMBER
%token LPAREN RPAREN LBRACKET RBRACKET LBRACE RBRACE
%token COMMA COLON SEMI DOT DOTDOT ELLIPSIS QUESTION
%token ARROW ASSIGN ADD_TO EQ NE LT GT LE GE
%token PLUS MINUS STAR SLASH PERCENT AT_SIGN CARET BAR AMP
%token AND OR NOT IF ELSE TRUE FALSE NONE
%token RETURN FOR IN REQUIRE REPEAT AS OF PARAM AT ON EVERY FROM WITH
%token USE CONFIG PRESET DIM BLOCK FN MODEL WEIGHTS
%token <name> TRAIN EVAL GENERATE EXPLAIN INFER

%type <expr> expr tern or and not cmp bor band sum mul neg pow post prim
%type <expr> exprs elem_args expr_ring sub subs dimx dimxs shape opt_bound opt_init opt_on opt_every
%type <arg> arg args
%type <type> type types opt_result
%type <param> param params
%type <names> name names used_name used_names path
%type <stmt> body opt_body stmts stmt setting require
%type <ctor> ctor
%type <config> cfg cfgs
%type <set> set sets opt_with
%type <item> item items dimdecl dimdecls
%type <name> opt_at opt_text opt_as opt_name entry
%type <op> cmp_op

%%
file: %empty | items ;
items: item END { build_items(s, $1); }
	| items item END { build_items(s, $2); } ;

item: USE used_names FROM STRING opt_with { $$ = build_use(s, loc_join(@1, @4), ring_open($2), $4, @4, $5); }
	| CONFIG LBRACE cfgs RBRACE { $$ = build_item(s, I_CONFIG, @1); $$->config = ring_open($3); }
	| PRESET NAME LBRACE sets RBRACE { $$ = build_named(s, I_PRESET, @1, $2, @2); $$->sets = ring_open($4); }
	| DIM dimdecls { $$ = ring_open($2); }
	| REQUIRE expr opt_text { $$ = build_item(s, I_REQUIRE, @$); $$->expr = $2; $$->text = $3; }
	| BLOCK NAME params ARROW type body
		{ $$ = build_block(s, I_BLOCK, loc_join(@1, @5), $2, @2, NULL, $3, $5, $6); }
	| BLOCK NAME params params ARROW type body
		{ $$ = build_block(s, I_BLOCK, loc_join(@1, @6), $2, @2, $3, $4, $6, $7); }
	| MODEL NAME params ARROW type body
		{ $$ = build_block(s, I_MODEL, loc_join(@1, @5), $2, @2, NULL, $3, $5, $6); }
	| FN NAME params ARROW type ASSIGN expr
		{ $$ = build_block(s, I_FN, loc_join(@1, @5), $2, @2, NULL, $3, $5, NULL); $$->expr = $7; }
	| WEIGHTS body { $$ = build_item(s, I_WEIGHTS, @1); $$->body = $2; }
	| entry opt_name params opt_result body
		{ $$ = build_block(s, I_ENTRY, loc_join(@1, @4), $2, @2, NULL, $3, $4, $5); $$->entry = $1; }
	| error { RECOVER; $$ = NULL; }
	| USE error { RECOVER; $$ = NULL; }
	| CONFIG error { RECOVER; $$ = NULL; }
	| PRESET error { RECOVER; $$ = NULL; }
	| DIM error { RECOVER; $$ = NULL; }
	| BLOCK error opt_body { $$ = NULL; }
	| MODEL error opt_body { $$ = NULL; }
	| FN error { RECOVER; $$ = NULL; }
	| WEIGHTS error opt_body { $$ = NULL; }
	| entry error opt_body { $$ = NULL; } ;
entry: TRAIN | EVAL | GENERATE | EXPLAIN | INFER ;
opt_name: %empty { $$ = NULL; } | NAME ;
opt_with: %empty { $$ = NULL; } | WITH LBRACE sets RBRACE { $$ = ring_open($3); } ;
opt_text: %empty { $$ = NULL; } | COMMA STRING { $$ = $2; } ;
opt_result: %empty { $$ = NULL; } | ARROW type { $$ = $2; } ;

cfgs: cfg { $$ = ring_one($1); } | cfgs NL cfg { $$ = ring_add($1, ring_one($3)); } ;
cfg: NAME COLON type ASSIGN expr { $$ = build_config(s, @1, $1, $3, $5, NULL, @$, NULL); }
	| NAME COLON type ASSIGN expr STRING { $$ = build_config(s, @1, $1, $3, $5, NULL, @$, $6); }
	| NAME COLON type ASSIGN expr FROM path { $$ = build_config(s, @1, $1, $3, $5, ring_open($7), @7, NULL); }
	| NAME COLON type ASSIGN expr FROM path STRING { $$ = build_config(s, @1, $1, $3, $5, ring_open($7), @7, $8); }
	| error { RECOVER; $$ = NULL; } ;
path: name { $$ = ring_one($1); } | path DOT name { $$ = ring_add($1, ring_one($3)); } ;
sets: set { $$ = ring_one($1); } | sets NL set { $$ = ring_add($1, ring_one($3)); } ;
set: NAME ASSIGN expr { $$ = build_set(s, @1, $1, $3); } | error { RECOVER; $$ = NULL; } ;

dimdecls: dimdecl { $$ = ring_one($1); } | dimdecls COMMA dimdecl { $$ = ring_add($1, ring_one($3)); } ;
dimdecl: name opt_bound { $$ = build_dim(s, @$, $1, $2); } ;
opt_bound: %empty { $$ = NULL; } | LE expr { $$ = $2; } ;

params: LPAREN param RPAREN { $$ = ring_open($2); }
	| LPAREN error RPAREN { yyerrok; $$ = NULL; } ;
param: NAME COLON type opt_init { $$ = ring_one(build_param(s, @1, $1, $3, $4)); }
	| param COMMA NAME COLON type opt_init { $$ = ring_add($1, ring_one(build_param(s, @3, $3, $5, $6))); } ;
opt_init: %empty { $$ = NULL; } | ASSIGN expr { $$ = $2; } ;

type: NAME { $$ = build_type(s, @$, $1, NULL, false, false, NULL); }
	| NAME shape { $$ = build_type(s, @$, $1, NULL, false, true, $2); }
	| NAME elem_args { $$ = build_type(s, @$, $1, $2, false, false, NULL); }
	| NAME elem_args shape { $$ = build_type(s, @$, $1, $2, false, true, $3); }
	| NAME elem_args QUESTION { $$ = build_type(s, @$, $1, $2, true, false, NULL); }
	| NAME elem_args QUESTION shape { $$ = build_type(s, @$, $1, $2, true, true, $4); }
	| shape { $$ = build_type(s, @$, NULL, NULL, false, true, $1); }
	| LPAREN types RPAREN { $$ = build_tuple(s, @$, ring_open($2)); }
	| LPAREN error RPAREN { yyerrok; $$ = build_tuple(s, @$, NULL); } ;
elem_args: LPAREN exprs RPAREN { $$ = $2; }   /* a rule of its own, or an error after it would be taken for one in it */
	| LPAREN error RPAREN { yyerrok; $$ = NULL; } ;
types: type COMMA type { $$ = ring_add(ring_one($1), ring_one($3)); }
	| types COMMA type { $$ = ring_add($1, ring_one($3)); } ;
shape: LBRACKET RBRACKET { $$ = NULL; }
	| LBRACKET dimxs RBRACKET { $$ = ring_open($2); }
	| LBRACKET error RBRACKET { yyerrok; $$ = build_expr(s, E_ERROR, @2); } ;
dimxs: dimx { $$ = ring_one($1); } | dimxs COMMA dimx { $$ = ring_add($1, ring_one($3)); } ;
dimx: expr | ELLIPSIS { $$ = build_expr(s, E_ELLIPSIS, @$); } ;

body: LBRACE stmts RBRACE { $$ = ring_open($2); } ;
opt_body: %empty { RECOVER; $$ = NULL; } | body ;
stmts: stmt { $$ = ring_one($1); } | stmts NL stmt { $$ = ring_add($1, ring_one($3)); } ;
stmt: names COLON ctor opt_at { $$ = build_declare(s, @$, ring_open($1), $3, $4, @4); }
	| names ASSIGN exprs { $$ = build_stmt(s, S_ASSIGN, @$, ring_open($1), $3); }
	| NAME ADD_TO expr { $$ = build_stmt(s, S_ADD, @$, build_name(s, @1, $1), $3); }
	| RETURN exprs { $$ = build_stmt(s, S_RETURN, @$, NULL, $2); }
	| FOR name IN expr DOTDOT expr body { $$ = build_for(s, loc_join(@1, @6), $2, $4, $6, $7); }
	| IF expr body { $$ = build_if(s, loc_join(@1, @2), $2, $3, NULL); }
	| IF expr body ELSE body { $$ = build_if(s, loc_join(@1, @2), $2, $3, $5); }
	| require
	| setting
	| error { RECOVER; $$ = build_stmt(s, S_ERROR, @$, NULL, NULL); }
	| FOR error opt_body { $$ = build_stmt(s, S_ERROR, @1, NULL, NULL); }
	| IF error opt_body { $$ = build_stmt(s, S_ERROR, @1, NULL, NULL); }
	| IF error body ELSE body { $$ = build_stmt(s, S_ERROR, @1, NULL, NULL); } ;
require: REQUIRE expr opt_text { $$ = build_stmt(s, S_REQUIRE, @$, NULL, $2); $$->text = $3; } ;
setting: NAME opt_on opt_every { $$ = build_setting(s, @$, $1, NULL, $2, $3); }
	| NAME args opt_on opt_every { $$ = build_setting(s, @$, $1, ring_open($2), $3, $4); } ;
opt_on: %empty { $$ = NULL; } | ON exprs { $$ = $2; } ;
opt_every: %empty { $$ = NULL; } | EVERY expr { $$ = $2; } ;
opt_at: %empty { $$ = NULL; } | AT STRING { $$ = $2; @$ = @2; } ;
name: NAME { $$ = build_name(s, @1, $1); } ;
names: name { $$ = ring_one($1); } | names COMMA name { $$ = ring_add($1, ring_one($3)); } ;
used_name: name opt_as { $$ = $1; $$->as = $2; } ;
used_names: used_name { $$ = ring_one($1); } | used_names COMMA used_name { $$ = ring_add($1, ring_one($3)); } ;
ctor: expr { $$ = build_ctor(s, @$, $1); }
	| REPEAT expr opt_as OF ctor { $$ = build_repeat(s, @$, $2, $3, $5); }
	| PARAM type opt_init { $$ = build_weight(s, @$, $2, $3); } ;
opt_as: %empty { $$ = NULL; } | AS NAME { $$ = $2; } ;

exprs: expr_ring { $$ = ring_open($1); } ;
expr_ring: expr { $$ = ring_one($1); } | expr_ring COMMA expr { $$ = ring_add($1, ring_one($3)); } ;
args: arg { $$ = ring_one($1); } | args COMMA arg { $$ = ring_add($1, ring_one($3)); } ;
arg: expr { $$ = build_arg(s, @$, NULL, $1); }
	| NAME ASSIGN expr { $$ = build_arg(s, @1, $1, $3); } ;

expr: tern | tern ARROW tern { $$ = build_op(s, E_ARROW, @$, $1, $3, NULL); } ;
tern: or | or IF or ELSE tern { $$ = build_op(s, E_TERNARY, @$, $1, $3, $5); } ;
or: and | or OR and { $$ = build_binary(s, @$, B_OR, $1, $3); } ;
and: not | and AND not { $$ = build_binary(s, @$, B_AND, $1, $3); } ;
not: cmp | NOT not { $$ = build_unary(s, @$, B_NOT, $2); } ;
cmp: bor | bor cmp_op bor { $$ = build_binary(s, @$, (BinOp)$2, $1, $3); } ;
cmp_op: EQ { $$ = B_EQ; } | NE { $$ = B_NE; } | LT { $$ = B_LT; } | GT { $$ = B_GT; } | LE { $$ = B_LE; } | GE { $$ = B_GE; } ;
bor: band | bor BAR band { $$ = build_binary(s, @$, B_MASK_OR, $1, $3); } ;
band: sum | band AMP sum { $$ = build_binary(s, @$, B_MASK_AND, $1, $3); } ;
sum: mul | sum PLUS mul { $$ = build_binary(s, @$, B_ADD, $1, $3); } | sum MINUS mul { $$ = build_binary(s, @$, B_SUB, $1, $3); } ;
mul: neg | mul STAR neg { $$ = build_binary(s, @$, B_MUL, $1, $3); } | mul SLASH neg { $$ = build_binary(s, @$, B_DIV, $1, $3); }
	| mul PERCENT neg { $$ = build_binary(s, @$, B_MOD, $1, $3); } | mul AT_SIGN neg { $$ = build_binary(s, @$, B_MATMUL, $1, $3); } ;
neg: pow | MINUS neg { $$ = build_unary(s, @$, B_NEG, $2); } ;
pow: post | post CARET neg { $$ = build_binary(s, @$, B_POW, $1, $3); } ;
post: prim
	| post LPAREN RPAREN { $$ = build_call(s, @$, $1, NULL); }
	| post LPAREN args RPAREN { $$ = build_call(s, @$, $1, ring_open($3)); }
	| post LPAREN error RPAREN { yyerrok; $$ = build_expr(s, E_ERROR, @$); }
	| post LBRACKET subs RBRACKET { $$ = build_index(s, @$, $1, ring_open($3)); }
	| post LBRACKET error RBRACKET { yyerrok; $$ = build_expr(s, E_ERROR, @$); }
	| post DOT NAME { $$ = build_op(s, E_FIELD, @$, $1, NULL, NULL); $$->name = $3; } ;
subs: sub { $$ = ring_one($1); } | subs COMMA sub { $$ = ring_add($1, ring_one($3)); } ;
sub: expr
	| ELLIPSIS { $$ = build_expr(s, E_ELLIPSIS, @$); }
	| COLON { $$ = build_op(s, E_SLICE, @$, NULL, NULL, NULL); }
	| expr COLON { $$ = build_op(s, E_SLICE, @$, $1, NULL, NULL); }
	| COLON expr { $$ = build_op(s, E_SLICE, @$, NULL, $2, NULL); }
	| expr COLON expr { $$ = build_op(s, E_SLICE, @$, $1, $3, NULL); } ;
prim: NAME { $$ = build_expr(s, E_NAME, @$); $$->name = $1; }
	| NUMBER { $$ = build_expr(s, E_NUMBER, @$); $$->number = $1.value; $$->integer = $1.integer; $$->is_int = $1.is_int; }
	| STRING { $$ = build_expr(s, E_STRING, @$); $$->name = $1; }
	| TRUE { $$ = build_expr(s, E_TRUE, @$); }
	| FALSE { $$ = build_expr(s, E_FALSE, @$); }
	| NONE { $$ = build_expr(s, E_NONE, @$); }
	| LPAREN expr RPAREN { $$ = $2; }
	| LPAREN error RPAREN { yyerrok; $$ = build_expr(s, E_ERROR, @$); }
	| LBRACKET RBRACKET { $$ = build_list(s, @$, NULL); }
	| LBRACKET exprs RBRACKET { $$ = build_list(s, @$, $2); }
	| LBRACKET error RBRACKET { yyerrok; $$ = build_expr(s, E_ERROR, @$); } ;
%%

static int yylex(YYSTYPE *value, Loc *loc, Syntax *s)
{
	int kind = token_feed(s);
	Token t = s->tokens.at[s->pos];
	*loc = token_loc(s, t);
	if (kind == T_NUMBER)
		token_number(s->src, t, &value->number.value, &value->number.integer, &value->number.is_int);
	else if (kind == T_NAME || kind == T_STRING)
		value->name = token_string(s, t);
	else if (kind >= T_TRAIN && kind <= T_INFER)
		value->name = intern(keyword_text(kind));
	return kind;
}

static int yyreport_syntax_error(const yypcontext_t *context, Syntax *s)
{
	yysymbol_kind_t expected[YYNTOKENS];
	bool is_expected[YYNTOKENS] = {false}, want[TOKEN_KINDS] = {false};
	int n = yypcontext_expected_tokens(context, expected, YYNTOKENS);
	for (int i = 0; i < n; i++)
		is_expected[expected[i]] = true;
	for (int kind = T_BAD; kind <= T_INFER; kind++)
		want[kind] = is_expected[YYTRANSLATE(kind)];
	syntax_error(s, want);
	return 0;
}

/* Bison's own: only that its stack is full. */
static void yyerror(Loc *loc, Syntax *s, const char *text)
{
	if (syntax_failed(s)) {
		diag_error(*loc, "E0109", "this nests too deeply to be read");
		diag_help("give parts of it names of their own");
	}
	s->stop = true;
}

/* The comment at the very start of the file, without its `#`s. Blanks around its lines don't count: formatting takes
 * them away. */
static const char *leading_comment(Arena *arena, const Source *src)
{
	Str doc = {0};
	const char *p = src->text, *end = src->text + src->len;
	p += src->len >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3) ? 3 : 0;
	p += strspn(p, " \t\r\n");
	while (p < end && *p == '#') {
		const char *line = p + 1, *stop = memchr(p, '\n', (size_t)(end - p));
		stop = stop ? stop : end;
		p = stop < end ? stop + 1 : end;
		p += strspn(p, " \t\r");
		line += line < stop && *line == ' ';
		while (stop > line && strchr(" \t\r", stop[-1]))
			stop--;
		str_printf(&doc, "%s%.*s", doc.len ? "\n" : "", (int)(stop - line), line);
	}
	const char *kept = doc.len ? arena_strndup(arena, doc.at, doc.len) : NULL;
	str_free(&doc);
	return kept;
}

static void members_count(Syntax *s)
{
	int n = 0;
	for (int i = 0; i < s->tokens.len; i++)
		n += s->tokens.at[i].kind == T_NL || s->tokens.at[i].kind == T_END || s->tokens.at[i].kind == T_COMMA;
	if (n <= MAX_MEMBERS)
		return;
	diag_error((Loc){s->src, 0, 0}, "E0111", "this file has %d statements and list members; %d are the limit", n, MAX_MEMBERS);
	s->stop = true;
}

File *parse_text(Arena *arena, const Source *src)
{
	Syntax *s = NEW(arena, Syntax);
	*s = (Syntax){.arena = arena, .src = src, .file = NEW(arena, File), .pos = -1};
	s->file->src = src;
	lex_tokens(s);
	if (!s->stop)
		brackets_match(s);
	if (!s->stop)
		lines_cut(s);
	if (!s->stop)
		members_count(s);
	if (!s->stop) {
		s->file->doc = leading_comment(arena, src);
		yyparse(s);
	}
	return s->file;
}

File *parse_file(Arena *arena, const char *path)
{
	Source *src = source_read(arena, path);
	return src ? parse_text(arena, src) : NULL;
}
