/* safetensors.c: reading and writing the safetensors format: 8 bytes of little-endian header length, a JSON header,
 * then the tensors' bytes without holes. A file is checked as a whole before any of it is used, because it may come
 * from anywhere: lengths, duplicates, shapes whose product overflows, offsets outside, overlapping or leaving holes. */
#include "runtime/sn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100 << 20 };   /* as the reference implementation */

static const struct { const char *name; int kind, size; } dtypes[] = {
	{"F32", SN_ST_F32, 4}, {"F16", SN_ST_F16, 2}, {"BF16", SN_ST_BF16, 2}, {"F64", SN_ST_F64, 8}, {"I64", SN_ST_I64, 8},
	{"I32", SN_ST_I32, 4}, {"I16", SN_ST_I16, 2}, {"I8", SN_ST_I8, 1}, {"U64", SN_ST_U64, 8}, {"U32", SN_ST_U32, 4},
	{"U16", SN_ST_U16, 2}, {"U8", SN_ST_U8, 1}, {"BOOL", SN_ST_BOOL, 1}, {"F8_E4M3", SN_ST_F8_E4M3, 1}, {"F8_E5M2", SN_ST_F8_E5M2, 1},
};

static int dtype_size(SnStTensor *t)
{
	for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
		if (!strcmp(dtypes[i].name, t->dtype)) {
			t->kind = dtypes[i].kind;
			return dtypes[i].size;
		}
	return 0;
}

static int bad(const SnSafetensors *f, const SnStTensor *t, const char *why)
{
	return t ? sn_fail(SN_DATA, "%s: tensor %s: %s", f->path, t->name, why) : sn_fail(SN_DATA, "%s: not a valid safetensors file: %s", f->path, why);
}

static int read_shape(const SnSafetensors *f, SnStTensor *t, json_t *shape)
{
	if (!json_is_array(shape))
		return bad(f, t, "no shape");
	if (json_array_size(shape) > SN_MAX_RANK)
		return bad(f, t, "more than 8 axes");
	t->rank = (int)json_array_size(shape);
	t->elems = 1;
	for (int i = 0; i < t->rank; i++) {
		json_t *j = json_array_get(shape, (size_t)i);
		t->shape[i] = json_is_integer(j) ? json_integer_value(j) : -1;
		if (t->shape[i] < 0)
			return bad(f, t, "an extent is not a number of 0 or more");
		if (__builtin_mul_overflow(t->elems, t->shape[i], &t->elems))
			return bad(f, t, "the shape's product overflows");
	}
	return SN_OK;
}

static int read_tensor(const SnSafetensors *f, SnStTensor *t, const char *name, json_t *j, const char *data, int64_t size)
{
	*t = (SnStTensor){.name = name, .dtype = json_string_value(json_object_get(j, "dtype"))};
	if (!t->dtype)
		return bad(f, t, "no dtype");
	int code = read_shape(f, t, json_object_get(j, "shape"));
	if (code)
		return code;
	int each = dtype_size(t);
	if (!each)
		return sn_fail(SN_DATA, "%s: tensor %s: unknown dtype %s", f->path, name, t->dtype);
	json_t *offsets = json_object_get(j, "data_offsets"), *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
	if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
		return bad(f, t, "no data_offsets");
	int64_t begin = json_integer_value(from), end = json_integer_value(to), bytes;
	if (begin < 0 || end < begin || end > size)
		return bad(f, t, "its bytes lie outside the file (cut short?)");
	if (__builtin_mul_overflow(t->elems, (int64_t)each, &bytes) || bytes != end - begin)
		return bad(f, t, "its bytes are not what its shape and dtype need");
	t->at = data + begin;
	t->bytes = (size_t)bytes;
	return SN_OK;
}

