/* program.c: a module's entries as data: `sn_program` and everything it points to, laid out by runtime/rt.def, beside the
 * kernels in one LLVM module.
 *
 * Records are filled by field name; a field left out or of another kind than its row says is a bug() here, so that
 * the runtime's structs and these cannot disagree. Nothing depends on addresses or time: equal input, equal bytes. */
#include "backend/gen.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum Kind { KIND_PTR, KIND_I64, KIND_I32, KIND_I8, KIND_F64 };
typedef struct Field { const char *name; enum Kind kind; } Field;

#define FIELD_INDEX(s, type, field) s##_##field,
#define RT_STRUCT(name, fields) enum { fields(FIELD_INDEX) name##_COUNT };
#include "runtime/rt.def"
#define FIELD_ROW(s, type, field) { #s "." #field, KIND_##type },
#define RT_STRUCT(name, fields) static const Field name##_fields[] = { fields(FIELD_ROW) };
#include "runtime/rt.def"

typedef struct Program {
	Arena *arena;
	Module *m;
	Kernels *k;
	LLVMContextRef ctx;
	LLVMModuleRef mod;
	LLVMTypeRef ptr, i64, f64;
	Vec(LLVMValueRef) texts;
	ValueMap *text_at;         /* interned text: index in texts */
} Program;

typedef struct EntryBuild {
	Entry *e;
	const Plan *plan;
	Vec(Sym) syms;
	Vec(int) tensors;          /* the plan's slots that are tensors */
	int64_t scratch;
} EntryBuild;

/* Constants */

static LLVMValueRef number(Program *p, int64_t n) { return LLVMConstInt(p->i64, (unsigned long long)n, 1); }
static LLVMValueRef real(Program *p, double x) { return LLVMConstReal(p->f64, x); }
static LLVMValueRef nothing(Program *p) { return LLVMConstNull(p->ptr); }

static LLVMValueRef constant(Program *p, LLVMValueRef value, const char *name)
{
	LLVMValueRef g = LLVMAddGlobal(p->mod, LLVMTypeOf(value), name);

	LLVMSetInitializer(g, value);
	LLVMSetGlobalConstant(g, 1);
	LLVMSetLinkage(g, LLVMPrivateLinkage);
	LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
	return g;
}

static LLVMValueRef text(Program *p, const char *s)
{
	LLVMValueRef v;
	int at;

	if (!s)
		return nothing(p);
	s = intern(s);
	at = vmap_get(p->text_at, s);
	if (at >= 0)
		return p->texts.at[at];
	v = constant(p, LLVMConstStringInContext(p->ctx, s, (unsigned)strlen(s), 0), "s");
	LLVMSetAlignment(v, 1);
	vmap_put(p->text_at, s, p->texts.len);
	vec_push(p->arena, &p->texts, v);
	return v;
}

static LLVMTypeRef kind_type(Program *p, enum Kind k)
{
	switch (k) {
	case KIND_PTR: return p->ptr;
	case KIND_I64: return p->i64;
	case KIND_I32: return LLVMInt32TypeInContext(p->ctx);
	case KIND_I8: return LLVMInt8TypeInContext(p->ctx);
	case KIND_F64: return p->f64;
	}
	return NULL;
}

/* A number() in as many bits as its field has. */
static LLVMValueRef narrowed(Program *p, const Field *f, LLVMValueRef v)
{
	LLVMValueRef small;

	if ((f->kind != KIND_I32 && f->kind != KIND_I8) || !v || !LLVMIsAConstantInt(v))
		return v;
	small = LLVMConstInt(kind_type(p, f->kind), (unsigned long long)LLVMConstIntGetSExtValue(v), 1);
	if (LLVMConstIntGetSExtValue(small) != LLVMConstIntGetSExtValue(v))
		bug("%s has no room for %lld", f->name, LLVMConstIntGetSExtValue(v));
	return small;
}

