# Explaining: attention, attributions, log-probabilities and the logit lens, as a table, JSON, SVG and a page.
why=$tmp/explain; mkdir -p "$why"
tensors=$build/tools/tensors
check "a tokenizer with a mask" "$sinter" tokenizer train "$corpus" --kind wordpiece --vocab 400 -o "$why/tokenizer.json"
check "bert is built with its explain entry" "$sinter" build --preset nano --set V=400 --set explain.T=32 --set explain.B=3 --set train.micro=4 --set train.batch=4 --set train.T=12 -o "$why/bert" models/bert.sinter
"$tensors" write "$why/batch.st" tokens I32 16,12 rand:1:0:400 segment I32 16,12 0,0,0,0,0,0,1,1,1,1,1,1 real BOOL 16,12 1 masked I32 16,12 rand:2:0:400 follows I32 16 0,1
check "and trained a little" "$why/bert" train -i "$why/batch.st" --steps 60 --lr 3e-3 --warmup 5 -q --out "$why/run"
cp "$why/tokenizer.json" "$why/run/last/"; cp "$why/tokenizer.json" "$(realpath "$why/run/best")/"
bert="$why/bert explain -m $why/run"
exits "a table" 0 '^mlm at 3: ".*", score [-0-9.]+, probability 0\.[0-9]+; likeliest:' $bert "return the [MASK] of values"
exits "which lists the tokens" 0 '^ +3  \[MASK\]' $bert "return the [MASK] of values" -q
exits "and the lens" 0 '^  bert.encoder.layer.1 +".*" 0\.[0-9]+; 0\.[0-9]+$' $bert "return the [MASK] of values" -q
exits "two texts are told apart" 0 '^nsp: [01], score' $bert "return x" "static int" -q
complete() {  # NAME COMMAND...: attributions sum to the difference of scores, within 1%
	local name=$1; shift
	"$@" --json -q > "$why/out.json" 2> "$why/err"
	if sed -nE 's/.*"from":([^,]*),"to":([^,]*),"sum":([^,]*),"error":([^,]*),"evaluations":[0-9]+,"holds":true.*/\1 \2 \3 \4/p' "$why/out.json" | awk '
		{ d = $2 - $1; e = $3 - d; if (e < 0) e = -e; if (d < 0) d = -d; n = d > 1e-4 && e <= 0.01 * d + 1e-6 } END { exit !n }'; then ok "$name"
	else bad "$name" "$(head -c 300 "$why/err")" "$(grep -o '"completeness":[^}]*' "$why/out.json")"; fi
}
complete "complete: a masked word" $bert "return the [MASK] of values"
complete "another word, from zeros" $bert "return the [MASK] of values" --token int --baseline zero
complete "from padding, of a probability" $bert "return the [MASK] of values" --baseline pad --log-probability
complete "a class" $bert "return x" "static int" --class 1
complete "few gradients to begin with" $bert "return x" "static int" --class 0 --steps 4
sums() {  # innermost lists of numbers: how many, and are all sums 1?
	sed -E 's/.*"attention"://; s/"lens":.*//' "$1" | grep -oE '\[[-0-9.,e]+\]' | tr -d '[]' | awk -F, '{ s = 0; for (i = 1; i <= NF; i++) s += $i; if (s < 0.99999 || s > 1.00001) bad++ } END { print NR + 0, bad + 0 }'
}
$bert "return the [MASK] of values" --json -q > "$why/a.json"
T=$(grep -o '"segment"' "$why/a.json" | wc -l)
check "rows of attention and of its rollout sum to 1" test "$(sums "$why/a.json")" = "$((T * 3 * 2 + T)) 0"
last() { sed -E 's/.*"lens":\[.*\{"layer":"[^"]*","probability":([^,]*),"likeliest.*/\1/' "$1"; }
share() { sed -E 's/.*"score":[^,]*,"probability":([^,]*),.*/\1/' "$1"; }
close() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && d < 1e-5) }'; }
check "the last layer's lens is the model's answer" close "$(last "$why/a.json")" "$(share "$why/a.json")"
for t in 1 2 3; do $bert "return the [MASK] of values" --json -q -t $t > "$why/t$t.json"; done
check "the same on any number of threads" sh -c "cmp $why/t1.json $why/t2.json && cmp $why/t1.json $why/t3.json"
check "json, by a file's name" $bert "return the [MASK] of values" -o "$why/b.json" -q
check "is what --json prints" cmp "$why/a.json" "$why/b.json"
check "a picture" $bert "return the [MASK] of values" -o "$why/a.svg" -q
check "has a map for each layer and head" test "$(grep -c '<image ' "$why/a.svg")" = 6
check "a page" $bert "if (a < b && c) <b>bold</b> </script> [MASK]" -o "$why/a.html" -q
check "has a token each, and no markup of the text's" sh -c "grep -q 'class=\"tok' $why/a.html && ! grep -qE '<b>bold|</script> \[MASK' $why/a.html && test \$(grep -c '</script>' $why/a.html) = 2"
check "refers to nothing outside" sh -c "! grep -qE 'https?://|src=|@import|url\(' $why/a.html"

