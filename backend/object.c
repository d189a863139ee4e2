/* object.c: LLVM's target machine: from a module to an object or assembly text.
 *
 * Kernels come with explicit vectors and loops, so the middle end has little to do: stack slots into registers,
 * common subexpressions, dead code. The code generator runs at its default (O2) level, less two passes where they find nothing to do. */
#include "backend/gen.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Support.h>
#include <pthread.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

static const char *const pipeline = "function(mem2reg,early-cse,loop-mssa(licm))";

static void initialise(Arch a)
{
	if (a == ARCH_AARCH64) {
		LLVMInitializeAArch64TargetInfo();
		LLVMInitializeAArch64Target();
		LLVMInitializeAArch64TargetMC();
		LLVMInitializeAArch64AsmPrinter();
	} else {
		LLVMInitializeX86TargetInfo();
		LLVMInitializeX86Target();
		LLVMInitializeX86TargetMC();
		LLVMInitializeX86AsmPrinter();
	}
}

/* Loop strength reduction takes a quarter of code generation. The tiles' loops move their addresses on themselves, and other loops have
 * registers enough where there are 32 of vectors; with 16 it brings a few percent. The code generator has no switch for it but this one, for
 * the process: an executable's target is the only one then. */
static void without_reduction(void)
{
	const char *const flags[] = { "sinter", "-disable-lsr", "-disable-x86-domain-reassignment" };

	LLVMParseCommandLineOptions(COUNT(flags), flags, NULL);
}

static void spare_passes(const Target *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (t->arch != ARCH_AARCH64 && t->vregs == 32)
		pthread_once(&once, without_reduction);
}

/* To be given back with LLVMDisposeMessage. */
static char *triple_of(const Target *t)
{
	return target_is_foreign(t) ? LLVMCreateMessage(internf("%s-linux-gnu", arch_name(t->arch))) : LLVMGetDefaultTargetTriple();
}

Machine machine_new(const Target *t)
{
	char *triple = triple_of(t), *why = NULL;
	LLVMTargetRef target;
	Machine m;

	initialise(t->arch);
	spare_passes(t);
	if (LLVMGetTargetFromTriple(triple, &target, &why))
		fatal("LLVM has no code generator for %s: %s", triple, why);
	m = LLVMCreateTargetMachine(target, triple, t->cpu, t->features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
				    LLVMCodeModelDefault);
	if (!m)
		bug("LLVM cannot make a target machine for %s", t->name);
	LLVMDisposeMessage(triple);
	return m;
}

void machine_free(Machine m) { LLVMDisposeTargetMachine(m); }

static void set_layout(Machine m, LLVMModuleRef mod)
{
	LLVMTargetDataRef data = LLVMCreateTargetDataLayout(m);
	char *layout = LLVMCopyStringRepOfTargetData(data), *triple = LLVMGetTargetMachineTriple(m);

	LLVMSetDataLayout(mod, layout);
	LLVMSetTarget(mod, triple);
	LLVMDisposeMessage(layout);
	LLVMDisposeMessage(triple);
	LLVMDisposeTargetData(data);
}

void machine_optimise(Machine m, LLVMModuleRef mod)
{
	LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
	LLVMErrorRef error;
	char *why = NULL;

	set_layout(m, mod);
	if (LLVMVerifyModule(mod, LLVMReturnStatusAction, &why))
		bug("generated code is not valid: %s", why);
	LLVMDisposeMessage(why);
	error = LLVMRunPasses(mod, pipeline, m, options);
	if (error)
		bug("LLVM pass pipeline: %s", LLVMGetErrorMessage(error));
	LLVMDisposePassBuilderOptions(options);
}

LLVMMemoryBufferRef machine_emit(Machine m, LLVMModuleRef mod, bool assembly)
{
	LLVMMemoryBufferRef out;
	char *why = NULL;

	if (LLVMTargetMachineEmitToMemoryBuffer(m, mod, assembly ? LLVMAssemblyFile : LLVMObjectFile, &why, &out))
		bug("LLVM code generation: %s", why);
	return out;
}
