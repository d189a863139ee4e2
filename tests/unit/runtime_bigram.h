/* A program made by hand in place of the compiler: a bigram model, logits = table[token] + bias, trained by AdamW.
 * It follows rt.def to the letter and divides work among threads as compiled kernels do, results not depending on them.
 * SN_TEST_SLOW (microseconds) makes each training call take longer, for tests that interrupt it. */
#ifndef RUNTIME_BIGRAM_H
#define RUNTIME_BIGRAM_H

#include "runtime/sn.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { V = 24, B = 4, T = 8, S = 32, N = V * V + V };

/* Arena of train, bytes. */
enum {
	TABLE = 0, GRAD = 4096, M = 8192, VEL = 12288, TOKENS = 16384, SEED = TOKENS + 4 * B * (T + 1) + 48, ACC = SEED + 64, LOSS = ACC + 64,
	PROBS = LOSS + 64, NLL = PROBS + 4 * B * T * V, SCALARS = NLL + 4 * B * T, NORM = SCALARS + 64 * 9, TRAIN_BYTES = NORM + 64,
};
/* Arena of generate. */
enum { G_READY = 4096, G_TOKENS = 8192, G_NEXT = 8192 + 64, G_CACHE = 8192 + 256, G_BYTES = 16384 };

#define F32(at) ((float *)(arena + (at)))
#define I32(at) ((int32_t *)(arena + (at)))
#define ARGS const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t n, char *scratch

/* probabilities and -ln p of each place: rows divided; scratch holds the logits */
static void k_probs(ARGS) {
	int64_t rows = dims[0] * dims[1];
	const float *table = F32(TABLE), *bias = table + V * V;
	float *z = (float *)scratch;
	for (int64_t r = rows * tid / n; r < rows * (tid + 1) / n; r++) {
		const int32_t *at = I32(TOKENS) + r / dims[1] * (dims[1] + 1) + r % dims[1];
		float sum = 0, *p = F32(PROBS) + r * V;
		for (int i = 0; i < V; i++)
			z[i] = table[at[0] * V + i] + bias[i];
		for (int i = 0; i < V; i++)
			sum += p[i] = expf(z[i]);
		for (int i = 0; i < V; i++)
			p[i] /= sum;
		F32(NLL)[r] = -logf(p[at[1]]);
	}
}

static void k_loss(ARGS) {
	float sum = 0;
	for (int64_t r = 0; r < dims[0] * dims[1]; r++)
		sum += F32(NLL)[r];
	F32(LOSS)[0] = sum / (float)(dims[0] * dims[1]);
	const char *slow = getenv("SN_TEST_SLOW");
	if (slow && args[0])
		usleep((useconds_t)atoi(slow));
}

/* gradient: columns divided, places in order */
static void k_grad(ARGS) {
	float *g = F32(GRAD), share = 1 / (float)(dims[0] * dims[1]);
	for (int64_t i = V * tid / n; i < V * (tid + 1) / n; i++) {
		for (int v = 0; v <= V && !arena[ACC]; v++)
			g[v * V + i] = 0;
		for (int64_t r = 0; r < dims[0] * dims[1]; r++) {
			const int32_t *at = I32(TOKENS) + r / dims[1] * (dims[1] + 1) + r % dims[1];
			float d = (F32(PROBS)[r * V + i] - (at[1] == i)) * share;
			g[at[0] * V + i] += d;
			g[V * V + i] += d;
		}
	}
}

static float scalar(const char *arena, int i) {
	return *(const float *)(arena + SCALARS + 64 * i);
}

static void k_norm(ARGS) {
	float sum = 0;
	for (int i = 0; i < N; i++)
		sum += powf(scalar(arena, 6) * F32(GRAD)[i], 2);
	F32(NORM)[0] = sqrtf(sum);
}

