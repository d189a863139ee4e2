# Taps: intermediate values by name, of programs that are built with them.
taps=$tmp/taps; mkdir -p "$taps"
tensors=$build/tools/tensors
cat > "$taps/m.sinter" <<'END'
config { N: dim = 3 }
dim B <= 4
block Half(x: [B,N]) -> [B,N] {
  w: linear(N -> N, bias=false)
  x = relu(w(x))
  x += 1
  return x
}
model M(x: [B,N]) -> [B,1] {
  half: repeat 2 of Half
  out: linear(N -> 1)
  h = half(x)
  return out(h)
}
infer predict(x: [B,N]) { return M(x) }
train(x: [B,N], y: [B]) {
  data inputs("none.safetensors")
  z = M(x)
  loss mse(z[:, 0], y)
  optimizer adam(lr=0.1)
  batch 4
}
END
"$tensors" write "$taps/w.st" half.0.w.weight F32 3,3 1,0,0,0,-1,0,0,0,2 half.1.w.weight F32 3,3 1,1,0,0,1,0,0,0,1 out.weight F32 1,3 1,-1,0.5 out.bias F32 1 0.25
"$tensors" write "$taps/x.st" x F32 6,3 1,2,3,-1,-2,-3
"$tensors" write "$taps/xy.st" x F32 4,3 1,2,3,-1,-2,-3 y F32 4 1
check "a model" "$sinter" build "$taps/m.sinter" -o "$taps/plain"
check "with taps" "$sinter" build --tap 'half.*' --tap M.h "$taps/m.sinter" -o "$taps/m"
exits "what there is" 0 '^  half.0.x#2 +f32\[B,3\] +.*m.sinter:6$' "$sinter" names --values "$taps/m.sinter"
exits "some of it, as JSON" 0 '^\{"name":"M.h","entry":"predict","type":"f32\[B,3\]","file":".*","line":' "$sinter" names --values "$taps/m.sinter" 'M.*' --json
run="predict -m $taps/w.st -i $taps/x.st -q"
check "infer writes them" "$taps/m" $run --taps "$taps/t.st" -o "$taps/r.st"
got() { "$tensors" print "$1" "$2" | sed -E 's/^[^]]*\] ?//'; }   # FILE NAME
check "a layer's result" test "$(got "$taps/t.st" half.0.w)" = "1 -2 6 -1 2 -6 1 -2 6 -1 2 -6 1 -2 6 -1 2 -6"
check "a variable" test "$(got "$taps/t.st" half.0.x)" = "1 0 6 0 2 0 1 0 6 0 2 0 1 0 6 0 2 0"
check "assigned again" test "$(got "$taps/t.st" half.0.x#2)" = "2 1 7 1 3 1 2 1 7 1 3 1 2 1 7 1 3 1"
check "a block's result" test "$(got "$taps/t.st" half.0)" = "$(got "$taps/t.st" half.0.x#2)"
check "a model's variable" test "$(got "$taps/t.st" M.h)" = "4 2 8 5 4 2 4 2 8 5 4 2 4 2 8 5 4 2"
check "results are what they were" "$taps/plain" $run -o "$taps/r0.st"
check "without taps" "$tensors" near "$taps/r.st" "$taps/r0.st" 1e-6
check "and have no taps among them" test "$("$tensors" print "$taps/r.st" | wc -l)" = 1
check "by name" "$taps/m" $run --tap 'half.1*' --taps "$taps/some.st"
check "there are four" test "$("$tensors" print "$taps/some.st" | wc -l)" = 4
check "JSON has none" sh -c "$taps/m $run --json | grep -qx '{\"result\":.*}' && ! $taps/m $run --json | grep -q tap"
check "a gradient run has them" "$taps/m" train -i "$taps/xy.st" -m "$taps/w.st" --grads-out "$taps/g.st" --taps "$taps/gt.st" -q
check "the same values" test "$(got "$taps/gt.st" M.h)" = "4 2 8 5 4 2 4 2 8 5 4 2"
check "and the same gradients as without" "$taps/plain" train -i "$taps/xy.st" -m "$taps/w.st" --grads-out "$taps/g0.st" -q
check "within rounding" "$tensors" near "$taps/g.st" "$taps/g0.st" 1e-5
check "eval, too" "$taps/m" eval -i "$taps/xy.st" -m "$taps/w.st" -q --taps "$taps/e.st"
check "taps are no metrics" sh -c "! $taps/m eval -i $taps/xy.st -m $taps/w.st -q | grep -q half"
exits "not built with taps" 2 'predict has no taps: values are named when it is built, .sinter build --tap NAME' "$taps/plain" $run --tap half.0
exits "no such tap in it" 2 '--tap nothing: predict has no tap of such a name' "$taps/m" $run --tap nothing
exits "no such value" 1 'did you mean .half.0.w.' "$sinter" build --tap half.0.v "$taps/m.sinter" -o "$taps/never"
check "what experts see has no name" sh -c "! $sinter names --values tests/models/experts.sinter 2>/dev/null | grep -q rows"
# What is not tapped costs nothing: without --tap the graph is that with it less its outputs.
graph() { "$sinter" build --entry predict --emit=graph "$taps/m.sinter" -o "$@"; }
check "the graph" graph "$taps/plain.g"
check "with taps" graph "$taps/tapped.g" --tap 'half.*' --tap M.h
check "taps are outputs, nine of them" test "$(grep -c 'name="tap:' "$taps/tapped.g") $(grep -c 'tap:' "$taps/plain.g")" = "9 0"
check "and nothing else in a graph" sh -c "grep -v 'name=\"tap:' $taps/tapped.g | cmp - $taps/plain.g"
check "so a program without has none of their names" sh -c "! grep -aq 'tap:half' $taps/plain && grep -aq 'tap:half' $taps/m"

