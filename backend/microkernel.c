/* microkernel.c: the register tile all contractions are made of: acc (h,nr) = or += A (h,k) B (k,nr), with A k-major
 * (element (r, k) at k*lda + r) and B in panel order (element (k, c) at k*nr + c).
 *
 * They are internal functions, one for each height and width that occurs, shared by every contract kernel of the module. The
 * accumulators stay in vector registers over k, which runs in steps of one broadcast element of A by one row of B.
 * Each element is one chain of fused multiply-adds in ascending k, whatever its tile: results do not depend on how
 * rows, columns or k are divided. (Goto & van de Geijn 2008, "Anatomy of High-Performance Matrix Multiplication",
 * sec. 4 and 5, for the layering; the accumulators' detour through acc memory keeps epilogues out of here.) */
#include "backend/gen.h"

enum { MAX_ROWS = 16, MAX_COLS = 4 };

/* acc (h,nr) in progress: vector v of row r at [r][v]. */
typedef struct Tile { LLVMValueRef at[MAX_ROWS][MAX_COLS]; } Tile;
typedef struct Micro {
	Gen g;
	int h, nv;                                  /* rows; vectors a row */
	TileKind kind;
	LLVMValueRef a, lda, b, k, acc, first, right, rstep;   /* parameters */
	LLVMValueRef row[MAX_ROWS];                 /* A's rows, of kind.rows */
	LLVMValueRef src, sk;                       /* of a tile that packs: where B's rows come from; else NULL */
	LLVMValueRef ldb, last;                     /* floats from B's row to its next: nr, but for kind.strided; lanes that its last vector has (NULL: all) */
} Micro;

static void copy_attribute(const Gen *g, LLVMValueRef fn, const char *key)
{
	LLVMAttributeRef a = LLVMGetStringAttributeAtIndex(g->fn, LLVMAttributeFunctionIndex, key, (unsigned)strlen(key));
	if (a)
		LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, a);
}

static void add_attribute(const Gen *g, LLVMValueRef fn, const char *name)
{
	unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
	LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(g->ctx, kind, 0));
}

Gen gen_helper_begin(const Gen *g, const char *name, const char *params)
{
	LLVMTypeRef types[12];
	int n = (int)strlen(params);
	Gen s = *g;
	for (int i = 0; i < n; i++)
		types[i] = params[i] == 'p' ? g->ptr : g->i64;
	s.fn = LLVMAddFunction(g->mod, name, LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), types, (unsigned)n, 0));
	LLVMSetLinkage(s.fn, LLVMInternalLinkage);
	copy_attribute(g, s.fn, "target-cpu");
	copy_attribute(g, s.fn, "target-features");
	copy_attribute(g, s.fn, "prefer-vector-width");
	add_attribute(g, s.fn, "nounwind");
	add_attribute(g, s.fn, "noinline");
	s.ka = NULL;
	s.cache = NULL;
	s.args = s.arena = s.dims = s.tid = s.nth = s.scratch = NULL;
	s.b = LLVMCreateBuilderInContext(g->ctx);
	s.entry = LLVMAppendBasicBlockInContext(g->ctx, s.fn, "entry");
	LLVMPositionBuilderAtEnd(s.b, LLVMAppendBasicBlockInContext(g->ctx, s.fn, "body"));
	return s;
}

LLVMValueRef gen_helper_end(Gen *s)
{
	LLVMBuildRetVoid(s->b);
	LLVMPositionBuilderAtEnd(s->b, s->entry);
	LLVMBuildBr(s->b, LLVMGetNextBasicBlock(s->entry));
	LLVMDisposeBuilder(s->b);
	return s->fn;
}

void gen_prefetch(Gen *g, LLVMValueRef p, int level)
{
	LLVMValueRef in[4] = { p, gen_i32(g, 0), gen_i32(g, 4 - level), gen_i32(g, 1) };
	gen_call(g, "llvm.prefetch", g->ptr, in, 4);
}

void gen_helper_call(Gen *g, LLVMValueRef fn, LLVMValueRef *in, int nin)
{
	LLVMBuildCall2(g->b, LLVMGlobalGetValueType(fn), fn, in, (unsigned)nin, "");
}

static LLVMValueRef load_vector(Gen *g, LLVMValueRef p, int64_t element, int align)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, g->vf, gen_at(g, p, gen_i64(g, element), 4), "");
	LLVMSetAlignment(v, (unsigned)align);
	return v;
}

