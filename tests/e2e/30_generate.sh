# Generation: deterministic in the seed, the same with and without threads, from trained weights.
gen="generate -m $tmp/run1 -p static -n 40"
"$tmp/gpt" $gen --temp 0 > "$tmp/greedy1" 2> "$tmp/err" || bad "greedy generation" "$(tail -n 3 "$tmp/err")"
for t in 1 2 3 5 8 16; do
	"$tmp/gpt" $gen --temp 0 -t $t > "$tmp/greedy2" 2> /dev/null
	check "greedy text is the same on $t threads" cmp "$tmp/greedy1" "$tmp/greedy2"
done
"$tmp/gpt" $gen --seed 5 --temp 0.9 --top-k 20 --top-p 0.9 --min-p 0.01 > "$tmp/s1" 2> /dev/null
"$tmp/gpt" $gen --seed 5 --temp 0.9 --top-k 20 --top-p 0.9 --min-p 0.01 > "$tmp/s2" 2> /dev/null
"$tmp/gpt" $gen --seed 6 --temp 0.9 --top-k 20 --top-p 0.9 --min-p 0.01 > "$tmp/s3" 2> /dev/null
check "a seed gives one text" cmp "$tmp/s1" "$tmp/s2"
if cmp -s "$tmp/s1" "$tmp/s3"; then bad "another seed gives the same text"; else ok "another seed gives another"; fi
exits "generate without weights says what to do" 2 "-m" "$tmp/gpt" generate -p x
exits "llama generates" 0 "" "$tmp/llama" generate -m "$tmp/llama-run" -p "int" -n 20
