/* brackets.c: makes every bracket match. A file whose brackets match is left alone; otherwise the layout tells
 * where a missing one belongs: lines no deeper than the opener's that begin like a statement or an item end it.
 * Missing closers are inserted, stray ones dropped, wrong ones replaced, each with one E0107 or E0108. */
#include "frontend/syntax.h"
#include "frontend/parse.h"

typedef struct Frame { int opener, arrow; uint32_t indent; } Frame;   /* opener, arrow: indices in `out`; arrow 0: none */
typedef struct Match {
	Syntax *s;
	Tokens out;
	Frame frame[MAX_NEST + 1];
	int depth;
	uint32_t indent;        /* of the line being read */
	int swapped;            /* in s->tokens: a closer already reported together with the one before it */
	uint32_t blamed_at;     /* where a ( or [ was last said to be open still: several there are one mistake */
	int odd;                /* braces inside brackets, reported and not matched */
	int header;             /* in `out`: the last item that wants a body and has none; -1 */
} Match;

static bool opens(int kind)
{
	return kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE;
}

static bool closes(int kind)
{
	return kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE;
}

static int closer_of(int kind)
{
	return kind == T_LPAREN ? T_RPAREN : kind == T_LBRACKET ? T_RBRACKET : T_RBRACE;
}

/* Whether all is well: brackets match, no brace or `;` inside ( ) and [ ]. */
static bool all_match(Syntax *s)
{
	uint16_t want[MAX_NEST];
	int depth = 0;
	for (int i = 0; i < s->tokens.len; i++) {
		Token t = s->tokens.at[i];
		bool inside = depth && want[depth - 1] != T_RBRACE;
		if (inside && (t.kind == T_LBRACE || t.kind == T_SEMI))
			return false;
		if (closes(t.kind) && (!depth || want[--depth] != t.kind))
			return false;
		if (opens(t.kind) && depth == MAX_NEST)
			return false;
		if (opens(t.kind))
			want[depth++] = (uint16_t)closer_of(t.kind);
	}
	return depth == 0;
}

static int top_kind(const Match *m)
{
	return m->depth ? m->out.at[m->frame[m->depth - 1].opener].kind : T_EOF;
}

static bool in_parens(const Match *m)
{
	return m->depth && top_kind(m) != T_LBRACE;
}

static void insert(Match *m, int where, int kind)
{
	Token before = m->out.at[where - 1];
	vec_push(m->s->arena, &m->out, ((Token){0}));
	memmove(&m->out.at[where + 1], &m->out.at[where], (size_t)(m->out.len - 1 - where) * sizeof(Token));
	m->out.at[where] = (Token){.at = before.end, .end = before.end, .kind = (uint16_t)kind, .muted = true};
}

/* Ends the innermost bracket before out[where]. What is in parentheses is muted, as it may hold what follows them. */
static void close_before(Match *m, int where)
{
	Frame f = m->frame[--m->depth];
	int kind = m->out.at[f.opener].kind;
	if (kind != T_LBRACE)
		for (int i = f.opener; i < where; i++)
			m->out.at[i].muted = true;
	insert(m, where, closer_of(kind));
}

static void unclosed(Match *m, Token now, int where)
{
	Syntax *s = m->s;
	Token opener = m->out.at[m->frame[m->depth - 1].opener];
	if ((m->blamed_at != now.at || opener.kind == T_LBRACE) && syntax_failed(s)) {
		diag_error(token_loc(s, opener), "E0107", "expected %s to close the %s opened here",
		           kind_text(closer_of(opener.kind)), kind_text(opener.kind));
		if (now.kind != T_EOF)
			diag_note(token_loc(s, now), "it is still open here");
	}
	m->blamed_at = opener.kind == T_LBRACE ? m->blamed_at : now.at;
	close_before(m, where);
}

static void stray(Match *m, Token t)
{
	if (syntax_failed(m->s))
		diag_error(token_loc(m->s, t), "E0108", "this %s closes nothing", kind_text(t.kind));
	if (m->out.len)
		m->out.at[m->out.len - 1].muted = true;
}

