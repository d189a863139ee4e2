/* explain_svg.c: a picture: tokens with a bar of their attribution, then attention's weights, a row of maps for each layer and a column for
 * each head. A map is an image of one pixel for each pair of tokens, a PNG inside the SVG. */
#include "runtime/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT = 24, TOP = 64, ROW = 18, LABEL = 150, BAR = 180, WIDTH = 760, MAP = 84, GAP = 8 };

void sn_markup(SnStr *s, const char *text)
{
	for (; *text; text++) {
		const char *as = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : *text == '"' ? "&quot;" : NULL;
		sn_str_add(s, as ? as : text, as ? strlen(as) : 1);
	}
}

/* --- PNG (RFC 2083), its data stored as it is (RFC 1950, 1951) */

static void put32(SnStr *s, uint32_t v)
{
	char b[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
	sn_str_add(s, b, 4);
}

static uint32_t crc(const char *at, size_t n)
{
	uint32_t c = 0xFFFFFFFF;
	for (size_t i = 0; i < n; i++) {
		c ^= (unsigned char)at[i];
		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xEDB88320 ^ c >> 1 : c >> 1;
	}
	return ~c;
}

static void chunk(SnStr *out, const char *type, const SnStr *data)
{
	SnStr s = {0};
	sn_str_add(&s, type, 4);
	if (data->n)
		sn_str_add(&s, data->s, data->n);
	put32(out, (uint32_t)data->n);
	sn_str_add(out, s.s, s.n);
	put32(out, crc(s.s, s.n));
	free(s.s);
}

static void stored(SnStr *out, const SnStr *raw)
{
	uint32_t a = 1, b = 0;
	sn_str_add(out, "\x78\x01", 2);
	for (size_t at = 0; at < raw->n;) {
		size_t n = raw->n - at < 65535 ? raw->n - at : 65535;
		char head[5] = {at + n == raw->n, (char)n, (char)(n >> 8), (char)~n, (char)(~n >> 8)};
		sn_str_add(out, head, 5);
		sn_str_add(out, raw->s + at, n);
		at += n;
	}
	for (size_t i = 0; i < raw->n; i++) {
		a = (a + (unsigned char)raw->s[i]) % 65521;
		b = (b + a) % 65521;
	}
	put32(out, b << 16 | a);
}

/* From white to a dark blue. */
static void palette(SnStr *out)
{
	for (int i = 0; i < 256; i++) {
		char c[3] = {(char)(255 - i * 235 / 255), (char)(255 - i * 185 / 255), (char)(255 - i * 115 / 255)};
		sn_str_add(out, c, 3);
	}
}

static void png(SnStr *out, const float *at, int64_t T, int64_t S)
{
	SnStr head = {0}, colours = {0}, raw = {0}, data = {0}, none = {0};
	put32(&head, (uint32_t)S);
	put32(&head, (uint32_t)T);
	sn_str_add(&head, "\x08\x03\0\0\0", 5);
	palette(&colours);
	for (int64_t t = 0; t < T; t++) {
		sn_str_add(&raw, "", 1);   /* rows begin with a zero: no filter */
		for (int64_t s = 0; s < S; s++) {
			char c = (char)lroundf(255 * fminf(fmaxf(at[t * S + s], 0), 1));
			sn_str_add(&raw, &c, 1);
		}
	}
	stored(&data, &raw);
	sn_str_add(out, "\x89PNG\r\n\x1A\n", 8);
	chunk(out, "IHDR", &head);
	chunk(out, "PLTE", &colours);
	chunk(out, "IDAT", &data);
	chunk(out, "IEND", &none);
	free(head.s);
	free(colours.s);
	free(raw.s);
	free(data.s);
}

/* --- the picture */

static void bars(SnStr *s, const SnExplain *x)
{
	const double *a = x->a.integrated;
	double most = 0;
	for (int64_t i = 0; i < x->T; i++)
		most = fmax(most, fabs(a[i]));
	for (int64_t i = 0; i < x->T; i++) {
		double y = TOP + (double)(i * ROW), w = most > 0 ? fabs(a[i]) / most * BAR : 0, zero = LEFT + LABEL + BAR;
		sn_str_printf(s, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">", LEFT + LABEL - 8, y + 13);
		sn_markup(s, x->label[i]);
		sn_str_printf(s, "</text><rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%d\"", a[i] < 0 ? zero - w : zero, y + 2, w, ROW - 4);
		sn_str_printf(s, " fill=\"%s\"/><text x=\"%.0f\" y=\"%.0f\">%+.3g</text>\n", a[i] < 0 ? "#c05621" : "#2b6cb0", zero + BAR + 8, y + 13, a[i]);
	}
	sn_str_printf(s, "<path d=\"M%d %dv%lld\" stroke=\"#888\"/>\n", LEFT + LABEL + BAR, TOP, (long long)x->T * ROW);
}

static void map(SnStr *s, const SnMap *m, int64_t head, double left, double top)
{
	SnStr image = {0};
	png(&image, m->at + head * m->T * m->S, m->T, m->S);
	sn_str_printf(s, "<image x=\"%.0f\" y=\"%.0f\" width=\"%d\" height=\"%d\" preserveAspectRatio=\"none\"", left, top, MAP, MAP);
	sn_str_printf(s, " style=\"image-rendering:pixelated\" href=\"data:image/png;base64,");
	sn_base64(s, image.s, image.n);
	sn_str_printf(s, "\"><title>");
	sn_markup(s, m->layer);
	sn_str_printf(s, ", head %lld</title></image><rect x=\"%.1f\" y=\"%.1f\"", (long long)head, left - 0.5, top - 0.5);
	sn_str_printf(s, " width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#ccc\"/>\n", MAP + 1, MAP + 1);
	free(image.s);
}

static void maps(SnStr *s, const SnExplain *x, double top)
{
	for (int i = 0; i < x->nmaps; i++) {
		double y = top + i * (double)(MAP + GAP + ROW);
		sn_str_printf(s, "<text x=\"%d\" y=\"%.0f\">", LEFT, y + 13);
		sn_markup(s, x->maps[i].layer);
		sn_str_printf(s, "</text>\n");
		for (int64_t h = 0; h < x->maps[i].H; h++)
			map(s, &x->maps[i], h, LEFT + (double)(h * (MAP + GAP)), y + ROW);
	}
}

static void heading(SnStr *s, const SnExplain *x)
{
	const SnTarget *t = &x->target;
	char *label = t->of->placed ? sn_explain_label(x, t->id) : NULL;
	const char *name = label ? label : sn_explain_class(x, t->id);
	sn_markup(s, x->o->program->name);
	sn_str_printf(s, ": %s", sn_text(t->of->slot->name));
	if (t->place >= 0)
		sn_str_printf(s, " at %lld", (long long)t->place);
	sn_str_printf(s, ", ");
	if (name)
		sn_markup(s, name);
	else
		sn_str_printf(s, "%d", t->id);
	sn_str_printf(s, ", score %.4g", t->score);
	free(label);
}

void sn_explain_svg(SnStr *s, const SnExplain *x)
{
	int64_t heads = 0;
	double below = TOP + (double)(x->T * ROW) + 40;
	for (int i = 0; i < x->nmaps; i++)
		heads = x->maps[i].H > heads ? x->maps[i].H : heads;
	double width = fmax(WIDTH, 2 * LEFT + (double)(heads * (MAP + GAP))), height = below + x->nmaps * (double)(MAP + GAP + ROW) + 24;
	sn_str_printf(s, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\"", width, height, width, height);
	sn_str_printf(s, " role=\"img\" font-family=\"sans-serif\" font-size=\"12\">\n<title>");
	heading(s, x);
	sn_str_printf(s, "</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"26\" font-size=\"15\">", LEFT);
	heading(s, x);
	sn_str_printf(s, "</text>\n<text x=\"%d\" y=\"48\" fill=\"#555\">integrated gradients from the baseline (", LEFT);
	sn_markup(s, x->a.baseline);
	sn_str_printf(s, "): sum %.4g of %.4g</text>\n", x->a.sum, x->a.to - x->a.from);
	bars(s, x);
	sn_str_printf(s, "<text x=\"%d\" y=\"%.0f\" font-size=\"14\">Attention: from each token (down) to each token (across), by layer and head</text>\n", LEFT, below - 12);
	maps(s, x, below);
	sn_str_printf(s, "</svg>\n");
}
