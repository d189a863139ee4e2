# Pre-training from raw texts: pairs of sentences and masked words, the same bits on any number of threads and after a kill.
pre=$tmp/pretrain; mkdir -p "$pre/texts"
check "tiny BERT builds without a warning of its data" sh -c "'$sinter' build models/bert.sinter --set V=500 --set N=48 --set D=48 --set F=96 --set H=3 --set L=2 --set p=0.1 \
	--set train.micro=8 --set train.batch=16 --set train.T=48 -o $pre/bert 2>&1 | awk '/W0505/ { bad = 1 } { print } END { exit bad }'"
cat docs/language.md docs/runtime.md > "$pre/texts/a.txt"; cat docs/decisions.md > "$pre/texts/b.txt"; cp docs/kernels.md "$pre/valid.txt"
{ cat "$pre/texts/a.txt"; echo; cat "$pre/texts/b.txt"; } > "$pre/corpus.txt"
check "its tokenizer" "$sinter" tokenizer train "$pre/corpus.txt" "$pre/valid.txt" -o "$pre/tok.json" --kind wordpiece --vocab 500
pretrain="train --tokenizer $pre/tok.json --data $pre/corpus.txt --valid $pre/valid.txt --lr 3e-3 --warmup 10 --seed 5 --save-every 10"
for t in 1 2 3; do
	check "60 steps on $t threads" "$pre/bert" $pretrain --steps 60 -t $t --validate-every 60 --out "$pre/run$t"
	losses "$pre/run$t" > "$pre/loss$t"
done
for t in 2 3; do check "$t threads give the bits of 1" cmp "$pre/loss1" "$pre/loss$t"; done
check "losses and accuracies are logged" sh -c "tail -n 1 '$pre/run1/metrics.jsonl' | grep mlm_loss | grep mlm_acc | grep nsp_loss | grep nsp_acc"
check "the loss falls" sh -c "awk '{ a[NR] = \$1 } END { print a[1], a[60]; exit !(NR == 60 && a[60] < a[1] - 0.5) }' '$pre/loss1'"
"$pre/bert" $pretrain --steps 60 --out "$pre/killed" > /dev/null 2>&1 &
pre_pid=$!
while kill -0 $pre_pid 2> /dev/null && [ "$( { wc -l < "$pre/killed/metrics.jsonl"; } 2> /dev/null || echo 0)" -lt 23 ]; do sleep 0.005; done
kill -9 $pre_pid 2> /dev/null; wait $pre_pid 2> /dev/null
check "killed and resumed" "$pre/bert" train --resume "$pre/killed"
losses "$pre/killed" > "$pre/loss"
check "the same bits" cmp "$pre/loss1" "$pre/loss"
check "and the same weights" cmp "$pre/run1/last/model.safetensors" "$pre/killed/last/model.safetensors"

# What judges is the same always: as a part of training, in another process, with another seed.
valid_loss=$(sed -nE 's/.*"val_loss": ?([^,}]*).*/\1/p' "$pre/run1/metrics.jsonl")
pre_eval() { "$pre/bert" eval -q --json -m "$pre/run1/last" --data "$pre/valid.txt" "$@" 2> /dev/null; }
check "eval is what validation was" awk "BEGIN { exit !(\"$valid_loss\" != \"\" && \"$(pre_eval | sed -nE 's/.*"loss":([^,]*).*/\1/p')\" == \"$valid_loss\") }"
check "with any seed" test "$(pre_eval)" = "$(pre_eval --seed 77)"
check "but not with other masks" test "$(pre_eval)" != "$(pre_eval --mask-prob 0.4)"
check "another share of masks, in shorter rows" "$pre/bert" $pretrain --steps 20 --mask-prob 0.3 --context 40 --out "$pre/more"
pre_more=$(sed -nE 's/.*"val_loss": ?([^,}]*).*/\1/p' "$pre/more/metrics.jsonl")
exits "eval's masks and rows are the run's" 0 "\"loss\":$pre_more,.*" "$pre/bert" eval --json -m "$pre/more" --data "$pre/valid.txt"
exits "and that is said" 0 'as the run was given: --context 40 --mask-prob 0.3$' "$pre/bert" eval -m "$pre/more" --data "$pre/valid.txt" --eval-batches 1
check "unless a flag says otherwise" sh -c "! '$pre/bert' eval --json -m '$pre/more' --data '$pre/valid.txt' --mask-prob 0.15 | grep -q '\"loss\":$pre_more,'"
# Without a text of their own the last tenth of the documents validates.
for way in "$pre/texts" "$pre/texts/*.txt" "$pre/corpus.txt"; do
	check "data $(basename "$way")" "$pre/bert" train -q --tokenizer "$pre/tok.json" --data "$way" --steps 6 --out "$pre/way"
	losses "$pre/way" >> "$pre/ways"; rm -r "$pre/way"
