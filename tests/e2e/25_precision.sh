# precision bf16: it trains, follows f32's losses, gives the same bits on any number of threads, and saves f32.
model_of() { find "$1/" -name model.safetensors | sort | tail -n 1; }
for p in f32 bf16; do
	check "tiny gpt2 builds in $p" "$sinter" build models/gpt2.sinter $tiny --precision $p -o "$tmp/gpt-$p"
	check "100 steps in $p" "$tmp/gpt-$p" $train --steps 100 --seed 7 -t 2 --out "$tmp/run-$p"
	losses "$tmp/run-$p" | cut -d' ' -f1 > "$tmp/loss-$p"
done
# each loss within 1% of the other's, their mean within 0.1%
follows() { paste "$1" "$2" | awk '{ d = ($1 - $2) / $2; s += d / 100; if (d < 0) d = -d; if (d > 0.01) exit 1; n++ } END { exit n != 100 || s > 0.001 || s < -0.001 }'; }
check "bf16 follows f32's losses" follows "$tmp/loss-bf16" "$tmp/loss-f32"
if cmp -s "$tmp/loss-bf16" "$tmp/loss-f32"; then bad "bf16 gives other losses than f32"; else ok "bf16 gives other losses than f32"; fi
for t in 1 3; do
	check "100 steps in bf16 on $t threads" "$tmp/gpt-bf16" $train --steps 100 --seed 7 -t $t --out "$tmp/run-bf16-$t"
	check "$t threads give the bits of 2" cmp "$(model_of "$tmp/run-bf16-$t")" "$(model_of "$tmp/run-bf16")"
done
saved=$(head -c 4000 "$(model_of "$tmp/run-bf16")" | tr -d '\0')
case $saved in *BF16*) bad "a checkpoint holds f32 alone" ;; *F32*) ok "a checkpoint holds f32 alone" ;; *) bad "a checkpoint holds f32" ;; esac
check "an f32 build goes on from it" "$tmp/gpt-f32" eval -m "$tmp/run-bf16" --data "$corpus"
check "bf16 generates" "$tmp/gpt-bf16" generate -m "$tmp/run-bf16" -p "ab" -n 20
exits "info says so" 0 "precision: bf16" "$tmp/gpt-bf16" info
exits "and of the other" 0 "precision: f32" "$tmp/gpt-f32" info
for target in x86-64-v2 x86-64-v3; do
	check "$target builds in bf16" "$sinter" build models/gpt2.sinter $tiny --precision bf16 --target $target -o "$tmp/gpt-bf16-$target"
	check "$target trains in bf16" "$tmp/gpt-bf16-$target" $train --steps 100 --seed 7 --out "$tmp/run-bf16-$target"
	losses "$tmp/run-bf16-$target" | cut -d' ' -f1 > "$tmp/loss-bf16-$target"
	check "$target follows f32's losses" follows "$tmp/loss-bf16-$target" "$tmp/loss-f32"
done
exits "a precision that is none" 1 "f32 or bf16 is wanted" "$sinter" build models/gpt2.sinter $tiny --set train.precision=f8 -o "$tmp/f8"
exits "nor by the flag" 2 "f32 bf16" "$sinter" build models/gpt2.sinter $tiny --precision f8 -o "$tmp/f8"
