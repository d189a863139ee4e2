/* config.c: libFuzzer target of --config: any file is taken or refused with a message. */
#include "tests/fuzz/file.h"
#include "tests/fuzz/fuzz.h"

static const char model[] =
	"config { V: dim = 5 from vocab_size; D: dim = 4 from hidden_size; K: dim = D / 2 from head_dim; L: int = 1 from num_hidden_layers\n"
	"  eps: float = 1e-5 from rms_norm_eps; theta: float = 100 from rope_theta; scale: rope = none from rope_scaling\n"
	"  tie: bool = false from tie_word_embeddings; act: oneof(silu, relu) = silu from hidden_act; deep: int = 0 from a.b.c }\n"
	"dim B, T <= 8\n"
	"model M(tokens: id(V)[B,T]) -> [B,T,V] { wte: embedding(V -> D)\n q: linear(D -> [2,K])\n o: linear([2,K] -> D)\n"
	"  x = wte(tokens)\n x += o(rope(q(x), theta, scale))\n return unembed(x, wte) }\n"
	"generate(tokens: id(V)[B,T]) { next M(tokens)[:, -1] }\n";

static Source *read_model(void *ctx, Arena *a, const char *path)
{
	return source_bytes(a, path, model, sizeof model - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[32];
	int fd = fuzz_file(data, size, path);
	Arena *a = fuzz_begin();
	FrontendOptions options = {.read = read_model, .config_json = path};
	frontend_outline(a, "model", &options);
	fuzz_end(a);
	close(fd);
	return 0;
}
