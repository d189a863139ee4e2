/* flags.c: the one table of flags. It drives parsing, --help, where an option's value comes from, and what a
 * checkpoint remembers of a run. Options are known to the rest of the runtime by their settings' keys alone. */
#include "runtime/sn.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const SnFlag flags[] = {
	{"data", 'd', SN_T_PATH, "data.file", SN_F_KEPT | SN_F_EVAL, "FILE", "text, or json lines of conversations, to train or evaluate on"},
	{"valid", 0, SN_T_PATH, "data.valid", SN_F_KEPT, "FILE", "text to validate on (without: the last part of the data)"},
	{"valid-fraction", 0, SN_T_SHARE, "data.valid_fraction", SN_F_KEPT, "X", "part of the data kept for validation (0.1)"},
	{"inputs", 'i', SN_T_PATH, "data.inputs", SN_F_KEPT | SN_F_RUN, "FILE", "safetensors file with the entry's inputs by name"},
	{"example-inputs", 0, SN_T_STR, "example", SN_F_RUN, "FILE", "run nothing: write random inputs of this command's shapes, as --inputs takes them"},
	{"valid-inputs", 0, SN_T_PATH, "data.valid_inputs", SN_F_KEPT, "FILE", "such a file to validate on (without: the last part of --inputs)"},
	{"tokenizer", 0, SN_T_TOKENIZER, "data.tokenizer", SN_F_KEPT | SN_F_TEXT | SN_F_EXPLAIN, "NAME", "byte, char, a tokenizer.json, a merges.txt, or their directory"},
	{"weights", 'm', SN_T_STR, "model", SN_F_RUN | SN_F_EXPLAIN, "DIR", "run directory, or a directory or file of safetensors"},
	{"adapter", 0, SN_T_STR, "adapter", SN_F_RUN | SN_F_EXPLAIN, "DIR", "LoRA adapter (PEFT's form, or a run's) of the weights"},
	{"pack-cache", 0, SN_T_STR, "pack_cache", SN_F_PACKED, "FILE", "keep weights in the order that kernels read in FILE, and take them from there"},
	{"out", 'o', SN_T_STR, "out", SN_F_TRAIN | SN_F_INIT, "DIR", "where checkpoints, metrics and curves go (run)"},
	{"out", 'o', SN_T_STR, "output", SN_F_INFER, "FILE", "file for the results: of texts .jsonl, else safetensors (without: JSON on standard output)"},
	{"grads-out", 0, SN_T_STR, "grads", SN_F_TRAIN, "FILE", "train nothing: write the loss and all gradients of --inputs at the weights given"},
	{"resume", 0, SN_T_STR, "resume", SN_F_TRAIN, "DIR", "go on exactly where the run in DIR stopped"},
	{"steps", 's', SN_T_COUNT, "schedule.steps", SN_F_KEPT, "N", "optimiser steps in all"},
	{"epochs", 0, SN_T_ABOVE, "schedule.epochs", SN_F_KEPT, "X", "passes over the data, in place of steps"},
	{"batch", 'b', SN_T_POSITIVE, "batch", SN_F_KEPT | SN_F_EVAL, "N", "sequences or examples a step; fewer than the compiled micro-batch, or a multiple of it"},
	{"context", 0, SN_T_POSITIVE, "T", SN_F_KEPT | SN_F_EVAL, "N", "tokens a sequence, at most the compiled bound"},
	{"lr", 0, SN_T_NUM, "optimizer.lr", SN_F_KEPT, "X", "peak learning rate (0.001)"},
	{"min-lr", 0, SN_T_NUM, "schedule.final", SN_F_KEPT, "X", "learning rate at the last step"},
	{"schedule", 0, SN_T_STR, "schedule.kind", SN_F_KEPT, "KIND", "constant, cosine or linear, after the warmup (constant)"},
	{"warmup", 0, SN_T_COUNT, "schedule.warmup", SN_F_KEPT, "N", "steps of linear warmup"},
	{"beta1", 0, SN_T_DECAY, "optimizer.beta1", SN_F_KEPT, "X", "decay of the first moment (0.9)"},
	{"beta2", 0, SN_T_DECAY, "optimizer.beta2", SN_F_KEPT, "X", "decay of the second moment (0.999)"},
	{"eps", 0, SN_T_ABOVE, "optimizer.eps", SN_F_KEPT, "X", "added to the root of the second moment (1e-8)"},
	{"weight-decay", 0, SN_T_NUM, "optimizer.weight_decay", SN_F_KEPT, "X", "decoupled weight decay (0)"},
	{"clip", 0, SN_T_NUM, "clip", SN_F_KEPT, "X", "largest gradient norm; 0: no clipping (0)"},
	{"validate-every", 0, SN_T_COUNT, "validate.every", SN_F_KEPT, "N", "steps between validations; 0: only at the end"},
	{"eval-batches", 0, SN_T_COUNT, "eval.batches", SN_F_KEPT | SN_F_EVAL, "N", "batches a validation; 0: all of the text"},
	{"patience", 0, SN_T_COUNT, "stop.patience", SN_F_KEPT, "N", "end after N validations without a better one; 0: never (0)"},
	{"best", 0, SN_T_STR, "stop.best", SN_F_KEPT, "METRIC", "the loss or metric that decides which is better (loss)"},
	{"ema", 0, SN_T_DECAY, "ema", SN_F_KEPT, "X", "decay of the average of the weights"},
	{"save-every", 0, SN_T_COUNT, "save.every", SN_F_KEPT, "N", "steps between checkpoints; 0: only at the end"},
	{"prompt", 'p', SN_T_STR, "prompt", SN_F_GENERATE, "TEXT", "text to go on from; - reads it from standard input"},
	{"prompt-ids", 0, SN_T_STR, "prompt_ids", SN_F_GENERATE, "N,N,..", "token ids to go on from, in place of a text"},
	{"prompts", 0, SN_T_PATH, "prompts", SN_F_GENERATE, "FILE", "a prompt a line (of .jsonl: \"prompt\"), several at a time; - reads standard input"},
	{"chat", 0, SN_T_SWITCH, "chat", SN_F_GENERATE, NULL, "a conversation, or each prompt as a question, by the checkpoint's chat template"},
	{"chat-template", 0, SN_T_STR, "chat_template", SN_F_KEPT | SN_F_EVAL | SN_F_GENERATE, "NAME", "chatml, llama3, gemma, phi3, zephyr, llama2, mistral, vicuna or alpaca"},
	{"system", 0, SN_T_STR, "system", SN_F_GENERATE, "TEXT", "what stands before a conversation"},
	{"draft", 0, SN_T_PATH, "draft_program", SN_F_GENERATE, "FILE", "a program of Sinter's, of a smaller model, that proposes tokens (of one built with --set generate.draft=N)"},
	{"draft-model", 0, SN_T_STR, "draft_model", SN_F_GENERATE, "DIR", "its weights"},
	{"propose", 0, SN_T_SWITCH, "propose", SN_F_GENERATE, NULL, "be that program: what --draft starts"},
	{"source", 0, SN_T_STR, "source", SN_F_GENERATE, "TEXT", "what the encoder reads (see --inputs for what is no text)"},
	{"ids", 0, SN_T_SWITCH, "ids", SN_F_GENERATE, NULL, "print token ids; with --prompt-ids no tokenizer is needed"},
	{"beam", 0, SN_T_COUNT, "sample.beam", SN_F_GENERATE, "N", "follow the N best sequences; 0: draw one token after another"},
	{"tokens", 'n', SN_T_COUNT, "limit", SN_F_GENERATE, "N", "tokens to generate at most (128)"},
	{"temp", 0, SN_T_NUM, "sample.temperature", SN_F_GENERATE, "X", "0: always the likeliest; 1: as the model says (1)"},
	{"top-k", 0, SN_T_COUNT, "sample.top_k", SN_F_GENERATE, "N", "choose among the N likeliest; 0: all"},
	{"top-p", 0, SN_T_SHARE, "sample.top_p", SN_F_GENERATE, "X", "choose among the fewest that reach this share"},
	{"min-p", 0, SN_T_SHARE, "sample.min_p", SN_F_GENERATE, "X", "not those under this part of the likeliest"},
	{"repeat-penalty", 0, SN_T_ABOVE, "sample.repetition_penalty", SN_F_GENERATE, "X", "divides logits of tokens of prompt and text; 1: none (1)"},
	{"presence-penalty", 0, SN_T_NUM, "sample.presence_penalty", SN_F_GENERATE, "X", "taken from logits of tokens that were generated (0)"},
	{"frequency-penalty", 0, SN_T_NUM, "sample.frequency_penalty", SN_F_GENERATE, "X", "the same, for each time (0)"},
	{"logprobs", 0, SN_T_LIKELIEST, "logprobs", SN_F_GENERATE, "N", "print JSON, with log-probabilities of each token and the N likeliest"},
	{"ignore-eos", 0, SN_T_SWITCH, "ignore_eos", SN_F_GENERATE, NULL, "go on behind the checkpoint's end of text"},
	{"stop", 0, SN_T_LIST, "stop", SN_F_GENERATE, "TEXT", "end before this text; may be given several times"},
	{"no-echo", 0, SN_T_SWITCH, "no_echo", SN_F_GENERATE, NULL, "print only what follows the prompt"},
	{"random", 0, SN_T_SWITCH, "random", SN_F_GENERATE | SN_F_EVAL | SN_F_INFER | SN_F_EXPLAIN, NULL, "random weights, to measure speed"},
	{"seed", 0, SN_T_SEED, "seed", SN_F_KEPT | SN_F_GENERATE | SN_F_EVAL | SN_F_INFER | SN_F_EXPLAIN | SN_F_INIT, "N", "of the random numbers (1)"},
	{"threads", 't', SN_T_POSITIVE, "threads", SN_F_ALL, "N", "threads (one for each core)"},
	{"tap", 0, SN_T_STR, "tap", SN_F_RUN | SN_F_EXPLAIN, "NAME", "of the values that `sinter build --tap` named, write those (*: all)"},
	{"taps", 0, SN_T_STR, "taps", SN_F_RUN | SN_F_EXPLAIN, "FILE", "into this file of safetensors (taps.safetensors)"},
	{"profile", 0, SN_T_SWITCH, "profile", SN_F_RUN | SN_F_EXPLAIN, NULL, "at the end, print where the time went: each kind of kernel, with arithmetic and traffic"},
	{"quiet", 'q', SN_T_SWITCH, "quiet", SN_F_RUN | SN_F_EXPLAIN, NULL, "no progress, no timing"},
	{"json", 0, SN_T_SWITCH, "json", SN_F_EVAL | SN_F_INFER | SN_F_INFO | SN_F_GENERATE | SN_F_EXPLAIN, NULL, "print JSON"},
	{"tensors", 0, SN_T_SWITCH, "tensors", SN_F_INFO, NULL, "list every parameter with its shape"},
	{"help", 'h', SN_T_SWITCH, "help", SN_F_ALL, NULL, "this text"},
};
enum { NFLAGS = sizeof flags / sizeof flags[0] };
_Static_assert((int)NFLAGS <= (int)SN_MAX_FLAGS, "SN_MAX_FLAGS");

