"""Fixtures of checkpoints in one file, converted by diffusers 0.42.1.

    python scripts/make_single_file_fixtures.py

For t2v-denoiser, t2v-vae and t2v-text-encoder `ldm_keys.json.gz`: of each real architecture all tensors of the file, and of
the model that diffusers makes of it each tensor's name, shape and source. For t2v-vae and t2v-text-encoder also
small networks in the file's layout, with what diffusers and transformers compute; for t2v-weights pickles that name objects.
"""

import gzip
import json
import math
import os
import pickle
import re
from collections import OrderedDict

import numpy
import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, MotionAdapter, UNet2DConditionModel
from diffusers.loaders import single_file_utils as single_file
from fixtures import CRATES, folder_of, generator, inputs, outputs, write
from ldm_layout import OPEN_CLIP, clip, motion_module, open_clip, unet, vae
from transformers import CLIPTextConfig, CLIPTextModel
from wan_vae_layout import wan_vae

WIDTHS = [320, 640, 1280, 1280]


def numbered(shapes):
    """Tensors that take no memory and hold their place in the list: what was made of each can be told by its values."""
    return {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


def expected(model, shapes, converted, ignored=()):
    """Name, shape and the source's place of every tensor, which have to be the model's state dictionary."""
    names = list(shapes)
    converted = {key.removeprefix("text_model."): value for key, value in converted.items()}
    converted = {key: value for key, value in converted.items() if not key.endswith(tuple(ignored) or ("\0",))}
    wanted = {key: value.shape for key, value in model.state_dict().items() if not key.endswith(tuple(ignored) or ("\0",))}
    assert {key: value.shape for key, value in converted.items()} == wanted
    taken = []
    for key, value in converted.items():
        place = int(value.reshape(-1)[0])
        assert bool((value == place).all()), names[place]
        taken.append([key, list(value.shape), place])
    return {"file": [[key, shape] for key, shape in shapes.items()], "taken": taken}


def on_meta(make):
    with torch.device("meta"):
        return make()


def unet_case(config):
    """The attention's levels are all but the last."""
    sizes = config["block_out_channels"], config["layers_per_block"], config["cross_attention_dim"]
    levels = len(config["block_out_channels"]) - 1
    shapes = unet(config["in_channels"], *sizes, config["use_linear_projection"], levels)
    model = on_meta(lambda: UNet2DConditionModel.from_config(config))
    case = expected(model, shapes, single_file.convert_ldm_unet_checkpoint(numbered(shapes), config))
    return case | {"config": dict(config)}


def unet_config(context, heads, linear, sample_size, widths=WIDTHS, layers=2):
    return {
        "in_channels": 4,
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D"] * (len(widths) - 1) + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (len(widths) - 1),
        "layers_per_block": layers,
        "cross_attention_dim": context,
        "attention_head_dim": heads,
        "use_linear_projection": linear,
        "sample_size": sample_size,
    }


def vae_case(widths, layers, sample_size):
    config = {
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "layers_per_block": layers,
        "latent_channels": 4,
        "norm_num_groups": min(32, *widths),
        "sample_size": sample_size,
    }
    shapes = vae(widths, layers)
    model = on_meta(lambda: AutoencoderKL.from_config(config))
    case = expected(model, shapes, single_file.convert_ldm_vae_checkpoint(numbered(shapes), config))
    return case | {"config": config}


def wan_levels(key):
    """Wan 2.2's levels, each a list of layers, as diffusers' script for that model has them."""
    for side, block in (("down", "encoder"), ("up", "decoder")):
        level = rf"^{block}\.{side}samples\.(\d+)\.{side}samples\.(\d+)\."
        key = re.sub(level + "(resample|time_conv)", rf"{block}.{side}_blocks.\1.{side}sampler.\3", key)
        key = re.sub(level, rf"{block}.{side}_blocks.\1.resnets.\2.", key)
    if "_blocks." in key:
        layers = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2", "residual.6": "conv2"}
        for old, new in layers.items():
            key = key.replace(f".{old}.", f".{new}.")
        key = key.replace(".shortcut.", ".conv_shortcut.")
    return key


def wan_vae_case(**config):
    model = on_meta(lambda: AutoencoderKLWan(**config))
    config = {key: value for key, value in model.config.items() if not key.startswith("_")}
    shapes = wan_vae(config | {"decoder_base_dim": config["decoder_base_dim"] or config["base_dim"]})
    tensors = numbered(shapes)
    if config["is_residual"]:
        tensors = {wan_levels(key): value for key, value in tensors.items()}
    case = expected(model, shapes, single_file.convert_wan_vae_to_diffusers(tensors))
    return case | {"config": config}


def motion_case(positions, middle):
    shapes = motion_module(WIDTHS, 2, positions, middle)
    config = {"motion_max_seq_length": positions, "use_motion_mid_block": middle}
    model = on_meta(lambda: MotionAdapter(**config))
    converted = single_file.convert_animatediff_checkpoint_to_diffusers(numbered(shapes))
    case = expected(model, shapes, converted, ignored=(".pos_embed.pe",))
    config = {key: value for key, value in model.config.items() if not key.startswith("_")}
    return case | {"config": config}


def clip_case(shapes, config, convert):
    model = on_meta(lambda: CLIPTextModel(config))
    return expected(model, shapes, convert(model, numbered(shapes)), ignored=("position_ids", "text_projection.weight"))


def to_clip(_, checkpoint):
    return single_file.convert_ldm_clip_checkpoint(checkpoint)


def to_open_clip(model, checkpoint):
    return single_file.convert_open_clip_checkpoint(model, checkpoint, prefix=OPEN_CLIP)


def write_keys(crate, cases):
    path = folder_of(crate) / "ldm_keys.json.gz"
    path.write_bytes(gzip.compress(json.dumps(cases).encode(), mtime=0))
    counts = {name: (len(case["file"]), len(case["taken"])) for name, case in cases.items()}
    print(f"{path.relative_to(CRATES)}  {path.stat().st_size} bytes  {counts}")


def real_architectures():
    heads = [5, 10, 20, 20]
    cases = {
        "v1": unet_case(unet_config(768, 8, False, 64)),
        "v2": unet_case(unet_config(1024, heads, True, 96)),
        "small": unet_case(unet_config(16, 4, False, 8, widths=[32, 64], layers=1)),
        "deep": unet_case(unet_config(16, 4, False, 8, widths=[32, 64, 32], layers=4)),
    }
    assert len(cases["v1"]["file"]) == 686
    modules = {"mm_sd_v14": (24, False), "mm_sd_v15_v2": (32, True), "v3_sd15_mm": (32, False)}
    write_keys("t2v-denoiser", cases | {name: motion_case(*module) for name, module in modules.items()})

    # The second is that of a small model of t2v-pipeline.
    cases = {"vae": vae_case([128, 256, 512, 512], 2, 512), "small": vae_case([8, 8, 16], 1, 32)}
    cases["wan_2_1"] = wan_vae_case()
    cases["wan_2_2"] = wan_vae_case(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )
    write_keys("t2v-vae", cases)

    first = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    second = CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16)
    cases = {
        "clip": clip_case(clip(768, 12, 49408), first, to_clip),
        "open_clip": clip_case(open_clip(1024, 24, 49408), second, to_open_clip),
    }
    write_keys("t2v-text-encoder", cases)


