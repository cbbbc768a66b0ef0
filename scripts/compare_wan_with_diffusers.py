"""Compares the Rust example with diffusers on random tiny checkpoints of Wan.

    cargo build --release --example text_to_video
    python scripts/compare_wan_with_diffusers.py [--seed 0] [--count 10] [--keep FOLDER] [--limit 2e-3]

A seed is a folder after Wan 2.1 or after the large or the small model of Wan 2.2, for clips from text or from pictures, at
random; so are its sizes, its scheduler, the request, and whether there are LoRAs. The reference is that of diffusers 0.42.1,
peft 0.21.2, transformers 5.23.0 and torch 2.13.0 in f32. Prints the greatest absolute difference of the frames (0..1) for each
seed; exits with 1 if one is over the limit, or if a run fails. `--binary none` only makes the references.
"""

import contextlib
import random
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import torch
from compare_with_diffusers import OPTIONS, PROMPTS, main, run_rust
from diffusers import WanImageToVideoPipeline, WanPipeline
from fixtures import randomize
from make_t2v_pipeline_wan_fixtures import DPM, EULER, UNIPC
from make_t2v_pipeline_wan_pictures_fixtures import PROCESSORS, VISION, picture
from PIL import Image
from random_loras import wan_lora
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, T5Tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from wan_pipelines import FLOW, RESIDUAL, TOKENIZER, VAE, generate, load, random_text_encoder, random_transformer, random_vae

warnings.filterwarnings("ignore", "Already found a `peft_config`")
HEUN = "FlowMatchHeunDiscreteScheduler"
# How many pictures a clip of each kind may be given.
KINDS = {"t2v": (0,), "t2v_experts": (0,), "ti2v": (0, 1), "i2v": (1,), "i2v_ends": (2,), "i2v_experts": (1, 2)}
WAN_PROMPTS = [
    "tom &amp;amp; jerry\n  at   &quot;home&quot;",
    "&lt;b&gt;5 &times; 3&lt;/b&gt; &#x2603; &#9731; &eacute;t&eacute; &nosuch;",
    "ﬁne Ｗｏｒｄｓ \u3000 “quoted” …",
    "a very long prompt " * 60,
]


def autoencoder_settings(choose: random.Random, kind: str) -> dict:
    latents = choose.randint(2, 5)
    common = dict(
        z_dim=latents,
        base_dim=choose.choice((4, 8)),
        num_res_blocks=choose.randint(1, 2),
        latents_mean=[choose.uniform(-0.5, 0.5) for _ in range(latents)],
        latents_std=[choose.uniform(0.6, 1.6) for _ in range(latents)],
    )
    if kind == "ti2v":
        # The last level has no more channels than the one before it, which its shortcut takes means of.
        multiples = choose.choice(([1, 1, 2, 2], [1, 2, 2, 2], [1, 2, 4, 4], [2, 2, 4, 2]))
        return RESIDUAL | common | dict(dim_mult=multiples, decoder_base_dim=choose.choice((4, 8)))
    halvings = [[False, True, True], [True, True]]
    if kind.startswith("t2v"):
        # diffusers' encoder takes four frames at once, whatever the factor.
        halvings += [[True, False], [True]]
    frames = choose.choice(halvings)
    return VAE | common | dict(
        dim_mult=[choose.choice((1, 2)) for _ in range(len(frames) + 1)],
        temperal_downsample=frames,
        scale_factor_temporal=2 ** sum(frames),
        scale_factor_spatial=2 ** len(frames),
    )


def transformer_settings(choose: random.Random, kind: str, vae: dict, text_dim: int) -> dict:
    heads, width, latents = choose.randint(1, 4), choose.choice((6, 8, 12, 20)), vae["z_dim"]
    return dict(
        num_attention_heads=heads,
        attention_head_dim=width,
        in_channels=2 * latents + vae["scale_factor_temporal"] if kind.startswith("i2v") else latents,
        out_channels=latents,
        text_dim=text_dim,
        freq_dim=choose.choice((8, 16, 32)),
        ffn_dim=choose.choice((20, 32)),
        num_layers=choose.randint(1, 3),
        # The timesteps of tokens are those of patches of this size.
        patch_size=(1, 2, 2) if kind == "ti2v" else choose.choice(((1, 2, 2), (1, 2, 2), (1, 1, 1), (1, 1, 2))),
        cross_attn_norm=choose.random() < 0.7,
        qk_norm=choose.choice(("rms_norm_across_heads", None)),
        eps=choose.choice((1e-6, 1e-5)),
    )


