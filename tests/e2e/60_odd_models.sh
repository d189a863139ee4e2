# Models of odd shapes: each trains to a lower loss with the same bits on 1, 2 and 3 threads, and generates if it can.
for file in tests/models/*.sinter; do
	name=$(basename "$file" .sinter); exe=$tmp/odd-$name
	tokenizer=byte; [ $name = attention_by_hand ] && tokenizer=char
	check "$name builds" "$sinter" build "$file" -o "$exe" || continue
	for t in 1 2 3; do
		"$exe" train -q --tokenizer $tokenizer --data "$corpus" --steps 60 --warmup 2 --seed 3 --eval-batches 4 -t $t --out "$exe-$t" > "$tmp/out" 2>&1 \
			|| bad "$name on $t threads" "$(tail -n 3 "$tmp/out")"
		losses "$exe-$t" > "$exe-loss$t"
	done
	if cmp -s "$exe-loss1" "$exe-loss2" && cmp -s "$exe-loss1" "$exe-loss3"; then ok "$name: 1, 2 and 3 threads give the same bits"
	else bad "$name: threads give other bits"; fi
	check "$name: the loss falls" awk '{ if (NR <= 8) a += $1; if (NR > 52) b += $1 } END { exit !(NR == 60 && b < a) }' "$exe-loss1"
	grep -q '^generate' "$file" && check "$name generates" "$exe" generate -m "$exe-1" -p int -n 4
done
