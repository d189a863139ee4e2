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
 * offset of the first element: root's offset + `bytes`), each random member and an attention with dropout (its stream, in `number`), each counted symbol
 * that it is shaped by (its index in dims, in `number`, by kernels_of). */
typedef struct KernelArg {
	Value *value;              /* the operand or output as the cluster names it; the random member */
	Value *root;               /* owns the memory; NULL: `number` is the argument */
	int64_t bytes, number;     /* constant part of the view's offset; the number */
	const char *sym;           /* the counted symbol; NULL */
	View view;                 /* of value, resolved; its offset without the constant part; memory in panel order has
	                              no strides: -1 */
} KernelArg;
typedef struct KernelArgs {
	Vec(KernelArg) at;
	int64_t scratch;           /* bytes a thread needs; set by gen_*_kernel */
	bool far;                  /* what the kernel writes is read so much later that it has left the caches (far_outputs()) */
	bool near;                 /* all panels that the function reads fit into caches together: they are there, and nothing is to be fetched ahead */
} KernelArgs;
KernelArgs *kernel_args(Arena *, const Cluster *, const Counted *);

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
	LLVMMetadataRef scope;     /* debug.c's: the function's subprogram, NULL without debug information; its file */
	const char *debug_file;
} Gen;

/* emit.c: shared pieces */
/* Starts a function `name` of type SnKernel in g->mod (ctx, mod, t, syms, nsyms, arena_mem given) with its attributes
 * and fills the rest of g; gen_end() returns it finished. */
void gen_begin(Gen *, const char *name, const KernelArgs *);
LLVMValueRef gen_end(Gen *);
/* The same for a function of another type, whose parameters the caller sets (g->dims before gen_dim). */
void gen_begin_plain(Gen *, const char *name, LLVMTypeRef);
LLVMValueRef gen_end_plain(Gen *);                            /* the caller has built its return */
LLVMValueRef gen_base(Gen *, Value *);                        /* ptr to the first element of an operand or output */
const View *gen_view(Gen *, Value *);                         /* its resolved view */
LLVMValueRef gen_number(Gen *, Value *random);                /* i64: the number passed for it */
LLVMValueRef gen_i64(Gen *, int64_t);
LLVMValueRef gen_f32(Gen *, double);
LLVMValueRef gen_i32(Gen *, int64_t);
/* i64: bytes of the second-level cache where the program runs, at most the target's (`sn_l2_bytes`, which the runtime lowers). */
LLVMValueRef gen_cache_bytes(Gen *);
LLVMValueRef gen_bin(Gen *, LLVMOpcode, LLVMValueRef, LLVMValueRef);               /* LLVMBuildBinOp */
LLVMValueRef gen_add(Gen *, LLVMValueRef, LLVMValueRef);       /* of indices and sizes, which don't overflow */
LLVMValueRef gen_sub(Gen *, LLVMValueRef, LLVMValueRef);
LLVMValueRef gen_mul(Gen *, LLVMValueRef, LLVMValueRef);
LLVMValueRef gen_min(Gen *, LLVMValueRef, LLVMValueRef);
LLVMValueRef gen_max(Gen *, LLVMValueRef, LLVMValueRef);
LLVMValueRef gen_ceil_div(Gen *, LLVMValueRef, LLVMValueRef);  /* quotient rounded up */
LLVMValueRef gen_at_least_1(Gen *, LLVMValueRef);
LLVMTypeRef gen_type(Gen *, DType, int lanes);                 /* in registers: bool is i1; lanes 1: the scalar */
LLVMValueRef gen_var(Gen *, LLVMTypeRef);                      /* a stack slot in the entry block: mem2reg's food */
LLVMValueRef gen_product(Gen *, int64_t coef, const DimFactor *, int n);   /* a term of an extent */
LLVMValueRef gen_dim(Gen *, const Dim *);                     /* i64: constants folded, else computed from dims[] */
typedef struct Loop { LLVMValueRef iv, hi, step; LLVMBasicBlockRef head, exit; } Loop;
Loop gen_loop_begin(Gen *, LLVMValueRef lo, LLVMValueRef hi, LLVMValueRef step);   /* for (iv = lo; iv < hi; iv += step) */
void gen_loop_end(Gen *, Loop *);
typedef struct If { LLVMBasicBlockRef other, after; } If;
If gen_if(Gen *, LLVMValueRef cond);                           /* if (cond) {.. */
void gen_else(Gen *, If *);                                    /* ..} else {.. */
void gen_end_if(Gen *, If *);                                  /* ..}, with or without the above */
void gen_goto(Gen *, LLVMBasicBlockRef);                       /* what follows is there */
/* Begins at this thread's lo of n tasks: lo = n*tid/nth, hi = n*(tid+1)/nth. */
void gen_share(Gen *, LLVMValueRef n, LLVMValueRef *lo, LLVMValueRef *hi);
LLVMValueRef gen_splat(Gen *, LLVMValueRef scalar);            /* f32 i32 i1 scalar to lanes */
LLVMValueRef gen_at(Gen *, LLVMValueRef ptr, LLVMValueRef index, int size);        /* ptr + index * size bytes */
LLVMValueRef gen_mask(Gen *, LLVMValueRef count);              /* <lanes x i1>: lane < count (i64) */
/* Elements of dt at ptr, consecutive; lanes is t->lanes or 1; bool is a byte in memory, i1 in registers.
 * mask NULL: all lanes; masked-off lanes load as 0. */
