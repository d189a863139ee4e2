"""What all benches share: processes and their memory, sides that take turns, medians and quartiles, limits of the machine, records
(docs in README.md), Markdown tables of them.

A side is something timed: a name and a function that gives the samples of one turn. Sides take turns, so that what else the
machine does, and its clock, fall on all alike; the first side is ours. A record is what a row of a table and the baseline are made of."""
import dataclasses
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
LEAST_NOISE = 0.03      # of a ratio: what runs differ by even where samples don't
FEW, OF_FEW = 4, 0.1    # fewer samples than this tell no spread: one is assumed


class Failed(Exception):
    """A command that did not work, with what it printed."""


@dataclasses.dataclass
class Done:
    out: str
    mb: float           # largest resident memory, 10^6 bytes
    seconds: float


def run(command, prefix=(), **kw):
    began = time.perf_counter()
    child = subprocess.Popen([*prefix, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    out = child.stdout.read()
    _, status, use = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Failed(f"{shlex.join(command)}\n{out}")
    return Done(out, use.ru_maxrss * 1024e-6, time.perf_counter() - began)


@dataclasses.dataclass
class Side:
    name: str
    turn: object                # () -> list of samples, or (list of samples, MB of memory)
    turns: list = dataclasses.field(default_factory=list)
    mb: float = 0

    def go(self):
        got = self.turn()
        samples, mb = got if isinstance(got, tuple) else (got, 0)
        self.turns.append(list(samples))
        self.mb = max(self.mb, mb)

    def summary(self):
        s = summary([x for t in self.turns for x in t])
        if self.mb:
            s["mb"] = round(self.mb)
        return s


def quartiles(x):
    return statistics.quantiles(x, n=4, method="inclusive") if len(x) > 1 else [x[0]] * 3


def summary(x):
    q = quartiles(x)
    return {"median": q[1], "q1": q[0], "q3": q[2], "n": len(x)}


def rotated(sides, i):
    """Each round begins with another one: the first behind a build or a pause is slower than those that follow."""
    at = i % len(sides)
    return [*sides[at:], *sides[:at]]


def take_turns(sides, rounds):
    for i in range(rounds):
        for side in rotated(sides, i):
            side.go()


def better(ours, theirs, less):
    """Above 1 where we are ahead."""
    return theirs / ours if less else ours / theirs


def ratio(ours, theirs, less):
    """Of the medians; its quartiles from turns one after the other."""
    pairs = [better(statistics.median(a), statistics.median(b), less) for a, b in zip(ours.turns, theirs.turns)]
    q = quartiles(pairs)
    middle = better(ours.summary()["median"], theirs.summary()["median"], less)
    return {"median": middle, "q1": min(q[0], middle), "q3": max(q[2], middle)}


def record(table, row, unit, sides, less=True, limit=None, note=None):
    """limit: (name, share of it that a median m of ours is: m, limit -> share, the limit's side)."""
    ours, *theirs = sides
    r = {"table": table, "row": row, "unit": unit, "less": less, "sides": {s.name: s.summary() for s in sides},
         "ratios": {s.name: ratio(ours, s, less) for s in theirs}}
    if limit:
        name, share, side = limit
        value = side.summary()["median"]
        r["limit"] = {"name": name, "value": value, "share": share(r["sides"][ours.name]["median"], value)}
    if note:
        r["note"] = note
    return r


# Against the baseline

def spread(s):
    if s["n"] < FEW:
        return OF_FEW
    return (s["q3"] - s["q1"]) / 2 / s["median"] if s["median"] else 0


def noise(r):
    return math.hypot(*(spread(s) for s in r["sides"].values()))


def judged(r):
    """What of a record is compared, by name: ratios to peers; where there are none, the share of the limit; where there is none, the median itself."""
    if r["ratios"]:
        return {f"to {peer}": x["median"] for peer, x in r["ratios"].items()}
    if "limit" in r:
        return {f"of the {r['limit']['name']} limit": r["limit"]["share"]}
    middle = next(iter(r["sides"].values()))["median"]
    return {"itself": 1 / middle if r["less"] else middle}


def regressions(now, then):
    """Lines of what is worse than in `then` by more than both runs' spreads."""
    old = {(r["table"], r["row"]): r for r in then["records"]}
    for r in now["records"]:
        was = old.get((r["table"], r["row"]))
        for name, x in judged(r).items() if was else ():
            before = judged(was).get(name)
            slack = max(LEAST_NOISE, 2 * math.hypot(noise(r), noise(was)))
            if before and x < before * (1 - slack):
                yield f"{r['table']}, {r['row']}: {name} {x:.3g}, was {before:.3g} ({100 * (x / before - 1):+.0f}%, noise {100 * slack:.0f}%)"


# The machine

def openblas():
    """Debian 12's OpenBLAS does not know processors made since and takes kernels of SSE3 for them: it is told which it has."""
    known = {"avx512f": "SkylakeX", "avx2": "Haswell"}
    return next((name for feature, name in known.items() if feature in cpu()["features"]), None)


def cpu():
    text = open("/proc/cpuinfo").read()

    def field(name):
        found = re.search(rf"^{name}\s*: (.*)$", text, re.M)
        return found[1].strip() if found else ""
    flags = (field("flags") or field("Features")).split()
    used = [f for f in ("neon", "asimd", "sse4_2", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8") if f in flags]
    model = field("model name") or os.uname().machine
    numbers = "-".join(field(n) for n in ("cpu family", "model", "stepping") if field(n))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{model} {numbers}".lower().replace("(r)", "").replace("(tm)", "")).strip("-")
    return {"model": model, "slug": slug, "features": used, "processors": os.cpu_count()}


def environment(threads):
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    return {"cpu": cpu(), "threads": threads, "date": time.strftime("%Y-%m-%d"), "commit": commit or "unknown"}


# Tables

def figure(x):
    return f"{x:.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}" if x >= 0.1 else f"{x:.3g}"


def cells(r, names, peers, limits, memory):
    def memory_of(name):
        return f" ({r['sides'][name]['mb']} MB)" if memory and r["sides"][name].get("mb") else ""
    ours = r["sides"][names[0]]
    yield r["row"]
    yield figure(ours["median"]) + memory_of(names[0])
    yield f"{figure(ours['q1'])} to {figure(ours['q3'])}"
    for p in peers:
        yield figure(r["sides"][p]["median"]) + memory_of(p) if p in r["sides"] else ""
        yield f"{r['ratios'][p]['median']:.2f}" if p in r["ratios"] else ""
    if limits:
        yield f"{100 * r['limit']['share']:.0f}% of {r['limit']['name']}" if "limit" in r else ""


def table(records):
    """Markdown of the records of one table."""
    names = [next(iter(records[0]["sides"]))]
    peers = list(dict.fromkeys(p for r in records for p in r["ratios"]))
    limits, memory = any("limit" in r for r in records), any("mb" in s for r in records for s in r["sides"].values())
    units = {r["unit"] for r in records}
    head = [units.copy().pop() if len(units) == 1 else "", names[0], "half of them"]
    head += [word for p in peers for word in (p, "ratio")] + (["share of the limit"] if limits else [])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in records:
        row = list(cells(r, names, peers, limits, memory))
        if len(units) > 1:
            row[0] += ", " + r["unit"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def tables(result):
    """Name of a table -> its Markdown, in the order of the records."""
    names = list(dict.fromkeys(r["table"] for r in result["records"]))
    return {n: table([r for r in result["records"] if r["table"] == n]) for n in names}


def into(path, result):
    """Draws the tables anew between <!-- bench NAME --> and <!-- end --> of a Markdown file."""
    drawn, text = tables(result), open(path).read()

    def redraw(m):
        return f"{m[1]}\n{drawn[m[2]]}\n{m[3]}" if m[2] in drawn else m[0]
    with open(path, "w") as f:
        f.write(re.sub(r"(<!-- bench (\S+) -->)\n.*?(<!-- end -->)", redraw, text, flags=re.S))


def load(path):
    with open(path) as f:
        return json.load(f)


def store(path, result):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as f:
        json.dump(rounded(result), f, indent=1)
        f.write("\n")


def rounded(x):
    """Four digits: what a file of results keeps of a measurement."""
    if isinstance(x, float):
        return float(f"{x:.4g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    return [rounded(v) for v in x] if isinstance(x, list) else x


def say(*words):
    print(*words, file=sys.stderr, flush=True)
