/* tokenizer.c: one face for the three kinds of tokenizer. "byte": 256 ids; "char": the distinct code points of the
 * training text, sorted; all that a tokenizer.json can say: pipeline.c. The first two are saved as a tokenizer.json of our own,
 * {"sinter": kind, ..}; the third as the Hugging Face file it came from. */
#include "runtime/tokens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef enum Kind { BYTE, CHAR, FILES } Kind;
static const char *const kind_name[] = {[BYTE] = "byte", [CHAR] = "char"};
enum { CODES = 0x110000 };

typedef struct Piece { char at[4]; int n; } Piece;

struct SnTokenizer {
	Kind kind;
	Piece *pieces;                /* byte and char: size of them */
	int32_t size;
	int32_t *id_of;               /* char: CODES; -1 for characters outside the vocabulary */
	SnPipeline *pipeline;
	char *json;                   /* of it: the file's text */
	size_t njson;
};

void sn_ids_add(SnIds *ids, int32_t id)
{
	if (ids->n == ids->cap) {
		ids->cap = ids->cap ? ids->cap * 2 : 1024;
		ids->at = sn_realloc(ids->at, sizeof *ids->at * (size_t)ids->cap);
	}
	ids->at[ids->n++] = id;
}

static SnTokenizer *make_byte(void)
{
	SnTokenizer *t = sn_alloc(sizeof *t);
	t->kind = BYTE;
	t->size = 256;
	t->pieces = sn_alloc(sizeof *t->pieces * 256);
	for (int i = 0; i < 256; i++)
		t->pieces[i] = (Piece){{(char)i}, 1};
	return t;
}

static void char_add(SnTokenizer *t, uint32_t code)
{
	if (t->id_of[code] >= 0)
		return;
	t->pieces = sn_realloc(t->pieces, sizeof *t->pieces * (size_t)(t->size + 1));
	t->pieces[t->size].n = sn_utf8_write(t->pieces[t->size].at, code);
	t->id_of[code] = t->size++;
}

static SnTokenizer *empty_char(void)
{
	SnTokenizer *t = sn_alloc(sizeof *t);
	t->kind = CHAR;
	t->id_of = sn_alloc(sizeof *t->id_of * CODES);
	memset(t->id_of, -1, sizeof *t->id_of * CODES);
	return t;
}

/* Line and byte of a place in a text, for messages. */
static int fail_at(const char *what, const char *text, size_t at, const char *why)
{
	size_t line = 1;
	for (size_t i = 0; i < at; i++)
		line += text[i] == '\n';
	return sn_fail(SN_DATA, "%s: line %zu, byte %zu: %s", what, line, at, why);
}

static SnTokenizer *make_char(const char *text, size_t n)
{
	bool *seen = sn_alloc(CODES);
	size_t at = 0;
	for (int k; at < n; at += (size_t)k) {
		uint32_t code;
		k = sn_utf8_read(text + at, n - at, &code);
		if (!k)
			break;
		seen[code] = true;
	}
	SnTokenizer *t = NULL;
	if (at < n)
		fail_at("the training text", text, at, "not valid UTF-8 (the byte tokenizer takes any text)");
	else
		t = empty_char();
	for (uint32_t c = 0; t && c < CODES; c++)
		if (seen[c])
			char_add(t, c);
	free(seen);
	return t;
}

static SnTokenizer *char_of_json(json_t *codes, const char *path)
{
	SnTokenizer *t = empty_char();
	size_t i;
	json_t *j;
	json_array_foreach(codes, i, j) {
		json_int_t c = json_is_integer(j) ? json_integer_value(j) : -1;
		if (c < 0 || c >= CODES || t->id_of[c] >= 0) {
			sn_fail(SN_DATA, "%s: entry %zu is not a new code point", path, i);
			sn_tokenizer_close(t);
			return NULL;
		}
		char_add(t, (uint32_t)c);
	}
	return t;
}

static SnTokenizer *pipeline_of(json_t *root, const char *path, char *text, size_t n)
{
	SnPipeline *p = sn_pipeline_open(root, path);
	if (!p) {
		free(text);
		return NULL;
	}
	SnTokenizer *t = sn_alloc(sizeof *t);
	*t = (SnTokenizer){.kind = FILES, .pipeline = p, .size = sn_pipeline_size(p), .json = text, .njson = n};
	return t;
}

