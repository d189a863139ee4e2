"""Texts of many lengths in one file against the same texts in a file for each length: batches are put by length, so that both should take the same time.
A BERT of four base layers with random weights; words are one token each of a vocabulary made here."""
import os
import random
import re

import measure

LENGTHS = range(10, 129, 6)
TEXTS = 24              # of each length
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write(b, name, texts):
    path = os.path.join(b.tmp, name + ".txt")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(t + "\n" for t in texts)
    return path


class Encoder:
    def __init__(self, b):
        self.b, self.program, self.tokens = b, b.program("bert", "--precision", "f32", "--entry", "encode", L=4), os.path.join(b.tmp, "tokenizer.json")
        words = write(b, "words", ["the"] * 50)
        measure.run([b.sinter, "tokenizer", "train", words, "-o", self.tokens, "--kind", "wordpiece", "--vocab", "12"])

    def seconds(self, path):
        out = self.b.timed([self.program, "encode", "--random", "--tokenizer", self.tokens, "--data", path, "--format", "txt", "-t", str(self.b.threads),
                            "-o", os.path.join(self.b.tmp, "encoded.safetensors")]).out
        return float(re.search(r"texts, ([\d.]+) s", out)[1])


def records(b):
    e, files, every = Encoder(b), [], []
    for n in LENGTHS:
        texts = ["the " * (n - 2)] * TEXTS        # and what begins and ends a text
        files.append(write(b, str(n), texts))
        every += texts
    random.Random(1).shuffle(every)
    mixed = write(b, "mixed", every)
    yield b.compare("lengths", f"{len(every)} texts of {LENGTHS[0]} to {LENGTHS[-1]} tokens", "s",
                    [measure.Side("sinter", lambda: [e.seconds(mixed)]), measure.Side("each length by itself", lambda: [sum(map(e.seconds, files))])], b.rounds(5, 2))
