# Tables and texts: training, validation and evaluation on TSV, CSV and JSON lines by named columns, predictions of texts, what users get wrong.
tb=$tmp/tables; mkdir "$tb"
awk 'BEGIN { srand(7); split("bright fine lovely great nice warm", good); split("dark awful grim bad nasty cold", bad); split("the a day house was very food and place walk", mid);
	print "id\tsentence\tlabel" > "'"$tb"'/train.tsv"; print "id\tsentence\tlabel" > "'"$tb"'/dev.tsv"
	for (i = 0; i < 400; i++) {
		y = rand() < 0.5; n = 2 + int(rand() * 14); at = int(rand() * n); s = ""
		for (k = 0; k < n; k++) s = s (k ? " " : "") (k == at ? (y ? good[1 + int(rand() * 6)] : bad[1 + int(rand() * 6)]) : mid[1 + int(rand() * 10)])
		print i "\t" s "\t" (y ? "pos" : "neg") > (i < 320 ? "'"$tb"'/train.tsv" : "'"$tb"'/dev.tsv") } }'
cut -f2 "$tb/train.tsv" > "$tb/words.txt"
check "a vocabulary is learnt" "$sinter" tokenizer train "$tb/words.txt" -o "$tb/tokenizer.json" --kind wordpiece --vocab 120
check "bert builds" "$sinter" build models/bert.sinter --preset nano -o "$tb/bert"
bert=$tb/bert
tuned="--text-column sentence --tokenizer $tb/tokenizer.json --lr 3e-3 --warmup 10 --schedule constant --epochs 4"
for t in 1 3; do
	check "a classifier is trained on $t threads" "$bert" train classifier --data "$tb/train.tsv" --valid "$tb/dev.tsv" $tuned -q -t $t --out "$tb/run-$t"
done
check "to the same bits" cmp "$tb/run-1/last/model.safetensors" "$tb/run-3/last/model.safetensors"
check "another part of it" "$bert" classifier --data "$tb/train.tsv" --valid "$tb/dev.tsv" $tuned --steps 17 -q --out "$tb/run-17"
check "from which it goes on" "$bert" classifier --resume "$tb/run-17" --steps 40 -q
check "and one without a stop" "$bert" classifier --data "$tb/train.tsv" --valid "$tb/dev.tsv" $tuned --steps 40 -q --out "$tb/run-40"
check "has the same bits" cmp "$tb/run-17/last/model.safetensors" "$tb/run-40/last/model.safetensors"
check "config.json has the labels' names" grep -q '"neg"' "$tb/run-1/best/config.json"
check "and no weights that were not trained" test "$("$build/tools/tensors" print "$tb/run-1/best/model.safetensors" | grep -cE '^(cls|qa_outputs)')" = 0
exits "eval" 0 '^loss 0\.[0-9]+  acc (0\.9|1\.0)[0-9]+  f1 [01]\.[0-9]+  mcc [01]\.[0-9]+  examples 80$' "$bert" eval classifier -m "$tb/run-1" --data "$tb/dev.tsv" --text-column sentence -q
exits "another entry's eval names the others" 3 'eval of `train`; there are eval-classifier, eval-regressor' "$bert" eval -m "$tb/run-1" --data "$tb/dev.tsv"
check "its own does not" sh -c "! '$bert' eval classifier -m '$tb/run-1' --data '$tb/train.sv' 2>&1 | grep -q 'there are'"
exits "its columns are the run's" 0 'as the run was given: --text-column sentence$' "$bert" eval classifier -m "$tb/run-1" --data "$tb/dev.tsv"
exits "which a flag says otherwise" 3 'has no column "text"; it has id, sentence, label: say which with --text-column' "$bert" eval classifier -m "$tb/run-1" --data "$tb/dev.tsv" --text-column text
sed '1!s/\t/,/; 1s/.*/id,x,label/; s/\t/,/' "$tb/dev.tsv" | sed '1!s/^\([0-9]*\),\(.*\),\(.*\)$/\1,"\2","\3"/' > "$tb/dev.csv"
awk -F'\t' 'NR > 1 { printf "{\"say\": \"%s\", \"class\": \"%s\"}\n", $2, $3 }' "$tb/dev.tsv" > "$tb/dev.jsonl"
of() { "$bert" eval classifier -m "$tb/run-1" -q --data "$tb/$1" --text-column "$2" --label-column "$3"; }
of dev.tsv sentence label > "$tb/tsv" 2>&1; of dev.csv x label > "$tb/csv" 2>&1; of dev.jsonl say class > "$tb/jsonl" 2>&1
check "csv is the same data" cmp "$tb/tsv" "$tb/csv"
check "and json lines are" cmp "$tb/tsv" "$tb/jsonl"

