/* pack.c: `sinter pack PROGRAM -m DIR -o FILE`: the weights of a checkpoint in the order that a program's kernels read, ahead of its first use. That order is
 * the program's own, so that it does the work: this becomes its generate command with --pack-cache FILE and nothing to generate. */
#include "driver/driver.h"
#include "runtime/sn.h"

#include <errno.h>
#include <unistd.h>

int run_pack(Arena *a, const Flags *f)
{
	const char *program = f->rest.at[0], *weights = flag(f, "weights"), *out = flag(f, "output");
	const char *path = strchr(program, '/') ? program : internf("./%s", program);
	if (!weights || !out || !*out) {
		diag_error((Loc){0}, NULL, "pack wants -m DIR and -o FILE");
		return EXIT_USAGE;
	}
	if (sn_exists(out) && sn_is_dir(out)) {
		diag_error((Loc){0}, NULL, "%s is a directory: name the file to write", out);
		return EXIT_USAGE;
	}
	const char *argv[] = {path, "generate", "-m", weights, "--pack-cache", out, "--prompt-ids", "0", "--ids", "--no-echo", "-n", "0", "-q", NULL};
	(void)a;
	execv(path, (char **)argv);
	diag_error((Loc){0}, NULL, "can't run %s: %s", path, strerror(errno));
	diag_help("the executable that `sinter build` wrote, which has a generate entry");
	return EXIT_FAILURE;
}
