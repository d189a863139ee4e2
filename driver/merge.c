/* merge.c: `sinter merge MODEL --adapter DIR -o OUT`: a copy of a model's weights with a LoRA adapter added. It knows no model file: layers
 * are found by their names, as they are or with one prefix more or less. Sums are the runtime's (runtime/adapter.c), so that a merged file in f32
 * has the bits that a program has which loads the adapter; types of 16 bits are rounded to nearest from these. */
#include "driver/driver.h"
#include "runtime/sn.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Merge {
	SnSafetensors base;
	SnAdapter adapter;
	SnStPart *parts;              /* of each of base's tensors */
	int trouble;
} Merge;

/* The layer's weight: its name, or one that ends or begins a piece later. */
static int weight_of(const Merge *m, const char *layer)
{
	char *want = sn_format("%s.weight", layer);
	size_t n = strlen(want);
	int found = -1;
	for (int i = 0; i < m->base.n && found < 0; i++)
		if (strcmp(m->base.tensors[i].name, want) == 0)
			found = i;
	for (int i = 0; i < m->base.n && found < 0; i++) {
		const char *name = m->base.tensors[i].name;
		size_t k = strlen(name);
		bool longer = k > n && name[k - n - 1] == '.' && strcmp(name + k - n, want) == 0 && strcspn(name, ".") == k - n - 1;
		bool shorter = k < n && want[n - k - 1] == '.' && strcmp(want + n - k, name) == 0 && strcspn(want, ".") == n - k - 1;
		if (longer || shorter)
			found = i;
	}
	free(want);
	return found;
}

static void unknown(Merge *m, const char *layer)
{
	const char **names = sn_alloc(sizeof *names * (size_t)(m->base.n + 1));
	char *want = sn_format("%s.weight", layer);
	for (int i = 0; i < m->base.n; i++)
		names[i] = m->base.tensors[i].name;
	const char *near = sn_nearest(want, names, m->base.n);
	sn_note("  %s: the model has no such layer%s%s", layer, near ? "; nearest: " : "", near ? near : "");
	m->trouble++;
	free(want);
	free(names);
}

/* In the type of t; x is given up where that is f32. */
static void *stored_as(const SnStTensor *t, float *x)
{
	uint16_t *half = t->kind == SN_ST_F32 ? NULL : sn_alloc(t->bytes);
	for (int64_t i = 0; half && i < t->elems; i++) {
		uint32_t bits;
		_Float16 h = (_Float16)x[i];
		memcpy(&bits, &x[i], sizeof bits);
		if (t->kind == SN_ST_F16)
			memcpy(&half[i], &h, sizeof h);
		else
			half[i] = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
	}
	if (half)
		free(x);
	return half ? (void *)half : x;
}

static void add_one(Merge *m, const SnLora *l)
{
	int i = weight_of(m, l->layer);
	bool in_out = m->adapter.in_out;
	if (i < 0) {
		unknown(m, l->layer);
		return;
	}
	const SnStTensor *t = &m->base.tensors[i];
	if (!sn_st_is_weight(t) || !sn_lora_fits(l, t->rank, t->shape, &in_out)) {
		sn_note("  %s: the adapter is [%lld,%lld], %s %s of %lld elements", l->layer, (long long)l->B->shape[0], (long long)l->A->shape[1], t->name, t->dtype,
		        (long long)t->elems);
		m->trouble++;
		return;
	}
	float *x = sn_alloc(sizeof *x * (size_t)(t->elems + 1));
	sn_st_read(t, x);
	sn_lora_add(l, x, in_out, NULL);
	m->parts[i].at = stored_as(t, x);
}

static int add_all(Merge *m)
{
	m->parts = sn_alloc(sizeof *m->parts * (size_t)(m->base.n + 1));
	for (int i = 0; i < m->base.n; i++) {
		const SnStTensor *t = &m->base.tensors[i];
		m->parts[i] = (SnStPart){ .name = t->name, .rank = t->rank, .shape = t->shape, .at = t->at, .dtype = sn_st_dtype(t) };
	}
	for (int i = 0; i < m->adapter.n; i++)
		add_one(m, &m->adapter.at[i]);
	return m->trouble ? sn_fail(SN_DATA, "%s: %d of the adapter's %d layers don't fit %s", m->adapter.path, m->trouble, m->adapter.n, m->base.path) : SN_OK;
}

/* A directory appears whole: made beside, then renamed. */
static int write_dir(const Merge *m, const char *from, const char *out)
{
	char *beside = sn_format("%s.tmp-%d", out, (int)getpid()), *model = sn_format("%s/model.safetensors", beside);
	uint64_t sum;
	int code = sn_mkdirs(beside);
	if (!code)
		code = sn_st_put(model, m->parts, m->base.n, &sum);
	if (!code && from)
		code = sn_checkpoint_copy(from, beside);
	if (!code)
		code = sn_sync_dir(beside);
	if (!code && rename(beside, out) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", out, strerror(errno));
	if (code)
		sn_remove_tree(beside);
	free(model);
	free(beside);
	return code;
}

static int merge(Merge *m, const char *model, const char *adapter, const char *out)
{
	char *from = sn_checkpoint_find(model, true), *with = from ? sn_checkpoint_find(adapter, true) : NULL;
	bool dir = from && sn_is_dir(from), file = strlen(out) > 12 && strcmp(out + strlen(out) - 12, ".safetensors") == 0;
	char *weights = dir ? sn_weights_file(from) : from ? sn_format("%s", from) : NULL;
	int code = !from || !with ? SN_DATA : weights ? sn_st_open(&m->base, weights) : sn_fail(SN_DATA, "%s: no model.safetensors in it", from);
	if (!code && m->base.nshard == 1)
		code = sn_checkpoint_verify(weights, &m->base.shards[0].file, false);
	if (!code)
		code = sn_adapter_open(&m->adapter, with);
	if (!code)
		code = add_all(m);
	if (!code)
		code = file ? sn_st_write_parts(out, m->parts, m->base.n) : write_dir(m, dir ? from : NULL, out);
	if (!code)
		sn_note("%d of %d tensors changed, in %s", m->adapter.n, m->base.n, out);
	for (int i = 0; i < m->base.n && m->parts; i++)
		if (m->parts[i].at != m->base.tensors[i].at)
			free((void *)m->parts[i].at);
	free(m->parts);
	sn_adapter_close(&m->adapter);
	sn_st_close(&m->base);
	free(weights);
	free(with);
	free(from);
	return code;
}

int run_merge(Arena *a, const Flags *f)
{
	const char *adapter = flag(f, "adapter"), *out = flag(f, "output");
	Merge m = { 0 };
	if (!adapter || !out || !*out) {
		diag_error((Loc){0}, NULL, "merge wants --adapter DIR and -o PATH");
		return EXIT_USAGE;
	}
	if (sn_exists(out) && sn_is_dir(out)) {
		diag_error((Loc){0}, NULL, "%s is there already: name a directory that is to be made", out);
		return EXIT_USAGE;
	}
	return merge(&m, f->rest.at[0], adapter, out);
}
