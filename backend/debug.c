/* debug.c: line information, so that gdb and perf name the model file: each kernel is a subprogram at its main member's
 * line, each member's instructions are at the member's. A kernel shared by many layers carries the first's lines. */
#include "backend/gen.h"
#include <llvm-c/DebugInfo.h>

enum { DWARF_VERSION = 5 };

static LLVMMetadataRef file_named(LLVMDIBuilderRef di, const char *name)
{
	return LLVMDIBuilderCreateFile(di, name, strlen(name), ".", 1);
}

static void module_flag(Unit *u, const char *name, unsigned value)
{
	LLVMTypeRef i32 = LLVMInt32TypeInContext(u->ctx);

	LLVMAddModuleFlag(u->mod, LLVMModuleFlagBehaviorWarning, name, strlen(name),
			  LLVMValueAsMetadata(LLVMConstInt(i32, value, 0)));
}

void debug_begin(Unit *u, const char *file)
{
	const char *producer = "sinter " SINTER_VERSION;
	LLVMMetadataRef source;

	u->debug = LLVMCreateDIBuilder(u->mod);
	source = file_named(u->debug, file);
	LLVMDIBuilderCreateCompileUnit(u->debug, LLVMDWARFSourceLanguageC11, source, producer, strlen(producer), 1, "", 0, 0,
				       "", 0, LLVMDWARFEmissionFull, 0, 0, 0, "", 0, "", 0);
	module_flag(u, "Debug Info Version", LLVMDebugMetadataVersion());
	module_flag(u, "Dwarf Version", DWARF_VERSION);
}

void debug_end(Unit *u)
{
	if (!u->debug)
		return;
	LLVMDIBuilderFinalize(u->debug);
	LLVMDisposeDIBuilder(u->debug);
	u->debug = NULL;
}

void debug_function(Unit *u, Gen *g, const char *name, const Value *v)
{
	LLVMMetadataRef file, type;
	unsigned line = v->loc.line > 0 ? (unsigned)v->loc.line : 0;

	if (!u->debug)
		return;
	g->debug_file = v->loc.file ? v->loc.file : "";
	file = file_named(u->debug, g->debug_file);
	type = LLVMDIBuilderCreateSubroutineType(u->debug, file, NULL, 0, LLVMDIFlagZero);
	g->scope = LLVMDIBuilderCreateFunction(u->debug, file, name, strlen(name), name, strlen(name), file, line, type, 1, 1,
					       line, LLVMDIFlagZero, 1);
	LLVMSetSubprogram(g->fn, g->scope);
	gen_locate(g, v);
}

/* Values of another file (the prelude's) keep the line they are used at; helper functions have none. */
void gen_locate(Gen *g, const Value *v)
{
	if (!g->scope || LLVMGetSubprogram(g->fn) != g->scope || v->loc.line <= 0 || !v->loc.file ||
	    strcmp(v->loc.file, g->debug_file) != 0)
		return;
	LLVMSetCurrentDebugLocation2(g->b, LLVMDIBuilderCreateDebugLocation(g->ctx, (unsigned)v->loc.line,
		v->loc.col > 0 ? (unsigned)v->loc.col : 0, g->scope, NULL));
}
