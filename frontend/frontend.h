/* frontend.h: from text to graphs. lex.l and parse.y make the AST (ast.h); dims, names and types are checked
 * by elaborating every block over symbolic dims (check.c); entries.c builds the entries' graphs with numbers. */
#ifndef FRONTEND_H
#define FRONTEND_H

#include "ir/ir.h"

/* A file's text, from wherever it is: an editor's buffer, a test. NULL and errno, as source_read(). */
typedef Source *ReadFile(void *ctx, Arena *, const char *path);

typedef struct FrontendOptions {
	const char *preset;              /* NULL: none */
	const char *const *sets; int nsets;   /* "D=256", "train.micro=4" */
	const char *adapter;             /* "lora(rank=8) on \"*.q_proj\"", of all train entries, or "none"; NULL: as the file says */
	const char *config_json;         /* path of a config.json; NULL */
	const char *const *entries; int nentries;  /* entries wanted; 0: all but those that say `compile on_request` */
	const char *const *with; int nwith;  /* of these, those that are wanted, too */
	const char *const *taps; int ntaps;  /* globs: values of these names are outputs "tap:<name>" of their entries, too */
	ReadFile *read; void *read_ctx;  /* how model files are read; NULL: from disk */
} FrontendOptions;
/* Reads, checks and elaborates. Each entry has one graph, "<entry>.forward" (train: output "loss" and metrics;
 * generate: output "next"; inputs are the entry's parameters; dropout uses the input "seed" i32[]). NULL after diag_error. */
Module *frontend_build(Arena *, const char *path, const FrontendOptions *);
bool frontend_check(Arena *, const char *path, const FrontendOptions *);   /* over symbols, then what the numbers decide; no graphs */

/* outline.c: what a file declares, with numbers and without graphs. Nothing is allocated for weights. */
typedef struct OutlineWeight {
	const Param *param;              /* frozen: by the weights block */
	const char *path;                /* in the model file: "h[3].attn.c_attn.weight" */
	Where loc;                       /* of the declaration */
} OutlineWeight;
typedef struct OutlineLayer OutlineLayer;
struct OutlineLayer {
	const char *name, *text;         /* the field, or its number in a repeat; as declared: "linear(D -> F)" */
	const char *path;                /* in the checkpoint */
	Where loc;
	Vec(int) weights, shared;        /* indices in Outline.weights: its own, and others' that it uses */
	Vec(OutlineLayer *) kids;        /* fields, or the layers of a repeat */
	bool repeat;
	int64_t parameters;              /* of its own and its kids' weights */
};
typedef Vec(Sym) SymList;
typedef struct OutlineEntry {
	const Entry *entry;              /* kind, name and settings; no graphs */
	SymList dims;                    /* its run-time dims; bound 0: none is given */
	int64_t trained;                 /* train: parameters that are not frozen */
	const char *left_out;            /* what keeps this version from compiling it; NULL */
	Where loc;
} OutlineEntry;
typedef struct Outline {
	const Module *mod;               /* params in declaration order, config */
	Vec(OutlineWeight) weights;      /* as mod->params */
	Vec(OutlineLayer *) models;
	Vec(OutlineEntry) entries;
	int64_t parameters;              /* each weight counted once */
} Outline;
Outline *frontend_outline(Arena *, const char *path, const FrontendOptions *);   /* NULL after diag_error */

/* facts.c, facts_file.c: what checking finds out about the names of one file, for editors. A file with errors has facts
 * too: of all that could still be made out. Every Loc's Source lives in the arena. */
typedef struct Fact {
	Loc loc;                         /* the name as it stands in the file */
	const char *text;                /* Markdown: its declaration, shape, size; NULL: nothing is known */
	Loc def;                         /* where it is declared, maybe in a used file; src NULL: nowhere a user can see */
} Fact;
typedef enum SymbolKind {
	SYM_CONFIG, SYM_VALUE, SYM_DIM, SYM_BLOCK, SYM_FN, SYM_MODEL, SYM_ENTRY, SYM_LAYER, SYM_KINDS
} SymbolKind;
typedef struct FileSymbol FileSymbol;
typedef Vec(FileSymbol) SymbolList;
struct FileSymbol { SymbolKind kind; const char *name; Loc loc, name_loc; SymbolList kids; };   /* loc: with its body */
typedef struct Offer { SymbolKind kind; const char *name, *detail; Loc scope; } Offer;   /* src NULL: may stand anywhere */
typedef struct FactUse { Loc loc; const char *file; } FactUse;
typedef struct Facts {
	const Source *root;
	Vec(Fact) facts;                 /* in order of loc */
	SymbolList symbols;
	Vec(Offer) offers;               /* names that may be written */
	Vec(FactUse) uses;
} Facts;
/* Checks as frontend_check() does. NULL only if the file cannot be read. */
Facts *frontend_facts(Arena *, const char *path, const FrontendOptions *);

/* fmt.c: the file's text in its one layout; the tokens and comments stay. False after syntax errors, out untouched. */
bool frontend_format(Arena *, const Source *, Str *out);

bool glob_match(const char *glob, const char *name);   /* `*` stands for any text */

#endif
