/* syntax.c: feeds tokens to the grammar, and says in words what is wrong with one it cannot take.
 * Errors are E02xx. After each the feeder jumps to where the statement or bracket ends, so that the next
 * message is about another mistake. */
#include "frontend/syntax.h"
#include "frontend/parse.h"

static const char *const kind_name[] = {
	[T_EOF] = "the end of the file", [T_NL] = "the end of the line", [T_END] = "the end of the line",
	[T_NAME] = "a name", [T_STRING] = "a string", [T_NUMBER] = "a number",
	[T_LPAREN] = "`(`", [T_RPAREN] = "`)`", [T_LBRACKET] = "`[`", [T_RBRACKET] = "`]`", [T_LBRACE] = "`{`", [T_RBRACE] = "`}`",
	[T_COMMA] = "`,`", [T_COLON] = "`:`", [T_SEMI] = "`;`", [T_DOT] = "`.`", [T_DOTDOT] = "`..`", [T_ELLIPSIS] = "`...`",
	[T_QUESTION] = "`?`", [T_ARROW] = "`->`", [T_ASSIGN] = "`=`", [T_ADD_TO] = "`+=`", [T_EQ] = "`==`", [T_NE] = "`!=`",
	[T_LT] = "`<`", [T_GT] = "`>`", [T_LE] = "`<=`", [T_GE] = "`>=`", [T_PLUS] = "`+`", [T_MINUS] = "`-`", [T_STAR] = "`*`",
	[T_SLASH] = "`/`", [T_PERCENT] = "`%`", [T_AT_SIGN] = "`@`", [T_CARET] = "`^`", [T_BAR] = "`|`", [T_AMP] = "`&`",
	[T_AND] = "`and`", [T_OR] = "`or`", [T_NOT] = "`not`", [T_IF] = "`if`", [T_ELSE] = "`else`", [T_TRUE] = "`true`",
	[T_FALSE] = "`false`", [T_NONE] = "`none`", [T_RETURN] = "`return`", [T_FOR] = "`for`", [T_IN] = "`in`",
	[T_REQUIRE] = "`require`", [T_REPEAT] = "`repeat`", [T_AS] = "`as`", [T_OF] = "`of`", [T_PARAM] = "`param`",
	[T_AT] = "`at`", [T_ON] = "`on`", [T_EVERY] = "`every`", [T_FROM] = "`from`", [T_WITH] = "`with`", [T_USE] = "`use`",
	[T_CONFIG] = "`config`", [T_PRESET] = "`preset`", [T_DIM] = "`dim`", [T_BLOCK] = "`block`", [T_FN] = "`fn`",
	[T_MODEL] = "`model`", [T_WEIGHTS] = "`weights`", [T_TRAIN] = "`train`", [T_EVAL] = "`eval`",
	[T_GENERATE] = "`generate`", [T_EXPLAIN] = "`explain`", [T_INFER] = "`infer`",
};
#define WORD(kind, text) [kind - T_AND] = text
static const char *const keyword[] = {
	WORD(T_AND, "and"), WORD(T_OR, "or"), WORD(T_NOT, "not"), WORD(T_IF, "if"), WORD(T_ELSE, "else"), WORD(T_TRUE, "true"),
	WORD(T_FALSE, "false"), WORD(T_NONE, "none"), WORD(T_RETURN, "return"), WORD(T_FOR, "for"), WORD(T_IN, "in"),
	WORD(T_REQUIRE, "require"), WORD(T_REPEAT, "repeat"), WORD(T_AS, "as"), WORD(T_OF, "of"), WORD(T_PARAM, "param"),
	WORD(T_AT, "at"), WORD(T_ON, "on"), WORD(T_EVERY, "every"), WORD(T_FROM, "from"), WORD(T_WITH, "with"), WORD(T_USE, "use"),
	WORD(T_CONFIG, "config"), WORD(T_PRESET, "preset"), WORD(T_DIM, "dim"), WORD(T_BLOCK, "block"), WORD(T_FN, "fn"),
	WORD(T_MODEL, "model"), WORD(T_WEIGHTS, "weights"), WORD(T_TRAIN, "train"), WORD(T_EVAL, "eval"),
	WORD(T_GENERATE, "generate"), WORD(T_EXPLAIN, "explain"), WORD(T_INFER, "infer"),
};
/* What users of other languages may write for an item. */
static const struct { const char *word; int kind; } synonym[] = {
	{"import", T_USE}, {"include", T_USE}, {"def", T_FN}, {"func", T_FN}, {"function", T_FN}, {"class", T_BLOCK},
	{"module", T_BLOCK}, {"layer", T_BLOCK}, {"network", T_MODEL}, {"fit", T_TRAIN}, {"test", T_EVAL},
	{"params", T_CONFIG}, {"assert", T_REQUIRE},
};