static void store_vector(Gen *g, LLVMValueRef v, LLVMValueRef p, int64_t element)
{
	LLVMSetAlignment(LLVMBuildStore(g->b, v, gen_at(g, p, gen_i64(g, element), 4)), (unsigned)g->t->lanes * 4);
}

static LLVMValueRef multiply_add(Gen *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
	LLVMValueRef in[3] = { a, b, c };
	if (g->t->fma)
		return gen_call(g, "llvm.fma", g->vf, in, 3);
	return LLVMBuildFAdd(g->b, c, LLVMBuildFMul(g->b, a, b, ""), "");
}

/* One row of B, from `src` into b if that is given. */
static void right_row(Micro *m, LLVMValueRef *row, LLVMValueRef b, LLVMValueRef src)
{
	Gen *g = &m->g;
	int lanes = g->t->lanes;
	LLVMValueRef from = m->kind.strided ? b : src, step = m->kind.strided ? m->ldb : m->sk;
	LLVMValueRef ahead = from ? gen_at(g, from, LLVMBuildNSWMul(g->b, step, gen_i64(g, ROWS_AHEAD), ""), 4) : NULL;
	for (int v = 0; v < m->nv; v++) {
		if (ahead && v * lanes * 4 % 64 == 0)
			gen_prefetch(g, gen_at(g, ahead, gen_i64(g, v * lanes), 4), 1);
		if (m->last && v == m->nv - 1)
			row[v] = gen_load(g, DT_F32, gen_at(g, b, gen_i64(g, v * lanes), 4), lanes, m->last);
		else
			row[v] = load_vector(g, src ? src : b, v * lanes, ahead ? 4 : lanes * 4);
		if (src)
			store_vector(g, row[v], b, v * lanes);
	}
}

/* One k: row[r] points at A's (r, k) where rows are consecutive in k, row[0] at its column where that is; b at B's row. */
typedef struct Step { LLVMValueRef row[MAX_ROWS], b, src; } Step;

/* A's element in row r, in all lanes: of a column by vectors where multiply-adds take a lane, else broadcast. */
static LLVMValueRef left_element(Micro *m, const Step *at, LLVMValueRef *column, int r)
{
	Gen *g = &m->g;
	int lanes = g->t->lanes, first = r / lanes * lanes;
	if (!g->t->by_lane || m->kind.rows || first + lanes > m->h) {
		LLVMValueRef p = m->kind.rows ? at->row[r] : gen_at(g, at->row[0], gen_i64(g, r), 4);
		LLVMValueRef x = LLVMBuildLoad2(g->b, g->f32, p, "");
		LLVMSetVolatile(x, g->t->by_lane && m->kind.rows);   /* else a row's elements come in pairs: more than there are registers */
		return gen_splat(g, x);
	}
	if (r == first)
		*column = load_vector(g, at->row[0], first, 4);
	LLVMValueRef lane[64];
	for (int i = 0; i < lanes; i++)
		lane[i] = gen_i32(g, r - first);
	return LLVMBuildShuffleVector(g->b, *column, LLVMGetPoison(g->vf), LLVMConstVector(lane, (unsigned)lanes), "");
}

static void step(Micro *m, Tile *t, const Step *at)
{
	Gen *g = &m->g;
	LLVMValueRef row[MAX_COLS], column = NULL;
	right_row(m, row, at->b, at->src);
	for (int r = 0; r < m->h; r++) {
		LLVMValueRef x = left_element(m, at, &column, r);
		for (int v = 0; v < m->nv; v++)
			t->at[r][v] = multiply_add(g, x, row[v], t->at[r][v]);
	}
}

static void tile_phis(Micro *m, Tile *t, Tile *from, LLVMBasicBlockRef block)
{
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++) {
			t->at[r][v] = LLVMBuildPhi(m->g.b, m->g.vf, "");
			LLVMAddIncoming(t->at[r][v], &from->at[r][v], &block, 1);
		}
}

static void tile_incoming(Micro *m, Tile *phis, Tile *from, LLVMBasicBlockRef block)
{
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			LLVMAddIncoming(phis->at[r][v], &from->at[r][v], &block, 1);
}

static LLVMValueRef times(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildNSWMul(g->b, a, b, ""); }

