/* gguf.c: a GGUF file's keys and tensors, checked as a whole: every message has the byte at which what is wrong begins. */
#include "convert/convert.h"

#include <stdlib.h>

enum { VERSION_LEAST = 2, VERSION_MOST = 3, ALIGNMENT = 32, KEY_LEAST = 8 + 4 + 1, TENSOR_LEAST = 8 + 4 + 8 + 4 + 8, NAME_MOST = 1 << 16 };

static const int value_bytes[GG_TYPES] = {
	[GG_U8] = 1, [GG_I8] = 1, [GG_U16] = 2, [GG_I16] = 2, [GG_U32] = 4, [GG_I32] = 4, [GG_F32] = 4, [GG_BOOL] = 1, [GG_U64] = 8, [GG_I64] = 8, [GG_F64] = 8,
};

/* Reading stops at the first thing wrong; what is read behind it is 0. */
typedef struct Cursor { Gguf *g; uint64_t at; int code; } Cursor;

static int wrong(Cursor *c, uint64_t at, const char *fmt, ...) PRINTF(3, 4);
static int wrong(Cursor *c, uint64_t at, const char *fmt, ...)
{
	if (c->code)
		return c->code;
	va_list ap;
	char text[512];
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return c->code = sn_fail(SN_DATA, "%s: at byte %llu: %s", c->g->path, (unsigned long long)at, text);
}

static uint64_t left(const Cursor *c)
{
	return c->g->file.n - c->at;
}

static const char *take(Cursor *c, uint64_t n, const char *what)
{
	if (c->code)
		return NULL;
	if (n > left(c)) {
		wrong(c, c->at, "the file ends within %s", what);
		return NULL;
	}
	const char *p = c->g->file.at + c->at;
	c->at += n;
	return p;
}

static uint64_t number(Cursor *c, int bytes, const char *what)
{
	const unsigned char *p = (const unsigned char *)take(c, (uint64_t)bytes, what);
	uint64_t x = 0;
	for (int i = bytes; p && i > 0; i--)
		x = x << 8 | p[i - 1];
	return x;
}

/* Length and bytes; the bytes stay in the mapping. */
static const char *string(Cursor *c, uint64_t *n, const char *what)
{
	uint64_t from = c->at;
	*n = number(c, 8, what);
	if (!c->code && *n > left(c))
		wrong(c, from, "%s is to have %llu bytes; the file has %llu more", what, (unsigned long long)*n, (unsigned long long)left(c));
	return take(c, *n, what);
}

/* A name that can be printed and compared: no control characters, of a sane length. */
static const char *name(Cursor *c, const char *what)
{
	uint64_t n, from = c->at;
	const char *p = string(c, &n, what);
	if (c->code)
		return "";
	if (n == 0 || n > NAME_MOST) {
		wrong(c, from, "%s has %llu bytes: 1 to %d are a name's", what, (unsigned long long)n, NAME_MOST);
		return "";
	}
	for (uint64_t i = 0; i < n; i++)
		if ((unsigned char)p[i] < ' ' || p[i] == 0x7F)
			wrong(c, from, "%s has a control character", what);
	return arena_strndup(c->g->arena, p, n);
}

static void array(Cursor *c, GgufKey *k)
{
	uint64_t from = c->at;
	k->of = (uint32_t)number(c, 4, "an array");
	k->n = number(c, 8, "an array");
	if (c->code)
		return;
	if (k->of >= GG_TYPES || k->of == GG_ARRAY) {
		wrong(c, from, "%s: an array of type %u: %s", k->name, k->of, k->of == GG_ARRAY ? "arrays of arrays are not read" : "there is none");
		return;
	}
	uint64_t each = k->of == GG_STRING ? 8 : (uint64_t)value_bytes[k->of];
	if (k->n > left(c) / each) {
		wrong(c, from, "%s: an array of %llu elements; the file has room for %llu", k->name, (unsigned long long)k->n, (unsigned long long)(left(c) / each));
		return;
	}
	k->at = c->g->file.at + c->at;
	if (k->of != GG_STRING)
		take(c, k->n * each, k->name);
	for (uint64_t i = 0, n; k->of == GG_STRING && i < k->n && !c->code; i++)
		string(c, &n, "a string of an array");
}

static void key(Cursor *c)
{
	GgufKey k = {.name = name(c, "a key's name")};
	uint64_t from = c->at;
	k.type = (uint32_t)number(c, 4, "a key");
	if (c->code)
		return;
	if (k.type >= GG_TYPES) {
		wrong(c, from, "%s: a value of type %u: there is none", k.name, k.type);
		return;
	}
	if (k.type == GG_ARRAY)
		array(c, &k);
	else if (k.type == GG_STRING)
		k.at = string(c, &k.n, k.name);
	else
		k.at = take(c, (uint64_t)value_bytes[k.type], k.name);
	if (!c->code)
		vec_push(c->g->arena, &c->g->keys, k);
}

