/* target.c: the machines kernels are generated for: a table of levels, and `native`, read from the processor the
 * compiler runs on. Register tiles fill the registers with accumulators but for the operands of one step: mr rows by
 * nr columns take mr * nr/lanes of them, nr/lanes hold a row of the right operand, and one or two the broadcast left
 * element or, where multiply-adds take a lane, mr/lanes a column of the left operand. */
#include "backend/gen.h"
#include <llvm-c/TargetMachine.h>

#include <sys/syscall.h>
#include <unistd.h>

static const Target levels[] = {
	{ .name = "x86-64-v2", .arch = ARCH_X86_64, .cpu = "x86-64-v2", .features = "", .lanes = 4, .vregs = 16, .fma = false, .masks = false,
	  .mr = 4, .nr = 8, .l1 = 32 << 10, .l2 = 1 << 20 },
	{ .name = "x86-64-v3", .arch = ARCH_X86_64, .cpu = "x86-64-v3", .features = "", .lanes = 8, .vregs = 16, .fma = true, .masks = false,
	  .halves = true, .mr = 6, .nr = 16, .l1 = 32 << 10, .l2 = 1 << 20 },
	{ .name = "x86-64-v4", .arch = ARCH_X86_64, .cpu = "x86-64-v4", .features = "", .lanes = 16, .vregs = 32, .fma = true, .masks = true,
	  .halves = true, .mr = 8, .nr = 48, .l1 = 48 << 10, .l2 = 1 << 20 },
	{ .name = "aarch64", .arch = ARCH_AARCH64, .cpu = "generic", .features = "+neon", .lanes = 4, .vregs = 32, .fma = true,
	  .masks = false, .by_lane = true, .halves = true, .mr = 8, .nr = 12, .l1 = 32 << 10, .l2 = 1 << 20 },
};
static const char *const arch_names[ARCH_COUNT] = { [ARCH_X86_64] = "x86_64", [ARCH_AARCH64] = "aarch64" };

#if defined(__aarch64__)
static const Arch host = ARCH_AARCH64;
#else
static const Arch host = ARCH_X86_64;
#endif

const char *arch_name(Arch a) { return arch_names[a]; }
bool target_is_foreign(const Target *t) { return t->arch != host; }

/* LLVM's feature list is "+a,-b,+c". */
static bool has_feature(const char *features, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = features; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (*p == '+' && !strncmp(p + 1, name, n) && (!p[1 + n] || p[1 + n] == ','))
			return true;
	return false;
}

static const Target *level_of(const char *features)
{
	if (host == ARCH_AARCH64)
		return has_feature(features, "neon") ? &levels[3] : NULL;
	if (has_feature(features, "avx512f") && has_feature(features, "avx512vl") && has_feature(features, "avx512bw") &&
	    has_feature(features, "avx512dq"))
		return &levels[2];
	if (has_feature(features, "avx2") && has_feature(features, "fma"))
		return &levels[1];
	return has_feature(features, "sse4.2") ? &levels[0] : NULL;
}

/* AMX comes with 8 KiB of state a thread, which Linux (5.16 on) gives to a process that asks for it; what is generated here may
 * then run here as well. (Intel, "Architecture Instruction Set Extensions Programming Reference", ch. 3.) */
static bool tiles_granted(void)
{
#ifdef __x86_64__
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
	return false;
#endif
}

static void find_dots(Target *t)
{
	t->dot8 = t->lanes >= 16 ? has_feature(t->features, "avx512vnni") : t->lanes == 8 && has_feature(t->features, "avxvnni");
	if (t->lanes < 16)
		return;
	if (has_feature(t->features, "amx-tile") && has_feature(t->features, "amx-bf16") && tiles_granted())
		t->bf16 = BF16_TILES;
	else if (has_feature(t->features, "avx512bf16"))
		t->bf16 = BF16_DOT;
}

/* Dot products double f32's rate on AMD's processors with AVX-512 (Zen 5: 880 to 466 GFLOP/s) and halve it on Intel's (Sapphire Rapids: 110
 * to 225 on one thread), whose fast way is AMX. */
const char *target_bf16(const Target *t, bool *faster)
{
	static const char *const by[] = { [BF16_CONVERT] = "conversion to f32", [BF16_DOT] = "AVX-512 dot products", [BF16_TILES] = "AMX tiles" };
	*faster = t->bf16 == BF16_TILES || (t->bf16 == BF16_DOT && strncmp(t->cpu, "znver", 5) == 0);
	return by[t->bf16];
}

/* AMX has eight tiles of 16 rows by 64 bytes: four hold sums, two and two the operands. */
int tile_rows(const Target *t, DType dt)
{
	return dt == DT_BF16 && t->bf16 == BF16_TILES ? 32 : t->mr;
}

int tile_columns(const Target *t, DType dt)
{
	return dt == DT_BF16 && t->bf16 == BF16_TILES ? 32 : t->nr;
}

static bool find_native(Target *t)
{
	char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
	const Target *level = level_of(features);
	if (level) {
		*t = *level;
		t->name = "native";
		t->cpu = intern(cpu);
		t->features = intern(features);
		find_dots(t);
	} else {
		diag_error((Loc){ 0 }, NULL, "this processor is below %s, the least Sinter generates code for",
		           host == ARCH_AARCH64 ? "armv8-a with NEON" : "x86-64-v2");
	}
	LLVMDisposeMessage(cpu);
	LLVMDisposeMessage(features);
	return level != NULL;
}

bool target_find(const char *name, Target *t)
{
	if (!strcmp(name, "native"))
		return find_native(t);
	for (int i = 0; i < COUNT(levels); i++)
		if (!strcmp(name, levels[i].name)) {
			*t = levels[i];
			return true;
		}
	const char *const names[] = { "native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64" };
	const char *near = diag_nearest(name, names, COUNT(names));
	diag_error((Loc){ 0 }, NULL, "unknown target '%s'", name);
	if (near)
		diag_help("did you mean '%s'?", near);
	diag_help("targets: native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64");
	return false;
}
