/* dialog.c: conversations, prompts with their completions, and texts as rows of T tokens with labels, for entries with inputs (tokens:
 * id(V)[B,T], labels: id(V)?[B,T]). Documents follow one another, each ended by the tokenizer's end of text, and are cut into full rows; the
 * label at a place is the token that follows where that is one to learn (the assistant's turns with what ends them, completions, texts), else
 * -100. Rows without any are left out, as a mean over no labels is none. The rows are then examples as those of a file of inputs. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_TURNS = 1024, IGNORED = -100, LABELS = 1 };

typedef struct Reader {
	const SnAsked *asked;
	const char *path;
	const SnChat *chat;           /* the family, once it was asked for */
	int line;
	bool all;                     /* every token is one to learn */
	SnIds ids, said;              /* said: 1 where the token is */
	int32_t end;                  /* of a document */
} Reader;

static int add(Reader *r, const char *text, size_t n, bool said)
{
	char where[32];
	snprintf(where, sizeof where, "line %d", r->line);
	char *what = sn_format("%s: %s", r->path, where);
	int code = sn_encode(r->asked->data->tokenizer, text, n, what, &r->ids);
	free(what);
	while (r->said.n < r->ids.n)
		sn_ids_add(&r->said, said || r->all);
	return code;
}

/* A tokenizer's own start comes first, once, whether or not the template has it, too. */
static void begin(Reader *r)
{
	int32_t bos = sn_bos(r->asked->data->tokenizer);
	if (bos < 0)
		return;
	sn_ids_add(&r->ids, bos);
	sn_ids_add(&r->said, r->all);
}

static void drop_second_start(Reader *r, int64_t from)
{
	int32_t bos = sn_bos(r->asked->data->tokenizer), *at = r->ids.at + from;
	if (bos < 0 || r->ids.n - from < 2 || at[1] != bos)
		return;
	memmove(at, at + 1, sizeof *at * (size_t)(--r->ids.n - from));
	r->said.n--;
}

/* said: it is one to learn. A document that ends so already gets no second one. */
static void end(Reader *r, bool said)
{
	if (r->ids.n && r->ids.at[r->ids.n - 1] == r->end)
		return;
	sn_ids_add(&r->ids, r->end);
	sn_ids_add(&r->said, said || r->all);
}

/* --- documents */

static int wrong(const Reader *r, const char *why)
{
	return sn_fail(SN_DATA, "%s:%d: %s", r->path, r->line, why);
}

static int add_text(Reader *r, const char *text, size_t n)
{
	int64_t from = r->ids.n;
	begin(r);
	int code = add(r, text, n, true);
	drop_second_start(r, from);
	end(r, true);
	return code;
}

static int add_pair(Reader *r, const char *prompt, const char *completion)
{
	int64_t from = r->ids.n;
	begin(r);
	int code = add(r, prompt, strlen(prompt), false);
	drop_second_start(r, from);
	if (!code)
		code = add(r, completion, strlen(completion), true);
	end(r, true);
	return code;
}

static int find_chat(Reader *r)
{
	SnData *data = r->asked->data;
	int code = sn_chat_find(r->asked->o, r->asked->checkpoint, &r->chat);
	if (!code && !data->said)
		data->said = json_object();
	if (!code)
		json_object_set_new(data->said, "chat_template", json_string(sn_chat_name(r->chat)));
	return code;
}

static int add_turns(Reader *r, const SnTurn *turns, int n)
{
	size_t cuts[MAX_TURNS];
	int ncuts = 0;
	SnStr text = {0};
	int code = r->chat ? SN_OK : find_chat(r);
	const char *why = code ? NULL : sn_chat_render(&text, r->chat, turns, n, cuts, &ncuts);
	int64_t from = r->ids.n;
	if (why)
		code = wrong(r, why);
	if (!code)
		begin(r);
	/* Piece by piece, as a conversation is when it is had: what is drawn never joins what was given in one token. */
	for (int i = 0; i < ncuts && !code; i++) {
		size_t at = i ? cuts[i - 1] : 0;
		code = add(r, text.s + at, cuts[i] - at, i % 2);
		if (!i)
			drop_second_start(r, from);
	}
	if (!code)
		end(r, !sn_chat_ends(r->chat));
	free(text.s);
	return code;
}

static int add_messages(Reader *r, json_t *messages)
{
	SnTurn turns[MAX_TURNS];
	size_t i, n = json_array_size(messages);
	json_t *m;
	if (n > MAX_TURNS)
		return wrong(r, "more than 1024 messages");
	json_array_foreach(messages, i, m) {
		turns[i] = (SnTurn){json_string_value(json_object_get(m, "role")), json_string_value(json_object_get(m, "content"))};
		if (!turns[i].role || !turns[i].text)
			return wrong(r, "a message wants the texts \"role\" and \"content\"");
	}
	return add_turns(r, turns, (int)n);
}

static int add_object(Reader *r, json_t *j)
{
	const char *field = sn_str(r->asked->o, "data.field", "text");
	json_t *messages = json_object_get(j, "messages"), *text = json_object_get(j, field);
	const char *prompt = json_string_value(json_object_get(j, "prompt")), *completion = json_string_value(json_object_get(j, "completion"));
	if (json_is_array(messages))
		return add_messages(r, messages);
	if (prompt && completion)
		return add_pair(r, prompt, completion);
	if (json_is_string(text))
		return add_text(r, json_string_value(text), json_string_length(text));
	return wrong(r, "wants {\"messages\": [{\"role\", \"content\"}, ..]}, {\"prompt\", \"completion\"} or {\"text\"}");
}

