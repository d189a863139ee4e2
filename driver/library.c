/* library.c: finds what is installed beside the compiler. */
#include "driver/driver.h"

#include <unistd.h>

const char *library_find(Arena *a, const char *file)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	if (n <= 0)
		fatal("can't tell where the compiler itself lies (/proc/self/exe)");
	exe[n] = '\0';
	char *slash = strrchr(exe, '/');
	*slash = '\0';
	const char *beside = arena_printf(a, "%s/%s", exe, file);
	if (access(beside, R_OK) == 0)
		return beside;
	const char *installed = arena_printf(a, "%s/../lib/sinter/%s", exe, file);
	if (access(installed, R_OK) == 0)
		return installed;
	return NULL;
}

const char *library_path(Arena *a, const char *file)
{
	const char *path = library_find(a, file);
	if (!path)
		fatal("%s is neither beside the compiler nor in ../lib/sinter from there: is the installation whole?", file);
	return path;
}