/* Where step k reads and writes. */
static Step step_at(Micro *m, LLVMValueRef k)
{
	Gen *g = &m->g;
	Step s = { .b = gen_at(g, m->b, times(g, k, m->ldb), 4) };
	s.row[0] = gen_at(g, m->a, times(g, k, m->lda), 4);
	for (int r = 0; r < m->h && m->kind.rows; r++)
		s.row[r] = gen_at(g, m->row[r], k, 4);
	s.src = m->src ? gen_at(g, m->src, times(g, k, m->sk), 4) : NULL;
	return s;
}

/* The addresses that a turn of the loop moves on: all but those of A's rows, which k is an index into. */
static int moving(Micro *m, Step *s, LLVMValueRef **at)
{
	int n = 0;
	at[n++] = &s->b;
	if (!m->kind.rows)
		at[n++] = &s->row[0];
	if (s->src)
		at[n++] = &s->src;
	return n;
}

static void step_on(Micro *m, Step *s)
{
	Gen *g = &m->g;
	for (int r = 0; r < (m->kind.rows ? m->h : 1); r++)
		s->row[r] = gen_at(g, s->row[r], m->kind.rows ? gen_i64(g, 1) : m->lda, 4);
	s->b = gen_at(g, s->b, m->ldb, 4);
	s->src = s->src ? gen_at(g, s->src, m->sk, 4) : NULL;
}

/* Steps that begin where the loop is: what moves becomes phis, to which turn_end adds where they are behind it. */
typedef struct Turn { Step first, now; LLVMValueRef phi[3]; } Turn;

static void turn_begin(Micro *m, Turn *t, LLVMValueRef k, LLVMBasicBlockRef from)
{
	LLVMValueRef *entering[3], *here[3];
	int n = moving(m, &t->first, entering);
	t->now = t->first;
	moving(m, &t->now, here);
	for (int i = 0; i < n; i++) {
		t->phi[i] = *here[i] = LLVMBuildPhi(m->g.b, m->g.ptr, "");
		LLVMAddIncoming(t->phi[i], entering[i], &from, 1);
	}
	for (int r = 0; r < m->h && m->kind.rows; r++)
		t->now.row[r] = gen_at(&m->g, m->row[r], k, 4);
}

static void turn_end(Micro *m, Turn *t, LLVMBasicBlockRef loop)
{
	LLVMValueRef *here[3];
	int n = moving(m, &t->now, here);
	for (int i = 0; i < n; i++)
		LLVMAddIncoming(t->phi[i], here[i], &loop, 1);
}

/* What is fetched ahead, a line (or kind.lines) at a turn of the loop; behind it stands its pointer. */
static void fetch_line(Micro *m, LLVMValueRef line, LLVMBasicBlockRef *both)
{
	Gen *g = &m->g;
	LLVMValueRef next = line;
	for (int i = 0; i < MAX(1, m->kind.lines); i++) {
		gen_prefetch(g, next, 2);
		next = gen_at(g, next, m->rstep, 1);
	}
	LLVMAddIncoming(line, (LLVMValueRef[]){ m->right, next }, both, 2);
}

/* for (k = lo; k < hi; k += n) n steps, tested at the bottom. t: accumulators before, then after. */
static void steps(Micro *m, Tile *t, LLVMValueRef lo, LLVMValueRef hi, int n)
{
	Gen *g = &m->g;
	LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
	LLVMBasicBlockRef loop = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "k");
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "done");
	Tile before = *t, phis, now;
	Turn turn = { .first = step_at(m, lo) };
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, lo, hi, ""), loop, done);
	LLVMPositionBuilderAtEnd(g->b, loop);
	LLVMValueRef k = LLVMBuildPhi(g->b, g->i64, "k");
	LLVMValueRef line = n > 1 ? LLVMBuildPhi(g->b, g->ptr, "line") : NULL;
	tile_phis(m, &phis, &before, from);
	now = phis;
	turn_begin(m, &turn, k, from);
	for (int i = 0; i < n; i++) {
		step(m, &now, &turn.now);
		step_on(m, &turn.now);
	}
	turn_end(m, &turn, loop);
	LLVMBasicBlockRef both[2] = { from, loop };
	LLVMValueRef next = LLVMBuildNSWAdd(g->b, k, gen_i64(g, n), "");
	LLVMAddIncoming(k, (LLVMValueRef[]){ lo, next }, both, 2);
	if (line)
		fetch_line(m, line, both);
	tile_incoming(m, &phis, &now, loop);
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, next, hi, ""), loop, done);
	LLVMPositionBuilderAtEnd(g->b, done);
	tile_phis(m, t, &before, from);
	tile_incoming(m, t, &now, loop);
}

