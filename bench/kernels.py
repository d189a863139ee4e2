"""Single kernels, by the programs gemm, thin and attention: each prints (-j) a JSON object a line with the samples of its turns, which it takes itself."""
import json

import measure


def sides(line, names):
    found = []
    for name in names:
        if line.get(name):
            found.append(measure.Side(name, None, [[x] for x in line[name]]))
    return found


def lines(b, tool, *flags):
    out = b.timed([b.tool(tool), "-j", "-t", str(b.threads), *flags]).out
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def record(b, table, row, unit, line, names, less=False, limit=None):
    bound = (*limit, sides(line, ["limit"])[0]) if limit else None
    r = measure.record(table, row, unit, sides(line, names), less, bound)
    measure.say("  " + measure.table([r]).splitlines()[-1])
    return r


def gemm(b, *flags):
    kind = "bf16" if "bf16" in flags else "f32"
    for x in lines(b, "gemm", *flags):
        row = f"{x['k']} x {x['n']}, M = {x['m']}, {x['form']}, {kind}"
        yield record(b, "contractions", row, "GFLOP/s", x, ["sinter", "OpenBLAS", "oneDNN"], limit=(kind, lambda mine, most: mine / most))


def thin(b, *flags):
    for x in lines(b, "thin", *flags):
        row = f"{x['name']}, {x['k']} x {x['n']}, M = {x['m']}"
        yield record(b, "thin", row, "GB/s of weights", x, ["sinter"], limit=("reading or multiplying", lambda mine, most: mine / most))


def attention(b, *flags):
    for x in lines(b, "attention", *flags):
        row = f"{x['b']} x {x['t']}, {x['h']} heads of {x['width']}, {x['what']}"
        yield record(b, "attention", row, "ms", x, ["sinter", "expansion"], less=True)


def records(b):
    if b.quick:
        yield from gemm(b, "-b", "-r", "5", "-m", "512", "-n", "3072")
        yield from gemm(b, "-d", "bf16", "-r", "5", "-m", "512", "-n", "3072")
        yield from thin(b, "-m", "1", "-k", "2048")
        yield from attention(b, "-n", "512", "-r", "3")
        return
    for n in "768", "2304", "3072", "50257":
        yield from gemm(b, "-b", "-n", n)
        yield from gemm(b, "-d", "bf16", "-n", n)
    for m in "1", "4", "16":
        yield from thin(b, "-m", m)
    for t in 64, 256, 1024, 4096:
        yield from attention(b, "-n", str(t))
