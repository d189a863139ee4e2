/* all_models.c: model files through the whole compiler, against the evaluator on the frontend's own graph: losses,
 * metrics and gradients of a training step, evaluation, inference, and generation with caches, split into calls in several ways. Each
 * function is compiled once a target and called at several sizes; 1, 2 and 3 threads must give the same bits. Compiling
 * takes the time: each model's step runs on native and one other target, evaluation on one of them and generation on the
 * other, by turns; SINTER_ALL_TARGETS=1 runs everything on all. Runs from the repository's root. An argument is a part of
 * the names of the models to take; a model file that is none of them is a case of its own. */
#include <sys/wait.h>

#include "tests/subject.h"

#define MODELS TEST_DIR "/models/"
#define FAMILIES MODELS "families/"
#define ODD MODELS "odd/"

/* Labels that may be ignored: among them all of them, when there is one. */
static const char ignored_labels[] =
	"config { V: dim = 101; N: dim = 8; D: dim = 7 }\ndim B, T <= N\n"
	"model M(tokens: id(V)[B,T]) -> [B,T,V] {\n"
	"  wte: embedding(V -> D)\n  q, k, v: linear(D -> [1,D])\n  o: linear([1,D] -> D)\n"
	"  x = wte(tokens)\n  x += o(attention(q(x), k(x), v(x), mask=causal))\n  return unembed(x, wte)\n}\n"
	"train(tokens: id(V)[B,T], labels: id(V)?[B,T]) {\n"
	"  loss cross_entropy(M(tokens), labels, smoothing=0.1)\n  metric right = accuracy(M(tokens), labels)\n"
	"  batch 3, micro=3, T=8\n}\n";

/* A head for the rows that have a label, few or none of them. */
static const char labelled_rows[] =
	"config { V: dim = 101; N: dim = 8; D: dim = 12 }\ndim B, T <= N\n"
	"block Head(x: [..., D]) -> [..., V] {\n  up: linear(D -> D)\n  norm: layernorm(D)\n  out: linear(D -> V)\n  return out(norm(gelu(up(x))))\n}\n"
	"model M(tokens: id(V)[B,T]) -> [B,T,D] {\n"
	"  wte: embedding(V -> D)\n  q, k, v: linear(D -> [1,D])\n  o: linear([1,D] -> D)\n  head: Head\n"
	"  x = wte(tokens)\n  return x + o(attention(q(x), k(x), v(x)))\n}\n"
	"train(tokens: id(V)[B,T], labels: id(V)?[B,T], few: id(V)?[B,T]) {\n"
	"  x = M(tokens)\n  h, words = labelled(x, labels)\n  g, others = labelled(x, few)\n  logits = M.head(h)\n"
	"  loss cross_entropy(logits, words) + cross_entropy(M.head(g), others)\n  metric right = accuracy(logits, words)\n"
	"  batch 3, micro=3, T=8\n}\n"
	"infer picked(tokens: id(V)[B,T], at: id(T)[B,P]) -> (id(V)[B,P,3], f32[B,P,3]) {\n"
	"  batch 3, P=2\n  return top_k(M.head(gather(M(tokens), at, axis=1)), 3)\n}\n"
	"dim P\n";

