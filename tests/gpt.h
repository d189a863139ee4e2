/* gpt.h: a GPT-2 (Radford et al. 2019) built through the IR's builders, for the tests of passes and backend:
 * pre-norm, learned positions, gelu_tanh, output tied to the token embedding, cross-entropy. The same graph
 * that the frontend makes of a model file. Run-time dimensions B and T; parameters named and stored as in the
 * published checkpoint. */
#ifndef TESTS_GPT_H
#define TESTS_GPT_H

#include <math.h>

#include "ir/ir.h"
#include "tests/arena.h"

typedef struct GptShape {
	int B, T;         /* bounds of the run-time dimensions; T is also the number of positions learned */
	int V, D, H, L;   /* H divides D */
	double dropout;   /* 0: none, and no input `seed` */
} GptShape;

typedef struct Gpt {
	Builder b;
	GptShape s;
	Value *seed;      /* i32[] */
	int stream;       /* next random stream */
	const Dim *B, *T;
} Gpt;

static inline Type gpt_type(DType dt, int rank, const Dim *a, const Dim *b, const Dim *c, const Dim *d, const Dim *e)
{
	return type_make(dt, rank, (const Dim *[]){ a, b, c, d, e });
}

/* A parameter "<path>.<leaf>" of 1 or 2 axes. */
static inline Value *gpt_param(Gpt *m, const char *leaf, int64_t rows, int64_t cols)
{
	Type t = cols ? gpt_type(DT_F32, 2, dim_const(rows), dim_const(cols), NULL, NULL, NULL)
	              : gpt_type(DT_F32, 1, dim_const(rows), NULL, NULL, NULL, NULL);
	const char *name = m->b.path ? internf("%s.%s", m->b.path, leaf) : intern(leaf);
	return b_source(&m->b, OP_PARAM, name, t);
}

static inline Value *gpt_dropout(Gpt *m, Value *x)
{
	Builder *b = &m->b;
	if (m->s.dropout == 0)
		return x;
	Value *u = b_random(b, m->seed, m->stream++, x->type);
	Value *drop = b_binary(b, OP_LT, u, b_const(b, DT_F32, m->s.dropout));
	Value *kept = b_binary(b, OP_MUL, x, b_const(b, DT_F32, 1 / (1 - m->s.dropout)));
	return b_select(b, drop, b_const(b, DT_F32, 0), kept);
}

/* x (B,T,I) -> (B,T,O); weight stored (I,O) */
static inline Value *gpt_linear(Gpt *m, Value *x, int64_t in, int64_t out)
{
	Value *w = gpt_param(m, "weight", in, out);
	Value *y = b_contract(&m->b, x, w, "btd,dn->btn");
	return b_binary(&m->b, OP_ADD, y, gpt_param(m, "bias", out, 0));
}

static inline Value *gpt_mean_last(Gpt *m, Value *x)
{
	Value *sum = b_reduce(&m->b, OP_SUM, x, 1u << (x->type.rank - 1));
	return b_binary(&m->b, OP_MUL, sum, b_const(&m->b, DT_F32, 1.0 / m->s.D));
}

static inline Value *gpt_layernorm(Gpt *m, Value *x)
{
	Builder *b = &m->b;
	Value *c = b_binary(b, OP_SUB, x, gpt_mean_last(m, x));
	Value *var = gpt_mean_last(m, b_binary(b, OP_MUL, c, c));
	Value *r = b_unary(b, OP_RSQRT, b_binary(b, OP_ADD, var, b_const(b, DT_F32, 1e-5)));
	Value *y = b_binary(b, OP_MUL, b_binary(b, OP_MUL, c, r), gpt_param(m, "weight", m->s.D, 0));
	return b_binary(b, OP_ADD, y, gpt_param(m, "bias", m->s.D, 0));
}

/* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks & Gimpel 2016) */
static inline Value *gpt_gelu(Gpt *m, Value *x)
{
	Builder *b = &m->b;
	Value *cube = b_binary(b, OP_MUL, b_binary(b, OP_MUL, x, x), x);
	Value *in = b_binary(b, OP_ADD, x, b_binary(b, OP_MUL, cube, b_const(b, DT_F32, 0.044715)));
	Value *t = b_unary(b, OP_TANH, b_binary(b, OP_MUL, in, b_const(b, DT_F32, 0.7978845608028654)));
	Value *half = b_binary(b, OP_MUL, x, b_const(b, DT_F32, 0.5));
	return b_binary(b, OP_MUL, half, b_binary(b, OP_ADD, t, b_const(b, DT_F32, 1)));
}

