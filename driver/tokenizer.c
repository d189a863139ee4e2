/* tokenizer.c: `sinter tokenizer train|encode|decode`: learns a tokenizer.json from texts, and turns text into ids and back, by the
 * runtime's own code. */
#include "driver/driver.h"
#include "driver/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int usage(const char *text, const char *help)
{
	diag_error((Loc){0}, NULL, "%s", text);
	diag_help("%s", help);
	return EXIT_USAGE;
}

/* --- train */

static int train(Arena *a, const Flags *f)
{
	const char *out = flag(f, "output"), *vocab = flag(f, "vocab"), *kind = flag(f, "kind"), *special = flag(f, "special");
	if (f->rest.len < 2 || !out)
		return usage("`sinter tokenizer train` wants texts and -o", "usage: sinter tokenizer train TEXT... -o tokenizer.json --vocab 8000");
	char *end;
	errno = 0;
	long ids = strtol(vocab ? vocab : "8000", &end, 10);
	if (*end || errno || ids < 1 || ids > SN_MAX_ID)
		return usage(internf("--vocab wants a number from 1 to %d, not \"%s\"", SN_MAX_ID, vocab), "it is how many ids the tokenizer has");
	Training t = {.kind = kind ? kind : "bpe", .vocab = ids, .texts = f->rest.at + 1, .ntexts = f->rest.len - 1};
	bool bytes = !strcmp(t.kind, "bpe");
	const char *names = special ? special : bytes ? "<|endoftext|>" : "[PAD],[UNK],[CLS],[SEP],[MASK]";
	t.nspecial = *names ? text_split(a, names, ",", &t.special) : 0;
	for (int i = 0; i < t.nspecial; i++)
		if (!*t.special[i])
			return usage("--special has an empty name", "it wants names with commas between them");
	int64_t size = 0;
	json_t *root;
	int code = train_tokens(&t, &root, &size);
	char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	if (!code)
		code = text ? sn_file_replace(out, text, strlen(text)) : sn_fail(SN_FAIL, "out of memory");
	if (!code && size < ids)
		sn_note("%s has %lld ids of the %ld asked for: no pair of neighbours is left that occurs twice", out, (long long)size, ids);
	free(text);
	json_decref(root);
	return code;
}

/* --- encode and decode */

/* A file or, for "-" or nothing, standard input. False after a message. */
static bool read_all(const char *path, SnStr *text)
{
	bool in = !path || !strcmp(path, "-");
	FILE *f = in ? stdin : fopen(path, "rb");
	if (!f) {
		sn_fail(SN_DATA, "%s: %s", path, strerror(errno));
		return false;
	}
	char buf[65536];
	sn_str_add(text, "", 0);
	for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;)
		sn_str_add(text, buf, n);
	bool ok = !ferror(f);
	if (!ok)
		sn_fail(SN_DATA, "%s: %s", in ? "standard input" : path, strerror(errno));
	if (!in)
		fclose(f);
	return ok;
}

static int64_t characters(const char *s, int32_t bytes)
{
	int64_t n = 0;
	for (int32_t i = 0; i < bytes; i++)
		n += (s[i] & 0xC0) != 0x80;
	return n;
}

/* Where in its text, in characters, each id is from; those that a post-processor added are from nowhere, [0,0]. */
static int put_offsets(const SnTokenizer *t, const SnStr *text, const SnIds *plain, bool pair, SnStr *out)
{
	SnPlaces places[2] = {{{0}, {0}, {0}}};
	SnOffsets *o = sn_offsets_open(t);
	SnIds order = {0};
	bool lost = false, any = false;
	int code = SN_OK;
	for (int i = 0; i <= pair && !code; i++, any |= lost) {
		code = sn_offsets_add(o, text[i].s, text[i].n, "the text", &places[i], &lost);
		lost |= !code && (places[i].ids.n != plain[i].n || (plain[i].n && memcmp(places[i].ids.at, plain[i].at, sizeof(int32_t) * (size_t)plain[i].n) != 0));
	}
	sn_places(t, plain[0].n, pair ? plain[1].n : -1, &order);
	sn_str_printf(out, ",\"offsets\":%s", any ? "null" : "[");
	int32_t bytes[2] = {0};
	int64_t chars[2] = {0};
	for (int64_t i = 0; i < order.n && !any; i++) {
		int which = order.at[i] >= SN_SECOND;
		int32_t k = order.at[i] - (which ? SN_SECOND : 0), from = k < 0 ? 0 : places[which].from.at[k], to = k < 0 ? 0 : places[which].to.at[k];
		if (k >= 0 && from >= bytes[which]) {
			chars[which] += characters(text[which].s + bytes[which], from - bytes[which]);
			bytes[which] = from;
		}
		int64_t start = k < 0 ? 0 : chars[which] - (from < bytes[which] ? characters(text[which].s + from, bytes[which] - from) : 0);
		sn_str_printf(out, "%s[%lld,%lld]", i ? "," : "", (long long)start, (long long)(start + (k < 0 ? 0 : characters(text[which].s + from, to - from))));
	}
	sn_str_add(out, "]", !any);
	if (any)
		sn_note("offsets are not known: this tokenizer's normalizers or pre-tokenizers change texts in ways that they can't be followed through");
	for (int i = 0; i < 2; i++)
		sn_places_close(&places[i]);
	free(order.at);
	sn_offsets_close(o);
	return code;
}

