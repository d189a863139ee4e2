/* Elaboration: published parameter counts, the names and shapes of checkpoints, what entries promise, and numbers of
 * tiny models against formulas written out here. Runs from the repository's root: it reads models/. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontend/frontend.h"
#include "tests/gpt.h"

static Module *build_with(const char *path, const char *preset, int nsets, const char *const *sets)
{
	FrontendOptions o = { .preset = preset, .sets = sets, .nsets = nsets };
	diag_reset();
	return frontend_build(test_arena(), path, &o);
}

static Module *build_text(const char *text)
{
	static int n;
	char path[64];
	snprintf(path, sizeof path, "/tmp/sinter_elab_%d_%d.sinter", (int)getpid(), n++);
	assert_true(file_write_atomic(path, text, strlen(text)));
	Module *m = build_with(path, NULL, 0, NULL);
	unlink(path);
	assert_non_null(m);
	return m;
}

static int64_t count(const Module *m)
{
	int64_t total = 0, n;
	for (int i = 0; i < m->params.len; i++) {
		assert_true(dim_is_const(type_elems(m->params.at[i].type), &n));
		total += m->params.at[i].adapter ? 0 : n;
	}
	return total;
}

/* Without what adapters add. */
static int tensors(const Module *m)
{
	int n = 0;
	for (int i = 0; i < m->params.len; i++)
		n += !m->params.at[i].adapter;
	return n;
}

static void published_counts(void **state)
{
	static const struct { const char *path, *preset; int64_t params; int tensors; } want[] = {
		{ "models/gpt2.sinter", NULL, 124439808, 148 },
		{ "models/gpt2.sinter", "xl", 1557611200, 580 },
		{ "models/llama.sinter", NULL, 8030261248, 291 },
		{ "models/llama.sinter", "llama3_2_1b", 1235814400, 146 },
		{ "models/llama.sinter", "tinyllama", 1100048384, 201 },
		{ "models/bert.sinter", NULL, 110106428 + 2 * (2 * 768 + 2) + 768 + 1, 206 + 6 },   /* BertForPreTraining, heads of two labels and of a number that are fine-tuned */
		{ "models/minilm.sinter", NULL, 22565376, 101 },
		{ "models/vit.sinter", NULL, 86567656, 200 },
		{ "models/whisper.sinter", NULL, 72593920, 245 },
		{ "models/whisper.sinter", "tiny", 37760640, 167 },
		{ "models/clip.sinter", NULL, 151277313, 398 },
		{ "models/t5.sinter", NULL, 60506624, 131 },
		{ "models/mixtral.sinter", NULL, 46702792704, 995 },
	};
	for (int i = 0; i < COUNT(want); i++) {
		Module *m = build_with(want[i].path, want[i].preset, 0, NULL);
		assert_non_null(m);
		assert_int_equal(count(m), want[i].params);
		assert_int_equal(tensors(m), want[i].tensors);
	}
}

static void has_param(Module *m, const char *name, const char *type)
{
	Param *p = module_param(m, name);
	Str s = {0};
	if (!p)
		fail_msg("there is no %s", name);
	type_print(&s, p->type);
	assert_string_equal(s.at, type);
	str_free(&s);
}

