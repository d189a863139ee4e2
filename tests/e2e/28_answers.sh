# Answers in contexts: training on JSON lines and SQuAD's JSON, windows, spans cut out of texts, exact matches and F1, what users get wrong.
qa=$tmp/answers; mkdir "$qa"
LC_ALL=C awk 'function chars(s) { gsub(/[\200-\277]/, "", s); return length(s) }
BEGIN { srand(11); split("Alice Bob Carol Dario Émile", who); split("Paris Rome Oslo Lima Zürich", where); split("the a went saw to house walks and found today", mid)
	for (i = 0; i < 1400; i++) {
		n = 4 + int(rand() * (i % 7 ? 16 : 70)); a = int(rand() * n); do b = int(rand() * n); while (b == a); s = ""
		p = who[1 + int(rand() * 5)]; l = where[1 + int(rand() * 5)]
		for (k = 0; k < n; k++) {
			if (k) s = s " "
			if (k == a) { pa = chars(s); s = s p } else if (k == b) { pb = chars(s); s = s l } else s = s mid[1 + int(rand() * 10)]
		}
		y = rand() < 0.5
		printf "{\"id\": \"q%d\", \"question\": \"%s?\", \"context\": \"%s.\", \"answers\": {\"text\": [\"%s\"], \"answer_start\": [%d]}}\n",
			i, y ? "Who" : "Where", s, y ? p : l, y ? pa : pb > ("'"$qa"'/" (i < 1300 ? "train" : "dev") ".jsonl")
	} }'
sed -E 's/.*"context": "([^"]*)".*/\1 Who? Where?/' "$qa/train.jsonl" > "$qa/words.txt"
check "a vocabulary" "$sinter" tokenizer train "$qa/words.txt" -o "$qa/tokenizer.json" --kind wordpiece --vocab 70
check "bert builds" "$sinter" build models/bert.sinter --preset nano -o "$qa/bert"
read="--tokenizer $qa/tokenizer.json --lr 2e-3 --warmup 20 --schedule cosine --stride 16"
check "a reader is trained" "$qa/bert" train reader --data "$qa/train.jsonl" --valid "$qa/dev.jsonl" $read --epochs 12 -q --out "$qa/run"
exits "it has learnt" 0 'start_acc (0\.[89]|1\.0)[0-9]+  end_acc (0\.[89]|1\.0)[0-9]+  exact (0\.[89]|1\.0)[0-9]+  f1 (0\.[89]|1\.0)[0-9]+  windows 1[0-9]+$' "$qa/bert" eval reader -m "$qa/run" --data "$qa/dev.jsonl" -q
exits "answers are judged" 0 '^\{"exact":(0\.[89][0-9]*|1),"f1":(0\.[89][0-9]*|1),"questions":100\}$' "$qa/bert" answer -m "$qa/run" --data "$qa/dev.jsonl" --stride 16 --score -q
{ printf '{"version": "1.1", "data": [{"title": "t", "paragraphs": ['; sed -E 's/^\{("id".*"question": "[^"]*"), "context": ("[^"]*"), "answers": \{"text": \[("[^"]*")\], "answer_start": \[([0-9]+)\]\}\}/{"context": \2, "qas": [{\1, "answers": [{"answer_start": \4, "text": \3}, {"answer_start": 0, "text": ""}]}]}/; $!s/$/,/' "$qa/dev.jsonl"; printf ']}]}'; } > "$qa/dev.json"
check "SQuAD's JSON is the same data" sh -c "'$qa/bert' answer -m $qa/run --data $qa/dev.json -q > $qa/a; test -s $qa/a && '$qa/bert' answer -m $qa/run --data $qa/dev.jsonl -q | cmp - $qa/a"
exits "an answer" 0 '^\{"question":"Who\?","answer":"Bob","score":0\.[0-9]+,"start":7,"end":10\}$' "$qa/bert" answer -m "$qa/run" --question 'Who?' --context 'walks, Bob saw Oslo today' -q
exits "by arguments" 0 '"answer":"Oslo".*"start":16,"end":20\}$' "$qa/bert" answer -m "$qa/run" 'Where?' 'walks Émile saw Oslo today' -q
far="$(for i in $(seq 150); do printf 'a walks '; done)Bob went"
exits "far in a long context" 0 '"answer":"Bob".*"start":1200,"end":1203\}$' "$qa/bert" answer -m "$qa/run" 'Who?' "$far" -q
check "none is longer than asked" sh -c "'$qa/bert' answer -m $qa/run --data $qa/dev.jsonl --max-answer 1 -q | sed -E 's/.*\"answer\":\"([^\"]*)\".*/\1/' | awk '/ /{ exit 1 }'"
check "without answers they are found as well" sh -c "sed -E 's/, \"answers.*/}/' $qa/dev.jsonl | '$qa/bert' answer -m $qa/run --data - -q | cmp - $qa/a"
for t in 1 3; do "$qa/bert" reader --data "$qa/train.jsonl" $read --steps 9 -t $t -q --out "$qa/bits-$t" > "$qa/err" 2>&1; done
check "threads change no bit" cmp "$qa/bits-1/last/model.safetensors" "$qa/bits-3/last/model.safetensors"

