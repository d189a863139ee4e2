"""Training steps of GPT-2 124M in turns with PyTorch (Debian's python3-torch) and llm.c: forward, backward, clipping to a norm of 1, AdamW.
PyTorch's side is its own operations at their fastest: fused tanh-GELU, bias within the product, AdamW over lists of tensors, one
thread a core, and glibc told to keep freed memory (with its defaults most of the time goes into page faults). llm.c is built as its README
says, with -Ofast -march=native -fopenmp; its batch is 4 x 64. Called as a program this file is PyTorch's side: BATCH TOKENS STEPS."""
import json
import math
import os
import re
import shutil
import sys
import time

import measure

KEEP = {"MALLOC_TOP_PAD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 40), "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
L, H, D, V, N = 12, 12, 768, 50257, 1024
SKIPPED = 2             # first steps of a run: memory is touched


def torch_side(batch, tokens, steps, threads):
    import torch
    import torch.nn.functional as F
    sys.path.insert(0, os.path.join(measure.TOP, "tests/reference"))
    import models
    models.gelu_tanh = lambda x: F.gelu(x, approximate="tanh")
    models.conv1d_linear = lambda W, name, x: F.linear(x, W[name + ".weight"].t(), W[name + ".bias"])
    torch.set_num_threads(threads)
    shapes = {"wte.weight": (V, D), "wpe.weight": (N, D)}
    for i in range(L):
        for name, n_in, n_out in ("attn.c_attn", D, 3 * D), ("attn.c_proj", D, D), ("mlp.c_fc", D, 4 * D), ("mlp.c_proj", 4 * D, D):
            shapes[f"h.{i}.{name}.weight"], shapes[f"h.{i}.{name}.bias"] = (n_in, n_out), (n_out,)
    for name in [f"h.{i}.ln_{j}" for i in range(L) for j in (1, 2)] + ["ln_f"]:
        shapes[name + ".weight"] = shapes[name + ".bias"] = (D,)
    W = {name: (torch.randn(s) * 0.02 if len(s) > 1 else torch.ones(s) * name.endswith("weight")).requires_grad_() for name, s in shapes.items()}
    adam = torch.optim.AdamW(W.values(), lr=1e-4, weight_decay=0.1, foreach=True)
    for _ in range(steps):
        began = time.perf_counter()
        ids = torch.randint(0, V, (batch, tokens + 1))
        loss = models.labelled(models.gpt2(W, {"L": L, "H": H}, ids[:, :-1]), ids[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(W.values(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=False)
        loss.item()
        print(1e3 * (time.perf_counter() - began), flush=True)


def step_times(b, program, steps, *flags, tokenizer="byte", skipped=SKIPPED):
    """ms of each step of a run but the first, memory, and what the run logged."""
    log = os.path.join(b.tmp, "run")
    shutil.rmtree(log, ignore_errors=True)
    done = b.timed([program, "train", *flags, "--steps", str(steps), "--validate-every", "0", "--save-every", "0", "--eval-batches", "1",
                    "-t", str(b.threads), "--out", log] + (["--data", b.text, "--tokenizer", tokenizer, "--valid-fraction", "0.1"] if tokenizer else []))
    lines = [json.loads(line) for line in open(os.path.join(log, "metrics.jsonl"))]
    times = [line["time"] for line in lines if "lr" in line]
    return [1e3 * (y - x) for x, y in zip([0] + times, times)][skipped:], done.mb, lines


def ours(b, program, steps):
    times, mb, lines = step_times(b, program, steps, "--lr", "1e-4")
    first = lines[0]["loss"]
    if not 0.97 < first / math.log(V) < 1.05:
        raise measure.Failed(f"the first loss is {first}, far from ln {V}")
    return times, mb


def pytorch(b, batch, tokens, steps):
    done = b.timed([sys.executable, __file__, str(batch), str(tokens), str(steps), str(b.threads)], env={**os.environ, **KEEP})
    return [float(x) for x in done.out.split()][SKIPPED:], done.mb


def llmc_program(b):
    """llm.c's train_gpt2 in a directory with the files it reads."""
    where = os.path.join(b.tmp, "llmc")
    data = os.path.join(where, "dev/data/tinyshakespeare")
    os.makedirs(data)
    files, program = os.path.join(where, "files"), os.path.join(where, "train_gpt2")
    measure.run(["gcc", "-O2", "-o", files, f"{measure.HERE}/llmc_files.c", "-lm"])
    measure.run(["gcc", "-Ofast", "-fno-finite-math-only", "-march=native", "-fopenmp", "-DOMP", "-w", "-I.", "train_gpt2.c", "-lm", "-o", program], cwd=b.llmc)
    measure.run([files, "model", f"{where}/gpt2_124M.bin"])
    for part in "train", "val":
        measure.run([files, "tokens", b.text, f"{data}/tiny_shakespeare_{part}.bin"])
    return where


def llmc(b, where):
    """Its steps, until enough: it goes on for longer than anyone waits."""
    seconds = 30 if b.quick else 60
    done = b.timed(["sh", "-c", f"cd {where} && OMP_NUM_THREADS={b.threads} timeout {seconds} stdbuf -oL ./train_gpt2; true"])
    return [float(x) for x in re.findall(r"^step .*took ([0-9.]+) ms", done.out, re.M)][1:]


def flops(batch, tokens):
    """Of a model's step, forward and backward, without recomputation (Chowdhery et al. 2022, "PaLM", app. B)."""
    return batch * tokens * (6 * (L * 12 * D * D + V * D) + 12 * L * D * tokens)


def share(work):
    return lambda ms, limit: work / (ms * 1e-3) / (limit * 1e9)


def peers(b, batch, tokens, steps):
    have = []
    try:
        measure.run([sys.executable, "-c", "import torch"])
        have.append(measure.Side("PyTorch", lambda: pytorch(b, batch, tokens, steps)))
    except measure.Failed:
        b.skip("PyTorch", "python3-torch is not installed")
    if (batch, tokens) != (4, 64):
        return have
    if not os.path.exists(os.path.join(b.llmc, "train_gpt2.c")):
        b.skip("llm.c", "no checkout was given (LLMC=)")
        return have
    where = llmc_program(b)
    return have + [measure.Side("llm.c", lambda: llmc(b, where))]


def gpt2(b, precision, batch, tokens, steps):
    return b.program("gpt2", "--precision", precision, "--entry", "train", p=0, train__batch=batch, train__micro=batch, train__T=tokens), steps


def records(b):
    for batch, tokens, steps in ((4, 64, 8), (1, 1024, b.rounds(8, 4))):
        sides = peers(b, batch, tokens, steps)
        for precision in "f32", "bf16":
            program = gpt2(b, precision, batch, tokens, steps)
            mine = measure.Side("sinter", lambda: ours(b, *program))
            others = [measure.Side(s.name, s.turn) for s in sides if precision == "f32"]
            if precision == "bf16":       # against our own f32, which had its turns with the peers
                before = gpt2(b, "f32", batch, tokens, steps)
                others = [measure.Side("sinter f32", lambda: ours(b, *before))]
            yield b.compare("train", f"GPT-2 124M, {batch} x {tokens}, {precision}", "ms a step", [mine, *others], b.rounds(3),
                            limit=(precision, share(flops(batch, tokens))))
    if not b.quick:
        yield from bert(b)


def bert(b):
    """BERT-base at 32 x 128, from a file of random inputs."""
    work = 32 * 128 * (6 * (12 * 12 * D * D + 30522 * D + D * D) + 12 * 12 * D * 128)
    for precision in "f32", "bf16":
        program, inputs = b.program("bert", "--precision", precision, "--entry", "train", p=0, train__batch=32, train__micro=32), os.path.join(b.tmp, "bert.safetensors")
        measure.run([program, "train", "--example-inputs", inputs])
        mine = measure.Side("sinter", lambda: step_times(b, program, 4, "--inputs", inputs, "--valid-fraction", "0", tokenizer=None, skipped=1)[:2])
        yield b.compare("train", f"BERT-base, 32 x 128, {precision}", "ms a step", [mine], 2, limit=(precision, share(work)))


if __name__ == "__main__":
    torch_side(*(int(x) for x in sys.argv[1:]))
