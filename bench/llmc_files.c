/* llmc_files.c: writes the two kinds of files that llm.c's train_gpt2 reads, so that it can be timed without
 * downloads: a GPT-2 124M checkpoint with random weights, and token files made from any text's bytes.
 * usage: llmc_files model gpt2_124M.bin | llmc_files tokens TEXT OUT.bin */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T = 1024, V = 50257, L = 12, H = 12, C = 768, VP = 50304 };

static uint64_t seed = 88172645463325252u;

static double uniform(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static void put(FILE *f, size_t n, float mean, float dev)
{
	for (size_t i = 0; i < n; i++) {
		float x = mean + dev * (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
		fwrite(&x, sizeof x, 1, f);
	}
}

/* Tensors in llm.c's order: wte wpe ln1w ln1b qkvw qkvb attprojw attprojb ln2w ln2b fcw fcb fcprojw fcprojb lnfw lnfb. */
static void model(FILE *f)
{
	int32_t head[256] = {20240326, 3, T, V, L, H, C, VP};
	fwrite(head, sizeof head, 1, f);
	put(f, (size_t)VP * C, 0, 0.02f);
	put(f, (size_t)T * C, 0, 0.02f);
	static const struct { int n; float mean, dev; } layer[] = {
		{C, 1, 0}, {C, 0, 0}, {3 * C * C, 0, 0.02f}, {3 * C, 0, 0}, {C * C, 0, 0.004f}, {C, 0, 0},
		{C, 1, 0}, {C, 0, 0}, {4 * C * C, 0, 0.02f}, {4 * C, 0, 0}, {4 * C * C, 0, 0.004f}, {C, 0, 0},
	};
	for (size_t i = 0; i < sizeof layer / sizeof *layer; i++)
		put(f, (size_t)L * (size_t)layer[i].n, layer[i].mean, layer[i].dev);
	put(f, C, 1, 0);
	put(f, C, 0, 0);
}

static void tokens(FILE *in, FILE *f)
{
	int32_t head[256] = {20240520, 1, 0};
	fwrite(head, sizeof head, 1, f);
	for (int c; (c = getc(in)) != EOF; head[2]++) {
		uint16_t id = (uint16_t)c;
		fwrite(&id, sizeof id, 1, f);
	}
	rewind(f);
	fwrite(head, sizeof head, 1, f);
}

int main(int argc, char **argv)
{
	FILE *in = argc == 4 && strcmp(argv[1], "tokens") == 0 ? fopen(argv[2], "rb") : NULL;
	FILE *out = argc >= 3 ? fopen(argv[argc - 1], "wb+") : NULL;
	if (!out || (argc == 4) != (in != NULL)) {
		fprintf(stderr, "usage: llmc_files model OUT | llmc_files tokens TEXT OUT\n");
		return 2;
	}
	if (in)
		tokens(in, out);
	else
		model(out);
	return fclose(out) == 0 ? 0 : 1;
}