static const char *const type_wants[] = {
	[SN_T_NUM] = "a number of 0 or more", [SN_T_REAL] = "a number", [SN_T_SHARE] = "a number from 0 to 1",
	[SN_T_COUNT] = "a whole number of 0 or more", [SN_T_LIKELIEST] = "a whole number from 0 to 64", [SN_T_POSITIVE] = "a whole number of 1 or more", [SN_T_ABOVE] = "a number above 0",
	[SN_T_DECAY] = "a number from 0 to below 1", [SN_T_SEED] = "a whole number from 0 to 4294967295",
};

static bool fits(SnFlagType type, double x)
{
	switch (type) {
	case SN_T_NUM: return x >= 0 && isfinite(x);
	case SN_T_REAL: return isfinite(x);
	case SN_T_ABOVE: return x > 0 && isfinite(x);
	case SN_T_DECAY: return x >= 0 && x < 1;
	case SN_T_SEED: return x >= 0 && x < 0x1p32 && x == floor(x);
	case SN_T_SHARE: return x >= 0 && x <= 1;
	case SN_T_COUNT: return x >= 0 && x <= 0x1p53 && x == floor(x);
	case SN_T_LIKELIEST: return x >= 0 && x <= SN_MAX_LOGPROBS && x == floor(x);
	case SN_T_POSITIVE: return x >= 1 && x <= 0x1p31 && x == floor(x);
	default: return true;
	}
}

