"""Folders as the Hugging Face hub has them, of random weights, written here with a config.json: built with --config, run with -m, logits
against models.py. Then to GGUF and back: the same bytes, the same logits.   usage: hub.py BUILD DIR [CASE ...]"""
import json
import os
import struct
import subprocess
import sys

import torch

import models
import tensors

BOUND = 1e-4
HERE = os.path.dirname(os.path.abspath(__file__))
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64}
LLAMA = dict(model_type="llama", hidden_act="silu", vocab_size=53, max_position_embeddings=64, hidden_size=48, intermediate_size=40,
             num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)
SCALING = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=1024)
QWEN2 = dict(LLAMA, model_type="qwen2", use_sliding_window=False, sliding_window=4096, rms_norm_eps=1e-6, rope_theta=1000000.0)
GPT2 = dict(model_type="gpt2", activation_function="gelu_new", vocab_size=53, n_positions=64, n_embd=48, n_layer=2, n_head=6, layer_norm_epsilon=1e-5,
            resid_pdrop=0.1)
# name: config, dtype of the file, shards
CASES = {
    "llama": (LLAMA, "F32", 1),
    "llama-sharded-bf16": (LLAMA, "BF16", 3),
    "llama-f16": (LLAMA, "F16", 1),
    "llama-f64": (LLAMA, "F64", 1),
    "llama-tied-scaled": (dict(LLAMA, tie_word_embeddings=True, rope_scaling=SCALING), "F32", 1),
    "llama-rope-parameters": ({k: v for k, v in LLAMA.items() if k != "rope_theta"} | {"rope_parameters": dict(rope_type="default", rope_theta=777.0)}, "F32", 1),
    "llama-head-dim": (dict(LLAMA, head_dim=12), "F32", 1),
    "llama-biases": (dict(LLAMA, attention_bias=True), "F32", 1),
    "llama-all-heads": (dict(LLAMA, num_key_value_heads=6), "F32", 1),
    "qwen2": (QWEN2, "F32", 1),
    "qwen2-tied": (dict(QWEN2, tie_word_embeddings=True), "BF16", 2),
    "gpt2": (GPT2, "F32", 1),
    "gpt2-prefix-f16": (GPT2, "F16", 2),
    "gpt2-inner": (dict(GPT2, n_inner=80, layer_norm_epsilon=1e-3), "F32", 1),
}


def decoder_shapes(c):
    D, F, H, G = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"]
    K = c.get("head_dim", D // H)
    yield "model.embed_tokens.weight", (c["vocab_size"], D)
    yield "model.norm.weight", (D,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (c["vocab_size"], D)
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (D,)
        yield p + "post_attention_layernorm.weight", (D,)
        for n, rows, columns in (("q", H * K, D), ("k", G * K, D), ("v", G * K, D), ("o", D, H * K)):
            yield f"{p}self_attn.{n}_proj.weight", (rows, columns)
            if c.get("attention_bias") or (c["model_type"] == "qwen2" and n != "o"):
                yield f"{p}self_attn.{n}_proj.bias", (rows,)
        for n, shape in (("gate", (F, D)), ("up", (F, D)), ("down", (D, F))):
            yield f"{p}mlp.{n}_proj.weight", shape


def gpt2_shapes(c):
    D, F = c["n_embd"], c.get("n_inner") or 4 * c["n_embd"]
    yield "wte.weight", (c["vocab_size"], D)
    yield "wpe.weight", (c["n_positions"], D)
    for p in ["ln_f"] + [f"h.{i}.{n}" for i in range(c["n_layer"]) for n in ("ln_1", "ln_2")]:
        yield p + ".weight", (D,)
        yield p + ".bias", (D,)
    for i in range(c["n_layer"]):
        for n, shape in (("attn.c_attn", (D, 3 * D)), ("attn.c_proj", (D, D)), ("mlp.c_fc", (D, F)), ("mlp.c_proj", (F, D))):
            yield f"h.{i}.{n}.weight", shape
            yield f"h.{i}.{n}.bias", shape[1:]


def save(path, W, dtype):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in W.items():
        piece = bytes(t.contiguous().view(torch.uint8 if t.element_size() == 1 else torch.int16 if t.element_size() == 2 else t.dtype).numpy().tobytes())
        header[name] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def write_folder(folder, config, dtype, shards, prefix):
    """Returns the weights as the file's dtype has them, in double precision."""
    os.makedirs(folder)
    shapes = gpt2_shapes(config) if config["model_type"] == "gpt2" else decoder_shapes(config)
    W = {n: (0.3 * torch.randn(s, dtype=torch.float64) + (1 if len(s) == 1 and n.endswith("weight") else 0)).to(DTYPES[dtype]) for n, s in shapes}
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config, f)
    names = list(W)
    if shards == 1:
        save(f"{folder}/model.safetensors", {prefix + n: W[n] for n in names}, dtype)
    else:
        where = {prefix + n: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, n in enumerate(names)}
        for file in set(where.values()):
            save(f"{folder}/{file}", {prefix + n: W[n] for n in names if where[prefix + n] == file}, dtype)
        with open(f"{folder}/model.safetensors.index.json", "w") as f:
            json.dump({"metadata": {}, "weight_map": where}, f)
    return {n: t.double() for n, t in W.items()}


def reference(config, W, tokens):
    if config["model_type"] == "gpt2":
        eps = config["layer_norm_epsilon"]
        plain, models.layer_norm = models.layer_norm, lambda W, name, x, _=0: plain(W, name, x, eps)
        try:
            return models.gpt2(W, dict(H=config["n_head"], L=config["n_layer"]), tokens)
        finally:
            models.layer_norm = plain
    s = config.get("rope_scaling")
    c = dict(H=config["num_attention_heads"], G=config["num_key_value_heads"], L=config["num_hidden_layers"], eps=config["rms_norm_eps"],
             theta=config.get("rope_theta") or config["rope_parameters"]["rope_theta"],
             scale=s and dict(factor=s["factor"], low=s["low_freq_factor"], high=s["high_freq_factor"], original=s["original_max_position_embeddings"]))
    if config["tie_word_embeddings"]:
        W = dict(W, **{"lm_head.weight": W["model.embed_tokens.weight"]})
    return models.llama(W, c, tokens)


def done(*command):
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(command)}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}")
    return ran


