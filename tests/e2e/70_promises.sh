# Smaller promises of the produced executables, and of an installed compiler.
promised="--set V=256 --set N=32 --set D=24 --set H=2 --set L=1 --set p=0 --set train.T=16 --set train.batch=6 --entry train"

# Where all windows are alike, two micro-batches of 3 are one of 6: the same losses and gradient norms within rounding.
printf 'a%.0s' $(seq 3000) > "$tmp/alike.txt"
for micro in 3 6; do
	check "micro-batches of $micro build" "$sinter" build models/gpt2.sinter $promised --set train.micro=$micro -o "$tmp/micro$micro"
	check "and train" "$tmp/micro$micro" train -q --tokenizer byte --data "$tmp/alike.txt" --steps 10 --warmup 1 --lr 1e-3 --seed 3 --out "$tmp/run-micro$micro"
	losses "$tmp/run-micro$micro" > "$tmp/loss-micro$micro"
done
check "gradients accumulate over micro-batches" sh -c "paste $tmp/loss-micro3 $tmp/loss-micro6 | awk '
	function far(a, b) { return (a > b ? a - b : b - a) > 1e-4 * b }
	far(\$1, \$3) || far(\$2, \$4) { exit 1 } END { exit NR != 10 }'"

# Whoever learns that all is "a" is ever worse at "b": the best is the first that was validated, and it is kept.
tr a b < "$tmp/alike.txt" > "$tmp/other.txt"
check "validates on another text" "$tmp/micro6" train -q --tokenizer byte --data "$tmp/alike.txt" --valid "$tmp/other.txt" --steps 60 --warmup 1 --lr 1e-3 \
	--validate-every 10 --save-every 10 --eval-batches 4 --out "$tmp/run-best"
exits "the best is another than the last" 0 "best-0*10\$" readlink "$tmp/run-best/best"
check "and the first of the validated" sh -c "sed -nE 's/.*\"val_loss\": ?([^,}]*).*/\\1/p' $tmp/run-best/metrics.jsonl | awk '
	NR == 1 { first = \$1 } \$1 < first { exit 1 } END { exit NR != 6 }'"

exits "--help has the model's doc string" 0 "Radford et al., 2019" "$tmp/micro6" --help
exits "and its config's" 0 "longest context" "$tmp/micro6" --help
exits "train --help has the values of the model file" 0 "peak learning rate.*\[0.0006\]" "$tmp/micro6" train --help

# An installed compiler works from anywhere, and goes without a trace.
check "make install" make BUILD="$build" install DESTDIR="$tmp/root" PREFIX=/opt/sinter
mkdir "$tmp/elsewhere"
check "the installed compiler builds a model elsewhere" sh -c "cd $tmp/elsewhere && $tmp/root/opt/sinter/bin/sinter build \
	$tmp/root/opt/sinter/share/sinter/models/gpt2.sinter $promised && ./gpt2 info"
check "make uninstall" make BUILD="$build" uninstall DESTDIR="$tmp/root" PREFIX=/opt/sinter
check "leaves no file" test -z "$(find "$tmp/root" -type f)"