/* The table, and behind it the flags of the entry's own runner, or of its feeder. */

static const SnExtras *extras_of(const SnOptions *o)
{
	static const SnExtras none;
	const SnRunner *r = o->entry ? o->entry->runner : NULL;
	const SnFeeder *f = o->entry ? o->entry->feeder : NULL;
	return r ? &r->extras : f ? &f->extras : &none;
}

static int count(const SnOptions *o) { return NFLAGS + extras_of(o)->nflags; }

static const SnFlag *at(const SnOptions *o, int i)
{
	return i < NFLAGS ? &flags[i] : &extras_of(o)->flags[i - NFLAGS];
}

static SnValue *value_of(const SnOptions *o, const SnFlag *f)
{
	bool own = f >= flags && f < flags + NFLAGS;
	return (SnValue *)&o->flag[own ? f - flags : NFLAGS + (f - extras_of(o)->flags)];
}

static const SnFlag *by_name(const SnOptions *o, const char *name, size_t n, unsigned kinds)
{
	for (int i = 0; i < count(o); i++)
		if ((at(o, i)->kinds & kinds) && strlen(at(o, i)->name) == n && !memcmp(at(o, i)->name, name, n))
			return at(o, i);
	return NULL;
}

static const SnFlag *by_letter(const SnOptions *o, char c, unsigned kinds)
{
	for (int i = 0; i < count(o); i++)
		if ((at(o, i)->kinds & kinds) && at(o, i)->brief == c)
			return at(o, i);
	return NULL;
}