static LLVMValueRef record(Program *p, const Field *fields, LLVMValueRef *v, int n)
{
	for (int i = 0; i < n; i++) {
		v[i] = narrowed(p, &fields[i], v[i]);
		if (!v[i] || LLVMTypeOf(v[i]) != kind_type(p, fields[i].kind))
			bug("%s is %s", fields[i].name, v[i] ? "of the wrong kind" : "not set");
	}
	return LLVMConstStructInContext(p->ctx, v, (unsigned)n, 0);
}
#define RECORD(p, T, v) record(p, T##_fields, v, T##_COUNT)

typedef Vec(LLVMValueRef) Values;

/* An array of records or pointers; NULL for none. */
static LLVMValueRef array(Program *p, const Values *v, const char *name)
{
	if (!v->len)
		return nothing(p);
	return constant(p, LLVMConstArray(LLVMTypeOf(v->at[0]), v->at, (unsigned)v->len), name);
}

static LLVMValueRef numbers(Program *p, const int64_t *n, int count, const char *name)
{
	Values v = { 0 };

	for (int i = 0; i < count; i++)
		vec_push(p->arena, &v, number(p, n[i]));
	return array(p, &v, name);
}

/* Functions of an entry */

static const char *function_name(const Graph *g)
{
	const char *dot = strrchr(g->name, '.');
	return dot ? dot + 1 : g->name;
}

static void collect_syms(Program *p, EntryBuild *b)
{
	for (int i = 0; i < b->e->graphs.len; i++) {
		const Graph *g = b->e->graphs.at[i];
		for (int k = 0; k < g->syms.len && graph_is_function(g); k++) {
			Sym *had = NULL;
			for (int j = 0; j < b->syms.len; j++)
				if (b->syms.at[j].name == g->syms.at[k].name)
					had = &b->syms.at[j];
			if (!had)
				vec_push(p->arena, &b->syms, g->syms.at[k]);
			else
				had->bound = MAX(had->bound, g->syms.at[k].bound);
		}
	}
}

static int tensor_index(const EntryBuild *b, const Value *root)
{
	int slot = plan_named(b->plan, root);

	for (int i = 0; i < b->tensors.len; i++)
		if (b->tensors.at[i] == slot)
			return i;
	bug("%s: %s is no tensor", b->e->name, root->a.name);
}

static void add_externals(Program *p, EntryBuild *b, const KernelArgs *ka, int launch, Values *out)
{
	for (int i = 0; i < ka->at.len; i++) {
		LLVMValueRef v[SnExternal_COUNT] = { 0 };
		if (!plan_external(b->plan, ka->at.at[i].root))
			continue;
		v[SnExternal_launch] = number(p, launch);
		v[SnExternal_nargs] = number(p, ka->at.len);
		v[SnExternal_arg] = number(p, i);
		v[SnExternal_tensor] = number(p, tensor_index(b, ka->at.at[i].root));
		vec_push(p->arena, out, RECORD(p, SnExternal, v));
	}
}

static LLVMValueRef launch_record(Program *p, EntryBuild *b, const Launch *l, CostTable *costs)
{
	LLVMValueRef v[SnLaunch_COUNT] = { 0 };
	int64_t *args = NEW_ARRAY(p->arena, int64_t, l->ka->at.len + 1);

	for (int i = 0; i < l->ka->at.len; i++)
		args[i] = plan_argument(b->plan, &l->ka->at.at[i]);
	v[SnLaunch_fn] = l->kernel->fn;
	v[SnLaunch_args] = numbers(p, args, l->ka->at.len, "args");
	v[SnLaunch_name] = text(p, l->name);
	v[SnLaunch_threads] = number(p, l->single);
	v[SnLaunch_cost] = number(p, cost_index(costs, l->flops, l->bytes));
	b->scratch = MAX(b->scratch, l->kernel->scratch);
	return RECORD(p, SnLaunch, v);
}

/* Inputs and outputs in the model file's order; behind them the compiler's own in the graph's order. */
typedef struct Port { Value *v; const char *name; bool output; int place; } Port;
typedef Vec(Port) PortList;