# eval, which validation and early stopping use, judges as `answer --score` does, over the windows of all questions together.
qa_same() {  # NAME RUN DATA: the same numbers by both, to six digits
	"$qa/bert" answer -m "$2" --data "$3" --stride 16 --score -q > "$qa/score" 2> "$qa/err"
	exits "$1" 0 "$(sed -E 's/^\{"exact":([0-9.]+),"f1":([0-9.]+).*/\1 \2/' "$qa/score" | xargs printf 'exact %.6f  f1 %.6f ')" "$qa/bert" eval reader -m "$2" --data "$3" --stride 16 -q
}
qa_same "eval is what answer says" "$qa/run" "$qa/dev.jsonl"
check "answers decide" "$qa/bert" reader --data "$qa/train.jsonl" --valid "$qa/dev.jsonl" $read --epochs 3 --validate-every 20 --best f1 --patience 9 --out "$qa/f1"
qa_best=$(sed -nE '/val_loss/s/.*"f1":([0-9.]{7}).*/\1/p' "$qa/f1/metrics.jsonl" | sort | tail -n 1)
exits "and the best are kept" 0 "f1 ${qa_best:-none}" "$qa/bert" eval reader -m "$qa/f1" --data "$qa/dev.jsonl" -q
check "threads change none of it" sh -c "'$qa/bert' eval reader -m $qa/f1 --data $qa/dev.jsonl -q -t 1 > $qa/one 2> $qa/err; '$qa/bert' eval reader -m $qa/f1 --data $qa/dev.jsonl -q -t 3 2> $qa/err | cmp - $qa/one"

# SQuAD 2.0: every third question asks for a place in a text that has none, or for a person.
cut2() { sed -E '0~3{ s/"answers": .*/"answers": {"text": [], "answer_start": []}}/; s/"question": "Who\?"/"question": "Who? "/; '"$1"' }' "$qa/$2.jsonl"; }
strip='h; s/.*"question": "(Who|Where)\? ?".*/\1/; x; G; /\nWho$/ { s/ ?(Alice|Bob|Carol|Dario|Émile)\b/ the/g }; /\nWhere$/ { s/ ?(Paris|Rome|Oslo|Lima|Zürich)\b/ the/g }; s/\n.*//'
for part in train dev; do cut2 "$strip" $part > "$qa/$part-2.jsonl"; done
check "a reader learns that there may be none" "$qa/bert" reader --data "$qa/train-2.jsonl" --valid "$qa/dev-2.jsonl" $read --epochs 12 -q --out "$qa/run-2"
exits "it says so" 0 '^\{"question":"Who\?","answer":"","score":0\.[0-9]+,"start":null,"end":null,"null_score_diff":[0-9.]+\}$' "$qa/bert" answer -m "$qa/run-2" 'Who?' 'the house went to Oslo today' -q
exits "or not" 0 '"answer":"Bob",.*"null_score_diff":-[0-9.]+\}$' "$qa/bert" answer -m "$qa/run-2" 'Who?' 'walks, Bob saw Oslo today' -q
exits "as the threshold is" 0 '"answer":"[^"]+".*"start":[0-9]' "$qa/bert" answer -m "$qa/run-2" 'Who?' 'the house went to Oslo today' -q --null-threshold 1e4
exits "which may be below 0" 0 '"answer":""' "$qa/bert" answer -m "$qa/run-2" 'Who?' 'walks, Bob saw Oslo today' -q --null-threshold -1e4
exits "both kinds are judged" 0 '^\{"exact":0\.[6-9].*"questions":100,"HasAns_exact":0\.[6-9].*"HasAns_total":67,"NoAns_exact":(0\.[6-9][0-9]*|1),"NoAns_f1":(0\.[6-9][0-9]*|1),"NoAns_total":33\}$' \
	"$qa/bert" answer -m "$qa/run-2" --data "$qa/dev-2.jsonl" --stride 16 --score -q
