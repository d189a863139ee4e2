/* convert_gguf.c: blocks of weights against ggml's numbers, and GGUF files that lie: each is refused with one message and its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "convert/convert.h"
#include "tests/said.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static char path[] = "/tmp/sn_gguf_XXXXXX";

/* --- a small llama file, and one thing in it that is wrong */

typedef struct Lie {
	const char *name, *said;      /* what the message has in it */
	const char *magic;            /* NULL: GGUF */
	uint32_t version, type;       /* 0: 3; of the first tensor + 1 */
	uint64_t tensors, keys;       /* counts to claim; 0: the true ones */
	uint64_t alignment;           /* + 1: the key general.alignment */
	uint64_t name_length;         /* of a key's name; 0: the true one */
	uint64_t string_length, array_length;   /* of a text, of an array */
	uint32_t value_type, array_type;   /* + 1 */
	const char *twice, *missing, *extra, *arch;   /* a key there twice; tensors left out and added */
	uint64_t extent, offset, rank;   /* of the first tensor: + 1 */
	bool overlap, twice_tensor, turned;
	int cut;                      /* bytes dropped from the end */
	int64_t layers;               /* + 1 */
} Lie;

static void put_n(Str *s, uint64_t x, int bytes)
{
	for (int i = 0; i < bytes; i++)
		str_put(s, (char[]){(char)(x >> 8 * i)}, 1);
}

static void put_s(Str *s, const char *text, uint64_t claimed)
{
	put_n(s, claimed ? claimed : strlen(text), 8);
	str_put(s, text, strlen(text));
}

typedef struct File { Str keys, infos, data; int nkeys, ntensors; const Lie *lie; } File;

static void key_u32(File *f, const char *name, uint64_t x)
{
	put_s(&f->keys, name, 0);
	put_n(&f->keys, GG_U32, 4);
	put_n(&f->keys, x, 4);
	f->nkeys++;
}

static void key_f32(File *f, const char *name, float x)
{
	uint32_t bits;
	memcpy(&bits, &x, 4);
	put_s(&f->keys, name, 0);
	put_n(&f->keys, GG_F32, 4);
	put_n(&f->keys, bits, 4);
	f->nkeys++;
}

static void tensor(File *f, const char *name, int64_t rows, int64_t width)
{
	const Lie *l = f->lie;
	bool first = f->ntensors == 0;
	if (l->missing && strcmp(name, l->missing) == 0)
		return;
	uint64_t at = f->data.len, n = (uint64_t)(width * (rows ? rows : 1));
	put_s(&f->infos, name, 0);
	put_n(&f->infos, first && l->rank ? l->rank - 1 : rows ? 2 : 1, 4);
	if (l->turned && strstr(name, "ffn_up")) {
		put_n(&f->infos, (uint64_t)rows, 8);
		put_n(&f->infos, (uint64_t)width, 8);
	} else {
		put_n(&f->infos, first && l->extent ? l->extent - 1 : (uint64_t)width, 8);
		if (rows)
			put_n(&f->infos, (uint64_t)rows, 8);
	}
	put_n(&f->infos, first && l->type ? l->type - 1 : 0, 4);
	put_n(&f->infos, first && l->offset ? l->offset - 1 : l->overlap && !first ? 0 : at, 8);
	for (uint64_t i = 0; i < n; i++) {
		float x = (float)i + (float)f->ntensors;
		str_put(&f->data, (char *)&x, 4);
	}
	while (f->data.len % 32)
		str_put(&f->data, "", 1);
	f->ntensors++;
}

static void keys(File *f)
{
	const Lie *l = f->lie;
	put_s(&f->keys, "general.architecture", l->name_length);
	put_n(&f->keys, l->value_type ? l->value_type - 1 : GG_STRING, 4);
	put_s(&f->keys, l->arch ? l->arch : "llama", l->string_length);
	put_s(&f->keys, "some.list", 0);
	put_n(&f->keys, GG_ARRAY, 4);
	put_n(&f->keys, l->array_type ? l->array_type - 1 : GG_U16, 4);
	put_n(&f->keys, l->array_length ? l->array_length : 2, 8);
	put_n(&f->keys, 0, 4);
	f->nkeys += 2;
	key_u32(f, "llama.context_length", 16);
	key_u32(f, "llama.embedding_length", 4);
	key_u32(f, "llama.block_count", l->layers ? (uint64_t)(l->layers - 1) : 1);
	key_u32(f, "llama.feed_forward_length", 6);
	key_u32(f, "llama.attention.head_count", 2);
	key_u32(f, "llama.attention.head_count_kv", 1);
	key_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	if (l->alignment)
		key_u32(f, "general.alignment", l->alignment - 1);
	if (l->twice)
		key_u32(f, l->twice, 7);
}