# A generate entry's step sees new tokens alone: its values are put together of all calls, and are those of one call over the whole.
cat > "$taps/g.sinter" <<'END'
config { V: dim = 40; D: dim = 12; H: dim = 2; K: dim = D / H }
dim B, T <= 32
block Layer(x: [B,T,D]) -> [B,T,D] {
  q, k, v: linear(D -> [H,K])
  o:       linear([H,K] -> D)
  norm:    layernorm(D)
  y = norm(x)
  near = q(y) @ transpose(k(y))
  return x + o(attention(q(y), k(y), v(y), mask=causal)) + o(attention(q(y), k(y), v(y), mask=causal & window(3)))
}
model M(tokens: id(V)[B,T]) -> [B,T,V] {
  wte:   embedding(V -> D)
  wpe:   embedding(32 -> D)
  layer: repeat 2 of Layer
  x = layer(wte(tokens) + wpe(positions(T)))
  return unembed(x, wte)
}
generate(tokens: id(V)[B,T]) {
  logits = M(tokens)[:, -1]
  next   logits
  chunk  4
  sample beam(2)
}
infer whole(tokens: id(V)[B,T]) {
  logits = M(tokens)[:, -1]
  return logits
}
END
check "a generate entry with taps" "$sinter" build --tap 'layer*' --tap 'M*' --tap 'w*' --tap logits "$taps/g.sinter" -o "$taps/g"
step="$taps/g generate --random --seed 4 --beam 1 -q --ids --prompt-ids 3,9,27,1,4,16,24,32,8"
check "generates and writes them" sh -c "$step -n 6 --taps '$taps/steps.st' > '$taps/ids'"
exits "what it generates is what it was" 0 "^$(cat "$taps/ids")$" $step -n 6
check "the prompt in three calls, then five tokens" test "$("$tensors" print "$taps/steps.st" layer.1 | grep -o 'F32 \[[^]]*\]')" = "F32 [1,14,12]"
"$tensors" write "$taps/ids.st" tokens I32 1,14 "$(cut -d' ' -f1-14 "$taps/ids" | tr ' ' ',')"
check "one call over the whole sequence" "$taps/g" whole --random --seed 4 -q -i "$taps/ids.st" --taps "$taps/whole.st" -o "$taps/none.st"
check "has the same values" "$tensors" near "$taps/steps.st" "$taps/whole.st" 1e-5
check "of as many names, the last logits among them" test "$("$tensors" print "$taps/steps.st" | wc -l) $("$tensors" print "$taps/steps.st" logits | cut -d' ' -f3)" = "$("$tensors" print "$taps/whole.st" | wc -l) [1,40]"
check "some of them" sh -c "$step -n 2 --tap 'layer.0' --taps '$taps/one.st' > /dev/null && test \$('$tensors' print '$taps/one.st' | wc -l) = 1"
exits "no such tap" 2 '--tap nothing: generate has no tap of such a name' $step --tap nothing
exits "not of several sequences" 2 'the values of one sequence: .* with --beam 1' $step --beam 2 --taps "$taps/never.st"
printf 'a\nb\n' > "$taps/lines"
exits "nor of several prompts" 2 'the values of one sequence: it goes with one prompt' "$taps/g" generate --random --tokenizer byte --prompts "$taps/lines" --taps "$taps/never.st"
check "nothing was written" test ! -e "$taps/never.st"
check "what is of pairs of positions has no name there" sh -c "'$sinter' names --values '$taps/g.sinter' | awk '/^[a-z]/ { e = \$1 } /near/ { print e }' | sort -u | grep -qx whole && ! '$sinter' names --values --entry generate '$taps/g.sinter' | grep -q near"
check "a program without taps" "$sinter" build --entry generate "$taps/g.sinter" -o "$taps/gp"
exits "says how to have them" 2 'generate has no taps: values are named when it is built, .sinter build --tap NAME' "$taps/gp" generate --random --ids --prompt-ids 1 --taps "$taps/never.st"
check "and has none of their code" sh -c "grep -aq 'the values of one sequence' '$taps/g' && ! grep -aq 'the values of one sequence' '$taps/gp'"

