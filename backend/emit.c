/* emit.c: the pieces all kernel generators share: the function and its parameters, run-time dims, buffers,
 * loops, loads and stores with masks.
 *
 * What does not change within a call (extents, base pointers, numbers) is computed once in the entry block,
 * where it dominates every use; the entry block gets its terminator in gen_end(). */
#include "backend/gen.h"

typedef struct Cached { const void *key; LLVMValueRef v; } Cached;
typedef struct GenCache { Vec(Cached) at; LLVMBasicBlockRef body; } GenCache;

static void set_types(Gen *g)
{
	unsigned lanes = (unsigned)g->t->lanes;

	g->i1 = LLVMInt1TypeInContext(g->ctx);
	g->i8 = LLVMInt8TypeInContext(g->ctx);
	g->i32 = LLVMInt32TypeInContext(g->ctx);
	g->i64 = LLVMInt64TypeInContext(g->ctx);
	g->f32 = LLVMFloatTypeInContext(g->ctx);
	g->ptr = LLVMPointerTypeInContext(g->ctx, 0);
	g->vf = LLVMVectorType(g->f32, lanes);
	g->vi = LLVMVectorType(g->i32, lanes);
	g->vm = LLVMVectorType(g->i1, lanes);
}

static void attribute(Gen *g, LLVMAttributeIndex at, const char *name)
{
	unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
	LLVMAddAttributeAtIndex(g->fn, at, LLVMCreateEnumAttribute(g->ctx, kind, 0));
}

