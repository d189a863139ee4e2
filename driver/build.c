/* build.c: `sinter build FILE`: the whole road, or up to the stage that --emit names. */
#include "driver/driver.h"
#include "backend/backend.h"
#include "frontend/ast.h"
#include "frontend/frontend.h"
#include "passes/passes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef enum Stage { STAGE_AST, STAGE_GRAPH, STAGE_PLAN, STAGE_LLVM, STAGE_ASM, STAGE_OBJ, STAGE_EXE, STAGE_COUNT } Stage;
static const char *const stage_name[STAGE_COUNT] = {
	[STAGE_AST] = "ast", [STAGE_GRAPH] = "graph", [STAGE_PLAN] = "plan", [STAGE_LLVM] = "llvm",
	[STAGE_ASM] = "asm", [STAGE_OBJ] = "obj", [STAGE_EXE] = "exe",
};
static const char *const stage_suffix[STAGE_COUNT] = {
	[STAGE_AST] = NULL, [STAGE_GRAPH] = NULL, [STAGE_PLAN] = NULL, [STAGE_LLVM] = ".ll",
	[STAGE_ASM] = ".s", [STAGE_OBJ] = ".o", [STAGE_EXE] = "",
};
static const Emit stage_emit[STAGE_COUNT] = {
	[STAGE_PLAN] = EMIT_PLAN, [STAGE_LLVM] = EMIT_LLVM, [STAGE_ASM] = EMIT_ASM, [STAGE_OBJ] = EMIT_OBJ, [STAGE_EXE] = EMIT_EXE,
};

typedef struct Clock { bool on; double last; } Clock;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void lap(Clock *c, const char *what)
{
	double t = now();
	struct rusage r;
	if (c->on && getrusage(RUSAGE_SELF, &r) == 0)
		fprintf(stderr, "%-10s %7.1f ms  peak %6.1f MB\n", what, 1e3 * (t - c->last), (double)r.ru_maxrss / 1e3);
	c->last = t;
}

static Stage stage_of(const char *name)
{
	for (Stage s = 0; name && s < STAGE_COUNT; s++)
		if (strcmp(stage_name[s], name) == 0)
			return s;
	if (name)
		bug("--emit=%s is in flags.def and unknown here", name);
	return STAGE_EXE;
}

/* "models/gpt2.sinter" -> "gpt2" and the stage's suffix; NULL for stages that print. */
static const char *default_output(Arena *a, const char *file, Stage stage)
{
	if (!stage_suffix[stage])
		return NULL;
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strrchr(base, '.');
	int len = dot && dot != base ? (int)(dot - base) : (int)strlen(base);
	const char *ending = !dot && stage == STAGE_EXE ? ".out" : stage_suffix[stage];
	return arena_printf(a, "%.*s%s", len, base, ending);
}

/* The linker is told names: one that looks like its options gets a directory before it. */
static const char *as_path(Arena *a, const char *out)
{
	return out && (out[0] == '-' || out[0] == '@') ? arena_printf(a, "./%s", out) : out;
}

/* What would be lost or can't be written is refused before any work. */
static bool may_write(const char *out, const char *file)
{
	struct stat o, f;
	const char *why = NULL;
	if (!out || (*out && stat(out, &o) != 0))
		return true;
	if (!*out)
		why = "a file's name is wanted";
	else if (S_ISDIR(o.st_mode))
		why = "it is a directory";
	else if (stat(file, &f) == 0 && o.st_dev == f.st_dev && o.st_ino == f.st_ino)
		why = "it is the model file";
	if (why)
		diag_error((Loc){0}, NULL, "can't write the output to \"%s\": %s", out, why);
	return !why;
}

static bool put(const char *path, const Str *s)
{
	bool ok = path ? file_write_atomic(path, s->at, s->len) : str_write(s, stdout);
	if (!ok)
		diag_error((Loc){0}, NULL, "can't write %s: %s", path ? path : "the output", strerror(errno));
	return ok;
}

static bool emit_ast(Arena *a, const char *file, const char *out)
{
	File *f = parse_file(a, file);
	if (!f || diag_errors())
		return false;
	Str s = {0};
	ast_print(&s, f);
	bool ok = put(out, &s);
	str_free(&s);
	return ok;
}

