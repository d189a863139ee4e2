/* data.c: a text file becomes ids, once, in memory. Training windows start at random places that are a function of
 * (seed, number of the micro-batch, row), so that the position in the data is the step number and nothing else. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x64617461 };   /* apart from the streams of weights and samples */

typedef struct Text { SnFile file; char *made; const char *at; size_t n; } Text;   /* made: extracted from json lines */

/* Texts of one field of a file of json lines, with `between` after each. */
static int extract(Text *t, const char *path, const char *field, const char *between)
{
	SnStr out = {0};
	SnLine line = {0};
	int code = SN_OK;
	while (!code && sn_line_next(&t->file, &line)) {
		if (strspn(line.s, " \t\r") >= line.n)
			continue;
		json_error_t err;
		json_t *j = json_loadb(line.s, line.n, JSON_ALLOW_NUL, &err), *value = json_object_get(j, field);
		if (!j)
			code = sn_fail(SN_DATA, "%s:%lld: not valid JSON: %s", path, (long long)line.number, err.text);
		else if (!json_is_string(value))
			code = sn_fail(SN_DATA, "%s:%lld: no text field \"%s\"", path, (long long)line.number, field);
		else {
			sn_str_add(&out, json_string_value(value), json_string_length(value));
			sn_str_add(&out, between, strlen(between));
		}
		json_decref(j);
	}
	t->made = out.s;
	t->at = out.s ? out.s : "";
	t->n = out.n;
	return code;
}

/* A model file's `field=` speaks of json lines; a plain text given in their place is read as it is. */
bool sn_is_json_lines(const char *path)
{
	const char *dot = strrchr(path, '.');
	return dot && (strcmp(dot, ".jsonl") == 0 || strcmp(dot, ".ndjson") == 0 || strcmp(dot, ".json") == 0);
}

static int text_open(Text *t, const SnOptions *o, const char *path, const SnTokenizer *tokenizer)
{
	static const char end_of_text[] = "<|endoftext|>";
	*t = (Text){0};
	int code = sn_file_map(&t->file, path);
	if (code)
		return code;
	t->at = t->file.at;
	t->n = t->file.n;
	const char *field = sn_str(o, "data.field", strstr(path, ".jsonl") ? "text" : NULL);
	if (field && sn_is_json_lines(path))
		code = extract(t, path, field, tokenizer && sn_special(tokenizer, end_of_text) >= 0 ? end_of_text : "\n");
	if (!code && !t->n)
		code = sn_fail(SN_DATA, "%s: is empty", path);
	return code;
}

static void text_close(Text *t)
{
	sn_file_unmap(&t->file);
	free(t->made);
}

/* What the checkpoint brings, where no flag says otherwise; malloc'ed or NULL */
static char *brought_tokenizer(const SnOptions *o, const char *checkpoint)
{
	static const char *const brought[] = {"tokenizer.json", "merges.txt"};
	for (size_t i = 0; checkpoint && !sn_given(o, "data.tokenizer") && i < 2; i++) {
		char *path = sn_format("%s/%s", checkpoint, brought[i]);
		if (sn_exists(path))
			return path;
		free(path);
	}
	return NULL;
}

/* Of this entry in the model file, else of another; not characters, which only a text can tell. */
static const char *named_tokenizer(const SnOptions *o)
{
	const char *name = sn_str(o, "data.tokenizer", NULL);
	const SnEntry *e = o->program->entries;
	for (int64_t i = 0; i < o->program->nentry && !name; i++) {
		const SnSetting *s = sn_setting(e[i].settings, e[i].nsetting, "data.tokenizer");
		name = s && s->str && strcmp(s->str, "char") ? s->str : NULL;
	}
	return name;
}

SnTokenizer *sn_data_weights_tokenizer(const SnOptions *o, const char *checkpoint, const char *hint)
{
	char *brought = brought_tokenizer(o, checkpoint);
	const char *name = sn_given(o, "data.tokenizer") ? sn_str(o, "data.tokenizer", NULL) : brought;
	if (!name)
		name = checkpoint ? named_tokenizer(o) : "byte";   /* random weights make sense of no tokenizer */
	SnTokenizer *t = NULL;
	if (!name || !strcmp(name, "char"))
		sn_fail(SN_DATA, "no tokenizer beside the weights: give one with --tokenizer (byte or a file)%s", hint);
	else
		t = sn_tokenizer_open(name, "", 0);
	free(brought);
	return t;
}

