# Several prompts at a time, JSON, log-probabilities, penalties, conversations. Uses 20_train's model.
"$sinter" build models/gpt2.sinter $tiny --set generate.B=3 -e generate -o "$tmp/gpt_rows" > "$tmp/out" 2>&1 || bad "build for 3 sequences" "$(tail -n 3 "$tmp/out")"
rows="$tmp/gpt_rows generate -m $tmp/run1 --tokenizer byte -n 12"
printf 'static int\n\nx\nreturn 0;\nconst char *s\nif (a == b)\nx\nfor\n' > "$tmp/prompts.txt"
for how in "--temp 0" "--temp 0.9 --top-k 20 --seed 3" "--temp 0 --repeat-penalty 1.3 --presence-penalty 0.5 --frequency-penalty 0.2"; do
	first=1; : > "$tmp/one_by_one"
	grep . "$tmp/prompts.txt" | while IFS= read -r line; do
		[ $first = 1 ] || echo ---- >> "$tmp/one_by_one"
		first=0; $rows $how -p "$line" >> "$tmp/one_by_one" 2> /dev/null
	done
	for t in 1 2; do
		$rows $how --prompts "$tmp/prompts.txt" -t $t > "$tmp/together" 2> "$tmp/err"
		check "three at a time say what each says alone ($how, $t threads)" cmp "$tmp/one_by_one" "$tmp/together"
	done
done
"$sinter" build models/gpt2.sinter $tiny --set generate.B=3 --set generate.cache=bf16 -e generate -o "$tmp/gpt_half" > "$tmp/out" 2>&1 || bad "build with a cache in bf16" "$(tail -n 3 "$tmp/out")"
half="$tmp/gpt_half generate -m $tmp/run1 --tokenizer byte -n 12 --temp 0"
first=1; : > "$tmp/one_by_one"
grep . "$tmp/prompts.txt" | while IFS= read -r line; do
	[ $first = 1 ] || echo ---- >> "$tmp/one_by_one"
	first=0; $half -p "$line" >> "$tmp/one_by_one" 2> /dev/null
done
$half --prompts "$tmp/prompts.txt" > "$tmp/together" 2> /dev/null
check "and with a cache in bf16" cmp "$tmp/one_by_one" "$tmp/together"
for kind in f16 q8_0; do
	"$sinter" build models/gpt2.sinter $tiny --set generate.B=3 --set generate.cache=$kind -e generate -o "$tmp/gpt_$kind" > "$tmp/out" 2>&1 || bad "build with a cache in $kind" "$(tail -n 3 "$tmp/out")"
	kept="$tmp/gpt_$kind generate -m $tmp/run1 --tokenizer byte -n 12 --temp 0"
	$kept -t 1 --prompts "$tmp/prompts.txt" > "$tmp/one_thread" 2> /dev/null
	$kept -t 2 --prompts "$tmp/prompts.txt" > "$tmp/together" 2> /dev/null
	check "a cache in $kind says the same on one thread and two" cmp "$tmp/one_thread" "$tmp/together"
	$kept -p "$(grep -m 1 . "$tmp/prompts.txt")" > "$tmp/one_thread" 2> /dev/null
	check "and the first prompt alone, with a cache in $kind" cmp -n "$(($(wc -c < "$tmp/one_thread") - 1))" "$tmp/one_thread" "$tmp/together"
done
exits "a cache in a form that there is none of" 1 "f32, bf16, f16 or q8_0 is wanted" "$sinter" build models/gpt2.sinter --set generate.cache=q4_0
exits "info says what the cache is" 0 "cache: bf16" "$tmp/gpt_half" info
check "seven prompts were drawn from" grep -q "generated 84," "$tmp/err"
# of one token each nothing is left to generate: the time is that of prompts, behind the first too
seq -f 'static int a_variable_%g' 400 > "$tmp/many_prompts"
$rows --prompts "$tmp/many_prompts" -n 1 --temp 0 > /dev/null 2> "$tmp/err"
check "the time of prompts is that of all of them" awk '/^prompt / { n++; p = $4; d = $9 } END { exit n != 1 || p <= 0 || d > p / 2 }' "$tmp/err"
$rows --temp 0 --prompts - < "$tmp/prompts.txt" > "$tmp/piped_prompts" 2> /dev/null
$rows --temp 0 --prompts "$tmp/prompts.txt" > "$tmp/together" 2> /dev/null
check "from standard input" cmp "$tmp/together" "$tmp/piped_prompts"
grep . "$tmp/prompts.txt" | sed 's/"/\\"/g; s/.*/{"prompt": "&", "id": 1}/' > "$tmp/prompts.jsonl"
$rows --temp 0 --prompts "$tmp/prompts.jsonl" > "$tmp/from_jsonl" 2> /dev/null
check "from json lines" cmp "$tmp/together" "$tmp/from_jsonl"
$rows --temp 0 --prompts "$tmp/prompts.jsonl" --logprobs 3 --ids > "$tmp/objects" 2> /dev/null
check "objects of JSON with log-probabilities" python3 - "$tmp/objects" "$tmp/together" <<'PY'
import json, sys
objects = [json.loads(line) for line in open(sys.argv[1])]
texts = open(sys.argv[2]).read().split("\n----\n")
assert len(objects) == len(texts) == 7
for o, text in zip(objects, texts):
    whole = o["prompt"] + o["text"]   # a line's end is added where there is none; the split took one
    assert whole in ((text, text[:-1]) if o is objects[-1] else (text, text + "\n")), (o, text)
    assert o["finish"] == "length" and o["tokens"] == len(o["ids"]) == len(o["logprobs"]) == 12 and o["prompt_tokens"] == len(o["prompt_ids"]) == len(o["prompt"])
    assert bytes(o["ids"]).decode() == o["text"]
    for i, p in zip(o["ids"], o["logprobs"]):
        top = [x["logprob"] for x in p["top"]]
        assert p["id"] == i == p["top"][0]["id"] and len(top) == 3 and top == sorted(top, reverse=True) and p["logprob"] == top[0] < 0, p
