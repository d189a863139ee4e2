# Tags of words: training on two columns and on JSON lines, evaluation, tags and entities of texts, what users get wrong.
tg=$tmp/tagging; mkdir "$tg"
awk 'BEGIN { srand(5); n = split("alice:B-PER bob:B-PER paris:B-LOC rome:B-LOC new york:I-LOC", w); split("alice bob carol", per); split("paris rome oslo", loc);
	split("the a went saw to house walks and found today", mid)
	for (i = 0; i < 300; i++) {
		out = "'"$tg"'/" (i < 240 ? "train" : "dev") ".conll"
		for (k = 2 + int(rand() * 6); k > 0; k--) {
			r = rand()
			if (r < 0.2) print per[1 + int(rand() * 3)] " NN B-PER" > out
			else if (r < 0.3) { print "mister NN B-PER" > out; print per[1 + int(rand() * 3)] " NN I-PER" > out }
			else if (r < 0.5) print loc[1 + int(rand() * 3)] "\tB-LOC" > out
			else print mid[1 + int(rand() * 10)] " O" > out
		}
		print "" > out
	} }'
cut -d' ' -f1 "$tg/train.conll" | cut -f1 | tr '\n' ' ' > "$tg/words.txt"
check "a vocabulary that cuts words" "$sinter" tokenizer train "$tg/words.txt" -o "$tg/tokenizer.json" --kind wordpiece --vocab 60
check "bert builds" "$sinter" build models/bert.sinter --preset nano --set C=5 -o "$tg/bert"
tagged="--tokenizer $tg/tokenizer.json --lr 3e-3 --warmup 10 --schedule constant --epochs 30"
for t in 1 3; do
	check "a tagger is trained on $t threads" "$tg/bert" train tagger --data "$tg/train.conll" --valid "$tg/dev.conll" $tagged -q -t $t --out "$tg/run-$t"
