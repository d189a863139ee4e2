/* completions.c: `sinter completions bash|zsh|fish`: scripts that complete commands, flags, values and operands, from
 * the table. They ask for nothing but sh, the shell's own means, and `sinter explain` for the codes. */
#include "driver/driver.h"

/* For a shell's single quotes; zsh's descriptions also escape what its specs read: `[]:`. */
static const char *quoted(Arena *a, const char *text, const char *special)
{
	Str s = {0};
	str_puts(&s, "");
	for (const char *p = text; *p; p++) {
		if (*p == '\'')
			str_puts(&s, "'\\''");
		else if (strchr(special, *p))
			str_printf(&s, "\\%c", *p);
		else
			str_put(&s, p, 1);
	}
	const char *out = arena_strndup(a, s.at, s.len);
	str_free(&s);
	return out;
}

static bool has_flag(CommandId c, const FlagInfo *f)
{
	return f->commands >> c & 1;
}

static void put_command_names(Str *s)
{
	for (CommandId c = 0; c < CMD_COUNT; c++)
		str_printf(s, "%s%s", c ? " " : "", command_info[c].name);
}

/* bash */

/* What completes a value; NULL for nothing. */
static const char *bash_words(Wanted w)
{
	switch (w.kind) {
	case KIND_ANY_FILE: case KIND_GRAPH: return "COMPREPLY=($(compgen -f -- \"$cur\"))";
	case KIND_MODEL: return "COMPREPLY=($(compgen -f -X '!*.sinter' -- \"$cur\") $(compgen -d -S / -- \"$cur\"))";
	case KIND_CODE: return "COMPREPLY=($(compgen -W \"$(sinter explain 2>/dev/null | cut -d' ' -f1)\" -- \"$cur\"))";
	case KIND_COMMAND_NAME: return "COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\"))";
	case KIND_CHOICE: return internf("COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))", w.choices);
	case KIND_NOTHING: case KIND_TEXT: return NULL;
	}
	return NULL;
}

static void bash_command(Str *s, CommandId c)
{
	str_printf(s, "\t%s)\n\t\tcase $flag in\n", command_info[c].name);
	for (int i = 0; i < flag_count; i++) {
		const FlagInfo *f = &flag_info[i];
		if (!has_flag(c, f) || !f->value)
			continue;
		const char *words = bash_words(f->wanted);
		str_printf(s, "\t\t--%s", f->name);
		if (f->letter)
			str_printf(s, "|-%c", f->letter);
		str_printf(s, ") %s; return ;;\n", words ? words : "COMPREPLY=()");
	}
	str_puts(s, "\t\tesac\n\t\tif [[ $cur == -* ]]; then\n\t\t\tCOMPREPLY=($(compgen -W \"");
	for (int i = 0; i < flag_count; i++)
		if (has_flag(c, &flag_info[i]))
			str_printf(s, "--%s ", flag_info[i].name);
	const char *operands = bash_words(command_info[c].wanted);
	str_printf(s, "\" -- \"$cur\"))\n\t\telse\n\t\t\t%s\n\t\tfi ;;\n", operands ? operands : "COMPREPLY=()");
}

static void put_bash(Str *s, Arena *a)
{
	str_puts(s, "# bash completion for sinter; made by `sinter completions bash`\n_sinter()\n{\n"
	            "\tlocal cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} commands='");
	put_command_names(s);
	str_puts(s, "'\n\tCOMPREPLY=()\n\tif ((COMP_CWORD == 1)); then\n"
	            "\t\tCOMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n"
	            "\t# --flag=value comes as three words\n"
	            "\tif [[ $cur == = ]]; then\n\t\tcur=\n\telif [[ $flag == = ]]; then\n\t\tflag=${COMP_WORDS[COMP_CWORD-2]}\n\tfi\n"
	            "\tcase ${COMP_WORDS[1]} in\n");
	for (CommandId c = 0; c < CMD_COUNT; c++)
		bash_command(s, c);
	str_puts(s, "\tesac\n}\ncomplete -o filenames -F _sinter sinter\n");
}

/* zsh */

static const char *zsh_action(Wanted w)
{
	switch (w.kind) {
	case KIND_ANY_FILE: case KIND_GRAPH: return "_files";
	case KIND_MODEL: return "_files -g \"*.sinter\"";
	case KIND_CODE: return "($(sinter explain 2>/dev/null | cut -d\" \" -f1))";
	case KIND_COMMAND_NAME: return "($names)";
	case KIND_CHOICE: return internf("(%s)", w.choices);
	case KIND_NOTHING: case KIND_TEXT: return "";
	}
	return "";
}