PY
$rows --temp 0 -p 'static int' --json > "$tmp/object" 2> /dev/null
check "an object of one prompt" python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); t = open(sys.argv[2]).read().split("\n----\n")[0]; assert o["prompt"] + o["text"] == t' "$tmp/object" "$tmp/together"
$rows --temp 0 -p 'static int' --presence-penalty 100 -n 20 --json --ids > "$tmp/object" 2> /dev/null
check "with a high presence penalty no token comes twice" python3 -c 'import json, sys; i = json.load(open(sys.argv[1]))["ids"]; assert len(set(i)) == len(i) == 20' "$tmp/object"
printf '{"prompt": 5}\n' > "$tmp/bad.jsonl"; : > "$tmp/no_prompts"; printf 'a\n%050d\n' 1 > "$tmp/long_prompt"
exits "a prompt that is no text" 3 'bad.jsonl:1: wants an object' $rows --prompts "$tmp/bad.jsonl"
exits "no prompts" 3 'has no prompts' $rows --prompts "$tmp/no_prompts"
exits "a prompt beyond the context" 3 'prompt 2 has .* tokens; the model.s context is 32' $rows --prompts "$tmp/long_prompt"
exits "a prompt that can't be read" 3 "standard input: Is a directory" sh -c "$rows -p - < /tmp"
exits "a zero byte in a prompt" 3 "zero byte" sh -c "printf 'a\\0b' | $rows -p -"
exits "--prompts beside -p" 2 'excludes' $rows --prompts "$tmp/prompts.txt" -p x
exits "too many log-probabilities" 2 'from 0 to 64' $rows -p x --logprobs 65

# A conversation is what its turns say in one text.
mkfifo "$tmp/fifo"
exits "a FIFO is refused, not waited for" 3 'not a regular file' timeout 20 "$tmp/gpt_rows" generate -m "$tmp/run1" --tokenizer byte --prompts "$tmp/fifo"
mkdir -p "$tmp/chatty"; cp -rL "$tmp/run1/best/." "$tmp/chatty" 2> /dev/null || cp -rL "$tmp/run1/last/." "$tmp/chatty"
chat="$tmp/gpt_rows generate -m $tmp/chatty --tokenizer byte --temp 0 -n 4 --chat"
exits "a chat without a template" 3 'chatml, llama3' $chat -p hi
printf '{"chat_template": "{%% for m in messages %%}### Instruction:\\n{{ m }}### Response:\\n"}' > "$tmp/chatty/tokenizer_config.json"
exits "an unknown template by name" 2 'is no chat template' $chat --chat-template nope -p hi
exits "what is asked must fit" 3 "context is 32" $chat -p hello
"$sinter" build models/gpt2.sinter $tiny --set N=256 -e generate -o "$tmp/gpt_long" > "$tmp/out" 2>&1
"$tmp/gpt_long" init --out "$tmp/long_weights" --seed 4 > "$tmp/out" 2>&1 || bad "init" "$(tail -n 3 "$tmp/out")"
cp "$tmp/chatty/tokenizer_config.json" "$tmp/long_weights"
chat="$tmp/gpt_long generate -m $tmp/long_weights --tokenizer byte --temp 0 -n 5 -q"
printf 'hello\n' | $chat --chat --system sys > "$tmp/turn1" 2> "$tmp/err"
$chat --no-echo -p - < <(printf 'sys\n\n### Instruction:\nhello\n\n### Response:\n') > "$tmp/whole_turn" 2> /dev/null
check "a first turn is the template's text" cmp "$tmp/turn1" "$tmp/whole_turn"
printf 'hello\nagain\n' | $chat --chat --system sys --json --ids > "$tmp/turns" 2> "$tmp/err"
check "a second turn goes on from the first" python3 - "$tmp/turns" "$chat" <<'PY'
import json, subprocess, sys
one, two = [json.loads(line) for line in open(sys.argv[1])]
text = b"sys\n\n### Instruction:\nhello\n\n### Response:\n" + bytes(one["ids"]) + b"\n\n### Instruction:\nagain\n\n### Response:\n"
assert bytes(two["prompt_ids"]) == text, (two, text)
ids = ",".join(str(b) for b in text)
whole = subprocess.run(sys.argv[2].split() + ["--prompt-ids", ids, "--json", "--ids"], stdout=subprocess.PIPE, check=True).stdout
assert json.loads(whole)["ids"] == two["ids"], (whole, two)
PY
printf 'hello\n/clear\nhello\n' | $chat --chat > "$tmp/cleared" 2> "$tmp/err"
check "/clear begins anew" bash -c "[ \"\$(sed -n 1p '$tmp/cleared')\" = \"\$(sed -n 2p '$tmp/cleared')\" ]"
