# Models of odd shapes and of other families: each trains to a lower loss with the same bits on 1, 2 and 3 threads, and infers and
# generates if it can. Those that take no text are fed random inputs of their own shapes.
for file in tests/models/*.sinter tests/models/families/*.sinter; do
	grep -q '^train' "$file" || continue
	name=$(basename "$file" .sinter); exe=$tmp/odd-$name
	small=(); grep -q '^preset nano' "$file" && small=(--preset nano)
	check "$name builds" "$sinter" build "$file" "${small[@]}" -o "$exe" || continue
	if grep -q 'data *text' "$file"; then
		feed=(--tokenizer byte --data "$corpus" --eval-batches 4); [ $name = attention_by_hand ] && feed[1]=char
	else
		feed=(--inputs "$exe.st")
		check "$name gives an example of its inputs" "$exe" train -q --example-inputs "$exe.st"
	fi
	for t in 1 2 3; do
		"$exe" train -q "${feed[@]}" --steps 60 --warmup 2 --seed 3 -t $t --out "$exe-$t" > "$tmp/out" 2>&1 \
			|| bad "$name on $t threads" "$(tail -n 3 "$tmp/out")"
		losses "$exe-$t" > "$exe-loss$t"
	done
	if cmp -s "$exe-loss1" "$exe-loss2" && cmp -s "$exe-loss1" "$exe-loss3"; then ok "$name: 1, 2 and 3 threads give the same bits"
	else bad "$name: threads give other bits"; fi
	check "$name: the loss falls" awk '{ if (NR <= 8) a += $1; if (NR > 52) b += $1 } END { exit !(NR == 60 && b < a) }' "$exe-loss1"
	for entry in $(sed -nE 's/^infer ([a-z_]+).*/\1/p' "$file"); do
		check "$name $entry: an example" "$exe" "$entry" -q --example-inputs "$exe.$entry"
		check "$name $entry" "$exe" "$entry" -q -m "$exe-1" --inputs "$exe.$entry" -o "$exe.result"
	done
	grep -q '^generate' "$file" && check "$name generates" "$exe" generate -m "$exe-1" --prompt-ids 1,2 --ids -n 4
done
