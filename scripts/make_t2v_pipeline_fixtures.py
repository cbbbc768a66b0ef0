"""Golden fixtures of crates/t2v-pipeline, from diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_pipeline_fixtures.py

tiny_a is laid out as the checkpoints on the Hub are (f32, vocab.json and merges.txt, "text_model." before
the keys of the text encoder); tiny_b as today's save_pretrained writes it (f16, tokenizer.json, no prefix).
Both references are computed in f32 from the saved folders.
"""

import json
import shutil
import tempfile
from pathlib import Path

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    TextToVideoSDPipeline,
    UNet3DConditionModel,
    VideoToVideoSDPipeline,
)
from fixtures import MAX_BYTES, folder_of, generator, randomize, save_tokenizer, write
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = folder_of("t2v-pipeline")
NOISE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, steps_offset=1)


def text_encoder(tokenizer, **parameters) -> CLIPTextModel:
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    length = tokenizer.model_max_length
    return CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=length, **special, **parameters))


def vae(levels, **parameters) -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        block_out_channels=levels,
        norm_num_groups=4,
        **parameters,
    )


def tiny_a(tokenizer_folder: Path) -> TextToVideoSDPipeline:
    tokenizer = save_tokenizer(tokenizer_folder, 24, merges=300)
    text = text_encoder(
        tokenizer, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, projection_dim=16
    )
    unet = UNet3DConditionModel(
        sample_size=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    return TextToVideoSDPipeline(
        vae=randomize(vae((8, 8, 8, 16), layers_per_block=1, latent_channels=4, sample_size=32), 11, 0.7),
        text_encoder=randomize(text, 12),
        tokenizer=tokenizer,
        unet=randomize(unet, 13, 0.8),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **NOISE),
    )


