/* to_gguf.c: a directory of safetensors, config.json and tokenizer.json as one GGUF file of version 3: what from_gguf.c reads, from
 * the same tables the other way round. Vectors are F32, as ggml wants them; matrices are what they were or what is asked for. */
#include "convert/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGNMENT = 32, MOST_ERRORS = 8 };

typedef struct Export {
	Arena *arena;
	const char *dir, *path;
	const Family *family;
	Sizes sizes;
	json_t *config;
	SnSafetensors st;
	Elem elem;                    /* of matrices; EL_COUNT: their own */
	Vec(Weight) tensors;          /* by GGUF's names */
	Vec(Elem) as;                 /* what each is written as */
	int errors;
	float *factors;               /* K/2, of scaled rotary positions */
} Export;

static int elem_of(const SnStTensor *t)
{
	static const int of[] = {[SN_ST_F32] = EL_F32, [SN_ST_F16] = EL_F16, [SN_ST_BF16] = EL_BF16, [SN_ST_F64] = EL_F64};
	return t->kind <= SN_ST_F64 ? of[t->kind] : -1;
}

static const SnStTensor *find(const Export *x, const char *name)
{
	const SnStTensor *t = sn_st_find(&x->st, name);
	return t ? t : sn_st_find(&x->st, arena_printf(x->arena, "%s%s", x->family->prefix, name));
}

static void trouble(Export *x, const char *fmt, const char *name)
{
	sn_note(fmt, name);
	x->errors++;
}

static Elem stored_as(const Export *x, const Weight *t)
{
	Elem elem = x->elem == EL_COUNT ? t->elem : x->elem;
	if (t->rank == 1 || elem == EL_F64 || t->shape[t->rank - 1] % elem_info[elem].block)
		return EL_F32;
	return elem;
}

static Order reversed(Order o)
{
	return o == ORDER_HALVES ? ORDER_PAIRS : o;
}

static void take_row(Export *x, const Row *r, int layer)
{
	int64_t shape[MAX_AXES];
	int rank = row_shape(r, &x->sizes, shape);
	const char *name = arena_printf(x->arena, r->name, layer);
	const SnStTensor *t = find(x, name);
	if (!t) {
		trouble(x, "  %s: not in the file", name);
		return;
	}
	if (t->rank != rank || memcmp(t->shape, shape, sizeof *shape * (size_t)rank) != 0) {
		bool turned = rank == 2 && t->rank == 2 && t->shape[0] == shape[1] && t->shape[1] == shape[0];
		trouble(x, turned ? "  %s: its shape is not what config.json says: transposed?" : "  %s: its shape is not what config.json says", name);
		return;
	}
	int elem = elem_of(t);
	if (elem < 0) {
		trouble(x, "  %s: its dtype is no weight's (F32, F16, BF16 and F64 are)", name);
		return;
	}
	Weight out = {
		.name = arena_printf(x->arena, r->gguf, layer), .elem = (Elem)elem, .rank = rank, .order = reversed(r->order), .at = t->at,
		.heads = r->shape[0] == 'P' ? x->sizes.G : x->sizes.H,
	};
	for (int i = 0; i < rank; i++)
		out.shape[i] = shape[r->order == ORDER_TRANSPOSED ? rank - 1 - i : i];
	vec_push(x->arena, &x->tensors, out);
	vec_push(x->arena, &x->as, stored_as(x, &out));
}

static int take_tensors(Export *x)
{
	const Family *f = x->family;
	if (x->sizes.L > x->st.n)
		return sn_fail(SN_DATA, "%s: config.json says %lld layers, but there are only %d tensors", x->dir, (long long)x->sizes.L, x->st.n);
	for (int i = 0; i < f->nrows; i++)
		for (int64_t l = 0; l < (strchr(f->rows[i].gguf, '%') ? x->sizes.L : 1) && x->errors < MOST_ERRORS; l++)
			if (row_applies(&f->rows[i], &x->sizes))
				take_row(x, &f->rows[i], (int)l);
	return x->errors ? sn_fail(SN_DATA, "%s: its tensors are not those of %s with %lld layers", x->dir, f->model_type, (long long)x->sizes.L) : SN_OK;
}

