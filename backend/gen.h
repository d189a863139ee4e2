/* gen.h: the backend's private interface: generating kernels as LLVM IR.
 *
 * A kernel is one function of type SnKernel (runtime/program.h). A Gen is the state of generating one; it is
 * filled by gen_begin() and everything appends at its builder's position. Memory is the graph's arena's. */
#ifndef GEN_H
#define GEN_H

#include "backend/backend.h"
#include <llvm-c/Core.h>

/* args.c: what a launch gives its kernel through args[]. Listed from the cluster alone, so that clusters equal but
 * for their buffers get the same list shape and can share one function. Order: each of c->ins, each of c->outs (byte
 * offset of the first element: root's offset + `bytes`), each random member (its stream, in `number`). */
typedef struct KernelArg {
	Value *value;              /* the operand or output as the cluster names it; the random member */
	Value *root;               /* owns the memory; NULL: `number` is the argument */
	int64_t bytes, number;     /* constant part of the view's offset; the number */
	View view;                 /* of value, resolved; its offset without the constant part */
} KernelArg;
typedef struct KernelArgs {
	Vec(KernelArg) at;
	int64_t scratch;           /* bytes a thread needs; set by gen_*_kernel */
} KernelArgs;
KernelArgs *kernel_args(Arena *, const Cluster *);

typedef struct Gen {
	LLVMContextRef ctx;
	LLVMModuleRef mod;
	LLVMBuilderRef b;
	const Target *t;
	Arena *arena_mem;          /* for the generator's own tables */
	const KernelArgs *ka;
	LLVMValueRef fn, args, arena, dims, tid, nth, scratch;   /* the function and its parameters */
	LLVMTypeRef i1, i8, i32, i64, f32, ptr, vf, vi, vm;      /* vf <lanes x float>, vi <lanes x i32>, vm <lanes x i1> */
	const Sym *syms;           /* order of dims[] */
	int nsyms;
	LLVMBasicBlockRef entry;   /* emit.c's: where run-time dims, bases and variables are made */
	struct GenCache *cache;    /* emit.c's: dims, bases and numbers already there */
} Gen;

/* emit.c: shared pieces */
/* Starts a function `name` of type SnKernel in g->mod (ctx, mod, t, syms, nsyms, arena_mem given) with its attributes
 * and fills the rest of g; gen_end() returns it finished. */
void gen_begin(Gen *, const char *name, const KernelArgs *);
LLVMValueRef gen_end(Gen *);
LLVMValueRef gen_base(Gen *, Value *);                        /* ptr to the first element of an operand or output */
const View *gen_view(Gen *, Value *);                         /* its resolved view */
LLVMValueRef gen_number(Gen *, Value *random);                /* i64: the number passed for it */
LLVMValueRef gen_i64(Gen *, int64_t);
LLVMValueRef gen_f32(Gen *, double);
LLVMValueRef gen_i32(Gen *, int64_t);
LLVMValueRef gen_bin(Gen *, LLVMOpcode, LLVMValueRef, LLVMValueRef);               /* LLVMBuildBinOp */
LLVMTypeRef gen_type(Gen *, DType, int lanes);                 /* in registers: bool is i1; lanes 1: the scalar */
LLVMValueRef gen_var(Gen *, LLVMTypeRef);                      /* a stack slot in the entry block: mem2reg's food */
LLVMValueRef gen_dim(Gen *, const Dim *);                     /* i64: constants folded, else computed from dims[] */
typedef struct Loop { LLVMValueRef iv, hi, step; LLVMBasicBlockRef head, exit; } Loop;
Loop gen_loop_begin(Gen *, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef step);   /* for (iv = lo; iv < hi; iv += step) */
void gen_loop_end(Gen *, Loop *);
/* Begins at this thread's lo of n tasks: lo = n*tid/nth, hi = n*(tid+1)/nth. */
void gen_share(Gen *, LLVMValueRef n, LLVMValueRef *lo, LLVMValueRef *hi);
LLVMValueRef gen_splat(Gen *, LLVMValueRef scalar);            /* f32 i32 i1 scalar to lanes */
LLVMValueRef gen_at(Gen *, LLVMValueRef ptr, LLVMValueRef index, int size);        /* ptr + index * size bytes */
LLVMValueRef gen_mask(Gen *, LLVMValueRef count);              /* <lanes x i1>: lane < count (i64) */
/* Elements of dt at ptr, consecutive; lanes is t->lanes or 1; bool is a byte in memory, i1 in registers.
 * mask NULL: all lanes; masked-off lanes load as 0. */
LLVMValueRef gen_load(Gen *, DType, LLVMValueRef ptr, int lanes, LLVMValueRef mask);
void gen_store(Gen *, DType, LLVMValueRef value, LLVMValueRef ptr, LLVMValueRef mask);
LLVMValueRef gen_call(Gen *, const char *intrinsic, LLVMTypeRef overload, LLVMValueRef *in, int nin);  /* "llvm.fma" */

/* elem.c: one elementwise op, const, iota, dimval or random on registers. Operands are all scalars or all
 * vectors of t->lanes; lanes (1 or t->lanes) says which to make for ops without operands. index (i64) is for
 * random the linear index of the (first) element, for iota its coordinate along the axis; a vector continues it
 * by 1 a lane. Not used by other ops. */
LLVMValueRef gen_elem(Gen *, Value *, LLVMValueRef *operands, LLVMValueRef index, int lanes);

/* One file a kind: the body of a kernel between gen_begin and gen_end; sets ka->scratch. */
void gen_rows_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_cols_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_scatter_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_contract_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_pack_kernel(Gen *, const Cluster *, KernelArgs *);

#endif
