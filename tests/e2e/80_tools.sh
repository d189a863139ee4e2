# The commands around the compiler: summary, names, fmt, explain, completions, man, help.
counted() {  # FILE PRESET PARAMETERS: the published count (`-`: no preset)
	local preset=(); [ "$2" = - ] || preset=(--preset "$2")
	exits "$(basename "$1" .sinter) ${2#-} has $3 parameters" 0 "^$3 parameters in " "$sinter" summary "$1" "${preset[@]}"
}
counted models/gpt2.sinter - 124,439,808
counted models/gpt2.sinter xl 1,557,611,200
counted models/llama.sinter - 8,030,261,248
counted models/llama.sinter llama3_2_1b 1,235,814,400
counted models/llama.sinter tinyllama 1,100,048,384
counted models/bert.sinter - 110,110,273   # BertForPreTraining's 110,106,428 and the heads of a classifier, a regressor and a reader
counted models/vit.sinter - 86,567,656
counted models/whisper.sinter - 72,593,920
counted models/whisper.sinter tiny 37,760,640
counted models/minilm.sinter - 22,565,376
counted models/distilbert.sinter - 67,579,967   # ..ForMaskedLM's 66,985,530 and the heads of a classifier, a regressor and a reader
counted models/roberta.sinter - 125,293,408   # ..ForMaskedLM's 124,697,433 and the heads of a classifier, a regressor, a tagger and a reader
counted models/clip.sinter - 151,277,313
counted models/mixtral.sinter - 46,702,792,704
counted models/t5.sinter - 60,506,624
families=tests/models/families
counted $families/albert.sinter - 11,683,584
counted $families/deit.sinter - 22,436,432
counted $families/gemma2.sinter - 2,614,341,888
counted $families/gpt_neox.sinter - 70,426,624
counted $families/mistral.sinter - 7,241,732,096
counted $families/mlp_mixer.sinter - 59,880,472
counted $families/phi.sinter - 2,779,683,840
counted $families/qwen3.sinter - 596,049,920

# No weight is made: fast, and in little memory, whatever the model's size.
TIMEFORMAT='%U %S'
limited() { (ulimit -v 1000000; "$sinter" "$@" > "$tmp/out" 2>&1); }
for m in llama mixtral; do
	ms=$({ time limited summary models/$m.sinter; } 2>&1 | awk '{print int(1000 * ($1 + $2))}')
	if [ $sanitized = 1 ]; then skip "summary of $m is fast"
	elif grep -q "parameters in" "$tmp/out" && [ "$ms" -lt 50 ]; then ok "summary of $m in $ms ms"
	else bad "summary of $m in $ms ms, wanted under 50" "$(tail -n 3 "$tmp/out")"; fi
done
tensors=$("$sinter" names models/gpt2.sinter 2> /dev/null | wc -l)
if [ "$tensors" = 148 ]; then ok "names lists GPT-2's 148 tensors"; else bad "names lists $tensors tensors of GPT-2"; fi
json=$build/tools/json_lines
exits "names --json is JSON, a line a weight" 0 "^212$" sh -c "'$sinter' names models/bert.sinter --json 2> /dev/null | '$json'"
exits "with shapes" 0 "^\[30522,768\]$" sh -c "'$sinter' names models/bert.sinter --json 2> /dev/null | '$json' shape"
exits "summary --json agrees" 0 "^124439808$" sh -c "'$sinter' summary models/gpt2.sinter --json 2> /dev/null | '$json' parameters"
exits "check --json is a line a diagnostic" 0 '^"E0' sh -c "echo 'config { D: dim = 0 }; require D >' > '$tmp/two.sinter'; '$sinter' check --json '$tmp/two.sinter' 2>&1 | '$json' code"

