/* ir.h: the graph IR. Static single assignment over tensors; one table of ops (ops.def).
 *
 * A Module is what one model file elaborates to: parameters, entries, and one Graph for every function of
 * an entry ("train.step", "train.update", "generate.step"). A Graph lists its Values in an order in which
 * operands come before users. All memory is the Module's arena's. Weights' values are never in the IR. */
#ifndef IR_H
#define IR_H

#include "support/support.h"

#define MAX_RANK 8

/* dim.c: tensor extents. A Dim is a polynomial with integer coefficients over symbols and floor divisions,
 * kept in normal form and interned: two Dims are equal exactly if their pointers are. Symbols are known by
 * name alone; bounds belong to the Graph. */
typedef struct Dim Dim;
const Dim *dim_const(int64_t);
const Dim *dim_sym(const char *name);
const Dim *dim_add(const Dim *, const Dim *);
const Dim *dim_sub(const Dim *, const Dim *);
const Dim *dim_mul(const Dim *, const Dim *);
const Dim *dim_div(const Dim *, const Dim *);                 /* floor; bug() on a zero constant divisor */
/* The quotient where b is known to divide a (a config's D/H): times b it is a again. Printed like dim_div's. */
const Dim *dim_div_exact(const Dim *, const Dim *);
bool dim_is_const(const Dim *, int64_t *value);               /* value may be NULL */
bool dim_is(const Dim *, int64_t value);
const Dim *dim_subst(const Dim *, const char *sym, const Dim *with);
/* Value of d where lookup gives each symbol's value; false if a symbol is unknown. */
typedef bool DimLookup(void *ctx, const char *sym, int64_t *value);
bool dim_eval(const Dim *, DimLookup *, void *ctx, int64_t *value);
void dim_print(Str *, const Dim *);                           /* as LANGUAGE.md writes it: "2*A - 1", "(R + 1)/2" */
const char *dim_text(const Dim *);                            /* interned text of the same */
const Dim *dim_parse(const char **p);                         /* reads what dim_print writes; NULL on error */
int dim_weight(const Dim *);                                  /* terms and factors in its text, saturating: what walking it costs */
void dims_forget(void);                                       /* for fuzzers: drops the tables; no Dim from before may be used */
/* Walks the structure (for code generation): the sum of n terms, term i = coef * product of factors;
 * a factor is a symbol (sym) or a floor division (num, den). */
typedef struct DimFactor { const char *sym; const Dim *num, *den; int power; bool exact; } DimFactor;
int dim_terms(const Dim *);
int64_t dim_term(const Dim *, int i, const DimFactor **factors, int *nfactors);

/* type.c */
typedef enum DType { DT_F32, DT_I32, DT_BOOL, DT_BF16, DT_F16, DT_I8, DT_NONE, DT_COUNT } DType;  /* NONE: an op without a result */
extern const char *const dtype_name[DT_COUNT];                /* f32 i32 bool bf16 f16 i8 none */
extern const int dtype_size[DT_COUNT];                        /* bytes in memory: 4 4 1 2 2 1 0 */
typedef struct Type { DType dt; int rank; const Dim *dim[MAX_RANK]; } Type;
Type type_scalar(DType);
Type type_make(DType, int rank, const Dim *const *dims);
bool type_eq(Type, Type);
bool type_same_dims(const Type *, const Type *);              /* of any dtypes */
void type_print(Str *, Type);                                 /* f32[B,T,768] */
const char *type_text(Type);                                  /* interned text of the same */
const Dim *type_elems(Type);
/* Shapes broadcast right-aligned: a missing or 1 extent stretches. False where they don't fit. */
bool type_broadcast(Type a, Type b, Type *out);
/* A contraction's spec taken apart: the letters of operand 0, operand 1 and the result. NULL or an error text. */
typedef struct Spec { int n[3]; char at[3][MAX_RANK + 1]; } Spec;
const char *spec_parse(const char *text, Spec *);

