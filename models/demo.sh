#!/bin/bash
# `make demo`: from nothing to a trained model that generates text, in a few minutes on two cores:
# installs what is missing, builds the compiler, compiles a small GPT, trains it on the compiler's own C sources, generates.
# usage: models/demo.sh BUILD-DIR
set -eu
cd "$(dirname "$0")/.."
build=$1 start=$SECONDS
say() { printf '\n== %s (%d s so far)\n' "$1" $((SECONDS - start)); }
say "installing what is missing"
make --no-print-directory deps
say "building the compiler"
make --no-print-directory -j"$(nproc)" BUILD="$build" all
work=$build/demo; rm -rf "$work"; mkdir -p "$work"
cat support/*.[ch] ir/*.[ch] passes/*.[ch] backend/*.[ch] frontend/*.[ch] runtime/*.[ch] driver/*.[ch] > "$work/corpus.txt"
say "compiling models/gpt2.sinter, preset nano, to $work/gpt"
"$build/sinter" build models/gpt2.sinter --preset nano --set train.batch=16 --set train.micro=16 --set train.T=128 -o "$work/gpt"
ls -l "$work/gpt"
say "training it on $(wc -c < "$work/corpus.txt") bytes of C"
"$work/gpt" train --data "$work/corpus.txt" --tokenizer byte --steps 1000 --lr 2e-3 --min-lr 2e-4 --warmup 50 --beta2 0.99 \
	--validate-every 250 --save-every 500 --out "$work/run"
say "generating"
"$work/gpt" generate -m "$work/run" -p "static int " -n 116 --temp 0.6 --seed 1
say "done: $work/run holds the checkpoint, metrics.jsonl and loss.svg"