# fmt: a second time changes nothing, and the syntax tree stays, for every model file there is.
formatted=0
for f in models/*.sinter tests/models/*.sinter tests/models/*/*.sinter tests/text/*/*.sinter; do
	"$sinter" fmt - < "$f" > "$tmp/once.sinter" 2> /dev/null || continue
	"$sinter" fmt - < "$tmp/once.sinter" > "$tmp/twice.sinter" 2>&1
	cmp -s "$tmp/once.sinter" "$tmp/twice.sinter" || bad "fmt twice changes $f again"
	"$sinter" build --emit=ast "$f" -o "$tmp/ast.before" 2> /dev/null
	"$sinter" build --emit=ast "$tmp/once.sinter" -o "$tmp/ast.after" 2> /dev/null
	cmp -s "$tmp/ast.before" "$tmp/ast.after" || bad "fmt changes what $f says"
	if grep -qE '[ 	]$' "$tmp/once.sinter"; then bad "fmt leaves blanks at the ends of lines in $f"; fi
	formatted=$((formatted + 1))
done
if [ $formatted -ge 150 ]; then ok "fmt is idempotent and keeps the tree of $formatted files"; else bad "only $formatted files could be formatted"; fi
printf 'config{\nD:dim=4 # four\n}\n' > "$tmp/loose.sinter"
chmod 640 "$tmp/loose.sinter"
exits "fmt --check finds it" 1 "loose.sinter is not formatted" "$sinter" fmt --check "$tmp/loose.sinter"
exits "fmt --check --json says where" 1 '^\{.*"line":1' "$sinter" fmt --check --json "$tmp/loose.sinter"
check "fmt rewrites it" "$sinter" fmt "$tmp/loose.sinter"
exits "comments stay" 0 "^  D: dim = 4  # four$" cat "$tmp/loose.sinter"
exits "its mode too" 0 "^640$" stat -c %a "$tmp/loose.sinter"
check "then fmt --check is content" "$sinter" fmt --check "$tmp/loose.sinter"
printf 'config { D: dim = \n' > "$tmp/broken.sinter"; cp "$tmp/broken.sinter" "$tmp/broken.copy"
exits "fmt refuses a broken file" 1 "error\[E0" "$sinter" fmt "$tmp/broken.sinter"
check "and leaves it alone" cmp "$tmp/broken.sinter" "$tmp/broken.copy"
exits "fmt of no file" 1 "can't read" "$sinter" fmt "$tmp/no/such.sinter"
exits "fmt wants a file" 2 "wants FILE" "$sinter" fmt

# explain: every code has its page, with examples.
codes=$("$sinter" explain | wc -l)
if [ "$codes" -ge 60 ]; then ok "explain knows $codes codes"; else bad "explain knows $codes codes"; fi
exits "explain --json is a line a code" 0 "^$codes$" sh -c "'$sinter' explain --json \$('$sinter' explain | cut -d' ' -f1) | '$json'"
check "a page is what docs/errors says" sh -c "'$sinter' explain e0302 | grep -qF \"\$(sed -n '/^## E0302/,/^\`\`\`/p' docs/errors/E03.md | sed -n 3p)\""

# One table: what --help lists is in the manual page and in every shell's completion.
"$sinter" man > "$tmp/sinter.1"
for shell in bash zsh fish; do "$sinter" completions $shell > "$tmp/completion.$shell"; done
missing=
for c in $("$sinter" --help | sed -nE 's/^  sinter ([a-z]+).*/\1/p'); do
	grep -q "^.SS \"sinter $c" "$tmp/sinter.1" || missing+=" man:$c"
	for shell in bash zsh fish; do grep -qw -- "$c" "$tmp/completion.$shell" || missing+=" $shell:$c"; done
	for flag in $("$sinter" "$c" --help | sed -nE 's/^  (-., |    )--([a-z-]+).*/\2/p'); do
		grep -qF -- "${flag//-/\\-}" "$tmp/sinter.1" || missing+=" man:$c:$flag"
		for shell in bash zsh; do grep -qF -- "--$flag" "$tmp/completion.$shell" || missing+=" $shell:$c:$flag"; done
		grep -qF -- "seen_subcommand_from $c' -l $flag" "$tmp/completion.fish" || missing+=" fish:$c:$flag"
	done
	[ "$("$sinter" help "$c")" = "$("$sinter" "$c" --help)" ] && [ "$("$sinter" "$c" -h)" = "$("$sinter" "$c" --help)" ] || missing+=" help:$c"