static void names_of_the_checkpoints(void **state)
{
	Module *g = build_with("models/gpt2.sinter", NULL, 0, NULL);
	has_param(g, "wte.weight", "f32[50257,768]");
	has_param(g, "wpe.weight", "f32[1024,768]");
	has_param(g, "h.0.ln_1.weight", "f32[768]");
	has_param(g, "h.11.attn.c_attn.weight", "f32[768,2304]");
	has_param(g, "h.11.attn.c_attn.bias", "f32[2304]");
	has_param(g, "h.3.mlp.c_fc.weight", "f32[768,3072]");
	has_param(g, "h.3.mlp.c_proj.weight", "f32[3072,768]");
	has_param(g, "ln_f.bias", "f32[768]");
	assert_string_equal(g->prefix, "transformer.");
	Module *l = build_with("models/llama.sinter", NULL, 0, NULL);
	has_param(l, "model.embed_tokens.weight", "f32[128256,4096]");
	has_param(l, "model.layers.31.self_attn.k_proj.weight", "f32[1024,4096]");
	has_param(l, "model.layers.0.mlp.down_proj.weight", "f32[4096,14336]");
	has_param(l, "model.norm.weight", "f32[4096]");
	has_param(l, "lm_head.weight", "f32[128256,4096]");
	assert_null(module_param(l, "model.layers.0.self_attn.q_proj.bias"));
	Module *b = build_with("models/bert.sinter", NULL, 0, NULL);
	has_param(b, "bert.embeddings.word_embeddings.weight", "f32[30522,768]");
	has_param(b, "bert.encoder.layer.11.attention.self.query.bias", "f32[768]");
	has_param(b, "bert.encoder.layer.0.attention.output.LayerNorm.weight", "f32[768]");
	has_param(b, "cls.predictions.bias", "f32[30522]");
	has_param(b, "cls.seq_relationship.weight", "f32[2,768]");
}

static void tied_weights_add_none(void **state)
{
	Module *m = build_with("models/llama.sinter", "llama3_2_1b", 0, NULL);
	assert_null(module_param(m, "lm_head.weight"));
	assert_non_null(module_param(m, "model.embed_tokens.weight"));
}

static void initialisers_and_decay(void **state)
{
	Module *m = build_with("models/gpt2.sinter", NULL, 0, NULL);
	Param *w = module_param(m, "h.0.attn.c_attn.weight"), *r = module_param(m, "h.0.mlp.c_proj.weight");
	Param *n = module_param(m, "h.0.ln_1.weight"), *b = module_param(m, "h.0.ln_1.bias");
	assert_int_equal(w->init, INIT_NORMAL);
	assert_float_equal(w->b, 0.02, 1e-12);
	assert_float_equal(r->b, 0.02 / sqrt(24), 1e-12);
	assert_int_equal(n->init, INIT_CONSTANT);
	assert_float_equal(n->a, 1, 0);
	assert_int_equal(b->init, INIT_ZEROS);
	assert_true(w->decay && module_param(m, "wte.weight")->decay);
	assert_false(n->decay || b->decay || module_param(m, "h.0.mlp.c_proj.bias")->decay);
	assert_int_equal(m->ignore.len, 2);
}

static const char *const tiny[] = { "D=24", "H=3", "L=2", "V=31", "N=16", "train.micro=2", "train.T=8", "p=0.1" };

static double number(const Entry *e, const char *key)
{
	const Setting *s = entry_setting(e, key);
	assert_non_null(s);
	assert_true(s->is_num);
	return s->num;
}

static void settings_are_flat(void **state)
{
	Module *m = build_with("models/gpt2.sinter", NULL, COUNT(tiny), tiny);
	assert_non_null(m);
	assert_int_equal(m->entries.len, 2);
	Entry *t = m->entries.at[0], *g = m->entries.at[1];
	assert_int_equal(t->kind, ENTRY_TRAIN);
	assert_int_equal(g->kind, ENTRY_GENERATE);
	assert_string_equal(entry_setting(t, "data.kind")->str, "text");
	assert_string_equal(entry_setting(t, "data.valid")->str, "valid.txt");
	assert_string_equal(entry_setting(t, "schedule.kind")->str, "cosine");
	assert_float_equal(number(t, "optimizer.beta2"), 0.95, 0);
	assert_float_equal(number(t, "schedule.warmup"), 2000, 0);
	assert_float_equal(number(t, "schedule.final"), 6e-5, 0);
	assert_float_equal(number(t, "micro"), 2, 0);
	assert_float_equal(number(t, "T"), 8, 0);
	assert_float_equal(number(t, "validate.every"), 1000, 0);
	assert_float_equal(number(g, "sample.top_k"), 40, 0);
	assert_string_equal(entry_setting(g, "stop.0")->str, "<|endoftext|>");
}

