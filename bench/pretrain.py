"""Pre-training of a small BERT, from raw text, in minutes: both tasks of models/bert.sinter on the manuals of Perl and of the libraries named below
(Debian's packages, unpacked beside the build, not installed). A section of a manual page is a document; paragraphs of prose alone are taken,
each once. Every tenth page is held out whole, so what is judged is of pages never seen. The number of steps is what the time given allows, measured by a
short run. Beside it, from the same text: the most frequent token of what is trained on, its unigram distribution, and for each token the one
that most often follows; for next sentences, a coin. The curve goes to BUILD/bench/pretrain/curve.svg."""
import collections
import glob
import json
import math
import os
import re
import statistics

import measure

PACKAGES = """perl-doc perl-modules-5.36 libmojolicious-perl libmoose-perl libdbix-class-perl libcatalyst-manual-perl libdbi-perl libdatetime-perl
    libpoe-perl libtemplate-perl libwww-perl libdancer2-perl libppi-perl libperl-critic-perl libcatalyst-perl libanyevent-perl libxml-libxml-perl
    libimage-exiftool-perl libpdf-api2-perl libsql-translator-perl liblog-log4perl-perl libio-async-perl libtype-tiny-perl libspreadsheet-writeexcel-perl
    libexcel-writer-xlsx-perl libmarpa-r2-perl libhtml-mason-perl librose-db-object-perl""".split()
LEFT_OUT = re.compile(r"perl(cn|jp|ko|tw|toc|\d*delta)\.pod$|unicore|perluniprops")    # other languages, lists, what changed in each version
V, T, D, L, H, B = 4000, 64, 128, 2, 4, 32
SETTINGS = {"V": V, "N": T, "D": D, "F": 4 * D, "H": H, "L": L, "p": 0, "std": 0.08, "train__T": T, "train__batch": B, "train__micro": B}
FLAGS = ["--lr", "2e-3", "--warmup", "300"]
POINTS = 24             # validations of a run
CODE = re.compile(r"([A-Z])<(?:<+\s+(.*?)\s+>+|([^<>]*))>", re.S)
ESCAPES = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}


# The text

def meant(m):
    """What a formatting code of POD shows."""
    body = m[2] or m[3] or ""
    if m[1] == "E":
        return ESCAPES.get(body, "")
    return "" if m[1] in "XZ" else body.split("|")[0] if m[1] == "L" else body


def prose(paragraph):
    n = 1
    while n:
        paragraph, n = CODE.subn(meant, paragraph)
    return " ".join(paragraph.split())


def sections(path, seen):
    """The sections of a page, each a list of paragraphs not seen before."""
    found, pod, skipped = [[]], path.endswith(".pod"), False
    for p in re.split(r"\n[ \t]*\n", open(path, encoding="latin-1").read()):
        p = p.lstrip("\n")
        if p.startswith("="):
            pod, skipped = not p.startswith("=cut"), p.startswith("=begin") or (skipped and not p.startswith("=end"))
            if p.startswith(("=head1", "=head2")):
                found.append([])
        elif pod and not skipped and p[:1] not in (" ", "\t", ""):
            text = prose(p)
            if len(text) > 40 and text not in seen:
                seen.add(text)
                found[-1].append(text)
    return [s for s in found if sum(map(len, s)) >= 400]


def fetch(where):
    os.makedirs(where, exist_ok=True)
    if not glob.glob(where + "/*.deb"):
        measure.run(["apt-get", "download", "-q", *PACKAGES], cwd=where)
    for deb in sorted(glob.glob(where + "/*.deb")):
        measure.run(["dpkg-deb", "-x", deb, where + "/unpacked"])
    names = [n for kind in ("pod", "pm") for n in sorted(glob.glob(f"{where}/unpacked/usr/**/*.{kind}", recursive=True))]
    return [n for n in names if not LEFT_OUT.search(n)]


def texts(where):
    """Writes train.txt and valid.txt, documents between blank lines; their paths."""
    seen, parts, pages = set(), ([], []), 0
    for path in fetch(where + "/packages"):
        found = sections(path, seen)
        if found:
            parts[pages % 10 == 9].extend(found)
            pages += 1
    paths = [f"{where}/{name}.txt" for name in ("train", "valid")]
    for path, documents in zip(paths, parts):
        with open(path, "w") as f:
            f.write("\n\n".join("\n".join(d) for d in documents) + "\n")
    measure.say(f"  {pages} pages: {len(parts[0])} sections to train on, {len(parts[1])} held out")
    return paths


# What knows nothing of context, or one word of it

def baselines(b, tokenizer, paths):
    """Of the held-out tokens: share of the most frequent one, cross-entropy of the unigram distribution (one added to each count), share
    of those that follow their forerunner most often; all counted in what is trained on."""
    train, valid = ([int(x) for x in measure.run([b.sinter, "tokenizer", "encode", "--plain", "-t", tokenizer, p]).out.split()] for p in paths)
    count, after = collections.Counter(train), collections.defaultdict(collections.Counter)
    for x, y in zip(train, train[1:]):
        after[x][y] += 1
    first = count.most_common(1)[0][0]
    guess = {x: c.most_common(1)[0][0] for x, c in after.items()}
    return {"frequent": valid.count(first) / len(valid),
            "unigram": -sum(math.log((count[x] + 1) / (len(train) + V)) for x in valid) / len(valid),
            "before": sum(guess.get(x, first) == y for x, y in zip(valid, valid[1:])) / (len(valid) - 1)}


