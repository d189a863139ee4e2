# The examples of the documentation are complete files that the compiler accepts without a warning.
mkdir -p "$tmp/docs"
awk -v out="$tmp/docs/" '
	/^```sinter$/ { inside = 1; name = FILENAME; sub(/.*\//, "", name); file = out name "_" FNR ".sinter"; next }
	/^```$/ { inside = 0 }
	inside { print > file }
' docs/*.md README.md
for example in "$tmp"/docs/*.sinter; do
	check "$(basename "$example" .sinter) checks" sh -c '"$0" check "$1" 2>&1 | tee /dev/stderr | { ! grep -q .; }' "$sinter" "$example"
done
check "there are examples" test "$(ls "$tmp/docs" | wc -l)" -ge 7
