#!/usr/bin/python3
"""The bench: Sinter, its peers and the machine's limits in turns (bench/README.md). Prints tables, writes results as JSON, compares them with the
baseline stored for this processor.

usage: bench/run.py [BUILD] [options] [PIECE ...]        pieces: see PIECES below; without names all of them
       bench/run.py --tables RESULT.json [FILE.md ...]   draws the tables of a result again, into files between their marks"""
import argparse
import importlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import measure

PIECES = {
    "kernels": "contractions against OpenBLAS and oneDNN, thin ones against memory, attention against its expansion",
    "train": "training steps against PyTorch and llm.c",
    "chars": "a small model: time a step, and on TEXT the loss it reaches",
    "llama": "prefill and decoding against llama.cpp",
    "bert": "BERT-base forward against ONNX Runtime",
    "fusion": "each fusion switched off: time and planned bytes",
    "lengths": "texts of many lengths at once against each length by itself",
    "pretrain": "a small BERT from raw text, in minutes, against what knows no context",
    "spam": "a classifier of mails learnt from nothing, against bags of words",
    "compiler": "compile time and memory, start-up of generate",
}
PACKAGES = ["python3-numpy", "python3-torch", "libopenblas0-pthread", "libdnnl2"]


class Bench:
    """What pieces work with."""

    def __init__(self, o, tmp):
        self.build, self.tmp, self.quick, self.threads = os.path.abspath(o.build), tmp, o.quick, o.threads
        self.sinter, self.prefix = os.path.join(self.build, "sinter"), shlex.split(o.prefix)
        self.minutes, self.llmc, self.llama, self.models = o.minutes, o.llmc, o.llama, o.models.split()
        self.text, self.own_text = (os.path.abspath(o.text), True) if o.text else (sources(tmp), False)
        self.programs, self.skipped = {}, []

    def rounds(self, full, quick=1):
        return quick if self.quick else full

    def skip(self, what, why):
        self.skipped.append(f"{what}: {why}")
        measure.say(f"  {what}: skipped, {why}")

    def timed(self, command, **kw):
        return measure.run(command, self.prefix, **kw)

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def program(self, model, *flags, **settings):
        """The executable that `sinter build` makes of a model of ours; made once."""
        key = (model, flags, tuple(settings.items()))
        if key not in self.programs:
            path = os.path.join(self.tmp, f"{model}-{len(self.programs)}")
            words = [w for k, v in settings.items() for w in ("--set", f"{k.replace('__', '.')}={v}")]
            measure.run([self.sinter, "build", f"{measure.TOP}/models/{model}.sinter", *flags, *words, "-o", path])
            self.programs[key] = path
        return self.programs[key]

    def limit(self, name):
        """The machine's limit as a side that takes turns with others; None where the machine has none of this kind."""
        import json

        def turn():
            out = self.timed([self.tool("limits"), "-t", str(self.threads), name]).out.splitlines()
            return [json.loads(line)["value"] for line in out]
        side = measure.Side(name, turn)
        side.go()
        if not side.turns[0]:
            return None
        side.turns.clear()
        return side

    def compare(self, table, row, unit, sides, rounds, less=True, limit=None, note=None):
        """A record of sides that take turns with the limit; limit: (name of it, share(median of ours, limit))."""
        bound = self.limit(limit[0]) if limit else None
        measure.take_turns(sides + ([bound] if bound else []), rounds)
        r = measure.record(table, row, unit, sides, less, (*limit, bound) if bound else None, note)
        measure.say("  " + measure.table([r]).splitlines()[-1])
        return r