# The run

def log(run):
    return [json.loads(line) for line in open(run + "/metrics.jsonl")]


def train(b, program, run, paths, tokenizer, steps, *flags):
    b.timed([program, "train", "--data", paths[0], "--valid", paths[1], "--tokenizer", tokenizer, "-t", str(b.threads), *FLAGS,
             "--steps", str(steps), "--save-every", "0", "--out", run, *flags])
    return log(run)


def steps_in(b, seconds, program, paths, tokenizer):
    """How many steps take so long; validations are a twentieth."""
    with_first = train(b, program, b.tmp + "/speed", paths, tokenizer, 400, "--validate-every", "0", "--eval-batches", "1")
    times = [x["time"] for x in with_first if "lr" in x]
    return max(POINTS, int(0.95 * seconds / statistics.mean(y - x for x, y in zip(times[20:], times[21:]))))


def place(share):
    return f"{330 - 290 * share / 0.8:.1f}"


def grid(millions):
    for i in range(9):
        yield f'<path d="M60 {place(i / 10)}H740" stroke="#ddd"/><text x="54" y="{place(i / 10 - 0.01)}" text-anchor="end">{10 * i}%</text>'
    for i in range(5):
        yield f'<text x="{60 + 170 * i}" y="348" text-anchor="middle">{millions * i / 4:.1f}</text>'
    yield '<text x="400" y="368" text-anchor="middle">million tokens</text>'


def drawn(points, name, color, guesses):
    """A line of (tokens, share), and what was to be beaten, dashed."""
    last, reached = points[-1]
    line = " ".join(f"{60 + 680 * x / last:.1f},{place(y)}" for x, y in points)
    yield f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{line}"/>'
    yield f'<text x="740" y="{place(reached + 0.03)}" text-anchor="end" fill="{color}">{name}: {100 * reached:.1f}%</text>'
    for value, what in guesses:
        yield f'<path d="M60 {place(value)}H740" stroke="{color}" stroke-dasharray="4 4"/>'
        yield f'<text x="740" y="{place(value - 0.04)}" text-anchor="end" fill="{color}">{what}</text>'


def curve(path, lines, base):
    """An SVG of both accuracies at the validations of a run, over the tokens seen."""
    judged = [x for x in lines if "val_loss" in x]
    words, next_ = ([(x["step"] * B * T, x["metrics"][name]) for x in judged] for name in ("mlm_acc", "nsp_acc"))
    guesses = [(base["frequent"], "the most frequent token"), (base["before"], "what most often follows the token before")]
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="800" height="380" viewBox="0 0 800 380" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/><text x="60" y="24" font-size="15">Pre-training a small BERT: accuracy on held-out pages</text>',
             *grid(words[-1][0] / 1e6), *drawn(words, "masked words", "#2b6cb0", guesses), *drawn(next_, "next sentence", "#dd6b20", [(0.5, "a coin")]), "</svg>"]
    with open(path, "w") as f:
        f.write("\n".join(parts) + "\n")


def results(b, program, run, paths, tokenizer, where):
    """Records of a run that has ended: all held-out pages, beside the baselines."""
    base = baselines(b, tokenizer, paths)
    lines = log(run)
    curve(where + "/curve.svg", lines, base)
    out = b.timed([program, "eval", "-q", "--json", "-m", run + "/last", "--data", paths[1], "-t", str(b.threads)]).out
    got = json.loads(out[out.index("{"):out.rindex("}") + 1])
    trained = [x for x in lines if "lr" in x][-1]
    note = f"{trained['step']} steps of {B} x {T}, {trained['time'] / 60:.1f} minutes"
    for row, unit, ours, theirs in (("masked words right; against the most frequent token", "%", 100 * got["mlm_acc"], 100 * base["frequent"]),
                                    ("masked words right; against what most often follows the token before", "%", 100 * got["mlm_acc"], 100 * base["before"]),
                                    ("masked words, cross-entropy; against unigrams", "nats", got["mlm_loss"], base["unigram"]),
                                    ("next sentences right; against a coin", "%", 100 * got["nsp_acc"], 50)):
        sides = [measure.Side("sinter", lambda x=ours: [x]), measure.Side("baseline", lambda x=theirs: [x])]
        measure.take_turns(sides, 1)
        yield measure.record("pretrain", row, unit, sides, less=unit != "%", note=note)


def records(b):
    where = os.path.join(b.build, "bench/pretrain")
    paths, tokenizer, run = texts(where), where + "/tokenizer.json", where + "/run"
    measure.run([b.sinter, "tokenizer", "train", paths[0], "-o", tokenizer, "--kind", "wordpiece", "--vocab", str(V)])
    program = b.program("bert", "--precision", "bf16", **SETTINGS)
    steps = steps_in(b, 60 * (1 if b.quick else b.minutes), program, paths, tokenizer)
    measure.run(["rm", "-rf", run])
    train(b, program, run, paths, tokenizer, steps, "--validate-every", str(steps // POINTS), "--eval-batches", "0" if steps > 2000 else "16")
    yield from results(b, program, run, paths, tokenizer, where)
