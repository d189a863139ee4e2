"""Fine-tuned BERT, RoBERTa and DistilBERT in the names of their Hugging Face classes (..ForSequenceClassification, ..ForTokenClassification,
..ForQuestionAnswering), of random weights, written here with a config.json and a tokenizer: what `classify`, `regress`, `tag` and `answer` say of ids and
of texts, against the published heads on encoders.py's hidden states.   usage: tasks.py BUILD DIR [CASE ...]"""
import json
import os
import random

import torch

import encoders
import hub
import tensors
from models import linear

BOUND = 5e-6   # f32 against f64: of shares, of scores relative to the greatest
V, D = encoders.V, encoders.D
KINDS = {"bert": encoders.BERT, "roberta": encoders.ROBERTA, "distilbert": encoders.DISTIL}
TASKS = {"classify": "sequence", "regress": "sequence", "tag": "tokens", "answer": "answers"}
# name: kind, entry, labels
CASES = {f"{kind}-{task}-{labels}": (kind, task, labels)
         for kind in KINDS for task, labels in (("classify", 2), ("classify", 3), ("regress", 1), ("tag", 5), ("answer", 2))}
CASES |= {"bert-old-names": ("bert", "classify", 3), "bert-regress-beside-three-labels": ("bert", "regress", 1)}


def head_shapes(kind, task, labels):
    """Linear layers of the class's head, by their names in its files."""
    if task == "answers":
        return {"qa_outputs": (2, D)}
    if task == "tokens":
        return {"classifier": (labels, D)}
    return {"bert": {"bert.pooler.dense": (D, D), "classifier": (labels, D)},
            "roberta": {"classifier.dense": (D, D), "classifier.out_proj": (labels, D)},
            "distilbert": {"pre_classifier": (D, D), "classifier": (labels, D)}}[kind]


def scores(kind, task, W, h):
    """transformers' modeling_bert.py, modeling_roberta.py (RobertaClassificationHead), modeling_distilbert.py, without dropout."""
    if task == "answers":
        return linear(W, "qa_outputs", h)
    if task == "tokens":
        return linear(W, "classifier", h)
    first = h[:, 0]
    if kind == "bert":
        return linear(W, "classifier", linear(W, "bert.pooler.dense", first).tanh())
    if kind == "roberta":
        return linear(W, "classifier.out_proj", linear(W, "classifier.dense", first).tanh())
    return linear(W, "classifier", linear(W, "pre_classifier", first).relu())


def words():
    return [f"w{i}" for i in range(V - 4)]


def special(kind):
    return ("<s>", "<pad>", "</s>", "<unk>") if kind == "roberta" else ("[CLS]", "[PAD]", "[SEP]", "[UNK]")


