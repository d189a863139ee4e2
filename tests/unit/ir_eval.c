/* The reference evaluator: every op against values worked out by hand, the generator against published vectors,
 * attention against a plain loop, the visibility of stores. */
#include "ir/ir.h"

#include <math.h>
#include <setjmp.h>
#include <cmocka.h>

static const char prelude[] =
	"graph g(T <= 8, M <= 8) {\n"
	"%0 = input {name=\"x\"} : f32[2,T]\n"    /* -1.5 0 2 / 0.5 -3 4 */
	"%1 = input {name=\"y\"} : f32[T]\n"      /* 2 -1 0.5 */
	"%2 = input {name=\"p\"} : f32[T]\n"      /* 0.25 1 4 */
	"%3 = input {name=\"i\"} : i32[T]\n"      /* 1 0 -7 */
	"%4 = input {name=\"m\"} : bool[T]\n"     /* 1 0 1 */
	"%5 = input {name=\"seed\"} : i32[]\n"    /* 0x13198a2e */
	"%6 = state {name=\"s\"} : f32[2,T]\n"    /* 1 2 3 / 4 5 6 */
	"%7 = param {name=\"w\"} : f32[2,T]\n";   /* 10 20 30 / 40 50 60 */

static Env *standard_env(Arena *a) {
	static const double x[] = {-1.5, 0, 2, 0.5, -3, 4}, y[] = {2, -1, 0.5}, p[] = {0.25, 1, 4}, i[] = {1, 0, -7},
		m[] = {1, 0, 1}, seed[] = {0x13198a2e}, s[] = {1, 2, 3, 4, 5, 6}, w[] = {10, 20, 30, 40, 50, 60};
	static const int64_t two_three[] = {2, 3}, three[] = {3};
	Env *e = env_new(a);
	env_dim(e, "T", 3);
	env_set(e, "x", 2, two_three, x);
	env_set(e, "y", 1, three, y);
	env_set(e, "p", 1, three, p);
	env_set(e, "i", 1, three, i);
	env_set(e, "m", 1, three, m);
	env_set(e, "seed", 0, NULL, seed);
	env_set(e, "s", 2, two_three, s);
	env_set(e, "w", 2, two_three, w);
	return e;
}

