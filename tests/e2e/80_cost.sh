# What compiling costs, in processor time, as the machine may be busy; and in memory. Slower machines than the one the bounds were
# set on have more time, by what they need for a unit: there, starting takes 16 ms (the loader on LLVM's library), and 12 layers
# 1.25 s (nearly all of it LLVM's work on kernels).
gpt3="models/gpt2.sinter --set D=12288 --set H=96"
cpu() {  # FILE COMMAND...: user and system time in ms, added to FILE as one line; fails if the command does
	local to=$1 TIMEFORMAT='%3U %3S' code; shift
	{ time "$@" > "$tmp/out" 2>&1; code=$?; } 2> "$tmp/time"
	awk '{ printf "%d\n", 1000 * ($1 + $2) }' "$tmp/time" >> "$to"
	return $code
}
least() { sort -n "$1" | head -n 1; }
bound() { echo $(($2 > $3 ? $1 * $2 / $3 : $1)); }   # MS UNIT EXPECTED
at_most() { echo "$1 of $2 ms"; [ "$1" -le "$2" ]; }

if [ $sanitized = 1 ]; then
	skip "what checking and compiling cost"
else
	for i in 1 2 3; do cpu "$tmp/start" "$sinter" --version; done
	unit=$(least "$tmp/start")
	for f in models/*.sinter; do
		for i in 1 2 3; do cpu "$tmp/check-$(basename "$f")" "$sinter" check "$f"; done
		check "checks $f in 50 ms" at_most "$(least "$tmp/check-$(basename "$f")")" "$(bound 50 "$unit" 20)"
	done
	for L in 12 96 192; do
		check "builds $L layers of GPT-3's shape" cpu "$tmp/deep-$L" "$sinter" build $gpt3 --set L=$L --stats -o "$tmp/deep"
		cp "$tmp/out" "$tmp/stats-$L"
	done
	unit=$(least "$tmp/deep-12")
	check "96 layers of GPT-3's shape take at most 5 s" at_most "$(least "$tmp/deep-96")" "$(bound 5000 "$unit" 1500)"
	check "and 500 MB" awk '/ peak / { n++; if ($(NF - 1) > 500) exit 1 } END { exit n != 3 }' "$tmp/stats-96"
	check "16 times the layers take at most 4 times as long" at_most "$(least "$tmp/deep-192")" $((4 * unit))
fi
