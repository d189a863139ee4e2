/* train.c: the training loop. One optimiser step is batch/micro calls of "step", which add up gradients, and one of
 * "update". Everything that decides a step's bits (batch, dropout seed, learning rate) is a function of the step
 * number, the seed and the settings, so a resumed run goes on with the same bits. */
#include "runtime/sn.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { DROPOUT = 0x64726F70 };   /* stream of the seeds given to "step" */

typedef struct Train {
	SnOptions *o;
	const SnFunction *step, *update, *eval;
	const SnSlot *tokens;
	SnSession s;
	SnData data;
	SnProgress progress;
	SnState state;
	SnSchedule schedule;
	const char *dir;
	int64_t rows, context, len;   /* of a micro-batch: sequences, T, tokens in a sequence with the one predicted */
	int64_t accumulate, steps, validate_every, save_every;
	uint32_t seed;
	double beta1, beta2, eps, decay, clip, flops;
	int64_t saved;                /* step of the newest checkpoint, -1: none */
	int lock;
} Train;

/* The first signal asks the loop to end after its step, the second has the default effect. */
static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

double sn_learning_rate(const SnSchedule *s, int64_t step)
{
	if (step < s->warmup)
		return s->peak * (double)(step + 1) / (double)s->warmup;
	if (!strcmp(s->kind, "constant"))
		return s->peak;
	double span = (double)(s->steps - s->warmup), t = span > 0 ? fmin((double)(step - s->warmup) / span, 1) : 1;
	double left = !strcmp(s->kind, "cosine") ? 0.5 * (1 + cos(M_PI * t)) : 1 - t;
	return s->last + (s->peak - s->last) * left;
}

/* --- settings */

static int find_functions(Train *t)
{
	const SnEntry *e = t->o->entry;
	t->step = sn_function(e, "step");
	t->update = sn_function(e, "update");
	t->eval = sn_function(e, "eval");
	if (!t->step || !t->update)
		return sn_fail(SN_FAIL, "%s can't be trained: it has no step or update", sn_text(e->name));
	t->tokens = sn_tokens_slot(t->step);
	return t->tokens && (!t->eval || sn_tokens_slot(t->eval)) ? SN_OK : SN_FAIL;
}

static int read_schedule(Train *t)
{
	const SnOptions *o = t->o;
	t->steps = (int64_t)sn_num(o, "schedule.steps", 0);
	t->schedule = (SnSchedule){sn_str(o, "schedule.kind", "constant"), sn_num(o, "optimizer.lr", 1e-3), sn_num(o, "schedule.final", 0),
		(int64_t)sn_num(o, "schedule.warmup", 0), t->steps};
	const char *kind = t->schedule.kind;
	if (strcmp(kind, "constant") && strcmp(kind, "cosine") && strcmp(kind, "linear"))
		return sn_fail(SN_USAGE, "--schedule wants constant, cosine or linear, not \"%s\"", kind);
	if (t->steps < 1)
		return sn_fail(SN_USAGE, "how many steps? give --steps N");
	const char *optimizer = sn_str(o, "optimizer.kind", "adamw");
	if (strcmp(optimizer, "adamw"))
		return sn_fail(SN_USAGE, "optimizer \"%s\" is not supported: only adamw is", optimizer);
	return SN_OK;
}

static int read_batch(Train *t)
{
	SnBatch b = {0};
	int code = sn_batch_read(&b, t->o);
	t->rows = b.rows;
	t->context = b.context;
	t->accumulate = b.accumulate;
	return code;
}

static int read_settings(Train *t)
{
	const SnOptions *o = t->o;
	t->seed = (uint32_t)sn_num(o, "seed", 1);
	t->beta1 = sn_num(o, "optimizer.beta1", 0.9);
	t->beta2 = sn_num(o, "optimizer.beta2", 0.999);
	t->eps = sn_num(o, "optimizer.eps", 1e-8);
	t->decay = sn_num(o, "optimizer.weight_decay", 0);
	t->clip = sn_num(o, "clip", 0);
	t->validate_every = (int64_t)sn_num(o, "validate.every", 0);
	t->save_every = (int64_t)sn_num(o, "save.every", 0);
	int code = read_schedule(t);
	return code ? code : read_batch(t);
}

/* --- opening */

static int lock_dir(Train *t)
{
	t->lock = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->lock < 0)
		return sn_fail(SN_FAIL, "%s: %s", t->dir, strerror(errno));
	return flock(t->lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK ? sn_fail(SN_FAIL, "%s: another process is training there", t->dir) : SN_OK;
}

static int open_dir(Train *t)
{
	const char *resume = sn_str(t->o, "resume", NULL);
	t->dir = resume ? resume : sn_str(t->o, "out", "run");
	if (resume && sn_given(t->o, "out") && strcmp(resume, sn_str(t->o, "out", "")))
		return sn_fail(SN_USAGE, "--resume goes on in its own directory: leave --out away");
	if (!resume && sn_checkpoint_is_run(t->dir))
		return sn_fail(SN_USAGE, "%s holds a run already: go on with --resume %s, or name another with --out", t->dir, t->dir);
	if (resume && !sn_checkpoint_is_run(resume))
		return sn_fail(SN_DATA, "%s: no checkpoint to resume (no last/state.json)", resume);
	int code = sn_mkdirs(t->dir);
	return code ? code : lock_dir(t);
}