def run(*command):
    return done(*command).stderr


def output(*command):
    return done(*command).stdout


def logits(exe, folder, inputs):
    said = run(exe, "logits", "-m", folder, "--inputs", inputs, "-o", folder + ".out")
    assert "tensors matched" in said, said
    return list(tensors.load(folder + ".out").values())[0].double()


def there_and_back(sinter, folder, dtype):
    """Whether what GGUF gives back are the bytes that went in, as F32, whatever their dtype."""
    run(sinter, "export", folder, "-o", folder + ".gguf")
    run(sinter, "import", folder + ".gguf", "-o", folder + ".back")
    run(sinter, "export", folder + ".back", "-o", folder + ".again.gguf", "--dtype", dtype.lower() if dtype != "F64" else "f32")
    run(sinter, "import", folder + ".again.gguf", "-o", folder + ".twice")
    first, second = (open(f"{folder}.{n}/model.safetensors", "rb").read() for n in ("back", "twice"))
    return first == second


def gguf_text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def write_bert_gguf(path, W, D, F, H, L, N, eps):
    """BERT in GGUF's names, which no `export` writes."""
    parts = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
             "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up", "output.dense": "ffn_down",
             "output.LayerNorm": "layer_output_norm"}
    names = {"embeddings.word_embeddings.weight": "token_embd.weight", "embeddings.position_embeddings.weight": "position_embd.weight",
             "embeddings.token_type_embeddings.weight": "token_types.weight", "embeddings.LayerNorm.weight": "token_embd_norm.weight",
             "embeddings.LayerNorm.bias": "token_embd_norm.bias"}
    names |= {f"encoder.layer.{i}.{hub}.{x}": f"blk.{i}.{gguf}.{x}" for i in range(L) for hub, gguf in parts.items() for x in ("weight", "bias")}
    keys = [gguf_text("general.architecture") + struct.pack("<I", 8) + gguf_text("bert"),
            gguf_text("bert.attention.layer_norm_epsilon") + struct.pack("<If", 6, eps)]
    keys += [gguf_text("bert." + k) + struct.pack("<II", 4, v) for k, v in (
        ("context_length", N), ("embedding_length", D), ("feed_forward_length", F), ("block_count", L), ("attention.head_count", H))]
    infos, data = b"", b""
    for hub, gguf in names.items():
        t = W[hub]
        infos += gguf_text(gguf) + struct.pack(f"<I{t.dim()}QIQ", t.dim(), *reversed(t.shape), 0, len(data))
        data += t.float().numpy().tobytes()
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(names), len(keys)) + b"".join(keys) + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


