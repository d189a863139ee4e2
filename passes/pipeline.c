/* pipeline.c: the table of passes, the runner, and the road of a module. The only place that knows the order.
 *
 *   <e>.forward --copy-> raise simplify cse dce -> flash autodiff -> .. -----+
 *        |                (train: <e>.step)       (expands)                  |
 *        +-----copy-> raise incremental -+  (generate: step, verify, encode) |
 *        +-----copy-------------------+  |  (eval: <e>.eval, infer: <e>.run) |
 *        +-----copy-> explain_* ------+--+-+ (explain: run; lens; attribute<i>, with autodiff to an input)
 *   <e>.eval (frontend) -> raise -----+--+--> flash expand --> simplify .. --+
 *   optimizer_update: <e>.update ------------------------------------------->+
 *                                                                            v
 *     kernels <-- schedule <-- fuse <-- [hoist: <e>.prepare] <-- layout <-- [precision cse: bf16] <-- [merge] <-- chunk
 *                                       (generate, eval, infer: hoist, merge)
 */
#include "passes/passes.h"

#include <time.h>

/* Twice: some of simplify's rules see that two values are equal only when they are one. */
#define CLEAN "simplify,cse,simplify,cse,dce"
/* Before simplify moves slices into what is written out, and after it has brought that into the usual form. */
#define RAISED "raise_attention," CLEAN ",raise_attention"
#define KERNELS "fuse,schedule"
/* Views below which different contractions rounded the same are one again. */
#define ROUNDED "precision,cse"

const PassInfo pass_info[] = {
#define PASS(name, needs, breaks, numerics, doc) { #name, needs, breaks, doc, numerics, name, NULL, 0 },
#define PART(name, pass, numerics, doc) { #name, "", "", doc, numerics, NULL, #pass, PART_##name },
#define STEP(name, numerics, doc) { #name, "", "", doc, numerics, NULL, NULL, 0 },
#include "passes/passes.def"
};
const int pass_count = COUNT(pass_info);

const PassInfo *pass_find(const char *name)
{
	const char *names[COUNT(pass_info)];
	for (int i = 0; i < pass_count; i++) {
		names[i] = pass_info[i].name;
		if (strcmp(names[i], name) == 0)
			return &pass_info[i];
	}
	diag_error((Loc){ 0 }, "E1001", "there is no pass named `%s`", name);
	const char *near = diag_nearest(name, names, pass_count);
	if (near)
		diag_help("did you mean `%s`?", near);
	return NULL;
}

/* Properties that passes need. They are read off the graph, so that a graph from a file has them too. */
static bool is_expanded(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++)
		if (op_info[g->vals.at[i]->op].lower == LOWER_EXPAND)
			return false;
	return true;
}

static bool is_laid_out(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_CONTRACT && !contract_laid_out(v))
			return false;
	}
	return is_expanded(g);
}

static bool is_fused(const Graph *g)
{
	for (int i = 0; i < g->vals.len; i++) {
		Lower l = op_info[g->vals.at[i]->op].lower;
		bool own = l == LOWER_FLASH || l == LOWER_CONTRACT || l == LOWER_PACK || l == LOWER_SCATTER || l == LOWER_NONZERO || l == LOWER_REDUCE;
		if (own && !g->vals.at[i]->kernel)
			return false;
	}
	return is_laid_out(g);
}

static const struct Property {
	const char *name, *by;
	bool (*holds)(const Graph *);
} properties[] = {
	{ "expanded", "expand", is_expanded },
	{ "layout", "layout", is_laid_out },
	{ "fused", "fuse", is_fused },
};

static const struct Property *property_find(const char *name)
{
	for (int i = 0; i < COUNT(properties); i++)
		if (properties[i].name == name || strcmp(properties[i].name, name) == 0)
			return &properties[i];
	bug("passes.def: no property %s", name);
}

/* The next word of *list, up to a separator or blank; NULL at the end. */
static const char *next_word(const char **list)
{
	*list += strspn(*list, ", ");
	size_t n = strcspn(*list, ", ");
	const char *word = n ? intern_n(*list, n) : NULL;
	*list += n;
	return word;
}

