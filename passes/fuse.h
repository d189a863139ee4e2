/* fuse.h: what fuse's and schedule's files share. A Fusion is the state of forming kernels in one graph. */
#ifndef PASSES_FUSE_H
#define PASSES_FUSE_H

#include "passes/passes.h"

/* dag.c: the order constraints between values, contracted as values join kernels. Nodes are positions in the
 * graph (Value.id); an edge a -> b says that a must be computed before b: operands before users, readers of a state's old
 * value before the kernel that overwrites it. Joined nodes share a representative; the order of the
 * representatives stays topological. */
typedef struct Dag {
	Graph *g;
	int n;
	int *first, *to;   /* successors of node i: to[first[i] .. first[i+1]) */
	int *rep, *next;   /* union-find; ring of the nodes joined with this one */
	int *pos, *at;     /* place of a representative in the order; at[place], -1 where nodes were joined */
	int *seen, stamp;
	int *found, nfound;   /* of the last search */
} Dag;
Dag *dag_new(Graph *);                    /* numbers the graph */
int dag_rep(Dag *, int node);
/* Would there be a way out of these nodes' kernels and back in, were they one kernel? Sets far apart count as such. */
bool dag_cyclic(Dag *, const int *nodes, int n);
bool dag_join(Dag *, int a, int b);       /* false if that made a cycle: then nothing has changed */

typedef enum Role {
	R_NONE,        /* no code: sources in memory, views, concat, write, store, output */
	R_FREE,        /* cheaper computed where it is used than kept: cloned into each kernel that reads it */
	R_MEMBER,      /* belongs to one kernel */
} Role;

/* Of a kernel being formed, by its representative. */
typedef struct Group {
	KernelKind kind;
	Type space;
	Value *anchor;
	int n;         /* members */
} Group;

typedef struct Fusion {
	Graph *g;
	Dag *d;
	Role *role;
	Group *group;
	bool *stored;              /* by recompute: leaves its kernel through memory */
	int *users, *first_user;   /* positions of the users of value i: users[first_user[i] .. first_user[i+1]) */
} Fusion;

/* fuse.c */
enum { MAX_MEMBERS = 96 };
bool member_of(Fusion *, const Value *, int rep);
bool leaves(Fusion *, const Value *);     /* is it read outside its kernel, or placed? */
bool is_elementwise(const Value *);
int row_axis(const Type *);               /* the last axis that is not 1; 0 if there is none */
bool join(Fusion *, int a, int b);        /* dag_join, and the groups are one; keeps a's kind, anchor and space */
Value *overwritten_by(Fusion *, const Value *);   /* the state in whose memory v is computed; NULL */
/* A state's memory may be computed in place by this kernel only if it reads that state where it writes. */
bool hazard(Fusion *, const int *members, int n);
int members_of(Fusion *, int rep, int *out);  /* in order; at most MAX_MEMBERS + 1 are given */

/* fuse_recompute.c: last of all; fills f->stored. What leaves its kernel without being stored is cloned like R_FREE. */
void fuse_recompute(Fusion *f);

/* fuse_contract.c, fuse_rows.c, fuse_cols.c: the kinds of kernels; in this order. */
void fuse_epilogues(Fusion *);
void fuse_cols(Fusion *);
void fuse_rows(Fusion *);
void fuse_flash(Fusion *);                        /* fuse_flash.c: what one kernel of attention computes */
/* fuse_cols.c: would o, computed in a kernel, vary along the innermost axis of its space, where a cols kernel's vectors lie? */
bool varies_inside(Fusion *, const Value *o, const Type *space);
/* fuse_contract.c: can the contraction's epilogue read this value from memory, or compute it (R_FREE)? */
bool epilogue_reads(Fusion *, Value *contract, Value *operand);
/* A clone of the free v whose operands are cloned already; 0: NULL where it can not have the epilogue's shape. */
Value *free_for_epilogue(Builder *, Value *v, Value **in, const Type *space);

#endif