static int load_resumed(Train *t, const char *checkpoint)
{
	char *path = sn_format("%s/optimizer.safetensors", checkpoint);
	int code = sn_weights_load(&t->s, t->o->program, checkpoint);
	if (!code)
		code = sn_states_load(&t->s, path);
	free(path);
	if (!code && t->state.data_hash != t->data.hash) {
		if (!sn_given(t->o, "data.file"))
			return sn_fail(SN_DATA, "the training data is not what this run began with; give it with --data to go on all the same");
		sn_note("the training data is not what this run began with");
	}
	if (!code)
		sn_note("resumed %s at step %lld", t->dir, (long long)t->state.step);
	return code;
}

static int open_data(Train *t, const char *checkpoint)
{
	int code = sn_data_open(&t->data, t->o, checkpoint, false);
	if (code)
		return code;
	int64_t shape[SN_MAX_RANK] = {0}, *B = sn_dim(&t->s, "B"), *T = sn_dim(&t->s, "T");
	*B = t->rows;
	*T = t->context;
	sn_slot_shape(&t->s, t->step, t->tokens, shape);
	t->len = shape[1];
	if (shape[0] != t->rows || t->len < 2)
		return sn_fail(SN_FAIL, "the input %s is [%lld,%lld]: not sequences of 2 or more tokens", sn_text(t->tokens->name), (long long)shape[0], (long long)shape[1]);
	if (t->data.train.n < t->len)
		return sn_fail(SN_DATA, "the training text has %lld tokens; one sequence needs %lld (or give a smaller --context)", (long long)t->data.train.n, (long long)t->len);
	if (t->step->flops)
		t->flops = ((double (*)(const int64_t *))t->step->flops)(t->s.dims) * (double)t->accumulate;
	return SN_OK;
}

static int open_all(Train *t, const char *resumed, const char *initial)
{
	int code = sn_session_open(&t->s, t->o->entry, (int)sn_num(t->o, "threads", sn_cores()));
	if (!code)
		code = open_data(t, resumed ? resumed : initial);
	if (code)
		return code;
	if (resumed)
		code = load_resumed(t, resumed);
	else if (initial)
		code = sn_weights_load(&t->s, t->o->program, initial);
	else
		sn_init_params(&t->s, t->seed);
	t->state.data_hash = t->data.hash;
	json_t *options = sn_options_save(t->o);
	json_decref(t->state.options);
	t->state.options = options;
	if (!code)
		code = sn_progress_open(&t->progress, t->dir, t->state.step, t->steps, sn_given(t->o, "quiet"));
	t->progress.base = t->state.seconds;
	return code;
}

/* --- the loop */

static double gradients(Train *t)
{
	double loss = 0;
	int32_t *tokens = (int32_t *)(t->s.arena + t->tokens->offset);
	*sn_dim(&t->s, "B") = t->rows;
	*sn_dim(&t->s, "T") = t->context;
	for (int64_t a = 0; a < t->accumulate; a++) {
		int64_t micro = t->state.step * t->accumulate + a;
		sn_data_batch(&t->data.train, tokens, t->rows, t->len, t->seed, micro);
		sn_set_i32(&t->s, t->step, "seed", (int32_t)sn_philox((uint32_t)micro, (uint32_t)(micro >> 32) ^ DROPOUT, t->seed).a);
		sn_set_bool(&t->s, t->step, "accumulate", a > 0);
		sn_call(&t->s, t->step);
		loss += (double)sn_get_f32(&t->s, t->step, "loss");
	}
	return loss / (double)t->accumulate;
}

static double update(Train *t, double lr)
{
	double n = (double)(t->state.step + 1);
	const struct { const char *name; double value; } scalars[] = {
		{"lr", lr}, {"beta1", t->beta1}, {"beta2", t->beta2}, {"eps", t->eps}, {"decay", t->decay}, {"clip", t->clip},
		{"scale", 1 / (double)t->accumulate}, {"c1", 1 - pow(t->beta1, n)}, {"c2", 1 - pow(t->beta2, n)},
	};
	for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
		sn_set_f32(&t->s, t->update, scalars[i].name, (float)scalars[i].value);
	sn_call(&t->s, t->update);
	return (double)sn_get_f32(&t->s, t->update, "grad_norm");
}

static int diverged(Train *t, const char *what)
{
	sn_progress_clear(&t->progress);
	if (t->saved < 0)
		return sn_fail(SN_FAIL, "step %lld: the %s is not finite (try a smaller --lr, or --clip 1)", (long long)t->state.step + 1, what);
	return sn_fail(SN_FAIL, "step %lld: the %s is not finite (try a smaller --lr, or --clip 1); %s/last is of step %lld", (long long)t->state.step + 1, what,
	               t->dir, (long long)t->saved);
}