/* A string cut at the end of the line before t has taken the closers of its line with it: said already. */
static void close_cut_line(Match *m)
{
	Token cut = m->out.at[m->out.len - 1];
	if (cut.kind != T_STRING || !cut.muted)
		return;
	const char *text = m->s->src->text;
	while (in_parens(m)) {
		uint32_t at = m->out.at[m->frame[m->depth - 1].opener].at;
		if (memchr(text + at, '\n', cut.at - at))
			return;
		close_before(m, m->out.len);
	}
}

static bool is_item(int kind)
{
	return kind >= T_USE && kind <= T_INFER;
}

/* Whether t, first on its line and inside ( or [, must begin a statement. */
static bool begins_statement(const Match *m, Token t, Token next)
{
	int before = m->out.at[m->out.len - 1].kind;
	bool joins = t.kind == T_IF || t.kind == T_ELSE || t.kind == T_AND || t.kind == T_OR;
	if (!kind_is_word(t.kind) || joins)
		return false;
	if (kind_ends_operand(before))
		return true;
	bool shallow = m->indent <= m->frame[m->depth - 1].indent;
	return shallow && (next.kind == T_ASSIGN || next.kind == T_ADD_TO || next.kind == T_COLON ||
	                   t.kind == T_RETURN || t.kind == T_FOR || is_item(t.kind));
}

/* Ends the brackets that cannot go on at t. */
static void close_missing(Match *m, Token t, Token next)
{
	if (t.first && m->out.len)
		close_cut_line(m);
	while (in_parens(m)) {
		Frame f = m->frame[m->depth - 1];
		bool brace = t.kind == T_LBRACE;
		if (!brace && t.kind != T_SEMI && t.kind != T_EOF && !(t.first && begins_statement(m, t, next)))
			return;
		unclosed(m, t, brace && f.arrow ? f.arrow : m->out.len);
	}
	while (m->depth && (t.kind == T_EOF || (t.first && is_item(t.kind) && m->indent <= m->frame[m->depth - 1].indent &&
	                                       (next.kind == T_NAME || opens(next.kind)))))
		unclosed(m, t, m->out.len);
}

/* A `}` that closes nothing may belong to a header without its `{`. */
static bool missing_brace(Match *m)
{
	int i = m->header + 1, depth = 0;
	if (m->header < 0)
		return false;
	for (; i < m->out.len && !(depth == 0 && m->out.at[i].first); i++)
		depth += opens(m->out.at[i].kind) - closes(m->out.at[i].kind);
	if (syntax_failed(m->s)) {
		Token end = m->out.at[i - 1];
		diag_error((Loc){m->s->src, end.end, end.end}, "E0107", "expected `{` to open the body");
		diag_note(token_loc(m->s, m->out.at[m->header]), "of this item");
	}
	insert(m, i, T_LBRACE);
	m->header = -1;
	return true;
}

/* `}` on a line of its own deeper than its opener's, with more of the body after it. */
static bool premature(const Match *m, Token t, Token next)
{
	uint32_t indent = m->frame[m->depth - 1].indent, after = 0;
	if (t.kind != T_RBRACE || !t.first || m->indent <= indent || !next.first || closes(next.kind))
		return false;
	while (next.at > after && m->s->src->text[next.at - after - 1] != '\n')
		after++;
	return after > indent && next.kind != T_EOF;
}

/* How many frames stay if t closes the innermost it fits, short of a brace for ) and ]; -1: it fits none. */
static int frames_below(const Match *m, int kind)
{
	for (int i = m->depth; i-- > 0;) {
		int opener = m->out.at[m->frame[i].opener].kind;
		if (closer_of(opener) == kind)
			return i;
		if (opener == T_LBRACE && kind != T_RBRACE)
			return -1;
	}
	return -1;
}

/* t closes the innermost bracket, whatever it is. */
static void close_wrong(Match *m, Token t, bool report)
{
	Token opener = m->out.at[m->frame[m->depth - 1].opener];
	if (report && syntax_failed(m->s)) {
		diag_error(token_loc(m->s, t), "E0107", "expected %s, found %s", kind_text(closer_of(opener.kind)), kind_text(t.kind));
		diag_note(token_loc(m->s, opener), "to close the %s opened here", kind_text(opener.kind));
	}
	t.kind = (uint16_t)closer_of(opener.kind);
	m->depth--;
	vec_push(m->s->arena, &m->out, t);
}

