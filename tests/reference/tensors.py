"""Safetensors files as dictionaries of torch tensors (f32, i32, bool), read and written without further packages."""
import json
import struct

import numpy
import torch

KINDS = {"F32": numpy.float32, "I32": numpy.int32, "I64": numpy.int64, "BOOL": numpy.bool_}
NAMES = {torch.float32: "F32", torch.int32: "I32", torch.int64: "I64", torch.bool: "BOOL"}


def load(path):
    with open(path, "rb") as f:
        text = f.read(struct.unpack("<Q", f.read(8))[0])
        data = f.read()
    out = {}
    for name, t in json.loads(text).items():
        if name == "__metadata__":
            continue
        at, end = t["data_offsets"]
        array = numpy.frombuffer(data[at:end], dtype=KINDS[t["dtype"]]).reshape(t["shape"])
        out[name] = torch.from_numpy(array.copy())
    return out


def save(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        piece = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