def scheduler(choose: random.Random):
    name = choose.choice((UNIPC, UNIPC, EULER, DPM))
    shift, train = choose.choice((1.0, 3.0, 5.0, round(choose.uniform(0.5, 12), 2))), choose.choice((1000, 1000, 1000, 600))
    if name == EULER:
        settings = dict(shift=shift, shift_terminal=choose.choice((None, None, 0.1)))
    else:
        last = choose.choice(("zero", "sigma_min"))
        settings = FLOW | dict(flow_shift=shift, solver_order=choose.randint(1, 3), final_sigmas_type=last)
    if name == UNIPC:
        # Of bh1 and a last sigma of zero diffusers makes values that are no numbers.
        kind = choose.choice(("bh1", "bh2")) if last == "sigma_min" else "bh2"
        settings |= dict(solver_type=kind, disable_corrector=choose.choice(([], [], [0], [0, 1])))
    if name == DPM:
        settings |= dict(solver_type=choose.choice(("midpoint", "heun")), euler_at_final=choose.random() < 0.3)
    return getattr(diffusers, name)(num_train_timesteps=train, **settings)


def picture_encoder(choose: random.Random) -> dict:
    sizes = dict(
        hidden_size=choose.choice((12, 24)),
        num_hidden_layers=choose.randint(2, 3),
        patch_size=choose.choice((7, 14)),
        hidden_act=choose.choice(("gelu", "quick_gelu")),
    )
    network = CLIPVisionModel(CLIPVisionConfig(**(VISION | sizes)))
    processor = CLIPImageProcessorPil(**choose.choice(PROCESSORS[1:]))
    return dict(image_encoder=randomize(network, choose.randrange(2**32)), image_processor=processor)


