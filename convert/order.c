/* order.c: a tensor's elements as they are to be written, from how they are stored. Rows go some at a time through a buffer of a
 * bounded size; only what is transposed passes through memory as a whole. */
#include "convert/convert.h"

#include <math.h>
#include <stdlib.h>

enum { CHUNK = 1 << 20 };   /* elements in the buffer, or a row */

int64_t weight_elems(const Weight *t)
{
	int64_t n = 1;
	for (int i = 0; i < t->rank; i++)
		n *= t->shape[i];
	return n;
}

int64_t weight_bytes(const Weight *t, Elem as)
{
	return weight_elems(t) / elem_info[as].block * elem_info[as].bytes;
}

/* Rows are those of the first axis: a vector's are its elements where their order is another, else it is one row. */
static int64_t rows_of(const Weight *t)
{
	if (t->rank == 0 || (t->rank == 1 && t->order == ORDER_SAME))
		return 1;
	return t->shape[0];
}

/* Of row r as written, the row as stored. */
static int64_t stored_row(const Weight *t, int64_t r)
{
	if (t->order != ORDER_HALVES && t->order != ORDER_PAIRS)
		return r;
	int64_t width = t->shape[0] / t->heads, head = r / width, i = r % width, half = width / 2;
	int64_t from = t->order == ORDER_HALVES ? i % half * 2 + i / half : i % 2 * half + i / 2;
	return head * width + from;
}

static void read_rows(const Weight *t, int64_t first, int64_t n, int64_t width, float *out)
{
	const ElemInfo *e = &elem_info[t->elem];
	int64_t bytes = width / e->block * e->bytes;
	for (int64_t r = 0; r < n; r++)
		e->read(t->at + stored_row(t, first + r) * bytes, width / e->block, out + r * width);
}

static int put(const Weight *t, const float *x, int64_t n, Elem to, const char *path, SnWriter *w, char *out)
{
	const ElemInfo *e = &elem_info[to];
	if (to == EL_F16)
		for (int64_t i = 0; i < n; i++)
			if (fabsf(x[i]) >= 65520 && isfinite(x[i]))
				return sn_fail(SN_DATA, "%s: tensor %s has %g, beyond the greatest F16 (65504): use bf16 or f32", path, t->name, (double)x[i]);
	e->write(x, n / e->block, out);
	sn_writer_put(w, out, (size_t)(n / e->block * e->bytes));
	return SN_OK;
}

static int write_transposed(const Weight *t, Elem to, const char *path, SnWriter *w)
{
	int64_t rows = t->shape[0], width = t->shape[1];
	float *stored = sn_alloc(sizeof *stored * (size_t)(rows * width)), *row = sn_alloc(sizeof *row * (size_t)width);
	char *out = sn_alloc(sizeof *row * (size_t)width);
	const ElemInfo *e = &elem_info[t->elem];
	e->read(t->at, rows * width / e->block, stored);
	int code = SN_OK;
	for (int64_t r = 0; r < rows && !code; r++) {
		for (int64_t i = 0; i < width; i++)
			row[i] = stored[i * rows + r];
		code = put(t, row, width, to, path, w, out);
	}
	free(stored);
	free(row);
	free(out);
	return code;
}

int weight_write(const Weight *t, Elem to, const char *path, SnWriter *w)
{
	if (t->order == ORDER_TRANSPOSED)
		return write_transposed(t, to, path, w);
	int64_t rows = rows_of(t), width = weight_elems(t) / rows, most = width < CHUNK ? CHUNK / width : 1;
	most = MIN(most, rows);
	float *x = sn_alloc(sizeof *x * (size_t)(most * width));
	char *out = sn_alloc(sizeof *x * (size_t)(most * width));
	int code = SN_OK;
	for (int64_t r = 0; r < rows && !code && !w->bad; r += most) {
		int64_t n = MIN(most, rows - r);
		read_rows(t, r, n, width, x);
		code = put(t, x, n * width, to, path, w, out);
	}
	free(x);
	free(out);
	return code;
}
