/* Kernels: their kind, order, inputs and outputs, and what can be none. Also cost and module look-ups. */
#include "ir/ir.h"

#include <setjmp.h>
#include <cmocka.h>

static Graph *parse(Arena *a, const char *body) {
	const char *text = arena_printf(a,
		"graph g(B <= 4, T <= 64) {\n%%0 = input {name=\"x\"} : f32[B,T,8]\n%%1 = param {name=\"w\"} : f32[8]\n"
		"%%2 = param {name=\"m\"} : f32[16,8]\n%%3 = input {name=\"ids\"} : i32[B,T]\n%s\n}\n", body);
	Graph *g = graph_parse(a, source_text(a, "cluster.ir", text), NULL);
	if (!g)
		fail_msg("%s", body);
	return g;
}

#define PACK "%8 = pack %0 {spec=\"btk,nk->btn\", side=0} !k9\n"
#define DOT "%9 = contract %8, %2 {spec=\"btk,nk->btn\"} !k1\n"

typedef struct Row { const char *body; KernelKind kind; const char *illegal; } Row;   /* of kernel 1 */
static const Row rows[] = {
	{"%4 = mul %0, %1 !k1\noutput %4 {name=\"y\"}", K_ROWS, NULL},
	{"%4 = mul %0, %0 !k1\n%5 = sum %4 {axes=[2]} !k1\n%6 = rsqrt %5 !k1\n%7 = mul %0, %6 !k1\n%9 = mul %7, %1 !k1\n"
	 "output %9 {name=\"y\"}\noutput %6 {name=\"z\"}", K_ROWS, NULL},
	{"%4 = gather %2, %3 !k1\n%5 = add %4, %1 !k1\noutput %5 {name=\"y\"}", K_ROWS, NULL},
	{"%4 = sum %0 {axes=[2]} !k1\n%5 = mul %1, %1 !k1\n%6 = mul %4, %5 !k1\noutput %6 {name=\"y\"}\noutput %5 {name=\"z\"}",
	 K_ROWS, "neither the space's shape"},
	{"%4 = add %3, %3 !k1\n%5 = gather %2, %4 !k1\noutput %5 {name=\"y\"}", K_ROWS, "needs its operands in memory"},
	{"%4 = slice %0 {axis=1, start=0, len=1}\n%5 = pad %4 {axis=1, lo=0, hi=T - 1} !k1\noutput %5 {name=\"y\"}", K_ROWS, NULL},
	{"%4 = neg %0 !k1\n%5 = pad %4 {axis=1, lo=0, hi=1} !k1\noutput %5 {name=\"y\"}", K_ROWS, "needs its operands in memory"},
	{"%4 = neg %0 !k1\n%5 = pad %0 {axis=1, lo=0, hi=1} !k1\noutput %4 {name=\"z\"}\noutput %5 {name=\"y\"}", K_ROWS,
	 "does not fit the iteration space"},
	{"%4 = neg %0 !k1\n%5 = transpose %4 {perm=[0,1,2]}\n%6 = exp %5 !k1\noutput %6 {name=\"y\"}", K_ROWS, "own result through memory"},
	{"%4 = sum %0 {axes=[1,2]} !k1\noutput %4 {name=\"y\"}", K_COLS, "the last axis along with others"},
	{"%4 = sum %0 {axes=[0,1]} !k1\noutput %4 {name=\"y\"}", K_COLS, NULL},
	{"%4 = sum %0 {axes=[0,1,2]} !k1\noutput %4 {name=\"y\"}", K_COLS, NULL},
	{"%4 = exp %0 !k1\n%5 = sum %4 {axes=[1]} !k1\n%6 = rmax %0 {axes=[1]} !k1\n%7 = mul %5, %6 !k1\noutput %7 {name=\"y\"}", K_COLS, NULL},
	{"%4 = exp %0 !k1\n%5 = sum %4 {axes=[1]} !k1\noutput %5 {name=\"y\"}\noutput %4 {name=\"z\"}", K_COLS, "without being reduced"},
	{"%4 = slice %0 {axis=1, start=0, len=1}\n%5 = exp %4 !k1\n%6 = sum %0 {axes=[1]} !k1\n%7 = mul %5, %6 !k1\n"
	 "output %7 {name=\"y\"}\noutput %5 {name=\"z\"}", K_COLS, "without being reduced"},
	{"%4 = sum %0 {axes=[1]} !k1\n%5 = sum %0 {axes=[0]} !k1\noutput %5 {name=\"y\"}\noutput %4 {name=\"z\"}", K_COLS, "other axes"},
	{"%4 = sum %0 {axes=[1]} !k1\n%5 = mul %4, %0 !k1\noutput %5 {name=\"y\"}", K_COLS, "not of the reduced shape"},
	{"%4 = reshape %0 : f32[B,T,2,4]\n%5 = sum %4 {axes=[0,2]} !k1\noutput %5 {name=\"y\"}", K_COLS, "not neighbours"},
	{PACK DOT "output %9 {name=\"y\"}", K_CONTRACT, NULL},
	{"%8 = pack %0 {spec=\"btk,nk->btn\", side=0} !k1\noutput %8 {name=\"y\"}", K_PACK, NULL},
	{"%4 = transpose %0 {perm=[1,0,2]}\n%8 = pack %4 {spec=\"tbk,nk->tbn\", side=0} !k1\noutput %8 {name=\"y\"}", K_PACK, NULL},
	{"%8 = pack %0 {spec=\"btk,nk->btn\", side=0} !k1\n%9 = neg %8 !k1\noutput %9 {name=\"y\"}", K_PACK, "kernel of its own"},
	{PACK "%4 = param {name=\"b\"} : f32[16]\n" DOT "%10 = add %9, %4 !k1\n%11 = tanh %10 !k1\noutput %11 {name=\"y\"}", K_CONTRACT, NULL},
	{PACK "%4 = input {name=\"r\"} : f32[B,T,1]\n%5 = const {value=2} : f32[] !k1\n" DOT
	 "%10 = mul %9, %4 !k1\n%11 = mul %10, %5 !k1\n%12 = random %6 {stream=1} : f32[B,T,16] !k1\n%13 = mul %11, %12 !k1\n"
	 "output %13 {name=\"y\"}", K_CONTRACT, NULL},
	{PACK "%4 = input {name=\"r\"} : f32[T,1]\n" DOT "%10 = mul %9, %4 !k1\noutput %10 {name=\"y\"}", K_CONTRACT, "part of the rows"},
	{PACK DOT "%10 = sum %9 {axes=[2]} !k1\noutput %10 {name=\"y\"}", K_CONTRACT, "cannot be computed behind"},
	{"%9 = contract %0, %2 {spec=\"btk,nk->btn\"} !k1\noutput %9 {name=\"y\"}", K_CONTRACT, NULL},
	{"%4 = input {name=\"w\"} : f32[B,T,8,2]\n%5 = slice %4 {axis=3, start=0, len=1}\n%6 = reshape %5 : f32[B,T,8]\n"
	 "%9 = contract %6, %2 {spec=\"btk,nk->btn\"} !k1\noutput %9 {name=\"y\"}", K_CONTRACT, "operand 0 packed"},
	{PACK "%9 = contract %8, %2 {spec=\"btk,nk->bnt\"} !k1\noutput %9 {name=\"y\"}", K_CONTRACT, "behind those of operand 1"},
	{"%4 = scatter_add %2, %3, %0 !k1\noutput %4 {name=\"y\"}", K_SCATTER, NULL},
	{"%4 = neg %0 !k1\n%5 = scatter_add %2, %3, %4 !k1\noutput %5 {name=\"y\"}", K_SCATTER, "kernel of its own"},
};