static int64_t bound(const Graph *g, const char *sym)
{
	for (int i = 0; i < g->syms.len; i++)
		if (strcmp(g->syms.at[i].name, sym) == 0)
			return g->syms.at[i].bound;
	return 0;
}

static int count_op(const Graph *g, Op op)
{
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		n += g->vals.at[i]->op == op;
	return n;
}

static void graphs_and_bounds(void **state)
{
	Module *m = build_with("models/gpt2.sinter", NULL, COUNT(tiny), tiny);
	Graph *f = entry_graph(m->entries.at[0], "forward"), *e = entry_graph(m->entries.at[0], "eval");
	Graph *g = entry_graph(m->entries.at[1], "forward");
	assert_true(graph_verify(f) && graph_verify(e) && graph_verify(g));
	assert_int_equal(bound(f, "B"), 2);
	assert_int_equal(bound(f, "T"), 8);
	assert_int_equal(bound(g, "B"), 1);
	assert_int_equal(bound(g, "T"), 16);
	assert_int_equal(count_op(f, OP_ATTENTION), 2);
	assert_int_equal(count_op(f, OP_RANDOM), 5);   /* the embedding's, two a layer; attention has its own */
	assert_int_equal(count_op(e, OP_RANDOM), 0);
	assert_int_equal(count_op(g, OP_RANDOM), 0);
	for (int i = 0; i < f->vals.len; i++)   /* every stream is used once */
		for (int k = 0; k < i; k++) {
			Value *a = f->vals.at[i], *b = f->vals.at[k];
			bool both = (a->op == OP_RANDOM || a->op == OP_ATTENTION) && (b->op == OP_RANDOM || b->op == OP_ATTENTION);
			assert_false(both && a->a.stream == b->a.stream);
		}
}

static void every_value_has_a_place(void **state)
{
	Module *m = build_with("models/gpt2.sinter", NULL, COUNT(tiny), tiny);
	Graph *f = entry_graph(m->entries.at[0], "forward");
	for (int i = 0; i < f->vals.len; i++) {
		assert_non_null(f->vals.at[i]->loc.file);
		assert_true(f->vals.at[i]->loc.line > 0 && f->vals.at[i]->loc.col > 0);
		if (f->vals.at[i]->op == OP_PARAM)
			assert_non_null(f->vals.at[i]->path);
	}
}

/* Numbers */

static double noise(int i) { return 2 * random_uniform(7, 1, (uint32_t)i) - 1; }

/* Parameters as their initialisers say, but for a fixed noise in place of the normal one. */
static void fill_params(Module *m, Env *env, double scale)
{
	for (int i = 0; i < m->params.len; i++) {
		Param *p = &m->params.at[i];
		int64_t shape[MAX_RANK] = {0};
		for (int k = 0; k < p->type.rank; k++)
			dim_is_const(p->type.dim[k], &shape[k]);
		Tensor *t = env_set(env, p->name, p->type.rank, shape, NULL);
		for (int64_t k = 0; k < t->n; k++)
			t->at[k] = p->init == INIT_CONSTANT ? p->a : p->init == INIT_NORMAL ? scale * noise((int)(1000 * i + k)) : 0;
	}
}

static double run(Module *m, const Graph *g, const char *out, double scale, int B, int T)
{
	Arena *a = arena_new();
	Env *env = env_new(a);
	double *ids = NEW_ARRAY(a, double, B * (T + 1)), seed = 3;
	for (int i = 0; i < B * (T + 1); i++)
		ids[i] = (i * 7 + 3) % 31;
	fill_params(m, env, scale);
	env_dim(env, "B", B);
	env_dim(env, "T", T);
	env_set(env, "tokens", 2, (int64_t[]){ B, T + 1 }, ids);
	env_set(env, "seed", 0, NULL, &seed);
	assert_true(graph_eval(g, env));
	double x = env_get(env, out)->at[0];
	arena_free(a);
	return x;
}

