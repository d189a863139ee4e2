# Weights that lie outside of the arena, and packed ones kept in a file: whatever the file is, the text is the same.
said=$tmp/said.start
start="$tmp/gpt generate -m $tmp/run1 -p static -n 20 --temp 0"
$start > "$tmp/started" 2> /dev/null || bad "generation from a mapped checkpoint"
same() {  # NAME COMMAND...: its text is the one above
	local name=$1; shift
	if "$@" > "$tmp/started2" 2> "$said" && cmp -s "$tmp/started" "$tmp/started2"; then ok "$name"; else bad "$name" "$(tail -n 3 "$said")"; fi
}
says() { if grep -q -- "$2" "$said"; then ok "$1"; else bad "$1" "$(cat "$said")"; fi }

# one byte more of header: no tensor is aligned to its elements
model=$(realpath "$tmp/run1/best/model.safetensors")
length=$(od -An -tu8 -N8 "$model" | tr -d ' ')
mkdir -p "$tmp/shifted"
{ printf "$(printf '%016x' $((length + 1)) | sed -E 's/(..)/\\x\1/g' | sed -E 's/(\\x..)(\\x..)(\\x..)(\\x..)(\\x..)(\\x..)(\\x..)(\\x..)/\8\7\6\5\4\3\2\1/')"; tail -c +9 "$model" | head -c "$length"; printf ' '
	tail -c +$((length + 9)) "$model"; } > "$tmp/shifted/model.safetensors"
cp "$tmp/run1/best/config.json" "$tmp/shifted/"
same "a file whose tensors are not aligned" "$tmp/gpt" generate -m "$tmp/shifted" --tokenizer byte -p static -n 20 --temp 0
exits "random weights" 0 "" "$tmp/gpt" generate --random -p static -n 4
exits "--profile tells the parts of starting" 0 "start: open .* weights .* prepare .*first kernel began after" $start --profile
check "parameters outside of the arena are in the plan" sh -c "'$sinter' build models/gpt2.sinter $tiny -e generate --emit=plan -o /dev/stdout | grep -q '^  external '"

cache=$tmp/packed
same "a cache is made" $start --pack-cache "$cache"
says "and said to be" "packed keeps the packed weights"
same "and used" $start --pack-cache "$cache" --profile
says "in place of prepare" "cache .* ms; the first kernel"
cp "$cache" "$tmp/packed.whole"
check "sinter pack writes it, too" "$sinter" pack "$tmp/gpt" -m "$tmp/run1" -o "$tmp/packed_ahead"
check "byte for byte" cmp "$cache" "$tmp/packed_ahead"
exits "a program that is not there" 1 "can't run" "$sinter" pack "$tmp/nowhere" -m "$tmp/run1" -o "$tmp/packed_never"
exits "nothing to pack" 2 "pack wants -m DIR and -o FILE" "$sinter" pack "$tmp/gpt"
for t in 1 3 16; do same "by $t threads" $start --pack-cache "$cache" -t $t; done
damaged_cache() {  # NAME MESSAGE EXPRESSION: writes a damaged copy from $tmp/packed.whole
	eval "$3" > "$cache"
	same "a cache $1" $start --pack-cache "$cache"
	says "which is said" "$2"
	check "and made anew" cmp "$cache" "$tmp/packed.whole"
}
for at in 30 50 4096 9000; do
	damaged_cache "with byte $at turned over" "damaged\|another" "head -c $at $tmp/packed.whole; head -c $((at + 1)) $tmp/packed.whole | tail -c 1 | tr '\\000-\\377' '\\001-\\377\\000'; tail -c +$((at + 2)) $tmp/packed.whole"
done
damaged_cache "cut short" "damaged" "head -c -1 $tmp/packed.whole"
damaged_cache "of a head alone" "damaged" "head -c 4096 $tmp/packed.whole"
damaged_cache "that is empty" "keeps" true
cp -a "$tmp/shifted" "$tmp/other"; touch "$tmp/other/model.safetensors"
exits "a cache of another checkpoint" 0 "another checkpoint.*anew" "$tmp/gpt" generate -m "$tmp/other" --tokenizer byte -p static -n 2 --pack-cache "$cache"
same "does not serve the first" $start --pack-cache "$cache"
says "which is said" "another checkpoint"
cp "$model" "$tmp/mine.safetensors"
exits "a file that is no cache" 3 "not a file of packed weights" $start --pack-cache "$tmp/mine.safetensors"
check "is left alone" cmp "$model" "$tmp/mine.safetensors"
exits "a cache that is a directory" 3 "is a directory" $start --pack-cache "$tmp"
exits "a cache of random weights" 2 "give it with -m" "$tmp/gpt" generate --random -p x --pack-cache "$cache"
same "where no file can be made, without a cache" $start --pack-cache /proc/none/packed
says "which is said" "not kept"
same "on a full disk, without a cache" bash -c "ulimit -f 4; exec $start --pack-cache $tmp/full"
says "which is said" "not kept"
check "and leaves nothing behind" sh -c "! ls $tmp/full*"

# killed at any instant: the file under its name is whole or not there
for delay in 0.002 0.004 0.006 0.008 0.010 0.015 0.020; do
	rm -f "$cache"
	$start --pack-cache "$cache" > /dev/null 2>&1 &
	pid=$!; sleep $delay; kill -9 $pid 2> /dev/null; wait $pid 2> /dev/null
	[ ! -e "$cache" ] || cmp -s "$cache" "$tmp/packed.whole" || bad "a kill after $delay s left half a cache"
	same "killed after $delay s" $start --pack-cache "$cache"
done
check "and the file is the same" cmp "$cache" "$tmp/packed.whole"
