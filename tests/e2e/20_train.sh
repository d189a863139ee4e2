# Training: the same bits on any number of threads, after a kill, after Ctrl-C.
"$sinter" build models/gpt2.sinter $tiny -o "$tmp/gpt" || bad "tiny gpt2 builds"
for t in 1 2 3 5 8 16; do
	check "100 steps on $t threads" "$tmp/gpt" $train --steps 100 --seed 7 -t $t --out "$tmp/run$t"
	losses "$tmp/run$t" > "$tmp/loss$t"
done
if [ "$(wc -l < "$tmp/loss1")" = 100 ]; then ok "100 losses are logged"; else bad "$(wc -l < "$tmp/loss1") losses logged"; fi
model_of() { find "$1/" -name model.safetensors -path "*${2:-}*" | sort | tail -n 1; }
for t in 2 3 5 8 16; do
	check "$t threads give the bits of 1" cmp "$tmp/loss1" "$tmp/loss$t"
	check "and the same weights" cmp "$(model_of "$tmp/run1")" "$(model_of "$tmp/run$t")"
done
first=$(head -n 1 "$tmp/loss1" | cut -d' ' -f1); last=$(tail -n 1 "$tmp/loss1" | cut -d' ' -f1)
check "the first loss is ln 256 within 3%" awk "BEGIN{exit !($first > 5.38 && $first < 5.71)}"
check "the loss falls ($first to $last)" awk "BEGIN{exit !($last < $first - 1.5)}"
check "loss.svg is drawn" grep -q '<svg' "$tmp/run1/loss.svg"

# killed at any instant: SIGKILL somewhere after the first checkpoint, then resumed. How long a step takes depends on the
# machine, so the instant is counted in logged steps.
reaches() {  # RUN STEPS PID: waits until the run has logged so many steps, or has ended
	while kill -0 "$3" 2> /dev/null; do
		[ "$( { wc -l < "$1/metrics.jsonl"; } 2> /dev/null || echo 0)" -lt "$2" ] || return
		sleep 0.005
	done
}
killed=0
for steps in 42 60 85; do
	"$tmp/gpt" $train --steps 100 --seed 7 --out "$tmp/killed" > /dev/null 2>&1 &
	pid=$!; reaches "$tmp/killed" $steps $pid; kill -9 $pid 2> /dev/null && killed=$((killed+1)); wait $pid 2> /dev/null
	if [ -e "$tmp/killed/state.json" ] || find "$tmp/killed" -name state.json 2> /dev/null | grep -q .; then
		"$tmp/gpt" train --resume "$tmp/killed" --data "$corpus" --steps 100 > "$tmp/out" 2>&1 || bad "resume after $steps steps" "$(tail -n 3 "$tmp/out")"
		losses "$tmp/killed" | tail -n 5 > "$tmp/tail"
		check "killed after $steps steps and resumed: the same bits" cmp "$(model_of "$tmp/run1")" "$(model_of "$tmp/killed")"
	fi
	rm -rf "$tmp/killed"
done
[ $killed -gt 0 ] && ok "killed in mid-training $killed times" || bad "no kill hit a running training"

# Ctrl-C saves and exits with 130
"$tmp/gpt" $train --steps 100000 --seed 7 --out "$tmp/int" > "$tmp/out" 2>&1 &
pid=$!; sleep 1; kill -INT $pid; wait $pid; code=$?
if [ $code = 130 ]; then ok "Ctrl-C exits with 130"; else bad "Ctrl-C exits with $code" "$(tail -n 3 "$tmp/out")"; fi
at=$(wc -l < "$tmp/int/metrics.jsonl")
exits "and what it saved resumes" 0 "" "$tmp/gpt" train --resume "$tmp/int" --data "$corpus" --steps $((at + 50))

