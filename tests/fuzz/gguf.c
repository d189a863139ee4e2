/* gguf.c: libFuzzer target of GGUF files and of llama2.c's: what is accepted is written out, to the last element. */
#include "convert/convert.h"
#include "tests/fuzz/file.h"

static void write_out(Model *m)
{
	SnWriter w;
	if (sn_writer_open(&w, "/dev/null"))
		bug("/dev/null can't be written");
	for (int i = 0; i < m->tensors.len; i++)
		if (weight_elems(&m->tensors.at[i]) < 1 << 22)
			weight_write(&m->tensors.at[i], EL_F32, "fuzz", &w);
	sn_writer_close(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32];
	int fd = fuzz_file(data, size, path);
	bool gguf = size >= 4 && memcmp(data, "GGUF", 4) == 0;
	Arena *a = arena_new();
	Model m;
	if ((gguf ? model_from_gguf(&m, a, path) : model_from_llama2c(&m, a, path, NULL)) == SN_OK)
		write_out(&m);
	model_close(&m);
	arena_free(a);
	close(fd);
	return 0;
}
