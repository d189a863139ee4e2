/* frontend_moe.c: what moe, conv1d and conv2d mean, by plain loops: every way of scoring, ties, experts that nobody chooses;
 * strides, padding, kernels of two sizes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontend/frontend.h"
#include "tests/numeric.h"

enum { B = 2, T = 7, D = 3, F = 5, E = 4, ROWS = B * T };

static const Graph *forward_of(const char *text)
{
	static int n;
	FrontendOptions o = { 0 };
	char path[64];
	snprintf(path, sizeof path, "/tmp/sinter_moe_%d_%d.sinter", (int)getpid(), n++);
	assert_true(file_write_atomic(path, text, strlen(text)));
	Module *m = frontend_build(test_arena(), path, &o);
	unlink(path);
	assert_non_null(m);
	return entry_graph(m->entries.at[0], "forward");
}

static const char moe_text[] =
	"config { D: dim = 3; F: dim = 5; E: dim = 4 }\ndim B <= 2, T <= 7\n"
	"block Expert(x: [..., D]) -> [..., F] {\n  fc: linear(D -> F)\n  return tanh(fc(x))\n}\n"
	"model M(x: [B,T,D], gate: [B,T,E]) -> [B,T,F] {\n  experts: repeat E of Expert\n"
	"  return moe(x, gate, experts, top=%d, scores=%s)\n}\n"
	"infer run(x: [B,T,D], gate: [B,T,E]) -> [B,T,F] { return M(x, gate) }\n";

/* The experts of a token: the one of the greatest gate first, of equal ones the first. */
static void chosen_by_sorting(const double *gate, int top, int *out)
{
	bool taken[E] = { false };
	for (int k = 0; k < top; k++) {
		int best = -1;
		for (int i = 0; i < E; i++)
			if (!taken[i] && (best < 0 || gate[i] > gate[best]))
				best = i;
		taken[best] = true;
		out[k] = best;
	}
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static double score(const char *how, const double *gate, const int *chosen, int top, int i)
{
	double sum = 0;
	for (int k = 0; k < top && strstr(how, "_of_top"); k++)
		sum += *how == 's' && how[1] == 'o' ? exp(gate[chosen[k]]) : sigmoid(gate[chosen[k]]);
	for (int k = 0; k < E && strcmp(how, "top_of_softmax") == 0; k++)
		sum += exp(gate[k]);
	if (strcmp(how, "top_of_sigmoid") == 0)
		return sigmoid(gate[i]);
	return (strcmp(how, "sigmoid_of_top") == 0 ? sigmoid(gate[i]) : exp(gate[i])) / sum;
}

static void expect_moe(Env *e, const char *how, int top)
{
	const Tensor *x = env_get(e, "x"), *gate = env_get(e, "gate"), *y = env_get(e, "result");
	assert_non_null(y);
	assert_int_equal(y->n, ROWS * F);
	for (int r = 0; r < ROWS; r++) {
		int chosen[E];
		double want[F] = { 0 };
		chosen_by_sorting(gate->at + r * E, top, chosen);
		for (int k = 0; k < top; k++) {
			const Tensor *w = env_get(e, internf("experts.%d.fc.weight", chosen[k])), *c = env_get(e, internf("experts.%d.fc.bias", chosen[k]));
			for (int f = 0; f < F; f++) {
				double z = c->at[f];
				for (int d = 0; d < D; d++)
					z += w->at[f * D + d] * x->at[r * D + d];
				want[f] += tanh(z) * score(how, gate->at + r * E, chosen, top, chosen[k]);
			}
		}
		for (int f = 0; f < F; f++)
			if (!(fabs(y->at[r * F + f] - want[f]) < 1e-12))
				fail_msg("%s, top %d: row %d is %g, not %g", how, top, r, y->at[r * F + f], want[f]);
	}
}

static void test_moe(void **state)
{
	static const char *const how[] = { "softmax_of_top", "top_of_softmax", "sigmoid_of_top", "top_of_sigmoid" };
	const Dims dims = { 2, { { "B", B }, { "T", T } } };
	for (int i = 0; i < COUNT(how) * E; i++) {
		int top = 1 + i % E;
		char text[1024];
		snprintf(text, sizeof text, moe_text, top, how[i / E]);
		const Graph *g = forward_of(text);
		Env *e = fill_env(g, &dims, 3, 0);
		Tensor *gate = env_get(e, "gate");
		for (int k = 0; k < gate->n; k++)   /* ties within rows; the last expert never first */
			gate->at[k] = k % E == E - 1 ? -2 : k / E % 3 == 0 ? 0.5 : gate->at[k];
		assert_true(graph_verify(g) && graph_eval(g, e));
		expect_moe(e, how[i / E], top);
	}
}

typedef struct Conv { const char *layer; int axes, kernel[2], stride[2], pad[2]; bool bias; } Conv;

static double conv_at(const Conv *c, Env *e, int b, int d, int r, int s, const int *n)
{
	const Tensor *x = env_get(e, "x"), *w = env_get(e, "conv.weight"), *bias = env_get(e, "conv.bias");
	double sum = c->bias ? bias->at[d] : 0;
	for (int ch = 0; ch < D; ch++)
		for (int i = 0; i < c->kernel[0]; i++)
			for (int j = 0; j < c->kernel[1]; j++) {
				int p = r * c->stride[0] + i - c->pad[0], q = s * c->stride[1] + j - c->pad[1];
				if (p >= 0 && p < n[0] && q >= 0 && q < n[1])
					sum += x->at[((b * D + ch) * n[0] + p) * n[1] + q] * w->at[((d * D + ch) * c->kernel[0] + i) * c->kernel[1] + j];
			}
	return sum;
}

static void test_conv(void **state)
{
	static const Conv convs[] = {
		{ "conv1d(D -> F, kernel=3, pad=1)", 1, { 3, 1 }, { 1, 1 }, { 1, 0 }, true },
		{ "conv1d(D -> F, kernel=3, stride=2, pad=1, bias=false)", 1, { 3, 1 }, { 2, 1 }, { 1, 0 }, false },
		{ "conv2d(D -> F, kernel=4, stride=4)", 2, { 4, 4 }, { 4, 4 }, { 0, 0 }, true },
		{ "conv2d(D -> F, kernel=[2, 3], stride=[3, 1], pad=[1, 2])", 2, { 2, 3 }, { 3, 1 }, { 1, 2 }, true },
	};
	for (int k = 0; k < COUNT(convs); k++) {
		const Conv *c = &convs[k];
		const int n[2] = { 12, c->axes == 2 ? 8 : 1 };
		int m[2];
		for (int i = 0; i < 2; i++)
			m[i] = (n[i] + 2 * c->pad[i] - c->kernel[i]) / c->stride[i] + 1;
		const char *in = c->axes == 2 ? ",12,8" : ",12", *out = internf(c->axes == 2 ? ",%d,%d" : ",%d", m[0], m[1]);
		const Graph *g = forward_of(internf("config { D: dim = 3; F: dim = 5 }\ndim B <= 2\n"
			"model M(x: [B,D%s]) -> [B,F%s] {\n  conv: %s\n  return conv(x)\n}\n"
			"infer run(x: [B,D%s]) -> [B,F%s] { return M(x) }\n", in, out, c->layer, in, out));
		Env *e = fill_env(g, &(Dims){ 1, { { "B", B } } }, 3, 0);
		assert_true(graph_verify(g) && graph_eval(g, e));
		const Tensor *y = env_get(e, "result");
		assert_int_equal(y->n, B * F * m[0] * m[1]);
		for (int i = 0; i < y->n; i++) {
			double want = conv_at(c, e, i / m[1] / m[0] / F, i / m[1] / m[0] % F, i / m[1] % m[0], i % m[1], n);
			if (!(fabs(y->at[i] - want) < 1e-12))
				fail_msg("%s: element %d is %g, not %g", c->layer, i, y->at[i], want);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_moe), cmocka_unit_test(test_conv) };
	return cmocka_run_group_tests_name("frontend_moe", tests, NULL, NULL);
}