static void extents(Cursor *c, GgufTensor *t, uint64_t from)
{
	int64_t elems = 1;
	for (int i = 0; i < t->rank; i++) {
		uint64_t n = number(c, 8, "a tensor's shape");
		if (!c->code && (n == 0 || n > INT64_MAX || __builtin_mul_overflow(elems, (int64_t)n, &elems)))
			wrong(c, from, "tensor %s: an extent of %llu, or their product, is none of a tensor", t->name, (unsigned long long)n);
		t->shape[t->rank - 1 - i] = (int64_t)n;   /* the file has the innermost first */
	}
	if (c->code)
		return;
	t->type = (uint32_t)number(c, 4, "a tensor's type");
	t->offset = number(c, 8, "a tensor's offset");
	int elem = elem_of_gguf(t->type);
	const char *type = elem_gguf_name(t->type);
	if (c->code)
		return;
	if (elem < 0) {
		wrong(c, from, "tensor %s is of type %u%s%s%s, which is not read", t->name, t->type, type ? " (" : "", type ? type : "", type ? ")" : "");
		return;
	}
	t->elem = (Elem)elem;
	const ElemInfo *e = &elem_info[elem];
	if (t->shape[t->rank - 1] % e->block)
		wrong(c, from, "tensor %s: rows of %lld elements are no whole blocks of %s", t->name, (long long)t->shape[t->rank - 1], e->name);
	else if (__builtin_mul_overflow((uint64_t)elems / (uint64_t)e->block, (uint64_t)e->bytes, &t->bytes))
		wrong(c, from, "tensor %s: its bytes are more than 64 bits count", t->name);
}

static void tensor(Cursor *c)
{
	uint64_t from = c->at;
	GgufTensor t = {.name = name(c, "a tensor's name"), .place = from};
	uint64_t rank = number(c, 4, "a tensor");
	if (!c->code && (rank < 1 || rank > MAX_AXES))
		wrong(c, from, "tensor %s has %llu axes: 1 to %d are read", t.name, (unsigned long long)rank, MAX_AXES);
	if (c->code)
		return;
	t.rank = (int)rank;
	extents(c, &t, from);
	if (!c->code)
		vec_push(c->g->arena, &c->g->tensors, t);
}

static int by_name(const void *x, const void *y)   /* of keys and tensors: both begin with their name */
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static int by_offset(const void *x, const void *y)
{
	const GgufTensor *a = x, *b = y;
	return a->offset != b->offset ? (a->offset < b->offset ? -1 : 1) : by_name(x, y);
}

static void sort(void *at, int n, size_t size, int (*order)(const void *, const void *))
{
	if (n)
		qsort(at, (size_t)n, size, order);
}

static void check_places(Cursor *c)
{
	Gguf *g = c->g;
	uint64_t size = g->file.n - g->data, end = 0;
	sort(g->tensors.at, g->tensors.len, sizeof *g->tensors.at, by_offset);
	for (int i = 0; i < g->tensors.len && !c->code; i++) {
		GgufTensor *t = &g->tensors.at[i];
		if (t->offset % g->alignment)
			wrong(c, t->place, "tensor %s begins at %llu, no multiple of the alignment %llu", t->name, (unsigned long long)t->offset,
			      (unsigned long long)g->alignment);
		else if (t->offset > size || t->bytes > size - t->offset)
			wrong(c, t->place, "tensor %s lies outside of the file (cut short?): %llu bytes at %llu of %llu", t->name, (unsigned long long)t->bytes,
			      (unsigned long long)t->offset, (unsigned long long)size);
		else if (t->offset < end)
			wrong(c, t->place, "tensor %s overlaps %s", t->name, g->tensors.at[i - 1].name);
		end = t->offset + t->bytes;
	}
	sort(g->tensors.at, g->tensors.len, sizeof *g->tensors.at, by_name);
	for (int i = 1; i < g->tensors.len && !c->code; i++)
		if (strcmp(g->tensors.at[i - 1].name, g->tensors.at[i].name) == 0)
			wrong(c, g->tensors.at[i].place, "tensor %s is there twice", g->tensors.at[i].name);
}

static void check_keys(Cursor *c)
{
	Gguf *g = c->g;
	sort(g->keys.at, g->keys.len, sizeof *g->keys.at, by_name);
	for (int i = 1; i < g->keys.len && !c->code; i++)
		if (strcmp(g->keys.at[i - 1].name, g->keys.at[i].name) == 0)
			wrong(c, (uint64_t)(g->keys.at[i].at - g->file.at), "the key %s is there twice", g->keys.at[i].name);
	const GgufKey *k = gguf_key(g, "general.alignment");
	int64_t n = ALIGNMENT;
	if (k && (!gguf_int(k, &n) || n < 1 || (n & (n - 1)) || n > 1 << 30))
		wrong(c, (uint64_t)(k->at - g->file.at), "general.alignment is no power of two");
	g->alignment = (uint64_t)n;
}

