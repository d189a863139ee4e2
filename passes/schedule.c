/* schedule.c: the order of kernels. Kernels become contiguous in the list, each after all it needs; among those that
 * could run next, one that frees at least as much memory as it takes goes first (most freed first), else the one
 * earliest in the graph's own order. So gradients of weights are computed as soon as they let go of activations,
 * while the forward part, where everything only grows, keeps its order. Deterministic. */
#include "passes/fuse.h"

/* Elements counted for one piece of memory at most, so that sums of pieces stay in 64 bits: an order is all that is
 * made of them, and the plan refuses what does not fit. */
#define HUGE_PIECE (1LL << 44)

typedef Vec(int) Ints;

/* A unit is a kernel, or a value of no kernel. Units are numbered in the order of their first values. */
typedef struct Unit {
	int first;               /* position of the first value */
	int waits;               /* edges from units not yet run */
	bool kernel, done;
	int place;               /* in Sched.ready + 1; 0 for not there */
	int64_t grows;           /* bytes: taken minus freed, were it the next to run */
	ValueList vals;
} Unit;

/* A piece of memory that kernels write and read: the root of views. */
typedef struct Piece {
	int64_t bytes;
	bool taken;
	int left;                /* kernels that have yet to read it */
	Ints readers, writers;
} Piece;

/* What a unit does with a piece. */
typedef struct Touch { int piece; bool reads, writes; } Touch;
typedef Vec(Touch) Touches;

typedef struct Sched {
	Graph *g;
	Dag *d;
	int *unit_of;            /* by position */
	Vec(Unit) units;
	Piece *pieces;           /* by the root's position */
	Touches *touches;        /* by unit: the pieces it reads or writes, each once */
	Ints ready;              /* kernels that wait for nothing: a binary heap, the next to run first */
} Sched;

static void make_units(Sched *s)
{
	Graph *g = s->g;
	int most = 0;
	for (int i = 0; i < g->vals.len; i++)
		most = MAX(most, g->vals.at[i]->kernel);
	int *by_kernel = NEW_ARRAY(g->arena, int, most + 1);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		int *u = v->kernel ? &by_kernel[v->kernel] : &s->unit_of[i];
		if (!*u) {
			vec_push(g->arena, &s->units, ((Unit){ .first = i, .kernel = v->kernel != 0 }));
			*u = s->units.len;
		}
		int id = *u - 1;
		s->unit_of[i] = id;
		vec_push(g->arena, &s->units.at[id].vals, v);
	}
}

static void count_edges(Sched *s)
{
	for (int i = 0; i < s->d->n; i++)
		for (int k = s->d->first[i]; k < s->d->first[i + 1]; k++)
			if (s->unit_of[i] != s->unit_of[s->d->to[k]])
				s->units.at[s->unit_of[s->d->to[k]]].waits++;
}

static Touch *touch_of(Sched *s, int u, int piece)
{
	Touches *l = &s->touches[u];
	for (int i = 0; i < l->len; i++)
		if (l->at[i].piece == piece)
			return &l->at[i];
	vec_push(s->g->arena, l, ((Touch){ .piece = piece }));
	return &l->at[l->len - 1];
}

/* The value whose memory v shows: a scatter_add's is its first operand's. */
static Value *memory_of(Value *v)
{
	View w;
	while (view_of(v, &w)) {
		if (w.root->op != OP_SCATTER_ADD)
			return w.root;
		v = w.root->in[0];
	}
	return v;
}

/* Notes that unit u reads, or writes, the memory behind v. Sources stay, so they don't count. */
static void touch(Sched *s, int u, Value *v, bool writes)
{
	const Value *root = memory_of(v);
	if (!s->units.at[u].kernel || op_info[root->op].flags & OPF_SOURCE)
		return;
	if (s->unit_of[root->id] == u && !writes)
		return;
	Piece *p = &s->pieces[root->id];
	Touch *t = touch_of(s, u, root->id);
	bool *known = writes ? &t->writes : &t->reads;
	if (!*known)
		vec_push(s->g->arena, writes ? &p->writers : &p->readers, u);
	*known = true;
}

/* Values in memory are marked: read by another unit, or placed. */
static void mark_in_memory(Sched *s)
{
	Graph *g = s->g;
	for (int i = 0; i < g->vals.len; i++)
		g->vals.at[i]->mark = g->vals.at[i]->dest;
	for (int i = 0; i < g->vals.len; i++)
		for (int k = 0; k < g->vals.at[i]->nin; k++)
			if (s->unit_of[g->vals.at[i]->in[k]->id] != s->unit_of[i])
				g->vals.at[i]->in[k]->mark = g;
}