static const Case cases[] = {
	{ .path = MODELS "masks.sinter" }, { .path = MODELS "functions.sinter" }, { .path = MODELS "sampled.sinter", .noisy = true },
	{ .path = MODELS "two_towers.sinter" },
	{ .path = MODELS "all_ones.sinter" },
	{ .path = MODELS "experts.sinter" },
	{ .path = MODELS "convolutions.sinter" },
	{ .path = MODELS "attention_by_hand.sinter" },
	{ .path = MODELS "causal_by_hand.sinter" },
	{ .path = MODELS "windowed.sinter", .sets = { "generate.B=3" } },
	{ .path = MODELS "bigram.sinter" },
	{ .path = MODELS "grouped_queries.sinter", .sets = { "L=1" } },
	{ .path = MODELS "head_bias.sinter" },
	{ .path = MODELS "one_head.sinter", .sets = { "V=101", "N=37", "train.T=37" } },
	{ .path = MODELS "parallel.sinter", .sets = { "L=1" } },
	{ .path = MODELS "regression.sinter" },
	{ .path = MODELS "shared_layer.sinter", .still = "p=0.0" },
	{ .path = MODELS "static_arguments.sinter", .sets = { "L=2" } },
	{ .path = MODELS "two_heads.sinter" },
	{ .path = MODELS "wide_vocabulary.sinter", .sets = { "V=3001" }, .noisy = true },
	{ .path = "models/gpt2.sinter", .still = "p=0.0",
	  .sets = { "V=101", "N=19", "D=24", "H=3", "L=1", "train.batch=4", "train.micro=2", "train.T=19" } },
	{ .path = "models/llama.sinter",
	  .sets = { "V=101", "N=19", "D=24", "F=29", "H=4", "G=2", "L=1", "train.micro=2", "train.T=19" },
	  .entries = { "train", "generate" } },
	{ .path = "models/llama.sinter", .sets = { "train.micro=1", "train.batch=1" }, .preset = "nano", .entries = { "train" } },
	{ .path = "models/llama.sinter", .sets = { "finetune.micro=2", "finetune.batch=2", "finetune.T=11", "N=23" }, .preset = "nano",
	  .entries = { "finetune", "generate" }, .noisy = true },
	{ .path = "models/bert.sinter", .preset = "nano", .sets = { "train.batch=4", "train.micro=2", "T=19", "L=1" }, .still = "p=0.0", .own_eval = true },
	{ .path = "models/distilbert.sinter", .preset = "nano", .sets = { "train.batch=4", "train.micro=4", "L=1", "T=13" }, .own_eval = true },
	{ .path = "models/roberta.sinter", .preset = "nano", .sets = { "train.batch=4", "train.micro=4", "L=1", "T=13" }, .own_eval = true },
	{ .path = "models/minilm.sinter", .preset = "nano", .sets = { "train.batch=3", "L=1", "T=17" } },
	{ .path = "models/vit.sinter", .preset = "nano", .sets = { "train.batch=3", "train.micro=3" } },
	{ .path = "models/whisper.sinter", .preset = "nano", .sets = { "train.batch=2", "T=19" } },
	{ .path = "models/sasrec.sinter", .preset = "nano", .sets = { "train.batch=3" }, .own_eval = true },
	{ .path = "models/clip.sinter", .preset = "nano", .sets = { "train.batch=3" } },
	{ .path = "models/t5.sinter", .preset = "nano", .sets = { "T=23", "S=19", "B=2" } },
	{ .path = "models/mixtral.sinter", .preset = "nano" },
	{ .path = FAMILIES "albert.sinter", .preset = "nano" },
	{ .path = FAMILIES "bert4rec.sinter", .preset = "nano" },
	{ .path = FAMILIES "deit.sinter", .preset = "nano" },
	{ .path = FAMILIES "gemma2.sinter", .preset = "nano", .sets = { "L=2" } },
	{ .path = FAMILIES "gpt_neox.sinter", .preset = "nano", .sets = { "L=1" } },
	{ .path = FAMILIES "linear_regression.sinter", .preset = "nano" },
	{ .path = FAMILIES "mistral.sinter", .preset = "nano", .sets = { "L=1" } },
	{ .path = FAMILIES "mlp.sinter", .preset = "nano" },
	{ .path = FAMILIES "mlp_mixer.sinter", .preset = "nano" },
	{ .path = FAMILIES "phi.sinter", .preset = "nano", .sets = { "L=1" } },
	{ .path = FAMILIES "qwen3.sinter", .preset = "nano", .sets = { "L=1" } },
	{ .path = ODD "algebra.sinter" },
	{ .path = ODD "alibi.sinter" },
	{ .path = ODD "byol.sinter" },
	{ .path = ODD "convnext.sinter" },
	{ .path = ODD "deberta.sinter" },
	{ .path = ODD "einsum_attention.sinter" },
	{ .path = ODD "electra.sinter" },
	{ .path = ODD "equal_dims.sinter" },
	{ .path = ODD "glu_variants.sinter" },
	{ .path = ODD "gptj.sinter" },
	{ .path = ODD "gru.sinter" },
	{ .path = ODD "hierarchy.sinter" },
	{ .path = ODD "linear_attention.sinter" },
	{ .path = ODD "mae.sinter" },
	{ .path = ODD "mask_zoo.sinter" },
	{ .path = ODD "mla.sinter" },
	{ .path = ODD "moe_encoder.sinter" },
	{ .path = ODD "multi_task.sinter" },
	{ .path = ODD "multi_token.sinter" },
	{ .path = ODD "nested_repeats.sinter" },
	{ .path = ODD "perceiver.sinter" },
	{ .path = ODD "pointer_generator.sinter" },
	{ .path = ODD "preferences.sinter" },
	{ .path = ODD "prefix_tuning.sinter" },
	{ .path = ODD "resnet.sinter" },
	{ .path = ODD "rope_by_hand.sinter" },
	{ .path = ODD "shared_cache.sinter" },
	{ .path = ODD "siamese.sinter" },
	{ .path = ODD "slots.sinter" },
	{ .path = ODD "swin.sinter" },
	{ .path = ODD "t5_gated.sinter" },
	{ .path = ODD "unet.sinter" },
	{ .path = ODD "used_twice.sinter" },
	{ .path = ODD "uvit.sinter" },
	{ .path = ODD "vae.sinter" },
	{ .path = ODD "vit_registers.sinter" },
	{ .path = ODD "wavenet.sinter" },
	{ .path = ODD "wide_deep.sinter" },
	{ .text = ignored_labels },
	{ .text = labelled_rows },
};

