"""Runs the stages of a ModelScope checkpoint here and in diffusers, in turn, and prints a table of medians and ratios.

    .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
    cargo build --release -p t2v-benches --example stages
    .venv/bin/python benches/compare/stages.py /tmp/ms [--runs 5] [--stages "text encoder" "step 16 256" "decode 256"]

Both sides hold what they have loaded, so it needs some 16 GB of memory. The first run of each stage doesn't count.
"""

import argparse
import statistics
import subprocess
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from transformers import CLIPTextModel

BINARY = Path(__file__).parents[2] / "target/release/examples/stages"
STAGES = ["text encoder", "decode 256", "decode 512", "step 16 256"]


class Torch:
    def __init__(self, folder):
        self.folder, self.models = folder, {}

    def model(self, kind, name):
        if name not in self.models:
            model = kind.from_pretrained(Path(self.folder) / name, torch_dtype=torch.float32)
            self.models[name] = model.eval().requires_grad_(False)
        return self.models[name]

    @torch.no_grad()
    def run(self, stage):
        kind, *sizes = stage.split()
        if kind == "text":
            model, inputs = self.model(CLIPTextModel, "text_encoder"), [(300 + 7 * torch.arange(154)).view(2, 77)]
        elif kind in ("step", "clips"):
            clips, frames, size = map(int, sizes if kind == "clips" else [2, *sizes])
            inputs = [torch.randn(clips, 4, frames, size // 8, size // 8), 500, torch.randn(clips, 77, 1024)]
            model = self.model(UNet3DConditionModel, "unet")
        else:
            model, inputs = self.model(AutoencoderKL, "vae").decode, [torch.randn(1, 4, *[int(sizes[0]) // 8] * 2)]
        start = time.perf_counter()
        model(*inputs)
        return time.perf_counter() - start


class Rust:
    def __init__(self, folder):
        self.process = subprocess.Popen([BINARY, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, stage):
        print(stage, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--stages", nargs="+", default=STAGES)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sides = [Rust(args.folder), Torch(args.folder)]
    print("| stage | t2v | diffusers | ratio | of each pair |\n| --- | --- | --- | --- | --- |")
    for stage in args.stages:
        pairs = [[side.run(stage) for side in sides] for _ in range(args.runs + 1)][1:]
        ours, theirs = (statistics.median(times) for times in zip(*pairs))
        ratios = sorted(a / b for a, b in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"| {stage} | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