static void string_attribute(Gen *g, const char *key, const char *value)
{
	LLVMAddAttributeAtIndex(g->fn, LLVMAttributeFunctionIndex, LLVMCreateStringAttribute(
		g->ctx, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

/* args and dims are read only and lie apart from the arena; so does scratch. Attribute index 1 is parameter 0. */
static void set_attributes(Gen *g)
{
	for (unsigned p = 1; p <= 3; p += 2) {
		attribute(g, p, "noalias");
		attribute(g, p, "readonly");
	}
	attribute(g, 6, "noalias");
	string_attribute(g, "target-cpu", g->t->cpu);
	string_attribute(g, "target-features", g->t->features);
}

void gen_begin_plain(Gen *g, const char *name, LLVMTypeRef type)
{
	set_types(g);
	g->fn = LLVMAddFunction(g->mod, name, type);
	g->cache = NEW(g->arena_mem, GenCache);
	attribute(g, LLVMAttributeFunctionIndex, "nounwind");
	g->entry = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "entry");
	g->cache->body = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "body");
	g->b = LLVMCreateBuilderInContext(g->ctx);
	LLVMPositionBuilderAtEnd(g->b, g->cache->body);
}

void gen_begin(Gen *g, const char *name, const KernelArgs *ka)
{
	LLVMTypeRef params[6];

	set_types(g);
	params[0] = params[1] = params[2] = params[5] = g->ptr;
	params[3] = params[4] = g->i64;
	gen_begin_plain(g, name, LLVMFunctionType(LLVMVoidTypeInContext(g->ctx), params, 6, 0));
	g->args = LLVMGetParam(g->fn, 0);
	g->arena = LLVMGetParam(g->fn, 1);
	g->dims = LLVMGetParam(g->fn, 2);
	g->tid = LLVMGetParam(g->fn, 3);
	g->nth = LLVMGetParam(g->fn, 4);
	g->scratch = LLVMGetParam(g->fn, 5);
	g->ka = ka;
	set_attributes(g);
}

LLVMValueRef gen_end(Gen *g)
{
	LLVMBuildRetVoid(g->b);
	return gen_end_plain(g);
}

LLVMValueRef gen_end_plain(Gen *g)
{
	LLVMPositionBuilderAtEnd(g->b, g->entry);
	LLVMBuildBr(g->b, g->cache->body);
	LLVMDisposeBuilder(g->b);
	g->b = NULL;
	return g->fn;
}

static LLVMValueRef cached(const Gen *g, const void *key)
{
	for (int i = 0; i < g->cache->at.len; i++)
		if (g->cache->at.at[i].key == key)
			return g->cache->at.at[i].v;
	return NULL;
}

static LLVMValueRef remember(Gen *g, const void *key, LLVMValueRef v)
{
	vec_push(g->arena_mem, &g->cache->at, ((Cached){ key, v }));
	return v;
}

/* Moves to the end of the entry block; returns where to go back to. */
static LLVMBasicBlockRef enter(Gen *g)
{
	LLVMBasicBlockRef back = LLVMGetInsertBlock(g->b);
	LLVMPositionBuilderAtEnd(g->b, g->entry);
	return back;
}

LLVMValueRef gen_i64(Gen *g, int64_t n) { return LLVMConstInt(g->i64, (unsigned long long)n, 1); }
LLVMValueRef gen_i32(Gen *g, int64_t n) { return LLVMConstInt(g->i32, (unsigned long long)n, 1); }
LLVMValueRef gen_f32(Gen *g, double x) { return LLVMConstReal(g->f32, x); }

LLVMValueRef gen_cache_bytes(Gen *g)
{
	LLVMValueRef at = LLVMGetNamedGlobal(g->mod, "sn_l2_bytes");

	if (!at) {
		at = LLVMAddGlobal(g->mod, g->i64, "sn_l2_bytes");
		LLVMSetInitializer(at, gen_i64(g, g->t->l2));
		LLVMSetVisibility(at, LLVMHiddenVisibility);
		LLVMSetLinkage(at, LLVMWeakAnyLinkage);   /* each of a program's modules has it */
	}
	return LLVMBuildLoad2(g->b, g->i64, at, "l2");
}

LLVMValueRef gen_add(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildNSWAdd(g->b, a, b, ""); }
LLVMValueRef gen_sub(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildNSWSub(g->b, a, b, ""); }
LLVMValueRef gen_mul(Gen *g, LLVMValueRef a, LLVMValueRef b) { return LLVMBuildNSWMul(g->b, a, b, ""); }

LLVMValueRef gen_min(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef gen_max(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildSelect(g->b, LLVMBuildICmp(g->b, LLVMIntSGT, a, b, ""), a, b, "");
}

LLVMValueRef gen_ceil_div(Gen *g, LLVMValueRef a, LLVMValueRef b)
{
	return gen_bin(g, LLVMUDiv, gen_add(g, a, gen_sub(g, b, gen_i64(g, 1))), b);
}

LLVMValueRef gen_at_least_1(Gen *g, LLVMValueRef n) { return gen_max(g, n, gen_i64(g, 1)); }

LLVMValueRef gen_bin(Gen *g, LLVMOpcode op, LLVMValueRef a, LLVMValueRef b)
{
	return LLVMBuildBinOp(g->b, op, a, b, "");
}

LLVMTypeRef gen_type(Gen *g, DType dt, int lanes)
{
	if (dt == DT_F32 || dt == DT_BF16 || dt == DT_F16)
		return lanes == 1 ? g->f32 : g->vf;
	if (dt == DT_I32 || dt == DT_I8)
		return lanes == 1 ? g->i32 : g->vi;
	return lanes == 1 ? g->i1 : g->vm;
}

LLVMValueRef gen_var(Gen *g, LLVMTypeRef type)
{
	LLVMBasicBlockRef back = enter(g);
	LLVMValueRef slot = LLVMBuildAlloca(g->b, type, "");
	LLVMPositionBuilderAtEnd(g->b, back);
	return slot;
}

static LLVMValueRef load_arg(Gen *g, int i)
{
	return LLVMBuildLoad2(g->b, g->i64, gen_at(g, g->args, gen_i64(g, i), 8), "");
}

/* A counted symbol's place in dims is an argument: kernels that differ in it alone are one. */
static LLVMValueRef symbol(Gen *g, const char *name)
{
	LLVMValueRef at;

	for (int i = 0; g->ka && i < g->ka->at.len; i++)
		if (g->ka->at.at[i].sym == name) {
			at = gen_at(g, g->dims, load_arg(g, i), 8);
			return LLVMBuildLoad2(g->b, g->i64, at, "");
		}
	for (int i = 0; i < g->nsyms; i++)
		if (g->syms[i].name == name) {
			at = gen_at(g, g->dims, gen_i64(g, i), 8);
			return LLVMBuildLoad2(g->b, g->i64, at, name);
		}
	bug("kernel uses dimension `%s`, which the graph does not have", name);
}

static bool may_be_negative(const Dim *d)
{
	const DimFactor *f;
	int n;

	for (int i = 0; i < dim_terms(d); i++)
		if (dim_term(d, i, &f, &n) < 0)
			return true;
	return false;
}

/* Rounds down, as the machine's division does where both sides are non-negative; a sum with negative terms may be below
 * zero at small extents (no windows in an axis shorter than one). */
static LLVMValueRef floor_division(Gen *g, const DimFactor *f)
{
	LLVMValueRef num = gen_dim(g, f->num), den = gen_dim(g, f->den), q = gen_bin(g, LLVMSDiv, num, den), below;

	if (f->exact || !may_be_negative(f->num))
		return q;
	below = LLVMBuildICmp(g->b, LLVMIntSLT, gen_bin(g, LLVMSRem, num, den), gen_i64(g, 0), "");
	return gen_bin(g, LLVMAdd, q, LLVMBuildSExt(g->b, below, g->i64, ""));
}

static LLVMValueRef factor(Gen *g, const DimFactor *f)
{
	LLVMValueRef base, v;

	base = v = f->sym ? gen_dim(g, dim_sym(f->sym)) : floor_division(g, f);
	for (int i = 1; i < f->power; i++)
		v = gen_bin(g, LLVMMul, v, base);
	return v;
}

LLVMValueRef gen_product(Gen *g, int64_t coef, const DimFactor *f, int n)
{
	LLVMValueRef product = gen_i64(g, coef);

	for (int k = 0; k < n; k++)
		product = gen_bin(g, LLVMMul, product, factor(g, &f[k]));
	return product;
}

static LLVMValueRef polynomial(Gen *g, const Dim *d)
{
	LLVMValueRef sum = gen_i64(g, 0);
	const DimFactor *f;
	int n;

	for (int i = 0; i < dim_terms(d); i++) {
		int64_t coef = dim_term(d, i, &f, &n);
		sum = gen_bin(g, LLVMAdd, sum, gen_product(g, coef, f, n));
	}
	return sum;
}

static bool is_symbol(const Dim *d, const char **name)
{
	const DimFactor *f;
	int n;

	if (dim_terms(d) != 1 || dim_term(d, 0, &f, &n) != 1 || n != 1 || !f->sym || f->power != 1)
		return false;
	*name = f->sym;
	return true;
}

LLVMValueRef gen_dim(Gen *g, const Dim *d)
{
	LLVMBasicBlockRef back;
	LLVMValueRef v;
	const char *sym;
	int64_t n;

	if (dim_is_const(d, &n))
		return gen_i64(g, n);
	if ((v = cached(g, d)))
		return v;
	back = enter(g);
	v = is_symbol(d, &sym) ? symbol(g, sym) : polynomial(g, d);
	LLVMPositionBuilderAtEnd(g->b, back);
	return remember(g, d, v);
}

/* A random member that is also an output has two arguments: its buffer and its stream. */
static int arg_of(const Gen *g, const Value *v, bool number)
{
	for (int i = 0; i < g->ka->at.len; i++)
		if (g->ka->at.at[i].value == v && !g->ka->at.at[i].root == number)
			return i;
	bug("kernel has no argument for a value of op %s", op_info[v->op].text);
}

LLVMValueRef gen_base(Gen *g, Value *v)
{
	const KernelArg *arg = &g->ka->at.at[arg_of(g, v, false)];
	LLVMBasicBlockRef back;
	LLVMValueRef base, offset;

	if ((base = cached(g, arg)))
		return base;
	back = enter(g);
	base = gen_at(g, g->arena, load_arg(g, (int)(arg - g->ka->at.at)), 1);
	if (!dim_is(arg->view.offset, 0)) {
		offset = gen_dim(g, arg->view.offset);
		base = gen_at(g, base, offset, dtype_size[v->type.dt]);
	}
	LLVMPositionBuilderAtEnd(g->b, back);
	return remember(g, arg, base);
}

const View *gen_view(Gen *g, Value *v)
{
	return &g->ka->at.at[arg_of(g, v, false)].view;
}

LLVMValueRef gen_number(Gen *g, Value *random)
{
	LLVMBasicBlockRef back;
	LLVMValueRef v;

	if ((v = cached(g, random)))
		return v;
	back = enter(g);
	v = load_arg(g, arg_of(g, random, true));
	LLVMPositionBuilderAtEnd(g->b, back);
	return remember(g, random, v);
}

Loop gen_loop_begin(Gen *g, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef step)
{
	LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b), body;
	Loop l = { .hi = hi, .step = step };

	l.head = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "loop");
	body = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "do");
	l.exit = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "done");
	LLVMBuildBr(g->b, l.head);
	LLVMPositionBuilderAtEnd(g->b, l.head);
	l.iv = LLVMBuildPhi(g->b, g->i64, "i");
	LLVMAddIncoming(l.iv, &lo, &from, 1);
	LLVMBuildCondBr(g->b, LLVMBuildICmp(g->b, LLVMIntSLT, l.iv, hi, ""), body, l.exit);
	LLVMPositionBuilderAtEnd(g->b, body);
	return l;
}

