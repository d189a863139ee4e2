/* weights.c: a file's tensors into the parameters. Names may differ by one uniform prefix, which is inferred and said.
 * Every tensor of either side must find its partner, unless an ignore glob covers it, another entry of the program
 * has it, or it only repeats a tied one;
 * what does not fit is reported together, each with the nearest name. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 8, FRESH = 2 };   /* of each kind of trouble; in SnTensor.decay */

typedef struct Match {
	SnSession *s;
	const SnProgram *program;
	const SnSafetensors *file;
	const SnTensor **params;      /* nparam */
	const SnStTensor **found;     /* of each param; NULL: missing */
	bool *used;                   /* of each tensor in the file */
	int nparam, nrenamed;
	bool kept;                    /* some are read where the file has them, while the session lives */
	const char *add, *strip;      /* file's name = add + (parameter's name less strip) */
	SnStr *lacks;                 /* only this is asked: names of parameters without a tensor of their shape */
} Match;

/* What takes weights. s NULL: they are only matched. */
typedef struct Taker { SnSession *s; const SnEntry *e; const SnProgram *program; SnStr *lacks; } Taker;

static const char *file_name(const Match *m, const char *param, char *buf, size_t size)
{
	size_t n = strlen(m->strip);
	if (strncmp(param, m->strip, n))
		return NULL;
	snprintf(buf, size, "%s%s", m->add, param + n);
	return buf;
}

/* Heads have their names with or without the others' prefix. */
static const SnStTensor *partner(const Match *m, const char *param)
{
	char name[512];
	const char *want = file_name(m, param, name, sizeof name);
	const SnStTensor *t = want ? sn_st_find(m->file, want) : NULL;
	return t || (!*m->add && !*m->strip) ? t : sn_st_find(m->file, param);
}

static int count_matches(const Match *m)
{
	int n = 0;
	for (int i = 0; i < m->nparam; i++)
		n += partner(m, m->params[i]->name) != NULL;
	return n;
}

/* `longer` ends with `shorter` after a dot: copies what stands before. */
static bool prefix_of(const char *longer, const char *shorter, char *prefix, size_t size)
{
	size_t a = strlen(longer), b = strlen(shorter);
	if (a <= b + 1 || a - b >= size || longer[a - b - 1] != '.' || strcmp(longer + a - b, shorter))
		return false;
	memcpy(prefix, longer, a - b);
	prefix[a - b] = 0;
	return true;
}

typedef struct Prefix { char add[128], strip[128]; int matches; } Prefix;

static void try_prefix(Match *m, Prefix *best, const char *add, const char *strip)
{
	m->add = add;
	m->strip = strip;
	int n = count_matches(m);
	if (n <= best->matches)
		return;
	best->matches = n;
	snprintf(best->add, sizeof best->add, "%s", add);
	snprintf(best->strip, sizeof best->strip, "%s", strip);
}

/* The first parameter that has a namesake under some prefix decides which prefixes are tried. */
static void infer_prefix(Match *m, Prefix *best)
{
	best->matches = -1;
	try_prefix(m, best, "", "");
	if (best->matches == m->nparam)
		return;
	if (m->program->prefix && *sn_text(m->program->prefix)) {
		try_prefix(m, best, m->program->prefix, "");
		try_prefix(m, best, "", m->program->prefix);
	}
	for (int i = 0; i < m->nparam && best->matches < m->nparam && i < SHOWN; i++)
		for (int k = 0; k < m->file->n; k++) {
			char prefix[128];
			if (prefix_of(m->file->tensors[k].name, m->params[i]->name, prefix, sizeof prefix))
				try_prefix(m, best, prefix, "");
			if (prefix_of(m->params[i]->name, m->file->tensors[k].name, prefix, sizeof prefix))
				try_prefix(m, best, "", prefix);
		}
}

static bool ignored(const Match *m, const char *name)
{
	const char *const *globs = m->program->ignore;
	size_t n = strlen(m->add);
	const char *bare = !strncmp(name, m->add, n) ? name + n : name;
	for (int64_t i = 0; i < m->program->nignore; i++)
		if (sn_glob(globs[i], name) || sn_glob(globs[i], bare))
			return true;
	return false;
}