/* Several flags may set one thing, each in other commands. */
static const SnFlag *by_key(const SnOptions *o, const char *key)
{
	const SnFlag *found = NULL;
	for (int i = 0; i < count(o); i++)
		if (!strcmp(at(o, i)->key, key) && (!found || value_of(o, at(o, i))->given))
			found = at(o, i);
	return found;
}

/* What other programs call it. */
static const struct { const char *other, *name; } synonyms[] = {
	{"learning-rate", "lr"}, {"max-lr", "lr"}, {"lr-min", "min-lr"}, {"lr-schedule", "schedule"}, {"lr-scheduler", "schedule"},
	{"wd", "weight-decay"}, {"decay", "weight-decay"}, {"grad-clip", "clip"}, {"clip-grad", "clip"}, {"max-grad-norm", "clip"},
	{"warmup-steps", "warmup"}, {"adam-beta1", "beta1"}, {"adam-beta2", "beta2"}, {"adam-eps", "eps"}, {"epsilon", "eps"},
	{"max-steps", "steps"}, {"max-iters", "steps"}, {"iters", "steps"}, {"iterations", "steps"}, {"num-steps", "steps"},
	{"num-epochs", "epochs"}, {"batch-size", "batch"}, {"bs", "batch"}, {"block-size", "context"}, {"seq-len", "context"}, {"sequence-length", "context"},
	{"context-length", "context"}, {"ctx-size", "context"}, {"train-data", "data"}, {"dataset", "data"}, {"text", "data"}, {"valid-data", "valid"}, {"validation", "valid"},
	{"input", "inputs"}, {"output", "out"}, {"output-dir", "out"}, {"out-dir", "out"}, {"save-steps", "save-every"}, {"eval-every", "validate-every"},
	{"eval-steps", "validate-every"}, {"eval-interval", "validate-every"}, {"eval-iters", "eval-batches"}, {"early-stopping", "patience"},
	{"model", "weights"}, {"checkpoint", "weights"}, {"ckpt", "weights"}, {"from", "weights"}, {"load", "weights"},
	{"max-tokens", "tokens"}, {"max-new-tokens", "tokens"}, {"max-length", "tokens"}, {"n-predict", "tokens"}, {"length", "tokens"}, {"num-tokens", "tokens"},
	{"temperature", "temp"}, {"nucleus", "top-p"}, {"beams", "beam"}, {"beam-size", "beam"}, {"num-beams", "beam"}, {"greedy", "temp"},
	{"repetition-penalty", "repeat-penalty"}, {"prompt-file", "prompts"}, {"prompts-file", "prompts"}, {"interactive", "chat"}, {"conversation", "chat"}, {"system-prompt", "system"},
	{"template", "chat-template"}, {"top-logprobs", "logprobs"}, {"n-probs", "logprobs"},
	{"random-seed", "seed"}, {"num-threads", "threads"}, {"jobs", "threads"}, {"silent", "quiet"}, {"verbose", "quiet"},
};