void gen_loop_end(Gen *g, Loop *l)
{
	LLVMBasicBlockRef from = LLVMGetInsertBlock(g->b);
	LLVMValueRef next = LLVMBuildNSWAdd(g->b, l->iv, l->step, "");

	LLVMAddIncoming(l->iv, &next, &from, 1);
	LLVMBuildBr(g->b, l->head);
	LLVMPositionBuilderAtEnd(g->b, l->exit);
}

void gen_share(Gen *g, LLVMValueRef n, LLVMValueRef *lo, LLVMValueRef *hi)
{
	LLVMValueRef next = LLVMBuildNSWAdd(g->b, g->tid, gen_i64(g, 1), "");

	*lo = gen_bin(g, LLVMUDiv, LLVMBuildNSWMul(g->b, n, g->tid, ""), g->nth);
	*hi = gen_bin(g, LLVMUDiv, LLVMBuildNSWMul(g->b, n, next, ""), g->nth);
}

LLVMValueRef gen_splat(Gen *g, LLVMValueRef scalar)
{
	LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)g->t->lanes);
	LLVMValueRef one, poison = LLVMGetPoison(type), lane[64];

	if (LLVMIsConstant(scalar)) {
		for (int i = 0; i < g->t->lanes; i++)
			lane[i] = scalar;
		return LLVMConstVector(lane, (unsigned)g->t->lanes);
	}
	one = LLVMBuildInsertElement(g->b, poison, scalar, gen_i32(g, 0), "");
	return LLVMBuildShuffleVector(g->b, one, poison, LLVMConstNull(g->vi), "");
}

