/* lines.c: ends statements at line breaks and `;`, and decides which words are keywords.
 * A line break ends a statement outside ( ) and [ ], after a token that can end one; `}` needs none before it,
 * and `{` and `else` may stand on the next line. A keyword is one only where the grammar could use it: everywhere
 * else it is a name, so that `weights=`, `at=` and a parameter called `next` or `from` need no quoting. */
#include "frontend/syntax.h"
#include "frontend/parse.h"

typedef struct Lines {
	Syntax *s;
	Tokens out;
	uint16_t inside[MAX_NEST + 1];   /* kinds of the open brackets */
	int depth;
	bool ended;                      /* a line break or `;` since the last token */
	bool after_semi;
	bool astray;                     /* the item before was none: statements after it are not complained of again */
} Lines;

static int last_kind(const Lines *l)
{
	return l->out.len ? l->out.at[l->out.len - 1].kind : T_END;
}

static int before_last(const Lines *l)
{
	return l->out.len > 1 ? l->out.at[l->out.len - 2].kind : T_END;
}

static bool at_start(int kind)
{
	return kind == T_NL || kind == T_END || kind == T_LBRACE;
}

static bool can_end(int kind)
{
	return kind_ends_operand(kind) || kind == T_RBRACE || kind == T_QUESTION || kind == T_BAD;
}

static bool assigns(int kind)
{
	return kind == T_ASSIGN || kind == T_ADD_TO || kind == T_COLON || kind == T_COMMA;
}

/* Whether the keyword t acts as one; `next` is the kind of the token after it. */
static bool is_keyword(const Lines *l, Token t, int next)
{
	int last = last_kind(l), inner = l->depth ? l->inside[l->depth - 1] : T_EOF;
	bool in_body = inner == T_LBRACE, in_parens = inner == T_LPAREN || inner == T_LBRACKET;
	bool start = at_start(last), names_setting = in_body && last == T_NAME && at_start(before_last(l));
	bool after_operand = kind_ends_operand(last) && !names_setting;

	if (last == T_DOT || (inner == T_LPAREN && next == T_ASSIGN) ||
	    (inner == T_LPAREN && next == T_COLON && (last == T_LPAREN || last == T_COMMA)))
		return false;
	switch (t.kind) {
	case T_REQUIRE: case T_RETURN: case T_FOR:
		return start && !(in_body && assigns(next));
	case T_IF:
		return start ? !assigns(next) : after_operand || kind_starts_operand(next);
	case T_ELSE: case T_AND: case T_OR:
		return after_operand || last == T_RBRACE || (kind_starts_operand(next) && next != T_LPAREN && next != T_LBRACKET);
	case T_NOT:
		return !after_operand && kind_starts_operand(next);
	case T_TRUE: case T_FALSE: case T_NONE:
		return !(start && assigns(next));
	case T_ON: case T_EVERY:
		return in_body && kind_ends_operand(last) && next != T_ASSIGN;
	case T_OF:
		return in_body && (after_operand || (last == T_REPEAT && next == T_NAME)) && next != T_ASSIGN;
	case T_AT: case T_IN:
		return in_body && after_operand && next != T_ASSIGN;
	case T_AS: case T_FROM: case T_WITH:
		return !in_parens && after_operand && next != T_ASSIGN;
	case T_REPEAT: case T_PARAM:
		return in_body && (last == T_COLON || last == T_OF);
	default:   /* those that begin an item */
		return start && l->depth == 0;
	}
}

static void end_statement(Lines *l)
{
	Token last = l->out.at[l->out.len - 1];
	Token t = {.at = last.end, .end = last.end, .kind = l->depth ? T_NL : T_END};
	vec_push(l->s->arena, &l->out, t);
}

static bool ends_before(const Lines *l, Token t, int next)
{
	bool in_parens = l->depth && l->inside[l->depth - 1] != T_LBRACE;
	if (!l->ended || in_parens || !can_end(last_kind(l)) || t.kind == T_RBRACE || t.kind == T_LBRACE)
		return false;
	return !(t.kind == T_ELSE && last_kind(l) == T_RBRACE && !assigns(next));
}

static void track(Lines *l, int kind)
{
	if (kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE)
		l->inside[l->depth++] = (uint16_t)kind;
	else if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE)
		l->depth--;
}

static bool is_soft(int kind)
{
	return kind_is_word(kind) && kind != T_NAME;
}

static void cut_token(Lines *l, Token t, Token next)
{
	l->ended = l->ended || t.first || t.kind == T_EOF;
	if (t.kind == T_SEMI) {
		l->ended = l->after_semi = true;
		return;
	}
	t.first |= l->after_semi;
	l->after_semi = false;
	if (t.kind == T_EOF ? last_kind(l) != T_END : ends_before(l, t, next.kind))
		end_statement(l);
	l->ended = false;
	bool in_parens = l->depth && l->inside[l->depth - 1] != T_LBRACE;
	if (is_soft(t.kind) && !is_keyword(l, t, next.first && !in_parens ? T_NL : next.kind))
		t.kind = T_NAME;
	bool item = (t.kind >= T_USE && t.kind <= T_INFER) || t.kind == T_REQUIRE;
	if (l->depth == 0 && last_kind(l) == T_END) {
		if (kind_is_word(t.kind) && !item) {
			t.kind = (uint16_t)syntax_bad_item(l->s, t, next.kind, l->astray);
			t.muted = t.kind == T_NAME;
		}
		l->astray = t.muted;
	}
	track(l, t.kind);
	vec_push(l->s->arena, &l->out, t);
}

void lines_cut(Syntax *s)
{
	Lines l = {.s = s};
	for (int i = 0; i < s->tokens.len; i++)
		cut_token(&l, s->tokens.at[i], s->tokens.at[MIN(i + 1, s->tokens.len - 1)]);
	s->tokens = l.out;
}
