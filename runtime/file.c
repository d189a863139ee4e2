/* file.c: whole files read by mapping, and files written so that a crash, a kill or a full disk never leaves half of
 * one under its final name: write beside, fsync, rename, fsync the directory. */
#include "runtime/sn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Differs where the file was replaced or written to since. */
static uint64_t identity(const struct stat *st)
{
	int64_t parts[] = {(int64_t)st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec, st->st_ctim.tv_sec, st->st_ctim.tv_nsec};
	return sn_sum(parts, sizeof parts);
}

/* The file of this name inside the executable, into *out; of NULL, any. */
static bool inside(int fd, const struct stat *st, const char *name, SnInside *out)
{
	SnInsideEnd end;
	off_t at = st->st_size - (off_t)sizeof end;
	if (at < 0 || pread(fd, &end, sizeof end, at) != sizeof end || memcmp(end.magic, SN_INSIDE_MAGIC, sizeof end.magic) || end.files > 1 << 16)
		return false;
	at -= (off_t)(end.files * sizeof *out);
	for (uint64_t i = 0; i < end.files; i++, at += (off_t)sizeof *out)
		if (at < 0 || pread(fd, out, sizeof *out, at) != sizeof *out)
			return false;
		else if (!name || !strncmp(out->name, name, sizeof out->name))
			return out->at % SN_INSIDE_ALIGN == 0 && out->at <= (uint64_t)st->st_size && out->n <= (uint64_t)st->st_size - out->at;
	return false;
}