/* The body's value %9 is what the op makes of the inputs. */
typedef struct Row { Op op; const char *body; int n; double want[12]; } Row;
static const Row rows[] = {
	{OP_PARAM, "%9 = mul %7, %7", 6, {100, 400, 900, 1600, 2500, 3600}},
	{OP_STATE, "%9 = neg %6", 6, {-1, -2, -3, -4, -5, -6}},
	{OP_INPUT, "%9 = stop %1", 3, {2, -1, 0.5}},
	{OP_CONST, "%9 = const {value=2.5} : f32[1,2]", 2, {2.5, 2.5}},
	{OP_IOTA, "%9 = iota {axis=1} : i32[2,3,2]", 12, {0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}},
	{OP_DIMVAL, "%9 = dimval {size=2*T - 1}", 1, {5}},
	{OP_RANDOM, "%8 = random %5 {stream=2242054355} : f32[2]\n%9 = sum %8 {axes=[0]}", 0, {0}},
	{OP_NEG, "%9 = neg %1", 3, {-2, 1, -0.5}},
	{OP_ABS, "%9 = abs %1", 3, {2, 1, 0.5}},
	{OP_EXP, "%9 = exp %1", 3, {7.389056098930650, 0.367879441171442, 1.648721270700128}},
	{OP_LOG, "%9 = log %2", 3, {-1.386294361119891, 0, 1.386294361119891}},
	{OP_SQRT, "%9 = sqrt %2", 3, {0.5, 1, 2}},
	{OP_RSQRT, "%9 = rsqrt %2", 3, {2, 1, 0.5}},
	{OP_TANH, "%9 = tanh %1", 3, {0.964027580075817, -0.761594155955765, 0.462117157260010}},
	{OP_ERF, "%9 = erf %1", 3, {0.995322265018953, -0.842700792949715, 0.520499877813047}},
	{OP_SIN, "%9 = sin %1", 3, {0.909297426825682, -0.841470984807897, 0.479425538604203}},
	{OP_COS, "%9 = cos %1", 3, {-0.416146836547142, 0.540302305868140, 0.877582561890373}},
	{OP_SIGMOID, "%9 = sigmoid %1", 3, {0.880797077977882, 0.268941421369995, 0.622459331201855}},
	{OP_STOP, "%9 = stop %1", 3, {2, -1, 0.5}},
	{OP_NOT, "%9 = not %4", 3, {0, 1, 0}},
	{OP_TO_F32, "%9 = to_f32 %4", 3, {1, 0, 1}},
	{OP_TO_BF16, "%8 = const {value=1.01171875} : f32[]\n%9 = to_bf16 %8", 1, {1.015625}},   /* between 1.0078125 and 1.015625: to even */
	{OP_TO_F16, "%8 = const {value=1.00146484375} : f32[]\n%9 = to_f16 %8", 1, {1.001953125}},   /* between 1.0009765625 and that: to even */
	{OP_TO_F16, "%8 = const {value=70000} : f32[]\n%9 = to_f16 %8", 1, {65504}},
	{OP_TO_F16, "%8 = const {value=-1.7881393432617188e-07} : f32[]\n%9 = to_f16 %8", 1, {-1.7881393432617188e-07}},   /* 3 of its smallest */
	{OP_TO_I8, "%8 = const {value=2.5} : f32[]\n%9 = to_i8 %8", 1, {2}},
	{OP_TO_I8, "%8 = const {value=-300} : f32[]\n%9 = to_i8 %8", 1, {-127}},
	{OP_TO_I32, "%8 = const {value=-1.9} : f32[]\n%9 = to_i32 %8", 1, {-1}},
	{OP_ADD, "%9 = add %0, %1", 6, {0.5, -1, 2.5, 2.5, -4, 4.5}},
	{OP_ADD, "%8 = const {value=2147483647} : i32[]\n%9 = add %3, %8", 3, {-2147483648.0, 2147483647, 2147483640}},
	{OP_SUB, "%9 = sub %0, %1", 6, {-3.5, 1, 1.5, -1.5, -2, 3.5}},
	{OP_MUL, "%9 = mul %0, %1", 6, {-3, 0, 1, 1, 3, 2}},
	{OP_MUL, "%8 = const {value=123456789} : i32[]\n%9 = mul %8, %8", 1, {-1757895751}},
	{OP_DIV, "%9 = div %0, %1", 6, {-0.75, 0, 4, 0.25, 3, 8}},
	{OP_POW, "%9 = pow %2, %1", 3, {0.0625, 1, 2}},
	{OP_MAX, "%9 = max %0, %1", 6, {2, 0, 2, 2, -1, 4}},
	{OP_MIN, "%9 = min %0, %1", 6, {-1.5, -1, 0.5, 0.5, -3, 0.5}},
	{OP_EQ, "%8 = const {value=0} : i32[]\n%9 = eq %3, %8", 3, {0, 1, 0}},
	{OP_NE, "%8 = const {value=0} : i32[]\n%9 = ne %3, %8", 3, {1, 0, 1}},
	{OP_LT, "%9 = lt %0, %1", 6, {1, 0, 0, 1, 1, 0}},
	{OP_LE, "%9 = le %1, %1", 3, {1, 1, 1}},
	{OP_AND, "%8 = lt %1, %2\n%9 = and %4, %8", 3, {0, 0, 1}},
	{OP_OR, "%8 = lt %1, %2\n%9 = or %4, %8", 3, {1, 1, 1}},
	{OP_SELECT, "%9 = select %4, %0, %1", 6, {-1.5, -1, 2, 0.5, -1, 4}},
	{OP_SUM, "%9 = sum %0 {axes=[1]}", 2, {0.5, 1.5}},
	{OP_SUM, "%9 = sum %0 {axes=[0]}", 3, {-1, -3, 6}},
	{OP_SUM, "%9 = sum %0 {axes=[0,1]}", 1, {2}},
	{OP_RMAX, "%9 = rmax %0 {axes=[1]}", 2, {2, 4}},
	{OP_RMAX, "%9 = rmax %0 {axes=[0]}", 3, {0.5, 0, 4}},
	{OP_RESHAPE, "%9 = reshape %0 : f32[T,2]", 6, {-1.5, 0, 2, 0.5, -3, 4}},
	{OP_TRANSPOSE, "%9 = transpose %0 {perm=[1,0]}", 6, {-1.5, 0.5, 0, -3, 2, 4}},
	{OP_SLICE, "%9 = slice %0 {axis=1, start=T - 2, len=2}", 4, {0, 2, -3, 4}},
	/* of [-1.5, 0, 2; 0.5, -3, 4]: windows of 2, 1 apart along the last axis; along the first; 2 apart with a rest */
	{OP_WINDOWS, "%9 = windows %0 {axis=1, len=2, step=1} : f32[2,T - 1,2]", 8, {-1.5, 0, 0, 2, 0.5, -3, -3, 4}},
	{OP_WINDOWS, "%9 = windows %0 {axis=0, len=1, step=1} : f32[2,1,T]", 6, {-1.5, 0, 2, 0.5, -3, 4}},
	{OP_WINDOWS, "%9 = windows %0 {axis=1, len=2, step=2} : f32[2,T/2,2]", 4, {-1.5, 0, 0.5, -3}},
	{OP_WINDOWS, "%8 = windows %6 {axis=1, len=2, step=1} : f32[2,T - 1,2]\n%9 = windows %8 {axis=1, len=2, step=1}", 8, {1, 2, 2, 3, 4, 5, 5, 6}},
	{OP_EXPAND, "%9 = expand %1 : f32[2,T]", 6, {2, -1, 0.5, 2, -1, 0.5}},
	{OP_CONCAT, "%8 = slice %0 {axis=1, start=0, len=1}\n%9 = concat %0, %8 {axis=1}", 8, {-1.5, 0, 2, -1.5, 0.5, -3, 4, 0.5}},
	{OP_PAD, "%8 = slice %0 {axis=1, start=0, len=1}\n%9 = pad %8 {axis=1, lo=1, hi=2}", 8, {0, -1.5, 0, 0, 0, 0.5, 0, 0}},
	{OP_COPY, "%9 = copy %1", 3, {2, -1, 0.5}},
	{OP_WRITE, "%8 = slice %0 {axis=1, start=1, len=2}\n%9 = write %6, %8 {axis=1, start=T - 3}", 6, {0, 2, 3, -3, 4, 6}},
	{OP_CONTRACT, "%9 = contract %0, %6 {spec=\"mk,nk->mn\"}", 4, {4.5, 6, 6.5, 11}},
	{OP_CONTRACT, "%9 = contract %0, %6 {spec=\"km,kn->nm\"}", 9, {0.5, -12, 18, -0.5, -15, 24, -1.5, -18, 30}},
	{OP_CONTRACT, "%9 = contract %0, %6 {spec=\"bk,bk->b\"}", 2, {4.5, 11}},
	{OP_CONTRACT, "%9 = contract %0, %6 {spec=\"mk,mk->\"}", 1, {15.5}},
	{OP_CONTRACT, "%8 = slice %1 {axis=0, start=0, len=2}\n%9 = contract %8, %1 {spec=\"m,n->mn\"}", 6, {4, -2, 1, -2, 1, -0.5}},
	{OP_PACK, "%9 = pack %1 {spec=\"k,k->\", side=0}", 3, {2, -1, 0.5}},
	{OP_GATHER, "%9 = gather %0, %3", 9, {0.5, -3, 4, -1.5, 0, 2, 0, 0, 0}},
	{OP_SCATTER_ADD, "%8 = gather %0, %3\n%9 = scatter_add %6, %3, %8", 6, {-0.5, 2, 5, 4.5, 2, 10}},
	/* at 1, of [0.5, -3, 4] below 0; then at nothing; then what is made of as many rows */
	{OP_NONZERO, "%8 = slice %0 {axis=0, start=1, len=1}\n%10 = reshape %8 : f32[T]\n%11 = const {value=0} : f32[]\n%12 = lt %10, %11\n"
	 "%9 = nonzero %12 : i32[M]", 1, {1}},
	{OP_NONZERO, "%12 = lt %1, %1\n%9 = nonzero %12 : i32[M]", 0, {0}},
	{OP_NONZERO, "%8 = not %4\n%10 = nonzero %8 : i32[M]\n%11 = gather %1, %10\n%9 = sum %11 {axes=[0]}", 1, {-1}},
	{OP_NONZERO, "%12 = lt %1, %1\n%10 = nonzero %12 : i32[M]\n%11 = gather %1, %10\n%9 = contract %11, %11 {spec=\"m,m->\"}", 1, {0}},
	{OP_STORE, "store %6, %0\n%9 = neg %6", 6, {-1, -2, -3, -4, -5, -6}},
	{OP_OUTPUT, "output %1 {name=\"other\"}\n%9 = neg %1", 3, {-2, 1, -0.5}},
	{OP_DEQUANT, "%8 = to_i8 %0\n%10 = slice %6 {axis=1, start=1, len=1}\n%11 = to_f16 %10\n%9 = dequant %8, %11", 6, {-4, 0, 4, 0, -15, 20}},
	{OP_SOFTMAX, "%9 = softmax %1 {axis=0}", 3, {0.785597034589276, 0.039112573270687, 0.175290392140037}},
	/* two queries, three keys, one head of width 1: scores q k; the first query sees keys 0 and 1 */
	{OP_ATTENTION,
	 "%8 = slice %0 {axis=1, start=0, len=1}\n%10 = reshape %8 : f32[1,2,1,1]\n%11 = reshape %1 : f32[1,T,1,1]\n"
	 "%12 = reshape %2 : f32[1,T,1,1]\n%9 = attention %10, %11, %12 {causal=1, scale=1, stream=0, dropout=0, keys=0, bias=0}",
	 2, {0.991759793027055, 1.393453819846209}},
	/* the same */
	{OP_FLASH,
	 "%8 = slice %0 {axis=1, start=0, len=1}\n%10 = reshape %8 : f32[1,2,1,1]\n%11 = reshape %1 : f32[1,T,1,1]\n"
	 "%12 = reshape %2 : f32[1,T,1,1]\n%9 = flash %10, %11, %12 {stream=0, causal=1, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0}",
	 2, {0.991759793027055, 1.39345381984621}},
	{OP_FLASH_LSE,
	 "%8 = slice %0 {axis=1, start=0, len=1}\n%10 = reshape %8 : f32[1,2,1,1]\n%11 = reshape %1 : f32[1,T,1,1]\n"
	 "%12 = reshape %2 : f32[1,T,1,1]\n%9 = flash_lse %10, %11, %12 {stream=0, causal=1, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0}",
	 2, {1.51104774484859, 1.52797574385531}},
	/* dk where dy is q */
	{OP_FLASH_GRAD,
	 "%8 = slice %0 {axis=1, start=0, len=1}\n%10 = reshape %8 : f32[1,2,1,1]\n%11 = reshape %1 : f32[1,T,1,1]\n"
	 "%12 = reshape %2 : f32[1,T,1,1]\n%13 = flash_lse %10, %11, %12 {stream=0, causal=1, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0}\n"
	 "%14 = flash %10, %11, %12 {stream=0, causal=1, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0}\n%15 = mul %10, %14\n"
	 "%9 = flash_grad %10, %11, %12, %10, %13, %15 {stream=0, causal=1, window=0, keys=0, mask=0, bias=0, scale=1, softcap=0, dropout=0, wrt=1}",
	 3, {-0.186938360517443, 0.00539196996425329, 0.18154639055319}},
};

