/* main.c: `sinter COMMAND ...`: finds the subcommand, reads its flags by its table, runs it. */
#include "driver/driver.h"

#include <stdlib.h>

static const Command *const commands[] = { &command_build, &command_check, &command_opt, &command_docs };

static const Command *find(const char *name)
{
	for (int i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static void usage(FILE *f)
{
	fprintf(f, "sinter %s: compiles transformer definitions to native executables\n\n", SINTER_VERSION);
	for (int i = 0; i < COUNT(commands); i++)
		fprintf(f, "  sinter %-6s %-20s %s\n", commands[i]->name, commands[i]->operands, commands[i]->doc);
	fprintf(f, "\n`sinter COMMAND --help` lists a command's flags. Exit codes: 0 ok, 1 failure, 2 usage.\n");
}

static void help(const Command *c)
{
	Str s = {0};
	str_printf(&s, "sinter %s %s [flags]\n  %s\n\n", c->name, c->operands, c->doc);
	flags_help(&s, c->flags, c->nflags);
	fputs(s.at, stdout);
	str_free(&s);
}

static int no_such(const char *name)
{
	const char *names[COUNT(commands)];
	for (int i = 0; i < COUNT(commands); i++)
		names[i] = commands[i]->name;
	diag_error((Loc){0}, NULL, "there is no command \"%s\"", name);
	const char *near = diag_nearest(name, names, COUNT(commands));
	if (near)
		diag_help("did you mean `sinter %s`?", near);
	return EXIT_USAGE;
}

static int run(const Command *c, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			help(c);
			return EXIT_OK;
		}
	Arena *a = arena_new();
	Flags flags = {0};
	int code = flags_read(a, c->flags, c->nflags, argc, argv, &flags) ? c->run(a, &flags) : EXIT_USAGE;
	arena_free(a);
	return code;
}

/* Output that could not be written is a failure, not an empty success. */
static int written(int code)
{
	if (fflush(stdout) != 0 || ferror(stdout))
		fatal("could not write the output");
	return code;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("sinter %s\n", SINTER_VERSION);
		return written(EXIT_OK);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return written(EXIT_OK);
	}
	const Command *c = find(argv[1]);
	return c ? written(run(c, argc - 2, argv + 2)) : no_such(argv[1]);
}
