/* questions.c: questions on contexts: SQuAD's own JSON, or JSON lines of its records; and contexts as rows of a function, in windows that
 * share some tokens, each behind the question. */
#include "runtime/tables.h"

#include <stdlib.h>
#include <string.h>

static SnQuestion *add_question(SnQuestions *q)
{
	if (q->n == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 64;
		q->at = sn_realloc(q->at, sizeof *q->at * (size_t)q->cap);
	}
	q->at[q->n] = (SnQuestion){0};
	return &q->at[q->n++];
}

char *sn_question_place(const SnQuestions *q, int64_t i)
{
	if (q->at[i].line)
		return sn_format("%s:%lld", q->path, (long long)q->at[i].line);
	return q->path ? sn_format("%s: question %s", q->path, q->at[i].id.s ? q->at[i].id.s : "") : sn_format("the question");
}

static int wrong(const SnQuestions *q, const SnQuestion *one, const char *why)
{
	char *place = sn_question_place(q, one - q->at);
	int code = sn_fail(SN_DATA, "%s: %s", place, why);
	free(place);
	return code;
}

/* --- answers */

/* Where character `start` of s[0..n) begins; n + 1 behind the end. */
static size_t byte_of(SnCell c, int64_t start)
{
	size_t at = 0;
	for (; start > 0 && at < c.n; start--)
		at = sn_utf8_after(c.s, c.n, at);
	return start > 0 || start < 0 ? c.n + 1 : at;
}

static int add_answer(SnQuestions *q, SnQuestion *one, json_t *text, json_t *start)
{
	const char *s = json_string_value(text);
	size_t n = json_string_length(text), at = json_is_integer(start) ? byte_of(one->context, json_integer_value(start)) : one->context.n + 1;
	char *place = sn_question_place(q, one - q->at);
	int code = SN_OK;
	if (!s || !json_is_integer(start))
		code = sn_fail(SN_DATA, "%s: an answer is a text and where in the context it begins: {\"text\": \"..\", \"answer_start\": 0}", place);
	else if (at + n > one->context.n || memcmp(one->context.s + at, s, n))
		code = sn_fail(SN_DATA, "%s: the answer \"%s\" is not at its place: at character %lld the context has \"%.*s\"", place, s, (long long)json_integer_value(start),
		               at < one->context.n ? (int)sn_utf8_whole(one->context.s + at, n < one->context.n - at ? n : one->context.n - at) : 0,
		               at < one->context.n ? one->context.s + at : "");
	free(place);
	one->gold = sn_realloc(one->gold, sizeof *one->gold * (size_t)(one->ngold + 1));
	one->gold[one->ngold++] = (SnGold){s, (int64_t)at, (int64_t)(at + n)};
	return code;
}

/* [{"text", "answer_start"}, ..], or both as lists. */
static int take_answers(SnQuestions *q, SnQuestion *one, json_t *j)
{
	json_t *texts = json_object_get(j, "text"), *starts = json_object_get(j, "answer_start"), *each;
	size_t i;
	int code = SN_OK;
	one->answers = j;
	if (json_is_array(texts) && json_is_array(starts) && json_array_size(texts) == json_array_size(starts)) {
		json_array_foreach(texts, i, each)
			code = code ? code : add_answer(q, one, each, json_array_get(starts, i));
	} else if (json_is_array(j)) {
		json_array_foreach(j, i, each)
			code = code ? code : add_answer(q, one, json_object_get(each, "text"), json_object_get(each, "answer_start"));
	} else if (j && !json_is_null(j)) {
		code = wrong(q, one, "answers are {\"text\": [\"..\"], \"answer_start\": [0]} or [{\"text\": \"..\", \"answer_start\": 0}]");
	}
	return code;
}

/* --- files */

static int lacks(const SnQuestions *q, const SnQuestion *one, const char *name)
{
	char *why = sn_format("no \"%s\"", name);
	int code = wrong(q, one, why);
	free(why);
	return code;
}

static SnCell text_of(json_t *j)
{
	return (SnCell){json_string_value(j), json_string_length(j)};
}