/* quant.c: weights kept in blocks of QUANT_BLOCK along the k of a contraction, a scale each: the block formats of ggml. */
typedef enum Quant { QUANT_NONE, QUANT_Q8_0, QUANT_Q4_0, QUANT_COUNT } Quant;
enum { QUANT_BLOCK = 32 };
extern const char *const quant_name[QUANT_COUNT];             /* none q8_0 q4_0 */
extern const int quant_bits[QUANT_COUNT];                     /* of an element: 0 8 4 */
Quant quant_find(const char *name);                           /* QUANT_COUNT: there is no such format */
/* A block: its scale, which is an f16, and whole numbers: element i is about scale * q[i], |q| <= 127 or -8 <= q <= 7. */
typedef struct QuantBlock { float scale; int8_t q[QUANT_BLOCK]; } QuantBlock;
QuantBlock quant_block(Quant, const float *x);                /* of QUANT_BLOCK elements */
uint16_t half_bits(float);                                    /* the nearest f16, ties to even; of what is too large, the largest; NaN stays NaN */
float half_value(uint16_t bits);

/* Ops and their attributes */
typedef enum Op {
#define OP(NAME, text, lo, hi, attrs, type, grad, eval, lower, flags, doc) OP_##NAME,
#include "ir/ops.def"
	OP_COUNT
} Op;

enum {  /* flags of an op */
	OPF_ELEMENTWISE = 1,   /* result element i depends on operand elements i only; operands broadcast */
	OPF_VIEW = 2,          /* result is a strided view of operand 0: no memory of its own */
	OPF_ROOT = 4,          /* kept although unused: store, output */
	OPF_CHEAP = 8,         /* recompute rather than store: const, iota, random, ... */
	OPF_COMMUTES = 16,
	OPF_FUSED = 32,        /* tier two: meaning given by expand_<op> */
	OPF_SOURCE = 64,       /* no operands, explicit type */
	OPF_REDUCE = 128,
};

/* Kernel kinds an op may be lowered to (the backend's and fuse's view of it). */
typedef enum Lower {
	LOWER_NONE,      /* needs no code: sources in memory, views, output, store (aliased by the plan) */
	LOWER_ELEM,      /* inside a rows, cols or contract kernel */
	LOWER_REDUCE,    /* rows kernel (last axis) or cols kernel (leading axes) */
	LOWER_CONTRACT, LOWER_PACK, LOWER_SCATTER, LOWER_NONZERO,
	LOWER_GATHER,    /* an indexed operand of a rows kernel */
	LOWER_EXPAND,    /* must be expanded before fuse */
	LOWER_FLASH,     /* flash, flash_lse; flash_grad */
} Lower;

/* Every attribute an op can carry: ATTR(field, kind). ops.def gives each op's set as a mask of A_field. */
#define ATTRS(X) \
	X(name, STR)    /* of a param, state, input, output */ \
	X(value, F64)   /* const */ \
	X(axis, INT) \
	X(axes, MASK)   /* reduced axes, bit i = axis i */ \
	X(perm, PERM)   /* transpose: result axis i is operand axis perm[i] */ \
	X(spec, STR)    /* contract: "btd,dn->btn", a letter an axis */ \
	X(start, DIM) X(len, DIM)      /* slice, write; windows: len elements each */ \
	X(step, INT)    /* windows: elements from one to the next */ \
	X(lo, DIM) X(hi, DIM)          /* pad: zeros before and after */ \
	X(size, DIM)    /* dimval */ \
	X(stream, INT)  /* random: which stream of the seed */ \
	X(causal, INT)  /* attention: query t sees keys s <= t + (S - T) */ \
	X(window, INT)  /* attention: query t sees keys s with t + (S - T) - s < window; 0: no such limit */ \
	X(keys, INT)    /* attention: operand bool[B,S] given */ \
	X(mask, INT)    /* attention: operand bool broadcasting to [B,H,T,S] given */ \
	X(bias, INT)    /* attention: operand f32 broadcasting to [B,H,T,S] given */ \
	X(scale, F64)   /* attention */ \
	X(softcap, F64) /* attention: scaled scores x become softcap*tanh(x/softcap); 0: they stay */ \
	X(dropout, F64) /* attention: operand seed i32[] given when > 0 */ \
	X(wrt, INT)     /* flash_grad: which operand's gradient */ \
	X(side, INT)    /* pack: 0 = left operand, 1 = right */ \
	X(format, QUANT)   /* param: how contractions keep it; pack: in blocks along k */ \
	X(once, INT)    /* remat mark: cse must not merge (keeps recomputed values apart) */

