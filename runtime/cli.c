/* cli.c: the produced executable's command line: subcommands are the program's entries, `eval` wherever a train entry
 * can evaluate, and `info`. */
#include "runtime/sn.h"

#include <sys/syscall.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_COMMANDS = 32 };
typedef struct Commands { SnCommand at[MAX_COMMANDS]; int n; } Commands;

static const char *const kind_help[] = {
	[SN_TRAIN] = "train, or go on with a run", [SN_EVAL] = "loss and metrics on other data", [SN_GENERATE] = "go on from a prompt",
	[SN_INFER] = "run the model on a file of inputs", [SN_INIT] = "write a checkpoint of random weights", [SN_INFO] = "what this program is: configuration, memory, weights",
};

static bool has(const Commands *c, const char *name)
{
	for (int i = 0; i < c->n; i++)
		if (!strcmp(c->at[i].name, name))
			return true;
	return false;
}

static void add(Commands *c, const char *name, int kind, const SnEntry *e)
{
	if (c->n < MAX_COMMANDS && !has(c, name))
		c->at[c->n++] = (SnCommand){name, kind, e};
}

static Commands commands_of(const SnProgram *p)
{
	static char evals[MAX_COMMANDS][64];   /* names of those that are not called eval alone */
	Commands c = {0};
	const SnEntry *e = p->entries;
	for (int i = 0; i < p->nentry; i++)
		add(&c, e[i].name, (int)e[i].kind, &e[i]);
	for (int i = 0; i < p->nentry && c.n < MAX_COMMANDS; i++)   /* of the first train entry, and of others by their names */
		if (e[i].kind == SN_TRAIN && sn_function(&e[i], "eval")) {
			snprintf(evals[c.n], sizeof evals[0], "eval-%s", sn_text(e[i].name));
			add(&c, has(&c, "eval") ? evals[c.n] : "eval", SN_EVAL, &e[i]);
		}
	add(&c, "init", SN_INIT, NULL);
	add(&c, "info", SN_INFO, NULL);
	return c;
}

void sn_print_setting(FILE *out, const SnSetting *s)
{
	const char *doc = s->doc ? sn_text(s->doc) : "";
	char number[32];
	snprintf(number, sizeof number, "%.10g", s->num);
	const char *value = s->is_num ? number : s->str ? sn_text(s->str) : "none";
	if (*doc)
		fprintf(out, "  %-10s %-10s  %s\n", sn_text(s->key), value, doc);
	else
		fprintf(out, "  %-10s %s\n", sn_text(s->key), value);
}

static void help(FILE *out, const SnProgram *p, const Commands *c)
{
	fprintf(out, "%s\n", sn_text(p->name));
	if (p->doc && *sn_text(p->doc))
		fprintf(out, "%s\n", sn_text(p->doc));
	fprintf(out, "\nUsage: %s COMMAND [flags]\n\n", program_invocation_short_name);
	int width = 10;
	for (int i = 0; i < c->n; i++)
		width = (int)strlen(c->at[i].name) > width ? (int)strlen(c->at[i].name) : width;
	for (int i = 0; i < c->n; i++) {
		const SnEntry *e = c->at[i].entry;
		const SnRunner *r = e ? e->runner : NULL;
		bool own = e && !strcmp(e->name, c->at[i].name) && e->doc && *sn_text(e->doc);
		const char *what = own ? sn_text(e->doc) : r ? r->help : kind_help[c->at[i].kind];
		bool texts = !own && !r && e && e->kind == SN_INFER && e->feeder;
		fprintf(out, "  %-*s %s\n", width, c->at[i].name, texts ? "run the model on texts, or on a file of inputs" : what);
	}
	fprintf(out, "\n%s COMMAND --help lists the command's flags; --version says what is inside.\n", program_invocation_short_name);
	if (p->nconfig)
		fprintf(out, "\nConfiguration (fixed when compiled)\n");
	const SnSetting *s = p->config;
	for (int i = 0; i < p->nconfig; i++)
		sn_print_setting(out, &s[i]);
}