static bool same_shape(const SnTensor *p, const SnStTensor *t)
{
	return p->rank == t->rank && (!p->rank || !memcmp(p->dims, t->shape, sizeof(int64_t) * (size_t)t->rank));   /* a scalar has no dims */
}

/* Entries need not use all of a model: a head that only training has is in the checkpoint that generation reads; nor is a program built of all
 * entries. */
static bool of_another_entry(const Match *m, const SnStTensor *t)
{
	const SnEntry *entries = m->program->entries;
	const char *const *others = m->program->others;
	for (int64_t i = 0; i < m->program->nother; i++)
		if (partner(m, others[i]) == t)
			return true;
	for (int64_t e = 0; e < m->program->nentry; e++)
		for (int64_t i = 0; i < entries[e].ntensor; i++) {
			const SnTensor *p = (const SnTensor *)entries[e].tensors + i;
			if (p->kind == 0 && same_shape(p, t) && partner(m, p->name) == t)
				return true;
		}
	return false;
}

/* A tensor no parameter wants may repeat one that is tied to it. */
static const SnStTensor *repeated(const Match *m, const SnStTensor *extra)
{
	for (int i = 0; i < m->nparam; i++) {
		const SnStTensor *t = m->found[i];
		if (t && t->kind == extra->kind && t->bytes == extra->bytes && !memcmp(t->at, extra->at, t->bytes))
			return t;
	}
	return NULL;
}

static void shape_text(SnStr *out, int rank, const int64_t *shape)
{
	sn_str_printf(out, "[");
	for (int i = 0; i < rank; i++)
		sn_str_printf(out, "%s%lld", i ? "," : "", (long long)shape[i]);
	sn_str_printf(out, "]");
}

static void misfit(const SnTensor *p, const SnStTensor *t)
{
	const int64_t *want = p->dims;
	SnStr s = {0};
	sn_str_printf(&s, "  %s: the model has ", sn_text(p->name));
	shape_text(&s, (int)p->rank, want);
	sn_str_printf(&s, ", the file %s ", t->dtype);
	shape_text(&s, t->rank, t->shape);
	if (t->rank == 2 && p->rank == 2 && t->shape[0] == want[1] && t->shape[1] == want[0])
		sn_str_printf(&s, ": transposed? (stored=in_out, or its absence, in the model)");
	sn_note("%s", s.s);
	free(s.s);
}

/* Nothing of its layer is in the file, which lacks the whole head: half of one is an error. */
static bool is_fresh(const Match *m, int i)
{
	const char *name = m->params[i]->name, *dot = strrchr(name, '.');
	size_t n = dot ? (size_t)(dot - name) + 1 : 0;
	bool fresh = m->s && m->s->begins && (m->params[i]->decay & FRESH) && !m->found[i];
	for (int k = 0; k < m->nparam && fresh && n; k++)
		fresh = !m->found[k] || strncmp(m->params[k]->name, name, n);
	return fresh;
}

static int report_missing(const Match *m)
{
	const char **names = sn_alloc(sizeof *names * (size_t)(m->file->n + 1));
	int free_names = 0, n = 0;
	for (int k = 0; k < m->file->n; k++)
		if (!m->used[k])
			names[free_names++] = m->file->tensors[k].name;
	for (int i = 0; i < m->nparam; i++) {
		if (m->found[i] || m->params[i]->adapter || is_fresh(m, i) || n++ >= SHOWN)
			continue;
		const char *near = sn_nearest(m->params[i]->name, names, free_names);
		sn_note("  %s: not in the file%s%s", sn_text(m->params[i]->name), near ? "; nearest: " : "", near ? near : "");
	}
	free(names);
	return n;
}

static int report_extra(const Match *m)
{
	const char **names = sn_alloc(sizeof *names * (size_t)(m->nparam + 1));
	int missing = 0, n = 0;
	for (int i = 0; i < m->nparam; i++)
		if (!m->found[i])
			names[missing++] = m->params[i]->name;
	for (int k = 0; k < m->file->n; k++) {
		const SnStTensor *t = &m->file->tensors[k];
		const SnStTensor *tied = m->used[k] || ignored(m, t->name) || of_another_entry(m, t) ? t : repeated(m, t);
		if (tied && tied != t)
			sn_note("%s repeats %s: tied", t->name, tied->name);
		if (tied || n++ >= SHOWN)
			continue;
		const char *near = sn_nearest(t->name, names, missing);
		sn_note("  %s: the model has no such parameter%s%s", t->name, near ? "; nearest: " : "", near ? near : "");
	}
	free(names);
	return n;
}