LLVMValueRef gen_at(Gen *g, LLVMValueRef ptr, LLVMValueRef index, int size)
{
	LLVMTypeRef unit = size == 8 ? g->i64 : size == 4 ? g->i32 : size == 2 ? LLVMInt16TypeInContext(g->ctx) : g->i8;

	if (LLVMIsAConstantInt(index) && LLVMConstIntGetSExtValue(index) == 0)
		return ptr;
	return LLVMBuildInBoundsGEP2(g->b, unit, ptr, &index, 1, "");
}

LLVMValueRef gen_mask(Gen *g, LLVMValueRef count)
{
	LLVMValueRef lane[64], n = LLVMBuildTrunc(g->b, count, g->i32, "");

	for (int i = 0; i < g->t->lanes; i++)
		lane[i] = gen_i32(g, i);
	return LLVMBuildICmp(g->b, LLVMIntSLT, LLVMConstVector(lane, (unsigned)g->t->lanes), gen_splat(g, n), "");
}

static LLVMValueRef shift_by(Gen *g, int n, int lanes)
{
	return lanes == 1 ? gen_i32(g, n) : gen_splat(g, gen_i32(g, n));
}

static LLVMTypeRef memory_type(Gen *g, DType dt, int lanes)
{
	if (dt == DT_F32 || dt == DT_I32)
		return gen_type(g, dt, lanes);
	LLVMTypeRef one = dtype_size[dt] == 1 ? g->i8 : LLVMInt16TypeInContext(g->ctx);
	return lanes == 1 ? one : LLVMVectorType(one, (unsigned)lanes);
}

void gen_goto(Gen *g, LLVMBasicBlockRef block)
{
	LLVMBuildBr(g->b, block);
	LLVMPositionBuilderAtEnd(g->b, block);
}

If gen_if(Gen *g, LLVMValueRef cond)
{
	LLVMBasicBlockRef yes = LLVMAppendBasicBlockInContext(g->ctx, g->fn, "then");
	If i = { LLVMAppendBasicBlockInContext(g->ctx, g->fn, "else"), LLVMAppendBasicBlockInContext(g->ctx, g->fn, "after") };
	LLVMBuildCondBr(g->b, cond, yes, i.other);
	LLVMPositionBuilderAtEnd(g->b, yes);
	return i;
}

void gen_else(Gen *g, If *i)
{
	LLVMBuildBr(g->b, i->after);
	LLVMPositionBuilderAtEnd(g->b, i->other);
	i->other = NULL;
}

void gen_end_if(Gen *g, If *i)
{
	if (i->other)
		gen_else(g, i);
	gen_goto(g, i->after);
}

/* What is in memory from what is in registers, and back. bf16 is the upper half of an f32, which to_bf16 has rounded. */
static LLVMValueRef to_memory(Gen *g, DType dt, LLVMValueRef v, LLVMTypeRef memory, int lanes)
{
	LLVMTypeRef bits = gen_type(g, DT_I32, lanes);

	if (dt == DT_BOOL)
		return LLVMBuildZExt(g->b, v, memory, "");
	if (dt == DT_I8)
		return LLVMBuildTrunc(g->b, v, memory, "");
	if (dt == DT_F16)
		return gen_half_bits(g, v, lanes);
	if (dt != DT_BF16)
		return v;
	v = LLVMBuildLShr(g->b, LLVMBuildBitCast(g->b, v, bits, ""), shift_by(g, 16, lanes), "");
	return LLVMBuildTrunc(g->b, v, memory, "");
}