static SnTokenizer *open_json(const char *path)
{
	json_t *root = sn_json_read(path);
	if (!root)
		return NULL;
	const char *own = json_string_value(json_object_get(root, "sinter"));
	SnTokenizer *t = NULL;
	SnFile f;
	if (own && !strcmp(own, kind_name[BYTE])) {
		t = make_byte();
	} else if (own && !strcmp(own, kind_name[CHAR])) {
		t = char_of_json(json_object_get(root, "codepoints"), path);
	} else if (own) {
		sn_fail(SN_DATA, "%s: a \"%s\" tokenizer is not known to this program", path, own);
	} else if (!sn_file_map(&f, path)) {
		char *text = sn_alloc(f.n);
		memcpy(text, f.at, f.n);
		t = pipeline_of(root, path, text, f.n);
		sn_file_unmap(&f);
	}
	json_decref(root);
	return t;
}

static SnTokenizer *open_files(const char *vocab, const char *merges)
{
	json_t *root = sn_bpe_compose(vocab, merges);
	if (!root)
		return NULL;
	char *text = json_dumps(root, JSON_COMPACT);
	SnTokenizer *t = text ? pipeline_of(root, merges, text, strlen(text)) : NULL;
	json_decref(root);
	return t;
}

static SnTokenizer *open_dir(const char *dir)
{
	char *json = sn_format("%s/tokenizer.json", dir), *vocab = sn_format("%s/vocab.json", dir), *merges = sn_format("%s/merges.txt", dir);
	SnTokenizer *t = NULL;
	if (sn_exists(json))
		t = open_json(json);
	else if (sn_exists(merges))
		t = open_files(vocab, merges);
	else
		sn_fail(SN_DATA, "%s: neither tokenizer.json nor vocab.json and merges.txt in it", dir);
	free(json);
	free(vocab);
	free(merges);
	return t;
}

bool sn_tokenizer_is_builtin(const char *spec)
{
	return !strcmp(spec, kind_name[BYTE]) || !strcmp(spec, kind_name[CHAR]);
}

SnTokenizer *sn_tokenizer_open(const char *spec, const char *text, size_t n)
{
	if (!strcmp(spec, kind_name[BYTE]))
		return make_byte();
	if (!strcmp(spec, kind_name[CHAR]))
		return make_char(text, n);
	if (!sn_exists(spec)) {
		sn_fail(SN_DATA, "the tokenizer %s: %s; --tokenizer takes byte, char or a file", spec, strerror(errno));
		return NULL;
	}
	if (sn_is_dir(spec))
		return open_dir(spec);
	static const char tail[] = "merges.txt";
	size_t len = strlen(spec), k = sizeof tail - 1;
	if (len < k || strcmp(spec + len - k, tail))
		return open_json(spec);
	char *vocab = sn_format("%.*svocab.json", (int)(len - k), spec);
	SnTokenizer *t = open_files(vocab, spec);
	free(vocab);
	return t;
}

void sn_tokenizer_close(SnTokenizer *t)
{
	if (!t)
		return;
	sn_pipeline_close(t->pipeline);
	free(t->pieces);
	free(t->id_of);
	free(t->json);
	free(t);
}

const char *sn_tokenizer_kind(const SnTokenizer *t)
{
	return t->kind == FILES ? sn_pipeline_kind(t->pipeline) : kind_name[t->kind];
}

int32_t sn_tokenizer_size(const SnTokenizer *t)
{
	return t->size;
}

const char *sn_tokenizer_stages(const SnTokenizer *t, SnStages *out, size_t *n)
{
	if (t->kind != FILES)
		return NULL;
	*out = sn_pipeline_stages(t->pipeline);
	*n = t->njson;
	return t->json;
}

static int encode_chars(const SnTokenizer *t, const char *text, size_t n, const char *what, SnIds *out)
{
	for (size_t at = 0; at < n;) {
		uint32_t code;
		int k = sn_utf8_read(text + at, n - at, &code);
		if (!k)
			return fail_at(what, text, at, "not valid UTF-8");
		if (t->id_of[code] < 0) {
			char why[96];
			snprintf(why, sizeof why, "character U+%04X is not in the vocabulary (%d characters)", (unsigned)code, t->size);
			return fail_at(what, text, at, why);
		}
		sn_ids_add(out, t->id_of[code]);
		at += (size_t)k;
	}
	return SN_OK;
}

struct SnEncoder { const SnTokenizer *t; SnRun *run; };