static Tensor *run(Arena *a, Env *e, const char *body) {
	const char *text = arena_printf(a, "%s%s\noutput %%9 {name=\"out\"}\n}\n", prelude, body);
	Graph *g = graph_parse(a, source_text(a, "row.ir", text), NULL);
	if (!g)
		fail_msg("does not parse: %s", body);
	assert_true(graph_verify(g));
	if (!graph_eval(g, e))
		fail_msg("does not evaluate: %s", body);
	return env_get(e, "out");
}

static void expect(const Tensor *t, int n, const double *want, const char *what) {
	assert_int_equal(t->n, n);
	for (int i = 0; i < n; i++)
		if (!(fabs(t->at[i] - want[i]) <= 1e-12 * (1 + fabs(want[i]))))
			fail_msg("%s: element %d is %.15g, not %.15g", what, i, t->at[i], want[i]);
}

static void every_op(void **state) {
	bool have[OP_COUNT] = {0};
	for (int i = 0; i < COUNT(rows); i++) {
		have[rows[i].op] = true;
		if (rows[i].op == OP_RANDOM)
			continue;   /* random_tensor, below */
		Arena *a = arena_new();
		expect(run(a, standard_env(a), rows[i].body), rows[i].n, rows[i].want, rows[i].body);
		arena_free(a);
	}
	for (int i = 0; i < OP_COUNT; i++)
		if (!have[i])
			fail_msg("%s has no row", op_info[i].text);
}