/* Where the frontend's graph has it. */
static int port_place(const Graph *forward, Op op, const char *name)
{
	for (int i = 0; forward && i < forward->vals.len; i++)
		if (forward->vals.at[i]->op == op && forward->vals.at[i]->a.name == name)
			return i;
	return INT_MAX;
}

static void add_port(Program *p, PortList *ports, Port port)
{
	int at = ports->len;

	vec_push(p->arena, ports, port);
	for (; at > 0 && ports->at[at - 1].place > port.place; at--)
		ports->at[at] = ports->at[at - 1];
	ports->at[at] = port;
}

static PortList ports_of(Program *p, const Entry *e, const Graph *g)
{
	const Graph *forward = entry_graph(e, "forward");
	PortList ports = { 0 };

	for (int i = 0; i < g->vals.len; i++) {
		Value *v = g->vals.at[i];
		if (v->op == OP_INPUT)
			add_port(p, &ports, (Port){ v, v->a.name, false, port_place(forward, OP_INPUT, v->a.name) });
		if (v->op == OP_OUTPUT)
			add_port(p, &ports, (Port){ v->in[0], v->a.name, true, port_place(forward, OP_OUTPUT, v->a.name) });
	}
	return ports;
}

/* d = scale * sym + offset with one symbol to the first power: false where it is more. */
static bool linear(const Dim *d, const char **sym, int64_t *scale, int64_t *offset)
{
	*sym = NULL;
	*scale = *offset = 0;
	for (int i = 0; i < dim_terms(d); i++) {
		const DimFactor *f;
		int n;
		int64_t coef = dim_term(d, i, &f, &n);
		if (n > 1 || (n == 1 && (*sym || !f->sym || f->power != 1)))
			return false;
		if (n == 0)
			*offset = coef;
		else
			*sym = f->sym, *scale = coef;
	}
	return *scale >= 0;
}

static int sym_index(const EntryBuild *b, const char *sym)
{
	for (int i = 0; i < b->syms.len; i++)
		if (b->syms.at[i].name == sym)
			return i;
	return -2;
}

static LLVMValueRef axis_record(Program *p, EntryBuild *b, const Dim *d)
{
	LLVMValueRef v[SnAxis_COUNT] = { 0 };
	const char *sym;
	int64_t scale, offset;
	int index = !linear(d, &sym, &scale, &offset) ? -2 : sym ? sym_index(b, sym) : -1;

	v[SnAxis_sym] = number(p, index);
	v[SnAxis_scale] = number(p, scale);
	v[SnAxis_offset] = number(p, offset);
	v[SnAxis_text] = text(p, dim_text(d));
	return RECORD(p, SnAxis, v);
}

static LLVMValueRef axes(Program *p, EntryBuild *b, Type t)
{
	Values all = { 0 };

	for (int i = 0; i < t.rank; i++)
		vec_push(p->arena, &all, axis_record(p, b, t.dim[i]));
	return array(p, &all, "axes");
}

/* What the model file says of an input's ids. */
static EntryInput input_of(const Entry *e, const Port *port)
{
	for (int i = 0; i < e->inputs.len && !port->output; i++)
		if (e->inputs.at[i].name == port->name)
			return e->inputs.at[i];
	return (EntryInput){ port->name, 0, false };
}

static LLVMValueRef slot_record(Program *p, EntryBuild *b, const Port *port)
{
	EntryInput ids = input_of(b->e, port);
	LLVMValueRef v[SnSlot_COUNT] = { 0 };
	View view;
	int64_t start;

	if (!view_of(port->v, &view) || !view_contiguous(&view, port->v->type) || !dim_is_const(view.offset, &start))
		bug("%s: `%s` does not lie contiguously at a fixed place", b->e->name, port->name);
	v[SnSlot_name] = text(p, port->name);
	v[SnSlot_output] = number(p, port->output);
	v[SnSlot_dtype] = number(p, port->v->type.dt);
	v[SnSlot_rank] = number(p, port->v->type.rank);
	v[SnSlot_offset] = number(p, plan_offset(b->plan, view.root) + start * dtype_size[port->v->type.dt]);
	v[SnSlot_axes] = axes(p, b, port->v->type);
	v[SnSlot_rows] = number(p, ids.rows);
	v[SnSlot_optional] = number(p, ids.optional);
	return RECORD(p, SnSlot, v);
}

