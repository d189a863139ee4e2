# What users get wrong: each case ends in one message and its exit code, and nothing of theirs is lost.
small=tests/models/two_heads.sinter
check "two heads build" "$sinter" build $small -o "$tmp/heads"
cp $small "$tmp/own.sinter"
exits "the output is not the model file" 1 "it is the model file" "$sinter" build "$tmp/own.sinter" -o "$tmp/own.sinter"
check "which is as it was" cmp $small "$tmp/own.sinter"
exits "an output without a name" 1 "a file's name is wanted" "$sinter" build $small -o ""
exits "an output that is a directory" 1 "it is a directory" "$sinter" build $small -o "$tmp"
exits "an executable on a full disk" 1 "No space left" "$sinter" build $small -o /dev/full
exits "a graph on a full disk" 1 "No space left" "$sinter" build $small --emit=graph -o /dev/full
check "the device is still one" test -c /dev/full
ln -sf target "$tmp/link"; touch "$tmp/target"
check "a link's target is written" sh -c "'$sinter' build $small --emit=graph -o $tmp/link && test -L $tmp/link -a -s $tmp/target"
check "names that look like options" sh -c "cd $tmp && cp own.sinter ./-o.sinter && '$sinter' build -- -o.sinter && ./-o info"
check "names that look like files of options" sh -c "cd $tmp && '$sinter' build own.sinter -o @own && test -x @own"
echo 'dim B' > "$tmp/none.sinter"
exits "a file without entries" 1 "nothing to compile" "$sinter" build "$tmp/none.sinter"
exits "more than any memory" 1 "more than any memory" "$sinter" build $small --set N=2000000000 --set train.micro=2000000000 --set train.T=2000000000
exits "a rate that is no number" 1 "a number of 0 or more" "$sinter" build $small --set train.optimizer.lr=nan
exits "a decay of 1" 1 "below 1" "$sinter" build $small --set train.optimizer.beta2=1
echo '[768]' > "$tmp/list.json"
exits "a config that is no object" 1 "an object is wanted" "$sinter" build models/gpt2.sinter --config "$tmp/list.json"
exits "a config that is a directory" 1 "is a directory" "$sinter" build models/gpt2.sinter --config "$tmp"
exits "an entry without a name" 2 "name is empty" "$sinter" build $small --entry ''
exits "a batch of no whole passes" 1 "train.batch=5 is not a multiple" "$sinter" build $small --set train.batch=5
exits "no compiler to link with" 1 "apt install gcc" env PATH=/nonexistent "$sinter" build $small -o "$tmp/unlinked"

quick="train -q --tokenizer byte --data $corpus --eval-batches 1 --steps 2"
for bad in "--beta1 1" "--eps 0" "--lr nan" "--lr -1" "--steps 1.5" "--seed 4294967296" "--data=" "--batch 4" "--context 20" "-t 0" "--warmup"; do
	exits "train $bad" 2 "^heads: " "$tmp/heads" $quick --out "$tmp/never" $bad
done
printf a > "$tmp/one-byte"
for bad in "--data $tmp/one-byte" "--data /" "--data /dev/null" "--valid /none" "--tokenizer $tmp/list.json" "-m $corpus" "-m /none" "--valid-fraction 1"; do
	exits "train ${bad//$tmp\//}" 3 "^heads: " "$tmp/heads" $quick --out "$tmp/never" $bad
done
check "a run that never began leaves no directory" test ! -e "$tmp/never"
exits "a tokenizer that is not there" 3 "takes byte, char or a file" "$tmp/heads" $quick --out "$tmp/never" --tokenizer "$tmp/no-such"
exits "a run's directory that can't be made" 1 "/proc/none" "$tmp/heads" $quick --out /proc/none
exits "more threads than memory" 1 "of memory" "$tmp/heads" $quick --out "$tmp/never" -t 100000000

