/* external.c: parameters outside of the arena, and `prepare`, which reads most of them. Where a checkpoint has one as the kernels
 * want it, they read it from the file's mapping, which stays until the session closes; others are converted (or drawn) into
 * a region beside the arena. Launches get their arguments when all places are known; once prepare is done, what only it
 * reads of the region goes back to the system. */
#include "runtime/sn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct SnExternals {
	const char **at;              /* by tensor of the entry; NULL: in the region */
	SnLaunch **launches;          /* by function: with its own arguments; NULL: the function's */
	char *region;                 /* mapped when first asked for */
	size_t region_bytes;
	SnFile *files;
	int nfile;
};

static SnExternals *externals(SnSession *s)
{
	const SnEntry *e = s->entry;
	if (s->externals)
		return s->externals;
	SnExternals *x = s->externals = sn_alloc(sizeof *x);
	x->at = sn_alloc(sizeof *x->at * (size_t)(e->ntensor + 1));
	x->launches = sn_alloc(sizeof *x->launches * (size_t)(e->nfunction + 1));
	return x;
}

static int64_t index_of(const SnSession *s, const SnTensor *t)
{
	return t - (const SnTensor *)s->entry->tensors;
}

void sn_external_at(SnSession *s, const SnTensor *t, const void *at)
{
	externals(s)->at[index_of(s, t)] = at;
}

void sn_external_keep(SnSession *s, SnFile *f)
{
	SnExternals *x = externals(s);
	x->files = sn_realloc(x->files, sizeof *x->files * (size_t)(x->nfile + 1));
	x->files[x->nfile++] = *f;
	*f = (SnFile){.at = ""};
}

bool sn_is_elsewhere(const SnSession *s, const SnTensor *t)
{
	return s->externals && s->externals->at[index_of(s, t)];
}

float *sn_external_own(SnSession *s, const SnTensor *t)
{
	const char *at = t->external && s->externals ? s->externals->at[index_of(s, t)] : NULL;
	if (t->external)
		sn_external_room(s);
	if (at) {
		memcpy(sn_param(s, t), at, (size_t)t->bytes);
		sn_external_at(s, t, NULL);
	}
	return sn_param(s, t);
}

void sn_external_room(SnSession *s)
{
	SnExternals *x = externals(s);
	char text[32];
	if (x->region || !s->entry->external_bytes)
		return;
	x->region_bytes = (size_t)s->entry->external_bytes;
	x->region = mmap(NULL, x->region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (x->region == MAP_FAILED)
		exit(sn_fail(SN_FAIL, "%s needs %s of memory for its weights: %s", sn_text(s->entry->name), sn_bytes_text(text, (double)x->region_bytes), strerror(errno)));
	madvise(x->region, x->region_bytes, MADV_HUGEPAGE);
}

float *sn_param(const SnSession *s, const SnTensor *t)
{
	return (float *)((t->external ? s->externals->region : s->arena) + t->offset);
}

/* --- launches */

static int64_t address(const SnSession *s, int64_t tensor)
{
	const SnTensor *t = (const SnTensor *)s->entry->tensors + tensor;
	const char *at = s->externals->at[tensor];
	return (int64_t)((uintptr_t)(at ? at : (const char *)sn_param(s, t)) - (uintptr_t)s->arena);
}

static void unbind(SnExternals *x, int64_t function, const SnFunction *f)
{
	SnLaunch *l = x->launches[function];
	for (int64_t i = 0; l && i < f->nlaunch; i++)
		if (l[i].args != ((const SnLaunch *)f->launches)[i].args)
			free((void *)l[i].args);
	free(l);
	x->launches[function] = NULL;
}

static SnLaunch *bind(const SnSession *s, const SnFunction *f)
{
	const SnLaunch *from = f->launches;
	const SnExternal *e = f->externals;
	SnLaunch *l = sn_alloc(sizeof *l * (size_t)f->nlaunch);
	memcpy(l, from, sizeof *l * (size_t)f->nlaunch);
	for (int64_t i = 0; i < f->nexternal; i++) {
		SnLaunch *to = &l[e[i].launch];
		if (to->args == from[e[i].launch].args) {
			int64_t *args = sn_alloc(sizeof *args * (size_t)e[i].nargs);
			to->args = memcpy(args, to->args, sizeof *args * (size_t)e[i].nargs);
		}
		((int64_t *)to->args)[e[i].arg] += address(s, e[i].tensor);
	}
	return l;
}

static void bind_all(SnSession *s)
{
	SnExternals *x = externals(s);
	const SnFunction *f = s->entry->functions;
	for (int64_t i = 0; i < s->entry->nfunction; i++) {
		unbind(x, i, &f[i]);
		if (f[i].nexternal)
			x->launches[i] = bind(s, &f[i]);
	}
}

const SnLaunch *sn_launches(const SnSession *s, const SnFunction *f)
{
	const SnLaunch *own = s->externals ? s->externals->launches[f - (const SnFunction *)s->entry->functions] : NULL;
	return own ? own : f->launches;
}

/* --- prepare */

/* Of the region, what no later call reads. */
static void release(SnSession *s)
{
	SnExternals *x = s->externals;
	size_t kept = ((size_t)s->entry->looked_up_bytes + 4095) / 4096 * 4096;
	if (!x->region || kept >= x->region_bytes)
		return;
	munmap(x->region + kept, x->region_bytes - kept);
	x->region_bytes = kept;
	x->region = kept ? x->region : NULL;
}

int sn_prepare(SnSession *s, const SnOptions *o)
{
	const SnFunction *prepare = sn_function(s->entry, "prepare");
	const char *path = o ? sn_str(o, "pack_cache", NULL) : NULL;
	bool there = false;
	if (!prepare)
		return SN_OK;
	bind_all(s);
	int code = path ? sn_packed_take(s, path, &there) : SN_OK;
	if (code)
		return code;
	if (!there)
		sn_call(s, prepare);
	sn_profile_stage(s->profile, there ? "cache" : "prepare");
	if (path && !there)
		sn_packed_keep(s, path);
	release(s);
	return SN_OK;
}

void sn_externals_close(SnSession *s)
{
	SnExternals *x = s->externals;
	const SnFunction *f = s->entry ? s->entry->functions : NULL;
	if (!x)
		return;
	for (int64_t i = 0; i < s->entry->nfunction; i++)
		unbind(x, i, &f[i]);
	for (int i = 0; i < x->nfile; i++)
		sn_file_unmap(&x->files[i]);
	if (x->region)
		munmap(x->region, x->region_bytes);
	free(x->files);
	free(x->launches);
	free(x->at);
	free(x);
	s->externals = NULL;
}