SnEncoder *sn_encoder_open(const SnTokenizer *t)
{
	SnEncoder *e = sn_alloc(sizeof *e);
	*e = (SnEncoder){t, t->kind == FILES ? sn_pipeline_start(t->pipeline) : NULL};
	return e;
}

void sn_encoder_close(SnEncoder *e)
{
	if (e)
		sn_pipeline_end(e->run);
	free(e);
}

int sn_encoder_add(SnEncoder *e, const char *text, size_t n, const char *what, SnIds *out)
{
	const SnTokenizer *t = e->t;
	if (t->kind == CHAR)
		return encode_chars(t, text, n, what, out);
	if (t->kind == FILES) {
		size_t valid = sn_utf8_valid(text, n);
		return valid < n ? fail_at(what, text, valid, "not valid UTF-8") : sn_pipeline_run(e->run, text, n, what, out);
	}
	for (size_t i = 0; i < n; i++)
		sn_ids_add(out, (unsigned char)text[i]);
	return SN_OK;
}

int sn_encode(const SnTokenizer *t, const char *text, size_t n, const char *what, SnIds *out)
{
	SnEncoder *e = sn_encoder_open(t);
	int code = sn_encoder_add(e, text, n, what, out);
	sn_encoder_close(e);
	return code;
}

void sn_post_process(const SnTokenizer *t, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types)
{
	if (t->kind == FILES) {
		sn_pipeline_post(t->pipeline, a, b, ids, types);
		return;
	}
	const SnIds *text[] = {a, b};
	for (int i = 0; i < 2; i++)
		for (int64_t k = 0; text[i] && k < text[i]->n; k++) {
			sn_ids_add(ids, text[i]->at[k]);
			sn_ids_add(types, i);
		}
}

void sn_decode_piece(const SnTokenizer *t, int32_t id, bool first, SnStr *out)
{
	sn_str_add(out, "", 0);               /* out has a text, if an empty one */
	if (t->kind == FILES)
		sn_pipeline_piece(t->pipeline, id, first, out);
	else if (id >= 0 && id < t->size)
		sn_str_add(out, t->pieces[id].at, (size_t)t->pieces[id].n);
}

int sn_decode(const SnTokenizer *t, const int32_t *ids, int64_t n, bool skip_special, SnStr *out)
{
	if (t->kind == FILES)
		return sn_pipeline_decode(t->pipeline, ids, n, skip_special, out);
	for (int64_t i = 0; i < n; i++)
		sn_decode_piece(t, ids[i], !i, out);
	return SN_OK;
}

void sn_token_text(const SnTokenizer *t, int32_t id, SnStr *out)
{
	SnSpan token = t->kind == FILES ? sn_pipeline_token(t->pipeline, id) : (SnSpan){NULL, 0};
	if (t->kind != FILES)
		sn_decode_piece(t, id, true, out);
	else if (token.at)
		sn_str_add(out, token.at, token.n);
}

int32_t sn_special(const SnTokenizer *t, const char *text)
{
	return t->kind == FILES ? sn_pipeline_added(t->pipeline, text) : -1;
}

bool sn_is_special(const SnTokenizer *t, int32_t id)
{
	return t->kind == FILES && sn_pipeline_is_special(t->pipeline, id);
}

int32_t sn_bos(const SnTokenizer *t)
{
	return t->kind == FILES ? sn_pipeline_edge(t->pipeline, false) : -1;
}

int32_t sn_eos(const SnTokenizer *t)
{
	return t->kind == FILES ? sn_pipeline_edge(t->pipeline, true) : -1;
}

static char *own_json(const SnTokenizer *t)
{
	json_t *root = sn_json_pack("{s:s}", "sinter", kind_name[t->kind]), *codes = json_array();
	for (int32_t i = 0; t->kind == CHAR && i < t->size; i++) {
		uint32_t code = 0;
		sn_utf8_read(t->pieces[i].at, (size_t)t->pieces[i].n, &code);
		json_array_append_new(codes, json_integer(code));
	}
	if (t->kind == CHAR)
		json_object_set(root, "codepoints", codes);
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(codes);
	json_decref(root);
	return text;
}

int sn_tokenizer_save(const SnTokenizer *t, const char *path)
{
	if (t->kind == FILES)
		return sn_file_write(path, t->json, t->njson);
	char *text = own_json(t);
	int code = text ? sn_file_write(path, text, strlen(text)) : sn_fail(SN_FAIL, "out of memory");
	free(text);
	return code;
}
