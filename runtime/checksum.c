/* checksum.c: 64 bits over a file's bytes, against damage and not against malice. Little-endian words of 8 bytes go to
 * four lanes in turn, each step h = rotate((h ^ word) * odd, 29), so that four multiplications are under way at once. A step
 * is a bijection of h and of the word, and so is the lanes' union at the end: a change within one word always shows,
 * others but for a chance of about 2^-64. The last block is filled up with zeros, and the length goes in. The result
 * depends on the bytes alone, not on how they were cut into calls. */
#include "runtime/sn.h"

#include <string.h>

#define ODD_A 0x9E3779B97F4A7C15u   /* 2^64 over the golden ratio */
#define ODD_B 0xD6E8FEB86659FD93u
enum { LANES = 4, BLOCK = 8 * LANES, TURN = 29 };

static inline uint64_t step(uint64_t h, uint64_t word)
{
	h = (h ^ word) * ODD_A;
	return h << TURN | h >> (64 - TURN);
}

static void add_blocks(SnSum *s, const char *p, size_t blocks)
{
	uint64_t a = s->lane[0], b = s->lane[1], c = s->lane[2], d = s->lane[3], w[LANES];
	for (; blocks; blocks--, p += BLOCK) {
		memcpy(w, p, BLOCK);
		a = step(a, w[0]);
		b = step(b, w[1]);
		c = step(c, w[2]);
		d = step(d, w[3]);
	}
	memcpy(s->lane, (uint64_t[]){a, b, c, d}, sizeof s->lane);
}

void sn_sum_start(SnSum *s)
{
	*s = (SnSum){.lane = {1, 2, 3, 4}};
}

void sn_sum_add(SnSum *s, const void *data, size_t n)
{
	const char *p = data;
	size_t held = s->n % BLOCK, take = held ? BLOCK - held : 0;
	s->n += n;
	if (take > n)
		take = n;
	if (take)
		memcpy(s->rest + held, p, take);
	if (held && held + take == BLOCK)
		add_blocks(s, s->rest, 1);
	p += take;
	n -= take;
	add_blocks(s, p, n / BLOCK);
	if (n % BLOCK)
		memcpy(s->rest, p + n / BLOCK * BLOCK, n % BLOCK);
}

uint64_t sn_sum_end(SnSum *s)
{
	size_t held = s->n % BLOCK;
	if (held) {
		memset(s->rest + held, 0, BLOCK - held);
		add_blocks(s, s->rest, 1);
	}
	uint64_t h = s->n;
	for (int i = 0; i < LANES; i++)
		h = step(h, s->lane[i]);
	h = (h ^ h >> 32) * ODD_B;
	return h ^ h >> 29;
}

uint64_t sn_sum(const void *data, size_t n)
{
	SnSum s;
	sn_sum_start(&s);
	sn_sum_add(&s, data, n);
	return sn_sum_end(&s);
}