LLVMValueRef gen_load(Gen *, DType, LLVMValueRef ptr, int lanes, LLVMValueRef mask);
void gen_store(Gen *, DType, LLVMValueRef value, LLVMValueRef ptr, LLVMValueRef mask);
void gen_stream(Gen *, LLVMValueRef vector, LLVMValueRef ptr); /* t->lanes floats past the caches; ptr aligned to their size */
LLVMValueRef gen_call(Gen *, const char *intrinsic, LLVMTypeRef overload, LLVMValueRef *in, int nin);  /* "llvm.fma" */
LLVMValueRef gen_call2(Gen *, const char *intrinsic, LLVMTypeRef, LLVMTypeRef, LLVMValueRef *in, int nin);  /* two overloads */
LLVMValueRef gen_call_plain(Gen *, const char *intrinsic, LLVMValueRef *in, int nin);  /* none: a target's own */

/* elem.c: one elementwise op, const, iota, dimval or random on registers. Operands are all scalars or all
 * vectors of t->lanes; lanes (1 or t->lanes) says which to make for ops without operands. index (i64) is for
 * random the linear index of the (first) element, for iota its coordinate along the axis; a vector continues it
 * by 1 a lane. Not used by other ops. */
LLVMValueRef gen_elem(Gen *, Value *, LLVMValueRef *operands, LLVMValueRef index, int lanes);
/* Uniform in [0,1) as ir.h's random_uniform; i32 operands, all scalar or all of t->lanes. */
LLVMValueRef gen_philox(Gen *, LLVMValueRef seed, LLVMValueRef stream, LLVMValueRef index);

/* vecmath.c: on f32 scalars or vectors of any width; error bounds in docs/vecmath.md. vec_fma is one rounding where the
 * target has it, else two. */
LLVMValueRef vec_fma(Gen *, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c);       /* a * b + c */
LLVMValueRef vec_exp(Gen *, LLVMValueRef);
LLVMValueRef vec_log(Gen *, LLVMValueRef);
LLVMValueRef vec_tanh(Gen *, LLVMValueRef);
LLVMValueRef vec_erf(Gen *, LLVMValueRef);
LLVMValueRef vec_sin(Gen *, LLVMValueRef);
LLVMValueRef vec_cos(Gen *, LLVMValueRef);
LLVMValueRef vec_sigmoid(Gen *, LLVMValueRef);
LLVMValueRef vec_rsqrt(Gen *, LLVMValueRef);
LLVMValueRef vec_pow(Gen *, LLVMValueRef, LLVMValueRef);

/* One file a kind: the body of a kernel between gen_begin and gen_end; sets ka->scratch. */
void gen_rows_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_cols_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_scatter_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_nonzero_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_contract_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_pack_kernel(Gen *, const Cluster *, KernelArgs *);
void gen_flash_kernel(Gen *, const Cluster *, KernelArgs *);

/* units.c: LLVM modules, each in a context of its own, and threads that compile them.
 *
 * One open unit at a time takes functions; full, it goes to a thread, and its internal functions are declared in those
 * opened later. Units are the same, in the same order, for any number of threads. */
typedef struct Unit {
	LLVMContextRef ctx;
	LLVMModuleRef mod;
	LLVMDIBuilderRef debug;    /* NULL: no debug information */
	LLVMMemoryBufferRef object;  /* once compiled, and then alone */
} Unit;
typedef Vec(LLVMMemoryBufferRef) ObjectList;
typedef struct Units Units;
void unit_begin(Unit *, const char *name, const char *debug_file);  /* NULL: no debug information */
void unit_free(Unit *);
LLVMValueRef unit_declare(Unit *, const char *name, LLVMTypeRef);   /* a function that another unit has */
Units *units_new(Arena *, const Target *, const char *name, const char *debug_file, int threads);
Unit *units_open(Units *);                                     /* where the next function goes */
void units_added(Units *, LLVMValueRef fn);                    /* it is finished: the unit may be handed over */
ObjectList units_compile(Units *, Unit *last);                 /* waits; in order, with `last` behind; they are units_free's */
void units_free(Units *);

