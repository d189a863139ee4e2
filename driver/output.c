/* output.c: text for standard output. */
#include "driver/driver.h"

#include <inttypes.h>

void put_grouped(Str *s, int64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%" PRId64, n);
	for (int i = 0; i < len; i++)
		str_printf(s, "%s%c", i && (len - i) % 3 == 0 && digits[i - 1] != '-' ? "," : "", digits[i]);
}

int text_width(const char *p)
{
	int n = 0;
	for (; *p; p++)
		n += ((unsigned char)*p & 0xC0) != 0x80;
	return n;
}

void put_padded(Str *s, const char *text, int width)
{
	int pad = width - text_width(text);
	str_printf(s, "%s%*s", text, MAX(pad, 1), "");
}

bool put_out(Str *s)
{
	size_t kept = 0, line = 0;   /* line: where what may not end in a blank begins */
	for (size_t i = 0; i < s->len; i++) {
		if (s->at[i] == '\n') {
			while (kept > line && s->at[kept - 1] == ' ')
				kept--;
			line = kept + 1;
		}
		s->at[kept++] = s->at[i];
	}
	s->len = kept;
	bool ok = str_write(s, stdout);
	str_free(s);
	return ok;
}