/* Rotary scaling: linear by two keys, LLaMA 3.1's as a table of factors. */
static int scaling(Export *x)
{
	json_t *s = json_object_get(x->config, "rope_scaling");
	if (!json_is_object(s))
		s = json_object_get(x->config, "rope_parameters");
	json_t *kind = json_object_get(s, "rope_type") ? json_object_get(s, "rope_type") : json_object_get(s, "type");
	const char *type = json_string_value(kind);
	if (!type || strcmp(type, "default") == 0 || strcmp(type, "linear") == 0)
		return SN_OK;
	x->factors = NEW_ARRAY(x->arena, float, x->sizes.K / 2);
	if (strcmp(type, "llama3") != 0 || !rope_factors(s, &x->sizes, x->factors))
		return sn_fail(SN_DATA, "%s: rotary scaling \"%s\" is not exported (linear and llama3 are)", x->dir, type);
	Weight t = {.name = "rope_freqs.weight", .elem = EL_F32, .rank = 1, .shape = {x->sizes.K / 2}, .at = (const char *)x->factors};
	vec_push(x->arena, &x->tensors, t);
	vec_push(x->arena, &x->as, EL_F32);
	return SN_OK;
}

/* --- the file */

static void put_sizes(Put *p, const Export *x)
{
	const Sizes *s = &x->sizes;
	const char *a = x->family->gguf;
	json_t *linear = json_object_get(x->config, "rope_scaling");
	put_u32(p, a, "context_length", s->N);
	put_u32(p, a, "embedding_length", s->D);
	put_u32(p, a, "block_count", s->L);
	put_u32(p, a, "feed_forward_length", s->F);
	put_u32(p, a, "attention.head_count", s->H);
	put_u32(p, a, "vocab_size", s->V);
	if (x->family->gpt) {
		put_f32(p, a, "attention.layer_norm_epsilon", s->eps);
		return;
	}
	put_u32(p, a, "attention.head_count_kv", s->G);
	put_u32(p, a, "attention.key_length", s->K);
	put_u32(p, a, "attention.value_length", s->K);
	put_u32(p, a, "rope.dimension_count", s->K);
	put_f32(p, a, "attention.layer_norm_rms_epsilon", s->eps);
	put_f32(p, a, "rope.freq_base", s->theta);
	if (json_is_object(linear) && !x->factors && json_is_number(json_object_get(linear, "factor"))) {
		put_text(p, a, "rope.scaling.type", "linear");
		put_f32(p, a, "rope.scaling.factor", json_number_value(json_object_get(linear, "factor")));
	}
}

