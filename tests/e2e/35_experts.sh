# A mixture of experts, trained and generating: the same bits on any number of threads; experts share kernels.
cat > "$tmp/experts.sinter" <<'END'
config { V: dim = 256; N: dim = 32; D: dim = 32; F: dim = 48; H: dim = 4; K: dim = D / H; E: dim = 8; top: int = 2 }
dim B, T <= N
block Expert(x: [..., D]) -> [..., D] {
  w1, w3: linear(D -> F, bias=false)
  w2:     linear(F -> D, bias=false)
  return w2(silu(w1(x)) * w3(x))
}
block Layer(x: [B,T,D]) -> [B,T,D] {
  q, k, v: linear(D -> [H,K])
  o:       linear([H,K] -> D)
  n1, n2:  rmsnorm(D)
  gate:    linear(D -> E, bias=false)
  experts: repeat E of Expert
  y = n1(x)
  x += o(attention(rope(q(y)), rope(k(y)), v(y), mask=causal))
  y = n2(x)
  return x + moe(y, gate(y), experts, top=top)
}
model M(tokens: id(V)[B,T]) -> [B,T,V] {
  embed:  embedding(V -> D)
  layers: repeat 2 of Layer
  out:    linear(D -> V)
  return out(layers(embed(tokens)))
}
train(tokens: id(V)[B,T+1]) {
  data  text("train.txt", tokenizer="byte")
  loss  cross_entropy(M(tokens[:, :-1]), tokens[:, 1:])
  optimizer adamw(lr=3e-3)
  batch 6, micro=3, T=32
}
generate(tokens: id(V)[B,T]) {
  next   M(tokens)[:, -1]
  sample greedy()
}
END
"$sinter" build "$tmp/experts.sinter" -o "$tmp/experts" || bad "experts build"
for t in 1 2 3; do
	check "experts: 60 steps on $t threads" "$tmp/experts" $train --steps 60 --seed 7 -t $t --out "$tmp/moe$t"
	losses "$tmp/moe$t" > "$tmp/moeloss$t"
done
check "experts: 2 threads give the bits of 1" cmp "$tmp/moeloss1" "$tmp/moeloss2"
check "experts: 3 threads give the bits of 1" cmp "$tmp/moeloss1" "$tmp/moeloss3"
first=$(head -n 1 "$tmp/moeloss1" | cut -d' ' -f1); last=$(tail -n 1 "$tmp/moeloss1" | cut -d' ' -f1)
check "experts: the loss falls ($first to $last)" awk "BEGIN{exit !($last < $first - 1)}"
for t in 1 2; do "$tmp/experts" generate -m "$tmp/moe1" -p "int " -n 24 -t $t > "$tmp/moetext$t" 2> /dev/null; done
check "experts: generation does not depend on threads" cmp "$tmp/moetext1" "$tmp/moetext2"
check "experts: something is generated" test -s "$tmp/moetext1"
for e in 8 24; do
	"$sinter" build "$tmp/experts.sinter" --set E=$e --emit=llvm -o "$tmp/experts$e.ll"
	grep -c '^define internal void @sn_k[0-9]' "$tmp/experts$e.ll" > "$tmp/kernels$e"
done
# Where experts meet the rest fusion may differ; one more expert must not be one more set of kernels.
check "24 experts share kernels as 8 do ($(cat "$tmp/kernels24"), $(cat "$tmp/kernels8"))" \
	test "$(cat "$tmp/kernels24")" -le $(($(cat "$tmp/kernels8") + 12))
