# The same model for smaller instruction sets: it runs, and its losses agree within rounding. In f32: 25_precision has bf16, whose
# roundings differ as soon as one f32 does.
check "native builds in f32" "$sinter" build models/gpt2.sinter $tiny --precision f32 -o "$tmp/gpt-f32"
"$tmp/gpt-f32" $train --steps 20 --seed 7 --out "$tmp/run-native" > "$tmp/out" 2>&1 || bad "20 native steps" "$(tail -n 3 "$tmp/out")"
losses "$tmp/run-native" > "$tmp/loss-native"
for target in x86-64-v2 x86-64-v3; do
	check "$target builds" "$sinter" build models/gpt2.sinter $tiny --precision f32 --target $target -o "$tmp/gpt-$target"
	check "$target trains" "$tmp/gpt-$target" $train --steps 20 --seed 7 --out "$tmp/run-$target"
	losses "$tmp/run-$target" > "$tmp/loss-$target"
	check "$target follows the native losses" sh -c "paste $tmp/loss-$target $tmp/loss-native | awk '{d=(\$1-\$3)/\$3; if (d<0) d=-d; if (d>1e-5) exit 1; n++} END{exit n!=20}'"
done
