#!/bin/bash
# GPT-2 124M, batch 4 x 64, fp32, two threads: one training step here and in llm.c, in turn, in one run.
# LLMC is a checkout of llm.c in which its train_gpt2 has been built as its README says, with
# -Ofast -march=native -fopenmp. TEXT is any text file. TOKENIZER is a directory with GPT-2's vocab.json and merges.txt; without it
# bytes serve as tokens, as they always do for llm.c, whose time per step doesn't depend on them. Then the first loss on random weights,
# which is to be near ln 50257: a sample of 256 tokens each for four seeds.
# usage: bench/llmc.sh LLMC TEXT [SINTER [TOKENIZER]]
set -eu
llmc=$(realpath "${1:?usage: bench/llmc.sh LLMC TEXT [SINTER [TOKENIZER]]}"); text=$(realpath "$2")
sinter=$(realpath "${3:-build/sinter}"); tokenizer=${4:-byte}; [ "$tokenizer" = byte ] || tokenizer=$(realpath "$tokenizer")
cd "$(dirname "$0")/.."
[ -x "$llmc/train_gpt2" ] || { echo "$llmc/train_gpt2 is not there: build it as llm.c's README says" >&2; exit 1; }
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
gcc -O2 -o "$tmp/llmc_files" bench/llmc_files.c -lm
mkdir -p "$tmp/llmc/dev/data/tinyshakespeare"
"$tmp/llmc_files" model "$tmp/llmc/gpt2_124M.bin"
for part in train val; do "$tmp/llmc_files" tokens "$text" "$tmp/llmc/dev/data/tinyshakespeare/tiny_shakespeare_$part.bin"; done
"$sinter" build models/gpt2.sinter --precision f32 --set p=0 --set train.batch=4 --set train.micro=4 --set train.T=64 --entry train -o "$tmp/gpt"

train() {  # STEPS SEED
	rm -rf "$tmp/run"
	"$tmp/gpt" train --data "$text" --tokenizer "$tokenizer" --valid-fraction 0.1 --steps "$1" --seed "$2" --lr 1e-4 --warmup 0 --validate-every 0 --save-every 0 --eval-batches 1 -t 2 --out "$tmp/run" > "$tmp/ours.log" 2>&1 || { tail -n 3 "$tmp/ours.log" >&2; exit 1; }
}
ours() {  # prints the step times of one run in ms, without the first
	train 12 1
	grep -o '"time": *[0-9.]*' "$tmp/run/metrics.jsonl" | grep -o '[0-9.]*$' | awk 'NR > 2 { printf "%.1f\n", 1e3 * ($1 - last) } { last = $1 }'
}
theirs() {
	(cd "$tmp/llmc" && OMP_NUM_THREADS=2 timeout 60 stdbuf -oL "$llmc/train_gpt2" || true) | sed -nE 's/^step .*took ([0-9.]+) ms.*/\1/p' | tail -n +2
}
median() { sort -g | awk '{v[NR]=$1} END{if (NR) print v[int((NR+1)/2)]}'; }
for round in 1 2; do
	ours >> "$tmp/a"; theirs >> "$tmp/b"
done
a=$(median < "$tmp/a"); b=$(median < "$tmp/b")
for seed in 1 2 3 4; do
	train 1 "$seed"
	grep -o '"loss": *[0-9.]*' "$tmp/run/metrics.jsonl" | head -n 1 | grep -o '[0-9.]*$'
done > "$tmp/first"
awk '{ printf "%s%.4f (%+.2f%%)", (NR > 1) ? ", " : "first loss on random weights, seeds 1 to 4, against ln 50257 = 10.8249: ", $1, 100 * ($1 / log(50257) - 1); s += $1 }
	END { printf "; mean %+.2f%%\n", 100 * (s / NR / log(50257) - 1) }' "$tmp/first"
awk -v a="$a" -v b="$b" -v n="$(wc -l < "$tmp/a")" -v m="$(wc -l < "$tmp/b")" 'BEGIN {
	printf "| GPT-2 124M, 4 x 64, fp32, 2 threads | ms a step (median) | steps | ratio |\n|---|---|---|---|\n"
	printf "| sinter | %.0f | %d | 1.00 |\n| llm.c | %.0f | %d | %.2f |\n", a, n, b, m, b / a }'