done
check "to the same bits" cmp "$tg/run-1/last/model.safetensors" "$tg/run-3/last/model.safetensors"
check "config.json has the tags' names" grep -q '"I-PER"' "$tg/run-1/best/config.json"
words=$(grep -c . "$tg/dev.conll")
exits "it has learnt" 0 "^loss 0\.0[0-9]+  acc (0\.99|1\.0)[0-9]+  f1 (0\.9|1\.0)[0-9]+  words $words\$" "$tg/bert" eval tagger -m "$tg/run-1" --data "$tg/dev.conll" -q
jsonl() { awk '!NF { if (n) print "{\"" $0 "tokens\": [" a "], \"ner\": [" b "]}"; n = 0; a = b = ""; next }
	{ a = a (n ? ", " : "") "\"" $1 "\""; b = b (n++ ? ", " : "") "\"" $NF "\"" }' "$1"; }
jsonl "$tg/dev.conll" > "$tg/dev.jsonl"
"$tg/bert" eval tagger -m "$tg/run-1" --data "$tg/dev.conll" -q > "$tg/conll" 2> "$tg/err"
check "json lines are the same data" sh -c "'$tg/bert' eval tagger -m $tg/run-1 --data $tg/dev.jsonl --label-column ner -q 2> $tg/err | cmp - $tg/conll"
exits "entities are counted" 0 '^\{"accuracy":(0\.99|1).*"f1":(0\.9|1).*"entities":[0-9]+,"words":'"$words"'\}$' "$tg/bert" tag -m "$tg/run-1" --data "$tg/dev.conll" --score -q
# Entities are one thing wherever they are counted: tags of a run that has learnt less, so that the numbers are none of 0 and 1; in sentences that are cut, too.
awk '{ print } NF && NR % 3 == 0 { print; print $1, "O" }' "$tg/dev.conll" | awk '{ print } !NF && NR % 2 { next } ' > "$tg/hard.conll"
{ cat "$tg/hard.conll"; grep . "$tg/dev.conll" | head -n 90; } > "$tg/long.conll"
check "a tagger that stops early on entities" "$tg/bert" tagger --data "$tg/train.conll" --valid "$tg/hard.conll" --tokenizer "$tg/tokenizer.json" --lr 3e-3 --warmup 10 --schedule constant \
	--steps 400 --validate-every 5 --best f1 --patience 3 --out "$tg/early"
tg_best=$(sed -nE '/val_loss/s/.*"f1":([0-9.]{7}).*/\1/p' "$tg/early/metrics.jsonl" | sort | tail -n 1)
exits "eval's F1 is what decided" 0 "f1 ${tg_best:-none}" "$tg/bert" eval tagger -m "$tg/early" --data "$tg/hard.conll" -q
check "it stopped" test "$(sed -nE 's/.*"step":([0-9]+).*/\1/p' "$tg/early/metrics.jsonl" | tail -n 1)" -lt 400
for file in hard long; do
	"$tg/bert" tag -m "$tg/early" --data "$tg/$file.conll" --score -q > "$tg/score" 2>&1
	exits "and what tag says of $file" 0 "f1 $(sed -nE 's/.*"f1":([0-9.]+).*/\1/p' "$tg/score" | xargs printf %.6f) " "$tg/bert" eval tagger -m "$tg/early" --data "$tg/$file.conll" -q
done
exits "no entity at all" 0 'f1 nan  words 3$' sh -c "printf 'the O\na O\ntoday O\n' > $tg/plain.conll; '$tg/bert' eval tagger -m $tg/run-1 --data $tg/plain.conll -q"
"$build/tools/tensors" write "$tg/in.st" tokens I32 4,5 7,9,11,13 segment I32 4,5 0 real BOOL 4,5 1 tags I32 4,5 0,1,2
exits "a file of inputs has no words to be judged by" 0 '^loss [0-9.]+  acc [0-9.]+  examples' "$tg/bert" eval tagger -m "$tg/run-1" --inputs "$tg/in.st" -q
exits "nor can it be the best" 2 'best f1: it is judged by the texts of --data, and --inputs has none' "$tg/bert" tagger --inputs "$tg/in.st" --valid-inputs "$tg/in.st" --best f1 --batch 1 --steps 1 --out "$tg/never"
exits "words of a text" 0 '^\{"text":"Mister bob, saw Rome","words":\[\{"word":"Mister","tag":"B-PER","score":0\.[0-9]+,"start":0,"end":6\},\{"word":"bob","tag":"I-PER".*"word":",",.*"start":10,"end":11\},.*\{"word":"Rome","tag":"B-LOC".*"start":16,"end":20\}\]\}$' \
	"$tg/bert" tag -m "$tg/run-1" "Mister bob, saw Rome" -q
check "of each line of a file" sh -c "printf 'bob saw rome\ntoday\n' | '$tg/bert' tag -m $tg/run-1 --data - -q | wc -l | grep -qx 2"
check "lists at their place" sh -c "'$tg/bert' tag -m $tg/run-1 --data $tg/dev.jsonl -q | sed -n 's/\"word\":/\n&/gp' | sed -nE 's/^\"word\":\"([^\"]*)\",\"tag\":.*/\1/p' > $tg/out.txt; awk 'NF { print \$1 }' $tg/dev.conll | cmp - $tg/out.txt"
long=$(for i in $(seq 80); do printf 'bob saw '; done)
exits "what is cut off has no tag" 0 '"tag":null' "$tg/bert" tag -m "$tg/run-1" "$long" -q
exits "and that is said" 0 '1 of 1 sentences are longer than 64 tokens and were cut' "$tg/bert" tag -m "$tg/run-1" "$long"

no="--tokenizer $tg/tokenizer.json --steps 1 --out $tg/never"
echo '{"tokens": ["a", "b"], "tags": ["O"]}' > "$tg/bad.jsonl"
exits "tags of another number" 3 'bad.jsonl:1: 1 tags of 2 words' "$tg/bert" tagger --data "$tg/bad.jsonl" $no
echo '{"tokens": "a b", "tags": ["O"]}' > "$tg/bad.jsonl"
exits "no list" 3 'bad.jsonl:1: "tokens" is no list of words' "$tg/bert" tagger --data "$tg/bad.jsonl" $no
echo '{"tokens": ["a"]}' > "$tg/bad.jsonl"
exits "no tags" 3 'bad.jsonl:1: no "tags"' "$tg/bert" tagger --data "$tg/bad.jsonl" $no
echo '{"tokens": [], "tags": []}' > "$tg/bad.jsonl"
exits "no words" 3 'bad.jsonl:1: no words in it' "$tg/bert" tagger --data "$tg/bad.jsonl" $no
printf 'bob B-PER\n\nrome B-CITY\n' > "$tg/bad.conll"
exits "an unknown tag" 3 'bad.conll:3: the label "B-CITY" is none of B-LOC, B-PER' "$tg/bert" eval tagger -m "$tg/run-1" --data "$tg/bad.conll"
exits "nor is it judged" 3 'bad.conll:3: the tag "B-CITY" is none' "$tg/bert" tag -m "$tg/run-1" --data "$tg/bad.conll" --score
printf 'a A\nb B\nc C\nd D\ne E\nf F\n' > "$tg/bad.conll"
exits "too many tags" 3 '6 labels in column "tags" .*build it with --set C=6' "$tg/bert" tagger --data "$tg/bad.conll" $no
echo bob > "$tg/bad.txt"
exits "texts have no tags" 2 'two columns with a blank line behind each sentence' "$tg/bert" tagger --data "$tg/bad.txt" $no
exits "nothing to judge" 3 'wants --data with tags' "$tg/bert" tag -m "$tg/run-1" --data "$tg/bad.txt" --score
exits "blanks have no words" 3 'text 1: no words in it' "$tg/bert" tag -m "$tg/run-1" "  "
check "tags as a file" "$tg/bert" tag -m "$tg/run-1" --data "$tg/dev.conll" --score -q -o "$tg/told.jsonl"
check "a line a sentence" test "$(grep -c '^{"words":' "$tg/told.jsonl")" = "$(grep -c . "$tg/dev.jsonl")"
exits "tags are no tensors" 2 "never.st: tags are JSON lines: the name of their file ends in .jsonl" "$tg/bert" tag -m "$tg/run-1" bob -o "$tg/never.st"
exits "nothing to tag" 2 'give a text, --data FILE' "$tg/bert" tag -m "$tg/run-1"
printf 'words\n' > "$tg/x.tsv"
exits "a table of texts is none of words" 3 'a word and its tag are wanted' "$tg/bert" tagger --data "$tg/x.tsv" $no
