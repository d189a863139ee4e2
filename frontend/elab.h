/* elab.h: what the files of checking and elaboration share. Private to frontend/.
 *
 * Checking is elaboration over symbols: one interpreter walks blocks, models and entries and builds IR values.
 * In check mode (Elab.symbolic) a config dim is an opaque symbol, config floats and bools are unknown, a `repeat`
 * is instantiated once and the graph is thrown away. In build mode the config has numbers and everything is
 * unrolled. Run-time dims (B, T) are symbols in both. A fault yields a poison Val, which stays silent after.
 * Everything lives in Elab.arena (the module's). */
#ifndef ELAB_H
#define ELAB_H

#include "frontend/ast.h"
#include "frontend/frontend.h"

typedef struct Unit Unit;
typedef struct Layer Layer;
typedef struct Frame Frame;
typedef struct Elab Elab;
typedef struct Adapter Adapter;

/* val.c: what an expression evaluates to */
typedef enum ValKind {
	V_POISON, V_NONE, V_TENSOR, V_INT, V_FLOAT, V_BOOL, V_STRING, V_MASK, V_LIST, V_LAYER, V_CALL, V_KINDS
} ValKind;

typedef struct Mask Mask;        /* mask.c: a predicate over query and key; never a tensor until attention asks */

typedef struct Val Val;
struct Val {
	ValKind kind;
	bool known;             /* FLOAT, BOOL, STRING: false in check mode where a config value decides; LIST: its length is */
	bool optional;          /* TENSOR of ids: may hold -100 */
	bool literal;           /* INT: a number as it was written, which as an axis is its place; others are dims */
	double f;               /* FLOAT; BOOL: 0 or 1 */
	const Dim *n;           /* INT */
	Value *t;               /* TENSOR */
	const Dim *rows;        /* TENSOR of ids: below what they are; NULL for other tensors */
	const char *s;          /* STRING; CALL: its name, as llama3 in llama3(factor=32) */
	const Mask *mask;       /* MASK */
	Layer *layer;
	Val *items;             /* LIST, CALL's arguments */
	const char **names;     /* CALL: names of arguments, NULL where positional */
	int nitems;
};

Val val_none(void);
Val val_int(const Dim *);
Val val_literal(int64_t);
Val val_float(double);
Val val_unknown(ValKind);                       /* FLOAT, BOOL, STRING or CALL that check mode can't know */
Val val_bool(bool);
Val val_string(const char *);
Val val_tensor(Value *);
Val val_list(Elab *, const Val *, int n);
bool val_is_number(Val);                        /* INT, FLOAT */
const char *val_describe(Elab *, Val);          /* "a tensor [B,T,D]", "an integer" */
const char *show_dim(Elab *, const Dim *);      /* in the file's letters: K where K = D/H */
const char *show_dims(Elab *, const Dim *const *, int n);   /* "[B,T,D]" */
const char *show_type(Elab *, Type);            /* "[B,T,D]", "bool[B,T]" */
bool val_number(Val, double *);                 /* the number, if it is known */
Value *val_value(Elab *, Val);                  /* number or tensor as a graph value; unknown numbers as 1 */

/* Errors: reported once a place and code; inside the prelude at the user's line. fail returns poison. */
void err(Elab *, Loc, const char *code, const char *fmt, ...) PRINTF(4, 5);
Val fail(Elab *, Loc, const char *code, const char *fmt, ...) PRINTF(4, 5);
/* "<what> is not supported by this version"; of an entry nobody asked for only noted, and the entry is left out. */
Val unsupported(Elab *, Loc, const char *what, ...) PRINTF(3, 4);
void note(Elab *, Loc, const char *fmt, ...) PRINTF(3, 4);
void help(Elab *, const char *fmt, ...) PRINTF(2, 3);
void warn(Elab *, Loc, const char *code, const char *fmt, ...) PRINTF(4, 5);
/* "did you mean `x`?" for the nearest of n names, if any */
void suggest(Elab *, const char *name, const char *const *names, int n);
void suggest_among(Elab *, const char *name, const char *const *names, int n);   /* or all n, if none is near */
typedef Vec(const char *) NameList;