static bool emit_graph(const Module *m, const char *out)
{
	Str s = {0};
	for (int i = 0; i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++)
			graph_print(&s, m->entries.at[i]->graphs.at[k]);
	bool ok = put(out, &s);
	str_free(&s);
	return ok;
}

static PassOptions pass_options(const Flags *f)
{
	return (PassOptions){
		.print_after_all = flag(f, "print-after-all") != NULL, .verify_each = VERIFY_ALWAYS || flag(f, "verify-each") != NULL,
		.stats = flag(f, "stats") != NULL, .without = flag(f, "without"), .out = stderr,
	};
}

/* Runs the whole road, and writes the graphs that `--after` names. */
static bool emit_graph_after(Module *m, const Flags *f, const char *out)
{
	const char *step = flag(f, "after");
	Str s = {0};
	PassOptions o = pass_options(f);
	o.print_after = (const char *const[]){step, NULL};
	o.graphs = open_memstream(&s.at, &s.len);
	if (!o.graphs)
		fatal("no memory for the graphs");
	bool ok = passes_module(m, &o) && diag_errors() == 0;
	if (fclose(o.graphs) != 0)
		fatal("no memory for the graphs");
	if (ok && s.len == 0) {
		diag_error((Loc){0}, NULL, "no entry that is compiled here takes the step %s", step);
		ok = false;
	}
	ok = ok && put(out, &s);
	free(s.at);
	return ok;
}

static bool look_bound(void *ctx, const char *sym, int64_t *value)
{
	const Graph *g = ctx;
	for (int i = 0; i < g->syms.len; i++)
		if (strcmp(g->syms.at[i].name, sym) == 0) {
			*value = g->syms.at[i].bound;
			return true;
		}
	return false;
}

/* Bytes are counted in 64 bits from here on; no machine has an address for more than 2^47 of them. */
static bool addressable(Graph *g, const Value *v)
{
	double elements = 1;
	for (int i = 0; i < v->type.rank; i++) {
		int64_t n;
		elements *= dim_eval(v->type.dim[i], look_bound, g, &n) ? (double)n : 1;
	}
	if (elements < 0x1p45)
		return true;
	Str type = {0};
	type_print(&type, v->type);
	diag_error((Loc){0}, NULL, "%s:%d: %s has %.3g elements at the bounds of its dims: more than any memory",
	           v->loc.file ? v->loc.file : g->name, v->loc.line, type.at, elements);
	str_free(&type);
	diag_help("lower a bound: --set T=1024, or `batch .., micro=4, T=1024` in the entry");
	return false;
}

static bool compilable(const Module *m)
{
	if (m->entries.len == 0) {
		diag_error((Loc){0}, NULL, "%s has no train or generate entry: there is nothing to compile", m->file ? m->file : m->name);
		diag_help("`sinter check` checks a file of blocks");
	}
	for (int i = 0; i < m->entries.len; i++)
		for (int k = 0; k < m->entries.at[i]->graphs.len; k++) {
			Graph *g = m->entries.at[i]->graphs.at[k];
			for (int j = 0; j < g->vals.len; j++)
				if (!addressable(g, g->vals.at[j]))
					return false;
		}
	return diag_errors() == 0;
}

/* A train entry's validation is a command, too, which a user might take for an entry. */
static void tell_of_eval(const Module *m, const char *flag)
{
	bool train = false, eval = false;
	for (int i = 0; i < m->entries.len; i++) {
		train |= m->entries.at[i]->kind == ENTRY_TRAIN;
		eval |= m->entries.at[i]->kind == ENTRY_EVAL;
	}
	if (flag && train && !eval)
		diag_note((Loc){0}, "the file has no eval entry, which would have weights in %s: the program's `eval` is the train entry's, in f32", flag);
}

