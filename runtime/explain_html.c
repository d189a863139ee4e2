/* explain_html.c: one page that needs nothing else: explain_page.html (the runtime's, inside the program) with what was found put in where it says
 * @NAME@. Numbers and texts are in the page without its script; the script draws maps and lets one choose among them. */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

__asm__(
	".section .rodata.sn_explain_page,\"a\"\n"
	"sn_explain_page: .incbin \"runtime/explain_page.html\"\n"
	".byte 0\n"
	".text\n");
extern const char sn_explain_page[];

void sn_base64(SnStr *s, const char *at, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)at[i] << 16 | (i + 1 < n ? (uint32_t)(unsigned char)at[i + 1] << 8 : 0) | (i + 2 < n ? (uint32_t)(unsigned char)at[i + 2] : 0);
		char c[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
		sn_str_add(s, c, 4);
	}
}

/* What a class or token is called, or its number. */
static void put_name(SnStr *s, const SnExplain *x, int32_t id)
{
	bool placed = x->target.of->placed;
	char *label = placed ? sn_explain_label(x, id) : NULL;
	const char *name = placed ? label : sn_explain_class(x, id);
	if (name)
		sn_markup(s, name);
	else
		sn_str_printf(s, "%d", id);
	free(label);
}

static void title(SnStr *s, const SnExplain *x)
{
	sn_markup(s, x->o->program->name);
	sn_str_printf(s, ": why ");
	put_name(s, x, x->target.id);
}

static void summary(SnStr *s, const SnExplain *x)
{
	const SnTarget *t = &x->target;
	sn_str_printf(s, "<p><b>");
	sn_markup(s, t->of->slot->name);
	sn_str_printf(s, "</b>");
	if (t->place >= 0)
		sn_str_printf(s, " at position %lld", (long long)t->place);
	sn_str_printf(s, ": <b class=\"target\">");
	put_name(s, x, t->id);
	sn_str_printf(s, "</b>, score %.4f", t->score);
	if (t->of->C > 1)
		sn_str_printf(s, ", probability %.4f", t->share);
	sn_str_printf(s, "</p>\n");
	if (t->of->C < 2)
		return;
	sn_str_printf(s, "<table><caption>Likeliest</caption><tbody>");
	for (int i = 0; i < x->nlikely; i++) {
		sn_str_printf(s, "<tr><th scope=\"row\">");
		put_name(s, x, x->likely[i].id);
		sn_str_printf(s, "</th><td class=\"n\">%.4f</td></tr>", x->likely[i].share);
	}
	sn_str_printf(s, "</tbody></table>\n");
}

static void tokens(SnStr *s, const SnExplain *x)
{
	double most = 0;
	for (int64_t i = 0; i < x->T; i++)
		most = fmax(most, fabs(x->a.integrated[i]));
	for (int64_t i = 0; i < x->T; i++) {
		double a = x->a.integrated[i];
		sn_str_printf(s, "<button type=\"button\" class=\"tok %s\" style=\"--a:%.3f\" title=\"%+.4f\">", a < 0 ? "neg" : "pos", most > 0 ? fabs(a) / most : 0, a);
		sn_markup(s, x->label[i]);
		sn_str_printf(s, "</button>\n");
	}
}

static void completeness(SnStr *s, const SnExplain *x)
{
	const SnAttribution *a = &x->a;
	double difference = a->to - a->from;
	sn_str_printf(s, "<p>From the baseline (<b>");
	sn_markup(s, a->baseline);
	sn_str_printf(s, "</b>) to the text the %s goes from %.4f to %.4f. ", sn_given(x->o, "log_probability") ? "log-probability" : "score", a->from, a->to);
	sn_str_printf(s, "Integrated gradients sum to %.4f of %.4f: ", a->sum, difference);
	if (a->holds)
		sn_str_printf(s, "complete, within 1%%");
	else
		sn_str_printf(s, "<b class=\"warn\">not complete</b>, %.3g away", a->error);
	sn_str_printf(s, " (%d evaluations).</p>\n", a->evaluations);
}

static void table(SnStr *s, const SnExplain *x)
{
	bool logs = x->logprob != NULL;
	sn_str_printf(s, "<table><caption>Tokens</caption><thead><tr><th scope=\"col\">#</th><th scope=\"col\">token</th>"
	              "<th scope=\"col\">integrated gradients</th><th scope=\"col\">gradient &#215; input</th>%s</tr></thead><tbody>\n",
	              logs ? "<th scope=\"col\">log-probability</th><th scope=\"col\">rank</th>" : "");
	for (int64_t i = 0; i < x->T; i++) {
		sn_str_printf(s, "<tr><td class=\"n\">%lld</td><th scope=\"row\">", (long long)i);
		sn_markup(s, x->label[i]);
		sn_str_printf(s, "</th><td class=\"n\">%+.4f</td><td class=\"n\">%+.4f</td>", x->a.integrated[i], x->a.gradient[i]);
		if (logs && i)
			sn_str_printf(s, "<td class=\"n\">%.4f</td><td class=\"n\">%lld</td>", x->logprob[i], (long long)x->rank[i]);
		else if (logs)
			sn_str_printf(s, "<td></td><td></td>");
		sn_str_printf(s, "</tr>\n");
	}
	sn_str_printf(s, "</tbody></table>\n");
}

