"""Writes a checkpoint with the architecture of Wan 2.1's 1.3B or 14B model and random weights: for measuring time and memory, not
for looking at.

    python scripts/make_random_wan.py FOLDER [--size 14B] [--layers 30] [--text-layers 2] [--gguf Q8_0 [--shared-blocks]]

Of diffusers 0.42.1, transformers 5 and torch 2. The transformer is in bf16 as Wan's own (2.8 GB, or 28), the autoencoder in f32 (0.5 GB). UMT5-XXL has
24 layers and 11 GB; two narrow ones stand for it unless `--text-layers 24` asks for the whole. The tokenizer is that of the tests.

With `--gguf` (and gguf 0.19.0) the transformer is `FOLDER/transformer.gguf`, in Wan's own layout, its matrices in blocks of that kind
or BF16: 1.3B in Q8_0 takes 1.5 GB, 14B in Q4_K 8 GB. Of `--shared-blocks` all have the bytes of the first one, so that 14B in BF16
takes 1.2 GB on disk and 28 GB once they are read.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from safetensors.torch import save_file
from transformers import UMT5Config, UMT5EncoderModel

TOKENIZER = Path(__file__).parents[1] / "crates/t2v-pipeline/tests/fixtures/wan_a/tokenizer"
INDEX = {
    "_class_name": "WanPipeline",
    "boundary_ratio": None,
    "expand_timesteps": False,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
SIZES = {
    "1.3B": dict(num_attention_heads=12, ffn_dim=8960, num_layers=30),
    "14B": dict(num_attention_heads=40, ffn_dim=13824, num_layers=40),
}
UMT5_XXL = dict(d_model=4096, d_ff=10240, d_kv=64, num_heads=64)
NARROW = dict(d_model=4096, d_ff=256, d_kv=64, num_heads=4)


def save(model, folder: Path, name: str, dtype: torch.dtype):
    """Small random values everywhere, also in layers that are initialised to zero; norms near one."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for key, value in model.state_dict().items():
        if "norm" in key and key.endswith(("weight", "gamma")):
            value = torch.ones(value.shape)
        elif key.endswith("scale_shift_table") or value.ndim == 1:
            value = torch.randn(value.shape, generator=generator) * 0.02
        else:
            value = torch.randn(value.shape, generator=generator) * (0.5 / value[0].numel() ** 0.5)
        tensors[key] = value.to(dtype).contiguous()
    save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    print(folder.name, sum(t.numel() for t in tensors.values()) / 1e6, "million parameters", flush=True)


def save_gguf(model, path: Path, kind: str, shared: bool):
    """The transformer in Wan's own layout: matrices in blocks, the rest in f32. Vectors are small, also those of normalisations
    near one."""
    import numpy
    from gguf import GGMLQuantizationType as Type
    from gguf_blocks import random_blocks, stream
    from wan_layout import original_key

    rng, wanted = numpy.random.default_rng(0), Type[kind]

    def values(key: str, shape: tuple, kind: Type):
        if kind == Type.F32:
            noise = rng.standard_normal(shape, dtype=numpy.float32) * numpy.float32(0.02)
            return noise + numpy.float32(1) if "norm" in key else noise
        deviation = 0.5 / shape[1] ** 0.5
        if kind == Type.BF16:
            noise = rng.standard_normal(shape, dtype=numpy.float32) * numpy.float32(deviation)
            return (noise.view(numpy.uint32) >> 16).astype(numpy.uint16)
        return random_blocks(kind, *shape, deviation, rng)

    tensors = []
    for key, value in model.state_dict().items():
        name, shape = original_key(key), tuple(value.shape)
        of = wanted if len(shape) == 2 and shape[1] % 256 == 0 else Type.F32
        alike = ".".join([name.split(".")[0], *name.split(".")[2:]]) if shared and name.startswith("blocks.") else name
        tensors.append((name, shape, of, alike, lambda key=key, shape=shape, of=of: values(key, shape, of)))
    stream(path, "wan", tensors)
    print(path.name, path.stat().st_size / 1e9, "GB", flush=True)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="1.3B")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--text-layers", type=int, default=2)
    parser.add_argument("--gguf", metavar="KIND")
    parser.add_argument("--shared-blocks", action="store_true")
    args = parser.parse_args()
    size = SIZES[args.size] | ({"num_layers": args.layers} if args.layers else {})
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(TOKENIZER, folder / "tokenizer", dirs_exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2))
    with torch.device("meta"):
        transformer = WanTransformer3DModel(**size)
    transformer.save_config(folder / "transformer")
    if args.gguf:
        save_gguf(transformer, folder / "transformer.gguf", args.gguf, args.shared_blocks)
    else:
        save(transformer, folder / "transformer", "diffusion_pytorch_model", torch.bfloat16)
    with torch.device("meta"):
        vae = AutoencoderKLWan()
    vae.save_config(folder / "vae")
    save(vae, folder / "vae", "diffusion_pytorch_model", torch.float32)
    vocabulary = len(json.loads((TOKENIZER / "tokenizer.json").read_text())["model"]["vocab"])
    width = UMT5_XXL if args.text_layers == 24 else NARROW
    config = UMT5Config(vocab_size=vocabulary + 300, num_layers=args.text_layers, **width)
    with torch.device("meta"):
        text_encoder = UMT5EncoderModel(config)
    config.architectures = ["UMT5EncoderModel"]
    save(text_encoder, folder / "text_encoder", "model", torch.bfloat16)
    config.to_json_file(folder / "text_encoder" / "config.json")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    ).save_config(folder / "scheduler")


if __name__ == "__main__":
    main()