static uint64_t rounded(uint64_t n)
{
	return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_infos(Put *p, const Export *x)
{
	uint64_t at = 0;
	for (int i = 0; i < x->tensors.len; i++) {
		const Weight *t = &x->tensors.at[i];
		put_string(p, t->name, strlen(t->name));
		put_number(p, (uint64_t)t->rank, 4);
		for (int k = t->rank - 1; k >= 0; k--)
			put_number(p, (uint64_t)t->shape[k], 8);
		put_number(p, elem_info[x->as.at[i]].gguf, 4);
		put_number(p, at, 8);
		at = rounded(at + (uint64_t)weight_bytes(t, x->as.at[i]));
	}
}

static Elem mostly(const Export *x)
{
	for (int i = 0; i < x->tensors.len; i++)
		if (x->tensors.at[i].rank == 2)
			return x->as.at[i];
	return EL_F32;
}

/* Keys before counts: the header is put together when both are known. */
static int header(Export *x, Str *out)
{
	Put keys = {0}, infos = {0}, head = {0};
	put_text(&keys, "general", "architecture", x->family->gguf);
	put_u32(&keys, "general", "file_type", elem_info[mostly(x)].file_type);
	put_u32(&keys, "general", "alignment", ALIGNMENT);
	put_sizes(&keys, x);
	int code = put_tokenizer(&keys, x->arena, x->dir, x->config, x->sizes.V);
	put_infos(&infos, x);
	str_put(&head.s, "GGUF", 4);
	put_number(&head, 3, 4);
	put_number(&head, (uint64_t)x->tensors.len, 8);
	put_number(&head, (uint64_t)keys.count, 8);
	str_put(out, head.s.at, head.s.len);
	str_put(out, keys.s.at, keys.s.len);
	str_put(out, infos.s.at ? infos.s.at : "", infos.s.len);
	str_free(&keys.s);
	str_free(&infos.s);
	str_free(&head.s);
	return code;
}

static void pad(SnWriter *w)
{
	static const char zeros[ALIGNMENT];
	sn_writer_put(w, zeros, (size_t)(rounded(w->at) - w->at));
}

static int write_file(const Export *x, const Str *head, const char *path)
{
	SnWriter w;
	int code = sn_writer_open(&w, path);
	if (code)
		return code;
	sn_writer_put(&w, head->at, head->len);
	pad(&w);
	for (int i = 0; i < x->tensors.len && !code && !w.bad; i++) {
		code = weight_write(&x->tensors.at[i], x->as.at[i], x->dir, &w);
		pad(&w);
	}
	int closed = sn_writer_close(&w);
	return code ? code : closed;
}

/* A device or a pipe is written to as it stands. */
static int write_beside(const Export *x, const Str *head)
{
	struct stat st;
	if (stat(x->path, &st) == 0 && !S_ISREG(st.st_mode))
		return write_file(x, head, x->path);
	char *beside = sn_format("%s.tmp-%d", x->path, (int)getpid());
	int code = write_file(x, head, beside);
	if (!code && rename(beside, x->path) < 0)
		code = sn_fail(SN_FAIL, "%s: %s", x->path, strerror(errno));
	if (code)
		unlink(beside);
	free(beside);
	return code;
}

static int open_weights(Export *x)
{
	const char *whole = arena_printf(x->arena, "%s/model.safetensors", x->dir);
	return sn_st_open(&x->st, sn_exists(whole) ? whole : arena_printf(x->arena, "%s.index.json", whole));
}

static int export(Export *x)
{
	const char *path = arena_printf(x->arena, "%s/config.json", x->dir);
	x->config = sn_json_read(path);
	if (!x->config)
		return SN_DATA;
	const char *type = json_string_value(json_object_get(x->config, "model_type"));
	if (!type && json_object_get(x->config, "program"))
		return sn_fail(SN_DATA, "%s is what a program of Sinter's writes of itself: export wants a config.json in Hugging Face's form there, as an imported model has", path);
	bool mistral = type && strcmp(type, "mistral") == 0;   /* GGUF has it as llama */
	x->family = family_named(NULL, mistral ? "llama" : type);
	if (!x->family || x->family->bert)
		return sn_fail(SN_DATA, "%s: the model_type \"%.64s\" is not exported (%s are)", path, type ? type : "", family_list(x->arena, true));
	int code = config_sizes(&x->sizes, x->family, x->config, path);
	if (!code)
		code = open_weights(x);
	if (!code)
		code = take_tensors(x);
	if (!code)
		code = scaling(x);
	Str head = {0};
	if (!code)
		code = header(x, &head);
	if (!code)
		code = write_beside(x, &head);
	str_free(&head);
	if (!code)
		sn_note("%s: %d tensors of %s, mostly %s", x->path, x->tensors.len, x->family->gguf, elem_info[mostly(x)].name);
	return code;
}

int model_to_gguf(Arena *a, const char *dir, Elem elem, const char *path)
{
	Export x = {.arena = a, .dir = dir, .path = path, .elem = elem};
	int code = export(&x);
	json_decref(x.config);
	sn_st_close(&x.st);
	return code;
}