static bool needs_met(const Graph *g, const PassInfo *p)
{
	const char *list = p->needs, *word;
	while ((word = next_word(&list))) {
		const struct Property *q = property_find(word);
		if (!q->holds(g)) {
			diag_error((Loc){ 0 }, "E1002", "%s is not ready for pass %s", g->name, p->name);
			diag_help("run `%s` before it", q->by);
			return false;
		}
	}
	return true;
}

static bool wants_print(const PassOptions *o, const char *pass)
{
	for (int i = 0; o->print_after && o->print_after[i]; i++)
		if (strcmp(o->print_after[i], pass) == 0)
			return true;
	return false;
}

static bool left_out(const PassOptions *o, const char *pass)
{
	const char *list = o && o->without ? o->without : "", *word;
	while ((word = next_word(&list)))
		if (strcmp(word, pass) == 0)
			return true;
	return false;
}

bool part_runs(const Graph *g, PassPart part)
{
	return !(g->without >> part & 1);
}

/* Of the pass's parts those left out, as Graph.without has them. */
static uint32_t parts_left_out(const PassOptions *o, const PassInfo *pass)
{
	uint32_t parts = 0;
	for (const PassInfo *p = pass_info; p < pass_info + pass_count; p++)
		if (p->part_of && strcmp(p->part_of, pass->name) == 0 && left_out(o, p->name))
			parts |= 1u << p->part;
	return parts;
}

static bool look_bound(void *ctx, const char *sym, int64_t *bound)
{
	return graph_bound(ctx, dim_sym(sym), bound);
}

static double bytes_of(Graph *g, const ValueList *list)
{
	double sum = 0;
	for (int i = 0; i < list->len; i++) {
		Type t = list->at[i]->type;
		int64_t n;
		if (graph_bound(g, type_elems(t), &n))
			sum += (double)n * dtype_size[t.dt];
	}
	return sum;
}

/* What kernels read and write. */
static double traffic(Graph *g)
{
	double sum = 0;
	Arena *scratch = arena_new();
	ClusterList all = clusters_in(scratch, g);
	for (int i = 0; i < all.len; i++)
		sum += bytes_of(g, &all.at[i]->ins) + bytes_of(g, &all.at[i]->outs);
	arena_free(scratch);
	return sum;
}

/* Kernels so far, arithmetic and bytes at the bounds: each op's own, or the kernels' once there are some. */
static void print_stats(FILE *out, Graph *g, const char *step, int values_before, clock_t begun)
{
	double ms = 1e3 * (double)(clock() - begun) / CLOCKS_PER_SEC;
	Cost c = graph_cost(g, look_bound, g);
	int kernels = 0;
	for (int i = 0; i < g->vals.len; i++)
		kernels = MAX(kernels, g->vals.at[i]->kernel);
	fprintf(out, "%-20s %-13s %6d -> %6d values %5d kernels %10.4g FLOP %10.4g B %8.2f ms\n", g->name, step, values_before,
		g->vals.len, kernels, c.flops, kernels ? traffic(g) : c.bytes, ms);
}

static void print_graph(FILE *out, const Graph *g, const char *step)
{
	Str s = { 0 };
	graph_print(&s, g);
	fprintf(out, "# after %s\n%s", step, s.at ? s.at : "");
	str_free(&s);
}

/* What is asked for behind every step of the road. False if the graph does not verify. */
static bool after(Graph *g, const char *step, int values_before, clock_t begun, const PassOptions *o)
{
	if (!o)
		return true;
	FILE *out = o->out ? o->out : stderr;
	if (o->stats) {
		clock_t done = clock();
		print_stats(out, g, step, values_before, begun);
		if (o->stats_seconds)
			*o->stats_seconds += (double)(clock() - done) / CLOCKS_PER_SEC;
	}
	bool wanted = wants_print(o, step);
	if (wanted || o->print_after_all)
		print_graph(wanted && o->graphs ? o->graphs : out, g, step);
	if (!o->verify_each || graph_verify(g))
		return true;
	diag_note((Loc){ 0 }, "%s does not verify after %s", g->name, step);
	return false;
}

