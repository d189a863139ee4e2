/* program.h: the emitted program as the runtime sees it; the structs come from rt.def. */
#ifndef SN_PROGRAM_H
#define SN_PROGRAM_H

#include <stdint.h>

#define RT_T_PTR const void *
#define RT_T_I64 int64_t
#define RT_T_I32 int32_t
#define RT_T_I8 int8_t
#define RT_T_F64 double
#define RT_C_FIELD(s, type, field) RT_T_##type field;
#define RT_STRUCT(name, fields) typedef struct name { fields(RT_C_FIELD) } name;
#include "runtime/rt.def"

/* Runs its share, tid of nthreads, of one kernel. args: launch's; dims: the entry's symbols' values, some
 * of which kernels set (nonzero kernels, alone: what they count); scratch: this
 * thread's own. Results must not depend on nthreads. */
typedef void SnKernel(const int64_t *args, char *arena, const int64_t *dims, int64_t tid, int64_t nthreads, char *scratch);

extern const SnProgram sn_program;

#endif
