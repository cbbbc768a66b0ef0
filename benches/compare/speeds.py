"""Runs the example `text_to_video` in each of its speed modes, in turn, and prints a table of times and of how near the frames are.

    cargo build --release -p t2v-examples --example text_to_video
    .venv/bin/pip install numpy safetensors
    .venv/bin/python benches/compare/speeds.py [--clips 6] [--runs DDIM:50 DDIM:25 DPMSolverMultistep:25] [--fewer] [-- --model FOLDER ...]

A clip's time is that of denoising, its ratio that to exact calls of the same prompt and seed just before; PSNR is of its frames against
the exact ones. `--fewer` adds exact generations with half and a third of the steps. What follows `--` goes to the example.
"""

import argparse
import itertools
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from safetensors.numpy import load_file

BINARY = Path(__file__).parents[2] / "target/release/examples/text_to_video"
THINGS = ["red ball", "blue star", "green square", "yellow heart", "purple triangle", "white ring", "orange diamond", "pink cross"]
MOTIONS = ["moving right", "bouncing", "growing", "spinning", "falling"]
PLACES = ["in the snow", "at night", "in the desert", "under water", "in a meadow", "at sunset", "in the city"]


def prompts():
    """Prompts without an end, each word with different others."""
    for thing, motion, place in zip(itertools.cycle(THINGS), itertools.cycle(MOTIONS), itertools.cycle(PLACES)):
        yield f"a {thing} {motion} {place}"


def run(binary, arguments, folder):
    """Frames, seconds of denoising, and how many of the model's calls were whole."""
    path = Path(folder) / "frames.safetensors"
    command = [binary, *arguments, "--frames-out", path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
    seconds = float(re.search(r"denoising ([0-9.]+) s", done.stderr)[1])
    whole = re.search(r"(\d+) of \d+ calls", done.stderr)
    (frames,) = load_file(path).values()
    return frames.astype(numpy.float64), seconds, whole and int(whole[1])


def psnr(a, b):
    error = numpy.mean((a - b) ** 2)
    return numpy.inf if error == 0 else -10 * numpy.log10(error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=BINARY)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--runs", nargs="+", default=["DDIM:50", "DDIM:25", "DPMSolverMultistep:25"], metavar="SCHEDULER:STEPS")
    parser.add_argument("--modes", nargs="+", default=["balanced", "fast"])
    parser.add_argument("--fewer", action="store_true")
    parser.add_argument("rest", nargs="*", help="arguments of the example, after --")
    args = parser.parse_args()

    print("| scheduler, steps | clips | | whole calls | time | PSNR, mean | worst |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for scheduler, steps in (run.split(":") for run in args.runs):
        fewer = [int(steps) // 2, int(steps) // 3] if args.fewer else []
        ways = [(f"`{mode}`", int(steps), mode) for mode in args.modes] + [(f"exact, {n} steps", n, "exact") for n in fewer]
        found = {name: [] for name, _, _ in ways}
        with tempfile.TemporaryDirectory() as folder:
            for seed, prompt in zip(range(args.clips), prompts()):
                def clip(count, mode):
                    arguments = [prompt, "--seed", seed, "--scheduler", scheduler, "--num-inference-steps", count, "--speed", mode]
                    return run(args.binary, [*map(str, arguments), *args.rest], folder)

                exact, time, _ = clip(steps, "exact")
                for name, count, mode in ways:
                    frames, seconds, whole = clip(count, mode)
                    found[name].append((seconds / time, psnr(frames, exact), whole or count))
                print(prompt, {name: tuple(round(float(x), 2) for x in values[-1]) for name, values in found.items()}, file=sys.stderr)
        for index, (name, _, _) in enumerate(ways):
            times, psnrs, whole = zip(*found[name])
            first = f"{scheduler}, {steps} | {args.clips}" if index == 0 else " | "
            print(f"| {first} | {name} | {whole[0]} | {statistics.median(times):.2f} | {statistics.mean(psnrs):.1f} dB | {min(psnrs):.1f} dB |", flush=True)


main()
