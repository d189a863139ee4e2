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
# Row blocks follow the cache that a program finds: smaller ones, told by its assembly text, give the same bits.
wide="--set V=256 --set N=512 --set D=192 --set H=3 --set L=1 --set train.micro=4 --set train.batch=4 --set train.T=512 --precision f32 --entry train"
for target in x86-64-v3 native; do
	[ $sanitized = 0 ] || { skip "$target: caches"; continue; }
	for bytes in 1048576 131072; do
		"$sinter" build models/gpt2.sinter $wide --target $target --emit=asm -o "$tmp/cache.s" 2> "$tmp/out" || bad "$target as text"
		sed -i "/^sn_l2_bytes:/,+1s/1048576/$bytes/" "$tmp/cache.s"
		check "$target, a cache of $bytes bytes" grep -q "\.quad	$bytes\b" "$tmp/cache.s"
		check "it links" cc -no-pie -o "$tmp/cache-$bytes" "$tmp/cache.s" "$build/libsinter_rt.a" -lm -lpthread
		check "and trains" "$tmp/cache-$bytes" $train --steps 2 --seed 7 --out "$tmp/run-cache-$target-$bytes"
	done
	check "$target: the same bits" cmp "$(model_of "$tmp/run-cache-$target-1048576")" "$(model_of "$tmp/run-cache-$target-131072")"
done
