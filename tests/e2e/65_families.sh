# Published architectures at small sizes, each a program: random numbers for the inputs it lists, a training step with finite
# gradients, the loss that a second run of the same seed has, and generation where it has an entry for it.
value() {  # DTYPE IDS: values for an input
	case $1 in
		f32) echo rand:5:-1:1 ;;
		bool) echo 1,1,1,0,1 ;;
		*) echo "rand:5:0:$(($2 + 1))" ;;
	esac
}
feed() {  # EXE ENTRY FILE: inputs of one call, as the program's help tells them
	local bounds shape name type ids args=() letters
	"$1" "$2" --help | sed -n '/^Inputs/,$p' | sed -E 's/ ([-+*]) /\1/g' > "$tmp/inputs"
	letters=$(sed -nE 's/^  B: .*/&;/p' "$tmp/inputs" | sed -E 's/B: examples, ([0-9]+) a call/B \1/; s/: at most / /g; s/;/\n/g' |
		sed -nE 's/^ *([A-Z]) ([0-9]+).*/s,\\b\1\\b,\2,g/p')
	while read -r name type ids; do
		shape=$(sed -E 's/^[^[]*\[(.*)\]/\1/' <<< "$type" | sed "$letters")
		shape=$(for n in ${shape//,/ }; do printf '%s,' $(($n)); done)
		bounds=$(sed -nE 's/.*from 0 to ([0-9]+).*/\1/p' <<< "$ids")
		args+=("$name" "$(case ${type%%[*} in f32) echo F32 ;; bool) echo BOOL ;; *) echo I32 ;; esac)" "${shape%,}"
			"$(value "${type%%[*}" "${bounds:-0}")")
	done < <(grep -E '^  [a-z_]+ +(f32|i32|bool)\[' "$tmp/inputs")
	"$tensors" write "$3" "${args[@]}"
}
tensors=$build/tools/tensors
for file in tests/models/families/*.sinter; do
	name=$(basename "$file" .sinter); exe=$tmp/family-$name
	check "$name builds" "$sinter" build "$file" --preset nano -o "$exe" || continue
	check "$name's inputs" feed "$exe" train "$exe.st"
	for run in 1 2; do
		check "$name trains" "$exe" train -q -i "$exe.st" --batch "$("$exe" train --help | sed -nE 's/.*B: examples, ([0-9]+) a call.*/\1/p')" \
			--steps 2 --valid-fraction 0 --warmup 0 -t $run --seed 4 --out "$exe-$run"
		losses "$exe-$run" > "$exe-loss$run"
	done
	check "$name: finite losses, the same on 1 and 2 threads" sh -c "cmp $exe-loss1 $exe-loss2 && awk '
		!(\$1 + 0 == \$1 && \$2 + 0 == \$2) { bad = 1 } END { exit bad || NR != 2 }' $exe-loss1"
	grep -q '^generate' "$file" || continue
	check "$name generates" "$exe" generate -q -m "$exe-1" --tokenizer byte -p 0 -n 5
done
