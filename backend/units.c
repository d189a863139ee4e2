/* units.c: a program's kernels in several LLVM modules, each compiled by a thread while the next are generated.
 *
 * Which kernel is in which unit depends on the kernels alone: a unit is closed when it has UNIT_SIZE instructions. So the
 * objects, and their order, are the same for any number of threads and however these are scheduled. A function that
 * kernels share (tiles, panels) is in the unit that first wanted it, hidden instead of internal; the later units declare
 * it. Every unit has a context of its own, which is what makes LLVM safe to call from several threads. */
#include "backend/gen.h"
#include <pthread.h>
#include <stdlib.h>

/* Work of about 40 ms each: few enough that what is spent once a unit is small, enough of them that the threads end together. */
enum { UNIT_SIZE = 1600, MOST_THREADS = 32 };

typedef struct Shared { const char *name, *params; } Shared;   /* params as gen_helper_begin has them */
typedef struct Worker { Units *of; Machine machine; pthread_t thread; } Worker;
struct Units {
	Arena *arena;
	const Target *t;
	const char *name, *debug_file;
	Unit *open;
	Vec(Shared) shared;
	Worker worker[MOST_THREADS];           /* [0]: the thread that generates, once it has done so */
	int threads, started;
	pthread_mutex_t lock;                  /* of what is below */
	pthread_cond_t more;
	Vec(Unit *) closed;
	int taken;
	bool all_closed;
};

/* One unit */

void unit_begin(Unit *u, const char *name, const char *debug_file)
{
	*u = (Unit){ .ctx = LLVMContextCreate() };
	u->mod = LLVMModuleCreateWithNameInContext(name, u->ctx);
	LLVMSetSourceFileName(u->mod, name, strlen(name));
	if (debug_file)
		debug_begin(u, debug_file);
}

void unit_free(Unit *u)
{
	debug_end(u);
	if (u->mod)
		LLVMDisposeModule(u->mod);
	if (u->ctx)
		LLVMContextDispose(u->ctx);
	if (u->object)
		LLVMDisposeMemoryBuffer(u->object);
	*u = (Unit){ 0 };
}

/* The module is gone when its object is there: memory holds few modules at a time. */
static void unit_compile(Unit *u, Machine m)
{
	LLVMMemoryBufferRef object;

	machine_optimise(m, u->mod);
	object = machine_emit(m, u->mod, false);
	unit_free(u);
	u->object = object;
}

LLVMValueRef unit_declare(Unit *u, const char *name, LLVMTypeRef type)
{
	LLVMValueRef fn = LLVMAddFunction(u->mod, name, type);

	LLVMSetVisibility(fn, LLVMHiddenVisibility);
	return fn;
}

/* Threads */

static Unit *take(Units *u)
{
	Unit *next = NULL;

	pthread_mutex_lock(&u->lock);
	while (u->taken == u->closed.len && !u->all_closed)
		pthread_cond_wait(&u->more, &u->lock);
	if (u->taken < u->closed.len)
		next = u->closed.at[u->taken++];
	pthread_mutex_unlock(&u->lock);
	return next;
}

static void *work(void *arg)
{
	Worker *w = arg;
	Unit *u;

	while ((u = take(w->of)))
		unit_compile(u, w->machine);
	return NULL;
}

/* One more for each unit closed, so that small programs start none. Where a thread can't be had, the others do its work. */
static void start_worker(Units *u)
{
	Worker *w = &u->worker[u->started];

	if (u->started == u->threads)
		return;
	*w = (Worker){ .of = u, .machine = machine_new(u->t) };
	if (pthread_create(&w->thread, NULL, work, w) == 0)
		u->started++;
	else
		machine_free(w->machine);
}

static void hand_over(Units *u, Unit *unit)
{
	pthread_mutex_lock(&u->lock);
	vec_push(u->arena, &u->closed, unit);
	pthread_cond_signal(&u->more);
	pthread_mutex_unlock(&u->lock);
	start_worker(u);
}

static void no_more(Units *u)
{
	pthread_mutex_lock(&u->lock);
	u->all_closed = true;
	pthread_cond_broadcast(&u->more);
	pthread_mutex_unlock(&u->lock);
}

static void join(Units *u)
{
	for (int i = 1; i < u->started; i++)
		pthread_join(u->worker[i].thread, NULL);
	for (int i = 0; i < u->started; i++)
		machine_free(u->worker[i].machine);
	u->started = 0;
}

