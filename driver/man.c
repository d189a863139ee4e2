/* man.c: `sinter man`: the manual page, in the man macros of roff (groff_man(7)), from the table. */
#include "driver/driver.h"

/* Text as roff shows it as it stands: no dash becomes a hyphen, no line begins with a request. */
static void put_roff(Str *s, const char *text)
{
	bool start = true;
	for (const char *p = text; *p; p++) {
		if (start && (*p == '.' || *p == '\''))
			str_puts(s, "\\&");
		start = *p == '\n';
		if (*p == '\\')
			str_puts(s, "\\e");
		else if (*p == '-')
			str_puts(s, "\\-");
		else if (*p == '\n')
			str_puts(s, "\n.PP\n");
		else if (*p == '`')
			str_puts(s, "\\(oq");
		else
			str_put(s, p, 1);
	}
}

static void put_flag(Str *s, const FlagInfo *f)
{
	str_puts(s, ".TP\n.B ");
	if (f->letter)
		str_printf(s, "\\-%c\\fR, \\fB", f->letter);
	put_roff(s, internf("--%s", f->name));
	if (f->value)
		str_printf(s, " \\fI%s\\fR", f->value);
	str_puts(s, "\n");
	put_roff(s, f->doc);
	if (f->wanted.kind == KIND_CHOICE) {
		str_puts(s, ": ");
		put_roff(s, f->wanted.choices);
	}
	str_puts(s, "\n");
}

static void put_command(Str *s, CommandId c)
{
	const Command *m = &command_info[c];
	str_printf(s, ".SS \"sinter %s%s%s\"\n", m->name, *m->operands ? " " : "", m->operands);
	put_roff(s, m->doc);
	str_puts(s, ".\n");
	if (*m->more) {
		str_puts(s, ".PP\n");
		put_roff(s, m->more);
		str_puts(s, "\n");
	}
	for (int i = 0; i < flag_count; i++)
		if ((flag_info[i].commands >> c & 1) && flag_info[i].commands != C_all)
			put_flag(s, &flag_info[i]);
}

static const char head[] =
	".SH NAME\n"
	"sinter \\- compile transformer definitions to native executables\n"
	".SH SYNOPSIS\n"
	".B sinter\n"
	".I COMMAND\n"
	"[flags] [operands]\n"
	".SH DESCRIPTION\n"
	"A model file describes a transformer the way its paper does. \\fBsinter build\\fR makes one executable of it that trains,\n"
	"evaluates and runs the model, with nothing else to install. The other commands check, format and describe model files, and\n"
	"show the compiler at work.\n"
	".SH COMMANDS\n";

static const char tail[] =
	".SH EXIT STATUS\n"
	".TP\n.B 0\nAll is well.\n"
	".TP\n.B 1\nThe file has errors, or something failed; for \\fBfmt \\-\\-check\\fR, a file is not formatted.\n"
	".TP\n.B 2\nUsage: an unknown command or flag, or a wrong value.\n"
	".SH EXAMPLES\n"
	".TP\nWhat a model is, and what a checkpoint of it holds\n"
	"sinter summary gpt2.sinter \\-\\-preset xl\n.br\n"
	"sinter names gpt2.sinter \"*.c_proj.*\"\n"
	".TP\nCompile, train, generate\n"
	"sinter build gpt2.sinter \\-\\-preset nano \\-\\-set train.micro=4 \\-o gpt2\n.br\n"
	"\\&./gpt2 train \\-\\-data corpus.txt \\-\\-tokenizer byte \\-\\-steps 2000 \\-\\-out run\n.br\n"
	"\\&./gpt2 generate \\-m run \\-p \"Once\"\n"
	".TP\nKeep files formatted\n"
	"sinter fmt \\-\\-check *.sinter\n";

int run_man(Arena *a, const Flags *f)
{
	Str s = {0};
	str_printf(&s, ".TH SINTER 1 \"\" \"sinter %s\" \"User Commands\"\n%s", SINTER_VERSION, head);
	for (CommandId c = 0; c < CMD_COUNT; c++)
		put_command(&s, c);
	str_puts(&s, ".SS \"All commands\"\n");
	for (int i = 0; i < flag_count; i++)
		if (flag_info[i].commands == C_all)
			put_flag(&s, &flag_info[i]);
	str_puts(&s, tail);
	return put_out(&s) ? EXIT_OK : EXIT_FAIL;
}