def random_tensors(shapes, seed, dtype=torch.float32):
    """Weights under which activations stay near 1, every one other than zero."""
    rng, tensors = generator(seed), {}
    for key, shape in shapes.items():
        if key.endswith("position_ids"):
            tensors[key] = torch.arange(shape[-1]).reshape(shape)
            continue
        value = torch.randn(shape, generator=rng)
        if len(shape) > 1 and "embedding" not in key:
            value = value / math.sqrt(value[0].numel())
        elif len(shape) == 1:
            is_norm = key.endswith("weight")
            value = 1 + 0.2 * value.clamp(-2, 2) if is_norm else 0.2 * value
        tensors[key] = value.to(dtype)
    return tensors


def filled(model, converted):
    """The model with a converted checkpoint, which has all of its weights."""
    missing, _ = model.load_state_dict({key.removeprefix("text_model."): value for key, value in converted.items()}, strict=False)
    assert not missing, missing
    return model.eval()


def as_weights(tensors):
    return {f"weights.{key}": value for key, value in tensors.items()}


SMALL_VAE = {
    "block_out_channels": [4, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 2,
    "sample_size": 16,
}


@torch.no_grad()
def small_vae():
    tensors = random_tensors(vae(SMALL_VAE["block_out_channels"], 1), 1, torch.float16)
    model = AutoencoderKL.from_config(SMALL_VAE)
    filled(model, single_file.convert_ldm_vae_checkpoint(tensors, SMALL_VAE))
    rng = generator(101)
    frames = 2 * torch.rand(1, 3, 12, 8, generator=rng) - 1
    latents = torch.randn(1, 4, 3, 2, generator=rng)
    results = outputs(mean=model.encode(frames).latent_dist.mean, decoded=model.decode(latents).sample)
    tensors = as_weights(tensors) | inputs(frames=frames, latents=latents) | results
    write(folder_of("t2v-vae") / "ldm_vae.safetensors", tensors, config=SMALL_VAE)


def small_clip(act, words=32, tokens=12):
    return CLIPTextConfig(
        hidden_size=8,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=words,
        max_position_embeddings=tokens,
        hidden_act=act,
        eos_token_id=words - 1,
    )


@torch.no_grad()
def small_text_encoders():
    for name, act, shapes, convert in [
        ("ldm_clip", "quick_gelu", clip(8, 2, 32, 12), to_clip),
        ("ldm_open_clip", "gelu", open_clip(8, 2, 32, 12), to_open_clip),
    ]:
        config, tensors = small_clip(act), random_tensors(shapes, 2)
        model = CLIPTextModel(config)
        filled(model, convert(model, tensors))
        ids = torch.randint(0, 32, (2, 12), generator=generator(102))
        hidden = model(ids).last_hidden_state
        tensors = as_weights(tensors) | inputs(input_ids=ids) | outputs(hidden=hidden)
        write(folder_of("t2v-text-encoder") / f"{name}.safetensors", tensors, config=config.to_dict())


class Call:
    """Unpickled, it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def pickles():
    """A checkpoint with tensors wrapped as in training, and some that would call functions, in three containers."""
    folder = folder_of("t2v-weights")
    state = {"module.norms.0.weight": torch.arange(3.0), "module.count": torch.tensor([7])}
    epochs = OrderedDict(epoch=3, loss=numpy.float64(0.5))
    torch.save({"epoch": epochs, "state_dict": state, "callbacks": {}}, folder / "wrapped.ckpt")
    calls = {"state_dict": state, "zzz": Call(os.getenv, "HOME")}
    torch.save(calls, folder / "calls.ckpt")
    # Without tensors, which the old layout numbers by their addresses.
    torch.save({"zzz": calls["zzz"]}, folder / "calls_legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(calls, folder / "calls_4.ckpt", pickle_protocol=4)
    (folder / "calls_0.ckpt").write_bytes(pickle.dumps([Call(os.getenv, "HOME")], protocol=0))
    for path in sorted(folder.glob("*.ckpt")):
        print(f"{path.relative_to(CRATES)}  {path.stat().st_size} bytes")


def main():
    real_architectures()
    small_vae()
    small_text_encoders()
    pickles()


if __name__ == "__main__":
    main()