/* What a unit holds */

static int instructions(LLVMModuleRef mod)
{
	int n = 0;

	for (LLVMValueRef fn = LLVMGetFirstFunction(mod); fn; fn = LLVMGetNextFunction(fn))
		for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b))
			for (LLVMValueRef i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i))
				n++;
	return n;
}

static const char *params_of(Units *u, LLVMValueRef fn)
{
	int n = (int)LLVMCountParams(fn);
	char *params = arena_alloc(u->arena, (size_t)n + 1);

	for (int i = 0; i < n; i++) {
		LLVMTypeRef type = LLVMTypeOf(LLVMGetParam(fn, (unsigned)i));
		bool pointer = LLVMGetTypeKind(type) == LLVMPointerTypeKind;
		if (!pointer && (LLVMGetTypeKind(type) != LLVMIntegerTypeKind || LLVMGetIntTypeWidth(type) != 64))
			bug("a function shared by kernels has parameters that are neither pointers nor i64");
		params[i] = pointer ? 'p' : 'i';
	}
	return params;
}

static void share(Units *u, LLVMValueRef fn)
{
	size_t n;
	const char *name = LLVMGetValueName2(fn, &n);

	LLVMSetLinkage(fn, LLVMExternalLinkage);
	LLVMSetVisibility(fn, LLVMHiddenVisibility);
	vec_push(u->arena, &u->shared, ((Shared){ intern_n(name, n), params_of(u, fn) }));
}

static void declare(Unit *unit, const Shared *s)
{
	LLVMTypeRef types[16];
	unsigned n = (unsigned)strlen(s->params);

	if (n > COUNT(types))
		bug("%s has %u parameters", s->name, n);
	for (unsigned i = 0; i < n; i++)
		types[i] = s->params[i] == 'p' ? LLVMPointerTypeInContext(unit->ctx, 0) : LLVMInt64TypeInContext(unit->ctx);
	unit_declare(unit, s->name, LLVMFunctionType(LLVMVoidTypeInContext(unit->ctx), types, n, 0));
}

static void close_open(Units *u)
{
	Unit *unit = u->open;

	if (!unit)
		return;
	for (LLVMValueRef fn = LLVMGetFirstFunction(unit->mod); fn; fn = LLVMGetNextFunction(fn))
		if (LLVMGetLinkage(fn) == LLVMInternalLinkage)
			share(u, fn);
	debug_end(unit);
	u->open = NULL;
	hand_over(u, unit);
}

/* The road of a program */

Units *units_new(Arena *a, const Target *t, const char *name, const char *debug_file, int threads)
{
	Units *u = NEW(a, Units);

	*u = (Units){ .arena = a, .t = t, .name = name, .debug_file = debug_file, .threads = MAX(1, MIN(threads, MOST_THREADS)) };
	if (pthread_mutex_init(&u->lock, NULL) || pthread_cond_init(&u->more, NULL))
		fatal("no memory for threads");
	u->worker[0] = (Worker){ .of = u, .machine = machine_new(t) };
	u->started = 1;
	return u;
}

Unit *units_open(Units *u)
{
	if (u->open)
		return u->open;
	u->open = NEW(u->arena, Unit);
	unit_begin(u->open, u->name, u->debug_file);
	for (int i = 0; i < u->shared.len; i++)
		declare(u->open, &u->shared.at[i]);
	return u->open;
}

void units_added(Units *u, LLVMValueRef fn)
{
	LLVMSetVisibility(fn, LLVMHiddenVisibility);
	if (instructions(u->open->mod) >= UNIT_SIZE)
		close_open(u);
}

ObjectList units_compile(Units *u, Unit *last)
{
	ObjectList objects = { 0 };

	close_open(u);
	debug_end(last);
	hand_over(u, last);
	no_more(u);
	work(&u->worker[0]);
	join(u);
	for (int i = 0; i < u->closed.len; i++)
		vec_push(u->arena, &objects, u->closed.at[i]->object);
	return objects;
}

void units_free(Units *u)
{
	close_open(u);
	no_more(u);
	join(u);
	for (int i = 0; i < u->closed.len; i++)
		unit_free(u->closed.at[i]);
	pthread_cond_destroy(&u->more);
	pthread_mutex_destroy(&u->lock);
}