/* "(embedded)/model.safetensors" -> "model.safetensors"; "" for the whole; NULL: a path of the file system. */
static const char *inside_name(const char *path)
{
	size_t n = sizeof SN_INSIDE - 1;
	if (strncmp(path, SN_INSIDE, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path + n + (path[n] == '/');
}

static bool is_inside(const char *name)
{
	struct stat st;
	SnInside found;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	bool is = fd >= 0 && fstat(fd, &st) == 0 && inside(fd, &st, *name ? name : NULL, &found);
	if (fd >= 0)
		close(fd);
	return is;
}

/* Where the file's bytes begin, and how many they are. */
static int range_of(int fd, const struct stat *st, const char *path, SnInside *range)
{
	const char *name = inside_name(path);
	*range = (SnInside){.n = (uint64_t)st->st_size};
	if (S_ISDIR(st->st_mode))
		return sn_fail(SN_DATA, "%s: is a directory", path);
	if (!S_ISREG(st->st_mode))
		return sn_fail(SN_DATA, "%s: not a regular file", path);
	return name && !inside(fd, st, name, range) ? sn_fail(SN_DATA, "%s: not in this executable", path) : SN_OK;
}

int sn_file_open(SnFile *f, const char *path, int *opened)
{
	*f = (SnFile){.at = ""};
	int fd = *opened = open(inside_name(path) ? "/proc/self/exe" : path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a FIFO is refused, not waited for */
	if (fd < 0)
		return sn_fail(SN_DATA, "%s: %s", path, strerror(errno));
	struct stat st;
	SnInside range = {0};
	int code = fstat(fd, &st) < 0 ? sn_fail(SN_DATA, "%s: %s", path, strerror(errno)) : range_of(fd, &st, path, &range);
	if (!code && range.n > 0) {
		void *at = mmap(NULL, (size_t)range.n, PROT_READ, MAP_PRIVATE, fd, (off_t)range.at);
		if (at == MAP_FAILED)
			code = sn_fail(SN_DATA, "%s: %s", path, strerror(errno));
		else
			*f = (SnFile){at, (size_t)range.n, identity(&st)};
	}
	if (code) {
		close(fd);
		*opened = -1;
	}
	return code;
}

int sn_file_map(SnFile *f, const char *path)
{
	int fd, code = sn_file_open(f, path, &fd);
	if (!code)
		close(fd);
	return code;
}

void sn_file_unmap(SnFile *f)
{
	if (f->n)
		munmap((void *)f->at, f->n);
	*f = (SnFile){.at = ""};
}

bool sn_line_next(const SnFile *f, SnLine *l)
{
	const char *end = f->at + f->n, *s = l->s ? l->s + l->n : f->at;
	s += l->s && s < end;   /* the line's end */
	if (s == end)
		return false;
	const char *newline = memchr(s, '\n', (size_t)(end - s));
	*l = (SnLine){s, (size_t)((newline ? newline : end) - s), l->number + 1};
	return true;
}

enum { WRITE_BUFFER = 1 << 16 };

int sn_writer_open(SnWriter *w, const char *path)
{
	*w = (SnWriter){.path = path};
	sn_sum_start(&w->sum);
	w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (w->fd < 0)
		return sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	w->buf = sn_alloc(WRITE_BUFFER);
	return SN_OK;
}

static void write_all(SnWriter *w, const char *p, size_t n)
{
	while (n && !w->bad) {
		ssize_t k = write(w->fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			w->bad = true;
			w->err = k < 0 ? errno : ENOSPC;
			return;
		}
		p += k;
		n -= (size_t)k;
	}
}

static void flush(SnWriter *w)
{
	write_all(w, w->buf, w->n);
	w->n = 0;
}

void sn_writer_put(SnWriter *w, const void *p, size_t n)
{
	w->at += n;
	sn_sum_add(&w->sum, p, n);
	if (w->n + n > WRITE_BUFFER)
		flush(w);
	if (n > WRITE_BUFFER) {
		write_all(w, p, n);
		return;
	}
	memcpy(w->buf + w->n, p, n);
	w->n += n;
}

int sn_writer_close(SnWriter *w)
{
	flush(w);
	if (!w->bad && fsync(w->fd) < 0 && errno != EINVAL) {   /* EINVAL: a device, which has nothing to sync */
		w->bad = true;
		w->err = errno;
	}
	if (close(w->fd) < 0 && !w->bad) {
		w->bad = true;
		w->err = errno;
	}
	free(w->buf);
	return w->bad ? sn_fail(SN_FAIL, "%s: %s", w->path, strerror(w->err)) : SN_OK;
}

int sn_file_write(const char *path, const char *text, size_t n)
{
	SnWriter w;
	int code = sn_writer_open(&w, path);
	if (code)
		return code;
	sn_writer_put(&w, text, n);
	return sn_writer_close(&w);
}

int sn_file_replace(const char *path, const char *text, size_t n)
{
	char *beside = sn_format("%s.tmp", path);
	int code = sn_file_write(beside, text, n);
	if (!code && rename(beside, path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	if (code)
		unlink(beside);
	free(beside);
	return code;
}

json_t *sn_json_read(const char *path)
{
	SnFile f;
	if (sn_file_map(&f, path))
		return NULL;
	json_error_t err;
	json_t *j = json_loadb(f.at, f.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
	if (!j)
		sn_fail(SN_DATA, "%s:%d:%d: not valid JSON: %s", path, err.line, err.column, err.text);
	sn_file_unmap(&f);
	return j;
}

bool sn_exists(const char *path)
{
	struct stat st;
	const char *name = inside_name(path);
	return name ? is_inside(name) : stat(path, &st) == 0;
}

bool sn_is_dir(const char *path)
{
	struct stat st;
	const char *name = inside_name(path);
	return name ? !*name : stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int sn_mkdirs(const char *path)
{
	char *p = sn_format("%s", path);
	int code = SN_OK;
	for (char *end = p + 1; !code; end++) {
		char c = *end;
		if (c && c != '/')
			continue;
		*end = 0;
		if (mkdir(p, 0777) < 0 && errno != EEXIST)
			code = sn_fail(SN_FAIL, "%s: %s", p, strerror(errno));
		if (!c)
			break;
		*end = c;
	}
	if (!code && !sn_is_dir(path))
		code = sn_fail(SN_FAIL, "%s: not a directory", path);
	free(p);
	return code;
}

int sn_sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	/* Some file systems can't sync a directory and say EINVAL: nothing more can be done there. */
	int code = fsync(fd) < 0 && errno != EINVAL ? sn_fail(SN_FAIL, "%s: %s", path, strerror(errno)) : SN_OK;
	close(fd);
	return code;
}

void sn_remove_tree(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);   /* a link is removed, not what it names */
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		if (fd >= 0)
			close(fd);
		unlink(path);
		return;
	}
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(path);
}
