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
	if (syntax_failed(s)) {
		diag_error(token_loc(s, opener), "E0107", "expected %s to close the %s opened here",
		           kind_text(closer_of(opener.kind)), kind_text(opener.kind));
		if (now.kind != T_EOF)
			diag_note(token_loc(s, now), "it is still open here");
	}
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

static void close_with(Match *m, Token t)
{
	int below = m->depth;   /* frames left when t has closed its own */
	while (below && closer_of(m->out.at[m->frame[below - 1].opener].kind) != t.kind &&
	       (t.kind == T_RBRACE || m->out.at[m->frame[below - 1].opener].kind != T_LBRACE))
		below--;
	bool found = below && closer_of(m->out.at[m->frame[below - 1].opener].kind) == t.kind;
	if (found)
		while (m->depth > below)
			unclosed(m, t, m->out.len);
	if (!found && in_parens(m) && t.kind != T_RBRACE) {
		Token opener = m->out.at[m->frame[m->depth - 1].opener];
		if (syntax_failed(m->s)) {
			diag_error(token_loc(m->s, t), "E0107", "expected %s, found %s", kind_text(closer_of(opener.kind)), kind_text(t.kind));
			diag_note(token_loc(m->s, opener), "to close the %s opened here", kind_text(opener.kind));
		}
		t.kind = (uint16_t)closer_of(opener.kind);
	} else if (!found && !(t.kind == T_RBRACE && missing_brace(m))) {
		stray(m, t);
		return;
	}
	m->depth -= m->depth > 0;
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

static void match_token(Match *m, Token t, Token next)
{
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
		close_with(m, t);
	else
		vec_push(m->s->arena, &m->out, t);
}

void brackets_match(Syntax *s)
{
	if (all_match(s))
		return;
	Match m = {.s = s, .header = -1};
	for (int i = 0; i < s->tokens.len && !s->stop; i++)
		match_token(&m, s->tokens.at[i], s->tokens.at[MIN(i + 1, s->tokens.len - 1)]);
	s->tokens = m.out;
}