static bool same_word(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !((*a == '_' && *b == '-') || (*a == '-' && *b == '_')))
			return false;
	return *a == *b;
}

/* The flag that is meant by its setting's key (or that's last part) or by what others call it; NULL. A dim's name is none: its
 * bound is fixed when compiled. */
static const SnFlag *meant(const SnOptions *o, const char *name, unsigned kinds)
{
	for (int i = 0; i < count(o); i++) {
		const SnFlag *f = at(o, i);
		const char *dot = strrchr(f->key, '.');
		bool same = same_word(name, f->name) || same_word(name, f->key) || (dot && same_word(name, dot + 1));
		if ((f->kinds & kinds) && same && strlen(name) > 1)
			return f;
	}
	for (size_t i = 0; i < sizeof synonyms / sizeof synonyms[0]; i++)
		if (same_word(name, synonyms[i].other))
			return by_name(o, synonyms[i].name, strlen(synonyms[i].name), kinds);
	return NULL;
}

/* How `sinter build --set` calls what is no flag because the program was compiled for one value of it; NULL: it is nothing of the kind. */
static char *fixed_when_compiled(const SnOptions *o, const SnEntry *e, const char *name)
{
	const SnProgram *p = o->program;
	const char *entry = e ? e->name : NULL;
	const SnSym *syms = e ? e->syms : NULL;
	if (p && sn_setting(p->config, p->nconfig, name))
		return sn_format("%s", name);
	for (int64_t i = 0; e && i < e->nsym; i++)
		if (!strcmp(syms[i].name, name))
			return sn_format("%s.%s", entry, name);
	return e && sn_setting(e->settings, e->nsetting, name) ? sn_format("%s.%s", entry, name) : NULL;
}

static int texts_of(const SnOptions *o, const SnCommand *c)
{
	return c->kind == SN_INFER || c->kind == SN_EXPLAIN ? extras_of(o)->texts : 0;
}

static int unknown(const SnOptions *o, const char *arg, const SnCommand *c)
{
	const char *names[SN_MAX_FLAGS], *near = NULL;
	unsigned kinds = 1u << c->kind;
	int n = 0;
	for (int i = 0; i < count(o); i++)
		if (at(o, i)->kinds & kinds)
			names[n++] = at(o, i)->name;
	char *bare = sn_format("%.*s", (int)strcspn(arg, "="), arg);
	bool text = strchr(bare, ' ') && texts_of(o, c);
	const SnFlag *f = !strncmp(bare, "--", 2) ? meant(o, bare + 2, kinds) : NULL;
	char *fixed = !f && !strncmp(bare, "--", 2) ? fixed_when_compiled(o, c->entry, bare + 2) : NULL;
	if (!strncmp(bare, "--", 2))
		near = f ? f->name : sn_nearest(bare + 2, names, n);
	int code = text ? sn_fail(SN_USAGE, "%s: unknown flag %s; a text that begins with a dash comes behind --", c->name, bare)
	         : fixed ? sn_fail(SN_USAGE, "%s: %s is fixed when the program is compiled: sinter build MODEL --set %s=..", c->name, bare, fixed)
	         : near ? sn_fail(SN_USAGE, "%s: unknown flag %s; did you mean --%s?", c->name, bare, near)
	                : sn_fail(SN_USAGE, "%s: unknown flag %s (see %s --help)", c->name, bare, c->name);
	free(fixed);
	free(bare);
	return code;
}

static int take(SnOptions *o, const SnFlag *f, const char *text)
{
	SnValue *v = value_of(o, f);
	v->given = true;
	v->str = text;
	if (f->type == SN_T_LIST) {
		if (o->nstop == SN_MAX_LIST)
			return sn_fail(SN_USAGE, "--%s can be given %d times at most", f->name, SN_MAX_LIST);
		o->stop[o->nstop++] = text;
	}
	bool file = f->arg && (!strcmp(f->arg, "FILE") || !strcmp(f->arg, "DIR") || !strcmp(f->arg, "NAME"));
	if (file && !*text)
		return sn_fail(SN_USAGE, "--%s wants %s, not an empty text", f->name, f->arg);
	if (f->type < SN_T_NUM || f->type == SN_T_SWITCH)
		return SN_OK;
	char *end;
	errno = 0;
	v->num = strtod(text, &end);
	if (end == text || *end || errno || !fits(f->type, v->num))
		return sn_fail(SN_USAGE, "--%s wants %s, not \"%s\"", f->name, type_wants[f->type], text);
	return SN_OK;
}

