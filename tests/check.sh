#!/bin/bash
# `make check`: installs what is missing, builds, runs every test, and says how long each took.
# Its last line is "N passed, N failed". usage: check.sh BUILD-DIR
set -u
cd "$(dirname "$0")/.." || exit 2
build=$1 passed=0 failed=0
stage() {  # NAME COMMAND...: runs it, showing its output, and adds up its closing line
	local name=$1 start=$SECONDS log; shift
	log=$(mktemp)
	echo "== $name"
	"$@" 2>&1 | tee "$log"
	local code=${PIPESTATUS[0]} line
	line=$(grep -E '^[a-z0-9]+: [0-9]+ passed, [0-9]+ failed$' "$log" |   # one, or several to add up
		awk '{ p += $2; f += $4 } END { if (NR) print "all: " p " passed, " f " failed" }')
	rm -f "$log"
	echo "== $name: $((SECONDS - start)) s"
	if [ -n "$line" ]; then
		passed=$((passed + $(sed -E 's/.*: ([0-9]+) passed.*/\1/' <<< "$line")))
		failed=$((failed + $(sed -E 's/.*, ([0-9]+) failed/\1/' <<< "$line")))
	fi
	[ "$code" = 0 ] || { [ -n "$line" ] && [[ $line != *", 0 failed" ]] || failed=$((failed + 1)); }
	return "$code"
}
stage deps make --no-print-directory deps || exit 1
if make --no-print-directory deps-aarch64; then emulated=1
elif [ -n "${CI:-}" ]; then exit 1
else emulated=0 && echo "AArch64 is not tested: its cross compiler and emulator can't be installed here"
fi
if make --no-print-directory deps-browser; then browser=1
else browser=0 && echo "The page is not looked at: Chromium can't be installed here"
fi
stage build make --no-print-directory -j"$(nproc)" BUILD="$build" all || exit 1
stage unit make --no-print-directory -j"$(nproc)" BUILD="$build" check-unit
[ $emulated = 0 ] || stage aarch64 make --no-print-directory -j"$(nproc)" BUILD="$build" check-aarch64
stage text make --no-print-directory BUILD="$build" check-text
stage errors make --no-print-directory BUILD="$build" check-errors
stage e2e make --no-print-directory BUILD="$build" check-e2e
[ $browser = 0 ] || stage browser make --no-print-directory BUILD="$build" check-browser
stage reference make --no-print-directory BUILD="$build" check-reference
stage style make --no-print-directory BUILD="$build" fmt-check
stage docs make --no-print-directory BUILD="$build" docs-check
echo "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