def tiny_b(tokenizer_folder: Path) -> TextToVideoSDPipeline:
    tokenizer = save_tokenizer(tokenizer_folder, 77, pad_token="!")
    text = text_encoder(
        tokenizer,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        hidden_act="gelu",
        projection_dim=10,
    )
    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        mid_block_scale_factor=1.2,
        norm_num_groups=4,
        norm_eps=1e-6,
        cross_attention_dim=24,
        attention_head_dim=8,
    )
    parameters = dict(
        layers_per_block=2,
        latent_channels=3,
        sample_size=32,
        scaling_factor=0.5,
        shift_factor=0.1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    pipe = TextToVideoSDPipeline(
        vae=randomize(vae((8, 8, 16), **parameters), 21, 0.7),
        text_encoder=randomize(text, 22),
        tokenizer=tokenizer,
        unet=randomize(unet, 23, 0.8),
        scheduler=PNDMScheduler(prediction_type="v_prediction", skip_prk_steps=True, set_alpha_to_one=False, **NOISE),
    )
    return pipe.to(torch.float16)


def as_on_the_hub(folder: Path, tokenizer_folder: Path) -> None:
    """Today's save_pretrained writes neither vocab.json and merges.txt nor the prefix of the text encoder's keys."""
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(tokenizer_folder, folder / "tokenizer")
    path = folder / "text_encoder" / "model.safetensors"
    save_file({f"text_model.{k}": v for k, v in load_file(path).items()}, path, metadata={"format": "pt"})


LONG = "a small brown fox running through the forest at dawn while the light shines on the wet grass, " * 6
BASE = dict(
    prompt="A panda is eating bamboo on a rock.",
    negative_prompt=None,
    seed=0,
    scheduler="DDIMScheduler",
    scheduler_overrides={},
    num_inference_steps=4,
    guidance_scale=9.0,
    width=24,
    height=16,
    num_frames=3,
    clip_skip=None,
    strength=None,
)
EULER, DPM = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"
# tiny_a has a latent for 8 x 8 pixels and its UNet halves once; tiny_b for 4 x 4 pixels, and it halves twice
RUNS = {
    "tiny_a": [
        dict(),
        dict(scheduler=EULER, seed=42, num_inference_steps=5, negative_prompt="low quality, blurry", height=32, width=16),
        dict(scheduler=DPM, seed=4294967295, num_inference_steps=8, prompt="café crème brûlée 🎉", guidance_scale=4.0),
        dict(prompt="", guidance_scale=1.0, seed=7, num_frames=1, height=8, width=16),
        dict(prompt=LONG, scheduler=DPM, num_inference_steps=2, guidance_scale=3.0, seed=123, height=24, width=40),
        dict(scheduler=EULER, guidance_scale=1.0, num_inference_steps=3, seed=1, num_frames=5, width=16, height=24),
        dict(num_inference_steps=6, guidance_scale=0.5, negative_prompt="ignored", seed=42, num_frames=2),
        dict(scheduler=DPM, scheduler_overrides={"use_karras_sigmas": True}, num_inference_steps=5, seed=9, guidance_scale=7.5),
        dict(clip_skip=1, num_inference_steps=3, seed=42, negative_prompt="ugly", guidance_scale=4.0),
        dict(strength=0.6, scheduler=EULER, num_inference_steps=5, seed=3, guidance_scale=5.0),
        dict(strength=1.0, num_inference_steps=4, seed=8, num_frames=2, width=16, height=32, negative_prompt="dull"),
    ],
    "tiny_b": [
        dict(),
        dict(scheduler=EULER, seed=42, num_inference_steps=5, negative_prompt="low quality, blurry!", height=24, width=24),
        dict(scheduler=DPM, seed=4294967295, num_inference_steps=8, prompt="wow!! A cafe\u0301 & a naïve 👩‍🚀", guidance_scale=6.5),
        dict(prompt="", guidance_scale=1.0, seed=7, num_frames=1, height=8, width=16, scheduler=EULER),
        dict(prompt=LONG, scheduler=DPM, num_inference_steps=2, guidance_scale=3.0, seed=123, height=24, width=40),
        dict(scheduler_overrides={"clip_sample": False}, guidance_scale=2.0, num_inference_steps=3, seed=1, num_frames=5),
        dict(
            scheduler=EULER,
            scheduler_overrides={"timestep_spacing": "trailing"},
            num_inference_steps=7,
            seed=42,
            num_frames=2,
        ),
        dict(clip_skip=1, scheduler=DPM, num_inference_steps=3, seed=42, negative_prompt="", width=16, height=24),
        dict(strength=0.45, scheduler=DPM, num_inference_steps=7, seed=5, guidance_scale=1.0, num_frames=1),
    ],
}  # fmt: skip


def init_video(run: dict) -> torch.Tensor | None:
    """Where a run starts from pictures: bytes [frames, height, width, 3]."""
    if run["strength"] is None:
        return None
    size = (run["num_frames"], run["height"], run["width"], 3)
    return torch.randint(256, size, generator=generator(1000 + run["seed"]), dtype=torch.uint8)


def generate(pipe: TextToVideoSDPipeline, run: dict) -> torch.Tensor:
    """The frames of a run, [frames, height, width, 3] in 0..1; pipe keeps the scheduler it was loaded with."""
    loaded = pipe.scheduler
    request = {key: run[key] for key in BASE if key not in ("seed", "scheduler", "scheduler_overrides", "strength")}
    start = init_video(run)
    if start is not None:
        request |= {"video": [Image.fromarray(frame.numpy()) for frame in start], "strength": run["strength"]}
        for key in ("num_frames", "height", "width", "clip_skip"):
            del request[key]
    rng = generator(run["seed"])
    try:
        pipe.scheduler = getattr(diffusers, run["scheduler"]).from_config(loaded.config, **run["scheduler_overrides"])
        runner = pipe if start is None else VideoToVideoSDPipeline(**pipe.components)
        runner.set_progress_bar_config(disable=True)
        frames = runner(**request, generator=rng, output_type="np").frames[0]
    finally:
        pipe.scheduler = loaded
    return torch.from_numpy(frames)


def load(folder: Path) -> TextToVideoSDPipeline:
    pipe = TextToVideoSDPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    # The pipeline asks for text_encoder.text_model when clip_skip is given; transformers 5 has put its layers
    # into the CLIPTextModel itself.
    vars(pipe.text_encoder)["text_model"] = pipe.text_encoder
    assert all(p.dtype == torch.float32 for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters())
    return pipe


def main() -> None:
    for name, make in {"tiny_a": tiny_a, "tiny_b": tiny_b}.items():
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            make(Path(scratch)).save_pretrained(folder, safe_serialization=True)
            if name == "tiny_a":
                as_on_the_hub(folder, Path(scratch))
        for path in sorted(folder.rglob("*")):
            if path.suffix == ".json":
                path.write_text(without_paths(path))
            if path.is_file():
                path.chmod(0o644)
                assert path.stat().st_size < MAX_BYTES, path
                print(path.relative_to(FOLDER), path.stat().st_size, "bytes")
        pipe = load(folder)
        runs = [BASE | run for run in RUNS[name]]
        frames = [generate(pipe, run) for run in runs]
        for run, video in zip(runs, frames):
            assert video.shape == (run["num_frames"], run["height"], run["width"], 3)
            clipped = float(((video == 0) | (video == 1)).float().mean())
            print(f"{name} {run['scheduler']:28} std {video.std():.3f} clipped {clipped:.3f}")
        tensors = {f"run.{i}": video for i, video in enumerate(frames)}
        starts = [init_video(run) for run in runs]
        tensors |= {f"init.{i}": start.float() for i, start in enumerate(starts) if start is not None}
        write(FOLDER / f"{name}_golden.safetensors", tensors, runs=runs)


def without_paths(path: Path) -> str:
    """Leaves out "_name_or_path", which names the folder the model came from."""
    text = path.read_text(encoding="utf-8")
    value = json.loads(text)
    if not isinstance(value, dict) or "_name_or_path" not in value:
        return text
    del value["_name_or_path"]
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
