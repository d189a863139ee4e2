"""BERT, RoBERTa and DistilBERT in the names of their Hugging Face classes, of random weights, written here with a config.json: the model files as
they are, built with --config, run with -m, against models.py.   usage: encoders.py BUILD DIR [CASE ...]"""
import json
import os
import sys

import torch
from torch.nn.functional import gelu

import hub
import models
import tensors

BOUND = 1e-4
HERE = os.path.dirname(os.path.abspath(__file__))
V, N, D, F, H, L = 53, 64, 48, 40, 6, 2
BERT = dict(model_type="bert", hidden_act="gelu", vocab_size=V, max_position_embeddings=N, type_vocab_size=2, hidden_size=D, intermediate_size=F,
            num_hidden_layers=L, num_attention_heads=H, layer_norm_eps=1e-12, hidden_dropout_prob=0.1)
ROBERTA = dict(BERT, model_type="roberta", type_vocab_size=1, layer_norm_eps=1e-5)
DISTIL = dict(model_type="distilbert", activation="gelu", vocab_size=V, max_position_embeddings=N, dim=D, hidden_dim=F, n_layers=L, n_heads=H, dropout=0.1)
# name: config, the class's heads, prefix in the file, what is compared
CASES = {
    "bert-pretraining": (BERT, ("mlm", "nsp", "pooler"), "bert.", ("encode", "fill")),
    "bert-old-names": (BERT, ("mlm", "nsp", "pooler"), "bert.", ("encode", "fill")),
    "bert-model": (BERT, ("pooler",), "", ("encode",)),
    "roberta-masked": (ROBERTA, ("mlm",), "roberta.", ("encode", "fill")),
    "roberta-model": (ROBERTA, ("pooler",), "", ("encode",)),
    "distilbert-masked": (DISTIL, ("mlm",), "distilbert.", ("encode", "fill")),
    "distilbert-model": (DISTIL, (), "", ("encode",)),
}


def layer_shapes(c):
    distil = c["model_type"] == "distilbert"
    attention, output = ("q_lin", "k_lin", "v_lin"), "out_lin"
    for i in range(L):
        p = f"transformer.layer.{i}." if distil else f"encoder.layer.{i}."
        inner = [p + "attention." + n for n in (*attention, output)] if distil else \
            [p + "attention." + n for n in ("self.query", "self.key", "self.value", "output.dense")]
        for n in inner:
            yield n, (D, D)
        yield p + ("ffn.lin1" if distil else "intermediate.dense"), (F, D)
        yield p + ("ffn.lin2" if distil else "output.dense"), (D, F)
        for n in ("sa_layer_norm", "output_layer_norm") if distil else ("attention.output.LayerNorm", "output.LayerNorm"):
            yield p + n, (D,)


def shapes_of(c, heads, prefix):
    """Names in the file, with shapes; of what has a bias that of the weight."""
    kind = c["model_type"]
    tables = {"word": V, "position": N} | ({} if kind == "distilbert" else {"token_type": c["type_vocab_size"]})
    shapes = {f"{prefix}embeddings.{n}_embeddings.weight": (rows, D) for n, rows in tables.items()}
    pairs = [(prefix + n, s) for n, s in layer_shapes(c)] + [(prefix + "embeddings.LayerNorm", (D,))]
    if "pooler" in heads:
        pairs.append((prefix + "pooler.dense", (D, D)))
    if "nsp" in heads:
        pairs.append(("cls.seq_relationship", (2, D)))
    if "mlm" in heads:
        dense, norm, bias = {"bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
                             "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
                             "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias")}[kind]
        pairs += [(dense, (D, D)), (norm, (D,))]
        shapes[bias] = (V,)
    for n, s in pairs:
        shapes |= {n + ".weight": s, n + ".bias": s[:1]}
    return shapes


def extras(c, heads, W, prefix):
    """What files have beside: positions, and the output layer that is tied."""
    kind, word = c["model_type"], W[prefix + "embeddings.word_embeddings.weight"]
    more = {} if kind == "distilbert" else {prefix + "embeddings.position_ids": torch.arange(N)[None].float()}
    if "mlm" in heads:
        more |= {"bert": {"cls.predictions.decoder.weight": word, "cls.predictions.decoder.bias": W.get("cls.predictions.bias")},
                 "roberta": {"lm_head.decoder.weight": word, "lm_head.decoder.bias": W.get("lm_head.bias")},
                 "distilbert": {"vocab_projector.weight": word}}[kind]
    return more