enum {
#define X(field, kind) AI_##field,
	ATTRS(X)
#undef X
	AI_COUNT
};
#define X(field, kind) A_##field = 1u << AI_##field,
enum { ATTRS(X) };
#undef X

typedef struct Attrs {
	const char *name, *spec;
	double value, scale, softcap, dropout;
	int axis, step, stream, causal, window, keys, mask, bias, wrt, side, once;
	Quant format;
	uint32_t axes;
	int8_t perm[MAX_RANK];
	const Dim *start, *len, *lo, *hi, *size;
} Attrs;

/* In the model file. The byte range is known where the file was read by this process (src not NULL): it is not
 * part of the graph's text. */
typedef struct Where { const char *file; int line, col; Loc range; } Where;

typedef struct Value Value;
struct Value {
	Op op;
	Type type;
	Attrs a;
	int nin;
	Value **in;
	const char *path;   /* the layer it belongs to, "h.0.attn"; NULL for none */
	Where loc;          /* in the model file */
	bool grad;          /* made by autodiff for the forward value at the same path and loc */
	int kernel;         /* fuse's clusters: values of one kernel share a number; 0 = none */
	Value *dest;        /* computed straight into its place in this concat or write */
	/* below: passes' own, meaningless between passes */
	int id;             /* graph_number(): position in the graph */
	int uses;           /* graph_number(): number of operand slots that name it */
	Value *repl;        /* what stands for it in the graph being built */
	void *mark;
};

typedef struct Sym { const char *name; int64_t bound; } Sym;   /* a run-time dimension, 1 <= value <= bound; 0 <= where counted */

typedef struct Graph {
	const char *name;        /* "train.step" */
	Arena *arena;
	Vec(Sym) syms;
	Vec(Value *) vals;
	uint32_t without;        /* parts left out of the pass that runs (passes.def) */
} Graph;

typedef struct OpInfo {
	const char *name, *text, *doc;
	int min_in, max_in;      /* max -1: any */
	uint32_t attrs, flags;
	Lower lower;
} OpInfo;
extern const OpInfo op_info[OP_COUNT];
Op op_find(const char *text);                                  /* OP_COUNT if there is none */

/* build.c: making values. All append to g->vals. Types are inferred by the op's type rule; a violated rule
 * is a bug() (callers with user input ask op_type() first). */
typedef struct Builder { Graph *g; Where loc; const char *path; bool grad; } Builder;
Graph *graph_new(Arena *, const char *name);
void graph_sym(Graph *, const char *name, int64_t bound);      /* adds or updates */
bool graph_bound(const Graph *, const Dim *, int64_t *bound);  /* largest value of d, negative terms counted as 0 */
/* The op's type rule. NULL and *out the result's type; or an error text (interned). Where op_type_given, *out
 * holds the wanted type on entry. */