/* modules.c: files and what they declare */
typedef struct ConfigVal {
	Config *decl;
	Val num, sym;           /* with numbers; over symbols */
	int state, sym_state;   /* of num and sym: 0 not evaluated, 1 being evaluated, 2 done */
	Expr *expr; Unit *where; Loc loc;   /* what sets it: its default, a preset, --set, `with`; evaluated in `where` */
	bool computed;          /* an abbreviation over other dims: not nominal */
} ConfigVal;
typedef struct DimDecl { const char *name; Loc loc; Expr *bound; int64_t set; } DimDecl;   /* set: by --set T=64; 0: not */
typedef struct Use { const char *name, *of; Unit *unit; Loc loc; } Use;   /* name: here; of: in its unit */
struct Unit {
	const char *name, *path;
	const char *tag;                            /* before its dims in messages; of its own where a file is there several times */
	File *file;
	Vec(ConfigVal) config;
	Vec(DimDecl) dims;
	Vec(Use) uses;
	const Item *item;                   /* the `use` that reads it; NULL for the root and the prelude */
	Vec(Unit *) used;
};
Unit *unit_load(Elab *, const char *path, Loc at);          /* NULL after errors */
Unit *unit_of_text(Elab *, const Source *);
Unit *unit_prelude(Elab *);                                 /* prelude.c */
Item *unit_item(Unit *, ItemKind, const char *name, Unit **owner);   /* in the file, or through `use`; NULL */
ConfigVal *unit_config(Unit *, const char *name, Unit **owner);
DimDecl *unit_dim(Unit *, const char *name, Unit **owner);
void unit_names(Elab *, Unit *, ItemKind, NameList *);      /* for suggestions */

/* config.c */
bool config_load(Elab *, const FrontendOptions *);          /* config.json, preset, --set on E->root; numbers of all */
Val config_value(Elab *, Unit *, ConfigVal *);              /* in E's mode */
void config_require(Elab *, Unit *);                        /* top-level `require`s */
void config_record(Elab *);                                 /* into Module.config */
void require_check(Elab *, Expr *cond, const char *text);

/* scope.c: names inside one body */
typedef struct Var {
	const char *name; Val val; Loc loc;
	bool used, param, declared;                 /* declared: a layer */
	const Stmt *unpacked;                       /* a, b = f(x): one of several names that must be there */
} Var;
typedef struct DimBinding { const char *name; const Dim *dim; } DimBinding;
struct Frame {
	Unit *unit;
	Item *item;                                 /* the block, fn, model or entry */
	Vec(Var) vars;
	Vec(DimBinding) dims;                       /* run-time dims as the caller bound them */
	const Dim *rest[MAX_RANK]; int nrest;       /* what "..." stands for; -1: not bound yet */
	Val result; bool returned;
	bool misfit;                                /* an argument did not fit: its dims are not bound */
};
Frame *frame_new(Elab *, Unit *, Item *);
Var *frame_var(Frame *, const char *name);
void frame_set(Elab *, const char *name, Loc, Val);         /* in E->frame */
const Dim *frame_dim(Frame *, const char *name);            /* NULL if not bound */
void frame_bind(Elab *, Frame *, const char *name, const Dim *);
void frame_unused(Elab *, Frame *);                         /* warnings */
Val name_lookup(Elab *, Expr *);
Loc at_user(Elab *, Loc);

/* tensor.c */
void place(Elab *, Loc);                        /* where the values built next come from */
Val tensor_binary(Elab *, Loc, BinOp, Val, Val);

/* expr.c */
Val eval(Elab *, Expr *);
Val eval_in(Elab *, Frame *, Expr *);
bool item_open(const Elab *, const Item *);      /* it is being expanded already: it contains or calls itself */
/* Counts n steps at loc; false once the file has expanded beyond all bounds, which is reported once. */
bool work_left(Elab *, Loc, int n);
Val eval_binary(Elab *, Loc, BinOp, Val, Val);
bool eval_int(Elab *, Expr *, const char *what, const Dim **);          /* false after an error */
bool is_literal(const Expr *);                  /* a number as it stands, or negated */
bool extent_ok(Elab *, Loc, const Dim *);       /* reports a constant below 1 */
bool eval_extent(Elab *, Expr *, const Dim **); /* of a tensor's axis */
bool eval_const_int(Elab *, Expr *, const char *what, int64_t *);       /* also false if unknown */
bool compile_time(Elab *, Loc, const Dim *, const char *what);          /* reports a run-time dim, in either mode */
/* elementwise op with broadcasting over tensors and numbers; reports what does not fit */
Val tensor_op(Elab *, Loc, Op, const Val *, int n);

