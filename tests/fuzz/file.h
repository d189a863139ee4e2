/* file.h: a fuzzer's input as a file that has a name: in memory, by its descriptor. */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include "runtime/sn.h"
#include "support/support.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The descriptor, to be closed. */
static inline int fuzz_file(const uint8_t *data, size_t size, char path[32])
{
	int fd = memfd_create("fuzz", 0);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		fatal("no file in memory");
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
