/* bpe_files.c: GPT-2's older form of a BPE, vocab.json and merges.txt, composed into the json that bpe.c reads: a merge
 * a line after the "#version" line, and <|endoftext|> as the one added token. */
#include "runtime/sn.h"

#include <string.h>

static json_t *read_merges(const char *path)
{
	SnFile f;
	if (sn_file_map(&f, path))
		return NULL;
	json_t *list = json_array();
	SnLine line = {0};
	while (sn_line_next(&f, &line)) {
		size_t n = line.n;
		if (n && line.s[n - 1] == '\r')
			n--;
		if (!n || (line.number == 1 && n > 8 && !memcmp(line.s, "#version", 8)))
			continue;
		if (json_array_append_new(list, json_stringn(line.s, n))) {
			sn_fail(SN_DATA, "%s:%lld: not valid UTF-8", path, (long long)line.number);
			json_decref(list);
			list = NULL;
			break;
		}
	}
	sn_file_unmap(&f);
	return list;
}

json_t *sn_bpe_compose(const char *vocab_path, const char *merges_path)
{
	json_t *vocab = sn_json_read(vocab_path), *merges = vocab ? read_merges(merges_path) : NULL;
	if (!merges) {
		json_decref(vocab);
		return NULL;
	}
	json_t *added = json_array(), *end = json_object_get(vocab, "<|endoftext|>");
	if (json_is_integer(end))
		json_array_append_new(added, sn_json_pack("{s:O, s:s, s:b}", "id", end, "content", "<|endoftext|>", "special", 1));
	return sn_json_pack("{s:s, s:o, s:n, s:{s:s, s:b}, s:n, s:{s:s, s:b}, s:{s:s, s:o, s:o}}", "version", "1.0", "added_tokens", added,
	                 "normalizer", "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "post_processor",
	                 "decoder", "type", "ByteLevel", "add_prefix_space", 0, "model", "type", "BPE", "vocab", vocab, "merges", merges);
}