exits "a text" 0 '^\{"text":"a lovely house","label":"pos","score":0\.[0-9]+,"scores":\{"neg":0\.[0-9]+,"pos":0\.[0-9]+\}\}$' "$bert" classify -m "$tb/run-1" "a lovely house" -q
check "a column of texts" sh -c "'$bert' classify -m $tb/run-1 --data $tb/dev.tsv --text-column sentence -q > $tb/said"
sed -E 's/^\{"text":"([^"]*)","label":"([^"]*)".*/\1\t\2/' "$tb/said" > "$tb/said.tsv"
cut -f2 "$tb/dev.tsv" | sed 1d > "$tb/asked"
check "each at its place" sh -c "cut -f1 $tb/said.tsv | cmp - $tb/asked"
check "nine of ten are right" sh -c "cut -f3 $tb/dev.tsv | sed 1d | paste - $tb/said.tsv | awk -F'\t' '{ n += \$1 == \$3 } END { exit !(n >= 72) }'"
check "predictions to a file of lines" "$bert" classify -m "$tb/run-1" --data "$tb/dev.tsv" --text-column sentence -q -o "$tb/said.jsonl"
check "are what is printed" cmp "$tb/said" "$tb/said.jsonl"
exits "none where no directory is" 1 'none/x.jsonl.tmp: No such' "$bert" classify -m "$tb/run-1" x -o "$tb/none/x.jsonl"
exits "nor in a table of another form" 2 'x.tsv: results are JSON lines \(-o FILE.jsonl\) or tensors' "$bert" classify -m "$tb/run-1" x -o "$tb/x.tsv"
check "scores as tensors" "$bert" classify -m "$tb/run-1" --data "$tb/dev.tsv" --text-column sentence -q -o "$tb/said.st"
check "one for each text and label" test "$("$build/tools/tensors" print "$tb/said.st" result | tr ' ' '\n' | sed 1,3d | wc -l)" = 160
exits "no lines of a file of tensors" 2 'results of --inputs FILE are tensors' "$bert" classify -m "$tb/run-1" -i "$tb/said.st" -o "$tb/x.jsonl"
exits "an empty text is one" 0 '^\{"text":"","label":"' "$bert" classify -m "$tb/run-1" "" -q
exits "but not without a token" 3 'text 1: a text without any token' "$bert" classify --random --tokenizer byte "" -q
exits "a table on standard input has to be called one" 0 'read as a text a line; is it a table, say --format tsv' sh -c "'$bert' classify -m '$tb/run-1' --data - < '$tb/dev.tsv'"
exits "or is taken for texts" 0 'say --format jsonl' sh -c "echo '{\"text\": \"great\"}' | '$bert' classify -m '$tb/run-1' --data -"
check "which is not said of others" sh -c "printf 'great day\n' | '$bert' classify -m '$tb/run-1' --data - > /dev/null 2> '$tb/err' && ! grep -q 'say --format' '$tb/err'"
sed -n 3p "$tb/asked" | "$bert" classify -m "$tb/run-1" --data - -q > "$tb/one" 2> "$tb/err"
check "alone as among others" cmp <(sed -E 's/"score.*//' "$tb/one") <(sed -n '3s/"score.*//p' "$tb/said")
# Metrics of a whole set against sums by hand, over three calls of 32; half of the answers are made wrong so that they are not all 1.
awk -F'\t' 'BEGIN { OFS = "\t" } NR > 1 && NR % 5 == 0 { $3 = $3 == "pos" ? "neg" : "pos" } 1' "$tb/dev.tsv" > "$tb/mixed.tsv"
cut -f3 "$tb/mixed.tsv" | sed 1d | paste - "$tb/said.tsv" | awk -F'\t' '{ n[$1, $3]++ }
	END { a = n["pos", "pos"]; b = n["neg", "pos"]; c = n["pos", "neg"]; d = n["neg", "neg"]
	printf "f1 %.6f  mcc %.6f", 2 * a / (2 * a + b + c), (a * d - b * c) / sqrt((a + b) * (a + c) * (d + b) * (d + c)) }' > "$tb/by-hand"
