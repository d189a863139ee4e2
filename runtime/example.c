/* example.c: `--example-inputs FILE` of every command that takes inputs: a file that --inputs accepts, of random values in the
 * command's shapes at the compiled bounds (of examples a batch, if that is more; generation takes one), to see what such a
 * file holds and to try a program without data. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

/* Element i of input `slot`: standard normal numbers; ids below the table's rows, every fifth label ignored; booleans that begin a
 * row with true, as a mask of what is real does. */
static void put(const SnSlot *s, void *at, int64_t i, int64_t last, uint32_t key)
{
	double u = sn_uniform((uint32_t)i, 1, key);
	if (s->dtype == SN_I32)
		((int32_t *)at)[i] = s->optional && i % 5 == 4 ? -100 : (int32_t)(u * (double)(s->rows > 0 ? s->rows : 100));
	else
		((char *)at)[i] = i % last == 0 || u < 0.75;
}

static void *random_values(const SnSlot *s, const int64_t *shape, uint32_t seed)
{
	int64_t n = 1;
	for (int i = 0; i < s->rank; i++)
		n *= shape[i];
	void *at = sn_alloc(4 * (size_t)n + 4);
	uint32_t key = sn_hash32(s->name, strlen(sn_text(s->name)), seed);
	if (s->dtype == SN_F32)
		sn_normals(at, 0, n, key, 0, 1);
	for (int64_t i = 0; s->dtype != SN_F32 && i < n; i++)
		put(s, at, i, s->rank ? shape[s->rank - 1] : 1, key);
	return at;
}

static const SnFunction *fed_function(const SnEntry *e)
{
	static const char *const names[] = {[SN_TRAIN] = "step", [SN_EVAL] = "eval", [SN_GENERATE] = "encode", [SN_INFER] = "run", [SN_EXPLAIN] = "run"};
	return sn_function(e, names[e->kind]);
}

/* The extent of a run-time dimension in the file. */
static int64_t extent(const SnOptions *o, const SnSym *sym)
{
	if (strcmp(sym->name, "B") != 0)
		return sym->bound;
	if (o->entry->kind == SN_GENERATE)   /* the bound counts a beam's sequences */
		return 1;
	int64_t batch = (int64_t)sn_num(o, "batch", 0);
	return sym->bound > batch ? sym->bound : batch;
}

static int write_example(const SnOptions *o, const SnFunction *f, const char *path)
{
	SnSession s = {.entry = o->entry};
	const SnSym *syms = o->entry->syms;
	const SnSlot *slots = f->slots;
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(f->nslot + 1));
	int64_t (*shapes)[SN_MAX_RANK] = sn_alloc(sizeof *shapes * (size_t)(f->nslot + 1));
	int n = 0;
	for (int64_t i = 0; i < o->entry->nsym; i++)
		s.dims[i] = extent(o, &syms[i]);
	for (int64_t i = 0; i < f->nslot; i++) {
		if (slots[i].output || !sn_slot_is_fed(&slots[i]))
			continue;
		sn_slot_shape(&s, f, &slots[i], shapes[n]);
		parts[n] = (SnStPart){slots[i].name, (int)slots[i].dtype, (int)slots[i].rank, shapes[n],
			random_values(&slots[i], shapes[n], (uint32_t)sn_num(o, "seed", 1))};
		n++;
	}
	int code = n ? sn_st_write_parts(path, parts, n) : sn_fail(SN_USAGE, "this command takes no file of inputs");
	for (int i = 0; i < n; i++)
		free((void *)parts[i].at);
	free(parts);
	free(shapes);
	return code;
}

int sn_example_main(const SnOptions *o)
{
	const SnFunction *f = fed_function(o->entry);
	if (!f)
		return sn_fail(SN_USAGE, "this command takes no file of inputs");
	const char *path = sn_str(o, "example", NULL);
	int code = write_example(o, f, path);
	if (!code && !sn_given(o, "quiet"))
		sn_note("random inputs in %s", path);
	return code;
}