static int one_step(Train *t)
{
	double started = sn_clock(), lr = sn_learning_rate(&t->schedule, t->state.step);
	double loss = gradients(t);
	if (!isfinite(loss))
		return diverged(t, "loss");
	double norm = update(t, lr);
	if (sn_slot(t->update, "grad_norm", true) && !isfinite(norm))
		return diverged(t, "gradient");
	t->state.step++;
	SnStep s = {t->state.step, t->rows * t->accumulate * (t->len - 1), loss, lr, norm, sn_clock() - started, t->flops};
	sn_progress_step(&t->progress, &s);
	return SN_OK;
}

static void keep_time(Train *t)
{
	t->state.seconds = t->progress.base + sn_clock() - t->progress.started;
}

static int validate(Train *t)
{
	if (!t->eval || t->data.valid.n < 2)
		return SN_OK;
	double loss = sn_evaluate(&t->s, t->eval, &t->data.valid, t->rows, t->context, (int64_t)sn_num(t->o, "eval.batches", 0)).loss;
	bool best = loss < t->state.best_loss;
	sn_progress_valid(&t->progress, t->state.step, loss, best);
	if (!best)
		return SN_OK;
	t->state.best_loss = loss;
	t->state.best_step = t->state.step;
	keep_time(t);
	return sn_checkpoint_save(&t->s, t->o->program, t->data.tokenizer, &t->state, t->dir, true);
}

static int save(Train *t)
{
	if (t->saved == t->state.step)
		return SN_OK;
	keep_time(t);
	int code = sn_checkpoint_save(&t->s, t->o->program, t->data.tokenizer, &t->state, t->dir, false);
	if (code)
		return code;
	t->saved = t->state.step;
	char *title = sn_format("%s: loss", sn_text(t->o->program->name));
	code = sn_progress_draw(&t->progress, title);
	free(title);
	return code;
}

static bool due(int64_t step, int64_t every)
{
	return every > 0 && step % every == 0;
}

static int loop(Train *t)
{
	while (t->state.step < t->steps && !interrupted) {
		int code = one_step(t);
		bool last = t->state.step == t->steps;
		if (!code && (due(t->state.step, t->validate_every) || last))
			code = validate(t);
		if (!code && (due(t->state.step, t->save_every) || last)) {
			sn_progress_clear(&t->progress);
			code = save(t);
		}
		if (code)
			return code;
	}
	if (!interrupted)
		return SN_OK;
	sn_progress_clear(&t->progress);
	int code = save(t);   /* the signal may have come after the loop's last look */
	return code ? code : SN_INTERRUPTED;
}

static void summary(Train *t, int code)
{
	if (t->progress.quiet || (code != SN_OK && code != SN_INTERRUPTED))
		return;
	sn_progress_close(&t->progress);
	char best[80] = "";
	if (isfinite(t->state.best_loss))
		snprintf(best, sizeof best, "; best validation loss %.4f at step %lld", t->state.best_loss, (long long)t->state.best_step);
	sn_note("%s at step %lld/%lld%s; saved in %s", code ? "interrupted" : "done", (long long)t->state.step, (long long)t->steps, best, t->dir);
	if (code)
		sn_note("go on with: %s %s --resume %s", program_invocation_short_name, sn_text(t->o->entry->name), t->dir);
}

static int run(Train *t, const char *resumed, const char *initial)
{
	int code = open_all(t, resumed, initial);
	if (code)
		return code;
	t->saved = resumed ? t->state.step : -1;
	if (t->state.step >= t->steps)
		sn_note("nothing to do: the run is at step %lld of %lld (--steps asks for more)", (long long)t->state.step, (long long)t->steps);
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old_int, old_term;
	sigemptyset(&act.sa_mask);
	interrupted = 0;
	sigaction(SIGINT, &act, &old_int);
	sigaction(SIGTERM, &act, &old_term);
	code = loop(t);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	summary(t, code);
	return code;
}

static int prepare_and_run(Train *t)
{
	int code = find_functions(t);
	if (!code)
		code = open_dir(t);
	const char *model = sn_str(t->o, "model", NULL);
	char *resumed = NULL, *initial = NULL;
	if (!code && sn_str(t->o, "resume", NULL)) {
		resumed = sn_checkpoint_find(t->dir, false);
		code = resumed ? sn_state_read(&t->state, resumed) : SN_DATA;
		t->o->saved = json_incref(t->state.options);
	} else if (!code && model) {
		initial = sn_checkpoint_find(model, true);
		code = initial ? SN_OK : SN_DATA;
	}
	if (!code)
		code = read_settings(t);
	if (!code)
		code = run(t, resumed, initial);
	free(resumed);
	free(initial);
	return code;
}

int sn_train_main(SnOptions *o)
{
	Train t = {.o = o, .lock = -1, .saved = -1, .state.best_loss = INFINITY, .progress.metrics = -1};
	int code = prepare_and_run(&t);
	sn_progress_close(&t.progress);
	sn_data_close(&t.data);
	sn_session_close(&t.s);
	json_decref(t.state.options);
	if (t.lock >= 0)
		close(t.lock);
	return code;
}