const char *kind_text(int kind)
{
	return kind_name[kind];
}

const char *keyword_text(int kind)
{
	return kind >= T_AND && kind - T_AND < COUNT(keyword) ? keyword[kind - T_AND] : NULL;
}

int keyword_kind(const char *word, size_t len)
{
	for (int i = 0; i < COUNT(keyword); i++)
		if (!strncmp(keyword[i], word, len) && !keyword[i][len])
			return T_AND + i;
	return T_NAME;
}

bool kind_is_word(int kind)
{
	return kind == T_NAME || keyword_text(kind);
}

bool kind_ends_operand(int kind)
{
	return kind == T_NAME || kind == T_NUMBER || kind == T_STRING || kind == T_RPAREN || kind == T_RBRACKET ||
	       kind == T_TRUE || kind == T_FALSE || kind == T_NONE;
}

bool kind_starts_operand(int kind)
{
	return kind == T_NUMBER || kind == T_STRING || kind == T_LPAREN || kind == T_LBRACKET || kind == T_MINUS ||
	       kind_is_word(kind);
}

Loc token_loc(const Syntax *s, Token t)
{
	return (Loc){s->src, t.at, t.end};
}

bool syntax_failed(Syntax *s)
{
	if (s->stop)
		return false;
	if (s->errors++ < MAX_SYNTAX_ERRORS)
		return true;
	s->stop = true;
	diag_error((Loc){0}, "E0209", "%s has more than %d syntax errors; the rest of it is not read", s->src->name, MAX_SYNTAX_ERRORS);
	return false;
}

static bool in_parens(const Syntax *s)
{
	return s->open[s->depth].base != s->depth;
}

/* What the token just passed opens, closes or ends. */
static void pass_token(Syntax *s, int i)
{
	int kind = s->tokens.at[i].kind;
	Open *o = &s->open[s->depth];
	if (kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE) {
		s->depth++;
		s->open[s->depth] = (Open){.token = i, .start = i + 1, .base = kind == T_LBRACE ? s->depth : o->base};
	} else if (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE) {
		s->depth--;
	} else if (kind == T_NL || kind == T_END) {
		o->start = i + 1;
		o->muted = false;
	}
}

int token_feed(Syntax *s)
{
	if (s->pos < 0)
		s->open[0] = (Open){.token = -1};
	if (s->stop) {
		s->pos = s->tokens.len - 1;
	} else if (s->jump) {
		s->pos = s->jump;
		s->jump = 0;
	} else {
		if (s->pos >= 0)
			pass_token(s, s->pos);
		s->pos = MIN(s->pos + 1, s->tokens.len - 1);
	}
	Token t = s->tokens.at[s->pos];
	s->open[s->open[s->depth].base].muted |= t.muted;
	return t.kind;
}

/* Whether the statement that begins with this token has a body, at whose `{` the grammar can go on. */
static bool has_body(int kind)
{
	return kind == T_FOR || kind == T_IF || kind == T_BLOCK || kind == T_MODEL || kind >= T_WEIGHTS;
}

