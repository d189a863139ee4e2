/* fmt_rows.c: tokens to rows: which tokens share a line, and how many blanks stand between them. Line breaks of the source
 * stay, but for `{` and `else`, which join the line before; braces over several lines stand at lines' ends. */
#include "frontend/fmt.h"
#include "frontend/parse.h"

typedef enum BraceKind { BRACE_BODY, BRACE_CONFIG, BRACE_SETS } BraceKind;
typedef struct Bracket {
	int piece, row;         /* the bracket */
	int kind;               /* of its token */
	BraceKind brace;
	bool wide;              /* [ ]: commas are followed by a blank; { }: over several lines */
} Bracket;

typedef struct Rows {
	Syntax *s;
	Layout *l;
	Bracket open[MAX_NEST + 1];
	int depth, braces;      /* open brackets; braces among them */
	int pos;                /* in s->tokens */
	int start;              /* the piece that begins the statement; the first token of the item: item */
	int item;
	int statement_row;      /* that the statement begins in */
	int sets;               /* statements of the one-line preset so far */
	bool declared;          /* the statement's `:` has come */
	bool setting;           /* the statement is one: its `=` give names to arguments */
	bool boundary;          /* a statement ended before the token */
} Rows;

/* What lies between two tokens. */
typedef struct Between { bool newline, semi, comment; } Between;

static const Piece *piece(const Rows *r, int back)
{
	int i = r->l->pieces.len - back;
	return i >= 0 ? &r->l->pieces.at[i] : NULL;
}

static Row *last_row(Rows *r)
{
	return r->l->rows.len ? &r->l->rows.at[r->l->rows.len - 1] : NULL;
}

static bool in_brace(const Rows *r)
{
	return r->depth && r->open[r->depth - 1].kind == T_LBRACE;
}

static bool in_parens(const Rows *r)
{
	return r->depth && r->open[r->depth - 1].kind != T_LBRACE;
}

static BraceKind brace_kind(const Rows *r)
{
	for (int i = r->depth; i-- > 0;)
		if (r->open[i].kind == T_LBRACE)
			return r->open[i].brace;
	return BRACE_BODY;
}

static bool is_binary(int kind)
{
	return kind >= T_ARROW && kind <= T_AMP;
}

/* Whether the token is an operator between two operands, rather than a sign. */
static bool joins(const Rows *r, int kind, const Piece *before)
{
	return is_binary(kind) && !(kind == T_MINUS && before && !kind_ends_operand(before->kind));
}

static bool blank_at(const Source *src, uint32_t i)
{
	return i < src->len && (src->text[i] == ' ' || src->text[i] == '\t' || src->text[i] == '\n' || src->text[i] == '\r');
}

/* Operators whose spacing is the author's: 4*D, a + b. A blank on either side makes one on both. */
static bool spaced(const Rows *r, uint32_t at, uint32_t end)
{
	return blank_at(r->l->src, end) || (at && blank_at(r->l->src, at - 1));
}

static int operator_gap(const Rows *r, int kind, uint32_t at, uint32_t end)
{
	switch (kind) {
	case T_CARET: return 0;
	case T_PLUS: case T_MINUS: case T_STAR: case T_SLASH: case T_PERCENT: case T_AT_SIGN: return spaced(r, at, end);
	case T_ASSIGN: return !(in_parens(r) || r->setting) || spaced(r, at, end);
	default: return 1;
	}
}

/* ( and [ after what they belong to: f(x), x[0], id(V)?[B], block A(..)(..), train(..). */
static bool is_attached(const Rows *r, const Piece *before)
{
	int k = before->kind;
	bool setting = r->setting && r->l->pieces.len - 1 == r->start;
	bool entry = k >= T_TRAIN && k <= T_INFER;
	return !setting && (kind_ends_operand(k) || k == T_QUESTION || entry);
}

