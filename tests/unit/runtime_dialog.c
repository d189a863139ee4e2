/* dialog.c and chat.c: which ids conversations, completions and texts become in rows, and which of them are labels, compared with pieces written
 * by hand; what is refused. Tokenizer: bytes, whose document ends with a line's end. */
#include "tests/unit/runtime_bigram.h"

static const SnAxis own_axes[] = {{0, 1, 0, "B"}, {1, 1, 0, "T"}};
static const SnSlot own_slots[] = {{"tokens", 0, SN_I32, 2, 0, own_axes, 256, 0}, {"labels", 0, SN_I32, 2, 4096, own_axes, 256, 1},
	{"seed", 0, SN_I32, 0, 0, NULL, 0, 0}, {"loss", 1, SN_F32, 0, 8192, NULL, 0, 0}};
static void own_shapes(const int64_t *dims, int64_t *out) {
	memcpy(out, (const int64_t[]){dims[0], dims[1], dims[0], dims[1]}, 32);
}
static const SnFunction own_function[] = {{"step", NULL, 0, own_slots, COUNT(own_slots), own_shapes, NULL, NULL, 0, NULL, 0, NULL, NULL, 0}};
static const SnSym own_syms[] = {{"B", 4}, {"T", 512}};
static const SnEntry own = {SN_TRAIN, "own", "", NULL, 0, own_function, 1, NULL, 0, own_syms, 2, 16384, 0, 0, 0, 0, NULL, NULL, NULL};
static const SnProgram program = {.name = "own", .entries = &own, .nentry = 1};

static int open_rows(SnInputs *in, const char *name, const char *text, const char *family, int64_t rows) {
	static char *path;
	put(name, text, strlen(text));
	free(path);
	path = in_dir(name);
	SnOptions o = {.program = &program, .entry = &own, .saved = json_object()};
	json_object_set_new(o.saved, "data.tokenizer", json_string("byte"));
	if (family)
		json_object_set_new(o.saved, "chat_template", json_string(family));
	SnData data = {0};
	SnAsked asked = {.o = &o, .entry = &own, .f = own_function, .path = path, .T = rows, .data = &data};
	int code = sn_feeder_chat.open(in, &asked);
	sn_data_close(&data);
	json_decref(o.saved);
	return code;
}

typedef struct Piece { const char *text; bool said; } Piece;

/* What the pieces make in rows of T; ids behind the last are line ends. */
static void expect_rows(const char *text, const char *family, const Piece *pieces, int n, int64_t T, int64_t rows) {
	char ids[1024] = "", said[1024] = "";
	for (int i = 0; i < n; i++)
		for (const char *c = pieces[i].text; *c; c++) {
			size_t k = strlen(ids);
			ids[k] = *c;
			said[k] = pieces[i].said ? 'x' : '.';
		}
	SnInputs in;
	assert_int_equal(open_rows(&in, "c.jsonl", text, family, T), SN_OK);
	assert_int_equal(in.examples, rows);
	assert_int_equal(in.file.tensors[0].shape[1], T);
	const int32_t *tokens = (const int32_t *)in.file.tensors[0].at, *labels = (const int32_t *)in.file.tensors[1].at;
	int64_t len = (int64_t)strlen(ids);
	for (int64_t i = 0; i < rows * T; i++) {
		assert_int_equal(tokens[i], i < len ? ids[i] : '\n');
		assert_int_equal(labels[i], i + 1 < len && said[i + 1] == 'x' ? ids[i + 1] : -100);
	}
	sn_inputs_close(&in);
}

#define SYSTEM "{\"role\":\"system\",\"content\":\"s\"},"
#define TURNS "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"c\"},{\"role\":\"assistant\",\"content\":\"d\"}"
#define SAYS(...) "{\"messages\":[" __VA_ARGS__ "]}\n"

static void labels_of_chatml(void **state) {
	static const Piece pieces[] = {
		{"<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n", 0}, {"b<|im_end|>", 1},
		{"\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", 0}, {"d<|im_end|>", 1}, {"\n", 0}};
	expect_rows(SAYS(SYSTEM TURNS), "chatml", pieces, COUNT(pieces), 256, 1);
}

static void labels_of_mistral(void **state) {
	static const Piece pieces[] = {{"[INST] s\n\na [/INST]", 0}, {"b</s>", 1}, {"[INST] c [/INST]", 0}, {"d</s>", 1}, {"\n", 0}};
	expect_rows(SAYS(SYSTEM TURNS), "mistral", pieces, COUNT(pieces), 64, 1);
}