/* Random123's known answers for philox2x32-10: the top 24 bits of the first word. */
static void philox(void **state) {
	assert_true(random_uniform(0, 0, 0) == 0xff1dae * 0x1p-24);
	assert_true(random_uniform(0xffffffff, 0xffffffff, 0xffffffff) == 0x2c3f62 * 0x1p-24);
	assert_true(random_uniform(0x13198a2e, 0x85a308d3, 0x243f6a88) == 0xdd7ce0 * 0x1p-24);
}

/* Counter: the row-major index, whatever the shape; the stream is the attribute. */
static void random_tensor(void **state) {
	Arena *a = arena_new();
	Tensor *t = run(a, standard_env(a), "%9 = random %5 {stream=7} : f32[2,T]");
	for (int i = 0; i < 6; i++)
		assert_true(t->at[i] == random_uniform(0x13198a2e, 7, (uint32_t)i));
	arena_free(a);
}

/* A store shows after the run, not in it; outputs and states can be read back. */
static void stores(void **state) {
	Arena *a = arena_new();
	Env *e = standard_env(a);
	for (int step = 1; step <= 3; step++) {
		Tensor *t = run(a, e, "%8 = add %6, %7\nstore %6, %8\nstore %7, %6\n%9 = sub %6, %7");
		assert_int_equal(t->n, 6);
	}
	static const double s[] = {23, 46, 69, 92, 115, 138}, w[] = {12, 24, 36, 48, 60, 72};
	/* s, w: 1,10 -> 11,1 -> 12,11 -> 23,12 in each first element */
	expect(env_get(e, "s"), 6, s, "s");
	expect(env_get(e, "w"), 6, w, "w");
	assert_null(env_get(e, "nothing"));
	arena_free(a);
}

