/* pack_bf16.c: operands of bf16 contractions in the order their register tile reads: on the right, panels of nr columns with pairs of k
 * side by side, element (k, c) at (k & ~1)*nr + 2c + (k & 1), zeros behind the last column and beside an odd last k; on the
 * left, rows of an even number of k.
 *
 * A pair is 32 bits wide: what is dense along k is moved and transposed as in pack.c in these units, what is dense across
 * is woven from two rows. */
#include "backend/gen.h"

enum { DST, SRC, SK, SW, K, COUNT_, PITCH, NPARAM };          /* columns or rows: COUNT_; PITCH: the left side's alone */
enum { ROWS_A_TASK = 32 };

typedef struct Weave { Gen g; LLVMValueRef p[NPARAM]; } Weave;


/* src + k*sk + w*sw */
static LLVMValueRef source(Weave *p, LLVMValueRef k, LLVMValueRef w)
{
	Gen *g = &p->g;
	return gen_at(g, p->p[SRC], gen_add(g, gen_mul(g, k, p->p[SK]), gen_mul(g, w, p->p[SW])), 2);
}

/* The place of a pair of column w of a panel; of row w on the left. */
static LLVMValueRef target(Weave *p, int side, LLVMValueRef pair, LLVMValueRef w)
{
	Gen *g = &p->g;
	if (side)
		return gen_at(g, p->p[DST], gen_add(g, gen_mul(g, pair, gen_i64(g, g->t->nr)), w), 4);
	return gen_at(g, p->p[DST], gen_add(g, gen_mul(g, w, p->p[PITCH]), gen_mul(g, pair, gen_i64(g, 2))), 2);
}

static LLVMValueRef load_bits(Gen *g, LLVMTypeRef type, LLVMValueRef at)
{
	LLVMValueRef v = LLVMBuildLoad2(g->b, type, at, "");
	LLVMSetAlignment(v, 2);
	return v;
}

static void store_bits(Gen *g, LLVMValueRef v, LLVMValueRef at)
{
	LLVMSetAlignment(LLVMBuildStore(g->b, v, at), 2);
}

/* Elements of one k from column w on, a 32-bit lane each. */
static LLVMValueRef half_row(Weave *p, LLVMValueRef k, LLVMValueRef w, LLVMValueRef mask)
{
	Gen *g = &p->g;
	LLVMTypeRef narrow = LLVMVectorType(LLVMInt16TypeInContext(g->ctx), (unsigned)g->t->lanes);
	LLVMValueRef at = source(p, k, w), v;
	if (mask)
		v = gen_call2(g, "llvm.masked.load", narrow, g->ptr, (LLVMValueRef[]){ at, gen_i32(g, 2), mask, LLVMConstNull(narrow) }, 4);
	else
		v = load_bits(g, narrow, at);
	return LLVMBuildZExt(g->b, v, g->vi, "");
}

/* Pairs of lanes columns from w on, of a source dense across them; both: has the pair a second half? */
static LLVMValueRef woven(Weave *p, LLVMValueRef pair, LLVMValueRef w, LLVMValueRef mask, bool both)
{
	Gen *g = &p->g;
	LLVMValueRef k = gen_mul(g, pair, gen_i64(g, 2)), v = half_row(p, k, w, mask);
	if (!both)
		return v;
	LLVMValueRef hi = half_row(p, gen_add(g, k, gen_i64(g, 1)), w, mask);
	return LLVMBuildOr(g->b, v, LLVMBuildShl(g->b, hi, gen_splat(g, gen_i32(g, 16)), ""), "");
}

/* One pair of any source. */
static void move_pair(Weave *p, int side, LLVMValueRef pair, LLVMValueRef w, bool both)
{
	Gen *g = &p->g;
	LLVMTypeRef i16 = LLVMInt16TypeInContext(g->ctx);
	LLVMValueRef k = gen_mul(g, pair, gen_i64(g, 2)), v = LLVMBuildZExt(g->b, load_bits(g, i16, source(p, k, w)), g->i32, "");
	if (both) {
		LLVMValueRef hi = LLVMBuildZExt(g->b, load_bits(g, i16, source(p, gen_add(g, k, gen_i64(g, 1)), w)), g->i32, "");
		v = LLVMBuildOr(g->b, v, LLVMBuildShl(g->b, hi, gen_i32(g, 16), ""), "");
	}
	store_bits(g, v, target(p, side, pair, w));
}

static LLVMValueRef whole_pairs(Weave *p) { return gen_bin(&p->g, LLVMLShr, p->p[K], gen_i64(&p->g, 1)); }

