#!/bin/bash
# The pages of the error codes (docs/errors/*.md) are held to what the compiler says: every code that the sources can
# report has a page and every page's code is in the sources; each "wrong" example reports its page's code, each "right" one
# nothing. A page without a "wrong" example says why: "No file leads here".
# Examples: ```sinter wrong: COMMAND LINE (%s: the file), ```ir right, and before them ```sinter file NAME: what they read.
# usage: errors.sh SINTER
set -u
sinter=$(realpath "$1")
cd "$(dirname "$0")/.." || exit 2
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0; failed=0
bad() { echo "errors: $*"; failed=$((failed+1)); }

# A directory an example: the file, those it reads, and its command line in `cmd`.
awk -v dir="$tmp" '
	/^## [EW][0-9]+: / { code = substr($2, 1, length($2) - 1); n = 0; fresh = 1 }
	/^No file leads here|[.] No file leads here/ { print code > (dir "/excused") }
	!inside && /^```[a-z]+ (wrong|right|file)/ {
		kind = $2; sub(":", "", kind); ext = substr($1, 4)
		if (fresh) { here = sprintf("%s/%s.%d", dir, code, ++n); system("mkdir -p " here); fresh = 0 }
		if (kind == "file") file = here "/" $3
		else {
			file = here "/example." ext
			line = $0; if (!sub(/^[^:]*: /, "", line)) line = ext == "ir" ? "opt %s" : "check %s"
			if (ext == "text") line = ""
			print kind > (here "/kind"); print line > (here "/cmd"); close(here "/cmd"); close(here "/kind"); fresh = 1
		}
		printf "" > file; inside = 1; next
	}
	!inside && /^```/ { skip = !skip; next }
	inside && /^```$/ { inside = 0; close(file); next }
	inside { print > file }
' docs/errors/*.md

for dir in "$tmp"/*/; do
	name=$(basename "$dir"); code=${name%%.*}; kind=$(cat "$dir/kind"); line=$(cat "$dir/cmd")
	echo "$code" >> "$tmp/$kind"
	[ -n "$line" ] || continue   # a text that can't be printed here, such as bytes that are no UTF-8
	file=$(basename "$dir"/example.*)
	# shellcheck disable=SC2086
	said=$(cd "$dir" && timeout 60 "$sinter" ${line//%s/$file} 2>&1 > /dev/null)
	status=$?
	if [ "$kind" = wrong ]; then
		grep -qE "\[$code]|\"code\": ?\"$code\"" <<< "$said" || { bad "$name (sinter $line) does not report $code"; head -5 <<< "$said"; continue; }
	elif [ $status != 0 ] || [ -n "$said" ]; then
		bad "$name (sinter $line) is not right"; head -5 <<< "$said"; continue
	fi
	passed=$((passed+1))
done
grep -ohE '"[EW][0-9]{4}"' frontend/*.[cly] ir/*.c passes/*.c driver/*.c | tr -d '"' | sort -u > "$tmp/sources"
grep -ohE '^## [EW][0-9]{4}' docs/errors/*.md | cut -c4- | sort > "$tmp/pages"
for code in $(comm -23 "$tmp/sources" <(sort -u "$tmp/pages")); do bad "$code has no page"; done
for code in $(comm -13 "$tmp/sources" "$tmp/pages"); do bad "$code is reported nowhere"; done
for kind in wrong right; do
	for code in $(comm -23 "$tmp/pages" <(sort -u "$tmp/$kind" "$tmp/excused")); do bad "$code has no $kind example"; done
done
passed=$((passed + $(comm -12 "$tmp/sources" "$tmp/pages" | wc -l)))
echo "errors: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
