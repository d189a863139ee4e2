/* random.c: counter-based random numbers: value number i of a stream is a function of (stream's key, i) alone, so that
 * initial weights, batches and samples depend neither on the order of drawing nor on the number of threads.
 * The normal generator works on blocks of plain arrays that the compiler turns into vector code. */
#include "runtime/sn.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 10, BLOCK = 256 };
#define MULTIPLIER 0xD256D193u   /* Philox2x32's, and Weyl's constant for the key (Salmon et al. 2011, table 2) */
#define WEYL 0x9E3779B9u

/* Vectorised; no contraction, so that every target computes the same bits. */
#define VECTOR __attribute__((optimize("O3", "no-math-errno", "no-trapping-math", "fp-contract=off")))

SnPair sn_philox(uint32_t c0, uint32_t c1, uint32_t key)
{
	for (int r = 0; r < ROUNDS; r++) {
		uint64_t p = (uint64_t)MULTIPLIER * c0;
		c0 = (uint32_t)(p >> 32) ^ key ^ c1;
		c1 = (uint32_t)p;
		key += WEYL;
	}
	return (SnPair){c0, c1};
}

uint32_t sn_hash32(const void *data, size_t n, uint32_t seed)
{
	const unsigned char *p = data;
	uint32_t h = 2166136261u ^ seed;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 16777619u;
	h = (h ^ h >> 16) * 0x85EBCA6Bu;
	h = (h ^ h >> 13) * 0xC2B2AE35u;
	return h ^ h >> 16;
}

uint64_t sn_hash64(const void *data, size_t n, uint64_t seed)
{
	const unsigned char *p = data;
	uint64_t h = 14695981039346656037u ^ seed;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 1099511628211u;
	return h;
}

double sn_uniform(uint32_t c0, uint32_t c1, uint32_t key)
{
	SnPair x = sn_philox(c0, c1, key);
	return (double)(((uint64_t)x.a << 32 | x.b) >> 11) * 0x1p-53;
}

int64_t sn_below(int64_t n, uint32_t c0, uint32_t c1, uint32_t key)
{
	SnPair x = sn_philox(c0, c1, key);
	return (int64_t)((unsigned __int128)((uint64_t)x.a << 32 | x.b) * (uint64_t)n >> 64);
}

/* n <= BLOCK pairs of words, counters first.. */
VECTOR static void philox_block(uint32_t *restrict a, uint32_t *restrict b, int64_t first, uint32_t key)
{
	for (int i = 0; i < BLOCK; i++) {
		a[i] = (uint32_t)(first + i);
		b[i] = (uint32_t)((uint64_t)(first + i) >> 32);
	}
	for (int r = 0; r < ROUNDS; r++, key += WEYL)
		for (int i = 0; i < BLOCK; i++) {
			uint64_t p = (uint64_t)MULTIPLIER * a[i];
			a[i] = (uint32_t)(p >> 32) ^ key ^ b[i];
			b[i] = (uint32_t)p;
		}
}

/* ln of x in (0,1]: x = 2^e m with m in [sqrt 1/2, sqrt 2), ln m = 2 atanh((m-1)/(m+1)) by its series to the 9th power;
 * error under 1e-7 relative. */
static inline float ln(float x)
{
	uint32_t bits;
	memcpy(&bits, &x, 4);
	uint32_t shifted = bits - 0x3F3504F3u;
	int32_t e = (int32_t)shifted >> 23;
	bits -= (uint32_t)e << 23;
	float m;
	memcpy(&m, &bits, 4);
	float s = (m - 1.0f) / (m + 1.0f), z = s * s;
	float p = 1.0f / 9;
	p = p * z + 1.0f / 7;
	p = p * z + 1.0f / 5;
	p = p * z + 1.0f / 3;
	return (float)e * 0.693147180559945f + 2.0f * (s + s * z * p);
}

/* Box and Muller 1958: of one pair of words, two normals r cos(2 pi u), r sin(2 pi u), r = sqrt(-2 ln v). The angle is
 * cut to a quarter turn around 0 exactly, then Taylor's series to the 9th and 10th power (error under 1e-8). */
static inline void pair(uint32_t a, uint32_t b, float *even, float *odd)
{
	float v = (float)((int32_t)(a >> 8) + 1) * 0x1p-24f;
	float r = sqrtf(-2.0f * ln(v));
	int32_t turn = (int32_t)(b >> 8);
	int32_t quarter = (turn + (1 << 21)) >> 22;
	float x = (float)(turn - quarter * (1 << 22)) * (6.283185307179586f * 0x1p-24f), z = x * x;
	float s = x + x * z * (-1.0f / 6 + z * (1.0f / 120 + z * (-1.0f / 5040 + z * (1.0f / 362880))));
	float c = 1.0f + z * (-0.5f + z * (1.0f / 24 + z * (-1.0f / 720 + z * (1.0f / 40320 + z * (-1.0f / 3628800)))));
	float swap_c = quarter & 1 ? s : c, swap_s = quarter & 1 ? c : s;
	*even = r * ((quarter + 1) & 2 ? -swap_c : swap_c);
	*odd = r * (quarter & 2 ? -swap_s : swap_s);
}