done
check "a directory, a pattern and one file are the same text" sh -c "sed -n 1,6p '$pre/ways' > '$pre/way1'; sed -n 7,12p '$pre/ways' | cmp - '$pre/way1' && sed -n 13,18p '$pre/ways' | cmp - '$pre/way1' && test -s '$pre/way1'"

pre_bad() {  # NAME CODE PATTERN FLAGS...: one message, and no directory is left
	local name=$1 code=$2 pattern=$3; shift 3
	exits "$name" $code "$pattern" "$pre/bert" train -q --steps 2 --out "$pre/never" --tokenizer "$pre/tok.json" --data "$pre/corpus.txt" "$@"
	check "no more is said" test "$(grep -vc '^$' "$tmp/out")" = 1 -a ! -e "$pre/never"
}
"$sinter" tokenizer train "$pre/corpus.txt" -o "$pre/bpe.json" --vocab 400
"$sinter" tokenizer train "$pre/corpus.txt" -o "$pre/large.json" --kind wordpiece --vocab 600
printf 'One sentence.\nAnother one.\n' > "$pre/one.txt"; printf 'One.\nTwo.\n\nThree.\n' > "$pre/two.txt"; printf '\n\n \n' > "$pre/none.txt"
printf 'a\xff\n\nb\n\nc\n\nd\n' > "$pre/latin.txt"; echo '{"text": "a"}' > "$pre/lines.jsonl"
pre_bad "a tokenizer without [MASK]" 3 "bpe.json: the tokenizer has no \[MASK\]" --tokenizer "$pre/bpe.json"
pre_bad "bytes, too" 3 "byte: the tokenizer has no \[MASK\]" --tokenizer byte
pre_bad "a larger vocabulary" 3 "600 ids, the model's vocabulary 500: build it with --set V=600" --tokenizer "$pre/large.json"
pre_bad "one document" 3 "one.txt: 1 document .*: 2 to train on and 2 to validate on are the least" --data "$pre/one.txt"
pre_bad "one document to train on" 3 "one.txt: one document" --data "$pre/one.txt" --valid "$pre/corpus.txt"
pre_bad "two documents" 3 "two.txt: 2 documents" --data "$pre/two.txt"
pre_bad "fewer examples than a batch" 3 "2 examples to train on, a step takes 16: give a smaller --batch" --data "$pre/two.txt" --valid "$pre/corpus.txt"
pre_bad "no sentence" 3 "none.txt: there is no sentence in it" --data "$pre/none.txt"
pre_bad "no text" 3 "latin.txt:1: .*not valid UTF-8" --data "$pre/latin.txt"
pre_bad "json lines" 2 "lines.jsonl: sentence_pairs and mask_tokens read plain texts" --data "$pre/lines.jsonl"
pre_bad "no such file" 3 "/absent.txt: No such file" --data "$pre/absent.txt"
pre_bad "no file of a pattern" 3 "absent\*: there is no file of such a name" --data "$pre/absent*"
pre_bad "short rows" 2 "rows of 7 tokens are too short for pre-training: 8 are the least" --context 7
pre_bad "long rows" 2 "the compiled bound is 48" --context 49
pre_bad "no masks" 2 "--mask-prob 0: a part above 0" --mask-prob 0
pre_bad "more masks than words" 2 "--mask-prob wants a number from 0 to 1" --mask-prob 1.5
exits "the model file's texts are not here" 3 'corpus/\*.txt: there is no file of such a name' "$pre/bert" train -q --tokenizer "$pre/tok.json" --out "$pre/never"
exits "a flag of other data" 2 "unknown flag --mask-prob" sh -c "cd '$pre' && '$sinter' build '$PWD/tests/models/bigram.sinter' -o bigram && ./bigram train --mask-prob 0.5"
# Masked words alone, in rows of sentences that follow one another (RoBERTa's): no pairs, no label of what follows.
sed -e 's/, sentence_pairs(T)//; s/masked: id(V)?\[B,T\], follows: id(2)\[B\])/masked: id(V)?[B,T])/; s/^  next =.*//; s/words + next/words/; s/, nsp_loss.*//' models/bert.sinter > "$pre/masked.sinter"
check "masked words alone" sh -c "'$sinter' build $pre/masked.sinter --preset nano --set V=500 --set train.T=32 --set train.batch=32 -o $pre/masked && $pre/masked $pretrain -q --steps 5 --out $pre/run-masked"
sed 's/, sentence_pairs(T)//' models/bert.sinter > "$pre/unpaired.sinter"
exits "an input that nothing makes" 2 "train wants to know what follows: sentence_pairs would make it" sh -c "'$sinter' build $pre/unpaired.sinter --preset nano --set V=500 -o $pre/unpaired && $pre/unpaired $pretrain --out $pre/never"
sed 's/, mask_tokens(0.15)//' models/bert.sinter > "$pre/unmasked.sinter"
exits "labels that nothing makes" 2 "train wants labels: mask_tokens would make them" sh -c "'$sinter' build $pre/unmasked.sinter --preset nano --set V=500 -o $pre/unmasked && $pre/unmasked $pretrain --out $pre/never"
