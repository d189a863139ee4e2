#!/bin/bash
# End-to-end tests: model files compiled to executables that train, stop, resume and generate.
# Each check is one line; the closing line counts them. usage: run.sh BUILD-DIR [NAME ...]
# 30_generate, 40_targets and 45_aarch64 use what 20_train has trained, 45 what 40 has built: name them too.
set -u
build=$(realpath "$1"); shift
cd "$(dirname "$0")/../.." || exit 2
sinter=$build/sinter
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0; failed=0
ok() { passed=$((passed+1)); printf '  ok    %s\n' "$1"; }
bad() { failed=$((failed+1)); printf '  FAIL  %s\n' "$1"; shift; [ $# = 0 ] || printf '        %s\n' "$@"; }
skip() { printf '  skip  %s\n' "$1 (built with sanitizers)"; }
check() {  # NAME COMMAND...: passes if the command does
	local name=$1; shift
	if "$@" > "$tmp/out" 2>&1; then ok "$name"; else bad "$name" "$(tail -n 5 "$tmp/out")"; fi
}
exits() {  # NAME CODE PATTERN COMMAND...: exit code and a pattern in the output
	local name=$1 code=$2 pattern=$3; shift 3
	"$@" > "$tmp/out" 2>&1; local got=$?
	if [ $got = "$code" ] && grep -qE -- "$pattern" "$tmp/out"; then ok "$name"
	else bad "$name" "exit $got, wanted $code and /$pattern/ in:" "$(tail -n 5 "$tmp/out")"; fi
}
# Sanitizers are slow and large, and their programs need their libraries: what is promised of plain builds is skipped.
sanitized=0; nm "$sinter" | grep -qE '__(asan|tsan|gcov)_init' && sanitized=1
losses() { sed -nE 's/.*"loss": ?([^,}]*).*"grad_norm": ?([^,}]*).*/\1 \2/p' "$1/metrics.jsonl"; }

tiny="--set V=256 --set N=32 --set D=48 --set H=3 --set L=2 --set train.micro=3 --set train.batch=6 --set train.T=32"
corpus=$tmp/corpus.txt
cat support/*.c ir/*.c > "$corpus"
train="train --tokenizer byte --data $corpus --validate-every 50 --save-every 40 --warmup 10 --lr 3e-3"
readonly build sinter tmp tiny corpus train

for f in tests/e2e/[0-9]*.sh; do
	[ $# = 0 ] || [[ " $* " == *" $(basename "$f" .sh) "* ]] || continue
	echo "$(basename "$f" .sh)"
	. "$f"
done
echo "e2e: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
