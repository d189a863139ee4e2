#!/bin/bash
# Text tests: each file under tests/text/*/ says in its first line how to run it, "#! sinter check %s" (%s is the
# file), and after the line "#---" what comes out (stdout and stderr, then "exit: N"), each line behind "# ".
# usage: run.sh SINTER [--bless] [FILE ...]        SINTER_TEXT_DIR: where temporary files go
# --bless rewrites the expectations; read the difference before you commit it.
# Printed graphs must read back to the same text: for every test whose output holds graphs this is checked too.
set -u
sinter=$(realpath "$1"); shift
bless=0; [ "${1:-}" = --bless ] && { bless=1; shift; }
cd "$(dirname "$0")/../.." || exit 2
[ $# -gt 0 ] || set -- tests/text/*/*.sinter tests/text/*/*.ir
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0; failed=0

run_one() {  # FILE -> what it prints, with the file's name as %s
	local cmd=${1#\#! } file=$2
	cmd=${cmd/#sinter/$sinter}
	(eval "timeout 60 ${cmd//%s/$file}" 2>&1; echo "exit: $?") | sed "s|$file|%s|g"
}

round_trip() {  # printed graphs read back to the same text
	grep -q '^graph ' "$1" || return 0
	sed '/^exit: /d; /^# after /d' "$1" > "$tmp/once.ir"
	"$sinter" opt "$tmp/once.ir" > "$tmp/twice.ir" 2>&1 && cmp -s "$tmp/once.ir" "$tmp/twice.ir"
}

for file in "$@"; do
	[ -f "$file" ] || continue
	first=$(head -n 1 "$file")
	case $first in "#! sinter "*) ;; *) echo "$file: its first line is not '#! sinter ...'"; failed=$((failed+1)); continue ;; esac
	run_one "$first" "$file" > "$tmp/got"
	if [ $bless = 1 ]; then
		{ sed '/^#---$/,$d' "$file"; echo '#---'; sed 's/^/# /; s/ *$//' "$tmp/got"; } > "$tmp/new" && cp "$tmp/new" "$file"
	fi
	sed '1,/^#---$/d' "$file" | sed 's/^# \{0,1\}//; s/ *$//' > "$tmp/want"
	sed 's/ *$//' "$tmp/got" > "$tmp/got2"
	if [ ! -s "$tmp/want" ]; then
		echo "$file: no expected output"; failed=$((failed+1))
	elif ! diff -u "$tmp/want" "$tmp/got2" > "$tmp/diff"; then
		echo "$file: unexpected output"; tail -n +3 "$tmp/diff"; failed=$((failed+1))
	elif [[ ($first == *" opt "* || $first == *--emit=graph*) && $first != *print-after* && $first != *stats* ]] && ! round_trip "$tmp/got"; then
		echo "$file: the printed graph does not read back to the same text"; failed=$((failed+1))
	else
		passed=$((passed+1))
	fi
done
echo "text: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