/* Blanks between the last piece and t. */
static int gap_before(const Rows *r, Token t)
{
	const Piece *p = piece(r, 1), *pp = piece(r, 2);
	bool in_index = r->depth && r->open[r->depth - 1].kind == T_LBRACKET;
	if (p->kind == T_LPAREN || p->kind == T_LBRACKET || t.kind == T_RPAREN || t.kind == T_RBRACKET)
		return 0;
	if (p->kind == T_COMMA && t.kind != T_COMMA)
		return !in_index || r->open[r->depth - 1].wide;
	if (t.kind == T_COMMA || t.kind == T_COLON || t.kind == T_QUESTION || t.kind == T_DOT || p->kind == T_DOT)
		return 0;
	if (p->kind == T_COLON)
		return !in_index;
	if (t.kind == T_AT)
		return 2;
	if (t.kind == T_DOTDOT || p->kind == T_DOTDOT)
		return 1;
	if (joins(r, t.kind, p))
		return operator_gap(r, t.kind, t.at, t.end);
	if (joins(r, p->kind, pp))
		return operator_gap(r, p->kind, p->at, p->end);
	if (p->kind == T_MINUS)
		return 0;
	if (t.kind == T_LPAREN || t.kind == T_LBRACKET)
		return !is_attached(r, p);
	return 1;
}

/* Columns */

static Cell config_cell(const Rows *r, Token t)
{
	const Piece *p = piece(r, 1);
	if (p->kind == T_COLON)
		return CELL_TYPE;
	if (t.kind == T_ASSIGN)
		return CELL_VALUE;
	if (t.kind == T_FROM)
		return CELL_FROM;
	return t.kind == T_STRING && p->kind != T_ASSIGN && !joins(r, p->kind, piece(r, 2)) ? CELL_DOC : CELL_NONE;
}

static Cell body_cell(Rows *r, Token t)
{
	const Piece *p = piece(r, 1);
	if (p->kind == T_COLON && !r->declared) {
		r->declared = true;
		return CELL_CTOR;
	}
	if (t.kind == T_AT)
		return CELL_AT;
	return r->setting && r->l->pieces.len - 1 == r->start ? CELL_ARGS : CELL_NONE;
}

/* The column that t begins, which stays on its row. Only the first statement of a row has some, but for presets. */
static Cell cell_of(Rows *r, Token t)
{
	const Row *row = last_row(r);
	bool first = row->first == r->start && !row->continues;
	if (row->group == GROUP_PRESET && t.kind == T_LBRACE)
		return CELL_BRACE;
	if (row->group == GROUP_PRESET && r->boundary && in_brace(r))
		return ++r->sets <= CELL_LAST_SET - CELL_SET ? CELL_SET + r->sets - 1 : CELL_NONE;
	if (!in_brace(r) || !first || t.kind == T_LBRACE)
		return CELL_NONE;
	if (row->group == GROUP_CONFIG)
		return config_cell(r, t);
	return row->group == GROUP_BODY ? body_cell(r, t) : CELL_NONE;
}

static int cell_gap(Cell cell, int otherwise)
{
	return cell == CELL_FROM || cell == CELL_DOC || cell == CELL_AT ? 2 : otherwise;
}

/* Rows */

static Row new_row(const Rows *r, int closes)
{
	bool inside = in_parens(r);
	return (Row){.first = r->l->pieces.len, .depth = r->braces - closes, .opener = inside ? r->open[r->depth - 1].piece : -1,
	             .home = inside ? r->open[r->depth - 1].row : r->statement_row};
}

static void add_comment(Rows *r, uint32_t at, uint32_t end, bool own_row, bool blank, bool closing)
{
	const char *text = r->l->src->text;
	while (end > at && (text[end - 1] == ' ' || text[end - 1] == '\t' || text[end - 1] == '\r'))
		end--;
	Row *last = last_row(r);
	if (own_row || !last) {
		Row row = new_row(r, 0);
		const Piece *p = piece(r, 1);
		row.continues = in_parens(r) || (p && !r->boundary && !closing && p->kind != T_LBRACE && p->kind != T_RBRACE);
		row.blank = blank && last && !row.continues;
		vec_push(r->l->arena, &r->l->rows, row);
		last = last_row(r);
	}
	last->comment = at;
	last->comment_end = end;
}