/* index.c */
Val eval_index(Elab *, Expr *);
Val slice_axis(Elab *, Val, int axis, const Dim *start, const Dim *len);
Val drop_axis(Elab *, Val, int axis);           /* an axis of extent 1 */
bool never_above(Elab *, const Dim *a, const Dim *b);       /* proved at the bounds of the run-time dims */
bool surely_above(Elab *, const Dim *a, const Dim *b);
const Dim *at_bounds(Elab *, const Dim *);      /* run-time dims replaced by their bounds */

/* types.c: declared types against values */
const char *loc_text(Loc);                      /* the source text itself */
DType type_expr_dt(const TypeExpr *);            /* of its elements; DT_NONE: no tensor */
bool match_param(Elab *, Frame *callee, ParamDecl *, Val *arg, Loc, const char *callee_name);
Val placeholder(Elab *, TypeExpr *, const char *name, Loc); /* for a parameter of a block checked on its own */
bool match_result(Elab *, TypeExpr *, Val, Loc, const char *what);
bool type_of_expr(Elab *, TypeExpr *, Type *, const Dim **rows);        /* in E->frame; false after an error */
bool dims_of_exprs(Elab *, Expr *list, const Dim **dims, int *n);       /* [B, 1, D] */

/* layers.c: layers and their weights */
typedef struct ArgVal { const char *name; Val val; Loc loc; } ArgVal;
typedef Vec(ArgVal) ArgVals;
typedef enum LayerKind { LK_LINEAR, LK_EMBEDDING, LK_LAYERNORM, LK_RMSNORM, LK_CONV, LK_PARAM, LK_BLOCK, LK_REPEAT } LayerKind;
typedef enum WeightRole { WR_MATRIX, WR_TABLE, WR_BIAS, WR_SCALE, WR_PARAM, WR_ADAPTER } WeightRole;
typedef struct Weight {
	const char *name, *path;        /* in the checkpoint; its layer's */
	Type type;
	WeightRole role;
	bool in_out;                    /* a matrix stored [in,out] */
	bool own_init;                  /* declared with one: param [D] = ones */
	int model;                      /* which one it is a part of */
	struct Weight *same;            /* of another model, which it is, too; NULL */
	Graph *g; Value *val;           /* its param in the graph being built */
	Loc loc;
} Weight;
struct Layer {
	LayerKind kind;
	const char *name, *path;        /* field name; path in the checkpoint ("" at the top) */
	const char *tensor;             /* pattern of tensor names where `at` has {}; NULL */
	Loc loc, decl;                  /* of its name; of its whole declaration */
	bool used;
	int nin, nout;                  /* LINEAR: groups; EMBEDDING: in[0] rows; norms: in[0] width; CONV: in[0], out[0] channels */
	const Dim *in[MAX_RANK], *out[MAX_RANK];
	bool in_out, plus_one;
	int axes;                       /* CONV: 1 or 2 */
	const Dim *kernel[2], *stride[2], *border[2];
	Val eps, pad;
	Weight *weight, *bias;
	Adapter *adapter; Weight *lora[2];          /* LINEAR; NULL: none */
	Unit *unit; Item *block; Frame *frame;      /* BLOCK: its static arguments and fields */
	Layer **kids; int nkids;        /* REPEAT */
	const Dim *count;
};
Layer *layer_of_block(Elab *, Unit *, Item *, const char *name, const char *path, Loc,
                      const ArgVals *statics);                      /* NULL: errors */
