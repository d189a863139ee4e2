/* predict.c: an infer entry on texts: of the command line, of a file (a line each, or a table), of standard input. They go through the model by length,
 * so that a call has rows of nearly equal length and little padding is computed; what comes out leaves in the order of the texts. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

/* --- texts */

static void add(SnPredict *p, SnCell a, SnCell b)
{
	p->texts = sn_realloc(p->texts, sizeof *p->texts * (size_t)(p->n + 1));
	p->texts[p->n][0] = a;
	p->texts[p->n++][1] = b;
}

static SnCell cell(const char *s)
{
	return (SnCell){s, s ? strlen(s) : 0};
}

static int take_arguments(SnPredict *p)
{
	const SnOptions *o = p->o;
	const char *pair = sn_str(o, "pair", NULL);
	int step = p->x.ids[1] ? 2 : 1;
	if (p->x.ids[1] && (o->ntext % 2 || pair))
		return sn_fail(SN_USAGE, "%s compares two texts: give them one behind the other", sn_text(o->entry->name));
	if (pair && o->ntext != 1)
		return sn_fail(SN_USAGE, "--pair is the second text to one");
	for (int i = 0; i < o->ntext; i += step)
		add(p, cell(o->text[i]), cell(step == 2 ? o->text[i + 1] : pair));
	return SN_OK;
}

static int take_file(SnPredict *p, const char *path)
{
	SnColumns c;
	int code = sn_rows_open(&p->table, &c, p->o, path, false);
	if (code)
		return code;
	p->lines = sn_alloc(sizeof *p->lines * (size_t)p->table.nrow);
	for (int64_t i = 0; i < p->table.nrow && !code; i++) {
		SnCell a = sn_table_cell(&p->table, i, c.text), b = c.pair >= 0 ? sn_table_cell(&p->table, i, c.pair) : (SnCell){0};
		p->lines[i] = p->table.lines[i];
		if (!a.s || (p->x.ids[1] && !b.s))
			code = sn_fail(SN_DATA, "%s:%lld: no %s text%s", p->table.path, (long long)p->lines[i], a.s ? "second" : "first",
			               a.s && c.pair < 0 ? " (name its column with --pair-column)" : "");
		add(p, a, b);
	}
	return code;
}

static int take_texts(SnPredict *p)
{
	const char *path = sn_str(p->o, "data.file", NULL);
	if (!path && p->o->ntext == 1 && !strcmp(p->o->text[0], "-"))
		return take_file(p, "-");
	if (path && p->o->ntext)
		return sn_fail(SN_USAGE, "texts on the command line and --data exclude each other");
	if (path)
		return take_file(p, path);
	if (!p->o->ntext)
		return sn_fail(SN_USAGE, "%s has nothing to run on: give a text, --data FILE (a text a line, or a table; - for standard input), or --inputs FILE",
		               sn_text(p->o->entry->name));
	return take_arguments(p);
}

char *sn_predict_place(const SnPredict *p, int64_t i)
{
	return p->lines ? sn_format("%s:%lld", p->table.path, (long long)p->lines[i]) : sn_format("text %lld", (long long)i + 1);
}

static int take(SnPredict *p)
{
	int code = take_texts(p);
	for (int64_t i = 0; i < p->n && !code; i++) {
		char *what = sn_predict_place(p, i);
		code = sn_texts_add(&p->x, p->texts[i][0], p->texts[i][1], what);
		free(what);
	}
	p->source = p->lines ? p->table.path : NULL;
	if (!code && p->x.cut)
		sn_note("%lld of %lld texts are longer than %lld tokens and were cut", (long long)p->x.cut, (long long)p->n, (long long)p->x.most);
	return code;
}

/* --- results */