static LLVMValueRef from_memory(Gen *g, DType dt, LLVMValueRef v, LLVMTypeRef memory, int lanes)
{
	if (dt == DT_BOOL)
		return LLVMBuildICmp(g->b, LLVMIntNE, v, LLVMConstNull(memory), "");
	if (dt == DT_I8)
		return LLVMBuildSExt(g->b, v, gen_type(g, DT_I32, lanes), "");
	if (dt == DT_F16)
		return gen_half_value(g, v, lanes);
	if (dt != DT_BF16)
		return v;
	v = LLVMBuildShl(g->b, LLVMBuildZExt(g->b, v, gen_type(g, DT_I32, lanes), ""), shift_by(g, 16, lanes), "");
	return LLVMBuildBitCast(g->b, v, gen_type(g, DT_F32, lanes), "");
}

static LLVMValueRef intrinsic2(Gen *g, const char *name, LLVMTypeRef *overloads, size_t n,
			       LLVMValueRef *in, int nin) {
	unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
	LLVMValueRef fn = LLVMGetIntrinsicDeclaration(g->mod, id, overloads, n);
	LLVMTypeRef type = LLVMIntrinsicGetType(g->ctx, id, overloads, n);

	return LLVMBuildCall2(g->b, type, fn, in, (unsigned)nin, "");
}

LLVMValueRef gen_call(Gen *g, const char *intrinsic, LLVMTypeRef overload, LLVMValueRef *in, int nin)
{
	return intrinsic2(g, intrinsic, &overload, 1, in, nin);
}

LLVMValueRef gen_call2(Gen *g, const char *intrinsic, LLVMTypeRef a, LLVMTypeRef b, LLVMValueRef *in, int nin)
{
	LLVMTypeRef over[2] = { a, b };
	return intrinsic2(g, intrinsic, over, 2, in, nin);
}

LLVMValueRef gen_call_plain(Gen *g, const char *intrinsic, LLVMValueRef *in, int nin)
{
	return intrinsic2(g, intrinsic, NULL, 0, in, nin);
}

/* Alignment is the element's: views start anywhere, and unaligned vectors cost nothing where they are aligned. */
LLVMValueRef gen_load(Gen *g, DType dt, LLVMValueRef ptr, int lanes, LLVMValueRef mask)
{
	LLVMTypeRef type = memory_type(g, dt, lanes), over[2] = { type, g->ptr };
	LLVMValueRef v, align = gen_i32(g, dtype_size[dt]);

	if (mask) {
		LLVMValueRef in[4] = { ptr, align, mask, LLVMConstNull(type) };
		v = intrinsic2(g, "llvm.masked.load", over, 2, in, 4);
	} else {
		v = LLVMBuildLoad2(g->b, type, ptr, "");
		LLVMSetAlignment(v, (unsigned)dtype_size[dt]);
	}
	return from_memory(g, dt, v, type, lanes);
}

void gen_store(Gen *g, DType dt, LLVMValueRef v, LLVMValueRef ptr, LLVMValueRef mask)
{
	bool vector = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
	int lanes = vector ? g->t->lanes : 1;
	LLVMTypeRef type = memory_type(g, dt, lanes), over[2] = { type, g->ptr };

	v = to_memory(g, dt, v, type, lanes);
	if (mask) {
		LLVMValueRef in[4] = { v, ptr, gen_i32(g, dtype_size[dt]), mask };
		intrinsic2(g, "llvm.masked.store", over, 2, in, 4);
		return;
	}
	LLVMSetAlignment(LLVMBuildStore(g->b, v, ptr), (unsigned)dtype_size[dt]);
}

void gen_stream(Gen *g, LLVMValueRef vector, LLVMValueRef ptr)
{
	LLVMMetadataRef one = LLVMValueAsMetadata(gen_i32(g, 1));
	LLVMValueRef store = LLVMBuildStore(g->b, vector, ptr);

	LLVMSetAlignment(store, (unsigned)g->t->lanes * 4);
	LLVMSetMetadata(store, LLVMGetMDKindIDInContext(g->ctx, "nontemporal", 11),
		LLVMMetadataAsValue(g->ctx, LLVMMDNodeInContext2(g->ctx, &one, 1)));
}