static Gen plain_function(Program *p, EntryBuild *b, const char *name, LLVMTypeRef result, int nparams)
{
	LLVMTypeRef params[2] = { p->ptr, p->ptr };
	Gen g = { .ctx = p->ctx, .mod = p->mod, .t = p->k->t, .arena_mem = p->arena, .syms = b->syms.at, .nsyms = b->syms.len };

	gen_begin_plain(&g, name, LLVMFunctionType(result, params, (unsigned)nparams, 0));
	g.dims = LLVMGetParam(g.fn, 0);
	LLVMSetLinkage(g.fn, LLVMInternalLinkage);
	return g;
}

static LLVMValueRef shapes_function(Program *p, EntryBuild *b, const Graph *graph, const PortList *ports)
{
	Gen g = plain_function(p, b, internf("sn_shapes_%s", graph->name), LLVMVoidTypeInContext(p->ctx), 2);
	int at = 0;

	for (int i = 0; i < ports->len; i++)
		for (int a = 0; a < ports->at[i].v->type.rank; a++) {
			LLVMValueRef to = gen_at(&g, LLVMGetParam(g.fn, 1), gen_i64(&g, at++), 8);
			LLVMBuildStore(g.b, gen_dim(&g, ports->at[i].v->type.dim[a]), to);
		}
	return gen_end(&g);
}

static LLVMValueRef flops_function(Program *p, EntryBuild *b, const Graph *graph)
{
	Gen g = plain_function(p, b, internf("sn_flops_%s", graph->name), p->f64, 1);
	const Dim *sum = dim_const(0);
	LLVMValueRef n;

	for (int i = 0; i < graph->vals.len; i++)
		sum = dim_add(sum, value_flops(graph->vals.at[i]));
	n = gen_dim(&g, sum);
	LLVMBuildRet(g.b, LLVMBuildSIToFP(g.b, n, p->f64, ""));
	return gen_end_plain(&g);
}

static LLVMValueRef products_function(Program *p, EntryBuild *b, const Graph *graph, const CostTable *t)
{
	Gen g = plain_function(p, b, internf("sn_products_%s", graph->name), LLVMVoidTypeInContext(p->ctx), 2);

	for (int i = 0; i < t->products.len; i++) {
		LLVMValueRef to = gen_at(&g, LLVMGetParam(g.fn, 1), gen_i64(&g, i), 8);
		LLVMBuildStore(g.b, gen_product(&g, 1, t->products.at[i].f, t->products.at[i].n), to);
	}
	return gen_end(&g);
}

static void set_costs(Program *p, EntryBuild *b, const Graph *graph, const CostTable *t, LLVMValueRef *v)
{
	v[SnFunction_costs] = numbers(p, t->terms.at, t->terms.len, "costs");
	v[SnFunction_ncost] = number(p, t->costs.len);
	v[SnFunction_products] = products_function(p, b, graph, t);
	v[SnFunction_nproduct] = number(p, t->products.len);
}

static LLVMValueRef object(Program *p, const char *symbol)
{
	LLVMValueRef known = LLVMGetNamedGlobal(p->mod, symbol);

	return known ? known : LLVMAddGlobal(p->mod, p->i64, symbol);
}

static bool has_output(const Graph *g, const char *prefix)
{
	for (int i = 0; i < g->vals.len; i++)
		if (g->vals.at[i]->op == OP_OUTPUT && strncmp(g->vals.at[i]->a.name, prefix, strlen(prefix)) == 0)
			return true;
	return false;
}