static void tiny_gpt2_starts_at_log_v(void **state)
{
	Module *m = build_with("models/gpt2.sinter", NULL, COUNT(tiny), tiny);
	Graph *f = entry_graph(m->entries.at[0], "forward"), *e = entry_graph(m->entries.at[0], "eval");
	assert_float_equal(run(m, f, "loss", 0.02, 2, 8), log(31), 0.05);
	assert_float_equal(run(m, e, "loss", 0.02, 2, 5), log(31), 0.05);
	assert_float_equal(run(m, e, "loss", 0, 2, 5), log(31), 1e-9);
	assert_float_equal(run(m, e, "perplexity", 0, 1, 5), 31, 1e-6);
	assert_true(fabs(run(m, e, "loss", 0.5, 2, 8) - log(31)) > 0.1);
}

/* The file's graph and the one written out in tests/gpt.h compute the same. */
static void gpt2_is_the_written_out_one(void **state)
{
	static const char *const sets[] = { "D=24", "H=3", "L=2", "V=31", "N=8", "train.micro=2", "p=0" };
	Module *m = build_with("models/gpt2.sinter", NULL, COUNT(sets), sets);
	assert_non_null(m);
	assert_non_null(entry_graph(m->entries.at[0], "eval"));   /* even without a dropout */
	Graph *want = gpt_forward(test_arena(), (GptShape){ .B = 2, .T = 8, .V = 31, .D = 24, .H = 3, .L = 2 });
	double a = run(m, entry_graph(m->entries.at[0], "forward"), "loss", 0.4, 2, 7);
	assert_float_equal(a, run(m, want, "loss", 0.4, 2, 7), 1e-9);
	assert_true(fabs(a - log(31)) > 0.01);
}

/* Llama (Touvron et al. 2023) for one sequence, in plain loops: one layer, grouped queries, rotary positions. */
enum { LV = 11, LD = 8, LF = 12, LH = 4, LG = 2, LK = 4, LT = 5 };

static void rms(const double *x, const double *w, double *y)
{
	double sum = 0;
	for (int i = 0; i < LD; i++)
		sum += x[i] * x[i];
	for (int i = 0; i < LD; i++)
		y[i] = x[i] / sqrt(sum / LD + 1e-5) * w[i];
}

static void times(const double *w, const double *x, double *y, int rows, int cols)
{
	for (int r = 0; r < rows; r++) {
		y[r] = 0;
		for (int c = 0; c < cols; c++)
			y[r] += w[r * cols + c] * x[c];
	}
}

static void turn(double *x, int heads, int t)
{
	for (int h = 0; h < heads; h++)
		for (int i = 0; i < LK / 2; i++) {
			double f = t * pow(500000, -2.0 * i / LK), *a = x + h * LK + i, *b = a + LK / 2, u = *a, v = *b;
			*a = u * cos(f) - v * sin(f);
			*b = v * cos(f) + u * sin(f);
		}
}

static const double *weights(Env *env, const char *name) { return env_get(env, name)->at; }

static void attend(const double *q, double k[][LG * LK], double v[][LG * LK], int t, double *out)
{
	for (int h = 0; h < LH; h++) {
		int g = h / (LH / LG);
		double p[LT], sum = 0;
		for (int s = 0; s <= t; s++) {
			double dot = 0;
			for (int i = 0; i < LK; i++)
				dot += q[h * LK + i] * k[s][g * LK + i];
			sum += p[s] = exp(dot / sqrt(LK));
		}
		for (int i = 0; i < LK; i++) {
			out[h * LK + i] = 0;
			for (int s = 0; s <= t; s++)
				out[h * LK + i] += p[s] / sum * v[s][g * LK + i];
		}
	}
}

