"""Writes a checkpoint with the architecture of Stable Diffusion 1.5 (860 million parameters in the U-Net), a motion adapter
with that of AnimateDiff's v1-5-2 (450 million) and random weights, in half precision: for measuring time and memory, not for
looking at.

    python scripts/make_random_sd15.py FOLDER [--device cuda] [--tiny]

Makes FOLDER/sd15 and FOLDER/motion_adapter. Of diffusers 0.42.1, transformers 5 and torch 2. Needs 3 GB on disk and 8 GB of
memory, the device's with `--device`, which is faster and gives other weights. `--tiny` is a narrow and shallow relative (some
6 MB), to try programs with.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, MotionAdapter, PNDMScheduler, UNet2DConditionModel
from make_random_modelscope import VAE, save
from small_tokenizer import save_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel

NAME = "diffusion_pytorch_model"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
UNET = {
    "full": dict(sample_size=64, attention_head_dim=8, cross_attention_dim=768),
    "tiny": dict(
        sample_size=64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=32,
    ),
}
# What v1-5-2 says is the class's defaults.
ADAPTER = {"full": {}, "tiny": dict(block_out_channels=(32, 64), motion_layers_per_block=1)}
TEXT = {
    "full": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, projection_dim=768),
    "tiny": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, projection_dim=32),
}


def save_text_encoder(folder: Path, tokenizer, size: str, device: str) -> None:
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    config = CLIPTextConfig(vocab_size=49408, hidden_act="quick_gelu", **TEXT[size], **special)
    with torch.device(device):
        text_encoder = CLIPTextModel(config)
    text_encoder.config.architectures = ["CLIPTextModel"]
    save(text_encoder, folder, "model", device)
    text_encoder.config.to_json_file(folder / "config.json")


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu", help="where torch draws the weights")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args()
    folder, size = args.folder / "sd15", "tiny" if args.tiny else "full"
    tokenizer = save_tokenizer(folder / "tokenizer", 77, merges=300)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2))
    networks = {
        folder / "unet": (UNet2DConditionModel, UNET[size]),
        args.folder / "motion_adapter": (MotionAdapter, ADAPTER[size]),
        folder / "vae": (
            AutoencoderKL,
            dict(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                sample_size=512,
                **VAE[size],
            ),
        ),
    }
    for path, (network, parameters) in networks.items():
        with torch.device(args.device):
            made = network(**parameters)
        made.save_config(path)
        save(made, path, NAME, args.device)
        del made
    save_text_encoder(folder / "text_encoder", tokenizer, size, args.device)
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        skip_prk_steps=True,
        steps_offset=1,
    ).save_config(folder / "scheduler")


if __name__ == "__main__":
    main()
