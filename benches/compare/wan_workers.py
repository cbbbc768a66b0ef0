"""A stage of Wan in diffusers, or a whole generation in stable-diffusion.cpp: the processes that wan.py beside this file starts.

Each prints a line of JSON a stage, `{"stage": …, "seconds": …, "peak": bytes}`. The peak is that of the stage alone, with
what was loaded before it.
"""

import argparse
import json
import re
import time
from pathlib import Path

import vectors  # noqa: F401 (before torch)

TOKENS = 512
TIMESTEP = 500


def forget_peak(process="self"):
    """The peak of resident memory begins anew (proc(5), clear_refs)."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


def peak(process="self"):
    """Bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def report(stage, seconds, memory):
    print(json.dumps({"stage": stage, "seconds": seconds, "peak": memory}), flush=True)


class Diffusers:
    """One network of a model folder."""

    def __init__(self, folder, stage, dtype):
        import torch
        from diffusers import AutoencoderKLWan, WanTransformer3DModel
        from transformers import UMT5EncoderModel

        self.torch, self.dtype = torch, {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
        self.stage = stage
        kind, name = {
            "text": (UMT5EncoderModel, "text_encoder"),
            "step": (WanTransformer3DModel, "transformer"),
            "decode": (AutoencoderKLWan, "vae"),
        }[stage]
        self.model = kind.from_pretrained(Path(folder) / name, torch_dtype=self.dtype).eval().requires_grad_(False)

    def inputs(self, frames, height, width):
        noise = lambda *shape: self.torch.randn(shape, dtype=self.dtype)  # noqa: E731
        if self.stage == "text":
            ids = (300 + 7 * self.torch.arange(2 * TOKENS)) % self.model.config.vocab_size
            return dict(input_ids=ids.view(2, TOKENS))
        shape = (frames - 1) // 4 + 1, height // 8, width // 8
        if self.stage == "decode":
            return dict(z=noise(1, self.model.config.z_dim, *shape))
        config = self.model.config
        return dict(
            hidden_states=noise(2, config.in_channels, *shape),
            timestep=self.torch.tensor([TIMESTEP, TIMESTEP]),
            encoder_hidden_states=noise(2, TOKENS, config.text_dim),
        )

    def run(self, *size):
        inputs = self.inputs(*size)
        with self.torch.no_grad():
            start = time.perf_counter()
            result = self.model.decode(**inputs) if self.stage == "decode" else self.model(**inputs)
            seconds = time.perf_counter() - start
        if not result[0].isfinite().all():
            raise FloatingPointError("the result has values that are not finite")
        return seconds


def diffusers(args):
    network = Diffusers(args.folder, args.stage, args.dtype)
    network.torch.set_num_threads(args.threads)
    network.run(5, 32, 32)
    forget_peak()
    report(args.stage, network.run(*args.size), peak())


def stable_diffusion_cpp(args):
    """A generation of one step. It has no calls for its stages: their times are what it logs."""
    from cyllama.sd import SDContext, SDContextParams
    from cyllama.sd.stable_diffusion import set_log_callback, set_progress_callback

    lines, steps, peaks = [], [], {}

    def log(_level, text):
        lines.append(text.strip())
        if "decode_first_stage completed" in text:
            peaks["decode"] = peak()

    def step(done, _steps, seconds):
        # It is told of the beginning, too.
        if done > 0 and not steps:
            steps.append(seconds)
            peaks["step"] = peak()
            forget_peak()

    params = SDContextParams(
        diffusion_model_path=str(args.files / args.transformer), vae_path=str(args.files / "vae.safetensors")
    )
    params.n_threads, params.diffusion_flash_attn = args.threads, True
    context = SDContext(params)
    set_log_callback(log)
    set_progress_callback(step)
    frames, height, width = args.size
    forget_peak()
    context.generate_video(
        "a red ball", width=width, height=height, video_frames=frames, sample_steps=1, cfg_scale=5.0, seed=0
    )
    report("step", steps[0], peaks["step"])
    report("decode", logged(lines, r"decode_first_stage completed, taking ([\d.]+)s"), peaks["decode"])


def logged(lines, pattern):
    """The seconds of the last line of this kind."""
    found = [match[1] for line in lines if (match := re.search(pattern, line))]
    if not found:
        raise SystemExit("stable-diffusion.cpp logged no time of the decoder:\n" + "\n".join(lines[-20:]))
    return float(found[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["diffusers", "sd.cpp"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--transformer", default="transformer.safetensors")
    parser.add_argument("--stage", choices=["text", "step", "decode"])
    parser.add_argument("--dtype", choices=["f32", "bf16"])
    parser.add_argument("--size", type=int, nargs=3, required=True, metavar=("FRAMES", "HEIGHT", "WIDTH"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    {"diffusers": diffusers, "sd.cpp": stable_diffusion_cpp}[args.peer](args)


if __name__ == "__main__":
    main()
