/* job.h: a graph's launches as tests and benches run them: in this process (jit.c) or, if they are for another
 * processor, under an emulator (emulate.c). */
#ifndef JOB_H
#define JOB_H

#include "backend/gen.h"
#include "runtime/program.h"
#include <pthread.h>

typedef struct Step { SnKernel *fn; const char *name; int64_t *args; int nargs; bool single; } Step;
typedef struct Job {
	Step *steps;
	int nsteps, threads, ndims;
	Target t;
	char *arena;
	int64_t *dims, arena_bytes, scratch;      /* scratch: bytes a thread */
	pthread_barrier_t barrier;
} Job;

/* emulate.c: kernels of a foreign target. The environment's SINTER_EMULATOR is the command that runs
 * tests/foreign/kernels.c, compiled for it, to which the directory of a job is added; fatal() without. */
typedef struct Emulated { const char *dir; } Emulated;
Emulated *emulate_load(Kernels *);                             /* optimises and links k->unit.mod; NULL after diag_error */
void emulate_run(const Emulated *, Job *);                     /* arena and dims are then as kernels left them */
void emulate_unload(Emulated *);

#endif
