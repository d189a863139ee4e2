"""A llama2.c model (version 0) as safetensors with LlamaForCausalLM's names, and a text as a file of inputs (tokens, labels) in its vocabulary.
usage: stories.py MODEL.bin TOKENIZER.bin TEXT CHARACTERS OUT-DIR"""
import json, os, struct, sys


def write(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def model(path):
    b = open(path, "rb").read()
    D, F, L, H, G, V, N = struct.unpack("<7i", b[:28])
    at, K, out = 28, D // H, {}

    def take(*shape):
        nonlocal at
        n = 4
        for x in shape:
            n *= x
        at += n
        return b[at - n:at]

    def halves(raw, heads):  # rope turns neighbours there, halves here
        rows = [raw[i * 4 * D:(i + 1) * 4 * D] for i in range(heads * K)]
        return b"".join(rows[h * K + 2 * i + p] for h in range(heads) for p in range(2) for i in range(K // 2))

    def layers(name, *shape, change=None):
        for i in range(L):
            raw = take(*shape)
            out[f"model.layers.{i}.{name}.weight"] = "F32", list(shape), change(raw) if change else raw

    out["model.embed_tokens.weight"] = "F32", [V, D], take(V, D)
    layers("input_layernorm", D)
    layers("self_attn.q_proj", D, D, change=lambda raw: halves(raw, H))
    layers("self_attn.k_proj", G * K, D, change=lambda raw: halves(raw, G))
    layers("self_attn.v_proj", G * K, D)
    layers("self_attn.o_proj", D, D)
    layers("post_attention_layernorm", D)
    layers("mlp.gate_proj", F, D)
    layers("mlp.down_proj", D, F)
    layers("mlp.up_proj", F, D)
    out["model.norm.weight"] = "F32", [D], take(D)
    return out


def encode(path, text, V):
    """Sentencepiece's BPE: the pair of the best score is joined, as long as there is one."""
    b, at, score, pieces = open(path, "rb").read(), 4, {}, []
    for i in range(V):
        s, n = struct.unpack("<fi", b[at:at + 8])
        pieces.append(b[at + 8:at + 8 + n].decode("utf-8", "replace"))
        score.setdefault(pieces[-1], (s, i))
        at += 8 + n
    ids = []
    for word in text.replace(" ", "\0 ").split("\0"):
        w = [c for c in word if c in score]
        while True:
            best = max(((score[a + c][0], -k) for k, (a, c) in enumerate(zip(w, w[1:])) if a + c in score), default=None)
            if not best:
                break
            k = -best[1]
            w[k:k + 2] = [w[k] + w[k + 1]]
        ids += [score[p][1] for p in w]
    return ids


weights, vocabulary, text, characters, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
tensors = model(weights)
write(out + "/model.safetensors", tensors)
T = 64
ids = encode(vocabulary, open(text).read()[:int(characters)], tensors["model.embed_tokens.weight"][1][0])
rows = (len(ids) - 1) // T
pack = lambda first: struct.pack(f"<{rows * T}i", *ids[first:first + rows * T])
write(out + "/text.st", {"tokens": ("I32", [rows, T], pack(0)), "labels": ("I32", [rows, T], pack(1))})
print(rows)