/* What the flag says; else what the checkpoint brings; else what the model file says; else by the vocabulary's size. */
static char *tokenizer_spec(const SnOptions *o, const char *checkpoint)
{
	char *brought = brought_tokenizer(o, checkpoint);
	if (brought)
		return brought;
	int64_t V = sn_vocabulary(o->program);
	return sn_format("%s", sn_str(o, "data.tokenizer", V && V < 256 ? "char" : "byte"));
}

int sn_data_check(const SnOptions *o, const SnTokenizer *t, const SnIds *ids, const char *path)
{
	int64_t V = sn_vocabulary(o->program);
	int32_t largest = 0;
	for (int64_t i = 0; i < ids->n; i++)
		if (ids->at[i] > largest)
			largest = ids->at[i];
	if (!V || largest < V)
		return SN_OK;
	return sn_fail(SN_DATA, "%s: token id %d, but the model's vocabulary V is %lld: build it with --set V=%d for this tokenizer", path, largest, (long long)V, sn_tokenizer_size(t));
}

static int encode_file(SnData *d, const SnOptions *o, const char *path, SnIds *out)
{
	Text t;
	int code = text_open(&t, o, path, d->tokenizer);
	if (!code)
		code = sn_encode(d->tokenizer, t.at, t.n, path, out);
	text_close(&t);
	return code ? code : sn_data_check(o, d->tokenizer, out, path);
}

int sn_data_tokenizer(SnData *d, const SnOptions *o, const char *checkpoint, const char *path)
{
	char *spec = tokenizer_spec(o, checkpoint);
	Text t = {0};
	int code = strcmp(spec, "char") ? SN_OK : text_open(&t, o, path, NULL);
	if (!code) {
		d->tokenizer = sn_tokenizer_open(spec, t.at, t.n);
		code = d->tokenizer ? SN_OK : SN_DATA;
	}
	text_close(&t);
	free(spec);
	return code;
}

static void split(SnData *d, double share)
{
	int64_t kept = (int64_t)((double)d->train.n * (1 - share));
	for (int64_t i = kept; i < d->train.n; i++)
		sn_ids_add(&d->valid, d->train.at[i]);
	d->train.n = kept;
}

const char *sn_data_valid(const SnOptions *o)
{
	bool paired = sn_overridden(o, "data.valid") || !sn_overridden(o, "data.file");
	return paired ? sn_str(o, "data.valid", NULL) : NULL;
}

int sn_data_open(SnData *d, const SnOptions *o, const char *checkpoint, bool eval)
{
	*d = (SnData){0};
	const char *path = sn_str(o, "data.file", NULL), *valid = sn_data_valid(o);
	if (sn_num(o, "data.max", 0) > 0)
		return sn_fail(SN_USAGE, "data text(max=..) is not supported: windows are cut from the whole text");
	if (eval && valid && !sn_given(o, "data.file"))
		path = valid;
	if (!path)
		return sn_fail(SN_USAGE, "no data: give a text with --data FILE");
	if (!sn_overridden(o, "data.file") && !sn_exists(path))
		return sn_fail(SN_DATA, "the model file's text %s is not here: give another with --data FILE", path);
	if (!eval && valid && !sn_overridden(o, "data.valid") && !sn_exists(valid))
		return sn_fail(SN_DATA, "the model file's text to validate on, %s, is not here: give another with --valid FILE", valid);
	int code = sn_data_tokenizer(d, o, checkpoint, path);
	if (!code)
		code = encode_file(d, o, path, eval ? &d->valid : &d->train);
	if (!code && !eval && valid)
		code = encode_file(d, o, valid, &d->valid);
	else if (!code && !eval)
		split(d, sn_num(o, "data.valid_fraction", 0.1));
	d->hash = sn_hash64(d->train.at, sizeof(int32_t) * (size_t)d->train.n, 0);
	if (code)
		sn_data_close(d);
	return code;
}

void sn_data_close(SnData *d)
{
	sn_tokenizer_close(d->tokenizer);
	free(d->train.at);
	free(d->valid.at);
	json_decref(d->said);
	*d = (SnData){0};
}

void sn_data_batch(const SnIds *ids, int32_t *out, int64_t rows, int64_t len, uint32_t seed, int64_t micro)
{
	uint32_t key = sn_hash32(&seed, sizeof seed, STREAM);
	for (int64_t r = 0; r < rows; r++) {
		int64_t at = sn_below(ids->n - len + 1, (uint32_t)micro, (uint32_t)(r ^ (micro >> 32 << 16)), key);
		memcpy(out + r * len, ids->at + at, sizeof *out * (size_t)len);
	}
}