for t in 1 2; do
	exits "f1 and mcc on $t threads" 0 "$(cat "$tb/by-hand")" "$bert" eval classifier -m "$tb/run-1" --data "$tb/mixed.tsv" --text-column sentence -q -t $t
done
check "f1 decides" "$bert" classifier --data "$tb/train.tsv" --valid "$tb/mixed.tsv" $tuned --steps 20 --validate-every 10 --best f1 --out "$tb/run-f1"
check "and is kept" grep -q '"f1":0\.' "$tb/run-f1/metrics.jsonl"

exits "numbers of each token as a file" 0 "" "$bert" encode -m "$tb/run-1" --data "$tb/asked" --format txt -o "$tb/enc.st" -q
check "with their lengths" test "$("$build/tools/tensors" print "$tb/enc.st" lengths | tr ' ' '\n' | sed 1,3d | wc -l)" = 80
exits "masks" 0 '"masks":\[\{"position":2,"tokens":\[\{"token":"[^"]*","id":[0-9]+,"score":0' "$bert" fill --random --tokenizer "$tb/tokenizer.json" "great [MASK] food" -q
printf 'good [MASK]\nthe [MASK] of [MASK] [MASK] food\n[MASK] food here\n' > "$tb/masked.txt"
"$bert" fill --random --tokenizer "$tb/tokenizer.json" --data "$tb/masked.txt" -q > "$tb/filled" 2> /dev/null
while read -r line; do "$bert" fill --random --tokenizer "$tb/tokenizer.json" "$line" -q 2> /dev/null; done < "$tb/masked.txt" > "$tb/alone"
tb_few() { sed -E 's/"score":(0\.[0-9]{5})[0-9]*/"score":\1/g' "$1"; }
check "several texts with masks" cmp <(tb_few "$tb/filled") <(tb_few "$tb/alone")
check "each mask has its own" test "$(grep -o '"position"' "$tb/filled" | wc -l)" = 5
check "as a file" "$bert" fill --random --tokenizer "$tb/tokenizer.json" --data "$tb/masked.txt" -q -o "$tb/filled.st"
check "padded to the most masks" sh -c "'$build/tools/tensors' print '$tb/filled.st' | grep -q '^result.0 I32 \[3,3,5\]'"
check "for few masks" "$sinter" build models/bert.sinter --entry fill --preset nano --set V=500 --set M=2 -o "$tb/two"
exits "more masks than places" 3 'text 1: 3 masks in it, and this program looks at 2 of a text: build it with --set M=3' "$tb/two" fill --random --tokenizer "$tb/tokenizer.json" "the [MASK] [MASK] [MASK]"
exits "as many as it finds" 0 '^.*("token".*){5}$' "$bert" fill --random --tokenizer "$tb/tokenizer.json" "great [MASK] food" -q --top 5
exits "no more than that" 2 '--top 6: fill finds 5 tokens' "$bert" fill --random --tokenizer "$tb/tokenizer.json" "great [MASK] food" -q --top 6
exits "what the vocabulary has not is not explained as [UNK]" 2 'the vocabulary has no such token' "$bert" explain --random --tokenizer "$tb/tokenizer.json" "great [MASK] food" -q --token 猫
exits "[UNK] is by its name" 0 'mlm at 2: "\[UNK\]"' "$bert" explain --random --tokenizer "$tb/tokenizer.json" "great [MASK] food" -q --token '[UNK]'
exits "a text without one" 3 "no mask in it" "$bert" fill --random --tokenizer "$tb/tokenizer.json" "great food" -q