/* Pairs lo.. of columns or rows from..to, one by one; the half pair of an odd k if `odd`. */
static void move_pairs(Weave *p, int side, LLVMValueRef lo, LLVMValueRef from, LLVMValueRef to, bool odd)
{
	Gen *g = &p->g;
	LLVMValueRef one = gen_i64(g, 1), end = whole_pairs(p);
	if (!odd) {
		Loop k = gen_loop_begin(g, lo, end, one);
		Loop w = gen_loop_begin(g, from, to, one);
		move_pair(p, side, k.iv, w.iv, true);
		gen_loop_end(g, &w);
		gen_loop_end(g, &k);
		return;
	}
	Loop k = gen_loop_begin(g, end, gen_add(g, end, LLVMBuildAnd(g->b, p->p[K], one, "")), one);
	Loop w = gen_loop_begin(g, from, to, one);
	move_pair(p, side, k.iv, w.iv, false);
	gen_loop_end(g, &w);
	gen_loop_end(g, &k);
}

static LLVMValueRef columns_mask(Weave *p, int v, bool whole)
{
	Gen *g = &p->g;
	return whole ? NULL : gen_mask(g, gen_sub(g, p->p[COUNT_], gen_i64(g, v * g->t->lanes)));
}

/* A panel of a source dense across it: a line of each row, far apart, so that the next panel's, beside it, is fetched here. */
static void weave_panel(Weave *p, bool whole)
{
	Gen *g = &p->g;
	LLVMValueRef one = gen_i64(g, 1), end = whole_pairs(p), odd = LLVMBuildAnd(g->b, p->p[K], one, "");
	for (int half = 0; half < 2; half++) {
		Loop k = gen_loop_begin(g, half ? end : gen_i64(g, 0), half ? gen_add(g, end, odd) : end, one);
		for (int r = 0; r < 2 - half; r++)
			gen_prefetch(g, source(p, gen_add(g, gen_mul(g, k.iv, gen_i64(g, 2)), gen_i64(g, r)), gen_i64(g, g->t->nr)), 2);
		for (int v = 0; v < g->t->nr / g->t->lanes; v++) {
			LLVMValueRef w = gen_i64(g, v * g->t->lanes);
			store_bits(g, woven(p, k.iv, w, columns_mask(p, v, whole), !half), target(p, 1, k.iv, w));
		}
		gen_loop_end(g, &k);
	}
}

/* A vector of columns, from `first` on, of a source dense along k, of lanes pairs at least: lanes columns by lanes pairs at a time.
 * Columns behind the last are read from the last again; the last block of pairs starts early rather than ends late. */
static void turn_columns(Weave *p, LLVMValueRef first, bool whole)
{
	Gen *g = &p->g;
	int lanes = g->t->lanes;
	LLVMValueRef row[64], step = gen_i64(g, lanes), last = gen_sub(g, whole_pairs(p), step), end = gen_sub(g, p->p[COUNT_], gen_i64(g, 1));
	LLVMValueRef mask = whole ? NULL : gen_mask(g, gen_sub(g, p->p[COUNT_], first));
	Loop l = gen_loop_begin(g, gen_i64(g, 0), whole_pairs(p), step);
	LLVMValueRef pair = gen_min(g, l.iv, last), k = gen_mul(g, pair, gen_i64(g, 2));
	for (int i = 0; i < lanes; i++) {
		LLVMValueRef c = gen_add(g, first, gen_i64(g, i));
		row[i] = load_bits(g, g->vi, source(p, k, whole ? c : gen_min(g, c, end)));
	}
	gen_transpose(g, row);
	for (int i = 0; i < lanes; i++) {
		LLVMValueRef x = mask ? LLVMBuildSelect(g->b, mask, row[i], LLVMConstNull(g->vi), "") : row[i];
		store_bits(g, x, target(p, 1, gen_add(g, pair, gen_i64(g, i)), first));
	}
	gen_loop_end(g, &l);
}

/* One loop, as turning is many instructions. */
static void turn_panel(Weave *p)
{
	Gen *g = &p->g;
	Loop v = gen_loop_begin(g, gen_i64(g, 0), gen_i64(g, g->t->nr), gen_i64(g, g->t->lanes));
	If whole = gen_if(g, LLVMBuildICmp(g->b, LLVMIntSGE, gen_sub(g, p->p[COUNT_], v.iv), gen_i64(g, g->t->lanes), ""));
	turn_columns(p, v.iv, true);
	gen_else(g, &whole);
	turn_columns(p, v.iv, false);
	gen_end_if(g, &whole);
	gen_loop_end(g, &v);
}

