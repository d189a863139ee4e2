#!/bin/bash
# Runs each libFuzzer target for SECONDS, from models/, tests/text and small files of each format on; a finding ends it with its file's name.
# An input that takes 25 s (a second of the compiler itself), 2 GB or 200 MB in one piece is a finding too. usage: run.sh DIR SECONDS [TARGET ...]
set -u
dir=$(realpath "$1") seconds=$2; shift 2
cd "$(dirname "$0")/../.." || exit 2
[ $# -gt 0 ] || set -- model graph tokenizer safetensors gguf config
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=0 UBSAN_OPTIONS=print_stacktrace=1

seeds() {  # TARGET DIR: one file an input; text tests without their first line and what they expect
	local f kind=sinter; [ "$1" = graph ] && kind=ir
	mkdir -p "$2"
	case $1 in
	safetensors | gguf | config) python3 tests/fuzz/files.py "$1" "$2"; return ;;
	tokenizer) cp tests/fuzz/tokenizer/* "$2"; return ;;
	esac
	[ "$1" = model ] && cp models/*.sinter tests/models/*.sinter "$2"
	for f in tests/text/*/*."$kind" tests/fuzz/found/"$1"-*; do
		[ -f "$f" ] && sed '1{/^#!/d}; /^#---$/,$d' "$f" > "$2/$(basename "$f")"
	done
}

words() {  # TARGET: the language's or the format's words, for the mutator
	case $1 in
	tokenizer) grep -ohE '"[a-zA-Z_]{2,}"' runtime/{stage,normalize,split,model,bpe,wordpiece,unigram,added,post,decode}.c | sort -u; return ;;
	safetensors | gguf | config) grep -ohE '"[a-zA-Z_.0-9]{2,}"' convert/*.c runtime/safetensors.c frontend/config.c models/llama.sinter | sort -u; return ;;
	esac
	grep -ohE '"[a-zA-Z_]{2,}"' frontend/*.c frontend/*.l | sort -u | grep -v '\\'
	printf '"%s"\n' '->' '+=' '...' '..' '[:, -1]' '[B,T,D]' 'id(V)?' 'repeat 3 of ' ' as i of ' '\\x0a%%\\x0a' 'from \\"1\\"'
}

passed=0 failed=0
for target in "$@"; do
	mkdir -p "$dir/$target.corpus" "$dir/$target.found"
	seeds "$target" "$dir/$target.seeds"
	words "$target" > "$dir/words"
	quiet=0; [[ $target == @(safetensors|gguf|config) ]] && quiet=2   # these refuse most inputs with a message
	if "$dir/$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=200 -max_len=8192 -close_fd_mask=$quiet \
		-dict="$dir/words" -artifact_prefix="$dir/$target.found/" -print_final_stats=1 \
		"$dir/$target.corpus" "$dir/$target.seeds" > "$dir/$target.log" 2>&1; then
		passed=$((passed + 1))
		grep -E 'number_of_executed_units|average_exec_per_sec|peak_rss' "$dir/$target.log" | sed "s/^/$target: /"
	else
		failed=$((failed + 1))
		echo "$target: a finding; see $dir/$target.log"; tail -n 3 "$dir/$target.log"
	fi
done
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
