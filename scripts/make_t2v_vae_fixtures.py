"""Golden fixtures of crates/t2v-vae, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_vae_fixtures.py
"""

import json

import torch
from diffusers import AutoencoderKL
from fixtures import folder_of, generator, inputs, outputs, randomize, weights, write

FOLDER = folder_of("t2v-vae")


def config(levels, layers, latents, **others):
    return dict(
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        block_out_channels=levels,
        layers_per_block=layers,
        latent_channels=latents,
        norm_num_groups=4,
        **others,
    )


SMALL = config((8, 16), 1, 4, scaling_factor=0.18215, sample_size=16)
UNLIKE = config(
    (8, 8, 16),
    2,
    3,
    act_fn="silu",
    sample_size=32,
    scaling_factor=0.5,
    shift_factor=0.1,
    use_quant_conv=False,
    use_post_quant_conv=False,
    mid_block_add_attention=False,
)


@torch.no_grad()
def write_vae(name, parameters, seed, frame_size, latent_size, tiled=False):
    vae = randomize(AutoencoderKL(**parameters), seed)
    if tiled:
        vae.enable_tiling()
    rng = generator(100 + seed)
    frames = 2 * torch.rand(2, 3, *frame_size, generator=rng) - 1
    latents = torch.randn(2, parameters["latent_channels"], *latent_size, generator=rng)
    posterior = vae.encode(frames).latent_dist
    tensors = (
        weights(vae)
        | inputs(frames=frames, latents=latents)
        | outputs(mean=posterior.mean, std=posterior.std, decoded=vae.decode(latents).sample)
    )
    write(FOLDER / f"{name}.safetensors", tensors, config=json.loads(vae.to_json_string()), call={"use_tiling": tiled})


write_vae("vae_a", SMALL, 1, (12, 20), (6, 9))
write_vae("vae_b", UNLIKE, 2, (16, 24), (4, 7))
# tiles of 16 x 16 pixels and of 8 x 8 latents
write_vae("vae_tiled", SMALL, 3, (48, 38), (24, 19), tiled=True)