static int resume_at(Syntax *s)
{
	int depth = 0, i = s->pos, start = s->open[s->depth].start;
	bool parens = in_parens(s);
	bool body = !parens && i > start && has_body(s->tokens.at[start].kind) && s->tokens.at[i - 1].kind != T_RBRACE;
	for (; i < s->tokens.len - 1; i++) {
		int kind = s->tokens.at[i].kind;
		if (depth == 0 && (kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE || (body && kind == T_LBRACE) ||
		                   (!parens && (kind == T_NL || kind == T_END))))
			break;
		depth += kind == T_LPAREN || kind == T_LBRACKET || kind == T_LBRACE;
		depth -= kind == T_RPAREN || kind == T_RBRACKET || kind == T_RBRACE;
		s->open[s->open[s->depth].base].muted |= s->tokens.at[i].muted;
	}
	return i;
}

static const char *said(Syntax *s, Token t)
{
	int len = (int)MIN(t.end - t.at, 40);
	if (t.end == t.at || t.kind == T_NL || t.kind == T_END || t.kind == T_EOF)
		return kind_text(t.kind);
	return arena_printf(s->arena, t.kind == T_STRING ? "%.*s" : "`%.*s`", len, s->src->text + t.at);
}

static bool is_comparison(int kind)
{
	return kind >= T_EQ && kind <= T_GE;
}

typedef struct Fault {
	Syntax *s;
	const bool *want;
	Token found, prev;
	const char *what, *after;   /* as text */
	bool operand, operation;    /* an expression could begin here; could go on here */
} Fault;

#define FAULT(f, code, ...) diag_error(token_loc((f)->s, (f)->found), code, __VA_ARGS__)

static uint32_t indent_at(const Syntax *s, Token t)
{
	uint32_t start = t.at, n = 0;
	while (start > 0 && s->src->text[start - 1] != '\n')
		start--;
	while (s->src->text[start + n] == ' ' || s->src->text[start + n] == '\t')
		n++;
	return n;
}

/* Ends the line before the token at s->pos - 1, which then begins a statement or an item of its own. */
static void cut_before_last(Syntax *s)
{
	Token *at, last = s->tokens.at[s->pos - 2];
	vec_push(s->arena, &s->tokens, ((Token){0}));
	at = &s->tokens.at[s->pos - 1];
	memmove(at + 1, at, (size_t)(s->tokens.len - s->pos) * sizeof *at);
	*at = (Token){.at = last.end, .end = last.end, .kind = s->depth ? T_NL : T_END};
	int kind = keyword_kind(s->src->text + at[1].at, at[1].end - at[1].at);
	if (s->depth ? kind == T_RETURN || kind == T_FOR || kind == T_IF || kind == T_REQUIRE : kind >= T_USE)
		at[1].kind = (uint16_t)kind;
	s->jump = s->pos - 1;
}

/* `x =`, line break, `y = 1`: the fault shows on the second line and lies in the first. */
static bool fault_cut_line(const Fault *f)
{
	Syntax *s = f->s;
	int start = s->open[s->depth].start;
	if (in_parens(s) || !f->prev.first || f->prev.kind != T_NAME || f->found.kind == T_LBRACE || s->pos - 2 < start)
		return false;
	Token last = s->tokens.at[s->pos - 2];
	if (kind_ends_operand(last.kind) || indent_at(s, f->prev) > indent_at(s, s->tokens.at[start]))
		return false;
	diag_error(token_loc(s, last), "E0202", "nothing follows %s on this line", said(s, last));
	cut_before_last(s);
	return true;
}

static bool fault_item(const Fault *f)
{
	if (!f->want[T_BLOCK])
		return false;
	FAULT(f, "E0203", "expected an item, found %s", f->what);
	diag_help("a file is made of use, config, preset, dim, require, block, fn, model, weights, train, eval, generate, infer");
	return true;
}