/* Its answers end in nothing of their own: the document's end is learnt, too. A question without an answer is left out. */
static void labels_of_alpaca(void **state) {
	static const Piece pieces[] = {{"### Instruction:\na\n\n### Response:\n", 0}, {"b\n\n", 1}, {"### Instruction:\nc\n\n### Response:\n", 0}, {"d\n\n", 1}};
	expect_rows(SAYS(TURNS ",{\"role\":\"user\",\"content\":\"e\"}"), "alpaca", pieces, COUNT(pieces), 128, 1);
}

/* Documents follow one another into full rows; the last is filled up; those without a label (here the second) are left out. */
static void rows(void **state) {
	static const Piece one[] = {{"p1", 0}, {"c1\n", 1}, {"p2", 0}, {"c2\n", 1}, {"text\n", 1}};
	expect_rows("{\"prompt\":\"p1\",\"completion\":\"c1\"}\n\n{\"prompt\":\"p2\",\"completion\":\"c2\"}\n{\"text\":\"text\"}\n", NULL, one, COUNT(one), 4, 4);
	SnInputs in;
	assert_int_equal(open_rows(&in, "c.jsonl", "{\"prompt\":\"0123456789ab\",\"completion\":\"c\"}\n", NULL, 4), SN_OK);
	assert_int_equal(in.examples, 2);   /* 89ab and c\n; 0123 and 4567 teach nothing */
	assert_memory_equal(in.file.tensors[0].at, ((int32_t[]){'8', '9', 'a', 'b', 'c', '\n', '\n', '\n'}), 32);
	assert_memory_equal(in.file.tensors[1].at, ((int32_t[]){-100, -100, -100, 'c', '\n', -100, -100, -100}), 32);
	sn_inputs_close(&in);
	assert_int_equal(open_rows(&in, "c.txt", "{\"prompt\"", NULL, 4), SN_OK);   /* a plain text */
	assert_int_equal(*(const int32_t *)in.file.tensors[1].at, '"');
	sn_inputs_close(&in);
}

static void refused(void **state) {
	static const char *const bad[] = {"{\"messages\":3}\n", "[]\n", "{\"prompt\":\"a\"}\n", "{\"messages\":[{\"role\":\"user\"}]}\n", "{\n", "\n",
		SAYS("{\"role\":\"assistant\",\"content\":\"b\"}"), SAYS("{\"role\":\"user\",\"content\":\"b\"}"), SAYS(""),
		SAYS("{\"role\":\"user\",\"content\":\"b\"},{\"role\":\"tool\",\"content\":\"b\"}"), SAYS(TURNS "," SYSTEM TURNS), "{\"prompt\":\"a\",\"completion\":5}"};
	SnInputs in;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (open_rows(&in, "c.jsonl", bad[i], "chatml", 8) != SN_DATA)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(open_rows(&in, "c.jsonl", SAYS(TURNS), NULL, 8), SN_DATA);   /* no template */
	assert_int_equal(open_rows(&in, "c.jsonl", SAYS(TURNS), "nope", 8), SN_USAGE);
}

/* The text that was sent at inference is that of training, up to each answer. */
static void asks_alike(void **state) {
	static const char *const names[] = {"chatml", "llama3", "gemma", "phi3", "zephyr", "llama2", "mistral", "vicuna", "alpaca"};
	static const SnTurn turns[] = {{"system", "s"}, {"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}};
	for (size_t i = 0; i < COUNT(names); i++) {
		SnOptions o = {.program = &program, .entry = &own, .saved = json_object()};
		json_object_set_new(o.saved, "chat_template", json_string(names[i]));
		const SnChat *chat;
		SnStr whole = {0}, first = {0}, second = {0};
		size_t cuts[5];
		int n;
		assert_int_equal(sn_chat_find(&o, NULL, &chat), SN_OK);
		assert_null(sn_chat_render(&whole, chat, turns, 5, cuts, &n));
		assert_int_equal(n, 4);
		sn_chat_ask(&first, chat, "s", "a", true);
		sn_chat_ask(&second, chat, "s", "c", false);
		assert_true(first.n == cuts[0] && !memcmp(whole.s, first.s, first.n));
		assert_true(second.n >= cuts[2] - cuts[1] && !memcmp(second.s + second.n - (cuts[2] - cuts[1]), whole.s + cuts[1], cuts[2] - cuts[1]));
		free(whole.s);
		free(first.s);
		free(second.s);
		json_decref(o.saved);
	}
}

int main(void) {
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_of_chatml), cmocka_unit_test(labels_of_mistral), cmocka_unit_test(labels_of_alpaca), cmocka_unit_test(rows),
		cmocka_unit_test(refused), cmocka_unit_test(asks_alike),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
