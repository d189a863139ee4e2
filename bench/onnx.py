"""BERT's encoder as an ONNX file, written field by field (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): the graph that ONNX Runtime's optimiser makes of
exported ones, with its own fused operators (com.microsoft: EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu), so that nothing
is left to whether its patterns match. Weights come from a checkpoint of ours. A program of its own, MODEL.safetensors MODEL.onnx LAYERS HEADS: who
starts others from a process that holds the weights finds that much in their memory, too."""
import json
import struct
import sys

FLOAT, INT32, INT64 = 1, 6, 7
ATTRIBUTE_FLOAT, ATTRIBUTE_INT = 1, 2


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    body = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(body)) + body


def attribute(name, value):
    is_float = isinstance(value, float)
    return field(1, name) + field(2 if is_float else 3, value) + field(20, ATTRIBUTE_FLOAT if is_float else ATTRIBUTE_INT)


def node(op, inputs, outputs, domain="", **attributes):
    body = b"".join(field(1, x) for x in inputs) + b"".join(field(2, x) for x in outputs) + field(3, outputs[0]) + field(4, op)
    return body + b"".join(field(5, attribute(k, v)) for k, v in attributes.items()) + field(7, domain)


def tensor(name, array):
    return b"".join(field(1, n) for n in array.shape) + field(2, FLOAT) + field(8, name) + field(9, array.astype("<f4").tobytes())


def value(name, kind, shape):
    dims = b"".join(field(1, field(1, n) if isinstance(n, int) else field(2, n)) for n in shape)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, dims)))


def safetensors(path):
    """Name -> array."""
    import numpy
    kinds = {"F32": "<f4", "I32": "<i4", "BOOL": "?"}
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], kinds[t["dtype"]]).reshape(t["shape"]) for name, t in header.items()}


def write_safetensors(path, arrays):
    kinds, at, header = {"f": "F32", "i": "I32", "b": "BOOL"}, 0, {}
    for name, a in arrays.items():
        header[name] = {"dtype": kinds[a.dtype.kind], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header)
    text += " " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text.encode() + b"".join(a.tobytes() for a in arrays.values()))


def layer(W, i, heads, eps):
    """Nodes and weights from h<i> to h<i+1>."""
    import numpy
    ms, at = "com.microsoft", f"bert.encoder.layer.{i}."
    own = [at + f"attention.self.{n}" for n in ("query", "key", "value")]
    w = {
        f"qkv{i}": numpy.concatenate([W[n + ".weight"].T for n in own], 1), f"qkv_b{i}": numpy.concatenate([W[n + ".bias"] for n in own]),
        f"proj{i}": W[at + "attention.output.dense.weight"].T, f"proj_b{i}": W[at + "attention.output.dense.bias"],
        f"up{i}": W[at + "intermediate.dense.weight"].T, f"up_b{i}": W[at + "intermediate.dense.bias"],
        f"down{i}": W[at + "output.dense.weight"].T, f"down_b{i}": W[at + "output.dense.bias"],
    }
    for k, n in ((1, "attention.output"), (2, "output")):
        w[f"g{k}_{i}"], w[f"b{k}_{i}"] = W[at + n + ".LayerNorm.weight"], W[at + n + ".LayerNorm.bias"]
    nodes = [
        node("Attention", [f"h{i}", f"qkv{i}", f"qkv_b{i}", "real"], [f"a{i}"], ms, num_heads=heads),
        node("MatMul", [f"a{i}", f"proj{i}"], [f"p{i}"]),
        node("SkipLayerNormalization", [f"p{i}", f"h{i}", f"g1_{i}", f"b1_{i}", f"proj_b{i}"], [f"n{i}"], ms, epsilon=eps),
        node("MatMul", [f"n{i}", f"up{i}"], [f"u{i}"]),
        node("BiasGelu", [f"u{i}", f"up_b{i}"], [f"v{i}"], ms),
        node("MatMul", [f"v{i}", f"down{i}"], [f"d{i}"]),
        node("SkipLayerNormalization", [f"d{i}", f"n{i}", f"g2_{i}", f"b2_{i}", f"down_b{i}"], [f"h{i + 1}"], ms, epsilon=eps),
    ]
    return nodes, w


def bert(path, W, layers, heads, eps=1e-12):
    embeddings = "bert.embeddings."
    w = {"words": W[embeddings + "word_embeddings.weight"], "places": W[embeddings + "position_embeddings.weight"],
         "kinds": W[embeddings + "token_type_embeddings.weight"], "g": W[embeddings + "LayerNorm.weight"], "b": W[embeddings + "LayerNorm.bias"]}
    nodes = [node("EmbedLayerNormalization", ["tokens", "segment", "words", "places", "kinds", "g", "b"], ["h0", "unused"], "com.microsoft", epsilon=eps)]
    for i in range(layers):
        more, weights = layer(W, i, heads, eps)
        nodes += more
        w.update(weights)
    out, D = f"h{layers}", w["words"].shape[1]
    graph = b"".join(field(1, n) for n in nodes) + field(2, "bert") + b"".join(field(5, tensor(k, a)) for k, a in w.items())
    graph += b"".join(field(11, value(n, INT32, ["B", "T"])) for n in ("tokens", "segment", "real")) + field(12, value(out, FLOAT, ["B", "T", D]))
    sets = field(8, field(1, "") + field(2, 17)) + field(8, field(1, "com.microsoft") + field(2, 1))
    with open(path, "wb") as f:
        f.write(field(1, 8) + sets + field(7, graph))


if __name__ == "__main__":
    bert(sys.argv[2], safetensors(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4]))