/* What the flag says for every entry that trains nothing, else what the file says for each. */
static bool quantize(Module *m, const char *flag)
{
	bool some = !flag;
	tell_of_eval(m, flag);
	for (int i = 0; i < m->entries.len; i++) {
		Entry *e = m->entries.at[i];
		const Setting *s = entry_setting(e, "quantize");
		const char *format = flag ? flag : s ? s->str : NULL;
		if (e->kind == ENTRY_TRAIN || e->kind == ENTRY_EXPLAIN || !format)
			continue;
		entry_quantize(m, e, quant_find(format));
		some = true;
	}
	if (!some) {
		diag_error((Loc){0}, NULL, "--quantize %s: there are only train entries, which keep their weights in f32", flag);
		diag_help("blocks are for generate, eval and infer entries: --entry names those to compile");
	}
	return some;
}

/* bf16 is for speed: what a file asks for is done where the target gains by it, as is what stands beside blocks of weights; what --precision asks
 * for everywhere. `info` says what came of it. */
static void settle_precision(Module *m, const char *flag, const Target *t)
{
	bool faster;
	const char *by = target_bf16(t, &faster);
	if (flag)
		module_set_precision(m, flag);
	for (int i = 0; i < m->entries.len; i++) {
		Entry *e = m->entries.at[i];
		if (!flag && faster && entry_setting(e, "quantize"))
			entry_set(m, e, "precision", "bf16");
		Setting *s = (Setting *)entry_setting(e, "precision");
		if (!s || strcmp(s->str, "bf16") != 0)
			continue;
		if (!faster && !flag) {
			diag_warning((Loc){0}, "W0501", "target %s multiplies bf16 by %s, more slowly than f32: `%s` runs in f32", t->name, by, e->name);
			s->str = intern("f32");
		}
		const char *text = internf("%s, %s than f32", by, faster ? "faster" : "slower");
		vec_push(m->arena, &e->settings, ((Setting){ .key = intern("precision.by"), .str = text }));
	}
}

/* What programs for the target are linked with; NULL after diag_error. */
static const char *runtime_of(Arena *a, const Target *t)
{
	if (!target_is_foreign(t))
		return library_path(a, "libsinter_rt.a");
	const char *arch = arch_name(t->arch), *path = library_find(a, arena_printf(a, "libsinter_rt-%s.a", arch));
	if (!path) {
		diag_error((Loc){0}, NULL, "there is no runtime for %s here: libsinter_rt-%s.a", t->name, arch);
		diag_help("`make %s` in Sinter's sources builds it with Debian's cross compiler; or stop before linking with --emit=obj", arch);
	}
	return path;
}

/* Made beside `out` and renamed when the weights are inside: never an executable with half of them. */
static int build_embedded(Arena *a, Module *m, BackendOptions *bo, const char *weights)
{
	const char *out = bo->out;
	struct stat st;
	if (stat(out, &st) == 0 && !S_ISREG(st.st_mode)) {
		diag_error((Loc){0}, NULL, "can't write the output to \"%s\": --embed wants a regular file", out);
		return EXIT_FAIL;
	}
	bo->out = arena_printf(a, "%s.tmp-%d", out, (int)getpid());
	int code = backend_build(m, bo) && diag_errors() == 0 ? embed_weights(a, bo->out, weights) : EXIT_FAIL;
	if (!code && rename(bo->out, out) < 0) {
		diag_error((Loc){0}, NULL, "can't write the output to \"%s\": %s", out, strerror(errno));
		code = EXIT_FAIL;
	}
	if (code)
		unlink(bo->out);
	return code;
}

static int lower(Arena *a, Module *m, const Flags *f, Stage stage, const char *out, const Target *target, Clock *clock)
{
	const char *runtime = stage == STAGE_EXE ? runtime_of(a, target) : NULL;
	if (stage == STAGE_EXE && !runtime)
		return EXIT_FAIL;
	int code = flag(f, "weights") ? embed_check(a, m, flag(f, "weights")) : EXIT_OK;
	if (code)
		return code;
	PassOptions po = pass_options(f);
	double counting = 0;
	po.stats_seconds = &counting;
	if (!passes_module(m, &po) || diag_errors())
		return EXIT_FAIL;
	clock->last += counting;   /* the passes' own time */
	lap(clock, "passes");
	BackendOptions bo = {
		.target = target, .emit = stage_emit[stage], .out = out, .static_link = flag(f, "static") != NULL,
		.debug = flag(f, "debug") != NULL,
		.runtime_lib = runtime,
	};
	if (flag(f, "embed"))
		code = build_embedded(a, m, &bo, flag(f, "weights"));
	else
		code = backend_build(m, &bo) && diag_errors() == 0 ? EXIT_OK : EXIT_FAIL;
	lap(clock, "backend");
	return code;
}

