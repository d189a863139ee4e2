/* quant.c: blocks of whole numbers with a scale each: what contractions keep of a weight with `format`. The formats are ggml's (ggml-quants.c,
 * quantize_row_q8_0_ref and quantize_row_q4_0_ref), so that files in them need no conversion; only ties of a quotient go to even here.
 *
 * q8_0: scale max|x| / 127, q = x / scale. q4_0: scale x / -8 for the x of greatest magnitude, q = x / scale from -8 to 7.
 * All in f32, as the kernels do it (backend/quant.c): both have the same bits. The error of an element is at most half its block's scale, and one
 * scale of q4_0's where x / scale is above 7.5; the scale's own rounding to f16 adds 2^-11 of the element. */
#include "ir/ir.h"

#include <math.h>

const char *const quant_name[QUANT_COUNT] = { [QUANT_NONE] = "none", [QUANT_Q8_0] = "q8_0", [QUANT_Q4_0] = "q4_0" };
const int quant_bits[QUANT_COUNT] = { [QUANT_Q8_0] = 8, [QUANT_Q4_0] = 4 };

Quant quant_find(const char *name)
{
	Quant q = QUANT_NONE + 1;
	while (q < QUANT_COUNT && strcmp(quant_name[q], name))
		q++;
	return q;
}

static float from_bits(uint32_t bits)
{
	float f;
	memcpy(&f, &bits, sizeof f);
	return f;
}

static uint32_t to_bits(float f)
{
	uint32_t bits;
	memcpy(&bits, &f, sizeof bits);
	return bits;
}

/* Below 2^-14 an f16 counts in steps of 2^-24, as an f32 does from 0.5 to 1: adding 0.5 rounds to one. */
uint16_t half_bits(float x)
{
	uint32_t sign = to_bits(x) >> 16 & 0x8000, bits = to_bits(fminf(fabsf(x), 65504));
	uint32_t small = to_bits(from_bits(bits) + 0.5f) - to_bits(0.5f);
	uint32_t normal = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
	return (uint16_t)(sign | (isnan(x) ? 0x7e00 : bits < 113u << 23 ? small : normal));
}

float half_value(uint16_t bits)
{
	uint32_t size = (uint32_t)(bits & 0x7fff) << 13;
	float magnitude = size >> 13 >= 0x7c00 ? from_bits(size | 0x7f800000) : from_bits(size) * 0x1p112f;
	return bits & 0x8000 ? -magnitude : magnitude;
}

static float clamped(float x, float lo, float hi)
{
	return fminf(fmaxf(x, lo), hi);
}

QuantBlock quant_block(Quant format, const float *x)
{
	QuantBlock b;
	float least = 0, most = 0;
	for (int i = 0; i < QUANT_BLOCK; i++) {
		least = fminf(least, x[i]);
		most = fmaxf(most, x[i]);
	}
	most = -least > most ? least : most;
	bool wide = format == QUANT_Q8_0;
	float lo = wide ? -127 : -8, hi = wide ? 127 : 7, scale = wide ? fabsf(most) / 127 : most / -8;
	float inverse = scale != 0 ? 1 / scale : 0;
	for (int i = 0; i < QUANT_BLOCK; i++)
		b.q[i] = (int8_t)rintf(clamped(x[i] * inverse, lo, hi));
	b.scale = half_value(half_bits(scale));
	return b;
}
