"""Times a whole process, from a prompt to an MP4, with tiny-world: the README's first command and the same in diffusers.

    .venv/bin/pip install imageio imageio-ffmpeg
    cargo build --release -p t2v-examples --example text_to_video
    .venv/bin/python benches/compare/cold.py [--runs 5]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import vectors  # noqa: F401

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "assets/tiny-world"
PROMPT = "a red ball bouncing in a blue sky"
DIFFUSERS = """
import sys
import torch
from diffusers import DPMSolverMultistepScheduler, TextToVideoSDPipeline
from diffusers.utils import export_to_video
folder, prompt, steps, guidance, threads, out = sys.argv[1:]
torch.set_num_threads(int(threads))
pipe = TextToVideoSDPipeline.from_pretrained(folder, torch_dtype=torch.float32)
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
frames = pipe(prompt, num_inference_steps=int(steps), guidance_scale=float(guidance), num_frames=16,
              generator=torch.Generator().manual_seed(0)).frames[0]
export_to_video(frames, out, fps=8)
"""


def seconds(command):
    start = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    defaults = json.loads((MODEL / "t2v.json").read_text())
    steps, guidance = defaults["num_inference_steps"], defaults["guidance_scale"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        ours = [ROOT / "target/release/examples/text_to_video", PROMPT, "--seed", "0", "--out", out]
        theirs = [sys.executable, "-c", DIFFUSERS, MODEL, PROMPT, steps, guidance, args.threads, out]
        pairs = [[seconds(ours), seconds(theirs)] for _ in range(args.runs)]
    ours, theirs = (statistics.median(times) for times in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print("| | t2v | diffusers | ratio | of each pair |\n| --- | --- | --- | --- | --- |")
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"| prompt to MP4, {steps} steps | {ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} | {spread} |")


if __name__ == "__main__":
    main()
