/* tensors.c: the tests' own writer and reader of safetensors files.
 *
 *   tensors write FILE [NAME DTYPE SHAPE VALUES] ..   SHAPE "2,3" or "-" for a scalar; VALUES "1,2,3", repeated until the tensor is full,
 *                                                     or "rand:SEED:LO:HI": whole numbers for integer types, reals for others
 *   tensors raw FILE LENGTH HEADER BYTES              header length as given, the header, so many zero bytes
 *   tensors print FILE [NAME]                         "NAME DTYPE [2,3] v v v" a line, in the file's order
 *   tensors near FILE FILE TOLERANCE                  exit code 1 where tensors of one name differ by more (absolute plus relative)
 */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct { const char *name; int size; } types[] = {
	{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8}, {"I32", 4}, {"I16", 2}, {"I8", 1}, {"U64", 8}, {"U32", 4}, {"U16", 2}, {"U8", 1}, {"BOOL", 1},
};
enum { NTYPES = sizeof types / sizeof *types };

const SnProgram sn_program;   /* the runtime's command line is linked, not run */

static int die(const char *what)
{
	fprintf(stderr, "tensors: %s\n", what);
	exit(2);
}

static int type_of(const char *name)
{
	for (int i = 0; i < NTYPES; i++)
		if (!strcmp(types[i].name, name))
			return i;
	return die("unknown dtype");
}

static int64_t elements(const char *shape)
{
	int64_t n = 1;
	for (const char *s = shape; *s && *s != '-'; s += *s == ',')
		n *= strtoll(s, (char **)&s, 10);
	return n;
}

/* The upper half of a float, rounded to even; for F16 only of small numbers that it holds exactly. */
static void put_half(FILE *f, double x, bool brain)
{
	float y = (float)x;
	uint32_t bits;
	memcpy(&bits, &y, 4);
	uint16_t h = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
	if (!brain) {
		int exponent;
		double m = frexp(fabs(x), &exponent);
		h = x == 0 ? 0 : (uint16_t)((exponent + 14) << 10 | ((int)(m * 2048) & 0x3FF));
		h |= x < 0 ? 0x8000 : 0;
	}
	fwrite(&h, 2, 1, f);
}

static void put_value(FILE *f, int type, double x)
{
	float single = (float)x;
	int64_t whole = (int64_t)x;
	if (!strcmp(types[type].name, "F32"))
		fwrite(&single, 4, 1, f);
	else if (!strcmp(types[type].name, "F64"))
		fwrite(&x, 8, 1, f);
	else if (strstr(types[type].name, "F16"))
		put_half(f, x, types[type].name[0] == 'B');
	else
		fwrite(&whole, (size_t)types[type].size, 1, f);   /* little-endian: the low bytes come first */
}

static void put_values(FILE *f, int type, int64_t n, const char *values)
{
	double lo, hi;
	unsigned seed;
	bool random = sscanf(values, "rand:%u:%lf:%lf", &seed, &lo, &hi) == 3, real = strchr(types[type].name, 'F');
	const char *at = values;
	for (int64_t i = 0; i < n; i++) {
		double x;
		if (random) {
			x = lo + (hi - lo) * sn_uniform((uint32_t)i, 0, seed);
			x = real ? x : floor(x);
		} else {
			char *end;
			x = strtod(at, &end);
			at = *end ? end + 1 : values;
		}
		put_value(f, type, x);
	}
}

static void put_length(FILE *f, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		fputc((int)(n >> 8 * i & 255), f);
}

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "wb");
	if (!f)
		die("can't write");
	return f;
}

static int write_file(int n, char **args)
{
	SnStr header = {0};
	int64_t at = 0;
	sn_str_printf(&header, "{");
	for (int i = 1; i + 3 < n; i += 4) {
		int64_t end = at + elements(args[i + 2]) * types[type_of(args[i + 1])].size;
		sn_str_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%lld,%lld]}", i > 1 ? "," : "", args[i], args[i + 1],
		              strcmp(args[i + 2], "-") ? args[i + 2] : "", (long long)at, (long long)end);
		at = end;
	}
	sn_str_printf(&header, "}");
	FILE *f = create(args[0]);
	put_length(f, header.n);
	fwrite(header.s, 1, header.n, f);
	for (int i = 1; i + 3 < n; i += 4)
		put_values(f, type_of(args[i + 1]), elements(args[i + 2]), args[i + 3]);
	free(header.s);
	return fclose(f) ? 1 : 0;
}

static int raw_file(char **args)
{
	FILE *f = create(args[0]);
	put_length(f, strtoull(args[1], NULL, 10));
	fputs(args[2], f);
	for (long i = atol(args[3]); i > 0; i--)
		fputc(0, f);
	return fclose(f) ? 1 : 0;
}

static double value(const SnStTensor *t, int64_t i)
{
	float x;
	if (t->kind > SN_ST_F64)
		return (double)sn_st_integer(t, i);
	sn_st_floats(t, i, 1, &x);
	return (double)x;
}

static int print_file(const char *path, const char *name)
{
	SnSafetensors f;
	int found = 0;
	if (sn_st_open(&f, path))
		return 3;
	for (int i = 0; i < f.n; i++) {
		const SnStTensor *t = &f.tensors[i];
		if (name && strcmp(name, t->name))
			continue;
		found++;
		printf("%s %s [", t->name, t->dtype);
		for (int k = 0; k < t->rank; k++)
			printf("%s%lld", k ? "," : "", (long long)t->shape[k]);
		printf("]");
		for (int64_t k = 0; k < t->elems; k++)
			printf(" %.9g", value(t, k));
		printf("\n");
	}
	sn_st_close(&f);
	return found ? 0 : 1;
}

static bool alike(const SnStTensor *a, const SnStTensor *b, double tolerance)
{
	if (a->elems != b->elems || a->rank != b->rank)
		return false;
	for (int64_t i = 0; i < a->elems; i++) {
		double x = value(a, i), y = value(b, i);
		if (!(fabs(x - y) <= tolerance + tolerance * fabs(y)))
			return false;
	}
	return true;
}

static int near_files(const char *one, const char *other, double tolerance)
{
	SnSafetensors a, b;
	int compared = 0, bad = 0;
	if (sn_st_open(&a, one) || sn_st_open(&b, other))
		return 3;
	for (int i = 0; i < a.n; i++) {
		const SnStTensor *t = sn_st_find(&b, a.tensors[i].name);
		compared += t != NULL;
		if (t && !alike(&a.tensors[i], t, tolerance)) {
			printf("%s differs\n", a.tensors[i].name);
			bad++;
		}
	}
	printf("%d compared\n", compared);
	sn_st_close(&a);
	sn_st_close(&b);
	return bad || !compared;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	if (!strcmp(what, "write") && argc % 4 == 3)
		return write_file(argc - 2, argv + 2);
	if (!strcmp(what, "raw") && argc == 6)
		return raw_file(argv + 2);
	if (!strcmp(what, "print") && argc <= 4)
		return print_file(argv[2], argc > 3 ? argv[3] : NULL);
	if (!strcmp(what, "near") && argc == 5)
		return near_files(argv[2], argv[3], atof(argv[4]));
	return die("usage: tensors write|raw|print|near ..");
}
