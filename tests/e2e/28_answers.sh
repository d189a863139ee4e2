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
exits "it has learnt" 0 'start_acc (0\.[89]|1\.0)[0-9]+  end_acc (0\.[89]|1\.0)[0-9]+  windows 1[0-9]+$' "$qa/bert" eval reader -m "$qa/run" --data "$qa/dev.jsonl" -q
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
wrong '{"question": "Who?", "context": " ", "answers": []}'
exits "a context of no words" 3 'bad.jsonl:1: a context without any token' "$qa/bert" reader --data "$qa/bad.jsonl" $no
echo '{"data": [{"paragraphs": [{"qas": [{"id": "x", "question": "y"}]}]}]}' > "$qa/bad.json"
exits "SQuAD's JSON without a context" 3 'bad.json: question x: no "context"' "$qa/bert" answer -m "$qa/run" --data "$qa/bad.json"
exits "answers are no tensors" 2 "answers are printed" "$qa/bert" answer -m "$qa/run" "Who?" Bob -o "$qa/never.st"
exits "a question alone" 2 'wants a question and a context' "$qa/bert" answer -m "$qa/run" "Who?"
exits "a stride without an end" 2 'stride 60: windows have room for' "$qa/bert" answer -m "$qa/run" "Who?" "$far" --stride 60
exits "a table" 2 'questions are JSON lines' "$qa/bert" reader --data "$qa/x.tsv" $no