void layer_kinds(Elab *, NameList *);                       /* linear, embedding, .. */
void declare(Elab *, Stmt *, const char *path);             /* one S_DECLARE into E->frame */
/* A layer's declaration as its maker reads it; ok becomes false after an error. */
typedef struct LayerArgs { Elab *e; const char *layer; Arg *args; Loc loc; bool ok; } LayerArgs;
Expr *layer_named(LayerArgs *, const char *name);           /* NULL: not given */
Expr *layer_positional(LayerArgs *, int i);
void layer_allow(LayerArgs *, int max, const char *const *names, int n);    /* max: positional ones */
void layer_widths(LayerArgs *, Layer *);                    /* in -> out */
void layer_weight(LayerArgs *, Layer *, Type, WeightRole);
void layer_bias(LayerArgs *, Layer *, const Dim *width);    /* unless bias=false */
Weight *weight_new(Elab *, Layer *, const char *leaf, WeightRole, int rank, const Dim *const *dims);
Value *weight_value(Elab *, Weight *);
Val layer_field(Elab *, Layer *, Expr *);

/* calls.c */
Val eval_call(Elab *, Expr *);
Val call_layer(Elab *, Layer *, Expr *call);                /* evaluates the arguments */
Val call_with(Elab *, Layer *, const ArgVals *, Loc);
void eval_args(Elab *, Arg *, ArgVals *);
/* Binds arguments to the parameter list in callee; false after errors. */
bool bind_params(Elab *, Frame *callee, ParamDecl *, const ArgVals *, Loc, const char *name);
Val call_prelude(Elab *, const char *fn, Loc, const Val *args, int n);
Val apply_layer(Elab *, Layer *, Val x, Loc);               /* linear, embedding, norms */

/* stmt.c */
void run_body(Elab *, Stmt *, const char *path, bool declarations);   /* declarations, or all the rest */
void run_statement(Elab *, Stmt *);
Val run_block(Elab *, Frame *);                             /* body of frame->item; its result, checked */

/* functions.c: the table of built-in functions, their arguments, arithmetic and reductions */
enum { MAX_PARAMS = 8 };
typedef struct Call {
	Elab *e;
	Loc loc;
	const char *fn;
	Op op;                          /* of the table's row */
	Val arg[MAX_PARAMS];            /* V_NONE where not given */
	Expr *expr[MAX_PARAMS];         /* NULL where not given */
	ArgVals rest;                   /* arguments of a `*` parameter */
	Arg *raw;                       /* all of them, where the only parameter is `'*` */
} Call;
typedef Val BuiltinFn(Call *);
/* params: names in order; "x?" may be left out, "'x" is not evaluated, "*" collects positional arguments. */
typedef struct Builtin { const char *name, *params; BuiltinFn *fn; Op op; } Builtin;
const Builtin *builtin_find(const char *name);
void builtin_names(Elab *, NameList *);
Val builtin_call(Elab *, const Builtin *, Expr *call);
Loc arg_loc(Call *, int i);
Value *want_float(Call *, int i);               /* argument i as an f32 tensor; NULL after an error */
int axis_of(Elab *, Val x, Val axis, Expr *, Loc);          /* a number, or the dim it has; -1 after an error */
Value *reduce_mean(Elab *, Value *x, uint32_t axes);        /* keeps the axes */
Value *scalar_of(Elab *, Value *x);             /* of one element, as rank 0 */

/* shape.c: movement */
BuiltinFn fn_concat, fn_unstack, fn_expand, fn_transpose, fn_rearrange, fn_positions, fn_zeros;
const char *label_of(Expr *);                   /* an axis' expression as text, by which sides are matched */

/* einsum.c: contraction */
BuiltinFn fn_einsum;
bool is_free_label(Elab *, Expr *);             /* a name that is no dim here, and only tells axes apart */
Val matmul(Elab *, Loc, Val, Val);
const char *contract_last(int rank, bool in_out);           /* "abk,nk->abn", in_out: "abk,kn->abn" */

/* nn.c: dropout and the calls of simple layers */
BuiltinFn fn_dropout, fn_unembed;
Value *drop_out(Elab *, Value *, double p);     /* inverted dropout, from a random stream of its own */
bool probability(Call *, int i, double *p);     /* argument i; 0 where not given; false after an error */
Value *seed_input(Elab *);                      /* what random streams start from: the input `seed` */

