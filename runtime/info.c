/* info.c: what the program is: its configuration, its weights, what each entry costs in memory, and what was linked in. */
#include "runtime/sn.h"

#include <string.h>

static const char *const kind_name[] = {[SN_TRAIN] = "train", [SN_EVAL] = "eval", [SN_GENERATE] = "generate", [SN_INFER] = "infer", [SN_EXPLAIN] = "explain"};

static void libraries(FILE *out)
{
	char pcre[64] = "";
	sn_pattern_version(pcre);
	fprintf(out, "libraries: jansson %s, PCRE2 %.*s, libc, libm, pthread\n", jansson_version_str(), (int)strcspn(pcre, " "), pcre);
}

void sn_version(FILE *out, const SnProgram *p)
{
	fprintf(out, "%s, built by sinter %s for %s\n", sn_text(p->name), p->version ? sn_text(p->version) : "?", p->target ? sn_text(p->target) : "?");
	libraries(out);
}

/* 124439808 -> "124,439,808" */
static const char *grouped(char out[32], int64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%lld", (long long)n), at = 0;
	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = 0;
	return out;
}

static int64_t parameters(const SnEntry *e, int64_t *tensors)
{
	const SnTensor *t = e->tensors;
	int64_t n = 0;
	*tensors = 0;
	for (int64_t i = 0; i < e->ntensor; i++)
		if (t[i].kind == 0) {
			n += sn_tensor_elems(&t[i]);
			++*tensors;
		}
	return n;
}

/* Entries use different parts of the model: the one with the most parameters speaks for it. */
static const SnEntry *fullest(const SnProgram *p)
{
	const SnEntry *e = p->entries, *best = NULL;
	int64_t most = -1, tensors;
	for (int64_t i = 0; i < p->nentry; i++)
		if (parameters(&e[i], &tensors) > most) {
			most = parameters(&e[i], &tensors);
			best = &e[i];
		}
	return best;
}

static void show_config(const SnProgram *p)
{
	const SnSetting *s = p->config;
	for (int64_t i = 0; i < p->nconfig; i++)
		sn_print_setting(stdout, &s[i]);
}

static void show_kept(const SnEntry *e)
{
	const SnSetting *s = sn_setting(e->settings, e->nsetting, "quantize");
	if (s && s->str)
		printf("  weights: %s in contractions, in blocks made when the program starts\n", sn_text(s->str));
	s = sn_setting(e->settings, e->nsetting, "cache");
	if (s && s->str)
		printf("  cache: %s keys and values of earlier tokens\n", sn_text(s->str));
}

/* What contractions read; of bf16, or of f32 in its place, why. */
static void show_precision(const SnEntry *e)
{
	const SnSetting *s = sn_setting(e->settings, e->nsetting, "precision"), *by = sn_setting(e->settings, e->nsetting, "precision.by");
	if (!s || !s->str)
		return;
	if (strcmp(sn_text(s->str), "bf16") == 0)
		printf("  precision: bf16 in contractions, summed in f32 (by %s); all else, and what is saved, is f32\n", by ? sn_text(by->str) : "conversion");
	else if (by)
		printf("  precision: f32 in place of bf16 (by %s)\n", sn_text(by->str));
	else
		printf("  precision: %s\n", sn_text(s->str));
}

static void show_entry(const SnEntry *e, int threads)
{
	char total[32], arena[32], scratch[32];
	const SnSym *syms = e->syms;
	const SnFunction *f = e->functions;
	double bytes = (double)e->arena_bytes + (double)e->scratch_bytes * threads;
	printf("%s (%s): %s of memory: %s and %s for each of %d threads\n", sn_text(e->name), kind_name[e->kind], sn_bytes_text(total, bytes),
	       sn_bytes_text(arena, (double)e->arena_bytes), sn_bytes_text(scratch, (double)e->scratch_bytes), threads);
	show_kept(e);
	show_precision(e);
	printf("  dimensions:");
	for (int64_t i = 0; i < e->nsym; i++)
		printf(" %s <= %lld", sn_text(syms[i].name), (long long)syms[i].bound);
	printf("\n  functions:");
	for (int64_t i = 0; i < e->nfunction; i++)
		printf("%s %s (%lld kernel launches)", i ? "," : "", sn_text(f[i].name), (long long)f[i].nlaunch);
	printf("\n");
}

static void show_tensors(const SnEntry *e)
{
	const SnTensor *t = e->tensors;
	for (int64_t i = 0; i < e->ntensor; i++) {
		const int64_t *dims = t[i].dims;
		if (t[i].kind != 0)
			continue;
		printf("  %s [", sn_text(t[i].name));
		for (int64_t k = 0; k < t[i].rank; k++)
			printf("%s%lld", k ? "," : "", (long long)dims[k]);
		printf("]%s%s\n", t[i].decay & 1 ? " decay" : "", t[i].frozen ? " frozen" : "");
	}
}

int sn_info_main(const SnOptions *o)
{
	const SnProgram *p = o->program;
	const SnEntry *e = p->entries, *full = fullest(p);
	char count[32];
	int64_t tensors = 0, n = full ? parameters(full, &tensors) : 0;
	if (sn_given(o, "json"))
		return sn_info_json(stdout, p, full, (int)sn_num(o, "threads", sn_cores()), sn_given(o, "tensors"));
	sn_version(stdout, p);
	if (p->doc && *sn_text(p->doc))
		printf("\n%s\n", sn_text(p->doc));
	printf("\nparameters: %s in %lld tensors%s\nconfiguration:\n", grouped(count, n), (long long)tensors, sn_exists(SN_INSIDE) ? ", which are inside" : "");
	show_config(p);
	for (int64_t i = 0; i < p->nentry; i++)
		show_entry(&e[i], (int)sn_num(o, "threads", sn_cores()));
	if (sn_given(o, "tensors") && full)
		show_tensors(full);
	return SN_OK;
}
