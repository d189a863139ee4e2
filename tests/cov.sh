#!/bin/bash
# Sums up what gcov says of a build made with --coverage, after its tests: lines run, a row for each room and the ten files
# with the most lines that no test runs. usage: cov.sh BUILD-DIR
set -u
build=$(realpath "$1")
cd "$(dirname "$0")/.." || exit 2
mapfile -t data < <(find "$build" -name '*.gcda' ! -path '*/unit/*')
[ ${#data[@]} -gt 0 ] || { echo "no coverage data in $build: make cov"; exit 1; }
gcov -n "${data[@]}" 2>/dev/null | awk -v q="'" '
	/^File/ { split($0, part, q); file = part[2] }
	/^Lines executed/ && file ~ /^(driver|support|frontend|ir|passes|backend|runtime)\/[a-z_0-9]+\.[cly]$/ {
		match($0, /[0-9.]+%/); percent = substr($0, RSTART, RLENGTH - 1)
		total = $NF; run = percent * total / 100
		if (!(file in lines) || run > ran[file]) { lines[file] = total; ran[file] = run }
	}
	{ if (/^Lines executed/) file = "" }
	END {
		for (f in lines) {
			room = f; sub(/\/.*/, "", room)
			l[room] += lines[f]; r[room] += ran[f]; all += lines[f]; hit += ran[f]
			printf "%6d %5.1f%% %s\n", lines[f] - ran[f] + 0.5, 100 * ran[f] / lines[f], f | "sort -rn | head -n 10 | sed \"s/^/not run /\""
		}
		close("sort -rn | head -n 10 | sed \"s/^/not run /\"")
		for (room in l) printf "%-9s %6d lines, %5.1f%% run\n", room, l[room], 100 * r[room] / l[room]
		printf "%-9s %6d lines, %5.1f%% run\n", "all", all, 100 * hit / all
	}'
