/* rope.c: LLaMA 3.1's rotary frequencies (Dubey et al. 2024), each divided by a factor: 1 for short waves, `factor` for long ones,
 * between them by how often a wave fits the original context. GGUF has the factors, config.json what they are made of. */
#include "convert/convert.h"

#include <math.h>

typedef struct Stretch { double factor, low, high, original; } Stretch;

static double factor_at(const Stretch *r, int64_t i, const Sizes *s)
{
	double frequency = pow(s->theta, -2.0 * (double)i / (double)s->K), turns = r->original * frequency / (2 * M_PI);
	if (turns > r->high)
		return 1;
	if (turns < r->low)
		return r->factor;
	double smooth = (turns - r->low) / (r->high - r->low);
	return 1 / ((1 - smooth) / r->factor + smooth);
}

static bool fits(const Stretch *r, const float *factors, int64_t n, const Sizes *s)
{
	for (int64_t i = 0; i < n; i++)
		if (fabs((double)factors[i] / factor_at(r, i, s) - 1) > 1e-4)
			return false;
	return true;
}

json_t *rope_of_factors(const float *factors, int64_t n, const Sizes *s)
{
	for (double original = 1024; original <= 65536; original *= 2) {
		Stretch r = {(double)factors[n - 1], 1, 4, original};
		if (r.factor >= 1 && r.factor <= 1e6 && fits(&r, factors, n, s))
			return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", r.factor, "low_freq_factor", r.low, "high_freq_factor", r.high,
			                 "original_max_position_embeddings", (json_int_t)r.original);
	}
	return NULL;
}

bool rope_factors(json_t *scaling, const Sizes *s, float *factors)
{
	static const char *const keys[] = {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"};
	double x[4];
	for (int i = 0; i < 4; i++) {
		json_t *j = json_object_get(scaling, keys[i]);
		x[i] = json_number_value(j);
		if (!(x[i] > 0))
			return false;
	}
	Stretch r = {x[0], x[1], x[2], x[3]};
	for (int64_t i = 0; i < s->K / 2; i++)
		factors[i] = (float)factor_at(&r, i, s);
	return r.high > r.low;
}
