# Entries fed from safetensors files of named inputs: training, evaluation, inference, gradients, and what users get wrong.
tensors=$build/tools/tensors
put() { "$tensors" write "$tmp/$1.st" "${@:2}"; }   # NAME [TENSOR DTYPE SHAPE VALUES] ..
values() { "$tensors" print "$@" | sed -E 's/^[^]]*\] ?//'; }
check "two towers build" "$sinter" build tests/inputs/towers.sinter -o "$tmp/towers"
check "a line builds" "$sinter" build tests/inputs/line.sinter -o "$tmp/line"
towers=$tmp/towers line=$tmp/line
check "help has no flags of texts" sh -c "'$towers' train --help | grep -q -- ' --inputs ' && ! '$towers' train --help | grep -E -- ' --(data|valid|tokenizer|context) '"
put pairs tokens I64 8,12 rand:1:0:50 real BOOL 8,12 1,1,1,1,0 x F32 8,5 rand:2:-1:1
put others tokens U8 5,9 rand:9:0:50 real U8 5,9 1,1,0 x BF16 5,5 1,0.5,-0.25,2
put tests tokens I32 7,12 rand:1:0:50 real U8 7,12 1 x F64 7,5 0.5,-0.25,1,2 label I64 7 0,1,-100
put texts tokens I16 7,12 rand:1:0:50 real BOOL 7,12 1,1,1,1,0
put text tokens I16 1,12 rand:1:0:50 real BOOL 1,12 1,1,1,1,0

# by hand: predictions 1.25 -0.75 0.75 0.75, errors 1.25 -0.75 0.75 -0.25, loss their mean square
put points x F32 4,3 1,0,0,0,1,0,0,0,1,1,1,1 y F64 4 0,0,0,1
put weights w.weight F32 1,3 1,-1,0.5 w.bias F32 1 0.25
check "gradients leave as a file" "$line" train -i "$tmp/points.st" -m "$tmp/weights.st" --grads-out "$tmp/grads.st"
check "the loss is what it is by hand" test "$(values "$tmp/grads.st" loss)" = 0.6875
check "and the weight's gradient" test "$(values "$tmp/grads.st" grad.w.weight)" = "0.5 -0.5 0.25"
check "and the bias's" test "$(values "$tmp/grads.st" grad.w.bias)" = 0.5
put twice x F32 8,3 1,0,0,0,1,0,0,0,1,1,1,1 y F64 8 0,0,0,1
check "twice the examples in two calls" "$line" train -i "$tmp/twice.st" -m "$tmp/weights.st" --grads-out "$tmp/grads2.st"
check "have the same means" "$tensors" near "$tmp/grads2.st" "$tmp/grads.st" 1e-6
exits "eval weights by examples" 0 '^loss 0.687500  examples 4$' "$line" eval -m "$tmp/weights.st" -i "$tmp/points.st" -q
put x x F16 5,3 1,0,0,0,1,0,0,0,1,1,1,1,0,0,0
exits "infer prints JSON" 0 '^\{"result":\[1.25,-0.75,0.75,0.75,0.25\]\}$' "$line" predict -m "$tmp/weights.st" -i "$tmp/x.st" -q
one="train -i $tmp/points.st -m $tmp/weights.st --valid-fraction 0 --steps 1 --lr 0.1 -q"
check "a step of Adam" "$line" $one --weight-decay 100 --out "$tmp/adam"
check "has the decay in the gradient" sh -c "'$tensors' print $tmp/adam/last/model.safetensors w.weight | awk '{
	exit !(\$4 > 0.8999 && \$4 < 0.9001 && \$5 < -0.8999 && \$5 > -0.9001 && \$6 > 0.3999 && \$6 < 0.4001) }'"
check "and the average is a tenth old after one step" sh -c "'$tensors' print $tmp/adam/last/optimizer.safetensors ema.w.weight | awk '{
	exit !(\$4 > 0.90999 && \$4 < 0.91001 && \$5 < -0.90999 && \$6 > 0.40999 && \$6 < 0.41001) }'"
exits "another program has no averages" 2 "keeps no average" "$towers" train -i "$tmp/pairs.st" --ema 0.5 --steps 1 --out "$tmp/never"

feed="-i $tmp/pairs.st --valid-inputs $tmp/others.st"
for t in 1 3; do check "towers train on $t threads" "$towers" train $feed --steps 40 -t $t --out "$tmp/pairs-$t"; done
check "to the same bits" cmp "$tmp/pairs-1/last/model.safetensors" "$tmp/pairs-3/last/model.safetensors"
check "to a lower loss" sh -c "sed -nE 's/.*\"loss\":([^,]*),\"lr.*/\\1/p' $tmp/pairs-1/metrics.jsonl | awk '
	NR <= 5 { a += \$1 } NR > 35 { b += \$1 } END { exit !(NR == 40 && b < a) }'"