bool op_type_given(Op);                                        /* sources, random, reshape, expand */
const char *op_type(Op, Value *const *in, int nin, const Attrs *, Type *out);
Value *build(Builder *, Op, Value *const *in, int nin, const Attrs *, const Type *given);  /* given: for ops that need it */
Value *b_source(Builder *, Op, const char *name, Type);        /* param state input */
Value *b_const(Builder *, DType, double);                      /* scalar */
Value *b_iota(Builder *, int axis, Type);                      /* i32 */
Value *b_dim(Builder *, const Dim *);                          /* i32[] */
Value *b_unary(Builder *, Op, Value *);
Value *b_binary(Builder *, Op, Value *, Value *);
Value *b_select(Builder *, Value *cond, Value *a, Value *b);
Value *b_convert(Builder *, Value *, DType);
Value *b_random(Builder *, Value *seed, int stream, Type);     /* f32 uniform in [0,1) */
Value *b_reduce(Builder *, Op, Value *, uint32_t axes);        /* keeps reduced axes with extent 1 */
Value *b_reshape(Builder *, Value *, Type);
Value *b_transpose(Builder *, Value *, const int8_t *perm);
Value *b_slice(Builder *, Value *, int axis, const Dim *start, const Dim *len);
Value *b_windows(Builder *, Value *, int axis, const Dim *len, int step);   /* axis n becomes [(n - len)/step + 1, len] */
Value *b_expand(Builder *, Value *, Type);
Value *b_concat(Builder *, Value *const *, int n, int axis);
Value *b_pad(Builder *, Value *, int axis, const Dim *lo, const Dim *hi);
Value *b_contract(Builder *, Value *a, Value *b, const char *spec);
Value *b_gather(Builder *, Value *table, Value *ids);
Value *b_scatter_add(Builder *, Value *base, Value *ids, Value *values);
Value *b_nonzero(Builder *, Value *mask, const char *sym);     /* adds the symbol to the graph */
Value *b_write(Builder *, Value *dst, Value *src, int axis, const Dim *start);
Value *b_store(Builder *, Value *target, Value *value);        /* target: param or state */
Value *b_output(Builder *, const char *name, Value *);
void graph_number(Graph *);                                    /* ids and uses */
/* map.c: a number for each value, for those who must leave Value.id alone; or for each interned name. */
typedef struct ValueMap ValueMap;
ValueMap *vmap_new(Arena *);
void vmap_put(ValueMap *, const void *key, int);
int vmap_get(const ValueMap *, const void *key);               /* -1 if there is none */
/* Rewriting: a pass takes the list away (`old = graph_take(g)`), walks it, and for each value either
 * graph_keep()s it (operands replaced by their repl) or builds others and sets v->repl. */
typedef Vec(Value *) ValueList;
ValueList graph_take(Graph *);
void graph_keep(Graph *, Value *);                             /* appends; v->repl = v */
/* The walk of a pass that looks at one value at a time: `rule` gets v with its operands replaced and gives what stands for it
 * from here on, or NULL to keep it. True if anything was replaced. `id`, `uses` and `mark` are as they were before the walk: of the old
 * graph, where graph_number() was called; a new value that stands for v has v's id and mark, and whatever stands for v is used as
 * often as v was, too. */
typedef Value *RewriteRule(Builder *, Value *v);
bool graph_rewrite(Graph *, RewriteRule *);

/* counted.c: symbols that the graph sets itself, by a nonzero. NULL stands for none of them. */
typedef struct Counted Counted;
typedef void CountedUse(void *ctx, Value *nonzero);
Counted *counted_of(Arena *, const Graph *);                   /* NULL if there are none */
bool is_counting(const Value *);
const char *counted_sym(const Value *nonzero);
Value *counted_by(const Counted *, const char *sym);           /* the nonzero that sets it; NULL: none does */
/* Calls use for each place where a counted symbol is in d, in v's type and attributes (a nonzero's own aside). */
void counted_in_dim(const Counted *, const Dim *d, CountedUse *, void *ctx);
void counted_uses(const Counted *, const Value *v, CountedUse *, void *ctx);

/* expand.c: the meaning of tier-two ops in primitives. Appends to b->g; returns the value of v. */
Value *expand_op(Builder *, Value *v);
Value *attention_weights(Builder *, Value *attention);         /* f32[B,H,T,S]: what its expansion multiplies the values by */

/* print.c, parse.c: the textual form; parse(print(g)) prints the same text. */
void graph_print(Str *, const Graph *);
/* Reads one graph, from *end on if that points into the text (so a file of several graphs is a loop), and
 * leaves *end behind it. NULL after diag_error, or at the end of the text. `end` may be NULL. Types may be left
 * out where the op infers them; `#` starts a comment. */
Graph *graph_parse(Arena *, const Source *, const char **end);

/* verify.c: true if the graph obeys its rules; else diagnostics (code E09xx) and false. */
bool graph_verify(const Graph *);

/* view.c: where a value's elements lie. Views (reshape, transpose, slice, windows, expand) own no memory: they
 * resolve to a root value and strides in elements. A value with `dest` lies inside its dest's memory. */
typedef struct View {
	Value *root;                     /* the value that owns the memory */
	const Dim *offset;               /* elements from root's first */
	const Dim *stride[MAX_RANK];     /* per axis of the viewed value; 0 for stretched axes */
} View;
bool view_of(Value *, View *);       /* false: a reshape in the chain can't be a view (layout inserts a copy) */
bool view_contiguous(const View *, Type);
/* Can these axes of v, in this order, be walked as one axis of *extent elements *stride apart? Axes of extent 1
 * don't matter; no axes: extent 1, stride 0. */
