"""Plots how time and memory of a ModelScope step grow with frames, size and clips, here and in diffusers.

    .venv/bin/pip install matplotlib
    .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
    cargo build --release -p t2v-benches --example stages
    .venv/bin/python benches/compare/growth.py /tmp/ms [--out benches/growth.svg]

Memory is the most that a process holds during the step, its weights included. Linux only.
"""

import argparse
import os
from pathlib import Path

import vectors  # noqa: F401 (before torch)
import matplotlib
import torch
from diffusers_stages import DiffusersStages
from stages import Rust

matplotlib.use("svg")
from matplotlib import pyplot

# What grows, what is the same, the stages, and where each stage lies on the axis.
SERIES = [
    ("frames", "at 128x128, guided", "step {0} 128 128", [4, 8, 16, 32]),
    ("pixels a side", "4 frames, guided", "step 4 {0} {0}", [128, 256, 384, 512]),
    ("clips", "4 frames at 128x128", "clips {0} 4 128 128", [1, 2, 4]),
]


def measure(side, process, stage):
    """Seconds, and gigabytes at the peak."""
    proc = Path(f"/proc/{process}")
    (proc / "clear_refs").write_text("5")
    seconds = side.run(stage)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return seconds, int(status["VmHWM"].split()[0]) * 1024 / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--out", type=Path, default=Path("benches/growth.svg"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rust = Rust(args.folder)
    sides = {"t2v": (rust, rust.process.pid), "diffusers": (DiffusersStages(args.folder), os.getpid())}
    for side, _ in sides.values():
        side.run("step 4 128 128")  # loads
    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 9})
    figure, axes = pyplot.subplots(2, len(SERIES), figsize=(9, 5), layout="constrained")
    print("| step | t2v | diffusers | ratio | t2v | diffusers | ratio |\n" + "| --- " * 7 + "|")
    for column, (what, same, stage, values) in enumerate(SERIES):
        points = [[measure(*side, stage.format(value)) for side in sides.values()] for value in values]
        for value, ((ours, our_memory), (theirs, their_memory)) in zip(values, points):
            time = f"{ours:.1f} s | {theirs:.1f} s | {ours / theirs:.2f}"
            memory = f"{our_memory:.1f} GB | {their_memory:.1f} GB | {our_memory / their_memory:.2f}"
            print(f"| {value} {what}, {same} | {time} | {memory} |", flush=True)
        for row, unit in enumerate(["seconds", "GB at the peak"]):
            axis = axes[row, column]
            for index, name in enumerate(sides):
                axis.plot(values, [point[index][row] for point in points], marker="o", label=name)
            axis.set(xlabel=what, ylabel=unit, xticks=values, ylim=(0, None), title=same if row == 0 else None)
            axis.grid(alpha=0.3)
    axes[0, 0].legend()
    figure.savefig(args.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