static int compile(Arena *a, const char *file, Stage stage, const Flags *f)
{
	Clock clock = {flag(f, "stats") != NULL, now()};
	const char *out = flag(f, "output");
	if (!out)
		out = default_output(a, file, stage);
	out = as_path(a, out);
	if (!may_write(out, file))
		return EXIT_FAIL;
	if (stage == STAGE_AST)
		return emit_ast(a, file, out) ? EXIT_OK : EXIT_FAIL;
	FrontendOptions o = options_of(a, f);
	o.nentries = flag(f, "entry") ? text_split(a, flag(f, "entry"), ",", &o.entries) : 0;
	o.ntaps = flag_all(a, f, "tap", &o.taps);
	o.nwith = flag(f, "with") ? text_split(a, flag(f, "with"), ",", &o.with) : 0;
	Module *m = frontend_build(a, file, &o);
	if (!m || diag_errors())
		return EXIT_FAIL;
	if (!compilable(m) || !taps_found(a, m, file, &o))
		return EXIT_FAIL;
	lap(&clock, "frontend");
	if (stage == STAGE_GRAPH && !flag(f, "after"))
		return emit_graph(m, out) ? EXIT_OK : EXIT_FAIL;
	Target target;
	if (!target_find(flag(f, "target") ? flag(f, "target") : "native", &target))
		return EXIT_FAIL;
	if (!quantize(m, flag(f, "quantize")))
		return EXIT_FAIL;
	settle_precision(m, flag(f, "precision"), &target);
	if (stage == STAGE_GRAPH)
		return emit_graph_after(m, f, out) ? EXIT_OK : EXIT_FAIL;
	return lower(a, m, f, stage, out, &target, &clock);
}

/* An empty list is not "all of them": most likely a shell variable that is not set. */
static bool names_entries(const char *flag, const char *list)
{
	bool empty = false;
	for (const char *p = list; p && !empty; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		empty = !*p || *p == ',';
	if (empty) {
		diag_error((Loc){0}, NULL, "--%s \"%s\": an entry's name is empty", flag, list);
		diag_help("--entry train,generate; without the flag all entries are compiled");
	}
	return !empty;
}

/* Every name of --without is a pass's or a part's: a step of the road can't be left out. */
static bool names_passes(Arena *a, const char *list)
{
	const char *const *names;
	int n = list ? text_split(a, list, ",", &names) : 0;
	for (int i = 0; i < n; i++) {
		const PassInfo *p = pass_find(names[i]);
		if (!p)
			return false;
		if (p->run || p->part_of)
			continue;
		diag_error((Loc){0}, "E1003", "%s is a step that makes a function of its entry: it can't be left out", p->name);
		return false;
	}
	return true;
}

int run_build(Arena *a, const Flags *f)
{
	Stage stage = stage_of(flag(f, "emit"));
	if (!names_passes(a, flag(f, "without")))
		return EXIT_USAGE;
	if (!names_entries("entry", flag(f, "entry")) || !names_entries("with", flag(f, "with")))
		return EXIT_USAGE;
	const char *step = flag(f, "after");
	if (step && stage != STAGE_GRAPH)
		diag_error((Loc){0}, NULL, "--after=%s goes with --emit=graph", step);
	if (step && (stage != STAGE_GRAPH || !pass_find(step)))
		return EXIT_USAGE;
	if (flag(f, "embed") && (stage != STAGE_EXE || !flag(f, "weights"))) {
		diag_error((Loc){0}, NULL, "--embed goes with --weights DIR, and with an executable");
		return EXIT_USAGE;
	}
	return compile(a, f->rest.at[0], stage, f);
}