static int put_json(const SnTokenizer *t, const SnIds *ids, const SnIds *types, const SnStr *text, const SnIds *plain, const Flags *f)
{
	int code = SN_OK;
	SnStr out = {0}, token = {0}, mended = {0};
	sn_str_printf(&out, "{\"ids\":[");
	for (int64_t i = 0; i < ids->n; i++)
		sn_str_printf(&out, "%s%d", i ? "," : "", ids->at[i]);
	sn_str_printf(&out, "],\"type_ids\":[");
	for (int64_t i = 0; i < ids->n; i++)
		sn_str_printf(&out, "%s%d", i ? "," : "", types->at[i]);
	sn_str_printf(&out, "],\"tokens\":[");
	for (int64_t i = 0; i < ids->n; i++) {
		token.n = mended.n = 0;
		sn_token_text(t, ids->at[i], &token);
		sn_utf8_mend(&mended, token.s ? token.s : "", token.n);
		sn_str_add(&out, ",", i != 0);
		sn_json_string(&out, mended.s ? mended.s : "");
	}
	sn_str_printf(&out, "]");
	if (!flag(f, "plain"))
		code = put_offsets(t, text, plain, flag(f, "pair") != NULL, &out);
	sn_str_printf(&out, "}\n");
	if (!code)
		fwrite(out.s, 1, out.n, stdout);
	free(out.s);
	free(token.s);
	free(mended.s);
	return code;
}

static int encode(const SnTokenizer *t, const Flags *f)
{
	const char *path = f->rest.len > 1 ? f->rest.at[1] : NULL, *pair = flag(f, "pair");
	SnStr text[2] = {{0}, {0}};
	SnIds plain[2] = {{0}, {0}}, ids = {0}, types = {0};
	int code = read_all(path, &text[0]) && (!pair || read_all(pair, &text[1])) ? SN_OK : SN_DATA;
	if (!code)
		code = sn_encode(t, text[0].s, text[0].n, path ? path : "standard input", &plain[0]);
	if (!code && pair)
		code = sn_encode(t, text[1].s, text[1].n, pair, &plain[1]);
	for (int64_t i = 0; !code && flag(f, "plain") && i < plain[0].n; i++) {
		sn_ids_add(&ids, plain[0].at[i]);
		sn_ids_add(&types, 0);
	}
	if (!code && !flag(f, "plain"))
		sn_post_process(t, &plain[0], pair ? &plain[1] : NULL, &ids, &types);
	if (!code && flag(f, "json"))
		code = put_json(t, &ids, &types, text, plain, f);
	for (int64_t i = 0; i < ids.n && !flag(f, "json"); i++)
		printf("%d%c", ids.at[i], i + 1 < ids.n ? ' ' : '\n');
	for (int i = 0; i < 2; i++) {
		free(text[i].s);
		free(plain[i].at);
	}
	free(ids.at);
	free(types.at);
	return code;
}

/* Numbers with blanks, commas or brackets between them. */
static int read_ids(const SnTokenizer *t, const char *p, const char *path, SnIds *ids)
{
	for (char *end; *(p += strspn(p, " \t\r\n,[]")); p = end) {
		errno = 0;
		long id = strtol(p, &end, 10);
		if (end == p || errno || id < 0 || id >= sn_tokenizer_size(t))
			return sn_fail(SN_DATA, "%s: \"%.*s\" is no id of this tokenizer, which has %d", path, (int)strcspn(p, " \t\r\n,[]"), p, sn_tokenizer_size(t));
		sn_ids_add(ids, (int32_t)id);
	}
	return SN_OK;
}

static int decode(const SnTokenizer *t, const Flags *f)
{
	const char *path = f->rest.len > 1 ? f->rest.at[1] : NULL;
	SnStr text = {0}, out = {0};
	SnIds ids = {0};
	int code = read_all(path, &text) ? read_ids(t, text.s, path ? path : "standard input", &ids) : SN_DATA;
	if (!code)
		code = sn_decode(t, ids.at, ids.n, flag(f, "skip-special") != NULL, &out);
	if (!code && out.n)
		fwrite(out.s, 1, out.n, stdout);
	free(text.s);
	free(out.s);
	free(ids.at);
	return code;
}

int run_tokenizer(Arena *a, const Flags *f)
{
	const char *action = f->rest.at[0], *path = flag(f, "tokenizer");
	if (!strcmp(action, "train"))
		return train(a, f);
	bool encodes = !strcmp(action, "encode");
	if (!encodes && strcmp(action, "decode"))
		return usage(internf("`sinter tokenizer` does not know \"%s\"", action), "it is one of train, encode, decode");
	if (!path || f->rest.len > 2)
		return usage(internf("`sinter tokenizer %s` wants -t and at most one file", action), internf("usage: sinter tokenizer %s -t tokenizer.json [FILE]", action));
	SnTokenizer *t = sn_tokenizer_open(path, "", 0);
	if (!t)
		return SN_DATA;
	int code = encodes ? encode(t, f) : decode(t, f);
	sn_tokenizer_close(t);
	return code;
}