/* The pass of this name, ready to run on g; NULL after diag_error. */
static const PassInfo *runnable(const Graph *g, const char *name)
{
	const PassInfo *p = pass_find(name);
	if (p && p->part_of) {
		diag_error((Loc){ 0 }, "E1003", "%s is a part of the pass %s, which runs it", name, p->part_of);
		return NULL;
	}
	if (p && !p->run) {
		diag_error((Loc){ 0 }, "E1003", "%s is a step of the whole road, not a pass over one graph", name);
		diag_help("`sinter build FILE --emit=graph --after=%s` shows what it makes", name);
		return NULL;
	}
	return p && needs_met(g, p) ? p : NULL;
}

bool passes_run(Graph *g, const char *list, const PassOptions *o)
{
	const char *word;
	while ((word = next_word(&list))) {
		if (left_out(o, word))
			continue;
		const PassInfo *p = runnable(g, word);
		if (!p)
			return false;
		int before = g->vals.len, errors = diag_errors();
		clock_t begun = clock();
		g->without = parts_left_out(o, p);
		p->run(g);
		if (!after(g, p->name, before, begun, o) || diag_errors() > errors)
			return false;
	}
	return true;
}

/* The road, by kind of entry.
 *
 * A function is made in an arena of its own, where passes leave what they are done with: several times the graph that
 * comes out. That one moves to the module's arena at the end, and the rest is given back before the next function. */

static Graph *forward_of(const Entry *e)
{
	Graph *g = entry_graph(e, "forward");
	if (!g)
		bug("entry %s has no graph %s.forward", e->name, e->name);
	return g;
}

static Graph *add_function(Module *m, Entry *e, Graph *g)
{
	vec_push(m->arena, &e->graphs, g);
	return g;
}

static Graph *copy_forward(Module *m, Entry *e, const char *suffix)
{
	return add_function(m, e, graph_copy_to(arena_new(), forward_of(e), internf("%s.%s", e->name, suffix)));
}

/* The entry's functions made in the arena `work` move out of it; unfinished ones are dropped. Returns `good`. */
static bool finish(Module *m, Entry *e, Arena *work, bool good)
{
	int n = 0;
	for (int i = 0; i < e->graphs.len; i++) {
		Graph *g = e->graphs.at[i];
		if (g->arena != work)
			e->graphs.at[n++] = g;
		else if (good)
			e->graphs.at[n++] = graph_copy_to(m->arena, g, g->name);
	}
	e->graphs.len = n;
	arena_free(work);
	return good;
}

/* Up to kernels, from a graph on which `before` has to run, as the entry's precision wants it. */
static bool lower(Graph *g, const Entry *e, const char *before, const char *behind, const PassOptions *o)
{
	const Setting *s = entry_setting(e, "precision");
	bool bf16 = s && s->str && strcmp(s->str, "bf16") == 0;
	return passes_run(g, before, o) && (!bf16 || passes_run(g, ROUNDED, o)) && passes_run(g, behind, o);
}

/* The frontend's own function, which takes the road itself. */
static bool train_eval(Module *m, Entry *e, const PassOptions *o)
{
	for (int i = 0; i < e->graphs.len; i++) {
		Graph *g = e->graphs.at[i];
		if (g != entry_graph(e, "eval"))
			continue;
		g = e->graphs.at[i] = graph_copy_to(arena_new(), g, g->name);
		return finish(m, e, g->arena, lower(g, e, RAISED ",flash,expand," CLEAN ",chunk", "layout," KERNELS, o));
	}
	return true;
}

static bool train_update(Module *m, Entry *e, const PassOptions *o)
{
	clock_t begun = clock();
	Graph *g = add_function(m, e, optimizer_update(arena_new(), m, e));
	bool good = after(g, "optimizer", 0, begun, o) && passes_run(g, CLEAN ",layout," KERNELS, o);
	return finish(m, e, g->arena, good);
}