check "metrics.jsonl has the entry's metrics" test "$(grep -c '"metrics":{"acc":' "$tmp/pairs-1/metrics.jsonl")" = 48
check "13 steps" "$towers" train $feed --steps 13 -q --out "$tmp/pairs-13"
check "and 27 more" "$towers" train --resume "$tmp/pairs-13" --steps 40 -q
check "are 40 steps, bit by bit" cmp "$tmp/pairs-1/last/model.safetensors" "$tmp/pairs-13/last/model.safetensors"
check "with the moments" cmp "$tmp/pairs-1/last/optimizer.safetensors" "$tmp/pairs-13/last/optimizer.safetensors"
put pairs tokens I64 8,12 rand:7:0:50 real BOOL 8,12 1,1,1,1,0 x F32 8,5 rand:2:-1:1
exits "other data under the same name" 3 "not what this run began with" "$towers" train --resume "$tmp/pairs-13" --steps 41
put pairs tokens I64 8,12 rand:1:0:50 real BOOL 8,12 1,1,1,1,0 x F32 8,5 rand:2:-1:1
exits "early stopping" 0 "stopped early at step .*best validation loss" "$towers" train $feed --steps 5000 --patience 2 --out "$tmp/early"
exits "which stays stopped" 0 "nothing to do: 2 validations" "$towers" train --resume "$tmp/early"
exits "by a metric of another entry" 0 "best validation right" "$towers" train -i "$tmp/pairs.st" --valid-inputs "$tmp/tests.st" --best right --steps 10 --out "$tmp/right"
exits "of which there is none" 2 "did you mean right" "$towers" train $feed --best rihgt --steps 1 --out "$tmp/never"
exits "or whose inputs are missing" 2 "measured by the entry test" "$towers" train -i "$tmp/pairs.st" --best right --steps 1 --out "$tmp/never"
check "passes in place of steps" "$towers" train -i "$tmp/pairs.st" --valid-fraction 0 --epochs 3 -q --out "$tmp/passes"
check "are as many" test "$(grep -c '"loss"' "$tmp/passes/metrics.jsonl")" = 6

exits "eval prints loss and metrics" 0 '^loss [0-9.]+  acc [0-9.]+  examples 5$' "$towers" eval -m "$tmp/pairs-1" -i "$tmp/others.st"
exits "as JSON, too" 0 '^\{"loss":[0-9.]+,"acc":[0-9.]+,"examples":5\}$' "$towers" eval -m "$tmp/pairs-1" -i "$tmp/others.st" --json
exits "an eval entry of its own" 0 '^warm [-0-9.]+  right [-0-9.]+  examples 7$' "$towers" test -m "$tmp/pairs-1" -i "$tmp/tests.st"
check "infer writes a file" "$towers" encode -m "$tmp/pairs-1" -i "$tmp/texts.st" -o "$tmp/out.st"
check "of all examples, call by call" sh -c "'$tensors' print $tmp/out.st result | grep -q '^result F32 \\[7,8\\]'"
check "on 1 thread" "$towers" encode -m "$tmp/pairs-1" -i "$tmp/texts.st" -o "$tmp/out1.st" -t 1
check "with the same bits" cmp "$tmp/out.st" "$tmp/out1.st"
check "one example alone" "$towers" encode -m "$tmp/pairs-1" -i "$tmp/text.st" -o "$tmp/alone.st"
check "has the same result" sh -c "'$tensors' print $tmp/out.st | cut -d' ' -f4-11 > $tmp/first; '$tensors' print $tmp/alone.st | cut -d' ' -f4-11 | cmp - $tmp/first"
exits "a result of all examples together" 3 "build it with --set score.B=8" "$towers" score -m "$tmp/pairs-1" -i "$tmp/pairs.st"
put four tokens I64 4,12 rand:1:0:50 real BOOL 4,12 1 x F32 4,5 rand:2:-1:1
exits "of as many as fit" 0 '^\{"result":\[\[[^]]*\],\[[^]]*\],\[[^]]*\],\[[^]]*\]\]\}$' "$towers" score --random -i "$tmp/four.st" -q
exits "results on a full disk" 1 "No space left" "$towers" encode --random -i "$tmp/texts.st" -o /dev/full
exits "results where no directory is" 1 "none/out.st" "$towers" encode --random -i "$tmp/texts.st" -o "$tmp/none/out.st"
check "random weights as a checkpoint" "$towers" init --out "$tmp/init" --seed 3
exits "are those of --random" 0 "" "$towers" encode --random --seed 3 -i "$tmp/texts.st" -o "$tmp/random.st"
check "which load" "$towers" encode -m "$tmp/init" -i "$tmp/texts.st" -o "$tmp/loaded.st"
check "with the same results" cmp "$tmp/random.st" "$tmp/loaded.st"
exits "help lists the inputs" 0 'tokens +i32\[B,T\] +ids from 0 to 49' "$towers" encode --help
exits "and their bounds" 0 'B: examples, 3 a call; T: at most 12' "$towers" encode --help
exits "info has them as JSON" 0 '"ids_below": 50' "$towers" info --json

