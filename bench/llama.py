#!/usr/bin/python3
"""Prefill of 512 tokens and decoding of 128 against llama.cpp, both with random weights of the same shapes and type, in turns in one run.
LLAMA_BENCH is llama.cpp's llama-bench, built for this machine; the GGUF files it reads are written here (no vocabulary: speed needs none).
Decoding begins behind one token on both sides. Prints tokens a second (medians), and ours to theirs.
usage: bench/llama.py LLAMA_BENCH [SINTER [MODEL:TYPE ...]]     MODEL gpt2 or llama (110M); TYPE f32 or bf16"""
import json
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
THREADS, ROUNDS, PROMPT, TOKENS = os.cpu_count(), 3, 512, 128
D, L, H, N = 768, 12, 12, 1024
V = {"gpt2": 50257, "llama": 32000}
F = {"gpt2": 3072, "llama": 2048}
TYPES = {"f32": 0, "bf16": 30}    # ggml_type; general.file_type has 0 and 32 for them


def tensors(model):
    """Names and extents as GGUF has them: the fastest axis first."""
    v, f = V[model], F[model]
    yield "token_embd.weight", (D, v)
    if model == "gpt2":
        yield "position_embd.weight", (D, N)
    norm = ("weight", "bias") if model == "gpt2" else ("weight",)
    for i in range(L):
        layer = {"attn_qkv": (D, 3 * D)} if model == "gpt2" else {"attn_q": (D, D), "attn_k": (D, D), "attn_v": (D, D), "ffn_gate": (D, f)}
        for name, (n_in, n_out) in {**layer, "attn_output": (D, D), "ffn_up": (D, f), "ffn_down": (f, D)}.items():
            yield f"blk.{i}.{name}.weight", (n_in, n_out)
            if model == "gpt2":
                yield f"blk.{i}.{name}.bias", (n_out,)
        for name in "attn_norm", "ffn_norm":
            yield from ((f"blk.{i}.{name}.{part}", (D,)) for part in norm)
    yield from (("output_norm." + part, (D,)) for part in norm)
    yield "output.weight", (D, v)


def gguf(path, model, kind):
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    def entry(key, value):
        code, body = {str: (8, text), float: (6, lambda x: struct.pack("<f", x)), int: (4, lambda x: struct.pack("<I", x))}[type(value)]
        return text(key) + struct.pack("<I", code) + body(value)
    meta = {"general.architecture": model, "general.name": model, "general.file_type": 32 if kind == "bf16" else 0, "tokenizer.ggml.model": "none"}
    own = {"context_length": N, "embedding_length": D, "feed_forward_length": F[model], "block_count": L, "attention.head_count": H, "vocab_size": V[model],
           "attention.layer_norm_epsilon" if model == "gpt2" else "attention.layer_norm_rms_epsilon": 1e-5}
    meta.update({f"{model}.{key}": value for key, value in own.items()})
    if model == "llama":
        meta["llama.rope.dimension_count"] = D // H
    at, infos, all_tensors = 0, [], list(tensors(model))
    for name, shape in all_tensors:
        code = TYPES[kind] if len(shape) > 1 and name != "position_embd.weight" else 0
        size = int(numpy.prod(shape)) * (2 if code else 4)
        infos.append((name, shape, code, at, size))
        at += (size + 31) // 32 * 32
    noise = (numpy.random.default_rng(1).standard_normal(1 << 20) * 0.02).astype("<f4")
    data = {0: noise.tobytes(), 30: (noise.view("<u4") >> 16).astype("<u2").tobytes()}
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(meta)) + b"".join(entry(k, v) for k, v in meta.items()))
        for name, shape, code, offset, _ in infos:
            f.write(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, code, offset))
        f.write(b"\0" * (-f.tell() % 32))
        for name, shape, code, offset, size in infos:
            body = data[code]
            f.write((body * (size // len(body) + 1))[:size] + b"\0" * (-size % 32))


def output(command):
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(command)}\n{r.stdout}")
    return r.stdout


def ours(program, tokens, count):
    ids = ",".join(str(1 + i * 7919 % 30000) for i in range(tokens))
    out = output([program, "generate", "--random", "--ids", "--prompt-ids", ids, "-n", str(count), "--temp", "0", "--top-k", "0", "-t", str(THREADS)])
    said = re.search(r"prompt \d+ tokens, [\d.]+ s, ([\d.]+)/s; generated (\d+), [\d.]+ s, ([\d.]+)/s", out)
    return float(said[1]), float(said[3]), int(said[2])


def theirs(bench, path):
    out = output([bench, "-m", path, "-p", str(PROMPT), "-n", str(TOKENS), "-t", str(THREADS), "-r", "2", "-o", "json"])
    rates = {(t["n_prompt"], t["n_gen"]): t["avg_ts"] for t in json.loads(out[out.index("[\n"):out.rindex("]") + 1])}
    return rates[PROMPT, 0], rates[0, TOKENS]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    bench, sinter = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else HERE + "/../build/sinter")
    print(f"| {THREADS} threads | prefill {PROMPT}: ours | llama.cpp | ratio | decode {TOKENS}: ours | llama.cpp | ratio |\n|---|---|---|---|---|---|---|")
    for which in sys.argv[3:] or ["gpt2:f32", "llama:f32", "gpt2:bf16", "llama:bf16"]:
        model, kind = which.split(":")
        sets = [] if model == "gpt2" else ["V=32000", "N=1024", f"D={D}", f"H={H}", f"G={H}", f"L={L}", f"F={F['llama']}"]
        with tempfile.TemporaryDirectory() as tmp:
            path, program = os.path.join(tmp, "model.gguf"), os.path.join(tmp, model)
            gguf(path, model, kind)
            output([sinter, "build", f"{HERE}/../models/{model}.sinter", "--precision", kind, "--entry", "generate", "-o", program]
                   + [word for s in sets for word in ("--set", s)])
            a, b, c, d = [], [], [], []
            for _ in range(ROUNDS):
                a.append(ours(program, PROMPT, 1)[0])
                _, rate, count = ours(program, 1, TOKENS)
                if count < TOKENS - 1:
                    sys.exit(f"{model} ended after {count} tokens")
                c.append(rate)
                for to, rate in zip((b, d), theirs(bench, path)):
                    to.append(rate)
        a, b, c, d = (statistics.median(x) for x in (a, b, c, d))
        print(f"| {model} {kind} | {a:.0f} | {b:.0f} | {a / b:.2f} | {c:.1f} | {d:.1f} | {c / d:.2f} |", flush=True)


main()
