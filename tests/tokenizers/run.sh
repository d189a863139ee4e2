#!/bin/bash
# Each tokenizer of the data (SINTER_TEST_DATA, or ../shared/data) on N random strings against npm's library, then its speed on English.
# usage: run.sh BUILD-DIR N
set -u
build=$(realpath "$1") n=$2
cd "$(dirname "$0")/../.." || exit 2
data=${SINTER_TEST_DATA:-../shared/data}
[ -d "$data/tokenizers" ] || { echo "skipped: $data/tokenizers is absent"; exit 0; }
command -v npm > /dev/null || { echo "skipped: npm is absent"; exit 0; }
work=$build/npm
mkdir -p "$work"
[ -d "$work/node_modules/@huggingface/tokenizers" ] || (cd "$work" && npm init -y > /dev/null && npm install --silent @huggingface/tokenizers@0.2.0) || exit 1
[ -d "$work/node_modules/@anush008/tokenizers" ] || (cd "$work" && npm install --silent @anush008/tokenizers@0.6.0)
tool=$build/tools/tokens
cp "$data"/tokenizers/*.tokenizer.json "$work"
"$tool" "$data/tokenizers/gpt2.merges.txt" -w "$work/gpt2.tokenizer.json"
"$tool" "$data/tokenizers/ggml-vocab-llama-spm.gguf" -w "$work/llama-spm.tokenizer.json"
"$tool" "$data/tokenizers/ggml-vocab-bert-bge.gguf" -w "$work/bert-bge.tokenizer.json"
failed=0
for t in "$work"/*.tokenizer.json; do
	node tests/tokenizers/compare.mjs "$work" "$tool" "$t" "$n" "$work" || failed=1
	"$tool" "$t" -n "$data/text/tinyshakespeare.txt"
done
[ -d "$work/node_modules/@anush008/tokenizers" ] || echo "skipped: offsets, npm has no @anush008/tokenizers for this machine"
for t in bert-base-uncased roberta-base; do
	[ -d "$work/node_modules/@anush008/tokenizers" ] || continue
	node tests/tokenizers/offsets.mjs "$work" "$build/sinter" "$work/$t.tokenizer.json" $((n < 100 ? n : 100)) "$work" || failed=1
done
exit $failed