static int open_out(SnPredict *p, const SnSlot *s)
{
	const SnAxis *x = s->axes;
	if (p->nout == SN_MAX_METRICS)
		return sn_fail(SN_FAIL, "%s has more than %d outputs", sn_text(p->o->entry->name), SN_MAX_METRICS);
	SnOut *out = &p->out[p->nout++];
	*out = (SnOut){.slot = s, .along = s->rank > 1 && x[1].sym == p->x.T, .masks = s->rank > 1 && p->x.masks && x[1].sym == p->x.M, .inner = 1};
	bool plain = s->rank > 0 && s->dtype != SN_BOOL;
	for (int i = 0; i < s->rank; i++) {
		int sym = i == 0 ? p->x.B : i == 1 && out->along ? p->x.T : i == 1 && out->masks ? p->x.M : -1;
		plain &= x[i].sym == sym && (sym < 0 || (x[i].scale == 1 && !x[i].offset));
		out->inner *= sym < 0 ? x[i].offset : 1;
	}
	if (!plain)
		return sn_fail(SN_USAGE, "%s: its result %s is neither [B,..] nor [B,T,..]: give --inputs FILE", sn_text(p->o->entry->name), sn_text(s->name));
	out->rows = sn_alloc(sizeof *out->rows * (size_t)p->n);
	return SN_OK;
}

static int open_outs(SnPredict *p)
{
	const SnSlot *s = p->run->slots;
	int code = SN_OK;
	for (int64_t i = 0; i < p->run->nslot && !code; i++)
		if (s[i].output && !sn_is_tap(&s[i]))
			code = open_out(p, &s[i]);
	return code;
}

int64_t sn_out_length(const SnPredict *p, const SnOut *out, int64_t i)
{
	return out->along ? p->x.at[i].n[0] : out->masks ? p->x.at[i].masks : 1;
}

/* Row k of the call was example i. */
static void keep(SnPredict *p, SnOut *out, int64_t i, int64_t k)
{
	const int64_t *dims = p->s.dims;
	int64_t row = out->inner * (out->along ? dims[p->x.T] : out->masks ? dims[p->x.M] : 1), n = out->inner * sn_out_length(p, out, i);
	out->rows[i] = sn_alloc(4 * (size_t)n + 1);
	memcpy(out->rows[i], p->s.arena + out->slot->offset + 4 * k * row, 4 * (size_t)n);
}

/* How many of the examples from order[at] on make one call: they are by length, and padding is to be less than a sixteenth of what is computed
 * once a call is large enough to be worth its reading of all weights. */
static int64_t rows_of(const SnPredict *p, const int64_t *order, int64_t at, int64_t most)
{
	enum { WORTH = 256, PART = 16 };
	int64_t T = sn_texts_length(&p->x, order[at]), n = 0, sum = 0;
	if (sn_taps_asked(p->o))
		return p->n;
	for (; n < most && at + n < p->n; n++) {
		int64_t more = sum + sn_texts_length(&p->x, order[at + n]), all = T * (n + 1);
		if (T * n >= WORTH && (all - more) * PART > all)
			break;
		sum = more;
	}
	return n;
}

/* Taps are of the last call, so that there may be but one, and its rows are the texts as they were given. */
static int check_taps(const SnPredict *p)
{
	int64_t most = sn_bound(p->o->entry, "B");
	if (!sn_taps_asked(p->o) || p->n <= most)
		return SN_OK;
	return sn_fail(SN_USAGE, "taps are of one call, of %lld at most, and there are %lld: give fewer, or build it with --set %s.B=%lld", (long long)most,
	               (long long)p->n, sn_text(p->o->entry->name), (long long)p->n);
}

static int64_t *order_of(const SnPredict *p)
{
	int64_t *order = sn_texts_sorted(&p->x, 0, p->n);
	for (int64_t i = 0; i < p->n && sn_taps_asked(p->o); i++)
		order[i] = i;
	return order;
}

static void run_all(SnPredict *p)
{
	double started = sn_clock();
	int64_t *order = order_of(p), most = sn_bound(p->o->entry, "B");
	for (int64_t at = 0, n; at < p->n; at += n) {
		n = rows_of(p, order, at, most);
		sn_texts_fill(&p->x, &p->s, order + at, n);
		sn_call(&p->s, p->run);
		p->padded += n * p->s.dims[p->x.T];
		for (int64_t k = 0; k < n; k++) {
			p->tokens += sn_texts_length(&p->x, order[at + k]);
			for (int i = 0; i < p->nout; i++)
				keep(p, &p->out[i], order[at + k], k);
		}
	}
	free(order);
	p->seconds = sn_clock() - started;
}