/* Zeros where `first`, else what acc holds. */
static void start(Micro *m, Tile *t)
{
	Gen *g = &m->g;
	LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
	LLVMBasicBlockRef more = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "continue");
	LLVMBasicBlockRef go = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "go");
	Tile zero, old;
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			zero.at[r][v] = LLVMConstNull(g->vf);
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntNE, m->first, gen_i64(g, 0), ""), go, more);
	LLVMPositionBuilderAtEnd(g->b, more);
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			old.at[r][v] = load_vector(g, m->acc, r * g->t->nr + v * g->t->lanes, g->t->lanes * 4);
	LLVMBuildBr(g->b, go);
	LLVMPositionBuilderAtEnd(g->b, go);
	tile_phis(m, t, &zero, from);
	tile_incoming(m, t, &old, more);
}

static void finish(Micro *m, Tile *t)
{
	Gen *g = &m->g;
	for (int r = 0; r < m->h; r++)
		for (int v = 0; v < m->nv; v++)
			store_vector(g, t->at[r][v], m->acc, r * g->t->nr + v * g->t->lanes);
}

/* A register for each row: LLVM would else walk from one to the next at every step. What it can't see through is gone before
 * instructions are chosen. */
static void row_pointers(Micro *m)
{
	Gen *g = &m->g;
	for (int r = 0; r < m->h; r++) {
		LLVMValueRef p = gen_at(g, m->a, times(g, gen_i64(g, r), m->lda), 4);
		m->row[r] = gen_call(g, "llvm.launder.invariant.group", g->ptr, &p, 1);
	}
}

static const char *kind_name(TileKind kind)
{
	const char *lines = kind.lines ? internf("_lines%d", kind.lines) : "", *vectors = kind.vectors ? internf("_v%d", kind.vectors) : "";
	const char *from = kind.packs_right ? "_pack" : kind.strided ? "_strided" : "";
	return internf("%s%s%s%s%s", kind.rows ? "_rows" : "", kind.apart ? "_apart" : "", from, lines, vectors);
}

/* The first n of 1..lanes, by arithmetic on a word: no table to load. */
static LLVMValueRef lanes_below(Gen *g, LLVMValueRef n)
{
	LLVMTypeRef bits = LLVMIntTypeInContext(g->ctx, (unsigned)g->t->lanes);
	LLVMValueRef above = LLVMBuildShl(g->b, gen_i64(g, -1), n, "");
	return LLVMBuildBitCast(g->b, LLVMBuildTrunc(g->b, LLVMBuildNot(g->b, above, ""), bits, ""), g->vm, "");
}

/* void (a, lda, b, k, acc, first, right, rstep[, src, sk][, ldb, cols]) for h rows. */
static LLVMValueRef micro_kernel(const Gen *outer, int h, TileKind kind)
{
	char name[64], params[16];
	snprintf(name, sizeof name, "sn_tile%dx%d%s", h, outer->t->nr, kind_name(kind));
	snprintf(params, sizeof params, "pipipipi%s%s", kind.packs_right ? "pi" : "", kind.strided ? "ii" : "");
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name);
	if (fn)
		return fn;
	Micro m = { .g = gen_helper_begin(outer, name, params), .h = h, .nv = kind.vectors ? kind.vectors : outer->t->nr / outer->t->lanes, .kind = kind };
	Gen *g = &m.g;
	LLVMValueRef *const param[] = { &m.a, &m.lda, &m.b, &m.k, &m.acc, &m.first, &m.right, &m.rstep };
	unsigned n = 0;
	for (; n < COUNT(param); n++)
		*param[n] = LLVMGetParam(g->fn, n);
	if (kind.packs_right) {
		m.src = LLVMGetParam(g->fn, n++);
		m.sk = LLVMGetParam(g->fn, n++);
	}
	m.ldb = kind.strided ? LLVMGetParam(g->fn, n++) : gen_i64(g, g->t->nr);
	if (kind.strided && kind.vectors)
		m.last = lanes_below(g, LLVMBuildNSWSub(g->b, LLVMGetParam(g->fn, n), gen_i64(g, (m.nv - 1) * g->t->lanes), ""));
	if (!kind.rows && !kind.apart && h == g->t->mr)
		m.lda = gen_i64(g, h);
	if (kind.rows)
		row_pointers(&m);
	Tile t;
	start(&m, &t);
	LLVMValueRef whole = LLVMBuildAnd(g->b, m.k, gen_i64(g, -TILE_UNROLL), "");
	steps(&m, &t, gen_i64(g, 0), whole, TILE_UNROLL);
	steps(&m, &t, whole, m.k, 1);
	finish(&m, &t);
	return gen_helper_end(g);
}