/* kernels.c: the functions for clusters, one for all that are equal in structure, and the launches that use them. */
typedef struct Kernel { const char *key, *name; LLVMValueRef fn; int64_t scratch; } Kernel;
typedef struct Launch {
	const Kernel *kernel;
	const KernelArgs *ka;
	const char *name;          /* "h.0.attn:contract" */
	bool single;               /* so small that one thread does it */
	const Dim *flops, *bytes;  /* costs.c's */
} Launch;
typedef Vec(Launch) LaunchList;
typedef struct Kernels {
	Arena *arena;
	const Target *t;
	Unit unit;                 /* the program's data, and the kernels unless.. */
	Units *units;              /* ..they have units of their own; NULL */
	const char *name, *debug_file;
	bool tiles;                /* some use AMX */
	Vec(Kernel *) all;
} Kernels;
Kernels *kernels_new(Arena *, const Target *, const char *name, const char *debug_file);
void kernels_apart(Kernels *, int threads);       /* before the first: in units, compiled by that many threads */
void kernels_free(Kernels *);                                  /* the LLVM side */
LaunchList kernels_of(Kernels *, Graph *, const Sym *syms, int nsyms);  /* generates what is not there yet */

/* costs.c: arithmetic of a value as ir/cost.c counts it; of a kernel, and the bytes it reads and writes. */
const Dim *value_flops(const Value *);
const Dim *cluster_flops(const Cluster *);
const Dim *cluster_bytes(const Cluster *);
typedef struct LaunchCost { const Dim *flops, *bytes; } LaunchCost;
typedef struct CostProduct { const DimFactor *f; int n; } CostProduct;     /* of extents, by its factors, which are interned; n: how many */
typedef struct CostTable {
	Arena *arena;
	Vec(LaunchCost) costs;             /* each pair once */
	Vec(CostProduct) products;
	Vec(int64_t) terms;                /* SnFunction.costs */
} CostTable;
int cost_index(CostTable *, const Dim *flops, const Dim *bytes);   /* which of the table's; added if it is new */

/* place.c: what the plan says of a value's memory, in bytes from the arena's first. */
int64_t plan_argument(const Plan *, const KernelArg *);        /* what a launch passes for it */

/* debug.c: before the first kernel, after the last; for a kernel begun; for the instructions of v from here on. */
void debug_begin(Unit *, const char *file);
void debug_end(Unit *);
void debug_function(Unit *, Gen *, const char *name, const Value *v);
void gen_locate(Gen *, const Value *v);

/* object.c: the LLVM side of a target. */
typedef struct LLVMOpaqueTargetMachine *Machine;
Machine machine_new(const Target *);
void machine_free(Machine);
void machine_optimise(Machine, LLVMModuleRef);                 /* the light pipeline; bug() on an invalid module */
LLVMMemoryBufferRef machine_emit(Machine, LLVMModuleRef, bool assembly);

/* link.c: the C compiler that links for a target; NULL after diag_error. n object files and the runtime into o->out; false
 * after diag_error. */
const char *link_driver(const Target *);
bool link_program(const char *const *objects, int n, const BackendOptions *o);

/* axes.c: a contraction's letters in their four groups, and where elements lie in terms of them. Letters of batch, m
 * and n are in the result's order, k's in operand 0's; outermost first. */
typedef struct Axes {
	char in[2][MAX_RANK + 1], out[MAX_RANK + 1];
	char batch[MAX_RANK + 1], m[MAX_RANK + 1], n[MAX_RANK + 1], k[MAX_RANK + 1];
	const Dim *extent[128];    /* by letter; those of operands not named to axes_of are NULL */
} Axes;
typedef struct Access { const Dim *stride[128]; } Access;       /* elements a step along a letter; 0 if it lacks it */
Axes axes_of(const char *spec, const Type *in0, const Type *in1);  /* either may be NULL */
Access axes_access(const Axes *, const char *letters, Type, const View *);  /* letters of the type's axes; extent 1: 0 */
const Dim *axes_extent(const Axes *, const char *group);        /* product */
/* The one stride of a group of axes that resolves to one axis; 0 if it has but one element; NULL if it does not. */
const Dim *axes_stride(const Axes *, const char *group, const Access *);
LLVMValueRef gen_offset(Gen *, const Axes *, const char *group, const Access *, LLVMValueRef index);  /* i64 elements */