static Cluster *kernel(ClusterList l, int id) {
	for (int i = 0; i < l.len; i++)
		if (l.at[i]->id == id)
			return l.at[i];
	fail_msg("no kernel %d", id);
	return NULL;
}

static void legality(void **state) {
	for (int i = 0; i < COUNT(rows); i++) {
		Arena *a = arena_new();
		const char *seed = strstr(rows[i].body, "%6 {stream") ? "%6 = input {name=\"seed\"} : i32[]\n" : "";
		Cluster *c = kernel(clusters_of(parse(a, arena_printf(a, "%s%s", seed, rows[i].body))), 1);
		if (c->kind != rows[i].kind)
			fail_msg("%s\nis taken for %s", rows[i].body, kernel_kind_name[c->kind]);
		const char *e = cluster_illegal(c);
		if (!e != !rows[i].illegal || (e && !strstr(e, rows[i].illegal)))
			fail_msg("%s\nis called %s", rows[i].body, e ? e : "legal");
		arena_free(a);
	}
}

/* Kernel 5's members come first, but it reads what 2 makes of 7's view; inputs count once, outputs as read. */
static void gathering(void **state) {
	Arena *a = arena_new();
	Graph *g = parse(a,
		"%4 = exp %1 !k5\n%5 = neg %0 !k7\n%6 = reshape %5 : f32[B*T,8]\n%7 = tanh %6 !k2\n%8 = mul %7, %4 !k5\n"
		"%9 = mul %8, %7 !k5\noutput %9 {name=\"y\"}\noutput %4 {name=\"z\"}");
	ClusterList l = clusters_of(g);
	assert_int_equal(l.len, 3);
	assert_int_equal(l.at[0]->id, 7);
	assert_int_equal(l.at[1]->id, 2);
	assert_int_equal(l.at[2]->id, 5);
	Cluster *c = l.at[2];
	assert_int_equal(c->vals.len, 3);
	assert_int_equal(c->ins.len, 2);
	assert_int_equal(c->outs.len, 2);
	assert_int_equal(c->outs.at[0]->op, OP_EXP);
	assert_int_equal(c->space.rank, 2);
	int x, y;
	assert_true(graph_verify(g));
	assert_false(clusters_cycle(g, &x, &y));
	assert_true(clusters_cycle(parse(a, "%4 = neg %0 !k1\n%5 = exp %4 !k2\n%6 = tanh %5 !k1\noutput %6 {name=\"y\"}"), &x, &y));
	assert_true(x + y == 3);
	arena_free(a);
}