done
if [ -z "$missing" ]; then ok "man and completions have every command and flag"; else bad "missing:$missing"; fi
completes() {  # WORDS EXPECTED: what bash offers after the words (the last may be unfinished)
	local got
	got=$(PATH=$build:$PATH bash -c '. "$1"; read -ra COMP_WORDS <<< "$2"; [[ $2 == *" " ]] && COMP_WORDS+=("")
		COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sinter; echo "${COMPREPLY[*]}"' - "$tmp/completion.bash" "$1")
	if [ "$got" = "$2" ]; then ok "bash completes: $1"; else bad "bash completes \"$1\" with \"$got\", wanted \"$2\""; fi
}
completes "sinter su" "summary"
completes "sinter build --emit gr" "graph"
completes "sinter build --emit = ll" "llvm"
completes "sinter build --pres" "--preset"
completes "sinter explain E010" "$("$sinter" explain | grep -o '^E010.' | tr '\n' ' ' | sed 's/ $//')"
completes "sinter check models/wh" "models/whisper.sinter"
completes "sinter completions " "bash zsh fish"
check "the bash script is one" bash -n "$tmp/completion.bash"
if command -v zsh > /dev/null; then check "the zsh script is one" zsh -n "$tmp/completion.zsh"; fi
if command -v fish > /dev/null; then check "the fish script is one" fish -n "$tmp/completion.fish"; fi
if command -v groff > /dev/null; then
	groff -man -Tascii -ww "$tmp/sinter.1" > "$tmp/page" 2> "$tmp/out"
	if [ -s "$tmp/page" ] && [ ! -s "$tmp/out" ]; then ok "groff has nothing to say of the manual page"; else bad "groff complains" "$(head -n 3 "$tmp/out")"; fi
fi
exits "--version" 0 "^sinter [0-9]" "$sinter" --version
exits "help of no command" 2 "did you mean .sinter build." "$sinter" help biuld
exits "no command" 2 "summary" "$sinter"
exits "output that can't be written" 1 "could not write" sh -c "'$sinter' summary models/gpt2.sinter > /dev/full"

# make install puts the pages where they are looked for, and uninstall takes all away.
check "make install" make -s -o all BUILD="$build" DESTDIR="$tmp/root" PREFIX=/usr install
for f in bin/sinter share/man/man1/sinter.1 share/bash-completion/completions/sinter share/zsh/site-functions/_sinter share/fish/vendor_completions.d/sinter.fish; do
	check "installs $f" test -s "$tmp/root/usr/$f"
done
check "make uninstall" make -s BUILD="$build" DESTDIR="$tmp/root" PREFIX=/usr uninstall
check "leaves no file" sh -c "[ -z \"\$(find '$tmp/root' -type f)\" ]"

# Nothing that is printed ends in blanks.
"$sinter" build models/sasrec.sinter --entry train -o "$tmp/sasrec" > /dev/null 2>&1 ||
	"$sinter" build models/gpt2.sinter $tiny --entry generate -o "$tmp/sasrec" > /dev/null 2>&1
for what in --help info; do
	check "$what of a program has no blanks at the ends of lines" sh -c "'$tmp/sasrec' $what > '$tmp/said' && ! grep ' \$' '$tmp/said'"
done
check "nor has summary" sh -c "'$sinter' summary models/gpt2.sinter > '$tmp/said' 2> /dev/null && ! grep ' \$' '$tmp/said'"
