"""Golden fixtures of Wan's autoencoder in crates/t2v-vae, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_vae_wan_fixtures.py

`wan_keys.json.gz` has all tensors of the real files in the layout of Wan's own code, and what diffusers' model calls each.
"""

import gzip
import json
import math

import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanRMS_norm
from fixtures import CRATES, folder_of, generator, inputs, outputs, weights, write
from wan_vae_layout import wan_vae

FOLDER = folder_of("t2v-vae")


def without_cache(forward):
    """Attention at a scale of the encoder is handed a cache, which upstream's block does not take: it could not run at all."""
    return lambda self, x, feat_cache=None, feat_idx=None: forward(self, x)


WanAttentionBlock.forward = without_cache(WanAttentionBlock.forward)


def config(z_dim, **others):
    rng = generator(z_dim)
    mean, std = torch.randn(z_dim, generator=rng), 0.5 + 2 * torch.rand(z_dim, generator=rng)
    rounded = lambda values: [round(float(value), 4) for value in values]
    return dict(z_dim=z_dim, latents_mean=rounded(mean), latents_std=rounded(std), **others)


@torch.no_grad()
def randomize(vae, seed):
    """As in `fixtures`, with normalisations whose scales are not near 0."""
    rng = generator(seed)
    for owner in vae.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            uniform = 2 * torch.rand(parameter.shape, generator=rng) - 1
            if isinstance(owner, WanRMS_norm):
                value = 1 + 0.3 * uniform
            elif parameter.ndim == 1:
                value = 0.2 * uniform
            else:
                value = torch.randn(parameter.shape, generator=rng) / math.sqrt(parameter[0].numel())
            parameter.copy_(value)
    # Frames are clamped to -1..1, which should be the exception.
    vae.decoder.conv_out.weight.mul_(0.25)
    return vae.eval()


def tiles_of(tiling):
    (height, width), (down, right) = tiling["size"], tiling["stride"]
    return dict(
        tile_sample_min_height=height,
        tile_sample_min_width=width,
        tile_sample_stride_height=down,
        tile_sample_stride_width=right,
    )


@torch.no_grad()
def tensors_of(vae, seed, frames, frame_size, latent_size):
    latents_mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    inverse = 1.0 / torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    tensors = {}
    for count in frames:
        rng = generator(100 * seed + count)
        clip = 2 * torch.rand(1, 3, count, *frame_size, generator=rng) - 1
        posterior = vae.encode(clip).latent_dist
        latent_frames = (count - 1) // (vae.config.scale_factor_temporal) + 1
        latents = torch.randn(1, vae.config.z_dim, latent_frames, *latent_size, generator=rng)
        decoded = vae.decode(latents / inverse + latents_mean).sample
        assert decoded.shape[2] == count and bool((decoded.abs() < 1).float().mean() > 0.9)
        tensors |= inputs(**{f"clip_{count}": clip, f"latents_{count}": latents}) | outputs(
            **{
                f"mean_{count}": posterior.mean,
                f"std_{count}": posterior.std,
                f"normalized_{count}": (posterior.mode() - latents_mean) * inverse,
                f"decoded_{count}": decoded,
            }
        )
    return tensors


def write_vae(name, parameters, seed, frames, frame_size, latent_size, tiling=None):
    vae = randomize(AutoencoderKLWan(**parameters), seed)
    if tiling:
        vae.enable_tiling(**tiles_of(tiling))
    tensors = weights(vae) | tensors_of(vae, seed, frames, frame_size, latent_size)
    call = {"frames": frames, "tiling": tiling}
    path = FOLDER / f"wan_{name}.safetensors"
    write(path, tensors, config=json.loads(vae.to_json_string()), call=call)
    assert path.stat().st_size < 300_000


SMALL = config(3, base_dim=4, dim_mult=[1, 2], num_res_blocks=1, scale_factor_spatial=2)
HALVED_ONCE = SMALL | dict(temperal_downsample=[True], scale_factor_temporal=2)
NEVER = SMALL | dict(temperal_downsample=[False], scale_factor_temporal=1)
TWICE = config(
    4,
    base_dim=4,
    dim_mult=[1, 2, 1],
    num_res_blocks=2,
    attn_scales=[0.5],
    temperal_downsample=[True, True],
    scale_factor_spatial=4,
)
LIKE_2_1 = config(
    3,
    base_dim=2,
    decoder_base_dim=4,
    dim_mult=[1, 2, 4, 4],
    num_res_blocks=1,
    temperal_downsample=[False, True, True],
    scale_factor_spatial=8,
)
LIKE_2_2 = config(
    5,
    base_dim=2,
    decoder_base_dim=3,
    dim_mult=[1, 2, 4, 4],
    num_res_blocks=1,
    temperal_downsample=[False, True, True],
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
    scale_factor_spatial=16,
)
RESIDUAL = config(
    4,
    base_dim=4,
    dim_mult=[1, 2, 2],
    num_res_blocks=2,
    temperal_downsample=[True, True],
    is_residual=True,
    scale_factor_spatial=4,
)


def case(model, shapes):
    """Name, shape and the source's place of every tensor of a model; Wan 2.2 by the rules of diffusers' script for it."""
    numbered = {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}
    converted = convert_wan_vae_to_diffusers(numbered)
    if model.config.is_residual:
        converted = {residual_name(key): value for key, value in converted.items()}
        converted = convert_wan_vae_to_diffusers(converted)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in converted.items()} == wanted
    taken = [[key, list(value.shape), int(value.reshape(-1)[0])] for key, value in converted.items()]
    assert len({place for _, _, place in taken}) == len(shapes)
    return {"file": [[key, shape] for key, shape in shapes.items()], "taken": taken}


def residual_name(key):
    for side in ("down", "up"):
        for outer in (f".{side}samples.", f".{side}_blocks."):
            head, found, rest = key.partition(outer)
            if not found:
                continue
            level, _, _, name = rest.split(".", 3) if f".{side}samples." in "." + rest else (None, None, None, None)
            if level is None:
                continue
            layer = rest.split(".")[2]
            part = f"{side}sampler" if "resample" in name or "time_conv" in name else f"resnets.{layer}"
            for old, new in (("residual.0", "norm1"), ("residual.2", "conv1"), ("residual.3", "norm2"), ("residual.6", "conv2"), ("shortcut", "conv_shortcut")):
                name = name.replace(old, new)
            return f"{head}.{side}_blocks.{level}.{part}.{name}"
    return key