static bool look(void *ctx, const char *sym, int64_t *v) {
	*v = *sym == 'B' ? 2 : 10;
	return true;
}

static void costs(void **state) {
	static const struct { const char *body; double flops, bytes; } row[] = {
		{"%4 = neg %0", 160, 1280},
		{"%4 = mul %0, %1", 160, 1280 + 32},
		{"%4 = lt %3, %3", 20, 180},
		{"%4 = sum %0 {axes=[2]}", 160, 640 + 80},
		{"%4 = contract %0, %2 {spec=\"btk,nk->btn\"}", 2 * 20 * 16 * 8, 640 + 512 + 1280},
		{"%4 = transpose %0 {perm=[1,0,2]}", 0, 0},
		{"%4 = gather %2, %3", 0, 80 + 1280},
		{"%4 = scatter_add %2, %3, %0", 160, 80 + 3 * 640},
		{"%4 = copy %0", 0, 1280},
		{"%4 = softmax %0 {axis=2}", 160 * 5 + 20, 1280},
	};
	for (int i = 0; i < COUNT(row); i++) {
		Arena *a = arena_new();
		Cost c = graph_cost(parse(a, row[i].body), look, NULL);
		if (c.flops != row[i].flops || c.bytes != row[i].bytes)
			fail_msg("%s costs %g and %g", row[i].body, c.flops, c.bytes);
		arena_free(a);
	}
}

static void modules(void **state) {
	Arena *a = arena_new();
	Module *m = module_new(a);
	vec_push(a, &m->params, ((Param){.name = "wte.weight"}));
	Entry *e = NEW(a, Entry);
	e->name = "train";
	vec_push(a, &e->settings, ((Setting){.key = "optimizer.lr", .num = 0.1, .is_num = true}));
	vec_push(a, &e->graphs, graph_new(a, "train.forward"));
	vec_push(a, &e->graphs, graph_new(a, "train.step"));
	assert_ptr_equal(module_param(m, "wte.weight"), &m->params.at[0]);
	assert_null(module_param(m, "wte"));
	assert_true(entry_setting(e, "optimizer.lr")->num == 0.1);
	assert_null(entry_setting(e, "optimizer"));
	assert_ptr_equal(entry_graph(e, "step"), e->graphs.at[1]);
	assert_null(entry_graph(e, "ste"));
	arena_free(a);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(legality), cmocka_unit_test(gathering), cmocka_unit_test(costs), cmocka_unit_test(modules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
