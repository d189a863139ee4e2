# Checkpoints of others: GGUF, llama2.c and directories of safetensors give one text; import, export, --weights and --embed; what is
# refused, and that nothing half-written stays.
data=${SINTER_TEST_DATA:-../shared/data} stories=${SINTER_TEST_DATA:-../shared/data}/stories260K
mkdir "$tmp/ck"; ck=$tmp/ck
if [ -d "$stories" ]; then
	check "imports llama2.c's file" "$sinter" import "$stories/stories260K.bin" --tokenizer "$stories/tok512.bin" -o "$ck/bin"
	check "imports the same weights as GGUF" "$sinter" import "$stories/stories260K.gguf" -o "$ck/gguf"
	check "which are the same bytes" cmp "$ck/bin/model.safetensors" "$ck/gguf/model.safetensors"
	check "and the same tokenizer" cmp "$ck/bin/tokenizer.json" "$ck/gguf/tokenizer.json"
	check "exports it" "$sinter" export "$ck/bin" -o "$ck/again.gguf"
	check "imports the export" "$sinter" import "$ck/again.gguf" -o "$ck/again"
	for file in model.safetensors config.json tokenizer.json; do check "whose $file is the first's" cmp "$ck/bin/$file" "$ck/again/$file"; done
	check "llama builds with --config" "$sinter" build models/llama.sinter --config "$ck/bin/config.json" --precision f32 \
		--set train.batch=4 --set train.micro=4 --set train.T=128 -o "$ck/llama"
	for form in bin gguf again; do
		for t in 1 2; do
			"$ck/llama" generate -m "$ck/$form" -p "" --temp 0 -n 200 -t $t -q 2> "$ck/err" | head -c -1 > "$ck/text"
			check "$form writes llama2.c's story, $t threads" cmp "$stories/expected-greedy-200.txt" "$ck/text"
		done
		"$ck/llama" eval -m "$ck/$form" --data "$stories/expected-greedy-200.txt" --context 32 --json > "$ck/eval-$form" 2> "$ck/err"
	done
	{ cat models/llama.sinter; cat << 'END'

eval held(tokens: id(V)[B,T+1]) {
  data  text("held.txt", tokenizer="tokenizer.json")
  loss  cross_entropy(Llama(tokens[:, :-1]), tokens[:, 1:])
  batch 4, micro=4, T=64
}
END
	} > "$ck/held.sinter"
	head -c 30000 "$data/text/tinyshakespeare.txt" > "$ck/held.txt"
	for form in f32 q8_0 q4_0; do
		blocks=""; [ $form = f32 ] || blocks="--quantize $form"
		check "an eval entry in $form" "$sinter" build "$ck/held.sinter" --config "$ck/bin/config.json" --precision f32 $blocks -e held -o "$ck/held-$form"
		"$ck/held-$form" held -m "$ck/bin" --data "$ck/held.txt" --json 2> "$ck/err" | sed -nE 's/.*"loss": ?([0-9.]+).*/\1/p' > "$ck/loss-$form"
	done
	off() { awk -v at="$(cat "$ck/loss-f32")" -v now="$(cat "$ck/loss-$1")" 'BEGIN { printf "%.4f", exp(now - at) - 1 }'; }
	check "perplexity of q8_0 is $(off q8_0) off that of f32, less than 1%" awk -v x="$(off q8_0)" 'BEGIN { exit !(x != 0 && x < 0.01 && x > -0.01) }'
	check "and of q4_0 $(off q4_0), less than 15%" awk -v x="$(off q4_0)" 'BEGIN { exit !(x != 0 && x < 0.15 && x > -0.15) }'
	check "perplexities are the same" sh -c "cmp $ck/eval-bin $ck/eval-gguf && cmp $ck/eval-bin $ck/eval-again && grep -q loss $ck/eval-bin"
	check "weights and tokenizer go inside" "$sinter" build models/llama.sinter --config "$ck/bin/config.json" --precision f32 --entry generate \
		--weights "$ck/bin" --embed -o "$ck/one"
	(cd / && "$ck/one" generate -p "" --temp 0 -n 200 -q 2> "$ck/err") | head -c -1 > "$ck/text"
	check "one file writes the story" cmp "$stories/expected-greedy-200.txt" "$ck/text"
	for kind in bf16 f16 q8_0; do
		check "a cache in $kind" "$sinter" build models/llama.sinter --config "$ck/bin/config.json" --precision f32 --entry generate --set generate.cache=$kind -o "$ck/kept"
		"$ck/kept" generate -m "$ck/bin" -p "" --temp 0 -n 200 -q 2> "$ck/err" > "$ck/text"
		check "with which the story begins as without" cmp -n 300 "$stories/expected-greedy-200.txt" "$ck/text"
	done
	for dtype in f16 bf16; do
		check "exports $dtype" "$sinter" export "$ck/bin" -o "$ck/$dtype.gguf" --dtype $dtype
		check "and imports it" "$sinter" import "$ck/$dtype.gguf" -o "$ck/$dtype" --dtype $dtype
		check "which goes there and back as the same bytes" sh -c "'$sinter' export $ck/$dtype -o $ck/$dtype.gguf && '$sinter' import $ck/$dtype.gguf -o $ck/$dtype.2 --dtype $dtype &&
			cmp $ck/$dtype/model.safetensors $ck/$dtype.2/model.safetensors"
	done
	for cut in 0 3 4 23 24 100 12000 1000000 -1; do
		head -c $cut "$stories/stories260K.gguf" > "$ck/cut.gguf"
		exits "a GGUF of $cut bytes" 3 "^sinter: .*cut.gguf: " "$sinter" import "$ck/cut.gguf" -o "$ck/never"
	done
	for cut in 0 27 28 100000 -1; do
		head -c $cut "$stories/stories260K.bin" > "$ck/cut.bin"
		exits "a .bin of $cut bytes" 3 "^sinter: .*cut.bin: " "$sinter" import "$ck/cut.bin" -o "$ck/never"
	done
	head -c 6000 "$stories/tok512.bin" > "$ck/cut.tok"
	exits "a tokenizer cut short" 3 "cut.tok: at byte" "$sinter" import "$stories/stories260K.bin" --tokenizer "$ck/cut.tok" -o "$ck/never"
	check "nothing of them stays" sh -c "! ls -d $ck/never*"
	exits "a full disk" 1 "File too large" sh -c "ulimit -f 500; '$sinter' import $stories/stories260K.gguf -o $ck/never"
	exits "a full disk under an export" 1 "File too large" sh -c "ulimit -f 500; '$sinter' export $ck/bin -o $ck/never.gguf"
	exits "a full disk under --embed" 1 "File too large|can't link" sh -c "ulimit -f 1500; '$sinter' build models/llama.sinter --config $ck/bin/config.json --entry generate --weights $ck/bin --embed -o $ck/never"
	check "leaves nothing" sh -c "! ls -d $ck/never*"
	exits "a vocabulary alone is no model" 3 "a vocabulary alone" "$sinter" import "$data/tokenizers/ggml-vocab-gpt-2.gguf" -o "$ck/never"
	touch "$ck/again/mine"
	exits "a directory with other files" 1 "it has mine in it" "$sinter" import "$stories/stories260K.gguf" -o "$ck/again"
	rm "$ck/again/mine"
	check "an import over an import" "$sinter" import "$stories/stories260K.gguf" -o "$ck/again/"
	check "leaves no other" sh -c "! ls -d $ck/again.tmp*"