static const SnCommand *find(const Commands *c, const char *name)
{
	for (int i = 0; i < c->n; i++)
		if (!strcmp(c->at[i].name, name))
			return &c->at[i];
	const char *names[MAX_COMMANDS];
	for (int i = 0; i < c->n; i++)
		names[i] = c->at[i].name;
	const char *near = sn_nearest(name, names, c->n);
	if (near)
		sn_fail(SN_USAGE, "unknown command \"%s\"; did you mean %s?", name, near);
	else
		sn_fail(SN_USAGE, "unknown command \"%s\" (see --help)", name);
	return NULL;
}

/* `train NAME` and `eval NAME`, where several entries can be trained. */
static const SnCommand *find_kind(const Commands *c, const char *kind, const char *name)
{
	int wanted = !strcmp(kind, "train") ? SN_TRAIN : !strcmp(kind, "eval") ? SN_EVAL : -1;
	for (int i = 0; i < c->n && wanted >= 0; i++)
		if (c->at[i].kind == wanted && c->at[i].entry && !strcmp(c->at[i].entry->name, name))
			return &c->at[i];
	return NULL;
}

static int run(SnOptions *o, const SnCommand *c)
{
	const SnRunner *r = o->entry ? o->entry->runner : NULL;
	if ((sn_given(o, "tap") || sn_given(o, "taps")) && !o->entry->taps)
		return sn_fail(SN_USAGE, "%s has no taps: values are named when it is built, `sinter build --tap NAME`; `sinter names --values` lists them", c->name);
	if (r)
		return r->run(o);
	if (sn_given(o, "example"))
		return sn_example_main(o);
	switch (c->kind) {
	case SN_TRAIN: return sn_train_main(o);
	case SN_EVAL: return sn_eval_main(o);
	case SN_GENERATE: return sn_generate_main(o);
	case SN_INFO: return sn_info_main(o);
	case SN_INIT: return sn_init_main(o);
	default: return sn_infer_main(o);
	}
}

/* Data or weights that did not fit `eval` may be those of another entry. */
static void tell_of_others(const Commands *all, const SnCommand *c)
{
	SnStr others = {0};
	for (int i = 0; i < all->n; i++)
		if (all->at[i].kind == SN_EVAL && &all->at[i] != c)
			sn_str_printf(&others, "%s%s", others.n ? ", " : "", all->at[i].name);
	if (others.n)
		sn_note("this was the eval of `%s`; there are %s", sn_text(c->entry->name), others.s);
	free(others.s);
}

/* The hash of jansson's tables is seeded by the time and the process: not here, results must not depend on the day. */
enum { JSON_SEED = 1 };

/* Files must not get the numbers of streams the caller has closed: messages would land in them. What takes the
 * numbers can't be written to, so a closed output is still an error. */
static void occupy_streams(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int dispatch(const SnProgram *p, int argc, char **argv)
{
	Commands commands = commands_of(p);
	signal(SIGXFSZ, SIG_IGN);   /* a file size limit is met like a full disk: by write()'s error */
	json_object_seed(JSON_SEED);
	if (argc < 2) {
		help(stderr, p, &commands);
		return SN_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout, p, &commands);
		return SN_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		sn_version(stdout, p);
		return SN_OK;
	}
	const SnCommand *two = argc > 2 ? find_kind(&commands, argv[1], argv[2]) : NULL, *c = two ? two : find(&commands, argv[1]);
	if (!c)
		return SN_USAGE;
	SnOptions o = {.program = p, .began = sn_clock()};
	int code = sn_flags_parse(&o, c, argc - 2 - !!two, argv + 2 + !!two);
	if (!code && o.help)
		sn_flags_help(stdout, &o, c);
	else if (!code)
		code = run(&o, c);
	if (code == SN_DATA && !two && !strcmp(c->name, "eval"))
		tell_of_others(&commands, c);
	json_decref(o.saved);
	return code;
}

/* AMX's state (Linux 5.16 on) is given to processes that ask for it, once for all their threads. */
static int ask_for_tiles(const SnProgram *p)
{
#ifdef __x86_64__
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
	if (p->tiles && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) != 0)
		return sn_fail(SN_FAIL, "this program was built for a processor and a kernel with AMX; build it with --target x86-64-v4 or lower");
#endif
	return SN_OK;
}

int sn_main(int argc, char **argv)
{
	occupy_streams();
	if (ask_for_tiles(&sn_program))
		return SN_FAIL;
	int code = dispatch(&sn_program, argc, argv);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	return code ? code : sn_fail(SN_FAIL, "can't write to standard output");
}