static void llama_by_hand(Env *env, const double *ids, double *logits)
{
	double x[LD], y[LD], q[LH * LK], k[LT][LG * LK], v[LT][LG * LK], o[LH * LK], a[LF], b[LF], d[LD];
	for (int t = 0; t < LT; t++) {
		memcpy(x, weights(env, "model.embed_tokens.weight") + (int)ids[t] * LD, sizeof x);
		rms(x, weights(env, "model.layers.0.input_layernorm.weight"), y);
		times(weights(env, "model.layers.0.self_attn.q_proj.weight"), y, q, LH * LK, LD);
		times(weights(env, "model.layers.0.self_attn.k_proj.weight"), y, k[t], LG * LK, LD);
		times(weights(env, "model.layers.0.self_attn.v_proj.weight"), y, v[t], LG * LK, LD);
		turn(q, LH, t);
		turn(k[t], LG, t);
		attend(q, k, v, t, o);
		times(weights(env, "model.layers.0.self_attn.o_proj.weight"), o, d, LD, LH * LK);
		for (int i = 0; i < LD; i++)
			x[i] += d[i];
		rms(x, weights(env, "model.layers.0.post_attention_layernorm.weight"), y);
		times(weights(env, "model.layers.0.mlp.gate_proj.weight"), y, a, LF, LD);
		times(weights(env, "model.layers.0.mlp.up_proj.weight"), y, b, LF, LD);
		for (int i = 0; i < LF; i++)
			a[i] *= b[i] / (1 + exp(-a[i]));
		times(weights(env, "model.layers.0.mlp.down_proj.weight"), a, d, LD, LF);
		for (int i = 0; i < LD; i++)
			x[i] += d[i];
		rms(x, weights(env, "model.norm.weight"), y);
		times(weights(env, "lm_head.weight"), y, logits, LV, LD);
	}
}

static void llama_is_the_one_by_hand(void **state)
{
	static const char *const sets[] = { "V=11", "D=8", "F=12", "H=4", "G=2", "K=4", "L=1", "N=8", "generate.T=8" };
	Module *m = build_with("models/llama.sinter", NULL, COUNT(sets), sets);
	assert_non_null(m);
	Env *env = env_new(test_arena());
	double ids[LT] = { 3, 1, 10, 0, 7 }, want[LV];
	fill_params(m, env, 0.8);
	env_dim(env, "B", 1);
	env_dim(env, "T", LT);
	env_set(env, "tokens", 2, (int64_t[]){ 1, LT }, ids);
	llama_by_hand(env, ids, want);
	assert_true(graph_eval(entry_graph(m->entries.at[m->entries.len - 1], "forward"), env));   /* generate */
	Tensor *got = env_get(env, "next");
	for (int i = 0; i < LV; i++)
		assert_float_equal(got->at[i], want[i], 1e-9);
}

/* A one-entry program: a generate entry whose `next` is the expression, over x = one row of a parameter. */
static Tensor *next_of(const char *text, Env *env, Module **out)
{
	Module *m = *out = build_text(text);
	Graph *g = entry_graph(m->entries.at[0], "forward");
	assert_non_null(g);
	assert_true(graph_verify(g));
	assert_true(graph_eval(g, env));
	return env_get(env, "next");
}

static void rope_turns_halves(void **state)
{
	Env *env = env_new(test_arena());
	Module *m;
	double x[3 * 4], ids[3] = { 0, 1, 2 };
	for (int i = 0; i < 12; i++)
		x[i] = noise(i);
	env_dim(env, "B", 1);
	env_dim(env, "T", 3);
	env_set(env, "tokens", 2, (int64_t[]){ 1, 3 }, ids);
	env_set(env, "e.weight", 2, (int64_t[]){ 3, 4 }, x);
	Tensor *t = next_of("config { V: dim = 3; K: dim = 4; s: rope = llama3(factor=8, low=1, high=4, original=64) }\n"
		"dim B, T <= 8\n"
		"model M(tokens: id(V)[B,T]) -> [B,T,K] {\n  e: embedding(V -> K)\n"
		"  y = rope(rearrange(e(tokens), [B,T,K] -> [B,T,1,K]), 100.0, s)\n"
		"  return rearrange(y, [B,T,1,K] -> [B,T,K])\n}\n"
		"generate(tokens: id(V)[B,T]) { next M(tokens)[:, -1] }\n", env, &m);
	for (int i = 0; i < 2; i++) {
		double f = pow(100, -i / 2.0), wave = 2 * M_PI / f, smooth = (64 / wave - 1) / 3;
		f = wave < 64 / 4.0 ? f : wave > 64 ? f / 8 : (1 - smooth) * f / 8 + smooth * f;
		double c = cos(2 * f), s = sin(2 * f);
		assert_float_equal(t->at[i], x[8 + i] * c - x[10 + i] * s, 1e-9);
		assert_float_equal(t->at[2 + i], x[10 + i] * c + x[8 + i] * s, 1e-9);
	}
}

