"""Times steps of LoRA training here and in PyTorch with peft, in turn, on the same clips, and prints medians, ratios and peak memory.

    cargo build --release -p t2v-train --example time_steps --example teach_tiny_world
    target/release/examples/teach_tiny_world --draw-only --dir /tmp/lesson
    .venv/bin/python benches/compare/train.py /tmp/lesson/new [--runs 5] [--batches 1 4]

Both train adapters of the same rank on the same layers of tiny-world, in f32, with AdamW, from latents and text embeddings that are
encoded before. PyTorch takes a batch at once, t2v its clips in turn, or as many at once as `--clips-at-once` says. Each side is a process of its own; the first run doesn't count.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
BINARY = ROOT / "target/release/examples/time_steps"
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]


class Side:
    """A process that takes numbers of steps and answers with seconds."""

    def __init__(self, command, environment):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ | environment)
        self.parameters = int(self.answer())
        self.idle = self.memory("VmRSS")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("one side failed, see above")
        return line

    def seconds(self, steps):
        print(steps, file=self.process.stdin, flush=True)
        return float(self.answer()) / steps

    def memory(self, field):
        """MB of a field of the process's status."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def read_clips(folder):
    """Frames `[frames, 3, h, w]` in -1..1 and captions."""
    import numpy as np
    import torch
    from PIL import Image

    for caption in sorted(Path(folder).glob("*.txt")):
        frames = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(caption.with_suffix("").glob("*.png"))]
        yield torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1, caption.read_text()


def train_in_pytorch(folder, model, rank, batch, threads):
    """The other side: reads numbers of steps, prints seconds."""
    import vectors  # noqa: F401 (before torch)
    import torch
    from diffusers import DDPMScheduler, TextToVideoSDPipeline
    from peft import LoraConfig, inject_adapter_in_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    pipe = TextToVideoSDPipeline.from_pretrained(model, torch_dtype=torch.float32)
    latents, texts = [], []
    with torch.no_grad():
        for frames, caption in read_clips(folder):
            latents.append(pipe.vae.encode(frames).latent_dist.mean.transpose(0, 1) * pipe.vae.config.scaling_factor)
            texts.append(pipe.encode_prompt(caption, "cpu", 1, False)[0][0])
    unet = pipe.unet.eval().requires_grad_(False)
    noise_levels = DDPMScheduler.from_config(pipe.scheduler.config)
    del pipe
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), unet)
    factors = [value for name, value in unet.named_parameters() if "lora_" in name]
    optimiser = torch.optim.AdamW(factors, lr=1e-4, weight_decay=1e-2)

    def step():
        chosen = torch.randint(len(latents), (batch,)).tolist()
        clean, text = torch.stack([latents[i] for i in chosen]), torch.stack([texts[i] for i in chosen])
        noise, timesteps = torch.randn_like(clean), torch.randint(len(noise_levels), (batch,))
        noisy = noise_levels.add_noise(clean, noise, timesteps)
        found = unet(noisy, timesteps, encoder_hidden_states=text).sample
        loss = torch.nn.functional.mse_loss(found, noise_levels.get_velocity(clean, noise, timesteps))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(factors, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    print(sum(factor.numel() for factor in factors), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        losses = [step() for _ in range(int(line))]
        print(time.perf_counter() - start if all(loss == loss for loss in losses) else "not a number", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="clips as folders of PNGs beside their captions")
    parser.add_argument("--model", default=ROOT / "assets/tiny-world")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=5, help="steps a run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips-at-once", type=int, default=1)
    parser.add_argument("--binary", type=Path, default=BINARY)
    parser.add_argument("--pytorch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pytorch:
        return train_in_pytorch(args.data, args.model, args.rank, args.pytorch, args.threads)
    print("| batch | t2v | PyTorch and peft | ratio | of each pair | memory of t2v | of PyTorch |\n" + "| --- " * 7 + "|")
    for batch in args.batches:
        shared = ["--model", str(args.model), "--rank", str(args.rank)]
        ours = [args.binary, "--data", args.data, *shared, "--batch-size", str(batch), "--clips-at-once", str(args.clips_at_once)]
        theirs = [sys.executable, __file__, args.data, *shared, "--threads", str(args.threads), "--pytorch", str(batch)]
        sides = [Side(ours, {"RAYON_NUM_THREADS": str(args.threads)}), Side(theirs, {})]
        if sides[0].parameters != sides[1].parameters:
            raise SystemExit(f"the sides train {sides[0].parameters} and {sides[1].parameters} numbers")
        pairs = [[side.seconds(args.steps) for side in sides] for _ in range(args.runs + 1)][1:]
        ratios = sorted(a / b for a, b in pairs)
        times = [statistics.median(times) for times in zip(*pairs)]
        memory = [f"{side.memory('VmHWM'):.0f} MB, {side.idle:.0f} before the first step" for side in sides]
        for side in sides:
            side.end()
        cells = [batch, *(f"{seconds:.3g} s" for seconds in times), f"{times[0] / times[1]:.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
        print("| " + " | ".join(map(str, cells + memory)) + " |", flush=True)


if __name__ == "__main__":
    main()
