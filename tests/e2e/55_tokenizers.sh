# `sinter tokenizer`: learns, encodes and decodes; and an executable trains and generates with each kind that it learnt.
tok="$sinter tokenizer"
cat docs/*.md README.md > "$tmp/prose.txt"
check "a byte-level BPE is learnt" $tok train "$tmp/prose.txt" "$corpus" -o "$tmp/bpe.json" --vocab 1000
check "twice the same file" sh -c "$tok train '$tmp/prose.txt' '$corpus' -o '$tmp/again.json' --vocab 1000 && cmp '$tmp/bpe.json' '$tmp/again.json'"
check "and WordPiece" $tok train "$tmp/prose.txt" -o "$tmp/wordpiece.json" --vocab 900 --kind wordpiece
check "decoding gives the text back" sh -c "$tok encode -t '$tmp/bpe.json' '$corpus' | $tok decode -t '$tmp/bpe.json' | cmp - '$corpus'"
check "in less than half as many tokens as bytes" sh -c "test \$(($($tok encode -t "$tmp/bpe.json" "$tmp/prose.txt" | wc -w) * 2)) -lt $(wc -c < "$tmp/prose.txt")"
exits "special tokens come first" 0 '^\{"ids":\[0\],"type_ids":\[0\],"tokens":\["<\|endoftext\|>"\],"offsets":\[\[0,13\]\]\}' sh -c "printf '<|endoftext|>' | $tok encode -t '$tmp/bpe.json' --json"
exits "post-processors add theirs" 0 '^2 .* 3$' sh -c "echo The compiler | $tok encode -t '$tmp/wordpiece.json'"
exits "to pairs too" 0 '"type_ids":\[0,0.*,1,1\]' sh -c "echo the > '$tmp/a'; echo memory > '$tmp/b'; $tok encode -t '$tmp/wordpiece.json' '$tmp/a' --pair '$tmp/b' --json"
exits "not to --plain" 0 '^[0-9 ]+$' sh -c "echo the | $tok encode -t '$tmp/wordpiece.json' --plain | grep -v '^2 '"
exits "decode without them" 0 '^the compiler$' sh -c "echo The compiler | $tok encode -t '$tmp/wordpiece.json' | $tok decode -t '$tmp/wordpiece.json' --skip-special"
exits "bytes" 0 '^72 105$' sh -c "printf Hi | $tok encode -t byte"
exits "an unknown action" 2 "train, encode, decode" $tok learn
exits "train without -o" 2 "usage: sinter tokenizer train" $tok train "$tmp/prose.txt"
exits "a vocabulary too small" 2 "special tokens and characters alone" $tok train "$tmp/prose.txt" -o "$tmp/none.json" --vocab 100
exits "a vocabulary that texts can't fill" 0 "of the 500 asked for" sh -c "echo aaaa aaaa > '$tmp/a'; $tok train '$tmp/a' -o '$tmp/few.json' --vocab 500"
exits "no number" 2 "wants a number" $tok train "$tmp/prose.txt" -o "$tmp/none.json" --vocab many
printf 'a\377' > "$tmp/bad"
exits "a text that is not UTF-8" 3 "not valid UTF-8" $tok encode -t "$tmp/bpe.json" "$tmp/bad"
exits "nor to learn from" 3 "not valid UTF-8 at byte 1" $tok train "$tmp/bad" -o "$tmp/none.json"
exits "no such id" 3 '"1000" is no id of this tokenizer, which has 1000' sh -c "echo 1 1000 | $tok decode -t '$tmp/bpe.json'"
exits "no such file" 3 "no-such" $tok encode -t "$tmp/bpe.json" "$tmp/no-such"
sed 's/"BertPreTokenizer"/"Jieba"/' "$tmp/wordpiece.json" > "$tmp/unknown.json"
exits "a stage that is not known is named" 3 'pre-tokenizer "Jieba" is not known; known are ByteLevel' $tok encode -t "$tmp/unknown.json" "$tmp/a"
for kind in bpe wordpiece; do
	check "a program for $kind" "$sinter" build models/gpt2.sinter ${tiny/V=256/V=1000} -o "$tmp/gpt-$kind"
	check "trains" "$tmp/gpt-$kind" train -q --tokenizer "$tmp/$kind.json" --data "$tmp/prose.txt" --steps 4 --warmup 1 --eval-batches 2 --out "$tmp/run-$kind"
	check "keeps the tokenizer" cmp "$tmp/$kind.json" "$tmp/run-$kind/last/tokenizer.json"
	exits "generates" 0 "^the compiler" "$tmp/gpt-$kind" generate -m "$tmp/run-$kind" -p "the compiler" -n 8 --seed 3
	exits "the prompt's ids are its text" 0 "^the compiler" "$tmp/gpt-$kind" generate -m "$tmp/run-$kind" -n 3 \
		--prompt-ids "$(printf "the compiler" | $tok encode --plain -t "$tmp/$kind.json")"
done
