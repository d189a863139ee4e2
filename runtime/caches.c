/* caches.c: the size of the second-level cache, read where the program runs: kernels choose row blocks by it. Linux's
 * description of it is files of text: /sys/devices/system/cpu/cpu0/cache/index<n>/{level,type,size,shared_cpu_map}
 * (Documentation/ABI/testing/sysfs-devices-system-cpu). Results don't depend on it. */
#include "runtime/sn.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Emitted beside the kernels that read it: what the target assumes at most. None of them: it isn't there. */
extern int64_t sn_l2_bytes __attribute__((weak, visibility("hidden")));

static bool read_line(const char *dir, int index, const char *name, char *line, size_t size)
{
	char path[512];
	snprintf(path, sizeof path, "%s/index%d/%s", dir, index, name);
	FILE *f = fopen(path, "r");
	bool ok = f && fgets(line, (int)size, f);
	if (f)
		fclose(f);
	return ok;
}

/* Bits of "00000000,0000000f". */
static int count_bits(const char *hex)
{
	int n = 0;
	for (; *hex; hex++)
		if (isxdigit((unsigned char)*hex))
			n += __builtin_popcount((unsigned)strtol((const char[]){*hex, 0}, NULL, 16));
	return n;
}

/* Two processors that share a cache are most often one core's: it is all theirs. More are cores that want their part. */
static int64_t share(int64_t bytes, int sharers)
{
	return sharers > 2 ? bytes * 2 / sharers : bytes;
}

int64_t sn_cache_bytes(const char *dir, int level)
{
	char line[4096];
	for (int i = 0; read_line(dir, i, "level", line, sizeof line); i++) {
		if (atoi(line) != level || !read_line(dir, i, "type", line, sizeof line) || line[0] == 'I')
			continue;
		char *end;
		int64_t n = read_line(dir, i, "size", line, sizeof line) ? strtoll(line, &end, 10) : 0;
		if (n > 0)
			n *= *end == 'K' ? 1 << 10 : *end == 'M' ? 1 << 20 : 1;
		return share(n, read_line(dir, i, "shared_cpu_map", line, sizeof line) ? count_bits(line) : 1);
	}
	return 0;
}

void sn_find_caches(void)
{
	enum { LEAST = 128 << 10 };
	int64_t found = &sn_l2_bytes ? sn_cache_bytes("/sys/devices/system/cpu/cpu0/cache", 2) : 0;
	if (found > 0 && found < sn_l2_bytes)
		sn_l2_bytes = found > LEAST ? found : LEAST;
}
