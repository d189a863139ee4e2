#!/bin/bash
# What `make fmt-check` holds the sources to, and `make fmt` repairs where it is mechanical: no blanks at the ends of lines,
# a line break at the end of the file, tabs before C's statements, lines of at most 180 characters in C, at most 800 lines
# a C file; model files as `sinter fmt` writes them. The braces and blanks inside C's lines are left to the eye.
# usage: style.sh SINTER [--fix]
set -u
sinter=$(realpath "$1"); fix=${2:-}
cd "$(dirname "$0")/.." || exit 2
rooms=(Makefile .ci frontend ir passes backend convert runtime driver support models tests docs bench)
mapfile -t all < <(find README.md "${rooms[@]}" -type f \( -name '*.[chly]' -o -name '*.def' -o -name '*.sh' -o -name '*.md' -o -name '*.py' -o -name Makefile -o -path .ci/run \) | sort)
[ ${#all[@]} -gt 100 ] || { echo "style: only ${#all[@]} files found"; exit 1; }
mapfile -t code < <(printf '%s\n' "${all[@]}" | grep -E '\.[ch]$')
models=(models/*.sinter tests/models/*.sinter tests/models/*/*.sinter)
failed=0
say() { [ -z "$1" ] || { echo "$1" | sed "s/\$/: $2/"; failed=1; }; }
if [ "$fix" = --fix ]; then
	sed -i 's/[ \t]*$//' "${all[@]}"
	for f in "${all[@]}"; do [ -z "$(tail -c 1 "$f")" ] || echo >> "$f"; done
	"$sinter" fmt "${models[@]}" || failed=1
fi
say "$(grep -nE '[ 	]+$' "${all[@]}" | cut -d: -f1,2)" "blanks at the end of the line"
say "$(for f in "${all[@]}"; do [ -z "$(tail -c 1 "$f")" ] || echo "$f"; done)" "no line break at the end"
say "$(awk 'length($0) > 180 { print FILENAME ":" FNR }' "${code[@]}")" "more than 180 characters"
say "$(awk '/^ +[^ *]/ && !cont { print FILENAME ":" FNR } { cont = /([,(&|?:=+*\/-]|<<|>>)[ \t]*(\/\*.*\*\/)?$/ || /^\/\*/ || (cont && !/\*\/$/ && /^ /) }' "${code[@]}")" "blanks before a statement; C is indented with tabs"
say "$(wc -l "${code[@]}" | awk '$1 > 800 && $2 != "total" { print $2 }')" "more than 800 lines"
"$sinter" fmt --check "${models[@]}" || failed=1
[ $failed = 0 ] && echo "style: ${#all[@]} files as they should be"
exit $failed
