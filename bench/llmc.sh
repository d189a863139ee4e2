#!/bin/bash
# GPT-2 124M, batch 4 x 64, fp32, two threads: one training step here and in llm.c, in turn, in one run.
# LLMC is a checkout of llm.c in which its train_gpt2 has been built as its README says, with
# -Ofast -march=native -fopenmp. TEXT is any text file (its bytes serve both sides as tokens); its time per step doesn't depend on it.
# usage: bench/llmc.sh LLMC TEXT [SINTER]
set -eu
llmc=$(realpath "${1:?usage: bench/llmc.sh LLMC TEXT [SINTER]}"); text=$(realpath "$2")
sinter=$(realpath "${3:-build/sinter}")
cd "$(dirname "$0")/.."
[ -x "$llmc/train_gpt2" ] || { echo "$llmc/train_gpt2 is not there: build it as llm.c's README says" >&2; exit 1; }
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
gcc -O2 -o "$tmp/llmc_files" bench/llmc_files.c -lm
mkdir -p "$tmp/llmc/dev/data/tinyshakespeare"
"$tmp/llmc_files" model "$tmp/llmc/gpt2_124M.bin"
for part in train val; do "$tmp/llmc_files" tokens "$text" "$tmp/llmc/dev/data/tinyshakespeare/tiny_shakespeare_$part.bin"; done
"$sinter" build models/gpt2.sinter --set p=0 --set train.batch=4 --set train.micro=4 --set train.T=64 --entry train -o "$tmp/gpt"

ours() {  # prints the step times of one run in ms, without the first
	rm -rf "$tmp/run"
	"$tmp/gpt" train --data "$text" --tokenizer byte --valid-fraction 0.1 --steps 12 --lr 1e-4 --warmup 0 --validate-every 0 --save-every 0 --eval-batches 1 -t 2 --seed 1 --out "$tmp/run" > "$tmp/ours.log" 2>&1 || { tail -n 3 "$tmp/ours.log" >&2; exit 1; }
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
first=$(grep -o '"loss": *[0-9.]*' "$tmp/run/metrics.jsonl" | head -n 1 | grep -o '[0-9.]*$')
awk -v a="$a" -v b="$b" -v n="$(wc -l < "$tmp/a")" -v m="$(wc -l < "$tmp/b")" -v f="$first" 'BEGIN {
	printf "first loss on random weights: %.4f (ln 50257 = %.4f, off by %.2f%%)\n", f, log(50257), 100 * (f / log(50257) - 1)
	printf "| GPT-2 124M, 4 x 64, fp32, 2 threads | ms a step (median) | steps | ratio |\n|---|---|---|---|\n"
	printf "| sinter | %.0f | %d | 1.00 |\n| llm.c | %.0f | %d | %.2f |\n", a, n, b, m, b / a }'