/* Who writes and reads what, and its size: 0 for what stays, in a state's memory or an output's. */
static void make_pieces(Sched *s)
{
	Graph *g = s->g;
	mark_in_memory(s);
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		for (int k = 0; k < v->nin; k++)
			if (s->unit_of[v->in[k]->id] != s->unit_of[i])
				touch(s, s->unit_of[i], v->in[k], false);
		if (v->kernel && v->mark)
			touch(s, s->unit_of[i], v, true);
	}
	for (int i = 0; i < g->vals.len; i++) {
		Piece *p = &s->pieces[i];
		Type t = g->vals.at[i]->type;
		p->left = p->readers.len;
		if (p->writers.len && graph_bound(g, type_elems(t), &p->bytes))
			p->bytes = MIN(p->bytes, HUGE_PIECE) * dtype_size[t.dt];
	}
	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (op_info[v->op].flags & OPF_ROOT)
			s->pieces[memory_of(v->in[v->nin - 1])->id].bytes = 0;
	}
}

/* Bytes taken minus bytes freed by running u now. */
static int64_t growth(const Sched *s, int u)
{
	int64_t n = 0;
	for (int i = 0; i < s->touches[u].len; i++) {
		const Touch *t = &s->touches[u].at[i];
		const Piece *p = &s->pieces[t->piece];
		if (!p->taken)
			n += p->bytes;
		if (p->left == 1 && t->reads)
			n -= p->bytes;
	}
	return n;
}

/* Which of the ready goes before the other? */
static bool before(const Unit *a, const Unit *b)
{
	int64_t ga = MIN(a->grows, 1), gb = MIN(b->grows, 1);
	return ga != gb ? ga < gb : a->first < b->first;
}

static void put_ready(Sched *s, int place, int u)
{
	s->ready.at[place] = u;
	s->units.at[u].place = place + 1;
}

/* Moves u, which belongs at this place or above or below it, to where the heap is in order. */
static void settle(Sched *s, int place, int u)
{
	const Unit *x = &s->units.at[u];
	for (int up; place > 0 && before(x, &s->units.at[s->ready.at[up = (place - 1) / 2]]); place = up)
		put_ready(s, place, s->ready.at[up]);
	for (int down; (down = 2 * place + 1) < s->ready.len; place = down) {
		const Unit *left = &s->units.at[s->ready.at[down]];
		if (down + 1 < s->ready.len && before(&s->units.at[s->ready.at[down + 1]], left))
			down++;
		if (!before(&s->units.at[s->ready.at[down]], x))
			break;
		put_ready(s, place, s->ready.at[down]);
	}
	put_ready(s, place, u);
}

/* Lists a unit that waits for nothing: kernels as ready to run; other values go to the graph at once. */
static void arrive(Sched *s, int u);

static void leave(Sched *s, int u)
{
	Unit *x = &s->units.at[u];
	x->done = true;
	for (int i = 0; i < x->vals.len; i++)
		vec_push(s->g->arena, &s->g->vals, x->vals.at[i]);
	for (int i = 0; i < x->vals.len; i++) {
		int node = x->vals.at[i]->id;
		for (int k = s->d->first[node]; k < s->d->first[node + 1]; k++) {
			int to = s->unit_of[s->d->to[k]];
			if (to != u && --s->units.at[to].waits == 0)
				arrive(s, to);
		}
	}
}

static void arrive(Sched *s, int u)
{
	Unit *x = &s->units.at[u];
	if (!x->kernel) {
		leave(s, u);
		return;
	}
	x->grows = growth(s, u);
	vec_push(s->g->arena, &s->ready, u);
	settle(s, s->ready.len - 1, u);
}

static void weigh_again(Sched *s, const Ints *units)
{
	for (int i = 0; i < units->len; i++) {
		int u = units->at[i];
		Unit *x = &s->units.at[u];
		if (!x->place)
			continue;
		x->grows = growth(s, u);
		settle(s, x->place - 1, u);
	}
}

/* Kernel u has run: its pieces are taken, and those it read have one reader less. */
static void account(Sched *s, int u)
{
	for (int i = 0; i < s->touches[u].len; i++) {
		const Touch *t = &s->touches[u].at[i];
		Piece *p = &s->pieces[t->piece];
		p->left -= t->reads;
		bool news = !p->taken || p->left == 1;
		p->taken = true;
		if (news) {
			weigh_again(s, &p->readers);
			weigh_again(s, &p->writers);
		}
	}
}

static int take_next(Sched *s)
{
	int u = s->ready.at[0], last = s->ready.at[--s->ready.len];
	s->units.at[u].place = 0;
	if (s->ready.len)
		settle(s, 0, last);
	return u;
}

void schedule(Graph *g)
{
	Sched s = { .g = g, .d = dag_new(g) };
	int n = g->vals.len;
	s.unit_of = NEW_ARRAY(g->arena, int, n);
	s.pieces = NEW_ARRAY(g->arena, Piece, n);
	make_units(&s);
	s.touches = NEW_ARRAY(g->arena, Touches, s.units.len);
	count_edges(&s);
	make_pieces(&s);
	g->vals.len = 0;
	g->vals.at = NULL;
	g->vals.cap = 0;
	for (int u = 0; u < s.units.len; u++)
		if (!s.units.at[u].waits && !s.units.at[u].done && !s.units.at[u].place)
			arrive(&s, u);
	while (s.ready.len) {
		int u = take_next(&s);
		leave(&s, u);
		account(&s, u);
	}
	if (g->vals.len != n)
		bug("%s: kernels wait for each other", g->name);
	graph_number(g);
}