/* Zeros behind the last column. */
static void clear_columns(Weave *p, LLVMValueRef from)
{
	Gen *g = &p->g;
	LLVMValueRef one = gen_i64(g, 1), pairs = gen_bin(g, LLVMLShr, gen_add(g, p->p[K], one), one);
	Loop k = gen_loop_begin(g, from, pairs, one);
	Loop w = gen_loop_begin(g, p->p[COUNT_], gen_i64(g, g->t->nr), one);
	store_bits(g, gen_i32(g, 0), target(p, 1, k.iv, w.iv));
	gen_loop_end(g, &w);
	gen_loop_end(g, &k);
}

static void panel_by_pairs(Weave *p)
{
	LLVMValueRef zero = gen_i64(&p->g, 0);
	move_pairs(p, 1, zero, zero, p->p[COUNT_], false);
	move_pairs(p, 1, zero, zero, p->p[COUNT_], true);
	clear_columns(p, zero);
}

static void weave_any_panel(Weave *p)
{
	If whole = gen_if(&p->g, LLVMBuildICmp(p->g.b, LLVMIntEQ, p->p[COUNT_], gen_i64(&p->g, p->g.t->nr), ""));
	weave_panel(p, true);
	gen_else(&p->g, &whole);
	weave_panel(p, false);
	gen_end_if(&p->g, &whole);
}

static void panel_by_vectors(Weave *p, bool across)
{
	if (across) {
		weave_any_panel(p);
		return;
	}
	turn_panel(p);
	move_pairs(p, 1, gen_i64(&p->g, 0), gen_i64(&p->g, 0), p->p[COUNT_], true);
	clear_columns(p, whole_pairs(p));
}

static Weave weave_begin(const Gen *outer, const char *name, const char *params)
{
	Weave p = { .g = gen_helper_begin(outer, name, params) };
	for (unsigned i = 0; params[i]; i++)
		p.p[i] = LLVMGetParam(p.g.fn, i);
	return p;
}

LLVMValueRef gen_panel_bf16(const Gen *outer, const Dim *sk, const Dim *sn)
{
	bool across = sn && dim_is(sn, 1), along = !across && sk && dim_is(sk, 1);
	const char *name = across ? "sn_weave_across" : along ? "sn_weave_along" : "sn_weave_any";
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name);
	if (fn)
		return fn;
	Weave p = weave_begin(outer, name, "ppiiii");
	Gen *g = &p.g;
	if (across) {
		p.p[SW] = gen_i64(g, 1);
		panel_by_vectors(&p, true);
	} else if (along) {
		p.p[SK] = gen_i64(g, 1);
		If f = gen_if(g, LLVMBuildICmp(g->b, LLVMIntSGE, whole_pairs(&p), gen_i64(g, g->t->lanes), ""));
		panel_by_vectors(&p, false);
		gen_else(g, &f);
		panel_by_pairs(&p);
		gen_end_if(g, &f);
	} else {
		panel_by_pairs(&p);
	}
	return gen_helper_end(g);
}

/* lanes rows by lanes pairs of a left operand that is dense across its rows: woven, then transposed. */
static void turn_rows(Weave *p, LLVMValueRef first)
{
	Gen *g = &p->g;
	int lanes = g->t->lanes;
	LLVMValueRef row[64], step = gen_i64(g, lanes), last = gen_sub(g, whole_pairs(p), step);
	Loop l = gen_loop_begin(g, gen_i64(g, 0), whole_pairs(p), step);
	LLVMValueRef pair = gen_min(g, l.iv, last);
	Loop w = gen_loop_begin(g, gen_i64(g, 0), first, step);
	for (int i = 0; i < lanes; i++)
		row[i] = woven(p, gen_add(g, pair, gen_i64(g, i)), w.iv, NULL, true);
	gen_transpose(g, row);
	for (int i = 0; i < lanes; i++)
		store_bits(g, row[i], target(p, 0, pair, gen_add(g, w.iv, gen_i64(g, i))));
	gen_loop_end(g, &w);
	gen_loop_end(g, &l);
}

/* Row by row: vectors of pairs where they are neighbours, then one by one. */
static void copy_rows(Weave *p, bool along)
{
	Gen *g = &p->g;
	LLVMValueRef zero = gen_i64(g, 0), done = zero, two = gen_i64(g, 2);
	if (along)
		done = LLVMBuildAnd(g->b, whole_pairs(p), gen_i64(g, -g->t->lanes), "");
	Loop w = gen_loop_begin(g, zero, p->p[COUNT_], gen_i64(g, 1));
	if (along) {
		Loop k = gen_loop_begin(g, zero, done, gen_i64(g, g->t->lanes));
		store_bits(g, load_bits(g, g->vi, source(p, gen_mul(g, k.iv, two), w.iv)), target(p, 0, k.iv, w.iv));
		gen_loop_end(g, &k);
	}
	move_pairs(p, 0, done, w.iv, gen_add(g, w.iv, gen_i64(g, 1)), false);
	gen_loop_end(g, &w);
}