static double loss_of(const char *loss, const double *z, const double *labels, int n)
{
	Env *env = env_new(test_arena());
	char text[512];
	snprintf(text, sizeof text, "config { V: dim = 4 }\ndim B, T <= 8\n"
		"model M(ids: id(V)[B]) -> [B,V] {\n  e: embedding(V -> V)\n  return e(ids)\n}\n"
		"train(ids: id(V)[B], y: id(V)?[B]) {\n  z = M(ids)\n  loss %s\n  batch 4\n}\n", loss);
	Module *m = build_text(text);
	double ids[4] = { 0, 1, 2, 3 };
	env_dim(env, "B", n);
	env_set(env, "ids", 1, (int64_t[]){ n }, ids);
	env_set(env, "y", 1, (int64_t[]){ n }, labels);
	env_set(env, "e.weight", 2, (int64_t[]){ 4, 4 }, z);
	assert_true(graph_eval(entry_graph(m->entries.at[0], "forward"), env));
	return env_get(env, "loss")->at[0];
}

static double log_softmax(const double *z, int k)
{
	double sum = 0;
	for (int i = 0; i < 4; i++)
		sum += exp(z[i]);
	return z[k] - log(sum);
}

static void cross_entropy_ignores_labels(void **state)
{
	const double z[16] = { 1, 2, 3, 4, 0, 0, 5, 0, -1, 2, 0.5, 1, 9, 9, 9, 0 }, y[4] = { 3, -100, 2, 0 };
	double want = -(log_softmax(z, 3) + log_softmax(z + 8, 2) + log_softmax(z + 12, 0)) / 3;
	assert_float_equal(loss_of("cross_entropy(z, y)", z, y, 4), want, 1e-9);
	const double none[2] = { -100, -100 };
	assert_float_equal(loss_of("cross_entropy(z, y)", z, none, 2), 0, 0);
	double mean = 0;
	for (int i = 0; i < 4; i++)
		mean -= log_softmax(z, i) / 4;
	assert_float_equal(loss_of("cross_entropy(z, y, smoothing=0.1)", z, y, 1), -0.9 * log_softmax(z, 3) + 0.1 * mean, 1e-9);
	assert_float_equal(loss_of("accuracy(z, y)", z, y, 4), 2 / 3.0, 1e-9);
	assert_float_equal(loss_of("accuracy(z, y, k=3)", z, y, 3), 1, 1e-9);
}