static bool fault_statement(const Fault *f)
{
	if (f->found.kind == T_RBRACE && f->prev.kind == T_LBRACE) {
		FAULT(f, "E0205", "there is nothing between these braces");
		diag_help("at least one line is needed; without any, leave the whole out");
		return true;
	}
	if (!f->want[T_RETURN])
		return false;
	FAULT(f, "E0207", "expected a statement, found %s", f->what);
	if (f->found.kind == T_ELSE)
		diag_help("`else` follows the `}` of its `if`");
	else if (f->found.kind >= T_EQ && f->found.kind <= T_IF)
		diag_help("a line break ends a statement: leave the operator on the line before, or put the expression in ( )");
	return true;
}

static bool fault_operator(const Fault *f)
{
	if (!f->operation)
		return false;
	if (is_comparison(f->found.kind) && !f->want[f->found.kind]) {
		FAULT(f, "E0208", "comparisons do not chain");
		diag_help("join two with `and`: a < b and b < c");
	} else if (f->found.kind == T_ARROW) {
		FAULT(f, "E0201", "unexpected `->` after %s", f->after);
		diag_help("`->` stands once in an expression: put what is on one side of it in ( )");
	} else if (f->found.kind == T_ASSIGN) {
		FAULT(f, "E0201", "unexpected `=` after %s", f->after);
		diag_help("`==` compares; `=` gives a name or an argument its value");
	} else {
		return false;
	}
	return true;
}

static bool fault_operand(const Fault *f)
{
	if (f->want[T_LBRACKET] && f->want[T_LPAREN] && f->want[T_NAME] && !f->want[T_NUMBER]) {
		FAULT(f, "E0201", "expected a type after %s, found %s", f->after, f->what);
		diag_help("a type is [B,T,D], f32[B], id(V)[B,T], bool[B,T], mask, dim, int, float, ...");
		return true;
	}
	if (!f->operand)
		return false;
	if (f->prev.kind == T_NAME && f->want[T_ASSIGN] && f->want[T_COLON]) {
		FAULT(f, "E0207", "after %s a statement goes on with `:`, `=`, `+=` or a setting's arguments, found %s", f->after, f->what);
		return true;
	}
	FAULT(f, "E0202", "expected an expression after %s, found %s", f->after, f->what);
	if (f->prev.kind == T_COMMA && (f->found.kind == T_RPAREN || f->found.kind == T_RBRACKET))
		diag_help("a list does not end in a comma");
	return true;
}

static bool fault_in_parens(const Fault *f)
{
	Syntax *s = f->s;
	if (!in_parens(s) || !f->operation)
		return false;
	Token opener = s->tokens.at[s->open[s->depth].token];
	int closer = opener.kind == T_LPAREN ? T_RPAREN : T_RBRACKET;
	if (f->want[T_COMMA])
		FAULT(f, "E0206", "expected `,` or %s after %s, found %s", kind_text(closer), f->after, f->what);
	else
		FAULT(f, "E0206", "expected %s after %s, found %s", kind_text(closer), f->after, f->what);
	if (memchr(s->src->text + opener.at, '\n', f->found.at - opener.at))
		diag_note(token_loc(s, opener), "inside the %s opened here", kind_text(opener.kind));
	return true;
}

static bool fault_end(const Fault *f)
{
	static const char *const starts[] = {"return", "for", "if", "require"};
	if (f->operation && f->want[T_DOTDOT]) {
		FAULT(f, "E0206", "expected `..` and an upper bound after %s, found %s", f->after, f->what);
		return true;
	}
	if (f->operation && f->want[T_OF]) {
		FAULT(f, "E0206", "expected `of` and what is repeated after %s, found %s", f->after, f->what);
		return true;
	}
	if (f->operation && f->want[T_LBRACE]) {
		FAULT(f, "E0206", "expected `{` to open the body after %s, found %s", f->after, f->what);
		return true;
	}
	if (!(f->want[T_NL] || f->want[T_END]) || !(f->operation || f->prev.kind == T_RBRACE))
		return false;
	FAULT(f, "E0206", "expected the end of the line after %s, found %s", f->after, f->what);
	Token first = f->s->tokens.at[f->s->open[f->s->depth].start];
	const char *word = first.kind == T_NAME ? token_string(f->s, first) : NULL;
	const char *near = word ? diag_nearest(word, starts, COUNT(starts)) : NULL;
	if (near)
		diag_help("did you mean `%s` for `%s`?", near, word);
	return true;
}