awk 'NR == 1 { print "text\tpair\tscore"; next } { print "a\t" substr("great day was fine and warm and good", 1, 5 + NR % 30) "\t" NR % 7 / 2 }' "$tb/dev.tsv" > "$tb/pairs.tsv"
check "numbers of pairs are learnt" "$bert" regressor --data "$tb/pairs.tsv" --tokenizer "$tb/tokenizer.json" --steps 3 --valid-fraction 0.2 -q --out "$tb/reg"
check "numbers are told" sh -c "'$bert' regress -m $tb/reg --data $tb/pairs.tsv --text-column text -q > $tb/told"
sed -E 's/.*"score":(-?[0-9.e-]+).*/\1/' "$tb/told" | paste - <(cut -f3 "$tb/pairs.tsv" | sed 1d) | awk '{ n++; a += $1; b += $2; x[n] = $1; y[n] = $2 }
	END { for (i = 1; i <= n; i++) { p = x[i] - a / n; q = y[i] - b / n; s += p * p; t += q * q; u += p * q }; printf "pearson %.3f", u / sqrt(s * t) }' > "$tb/r-by-hand"
exits "and told" 0 '^\{"text":"a","pair":"great day","score":-?[0-9.]+' "$bert" regress -m "$tb/reg" "a" --pair "great day" -q
exits "pearson" 0 "$(cat "$tb/r-by-hand")" "$bert" eval regressor -m "$tb/reg" --data "$tb/pairs.tsv" -q
sed -E 's/.*"score":(-?[0-9.e-]+).*/\1/' "$tb/told" | paste - <(cut -f3 "$tb/pairs.tsv" | sed 1d) | awk '{ x[NR] = $1; y[NR] = $2 }
	END { for (i = 1; i <= NR; i++) { p = q = 0; for (k = 1; k <= NR; k++) { p += (x[k] < x[i]) - (x[k] > x[i]); q += (y[k] < y[i]) - (y[k] > y[i]) }
	s += p * p; t += q * q; u += p * q }; printf "spearman %.4f", u / sqrt(s * t) }' > "$tb/rho-by-hand"
exits "spearman" 0 "$(cat "$tb/rho-by-hand")" "$bert" eval regressor -m "$tb/reg" --data "$tb/pairs.tsv" -q -t 2
awk -F'\t' 'BEGIN { OFS = "\t" } NR > 1 { $3 = 1 } 1' "$tb/pairs.tsv" > "$tb/same.tsv"
exits "no correlation with what never varies" 0 '"pearson":null,"spearman":null' "$bert" eval regressor -m "$tb/reg" --data "$tb/same.tsv" -q --json
check "ranks decide" "$bert" regressor --data "$tb/pairs.tsv" --tokenizer "$tb/tokenizer.json" --steps 4 --validate-every 2 --valid-fraction 0.2 --best spearman --out "$tb/ranks"
check "and are kept" grep -q '"val_loss".*"spearman":-*[01]' "$tb/ranks/metrics.jsonl"
check "its head is of one number, whatever C is" sh -c "'$build/tools/tensors' print $tb/reg/last/model.safetensors | grep -qE '^classifier.weight F32 \[1,48\]'"
check "it goes on" "$bert" regressor --resume "$tb/reg" --steps 5 -q
"$build/tools/tensors" print "$tb/reg/last/optimizer.safetensors" > "$tb/moments"
check "with moments of the checkpoint's names" test "$(grep -cE '^[mv].classifier.(weight|bias) F32 \[1[],]' "$tb/moments")" = 4
exits "no classifier tells a number" 3 'classifier.weight: the model has \[1,48\], the file F32 \[2,48\]' "$bert" regress -m "$tb/run-1" "a"
exits "and no regressor a class" 3 'classifier.weight: the model has \[2,48\], the file F32 \[1,48\]' "$bert" classify -m "$tb/reg" "a"
exits "why a number" 0 'the weights are those of explain_regress' "$bert" explain -m "$tb/reg" "a"
check "bert of one label" "$sinter" build models/bert.sinter --preset nano --set C=1 --entry classify,regress -o "$tb/one-label"
"$bert" regress -m "$tb/reg" "great day" -q > "$tb/of-two"
check "tells the same number" sh -c "'$tb/one-label' regress -m $tb/reg 'great day' -q | cmp - $tb/of-two"
exits "and no label" 2 'classify: the model has one output, which is a number and no label' "$tb/one-label" classify -m "$tb/reg" "great day"