static void user_errors(void **state) {
	static const struct { const char *body; } row[] = {
		{"%9 = slice %1 {axis=0, start=2*T - 3, len=1}"},
		{"%10 = input {name=\"absent\"} : f32[]\n%9 = neg %10"},
		{"%10 = param {name=\"p\"} : f32[2]\n%9 = neg %10"},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		Env *e = standard_env(a);
		const char *text = arena_printf(a, "%s%s\noutput %%9 {name=\"out\"}\n}\n", prelude, row[i].body);
		Graph *g = graph_parse(a, source_text(a, "row.ir", text), NULL);
		assert_non_null(g);
		assert_false(graph_eval(g, e));
		assert_null(env_get(e, "out"));
		arena_free(a);
	}
	diag_reset();
}

/* Attention against plain loops: causal with a past, grouped heads, masked keys, a bias by head, dropout. */
enum { B = 2, T = 3, S = 5, H = 4, G = 2, K = 3 };
typedef struct Case { bool causal, keys, bias; double dropout; int groups; int window; bool mask; double softcap; } Case;

static double pseudo(int i) { return sin(i * 12.9898) * 2; }

static void attention_loops(const Case *c, const double *q, const double *k, const double *v, const double *keys,
                            const double *bias, const double *mask, double *out) {
	for (int b = 0; b < B; b++)
		for (int h = 0; h < H; h++)
			for (int t = 0; t < T; t++) {
				double p[S], sum = 0;
				int g = h / (H / c->groups);
				for (int s = 0; s < S; s++) {
					double dot = 0;
					for (int x = 0; x < K; x++)
						dot += q[((b * T + t) * H + h) * K + x] * k[((b * S + s) * c->groups + g) * K + x];
					bool seen = (!c->causal || s <= t + S - T) && (!c->keys || keys[b * S + s]);
					seen &= (!c->window || t + S - T - s < c->window) && (!c->mask || mask[(b * H + h) * T * S + t * S + s]);
					dot *= 0.7;
					dot = c->softcap > 0 ? c->softcap * tanh(dot / c->softcap) : dot;
					p[s] = seen ? exp(dot + (c->bias ? bias[(h * T + t) * S + s] : 0)) : 0;
					sum += p[s];
				}
				for (int x = 0; x < K; x++) {
					double y = 0;
					for (int s = 0; s < S; s++) {
						uint32_t at = (uint32_t)(((b * H + h) * T + t) * S + s);
						bool kept = random_uniform(99, 5, at) >= c->dropout;
						y += sum > 0 && kept ? p[s] / sum / (1 - c->dropout) * v[((b * S + s) * c->groups + g) * K + x] : 0;
					}
					out[((b * T + t) * H + h) * K + x] = y;
				}
			}
}

