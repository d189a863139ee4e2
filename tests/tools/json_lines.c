/* json_lines.c: for tests of --json: every line of standard input must be one JSON object. With a key, prints its value in
 * each object (JSON, a line each; nothing where it is missing); without, the number of objects. usage: json_lines [KEY] */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static int print_value(json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
	int bad = value && (!text || puts(text) < 0);
	free(text);
	return bad;
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t cap = 0;
	int n = 0, bad = 0;
	for (ssize_t len; !bad && (len = getline(&line, &cap, stdin)) > 0; n++) {
		json_error_t why;
		json_t *object = json_loadb(line, (size_t)len, JSON_REJECT_DUPLICATES, &why);
		bad = !json_is_object(object);
		if (bad)
			fprintf(stderr, "line %d is no JSON object: %s\n", n + 1, object ? "another value" : why.text);
		else if (argc > 1)
			bad = print_value(object, argv[1]);
		json_decref(object);
	}
	free(line);
	if (argc == 1 && !bad)
		printf("%d\n", n);
	return bad;
}
