"""Holds compiled models against models.py: outputs of `infer`, the loss and every gradient of `train`, at random weights and inputs.
usage: compare.py DIR NAME ...     DIR/NAME is the executable built from NAME.sinter"""
import os
import subprocess
import sys

import torch

import models
import tensors

BOUND = 5e-6  # greatest difference over greatest magnitude, tensor by tensor: single against double precision
C = {
    "gpt2": dict(H=3, L=2),
    "llama": dict(H=6, G=2, L=2, eps=1e-5, theta=1e4, scale=dict(factor=8, low=1, high=4, original=16)),
    "bert": dict(H=3, L=2, eps=1e-12),
    "minilm": dict(H=3, L=2, eps=1e-12),
    "vit": dict(P=4, H=3, L=2, eps=1e-12),
    "whisper": dict(H=3, E=2, L=2),
    "sasrec": dict(D=24, H=3, L=2),
    "clip": dict(P=4, XH=3, XL=2, YH=4, YL=2),
    "t5": dict(D=24, H=3, L=2, R=8, far=12, eps=1e-6),
    "mixtral": dict(H=6, G=2, L=2, E=5, top=2, eps=1e-5, theta=1e4),
}
V = 53


def ids(*shape, below=V, least=0):
    return torch.randint(least, below, shape, dtype=torch.int32)


def labels(*shape):
    return torch.where(torch.rand(shape) < 0.3, torch.tensor(-100, dtype=torch.int32), ids(*shape))


def lengths(rows, T):
    """True for a row's first tokens; the first row is full"""
    n = torch.randint(1, T + 1, (rows, 1))
    n[0] = T
    return torch.arange(T)[None] < n


def left_padded(rows, T):
    return torch.where(lengths(rows, T).flip(1), ids(rows, T, least=1), torch.tensor(0, dtype=torch.int32))


# For each model: the infer entry, its inputs, what the train entry has beside them (or instead), and the loss.
def text(B, T):
    return {"tokens": ids(B, T)}


def case_gpt2():
    x = text(3, 11)
    return "logits", x, {**x, "labels": labels(3, 11)}, lambda W, c, i: models.labelled(models.gpt2(W, c, i["tokens"]), i["labels"])


def case_llama():
    x = text(3, 23)
    return "logits", x, {**x, "labels": labels(3, 23)}, lambda W, c, i: models.labelled(models.llama(W, c, i["tokens"]), i["labels"])


def case_mixtral():
    x = text(3, 11)
    return "logits", x, {**x, "labels": labels(3, 11)}, lambda W, c, i: models.labelled(models.mixtral(W, c, i["tokens"]), i["labels"])


def case_bert():
    x = {"tokens": ids(4, 11), "segment": ids(4, 11, below=2), "real": lengths(4, 11)}

    def loss(W, c, i):
        mlm, nsp = models.bert(W, c, i["tokens"], i["segment"], i["real"])
        return models.labelled(mlm, i["masked"]) + models.labelled(nsp, i["follows"])
    return "logits", x, {**x, "masked": labels(4, 11), "follows": ids(4, below=2)}, loss


def case_minilm():
    def loss(W, c, i):
        return models.contrastive(20 * models.minilm(W, c, i["a"], i["a_real"]) @ models.minilm(W, c, i["b"], i["b_real"]).T)
    pairs = {"a": ids(5, 11), "a_real": lengths(5, 11), "b": ids(5, 11), "b_real": lengths(5, 11)}
    return "encode", {"tokens": ids(5, 11), "real": lengths(5, 11)}, pairs, loss


def case_vit():
    x = {"pixels": torch.randn(3, 3, 12, 12)}
    return "logits", x, {**x, "label": ids(3, below=10)}, lambda W, c, i: models.labelled(
        models.vit(W, c, i["pixels"].double()), i["label"], 0.1)


def case_whisper():
    x = {"mel": torch.randn(3, 7, 14), "tokens": ids(3, 11)}
    return "logits", x, {**x, "labels": labels(3, 11)}, lambda W, c, i: models.labelled(
        models.whisper(W, c, i["mel"].double(), i["tokens"]), i["labels"])


