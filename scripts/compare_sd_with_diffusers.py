"""Compares the Rust example with diffusers on random tiny Stable Diffusion and AnimateDiff checkpoints.

    cargo build --release --example text_to_video
    python scripts/compare_sd_with_diffusers.py [--seed 0] [--count 10] [--keep FOLDER] [--limit 2e-3]

A seed is an AnimateDiff folder, a Stable Diffusion folder with a motion adapter, or a Stable Diffusion folder for still
pictures, at random; with LoRAs, motion LoRAs, FreeInit, windows (FreeNoise) and pictures to start from, at random. The
reference is that of diffusers 0.42.1, peft 0.21.2, transformers 5.23.0 and torch 2.13.0 in f32. Prints the greatest
absolute difference of the frames (0..1) for each seed; exits with 1 if one is over the limit, or if a run fails.
`--binary none` only makes the references.
"""

import contextlib
import json
import random
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import torch
from compare_with_diffusers import OPTIONS, PROMPTS, main, run_rust
from diffusers import AnimateDiffPipeline, MotionAdapter, StableDiffusionPipeline, UNet2DConditionModel, UNetMotionModel
from fixtures import END, randomize, save_tokenizer
from make_t2v_pipeline_fixtures import NOISE, as_on_the_hub, text_encoder, vae
from PIL import Image
from random_loras import LAYOUTS, lora, motion_lora
from safetensors.torch import save_file
from sd_pipelines import IMAGE, REQUEST, enable, generate, init_pictures, load, mask

SPACED = ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler")
SCHEDULERS = (*SPACED, "LCMScheduler", "PNDMScheduler")
warnings.filterwarnings("ignore", "Already found a `peft_config`")
warnings.filterwarnings("ignore", category=FutureWarning)  # of configurations that diffusers changes
KINDS = ("animatediff", "sd_motion", "still", "still_inpaint")


def networks(choose: random.Random, kind: str, width: int) -> tuple[UNet2DConditionModel, MotionAdapter | None]:
    levels = choose.randint(1, 3)
    channels = tuple(choose.choice((8, 16, 24)) for _ in range(levels))
    layers = choose.choice((1, 1, 2, tuple(choose.randint(1, 2) for _ in range(levels))))
    groups, still = choose.choice((2, 4, 8)), kind.startswith("still")
    unet = UNet2DConditionModel(
        sample_size=4,
        in_channels=9 if kind == "still_inpaint" and choose.random() < 0.5 else 4,
        down_block_types=tuple(choose.choice(("CrossAttnDownBlock2D", "DownBlock2D")) for _ in range(levels)),
        up_block_types=tuple(choose.choice(("CrossAttnUpBlock2D", "UpBlock2D")) for _ in range(levels)),
        mid_block_type=choose.choice(("UNetMidBlock2DCrossAttn",) * 3 + (None,)) if still else "UNetMidBlock2DCrossAttn",
        only_cross_attention=choose.random() < 0.2 if still else False,
        block_out_channels=channels,
        layers_per_block=layers,
        mid_block_scale_factor=choose.choice((1, 1.3)),
        act_fn=choose.choice(("silu", "silu", "gelu")),
        norm_num_groups=groups,
        norm_eps=choose.choice((1e-5, 1e-6)),
        cross_attention_dim=width,
        transformer_layers_per_block=choose.choice((1, 1, 2)),
        attention_head_dim=choose.choice((2, 4, 8, tuple(choose.choice((1, 2, 4)) for _ in range(levels)))),
        use_linear_projection=choose.random() < 0.5,
        upcast_attention=choose.random() < 0.3,
        time_cond_proj_dim=choose.choice((None, None, 16)) if still else None,
    )
    adapter = None
    if not still:
        adapter = MotionAdapter(
            block_out_channels=channels,
            motion_layers_per_block=layers,
            motion_transformer_layers_per_block=choose.choice((1, 1, 2)),
            motion_num_attention_heads=choose.choice((1, 2, 4, tuple(choose.choice((1, 8)) for _ in range(levels)))),
            motion_norm_num_groups=groups,
            motion_max_seq_length=choose.choice((16, 24, 32)),
            use_motion_mid_block=choose.random() < 0.5,
        )
        randomize(adapter, choose.randrange(2**32), 0.8)
    return randomize(unet, choose.randrange(2**32), 0.8), adapter


