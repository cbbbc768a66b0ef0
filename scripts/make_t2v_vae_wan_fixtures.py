"""Golden fixtures of Wan's autoencoder in crates/t2v-vae, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_vae_wan_fixtures.py
"""

import json
import math

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanRMS_norm
from fixtures import folder_of, generator, inputs, outputs, weights, write

FOLDER = folder_of("t2v-vae")


def without_cache(forward):
    """Attention at a scale of the encoder is handed a cache, which upstream's block does not take: it could not run at all."""
    return lambda self, x, feat_cache=None, feat_idx=None: forward(self, x)


WanAttentionBlock.forward = without_cache(WanAttentionBlock.forward)


def config(z_dim, **others):
    rng = generator(z_dim)
    mean, std = torch.randn(z_dim, generator=rng), 0.5 + 2 * torch.rand(z_dim, generator=rng)
    mean, std = ([round(float(value), 4) for value in values] for values in (mean, std))
    return dict(z_dim=z_dim, latents_mean=mean, latents_std=std, **others)


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
    vae.decoder.conv_out.weight.mul_(0.6)
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
    base_dim=4,
    dim_mult=[1, 2, 2, 2],
    num_res_blocks=1,
    temperal_downsample=[False, True, True],
    scale_factor_spatial=8,
)
LIKE_2_2 = config(
    5,
    base_dim=3,
    dim_mult=[1, 2, 2, 2],
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
    decoder_base_dim=3,
    dim_mult=[1, 2, 2],
    num_res_blocks=2,
    temperal_downsample=[True, True],
    is_residual=True,
    scale_factor_spatial=4,
)
TILED_PATCHES = config(
    4,
    base_dim=3,
    dim_mult=[1, 2, 2],
    num_res_blocks=1,
    temperal_downsample=[True, True],
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
    scale_factor_spatial=8,
)

ALL = [1, 5, 9]
write_vae("a", SMALL | dict(temperal_downsample=[True], scale_factor_temporal=2), 1, [1, 5], (6, 10), (3, 5))
write_vae("b", SMALL | dict(temperal_downsample=[False], scale_factor_temporal=1), 2, [1, 5], (10, 6), (5, 3))
write_vae("twice", TWICE, 3, ALL, (20, 12), (5, 3))
write_vae("2_1", LIKE_2_1, 4, ALL, (8, 24), (1, 3))
write_vae("2_2", LIKE_2_2, 5, [1, 9], (32, 16), (2, 1))
write_vae("residual", RESIDUAL, 6, [5, 9], (20, 12), (3, 5))
# Tiles of latents: three by three; then of patches, too.
tiling = {"size": [16, 12], "stride": [12, 8]}
write_vae("tiled", TWICE | dict(attn_scales=[]), 7, [5], (32, 20), (8, 5), tiling)
tiling = {"size": [16, 24], "stride": [8, 16]}
write_vae("tiled_patches", TILED_PATCHES, 8, [5], (24, 48), (3, 6), tiling)
