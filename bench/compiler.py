"""What the compiler takes, and how soon a program's first token is there."""
import os

import measure

# As models/ has them; GPT-3's shape is only compiled.
COMPILED = {
    "GPT-2 124M, train and generate": ["gpt2"],
    "LLaMA 1.1B, generate": ["llama", "--preset", "tinyllama", "--entry", "generate"],
    "GPT-3's shape, 96 layers, train and generate": ["gpt2", "--set", "L=96", "--set", "D=12288", "--set", "H=96"],
}


def compile(b, model, flags):
    done = b.timed([b.sinter, "build", f"{measure.TOP}/models/{model}.sinter", *flags, "-o", os.path.join(b.tmp, "compiled")])
    return [done.seconds], done.mb


def first_token(b, program, weights):
    """From the command to the end of a process that makes one token behind one."""
    done = b.timed([program, "generate", "-m", weights, "--ids", "--prompt-ids", "1", "-n", "1", "-t", str(b.threads)])
    return [1e3 * done.seconds], done.mb


def records(b):
    for row, (model, *flags) in COMPILED.items():
        if b.quick and "L=96" in flags:
            continue
        side = measure.Side("sinter", lambda: compile(b, model, flags))
        yield b.compare("compiler", f"compiling {row}", "s", [side], b.rounds(5, 3))
    program, weights = b.program("gpt2", "--precision", "f32", "--entry", "generate"), os.path.join(b.tmp, "gpt2-weights")
    measure.run([program, "init", "--out", weights])
    side = measure.Side("sinter", lambda: first_token(b, program, weights))
    yield b.compare("compiler", "generate of GPT-2 124M, f32: process until its first token and end", "ms", [side], b.rounds(7, 3))