static LLVMValueRef function_record(Program *p, EntryBuild *b, Graph *g)
{
	LLVMValueRef v[SnFunction_COUNT] = { 0 };
	LaunchList launches = kernels_of(p->k, g, b->syms.at, b->syms.len);
	PortList ports = ports_of(p, b->e, g);
	Values l = { 0 }, s = { 0 }, externals = { 0 };
	CostTable costs = { .arena = p->arena };

	for (int i = 0; i < launches.len; i++) {
		vec_push(p->arena, &l, launch_record(p, b, &launches.at[i], &costs));
		add_externals(p, b, launches.at[i].ka, i, &externals);
	}
	for (int i = 0; i < ports.len; i++)
		vec_push(p->arena, &s, slot_record(p, b, &ports.at[i]));
	v[SnFunction_name] = text(p, function_name(g));
	v[SnFunction_launches] = array(p, &l, "launches");
	v[SnFunction_nlaunch] = number(p, l.len);
	v[SnFunction_slots] = array(p, &s, "slots");
	v[SnFunction_nslot] = number(p, s.len);
	v[SnFunction_shapes] = shapes_function(p, b, g, &ports);
	v[SnFunction_flops] = flops_function(p, b, g);
	set_costs(p, b, g, &costs, v);
	v[SnFunction_externals] = array(p, &externals, "externals");
	v[SnFunction_nexternal] = number(p, externals.len);
	v[SnFunction_wholes] = has_output(g, "whole:") ? object(p, "sn_wholes") : nothing(p);
	return RECORD(p, SnFunction, v);
}

/* Tensors, settings, entries */

/* The first slot of a name: each function has its own Value of it. Inputs stay too, but belong to the functions. */
static bool is_tensor(const Plan *plan, int at)
{
	const Value *v = plan->slots.at[at].value;

	return plan->slots.at[at].first < 0 && (v->op == OP_PARAM || v->op == OP_STATE) && plan_named(plan, v) == at;
}

/* As checkpoints have it: a state's name ends in its parameter's. */
static const char *called(Program *p, const Value *t)
{
	const char *dot = strchr(t->a.name, '.');
	const Param *param = module_param(p->m, t->op == OP_PARAM || !dot ? t->a.name : dot + 1);

	if (!param || !param->file)
		return t->a.name;
	return t->op == OP_PARAM ? param->file : internf("%.*s%s", (int)(dot + 1 - t->a.name), t->a.name, param->file);
}

static LLVMValueRef tensor_record(Program *p, EntryBuild *b, const Slot *slot)
{
	const Value *t = slot->value;
	LLVMValueRef v[SnTensor_COUNT] = { 0 };
	const Param *param = t->op == OP_PARAM ? module_param(p->m, t->a.name) : NULL;
	Graph bounds = { .name = b->e->name, .syms = { b->syms.at, b->syms.len, b->syms.len } };
	int64_t dims[MAX_RANK];

	if (t->op == OP_PARAM && !param)
		bug("the graphs of %s read parameter %s, which the module does not have", b->e->name, t->a.name);
	for (int i = 0; i < t->type.rank; i++)
		if (!graph_bound(&bounds, t->type.dim[i], &dims[i]))
			bug("%s: no bound for an extent of %s", b->e->name, t->a.name);
	v[SnTensor_name] = text(p, called(p, t));
	v[SnTensor_kind] = number(p, !param);
	v[SnTensor_dtype] = number(p, t->type.dt);
	v[SnTensor_rank] = number(p, t->type.rank);
	v[SnTensor_dims] = numbers(p, dims, t->type.rank, "dims");
	v[SnTensor_offset] = number(p, slot->offset);
	v[SnTensor_bytes] = number(p, slot->bytes);
	v[SnTensor_init] = number(p, param ? param->init : INIT_ZEROS);
	v[SnTensor_a] = real(p, param ? param->a : 0);
	v[SnTensor_b] = real(p, param ? param->b : 0);
	v[SnTensor_decay] = number(p, param ? param->decay + 2 * param->fresh : 0);
	v[SnTensor_frozen] = number(p, param && entry_freezes(p->m, b->e, param));
	v[SnTensor_adapter] = number(p, param && param->adapter);
	v[SnTensor_external] = number(p, slot->external != EXTERNAL_NOT);
	v[SnTensor_axes] = dim_is_const(type_elems(t->type), NULL) ? nothing(p) : axes(p, b, t->type);
	return RECORD(p, SnTensor, v);
}

