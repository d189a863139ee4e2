/* kernels.c: runs a job of backend/emulate.c: compiled for the processor its kernels are for, started by an emulator.
 * Launch by launch, one thread's share after the other: that is what threads with a barrier between launches compute.
 * usage: kernels DIRECTORY */
#include "runtime/program.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Memory { char *arena; int64_t *dims; char *scratch; long long scratch_bytes; int threads; } Memory;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

static const char *path(const char *dir, const char *file)
{
	static char text[2][4096];
	static int turn;
	turn = !turn;
	snprintf(text[turn], sizeof text[turn], "%s/%s", dir, file);
	return text[turn];
}

static Memory map(const char *dir, FILE *job)
{
	Memory m;
	long long arena;
	int ndims;
	if (fscanf(job, "%lld %lld %d %d", &arena, &m.scratch_bytes, &ndims, &m.threads) != 4)
		fail("job", "no sizes");
	int fd = open(path(dir, "memory"), O_RDWR);
	m.arena = mmap(NULL, (size_t)arena + 8 * (size_t)ndims + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	m.scratch_bytes = (m.scratch_bytes + 4095) / 4096 * 4096 + 4096;
	m.scratch = aligned_alloc(4096, (size_t)m.scratch_bytes * (size_t)m.threads);
	if (fd < 0 || m.arena == MAP_FAILED || !m.scratch)
		fail("memory", "can't be had");
	memset(m.scratch, 0xa5, (size_t)m.scratch_bytes * (size_t)m.threads);
	m.dims = (int64_t *)(m.arena + arena);
	return m;
}

static void launch(const Memory *m, SnKernel *fn, const int64_t *args, bool single)
{
	int n = single ? 1 : m->threads;
	for (int tid = 0; tid < n; tid++)
		fn(args, m->arena, m->dims, tid, n, m->scratch + tid * m->scratch_bytes);
}

int main(int argc, char **argv)
{
	char name[512];
	int single, nargs;
	FILE *job = argc == 2 ? fopen(path(argv[1], "job"), "r") : NULL;
	void *lib = job ? dlopen(path(argv[1], "kernels.so"), RTLD_NOW) : NULL;
	if (!lib)
		fail("kernels", job ? dlerror() : "no job");
	Memory m = map(argv[1], job);
	while (fscanf(job, "%511s %d %d", name, &single, &nargs) == 3) {
		SnKernel *fn = (SnKernel *)dlsym(lib, name);
		int64_t *args = calloc((size_t)nargs + 1, sizeof *args);
		for (int i = 0; i < nargs; i++)
			if (!args || fscanf(job, "%ld", &args[i]) != 1)
				fail(name, "no arguments");
		if (!fn)
			fail(name, "no such kernel");
		launch(&m, fn, args, single);
		free(args);
	}
	return 0;
}
