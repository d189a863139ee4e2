/* frontend.h: from text to graphs. lex.l and parse.y make the AST (ast.h); dims, names and types are checked
 * by elaborating every block over symbolic dims (check.c); entries.c builds the entries' graphs with numbers. */
#ifndef FRONTEND_H
#define FRONTEND_H

#include "ir/ir.h"

typedef struct FrontendOptions {
	const char *preset;              /* NULL: none */
	const char *const *sets; int nsets;   /* "D=256", "train.micro=4" */
	const char *config_json;         /* path of a config.json; NULL */
	const char *const *entries; int nentries;  /* entries wanted; 0: all */
} FrontendOptions;
/* Reads, checks and elaborates. Each entry has one graph, "<entry>.forward" (train: output "loss" and metrics;
 * generate: output "next"; inputs are the entry's parameters; dropout uses the input "seed" i32[]). NULL after diag_error. */
Module *frontend_build(Arena *, const char *path, const FrontendOptions *);
bool frontend_check(Arena *, const char *path, const FrontendOptions *);   /* symbolic check of the whole file only */

#endif