def checkpoint(choose: random.Random, kind: str, folder: Path) -> None:
    def seed() -> int:
        return choose.randrange(2**32)

    text = dict(
        d_model=choose.choice((8, 12, 16)),
        d_ff=choose.choice((16, 24)),
        num_layers=choose.randint(1, 3),
        num_heads=choose.randint(1, 4),
        relative_attention_num_buckets=choose.choice((8, 32)),
        relative_attention_max_distance=choose.choice((20, 128)),
    )
    vae = autoencoder_settings(choose, kind)
    sizes = transformer_settings(choose, kind, vae, text["d_model"])
    parts = dict(expand_timesteps=True) if kind == "ti2v" else {}
    if kind in ("i2v", "i2v_ends"):
        parts |= picture_encoder(choose)
        vision, width = parts["image_encoder"].config, sizes["num_attention_heads"] * sizes["attention_head_dim"]
        sizes |= dict(image_dim=vision.hidden_size, added_kv_proj_dim=width)
        if kind == "i2v_ends":
            sizes |= dict(pos_embed_seq_len=2 * ((vision.image_size // vision.patch_size) ** 2 + 1))
    if kind.endswith("_experts"):
        boundary = choose.choice((0.0, 1.0, *(choose.uniform(0.1, 0.97) for _ in range(8))))
        second = random_transformer(seed(), **(sizes | dict(num_layers=choose.randint(1, 2))))
        parts |= dict(transformer_2=second, boundary_ratio=boundary)
    pipe = (WanImageToVideoPipeline if kind.startswith("i2v") else WanPipeline)(
        tokenizer=T5Tokenizer.from_pretrained(TOKENIZER),
        text_encoder=random_text_encoder(seed(), **text),
        vae=random_vae(vae, seed()),
        scheduler=scheduler(choose),
        transformer=random_transformer(seed(), **sizes),
        **parts,
    )
    pipe.to(choose.choice((torch.float32, torch.float16, torch.bfloat16))).save_pretrained(folder)


def request(choose: random.Random, kind: str, count: int, pipe) -> dict:
    patch = pipe.transformer.config.patch_size
    side = max(16, pipe.vae_scale_factor_spatial * max(patch))
    own = type(pipe.scheduler).__name__
    # One frame is none between two, and in ti2v it is the picture itself.
    least = 1 if count == 2 or (kind == "ti2v" and count == 1) else 0
    run = dict(
        prompt=choose.choice(PROMPTS + WAN_PROMPTS),
        negative_prompt=choose.choice((None, "low quality, blurry!", "色调艳丽 &amp;amp; 过曝", "blurred " * 300)),
        seed=choose.choice((0, 42, 2**32 - 1, choose.randrange(2**32))),
        scheduler=own if own == EULER else choose.choice((own, own, UNIPC, EULER, DPM, HEUN)),
        num_inference_steps=choose.randint(1, 8),
        guidance_scale=choose.choice((1.0, 1.5, 3.0, 5.0)),
        width=side * choose.randint(1, 3 if side == 16 else 2),
        height=side * choose.randint(1, 3 if side == 16 else 2),
        num_frames=pipe.vae_scale_factor_temporal * choose.randint(least, 3) + 1,
    )
    if own == EULER and pipe.scheduler.config.shift_terminal:
        run["num_inference_steps"] = max(2, run["num_inference_steps"])  # a single level can't be stretched
    if kind.endswith("_experts"):
        run["guidance_scale_2"] = choose.choice((None, 1.0, 2.0, 4.5))
    return run


def loras(choose: random.Random, pipe, scratch: Path) -> list[str]:
    """Adds random LoRAs to the pipeline; the example's arguments for them."""
    arguments, scales = [], {}
    # All are made before one is loaded, which changes the names of the layers.
    made = [wan_lora(pipe, choose) for _ in range(choose.choice((0, 0, 1, 2)))]
    for state in filter(None, made):
        name, scale = f"lora_{len(scales)}", choose.choice((-0.8, 0.5, 1.0, 1.4))
        is_second = getattr(pipe, "transformer_2", None) is not None and choose.random() < 0.5
        path = scratch / f"{name}{'_low_noise' if is_second else ''}.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path)
        pipe.load_lora_weights(str(path), adapter_name=name, load_into_transformer_2=is_second)
        arguments += ["--lora", f"{path}:{scale}"]
        scales[name] = scale
    if scales:
        pipe.set_adapters(list(scales), list(scales.values()))
    return arguments


def starts(choose: random.Random, run: dict, count: int, scratch: Path) -> tuple[list[Image.Image], list[str]]:
    """The pictures that a clip begins and ends with, and the example's arguments for them."""
    pictures, arguments = [], []
    for option in ("--init-image", "--last-image")[:count]:
        size = choose.choice(((run["width"], run["height"]), (choose.randint(12, 70), choose.randint(12, 70))))
        pictures.append(picture(*size, choose.randrange(2**32)))
        path = scratch / f"{option[2:]}.png"
        pictures[-1].save(path)
        arguments += [option, str(path)]
    return pictures, arguments


def compare(seed: int, binary: Path, keep: Path | None) -> float:
    choose = random.Random(seed)
    kind = choose.choice(list(KINDS))
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = scratch / "model" if keep is None else keep / str(seed)
        checkpoint(choose, kind, model)
        count = choose.choice(KINDS[kind])
        pipe = load(model, count > 0)
        run = request(choose, kind, count, pipe)
        pictures, arguments = starts(choose, run, count, scratch)
        arguments += loras(choose, pipe, scratch)
        arguments += ["--memory-mode", choose.choice(("resident", "sequential", "streamed"))]
        expected = generate(pipe, run, pictures)
        options = [key for key in (*OPTIONS, "guidance_scale_2") if key in run]
        found = expected if str(binary) == "none" else run_rust(binary, model, run, scratch, "video.mp4", options, arguments)
        if found.numel() != expected.numel():
            raise RuntimeError(f"frames of {tuple(found.shape)}, not of {tuple(expected.shape)}")
        difference = float((found.reshape(expected.shape) - expected).abs().max())
    size = f"{run['num_frames']}x{run['height']}x{run['width']}"
    what = [kind, run["scheduler"], f"{run['num_inference_steps']} steps", size, f"{count} pictures", arguments[-1]]
    what += ["--lora"] * arguments.count("--lora")
    print(f"seed {seed}: {difference:.2e}  {' '.join(what)}  (std {expected.std():.2f})", flush=True)
    return difference


if __name__ == "__main__":
    sys.exit(main(__doc__.splitlines()[0], compare))
