/* chat.c: conversations as text: what stands before and behind each turn, by the model's family.
 *
 * Checkpoints bring a chat_template in Jinja (tokenizer_config.json, or chat_template.jinja). It is not run: the families below are told apart
 * by what only theirs have in them, and rendered as they do. A template that has none of it is an error that names them; --chat-template
 * chooses one. A run that was trained on conversations remembers the name. */
#include "runtime/sn.h"

#include <stdlib.h>
#include <string.h>

struct SnChat {
	const char *name;
	const char *marks[2];         /* all of them are in its template */
	const char *system[2], *user[2], *answer[3];   /* before and behind; of an answer also what it begins with, itself, or NULL */
	const char *again;            /* before the user's second turn and those that follow, where it is not what the first has */
	bool inside;                  /* the system's text is within the user's first turn */
	const char *stop;             /* ends an answer */
};

/* The first that fits is taken: families that share marks stand behind those that have more. */
static const SnChat families[] = {
	{"chatml", {"<|im_start|>", ""}, {"<|im_start|>system\n", "<|im_end|>\n"}, {"<|im_start|>user\n", "<|im_end|>\n"}, {"<|im_start|>assistant\n", "<|im_end|>\n"},
	 NULL, false, "<|im_end|>"},
	{"llama3", {"<|start_header_id|>", ""}, {"<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"},
	 {"<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>"}, {"<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>"}, NULL, false, "<|eot_id|>"},
	{"gemma", {"<start_of_turn>", ""}, {"", "\n\n"}, {"<start_of_turn>user\n", "<end_of_turn>\n"}, {"<start_of_turn>model\n", "<end_of_turn>\n"}, NULL, true, "<end_of_turn>"},
	{"phi3", {"<|assistant|>", "<|end|>"}, {"<|system|>\n", "<|end|>\n"}, {"<|user|>\n", "<|end|>\n"}, {"<|assistant|>\n", "<|end|>\n"}, NULL, false, "<|end|>"},
	{"zephyr", {"<|assistant|>", ""}, {"<|system|>\n", "</s>\n"}, {"<|user|>\n", "</s>\n"}, {"<|assistant|>\n", "</s>\n"}, NULL, false, "</s>"},
	{"llama2", {"[INST]", "<<SYS>>"}, {"<<SYS>>\n", "\n<</SYS>>\n\n"}, {"[INST] ", " [/INST]"}, {"", " </s>", " "}, "<s>[INST] ", true, "</s>"},
	{"mistral", {"[INST]", ""}, {"", "\n\n"}, {"[INST] ", " [/INST]"}, {"", "</s>"}, NULL, true, "</s>"},
	{"vicuna", {"USER:", "ASSISTANT:"}, {"", " "}, {"USER: ", " "}, {"ASSISTANT:", "</s>", " "}, NULL, false, "</s>"},
	{"alpaca", {"### Instruction:", "### Response:"}, {"", "\n\n"}, {"### Instruction:\n", "\n\n"}, {"### Response:\n", "\n\n"}, NULL, false, "### Instruction:"},
};
enum { NFAMILIES = sizeof families / sizeof families[0] };

static int unknown(const char *what)
{
	SnStr names = {0};
	for (int i = 0; i < NFAMILIES; i++)
		sn_str_printf(&names, "%s%s", i ? ", " : "", families[i].name);
	int code = sn_fail(SN_DATA, "%s: give one with --chat-template: %s", what, names.s);
	free(names.s);
	return code;
}

static const SnChat *by_marks(const char *template)
{
	for (int i = 0; i < NFAMILIES; i++)
		if (strstr(template, families[i].marks[0]) && strstr(template, families[i].marks[1]))
			return &families[i];
	return NULL;
}

/* chat_template is a text, or a list of named ones, of which "default" counts. */
static const char *template_in(json_t *config)
{
	json_t *t = json_object_get(config, "chat_template"), *one;
	size_t i;
	json_array_foreach(t, i, one) {
		const char *name = json_string_value(json_object_get(one, "name"));
		if (name && !strcmp(name, "default"))
			return json_string_value(json_object_get(one, "template"));
	}
	return json_string_value(t);
}

static int in_file(const char *path, const SnChat **out)
{
	SnFile f;
	int code = sn_file_map(&f, path);
	if (code)
		return code;
	char *text = sn_format("%.*s", (int)(f.n < 1 << 20 ? f.n : 1 << 20), f.at);
	*out = by_marks(text);
	free(text);
	sn_file_unmap(&f);
	return *out ? SN_OK : unknown("the checkpoint's chat_template.jinja is of no family that is known");
}