static void arithmetic_of_the_prelude(void **state)
{
	const double z[4] = { 0.7, -1.3, 2, 0.1 }, y[1] = { 0 };
	double gelu = 0, tanhs = 0, silus = 0;
	for (int i = 0; i < 4; i++) {
		double x = z[i];
		gelu += 0.5 * x * (1 + erf(x / sqrt(2)));
		tanhs += 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
		silus += x / (1 + exp(-x));
	}
	double table[16] = { 0.7, -1.3, 2, 0.1 };
	assert_float_equal(loss_of("sum(gelu(z))", table, y, 1), gelu, 1e-9);
	assert_float_equal(loss_of("sum(gelu_tanh(z))", table, y, 1), tanhs, 1e-9);
	assert_float_equal(loss_of("sum(silu(z))", table, y, 1), silus, 1e-9);
	assert_float_equal(loss_of("sum(relu(z))", table, y, 1), 2.8, 1e-9);
	assert_float_equal(loss_of("mean(var(z, V))", table, y, 1), 1.406875, 1e-9);
	assert_float_equal(loss_of("sum(softmax(z)^2) - sum(exp(log_softmax(z)) * softmax(z))", table, y, 1), 0, 1e-9);
	assert_float_equal(loss_of("mse(z, 0 * z)", table, y, 1), 1.5475, 1e-9);
	assert_float_equal(loss_of("mse(z, 0.5)", table, y, 1), 1.4225, 1e-9);
	assert_float_equal(loss_of("mse(0.5, z)", table, y, 1), 1.4225, 1e-9);
	assert_float_equal(loss_of("sum(z @ transpose(z))", table, y, 1), 6.19, 1e-9);
	assert_float_equal(loss_of("sum(einsum([B,V], [B,V] -> [B], z, z))", table, y, 1), 6.19, 1e-9);
	assert_float_equal(loss_of("sum(where(z > 0.5, z, 0))", table, y, 1), 2.7, 1e-9);
	assert_float_equal(loss_of("sum(concat(z, z[:, :2], axis=1))", table, y, 1), 0.9, 1e-9);
	assert_float_equal(loss_of("sum(z * one_hot(y, V))", table, y, 1), 0.7, 1e-9);
	assert_float_equal(loss_of("max(max(z, V)) + 0 * sum(z)", table, y, 1), 2, 1e-9);
}

static void losses_and_metrics_of_the_prelude(void **state)
{
	const double z[16] = { 1, 2, 3, 4, 0, 0, 5, 0, -1, 2, 0.5, 1, 9, 8, 7, 0 }, y[4] = { 2, -100, 1, 3 };
	double logistic = 0, sum = 0, softplus = log1p(exp(30)) + log1p(exp(-30)) + 2 * log(2);
	for (int i = 0; i < 16; i++) {
		logistic += (i % 4 == 0 ? log1p(exp(-z[i])) : log1p(exp(z[i]))) / 16;
		sum += i < 4 ? exp(z[i]) : 0;
	}
	/* ranks of the labels: 1, ignored, 0, 3 */
	assert_float_equal(loss_of("hit_rate(z, y, k=1)", z, y, 4), 1 / 3.0, 1e-9);
	assert_float_equal(loss_of("hit_rate(z, y, k=2)", z, y, 4), 2 / 3.0, 1e-9);
	assert_float_equal(loss_of("hit_rate(z, y)", z, y, 4), 1, 1e-9);
	assert_float_equal(loss_of("ndcg(z, y)", z, y, 4), (1 / log2(3) + 1 + 1 / log2(5)) / 3, 1e-9);
	assert_float_equal(loss_of("ndcg(z, y, k=3)", z, y, 4), (1 / log2(3) + 1) / 3, 1e-9);
	assert_float_equal(loss_of("perplexity(cross_entropy(z, y))", z, y, 1), exp(-log_softmax(z, 2)), 1e-9);
	assert_float_equal(loss_of("mean(log_sum_exp(z))", z, y, 1), log(sum), 1e-9);
	assert_float_equal(loss_of("mean(f32(valid(y)))", z, y, 4), 0.75, 1e-9);
	assert_float_equal(loss_of("bce(z, one_hot(0 * ids, V))", z, y, 4), logistic, 1e-9);
	assert_float_equal(loss_of("sum(softplus(z))", (double[16]){ 30, -30 }, y, 1), softplus, 1e-9);
	assert_float_equal(loss_of("sum(l2_normalize(z)[0, 3:])", z, y, 1), 4 / sqrt(30), 1e-9);
	assert_float_equal(loss_of("sum(l2_normalize(z, B)[0, :1])", z, y, 4), 1 / sqrt(83), 1e-9);
	assert_float_equal(loss_of("sum(log_softmax(z, 0)[0, :1])", z, y, 2), -log1p(exp(-1)), 1e-9);
	assert_float_equal(loss_of("sum(floor(z / 2 - 1))", z, y, 1), 0, 1e-9);
}

