#!/bin/bash
# Runs the unit test programs given, prints the failing tests' output, and closes with one line of counts.
set -u
passed=0; failed=0
for t in "$@"; do
	out=$("$t" 2>&1); code=$?
	p=$(grep -c '^\[ *OK \]' <<< "$out"); f=$(grep -c '^\[  FAILED  \] [A-Za-z_]' <<< "$out")
	[ $code != 0 ] && [ "$f" = 0 ] && f=1
	passed=$((passed + p)); failed=$((failed + f))
	printf '%-28s %3d passed, %d failed\n' "$(basename "$t")" "$p" "$f"
	[ $code = 0 ] || printf '%s\n' "$out" | grep -v '^\[\( *OK *\| *RUN *\)\]' | tail -n 60
done
echo "unit: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
