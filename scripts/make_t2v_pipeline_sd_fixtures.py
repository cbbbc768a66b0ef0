"""Golden fixtures of crates/t2v-pipeline for Stable Diffusion and AnimateDiff, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_pipeline_sd_fixtures.py

Folders: `sd` (a StableDiffusionPipeline), `motion_adapter` (for `sd`), `sd_inpaint` and `sd_lcm` (a U-Net of 9 channels and
one with an embedding of the guidance scale, to be laid over a copy of `sd`), and `animatediff` (a saved AnimateDiffPipeline).
`loras` has LoRA files for `sd`, whose references are made with peft 0.21.2. All weights are f16; the references are computed in f32 from the saved folders.

`<name>_golden.safetensors` has the metadata `runs`, a list: the keys of `sd_pipelines.REQUEST`, and `folder`, `overlay` and
`motion_adapter`, names of folders or null. Tensors: `run.<i>`, the frames in 0..1; `init.<i>`, the pictures it starts from,
and `mask.<i>`, both the values of bytes.
"""

import random
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNetMotionModel,
)
from fixtures import MAX_BYTES, folder_of, generator, randomize, save_tokenizer, write
from make_t2v_pipeline_fixtures import LONG, NOISE, text_encoder, vae, without_paths
from PIL import Image
from random_loras import lora, motion_lora
from safetensors.torch import save_file
from sd_pipelines import IMAGE, REQUEST, generate, init_pictures, load, mask

FOLDER = folder_of("t2v-pipeline")
EULER, DPM, LCM, PNDM = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LCMScheduler", "PNDMScheduler"
UNET = dict(
    sample_size=8,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    cross_attention_dim=16,
    attention_head_dim=2,
)
ADAPTER = dict(
    block_out_channels=(8, 16),
    motion_layers_per_block=1,
    motion_num_attention_heads=2,
    motion_norm_num_groups=4,
    motion_max_seq_length=16,
)


def text_parts(scratch: Path, seed: int):
    tokenizer = save_tokenizer(scratch, 20, merges=200)
    text = text_encoder(
        tokenizer, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, projection_dim=16
    )
    return tokenizer, randomize(text, seed)