static int take_paragraph(SnQuestions *q, json_t *paragraph)
{
	json_t *list = json_object_get(paragraph, "qas"), *j;
	size_t i;
	int code = SN_OK;
	json_array_foreach(list, i, j) {
		SnQuestion *one = add_question(q);
		one->id = text_of(json_object_get(j, "id"));
		one->context = text_of(json_object_get(paragraph, "context"));
		one->question = text_of(json_object_get(j, "question"));
		one->none = json_is_true(json_object_get(j, "is_impossible"));
		code = !one->context.s ? lacks(q, one, "context") : !one->question.s ? lacks(q, one, "question") : SN_OK;
		if (!code)
			code = take_answers(q, one, json_incref(json_object_get(j, "answers")));
		if (code)
			return code;
	}
	return code;
}

static int read_squad(SnQuestions *q)
{
	json_t *articles = json_object_get(q->root, "data"), *article, *paragraph;
	size_t i, k;
	int code = SN_OK;
	json_array_foreach(articles, i, article)
		json_array_foreach(json_object_get(article, "paragraphs"), k, paragraph)
			code = code ? code : take_paragraph(q, paragraph);
	return code || q->n ? code : sn_fail(SN_DATA, "%s: no questions in it", q->path);
}

static int take_row(SnQuestions *q, const SnTable *t, int64_t row, const int *column, bool labelled)
{
	SnQuestion *one = add_question(q);
	SnCell answers = sn_table_cell(t, row, column[3]), none = sn_table_cell(t, row, column[4]);
	one->line = t->lines[row];
	one->id = sn_table_cell(t, row, column[0]);
	one->question = sn_table_cell(t, row, column[1]);
	one->context = sn_table_cell(t, row, column[2]);
	one->none = none.s && !strcmp(none.s, "true");
	for (int i = 1; i < 3 + (labelled && !one->none); i++)
		if (!sn_table_cell(t, row, column[i]).s)
			return lacks(q, one, t->columns[column[i]]);
	json_t *j = answers.s ? json_loadb(answers.s, answers.n, JSON_DECODE_ANY, NULL) : NULL;
	return answers.s ? take_answers(q, one, j ? j : json_true()) : SN_OK;
}

static int read_lines(SnQuestions *q, const SnOptions *o, const char *path, bool labelled)
{
	const char *fields[] = {sn_str(o, "data.id", "id"), sn_str(o, "data.question", "question"), sn_str(o, "data.context", "context"),
		sn_str(o, "data.answers", "answers"), "is_impossible"};
	int column[5], code;
	SnForm form = SN_JSONL;
	code = strcmp(path, "-") || sn_str(o, "data.format", NULL) ? sn_table_form(path, sn_str(o, "data.format", NULL), &form) : SN_OK;
	if (!code && form != SN_JSONL)
		code = sn_fail(SN_USAGE, "%s: questions are JSON lines (--format jsonl), or SQuAD's JSON", path);
	if (!code)
		code = sn_table_open(&q->table, path, form, false, fields, 5);
	q->path = q->table.path;
	for (int i = 0; i < 5 && !code; i++)
		column[i] = sn_table_column(&q->table, fields[i]);
	for (int64_t i = 0; i < q->table.nrow && !code; i++)
		code = take_row(q, &q->table, i, column, labelled);
	return code;
}

/* No answers are known to be none where others have some: in data without any they were left away. */
static int find_impossible(SnQuestions *q)
{
	bool any = false;
	for (int64_t i = 0; i < q->n; i++)
		any |= q->at[i].ngold > 0;
	for (int64_t i = 0; i < q->n; i++) {
		SnQuestion *one = &q->at[i];
		if (one->none && one->ngold)
			return wrong(q, one, "is_impossible, and it has an answer");
		one->none |= any && one->answers && !json_is_null(one->answers) && !one->ngold;
		q->without += one->none;
	}
	return SN_OK;
}

