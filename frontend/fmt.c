/* fmt.c: the one layout of a model file. Lines and comments are the author's; indentation, blanks and columns are not:
 * neighbouring declarations, config values, settings, one-line presets and comments stand in columns, unless what is
 * before them differs too much in width. Neither tokens nor their statements change, which is checked. */
#include "frontend/fmt.h"
#include "frontend/frontend.h"
#include "frontend/parse.h"

enum { INDENT = 2, HANG = 4, COMMENT_GAP = 2 };

/* Rows whose widths before a column differ by more than this do not share it. */
static const int tolerance[CELL_COUNT] = {
	[CELL_CTOR] = 14, [CELL_AT] = 40, [CELL_TYPE] = 12, [CELL_VALUE] = 12, [CELL_FROM] = 24, [CELL_DOC] = 50, [CELL_ARGS] = 12,
	[CELL_BRACE] = 12, [CELL_SET ... CELL_LAST_SET] = 20,
};
enum { COMMENT_TOLERANCE = 40 };

static int width(const Source *src, uint32_t at, uint32_t end)
{
	int n = 0;
	for (; at < end; at++)
		n += ((unsigned char)src->text[at] & 0xC0) != 0x80;
	return n;
}

/* Where piece i of a row begins; with i one past its last piece, where the row ends. */
static int column_of(const Layout *l, const Row *row, int i)
{
	int col = row->indent;
	for (int k = row->first; k < i; k++) {
		const Piece *p = &l->pieces.at[k];
		if (k > row->first)
			col = p->column >= 0 ? p->column : col + p->semi + p->gap;
		col += width(l->src, p->at, p->end);
	}
	if (i == row->first + row->n)
		return col;
	const Piece *p = &l->pieces.at[i];
	return i == row->first ? col : p->column >= 0 ? p->column : col + p->semi + p->gap;
}

static int find_cell(const Layout *l, const Row *row, int cell)
{
	for (int i = row->first; i < row->first + row->n; i++)
		if (l->pieces.at[i].cell == cell)
			return i;
	return -1;
}

static bool same_text(const Layout *l, const Piece *a, const Piece *b)
{
	uint32_t n = a->end - a->at;
	return n == b->end - b->at && memcmp(l->src->text + a->at, l->src->text + b->at, n) == 0;
}

/* Presets share the column of a setting if they set the same names up to it. */
static bool same_sets(const Layout *l, const Row *a, const Row *b, int cell)
{
	for (int c = CELL_BRACE; c <= cell; c++) {
		int i = find_cell(l, a, c), k = find_cell(l, b, c);
		if (i < 0 || k < 0)
			return false;
		i += c == CELL_BRACE;   /* the name behind the brace */
		k += c == CELL_BRACE;
		if (!same_text(l, &l->pieces.at[i], &l->pieces.at[k]))
			return false;
	}
	return true;
}

/* A row's piece that begins a cell, and the first column it could stand in. */
typedef struct Member { Piece *piece; const Row *row; int at; } Member;

/* Puts members [lo, hi) into one column; where they differ too much, apart at the widest step between neighbours. */
static void share_column(Member *m, int lo, int hi, int differ)
{
	int least = m[lo].at, most = m[lo].at, step = 0, cut = lo;
	for (int i = lo + 1; i < hi; i++) {
		int d = m[i].at > m[i - 1].at ? m[i].at - m[i - 1].at : m[i - 1].at - m[i].at;
		cut = d > step ? i : cut;
		step = MAX(step, d);
		least = MIN(least, m[i].at);
		most = MAX(most, m[i].at);
	}
	if (most - least > differ) {
		share_column(m, lo, cut, differ);
		share_column(m, cut, hi, differ);
		return;
	}
	for (int i = lo; i < hi; i++)
		m[i].piece->column = most;
}

enum { MOST_ROWS = 500 };   /* in one column: share_column() may take the square of it */

static void align_cell(Layout *l, int from, int to, int cell)
{
	Member m[MOST_ROWS];
	int n = 0;
	for (int r = from; r < to; r++) {
		const Row *row = &l->rows.at[r];
		bool apart = row->continues || (row->several && row->group != GROUP_PRESET);
		int i = apart ? -1 : find_cell(l, row, cell);
		if (i < 0)
			continue;
		if (n == MOST_ROWS || (n && cell >= CELL_SET && !same_sets(l, m[0].row, row, cell))) {
			share_column(m, 0, n, tolerance[cell]);
			n = 0;
		}
		m[n++] = (Member){&l->pieces.at[i], row, column_of(l, row, i)};
	}
	if (n)
		share_column(m, 0, n, tolerance[cell]);
}

/* Rows [from, result) can share columns: no empty line, comment line or other depth or group between them. */
static int run_end(const Layout *l, int from)
{
	const Row *first = &l->rows.at[from];
	int r = from + 1;
	for (; r < l->rows.len; r++) {
		const Row *row = &l->rows.at[r];
		if (!row->continues && (row->blank || row->n == 0 || row->depth != first->depth || row->group != first->group))
			break;
	}
	return r;
}