static void k_adamw(ARGS) {
	float lr = scalar(arena, 0), b1 = scalar(arena, 1), b2 = scalar(arena, 2), eps = scalar(arena, 3), decay = scalar(arena, 4), clip = scalar(arena, 5);
	float c1 = scalar(arena, 7), c2 = scalar(arena, 8), norm = F32(NORM)[0], factor = clip > 0 && norm > clip ? clip / norm : 1;
	for (int64_t i = N * tid / n; i < N * (tid + 1) / n; i++) {
		float g = scalar(arena, 6) * F32(GRAD)[i] * factor, *m = F32(M) + i, *v = F32(VEL) + i;
		*m = b1 * *m + (1 - b1) * g;
		*v = b2 * *v + (1 - b2) * g * g;
		F32(TABLE)[i] -= lr * (*m / c1 / (sqrtf(*v / c2) + eps) + decay * F32(TABLE)[i]);
	}
}

static void k_prepare(ARGS) {
	for (int64_t i = V * tid / n; i < V * (tid + 1) / n; i++)
		for (int j = 0; j < V; j++)
			F32(G_READY)[i * V + j] = F32(TABLE)[i * V + j] + F32(TABLE)[V * V + j];
}

static void k_remember(ARGS) {
	for (int64_t t = 0; t < dims[1]; t++)
		I32(G_CACHE)[dims[2] - dims[1] + t] = I32(G_TOKENS)[t];
}

/* next: of the last token in the cache, so that a wrong S shows */
static void k_next(ARGS) {
	int32_t last = I32(G_CACHE)[dims[2] - 1];
	for (int64_t i = V * tid / n; i < V * (tid + 1) / n; i++)
		F32(G_NEXT)[i] = F32(G_READY)[last * V + i];
}

static const int64_t yes[] = {1}, no[] = {0};
static const SnLaunch step_launches[] = {{k_probs, no, "probs", 0, 0}, {k_loss, yes, "loss", 1, 0}, {k_grad, no, "grad", 0, 0}};
static const SnLaunch update_launches[] = {{k_norm, no, "norm", 1, 0}, {k_adamw, no, "adamw", 0, 0}};
static const SnLaunch eval_launches[] = {{k_probs, no, "probs", 0, 0}, {k_loss, no, "loss", 1, 0}};
static const SnLaunch prepare_launches[] = {{k_prepare, no, "prepare", 0, 0}};
static const SnLaunch next_launches[] = {{k_remember, no, "remember", 1, 0}, {k_next, no, "next", 0, 0}};

static void step_shapes(const int64_t *dims, int64_t *out) {
	out[0] = dims[0];
	out[1] = dims[1] + 1;
}

static void no_shapes(const int64_t *dims, int64_t *out) {
}

static void next_shapes(const int64_t *dims, int64_t *out) {
	out[0] = dims[0];
	out[1] = dims[1];
	out[2] = dims[0];
	out[3] = V;
}

static double step_flops(const int64_t *dims) {
	return (double)(dims[0] * dims[1] * V * 6);
}

static const SnAxis token_axes[] = {{0, 1, 0, "B"}, {1, 1, 1, "T + 1"}}, next_axes[] = {{0, 1, 0, "B"}, {-1, 0, V, "V"}}, prompt_axes[] = {{0, 1, 0, "B"}, {1, 1, 0, "T"}};
static const SnSlot step_slots[] = {{"tokens", 0, SN_I32, 2, TOKENS, token_axes, V, 0}, {"seed", 0, SN_I32, 0, SEED, NULL, 0, 0},
	{"accumulate", 0, SN_BOOL, 0, ACC, NULL, 0, 0}, {"loss", 1, SN_F32, 0, LOSS, NULL, 0, 0}};
static const SnSlot eval_slots[] = {{"tokens", 0, SN_I32, 2, TOKENS, token_axes, V, 0}, {"loss", 1, SN_F32, 0, LOSS, NULL, 0, 0}};
#define SCALAR(name, i) {name, 0, SN_F32, 0, SCALARS + 64 * i, NULL, 0, 0}
static const SnSlot update_slots[] = {SCALAR("lr", 0), SCALAR("beta1", 1), SCALAR("beta2", 2), SCALAR("eps", 3), SCALAR("decay", 4),
	SCALAR("clip", 5), SCALAR("scale", 6), SCALAR("c1", 7), SCALAR("c2", 8), {"grad_norm", 1, SN_F32, 0, NORM, NULL, 0, 0}};