/* Reads what lies between the last piece and t: comments become rows or end the last one. *blank: an empty line before t. */
static Between read_between(Rows *r, Token t, bool *blank)
{
	Between b = {0};
	const char *text = r->l->src->text;
	const Piece *p = piece(r, 1);
	int lines = p ? 0 : 1;
	bool opened = p && p->kind == T_LBRACE && in_brace(r);
	uint32_t i = p ? p->end : r->l->src->len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0;
	for (; i < t.at; i++) {
		if (text[i] == '\n') {
			lines++;
			b.newline = true;
		}
		b.semi |= text[i] == ';';
		if (text[i] != '#')
			continue;
		uint32_t end = i;
		while (end < t.at && text[end] != '\n')
			end++;
		add_comment(r, i, end, lines > 0, lines > 1 && !opened, t.kind == T_RBRACE || t.kind == T_EOF);
		b.comment = true;
		opened = false;
		lines = 0;
		i = end - 1;
	}
	*blank = lines > 1 && !opened && t.kind != T_RBRACE;
	return b;
}

/* Whether t begins a row. */
static bool breaks(const Rows *r, Token t, Between b)
{
	const Piece *p = piece(r, 1);
	if (!p || b.comment)
		return true;
	bool many = in_brace(r) && r->open[r->depth - 1].wide;
	if ((p->kind == T_LBRACE || t.kind == T_RBRACE) && in_brace(r))
		return many;
	if (t.kind == T_LBRACE || (t.kind == T_ELSE && p->kind == T_RBRACE))
		return false;
	return b.newline || (r->boundary && p->kind == T_RBRACE && many);
}

/* Whether the brackets that begin with token i hold a line break. Strings hold none. */
static bool over_lines(const Rows *r, int i, int *closer)
{
	const Token *at = r->s->tokens.at;
	int depth = 0;
	for (int k = i;; k++) {
		int kind = at[k].kind;
		depth += (kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE) - (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE);
		if (depth == 0 || kind == T_EOF) {
			*closer = k;
			return memchr(r->l->src->text + at[i].at, '\n', at[k].at - at[i].at) != NULL;
		}
	}
}

static bool comma_is_wide(const Rows *r, int i)
{
	const Token *at = r->s->tokens.at;
	int depth = 0;
	for (int k = i; at[k].kind != T_EOF; k++) {
		int kind = at[k].kind;
		depth += (kind == T_LPAREN || kind == T_LBRACKET) - (kind == T_RPAREN || kind == T_RBRACKET);
		if (depth == 0)
			return false;
		if (depth == 1 && kind == T_COMMA && r->l->src->text[at[k].end] == ' ')
			return true;
	}
	return false;
}

/* A name that goes on neither as a declaration nor as an assignment. */
static bool is_setting(const Rows *r, Token t)
{
	int next = r->s->tokens.at[r->pos + 1].kind;
	return in_brace(r) && brace_kind(r) == BRACE_BODY && t.kind == T_NAME && next != T_COLON && next != T_COMMA &&
	       next != T_ASSIGN && next != T_ADD_TO;
}

static void track(Rows *r, Token t)
{
	int closer, kind = t.kind;
	if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE) {
		r->depth--;
		r->braces -= kind == T_RBRACE;
	}
	if (kind != T_LPAREN && kind != T_LBRACKET && kind != T_LBRACE)
		return;
	Bracket o = {.piece = r->l->pieces.len - 1, .row = r->l->rows.len - 1, .kind = kind};
	int item = r->l->pieces.at[r->item].kind;
	o.brace = item == T_CONFIG ? BRACE_CONFIG : item == T_PRESET || item == T_USE ? BRACE_SETS : BRACE_BODY;
	o.wide = kind == T_LBRACKET ? comma_is_wide(r, r->pos) : kind == T_LBRACE && over_lines(r, r->pos, &closer);
	r->open[r->depth++] = o;
	r->braces += kind == T_LBRACE;
}

