/* support.h: what every room of the compiler stands on: arenas, growing arrays, interned strings, text
 * buffers, source files, diagnostics, files and child processes.
 *
 * Ownership: memory comes from an Arena and goes with it; nothing is freed singly. Interned strings live
 * as long as the process and compare by pointer. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SINTER_VERSION "0.1.0"
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define NORETURN __attribute__((noreturn))
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* arena.c: memory by lifetime. Allocations are zeroed and 16-byte aligned; running out is fatal(). */
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *);
void *arena_alloc(Arena *, size_t bytes);
void *arena_grow(Arena *, void *old, size_t old_bytes, size_t new_bytes);  /* a copy where it can't extend */
char *arena_strndup(Arena *, const char *, size_t);
char *arena_printf(Arena *, const char *fmt, ...) PRINTF(2, 3);
#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_ARRAY(arena, T, n) ((T *)arena_alloc((arena), sizeof(T) * (size_t)(n)))

/* vec: a growing array in an arena. `Vec(int) v = {0}; vec_push(arena, &v, 3); v.at[0], v.len` */
#define Vec(T) struct { T *at; int len, cap; }
#define vec_push(arena, v, x) \
	(vec_reserve_((arena), (void **)&(v)->at, &(v)->cap, (v)->len + 1, sizeof *(v)->at), \
	 (void)((v)->at[(v)->len++] = (x)))
void vec_reserve_(Arena *, void **at, int *cap, int want, size_t size);

/* intern.c: one copy of each string, process-wide, so that names compare by pointer. */
const char *intern(const char *);
const char *intern_n(const char *, size_t);
void intern_forget(void);        /* for fuzzers: drops the table; no interned string from before may be used */
const char *internf(const char *fmt, ...) PRINTF(1, 2);

/* str.c: a text buffer on the heap. `s.at` is NUL-terminated after the first str_ call. */
typedef struct Str { char *at; size_t len, cap; } Str;
void str_printf(Str *, const char *fmt, ...) PRINTF(2, 3);
void str_vprintf(Str *, const char *fmt, va_list);
void str_put(Str *, const char *, size_t);
void str_puts(Str *, const char *);
void str_json(Str *, const char *);   /* a JSON string, in quotes; NULL: null */
bool str_write(const Str *, FILE *);   /* true if all of it could be written; nothing, if nothing was put */
void str_free(Str *);

/* diag.c: what is said to the user.
 * A Loc is a byte range in a Source; line, column and underline come from it when printed. */
typedef struct Source {
	const char *name, *text; size_t len;
	const uint32_t *lines; int nlines;   /* where lines 2, 3, .. begin */
} Source;
typedef struct Loc { const Source *src; uint32_t at, end; } Loc;
Loc loc_join(Loc, Loc);
int loc_line(Loc);  /* 1-based; 0 for no source */
int loc_col(Loc);

/* diag_error: the user's fault. Counted; the caller goes on. `code` is "E0307"; NULL for none. Printed on
 * stderr in order of occurrence: code, file:line:col, the line with its underline. diag_note and diag_help
 * belong to the error before them. A warning does not count as an error. */
void diag_error(Loc, const char *code, const char *fmt, ...) PRINTF(3, 4);
void diag_warning(Loc, const char *code, const char *fmt, ...) PRINTF(3, 4);
void diag_note(Loc, const char *fmt, ...) PRINTF(2, 3);
void diag_help(const char *fmt, ...) PRINTF(1, 2);
int diag_errors(void);           /* errors so far */
void diag_json(bool on);         /* one JSON object a line instead */
void diag_limit(int most);       /* errors and warnings shown as text; 0: all, as at first. The rest is counted only */
void diag_close(void);           /* at the end: says how many were not shown */
void diag_reset(void);           /* for tests and language servers: forget counts */
/* Where diagnostics go instead of stderr, in order; NULL: back to stderr. */
typedef struct Diag { const char *kind, *code; Loc loc; const char *message; } Diag;   /* kind: error warning note help */
void diag_handler(void (*take)(void *ctx, const Diag *), void *ctx);
/* The nearest of n names to `name`: equal but for case, or within Damerau-Levenshtein distance of a third
 * of the length (at least 1); NULL if none. */
const char *diag_nearest(const char *name, const char *const *names, int n);

/* fatal: the environment's fault (no memory, disk full). Exits 1. bug: ours. Prints and aborts. */
NORETURN void fatal(const char *fmt, ...) PRINTF(1, 2);
NORETURN void bug(const char *fmt, ...) PRINTF(1, 2);

/* file.c */
Source *source_read(Arena *, const char *path);               /* NULL and errno if it can't be read */
Source *source_text(Arena *, const char *name, const char *text);
Source *source_bytes(Arena *, const char *name, const char *text, size_t len);   /* a copy */
bool file_write_atomic(const char *path, const void *, size_t);  /* beside, fsync, rename (devices, links: in place); false + errno */
int run_process(const char *const argv[], Str *out);          /* exit code; -1 if it can't start; out: stdout+stderr */

#endif
