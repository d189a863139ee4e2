# --quantize: a trained model's loss with its weights in blocks, on every target, the same bits on any number of threads.
blocks_model=$tmp/quantized.sinter
{ cat models/gpt2.sinter; cat << 'END'

eval valid(tokens: id(V)[B,T+1]) {
  data  text("valid.txt", tokenizer="tokenizer.json")
  loss  cross_entropy(GPT2(tokens[:, :-1]), tokens[:, 1:])
  batch 6, micro=3, T=32
}
END
} > "$blocks_model"
blocks_build() { "$sinter" build "$blocks_model" $tiny "${@:2}" -o "$tmp/blocks-$1"; }   # NAME FLAG..
loss_of() { "$tmp/blocks-$1" valid -m "$tmp/run-blocks" --data "$corpus" -q "${@:2}" 2> /dev/null | sed -nE 's/^loss ([0-9.]+) .*/\1/p'; }
near_loss() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { d = a / b - 1; exit !(a > 0 && d < by && d > -by) }'; }
check "a model with an eval entry builds" blocks_build whole --precision f32
check "and trains" "$tmp/blocks-whole" $train --steps 300 --out "$tmp/run-blocks"
blocks_loss=$(loss_of whole)
for q in q8_0:0.001 q4_0:0.01; do
	f=${q%:*} blocks_most=${q#*:}
	check "$f builds" blocks_build $f --quantize $f
	check "$f builds beside f32" blocks_build $f-f32 --quantize $f --precision f32
	for level in v2 v3; do check "$f builds for x86-64-$level" blocks_build $f-$level --quantize $f --target x86-64-$level; done
	for p in $f $f-f32 $f-v2 $f-v3; do
		blocks_now=$(loss_of $p)
		check "loss of $p, $blocks_now, is near f32's, $blocks_loss" near_loss "$blocks_now" "$blocks_loss" $blocks_most
		if [ "$blocks_now" != "$blocks_loss" ]; then ok "and not the same"; else bad "and not the same"; fi
	done
	for t in 1 3; do
		if [ "$(loss_of $f -t $t)" = "$(loss_of $f -t 2)" ]; then ok "$t threads give the loss of 2"; else bad "$t threads give the loss of 2"; fi
	done
	blocks_text=$("$tmp/blocks-$f" generate -m "$tmp/run-blocks" -p "static" -n 20 --temp 0 --top-k 0 -t 1 -q)
	for t in 2 3; do
		if [ "$blocks_text" = "$("$tmp/blocks-$f" generate -m "$tmp/run-blocks" -p "static" -n 20 --temp 0 --top-k 0 -t $t -q)" ]; then ok "$t threads write what 1 writes"; else bad "$t threads write what 1 writes"; fi
	done
	exits "info of $f says so" 0 "weights: $f" "$tmp/blocks-$f" info
	check "a quantised build trains as any" "$tmp/blocks-$f" $train --steps 3 --out "$tmp/run-blocks-$f"
done
exits "a format that is none" 2 "q8_0 q4_0" blocks_build none --quantize q9
exits "nothing to quantise" 1 "only train entries" "$sinter" build "$blocks_model" $tiny --entry train --quantize q8_0 -o "$tmp/blocks-none"
for how in file set; do
	if [ $how = file ]; then sed '/^eval valid/a\  quantize q8_0' "$blocks_model" > "$tmp/quantized_by_file.sinter"; blocks_flag=""; else cp "$blocks_model" "$tmp/quantized_by_file.sinter"; blocks_flag="--set valid.quantize=q8_0"; fi
	check "an entry's own quantize builds ($how)" "$sinter" build "$tmp/quantized_by_file.sinter" $tiny $blocks_flag -o "$tmp/blocks-$how"
	if [ "$(loss_of $how)" = "$(loss_of q8_0)" ]; then ok "and gives the flag's loss"; else bad "and gives the flag's loss" "$(loss_of $how)"; fi
	check "other entries keep their weights" bash -c "[ \$('$tmp/blocks-$how' info | grep -c 'weights: q8_0') = 1 ]"
done
exits "--set of a format that is none" 1 "q8_0 or q4_0 is wanted" blocks_build none --set valid.quantize=q9