static void tensors(File *f)
{
	tensor(f, "token_embd.weight", 8, 4);
	tensor(f, "output_norm.weight", 0, 4);
	tensor(f, "output.weight", 8, 4);
	tensor(f, "blk.0.attn_norm.weight", 0, 4);
	tensor(f, "blk.0.attn_q.weight", 4, 4);
	tensor(f, "blk.0.attn_k.weight", 2, 4);
	tensor(f, "blk.0.attn_v.weight", 2, 4);
	tensor(f, "blk.0.attn_output.weight", 4, 4);
	tensor(f, "blk.0.ffn_norm.weight", 0, 4);
	tensor(f, "blk.0.ffn_gate.weight", 6, 4);
	tensor(f, "blk.0.ffn_up.weight", 6, 4);
	tensor(f, "blk.0.ffn_down.weight", 4, 6);
	if (f->lie->extra)
		tensor(f, f->lie->extra, 0, 4);
	if (f->lie->twice_tensor)
		tensor(f, "output_norm.weight", 0, 4);
}

static void write_file(const Lie *l)
{
	File f = {.lie = l};
	Str s = {0};
	keys(&f);
	tensors(&f);
	str_put(&s, l->magic ? l->magic : "GGUF", 4);
	put_n(&s, l->version ? l->version : 3, 4);
	put_n(&s, l->tensors ? l->tensors : (uint64_t)f.ntensors, 8);
	put_n(&s, l->keys ? l->keys : (uint64_t)f.nkeys, 8);
	str_put(&s, f.keys.at, f.keys.len);
	str_put(&s, f.infos.at, f.infos.len);
	while (s.len % 32)
		str_put(&s, "", 1);
	str_put(&s, f.data.at, f.data.len);
	FILE *out = fopen(path, "wb");
	assert_non_null(out);
	assert_int_equal(fwrite(s.at, 1, s.len - (size_t)l->cut, out), s.len - (size_t)l->cut);
	fclose(out);
	str_free(&s);
	str_free(&f.keys);
	str_free(&f.infos);
	str_free(&f.data);
}

static int import(char *said, size_t n, int *tensors_found)
{
	Arena *a = arena_new();
	Model m;
	Said s = said_begin();
	int code = model_from_gguf(&m, a, path);
	said_end(s, said, n);
	*tensors_found = m.tensors.len;
	model_close(&m);
	arena_free(a);
	return code;
}

static void a_true_file(void **state)
{
	static const Lie good[] = {{0}, {.version = 2}, {.alignment = 33}, {.alignment = 9}, {.extra = "rope_freqs.weight", .said = "rope_freqs"}, {.missing = "output.weight"}};
	for (int i = 0; i < COUNT(good); i++) {
		char said[4096];
		int n;
		write_file(&good[i]);
		int code = import(said, sizeof said, &n);
		if (code != (good[i].said ? SN_DATA : SN_OK) || (!code && n != (good[i].missing ? 11 : 12)))
			fail_msg("file %d: exit code %d, %d tensors: %s", i, code, n, said);
	}
}