def sources(tmp):
    """A text to train on where none is given: ours."""
    path = os.path.join(tmp, "sources.txt")
    with open(path, "wb") as out:
        for room in ("ir", "passes", "backend", "runtime", "frontend"):
            for name in sorted(os.listdir(os.path.join(measure.TOP, room))):
                if name.endswith((".c", ".h")):
                    with open(os.path.join(measure.TOP, room, name), "rb") as f:
                        shutil.copyfileobj(f, out)
    return path


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("build", nargs="?", default="build", help="directory of the build")
    p.add_argument("pieces", nargs="*", help=", ".join(PIECES))
    p.add_argument("--quick", action="store_true", help="fewer sizes and turns: some minutes")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--text", default="", help="a text to train on (without it our sources); chars' loss wants tiny Shakespeare")
    p.add_argument("--llmc", default="", help="a checkout of llm.c")
    p.add_argument("--llama", default="", help="a checkout of llama.cpp that is built, or its llama-bench")
    p.add_argument("--models", default="", help="for llama: MODEL:TYPE ...")
    p.add_argument("--minutes", type=float, default=10, help="how long pretrain trains (10)")
    p.add_argument("--json", help="where results go (BUILD/bench/result.json)")
    p.add_argument("--add", action="store_true", help="keep what the results' file has of other pieces")
    p.add_argument("--baseline", default=os.path.join(measure.HERE, "baseline"), help="directory of the baselines")
    p.add_argument("--store", action="store_true", help="make the results the baseline of this processor")
    p.add_argument("--prefix", default="", help="a command put before each timed process: taskset, chrt, a lock")
    p.add_argument("--no-install", action="store_true", help="take the peers that are there")
    p.add_argument("--tables", metavar="RESULT", help="draw the tables of a result; further arguments are Markdown files to draw them into")
    return p.parse_args()


def install():
    if subprocess.run([f"{measure.TOP}/tests/deps.sh", *PACKAGES]).returncode:
        measure.say("not all peers could be installed: those that are not there are left out")


def draw(o):
    result = measure.load(o.tables)
    files = ([o.build] if o.build != "build" else []) + o.pieces
    for path in files:
        measure.into(path, result)
    if not files:
        for name, text in measure.tables(result).items():
            print(f"{name}\n\n{text}\n")


def measured(b, pieces, result):
    for name in pieces:
        measure.say(f"{name}: {PIECES[name]}")
        piece = importlib.import_module(name)
        result["records"] = [r for r in result["records"] if r["piece"] != name]
        try:
            for r in piece.records(b):
                result["records"].append({"piece": name, **r})
        except measure.Failed as e:
            b.skip(name, f"it failed: {e}")
    order = list(PIECES)
    result["records"].sort(key=lambda r: order.index(r["piece"]))


def baseline_path(o, env):
    return os.path.join(o.baseline, f"{env['cpu']['slug']}-{env['threads']}.json")


def report(result, b, path, base):
    print(f"{result['cpu']['model']}, {result['threads']} threads, {result['date']}, commit {result['commit']}\n")
    for name, text in measure.tables(result).items():
        print(f"{name}\n\n{text}\n")
    for line in b.skipped:
        print(f"left out: {line}")
    print(f"results: {path}")
    if not os.path.exists(base):
        print(f"no baseline for this processor ({base}); --store makes one")
        return
    lines = list(measure.regressions(result, measure.load(base)))
    print(f"against the baseline of {measure.load(base)['date']}: " + ("\n  ".join(["worse beyond the noise:"] + lines) if lines else "nothing is worse"))


def main():
    o = options()
    if o.tables:
        return draw(o)
    if o.build in PIECES:
        o.pieces, o.build = [o.build] + o.pieces, "build"
    wrong = [p for p in o.pieces if p not in PIECES]
    if wrong:
        sys.exit(f"there is no piece {wrong[0]}; there are {', '.join(PIECES)}")
    if not o.no_install:
        install()
    path = o.json or os.path.join(o.build, "bench/result.json")
    env = measure.environment(o.threads)
    had = measure.load(path)["records"] if o.add and os.path.exists(path) else []
    result = {**env, "quick": o.quick, "records": had}
    if measure.openblas():
        os.environ.setdefault("OPENBLAS_CORETYPE", measure.openblas())
    with tempfile.TemporaryDirectory() as tmp:
        b = Bench(o, tmp)
        measured(b, o.pieces or list(PIECES), result)
    measure.store(path, result)
    base = baseline_path(o, env)
    report(result, b, path, base)
    if o.store:
        measure.store(base, result)


main()