static int report_misfits(const Match *m)
{
	int n = 0;
	for (int i = 0; i < m->nparam; i++) {
		const SnStTensor *t = m->found[i];
		if (!t || (same_shape(m->params[i], t) && sn_st_is_weight(t)))
			continue;
		if (n++ >= SHOWN)
			continue;
		if (!same_shape(m->params[i], t))
			misfit(m->params[i], t);
		else
			sn_note("  %s: dtype %s is no weight's (floating point is, and whole numbers of 8 and 16 bits)", t->name, t->dtype);
	}
	return n;
}

static void find_partners(Match *m)
{
	for (int i = 0; i < m->nparam; i++) {
		m->found[i] = partner(m, m->params[i]->name);
		if (m->found[i])
			m->used[m->found[i] - m->file->tensors] = true;
	}
}

static void report_match(const Match *m)
{
	char renamed[64] = "", prefix[192] = "";
	if (m->nrenamed)
		snprintf(renamed, sizeof renamed, ", %d of the file's renamed", m->nrenamed);
	if (*m->add)
		snprintf(prefix, sizeof prefix, " (with the prefix \"%s\")", m->add);
	else if (*m->strip)
		snprintf(prefix, sizeof prefix, " (no \"%s\" prefix)", m->strip);
	int matched = 0, heads = 0;
	SnStr names = {0};
	for (int i = 0; i < m->nparam; i++) {
		matched += m->found[i] != NULL;
		if (is_fresh(m, i))
			sn_str_printf(&names, "%s%s", heads++ ? ", " : "", sn_text(m->params[i]->name));
	}
	if (heads)
		sn_note("not in the file, so they begin as random numbers: %s", names.s);
	free(names.s);
	char fresh[64] = "";
	int anew = m->nparam - matched - heads;
	if (anew && m->s && m->s->entry->kind == SN_TRAIN && !m->s->adapter)
		snprintf(fresh, sizeof fresh, ", %d of adapters begin anew", anew);
	sn_note("%d/%d tensors matched%s%s%s", matched, matched, prefix, renamed, fresh);
}

static float *place(const Match *m, int param)
{
	return sn_param(m->s, m->params[param]);
}

/* External ones that the file has as kernels read them stay there. */
static bool stays(const Match *m, int i)
{
	const SnStTensor *t = m->found[i];
	return m->params[i]->external && t && t->kind == SN_ST_F32 && (uintptr_t)t->at % sizeof(float) == 0;
}

static void leave_in_file(Match *m)
{
	bool room = false, kept = false;
	for (int i = 0; i < m->nparam; i++) {
		bool in_file = stays(m, i);
		if (in_file)
			sn_external_at(m->s, m->params[i], m->found[i]->at);
		kept |= in_file;
		room |= m->params[i]->external && !in_file;
	}
	if (room)
		sn_external_room(m->s);
	m->kept = kept;
}

static int64_t to_read(const Match *m, int i)
{
	return m->found[i] && !sn_is_elsewhere(m->s, m->params[i]) ? m->found[i]->elems : 0;
}

/* All elements in a row, cut in equal shares: reading a mapped file takes its page faults, and converting, to all threads. */
static void read_share(void *ctx, int tid, int n)
{
	const Match *m = ctx;
	int64_t all = 0, at = 0;
	for (int i = 0; i < m->nparam; i++)
		all += to_read(m, i);
	int64_t from = all / n * tid, to = tid == n - 1 ? all : all / n * (tid + 1);
	for (int i = 0; i < m->nparam && at < to; i++) {
		int64_t elems = to_read(m, i);
		int64_t first = from > at ? from - at : 0, last = to - at < elems ? to - at : elems;
		if (first < last)
			sn_st_floats(m->found[i], first, last - first, place(m, i) + first);
		at += elems;
	}
}