static void lies(void **state)
{
	static const Lie all[] = {
		{"letters", "at byte 0: no GGUF file", .magic = "GGML"},
		{"version 1", "at byte 4: GGUF version 1", .version = 1},
		{"version 4", "at byte 4: GGUF version 4", .version = 4},
		{"big-endian", "at byte 4: a big-endian file", .version = 3u << 24},
		{"tensors", "at byte 8: 1152921504606846976 tensors; the file has room for", .tensors = 1ull << 60},
		{"one tensor too many", "at byte", .tensors = 13},
		{"keys", "at byte 16: 4294967296 keys; the file has room for", .keys = 1ull << 32},
		{"one key too many", "at byte", .keys = 10},
		{"one key too few", "at byte", .keys = 8},
		{"a name of 2^60 bytes", "a key's name is to have 1152921504606846976 bytes", .name_length = 1ull << 60},
		{"a name of 0 bytes more", "at byte", .name_length = 1 << 17},
		{"a string of 2^60 bytes", "general.architecture is to have 1152921504606846976 bytes", .string_length = 1ull << 60},
		{"a string of 2^64 - 1 bytes", "at byte", .string_length = UINT64_MAX},
		{"an array of 2^63", "some.list: an array of 9223372036854775808 elements; the file has room for", .array_length = 1ull << 63},
		{"an array of arrays", "arrays of arrays are not read", .array_type = GG_ARRAY + 1},
		{"an array of nothing known", "some.list: an array of type 77", .array_type = 78},
		{"strings in an array", "at byte", .array_type = GG_STRING + 1, .array_length = 3},
		{"a value's type", "general.architecture: a value of type 99", .value_type = 100},
		{"a key twice", "the key llama.block_count is there twice", .twice = "llama.block_count"},
		{"alignment 0", "general.alignment is no power of two", .alignment = 1},
		{"alignment 48", "general.alignment is no power of two", .alignment = 49},
		{"alignment 2^31", "general.alignment is no power of two", .alignment = (1ull << 31) + 1},
		{"alignment 64", "no multiple of the alignment 64", .alignment = 65},
		{"rank 0", "token_embd.weight has 0 axes", .rank = 1},
		{"rank 2^31", "token_embd.weight has 2147483648 axes", .rank = (1ull << 31) + 1},
		{"an extent of 0", "token_embd.weight: an extent of 0", .extent = 1},
		{"an extent of 2^63", "token_embd.weight: an extent of 9223372036854775808", .extent = (1ull << 63) + 1},
		{"a product of 2^64", "token_embd.weight: an extent of 8, or their product", .extent = (1ull << 61) + 1},
		{"bytes of 2^64", "token_embd.weight", .extent = (1ull << 59) + 1},
		{"a type of none", "token_embd.weight is of type 200, which is not read", .type = 201},
		{"a type that is not read", "token_embd.weight is of type 10 (Q2_K), which is not read", .type = 11},
		{"blocks that rows don't fill", "rows of 4 elements are no whole blocks of Q4_0", .type = 3},
		{"an offset past the end", "token_embd.weight lies outside of the file (cut short?)", .offset = (1ull << 40) + 1},
		{"an offset of 2^64 - 32", "token_embd.weight lies outside of the file", .offset = (1ull << 63) + 1},
		{"an odd offset", "no multiple of the alignment 32", .offset = 5},
		{"overlaps", "overlaps", .overlap = true},
		{"a tensor twice", "tensor output_norm.weight is there twice", .twice_tensor = true},
		{"cut", "lies outside of the file (cut short?)", .cut = 40},
		{"an architecture", "the architecture \"gemma\" is not imported (llama, qwen2, gpt2, bert are)", .arch = "gemma"},
		{"layers", "llama.block_count is 1073741824, but there are only 12 tensors", .layers = (1ll << 30) + 1},
		{"no layers", "the number of layers is 0", .layers = 1},
		{"two layers", "blk.1.attn_norm.weight: not in the file", .layers = 3},
		{"a tensor missing", "blk.0.ffn_up.weight: not in the file", .missing = "blk.0.ffn_up.weight"},
		{"a tensor by a near name", "blk.0.ffn_up.weight: not in the file; nearest: blk.0.ffn_pu.weight", .missing = "blk.0.ffn_up.weight", .extra = "blk.0.ffn_pu.weight"},
		{"a tensor too many", "blk.0.ffn_gate_inp.weight: llama has no such tensor", .extra = "blk.0.ffn_gate_inp.weight"},
		{"transposed", "blk.0.ffn_up.weight: [4,6] in the file, [6,4] by its keys: transposed?", .turned = true},
	};
	for (int i = 0; i < COUNT(all); i++) {
		char said[4096];
		int n;
		write_file(&all[i]);
		int code = import(said, sizeof said, &n);
		if (code != SN_DATA || !strstr(said, all[i].said))
			fail_msg("%s: exit code %d, wanted 3 and \"%s\" in: %s", all[i].name, code, all[i].said, said);
	}
}

/* Every cut and many changed bytes of a true file: refused or read, never a crash. */
static void damaged(void **state)
{
	static const Lie good = {0};
	char said[4096];
	int n;
	write_file(&good);
	FILE *f = fopen(path, "rb");
	char bytes[8192];
	size_t size = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	for (size_t cut = 0; cut < size; cut += cut < 200 ? 1 : 37) {
		f = fopen(path, "wb");
		fwrite(bytes, 1, cut, f);
		fclose(f);
		assert_int_equal(import(said, sizeof said, &n), SN_DATA);
	}
	for (size_t at = 0; at < 1400; at++) {
		char old = bytes[at];
		bytes[at] = (char)(old ^ (at % 2 ? 0x80 : 0x01));
		f = fopen(path, "wb");
		fwrite(bytes, 1, size, f);
		fclose(f);
		int code = import(said, sizeof said, &n);
		if (code != SN_OK && code != SN_DATA)
			fail_msg("byte %zu: exit code %d", at, code);
		bytes[at] = old;
	}
}

