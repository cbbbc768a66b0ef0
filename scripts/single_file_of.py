"""Writes a folder of Stable Diffusion 1.x or 2.x as one file in latent-diffusion's layout, to compare the two.

    python scripts/single_file_of.py FOLDER FILE.safetensors        # or FILE.ckpt, a pickle wrapped in `state_dict`
    python scripts/single_file_of.py --open-clip FOLDER FILE        # the text encoder under OpenCLIP's names, as in 2.x

The names are those of which diffusers' own conversion makes the folder's again; that `from_single_file` gives the same
weights is checked.
"""

import argparse
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders import single_file_utils as single_file
from ldm_layout import clip, open_clip, unet, vae
from safetensors.torch import save_file


def sources(shapes, converted):
    """Which tensor of the file each of the model's is made of: `converted` has places in the list of `shapes`."""
    names = list(shapes)
    return {key.removeprefix("text_model."): names[int(value.reshape(-1)[0])] for key, value in converted.items()}


def numbered(shapes):
    return {key: torch.tensor(float(i)).expand(shape) for i, (key, shape) in enumerate(shapes.items())}


def fill(shapes, taken, state):
    """The file's tensors with the model's values; those that no model has are zeros."""
    parts = {}
    for name, source in taken.items():
        if name in state:
            parts.setdefault(source, []).append(state[name])
    dtype = next(iter(state.values())).dtype
    tensors = {key: torch.zeros(shape, dtype=dtype) for key, shape in shapes.items()}
    for source, values in parts.items():
        tensors[source] = torch.cat(values).reshape(shapes[source]).contiguous()
    return tensors


def in_one(pipe, as_open_clip):
    config = dict(pipe.unet.config)
    attention = sum("CrossAttn" in kind for kind in config["down_block_types"])
    sizes = config["block_out_channels"], config["layers_per_block"], config["cross_attention_dim"]
    shapes = unet(config["in_channels"], *sizes, config["use_linear_projection"], attention)
    taken = sources(shapes, single_file.convert_ldm_unet_checkpoint(numbered(shapes), config))
    tensors = fill(shapes, taken, pipe.unet.state_dict())
    config = dict(pipe.vae.config)
    shapes = vae(config["block_out_channels"], config["layers_per_block"], config["latent_channels"])
    taken = sources(shapes, single_file.convert_ldm_vae_checkpoint(numbered(shapes), config))
    tensors |= fill(shapes, taken, pipe.vae.state_dict())
    config = pipe.text_encoder.config
    sizes = config.hidden_size, config.num_hidden_layers, config.vocab_size, config.max_position_embeddings
    shapes = (open_clip if as_open_clip else clip)(*sizes, inner=config.intermediate_size)
    if as_open_clip:
        converted = single_file.convert_open_clip_checkpoint(pipe.text_encoder, numbered(shapes))
    else:
        converted = single_file.convert_ldm_clip_checkpoint(numbered(shapes))
    return tensors | fill(shapes, sources(shapes, converted), pipe.text_encoder.state_dict())


def check(path, folder):
    """diffusers gets the folder's weights from the file."""
    kinds = dict(config=str(folder), safety_checker=None, feature_extractor=None)
    found, wanted = StableDiffusionPipeline.from_single_file(str(path), **kinds), StableDiffusionPipeline.from_pretrained(folder)
    for name in ("unet", "vae", "text_encoder"):
        expected = getattr(wanted, name).state_dict()
        for key, value in getattr(found, name).state_dict().items():
            assert torch.equal(value.float(), expected[key].float()), (name, key)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open-clip", action="store_true")
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    pipe = StableDiffusionPipeline.from_pretrained(options.folder, torch_dtype=torch.float16)
    tensors = in_one(pipe, options.open_clip)
    if options.file.suffix == ".safetensors":
        save_file(tensors, options.file)
    else:
        torch.save({"epoch": 1, "global_step": 2, "state_dict": tensors}, options.file)
    check(options.file, options.folder)
    print(f"{options.file}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
