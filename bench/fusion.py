"""Each fusion of the compiler switched off by `sinter build --without`, in turns with all of them on: time, and the memory planned for the entry (in
brackets). Training is timed by --profile's sums of a step's gradients and of the optimiser's update, generation by what it prints itself."""
import filecmp
import re
import shutil

import measure
from llama import PROMPT, SHAPES, TOKENS, decode, prefill

FUSIONS = {
    "epilogues": "bias, activation, residual as epilogues of contractions",
    "rows": "norms, softmax, losses, AdamW in one pass each",
    "cols": "sums over rows with what they sum",
    "flash": "attention without scores",
    "chunk": "projection and cross-entropy in chunks",
    "merge": "Q, K, V as one contraction",
}
TRAIN = ("epilogues", "rows", "cols", "flash", "chunk")
OPTIMISER = ("rows",)       # what makes the optimiser's kernels
GENERATE = ("epilogues", "rows", "flash", "merge")


def planned(b, model, flags):
    """MB of the entry's memory, by the plan."""
    out = measure.run([b.sinter, "build", f"{measure.TOP}/models/{model}.sinter", *flags, "--emit=plan"]).out
    return int(re.search(r"^memory of \w+: (\d+) bytes", out, re.M)[1]) / 1e6


class Variant:
    """A program without one fusion (None: with all), and its samples by what is timed."""

    def __init__(self, b, without, model, flags):
        flags = list(flags) + (["--without", without] if without else [])
        self.without, self.program = without, b.program(model, *flags)
        self.mb, self.turns = planned(b, model, flags), {}

    def add(self, what, x):
        self.turns.setdefault(what, []).append([x])

    def side(self, what):
        return measure.Side("without" if self.without else "sinter", None, self.turns[what], self.mb)


def records_of(row, variants, unit, less):
    on, *off = variants
    for what in on.turns:
        for v in off:
            if what == "AdamW" and v.without not in OPTIMISER:
                continue
            r = measure.record("fusion", f"{row}, {what}: {FUSIONS[v.without]} ({v.without})", unit, [on.side(what), v.side(what)], less)
            measure.say("  " + measure.table([r]).splitlines()[-1])
            yield r


def variants(b, model, flags, fusions):
    """With all fusions, and without each of those that change the program: some are not used at a shape."""
    on, *off = [Variant(b, f, model, flags) for f in (None, *fusions)]
    return [on, *(v for v in off if not filecmp.cmp(on.program, v.program, shallow=False))]


def train(b, batch, tokens, rounds):
    flags = ["--precision", "f32", "--entry", "train"]
    for s in ("p=0", f"train.batch={batch}", f"train.micro={batch}", f"train.T={tokens}"):
        flags += ["--set", s]
    all_of = variants(b, "gpt2", flags, TRAIN)
    for i in range(rounds):
        for v in measure.rotated(all_of, i):
            shutil.rmtree(f"{b.tmp}/run", ignore_errors=True)
            out = b.timed([v.program, "train", "--profile", "--data", b.text, "--tokenizer", "byte", "--steps", "4", "--validate-every", "0", "--save-every", "0",
                           "--valid-fraction", "0.1", "--eval-batches", "1", "-t", str(b.threads), "--out", f"{b.tmp}/run"]).out
            for what, name in (("step", "gradients"), ("update", "AdamW")):
                v.add(name, float(re.search(rf"^{what}: \d+ calls of ([\d.]+) ms", out, re.M)[1]))
    yield from records_of(f"GPT-2 124M, {batch} x {tokens}", all_of, "ms", True)


def llama(b, rounds):
    flags = ["--precision", "f32", "--entry", "generate"]
    for k, x in SHAPES["llama"].settings().items():
        flags += ["--set", f"{k}={x}"]
    all_of = variants(b, "llama", flags, GENERATE)
    for i in range(rounds):
        for v in measure.rotated(all_of, i):
            v.add(f"prefill {PROMPT}", prefill(b, v.program)[0][0])
            v.add(f"decode {TOKENS}", decode(b, v.program)[0][0])
    yield from records_of("LLaMA 110M", all_of, "tokens/s", False)


def records(b):
    yield from train(b, 4, 64, b.rounds(7, 3))
    if not b.quick:
        yield from train(b, 1, 1024, 3)
    yield from llama(b, b.rounds(7, 3))
