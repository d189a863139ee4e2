/* main.c: `sinter COMMAND ...`: finds the subcommand, reads its flags by the table, runs it. */
#include "driver/driver.h"

#include <signal.h>

enum { MOST_SHOWN = 20 };   /* errors and warnings; the first ones are the ones to mend first */

CommandId command_find(const char *name)
{
	const char *names[CMD_COUNT];
	for (CommandId c = 0; c < CMD_COUNT; c++) {
		names[c] = command_info[c].name;
		if (strcmp(name, names[c]) == 0)
			return c;
	}
	const char *near = diag_nearest(name, names, CMD_COUNT);
	diag_error((Loc){0}, NULL, "there is no command \"%s\"", name);
	if (near)
		diag_help("did you mean `sinter %s`?", near);
	else
		diag_help("`sinter --help` lists the commands");
	return CMD_COUNT;
}

/* Whether one of the flags is among the arguments, before any `--`. */
static bool has(int argc, char **argv, const char *flag, const char *brief)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], flag) == 0 || strcmp(argv[i], brief) == 0)
			return true;
	return false;
}

static int run(CommandId c, int argc, char **argv)
{
	if (has(argc, argv, "--help", "-h")) {
		help_command(c);
		return EXIT_OK;
	}
	diag_json(has(argc, argv, "--json", "--json"));   /* also for what is wrong with the flags themselves */
	diag_limit(MOST_SHOWN);
	Arena *a = arena_new();
	Flags flags = {0};
	int code = flags_read(a, c, argc, argv, &flags) ? command_info[c].run(a, &flags) : EXIT_USAGE;
	diag_close();
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
	signal(SIGXFSZ, SIG_IGN);   /* a file size limit is met like a full disk: by write()'s error */
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("sinter %s\n", SINTER_VERSION);
		return written(EXIT_OK);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help_all(stdout);
		return written(EXIT_OK);
	}
	CommandId c = command_find(argv[1]);
	return c == CMD_COUNT ? EXIT_USAGE : written(run(c, argc - 2, argv + 2));
}