static int add_line(Reader *r, const char *s, size_t n)
{
	json_error_t err;
	if (strspn(s, " \t\r") >= n)
		return SN_OK;
	json_t *j = json_loadb(s, n, 0, &err);
	int code = j ? add_object(r, j) : sn_fail(SN_DATA, "%s:%d: not valid JSON: %s", r->path, r->line, err.text);
	json_decref(j);
	return code;
}

static int read_file(Reader *r)
{
	SnFile f;
	SnLine line = {0};
	int code = sn_file_map(&f, r->path);
	if (!code && !sn_is_json_lines(r->path))
		code = add_text(r, f.at, f.n);
	while (!code && sn_is_json_lines(r->path) && sn_line_next(&f, &line)) {
		r->line = (int)line.number;
		code = add_line(r, line.s, line.n);
	}
	sn_file_unmap(&f);
	return code;
}

/* --- rows */

/* What a document ends with: what the tokenizer puts there, or one of the usual names; else a line's end. */
static int find_end(Reader *r)
{
	static const char *const names[] = {"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"};
	const SnTokenizer *t = r->asked->data->tokenizer;
	r->end = sn_eos(t);
	for (size_t i = 0; i < sizeof names / sizeof *names && r->end < 0; i++)
		r->end = sn_special(t, names[i]);
	SnIds ids = {0};
	int code = r->end < 0 ? sn_encode(t, "\n", 1, r->path, &ids) : SN_OK;
	if (ids.n)
		r->end = ids.at[ids.n - 1];
	free(ids.at);
	return code;
}

/* The name of the entry's tokens, or of its labels. */
static const char *input(const SnFunction *f, bool labels)
{
	const SnSlot *s = f->slots;
	for (int64_t i = 0; i < f->nslot; i++)
		if (sn_slot_is_fed(&s[i]) && s[i].optional == labels)
			return s[i].name;
	return "";
}

static int32_t label(const Reader *r, int64_t at)
{
	return at + 1 < r->ids.n && r->said.at[at + 1] ? r->ids.at[at + 1] : IGNORED;
}

static bool teaches(const Reader *r, int64_t from, int64_t T)
{
	for (int64_t i = from; i < from + T; i++)
		if (label(r, i) != IGNORED)
			return true;
	return false;
}

/* Labels that count, of so many examples. */
static double labels_in(const SnInputs *in, int64_t first, int64_t n)
{
	const SnStTensor *t = &in->file.tensors[LABELS];
	const int32_t *labels = (const int32_t *)t->at;
	int64_t T = t->shape[1], count = 0;
	for (int64_t i = first * T; i < (first + n) * T; i++)
		count += labels[i] >= 0;
	return (double)count;
}

/* tokens and labels (rows,T), one behind the other in a mapping that the inputs own. */
static int make_rows(const Reader *r, SnInputs *in)
{
	int64_t rows = 0, n = 0, T = r->asked->T;
	for (int64_t at = 0; at < r->ids.n; at += T)
		rows += teaches(r, at, T);
	if (!rows)
		return sn_fail(SN_DATA, "%s: nothing in it is to be learnt (no assistant's turn, completion or text)", r->path);
	size_t bytes = sizeof(int32_t) * (size_t)(rows * T);
	int32_t *tokens = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *labels = tokens + rows * T;
	if (tokens == MAP_FAILED)
		return sn_fail(SN_FAIL, "no memory for %lld rows of %lld tokens", (long long)rows, (long long)T);
	for (int64_t at = 0; at < r->ids.n; at += T)
		for (int64_t i = at; i < at + T && teaches(r, at, T); i++, n++) {
			tokens[n] = i < r->ids.n ? r->ids.at[i] : r->end;
			labels[n] = label(r, i);
		}
	*in = (SnInputs){.file = {.path = r->path, .nshard = 1, .n = 2}};
	in->file.shards = sn_alloc(sizeof *in->file.shards);
	in->file.shards[0].file = (SnFile){.at = (const char *)tokens, .n = 2 * bytes};
	in->file.tensors = sn_alloc(2 * sizeof *in->file.tensors);
	for (int i = 0; i < 2; i++)
		in->file.tensors[i] = (SnStTensor){.name = input(r->asked->f, i == LABELS), .dtype = "I32", .kind = SN_ST_I32, .rank = 2, .shape = {rows, T},
			.elems = rows * T, .at = (const char *)(i == LABELS ? labels : tokens), .bytes = bytes};
	int code = sn_inputs_match(in, r->asked->entry, r->asked->f);
	in->weight = labels_in;
	in->unit = "tokens";
	return code;
}

static int open_talk(SnInputs *in, const SnAsked *a)
{
	const SnOptions *o = a->o;
	const char *role = sn_str(o, "data.labels_on.role", "assistant");
	Reader r = {.asked = a, .path = a->path, .line = 1, .all = !strcmp(role, "all")};
	if (!r.all && strcmp(role, "assistant"))
		return sn_fail(SN_USAGE, "labels_on(\"%s\") is not supported: \"assistant\" and \"all\" are", role);
	if (sn_num(o, "data.max", 0) > 0)
		return sn_fail(SN_USAGE, "data chat(max=..) is not supported: rows are cut at T tokens");
	int code = a->data->tokenizer ? SN_OK : sn_data_tokenizer(a->data, o, a->checkpoint, a->path);
	if (!code)
		code = find_end(&r);
	if (!code)
		code = read_file(&r);
	if (!code)
		code = sn_data_check(o, a->data->tokenizer, &r.ids, a->path);
	if (!code)
		code = make_rows(&r, in);
	free(r.ids.at);
	free(r.said.at);
	return code;
}

const SnFeeder sn_feeder_chat = {.wants = "conversations", .open = open_talk};