/* microkernel.c: internal functions of the module, and the register tile.
 * params: 'p' pointer, 'i' i64. The Gen returned appends to the new function; end returns it, calls go by it. */
Gen gen_helper_begin(const Gen *, const char *name, const char *params);
LLVMValueRef gen_helper_end(Gen *);
void gen_helper_call(Gen *, LLVMValueRef fn, LLVMValueRef *in, int nin);
void gen_prefetch(Gen *, LLVMValueRef ptr, int level);          /* a line, for reading, into cache level 1 or 2; never faults */
/* void (a, lda, b, k, acc, first, right, rstep, h): acc (h,nr) = (first ? 0 : acc) + A (h,k) B (k,nr). A's
 * element (r, k) is at k*lda + r, or r*lda + k if kind.rows; lda is h but for rows and kind.apart. b: a right panel's k-th
 * row on; acc: rows of nr floats, aligned to a vector as b is. Every TILE_UNROLL steps a line is prefetched into the
 * second-level cache, at right, right + rstep bytes, ..: any address will do. kind.lines: so many (0: one).
 * kind.vectors: only so many of a row are computed (0: all). kind.strided: two more parameters behind h, the floats from a row of B to its
 * next and the columns it has, to which the last of kind.vectors is masked: low tiles then read it wherever it is; a full one has B in panel order. */
typedef struct TileKind { bool rows, packs_right, apart, strided; int lines, vectors; } TileKind;
enum { TILE_UNROLL = 4, TILE_PARAMS = 8, LOW_ROWS = 4 };       /* PARAMS: before h; LOW_ROWS: up to so many take one pass over B */
LLVMValueRef gen_tile_function(const Gen *, TileKind);
/* The same for h = mr without the last parameter, but with (.., src, sk) behind if kind.packs_right: B's rows are read at
 * src, sk elements apart, and stored at b on the way: packing a panel costs nothing where its first tile does it. */
LLVMValueRef gen_full_tile_function(const Gen *, TileKind);
enum { ROWS_AHEAD = 6 };       /* rows too far apart for the hardware to foresee are fetched this early; they may share a set */

/* micro_bf16.c: the register tile of bf16, for a Gen whose target has tile_rows() and tile_columns() of bf16 as mr and nr.
 * void (a, lda, b, pairs, acc, first, right, rstep, h): as gen_tile_function's, over pairs of k: A's element (r, k) is at r*lda + k, b as
 * pack_bf16.c has it. `lines` are fetched every tile_unroll_bf16() pairs. acc (mr,nr) has room for all rows. */
LLVMValueRef gen_tile_bf16(const Gen *, int lines);
int tile_unroll_bf16(const Target *);
LLVMValueRef gen_tiles_begin(Gen *);           /* before its first call in a kernel: the rows that tiles have, a variable; */
void gen_tiles_height(Gen *, LLVMValueRef rows, LLVMValueRef h);               /* they have h from here on; */
void gen_tiles_end(Gen *);                     /* behind the last */
bool gen_uses_tiles(LLVMModuleRef);                            /* has it, or calls it, functions with AMX? */

/* epilogue.c: the members of a contract cluster behind the contraction, on a finished register tile. */
typedef struct Epilogue {
	const Cluster *c;
	const Axes *x;
	Access *in, *out, *member;
	bool stream;               /* outputs are stored past the caches: the kernel ends with a fence */
} Epilogue;
Epilogue epilogue_of(Gen *, const Cluster *, const Axes *);
/* Emits: acc (h rows of nr floats) is the result at batch, rows m.., columns n.. (n + cols: the end of the panel; cols
 * <= nr); computes the members and stores what leaves. All i64. */
void gen_epilogue(Gen *, Epilogue *, LLVMValueRef acc, LLVMValueRef batch, LLVMValueRef m, LLVMValueRef h,
	LLVMValueRef n, LLVMValueRef cols);
/* Fetches what gen_epilogue will write into the second-level cache. */
void gen_epilogue_ahead(Gen *, Epilogue *, LLVMValueRef batch, LLVMValueRef m, LLVMValueRef h, LLVMValueRef n, LLVMValueRef cols);