/* n rows of a low tile from `row` on; p: the parameters, of kind.strided two more. */
static void low_rows(Gen *g, LLVMValueRef *p, LLVMValueRef row, LLVMValueRef n, TileKind kind)
{
	LLVMBasicBlockRef done = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "rows_done");
	LLVMValueRef way = LLVMBuildSwitch(g->b, n, done, LOW_ROWS), in[TILE_PARAMS + 2];
	for (int h = 1; h <= LOW_ROWS && h < g->t->mr; h++) {
		LLVMBasicBlockRef here = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "height");
		LLVMAddCase(way, gen_i64(g, h), here);
		LLVMPositionBuilderAtEnd(g->b, here);
		memcpy(in, p, sizeof in);
		in[0] = gen_at(g, p[0], kind.rows ? times(g, row, p[1]) : row, 4);
		in[4] = gen_at(g, p[4], times(g, row, gen_i64(g, g->t->nr)), 4);
		gen_helper_call(g, micro_kernel(g, h, kind), in, TILE_PARAMS + 2 * kind.strided);
		LLVMBuildBr(g->b, done);
	}
	LLVMPositionBuilderAtEnd(g->b, done);
}

/* h rows in parts of LOW_ROWS at most, as equal as can be: the lower a tile, the longer its multiply-adds wait for each other. */
static void low_tile(Gen *g, LLVMValueRef *p, LLVMValueRef h, TileKind kind)
{
	LLVMValueRef most = gen_i64(g, LOW_ROWS), above = gen_i64(g, LOW_ROWS - 1), one = gen_i64(g, 1);
	LLVMValueRef parts = gen_bin(g, LLVMUDiv, LLVMBuildNSWAdd(g->b, h, above, ""), most);
	LLVMValueRef each = gen_bin(g, LLVMUDiv, LLVMBuildNSWSub(g->b, LLVMBuildNSWAdd(g->b, h, parts, ""), one, ""), parts);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), h, each);
	LLVMValueRef left = LLVMBuildNSWSub(g->b, h, l.iv, "");
	low_rows(g, p, l.iv, LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, left, each, ""), left, each, ""), kind);
	gen_loop_end(g, &l);
}

/* Shapes of tiles live side by side: attention's are not the target's own (flash.c). */
static const char *tile_name(const Gen *g, TileKind kind)
{
	return internf("sn_tile%d_%d%s", g->t->mr, g->t->nr, kind_name(kind));
}

/* A full tile has its own height; lower ones are made of a few. */
LLVMValueRef gen_tile_function(const Gen *outer, TileKind kind)
{
	const char *name = tile_name(outer, kind);
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name), p[TILE_PARAMS + 2] = { 0 };
	TileKind whole = kind;
	whole.strided = false;
	if (fn)
		return fn;
	Gen s = gen_helper_begin(outer, name, kind.strided ? "pipipipiiii" : "pipipipii"), *g = &s;
	for (unsigned i = 0; i < TILE_PARAMS; i++)
		p[i] = LLVMGetParam(g->fn, i);
	LLVMValueRef h = LLVMGetParam(g->fn, TILE_PARAMS);
	for (unsigned i = 0; i < 2 && kind.strided; i++)
		p[TILE_PARAMS + i] = LLVMGetParam(g->fn, TILE_PARAMS + 1 + i);
	LLVMBasicBlockRef full = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "full");
	LLVMBasicBlockRef low = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "low");
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntEQ, h, gen_i64(g, g->t->mr), ""), full, low);
	LLVMPositionBuilderAtEnd(g->b, full);
	gen_helper_call(g, micro_kernel(g, g->t->mr, whole), p, TILE_PARAMS);
	LLVMBuildRetVoid(g->b);
	LLVMPositionBuilderAtEnd(g->b, low);
	low_tile(g, p, h, kind);
	return gen_helper_end(g);
}

LLVMValueRef gen_full_tile_function(const Gen *outer, TileKind kind)
{
	return micro_kernel(outer, outer->t->mr, kind);
}
