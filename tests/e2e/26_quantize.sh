# --quantize: a trained model's loss with its weights in blocks, on every target, the same bits on any number of threads.
quantized=$tmp/quantized.sinter
{ cat models/gpt2.sinter; cat << 'END'

eval valid(tokens: id(V)[B,T+1]) {
  data  text("valid.txt", tokenizer="tokenizer.json")
  loss  cross_entropy(GPT2(tokens[:, :-1]), tokens[:, 1:])
  batch 6, micro=3, T=32
}
END
} > "$quantized"
build_as() { "$sinter" build "$quantized" $tiny "${@:2}" -o "$tmp/$1"; }   # NAME FLAG..
loss_of() { "$tmp/$1" valid -m "$tmp/run-whole" --data "$corpus" -q "${@:2}" 2> /dev/null | sed -nE 's/^loss ([0-9.]+) .*/\1/p'; }
within() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { d = a / b - 1; exit !(a > 0 && d < by && d > -by) }'; }
check "a model with an eval entry builds" build_as whole --precision f32
check "and trains" "$tmp/whole" $train --steps 300 --out "$tmp/run-whole"
whole=$(loss_of whole)
for q in q8_0:0.001 q4_0:0.01; do
	f=${q%:*} most=${q#*:}
	check "$f builds" build_as $f --quantize $f
	check "$f builds beside f32" build_as $f-f32 --quantize $f --precision f32
	for level in v2 v3; do check "$f builds for x86-64-$level" build_as $f-$level --quantize $f --target x86-64-$level; done
	for p in $f $f-f32 $f-v2 $f-v3; do
		loss=$(loss_of $p)
		check "loss of $p, $loss, is near f32's, $whole" within "$loss" "$whole" $most
		if [ "$loss" != "$whole" ]; then ok "and not the same"; else bad "and not the same"; fi
	done
	for t in 1 3; do
		if [ "$(loss_of $f -t $t)" = "$(loss_of $f -t 2)" ]; then ok "$t threads give the loss of 2"; else bad "$t threads give the loss of 2"; fi
	done
	one=$("$tmp/$f" generate -m "$tmp/run-whole" -p "static" -n 20 --temp 0 --top-k 0 -t 1 -q)
	for t in 2 3; do
		if [ "$one" = "$("$tmp/$f" generate -m "$tmp/run-whole" -p "static" -n 20 --temp 0 --top-k 0 -t $t -q)" ]; then ok "$t threads write what 1 writes"; else bad "$t threads write what 1 writes"; fi
	done
	exits "info of $f says so" 0 "weights: $f" "$tmp/$f" info
	check "a quantised build trains as any" "$tmp/$f" $train --steps 3 --out "$tmp/run-$f"
done
exits "a format that is none" 2 "q8_0 q4_0" build_as none --quantize q9
exits "nothing to quantise" 1 "only train entries" "$sinter" build "$quantized" $tiny --entry train --quantize q8_0 -o "$tmp/none"
