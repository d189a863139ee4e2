/* plan_print.c: the memory plan for a reader: what stays, what each function needs on top and when, and the peak, which is
 * what the program asks the system for. Figures are bytes; lifetimes are launches, from 0. */
#include "backend/backend.h"

#include <stdlib.h>

typedef struct Line { const Slot *slot; int order; } Line;

static bool stays(const Slot *s)
{
	return s->first < 0;
}

/* Parameters, or a state by the part of its name before the first dot: grad, m, v, cache, hoist. */
static const char *group_of(const Slot *s)
{
	const Value *v = s->value;
	if (v->op == OP_PARAM)
		return intern(s->external ? "external" : "parameters");
	if (v->op == OP_INPUT)
		return intern("inputs");
	return intern_n(v->a.name, strcspn(v->a.name, "."));
}

static bool is_source(const Value *v)
{
	return v->op == OP_PARAM || v->op == OP_STATE || v->op == OP_INPUT;
}

/* Functions share what stays: each name counts once. */
static bool counts(const Plan *p, int at)
{
	const Slot *a = &p->slots.at[at];
	return stays(a) && is_source(a->value) && plan_named(p, a->value) == at;
}

static void print_group(Str *s, const Plan *p, int from, const char *group)
{
	int64_t bytes = 0;
	int tensors = 0;
	for (int i = from; i < p->slots.len; i++) {
		if (!counts(p, i) || group_of(&p->slots.at[i]) != group)
			continue;
		tensors++;
		bytes += p->slots.at[i].bytes;
	}
	str_printf(s, "  %-12s %5d tensors %14lld\n", group, tensors, (long long)bytes);
}

static void print_persistent(Str *s, const Plan *p)
{
	const char *done[64];
	int n = 0;
	str_printf(s, "stays: %lld bytes", (long long)p->persistent);
	if (p->external)
		str_printf(s, "; %lld external, read from the checkpoint's mapping", (long long)p->external);
	str_printf(s, "\n");
	for (int i = 0; i < p->slots.len; i++) {
		const char *group = counts(p, i) ? group_of(&p->slots.at[i]) : NULL;
		bool seen = !group || n == COUNT(done);
		for (int k = 0; k < n && !seen; k++)
			seen = done[k] == group;
		if (seen)
			continue;
		done[n++] = group;
		print_group(s, p, i, group);
	}
}

static int by_time(const void *a, const void *b)
{
	const Line *x = a, *y = b;
	if (x->slot->first != y->slot->first)
		return x->slot->first < y->slot->first ? -1 : 1;
	return x->order - y->order;
}

/* Bytes of the region in use during a launch: buffers that share memory count once. */
static int64_t live_at(const Line *l, int n, int launch)
{
	int64_t sum = 0;
	for (int i = 0; i < n; i++) {
		bool shared = false;
		if (l[i].slot->first > launch || l[i].slot->last < launch)
			continue;
		for (int k = 0; k < i && !shared; k++)
			shared = l[k].slot->offset == l[i].slot->offset && l[k].slot->first <= launch && l[k].slot->last >= launch;
		sum += shared ? 0 : l[i].slot->bytes;
	}
	return sum;
}

static void print_line(Str *s, const Slot *a)
{
	const Value *v = a->value;
	str_printf(s, "  %5d-%-5d %14lld %14lld  %s ", a->first, a->last, (long long)a->offset, (long long)a->bytes, op_info[v->op].text);
	type_print(s, v->type);
	str_printf(s, "%s%s%s\n", v->path ? " " : "", v->path ? v->path : "", v->grad ? "'" : "");
}

static int collect(const Plan *p, const Graph *g, Arena *scratch, Line *lines)
{
	ValueMap *mine = vmap_new(scratch);
	int n = 0;
	for (int i = 0; i < g->vals.len; i++)
		vmap_put(mine, g->vals.at[i], i);
	for (int i = 0; i < p->slots.len; i++)
		if (!stays(&p->slots.at[i]) && vmap_get(mine, p->slots.at[i].value) >= 0) {
			lines[n] = (Line){ &p->slots.at[i], n };
			n++;
		}
	return n;
}

static void print_function(Str *s, const Plan *p, const Graph *g)
{
	Arena *scratch = arena_new();
	Line *lines = NEW_ARRAY(scratch, Line, p->slots.len + 1);
	int n = collect(p, g, scratch, lines), launches = 0, at = 0;
	int64_t most = 0, top = 0;
	for (int i = 0; i < n; i++) {
		launches = MAX(launches, lines[i].slot->last + 1);
		top = MAX(top, lines[i].slot->offset + lines[i].slot->bytes - p->persistent);
	}
	for (int k = 0; k < launches; k++) {
		int64_t live = live_at(lines, n, k);
		at = live > most ? k : at;
		most = MAX(most, live);
	}
	str_printf(s, "\n%s: %d buffers, %lld bytes; most alive at once %lld, in launch %d\n", g->name, n, (long long)top,
	           (long long)most, at);
	if (n)
		str_printf(s, "  %11s %14s %14s  computed by\n", "launches", "offset", "bytes");
	qsort(lines, (size_t)n, sizeof *lines, by_time);
	for (int i = 0; i < n; i++)
		print_line(s, lines[i].slot);
	arena_free(scratch);
}

void plan_print(Str *s, const Plan *p, const Entry *e)
{
	str_printf(s, "memory of %s: %lld bytes\n", e->name, (long long)(p->persistent + p->arena));
	print_persistent(s, p);
	str_printf(s, "temporaries: %lld bytes, one function at a time\n", (long long)p->arena);
	for (int i = 0; i < e->graphs.len; i++)
		if (graph_is_function(e->graphs.at[i]))
			print_function(s, p, e->graphs.at[i]);
}