def checkpoint(choose: random.Random, kind: str, folder: Path) -> Path | None:
    """Writes the pipeline's folder, and the motion adapter's, which it returns, if that is another."""
    width, half = choose.choice((16, 24, 32)), choose.random() < 0.3
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = save_tokenizer(Path(scratch), choose.choice((20, 77)), choose.randint(100, 500), choose.choice((END, "!")))
        text = text_encoder(
            tokenizer,
            hidden_size=width,
            intermediate_size=choose.choice((32, 40)),
            num_hidden_layers=choose.randint(1, 3),
            num_attention_heads=choose.choice((1, 2, 4)),
            hidden_act=choose.choice(("quick_gelu", "gelu")),
            projection_dim=16,
        )
        unet, adapter = networks(choose, kind, width)
        autoencoder = vae(
            tuple(choose.choice((8, 16)) for _ in range(choose.randint(3, 4))),
            layers_per_block=choose.randint(1, 2),
            latent_channels=4,
            sample_size=32,
            scaling_factor=choose.choice((0.18215, 0.5, 1.0)),
        )
        parts = dict(
            vae=randomize(autoencoder, choose.randrange(2**32), 0.7),
            text_encoder=randomize(text, choose.randrange(2**32)),
            tokenizer=tokenizer,
            scheduler=getattr(diffusers, choose.choice(SPACED))(
                prediction_type=choose.choice(("epsilon", "v_prediction")),
                timestep_spacing=choose.choice(("leading", "trailing", "linspace")),
                **NOISE | dict(beta_schedule=choose.choice(("linear", "scaled_linear"))),
            ),
        )
        if kind == "animatediff":
            pipe = AnimateDiffPipeline(unet=UNetMotionModel.from_unet2d(unet, adapter), motion_adapter=adapter, **parts)
        else:
            nothing = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
            pipe = StableDiffusionPipeline(unet=unet, **parts, **nothing)
        if half:
            pipe.to(torch.float16)
        pipe.save_pretrained(folder, safe_serialization=True)
        if choose.random() < 0.5:
            as_on_the_hub(folder, Path(scratch))
    if kind != "sd_motion":
        return None
    adapter_folder = folder.with_name(f"{folder.name}_motion_adapter")
    (adapter.half() if choose.random() < 0.5 else adapter).save_pretrained(adapter_folder)
    return adapter_folder


def request(choose: random.Random, kind: str, folder: Path) -> dict:
    # diffusers refuses sizes at which the U-Net's deepest level has less than 2 x 2 latents
    unet, autoencoder = (json.loads((folder / part / "config.json").read_text()) for part in ("unet", "vae"))
    smallest = 2 ** (len(autoencoder["block_out_channels"]) - 1 + len(unet["block_out_channels"]))
    tasks = ("text_to_image", "image_to_image") if kind == "still" else ("text_to_video",) * 3 + ("video_to_video",)
    task = "inpaint" if kind == "still_inpaint" else choose.choice(tasks)
    run = REQUEST | dict(
        task=task,
        prompt=choose.choice(PROMPTS),
        negative_prompt=choose.choice((None, "low quality, blurry!")),
        seed=choose.choice((0, 42, 2**32 - 1, choose.randrange(2**32))),
        scheduler=choose.choice(SCHEDULERS),
        num_inference_steps=choose.randint(2, 8),
        guidance_scale=choose.choice((1.0, 1.5, 5.0)),
        width=max(smallest, 8 * choose.randint(2, 4)),
        height=max(smallest, 8 * choose.randint(2, 4)),
        num_frames=1 if task in IMAGE else choose.randint(1, 8),
        clip_skip=choose.choice((None, None, None, 0)),
    )
    if run["scheduler"] == "PNDMScheduler":
        run["num_inference_steps"] = max(4, run["num_inference_steps"])  # its Runge-Kutta steps need as many
    if task not in ("text_to_image", "text_to_video"):
        run["strength"] = choose.choice((0.6, 0.75, 1.0))
    if task == "video_to_video" and choose.random() < 0.3:
        run["init_size"] = (choose.randint(10, 40), choose.randint(10, 40))
    if task == "text_to_video" and choose.random() < 0.4:
        length = choose.randint(4, 8)
        run["free_noise"] = dict(context_length=length, context_stride=choose.randint(1, length))
        run["num_frames"] = length + choose.randint(0, 9)
    if task in ("text_to_video", "video_to_video") and choose.random() < 0.3:
        run["free_init"] = dict(num_iters=choose.randint(2, 3))
        # Where the last timestep of training is none of a schedule, diffusers' Euler fails.
        run["scheduler"] = choose.choice(("DDIMScheduler", "DPMSolverMultistepScheduler", "LCMScheduler"))
    return run


