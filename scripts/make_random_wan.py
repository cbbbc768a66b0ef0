"""Writes a checkpoint with the architecture of Wan 2.1's 1.3B model and random weights: for measuring time and memory, not for
looking at.

    python scripts/make_random_wan.py FOLDER [--layers 30] [--text-layers 2]

Of diffusers 0.42.1, transformers 5 and torch 2. The transformer is in bf16 as Wan's own (2.8 GB), the autoencoder in f32 (0.5 GB). UMT5-XXL has
24 layers and 11 GB; two narrow ones stand for it unless `--text-layers 24` asks for the whole. The tokenizer is that of the tests.
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


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--text-layers", type=int, default=2)
    args = parser.parse_args()
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(TOKENIZER, folder / "tokenizer", dirs_exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2))
    with torch.device("meta"):
        transformer = WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=args.layers)
    transformer.save_config(folder / "transformer")
    save(transformer, folder / "transformer", "diffusion_pytorch_model", torch.bfloat16)
    with torch.device("meta"):
        vae = AutoencoderKLWan()
    vae.save_config(folder / "vae")
    save(vae, folder / "vae", "diffusion_pytorch_model", torch.float32)
    vocabulary = len(json.loads((TOKENIZER / "tokenizer.json").read_text())["model"]["vocab"])
    size = UMT5_XXL if args.text_layers == 24 else NARROW
    config = UMT5Config(vocab_size=vocabulary + 300, num_layers=args.text_layers, **size)
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