# what does not fit: data are exit code 3 and named with their place, usage is 2
misfit() {  # PATTERN [TENSOR DTYPE SHAPE VALUES] ..
	put misfit "${@:2}"
	exits "misfit: $1" 3 "$1" "$towers" train -i "$tmp/misfit.st" --steps 1 --out "$tmp/never"
}
tokens="tokens I32 4,12 1" real="real BOOL 4,12 1" x="x F32 4,5 1"
misfit 'x: not in the file' $tokens $real
misfit 'tokens: not in the file; .*nearest: tokenz' tokenz I32 4,12 1 $real $x
misfit 'tokenz: train has no such input; nearest: tokens' tokenz I32 4,12 1 $real $x
misfit 'more: train has no such input' $tokens $real $x more F32 1 1
misfit 'tokens: dtype F32; wanted is i32' tokens F32 4,12 1 $real $x
misfit 'x: dtype I32; wanted is f32' $tokens $real x I32 4,5 1
misfit 'real: dtype I64; wanted is bool' $tokens real I64 4,12 1 $x
misfit 'x: the file has \[4,5,1\], wanted is x f32\[B,5\]: another number of axes' $tokens $real x F32 4,5,1 1
misfit 'axis 1 is 6, not 5' $tokens $real x F32 4,6 1
misfit 'T is 11 here and 12 in tokens' $tokens real BOOL 4,11 1 $x
misfit 'B is 3 here and 4 in tokens' $tokens $real x F32 3,5 1
misfit 'T is 13; .*--set train.T=13' tokens I32 4,13 1 real BOOL 4,13 1 $x
misfit 'with B at least 1' tokens I32 0,12 1 real BOOL 0,12 1 x F32 0,5 1
misfit 'tokens\[0,3\] is 50: not an id from 0 to 49$' tokens I32 4,12 1,2,3,50 $real $x
misfit 'tokens\[3,11\] is -100: not an id' tokens I64 4,12 "$(printf '1,%.0s' $(seq 47))-100" $real $x
misfit 'tokens\[0,0\] is 8589934592' tokens I64 4,12 8589934592 $real $x
misfit 'real\[0,1\] is 2: neither 0 nor 1' $tokens real U8 4,12 1,2 $x
put labels tokens I32 2,12 1 real U8 2,12 1 x F32 2,5 1 label I32 2 0,-1
exits "ignored labels are -100 alone" 3 'label\[1\] is -1: not an id from 0 to 3, nor -100' "$towers" test --random -i "$tmp/labels.st"
put nans tokens I32 4,12 1 real BOOL 4,12 1 x F32 4,5 nan
exits "NaN is data" 0 'null' "$towers" score --random -i "$tmp/nans.st"
lie() { "$tensors" raw "$tmp/lie.st" "$2" "$3" "$4"; exits "a file that lies: $1" 3 "lie.st" "$line" predict --random -i "$tmp/lie.st"; }
header='{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
lie "cut short" ${#header} "$header" 23
lie "bytes behind" ${#header} "$header" 25
lie "a header beyond the file" 9223372036854775807 "$header" 24
lie "a header beyond 2^63" 18446744073709551615 "$header" 24
past='{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[999976,1000000]}}'
overlap='{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"y":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}}'
huge='{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,24]}}'
lie "offsets past the end" ${#past} "$past" 24
lie "an overlap" ${#overlap} "$overlap" 24
lie "a shape that overflows" ${#huge} "$huge" 24
check "and one that does not" "$tensors" raw "$tmp/lie.st" ${#header} "$header" 24
exits "is taken" 0 '"result":\[' "$line" predict --random -i "$tmp/lie.st"
exits "no file" 3 "nowhere.st" "$line" predict --random -i nowhere.st
exits "neither text nor inputs" 2 'give --inputs FILE with tokens i32\[B,T\], real bool\[B,T\], x f32\[B,5\]' "$towers" train --steps 1 --out "$tmp/never"
exits "both" 2 "exclude each other" "$towers" train -i "$tmp/pairs.st" --data "$corpus" --steps 1 --out "$tmp/never"
exits "a text to validate on" 2 "goes with --valid-inputs" "$towers" train -i "$tmp/pairs.st" --valid "$corpus" --steps 1 --out "$tmp/never"
exits "more in a step than in the file" 3 "give a smaller --batch" "$towers" train -i "$tmp/four.st" --batch 8 --steps 1 --out "$tmp/never"
exits "a context for inputs" 2 "for texts" "$towers" eval --random -i "$tmp/pairs.st" --context 4
exits "gradients of no inputs" 2 "wants --inputs" "$towers" train --grads-out "$tmp/never"

# the reference models at small sizes: what has a train entry learns, what has others runs
small() { check "$1 builds" "$sinter" build "models/$1.sinter" "${@:2}" -o "$tmp/$1"; }   # MODEL --set ..
learns() {  # MODEL FEED: the loss falls
	check "$1 trains" "$tmp/$1" train -q $2 --steps 30 --lr 3e-3 --warmup 1 --save-every 0 --validate-every 0 --out "$tmp/run-$1"
	check "$1 learns" sh -c "sed -nE 's/.*\"loss\":([^,]*),\"lr.*/\\1/p' $tmp/run-$1/metrics.jsonl | awk '
		NR <= 5 { a += \$1 } NR > 25 { b += \$1 } END { exit !(NR == 30 && b < a) }'"
}
small bert --set V=101 --set N=16 --set D=24 --set F=40 --set H=2 --set L=2 --set p=0.0 --set train.batch=6 --set train.micro=3 --set train.T=12
put bert tokens I64 8,12 rand:1:0:101 segment I64 8,12 0,0,1 real BOOL 8,12 1,1,1,1,1,0 masked I64 8,12 -100,5,-100,-100 follows I64 8 0,1
put fill tokens I64 5,16 rand:1:0:101 segment I64 5,16 0,0,1 real BOOL 5,16 1 masks I64 5,3 2,0,15
learns bert "-i $tmp/bert.st"
exits "bert has two metrics" 0 'mlm_acc [0-9.]+  nsp_loss' "$tmp/bert" eval -m "$tmp/run-bert" -i "$tmp/bert.st"
check "bert fills" "$tmp/bert" fill -m "$tmp/run-bert" -i "$tmp/fill.st" -o "$tmp/filled.st"
check "with the five likeliest" sh -c "'$tensors' print $tmp/filled.st | grep -q '^result.0 I32 \\[5,3,5\\]'"
small vit --set I=16 --set P=4 --set D=24 --set F=40 --set H=2 --set L=2 --set Y=7 --set train.batch=6 --set train.micro=3
put vit pixels F32 12,3,16,16 rand:1:-1:1 label I64 12 0,1,2,3,4,5,6
put pixels pixels F16 12,3,16,16 0.5,-0.25,1,-1
exits "vit's images" 2 'data source `images` is not in this version: give --inputs FILE' "$tmp/vit" train --steps 1 --out "$tmp/never"
learns vit "-i $tmp/vit.st"
check "vit keeps the averages" test -e "$tmp/run-vit/best/model.safetensors"
exits "vit classifies" 0 '"result.0":\[\[' "$tmp/vit" classify -m "$tmp/run-vit" -i "$tmp/pixels.st"
small sasrec --set I=50 --set N=12 --set D=16 --set H=2 --set train.batch=8
put items items I64 20,12 rand:1:1:50 next I64 20,12 rand:2:1:50
put targets items I64 10,12 rand:1:1:50 target I64 10 rand:2:1:50
put liked items I64 10,12 rand:1:1:50
learns sasrec "-i $tmp/items.st"
exits "sasrec stops by ndcg10 of its eval entry" 0 'stopped early .*best validation ndcg10' "$tmp/sasrec" train -i "$tmp/items.st" --valid-inputs "$tmp/targets.st" \
	--steps 2000 --patience 3 --validate-every 10 --out "$tmp/ndcg"
exits "sasrec is evaluated" 0 '^hr10 [0-9.]+  ndcg10 [0-9.]+  examples 10$' "$tmp/sasrec" eval -m "$tmp/ndcg" -i "$tmp/targets.st"
exits "sasrec recommends" 0 '"result.1":\[\[' "$tmp/sasrec" recommend -m "$tmp/ndcg" -i "$tmp/liked.st"
small clip --set V=60 --set N=8 --set X=16 --set XH=2 --set XL=1 --set I=16 --set P=8 --set Y=16 --set YH=2 --set YL=1 --set E=8 --set train.batch=6
put clip pixels F32 12,3,16,16 rand:1:-1:1 tokens I64 12,8 rand:1:0:60
learns clip "-i $tmp/clip.st"
check "clip's weights under the name with the typo" sh -c "LC_ALL=C sed 's/\"vision_model.pre_layernorm.\([a-z]*\)\":/\"vision_model.pre_layrnorm.\1\": /g' \
	$tmp/run-clip/last/model.safetensors > $tmp/typo.st && grep -aq pre_layrnorm.weight $tmp/typo.st && ! grep -aq pre_layernorm $tmp/typo.st"
exits "are renamed" 0 "2 of the file's renamed" "$tmp/clip" eval -m "$tmp/typo.st" -i "$tmp/clip.st"