no="--tokenizer $tb/tokenizer.json --steps 1 --out $tb/never"
exits "a column that is not there" 3 'has no column "text"; it has id, sentence, label: say which with --text-column' "$bert" classifier --data "$tb/train.tsv" $no
exits "too many labels" 3 '320 labels in column "id" .*build it with --set C=320' "$bert" classifier --data "$tb/train.tsv" --text-column sentence --label-column id $no
exits "no number" 3 'train.tsv:2: "(pos|neg)" in column "label" is no number' "$bert" regressor --data "$tb/train.tsv" --text-column sentence --label-column label $no
printf 'sentence\tlabel\nfine\tpos\nbad\tworse\n' > "$tb/bad.tsv"
exits "an unknown label" 3 'bad.tsv:3: the label "worse" is none of neg, pos' "$bert" eval classifier -m "$tb/run-1" --data "$tb/bad.tsv" --text-column sentence
printf 'a\tb\n1\n' > "$tb/bad.tsv"
exits "a short row" 3 'bad.tsv:2: 1 fields; there are 2 columns' "$bert" classifier --data "$tb/bad.tsv" $no
printf 'x' > "$tb/bad.dat"
exits "a form that nothing tells" 2 'bad.dat: is it tsv, csv' "$bert" classifier --data "$tb/bad.dat" $no
exits "nothing to classify" 2 'give a text, --data FILE' "$bert" classify -m "$tb/run-1"
exits "a text with a dash" 2 'a text that begins with a dash comes behind --' "$bert" classify -m "$tb/run-1" "- a bad day"
exits "comes behind two" 0 '^\{"text":"- a bad day","label":"neg"' "$bert" classify -m "$tb/run-1" -q -- "- a bad day"
exits "help says what takes texts" 0 '^  classify +run the model on texts' "$bert" --help
exits "texts and a file" 2 'exclude each other' "$bert" classify -m "$tb/run-1" x --data "$tb/asked"

# Weights that lack a whole layer that the file calls fresh, as those of a pre-training do; part of one, or another name, is an error.
put_bert() {  # FILE, names to leave out: as zeros of the shapes of a run
	"$build/tools/tensors" write "$1" $("$build/tools/tensors" print "$tb/run-1/last/model.safetensors" | awk -v out="$2" '$1 !~ out {
		shape = $3; gsub(/[][]/, "", shape); sub(/^bert\./, "", $1); print $1, $2, shape, "rand:1:-0.1:0.1" }')
}
put_bert "$tb/model.st" '^(classifier|cls)'
on="--data $tb/train.tsv --text-column sentence --tokenizer $tb/tokenizer.json --steps 1"
exits "a BertModel gets a head" 0 'not in the file, so they begin as random numbers: .*classifier.weight, classifier.bias' "$bert" classifier -m "$tb/model.st" $on --out "$tb/ontop"
exits "without its prefix" 0 'no "bert." prefix' "$bert" encode -m "$tb/model.st" "a house" --tokenizer "$tb/tokenizer.json"
exits "but nothing is told by a random head" 3 "classifier.weight: not in the file" "$bert" classify -m "$tb/model.st" "a house" --tokenizer "$tb/tokenizer.json"
put_bert "$tb/half.st" '^(classifier.bias|cls)'
exits "nor is half a head filled up" 3 "classifier.bias: not in the file" "$bert" classifier -m "$tb/half.st" $on --out "$tb/never"
put_bert "$tb/lost.st" '^(classifier|cls|bert.embeddings.LayerNorm.bias)'
exits "or another tensor" 3 "embeddings.LayerNorm.bias: not in the file" "$bert" classifier -m "$tb/lost.st" $on --out "$tb/never"

# MiniLM learns from pairs, of which all others of a batch are negatives.
awk -F'\t' 'NR == 1 { print "text\tpair"; next } { print $2 "\t" $2 " and food" }' "$tb/train.tsv" > "$tb/alike.tsv"
check "minilm builds" "$sinter" build models/minilm.sinter --preset nano -o "$tb/minilm"
for t in 1 2; do
	check "pairs are learnt on $t threads" "$tb/minilm" train --data "$tb/alike.tsv" --tokenizer "$tb/tokenizer.json" --steps 40 --lr 1e-3 --warmup 5 -q -t $t --out "$tb/alike-$t"
done
check "to the same bits, too" cmp "$tb/alike-1/last/model.safetensors" "$tb/alike-2/last/model.safetensors"
check "and the loss falls" awk -F"[:,]" '/"loss"/ { if (!n++) first = $4; last = $4 } END { exit !(last < first / 2) }' "$tb/alike-1/metrics.jsonl"
