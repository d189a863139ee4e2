/* emulate.c: the kernels of a graph for a processor that is not this one, run under an emulator, so that the tests which
 * hold kernels against the evaluator hold for it too. A directory of its own has what a run needs: the kernels as a shared
 * library, the job as text, the memory (arena, then dims) as a file. tests/foreign/kernels.c reads them on the other side. */
#include "backend/job.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char *in_dir(const Emulated *e, const char *file) { return internf("%s/%s", e->dir, file); }

static void write_or_fail(const char *path, const void *at, size_t bytes)
{
	FILE *f = fopen(path, "w");
	if (!f || fwrite(at, 1, bytes, f) != bytes || fclose(f))
		fatal("can't write %s: %s", path, strerror(errno));
}

static const char *new_directory(void)
{
	const char *root = getenv("TMPDIR");
	char path[4096];
	snprintf(path, sizeof path, "%s/sinter-job-XXXXXX", root ? root : "/tmp");
	if (!mkdtemp(path))
		fatal("can't make a directory like %s: %s", path, strerror(errno));
	return intern(path);
}

static void compile(Kernels *k, const char *object)
{
	Machine m = machine_new(k->t);
	machine_optimise(m, k->unit.mod);
	LLVMMemoryBufferRef code = machine_emit(m, k->unit.mod, false);
	write_or_fail(object, LLVMGetBufferStart(code), LLVMGetBufferSize(code));
	LLVMDisposeMemoryBuffer(code);
	machine_free(m);
}

Emulated *emulate_load(Kernels *k)
{
	Emulated *e = NEW(k->arena, Emulated);
	const char *cc = link_driver(k->t);
	Str said = { 0 };

	if (!cc)
		return NULL;
	e->dir = new_directory();
	const char *object = in_dir(e, "kernels.o");
	const char *const argv[] = { cc, "-shared", "-nostdlib", "-o", in_dir(e, "kernels.so"), object, NULL };
	compile(k, object);
	if (run_process(argv, &said))
		fatal("%s can't link kernels:\n%s", cc, said.at ? said.at : "");
	str_free(&said);
	return e;
}

static void write_job(const Emulated *e, const Job *j)
{
	Str s = { 0 };
	str_printf(&s, "%lld %lld %d %d\n", (long long)j->arena_bytes, (long long)j->scratch, j->ndims, j->threads);
	for (int i = 0; i < j->nsteps; i++) {
		const Step *step = &j->steps[i];
		str_printf(&s, "%s %d %d", step->name, step->single, step->nargs);
		for (int k = 0; k < step->nargs; k++)
			str_printf(&s, " %lld", (long long)step->args[k]);
		str_printf(&s, "\n");
	}
	write_or_fail(in_dir(e, "job"), s.at, s.len);
	str_free(&s);
}

/* Both directions: what of a file's bytes is the arena, and what the dims behind it. */
static void memory(const Emulated *e, Job *j, const char *mode)
{
	FILE *f = fopen(in_dir(e, "memory"), mode);
	size_t a = (size_t)j->arena_bytes, d = sizeof *j->dims * (size_t)j->ndims;
	bool out = *mode == 'w';
	if (!f || (out ? fwrite(j->arena, 1, a, f) : fread(j->arena, 1, a, f)) != a ||
	    (out ? fwrite(j->dims, 1, d, f) : fread(j->dims, 1, d, f)) != d || fclose(f))
		fatal("%s/memory: %s", e->dir, strerror(errno));
}

void emulate_run(const Emulated *e, Job *j)
{
	const char *command = getenv("SINTER_EMULATOR"), *const argv[] = { "sh", "-c", "$SINTER_EMULATOR \"$0\"", e->dir, NULL };
	Str said = { 0 };

	if (!command)
		fatal("kernels of another processor need the environment's SINTER_EMULATOR: the command that runs them");
	write_job(e, j);
	memory(e, j, "w");
	if (run_process(argv, &said))
		fatal("%s fails:\n%s", command, said.at ? said.at : "");
	memory(e, j, "r");
	str_free(&said);
}

void emulate_unload(Emulated *e)
{
	static const char *const files[] = { "kernels.o", "kernels.so", "job", "memory" };
	for (int i = 0; i < COUNT(files); i++)
		unlink(in_dir(e, files[i]));
	rmdir(e->dir);
}