static int in_config(const char *path, const SnChat **out)
{
	json_t *config = sn_json_read(path);
	if (!config)
		return SN_DATA;
	const char *template = template_in(config);
	*out = template ? by_marks(template) : NULL;
	int code = *out ? SN_OK : unknown(template ? "the checkpoint's chat_template is of no family that is known" : "the checkpoint's tokenizer_config.json has no chat_template");
	json_decref(config);
	return code;
}

/* What a run's state says; malloc'ed or NULL. */
static char *remembered(const char *dir)
{
	char *path = sn_format("%s/state.json", dir);
	json_t *j = sn_exists(path) ? sn_json_read(path) : NULL;
	const char *name = json_string_value(json_object_get(json_object_get(j, "options"), "chat_template"));
	char *copy = name ? sn_format("%s", name) : NULL;
	json_decref(j);
	free(path);
	return copy;
}

static int named(const char *name, const SnChat **out)
{
	for (int i = 0; i < NFAMILIES; i++)
		if (!strcmp(name, families[i].name)) {
			*out = &families[i];
			return SN_OK;
		}
	char *what = sn_format("\"%s\" is no chat template", name);
	unknown(what);
	free(what);
	return SN_USAGE;
}

int sn_chat_find(const SnOptions *o, const char *checkpoint, const SnChat **out)
{
	const char *name = sn_str(o, "chat_template", NULL);
	if (name)
		return named(name, out);
	const char *dir = checkpoint && sn_is_dir(checkpoint) ? checkpoint : ".";
	char *known = checkpoint ? remembered(dir) : NULL;
	if (known) {
		int code = named(known, out);
		free(known);
		return code;
	}
	char *jinja = sn_format("%s/chat_template.jinja", dir), *config = sn_format("%s/tokenizer_config.json", dir);
	int code = !checkpoint ? unknown("random weights bring no chat template")
	         : sn_exists(jinja) ? in_file(jinja, out) : sn_exists(config) ? in_config(config, out) : unknown("the checkpoint brings no chat template");
	free(jinja);
	free(config);
	return code;
}

const char *sn_chat_stop(const SnChat *c)
{
	return c->stop;
}

static void wrapped(SnStr *out, const char *const around[2], const char *text)
{
	sn_str_printf(out, "%s%s%s", around[0], text, around[1]);
}

const char *sn_chat_name(const SnChat *c)
{
	return c->name;
}

static void ask(SnStr *out, const SnChat *c, const char *system, const char *user, bool first)
{
	bool has = system && *system && first;
	if (has && !c->inside)
		wrapped(out, c->system, system);
	sn_str_printf(out, "%s", !first && c->again ? c->again : c->user[0]);
	if (has && c->inside)
		wrapped(out, c->system, system);
	sn_str_printf(out, "%s%s%s", user, c->user[1], c->answer[0]);
}

void sn_chat_ask(SnStr *out, const SnChat *c, const char *system, const char *user, bool first)
{
	if (!first)
		sn_str_printf(out, "%s", c->answer[1]);
	ask(out, c, system, user, first);
}

bool sn_chat_ends(const SnChat *c)
{
	return strstr(c->answer[1], c->stop) != NULL;
}

/* An answer: cuts before it and behind what ends it. What stands further behind belongs to what follows. */
static void answer(SnStr *out, const SnChat *c, const char *text, size_t *cuts)
{
	const char *stop = strstr(c->answer[1], c->stop);
	size_t n = stop ? (size_t)(stop - c->answer[1]) + strlen(c->stop) : strlen(c->answer[1]);
	cuts[0] = out->n;
	sn_str_printf(out, "%s%s%.*s", c->answer[2] ? c->answer[2] : "", text, (int)n, c->answer[1]);
	cuts[1] = out->n;
	sn_str_printf(out, "%s", c->answer[1] + n);
}

const char *sn_chat_render(SnStr *out, const SnChat *c, const SnTurn *t, int n, size_t *cuts, int *ncuts)
{
	const char *system = n && !strcmp(t[0].role, "system") ? t[0].text : NULL;
	int i = system ? 1 : 0;
	*ncuts = 0;
	for (; i < n; i += 2) {
		if (strcmp(t[i].role, "user"))
			return "a conversation is, after a system's message if there is one, user and assistant in turn";
		if (i + 1 == n)
			break;
		if (strcmp(t[i + 1].role, "assistant"))
			return "a message of user is not followed by one of assistant";
		ask(out, c, system, t[i].text, !*ncuts);
		answer(out, c, t[i + 1].text, cuts + *ncuts);
		*ncuts += 2;
	}
	return *ncuts ? NULL : "a conversation without an answer";
}