/* void (dst, src, sk, sm, k, rows, pitch): rows of a left operand, pitch elements apart. */
static LLVMValueRef rows_function(const Gen *outer, const Dim *sk, const Dim *sm)
{
	bool across = dim_is(sm, 1), along = !across && dim_is(sk, 1);
	const char *name = across ? "sn_turn_rows" : along ? "sn_copy_rows" : "sn_any_rows";
	LLVMValueRef fn = LLVMGetNamedFunction(outer->mod, name);
	if (fn)
		return fn;
	Weave p = weave_begin(outer, name, "ppiiiii");
	Gen *g = &p.g;
	LLVMValueRef zero = gen_i64(g, 0), lanes = gen_i64(g, g->t->lanes), done = zero;
	if (across) {
		p.p[SW] = gen_i64(g, 1);
		If f = gen_if(g, LLVMBuildICmp(g->b, LLVMIntSGE, whole_pairs(&p), lanes, ""));
		done = LLVMBuildAnd(g->b, p.p[COUNT_], gen_i64(g, -g->t->lanes), "");
		turn_rows(&p, done);
		move_pairs(&p, 0, zero, done, p.p[COUNT_], false);
		gen_else(g, &f);
		move_pairs(&p, 0, zero, zero, p.p[COUNT_], false);
		gen_end_if(g, &f);
	} else {
		if (along)
			p.p[SK] = gen_i64(g, 1);
		copy_rows(&p, along);
	}
	move_pairs(&p, 0, zero, zero, p.p[COUNT_], true);
	return gen_helper_end(g);
}

/* Task: a panel, or ROWS_A_TASK rows, of one batch. */
void gen_pack_bf16(Gen *g, const Cluster *c, KernelArgs *ka)
{
	Value *pack = c->anchor, *src = pack->in[0];
	int side = pack->a.side, nr = tile_columns(g->t, DT_BF16), width = side ? nr : ROWS_A_TASK;
	Target t = *g->t;
	const Target *outer = g->t;
	t.nr = nr;
	g->t = &t;
	Axes x = axes_of(pack->a.spec, side ? NULL : &pack->type, side ? &pack->type : NULL);
	Access from = axes_access(&x, x.in[side], src->type, gen_view(g, src));
	const char *across = side ? x.n : x.m;
	const Dim *sk = axes_stride(&x, x.k, &from), *sw = axes_stride(&x, across, &from);
	if (!sk || !sw)
		bug("pack \"%s\": windows are not packed in bf16", pack->a.spec);
	LLVMValueRef fn = side ? gen_panel_bf16(g, sk, sw) : rows_function(g, sk, sw), lo, hi, w = gen_i64(g, width);
	LLVMValueRef k = gen_dim(g, axes_extent(&x, x.k)), n = gen_dim(g, axes_extent(&x, across)), one = gen_i64(g, 1);
	LLVMValueRef pitch = LLVMBuildAnd(g->b, gen_add(g, k, one), gen_i64(g, -2), "");
	LLVMValueRef tasks = gen_bin(g, LLVMUDiv, gen_add(g, n, gen_i64(g, width - 1)), w), size = side ? gen_mul(g, tasks, w) : n;
	gen_share(g, gen_mul(g, gen_dim(g, axes_extent(&x, x.batch)), tasks), &lo, &hi);
	Loop l = gen_loop_begin(g, lo, hi, one);
	LLVMValueRef b = gen_bin(g, LLVMUDiv, l.iv, tasks), first = gen_mul(g, gen_bin(g, LLVMURem, l.iv, tasks), w);
	LLVMValueRef to = gen_mul(g, gen_add(g, gen_mul(g, b, size), first), pitch);
	LLVMValueRef at = gen_add(g, gen_offset(g, &x, x.batch, &from, b), gen_offset(g, &x, across, &from, first));
	LLVMValueRef in[NPARAM] = { gen_at(g, gen_base(g, pack), to, 2), gen_at(g, gen_base(g, src), at, 2), gen_dim(g, sk), gen_dim(g, sw), k,
		gen_min(g, gen_sub(g, n, first), w), pitch };
	gen_helper_call(g, fn, in, side ? PITCH : NPARAM);
	gen_loop_end(g, &l);
	g->t = outer;
	ka->scratch = 0;
}
