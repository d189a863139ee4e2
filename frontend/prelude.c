/* prelude.c: models/prelude.sinter inside the binary. Its text ends with a NUL. */
#include "frontend/elab.h"

__asm__(
	".section .rodata\n"
	"prelude_text: .incbin \"models/prelude.sinter\"\n"
	".byte 0\n"
	".text\n");
extern const char prelude_text[];

Unit *unit_prelude(Elab *e)
{
	return unit_of_text(e, source_text(e->arena, "prelude", prelude_text));
}