"$qa/bert" answer -m "$qa/run-2" --data "$qa/dev-2.jsonl" --stride 16 --score -q > "$qa/both" 2> "$qa/err"
check "the whole is of both" sh -c "sed -E 's/[{}\"]//g; s/[a-zA-Z0-9_]+://g' $qa/both | awk -F, '{ d = \$1 * \$3 - \$4 * \$6 - \$7 * \$9; e = \$2 * \$3 - \$5 * \$6 - \$8 * \$9; exit !(d * d + e * e < 1e-6 && NR == 1) }'"
qa_same "and eval has the same" "$qa/run-2" "$qa/dev-2.jsonl"
{ printf '{"version": "v2.0", "data": [{"paragraphs": ['; sed -E 's/^\{("id".*"question": "[^"]*"), "context": ("[^"]*"), "answers": \{"text": \[("[^"]*")?\], "answer_start": \[([0-9]*)\]\}\}/{"context": \2, "qas": [{\1, "answers": [{"answer_start": \4, "text": \3}], "is_impossible": false}]}/
	s/"answers": \[\{"answer_start": , "text": \}\], "is_impossible": false/"answers": [], "plausible_answers": [{"text": "x", "answer_start": 0}], "is_impossible": true/; $!s/$/,/' "$qa/dev-2.jsonl"; printf ']}]}'; } > "$qa/dev-2.json"
check "SQuAD 2.0's JSON is the same data" sh -c "'$qa/bert' answer -m $qa/run-2 --data $qa/dev-2.json --stride 16 --score -q 2> $qa/err | cmp - $qa/both"
check "without any of these nothing is different" sh -c "sed -E 's/\"answers\": \{.*/\"answers\": []}/' $qa/dev.jsonl | '$qa/bert' answer -m $qa/run --data - -q | cmp - $qa/a"

no="--tokenizer $qa/tokenizer.json --steps 1 --out $qa/never"
wrong() { printf '%s\n' "$1" > "$qa/bad.jsonl"; }
wrong '{"question": "Who?", "context": "Bob, é Al", "answers": {"text": ["Al"], "answer_start": [6]}}'
exits "an answer that is not at its place" 3 'bad.jsonl:1: the answer "Al" is not at its place: at character 6 the context has " A"' "$qa/bert" reader --data "$qa/bad.jsonl" $no
wrong '{"question": "Who?", "context": "Bob", "answers": {"text": ["Bob"], "answer_start": [99]}}'
exits "or behind the end" 3 'is not at its place' "$qa/bert" reader --data "$qa/bad.jsonl" $no
wrong '{"question": "Who?", "context": "Bob", "answers": "Bob"}'
exits "answers that are none" 3 'bad.jsonl:1: answers are ' "$qa/bert" reader --data "$qa/bad.jsonl" $no
wrong '{"question": "Who?", "context": "Bob", "answers": [{"text": "Bob"}]}'
exits "an answer without a place" 3 'where in the context it begins' "$qa/bert" reader --data "$qa/bad.jsonl" $no
wrong '{"question": "Who?", "context": "Bob"}'
exits "no answers to learn" 3 'bad.jsonl:1: no "answers"' "$qa/bert" reader --data "$qa/bad.jsonl" $no
exits "or to judge by" 3 'wants --data with answers' "$qa/bert" answer -m "$qa/run" --data "$qa/bad.jsonl" --score
wrong '{"question": "Who?", "context": "Bob", "is_impossible": true, "answers": {"text": ["Bob"], "answer_start": [0]}}'
exits "an impossible question's answer" 3 'bad.jsonl:1: is_impossible, and it has an answer' "$qa/bert" answer -m "$qa/run" --data "$qa/bad.jsonl"
exits "a threshold that is no number" 2 'null-threshold wants a number, not "low"' "$qa/bert" answer -m "$qa/run" "Who?" Bob --null-threshold low
wrong '{"question": "Who?", "context": " ", "answers": []}'
exits "a context of no words" 3 'bad.jsonl:1: a context without any token' "$qa/bert" reader --data "$qa/bad.jsonl" $no
echo '{"data": [{"paragraphs": [{"qas": [{"id": "x", "question": "y"}]}]}]}' > "$qa/bad.json"
exits "SQuAD's JSON without a context" 3 'bad.json: question x: no "context"' "$qa/bert" answer -m "$qa/run" --data "$qa/bad.json"
check "answers as a file" sh -c "'$qa/bert' answer -m $qa/run --data $qa/dev.jsonl -q -o $qa/told.jsonl && cmp $qa/a $qa/told.jsonl"
exits "answers are no tensors" 2 "answers are JSON lines" "$qa/bert" answer -m "$qa/run" "Who?" Bob -o "$qa/never.st"
exits "a question alone" 2 'wants a question and a context' "$qa/bert" answer -m "$qa/run" "Who?"
exits "a stride without an end" 2 'stride 60: windows have room for' "$qa/bert" answer -m "$qa/run" "Who?" "$far" --stride 60
exits "a table" 2 'questions are JSON lines' "$qa/bert" reader --data "$qa/x.tsv" $no