static LLVMValueRef setting_record(Program *p, const Setting *s)
{
	LLVMValueRef v[SnSetting_COUNT] = { 0 };

	v[SnSetting_key] = text(p, s->key);
	v[SnSetting_str] = text(p, s->str);
	v[SnSetting_is_num] = number(p, s->is_num);
	v[SnSetting_num] = real(p, s->num);
	v[SnSetting_doc] = text(p, s->doc);
	return RECORD(p, SnSetting, v);
}

static LLVMValueRef settings(Program *p, const Setting *s, int n)
{
	Values v = { 0 };

	for (int i = 0; i < n; i++)
		vec_push(p->arena, &v, setting_record(p, &s[i]));
	return array(p, &v, "settings");
}

static LLVMValueRef syms(Program *p, const EntryBuild *b)
{
	Values all = { 0 };

	for (int i = 0; i < b->syms.len; i++) {
		LLVMValueRef v[SnSym_COUNT] = { 0 };
		v[SnSym_name] = text(p, b->syms.at[i].name);
		v[SnSym_bound] = number(p, b->syms.at[i].bound);
		vec_push(p->arena, &all, RECORD(p, SnSym, v));
	}
	return array(p, &all, "syms");
}

/* Something of the runtime's: who names it has it linked. */
/* What its data asks for. */
static LLVMValueRef feeder(Program *p, const Entry *e)
{
#define FEEDER_NAME(name) #name,
	static const char *const names[] = { RT_FEEDERS(FEEDER_NAME) };
	const Setting *s = entry_setting(e, "data.feeder");
	const char *symbol = s ? internf("sn_feeder_%s", s->str) : NULL;

	for (int i = 0; s && i < COUNT(names); i++)
		if (strcmp(names[i], s->str) == 0)
			return object(p, symbol);
	if (s)
		diag_error((Loc){ 0 }, "data.feeder \"%s\" of %s is none of this version's", s->str, e->name);
	return nothing(p);
}

/* The same for what runs entries of its kind. */
static LLVMValueRef runner(Program *p, const Entry *e)
{
	return e->kind == ENTRY_EXPLAIN ? object(p, "sn_runner_explain") : nothing(p);
}

static bool has_taps(const Entry *e)
{
	for (int i = 0; i < e->graphs.len; i++)
		if (has_output(e->graphs.at[i], "tap:"))
			return true;
	return false;
}

static LLVMValueRef entry_record(Program *p, Entry *e, const Plan *plan)
{
	LLVMValueRef v[SnEntry_COUNT] = { 0 };
	EntryBuild b = { .e = e, .plan = plan };
	Values functions = { 0 }, tensors = { 0 };

	collect_syms(p, &b);
	for (int i = 0; i < plan->slots.len; i++)
		if (is_tensor(plan, i))
			vec_push(p->arena, &b.tensors, i);
	for (int i = 0; i < e->graphs.len; i++)
		if (graph_is_function(e->graphs.at[i]))
			vec_push(p->arena, &functions, function_record(p, &b, e->graphs.at[i]));
	for (int i = 0; i < b.tensors.len; i++)
		vec_push(p->arena, &tensors, tensor_record(p, &b, &plan->slots.at[b.tensors.at[i]]));
	v[SnEntry_kind] = number(p, e->kind);
	v[SnEntry_name] = text(p, e->name);
	v[SnEntry_doc] = text(p, e->doc);
	v[SnEntry_settings] = settings(p, e->settings.at, e->settings.len);
	v[SnEntry_nsetting] = number(p, e->settings.len);
	v[SnEntry_functions] = array(p, &functions, "functions");
	v[SnEntry_nfunction] = number(p, functions.len);
	v[SnEntry_tensors] = array(p, &tensors, "tensors");
	v[SnEntry_ntensor] = number(p, tensors.len);
	v[SnEntry_syms] = syms(p, &b);
	v[SnEntry_nsym] = number(p, b.syms.len);
	v[SnEntry_arena_bytes] = number(p, plan->persistent + plan->arena);
	v[SnEntry_scratch_bytes] = number(p, MAX(b.scratch, plan->scratch));
	v[SnEntry_prepared_bytes] = number(p, plan->prepared);
	v[SnEntry_external_bytes] = number(p, plan->external);
	v[SnEntry_looked_up_bytes] = number(p, plan->looked_up);
	v[SnEntry_feeder] = feeder(p, e);
	v[SnEntry_runner] = runner(p, e);
	v[SnEntry_taps] = !has_taps(e) ? nothing(p) : object(p, e->kind == ENTRY_GENERATE ? "sn_taps_steps" : "sn_taps_write");
	return RECORD(p, SnEntry, v);
}