/* Gradients */

/* The gradient of the parameter v as the step stored it; NULL for frozen ones, and only for them. */
static Tensor *gradient_of(const Subject *s, const Value *v, Env *got)
{
	Tensor *t = env_get(got, internf("grad.%s", v->a.name));
	if (!t != entry_freezes(s->made, s->trained, module_param(s->made, v->a.name)))
		fail_msg("%s: %s %s a gradient", s->name, v->a.name, t ? "is frozen but has" : "lacks");
	return t;
}

/* Its largest element and its last, each against the slope of the loss there. */
static void check_elements(const Subject *s, const Graph *forward, Env *e, const Value *v, const Tensor *grad)
{
	Tensor *x = env_get(e, v->a.name);
	int64_t at[2] = { 0, x->n - 1 };
	for (int64_t i = 0; i < x->n; i++)
		if (fabs(grad->at[i]) > fabs(grad->at[at[0]]))
			at[0] = i;
	for (int i = 0; i < COUNT(at); i++) {
		double want = slope(forward, e, "loss", &x->at[at[i]], 1e-4), got = grad->at[at[i]];
		if (!(fabs(got - want) < 1e-5 + 1e-3 * fabs(want)))
			fail_msg("%s: grad.%s[%lld] is %.8g, not %.8g", s->name, v->a.name, (long long)at[i], got, want);
	}
}

/* Moves all parameters that learn by h along a fixed random direction; their gradients' product with it. */
static double move(const Subject *s, const Graph *forward, Env *e, Env *got, double h)
{
	double along = 0;
	for (int i = 0; i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		Tensor *grad = v->op == OP_PARAM ? gradient_of(s, v, got) : NULL;
		for (int64_t k = 0; grad && k < grad->n; k++) {
			double u = random_at(11, v->a.name, k);
			env_get(e, v->a.name)->at[k] += h * u;
			along += u * grad->at[k];
		}
	}
	return along;
}

/* All gradients at once: the loss's slope along a direction in the space of the parameters. The step is small, as thousands of
 * relus have their kinks near. */
static void check_direction(const Subject *s, const Graph *forward, Env *e, Env *got, const Dims *d)
{
	static const double step[4] = { -2, 1, 2, 1 }, weight[4] = { 1, -8, 8, -1 };   /* -2, -1, 1, 2 in turn */
	const double h = 1e-7;
	double want = 0, along = move(s, forward, e, got, 0);
	for (int i = 0; i < COUNT(step); i++) {
		move(s, forward, e, got, step[i] * h);
		want += weight[i] * scalar_of(forward, e, "loss") / (12 * h);
	}
	move(s, forward, e, got, -2 * h);
	if (!(fabs(along - want) < 1e-4 + 1e-3 * fabs(want)))
		fail_msg("%s, %s: slope %.8g by the gradients, not %.8g", s->name, dims_text(d), along, want);
}

static void check_gradients(const Subject *s, const Graph *forward, Env *e, Env *got, const Dims *d, bool elements)
{
	check_direction(s, forward, e, got, d);
	for (int i = 0; elements && i < forward->vals.len; i++) {
		const Value *v = forward->vals.at[i];
		Tensor *grad = v->op == OP_PARAM ? gradient_of(s, v, got) : NULL;
		if (grad)
			check_elements(s, forward, e, v, grad);
	}
}

/* Functions of entries */

