/* progress.c: how training shows itself: a bar on a terminal, plain lines elsewhere, metrics.jsonl for programs and
 * loss.svg for eyes. metrics.jsonl is the curves' memory: a resumed run reads it back and cuts off what it will repeat. */
#include "runtime/sn.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double sn_clock(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void curve_add(SnCurve *c, int64_t step, double loss)
{
	if (c->n == c->cap) {   /* reserved for all steps when opened: never inside the loop */
		c->cap = c->cap * 2 + 64;
		c->at = sn_realloc(c->at, sizeof *c->at * (size_t)c->cap);
	}
	c->at[c->n++] = (SnPoint){step, (float)loss};
}

static void curve_reserve(SnCurve *c, int64_t more)
{
	enum { MOST = 1 << 24 };
	c->cap = c->n + (more < 0 ? 0 : more < MOST ? more : MOST);
	c->at = sn_realloc(c->at, sizeof *c->at * (size_t)(c->cap ? c->cap : 1));
}

/* Takes over one line; false where the file is to be cut: a later step than ours, or a torn line. */
static bool recall(SnProgress *p, const char *line, size_t n, int64_t step)
{
	json_t *j = json_loadb(line, n, 0, NULL);
	json_t *at = json_object_get(j, "step"), *loss = json_object_get(j, "loss"), *value = json_object_get(j, "val_loss");
	bool keep = json_is_integer(at) && json_integer_value(at) <= step;
	if (keep && json_is_number(loss))
		curve_add(&p->train, json_integer_value(at), json_number_value(loss));
	if (keep && json_is_number(value)) {
		curve_add(&p->valid, json_integer_value(at), json_number_value(value));
		p->value = json_number_value(value);
	}
	json_decref(j);
	return keep;
}

static int recall_all(SnProgress *p, const char *path, int64_t step)
{
	SnFile f;
	int code = sn_file_map(&f, path);
	if (code)
		return code;
	size_t at = 0;
	for (;;) {
		const char *end = at < f.n ? memchr(f.at + at, '\n', f.n - at) : NULL;
		if (!end || !recall(p, f.at + at, (size_t)(end - f.at) - at, step))
			break;
		at = (size_t)(end - f.at) + 1;
	}
	bool cut = at < f.n;
	sn_file_unmap(&f);
	return cut && ftruncate(p->metrics, (off_t)at) < 0 ? sn_fail(SN_FAIL, "%s: %s", path, strerror(errno)) : SN_OK;
}

int sn_progress_open(SnProgress *p, const char *dir, int64_t step, int64_t total, const char *unit, bool quiet)
{
	const char *term = getenv("TERM");
	*p = (SnProgress){.dir = dir, .total = total, .unit = unit, .quiet = quiet, .metrics = -1, .started = sn_clock(), .value = NAN};
	p->bar = !quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb");
	p->every = total > 20 ? total / 20 : 1;
	char *path = sn_format("%s/metrics.jsonl", dir);
	p->metrics = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	int code = p->metrics < 0 ? sn_fail(SN_FAIL, "%s: %s", path, strerror(errno)) : recall_all(p, path, step);
	free(path);
	curve_reserve(&p->train, total - step);
	curve_reserve(&p->valid, total - step);
	if (code)
		sn_progress_close(p);
	return code;
}

/* A line is one write, whole or an error; training does not stop for the want of metrics. */
static void record(SnProgress *p, const char *line, int n)
{
	if (p->metrics < 0)
		return;
	if (write(p->metrics, line, (size_t)n) == n)
		return;
	sn_progress_clear(p);
	sn_fail(SN_FAIL, "%s/metrics.jsonl: %s; no more metrics are written", p->dir, strerror(errno));
	close(p->metrics);
	p->metrics = -1;
}

