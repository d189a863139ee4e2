# labelled(h, labels): a head that is computed where there are labels gives the loss, the metrics and the gradients of one computed everywhere.
lab=$tmp/labelled; mkdir -p "$lab"
sed 's/labelled(h, masked)/h, masked/' models/bert.sinter > "$lab/all.sinter"
check "the other formulation is another" sh -c "! cmp -s models/bert.sinter '$lab/all.sinter'"
cp models/bert.sinter "$lab/few.sinter"
lab_same() {  # WHAT V LABELS [FLAGS]
	"$tensors" write "$lab/$1.st" tokens I64 16,64 rand:1:0:$2 segment I64 16,64 0,0,1 real BOOL 16,64 1,1,1,1,1,0 masked I64 16,64 "$3" follows I64 16 0,1
	for way in few all; do
		check "V=$2, $1: $way" "$lab/$way-$2" train -q -i "$lab/$1.st" -m "$lab/weights-$2" --grads-out "$lab/$way.grads"
	done
	check "V=$2, $1: the same" "$tensors" near "$lab/few.grads" "$lab/all.grads" 1e-6
}
tensors=$build/tools/tensors
# V=50: the logits are made at once. V=20000: 82 MB of them, in chunks; of few labels only the first chunk has rows.
for v in 50 20000; do
	for way in few all; do
		check "V=$v, $way: builds" "$sinter" build "$lab/$way.sinter" --entry train --set V=$v --set N=64 --set D=24 --set F=40 --set H=2 --set L=1 --set p=0 \
			--set train.batch=16 --set train.micro=16 --set train.T=64 -o "$lab/$way-$v"
	done
	"$tensors" write "$lab/first.st" tokens I64 16,64 rand:2:0:$v segment I64 16,64 0 real BOOL 16,64 1 masked I64 16,64 1,-100,-100,7 follows I64 16 1
	check "V=$v: weights" "$lab/all-$v" train -q -i "$lab/first.st" --valid-fraction 0 --steps 3 --lr 1e-2 --warmup 1 --out "$lab/run"
	cp -rL "$lab/run/last" "$lab/weights-$v"; rm -r "$lab/run"
	lab_same some $v 1,-100,-100,7,-100,-100,-100
	lab_same each $v 3,4,5,6
	lab_same none $v -100
	check "V=$v: without a label words have no loss" test "$("$tensors" print "$lab/few.grads" mlm_loss | sed 's/.* //')" = 0
	check "and nothing is NaN" sh -c "'$tensors' print '$lab/few.grads' > '$lab/printed' && test -s '$lab/printed' && ! grep -qi nan '$lab/printed'"
done
check "the logits of all rows are never there" sh -c "'$lab/few-20000' info | grep -q 'rows.[0-9]* <= 512 rows'"
# What is counted can be told from what is not, and rows of the two not be mixed.
cat > "$lab/rows.sinter" <<'END'
config { V: dim = 9; D: dim = 4 }
dim B, T <= 8
model M(tokens: id(V)[B,T]) -> [B,T,D] {
  wte: embedding(V -> D)
  return wte(tokens)
}
infer odd(tokens: id(V)[B,T], at: bool[B,T]) -> (f32[B,D], i32[B]) {
  rows = nonzero(rearrange(at, [B,T] -> [B*T]))
  some = gather(rearrange(M(tokens), [B,T,D] -> [B*T,D]), rows, 0)
  return zeros([B,D]) + sum(some, 0), argmax(M(tokens)[:, 0])
}
END
check "nonzero in an entry of its own" "$sinter" build "$lab/rows.sinter" -o "$lab/rows"
"$tensors" write "$lab/w.st" wte.weight F32 9,4 0,0,0,0,1,1,1,1,2,2,2,2,3,3,3,3
"$tensors" write "$lab/at.st" tokens I64 2,3 1,2,3,1,2,3 at BOOL 2,3 1,0,1,0,0,1
exits "sums the rows that it finds" 0 '"result.0":\[\[7,7,7,7\]' "$lab/rows" odd -q -m "$lab/w.st" -i "$lab/at.st"
"$tensors" write "$lab/at.st" tokens I64 2,3 1,2,3,1,2,3 at BOOL 2,3 0
exits "or none" 0 '"result.0":\[\[0,0,0,0\]' "$lab/rows" odd -q -m "$lab/w.st" -i "$lab/at.st"
