"""Writes transformer and autoencoder of a folder of Wan as files in the layout of Wan's own code, which stable-diffusion.cpp reads.

    python scripts/wan_single_files_of.py FOLDER OUT [--gguf Q8_0]

OUT/transformer.safetensors and OUT/vae.safetensors hold the folder's values as they are. The names are those of which
diffusers' own conversion makes the folder's again, which is checked. With `--gguf` (and gguf 0.19.0) the transformer is in
OUT/transformer-KIND.gguf, too, its matrices in blocks of that kind, of the older ones.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers.loaders import single_file_utils as single_file
from safetensors import safe_open
from safetensors.torch import save_file
from wan_layout import original_key
from wan_vae_layout import wan_vae

def read(folder):
    """All tensors of a component, however many files they are in."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}
    if not tensors:
        raise SystemExit(f"{folder} has no *.safetensors")
    return tensors


def transformer(folder):
    return {original_key(name): value for name, value in read(folder).items()}


def vae(folder):
    """Wan's tensors are numbered, and diffusers says which of its own each becomes."""
    config = json.loads((folder / "config.json").read_text())
    config["decoder_base_dim"] = config["decoder_base_dim"] or config["base_dim"]
    shapes = wan_vae(config)
    names, state = list(shapes), read(folder)
    numbered = {name: torch.tensor(float(i)).expand(shape) for i, (name, shape) in enumerate(shapes.items())}
    converted = single_file.convert_wan_vae_to_diffusers(numbered)
    return {
        names[int(value.reshape(-1)[0])]: state[name].reshape(shapes[names[int(value.reshape(-1)[0])]])
        for name, value in converted.items()
    }


def check(tensors, convert, folder):
    expected, found = read(folder), convert(dict(tensors))
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].reshape(value.shape), value), name


def save_gguf(tensors, path, kind):
    """Matrices in blocks, the rest in f32."""
    from gguf import GGMLQuantizationType as Type
    from gguf_blocks import quantize, stream

    def entry(name, value):
        shape, is_matrix = tuple(value.shape), value.ndim == 2 and value.shape[1] % 256 == 0
        of = Type[kind] if is_matrix else Type.F32
        return name, shape, of, name, lambda: quantize(value.float().numpy(), of)

    stream(path, "wan", [entry(name, value) for name, value in tensors.items()])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gguf", metavar="KIND")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, take, convert in [
        ("transformer", transformer, single_file.convert_wan_transformer_to_diffusers),
        ("vae", vae, single_file.convert_wan_vae_to_diffusers),
    ]:
        tensors = take(args.folder / name)
        check(tensors, convert, args.folder / name)
        save_file({key: value.contiguous() for key, value in tensors.items()}, args.out / f"{name}.safetensors")
        if args.gguf and name == "transformer":
            save_gguf(tensors, args.out / f"transformer-{args.gguf}.gguf", args.gguf)


if __name__ == "__main__":
    main()