static void zsh_flag(Str *s, Arena *a, const FlagInfo *f)
{
	const char *doc = quoted(a, f->doc, "[]:"), *action = f->value ? zsh_action(f->wanted) : NULL;
	const char *value = f->value ? internf(":%s:%s", quoted(a, f->value, "[]:"), action) : "";
	bool repeats = strcmp(f->name, "set") == 0;
	str_printf(s, "\t\t\t'%s--%s%s[%s]%s' \\\n", repeats ? "*" : "", f->name, f->value ? "=" : "", doc, value);
	if (f->letter)
		str_printf(s, "\t\t\t'%s-%c[%s]%s' \\\n", repeats ? "*" : "", f->letter, doc, value);
}

static void put_zsh(Str *s, Arena *a)
{
	str_puts(s, "#compdef sinter\n# zsh completion for sinter; made by `sinter completions zsh`\n_sinter()\n{\n\tlocal -a names=(");
	put_command_names(s);
	str_puts(s, ")\n\tif ((CURRENT == 2)); then\n\t\tlocal -a described=(\n");
	for (CommandId c = 0; c < CMD_COUNT; c++)
		str_printf(s, "\t\t\t'%s:%s'\n", command_info[c].name, quoted(a, command_info[c].doc, ":"));
	str_puts(s, "\t\t)\n\t\t_describe command described\n\t\treturn\n\tfi\n"
	            "\tlocal command=$words[2]\n\tshift words\n\t((CURRENT--))\n\tcase $command in\n");
	for (CommandId c = 0; c < CMD_COUNT; c++) {
		const Command *m = &command_info[c];
		str_printf(s, "\t%s)\n\t\t_arguments -s \\\n", m->name);
		for (int i = 0; i < flag_count; i++)
			if (has_flag(c, &flag_info[i]))
				zsh_flag(s, a, &flag_info[i]);
		if (m->most == 0)
			str_puts(s, "\t\t\t;;\n");
		else
			str_printf(s, "\t\t\t'%s:%s:%s' ;;\n", m->most == 1 ? "1" : "*", quoted(a, m->operands, "[]:"), zsh_action(m->wanted));
	}
	str_puts(s, "\tesac\n}\n_sinter \"$@\"\n");
}

/* fish */

static const char *fish_values(Wanted w)
{
	switch (w.kind) {
	case KIND_ANY_FILE: case KIND_GRAPH: return "-F";
	case KIND_MODEL: return "-f -a '(__fish_complete_suffix .sinter)'";
	case KIND_CODE: return "-f -a '(sinter explain 2>/dev/null | string replace -r \"  +\" \\t)'";
	case KIND_COMMAND_NAME: return "-f -a \"$__sinter_commands\"";
	case KIND_CHOICE: return internf("-f -a '%s'", w.choices);
	case KIND_NOTHING: case KIND_TEXT: return "-f";
	}
	return "-f";
}

static void put_fish(Str *s, Arena *a)
{
	str_puts(s, "# fish completion for sinter; made by `sinter completions fish`\nset -g __sinter_commands ");
	put_command_names(s);
	str_puts(s, "\ncomplete -c sinter -f\ncomplete -c sinter -n __fish_use_subcommand -l version -s V -d 'say which version this is'\n");
	for (CommandId c = 0; c < CMD_COUNT; c++) {
		const Command *m = &command_info[c];
		const char *when = internf("-n '__fish_seen_subcommand_from %s'", m->name);
		str_printf(s, "complete -c sinter -n __fish_use_subcommand -a %s -d '%s'\n", m->name, quoted(a, m->doc, "\\"));
		str_printf(s, "complete -c sinter %s %s\n", when, fish_values(m->wanted));
		for (int i = 0; i < flag_count; i++) {
			const FlagInfo *f = &flag_info[i];
			if (!has_flag(c, f))
				continue;
			str_printf(s, "complete -c sinter %s -l %s", when, f->name);
			if (f->letter)
				str_printf(s, " -s %c", f->letter);
			str_printf(s, "%s%s -d '%s'\n", f->value ? " -r " : "", f->value ? fish_values(f->wanted) : "", quoted(a, f->doc, "\\"));
		}
	}
}

static const struct { const char *name; void (*put)(Str *, Arena *); } shells[] = {
	{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish},
};

int run_completions(Arena *a, const Flags *f)
{
	Str s = {0};
	for (int i = 0; i < COUNT(shells); i++)
		if (strcmp(shells[i].name, f->rest.at[0]) == 0)
			shells[i].put(&s, a);
	return put_out(&s) ? EXIT_OK : EXIT_FAIL;
}