# Texts: one call's values, in the order of the texts; the results are what they are without.
check "a program that takes texts" "$sinter" build models/bert.sinter --preset nano --entry encode,tag --set C=2 --set encode.B=4 --tap 'bert.*.layer.1' -o "$taps/bert"
texts="$taps/bert encode --random --tokenizer byte -q"
check "tells of texts what it told" sh -c "$texts abcdef | grep -qE '^.\"text\":\"abcdef\",\"result\":[^}]*.\$' && test ! -e taps.safetensors"
printf 'abcd\nab\nabcdefgh\n' > "$taps/texts.txt"
check "and writes the values" $texts --data "$taps/texts.txt" -o "$taps/te.st" --taps "$taps/tv.st"
check "one of the three" test "$("$tensors" print "$taps/tv.st" | wc -l) $("$tensors" print "$taps/tv.st" | grep -oE '\[[0-9,]+\]' | head -n 1)" = "1 [3,8,48]"
check "whose last layer is the result" test "$(got "$taps/te.st" result | tr ' ' '\n' | head -n 192)" = "$(got "$taps/tv.st" bert.encoder.layer.1 | tr ' ' '\n' | head -n 192)"
check "in the texts' order" test "$(got "$taps/te.st" result | tr ' ' '\n' | sed -n 769,1152p)" = "$(got "$taps/tv.st" bert.encoder.layer.1 | tr ' ' '\n' | sed -n 769,1152p)"
exits "no such tap of texts" 2 '--tap nothing: encode has no tap of such a name' $texts ab --tap nothing
printf 'a\nb\nc\nd\ne\n' > "$taps/texts.txt"
exits "more texts than a call takes" 2 'taps are of one call, of 4 at most, and there are 5: .*--set encode.B=5' $texts --data "$taps/texts.txt" --taps "$taps/never.st"
