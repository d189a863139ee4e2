"""Prefill of 512 tokens and decoding of 128 in turns with llama.cpp, both with random weights of the same shapes and type. The GGUF files it reads are written
here (no vocabulary: speed needs none). Decoding begins behind one token on both sides. Types: f32, bf16, and as GGUF has them q8_0 and q4_0,
blocks of 32 with a scale, for which ours are built with --quantize; where the compiler has none, that is said."""
import dataclasses
import json
import os
import re
import struct

import measure

PROMPT, PROMPTS, TOKENS = 512, 8, 128


@dataclasses.dataclass
class Shape:
    text: str
    model: str          # file in models/
    V: int
    D: int
    L: int
    H: int
    G: int
    F: int
    N: int = 1024

    def settings(self):
        return {} if self.model == "gpt2" else {k: getattr(self, k) for k in "VDLHGFN"}

    def weights(self):
        """Elements read for each token: all but embeddings."""
        kv = self.D // self.H * self.G
        inner = (2 if self.model == "gpt2" else 3) * self.F
        return self.L * self.D * (2 * self.D + 2 * kv + inner) + self.V * self.D


SHAPES = {
    "gpt2": Shape("GPT-2 124M", "gpt2", 50257, 768, 12, 12, 12, 3072),
    "llama": Shape("LLaMA 110M", "llama", 32000, 768, 12, 12, 12, 2048),
    "llama-1.1b": Shape("LLaMA 1.1B", "llama", 32000, 2048, 22, 32, 4, 5632),
}


@dataclasses.dataclass
class Kind:
    code: int           # ggml_type
    file: int           # general.file_type
    block: int          # elements
    bytes: int          # of a block
    flags: list
    limit: str          # whose arithmetic


KINDS = {
    "f32": Kind(0, 0, 1, 4, ["--precision", "f32"], "f32"),
    "bf16": Kind(30, 32, 1, 2, ["--precision", "bf16"], "bf16"),
    "q8_0": Kind(8, 7, 32, 34, ["--quantize", "q8_0"], "int8"),
    "q4_0": Kind(2, 2, 32, 18, ["--quantize", "q4_0"], "int8"),
}
ALL = [f"{m}:{k}" for m in SHAPES for k in KINDS if (m, k) != ("llama-1.1b", "f32")]
QUICK = ["gpt2:f32", "llama:bf16"]


def tensors(s):
    """Names and extents as GGUF has them: the fastest axis first."""
    gpt2 = s.model == "gpt2"
    yield "token_embd.weight", (s.D, s.V)
    if gpt2:
        yield "position_embd.weight", (s.D, s.N)
    norm = ("weight", "bias") if gpt2 else ("weight",)
    kv = s.D // s.H * s.G
    for i in range(s.L):
        layer = {"attn_qkv": (s.D, 3 * s.D)} if gpt2 else {"attn_q": (s.D, s.D), "attn_k": (s.D, kv), "attn_v": (s.D, kv), "ffn_gate": (s.D, s.F)}
        for name, (n_in, n_out) in {**layer, "attn_output": (s.D, s.D), "ffn_up": (s.D, s.F), "ffn_down": (s.F, s.D)}.items():
            yield f"blk.{i}.{name}.weight", (n_in, n_out)
            if gpt2:
                yield f"blk.{i}.{name}.bias", (n_out,)
        for name in "attn_norm", "ffn_norm":
            yield from ((f"blk.{i}.{name}.{part}", (s.D,)) for part in norm)
    yield from (("output_norm." + part, (s.D,)) for part in norm)
    yield "output.weight", (s.D, s.V)


def noise(kind):
    """Some MB of random weights of a type."""
    import numpy
    rng = numpy.random.default_rng(1)
    f32 = (rng.standard_normal(1 << 20) * 0.02).astype("<f4")
    if kind == "f32":
        return f32.tobytes()
    if kind == "bf16":
        return (f32.view("<u4") >> 16).astype("<u2").tobytes()
    blocks = rng.integers(0, 256, (1 << 15, KINDS[kind].bytes), dtype="u1")
    blocks[:, :2] = numpy.frombuffer(numpy.float16(3e-4 if kind == "q8_0" else 4e-3).tobytes(), "u1")
    return blocks.tobytes()