int sn_questions_read(SnQuestions *q, const SnOptions *o, const char *path, bool labelled)
{
	*q = (SnQuestions){.path = path};
	q->root = strcmp(path, "-") ? json_load_file(path, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	int code = json_is_array(json_object_get(q->root, "data")) ? read_squad(q) : read_lines(q, o, path, labelled);
	return code ? code : find_impossible(q);
}

void sn_questions_add(SnQuestions *q, const char *question, const char *context)
{
	SnQuestion *one = add_question(q);
	one->question = (SnCell){question, strlen(question)};
	one->context = (SnCell){context, strlen(context)};
}

void sn_questions_close(SnQuestions *q)
{
	for (int64_t i = 0; i < q->n; i++) {
		json_decref(q->at[i].answers);
		free(q->at[i].gold);
	}
	free(q->at);
	json_decref(q->root);
	sn_table_close(&q->table);
	*q = (SnQuestions){0};
}

/* --- windows */

static void add_window(SnWindows *w, SnTexts *x, SnIds *question, const SnPlaces *context, int64_t first, int64_t n)
{
	SnIds part = {context->ids.at + first, n, n}, places = {0};
	sn_texts_put(x, question, &part);
	sn_places(x->tokenizer, question->n, n, &places);
	SnWindow one = {.question = w->nquestion, .first = w->from.n + first, .n = n};
	while (places.at[one.base] != SN_SECOND)
		one.base++;
	free(places.at);
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		w->at = sn_realloc(w->at, sizeof *w->at * (size_t)w->cap);
	}
	w->at[w->n++] = one;
}

/* How many tokens a window shares with the next, where there is room for `room` of them. */
static int overlap(const SnOptions *o, int64_t room, int64_t *out)
{
	*out = (int64_t)sn_num(o, "data.stride", 128);
	if (*out < room)
		return SN_OK;
	if (sn_overridden(o, "data.stride"))
		return sn_fail(SN_USAGE, "--stride %lld: windows have room for %lld tokens of a context, and must share fewer with the next", (long long)*out, (long long)room);
	*out = room / 2;
	return SN_OK;
}

static int add_windows(SnWindows *w, const SnOptions *o, SnTexts *x, SnPlaces *question, const SnPlaces *context)
{
	int64_t room = x->most - x->special[1], shared;
	w->cut += question->ids.n > room / 2;
	question->ids.n = question->ids.n > room / 2 ? room / 2 : question->ids.n;
	room -= question->ids.n;
	int code = overlap(o, room, &shared);
	for (int64_t first = 0; !code; first += room - shared) {
		int64_t left = context->ids.n - first, n = left < room ? left : room;
		add_window(w, x, &question->ids, context, first, n);
		if (n == left)
			break;
	}
	for (int64_t k = 0; k < context->ids.n; k++) {
		sn_ids_add(&w->from, context->from.at[k]);
		sn_ids_add(&w->to, context->to.at[k]);
	}
	w->nquestion++;
	return code;
}

static int add_one(SnWindows *w, const SnOptions *o, SnTexts *x, SnOffsets *offsets, const SnQuestion *q, const char *place)
{
	SnPlaces question = {{0}, {0}, {0}}, context = {{0}, {0}, {0}};
	bool lost[2] = {false, false};
	int code = sn_offsets_add(offsets, q->question.s, q->question.n, place, &question, &lost[0]);
	if (!code)
		code = sn_offsets_add(offsets, q->context.s, q->context.n, place, &context, &lost[1]);
	if (!code && (lost[0] || lost[1]))
		code = sn_fail(SN_DATA, "%s: this tokenizer's stages don't tell where in a text its tokens are from, so that answers can't be cut out", place);
	if (!code && !context.ids.n)
		code = sn_fail(SN_DATA, "%s: a context without any token", place);
	if (!code)
		code = add_windows(w, o, x, &question, &context);
	sn_places_close(&question);
	sn_places_close(&context);
	return code;
}

int sn_windows_open(SnWindows *w, const SnOptions *o, SnTexts *x, const SnQuestions *q)
{
	SnOffsets *offsets = sn_offsets_open(x->tokenizer);
	int code = SN_OK;
	*w = (SnWindows){0};
	for (int64_t i = 0; i < q->n && !code; i++) {
		char *place = sn_question_place(q, i);
		code = add_one(w, o, x, offsets, &q->at[i], place);
		free(place);
	}
	sn_offsets_close(offsets);
	if (!code && w->cut)
		sn_note("%s: %lld of %lld questions leave no room for a context and were cut", q->path ? q->path : "the question", (long long)w->cut, (long long)q->n);
	return code;
}

void sn_windows_close(SnWindows *w)
{
	free(w->at);
	free(w->from.at);
	free(w->to.at);
	*w = (SnWindows){0};
}
