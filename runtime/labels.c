/* labels.c: names of labels. Training decides them (a table's own, in order) and keeps them where Hugging Face's library does: in config.json as
 * id2label and label2id. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

void sn_names_add(SnNames *names, const char *s, size_t n)
{
	names->at = sn_realloc(names->at, sizeof *names->at * (size_t)(names->n + 1));
	names->at[names->n++] = sn_format("%.*s", (int)n, s);
}

int sn_names_find(const SnNames *names, const char *s, size_t n)
{
	for (int i = 0; i < names->n; i++)
		if (strlen(names->at[i]) == n && !memcmp(names->at[i], s, n))
			return i;
	return -1;
}

void sn_names_close(SnNames *names)
{
	for (int i = 0; i < names->n; i++)
		free(names->at[i]);
	free(names->at);
	*names = (SnNames){0};
}

/* A number as it would be printed; -1. */
static int64_t number(const char *s)
{
	size_t digits = strspn(s, "0123456789");
	return digits && digits < 10 && !s[digits] && (digits == 1 || s[0] != '0') ? atoll(s) : -1;
}

static int compare(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	int64_t m = number(x), n = number(y);
	return m >= 0 && n >= 0 ? (m > n) - (m < n) : strcmp(x, y);
}

void sn_names_sort(SnNames *names)
{
	if (names->n)
		qsort(names->at, (size_t)names->n, sizeof *names->at, compare);
}

bool sn_names_are_numbers(const SnNames *names, int below)
{
	for (int i = 0; i < names->n; i++)
		if (number(names->at[i]) < 0 || number(names->at[i]) >= below)
			return false;
	return true;
}

json_t *sn_names_json(const SnNames *names)
{
	json_t *by_id = json_object(), *by_label = json_object();
	for (int i = 0; i < names->n; i++) {
		char id[16];
		snprintf(id, sizeof id, "%d", i);
		json_object_set_new(by_id, id, json_string(names->at[i]));
		json_object_set_new(by_label, names->at[i], json_integer(i));
	}
	return sn_json_pack("{s:o, s:o}", "id2label", by_id, "label2id", by_label);
}

int sn_names_from(SnNames *names, json_t *config)
{
	json_t *ids = json_object_get(config, "id2label");
	for (int i = 0; i < (int)json_object_size(ids); i++) {
		char id[16];
		snprintf(id, sizeof id, "%d", i);
		const char *s = json_string_value(json_object_get(ids, id));
		if (!s)
			return sn_fail(SN_DATA, "config.json: id2label has %d names, but none for %d", (int)json_object_size(ids), i);
		sn_names_add(names, s, strlen(s));
	}
	return SN_OK;
}

json_t *sn_config_read(const char *checkpoint)
{
	if (!checkpoint)
		return json_object();
	const char *slash = sn_is_dir(checkpoint) ? NULL : strrchr(checkpoint, '/');
	char *path = sn_is_dir(checkpoint) ? sn_format("%s/config.json", checkpoint)
	           : slash ? sn_format("%.*s/config.json", (int)(slash - checkpoint), checkpoint) : sn_format("config.json");
	json_t *j = sn_exists(path) ? sn_json_read(path) : json_object();
	free(path);
	return j;
}

int sn_names_read(SnNames *names, const char *checkpoint)
{
	json_t *j = sn_config_read(checkpoint);
	*names = (SnNames){0};
	int code = j ? sn_names_from(names, j) : SN_DATA;
	json_decref(j);
	return code;
}
