# A smaller model proposes tokens: the text is what it is without, whatever proposes. Uses 20_train's model.
"$sinter" build models/gpt2.sinter $tiny --set generate.draft=4 -e generate -o "$tmp/gpt_drafted" > "$tmp/out" 2>&1 || bad "build with drafts" "$(tail -n 3 "$tmp/out")"
"$sinter" build models/gpt2.sinter $tiny --set L=1 --set N=24 --set generate.chunk=7 -e generate -o "$tmp/gpt_drafter" > "$tmp/out" 2>&1 || bad "build of what proposes" "$(tail -n 3 "$tmp/out")"
"$sinter" build models/gpt2.sinter $tiny --set V=300 -e generate -o "$tmp/gpt_other" > "$tmp/out" 2>&1
"$tmp/gpt_other" init --out "$tmp/other_weights" > "$tmp/out" 2>&1
"$tmp/gpt_drafter" init --out "$tmp/draft_weights" --seed 9 > "$tmp/out" 2>&1
drafted="$tmp/gpt_drafted generate -m $tmp/run1 --tokenizer byte -p static -n 25"
for how in "--temp 0" "--temp 0.8 --top-k 30 --seed 4" "--temp 0 --repeat-penalty 1.2" "--temp 0 --stop t" "--temp 0 -n 100"; do
	$drafted $how > "$tmp/undrafted" 2> /dev/null
	for t in 1 2; do
		$drafted $how --draft "$tmp/gpt_drafted" --draft-model "$tmp/run1" -t $t > "$tmp/drafted" 2> "$tmp/err"
		check "the same model proposes ($how, $t threads)" cmp "$tmp/undrafted" "$tmp/drafted"
		$drafted $how --draft "$tmp/gpt_drafter" --draft-model "$tmp/draft_weights" -t $t > "$tmp/drafted" 2> "$tmp/err2"
		check "an untrained one proposes ($how, $t threads)" cmp "$tmp/undrafted" "$tmp/drafted"
	done
done
$drafted --temp 0 --draft "$tmp/gpt_drafted" --draft-model "$tmp/run1" > /dev/null 2> "$tmp/err"
check "all that the same model proposes is taken" bash -c "set -- \$(sed -n 's/drafts: \([0-9]*\) tokens proposed, \([0-9]*\) taken/\1 \2/p' '$tmp/err'); [ \"\$1\" = 20 ] && [ \"\$2\" = 20 ]"
printf 'static int\nfor (\n' > "$tmp/two_prompts"
two="$tmp/gpt_drafted generate -m $tmp/run1 --tokenizer byte -n 12 --temp 0 --prompts $tmp/two_prompts"
$two > "$tmp/undrafted" 2> /dev/null
$two --draft "$tmp/gpt_drafter" --draft-model "$tmp/draft_weights" > "$tmp/drafted" 2> /dev/null
check "a file of prompts" cmp "$tmp/undrafted" "$tmp/drafted"
"$sinter" build models/gpt2.sinter $tiny -e generate --weights "$tmp/run1" --embed -o "$tmp/gpt_inside" > "$tmp/out" 2>&1
$drafted --temp 0 > "$tmp/undrafted" 2> /dev/null
$drafted --temp 0 --draft "$tmp/gpt_inside" > "$tmp/drafted" 2> "$tmp/err"
check "weights inside what proposes" bash -c "cmp '$tmp/undrafted' '$tmp/drafted' && grep -q '20 taken' '$tmp/err'"
exits "a model of other ids" 3 "another vocabulary" $drafted --draft "$tmp/gpt_other" --draft-model "$tmp/other_weights"
exits "a program without weights" 1 "no weights" $drafted --draft "$tmp/gpt_other"
printf '#!/bin/sh\nexec sleep 60 0<&- 1>&-\n' > "$tmp/stays" && chmod +x "$tmp/stays"
exits "a program that stays when all is over" 1 "proposes nothing" timeout 20 $drafted --draft "$tmp/stays"
printf '#!/bin/sh\nexec sleep 60\n' > "$tmp/silent_draft" && chmod +x "$tmp/silent_draft"
exits "a program that never answers" 1 "silent_draft has not answered for 1 s" env SN_DRAFT_SECONDS=1 timeout 20 $drafted --draft "$tmp/silent_draft"
exits "a program that is none" 1 "proposes nothing" $drafted --draft /bin/true
exits "a program that is not there" 1 "can't run" $drafted --draft "$tmp/nowhere"
exits "weights without a program" 2 "is the weights of --draft" $drafted --draft-model "$tmp/run1"
exits "a program compiled without drafts" 2 "set generate.draft=4" "$tmp/gpt_drafter" generate -m "$tmp/draft_weights" --tokenizer byte -p x --draft "$tmp/gpt_drafter"
exits "--propose by itself" 2 "is for a program that was given --draft" bash -c "'$tmp/gpt_drafter' generate -m '$tmp/draft_weights' --tokenizer byte --propose < /dev/null | cat; exit \${PIPESTATUS[0]}"
