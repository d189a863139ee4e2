#!/bin/bash
# Character-level GPT on tiny Shakespeare, nanoGPT's published CPU setting: 4 layers, 4 heads, width 128, context 64,
# batch 12, 2000 steps, no dropout; the last 10% of the text is validation, all of it is evaluated. nanoGPT's README gives 1.88.
# The learning rate is 2e-3 (with nanoGPT's 1e-3 it ends between 1.889 and 1.901, by seed).
# Prints the final validation loss, and the time. usage: [PRECISION=bf16] bench/char.sh tinyshakespeare.txt [SINTER]
set -eu
data=$(realpath "${1:?usage: bench/char.sh tinyshakespeare.txt [SINTER]}")
sinter=$(realpath "${2:-build/sinter}")
cd "$(dirname "$0")/.."
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
"$sinter" build models/gpt2.sinter --precision "${PRECISION:-f32}" --set V=65 --set N=64 --set D=128 --set H=4 --set L=4 --set p=0 \
	--set train.batch=12 --set train.micro=12 --set train.T=64 --entry train -o "$tmp/gpt"
start=$(date +%s.%N)
"$tmp/gpt" train --data "$data" --tokenizer char --steps 2000 --lr 2e-3 --min-lr 1e-4 --warmup 100 --beta2 0.99 \
	--weight-decay 0.1 --clip 1 --validate-every 250 --save-every 2000 --seed 1337 --out "$tmp/run"
end=$(date +%s.%N)
loss=$(grep -o '"val_loss": *[0-9.]*' "$tmp/run/metrics.jsonl" | tail -n 1 | grep -o '[0-9.]*$')
awk -v l="$loss" -v a="$start" -v b="$end" 'BEGIN {
	printf "final validation loss %.4f (to reach: 1.90), %.1f s for 2000 steps with validation, %.2f ms a step\n", l, b - a, (b - a) / 2
	exit !(l <= 1.90) }'