# A classifier: of texts where one word decides, that word is why, by the classes' names; the same command explains a pre-trained model.
awk 'BEGIN { srand(11); split("the a day house was very food and place walk", w); print "text\tlabel"
	for (i = 0; i < 600; i++) { y = rand() < 0.5; n = 3 + int(rand() * 8); at = int(rand() * n); s = ""
		for (k = 0; k < n; k++) s = s (k ? " " : "") (y && k == at ? "offer" : w[1 + int(rand() * 10)])
		print s "\t" (y ? "spam" : "ham") } }' > "$why/mail.tsv"
cut -f1 "$why/mail.tsv" | sed 1d > "$why/words.txt"
check "a tokenizer of words" "$sinter" tokenizer train "$why/words.txt" --kind wordpiece --vocab 100 -o "$why/words.json"
check "a classifier is trained" "$why/bert" train classifier --data "$why/mail.tsv" --tokenizer "$why/words.json" --lr 2e-3 --warmup 10 --schedule constant --epochs 4 -q --out "$why/mail"
class="$why/bert explain -m $why/mail"
offer="the food was an offer and a very nice place"
exits "the weights say what is explained" 0 '^result: "spam", score [-0-9.]+, probability 0\.9[0-9]+; likeliest: "spam"' $class "$offer"
exits "and it says so" 0 'the weights are those of explain_classify' $class "$offer"
exits "another class than the likeliest" 0 '^result: "ham", score -' $class "$offer" --class ham -q
exits "by its own name" 0 '^result: "ham", ' "$why/bert" explain_classify -m "$why/mail" "the house" -q
complete "it is complete, too" $class "$offer" --class spam
$class "$offer" --class spam --json -q > "$why/class.json"
largest() {  # the token with the largest attribution, and how many times the next one's
	paste <(grep -o '"token":"[^"]*","segment"' "$1" | cut -d'"' -f4) <(sed -E 's/.*"integrated_gradients":\[([^]]*)\].*/\1/' "$1" | tr ',' '\n') |
		awk -F'\t' '{ v = $2 < 0 ? -$2 : $2; if (v > a) { b = a; a = v; w = $1 } else if (v > b) b = v } END { print w, (a > 10 * b) }'
}
check "the word that decides is why" test "$(largest "$why/class.json")" = "offer 1"
"$why/bert" classify -m "$why/mail" "" -q > "$why/empty.txt" 2>> "$why/err"
exits "an empty text is one, as it is for classify" 0 "^result: \"$(sed -E 's/.*"label":"([^"]*)".*/\1/' "$why/empty.txt")\", score" $class "" -q
exits "of which nothing is why" 0 '"sum":0\.0,' $class "" -q --json
check "the page names the class" sh -c "$class '$offer' -o $why/class.html -q && grep -q spam $why/class.html"
exits "a class by a wrong name" 2 'classes 0 to 1, by name ham, spam; did you mean spam' $class "$offer" --class spm
exits "a pre-trained model has no classifier" 3 'classifier.weight: not in the file' "$why/bert" explain_classify -m "$why/run" "x"
check "a program of classes alone" "$sinter" build --preset nano --set V=400 --entry explain_classify -o "$why/alone" models/bert.sinter
exits "has that command" 0 '^result: "spam"' "$why/alone" explain_classify -m "$why/mail" "$offer" -q
"$tensors" write "$why/none.st" bert.pooler.dense.bias F32 48 0
exits "weights of neither" 3 "none of this program's explain entries has its weights there: explain lacks .*; explain_classify lacks .* and [0-9]+ more" "$why/bert" explain -m "$why/none.st" x --tokenizer "$why/words.json"

# RoBERTa and DistilBERT: the same commands, from the table to the reason.
for m in roberta distilbert; do
	check "$m is built with its heads" "$sinter" build --preset nano --set V=400 --entry classifier,classify,explain,explain_classify -o "$why/$m" models/$m.sinter
	check "a classifier on it is trained" "$why/$m" classifier --data "$why/mail.tsv" --tokenizer "$why/words.json" --lr 2e-3 --warmup 10 --schedule constant --epochs 4 -q --out "$why/$m-mail"
	exits "it has learnt" 0 'acc (0\.9[5-9]|1\.0)[0-9]*  f1 ' "$why/$m" eval classifier -m "$why/$m-mail" --data "$why/mail.tsv" -q
	exits "it classifies" 0 '^\{"text":"the food was an offer","label":"spam","score":0\.9.*"ham":0\.0' "$why/$m" classify -m "$why/$m-mail" "the food was an offer" -q
	exits "its weights say what is explained" 0 'the weights are those of explain_classify' "$why/$m" explain -m "$why/$m-mail" "$offer"
	complete "completely" "$why/$m" explain -m "$why/$m-mail" "$offer" --class spam
	check "the word that decides is why there, too" test "$(largest "$why/out.json")" = "offer 1"
done
check "weights of a pre-trained DistilBERT" "$sinter" build --preset nano --set V=400 --entry fill -o "$why/masked" models/distilbert.sinter
check "are written" "$why/masked" init --seed 2 -o "$why/masked-weights"
exits "and get a head" 0 'begin as random numbers: pre_classifier.weight, pre_classifier.bias, classifier.weight, classifier.bias' \
	"$why/distilbert" classifier -m "$why/masked-weights" --data "$why/mail.tsv" --tokenizer "$why/words.json" --steps 1 --out "$why/headed"

# Maps of attention are the same whether the layers keep scores or not (flash), here where flash is what is compiled.
long="--preset nano --set V=400 --set N=512 --set explain.T=512 --entry explain models/bert.sinter"
plans() { "$sinter" build $long "$@" --emit=plan -o "$why/plan" && grep -cE '[0-9] +flash f32' "$why/plan"; }
check "flash at 512 tokens, not without it" test "$(($(plans) > 0)) $(plans --without flash)" = "1 0"
check "built with it" "$sinter" build $long -o "$why/flash"
check "and without" "$sinter" build $long --without flash -o "$why/noflash"
numbers() { "$1" explain --random --seed 3 --tokenizer byte "some words of a text" --class 1 -q --json | sed -E 's/.*"attention"://; s/"lens":.*//; s/"layer":"[^"]*"//g' | grep -oE '[0-9]+\.[0-9e.-]+'; }
numbers "$why/flash" > "$why/flash.txt"; numbers "$why/noflash" > "$why/noflash.txt"
T=$(printf 'some words of a text' | wc -c)
check "the same maps" sh -c "paste $why/flash.txt $why/noflash.txt | awk '{ d = \$1 - \$2; if (d < 0) d = -d; bad += d > 1e-6 || \$2 == \"\" } END { print NR, bad + 0 }' | grep -qx '$((T * T * (2 * 3 + 1))) 0'"

# GPT-2: only on request
check "gpt2 has no explain entry" "$sinter" build $tiny -o "$why/plain" models/gpt2.sinter
exits "unless it is asked for" 2 "unknown command" "$why/plain" explain --random x
check "and nothing that serves one" sh -c "! grep -q 'integrated gradients' $why/plain"
check "--with explain" "$sinter" build $tiny --precision f32 --with explain -o "$why/gpt2" models/gpt2.sinter
exits "there is no such entry" 1 "has no entry .explian." "$sinter" build $tiny --with explian -o "$why/never" models/gpt2.sinter
check "trained a little" "$why/gpt2" $train --steps 40 -q --out "$why/gpt-run"
gpt="$why/gpt2 explain -m $why/gpt-run --tokenizer byte"
printf 'static int count(void)' > "$why/text.txt"
exits "the next token" 0 '^result at 22: ".*", score' $gpt "static int count(void)" -q
exits "a token that stands there" 0 '^result at 7: "i", score' $gpt "static int count(void)" --position 7 -q
complete "complete: the next token" $gpt "static int count(void)"
complete "one that was said, its probability" $gpt "static int count(void)" --position 7 --log-probability
$gpt "static int count(void)" --json -q > "$why/gpt.json"
check "log-probabilities are eval's loss" close "$(grep -o '"logprob":[^,]*' "$why/gpt.json" | awk -F: '{ s -= $2; n++ } END { print s / n }')" \
	"$("$why/gpt2" eval -m "$why/gpt-run" --tokenizer byte --data "$why/text.txt" -q | awk '{ print $2 }')"
check "no token attends to those behind it" sh -c "sed -E 's/.*\"rollout\":\[\[1\.0,(0\.0,?)*\].*/first/' $why/gpt.json | grep -qx first"
check "what comes later is not why" sh -c "$gpt 'static int count(void)' --position 7 --json -q | grep -oE '\"integrated_gradients\":\[[^]]*' | tr ',' '\n' | tail -n 15 | awk '\$1 != 0 { exit 1 }'"
check "llama is explained, too" "$sinter" build --preset nano --entry explain --set explain.T=32 -o "$why/llama" models/llama.sinter
complete "with grouped heads" "$why/llama" explain --random "to be or not" --seed 3

# what users get wrong
exits "no text" 2 'wants a text' $bert
exits "a text without a token" 3 'a text without any token' "$why/bert" explain --random --tokenizer byte ""
exits "too many texts" 2 'unexpected argument "c"' $bert a b c
why_long() { printf 'a %.0s' $(seq "$1"); }
exits "too long a text" 3 'has 42 tokens; this program explains 32 at most: build it with --set explain.T=42$' $bert "$(why_long 40)"
exits "longer than the model goes, too" 3 'has 92 tokens; this program explains 32 at most: the model itself takes 64: shorten the text, and build it with --set explain.T=64$' $bert "$(why_long 90)"
check "a program of all that the model takes" "$sinter" build --preset nano --set V=400 --entry explain -o "$why/whole" models/bert.sinter
exits "can only take less" 3 'has 92 tokens; this program explains 64 at most: the model itself takes no more: shorten the text$' "$why/whole" explain -m "$why/run" "$(why_long 90)"
exits "an unknown result" 2 'returns mlm, nsp; did you mean nsp' $bert x --of nps
exits "a class of tokens" 2 'is for scores of classes' $bert "x [MASK]" --of mlm --class 1
exits "a token of classes" 2 'is for scores of each place' $bert x --of nsp --token int
exits "a class that there is not" 2 'there are classes 0 to 1' $bert x --class 7
exits "a token that there is not" 2 'the vocabulary has no such token' $bert "x [MASK]" --token 'zzz qqq'
exits "a place behind the text" 2 'the text has tokens 0 to ' $bert "x [MASK]" --position 99
exits "the first token of a causal model" 2 'the first is predicted by none' $gpt "ab" --position 0
exits "an unknown baseline" 2 'the tokenizer has no such one' $gpt "ab" --baseline mask
exits "an unknown kind of file" 2 'ends in .json, .svg or .html' $bert x -o "$why/x.png"
exits "no weights" 2 'give weights|-m' "$why/bert" explain x
cat > "$why/odd.sinter" <<'END'
config { V: dim = 300
  D: dim = 8 }
dim B, T <= 8
model M(tokens: id(V)[B,T], x: [B,T]) -> [B,T] {
  emb: embedding(V -> D)
  return mean(emb(tokens), D) + x
}
explain(tokens: id(V)[B,T], x: [B,T]) { return M(tokens, x) }
END
check "scores of classes, though there are T of them" "$sinter" build "$why/odd.sinter" -o "$why/odd"
exits "an input that no text makes" 2 'its input x f32\[B,T\] can.t be made of a text' "$why/odd" explain --random abc
sed 's/\[B,T\] {$/[] {/; s/return mean.*/return mean(emb(tokens))/; s/, x: \[B,T\]//g; s/M(tokens, x)/M(tokens)/' "$why/odd.sinter" > "$why/scalar.sinter"
exits "no scores" 1 'E1014.*scores of classes \[B,C\] or of each position' "$sinter" build "$why/scalar.sinter" -o "$why/never"
sed 's/return M(tokens, x)/y = M(tokens, x)/' "$why/odd.sinter" > "$why/nothing.sinter"
exits "nothing to explain" 1 'E0609.*returns the scores' "$sinter" check "$why/nothing.sinter"
exits "it computes in f32" 1 'E0620.*explain entries compute in f32' "$sinter" check <(sed 's/^  return M(tokens, x) }/  return M(tokens, x)\n  precision bf16 }/; s/{ return M(tokens, x) }/{\n  return M(tokens, x)\n  precision bf16\n}/' "$why/odd.sinter")
check "and so with all else in blocks" "$sinter" build --preset nano --quantize q8_0 --with explain --entry generate -o "$why/blocks" models/llama.sinter
complete "it is complete" "$why/blocks" explain --random "to be or not" --seed 3
