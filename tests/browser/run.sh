#!/bin/bash
# The page that explains, in headless Chromium: no error on the console, all tokens and maps there and not blank, what one can choose
# chosen, light and dark. usage: run.sh BUILD-DIR
set -u
build=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 2
tmp=$(mktemp -d) || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0; failed=0
check() {  # NAME COMMAND...
	local name=$1; shift
	if "$@" > "$tmp/out" 2>&1; then passed=$((passed+1)); echo "  ok    $name"
	else failed=$((failed+1)); echo "  FAIL  $name"; tail -n 5 "$tmp/out"; fi
}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "browser: there is no Chromium"; exit 1; }
look() {  # DARK(0 or 1: light) FLAGS... : the browser's own messages go to $tmp/console
	local scheme=$1; shift
	timeout 60 "$browser" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$tmp/profile" --hide-scrollbars \
		--virtual-time-budget=4000 --window-size=1100,1600 --blink-settings=preferredColorScheme="$scheme" --enable-logging=stderr "$@" 2> "$tmp/log"
	grep 'CONSOLE' "$tmp/log" | grep -v willReadFrequently > "$tmp/console"   # advice to the probe, which reads what was drawn
}
says() { grep -q "class=\"probe\">$1</p>" "$tmp/dom.html"; }   # what the probe saw

cat support/*.c > "$tmp/corpus.txt"
check "a model is built" "$build/sinter" build --preset nano --set D=48 --set H=3 --set L=2 --set train.micro=4 --set train.batch=4 --set train.T=32 --with explain \
	-o "$tmp/gpt2" models/gpt2.sinter
check "and trained a little" "$tmp/gpt2" train --data "$tmp/corpus.txt" --tokenizer byte --steps 60 --lr 3e-3 --warmup 5 -q --out "$tmp/run"
check "a page" "$tmp/gpt2" explain -m "$tmp/run" --tokenizer byte "if (a < b) </b>" -o "$tmp/page.html" -q
{ cat "$tmp/page.html"; echo "<script>"; cat tests/browser/probe.js; echo "</script>"; } > "$tmp/probed.html"

look 1 --dump-dom "file://$tmp/page.html" > "$tmp/plain.html"
check "opens without an error" test ! -s "$tmp/console"
look 1 --dump-dom "file://$tmp/probed.html" > "$tmp/dom.html"
check "and is used without one" test ! -s "$tmp/console"
check "its tokens" says 'tokens=i f · ( a · &lt; · b ) · &lt; / b &gt;'
check "coloured" says coloured=true
check "a map for each layer and head, and rollout" says maps=7
check "none of them blank" says blank=0
check "layers to choose from" says layers=3
check "another layer is another picture" says other=true
check "the mean of heads" says 'label=attention of h.1.attn, mean of heads'
check "a small map is a choice, too" says 'rollout=attention of rollout, head 0'
check "a token can be chosen" says pressed=true
check "and has its strongest links listed" says 'strongest=Strongest, from ('
check "all has a name for who can't see it" says named=true
check "light" says 'background=rgb(255, 255, 255)'
look 0 --dump-dom "file://$tmp/probed.html" > "$tmp/dom.html"
check "dark, where that is wanted" says 'background=rgb(21, 24, 29)'
check "with maps, too" says blank=0
for scheme in 0 1; do
	look $scheme --screenshot="$tmp/page$scheme.png" "file://$tmp/page.html" > /dev/null
	look $scheme --screenshot="$tmp/blank.png" about:blank > /dev/null
	check "a picture that is not blank ($scheme)" test "$(stat -c %s "$tmp/page$scheme.png")" -gt $((4 * $(stat -c %s "$tmp/blank.png")))
done
check "light and dark differ" sh -c "! cmp -s '$tmp/page0.png' '$tmp/page1.png'"
"$tmp/gpt2" explain -m "$tmp/run" --tokenizer byte "if (a < b) </b>" -o "$tmp/a.svg" -q 2> /dev/null
look 1 --dump-dom "file://$tmp/a.svg" > "$tmp/dom.svg"
check "the SVG is well-formed" sh -c "grep -q '</svg>' '$tmp/dom.svg' && ! grep -q parsererror '$tmp/dom.svg'"
check "with its maps" test "$(grep -c '<image ' "$tmp/dom.svg")" = 6
# Would an error be seen?
sed 's/colourTokens();$/noSuchThing();/' "$tmp/page.html" > "$tmp/broken.html"
look 1 --dump-dom "file://$tmp/broken.html" > /dev/null
check "a broken page would be seen" grep -q 'noSuchThing' "$tmp/console"
echo "browser: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
