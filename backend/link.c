/* link.c: from an object to an executable, with a C compiler as the linker's driver: the system's, or a cross compiler for a
 * foreign processor. The program takes from the runtime's archive, which has its libraries inside, what it uses and no more; libc, libm and
 * pthread are linked dynamically unless everything is to be static. At a fixed
 * address (-no-pie): the tables of launches are pointers, and each would need a relocation of three times its size. */
#include "backend/gen.h"

/* A compiler built with sanitizers (make asan, make tsan) has a runtime library that calls theirs: its programs link
 * them too, keep symbols for their reports, and can't be static. The Makefile gives the flag as SN_SANITIZE. */
#ifndef SN_SANITIZE
#define SN_SANITIZE NULL
#endif
static const char *const sanitize = SN_SANITIZE;

static bool starts(const char *command)
{
	const char *const argv[] = { command, "--version", NULL };
	Str out = { 0 };
	int code = run_process(argv, &out);
	str_free(&out);
	return code == 0;
}

/* The system's first that can be started. */
static const char *find_driver(void)
{
	static const char *const drivers[] = { "cc", "gcc", "clang" };
	for (int i = 0; i < COUNT(drivers); i++)
		if (starts(drivers[i]))
			return drivers[i];
	diag_error((Loc){ 0 }, NULL, "linking needs a C compiler, and there is no cc, gcc or clang");
	diag_help("install one (Debian: apt install gcc), or stop before linking with --emit=obj");
	return NULL;
}

const char *link_driver(const Target *t)
{
	if (!target_is_foreign(t))
		return find_driver();
	const char *arch = arch_name(t->arch), *cc = internf("%s-linux-gnu-gcc", arch);
	if (starts(cc))
		return cc;
	diag_error((Loc){ 0 }, NULL, "linking for %s needs its cross compiler, and there is no %s", t->name, cc);
	diag_help("install it (Debian: apt install gcc-%s-linux-gnu libc6-dev-%s-cross), or stop before linking with --emit=obj",
	          t->arch == ARCH_AARCH64 ? arch : "x86-64", t->arch == ARCH_AARCH64 ? "arm64" : "amd64");
	return NULL;
}

static bool link_with(const char *cc, const char *const *objects, int n, const BackendOptions *o)
{
	bool ok, foreign = target_is_foreign(o->target);
	const char *sane = foreign ? NULL : sanitize;
	const char *const before[] = { cc, "-o", o->out };
	const char *const after[] = { o->runtime_lib, "-Wl,--gc-sections", "-Wl,--as-needed", "-Wl,-z,noseparate-code", o->debug || sane ? "-g" : "-s",
		"-lm", "-lpthread", "-no-pie",
		sane ? sane : o->static_link ? "-static" : NULL, NULL };
	Arena *a = arena_new();
	const char **argv = NEW_ARRAY(a, const char *, COUNT(before) + n + COUNT(after));
	Str said = { 0 };

	memcpy(argv, before, sizeof before);
	memcpy(argv + COUNT(before), objects, sizeof *objects * (size_t)n);
	memcpy(argv + COUNT(before) + n, after, sizeof after);
	ok = run_process(argv, &said) == 0;
	if (!ok)
		diag_error((Loc){ 0 }, NULL, "%s can't link %s:\n%s", cc, o->out, said.at ? said.at : "");
	str_free(&said);
	arena_free(a);
	return ok;
}

bool link_program(const char *const *objects, int n, const BackendOptions *o)
{
	const char *cc = link_driver(o->target);

	if (!cc)
		return false;
	if (sanitize && o->static_link && !target_is_foreign(o->target)) {
		diag_error((Loc){ 0 }, NULL, "this compiler was built with %s, which can't be linked statically", sanitize);
		return false;
	}
	return link_with(cc, objects, n, o);
}