def loras(choose: random.Random, kind: str, pipe, scratch: Path) -> list[str]:
    """Adds random LoRAs to the pipeline; the example's arguments for them."""
    made, arguments = [], []
    if not isinstance(pipe.unet.config.layers_per_block, int):
        return []  # diffusers' set_adapters fails with a list
    for _ in range(choose.choice((0, 0, 1, 2))):
        made.append(("--lora", *lora(pipe, choose, choose.choice(LAYOUTS))))
    if not kind.startswith("still") and choose.random() < 0.3:
        made.append(("--motion-lora", *motion_lora(pipe, choose, choose.random() < 0.5)))
    made = [(option, file, state) for option, file, state in made if file]
    scales = {}
    for option, file, state in made:
        name, scale = f"lora_{len(scales)}", choose.choice((-0.8, 0.5, 1.0, 1.4))
        try:
            pipe.load_lora_weights(dict(state), adapter_name=name)
        except ValueError:  # of few keys diffusers can't always tell the layout, and then has loaded a part
            for network in (pipe.unet, pipe.text_encoder):
                if name in getattr(network, "peft_config", {}):
                    network.delete_adapters(name) if network is pipe.unet else network.delete_adapter(name)
            continue
        path = scratch / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in file.items()}, path)
        arguments += [option, f"{path}:{scale}"]
        scales[name] = scale
    if scales:
        pipe.set_adapters(list(scales), list(scales.values()))
    return arguments


def starts(run: dict, scratch: Path) -> list[str]:
    """Writes what the run starts from; the example's arguments for it."""
    pictures, arguments = init_pictures(run), []
    if pictures is None:
        return []
    if run["task"] == "video_to_video":
        folder = scratch / "init"
        folder.mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture.numpy()).save(folder / f"{i:03}.png")
        arguments += ["--init-video", str(folder)]
    else:
        Image.fromarray(pictures[0].numpy()).save(scratch / "init.png")
        arguments += ["--init-image", str(scratch / "init.png")]
    if run["task"] == "inpaint":
        Image.fromarray(mask(run).numpy()).save(scratch / "mask.png")
        arguments += ["--mask-image", str(scratch / "mask.png")]
    return [*arguments, "--strength", str(run["strength"])]


def compare(seed: int, binary: Path, keep: Path | None) -> float:
    choose = random.Random(seed)
    kind = choose.choice(KINDS)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = scratch / "model" if keep is None else keep / str(seed)
        adapter = checkpoint(choose, kind, model)
        run = request(choose, kind, model)
        pipe = load(model, run["task"], adapter)
        enable(pipe, run)
        arguments = loras(choose, kind, pipe, scratch)
        expected = generate(pipe, run)
        if adapter is not None:
            arguments += ["--motion-adapter", str(adapter)]
        if run["free_init"] is not None:
            arguments += ["--free-init", str(run["free_init"]["num_iters"])]
        for key, value in (run["free_noise"] or {}).items():
            arguments += [f"--{key.replace('_', '-')}", str(value)]
        arguments += starts(run, scratch)
        still = run["task"] in IMAGE
        options = tuple(key for key in (*OPTIONS, "clip_skip") if not (still and key == "num_frames"))
        if str(binary) == "none":
            found = expected
        else:
            found = run_rust(binary, model, run, scratch, "picture.png" if still else "video.mp4", options, arguments)
        if found.numel() != expected.numel():
            raise RuntimeError(f"frames of {tuple(found.shape)}, not of {tuple(expected.shape)}")
        difference = float((found.reshape(expected.shape) - expected).abs().max())
    size = f"{run['num_frames']}x{run['height']}x{run['width']}"
    what = [kind, run["task"], run["scheduler"], f"{run['num_inference_steps']} steps", size]
    what += [argument for argument in arguments if argument.startswith("--")]
    print(f"seed {seed}: {difference:.2e}  {' '.join(what)}  (std {expected.std():.2f})", flush=True)
    return difference


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], compare))