def compare_bert(build, directory):
    torch.manual_seed(7)
    V, D, F, H, L, N, S, eps = 53, 48, 40, 6, 2, 64, 2, 1e-12
    folder, exe, sinter = f"{directory}/bert", f"{directory}/bert.exe", build + "/sinter"
    shapes = {"embeddings.word_embeddings.weight": (V, D), "embeddings.position_embeddings.weight": (N, D), "embeddings.token_type_embeddings.weight": (S, D)}
    norms = ["embeddings.LayerNorm"] + [f"encoder.layer.{i}.{n}.LayerNorm" for i in range(L) for n in ("attention.output", "output")]
    shapes |= {f"{n}.{x}": (D,) for n in norms for x in ("weight", "bias")}
    for i in range(L):
        for n, shape in (("attention.self.query", (D, D)), ("attention.self.key", (D, D)), ("attention.self.value", (D, D)),
                         ("attention.output.dense", (D, D)), ("intermediate.dense", (F, D)), ("output.dense", (D, F))):
            shapes |= {f"encoder.layer.{i}.{n}.weight": shape, f"encoder.layer.{i}.{n}.bias": shape[:1]}
    W = {n: (0.3 * torch.randn(s)).double() for n, s in shapes.items()}
    write_bert_gguf(folder + ".gguf", W, D, F, H, L, N, eps)
    run(sinter, "import", folder + ".gguf", "-o", folder)
    run(sinter, "build", f"{HERE}/hub_minilm.sinter", "--config", folder + "/config.json", "--precision", "f32", "-o", exe)
    real = torch.arange(23)[None] < torch.tensor([[23], [9], [16]])
    tokens = torch.randint(0, V, (3, 23), dtype=torch.int32)
    tensors.save(folder + ".in", {"tokens": tokens, "real": real})
    want = models.minilm(W, dict(H=H, L=L, eps=eps), tokens, real)
    error = float((logits(exe, folder, folder + ".in") - want).abs().max() / want.abs().max())
    back = tensors.load(folder + "/model.safetensors")
    good = error <= BOUND and all(torch.equal(back[n], t.float()) for n, t in W.items()) and len(back) == len(W)
    print(f"{'ok  ' if good else 'FAIL'} bert: {len(W)} tensors from GGUF, MiniLM's vectors within {error:.1e}")
    return good


def compare(build, directory, name):
    if name == "bert":
        return compare_bert(build, directory)
    config, dtype, shards = CASES[name]
    torch.manual_seed(7)
    folder, exe, sinter = f"{directory}/{name}", f"{directory}/{name}.exe", build + "/sinter"
    W = write_folder(folder, config, dtype, shards, "transformer." if "prefix" in name else "")
    tokens = torch.randint(0, config["vocab_size"], (3, 23), dtype=torch.int32)
    tensors.save(f"{directory}/{name}.in", {"tokens": tokens})
    family = "gpt2" if config["model_type"] == "gpt2" else "llama"
    run(sinter, "build", f"{HERE}/hub_{family}.sinter", "--config", folder + "/config.json", "--precision", "f32", "-o", exe)
    want = reference(config, W, tokens)
    got = [logits(exe, folder, f"{directory}/{name}.in")]
    exact = there_and_back(sinter, folder, dtype)
    got.append(logits(exe, folder + ".back", f"{directory}/{name}.in"))
    errors = [float((g - want).abs().max() / want.abs().max()) for g in got]
    back = tensors.load(folder + ".back/model.safetensors")
    exact &= all(torch.equal(back[n], t.float()) for n, t in W.items()) and len(back) == len(W)
    good = max(errors) <= BOUND and exact
    print(f"{'ok  ' if good else 'FAIL'} {name}: {len(W)} tensors of {dtype}, logits within {errors[0]:.1e}, through GGUF {errors[1]:.1e}, "
          f"{'the same bytes' if exact else 'OTHER BYTES'}")
    return good


if __name__ == "__main__":
    os.makedirs(sys.argv[2], exist_ok=True)
    results = [compare(sys.argv[1], sys.argv[2], name) for name in sys.argv[3:] or [*CASES, "bert"]]
    print(f"hub: {sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))
