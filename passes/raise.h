/* raise.h: what raise.c and raise_mask.c share: the parts of an attention written out. */
#ifndef RAISE_H
#define RAISE_H

#include "passes/passes.h"

/* Axes of the scores by role; -1: there is none. Query head g*R + r reads key head g. */
typedef struct Roles { int batch, group, repeat, query, key; } Roles;

typedef struct Raised {
	Value *q, *k, *v;         /* operands as they are written */
	Spec scores, mix;         /* of q.k and p.v; q is its operand `qside`, p its operand `pside` */
	int qside, pside;
	Type type;                /* of the scores */
	Roles at;
	double scale, softcap;    /* softcap 0: none */
	bool capped, scaled;
	Vec(Value *) biases, masks;
	bool causal;
	int window;               /* 0: none */
} Raised;

/* raise_mask.c: takes what is said by positions alone out of r's masks, into causal and window. */
void raise_positions(Builder *, Raised *);

#endif
