/* flags.h: what a flag is. flags.c has those of every program; a feeder may bring more, for the entries that it feeds. */
#ifndef SN_FLAGS_H
#define SN_FLAGS_H

#include "runtime/sn.h"

typedef enum FlagType { T_STR, T_PATH, T_TOKENIZER, T_LIST, T_NUM, T_ABOVE, T_SHARE, T_DECAY, T_COUNT, T_LIKELIEST, T_POSITIVE, T_SEED, T_SWITCH } FlagType;
enum { F_TRAIN = 1 << SN_TRAIN, F_EVAL = 1 << SN_EVAL, F_GENERATE = 1 << SN_GENERATE, F_INFER = 1 << SN_INFER,
	F_INFO = 1 << SN_INFO, F_INIT = 1 << SN_INIT, F_SAVED = 256 };
enum { F_RUN = F_TRAIN | F_EVAL | F_GENERATE | F_INFER, F_ALL = F_RUN | F_INFO | F_INIT, F_TEXT = F_TRAIN | F_EVAL | F_GENERATE, F_KEPT = F_TRAIN | F_SAVED };

struct SnFlag {
	const char *name;
	char brief;                   /* one-letter form; 0: none */
	FlagType type;
	const char *key;              /* the setting it overrides */
	unsigned kinds;               /* subcommands that have it; F_SAVED: a resumed run takes it over */
	const char *arg, *help;
};

#endif