static LLVMValueRef renames(Program *p)
{
	Values all = { 0 };

	for (int i = 0; i < p->m->renames.len; i++) {
		LLVMValueRef v[SnRename_COUNT] = { 0 };
		v[SnRename_from] = text(p, p->m->renames.at[i].from);
		v[SnRename_to] = text(p, p->m->renames.at[i].to);
		vec_push(p->arena, &all, RECORD(p, SnRename, v));
	}
	return array(p, &all, "renames");
}

static void program_record(Program *p, const Values *entries)
{
	LLVMValueRef v[SnProgram_COUNT] = { 0 }, global;
	Values ignore = { 0 }, others = { 0 };
	Module *m = p->m;

	for (int i = 0; i < m->ignore.len; i++)
		vec_push(p->arena, &ignore, text(p, m->ignore.at[i]));
	v[SnProgram_name] = text(p, m->name);
	v[SnProgram_doc] = text(p, m->doc);
	v[SnProgram_version] = text(p, SINTER_VERSION);
	v[SnProgram_target] = text(p, p->k->t->name);
	v[SnProgram_prefix] = text(p, m->prefix);
	v[SnProgram_config] = settings(p, m->config.at, m->config.len);
	v[SnProgram_nconfig] = number(p, m->config.len);
	v[SnProgram_entries] = array(p, entries, "entries");
	v[SnProgram_nentry] = number(p, entries->len);
	v[SnProgram_ignore] = array(p, &ignore, "ignore");
	v[SnProgram_nignore] = number(p, ignore.len);
	for (int i = 0; i < m->params.len; i++)
		if (!param_is_used(m, &m->params.at[i]))
			vec_push(p->arena, &others, text(p, param_called(&m->params.at[i])));
	v[SnProgram_others] = array(p, &others, "others");
	v[SnProgram_nother] = number(p, others.len);
	v[SnProgram_renames] = renames(p);
	v[SnProgram_nrename] = number(p, m->renames.len);
	v[SnProgram_tiles] = number(p, p->k->tiles);
	global = constant(p, RECORD(p, SnProgram, v), "sn_program");
	LLVMSetLinkage(global, LLVMExternalLinkage);
}

