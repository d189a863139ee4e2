/* driver.h: the `sinter` command: one file a subcommand, one table of flags. */
#ifndef DRIVER_H
#define DRIVER_H

#include "support/support.h"

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_USAGE = 2 };

/* Debug builds verify every graph after every pass, asked or not. */
#ifdef SN_DEBUG
enum { VERIFY_ALWAYS = true };
#else
enum { VERIFY_ALWAYS = false };
#endif

/* flags.c: what the flags of one call say. A repeatable flag keeps all its values in order. */
typedef struct FlagInfo {
	const char *name;       /* without dashes; a single letter is also a short flag */
	const char *alias;      /* short form or NULL */
	const char *value;      /* what it takes, for help ("FILE"); NULL: nothing */
	const char *doc;
} FlagInfo;
typedef struct Flags {
	Vec(const char *) names, values;   /* in the order given; value NULL for a bare flag */
	Vec(const char *) rest;            /* operands */
} Flags;
bool flags_read(Arena *, const FlagInfo *, int n, int argc, char **argv, Flags *);  /* false after diag_error */
const char *flag(const Flags *, const char *name);              /* last value; "" for a bare flag; NULL if absent */
int flag_all(Arena *, const Flags *, const char *name, const char *const **values);
void flags_help(Str *, const FlagInfo *, int n);

typedef struct Command {
	const char *name, *operands, *doc;
	const FlagInfo *flags;
	int nflags;
	int (*run)(Arena *, const Flags *);
} Command;
extern const Command command_build, command_check, command_opt, command_docs;

/* library.c: where the runtime library lies: beside the compiler (build tree) or ../lib/sinter (installed). */
const char *library_path(Arena *, const char *file);            /* fatal() if it isn't there */

#endif