/* One of q, k, v: slice i of (B,T,3,H,K) -> (B,T,H,K) */
static inline Value *gpt_unstack(Gpt *m, Value *qkv, int i)
{
	const Dim *H = dim_const(m->s.H), *K = dim_const(m->s.D / m->s.H);
	Value *part = b_slice(&m->b, qkv, 2, dim_const(i), dim_const(1));
	return b_reshape(&m->b, part, gpt_type(DT_F32, 4, m->B, m->T, H, K, NULL));
}

static inline Value *gpt_attention(Gpt *m, Value *x, const char *path)
{
	Builder *b = &m->b;
	int D = m->s.D, K = D / m->s.H;
	b->path = internf("%s.c_attn", path);
	Value *y = gpt_linear(m, x, D, 3 * D);
	y = b_reshape(b, y, gpt_type(DT_F32, 5, m->B, m->T, dim_const(3), dim_const(m->s.H), dim_const(K)));
	b->path = intern(path);
	Value *in[4] = { gpt_unstack(m, y, 0), gpt_unstack(m, y, 1), gpt_unstack(m, y, 2), m->seed };
	Attrs a = { .causal = 1, .scale = 1 / sqrt(K), .dropout = m->s.dropout };
	if (m->s.dropout > 0)
		a.stream = m->stream++;
	Value *o = build(b, OP_ATTENTION, in, m->s.dropout > 0 ? 4 : 3, &a, NULL);
	o = b_reshape(b, o, gpt_type(DT_F32, 3, m->B, m->T, dim_const(D), NULL, NULL));
	b->path = internf("%s.c_proj", path);
	return gpt_dropout(m, gpt_linear(m, o, D, D));
}

static inline Value *gpt_mlp(Gpt *m, Value *x, const char *path)
{
	int D = m->s.D;
	m->b.path = internf("%s.c_fc", path);
	Value *y = gpt_gelu(m, gpt_linear(m, x, D, 4 * D));
	m->b.path = internf("%s.c_proj", path);
	return gpt_dropout(m, gpt_linear(m, y, 4 * D, D));
}

static inline Value *gpt_block(Gpt *m, Value *x, int i)
{
	m->b.loc.line++;
	m->b.path = internf("h.%d.ln_1", i);
	Value *a = gpt_attention(m, gpt_layernorm(m, x), internf("h.%d.attn", i));
	x = b_binary(&m->b, OP_ADD, x, a);
	m->b.path = internf("h.%d.ln_2", i);
	Value *f = gpt_mlp(m, gpt_layernorm(m, x), internf("h.%d.mlp", i));
	return b_binary(&m->b, OP_ADD, x, f);
}

/* tokens i32[B,T] -> logits f32[B,T,V] */
static inline Value *gpt_logits(Gpt *m, Value *tokens)
{
	Builder *b = &m->b;
	m->b.path = intern("wte");
	Value *wte = gpt_param(m, "weight", m->s.V, m->s.D);
	Value *tok = b_gather(b, wte, tokens);
	m->b.path = intern("wpe");
	Value *wpe = gpt_param(m, "weight", m->s.T, m->s.D);
	Value *at = b_iota(b, 0, gpt_type(DT_I32, 1, m->T, NULL, NULL, NULL, NULL));
	Value *pos = b_gather(b, wpe, at);
	m->b.path = NULL;
	Value *x = gpt_dropout(m, b_binary(b, OP_ADD, tok, pos));
	for (int i = 0; i < m->s.L; i++)
		x = gpt_block(m, x, i);
	m->b.path = intern("ln_f");
	x = gpt_layernorm(m, x);
	m->b.path = NULL;
	return b_contract(b, x, wte, "btd,vd->btv");
}

/* mean over (B,T) of -log softmax(z)[label]; z f32[B,T,V], labels i32[B,T] */
static inline Value *gpt_cross_entropy(Gpt *m, Value *z, Value *labels)
{
	Builder *b = &m->b;
	const Dim *one = dim_const(1);
	Value *max = b_unary(b, OP_STOP, b_reduce(b, OP_RMAX, z, 4));
	Value *e = b_unary(b, OP_EXP, b_binary(b, OP_SUB, z, max));
	Value *lse = b_binary(b, OP_ADD, b_unary(b, OP_LOG, b_reduce(b, OP_SUM, e, 4)), max);
	Value *id = b_reshape(b, labels, gpt_type(DT_I32, 3, m->B, m->T, one, NULL, NULL));
	Value *at = b_iota(b, 0, gpt_type(DT_I32, 1, dim_const(m->s.V), NULL, NULL, NULL, NULL));
	Value *hit = b_select(b, b_binary(b, OP_EQ, at, id), z, b_const(b, DT_F32, 0));
	Value *nll = b_binary(b, OP_SUB, lse, b_reduce(b, OP_SUM, hit, 4));
	Value *sum = b_reshape(b, b_reduce(b, OP_SUM, nll, 7), type_scalar(DT_F32));
	return b_binary(b, OP_DIV, sum, b_convert(b, b_dim(b, dim_mul(m->B, m->T)), DT_F32));
}

