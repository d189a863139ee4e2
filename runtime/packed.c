/* packed.c: what `prepare` leaves, the arena's first bytes, kept in a file that later runs map in its place (--pack-cache).
 *
 *   page 0     Head, then the checksum of each block of BLOCK bytes
 *   data       from the next page on, or from 2 MiB on where there is so much: the kernel then can map it as large pages
 *
 * A file serves one executable, one entry and one checkpoint: its key is a checksum of all three, of the checkpoint by its
 * header and what the file system says of it (inode, size, times). It is checked block by block by all threads before it is used, and
 * written beside, synced and renamed, so that what stands under its name is whole. The mapping is private and can't be written to. */
#include "runtime/sn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, LARGE = 2 << 20, BLOCK = 1 << 20 };

typedef struct Head { char magic[16]; uint64_t key, bytes, blocks, sums; } Head;   /* sums: of the blocks' checksums */
static const char magic[16] = "sinter packed 1";

typedef struct Packed {
	SnSession *s;
	const char *path;
	Head head;
	size_t bytes, blocks, data;   /* data: where it begins in the file */
	uint64_t *sums;               /* of the blocks at `at` */
	const char *at;
} Packed;

/* --- identity */

static int program_sum(uint64_t *sum)
{
	SnFile f;
	int code = sn_file_map(&f, "/proc/self/exe");
	*sum = code ? 0 : sn_sum(f.at, f.n);
	sn_file_unmap(&f);
	return code;
}

static int open_packed(Packed *p, SnSession *s, const char *path)
{
	uint64_t parts[4] = { 0, s->weights, sn_sum(s->entry->name, strlen(s->entry->name)), (uint64_t)s->entry->prepared_bytes };
	*p = (Packed){ .s = s, .path = path, .bytes = (size_t)s->entry->prepared_bytes };
	p->blocks = (p->bytes + BLOCK - 1) / BLOCK;
	size_t front = sizeof(Head) + 8 * p->blocks, to = p->bytes < LARGE ? PAGE : LARGE;
	p->data = (front + to - 1) / to * to;
	if (!s->weights)
		return sn_fail(SN_USAGE, "--pack-cache keeps packed weights of a checkpoint: give it with -m");
	int code = program_sum(&parts[0]);
	memcpy(p->head.magic, magic, sizeof magic);
	p->head.key = sn_sum(parts, sizeof parts);
	p->head.bytes = p->bytes;
	p->head.blocks = p->blocks;
	return code;
}

/* --- checksums */

static void sum_share(void *ctx, int tid, int n)
{
	Packed *p = ctx;
	size_t from = p->blocks * (size_t)tid / (size_t)n, to = p->blocks * ((size_t)tid + 1) / (size_t)n;
	for (size_t i = from; i < to; i++) {
		size_t at = i * BLOCK, left = p->bytes - at;
		p->sums[i] = sn_sum(p->at + at, left < BLOCK ? left : BLOCK);
	}
}

static void sum_blocks(Packed *p, const char *at)
{
	p->at = at;
	p->sums = sn_alloc(8 * (p->blocks + 1));
	sn_pool_run(p->s->pool, sum_share, p);
	p->head.sums = sn_sum(p->sums, 8 * p->blocks);
}

/* --- reading */

/* Maps the data over the arena's first bytes; MAP_FAILED. */
static void *map_data(const Packed *p, int fd)
{
	return mmap(p->s->arena, p->bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, (off_t)p->data);
}

/* Gives the place back to prepare. */
static int unmap_data(const Packed *p)
{
	void *at = mmap(p->s->arena, p->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (at == MAP_FAILED)
		return sn_fail(SN_FAIL, "%s: %s", p->path, strerror(errno));
	madvise(at, p->bytes, MADV_HUGEPAGE);
	return SN_OK;
}

/* What is wrong with the file; NULL: nothing up to its data. `foreign`: it is none of ours. */
static const char *wrong_head(const Packed *p, const SnFile *f, bool *foreign)
{
	const Head *h = (const Head *)f->at;
	*foreign = f->n && (f->n < sizeof *h || memcmp(h->magic, magic, sizeof magic));
	if (*foreign || !f->n)
		return f->n ? "not a file of packed weights; name another" : "empty";
	if (h->key != p->head.key)
		return "packed weights of another checkpoint, program or build of it";
	if (h->bytes != p->bytes || h->blocks != p->blocks || f->n != p->data + p->bytes)
		return "damaged: not of its size";
	return NULL;
}

static const char *take(Packed *p, const SnFile *f, int fd, int *code)
{
	if (map_data(p, fd) == MAP_FAILED) {
		*code = sn_fail(SN_FAIL, "%s: %s", p->path, strerror(errno));
		return NULL;
	}
	sum_blocks(p, p->s->arena);
	bool same = !memcmp(&p->head, f->at, sizeof p->head) && !memcmp(p->sums, f->at + sizeof(Head), 8 * p->blocks);
	free(p->sums);
	if (same)
		return NULL;
	*code = unmap_data(p);
	return "damaged: its checksums are not those of its contents";
}

int sn_packed_take(SnSession *s, const char *path, bool *there)
{
	Packed p;
	SnFile f;
	int fd = -1;
	bool foreign = false;
	int code = open_packed(&p, s, path);
	*there = false;
	if (code || !p.bytes || !sn_exists(path))
		return code;
	code = sn_file_open(&f, path, &fd);
	if (code)
		return code;
	const char *wrong = wrong_head(&p, &f, &foreign);
	if (!wrong)
		wrong = take(&p, &f, fd, &code);
	*there = !wrong && !code;
	if (foreign)
		code = sn_fail(SN_DATA, "%s: %s", path, wrong);
	else if (wrong && f.n)
		sn_note("%s: %s; it is made anew", path, wrong);
	sn_file_unmap(&f);
	close(fd);
	return code;
}

/* --- writing */

static int write_data(Packed *p, const char *beside)
{
	static const char nothing[PAGE];
	SnWriter w;
	int code = sn_writer_open(&w, beside);
	if (code)
		return code;
	sn_writer_put(&w, &p->head, sizeof p->head);
	sn_writer_put(&w, p->sums, 8 * p->blocks);
	while (w.at < p->data)
		sn_writer_put(&w, nothing, p->data - w.at < PAGE ? p->data - w.at : PAGE);
	sn_writer_put(&w, p->s->arena, p->bytes);
	return sn_writer_close(&w);
}

static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return !slash ? sn_format(".") : sn_format("%.*s", (int)(slash == path ? 1 : slash - path), path);
}

void sn_packed_keep(SnSession *s, const char *path)
{
	Packed p;
	char text[32];
	if (open_packed(&p, s, path) || !p.bytes)
		return;
	char *beside = sn_format("%s.tmp-%d", path, (int)getpid()), *dir = directory_of(path);
	sum_blocks(&p, s->arena);
	int code = write_data(&p, beside);
	if (!code && rename(beside, path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", path, strerror(errno));
	if (!code)
		code = sn_sync_dir(dir);
	else
		unlink(beside);
	if (code)
		sn_note("the packed weights are not kept");
	else
		sn_note("%s keeps the packed weights (%s)", path, sn_bytes_text(text, (double)(p.data + p.bytes)));
	free(p.sums);
	free(beside);
	free(dir);
}
