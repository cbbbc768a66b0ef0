"""The architecture of tiny-world: diffusers classes, small widths."""

import json

from diffusers import AutoencoderKL, UNet3DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

TOKENS = 24
TEXT_DIM = 96
TEXT_LAYERS = 2
LATENT_CHANNELS = 8
LATENT_SIZE = 8
VAE_CHANNELS = (16, 32, 64, 80)
UNET_CHANNELS = (48, 80)


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=VAE_CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
    )


def text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_DIM,
            intermediate_size=2 * TEXT_DIM,
            num_hidden_layers=TEXT_LAYERS,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=TEXT_DIM,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def unet() -> UNet3DConditionModel:
    return UNet3DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "UpBlock3D"),
        block_out_channels=UNET_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=8,
    )


if __name__ == "__main__":
    counts = {"vae": vae(), "text_encoder": text_encoder(800), "unet": unet()}
    counts = {k: sum(p.numel() for p in m.parameters()) for k, m in counts.items()}
    print(json.dumps(counts | {"megabytes_f16": 2 * sum(counts.values()) / 1e6}))
