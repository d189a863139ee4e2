/* bundle.h: for benches and tests of single kernels: compiles clusters in this process and runs them on threads.
 * Not the compiler's own way to run graphs (backend_run): here launches can be timed one by one. */
#ifndef BENCH_BUNDLE_H
#define BENCH_BUNDLE_H

#include "backend/gen.h"
#include "runtime/program.h"

typedef struct Bundle Bundle;
typedef struct Shot { SnKernel *fn; int64_t *args; int64_t scratch; const char *name; const KernelArgs *ka; } Shot;

Bundle *bundle_new(Arena *, const Target *, const Sym *syms, int nsyms);
int bundle_add(Bundle *, const Cluster *);          /* index of its launch */
int bundle_add_peak(Bundle *);                      /* a kernel of register-only multiply-adds; args[0]: rounds */
enum { PEAK_CHAINS = 12 };                            /* vectors in flight; flops a round: 2 * lanes * PEAK_CHAINS */
int bundle_add_tile(Bundle *, int64_t k);           /* the register tile on hot operands; args[0]: rounds */
Shot *bundle_finish(Bundle *, const char *asm_path);  /* compiles; asm_path NULL: no listing */
/* place(ctx, root) gives the byte offset of root's memory in the arena; fills args of the launches. */
void bundle_place(Bundle *, int64_t (*place)(void *ctx, Value *root), void *ctx);
/* Runs n launches one after another on `threads` threads, `reps` times; seconds of the fastest time through all: by the
 * wall clock, or (cpu) the processor time of the busiest thread, for machines that do other things meanwhile. */
double bundle_run(Shot *const *, int n, char *arena, const int64_t *dims, int threads, int reps, bool cpu);
double bundle_compile_seconds(const Bundle *);

#endif