static int columns(void)
{
	struct winsize size;
	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static void time_text(char *out, size_t n, double seconds)
{
	long s = seconds > 0 ? (long)seconds : 0;
	if (s >= 86400)
		snprintf(out, n, "%ldd%02ldh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, n, "%ldh%02ldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, n, "%ldm%02lds", s / 60, s % 60);
}

/* The figures of one step, the important ones first: what does not fit is cut off. */
static int figures(SnProgress *p, const SnStep *s, char *out, size_t size)
{
	char left[64], value[64] = "", speed[64] = "";
	SnStr *metrics = &p->text;
	metrics->n = 0;
	time_text(left, sizeof left, p->rate * (double)(p->total - s->step));
	if (!isnan(p->value))
		snprintf(value, sizeof value, "  val %.4f", p->value);
	if (s->flops > 0)
		snprintf(speed, sizeof speed, "  %.1f GFLOP/s", s->flops / s->seconds * 1e-9);
	sn_means_text(metrics, s->means, "loss", 4);
	int n = snprintf(out, size, "loss %.4f%s%s%s  %.0f %s/s  %s left  lr %.2e  |g| %.2f%s", s->loss, metrics->n ? "  " : "", metrics->n ? metrics->s : "",
	                 value, (double)s->units / s->seconds, p->unit, left, s->lr, s->grad_norm, speed);
	return n < (int)size ? n : (int)size - 1;
}

static void draw_bar(SnProgress *p, const SnStep *s)
{
	enum { LEAST = 8, MOST = 40 };
	double now = sn_clock();
	if (now - p->drawn < 0.1 && s->step < p->total)
		return;
	p->drawn = now;
	char text[800], head[64], bar[MOST + 1];
	int width = columns() - 1, n = figures(p, s, text, sizeof text);
	int h = snprintf(head, sizeof head, "%lld/%lld", (long long)s->step, (long long)p->total);
	int cells = width - h - n - 5;
	cells = cells < LEAST ? LEAST : cells > MOST ? MOST : cells;
	int full = (int)((double)cells * (double)s->step / (double)p->total), room = width - h - cells - 5;
	memset(bar, '.', (size_t)cells);
	memset(bar, '#', (size_t)(full < cells ? full : cells));
	bar[cells] = 0;
	fprintf(stderr, "\r\033[K%s [%s]  %.*s", head, bar, room > 0 ? room : 0, text);
}

void sn_progress_clear(SnProgress *p)
{
	if (p->bar && p->drawn > 0)
		fprintf(stderr, "\r\033[K");
	p->drawn = 0;
}

static void step_json(SnStr *j, const SnProgress *p, const SnStep *s)
{
	const char *unit = strcmp(p->unit, "tok") ? p->unit : "tokens";
	sn_str_printf(j, "{\"step\":%lld,\"loss\":", (long long)s->step);
	sn_json_number(j, s->loss);
	sn_str_printf(j, ",\"lr\":%.9g,\"grad_norm\":", s->lr);
	sn_json_number(j, s->grad_norm);
	sn_str_printf(j, ",\"%s\":%lld,\"%s_per_second\":%.0f,\"gflops\":%.1f,\"time\":%.6f", unit, (long long)s->all, unit,
	              (double)s->units / s->seconds, s->flops / s->seconds * 1e-9, p->base + sn_clock() - p->started);
	if (s->means->n > 1) {
		sn_str_printf(j, ",\"metrics\":{");
		sn_means_json(j, s->means, "loss");
		sn_str_printf(j, "}");
	}
	sn_str_printf(j, "}\n");
}

void sn_progress_step(SnProgress *p, const SnStep *s)
{
	SnStr *j = &p->text;   /* kept: a step allocates nothing */
	char line[800];
	j->n = 0;
	p->rate = p->rate > 0 ? 0.9 * p->rate + 0.1 * s->seconds : s->seconds;
	step_json(j, p, s);
	record(p, j->s, (int)j->n);
	curve_add(&p->train, s->step, s->loss);
	if (p->bar) {
		draw_bar(p, s);
	} else if (!p->quiet && (s->step % p->every == 0 || s->step == 1 || s->step == p->total)) {
		figures(p, s, line, sizeof line);
		sn_note("step %lld/%lld  %s", (long long)s->step, (long long)p->total, line);
	}
}

static void valid_json(SnStr *j, const SnProgress *p, int64_t step, const SnMeans *m, double loss)
{
	sn_str_printf(j, "{\"step\":%lld,\"val_loss\":", (long long)step);
	sn_json_number(j, loss);
	sn_str_printf(j, ",\"time\":%.6f", p->base + sn_clock() - p->started);
	if (m->n > !isnan(loss)) {
		sn_str_printf(j, ",\"metrics\":{");
		sn_means_json(j, m, "loss");
		sn_str_printf(j, "}");
	}
	sn_str_printf(j, "}\n");
}

void sn_progress_valid(SnProgress *p, int64_t step, const SnMeans *m, bool best)
{
	SnStr j = {0}, metrics = {0};
	double loss = sn_means_find(m, "loss");
	valid_json(&j, p, step, m, loss);
	record(p, j.s, (int)j.n);
	free(j.s);
	if (!isnan(loss)) {
		curve_add(&p->valid, step, loss);
		p->value = loss;
	}
	if (!p->bar && !p->quiet) {
		sn_means_text(&metrics, m, NULL, 4);
		sn_note("step %lld/%lld  validation %s%s", (long long)step, (long long)p->total, metrics.s ? metrics.s : "", best ? " (best)" : "");
		free(metrics.s);
	}
}

int sn_progress_draw(SnProgress *p, const char *title)
{
	SnStr s = {0};
	sn_svg_chart(&s, title, &p->train, &p->valid);
	char *path = sn_format("%s/loss.svg", p->dir);
	int code = sn_file_replace(path, s.s, s.n);
	free(path);
	free(s.s);
	return code;
}

void sn_progress_close(SnProgress *p)
{
	if (p->bar && p->drawn > 0)
		fputc('\n', stderr);
	if (p->metrics >= 0)
		close(p->metrics);
	free(p->train.at);
	free(p->valid.at);
	free(p->text.s);
	*p = (SnProgress){.metrics = -1};
}
