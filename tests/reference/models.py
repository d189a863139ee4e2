"""The models again, from their papers, on PyTorch's own operations and nothing of this project: each function takes the weights by
their names in checkpoints (W), the sizes of the model file (c) and the inputs of the entry. Double precision throughout."""
import math

import torch
import torch.nn.functional as F


def linear(W, name, x):
    return F.linear(x, W[name + ".weight"], W.get(name + ".bias"))


def layer_norm(W, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], W[name + ".weight"], W.get(name + ".bias"), eps)


def rms_norm(W, name, x, eps):
    return x / torch.sqrt((x ** 2).mean(-1, keepdim=True) + eps) * W[name + ".weight"]


def heads(x, n):
    """(B,T,n*K) as (B,n,T,K)"""
    return x.view(*x.shape[:-1], n, -1).transpose(1, 2)


def unheads(x):
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v, allowed=None, scale=None, bias=None):
    """q (B,H,T,K); k, v (B,G,S,K), each for H/G query heads; allowed: bool, broadcast to (B,H,T,S)"""
    k, v = (y.repeat_interleave(q.shape[1] // y.shape[1], 1) for y in (k, v))
    scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -1e30)
    return scores.softmax(-1) @ v


def causal(T):
    return torch.ones(T, T, dtype=torch.bool).tril()


def labelled(logits, labels, smoothing=0.0):
    return F.cross_entropy(logits.flatten(0, -2), labels.long().flatten(), ignore_index=-100, label_smoothing=smoothing)


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def contrastive(scores):
    n = torch.arange(len(scores))
    return (F.cross_entropy(scores, n) + F.cross_entropy(scores.T, n)) / 2


# GPT-2: Conv1D weights are stored [in, out]

def conv1d_linear(W, name, x):
    return x @ W[name + ".weight"] + W[name + ".bias"]


def gpt2(W, c, tokens):
    x = W["wte.weight"][tokens.long()] + W["wpe.weight"][: tokens.shape[1]]
    for i in range(c["L"]):
        h = f"h.{i}."
        q, k, v = conv1d_linear(W, h + "attn.c_attn", layer_norm(W, h + "ln_1", x)).chunk(3, -1)
        a = attend(heads(q, c["H"]), heads(k, c["H"]), heads(v, c["H"]), causal(x.shape[1]))
        x = x + conv1d_linear(W, h + "attn.c_proj", unheads(a))
        x = x + conv1d_linear(W, h + "mlp.c_proj", gelu_tanh(conv1d_linear(W, h + "mlp.c_fc", layer_norm(W, h + "ln_2", x))))
    return layer_norm(W, "ln_f", x) @ W["wte.weight"].T


# LLaMA: rotary positions in halves (as the Hub's checkpoints have them), scaled as Llama 3.1 scales

def frequencies(c, K):
    f = 1 / c["theta"] ** (torch.arange(0, K, 2, dtype=torch.float64) / K)
    s = c.get("scale")
    if not s:
        return f
    wavelength = 2 * math.pi / f
    smooth = (s["original"] / wavelength - s["low"]) / (s["high"] - s["low"])
    between = (1 - smooth) * f / s["factor"] + smooth * f
    f = torch.where(wavelength > s["original"] / s["low"], f / s["factor"], torch.where(
        wavelength < s["original"] / s["high"], f, between))
    return f


def rotate(c, x):
    """x (B,H,T,K)"""
    angle = torch.outer(torch.arange(x.shape[2], dtype=torch.float64), frequencies(c, x.shape[3]))
    cos, sin = torch.cat([angle, angle], -1).cos(), torch.cat([angle, angle], -1).sin()
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def llama_attention(W, p, c, x):
    q, k, v = (heads(linear(W, p + n + "_proj", x), n_heads) for n, n_heads in (("q", c["H"]), ("k", c["G"]), ("v", c["G"])))
    return linear(W, p + "o_proj", unheads(attend(rotate(c, q), rotate(c, k), v, causal(x.shape[1]))))


def swiglu(W, x, gate, up, down):
    return linear(W, down, F.silu(linear(W, gate, x)) * linear(W, up, x))


def llama_like(W, c, tokens, feed):
    x = W["model.embed_tokens.weight"][tokens.long()]
    for i in range(c["L"]):
        p = f"model.layers.{i}."
        x = x + llama_attention(W, p + "self_attn.", c, rms_norm(W, p + "input_layernorm", x, c["eps"]))
        x = x + feed(W, p, c, rms_norm(W, p + "post_attention_layernorm", x, c["eps"]))
    return linear(W, "lm_head", rms_norm(W, "model.norm", x, c["eps"]))


def llama(W, c, tokens):
    def feed(W, p, c, x):
        return swiglu(W, x, p + "mlp.gate_proj", p + "mlp.up_proj", p + "mlp.down_proj")
    return llama_like(W, c, tokens, feed)


def mixtral(W, c, tokens):
    def feed(W, p, c, x):
        p += "block_sparse_moe."
        rows = x.flatten(0, 1)
        chosen, which = linear(W, p + "gate", rows).topk(c["top"], -1)
        share = chosen.softmax(-1)
        out = torch.zeros_like(rows)
        for e in range(c["E"]):
            q = f"{p}experts.{e}."
            for k in range(c["top"]):
                mine = which[:, k] == e
                y = swiglu(W, rows[mine], q + "w1", q + "w3", q + "w2")
                out = out.index_add(0, mine.nonzero()[:, 0], share[mine, k, None] * y)
        return out.view_as(x)
    return llama_like(W, c, tokens, feed)


# BERT and what is built on it

def bert_encoder(W, c, p, tokens, segment, real):
    e = p + "embeddings."
    x = W[e + "word_embeddings.weight"][tokens.long()] + W[e + "position_embeddings.weight"][: tokens.shape[1]]
    x = layer_norm(W, e + "LayerNorm", x + W[e + "token_type_embeddings.weight"][segment.long()], c["eps"])
    for i in range(c["L"]):
        l = f"{p}encoder.layer.{i}."
        q, k, v = (heads(linear(W, l + "attention.self." + n, x), c["H"]) for n in ("query", "key", "value"))
        a = unheads(attend(q, k, v, real[:, None, None]))
        x = layer_norm(W, l + "attention.output.LayerNorm", x + linear(W, l + "attention.output.dense", a), c["eps"])
        f = linear(W, l + "output.dense", F.gelu(linear(W, l + "intermediate.dense", x)))
        x = layer_norm(W, l + "output.LayerNorm", x + f, c["eps"])
    return x


def bert(W, c, tokens, segment, real):
    h = bert_encoder(W, c, "bert.", tokens, segment, real)
    p = "cls.predictions."
    t = layer_norm(W, p + "transform.LayerNorm", F.gelu(linear(W, p + "transform.dense", h)), c["eps"])
    mlm = t @ W["bert.embeddings.word_embeddings.weight"].T + W[p + "bias"]
    return mlm, linear(W, "cls.seq_relationship", torch.tanh(linear(W, "bert.pooler.dense", h[:, 0])))


def minilm(W, c, tokens, real):
    h = bert_encoder(W, c, "", tokens, torch.zeros_like(tokens), real)
    m = real[..., None].to(h.dtype)
    return F.normalize((h * m).sum(1) / m.sum(1), dim=-1)


# Vision

def vit(W, c, pixels):
    p = "vit.embeddings."
    x = F.conv2d(pixels, W[p + "patch_embeddings.projection.weight"], W[p + "patch_embeddings.projection.bias"], stride=c["P"])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([W[p + "cls_token"].expand(len(x), -1, -1), x], 1) + W[p + "position_embeddings"]
    for i in range(c["L"]):
        l = f"vit.encoder.layer.{i}."
        y = layer_norm(W, l + "layernorm_before", x, c["eps"])
        q, k, v = (heads(linear(W, l + "attention.attention." + n, y), c["H"]) for n in ("query", "key", "value"))
        x = x + linear(W, l + "attention.output.dense", unheads(attend(q, k, v)))
        y = layer_norm(W, l + "layernorm_after", x, c["eps"])
        x = x + linear(W, l + "output.dense", F.gelu(linear(W, l + "intermediate.dense", y)))
    return linear(W, "classifier", layer_norm(W, "vit.layernorm", x, c["eps"])[:, 0])


def clip_layers(W, p, n_layers, n_heads, x, allowed):
    for i in range(n_layers):
        l = f"{p}encoder.layers.{i}."
        y = layer_norm(W, l + "layer_norm1", x)
        q, k, v = (heads(linear(W, l + f"self_attn.{n}_proj", y), n_heads) for n in "qkv")
        x = x + linear(W, l + "self_attn.out_proj", unheads(attend(q, k, v, allowed)))
        y = linear(W, l + "mlp.fc1", layer_norm(W, l + "layer_norm2", x))
        x = x + linear(W, l + "mlp.fc2", y * torch.sigmoid(1.702 * y))
    return x


def clip(W, c, pixels, tokens):
    p = "vision_model."
    x = F.conv2d(pixels, W[p + "embeddings.patch_embedding.weight"], stride=c["P"]).flatten(2).transpose(1, 2)
    x = torch.cat([W[p + "embeddings.class_embedding"].expand(len(x), 1, -1), x], 1)
    x = layer_norm(W, p + "pre_layernorm", x + W[p + "embeddings.position_embedding.weight"])
    u = linear(W, "visual_projection", layer_norm(W, p + "post_layernorm", clip_layers(W, p, c["YL"], c["YH"], x, None)[:, 0]))
    p = "text_model."
    T = tokens.shape[1]
    x = W[p + "embeddings.token_embedding.weight"][tokens.long()] + W[p + "embeddings.position_embedding.weight"][:T]
    x = layer_norm(W, p + "final_layer_norm", clip_layers(W, p, c["XL"], c["XH"], x, causal(T)))
    v = linear(W, "text_projection", x[torch.arange(len(x)), tokens.long().argmax(-1)])
    return W["logit_scale"].exp() * F.normalize(u, dim=-1) @ F.normalize(v, dim=-1).T


# Whisper

def whisper_attention(W, p, c, x, memory, allowed=None):
    q, k, v = (heads(linear(W, p + n, y), c["H"]) for n, y in (("q_proj", x), ("k_proj", memory), ("v_proj", memory)))
    return linear(W, p + "out_proj", unheads(attend(q, k, v, allowed)))


def feed_forward(W, p, x):
    return linear(W, p + "fc2", F.gelu(linear(W, p + "fc1", layer_norm(W, p + "final_layer_norm", x))))


def whisper(W, c, mel, tokens):
    p = "model.encoder."
    x = F.gelu(F.conv1d(mel, W[p + "conv1.weight"], W[p + "conv1.bias"], padding=1))
    x = F.gelu(F.conv1d(x, W[p + "conv2.weight"], W[p + "conv2.bias"], stride=2, padding=1)).transpose(1, 2)
    x = x + W[p + "embed_positions.weight"]
    for i in range(c["E"]):
        l = f"{p}layers.{i}."
        y = layer_norm(W, l + "self_attn_layer_norm", x)
        x = x + whisper_attention(W, l + "self_attn.", c, y, y)
        x = x + feed_forward(W, l, x)
    memory = layer_norm(W, p + "layer_norm", x)
    p = "model.decoder."
    T = tokens.shape[1]
    x = W[p + "embed_tokens.weight"][tokens.long()] + W[p + "embed_positions.weight"][:T]
    for i in range(c["L"]):
        l = f"{p}layers.{i}."
        y = layer_norm(W, l + "self_attn_layer_norm", x)
        x = x + whisper_attention(W, l + "self_attn.", c, y, y, causal(T))
        x = x + whisper_attention(W, l + "encoder_attn.", c, layer_norm(W, l + "encoder_attn_layer_norm", x), memory)
        x = x + feed_forward(W, l, x)
    return layer_norm(W, p + "layer_norm", x) @ W[p + "embed_tokens.weight"].T


# SASRec: torch.nn.MultiheadAttention packs q, k, v; kernel-1 convolutions are matrices

def sasrec(W, c, items):
    real, T = items != 0, items.shape[1]
    places = torch.where(real, torch.arange(1, T + 1), torch.zeros(1, dtype=torch.long))
    x = W["item_emb.weight"][items.long()] * math.sqrt(c["D"]) + W["pos_emb.weight"][places]
    allowed = causal(T) & real[:, None, None]
    for i in range(c["L"]):
        p = f"attention_layers.{i}."
        y = layer_norm(W, f"attention_layernorms.{i}", x, 1e-8)
        q, k, v = F.linear(y, W[p + "in_proj_weight"], W[p + "in_proj_bias"]).chunk(3, -1)
        a = attend(heads(q, c["H"]), heads(k, c["H"]), heads(v, c["H"]), allowed)
        x = x + linear(W, p + "out_proj", unheads(a))
        p = f"forward_layers.{i}."
        y = layer_norm(W, f"forward_layernorms.{i}", x, 1e-8)
        y = F.relu(F.linear(y, W[p + "conv1.weight"][..., 0], W[p + "conv1.bias"]))
        x = x + F.linear(y, W[p + "conv2.weight"][..., 0], W[p + "conv2.bias"])
    return layer_norm(W, "last_layernorm", x, 1e-8)


# T5

def t5_bucket(distance, buckets, far, both):
    """distance: key position - query position"""
    out = torch.zeros_like(distance)
    if both:
        buckets //= 2
        out = out + (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = (-distance).clamp(min=0)
    exact = buckets // 2
    log = exact + (torch.log(distance.clamp(min=1).float() / exact) / math.log(far / exact) * (buckets - exact)).long()
    return out + torch.where(distance < exact, distance, log.clamp(max=buckets - 1))


def t5_bias(W, name, c, T, both):
    at = torch.arange(T)
    return W[name + ".weight"][t5_bucket(at[None] - at[:, None], c["R"], c["far"], both)].permute(2, 0, 1)


def t5_attention(W, p, c, x, memory, allowed, bias=None):
    q, k, v = (heads(linear(W, p + n, y), c["H"]) for n, y in (("q", x), ("k", memory), ("v", memory)))
    return linear(W, p + "o", unheads(attend(q, k, v, allowed, 1.0, bias)))


def t5_feed(W, p, c, x):
    y = rms_norm(W, p + ".layer_norm", x, c["eps"])
    return linear(W, p + ".DenseReluDense.wo", F.relu(linear(W, p + ".DenseReluDense.wi", y)))


def t5(W, c, source, real, target):
    keep = real[:, None, None]
    bias = t5_bias(W, "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", c, source.shape[1], True)
    x = W["shared.weight"][source.long()]
    for i in range(c["L"]):
        p = f"encoder.block.{i}.layer."
        y = rms_norm(W, p + "0.layer_norm", x, c["eps"])
        x = x + t5_attention(W, p + "0.SelfAttention.", c, y, y, keep, bias)
        x = x + t5_feed(W, p + "1", c, x)
    memory = rms_norm(W, "encoder.final_layer_norm", x, c["eps"])
    T = target.shape[1]
    bias = t5_bias(W, "decoder.block.0.layer.0.SelfAttention.relative_attention_bias", c, T, False)
    x = W["shared.weight"][target.long()]
    for i in range(c["L"]):
        p = f"decoder.block.{i}.layer."
        y = rms_norm(W, p + "0.layer_norm", x, c["eps"])
        x = x + t5_attention(W, p + "0.SelfAttention.", c, y, y, causal(T), bias)
        x = x + t5_attention(W, p + "1.EncDecAttention.", c, rms_norm(W, p + "1.layer_norm", x, c["eps"]), memory, keep)
        x = x + t5_feed(W, p + "2", c, x)
    return rms_norm(W, "decoder.final_layer_norm", x, c["eps"]) * c["D"] ** -0.5 @ W["shared.weight"].T