def write_tokenizer(path, kind):
    """A word a token; [CLS] a [SEP] b [SEP] with segments, or <s> a </s></s> b </s>."""
    begin, pad, end, unknown = special(kind)
    vocab = {w: i for i, w in enumerate([begin, pad, end, unknown, *words()])}
    added = [dict(id=vocab[s], content=s, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for s in special(kind)]
    post = dict(type="RobertaProcessing", sep=[end, 2], cls=[begin, 0], trim_offsets=True, add_prefix_space=False) if kind == "roberta" else \
        dict(type="BertProcessing", sep=[end, 2], cls=[begin, 0])
    with open(path, "w") as f:
        json.dump(dict(version="1.0", truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=dict(type="Whitespace"),
                       post_processor=post, decoder=None, model=dict(type="WordLevel", vocab=vocab, unk_token=unknown)), f)


def write(folder, name):
    """Returns the weights in double precision and the names of the labels."""
    kind, entry, labels = CASES[name]
    os.makedirs(folder)
    names = [f"LABEL {i}" for i in range(labels)]
    c = dict(KINDS[kind], id2label={str(i): n for i, n in enumerate(names)}, label2id={n: i for i, n in enumerate(names)})
    with open(f"{folder}/config.json", "w") as f:
        json.dump(c if entry != "answer" else KINDS[kind], f)
    write_tokenizer(folder + "/tokenizer.json", kind)
    shapes = encoders.shapes_of(c, (), kind + ".")
    for n, shape in head_shapes(kind, TASKS[entry], labels).items():
        shapes |= {n + ".weight": shape, n + ".bias": shape[:1]}
    W = {n: 0.3 * torch.randn(s) + (1 if len(s) == 1 and n.endswith("weight") else 0) for n, s in shapes.items()}
    file = W | encoders.extras(c, (), W, kind + ".")
    hub.save(f"{folder}/model.safetensors", {(encoders.old(n) if "old" in name else n): t for n, t in file.items()}, "F32")
    return {n: t.double() for n, t in W.items()}, names


def examples(kind):
    """Texts and pairs of texts, and the ids and segments of each as the tokenizer is to make them."""
    drawn, rows = random.Random(5), []
    for n in (1, 2, 5, 9, 17, 3, 12):
        a, b = ([drawn.randrange(V - 4) for _ in range(k)] for k in (n, 1 + n // 2))
        first, last = [0] + [4 + i for i in a] + [2], [4 + i for i in b] + [2]
        text, pair = (" ".join(words()[i] for i in ids) for ids in (a, b))
        rows += [(text, None, first, [0] * len(first)),
                 (text, pair, first + [2] * (kind == "roberta") + last, [0] * len(first) + [1] * len(last))]
    return rows


def padded(rows):
    T = max(len(r[2]) for r in rows)
    at = [[ids + [1] * (T - len(ids)), segment + [0] * (T - len(segment)), [1] * len(ids) + [0] * (T - len(ids))] for _, _, ids, segment in rows]
    x = torch.tensor([[r[i][:T] for r in at] for i in range(3)], dtype=torch.int32)
    return {"tokens": x[0], "segment": x[1], "real": x[2].bool()}


def far(got, want):
    return float((got.double() - want).abs().max() / max(1, want.abs().max()))


def by_ids(exe, folder, entry, x, want):
    """Tensors for tensors."""
    tensors.save(folder + ".in", x)
    hub.run(exe, entry, "-m", folder, "--inputs", folder + ".in", "-o", folder + ".out")
    got = tensors.load(folder + ".out")
    if entry == "answer":
        return max(far(got[n][x["real"]], want[..., i][x["real"]]) for i, n in enumerate(("first", "last")))
    if entry == "regress":
        return far(got["score"], want[:, 0])
    return far(got["result"][x["real"]], want[x["real"]]) if entry == "tag" else far(got["result"], want)


def by_text(exe, folder, entry, rows, names, want):
    """What is printed of texts and of pairs: numbers by the labels' names, in the order of the texts."""
    with open(folder + ".jsonl", "w") as f:
        for text, pair, _, _ in rows:
            f.write(json.dumps({"text": text} | ({"pair": pair} if pair else {})) + "\n")
    said = [json.loads(line) for line in hub.output(exe, entry, "-m", folder, "--data", folder + ".jsonl", "-q").splitlines()]
    assert [(s["text"], s.get("pair")) for s in said] == [r[:2] for r in rows]
    if entry == "regress":
        return far(torch.tensor([s["score"] for s in said]), want[:, 0])
    good = all(list(s["scores"]) == names and s["label"] == names[int(w.argmax())] for s, w in zip(said, want))
    return float("inf") if not good else far(torch.tensor([list(s["scores"].values()) for s in said]), want)


def compare(build, directory, name):
    torch.manual_seed(13)
    kind, entry, labels = CASES[name]
    folder, exe = f"{directory}/{name}", f"{directory}/{name}.exe"
    W, names = write(folder, name)
    rows = examples(kind)
    x = padded(rows)
    h = encoders.hidden(KINDS[kind], W, kind + ".", x)
    want = scores(kind, TASKS[entry], W, h)
    if kind != "bert":
        del x["segment"]
    if entry in ("classify", "tag"):
        want = want.softmax(-1)
    hub.run(build + "/sinter", "build", f"{encoders.HERE}/../../models/{kind}.sinter", "--config", folder + "/config.json", "--precision", "f32",
            "--entry", entry, "-o", exe, *(("--set", "C=3") if "beside" in name else ()))
    errors = [by_ids(exe, folder, entry, x, want)]
    if entry in ("classify", "regress"):
        errors.append(by_text(exe, folder, entry, rows, names, want))
    good = max(errors) <= BOUND
    print(f"{'ok  ' if good else 'FAIL'} {name}: ids within {errors[0]:.1e}" + "".join(f", texts and pairs within {e:.1e}" for e in errors[1:]))
    return good


if __name__ == "__main__":
    encoders.main("tasks", compare, CASES)