/* moe.c */
BuiltinFn fn_moe;

/* conv.c */
void make_conv1d(LayerArgs *, Layer *);
void make_conv2d(LayerArgs *, Layer *);
Val apply_conv(Elab *, Layer *, Val x, Loc);

/* attention.c, rope.c */
BuiltinFn fn_attention, fn_rope, fn_relative;

/* mask.c: masks as values. A mask says of query t, at position p = t + (S - T), and key s whether t sees s. */
enum { MASK_RANK = 4 };                         /* of scores: B, H, T, S */
typedef struct MaskParts { bool causal; int64_t window; Value *keys, *mask; } MaskParts;   /* as OP_ATTENTION takes them */
BuiltinFn fn_keys, fn_window, fn_pairs;
Val mask_named(Elab *, const char *name);       /* causal, all */
Val mask_placeholder(Elab *);                   /* a block's own mask parameter in check mode */
Val mask_binary(Elab *, BinOp, Val, Val);       /* & and | */
Val mask_not(Elab *, Val);
bool mask_fits(Elab *, Loc, const Mask *, const Dim *const *scores);        /* false after an error */
MaskParts mask_lower(Elab *, const Mask *, const Dim *const *scores);

/* select.c */
BuiltinFn fn_gather, fn_argmax, fn_top_k, fn_nonzero;
bool is_counted(const Elab *, const Dim *);     /* it is what a nonzero counts when the program runs */

/* reduce.c: axes and reductions */
BuiltinFn fn_sum, fn_mean, fn_var, fn_max, fn_min, fn_softmax;
Val fn_binary(Call *);                          /* elementwise, or of two numbers: c->op */

/* sampled.c */
BuiltinFn fn_whole, fn_bce, fn_sampled_softmax;

/* weights.c: parameters of the module and the weights block */
void param_register(Elab *, Weight *, Expr *init);
void weights_apply(Elab *, Unit *);                         /* init, prefix, ignore onto E->mod */
void weights_freeze(Elab *, Entry *, Stmt *);               /* entry NULL: for all of them */

/* adapter.c: low-rank additions to linear layers, of one train entry */
void adapters_collect(Elab *, Item *entry);                 /* before models are instantiated */
void adapter_add(Elab *, Layer *, const Dim *in, const Dim *out);           /* to a linear layer, if an entry wants it */
void adapters_freeze(Elab *, Item *, Entry *);              /* those of others than this train entry */
bool adapter_is_of(Elab *, const Weight *, const Item *entry);
bool adapters_refused(const Elab *);                           /* by --adapter none */
void adapters_settings(Elab *, const Item *, Entry *);         /* adapter.rank, .alpha, .dropout of a train entry that has one */
Value *adapter_merge(Elab *, Layer *, Value *w);
Value *adapter_apply(Elab *, Layer *, Value *x, Value *y);

/* settings.c: entries' settings as flat keys */
void setting_flatten(Elab *, Entry *, Stmt *);
void setting_override(Elab *, Entry *);                     /* --set train.micro=4 */
const char *setting_called(const char *name);               /* lr: optimizer.lr; NULL */
bool setting_asked(Elab *, const Entry *, const char *key); /* by --set train.T=64 */
void setting_put(Elab *, Entry *, const char *key, double);
void setting_put_string(Elab *, Entry *, const char *key, const char *);
bool setting_number(const Entry *, const char *key, double *);

/* data.c */
void data_flatten(Elab *, Entry *, Stmt *);
void data_feeder(Elab *, Entry *);                 /* behind the entry's parameters */

/* entries.c */
Entry *entry_elaborate(Elab *, Item *);                     /* NULL after errors or if it is left out */
const char *entry_called(const Item *);
/* Its settings and the bounds of its run-time dims alone; NULL after errors. *left_out: what is not supported, or NULL. */
Entry *entry_settings(Elab *, Item *, SymList *dims, const char **left_out);
void models_instantiate(Elab *);
Layer *model_layer(Elab *, const char *name);               /* inside an entry only; NULL */
void bounds_symbolic(Elab *, Unit *);
void bind_dims_of(Elab *, ParamDecl *);                     /* run-time dims in E->frame, as symbols */