static int by_place(const void *x, const void *y)
{
	const SnStTensor *a = x, *b = y;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* In order of their places one file's tensors, the last n read, must follow one another to the end. */
static int check_places(SnSafetensors *f, int n, const char *data, size_t size)
{
	SnStTensor *t = f->tensors + f->n - n;
	qsort(t, (size_t)n, sizeof *t, by_place);
	const char *next = data;
	for (int i = 0; i < n; i++) {
		if (t[i].at < next)
			return bad(f, &t[i], "overlaps another tensor");
		if (t[i].at > next)
			return bad(f, &t[i], "a hole lies before it");
		next += t[i].bytes;
	}
	return next == data + size ? SN_OK : bad(f, NULL, "bytes follow the last tensor");
}

static int read_tensors(SnSafetensors *f, json_t *header, const char *data, size_t size)
{
	const char *name;
	json_t *j;
	int first = f->n;
	f->tensors = sn_realloc(f->tensors, sizeof *f->tensors * ((size_t)f->n + json_object_size(header) + 1));
	json_object_foreach(header, name, j) {
		if (!strcmp(name, "__metadata__"))
			continue;
		for (int i = 0; i < f->nshard - 1; i++)
			if (json_object_get(f->shards[i].header, name))
				return sn_fail(SN_DATA, "%s: tensor %s is in two of its files", f->path, name);
		int code = read_tensor(f, &f->tensors[f->n], name, j, data, (int64_t)size);
		if (code)
			return code;
		f->n++;
	}
	return check_places(f, f->n - first, data, size);
}

static int read_shard(SnSafetensors *f, const char *path)
{
	SnShard *s = &f->shards[f->nshard++];
	uint64_t length = 0;
	int code = sn_file_map(&s->file, path);
	if (code)
		return code;
	if (s->file.n < 8)
		return bad(f, NULL, "shorter than 8 bytes");
	for (int i = 7; i >= 0; i--)
		length = length << 8 | (unsigned char)s->file.at[i];
	if (length > HEADER_MAX || length > s->file.n - 8)
		return bad(f, NULL, "the header's length reaches beyond the file or 100 MB");
	json_error_t err;
	s->header = json_loadb(s->file.at + 8, length, JSON_REJECT_DUPLICATES, &err);
	if (!json_is_object(s->header))
		return sn_fail(SN_DATA, "%s: not a valid safetensors file: header: %s", path, s->header ? "not an object" : err.text);
	s->header_bytes = 8 + length;
	return read_tensors(f, s->header, s->file.at + 8 + length, s->file.n - 8 - length);
}

/* The index names each tensor's file, in the index's own directory; the files are read in the order of first mention. */
static int read_index(SnSafetensors *f, json_t *index)
{
	json_t *map = json_object_get(index, "weight_map"), *value, *seen = json_object();   /* of each file: its number */
	const char *tensor, *slash = strrchr(f->path, '/');
	int code = json_is_object(map) ? SN_OK : sn_fail(SN_DATA, "%s: no weight_map", f->path);
	f->shards = sn_alloc(sizeof *f->shards * (json_object_size(map) + 1));
	json_object_foreach(map, tensor, value) {
		const char *name = json_string_value(value);
		if (code)
			break;
		if (!name || !*name || strchr(name, '/')) {
			code = sn_fail(SN_DATA, "%s: %s: not a file's name", f->path, tensor);
		} else if (!json_object_get(seen, name)) {
			char *path = sn_format("%.*s%s", slash ? (int)(slash + 1 - f->path) : 0, f->path, name);
			json_object_set_new(seen, name, json_integer(f->nshard));
			code = read_shard(f, path);
			free(path);
		}
	}
	json_object_foreach(map, tensor, value)
		if (!code && !json_object_get(f->shards[json_integer_value(json_object_get(seen, json_string_value(value)))].header, tensor))
			code = sn_fail(SN_DATA, "%s: tensor %s is not in %s", f->path, tensor, json_string_value(value));
	json_decref(seen);
	return code;
}

int sn_st_open(SnSafetensors *f, const char *path)
{
	static const char tail[] = ".index.json";
	*f = (SnSafetensors){.path = path};
	size_t n = strlen(path), k = sizeof tail - 1;
	int code;
	if (n > k && !strcmp(path + n - k, tail)) {
		json_t *index = sn_json_read(path);
		code = index ? read_index(f, index) : SN_DATA;
		json_decref(index);
	} else {
		f->shards = sn_alloc(sizeof *f->shards);
		code = read_shard(f, path);
	}
	if (code)
		sn_st_close(f);
	return code;
}

void sn_st_close(SnSafetensors *f)
{
	for (int i = 0; i < f->nshard; i++) {
		json_decref(f->shards[i].header);
		sn_file_unmap(&f->shards[i].file);
	}
	free(f->shards);
	free(f->tensors);
	*f = (SnSafetensors){0};
}

const SnStTensor *sn_st_find(const SnSafetensors *f, const char *name)
{
	for (int i = 0; i < f->n; i++)
		if (!strcmp(f->tensors[i].name, name))
			return &f->tensors[i];
	return NULL;
}

static float from_bits(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

/* IEEE 754 binary16; subnormals by a multiplication that is exact. */
static float half(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
	if (exponent == 0) {
		float x = (float)fraction * 0x1p-24f;
		return sign ? -x : x;
	}
	return from_bits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

bool sn_st_is_weight(const SnStTensor *t)
{
	return 1u << t->kind & (1u << SN_ST_F32 | 1u << SN_ST_F16 | 1u << SN_ST_BF16 | 1u << SN_ST_F64 | 1u << SN_ST_F8_E4M3 | 1u << SN_ST_F8_E5M2 |
	                        1u << SN_ST_I8 | 1u << SN_ST_U8 | 1u << SN_ST_I16 | 1u << SN_ST_U16);
}

bool sn_st_is_integer(const SnStTensor *t)
{
	return t->kind >= SN_ST_I64 && t->kind <= SN_ST_U8;
}

/* Micikevicius et al. 2022: E5M2 is the upper half of a binary16; E4M3 has a bias of 7, no infinities and one NaN of each sign. */
static float eighth(const SnStTensor *t, uint8_t b)
{
	uint16_t h = (uint16_t)(b << 8);
	if (t->kind == SN_ST_F8_E5M2)
		return half(h);
	h = (uint16_t)((h & 0x8000) | (h & 0x7F00) >> 1);
	return (b & 0x7F) == 0x7F ? half(h | 0x7FFF) : half(h) * 256;
}

static float element(const SnStTensor *t, int64_t i)
{
	double x;
	if (t->kind >= SN_ST_F8_E4M3)
		return eighth(t, (uint8_t)t->at[i]);
	if (t->kind != SN_ST_F64)
		return (float)sn_st_integer(t, i);
	memcpy(&x, t->at + 8 * i, sizeof x);
	return (float)x;
}

static void from_halves(const SnStTensor *t, int64_t first, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, t->at + 2 * (first + i), sizeof h);
		out[i] = t->kind == SN_ST_F16 ? half(h) : from_bits((uint32_t)h << 16);
	}
}

void sn_st_floats(const SnStTensor *t, int64_t first, int64_t n, float *out)
{
	if (t->kind == SN_ST_F32) {
		memcpy(out, t->at + 4 * first, sizeof *out * (size_t)n);
		return;
	}
	if (t->kind <= SN_ST_BF16) {
		from_halves(t, first, n, out);
		return;
	}
	for (int64_t i = 0; i < n; i++)
		out[i] = element(t, first + i);
}

void sn_st_read(const SnStTensor *t, float *out)
{
	sn_st_floats(t, 0, t->elems, out);
}

int64_t sn_st_integer(const SnStTensor *t, int64_t i)
{
#define READ(T) { T x; memcpy(&x, t->at + (int64_t)sizeof x * i, sizeof x); return (int64_t)x; }
	switch (t->kind) {
	case SN_ST_I64: READ(int64_t)
	case SN_ST_I32: READ(int32_t)
	case SN_ST_I16: READ(int16_t)
	case SN_ST_I8: READ(int8_t)
	case SN_ST_U32: READ(uint32_t)
	case SN_ST_U16: READ(uint16_t)
	case SN_ST_U64: {
		uint64_t x;
		memcpy(&x, t->at + 8 * i, sizeof x);
		return x > INT64_MAX ? INT64_MAX : (int64_t)x;
	}
	default: READ(uint8_t)
	}
#undef READ
}

static bool wanted(const SnTensor *t, int kind, const char *const *prefixes, int n)
{
	if (t->kind != kind || t->dtype != SN_F32 || t->adapter)
		return false;
	for (int i = 0; i < n; i++)
		if (!strncmp(t->name, prefixes[i], strlen(prefixes[i])))
			return true;
	return n == 0;
}

static const char *const dtype_name[] = {[SN_F32] = "F32", [SN_I32] = "I32", [SN_BOOL] = "BOOL"};

/* A part's dtype beyond these: a row of dtypes. */
enum { STORED = 16 };

int sn_st_dtype(const SnStTensor *t)
{
	int i = 0;
	while (strcmp(dtypes[i].name, t->dtype))   /* which was found there when the file was read */
		i++;
	return STORED + i;
}

static const char *dtype_text(int dtype)
{
	return dtype >= STORED ? dtypes[dtype - STORED].name : dtype_name[dtype];
}

static int64_t part_bytes(const SnStPart *p)
{
	int64_t n = p->dtype >= STORED ? dtypes[p->dtype - STORED].size : p->dtype == SN_BOOL ? 1 : 4;
	for (int i = 0; i < p->rank; i++)
		n *= p->shape[i];
	return n;
}

static char *header_text(const SnStPart *parts, int n)
{
	json_t *root = sn_json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
	int64_t at = 0;
	for (int i = 0; i < n; i++) {
		json_t *shape = json_array();
		for (int k = 0; k < parts[i].rank; k++)
			json_array_append_new(shape, json_integer(parts[i].shape[k]));
		int64_t end = at + part_bytes(&parts[i]);
		json_object_set_new(root, parts[i].name, sn_json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_text(parts[i].dtype), "shape", shape,
		                    "data_offsets", (json_int_t)at, (json_int_t)end));
		at = end;
	}
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

int sn_st_put(const char *path, const SnStPart *parts, int nparts, uint64_t *sum)
{
	char *header = header_text(parts, nparts);
	if (!header)
		return sn_fail(SN_FAIL, "out of memory");
	SnWriter w;
	int code = sn_writer_open(&w, path);
	if (code) {
		free(header);
		return code;
	}
	size_t n = strlen(header), padded = (n + 7) / 8 * 8;
	unsigned char length[8];
	for (int i = 0; i < 8; i++)
		length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
	sn_writer_put(&w, length, sizeof length);
	sn_writer_put(&w, header, n);
	sn_writer_put(&w, "        ", padded - n);
	for (int i = 0; i < nparts && !w.bad; i++)
		sn_writer_put(&w, parts[i].at, (size_t)part_bytes(&parts[i]));
	free(header);
	*sum = sn_sum_end(&w.sum);
	return sn_writer_close(&w);
}

int sn_st_write(const char *path, const SnSession *s, int kind, const char *const *prefixes, int nprefix, uint64_t *sum)
{
	const SnTensor *t = s->entry->tensors;
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(s->entry->ntensor + 1));
	int n = 0;
	for (int64_t i = 0; i < s->entry->ntensor; i++)
		if (wanted(&t[i], kind, prefixes, nprefix))
			parts[n++] = (SnStPart){t[i].name, SN_F32, (int)t[i].rank, t[i].dims, s->arena + t[i].offset};
	int code = sn_st_put(path, parts, n, sum);
	free(parts);
	return code;
}

/* A device or a pipe is written to as it stands; a link's target is replaced, not the link. */
int sn_st_write_parts(const char *path, const SnStPart *parts, int n)
{
	struct stat st;
	uint64_t sum;
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return sn_st_put(path, parts, n, &sum);
	char *real = realpath(path, NULL), *beside = sn_format("%s.tmp-%d", real ? real : path, (int)getpid());
	int code = sn_st_put(beside, parts, n, &sum);
	if (!code && rename(beside, real ? real : path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	if (code)
		unlink(beside);
	free(beside);
	free(real);
	return code;
}