static void note(const SnPredict *p, const char *unit)
{
	sn_note("%lld %s, %.4f s, %.1f/s; %lld tokens, %.0f/s, %.1f%% padding", (long long)p->n, unit, p->seconds, (double)p->n / p->seconds,
	        (long long)p->tokens, (double)p->tokens / p->seconds, 100 * (1 - (double)p->tokens / (double)p->padded));
}

/* --- out */

void sn_predict_put(SnPredict *p, const SnStr *line)
{
	if (p->filed)
		sn_str_add(&p->said, line->s, line->n);
	else
		fwrite(line->s, 1, line->n, stdout);
}

static int print(SnPredict *p)
{
	SnShow *show;
	SnStr s = {0};
	int code = sn_show_find(p, &show);
	for (int64_t i = 0; i < p->n && !code; i++) {
		s.n = 0;
		sn_str_printf(&s, "{\"text\":");
		sn_json_string(&s, p->texts[i][0].s);
		if (p->texts[i][1].s) {
			sn_str_printf(&s, ",\"pair\":");
			sn_json_string(&s, p->texts[i][1].s);
		}
		code = show(p, i, &s);
		sn_str_printf(&s, "}\n");
		if (!code)
			sn_predict_put(p, &s);
	}
	free(s.s);
	return code;
}

/* One tensor of all rows, those shorter than the longest padded with zeros. */
static SnStPart part_of(const SnPredict *p, const SnOut *out, int64_t *shape)
{
	const SnAxis *x = out->slot->axes;
	bool varies = out->along || out->masks;
	int64_t longest = 1;
	for (int64_t i = 0; i < p->n; i++)
		longest = sn_out_length(p, out, i) > longest ? sn_out_length(p, out, i) : longest;
	int64_t row = out->inner * longest;
	char *at = sn_alloc(4 * (size_t)(p->n * row));
	for (int i = 0; i < out->slot->rank; i++)
		shape[i] = i == 0 ? p->n : i == 1 && varies ? longest : x[i].offset;
	for (int64_t i = 0; i < p->n; i++)
		memcpy(at + 4 * i * row, out->rows[i], 4 * (size_t)(out->inner * sn_out_length(p, out, i)));
	return (SnStPart){out->slot->name, (int)out->slot->dtype, (int)out->slot->rank, shape, at};
}

static int write_file(const SnPredict *p, const char *path)
{
	SnStPart parts[SN_MAX_METRICS + 1];
	int64_t (*shapes)[SN_MAX_RANK] = sn_alloc(sizeof *shapes * SN_MAX_METRICS);
	int32_t *lengths = sn_alloc(sizeof *lengths * (size_t)p->n);
	bool along = false;
	for (int64_t i = 0; i < p->n; i++)
		lengths[i] = p->x.at[i].n[0];
	for (int i = 0; i < p->nout; i++) {
		parts[i] = part_of(p, &p->out[i], shapes[i]);
		along |= p->out[i].along;
	}
	parts[p->nout] = (SnStPart){"lengths", SN_I32, 1, &p->n, lengths};
	int code = sn_st_write_parts(path, parts, p->nout + along);
	for (int i = 0; i < p->nout; i++)
		free((void *)parts[i].at);
	free(lengths);
	free(shapes);
	return code;
}

static int show(SnPredict *p)
{
	const char *path = sn_str(p->o, "output", NULL);
	return path && !p->filed ? write_file(p, path) : print(p);
}

/* A file's name says what it gets: lines, as they would be printed, or tensors. A table of another form would be neither. */
static int choose_file(SnPredict *p, const SnPredictWay *way)
{
	static const char *const tables[] = {".tsv", ".csv", ".txt"};
	const char *path = sn_str(p->o, "output", NULL), *dot = path ? strrchr(path, '.') : NULL;
	p->filed = path && sn_is_json_lines(path);
	if (path && way->printed && !p->filed)
		return sn_fail(SN_USAGE, "%s: %s are JSON lines: the name of their file ends in .jsonl", path, way->printed);
	for (size_t i = 0; dot && i < sizeof tables / sizeof *tables; i++)
		if (!strcmp(dot, tables[i]))
			return sn_fail(SN_USAGE, "%s: results are JSON lines (-o FILE.jsonl) or tensors (-o FILE.safetensors)", path);
	return SN_OK;
}

