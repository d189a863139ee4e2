/* axes.c: the geometry of a contraction: which letters are batch, rows (m), columns (n) and summed (k), and how a
 * group of letters lies in some memory: as one axis with one stride where it does, letter by letter where not. */
#include "backend/gen.h"

static const char *copy_letters(char *to, const char *from)
{
	while (*from && *from != ',' && *from != '-')
		*to++ = *from++;
	*to = 0;
	return from;
}

static void append(char *group, char letter)
{
	size_t n = strlen(group);
	group[n] = letter;
	group[n + 1] = 0;
}

Axes axes_of(const char *spec, const Type *in0, const Type *in1)
{
	Axes x = { 0 };
	const Type *type[2] = { in0, in1 };
	const char *p = copy_letters(x.in[0], spec);
	p = copy_letters(x.in[1], p + 1);
	copy_letters(x.out, p + 2);
	for (const char *c = x.out; *c; c++) {
		bool left = strchr(x.in[0], *c), right = strchr(x.in[1], *c);
		append(left && right ? x.batch : left ? x.m : x.n, *c);
	}
	for (const char *c = x.in[0]; *c; c++)
		if (!strchr(x.out, *c))
			append(x.k, *c);
	for (int s = 0; s < 2; s++)
		for (int i = 0; type[s] && x.in[s][i]; i++)
			x.extent[(int)x.in[s][i]] = type[s]->dim[i];
	return x;
}

Access axes_access(const Axes *x, const char *letters, Type t, const View *view)
{
	Access a;
	for (int i = 0; i < COUNT(a.stride); i++)
		a.stride[i] = dim_const(0);
	for (int i = 0; i < t.rank; i++)
		if (!dim_is(t.dim[i], 1))
			a.stride[(int)letters[i]] = view->stride[i];
	return a;
}

const Dim *axes_extent(const Axes *x, const char *group)
{
	const Dim *d = dim_const(1);
	for (; *group; group++)
		d = dim_mul(d, x->extent[(int)*group]);
	return d;
}

const Dim *axes_stride(const Axes *x, const char *group, const Access *a)
{
	const Dim *stride = NULL, *span = NULL;
	for (int i = (int)strlen(group) - 1; i >= 0; i--) {
		const Dim *extent = x->extent[(int)group[i]], *s = a->stride[(int)group[i]];
		if (dim_is(extent, 1))
			continue;
		if (stride && s != span)
			return NULL;
		stride = stride ? stride : s;
		span = dim_mul(s, extent);
	}
	return stride ? stride : dim_const(0);
}

LLVMValueRef gen_offset(Gen *g, const Axes *x, const char *group, const Access *a, LLVMValueRef index)
{
	const Dim *whole = axes_stride(x, group, a);
	if (whole)
		return LLVMBuildNSWMul(g->b, index, gen_dim(g, whole), "");
	LLVMValueRef sum = gen_i64(g, 0);
	for (int i = (int)strlen(group) - 1; i >= 0; i--) {
		LLVMValueRef extent = gen_dim(g, x->extent[(int)group[i]]);
		LLVMValueRef at = i ? gen_bin(g, LLVMURem, index, extent) : index;
		LLVMValueRef stride = gen_dim(g, a->stride[(int)group[i]]);
		sum = LLVMBuildNSWAdd(g->b, sum, LLVMBuildNSWMul(g->b, at, stride, ""), "");
		index = i ? gen_bin(g, LLVMUDiv, index, extent) : index;
	}
	return sum;
}