/* "expected A, B or C after X, found Y", or without the expected where they are many. */
static void fault_any(const Fault *f)
{
	int kinds[6], n = 0;
	bool at_line_start = f->prev.kind == T_NL || f->prev.kind == T_END;
	Str list = {0};
	for (int kind = T_NL; kind <= T_INFER; kind++) {
		if (f->want[kind] && n < COUNT(kinds))
			kinds[n] = kind;
		n += f->want[kind];
	}
	for (int i = 0; i < n && n <= COUNT(kinds); i++)
		str_printf(&list, "%s%s", i == 0 ? "" : i == n - 1 ? " or " : ", ", kind_text(kinds[i]));
	if (list.len && at_line_start)
		FAULT(f, "E0201", "expected %s, found %s", list.at, f->what);
	else if (list.len)
		FAULT(f, "E0201", "expected %s after %s, found %s", list.at, f->after, f->what);
	else
		FAULT(f, "E0201", "unexpected %s after %s", f->what, f->after);
	str_free(&list);
	if (f->want[T_ARROW] && !f->operation && f->found.kind == T_LBRACE)
		diag_help("say what it returns: `-> [B,T,D]`");
	if (f->found.kind == T_ASSIGN && f->want[T_COLON] && !f->operation && !in_parens(f->s))
		diag_help("a config value says its kind: `%s: dim = 64`, or int, float, bool, oneof(a, b); only a preset has `name = value`", token_string(f->s, f->prev));
	if (f->prev.kind == T_ELSE && f->found.kind == T_IF)
		diag_help("write `else { if ... { ... } }`");
}

void syntax_error(Syntax *s, const bool want[TOKEN_KINDS])
{
	Token found = s->tokens.at[s->pos], prev = s->pos ? s->tokens.at[s->pos - 1] : (Token){0};
	bool muted = s->open[s->open[s->depth].base].muted;
	if (!muted && syntax_failed(s)) {
		Fault f = {.s = s, .want = want, .found = found, .prev = prev, .what = said(s, found), .after = said(s, prev),
		           .operand = want[T_NUMBER] && want[T_LPAREN], .operation = want[T_PLUS] && want[T_STAR]};
		if (!fault_item(&f) && !fault_statement(&f) && !fault_cut_line(&f) && !fault_operator(&f) && !fault_operand(&f) &&
		    !fault_in_parens(&f) && !fault_end(&f))
			fault_any(&f);
	}
	if (s->jump)
		return;
	int next = resume_at(s);
	s->jump = next == s->pos ? 0 : next;
	s->stop |= s->failed_at == s->pos + 1;   /* twice at one token: no progress is to be had */
	s->failed_at = s->pos + 1;
}

int syntax_bad_item(Syntax *s, Token t, int next, bool astray)
{
	const char *word = token_string(s, t);
	const char *const *items = &keyword[T_USE - T_AND];
	const char *near = diag_nearest(word, items, COUNT(keyword) - (T_USE - T_AND));
	int kind = near ? keyword_kind(near, strlen(near)) : T_NAME;
	bool statement = t.kind != T_NAME || next == T_ASSIGN || next == T_COLON || next == T_ADD_TO || next == T_COMMA;
	for (int i = 0; i < COUNT(synonym); i++)
		if (!strcmp(word, synonym[i].word))
			kind = synonym[i].kind;
	if (statement)
		kind = T_NAME;
	if ((astray && kind == T_NAME) || !syntax_failed(s))
		return kind;
	diag_error(token_loc(s, t), "E0203", "no item begins with %s", said(s, t));
	if (statement)
		diag_help("statements stand inside the { } of a block, a model or an entry");
	else if (kind != T_NAME)
		diag_help("did you mean `%s`?", keyword_text(kind));
	else
		diag_help("a file is made of use, config, preset, dim, require, block, fn, model, weights, train, eval, generate, infer");
	return kind;
}