void sn_predict_score(const SnPredict *p, const char *score)
{
	if (sn_given(p->o, "score"))
		printf("%s\n", score);
	else if (!sn_given(p->o, "quiet"))
		sn_note("%s", score);
}

/* --- the command */

/* The tokenizer and x, to which rows are added. */
static int open_texts(SnPredict *p)
{
	const SnOptions *o = p->o;
	int code = sn_data_tokenizer(&p->data, o, p->checkpoint, NULL);
	SnAsked asked = {.o = o, .entry = o->entry, .f = p->run, .use = SN_USE_INFER, .checkpoint = p->checkpoint, .data = &p->data};
	if (!code)
		code = sn_texts_open(&p->x, &asked);
	if (!code && (p->x.label || p->x.value || p->x.tags))
		code = sn_fail(SN_USAGE, "%s has an input beside its texts: give --inputs FILE", sn_text(o->entry->name));
	return code;
}

static int open_model(SnPredict *p)
{
	int code = open_outs(p);
	if (!code)
		code = sn_names_read(&p->names, p->checkpoint);
	if (!code)
		code = sn_session_start(&p->s, p->o->entry, p->o);
	if (!code)
		code = sn_model_load(&p->s, p->o, p->checkpoint);
	return code ? code : sn_prepare(&p->s, p->o);
}

static int predict(SnPredict *p, const SnPredictWay *way)
{
	const char *entry = p->o->entry->name;
	int code = choose_file(p, way);
	if (!code)
		code = open_texts(p);
	if (!code && way->apart && p->x.ids[1])
		code = sn_fail(SN_USAGE, "%s has two texts apart: %s", entry, way->apart);
	if (!code)
		code = way->take(p);
	if (!code)
		code = check_taps(p);
	if (!code)
		code = sn_data_check(p->o, p->x.tokenizer, &p->x.pool, p->source ? p->source : "the text");
	if (!code)
		code = open_model(p);
	if (!code && way->fits && !way->fits(p))
		code = sn_fail(SN_USAGE, "%s: %s", entry, way->wants);
	if (code)
		return code;
	run_all(p);
	code = sn_taps_asked(p->o) ? ((SnTapsWrite *)p->o->entry->taps)(p->o, &p->s, p->run) : SN_OK;
	if (!code)
		code = way->show(p);
	if (!code && p->filed)
		code = sn_file_replace(sn_str(p->o, "output", NULL), p->said.s, p->said.n);
	if (!code && !sn_given(p->o, "quiet"))
		note(p, way->unit);
	return code;
}

static void close_all(SnPredict *p)
{
	for (int i = 0; i < p->nout; i++)
		for (int64_t k = 0; k < p->n && p->out[i].rows; k++)
			free(p->out[i].rows[k]);
	for (int i = 0; i < p->nout; i++)
		free(p->out[i].rows);
	sn_table_close(&p->table);
	sn_texts_close(&p->x);
	sn_names_close(&p->names);
	sn_data_close(&p->data);
	sn_session_close(&p->s);
	free(p->texts);
	free(p->lines);
	free(p->said.s);
}

int sn_predict(SnPredict *p, const SnPredictWay *way)
{
	char *checkpoint = NULL;
	p->run = sn_function(p->o->entry, "run");
	int code = sn_model_find(p->o, &checkpoint);
	p->checkpoint = checkpoint;
	if (!code)
		code = predict(p, way);
	close_all(p);
	free(checkpoint);
	return code;
}

int sn_predict_main(const SnOptions *o)
{
	static const SnPredictWay way = {.take = take, .show = show, .unit = "texts"};
	SnPredict p = {.o = o};
	return sn_predict(&p, &way);
}
