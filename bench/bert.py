"""BERT-base's encoder on 128 tokens, at batch 1 and 8, in turns with ONNX Runtime (npm's onnxruntime-node), on the same weights and tokens. Before that the
two results are held against each other: equal within f32's error, or in bf16 within its rounding."""
import json
import os
import re
import shutil
import sys

import measure
import onnx

L, H, D, F, T, V = 12, 12, 768, 3072, 128, 30522
CLOSE = {"f32": 1e-4, "bf16": 0.1}      # largest difference, of values of a norm's result (variance 1)


def modules(b):
    """The directory with onnxruntime-node, installed if it can be; None."""
    where = b.tool("npm")
    found = os.path.join(where, "node_modules")
    if not shutil.which("node"):
        b.skip("ONNX Runtime", "node is not installed")
        return None
    if not os.path.isdir(os.path.join(found, "onnxruntime-node")):
        os.makedirs(where, exist_ok=True)
        try:
            measure.run(["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", "onnxruntime-node"], cwd=where)
        except (measure.Failed, OSError) as e:
            b.skip("ONNX Runtime", f"npm can't install onnxruntime-node: {e}")
            return None
    return found


def inputs(b, n):
    import numpy
    rng = numpy.random.default_rng(2)
    return {"tokens": rng.integers(0, V, (n, T), dtype="i4"), "segment": rng.integers(0, 2, (n, T), dtype="i4"), "real": numpy.ones((n, T), "?")}


class Pair:
    """Both sides at one batch; ours call by call over a file of examples."""

    def __init__(self, b, precision, batch, calls):
        self.b, self.batch, self.calls = b, batch, calls
        self.program = b.program("bert", "--precision", precision, "--entry", "encode", encode__B=batch, encode__T=T)
        self.file, self.json, self.weights = (os.path.join(b.tmp, n) for n in (f"in-{batch}.safetensors", f"in-{batch}.json", "bert"))
        self.model, self.out, self.theirs_out = (os.path.join(b.tmp, n) for n in ("bert.onnx", "ours.safetensors", "theirs.f32"))
        first = inputs(b, batch)
        onnx.write_safetensors(self.file, {k: x.repeat(calls, 0).reshape(batch, calls, T).swapaxes(0, 1).reshape(-1, T) for k, x in first.items()})
        with open(self.json, "w") as f:
            json.dump({k: x.astype(int).flatten().tolist() for k, x in first.items()}, f)
        if not os.path.isdir(self.weights):
            measure.run([self.program, "init", "--out", self.weights])

    def ours(self):
        done = self.b.timed([self.program, "encode", "-m", self.weights, "--inputs", self.file, "-o", self.out, "-t", str(self.b.threads)])
        n, seconds = re.search(r"(\d+) examples, ([\d.]+) s", done.out).groups()
        return [1e3 * float(seconds) * self.batch / int(n)], done.mb

    def theirs(self, found):
        done = self.b.timed(["node", f"{measure.HERE}/ort.js", found, self.model, self.json, str(self.batch), str(T), str(self.calls), str(self.b.threads), self.theirs_out])
        return [float(done.out)], done.mb

    def check(self, found, precision):
        """The largest difference between the two results."""
        import numpy
        self.ours()
        self.theirs(found)
        mine = onnx.safetensors(self.out)["result"][:self.batch]
        other = numpy.fromfile(self.theirs_out, "<f4").reshape(mine.shape)
        worst = float(numpy.abs(mine - other).max())
        if worst > CLOSE[precision]:
            raise measure.Failed(f"BERT, {precision}: our result and ONNX Runtime's differ by {worst}")
        return f"largest difference of results {worst:.1g}"


def records(b):
    found = modules(b)
    for precision in "f32", "bf16":
        for batch in 1, 8:
            pair = Pair(b, precision, batch, b.rounds(24, 8) // (1 if batch == 1 else 4))
            sides, note = [measure.Side("sinter", pair.ours)], None
            if found:
                if not os.path.exists(pair.model):
                    measure.run([sys.executable, f"{measure.HERE}/onnx.py", os.path.join(pair.weights, "model.safetensors"), pair.model, str(L), str(H)])
                note = pair.check(found, precision)
                sides.append(measure.Side("ONNX Runtime, f32", lambda: pair.theirs(found)))
            work = batch * T * (2 * L * (4 * D * D + 2 * D * F) + 4 * L * D * T)
            yield b.compare("bert", f"BERT-base, {batch} x {T}, {precision}", "ms", sides, b.rounds(5, 2),
                            limit=(precision, lambda ms, most: work / (ms * 1e-3) / (most * 1e9)), note=note)