static void close_with(Match *m, int i)
{
	Token t = m->s->tokens.at[i], next = m->s->tokens.at[i + 1];
	int below = frames_below(m, t.kind);
	bool swapped = in_parens(m) && below >= 0 && below == m->depth - 2 &&
	               next.kind == closer_of(top_kind(m)) && !next.first;
	if (swapped || (in_parens(m) && i == m->swapped) || (below < 0 && in_parens(m) && t.kind != T_RBRACE)) {
		close_wrong(m, t, i != m->swapped);
		m->swapped = swapped ? i + 1 : m->swapped;
		return;
	}
	int stay = below >= 0 ? below + 1 : t.kind == T_RBRACE ? 0 : m->depth;
	while (m->depth > stay)
		unclosed(m, t, m->out.len);
	if (below < 0 && !(t.kind == T_RBRACE && missing_brace(m))) {
		stray(m, t);
		return;
	}
	m->depth -= below >= 0;
	vec_push(m->s->arena, &m->out, t);
}

static void open_with(Match *m, Token t)
{
	if (m->depth == MAX_NEST) {
		if (syntax_failed(m->s)) {
			diag_error(token_loc(m->s, t), "E0109", "brackets nest more than %d deep here", MAX_NEST);
			diag_help("give parts of this names of their own");
		}
		m->s->stop = true;
		return;
	}
	m->frame[m->depth++] = (Frame){.opener = m->out.len, .indent = m->indent};
	if (t.kind == T_LBRACE && m->depth == 1)
		m->header = -1;
	vec_push(m->s->arena, &m->out, t);
}

/* Whether the ( or [ around s->tokens.at[i] is closed on the same line. */
static bool closes_on_line(const Match *m, int i)
{
	const Token *at = m->s->tokens.at;
	int depth = 0;
	for (i++; !at[i].first; i++) {
		if (at[i].kind == T_LBRACE || at[i].kind == T_RBRACE)
			continue;
		depth += opens(at[i].kind) - closes(at[i].kind);
		if (depth < 0)
			return at[i].kind == closer_of(top_kind(m));
	}
	return false;
}

/* What can't stand inside ( ) and [ ], where these are well: `;` is taken for a comma, braces for nothing. */
static bool misplaced(Match *m, Token t, int i)
{
	bool brace = t.kind == T_LBRACE, close = t.kind == T_RBRACE && m->odd;
	if (!in_parens(m) || !(close || ((brace || t.kind == T_SEMI) && closes_on_line(m, i))))
		return false;
	if (!close && syntax_failed(m->s)) {
		diag_error(token_loc(m->s, t), "E0107", "%s cannot stand inside brackets", kind_text(t.kind));
		if (!brace)
			diag_help("it ends a statement; write `,` between values");
	}
	m->odd += brace - close;
	t.muted = true;
	t.kind = brace || close ? T_BAD : T_COMMA;
	vec_push(m->s->arena, &m->out, t);
	return true;
}

static void match_token(Match *m, int i)
{
	Token t = m->s->tokens.at[i], next = m->s->tokens.at[MIN(i + 1, m->s->tokens.len - 1)];
	if (misplaced(m, t, i))
		return;
	if (t.first) {
		m->indent = 0;
		while (t.at > m->indent && m->s->src->text[t.at - m->indent - 1] != '\n')
			m->indent++;
	}
	close_missing(m, t, next);
	if (!m->depth && t.first && is_item(t.kind))
		m->header = t.kind >= T_BLOCK && t.kind != T_FN ? m->out.len : -1;
	if (m->depth && t.kind == T_ARROW)
		m->frame[m->depth - 1].arrow = m->out.len;
	if (opens(t.kind))
		open_with(m, t);
	else if (closes(t.kind) && m->depth && premature(m, t, next))
		stray(m, t);
	else if (closes(t.kind))
		close_with(m, i);
	else
		vec_push(m->s->arena, &m->out, t);
}

void brackets_match(Syntax *s)
{
	if (all_match(s))
		return;
	Match m = {.s = s, .header = -1, .swapped = -1, .blamed_at = UINT32_MAX};
	for (int i = 0; i < s->tokens.len && !s->stop; i++)
		match_token(&m, i);
	s->tokens = m.out;
}