static void check_attention(const Case *c) {
	static double q[B * T * H * K], k[B * S * H * K], v[B * S * H * K], bias[H * T * S], mask[B * H * T * S], want[B * T * H * K];
	static const double keys[B * S] = {1, 0, 1, 1, 0, 0, 0, 0, 0, 0}, seed[] = {99};   /* the second sequence sees nothing */
	for (int i = 0; i < COUNT(k); i++) {
		k[i] = pseudo(i);
		v[i] = pseudo(i + 1000);
		if (i < COUNT(q))
			q[i] = pseudo(i + 2000);
		if (i < COUNT(bias))
			bias[i] = pseudo(i + 3000);
	}
	for (int i = 0; i < COUNT(mask); i++)
		mask[i] = pseudo(i + 4000) > -0.5;
	Arena *a = arena_new();
	Env *e = env_new(a);
	env_dim(e, "B", B);
	env_dim(e, "T", T);
	env_dim(e, "S", S);
	env_set(e, "q", 4, (int64_t[]){B, T, H, K}, q);
	env_set(e, "k", 4, (int64_t[]){B, S, c->groups, K}, k);
	env_set(e, "v", 4, (int64_t[]){B, S, c->groups, K}, v);
	env_set(e, "keys", 2, (int64_t[]){B, S}, keys);
	env_set(e, "bias", 3, (int64_t[]){H, T, S}, bias);
	env_set(e, "mask", 4, (int64_t[]){B, H, T, S}, mask);
	env_set(e, "seed", 0, NULL, seed);
	const char *text = arena_printf(a,
		"graph g(B <= 4, T <= 8, S <= 8) {\n%%0 = input {name=\"q\"} : f32[B,T,%d,%d]\n%%1 = input {name=\"k\"} : f32[B,S,%d,%d]\n"
		"%%2 = input {name=\"v\"} : f32[B,S,%d,%d]\n%%3 = input {name=\"keys\"} : bool[B,S]\n"
		"%%4 = input {name=\"bias\"} : f32[%d,T,S]\n%%5 = input {name=\"seed\"} : i32[]\n"
		"%%7 = input {name=\"mask\"} : bool[B,%d,T,S]\n"
		"%%6 = attention %%0, %%1, %%2%s%s%s%s {causal=%d, window=%d, keys=%d, mask=%d, bias=%d, scale=0.7, softcap=%g, "
		"dropout=%g, stream=5}\n"
		"output %%6 {name=\"out\"}\n}\n", H, K, c->groups, K, c->groups, K, H, H, c->keys ? ", %3" : "", c->mask ? ", %7" : "",
		c->bias ? ", %4" : "", c->dropout > 0 ? ", %5" : "", c->causal, c->window, c->keys, c->mask, c->bias, c->softcap,
		c->dropout);
	Graph *g = graph_parse(a, source_text(a, "attention.ir", text), NULL);
	assert_non_null(g);
	assert_true(graph_verify(g));
	assert_true(graph_eval(g, e));
	attention_loops(c, q, k, v, keys, bias, mask, want);
	expect(env_get(e, "out"), COUNT(want), want, text);
	arena_free(a);
}

static void attentions(void **state) {
	static const int windows[] = {0, 1, 3, 100};
	for (int i = 0; i < 512; i++)
		check_attention(&(Case){i & 1, i & 2, i & 4, i & 8 ? 0.3 : 0, i & 16 ? G : H, windows[i >> 5 & 3], i & 128, i & 256 ? 0.8 : 0});
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_op), cmocka_unit_test(philox), cmocka_unit_test(random_tensor), cmocka_unit_test(stores),
		cmocka_unit_test(user_errors), cmocka_unit_test(attentions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
