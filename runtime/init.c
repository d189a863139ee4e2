/* init.c: `init`: a checkpoint of random weights, the ones that training of the same seed begins with, for other programs to
 * load or to train from. It holds the parameters of all entries together. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

static bool earlier(const SnTensor *const *had, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(had[i]->name, name))
			return true;
	return false;
}

static int collect(const SnProgram *p, const SnTensor **out)
{
	const SnEntry *e = p->entries;
	int n = 0;
	for (int64_t k = 0; k < p->nentry; k++) {
		const SnTensor *t = e[k].tensors;
		for (int64_t i = 0; i < e[k].ntensor; i++)
			if (t[i].kind == 0 && t[i].dtype == SN_F32 && !earlier(out, n, t[i].name))
				out[n++] = &t[i];
	}
	return n;
}

static int write_model(const char *dir, const SnTensor **params, int n, uint32_t seed)
{
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(n + 1));
	for (int i = 0; i < n; i++) {
		float *x = sn_alloc(sizeof *x * (size_t)(sn_tensor_elems(params[i]) + 1));
		sn_init_tensor(params[i], x, seed);
		parts[i] = (SnStPart){params[i]->name, SN_F32, (int)params[i]->rank, params[i]->dims, x};
	}
	char *path = sn_format("%s/model.safetensors", dir);
	int code = sn_st_write_parts(path, parts, n);
	for (int i = 0; i < n; i++)
		free((void *)parts[i].at);
	free(path);
	free(parts);
	return code;
}

int sn_init_main(const SnOptions *o)
{
	const char *dir = sn_str(o, "out", "run");
	if (sn_checkpoint_is_run(dir))
		return sn_fail(SN_USAGE, "%s holds a run: name another directory with --out", dir);
	int64_t most = 0;
	const SnEntry *e = o->program->entries;
	for (int64_t k = 0; k < o->program->nentry; k++)
		most += e[k].ntensor;
	const SnTensor **params = sn_alloc(sizeof *params * (size_t)(most + 1));
	int n = collect(o->program, params), code = sn_mkdirs(dir);
	if (!code)
		code = write_model(dir, params, n, (uint32_t)sn_num(o, "seed", 1));
	if (!code)
		code = sn_checkpoint_config(o->program, dir);
	free(params);
	if (!code)
		sn_note("%d tensors in %s/model.safetensors", n, dir);
	return code;
}
