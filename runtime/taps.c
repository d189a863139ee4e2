/* taps.c: values that `sinter build --tap` has made outputs, as the last call left them, into a file of tensors. Programs without taps have
 * nothing of this (SnEntry.taps). */
#include "runtime/sn.h"

#include <stdlib.h>

int sn_taps_write(const SnOptions *o, const SnSession *s, const SnFunction *f)
{
	const SnSlot *slots = f->slots;
	SnStPart *parts = sn_alloc(sizeof *parts * (size_t)(f->nslot + 1));
	int64_t (*shapes)[SN_MAX_RANK] = sn_alloc(sizeof *shapes * (size_t)(f->nslot + 1));
	int n = 0;
	for (int64_t i = 0; i < f->nslot; i++) {
		if (!sn_is_tap(&slots[i]) || !sn_glob(sn_str(o, "tap", "*"), sn_text(slots[i].name) + SN_TAP))
			continue;
		sn_slot_shape(s, f, &slots[i], shapes[n]);
		parts[n] = (SnStPart){sn_text(slots[i].name) + SN_TAP, (int)slots[i].dtype, (int)slots[i].rank, shapes[n], s->arena + slots[i].offset};
		n++;
	}
	int code = n ? sn_st_write_parts(sn_str(o, "taps", "taps.safetensors"), parts, n)
	             : sn_fail(SN_USAGE, "--tap %s: %s has no tap of such a name", sn_str(o, "tap", "*"), sn_text(o->entry->name));
	free(parts);
	free(shapes);
	return code;
}
