"""Compares the frames of a trained LoRA with those that diffusers makes with it through peft.

    cargo build --release -p t2v-examples --example text_to_video
    python scripts/compare_trained_lora.py teach_tiny_world/lora.safetensors [PROMPT …]

The LoRA is one that t2v-train made on a model of TextToVideoSDPipeline, tiny-world without --model. Each prompt is asked for
with --lora and as the lora_model of a JSON request. The reference is that of diffusers 0.42.1, peft 0.21.2 and torch 2.13.0 in f32.
Prints the greatest absolute difference of the frames (0..1); exits with 1 if one is over the limit, or if the LoRA changes nothing.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from compare_with_diffusers import run_rust
from diffusers import UNet3DConditionModel
from diffusers.loaders import PeftAdapterMixin
from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader
from make_t2v_pipeline_fixtures import BASE, DPM, generate, load

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ["a teal cross bouncing in the snow", "a teal cross shrinking over the sea", "a red ball rising at night"]
OPTIONS = ("width", "height", "num_frames", "scheduler", "num_inference_steps", "guidance_scale", "seed")


def add_lora(pipe, file: Path) -> None:
    """What `load_lora_weights` would do if diffusers 0.42.1 had it for this family, whose U-Net lacks the mixin alone.

    A key that has no place in the model is an error.
    """
    pipe.unet.__class__ = type("UNet3DConditionModel", (UNet3DConditionModel, PeftAdapterMixin), {})
    state, alphas, metadata = Loader.lora_state_dict(str(file), return_lora_metadata=True)
    Loader.load_lora_into_unet(state, alphas, pipe.unet, adapter_name="trained", metadata=metadata)
    loaded = sum("lora_" in name for name, _ in pipe.unet.named_parameters())
    if loaded != len(state):
        raise SystemExit(f"{file}: {len(state)} matrices, of which peft took {loaded}")


def with_request(binary: Path, model: Path, run: dict, lora: Path, scratch: Path) -> torch.Tensor:
    """The frames of the same run as a JSON request that names the LoRA."""
    body = {key: run[key] for key in ("prompt", *OPTIONS)} | {"lora_model": lora.stem, "lora_strength": 1.0, "enhance_prompt": "no"}
    request = scratch / "request.json"
    request.write_text(json.dumps(body))
    more = ["--request", str(request), "--lora", str(lora)]
    return run_rust(binary, model, run | {"prompt": None}, scratch, options=(), more=more)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lora", type=Path)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--model", type=Path, default=ROOT / "assets/tiny-world")
    parser.add_argument("--limit", type=float, default=2e-3, help="the greatest difference allowed")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/examples/text_to_video")
    args = parser.parse_args()
    lora, failed = args.lora.resolve(), 0
    pipe, plain = load(args.model), load(args.model)
    add_lora(pipe, lora)
    for seed, prompt in enumerate(args.prompts):
        size = dict(width=64, height=64, num_frames=16, num_inference_steps=12, guidance_scale=3.0, scheduler=DPM)
        run = BASE | size | dict(prompt=prompt, seed=seed)
        expected = generate(pipe, run)
        moved = float((generate(plain, run) - expected).abs().max())
        with tempfile.TemporaryDirectory() as scratch:
            ways = {
                "--lora": run_rust(args.binary, args.model, run, Path(scratch), options=OPTIONS, more=["--lora", str(lora)]),
                "lora_model": with_request(args.binary, args.model, run, lora, Path(scratch)),
            }
        off = {way: float((found.reshape(expected.shape) - expected).abs().max()) for way, found in ways.items()}
        failed += not (moved > 0.1 and all(value <= args.limit for value in off.values()))
        told = ", ".join(f"{way} {value:.2e}" for way, value in off.items())
        print(f"{prompt!r}: {told}; the LoRA moves frames by {moved:.2f}", flush=True)
    print(f"{len(args.prompts) - failed} of {len(args.prompts)} within {args.limit}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