static int processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* NULL after diag_error */
static Kernels *emit_module(Module *m, const BackendOptions *o)
{
	Kernels *k = kernels_new(m->arena, o->target, m->name, !o->debug ? NULL : m->file ? m->file : m->name);
	Program p = { .arena = m->arena, .m = m, .k = k, .ctx = k->unit.ctx, .mod = k->unit.mod };
	Values entries = { 0 };
	bool planned = true;

	p.text_at = vmap_new(p.arena);
	p.ptr = LLVMPointerTypeInContext(p.ctx, 0);
	p.i64 = LLVMInt64TypeInContext(p.ctx);
	p.f64 = LLVMDoubleTypeInContext(p.ctx);
	if (o->emit == EMIT_EXE)
		kernels_apart(k, o->threads ? o->threads : processors());
	for (int i = 0; i < m->entries.len; i++) {
		Entry *e = m->entries.at[i];
		const Plan *plan = plan_entry(m, e, o->target);
		if (plan)
			vec_push(p.arena, &entries, entry_record(&p, e, plan));
		planned &= plan != NULL;
	}
	for (int i = 0; i < k->all.len && !k->units; i++)
		LLVMSetLinkage(k->all.at[i]->fn, LLVMInternalLinkage);
	program_record(&p, &entries);
	debug_end(&k->unit);
	if (planned)
		return k;
	kernels_free(k);
	return NULL;
}

/* Writing */

static bool write_out(const char *path, const void *data, size_t n)
{
	if (path ? file_write_atomic(path, data, n) : fwrite(data, 1, n, stdout) == n)
		return true;
	diag_error((Loc){ 0 }, NULL, "can't write %s: %s", path ? path : "the output", strerror(errno));
	return false;
}

static bool write_plans(Module *m, const BackendOptions *o)
{
	Str s = { 0 };
	bool ok = true;

	for (int i = 0; i < m->entries.len; i++) {
		const Plan *plan = plan_entry(m, m->entries.at[i], o->target);
		if (plan)
			plan_print(&s, plan, m->entries.at[i]);
		ok &= plan != NULL;
	}
	ok = ok && write_out(o->out, s.at ? s.at : "", s.len);
	str_free(&s);
	return ok;
}

static bool write_llvm(Kernels *k, const BackendOptions *o)
{
	char *all = LLVMPrintModuleToString(k->unit.mod);
	bool ok = write_out(o->out, all, strlen(all));

	LLVMDisposeMessage(all);
	return ok;
}

/* It is gone at once, and nobody else reads it: no need to sync. */
static bool write_object(const char *path, LLVMMemoryBufferRef object)
{
	size_t n = LLVMGetBufferSize(object);
	FILE *f = fopen(path, "wbx");
	bool ok = f && fwrite(LLVMGetBufferStart(object), 1, n, f) == n;

	if (f && fclose(f) != 0)
		ok = false;
	if (!ok)
		diag_error((Loc){ 0 }, NULL, "can't write %s: %s", path, strerror(errno));
	return ok;
}

/* The objects beside the executable, linked, and gone. */
static bool write_exe(Kernels *k, const BackendOptions *o)
{
	ObjectList objects = units_compile(k->units, &k->unit);
	const char **path = NEW_ARRAY(k->arena, const char *, objects.len);
	bool ok = true;
	int n = 0;

	for (; ok && n < objects.len; n++) {
		path[n] = internf("%s.%ld.%d.o", o->out, (long)getpid(), n);
		ok = write_object(path[n], objects.at[n]);
	}
	ok = ok && link_program(path, n, o);
	for (int i = 0; i < n; i++)
		unlink(path[i]);
	return ok;
}

static bool write_code(Kernels *k, const BackendOptions *o)
{
	Machine machine = machine_new(o->target);
	LLVMMemoryBufferRef code;
	bool ok;

	machine_optimise(machine, k->unit.mod);
	if (o->emit == EMIT_LLVM)
		ok = write_llvm(k, o);
	else {
		code = machine_emit(machine, k->unit.mod, o->emit == EMIT_ASM);
		ok = write_out(o->out, LLVMGetBufferStart(code), LLVMGetBufferSize(code));
		LLVMDisposeMemoryBuffer(code);
	}
	machine_free(machine);
	return ok;
}

bool backend_build(Module *m, const BackendOptions *o)
{
	Kernels *k;
	bool ok;

	if (o->emit == EMIT_PLAN)
		return write_plans(m, o);
	k = emit_module(m, o);
	if (!k)
		return false;
	ok = o->emit == EMIT_EXE ? write_exe(k, o) : write_code(k, o);
	kernels_free(k);
	return ok;
}