/* whole.c: metrics that are no means over calls */
bool is_whole_metric(const Expr *);
void whole_metric(Elab *, const char *name, const Expr *);   /* its sums as an output */

/* taps.c: values that are outputs beside what the entry promises, by the names that users know */
void taps_begin(Elab *, const Entry *);                     /* a graph of the entry's begins */
void tap_variable(Elab *, const char *name, Val);           /* assigned in E->frame */
void tap_layer(Elab *, const Layer *, Val);                 /* its result */
void tap_residual(Elab *, const Layer *kid, Val);           /* of an explain entry, what a layer of a repeat hands on */

/* facts.c: records for editors; all do nothing unless E->facts. `at`: the name as it stands; `def`: where it is declared. */
typedef struct FactBook FactBook;
FactBook *facts_begin(Elab *);
void fact_value(Elab *, Loc at, const char *name, Val, Loc def);
void fact_config(Elab *, Loc at, const ConfigVal *);
void fact_dim(Elab *, Loc at, const DimDecl *, Val);
void fact_item(Elab *, Loc at, const Item *);
void fact_builtin(Elab *, Loc at, const struct Builtin *);
void fact_text(Elab *, Loc at, const char *text, Loc def);
void fact_result(Elab *, Loc callee, Val);      /* what the call makes */
void fact_layer(Elab *, const Item *, Layer *); /* a block's or model's, as its own check made it */
Facts *facts_end(Elab *);

/* facts_file.c */
void facts_frame(Elab *, const Frame *);        /* the names of a body, when it has run */
void facts_of_file(Elab *);

/* outline.c */
Outline *outline_make(Elab *);                              /* of e's module and models; NULL after errors */

typedef struct SymBound { const char *name; const Dim *bound; } SymBound;
typedef struct Reported { Loc loc; const char *code; } Reported;
typedef struct AxisFact { Expr *expr; Loc call; int from_end; } AxisFact;
struct Elab {
	Arena *arena;
	Module *mod;
	Unit *root, *prelude;
	bool symbolic;
	Builder b;
	Frame *frame;
	bool training;                  /* dropout is on */
	Value *seed;
	int streams;                    /* next random stream */
	int depth;                      /* of calls */
	bool in_prelude; Loc user;      /* the user's call, while the prelude runs */
	bool muted;                     /* the last error was a repetition: its notes are dropped too */
	bool silent;                    /* nothing is said: the file is broken already, and facts are wanted */
	FactBook *facts; Facts *facts_out;   /* NULL: none are wanted */
	bool unsupported_quiet;         /* unsupported features of an entry nobody asked for: a warning */
	const char *unsupported; Loc unsupported_at;   /* the first one met */
	Vec(SymBound) bounds;           /* of run-time dims, in E's mode */
	Vec(const Dim *) counted;       /* run-time dims that a nonzero sets */
	Vec(Layer *) models;
	Vec(Adapter *) adapters;
	Item *entry;                    /* the one being elaborated */
	bool tapping, explaining, stepping;   /* it may have taps; it is an explain entry; a generate entry */
	NameList tapped;                /* in this graph, so far */
	Vec(Weight *) weights;          /* of mod->params, in the same order */
	int instance;                   /* models begun so far */
	Weight **by_name; int names_cap;   /* the same by name: open addressing */
	NameList unknown;               /* dims reported as unknown */
	Vec(Reported) reported;
	int64_t work;                   /* expressions evaluated and layers made; see work_left() */
	bool spent;                     /* given up: what is evaluated from here on is poison */
	int nest;                       /* of eval() */
	Vec(const Item *) open;         /* blocks being instantiated and fns being inlined, the innermost last */
	Vec(const char *) loading;      /* files being read, each used by the one before */
	int units;                      /* files read, each as often as it is used */
	Vec(AxisFact) axes;             /* axes named by a dim, as check mode resolved them */
	const FrontendOptions *options;
};

#endif
