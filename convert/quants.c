/* quants.c: elements as files have them, to and from floats: exactly what ggml's reference functions compute (its file is compiled
 * without contraction into fused multiply-adds, as a product is rounded there before a minimum is subtracted). */
#include "convert/convert.h"

#include <ctype.h>
#include <math.h>

static float from_bits(uint32_t bits)
{
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static uint32_t to_bits(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	return bits;
}

/* IEEE 754 binary16 */
static float half_at(const char *at)
{
	uint16_t h;
	memcpy(&h, at, sizeof h);
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
	if (exponent == 0) {
		float x = (float)fraction * 0x1p-24f;
		return sign ? -x : x;
	}
	return from_bits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

/* To nearest, ties to even; beyond 65504 infinite. */
static uint16_t half_of(float x)
{
	uint32_t bits = to_bits(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF;
	if (rest > 0x7F800000)
		return (uint16_t)(sign | 0x7E00 | (rest >> 13 & 0x3FF));
	if (rest >= 0x477FF000)
		return (uint16_t)(sign | 0x7C00);
	if (rest < 0x38800000)   /* subnormal: adding 1/2 leaves the fraction, rounded, in the last bits */
		return (uint16_t)(sign | (to_bits(from_bits(rest) + 0.5f) - 0x3F000000));
	uint32_t rounded = rest + 0xFFF + (rest >> 13 & 1);
	return (uint16_t)(sign | (rounded - 0x38000000) >> 13);
}

static void put_half(char *at, float x)
{
	uint16_t h = half_of(x);
	memcpy(at, &h, sizeof h);
}

static void read_f32(const char *at, int64_t n, float *out) { memcpy(out, at, sizeof *out * (size_t)n); }
static void write_f32(const float *x, int64_t n, char *out) { memcpy(out, x, sizeof *x * (size_t)n); }

static void read_f16(const char *at, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i++)
		out[i] = half_at(at + 2 * i);
}

static void write_f16(const float *x, int64_t n, char *out)
{
	for (int64_t i = 0; i < n; i++)
		put_half(out + 2 * i, x[i]);
}

static void read_bf16(const char *at, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i++) {
		uint16_t h;
		memcpy(&h, at + 2 * i, sizeof h);
		out[i] = from_bits((uint32_t)h << 16);
	}
}

static void write_bf16(const float *x, int64_t n, char *out)
{
	for (int64_t i = 0; i < n; i++) {
		uint32_t bits = to_bits(x[i]);
		bool nan = (bits & 0x7FFFFFFF) > 0x7F800000;
		uint16_t h = (uint16_t)(nan ? bits >> 16 | 0x40 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
		memcpy(out + 2 * i, &h, sizeof h);
	}
}

static void read_f64(const char *at, int64_t n, float *out)
{
	for (int64_t i = 0; i < n; i++) {
		double x;
		memcpy(&x, at + 8 * i, sizeof x);
		out[i] = (float)x;
	}
}

/* Blocks of 32: a scale, in some a least value, in those of 5 bits the fifth bits of all. */

static void read_q4_0(const char *at, int64_t n, float *out)
{
	for (; n--; at += 18, out += 32) {
		float d = half_at(at);
		const uint8_t *q = (const uint8_t *)at + 2;
		for (int j = 0; j < 16; j++) {
			out[j] = (float)((q[j] & 15) - 8) * d;
			out[j + 16] = (float)((q[j] >> 4) - 8) * d;
		}
	}
}

static void read_q4_1(const char *at, int64_t n, float *out)
{
	for (; n--; at += 20, out += 32) {
		float d = half_at(at), m = half_at(at + 2);
		const uint8_t *q = (const uint8_t *)at + 4;
		for (int j = 0; j < 16; j++) {
			out[j] = (float)(q[j] & 15) * d + m;
			out[j + 16] = (float)(q[j] >> 4) * d + m;
		}
	}
}

/* The five bits of elements j and j + 16. */
static void five_bits(const uint8_t *high, const uint8_t *q, int j, int x[2])
{
	uint32_t h;
	memcpy(&h, high, sizeof h);
	x[0] = (q[j] & 15) | (int)(h >> j & 1) << 4;
	x[1] = q[j] >> 4 | (int)(h >> (j + 16) & 1) << 4;
}

static void read_q5_0(const char *at, int64_t n, float *out)
{
	for (; n--; at += 22, out += 32) {
		float d = half_at(at);
		const uint8_t *high = (const uint8_t *)at + 2;
		for (int j = 0, x[2]; j < 16; j++) {
			five_bits(high, high + 4, j, x);
			out[j] = (float)(x[0] - 16) * d;
			out[j + 16] = (float)(x[1] - 16) * d;
		}
	}
}

static void read_q5_1(const char *at, int64_t n, float *out)
{
	for (; n--; at += 24, out += 32) {
		float d = half_at(at), m = half_at(at + 2);
		const uint8_t *high = (const uint8_t *)at + 4;
		for (int j = 0, x[2]; j < 16; j++) {
			five_bits(high, high + 4, j, x);
			out[j] = (float)x[0] * d + m;
			out[j + 16] = (float)x[1] * d + m;
		}
	}
}

static void read_q8_0(const char *at, int64_t n, float *out)
{
	for (; n--; at += 34, out += 32) {
		float d = half_at(at);
		for (int j = 0; j < 32; j++)
			out[j] = (float)(int8_t)at[2 + j] * d;
	}
}

static void write_q8_0(const float *x, int64_t n, char *out)
{
	for (; n--; x += 32, out += 34) {
		float most = 0;
		for (int j = 0; j < 32; j++)
			most = fmaxf(most, fabsf(x[j]));
		float d = most / 127, inverse = d != 0 ? 1 / d : 0;
		put_half(out, d);
		for (int j = 0; j < 32; j++)
			out[2 + j] = (char)(int8_t)roundf(x[j] * inverse);
	}
}

static int nibble(float x)
{
	int q = (int)(int8_t)(x + 8.5f);
	return q > 15 ? 15 : q;
}

/* The number of greatest magnitude becomes -8, so that its sign has the wider side. */
static void write_q4_0(const float *x, int64_t n, char *out)
{
	for (; n--; x += 32, out += 18) {
		float most = 0, signed_most = 0;
		for (int j = 0; j < 32; j++)
			if (most < fabsf(x[j])) {
				most = fabsf(x[j]);
				signed_most = x[j];
			}
		float d = signed_most / -8, inverse = d != 0 ? 1 / d : 0;
		put_half(out, d);
		for (int j = 0; j < 16; j++)
			out[2 + j] = (char)(nibble(x[j] * inverse) | nibble(x[j + 16] * inverse) << 4);
	}
}

/* Blocks of 256: eight groups of 32 with a scale and a least value of six bits each, packed into twelve bytes. */

typedef struct Group { int scale, least; } Group;

static Group group_at(const uint8_t *s, int j)
{
	if (j < 4)
		return (Group){s[j] & 63, s[j + 4] & 63};
	return (Group){(s[j + 4] & 15) | s[j - 4] >> 6 << 4, s[j + 4] >> 4 | s[j] >> 6 << 4};
}

static void read_k(const char *at, const uint8_t *high, const uint8_t *q, float *out)
{
	float d = half_at(at), least = half_at(at + 2);
	for (int g = 0; g < 8; g++, out += 32) {
		Group s = group_at((const uint8_t *)at + 4, g);
		float scale = d * (float)s.scale, less = least * (float)s.least;
		for (int l = 0; l < 32; l++) {
			int x = q[g / 2 * 32 + l] >> g % 2 * 4 & 15;
			if (high)
				x += (high[l] >> g & 1) * 16;
			out[l] = scale * (float)x - less;
		}
	}
}

static void read_q4_k(const char *at, int64_t n, float *out)
{
	for (; n--; at += 144, out += 256)
		read_k(at, NULL, (const uint8_t *)at + 16, out);
}

static void read_q5_k(const char *at, int64_t n, float *out)
{
	for (; n--; at += 176, out += 256)
		read_k(at, (const uint8_t *)at + 16, (const uint8_t *)at + 48, out);
}

/* Sixteen groups of 16 with a scale of 8 bits; of each half of a block 64 bytes with the lower, 32 with the upper bits. */
static void read_q6_k(const char *at, int64_t n, float *out)
{
	for (; n--; at += 210, out += 256) {
		float d = half_at(at + 208);
		for (int half = 0; half < 2; half++) {
			const uint8_t *low = (const uint8_t *)at + 64 * half, *high = (const uint8_t *)at + 128 + 32 * half;
			const int8_t *scale = (const int8_t *)at + 192 + 8 * half;
			for (int k = 0; k < 128; k++) {
				int part = k / 32, l = k % 32;
				int x = (low[part % 2 * 32 + l] >> part / 2 * 4 & 15) | (high[l] >> 2 * part & 3) << 4;
				out[128 * half + k] = d * (float)scale[k / 16] * (float)(x - 32);
			}
		}
	}
}

const ElemInfo elem_info[EL_COUNT] = {
	[EL_F32] = {"F32", "F32", 0, 0, 1, 4, read_f32, write_f32},
	[EL_F16] = {"F16", "F16", 1, 1, 1, 2, read_f16, write_f16},
	[EL_BF16] = {"BF16", "BF16", 30, 32, 1, 2, read_bf16, write_bf16},
	[EL_F64] = {"F64", "F64", 28, 0, 1, 8, read_f64, NULL},
	[EL_Q4_0] = {"Q4_0", NULL, 2, 2, 32, 18, read_q4_0, write_q4_0},
	[EL_Q4_1] = {"Q4_1", NULL, 3, 3, 32, 20, read_q4_1, NULL},
	[EL_Q5_0] = {"Q5_0", NULL, 6, 8, 32, 22, read_q5_0, NULL},
	[EL_Q5_1] = {"Q5_1", NULL, 7, 9, 32, 24, read_q5_1, NULL},
	[EL_Q8_0] = {"Q8_0", NULL, 8, 7, 32, 34, read_q8_0, write_q8_0},
	[EL_Q4_K] = {"Q4_K", NULL, 12, 15, 256, 144, read_q4_k, NULL},
	[EL_Q5_K] = {"Q5_K", NULL, 13, 17, 256, 176, read_q5_k, NULL},
	[EL_Q6_K] = {"Q6_K", NULL, 14, 18, 256, 210, read_q6_k, NULL},
};

int elem_named(const char *name)
{
	for (int i = 0; i < EL_COUNT; i++)
		if (strcasecmp(name, elem_info[i].name) == 0)
			return i;
	return -1;
}

int elem_of_gguf(uint32_t type)
{
	for (int i = 0; i < EL_COUNT; i++)
		if (elem_info[i].gguf == type)
			return i;
	return -1;
}

const char *elem_gguf_name(uint32_t type)
{
	static const char *const others[] = {
		[9] = "Q8_1", [10] = "Q2_K", [11] = "Q3_K", [15] = "Q8_K", [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL",
		[21] = "IQ3_S", [22] = "IQ2_S", [23] = "IQ4_XS", [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64", [29] = "IQ1_M", [34] = "TQ1_0", [35] = "TQ2_0",
		[39] = "MXFP4",
	};
	int elem = elem_of_gguf(type);
	if (elem >= 0)
		return elem_info[elem].name;
	return type < (uint32_t)COUNT(others) ? others[type] : NULL;
}