/* --- blocks: what ggml's dequantize_row_* make of the bytes i * 37 + 11 with scales of 0.3 and 0.7 */

static uint64_t hash(const float *x, int n)   /* FNV-1a */
{
	uint64_t h = 0xcbf29ce484222325;
	for (size_t i = 0; i < sizeof *x * (size_t)n; i++)
		h = (h ^ ((const unsigned char *)x)[i]) * 0x100000001b3;
	return h;
}

static void blocks(void **state)
{
	static const struct { Elem elem; int scale, least; float at17; uint64_t all; } want[] = {
		{EL_Q4_0, 0, -1, -0.300048828125f, 0xF2BF08DB93858DE7}, {EL_Q4_1, 0, 2, 4.30078125f, 0x77754311EBDF0FDA},
		{EL_Q5_0, 0, -1, 0, 0xB60FD977FB624169}, {EL_Q5_1, 0, 2, 2.200439453125f, 0x57CFB4E2B39B29EE},
		{EL_Q8_0, 0, -1, -16.20263671875f, 0xEF9CB207B10493F7}, {EL_Q4_K, 0, 2, -35.7099609375f, 0x224C3E92A142652B},
		{EL_Q5_K, 0, 2, -35.7099609375f, 0x1709620849FA4101}, {EL_Q6_K, 208, -1, 153.625f, 0x92D436D96648DE64},
	};
	static const unsigned char scale[] = {0xCD, 0x34}, least[] = {0x9A, 0x39};   /* binary16 */
	for (int i = 0; i < COUNT(want); i++) {
		const ElemInfo *e = &elem_info[want[i].elem];
		char block[256];
		float x[256];
		for (int k = 0; k < e->bytes; k++)
			block[k] = (char)(k * 37 + 11);
		memcpy(block + want[i].scale, scale, 2);
		if (want[i].least >= 0)
			memcpy(block + want[i].least, least, 2);
		e->read(block, 1, x);
		if (x[17] != want[i].at17 || hash(x, e->block) != want[i].all)
			fail_msg("%s: element 17 is %.9g, wanted %.9g", e->name, (double)x[17], (double)want[i].at17);
	}
}

/* All halves there and back; floats rounded to even. */
static void halves(void **state)
{
	static const struct { float x; uint16_t f16, bf16; } want[] = {
		{1, 0x3C00, 0x3F80}, {65504, 0x7BFF, 0x4780}, {65519, 0x7BFF, 0x4780}, {0x1p-24f, 0x0001, 0x3380}, {0x1p-25f, 0, 0x3300}, {0x1.8p-25f, 1, 0x3340},
		{1 + 0x1p-11f, 0x3C00, 0x3F80}, {1 + 0x3p-11f, 0x3C02, 0x3F80}, {-0.0f, 0x8000, 0x8000}, {INFINITY, 0x7C00, 0x7F80},
	};
	for (int i = 0; i < COUNT(want); i++) {
		uint16_t half, brain;
		elem_info[EL_F16].write(&want[i].x, 1, (char *)&half);
		elem_info[EL_BF16].write(&want[i].x, 1, (char *)&brain);
		if (half != want[i].f16 || brain != want[i].bf16)
			fail_msg("%g: %04X, wanted %04X; %04X, wanted %04X", (double)want[i].x, half, want[i].f16, brain, want[i].bf16);
	}
	for (int h = 0; h < 65536; h++)
		for (int k = 0; k < 2; k++) {
			uint16_t in = (uint16_t)h, out;
			float x;
			const ElemInfo *e = &elem_info[k ? EL_BF16 : EL_F16];
			e->read((char *)&in, 1, &x);
			e->write(&x, 1, (char *)&out);
			assert_true(isnan(x) || in == out);
		}
}

int main(void)
{
	int fd = mkstemp(path);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_true_file), cmocka_unit_test(lies), cmocka_unit_test(damaged), cmocka_unit_test(blocks), cmocka_unit_test(halves),
	};
	if (fd < 0)
		return 1;
	close(fd);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}
