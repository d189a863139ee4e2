/* backend.h: from scheduled graphs to kernels, objects and executables. Only this room includes llvm-c. */
#ifndef BACKEND_H
#define BACKEND_H

#include "ir/ir.h"

/* target.c: what kernels are generated for. */
typedef enum Arch { ARCH_X86_64, ARCH_AARCH64, ARCH_COUNT } Arch;
typedef struct Target {
	const char *name;           /* as given: native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64 */
	Arch arch;
	const char *cpu, *features; /* for LLVM */
	int lanes;                  /* f32 lanes of a vector: 4, 8, 16 */
	int vregs;                  /* vector registers: 16, 32 */
	bool fma, masks;            /* fused multiply-add; predicated memory operations worth using */
	bool by_lane;               /* multiply-adds take one lane of a vector register for all lanes */
	int mr, nr;                 /* contraction tile: rows, columns (nr a multiple of lanes) */
	int64_t l1, l2;             /* bytes assumed when blocking; programs lower l2 to what they find where they run */
	bool halves;                /* converts f16 and f32 by instructions */
	bool dot8;                  /* sums four products of bytes at once: vpdpbusd */
	enum { BF16_CONVERT, BF16_DOT, BF16_TILES } bf16;  /* how bf16 is multiplied: as f32; by vdpbf16ps; by AMX's tdpbf16ps */
} Target;
/* The rows and columns of the register tile that contractions of this type are made of. */
int tile_rows(const Target *, DType);
int tile_columns(const Target *, DType);
bool target_find(const char *name, Target *);                  /* false after diag_error */
const char *target_bf16(const Target *, bool *faster);         /* by what contractions of bf16 are multiplied; are they faster than f32's? */
bool target_is_foreign(const Target *);                        /* this machine's processors don't run its code */
const char *arch_name(Arch);                                   /* "x86_64", "aarch64": as in triples and tools' names */

/* plan.c: every buffer's place. */
typedef enum External { EXTERNAL_NOT, EXTERNAL_ROWS, EXTERNAL_PREPARED } External;   /* outside of the arena: steps look up rows; only prepare reads it */
typedef struct Slot { Value *value; int64_t offset, bytes; int first, last; External external; } Slot;  /* launches it lives through */
typedef struct Plan {
	Vec(Slot) slots;            /* persistent ones (params, states) have first = -1 */
	int64_t persistent, arena, scratch;
	int64_t prepared;           /* the arena's first bytes, whole pages: what prepare leaves for the other functions */
	int64_t external, looked_up;  /* external ones count offsets of their own: bytes of all; of those that steps look up, the first */
	ValueMap *of, *named[3];    /* place.c's: a slot's index by its value; the first of a param's, state's, input's name */
} Plan;
Plan *plan_entry(Module *, Entry *, const Target *);           /* one plan for all functions of an entry; NULL after diag_error */
void external_mark(Plan *, const Entry *);                     /* external.c: which of the params in it are external */
void plan_print(Str *, const Plan *, const Entry *);            /* plan_print.c */
/* place.c */
void plan_add(Arena *, Plan *, Slot);                          /* appends, and keeps what look-ups need */
int plan_named(const Plan *, const Value *source);             /* index of the first slot of that kind and name; -1 */
int64_t plan_offset(const Plan *, const Value *root);          /* byte offset in the arena (external: of its own); bug() if it has none */
bool plan_external(const Plan *, const Value *root);

/* quant.c: memory of a right operand in blocks. */
int64_t quant_bytes(const Target *, Quant, int64_t k, int64_t n);   /* of one batch */

typedef enum Emit { EMIT_EXE, EMIT_OBJ, EMIT_ASM, EMIT_LLVM, EMIT_PLAN } Emit;
typedef struct BackendOptions {
	const Target *target; Emit emit; const char *out; bool static_link, debug; const char *runtime_lib;
	int threads;               /* that compile kernels, for EMIT_EXE; the output does not depend on it. 0: one a processor */
} BackendOptions;
/* program.c: everything after the passes. False after diag_error. */
bool backend_build(Module *, const BackendOptions *);

/* jit.c is for tests and benches: compiles a single graph in this process and runs it.
 * Tensors by name through the Env as graph_eval does, computed in f32 (contractions of bf16 where the graph says so) by the kernels, on n threads. */
bool backend_run(Graph *, Env *, const Target *, int threads);
/* The same in parts: a graph compiled once and called with any values of its dimensions. The graph must outlive it. */
typedef struct Compiled Compiled;
Compiled *backend_load(Graph *, const Target *);               /* NULL after diag_error */
bool backend_call(Compiled *, Env *, int threads);
void backend_unload(Compiled *);

#endif