else
	echo "  skip  stories260K (no data at $data)"
fi

# without data: a model of one's own, through each form
small="--preset nano --set V=64 --set N=32 --set train.batch=2 --set train.micro=2 --set train.T=32"
check "a small llama builds" "$sinter" build models/llama.sinter $small --entry train,generate -o "$ck/small"
check "and writes random weights" "$ck/small" init --out "$ck/random" --seed 3
cat > "$ck/config.json" <<-'END'
	{"model_type": "llama", "vocab_size": 64, "max_position_embeddings": 32, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
	 "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false}
END
mkdir "$ck/hub"; cp "$ck/random/model.safetensors" "$ck/config.json" "$ck/hub"
echo '{"chat_template": "{{ <|im_start|> }} \u2581"}' > "$ck/hub/tokenizer_config.json"
check "exports without a tokenizer" "$sinter" export "$ck/hub" -o "$ck/small.gguf"
exits "imports it" 0 "no vocabulary" "$sinter" import "$ck/small.gguf" -o "$ck/back"
check "with the chat template" grep -q '<|im_start|>' "$ck/back/tokenizer_config.json"
ids="generate --prompt-ids 3,1,4 --ids --temp 0 -n 20 -q"
"$ck/small" $ids -m "$ck/hub" > "$ck/ids1" 2> /dev/null
"$ck/small" $ids -m "$ck/back" > "$ck/ids2" 2> /dev/null
check "which generates the same" cmp "$ck/ids1" "$ck/ids2"
for dtype in q8_0 q4_0; do
	check "$dtype goes out and comes back" sh -c "'$sinter' export $ck/hub -o $ck/$dtype.gguf --dtype $dtype && '$sinter' import $ck/$dtype.gguf -o $ck/$dtype"
	check "$dtype loads" "$ck/small" $ids -m "$ck/$dtype"
done
check "--weights passes what matches" "$sinter" build models/llama.sinter $small --entry generate --weights "$ck/hub" --embed -o "$ck/inside"
"$ck/inside" $ids > "$ck/ids2" 2> /dev/null
check "embedded weights generate the same" cmp "$ck/ids1" "$ck/ids2"
check "from another place" sh -c "cp $ck/inside $ck/elsewhere && rm -r $ck/hub/model.safetensors && cd / && $ck/elsewhere $ids | cmp - $ck/ids1"
exits "--weights that do not match" 3 "transposed\?|0/|another shape" "$sinter" build models/llama.sinter $small --set F=32 --weights "$ck/back" -o "$ck/never"
exits "--weights that are not there" 3 "no such directory" "$sinter" build models/llama.sinter $small --weights "$ck/nowhere" -o "$ck/never"
exits "--embed without weights" 2 "goes with --weights" "$sinter" build models/llama.sinter $small --embed -o "$ck/never"
exits "--embed into a device" 1 "a regular file" "$sinter" build models/llama.sinter $small --entry generate --weights "$ck/back" --embed -o /dev/full
exits "an export to a full disk" 1 "No space left" "$sinter" export "$ck/back" -o /dev/full
check "the device is still one" test -c /dev/full
check "nothing was built" test ! -e "$ck/never"
exits "import without a directory" 2 "wants -o" "$sinter" import "$ck/small.gguf"
exits "export of what is no directory" 3 "config.json" "$sinter" export "$ck/nowhere" -o "$ck/never"
exits "an unknown model_type" 1 "cannot be \"gemma\"" sh -c "sed 's/\"llama\"/\"gemma\"/' $ck/config.json > $ck/other.json; '$sinter' build models/llama.sinter --config $ck/other.json -o $ck/never"
exits "an unknown rotary scaling" 1 "no scaling .dynamic" sh -c "sed 's/{/{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0},/' $ck/config.json > $ck/other.json; '$sinter' build models/llama.sinter --config $ck/other.json -o $ck/never"
exits "a rotary base that is not said" 0 "W0701.*rope_theta" sh -c "sed 's/\"rope_theta\": 10000.0,//' $ck/config.json > $ck/other.json; '$sinter' build models/llama.sinter --config $ck/other.json --emit=ast; '$sinter' names models/llama.sinter --config $ck/other.json"