def save_sd(scratch: Path) -> None:
    tokenizer, text = text_parts(scratch, 301)
    pipe = StableDiffusionPipeline(
        vae=randomize(vae((8, 8, 16), layers_per_block=1, latent_channels=4, sample_size=32), 302, 0.7),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=randomize(UNet2DConditionModel(**UNET), 303, 0.8),
        scheduler=PNDMScheduler(skip_prk_steps=True, set_alpha_to_one=False, **NOISE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(FOLDER / "sd")
    overlays = {"sd_inpaint": dict(in_channels=9), "sd_lcm": dict(time_cond_proj_dim=12)}
    for seed, (name, parameters) in enumerate(overlays.items(), 304):
        unet = randomize(UNet2DConditionModel(**UNET | parameters), seed, 0.8)
        unet.half().save_pretrained(FOLDER / name / "unet")
    adapter = randomize(MotionAdapter(**ADAPTER), 306, 0.8)
    adapter.half().save_pretrained(FOLDER / "motion_adapter")


def save_animatediff(scratch: Path) -> None:
    """A network with no motion in the middle, heads by level, linear projections and v-prediction."""
    tokenizer, text = text_parts(scratch, 311)
    unet = UNet2DConditionModel(
        **UNET | dict(attention_head_dim=(1, 4), use_linear_projection=True, norm_eps=1e-6, mid_block_scale_factor=1.2)
    )
    adapter = MotionAdapter(**ADAPTER | dict(use_motion_mid_block=False, motion_max_seq_length=24))
    adapter = randomize(adapter, 314, 0.8)
    pipe = AnimateDiffPipeline(
        vae=randomize(vae((8, 8, 8, 8), layers_per_block=1, latent_channels=4, scaling_factor=0.4), 312, 0.7),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=UNetMotionModel.from_unet2d(randomize(unet, 313, 0.8), adapter),
        motion_adapter=adapter,
        scheduler=DDIMScheduler(
            clip_sample=False, prediction_type="v_prediction", **NOISE | dict(beta_schedule="linear")
        ),
    )
    pipe.to(torch.float16).save_pretrained(FOLDER / "animatediff")


BASE = REQUEST | dict(folder="sd", overlay=None, motion_adapter=None)
# Where the windows and the halves of the schedule end unevenly, too. `animatediff` has a latent for 8 x 8 pixels, `sd` for 4 x 4.
ANIMATEDIFF = [
    dict(),
    dict(scheduler=EULER, seed=42, num_inference_steps=5, negative_prompt="low quality, blurry", width=40),
    dict(scheduler=LCM, seed=4294967295, guidance_scale=1.5, prompt="café crème brûlée 🎉", width=16, height=24),
    dict(scheduler=DPM, clip_skip=1, num_inference_steps=6, seed=7, negative_prompt="ugly", num_frames=1),
    dict(prompt=LONG, guidance_scale=1.0, num_inference_steps=3, seed=11, num_frames=6, width=16),
    dict(task="video_to_video", strength=0.6, num_inference_steps=5, seed=3, num_frames=3, negative_prompt="dull"),
    dict(task="video_to_video", strength=1.0, scheduler=EULER, num_inference_steps=3, seed=4, guidance_scale=4.0, num_frames=3),
    dict(task="video_to_video", strength=0.5, scheduler=LCM, guidance_scale=1.0, seed=5, num_frames=2, width=16),
    # The VAE encodes 16 frames at once: the last one draws its noise alone, for fewer values than the generator's blocks.
    dict(
        task="video_to_video",
        strength=0.7,
        num_inference_steps=3,
        seed=6,
        num_frames=17,
        width=16,
        height=8,
        guidance_scale=1.0,
    ),
    dict(task="video_to_video", strength=0.7, num_inference_steps=3, seed=8, num_frames=2, init_size=(25, 21), scheduler=DPM),
    dict(free_init=dict(num_iters=2), num_inference_steps=3, seed=12, num_frames=3),
    dict(free_init=dict(num_iters=2, use_fast_sampling=True), num_inference_steps=5, seed=13, num_frames=5, guidance_scale=3.0),
    dict(free_init=dict(num_iters=3, use_fast_sampling=True), scheduler=DPM, num_inference_steps=5, seed=14, width=16),
    dict(free_init=dict(num_iters=2), scheduler=LCM, guidance_scale=1.5, seed=15, num_frames=3),
    dict(
        free_init=dict(num_iters=2, method="gaussian", spatial_stop_frequency=0.4, temporal_stop_frequency=0.3),
        scheduler=EULER,
        scheduler_overrides={"timestep_spacing": "trailing"},
        num_inference_steps=3,
        seed=16,
        num_frames=2,
    ),
    dict(task="video_to_video", strength=1.0, free_init=dict(num_iters=2), num_inference_steps=3, seed=17, num_frames=3),
    dict(task="video_to_video", strength=0.5, free_init=dict(num_iters=2), num_inference_steps=9, seed=18, num_frames=2),
    dict(free_noise=dict(context_length=8, context_stride=4), num_frames=16, num_inference_steps=3, seed=21, width=16, height=8),
    dict(
        free_noise=dict(context_length=8, context_stride=4),
        num_frames=15,
        scheduler=EULER,
        num_inference_steps=3,
        seed=22,
        width=16,
        height=8,
        negative_prompt="low quality",
    ),
    dict(
        free_noise=dict(context_length=8, context_stride=3, weighting_scheme="flat"),
        num_frames=12,
        num_inference_steps=2,
        seed=23,
        width=8,
        scheduler=DPM,
    ),
    # Longer than the modules' positions reach.
    dict(free_noise=dict(context_length=16, context_stride=4), num_frames=22, num_inference_steps=2, seed=24, width=16, height=8),
    dict(
        free_noise=dict(context_length=8, context_stride=4, noise_type="random"),
        num_frames=13,
        scheduler=LCM,
        guidance_scale=1.5,
        num_inference_steps=2,
        seed=25,
        width=16,
        height=8,
    ),
    dict(
        free_noise=dict(context_length=8, context_stride=4),
        free_init=dict(num_iters=2),
        num_frames=12,
        num_inference_steps=2,
        seed=26,
        width=16,
        height=8,
    ),
    dict(
        task="video_to_video",
        free_noise=dict(context_length=8, context_stride=4),
        strength=0.7,
        num_frames=13,
        num_inference_steps=3,
        seed=27,
        width=16,
        height=8,
    ),
]
WITH_ADAPTER = [
    dict(num_frames=3, seed=31),
    dict(scheduler=EULER, num_inference_steps=5, num_frames=3, seed=32, width=16, negative_prompt="blurry"),
    dict(scheduler=LCM, guidance_scale=1.2, num_frames=3, seed=33, width=16),
    dict(scheduler=PNDM, num_inference_steps=5, num_frames=2, seed=34, width=16),
    dict(task="video_to_video", strength=0.6, num_inference_steps=5, num_frames=3, seed=35, scheduler=EULER),
    dict(free_noise=dict(context_length=6, context_stride=2), num_frames=9, num_inference_steps=2, seed=36, width=16),
]
STILL = [
    dict(scheduler=PNDM, num_inference_steps=6),
    dict(scheduler=EULER, num_inference_steps=5, seed=41, width=40, height=24, negative_prompt="low quality"),
    dict(scheduler=DPM, num_inference_steps=8, seed=42, clip_skip=1, negative_prompt="ugly", width=32, height=32),
    dict(scheduler=LCM, guidance_scale=1.0, seed=43, prompt=LONG),
    dict(guidance_rescale=0.7, seed=44, guidance_scale=9.0, width=16),
    dict(overlay="sd_lcm", scheduler=LCM, guidance_scale=8.0, seed=45),
    dict(overlay="sd_lcm", scheduler=LCM, guidance_scale=1.0, num_inference_steps=2, seed=46, negative_prompt="ignored"),
    dict(task="image_to_image", strength=0.6, num_inference_steps=5, seed=47),
    dict(task="image_to_image", strength=0.8, scheduler=EULER, num_inference_steps=5, seed=48, width=32, negative_prompt="dull"),
    dict(task="image_to_image", strength=1.0, scheduler=PNDM, num_inference_steps=4, seed=49, guidance_scale=1.0),
    dict(task="image_to_image", strength=0.45, scheduler=DPM, num_inference_steps=7, seed=50),
    dict(task="image_to_image", strength=0.6, num_inference_steps=4, seed=51, init_size=(23, 30), width=28, height=20),
    dict(task="image_to_image", strength=0.7, overlay="sd_lcm", scheduler=LCM, num_inference_steps=4, seed=52),
    dict(task="inpaint", strength=1.0, seed=53),
    dict(task="inpaint", strength=0.6, scheduler=EULER, num_inference_steps=5, seed=54, width=32, negative_prompt="dull"),
    dict(task="inpaint", strength=1.0, scheduler=EULER, num_inference_steps=4, seed=55, guidance_scale=1.0),
    dict(task="inpaint", strength=0.8, scheduler=PNDM, num_inference_steps=5, seed=56),
    dict(task="inpaint", strength=0.7, scheduler=DPM, num_inference_steps=6, seed=57, init_size=(35, 21)),
    dict(task="inpaint", strength=0.9, scheduler=LCM, guidance_scale=1.5, seed=58),
    dict(task="inpaint", overlay="sd_inpaint", strength=1.0, seed=59),
    dict(task="inpaint", overlay="sd_inpaint", strength=0.7, scheduler=EULER, num_inference_steps=5, seed=60, width=32),
    dict(task="inpaint", overlay="sd_inpaint", strength=1.0, scheduler=PNDM, num_inference_steps=4, seed=61, guidance_scale=1.0),
]  # fmt: skip


def tidy(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            path.write_text(without_paths(path))
        if path.is_file():
            path.chmod(0o644)
            assert path.stat().st_size < MAX_BYTES, path
            print(path.relative_to(FOLDER), path.stat().st_size, "bytes")


def reference(run: dict) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as scratch:
        folder = FOLDER / run["folder"]
        if run["overlay"] is not None:
            folder = shutil.copytree(folder, Path(scratch) / "model")
            shutil.copytree(FOLDER / run["overlay"], folder, dirs_exist_ok=True)
        adapter = run["motion_adapter"] and FOLDER / run["motion_adapter"]
        return generate(load(folder, run["task"], adapter), run)


def golden(name: str, runs: list[dict]) -> None:
    tensors = {}
    for i, run in enumerate(runs):
        frames = reference(run)
        expected = 1 if run["task"] in IMAGE else run["num_frames"]
        assert frames.shape == (expected, run["height"], run["width"], 3), (run, frames.shape)
        clipped = float(((frames == 0) | (frames == 1)).float().mean())
        print(f"{name} {i:2} {run['task']:15} {run['scheduler']:28} std {frames.std():.3f} clipped {clipped:.3f}", flush=True)
        tensors[f"run.{i}"] = frames
        for key, given in {"init": init_pictures(run), "mask": mask(run)}.items():
            if given is not None:
                tensors[f"{key}.{i}"] = given.float()
    write(FOLDER / f"{name}_golden.safetensors", tensors, runs=runs)


# Two at once, scales below 0 and above 1, every layout; modules of motion in both of theirs.
LORAS = ("kohya", "peft", "processors", "motion", "motion_original")
WITH_LORAS = [
    dict(loras=[["kohya", 0.8]]),
    dict(loras=[["peft", 1.4], ["processors", -0.6]], scheduler=EULER, seed=71),
    dict(loras=[["kohya", -0.5], ["peft", 0.7]], task="image_to_image", strength=0.6, seed=72),
    dict(loras=[["peft", 1.0], ["motion", 0.8]], motion_adapter="motion_adapter", task="text_to_video", num_frames=3, seed=73, width=16),
    dict(loras=[["motion_original", 1.3]], motion_adapter="motion_adapter", task="text_to_video", num_frames=3, seed=74, width=16),
]


def save_loras() -> dict[str, dict[str, torch.Tensor]]:
    """Writes the LoRA files; what diffusers loads in the place of each."""
    folder, pipe = FOLDER / "loras", load(FOLDER / "sd", "text_to_video", FOLDER / "motion_adapter")
    folder.mkdir(exist_ok=True)
    states = {}
    for i, name in enumerate(LORAS):
        choose = random.Random(500 + i)
        if name.startswith("motion"):
            file, state = motion_lora(pipe, choose, name == "motion_original")
        else:
            file, state = lora(pipe, choose, name)
        path = folder / f"{name}.safetensors"
        save_file({key: value.half().contiguous() for key, value in file.items()}, path)
        path.chmod(0o644)
        states[name] = {key: value.half().float() for key, value in state.items()}
    return states


def golden_with_loras() -> None:
    states, tensors = save_loras(), {}
    runs = [BASE | dict(task="text_to_image", num_frames=1) | run for run in WITH_LORAS]
    for i, run in enumerate(runs):
        adapter = run["motion_adapter"] and FOLDER / run["motion_adapter"]
        pipe = load(FOLDER / run["folder"], run["task"], adapter)
        plain = generate(load(FOLDER / run["folder"], run["task"], adapter), run)
        for name, _ in run["loras"]:
            pipe.load_lora_weights(dict(states[name]), adapter_name=name)
        pipe.set_adapters([name for name, _ in run["loras"]], [scale for _, scale in run["loras"]])
        frames = generate(pipe, run)
        print(f"sd_lora {i} {run['loras']} moves frames by {float((frames - plain).abs().max()):.3f}", flush=True)
        tensors[f"run.{i}"] = frames
        if (given := init_pictures(run)) is not None:
            tensors[f"init.{i}"] = given.float()
    write(FOLDER / "sd_lora_golden.safetensors", tensors, runs=runs)


def resized() -> None:
    """How diffusers' image processors resize pictures: Pillow's Lanczos on bytes."""
    tensors, calls = {}, [(17, 23, 8, 16), (9, 7, 24, 16), (40, 24, 16, 8), (16, 33, 16, 20), (13, 16, 32, 16), (25, 21, 16, 24), (56, 28, 29, 15), (20, 20, 30, 15)]
    for i, (height, width, to_height, to_width) in enumerate(calls):
        picture = torch.randint(256, (height, width, 3), generator=generator(3000 + i), dtype=torch.uint8)
        # Flat patches ring where they are resized: what goes over the range is cut.
        picture[: height // 2] = picture[: height // 2, :1] // 200 * 255
        made = Image.fromarray(picture.numpy()).resize((to_width, to_height), resample=Image.Resampling.LANCZOS)
        grey = torch.frombuffer(bytearray(made.convert("L").tobytes()), dtype=torch.uint8).reshape(to_height, to_width)
        made = torch.frombuffer(bytearray(made.tobytes()), dtype=torch.uint8).reshape(to_height, to_width, 3)
        given = {f"input.{i}": picture, f"output.{i}": made, f"grey.{i}": grey}
        tensors |= {key: value.float() for key, value in given.items()}
    write(FOLDER / "lanczos.safetensors", tensors, config={}, call={})


def main() -> None:
    for name in ("sd", "sd_inpaint", "sd_lcm", "motion_adapter", "animatediff"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    for save in (save_sd, save_animatediff):
        with tempfile.TemporaryDirectory() as scratch:
            save(Path(scratch))
    for name in ("sd", "sd_inpaint", "sd_lcm", "motion_adapter", "animatediff"):
        tidy(FOLDER / name)
    golden("animatediff", [BASE | dict(folder="animatediff") | run for run in ANIMATEDIFF])
    golden("sd_motion", [BASE | dict(motion_adapter="motion_adapter") | run for run in WITH_ADAPTER])
    golden("sd", [BASE | dict(task="text_to_image", num_frames=1) | run for run in STILL])
    golden_with_loras()
    resized()


if __name__ == "__main__":
    main()