static void lens(SnStr *s, const SnExplain *x)
{
	if (!x->through)
		return;
	sn_str_printf(s, "<section><h2>Logit lens</h2><p>What the model would say here were a layer its last.</p>\n");
	sn_str_printf(s, "<table><caption>By layer</caption><thead><tr><th scope=\"col\">layer</th><th scope=\"col\">probability of ");
	put_name(s, x, x->target.id);
	sn_str_printf(s, "</th><th scope=\"col\" colspan=\"%d\">likeliest</th></tr></thead><tbody>\n", x->nlikely);
	for (int i = 0; i < x->nstreams; i++) {
		sn_str_printf(s, "<tr><th scope=\"row\">");
		sn_markup(s, x->streams[i].layer);
		sn_str_printf(s, "</th><td class=\"n\">%.4f</td>", x->shares[i]);
		for (int k = 0; k < x->nlikely; k++) {
			sn_str_printf(s, "<td class=\"share\" style=\"--a:%.3f\">", x->through[i][k].share);
			put_name(s, x, x->through[i][k].id);
			sn_str_printf(s, " <small>%.3f</small></td>", x->through[i][k].share);
		}
		sn_str_printf(s, "</tr>\n");
	}
	sn_str_printf(s, "</tbody></table></section>\n");
}

/* --- what the script reads */

static char *bytes_of(const float *at, const double *wide, int64_t n)
{
	char *raw = sn_alloc((size_t)n + 1);
	SnStr s = {0};
	for (int64_t i = 0; i < n; i++)
		raw[i] = (char)lround(255 * fmin(fmax(at ? (double)at[i] : wide[i], 0), 1));
	sn_base64(&s, raw, (size_t)n);
	free(raw);
	return s.s;
}

static void add_map(json_t *list, const char *layer, int64_t H, int64_t T, int64_t S, char *data)
{
	json_array_append_new(list, sn_json_pack("{s:s, s:I, s:I, s:I, s:s}", "layer", layer, "heads", (json_int_t)H, "rows", (json_int_t)T, "columns", (json_int_t)S, "data", data));
	free(data);
}

/* '<' is written as its number, so that no text of a token can end the script. */
static void data(SnStr *s, const SnExplain *x)
{
	json_t *out = json_object(), *maps = json_array(), *labels = json_array(), *integrated = json_array(), *gradient = json_array();
	for (int64_t i = 0; i < x->T; i++) {
		json_array_append_new(labels, json_string(x->label[i]));
		json_array_append_new(integrated, json_real(x->a.integrated[i]));
		json_array_append_new(gradient, json_real(x->a.gradient[i]));
	}
	for (int i = 0; i < x->nmaps; i++) {
		const SnMap *m = &x->maps[i];
		add_map(maps, m->layer, m->H, m->T, m->S, bytes_of(m->at, NULL, m->H * m->T * m->S));
	}
	if (x->rollout)
		add_map(maps, "rollout", 1, x->T, x->T, bytes_of(NULL, x->rollout, x->T * x->T));
	json_object_set_new(out, "tokens", labels);
	json_object_set_new(out, "integrated", integrated);
	json_object_set_new(out, "gradient", gradient);
	json_object_set_new(out, "maps", maps);
	char *text = json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(6));
	for (const char *p = text; *p; p++)
		sn_str_add(s, *p == '<' ? "\\u003c" : p, *p == '<' ? 6 : 1);
	free(text);
	json_decref(out);
}

static const struct { const char *name; void (*put)(SnStr *, const SnExplain *); } parts[] = {
	{"@TITLE@", title}, {"@SUMMARY@", summary}, {"@TOKENS@", tokens}, {"@COMPLETENESS@", completeness}, {"@TABLE@", table}, {"@LENS@", lens}, {"@DATA@", data},
};

void sn_explain_html(SnStr *s, const SnExplain *x)
{
	for (const char *p = sn_explain_page; *p;) {
		size_t n = strcspn(p, "@"), i = 0, count = sizeof parts / sizeof *parts;
		sn_str_add(s, p, n);
		p += n;
		while (*p && i < count && strncmp(p, parts[i].name, strlen(parts[i].name)))
			i++;
		if (*p && i < count) {
			parts[i].put(s, x);
			p += strlen(parts[i].name);
		} else if (*p)
			sn_str_add(s, p++, 1);
	}
}