/* Of commands that read texts. "-": standard input. */
static int take_text(SnOptions *o, const SnCommand *c, const char *text)
{
	if (o->ntext < texts_of(o, c)) {
		o->text[o->ntext++] = text;
		return SN_OK;
	}
	return sn_fail(SN_USAGE, "%s: unexpected argument \"%s\"", c->name, text);
}

/* One argument, or a flag and its value; returns how many were taken, or -1 after a message. */
static int parse_one(SnOptions *o, const SnCommand *c, int left, char **argv)
{
	const char *arg = argv[0], *value = NULL;
	unsigned kind = 1u << c->kind;
	const SnFlag *f = NULL;
	if (arg[0] != '-' || !arg[1]) {
		return take_text(o, c, arg) ? -1 : 1;
	}
	if (arg[1] == '-') {
		size_t n = strcspn(arg + 2, "=");
		f = by_name(o, arg + 2, n, kind);
		value = arg[2 + n] ? arg + 3 + n : NULL;
	} else {
		f = by_letter(o, arg[1], kind);
		value = arg[2] ? arg + 2 : NULL;
	}
	if (!f) {
		unknown(o, arg, c);
		return -1;
	}
	if (f->type == SN_T_SWITCH) {
		if (value) {
			sn_fail(SN_USAGE, "--%s takes no value", f->name);
			return -1;
		}
		return take(o, f, "") ? -1 : 1;
	}
	if (!value && left < 2) {
		sn_fail(SN_USAGE, "--%s wants a value: %s", f->name, f->arg);
		return -1;
	}
	int taken = value ? 1 : 2;
	return take(o, f, value ? value : argv[1]) ? -1 : taken;
}

int sn_flags_parse(SnOptions *o, const SnCommand *c, int argc, char **argv)
{
	bool ended = false;   /* by "--": what follows is texts, with dashes or not */
	o->entry = c->entry;
	for (int i = 0; i < argc;) {
		if (!ended && !strcmp(argv[i], "--")) {
			ended = true;
			i++;
			continue;
		}
		int taken = !ended ? parse_one(o, c, argc - i, argv + i) : take_text(o, c, argv[i]) ? -1 : 1;
		if (taken < 0)
			return SN_USAGE;
		i += taken;
	}
	o->help = sn_given(o, "help");
	return SN_OK;
}

const SnSetting *sn_setting(const SnSetting *s, int64_t n, const char *key)
{
	for (int64_t i = 0; i < n; i++)
		if (!strcmp(s[i].key, key))
			return &s[i];
	return NULL;
}

static const SnSetting *entry_setting(const SnOptions *o, const char *key)
{
	return o->entry ? sn_setting(o->entry->settings, o->entry->nsetting, key) : NULL;
}

bool sn_given(const SnOptions *o, const char *key)
{
	const SnFlag *f = by_key(o, key);
	return f && value_of(o, f)->given;
}

bool sn_taps_asked(const SnOptions *o)
{
	return o->entry->taps && (sn_given(o, "tap") || sn_given(o, "taps"));
}

bool sn_overridden(const SnOptions *o, const char *key)
{
	return sn_given(o, key) || json_object_get(o->saved, key);
}

double sn_num(const SnOptions *o, const char *key, double otherwise)
{
	const SnFlag *f = by_key(o, key);
	if (f && value_of(o, f)->given)
		return value_of(o, f)->num;
	json_t *j = json_object_get(o->saved, key);
	if (json_is_number(j))
		return json_number_value(j);
	const SnSetting *s = entry_setting(o, key);
	return s && s->is_num ? s->num : otherwise;
}

const char *sn_str(const SnOptions *o, const char *key, const char *otherwise)
{
	const SnFlag *f = by_key(o, key);
	if (f && value_of(o, f)->given)
		return value_of(o, f)->str;
	json_t *j = json_object_get(o->saved, key);
	if (json_is_string(j))
		return json_string_value(j);
	const SnSetting *s = entry_setting(o, key);
	return s && s->str && !s->is_num ? s->str : otherwise;
}