static bool differentiated_road(Module *m, const Entry *e, Graph *g, const PassOptions *o)
{
	if (!passes_run(g, RAISED ",flash", o))
		return false;
	int before = g->vals.len, errors = diag_errors();
	clock_t begun = clock();
	autodiff(g, m);
	if (diag_errors() > errors || !after(g, "autodiff", before, begun, o))
		return false;
	return lower(g, e, CLEAN ",chunk", "layout," KERNELS, o);
}

static bool train_step(Module *m, Entry *e, const PassOptions *o)
{
	Graph *g = copy_forward(m, e, "step");
	return finish(m, e, g->arena, differentiated_road(m, e, g, o));
}

/* Sets or takes back the mark of what this entry alone does not train; what all entries freeze is not in `own`. */
static void mark_frozen(Module *m, const int *own, int n, bool frozen)
{
	for (int i = 0; i < n; i++)
		m->params.at[own[i]].frozen = frozen;
}

static bool reads(const Graph *g, const Param *p)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_PARAM && g->vals.at[i]->a.name == p->name)
			return true;
	return false;
}

/* What the loss does not come of is another entry's: no gradient of zeros, no decay, no place in this one's checkpoints, where it would stand as
 * random numbers that look like a trained head. */
static void freeze_unread(Module *m, Entry *e)
{
	const Graph *forward = forward_of(e);
	for (int i = 0; i < m->params.len; i++)
		if (!reads(forward, &m->params.at[i]))
			vec_push(m->arena, &e->frozen, i);
}

/* While its functions are made, an entry's frozen parameters are marked in the module. */
static bool train_road(Module *m, Entry *e, const PassOptions *o)
{
	freeze_unread(m, e);
	int *own = NEW_ARRAY(m->arena, int, e->frozen.len + 1), n = 0;
	for (int i = 0; i < e->frozen.len; i++)
		if (!m->params.at[e->frozen.at[i]].frozen)
			own[n++] = e->frozen.at[i];
	mark_frozen(m, own, n, true);
	bool good = train_step(m, e, o) && train_eval(m, e, o) && train_update(m, e, o);
	mark_frozen(m, own, n, false);
	return good;
}

/* From unexpanded graphs to kernels, with what depends on parameters alone in a function of its own. */
static bool hoisted(Module *m, Entry *e, Graph *const *fns, int n, const PassOptions *o)
{
	int *before = NEW_ARRAY(fns[0]->arena, int, n);
	for (int i = 0; i < n; i++)
		before[i] = fns[i]->vals.len;
	clock_t begun = clock();
	Graph *prepare = add_function(m, e, hoist(fns, n, e));
	if (!after(prepare, "hoist", 0, begun, o))
		return false;
	for (int i = 0; i < n; i++)
		if (!after(fns[i], "hoist", before[i], begun, o) || !passes_run(fns[i], KERNELS, o))
			return false;
	return passes_run(prepare, KERNELS, o);
}

static bool hoisted_road(Module *m, Entry *e, Graph *const *fns, int n, const PassOptions *o)
{
	for (int i = 0; i < n; i++)
		if (!lower(fns[i], e, "raise_attention,flash,expand," CLEAN ",chunk,merge", "layout_packed", o))
			return false;
	return hoisted(m, e, fns, n, o);
}

static bool made_incremental(Module *m, Entry *e, Graph *g, const PassOptions *o)
{
	if (!passes_run(g, RAISED, o))
		return false;
	int before = g->vals.len;
	clock_t begun = clock();
	if (!incremental(g, m, e) || !after(g, "incremental", before, begun, o))
		return false;
	Graph *encode = entry_graph(e, "encode");
	return !encode || after(encode, "incremental", before, begun, o);
}

/* The step for `draft` proposed tokens behind one that is known, with logits behind each; NULL after diag_error. Attention becomes what it becomes in
 * the step, whose bound it has until then: its sums are the same. */
static Graph *verify_of(Module *m, Entry *e, Arena *arena, int64_t draft, const PassOptions *o)
{
	Graph *g = add_function(m, e, graph_copy_to(arena, forward_of(e), internf("%s.verify", e->name)));
	if (!incremental_every(g, e) || !made_incremental(m, e, g, o) || !passes_run(g, "raise_attention,flash", o))
		return NULL;
	incremental_most(g, draft + 1);
	return g;
}

