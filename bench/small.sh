#!/bin/bash
# Two small models on 1 and 2 threads: training in tiny Shakespeare's setting (4 layers of width 128, 12 x 64 characters) and a token of a
# LLaMA of 5 layers of width 64 (8 heads, 4 of keys, 172 inner, 512 words, as stories260K). Prints ms a call: the median of rounds, the
# fastest call of all, the bound, and how often it goes into both; and --profile's table of the last.
# The bound is the larger of arithmetic over the rate of multiply-adds and bytes over the rate of reading so many again and again, from the caches
# that hold them; both rates are measured in the same rounds, on as many threads. Bytes of a token: all weights, and half of the caches that 500
# tokens fill; the fastest call is the one with empty caches, and so is its bound. `model` is a token without drawing it, as --profile times it.
# usage: bench/small.sh [SINTER [ROUNDS]]
set -eu
sinter=$(realpath "${1:-build/sinter}"); rounds=${2:-5}
cd "$(dirname "$0")/.."
limits=$(realpath "${LIMITS:-build/bench/limits}")
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
tokens=500
weights=$((5 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 172) + 64 * 512))
token_bytes=$((4 * weights + 4 * 5 * 2 * 32 * tokens / 2))
token_flops=$((2 * weights + 5 * 4 * 64 * tokens / 2))
step_flops=$((12 * 64 * (6 * (4 * 12 * 128 * 128 + 65 * 128) + 12 * 4 * 128 * 64)))
"$sinter" build models/llama.sinter --precision f32 --set V=512 --set N=512 --set D=64 --set F=172 --set H=8 --set G=4 --set L=5 --set tie=true \
	--entry generate -o "$tmp/llama"
"$sinter" build models/gpt2.sinter --precision f32 --set V=65 --set N=64 --set D=128 --set H=4 --set L=4 --set p=0 --set train.batch=12 \
	--set train.micro=12 --set train.T=64 --entry train -o "$tmp/gpt"
cat support/*.c ir/*.c | tr -d '\200-\377' | tr -c 'a-z \n' x > "$tmp/text"
token() { "$tmp/llama" generate --random --prompt-ids 1 --ids -n $tokens "$@" 2>&1 > /dev/null; }
train() { rm -rf "$tmp/run"; "$tmp/gpt" train --data "$tmp/text" --tokenizer char --steps 100 --eval-batches 1 --save-every 0 --out "$tmp/run" "$@" 2>&1 > /dev/null; }
calls() { sed -nE "s#^($1): .* calls of ([0-9.]+) ms .the fastest ([0-9.]+).*#\1 $t \2 \3#p"; }   # KIND THREADS MS FASTEST
for ((i = 0; i < rounds; i++)); do
	for t in 1 2; do
		"$limits" -t $t -b $token_bytes f32 again | sed -nE "s|.*\"limit\": \"(\w+)\", \"value\": ([0-9.]+).*|\1 $t \2 \2|p"
		token -t $t | sed -nE "s|.*generated ([0-9]+), .* ([0-9.]+)/s\$|\2|p" | awk -v t=$t '{ print "token", t, 1e3 / $1, 1e9 }'
		token -t $t --profile | calls step | sed 's|^step|model|'
		train -t $t --profile | calls 'step|update'
	done
done | sort | awk -v bytes=$token_bytes -v empty=$((4 * weights)) -v flops=$token_flops -v step=$step_flops '
	function larger(a, b) { return a > b ? a : b }
	function show(k, t, ms, least) {
		if (k == "f32" || k == "again") { rate[k, t] = most; printf "%-7s %d threads: %8.1f G%s/s\n", k, t, most, k == "f32" ? "FLOP" : "B"; return }
		bound = k == "step" ? 1e-6 * step / rate["f32", t] : larger(1e-6 * bytes / rate["again", t], 1e-6 * flops / rate["f32", t])
		printf "%-7s %d threads: %8.4f ms", k, t, ms
		if (least < 1e9) printf ", the fastest %8.4f", least
		if (k != "update") printf "; bound %.4f: %.2f times", bound, ms / bound
		if (k != "update" && least < 1e9) printf ", the fastest %.2f", least / (k == "step" ? bound : bound * empty / bytes)
		printf "\n"
	}
	function end() { sort_(v, n); show(key, threads, v[int((n + 1) / 2)], least) }
	function sort_(a, n,   i, j, x) { for (i = 2; i <= n; i++) { x = a[i]; for (j = i - 1; j > 0 && a[j] > x; j--) a[j + 1] = a[j]; a[j + 1] = x } }
	{ if ($1 " " $2 != last) { if (n) end(); last = $1 " " $2; key = $1; threads = $2; n = 0; least = 1e9; most = 0 }
	  v[++n] = $3; if ($4 < least) least = $4; if ($4 > most) most = $4 } END { end() }'
[ "${PROFILE:-}" ] || exit 0
token --profile; train --profile
