#!/usr/bin/python3
"""A training step of GPT-2 124M, fp32, here and in PyTorch (Debian's python3-torch), in turns in one run: forward, backward, clipping to a norm of 1 and
AdamW. PyTorch's side is its own operations at their fastest: fused tanh-GELU, bias within the product, AdamW over lists of
tensors, one thread a core, and glibc told to keep freed memory (with its defaults most of the time goes into page faults).
Prints ms a step (median without a run's first two), their quartiles, the ratio, and each side's largest resident memory.
usage: bench/train.py TEXT [SINTER [BATCHxTOKENS ...]]"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = {"MALLOC_TOP_PAD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 40), "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
L, H, D, V, N = 12, 12, 768, 50257, 1024
STEPS, SKIPPED, ROUNDS, THREADS = 8, 2, 3, os.cpu_count()


def torch_side(batch, tokens):
    import torch
    import torch.nn.functional as F
    sys.path.insert(0, os.path.join(HERE, "../tests/reference"))
    sys.dont_write_bytecode = True
    import models
    models.gelu_tanh = lambda x: F.gelu(x, approximate="tanh")
    models.conv1d_linear = lambda W, name, x: F.linear(x, W[name + ".weight"].t(), W[name + ".bias"])
    torch.set_num_threads(THREADS)
    shapes = {"wte.weight": (V, D), "wpe.weight": (N, D)}
    for i in range(L):
        for name, n_in, n_out in ("attn.c_attn", D, 3 * D), ("attn.c_proj", D, D), ("mlp.c_fc", D, 4 * D), ("mlp.c_proj", 4 * D, D):
            shapes[f"h.{i}.{name}.weight"], shapes[f"h.{i}.{name}.bias"] = (n_in, n_out), (n_out,)
    for name in [f"h.{i}.ln_{j}" for i in range(L) for j in (1, 2)] + ["ln_f"]:
        shapes[name + ".weight"] = shapes[name + ".bias"] = (D,)
    W = {name: (torch.randn(s) * 0.02 if len(s) > 1 else torch.ones(s) * name.endswith("weight")).requires_grad_() for name, s in shapes.items()}
    adam = torch.optim.AdamW(W.values(), lr=1e-4, weight_decay=0.1, foreach=True)
    for _ in range(STEPS):
        began = time.perf_counter()
        ids = torch.randint(0, V, (batch, tokens + 1))
        loss = models.labelled(models.gpt2(W, {"L": L, "H": H}, ids[:, :-1]), ids[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(W.values(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        loss.item()
        print(1e3 * (time.perf_counter() - began), flush=True)


def run(command, **kw):
    """Its output and its largest resident memory in MB."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    out = child.stdout.read()
    _, status, use = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)}\n{out}")
    return out, use.ru_maxrss * 1024e-6


def ours(program, text, tmp):
    log = os.path.join(tmp, "run")
    subprocess.run(["rm", "-rf", log], check=True)
    _, memory = run([program, "train", "--data", text, "--tokenizer", "byte", "--valid-fraction", "0.1", "--steps", str(STEPS), "--lr", "1e-4",
                     "--validate-every", "0", "--save-every", "0", "--eval-batches", "1", "-t", str(THREADS), "--out", log])
    times = [json.loads(line)["time"] for line in open(os.path.join(log, "metrics.jsonl")) if '"lr"' in line]
    return [1e3 * (b - a) for a, b in zip([0] + times, times)][SKIPPED:], memory


def theirs(batch, tokens):
    out, memory = run([sys.executable, __file__, "--torch", str(batch), str(tokens)], env={**os.environ, **KEEP})
    return [float(x) for x in out.split()][SKIPPED:], memory


def row(name, times, memory, base):
    q = statistics.quantiles(times, n=4)
    return f"| {name} | {q[1]:.0f} | {q[0]:.0f} to {q[2]:.0f} | {q[1] / base:.2f} | {memory:.0f} |"


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "--torch":
        return torch_side(int(sys.argv[2]), int(sys.argv[3]))
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    text, sinter = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else HERE + "/../build/sinter")
    for setting in sys.argv[3:] or ["4x64", "1x1024"]:
        batch, tokens = (int(n) for n in setting.split("x"))
        with tempfile.TemporaryDirectory() as tmp:
            program, sides = os.path.join(tmp, "gpt2"), ([], [])
            run([sinter, "build", HERE + "/../models/gpt2.sinter", "--precision", "f32", "--set", "p=0", "--set", f"train.batch={batch}", "--set",
                 f"train.micro={batch}", "--set", f"train.T={tokens}", "--entry", "train", "-o", program])
            memory = [0, 0]
            for _ in range(ROUNDS):
                for side, (times, most) in enumerate((ours(program, text, tmp), theirs(batch, tokens))):
                    sides[side].extend(times)
                    memory[side] = max(memory[side], most)
        base = statistics.median(sides[0])
        print(f"| GPT-2 124M, {batch} x {tokens}, fp32, {THREADS} threads | ms a step | half of them | ratio | MB |\n|---|---|---|---|---|")
        print(row("sinter", sides[0], memory[0], base))
        print(row("PyTorch, memory kept", sides[1], memory[1], base), flush=True)


main()