exits "eval" 0 "perplexity" "$tmp/gpt" eval -m "$tmp/run1" --data "$corpus"
check "one perplexity, e to the loss over all batches" sh -c "'$tmp/gpt' eval -q -m $tmp/run1 --data $corpus | awk '{ print; exit gsub(/perplexity/, \"&\") != 1 || (\$4 / exp(\$2) - 1) ^ 2 > 1e-8 }'"
check "--profile leaves the result as it is" sh -c "'$tmp/gpt' eval -q -m $tmp/run1 --data $corpus > $tmp/plain && '$tmp/gpt' eval -q -m $tmp/run1 --data $corpus --profile 2> $tmp/profile | cmp - $tmp/plain"
check "its shares make a whole, its launches those of a call" awk '/ calls? of / { n++; want = $10 } /^ +[0-9.]+% / { s += $1; l += $3 }
	END { print n, s, l, want; exit n != 1 || s < 99 || s > 101 || l != want || !want }' "$tmp/profile"
exits "info" 0 "parameters" "$tmp/gpt" info
exits "help names the model's settings" 0 "--lr" "$tmp/gpt" train --help
exits "an unknown flag" 2 "did you mean" "$tmp/gpt" train --stepz 3
for other in train:learning-rate:lr train:learning_rate=1:lr train:batch_size:batch train:max_steps:steps train:model:weights eval:checkpoint:weights \
	generate:max-tokens:tokens generate:max-new-tokens:tokens generate:temperature:temp generate:limit:tokens generate:model:weights; do
	IFS=: read -r command word flag <<< "$other"
	exits "--$word of $command" 2 "unknown flag --${word%=*}; did you mean --$flag\\?" "$tmp/gpt" "$command" "--$word"
done
exits "eval without data says what to give" 3 "the model file's text .* is not here: give another with --data FILE" sh -c "cd '$tmp' && ./gpt eval -m run1"
exits "a flag that is fixed when compiling" 2 "is fixed when the program is compiled: sinter build MODEL --set D=" "$tmp/gpt" train --D 5
exits "a bound that is fixed when compiling" 2 "--set train.T=" "$tmp/gpt" train --T 5
exits "a missing data file" 3 "no-such" "$tmp/gpt" train --data no-such.txt --tokenizer byte
exits "llama trains" 0 "" "$tmp/llama" train --tokenizer byte --data "$corpus" --steps 20 --out "$tmp/llama-run"

# logits in chunks of rows: the same bits on any number of threads, kept up over micro-batches, and the losses of whole logits
wide="--set V=20000 --set N=300 --set D=16 --set H=1 --set L=1 --set p=0 --set train.micro=4 --set train.batch=8 --set train.T=300 --entry train"
wide_train="train --tokenizer byte --data $corpus --steps 4 --seed 5 --lr 1e-2 --warmup 0 --validate-every 2 --save-every 0"
"$sinter" build models/gpt2.sinter $wide -o "$tmp/chunks" || bad "a wide gpt2 builds"
"$sinter" build models/gpt2.sinter $wide --without=chunk -o "$tmp/unchunked" || bad "it builds without chunks"
for t in 1 2 3; do
	check "a head in chunks on $t threads" "$tmp/chunks" $wide_train -t $t --out "$tmp/chunks$t"
done
check "a head whole" "$tmp/unchunked" $wide_train -t 2 --out "$tmp/unchunked.run"
check "chunks: 2 threads give the bits of 1" cmp "$(model_of "$tmp/chunks1")" "$(model_of "$tmp/chunks2")"
check "chunks: 3 threads give the bits of 1" cmp "$(model_of "$tmp/chunks1")" "$(model_of "$tmp/chunks3")"
losses "$tmp/chunks1" > "$tmp/loss.chunks"; losses "$tmp/unchunked.run" > "$tmp/loss.whole"
check "chunks: the losses of whole logits" awk '{ getline w < "'"$tmp/loss.whole"'"; split(w, x, " "); d = $1 - x[1]; if (d < 0) d = -d; if (d > 1e-4) bad = 1; n++ } END { exit bad || n != 4 }' "$tmp/loss.chunks"
