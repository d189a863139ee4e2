# The same model for AArch64, run under an emulator: its losses, its bits on any number of threads, files that both machines
# read, generated text; and what is said where a part is missing.
arm() { qemu-aarch64 -L /usr/aarch64-linux-gnu "$@"; }
a64() { "$sinter" build models/gpt2.sinter $tiny --precision f32 --target aarch64 "$@"; }
check "aarch64 objects need no other tool" env PATH= "$sinter" build models/gpt2.sinter $tiny --target aarch64 --emit=obj -o "$tmp/a64.o"
check "they are for that machine" sh -c "od -An -tx2 -j18 -N2 '$tmp/a64.o' | grep -qx ' 00b7'"
a64 --emit=asm -o "$tmp/a64.s" 2> /dev/null
check "a tile's multiply-adds take lanes: 96 in four steps" sh -c "awk '/^sn_tile8x12:/,/^\tret/' '$tmp/a64.s' | awk '/^\.L/ { n = 0 } /fmla\tv[0-9]+.4s, v[0-9]+.4s, v[0-9]+.s\[/ { n++ } n > most { most = n } END { exit most != 96 }'"
if [ -e "$build/libsinter_rt-aarch64.a" ]; then
	exits "without the cross compiler" 1 "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" env PATH= "$sinter" build models/gpt2.sinter $tiny --target aarch64 -o "$tmp/a64"
	check "aarch64 builds" a64 -o "$tmp/gpt-a64"
	check "and statically" a64 --static -o "$tmp/gpt-a64-static"
fi
mkdir -p "$tmp/elsewhere" && cp "$sinter" "$tmp/elsewhere/"
exits "without its runtime" 1 "\`make aarch64\` in Sinter's sources" "$tmp/elsewhere/sinter" build models/gpt2.sinter $tiny --target aarch64 -o "$tmp/a64"
if [ -e "$tmp/gpt-a64" ] && command -v qemu-aarch64 > /dev/null; then
	head -c 6000 "$corpus" > "$tmp/few.txt"
	few="train --tokenizer byte --data $tmp/few.txt --warmup 10 --lr 3e-3 --steps 20 --seed 7"
	for t in 1 2 16; do
		check "20 steps on $t threads of an aarch64" arm "$tmp/gpt-a64" $few -t $t --out "$tmp/run-a64-$t"
		losses "$tmp/run-a64-$t" > "$tmp/loss-a64-$t"
	done
	"$tmp/gpt-f32" $few --out "$tmp/run-both" > /dev/null 2>&1
	losses "$tmp/run-both" > "$tmp/loss-a64-native"
	check "follow the native losses" sh -c "paste $tmp/loss-a64-2 $tmp/loss-a64-native | awk '{d=(\$1-\$3)/\$3; if (d<0) d=-d; if (d>1e-5) exit 1; n++} END{exit n!=20}'"
	for t in 2 16; do
		check "$t threads give the bits of 1" cmp "$tmp/loss-a64-1" "$tmp/loss-a64-$t"
		check "and the same weights" cmp "$(model_of "$tmp/run-a64-1")" "$(model_of "$tmp/run-a64-$t")"
	done
	check "a run begun elsewhere goes on here" arm "$tmp/gpt-a64" train --resume "$tmp/run-both" --data "$tmp/few.txt" --steps 24
	check "and back" "$tmp/gpt-f32" train --resume "$tmp/run-both" --data "$tmp/few.txt" --steps 28
	a64gen="generate -m $tmp/run1 -p static -n 40 --seed 5 --temp 0.9 --top-k 20"
	"$tmp/gpt-f32" $a64gen > "$tmp/text-native" 2> /dev/null
	arm "$tmp/gpt-a64" $a64gen > "$tmp/text-a64" 2> /dev/null
	qemu-aarch64 "$tmp/gpt-a64-static" $a64gen > "$tmp/text-a64-static" 2> /dev/null
	check "the same text" cmp "$tmp/text-native" "$tmp/text-a64"
	check "from a static program, too" cmp "$tmp/text-native" "$tmp/text-a64-static"
else
	printf '  skip  %s\n' "aarch64 programs run: no cross compiler or no qemu-aarch64 here (make deps-aarch64 installs them)"
fi
