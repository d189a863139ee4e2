#!/bin/bash
# Every function of the language, called with nothing, too much, and arguments of the wrong kind or rank in every place: the
# compiler must not fail, and whatever it says must be about a place in the user's file, never in the prelude.
# usage: calls.sh SINTER
set -u
sinter=$(realpath "$1")
cd "$(dirname "$0")/.." || exit 2
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0; failed=0

# NAME PARAMETERS..: the built-in functions' table, and the prelude
{ grep -oE '\{ "[a-z_0-9]+", "[^"]*", fn_' frontend/functions.c | sed -E "s/\{ \"([a-z_0-9]+)\", \"([^\"]*)\".*/\1 \2/; s/[',?*]//g"
  grep -E '#define REDUCTION' frontend/functions.c | grep -oE '"[^"]*"' | sed -E 's/[",?]//g; s/.*/sum &\nmean &\nvar &\nmax &\nmin &/'
  sed -nE 's/^fn ([a-z_0-9]+)\(([^=]*)\) ->.*/\1 \2/p' models/prelude.sinter | sed -E 's/: *(\[[^]]*\]|[a-z]+),?//g'
} | sort -u > "$tmp/functions"

head='config { V: dim = 50; D: dim = 8; F: dim = 16; H: dim = 2; K: dim = D / H; p: float = 0.5; on: bool = true }
dim B, T <= 32'
things=(x w ids labels flag one eight heads 3 0 -1 0.5 p '"text"' causal none on '[1, 2]' '[B,T,D]' up wte stack D T '(T > 3)' 'x[0]' '[B,T] -> [T,B]')

calls() {  # NAME PARAMETERS.. -> a call a line
	local f=$1 a t; shift
	echo "$f()"; echo "$f(x, x, x, x, x, x, x, x, x, x, x, x)"; echo "$f(x, nonsense=1)"; echo "$f(x, x=x, x=x)"; echo "$f"
	for t in "${things[@]}"; do
		for a in '' 'x, ' 'ids, ' 'x, x, ' 'x, wte, ' 'heads, heads, ' 'x, ids, ' 'x, x, x, ' 'heads, heads, heads, '; do echo "$f($a$t)"; done
		for a in 'x' 'ids' 'heads, heads, heads'; do echo "$f($t, $a)"; done
		for a in "$@"; do echo "$f(x, $a=$t)"; echo "$f(heads, heads, heads, $a=$t)"; done
	done
}

check_file() {  # FILE: exit status 0 or 1, and every place in this file
	"$sinter" check --json "$1" > "$tmp/said" 2>&1
	local status=$?
	if [ $status -gt 1 ] || grep -v '^{' "$tmp/said" > "$tmp/odd" || grep '^{"kind":"\(error\|warning\)"' "$tmp/said" | grep -vF "\"file\":\"$1\"" > "$tmp/odd" \
	   || grep '"file":' "$tmp/said" | grep -vF "\"file\":\"$1\"" > "$tmp/odd"; then
		echo "calls: $1 ends with $status"; head -n 3 "$tmp/odd"; cp "$1" "${TMPDIR:-/tmp}/calls_failed.sinter"
		return 1
	fi
}

while read -r line; do
	# shellcheck disable=SC2086
	calls $line | sort -u > "$tmp/calls"
	split -a 3 -l 45 -d "$tmp/calls" "$tmp/part."
	for part in "$tmp"/part.*; do
		{ echo "$head"; awk '{
			printf "block A%d(x: [B,T,D], w: [D,D], ids: id(V)[B,T], labels: id(V)?[B,T], flag: bool[B,T], one: [], eight: [1,1,1,1,1,1,1,B], heads: [B,T,H,K]) -> [B,T,D] {\n", NR
			printf "  up: linear(D -> D)\n  wte: embedding(V -> D)\n  stack: repeat 2 of linear(D -> D)\n  y = %s\n  return up(stack(x)) + wte(ids) + mean(w) + one + mean(eight) + mean(heads) + mean(f32(flag)) + mean(f32(labels))\n}\n", $0 }' "$part"; } > "$tmp/case.sinter"
		if check_file "$tmp/case.sinter"; then passed=$((passed+1)); else failed=$((failed+1)); fi
		rm "$part"
	done
done < "$tmp/functions"
echo "calls: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