/* Paths are remembered absolutely: a run may be resumed from elsewhere. A built-in tokenizer is a name, whatever file
 * is called like it. */
static json_t *remembered(const SnFlag *f, const SnValue *v)
{
	if (f->type >= SN_T_NUM)
		return json_real(v->num);
	bool path = f->type == SN_T_PATH || (f->type == SN_T_TOKENIZER && !sn_tokenizer_is_builtin(v->str));
	char *whole = path ? realpath(v->str, NULL) : NULL;
	json_t *j = json_string(whole ? whole : v->str);
	free(whole);
	return j;
}

json_t *sn_options_save(const SnOptions *o)
{
	json_t *out = o->saved ? json_deep_copy(o->saved) : json_object();
	for (int i = 0; i < count(o); i++)
		if ((at(o, i)->kinds & SN_F_SAVED) && value_of(o, at(o, i))->given)
			json_object_set_new(out, at(o, i)->key, remembered(at(o, i), value_of(o, at(o, i))));
	return out;
}

static void say(SnStr *out, const SnFlag *f, json_t *value)
{
	sn_str_printf(out, " --%s", f->name);
	if (json_is_string(value))
		sn_str_printf(out, " %s", json_string_value(value));
	else if (f->type != SN_T_SWITCH)
		sn_str_printf(out, " %.10g", json_number_value(value));
}

void sn_options_take(SnOptions *o, const json_t *run, unsigned kind)
{
	SnStr said = {0};
	for (int i = 0; i < count(o); i++) {
		const SnFlag *f = at(o, i);
		bool data = i >= NFLAGS || !strcmp(f->key, "T"), common = (f->kinds & kind) && (f->kinds & SN_F_SAVED);
		json_t *value = json_object_get(run, f->key);
		if (!value || !data || !common || sn_given(o, f->key))
			continue;
		o->saved = o->saved ? o->saved : json_object();
		json_object_set(o->saved, f->key, value);
		say(&said, f, value);
	}
	if (said.n && !sn_given(o, "quiet"))
		sn_note("as the run was given:%s", said.s);
	free(said.s);
}

int64_t sn_vocabulary(const SnProgram *p)
{
	const SnSetting *v = sn_setting(p->config, p->nconfig, "V");
	return v && v->is_num ? (int64_t)v->num : 0;
}

static void print_default(FILE *out, const SnOptions *o, const SnFlag *f)
{
	const SnSetting *s = entry_setting(o, f->key);
	if (s && s->is_num)
		fprintf(out, " [%.10g]", s->num);
	else if (s && s->str)
		fprintf(out, " [%s]", sn_text(s->str));
}

/* Does nothing where the entry is fed with --inputs alone. */
static bool is_idle(const SnOptions *o, const SnCommand *c, const SnFlag *f)
{
	static const char *const texts[] = {"data.file", "data.valid", "data.tokenizer", "T"};
	const SnFunction *fed = c->kind != SN_TRAIN && c->kind != SN_EVAL ? NULL : sn_function(c->entry, c->kind == SN_EVAL ? "eval" : "step");
	if (!fed || sn_takes_text(o, fed))
		return false;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (!strcmp(f->key, texts[i]))
			return true;
	return false;
}

void sn_flags_help(FILE *out, const SnOptions *o, const SnCommand *c)
{
	fprintf(out, "Usage: %s %s %s[flags]\n", program_invocation_short_name, c->name, texts_of(o, c) ? "TEXT [TEXT] " : "");
	if (c->entry && c->entry->doc && *sn_text(c->entry->doc))
		fprintf(out, "\n%s\n", sn_text(c->entry->doc));
	fprintf(out, "\nFlags (in parentheses: the default; in brackets: what the model file sets)\n");
	for (int i = 0; i < count(o); i++) {
		const SnFlag *f = at(o, i);
		if (!(f->kinds & 1u << c->kind) || is_idle(o, c, f))
			continue;
		char brief[8] = "    ", left[40];
		if (f->brief)
			snprintf(brief, sizeof brief, "-%c, ", f->brief);
		snprintf(left, sizeof left, "%s--%s %s", brief, f->name, f->arg ? f->arg : "");
		fprintf(out, "  %-26s  %s", left, f->help);
		print_default(out, o, f);
		fputc('\n', out);
	}
	if (c->entry && !c->entry->runner)
		sn_inputs_help(out, c->entry);
}
