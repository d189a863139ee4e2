/* save.c: a model as a directory. It is made under another name, every file synced, and then renamed: DIR is the whole of it or
 * is as it was. */
#include "convert/convert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const ours[] = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"};

void model_close(Model *m)
{
	json_decref(m->config);
	json_decref(m->tokenizer);
	json_decref(m->chat);
	sn_file_unmap(&m->file);
}

static char *header_text(const Model *m, Elem elem)
{
	json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
	int64_t at = 0;
	for (int i = 0; i < m->tensors.len; i++) {
		const Weight *t = &m->tensors.at[i];
		json_t *shape = json_array();
		for (int k = 0; k < t->rank; k++)
			json_array_append_new(shape, json_integer(t->shape[k]));
		int64_t end = at + weight_bytes(t, elem);
		json_object_set_new(root, t->name, json_pack("{s:s, s:o, s:[I,I]}", "dtype", elem_info[elem].safetensors, "shape", shape, "data_offsets",
		                                             (json_int_t)at, (json_int_t)end));
		at = end;
	}
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

static int write_tensors(const Model *m, Elem elem, const char *path)
{
	char *header = header_text(m, elem);
	if (!header)
		return sn_fail(SN_DATA, "%s: a name is not valid UTF-8", m->path);
	SnWriter w;
	int code = sn_writer_open(&w, path);
	uint64_t n = strlen(header), padded = (n + 7) / 8 * 8;   /* little-endian, as all machines that this runs on */
	if (!code) {
		sn_writer_put(&w, &padded, sizeof padded);
		sn_writer_put(&w, header, n);
		sn_writer_put(&w, "       ", padded - n);
		for (int i = 0; i < m->tensors.len && !code && !w.bad; i++)
			code = weight_write(&m->tensors.at[i], elem, m->path, &w);
		int closed = sn_writer_close(&w);
		code = code ? code : closed;
	}
	free(header);
	return code;
}

static int write_json(const char *dir, const char *name, json_t *j, size_t flags)
{
	char *path = sn_format("%s/%s", dir, name), *text = json_dumps(j, flags);
	int code = text ? SN_OK : sn_fail(SN_FAIL, "out of memory");
	if (text) {
		char *line = sn_format("%s\n", text);
		code = sn_file_write(path, line, strlen(line));
		free(line);
	}
	free(text);
	free(path);
	return code;
}

static int write_all(const Model *m, Elem elem, const char *dir)
{
	if (mkdir(dir, 0777) < 0)
		return sn_fail(SN_FAIL, "%s: %s", dir, strerror(errno));
	char *path = sn_format("%s/%s", dir, ours[0]);
	int code = write_tensors(m, elem, path);
	free(path);
	if (!code)
		code = write_json(dir, ours[1], m->config, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	if (!code && m->tokenizer)
		code = write_json(dir, ours[2], m->tokenizer, JSON_INDENT(1) | JSON_ENSURE_ASCII);
	if (!code && m->chat)
		code = write_json(dir, ours[3], m->chat, JSON_INDENT(2));
	return code ? code : sn_sync_dir(dir);
}

/* Only what an import has made is replaced: NULL, or the name of something else in it. */
static char *foreign_name(const char *dir)
{
	DIR *d = opendir(dir);
	char *found = d ? NULL : sn_format("it can't be read");
	for (struct dirent *e; d && !found && (e = readdir(d));) {
		bool known = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
		for (int i = 0; i < COUNT(ours); i++)
			known |= strcmp(e->d_name, ours[i]) == 0;
		if (!known)
			found = sn_format("it has %s in it", e->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

static int may_replace(const char *dir)
{
	struct stat st;
	if (lstat(dir, &st) < 0)
		return SN_OK;
	if (!S_ISDIR(st.st_mode))
		return sn_fail(SN_FAIL, "%s: is there and no directory", dir);
	char *why = foreign_name(dir);
	int code = why ? sn_fail(SN_FAIL, "%s: %s: name another directory, or remove this one", dir, why) : SN_OK;
	free(why);
	return code;
}

static int move_over(const char *made, const char *dir)
{
	if (rename(made, dir) == 0)
		return SN_OK;
	if (errno != EEXIST && errno != ENOTEMPTY)
		return sn_fail(SN_FAIL, "%s: %s", dir, strerror(errno));
	if (renameat2(AT_FDCWD, made, AT_FDCWD, dir, RENAME_EXCHANGE) < 0)
		return sn_fail(SN_FAIL, "%s: %s", dir, strerror(errno));
	sn_remove_tree(made);   /* the older one, now */
	return SN_OK;
}

static int by_name(const void *x, const void *y)
{
	return strcmp(((const Weight *)x)->name, ((const Weight *)y)->name);
}

int model_save(Model *m, Elem elem, const char *dir)
{
	if (m->tensors.len)
		qsort(m->tensors.at, (size_t)m->tensors.len, sizeof *m->tensors.at, by_name);
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	char *to = sn_format("%.*s", (int)n, dir), *beside = sn_format("%s.tmp-%d", to, (int)getpid());
	int code = n ? may_replace(to) : sn_fail(SN_USAGE, "-o wants a directory's name");
	if (!code) {
		code = write_all(m, elem, beside);
		if (!code)
			code = move_over(beside, to);
		if (code)
			sn_remove_tree(beside);
	}
	free(to);
	free(beside);
	return code;
}
