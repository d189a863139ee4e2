/* reach.c: is what a kernel writes still in a cache when it is read? Counted are the bytes of constant size that kernels write from the
 * first byte of its outputs to the start of the first kernel that reads one of them: by then as many have passed through the caches. */
#include "ir/ir.h"

enum { FAR_BYTES = 64 << 20 };       /* more than the share of a last-level cache that a program can count on */

static const Value *memory_of(const Value *v)
{
	while (op_info[v->op].flags & OPF_VIEW)
		v = v->in[0];
	return v;
}

static int64_t written(const Cluster *c)
{
	int64_t n, bytes = 0;
	for (int i = 0; i < c->outs.len; i++)
		if (dim_is_const(type_elems(c->outs.at[i]->type), &n))
			bytes += n * dtype_size[c->outs.at[i]->type.dt];
	return bytes;
}

bool *far_outputs(Arena *a, const ClusterList *l)
{
	bool *far = NEW_ARRAY(a, bool, l->len), *read = NEW_ARRAY(a, bool, l->len);
	int64_t *before = NEW_ARRAY(a, int64_t, l->len + 1);
	ValueMap *writer = vmap_new(a);
	for (int k = 0; k < l->len; k++) {
		const Cluster *c = l->at[k];
		for (int i = 0; i < c->ins.len; i++) {
			int w = vmap_get(writer, memory_of(c->ins.at[i]));
			if (w < 0 || read[w])
				continue;
			read[w] = true;
			far[w] = before[k] - before[w] >= FAR_BYTES;
		}
		before[k + 1] = before[k] + written(c);
		for (int i = 0; i < c->outs.len; i++)
			vmap_put(writer, c->outs.at[i], k);
	}
	for (int k = 0; k < l->len; k++)
		far[k] |= !read[k] && before[l->len] - before[k] >= FAR_BYTES;
	return far;
}
