/* answer.c: one sequence that is generated: its ids, the text of those drawn, what ends it, and how it leaves: as whole UTF-8
 * characters, and not before it is sure that they don't begin a stop text. */
#include "runtime/sn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void sn_answer_close(SnAnswer *a)
{
	free(a->ids.at);
	free(a->text.s);
	json_decref(a->logprobs);
	*a = (SnAnswer){0};
}

/* --- stops */

bool sn_stops_at(const SnStops *s, int32_t id)
{
	for (int i = 0; i < s->n; i++)
		if (s->id[i] == id)
			return true;
	return false;
}

const char *sn_stops_in(const SnStops *s, const char *text, size_t n)
{
	const char *first = NULL;
	for (int i = 0; i < s->n; i++) {
		const char *at = s->id[i] < 0 ? memmem(text, n, s->text[i], strlen(s->text[i])) : NULL;
		if (at && (!first || at < first))
			first = at;
	}
	return first;
}

/* How many of the last bytes could begin a stop text. */
static size_t held(const SnStops *s, const char *text, size_t n)
{
	size_t most = 0;
	for (int i = 0; i < s->n; i++) {
		size_t len = s->id[i] < 0 ? strlen(s->text[i]) : 0;
		for (size_t k = len > n ? n : len ? len - 1 : 0; k > most; k--)
			if (!memcmp(text + n - k, s->text[i], k))
				most = k;
	}
	return most;
}

/* --- growing */

void sn_answer_ask(SnAnswer *a, const int32_t *ids, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		sn_ids_add(&a->ids, ids[i]);
	a->prompt = a->ids.n;
	a->text.n = a->sure = 0;
	a->finish = SN_GOING;
}

int64_t sn_answer_drawn(const SnAnswer *a)
{
	return a->ids.n - a->prompt;
}

void sn_answer_add(SnAnswer *a, const SnTokenizer *t, const SnStops *stops, int32_t id)
{
	sn_ids_add(&a->ids, id);
	if (sn_stops_at(stops, id)) {
		a->finish = SN_STOPPED;
		a->sure = a->text.n;
		return;
	}
	if (!t)
		return;
	sn_decode_piece(t, id, a->begins && sn_answer_drawn(a) == 1, &a->text);
	const char *rest = a->text.s + a->sure, *stop = sn_stops_in(stops, rest, a->text.n - a->sure);
	if (stop) {
		a->finish = SN_STOPPED;
		a->text.n = (size_t)(stop - a->text.s);
		a->sure = a->text.n;
		return;
	}
	size_t n = a->text.n - a->sure;
	a->sure += sn_utf8_whole(rest, n - held(stops, rest, n));
}

void sn_answer_end(SnAnswer *a, SnFinish why)
{
	a->finish = why;
	a->sure = a->text.n;
}

/* --- leaving */

/* Bytes that are no UTF-8 become U+FFFD. */
static void clean(SnStr *out, const char *s, size_t n)
{
	for (size_t at = 0; at < n;) {
		uint32_t code;
		int k = sn_utf8_read(s + at, n - at, &code);
		sn_str_add(out, k ? s + at : "\xEF\xBF\xBD", k ? (size_t)k : 3);
		at += k ? (size_t)k : 1;
	}
}

void sn_emit(const char *s, size_t n)
{
	SnStr out = {0};
	clean(&out, s, n);
	if (out.n)
		fwrite(out.s, 1, out.n, stdout);
	fflush(stdout);
	free(out.s);
}

static json_t *text_of(const char *s, size_t n)
{
	SnStr out = {0};
	clean(&out, s, n);
	json_t *j = json_stringn(out.s ? out.s : "", out.n);
	free(out.s);
	return j;
}

static json_t *ids_of(const int32_t *ids, int64_t n)
{
	json_t *list = json_array();
	for (int64_t i = 0; i < n; i++)
		json_array_append_new(list, json_integer(ids[i]));
	return list;
}

json_t *sn_answer_json(const SnAnswer *a, const char *prompt, bool texts, bool ids)
{
	static const char *const reasons[] = {"going", "stop", "length", "context"};
	json_t *j = json_object();
	if (prompt)
		json_object_set_new(j, "prompt", text_of(prompt, strlen(prompt)));
	if (texts)
		json_object_set_new(j, "text", text_of(a->text.s, a->text.n));
	if (ids) {
		json_object_set_new(j, "prompt_ids", ids_of(a->ids.at, a->prompt));
		json_object_set_new(j, "ids", ids_of(a->ids.at + a->prompt, sn_answer_drawn(a)));
	}
	json_object_set_new(j, "finish", json_string(reasons[a->finish]));
	json_object_set_new(j, "prompt_tokens", json_integer(a->prompt));
	json_object_set_new(j, "tokens", json_integer(sn_answer_drawn(a)));
	if (a->logprobs)
		json_object_set(j, "logprobs", a->logprobs);
	return j;
}

/* --- log-probabilities */

static json_t *candidate(const SnTokenizer *t, const float *logits, double log_z, int32_t id)
{
	json_t *j = json_object();
	json_object_set_new(j, "id", json_integer(id));
	if (t) {
		SnStr piece = {0};
		sn_decode_piece(t, id, false, &piece);
		json_object_set_new(j, "token", text_of(piece.s, piece.n));
		free(piece.s);
	}
	json_object_set_new(j, "logprob", isfinite(logits[id]) ? json_real(logits[id] - log_z) : json_null());
	return j;
}

void sn_answer_logprob(SnAnswer *a, const SnTokenizer *t, const float *logits, int64_t V, int32_t id, int64_t most)
{
	int32_t best[SN_MAX_LOGPROBS];
	int64_t n = 0;
	for (int64_t i = 0; i < V; i++) {
		int64_t at = n;
		if (n == most && (!n || logits[i] <= logits[best[n - 1]]))
			continue;
		if (n < most)
			n++;
		else
			at--;
		for (; at > 0 && logits[best[at - 1]] < logits[i]; at--)
			best[at] = best[at - 1];
		best[at] = (int32_t)i;
	}
	double log_z = sn_log_sum(logits, V);
	json_t *j = candidate(t, logits, log_z, id), *top = json_array();
	for (int64_t i = 0; i < n; i++)
		json_array_append_new(top, candidate(t, logits, log_z, best[i]));
	json_object_set_new(j, "top", top);
	if (!a->logprobs)
		a->logprobs = json_array();
	json_array_append_new(a->logprobs, j);
}