static void list_missing(const Match *m)
{
	int n = 0;
	for (int i = 0; i < m->nparam; i++)
		if ((!m->found[i] || !same_shape(m->params[i], m->found[i])) && !m->params[i]->adapter && n++ < SHOWN / 2)
			sn_str_printf(m->lacks, "%s%s", n > 1 ? ", " : "", sn_text(m->params[i]->name));
	if (n > SHOWN / 2)
		sn_str_printf(m->lacks, " and %d more", n - SHOWN / 2);
}

static int match(Match *m)
{
	Prefix prefix;
	infer_prefix(m, &prefix);
	m->add = prefix.add;
	m->strip = prefix.strip;
	find_partners(m);
	if (m->lacks) {
		list_missing(m);
		return SN_OK;
	}
	int misfits = report_misfits(m), missing = report_missing(m), extra = report_extra(m);
	if (!misfits && !missing && !extra) {
		report_match(m);
		return SN_OK;
	}
	return sn_fail(SN_DATA, "%s: %d/%d tensors matched; %d missing, %d not known, %d of another shape or type", m->file->path,
	               m->nparam - missing - misfits, m->nparam, missing, extra, misfits);
}

/* Files by what the file system says of them, and by their headers. */
static uint64_t identity(const SnSafetensors *f)
{
	uint64_t sum = 1;
	for (int i = 0; i < f->nshard; i++) {
		const SnFile *file = &f->shards[i].file;
		uint64_t parts[] = {sum, file->id, sn_sum(file->at, f->shards[i].header_bytes)};
		sum = sn_sum(parts, sizeof parts);
	}
	return sum;
}

static void load(Match *m)
{
	leave_in_file(m);
	sn_pool_run(m->s->pool, read_share, m);
	for (int i = 0; i < m->nparam; i++)
		if (!m->found[i])
			sn_init_tensor(m->params[i], place(m, i), m->params[i]->adapter ? 0 : m->s->seed);
	m->s->weights = identity(m->file);
	for (int i = 0; i < m->file->nshard && m->kept; i++)
		sn_external_keep(m->s, &m->file->shards[i].file);
	sn_profile_stage(m->s->profile, "weights");
}

char *sn_weights_file(const char *dir)
{
	static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char *path = sn_format("%s/%s", dir, names[i]);
		if (sn_exists(path))
			return path;
		free(path);
	}
	return NULL;
}

/* A file that a checkpoint was saved with must still be that file. One cut into shards is never a checkpoint's. */
static int open_verified(SnSafetensors *f, const char *path, bool required)
{
	int code = sn_st_open(f, path);
	if (!code && f->nshard == 1)
		code = sn_checkpoint_verify(path, &f->shards[0].file, required);
	if (code)
		sn_st_close(f);
	return code;
}

/* Gives the file's tensors the model's names; names[i]: what is to be freed, or NULL. SN_DATA where two become one. */
static int rename_all(SnSafetensors *f, const SnProgram *p, char **names, int *count)
{
	for (int i = 0; i < f->n; i++) {
		const char *old = f->tensors[i].name;
		names[i] = sn_renamed(p, old);
		if (!names[i])
			continue;
		if (sn_st_find(f, names[i]))
			return sn_fail(SN_DATA, "%s: %s becomes %s by the model's rename, and the file has that already", f->path, old, names[i]);
		f->tensors[i].name = names[i];
		++*count;
	}
	return SN_OK;
}

static int take_renamed(const Taker *by, SnSafetensors *file, int nrenamed)
{
	const SnEntry *e = by->e;
	Match m = {.s = by->s, .program = by->program, .file = file, .nrenamed = nrenamed, .lacks = by->lacks};
	const SnTensor *t = e->tensors;
	size_t n = (size_t)e->ntensor + 1;
	m.params = sn_alloc(sizeof *m.params * n);
	m.found = sn_alloc(sizeof *m.found * n);
	m.used = sn_alloc(sizeof *m.used * (size_t)(file->n + 1));
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0)
			m.params[m.nparam++] = &t[i];
	int code = match(&m);
	if (!code && m.s)
		load(&m);
	free(m.params);
	free(m.found);
	free(m.used);
	return code;
}