static inline Gpt gpt_begin(Arena *arena, GptShape s, const char *name)
{
	Gpt m = { .s = s, .B = dim_sym("B"), .T = dim_sym("T") };
	m.b.g = graph_new(arena, name);
	m.b.loc = (Where){ .file = "gpt.sinter", .line = 1, .col = 1 };
	graph_sym(m.b.g, "B", s.B);
	graph_sym(m.b.g, "T", s.T);
	return m;
}

/* Training's forward graph: input tokens i32[B,T+1], and seed i32[] with dropout; output loss f32[]. */
static inline Graph *gpt_loss_graph(Arena *arena, GptShape s, const char *name)
{
	Gpt m = gpt_begin(arena, s, name);
	Builder *b = &m.b;
	const Dim *one = dim_const(1);
	Type t = gpt_type(DT_I32, 2, m.B, dim_add(m.T, one), NULL, NULL, NULL);
	Value *tokens = b_source(b, OP_INPUT, intern("tokens"), t);
	if (s.dropout > 0)
		m.seed = b_source(b, OP_INPUT, intern("seed"), type_scalar(DT_I32));
	Value *z = gpt_logits(&m, b_slice(b, tokens, 1, dim_const(0), m.T));
	Value *loss = gpt_cross_entropy(&m, z, b_slice(b, tokens, 1, one, m.T));
	b_output(b, intern("loss"), loss);
	return b->g;
}

static inline Graph *gpt_forward(Arena *arena, GptShape s)
{
	return gpt_loss_graph(arena, s, intern("train.forward"));
}

/* Generation's: input tokens i32[B,T]; output next f32[B,V], the logits behind the last token. */
static inline Graph *gpt_next(Arena *arena, GptShape s)
{
	s.dropout = 0;
	Gpt m = gpt_begin(arena, s, intern("generate.forward"));
	Builder *b = &m.b;
	Value *tokens = b_source(b, OP_INPUT, intern("tokens"), gpt_type(DT_I32, 2, m.B, m.T, NULL, NULL, NULL));
	Value *z = gpt_logits(&m, tokens);
	Value *last = b_slice(b, z, 1, dim_sub(m.T, dim_const(1)), dim_const(1));
	b_output(b, intern("next"), b_reshape(b, last, gpt_type(DT_F32, 2, m.B, dim_const(s.V), NULL, NULL, NULL)));
	return b->g;
}

/* Deviation of a parameter's initial values, as the paper has it; 0 for constants. */
static inline Param gpt_param_of(const Value *v, int layers)
{
	Param p = { .name = v->a.name, .type = v->type, .init = INIT_NORMAL, .b = 0.02 };
	const char *leaf = strrchr(p.name, '.') + 1;
	if (v->type.rank == 1) {
		p.init = INIT_CONSTANT;
		p.b = 0;
		p.a = strcmp(leaf, "weight") == 0;
	} else if (strstr(p.name, "c_proj")) {
		p.b = 0.02 / sqrt(2.0 * layers);
	}
	p.decay = v->type.rank == 2;
	return p;
}

/* A module with an entry `train` (train.forward, train.eval) and an entry `generate` (generate.forward). */
static inline Module *gpt_module_of(Arena *arena, GptShape s)
{
	Module *m = module_new(arena);
	Entry *train = NEW(arena, Entry), *gen = NEW(arena, Entry);
	GptShape plain = s;
	plain.dropout = 0;
	m->name = intern("GPT2");
	m->file = intern("gpt.sinter");
	*train = (Entry){ .kind = ENTRY_TRAIN, .name = intern("train") };
	*gen = (Entry){ .kind = ENTRY_GENERATE, .name = intern("generate") };
	Graph *f = gpt_forward(arena, s);
	for (int i = 0; i < f->vals.len; i++)
		if (f->vals.at[i]->op == OP_PARAM)
			vec_push(arena, &m->params, gpt_param_of(f->vals.at[i], s.L));
	vec_push(arena, &train->graphs, f);
	vec_push(arena, &train->graphs, gpt_loss_graph(arena, plain, intern("train.eval")));
	vec_push(arena, &gen->graphs, gpt_next(arena, s));
	vec_push(arena, &m->entries, train);
	vec_push(arena, &m->entries, gen);
	return m;
}

static inline Module *gpt_module(void)
{
	return gpt_module_of(test_arena(), (GptShape){ .B = 2, .T = 8, .V = 31, .D = 12, .H = 3, .L = 2 });
}

#endif
