/* link.c: from an object to an executable, with the system's C compiler as the linker's driver. The program takes from
 * the runtime what it uses and no more; its other libraries are linked statically, libc, libm and pthread
 * dynamically unless everything is to be static. At a fixed address (-no-pie): the tables of launches are pointers, and
 * each would need a relocation of three times its size. */
#include "backend/gen.h"

/* A compiler built with sanitizers (make asan, make tsan) has a runtime library that calls theirs: its programs link
 * them too, keep symbols for their reports, and can't be static. The Makefile gives the flag as SN_SANITIZE. */
#ifndef SN_SANITIZE
#define SN_SANITIZE NULL
#endif
static const char *const sanitize = SN_SANITIZE;

static const char *const drivers[] = { "cc", "gcc", "clang" };

/* The first that can be started; NULL if there is none. */
static const char *find_driver(void)
{
	for (int i = 0; i < COUNT(drivers); i++) {
		const char *const argv[] = { drivers[i], "--version", NULL };
		Str out = { 0 };
		int code = run_process(argv, &out);
		str_free(&out);
		if (code == 0)
			return drivers[i];
	}
	return NULL;
}

static bool link_with(const char *cc, const char *const *objects, int n, const BackendOptions *o)
{
	const char *const before[] = { cc, "-o", o->out };
	const char *const after[] = { o->runtime_lib, "-no-pie", "-Wl,--gc-sections", "-Wl,--as-needed",
		o->debug || sanitize ? "-g" : "-s", "-l:libjansson.a", "-l:libpcre2-8.a", "-lm", "-lpthread",
		sanitize ? sanitize : o->static_link ? "-static" : NULL, NULL };
	Arena *a = arena_new();
	const char **argv = NEW_ARRAY(a, const char *, COUNT(before) + n + COUNT(after));
	Str said = { 0 };
	bool ok;

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
	const char *cc = find_driver();

	if (!cc) {
		diag_error((Loc){ 0 }, NULL, "linking needs a C compiler, and there is no cc, gcc or clang");
		diag_help("install one (Debian: apt install gcc), or stop before linking with --emit=obj");
		return false;
	}
	if (sanitize && o->static_link) {
		diag_error((Loc){ 0 }, NULL, "this compiler was built with %s, which can't be linked statically", sanitize);
		return false;
	}
	return link_with(cc, objects, n, o);
}
