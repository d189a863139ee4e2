#!/bin/bash
# Runs the unit test programs given, as many at a time as there are processors; prints the failing tests' output, and closes with
# one line of counts.
set -u
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
one() {  # DIR PROGRAM: its line, and behind it what it prints if it fails; the counts into DIR
	local name out code p f
	name=$(basename "$2")
	out=$("$2" 2>&1); code=$?
	p=$(grep -c '^\[ *OK \]' <<< "$out"); f=$(grep -c '^\[  FAILED  \] [A-Za-z_]' <<< "$out")
	[ $code != 0 ] && [ "$f" = 0 ] && f=1
	echo "$p $f $code" > "$1/$name.counts"
	{ printf '%-28s %3d passed, %d failed\n' "$name" "$p" "$f"
	[ $code = 0 ] || printf '%s\n' "$out" | grep -v '^\[\( *OK *\| *RUN *\)\]' | tail -n 60; } > "$1/$name.said"
	cat "$1/$name.said"
}
export -f one
printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -I{} bash -c "one '$tmp' '{}'"
read -r passed failed ran < <(cat "$tmp"/*.counts | awk '{ p += $1; f += $2; n++ } END { print p + 0, f + 0, n + 0 }')
failed=$((failed + $# - ran))        # those that left no counts
echo "unit: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