def case_sasrec():
    """Padding has nothing that it may attend to, and nobody attends to it: its own values are nobody's business."""
    x = {"items": left_padded(3, 11)}
    following = torch.where(x["items"] == 0, torch.tensor(-100, dtype=torch.int32), labels(3, 11))
    return "hidden", x, {**x, "next": following}, lambda W, c, i: models.labelled(
        models.sasrec(W, c, i["items"]) @ W["item_emb.weight"].T, i["next"])


def case_clip():
    x = {"pixels": torch.randn(5, 3, 12, 12), "tokens": ids(5, 11)}
    return "scores", x, x, lambda W, c, i: models.contrastive(models.clip(W, c, i["pixels"].double(), i["tokens"]))


def case_t5():
    x = {"source": ids(3, 23), "real": lengths(3, 23), "target": ids(3, 19)}
    return "logits", x, {**x, "labels": labels(3, 19)}, lambda W, c, i: models.labelled(
        models.t5(W, c, i["source"], i["real"], i["target"]), i["labels"])


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def weights(path):
    """Away from the initial values, where biases are 0 and norms 1, so that every tensor matters."""
    W = tensors.load(path)
    for name, t in W.items():
        W[name] = t + 0.05 * torch.randn(t.shape)
    tensors.save(path, W)
    return {name: t.double().requires_grad_() for name, t in W.items()}


def worst(got, want, least=1e-8):
    return float((got.double() - want).abs().max() / want.abs().max().clamp(min=least))


def compare(directory, name):
    torch.manual_seed(7)
    exe, here = f"{directory}/{name}", f"{directory}/{name}.files"
    os.makedirs(here, exist_ok=True)
    entry, shown, trained, loss_of = globals()["case_" + name]()
    run(exe, "init", "--out", f"{here}/run", "--seed", "3")
    W = weights(f"{here}/run/model.safetensors")
    tensors.save(f"{here}/in.safetensors", shown)
    run(exe, entry, "-m", f"{here}/run", "--inputs", f"{here}/in.safetensors", "-o", f"{here}/out.safetensors")
    of_model = getattr(models, name)
    given = [t.double() if t.dtype == torch.float32 else t for t in shown.values()]
    want = of_model(W, C[name], *given)
    want = list(want) if isinstance(want, tuple) else [want]
    got = list(tensors.load(f"{here}/out.safetensors").values())
    if name == "sasrec":
        got, want = ([y[shown["items"] != 0] for y in ys] for ys in (got, want))
    errors = {f"output {i}": worst(g, w.detach()) for i, (g, w) in enumerate(zip(got, want, strict=True))}
    tensors.save(f"{here}/train.safetensors", trained)
    run(exe, "train", "-m", f"{here}/run", "--inputs", f"{here}/train.safetensors", "--grads-out", f"{here}/grads.safetensors")
    G = {key.removeprefix("grad."): t for key, t in tensors.load(f"{here}/grads.safetensors").items()}
    loss = loss_of(W, C[name], trained)
    loss.backward()
    errors["loss"] = worst(G.pop("loss"), loss.detach())
    # Some gradients are zero but for rounding (a key's bias moves all scores of a query alike): what cancels sets their scale.
    least = 1e-3 * max(float(w.grad.abs().max()) for w in W.values() if w.grad is not None)
    for key, w in W.items():
        if key in G:
            errors[key] = worst(G[key], w.grad, least)
    missing = [key for key, w in W.items() if key not in G and w.grad is not None]
    key = max(errors, key=errors.get)
    good = errors[key] <= BOUND and not missing
    print(f"{'ok  ' if good else 'FAIL'} {name}: {len(G)} gradients, loss {float(loss):.6f}, worst {errors[key]:.1e} ({key})"
          + (f", no gradient of {missing}" if missing else ""))
    return good


if __name__ == "__main__":
    results = [compare(sys.argv[1], name) for name in sys.argv[2:] or C]
    print(f"reference: {sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(not all(results))