VECTOR static void normal_block(float *restrict out, const uint32_t *restrict a, const uint32_t *restrict b, float mean, float deviation)
{
	float even[BLOCK], odd[BLOCK];
	for (int i = 0; i < BLOCK; i++)
		pair(a[i], b[i], &even[i], &odd[i]);
	for (int i = 0; i < BLOCK; i++) {
		out[2 * i] = mean + even[i] * deviation;
		out[2 * i + 1] = mean + odd[i] * deviation;
	}
}

void sn_normals(float *out, int64_t first, int64_t n, uint32_t key, float mean, float deviation)
{
	uint32_t a[BLOCK], b[BLOCK];
	float last[2 * BLOCK];
	for (int64_t at = 0; at < n; at += 2 * BLOCK) {
		philox_block(a, b, (first + at) / 2, key);
		int64_t left = n - at;
		normal_block(left < 2 * BLOCK ? last : out + at, a, b, mean, deviation);
		if (left < 2 * BLOCK)
			memcpy(out + at, last, sizeof(float) * (size_t)left);
	}
}

/* InitKind's values, as ir.h's enum has them. */
enum { ZEROS, CONSTANT, NORMAL, UNIFORM, TRUNC_NORMAL, SINUSOIDS };

static void uniforms(float *out, int64_t first, int64_t n, uint32_t key, double lo, double hi)
{
	for (int64_t i = 0; i < n; i++) {
		uint64_t at = (uint64_t)(first + i);
		out[i] = (float)(lo + (hi - lo) * ((sn_philox((uint32_t)at, (uint32_t)(at >> 32), key).a >> 8) * 0x1p-24));
	}
}

/* A normal beyond two deviations is drawn again from its own further stream. */
VECTOR static void truncate_tails(float *out, int64_t first, int64_t n, uint32_t key, float mean, float deviation)
{
	for (int64_t i = 0; i < n; i++)
		for (uint32_t again = 1; fabsf(out[i] - mean) > 2 * deviation; again++) {
			uint64_t at = (uint64_t)(first + i);
			SnPair words = sn_philox((uint32_t)at, (uint32_t)(at >> 32), sn_hash32(&again, sizeof again, key));
			float even, odd;
			pair(words.a, words.b, &even, &odd);
			out[i] = mean + even * deviation;
		}
}

/* Row p: sin(p f_i), then cos(p f_i), f_i = 10000^(-i / (width/2 - 1)) (Vaswani et al. 2017, sec. 3.5, as Whisper has it). */
static void sinusoids(float *out, int64_t first, int64_t n, int64_t width)
{
	int64_t half = width / 2;
	for (int64_t i = first; i < first + n; i++) {
		int64_t p = i / width, k = i % width;
		double angle = (double)p * exp(-log(10000) * (double)(k % half) / (double)(half - 1));
		out[i - first] = (float)(k < half ? sin(angle) : cos(angle));
	}
}

static void init_range(const SnTensor *t, float *out, int64_t first, int64_t n, uint32_t key)
{
	switch (t->init) {
	case ZEROS: memset(out, 0, sizeof(float) * (size_t)n); break;
	case CONSTANT:
		for (int64_t i = 0; i < n; i++)
			out[i] = (float)t->a;
		break;
	case SINUSOIDS: sinusoids(out, first, n, (int64_t)t->b); break;
	case UNIFORM: uniforms(out, first, n, key, t->a, t->b); break;
	case NORMAL: sn_normals(out, first, n, key, (float)t->a, (float)t->b); break;
	case TRUNC_NORMAL:
		sn_normals(out, first, n, key, (float)t->a, (float)t->b);
		truncate_tails(out, first, n, key, (float)t->a, (float)t->b);
		break;
	}
}

typedef struct Init { SnSession *s; uint32_t seed; } Init;

static void init_share(void *ctx, int tid, int n)
{
	const Init *job = ctx;
	const SnTensor *t = job->s->entry->tensors;
	for (int64_t i = 0; i < job->s->entry->ntensor; i++) {
		if (t[i].kind != 0 || t[i].dtype != SN_F32)
			continue;
		int64_t elems = sn_tensor_elems(&t[i]), blocks = (elems + 2 * BLOCK - 1) / (2 * BLOCK);
		int64_t from = blocks * tid / n * 2 * BLOCK, to = blocks * (tid + 1) / n * 2 * BLOCK;
		if (to > elems)
			to = elems;
		if (from < to)
			init_range(&t[i], sn_param(job->s, &t[i]) + from, from, to - from, sn_hash32(t[i].name, strlen(t[i].name), job->seed));
	}
}

void sn_init_tensor(const SnTensor *t, float *out, uint32_t seed)
{
	init_range(t, out, 0, sn_tensor_elems(t), sn_hash32(t->name, strlen(t->name), seed));
}

void sn_init_params(SnSession *s, uint32_t seed)
{
	Init job = {s, seed};
	sn_external_room(s);
	sn_pool_run(s->pool, init_share, &job);
}
