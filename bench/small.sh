#!/bin/bash
# Two small models on 1 and 2 threads: training in tiny Shakespeare's setting (4 layers of width 128, 12 x 64 characters) and a token of a
# LLaMA of 5 layers of width 64 (8 heads, 4 of keys, 172 inner, 512 words, as stories260K). Prints ms a call, and --profile's table of the last.
# usage: bench/small.sh [SINTER [ROUNDS]]
set -eu
sinter=$(realpath "${1:-build/sinter}"); rounds=${2:-5}
cd "$(dirname "$0")/.."
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
"$sinter" build models/llama.sinter --precision f32 --set V=512 --set N=512 --set D=64 --set F=172 --set H=8 --set G=4 --set L=5 --set tie=true \
	--entry generate -o "$tmp/llama"
"$sinter" build models/gpt2.sinter --precision f32 --set V=65 --set N=64 --set D=128 --set H=4 --set L=4 --set p=0 --set train.batch=12 \
	--set train.micro=12 --set train.T=64 --entry train -o "$tmp/gpt"
cat support/*.c ir/*.c | tr -d '\200-\377' | tr -c 'a-z \n' x > "$tmp/text"
token() { "$tmp/llama" generate --random --prompt-ids 1 --ids -n 500 "$@" 2>&1 > /dev/null; }
train() { rm -rf "$tmp/run"; "$tmp/gpt" train --data "$tmp/text" --tokenizer char --steps 200 --eval-batches 1 --save-every 0 --out "$tmp/run" "$@" 2>&1 > /dev/null; }
for ((i = 0; i < rounds; i++)); do
	for t in 1 2; do
		token -t $t | sed -nE "s|.*generated ([0-9]+), .* ([0-9.]+)/s\$|token $t \2|p"
		train -t $t --profile | sed -nE "s|^step: .* calls of ([0-9.]+) ms.*|step $t \1|p; s|^update: .* calls of ([0-9.]+) ms.*|update $t \1|p"
	done
done | sort | awk '{ k = $1 " " $2; if (k != last) { if (n) show(); last = k; n = 0 } v[++n] = $1 == "token" ? 1e3 / $3 : $3 }
	function show() { printf "%-6s %d threads: %8.4f ms\n", substr(last, 1, length(last) - 2), substr(last, length(last)), v[int((n + 1) / 2)] } END { show() }'
[ "${PROFILE:-}" ] || exit 0
token --profile; train --profile
