"""Golden fixtures of crates/t2v-kernels, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_kernels_fixtures.py
"""

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from fixtures import folder_of, generator, inputs, outputs, randomize, weights, write

FOLDER = folder_of("t2v-kernels")


@torch.no_grad()
def resnet_blocks():
    common = dict(non_linearity="silu", in_channels=16)
    config = dict(out_channels=24, temb_channels=20, groups=4, eps=1e-5, output_scale_factor=1.5, **common)
    block = randomize(ResnetBlock2D(**config), 1)
    rng = generator(2)
    x, temb = torch.randn(3, 16, 6, 5, generator=rng), torch.randn(3, 20, generator=rng)
    tensors = weights(block) | inputs(hidden_states=x, temb=temb) | outputs(hidden_states=block(x, temb))
    write(FOLDER / "resnet_block_temb.safetensors", tensors, config=config, call={})

    config = dict(out_channels=16, temb_channels=None, groups=8, eps=1e-6, output_scale_factor=1.0, **common)
    block = randomize(ResnetBlock2D(**config), 3)
    x = torch.randn(2, 16, 4, 7, generator=generator(4))
    tensors = weights(block) | inputs(hidden_states=x) | outputs(hidden_states=block(x, None))
    write(FOLDER / "resnet_block_plain.safetensors", tensors, config=config, call={})


@torch.no_grad()
def samplers():
    cases = {
        "downsample_pad1": (Downsample2D, dict(padding=1, name="op"), (6, 5), {}),
        "downsample_pad0": (Downsample2D, dict(padding=0, name="op"), (7, 5), {}),
        "upsample_2x": (Upsample2D, {}, (3, 4), {}),
        "upsample_to_size": (Upsample2D, {}, (3, 4), {"output_size": [5, 7]}),
    }
    for seed, (name, (build, options, size, call)) in enumerate(cases.items(), 10):
        config = dict(channels=16, use_conv=True, out_channels=16, **options)
        layer = randomize(build(**config), seed)
        x = torch.randn(2, 16, *size, generator=generator(100 + seed))
        tensors = weights(layer) | inputs(hidden_states=x) | outputs(hidden_states=layer(x, **call))
        write(FOLDER / f"{name}.safetensors", tensors, config=config, call=call)


resnet_blocks()
samplers()
