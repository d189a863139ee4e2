/* said.h: what the code under test prints on stderr, caught in a file between said_begin and said_end. */
#ifndef TESTS_SAID_H
#define TESTS_SAID_H

#include <stdio.h>
#include <unistd.h>

typedef struct Said { FILE *to; int saved; } Said;

static inline Said said_begin(void)
{
	Said s = { .to = tmpfile() };
	fflush(stderr);
	s.saved = dup(2);
	dup2(fileno(s.to), 2);
	return s;
}

/* Stderr is again what it was; the text, cut at n - 1 bytes, is at `at`, which is returned. */
static inline char *said_end(Said s, char *at, size_t n)
{
	fflush(stderr);
	dup2(s.saved, 2);
	close(s.saved);
	rewind(s.to);
	at[fread(at, 1, n - 1, s.to)] = 0;
	fclose(s.to);
	return at;
}

#endif