static const SnSlot next_slots[] = {{"tokens", 0, SN_I32, 2, G_TOKENS, prompt_axes, V, 0}, {"next", 1, SN_F32, 2, G_NEXT, next_axes, 0, 0}};

#define COUNT(a) (int64_t)(sizeof a / sizeof *a)
static const SnFunction train_functions[] = {
	{"step", step_launches, COUNT(step_launches), step_slots, COUNT(step_slots), step_shapes, step_flops, NULL, 0, NULL, 0, NULL, NULL, 0},
	{"update", update_launches, COUNT(update_launches), update_slots, COUNT(update_slots), no_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0},
	{"eval", eval_launches, COUNT(eval_launches), eval_slots, COUNT(eval_slots), step_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0},
};
static const SnFunction generate_functions[] = {
	{"prepare", prepare_launches, COUNT(prepare_launches), NULL, 0, no_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0},
	{"step", next_launches, COUNT(next_launches), next_slots, COUNT(next_slots), next_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0},
};

static const int64_t square[] = {V, V}, row[] = {V}, cache_dims[] = {S};
#define WEIGHTS {.name = "model.table.weight", .dtype = SN_F32, .rank = 2, .dims = square, .offset = TABLE, .bytes = 4 * V * V, .init = 2, .a = 0, .b = 0.02, .decay = 1}, \
	{.name = "model.bias", .dtype = SN_F32, .rank = 1, .dims = row, .offset = TABLE + 4 * V * V, .bytes = 4 * V}
#define LIKE(of, at) {.name = of ".model.table.weight", .kind = 1, .dtype = SN_F32, .rank = 2, .dims = square, .offset = at, .bytes = 4 * V * V}, \
	{.name = of ".model.bias", .kind = 1, .dtype = SN_F32, .rank = 1, .dims = row, .offset = at + 4 * V * V, .bytes = 4 * V}
static const SnTensor train_tensors[] = {WEIGHTS, LIKE("grad", GRAD), LIKE("m", M), LIKE("v", VEL)};
static const SnTensor generate_tensors[] = {WEIGHTS, {.name = "ready", .kind = 1, .dtype = SN_F32, .rank = 2, .dims = square, .offset = G_READY, .bytes = 4 * V * V},
	{.name = "cache.0", .kind = 1, .dtype = SN_I32, .rank = 1, .dims = cache_dims, .offset = G_CACHE, .bytes = 4 * S}};

#define NUM(key, x) {key, NULL, 1, x, NULL}
#define TEXT(key, s) {key, s, 0, 0, NULL}
static const SnSetting train_settings[] = {TEXT("data.kind", "text"), TEXT("data.file", "default.txt"),
	TEXT("data.valid", "valid.txt"), TEXT("data.tokenizer", "char"), TEXT("optimizer.kind", "adamw"),
	NUM("optimizer.lr", 0.05), NUM("optimizer.weight_decay", 0.01), TEXT("schedule.kind", "cosine"), NUM("schedule.warmup", 5),
	NUM("schedule.final", 0.001), NUM("schedule.steps", 60), NUM("clip", 1), NUM("batch", 8), NUM("validate.every", 10), NUM("save.every", 4)};
static const SnSetting docs_settings[] = {TEXT("data.field", "text"), TEXT("data.tokenizer", "char"), NUM("schedule.steps", 2), NUM("data.valid_fraction", 0)};
static const SnSetting generate_settings[] = {NUM("limit", 12), NUM("sample.temperature", 0), TEXT("stop.0", "!")};
static const SnSetting config[] = {{"V", NULL, 1, V, "vocabulary"}};

