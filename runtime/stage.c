/* stage.c: reading a tokenizer.json's stages: types against the names a table has, options with their defaults, and
 * Sequences opened up into one list. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

const char *sn_type_of(json_t *j)
{
	const char *type = json_string_value(json_object_get(j, "type"));
	return type ? type : "";
}

SnSpan sn_text_of(json_t *j)
{
	return (SnSpan){json_string_value(j), json_string_length(j)};
}

bool sn_flag_of(json_t *j, const char *key, bool otherwise)
{
	json_t *value = json_object_get(j, key);
	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

int sn_stage_find(json_t *j, const char *what, const char *const *name, size_t stride, int n, const char *path)
{
	const char *type = sn_type_of(j);
	SnStr all = {0};
	for (int i = 0; i < n; i++) {
		const char *known = *(const char *const *)(const void *)((const char *)name + stride * (size_t)i);
		if (!strcmp(type, known)) {
			free(all.s);
			return i;
		}
		sn_str_printf(&all, "%s%s", i ? ", " : "", known);
	}
	sn_fail(SN_DATA, "%s: the %s \"%s\" is not known; known are %s", path, what, type, all.s);
	free(all.s);
	return -1;
}

static int add(json_t *j, const char *list, const char *what, const char *path, json_t *out[], int *n, int depth)
{
	if (!json_is_object(j))
		return sn_fail(SN_DATA, "%s: a %s is no object", path, what);
	if (strcmp(sn_type_of(j), "Sequence")) {
		if (*n == SN_MAX_STAGES)
			return sn_fail(SN_DATA, "%s: more than %d %ss", path, SN_MAX_STAGES, what);
		out[(*n)++] = j;
		return SN_OK;
	}
	json_t *items = json_object_get(j, list), *item;
	if (!json_is_array(items) || depth > 16)
		return sn_fail(SN_DATA, "%s: a Sequence of %ss without a list \"%s\", or one too deep", path, what, list);
	size_t i;
	int code = SN_OK;
	json_array_foreach(items, i, item)
		code = code ? code : add(item, list, what, path, out, n, depth + 1);
	return code;
}

int sn_stage_list(json_t *j, const char *list, const char *what, const char *path, json_t *out[], int *n)
{
	*n = 0;
	return !j || json_is_null(j) ? SN_OK : add(j, list, what, path, out, n, 0);
}
