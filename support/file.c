/* file.c: whole files in, whole files out (atomically), and child processes. */
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool read_all(int fd, char *at, size_t size, size_t *got)
{
	for (*got = 0; *got < size;) {
		ssize_t n = read(fd, at + *got, size - *got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return true;
}

static char *slurp(Arena *a, int fd, size_t *len)
{
	size_t cap = 64 << 10, used = 0;
	struct stat st;
	if (fstat(fd, &st) != 0)
		return NULL;
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		cap = (size_t)st.st_size + 1;
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return NULL;
	}
	char *at = arena_alloc(a, cap);
	for (;;) {
		size_t got;
		if (!read_all(fd, at + used, cap - used, &got))
			return NULL;
		used += got;
		if (used < cap)
			break;
		at = arena_grow(a, at, cap, cap * 2);
		cap *= 2;
	}
	at[used] = '\0';
	*len = used;
	return at;
}

static Source *source_make(Arena *a, const char *name, const char *text, size_t len)
{
	int n = 0;
	for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + len - p))); p++)
		n++;
	uint32_t *lines = NEW_ARRAY(a, uint32_t, n);
	Source *s = NEW(a, Source);
	*s = (Source){arena_strndup(a, name, strlen(name)), text, len, lines, n};
	for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + len - p))); p++)
		*lines++ = (uint32_t)(p + 1 - text);
	return s;
}

Source *source_read(Arena *a, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	size_t len = 0;
	char *text = slurp(a, fd, &len);
	int err = errno;
	close(fd);
	errno = err;
	return text ? source_make(a, path, text, len) : NULL;
}

Source *source_text(Arena *a, const char *name, const char *text)
{
	return source_make(a, name, text, strlen(text));
}

Source *source_bytes(Arena *a, const char *name, const char *text, size_t len)
{
	return source_make(a, name, arena_strndup(a, text, len), len);
}

static bool write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = write(fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* A device, a pipe or what a link names is written to, not replaced: `-o /dev/stdout`. */
static bool write_special(const char *path, const void *data, size_t n)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	bool ok = fd >= 0 && write_all(fd, data, n);
	int err = errno;
	if (fd >= 0 && close(fd) != 0 && ok)
		return false;
	errno = err;
	return ok;
}

bool file_write_atomic(const char *path, const void *data, size_t n)
{
	struct stat st;
	bool there = lstat(path, &st) == 0;
	if (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return write_special(path, data, n);
	Str beside = {0};
	str_printf(&beside, "%s.new-%ld", path, (long)getpid());
	int fd = open(beside.at, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd >= 0 && there && S_ISREG(st.st_mode))
		(void)!fchmod(fd, st.st_mode & 07777);   /* as the file was; not every file system has modes */
	bool ok = fd >= 0 && write_all(fd, data, n) && fsync(fd) == 0;
	int err = errno;
	if (fd >= 0 && close(fd) != 0 && ok) {
		ok = false;
		err = errno;
	}
	if (ok && rename(beside.at, path) != 0) {
		ok = false;
		err = errno;
	}
	if (!ok && fd >= 0)
		unlink(beside.at);
	str_free(&beside);
	errno = err;
	return ok;
}

static void drain(int fd, Str *out)
{
	char chunk[4096];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		if (out)
			str_put(out, chunk, (size_t)n);
	}
}

static int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_process(const char *const argv[], Str *out)
{
	int pipe_fd[2];
	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return -1;
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, pipe_fd[1], 1);
	posix_spawn_file_actions_adddup2(&fa, pipe_fd[1], 2);
	pid_t pid;
	int err = posix_spawnp(&pid, argv[0], &fa, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	close(pipe_fd[1]);
	if (err == 0)
		drain(pipe_fd[0], out);
	close(pipe_fd[0]);
	if (err != 0) {
		errno = err;
		return -1;
	}
	return wait_for(pid);
}
