# Fine-tuning: from loaded weights, of all or some or an adapter; PEFT's files; merging; conversations.
tensors=$build/tools/tensors
tune=$tmp/tune; mkdir -p "$tune"
st() { "$tensors" write "$tune/$1" "${@:2}"; }   # FILE [TENSOR DTYPE SHAPE VALUES] ..
value_of() { "$tensors" print "$@" | sed -E 's/^[^]]*\] ?//'; }
loss_of() { "$@" 2> /dev/null | sed -nE 's/.*loss ([0-9.]+).*/\1/p'; }
less() { awk "BEGIN { exit !($1 < $3 * $2) }"; }   # A B SHARE: A is below that share of B
cat docs/*.md > "$tune/new.txt"
new="--tokenizer byte --data $tune/new.txt --warmup 5 --lr 3e-3 --schedule constant --validate-every 50 --seed 3"
lora='lora(rank=2, alpha=4, dropout=0.05) on "*.c_attn", "*.c_proj"'

# --- all of the weights, some of them, an adapter
check "a base builds" "$sinter" build models/gpt2.sinter $tiny -o "$tune/gpt"
check "it is trained" "$tune/gpt" $train --steps 200 -q --out "$tune/base"
sed 's/^  clip .*/&\n  freeze    on "wte.*", "h.0.*"/' models/gpt2.sinter > "$tune/frozen.sinter"
check "one that freezes builds" "$sinter" build "$tune/frozen.sinter" $tiny -o "$tune/frozen"
check "one with an adapter builds" "$sinter" build models/gpt2.sinter $tiny --adapter "$lora" -o "$tune/lora"
base=$(loss_of "$tune/gpt" eval -m "$tune/base" --tokenizer byte --data "$tune/new.txt")
for how in gpt frozen lora; do
	check "$how: on new text" "$tune/$how" train -m "$tune/base" $new --steps 150 --out "$tune/$how.run"
	after=$(loss_of "$tune/gpt" eval -m "$tune/$how.run" --data "$tune/new.txt")
	check "$how: the loss falls ($base to $after)" less "$after" "$base" 0.97
done
for t in wte.weight h.0.attn.c_attn.weight; do
	check "what is frozen stays: $t" test "$(value_of "$tune/base/best/model.safetensors" $t)" = "$(value_of "$tune/frozen.run/best/model.safetensors" $t)"
