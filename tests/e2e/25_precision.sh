# precision bf16: it trains, follows f32's losses, gives the same bits on any number of threads, and saves f32.
model_of() { find "$1/" -name model.safetensors | sort | tail -n 1; }
# What bf16 does to a training shows where training itself does not amplify roundings: at this learning rate losses of two f32 builds that
# round differently (fma or not, widths of vectors) stay one ulp apart for all 100 steps (measured 3e-8 rms, 3e-7 at most, 8 seeds).
# At 3e-3 they part by a factor of 1e4 to 1e5 within 200 steps, by seed (3e-8 -> 4e-3), and bf16's do from 4e-5 to 2e-2: such
# losses say nothing of a precision. With u = 2^-8, bf16's unit roundoff, each loss has to be within u/4 of f32's (measured: 1.5e-4 at
# most, 8 seeds, native and x86-64-v2), and each mean deviation of 25 steps, where what is random averages out, within u/16 (measured 8e-5).
calm="train --tokenizer byte --data $corpus --validate-every 50 --warmup 20 --lr 1e-3 --steps 100"
follows() {  # LOSSES OF-F32 EACH MEAN
	paste "$1" "$2" | awk -v each="$3" -v mean="$4" 'function abs(x) { return x < 0 ? -x : x }
		{ d = ($1 - $2) / $2; s += d; n++; if (abs(d) > each) { print "step " n ": " d; exit bad = 1 } }
		n % 25 == 0 { if (abs(s / 25) > mean) { print "steps to " n ": mean " s / 25; exit bad = 1 } s = 0 }
		END { exit bad || n != 100 }'
}
run() {  # PROGRAM SEED THREADS NAME: trains, leaves its losses
	"$1" $calm --seed "$2" -t "$3" --out "$tmp/run-$4" && losses "$tmp/run-$4" | cut -d' ' -f1 > "$tmp/loss-$4"
}
for p in f32 bf16; do
	check "tiny gpt2 builds in $p" "$sinter" build models/gpt2.sinter $tiny --precision $p -o "$tmp/gpt-$p"
	check "x86-64-v2 builds in $p" "$sinter" build models/gpt2.sinter $tiny --precision $p --target x86-64-v2 -o "$tmp/gpt-$p-v2"
done
check "x86-64-v3 builds in bf16" "$sinter" build models/gpt2.sinter $tiny --precision bf16 --target x86-64-v3 -o "$tmp/gpt-bf16-v3"
for seed in 7 8 9; do
	check "100 steps in f32, seed $seed" run "$tmp/gpt-f32" $seed 2 f32-$seed
	check "100 steps in f32 on x86-64-v2" run "$tmp/gpt-f32-v2" $seed 2 f32-v2-$seed
	check "this training amplifies no rounding" follows "$tmp/loss-f32-v2-$seed" "$tmp/loss-f32-$seed" 1e-6 1e-6
	for way in "" -v2 -v3; do
		check "100 steps in bf16${way/-/ on x86-64-}" run "$tmp/gpt-bf16$way" $seed 2 bf16$way-$seed
		check "bf16${way/-/ on x86-64-} follows f32's losses" follows "$tmp/loss-bf16$way-$seed" "$tmp/loss-f32-$seed" 9.8e-4 2.44e-4
	done
done
if cmp -s "$tmp/loss-bf16-7" "$tmp/loss-f32-7"; then bad "bf16 gives other losses than f32"; else ok "bf16 gives other losses than f32"; fi
if follows "$tmp/loss-f32-8" "$tmp/loss-f32-7" 9.8e-4 2.44e-4 > /dev/null; then bad "another seed is told apart"; else ok "another seed is told apart"; fi
for t in 1 3; do
	check "100 steps in bf16 on $t threads" run "$tmp/gpt-bf16" 7 $t bf16-7-$t
	check "$t threads give the bits of 2" cmp "$(model_of "$tmp/run-bf16-7-$t")" "$(model_of "$tmp/run-bf16-7")"
done
saved=$(head -c 4000 "$(model_of "$tmp/run-bf16-7")" | tr -d '\0')
case $saved in *BF16*) bad "a checkpoint holds f32 alone" ;; *F32*) ok "a checkpoint holds f32 alone" ;; *) bad "a checkpoint holds f32" ;; esac
check "an f32 build goes on from it" "$tmp/gpt-f32" eval -m "$tmp/run-bf16-7" --data "$corpus"
check "bf16 generates" "$tmp/gpt-bf16" generate -m "$tmp/run-bf16-7" -p "ab" -n 20
exits "info says so" 0 "precision: bf16 in contractions" "$tmp/gpt-bf16" info
exits "and of the other" 0 "precision: f32" "$tmp/gpt-f32" info
exits "a precision that is none" 1 "f32 or bf16 is wanted" "$sinter" build models/gpt2.sinter $tiny --set train.precision=f8 -o "$tmp/f8"
exits "nor by the flag" 2 "f32 bf16" "$sinter" build models/gpt2.sinter $tiny --precision f8 -o "$tmp/f8"
# What the file asks for is done where it is the faster: x86-64-v3 has no instruction for it.
exits "x86-64-v3 takes f32 in bf16's place, with a warning" 0 "W0501.*x86-64-v3.*conversion to f32.*train.*runs in f32" "$sinter" build models/gpt2.sinter $tiny --target x86-64-v3 --entry train -o "$tmp/gpt-file"
exits "and info says why" 0 "precision: f32 in place of bf16 .by conversion to f32, slower" "$tmp/gpt-file" info
exits "insisting on bf16 says what it costs" 0 "precision: bf16 .*by conversion to f32, slower" "$tmp/gpt-bf16-v3" info
said=$("$sinter" build models/gpt2.sinter $tiny --precision f32 --target x86-64-v3 --entry train -o "$tmp/gpt-file" 2>&1)
if [ -z "$said" ]; then ok "f32 asked for needs no warning"; else bad "f32 asked for needs no warning" "$said"; fi