/* One function of an entry on a target, at all sizes, against the graph `reference` if there is one. */
typedef struct Check { const Entry *entry; const char *name; const Graph *reference; bool gradients; } Check;

static void check_function(const Subject *s, const Check *c, const Target *t, bool elements)
{
	Dims sizes[4];
	Function f = function_load(c->entry, c->name, t);
	int n = sizes_of(c->reference ? c->reference : f.g, sizes);
	for (int i = 0; i < n; i++) {
		Env *want = c->reference ? evaluated(s, c->reference, c->entry, &sizes[i]) : NULL;
		Env *got = check_call(s, &f, &sizes[i], want, t->name);
		if (c->gradients)
			check_gradients(s, c->reference, want, got, &sizes[i], elements && i == MIN(1, n - 1));
	}
	function_unload(&f);
}

/* One train entry: what has the same place in the modules is the same entry. */
static void check_training(Subject *s, int at)
{
	Entry *made = s->made->entries.at[at];
	Check step = { made, "step", function(s->raw->entries.at[at], "forward"), true };
	Check eval = { made, "eval", s->noisy ? NULL : function(s->still->entries.at[at], s->own_eval ? "eval" : "forward"), false };
	s->trained = made;
	for (int k = 0; k < s->ntargets; k++) {
		check_function(s, &step, &s->targets[k], k == 0);
		if (s->evals[k])
			check_function(s, &eval, &s->targets[k], false);
	}
}

static void check_trainings(Subject *s)
{
	for (int i = 0; i < s->made->entries.len; i++)
		if (s->made->entries.at[i]->kind == ENTRY_TRAIN)
			check_training(s, i);
}

/* Entries that are one function of their inputs. */
static void check_plain(const Subject *s, EntryKind kind, const char *name)
{
	for (int i = 0; i < s->made->entries.len; i++) {
		Entry *made = s->made->entries.at[i];
		Check c = { made, name, function(s->raw->entries.at[i], "forward"), false };
		for (int k = 0; made->kind == kind && k < s->ntargets; k++)
			if (s->evals[k])
				check_function(s, &c, &s->targets[k], false);
	}
}

/* Generation */

typedef struct Generator {
	const Graph *forward;
	Function step, encode;      /* encode.g may be NULL */
	Env *env;                   /* holds the caches */
	const char *tokens, *sym;   /* the generated input's name, and its axis */
} Generator;

/* The axis is the one whose whole length the step knows as "<name>.all". */
static void find_tokens(Generator *g)
{
	const Graph *step = g->step.g;
	for (int i = 0; i < step->syms.len; i++) {
		const char *name = step->syms.at[i].name, *dot = strrchr(name, '.');
		if (dot && strcmp(dot, ".all") == 0)
			g->sym = intern_n(name, (size_t)(dot - name));
	}
	assert_non_null(g->sym);
	for (int i = 0; i < step->vals.len; i++) {
		const Value *v = step->vals.at[i];
		if (v->op == OP_INPUT && v->type.dt == DT_I32 && v->type.rank == 2 && v->type.dim[1] == dim_sym(g->sym))
			g->tokens = v->a.name;
	}
	assert_non_null(g->tokens);
}

/* Tokens first, first + 1, .. of sequences that all calls share. */
static void set_tokens(Env *e, const char *name, int first, int n)
{
	Tensor *t = env_get(e, name);
	for (int64_t i = 0; i < t->n; i++)
		t->at[i] = (double)(((first + i % n) * 17 + 3 + i / n * 5) % IDS);
}

/* Of a batch of three, if there may be so many: T tokens of S for the generated axis; 6 or the bound for others. */
static Dims dims_of(const Generator *g, const Graph *of, int T, int S)
{
	Dims d = dims_given(of);
	for (int i = 0; i < d.n; i++) {
		Sym sym = d.at[i];
		int64_t n = strcmp(sym.name, "B") == 0 ? MIN(sym.bound, 3) : sym.name == g->sym ? T : MIN(sym.bound, 6);
		size_t len = strlen(g->sym);
		bool derived = strncmp(sym.name, g->sym, len) == 0 && sym.name[len] == '.';   /* T.all, T.ring<n> */
		d.at[i].bound = derived ? MIN(sym.bound, S) : n;
	}
	return d;
}