def old(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def write(folder, name):
    c, heads, prefix, _ = CASES[name]
    os.makedirs(folder)
    W = {n: 0.3 * torch.randn(s) + (1 if len(s) == 1 and n.endswith("weight") else 0) for n, s in shapes_of(c, heads, prefix).items()}
    with open(f"{folder}/config.json", "w") as f:
        json.dump(c, f)
    file = {(old(n) if "old" in name else n): t for n, t in (W | extras(c, heads, W, prefix)).items()}
    hub.save(f"{folder}/model.safetensors", file, "F32")
    return {n: t.double() for n, t in W.items()}


def as_bert(c, W, prefix):
    """The encoder's weights in BERT's names, without a prefix; segments and positions as that family has them."""
    names = {"transformer.": "encoder.", "attention.q_lin": "attention.self.query", "attention.k_lin": "attention.self.key",
             "attention.v_lin": "attention.self.value", "attention.out_lin": "attention.output.dense", "sa_layer_norm": "attention.output.LayerNorm",
             "ffn.lin1": "intermediate.dense", "ffn.lin2": "output.dense", "output_layer_norm": "output.LayerNorm"}
    B = {}
    for n, t in W.items():
        n = n.removeprefix(prefix)
        for a, b in names.items() if c["model_type"] == "distilbert" else ():
            n = n.replace(a, b)
        B[n] = t
    if c["model_type"] == "roberta":
        B["embeddings.position_embeddings.weight"] = B["embeddings.position_embeddings.weight"][2:]
    B.setdefault("embeddings.token_type_embeddings.weight", torch.zeros(2, D).double())
    return B


def hidden(c, W, prefix, x):
    segment = x["segment"] if c["model_type"] == "bert" else torch.zeros_like(x["tokens"])
    return models.bert_encoder(as_bert(c, W, prefix), dict(H=H, L=L, eps=c.get("layer_norm_eps", 1e-12)), "", x["tokens"], segment, x["real"])


def masked(c, W, prefix, h):
    dense, norm, bias = {"bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"),
                         "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
                         "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias")}[c["model_type"]]
    y = models.layer_norm(W, norm, gelu(models.linear(W, dense, h)), c.get("layer_norm_eps", 1e-12))
    return (y @ W[prefix + "embeddings.word_embeddings.weight"].T + W[bias]).softmax(-1).topk(5)


def compare(build, directory, name):
    c, heads, prefix, wanted = CASES[name]
    torch.manual_seed(11)
    folder, exe, kind = f"{directory}/{name}", f"{directory}/{name}.exe", c["model_type"]
    W = write(folder, name)
    x = {"tokens": torch.randint(0, V, (3, 23), dtype=torch.int32), "real": torch.arange(23)[None] < torch.tensor([[23], [9], [16]])}
    if kind == "bert":
        x["segment"] = (torch.arange(23)[None] >= torch.tensor([[11], [4], [8]])).int()
    tensors.save(folder + ".in", x)
    tensors.save(folder + ".fill", x | {"masks": torch.arange(23, dtype=torch.int32).expand(3, 23)})    # all places, as if each were masked
    hub.run(build + "/sinter", "build", f"{HERE}/../../models/{kind}.sinter", "--config", folder + "/config.json", "--precision", "f32",
            "--entry", ",".join(wanted), "-o", exe)
    h, errors = hidden(c, W, prefix, x), []
    for entry in wanted:
        said = hub.run(exe, entry, "-m", folder, "--inputs", folder + (".fill" if entry == "fill" else ".in"), "-o", folder + ".out")
        assert "tensors matched" in said, said
        got = tensors.load(folder + ".out")
        if entry == "fill":
            shares, ids = masked(c, W, prefix, h)
            assert torch.equal(got["result.0"][x["real"]].long(), ids[x["real"]])
        value, want = (got["result.1"], shares) if entry == "fill" else (got["result"], h)
        errors.append(float((value.double() - want)[x["real"]].abs().max() / want.abs().max()))
    good = max(errors) <= BOUND
    print(f"{'ok  ' if good else 'FAIL'} {name}: {', '.join(f'{e} within {x:.1e}' for e, x in zip(wanted, errors))}")
    return good


def main(what, compare_case, cases):
    os.makedirs(sys.argv[2], exist_ok=True)
    results = [compare_case(sys.argv[1], sys.argv[2], name) for name in sys.argv[3:] or cases]
    print(f"{what}: {sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))


if __name__ == "__main__":
    main("encoders", compare, CASES)
