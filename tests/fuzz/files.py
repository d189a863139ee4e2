"""Small true files for the fuzzers of formats.   usage: files.py TARGET DIR"""
import json
import struct
import sys


def safetensors(names):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for i, (dtype, size) in enumerate(names):
        header[f"t.{i}"] = {"dtype": dtype, "shape": [2, 3], "data_offsets": [len(data), len(data) + 6 * size]}
        data += bytes(range(6 * size))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def gguf(kind, block, size, arch="llama"):
    width = max(block, 4)
    sizes = dict(context_length=8, embedding_length=width, block_count=1, feed_forward_length=width)
    sizes.update({"attention.head_count": 2, "attention.head_count_kv": 1})
    tokens = ["<unk>", "<s>", "</s>", "a", "b", "ab"]
    keys = [text("general.architecture") + struct.pack("<I", 8) + text(arch)]
    keys += [text(f"{arch}.{k}") + struct.pack("<II", 4, v) for k, v in sizes.items()]
    keys += [text("tokenizer.ggml.model") + struct.pack("<I", 8) + text("llama" if arch == "llama" else "gpt2"),
             text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(map(text, tokens)),
             text("tokenizer.ggml.scores") + struct.pack("<IIQ6f", 9, 6, len(tokens), *range(6)),
             text("tokenizer.ggml.token_type") + struct.pack("<IIQ6i", 9, 5, len(tokens), 2, 3, 3, 1, 1, 1)]
    w, p = width, "blk.0."
    if arch == "llama":
        shapes = {"token_embd.weight": (w, 6), "output_norm.weight": (w,)}
        shapes |= {f"{p}{n}.weight": (w,) for n in ("attn_norm", "ffn_norm")}
        shapes |= {f"{p}{n}.weight": (w, w) for n in ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
        shapes |= {f"{p}{n}.weight": (w, w // 2) for n in ("attn_k", "attn_v")}
    else:
        shapes = {"token_embd.weight": (w, 6), "position_embd.weight": (w, 8), "output_norm.weight": (w,), "output_norm.bias": (w,)}
        for n, rows in (("attn_norm", 0), ("ffn_norm", 0), ("attn_qkv", 3 * w), ("attn_output", w), ("ffn_up", w), ("ffn_down", w)):
            shapes[f"{p}{n}.weight"] = (w, rows) if rows else (w,)
            shapes[f"{p}{n}.bias"] = (rows or w,)
    infos, data = b"", b""
    for name, shape in shapes.items():
        n, many = 1, len(shape) > 1
        for extent in shape:
            n *= extent
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind if many else 0, len(data))
        data += bytes(n // block * size if many else 4 * n)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(keys)) + b"".join(keys) + infos
    return head + bytes(-len(head) % 32) + data


def llama2c(vocabulary):
    D, F, L, H, G, V, N = 4, 6, 1, 2, 1, 5, 3
    n = V * D + L * (D + D * D + 2 * D * D // 2 + D * D + D + 3 * D * F) + D + N * D // H + (V * D if vocabulary < 0 else 0)
    return struct.pack("<7i", D, F, L, H, G, vocabulary, N) + bytes(4 * n)


FILES = {
    "safetensors": [safetensors([("F32", 4)]), safetensors([("BF16", 2), ("I64", 8), ("BOOL", 1), ("F8_E4M3", 1), ("F64", 8), ("F16", 2)])],
    "gguf": [gguf(0, 1, 4), gguf(1, 1, 2), gguf(2, 32, 18), gguf(8, 32, 34), gguf(0, 1, 4, "gpt2"), llama2c(5), llama2c(-5)],
    "config": [json.dumps(c).encode() for c in (
        {"vocab_size": 7, "hidden_size": 8, "head_dim": 2, "num_hidden_layers": 2, "rms_norm_eps": 1e-6, "rope_theta": 1e4, "tie_word_embeddings": True},
        {"hidden_act": "relu", "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1, "high_freq_factor": 4,
                                                "original_max_position_embeddings": 8192}},
        {"rope_scaling": None, "a": {"b": {"c": 3}}}, {"rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 5.0}},
        {"rope_scaling": {"type": "yarn", "factor": 2, "original_max_position_embeddings": 4}}, [])],
}
for i, data in enumerate(FILES[sys.argv[1]]):
    with open(f"{sys.argv[2]}/{i}", "wb") as f:
        f.write(data)
