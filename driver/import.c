/* import.c: `sinter import FILE -o DIR`: a GGUF file, or one of llama2.c, as a directory of safetensors, config.json and
 * tokenizer.json. What the file is, its first bytes say. */
#include "convert/convert.h"
#include "driver/driver.h"

#include <sys/stat.h>

static bool is_gguf(const char *path)
{
	char magic[4] = "";
	struct stat st;
	FILE *f = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
	bool is = f && fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
	if (f)
		fclose(f);
	return is;
}

/* A file that is neither is most likely a GGUF cut short, unless it is named as llama2.c's are. */
static int read_model(Model *m, Arena *a, const char *path, const char *tokenizer)
{
	size_t n = strlen(path);
	bool bin = n > 4 && strcmp(path + n - 4, ".bin") == 0;
	if (is_gguf(path) || (!bin && !tokenizer))
		return model_from_gguf(m, a, path);
	return model_from_llama2c(m, a, path, tokenizer);
}

int run_import(Arena *a, const Flags *f)
{
	const char *path = f->rest.at[0], *dir = flag(f, "output"), *dtype = flag(f, "dtype"), *tokenizer = flag(f, "tokenizer");
	Elem elem = dtype ? (Elem)elem_named(dtype) : EL_F32;
	Model m;
	if (!dir) {
		diag_error((Loc){0}, NULL, "`sinter import` wants -o DIR, where to write");
		return EXIT_USAGE;
	}
	int code = read_model(&m, a, path, tokenizer);
	if (!code && tokenizer && is_gguf(path))
		code = sn_fail(SN_USAGE, "%s has its tokenizer inside: --tokenizer is llama2.c's", path);
	if (!code)
		code = model_save(&m, elem, dir);
	if (!code)
		sn_note("%s: %d tensors of %s, %s, as %s%s", dir, m.tensors.len, m.family->model_type, elem_info[elem].name, "model.safetensors, config.json",
		        m.tokenizer ? ", tokenizer.json" : "");
	model_close(&m);
	return code;
}