bool view_group(const Value *v, const View *, const int *axes, int n, const Dim **extent, const Dim **stride);
Value *view_root(Value *);           /* the root alone, which costs far less: view_of()'s where that is true */
Value *view_base(Value *);           /* what a chain of views begins at; v itself if it is no view */
bool in_panels(const Value *);       /* a pack, or the state that hoist keeps one in */
Quant weight_format(Value *);        /* what contractions keep of a parameter, of a copy of it, or what a pack has of it */
Value *store_target(Value *);        /* for a value whose memory is a param's or state's: that source; else itself */

/* cluster.c: what fuse forms and the backend lowers. See docs/ir.md "Kernels". */
typedef enum KernelKind { K_ROWS, K_COLS, K_CONTRACT, K_SCATTER, K_PACK, K_NONZERO, K_FLASH, K_COUNT } KernelKind;
extern const char *const kernel_kind_name[K_COUNT];
typedef struct Cluster {
	int id;
	KernelKind kind;
	Value *anchor;                   /* the contract, pack, scatter_add, nonzero or first of flash; NULL for rows; the first reduce for cols */
	Type space;                      /* iteration space (dt unused): rows: [outer.., last]; cols: the reduced operand's;
	                                    contract: the result's */
	ValueList vals;                  /* members in graph order */
	ValueList ins;                   /* values from outside that members read (view roots unresolved), each once */
	ValueList outs;                  /* members that others read or that are stored/output/placed */
} Cluster;
typedef Vec(Cluster *) ClusterList;
/* By v->kernel, in an order in which they can run: as their first members come, but what a kernel reads before it.
 * bug() where two need each other; clusters_cycle() asks that first. */
ClusterList clusters_of(Graph *);
ClusterList clusters_in(Arena *, Graph *);                     /* the same, for as long as the arena lives */
bool *far_outputs(Arena *, const ClusterList *);               /* reach.c: of kernels that run in this order: have outputs left the caches when read? */
bool clusters_cycle(Graph *, int *a, int *b);                  /* true, and the numbers of two such kernels */
const char *cluster_illegal(const Cluster *);                  /* NULL, or why no kernel can be made of it */
bool contract_laid_out(Value *contract);                       /* are its operands as docs/ir.md wants them for kernels? */

/* flash.c: the kernels of flash and its gradient. */
enum { FLASH_DY, FLASH_LSE, FLASH_D };                         /* flash_grad's own operands, behind flash's */
const char *flash_unfit(const Value *);                        /* of attention's kind: NULL, or why no kernel can be made of it */
bool flash_blocks(const Value *q, const Value *scale);         /* i8 and its scales: blocks that a kernel's vectors lie within? */
bool flash_dense(const Value *v, int i);                       /* must the elements of operand i follow one another along its last axis? */
bool flash_writes(Value *v);                                   /* and those of the result, where it lies? */
bool flash_together(const Value *a, const Value *b);           /* may one kernel compute both? */
typedef struct FlashExtras { Value *keys, *mask, *bias, *seed, *scales[2]; } FlashExtras;   /* scales: of k and v in i8 */
FlashExtras flash_extras(const Value *);                       /* of attention's kind; NULL where there is none */
const char *flash_illegal(const Cluster *);

/* eval.c: the reference evaluator, in double precision: the oracle. Slow and plain on purpose. */
typedef struct Tensor { Type type; int64_t shape[MAX_RANK]; int64_t n; double *at; } Tensor;
typedef struct Env Env;              /* values of symbols, sources; results of stores and outputs */
Env *env_new(Arena *);
void env_dim(Env *, const char *sym, int64_t value);
bool env_look(void *env, const char *sym, int64_t *value);      /* a DimLookup over what env_dim set */
Tensor *env_set(Env *, const char *name, int rank, const int64_t *shape, const double *data);  /* data NULL: zeros */
Tensor *env_get(Env *, const char *name);                      /* param, state, input or output by name; NULL */
bool graph_eval(const Graph *, Env *);                         /* outputs and stored states afterwards in env */
/* The counter-based generator both evaluator and kernels use: Philox2x32-10 (Salmon et al. 2011, sec. 4):
 * key = seed, counter = (index, stream); uniform in [0,1) from the top 24 bits of the first word. */
