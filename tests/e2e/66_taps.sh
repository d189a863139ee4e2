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
