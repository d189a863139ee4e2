/* driver.h: the `sinter` command: one file a subcommand, one table of subcommands and flags (flags.def). */
#ifndef DRIVER_H
#define DRIVER_H

#include "frontend/frontend.h"

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_USAGE = 2, EXIT_DATA = 3 };

/* Debug builds verify every graph after every pass, asked or not. */
#ifdef SN_DEBUG
enum { VERIFY_ALWAYS = true };
#else
enum { VERIFY_ALWAYS = false };
#endif

/* flags.c: the table, and what the flags of one call say. */
typedef enum CommandId {
#define COMMAND(name, operands, kind, least, most, doc, more) CMD_##name,
#include "driver/flags.def"
	CMD_COUNT
} CommandId;
enum {
#define COMMAND(name, operands, kind, least, most, doc, more) C_##name = 1u << CMD_##name,
#include "driver/flags.def"
	C_all = (1u << CMD_COUNT) - 1
};

/* What an operand or a flag's value is: completion offers it. KIND_CHOICE is also checked. */
typedef enum Kind {
	KIND_NOTHING, KIND_TEXT, KIND_ANY_FILE, KIND_MODEL, KIND_GRAPH, KIND_CODE, KIND_COMMAND_NAME, KIND_CHOICE
} Kind;
typedef struct Wanted { Kind kind; const char *choices; } Wanted;   /* choices: "a b c" */

typedef struct FlagInfo {
	const char *name;       /* without dashes */
	char letter;            /* short form; 0: none */
	const char *value;      /* what it takes, for help ("FILE"); NULL: nothing */
	Wanted wanted;
	unsigned commands;      /* mask of C_... */
	const char *doc;
} FlagInfo;
extern const FlagInfo flag_info[];
extern const int flag_count;

typedef struct Flags {
	CommandId command;
	Vec(const FlagInfo *) given;       /* in the order given, with their values; NULL for a bare flag */
	Vec(const char *) values;
	Vec(const char *) rest;            /* operands */
} Flags;
/* Reads the arguments of command c, checks choices and the number of operands. False after diag_error. */
bool flags_read(Arena *, CommandId c, int argc, char **argv, Flags *);
const char *flag(const Flags *, const char *name);              /* last value; "" for a bare flag; NULL if absent */
int flag_all(Arena *, const Flags *, const char *name, const char *const **values);
/* Splits at any of `separators`, dropping nothing: "a,,b" has three parts. */
int text_split(Arena *, const char *text, const char *separators, const char *const **parts);

typedef struct Command {
	const char *name, *operands;
	Wanted wanted;
	int least, most;        /* operands; most -1: any number */
	const char *doc, *more;
	int (*run)(Arena *, const Flags *);
} Command;
extern const Command command_info[CMD_COUNT];
#define COMMAND(name, operands, kind, least, most, doc, more) int run_##name(Arena *, const Flags *);
#include "driver/flags.def"

/* main.c */
CommandId command_find(const char *name);                       /* CMD_COUNT after diag_error */

/* help.c */
void help_all(FILE *);
void help_command(CommandId);
/* man.c, completions.c: run_man, run_completions */

/* options.c: --preset, --set and --config */
FrontendOptions options_of(Arena *, const Flags *);

/* taps.c: values by name */
bool taps_found(Arena *, const Module *, const char *file, const FrontendOptions *);   /* each of the options' taps is in some entry; false after diag_error */
int taps_list(Arena *, const Flags *);

/* embed.c: exit codes, after messages on stderr */
int embed_check(Arena *, const Module *, const char *weights);        /* the checkpoint's tensors are those of the entries */
int embed_weights(Arena *, const char *exe, const char *weights);     /* puts its files behind the executable's bytes */

/* library.c: where the runtime library lies: beside the compiler (build tree) or ../lib/sinter (installed). */
const char *library_path(Arena *, const char *file);            /* fatal() if it isn't there */
const char *library_find(Arena *, const char *file);            /* NULL if it isn't there */

/* output.c: text for standard output. Text is padded by columns, not bytes. */
void put_grouped(Str *, int64_t);                               /* 124439808 as 124,439,808 */
int text_width(const char *);                                   /* UTF-8 characters */
void put_padded(Str *, const char *, int width);                /* at least one blank after */
bool put_out(Str *);                                            /* to stdout, trailing blanks of lines dropped; frees it */

#endif