double random_uniform(uint32_t seed, uint32_t stream, uint32_t index);
/* The nearest f32, and of that the nearest bf16 (its upper half), ties to even both times; NaN stays NaN. */
double round_bf16(double);

/* cost.c */
typedef struct Cost { double flops, bytes; } Cost;
Cost value_cost(const Value *, DimLookup *, void *ctx);        /* of one op, all operands from memory */
Cost graph_cost(const Graph *, DimLookup *, void *ctx);

/* module.c: a whole program on its way to the backend */
typedef enum InitKind { INIT_ZEROS, INIT_CONSTANT, INIT_NORMAL, INIT_UNIFORM, INIT_TRUNC_NORMAL, INIT_SINUSOIDS, INIT_COUNT } InitKind;
typedef struct Param {
	const char *name;                /* "h.0.attn.c_attn.weight" */
	const char *file;                /* in checkpoints, where another model's tensor of other extents has that name here; NULL: name */
	Type type;                       /* as stored in files; all extents constant */
	InitKind init; double a, b;      /* CONSTANT: value a. NORMAL, TRUNC_NORMAL: mean a, deviation b. UNIFORM: [a, b). SINUSOIDS: a rows of b */
	bool decay;                      /* weight decay applies */
	bool frozen;                     /* by all entries */
	bool adapter;                    /* files need not have it: it is then as `init` says */
	bool fresh;                      /* training may begin with files that lack it */
} Param;
typedef struct Setting { const char *key, *str; double num; bool is_num; const char *doc; } Setting;
typedef enum EntryKind { ENTRY_TRAIN, ENTRY_EVAL, ENTRY_GENERATE, ENTRY_INFER, ENTRY_EXPLAIN, ENTRY_COUNT } EntryKind;
typedef struct EntryInput { const char *name; int64_t rows; bool optional; } EntryInput;   /* ids: rows of their table, -100 allowed; rows 0: no ids */
typedef struct Entry {
	EntryKind kind;
	const char *name, *doc;          /* "train", "finetune" */
	Vec(EntryInput) inputs;          /* the entry's parameters, in order */
	Vec(int) frozen;                 /* further parameters, by index, that this entry doesn't train */
	Vec(Setting) settings;           /* flat, "optimizer.lr": docs/ir.md lists them */
	Vec(Graph *) graphs;             /* functions; the frontend makes "<entry>.forward", passes make the others */
} Entry;
typedef struct Rename { const char *from, *to; } Rename;   /* part of a name in the file -> what stands there in the model */
typedef struct Module {
	Arena *arena;
	const char *name, *file, *doc;   /* model's name, file, leading comment */
	const char *prefix;              /* weights { prefix "..." } or NULL */
	Vec(Param) params;               /* in declaration order; names stay once here */
	ValueMap *named;                 /* module_param()'s own: the first `nnamed` params by interned name */
	int nnamed;
	Vec(Setting) config;
	Vec(Entry *) entries;
	Vec(const char *) ignore;        /* globs of tensors in files to be ignored */
	Vec(Rename) renames;             /* of tensors in files, in order */
} Module;
Module *module_new(Arena *);
bool entry_freezes(const Module *, const Entry *, const Param *);   /* as all entries or this one do */
Param *module_param(Module *, const char *name);               /* NULL */
const char *param_called(const Param *);                      /* in checkpoints */
bool param_is_used(const Module *, const Param *);            /* some function of an entry reads it */
const Setting *entry_setting(const Entry *, const char *key);  /* NULL */
void entry_set(Module *, Entry *, const char *key, const char *text);
void module_set_precision(Module *, const char *name);         /* "f32" or "bf16": of all entries but explain, whatever the file says */
void entry_quantize(Module *, Entry *, Quant);                  /* what it contracts with parameters; setting `quantize` */
Graph *entry_graph(const Entry *, const char *suffix);         /* "step" -> "<entry>.step"; NULL */
bool graph_is_function(const Graph *);                         /* compiled: all but "<entry>.forward", what others are made of */

#endif