# a directory of one's own: only checkpoints are ever removed from it
mkdir -p "$tmp/mine/best-of-all" "$tmp/mine/ckpt-notes"; touch "$tmp/mine/best-of-all/kept" "$tmp/mine/ckpt-notes/kept"
check "training in a directory with other files" "$tmp/heads" $quick --validate-every 1 --save-every 1 --out "$tmp/mine"
check "leaves them alone" test -e "$tmp/mine/best-of-all/kept" -a -e "$tmp/mine/ckpt-notes/kept"
check "and one checkpoint" test "$(ls -d "$tmp"/mine/ckpt-0* | wc -l)" = 1
exits "generation reads what only training added to" 0 "" "$tmp/heads" generate -m "$tmp/mine" -p "int" -n 4
exits "a run is not begun anew" 2 "holds a run already" "$tmp/heads" $quick --out "$tmp/mine"
check "trains with every stream closed" sh -c "exec '$tmp/heads' $quick --out $tmp/closed <&- >&- 2>&-"
check "and metrics.jsonl holds objects alone" sh -c "! grep -v '^{.*}$' $tmp/closed/metrics.jsonl"
for what in info --help "train --help" "eval -m $tmp/mine --data $corpus --eval-batches 1" "generate -m $tmp/mine -p int -n 4"; do
	exits "a full disk: ${what%% -m*}" 1 "standard output" sh -c "'$tmp/heads' $what > /dev/full"
done
exits "a reader that leaves ends it" 0 "" sh -c "'$tmp/heads' info --tensors | head -n 1"

# a checkpoint cut short anywhere, or with bits turned over in a header: bad data, never a crash
damaged() {  # FILE EXPRESSION: an expression of head or printf that writes a damaged copy from $from
	local name=$1 from=$tmp/mine/last/$1; shift
	rm -rf "$tmp/damaged"; cp -a "$tmp/mine" "$tmp/damaged"
	eval "$*" > "$tmp/damaged/last/$name"
	exits "resume from $name: ${*/ \"\$from\"/}" 3 "^heads: " "$tmp/heads" train -q --resume "$tmp/damaged" --steps 3
}
for name in model.safetensors optimizer.safetensors; do
	for n in 0 7 8 9 500 -1; do damaged $name head -c $n '"$from"'; done
	damaged $name "printf '\\377\\377\\377\\377\\377\\377\\377\\177'; tail -c +9" '"$from"'
	damaged $name "head -c 10" '"$from"' "; printf '\\377'; tail -c +12" '"$from"'
	damaged $name "head -c -3" '"$from"' "; tail -c 3" '"$from"' "| tr '\\000-\\377' '\\001-\\377\\000'"
done
for n in 0 1 20; do damaged state.json head -c $n '"$from"'; done
for digit in step data seconds sum; do damaged state.json "sed '/\"$digit\"/y/0123456789/1234567890/'" '"$from"'; done
exits "and an undamaged copy resumes" 0 "" sh -c "cp -a $tmp/mine $tmp/whole && '$tmp/heads' train -q --resume $tmp/whole --steps 3"
cp -a "$tmp/mine" "$tmp/flipped"
{ head -c -3; tail -c 3 "$tmp/mine/best/model.safetensors" | tr '\000-\377' '\001-\377\000'; } < "$tmp/mine/best/model.safetensors" > "$tmp/flipped/best/model.safetensors"
for what in "generate -p int -n 4" "eval --data $corpus"; do
	exits "${what%% *} from a weight turned over" 3 "model.safetensors: damaged" "$tmp/heads" $what -m "$tmp/flipped"
done
exits "random weights and a run's" 2 "exclude each other" "$tmp/heads" generate -m "$tmp/mine" --random -p int
exits "eval of a batch that training refuses" 2 "not a multiple" "$tmp/heads" eval -m "$tmp/mine" --data "$corpus" --batch 7

# a file that is called like a built-in tokenizer stands in nobody's way
mkdir "$tmp/names"; echo '{}' > "$tmp/names/byte"; echo '{}' > "$tmp/names/char"
for name in byte char; do
	check "the $name tokenizer beside a file '$name'" sh -c "cd $tmp/names && '$tmp/heads' ${quick/byte/$name} --out run-$name"
	check "which resumes" sh -c "cd $tmp/names && '$tmp/heads' train -q --resume run-$name --steps 3"
	check "and is remembered by its name" grep -q '"data.tokenizer": "'$name'"' "$tmp/names/run-$name/last/state.json"
done
for text in "" "{" "{}" '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}'; do
	printf '%s' "$text" > "$tmp/mine/best/tokenizer.json"
	exits "generate with the tokenizer.json '$text'" 3 "tokenizer.json" "$tmp/heads" generate -m "$tmp/mine" -p int
done