static void run_encode(const Subject *s, Generator *g, int threads)
{
	Dims d = dims_of(g, g->encode.g, 1, 1);
	fill(g->env, g->encode.g, g->step.entry, &d);
	if (!backend_call(g->encode.compiled, g->env, threads))
		fail_msg("%s: encode does not run", s->name);
}

/* T more tokens behind S - T: the same `next` as from all S at once. */
static void check_next(const Subject *s, Generator *g, int T, int S, int threads, const char *what)
{
	Dims all = dims_of(g, g->forward, S, S), part = dims_of(g, g->step.g, T, S);
	Env *want = env_new(s->arena);
	fill(want, g->forward, g->step.entry, &all);
	set_tokens(want, g->tokens, 0, S);
	fill(g->env, g->step.g, g->step.entry, &part);
	set_tokens(g->env, g->tokens, S - T, T);
	assert_true(graph_eval(g->forward, want));
	assert_true(backend_call(g->step.compiled, g->env, threads));
	double d = difference(env_get(g->env, "next"), env_get(want, "next"));
	if (!(d < 1e-4))
		fail_msg("%s: next at T=%d S=%d, %s, %d threads: error %g", s->name, T, S, what, threads, d);
}

/* Every split starts over; the caches then hold what an earlier sequence left there. */
static void check_generation(const Subject *s, const Target *t)
{
	static const int splits[][5] = { { 1, 1, 1, 1 }, { 3, 1, 1, 2 }, { 2, 4, 1, 1 }, { 5, 3 }, { 8 } };
	Entry *made = entry_of(s->made, ENTRY_GENERATE), *raw = entry_of(s->raw, ENTRY_GENERATE);
	if (!made)
		return;
	Generator g = { .forward = function(raw, "forward"), .step = function_load(made, "step", t) };
	if (function(made, "encode"))
		g.encode = function_load(made, "encode", t);
	find_tokens(&g);
	int64_t chunk = 1;
	assert_true(graph_bound(g.step.g, dim_sym(g.sym), &chunk));
	g.env = prepared(s, &g.step, 2);
	for (int i = 0; i < COUNT(splits); i++) {
		if (g.encode.g)
			run_encode(s, &g, 1 + i % 3);
		for (int k = 0, S = 0; splits[i][k]; k++)
			for (int left = splits[i][k], T; left; left -= T) {
				T = (int)MIN(left, chunk - S % chunk);   /* no call crosses a multiple of the bound */
				S += T;
				check_next(s, &g, T, S, 1 + (i + k) % 3, t->name);
			}
	}
	function_unload(&g.step);
	if (g.encode.g)
		function_unload(&g.encode);
}

static void check_case(void **state)
{
	const Case *c = *state;
	Subject s = subject(c, c >= cases && c < cases + COUNT(cases) ? (int)(c - cases) : 0);
	check_trainings(&s);
	check_plain(&s, ENTRY_EVAL, "eval");
	check_plain(&s, ENTRY_INFER, "run");
	for (int k = 0; k < s.ntargets; k++)
		if (s.generates[k])
			check_generation(&s, &s.targets[k]);
}

/* Every other case from `first` on whose name has the pattern in it; a file that is no case, if `first` is 0. */
static int run_cases(const char *pattern, int first)
{
	struct CMUnitTest tests[COUNT(cases) + 1];
	Case other = { .path = pattern };
	int n = 0;
	bool known = false;
	for (int i = 0; i < COUNT(cases); i++) {
		const char *name = cases[i].path ? cases[i].path : cases[i].text == labelled_rows ? "labelled rows" : "ignored labels";
		bool wanted = !pattern || strstr(name, pattern);
		known |= wanted;
		if (wanted && i % 2 == first)
			tests[n++] = (struct CMUnitTest){ name, check_case, NULL, NULL, (void *)&cases[i] };
	}
	if (!known && first == 0)
		tests[n++] = (struct CMUnitTest){ other.path, check_case, NULL, NULL, &other };
	return n ? _cmocka_run_group_tests("models", tests, (size_t)n, NULL, NULL) : 0;
}

/* Compiling takes one core: two processes have half the cases each. */
int main(int argc, char **argv)
{
	const char *pattern = argc > 1 ? argv[1] : NULL;
	int status = 1;
	fflush(NULL);
	pid_t half = fork();
	if (half < 0)
		return 1;
	int failed = run_cases(pattern, half == 0);
	if (half == 0)
		exit(failed != 0);
	bool ended = waitpid(half, &status, 0) == half && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	return failed || !ended;
}