static void sinusoids_and_splice(void **state)
{
	const double z[16] = { 1, 2, 3, 4, 5, 6, 7, 8 }, y[4] = { 0, 1, 0, 1 };
	/* width 6: frequencies 1, 1/100, 1/10000 */
	double want = sin(2) + 10 * sin(0.02) + 100 * sin(2e-4) + 1e3 * cos(2) + 1e4 * cos(0.02) + 1e5 * cos(2e-4);
	assert_float_equal(loss_of("sum(sinusoids(3, 6)[2] * exp(f32(index(6)) * 2.302585092994046))", z, y, 1), want, 1e-6);
	/* one row of four places, the second and fourth of which are taken from the two rows of -z; the fourth, from a single one, stays */
	assert_float_equal(loss_of("sum(splice(z[none], (y == 1)[none], -z[none, :2]) * f32(index(B))[none, :, none])", z, y, 4), -10 + 3 * -26, 1e-9);
	assert_float_equal(loss_of("sum(splice(z[none] + 1, (y == 1)[none], -z[none, :1]) * f32(index(B))[none, :, none])", z, y, 4), -10 + 8 + 12, 1e-9);
}

static void config_json_sets_values(void **state)
{
	char path[64];
	const char *json = "{\"vocab_size\": 40, \"n_embd\": 32, \"n_head\": 4, \"n_layer\": 3, \"resid_pdrop\": 0.25}";
	snprintf(path, sizeof path, "/tmp/sinter_elab_%d.json", (int)getpid());
	assert_true(file_write_atomic(path, json, strlen(json)));
	FrontendOptions o = { .config_json = path, .sets = (const char *[]){ "n_head_is_no_name=1" }, .nsets = 0 };
	diag_reset();
	Module *m = frontend_build(test_arena(), "models/gpt2.sinter", &o);
	assert_non_null(m);
	has_param(m, "wte.weight", "f32[40,32]");
	has_param(m, "h.2.attn.c_attn.weight", "f32[32,96]");
	assert_null(module_param(m, "h.3.ln_1.weight"));
	unlink(path);
}

static void refuses(void **state)
{
	static const struct { const char *path, *preset, *set; } bad[] = {
		{ "models/gpt2.sinter", "huge", NULL }, { "models/gpt2.sinter", NULL, "D=700" },
		{ "models/gpt2.sinter", NULL, "K=32" }, { "models/gpt2.sinter", NULL, "Q=1" },
		{ "models/gpt2.sinter", NULL, "T=4096" }, { "models/gpt2.sinter", NULL, "train.mikro=4" },
		{ "models/gpt2.sinter", NULL, "trian.micro=4" }, { "models/llama.sinter", NULL, "G=7" },
		{ "models/none.sinter", NULL, NULL },
	};
	if (!freopen("/dev/null", "w", stderr))
		fail();
	for (int i = 0; i < COUNT(bad); i++) {
		assert_null(build_with(bad[i].path, bad[i].preset, bad[i].set ? 1 : 0, &bad[i].set));
		assert_true(diag_errors() > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_counts),
		cmocka_unit_test(names_of_the_checkpoints),
		cmocka_unit_test(tied_weights_add_none),
		cmocka_unit_test(initialisers_and_decay),
		cmocka_unit_test(settings_are_flat),
		cmocka_unit_test(graphs_and_bounds),
		cmocka_unit_test(every_value_has_a_place),
		cmocka_unit_test(tiny_gpt2_starts_at_log_v),
		cmocka_unit_test(gpt2_is_the_written_out_one),
		cmocka_unit_test(llama_is_the_one_by_hand),
		cmocka_unit_test(rope_turns_halves),
		cmocka_unit_test(cross_entropy_ignores_labels),
		cmocka_unit_test(arithmetic_of_the_prelude),
		cmocka_unit_test(losses_and_metrics_of_the_prelude),
		cmocka_unit_test(sinusoids_and_splice),
		cmocka_unit_test(config_json_sets_values),
		cmocka_unit_test(refuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
