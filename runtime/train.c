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
	const SnFunction *step, *update;
	SnSession s;
	SnSource source;
	SnValidation validation;
	SnMeans means;                /* of the step at hand: loss and metrics */
	SnProgress progress;
	SnState state;
	SnSchedule schedule;
	const char *dir;
	SnBatch batch;
	int64_t steps, validate_every, save_every, patience;
	uint32_t seed;
	double beta1, beta2, eps, decay, clip, ema, flops;
	bool averaged;                /* the program keeps averages of the weights: states "ema.<param>" */
	int64_t saved;                /* step of the newest checkpoint, -1: none */
	int lock;
	bool made;                    /* dir is this run's own */
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
	if (!t->step || !t->update)
		return sn_fail(SN_FAIL, "%s can't be trained: it has no step or update", sn_text(e->name));
	t->averaged = sn_slot(t->update, "ema", false);
	return SN_OK;
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
	const char *optimizer = sn_str(o, "optimizer.kind", "adamw");
	if (strcmp(optimizer, "adamw") && strcmp(optimizer, "adam"))
		return sn_fail(SN_USAGE, "optimizer \"%s\" is not supported: adamw and adam are", optimizer);
	return SN_OK;
}

/* Steps may be given as passes over the data. */
static int count_steps(Train *t)
{
	double epochs = sn_num(t->o, "schedule.epochs", 0), size = (double)(t->batch.rows * t->batch.accumulate);
	if (!t->steps || (sn_given(t->o, "schedule.epochs") && !sn_given(t->o, "schedule.steps")))
		t->steps = (int64_t)ceil(epochs * (double)t->source.pass / size);
	t->schedule.steps = t->steps;
	return t->steps < 1 ? sn_fail(SN_USAGE, "how many steps? give --steps N or --epochs N") : SN_OK;
}

static int read_average(Train *t)
{
	t->ema = sn_num(t->o, "ema", 0);
	if (sn_given(t->o, "ema") && !t->averaged)
		return sn_fail(SN_USAGE, "--ema: this program keeps no average of the weights; build it with `ema` in the entry");
	return SN_OK;
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
	t->patience = (int64_t)sn_num(o, "stop.patience", 0);
	SnFed fed;
	int code = read_schedule(t);
	if (!code)
		code = read_average(t);
	if (!code)
		code = sn_source_kind(o, t->step, &fed);
	return code ? code : sn_batch_read(&t->batch, o, fed);
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
	t->made = !sn_exists(t->dir);
	int code = sn_mkdirs(t->dir);
	return code ? code : lock_dir(t);
}

static int load_resumed(Train *t, const char *checkpoint)
{
	char *path = sn_format("%s/optimizer.safetensors", checkpoint);
	const char *moved = sn_str(t->o, "model", NULL);   /* what an adapter is trained upon lies elsewhere now */
	char *base = moved ? sn_checkpoint_find(moved, true) : NULL;
	t->s.base = base && sn_is_dir(base) ? sn_weights_file(base) : base ? sn_format("%s", base) : NULL;
	int code = moved && !t->s.base ? SN_DATA : sn_weights_load(&t->s, t->o->program, checkpoint);
	free(base);
	t->s.adapter = NULL;
	if (!code)
		code = sn_states_load(&t->s, path);
	free(path);
	if (!code && t->state.data_hash != t->source.hash) {
		bool inputs = t->source.fed == SN_FED_INPUTS;
		if (!sn_given(t->o, inputs ? "data.inputs" : "data.file"))
			return sn_fail(SN_DATA, "the training data is not what this run began with; give it with --%s to go on all the same", inputs ? "inputs" : "data");
		sn_note("the training data is not what this run began with");
	}
	if (!code)
		sn_note("resumed %s at step %lld", t->dir, (long long)t->state.step);
	return code;
}

static int open_data(Train *t, const char *checkpoint)
{
	int code = sn_source_open(&t->source, &t->s, t->o, t->step, checkpoint, &t->batch);
	if (!code)
		code = count_steps(t);
	if (!code)
		code = sn_validation_open(&t->validation, &t->s, t->o, &t->source, &t->batch, checkpoint);
	if (code)
		return code;
	if (t->patience && (!t->validate_every || !sn_validation_possible(&t->validation)))
		sn_note("patience has no effect: %s", t->validate_every ? "there is nothing to validate on" : "there are no validations (--validate-every)");
	return SN_OK;
}