/* thin.c: a contraction of at most THIN_ROWS rows with an operand 1 in panel order: `steps` rows of k, or of pairs of k, nr * 4 bytes
 * each. left(ctx, batch, tile, step, h): where the tile of h rows has that step; right(ctx, batch, panel): a panel; tile(g, ctx, lines): the
 * function that multiplies (gen_tile_function), which fetches every `unroll` steps. All i64 but the addresses. */
typedef struct Thin {
	void *ctx;
	LLVMValueRef (*left)(void *ctx, LLVMValueRef batch, LLVMValueRef tile, LLVMValueRef step, LLVMValueRef h);
	LLVMValueRef (*right)(void *ctx, LLVMValueRef batch, LLVMValueRef panel);
	LLVMValueRef (*tile)(const Gen *, void *ctx, int lines);
	LLVMValueRef m, n, steps, panels, batches, lda;         /* lda NULL: h */
	int unroll;
	bool any;                  /* one tile takes any number of rows at once */
	Epilogue *e;
} Thin;
enum { THIN_ROWS = 16 };
int64_t gen_thin(Gen *, const Thin *);                         /* emits this thread's share; bytes of scratch */

/* pack.c: void (dst, src, sk, sw, k, count): one panel. src element (k, c) at k*sk + c*sw. Side 0: dst element at
 * k*count + c; side 1: at k*nr + c, columns from count to nr zero. sk, sw: the strides where known, else NULL. */
LLVMValueRef gen_panel_function(const Gen *, int side, DType from, const Dim *sk, const Dim *sw);
void gen_transpose(Gen *, LLVMValueRef *row);                  /* lanes vectors of lanes 32-bit elements */
/* void (dst, src, sk, k, count, pitch): left panels of the rows 0..count, whose columns are consecutive at src + k*sk, into
 * panel order, `pitch` floats from panel to panel. */
LLVMValueRef gen_block_function(const Gen *);

/* half.c: a half's bits (i16) of an f32, rounded to nearest even within +-65504, and back */
LLVMValueRef gen_half_bits(Gen *, LLVMValueRef x, int lanes);
LLVMValueRef gen_half_value(Gen *, LLVMValueRef bits, int lanes);

/* pack_bf16.c, contract_bf16.c: the same of bf16. void (dst, src, sk, sn, k, count): one right panel. */
LLVMValueRef gen_panel_bf16(const Gen *, const Dim *sk, const Dim *sn);
void gen_pack_bf16(Gen *, const Cluster *, KernelArgs *);
void gen_contract_bf16(Gen *, const Cluster *, KernelArgs *);

/* quant.c: right operands in blocks (ir/quant.c; the order in memory is described there). */
typedef struct QuantSource { Quant format; LLVMValueRef base, k, n; } QuantSource;   /* extents */
LLVMValueRef gen_quant_at(Gen *, const QuantSource *, LLVMValueRef batch, LLVMValueRef column, LLVMValueRef k);   /* multiples of lanes, of a block */
LLVMValueRef gen_quant_scales(Gen *, LLVMValueRef block);      /* f32, a lane a column */
void gen_quant_row(Gen *, Quant, LLVMValueRef block, int r, LLVMValueRef *element);   /* the 4 or 8 elements of row r, before scaling, as f32 */
void gen_quant_bytes(Gen *, Quant, LLVMValueRef block, LLVMValueRef *row);   /* QUANT_BLOCK / 4 vectors of dwords: four k of a column, each with its offset */
/* The block of k from src on, as a panel of t->nr columns at dst: what tiles of f32 or of bf16 read. k is rounded up to whole blocks. */
void gen_unpack(Gen *, const QuantSource *, DType, LLVMValueRef dst, LLVMValueRef src, LLVMValueRef k, LLVMValueRef cols);
/* thin_quant.c: a contraction of at most thin_quant_rows() rows (INT64_MAX: of any number) with an operand 1 in blocks. left(ctx, batch): element
 * (r, k) of operand 0 is sm*r + sk*k elements behind it; dense: sk is 1. k: the extent, which a parameter's always is. */
typedef struct QuantThin {
	QuantSource right;
	void *ctx;
	LLVMValueRef (*left)(void *ctx, LLVMValueRef batch);
	DType left_type;
	bool dense;
	LLVMValueRef m, batches, sm, sk;
	int64_t k;
	Epilogue *e;
} QuantThin;
int64_t thin_quant_rows(const Target *, DType left);
int64_t gen_thin_quant(Gen *, const QuantThin *);              /* emits this thread's share; bytes of scratch */
void gen_pack_quant(Gen *, const Cluster *, KernelArgs *);

#endif