done
check "what is not moves" test "$(value_of "$tune/base/best/model.safetensors" ln_f.weight)" != "$(value_of "$tune/frozen.run/best/model.safetensors" ln_f.weight)"
check "an adapter is less than 5% of the weights" sh -c "'$sinter' summary models/gpt2.sinter $tiny --adapter '$lora' --json | python3 -c '
import json, sys
j = json.load(sys.stdin); print(j[\"adapters\"], j[\"parameters\"]); assert 0 < j[\"adapters\"] < 0.05 * j[\"parameters\"]'"
check "its checkpoints have it alone" test ! -e "$tune/lora.run/last/model.safetensors" -a -e "$tune/lora.run/last/adapter_model.safetensors"
check "20 steps" "$tune/lora" train -m "$tune/base" $new --steps 20 -q --out "$tune/lora20"
check "and 20 more" "$tune/lora" train --resume "$tune/lora20" --steps 40 -q
check "or 40" "$tune/lora" train -m "$tune/base" $new --steps 40 -q --out "$tune/lora40"
for f in adapter_model optimizer; do check "are the same bits: $f" cmp "$tune/lora20/last/$f.safetensors" "$tune/lora40/last/$f.safetensors"; done

# --- PEFT's form
check "the files are as PEFT writes them" python3 - "$tune/lora.run/last" <<'PY'
import json, struct, sys
c = json.load(open(sys.argv[1] + "/adapter_config.json"))
assert (c["peft_type"], c["r"], c["lora_alpha"], c["lora_dropout"], c["bias"], c["task_type"], c["fan_in_fan_out"]) == ("LORA", 2, 4, 0.05, "none", "CAUSAL_LM", True), c
assert sorted(c["target_modules"]) == ["c_attn", "c_proj"] and "/base/best" in c["base_model_name_or_path"] and not c["rank_pattern"], c
b = open(sys.argv[1] + "/adapter_model.safetensors", "rb").read()
h = json.loads(b[8:8 + struct.unpack("<Q", b[:8])[0]])
shapes = {k: v["shape"] for k, v in h.items() if k != "__metadata__"}
p = "base_model.model.transformer.h.%d.%s.lora_%s.weight"
want = {}
for i in range(2):
    for m, n, k in ("attn.c_attn", 144, 48), ("attn.c_proj", 48, 48), ("mlp.c_proj", 48, 192):
        want[p % (i, m, "A")], want[p % (i, m, "B")] = [2, k], [n, 2]
assert shapes == want, shapes
PY
check "an adapter is read and written" "$tune/lora" train -m "$tune/base" --adapter "$tune/lora.run/last" $new --lr 0 --steps 1 -q --out "$tune/again"
check "with the same bits" cmp "$tune/again/last/adapter_model.safetensors" "$tune/lora.run/last/adapter_model.safetensors"
check "merged" "$sinter" merge "$tune/base" --adapter "$tune/lora.run" -o "$tune/merged"
exits "nothing is overwritten" 2 "is there already" "$sinter" merge "$tune/base" --adapter "$tune/lora.run" -o "$tune/merged"
for how in "--temp 0" "--temp 0.8 --seed 4"; do
	say="generate -p 'the ' -n 27 --tokenizer byte -q $how"
	eval "$tune/gpt $say -m $tune/merged" > "$tune/text.merged" 2> /dev/null
	for m in "gpt $say -m $tune/base --adapter $tune/lora.run" "gpt $say -m $tune/lora.run" "lora $say -m $tune/base --adapter $tune/lora.run" "lora $say -m $tune/lora.run" "lora $say -m $tune/merged"; do
		eval "$tune/$m" > "$tune/text" 2> /dev/null
		check "the text of the merged model ($how): ${m#* -q }" cmp "$tune/text" "$tune/text.merged"
	done
done
check "which is a text" test "$(wc -c < "$tune/text")" -ge 20
eval "$tune/gpt generate -p 'the ' -n 27 --tokenizer byte -q --temp 0.8 --seed 4 -m $tune/base" > "$tune/text" 2> /dev/null
check "and not the base's" sh -c "! cmp '$tune/text' '$tune/text.merged'"
a=$(loss_of "$tune/gpt" eval -m "$tune/base" --adapter "$tune/lora.run" --data "$tune/new.txt" --tokenizer byte)
check "and its loss ($a)" test "$a" = "$(loss_of "$tune/gpt" eval -m "$tune/merged" --data "$tune/new.txt" --tokenizer byte)"

# packed weights are those of one adapter
pack="$tune/gpt generate -p the -n 20 --temp 0 --tokenizer byte -q --pack-cache $tune/pack -m $tune/base"
for i in 1 2; do
	for m in "" "--adapter $tune/lora.run" "--adapter $tune/lora20"; do
		$pack $m > "$tune/text" 2> /dev/null; $pack $m > "$tune/text2" 2> "$tune/err"
		"$tune/gpt" generate -p the -n 20 --temp 0 --tokenizer byte -q -m "$tune/base" $m > "$tune/text3" 2> /dev/null
		check "packed, $i: ${m:-no adapter}" sh -c "cmp '$tune/text' '$tune/text3' && cmp '$tune/text2' '$tune/text3' && ! grep -q another '$tune/err'"
	done
done
exits "a cache of another adapter is named" 0 "another checkpoint" $pack

# by hand: w + alpha/r B A, both ways of storing, three types, scales by pattern and by the root of r
adapter() {  # DIR CONFIG [TENSOR DTYPE SHAPE VALUES] ..
	mkdir -p "$tune/$1"
	st "$1/adapter_model.safetensors" "${@:3}"
	printf '{%s"r":1,"lora_alpha":3}\n' "${2:-\"peft_type\":\"LORA\",}" > "$tune/$1/adapter_config.json"
}
p=base_model.model
"$sinter" build tests/inputs/line.sinter -o "$tune/line" > "$tmp/out" 2>&1
st x.st x F32 2,3 1,0,0,0,1,1
adapter hand '' $p.w.lora_A.weight F32 1,3 1,2,4 $p.w.lora_B.weight F32 1,1 0.5
for type in F32 F16 BF16; do
	st line.st w.weight $type 1,3 1,-1,0.5 w.bias F32 1 0.25
	check "merged by hand, $type" sh -c "'$sinter' merge '$tune/line.st' -a '$tune/hand' -o '$tune/out.safetensors' && '$tensors' print '$tune/out.safetensors' w.weight | grep -x 'w.weight $type \\[1,3\\] 2.5 2 6.5'"
done
for type in F16 BF16 F32; do
	st line.st w.weight $type 1,3 1,-1,0.5 w.bias F32 1 0.25
	exits "a program adds the same to $type" 0 '^\{"result":\[2.75,8.75\]\}$' "$tune/line" predict -m "$tune/line.st" --adapter "$tune/hand" -i "$tune/x.st" -q
done
check "what is not adapted stays" test "$(value_of "$tune/out.safetensors" w.bias)" = 0.25
adapter turned '"peft_type":"LORA","fan_in_fan_out":true,' $p.model.w.lora_A.weight BF16 1,3 1,2,4 $p.model.w.lora_B.weight F16 2,1 0.5,-1
st turned.st w.weight F32 3,2 0
check "stored [in,out], a prefix more" sh -c "'$sinter' merge '$tune/turned.st' -a '$tune/turned' -o '$tune/out.safetensors' && '$tensors' print '$tune/out.safetensors' | grep -x 'w.weight F32 \\[3,2\\] 1.5 -3 3 -6 6 -12'"
adapter pattern '"peft_type":"LORA","alpha_pattern":{"w":8},"use_rslora":true,' $p.w.lora_A.weight F32 4,3 1,2,4,0,0,0 $p.w.lora_B.weight F32 1,4 0.5,0,0,0
st line.st w.weight F32 1,3 1,-1,0.5 w.bias F32 1 0.25
check "8 / sqrt(4) by pattern" sh -c "'$sinter' merge '$tune/line.st' -a '$tune/pattern' -o '$tune/out.safetensors' && '$tensors' print '$tune/out.safetensors' w.weight | grep -x 'w.weight F32 \\[1,3\\] 3 3 8.5'"

# what can't be done is named
refuse() {  # WHAT PATTERN CONFIG [TENSOR ..]: by a program and by merge
	adapter bad "${@:3}"
	exits "$1" 3 "$2" "$tune/line" predict -m "$tune/line.st" --adapter "$tune/bad" -i "$tune/x.st"
	exits "$1, merge" 3 "$2" "$sinter" merge "$tune/line.st" -a "$tune/bad" -o "$tune/never"
}
A="$p.w.lora_A.weight F32 1,3 1" B="$p.w.lora_B.weight F32 1,1 1"
refuse "DoRA" "use_dora is not supported" '"peft_type":"LORA","use_dora":true,' $A $B
refuse "biases" 'bias "all" is not supported' '"peft_type":"LORA","bias":"all",' $A $B
refuse "layers saved whole" "modules_to_save is not supported" '"peft_type":"LORA","modules_to_save":["w"],' $A $B
refuse "weights beneath that were changed" 'init_lora_weights "pissa" is not supported' '"peft_type":"LORA","init_lora_weights":"pissa",' $A $B
refuse "scales by regular expressions" 'alpha_pattern ".*" is not supported' '"peft_type":"LORA","alpha_pattern":{"^w$":2},' $A $B
refuse "another method" "of the type IA3 is not supported" '"peft_type":"IA3",' $A $B
refuse "a vector of magnitudes" "lora_magnitude_vector.* is not supported" '' $A $B $p.w.lora_magnitude_vector F32 1 1
refuse "a layer by another name" "wt: the model has no such layer; nearest: w.weight" '' $p.wt.lora_A.weight F32 1,3 1 $p.wt.lora_B.weight F32 1,1 1
refuse "another shape" "w: the adapter is \[1,4\]" '' $p.w.lora_A.weight F32 1,4 1 $B
refuse "ranks that differ" "no matrices \[r,in\] and \[out,r\]" '' $p.w.lora_A.weight F32 2,3 1 $B
refuse "half of a pair" "no matrices" '' $A
refuse "the other half" "no lora_A.weight in it" '' $B
rm "$tune/bad/adapter_config.json"
exits "no config" 3 "adapter_config.json" "$tune/line" predict -m "$tune/line.st" --adapter "$tune/bad" -i "$tune/x.st"
exits "no adapter" 3 "no model.safetensors in it" "$tune/line" predict -m "$tune/line.st" --adapter "$tune" -i "$tune/x.st"
exits "an adapter of random weights" 2 "adds to the weights of -m" "$tune/line" predict --random --adapter "$tune/hand" -i "$tune/x.st"
exits "two adapters" 2 "has an adapter of its own" "$tune/gpt" eval -m "$tune/lora.run" --adapter "$tune/lora20" --data "$tune/new.txt"
"$sinter" build models/gpt2.sinter $tiny --adapter 'lora(rank=3) on "*.c_attn", "*.c_proj"' -e train -o "$tune/other" > "$tmp/out" 2>&1
exits "another rank, to go on with" 3 "the adapter is .* of rank 2, the model's" "$tune/other" train -m "$tune/base" --adapter "$tune/lora.run" $new --steps 1 --out "$tune/never"
mv "$tune/base" "$tune/moved"
exits "what it was trained upon is gone" 3 "give -m MODEL --adapter" "$tune/gpt" eval -m "$tune/lora20" --data "$tune/new.txt"
check "or lies elsewhere" "$tune/lora" train --resume "$tune/lora20" -m "$tune/moved" --steps 41 -q
exits "or is another" 3 "not the weights that the adapter was trained upon" "$tune/lora" train --resume "$tune/lora20" -m "$tune/merged" --steps 42
mv "$tune/moved" "$tune/base"

# --- conversations
python3 - "$tune" <<'PY'
import json, random, sys
random.seed(1)
def turns():
    for i in range(2):
        a, b = random.randint(0, 9), random.randint(0, 9)
        yield {"role": "user", "content": f"{a}+{b}?"}
        yield {"role": "assistant", "content": f"it is {a + b}"}
for name, n in ("chat", 200), ("valid", 20):
    with open(f"{sys.argv[1]}/{name}.jsonl", "w") as f:
        for i in range(n):
            f.write(json.dumps({"messages": [{"role": "system", "content": "add"}] * (i % 2) + list(turns())}) + "\n")
        f.write('{"prompt": "1+1=", "completion": "2"}\n\n{"text": "plain"}\n')
PY
nano="-p nano --set train.micro=4 --set train.batch=8 --set train.T=64 --set finetune.T=64 --set finetune.micro=4 --set finetune.batch=8"
check "a llama builds" "$sinter" build models/llama.sinter $nano -o "$tune/llama"
check "one that trains all" "$sinter" build models/llama.sinter $nano --adapter none -e finetune -o "$tune/llama_all"
check "it is trained on text" "$tune/llama" train -q --tokenizer byte --data "$corpus" --steps 60 --warmup 10 --lr 3e-3 --out "$tune/llama.run"
exits "conversations want a template" 3 "give one with --chat-template: chatml" "$tune/llama" finetune -m "$tune/llama.run" --data "$tune/chat.jsonl" --out "$tune/never"
talk="--data $tune/chat.jsonl --valid $tune/valid.jsonl --chat-template chatml --lr 5e-3 --warmup 2 --schedule constant --save-every 10"
before=$(loss_of "$tune/llama_all" eval -m "$tune/llama.run" --data "$tune/valid.jsonl" --chat-template chatml)
for how in llama llama_all; do
	check "$how: on conversations" "$tune/$how" finetune -m "$tune/llama.run" $talk --steps 60 --out "$tune/$how.chat"
	after=$(loss_of "$tune/llama_all" eval -m "$tune/$how.chat" --data "$tune/valid.jsonl")
	check "$how: the loss falls ($before to $after)" less "$after" "$before" 0.9
done
for t in 1 3; do check "on $t threads" "$tune/llama" finetune -m "$tune/llama.run" $talk --steps 60 -q -t $t --out "$tune/chat$t"; done
check "to the same bits" cmp "$tune/chat1/last/adapter_model.safetensors" "$tune/chat3/last/adapter_model.safetensors"
killed=0
for steps in 12 25 41; do
	"$tune/llama" finetune -m "$tune/llama.run" $talk --steps 60 --out "$tune/killed" > /dev/null 2>&1 &
	pid=$!
	while kill -0 $pid 2> /dev/null && [ "$( { wc -l < "$tune/killed/metrics.jsonl"; } 2> /dev/null || echo 0)" -lt $steps ]; do sleep 0.003; done
	kill -9 $pid 2> /dev/null && killed=$((killed+1)); wait $pid 2> /dev/null
	check "killed after $steps steps, resumed" "$tune/llama" finetune --resume "$tune/killed" -q
	for f in adapter_model optimizer; do check "the same bits: $f" cmp "$tune/killed/last/$f.safetensors" "$tune/llama.chat/last/$f.safetensors"; done
	rm -rf "$tune/killed"
done
[ $killed -gt 0 ] && ok "killed in mid-training $killed times" || bad "no kill hit a running training"
exits "a run knows its template" 0 "it is [0-9]" "$tune/llama" generate -m "$tune/llama_all.chat" --chat -p "3+4?" --temp 0 -n 20
exits "plain text has labels, too" 0 "tokens [0-9]" "$tune/llama_all" eval -m "$tune/llama.run" --data "$tune/new.txt"
exits "other conversations are no resumption" 3 "not what this run began with" sh -c "tail -n 50 '$tune/chat.jsonl' > '$tune/less.jsonl' && mv '$tune/chat.jsonl' '$tune/kept.jsonl' && mv '$tune/less.jsonl' '$tune/chat.jsonl' && '$tune/llama' finetune --resume '$tune/llama.chat' --steps 61"
mv "$tune/kept.jsonl" "$tune/chat.jsonl"
printf '{"messages":[{"role":"user","content":"a"},{"role":"user","content":"b"}]}\n' > "$tune/bad.jsonl"
exits "turns out of order" 3 "bad.jsonl:1: a message of user is not followed by one of assistant" "$tune/llama_all" eval -m "$tune/llama.run" --data "$tune/bad.jsonl" --chat-template chatml

# another model's file with such an entry of its own
sed '/^generate(/i train tune(tokens: id(V)[B,T], labels: id(V)?[B,T]) {\n  data      chat("chat.jsonl"), labels_on("assistant")\n  loss      cross_entropy(GPT2(tokens), labels)\n  optimizer adamw(lr=3e-3)\n  batch     6, micro=3, T=32\n}' \
	models/gpt2.sinter > "$tune/gpt2_tune.sinter"
check "a GPT-2 for conversations builds" "$sinter" build "$tune/gpt2_tune.sinter" $tiny -e tune,generate -o "$tune/gpt_tune"
check "it is trained" "$tune/gpt_tune" tune -m "$tune/base" --data "$tune/chat.jsonl" --tokenizer byte --chat-template alpaca --steps 60 -q --out "$tune/gpt_tune.run"
before=$(loss_of "$tune/gpt_tune" eval -m "$tune/base" --data "$tune/valid.jsonl" --chat-template alpaca)
after=$(loss_of "$tune/gpt_tune" eval -m "$tune/gpt_tune.run" --data "$tune/valid.jsonl")
check "the loss falls ($before to $after)" less "$after" "$before" 0.8

# --- a trained model on a text that it does not know
data=${SINTER_TEST_DATA:-../shared/data}
if [ -e "$data/stories260K/stories260K.bin" ]; then
	check "stories260K is imported" "$sinter" import "$data/stories260K/stories260K.bin" --tokenizer "$data/stories260K/tok512.bin" -o "$tune/stories"
	story="--config $tune/stories/config.json --set finetune.T=64 --set finetune.micro=8 --set finetune.batch=8"
	lora='lora(rank=4, alpha=8) on "*.q_proj", "*.v_proj", "*.down_proj"'
	check "builds" "$sinter" build models/llama.sinter $story --adapter none -e finetune,generate -o "$tune/story"
	check "with an adapter" "$sinter" build models/llama.sinter $story --adapter "$lora" -e finetune -o "$tune/story_lora"
	check "of less than 5% of the weights" sh -c "'$sinter' summary models/llama.sinter $story --adapter '$lora' --json | python3 -c '
import json, sys
j = json.load(sys.stdin); print(j[\"adapters\"], j[\"parameters\"]); assert j[\"parameters\"] == 260032 and 0 < j[\"adapters\"] < 0.05 * j[\"parameters\"]'"
	head -c 100000 "$data/text/tinyshakespeare.txt" > "$tune/train.txt"
	tail -c 20000 "$data/text/tinyshakespeare.txt" > "$tune/valid.txt"
	start=$(loss_of "$tune/story" eval -m "$tune/stories" --data "$tune/valid.txt")
	for how in story story_lora; do
		check "$how: on Shakespeare" "$tune/$how" finetune -m "$tune/stories" --data "$tune/train.txt" --valid "$tune/valid.txt" --steps 200 --lr 3e-3 --warmup 10 --schedule cosine -q --out "$tune/$how.run"
		after=$(loss_of "$tune/story" eval -m "$tune/$how.run" --data "$tune/valid.txt")
		check "$how: the loss of what it has not seen falls ($start to $after)" less "$after" "$start" 0.9
	done
	check "the adapter merged" "$sinter" merge "$tune/stories" -a "$tune/story_lora.run" -o "$tune/stories.merged"
	say="generate -p ROMEO: -n 200 --temp 0 -q --ignore-eos"
	"$tune/story" $say -m "$tune/stories.merged" > "$tune/one" 2> /dev/null
	"$tune/story" $say -m "$tune/stories" --adapter "$tune/story_lora.run" > "$tune/two" 2> /dev/null
	"$tune/story" $say -m "$tune/stories" > "$tune/base.txt" 2> /dev/null
	for d in story.run/last story.run/best story_lora.run/best stories.merged; do
		check "what lies beside the weights goes with them: $d" cmp "$tune/stories/config.json" "$tune/$d/config.json"
	done
	check "so that others can read it" "$sinter" export "$tune/story.run/best" -o "$tune/story.gguf"
	check "says what the adapter says" cmp "$tune/one" "$tune/two"
	check "at length" test "$(wc -c < "$tune/one")" -ge 200
	check "and not what the base says" sh -c "! cmp '$tune/one' '$tune/base.txt'"
else
	echo "  skip  stories260K: skipped (no $data)"
fi