/* The state "ema.<name>" of a parameter; NULL. */
static const SnTensor *average_of(const Train *t, const SnTensor *p)
{
	const SnTensor *s = t->s.entry->tensors;
	for (int64_t i = 0; i < t->s.entry->ntensor; i++)
		if (s[i].kind == 1 && !strncmp(s[i].name, "ema.", 4) && !strcmp((const char *)s[i].name + 4, p->name))
			return &s[i];
	return NULL;
}

/* Averages begin as the weights. */
static void begin_averages(Train *t)
{
	const SnTensor *p = t->s.entry->tensors;
	for (int64_t i = 0; i < t->s.entry->ntensor; i++) {
		const SnTensor *average = p[i].kind == 0 ? average_of(t, &p[i]) : NULL;
		if (average)
			memcpy(t->s.arena + average->offset, t->s.arena + p[i].offset, sizeof(float) * (size_t)sn_tensor_elems(&p[i]));
	}
}

static int open_all(Train *t, const char *resumed, const char *initial)
{
	int code = sn_session_start(&t->s, t->o->entry, t->o);
	if (!code)
		code = open_data(t, resumed ? resumed : initial);
	if (code)
		return code;
	t->s.begins = !resumed;
	t->s.seed = t->seed;
	if (resumed)
		code = load_resumed(t, resumed);
	else if (initial)
		code = sn_model_load(&t->s, t->o, initial);
	else
		sn_init_params(&t->s, t->seed);
	if (!code && !resumed && t->averaged)
		begin_averages(t);
	t->state.data_hash = t->source.hash;
	json_t *options = sn_options_save(t->o);
	if (t->source.data.said)
		json_object_update(options, t->source.data.said);
	json_decref(t->state.options);
	t->state.options = options;
	if (!code)
		code = sn_progress_open(&t->progress, t->dir, t->state.step, t->steps, t->source.unit, sn_given(t->o, "quiet"));
	t->progress.base = t->state.seconds;
	return code;
}

/* --- the loop */

/* The gradients of one step's micro-batches are added up; returns the mean loss. */
static double gradients(Train *t)
{
	double (*flops)(const int64_t *) = t->step->flops;
	sn_means_close(&t->means);
	sn_means_open(&t->means, t->step, NULL);
	t->flops = 0;
	for (int64_t a = 0; a < t->batch.accumulate; a++) {
		int64_t micro = t->state.step * t->batch.accumulate + a;
		sn_source_fill(&t->source, &t->s, micro, t->state.examples + a * t->batch.rows);
		sn_set_i32(&t->s, t->step, "seed", (int32_t)sn_philox((uint32_t)micro, (uint32_t)(micro >> 32) ^ DROPOUT, t->seed).a);
		sn_set_bool(&t->s, t->step, "accumulate", a > 0);
		sn_call(&t->s, t->step);
		t->flops += flops ? flops(t->s.dims) : 0;   /* with the rows that the call counted */
		sn_means_add(&t->means, &t->s, 1);
	}
	return sn_means_find(&t->means, "loss");
}