def metadata(s, kind):
    own = {"context_length": s.N, "embedding_length": s.D, "feed_forward_length": s.F, "block_count": s.L, "attention.head_count": s.H, "vocab_size": s.V,
           "attention.layer_norm_epsilon" if s.model == "gpt2" else "attention.layer_norm_rms_epsilon": 1e-5}
    if s.model == "llama":
        own.update({"rope.dimension_count": s.D // s.H, "attention.head_count_kv": s.G})
    return {"general.architecture": s.model, "general.name": s.model, "general.file_type": KINDS[kind].file, "tokenizer.ggml.model": "none",
            **{f"{s.model}.{key}": value for key, value in own.items()}}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def entry(key, value):
    code, body = {str: (8, text), float: (6, lambda x: struct.pack("<f", x)), int: (4, lambda x: struct.pack("<I", x))}[type(value)]
    return text(key) + struct.pack("<I", code) + body(value)


def gguf(path, s, kind):
    at, infos = 0, []
    for name, shape in tensors(s):
        wide = "f32" if len(shape) == 1 or name == "position_embd.weight" else kind
        n = 1
        for extent in shape:
            n *= extent
        size = n // KINDS[wide].block * KINDS[wide].bytes
        infos.append((name, shape, wide, at, size))
        at += (size + 31) // 32 * 32
    data = {wide: noise(wide) for wide in {"f32", kind}}
    meta = metadata(s, kind)
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(meta)) + b"".join(entry(k, v) for k, v in meta.items()))
        for name, shape, wide, offset, _ in infos:
            f.write(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, KINDS[wide].code, offset))
        f.write(b"\0" * (-f.tell() % 32))
        for _, _, wide, _, size in infos:
            for done in range(0, size, len(data[wide])):
                f.write(data[wide][:size - done])
            f.write(b"\0" * (-size % 32))


def generate(b, program, count, *prompt):
    """Tokens a second of prompts and of generating, memory."""
    done = b.timed([program, "generate", "--random", "--ids", *prompt, "-n", str(count), "--temp", "0", "--top-k", "0", "-t", str(b.threads)])
    said = re.search(r"prompt \d+ tokens, [\d.]+ s, ([\d.]+)/s; generated (\d+), [\d.]+ s, ([\d.]+)/s", done.out)
    if int(said[2]) < count - 1:
        raise measure.Failed(f"{program} ended after {said[2]} tokens")
    return float(said[1]), float(said[3]), done.mb


def prefill(b, program):
    """Prompts one after another in one process: the first pays for fresh memory, as llama-bench's does in a run that it does not count."""
    path = os.path.join(b.tmp, "prompts.txt")
    with open(path, "w") as f:
        f.writelines("".join(chr(97 + (i * 7919 + j * j) % 26) for j in range(PROMPT)) + "\n" for i in range(PROMPTS))
    rate, _, mb = generate(b, program, 1, "--tokenizer", "byte", "--prompts", path)
    return [rate], mb


def decode(b, program):
    _, rate, mb = generate(b, program, TOKENS, "--prompt-ids", "1")
    return [rate], mb


def theirs(b, bench, path, *what):
    done = b.timed([bench, "-m", path, *what, "-t", str(b.threads), "-r", "2", "-o", "json"])
    return json.loads(done.out[done.out.index("[\n"):done.out.rindex("]") + 1])[0]["samples_ts"], done.mb


def llama_bench(b):
    for path in (b.llama, os.path.join(b.llama, "build/bin/llama-bench"), os.path.join(b.llama, "b/bin/llama-bench")):
        if b.llama and os.path.isfile(path):
            return os.path.abspath(path)
    b.skip("llama.cpp", "no llama-bench was given (LLAMA=)")
    return None


def both(b, bench, s, kind, program):
    path = os.path.join(b.tmp, "model.gguf")
    if bench:
        gguf(path, s, kind)
    flops = 2 * s.weights() + 4 * s.L * s.D * PROMPT
    size = s.weights() * KINDS[kind].bytes / KINDS[kind].block
    for what, mine, flags, limit, each in (("prefill", prefill, ("-p", str(PROMPT), "-n", "0"), KINDS[kind].limit, flops),
                                           ("decode", decode, ("-p", "0", "-n", str(TOKENS)), "read", size)):
        sides = [measure.Side("sinter", lambda: mine(b, program))]
        if bench:
            sides.append(measure.Side("llama.cpp", lambda: theirs(b, bench, path, *flags)))
        yield b.compare(what, f"{s.text}, {kind}", "tokens/s", sides, b.rounds(5, 3), less=False,
                        limit=(limit, lambda rate, most: rate * each / (most * 1e9)))
    if bench:
        os.remove(path)


def records(b):
    bench = llama_bench(b)
    found = {"prefill": [], "decode": []}
    for which in b.models or (QUICK if b.quick else ALL):
        model, kind = which.split(":")
        s = SHAPES[model]
        try:
            program = b.program(s.model, *KINDS[kind].flags, "--entry", "generate", **s.settings())
        except measure.Failed as e:
            if "--quantize" not in KINDS[kind].flags:
                raise
            b.skip(f"{s.text}, {kind}", "not there: " + str(e).strip().splitlines()[1])
            continue
        for r in both(b, bench, s, kind, program):
            found[r["table"]].append(r)
    return found["prefill"] + found["decode"]
