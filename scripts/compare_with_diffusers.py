"""Compares the Rust example with TextToVideoSDPipeline on random tiny checkpoints and random requests.

    cargo build --release --example text_to_video
    python scripts/compare_with_diffusers.py [--seed 0] [--count 10] [--keep FOLDER]

The reference is that of diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0 in f32. Prints the greatest
absolute difference of the frames (0..1) for each seed; exits with 1 if one is over the limit, or if a run fails.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from diffusers import TextToVideoSDPipeline, UNet3DConditionModel
from fixtures import END, randomize, save_tokenizer
from make_t2v_pipeline_fixtures import BASE, LONG, NOISE, as_on_the_hub, generate, load, text_encoder, vae
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
SCHEDULERS = ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"]
PROMPTS = [
    "A panda is eating bamboo on a rock.",
    "Spiderman is surfing",
    "a red balloon over the city!!",
    "café crème brûlée 🎉",
    "cafe\u0301 & a naïve 👩‍🚀, 4k",
    "don't we'll it's",
    "一只熊猫在吃竹子",
    LONG,
]


def checkpoint(choose: random.Random, folder: Path) -> None:
    def seed() -> int:
        return choose.randrange(2**32)

    def channels(levels: int) -> tuple[int, ...]:
        return tuple(choose.choice((8, 16, 24)) for _ in range(levels))

    latents, width, half = choose.choice((3, 4)), choose.choice((16, 24, 32)), choose.random() < 0.3
    levels = choose.randint(1, 3)
    with tempfile.TemporaryDirectory() as scratch:
        pad_token = choose.choice((END, "!"))
        length = choose.choice((20, 77))
        tokenizer = save_tokenizer(Path(scratch), length, choose.randint(100, 500), pad_token)
        text = text_encoder(
            tokenizer,
            hidden_size=width,
            intermediate_size=choose.choice((32, 40)),
            num_hidden_layers=choose.randint(1, 3),
            num_attention_heads=choose.choice((1, 2, 4)),
            hidden_act=choose.choice(("quick_gelu", "gelu")),
            projection_dim=16,
        )
        unet = UNet3DConditionModel(
            sample_size=4,
            in_channels=latents,
            out_channels=latents,
            down_block_types=tuple(choose.choice(("CrossAttnDownBlock3D", "DownBlock3D")) for _ in range(levels)),
            up_block_types=tuple(choose.choice(("CrossAttnUpBlock3D", "UpBlock3D")) for _ in range(levels)),
            block_out_channels=channels(levels),
            layers_per_block=choose.randint(1, 2),
            downsample_padding=choose.choice((1, 1, 0)),
            mid_block_scale_factor=choose.choice((1, 1.3)),
            act_fn=choose.choice(("silu", "gelu")),
            norm_num_groups=choose.choice((2, 4, 8)),
            norm_eps=choose.choice((1e-5, 1e-6)),
            cross_attention_dim=width,
            attention_head_dim=choose.choice((2, 3, 4, 8)),
        )
        autoencoder = vae(
            channels(choose.randint(1, 4)),
            layers_per_block=choose.randint(1, 2),
            latent_channels=latents,
            sample_size=32,
            scaling_factor=choose.choice((0.18215, 0.5, 1.0)),
            use_post_quant_conv=choose.random() < 0.7,
            mid_block_add_attention=choose.random() < 0.7,
        )
        scheduler = getattr(diffusers, choose.choice(SCHEDULERS))(
            prediction_type=choose.choice(("epsilon", "v_prediction")), **NOISE
        )
        pipe = TextToVideoSDPipeline(
            vae=randomize(autoencoder, seed(), 0.7),
            text_encoder=randomize(text, seed()),
            tokenizer=tokenizer,
            unet=randomize(unet, seed(), 0.8),
            scheduler=scheduler,
        )
        if half:
            pipe.to(torch.float16)
        pipe.save_pretrained(folder, safe_serialization=True)
        if choose.random() < 0.5:
            as_on_the_hub(folder, Path(scratch))


def request(choose: random.Random, pipe: TextToVideoSDPipeline) -> dict:
    # diffusers refuses sizes at which the UNet's deepest level has less than 2 x 2 latents
    smallest = -(-pipe.vae_scale_factor * 2 ** len(pipe.unet.config.block_out_channels) // 8) * 8
    return BASE | dict(
        prompt=choose.choice(PROMPTS),
        negative_prompt=choose.choice((None, "low quality, blurry!")),
        seed=choose.choice((0, 42, 2**32 - 1, choose.randrange(2**32))),
        scheduler=choose.choice(SCHEDULERS),
        num_inference_steps=choose.randint(1, 6),
        guidance_scale=choose.choice((1.0, 2.5, 5.0)),
        width=max(smallest, 8 * choose.randint(1, 4)),
        height=max(smallest, 8 * choose.randint(1, 4)),
        num_frames=choose.randint(1, 5),
    )


OPTIONS = ("negative_prompt", "width", "height", "num_frames", "scheduler", "num_inference_steps", "guidance_scale", "seed")


def run_rust(binary: Path, model: Path, run: dict, scratch: Path, out="video.mp4", options=OPTIONS, more=()) -> torch.Tensor:
    """The frames that the example makes of a run; `options` are the run's keys that it is given, `more` other arguments."""
    frames = scratch / "frames.safetensors"
    command = [str(binary), "--model", str(model), "--out", str(scratch / out), "--frames-out", str(frames)]
    command += ["--enhance-prompt", "no", *more]
    for key in options:
        if run[key] is not None:
            command += [f"--{key.replace('_', '-')}", str(run[key])]
    # A run whose prompt a request has gives none.
    if run["prompt"] is not None:
        command.append(run["prompt"])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    (tensor,) = load_file(frames).values()
    return tensor.float()


def compare(seed: int, binary: Path, keep: Path | None) -> float:
    choose = random.Random(seed)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = scratch / "model" if keep is None else keep / str(seed)
        checkpoint(choose, model)
        pipe = load(model)
        run = request(choose, pipe)
        expected = generate(pipe, run)
        found = run_rust(binary, model, run, scratch)
        if found.numel() != expected.numel():
            raise RuntimeError(f"frames of {tuple(found.shape)}, not of {tuple(expected.shape)}")
        difference = float((found.reshape(expected.shape) - expected).abs().max())
    size = f"{run['num_frames']}x{run['height']}x{run['width']}"
    print(f"seed {seed}: {difference:.2e}  {run['scheduler']} {run['num_inference_steps']} steps, {size}", flush=True)
    return difference


def main(description: str, compare: Callable[[int, Path, Path | None], float]) -> int:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds, one after the other")
    parser.add_argument("--limit", type=float, default=2e-3, help="the greatest difference allowed")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/examples/text_to_video")
    parser.add_argument("--keep", type=Path, help="a folder to leave the checkpoints in")
    options = parser.parse_args()
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        try:
            failed += not compare(seed, options.binary, options.keep) <= options.limit
        except RuntimeError as error:
            print(f"seed {seed}: {error}", flush=True)
            failed += 1
    print(f"{options.count - failed} of {options.count} within {options.limit}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], compare))
