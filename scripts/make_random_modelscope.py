"""Writes a checkpoint with the architecture of ModelScope's text-to-video model (1.4 billion parameters in the UNet) and
random weights, in half precision: for measuring time and memory, not for looking at.

    python scripts/make_random_modelscope.py FOLDER [--device cuda] [--tiny]

Of diffusers 0.42.1, transformers 5 and torch 2. Needs 4.5 GB on disk and 12 GB of memory, the device's with `--device`, which
is faster and gives other weights. `--tiny` is a narrow and shallow relative (some 5 MB), to try programs with.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from safetensors.torch import save_file
from small_tokenizer import save_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel

INDEX = {
    "_class_name": "TextToVideoSDPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET = {
    "full": {},
    "tiny": dict(
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        block_out_channels=(32, 32),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=16,
    ),
}
VAE = {
    "full": dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2),
    "tiny": dict(block_out_channels=(32,) * 4, layers_per_block=1),
}
TEXT = {
    "full": dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16),
    "tiny": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
}


def save(model, folder: Path, name: str, device: str):
    """Small random values everywhere, also in layers that are initialised to zero."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator(device).manual_seed(0)
    tensors = {}
    for key, value in model.state_dict().items():
        if key.endswith("pos_embed.pe"):
            pass  # positions, which aren't learnt
        elif value.ndim > 1:
            value = torch.randn(value.shape, generator=generator, device=device) * (0.5 / value[0].numel() ** 0.5)
        elif "norm" in key and key.endswith("weight"):
            value = torch.ones(value.shape)
        tensors[key] = value.half().contiguous().cpu()
    save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
    print(folder.name, sum(t.numel() for t in tensors.values()) / 1e6, "million parameters", flush=True)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu", help="where torch draws the weights")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    folder, size = args.folder, "tiny" if args.tiny else "full"
    tokenizer = save_tokenizer(folder / "tokenizer", 77, merges=300)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2))
    with torch.device(args.device):
        unet = UNet3DConditionModel(sample_size=32, **UNET[size])
    unet.save_config(folder / "unet")
    save(unet, folder / "unet", "diffusion_pytorch_model", args.device)
    del unet
    with torch.device(args.device):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=512,
            force_upcast=False,  # ModelScope's own file is older than the key, which means the same
            **VAE[size],
        )
    vae.save_config(folder / "vae")
    save(vae, folder / "vae", "diffusion_pytorch_model", args.device)
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    config = CLIPTextConfig(vocab_size=49408, hidden_act="gelu", **TEXT[size], **special)
    with torch.device(args.device):
        text_encoder = CLIPTextModel(config)
    text_encoder.config.architectures = ["CLIPTextModel"]
    save(text_encoder, folder / "text_encoder", "model", args.device)
    text_encoder.config.to_json_file(folder / "text_encoder" / "config.json")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
    ).save_config(folder / "scheduler")


if __name__ == "__main__":
    main()
