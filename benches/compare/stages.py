"""Runs the stages of a checkpoint of ModelScope or Stable Diffusion here and in diffusers, in turn, and prints a table of medians and ratios.

    .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
    cargo build --release -p t2v-benches --example stages
    .venv/bin/python benches/compare/stages.py /tmp/ms [--runs 5] [--stages "text encoder" "step 16 256 256" "decode 1 256 256"]

`--device cuda --dtype f16` compares on a GPU, with an example that was built with that feature; scripts/gpu_kit/ compares more.
Both sides hold what they have loaded, so it needs some 16 GB of memory. The first run of each stage doesn't count.
"""

import argparse
import os
import statistics
import subprocess
from pathlib import Path

import vectors  # noqa: F401 (before torch)
import torch
from diffusers_stages import DTYPES, DiffusersStages

BINARY = Path(__file__).parents[2] / "target/release/examples/stages"
STAGES = ["text encoder", "decode 1 256 256", "decode 1 512 512", "step 16 256 256"]


class Rust:
    """The example `stages`."""

    def __init__(self, folder, device="flex", dtype="f32", binary=BINARY, motion_adapter=None):
        environment = os.environ | {"T2V_DEVICE": device, "T2V_DTYPE": dtype}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([binary, folder, *filter(None, [motion_adapter])], stdin=pipe, stdout=pipe, text=True, env=environment)

    def run(self, stage):
        print(stage, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"`{stage}` failed here, see above")
        return float(answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--motion-adapter", help="motion modules for a folder of Stable Diffusion")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--stages", nargs="+", default=STAGES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="flex", help="one of t2v's names; diffusers takes cuda for any but flex")
    parser.add_argument("--dtype", default="f32", choices=DTYPES)
    parser.add_argument("--binary", type=Path, default=BINARY)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch_device = "cpu" if args.device == "flex" else "cuda"
    sides = [
        Rust(args.folder, args.device, args.dtype, args.binary, args.motion_adapter),
        DiffusersStages(args.folder, torch_device, args.dtype, args.motion_adapter),
    ]
    print("| stage | t2v | diffusers | ratio | of each pair |\n| --- | --- | --- | --- | --- |")
    for stage in args.stages:
        pairs = [[side.run(stage) for side in sides] for _ in range(args.runs + 1)][1:]
        ours, theirs = (statistics.median(times) for times in zip(*pairs))
        ratios = sorted(a / b for a, b in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"| {stage} | {ours:.4g} s | {theirs:.4g} s | {ours / theirs:.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
