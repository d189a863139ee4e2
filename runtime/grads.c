/* grads.c: `train --grads-out FILE`: the loss, the metrics and the gradient of every parameter at given weights and inputs, as
 * a file of tensors "loss", metrics by name, "grad.<parameter>": for whoever holds a model against another program. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

typedef struct Grads {
	const SnOptions *o;
	const SnFunction *step;
	SnSession s;
	SnInputs in;
	SnMeans means;
	float values[SN_MAX_METRICS];
} Grads;

/* All examples in the file's order, in calls of equal size, so that the mean over calls is the mean over examples. */
static int run(Grads *g)
{
	int64_t bound = sn_bound(g->o->entry, "B"), all = g->in.examples, rows = bound < 1 ? 1 : all < bound ? all : bound;
	if (all % rows)
		return sn_fail(SN_DATA, "%s: %lld examples are no multiple of the compiled micro-batch %lld", g->in.file.path, (long long)all, (long long)rows);
	int64_t *pick = sn_alloc(sizeof *pick * (size_t)rows);
	sn_means_open(&g->means, g->step, NULL);
	for (int64_t done = 0; done < all; done += rows) {
		for (int64_t i = 0; i < rows; i++)
			pick[i] = done + i;
		sn_inputs_fill(&g->in, &g->s, pick, rows, SN_FIXED);
		sn_set_i32(&g->s, g->step, "seed", (int32_t)sn_num(g->o, "seed", 1));
		sn_set_bool(&g->s, g->step, "accumulate", done > 0);
		sn_call(&g->s, g->step);
		sn_means_add(&g->means, &g->s, 1);
	}
	free(pick);
	return SN_OK;
}

/* Sums over calls become means. */
static void average(Grads *g, const SnTensor *t)
{
	float *x = (float *)(g->s.arena + t->offset), scale = (float)(1 / g->means.weight);
	for (int64_t i = 0, n = sn_tensor_elems(t); i < n && g->means.weight > 1; i++)
		x[i] *= scale;
}

static int write_all(Grads *g, const char *path)
{
	const SnTensor *t = g->s.entry->tensors;
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(g->s.entry->ntensor + SN_MAX_METRICS));
	int n = 0;
	for (int i = 0; i < g->means.n; i++) {
		g->values[i] = (float)sn_means_at(&g->means, i);
		parts[n++] = (SnStPart){g->means.name[i], SN_F32, 0, NULL, &g->values[i]};
	}
	for (int64_t i = 0; i < g->s.entry->ntensor; i++) {
		if (t[i].kind != 1 || t[i].dtype != SN_F32 || strncmp(t[i].name, "grad.", 5))
			continue;
		average(g, &t[i]);
		parts[n++] = (SnStPart){t[i].name, SN_F32, (int)t[i].rank, t[i].dims, g->s.arena + t[i].offset};
	}
	int code = sn_st_write_parts(path, parts, n);
	free(parts);
	if (!code && !sn_given(g->o, "quiet"))
		sn_note("loss %.9g; %d gradients of %lld examples in %s", (double)g->values[0], n - g->means.n, (long long)g->in.examples, path);
	return code;
}

static int open_all(Grads *g, const char *checkpoint)
{
	int code = sn_session_start(&g->s, g->o->entry, g->o);
	if (!code)
		code = sn_inputs_open(&g->in, g->o->entry, g->step, sn_str(g->o, "data.inputs", NULL), NULL);
	return code ? code : sn_model_load(&g->s, g->o, checkpoint);
}

int sn_grads_main(const SnOptions *o)
{
	Grads g = {.o = o, .step = sn_function(o->entry, "step")};
	const char *model = sn_str(o, "model", NULL);
	if (!g.step || !sn_str(o, "data.inputs", NULL))
		return sn_fail(SN_USAGE, "--grads-out wants --inputs FILE");
	char *checkpoint = model ? sn_checkpoint_find(model, true) : NULL;
	int code = model && !checkpoint ? SN_DATA : open_all(&g, checkpoint);
	if (!code)
		code = run(&g);
	if (!code)
		code = write_all(&g, sn_str(o, "grads", NULL));
	if (!code && sn_taps_asked(o))
		code = ((SnTapsWrite *)o->entry->taps)(o, &g.s, g.step);
	sn_inputs_close(&g.in);
	sn_means_close(&g.means);
	sn_session_close(&g.s);
	free(checkpoint);
	return code;
}