static void align_columns(Layout *l)
{
	for (int from = 0, to; from < l->rows.len; from = to) {
		to = run_end(l, from);
		if (l->rows.at[from].group != GROUP_NONE)
			for (int cell = CELL_NONE + 1; cell < CELL_COUNT; cell++)
				align_cell(l, from, to, cell);
	}
}

/* After an operator or a comma: under the arguments of a setting, else deeper than the statement. */
static int operator_indent(const Layout *l, int r)
{
	const Row *row = &l->rows.at[r], *home = &l->rows.at[row->home];
	int args = home->n ? find_cell(l, home, CELL_ARGS) : -1;
	return args >= 0 ? column_of(l, home, args) : INDENT * row->depth + HANG;
}

/* Inside ( and [, rows begin behind the bracket, or one step deeper than its row where nothing follows it there. */
static int continued_indent(Layout *l, int r)
{
	const Row *row = &l->rows.at[r];
	if (row->opener < 0)
		return operator_indent(l, r);
	const Row *home = &l->rows.at[row->home];
	bool last = row->opener == home->first + home->n - 1;
	int kind = row->n ? l->pieces.at[row->first].kind : T_EOF;
	bool closes = kind == T_RPAREN || kind == T_RBRACKET;
	if (last)
		return home->indent + (closes ? 0 : INDENT);
	if (l->known != row->opener)
		l->known_column = column_of(l, home, row->opener);
	l->known = row->opener;
	return l->known_column + !closes;
}

static void indent_rows(Layout *l, bool continued)
{
	for (int r = 0; r < l->rows.len; r++) {
		Row *row = &l->rows.at[r];
		if (row->continues == continued)
			row->indent = continued ? continued_indent(l, r) : INDENT * row->depth;
	}
}

static void put_blanks(Str *out, int n)
{
	str_printf(out, "%*s", n, "");
}

static void put_row(Str *out, const Layout *l, const Row *row, int comment_column)
{
	const char *text = l->src->text;
	int col = row->indent;
	put_blanks(out, row->indent);
	for (int i = row->first; i < row->first + row->n; i++) {
		const Piece *p = &l->pieces.at[i];
		int to = i == row->first ? col : p->column >= 0 ? p->column : col + p->semi + p->gap;
		str_puts(out, p->semi ? ";" : "");
		put_blanks(out, to - col - p->semi);
		str_put(out, text + p->at, p->end - p->at);
		col = to + width(l->src, p->at, p->end);
	}
	if (row->comment_end) {
		put_blanks(out, row->n ? comment_column - col : 0);
		str_put(out, text + row->comment, row->comment_end - row->comment);
	}
	str_puts(out, "\n");
}

/* Where the comments of rows from `from` on stand, until *to: one column for those with little between their widths. */
static int comment_column(const Layout *l, int from, int *to)
{
	int least = 0, most = 0, r = from;
	bool any = false;
	for (; r < l->rows.len; r++) {
		const Row *row = &l->rows.at[r];
		if (r > from && (row->blank || row->n == 0 || row->depth != l->rows.at[from].depth))
			break;
		if (!row->n || !row->comment_end)
			continue;
		int at = column_of(l, row, row->first + row->n);
		if (any && MAX(most, at) - MIN(least, at) > COMMENT_TOLERANCE)
			break;
		least = any ? MIN(least, at) : at;
		most = any ? MAX(most, at) : at;
		any = true;
	}
	*to = r;
	return most + COMMENT_GAP;
}

static void put_rows(Str *out, const Layout *l)
{
	for (int r = 0, to; r < l->rows.len; r = to) {
		int column = comment_column(l, r, &to);
		for (int i = r; i < to; i++) {
			str_puts(out, l->rows.at[i].blank ? "\n" : "");
			put_row(out, l, &l->rows.at[i], column);
		}
	}
}

/* The file's tokens, brackets matched and lines cut. */
static Syntax *read_tokens(Arena *a, const Source *src)
{
	Syntax *s = NEW(a, Syntax);
	*s = (Syntax){.arena = a, .src = src, .pos = -1};
	lex_tokens(s);
	brackets_match(s);
	lines_cut(s);
	return s;
}

static void check_same(Arena *a, const Syntax *before, const Str *out)
{
	const Syntax *now = read_tokens(a, source_bytes(a, before->src->name, out->at, out->len));
	bool same = now->tokens.len == before->tokens.len;
	for (int i = 0; same && i < now->tokens.len; i++) {
		Token x = before->tokens.at[i], y = now->tokens.at[i];
		same = x.kind == y.kind && x.end - x.at == y.end - y.at &&
		       memcmp(before->src->text + x.at, now->src->text + y.at, x.end - x.at) == 0;
	}
	if (!same)
		bug("formatting %s would change what it says", before->src->name);
}

bool frontend_format(Arena *a, const Source *src, Str *out)
{
	int errors = diag_errors();
	parse_text(a, src);
	if (diag_errors() > errors)
		return false;
	Syntax *s = read_tokens(a, src);
	Layout l = {.arena = a, .src = src, .known = -1};
	layout_rows(s, &l);
	indent_rows(&l, false);
	align_columns(&l);
	indent_rows(&l, true);
	str_puts(out, "");
	put_rows(out, &l);
	check_same(a, s, out);
	return true;
}