/* Of what an adapter is trained upon, checkpoints keep the name alone: the file must stay what it is. */
static int remember_base(SnSession *s, const SnSafetensors *f, uint64_t wanted)
{
	if (!wanted && !sn_adapter_trains(s->entry))
		return SN_OK;
	free(s->base);
	s->base = realpath(f->path, NULL);
	s->base_sum = 0;
	for (int i = 0; i < f->nshard; i++)
		s->base_sum = s->base_sum * 31 + sn_sum(f->shards[i].file.at, f->shards[i].file.n);
	return !wanted || wanted == s->base_sum ? SN_OK : sn_fail(SN_DATA, "%s: not the weights that the adapter was trained upon (its checksum is another)", f->path);
}

static int take_file(const Taker *by, const char *path, uint64_t wanted)
{
	SnSafetensors file;
	int code = open_verified(&file, path, false), count = 0;
	if (code)
		return code;
	char **names = sn_alloc(sizeof *names * (size_t)(file.n + 1));
	if (by->s)
		code = remember_base(by->s, &file, wanted);
	if (!code)
		code = rename_all(&file, by->program, names, &count);
	if (!code)
		code = take_renamed(by, &file, count);
	for (int i = 0; i < file.n; i++)
		free(names[i]);
	free(names);
	sn_st_close(&file);
	return code;
}

/* The file in the directory, or the one that its adapter was trained upon. */
static int take_dir(const Taker *by, const char *dir)
{
	const SnSession *s = by->s;
	uint64_t sum = 0;
	char *file = sn_weights_file(dir);
	if (!file && sn_adapter_is(dir)) {
		file = sn_checkpoint_base(dir, &sum);
		if (s && s->base) {
			free(file);
			file = sn_format("%s", s->base);
		}
		if (!file)
			return SN_DATA;
	}
	int code = file ? take_file(by, file, sum) : sn_fail(SN_DATA, "%s: no model.safetensors in it", dir);
	free(file);
	return code;
}

static int take(const Taker *by, const char *path)
{
	return sn_is_dir(path) ? take_dir(by, path) : take_file(by, path, 0);
}

int sn_weights_load(SnSession *s, const SnProgram *program, const char *path)
{
	bool adapts = sn_is_dir(path) && sn_adapter_is(path);
	if (adapts && s->adapter)
		return sn_fail(SN_USAGE, "%s has an adapter of its own: --adapter goes with the model that both were trained upon", path);
	if (adapts)
		s->adapter = path;
	int code = take(&(Taker){s, s->entry, program, NULL}, path);
	return code || !s->adapter ? code : sn_adapter_load(s, program, s->adapter);
}

int sn_weights_check(const SnEntry *e, const SnProgram *program, const char *path)
{
	return take(&(Taker){NULL, e, program, NULL}, path);
}

int sn_weights_lack(const SnEntry *e, const SnProgram *program, const char *path, SnStr *names)
{
	return take(&(Taker){NULL, e, program, names}, path);
}

static bool is_moment(const SnTensor *t)
{
	return t->kind == 1 && (!strncmp(t->name, "m.", 2) || !strncmp(t->name, "v.", 2) || !strncmp(t->name, "ema.", 4));
}

int sn_states_load(SnSession *s, const char *path)
{
	SnSafetensors file;
	int code = open_verified(&file, path, true);
	if (code)
		return code;
	const SnTensor *t = s->entry->tensors;
	int wanted = 0;
	for (int64_t i = 0; i < s->entry->ntensor && !code; i++) {
		if (!is_moment(&t[i]))
			continue;
		const SnStTensor *f = sn_st_find(&file, t[i].name);
		wanted++;
		if (!f || f->kind != SN_ST_F32 || !same_shape(&t[i], f))
			code = sn_fail(SN_DATA, "%s: %s is %s", path, sn_text(t[i].name), f ? "of another shape or type" : "missing");
		else
			sn_st_read(f, (float *)(s->arena + t[i].offset));
	}
	if (!code && wanted != file.n)
		code = sn_fail(SN_DATA, "%s: %d tensors, the optimiser has %d", path, file.n, wanted);
	sn_st_close(&file);
	return code;
}
