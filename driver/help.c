/* help.c: `sinter help`, `sinter --help` and `sinter COMMAND --help`, from the table. */
#include "driver/driver.h"

void help_all(FILE *out)
{
	Str s = {0};
	str_printf(&s, "sinter %s: compiles transformer definitions to native executables\n\n", SINTER_VERSION);
	for (CommandId c = 0; c < CMD_COUNT; c++) {
		const char *left = internf("  sinter %s %s", command_info[c].name, command_info[c].operands);
		put_padded(&s, left, 32);
		str_printf(&s, "%s\n", command_info[c].doc);
	}
	str_puts(&s, "\n`sinter COMMAND --help` lists a command's flags; `sinter --version` says which this is.\n"
	             "Exit codes: 0 ok, 1 failure, 2 usage.\n");
	fwrite(s.at, 1, s.len, out);
	str_free(&s);
}

static void put_flag(Str *s, const FlagInfo *f)
{
	const char *brief = f->letter ? internf("-%c, ", f->letter) : "    ";
	put_padded(s, internf("  %s--%s%s%s", brief, f->name, f->value ? " " : "", f->value ? f->value : ""), 32);
	str_puts(s, f->doc);
	if (f->wanted.kind == KIND_CHOICE)
		str_printf(s, ": %s", f->wanted.choices);
	str_puts(s, "\n");
}

/* Paragraphs of at most `width` columns. */
static void put_wrapped(Str *s, const char *text, int width)
{
	int column = 0;
	for (const char *p = text; *p;) {
		int n = (int)strcspn(p, " \n");
		bool fits = column + n <= width;
		str_printf(s, "%s%.*s", column == 0 ? "" : fits ? " " : "\n", n, p);
		column = fits ? column + n + 1 : n + 1;
		p += n;
		if (*p == '\n') {
			str_puts(s, "\n");
			column = 0;
		}
		p += *p != 0;
	}
	str_puts(s, "\n");
}

void help_command(CommandId c)
{
	const Command *m = &command_info[c];
	Str s = {0};
	str_printf(&s, "sinter %s %s [flags]\n  %s\n", m->name, m->operands, m->doc);
	if (m->wanted.kind == KIND_CHOICE)
		str_printf(&s, "  %s: %s\n", m->operands, m->wanted.choices);
	if (*m->more) {
		str_puts(&s, "\n");
		put_wrapped(&s, m->more, 100);
	}
	str_puts(&s, "\n");
	for (int i = 0; i < flag_count; i++)
		if (flag_info[i].commands >> c & 1)
			put_flag(&s, &flag_info[i]);
	put_out(&s);
}

int run_help(Arena *a, const Flags *f)
{
	if (f->rest.len == 0) {
		help_all(stdout);
		return EXIT_OK;
	}
	CommandId c = command_find(f->rest.at[0]);
	if (c == CMD_COUNT)
		return EXIT_USAGE;
	help_command(c);
	return EXIT_OK;
}
