/* checkpoint.c: a run directory.
 *
 *   DIR/ckpt-00000100/   model.safetensors optimizer.safetensors state.json config.json tokenizer.json; where an adapter is trained
 *                        adapter_model.safetensors and adapter_config.json, in place of model.safetensors if nothing else is
 *   DIR/last             symbolic link to the newest of them
 *   DIR/best-00000080/   the same without optimizer.safetensors; DIR/best links to it
 *   DIR/metrics.jsonl, DIR/loss.svg
 *
 * A checkpoint is written under a name of its own (".tmp-.."), every file and the directory synced, renamed, and only
 * then does the link move, by rename; older ones go last. At every instant `last` names a whole checkpoint. */
#include "runtime/sn.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char temporary[] = ".tmp-";

static int write_json(const char *dir, const char *name, json_t *j)
{
	char *path = sn_format("%s/%s", dir, name), *text = json_dumps(j, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
	int code = text ? sn_file_write(path, text, strlen(text)) : sn_fail(SN_FAIL, "out of memory");
	free(text);
	free(path);
	json_decref(j);
	return code;
}

static json_t *config_json(const SnProgram *p)
{
	json_t *j = json_object();
	const SnSetting *s = p->config;
	for (int64_t i = 0; i < p->nconfig; i++)
		json_object_set_new(j, s[i].key, s[i].is_num ? json_real(s[i].num) : s[i].str ? json_string(s[i].str) : json_null());
	return sn_json_pack("{s:s, s:s, s:o}", "program", sn_text(p->name), "version", p->version ? sn_text(p->version) : "", "config", j);
}

int sn_checkpoint_config(const SnProgram *p, const char *dir)
{
	return write_json(dir, "config.json", config_json(p));
}

int sn_checkpoint_copy(const char *from, const char *to)
{
	static const char *const names[] = {"config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
		"tokenizer.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"};
	int code = SN_OK;
	for (size_t i = 0; i < sizeof names / sizeof *names && !code; i++) {
		char *source = sn_format("%s/%s", from, names[i]), *target = sn_format("%s/%s", to, names[i]);
		SnFile f;
		if (sn_exists(source) && !sn_exists(target) && !(code = sn_file_map(&f, source))) {
			code = sn_file_write(target, f.at, f.n);
			sn_file_unmap(&f);
		}
		free(source);
		free(target);
	}
	return code;
}

static const char model_name[] = "model.safetensors", adapter_name[] = "adapter_model.safetensors", states_name[] = "optimizer.safetensors", state_name[] = "state.json";
enum { FORMAT = 2, HEX = 17 };

static const char *hex(char buf[HEX], uint64_t x)
{
	snprintf(buf, HEX, "%016llx", (unsigned long long)x);
	return buf;
}

/* Of a state's members but "sum", in a form that only their values decide: keys sorted, no spaces, 17 digits. */
static uint64_t state_sum(const json_t *state)
{
	json_t *rest = json_copy((json_t *)state);
	json_object_del(rest, "sum");
	char *text = json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
	uint64_t sum = text ? sn_sum(text, strlen(text)) : 0;
	free(text);
	json_decref(rest);
	return sum;
}

/* Takes over sums: the files' checksums by name. based: whose weights are elsewhere; NULL: they are here. */
static json_t *state_json(const SnState *st, const SnTokenizer *t, json_t *sums, const SnSession *based)
{
	char buf[HEX];
	json_t *best = isfinite(st->best_loss) ? sn_json_pack("{s:I, s:f}", "step", (json_int_t)st->best_step, "loss", st->best_loss) : json_null();
	json_t *j = sn_json_pack("{s:i, s:I, s:o, s:f, s:s, s:s, s:O, s:o}", "format", FORMAT, "step", (json_int_t)st->step, "best", best, "seconds", st->seconds,
	                      "data", hex(buf, st->data_hash), "tokenizer", t ? sn_tokenizer_kind(t) : "", "options", st->options, "sums", sums);
	json_object_set_new(j, "stale", json_integer(st->stale));
	json_object_set_new(j, "examples", json_integer(st->examples));
	if (based)
		json_object_set_new(j, "base", sn_json_pack("{s:s, s:s}", "file", based->base, "sum", hex(buf, based->base_sum)));
	json_object_set_new(j, "sum", json_string(hex(buf, state_sum(j))));
	return j;
}

/* All that is not an adapter's is as it is in the file that the state names. */
static bool is_base_alone(const SnSession *s)
{
	const SnTensor *t = s->entry->tensors;
	bool alone = s->base && s->base_sum && !s->altered;
	for (int64_t i = 0; i < s->entry->ntensor && alone; i++)
		alone = t[i].kind || t[i].adapter || t[i].frozen;
	return alone;
}

static void add_sum(json_t *sums, const char *name, uint64_t sum)
{
	char buf[HEX];
	json_object_set_new(sums, name, json_string(hex(buf, sum)));
}

/* What the data says of the model: names of labels. */
static int add_to_config(const char *dir, json_t *said)
{
	if (!said)
		return SN_OK;
	char *path = sn_format("%s/config.json", dir);
	json_t *config = sn_json_read(path);
	free(path);
	if (!config)
		return SN_DATA;
	json_object_update(config, said);
	return write_json(dir, "config.json", config);
}

/* from: the directory of the checkpoint before; NULL: none. */
static int write_files(const SnSession *s, const SnProgram *p, const SnTokenizer *t, const SnState *st, const char *from, const char *dir, bool best)
{
	static const char *const states_of[] = {"m.", "v.", "ema."};
	char *model = sn_format("%s/%s", dir, model_name), *states = sn_format("%s/%s", dir, states_name), *tok = sn_format("%s/tokenizer.json", dir);
	json_t *sums = json_object();
	uint64_t sum = 0;
	bool adapts = sn_adapter_trains(s->entry), alone = adapts && is_base_alone(s);
	int code = adapts ? sn_adapter_save(s, p, dir, t != NULL, &sum) : SN_OK;
	if (adapts)
		add_sum(sums, adapter_name, sum);
	if (!code && !alone) {
		code = sn_st_write(model, s, 0, NULL, 0, &sum);
		add_sum(sums, model_name, sum);
	}
	if (!code && !best) {
		code = sn_st_write(states, s, 1, states_of, 3, &sum);
		add_sum(sums, states_name, sum);
	}
	if (!code && t)
		code = sn_tokenizer_save(t, tok);
	if (!code && from)
		code = sn_checkpoint_copy(from, dir);
	char *config = sn_format("%s/config.json", dir);
	if (!code && !sn_exists(config))
		code = sn_checkpoint_config(p, dir);
	free(config);
	if (!code)
		code = add_to_config(dir, json_object_get(st->options, "config"));
	if (!code)
		code = write_json(dir, state_name, state_json(st, t, json_incref(sums), alone ? s : NULL));
	if (!code)
		code = sn_sync_dir(dir);
	json_decref(sums);
	free(model);
	free(states);
	free(tok);
	return code;
}

/* A name not yet taken: after a resume, the step of an abandoned later checkpoint may come again. */
static char *free_name(const char *dir, const char *family, int64_t step)
{
	for (int again = 0;; again++) {
		char *name = again ? sn_format("%s-%08lld.%d", family, (long long)step, again) : sn_format("%s-%08lld", family, (long long)step);
		char *path = sn_format("%s/%s", dir, name);
		struct stat st;
		bool taken = lstat(path, &st) == 0;
		free(path);
		if (!taken)
			return name;
		free(name);
	}
}

static int move_link(const char *dir, const char *link, const char *to)
{
	char *path = sn_format("%s/%s", dir, link), *beside = sn_format("%s/%slink-%s", dir, temporary, link);
	unlink(beside);
	int code = SN_OK;
	if (symlink(to, beside) < 0 || rename(beside, path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	free(path);
	free(beside);
	return code ? code : sn_sync_dir(dir);
}

/* A name that free_name() makes: whoever trains in a directory of their own may keep "best-of-all" there. */
static bool is_member(const char *name, const char *family)
{
	size_t n = strlen(family);
	if (strncmp(name, family, n) || name[n] != '-')
		return false;
	const char *digits = name + n + 1;
	size_t step = strspn(digits, "0123456789"), again = digits[step] == '.' ? strspn(digits + step + 1, "0123456789") + 1 : 0;
	return step >= 8 && again != 1 && !digits[step + again];
}

/* Removes what an interrupted save left, and the family's other members. */
static void prune(const char *dir, const char *family, const char *kept)
{
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		bool old = is_member(e->d_name, family) && strcmp(e->d_name, kept);
		if (!old && strncmp(e->d_name, temporary, sizeof temporary - 1))
			continue;
		char *path = sn_format("%s/%s", dir, e->d_name);
		sn_remove_tree(path);
		free(path);
	}
	closedir(d);
}

int sn_checkpoint_save(const SnSession *s, const SnProgram *p, const SnTokenizer *t, const SnState *st, const char *dir, bool best)
{
	const char *family = best ? "best" : "ckpt";
	char *name = free_name(dir, family, st->step), *path = sn_format("%s/%s", dir, name), *beside = sn_format("%s/%s%s", dir, temporary, name);
	sn_remove_tree(beside);
	char *last = sn_format("%s/last", dir);
	int code = sn_mkdirs(beside);
	if (!code)
		code = write_files(s, p, t, st, sn_exists(last) ? last : st->from, beside, best);
	free(last);
	if (!code && rename(beside, path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	if (!code)
		code = sn_sync_dir(dir);
	if (!code)
		code = move_link(dir, best ? "best" : "last", name);
	if (code) {
		sn_remove_tree(beside);
		sn_fail(code, "the checkpoint of step %lld was not written; what was saved before is intact", (long long)st->step);
	} else {
		prune(dir, family, name);
	}
	free(name);
	free(path);
	free(beside);
	return code;
}

bool sn_checkpoint_is_run(const char *dir)
{
	char *last = sn_format("%s/last/state.json", dir);
	bool is = sn_exists(last);
	free(last);
	return is;
}

static char *with_model(const char *dir, const char *link)   /* link NULL: dir itself */
{
	char *path = link ? sn_format("%s/%s", dir, link) : sn_format("%s", dir), *model = sn_weights_file(path);
	free(model);
	if (model || sn_adapter_is(path))
		return path;
	free(path);
	return NULL;
}

char *sn_checkpoint_find(const char *dir, bool best)
{
	if (sn_exists(dir) && !sn_is_dir(dir))
		return sn_format("%s", dir);
	char *found = best ? with_model(dir, "best") : NULL;
	if (!found)
		found = with_model(dir, "last");
	if (!found)
		found = with_model(dir, NULL);
	if (!found)
		sn_fail(SN_DATA, sn_is_dir(dir) ? "%s: no model.safetensors in it, nor in its best or last" : "%s: no such directory or file", dir);
	return found;
}

static int state_of(SnState *st, json_t *j, const char *path)
{
	json_t *step = json_object_get(j, "step"), *best = json_object_get(j, "best"), *options = json_object_get(j, "options");
	const char *hash = json_string_value(json_object_get(j, "data"));
	json_t *loss = json_object_get(best, "loss");
	if (!json_is_integer(step) || json_integer_value(step) < 0 || !json_is_object(options) || !hash)
		return sn_fail(SN_DATA, "%s: step, data or options are missing", path);
	st->step = json_integer_value(step);
	st->best_step = json_integer_value(json_object_get(best, "step"));
	st->best_loss = json_is_number(loss) ? json_number_value(loss) : INFINITY;
	st->stale = json_integer_value(json_object_get(j, "stale"));
	st->examples = json_integer_value(json_object_get(j, "examples"));
	st->seconds = json_number_value(json_object_get(j, "seconds"));
	st->data_hash = strtoull(hash, NULL, 16);
	st->options = json_incref(options);
	return SN_OK;
}

/* NULL after a message, also where the state is not what was saved. */
static json_t *read_state(const char *path)
{
	json_t *j = sn_json_read(path);
	const char *sum = json_string_value(json_object_get(j, "sum"));
	char buf[HEX];
	if (!j)
		return NULL;
	if (json_integer_value(json_object_get(j, "format")) != FORMAT)
		sn_fail(SN_DATA, "%s: not a state this program knows (format is not %d)", path, FORMAT);
	else if (!sum || strcmp(sum, hex(buf, state_sum(j))))
		sn_fail(SN_DATA, "%s: damaged: its checksum is not that of its contents", path);
	else
		return j;
	json_decref(j);
	return NULL;
}

int sn_checkpoint_verify(const char *path, const SnFile *f, bool required)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *beside = sn_format("%.*s%s", (int)(name - path), path, state_name), buf[HEX];
	json_t *j = sn_exists(beside) ? read_state(beside) : NULL;
	const char *sum = json_string_value(json_object_get(json_object_get(j, "sums"), name));
	int code = SN_OK;
	if (!j)
		code = sn_exists(beside) ? SN_DATA : SN_OK;
	else if (!sum && required)
		code = sn_fail(SN_DATA, "%s: no checksum of %s", beside, name);
	else if (sum && strcmp(sum, hex(buf, sn_sum(f->at, f->n))))
		code = sn_fail(SN_DATA, "%s: damaged or replaced: its checksum is not the one that %s has", path, beside);
	json_decref(j);
	free(beside);
	return code;
}

char *sn_checkpoint_base(const char *dir, uint64_t *sum)
{
	char *path = sn_format("%s/%s", dir, state_name), *config = sn_format("%s/adapter_config.json", dir), *found = NULL;
	bool ours = sn_exists(path);
	json_t *j = ours ? read_state(path) : sn_json_read(config), *base = ours ? json_object_get(j, "base") : NULL;
	const char *file = json_string_value(ours ? json_object_get(base, "file") : json_object_get(j, "base_model_name_or_path"));
	*sum = ours && file ? strtoull(json_string_value(json_object_get(base, "sum")), NULL, 16) : 0;
	if (file && sn_is_dir(file))
		found = sn_weights_file(file);
	else if (file && sn_exists(file))
		found = sn_format("%s", file);
	if (j && !found)
		sn_fail(SN_DATA, "%s is an adapter, and %s, which it was trained upon, is not here: give -m MODEL --adapter %s", dir, file ? file : "the model", dir);
	json_decref(j);
	free(config);
	free(path);
	return found;
}

int sn_state_read(SnState *st, const char *checkpoint)
{
	*st = (SnState){.best_loss = INFINITY};
	char *path = sn_format("%s/%s", checkpoint, state_name);
	json_t *j = read_state(path);
	int code = j ? state_of(st, j, path) : SN_DATA;
	json_decref(j);
	free(path);
	return code;
}
