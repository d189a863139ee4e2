/* post.c: post-processors: where special tokens stand around one text, and around two. All kinds become two lists of items. */
#include "runtime/tokens.h"

#include <stdlib.h>
#include <string.h>

enum { SPECIAL, FIRST, SECOND };
typedef struct Item { int what; int32_t id, type; } Item;
typedef struct Items { Item *at; int n, cap; } Items;
struct SnPost { Items single, pair; };

static void push(Items *list, int what, int32_t id, int32_t type)
{
	if (list->n == list->cap) {
		list->cap = list->cap ? list->cap * 2 : 8;
		list->at = sn_realloc(list->at, sizeof *list->at * (size_t)list->cap);
	}
	list->at[list->n++] = (Item){what, id, type};
}

static bool id_of(json_t *j, int32_t *id)
{
	*id = (int32_t)json_integer_value(j);
	return json_is_integer(j) && json_integer_value(j) >= 0 && json_integer_value(j) < SN_MAX_ID;
}

static int read_item(Items *list, json_t *j, json_t *specials, const char *path)
{
	json_t *special = json_object_get(j, "SpecialToken"), *sequence = json_object_get(j, "Sequence"), *either = special ? special : sequence;
	const char *name = json_string_value(json_object_get(either, "id"));
	int32_t type = (int32_t)json_integer_value(json_object_get(either, "type_id"));
	if (!name)
		return sn_fail(SN_DATA, "%s: an item of a TemplateProcessing is neither a SpecialToken nor a Sequence", path);
	if (!special) {
		push(list, strcmp(name, "B") ? FIRST : SECOND, 0, type);
		return SN_OK;
	}
	json_t *ids = json_object_get(json_object_get(specials, name), "ids"), *id;
	if (!json_array_size(ids))
		return sn_fail(SN_DATA, "%s: TemplateProcessing has no ids for its special token \"%s\"", path, name);
	size_t i;
	json_array_foreach(ids, i, id) {
		int32_t value;
		if (!id_of(id, &value))
			return sn_fail(SN_DATA, "%s: TemplateProcessing's special token \"%s\" has no valid id", path, name);
		push(list, SPECIAL, value, type);
	}
	return SN_OK;
}

static int read_items(Items *list, json_t *items, json_t *specials, const char *path)
{
	size_t i;
	json_t *j;
	int code = SN_OK;
	list->n = 0;
	json_array_foreach(items, i, j)
		code = code ? code : read_item(list, j, specials, path);
	return code;
}

static int read_template(SnPost *p, json_t *j, const char *path)
{
	json_t *specials = json_object_get(j, "special_tokens"), *single = json_object_get(j, "single"), *pair = json_object_get(j, "pair");
	if (!json_is_array(single) || (pair && !json_is_array(pair)))
		return sn_fail(SN_DATA, "%s: TemplateProcessing's single or pair is not a list of items", path);
	int code = read_items(&p->single, single, specials, path);
	return code || !pair ? code : read_items(&p->pair, pair, specials, path);
}

/* [CLS] A [SEP] B [SEP] with B of type 1, or <s> A </s> </s> B </s> all of type 0 */
static int read_marks(SnPost *p, json_t *j, const char *path, bool twice, int32_t second)
{
	int32_t cls, sep;
	if (!id_of(json_array_get(json_object_get(j, "cls"), 1), &cls) || !id_of(json_array_get(json_object_get(j, "sep"), 1), &sep))
		return sn_fail(SN_DATA, "%s: the post-processor %s has no valid cls or sep", path, sn_type_of(j));
	Items *list[] = {&p->single, &p->pair};
	for (int i = 0; i < 2; i++) {
		list[i]->n = 0;
		push(list[i], SPECIAL, cls, 0);
		push(list[i], FIRST, 0, 0);
		push(list[i], SPECIAL, sep, 0);
	}
	if (twice)
		push(&p->pair, SPECIAL, sep, second);
	push(&p->pair, SECOND, 0, second);
	push(&p->pair, SPECIAL, sep, second);
	return SN_OK;
}

static int read_bert(SnPost *p, json_t *j, const char *path)
{
	return read_marks(p, j, path, false, 1);
}

static int read_roberta(SnPost *p, json_t *j, const char *path)
{
	return read_marks(p, j, path, true, 0);
}

static const struct { const char *name; int (*read)(SnPost *, json_t *, const char *path); } kinds[] = {
	{"TemplateProcessing", read_template}, {"BertProcessing", read_bert}, {"RobertaProcessing", read_roberta}, {"ByteLevel", NULL},   /* offsets alone */
};

SnPost *sn_post_open(json_t *json, const char *path)
{
	json_t *stages[SN_MAX_STAGES];
	SnPost *p = sn_alloc(sizeof *p);
	push(&p->single, FIRST, 0, 0);
	push(&p->pair, FIRST, 0, 0);
	push(&p->pair, SECOND, 0, 1);
	int n, adding = 0, code = sn_stage_list(json, "processors", "post-processor", path, stages, &n);
	for (int i = 0; i < n && !code; i++) {
		int kind = sn_stage_find(stages[i], "post-processor", &kinds[0].name, sizeof *kinds, sizeof kinds / sizeof *kinds, path);
		if (kind < 0)
			code = SN_DATA;
		else if (kinds[kind].read && adding++)
			code = sn_fail(SN_DATA, "%s: two post-processors that add tokens (the second is %s)", path, kinds[kind].name);
		else if (kinds[kind].read)
			code = kinds[kind].read(p, stages[i], path);
	}
	if (!code)
		return p;
	sn_post_close(p);
	return NULL;
}

void sn_post_close(SnPost *p)
{
	if (!p)
		return;
	free(p->single.at);
	free(p->pair.at);
	free(p);
}

void sn_post_run(const SnPost *p, const SnIds *a, const SnIds *b, SnIds *ids, SnIds *types)
{
	const Items *list = b ? &p->pair : &p->single;
	for (int i = 0; i < list->n; i++) {
		const Item *item = &list->at[i];
		const SnIds *text = item->what == FIRST ? a : item->what == SECOND ? b : &(SnIds){(int32_t *)&item->id, 1, 1};
		for (int64_t k = 0; text && k < text->n; k++) {
			sn_ids_add(ids, text->at[k]);
			sn_ids_add(types, item->type);
		}
	}
}

int32_t sn_post_edge(const SnPost *p, bool last)
{
	const Item *item = p->single.n ? &p->single.at[last ? p->single.n - 1 : 0] : NULL;
	return item && item->what == SPECIAL ? item->id : -1;
}