static const SnSym train_syms[] = {{"B", B}, {"T", T}}, generate_syms[] = {{"B", 1}, {"T", 5}, {"T.all", S}};
static const SnEntry entries[] = {
	{SN_TRAIN, "train", "", train_settings, COUNT(train_settings), train_functions, COUNT(train_functions), train_tensors, COUNT(train_tensors),
	 train_syms, COUNT(train_syms), TRAIN_BYTES, 4 * V, 0, 0, 0, NULL, NULL, NULL},
	{SN_TRAIN, "docs", "the same on json lines", docs_settings, COUNT(docs_settings), train_functions, COUNT(train_functions), train_tensors, COUNT(train_tensors),
	 train_syms, COUNT(train_syms), TRAIN_BYTES, 4 * V, 0, 0, 0, NULL, NULL, NULL},
	{SN_GENERATE, "generate", "goes on from a prompt", generate_settings, COUNT(generate_settings), generate_functions, COUNT(generate_functions),
	 generate_tensors, COUNT(generate_tensors), generate_syms, COUNT(generate_syms), G_BYTES, 0, 0, 0, 0, NULL, NULL, NULL},
};
static const char *const ignore[] = {"*.mask"};
static const SnRename renames[] = {{"tabel", "table"}, {"old.*.gamma", "model.*.weight"}};
const SnProgram sn_program = {"Bigram", "A bigram model, by hand.", "0.1", "test", "model.", config, COUNT(config), entries, COUNT(entries),
	ignore, COUNT(ignore), renames, COUNT(renames), NULL, 0, 0};

/* --- running it: each run in a process of its own, output in files of the test's directory */

static char dir[32];

static inline char *in_dir(const char *name) {
	return sn_format("%s/%s", dir, name);
}

static inline void put(const char *name, const char *text, size_t n) {
	char *path = in_dir(name);
	assert_int_equal(sn_file_write(path, text, n), SN_OK);
	free(path);
}

static inline void put_text(const char *name, const char *text) {
	put(name, text, strlen(text));
}

/* Contents of a file in the directory; NULL if it is not there. */
static inline char *get(const char *name, size_t *n) {
	char *path = in_dir(name), *text = NULL;
	SnFile f;
	if (sn_exists(path) && !sn_file_map(&f, path)) {
		text = sn_alloc(f.n + 1);
		memcpy(text, f.at, f.n);
		*n = f.n;
		sn_file_unmap(&f);
	}
	free(path);
	return text;
}

static inline void expect_same(const char *a, const char *b) {
	size_t n = 0, m = 0;
	char *x = get(a, &n), *y = get(b, &m);
	if (!x || !y || n != m || memcmp(x, y, n))
		fail_msg("%s and %s differ", a, b);
	free(x);
	free(y);
}

static inline void expect_in(const char *file, const char *text) {
	size_t n = 0;
	char *s = get(file, &n);
	if (!s || !strstr(s, text))
		fail_msg("%s lacks \"%s\":\n%s", file, text, s ? s : "(absent)");
	free(s);
}

static inline void redirect(const char *name, int fd) {
	int to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (to < 0 || dup2(to, fd) < 0)
		_exit(99);
	close(to);
}

static bool traced;   /* the next child stops at its system calls */

/* Words are separated by spaces. The child's directory is the test's. */
static inline pid_t start(const char *words, rlim_t file_limit) {
	fflush(NULL);
	pid_t pid = fork();
	if (pid)
		return pid;
	if (chdir(dir))
		_exit(98);
	redirect("out", 1);
	redirect("err", 2);
	if (traced) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
	}
	if (file_limit)
		setrlimit(RLIMIT_FSIZE, &(struct rlimit){file_limit, file_limit});
	char *argv[64] = {"bigram"}, *copy = sn_format("%s", words);
	int argc = 1;
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		argv[argc++] = w;
	int code = sn_main(argc, argv);
	free(copy);
	fflush(NULL);
	exit(code);
}

static inline int finish(pid_t pid) {
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline void expect_run(int code, const char *words) {
	int got = finish(start(words, 0));
	size_t n = 0;
	char *err = got != code ? get("err", &n) : NULL;
	if (got != code)
		fail_msg("\"%s\" ended with %d, not %d:\n%s", words, got, code, err ? err : "");
}

static inline void put_corpus(const char *name) {
	SnStr s = {0};
	for (int i = 0; i < 60; i++)
		sn_str_printf(&s, "hello world, hollow %s shed\n", i % 3 ? "old" : "odd");
	put(name, s.s, s.n);
	free(s.s);
}

static int setup(void **state) {
	strcpy(dir, "/tmp/sn_bigram_XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	put_corpus("corpus.txt");
	return 0;
}

static int teardown(void **state) {
	char *command = sn_format("rm -rf %s", dir);
	int failed = system(command);
	free(command);
	return failed;
}

#endif
