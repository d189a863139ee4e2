/* svg.c: the loss curves as a small SVG: axes with round ticks, training loss as a thin line averaged to the chart's
 * width, validation as a line with dots, a legend. */
#include "runtime/sn.h"

#include <math.h>
#include <string.h>

enum { W = 800, H = 420, LEFT = 64, RIGHT = 16, TOP = 40, BOTTOM = 48, COLUMNS = 600 };

typedef struct Axes { double x0, x1, y0, y1; } Axes;

static double px(const Axes *a, double x)
{
	return LEFT + (x - a->x0) / (a->x1 - a->x0) * (W - LEFT - RIGHT);
}

static double py(const Axes *a, double y)
{
	return H - BOTTOM - (y - a->y0) / (a->y1 - a->y0) * (H - TOP - BOTTOM);
}

/* The smallest of 1, 2, 5 times a power of ten that cuts the range into at most n parts. */
static double tick(double range, int n)
{
	double base = pow(10, floor(log10(range / n)));
	static const double steps[] = {1, 2, 5, 10};
	for (int i = 0; i < 4; i++)
		if (range / (base * steps[i]) <= n)
			return base * steps[i];
	return base * 10;
}

static void widen(Axes *a, const SnCurve *c)
{
	for (int64_t i = 0; i < c->n; i++) {
		double x = (double)c->at[i].step, y = c->at[i].loss;
		if (!isfinite(y))
			continue;
		a->x0 = fmin(a->x0, x);
		a->x1 = fmax(a->x1, x);
		a->y0 = fmin(a->y0, y);
		a->y1 = fmax(a->y1, y);
	}
}

static Axes axes_of(const SnCurve *train, const SnCurve *valid)
{
	Axes a = {INFINITY, -INFINITY, INFINITY, -INFINITY};
	widen(&a, train);
	widen(&a, valid);
	if (!isfinite(a.x0))
		return (Axes){0, 1, 0, 1};
	if (a.x1 <= a.x0)
		a.x1 = a.x0 + 1;
	double step = tick(fmax(a.y1 - a.y0, 1e-6 + 1e-3 * fabs(a.y1)), 6);
	a.y0 = floor(a.y0 / step) * step;
	a.y1 = fmax(ceil(a.y1 / step) * step, a.y0 + step);
	return a;
}

static void frame(SnStr *s, const Axes *a)
{
	double dy = tick(a->y1 - a->y0, 6), dx = tick(a->x1 - a->x0, 8);
	for (int i = 0; a->y0 + i * dy <= a->y1 + dy * 1e-6; i++) {
		double y = a->y0 + i * dy, at = py(a, y);
		sn_str_printf(s, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>", LEFT, W - RIGHT, at, at);
		sn_str_printf(s, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 6, at + 4, fabs(y) < dy * 1e-6 ? 0 : y);
	}
	for (double x = ceil(a->x0 / dx) * dx; x <= a->x1 + dx * 1e-6; x += dx) {
		sn_str_printf(s, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#888\"/>", px(a, x), px(a, x), H - BOTTOM, H - BOTTOM + 4);
		sn_str_printf(s, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", px(a, x), H - BOTTOM + 18, x);
	}
	sn_str_printf(s, "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#888\"/>\n", LEFT, TOP, H - BOTTOM, W - RIGHT);
	sn_str_printf(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>", (LEFT + W - RIGHT) / 2, H - 10);
	sn_str_printf(s, "<text transform=\"translate(16 %d) rotate(-90)\" text-anchor=\"middle\">loss</text>\n", (TOP + H - BOTTOM) / 2);
}

/* At most COLUMNS points, each the mean of its neighbours in time. */
static void line(SnStr *s, const Axes *a, const SnCurve *c, const char *colour)
{
	int64_t parts = c->n < COLUMNS ? c->n : COLUMNS;
	sn_str_printf(s, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", colour);
	for (int64_t p = 0; p < parts; p++) {
		int64_t from = c->n * p / parts, to = c->n * (p + 1) / parts;
		double x = 0, y = 0;
		for (int64_t i = from; i < to; i++) {
			x += (double)c->at[i].step;
			y += c->at[i].loss;
		}
		if (isfinite(y))
			sn_str_printf(s, "%.1f,%.1f ", px(a, x / (double)(to - from)), py(a, y / (double)(to - from)));
	}
	sn_str_printf(s, "\"/>\n");
}

static void dots(SnStr *s, const Axes *a, const SnCurve *c, const char *colour)
{
	for (int64_t i = 0; i < c->n && c->n <= 200; i++)
		if (isfinite(c->at[i].loss))
			sn_str_printf(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>", px(a, (double)c->at[i].step), py(a, c->at[i].loss), colour);
}

static void legend(SnStr *s, int row, const char *colour, const char *what, const SnCurve *c)
{
	int x = W - RIGHT - 190, y = TOP + 10 + 18 * row;
	if (!c->n)
		return;
	sn_str_printf(s, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"/>", x, x + 24, y, y, colour);
	sn_str_printf(s, "<text x=\"%d\" y=\"%d\">%s, last %.4g</text>\n", x + 30, y + 4, what, (double)c->at[c->n - 1].loss);
}

static void escaped(SnStr *s, const char *text)
{
	for (; *text; text++) {
		const char *as = *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : NULL;
		sn_str_add(s, as ? as : text, as ? strlen(as) : 1);
	}
}

void sn_svg_chart(SnStr *s, const char *title, const SnCurve *train, const SnCurve *valid)
{
	static const char *const blue = "#2b6cb0", *const orange = "#dd6b20";
	Axes a = axes_of(train, valid);
	sn_str_printf(s, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", W, H, W, H);
	sn_str_printf(s, "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<text x=\"%d\" y=\"24\" font-size=\"15\">", LEFT);
	escaped(s, title);
	sn_str_printf(s, "</text>\n");
	frame(s, &a);
	line(s, &a, train, blue);
	line(s, &a, valid, orange);
	dots(s, &a, valid, orange);
	legend(s, 0, blue, "training", train);
	legend(s, 1, orange, "validation", valid);
	sn_str_printf(s, "</svg>\n");
}