static double update(Train *t, double lr)
{
	double n = (double)(t->state.step + 1);
	const struct { const char *name; double value; } scalars[] = {
		{"lr", lr}, {"beta1", t->beta1}, {"beta2", t->beta2}, {"eps", t->eps}, {"decay", t->decay}, {"clip", t->clip},
		{"scale", 1 / (double)t->batch.accumulate}, {"c1", 1 - pow(t->beta1, n)}, {"c2", 1 - pow(t->beta2, n)},
		{"ema", fmin(t->ema, n / (n + 9))},   /* young averages forget faster, so that the first weights don't linger */
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
	int64_t units = t->source.units * t->batch.accumulate;
	t->state.step++;
	if (t->source.inputs)
		t->state.examples += units;
	SnStep s = {t->state.step, units, t->source.inputs ? t->state.examples : units * t->state.step, loss, lr, norm, sn_clock() - started, t->flops, &t->means};
	sn_progress_step(&t->progress, &s);
	return SN_OK;
}

static void keep_time(Train *t)
{
	t->state.seconds = t->progress.base + sn_clock() - t->progress.started;
}

static bool due(int64_t step, int64_t every)
{
	return every > 0 && step % every == 0;
}

/* Exchanges the weights with their averages, or back. */
static void swap_averages(Train *t)
{
	const SnTensor *p = t->s.entry->tensors;
	for (int64_t i = 0; i < t->s.entry->ntensor && t->averaged; i++) {
		const SnTensor *average = p[i].kind == 0 ? average_of(t, &p[i]) : NULL;
		float *a = (float *)(t->s.arena + p[i].offset), *b = average ? (float *)(t->s.arena + average->offset) : NULL;
		for (int64_t k = 0, n = sn_tensor_elems(&p[i]); b && k < n; k++) {
			float x = a[k];
			a[k] = b[k];
			b[k] = x;
		}
	}
}

static bool better(const Train *t, double value)
{
	if (isnan(value))
		return false;
	return !isfinite(t->state.best_loss) || (t->validation.grows ? value > t->state.best_loss : value < t->state.best_loss);
}

/* With averages of the weights, they are what is measured and kept as the best. */
static int validate_now(Train *t)
{
	SnMeans means;
	if (!sn_validation_run(&t->validation, &means))
		return SN_OK;
	double value = sn_means_find(&means, t->validation.best);
	bool best = better(t, value);
	sn_progress_valid(&t->progress, t->state.step, &means, best);
	sn_means_close(&means);
	if (best)
		t->state.stale = 0;
	else if (due(t->state.step, t->validate_every))
		t->state.stale++;   /* one more at a run's end is not counted: the run may go on */
	if (!best)
		return SN_OK;
	t->state.best_loss = value;
	t->state.best_step = t->state.step;
	keep_time(t);
	return sn_checkpoint_save(&t->s, t->o->program, t->source.data.tokenizer, &t->state, t->dir, true);
}

static int validate(Train *t)
{
	swap_averages(t);
	int code = validate_now(t);
	swap_averages(t);
	return code;
}

static bool out_of_patience(const Train *t)
{
	return t->patience > 0 && t->state.stale >= t->patience;
}

static int save(Train *t)
{
	if (t->saved == t->state.step)
		return SN_OK;
	keep_time(t);
	int code = sn_checkpoint_save(&t->s, t->o->program, t->source.data.tokenizer, &t->state, t->dir, false);
	if (code)
		return code;
	t->saved = t->state.step;
	char *title = sn_format("%s: loss", sn_text(t->o->program->name));
	code = sn_progress_draw(&t->progress, title);
	free(title);
	return code;
}

static int loop(Train *t)
{
	while (t->state.step < t->steps && !interrupted && !out_of_patience(t)) {
		int code = one_step(t);
		bool last = t->state.step == t->steps;
		if (!code && (due(t->state.step, t->validate_every) || last))
			code = validate(t);
		last |= out_of_patience(t);
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
	char best[160] = "";
	if (isfinite(t->state.best_loss))
		snprintf(best, sizeof best, "; best validation %s %.4f at step %lld", t->validation.best, t->state.best_loss, (long long)t->state.best_step);
	const char *how = code ? "interrupted" : t->state.step < t->steps ? "stopped early" : "done";
	sn_note("%s at step %lld/%lld%s; saved in %s", how, (long long)t->state.step, (long long)t->steps, best, t->dir);
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
	else if (out_of_patience(t))
		sn_note("nothing to do: %lld validations have brought nothing better (--patience asks for more)", (long long)t->state.stale);
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
		t->state.from = initial && sn_is_dir(initial) ? initial : NULL;
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
	if (sn_given(o, "grads"))
		return sn_grads_main(o);
	Train t = {.o = o, .lock = -1, .saved = -1, .state.best_loss = INFINITY, .progress.metrics = -1};
	int code = prepare_and_run(&t);
	sn_progress_close(&t.progress);
	sn_means_close(&t.means);
	sn_validation_close(&t.validation);
	sn_source_close(&t.source);
	sn_session_close(&t.s);
	json_decref(t.state.options);
	if (code && t.made)
		rmdir(t.dir);   /* which fails, as it should, where anything is in it */
	if (t.lock >= 0)
		close(t.lock);
	return code;
}
