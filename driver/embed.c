/* embed.c: `sinter build --weights PATH [--embed]`: whether a checkpoint's tensors are those of the program, by the runtime's own
 * matching; and the checkpoint's files behind the executable's bytes, where the runtime maps them (SN_INSIDE in sn.h). They are
 * copied, not linked: no size is too large for the loader, and no address of the program moves. */
#include "driver/driver.h"
#include "runtime/sn.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* --- do they match? */

/* The entries' parameters as one entry of a program has them. */
static SnEntry entry_of(Arena *a, const Module *m)
{
	SnTensor *t = NEW_ARRAY(a, SnTensor, m->params.len + 1);
	int n = 0;
	for (int i = 0; i < m->params.len; i++) {
		const Param *p = &m->params.at[i];
		int64_t *dims = NEW_ARRAY(a, int64_t, MAX_RANK);
		for (int k = 0; k < p->type.rank; k++)
			dim_is_const(p->type.dim[k], &dims[k]);
		if (param_is_used(m, p))
			t[n++] = (SnTensor){.name = param_called(p), .rank = p->type.rank, .dims = dims, .adapter = p->adapter};
	}
	return (SnEntry){.tensors = t, .ntensor = n};
}

int embed_check(Arena *a, const Module *m, const char *weights)
{
	SnEntry e = entry_of(a, m);
	const char **others = NEW_ARRAY(a, const char *, m->params.len + 1);
	int nother = 0;
	SnRename *renames = NEW_ARRAY(a, SnRename, m->renames.len + 1);
	for (int i = 0; i < m->renames.len; i++)
		renames[i] = (SnRename){m->renames.at[i].from, m->renames.at[i].to};
	for (int i = 0; i < m->params.len; i++)
		if (!param_is_used(m, &m->params.at[i]))
			others[nother++] = param_called(&m->params.at[i]);
	SnProgram p = {
		.prefix = m->prefix, .entries = &e, .nentry = 1, .ignore = m->ignore.at, .nignore = m->ignore.len, .renames = renames, .nrename = m->renames.len,
		.others = others, .nother = nother,
	};
	char *where = sn_checkpoint_find(weights, true);
	int code = where ? sn_weights_check(&e, &p, where) : SN_DATA;
	free(where);
	return code;
}

/* --- inside */

typedef struct Inside { Arena *arena; const char *out; int fd; uint64_t at; Vec(SnInside) files; } Inside;

static int failed(const char *path)
{
	return sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
}

static int put(Inside *x, const void *bytes, uint64_t n)
{
	const char *p = bytes;
	while (n) {
		ssize_t k = write(x->fd, p, MIN(n, (uint64_t)1 << 24));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return failed(x->out);
		p += k;
		n -= (uint64_t)k;
		x->at += (uint64_t)k;
	}
	return SN_OK;
}

static int pad(Inside *x)
{
	static const char zeros[SN_INSIDE_ALIGN];
	return put(x, zeros, (SN_INSIDE_ALIGN - x->at % SN_INSIDE_ALIGN) % SN_INSIDE_ALIGN);
}

static int add_file(Inside *x, const char *path, const char *name)
{
	SnFile f;
	SnInside entry = {.n = 0};
	if (strlen(name) >= sizeof entry.name)
		return sn_fail(SN_DATA, "%s: a name of more than %zu bytes can't be embedded", path, sizeof entry.name - 1);
	int code = sn_file_map(&f, path);
	if (!code)
		code = pad(x);
	strcpy(entry.name, name);
	entry.at = x->at;
	entry.n = f.n;
	if (!code)
		code = put(x, f.at, f.n);
	sn_file_unmap(&f);
	vec_push(x->arena, &x->files, entry);
	return code;
}

/* The files that an index names, each once. */
static int add_parts(Inside *x, const char *index, const char *dir)
{
	json_t *j = sn_json_read(index), *map = json_object_get(j, "weight_map"), *file;
	const char *tensor;
	int code = j ? SN_OK : SN_DATA;
	json_object_foreach(map, tensor, file) {
		const char *name = json_string_value(file);
		bool there = false;
		for (int i = 0; i < x->files.len; i++)
			there |= strcmp(x->files.at[i].name, name) == 0;
		if (!there && !code)
			code = add_file(x, arena_printf(x->arena, "%s/%s", dir, name), name);
	}
	json_decref(j);
	return code;
}

/* What generating reads beside the weights. */
static int add_beside(Inside *x, const char *dir)
{
	static const char *const names[] = {
		"tokenizer.json", "merges.txt", "vocab.json", "config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja",
	};
	int code = SN_OK;
	for (int i = 0; i < COUNT(names) && !code; i++) {
		const char *path = arena_printf(x->arena, "%s/%s", dir, names[i]);
		if (sn_exists(path))
			code = add_file(x, path, names[i]);
	}
	return code;
}

static int add_all(Inside *x, const char *where)
{
	static const char whole[] = "model.safetensors", index[] = "model.safetensors.index.json";
	if (!sn_is_dir(where)) {
		size_t n = strlen(where), k = sizeof ".index.json" - 1;
		if (n <= k || strcmp(where + n - k, ".index.json") != 0)
			return add_file(x, where, whole);
		return sn_fail(SN_USAGE, "%s: to embed what is cut into several files, give their directory", where);
	}
	char *file = sn_weights_file(where);
	int code;
	if (!file)
		return sn_fail(SN_DATA, "%s: no model.safetensors in it", where);
	size_t n = strlen(file), k = sizeof index - 1;
	bool cut = n > k && strcmp(file + n - k, index) == 0;
	code = add_file(x, file, cut ? index : whole);
	if (!code && cut)
		code = add_parts(x, file, where);
	free(file);
	return code ? code : add_beside(x, where);
}

static int append(Inside *x, const char *where)
{
	off_t end = lseek(x->fd, 0, SEEK_END);
	if (end < 0)
		return failed(x->out);
	x->at = (uint64_t)end;
	int code = add_all(x, where);
	SnInsideEnd tail = {.files = (uint64_t)x->files.len};
	memcpy(tail.magic, SN_INSIDE_MAGIC, sizeof tail.magic);
	if (!code)
		code = put(x, x->files.at, sizeof *x->files.at * tail.files);
	if (!code)
		code = put(x, &tail, sizeof tail);
	return !code && fsync(x->fd) < 0 ? failed(x->out) : code;
}

int embed_weights(Arena *a, const char *exe, const char *weights)
{
	Inside x = {.arena = a, .out = exe, .fd = open(exe, O_WRONLY | O_CLOEXEC)};
	if (x.fd < 0)
		return failed(exe);
	char *where = sn_checkpoint_find(weights, true);
	int code = where ? append(&x, where) : SN_DATA;
	free(where);
	if (close(x.fd) < 0 && !code)
		code = failed(exe);
	uint64_t all = 0;
	for (int i = 0; i < x.files.len; i++)
		all += x.files.at[i].n;
	char text[32];
	if (!code)
		sn_note("%d files, %s, are inside", x.files.len, sn_bytes_text(text, (double)all));
	return code;
}