static void count_fits(Cursor *c, uint64_t at, uint64_t n, uint64_t least, const char *what)
{
	if (n > left(c) / least || n > INT32_MAX)
		wrong(c, at, "%llu %s; the file has room for %llu", (unsigned long long)n, what, (unsigned long long)(left(c) / least));
}

static void header(Cursor *c)
{
	Gguf *g = c->g;
	const char *magic = take(c, 4, "the first four bytes");
	if (magic && memcmp(magic, "GGUF", 4) != 0)
		wrong(c, 0, "no GGUF file: it does not begin with these letters");
	g->version = (uint32_t)number(c, 4, "the header");
	if (!c->code && (g->version < VERSION_LEAST || g->version > VERSION_MOST))
		wrong(c, 4, __builtin_bswap32(g->version) <= VERSION_MOST ? "a big-endian file (version %u): only little-endian ones are read" :
		      "GGUF version %u; versions 2 and 3 are read", g->version);
	uint64_t tensors = number(c, 8, "the header"), keys = number(c, 8, "the header");
	if (!c->code)
		count_fits(c, 8, tensors, TENSOR_LEAST, "tensors");
	if (!c->code)
		count_fits(c, 16, keys, KEY_LEAST, "keys");
	for (uint64_t i = 0; i < keys && !c->code; i++)
		key(c);
	for (uint64_t i = 0; i < tensors && !c->code; i++)
		tensor(c);
}

int gguf_open(Gguf *g, Arena *a, const char *path)
{
	*g = (Gguf){.arena = a, .path = path, .file = {.at = ""}};
	int code = sn_file_map(&g->file, path);
	if (code)
		return code;
	Cursor c = {.g = g};
	header(&c);
	if (!c.code)
		check_keys(&c);
	if (!c.code) {
		g->data = (c.at + g->alignment - 1) / g->alignment * g->alignment;
		if (g->data > g->file.n)
			g->data = g->file.n;
		check_places(&c);
	}
	if (c.code)
		gguf_close(g);
	return c.code;
}

void gguf_close(Gguf *g)
{
	sn_file_unmap(&g->file);
}

const GgufKey *gguf_key(const Gguf *g, const char *wanted)
{
	return g->keys.len ? bsearch(&wanted, g->keys.at, (size_t)g->keys.len, sizeof *g->keys.at, by_name) : NULL;
}

GgufTensor *gguf_tensor(const Gguf *g, const char *wanted)
{
	return g->tensors.len ? bsearch(&wanted, g->tensors.at, (size_t)g->tensors.len, sizeof *g->tensors.at, by_name) : NULL;
}

static uint64_t raw(const GgufKey *k)
{
	uint64_t x = 0;
	memcpy(&x, k->at, (size_t)value_bytes[k->type]);
	return x;
}

bool gguf_int(const GgufKey *k, int64_t *out)
{
	if (!k || !value_bytes[k->type])
		return false;
	uint64_t x = raw(k);
	switch (k->type) {
	case GG_I8: *out = (int8_t)x; return true;
	case GG_I16: *out = (int16_t)x; return true;
	case GG_I32: *out = (int32_t)x; return true;
	case GG_I64: *out = (int64_t)x; return true;
	case GG_F32: case GG_F64: case GG_BOOL: return false;
	default: *out = (int64_t)x; return x <= INT64_MAX;
	}
}

bool gguf_float(const GgufKey *k, double *out)
{
	int64_t n;
	float f;
	if (k && k->type == GG_F32) {
		memcpy(&f, k->at, sizeof f);
		*out = (double)f;
		return true;
	}
	if (k && k->type == GG_F64) {
		memcpy(out, k->at, sizeof *out);
		return true;
	}
	if (!gguf_int(k, &n))
		return false;
	*out = (double)n;
	return true;
}

bool gguf_bool(const GgufKey *k, bool *out)
{
	if (!k || k->type != GG_BOOL)
		return false;
	*out = *k->at != 0;
	return true;
}

const char *gguf_string(const Gguf *g, const GgufKey *k)
{
	return k && k->type == GG_STRING ? arena_strndup(g->arena, k->at, k->n) : NULL;
}

const char *gguf_next_string(const char **at, uint64_t *n)
{
	memcpy(n, *at, sizeof *n);
	const char *s = *at + sizeof *n;
	*at = s + *n;
	return s;
}