/* The brace of the item that begins with the token at r->pos is closed on the same line. */
static bool one_line_body(const Rows *r)
{
	int closer;
	for (int i = r->pos; r->s->tokens.at[i].kind != T_END && r->s->tokens.at[i].kind != T_EOF; i++)
		if (r->s->tokens.at[i].kind == T_LBRACE)
			return !over_lines(r, i, &closer);
	return true;
}

static bool wants_blank(const Rows *r, Token t)
{
	return r->depth == 0 && (t.kind == T_BLOCK || t.kind == T_MODEL || t.kind == T_WEIGHTS || (t.kind >= T_TRAIN && t.kind <= T_INFER)) &&
	       !one_line_body(r);
}

/* An empty line before the row to come, or before the comments that stand directly on it. */
static void blank_above(Rows *r, Row *row)
{
	Row *at = row;
	for (int i = r->l->rows.len; i-- > 0 && !at->blank; at = &r->l->rows.at[i])
		if (r->l->rows.at[i].n)
			break;
	if (at != r->l->rows.at)
		at->blank = true;
}

static void begin_row(Rows *r, Token t, bool blank)
{
	bool new_statement = !piece(r, 1) || r->boundary || piece(r, 1)->kind == T_LBRACE;
	Row row = new_row(r, t.kind == T_RBRACE);
	row.continues = !new_statement && t.kind != T_RBRACE;
	row.blank = blank && r->l->rows.len && !row.continues;
	if (new_statement && in_brace(r) && brace_kind(r) != BRACE_SETS)
		row.group = brace_kind(r) == BRACE_CONFIG ? GROUP_CONFIG : GROUP_BODY;
	if (r->depth == 0 && t.kind == T_PRESET && one_line_body(r))
		row.group = GROUP_PRESET;
	if (!row.blank && r->l->rows.len && new_statement && wants_blank(r, t))
		blank_above(r, &row);
	vec_push(r->l->arena, &r->l->rows, row);
}

static void add_token(Rows *r, Token t)
{
	bool blank;
	Between b = read_between(r, t, &blank);
	if (t.kind == T_EOF)
		return;
	Piece p = {.at = t.at, .end = t.end, .kind = t.kind, .column = -1};
	bool fresh = breaks(r, t, b);
	bool starts = !piece(r, 1) || r->boundary || (piece(r, 1)->kind == T_LBRACE && in_brace(r));
	if (fresh) {
		begin_row(r, t, blank);
	} else {
		p.semi = r->boundary;
		p.cell = (uint8_t)cell_of(r, t);
		p.gap = (uint8_t)cell_gap(p.cell, p.semi ? 1 : gap_before(r, t));
	}
	if (starts) {
		r->start = r->l->pieces.len;
		r->statement_row = r->l->rows.len - 1;
		r->declared = false;
		r->setting = is_setting(r, t);
	}
	if (starts && r->depth == 0) {
		r->item = r->l->pieces.len;
		r->sets = 0;
	}
	vec_push(r->l->arena, &r->l->pieces, p);
	last_row(r)->n++;
	last_row(r)->several |= p.semi;
	track(r, t);
	r->boundary = false;
}

void layout_rows(Syntax *s, Layout *l)
{
	Rows r = {.s = s, .l = l};
	for (int i = 0; i < s->tokens.len; i++) {
		Token t = s->tokens.at[i];
		r.pos = i;
		if (t.kind == T_NL || t.kind == T_END)
			r.boundary = true;
		else
			add_token(&r, t);
	}
}