static bool incremental_road(Module *m, Entry *e, Graph *step, const PassOptions *o)
{
	const Setting *draft = entry_setting(e, "draft");
	if (!made_incremental(m, e, step, o))
		return false;
	Graph *second = entry_graph(e, "encode");
	if (draft && draft->num >= 1) {
		if (second) {
			diag_error((Loc){ 0 }, "E0810", "%s: `draft` is for models without an encoder", e->name);
			return false;
		}
		second = verify_of(m, e, step->arena, (int64_t)draft->num, o);
		if (!second)
			return false;
	}
	return hoisted_road(m, e, (Graph *[]){ step, second }, second ? 2 : 1, o);
}

static bool generate_road(Module *m, Entry *e, const PassOptions *o)
{
	Graph *step = copy_forward(m, e, "step");
	return finish(m, e, step->arena, incremental_road(m, e, step, o));
}

/* Called many times with the same weights, as generation is. */
static bool infer_road(Module *m, Entry *e, const PassOptions *o)
{
	Graph *g = copy_forward(m, e, "run");
	return finish(m, e, g->arena, hoisted_road(m, e, &g, 1, o));
}

/* Attention's weights are outputs of run, so it keeps them for itself, too: no flash there. Nor merge: the functions share their packed weights. */
static bool explain_run_road(Module *m, Entry *e, Graph *g, const PassOptions *o)
{
	if (!passes_run(g, RAISED, o))
		return false;
	explain_run(g, m, e);
	return lower(g, e, "expand," CLEAN, "layout_packed", o);
}

static bool explain_attribute_road(Graph *g, const Entry *e, int which, const PassOptions *o)
{
	explain_attribute(g, which);
	if (!passes_run(g, RAISED ",flash", o))
		return false;
	int before = g->vals.len, errors = diag_errors();
	clock_t begun = clock();
	autodiff_input(g, "alpha", "attribution");
	if (diag_errors() > errors || !after(g, "autodiff", before, begun, o))
		return false;
	return lower(g, e, CLEAN ",chunk", "layout_packed", o);
}

static bool explain_functions(Module *m, Entry *e, Graph *run, const PassOptions *o)
{
	enum { MOST = 32 };
	Graph *fns[MOST + 2] = { run };
	int n = 1, scores = explain_scores(forward_of(e));
	if (!explain_check(m, e, run) || !explain_run_road(m, e, run, o))
		return false;
	for (int i = 0; i < scores && i < MOST; i++) {
		fns[n] = add_function(m, e, graph_copy_to(run->arena, forward_of(e), internf("%s.attribute%d", e->name, i)));
		if (!explain_attribute_road(fns[n++], e, i, o))
			return false;
	}
	fns[n] = graph_copy_to(run->arena, forward_of(e), internf("%s.lens", e->name));
	if (explain_lens(fns[n])) {
		add_function(m, e, fns[n]);
		if (!lower(fns[n++], e, "raise_attention,flash,expand," CLEAN, "layout_packed", o))
			return false;
	}
	return hoisted(m, e, fns, n, o);
}

static bool explain_road(Module *m, Entry *e, const PassOptions *o)
{
	Graph *run = copy_forward(m, e, "run");
	return finish(m, e, run->arena, explain_functions(m, e, run, o));
}

static bool eval_road(Module *m, Entry *e, const PassOptions *o)
{
	Graph *g = copy_forward(m, e, "eval");
	return finish(m, e, g->arena, hoisted_road(m, e, &g, 1, o));
}

bool passes_module(Module *m, const PassOptions *o)
{
	static bool (*const road[ENTRY_COUNT])(Module *, Entry *, const PassOptions *) = {
		[ENTRY_TRAIN] = train_road, [ENTRY_EVAL] = eval_road,
		[ENTRY_GENERATE] = generate_road, [ENTRY_INFER] = infer_road,
		[ENTRY_EXPLAIN] = explain_road,
	};
	bool good = true;
	for (int i = 0; i < m->entries.len; i++)
		good &= road[m->entries.at[i]->kind](m, m->entries.at[i], o);
	return good;
}
